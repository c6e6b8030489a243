"""Noise on labels: drawn once for each patient, kept in the hospital, paid for only if it leaves.

Invariants
----------
* The set of labels is public, fixed, and the same for every patient.
* A patient has one noisy label for ever: `inside` and `publish` show the same draw.
* Nothing here reads a label that the mechanism does not cover; probabilities are made of the noisy label.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skdpal.cohort.experts.laplace import likeliest, likeliest_matrix, posterior
from skdpal.cohort.experts.tables import fractions_of, patients_of
from skdpal.estimators.transition import Transition
from skdpal.privacy.accounts import ROOT
from skdpal.privacy.events import Event
from skdpal.privacy.mechanisms import Kept, LaplaceLabels, RandomizedResponse, release
from skdpal.privacy.validation import check_one_of

__all__ = ["LabelPrivacy"]

MECHANISMS = {"randomized-response": RandomizedResponse, "laplace": LaplaceLabels}


class LabelPrivacy:
    """Noisy labels of a fixed public set, drawn once for each patient and kept in the ledger's vault.

    Parameters
    ----------
    epsilon : float
        ε when one label is exchanged for another.
    classes : sequence
        All labels that may be given, public. Where a reader may abstain, the word for it is one of them.
    ledger : PrivacyLedger or Handle
        Whose vault keeps the draws, and who pays if they leave.
    mechanism : {"randomized-response", "laplace"}, default="randomized-response"
        "randomized-response": the label is kept with probability e^ε / (e^ε + K − 1), else
        one of the others. "laplace": noise of scale 2/ε on the one-hot label, then its likeliest class; at the same ε
        it keeps fewer labels (K = 2, ε = 1: 0.62 instead of 0.73).
    name : str, default="labels"
        Public, such as "histology". Another name, ε, mechanism or set of classes draws anew, and two draws
        of one label add up.
    class_prior : mapping or sequence, optional
        PUBLIC fractions of the classes, for probabilities, and for the likeliest class of "laplace". One for all
        patients. Default: uniform. Fractions counted in the cohort are not public.

    Attributes
    ----------
    classes : tuple
        Sorted.
    transition : Transition
        Chances of each noisy label, for each given one. Exact; the same for everybody; for an estimator's
        ``transition=``, after a reader's: ``reader.transition @ privacy.transition``.

    Raises
    ------
    ValueError
        If `name` is no word, or `ledger` has no vault to keep the draws.

    Notes
    -----
    Charged: nothing by `inside`, ε by `publish`, once. (A "gdp" ledger knows no ε but μ, and takes ε = 1 for μ = 1.2,
    which reads as 5.6; choose ``filter="renyi"`` if labels are to leave.)

    *What it adds.* A noisy label that stays inside, and enters releases of a DP estimator only, costs the patient the
    release, and not less. It adds a guarantee for the label alone, the features taken as known: `label_epsilon`, never
    above ε, for any number of releases. The condition is that the true label is used nowhere else, also not for
    evaluation. *What it costs.* Accuracy: among four classes ε = 2 keeps 71 labels of 100. Without a wish for the
    guarantee on the label, leave it out.

    *What must be charged.* A noisy label that leaves, or that steers anything but a charged release: `publish`. A model
    trained without noise on features and noisy labels is not private for the patients, whatever ε the labels have:
    `events.nonprivate`, which every ledger refuses.

    *What is refused.* A set of likely labels for each patient (``prior=``, as in Ghazi et al. 2021). The set follows
    the features, and an empty slot has none: δ is the share of labels that are left out, at every ε, and a
    rare class may never be drawn.

    A missing label, and a patient who is none, emits a uniform label: a label that comes later does not change the
    draw. The inverse of the matrix must never be put into a row: rows would be longer than the sensitivity that is
    charged.

    References
    ----------
    Warner 1965 (randomized response). Ghazi, Golowich, Kumar, Manurangsi and Zhang 2021, "Deep learning with label
    differential privacy". Malek, Mironov, Prasad, Shilov and Tramèr 2021, "Antipodes of label differential privacy"
    (Laplace noise with a posterior).

    Examples
    --------
    >>> import pandas as pd, skdpal
    >>> from skdpal.cohort.experts import LabelPrivacy
    >>> ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(epsilon=2.0, delta=1e-5), filter="renyi")
    >>> privacy = LabelPrivacy(1.0, ["favourable", "unfavourable"], ledger, name="histology")
    >>> labels = pd.Series(["favourable", "unfavourable"], index=["p1", "p2"])
    >>> noisy = privacy.inside(labels)
    >>> privacy.publish(labels).equals(noisy)  # what leaves is what was drawn
    True
    >>> [receipt.label for receipt in ledger.receipts()]
    ['published histology']
    >>> privacy.transition.matrix.round(3).tolist()
    [[0.731, 0.269], [0.269, 0.731]]
    """

    def __init__(
        self,
        epsilon: float,
        classes: Sequence[Any],
        ledger: Any,
        mechanism: str = "randomized-response",
        name: str = "labels",
        class_prior: Any = None,
        **unknown: Any,
    ) -> None:
        _refuse(unknown)
        check_one_of("mechanism", mechanism, list(MECHANISMS))
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"Expected name to be a word that may be public. Found {name!r}.")
        if ledger is None or not hasattr(ledger, "root"):
            raise ValueError(
                f"Expected ledger to be a PrivacyLedger, whose vault keeps the draws. Found {ledger!r}. "
                "Pass ledger=PrivacyLedger(PrivacyBudget(epsilon, delta))."
            )
        self.classes = tuple(sorted(RandomizedResponse(epsilon, classes).classes))
        self.epsilon = float(epsilon)
        self.ledger = ledger
        self.mechanism = mechanism
        self.name = name
        self.class_prior = fractions_of("class_prior", class_prior, self.classes)
        self._kept = Kept(MECHANISMS[mechanism](self.epsilon, self.classes), ledger.root, name)
        self.transition = Transition(self._matrix(), self.classes, self.classes)

    @property
    def event(self) -> Event:
        """The price of letting the noisy labels leave."""
        return self._kept.event

    def inside(self, y: Any, record_ids: Any = None, *, soft: bool = False) -> Any:
        """Noisy labels for the hospital's own use; nothing is charged, and nothing of them may leave.

        Parameters
        ----------
        y : Series or array-like of shape (n_patients,)
            Labels; a missing one (None, NaN) emits a uniform label. Each patient once.
        record_ids : sequence of length n_patients, optional
            The patients. Default: the index of a Series.
        soft : bool, default=False
            Return what the noisy label says about the given one, as probabilities, instead of the noisy label.

        Returns
        -------
        Series, ndarray or DataFrame
            Noisy labels, as a Series if y is one; or, if `soft`, a DataFrame of shape (n_patients, n_classes).

        Raises
        ------
        ValueError
            If a label is not one of the classes, or a patient comes twice.
        """
        ids = patients_of(y, record_ids)
        return self._shown(self._kept.inside(y, ids), y, ids, soft)

    def publish(
        self, y: Any, record_ids: Any = None, *, account: str | None = None, roster: bool = False, soft: bool = False
    ) -> Any:
        """Charge, then let the noisy labels leave: those that `inside` shows.

        Asked again for the same patients, nothing is charged. Publish everybody at once: two lists that share a patient
        are two charges.

        Parameters
        ----------
        y : Series or array-like
            As in `inside`.
        record_ids : sequence, optional
            As in `inside`.
        account : str, optional
            Who pays; the patients must belong to it. Default: that of the ledger's handle, else everybody.
        roster : bool, default=False
            Declare that the list holds everybody of the public roster, labelled or not. Needed after a hidden
            selection, where a list of the labelled would tell who was chosen.
        soft : bool, default=False
            As in `inside`.

        Returns
        -------
        Series, ndarray or DataFrame
            As in `inside`.

        Raises
        ------
        BudgetExhausted
            Before a label is read.
        """
        ids = patients_of(y, record_ids)
        account = self.ledger.account if account is None else account
        self._refuse_chosen(account, roster)
        order = sorted(range(len(ids)), key=ids.__getitem__)  # the same patients in another order are the same question
        names = [ids[at] for at in order]
        ledger = self.ledger.root
        payer = ledger.within(account, question=f"{self.name}: {ledger.tag(repr(names))}")

        def labels() -> list[Any]:
            given = list(y)
            return [given[at] for at in order]

        drawn = release(labels, self._kept, payer, f"published {self.name}", record_ids=names)
        return self._shown(drawn[np.argsort(order)], y, ids, soft)

    def __repr__(self) -> str:
        return f"LabelPrivacy(epsilon={self.epsilon:g}, classes={list(self.classes)}, mechanism={self.mechanism!r}, name={self.name!r})"

    # -- inside ------------------------------------------------------------------------------

    def _matrix(self) -> NDArray[np.float64]:
        """Row by row, the chances of each noisy label."""
        if self.mechanism == "laplace":
            return likeliest_matrix(self.epsilon, self.class_prior)
        keep, others = self._kept.mechanism.keep, len(self.classes) - 1
        return np.where(np.eye(others + 1) > 0, keep, (1 - keep) / others)

    def _shown(self, drawn: NDArray[Any], y: Any, ids: Sequence[str], soft: bool) -> Any:
        """Draws as a user wants them: post-processing of the draws alone."""
        if soft:
            index = y.index if isinstance(y, pd.Series) else pd.Index(ids)
            return pd.DataFrame(self._probabilities(drawn), index=index, columns=list(self.classes))
        if self.mechanism == "laplace":
            drawn = np.asarray(self.classes)[likeliest(drawn, self.epsilon, self.class_prior)]
        return pd.Series(drawn, index=y.index, name=y.name) if isinstance(y, pd.Series) else drawn

    def _probabilities(self, drawn: NDArray[Any]) -> NDArray[np.float64]:
        """What the draws say about the given labels."""
        if self.mechanism == "laplace":
            return posterior(drawn, self.epsilon, self.class_prior)
        codes = np.searchsorted(np.asarray(self.classes), drawn)
        joint = self.class_prior[None, :] * self.transition.matrix.T[codes]
        return np.asarray(joint / joint.sum(axis=1, keepdims=True))

    def _refuse_chosen(self, account: str, roster: bool) -> None:
        """A list of hidden patients is itself a secret."""
        if not self.ledger.root.hidden_rounds:
            return
        if not roster:
            raise ValueError(
                "Expected roster=True: a selection of this ledger was hidden, and the list of those who have a label would "
                "tell who was chosen. Pass everybody of the public roster, with None for those without a label, and "
                "roster=True."
            )
        if account != ROOT:
            raise ValueError(
                f"Expected account={ROOT!r} with roster=True, since everybody's slot emits a label. Found {account!r}. "
                "Leave account out."
            )


def _refuse(unknown: dict[str, Any]) -> None:
    """Say why the labels are not cut down to the likely ones."""
    if "prior" in unknown:
        raise TypeError(
            "LabelPrivacy() takes no prior: likely classes of each patient follow the features, so that the list itself "
            "tells about the patient (δ is the share of classes left out, at every ε), and rare classes are never drawn. Give "
            "all classes; public fractions of them go into class_prior."
        )
    if unknown:
        raise TypeError(f"LabelPrivacy() got an unexpected keyword argument {next(iter(unknown))!r}")
