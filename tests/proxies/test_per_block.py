"""Zero-cost maps: what NASWOT sees of depth in either semantics, and that nothing is left behind."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nasedu import spaces
from nasedu.errors import ProxyError, UnknownName
from nasedu.proxies import log_det, zero_cost_map
from nasedu.proxies.gradients import grasp_saliency
from nasedu.proxies.per_block import AgreementKernel, naswot_options, option_kernels
from nasedu.proxies.zico import zico_saliency
from nasedu.sampling import softmax, uniform_logits
from nasedu.supernet.batchnorm import recalibrate
from nasedu.supernet.elan import ElasticELAN
from nasedu.supernet.elastic import ElasticCSP, ElasticCSP2
from nasedu.supernet.mixed import Subset

UNIFORM_3 = (torch.full((3,), 1 / 3),) * 2
UNIFORM = {"width": torch.full((3,), 1 / 3), "depth": torch.full((4,), 1 / 4)}


def options_of(kind, depths, semantics, seed):
    torch.manual_seed(seed)
    block = kind(64, 64, (16, 32, 48), depths, "mish", semantics)
    images = torch.randn(8, 64, 12, 12)
    recalibrate(block, [images], lambda b, x: b(x, *UNIFORM.values()))
    return naswot_options(block.eval(), images[:4], (3, len(depths))).numpy()


@pytest.mark.parametrize(("kind", "depths"), [(ElasticCSP, (1, 3, 7, 15)), (ElasticCSP2, (0, 3, 6, 9))])
def test_faithful_naswot_is_blind_to_depth_and_sliced_is_not(kind, depths):
    """Reference finding: -47.734 to -47.744 over depths 1 to 15 at one width, against -47.7 to -52.0 over widths."""
    for seed in range(3):
        faithful, sliced = (options_of(kind, depths, s, seed) for s in ("faithful", "sliced"))
        spread = {name: np.ptp(m, axis=1).mean() for name, m in (("faithful", faithful), ("sliced", sliced))}
        assert spread["sliced"] > 4 * spread["faithful"]
        assert np.all(np.diff(sliced, axis=1) > 0)  # more bottlenecks, more units: monotone
        assert np.ptp(faithful, axis=0).mean() > 4 * spread["faithful"]  # while width it does see


def test_one_pass_per_width_equals_running_every_option():
    torch.manual_seed(0)
    block, x = ElasticCSP(16, 16, (4, 8, 12), (1, 2, 4)).eval(), torch.randn(4, 16, 8, 8)
    options = naswot_options(block, x, (3, 3))
    for width in range(3):
        for depth in range(3):
            with torch.no_grad(), AgreementKernel() as kernel:
                block(x, width, depth)
                assert float(options[width, depth]) == pytest.approx(log_det(kernel.take()), rel=1e-9)


def test_every_activation_of_an_elan_block_is_counted_once():
    torch.manual_seed(0)
    block, x = ElasticELAN(8, 32, (4, 16), 2, "relu").eval(), torch.randn(2, 8, 4, 4)
    for width, hidden in enumerate((4, 16)):
        for reads in itertools.product((0, 1), repeat=2):
            kernel = option_kernels(block, x, (2, 2, 2))[width, *reads]
            layers = 2 + (2 if reads[1] else reads[0])  # both 1x1 convolutions, and the chain to the last that is read
            assert kernel.diag().tolist() == [16 * (layers * hidden + 32)] * 2


@pytest.mark.parametrize("kind", [ElasticCSP, ElasticCSP2])
def test_one_pass_for_all_widths_of_the_faithful_block_equals_a_pass_for_each(kind):
    torch.manual_seed(0)
    block, x = kind(16, 16, (4, 8, 12), (1, 2, 4), semantics="faithful"), torch.randn(4, 16, 8, 8)
    recalibrate(block, [x], lambda b, y: b(y, *UNIFORM_3))
    block.eval()
    options = naswot_options(block, x, (3, 3))
    assert len({round(float(v), 6) for v in options.flatten()}) == 9
    for width in range(3):
        kept, inside, exits = block.width(width), 0, []
        with torch.no_grad(), AgreementKernel() as kernel:
            for shallow, z in block.unroll(x, kept):
                inside = inside + kernel.take()
                block.leave(shallow, z, kept)
                exits.append(kernel.take())
        assert options[width].tolist() == pytest.approx([log_det(inside + k) for k in exits], rel=1e-9)


class Calls(TorchDispatchMode):
    """Counts what PyTorch runs, each of which is a kernel or more on a GPU."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))

    def count(self, name):
        return sum(name in one for one in self.names)


