"""The registry's contract for every proxy: nothing touched, same seed same value, shared passes, flagged failures."""

from __future__ import annotations

import copy
import math
import subprocess
import sys
import threading
from collections import namedtuple

import numpy as np
import pytest
import torch
from torch import nn

from nasedu.errors import ParameterError, ProxyError, UnknownName
from nasedu.proxies import Proxy, info, names, register, score, score_all
from nasedu.proxies.registry import Scores

FAMILY = ["grad_norm", "snip", "plain", "grasp", "fisher", "jacob_cov", "naswot"]  # one forward pass serves them
LOSS = ["grad_norm", "snip", "plain", "grasp", "fisher"]


class Counting(nn.Module):
    """Counts the forward passes of all its copies, and the backward passes through its first layer's output."""

    def __init__(self, inner: nn.Module, size: int = 8):
        super().__init__()
        self.inner, log, images = inner, [], []
        self.log, self.images, self.size = (lambda: log), (lambda: images), size

    def forward(self, x):
        if len(x) == self.size and x.device.type != "meta":
            self.log().append("forward")
        out = self.inner(x)
        if out.requires_grad and len(x) == self.size:
            out.register_hook(lambda g: self.log().append("backward") and None)
        return out


# --- what there is ---------------------------------------------------------------------------------------------------


def test_every_proxy_says_what_it_is():
    assert {*FAMILY, "params", "macs", "l2_norm", "random", "synflow"} <= set(names())
    for name in names():
        proxy = info(name)
        assert isinstance(proxy, Proxy) and proxy.name == name and proxy.passes
        assert proxy.needs in ("nothing", "shape", "images", "labels")
        assert "annot see" in " ".join(proxy.formula.split()) or name == "random", (
            f"{name} does not say what it cannot see"
        )
    assert info("fisher").options == {"fan_in": False} and info("snip").options == {}
    assert info("snip").needs == "labels" and info("naswot").needs == "images"
    with pytest.raises(UnknownName, match="did you mean 'snip'"):
        info("snipp")


OWN = """
import importlib
import torch
from torch import nn
from nasedu.proxies import info, names, register, score

@register("depth", needs="nothing", passes="none")
def depth(probe, *, scale: float = 1.0) -> float:
    return scale * len(probe.weights)

network, images = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(5)), torch.randn(2, 3, 8, 8)
network(images)
assert score("depth", network, images, scale=2.0) == 4.0 and names()[-1] == "depth"
register("depth", needs="nothing", passes="none")(lambda probe: 7.0)
assert score("depth", network, images) == 7.0
before = {name: info(name).formula for name in names()}
importlib.reload(importlib.import_module("nasedu.proxies.counts"))  # registers its own again
assert {name: info(name).formula for name in names()} == before
"""


