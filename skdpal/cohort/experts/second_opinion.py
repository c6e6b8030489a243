"""For whom is another reader asked? Decided patient by patient, from the own votes, and priced.

Invariants
----------
* Hidden: whoever is asked is decided by the own votes, own row, a released model and an own secret coin. So the label that
  comes of it is a label like any other, and costs nothing before the patient's one release.
* Published: nothing but noisy scores, which are paid for, decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skdpal.cohort.experts.benefit import BENEFITS, SecondRead
from skdpal.cohort.experts.cutoff import Cutoff, Levels
from skdpal.cohort.experts.panel import NOT_READ, Codes, Panel, transition_of
from skdpal.cohort.experts.tables import patients_of
from skdpal.estimators.transition import Transition
from skdpal.privacy import epsilon_of, events
from skdpal.privacy.accounts import POOL
from skdpal.privacy.events import Event
from skdpal.privacy.mechanisms import release
from skdpal.privacy.validation import check_count, check_finite, check_one_of, check_real
from skdpal.query.selections import PublishedSelection, accept_all
from skdpal.query.selections.acceptance import rate_of
from skdpal.query.utilities.base import take

__all__ = ["SecondOpinion"]

Array = NDArray[np.float64]
_MOST_REFERENCE = 1000  # rows


class SecondOpinion:
    """Choose whose slides go to one more reader, where that is expected to correct most labels.

    Parameters
    ----------
    panel : Panel
        All readers, the second one among them.
    reader : str
        Who gives the second opinion.
    n_instances : int, optional
        How many reads are wanted: on average over the public error rates if hidden, exactly if published.
    n_patients : int, optional
        PUBLIC number of patients among whom is chosen, as the protocol expects it. Goes with `n_instances`.
    cost : float in [0, 1), optional
        Instead of `n_instances`: ask whenever the benefit is above. Hidden only.
    benefit : {"error", "information", "disagreement"}, default="error"
        "error": how much the chance of a wrong label is expected to fall. "information": what the read tells about the class, in
        units of ln K. "disagreement": 1 if the earlier votes differ, else 0.
    release : {"hidden", "published"}, default="hidden"
        "hidden": worksheets stay in the hospital, and so does their number; free. "published": who is asked, or how many, may be
        known outside; scores get noise, and everybody who is scored pays.
    noise_multiplier : float, optional
        Of published scores, by their sensitivity ½.
    read : mapping of str to float, optional
        PUBLIC chance of having been read by each other reader, as in `Panel.transition`. Default: by all of them.
    reference : array-like of shape (n_rows, n_features), optional
        PUBLIC rows, embedded as the patients' and out of sample. Needed if a model takes part and `n_instances` is given.
    ledger : PrivacyLedger or Handle, optional
        Whose vault tosses the coins, and who pays.
    name : str, default="second opinion"
        Public. Another name tosses other coins.

    Notes
    -----
    Charged: nothing if hidden, and before the patients' release: the choice depends on the patient's own data, own coin, and what was
    released before, and so does the label that is settled by it (docs/trusted_kernel.md, Theorem C). `events.noisy_scores` if
    published. After the release, a corrected label reaches a model by another release of the same patients only: pass ``relabel=``.

    Nobody is asked whose label the read could not change; so fewer than `n_instances` may be asked.

    Refused is what reads whole cohorts: exactly n of the hidden, the top of the pool, and a rule such as "a third read
    on disagreement" whose list, or length, is known outside without noise.

    Where the first reads were made by whom the slides came to, and the second by this rule, error rates of labels are those of
    `transition`, not of the panel.

    Examples
    --------
    >>> import pandas as pd, skdpal
    >>> from skdpal.cohort.experts import Panel, SecondOpinion
    >>> histology = ["favourable", "unfavourable"]
    >>> local = pd.DataFrame([[0.98, 0.02], [0.28, 0.72]], histology, histology)
    >>> central = pd.DataFrame([[0.995, 0.005], [0.02, 0.98]], histology, histology)
    >>> panel = Panel({"local": local, "central": central}, class_prior=[0.89, 0.11])
    >>> ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(epsilon=2.0, delta=1e-5))
    >>> second = SecondOpinion(panel, "central", n_instances=8, n_patients=40, ledger=ledger)
    >>> second.forecast().round(3)
    asked              8.000
    error before       0.049
    error at random    0.040
    error after        0.030
    dtype: float64
    >>> votes = pd.DataFrame({"local": ["favourable", "unfavourable"]}, index=["p1", "p2"])
    >>> 1 in second.choose(votes)  # the unfavourable one; the other by a coin
    True
    >>> second.price()
    choice    0.0
    dtype: float64
    """

    def __init__(
        self,
        panel: Panel,
        reader: str,
        n_instances: int | None = None,
        n_patients: int | None = None,
        *,
        cost: float | None = None,
        benefit: str = "error",
        release: str = "hidden",
        noise_multiplier: float | None = None,
        read: Mapping[str, float] | None = None,
        reference: Any = None,
        ledger: Any = None,
        name: str = "second opinion",
    ) -> None:
        if reader not in panel.readers:
            raise ValueError(
                f"Expected reader to be one of the panel, {panel.names}. Found {reader!r}. Give the panel a confusion matrix for "
                "this reader."
            )
        self.panel, self.reader = panel, reader
        self.benefit = check_one_of("benefit", benefit, BENEFITS)
        self.release = check_one_of("release", release, ["hidden", "published"])
        self.n_instances, self.n_patients, self.cost = _wanted(n_instances, n_patients, cost, self.release)
        self.read = {**dict(read or {}), reader: 0.0}
        self.patterns = panel.patterns(self.read)
        self.reference = None if reference is None else _thin(reference)
        self.ledger, self.name = ledger, name
        self.published = self._published(noise_multiplier)
        self._utility = SecondRead(panel, reader, self.benefit)

    @property
    def event(self) -> Event | None:
        """The price of one choice, for everybody among whom is chosen; None if it is free."""
        return None if self.published is None else self.published.event(self.n_instances)

    def choose(
        self,
        votes: Any,
        X: Any = None,
        model: Any = None,
        *,
        record_ids: Any = None,
        account: str = POOL,
        relabel: Any = None,
    ) -> NDArray[np.intp]:
        """Choose patients for the second reader.

        Parameters
        ----------
        votes : DataFrame of shape (n_patients, n_readers)
            What was read so far, as for `Panel`; everybody among whom is chosen, by the protocol.
        X : array-like or DataFrame of shape (n_patients, n_features), optional
            Their rows, for the model.
        model : object with predict_proba, optional
            Released or public; it says who looks mislabelled. It decides whom to ask only: labels are made of votes.
        record_ids : sequence of length n_patients, optional
            The patients. Default: the index of `votes`.
        account : str, default="cohort/pool"
            The leaf in which the patients are.
        relabel : DP estimator, optional
            If the patients' labels were released already: who will release the corrected ones. Refused at once if that
            could not be paid; nothing is charged now.

        Returns
        -------
        ndarray of int
            Positions. Hidden: for the hospital only, in the order of `votes`, perhaps empty. Published: the best first.

        Raises
        ------
        ValueError
            If patients have left the account, or it has paid for a release, and `relabel` is not given.
        BudgetExhausted
            If the scores, or the new release, are not affordable.
        """
        ledger = self._ledger()
        codes, ids = self.panel.codes(votes, record_ids), patients_of(votes, record_ids)
        rows = self._rows(codes, X, model)
        _settled(ledger, ids, account, relabel)
        if self.published is not None:
            return self._choose_published(ledger, account, rows, model, ids)
        coins = ledger.coins(f"{self.name}: {self.reader} after {_print_of(model)}", ids)
        return np.flatnonzero(accept_all(rows, ids, model, self._utility, self._rule(model), coins))

    def price(self, estimator: Any = None, delta: float | None = None) -> pd.Series:
        """What a choice costs each patient, as ε, and, with an estimator, what its release costs, and both together.

        Parameters
        ----------
        estimator : DP estimator, optional
            Who releases the labels.
        delta : float, optional
            Default: that of the ledger.
        """
        delta = self._ledger().root.budget.delta if delta is None else delta
        choice = [] if self.event is None else [self.event]
        prices = {"choice": epsilon_of(choice, delta) if choice else 0.0}
        if estimator is not None:
            later = estimator.privacy_event(self.n_patients)
            prices |= {"release": epsilon_of([later], delta), "together": epsilon_of([*choice, later], delta)}
        return pd.Series(prices)

    def transition(self, model: Any = None, *, threshold: float | None = None, defer: Any = "defer") -> Transition:
        """Chances of each label of `Panel.labels` after the second opinions, for each true class; hidden choices.

        Exact without a model; with one, an average over the public reference.

        Parameters
        ----------
        model : object with predict_proba, optional
            As in `choose`.
        threshold, defer : optional
            As in `Panel.labels`.
        """
        asked = self._asked(model)
        codes, chances = self.patterns.codes, self.patterns.chances
        at, answers = self.panel.names.index(self.reader), self.panel.readers[self.reader].matrix
        outcomes = [(codes, chances * (1 - asked))]
        for answer in range(answers.shape[1]):
            after = codes.copy()
            after[:, at] = answer
            outcomes.append((after, chances * asked * answers[:, answer]))
        codes, chances = (np.concatenate(parts) for parts in zip(*outcomes, strict=True))
        seen = (codes != NOT_READ).any(axis=1)
        decided = self.panel.decided(codes[seen], threshold, defer)
        observed = [*self.panel.classes.tolist(), *([] if threshold is None else [defer])]
        return transition_of(self.panel.classes, observed, decided, chances[seen])

    def forecast(self, model: Any = None) -> pd.Series:
        """What is to be expected, from public numbers alone: reads, and wrong labels before, at random, and after.

        Parameters
        ----------
        model : object with predict_proba, optional
            As in `choose`.
        """
        prior = self.panel.class_prior
        share = float((self._asked(model) * self.patterns.chances).sum(axis=0) @ prior)

        def wrong(transition: Transition) -> float:
            return float(prior @ (1 - np.diag(transition.matrix)))

        before = self.panel.transition(self.read)
        everybody = self.panel.transition({**self.read, self.reader: 1.0})
        return pd.Series(
            {
                "asked": share if self.n_patients is None else share * self.n_patients,
                "error before": wrong(before),
                "error at random": (1 - share) * wrong(before) + share * wrong(everybody),
                "error after": wrong(self.transition(model)),
            }
        )

    def __repr__(self) -> str:
        wanted = f"cost={self.cost!r}" if self.n_instances is None else f"n_instances={self.n_instances!r}"
        return f"SecondOpinion(reader={self.reader!r}, {wanted}, benefit={self.benefit!r}, release={self.release!r})"

    # -- inside ------------------------------------------------------------------------------

    def _choose_published(self, ledger: Any, account: str, rows: Any, model: Any, ids: list[str]) -> NDArray[np.intp]:
        """The best of noisy scores, which the account pays for."""
        if ledger.hidden_rounds:
            raise ValueError(
                'Expected release="hidden": an earlier selection of this ledger was hidden, and a published choice among its '
                "patients would tell who they are."
            )
        order = np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.intp)
        names = [ids[at] for at in order]
        asked = f"{self._utility!r} by {_print_of(model)}, {self.published!r}, {self.n_instances} of {names!r}"
        payer = ledger.within(account, question=f"{self.name}: {ledger.tag(asked)}")
        largest = 1.0 if model is not None else max(float(self._levels(None).benefits.max()), 1e-12)  # public
        released = release(
            lambda: self.published.values(self._utility.relative(model, take(rows, order), largest)),
            self.published.mechanism(self.n_instances),
            payer,
            f"scores for a {self.name}",
            record_ids=names,
        )
        return order[self.published.choose(released, self.n_instances)]

    def _rule(self, model: Any) -> Cutoff:
        """Whom to ask, from public numbers and the released model."""
        if self.cost is not None:
            return Cutoff(self.cost, 0.0)
        return self._levels(model).cutoff(rate_of(self.n_instances, self.n_patients))

    def _levels(self, model: Any) -> Levels:
        """What is to be expected of patients, from public rows if a model looks at them."""
        believed = self.panel.class_prior[None, :]
        if model is not None:
            if self.reference is None:
                raise ValueError(
                    "Expected reference with a model: without public rows nobody knows which benefits are high. Pass "
                    "reference=, public rows embedded out of sample, or cost= instead of n_instances."
                )
            believed = self._utility.believed(model, self.reference)
        return Levels.of(self._utility, self.patterns, believed)

    def _asked(self, model: Any) -> Array:
        """Chance of being asked for each pattern and class, of shape (n_patterns, n_classes)."""
        return self._levels(model).asked(self._rule(model))

    def _rows(self, codes: Codes, X: Any, model: Any) -> Any:
        """Votes, and beside them what the model reads."""
        if (X is None) is not (model is None):
            raise ValueError(
                "Expected X and model together, or neither. A model looks at rows: pass both, or leave both out."
            )
        if X is None:
            return codes.astype(np.float64)
        if len(X) != len(codes):
            raise ValueError("Expected X to have one row for each row of votes. Pass the rows of the same patients.")
        if isinstance(X, pd.DataFrame):
            table = pd.DataFrame(codes, index=X.index, columns=[f"vote of {name}" for name in self.panel.names])
            return pd.concat([table, X], axis=1)
        return np.column_stack([codes, np.asarray(X, dtype=np.float64)])

    def _ledger(self) -> Any:
        if self.ledger is None:
            raise ValueError(
                "Expected a ledger, whose vault tosses the coins. Found None. Pass ledger=PrivacyLedger(...), the study's."
            )
        return self.ledger.root

    def _published(self, noise_multiplier: float | None) -> PublishedSelection | None:
        if self.release == "hidden":
            if noise_multiplier is not None:
                raise ValueError(
                    'Expected noise_multiplier=None with release="hidden", which needs no noise. Leave it out.'
                )
            return None
        if noise_multiplier is None:
            raise ValueError(
                'Expected noise_multiplier with release="published". Found None. Whoever sees for whom, or how often, a second '
                'read is ordered, such as "only on disagreement", sees the votes: pass noise_multiplier=, or release="hidden".'
            )
        return PublishedSelection("gaussian", noise_multiplier)


def _wanted(n_instances: Any, n_patients: Any, cost: Any, release: str) -> tuple[int | None, int | None, float | None]:
    """Either a number of reads, or a cost."""
    if n_patients is not None:
        n_patients = check_count("n_patients", n_patients, least=1)
    if cost is None and n_instances is not None:
        if n_patients is None and release == "hidden":
            raise ValueError(
                "Expected n_patients, the public number among whom n_instances are chosen. Found None. The true number may be "
                "private: take it from the protocol."
            )
        return check_count("n_instances", n_instances, least=1), n_patients, None
    if cost is not None and n_instances is None and release == "hidden":
        return None, n_patients, check_real("cost", cost, above=0.0, below=1.0, closed=True)
    raise ValueError(
        f"Expected n_instances, or, hidden, cost. Found n_instances={n_instances!r}, cost={cost!r}. Say how many reads are wanted, or "
        "from which benefit on one is worth it."
    )


def _settled(ledger: Any, ids: list[str], account: str, relabel: Any) -> None:
    """Refuse to correct labels that were released, unless somebody will pay for the new ones."""
    if relabel is not None:
        ledger.require(relabel.privacy_event(None), "release of corrected labels", account)
        return
    paid = [receipt for receipt in ledger.receipts() if f"{account}/".startswith(f"{receipt.account}/")]
    released = any(not isinstance(receipt.event, events.NoisyScores) for receipt in paid)
    if released or set(ledger.accounts_of(ids)) - {account}:
        raise ValueError(
            f"Expected patients of {account!r} whose labels were not released yet. This account has paid for a release, or "
            "some are elsewhere: their model would not change unless they pay for a new release. Ask for second opinions before "
            "the release (teach), or pass relabel=estimator and account=, who will pay."
        )


def _print_of(model: Any) -> str:
    """A public name of who looks."""
    if model is None:
        return "votes"
    estimator = getattr(model, "estimator", model)
    if hasattr(estimator, "fingerprint"):
        return str(estimator.fingerprint())
    return type(estimator).__name__


def _thin(reference: Any) -> Any:
    """At most a thousand rows, evenly."""
    check_finite("reference", reference)
    if len(reference) <= _MOST_REFERENCE:
        return reference
    return take(reference, np.linspace(0, len(reference) - 1, _MOST_REFERENCE).astype(np.intp))
