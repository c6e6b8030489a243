"""The worksheet as buttons in a notebook, one patient at a time. For the screen of the hospital."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import pandas as pd

from skdpal.learner.study.submission import Form
from skdpal.learner.study.worksheet import DIAGNOSIS, NO_DIAGNOSIS, PATIENT, Worksheet

__all__ = ["LabellingWidget"]


class LabellingWidget:
    """Shows the columns asked for, takes a class by one click, and hands in by "save".

    Parameters
    ----------
    worksheet : Worksheet
    form : Form
    save : callable
        Takes a table with the columns "patient" and that of the diagnosis, and stores it.
    reader : str, optional
        Whose column is filled in. Default: "diagnosis".

    Attributes
    ----------
    buttons : dict
        The buttons by their words: every class, "no diagnosis", "back", "skip" and "save".
    view : ipywidgets.VBox
        What is displayed.
    """

    def __init__(
        self, worksheet: Worksheet, form: Form, save: Callable[[pd.DataFrame], Any], reader: str | None = None
    ) -> None:
        widgets = _ipywidgets()
        if reader is not None and reader not in form.readers:
            raise ValueError(
                f"Expected reader to be one of {form.readers}. Found {reader!r}. See readers= of the study."
            )
        self._column = reader or DIAGNOSIS
        self._save = save
        hidden = [name for name in form.columns if name != self._column]  # readers do not see each other's answers
        self._cases = worksheet.frame.drop(columns=hidden).to_dict("records")
        self._at = self._first_open()
        self._said = ""
        self.buttons = {word: widgets.Button(description=word, tooltip=word) for word in form.words}
        self.buttons |= {word: widgets.Button(description=word) for word in ("back", "skip", "save")}
        self.buttons[NO_DIAGNOSIS].button_style, self.buttons["save"].button_style = "warning", "primary"
        for word in form.words:
            self.buttons[word].on_click(lambda _, word=word: self._choose(word))
        self.buttons["back"].on_click(lambda _: self._go(-1))
        self.buttons["skip"].on_click(lambda _: self._go(1))
        self.buttons["save"].on_click(lambda _: self._hand_in())
        self._case = widgets.HTML()
        classes = widgets.HBox([self.buttons[word] for word in form.words], layout={"flex_flow": "row wrap"})
        moves = widgets.HBox([self.buttons[word] for word in ("back", "skip", "save")])
        self.view = widgets.VBox([self._case, classes, moves])
        self._show()

    def _repr_mimebundle_(self, **named: Any) -> Any:
        return self.view._repr_mimebundle_(**named)

    def _first_open(self) -> int:
        return next((at for at, case in enumerate(self._cases) if not case[self._column]), 0)

    def _choose(self, word: str) -> None:
        if self._cases:
            self._cases[self._at][self._column] = word
        self._go(1)

    def _go(self, by: int) -> None:
        self._at = min(max(self._at + by, 0), max(len(self._cases) - 1, 0))
        self._said = ""
        self._show()

    def _hand_in(self) -> None:
        filled = [case for case in self._cases if case[self._column]]
        try:
            self._save(pd.DataFrame(filled, columns=[PATIENT, self._column]))
        except (ValueError, RuntimeError, OSError) as error:
            self._said = f"not saved: {error}"
        else:
            self._said = "saved"
        self._show()

    def _show(self) -> None:
        """The current case; whatever a table may hold is text here, never markup."""
        if not self._cases:
            self._case.value = f"<p>Nobody to label in this step. Press save.</p><p>{html.escape(self._said)}</p>"
            return
        case = self._cases[self._at]
        rows = "".join(
            f"<tr><th style='text-align:left;padding-right:1em'>{html.escape(name)}</th><td>{html.escape(value or '–')}</td></tr>"
            for name, value in case.items()
        )
        self._case.value = (
            f"<p>{self._at + 1} of {len(self._cases)}</p><table>{rows}</table>"
            f"<p style='white-space:pre-wrap'>{html.escape(self._said)}</p>"
        )


def _ipywidgets() -> Any:
    try:
        import ipywidgets
    except ImportError:
        raise ImportError(
            "Labelling in a notebook needs ipywidgets. Install skdpal[notebook], or fill in the worksheet of next_batch()."
        ) from None
    return ipywidgets
