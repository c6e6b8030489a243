"""Plans keep their budgets, under every bound that can be computed without them."""

import json
import math
from dataclasses import asdict

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy.stats import norm

from skdpal import PrivacyBudget, PrivacyLedger, plan_study
from skdpal.learner.planning import AllAtOnce, Geometric, Uniform, acceptance_rates
from skdpal.learner.planning.alternatives import METHODS
from skdpal.privacy import Charge, Split, epsilon_of, events

BUDGET = PrivacyBudget(2.0, 1e-5)
MODES = {
    "hidden": {},
    "published": {"release": "published"},
    "chunks": {"release": "published", "chunks": True},
    "retrained": {"retrain": True},
    "published, retrained": {"release": "published", "retrain": True},
    "chunks, retrained": {"release": "published", "chunks": True, "retrain": True},
}


def gaussian_delta(mu2, epsilon):
    """δ(ε) of a sum of Gaussian releases, straight from the definition (Balle and Wang 2018)."""
    mu = math.sqrt(mu2)
    return norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)


def paid(plan):
    """Σ μ² of each leaf, walked step by step without the kernel's accounts."""
    leaves = {"cohort/pool": 0.0}
    for step in plan.schedule.steps:
        if isinstance(step, Split):
            leaves[step.into] = leaves[step.source]
        else:
            leaves[step.account] += step.event.noise_multiplier**-2
    return leaves


@given(
    mode=some.sampled_from(list(MODES)),
    epsilon=some.floats(0.1, 10.0),
    sizes=some.tuples(*[some.integers(1, 9)] * 2, some.integers(1, 4), some.integers(1, 6)),
    evaluation=some.integers(0, 3),
    policy=some.one_of(
        some.just(Uniform()), some.just(AllAtOnce()), some.builds(Geometric, some.sampled_from([0.2, 0.9, 1.5, 7.0]))
    ),
)
def test_no_gaussian_plan_is_above_its_budget(mode, epsilon, sizes, evaluation, policy):
    n_labelled, spare, labels, rounds = sizes
    options = MODES[mode]
    divides = options.get("retrain") or (options.get("release") == "published" and not options.get("chunks"))
    budget = PrivacyBudget(epsilon)
    plan = plan_study(
        budget,
        n_labelled,
        labels * rounds + spare,
        labels,
        rounds,
        n_evaluation=evaluation,
        policy=policy if divides else None,
        **options,
    )
    assert plan.schedule.epsilon(1e-5) == plan.epsilon <= epsilon
    worst = max(paid(plan).values())
    assert gaussian_delta(worst, epsilon) <= 1e-5
    assert gaussian_delta(worst, 0.999 * epsilon) > 1e-5  # and wastes nothing


