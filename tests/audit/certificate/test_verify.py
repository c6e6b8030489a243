"""Every figure follows from the receipts, computed by code that shares nothing with what issued them."""

import ast
import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import norm

import skdpal
from skdpal.audit import Verification, verify_certificate
from skdpal.audit.certificate import gaussian, losses, prices
from skdpal.cli import main
from skdpal.privacy import PrivacyBudget, PrivacyLedger, epsilon_of, events
from skdpal.privacy.accounting.gaussian import epsilon_of_mu
from skdpal.privacy.accounting.renyi import ORDERS, curve

PACKAGE = Path(skdpal.__file__).parent / "audit" / "certificate"
DELTA = 1e-5


# ---- honest certificates --------------------------------------------------------------------------------------


def test_certificates_of_every_kind_are_verified(certificate):
    found = verify_certificate(certificate)
    assert found.passed, str(found)
    assert [check.name for check in found.not_told] == ["journal", "releases", "public data", "other studies"]
    assert len(found.checks) == 19


def test_the_report_of_a_demo_study_too(tmp_path):
    """As `skdpal demo` writes it: planned, sampled rounds, a noisy accuracy."""
    from skdpal import plan_study
    from skdpal.demo import run_study

    plan = plan_study(
        PrivacyBudget(2.0), n_labelled=6, n_pool=20, labels_per_round=3, rounds=1, n_evaluation=11, n_components=4
    )
    study = run_study(tmp_path / "study", plan)
    path = study.release_folder / "certificate.json"
    found = verify_certificate(path, ledger=study.hospital_folder / "study.ledger", head=study.ledger.verify())
    assert found.passed, str(found)
    assert [check.name for check in found.checks][-6:-3] == ["journal", "journal head", "ledger"]


@pytest.mark.parametrize(
    ("make", "status"),
    [
        (
            lambda ledger: ledger.mark_void("chosen by uncharged scores"),
            "void: chosen by uncharged scores: not private",
        ),
        (lambda ledger: None, None),
    ],
)
def test_a_void_certificate_is_reported_as_not_private(ledger, make, status):
    make(ledger)
    found = verify_certificate(ledger.certificate())
    assert found.passed == (status is None)
    assert [check.found for check in found.failed] == ([status] if status else [])


def test_so_is_a_simulation(simulated, budget):
    found = verify_certificate(PrivacyLedger(budget).certificate())
    assert [(check.name, check.found) for check in found.failed] == [
        ("status", "simulation: seeded noise, not private")
    ]


# ---- independence ------------------------------------------------------------------------------------------------


def imports_of(source):
    tree = ast.parse(source)
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
    relative = any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree))
    late = {
        node.args[0].value if isinstance(node.args[0], ast.Constant) else "computed"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) in ("import_module", "__import__", "exec", "eval")
    }
    return found | late | ({"relative"} if relative else set())


def foreign(source):
    """What of skdpal, or of the library that prices planned ledgers, a module uses; or cannot be told."""
    wrong = ("skdpal", "dp_accounting", "relative", "computed")
    return {
        name
        for name in imports_of(source)
        if name.split(".")[0] in wrong and not name.startswith("skdpal.audit.certificate")
    }


def test_it_imports_nothing_that_it_checks():
    modules = sorted(PACKAGE.glob("*.py"))
    assert len(modules) > 8
    for module in modules:
        assert not foreign(module.read_text(encoding="utf-8")), module.name


@pytest.mark.parametrize(
    "source",
    [
        "from skdpal.privacy.accounting import gaussian",
        "def late():\n    from skdpal.privacy import filters",
        "import skdpal.privacy.events as events",
        "from skdpal import PrivacyLedger",
        "from skdpal.audit import bounds",
        "from ...privacy import events",
        "from importlib import import_module\nimport_module('skdpal.privacy.events')",
        "from importlib import import_module\nimport_module('skdpal.' + 'privacy')",
        "import dp_accounting",
    ],
)
def test_a_planted_import_is_found(source):
    assert foreign(source)


# ---- the arithmetic, against that of the kernel and against textbooks ---------------------------------------------

EVENTS = {
    "gaussian": events.gaussian(3.0, steps=4),
    "laplace": events.laplace(2.0),
    "answer of four": events.randomized_response(1.0, 4),
    "answer of two": events.randomized_response(0.3, 2),
    "sampled": events.poisson_gaussian(2.0, 0.25, 20),
    "rarely sampled": events.poisson_gaussian(1.0, 0.02, 30),
    "always sampled": events.poisson_gaussian(5.0, 1.0, 4),
    "composed": events.composed([events.randomized_response(1.0, 2), events.laplace(3.0)], count=2),
    "either": events.one_of([events.gaussian(4.0), events.laplace(2.0)]),
    "parts": events.modalities({"a": events.gaussian(3.7), "b": events.laplace(7.0)}),
}
BOUNDED = {
    "peel": events.gumbel_top_k(2.0, 3),
    "geometric": events.repeat_and_select(events.gaussian(3.73), 10),
    "logarithmic": events.repeat_and_select(events.gaussian(3.73), 10, 0),
    "between": events.repeat_and_select(events.gaussian(6.0), 4, 0.5),
    "poisson": events.repeat_and_select(events.gaussian(3.73), 10, math.inf),
}


@pytest.mark.parametrize("mu", [1e-3, 0.1, 0.5, 2.0, 9.0])
@pytest.mark.parametrize("delta", [1e-12, 1e-5, 0.01])
def test_conversions_of_mu(mu, delta):
    ours = gaussian.epsilon_of(mu, delta)
    assert ours == pytest.approx(epsilon_of_mu(mu, delta), rel=1e-7, abs=1e-9)
    if ours > 1e-3:
        assert gaussian.mu_of(ours, delta) == pytest.approx(mu, rel=1e-6)
        textbook = norm.cdf(mu / 2 - ours / mu) - math.exp(ours) * norm.cdf(-mu / 2 - ours / mu)
        assert textbook == pytest.approx(delta, rel=1e-4, abs=1e-14)


