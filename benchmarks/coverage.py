"""How often a 95 % interval holds the true figure: simulated patients of three cases each.

    python benchmarks/coverage.py [--sets 1000] [--draws 1000] [--patients 20 50 200]

Prints the table of `coverage.md`. True figures are known from the distributions
(`tests/simulated_scores.py`); within a patient values correlate by 0.6.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import simulated_scores as simulated

from medvision.delong import delong
from medvision.intervals import draw_groups
from medvision.measures import measures_of
from medvision.scores import Score
from medvision.statistics import figure_of

TRUE = {
    "mean Dice": simulated.mean_dice(),
    "AUC": simulated.AUC,
    "sensitivity": simulated.SENSITIVITY,
}
KEYS = {"mean Dice": ("a", "dice"), "AUC": ("ill", "auc"), "sensitivity": ("ill", "sensitivity")}


def block_of(scores: list[Score], key: tuple[str, str]):
    """Return the figures that are computed together with one, and its column among them."""
    for block in measures_of(scores).blocks:
        keys = [(head.of, head.metric) for head in block.heads]
        if key in keys:
            return block, keys.index(key)
    raise SystemExit(f"No figure {key}.")


def drawn_of(block, column: int, groups: list[str], draws: int, seed: int) -> np.ndarray:
    """Return a figure in draws of groups."""
    parts = draw_groups(groups, draws, seed)
    return np.concatenate([block.compute(w.astype(float))[:, column] for w in parts])


def plain(drawn) -> tuple[float, float]:
    """Return the percentiles of draws as they are."""
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return low, high


def of_means(means: np.ndarray, draws: int, seed: int) -> dict[str, tuple[float, float]]:
    """Return what other ways say of the mean of patients with as many cases each."""
    rng, count = np.random.default_rng(seed), len(means)
    bca = stats.bootstrap(
        (means,), np.mean, n_resamples=draws, method="BCa", rng=rng, vectorized=True
    ).confidence_interval
    sets = means[rng.integers(count, size=(draws, count))]
    error = sets.std(axis=1, ddof=1) / count**0.5
    middle, own = means.mean(), means.std(ddof=1) / count**0.5
    low, high = np.quantile((sets.mean(axis=1) - middle) / error, [0.025, 0.975])
    reach = stats.t.ppf(0.975, count - 1) * own
    return {
        "clustered, BCa": (bca.low, bca.high),
        "clustered, studentized": (middle - high * own, middle - low * own),
        "Student's t of patients": (middle - reach, middle + reach),
    }


def intervals(name: str, scores: list[Score], draws: int, seed: int):
    """Return the interval of one simulated evaluation by each way."""
    groups = list(simulated.case_ids(len(scores) // simulated.EACH).values())
    alone = [score.case_id for score in scores]
    block, column = block_of(scores, KEYS[name])
    head = block.heads[column]
    drawn = drawn_of(block, column, groups, draws, seed)
    loose = drawn_of(block, column, alone, draws, seed)
    value = float(block.compute(np.ones((1, len(scores))))[0, column])
    ours = figure_of(head, value, drawn, groups, "")
    found = {
        "cases drawn, not patients": plain(loose),
        "clustered, percentiles": plain(drawn),
        "medvision": (ours.low, ours.high),
    }
    if name == "AUC":
        for title, by in (("DeLong, cases", None), ("DeLong, patients (Obuchowski)", groups)):
            area = delong(head.wanted, head.ranked, by)
            found[title] = (area.low, area.high)
    if name == "mean Dice":
        dice = np.array([score.dice for score in scores]).reshape(-1, simulated.EACH)
        found |= of_means(dice.mean(axis=1), draws, seed)
    return found


def main() -> None:
    """Simulate, and print how often each way holds the truth, and how wide it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--patients", type=int, nargs="+", default=[20, 50, 200])
    asked = parser.parse_args()
    print("| figure | interval |" + "".join(f" {n} patients |" for n in asked.patients))
    print("|---|---|" + "---:|" * len(asked.patients))
    for name, true in TRUE.items():
        cells: dict[str, list[str]] = defaultdict(list)
        for patients in asked.patients:
            held, wide = defaultdict(list), defaultdict(list)
            for number in range(asked.sets):
                rng = np.random.default_rng((number, patients))
                make = simulated.masks if name == "mean Dice" else simulated.classes
                scores = make(rng, patients)
                for way, (low, high) in intervals(name, scores, asked.draws, number).items():
                    held[way].append(low <= true <= high)
                    wide[way].append(high - low)
            for way in held:
                cells[way].append(f"{np.mean(held[way]):.1%} ({np.nanmean(wide[way]):.3f})")
        for way, row in cells.items():
            print(f"| {name} | {way} | " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
