"""The four-term loss, and how targets are read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nasedu import spaces
from nasedu.errors import BudgetError, ParameterError
from nasedu.tables import LookupTable
from nasedu.wzdnas import FourTermLoss, LossWeights, read_target


@pytest.fixture(scope="module")
def course():
    return LookupTable.build(spaces.create("yolo", num_classes=3), "macs")


def test_published_weights_are_the_published_loss_in_other_units():
    """alpha .005, gamma .01, omega .001, theta .002 on GFLOPs, log det, bottlenecks and ms."""
    space = spaces.create("yolo", template="p5", num_classes=20)
    tables = {"flops": LookupTable.build(space, "macs"), "depth": LookupTable.build(space, "depth")}
    loss = FourTermLoss(tables, 35e9)
    arch = space.sample(np.random.default_rng(0))
    costs = torch.tensor([tables["flops"](arch), tables["depth"](arch)])
    gflops = 2e-9 * tables["flops"](arch)
    assert float(loss.value(costs)) == pytest.approx(0.005 * (gflops - 70) ** 2 + 0.001 * float(costs[1]), rel=1e-3)


def test_gradient_of_the_loss_equals_autograd(course):
    loss = FourTermLoss({"zero_cost": course, "flops": course}, 5e7, LossWeights(zero_cost=0.3))
    costs = torch.tensor([[4e7, 6e7]], requires_grad=True)
    loss.value(costs).sum().backward()
    torch.testing.assert_close(loss.gradient(costs.detach()), costs.grad)
    assert costs.grad[0, 0] < 0 < costs.grad[0, 1]  # more score is better; too many FLOPs are worse


def test_flops_term_is_two_sided(course):
    loss = FourTermLoss({"flops": course}, 5e7)
    assert float(loss.value(torch.tensor([5e7]))) == 0 < float(loss.value(torch.tensor([4e7])))


def test_targets_are_read(course):
    space, (low, high) = course.space, course.bounds()
    assert read_target("hand", course, space) == course(space.hand_designed)
    assert read_target("25%", course, space) == pytest.approx(low + 0.25 * (high - low))
    assert read_target("0.1 GFLOPs", course, space) == pytest.approx(5e7)
    assert read_target("100MFLOPs", course, space) == pytest.approx(5e7)
    with pytest.raises(BudgetError, match=r"reachable range is 0\.\d+ to 0\.\d+ GFLOPs"):
        read_target("70 GFLOPs", course, space)
    for text in ("0.1", "lots", "1.2.3 GFLOPs", ""):
        with pytest.raises(ParameterError, match="write"):
            read_target(text, course, space)
