"""An evaluation on one HTML page: its figures with intervals, charts, pictures, how it was made.

Knows nothing of models. The same facts always give the same page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from medvision.differences import MAIN
from medvision.outputs import class_charts, curves, mask_charts
from medvision.outputs.case_pictures import CasePicture as CasePicture
from medvision.outputs.case_pictures import case_in_words as case_in_words
from medvision.outputs.case_pictures import extreme_cases as extreme_cases
from medvision.outputs.class_charts import Classes
from medvision.outputs.figure_tables import (
    differences_html,
    every_figure,
    format_of,
    main_figure,
    main_tables,
    subgroups_html,
    title_of,
)
from medvision.outputs.page import RESEARCH, cautions, page_html, picture, shown
from medvision.render.truth import draw_case as draw_case
from medvision.scores import ClassScore, LabelScore, MaskScore, Score
from medvision.statistics import Figure

LIGHT = """--ink: #1a1a1a; --paper: #fff; --faint: #555; --rule: #dcdce2; --first: #0b5cad;
 --second: #b3541e; --bar: #4b5b70; --shade: 11, 92, 173; --caution: #fff4d6;"""
DARK = """--ink: #e8e8ea; --paper: #16171a; --faint: #a9abb2; --rule: #3a3c42; --first: #6cb2ff;
 --second: #ffa066; --bar: #8fa3bd; --shade: 108, 178, 255; --caution: #473a12;"""
RULES = (
    curves.STYLE
    + """html { background: var(--paper); }
body { color: var(--ink); overflow-wrap: anywhere; }
h2 { border-top: 1px solid var(--rule); padding-top: 0.8rem; margin-top: 1.6rem; }
.caution { background: var(--caution); }
.small, svg text, figcaption { color: var(--faint); fill: var(--faint); }
figcaption b { color: var(--ink); }
.counts { display: flex; flex-wrap: wrap; gap: 0.4rem 2rem; }
.counts b { font-size: 1.6rem; display: block; line-height: 1.2; }
.charts { display: flex; flex-wrap: wrap; gap: 1rem 1.6rem; margin: 0.6rem 0; }
figure { margin: 0; width: 19rem; max-width: 100%; }
figcaption { font-size: 0.85rem; }
svg { display: block; width: 100%; height: auto; }
svg text { font-size: 11px; }
.wide { overflow-x: auto; max-width: 100%; margin: 0.6rem 0; overflow-wrap: normal; }
.grid { font-variant-numeric: tabular-nums; }
.grid caption { text-align: left; color: var(--faint); font-size: 0.85rem; padding: 0.2rem 0; }
.grid th, .grid td { padding: 0.25rem 1.1rem 0.25rem 0; border-bottom: 1px solid var(--rule);
 white-space: nowrap; vertical-align: middle; }
.grid thead th { color: var(--faint); vertical-align: bottom; }
.grid tbody th { color: var(--ink); font-size: inherit; }
.below { display: block; font-size: 0.8rem; color: var(--faint); }
.share { display: block; margin: -0.25rem 0; padding: 0.25rem 0.7rem; min-width: 2.5rem;
 background: rgba(var(--shade), calc(0.6 * var(--share))); }
svg.strip { width: 200px; height: 18px; }
.reach { stroke: var(--ink); stroke-width: 1.5; }
.few { fill: var(--paper); stroke: var(--first); stroke-width: 2; }
.scale { display: flex; justify-content: space-between; width: 200px; }
.charts.cases figure { width: calc(50% - 0.8rem); min-width: 28rem; }
.cases img { display: block; max-width: 100%; max-height: 26rem; border-radius: 3px; }
details { margin: 0.6rem 0; }
summary { cursor: pointer; }
.facts th { vertical-align: baseline; color: var(--faint); }
.facts td { overflow-wrap: anywhere; }
@media (max-width: 600px) { .charts figure, .charts.cases figure { width: 100%; min-width: 0; } }
"""
)
LOOKS = {
    "": f":root {{ color-scheme: light dark; {LIGHT} }}\n"
    f"@media (prefers-color-scheme: dark) {{ :root {{ {DARK} }} }}\n",
    "light": f":root {{ color-scheme: light; {LIGHT} }}\n",
    "dark": f":root {{ color-scheme: dark; {DARK} }}\n",
}
PRINTED = f"""@media print {{ :root {{ color-scheme: light; {LIGHT} }} }}
@media print {{
 @page {{ margin: 14mm; }}
 html, body {{ font-size: 11px; }}
 body {{ margin: 0; padding: 0; max-width: none; }}
 * {{ print-color-adjust: exact; -webkit-print-color-adjust: exact; }}
 figure, tr, .caution {{ break-inside: avoid; }}
 h2 {{ break-after: avoid; }}
 .wide {{ overflow: visible; }}
 .grid th, .grid td {{ white-space: normal; }}
 details::details-content {{ content-visibility: visible; block-size: auto; }}
}}
"""


