"""How the pages are made: `make docs`, which is `python -m sphinx -W --keep-going -n docs docs/_build/html`.

Nothing is fetched: no inventory of another project, no font, script or formula renderer from elsewhere. Notebooks are shown
as they are committed, with the outputs that the tests have checked.
"""

import inspect
import re
import shutil
import sys
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import click  # noqa: E402

import skdpal  # noqa: E402
from skdpal.cli import main  # noqa: E402

project = "skdpal"
author = "the authors of skdpal"
copyright = "the authors of skdpal, Apache-2.0"
version = release = skdpal.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
exclude_patterns = ["_build", "_templates", "**/.ipynb_checkpoints"]
language = "en"

# -- pages and notebooks
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "off"
nb_ipywidgets_js = {}  # the default is fetched from a public host
nb_merge_streams = True

# -- reference
templates_path = ["_templates"]
autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's sections have types, shapes and units
autodoc_member_order = "groupwise"
autodoc_default_options = {"members": True, "inherited-members": True}
numpydoc_show_class_members = False
numpydoc_use_plots = False
numpydoc_xref_param_type = False
nitpicky = True
nitpick_ignore_regex = [
    ("py:class", r"(numpy|collections)\..*")
]  # types of attributes; there is no inventory to link to

# -- looks
html_theme = "pydata_sphinx_theme"
html_title = f"skdpal {version}"
html_static_path = ["_static"]
html_css_files = ["skdpal.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "skdpal"},
    "icon_links": [],
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "show_nav_level": 1,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_context = {"default_mode": "auto"}
WIDE = ("sharp_edges", "claims")  # tables of five columns need the whole width
html_sidebars = {page: [] for page in ("index", *WIDE)}
html_theme_options["secondary_sidebar_items"] = {
    "**": ["page-toc"],
    **{page: [] for page in WIDE},
}

ROOMS = ("audit", "cohort", "datasets", "estimators", "learner", "model_selection", "privacy", "query", "report")


def copy_notebooks(target):
    """Put the notebooks beside the pages, their links to `docs/` and to code bent to where they are now."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    paths = sorted((HERE.parent / "notebooks").glob("*.ipynb"))
    for path in paths:
        text = path.read_text(encoding="utf-8")
        text = text.replace("](../docs/", "](../").replace("](../skdpal/", "](../../skdpal/")
        text = text.replace("](../tests/", "](../../tests/")
        (target / path.name).write_text(text, encoding="utf-8")
    listing = "\n".join(path.stem for path in paths)
    words = (HERE.parent / "notebooks" / "README.md").read_text(encoding="utf-8").replace("](../docs/", "](../")
    (target / "index.md").write_text(f"{words}\n```{{toctree}}\n:hidden:\n\n{listing}\n```\n", encoding="utf-8")


def write_commands(target):
    """Put the help of every command on one page."""

    def told(command, path):
        with click.Context(command, info_name=path, max_content_width=100) as context:
            yield f"{'##' if path.count(' ') < 2 else '###'} {path}\n\n```text\n{command.get_help(context)}\n```\n"
        for name, inner in getattr(command, "commands", {}).items():
            yield from told(inner, f"{path} {name}")

    target.parent.mkdir(exist_ok=True)
    words = "The help of every command. Inside the hospital: `study`, its worksheets and its messages."
    pages = [page for name, inner in main.commands.items() for page in told(inner, f"skdpal {name}")]
    target.write_text("\n".join(["# The shell", "", words, "", *pages]), encoding="utf-8")


def homes():
    """Where each public name is documented: the highest package that lists it."""
    found = {}
    for room in ROOMS:
        module = import_module(f"skdpal.{room}")
        for name in module.__all__:
            if not inspect.ismodule(getattr(module, name)):
                found.setdefault(name, f"skdpal.{room}.{name}")
    return found


HOMES = homes()


def glossary():
    """Parameters that mean the same everywhere: type and meaning, by name."""
    text = (HERE / "api" / "glossary.md").read_text(encoding="utf-8")
    return {name: (kind, words) for name, kind, words in re.findall(r"^`(\*{0,2}\w+)` : (.+)\n: (.+)$", text, re.M)}


GLOSSARY = glossary()
SECTIONS = ("Parameters", "Returns", "Yields", "Raises", "Warns", "See Also", "Notes", "References", "Examples")


def section(lines, title):
    """Where a section begins and ends, its title included; None if there is none."""
    heads = [n for n in range(len(lines) - 1) if lines[n].strip() in SECTIONS and set(lines[n + 1].strip()) == {"-"}]
    for here, after in zip(heads, [*heads, len(lines)][1:], strict=True):
        if lines[here].strip() == title:
            return here, after
    return None


def put(lines, title, entries):
    """Add entries to a section, which is made, in numpydoc's order, if need be."""
    found = section(lines, title)
    if found:
        end = found[1]
        while not lines[end - 1].strip():
            end -= 1
        lines[end:end] = entries
        return
    later = [section(lines, name) for name in SECTIONS[SECTIONS.index(title) + 1 :]]
    at = min([place[0] for place in later if place], default=len(lines))
    lines[at:at] = ["", title, "-" * len(title), *entries, ""]


def complete(app, what, name, thing, options, lines):
    """Give a method the parameters that it has in common with others, and the type of what comes back."""
    if what != "method" or not lines:
        return
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return
    told = "\n".join(lines)
    entries = []
    for parameter in signature.parameters.values():
        stars = {parameter.VAR_KEYWORD: "**", parameter.VAR_POSITIONAL: "*"}.get(parameter.kind, "")
        word = stars + parameter.name
        if word in GLOSSARY and not re.search(rf"^(?:.*, )?{re.escape(word)}(?:, .*)? ?:", told, re.M):
            entries += [f"{word} : {GLOSSARY[word][0]}", f"    {GLOSSARY[word][1]}"]
    if entries:
        put(lines, "Parameters", entries)
    back = signature.return_annotation
    back = back if isinstance(back, str) else getattr(back, "__name__", "")
    if back not in ("", "None", "Any", "_empty") and not section(lines, "Returns") and not section(lines, "Yields"):
        put(lines, "Returns", [f"``{back}``"])


def link_names(app, what, name, thing, options, lines):
    """Bend a docstring's `Name` and docs/page.md to links; other words in backticks become code."""

    def linked(match):
        word = match[1].removeprefix("skdpal.").rpartition(".")[2] if match[1].startswith("skdpal.") else match[1]
        return f":py:obj:`~{HOMES[word]}`" if word in HOMES and word not in name.split(".") else f"``{match[1]}``"

    in_code = False
    for number, line in enumerate(lines):
        in_code = line.lstrip().startswith(">>>") or (in_code and bool(line.strip()))
        if not in_code:
            line = re.sub(r"(?<![`:\w])`([^`<>]+)`(?![`_])", linked, line)
            lines[number] = re.sub(r"(?<![`/\w])docs/([\w/]+)\.md", r":doc:`/\1`", line)


def find_notebooks(app, name, source):
    """Links to `notebooks/`, which lie beside `docs/` in the repository and among the pages here."""
    for up, here in (("](../../notebooks/", "](../notebooks/"), ("](../notebooks/", "](notebooks/")):
        if name.count("/") == up.count("../") - 1 and not name.startswith("notebooks/"):
            source[0] = source[0].replace(f"{up}README.md", f"{here}index.md").replace(up, here)


def of_skdpal_only(app, what, name, thing, skip, options):
    """Leave out what a class has from elsewhere: scikit-learn, modAL and skorch document it."""
    thing = getattr(thing, "fget", thing)
    module = getattr(thing, "__module__", None) or ""
    return True if what == "class" and not module.startswith("skdpal") else skip


def setup(app):
    """Make what is made, before Sphinx looks for pages."""
    copy_notebooks(HERE / "notebooks")
    shutil.rmtree(HERE / "api" / "generated", ignore_errors=True)
    write_commands(HERE / "api" / "generated" / "shell.md")
    app.connect("autodoc-process-docstring", complete, priority=50)
    app.connect("autodoc-process-docstring", link_names, priority=100)
    app.connect("source-read", find_notebooks)
    app.connect("autodoc-skip-member", of_skdpal_only)
    return {"parallel_read_safe": True}
