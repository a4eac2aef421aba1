"""A result as one HTML page: the picture, the measurements, the warnings, and where it is from.

No patient's name and no date is on it, and the same result always gives the same page.
"""

from __future__ import annotations

from pathlib import Path

import medvision
from medvision.files import write_text
from medvision.outputs.overlay import draw_result
from medvision.outputs.page import (
    CONFIDENCE,
    RESEARCH,
    cautions,
    page_html,
    picture,
    review_html,
    scores_table,
    shown,
)
from medvision.prediction import Prediction, Structure, calibrated_note
from medvision.render.ink import label_color
from medvision.review import WORD, other_warnings, review_note
from medvision.study import Study
from medvision.volume import Volume

WIDTH = 1040  # pixels
MOST_CLASSES = 30  # of a classification
ABSENT = "–"
STYLE = """h1 { font-size: 1.5rem; }
.picture { background: #101012; text-align: center; margin: 1rem 0; border-radius: 4px; }
.picture img { display: block; max-width: 100%; height: auto; margin: 0 auto; border-radius: 4px; }
.wide { overflow-x: auto; }
.measured { width: 100%; }
.measured td:first-child { white-space: nowrap; }
.measured th, .measured td { padding: 0.25rem 0.8rem 0.25rem 0; border-bottom: 1px solid #e4e4e8;
 vertical-align: baseline; }
.measured .number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.measured .main { font-weight: 600; }
.square { display: inline-block; width: 0.7rem; height: 0.7rem; margin-right: 0.5rem; }
.facts th { vertical-align: baseline; white-space: nowrap; }
@media print {
 @page { margin: 14mm; }
 html, body { font-size: 11px; }
 body { margin: 0; padding: 0; max-width: none; }
 * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
 .picture, tr, .caution { break-inside: avoid; }
 .picture img { max-height: 125mm; }
 h2 { break-after: avoid; }
}
"""


def save_summary(prediction: Prediction, study: Study, path: Path) -> Path:
    """Write a result as a page of HTML that needs nothing beside it."""
    return write_text(path, summary_html(prediction, study))


def summary_html(prediction: Prediction, study: Study) -> str:
    """Return the page: why to look, warnings, picture, measurements or classes, model and grid.

    Parameters
    ----------
    prediction : Prediction
    study : Study
        The study it was made of; the picture shows its scan.
    """
    image = draw_result(prediction, study, title="", told=False)
    what = "Structures" if prediction.mask is not None else "Classes"
    found = structures_html(prediction) if prediction.mask is not None else classes_html(prediction)
    body = f"""<h1>{shown(prediction.case_id)}</h1>
<p>{shown(prediction.task.capitalize())} by <b>{shown(prediction.model)}</b>.
<span class="small">{RESEARCH}</span></p>
{review_html(review_note(prediction))}
{cautions(other_warnings(prediction))}
<div class="picture">{picture(image, f"The scan and what {prediction.model} found in it")}</div>
<h2>{what}</h2>
{found}
<h2>Scan and model</h2>
{facts_html(prediction, study)}"""
    return page_html(f"{prediction.case_id} · {prediction.model}", body, STYLE, WIDTH)


def structures_html(prediction: Prediction) -> str:
    """Return the table of the structures."""
    heads = ["volume (ml)", "voxels", "center x, y, z (mm)", "extent i, j, k (mm)"]
    heads += ["confidence"] if prediction.confidence else []
    head = "".join(f'<th class="number">{one}</th>' for one in heads) + "<th></th>"
    rows = "".join(structure_row(one, prediction) for one in prediction.measure())
    sure = f" {CONFIDENCE}" if prediction.confidence else ""
    return (
        f'<div class="wide"><table class="measured"><tr><th></th>{head}</tr>{rows}</table></div>'
        '<p class="small">The center is in RAS mm: x to the patient\'s right, y to the front, '
        "z up. The extent is that of the box around the structure, along the scan's own axes."
        f"{sure}</p>"
    )


