"""What is told of an evaluation: each figure as a function of how often each case counts.

From scores to figures under weights; intervals over patients are made of them elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from medvision.errors import SpecError
from medvision.scores import ClassScore, LabelScore, MaskScore, Score, arrays, label_arrays
from medvision.weighted import Draws, calibration_error, curve_of, share

FIXED = 0.9  # the specificity at which sensitivity is told, and the other way around
ALL = ""  # of all structures or classes
UNTOLD = ("case_id", "structure", "confidence", "truth_ml")  # of a MaskScore: no figures of it
OVERLAPS = ("dice", "iou", "nsd")  # not defined where a structure is neither there nor found
LESIONS = ("true_lesions", "hit_lesions", "found_lesions", "false_lesions")  # summed over cases

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Head:
    """What a figure is of, and which cases it counts.

    Parameters
    ----------
    of : str
        A structure or class; `ALL` of all of them.
    metric : str
    counted : (M,) bool
    binary : bool
        Whether it is a share of what is right or wrong: of the counted cases, or their lesions.
    wanted : (M,) bool, optional
        Of the AUC of one class, the cases that have it,
    ranked : (M,) float, optional
        and their scores: what its variance is worked out from.
    left_out : int
        Cases that should be counted, but that the figure is not defined for.
    parts : tuple of (M,) bool
        Of a mean over structures or classes, the cases that each of these counts.
    """

    of: str
    metric: str
    counted: Bools
    binary: bool = False
    wanted: Bools | None = None
    ranked: Floats | None = None
    left_out: int = 0
    parts: tuple[Bools, ...] = ()

    def patients(self, groups: Sequence[str], among: Bools | None = None) -> int:
        """Return how many patients it rests on: of a mean those of its rarest part.

        A mean is no surer than the least sure of what it is the mean of. `among` are the cases
        that may count.
        """
        names = np.asarray(groups)
        parts = self.parts or (self.counted,)
        return min(len(np.unique(names[p if among is None else p & among])) for p in parts)


@dataclass(frozen=True)
class Block:
    """Figures that are computed together: draws (D, M) → a column a figure (D, K)."""

    heads: tuple[Head, ...]
    compute: Callable[[Draws], Floats]


@dataclass(frozen=True)
class Measures:
    """All figures of an evaluation.

    Parameters
    ----------
    case_ids : tuple of str
        The M cases.
    blocks : tuple of Block
    means : tuple of (metric, column numbers)
        Figures of all structures or classes, each the mean of these columns of the blocks.
    """

    case_ids: tuple[str, ...]
    blocks: tuple[Block, ...]
    means: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def heads(self) -> tuple[Head, ...]:
        """What each column is: the means first, each of the cases that any part of it counts."""
        single = [head for block in self.blocks for head in block.heads]
        mean = [
            replace(single[which[0]], of=ALL)
            if len(which) == 1
            else Head(
                ALL,
                name,
                np.any([single[n].counted for n in which], axis=0),
                left_out=sum(single[n].left_out for n in which),
                parts=tuple(single[n].counted for n in which),
            )
            for name, which in self.means
        ]
        return (*mean, *single)

    def columns(self, draws: Draws) -> Floats:
        """Return every figure in every draw (D, K); NaN where a draw does not have it."""
        single = np.concatenate([block.compute(draws) for block in self.blocks], axis=1)
        mean = [single[:, list(which)].mean(axis=1) for _, which in self.means]
        return np.column_stack([*mean, single])


def measures_of(scores: Sequence[Score]) -> Measures:
    """Return the figures that scores have.

    Of masks, per structure and as the mean over those structures that the truth has in any case, so
    that two models have the mean of the same ones: every number
    that a `MaskScore` has (cases where it is not defined are left out, and so are overlaps where a
    structure is neither there nor found, as in nnU-Net's ``summary.json``), the absolute volume
    error, and F1, sensitivity and precision of all lesions of all cases. Of classes, per class
    against the rest: AUC, average precision, sensitivity at 90 % specificity and the other way
    around, and with the likeliest class (of classes that come together each that is as likely as
    not) sensitivity, specificity, precision, F1 and balanced accuracy; of all classes the means of
    these, accuracy, Brier score and ECE.

    Raises
    ------
    SpecError
        When there are no scores, or scores of several kinds.
    """
    kinds = {type(score) for score in scores}
    if len(kinds) != 1:
        found = ", ".join(sorted(kind.__name__ for kind in kinds)) or "none"
        raise SpecError(f"Scores of one kind are needed; found: {found}.")
    masks = [score for score in scores if isinstance(score, MaskScore)]
    labels = [score for score in scores if isinstance(score, LabelScore)]
    if masks:
        return mask_measures(masks)
    if labels:
        return label_measures(labels)
    return class_measures([score for score in scores if isinstance(score, ClassScore)])


def ratios(heads: Sequence[Head], top: Sequence[Floats], bottom: Sequence[Floats]) -> Block:
    """Return figures that are each Σ wᵢ·topᵢ / Σ wᵢ·bottomᵢ, from K columns (M,) of both."""
    above, below = np.column_stack(top), np.column_stack(bottom)
    return Block(tuple(heads), lambda draws: share(draws @ above, draws @ below))


def means(heads: Sequence[Head], values: Sequence[Floats]) -> Block:
    """Return figures that are each the mean over the counted cases, from K columns (M,)."""
    top = [np.where(head.counted, one, 0.0) for head, one in zip(heads, values, strict=True)]
    return ratios(heads, top, [head.counted.astype(np.float64) for head in heads])


def with_means(
    case_ids: Sequence[str],
    blocks: Sequence[Block],
    partly: bool = False,
    leave: Collection[str] = (),
) -> Measures:
    """Return figures with the mean of each metric that several structures or classes have.

    Those that are of all already stay as they are; the mean is of those that `leave` does not name.
    There is none where one of them has no figure, as no case has it or all have; if it may be told
    `partly`, the mean is of the others.
    """
    heads = [head for block in blocks for head in block.heads]
    known = ~np.isnan(
        np.concatenate([b.compute(np.ones((1, len(case_ids)))) for b in blocks], axis=1)[0]
    )
    names = list(dict.fromkeys(head.of for head in heads if head.of != ALL))
    of_all = {head.metric for head in heads if head.of == ALL}
    found = []
    if len(names) > 1:
        for metric in dict.fromkeys(head.metric for head in heads if head.of != ALL):
            which = [
                n
                for n, head in enumerate(heads)
                if head.metric == metric and head.of not in (ALL, *leave)
            ]
            which = ([n for n in which if known[n]] or which) if partly else which
            if which and metric not in of_all:
                found.append((metric, tuple(which)))
    return Measures(tuple(case_ids), tuple(blocks), tuple(found))


def mask_measures(scores: Sequence[MaskScore]) -> Measures:
    """Return the figures of masks."""
    case_ids = list(dict.fromkeys(score.case_id for score in scores))
    row = {case_id: number for number, case_id in enumerate(case_ids)}
    names = [f.name for f in fields(scores[0]) if f.name not in (*UNTOLD, *LESIONS)]
    blocks = []
    for structure in dict.fromkeys(score.structure for score in scores):
        mine = [score for score in scores if score.structure == structure]
        rows = [row[score.case_id] for score in mine]

        def column(name: str, of: Sequence[MaskScore] = mine, at: Sequence[int] = rows) -> Floats:
            found = np.full(len(case_ids), np.nan)
            found[at] = [number_of(score, name) for score in of]
            return found

        values = {name: column(name) for name in names}
        values["absolute_error_ml"] = np.abs(values["error_ml"])
        values = {name: one for name, one in values.items() if np.isfinite(one).any()}
        nothing = np.zeros(len(case_ids), bool)
        nothing[[row[score.case_id] for score in mine if score.empty == "both"]] = True
        known = {
            name: np.isfinite(one) & ~nothing if name in OVERLAPS else np.isfinite(one)
            for name, one in values.items()
        }
        heads = [
            Head(structure, name, told, left_out=len(mine) - int(told.sum()))
            for name, told in known.items()
        ]
        blocks.append(means(heads, list(values.values())))
        counts = {name: column(name) for name in LESIONS}
        told = np.isfinite(counts["hit_lesions"])
        if told.any():
            blocks.append(lesion_block(structure, counts, told, len(mine) - int(told.sum())))
    true = {score.structure for score in scores if score.empty not in ("both", "truth")}
    absent = {score.structure for score in scores} - true if true else ()
    return with_means(case_ids, blocks, leave=absent)


def lesion_block(structure: str, counts: Mapping[str, Floats], told: Bools, left_out: int) -> Block:
    """Return F1, sensitivity and precision of lesions, of the sums over cases.

    As `medvision.lesions.LesionCounts` defines them; but where no case has a lesion and none was
    found, there is no F1, as there is no Dice.
    """
    true, hit, _, false = (np.where(told, counts[name], 0.0) for name in LESIONS)
    heads = tuple(
        Head(structure, f"lesion_{name}", told, binary=name != "f1", left_out=left_out)
        for name in ("f1", "sensitivity", "precision")
    )

    def compute(draws: Draws) -> Floats:
        f1 = share(draws @ (2 * hit), draws @ (hit + true + false))
        sums = (share(draws @ hit, draws @ true), share(draws @ hit, draws @ (hit + false)))
        return np.column_stack([f1, *sums])

    return Block(heads, compute)


def number_of(score: MaskScore, name: str) -> float:
    """Return a number of a score; NaN where it has none, as tables of before lack some."""
    value = getattr(score, name, None)
    return float("nan") if value is None else float(value)


def class_measures(scores: Sequence[ClassScore]) -> Measures:
    """Return the figures of classes of which a case has one."""
    truth, shares = arrays(scores)
    said, names = shares.argmax(axis=1), list(scores[0].scores)
    every = np.ones(len(scores), bool)
    right, two = said == truth, len(names) == 2
    error = ((shares - np.eye(len(names))[truth]) ** 2).sum(axis=1) / (2 if two else 1)
    blocks = [
        means([Head(ALL, "accuracy", every, True)], [right.astype(np.float64)]),
        means([Head(ALL, "brier", every)], [error]),
        calibration(ALL, shares.max(axis=1), right),
        balanced(truth, right),
    ]
    for number, name in enumerate(names):
        blocks += one_class(name, truth == number, said == number, shares[:, number])
    leave = names[:1] if two else ()  # of two the second is looked for
    return with_means([score.case_id for score in scores], blocks, leave=leave)


def balanced(truth: NDArray[np.int64], right: Bools) -> Block:
    """Return the mean over classes that have cases of the share that is found."""
    mine = np.stack([truth == number for number in np.unique(truth)], axis=1).astype(np.float64)
    hit = mine * right[:, None]
    head = Head(ALL, "balanced_accuracy", np.ones(len(truth), bool))
    return Block(
        (head,), lambda draws: share(draws @ hit, draws @ mine).mean(axis=1, keepdims=True)
    )


def label_measures(scores: Sequence[LabelScore]) -> Measures:
    """Return the figures of classes that come together."""
    truth, shares = label_arrays(scores)
    blocks = []
    for number, name in enumerate(scores[0].scores):
        mine, share_of = truth[:, number], shares[:, number]
        said = share_of >= 0.5
        every = np.ones(len(scores), bool)
        blocks.append(
            means(
                [Head(name, "accuracy", every, True), Head(name, "brier", every)],
                [(said == mine).astype(np.float64), (share_of - mine) ** 2],
            )
        )
        blocks.append(calibration(name, np.maximum(share_of, 1 - share_of), said == mine))
        blocks += one_class(name, mine, said, share_of)
    return with_means([score.case_id for score in scores], blocks, partly=True)


def calibration(of: str, sure: Floats, right: Bools) -> Block:
    """Return the expected calibration error."""
    head = Head(of, "ece", np.ones(len(sure), bool))
    return Block((head,), lambda draws: calibration_error(sure, right, draws)[:, None])


def one_class(name: str, mine: Bools, said: Bools, scores: Floats) -> list[Block]:
    """Return the figures of one class against the rest.

    Parameters
    ----------
    mine, said : (M,) bool
        Which cases have it, and which were said to.
    scores : (M,) probabilities
    """
    every = np.ones(len(mine), bool)
    percent = f"{FIXED:.0%}".removesuffix("%")
    heads = (
        Head(name, "auc", every, wanted=mine, ranked=scores),
        Head(name, "average_precision", every),
        Head(name, f"sensitivity_at_specificity_{percent}", every),
        Head(name, f"specificity_at_sensitivity_{percent}", every),
    )

    def ranks(draws: Draws) -> Floats:
        curve = curve_of(mine, scores, draws)
        at = (curve.sensitivity_at(FIXED), curve.specificity_at(FIXED))
        return np.column_stack([curve.auc(), curve.average_precision(), *at])

    hit, counts = (mine & said).astype(np.float64), mine.astype(np.float64) + said
    positive, negative = mine.astype(np.float64), (~mine).astype(np.float64)
    passed = (~mine & ~said).astype(np.float64)

    def balance(draws: Draws) -> Floats:
        found = share(draws @ hit, draws @ positive) + share(draws @ passed, draws @ negative)
        return (found / 2)[:, None]

    return [
        Block(heads, ranks),
        means(
            [
                Head(name, "sensitivity", mine, True),
                Head(name, "specificity", ~mine, True),
                Head(name, "precision", said, True),
            ],
            [hit, passed, hit],
        ),
        ratios([Head(name, "f1", mine | said)], [2 * hit], [counts]),
        Block((Head(name, "balanced_accuracy", every),), balance),
    ]