def test_a_map_waits_for_nothing_takes_determinants_once_and_one_pass_serves_faithful_widths():
    """A path as `told` has it for a GPU; the path and the table are looked at before and behind, on the CPU."""
    signs = {}
    for semantics in ("sliced", "faithful"):
        space = spaces.create("yolo", num_classes=3, image_size=64, semantics=semantics)
        supernet, images = space.supernet(seed=0), torch.rand(4, 3, 64, 64)
        path = [Subset(tuple(range(n)), torch.full((n,), 1 / n)) for n in space.choices]
        with Calls() as calls:
            zero_cost_map(space, supernet, path, images)
        (last,) = (i for i, name in enumerate(calls.names) if "slogdet" in name)
        first = next(i for i, name in enumerate(calls.names) if "convolution" in name)
        assert not [name for name in calls.names[first:last] if "_local_scalar_dense" in name or "nonzero" in name]
        signs[semantics] = calls.count("aten.gt.")
        assert signs[semantics] == calls.count("aten.where")
    assert signs["sliced"] == 3 * signs["faithful"], "three widths"


@pytest.fixture(scope="module")
def lab():
    space = spaces.create("yolo", num_classes=3, image_size=64)
    torch.manual_seed(0)
    supernet = space.supernet()
    path = softmax(uniform_logits(space.choices))
    images = torch.rand(4, 3, 64, 64)
    recalibrate(supernet, [images], lambda net, x: net(x, path))
    return space, supernet, path, images


@pytest.mark.parametrize("proxy", ["naswot", "snip", "synflow", "grasp", "zico", "random", "none"])
def test_a_map_is_a_table_and_leaves_the_supernet_alone(lab, proxy):
    space, supernet, path, images = lab
    before = {k: v.clone() for k, v in supernet.state_dict().items()}
    state = torch.get_rng_state()

    def loss(net):
        losses = sum(m.square().flatten(1).mean(1) for m in net(images, path))
        return losses.view(2, -1).mean(1) if proxy == "zico" else losses.mean()

    supernet.train()
    frozen = supernet.parts["back1"].enter.bn.eval()
    table = zero_cost_map(space, supernet, path, images, proxy, loss)
    again = zero_cost_map(space, supernet, path, images, proxy, loss)
    assert [tuple(e.shape) for e in table.entries] == [(3, 4)] * 9 and table.fixed == 0
    assert all(torch.equal(a, b) for a, b in zip(table.entries, again.entries, strict=True))
    assert all(torch.equal(v, before[k]) for k, v in supernet.state_dict().items())
    assert supernet.training and not frozen.training and torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None and p.requires_grad for p in supernet.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in supernet.modules())


@pytest.mark.parametrize("proxy", ["snip", "synflow"])
def test_saliency_grows_with_what_an_option_keeps(lab, proxy):
    space, supernet, path, images = lab
    table = zero_cost_map(space, supernet, path, images, proxy, lambda net: net(images, path)[0].square().mean())
    for entry in table.entries[:5]:
        assert bool((entry.diff(dim=0) > 0).all()) and bool((entry.diff(dim=1) > 0).all())


def test_a_block_sees_what_the_soft_supernet_feeds_it(lab):
    space, supernet, path, images = lab
    first = zero_cost_map(space, supernet, path, images).entries
    other = [torch.eye(len(p))[0] for p in path]
    second = zero_cost_map(space, supernet, other, images).entries
    torch.testing.assert_close(first[0], second[0])  # nothing searchable lies before the first block
    assert not torch.allclose(first[3], second[3])


