"""Whatever a file holds, reading it ends in a value or a MedvisionError: soon, and in 1 GiB.

2,000 mutations of real and generated files, in processes of their own. MEDVISION_FUZZ_SEED and
MEDVISION_FUZZ_COUNT ask for others; what does not end well is written below MEDVISION_FUZZ_OUT,
else beside the test's temporary files. By hand: see `fuzzing.run`.
"""

import os
import sys
from pathlib import Path

import pytest
from fuzzing.run import fuzz

SEED = os.environ.get("MEDVISION_FUZZ_SEED", "10")
COUNT = int(os.environ.get("MEDVISION_FUZZ_COUNT", "2000"))
PARTS = {"reading": 0.6, "writing": 0.15, "models": 0.25}
SLOW = {**PARTS, "bundles": 0.1}  # writing one takes all of MONAI
MORE = 5  # seeds of the slow test
pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="memory is measured as Linux tells it (proc(5))"
)


def check(suite, seed, tmp_path):
    """Read a suite's share of the mutations."""
    out = Path(os.environ.get("MEDVISION_FUZZ_OUT", tmp_path))
    found = fuzz(suite, seed, round(COUNT * SLOW[suite]), out)
    assert not found, "\n".join([f"{len(found)} of {COUNT} do not end well:", *found])


@pytest.mark.parametrize("suite", PARTS)
def test_every_mutation_ends_in_a_value_or_a_medvision_error(suite, tmp_path):
    check(suite, SEED, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("more", range(1, MORE + 1))
@pytest.mark.parametrize("suite", SLOW)
def test_so_do_those_of_other_seeds(suite, more, tmp_path):
    check(suite, f"{SEED}.{more}", tmp_path)


def test_what_goes_wrong_is_noticed_and_kept(tmp_path):
    found = {}
    for name in ("raises", "crashes", "hangs", "fills", "refuses"):
        found[name] = fuzz("planted", "0", 1, tmp_path, [name])
    said = {name: [line.partition("): ")[2] for line in lines] for name, lines in found.items()}
    assert said["raises"] == ["KeyError 'planted'"]
    assert [words[:26] for words in said["crashes"]] == ["the process ended with -11"]
    assert [words[:26] for words in said["hangs"]] == ["the process ended with -27"]
    assert all("GiB" in words for words in said["fills"])
    assert not said["refuses"]
    kept = sorted(path.parent.name for path in tmp_path.rglob("*.bin"))
    assert kept == sorted(
        f"{name}-0-{n}" for name, lines in found.items() for n in range(len(lines))
    )
