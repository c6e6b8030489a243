"""Faults planted in whole studies of the real learner: the patient's transcript breaks the promise, or something is visible without noise.

The promise is μ = 2 for a patient, the ledger's ceiling, whatever is planted: the books look fine in every case. That the same
studies keep it without a fault: `test_faultless_studies_keep_their_promise`.
"""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from skdpal import ActiveLearningStudy, PrivacyBudget, PrivateQuery, PublicEncoder, plan_study
from skdpal.estimators import prototype
from skdpal.privacy.accounts import POOL
from skdpal.privacy.identities import sum_by_patient
from skdpal.privacy.mechanisms import GaussianSum, sums
from skdpal.privacy.randomness import perturb
from tests.audit.faults import studies
from tests.audit.faults.studies import CANARY, IDS, IN_POOL, IN_START, MU, ROWS
from tests.audit.faults.tape import along

SEEDS = range(1)


def path_of(groups=IN_START, seed=0, **options):
    return along(lambda present: studies.active(present, groups, **options), seed)


# ---- what is released ------------------------------------------------------------------------------------------------


def half_the_noise(patch):
    patch.setattr(sums, "perturb", lambda values, scale: perturb(values, scale / 2))


def no_clipping(patch):
    """Rows as they come, three times as long as they may be."""
    patch.setattr(prototype, "unit_ball", lambda rows: 3 * rows)
    patch.setattr(
        GaussianSum,
        "run",
        lambda self, rows, ids: perturb(sum_by_patient(rows, ids).sum(axis=0), self.noise_multiplier),
    )


def clipped_row_by_row(patch):
    """Each sample is clipped, and a patient may have several."""
    run = GaussianSum.run
    patch.setattr(
        GaussianSum,
        "run",
        lambda self, rows, ids: run(self, np.repeat(rows, 4, axis=0), [f"sample {at}" for at in range(4 * len(ids))]),
    )


def noise_from_a_random_state(patch):
    def seeded(values, scale):
        return values + np.random.RandomState(7).normal(0, scale, np.shape(values))

    patch.setattr(sums, "perturb", seeded)


def noise_kept_for_the_next_release(patch):
    """Drawn once, and used for every release: their differences have none."""
    drawn = {}

    def again(values, scale):
        kept = drawn.setdefault("first", perturb(np.zeros_like(values), scale))
        if IN_A_STUDY[0] == 0:
            drawn["first"] = kept = perturb(np.zeros_like(values), scale)
        IN_A_STUDY[0] = (IN_A_STUDY[0] + 1) % (1 + studies.ROUNDS)
        return values + kept

    IN_A_STUDY = [0]
    patch.setattr(sums, "perturb", again)


def mean_of_whoever_came(patch):
    """The realised number of patients as normaliser."""

    def mean(self, rows, ids):
        patients = sum_by_patient(rows, ids)
        return perturb(patients.sum(axis=0) * 4 / max(len(patients), 1), self.noise_multiplier)

    patch.setattr(GaussianSum, "run", mean)


def noise_by_whoever_came(patch):
    """Less noise where more patients came."""

    def run(self, rows, ids):
        patients = sum_by_patient(rows, ids)
        return perturb(patients.sum(axis=0), self.noise_multiplier * (1 + 1 / max(len(patients), 1)))

    patch.setattr(GaussianSum, "run", run)


def learning_from_everybody_again(patch):
    """Every release is of all cohorts so far; each is charged to the new one."""
    run, cohorts = GaussianSum.run, []

    def cumulative(self, rows, ids):
        if IDS[1] in ids:  # a start
            cohorts.clear()
        cohorts.append((rows, list(ids)))
        return run(self, np.vstack([one for one, _ in cohorts]), sum((names for _, names in cohorts), []))

    patch.setattr(GaussianSum, "run", cumulative)


