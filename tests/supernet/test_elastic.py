"""Elastic blocks: masks, aggregation, slices; what runs and what does not."""

from __future__ import annotations

import pytest
import torch

from nasedu.supernet.elastic import ElasticCSP, ElasticCSP2
from nasedu.supernet.mixed import Subset

BLOCKS = [(ElasticCSP, (1, 2, 3)), (ElasticCSP2, (0, 1, 2))]


def make(kind, depths, semantics):
    torch.manual_seed(0)
    block = kind(6, 8, (2, 4, 6), depths, "mish", semantics)
    for module in block.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.bias.data.normal_()
            module.running_mean.normal_()
    return block.eval()


@pytest.mark.parametrize(("kind", "depths"), BLOCKS)
def test_channel_mask_is_the_sum_of_the_weights_that_keep_the_channel(kind, depths):
    block = make(kind, depths, "faithful")
    mask = block.width(torch.tensor([0.5, 0.3, 0.2]))
    torch.testing.assert_close(mask, torch.tensor([1.0, 1.0, 0.5, 0.5, 0.2, 0.2]))
    assert block.width(1).tolist() == [1, 1, 1, 1, 0, 0] and make(kind, depths, "sliced").width(1) == 4


@pytest.mark.parametrize(("kind", "depths"), BLOCKS)
@pytest.mark.parametrize("semantics", ["faithful", "sliced"])
def test_depth_weights_mix_the_outputs_of_the_bottlenecks(kind, depths, semantics):
    block, x = make(kind, depths, semantics), torch.randn(2, 6, 4, 4)
    width, mix = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.2, 0.5, 0.3])
    with torch.inference_mode():
        kept = block.width(width)
        steps = list(block.unroll(x, kept))
        by_hand = block.leave(steps[0][0], sum(w * z for w, (_, z) in zip(mix, steps, strict=True)), kept)
        torch.testing.assert_close(block(x, width, mix), by_hand)


def count_bottlenecks(block, x, *path):
    ran = []
    hooks = [b.conv.act.register_forward_hook(lambda *_: ran.append(1)) for b in block.bottlenecks]
    block(x, *path)
    for hook in hooks:
        hook.remove()
    return len(ran)


@pytest.mark.parametrize(("kind", "depths"), BLOCKS)
def test_faithful_runs_every_bottleneck_and_sliced_only_the_chosen(kind, depths):
    x, one_hot = torch.randn(1, 6, 4, 4), torch.tensor([0.0, 1.0, 0.0])
    for path in ((1, 1), (one_hot, one_hot)):
        assert count_bottlenecks(make(kind, depths, "faithful"), x, *path) == depths[-1]
        assert count_bottlenecks(make(kind, depths, "sliced"), x, *path) == depths[1]


@pytest.mark.parametrize(("kind", "depths"), BLOCKS)
def test_sliced_block_equals_its_stand_alone_in_training_mode_too(kind, depths):
    block, x = make(kind, depths, "sliced"), torch.randn(4, 6, 4, 4)
    for width in range(3):
        for depth in range(3):
            alone = kind.__bases__[1](6, 8, block.hiddens[width], depths[depth])
            alone.load_state_dict(block.extract(width, depth))
            block.train()
            alone.train()
            weights = [torch.nn.functional.one_hot(torch.tensor(i), 3).float() for i in (width, depth)]
            expected = alone(x)
            torch.testing.assert_close(block(x, width, depth), expected, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(block(x, *weights), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "depths"), BLOCKS)
def test_gradients_reach_both_axes(kind, depths):
    block = make(kind, depths, "faithful")
    weights = [torch.full((3,), 1 / 3, requires_grad=True) for _ in range(2)]
    block(torch.randn(2, 6, 4, 4), *weights).square().sum().backward()
    assert all(w.grad.abs().min() > 0 for w in weights)


@pytest.mark.parametrize("semantics", ["faithful", "sliced"])
@pytest.mark.parametrize(("kind", "depths"), BLOCKS)
def test_a_subset_is_its_weights_and_says_how_deep_a_sliced_block_runs(kind, depths, semantics):
    block, x = make(kind, depths, semantics), torch.randn(2, 6, 4, 4)
    width, depth = torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.25, 0.75, 0.0])
    some = [Subset((0, 1), weights[:2]) for weights in (width, depth)]
    torch.testing.assert_close(block(x, *some), block(x, width, depth))
    assert count_bottlenecks(block, x, *some) == (depths[-1] if semantics == "faithful" else depths[1])