def test_a_proxy_of_ones_own_is_five_lines_and_may_be_replaced():
    """In a process of its own, as what is registered stays."""
    done = subprocess.run([sys.executable, "-c", OWN], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# --- property 10: same seed, same value; nothing is touched ----------------------------------------------------------


def snapshot(network):
    parts = [
        (n, type(m), m.training, [*m._forward_hooks], [*m._forward_pre_hooks], [*m._backward_hooks])
        for n, m in network.named_modules()
    ]
    state = {k: (v.clone(), v.dtype) for k, v in network.state_dict().items()}
    gradients = [(p.requires_grad, None if p.grad is None else p.grad.clone()) for p in network.parameters()]
    inplace = [getattr(m, "inplace", None) for m in network.modules()]
    return parts, state, gradients, inplace


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


@pytest.mark.parametrize("kind", ["normalised", "frozen"])
@pytest.mark.parametrize("name", names())
def test_the_same_seed_gives_the_same_value_and_nothing_is_touched(build, batch, name, kind):
    network = build(kind)
    network[1].eval()
    network[0].register_forward_hook(lambda *_: None)
    first = next(network.parameters())
    first.grad = torch.ones_like(first)
    before, images, state = snapshot(network), batch[0].clone(), torch.get_rng_state()
    numbers = np.random.get_state()[1].copy()  # noqa: NPY002  the global state is what must not move
    values = {score(name, network, batch, seed=3) for _ in range(2)} | {score_all(network, batch, [name], seed=3)[name]}
    assert len(values) == 1 and math.isfinite(values.pop())
    assert same(snapshot(network), before) and same(batch[0], images)
    assert torch.equal(torch.get_rng_state(), state) and torch.is_grad_enabled()
    assert (np.random.get_state()[1] == numbers).all()  # noqa: NPY002


def dropout(build):
    return nn.Sequential(*build("normalised")[:6], nn.Dropout(0.5), *build("normalised")[6:])


@pytest.mark.parametrize("name", names())
def test_alone_or_among_others_the_value_is_the_same(build, batch, name):
    """Where layers draw too, whatever ran before in the process, and in whichever order."""
    network = dropout(build)
    alone = score(name, network, batch, seed=5)
    torch.rand(7)
    others = ["snip", "naswot", "random", "grad_norm", name]
    options = {"grad_norm": {"form": "zennas"}} if name != "grad_norm" else {}
    for order in (others, others[::-1]):
        assert score_all(network, batch, order, seed=5, options=options)[name] == alone
    assert list(score_all(network, batch, others[::-1])) == list(dict.fromkeys(others[::-1]))


def test_options_and_seeds_reach_the_proxy(build, batch):
    network = build("normalised")
    options = {"fisher": {"fan_in": True}, "grad_norm": {"form": "zennas"}}
    found = score_all(network, batch, ["grad_norm", "fisher", "snip"], seed=2, options=options)
    assert found["fisher"] == score("fisher", network, batch, fan_in=True) != score("fisher", network, batch)
    assert found["grad_norm"] == score("grad_norm", network, batch, form="zennas", seed=2)
    assert found["grad_norm"] != score("grad_norm", network, batch, form="zennas", seed=3)
    assert score("random", network, batch) != score("random", network, batch, seed=1)
    assert (
        score("random", network, batch)
        == score("random", build("normalised"), batch)
        != score("random", build("in_place"), batch)
    )
    draws = [score("random", network, batch, generator=torch.Generator().manual_seed(9)) for _ in range(2)]
    assert draws[0] == draws[1] == float(torch.randn((), generator=torch.Generator().manual_seed(9)))


def test_random_is_normal(build, batch):
    network = nn.Linear(1, 1)
    draws = [score("random", network, batch, seed=seed) for seed in range(400)]
    assert abs(np.mean(draws)) < 0.2 and 0.9 < np.std(draws) < 1.1 and len(set(draws)) == 400


def test_counts_by_hand(batch):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 5))
    network[2].weight.requires_grad_(False)
    network[0].weight.data.fill_(2.0)
    network[2].weight.data.fill_(-1.0)
    found = score_all(network, batch, ["params", "macs", "l2_norm"])
    assert dict(found) == {
        "params": 3 * 4 * 9 + 4 + 5,
        "macs": 36 * 3 * 4 * 9 + 144 * 5,
        "l2_norm": pytest.approx(2 * 108**0.5 + 720**0.5),
    }


# --- shared passes ---------------------------------------------------------------------------------------------------


def test_one_forward_pass_serves_the_family(build, batch):
    network = Counting(build("normalised"))
    found = score_all(network, batch, FAMILY)
    assert network.log() == ["forward"] + 3 * ["backward"]  # to the images, to the weights, and again for H g
    assert not found.errors and list(found) == FAMILY


@pytest.mark.parametrize(
    ("chosen", "log"),
    [
        (LOSS, ["forward", "backward", "backward"]),
        (["snip"], ["forward", "backward"]),
        (["jacob_cov"], ["forward", "backward"]),
        (["naswot"], ["forward"]),
        (["naswot", "jacob_cov"], ["forward", "backward"]),
        (["params", "macs", "l2_norm", "random", "synflow"], []),
    ],
)
def test_no_pass_is_run_that_no_proxy_needs(build, batch, chosen, log):
    network = Counting(build("normalised"))
    score_all(network, batch, chosen)
    assert network.log() == log


# --- failures --------------------------------------------------------------------------------------------------------


def test_a_network_that_fails_is_flagged_and_last(batch):
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 2, 3)

        def forward(self, x):
            return self.conv(x)

    chosen = ["params", *FAMILY, "synflow"]
    found = score_all(Broken(), batch, chosen)
    assert found["params"] == 74 and all(found[name] == -math.inf for name in chosen[1:])
    assert list(found.errors) == chosen[1:] or set(found.errors) == set(chosen[1:])
    for name in chosen[1:]:
        assert "\n" not in found.errors[name] and "Broken" in found.errors[name]
        with pytest.raises(ProxyError, match=f"{name} could not run this Broken: RuntimeError: .*channels"):
            score(name, Broken(), batch)
    assert isinstance(found, Scores) and max(found, key=found.get) == "params"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_not_finite(build, batch, bad):
    network = build("normalised")
    network[3].weight.data[0, 0, 0, 0] = bad
    chosen = [name for name in names() if name not in ("params", "macs", "random")]
    found = score_all(network, batch, ["params", *chosen])
    for name in chosen:
        if name in found.errors:
            assert (
                found[name] == -math.inf
                and found.errors[name] == "the weight 3.weight of this Sequential is not finite"
            )
        else:
            assert math.isfinite(found[name])  # one that draws its own weights
    assert {*FAMILY, "synflow", "l2_norm"} <= set(found.errors)


