"""Several readers: what this patient's own votes say, given how often each reader errs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skdpal.cohort.experts.tables import fractions_of, patients_of
from skdpal.estimators.transition import Transition
from skdpal.privacy.validation import check_real

__all__ = ["Panel", "Patterns"]

Array = NDArray[np.float64]
Codes = NDArray[np.intp]
NOT_READ = -1
_MOST_PATTERNS = 200_000


@dataclass(frozen=True, eq=False)
class Patterns:
    """All ways in which the readers of a panel may vote on one patient.

    Attributes
    ----------
    codes : ndarray of int of shape (n_patterns, n_readers)
        Positions of labels among each reader's; -1 where the reader did not read.
    chances : ndarray of shape (n_patterns, n_classes)
        Of each pattern, for each true class; columns sum to 1.
    """

    codes: Codes
    chances: Array


class Panel:
    """Several readers with public error rates, who look at a patient independently of each other, given the class.

    Parameters
    ----------
    readers : mapping of str to Reader, Transition or DataFrame; or sequence of Reader
        By name. Of each the chances of every label it may give, for every true class: PUBLIC, from the literature or
        from other patients, or released with noise (`release_votes`). A DataFrame has the true classes down and labels
        across.
    class_prior : mapping or sequence, optional
        PUBLIC fractions of the classes. Default: uniform. Fractions counted in the cohort are not public.

    Attributes
    ----------
    readers : dict of str to Transition
    classes : ndarray of shape (n_classes,)
        True classes, sorted.
    class_prior : ndarray of shape (n_classes,)

    Raises
    ------
    ValueError
        If readers tell different classes.

    Notes
    -----
    Charged: nothing. The posterior of a patient depends on the own votes and on public numbers, so that labels made of
    it stay inside like any label. One patient's votes move one label. Error rates fitted to the votes of the cohort
    without noise (as in Dawid and Skene 1979) would move other patients' labels too: `release_votes` pays instead.

    If labels get noise of their own, give it once for each patient, after the panel:
    ``panel.transition() @ privacy.transition``. Noise on each of R votes costs R times ε.

    Readers are people too. Whoever sees the error rates of a reader learns about that reader; no ε here protects them.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from skdpal.cohort.experts import Panel
    >>> histology = ["favourable", "unfavourable"]
    >>> local = pd.DataFrame([[0.98, 0.02], [0.28, 0.72]], histology, histology)
    >>> central = pd.DataFrame([[0.99, 0.01], [0.05, 0.95]], histology, histology)
    >>> panel = Panel({"local": local, "central": central}, class_prior=[0.9, 0.1])
    >>> votes = pd.DataFrame({"local": ["favourable", "unfavourable"], "central": [None, "favourable"]}, index=["p1", "p2"])
    >>> panel.posterior(votes).round(3)
        favourable  unfavourable
    p1       0.969         0.031
    p2       0.832         0.168
    >>> panel.labels(votes, threshold=0.9)
    p1    favourable
    p2         defer
    dtype: object
    >>> panel.transition(read={"central": 0.2}).frame.round(3)
                  favourable  unfavourable
    favourable         0.982         0.018
    unfavourable       0.234         0.766
    """

    def __init__(self, readers: Any, class_prior: Any = None) -> None:
        self.readers = _transitions(readers)
        first = next(iter(self.readers.values()))
        for name, reader in self.readers.items():
            if not np.array_equal(reader.classes, first.classes):
                raise ValueError(
                    f"Expected all readers to tell the same classes, {first.classes.tolist()}. Found "
                    f"{reader.classes.tolist()} of {name!r}. A label that is no class, such as 'defer', goes across."
                )
        self.classes = first.classes
        self.class_prior = fractions_of("class_prior", class_prior, self.classes.tolist())

    @property
    def names(self) -> list[str]:
        """The readers, in order."""
        return list(self.readers)

    def posterior(self, votes: Any, record_ids: Any = None) -> pd.DataFrame:
        """Class probabilities of each patient from the own votes; hospital side.

        Parameters
        ----------
        votes : DataFrame of shape (n_patients, n_readers)
            Labels; columns are readers, the index names patients. Missing (None, NaN): not read by this reader.
        record_ids : sequence of length n_patients, optional
            The patients. Default: the index.

        Returns
        -------
        DataFrame of shape (n_patients, n_classes)
            A patient whom nobody has read has the class prior.

        Raises
        ------
        ValueError
            If a reader is not of the panel, or a label not of that reader.
        """
        codes = self.codes(votes, record_ids)
        return pd.DataFrame(self.of_codes(codes), index=votes.index, columns=self.classes)

    def labels(
        self, votes: Any, record_ids: Any = None, *, threshold: float | None = None, defer: Any = "defer"
    ) -> pd.Series:
        """The likeliest class of each patient; hospital side.

        Parameters
        ----------
        votes, record_ids : DataFrame and sequence
            As in `posterior`.
        threshold : float, optional
            PUBLIC. Below this probability of the likeliest class the label is `defer`.
        defer : label, default="defer"
            Of the type of the classes.

        Returns
        -------
        Series of length n_patients
            Missing for a patient whom nobody has read. Of equally likely classes, the first in order.
        """
        codes = self.codes(votes, record_ids)
        labels = pd.Series(self.decided(codes, threshold, defer), index=votes.index)
        return labels.where((codes != NOT_READ).any(axis=1))

    def transition(
        self, read: Mapping[str, float] | None = None, *, threshold: float | None = None, defer: Any = "defer"
    ) -> Transition:
        """Exact chances of each label of `labels`, for each true class, of a patient whom anybody has read.

        Parameters
        ----------
        read : mapping of str to float, optional
            PUBLIC chance of being read by each reader, by a protocol that looks at no patient. Readers who
            are left out read everybody. Where who is read follows the votes, see `SecondOpinion.transition`.
        threshold, defer : optional
            As in `labels`.

        Returns
        -------
        Transition
            For ``DPPrototypeClassifier(transition=...)``.

        Raises
        ------
        ValueError
            If there are too many patterns of votes to enumerate.
        """
        patterns = self.patterns(read)
        seen = (patterns.codes != NOT_READ).any(axis=1)
        if not seen.any():
            raise ValueError(f"Expected read to let somebody read. Found {dict(read or {})!r}. Raise a chance above 0.")
        decided = self.decided(patterns.codes[seen], threshold, defer)
        observed = [*self.classes.tolist(), *([] if threshold is None else [defer])]
        return transition_of(self.classes, observed, decided, patterns.chances[seen])

    def patterns(self, read: Mapping[str, float] | None = None) -> Patterns:
        """All patterns of votes under a public design; see `transition`.

        Raises
        ------
        ValueError
            If there are too many patterns to be listed.
        """
        chances = self._read(read)
        options = [
            [*range(len(reader.observed)), *([NOT_READ] if share < 1 else [])] if share > 0 else [NOT_READ]
            for share, reader in zip(chances, self.readers.values(), strict=True)
        ]
        number = int(np.prod([float(len(labels)) for labels in options]))
        if number > _MOST_PATTERNS:
            raise ValueError(
                f"Expected at most {_MOST_PATTERNS} patterns of votes. Found {number}. Take fewer readers into one panel, or "
                "merge labels."
            )
        codes = np.array(list(product(*options)), dtype=np.intp)
        result = np.ones((len(codes), len(self.classes)))
        for column, share, reader in zip(codes.T, chances, self.readers.values(), strict=True):
            votes = share * reader.matrix.T[column]  # the row of -1 is replaced
            result *= np.where((column == NOT_READ)[:, None], 1 - share, votes)
        return Patterns(codes, result)

    def codes(self, votes: Any, record_ids: Any = None) -> Codes:
        """Votes as positions among each reader's labels, -1 where not read; shape (n_patients, n_readers).

        Raises
        ------
        TypeError
            If votes are no DataFrame.
        ValueError
            If a column is no reader of the panel, or comes twice.
        """
        if not isinstance(votes, pd.DataFrame):
            raise TypeError(
                f"Expected votes to be a DataFrame with one column for each reader. Found {type(votes).__name__}. "
                "Pass pandas.DataFrame(votes, index=patients, columns=readers)."
            )
        unknown = [name for name in votes.columns if name not in self.readers]
        if unknown or votes.columns.has_duplicates:
            raise ValueError(
                f"Expected columns of votes to be different readers of {self.names}. Found {list(votes.columns)}. "
                "Give the panel a confusion matrix for each reader, or drop the column."
            )
        patients_of(votes, record_ids)
        codes = np.full((len(votes), len(self.readers)), NOT_READ, dtype=np.intp)
        for at, (name, reader) in enumerate(self.readers.items()):
            if name in votes.columns:
                codes[:, at] = _coded(name, votes[name], reader.observed.tolist())
        return codes

    def of_codes(self, codes: Codes, prior: Array | None = None) -> Array:
        """Class probabilities of coded votes, each row by itself; `prior` may have a row for each."""
        likely = np.array(
            np.broadcast_to(self.class_prior if prior is None else prior, (len(codes), len(self.classes)))
        )
        before = likely.copy()
        for column, reader in zip(codes.T, self.readers.values(), strict=True):
            likely *= np.where((column == NOT_READ)[:, None], 1.0, reader.matrix.T[column])
        total = likely.sum(axis=1, keepdims=True)
        # votes that the matrices call impossible say nothing, and raise no error that would tell of them
        return np.divide(likely, total, out=before, where=total > 0)

    def decide(self, codes: Codes) -> Codes:
        """Position of the likeliest class of coded votes."""
        return np.argmax(self.of_codes(codes), axis=1)

    def __repr__(self) -> str:
        return f"<Panel: {', '.join(self.readers)}; {len(self.classes)} classes>"

    # -- inside ------------------------------------------------------------------------------

    def decided(self, codes: Codes, threshold: float | None, defer: Any) -> NDArray[Any]:
        """The label of each row, as if somebody had read it.

        Raises
        ------
        ValueError
            If `defer` is one of the classes, or of another type.
        """
        found = self.of_codes(codes)
        labels = self.classes[np.argmax(found, axis=1)]
        if threshold is None:
            return labels
        check_real("threshold", threshold, above=0.0, below=1.0)
        if isinstance(defer, str) is not (self.classes.dtype.kind == "U") or defer in self.classes.tolist():
            raise ValueError(
                f"Expected defer to be a label of the type of the classes {self.classes.tolist()}, and none of them. Found "
                f"{defer!r}. Pass defer=, such as 'defer' or -1."
            )
        return np.where(found.max(axis=1) < threshold, np.array([defer]), labels)

    def _read(self, read: Mapping[str, float] | None) -> list[float]:
        """The chance of being read, by reader."""
        given = dict(read or {})
        if not set(given) <= set(self.readers):
            raise ValueError(
                f"Expected read to name readers of {self.names}. Found {list(given)}. Correct the name, or add the reader."
            )
        return [
            check_real(f"read[{name!r}]", given.get(name, 1.0), above=0.0, below=1.0, closed=True)
            for name in self.readers
        ]


def transition_of(classes: Any, observed: Sequence[Any], decided: NDArray[Any], chances: Array) -> Transition:
    """The matrix of a rule that gives each pattern a label."""
    table = np.stack([chances[decided == label].sum(axis=0) for label in observed], axis=1)
    return Transition(table / table.sum(axis=1, keepdims=True), classes, observed)


def _transitions(readers: Any) -> dict[str, Transition]:
    """The error rates of each reader, by name."""
    if not isinstance(readers, Mapping):
        listed = [] if isinstance(readers, str) or not np.iterable(readers) else list(readers)
        if not all(hasattr(reader, "name") for reader in listed):
            listed = []
        if len({reader.name for reader in listed}) < len(listed):
            raise ValueError(
                f"Expected readers with different names. Found {[reader.name for reader in listed]}. One reader is one column."
            )
        readers = {reader.name: reader for reader in listed}
    if not readers:
        raise ValueError("Expected readers to be a mapping of names to readers, at least one. Pass {'local': reader}.")
    return {name: _transition(name, reader) for name, reader in readers.items()}


def _transition(name: Any, reader: Any) -> Transition:
    found = getattr(reader, "transition", reader)
    if isinstance(found, pd.DataFrame):
        return Transition(found)
    if not isinstance(found, Transition):
        raise TypeError(
            f"Expected reader {name!r} to be a Reader, a Transition, or a DataFrame with true classes down and labels across. "
            f"Found {type(found).__name__}."
        )
    return found


def _coded(name: Any, column: pd.Series, observed: list[Any]) -> Codes:
    """Positions of one reader's labels; a message does not tell what else a label may be."""
    code_of = {label: at for at, label in enumerate(observed)}
    missing = column.isna().to_numpy()
    codes = [NOT_READ if gone else _position(label, code_of) for label, gone in zip(column, missing, strict=True)]
    if None in codes:
        raise ValueError(
            f"Expected every vote of reader {name!r} to be one of {observed}, or missing. Correct the vote, or give the "
            "label a column in the reader's matrix."
        )
    return np.array(codes, dtype=np.intp)


def _position(label: Any, code_of: Mapping[Any, int]) -> int | None:
    try:
        return code_of.get(label)
    except TypeError:
        return None
