"""What is no name, text or option of a space is refused in one sentence."""

from __future__ import annotations

import math

import pytest

from nasedu import spaces
from nasedu.errors import ArchitectureError, ParameterError, UnknownName

KINDS = [spaces.create(name) for name in ("fbnet:course", "nasbench201", "plainnet")]


@pytest.mark.parametrize("name", [None, 5, ["fbnet"], "fbnt", "x" * 1000])
def test_a_space_that_there_is_not_is_told(name):
    with pytest.raises(UnknownName, match=r"unknown search space .*valid: proxylessnas, fbnet") as caught:
        spaces.create(name)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("space", KINDS, ids=lambda space: space.name)
@pytest.mark.parametrize("text", [None, 5, ["a"], "[" * 10_000])
def test_what_is_no_text_of_an_architecture_is_told(space, text):
    with pytest.raises((ArchitectureError, UnknownName)) as caught:
        space.parse(text)
    assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)


@pytest.mark.parametrize("names", [None, "k3e6", ["k3e6"]])
def test_choices_are_a_list_of_names(names):
    with pytest.raises(ArchitectureError, match="needs 12 names of choices, got"):
        KINDS[0].choose(names)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("fbnet", {"num_classes": "10"}),
        ("fbnet", {"num_classes": 0}),
        ("fbnet", {"input_size": 32.5}),
        ("fbnet", {"width": "1"}),
        ("fbnet", {"width": math.nan}),
        ("fbnet", {"depth": 9}),
        ("yolo", {"num_classes": "10"}),
        ("yolo", {"image_size": "416"}),
        ("yolo", {"image_size": 0}),
    ],
)
def test_options_of_the_wrong_kind_are_refused(name, option):
    (what,) = option
    with pytest.raises(ParameterError, match=f"{what} must be a (whole )?number .* got"):
        spaces.create(name, **option)
