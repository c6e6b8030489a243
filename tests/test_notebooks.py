"""The notebooks run from top to bottom, and what is committed with them is what they print."""

import re
import time
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SECONDS = 20  # of cells, on an idle machine; a busy one gets six times as many
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


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def test_there_are_notebooks():
    assert {"05a_cold_start", "05b_modalities", "05c_experts"} <= {path.stem for path in NOTEBOOKS}


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
