"""The API reference: built without a warning, whole, and its links lead somewhere."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import medvision

ROOT = Path(__file__).parents[1]
START = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


class Page(HTMLParser):
    """What a page links to, and what can be linked to in it."""

    def __init__(self, text):
        super().__init__()
        self.links, self.ids = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id":
                self.ids.add(value)
            elif name in ("href", "src") and value:
                self.links.add(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("pdoc", reason="needs pdoc (extra docs)")
    folder = tmp_path_factory.mktemp("docs")
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "reference.py", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_every_public_module_has_a_page(site, pages):
    package = ROOT / "medvision"
    for path in package.rglob("*.py"):
        parts = path.relative_to(package).with_suffix("").parts
        if parts[0].startswith(("_", "cli")):
            continue  # the package itself, the command line, and apps and datasets of a wheel
        place = site.joinpath("medvision", *(p for p in parts if p != "__init__"))
        assert place.with_suffix(".html") in pages, path


def test_every_public_name_is_on_the_first_page(site, pages):
    first = pages[site / "medvision.html"]
    assert set(medvision.__all__) <= first.ids | {"__version__"}
    assert "./medvision.html" in (site / "index.html").read_text(encoding="utf-8")


def test_every_link_leads_somewhere(pages):
    seen = 0
    for path, page in pages.items():
        for link in page.links:
            at = urlsplit(link)
            if at.scheme in ("http", "https", "data"):
                continue
            target = (path.parent / unquote(at.path)).resolve() if at.path else path
            assert target.is_file(), f"{path.name}: {link}"
            if at.fragment:
                assert unquote(at.fragment) in pages[target].ids, f"{path.name}: {link}"
            seen += 1
    assert seen > 5000


def test_what_the_first_page_names_is_linked(site, pages):
    links = pages[site / "medvision.html"].links
    for name in re.findall(r"`(medvision\.[\w.]+)`", START):
        assert any(name.endswith(link.partition("#")[2]) and "#" in link for link in links), name


def test_nothing_of_this_machine_is_in_it(site):
    for path in site.rglob("*.*"):
        text = path.read_text(encoding="utf-8")
        assert str(ROOT) not in text, path
        assert not re.search(r" at 0x[0-9a-f]{6}", text), path


def test_the_examples_of_the_first_page_print_what_they_say(tmp_path):
    found = re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", START, re.S)
    code, said = ("".join(parts) for parts in zip(*found, strict=True))
    assert len(found) == START.count("```python") == 3
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout == said


def test_names_of_modules_are_modules_and_their_functions_have_others():
    code = (
        "import medvision as mv, medvision.evaluate, medvision.explain, medvision.ablate\n"
        "assert mv.evaluate_cases is medvision.evaluate.evaluate\n"
        "assert mv.explain_study is medvision.explain.explain\n"
        "assert mv.run_ablation is medvision.ablate.ablate\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
