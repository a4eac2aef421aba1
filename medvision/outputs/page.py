"""What every page of HTML is made of: no network, no script, its pictures inside it.

Knows nothing of what a page is about.
"""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO

from PIL import Image

from medvision.prediction import in_percent

RESEARCH = "Research use only, not a medical device."
CONFIDENCE = (
    "Confidence is how sure the model itself is, from 0 to 1; a model can be sure and wrong."
)
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: {width}px;
 margin: 1.5rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.35rem; margin: 0; overflow-wrap: anywhere; }}
h2 {{ font-size: 1.05rem; margin: 1.2rem 0 0.4rem; }}
table {{ border-collapse: collapse; }}
th, td {{ text-align: left; font-weight: normal; padding: 0.1rem 1.2rem 0.1rem 0; }}
th, .small {{ color: #555; font-size: 0.85rem; }}
.bar {{ white-space: nowrap; }}
.track {{ display: inline-block; width: 9rem; height: 0.7rem; background: #e4e4e8; }}
.track i {{ display: block; height: 100%; background: #4b5b70; }}
.spoken td {{ font-weight: 600; }}
.caution {{ background: #fff4d6; padding: 0.2rem 0.6rem; margin: 0.2rem 0; }}
.review {{ background: #fdeae7; border-left: 4px solid #a11212; padding: 0.35rem 0.7rem;
 margin: 0.4rem 0; font-weight: 600; }}
.badge {{ background: #a11212; color: #fff; border-radius: 3px; padding: 0.05rem 0.4rem;
 font-size: 0.85rem; font-weight: 600; }}
{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def page_html(title: str, body: str, style: str = "", width: int = 1320) -> str:
    """Return a whole page.

    Parameters
    ----------
    title : str
        Plain text, for the browser's tab.
    body : str
        HTML below ``<body>``; what it quotes went through `shown`.
    style : str
        CSS of this page's own.
    width : int
        Pixels that the page takes at most.
    """
    return PAGE.format(title=shown(title), body=body, style=style, width=width)


def shown(words: str) -> str:
    """Return words as HTML shows them, whatever they hold; control characters go."""
    kept = "".join(c for c in words if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))
    return escape(kept)


def picture(image: Image.Image, words: str, kind: str = "PNG") -> str:
    """Return a picture that is part of the page, as PNG or, several times smaller, as JPEG."""
    file = BytesIO()
    image.save(file, format=kind, optimize=True)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="{shown(words)}" src="data:image/{kind.lower()};base64,{data}">'


def cautions(warnings: Sequence[str]) -> str:
    """Return warnings, a line each."""
    return "\n".join(f'<p class="caution">{shown(one)}</p>' for one in warnings)


def review_html(words: str) -> str:
    """Return why a person should look at a result; nothing where there is nothing to say."""
    return f'<p class="review">{shown(words)}</p>' if words else ""


def bar(share: float) -> str:
    """Return a bar, filled by a share, with the share in words."""
    filled = f'<span class="track"><i style="width:{100 * share:.1f}%"></i></span>'
    return f'<span class="bar">{filled} {shown(in_percent(share))}</span>'


def scores_table(
    columns: Mapping[str, Mapping[str, float]], spoken: Sequence[str], most: int | None = None
) -> str:
    """Return a table of bars, a row a class and a column a way to judge, the likeliest first.

    Parameters
    ----------
    columns : mapping of str to mapping
        Heading → class → probability; the first decides the order.
    spoken : sequence of str
        The classes that stand out.
    most : int, optional
        How many classes are shown; of the others it is said how many there are.
    """
    first = next(iter(columns.values()))
    heads = "".join(f"<th>{shown(head)}</th>" for head in columns)
    rows = []
    ranked = sorted(first, key=first.__getitem__, reverse=True)
    for one in ranked[:most]:
        mark = ' class="spoken"' if one in spoken else ""
        cells = "".join(f"<td>{bar(scores[one])}</td>" for scores in columns.values())
        rows.append(f"<tr{mark}><td>{shown(one)}</td>{cells}</tr>")
    table = f"<table><tr><th></th>{heads}</tr>{''.join(rows)}</table>"
    left = len(ranked) - len(rows)
    return f'{table}<p class="small">and {left} less likely classes</p>' if left else table
