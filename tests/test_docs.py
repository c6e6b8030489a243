"""The pages: links, anchors, reachability, code that runs, a reference that forgets nobody, and a build without warnings.

What needs no build is checked on the sources. The build itself, and what is in it, is slow (`make docs` is the same).
"""

import importlib
import inspect
import pkgutil
import posixpath
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import skdpal
from tests.browser import WIDTHS, browser

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
MADE = ("_build/", "_templates/", "notebooks/", "api/generated/")  # by conf.py, or read by it
PAGES = {
    path.relative_to(DOCS).as_posix(): path
    for path in sorted([*DOCS.rglob("*.md"), *DOCS.rglob("*.rst")])
    if not path.relative_to(DOCS).as_posix().startswith(MADE)
}
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in PAGES.items()}
RUN = ["index.md", "quickstart.md", "guide/budget.md", "guide/estimators.md", "guide/queries.md", "guide/loop.md"]


def without_code(text):
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL))


def links_of(text):
    return re.findall(r"\]\(([^()\s]+(?:\([^()\s]*\)[^()\s]*)*)\)", without_code(text))


def anchors_of(text):
    """What a heading is called in a link, as GitHub and MyST have it."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower().strip() for title in titles]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in plain}


def broken(name, text, exists, anchors):
    """Links of a page that lead nowhere."""
    wrong = []
    for link in links_of(text):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        place = posixpath.normpath(posixpath.join(posixpath.dirname(name), target)) if target else name
        if place.startswith(MADE):
            continue  # the build looks at those
        there = anchors_of(text) if place == name else anchors(place) if place in TEXTS else {anchor}
        if (target and not exists(place)) or (anchor and anchor not in there):
            wrong.append(link)
    return wrong


def children_of(name):
    """The pages of a page's toctrees."""
    text, here = TEXTS[name], posixpath.dirname(name)
    bodies = re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for body in bodies for line in body.splitlines() if line and not line.startswith(":")]
    targets = [re.sub(r".*<(.*)>$", r"\1", line) for line in lines]
    return [posixpath.normpath(posixpath.join(here, target)) for target in targets if target]


# -- sources ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_links_lead_somewhere(name):
    assert not broken(name, TEXTS[name], lambda place: (DOCS / place).exists(), lambda place: anchors_of(TEXTS[place]))


def test_links_of_the_readme_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for link in links_of(text):
        target, _, anchor = link.partition("#")
        assert (ROOT / target).exists(), link
        assert not anchor or anchor in anchors_of((ROOT / target).read_text(encoding="utf-8")), link


def test_a_broken_link_is_found():
    text = "# Page\n\n[a](gone.md) [b](#page) [c](#other) [d](claims.md#mechanisms-and-noise) [e](claims.md#no) `[f](no.md)`"
    found = broken("x.md", text, lambda place: place == "claims.md", lambda place: anchors_of(TEXTS[place]))
    assert found == ["gone.md", "#other", "claims.md#no"]


def test_every_page_is_reached_from_the_front_page():
    seen, waiting = set(), ["index.md"]
    while waiting:
        name = waiting.pop()
        seen.add(name)
        for child in children_of(name) if name.endswith(".md") else []:
            found = [child + end for end in (".md", ".rst") if child + end in TEXTS]
            assert found or child.startswith(MADE), f"{name}: {child}"
            waiting += [page for page in found if page not in seen]
    assert seen == set(TEXTS)


