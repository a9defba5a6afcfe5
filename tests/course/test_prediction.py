"""A prediction: asked before, answered after, kept in the results, and never in the way of a run without a reader."""

import pytest

from nasedu import course
from nasedu.course import record
from nasedu.course.prediction import Question
from nasedu.errors import ParameterError, UnknownName

ASKED = ("Which is larger?", ["one", "two"])


@pytest.fixture(autouse=True)
def _fresh():
    record.clear()


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (None, "You made no prediction. What came: **two**."),
        ("one", "You predicted **one**. What came: **two**."),
        ("two", "You predicted **two**, and so it came."),
    ],
)
def test_what_was_said_and_what_came(said, sentence):
    guess = course.predict(*ASKED)
    guess.say(said)
    assert repr(guess.came("two")) == sentence
    assert guess.came("two", "It is.")._repr_markdown_() == f"{sentence} It is."
    assert {ASKED[0]: {"said": said, "came": "two"}} == record.PREDICTIONS


def test_a_prediction_outlives_a_second_run_of_its_cell():
    course.predict(*ASKED).say("one")
    assert course.predict(*ASKED).asked["said"] == "one"
    assert course.predict(ASKED[0], ["other", "words"]).asked["said"] is None


def test_what_cannot_come_is_refused():
    guess = course.predict(*ASKED)
    for mistake in (guess.came, guess.say):
        with pytest.raises(UnknownName, match="did you mean 'two'"):
            mistake("twoo")
    for options in ([], ["one"], ["one", "one"]):
        with pytest.raises(ParameterError, match="two or more options"):
            course.predict("Which?", options)


def test_the_question_is_shown_as_text_and_its_buttons_are_named():
    guess = course.predict("Is 1 < 2?", ["yes", "no"])
    shown = Question(guess)
    assert "1 &lt; 2" in shown.children[1].value
    assert shown.choice.value is None
    assert shown.choice.description
    shown.choice.value = "no"
    assert guess.asked["said"] == "no"
