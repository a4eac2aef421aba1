"""All studies of a results folder on one HTML page: what failed, how the numbers lie, each study.

Knows nothing of models. The same folder always gives the same page.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medvision.files import write_text
from medvision.io.walk import RESULTS_MARK
from medvision.outputs.batch_studies import as_float, in_studies, number, studies_html
from medvision.outputs.charts import histogram
from medvision.outputs.page import CONFIDENCE, RESEARCH, page_html, shown
from medvision.outputs.saved import RESULTS, Saved, card_of, read_saved
from medvision.outputs.table import MODEL, OTHER, SERIES, UNREADABLE
from medvision.render.ink import label_color
from medvision.review import YES

REPORT = "report.html"
MOST_CHARTS, MOST_REASONS, MOST_NAMES = 60, 40, 60
TRIES = 3
KINDS = {
    UNREADABLE: "Cannot be read",
    SERIES: "No series, or several: --series chooses one",
    MODEL: "Not for this model",
    OTHER: "Other reasons",
}
PLAIN = "#4b5b70"
STYLE = """h1 { font-size: 1.5rem; }
.counts b { font-size: 1.25rem; margin-right: 0.2rem; }
.counts span { margin-right: 1.4rem; white-space: nowrap; }
.charts { display: flex; flex-wrap: wrap; gap: 0.8rem 1.6rem; }
figure { margin: 0; width: 17rem; }
figcaption { font-size: 0.85rem; overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: auto; }
svg text { font-size: 11px; fill: #555; }
.wide { overflow-x: auto; }
.studies { width: 100%; }
.studies td, .studies th { padding: 0.3rem 0.9rem 0.3rem 0; border-bottom: 1px solid #e4e4e8;
 vertical-align: top; }
.studies img { display: block; border-radius: 3px; background: #101012; }
.studies .number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.study, .reason { overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin-bottom: 0.2rem; }
.study { min-width: 13rem; }
.thumb { width: 1px; }
.bad { color: #a11212; font-weight: 600; }
.facts th { vertical-align: baseline; white-space: nowrap; }
.facts td { overflow-wrap: anywhere; }
@media print {
 @page { margin: 14mm; }
 html, body { font-size: 11px; }
 body { margin: 0; padding: 0; max-width: none; }
 * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
 figure, tr, .caution { break-inside: avoid; }
 h2 { break-after: avoid; }
}
"""


def save_batch_page(folder: Path) -> Path:
    """Write report.html into a results folder; it is whole or absent.

    Where another process writes the tables meanwhile, the page is made again.

    Raises
    ------
    DecodeError
        When no results.csv is there, or none of ours.
    OSError
        When the disk refuses.
    """
    for _ in range(TRIES):
        before = stamps(folder)
        path = write_text(folder / REPORT, batch_html(read_saved(folder), card_of(folder)))
        if stamps(folder) == before:
            break
    return path


def stamps(folder: Path) -> list[tuple[int, int, int]]:
    """Return what changes when one of the two tables is written."""
    stats = [path.stat() for name in (RESULTS, RESULTS_MARK) if (path := folder / name).exists()]
    return [(one.st_ino, one.st_mtime_ns, one.st_size) for one in stats]


def batch_html(saved: Saved, card: Mapping[str, Any]) -> str:
    """Return the page: counts, failures, distributions, settings, and a row a study.

    Parameters
    ----------
    saved : Saved
    card : mapping
        The run card; what it lacks is left out.
    """
    done, failed = by_status(saved.rows)
    warned = sum(bool(row.get("warnings")) for row in done)
    model = saved.model or fact(card, "model", "name")
    title = f"{model or 'A model'} on {in_studies(len(saved.rows))}"
    counts = {"done": len(done), "failed": len(failed), "with warnings": warned}
    if any(row.get("review") for row in done):  # the model knows when a person should look
        counts["to review"] = sum(row.get("review") == YES for row in done)
    unfinished = (
        '<p class="caution">This run has not ended: the page holds what was done so far.</p>'
        if card.get("status") == "unfinished"
        else ""
    )
    body = f"""<h1>{shown(title)}</h1>
<p class="small">{RESEARCH}</p>
<p class="counts">{"".join(f"<span><b>{n}</b> {what}</span>" for what, n in counts.items())}</p>
{unfinished}
{failures_html(failed)}
{distributions_html(saved, done)}
{confidence_html(done)}
<h2>Run</h2>
{settings_html(model, card)}
<h2>Studies</h2>
{studies_html(saved, card)}"""
    return page_html(title, body, STYLE)


def by_status(
    rows: Iterable[Mapping[str, str]],
) -> tuple[list[Mapping[str, str]], list[Mapping[str, str]]]:
    """Return the rows of studies that were done, and of those that failed."""
    split: tuple[list[Mapping[str, str]], list[Mapping[str, str]]] = ([], [])
    for row in rows:
        split[row["status"] == "failed"].append(row)
    return split


def failures_html(failed: Sequence[Mapping[str, str]]) -> str:
    """Return the reasons by their kind, the commonest first, each with its studies."""
    if not failed:
        return ""
    groups: dict[tuple[str, str], list[str]] = {}
    for row in failed:
        groups.setdefault((failure_of(row), reason_of(row)), []).append(row["case_id"])
    ranked = sorted(groups.items(), key=lambda one: (-len(one[1]), one[0]))
    parts = []
    for kind, words in KINDS.items():
        rows = "".join(
            f'<tr><td class="number">{len(names)}</td><td class="reason">{shown(reason)}</td>'
            f'<td class="small reason">{shown(some_of(names))}</td></tr>'
            for (failure, reason), names in ranked[:MOST_REASONS]
            if failure == kind
        )
        if rows:
            head = '<tr><th class="number">studies</th><th>reason</th><th>which</th></tr>'
            parts.append(f'<h3>{words}</h3><div class="wide"><table class="studies">{head}{rows}')
            parts.append("</table></div>")
    left = len(ranked) - MOST_REASONS
    more = f'<p class="small">{left} rarer reasons stand in {RESULTS}.</p>' if left > 0 else ""
    return f"<h2>Failures</h2>{''.join(parts)}{more}"


def failure_of(row: Mapping[str, str]) -> str:
    """Return the kind of a failure; tables of earlier versions do not say."""
    kind = row.get("failure", "")
    return kind if kind in KINDS else OTHER


def reason_of(row: Mapping[str, str]) -> str:
    """Return why a study failed, without its own path, so that the same reasons are one."""
    reason = row.get("reason") or "No reason was kept."
    for own in (row["source"], Path(row["source"]).name):
        if "." in own or "/" in own:  # a plain word might mean something else
            reason = re.sub(rf"(?<![\w/]){re.escape(own)}(?![\w/])", "…", reason)
    return reason


def some_of(names: Sequence[str]) -> str:
    """Return names, of many the first."""
    left = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {left} more" if left > 0 else "")


def distributions_html(saved: Saved, done: Sequence[Mapping[str, str]]) -> str:
    """Return a histogram a structure (ml) or a class (probability)."""
    volumes = saved.task == "segmentation"
    names = saved.class_names[:MOST_CHARTS]
    charts = []
    for label, name in enumerate(names, 1):
        values = [v for row in done if (v := number(row, name, volumes)) is not None]
        if not values:
            continue
        color = "#{:02x}{:02x}{:02x}".format(*label_color(label)) if volumes else PLAIN
        span = None if volumes else (0.0, 1.0)
        unknown = len(done) - len(values)
        remark = f"; {in_studies(unknown)} without a number" if unknown else ""
        absent = sum(v == 0 for v in values) if volumes else 0
        remark += f"; 0 in {in_studies(absent)}" if absent else ""
        counted, unit = in_studies(len(values)), "ml" if volumes else ""
        charts.append(histogram(name, values, counted, unit, color, span, remark))
    if not charts:
        return ""
    what = "Volumes" if volumes else "Probabilities"
    left = len(saved.class_names) - len(names)
    more = f'<p class="small">Of {left} more, {RESULTS} has the numbers.</p>' if left else ""
    return f'<h2>{what}</h2><div class="charts">{"".join(charts)}</div>{more}'


def confidence_html(done: Sequence[Mapping[str, str]]) -> str:
    """Return a histogram of how sure the model is of each study, by what it is least sure of."""
    values = [c for row in done if (c := as_float(row.get("confidence", ""))) is not None]
    if not values:
        return ""
    flagged = sum(row.get("review") == YES for row in done)
    remark = f"; {flagged} to review" if any(row.get("review") for row in done) else ""
    if unknown := len(done) - len(values):
        remark += f"; {in_studies(unknown)} without a number"
    counted = in_studies(len(values))
    chart = histogram("Least sure of a study", values, counted, "", PLAIN, remark=remark)
    return f'<h2>Confidence</h2><div class="charts">{chart}</div><p class="small">{CONFIDENCE}</p>'


def settings_html(model: str, card: Mapping[str, Any]) -> str:
    """Return what the run card says of the run, a line each."""
    given, digest = fact(card, "model", "given_as"), fact(card, "model", "sha256")
    formats, runs = card.get("formats"), runs_of(card)
    versions = {"medvision": "medvision-toolkit", "torch": "torch", "Python": "python"}
    made = ((name, fact(runs[-1], "versions", key)) for name, key in versions.items())
    device, name = fact(card, "resolved", "device"), fact(card, "resolved", "device_name")
    facts = {
        "Model": model + (f" ({given})" if given and given != model else ""),
        "Model's SHA-256": digest,
        "Command": "; then ".join(dict.fromkeys(filter(None, map(command_of, runs)))),
        "Device": f"{device} ({name})" if name else device,
        "Versions": ", ".join(f"{name} {said}" for name, said in made if said),
        "Files a study": ", ".join(map(str, formats)) if isinstance(formats, list) else "",
    }
    rows = "".join(
        f"<tr><th>{what}</th><td>{shown(said)}</td></tr>" for what, said in facts.items() if said
    )
    return (
        f'<table class="facts">{rows}</table>'
        if rows
        else f"<p>No {RESULTS_MARK} tells how they came about.</p>"
    )


def runs_of(card: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the runs of a card that did something; of an earlier version the card, its last."""
    runs = card.get("runs")
    known = [one for one in runs if isinstance(one, Mapping)] if isinstance(runs, list) else []
    return [one for one in known if one.get("cases")] or known[:1] or [card]


def command_of(run: Mapping[str, Any]) -> str:
    """Return the command line of a run; empty when it is not there."""
    command = run.get("command")
    return shlex.join(map(str, command)) if isinstance(command, list) else ""


def fact(card: Mapping[str, Any], part: str, name: str) -> str:
    """Return an entry of a part of the run card as text; empty when it is not there."""
    found = card.get(part)
    value = found.get(name) if isinstance(found, Mapping) else None
    return "" if value is None else str(value)
