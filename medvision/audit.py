"""What reports give away of the labels, before a model reads them.

A report may hold the answer: the label was mined from it, or a word stands for it. A model then
learns to read the answer, and nobody sees that it is blind. Knows nothing of images and networks.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from medvision.dataset import Case, refuse, shared_groups, strange_labels
from medvision.errors import CasesError
from medvision.folds import split_folds
from medvision.intervals import Interval, bootstrap
from medvision.metrics import auc
from medvision.report import SECTIONS, report_for_model, split_sections
from medvision.report_masking import MASK
from medvision.spec import names_of
from medvision.tfidf import TextBaseline, words_of
from medvision.words import TellingWord, plain, telling, telling_words

STOP_AUC = 0.9  # a text that surely tells more than this leaves nothing for the image to add
STOP_WORD_AUC = 0.8  # no single word of an honest history tells this much: it stands for the label
JOIN = " + "  # between sections that are judged together
COPY_WORDS = 40  # shorter reports are the same because they are templates, not copies
NAME_LETTERS = 4  # shorter words of a class name are words of any text
FEW_GROUPS = 30  # with fewer patients an AUC of text says little
DRAWS = 1000


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or may be.

    Parameters
    ----------
    code : str
        ``section``, ``together``, ``word``, ``class_name``, ``mask``, ``presence``, ``copies``,
        ``copies_across_splits``, ``patients_across_splits`` or ``few``.
    section : str
        Of the report; empty where it concerns them all, several joined by ``+`` where it concerns
        who sees all of these.
    text : str
        One sentence with figures.
    stops : bool
        Whether a training on this section has to be asked for twice.
    """

    code: str
    section: str
    text: str
    stops: bool


@dataclass(frozen=True)
class SectionAudit:
    """A section, or several: how many cases have it, and what its text tells, out of fold."""

    section: str
    cases: int
    share: tuple[float, ...]  # of each class's cases, those that have it
    auc: Interval | None  # None where it cannot be told


@dataclass(frozen=True)
class Audit:
    """What was looked at, and what was found."""

    cases: int
    groups: int
    reports: int
    class_names: tuple[str, ...]
    masked: tuple[str, ...]
    sections: tuple[SectionAudit, ...]  # each alone, in the cases that have it
    together: SectionAudit | None  # what a model sees, in all cases; None for one of these
    words: tuple[tuple[str, TellingWord], ...]  # with their section
    findings: tuple[Finding, ...]
    seen: tuple[str, ...]  # sections that a model is to see
    question: str = ""  # "a: " where it asks for one class, a, of several

    @property
    def rows(self) -> list[SectionAudit]:
        """Each section, and what is seen together."""
        return [*self.sections, *([self.together] if self.together else [])]

    @property
    def readable(self) -> list[str]:
        """Sections that a model is to see, and that some report has."""
        return [one.section for one in self.sections if one.section in self.seen]

    def concerning(self, sections: Sequence[str]) -> list[Finding]:
        """Return the findings on some sections, and those on whole reports."""
        return [one for one in self.findings if within(one.section, ("", *sections))]

    def stopping(self, sections: Sequence[str]) -> list[Finding]:
        """Return the findings that stop a training on these sections."""
        return [found for found in self.concerning(sections) if found.stops]

    def notes(self, sections: Sequence[str]) -> list[str]:
        """Return sentences for a model card: what these sections tell, and what was found."""
        told = [
            f"{self.question}The text of {one.section} alone ({one.cases} of {self.cases} cases) "
            f"tells the classes with an AUC of {one.auc} out of fold."
            for one in self.rows
            if within(one.section, sections) and one.auc
        ]
        return told + [found.text for found in self.concerning(sections)]


