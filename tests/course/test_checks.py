"""Every checker accepts right answers, rejects the blank, and names what is wrong with plausible wrong answers."""

import importlib
import pkgutil
import re
import runpy
from functools import partial
from pathlib import Path

import pytest
import torch

from nasedu.course import checks, places
from nasedu.course.checks import ask, close, exercise, expect, require
from nasedu.course.checks.proxies import check_identify, check_snip
from nasedu.course.checks.start import check_anytime

FILES = [runpy.run_path(str(path)) for path in sorted(Path(__file__).with_name("answers").glob("*.py"))]
ANSWERS = {check: answers for file in FILES for check, answers in file["ANSWERS"].items()}
SEEDS = {check: file.get("SEEDS", range(1)) for file in FILES for check in file["ANSWERS"]}
CASES = [(check, *case) for check, answers in ANSWERS.items() for case in answers]


@pytest.mark.parametrize(("check", "answer", "sentence"), CASES)
def test_right_answers_pass_and_wrong_answers_are_told_why(check, answer, sentence):
    for seed in SEEDS[check]:
        torch.manual_seed(seed)
        verdict = check(answer)
        assert verdict.passed is (sentence is None), verdict
        assert (sentence or "correct") in verdict.message


def test_every_checker_is_tried_with_a_right_and_several_wrong_answers():
    names = [module.name for module in pkgutil.iter_modules(checks.__path__, f"{checks.__name__}.")]
    rooms = [vars(importlib.import_module(name)) for name in names]
    found = [value for room in rooms for name, value in room.items() if name.startswith("check_")]
    assert set(found) == set(ANSWERS)
    for check, answers in ANSWERS.items():
        sentences = [sentence for _, sentence in answers]
        assert None in sentences, f"{check.__name__} has no right answer"
        assert len(set(sentences) - {None}) >= 2, f"{check.__name__} has fewer than two kinds of wrong answers"


def stub(*args, **kwargs):
    raise NotImplementedError


@pytest.mark.parametrize("blank", [stub, ...])
def test_a_blank_is_not_an_attempt_and_every_exercise_has_a_number_of_its_own(blank):
    verdicts = [check(blank) for check in ANSWERS]
    assert all(verdict.passed is None for verdict in verdicts)
    assert len({verdict.exercise.split(",")[0] for verdict in verdicts}) == len(verdicts)


def test_an_exercise_is_called_the_same_by_its_notebook_and_its_checker():
    sources = "".join(path.read_text() for path in places.ROOT.glob("notebooks/source/*.py"))
    headings = {f"Exercise {number}, {title}" for number, title in re.findall(r"Exercise ([\d.]+): (.+)", sources)}
    assert headings == {check(...).exercise for check in ANSWERS}


def test_a_checker_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    for check in (check_snip, check_identify):
        assert check(ANSWERS[check][0][0])
    assert torch.equal(before, torch.get_rng_state())


@exercise("1.1", "double")
def check_double(double):
    require(double(2) == 4, "double(2) must be 4")


@pytest.mark.parametrize(
    ("answer", "passed", "text"),
    [
        (lambda n: 2 * n, True, "✓ Exercise 1.1, double: correct"),
        (lambda n: n, False, "✗ Exercise 1.1, double: double(2) must be 4"),
        (lambda n: n.x, False, "✗ Exercise 1.1, double: your answer raised AttributeError"),
        (stub, None, "○ Exercise 1.1, double: not attempted yet"),
        (..., None, "○ Exercise 1.1, double: not attempted yet"),
    ],
)
def test_a_checker_tells_what_it_found(answer, passed, text):
    verdict = check_double(answer)
    assert verdict.passed is passed
    assert bool(verdict) is (passed is True)
    assert repr(verdict).startswith(text)


def test_the_page_shows_text_not_markup():
    @exercise("1.2", "compare")
    def check(answer):
        require(False, "1 < 2")

    assert "1 &lt; 2" in check(stub)._repr_html_()


CELL = """\
def helper(n):
    return [1, 2][n + 5]


def double(n):
    m = helper(n)
    return m
"""


def test_an_answer_that_crashes_is_shown_the_line_of_its_cell(tmp_path):
    cell = tmp_path / "cell.py"
    cell.write_text(CELL)
    double = runpy.run_path(str(cell))["double"]
    raised = "your answer raised IndexError: list index out of range"
    assert check_double(double).message == f"{raised}, in line 2: return [1, 2][n + 5]"
    unseen = {}
    exec(compile(CELL, "<cell>", "exec"), unseen)
    assert check_double(unseen["double"]).message == f"{raised}, in line 2"


def test_what_has_no_lines_shows_none():
    assert check_double(partial(int, "x")).message.startswith("your answer raised ValueError")
    assert "in line" not in check_double(partial(int, "x")).message


def test_only_what_the_answer_raised_is_laid_to_it():
    message = check_anytime(lambda scores: max(scores)).message
    assert message == "what your answer returned cannot be checked: TypeError: 'float' object is not iterable"
    assert check_anytime(lambda scores: (score / 0 for score in scores)).message.startswith("your answer raised Zero")
    assert check_anytime(lambda: [1.0]).message.startswith("your answer raised TypeError")


def nothing(*args, **kwargs):
    """What an answer is whose `return` was forgotten."""


@pytest.mark.parametrize("check", ANSWERS, ids=lambda check: check.__name__)
def test_an_answer_that_returns_nothing_is_told_so(check):
    verdict = check(nothing)
    assert verdict.passed is False
    assert verdict.message == "your answer returned nothing: is a `return` missing?"


def test_close_compares_shapes_and_values_and_whole_numbers_exactly():
    assert close(5.00001, 5.0)
    assert close([1, 2], torch.tensor([1.0, 2.0]))
    assert not close(5.01, 5.0)
    assert not close(torch.ones(1), torch.ones(()))
    assert not close(float("nan"), 1.0)
    assert close(5**40, 5**40)
    assert not close(5**40 + 1, 5**40)
    assert not close(float(5**40), 5**40)
    assert not close([9], 9)


def test_a_known_mistake_is_named_before_the_general_sentence():
    @exercise("1.4", "a number")
    def check(answer):
        expect(answer(), 2.0, "it must be 2", [(4.0, "not its square")])

    assert check(lambda: torch.tensor(2.0))
    assert check(lambda: 4.0).message == "not its square"
    assert check(lambda: 5).message == "it must be 2 (got 5)"
    assert check(lambda: [1.0, 2.0]).message == "the answer must be one number, got list"


@pytest.mark.parametrize("handed", [[1, 2], torch.ones(2), torch.ones(2).numpy(), torch.nn.Linear(2, 2)])
def test_an_answer_that_changes_its_argument_is_told_so(handed):
    @exercise("1.5", "look, do not touch")
    def check(answer):
        ask(answer, handed)

    def write(argument):
        weights = argument.weight.data if isinstance(argument, torch.nn.Module) else argument
        weights[0] = weights[0] * 2
        return argument

    assert check(lambda argument: argument)
    assert check(write).message == "what was handed in must stay as it was"