def norm_of_the_cohort(patch):
    """The clipping norm is the cohort's median, and so is the noise."""

    def run(self, rows, ids):
        patients = sum_by_patient(rows * np.linspace(0.5, 1.0, len(rows))[:, None], ids)
        norms = np.linalg.norm(patients, axis=1)
        limit = float(np.median(norms)) if len(norms) else 1.0
        kept = patients * np.minimum(1, limit / np.maximum(norms, 1e-12))[:, None]
        return perturb(kept.sum(axis=0), self.noise_multiplier * limit)

    patch.setattr(GaussianSum, "run", run)


RELEASES = {
    "half the noise": half_the_noise,
    "no clipping": no_clipping,
    "clipping by row": clipped_row_by_row,
    "noise from random_state": noise_from_a_random_state,
    "noise that is kept": noise_kept_for_the_next_release,
    "the realised number as normaliser": mean_of_whoever_came,
    "noise by the realised number": noise_by_whoever_came,
    "retraining, charged once": learning_from_everybody_again,
    "a clipping norm of the cohort": norm_of_the_cohort,
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("groups", [IN_START, IN_POOL], ids=["start", "pool"])
def test_faultless_studies_keep_their_promise(groups, seed):
    path = path_of(groups, seed)
    assert not path.tells_more_than(MU), path


@pytest.mark.parametrize("fault", RELEASES)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_fault_of_a_release_is_seen(monkeypatch, fault, seed):
    RELEASES[fault](monkeypatch)
    assert path_of(seed=seed).tells_more_than(MU)


# ---- how rows are made -------------------------------------------------------------------------------------------------


def standardised(rows):
    """Planted: a scaler that is fitted to the patients, and that nobody pays for."""
    return StandardScaler().fit_transform(rows)


def projected(rows):
    """Planted: an embedding that is learnt from the patients."""
    return PublicEncoder(n_components=4, sample_scaling=None).fit(rows).transform(rows)


def imputed(rows):
    """Planted: what patient 3 lacks is the mean of the others."""
    lacking = (rows == ROWS[3]).all(axis=1)
    return np.where(lacking[:, None] & (np.arange(4) < 2), rows[~lacking].mean(axis=0), rows)


def embedded_by_public_data(rows):
    """As it should be."""
    return PublicEncoder(n_components=4, sample_scaling=None).fit(studies.REFERENCE).transform(rows)


@pytest.mark.parametrize("prepare", [standardised, projected, imputed])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_step_that_is_fitted_to_patients_and_not_charged_is_seen(prepare, seed):
    assert path_of(seed=seed, prepare=prepare, query=lambda: PrivateQuery("random", n_pool=9)).tells_more_than(MU)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_step_that_is_fitted_to_public_rows_is_free(seed):
    assert not path_of(seed=seed, prepare=embedded_by_public_data).tells_more_than(MU)


# ---- who is chosen ---------------------------------------------------------------------------------------------------

SCORES = dict(zip(map(bytes, ROWS), [1.0, *[0.0] * 3, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4], strict=True))


def scores_of(rows):
    """Each score looks at the own row only; the canary has the best."""
    return np.array([SCORES[bytes(row)] for row in np.ascontiguousarray(rows)])


def cap(rows):
    """A public threshold, but one a round at most."""
    return np.argsort(-np.where(scores_of(rows) > 0.3, scores_of(rows), -np.inf))[:1]


def quantile_of_the_pool(rows):
    return np.flatnonzero(scores_of(rows) >= np.quantile(scores_of(rows), 0.95))


def asked_again_if_nobody_came(rows):
    found = np.flatnonzero(scores_of(rows) > 0.97)
    return found if len(found) else np.arange(min(4, len(rows)))


def at_least_one(rows):
    found = np.flatnonzero(scores_of(rows) > 0.97)
    return found if len(found) else np.argsort(-scores_of(rows))[:1]


def in_turn(rows):
    """The pathologist reads one case a round, in the order in which they came."""
    return np.arange(min(1, len(rows)))


def z_score_of_the_pool(rows):
    scores = np.where(scores_of(rows) == 1.0, 20.0, scores_of(rows))
    return np.flatnonzero(scores - scores.mean() > 0.5 * scores.std())


ALIKE = np.linalg.norm(ROWS[CANARY] - ROWS[4]) + 1e-9


def no_two_of_a_kind(rows):
    """Whoever looks like somebody who was chosen is passed over."""
    chosen = []
    for place in np.argsort(-scores_of(rows)):
        if all(np.linalg.norm(rows[place] - rows[other]) > ALIKE for other in chosen):
            chosen.append(place)
    return np.sort(np.array(chosen, dtype=int))


RULES = {
    "a cap": cap,
    "a quantile of the pool": quantile_of_the_pool,
    "asked again": asked_again_if_nobody_came,
    "at least one": at_least_one,
    "a queue": in_turn,
    "a z-score of the pool": z_score_of_the_pool,
    "no two of a kind": no_two_of_a_kind,
}


def plant(patch, rule):
    """The books are kept as always; whom to ask comes from the rule."""
    keep_books = PrivateQuery.__call__

    def faulty(query, learner, X_pool, n_instances=3, *, record_ids=None, **more):
        keep_books(query, learner, X_pool, n_instances, record_ids=record_ids, **more)
        waiting = [at for at, leaf in enumerate(learner.ledger.accounts_of(record_ids)) if leaf == POOL]
        return np.array([waiting[at] for at in rule(np.asarray(X_pool)[waiting])], dtype=np.intp)

    patch.setattr(PrivateQuery, "__call__", faulty)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_choice_in_which_patients_meet_is_seen(monkeypatch, name, seed):
    plant(monkeypatch, RULES[name])
    assert path_of(IN_POOL, seed).tells_more_than(MU)


def test_the_same_choice_by_a_public_threshold_is_not(monkeypatch):
    plant(monkeypatch, lambda rows: np.flatnonzero(scores_of(rows) > 0.75))
    assert path_of(IN_POOL).mu == pytest.approx(MU)
    assert not path_of(IN_POOL).tells_more_than(MU)


# ---- a whole study in its folder: every byte that leaves -------------------------------------------------------------


@pytest.mark.parametrize("who", [12, *(pytest.param(other, marks=pytest.mark.slow) for other in (0, 8, 16, 20))])
def test_of_a_study_in_its_folder_no_byte_tells_of_an_exchanged_patient(srbct, embedded, who):
    """Another patient in the same slot: √2 times the price of zero-out (docs/trusted_kernel.md), and nothing else."""
    plan = plan_study(PrivacyBudget(2.0, 1e-5), 6, 20, 3, 2, n_evaluation=11, n_components=16)

    def study(original):
        X, y = srbct.X.copy(), srbct.y.copy()
        if not original:
            row = X.iloc[who].to_numpy()
            X.iloc[who] = row.max() + row.min() - row
            y.iloc[who] = next(label for label in embedded.prior.classes if label != y.iloc[who])
        with tempfile.TemporaryDirectory() as folder:
            found = ActiveLearningStudy(
                Path(folder) / "study", plan, embedded.encoder, embedded.prior, reference=embedded.reference
            )
            steps = []
            found.run(X, lambda sheet: y[sheet["patient"]], progress=lambda step: steps.append(str(step)))
            files = {str(path.relative_to(found.release_folder)): path for path in found.release_folder.rglob("*")}
            return {
                "files": {name: path.read_bytes() for name, path in files.items() if path.is_file()},
                "steps": steps,
                "status": str(found.status()),
                "evaluation": vars(found.evaluation),
            }

    path = along(study, seed=who)
    assert not path.visible, path.visible
    assert path.mu <= np.sqrt(2) / plan.noise_multiplier * (1 + 1e-9)