def audit(
    cases: Sequence[Case],
    class_names: Sequence[str],
    masked: Sequence[str] = (),
    folds: int = 5,
    seed: int = 0,
    seen: Sequence[str] = SECTIONS,
) -> Audit:
    """Look for labels in reports, copied reports, and patients in several splits.

    Parameters
    ----------
    cases : sequence of Case
    class_names : sequence of str
        None (a segmentation): there are no labels to look for.
    masked : sequence of str
        Words that a model will not see, and that are hidden from the audit, too.
    folds : int
        Of the text baseline, by patient; fewer where there are fewer patients.
    seed : int
    seen : sequence of str
        Sections that a model is to see. Each section is judged; these are judged together, too,
        since little in each may be much in all of them.

    Raises
    ------
    CasesError
        When no case has a report, or a label is none of the classes.
    """
    names = tuple(class_names)
    if not any(case.report for case in cases):
        raise CasesError(
            "No case has a report to audit: a cases.csv holds the text in a column report, or a "
            "path in a column report_file."
        )
    if names:
        refuse(strange_labels(cases, names))
    split = [split_sections(case.report or "") for case in cases]
    sections, words, findings = [], [], few(cases)
    for section in SECTIONS:
        having = [case for case, parts in zip(cases, split, strict=True) if section in parts]
        if not having:
            continue
        texts = [report_for_model(case.report, (section,), tuple(masked)) for case in having]
        share = shares(cases, having, names)
        area = text_auc(having, texts, names, folds, seed) if names else None
        sections.append(SectionAudit(section, len(having), share, area))
        findings += answers("section", sections[-1])
        labels, groups = [c.label for c in having], [c.group for c in having]
        told = telling_words(texts, labels, groups, names) if names else []
        words += [(section, word) for word in told]
        for word in told:
            if word.auc >= STOP_WORD_AUC and word.word != MASK.lower():
                text = f"In {section} one word gives the answer away: {figures(word)}"
                findings.append(Finding("word", section, text, True))
        findings += own_names(section, texts, labels, groups, names)
        findings += traces(section, texts, labels, groups, names)
        findings += presence(section, cases, having, names)
    there, together = [one for one in sections if one.section in seen], None
    if names and len(there) > 1:
        shown = tuple(one.section for one in there)
        texts = [report_for_model(case.report, shown, tuple(masked)) for case in cases]
        having = [case for case, text in zip(cases, texts, strict=True) if text]
        area, share = text_auc(cases, texts, names, folds, seed), shares(cases, having, names)
        together = SectionAudit(JOIN.join(shown), len(having), share, area)
        if not any(answers("section", one) for one in there):  # else there is nothing new in it
            findings += answers("together", together)
    findings += copies(cases) + shared_patients(cases)
    return Audit(
        len(cases),
        len({case.group for case in cases}),
        sum(1 for case in cases if case.report),
        names,
        tuple(masked),
        tuple(sections),
        together,
        tuple(words),
        tuple(sorted(findings, key=lambda found: not found.stops)),
        tuple(seen),
    )


def audit_classes(
    cases: Sequence[Case],
    class_names: Sequence[str],
    multilabel: bool = False,
    masked: Sequence[str] = (),
    seen: Sequence[str] = SECTIONS,
) -> list[Audit]:
    """Look once, or with `multilabel` class by class: each is a question of its own.

    Findings on sections then begin with their class. Arguments and errors as of `audit`.
    """
    if not multilabel:
        return [audit(cases, class_names, masked, seen=seen)]
    refuse(strange_labels(cases, class_names, multilabel))
    found = []
    for name in class_names:
        one = audit(yes_or_no(cases, name), (no(name), name), masked, seen=seen)
        told = [replace(f, text=f"{name}: {f.text}") if f.section else f for f in one.findings]
        found.append(replace(one, findings=tuple(told), question=f"{name}: "))
    return found


def yes_or_no(cases: Sequence[Case], name: str) -> list[Case]:
    """Return the cases, labeled by whether they have one class of several."""
    return [
        replace(case, label=name if name in names_of(case.label) else no(name)) for case in cases
    ]


def no(name: str) -> str:
    """Return what a case without a class is called."""
    return f"no {name}"


def few(cases: Sequence[Case]) -> list[Finding]:
    """Say so where there are too few patients for the figures to mean much."""
    groups = len({case.group for case in cases})
    if groups >= FEW_GROUPS:
        return []
    text = f"{len(cases)} cases of {groups} patients are few: what the audit does not find may be."
    return [Finding("few", "", text, False)]


def answers(code: str, one: SectionAudit) -> list[Finding]:
    """Return that a text tells the classes too well to be an honest help."""
    if one.auc is None or one.auc.low <= STOP_AUC:
        return []
    text = (
        f"The text of {one.section} alone tells the classes with an AUC of {one.auc}: little is "
        "left for the image to add, and the answer may be written there."
    )
    return [Finding(code, one.section, text, True)]


def within(section: str, sections: Sequence[str]) -> bool:
    """Tell whether a section, or each of several joined ones, is among some."""
    return set(section.split(JOIN)) <= set(sections)


def shares(
    cases: Sequence[Case], having: Sequence[Case], names: Sequence[str]
) -> tuple[float, ...]:
    """Return how many of each class's cases are among some cases."""
    total, some = Counter(c.label for c in cases), Counter(c.label for c in having)
    return tuple(some[name] / total[name] if total[name] else 0.0 for name in names)