@pytest.mark.parametrize("name", sorted(name for name in TEXTS if name.endswith(".md")))
def test_a_page_has_one_title_and_figures_have_words(name):
    text = re.sub(r"^```.*?^```", "", TEXTS[name], flags=re.MULTILINE | re.DOTALL)
    levels = [len(marks) for marks in re.findall(r"^(#+) ", text, re.MULTILINE)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
    assert all(words.strip() for words in re.findall(r"!\[([^\]]*)\]\(", text))
    assert not re.search(r"!\[[^\]]*\]\(https?:", text)


@pytest.mark.parametrize("name", RUN)
def test_the_blocks_of_a_page_run(name, tmp_path, monkeypatch, capsys):
    """One after the other, in an empty folder; a comment after `print` that begins with a number is what was printed."""
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```", TEXTS[name], re.MULTILINE | re.DOTALL):
        exec(compile(block, name, "exec"), names)
    said = capsys.readouterr().out.splitlines()
    told = re.findall(r"^print\(.*\)  # ((?:valid )?\d[^:\n]*)", TEXTS[name], re.MULTILINE)
    assert [line for line in told if line not in said] == []


def test_pages_say_what_their_blocks_print():
    """So that the check above has something to look at."""
    told = [line for name in RUN for line in re.findall(r"^print\(.*\)  # (?:valid )?\d", TEXTS[name], re.MULTILINE)]
    assert len(told) > 7


def test_the_readme_repeats_the_demo():
    """Its table of methods is that of docs/demo.md, row by row."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| 0\.\d{3} \(0\.\d{3}\) \| [\d.]+ \(\d+ to \d+\) \|$", readme, re.MULTILINE)
    assert len(rows) == 10
    assert [row for row in rows if row not in TEXTS["demo.md"].splitlines()] == []


def test_the_readme_begins_with_two_commands():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^make (\w+)", readme[: readme.index("## ")], re.MULTILINE) == ["demo", "test"]


# -- sharp edges --------------------------------------------------------------------------------------------------

EDGES = re.findall(
    r"^\| (?!edge|grade|reaction|\*\*|-)(.+) \|$", TEXTS["sharp_edges.md"].split("## Fatal")[1], re.MULTILINE
)
REACTIONS = ("refuses", "warns", "marks", "prevents", "cannot see it")


@pytest.mark.parametrize("edge", EDGES, ids=lambda edge: edge.split(" | ")[0][:50])
def test_an_edge_says_how_skdpal_reacts_and_which_test_shows_it(edge):
    cells = [cell.strip() for cell in edge.split(" | ")]
    if cells[0].startswith("---"):
        return
    assert len(cells) == 5
    assert cells[3].startswith(REACTIONS)
    test = re.fullmatch(r"`(tests/[\w/]+\.py)::(\w+)`", cells[4])
    if test is None:
        assert cells[4] == "–"
        assert cells[3].startswith("cannot see it")  # nothing to show
    else:
        assert f"def {test[2]}(" in (ROOT / test[1]).read_text(encoding="utf-8")


def test_the_page_counts_its_fatal_edges():
    fatal = TEXTS["sharp_edges.md"].split("## Fatal")[1].split("## Serious")[0]
    rows = [line for line in fatal.splitlines() if line.startswith("| ") and not line.startswith("| edge")]
    blind = [line for line in rows if "cannot see" in line]
    assert f"Of the {len(rows)} fatal edges, {len(blind)} cannot be seen" in TEXTS["sharp_edges.md"]


# -- the reference ------------------------------------------------------------------------------------------------


def listed():
    """What the pages of docs/api list, by full name."""
    names = set()
    for name, text in TEXTS.items():
        if not name.startswith("api/") or not name.endswith(".rst"):
            continue
        module = ""
        for line in text.splitlines():
            current = re.match(r"\.\. currentmodule:: (\S+)", line)
            data = re.match(r"\.\. autodata:: (\S+)", line)
            entry = re.fullmatch(r"   (\w+)", line)
            module = current[1] if current else module
            if data:
                names.add(data[1])
            elif entry:
                names.add(f"{module}.{entry[1]}")
    return names


def public():
    """Every name of every package's `__all__` under the first package, from the top, that lists it."""
    packages = [module.name for module in pkgutil.walk_packages(skdpal.__path__, "skdpal.") if module.ispkg]
    homes, shown = {}, {}
    for package in sorted(packages, key=lambda name: (name.count("."), name)):
        module = importlib.import_module(package)
        for name in getattr(module, "__all__", []):
            thing = getattr(module, name)
            if package == "skdpal.cli" or inspect.ismodule(thing):
                continue
            key = (name, id(thing))
            if key not in shown:
                shown[key] = homes[f"{package}.{name}"] = thing
    return homes


def test_the_reference_lists_every_public_name_and_no_other():
    names, there = set(public()), listed()
    modules = {name.rpartition(".")[0] for name in names}
    assert names - there == set()
    assert {name for name in there - names if name.rpartition(".")[0] in modules} == set()
    for name in there - names:  # from a module that is no package: it must exist
        module, _, last = name.rpartition(".")
        assert hasattr(importlib.import_module(module), last)


def test_the_front_door_is_listed():
    there = set(re.findall(r"``skdpal\.(\w+)``", TEXTS["api/front.rst"]))
    named = {name for name in skdpal.__all__ if name not in skdpal._MODULES}
    assert there == named


# -- the site -----------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """What an HTML page loads, what it links to, and what can be linked to in it."""

    LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "embed": "src", "object": "data"}

    def __init__(self, text):
        super().__init__()
        self.loads, self.links, self.ids, self.pictures = [], [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if found.get("id"):
            self.ids.add(found["id"])
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if (
            tag == "link"
            and found.get("href")
            and found.get("rel") not in ("next", "prev", "search", "index", "genindex")
        ):
            self.loads.append(found["href"])
        if found.get(self.LOADS.get(tag, "-")):
            self.loads.append(found[self.LOADS[tag]])
        if tag == "img":
            self.pictures.append(found.get("alt"))


def outside(address):
    return bool(re.match(r"(?:https?:)?//", address))


def loads_from_elsewhere(pages, folder):
    """Scripts, styles, fonts, pictures that another host would serve."""
    for path, page in pages.items():
        yield from ((path.name, load) for load in page.loads if outside(load))
    for style in folder.rglob("*.css"):
        text = re.sub(r"/\*.*?\*/", "", style.read_text(encoding="utf-8"), flags=re.DOTALL)
        yield from (
            (style.name, found) for found in re.findall(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^)'\"]+)", text)
        )


def dead_links(pages):
    """Links inside the site that lead nowhere, anchors included."""
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or outside(link):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(parts.fragment)
            if not target.exists() or (anchor and target in pages and anchor not in pages[target].ids):
                yield path.name, link


SHOWN = [
    *("index", "quickstart", "certificate", "sharp_edges", "guide/studies", "api/audit", "notebooks/05c_experts"),
    "api/generated/skdpal.privacy.PrivacyLedger",
]


def seen_in_a_browser(folder):
    """Errors, requests to elsewhere, and whatever reaches beyond the screen, on a telephone and on a desk."""
    with browser() as running:
        for name in SHOWN:
            for width in WIDTHS:
                lines = running.problems(folder / f"{name}.html", width, without=("tables",), beside=True)
                yield from ((name, width, line) for line in lines if not line.startswith("console: log: [PST]"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_site_builds_without_a_warning_and_works_by_itself(tmp_path):
    """One build: every warning an error, nothing fetched, no dead link; figures have words; pages are readable."""
    pytest.importorskip("sphinx")
    html = tmp_path / "html"
    options = ["-W", "--keep-going", "-n", "-q", "-d", tmp_path / "trees"]
    command = [sys.executable, "-m", "sphinx", *options, DOCS, html]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in html.rglob("*.html")}
    assert list(loads_from_elsewhere(pages, html)) == []
    assert list(dead_links(pages)) == []
    assert [path.name for path, page in pages.items() if not all(page.pictures)] == []
    shown = {path.stem for path in (html / "notebooks").glob("*.html")} - {"index"}
    assert shown == {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert list(seen_in_a_browser(html)) == []


def test_what_a_page_loads_is_seen():
    page = Page(
        '<script src="https://a/b.js"></script><link rel="stylesheet" href="//c"><img src="d.png"><a href="https://e">'
    )
    assert [load for load in page.loads if outside(load)] == ["https://a/b.js", "//c"]
    assert page.pictures == [None]
