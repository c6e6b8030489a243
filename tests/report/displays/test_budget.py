"""The bars say what the ledger says, and nothing about who is in an account."""

import json

import numpy as np
import pytest

from skdpal import PrivacyBudget, PrivacyLedger
from skdpal.privacy import Charge, Schedule, Split, epsilon_of, events
from skdpal.report import BudgetDisplay


def published(ledger, members=("p1", "p2", "p3")):
    """Three rounds whose scores the pool pays for; a site with a lower ceiling."""
    for number, member in enumerate(members, start=1):
        ledger.charge(events.noisy_scores(8.0), label=f"scores {number}", account="cohort/pool")
        leaf = ledger.split("cohort/pool", into=f"cohort/round-{number}", members=[member] if member else [])
        leaf.charge(events.gaussian(3.0 + number), label=f"fit {number}")
    ledger.split("cohort/pool", into="cohort/site", members=[], epsilon=1.5)
    return ledger


@pytest.fixture
def rounds(ledger):
    return published(ledger)


def paid(display, account, column="epsilon"):
    return display.payments.loc[display.payments["account"] == account, column].to_numpy()


def test_every_bar_ends_where_the_odometer_stands(rounds):
    display = BudgetDisplay.from_ledger(rounds)
    for account in rounds.accounts():
        assert display.accounts.loc[account, "spent"] == rounds.spent(account)
        assert paid(display, account)[-1] == pytest.approx(rounds.spent(account), rel=1e-12)
    assert display.accounts.loc["cohort/site", "ceiling"] == pytest.approx(1.5, abs=1e-9)
    assert (display.accounts["free"] == display.accounts["ceiling"] - display.accounts["spent"]).all()
    assert display.labels == [receipt.label for receipt in rounds.receipts()]


def test_a_bar_is_cut_at_each_receipt_that_its_patients_paid_also_before_they_moved(rounds):
    display = BudgetDisplay.from_ledger(rounds)
    rows = display.payments[display.payments["account"] == "cohort/round-2"]
    assert rows["label"].tolist() == ["scores 1", "scores 2", "fit 2"]
    assert rows["receipt"].tolist() == [1, 3, 4]
    releases = [events.noisy_scores(8.0), events.noisy_scores(8.0), events.gaussian(5.0)]
    expected = [epsilon_of(releases[: number + 1], 1e-5) for number in range(3)]
    np.testing.assert_allclose(rows["epsilon"], expected, rtol=1e-6)
    np.testing.assert_allclose(rows["mu_squared"], np.cumsum([1 / 64, 1 / 64, 1 / 25]), rtol=1e-12)


def test_what_is_drawn_is_what_is_in_the_table(rounds):
    display = BudgetDisplay.from_ledger(rounds, unit="mu_squared")
    widths = [patch.get_width() for patch in display.ax_.patches]
    for account in rounds.accounts():
        for part in np.diff([0.0, *paid(display, account, "mu_squared")]):
            assert np.isclose(widths, part).any()
    assert np.isclose(widths, display.accounts["ceiling_mu_squared"].max()).any()
    assert display.ax_.get_xlim()[1] > display.accounts["ceiling_mu_squared"].max()


def test_curves_over_receipts_end_at_the_odometer(rounds):
    display = BudgetDisplay.from_ledger(rounds, by="receipt")
    dearest = next(line for line in display.ax_.lines if line.get_label() == "dearest account")
    assert dearest.get_ydata()[-1] == pytest.approx(rounds.spent())
    assert (np.diff(dearest.get_ydata()) >= 0).all()
    assert display.ax_.get_xlim()[1] > len(rounds.receipts())


def test_a_certificate_draws_the_same_as_its_ledger(rounds):
    certificate = json.loads(json.dumps(rounds.certificate()))
    ours, theirs = BudgetDisplay.from_ledger(rounds), BudgetDisplay.from_certificate(certificate)
    assert ours.payments.equals(theirs.payments)
    assert ours.accounts.equals(theirs.accounts)
    handle = BudgetDisplay.from_ledger(rounds.within("cohort/pool"))
    assert handle.accounts.equals(ours.accounts)


