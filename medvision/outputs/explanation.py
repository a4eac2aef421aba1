"""An explanation as one HTML page: no network, no script, its pictures inside it.

`report_html` alone is what the app shows of the words. Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from medvision.errors import OutputError
from medvision.explanation import GATES, HEATS, Explanation, Word
from medvision.files import write_text
from medvision.outputs.page import RESEARCH, bar, cautions, page_html, picture, scores_table, shown
from medvision.prediction import in_percent
from medvision.render import heat_panels
from medvision.render.ink import HEAT

FOR, AGAINST = (202, 0, 32), (5, 113, 176)  # ColorBrewer's RdBu, told apart by color-blind people
DEEPEST = 0.65  # opacity of the strongest word
FAINTEST = 1e-9  # log odds; below, all words are as good as none
ALT = ("A plane of the scan", "The same plane with the heat over it")
READ = {"image": "image alone", "report": "report alone"}

STYLE = """.sides { display: grid; gap: 2rem;
 grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); }
.panels { display: grid; grid-template-columns: 1fr 1fr; gap: 6px; max-width: 640px; }
.panels img { width: 100%; }
.ramp { display: inline-block; width: 8rem; height: 0.7rem; }
"""
BODY = """<h1>{title}</h1>
<p>What speaks for <b>{name}</b> ({share}).
<span class="small">{research}</span></p>
{warnings}
{scores}
<div class="sides">
<section>
<h2>Image</h2>
<div class="panels">{panels}</div>
<p class="small">0 <span class="ramp" style="background:linear-gradient(90deg,{ramp})"></span> 1
&nbsp; {heat}</p>
</section>
<section>
{report}
</section>
</div>"""


def save_explanation(explanation: Explanation, path: str | Path) -> Path:
    """Write an explanation as a page of HTML.

    It shows the scan and the text of the report, and adds nothing of who the patient is.

    Raises
    ------
    OutputError
        When the file is not called ``.html``, or the disk refuses.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"An explanation is a page: call it .html, not {path.name!r}.")
    try:
        return write_text(path, explanation_html(explanation))
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from None


def explanation_html(explanation: Explanation) -> str:
    """Return the page: warnings, scores, planes without and with heat, and the words in color."""
    prediction, name = explanation.prediction, explanation.class_name
    panels = heat_panels(explanation.scan, explanation.heat)
    ramp = ",".join(f"rgb{color}" for color in HEAT)
    title = f"{prediction.case_id} · {prediction.model}"
    body = BODY.format(
        title=shown(title),
        name=shown(name),
        share=shown(in_percent((prediction.scores or {})[name])),
        research=RESEARCH,
        warnings=cautions(explanation.warnings),
        scores=scores_html(explanation),
        panels="\n".join(
            picture(one, words) for pair in panels for one, words in zip(pair, ALT, strict=True)
        ),
        ramp=ramp,
        heat=shown(heat_in_words(explanation)),
        report=report_html(explanation),
    )
    return page_html(title, body, STYLE)


def heat_in_words(explanation: Explanation) -> str:
    """Return what the heat means, and what it does not."""
    cells = " × ".join(map(str, explanation.cells))
    if explanation.method == "occlusion":
        return (
            f"Occlusion: where the network spoke less for {explanation.class_name} when a patch "
            "was hidden under the mean of what it is shown, relative to the strongest place; not "
            f"whether it was right. {cells} patches were hidden one by one. What lies outside a "
            "frame was not looked at."
        )
    return (
        f"{HEATS[explanation.method]}: where the network looked when it spoke for "
        f"{explanation.class_name}, relative to the strongest place; not whether it was right, nor "
        f"how much the image mattered. Its map has {cells} voxels; what is finer is interpolated. "
        "What lies outside a frame was not looked at."
    )


def scores_html(explanation: Explanation) -> str:
    """Return a table of the classes: both together, and each alone; and the gates, if any."""
    prediction = explanation.prediction
    columns: dict[str, Mapping[str, float]] = {"": prediction.scores or {}}
    if "report" in prediction.alone:
        columns = {"image and report": columns[""]}
        columns |= {READ[what]: scores for what, scores in prediction.alone.items()}
    table = scores_table(columns, [explanation.class_name])
    if not explanation.gates:
        return table
    shares = " &nbsp; ".join(
        f"{shown(what)} {bar(share)}" for what, share in explanation.gates.items()
    )
    return f'{table}<p class="small">{shares} &nbsp; {shown(GATES)}</p>'


def report_html(explanation: Explanation) -> str:
    """Return the report: what the model read in color, and what it was not shown, in gray.

    A fragment that brings its own style, for a page or an app.
    """
    if not (explanation.text or explanation.hidden):
        return ""
    name, words = shown(explanation.class_name), explanation.words
    most = max((abs(one.attribution or 0.0) for one in words), default=0.0)
    parts = ["<h2>Report</h2>", f'<p style="white-space:pre-wrap">{colored(explanation, most)}</p>']
    if most > FAINTEST and explanation.odds:
        ends = f"rgba{(*AGAINST, DEEPEST)},transparent,rgba{(*FOR, DEEPEST)}"
        parts.append(
            f'<p style="font-size:0.85rem;opacity:0.75">against {name} −{most:.2g} '
            '<span style="display:inline-block;width:8rem;height:0.7rem;'
            f'background:linear-gradient(90deg,{ends})"></span> +{most:.2g} for {name} '
            "&nbsp; What a word adds to the log odds (integrated gradients): from "
            f"{explanation.odds[1]:.2f} with words that say nothing to {explanation.odds[0]:.2f}."
            f"{remarks(words)}</p>"
        )
    for title, text in explanation.hidden.items():
        parts.append(
            '<div style="opacity:0.55;margin-top:0.6rem"><b>Not shown to the model: '
            f'{shown(title)}</b><br><span style="white-space:pre-wrap">{shown(text)}</span></div>'
        )
    return "\n".join(parts)


def remarks(words: Iterable[Word]) -> str:
    """Return what else the marks on words mean, as far as there are any."""
    told = ""
    if any(one.masked for one in words):
        told += " Black: words hidden from the model."
    if any(one.attention for one in words):
        told += " Underlined: where the image looks in the report (attention)."
    if any(one.attribution is None for one in words):
        told += " Gray: not read."
    return told


def colored(explanation: Explanation, most: float) -> str:
    """Return what the model read, each word on its color; the strongest has `most` log odds."""
    text, end, parts = explanation.text, 0, []
    looked = max((one.attention or 0.0 for one in explanation.words), default=0.0)
    for one in explanation.words:
        parts.append(shown(text[end : one.start]))
        parts.append(word_html(one, most, looked))
        end = one.end
    return "".join([*parts, shown(text[end:])])


def word_html(word: Word, most: float, looked: float) -> str:
    """Return one word on its color, with its number as a tooltip."""
    if word.attribution is None:
        return f'<span style="opacity:0.4" title="not read">{shown(word.text)}</span>'
    share = abs(word.attribution) / most if most > FAINTEST else 0.0
    color = (*(FOR if word.attribution > 0 else AGAINST), round(DEEPEST * share, 3))
    style = f"background:rgba{color};border-radius:2px"
    if word.attention and looked:
        style += f";border-bottom:3px solid rgba(60,60,60,{word.attention / looked:.2f})"
    inside = shown(word.text)
    if word.masked:
        inside = '<span style="background:#222;color:#fff;padding:0 0.2em">hidden</span>'
        style += ";padding:0 0.15em"
    return f'<span style="{style}" title="{word.attribution:+.3f}">{inside}</span>'