def test_weights_on_the_meta_device_have_costs_and_no_scores(build, batch):
    network = build("normalised").to("meta")
    found = score_all(network, batch, ["params", "macs", "snip", "naswot", "synflow", "l2_norm"])
    assert found["params"] == sum(p.numel() for p in network.parameters()) and found["macs"] > 0
    for name in ("snip", "naswot", "synflow", "l2_norm"):
        assert found.errors[name] == "the weight 0.weight of this Sequential is on the meta device: no value"


class Wrapped(nn.Module):
    def __init__(self, inner, wrap):
        super().__init__()
        self.inner, self.wrap = inner, wrap

    def forward(self, x):
        return self.wrap(self.inner(x))


@pytest.mark.parametrize(
    ("wrap", "said"),
    [
        (lambda y: (y, y), "tuple"),
        (lambda y: {"out": y}, "dict"),
        (lambda y: y[:, :, None], r"shape \(8, 5, 1\)"),
        (lambda y: y.sum(1), r"shape \(8,\)"),
    ],
)
def test_outputs_that_are_no_logits_fail_only_what_needs_a_loss(build, batch, wrap, said):
    network = Wrapped(build("normalised"), wrap)
    found = score_all(network, batch, [*FAMILY, "synflow"])
    assert set(found.errors) == set(LOSS)
    for name in LOSS:
        with pytest.raises(
            ProxyError, match=rf"needs a classifier's logits \(B, classes\), the network returned {said}"
        ):
            score(name, network, batch)
    assert found["naswot"] == score("naswot", build("normalised"), batch)
    assert found["jacob_cov"] == score("jacob_cov", network, batch)
    with pytest.raises(ProxyError, match="needs a classifier's logits"):
        score("grad_norm", network, batch, form="zennas")


def test_several_outputs_say_what_to_do(build, batch):
    several = namedtuple("GoogLeNetOutputs", ["logits", "aux"])
    network = Wrapped(build("normalised"), lambda y: several(y, y))
    with pytest.raises(ProxyError, match=r"returned GoogLeNetOutputs, several outputs: wrap .* aux_logits=False"):
        score("snip", network, batch)


def test_values_that_overflow_are_no_score(build, batch):
    network = build("in_place")
    for p in network.parameters():
        p.data.mul_(1e30)
    found = score_all(network, batch, ["snip", "grasp", "fisher"])
    assert all(found[name] == -math.inf and name in found.errors for name in ("snip", "grasp"))
    assert not any(math.isnan(v) or v == math.inf for v in found.values())


def test_a_network_that_cannot_be_copied(build, batch):
    network = build("normalised")
    value = score("snip", network, batch)
    network.last = network(batch[0])  # a tensor of another graph is no hindrance
    assert score("snip", network, batch) == value
    network.lock = threading.Lock()
    with pytest.raises(ProxyError, match="this Sequential cannot be copied: "):
        score("snip", network, batch)


# --- what the caller got wrong ---------------------------------------------------------------------------------------


