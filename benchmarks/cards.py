"""The figures in the cards of all models that ship, made again.

    make cards DATA=folder
    python benchmarks/cards.py --data folder --runs runs/hippocampus

`folder` holds pneumoniamnist.npz and adrenalmnist3d_64.npz, at any depth: the models are asked
about their test splits again, and what they say is kept in scores/. Without them the scores that
are kept there tell. The bundled hippocampus model was trained on all cases, so that its figures
are those of the folds of `make hippocampus`, read from --runs. The synthetic model is asked about
phantoms that are drawn anew. A model that there is nothing to judge by is named, and its card left
alone.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import bundle_fusion
import hippocampus
from card_sections import BUNDLED, SCORES, classifier_text, with_section

from medvision.checkpoint import CARD
from medvision.dataset import read_cases
from medvision.evaluate import evaluate
from medvision.extras import dataset_builder
from medvision.files import write_text
from medvision.predictor import load_predictor
from medvision.scores import Score, read_scores, write_scores

SETS = {"pneumonia28": "pneumoniamnist.npz", "adrenal28": "adrenalmnist3d_64.npz"}
SIDE = 28


def asked(model: str, source: Path) -> Sequence[Score]:
    """Return what a model says of the test split of a MedMNIST file."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "cases.csv"
        dataset_builder("medmnist").build(source, table, SIDE)
        cases = read_cases(table, ("test",), "classification")
        return evaluate(load_predictor(model, "cpu"), cases)


def classifier(model: str, data: Path) -> str:
    """Return the figures of a classifier; empty where there is nothing to judge it by."""
    kept = SCORES / f"{model}.csv"
    source = next(iter(sorted(data.rglob(SETS[model]))), None) if data.is_dir() else None
    if source is not None:
        write_scores(asked(model, source), kept)
    elif kept.is_file():
        print(f"{model}: no {SETS[model]} in {data}; told by {kept.name} in scores/.")
    else:
        print(f"{model}: needs {SETS[model]} in {data}. Its card is left alone.")
        return ""
    return classifier_text(read_scores(kept))


def segmenter(runs: Path) -> str:
    """Return the figures of the hippocampus model; empty without its folds."""
    pair, case = (hippocampus.read_folds(runs / name) for name in ("pair", "case"))
    if len(pair) < hippocampus.FOLDS:
        print(
            f"hippocampus: needs fold_0 to fold_{hippocampus.FOLDS - 1} in {runs / 'pair'}, which "
            "`make hippocampus` trains (hours). Its card is left alone."
        )
        return ""
    return hippocampus.results_text(pair, case)


def main() -> None:
    """Write the cards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--runs", type=Path, default=Path("runs/hippocampus"))
    given = parser.parse_args()
    made: dict[str, Callable[[], str]] = {
        "hippocampus": lambda: segmenter(given.runs),
        "pneumonia28": lambda: classifier("pneumonia28", given.data),
        "adrenal28": lambda: classifier("adrenal28", given.data),
        "synthetic-pairs": bundle_fusion.results_text,
    }
    for name, make in made.items():
        path, text = BUNDLED / name / CARD, make()
        if text:
            write_text(path, with_section(path.read_text(encoding="utf-8"), text))
            print(f"{name}: {path.relative_to(BUNDLED.parents[1])}")


if __name__ == "__main__":
    main()
