"""The pages as a browser shows them: nothing asked for, nothing cut off, nothing too small, too pale or without words."""

import json
import shutil

import pytest

from skdpal.report import write_report
from tests.browser import WIDTHS, browser


@pytest.fixture(scope="module")
def chromium():
    with browser() as running:
        yield running


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("page", ["report.html", "data-protection.html"])
@pytest.mark.parametrize("kind", ["hidden", "published", "planned"])
def test_pages_of_studies(chromium, studies, kind, page, width):
    assert chromium.problems(studies[kind].release_folder / page, width) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_the_benchmark_page(chromium, benchmark_page, width):
    assert chromium.problems(benchmark_page, width) == []


@pytest.mark.parametrize("page", ["report.html", "data-protection.html"])
def test_pages_with_all_that_a_certificate_may_hold(chromium, studies, tmp_path, page):
    """Long names, many receipts, every kind of event, limits, a reason that voids."""
    from tests.audit.certificate.conftest import MAKERS

    release = tmp_path / "release"
    shutil.copytree(studies["hidden"].release_folder, release)
    path = release / "certificate.json"
    certificate = json.loads(path.read_text(encoding="utf-8"))
    for kind in ("labels", "caps", "published", "renyi", "search", "everybody with sites"):
        other = json.loads(json.dumps(MAKERS[kind]()))
        certificate["receipts"] += other["receipts"]
        certificate["caps"] |= other["caps"]
        certificate["lower_ceilings"] |= other["lower_ceilings"]
    certificate["receipts"][0]["label"] = "a-label-without-any-space-" * 8
    certificate |= {"status": f"void: {'x' * 200}", "drawn_again": [3]}
    path.write_text(json.dumps(certificate), encoding="utf-8")
    (release / "notes.txt").write_text("mine")
    write_report(release)
    assert chromium.problems(release / page, 400) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_what_notebooks_show(chromium, studies, width):
    """HTML of ledger, learner and study, as a cell shows it; scikit-learn draws a part of the learner."""
    study = studies["hidden"]
    shown = {"ledger": study.ledger, "study": study, "learner": study.learner}
    missing = {name for name, thing in shown.items() if not hasattr(thing, "_repr_html_")}
    assert not missing
    for name, thing in shown.items():
        page = f"<!doctype html><html lang=en><title>{name}</title><body style='margin:8px'>{thing._repr_html_()}"
        foreign = ("contrast", "small", "keyboard") if name == "learner" else ()
        assert chromium.problems(page, width, without=("headings", *foreign)) == [], name


# ---- planted faults -----------------------------------------------------------------------------------------------

PLAIN = "<!doctype html><html lang='en'><head><title>A page</title></head><body><main><h1>A page</h1>{}</main></body></html>"
FAULTS = {
    "overflow": "<div style='width: 1500px; background: #eee'>wide</div>",
    "request": "<img alt='a tumour' src='https://example.org/tumour.png'>",
    "console": "<script>console.error('planted')</script>",
    "console, thrown": "<script>throw new Error('planted')</script>",
    "alternative": '<img src=\'data:image/svg+xml,<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>\'>',
    "alternative, empty": '<img alt=\' \' src=\'data:image/svg+xml,<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>\'>',
    "alternative, drawn": "<svg width='20' height='20'><rect width='20' height='20'/></svg>",
    "image": "<img alt='broken' src='data:image/png;base64,AAAA' width='9' height='9'>",
    "shrunk": "<img alt='wide' style='width: 300px' src='data:image/svg+xml,<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"900\" height=\"9\"/>'>",
    "headings": "<h3>too deep</h3>",
    "headings, two": "<h1>again</h1>",
    "tables": "<table><tr><td>1</td></tr></table>",
    "keyboard": "<div style='overflow-x: auto'><div style='width: 2000px'>wide</div></div>",
    "contrast": "<p style='color: #888'>pale</p>",
    "contrast, on colour": "<p style='background: #0b6fa4; color: #1d2b36'>dark on dark</p>",
    "contrast, see-through": "<p style='color: rgba(0, 0, 0, .4)'>pale</p>",
    "small": "<p style='font-size: 11px'>small</p>",
    "request, style": "<style>@import url('https://example.org/font.css');</style>",
    "request, script": "<script src='https://example.org/x.js'></script>",
}


def test_an_honest_page_passes(chromium):
    good = (
        "<p>words</p><h2>more</h2><div style='overflow-x: auto' tabindex='0'><table><thead><tr><th scope='col'>a</th></tr></thead>"
        "<tbody><tr><td>1</td></tr></tbody></table></div>"
    )
    assert [chromium.problems(PLAIN.format(good), width) for width in WIDTHS] == [[], []]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(chromium, fault, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(PLAIN.format(FAULTS[fault]), encoding="utf-8")
    found = chromium.problems(path, 400)
    assert any(line.startswith(f"{fault.split(',')[0]}:") for line in found), found


@pytest.mark.parametrize(
    ("page", "rule"), [("<html><title>A page</title><h1>x</h1>", "language"), ("<html lang=en><h1>x</h1>", "title")]
)
def test_pages_have_a_language_and_a_title(chromium, page, rule):
    assert any(line.startswith(rule) for line in chromium.problems(page, 400))
