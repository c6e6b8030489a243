"""Clinical columns and notes become numbers without anything being learnt from them."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from skdpal import DPPrototypeClassifier, PublicEncoder
from skdpal.cohort.modalities.clinical import ClinicalEncoder
from skdpal.datasets import load_miniacc
from skdpal.model_selection import price_of

STAGES = ["i", "ii", "iii", "iv"]


@pytest.fixture
def encoder():
    return ClinicalEncoder({"age": (20, 80)}, {"stage": STAGES}, ["note"], n_text_features=8)


@pytest.fixture
def patients():
    notes = ["Small cyst.", "No metastases seen", None, ""]
    return pd.DataFrame(
        {"age": [20.0, 95.0, None, None], "stage": ["i", "ii", "v", None], "note": notes, "ward": 7},
        index=["P1", "P2", "P3", "P4"],
    )


def numbers(encoder, patients):
    return encoder.set_output(transform="pandas").transform(patients)


def test_each_kind_of_column(encoder, patients):
    table = numbers(encoder, patients) * np.sqrt(3)  # three columns of equal weight
    assert table.index.tolist() == ["P1", "P2", "P3", "P4"]
    np.testing.assert_allclose(table[["age", "age:known"]].iloc[0], [-(0.5**0.5), 0.5**0.5])
    np.testing.assert_allclose(table[["age", "age:known"]].iloc[1], [0.5**0.5, 0.5**0.5])  # 95 is moved to 80
    np.testing.assert_allclose(table[[f"stage={level}" for level in STAGES]].iloc[:2], np.eye(4)[:2])
    words = table.filter(like="note#")
    np.testing.assert_allclose((words**2).sum(axis=1), [1, 1, 0, 0])
    assert not np.allclose(words.loc["P1"], words.loc["P2"])


def test_what_is_missing_or_unknown_is_exactly_zero(encoder, patients):
    assert (encoder.transform(patients)[2:] == 0).all()


def test_no_known_number_is_zero():
    """A row of zeros means that a patient lacks the block; the middle of a range must not."""
    rows = ClinicalEncoder({"age": (0, 100)}).transform(pd.DataFrame({"age": np.arange(101.0)}))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1)


def test_ends_of_a_range_are_as_far_apart_as_two_levels():
    ages = ClinicalEncoder({"age": (0, 100)}).transform(pd.DataFrame({"age": [0, 100]}))
    stages = ClinicalEncoder(categorical={"stage": STAGES}).transform(pd.DataFrame({"stage": ["i", "iv"]}))
    assert np.linalg.norm(ages[0] - ages[1]) == pytest.approx(np.linalg.norm(stages[0] - stages[1]))


def test_weights_divide_the_length():
    encoder = ClinicalEncoder({"age": (0, 100)}, text="note", weights={"note": 3.0})
    row = encoder.transform(pd.DataFrame({"age": [50], "note": ["cyst"]}))[0]
    assert np.linalg.norm(row[2:]) == pytest.approx(3 * np.linalg.norm(row[:2]))
    assert np.linalg.norm(row) == pytest.approx(1)


def test_two_columns_of_text_keep_their_own_buckets():
    encoder = ClinicalEncoder(text=["history", "report"], n_text_features=4)
    rows = encoder.transform(pd.DataFrame({"history": ["cyst", None], "report": [None, "cyst"]}))
    assert (rows[0, 4:] == 0).all()
    assert (rows[1, :4] == 0).all()
    np.testing.assert_array_equal(rows[0, :4], rows[1, 4:])


def test_pairs_of_words_and_common_words():
    notes = pd.DataFrame({"note": ["no metastases", "metastases"]})
    pairs = ClinicalEncoder(text="note", n_text_features=512, ngrams=2).transform(notes)
    assert np.count_nonzero(pairs[0]) == 3  # no, metastases, no metastases
    plain = ClinicalEncoder(text="note", n_text_features=512, stop_words="english").transform(notes)
    np.testing.assert_array_equal(plain[0], plain[1])


def test_levels_may_be_numbers():
    """pandas makes whole numbers with a gap to floats."""
    rows = ClinicalEncoder(categorical={"alive": [0, 1]}).transform(pd.DataFrame({"alive": [1.0, np.nan, 0.0]}))
    np.testing.assert_allclose(rows, [[0, 1], [0, 0], [1, 0]])


@pytest.mark.parametrize("dtype", ["string", "category", object])
def test_pandas_types(encoder, patients, dtype):
    typed = patients.astype({"stage": dtype, "note": "string", "age": "Float64"})
    np.testing.assert_array_equal(encoder.transform(typed), encoder.transform(patients))


def test_zero_rows(encoder, patients):
    assert encoder.transform(patients.iloc[:0]).shape == (0, 2 + 4 + 8)


def test_names_tell_no_word(encoder, patients):
    names = encoder.get_feature_names_out().tolist()
    assert names == ["age", "age:known", *(f"stage={level}" for level in STAGES), *(f"note#{n}" for n in range(8))]
    assert encoder.fit(patients).transform(patients).shape[1] == len(names)
    assert encoder.feature_names_in_.tolist() == ["age", "stage", "note"]


# -- nothing is learnt -----------------------------------------------------------------------------


def test_fitting_and_transforming_leave_no_trace(encoder, patients):
    before = pickle.dumps(encoder)
    encoder.fit(patients)
    encoder.transform(patients)
    assert pickle.dumps(encoder) == before
    assert b"cyst" not in before
    assert vars(clone(encoder)).keys() == vars(encoder).keys()


def test_fit_reads_no_row(encoder):
    encoder.fit(pd.DataFrame({"age": ["eighty"], "stage": [3], "note": [2]}))  # not even their types


TEXT = st.one_of(st.none(), st.text(max_size=40), st.sampled_from(["cyst", "no cyst", "clear cell"]))
ROWS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)), st.sampled_from([*STAGES, "?"]), TEXT
    ),
    min_size=1,
    max_size=6,
)


def frame(rows):
    table = pd.DataFrame(rows, columns=["age", "stage", "note"])
    return table.astype({"age": float})


@given(rows=ROWS, other=ROWS, place=st.integers(0, 5))
def test_one_patient_moves_one_row_and_none_is_longer_than_one(rows, other, place):
    """Two worlds that differ in one patient's words, levels and numbers."""
    encoder = ClinicalEncoder({"age": (20, 80)}, {"stage": STAGES}, ["note"], n_text_features=8, ngrams=2)
    place %= len(rows)
    one = encoder.fit(frame(rows)).transform(frame(rows))
    exchanged = [*rows[:place], other[0], *rows[place + 1 :]]
    two = encoder.fit(frame(exchanged)).transform(frame(exchanged))
    others = np.arange(len(rows)) != place
    np.testing.assert_array_equal(one[others], two[others])
    np.testing.assert_array_equal(two[place], encoder.transform(frame(other[:1]))[0])
    for table in (one, two):
        assert (np.linalg.norm(table, axis=1) <= 1).all()


