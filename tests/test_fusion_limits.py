"""Every fusion head on phantoms whose best possible AUC is known; trains for minutes.

The trainings are those of `benchmarks/fusion.py`, fewer and of fewer cases.
"""

import importlib.util
from pathlib import Path

import pytest

from medvision.dataset import read_cases
from medvision.items import load_items
from medvision.metrics import auc
from medvision.pair_phantom import KINDS, best_auc
from medvision.text_spec import METHODS

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "fusion.py"
CASES = {2: (10_000, 5_000)}  # in all, and of these to test
NEAR = 0.02  # of the limit
SPREAD = 0.03  # of areas around one half, between samples of so many


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    spec = importlib.util.spec_from_file_location("benchmark_of_fusion", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.RUNS, module.CASES = tmp_path_factory.mktemp("fusion"), CASES
    return module


@pytest.fixture(scope="module")
def asked(benchmark):
    """The test cases of each phantom, and what is loaded of them."""
    found = {}
    for kind in KINDS:
        test = read_cases(benchmark.data(kind, 2), ("test",), "classification")
        plan = benchmark.plan_of(kind, 2, "gated", 0)
        found[kind] = test, load_items(test, plan.spec, plan.train, show=False)
    return found


def areas(benchmark, asked, kind, name):
    """The AUC of what a head says of both, of the image and of the report."""
    benchmark.run(kind, 2, name, 0, *asked[kind])
    [said] = benchmark.said_of(kind, 2, name)
    truth = benchmark.truth_of(asked[kind][1])
    return {what: auc(truth, scores) for what, scores in said.items()}


@pytest.mark.parametrize("method", METHODS)
def test_where_evidence_adds_up_every_head_comes_to_the_limit(benchmark, asked, method):
    found = areas(benchmark, asked, "additive", method)
    assert found["both"] == pytest.approx(best_auc("additive", "both"), abs=NEAR)
    for one in ("image", "report"):
        assert found[one] == pytest.approx(best_auc("additive", one), abs=SPREAD)


@pytest.mark.parametrize("method", METHODS)
def test_where_the_pair_decides_every_head_but_late_comes_to_the_limit(benchmark, asked, method):
    found = areas(benchmark, asked, "interaction", method)
    if method == "late":  # a sum of both cannot tell
        assert found["both"] == pytest.approx(0.5, abs=SPREAD)
    else:
        assert found["both"] == pytest.approx(best_auc("interaction", "both"), abs=NEAR)
    for one in ("image", "report"):
        assert found[one] == pytest.approx(0.5, abs=SPREAD)


@pytest.mark.parametrize("kind", KINDS)
def test_with_the_reports_of_others_nothing_is_left_but_the_image(benchmark, asked, kind):
    found = areas(benchmark, asked, kind, "image and another's report")
    assert found["both"] == pytest.approx(best_auc(kind, "image"), abs=SPREAD)
