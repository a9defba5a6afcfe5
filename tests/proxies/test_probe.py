"""The probe: what one pass finds, what it costs to ask again, and that nothing of it stays behind."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nasedu.errors import ParameterError, ProxyError
from nasedu.proxies import Batch, Probe, as_batch
from nasedu.proxies.probe import READINGS, cross_entropy, gradients_of, total


def test_readings_of_a_linear_network_by_hand():
    """L = mean over images of -log softmax; both weights zero, so p = 1/2."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    network[1].weight.data.zero_()
    images, labels = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).reshape(2, 1, 1, 2), torch.tensor([0, 1])
    probe = Probe(network, Batch(images, labels), wanted=frozenset({"gradients", "channels", "jacobian"}))
    mean = (images[1] - images[0]).flatten() / 4  # (p - 1) x_0 / 2 + p x_1 / 2 for class 0
    assert probe.gradients["1.weight"].tolist() == [mean.tolist(), (-mean).tolist()]
    assert probe.channels["1.weight"].tolist() == [[0.0, 0.0], [0.0, 0.0]]  # a = 0
    assert probe.jacobian.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_curvature_is_the_hessian_over_all_weights_times_the_gradient(build, batch):
    network = build("in_place").double()
    probe = Probe(network, as_batch(batch), wanted=frozenset({"curvature", "gradients"}))
    weights = {n: p.detach().clone() for n, p in network.named_parameters() if p.ndim >= 2}
    found = probe.gradients

    def loss(w):
        return F.cross_entropy(torch.func.functional_call(network, w, (batch[0].double(),)), batch[1])

    _, expected = torch.func.jvp(torch.func.grad(loss), (weights,), (dict(found),))
    for name, value in probe.curvature.items():
        torch.testing.assert_close(value, expected[name])


def test_asking_together_or_one_by_one_is_the_same(network, batch):
    together = Probe(network, as_batch(batch), wanted=frozenset(READINGS))
    for name in READINGS:
        if name == "codes":
            assert all(
                torch.equal(a, b) for a, b in zip(together.codes, Probe(network, as_batch(batch)).codes, strict=True)
            )
            continue
        alone, shared = getattr(Probe(network, as_batch(batch)), name), getattr(together, name)
        torch.testing.assert_close(alone, shared, rtol=1e-6, atol=1e-8)


def test_readings_are_kept_without_their_graphs(build, batch):
    probe = Probe(build("residual"), as_batch(batch), wanted=frozenset(READINGS))
    assert probe.gradients is probe.gradients
    kept = [
        *probe.gradients.values(),
        *probe.curvature.values(),
        *probe.channels.values(),
        probe.jacobian,
        *probe.codes,
    ]
    assert not any(t.requires_grad or t.grad_fn for t in kept)
    assert not any(m._forward_hooks for m in probe.model.modules())
    assert all(p.grad is None for p in probe.model.parameters())


def test_nothing_waits_for_the_garbage_collector(build, batch):
    """Tensor hooks that hold their own tensor would keep every feature map of every architecture alive."""
    maps = []

    class Watched(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            for part in self.inner:
                x = part(x)
                maps.append(weakref.ref(x))
            return x

    gc.collect()
    gc.disable()
    try:
        probe = Probe(Watched(build("normalised")), as_batch(batch), wanted=frozenset(READINGS))
        assert probe.channels and probe.jacobian is not None
        assert len(maps) == 9 and not any(ref() is not None for ref in maps)
        model = weakref.ref(probe.model)
        del probe
        assert model() is None
    finally:
        gc.enable()


def test_a_failed_pass_leaves_no_hooks_and_the_rest_can_be_read(build, batch):
    network = nn.Sequential(build("normalised"), nn.Unflatten(1, (5, 1)))
    probe = Probe(network, as_batch(batch), wanted=frozenset(READINGS))
    with pytest.raises(ProxyError, match="needs a classifier's logits"):
        _ = probe.gradients
    assert probe.jacobian.shape == (8, 192) and len(probe.codes) == 2
    with pytest.raises(ProxyError, match="needs a classifier's logits"):
        _ = probe.channels
    assert not any(m._forward_hooks for m in probe.model.modules())


def test_a_copy_trains_and_writes_over_nothing(build, batch):
    network = build("frozen")
    copied = Probe(network, as_batch(batch)).copy()
    assert copied.training and all(p.requires_grad for p in copied.parameters())
    assert not any(getattr(m, "inplace", False) for m in copied.modules())
    assert not network.training and network[2].inplace


def test_the_batch_follows_the_networks_precision_and_stays_as_it_was(build, batch):
    probe = Probe(build("double"), as_batch(batch))
    assert probe.images.dtype == torch.float64 and batch[0].dtype == torch.float32
    assert probe.normal(2, 3).dtype == torch.float64
    assert torch.equal(probe.labels, batch[1])
    with pytest.raises(ParameterError, match="this proxy needs labels"):
        _ = Probe(build("double"), as_batch(batch[0])).labels
    with pytest.raises(ParameterError, match="images must be finite"):
        Probe(build("normalised").half(), as_batch(batch[0] * 1e6))


def test_draws_come_from_the_seed_or_the_generator(build, batch):
    network, pair = build("normalised"), as_batch(batch)
    first = Probe(network, pair, seed=4).normal(3)
    assert torch.equal(first, Probe(network, pair, seed=4).normal(3))
    handed = Probe(network, pair, seed=1, generator=torch.Generator().manual_seed(4)).normal(3)
    assert torch.equal(first, handed) and not torch.equal(first, Probe(network, pair, seed=5).normal(3))


def test_take_and_as_batch(batch):
    pair = as_batch(batch)
    assert as_batch(pair) is pair and len(pair.take(slice(2, 5))) == 3
    assert torch.equal(pair.take(torch.tensor([1, 0])).labels, batch[1][[1, 0]])
    assert as_batch(batch[0]).take(slice(1)).labels is None


def test_sums_losses_and_gradients(batch):
    one = torch.ones(2, 3)
    assert total({"a": one, "b": [one, (one,)]}) == 18
    summed, mean = (cross_entropy(one, Batch(batch[0][:2], batch[1][:2]), r) for r in ("sum", "mean"))
    assert summed == 2 * mean == pytest.approx(2 * torch.log(torch.tensor(3.0)))
    w = torch.ones(2, requires_grad=True)
    assert gradients_of(torch.ones(()), {"w": w})["w"].tolist() == [0, 0]
    assert gradients_of((3 * torch.ones(1, requires_grad=True)).sum(), {"w": w})["w"].tolist() == [0, 0]
