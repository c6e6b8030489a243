"""The notebooks run from top to bottom, and what is committed with them is what they print."""

import itertools
import re
import time
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
NUMBERS = range(1, 9)
SECONDS = 20  # of cells, on an idle machine; a busy one gets six times as many
LARGEST = 400_000  # bytes of a committed notebook
PRIVATE = re.compile(r"/(home|root|tmp|work|Users|mnt|private)/|[A-Z]:\\\\|site-packages")
WARNED = re.compile(r"\b\w*Warning: |Traceback \(most recent call last\)")
ALLOWED = ("simulation(seed=",)  # a notebook that computes with seeded noise says so itself


def outputs_of(notebook):
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def words_of(output):
    """All text of an output: what was printed, shown or raised."""
    parts = [output.get("text", ""), *output.get("traceback", [])]
    parts += [text for kind, text in output.get("data", {}).items() if kind.startswith("text/")]
    return "\n".join("".join(part) for part in parts)


def pictures_without_words(notebook):
    """Code cells that draw and do not say what for those who cannot see it; docs/ shows the words as alternative text."""
    drawing = [cell for cell in notebook.cells if any("image/png" in one.get("data", {}) for one in outputs_in(cell))]
    words = [cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "") for cell in drawing]
    return [cell.source for cell, alt in zip(drawing, words, strict=True) if len(alt.split()) < 8]


def outputs_in(cell):
    return cell.outputs if cell.cell_type == "code" else []


def shows(cell):
    """Whether the outputs of a cell hold a figure or a table."""
    kinds = [output.get("data", {}) for output in outputs_in(cell)]
    return any("image/png" in data or "<table" in "".join(data.get("text/html", "")) for data in kinds)


def levels_of(notebook):
    """Of all headings, in order."""
    lines = [line for cell in notebook.cells if cell.cell_type == "markdown" for line in cell.source.splitlines()]
    return [len(line) - len(line.lstrip("#")) for line in lines if re.match(r"#+ ", line)]


def well_ordered(levels):
    return levels[0] == 1 and levels.count(1) == 1 and all(b - a <= 1 for a, b in itertools.pairwise(levels))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def test_there_are_notebooks():
    assert {int(path.stem[:2]) for path in NOTEBOOKS} == set(NUMBERS)
    assert {"05a_cold_start", "05b_modalities", "05c_experts"} <= {path.stem for path in NOTEBOOKS}


def test_the_list_of_notebooks_is_complete():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \[\w+\]\((\w+\.ipynb)\)", text, re.MULTILINE) == [path.name for path in NOTEBOOKS]


def test_what_is_committed_was_run_in_order_and_shows_what_it_printed(notebook):
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert outputs_of(notebook)
    assert not any(output.output_type == "error" for output in outputs_of(notebook))


def test_nothing_of_a_machine_and_no_warning_is_in_it(path, notebook):
    for text in (path.read_text(encoding="utf-8"), *map(words_of, outputs_of(notebook))):
        assert not PRIVATE.search(text)
    for output in outputs_of(notebook):
        said = words_of(output)
        assert output.get("name") != "stderr"
        assert not WARNED.search(said) or any(words in said for words in ALLOWED)


def test_a_notebook_says_what_it_is_about(notebook):
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    assert well_ordered(levels_of(notebook))


def test_a_notebook_is_small_ends_in_something_to_look_at_and_says_what_is_seen(path, notebook):
    assert path.stat().st_size < LARGEST
    assert shows([cell for cell in notebook.cells if cell.cell_type == "code"][-1])
    assert not pictures_without_words(notebook)


def test_links_lead_somewhere(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", cell.source):
                assert (FOLDER / target).exists(), target


def test_a_notebook_runs(notebook, tmp_path):
    """Every cell, in a fresh kernel, in an empty folder; warnings that skdpal or a library raises are shown, and found."""
    client = nbclient.NotebookClient(
        notebook, timeout=6 * SECONDS, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    began = time.monotonic()
    client.execute()
    assert time.monotonic() - began < 6 * SECONDS + 20  # and the start of a kernel
    for output in outputs_of(notebook):
        assert output.output_type != "error"
        assert output.get("name") != "stderr", words_of(output)


@pytest.mark.parametrize(
    "text", ["UserWarning: X", "/home/somebody/x.csv", "File /tmp/x", "C:\\\\Users\\\\x", "lib/site-packages/x"]
)
def test_what_must_not_be_there_would_be_found(text):
    assert WARNED.search(text) or PRIVATE.search(text)


def test_a_picture_without_words_and_an_end_without_anything_would_be_found():
    drawn = nbformat.v4.new_output("display_data", {"image/png": "iVBO", "text/plain": "<Figure>"})
    said = nbformat.v4.new_output("stream", text="0.9")
    bare = nbformat.v4.new_code_cell("plot()", outputs=[drawn])
    told = nbformat.v4.new_code_cell("plot()", outputs=[drawn])
    told.metadata["mystnb"] = {"image": {"alt": "Accuracy against the number of labels, for three methods."}}
    assert pictures_without_words(nbformat.v4.new_notebook(cells=[bare, told])) == ["plot()"]
    assert shows(told)
    assert not shows(nbformat.v4.new_code_cell("print(0.9)", outputs=[said]))


@pytest.mark.parametrize(
    ("levels", "fine"), [([1, 2, 3, 2], True), ([1, 3], False), ([2, 2], False), ([1, 2, 1], False)]
)
def test_headings_that_jump_would_be_found(levels, fine):
    assert well_ordered(levels) == fine