def test_that_test_would_find_an_encoder_that_learns():
    """The planted fault: scaling by the largest value that was seen."""
    ages = pd.DataFrame({"age": [30.0, 60.0]})
    wrong = [
        ClinicalEncoder({"age": (0, seen.age.max())}).transform(seen)[0] for seen in (ages, ages.assign(age=[30, 90]))
    ]
    assert not np.array_equal(*wrong)


# -- in company ------------------------------------------------------------------------------------


def test_a_pipeline_pays_for_the_classifier_only(encoder, patients):
    pipeline = make_pipeline(encoder, DPPrototypeClassifier(classes=["no", "yes"]))
    price = price_of(pipeline, patients)
    assert not price.culprit
    assert len(price.event.events) == 1


def test_directions_from_public_notes():
    public = pd.DataFrame(
        {"note": ["benign cyst", "clear carcinoma", "papillary carcinoma", "simple cyst", "small cyst"]}
    )
    labels = ["no", "yes", "yes", "no", "no"]
    words = ClinicalEncoder(text="note", n_text_features=512)
    directions = PublicEncoder(n_components=2).fit(words.transform(public), labels)
    model = make_pipeline(words, directions)
    seen = model.transform(pd.DataFrame({"note": ["a cyst", "carcinoma"]}, index=["P1", "P2"]))
    means = [model.transform(public)[np.array(labels) == label].mean(axis=0) for label in ("no", "yes")]
    assert [int(np.argmin([np.linalg.norm(row - mean) for mean in means])) for row in seen] == [0, 1]


