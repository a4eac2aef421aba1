"""Folds of cases that never split a group, and have their share of each class.

Knows nothing of files and images.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from itertools import product

from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from medvision.dataset import Case
from medvision.errors import CasesError
from medvision.spec import names_of

TRIES = 20  # seeds that folds are looked for with


def split_folds(
    cases: Sequence[Case], folds: int, seed: int = 0, multilabel: bool = False
) -> list[list[int]]:
    """Return the validation rows of each fold; a group lies in one fold only.

    Where the cases have labels, each fold has about the same share of each, as far as whole groups
    allow it; with `multilabel` of each case's rarest class.

    Raises
    ------
    CasesError
        When there are fewer groups than folds, or a class would be absent from the training cases
        of a fold, or with `multilabel` present in all of them.
    """
    groups, labels = [case.group for case in cases], [case.label for case in cases]
    strata = rarest_classes(labels) if multilabel else labels
    if not 2 <= folds <= len(set(groups)):
        raise CasesError(f"{len(set(groups))} groups cannot make {folds} folds (at least 2).")
    kinds = [StratifiedGroupKFold, GroupKFold] if any(labels) else [GroupKFold]
    lacking = ""
    with warnings.catch_warnings():  # a class rarer than the folds is told below, if it matters
        warnings.simplefilter("ignore", UserWarning)
        # stratification may leave a fold empty, and either may put a rare class into one fold
        for kind, number in product(kinds, range(TRIES)):
            splitter = kind(folds, shuffle=True, random_state=seed + number)
            try:
                split = [val.tolist() for _, val in splitter.split(groups, strata, groups)]
            except ValueError:  # every class is rarer than the folds: nothing to stratify
                continue
            lacking = lacking_classes(labels, split, multilabel)
            if all(split) and not lacking:
                return split
    raise CasesError(
        f"Every case of {lacking} lies in one fold of {folds}: it would be absent from training. "
        "Ask for other folds (--folds), or leave the class out."
    )


def rarest_classes(labels: Sequence[str]) -> list[str]:
    """Return of each label of several classes the one that the fewest cases have."""
    total = Counter(name for label in labels for name in names_of(label))
    return [min(names_of(label), key=total.__getitem__, default=label) for label in labels]


def lacking_classes(
    labels: Sequence[str], split: Sequence[Sequence[int]], multilabel: bool = False
) -> str:
    """Return the classes that all lie in the validation rows of one fold.

    With `multilabel` also ``"no a"``, when all cases without the class ``a`` do.
    """
    kinds = [names_of(label, multilabel) for label in labels]
    if multilabel:
        every = sorted({name for kind in kinds for name in kind})
        kinds = [(*kind, *(f"no {n}" for n in every if n not in kind)) for kind in kinds]
    total = Counter(name for kind in kinds for name in kind)
    lacking = [
        name
        for val in split
        for name, count in Counter(name for i in val for name in kinds[i]).items()
        if count == total[name]
    ]
    return ", ".join(sorted(set(lacking)))
