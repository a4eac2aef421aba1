"""The page of an ablation: what each variant reaches, and what the report adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from medvision.ablate import BOTH, IMAGE, SHUFFLED, TEXT, TFIDF, Ablation
from medvision.intervals import Interval, bootstrap, paired_bootstrap
from medvision.metrics import auc, auprc, brier, ece

PAGE = "ablation.md"
SHARES_MISSING = np.linspace(0, 1, 11)
DRAWN = 20  # ways to choose whose reports are missing
SAYS: Mapping[tuple[str, str], tuple[str, str, str]] = {  # of a − b: surely more, unsure, less
    (BOTH, IMAGE): (
        "The report surely adds to the image",
        "The report does not surely add to the image",
        "Image and report are surely worse than the image alone",
    ),
    (BOTH, TEXT): (
        "The image surely adds to the report",
        "The image does not surely add to the report",
        "Image and report are surely worse than the report alone",
    ),
    (BOTH, SHUFFLED): (
        "A case's own report is surely better than another's",
        "A case's own report is not surely better than another's",
        "Another's report is surely better than the case's own, which should not be",
    ),
    (SHUFFLED, IMAGE): (
        "With another's report the model is surely better than with the image only: it gains by "
        "something else than what the report says",
        "With another's report the model falls back to the image only, as far as can be told",
        "With another's report the model is surely worse than with the image only: it does not "
        "fall back, and what reports add is not all that the comparison shows",
    ),
    (BOTH, TFIDF): (
        "Image and report are surely better than counting words (TF-IDF)",
        "Image and report are not surely better than counting words (TF-IDF)",
        "Counting words (TF-IDF) is surely better than image and report",
    ),
}
ONE_SEED = (
    "Only one seed was run: it cannot tell these differences apart from chance of training, which "
    "other seeds would show."
)


def ablation_page(found: Ablation) -> str:
    """Return the page in Markdown; of several classes a case, with a part for each."""
    lines = [
        "# Does the report add anything?",
        "",
        f"{len(found.truth)} cases of {len(set(found.groups))} patients, each judged by networks "
        f"that did not train on it; {found.left_out} without a report that may be read take no "
        f"part. All variants are the same network with the same settings, trained with "
        f"{seeds_of(found)}; AUROC is that of the mean of the seeds' probabilities, with a 95 % "
        "interval over patients, each by itself: of twenty differences that are none, about one "
        "looks sure.",
        "",
    ]
    if not found.multilabel:
        return "\n".join([*lines, *question_lines(found)])
    names, asked = found.class_names, found.questions
    lines += [
        "AUROC by class, each a question of its own, and their mean:",
        "",
        "| what the model sees | mean |" + "".join(f" {name} |" for name in names),
        "|---|" + "---:|" * (len(names) + 1),
    ]
    for what in found.scores:
        areas = [auc(one.truth, mean_scores(one, what)) for one in asked]
        cells = "".join(f" {area:.3f} |" for area in (np.mean(areas), *areas))
        lines.append(f"| {what} |{cells}")
    for name, one in zip(names, asked, strict=True):
        lines += ["", f"## {name}", "", f"{int(one.truth.sum())} cases have it.", ""]
        lines += question_lines(one)
    return "\n".join(lines)


def question_lines(found: Ablation) -> list[str]:
    """Return what is said of classes of which a case has one: first what follows from it."""
    gains = {pair: difference(found, *pair) for pair in SAYS}
    lines = [f"- {one}" for one in conclusions(found, gains)]
    lines += [
        "",
        "| what the model sees | AUROC | each seed | AUPRC | Brier | ECE |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [variant_line(found, name) for name in found.scores]
    lines += [
        "",
        "| difference in AUROC | | p |",
        "|---|---:|---:|",
    ]
    lines += [f"| {a} − {b} | {signed(gain)} | {gain.p:.3f} |" for (a, b), gain in gains.items()]
    curve = missing_curve(found)
    lines += [
        "",
        "AUROC where reports are missing, mean of the seeds and of "
        f"{DRAWN} draws of whose they are:",
        "",
        "| missing |" + "".join(f" {share:.0%} |" for share in SHARES_MISSING),
        "|---|" + "---:|" * len(curve),
        f"| {BOTH} |" + "".join(f" {area:.3f} |" for area in curve),
        "",
    ]
    return lines


def seeds_of(found: Ablation) -> str:
    """Return which seeds were run."""
    numbers = ", ".join(map(str, found.seeds))
    return f"seed{'s' if len(found.seeds) > 1 else ''} {numbers}"


def mean_scores(found: Ablation, name: str) -> NDArray[np.float64]:
    """Return the mean over seeds of a variant's probabilities (M, N)."""
    return np.asarray(np.mean(found.scores[name], axis=0), np.float64)


def variant_line(found: Ablation, name: str) -> str:
    """Return the row of a variant."""
    scores = mean_scores(found, name)
    area = bootstrap(auc, found.truth, scores, found.groups)
    each = " ".join(f"{auc(found.truth, one):.3f}" for one in found.scores[name])
    more = " | ".join(f"{metric(found.truth, scores):.3f}" for metric in (auprc, brier, ece))
    return f"| {name} | {area} | {each} | {more} |"


def difference(found: Ablation, a: str, b: str) -> Interval:
    """Return how much larger the AUROC of one variant is than that of another."""
    return paired_bootstrap(found.truth, mean_scores(found, a), mean_scores(found, b), found.groups)


def signed(gain: Interval) -> str:
    """Return a difference with its interval."""
    return f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"


def missing_curve(found: Ablation) -> list[float]:
    """Return the AUROC of `BOTH` with growing shares of the reports missing, as `SHARES_MISSING`.

    A case whose report is missing has the answer that the model gives without one.
    """
    count, rng = len(found.truth), np.random.default_rng(0)
    orders = [rng.permutation(count) for _ in range(DRAWN)]
    return [area_without(found, orders, round(share * count)) for share in SHARES_MISSING]


def area_without(found: Ablation, orders: Sequence[NDArray[np.intp]], missing: int) -> float:
    """Return the mean AUROC with so many reports missing."""
    areas = []
    for told, untold in zip(found.scores[BOTH], found.without, strict=True):
        for order in orders:
            scores = told.copy()
            scores[order[:missing]] = untold[order[:missing]]
            areas.append(auc(found.truth, scores))
    return float(np.mean(areas))


def conclusions(found: Ablation, gains: Mapping[tuple[str, str], Interval]) -> list[str]:
    """Return what the differences say, a sentence each; sure is one whose interval excludes 0."""
    said = []
    for (a, b), gain in gains.items():
        more, unsure, less = SAYS[a, b]
        if not (np.isfinite(gain.low) and np.isfinite(gain.high)):
            said.append(f"{a.capitalize()} and {b} cannot be compared on these cases.")
            continue
        words = more if gain.low > 0 else less if gain.high < 0 else unsure
        said.append(f"{words}: {signed(gain)}.")
    return said + ([ONE_SEED] if len(found.seeds) < 2 else [])
