"""What calibration does to the classifiers that ship with medvision, on cases it never saw.

    medvision datasets medmnist pneumoniamnist.npz --size 28 --out p28/cases.csv
    medvision datasets medmnist adrenalmnist3d_64.npz --size 28 --out a28/cases.csv
    python benchmarks/calibration.py --pneumonia p28/cases.csv --adrenal a28/cases.csv

Fitted on the official validation split, measured on the official test split; writes calibration.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from medvision.calibrate import fit_scores
from medvision.calibration import brier_score, calibration_error, log_loss, tempered
from medvision.dataset import read_cases
from medvision.evaluate import evaluate
from medvision.predictor import load_predictor
from medvision.scores import ClassScore, arrays

PAGE = Path(__file__).with_suffix(".md")
ALPHAS = (0.1, 0.05)


def measure(model: str, table: Path) -> list[str]:
    """Return the rows of one model."""
    predictor = load_predictor(model, "cpu")
    val, test = (read_cases(table, (split,), "classification") for split in ("val", "test"))
    fitted = evaluate(predictor, val)
    number, raw = arrays([one for one in evaluate(predictor, test) if isinstance(one, ClassScore)])
    truth, names = np.eye(raw.shape[1], dtype=bool)[number], predictor.spec.class_names
    rows = []
    for alpha in ALPHAS:
        known = fit_scores(fitted, val, alpha=alpha).calibration
        shares = tempered(raw, known.temperature)
        sets = [known.set_of(dict(zip(names, row, strict=True))) or () for row in shares]
        hit = np.mean([names[n] in one for n, one in zip(number, sets, strict=True)])
        size = np.mean([len(one) for one in sets])
        chance = 2 * np.sqrt(alpha * (1 - alpha) * (1 / len(val) + 1 / len(test)))
        figures = [
            f"{measured(raw, truth):.4f} → {measured(shares, truth):.4f}"
            for measured in (log_loss, calibration_error, brier_score)
        ]
        rows.append(
            f"| {model} | {len(val)} / {len(test)} | {known.temperature:.3f} "
            f"| {' | '.join(figures)} | {1 - alpha:.0%} | {hit:.1%} | ± {chance:.1%} | {size:.3f} |"
        )
    return rows


def main() -> None:
    """Measure both models, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pneumonia", type=Path, required=True)
    parser.add_argument("--adrenal", type=Path, required=True)
    given = parser.parse_args()
    rows = [*measure("pneumonia28", given.pneumonia), *measure("adrenal28", given.adrenal)]
    text = (
        "# Calibration of the bundled classifiers\n\nTemperature and prediction sets fitted on "
        "the official validation split of MedMNIST, measured on its test split, before → after "
        "(`benchmarks/calibration.py`). By chance, what is found differs from what is promised: "
        "two standard deviations of cases drawn for both splits are given beside it. The sets do "
        "not say whose image is whose, so that each counts as a patient.\n\n"
        "| model | cases, val / test | temperature | log loss, nats | ECE | Brier "
        "| coverage promised | found | by chance | classes a set |\n"
        f"{'|---' * 10}|\n"
    )
    PAGE.write_text(text + "\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
