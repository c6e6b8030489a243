"""Several readers: a patient's own votes, public error rates, and the exact law of the labels they make."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skdpal.cohort.experts import Panel, Reader
from skdpal.estimators import Transition

CLASSES = ["benign", "malignant"]


def matrix(rows, observed=CLASSES):
    return pd.DataFrame(rows, CLASSES, observed)


@pytest.fixture
def panel():
    """Two pathologists, one of whom may defer, and a classifier of slides."""
    return Panel(
        {
            "Ada": matrix([[0.9, 0.1], [0.3, 0.7]]),
            "Ben": Reader("Ben", matrix([[0.7, 0.1, 0.2], [0.1, 0.6, 0.3]], [*CLASSES, "defer"]), defer="defer"),
            "slide": matrix([[0.8, 0.2], [0.2, 0.8]]),
        },
        class_prior={"malignant": 0.25, "benign": 0.75},
    )


def table(*rows):
    return pd.DataFrame(rows, columns=["Ada", "Ben", "slide"], index=[f"p{at}" for at in range(len(rows))])


def test_the_posterior_is_that_of_bayes(panel):
    votes = table(
        ("malignant", "defer", None), ("benign", "malignant", "malignant"), (None, None, np.nan), (None, "defer", None)
    )
    found = panel.posterior(votes)
    assert found.index.equals(votes.index)
    assert list(found.columns) == CLASSES
    malignant = [
        0.25 * 0.7 * 0.3 / (0.25 * 0.7 * 0.3 + 0.75 * 0.1 * 0.2),
        0.25 * 0.3 * 0.6 * 0.8 / (0.25 * 0.3 * 0.6 * 0.8 + 0.75 * 0.9 * 0.1 * 0.2),
        0.25,
        0.25 * 0.3 / (0.25 * 0.3 + 0.75 * 0.2),
    ]
    assert found["malignant"].to_numpy() == pytest.approx(malignant)
    assert panel.labels(votes).fillna("nobody").tolist() == ["malignant", "malignant", "nobody", "benign"]
    deferred = panel.labels(votes, threshold=0.75).fillna("nobody").tolist()
    assert deferred == ["malignant", "defer", "nobody", "defer"]


def test_readers_may_be_a_list_and_columns_in_any_order_or_missing(panel):
    listed = Panel([Reader("Ada", matrix([[0.9, 0.1], [0.3, 0.7]])), Reader("slide", matrix([[0.8, 0.2], [0.2, 0.8]]))])
    votes = table(("malignant", None, "benign"))[["slide", "Ada"]]
    assert listed.posterior(votes).to_numpy() == pytest.approx(listed.posterior(votes[["Ada", "slide"]]).to_numpy())
    assert listed.posterior(votes[["Ada"]]).iloc[0, 1] == pytest.approx(0.7 / 0.8)
    assert panel.posterior(votes[["Ada"]].astype("category")).iloc[0, 1] == pytest.approx(0.175 / 0.25)


@given(
    votes=st.lists(
        st.tuples(
            st.sampled_from([*CLASSES, None]),
            st.sampled_from([*CLASSES, "defer", None]),
            st.sampled_from([*CLASSES, None]),
        ),
        min_size=1,
        max_size=8,
    ),
    at=st.integers(0, 7),
    other=st.tuples(st.sampled_from([*CLASSES, None]), st.just("defer"), st.sampled_from(CLASSES)),
)
def test_one_patients_votes_move_nobody_elses_label(votes, at, other):
    panel = Panel(
        {
            "Ada": matrix([[0.9, 0.1], [0.3, 0.7]]),
            "Ben": matrix([[0.7, 0.1, 0.2], [0.1, 0.6, 0.3]], [*CLASSES, "defer"]),
            "slide": matrix([[1.0, 0.0], [0.2, 0.8]]),
        }
    )
    at %= len(votes)
    first, second = (panel.posterior(table(*world)) for world in (votes, [*votes[:at], other, *votes[at + 1 :]]))
    pd.testing.assert_frame_equal(first.drop(index=f"p{at}"), second.drop(index=f"p{at}"), check_exact=True)
    alone = panel.posterior(table(votes[at]))
    assert (alone.to_numpy() == first.loc[[f"p{at}"]].to_numpy()).all()


def test_votes_that_are_called_impossible_say_nothing():
    """An error would tell that somebody has them."""
    sure = matrix([[1.0, 0.0], [0.0, 1.0]])
    panel = Panel({"Ada": sure, "Ben": sure}, class_prior=[0.75, 0.25])
    votes = pd.DataFrame({"Ada": ["benign"], "Ben": ["malignant"]}, index=["p0"])
    assert panel.posterior(votes).to_numpy().tolist() == [[0.75, 0.25]]


# the law of the labels


def by_hand(panel, read, threshold):
    """P(label | class) by a sum over what each reader says, in words."""
    names = list(panel.readers)
    law = dict.fromkeys(product(CLASSES, [*CLASSES, "defer"]), 0.0)
    total = dict.fromkeys(CLASSES, 0.0)
    options = [[None, *panel.readers[name].observed.tolist()] for name in names]
    for said in product(*options):
        if said == (None,) * len(names):
            continue
        votes = pd.DataFrame([said], columns=names, index=["p"])
        (label,) = panel.labels(votes, threshold=threshold)
        for true in CLASSES:
            chance = 1.0
            for name, word in zip(names, said, strict=True):
                share = read.get(name, 1.0)
                chance *= 1 - share if word is None else share * panel.readers[name].frame.loc[true, word]
            law[true, label] += chance
            total[true] += chance
    return {key: value / total[key[0]] for key, value in law.items()}


@pytest.mark.parametrize("read", [{}, {"slide": 0.2}, {"Ada": 0.5, "Ben": 0.5, "slide": 0.5}, {"Ada": 0.0}])
@pytest.mark.parametrize("threshold", [None, 0.8])
def test_the_law_of_the_labels_is_exact(panel, read, threshold):
    found = panel.transition(read, threshold=threshold)
    assert found.classes.tolist() == CLASSES
    assert found.observed.tolist() == sorted([*CLASSES, *(["defer"] if threshold else [])])
    law = by_hand(panel, read, threshold)
    for true, label in product(CLASSES, found.observed.tolist()):
        assert found.frame.loc[true, label] == pytest.approx(law[true, label], abs=1e-12)


def test_the_law_of_the_labels_by_simulation(panel):
    """A difference of 0.02 is found with chance 0.999; false alarms 1e-6."""
    n, rng = 20_000, np.random.default_rng(0)
    law = panel.transition({"slide": 0.3})
    for true in CLASSES:
        votes = pd.DataFrame(
            {
                name: rng.choice(reader.observed, n, p=reader.frame.loc[true]).astype(object)
                for name, reader in panel.readers.items()
            }
        )
        votes.index = [str(at) for at in range(n)]
        votes.loc[rng.random(n) >= 0.3, "slide"] = None
        rate = (panel.labels(votes) == true).mean()
        assert abs(rate - law.frame.loc[true, true]) < 4.9 * 0.5 / np.sqrt(n)


def test_more_readers_err_less(panel):
    two = Panel({name: panel.readers[name] for name in ("Ada", "Ben")}, panel.class_prior)
    prior = panel.class_prior
    assert prior @ np.diag(panel.transition().matrix) >= prior @ np.diag(two.transition().matrix)


def test_noise_once_for_a_patient_after_the_panel(panel):
    noisy = panel.transition() @ Transition.randomized_response(1.0, CLASSES)
    assert noisy.matrix == pytest.approx(
        panel.transition().matrix @ Transition.randomized_response(1.0, CLASSES).matrix
    )


def test_too_many_patterns_are_refused():
    panel = Panel({f"r{at}": matrix([[0.9, 0.1], [0.1, 0.9]]) for at in range(18)})
    with pytest.raises(ValueError, match="Expected at most 200000 patterns of votes. Found 262144"):
        panel.transition()
    assert panel.transition({f"r{at}": 0.0 for at in range(9, 18)}).matrix[0, 0] > 0.99


# arguments


def test_a_reader_unknown_to_the_panel_is_named(panel):
    with pytest.raises(ValueError, match=r"different readers of \['Ada', 'Ben', 'slide'\]. Found \['Ada', 'Eva'\]"):
        panel.posterior(pd.DataFrame({"Ada": ["benign"], "Eva": ["benign"]}, index=["p0"]))
    with pytest.raises(ValueError, match="Expected read to name readers"):
        panel.transition({"Eva": 0.5})
    twice = pd.DataFrame([["benign", "benign"]], columns=["Ada", "Ada"], index=["p0"])
    with pytest.raises(ValueError, match="different readers"):
        panel.posterior(twice)


@pytest.mark.parametrize("label", ["HIV positive", "Benign", 1, "", {"HIV": 1}, ["HIV"]])
def test_an_unknown_label_is_refused_without_quoting_it(panel, label):
    votes = table(("benign", "benign", "benign")).astype(object)
    votes.at["p0", "Ben"] = label
    with pytest.raises(ValueError, match="every vote of reader 'Ben' to be one of") as error:
        panel.posterior(votes)
    assert "HIV" not in str(error.value)
    assert "p0" not in str(error.value)
    assert error.value.__context__ is None


@pytest.mark.parametrize(
    ("readers", "message"),
    [
        ({}, "Expected readers"),
        ("Ada", "Expected readers"),
        ([], "Expected readers"),
        ({"Ada": matrix([[0.9, 0.2], [0.3, 0.7]])}, "sum"),
        ({"Ada": matrix([[1.1, -0.1], [0.3, 0.7]])}, "chances|entry"),
        ({"Ada": 3}, "Expected reader 'Ada' to be a Reader"),
        (
            {"Ada": matrix([[0.9, 0.1], [0.3, 0.7]]), "Eva": Transition.randomized_response(1.0, ["x", "y"])},
            "Expected all readers to tell the same classes",
        ),
        ([Reader("Ada", matrix([[0.9, 0.1], [0.3, 0.7]]))] * 2, "different names"),
    ],
)
def test_bad_readers_are_named(readers, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Panel(readers)


@pytest.mark.parametrize("prior", [[0.5, 0.4], [1.0, 0.0], [[0.5, 0.5]] * 2, {"benign": 1.0}, [0.2, 0.3, 0.5], "x"])
def test_a_bad_class_prior_is_named(prior):
    with pytest.raises(ValueError, match="Expected class_prior"):
        Panel({"Ada": matrix([[0.9, 0.1], [0.3, 0.7]])}, prior)


def test_other_bad_arguments_are_named(panel):
    votes = table(("benign", "benign", "benign"))
    with pytest.raises(TypeError, match="Expected votes to be a DataFrame"):
        panel.posterior(votes.to_numpy())
    with pytest.raises(ValueError, match="Expected record_ids"):
        panel.posterior(votes.reset_index(drop=True))
    with pytest.raises(ValueError, match="Expected each patient once"):
        panel.posterior(pd.concat([votes, votes]))
    for defer in ("benign", 3):
        with pytest.raises(ValueError, match="Expected defer"):
            panel.labels(votes, threshold=0.9, defer=defer)
    with pytest.raises(ValueError, match="Expected threshold"):
        panel.labels(votes, threshold=1.5)
    with pytest.raises(ValueError, match=r"Expected read\['Ada'\]"):
        panel.transition({"Ada": 1.2})
    with pytest.raises(ValueError, match="let somebody read"):
        panel.transition(dict.fromkeys(panel.readers, 0.0))


def test_numbers_are_labels_too():
    panel = Panel({"Ada": pd.DataFrame([[0.9, 0.1], [0.3, 0.7]], [0, 1], [0, 1])})
    votes = pd.DataFrame({"Ada": [1, np.nan, 0]}, index=["a", "b", "c"])
    assert panel.labels(votes).tolist()[::2] == [1, 0]
    assert panel.labels(votes).isna().tolist() == [False, True, False]
    assert panel.labels(votes.dropna(), threshold=0.8, defer=-1).tolist() == [1, -1]