def text_auc(
    cases: Sequence[Case], texts: Sequence[str], names: Sequence[str], folds: int, seed: int
) -> Interval | None:
    """Return the AUC of the text baseline, each case judged by a model that never saw its patient.

    Of the classes that these cases have; None where there are too few to split.
    """
    labels, groups = [case.label for case in cases], [case.group for case in cases]
    there = [name for name in names if name in set(labels)]
    splits = fold_rows(cases, folds, seed)
    if len(there) < 2 or not splits:
        return None
    scores = np.zeros((len(cases), len(there)))
    for val in splits:
        train = sorted(set(range(len(cases))) - set(val))
        model = TextBaseline(there)
        model.fit(*([one[i] for i in train] for one in (texts, labels, groups)))
        scores[val] = model.likelihoods([texts[i] for i in val])
    truth = np.array([there.index(label) for label in labels])
    area = bootstrap(auc, truth, scores, groups, DRAWS, seed)
    return area if np.isfinite(area.low) else None


def fold_rows(cases: Sequence[Case], folds: int, seed: int) -> list[list[int]]:
    """Return the rows of as many folds as there can be; none where there can be none."""
    for count in range(min(folds, len({case.group for case in cases})), 1, -1):
        try:
            return split_folds(cases, count, seed)
        except CasesError:  # a class would lie in one fold: fewer folds may do
            continue
    return []


def figures(word: TellingWord) -> str:
    """Return how well a word tells its class, as the end of a sentence."""
    return (
        f"{word.word!r} tells {word.class_name} with an AUC of {word.auc:.2f}, "
        f"{word.share_in:.0%} of its patients have it and {word.share_out:.0%} of the others."
    )


def own_names(
    section: str,
    texts: Sequence[str],
    labels: Sequence[str],
    groups: Sequence[str],
    names: Sequence[str],
) -> list[Finding]:
    """Return the classes whose own name, or a long word of it, tells them."""
    parts = {c: {plain(c), *(w for w in plain(c).split() if len(w) >= NAME_LETTERS)} for c in names}
    words = sorted(set().union(*parts.values()) - {""})
    padded = [f" {plain(text)} " for text in texts]
    has = np.array([[f" {word} " in text for word in words] for text in padded], float)
    findings = []
    told = [one for one in telling(has, words, labels, groups, names) if one]
    for name in names:
        own = [one for one in told if one.class_name == name and one.word in parts[name]]
        own = [one for one in own if one.share_in > one.share_out]
        if own:
            best = max(own, key=lambda one: one.auc)
            text = f"In {section} the class {name} is called by its name: {figures(best)}"
            findings.append(Finding("class_name", section, text, True))
    return findings


def traces(
    section: str,
    texts: Sequence[str],
    labels: Sequence[str],
    groups: Sequence[str],
    names: Sequence[str],
) -> list[Finding]:
    """Return that masked words still tell a class: by what stands in their place."""
    has = np.array([[MASK in text] for text in texts], float)
    told = [one for one in telling(has, [MASK], labels, groups, names) if one]
    words = f"In {section} words are hidden, but not that they were there:"
    return [tells("mask", section, words, one) for one in told]


def presence(
    section: str, cases: Sequence[Case], having: Sequence[Case], names: Sequence[str]
) -> list[Finding]:
    """Return that having the section at all tells a class: to a model it is as good as a word."""
    ids = {case.case_id for case in having}
    has = np.array([[case.case_id in ids] for case in cases], float)
    labels, groups = [c.label for c in cases], [c.group for c in cases]
    told = [one for one in telling(has, [section], labels, groups, names) if one]
    return [tells("presence", section, "Whether there is a section", one) for one in told]


def tells(kind: str, section: str, words: str, word: TellingWord) -> Finding:
    """Return that a word, or what stands for one, tells a class."""
    return Finding(kind, section, f"{words} {figures(word)}", word.auc >= STOP_WORD_AUC)


def copies(cases: Sequence[Case]) -> list[Finding]:
    """Return how many reports are, word for word, those of another patient, and of another split.

    Case, punctuation and blanks do not count.
    """
    found: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        words = words_of(case.report or "")
        if len(words) >= COPY_WORDS:
            found[" ".join(words)].append(case)
    copied = [same for same in found.values() if len({case.group for case in same}) > 1]
    across = [same for same in copied if len({case.split or "train" for case in same}) > 1]
    findings = []
    if across:
        text = (
            f"{sum(map(len, across))} cases have a report that stands word for word in another "
            f"split ({len(across)} different reports): what is learned by heart is tested."
        )
        findings.append(Finding("copies_across_splits", "", text, True))
    if copied:
        text = (
            f"{sum(map(len, copied))} cases have the report of another patient, word for word "
            f"({len(copied)} different reports): folds cannot keep these apart."
        )
        findings.append(Finding("copies", "", text, False))
    return findings


def shared_patients(cases: Sequence[Case]) -> list[Finding]:
    """Return that patients are in two splits, without naming them."""
    count = len(shared_groups(cases))
    text = f"{count} patients are in two splits: a model is tested on patients that it knows."
    return [Finding("patients_across_splits", "", text, True)] if count else []
