# make demo   from a fresh clone to masks of a real brain
# make test   the checks that CI runs
# make slow   the tests that take minutes
# make docs   the API reference, into build/docs
# make notebooks   those of examples/ again, with what they show
# make app    the Streamlit app, on the demo's brain
# make pictures   the app's pages as pictures, for the README
# make viewer   the app's viewer again, from its source (apps/viewer)
# make cards   the figures in the cards of the bundled models again (minutes)
# make hippocampus   train and cross-validate the bundled model again (hours)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
TEMPLATE := demo/mni152.nii.gz
# In processes of their own: OpenVINO and nnU-Net bring native libraries of all kinds, notebooks have
# kernels, and what spoils files starts its own.
APART := tests/test_auto_runtime.py tests/test_runtime.py tests/test_portable.py \
	tests/test_execution.py tests/test_notebooks.py tests/importers tests/test_fuzz.py
# To test against. Its network package asks for timm, and that for torchvision: neither is needed.
NNUNET := nnunetv2==2.8.1 dynamic-network-architectures==0.4.4 acvl-utils==0.2.6 \
	batchgenerators==0.25.5 batchgeneratorsv2==0.3.6 connected-components-3d==4.1.1 blosc2==4.14.1 \
	numexpr==2.14.2 msgpack==1.2.4 ndindex==1.10.1 httpx==0.28.1 seaborn==0.13.2

.PHONY: demo test slow docs notebooks app pictures viewer cards hippocampus clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml constraints.txt
	@echo 'Installing medvision and PyTorch into $(VENV): this takes a few minutes.'
	$(PIP) -e '.[demo]'
	@touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml constraints.txt
	@echo 'Installing medvision and what its tests need into $(VENV).'
	$(PIP) -e '.[test]'
	$(PIP) --no-deps $(NNUNET) || echo 'nnU-Net is not there: the tests against it are skipped.'
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/medvision datasets mni152 $(TEMPLATE)
	$(BIN)/medvision predict $(TEMPLATE) --model hippocampus --out demo/results --overwrite \
		--box mni:left-hippocampus --box mni:right-hippocampus

test: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(APART:%=--ignore=%)
	for tests in $(APART); do $(BIN)/python -m pytest $$tests || exit; done

slow: $(VENV)/.test
	$(BIN)/python -m pytest -m slow

docs: $(VENV)/.test
	rm -rf build/docs
	$(BIN)/python docs/reference.py build/docs
	@echo 'It begins with build/docs/index.html.'

notebooks: $(VENV)/.test
	$(BIN)/python examples/run_notebooks.py
	$(BIN)/ruff format --quiet examples

app: $(VENV)/.test
	test -f $(TEMPLATE) || $(BIN)/medvision datasets mni152 $(TEMPLATE)
	$(BIN)/medvision app demo

# Needs Chromium.
PAGES := app_browse app_view app_compare app_results app_what_if
pictures: $(VENV)/.test
	MEDVISION_SCREENSHOTS=build/pictures $(BIN)/python -m pytest -m slow tests/test_app_pictures.py
	for page in $(PAGES); do cp build/pictures/$$page.png docs/; done

# Needs Node.js; the packages are removed again, so that no wheel holds them.
viewer:
	cd apps/viewer && npm ci --no-audit --no-fund && npm run build && rm -rf node_modules

# DATA holds pneumoniamnist.npz and adrenalmnist3d_64.npz.
DATA ?= data
cards: $(VENV)/.test
	$(BIN)/python benchmarks/cards.py --data $(DATA) --runs $(RUNS)

clean:
	rm -rf $(VENV) demo dist build

# Trains 11 networks; stops and goes on where it was (--resume).
MSD ?= data/Task04_Hippocampus
RUNS := runs/hippocampus
TRAIN := --classes anterior,posterior --name hippocampus --set network.features=24,48,96,192 \
	--set roi_size=32,48,32 --set steps=2000 --set batch_size=2 --set learning_rate=0.005 \
	--set precision=bf16-mixed --set eval_every=1000 --threads 1 --resume
hippocampus: $(VENV)/.test
	$(BIN)/medvision datasets msd $(MSD) --group-by pair --out $(RUNS)/pair.csv
	$(BIN)/medvision datasets msd $(MSD) --group-by case --out $(RUNS)/case.csv
	$(BIN)/medvision train $(RUNS)/pair.csv $(TRAIN) --out $(RUNS)/all
	$(BIN)/medvision train $(RUNS)/pair.csv $(TRAIN) --folds 5 --out $(RUNS)/pair
	$(BIN)/medvision train $(RUNS)/case.csv $(TRAIN) --folds 5 --out $(RUNS)/case
	$(BIN)/python benchmarks/hippocampus.py $(RUNS)
	$(MAKE) demo && cp demo/results/mni152_left-hippocampus.png docs/demo.png