def images(*shape, **options):
    return torch.randn(*shape, **options)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (images(1, 3, 8, 8), "snip runs in training mode, with batch normalisation over images: .* at least 2, got 1"),
        ((images(1, 3, 8, 8), torch.tensor([0])), "snip runs in training mode, .* at least 2, got 1"),
        (images(4, 3, 8, 8), "snip: this proxy needs labels"),
        ((images(4, 3, 8, 8), torch.tensor([0, 1, 2, 5])), "labels must lie between 0 and 4 .* 5 outputs, got 5"),
        ((images(4, 3, 8, 8), torch.tensor([0, -1, 2, 3])), "labels count from 0, got -1"),
        (
            (images(4, 3, 8, 8), torch.tensor([0, 1, 2])),
            r"4 images needs as many whole-number labels \(4,\), got .*\(3,\)",
        ),
        ((images(4, 3, 8, 8), torch.rand(4)), "whole-number labels .* got torch.float32"),
        ((images(4, 3, 8, 8), [0, 1, 2, 3]), "whole-number labels .* got list"),
        (images(3, 8, 8), r"must be a floating-point tensor \(B, C, H, W\), got torch.float32 of shape \(3, 8, 8\)"),
        (images(0, 3, 8, 8), r"floating-point tensor .* \(0, 3, 8, 8\)"),
        (torch.zeros(4, 3, 8, 8, dtype=torch.uint8), "floating-point tensor .* torch.uint8"),
        (images(4, 3, 8, 8) * math.nan, "images must be finite"),
        ("images", "a batch is images, or a pair of images and labels, got str"),
        ((1, 2, 3), "a batch is images, or a pair of images and labels, got tuple"),
    ],
)
def test_a_batch_that_does_not_fit(build, wrong, said):
    for call in (
        lambda: score("snip", build("normalised"), wrong),
        lambda: score_all(build("normalised"), wrong, ["params", "snip"]),
    ):
        with pytest.raises(ParameterError, match=said) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_one_image_is_enough_for_what_does_not_look_at_it(build):
    found = score_all(build("normalised"), images(1, 3, 8, 8), ["params", "macs", "l2_norm", "random", "synflow"])
    assert not found.errors


@pytest.mark.parametrize("name", ["naswot", "jacob_cov", "epe_nas"])
def test_one_image_is_too_few_to_compare(build, name):
    with pytest.raises(ParameterError, match=f"{name} compares images: it needs a batch of at least 2, got 1"):
        score(name, build("normalised"), (images(1, 3, 8, 8), torch.tensor([0])))


def test_wrong_names_options_and_seeds(build, batch):
    network = build("normalised")
    for call in (
        lambda: score("snipp", network, batch),
        lambda: score_all(network, batch, ["params", "snipp"]),
        lambda: score_all(network, batch, ["snip"], options={"snipp": {}}),
    ):
        with pytest.raises(UnknownName, match="did you mean 'snip'"):
            call()
    with pytest.raises(UnknownName, match=r"option of fisher.*did you mean 'fan_in'"):
        score("fisher", network, batch, fanin=True)
    with pytest.raises(UnknownName, match="did you mean 'layers'"):
        score_all(network, batch, ["params", "grad_norm"], options={"grad_norm": {"form": "layer"}})
    for seed in (-1, 1.5, True, "0", 2**63, 2**64):
        with pytest.raises(ParameterError, match="seed must be a whole number from 0"):
            score("params", network, batch, seed=seed)
        with pytest.raises(ParameterError, match="seed must be a whole number from 0"):
            score_all(network, batch, ["snip"], seed=seed)


def test_whole_numbers_of_numpy_and_large_ones_are_seeds(build, batch):
    network = dropout(build)
    for name in ("snip", "random"):
        assert score(name, network, batch, seed=np.int64(3)) == score(name, network, batch, seed=3)
        assert score_all(network, batch, [name], seed=np.int64(3))[name] == score(name, network, batch, seed=3)
        assert math.isfinite(score(name, network, batch, seed=2**63 - 1))


def test_what_is_no_model(batch):
    for call in (lambda: score("snip", "resnet", batch), lambda: score_all("resnet", batch, ["params"])):
        with pytest.raises(ParameterError, match=r"model must be an nn\.Module, got str"):
            call()


def test_one_name_is_not_read_letter_by_letter(build, batch):
    assert dict(score_all(build("normalised"), batch, "snip")) == {"snip": score("snip", build("normalised"), batch)}


@pytest.mark.parametrize(
    ("name", "parts"),
    [("te_nas", "ntk, linear_regions"), ("az_nas", "az_expressivity, az_progressivity, az_trainability, macs")],
)
def test_a_composite_says_what_it_is(build, batch, name, parts):
    said = rf"'{name}' is a rank over a pool, .*score its parts \({parts}\), or use score_pool, .*combine="
    calls = (lambda: info(name), lambda: score(name, 0, batch), lambda: score_all(build("normalised"), batch, [name]))
    for call in calls:
        with pytest.raises(UnknownName, match=said):
            call()


def test_a_published_proxy_is_not_replaced():
    before = {name: info(name) for name in names()}
    for name in ("zen", "snip", "te_nas"):
        with pytest.raises(ParameterError, match=f"'{name}' is one of nasedu's own proxies"):
            register(name, needs="nothing", passes="none")(lambda probe: 1.0)
    assert {name: info(name) for name in names()} == before