@dataclass(frozen=True)
class EvaluationFacts:
    """What an evaluation found, and how it came about.

    Parameters
    ----------
    title : str
        ``"hippocampus on cases.csv"``.
    scores : sequence of Score
        Of one kind, at least one.
    figures : sequence of Figure
        `medvision.statistics.summarize`'s, of all cases.
    subgroups : sequence of Figure
        `medvision.differences.subgroup_figures`'.
    differences : sequence of Figure
        `medvision.differences.model_differences`', from a second model.
    other : str
        The second model's name.
    other_scores : sequence of Score
        Of the second model, of the same cases.
    pictures : sequence of CasePicture
        The worst first, then the best.
    command : str
        As it could be typed again.
    settings, versions : mapping of str to str
        The model, its hash, the table, the split, the tolerance, …; and `package_versions`.
    warnings : sequence of str
    """

    title: str
    scores: Sequence[Score]
    figures: Sequence[Figure]
    subgroups: Sequence[Figure] = ()
    differences: Sequence[Figure] = ()
    other: str = ""
    other_scores: Sequence[Score] = ()
    pictures: Sequence[CasePicture] = ()
    command: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()


def evaluation_html(facts: EvaluationFacts, look: str = "") -> str:
    """Return the page: no script, nothing from elsewhere, for screens, phones and paper.

    Parameters
    ----------
    facts : EvaluationFacts
    look : str
        ``"light"`` or ``"dark"``, as what it stands in; empty: as the reader's browser likes.
    """
    parts = "\n".join(
        f"<section>\n<h2>{shown(name)}</h2>\n{content}\n</section>"
        for name, content in sections_of(facts).items()
    )
    body = f"""<h1>{shown(facts.title)}</h1>
<p class="small">{RESEARCH}</p>
{cautions(facts.warnings)}
{headline(facts)}
{parts}"""
    return page_html(facts.title, body, f"{RULES}{LOOKS[look]}{PRINTED}", width=1160)


def headline(facts: EvaluationFacts) -> str:
    """Return the main figures in large, and how many cases and patients they are of."""
    cases = len({one.case_id for one in facts.scores})
    patients = max(one.patients for one in facts.figures)
    counts = [(str(cases), "case" if cases == 1 else "cases")]
    if patients != cases:
        counts.append((str(patients), "patient" if patients == 1 else "patients"))
    for metric in MAIN:
        one = main_figure(facts.figures, metric)
        if one is not None and math.isfinite(one.value):
            digits = format_of(metric)
            reach = f" ({one.low:{digits}} to {one.high:{digits}})" if one.low <= one.high else ""
            counts.append((format(one.value, digits), f"{title_of(metric)}{reach}"))
    spans = (f"<span><b>{shown(number)}</b> {shown(what)}</span>" for number, what in counts)
    return f'<p class="counts">{"".join(spans)}</p>'


def sections_of(facts: EvaluationFacts) -> dict[str, str]:
    """Return what the page tells, as HTML by heading; what there is nothing of is left out."""
    masks = [one for one in facts.scores if isinstance(one, MaskScore)]
    parts = {"Figures": main_tables(facts.scores, facts.figures)}
    parts |= mask_sections(facts, masks) if masks else class_sections(facts)
    if facts.subgroups:
        parts["Sub-groups"] = subgroups_html(facts.figures, facts.subgroups)
    if facts.differences:
        parts[f"Against {facts.other}"] = differences_html(facts.differences, facts.other)
        theirs = [one for one in facts.other_scores if isinstance(one, MaskScore)]
        if masks and theirs:
            charts = mask_charts.against_html(masks, theirs, facts.other)
            parts[f"Against {facts.other}"] += charts
    parts["Cases to look at"] = pictures_html(facts.pictures)
    parts["All figures"] = every_figure(facts.figures)
    parts["How it was made"] = made_html(facts)
    return {name: content for name, content in parts.items() if content}


def mask_sections(facts: EvaluationFacts, masks: Sequence[MaskScore]) -> dict[str, str]:
    """Return what is told of masks."""
    return {
        "Dice": mask_charts.dice_html(masks),
        "Volumes": mask_charts.volumes_html(masks, facts.figures),
        "Lesions": mask_charts.lesions_html(masks, facts.figures),
        "Empty masks": mask_charts.empty_html(masks, facts.figures),
    }


def class_sections(facts: EvaluationFacts) -> dict[str, str]:
    """Return what is told of classes."""
    scores, other = classes_among(facts.scores), classes_among(facts.other_scores)
    return {
        "Curves": class_charts.curves_html(scores, facts.figures, other, facts.other),
        "Reliability": class_charts.reliability_html(scores, facts.figures),
        "Confusion": class_charts.confusion_html(scores),
        "Confidence": class_charts.confidence_html(scores),
    }


def classes_among(scores: Sequence[Score]) -> Classes:
    """Return the scores of classes, which are all of one kind."""
    return cast(Classes, [one for one in scores if isinstance(one, ClassScore | LabelScore)])


def pictures_html(pictures: Sequence[CasePicture]) -> str:
    """Return the pictures, each with its case and how it went."""
    if not pictures:
        return ""
    figures = (
        f"<figure>{picture(one.image, f'{one.case_id}: {one.words}', 'JPEG')}"
        f"<figcaption><b>{shown(one.case_id)}</b>: {shown(one.words)}</figcaption></figure>"
        for one in pictures
    )
    return f'<div class="charts cases">{"".join(figures)}</div>'


def made_html(facts: EvaluationFacts) -> str:
    """Return the command, the settings and the versions, a line each."""
    made = ", ".join(f"{name} {said}" for name, said in facts.versions.items() if said)
    lines = {"Command": facts.command, **facts.settings, "Versions": made}
    rows = "".join(
        f'<tr><th scope="row">{shown(what)}</th><td>{shown(said)}</td></tr>'
        for what, said in lines.items()
        if said
    )
    return f'<table class="facts">{rows}</table>' if rows else ""