def test_unknown_proxy(lab):
    with pytest.raises(UnknownName, match="did you mean 'naswot'"):
        zero_cost_map(*lab, "naswott")


SMALL = {"num_classes": 4, "input_size": 16, "width": 0.25, "depth": 0.2, "stem_stride": 1}


def small(name, **options):
    space = spaces.create("yolo", image_size=32) if name == "yolo" else spaces.create(name, **SMALL | options)
    path = softmax(uniform_logits(space.choices))
    images = torch.rand(4, *space.input_shape, generator=torch.Generator().manual_seed(0))
    return space, space.supernet(seed=0), path, images


@pytest.mark.parametrize("name", spaces.names())
def test_there_is_a_naswot_map_in_every_space(name):
    space, supernet, path, images = small(name)
    table = zero_cost_map(space, supernet, path, images)
    assert [e.shape for e in table.entries] == [tuple(space.choices[d] for d in group) for group in space.groups]
    low, high = table.bounds()
    assert low < high and table.provenance["how"].startswith("naswot")
    torch.testing.assert_close(table.entries, zero_cost_map(space, supernet, path, images).entries)


def test_slots_that_are_decided_together_add_up():
    """Of nasbench201's three cells, scored one by one by hooks of the test's own."""
    space, supernet, path, images = small("nasbench201")
    seen = {slot.name: [] for slot in space.slots}
    for name, found in seen.items():
        supernet.parts[name].register_forward_pre_hook(lambda block, inputs, found=found: found.append(inputs[0]))
    table = zero_cost_map(space, supernet, path, images)
    supernet.eval()
    edges = [slot.name for slot in space.slots if space.deciding[slot.name] == space.groups[0]]
    assert len(edges) == 3
    scores = [naswot_options(supernet.parts[name], seen[name][0], (5,)) / len(images) for name in edges]
    torch.testing.assert_close(table.entries[0], sum(scores))
    none = space.operations.index("none")
    assert all(int(entry.argmin()) == none for entry in table.entries), "nothing is told apart by nothing"


@pytest.mark.parametrize(("name", "proxy"), [("spos", "snip"), ("spos", "synflow"), ("fairnas", "snip")])
def test_saliency_maps_where_every_option_has_weights(name, proxy):
    space, supernet, path, images = small(name)
    loss = lambda net: net(images, path).square().mean()  # noqa: E731
    table = zero_cost_map(space, supernet, path, images, proxy, loss)
    weights = {n: p for n, p in supernet.named_parameters() if p.ndim == 4}
    if proxy == "snip":
        supernet.eval()
        grads = torch.autograd.grad(loss(supernet), list(weights.values()))
        own = {n: (w * g).abs().sum() for (n, w), g in zip(weights.items(), grads, strict=True)}
        first = space.slots[0].name
        wanted = [
            sum(v for n, v in own.items() if n.startswith(f"parts.{first}.operations.{i}."))
            for i in range(space.choices[0])
        ]
        torch.testing.assert_close(table.entries[0].float(), torch.stack(wanted).log(), rtol=1e-3, atol=1e-3)
    assert table.bounds()[0] < table.bounds()[1]


@pytest.mark.parametrize("proxy", ["snip", "synflow"])
def test_options_without_weights_have_no_saliency(proxy):
    space, supernet, path, images = small("nasbench201")
    with pytest.raises(ProxyError, match=rf"{proxy} scores weights, and none of cell1_1_0to1 has none: take naswot"):
        zero_cost_map(space, supernet, path, images, proxy, lambda net: net(images, path).square().mean())


def test_saturated_activations_let_no_synflow_through():
    with pytest.raises(ProxyError, match=r"no synflow reaches stage.*: activations that saturate"):
        zero_cost_map(*small("fairnas"), "synflow")


