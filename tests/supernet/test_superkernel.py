"""The superkernel: its slices and masks, its thresholds, and what the published semantics leak."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nasedu.blocks import MBConv
from nasedu.errors import ArchitectureError, ParameterError, UnknownName
from nasedu.supernet.mixed import Subset
from nasedu.supernet.superkernel import (
    CHOICES,
    KEEP,
    Indicators,
    SuperKernel,
    recursive_runtime,
    threshold_arch,
    threshold_path,
)

NAMES = (*CHOICES, "skip")
K3E3, K3E6, K5E3, K5E6, SKIP = range(5)
INNER = slice(1, 4)


def make(skip=True, **options):
    torch.manual_seed(0)
    block = SuperKernel(4, 4 if skip else 6, 1 if skip else 2, skip=skip, **options)
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.normal_()
            module.running_var.uniform_(0.5, 2)
    return block.eval()


def alone(block, index, **options):
    """The stand-alone block of a choice, with the superkernel's weights."""
    if NAMES[index] == "skip":
        return nn.Identity()
    kernel, expansion = CHOICES[NAMES[index]]
    strided = block.depthwise.conv.stride[0]
    network = MBConv(4, block.project.conv.out_channels, kernel, expansion, strided, **options)
    network.load_state_dict(block.extract(index))
    return network.train(block.training)


def one_hot(index, n):
    return torch.nn.functional.one_hot(torch.tensor(index), n).float()


def set_thresholds(block, **values):
    for name, value in values.items():
        getattr(block, name).data.fill_(value)
    return block


@pytest.mark.parametrize("options", [{}, {"squeeze_excite": True}, {"act": "prelu"}])
@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("training", [False, True])
def test_an_index_and_a_one_hot_weight_equal_the_stand_alone_block(options, skip, training):
    block, x = make(skip, **options).train(training), torch.randn(3, 4, 6, 6)
    for index in range(len(block.choices)):
        expected = alone(block, index, **options)(x)
        for entry in (index, one_hot(index, len(block.choices)), Subset((index,), torch.ones(1))):
            torch.testing.assert_close(block(x, entry), expected, rtol=1e-5, atol=1e-5)


def test_skipping_by_index_or_by_weight_is_the_identity_to_the_last_bit():
    block, x = make().train(), torch.randn(2, 4, 5, 5)
    assert block(x, SKIP) is x
    assert torch.equal(block(x, one_hot(SKIP, 5)), x)
    assert block.extract(SKIP) == {}


def test_an_index_costs_what_the_stand_alone_block_costs():
    block, x = make(), torch.randn(1, 4, 8, 8)
    for index in range(4):
        assert flops(block, x, index) == flops(alone(block, index), x)


def flops(module, *inputs):
    with FlopCounterMode(display=False) as counter:
        module(*inputs)
    return counter.get_total_flops()


def test_statistics_of_a_slice_are_those_of_the_stand_alone_block_and_the_others_stay():
    block, x = make().train(), torch.randn(4, 4, 6, 6)
    network, before = alone(block, K3E3), block.depthwise.bn.running_mean.clone()
    block(x, K3E3), network(x)
    after = block.depthwise.bn.running_mean
    torch.testing.assert_close(after[:12], network.depthwise.bn.running_mean)
    assert torch.equal(after[12:], before[12:]) and not torch.equal(after[:12], before[:12])


def test_training_the_smallest_choice_moves_only_the_part_that_it_shares():
    block = make(act="silu").train()  # no dead units
    before = {name: value.clone() for name, value in block.named_parameters()}
    optimizer = torch.optim.SGD(block.parameters(), 0.1)
    block(torch.randn(4, 4, 6, 6), K3E3).square().sum().backward()
    optimizer.step()
    moved = {name: value != before[name] for name, value in block.named_parameters()}
    expected = torch.zeros(24, 1, 5, 5, dtype=torch.bool)
    expected[:12, :, INNER, INNER] = True
    assert torch.equal(moved["depthwise.conv.weight"], expected)
    assert moved["expand.conv.weight"][:12].all() and not moved["expand.conv.weight"][12:].any()
    assert moved["project.conv.weight"][:, :12].all() and not moved["project.conv.weight"][:, 12:].any()
    assert not any(moved[t] for t in ("t3", "t5", "t6"))


def test_soft_weights_mask_ring_and_channels_by_the_sum_of_the_choices_that_keep_them():
    block, x = make().train(), torch.randn(3, 4, 6, 6)
    p = torch.tensor([0.1, 0.2, 0.3, 0.15, 0.25])
    kernel = block.depthwise.conv.weight.clone()
    ring = kernel.clone()
    ring[:, :, INNER, INNER] = 0
    kernel = kernel - ring + (0.3 + 0.15) * ring
    y = torch.nn.functional.conv2d(block.expand(x), kernel, padding=2, groups=24)
    y = block.depthwise.act(block.depthwise.bn(y))
    y = torch.cat([y[:, :12], (0.2 + 0.15) * y[:, 12:]], 1)
    torch.testing.assert_close(block(x, p), x + 0.75 * block.project(y))


