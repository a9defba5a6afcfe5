"""Predict, then run: the reader commits to an outcome before it is computed."""

from __future__ import annotations

import html
from collections.abc import Sequence

import ipywidgets
from IPython.display import display

from nasedu.course.record import PREDICTIONS
from nasedu.errors import ParameterError, check_name
from nasedu.widgets.base import Controls


class Guess:
    """What the reader says about `question`; `came` tells what came.

    Args:
        question: in plain words.
        options: what may come.
    """

    def __init__(self, question: str, options: Sequence[str]):
        self.question, self.options = question, [*options]
        self.asked = PREDICTIONS.setdefault(question, {"said": None, "came": None})
        if self.asked["said"] not in self.options:
            self.asked["said"] = None

    def say(self, option: str | None) -> None:
        """Commit to an option, as the buttons do. Raises `UnknownName`."""
        self.asked["said"] = None if option is None else check_name("option", option, self.options)

    def came(self, outcome: str, because: str = "") -> Told:
        """What came, beside what was said; a notebook shows it.

        outcome: one of the options. Raises `UnknownName`.
        because: a sentence about it, as markdown.
        """
        self.asked["came"] = check_name("outcome", outcome, self.options)
        return Told(self.asked["said"], outcome, because)


class Told:
    """What was said and what came, in a sentence.

    Args:
        said: the prediction, or None.
        came: the outcome.
        because: a sentence about it.
    """

    def __init__(self, said: str | None, came: str, because: str):
        self.said, self.came, self.because = said, came, because

    def __repr__(self) -> str:
        if self.said is None:
            told = f"You made no prediction. What came: **{self.came}**."
        elif self.said == self.came:
            told = f"You predicted **{self.said}**, and so it came."
        else:
            told = f"You predicted **{self.said}**. What came: **{self.came}**."
        return f"{told} {self.because}".strip()

    def _repr_markdown_(self) -> str:
        return repr(self)


def predict(question: str, options: Sequence[str]) -> Guess:
    """Ask the reader for a prediction, with buttons; nothing waits for it, so a run without a reader passes through.

    question: in plain words.
    options: what may come, two or more. Raises `ParameterError` for fewer, or equal ones.
    A prediction that was made before is still there when the cell runs again.
    """
    if len(set(options)) < max(2, len(options)):
        raise ParameterError(f"a prediction needs two or more options that differ, got {list(options)!r:.100}")
    guess = Guess(question, options)
    display(Question(guess))
    return guess


class Question(ipywidgets.VBox):
    """A question and its options as buttons, one of which may be picked.

    Args:
        guess: what is asked, and where the answer goes.
    """

    def __init__(self, guess: Guess):
        asked = ipywidgets.HTML(f"<strong>Your prediction:</strong> {html.escape(guess.question)}")
        wide, said = ipywidgets.Layout(width="max-content"), guess.asked["said"]
        self.choice = ipywidgets.RadioButtons(options=guess.options, value=said, description="prediction", layout=wide)
        self.choice.style.description_width = "0"
        self.choice.observe(lambda change: guess.say(change["new"]), names="value")
        super().__init__([Controls(), asked, self.choice])