def test_the_unit_of_the_loss_is_none_of_the_map_of_grasp(lab):
    """GraSP grows with the loss's square: without a scale of its own it drowns every other term, or is drowned."""
    space, supernet, path, images = lab

    def entries(scale):
        def loss(net):
            return scale * sum(m.square().mean() for m in net(images, path))

        return torch.cat([e.flatten() for e in zero_cost_map(space, supernet, path, images, "grasp", loss).entries])

    small, large = entries(1.0), entries(1e3)
    torch.testing.assert_close(large, small, rtol=1e-3, atol=1e-4)
    assert (small.abs() < float(torch.asinh(torch.tensor(1.0)))).double().mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("proxy", ["snip", "grasp", "zico"])
def test_a_loss_that_is_missing_is_a_sentence(lab, proxy):
    with pytest.raises(ProxyError, match=f"{proxy} needs a loss"):
        zero_cost_map(*lab, proxy)


def square_loss(net, x):
    return net(x).square().mean()


def test_grasp_is_the_change_of_the_gradients_square_along_the_weights():
    """Sum of w (H g) = d/dt |g(w + t w)|^2 / 2 at t = 0, by differences."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.SiLU(), torch.nn.Linear(4, 2)).double()
    x, start = torch.randn(5, 3, dtype=torch.float64), [p.detach().clone() for p in net.parameters()]

    def half_square(t):
        with torch.no_grad():
            for p, w in zip(net.parameters(), start, strict=True):
                p.copy_(w * (1 + t))
        return sum(g.square().sum() for g in torch.autograd.grad(square_loss(net, x), list(net.parameters()))) / 2

    slope = (half_square(1e-5) - half_square(-1e-5)) / 2e-5
    half_square(0.0)
    found = sum(s.sum() for s in grasp_saliency(net, lambda net: square_loss(net, x)).values())
    assert float(found) == pytest.approx(-float(slope), rel=1e-6)


def test_zico_of_a_block_is_the_mean_over_the_deviation_of_its_parts():
    torch.manual_seed(0)
    net, x = torch.nn.Linear(3, 1, bias=False), torch.randn(2, 4, 3)
    each = [torch.autograd.grad(square_loss(net, part), net.weight)[0] for part in x]
    mean, apart = (each[0].abs() + each[1].abs()) / 2, (each[0] - each[1]).abs() / 2
    found = zico_saliency(net, lambda net: torch.stack([square_loss(net, part) for part in x]))
    torch.testing.assert_close(found["weight"], (mean / apart).double())
    with pytest.raises(ProxyError, match="two or more parts"):
        zico_saliency(net, lambda net: square_loss(net, x[0]))


def test_random_maps_differ_by_seed_alone_and_none_says_nothing(lab):
    first, again, other = (zero_cost_map(*lab, "random", seed=s).entries for s in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert not any(entry.any() for entry in zero_cost_map(*lab, "none").entries)


@pytest.mark.parametrize("semantics", ["sliced", "faithful"])
@pytest.mark.parametrize("proxy", ["naswot", "snip", "synflow", "grasp", "zico"])
def test_maps_of_elan_blocks_see_width_and_length(proxy, semantics):
    space = spaces.create("yolo", template="elan", num_classes=3, image_size=64, semantics=semantics)
    supernet, path = space.supernet(seed=0), softmax(uniform_logits(space.choices))
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    recalibrate(supernet, [images], lambda net, x: net(x, path))  # else deep blocks see four images that are alike

    def loss(net):
        losses = sum(m.square().flatten(1).mean(1) for m in net(images, path))
        return losses.view(2, -1).mean(1) if proxy == "zico" else losses.mean()

    table = zero_cost_map(space, supernet, path, images, proxy, loss)
    assert [tuple(e.shape) for e in table.entries] == [(3, 2, 2, 2)] * 8
    for entry in table.entries:
        assert len(entry.unique()) > 6, "options differ"
        if proxy not in ("grasp", "naswot"):  # what only ever grows with what is kept
            assert entry[2, 1, 1, 1] == entry.max() and entry[0, 0, 0, 0] == entry.min()
        if (proxy, semantics) == ("naswot", "sliced"):  # the faithful supernet runs the whole chain
            assert entry[1, 0, 0, 1] > entry[1, 0, 0, 0], "SiLU is seen, and a chain that runs counts"
