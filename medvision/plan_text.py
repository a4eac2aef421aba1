"""How a model is to read the reports of its training cases: which sections, which words.

Knows nothing of images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from medvision.dataset import Case
from medvision.errors import CasesError
from medvision.models.text import learn_vocabulary
from medvision.report import DEFAULT_SECTIONS, report_for_model, split_sections
from medvision.text_spec import TextSpec


def plan_text(
    cases: Sequence[Case],
    fusion: str,
    sections: Sequence[str] = DEFAULT_SECTIONS,
    masked: Sequence[str] = (),
    encoder: str = "",
) -> tuple[TextSpec, Mapping[str, str]]:
    """Return how the reports of training cases are read, and a line of reason for each decision.

    The words that our own encoder knows are learned from these cases. With folds that includes the
    reports that each fold validates on, but not their labels.

    Parameters
    ----------
    cases : sequence of Case
    fusion : str
        One of `medvision.text_spec.METHODS`.
    sections, masked, encoder
        As of `TextSpec`.

    Raises
    ------
    CasesError
        When no case has a report, or none has text in these sections.
    SpecError
        When there is no such fusion or section.
    """
    text = TextSpec(fusion, tuple(sections), tuple(masked), encoder)
    reports = [case.report for case in cases if case.report]
    if not reports:
        raise CasesError(
            "No case has a report: a cases.csv holds the text in a column report, or a path in a "
            "column report_file."
        )
    seen = [report_for_model(report, text.sections, text.masked) for report in reports]
    some = sum(map(bool, seen))
    if not some:
        there = Counter(name for report in reports for name in split_sections(report))
        raise CasesError(
            f"No report has text under {', '.join(text.sections)}; found: "
            f"{', '.join(f'{name} in {count}' for name, count in there.most_common())}. Choose "
            "from these (--sections); the audit tells what they give away: medvision audit."
        )
    reasons = {
        "text.sections": f"{some} of {len(cases)} cases have text there; "
        + (
            "they may hold the answer: see the audit"
            if text.opted_in
            else "written before anybody looked at the image"
        )
    }
    if encoder:
        return text, reasons
    vocabulary = learn_vocabulary(seen)
    words = sum(1 for piece in vocabulary.split(" ") if len(piece.removeprefix("##")) > 1)
    reasons["text.vocabulary"] = f"{words} words come at least twice; others are spelt"
    return TextSpec(fusion, tuple(sections), tuple(masked), vocabulary=vocabulary), reasons
