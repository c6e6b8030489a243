"""The classic mistake has the price that others computed for it."""

import doctest
from pathlib import Path

import pytest

from skdpal import PrivacyBudget
from skdpal.learner.planning import classic_mistake
from skdpal.privacy import epsilon_of, events


@pytest.fixture(scope="module")
def mistake():
    return classic_mistake()


def test_it_costs_eight_after_one_round_and_seventeen_after_five(mistake):
    """7.95 and 17.2 were found with dp-accounting outside of this package."""
    assert mistake.epsilons[0] == pytest.approx(7.95, abs=0.01)
    assert mistake.epsilons[-1] == pytest.approx(17.2, abs=0.05)
    assert list(mistake.epsilons) == sorted(mistake.epsilons)
    assert mistake.sizes == (32, 35, 38, 41, 44)
    assert mistake.needed == pytest.approx(4.72, abs=0.02)


def test_it_is_priced_from_poisson_events(mistake):
    steps = [events.poisson_gaussian(1.0, 4 / n, round(2.5 * n)) for n in mistake.sizes]
    assert epsilon_of(steps[:2], 1e-5) == mistake.epsilons[1]
    enough, less = (
        epsilon_of([events.poisson_gaussian(noise, 4 / n, round(2.5 * n)) for n in mistake.sizes], 1e-5)
        for noise in (mistake.needed, 0.997 * mistake.needed)
    )
    assert enough <= 2.0 < less


def test_an_independent_library_agrees(mistake):
    """Rényi divergences of dp-accounting, an upper bound by another road."""
    from dp_accounting import rdp
    from dp_accounting.dp_event import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
    from dp_accounting.privacy_accountant import NeighboringRelation

    accountant = rdp.RdpAccountant(list(range(2, 200)), NeighboringRelation.REPLACE_SPECIAL)
    for n in mistake.sizes:
        step = PoissonSampledDpEvent(4 / n, GaussianDpEvent(1.0))
        accountant.compose(SelfComposedDpEvent(step, round(2.5 * n)))
    assert mistake.epsilons[-1] < accountant.get_epsilon(1e-5) < 1.2 * mistake.epsilons[-1]


def test_it_says_so(mistake):
    assert "ε=7.9 after one round and 17.2 after 5, not 2" in str(mistake)
    assert "needs σ=4.7" in str(mistake)
    assert len(mistake.to_frame()) == 5
    assert "<table" in mistake._repr_html_()


def test_other_loops_have_other_prices():
    other = classic_mistake(PrivacyBudget(1.0, 1e-6), n_labelled=3, labels_per_round=0, rounds=2, epochs=4)
    assert other.sizes == (3, 3)
    full = [events.gaussian(1.0, steps=3)] * 2  # batches of four from three are everybody
    assert other.epsilons[-1] == pytest.approx(epsilon_of(full, 1e-6), rel=1e-3)
    with pytest.raises(ValueError, match="rounds"):
        classic_mistake(rounds=0)


def test_the_page_of_plans_opens_with_it(mistake):
    page = (Path(__file__).parents[2] / "docs" / "guide" / "planning.md").read_text(encoding="utf-8")
    assert page.index("classic mistake") < page.index("A plan")
    assert str(mistake) in page
    row = next(line for line in page.splitlines() if line.startswith("| ε |")).replace("*", "")
    assert [float(cell) for cell in row.split("|")[2:-1]] == [round(epsilon, 1) for epsilon in mistake.epsilons]


def test_the_examples_of_the_page_run():
    page = Path(__file__).parents[2] / "docs" / "guide" / "planning.md"
    failed, tried = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert (failed, tried > 5) == (0, True)