def test_gradients_reach_every_soft_weight_and_a_skipped_layer_can_come_back():
    block, x = make(), torch.randn(2, 4, 6, 6)
    p = torch.full((5,), 0.2, requires_grad=True)
    block(x, p).square().sum().backward()
    assert p.grad.abs().min() > 0
    set_thresholds(block, t3=block.depthwise.conv.weight[:12].norm().item() + 0.5)
    path = block.decide()
    assert path.argmax() == SKIP
    block(x, path).square().sum().backward()
    assert block.t3.grad != 0


def test_a_subset_weighs_like_the_full_vector():
    block, x = make(), torch.randn(2, 4, 6, 6)
    subset, full = Subset((K3E3, K5E6), torch.tensor([0.4, 0.6])), torch.tensor([0.4, 0, 0, 0.6, 0])
    torch.testing.assert_close(block(x, subset), block(x, full))


@pytest.mark.parametrize(
    ("thresholds", "index"),
    [
        ({"t3": -math.inf, "t5": -math.inf, "t6": -math.inf}, K5E6),
        ({}, K5E6),  # 0, where the published search starts
        ({"t5": math.inf}, K3E6),
        ({"t6": math.inf}, K5E3),
        ({"t5": math.inf, "t6": math.inf}, K3E3),
        ({"t3": math.inf}, SKIP),
        ({"t3": math.inf, "t5": math.inf, "t6": math.inf}, SKIP),
    ],
)
def test_thresholds_decide(thresholds, index):
    block = set_thresholds(make(), **thresholds)
    assert block.decide().tolist() == one_hot(index, 5).tolist()  # exactly: a path must be one-hot
    kernel, w = block.kernel(block.decide()), block.depthwise.conv.weight
    ring = torch.ones(5, 5, dtype=torch.bool)
    ring[INNER, INNER] = False
    assert bool(kernel[..., ring].any()) == (index in (K5E3, K5E6))
    assert bool(kernel[12:].any()) == (index in (K3E6, K5E6))
    assert bool(kernel.any()) == (index != SKIP)
    if index != SKIP:
        assert torch.equal(kernel[:12, :, INNER, INNER], w[:12, :, INNER, INNER])


def test_norms_are_of_the_masked_kernel_and_squared_on_request():
    block = make()
    w = block.depthwise.conv.weight.detach()
    inner_half = w[12:, :, INNER, INNER].norm()
    set_thresholds(block, t5=math.inf, t6=float(inner_half) + 1e-3)  # the whole upper half lies above, w_k below
    assert w[12:].norm() > block.t6 and block.decide().argmax() == K3E3
    block = set_thresholds(make(norm="squared"), t5=float(w.norm()))
    ring = w.square().sum() - w[:, :, INNER, INNER].square().sum()
    assert (block.decide().argmax() in (K5E3, K5E6)) == bool(ring >= block.t5)
    assert ring.sqrt() < block.t5 < ring  # the other norm decides otherwise


def test_a_layer_that_must_run_has_no_threshold_for_skip():
    block = make(skip=False)
    assert block.t3 is None and len(block.decide()) == 4
    with pytest.raises(ParameterError):
        SuperKernel(4, 6, skip=True)
    with pytest.raises(UnknownName):
        SuperKernel(4, 4, norm="l1")
    with pytest.raises(UnknownName):
        SuperKernel(4, 4, semantics="slices")


def test_gradients_pass_straight_through_to_thresholds_and_kernel():
    block = set_thresholds(make(), t3=0.5, t5=0.5, t6=0.5)
    block.indicators().d5.backward()
    w = block.depthwise.conv.weight
    norm = (w.square().sum() - w[:, :, INNER, INNER].square().sum()).sqrt()
    s = torch.sigmoid(norm - 0.5)
    torch.testing.assert_close(block.t5.grad, -(s * (1 - s)))
    assert w.grad[:, :, INNER, INNER].abs().max() == 0 and w.grad[:, :, 0].abs().min() > 0
    block.zero_grad()
    block(torch.randn(2, 4, 6, 6), block.decide()).square().sum().backward()
    assert all(t.grad.abs() > 0 for t in (block.t3, block.t5, block.t6)) and w.grad.abs().min() > 0
    block.zero_grad()
    costs = torch.tensor([1.0, 2.0, 1.5, 3.0, 0.0])
    (block.decide() @ costs).backward()  # a smaller cost needs higher thresholds
    assert all(t.grad < 0 for t in (block.t3, block.t5, block.t6))