# --- the caller's surroundings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "around",
    [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", dtype=torch.bfloat16)],
    ids=["no_grad", "inference_mode", "autocast"],
)
def test_the_callers_modes_do_not_change_a_value(build, batch, around):
    expected = score_all(build("normalised"), batch, names())
    with around():
        network = build("normalised")  # in inference mode its weights are inference tensors
        found = score_all(network, (batch[0] * 1, batch[1] + 0), names())
    assert not found.errors and dict(found) == dict(expected)


def test_the_number_of_threads_stays(build, batch):
    before = torch.get_num_threads()
    score_all(build("normalised"), batch, names())
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(build, batch, dtype):
    """Half a precision gives about the same score; what it cannot run is flagged."""
    chosen = ["grad_norm", "snip", "fisher", "jacob_cov", "naswot", "synflow", "params", "macs", "l2_norm"]
    expected = score_all(build("normalised"), batch, chosen)
    found = score_all(build("normalised").to(dtype), batch, [*chosen, "random"])
    assert not found.errors
    for name in chosen:
        assert found[name] == pytest.approx(expected[name], rel=1e-4 if dtype == torch.float64 else 0.1)


@pytest.mark.parametrize("name", ["random", "grad_norm", "naswot", "jacob_cov", "synflow", "snip", "grasp", "fisher"])
def test_the_default_precision_and_device_do_not_matter(build, batch, name):
    options = {"form": "zennas"} if name == "grad_norm" else {}
    network, expected = build("normalised"), score(name, build("normalised"), batch, **options)
    own = torch.Generator().manual_seed(1)
    handed = score(name, network, batch, generator=own, **options)
    torch.set_default_dtype(torch.float64)
    try:
        assert score(name, network, batch, **options) == expected
        assert score(name, network, batch, generator=own.manual_seed(1), **options) == handed
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.device("meta"):
        assert score(name, network, batch, **options) == expected


def test_hooks_of_the_user_stay_and_run_as_a_part_of_the_network(build, batch):
    network, plain = build("normalised"), score("snip", build("normalised"), batch)
    network[0].register_forward_hook(lambda module, inputs, output: output * 2)  # ahead of BN: no change
    network[-1].register_forward_hook(lambda module, inputs, output: output * 0)
    assert score("snip", network, batch) == pytest.approx(0.0, abs=1e-6) != plain
    assert len(network[0]._forward_hooks) == len(network[-1]._forward_hooks) == 1


def test_tied_weights_and_shared_buffers(batch):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.bn, self.fc = (
                nn.Conv2d(3, 3, 1),
                nn.Conv2d(3, 3, 1),
                nn.BatchNorm2d(3),
                nn.Linear(3, 5),
            )
            self.b.weight, self.again = self.a.weight, self.bn
            self.register_buffer("same", self.bn.running_var)

        def forward(self, x):
            return self.fc(self.again(self.b(self.bn(self.a(x)).relu())).mean((2, 3)))

    torch.manual_seed(0)
    network = Tied()
    found = score_all(network, batch, [*FAMILY, "synflow", "l2_norm", "params"], options={"fisher": {"fan_in": True}})
    assert not found.errors and found["params"] == 9 + 3 + 3 + 6 + 20
    norms = [float(weight.detach().norm()) for weight in (network.a.weight, network.fc.weight)]
    assert found["l2_norm"] == pytest.approx(sum(norms))


def test_batch_norm_on_a_single_pixel(batch):
    """Statistics of one value per channel do not exist: zennas' image of one is an error, a batch is not."""
    network = nn.Sequential(nn.Conv2d(3, 64, 8), nn.BatchNorm2d(64), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5))
    assert not score_all(network, batch, [*FAMILY, "synflow"]).errors
    with pytest.raises(
        ProxyError, match="synflow could not run this Sequential: ValueError: Expected more than 1 value"
    ):
        score("synflow", network, batch, bn="zennas")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_an_accelerator_gives_the_same_and_keeps_its_random_state(build, batch):
    network, chosen = build("normalised"), [name for name in names() if name != "random"]
    expected, state = score_all(network, batch, chosen), torch.cuda.get_rng_state()
    found = score_all(copy.deepcopy(network).cuda(), batch, chosen)
    assert not found.errors and torch.equal(torch.cuda.get_rng_state(), state)
    assert {name: found[name] for name in chosen} == pytest.approx(dict(expected), rel=1e-2)
