import pytest

from nasedu.course.checks import exercise, require


@exercise("1.1", "double")
def check_double(double):
    require(double(2) == 4, "double(2) must be 4")


def stub(n):
    raise NotImplementedError


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
