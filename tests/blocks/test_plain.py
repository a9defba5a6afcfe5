"""Zen-NAS's layers: modules and counts from one description, shortcuts that can be switched off."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from nasedu.blocks import Conv, Residual, check_parts, plain_cost, plain_modules
from nasedu.errors import ParameterError, UnknownName
from nasedu.hardware import count

PARTS = [
    [Conv(3, 8, 3, 2)],
    [Conv(3, 8, 1, bias=True, bn=False, act=None)],
    [Conv(4, 8, 5, 2, groups=4, squeeze=True, act="silu")],
    [Conv(4, 12, 3, act="prelu", bn=False)],
    [Residual((Conv(8, 8, 3), Conv(8, 8, 3, act=None)))],
    [Residual((Conv(8, 8, 3), Conv(8, 8, 3, act=None)), projection=True)],
    [Conv(3, 8, 7, 2), Residual((Conv(8, 20, squeeze=True), Conv(20, 12, 3, 2, act=None))), Conv(12, 5)],
]


@pytest.mark.parametrize("size", [7, 8, 32])
@pytest.mark.parametrize("squeeze_excite", [False, True])
@pytest.mark.parametrize("parts", PARTS)
def test_the_count_is_that_of_the_modules(parts, squeeze_excite, size):
    module = plain_modules(parts, squeeze_excite)
    c_in = next(module.parameters()).shape[1] * (parts[0].groups if isinstance(parts[0], Conv) else 1)
    cost, after = plain_cost(parts, size, squeeze_excite)
    assert cost == count(module, (c_in, size, size))
    assert cost.params == sum(p.numel() for p in module.parameters())
    assert module.eval()(torch.zeros(1, c_in, size, size)).shape[2:] == (after, after)


def test_a_shortcut_is_added_unless_it_is_switched_off():
    torch.manual_seed(0)
    (unit,) = model = plain_modules([Residual((Conv(8, 8, 3), Conv(8, 8, 3, act=None)))])
    x = torch.randn(4, 8, 6, 6)
    assert unit.residual is True
    assert torch.equal(model(x), torch.relu(unit.body(x) + x))
    other = copy.deepcopy(model)
    for part in other.modules():
        if hasattr(part, "residual"):
            part.residual = False
    assert torch.equal(other(x), torch.relu(other[0].body(x)))
    assert model[0].residual, "the copy is another one"
    strided = plain_modules([Residual((Conv(8, 16, 3, 2, act=None),))])[0]
    assert torch.equal(strided(x), torch.relu(strided.body(x) + strided.shortcut(x)))
    assert strided.shortcut.conv.bias is not None and strided.shortcut.conv.stride == (2, 2)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([Conv(4, 8)], "takes 4 channels where 3 arrive"),
        ([Conv(3, 4)], "must end at 8 channels"),
        ([Conv(3, 8, 3, 2)], "stride 2"),
        ([Conv(3, 8, 2)], "kernels are odd"),
        ([Conv(3, 8, groups=2)], "groups do not divide"),
        ([nn.ReLU()], "made of Conv and Residual"),
        ([Residual((Conv(3, 4), Conv(8, 8)))], "takes 8 channels where 4 arrive"),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts, words):
    with pytest.raises(ParameterError, match=words):
        check_parts(parts, 3, 8, 1)


def test_an_unknown_activation_is_refused():
    with pytest.raises(UnknownName, match="did you mean 'relu'"):
        check_parts([Conv(3, 8, act="rellu")], 3, 8, 1)
