"""The query strategy that modAL's learners call."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skdpal.privacy import BudgetExhausted, events
from skdpal.privacy.identities import identify
from skdpal.privacy.mechanisms import release
from skdpal.privacy.validation import check_count, check_finite, check_one_of, check_real
from skdpal.query.rounds import Round, members_of, round_of
from skdpal.query.selections import AcceptanceRule, Chunks, PublicPartition, PublishedSelection, accept_all
from skdpal.query.selections.acceptance import largest_probability, rate_of
from skdpal.query.utilities import Random, Utility, score, utility_of
from skdpal.query.utilities.base import digest, take

__all__ = ["PrivateQuery"]

_MOST_REFERENCE = 1000  # rows: quantiles do not need more, and their weights go to the ledger
_SCORERS = ("public-first", "public", "released")


class _Asked(NamedTuple):
    """One question: who looks at the pool, in which round, and how many labels are wanted."""

    model: Any
    who: str
    ledger: Any
    this: Round
    utility: Utility
    n_instances: int


class PrivateQuery:
    """Choose patients to label without telling anybody who they are, or at a price that is charged.

    Parameters
    ----------
    utility : str or Utility, default="margin"
        How informative a patient looks: "margin", "entropy", "least_confidence", "information_gain", "rarity", "coherence",
        "bald", "aleatoric", "disagreement", "random", or an object of `skdpal.query.utilities`. Scores that depend on
        other patients are refused.
    release : {"hidden", "published"}, default="hidden"
        "hidden": the chosen go to the pathologist inside the hospital and nowhere else. Each
        patient is accepted by the own score and an own secret coin, so the choice is free, and the
        number accepted is private: `n_instances` is an expectation.
        "published": the chosen may be known outside. Scores get noise, exactly `n_instances` come back,
        and the pool pays once a round, whatever its size.
    reference : array-like of shape (n_rows, n_features), optional
        PUBLIC rows, embedded as the pool is and out of sample (`PublicEncoder.out_of_sample`), that
        tell which scores are high. Default: the score itself, from 0 to 1. Of more than 1,000 rows, 1,000 are used.
    n_pool : int, optional
        Public size of the pool in the protocol. Default: the size of the first pool.
    noise_multiplier : float, optional
        Of published scores: noise by sensitivity, ½.
    ledger : PrivacyLedger, optional
        Default: that of the learner's estimator.
    acceptance : {"probability", "threshold"}, default="probability"
        Of hidden choices; see `AcceptanceRule`. "threshold" needs a reference.
    tilt : float in [0, 1], default=0.5
        How much more likely the highest score is accepted than the average; the expected number
        stays within these bounds whatever the patients look like.
    noise : {"gaussian", "laplace", "gumbel"}, default="gaussian"
        Of published scores; see `PublishedSelection`.
    partition : PublicPartition, optional
        Spreads a published choice over public cells.
    chunks : Chunks, optional
        Public chunks of the pool, of `PublicChunks.cut`; round r asks in chunk r only. So nobody is scored twice, and a
        hidden round accepts no more than a chunk holds.
    scorer : {"public-first", "public", "released"}, a public model or a rule, default="public-first"
        Who looks at the patients: the released model, or the public one, before any patient, which knows more at
        small ε. "public-first": the public one in the first round, if the estimator has a public prior. A rule, such as
        `skdpal.cohort.SwitchRule`, has a method ``choose(released, public)`` that returns one of the two, or None: coins alone; it
        must look at nothing but these and public things. The ledger's record of the round says who scored.
    on_exhausted : {"raise", "random"}, default="raise"
        What to do if the release that the query prepares is not affordable: raise
        `BudgetExhausted`, or choose by coins alone, without looking at the patients.

    Raises
    ------
    ValueError
        If `acceptance` is "threshold" and there is no reference.

    Notes
    -----
    Charged: nothing if hidden; `events.noisy_scores` (or the like) to the pool, once a round, if published. Refused: a
    query whose `teach` could not be paid. Asking again before the next release is free and gives the same answer, also
    after a restart. A patient who left the pool is passed over; rows with one id are one patient.

    Examples
    --------
    >>> import skdpal
    >>> skdpal.PrivateQuery(utility="margin", release="hidden", n_pool=20)
    PrivateQuery(utility=Margin(), release='hidden', acceptance='probability', n_pool=20)
    """

    def __init__(
        self,
        utility: str | Utility = "margin",
        release: str = "hidden",
        reference: Any = None,
        n_pool: int | None = None,
        noise_multiplier: float | None = None,
        ledger: Any = None,
        *,
        acceptance: str = "probability",
        tilt: float = 0.5,
        noise: str = "gaussian",
        partition: PublicPartition | None = None,
        chunks: Chunks | None = None,
        scorer: Any = "public-first",
        on_exhausted: str = "raise",
    ) -> None:
        self.utility = utility_of(utility)
        self.release = check_one_of("release", release, ["hidden", "published"])
        self.acceptance = check_one_of("acceptance", acceptance, ["probability", "threshold"])
        self.tilt = check_real("tilt", tilt, above=0.0, below=1.0, closed=True)
        self.on_exhausted = check_one_of("on_exhausted", on_exhausted, ["raise", "random"])
        self.n_pool = n_pool if n_pool is None else check_count("n_pool", n_pool, least=1)
        self.scorer = _scorer(scorer)
        self.chunks = chunks
        self.ledger = ledger
        self.reference = None if reference is None else _thin(reference)
        self.published = self._published(noise, noise_multiplier, partition)
        if self.reference is None and acceptance == "threshold" and not isinstance(self.utility, Random):
            raise ValueError(
                'Expected reference with acceptance="threshold". Pass public rows, embedded out of sample.'
            )

    def __call__(self, learner: Any, X_pool: Any, n_instances: int = 3, *, record_ids: Any = None) -> NDArray[np.intp]:
        """Choose from a pool.

        Parameters
        ----------
        learner : ActiveLearner or Committee
            modAL's or skdpal's; its estimators are fitted DP estimators.
        X_pool : array-like or DataFrame of shape (n_rows, n_features)
            The pool. It may hold patients who were accepted before.
        n_instances : int, default=3
            The number of labels wanted: on average if hidden, exactly if published.
        record_ids : sequence of length n_rows, optional
            The patients.

        Returns
        -------
        ndarray of int
            Positions in X_pool. Hidden: for the pathologist only, in the order of the pool, and perhaps empty. Published: the
            best first.

        Raises
        ------
        BudgetExhausted
            If the selection, or the `teach` that it prepares, is not affordable.
        """
        n_instances = check_count("n_instances", n_instances, least=1)
        members_of(learner)
        ledger = self.ledger_of(learner)
        this = self.round_of(learner)
        model = self._model(learner, this)
        utility = self.utility if model is not None else Random()
        try:
            self._require(learner, ledger, this, n_instances, utility)
        except BudgetExhausted:
            if self.on_exhausted == "raise":
                raise
            utility = Random()
        check_finite("X_pool", X_pool)
        ids = identify(X_pool, record_ids)
        if len(ids):
            learner.predict_proba(take(X_pool, [0]))  # bad columns are refused before anything is written
        who = "coins" if isinstance(utility, Random) else "released" if model is learner else "public"
        choose = self._choose_hidden if self.published is None else self._choose_published
        return choose(_Asked(model, who, ledger, this, utility, n_instances), X_pool, ids)

    def round_of(self, learner: Any) -> Round:
        """The round in which a learner would ask now."""
        reference = None if self.reference is None else digest(self.reference)
        return round_of(learner, self.ledger_of(learner), reference)

    def ledger_of(self, learner: Any) -> Any:
        """The ledger of the query, of the learner, or of its estimator.

        Raises
        ------
        ValueError
            If nobody has a ledger.
        """
        holders = (self, learner, *members_of(learner))
        for holder in holders:
            ledger = getattr(holder, "ledger", None)
            if ledger is not None:
                return ledger.root
        raise ValueError(
            "Expected a ledger, on the query, the learner or its estimator. Pass ledger=PrivacyLedger(...)."
        )

    def rate(self, this: Round, n_instances: int) -> float | None:
        """Share of those who are left that a round wants, from the protocol; None if the pool's size is not known yet."""
        if self.chunks is not None:
            return rate_of(n_instances, len(self.chunks.members(this.number)))
        n_pool = this.n_pool if self.n_pool is None else self.n_pool
        return None if n_pool is None else rate_of(n_instances, n_pool - this.asked_before)

    def __repr__(self) -> str:
        how = f"acceptance={self.acceptance!r}" if self.published is None else f"noise={self.published.noise!r}"
        return f"PrivateQuery(utility={self.utility!r}, release={self.release!r}, {how}, n_pool={self.n_pool!r})"

    # -- hidden ------------------------------------------------------------------------------

    def _choose_hidden(self, asked: _Asked, X_pool: Any, ids: list[str]) -> NDArray[np.intp]:
        """Accept one by one; the positions of the accepted who were waiting when the round began."""
        model, who, ledger, this, utility, n_instances = asked
        if self.n_pool is None:
            self.n_pool = this.n_pool or len(set(ids)) or None  # the first pool, which the protocol fixes
        known = self.rate(this, n_instances)
        rate = 1.0 if known is None else known  # nobody has been seen yet
        rule, left = self._rule(rate, utility, model, this)
        parameters = {
            "wanted": n_instances,
            "pool": this.pool,
            "n_pool": self.n_pool,
            "rate": rate,
            "largest": rule.largest,
            "utility": repr(utility),
            "scorer": who,
            "acceptance": rule.kind,
            "tilt": rule.tilt,
            "reference": None if self.reference is None else digest(self.reference),
            "left": left,
        }
        ledger.begin_round(this.label, parameters, hidden=True)
        accepted = accept_all(X_pool, ids, model, utility, rule, ledger.coins(this.label, ids))
        positions = np.flatnonzero(accepted)
        names = [ids[position] for position in positions]
        waiting = ledger.waiting(names, this.label, this.pool)
        if self.chunks is not None:
            waiting &= np.array([self.chunks.chunk_of(name) == this.number for name in names], dtype=bool)
        return positions[waiting]

    def _rule(
        self, rate: float, utility: Utility, model: Any, this: Round
    ) -> tuple[AcceptanceRule, list[float] | None]:
        """The rule, and what it leaves of the reference, as it leaves the pool."""
        if self.reference is None or isinstance(utility, Random):
            weights = (
                this.left if this.left is not None else np.ones(0 if self.reference is None else len(self.reference))
            )
            rule = AcceptanceRule(rate, "probability", 0.0 if isinstance(utility, Random) else self.tilt)
            return rule, None if self.reference is None else weights.tolist()
        scores = score(utility, model, self.reference)
        weights = np.ones(len(scores)) if this.left is None or self.chunks is not None else this.left
        rule = AcceptanceRule.from_reference(rate, self.acceptance, self.tilt, scores, weights)
        return rule, (weights * np.maximum(1 - rule.probability(scores), 1e-12)).tolist()

    def _model(self, learner: Any, this: Round) -> Any:
        """Who looks at the patients; None: nobody, coins alone."""
        members = members_of(learner)
        if hasattr(self.scorer, "choose"):
            return self._by_rule(learner, members)
        if not isinstance(self.scorer, str):
            return self.scorer
        if self.scorer == "released" or (self.scorer == "public-first" and (this.number > 0 or len(members) > 1)):
            return learner  # before any patient, a committee agrees with itself
        public = getattr(members[0], "public_model", lambda: None)()
        if public is not None:
            return public
        if self.scorer == "public":
            raise ValueError(
                'Expected an estimator with a public prior for scorer="public". Pass prior=, or a public model as scorer.'
            )
        return learner

    def _by_rule(self, learner: Any, members: list[Any]) -> Any:
        """Who a rule names; of a committee, every member must be named."""
        public = getattr(members[0], "public_model", lambda: None)()
        others = [one for member in members if (one := self.scorer.choose(member, public)) is not member]
        if not others:
            return learner
        if any(one is not None and one is not public for one in others):
            raise ValueError(
                "Expected scorer.choose(released, public) to return one of the two, or None. Correct the rule."
            )
        return None if any(one is None for one in others) else public

    # -- published ---------------------------------------------------------------------------

    def _choose_published(self, asked: _Asked, X_pool: Any, ids: list[str]) -> NDArray[np.intp]:
        """The best of noisy scores, which the pool pays for once."""
        model, who, ledger, this, utility, n_instances = asked
        if ledger.hidden_rounds:
            raise ValueError(
                'Expected release="hidden": an earlier round of this ledger was hidden, and a published choice among those '
                "who are left would tell who was chosen then. Keep to hidden rounds, or make a ledger for other patients."
            )
        if len(set(ids)) < len(ids):
            raise ValueError(
                "Expected one row for each patient in a published choice. Merge rows of one patient, such as their mean."
            )
        source = self._source(ledger, this)
        public = {"wanted": n_instances, "pool": this.pool, "source": source, "scorer": who}
        ledger.begin_round(this.label, public, hidden=False)
        waiting = ledger.waiting(ids, this.label, source)
        if self.chunks is not None:
            waiting &= np.array([self.chunks.chunk_of(name) == this.number for name in ids], dtype=bool)
        # by name, so that the pool in another order is the same question
        order = np.array(sorted(np.flatnonzero(waiting), key=lambda position: ids[position]), dtype=np.intp)
        names = [ids[position] for position in order]
        if isinstance(utility, Random):  # coins look at nobody
            return order[np.argsort(ledger.coins(f"published {this.label}", names), kind="stable")[:n_instances]]
        inquiry = f"{utility!r} by {type(model).__name__}, {self.published!r}, {n_instances} of {names!r}"
        payer = ledger.within(source, question=f"scores of {this.label}: {ledger.tag(inquiry)}")

        def values() -> NDArray[np.float64]:
            rows = take(X_pool, order)
            return self.published.values(score(utility, model, rows), rows)

        label = f"scores (round {this.number + 1})"
        released = release(values, self.published.mechanism(n_instances), payer, label, record_ids=names)
        return order[self.published.choose(released, n_instances, record_ids=names)]

    def _source(self, ledger: Any, this: Round) -> str:
        """The leaf of those who are scored: the pool, or this round's chunk, which is split off by the protocol."""
        if self.chunks is None:
            return this.pool
        chunk = this.account(f"chunk-{this.number + 1}")
        if chunk not in ledger.accounts():
            ledger.split(this.pool, into=chunk, members=self.chunks.members(this.number))
        return chunk

    def _published(self, noise: str, noise_multiplier: float | None, partition: Any) -> PublishedSelection | None:
        if self.release == "published":
            if noise_multiplier is None:
                raise ValueError(
                    'Expected noise_multiplier with release="published". Found None. Take it from plan_study.'
                )
            return PublishedSelection(noise, noise_multiplier, partition)
        if noise_multiplier is not None or partition is not None:
            raise ValueError(
                'Expected noise_multiplier=None and partition=None with release="hidden", which needs no noise. Leave them out.'
            )
        return None

    # -- what it will cost -------------------------------------------------------------------

    def _require(self, learner: Any, ledger: Any, this: Round, n_instances: int, utility: Utility) -> None:
        """Refuse unless the selection, and the release that it prepares, are affordable."""
        free = self.published is None or isinstance(utility, Random)
        chosen = [] if free else [self.published.event(n_instances)]
        if hasattr(learner, "require_teach"):
            rate = self.rate(this, n_instances)
            largest = None if rate is None or self.published is not None else largest_probability(rate, self.tilt)
            learner.require_teach(n_instances, largest, chosen)
            return
        members = members_of(learner)
        prices = chosen + [estimator.privacy_event(n_instances) for estimator in members]
        payer = members[0].ledger if members[0].ledger is not None else ledger
        event = prices[0] if len(prices) == 1 else events.composed(prices)
        ledger.require(event, f"query for about {n_instances} labels, whose teach", payer.account)


def _scorer(scorer: Any) -> Any:
    if isinstance(scorer, str):
        return check_one_of("scorer", scorer, _SCORERS, "Or pass a public model with predict_proba.")
    if not hasattr(scorer, "predict_proba") and not hasattr(scorer, "choose"):
        raise TypeError(
            "Expected scorer to be a word, a public model with predict_proba, or a rule with choose(released, public). "
            f"Found {type(scorer).__name__}."
        )
    return scorer


def _thin(reference: Any) -> Any:
    """At most a thousand rows, evenly."""
    check_finite("reference", reference)
    if len(reference) <= _MOST_REFERENCE:
        return reference
    return take(reference, np.linspace(0, len(reference) - 1, _MOST_REFERENCE).astype(np.intp))
