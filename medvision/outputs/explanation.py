"""An explanation as one HTML page: no network, no script, its pictures inside it.

`report_html` alone is what the app shows of the words. Knows nothing of models.
"""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Iterable, Mapping
from html import escape
from io import BytesIO
from pathlib import Path

from PIL import Image

from medvision.errors import OutputError
from medvision.explanation import Explanation, Word
from medvision.files import write_text
from medvision.prediction import in_percent
from medvision.render import heat_panels
from medvision.render.ink import HEAT

FOR, AGAINST = (202, 0, 32), (5, 113, 176)  # ColorBrewer's RdBu, told apart by color-blind people
DEEPEST = 0.65  # opacity of the strongest word
FAINTEST = 1e-9  # log odds; below, all words are as good as none
ALT = ("A plane of the scan", "The same plane with Grad-CAM over it")
READ = {"image": "image alone", "report": "report alone"}

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 1320px;
 margin: 1.5rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.35rem; margin: 0; }}
h2 {{ font-size: 1.05rem; margin: 1.2rem 0 0.4rem; }}
.sides {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 2rem; }}
.panels {{ display: grid; grid-template-columns: 1fr 1fr; gap: 6px; max-width: 640px; }}
.panels img {{ width: 100%; }}
.ramp {{ display: inline-block; width: 8rem; height: 0.7rem; }}
table {{ border-collapse: collapse; }}
th, td {{ text-align: left; font-weight: normal; padding: 0.1rem 1.2rem 0.1rem 0; }}
th, .small {{ color: #555; font-size: 0.85rem; }}
.track {{ display: inline-block; width: 9rem; height: 0.7rem; background: #e4e4e8; }}
.track i {{ display: block; height: 100%; background: #4b5b70; }}
.spoken td {{ font-weight: 600; }}
.caution {{ background: #fff4d6; padding: 0.2rem 0.6rem; margin: 0.2rem 0; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>What speaks for <b>{name}</b> ({share}).
<span class="small">Research use only, not a medical device.</span></p>
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
</div>
</body>
</html>
"""


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
    return PAGE.format(
        title=shown(f"{prediction.case_id} · {prediction.model}"),
        name=shown(name),
        share=shown(in_percent((prediction.scores or {})[name])),
        warnings="\n".join(f'<p class="caution">{shown(one)}</p>' for one in explanation.warnings),
        scores=scores_html(explanation),
        panels="\n".join(
            picture(one, words) for pair in panels for one, words in zip(pair, ALT, strict=True)
        ),
        ramp=ramp,
        heat=shown(heat_in_words(explanation)),
        report=report_html(explanation),
    )


def heat_in_words(explanation: Explanation) -> str:
    """Return what the heat means, and what it does not."""
    return (
        f"Grad-CAM: where the network looked when it spoke for {explanation.class_name}, relative "
        "to the strongest place; not whether it was right, nor how much the image mattered. Its "
        f"map has {' × '.join(map(str, explanation.cells))} voxels; what is finer is interpolated. "
        "What lies outside a frame was not looked at."
    )


def picture(image: Image.Image, words: str) -> str:
    """Return a picture that is part of the page."""
    file = BytesIO()
    image.save(file, format="PNG", optimize=True)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="{shown(words)}" src="data:image/png;base64,{data}">'


def scores_html(explanation: Explanation) -> str:
    """Return a table of the classes: both together, and each alone; and the gates, if any."""
    prediction, name = explanation.prediction, explanation.class_name
    columns: dict[str, Mapping[str, float]] = {"": prediction.scores or {}}
    if "report" in prediction.alone:
        columns = {"image and report": columns[""]}
        columns |= {READ[what]: scores for what, scores in prediction.alone.items()}
    first = next(iter(columns.values()))
    heads = "".join(f"<th>{shown(head)}</th>" for head in columns)
    rows = []
    for one in sorted(first, key=first.__getitem__, reverse=True):
        mark = ' class="spoken"' if one == name else ""
        cells = "".join(f"<td>{bar(scores[one])}</td>" for scores in columns.values())
        rows.append(f"<tr{mark}><td>{shown(one)}</td>{cells}</tr>")
    table = f"<table><tr><th></th>{heads}</tr>{''.join(rows)}</table>"
    if not explanation.gates:
        return table
    shares = " &nbsp; ".join(
        f"{shown(what)} {bar(share)}" for what, share in explanation.gates.items()
    )
    return f'{table}<p class="small">Weight in the joint answer (gates): {shares}</p>'


def bar(share: float) -> str:
    """Return a bar, filled by a share, with the share in words."""
    filled = f'<span class="track"><i style="width:{100 * share:.1f}%"></i></span>'
    return f"{filled} {shown(in_percent(share))}"


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


def shown(words: str) -> str:
    """Return words as HTML shows them, whatever they hold; control characters go."""
    kept = "".join(c for c in words if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))
    return escape(kept)