@pytest.mark.parametrize("name", EVENTS)
def test_divergences_agree(name):
    event = EVENTS[name]
    low, high = prices.divergences(events.to_json(event), ORDERS)
    theirs = curve(event)
    assert (theirs >= low * (1 - 1e-7)).all()
    assert theirs == pytest.approx(high, rel=1e-6, abs=1e-9)
    whole = [at for at, order in enumerate(ORDERS) if order == int(order)]
    assert low[whole] == pytest.approx(high[whole], rel=1e-7, abs=1e-12)  # exact there


@pytest.mark.parametrize("name", [*EVENTS, *BOUNDED])
def test_frozen_prices_lie_between(name):
    event = (EVENTS | BOUNDED)[name]
    low, high = losses.bounds([[[events.to_json(event)]]], DELTA)
    assert low * (1 - 1e-6) <= epsilon_of([event], DELTA) <= high * (1 + 1e-3)
    if name in EVENTS:
        assert high <= low * 1.005
    else:
        assert high < 6 * low


def test_halved_noise_is_far_outside():
    """What a wrong price would look like: the interval excludes it by far."""
    low, high = losses.bounds([[[events.to_json(events.poisson_gaussian(2.0, 0.25, 20))]]], DELTA)
    assert epsilon_of([events.poisson_gaussian(2.02, 0.25, 20)], DELTA) < low
    assert epsilon_of([events.poisson_gaussian(1.98, 0.25, 20)], DELTA) > high


def test_a_schedule_with_roles_is_between_its_dearest_role_and_everything():
    """The example of REVIEW: six trainings and five selections; 7.80 by dominating pairs, 10.74 for everything."""
    train, score = events.poisson_gaussian(2.0, 0.25, 20), events.noisy_scores(1.48)
    train, score = events.to_json(train), events.to_json(score)
    turns = [[[train] if turn < at else [score] for turn in range(5)] + [[train]] for at in range(6)]
    low, high = losses.bounds(turns, DELTA)
    assert low < 7.80 < high < 7.85


@pytest.mark.parametrize("value", [1e-6, 0.3, 2.0, 30.0])
def test_the_best_guess(value):
    mu = gaussian.mu_of(value, DELTA)
    true, false = gaussian.guesses(value, DELTA, mu)
    assert true == pytest.approx(norm.cdf(mu / 2))
    loose_true, loose_false = gaussian.guesses(value, DELTA)
    assert loose_true - loose_false >= true - false - 1e-9  # ε and δ alone promise less
    assert loose_true == pytest.approx(math.exp(value) * loose_false + DELTA, rel=1e-9)
    assert 1 - loose_false == pytest.approx(loose_true)


def test_corners_of_a_trade_off_curve():
    pure = 1.0
    p = [math.exp(pure) / (1 + math.exp(pure)), 1 / (1 + math.exp(pure))]
    assert gaussian.mu_between(p, p[::-1]) == pytest.approx(2 * norm.ppf(p[0]))
    assert gaussian.mu_between([0.5, 0.5], [0.5, 0.5]) == pytest.approx(0, abs=1e-12)
    assert np.isclose(gaussian.mu_between([0.9, 0.1], [0.5, 0.5]), norm.ppf(0.5) + norm.ppf(0.9))


# ---- results, and the shell ---------------------------------------------------------------------------------------


@pytest.fixture
def file(certificates, tmp_path):
    path = tmp_path / "certificate.json"
    path.write_text(json.dumps(certificates["gdp"]))
    return path


def test_what_is_found_can_be_read(certificates):
    found = verify_certificate(certificates["gdp"])
    assert isinstance(found, Verification)
    assert list(found.frame().columns) == ["check", "result", "found"]
    assert set(found.frame()["result"]) == {"ok", "not told"}
    assert json.loads(json.dumps(found.to_json()))["passed"] is True
    assert "numbering" in str(found)
    assert str(found).endswith("marked so.")


def test_the_shell_says_ok_and_leaves_with_zero(file, certificates):
    done = CliRunner().invoke(main, ["certificate", "verify", str(file), "--head", certificates["gdp"]["journal_head"]])
    assert done.exit_code == 0, done.output
    assert "noted head" in done.output
    assert "not told" in done.output


def test_the_shell_fails_with_one(file, certificates):
    file.write_text(json.dumps({**certificates["gdp"], "epsilon": 1.98, "status": "void: [red]markup[/]"}))
    done = CliRunner().invoke(main, ["certificate", "verify", str(file), "--json"])
    assert done.exit_code == 1
    said = json.loads(done.output)
    assert {check["name"] for check in said["checks"] if check["ok"] is False} >= {"statement", "status"}
    done = CliRunner().invoke(main, ["certificate", "verify", str(file)])
    assert done.exit_code == 1
    assert "[red]markup[/]" in " ".join(done.output.split())


def test_a_file_that_is_none_is_an_error_in_words(file, tmp_path):
    file.write_text("[1]")
    done = CliRunner().invoke(main, ["certificate", "verify", str(file)])
    assert done.exit_code != 0
    assert "Expected certificate.json to hold a JSON object" in done.output
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="in UTF-8"):
        verify_certificate(file)
    file.write_text("[" * 100_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        verify_certificate(file)
    with pytest.raises(FileNotFoundError):
        verify_certificate(tmp_path / "nowhere.json")
