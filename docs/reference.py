"""The API reference as HTML, from the docstrings: python docs/reference.py [FOLDER].

Its first page is docs/api.md and a list of all modules; the command line has none, as `--help` is
its reference. It fails with what pdoc warns of, so that no page lacks something unnoticed.
"""

from __future__ import annotations

import pkgutil
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import get_type_hints

from pdoc import doc, render

import medvision
from medvision.models.fusion import Fused

HERE = str(Path(medvision.__file__).parent)
START = Path(__file__).parent / "api.md"
LEFT_OUT = ("__main__", "cli", "_")  # how the names begin of modules that have no page


def module_names() -> list[str]:
    """Return every module that has a page, packages before what lies in them."""
    found = pkgutil.walk_packages(medvision.__path__, "medvision.")
    inside = [one.name for one in found if not one.name.split(".")[1].startswith(LEFT_OUT)]
    return ["medvision", *inside]


def start_page(modules: dict[str, doc.Module]) -> str:
    """Return the first page, in Markdown."""
    text = START.read_text(encoding="utf-8").partition("\n")[2]  # pdoc has a title of its own
    lines = [text, "## All modules", "", "| module | |", "|---|---|"]
    for name, module in modules.items():
        about = " ".join(module.docstring.partition("\n\n")[0].split())
        lines.append(f"| `{name}` | {about} |")
    return "\n".join(lines)


def build(folder: Path) -> None:
    """Write the reference into a folder; `index.html` leads to its first page."""
    for name in medvision.__all__:
        getattr(medvision, name)  # the public names are resolved when first used
    # a named tuple's constructor does not know the names that its annotations use
    Fused.__new__.__annotations__.update(get_type_hints(Fused))
    modules = {name: doc.Module(import_module(name)) for name in module_names()}
    first = modules.pop("medvision")
    first.docstring = start_page(modules)
    modules = {"medvision": first, **modules}
    render.configure(
        docformat="numpy", show_source=False, footer_text=f"medvision {medvision.__version__}"
    )
    pages = {f"{name.replace('.', '/')}.html": one for name, one in modules.items()}
    written = {path: render.html_module(one, modules) for path, one in pages.items()}
    written["index.html"] = render.html_index(modules)
    written["search.js"] = render.search_index(modules)
    for path, text in written.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text.replace(HERE, "medvision"), encoding="utf-8")


if __name__ == "__main__":
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")  # what libraries say while they are imported
        warnings.filterwarnings("always", module="pdoc")
        build(Path(sys.argv[1] if len(sys.argv) > 1 else "build/docs"))
    sys.exit("\n".join(str(one.message) for one in caught) or 0)