@pytest.mark.parametrize("mode", MODES)
def test_whoever_is_chosen_pays_what_theory_says(mode):
    plan = plan_study(BUDGET, 8, 40, 3, 4, n_evaluation=5, **MODES[mode])
    start, *trained = (sigma**-2 for sigma in (plan.noise_multiplier, *plan.round_noise))
    scores = [sigma**-2 for sigma in plan.selection_noise] or [0.0] * 4
    leaves = paid(plan)
    assert len(leaves) == (11 if plan.chunks else 7)
    assert leaves["cohort/start"] == pytest.approx(start + (sum(trained) if plan.retrain else 0))
    for number in range(1, 5):  # selections until the own round, then trainings: THEORY's maximum over selection times
        selected = scores[number - 1] if plan.chunks else sum(scores[:number])
        learnt = sum(trained[number - 1 :]) if plan.retrain else trained[number - 1]
        assert leaves[f"cohort/round-{number}"] == pytest.approx(selected + learnt)
    if plan.release == "published":  # what selection leaves over is used: all rounds meet the ceiling
        ceiling = plan.evaluation_noise**-2
        assert [leaves[f"cohort/round-{number}"] for number in range(1, 5)] == pytest.approx([ceiling] * 4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("filter", ["gdp", "planned"])
def test_a_ledger_takes_the_schedule_and_nothing_more(mode, filter):
    plan = plan_study(BUDGET, 8, 40, 3, 2, n_evaluation=5, **MODES[mode])
    ledger = PrivacyLedger(BUDGET, filter=filter, schedule=plan if filter == "planned" else None)
    for step in plan.schedule.steps:
        if isinstance(step, Split):
            ledger.split(step.source, step.into, members=[])
        else:
            ledger.charge(step.event, label="planned", account=step.account)
    assert ledger.spent() == pytest.approx(plan.epsilon, rel=1e-6)
    assert not ledger.affords(events.gaussian(50.0), account="cohort/start")


def test_amplified_rounds_are_cheaper_and_never_underpriced():
    plan = plan_study(BUDGET, 32, 50, 3, 5, n_evaluation=8, filter="planned")
    once = plan_study(BUDGET, 32, 50, 3, 5, n_evaluation=8)
    assert plan.amplified
    assert not once.amplified
    assert plan.noise_multiplier == once.noise_multiplier
    assert max(plan.round_noise) < 0.6 * once.noise_multiplier
    assert 1.999 < plan.epsilon <= 2.0
    # the pool by itself, without the kernel's loss distributions: Poisson rounds in Monte Carlo
    loss = sampled_losses(plan.round_noise, plan.sampling_rates, 400_000)
    delta = np.mean(np.maximum(0.0, -np.expm1(2.0 - loss)))
    error = np.std(np.maximum(0.0, -np.expm1(2.0 - loss))) / math.sqrt(len(loss))
    assert delta <= 1e-5 + 5 * error
    cheaper = np.mean(np.maximum(0.0, -np.expm1(2.0 - sampled_losses([0.85] * 5, plan.sampling_rates, 400_000))))
    assert cheaper > 1e-5 + 5 * error  # the same check sees rounds with a quarter less noise


def sampled_losses(noises, rates, n):
    """Privacy losses of a patient who is in every round with the rate, against one who never is (importance-free)."""
    random = np.random.default_rng(0)
    total = np.zeros(n)
    for noise, rate in zip(noises, rates, strict=True):
        mean = random.random(n) < rate
        out = mean + noise * random.standard_normal(n)
        total += np.log1p(rate * np.expm1((2 * out - 1) / (2 * noise**2)))
    return total


def test_the_amplified_schedule_is_the_one_that_was_agreed():
    plan = plan_study(BUDGET, 6, 20, 3, 2, n_evaluation=4, filter="planned", tilt=0.4)
    noise = plan.round_noise[0]
    assert plan.sampling_rates == (3 / 20 * 1.4, 3 / 17 * 1.4)
    assert list(plan.schedule.steps) == [
        Split("cohort/pool", "cohort/evaluation"),
        Split("cohort/pool", "cohort/start"),
        Charge(events.gaussian(plan.noise_multiplier, replace_one=math.sqrt(2.0)), "cohort/start"),
        Charge(events.poisson_gaussian(noise, 3 / 20 * 1.4, 1), "cohort/pool"),
        Split("cohort/pool", "cohort/round-1"),
        Charge(events.poisson_gaussian(noise, 3 / 17 * 1.4, 1), "cohort/pool"),
        Split("cohort/pool", "cohort/round-2"),
        Charge(events.gaussian(plan.evaluation_noise, replace_one=1.0), "cohort/evaluation"),
    ]
    assert plan.tilt == 0.4


def test_no_patient_is_accepted_more_often_than_the_rates_say():
    from skdpal.query import AcceptanceRule

    rates = acceptance_rates(20, 3, 8, 0.5)
    for number, most in enumerate(rates):
        left = 20 - 3 * number
        rule = AcceptanceRule(1.0 if left <= 3 else 3 / left, "probability", 0.5)
        assert rule.probability(np.linspace(0, 1, 101)).max() == most


@settings(max_examples=6)  # a second each
@given(
    epsilon=some.sampled_from([0.3, 2.0, 6.0]),
    protocol=some.sampled_from([(20, 3, 3), (50, 3, 5), (12, 4, 3), (30, 2, 1)]),
    tilt=some.sampled_from([0.0, 0.5, 1.0]),
    evaluation=some.sampled_from([0, 4]),
)
def test_planned_rounds_take_the_smaller_bound(epsilon, protocol, tilt, evaluation):
    budget = PrivacyBudget(epsilon)
    plan = plan_study(budget, 9, *protocol, n_evaluation=evaluation, filter="planned", tilt=tilt)
    assert plan.schedule.epsilon(1e-5) <= epsilon
    assert max(plan.round_noise) <= plan.noise_multiplier
    pool = [events.poisson_gaussian(plan.round_noise[0], rate, 1) for rate in plan.sampling_rates]
    if pool:
        assert (
            0.99 * epsilon < epsilon_of(pool, 1e-5) <= epsilon
        )  # everybody pays for every sample, and no less would do
    else:
        assert max(plan.round_noise) == plan.noise_multiplier


def test_an_exhausted_pool_falls_back_to_pay_once():
    plan = plan_study(PrivacyBudget(8.0), 6, 9, 4, 3, filter="planned")
    assert not plan.amplified
    assert plan.schedule == plan_study(PrivacyBudget(8.0), 6, 9, 4, 3).schedule


def test_groups_show_who_pays_what():
    plan = plan_study(BUDGET, 32, 50, 3, 5, n_evaluation=8, filter="planned")
    frame = plan.groups().set_index("group")["epsilon"]
    accepted = [frame[f"accepted in round {number}"] for number in range(1, 6)]
    assert accepted == sorted(accepted)
    assert frame.max() == frame["overall"] == plan.epsilon
    assert frame["never accepted"] == pytest.approx(2.0, rel=2e-3)
    once = plan_study(BUDGET, 32, 50, 3, 5).groups().set_index("group")["epsilon"]
    assert once["never accepted"] == 0.0
    assert "evaluation" not in once.index
    published = plan_study(BUDGET, 8, 40, 3, 4, release="published").groups().set_index("group")["epsilon"]
    assert published["never accepted"] == pytest.approx(1.361, abs=1e-3)  # half of μ²


def test_frames_name_every_release():
    plan = plan_study(BUDGET, 8, 40, 3, 2, n_evaluation=5, release="published", chunks=True)
    frame = plan.to_frame()
    assert frame["release"].tolist() == ["start", "scores 1", "round 1", "scores 2", "round 2", "evaluation"]
    assert frame["expected_patients"].tolist() == [8, 20, 3, 20, 3, 5]
    assert frame["epsilon_of_its_patients"].max() == plan.epsilon
    assert plan.to_frame() is not frame
    retrained = plan_study(BUDGET, 8, 40, 3, 2, retrain=True, policy=AllAtOnce()).to_frame()
    assert retrained["expected_patients"].tolist() == [8, 11, 14]
    assert retrained["noise_multiplier"].tolist()[:2] == [math.inf, math.inf]
    assert retrained["epsilon_if_everybody_paid"].tolist()[:2] == [0.0, 0.0]


def test_alternatives_are_in_the_order_that_theory_predicts():
    plan = plan_study(BUDGET, 32, 50, 3, 5, n_components=16, n_classes=4, nonprivate_accuracy=0.95)
    table = plan.alternatives().set_index("method")
    assert list(table.index) == [*METHODS, "one-shot random labels", "classic pipeline"]
    strength = table["kappa"]
    order = ["one-shot random labels", "hidden, amplified", "hidden, pay once", "published scores"]
    assert strength[[*order, "retrained on everybody", "classic pipeline"]].is_monotonic_decreasing
    assert table.loc[[*order, "retrained on everybody", "classic pipeline"], "accuracy_low"].is_monotonic_decreasing
    assert table["releases"].tolist() == [1, 1, 5, 6, 6, 1, 6]
    assert table.loc["hidden, pay once", "noise_multiplier"] == plan.noise_multiplier
    assert table.loc["retrained on everybody", "noise_multiplier"] == pytest.approx(
        plan.noise_multiplier * math.sqrt(6)
    )
    assert (table["labels"] == 47).all()
    assert table.loc["hidden, pay once", "kappa"] == pytest.approx(math.hypot(32, *[3] * 5) / plan.noise_multiplier / 4)


def test_the_classic_alternative_fits_the_budget_as_well():
    table = plan_study(BUDGET, 32, 50, 3, 5).alternatives().set_index("method")
    noise = table.loc["classic pipeline", "noise_multiplier"]
    steps = [events.poisson_gaussian(noise, 4 / n, round(10 * n / 4)) for n in range(32, 48, 3)]
    assert 1.99 < epsilon_of(steps, 1e-5) <= 2.0


def test_a_small_pool_has_no_published_alternative():
    plan = plan_study(BUDGET, 6, 10, 4, 3, n_classes=2)
    assert "published scores" not in plan.alternatives()["method"].tolist()


def test_plots_show_accuracy_or_strength():
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    axes = plan_study(BUDGET, 6, 20, 3, 3, n_classes=4, public_accuracy=0.97).plot()
    assert "accuracy" in axes.get_xlabel()
    assert len(axes.get_yticks()) == len(METHODS) + 2
    assert {"chance", "public model"} <= {text.get_text() for text in axes.texts}
    _, given_axes = plt.subplots()
    axes = plan_study(BUDGET, 6, 20, 3, 3, n_components=16).plot(given_axes)
    assert axes is given_axes
    assert "κ" in axes.get_xlabel()
    with pytest.raises(ValueError, match="n_components or n_classes"):
        plan_study(BUDGET, 6, 20, 3, 3).plot()
    assert "accuracy" in plan_study(BUDGET, 6, 20, 3, 3, public_accuracy=0.9).plot().get_xlabel()
    plt.close("all")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "each patient is in one only"),
        ({"filter": "planned"}, "secret coins"),
        ({"release": "published"}, "exactly 3 labels"),
        ({"release": "published", "retrain": True, "policy": AllAtOnce()}, "random choices"),
        ({"retrain": True}, "everybody pays each time"),
        ({"n_classes": 2, "nonprivate_accuracy": 0.9}, "Expect an accuracy of 0."),
    ],
)
def test_a_plan_says_itself_in_plain_words(options, words):
    plan = plan_study(BUDGET, 6, 20, 3, 3, **options)
    assert words in str(plan)
    assert "ε=2.00 at δ=1e-05" in str(plan)
    assert plan._repr_html_().count("<table") == 2