def test_the_clinical_columns_of_a_real_cohort_tell_who_died():
    """Stage and residual tumour are known to matter: nearest class means on all patients are better than guessing."""
    data = load_miniacc("vital_status", as_frame=True)
    encoder = ClinicalEncoder(
        {"years_to_birth": (0, 100)},
        {
            "pathologic_stage": [f"stage {level}" for level in STAGES],
            "residual_tumor": ["r0", "r1", "r2", "rx"],
            "gender": ["female", "male"],
        },
        "histological_type",
        n_text_features=8,
    )
    rows = encoder.transform(data.obs.loc[data.target.index])
    means = np.array([rows[data.target == label].mean(axis=0) for label in data.target_names])
    found = np.array(data.target_names)[np.argmin(((rows[:, None] - means) ** 2).sum(axis=2), axis=1)]
    assert (found == data.target).mean() > data.target.value_counts(normalize=True).max() + 0.05


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, "name each column once. Found none"),
        ({"numeric": ["age"]}, "numeric to be a mapping of columns to their public ranges"),
        ({"numeric": {"age": (3,)}}, r"numeric\['age'\] to be a public range"),
        ({"numeric": {"age": (80, 20)}}, r"numeric\['age'\]\[1\]"),
        ({"numeric": {"age": (0, float("inf"))}}, "finite"),
        ({"categorical": ["stage"]}, "categorical to be a mapping of columns to their public levels"),
        ({"categorical": {"stage": "iv"}}, r"categorical\['stage'\] to be a list"),
        ({"categorical": {"stage": []}}, "different public levels"),
        ({"categorical": {"stage": ["i", "i"]}}, "different public levels"),
        ({"numeric": {"age": (0, 1)}, "text": ["age"]}, "once. Found one twice"),
        ({"text": "note", "n_text_features": 0}, "n_text_features"),
        ({"text": "note", "ngrams": 0}, "ngrams"),
        ({"text": "note", "stop_words": "klingon"}, "stop_words"),
        ({"text": "note", "weights": {"age": 1.0}}, "weights of columns that are read. Found 'age'"),
        ({"text": "note", "weights": {"note": 0.0}}, "weights"),
        ({"text": "report"}, "one column 'report'. Found no such column"),
    ],
)
def test_bad_parameters_are_named(parameters, expected, patients):
    encoder = ClinicalEncoder(**parameters)
    for verb in (encoder.fit, encoder.transform):
        with pytest.raises(ValueError, match=expected):
            verb(patients)


def test_words_in_a_column_of_numbers_are_not_quoted():
    with pytest.raises(ValueError, match="'age' to be numeric") as error:
        ClinicalEncoder({"age": (0, 100)}).transform(pd.DataFrame({"age": ["secret"]}))
    assert "secret" not in str(error.value)
    assert error.value.__suppress_context__


def test_an_array_has_no_columns(encoder):
    with pytest.raises(ValueError, match="DataFrame with named columns. Found ndarray"):
        encoder.transform(np.zeros((2, 3)))


def test_a_column_given_twice_is_refused(encoder, patients):
    with pytest.raises(ValueError, match="'age'. Found it twice"):
        encoder.transform(pd.concat([patients, patients[["age"]]], axis=1))
