"""Draws that stay inside: the first one counts, for ever, and leaving is paid for."""

import copy
import multiprocessing
import pickle

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from skdpal.privacy import BudgetExhausted, LedgerError, LedgerSealed, PrivacyLedger
from skdpal.privacy.accounts import POOL
from skdpal.privacy.mechanisms import GaussianSum, Kept, LaplaceLabels, RandomizedResponse, release
from skdpal.privacy.randomness import simulation
from skdpal.privacy.storage.vault import Vault, vault_of

COLOURS = ("red", "green", "a very long colour")
IDS = [f"patient-{at}" for at in range(200)]
LABELS = [COLOURS[at % 3] for at in range(200)]
RESPONSE, LAPLACE = RandomizedResponse(0.5, COLOURS), LaplaceLabels(0.2, COLOURS)


@pytest.fixture(params=["response", "laplace"])
def mechanism(request):
    return {"response": RESPONSE, "laplace": LAPLACE}[request.param]


def same(first, second):
    return np.array_equal(np.asarray(first), np.asarray(second))


def asked(kept, ledger, ids=IDS, labels=LABELS):
    return release(lambda: labels, kept, ledger, "labels", record_ids=ids)


# -- drawn once ----------------------------------------------------------------------------------


def test_the_first_draw_counts_inside_and_outside(ledger, mechanism):
    kept = Kept(mechanism, ledger, "histology")
    first = kept.inside(LABELS, IDS)
    assert same(first, kept.inside(LABELS, IDS))
    assert ledger.receipts() == []  # nothing left
    assert same(first, asked(kept, ledger))
    assert [receipt.event for receipt in ledger.receipts()] == [mechanism.event]
    assert not same(first, mechanism.run(LABELS, IDS))  # chance below 1e-9


def test_it_leaves_only_if_it_is_paid_for(ledger, exhausted, mechanism, untouchable):
    kept = Kept(mechanism, exhausted, "histology")
    with pytest.raises(BudgetExhausted):
        release(untouchable, kept, exhausted, "labels", record_ids=IDS)
    with pytest.raises(ValueError, match="Expected ledger"):
        release(untouchable, kept, None, "labels", record_ids=IDS)
    small = RandomizedResponse(0.01, COLOURS)
    for _ in range(2):  # a copy that leaves again is paid again, unless it is asked for by a question
        asked(Kept(small, ledger, "histology"), ledger)
    assert len(ledger.receipts()) == 2


def test_a_corrected_label_does_not_draw_again(ledger, mechanism):
    """Two draws, one of each label, would tell that it was corrected."""
    kept = Kept(mechanism, ledger, "histology")
    first = kept.inside(LABELS, IDS)
    assert same(first, kept.inside(["green"] * 200, IDS))
    assert same(first, kept.inside([None] * 200, IDS))


def test_each_patient_has_their_own_draw_in_whatever_order_they_come(ledger, mechanism):
    kept = Kept(mechanism, ledger, "histology")
    some = kept.inside(LABELS[50:100], IDS[50:100])
    every = kept.inside(LABELS, IDS)
    assert same(some, every[50:100])
    back = kept.inside(LABELS[::-1], IDS[::-1])
    assert same(back, every[::-1])
    assert same(kept.inside(LABELS[7:8], IDS[7:8]), every[7:8])


def test_numbers_and_words_are_the_same_patient(ledger):
    kept = Kept(RESPONSE, ledger, "histology")
    first = kept.inside(LABELS, list(range(200)))
    assert same(first, kept.inside(LABELS, [str(at) for at in range(200)]))


def test_words_of_any_length_come_back_whole(ledger):
    """A vault that kept the width of the first draw would cut the longer ones."""
    kept = Kept(RandomizedResponse(50.0, COLOURS), ledger, "histology")
    assert kept.inside(["red"], ["a"]).tolist() == ["red"]
    assert kept.inside(["red", "a very long colour"], ["a", "b"]).tolist() == ["red", "a very long colour"]
    assert kept.inside(["green", "red"], ["c", "a"]).tolist() == ["green", "red"]


@pytest.mark.parametrize("classes", [(1, 2, 3), (0.5, 1.5), (True, False), (b"x", b"y")])
def test_classes_come_back_as_they_are(ledger, classes):
    labels = [classes[at % len(classes)] for at in range(6)]
    kept = Kept(RandomizedResponse(50.0, classes), ledger, "histology")
    for _ in range(2):
        assert kept.inside(labels, IDS[:6]).tolist() == labels


def test_a_table_has_its_shape_also_of_nobody(ledger):
    kept = Kept(LAPLACE, ledger, "histology")
    assert kept.inside([], []).shape == (0, 3)
    assert kept.inside(LABELS[:1], IDS[:1]).shape == (1, 3)
    assert Kept(RESPONSE, ledger, "histology").inside([], []).shape == (0,)


