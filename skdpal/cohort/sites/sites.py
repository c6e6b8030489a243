"""A pooled study of several hospitals."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from skdpal.cohort.sites import registers
from skdpal.cohort.sites.page import page_of
from skdpal.privacy import PrivacyLedger, events
from skdpal.privacy.accounts import POOL
from skdpal.privacy.identities import identify
from skdpal.privacy.ledger import Handle, Shares
from skdpal.privacy.validation import check_count, check_one_of, check_real

__all__ = ["Sites"]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")
_USELESS = 1e3  # a noise multiplier with which nothing of a thousand patients is seen
HOW = ("shares", "each", "strictest")


class Sites:
    """Hospitals that pool their patients, each with a ceiling of its own.

    Every site becomes an account of the ledger, ``cohort/site-NAME``, before anything is released: then its ceiling is
    a guarantee to its own patients, whatever the others spend. Groups of consent are sites too: ``"a/broad"`` and
    ``"a/narrow"`` are two groups of hospital a.

    Parameters
    ----------
    members : mapping of str to sequence of str
        The patients of each site. Names are lower case words, public.
    ceilings : mapping of str to float
        ε of each site, up to that of the ledger. Fixed by contract, never by what patients' data say.
    at_two_sites : {"refuse", "strictest"}, default="refuse"
        What to do with a patient registered at two sites. "refuse": an error that names the sites; `duplicates` says
        who, inside. "strictest": the patient belongs to the site with the lower ceiling, which keeps the promises of
        both.

    Attributes
    ----------
    ledger : PrivacyLedger or None
        After `open`.

    Raises
    ------
    ValueError
        If sites and ceilings do not have the same names.

    Notes
    -----
    A patient at two sites under two ids is found by nobody and pays √(μ_a² + μ_b²): look at `suspects` first.

    Examples
    --------
    >>> import skdpal
    >>> from skdpal.cohort import Sites
    >>> sites = Sites({"a": ["a1", "a2"], "b": ["b1", "b2"]}, ceilings={"a": 1.0, "b": 4.0})
    >>> ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(epsilon=4.0))
    >>> sites = sites.open(ledger)
    >>> ledger.accounts()
    ['cohort/pool', 'cohort/site-a', 'cohort/site-b']
    >>> {site: round(noise, 2) for site, noise in sites.noise_multipliers().items()}
    {'a': 3.73, 'b': 1.08}
    """

    def __init__(
        self,
        members: Mapping[str, Sequence[Any]],
        ceilings: Mapping[str, float],
        *,
        at_two_sites: str = "refuse",
    ) -> None:
        self.members = {_named(site): [str(one) for one in _listed(patients)] for site, patients in members.items()}
        if not self.members or set(ceilings) != set(self.members):
            raise ValueError(
                f"Expected ceilings for the sites {sorted(self.members)}. Found {sorted(ceilings)}. Give each site an ε."
            )
        self.ceilings = {
            site: check_real(f"the ceiling of {site!r}", ceilings[site], above=0.0) for site in self.members
        }
        self.at_two_sites = check_one_of("at_two_sites", at_two_sites, ["refuse", "strictest"])
        self.ledger: PrivacyLedger | None = None

    # -- registers ---------------------------------------------------------------------------

    def duplicates(self) -> pd.DataFrame:
        """Who is registered at two sites, for the hospitals only: columns "patient" and "site"."""
        return registers.duplicates(self.members)

    def suspects(self) -> pd.DataFrame:
        """Ids that differ only in case, spaces, signs, leading zeros, or the sample part of a TCGA barcode.

        Returns
        -------
        DataFrame
            Columns "patient", "site" and "key", what they have in common. For the hospitals only. Two people may be so
            alike; rename one, or give both one id.
        """
        return registers.suspects(self.members)

    # -- accounts ----------------------------------------------------------------------------

    def open(self, ledger: PrivacyLedger) -> Sites:
        """Make an account of each site, before anything is released; on a ledger that has them, check them.

        Parameters
        ----------
        ledger : PrivacyLedger
            Fresh, or one that these sites opened before. Its own ceiling is at least every site's.

        Returns
        -------
        Sites
            Itself.

        Raises
        ------
        ValueError
            If a patient is registered at two sites, a ceiling is above the ledger's, or something was released before.
        """
        members = self._settled()
        if max(self.ceilings.values()) > ledger.budget.epsilon:
            raise ValueError(
                f"Expected ceilings up to ε={ledger.budget.epsilon:g}, the ledger's. Found {self.ceilings}. "
                "Make the ledger with the highest."
            )
        missing = [site for site in members if self.account(site) not in ledger.accounts()]
        if missing and ledger.receipts():
            raise ValueError(
                "Expected a ledger without releases: a ceiling that is set after them guarantees nothing. "
                "Open the sites first, or make another ledger for other patients."
            )
        for site in missing:
            ledger.split(POOL, self.account(site), members[site], epsilon=self.ceilings[site])
        for site, patients in members.items():
            self._check_opened(ledger, site, patients)
        self.ledger = ledger
        return self

    def account(self, site: str) -> str:
        """The account of a site.

        Raises
        ------
        ValueError
            If there is no such site.
        """
        if site not in self.members:
            raise ValueError(f"Expected site to be one of {sorted(self.members)}. Found {site!r}.")
        return f"cohort/site-{site}"

    def within(self, site: str) -> Handle:
        """The ledger as a site sees it: whatever learns with it is paid by the site's patients alone."""
        return self._opened.within(self.account(site))

    def noise_multipliers(self, releases: int = 1) -> dict[str, float]:
        """The noise with which so many equal Gaussian releases use up what each site has left.

        Parameters
        ----------
        releases : int, default=1
            How many will be made, together.
        """
        steps = check_count("releases", releases, least=1)
        return {
            site: self._opened.headroom(lambda noise: events.gaussian(noise, steps=steps), self.account(site))
            for site in self.members
        }

    def shares(self, releases: int = 1) -> tuple[Shares, float]:
        """Who pays for one release of all sites, and its noise: a patient counts as much as their site can pay for.

        The noise is that of the richest site. A patient of a site whose own noise would be 1/C times as large is
        clipped to length C, and so pays for that.
        """
        noises = self._affordable(releases)
        least = min(noises.values())
        return self._opened.among({self.account(site): least / noise for site, noise in noises.items()}), least

    # -- learning ----------------------------------------------------------------------------

    def fit(
        self,
        model: Any,
        X: Any,
        y: Any,
        *,
        record_ids: Any = None,
        how: str = "shares",
        releases: int = 1,
        expected_records: Mapping[str, float] | None = None,
    ) -> Any:
        """A model of all sites that spends what each has left, or one of several equal parts of it.

        Parameters
        ----------
        model : DP estimator of Gaussian sums
            Such as `DPPrototypeClassifier`, with classes or a prior; its `noise_multiplier` and `ledger` are set here.
            A fitted one learns on.
        X, y : array-like
            Rows and labels of patients of these sites.
        record_ids : sequence, optional
            The patients.
        how : {"shares", "each", "strictest"}, default="shares"
            "shares": one release, in which a patient counts as much as their site pays for (see `shares`). "each": a
            release of each site with noise of its own, combined by precision. "strictest": one release in which all
            count alike; the lowest ceiling decides.
        releases : int, default=1
            How many such fits the ceilings are to last for, from now on.
        expected_records : mapping of str to float, optional
            The public number of patients of each site in X; after a hidden selection it must be given. Default:
            counted.

        Returns
        -------
        estimator
            A fitted copy of `model`.

        Notes
        -----
        Charged: each site's account, by its own price; "shares" in one transaction, all sites or none. The normaliser
        is the noisy weighted count and the public weighted number Σ C·n, never a realised weight.
        """
        check_one_of("how", how, HOW)
        sites, ids = self._sites_of(X, record_ids)
        numbers = self._numbers(sites, ids, expected_records)
        learner = clone(model) if not hasattr(model, "releases_") else copy.deepcopy(model)
        if how == "each":
            noises = self._affordable(releases)
            for site in self.members:  # all are affordable, or none is charged
                self.within(site).require(_event(learner, noises[site]), f"fit of {site!r}")
            for site in self.members:
                rows = np.flatnonzero(sites == site)
                self._learn(learner, self.within(site), noises[site], X, y, ids, rows, numbers[site])
            return learner
        payer, noise = self.shares(releases)
        if how == "strictest":
            payer, noise = self._opened.among(dict.fromkeys(payer.shares, 1.0)), noise / min(payer.shares.values())
        number = sum(payer.shares[self.account(site)] * numbers[site] for site in self.members)
        self._learn(learner, payer, noise, X, y, ids, np.arange(len(ids)), number)
        return learner

    # -- what may be said --------------------------------------------------------------------

    def certificate(self, site: str) -> dict[str, Any]:
        """What may be published about the guarantee to a site's patients, as a JSON-ready dict."""
        return self._opened.certificate(self.account(site))

    def page(self, site: str) -> str:
        """The certificate of a site in words."""
        return page_of(site, self.certificate(site))

    def table(self) -> pd.DataFrame:
        """A row for each site: its ceiling, and what it spent so far (an odometer)."""
        ledger = self._opened
        spent = {site: ledger.spent(self.account(site)) for site in self.members}
        return pd.DataFrame({"ceiling": self.ceilings, "spent": spent}).rename_axis("site")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "members": {site: [] for site in self.members}}  # ids of patients do not travel

    def __repr__(self) -> str:
        return f"Sites(ceilings={self.ceilings}, at_two_sites={self.at_two_sites!r})"

    # -- inside ------------------------------------------------------------------------------

    @property
    def _opened(self) -> PrivacyLedger:
        if self.ledger is None:
            raise ValueError("Expected sites that are open. Call open(ledger) before anything is released.")
        return self.ledger

    def _affordable(self, releases: int) -> dict[str, float]:
        """The noise of each site, none of which is as good as no release."""
        noises = self.noise_multipliers(releases)
        poor = sorted(site for site, noise in noises.items() if noise > _USELESS)
        if poor:
            raise ValueError(f"Expected sites that have something left. Found {poor} without. Leave them out.")
        return noises

    def _settled(self) -> dict[str, list[str]]:
        """Each patient at one site."""
        clash = registers.clashing(self.members)
        if clash and self.at_two_sites == "refuse":
            raise ValueError(
                f"Expected patients of one site each. Found the same at {', '.join(map(repr, clash))}. duplicates() says who, "
                'inside the hospital; correct the registers, or pass at_two_sites="strictest".'
            )
        taken: set[str] = set()
        settled: dict[str, list[str]] = {}
        for site in sorted(self.members, key=lambda site: self.ceilings[site]):
            settled[site] = [patient for patient in dict.fromkeys(self.members[site]) if patient not in taken]
            taken |= set(settled[site])
        return {site: settled[site] for site in self.members}

    def _check_opened(self, ledger: PrivacyLedger, site: str, patients: Sequence[str]) -> None:
        """The account is that of this site: its ceiling, and its patients or what was split from it."""
        account = self.account(site)
        found = ledger.certificate()["lower_ceilings"].get(account, ledger.budget.epsilon)
        if not math.isclose(found, self.ceilings[site], rel_tol=1e-6):
            raise ValueError(
                f"Expected the ceiling {found:g} of {account!r}. Found {self.ceilings[site]:g}. It never changes."
            )
        left = {leaf for leaf in ledger.accounts() if leaf == account or leaf.startswith(f"{account}-")}
        if not left.issuperset(ledger.accounts_of(patients)):
            raise ValueError(f"Expected the patients with whom {account!r} was opened. Pass the same ones.")

    def _sites_of(self, X: Any, record_ids: Any) -> tuple[np.ndarray, list[str]]:
        """The site of each row, and its patient."""
        ids = identify(X, record_ids)
        of = {patient: site for site, patients in self._settled().items() for patient in patients}
        if not set(ids) <= set(of):
            raise ValueError("Expected rows of patients of these sites only. Pass record_ids as in members.")
        return np.array([of[patient] for patient in ids], dtype=object), ids

    def _numbers(self, sites: np.ndarray, ids: Sequence[str], expected: Mapping[str, float] | None) -> dict[str, float]:
        """The public number of patients of each site."""
        if expected is None:
            if self._opened.hidden_rounds:
                raise ValueError(
                    "Expected expected_records, the public number of patients of each site: after a hidden selection the "
                    "true numbers are private. Pass expected_records={site: number}."
                )
            pairs = set(zip(sites, ids, strict=True))
            return {site: float(sum(one == site for one, _ in pairs)) for site in self.members}
        if set(expected) != set(self.members):
            raise ValueError(
                f"Expected expected_records of the sites {sorted(self.members)}. Found {sorted(expected)}."
            )
        return {
            site: check_real("expected_records", expected[site], above=0.0, below=1e9, closed=True)
            for site in self.members
        }

    def _learn(
        self, model: Any, payer: Handle, noise: float, X: Any, y: Any, ids: list[str], rows: np.ndarray, number: float
    ) -> None:
        """One release, at the expense of a payer; the model keeps nothing of it but what was released."""
        before = model.ledger
        model.set_params(ledger=payer, noise_multiplier=noise)
        chosen = X.iloc[rows] if hasattr(X, "iloc") else np.asarray(X)[rows]
        try:
            patients = {"record_ids": [ids[row] for row in rows], "expected_records": number}
            model.partial_fit(chosen, np.asarray(y)[rows], **patients)
        finally:
            model.set_params(ledger=before)


def _named(site: Any) -> str:
    if not isinstance(site, str) or not _NAME.fullmatch(site):
        raise ValueError(
            f"Expected names of sites like 'a' or 'a/broad' (lower case, digits, '.', '_', '-'). Found {site!r}."
        )
    return site


def _listed(patients: Any) -> list[Any]:
    if isinstance(patients, str) or not isinstance(patients, Iterable):
        raise ValueError("Expected members to hold a list of patients for each site.")
    listed = list(patients)
    return identify(listed, listed)


def _event(model: Any, noise: float) -> events.Event:
    return clone(model).set_params(noise_multiplier=noise).privacy_event()