def test_advice_names_what_would_be_enough():
    plan = plan_study(BUDGET, 8, 40, 4, 3, n_components=32)
    assert plan.kappa < 2
    words = plan.advice
    epsilon = float(words.split("takes ε=")[1].split(",")[0])
    assert plan_study(PrivacyBudget(epsilon), 8, 40, 4, 3, n_components=32).kappa >= 2
    assert plan_study(PrivacyBudget(epsilon - 0.15), 8, 40, 4, 3, n_components=32).kappa < 2
    factor = float(words.split(", ")[1].split(" labels")[0]) / plan.expected_labels
    assert plan.kappa * factor >= 2
    dimensions = int(words.split(" dimensions")[0].split()[-1])
    assert plan_study(BUDGET, 8, 40, 4, 3, n_components=dimensions).kappa >= 2
    assert plan_study(BUDGET, 8, 40, 4, 3, n_components=dimensions + 1).kappa < 2
    assert "in one release" in plan_study(BUDGET, 8, 90, 8, 8, n_components=64).advice


def test_a_plan_goes_to_json_and_back():
    plan = plan_study(BUDGET, 6, 20, 3, 3, release="published", policy=AllAtOnce())
    content = json.loads(json.dumps(asdict(plan)))
    rest = {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}
    back = type(plan)(**{**rest, "budget": PrivacyBudget(**content["budget"])})
    assert back == plan
    assert back.schedule == plan.schedule


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"release": "open"}, ValueError, "release"),
        ({"filter": "renyi"}, ValueError, "filter"),
        ({"tilt": 1.5}, ValueError, "tilt"),
        ({"n_classes": 1}, ValueError, "n_classes"),
        ({"n_components": 0}, ValueError, "n_components"),
        ({"chunks": True}, ValueError, 'plan release="published"'),
        ({"release": "published", "selection_share": 1.0}, ValueError, "selection_share"),
        (
            {"release": "published", "labels_per_round": 7},
            ValueError,
            "2 rounds of 7 labels, or 3 rounds of 6 labels, or a pool of 21",
        ),
        ({"release": "published", "labels_per_round": 21, "rounds": 30}, ValueError, "Plan a pool of 630"),
        ({"policy": Geometric(2.0)}, ValueError, "the whole budget in every round is best"),
        ({"policy": AllAtOnce(), "release": "published", "chunks": True}, ValueError, "share a budget"),
        ({"policy": Uniform}, TypeError, "like Uniform"),
        ({"policy": "uniform"}, TypeError, "propose"),
        ({"public_accuracy": 1.2}, ValueError, "public_accuracy"),
        ({"public_accuracy": 0.9, "n_public": 1}, ValueError, "n_public"),
        ({"public_accuracy": 0.9, "public_kind": "near"}, ValueError, "public_kind"),
        ({"n_classes": 2, "nonprivate_accuracy": -1}, ValueError, "nonprivate_accuracy"),
    ],
)
def test_what_cannot_be_planned_is_refused_with_what_can(options, error, words):
    protocol = {"n_labelled": 6, "n_pool": 20, "labels_per_round": 3, "rounds": 3, **options}
    with pytest.raises(error, match=words):
        plan_study(BUDGET, **protocol)
