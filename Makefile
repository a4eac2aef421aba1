# make demo   from a fresh clone to masks of a real brain
# make test   the checks that CI runs
# make slow   the tests that take minutes
# make app    the Streamlit app
# make hippocampus   train and cross-validate the bundled model again (hours)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
TEMPLATE := demo/mni152_t1_1mm.nii.gz

.PHONY: demo test slow app wheel hippocampus clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e '.[demo]'
	@touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e '.[test]'
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/medvision datasets mni152 $(TEMPLATE)
	$(BIN)/medvision predict $(TEMPLATE) --model hippocampus --out demo/results \
		--box mni:left-hippocampus --box mni:right-hippocampus

test: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

slow: $(VENV)/.test
	$(BIN)/python -m pytest -m slow

app: $(VENV)/.test
	$(BIN)/medvision app

clean:
	rm -rf $(VENV) demo dist build

# Trains 11 networks; stops and goes on where it was (--resume).
MSD ?= data/Task04_Hippocampus
RUNS := runs/hippocampus
TRAIN := --classes anterior,posterior --name hippocampus --width 16 --roi-size 32,48,32 \
	--steps 1100 --batch-size 2 --learning-rate 0.005 --eval-every 275 --resume
hippocampus: $(VENV)/.test
	$(BIN)/medvision datasets msd $(MSD) --group-by pair --out $(RUNS)/pair.csv
	$(BIN)/medvision datasets msd $(MSD) --group-by case --out $(RUNS)/case.csv
	$(BIN)/medvision train $(RUNS)/pair.csv $(TRAIN) --out $(RUNS)/all
	$(BIN)/medvision train $(RUNS)/pair.csv $(TRAIN) --folds 5 --out $(RUNS)/pair
	$(BIN)/medvision train $(RUNS)/case.csv $(TRAIN) --folds 5 --out $(RUNS)/case
	$(BIN)/python benchmarks/hippocampus.py $(RUNS)