def structure_row(one: Structure, prediction: Prediction) -> str:
    """Return the row of a structure; what is not known is a dash."""
    sure, limit = prediction.confidence.get(one.name), prediction.review
    color = "#{:02x}{:02x}{:02x}".format(*label_color(one.label))
    name = f'<span class="square" style="background:{color}"></span>{shown(one.name)}'
    cells: tuple[str, ...] = (
        ABSENT if one.ml is None else f"{one.ml:.2f}",
        str(one.voxels),
        numbers(one.centroid_mm),
        numbers(one.extent_mm),
    )
    if prediction.confidence:
        cells += (ABSENT if sure is None else f"{sure:.2f}",)
    rest = "".join(f'<td class="number">{words}</td>' for words in cells[1:])
    remark = "" if one.voxels else "not found"
    if one.touches_border:
        remark = "reaches the edge of what the model was shown"
    if sure is not None and limit is not None and sure < limit:
        remark = f'<span class="badge">{WORD}</span> {remark}'
    return (
        f'<tr><td>{name}</td><td class="number main">{cells[0]}</td>{rest}'
        f'<td class="small">{remark}</td></tr>'
    )


def numbers(values: tuple[float, ...] | None) -> str:
    """Return coordinates or sizes in mm."""
    return ABSENT if values is None else ", ".join(f"{round(v, 1) + 0.0:.1f}" for v in values)


def classes_html(prediction: Prediction) -> str:
    """Return the table of the classes, and which are found."""
    columns = {"probability": prediction.scores or {}}
    columns |= {f"{what} alone": scores for what, scores in prediction.alone.items()}
    said = prediction.predicted or ""
    spoken = said.split("|") if prediction.multilabel else [said]
    least = prediction.least_confidence
    sure = "" if least is None else f" Confidence: {least:.2f}. {CONFIDENCE}"
    several = " Each class has a probability of its own." if prediction.multilabel else ""
    note = calibrated_note(prediction)
    known = f"<p>{shown(note)}</p>" if note else ""
    return (
        f"<p>Found: <b>{shown(said)}</b>.{several}{sure}</p>{known}"
        f'<div class="wide">{scores_table(columns, spoken, MOST_CLASSES)}</div>'
    )


def facts_html(prediction: Prediction, study: Study) -> str:
    """Return what scan and model were, a line each."""
    scan = study.image
    facts = {"Model": prediction.model, "Scan": scan_in_words(scan)}
    if len(study.volumes) > 1:
        facts["Inputs"] = ", ".join(study.volumes)
    if scan.info.spacing_known:
        x, y, z = (float(v) for v in scan.affine[:3, 3])
        facts["First voxel"] = f"({numbers((x, y, z))}) mm RAS"
    facts["Shown to the model"] = region_in_words(prediction, scan)
    facts["Made by"] = f"medvision {medvision.__version__}"
    rows = "".join(
        f"<tr><th>{what}</th><td>{shown(said)}</td></tr>" for what, said in facts.items()
    )
    return f'<table class="facts">{rows}</table>'


def scan_in_words(scan: Volume) -> str:
    """Return modality, size, spacing and axes."""
    kind = f"{scan.info.modality}, " if scan.info.modality else ""
    size = " × ".join(map(str, scan.shape))
    if not scan.info.spacing_known:
        return f"{kind}{size} voxels, without known spacing"
    steps = " × ".join(f"{mm:.4g}" for mm in scan.spacing)
    return f"{kind}{size} voxels of {steps} mm, axes {scan.orientation}"


def region_in_words(prediction: Prediction, scan: Volume) -> str:
    """Return which block of the scan the model was shown."""
    sides = [s.stop - s.start for s in prediction.region]
    if sides == list(scan.shape):
        return "the whole scan"
    places = ", ".join(
        f"{axis} {s.start} to {s.stop - 1}"
        for axis, s in zip("ijk", prediction.region, strict=True)
    )
    return f"a block of {' × '.join(map(str, sides))} voxels ({places})"