# -- whose draw it is ----------------------------------------------------------------------------


def test_another_name_another_mechanism_another_ledger_is_another_draw(ledger, budget):
    first = Kept(RESPONSE, ledger, "histology").inside(LABELS, IDS)
    others = [
        Kept(RESPONSE, ledger, "grade"),
        Kept(RandomizedResponse(0.6, COLOURS), ledger, "histology"),
        Kept(RandomizedResponse(0.5, [*COLOURS, "blue"]), ledger, "histology"),
        Kept(RESPONSE, PrivacyLedger(budget), "histology"),
    ]
    assert not any(same(first, other.inside(LABELS, IDS)) for other in others)


@pytest.mark.parametrize(
    "twin",
    [
        RandomizedResponse(0.5, list(COLOURS)),
        RandomizedResponse(0.5, np.array(COLOURS)),
        RandomizedResponse(np.float32(0.5), pd.Index(COLOURS)),
    ],
)
def test_the_same_mechanism_however_it_is_written_draws_once(ledger, twin):
    first = Kept(RESPONSE, ledger, "histology").inside(LABELS, IDS)
    assert same(first, Kept(twin, ledger, "histology").inside(LABELS, IDS))
    one = RandomizedResponse(1, (0, 1))
    two = RandomizedResponse(1.0, np.array([0, 1], dtype=np.int8))
    numbers = [0, 1] * 100
    assert same(Kept(one, ledger, "n").inside(numbers, IDS), Kept(two, ledger, "n").inside(numbers, IDS))


def test_names_and_patients_cannot_be_mistaken_for_one_another(ledger):
    """A name with a line in it, and a patient whose id continues it, are not one key."""
    first = Kept(RESPONSE, ledger, "a").inside(LABELS, [f"b\n{at}" for at in IDS])
    second = Kept(RESPONSE, ledger, f"a\n{RESPONSE!r}\nb").inside(LABELS, IDS)
    third = ledger.keep("x", ["y\nz"], np.zeros(1)), ledger.keep("x\ny", ["z"], np.ones(1))
    assert not same(first, second)
    assert [one.tolist() for one in third] == [[0.0], [1.0]]


def test_a_handle_keeps_in_the_same_vault(ledger):
    first = Kept(RESPONSE, ledger, "histology").inside(LABELS, IDS)
    ledger.split(POOL, "cohort/a", IDS)
    assert same(first, Kept(RESPONSE, ledger.within("cohort/a"), "histology").inside(LABELS, IDS))


# -- stores --------------------------------------------------------------------------------------


def test_it_outlives_the_process_that_drew(durable, path, mechanism):
    first = Kept(mechanism, durable, "histology").inside(LABELS, IDS)
    for again in (PrivacyLedger.open(path), copy.deepcopy(durable), pickle.loads(pickle.dumps(durable))):
        assert same(first, Kept(mechanism, again, "histology").inside(LABELS, IDS))


def test_the_vault_holds_no_name_and_the_journal_nothing(durable, path, journal):
    before = journal(durable)
    Kept(RESPONSE, durable, "histology").inside(LABELS, IDS)
    assert journal(durable) == before
    stored = b"".join(part.read_bytes() for part in path.parent.iterdir())
    assert b"patient-1" not in stored
    assert b"histology" not in stored


def draws(path, gate, answers):
    kept = Kept(RESPONSE, PrivacyLedger.open(path), "histology")
    gate.wait()
    answers.put(kept.inside(LABELS, IDS).tolist())


