"""Turn finished trainings of the hippocampus model into the bundled folder, card and table.

Run by ``make hippocampus`` after the trainings; every figure in the card and in
benchmarks/hippocampus.md is read from their metrics.csv files, none is typed.

    python benchmarks/hippocampus.py runs/hippocampus
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import torch
from card_sections import section

from medvision.checkpoint import load_model, load_spec, save_model
from medvision.files import write_text
from medvision.run_card import device_name, package_versions
from medvision.score_tables import score_table
from medvision.scores import MaskScore, read_scores

ROOT = Path(__file__).parents[1]
WEIGHTS = ROOT / "medvision" / "weights" / "hippocampus"
TABLE = ROOT / "benchmarks" / "hippocampus.md"
README = ROOT / "README.md"
FOLDS = 5


def read_folds(folder: Path) -> dict[int, list[MaskScore]]:
    """Return the scores of every finished fold."""
    paths = {k: folder / f"fold_{k}" / "metrics.csv" for k in range(FOLDS)}
    return {
        k: [s for s in read_scores(path) if isinstance(s, MaskScore)]
        for k, path in paths.items()
        if path.exists()
    }


def cell(values: list[float], digits: int) -> str:
    """Return a mean, ignoring NaN."""
    return f"{np.nanmean(values):.{digits}f}"


def row(title: str, scores: list[MaskScore]) -> str:
    """Return one line of a table: both structures, their mean Dice, HD95 and volume error."""
    cells = [title, str(len({s.case_id for s in scores}))]
    for name in ("anterior", "posterior"):
        mine = [s for s in scores if s.structure == name]
        cells += [
            cell([s.dice for s in mine], 4),
            cell([s.hd95_mm for s in mine], 2),
            f"{np.mean([s.error_ml for s in mine]):+.3f}",
            cell([abs(s.error_ml) for s in mine], 3),
        ]
    return "| " + " | ".join(cells) + " |"


def fold_lines(folds: dict[int, list[MaskScore]]) -> str:
    """Return a Markdown table, a line per fold and one over all cases."""
    head = [
        "| fold | cases | anterior: Dice | HD95, mm | error, ml | abs. error, ml "
        "| posterior: Dice | HD95, mm | error, ml | abs. error, ml |",
        "|" + "---|" * 10,
    ]
    lines = [row(str(k), scores) for k, scores in folds.items()]
    every = [score for scores in folds.values() for score in scores]
    if len(folds) < FOLDS:
        lines.append(f"| | {FOLDS - len(folds)} of {FOLDS} folds were not run |" + " |" * 8)
    return "\n".join([*head, *lines, row("**all**", every)])


def results_text(pair: dict[int, list[MaskScore]], case: dict[int, list[MaskScore]]) -> str:
    """Return the figures of both cross-validations, those of the first over patients."""
    every = [score for scores in pair.values() for score in scores]
    return f"""\
Five-fold cross-validation, no patient on both sides: ids 2k−1 and 2k of the data set look like
one subject and are kept together. Each fold's network never saw its cases; nothing was selected
on them.

{score_table(every, {score.case_id: patient_of(score.case_id) for score in every})}

Fold by fold. HD95 is the 95th percentile of surface distances, error is found minus true volume.

{fold_lines(pair)}

Folds by single case, the way nnU-Net's published figure (about 0.90 / 0.88) was made, so that the
same subject may be on both sides. Only to stand beside that figure:

{fold_lines(case) if case else "Not run."}
"""


def patient_of(case_id: str) -> str:
    """Return the patient of a case: 2k−1 and 2k look like one."""
    return str((int(case_id.rpartition("_")[2]) + 1) // 2)


def minutes(run: Path) -> float:
    """Return how long a training took, by its own log."""
    last = (run / "log.csv").read_text(encoding="utf-8").splitlines()[-1]
    return float(last.split(",")[-1]) / 60


def main(runs: Path) -> None:
    """Write the bundled model folder and the benchmark table."""
    pair, case = read_folds(runs / "pair"), read_folds(runs / "case")
    model, spec = load_model(runs / "all" / "model")
    state = torch.load(runs / "all" / "checkpoint.pt", map_location="cpu", weights_only=True)
    config = json.loads(state["config"])
    parameters = sum(p.numel() for p in model.parameters())
    spent = [minutes(runs / "pair" / f"fold_{k}") for k in pair]
    machine = (
        f"{device_name(torch.device('cpu'))}, {torch.get_num_threads()} cores, no GPU; "
        + ", ".join(f"{k} {v}" for k, v in package_versions().items())
    )
    results = results_text(pair, case)
    card = f"""\
# hippocampus

Research use only, not a medical device.

**Finds** the anterior and posterior hippocampus (labels 1 and 2) in a T1-weighted MR scan of
which it is shown a box of about 36 × 50 × 36 mm around one hippocampus, left or right
(`--box`). It does not find the hippocampus in a whole head by itself.

**Trained on** {spec.fingerprint.cases if spec.fingerprint else "?"} cases of Task04 of the Medical
Segmentation Decathlon (T1 MR, 1 mm, one side, adults with and without psychotic disorder, one
center), all of them; the figures below are those of networks trained the same way on four fifths.

**License of these weights**: CC BY-SA 4.0, as the data (Antonelli et al., Nature Communications
2022; Simpson et al., arXiv:1902.09063).

## How good

{section(results)}

## Limits

One center, one field strength, 1 mm voxels, healthy or psychiatric adults: tumors, resections,
children and strong atrophy were not seen. The border between anterior and posterior follows the
data set's protocol. Scans unlike the training data get a warning, which is no guarantee.

## How made

{spec.architecture}, {parameters:,} parameters; {config["steps"]} steps of {config["batch_size"]}
patches {"×".join(map(str, spec.roi_size))}, left and right mirrored at random; about
{np.median(spent):.0f} minutes a fold with one thread (medians; other work was going on) on:
{machine}.

    make hippocampus MSD=path/to/Task04_Hippocampus
"""
    save_model(WEIGHTS, load_spec(runs / "all" / "model"), model.state_dict(), card)
    write_text(
        TABLE,
        f"# Hippocampus: cross-validation\n\n{results}\n## Machine and commands\n\n"
        f"{machine}\n\nSettings: {json.dumps(config)}\n\n"
        "    make hippocampus MSD=path/to/Task04_Hippocampus\n",
    )
    write_readme({"folds by subject": pair, "folds by case (": case})
    print(f"Wrote {WEIGHTS}, {TABLE} and the figures in {README}")


def write_readme(results: dict[str, dict[int, list[MaskScore]]]) -> None:
    """Put mean Dice over all folds into the README's rows that start with each name."""
    text = README.read_text(encoding="utf-8")
    for name, folds in results.items():
        every = [score for scores in folds.values() for score in scores]
        if len(folds) < FOLDS:
            cells = f"{len(folds)} of {FOLDS} folds were run"
        else:
            means = [
                np.mean([s.dice for s in every if s.structure == structure])
                for structure in ("anterior", "posterior")
            ]
            cells = " / ".join(f"{mean:.4f}" for mean in means)
        row = rf"(\| medvision, {re.escape(name)}[^|]*\|)[^|]*\|"
        text, found = re.subn(row, rf"\1 {cells} |", text)
        assert found == 1, f"no row for {name} in {README}"
    write_text(README, text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