@pytest.mark.parametrize("members", [(None, None, None), ("a", "b", "c")])
def test_who_and_how_many_are_in_an_account_changes_nothing(budget, rounds, members):
    ours, theirs = (
        BudgetDisplay.from_ledger(rounds),
        BudgetDisplay.from_ledger(published(PrivacyLedger(budget), members)),
    )
    assert ours.payments.equals(theirs.payments)
    assert ours.accounts.equals(theirs.accounts)
    for display in (ours, theirs):
        display.figure_.canvas.draw()
    assert bytes(ours.figure_.canvas.buffer_rgba()) == bytes(theirs.figure_.canvas.buffer_rgba())


def test_renyi_ledgers_have_curves_but_no_mu(budget):
    ledger = PrivacyLedger(budget, filter="renyi")
    for number in range(3):
        ledger.charge(events.poisson_gaussian(2.0, 0.1, 5), label=f"fit {number}")
    display = BudgetDisplay.from_ledger(ledger)
    assert paid(display, "cohort/pool")[-1] == pytest.approx(ledger.spent())
    assert len(paid(display, "cohort/pool")) == 3
    with pytest.raises(ValueError, match="unit='epsilon'.*does not add up μ²"):
        display.plot(unit="mu_squared")


def test_planned_ledgers_show_where_they_stand(budget):
    schedule = Schedule(
        [
            Split("cohort/pool", "cohort/a"),
            Charge(events.gaussian(3.0), "cohort/a"),
            Charge(events.gaussian(8.0), "cohort"),
        ]
    )
    ledger = PrivacyLedger(budget, filter="planned", schedule=schedule)
    ledger.split("cohort/pool", into="cohort/a", members=["p"]).charge(events.gaussian(3.0), label="fit")
    display = BudgetDisplay.from_ledger(ledger)
    assert paid(display, "cohort/a").tolist() == [ledger.spent("cohort/a")]
    assert not len(paid(display, "cohort/pool"))


def test_a_new_ledger_is_all_free(ledger):
    for by in ("account", "receipt"):
        display = BudgetDisplay.from_ledger(ledger, by=by)
        assert display.payments.empty
        assert display.accounts["free"].tolist() == [2.0]


def test_axes_and_keywords_are_passed_on(rounds, column):
    display = BudgetDisplay.from_ledger(rounds, ax=column, facecolor="red")
    assert display.ax_ is column
    assert display.figure_ is column.figure
    assert any(patch.get_facecolor() == (1.0, 0.0, 0.0, 1.0) for patch in column.patches)
    assert display.plot(by="receipt", lw=7) is display
    assert any(line.get_linewidth() == 7 for line in display.ax_.lines)
    assert display.ax_ is not column


@pytest.mark.parametrize("by", ["account", "receipt"])
@pytest.mark.parametrize("unit", ["epsilon", "mu_squared"])
def test_words_have_room(rounds, column, readable, by, unit):
    readable(BudgetDisplay.from_ledger(rounds, ax=column, by=by, unit=unit).figure_)
    readable(BudgetDisplay.from_ledger(rounds, by=by, unit=unit).figure_)


def test_wrong_input_is_named(ledger):
    with pytest.raises(TypeError, match="Expected ledger to be a PrivacyLedger. Found PrivacyBudget"):
        BudgetDisplay.from_ledger(PrivacyBudget(1.0))
    with pytest.raises(TypeError, match="Expected certificate to be the dict"):
        BudgetDisplay.from_certificate([])
    with pytest.raises(ValueError, match="Expected by to be one of 'account', 'receipt'"):
        BudgetDisplay.from_ledger(ledger, by="patient")
    with pytest.raises(ValueError, match="Expected unit to be one of"):
        BudgetDisplay.from_ledger(ledger, unit="patients")