@pytest.mark.parametrize("semantics", ["sliced", "faithful"])
def test_infinite_thresholds_leave_finite_gradients(semantics):
    block = set_thresholds(make(semantics=semantics), t3=math.inf, t5=-math.inf, t6=math.inf)
    block(torch.randn(2, 4, 6, 6), block.decide()).square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in block.parameters())


def test_indicator_dropout_drops_at_the_published_rate_independently():
    block, generator = make(), torch.Generator().manual_seed(1)
    drawn = torch.stack([block.decide(generator, KEEP) for _ in range(4000)]).detach()
    assert torch.equal(drawn.sum(1), torch.ones(4000)) and ((drawn == 0) | (drawn == 1)).all()
    k, d = KEEP, 1 - KEEP
    expected = torch.tensor([k * d * d, k * d * k, k * k * d, k * k * k, d])
    torch.testing.assert_close(drawn.mean(0), expected, rtol=0, atol=0.03)  # 4 standard errors
    again = torch.stack([block.decide(torch.Generator().manual_seed(1), KEEP) for _ in range(2)])
    assert torch.equal(again[0], drawn[0]) and torch.equal(again[1], drawn[0])
    scaled = torch.stack([torch.stack(block.indicators(generator, KEEP, rescale=True)) for _ in range(50)])
    assert set(scaled.flatten().tolist()) == {0.0, torch.tensor(1 / KEEP).item()}
    with pytest.raises(ParameterError):
        block.decide(generator, 0.0)


def test_dropout_leaves_a_layer_that_must_run():
    block, generator = make(skip=False), torch.Generator().manual_seed(0)
    assert all(block.indicators(generator, 0.3).d3 == 1 for _ in range(30))


def test_faithful_kernel_is_the_published_one():
    block = set_thresholds(make(semantics="faithful"), t5=math.inf)
    w, x = block.depthwise.conv.weight, torch.randn(2, 4, 6, 6)
    d3, d5, d6 = (torch.rand(()) for _ in range(3))
    inner = torch.zeros_like(w)
    inner[:, :, INNER, INNER] = w[:, :, INNER, INNER]
    w_k = inner + d5 * (w - inner)
    w_ke = d3 * torch.cat([w_k[:12], d6 * w_k[12:]])
    p = torch.stack([d3 * (1 - d5) * (1 - d6), d3 * (1 - d5) * d6, d3 * d5 * (1 - d6), d3 * d5 * d6, 1 - d3])
    torch.testing.assert_close(block.kernel(p), w_ke)
    torch.testing.assert_close(block(x, K3E6), block(x, one_hot(K3E6, 5)))


def test_faithful_semantics_leak_through_the_shift_of_bn():
    """A kernel of zeros is a constant per channel, not nothing; and an upper half of zeros is not the small block."""
    block, x = make(semantics="faithful"), torch.randn(2, 4, 6, 6)
    added = block(x, SKIP) - x
    torch.testing.assert_close(added, added[:1, :, :1, :1].expand_as(added), rtol=0, atol=1e-5)
    assert added.abs().max() > 0.01
    assert (block(x, K5E3) - alone(block, K5E3)(x)).abs().max() > 0.01
    assert torch.equal(make()(x, SKIP), x)  # the sliced semantics' bypass
    torch.testing.assert_close(block(x, K5E6), alone(block, K5E6)(x))  # the largest choice has nothing to leak


def test_recursive_runtime_meets_the_costs_at_its_ends():
    costs = torch.tensor([2.0, 3.5, 3.0, 5.0, 0.0])
    end = {NAMES[i]: recursive_runtime(costs, Indicators(*map(torch.tensor, d))).item() for i, d in enumerate(ENDS)}
    assert end == pytest.approx({"k3e3": 3.5 / 5 * 3.0, "k3e6": 3.5, "k5e3": 3.0, "k5e6": 5.0, "skip": 0.0})
    assert end["k3e3"] != pytest.approx(2.0)  # the published model has no term of its own for it


ENDS = ((1.0, 0.0, 0.0), (1.0, 0.0, 1.0), (1.0, 1.0, 0.0), (1.0, 1.0, 1.0), (0.0, 1.0, 1.0))


def test_thresholds_of_a_network_make_a_path_and_an_architecture():
    blocks = nn.Sequential(make(), make(skip=False), make())
    set_thresholds(blocks[0], t3=math.inf), set_thresholds(blocks[1], t5=math.inf)
    assert [len(p) for p in threshold_path(blocks)] == [5, 4, 5]
    assert threshold_arch(blocks) == (SKIP, K3E6, K5E6)
    with pytest.raises(ArchitectureError):
        threshold_path(nn.Linear(2, 2))