def test_of_processes_that_draw_at_once_one_draw_counts(durable, path):
    context = multiprocessing.get_context("spawn")
    gate, answers = context.Barrier(2), context.Queue()
    workers = [context.Process(target=draws, args=(path, gate, answers)) for _ in range(2)]
    for worker in workers:
        worker.start()
    found = [answers.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join()
    assert found[0] == found[1] == Kept(RESPONSE, durable, "histology").inside(LABELS, IDS).tolist()


def test_a_slower_process_gets_what_the_faster_one_kept(durable, path, monkeypatch):
    """Both draw; the other one stores first."""
    kept, keep, first = Kept(RESPONSE, durable, "histology"), Vault.keep, []

    def late(self, keys, values):
        monkeypatch.setattr(Vault, "keep", keep)
        first.append(Kept(RESPONSE, PrivacyLedger.open(path), "histology").inside(LABELS, IDS))
        return self.keep(keys, values)

    monkeypatch.setattr(Vault, "keep", late)
    assert same(kept.inside(LABELS, IDS), first[0])


def test_a_death_before_it_is_kept_loses_nothing_that_left(durable, path, monkeypatch):
    """Charged, not kept, not released; the next call draws, once."""
    kept = Kept(RESPONSE, durable, "histology")

    def dies(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Vault, "keep", dies)
        with pytest.raises(KeyboardInterrupt):
            asked(kept, durable.within("cohort", question="labels"))
    again = PrivacyLedger.open(path)
    found = asked(Kept(RESPONSE, again, "histology"), again.within("cohort", question="labels"))
    assert same(found, kept.inside(LABELS, IDS))
    assert len(again.receipts()) == 1
    assert again.certificate()["drawn_again"] == [again.receipts()[0].number]


def test_all_or_none_of_a_call_are_kept(durable, path, monkeypatch):
    """A store that fails half-way has kept nobody."""
    insert = sa.Connection.execute

    def full(self, statement, *more, **options):
        if "INSERT INTO vault_answers" in str(statement):
            full.left -= 1
            if full.left < 0:
                raise sa.exc.OperationalError("insert", {}, Exception("disk is full"))
        return insert(self, statement, *more, **options)

    full.left = 10
    with monkeypatch.context() as patch:
        patch.setattr(sa.Connection, "execute", full)
        with pytest.raises(LedgerError, match="cannot be used"):
            Kept(RESPONSE, durable, "histology").inside(LABELS, IDS)
    with sa.create_engine(f"sqlite:///{vault_of(path)}").connect() as connection:
        assert connection.execute(sa.text("SELECT COUNT(*) FROM vault_answers")).scalar_one() == 0


def test_more_patients_than_a_database_takes_at_once(ledger, monkeypatch):
    """PostgreSQL takes 65,535 parameters; here seven."""
    monkeypatch.setattr("skdpal.privacy.storage.vault._AT_ONCE", 7)
    asked_for, execute = [], sa.Connection.execute

    def counted(self, statement, *more, **options):
        if "vault_answers" in str(statement) and "SELECT" in str(statement):
            (names,) = statement.compile().params.values()
            asked_for.append(len(names))
        return execute(self, statement, *more, **options)

    monkeypatch.setattr(sa.Connection, "execute", counted)
    many = [str(at) for at in range(50)]
    first = ledger.keep("x", many, np.arange(50))
    assert same(first, ledger.keep("x", many, np.zeros(50, dtype=int)))
    assert asked_for == [*[7] * 7, 1] * 2


# -- where it may not be ---------------------------------------------------------------------------


def test_noise_of_a_seed_is_never_kept_for_a_real_study(ledger, mechanism):
    """It would be released later, as if it were noise."""
    kept = Kept(mechanism, ledger, "histology")
    with simulation(0):
        for attempt in (lambda: kept.inside(LABELS, IDS), lambda: asked(kept, None)):
            with pytest.raises(LedgerError, match="real ledger"):
                attempt()
    drawn = kept.inside(LABELS, IDS)
    with simulation(0):
        assert not same(drawn, mechanism.run(LABELS, IDS))


def test_a_simulation_keeps_its_own(budget, mechanism):
    with simulation(0):
        kept = Kept(mechanism, PrivacyLedger(budget), "histology")
        first = kept.inside(LABELS, IDS)
        assert same(first, kept.inside(LABELS, IDS))
    with pytest.raises(LedgerError, match="only inside that block"):
        kept.inside(LABELS, IDS)


def test_a_sealed_copy_keeps_nothing(ledger):
    with pytest.raises(LedgerSealed):
        Kept(RESPONSE, pickle.loads(pickle.dumps(ledger)), "histology").inside(LABELS, IDS)


@pytest.mark.parametrize("ids", [["a", "a"], [1, "1"]])
def test_a_patient_has_one_label(ledger, ids):
    with pytest.raises(ValueError, match="one label for each patient"):
        Kept(RESPONSE, ledger, "histology").inside(["red", "green"], ids)
    with pytest.raises(ValueError, match="one row for each patient, as Kept needs"):
        asked(Kept(RESPONSE, ledger, "histology"), ledger, ids, ["red", "green"])


def test_what_does_not_treat_each_patient_alone_is_refused(ledger):
    with pytest.raises(TypeError, match="RandomizedResponse or LaplaceLabels"):
        Kept(GaussianSum(1.0), ledger, "sum")


def test_classes_that_the_vault_cannot_keep_are_refused_before_anything_is_charged(ledger):
    days = tuple(pd.to_datetime(["2020-01-01", "2021-01-01"]))
    with pytest.raises(ValueError, match="words or numbers"):
        Kept(RandomizedResponse(1.0, days), ledger, "day")
