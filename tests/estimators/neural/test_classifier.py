"""The neural classifier: charged first, public numbers only, scikit-learn's manners."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import EarlyStopping, EpochScoring, LRScheduler, PrintLog
from torch import nn

from skdpal import BudgetExhausted, DPNeuralClassifier, PrivacyBudget, PrivacyLedger
from skdpal.estimators.neural.modules import GenomicClassifier
from skdpal.privacy import events
from skdpal.privacy.errors import LedgerError
from skdpal.privacy.randomness import simulation

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 12))
Y = np.where(X[:, 0] + 0.2 * X[:, 1] > 0, "EWS", "RMS")
SMALL = {"module__widths": (8,), "random_state": 0}


def net(**parameters):
    settings = {"noise_multiplier": 20.0, "classes": ["EWS", "RMS"], "max_epochs": 5, **SMALL}
    return DPNeuralClassifier(GenomicClassifier, **(settings | parameters))


def silent(**parameters):
    """A network that learns well, in a simulation."""
    return net(noise_multiplier=1e-4, **({"max_epochs": 40} | parameters))


# -- the budget ------------------------------------------------------------------------------------


def test_a_fit_is_charged_before_a_row_is_read(exhausted, untouchable, journal):
    before = journal(exhausted)
    with pytest.raises(BudgetExhausted, match=r"fit costs ε=0\.38; spent 2\.00 of 2\.00"):
        net(ledger=exhausted).fit(untouchable, untouchable)
    assert journal(exhausted) == before


@pytest.mark.parametrize(
    ("parameters", "event"),
    [
        ({}, events.gaussian(20.0, steps=5)),
        ({"max_epochs": 3}, events.gaussian(20.0, steps=3)),
        ({"sampling_rate": 0.25, "max_epochs": 2}, events.poisson_gaussian(20.0, 0.25, 8)),
    ],
)
def test_the_price_is_that_of_the_steps(parameters, event):
    model = net(**parameters)
    assert model.privacy_event() == model.privacy_event(7) == event
    ledger = PrivacyLedger(PrivacyBudget(2.0, 1e-5), filter="renyi")
    model.set_params(ledger=ledger).fit(X, Y)
    assert [receipt.event for receipt in ledger.receipts()] == [event]


def test_sampled_batches_need_a_ledger_that_can_price_them(ledger):
    with pytest.raises(BudgetExhausted, match="full batches"):
        net(ledger=ledger, sampling_rate=0.25).fit(X, Y)


def test_each_cohort_is_charged_and_zero_rows_are_a_cohort(ledger):
    model = net(ledger=ledger).fit(X[:30], Y[:30])
    first = model.fingerprint()
    model.partial_fit(X[:0], Y[:0], expected_records=3)
    assert [receipt.label for receipt in ledger.receipts()] == ["fit", "partial_fit 1"]
    assert model.fingerprint() != first


def test_no_ledger_no_fit(untouchable):
    with pytest.raises(ValueError, match="Expected ledger to be a PrivacyLedger"):
        net().fit(untouchable, untouchable)


def test_classes_are_never_inferred_from_patients(ledger):
    with pytest.raises(ValueError, match="Expected classes"):
        net(ledger=ledger, classes=None).fit(X, Y)
    assert ledger.spent() == 0


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"train_split": object()}, "train_split=None"),
        ({"callbacks": [EpochScoring("accuracy")]}, "EpochScoring"),
        ({"callbacks": [("stop", EarlyStopping())]}, "EarlyStopping"),
        ({"callbacks": [PrintLog]}, "PrintLog"),
        ({"compile": True}, "compile=False"),
        ({"class_weight": "balanced"}, "public weight"),
        ({"class_weight": [1.0]}, "2 numbers"),
        ({"class_weight": [1.0, -1.0]}, "0 or more"),
        ({"trainable": "nothing.*"}, "match a parameter"),
        ({"adapter_rank": 0}, "adapter_rank"),
        ({"max_epochs": 0}, "max_epochs"),
        ({"sampling_rate": 1.5}, "sampling_rate"),
        ({"max_grad_norm": 0.0}, "max_grad_norm"),
        ({"noise_multiplier": -1.0}, "noise_multiplier"),
        ({"engine": "magic"}, "mode|engine"),
        ({"public_validation": (X[:, :3], Y)}, "public_validation"),
        ({"public_validation": (X, np.full(48, "NB"))}, "public_validation"),
    ],
)
def test_bad_parameters_cost_nothing(ledger, parameters, message):
    with pytest.raises(ValueError, match=message):
        net(ledger=ledger, **parameters).fit(X, Y)
    assert ledger.spent() == 0


class MixesRows(nn.Module):
    def __init__(self, n_features, n_classes):
        super().__init__()
        self.head = nn.Linear(n_features, n_classes)

    def forward(self, rows):
        return self.head(rows - rows.mean(dim=0))


class WrongShape(MixesRows):
    def forward(self, rows):
        return self.head(rows)[:, :1]


class BatchNormed(MixesRows):
    def __init__(self, n_features, n_classes):
        super().__init__(n_features, n_classes)
        self.norm = nn.BatchNorm1d(n_features)

    def forward(self, rows):
        return self.head(self.norm(rows))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (MixesRows, "mixes rows"),
        (WrongShape, "logits of shape"),
        (BatchNormed, "GroupNorm"),
        (nn.Sequential(nn.Linear(3, 2)), "made-up rows"),
    ],
)
def test_a_module_whose_gradients_cannot_be_clipped_is_refused_before_the_charge(ledger, module, message):
    with pytest.raises(ValueError, match=message):
        DPNeuralClassifier(module, 20.0, classes=["EWS", "RMS"], ledger=ledger).fit(X, Y)
    assert ledger.spent() == 0


def test_what_ran_is_compared_with_what_was_charged(ledger, monkeypatch):
    from skdpal.estimators.neural import trainer

    real = trainer.engine_for
    monkeypatch.setattr(
        trainer, "engine_for", lambda *parts, noise_multiplier, **rest: real(*parts, noise_multiplier=10.0, **rest)
    )
    model = net(ledger=ledger)
    with pytest.raises(LedgerError, match="step 1 ran at 10"):
        model.fit(X, Y)
    assert len(ledger.receipts()) == 1  # the charge stays
    with pytest.raises(Exception, match="not fitted"):
        model.predict(X)


def test_a_failure_in_the_middle_leaves_the_earlier_model(ledger):
    class Fails(LRScheduler):
        calls = 0

        def on_batch_end(self, net, **kwargs):
            Fails.calls += 1
            if Fails.calls == 7:
                raise KeyboardInterrupt

    model = net(ledger=ledger, callbacks=[Fails()]).fit(X[:30], Y[:30])
    before = model.fingerprint()
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(X[30:], Y[30:])
    assert model.fingerprint() == before
    assert len(ledger.receipts()) == 2


# -- nothing about patients stays ------------------------------------------------------------------


def test_nothing_that_stays_holds_rows_losses_or_counts(ledger):
    model = net(ledger=ledger).fit(X, Y, record_ids=range(48), expected_records=50)
    text = pickle.dumps(model)
    assert X[0].tobytes() not in text
    assert X[0].astype(np.float32).tobytes() not in text
    assert {key for epoch in model.history for key in epoch} == {"batches", "epoch", "train_batch_count"}
    assert all(batch == {} for epoch in model.history for batch in epoch["batches"])
    assert all(parameter.grad is None for parameter in model.module_.parameters())


def test_callbacks_get_no_patients(ledger):
    seen = []

    class Watches(LRScheduler):
        def on_train_begin(self, net, X=None, y=None, **kwargs):
            super().on_train_begin(net, X=X, y=y, **kwargs)
            seen.append((X, y))

        def on_batch_begin(self, net, batch=None, **kwargs):
            seen.append(batch)

        def on_epoch_begin(self, net, dataset_train=None, **kwargs):
            seen.append(dataset_train)

    net(ledger=ledger, callbacks=[Watches()]).fit(X, Y)
    assert set(seen) == {(None, None), None}


def test_the_public_loop_of_skorch_is_closed(ledger):
    model = net(ledger=ledger).fit(X, Y)
    for closed in (model.fit_loop, model.train_step, model.run_single_epoch, model.validation_step):
        with pytest.raises(LedgerError, match="charge the ledger"):
            closed(X, Y)


def test_two_fits_with_one_seed_differ_by_noise(ledger):
    models = [net(ledger=ledger, noise_multiplier=30.0).fit(X, Y) for _ in range(2)]
    a, b = (model.module_.head.weight.detach().numpy() for model in models)
    # 5 steps of lr .5, noise 30/48 each: standard deviation .5·30/48·√5 = .7 on every weight
    assert np.abs(a - b).min() > 0
    assert 0.3 < np.std(a - b) / np.sqrt(2) < 1.4


# -- learning --------------------------------------------------------------------------------------


def test_it_learns(simulated):
    model = silent().fit(X, Y)
    assert (model.predict(X) == Y).mean() > 0.95
    assert model.score(X, Y) == (model.predict(X) == Y).mean()
    assert np.allclose(model.predict_proba(X).sum(axis=1), 1.0)


def test_sampled_batches_learn(simulated):
    assert (silent(sampling_rate=0.3).fit(X, Y).predict(X) == Y).mean() > 0.9


def test_the_rows_of_one_patient_are_clipped_together(simulated):
    """Ten copies of one patient move the network as far as one copy of a huge gradient: by the clipping norm."""

    def moved(copies, ids):
        model = silent(max_epochs=1, lr=1.0, class_weight=[100.0, 100.0])
        start = silent(max_epochs=1, lr=1e-12).fit(X[:1], ["EWS"], expected_records=1)
        model.fit(np.repeat(X[:1], copies, axis=0), ["EWS"] * copies, record_ids=ids, expected_records=1)
        pairs = zip(model.module_.parameters(), start.module_.parameters(), strict=True)
        return float(torch.sqrt(sum(((a - b) ** 2).sum() for a, b in pairs)).detach())

    assert moved(10, ["p"] * 10) == pytest.approx(1.0, rel=2e-2)
    assert moved(10, range(10)) == pytest.approx(10.0, rel=2e-2)  # ten patients


def test_class_weights_and_dicts(simulated):
    flat = silent(class_weight={"EWS": 1.0}).fit(X, Y)
    assert (flat.predict(X) == Y).mean() > 0.95
    skewed = silent(class_weight={"EWS": 0.0, "RMS": 1.0}, max_epochs=200).fit(X, Y)
    assert (skewed.predict(X) == "RMS").mean() > 0.8  # without weights: about half


def test_only_what_is_named_learns(simulated):
    start = GenomicClassifier(12, 2, widths=(8,))
    model = DPNeuralClassifier(start, 1e-4, trainable="head.*", max_epochs=20).fit(X, Y)
    assert torch.equal(model.module_.encoder.layers[0].weight, start.encoder.layers[0].weight)
    assert not torch.equal(model.module_.head.weight, start.head.weight)


def test_adapters_start_at_the_public_network_and_learn(simulated):
    start = GenomicClassifier(12, 2, widths=(8,))
    asleep = DPNeuralClassifier(start, 1e-4, adapter_rank=2, lr=1e-9, max_epochs=1).fit(X, Y)
    with torch.no_grad():
        expected = torch.softmax(start(torch.tensor(X, dtype=torch.float32)), 1).numpy()
    assert np.allclose(asleep.predict_proba(X), expected, atol=1e-6)
    awake = DPNeuralClassifier(start, 1e-4, adapter_rank=2, max_epochs=60).fit(X, Y)
    assert (awake.predict(X) == Y).mean() > 0.9
    assert torch.equal(awake.module_.encoder.layers[0].layer.weight, start.encoder.layers[0].weight)


def test_training_starts_at_public_weights_and_leaves_them_alone(simulated):
    public = silent().fit(X, Y).module_
    kept = {name: value.clone() for name, value in public.state_dict().items()}
    tuned = DPNeuralClassifier(public, 1e-4, max_epochs=1, lr=1e-6).fit(X, Y)
    assert (tuned.predict(X) == Y).mean() > 0.95
    assert all(torch.equal(value, kept[name]) for name, value in public.state_dict().items())


def test_warm_start_goes_on_from_the_present_weights(simulated):
    model = silent(warm_start=True, max_epochs=30).fit(X, Y)
    before = model.module_.head.weight.detach().clone()
    model.set_params(lr=1e-9).fit(X, Y)
    assert torch.allclose(model.module_.head.weight, before, atol=1e-4)


def test_learning_rates_follow_a_schedule(simulated):
    model = silent(max_epochs=4, callbacks=[LRScheduler("StepLR", step_size=1, gamma=0.5)]).fit(X, Y)
    assert model.history[:, "event_lr"] == [0.5, 0.25, 0.125, 0.0625]


def test_early_stopping_reads_public_rows_only(simulated):
    model = silent(public_validation=(X, np.where(Y == "EWS", "RMS", "EWS")), patience=2, max_epochs=30).fit(X, Y)
    assert len(model.history) == 3  # against the truth, the public loss only rises
    assert model.history[0]["public_loss"] == min(epoch["public_loss"] for epoch in model.history)


def test_the_normaliser_is_public(simulated):
    """Twice the expectation, half the step; the number of rows does not enter."""
    steps = []
    for expected in (48, 96):
        model = silent(max_epochs=1, lr=1.0)
        start = silent(max_epochs=1, lr=1e-12).fit(X, Y)
        model.fit(X, Y, expected_records=expected)
        steps.append(model.module_.head.weight.detach() - start.module_.head.weight.detach())
    assert torch.allclose(steps[0], 2 * steps[1], atol=1e-4)


# -- what comes out --------------------------------------------------------------------------------


def test_latent_features(simulated):
    frame = pd.DataFrame(X, columns=[f"g{number}" for number in range(12)])
    model = silent().fit(frame, Y)
    assert model.transform(frame).shape == (48, 8)
    assert list(model.get_feature_names_out()[:2]) == ["dpneuralclassifier0", "dpneuralclassifier1"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"g0": "other"}))
    head = model.module_.head
    logits = torch.tensor(model.transform(frame), dtype=torch.float32) @ head.weight.T + head.bias
    assert np.allclose(torch.softmax(logits, 1).detach().numpy(), model.predict_proba(frame), atol=1e-5)


def test_dropout_masks_are_shared_by_all_rows(simulated):
    model = silent(module__dropout=0.4).fit(X, Y)
    samples = model.predict_proba_samples(X, 6)
    assert samples.shape == (6, 48, 2)
    assert samples.std(axis=0).max() > 0.01
    assert np.allclose(model.predict_proba_samples(X, 6), samples)
    assert np.allclose(
        model.predict_proba_samples(X[5:9], 6), samples[:, 5:9], atol=1e-6
    )  # the mask does not ask who else is there
    assert not np.allclose(model.predict_proba_samples(X, 6, seed=1), samples)
    assert np.allclose(model.predict_proba(X), model.predict_proba(X))


def test_pickles_and_clones(simulated):
    model = silent().fit(X, Y)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict_proba(X), model.predict_proba(X))
    assert clone(model).get_params()["noise_multiplier"] == 1e-4
    assert not hasattr(clone(model), "classes_")


def test_scikit_learn_progress_callbacks_get_no_rows(simulated):
    pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9")
    told = []

    class Watches:
        def setup(self, estimator, context): ...

        def teardown(self, estimator, context): ...

        def on_fit_task_begin(self, estimator, context, **rest): ...

        def on_fit_task_end(self, estimator, context, **rest):
            told.append((context.task_name, sorted(name for name, value in rest.items() if value is not None)))

    silent(max_epochs=2).set_callbacks(Watches()).fit(X, Y)
    assert told == [("epoch", []), ("epoch", []), ("fit", [])]


def test_a_bar_shows_steps(simulated, capsys):
    silent(verbose=1, max_epochs=2).fit(X, Y)
    assert "48" not in capsys.readouterr().out


def test_production_noise_ignores_torch_seeds():
    heads = []
    for _ in range(2):
        torch.manual_seed(0)
        ledger = PrivacyLedger(PrivacyBudget(2.0, 1e-5))
        heads.append(net(ledger=ledger).fit(X, Y).module_.head.weight.detach())
    assert not torch.equal(*heads)


def test_simulations_repeat():
    heads = []
    for _ in range(2):
        with simulation(3):
            heads.append(net(sampling_rate=0.5).fit(X, Y).module_.head.weight.detach())
    assert torch.equal(*heads)
