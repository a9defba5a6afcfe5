"""What a supernet accepts as a path, and what it says of the others: one clear sentence."""

from __future__ import annotations

import pytest
import torch

from nasedu import spaces
from nasedu.errors import ArchitectureError, ParameterError, UnknownName
from nasedu.spaces.base import Decision, check_path
from nasedu.supernet.mixed import Subset

ABC = Decision("edge", ("a", "b", "c"))
DECISIONS = [ABC, Decision("other", ("x", "y"))]
FINE = torch.tensor([0.2, 0.3, 0.5])


def refusal(path, decisions=DECISIONS) -> str:
    with pytest.raises(ArchitectureError) as error:
        check_path(path, decisions)
    text = str(error.value)
    assert "\n" not in text and len(text) < 200
    return text


@pytest.mark.parametrize(
    "path",
    [
        (0, 1),
        [2, torch.tensor([0.5, 0.5])],
        [FINE, 0],
        [FINE.clone().requires_grad_(), torch.tensor([1.0, 0.0])],
        [Subset((0, 2), torch.tensor([0.4, 0.6])), 1],
        [Subset((1,), torch.ones(1)), Subset((1,), torch.ones(1))],
        [FINE.double(), torch.tensor([1.0, 0.0], dtype=torch.bfloat16)],
        [torch.empty(3, device="meta"), 1],
    ],
)
def test_paths_of_every_kind_are_accepted(path):
    check_path(path, DECISIONS)


def test_a_wrong_length_is_told():
    assert refusal((0,)) == "the supernet needs a path with 2 entries, got 1"
    assert refusal((0, 0, 0)) == "the supernet needs a path with 2 entries, got 3"
    assert refusal(None) == "the supernet needs a path with 2 entries, got none"


@pytest.mark.parametrize("index", [3, -1])
def test_an_index_out_of_range_is_told(index):
    assert refusal((index, 0)) == f"edge has the choices 0 to 2, the path asks for {index}"
    assert refusal([Subset((0, index), torch.tensor([0.5, 0.5])), 0]).startswith("edge has the choices 0 to 2")


def test_wrong_shapes_and_kinds_are_told():
    told = "the path's entry for edge must be an index or 3 weights, got "
    assert refusal([torch.tensor([0.5, 0.5]), 0]) == told + "Tensor of shape (2,)"
    assert refusal([torch.tensor(1), 0]) == told + "Tensor of shape ()"
    assert refusal([FINE[None], 0]) == told + "Tensor of shape (1, 3)"
    assert refusal([[0.2, 0.3, 0.5], 0]).startswith(told)
    assert refusal(["a", 0]) == told + "'a'"
    assert refusal([1.0, 0]) == told + "1.0"
    assert "entry for edge" in refusal([Subset((0, 1, 2), torch.tensor([0.5, 0.5])), 0])
    assert "entry for edge" in refusal([Subset((0, 1), [0.5, 0.5]), 0])


@pytest.mark.parametrize(
    ("weights", "off"),
    [(2 * FINE, "1"), (torch.zeros(3), "1"), (FINE + 0.01, "0.03"), (FINE * torch.nan, "nan"), (FINE / 0, "inf")],
)
def test_weights_that_do_not_sum_to_1_are_told(weights, off):
    text = refusal([weights, torch.tensor([0.5, 0.5])])
    assert text == f"the weights of every decision of a path must sum to 1; one sum is off by {off}"
    assert refusal([0, torch.tensor([0.5, 0.6])]).endswith("off by 0.1")  # whichever decision it is
    assert "sum to 1" in refusal([Subset((0, 2), torch.tensor([0.4, 0.4])), 0])


def test_a_subset_names_different_choices():
    assert "different" in refusal([Subset((1, 1), torch.tensor([0.5, 0.5])), 0])
    assert refusal([Subset((), torch.ones(0)), 0])


@pytest.mark.parametrize("name", [name for name in spaces.names() if name != "yolo"])
def test_every_supernet_checks_its_paths(name):
    space = spaces.create(name, **{**spaces.COURSE, "depth": 0.25})
    supernet, x = space.supernet().eval(), torch.zeros(1, 3, 32, 32)
    zeros = [0] * len(space.choices)
    with torch.inference_mode():
        assert supernet(x, zeros).shape == (1, 10)
        for path in (None, zeros[1:], [*zeros[1:], 99], [torch.ones(space.choices[0]), *zeros[1:]]):
            with pytest.raises(ArchitectureError):
                supernet(x, path)
        with pytest.raises(ArchitectureError):
            supernet(x, [Subset((99,), torch.ones(1)), *zeros[1:]])


@pytest.mark.parametrize("name", [name for name in spaces.names() if name != "yolo"])
def test_texts_of_another_space_are_refused(name):
    space = spaces.create(name, **spaces.COURSE)
    others = [spaces.create(other, **spaces.COURSE) for other in spaces.names() if other not in (name, "yolo")]
    ours = {(d.name, d.choices[0]) for d in space.decisions}
    for other in others:
        text = other.format([0] * len(other.choices))
        if {(d.name, d.choices[0]) for d in other.decisions} == ours:
            continue  # the same blocks at the same places: nothing in the text tells them apart
        with pytest.raises((ArchitectureError, UnknownName)) as refused:
            space.parse(text)
        assert "\n" not in str(refused.value)
    with pytest.raises((ArchitectureError, UnknownName)):
        space.parse("- just\n- a list\n")


def test_unknown_spaces_options_and_choices():
    with pytest.raises(UnknownName, match="unknown search space 'nasbench202': did you mean 'nasbench201'"):
        spaces.create("nasbench202")
    with pytest.raises(UnknownName, match="unknown option of nasbench201 'redution': did you mean 'reduction'"):
        spaces.create("nasbench201", redution="pool")
    with pytest.raises(UnknownName, match="option of single_path 'reduction'"):
        spaces.create("single_path", reduction="pool")
    with pytest.raises(ParameterError, match="width"):
        spaces.create("nasbench201", width=-1)
    space = spaces.create("spos", **spaces.COURSE)
    with pytest.raises(UnknownName, match="choice of stage1_1 'shuffle4'"):
        space.parse(space.format([0] * 10).replace("shuffle3", "shuffle4", 1))
    with pytest.raises(ArchitectureError, match="got 4"):
        space.validate([4] + [0] * 9)
