"""modAL's own learner, where it works, and ours, behind one door."""

from types import SimpleNamespace

import pytest
import sklearn
from sklearn.utils.fixes import parse_version

# modAL 0.4.1 passes force_all_finite=, which scikit-learn took away
TEACHES = parse_version(sklearn.__version__) < parse_version("1.8")
IDS = [f"patient-{number}" for number in range(37)]


@pytest.fixture
def own(srbct, embedded, ledger):
    """Makers of learners, by name."""
    from modAL.models import ActiveLearner

    from skdpal import DPPrototypeClassifier, PrivateActiveLearner, PrivateQuery

    # modAL's Committee cannot sort objects: public labels as an array of str
    prior = DPPrototypeClassifier.prior_from_public(embedded.X_public, srbct.labels_public)

    def make(kind, X=None, y=None, strategy=None, *, noise=6.0, ledger=ledger, **rest):
        strategy = PrivateQuery(n_pool=20) if strategy is None else strategy
        model = DPPrototypeClassifier(noise, prior=prior, ledger=ledger)
        return {"modal": ActiveLearner, "private": PrivateActiveLearner}[kind](model, strategy, X, y, **rest)

    return make


@pytest.fixture(params=["modal", "private"])
def kind(request):
    return request.param


@pytest.fixture
def make(own, kind):
    """A learner of either kind."""
    return lambda *arguments, **rest: own(kind, *arguments, **rest)


@pytest.fixture
def learner(make, embedded):
    """It has learnt from six patients."""
    return make(embedded.X[:6], embedded.y[:6])


@pytest.fixture
def teaches(kind):
    """For tests that teach: modAL's own learner needs an older scikit-learn."""
    if kind == "modal" and not TEACHES:
        pytest.skip(f"modAL 0.4.1 cannot teach with scikit-learn {sklearn.__version__}, only below 1.8")


@pytest.fixture
def committees():
    """For tests that teach modAL's Committee."""
    if not TEACHES:
        pytest.skip(f"modAL 0.4.1 cannot teach with scikit-learn {sklearn.__version__}, only below 1.8")


@pytest.fixture
def pool(embedded):
    """Twenty patients, with names and labels."""
    return SimpleNamespace(X=embedded.X[6:26], y=embedded.y[6:26], ids=IDS[6:26])
