"""The probe: what one pass finds, what it costs to ask again, and that nothing of it stays behind."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nasedu.errors import ParameterError, ProxyError
from nasedu.proxies import Batch, Probe, as_batch, score
from nasedu.proxies.initialise import kaiming, standard_normal
from nasedu.proxies.probe import cross_entropy, gradients_of, layer_weights, total
from nasedu.randomness import stream

READINGS = ("gradients", "curvature", "channels", "jacobian", "codes")


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
    handed = Probe(network, pair, seed=1, generator=stream(4, "proxy")).normal(3)
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


# --- which parameters are weights ------------------------------------------------------------------------------------


class Tokens(nn.Module):
    """A small vision transformer: a class token and positions, which are no weights of layers."""

    def __init__(self):
        super().__init__()
        self.patch, self.attention = nn.Conv2d(3, 6, 4, stride=4), nn.MultiheadAttention(6, 2, batch_first=True)
        self.token, self.position = nn.Parameter(torch.zeros(1, 1, 6)), nn.Parameter(torch.randn(1, 5, 6))
        self.norm, self.fc = nn.LayerNorm((5, 6)), nn.Linear(6, 5)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = self.norm(torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position)
        return self.fc((x + self.attention(x, x, x, need_weights=False)[0]).relu()[:, 0])


def test_weights_are_those_of_layers_and_not_all_that_has_two_dimensions():
    expected = ["patch.weight", "attention.in_proj_weight", "attention.out_proj.weight", "fc.weight"]
    assert sorted(layer_weights(Tokens())) == sorted(expected)
    attention = nn.MultiheadAttention(6, 2, kdim=4, vdim=4, add_bias_kv=True)
    assert sorted(layer_weights(attention)) == ["k_proj_weight", "out_proj.weight", "q_proj_weight", "v_proj_weight"]
    up = nn.Sequential(nn.ConvTranspose2d(3, 4, 2), nn.Embedding(4, 4))
    assert list(layer_weights(up)) == ["0.weight"]
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(3, 4))
    assert len(layer_weights(normed)) == 2


def test_proxies_of_weights_agree_on_what_they_are(batch):
    torch.manual_seed(0)
    network = Tokens()
    norms = [float(w.detach().norm()) for w in layer_weights(network).values()]
    assert len(norms) == 4 and score("l2_norm", network, batch) == pytest.approx(sum(norms))
    probe = Probe(network, as_batch(batch))
    assert list(probe.gradients) == list(probe.curvature) == list(layer_weights(network))


def test_a_network_without_layer_modules_has_all_parameters_of_two_dimensions(batch):
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.kernel, self.matrix = nn.Parameter(torch.randn(4, 3, 3, 3)), nn.Parameter(torch.randn(5, 4))
            self.bias = nn.Parameter(torch.zeros(4))

        def forward(self, x):
            return F.linear(F.conv2d(x, self.kernel, bias=self.bias).relu().mean((2, 3)), weight=self.matrix)

    torch.manual_seed(0)
    bare = Bare()
    assert list(layer_weights(bare)) == ["kernel", "matrix"]
    modules = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    parts = (modules[0].weight, bare.kernel), (modules[0].bias, bare.bias), (modules[4].weight, bare.matrix)
    modules[4].bias.data.zero_()
    for mine, its in parts:
        mine.data.copy_(its.data)
    for name in ("snip", "fisher", "synflow", "l2_norm"):
        assert score(name, bare, batch) == pytest.approx(score(name, modules, batch), rel=1e-5)
    assert score("fisher", bare, batch, fan_in=True) == pytest.approx(score("fisher", modules, batch, fan_in=True))


# --- second derivatives ----------------------------------------------------------------------------------------------


def test_curvature_of_a_hard_sigmoid_and_of_attention(batch):
    """Neither PyTorch's hard sigmoid nor its fused attention has a second derivative."""

    class Gated(nn.Module):
        def __init__(self, gate):
            super().__init__()
            self.tokens, self.gate = Tokens(), gate

        def forward(self, x):
            logits = self.tokens(x)
            return logits * self.gate(2 * logits)

    torch.manual_seed(0)
    network = Gated(nn.Hardsigmoid()).double()
    by_hand = Gated(lambda x: (x + 3).clamp(0, 6) / 6).double()
    by_hand.load_state_dict(network.state_dict())
    pair = as_batch((batch[0].double(), batch[1]))
    probe = Probe(network, pair, wanted=frozenset(READINGS))
    start, gradients, step = layer_weights(by_hand), probe.gradients, 1e-6
    for name, value in Probe(by_hand, pair).gradients.items():
        torch.testing.assert_close(gradients[name], value)

    def moved(by):
        values = {name: w.detach() + by * gradients[name] for name, w in start.items()}
        values = {name: value.requires_grad_() for name, value in values.items()}
        logits = torch.func.functional_call(by_hand, values, (pair.images,))
        return gradients_of(F.cross_entropy(logits, pair.labels), values)

    above, below = moved(step), moved(-step)
    for name, value in probe.curvature.items():
        torch.testing.assert_close(value, (above[name] - below[name]) / (2 * step), rtol=1e-4, atol=1e-8)
    assert torch.backends.cuda.flash_sdp_enabled() and len(probe.codes) == 1  # not the ReLU6 that it is made of


# --- draws -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [standard_normal, kaiming])
def test_draws_do_not_depend_on_the_default_precision_and_device(build, batch, draw):
    network, pair = build("normalised"), as_batch(batch)

    def drawn():
        fresh = draw(Probe(network, pair).copy(), torch.Generator().manual_seed(3))
        return [Probe(network, pair, seed=4).normal(5), *fresh.parameters()]

    expected = drawn()
    torch.set_default_dtype(torch.float64)
    try:
        assert all(torch.equal(a, b) for a, b in zip(drawn(), expected, strict=True))
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.device("meta"):
        assert all(torch.equal(a, b) for a, b in zip(drawn(), expected, strict=True))


def test_a_generator_draws_for_the_proxy_and_the_seed_for_layers(build, batch):
    layers = [*build("normalised")]
    network = nn.Sequential(*layers[:6], nn.Dropout(0.5), *layers[6:])

    def snip(seed, handed):
        return score("snip", network, batch, seed=seed, generator=torch.Generator().manual_seed(handed))

    assert snip(0, 1) == snip(0, 2) == score("snip", network, batch) != snip(1, 1)


def test_what_is_no_model_and_no_generator(build, batch):
    with pytest.raises(ParameterError, match=r"model must be an nn\.Module, got str"):
        Probe("resnet", as_batch(batch))
    with pytest.raises(ParameterError, match=r"generator must be a torch\.Generator on the CPU"):
        Probe(build("normalised"), as_batch(batch), generator=3)


def test_weights_are_drawn_where_the_network_is_and_on_the_cpu_by_one_generator():
    probe = Probe(nn.Conv2d(3, 3, 3), as_batch(torch.zeros(2, 3, 8, 8)))
    assert probe.source is probe.generator
    first = probe.normal(4)
    probe.start(probe.own_seed)
    assert probe.source is probe.generator and torch.equal(probe.normal(4), first)
    own = torch.Generator().manual_seed(1)
    assert Probe(nn.Conv2d(3, 3, 3), as_batch(torch.zeros(2, 3, 8, 8)), generator=own).source is own


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_nothing_that_is_drawn_travels():
    network, batch = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.ReLU()).cuda(), torch.zeros(2, 3, 8, 8)
    assert Probe(network, as_batch(batch)).source.device.type == "cuda"
    assert score("zen", network, batch, seed=1) == score("zen", network, batch, seed=1)
