"""Counting, layer by layer: exact, complete, and without touching or copying the network."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import DeformConv2d

from nasedu import spaces
from nasedu.blocks import Cost
from nasedu.errors import ParameterError
from nasedu.hardware import count


class Twice(nn.Module):
    """A layer that runs twice, a tied one, an addition, a product of matrices, a frozen and an idle layer."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.tied = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.tied.weight = self.conv.weight
        self.frozen = nn.Linear(5, 5).requires_grad_(False)
        self.idle = nn.Linear(7, 2)
        self.scale = nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x):
        y = self.conv(self.conv(x)) + self.tied(x)
        return torch.einsum("bchw,bchv->bcwv", self.scale * y, self.frozen(y))


def pytorchs(module, *shapes):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*(torch.zeros(1, *shape) for shape in shapes))
    return counter.get_total_flops()


@pytest.mark.parametrize(
    ("module", "shape", "macs"),
    [
        (nn.Conv2d(4, 6, 3, stride=2, padding=1), (4, 9, 9), 5 * 5 * 6 * 4 * 9),
        (nn.Conv2d(4, 6, 3, groups=2), (4, 5, 5), 3 * 3 * 6 * 2 * 9),
        (nn.Conv2d(4, 4, 3, groups=4, dilation=2), (4, 5, 5), 4 * 9),
        (nn.ConvTranspose2d(4, 6, 2, stride=2), (4, 5, 5), 5 * 5 * 4 * 6 * 4),
        (nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2), (4, 5, 5), 5 * 5 * 4 * 3 * 4),
        (nn.Conv1d(3, 2, 3), (3, 7), 5 * 2 * 3 * 3),
        (nn.Linear(8, 3), (5, 8), 5 * 8 * 3),
    ],
)
def test_convolution_and_linear_layers_are_counted_as_by_hand_and_as_by_pytorch(module, shape, macs):
    counted = count(module, shape)
    assert (counted.macs, counted.flops) == (macs, pytorchs(module, shape))
    assert counted.params == sum(p.numel() for p in module.parameters())
    assert counted == Cost(macs, counted.params) == counted and Cost(macs, 0) != counted
    assert counted + Cost(1, 2) == Cost(macs + 1, counted.params + 2)
    assert len(counted.layers) == 1 and counted.layers[0].kind == type(module).__name__


def test_bytes_of_one_layer():
    (layer,) = count(nn.Conv2d(3, 8, 3, padding=1), (3, 10, 10)).layers
    assert layer.shape == (8, 10, 10) and layer.activation_bytes == 4 * 800
    assert layer.weight_bytes == 4 * (8 * 27 + 8)
    assert layer.moved_bytes == 4 * 300 + 4 * 800 + layer.weight_bytes
    assert layer.intensity == 100 * 8 * 27 / layer.moved_bytes
    half = count(nn.Conv2d(3, 8, 3, padding=1).half(), (3, 10, 10))
    assert half.moved_bytes == layer.moved_bytes / 2 and half.intensity == 2 * layer.intensity
    grid = nn.ReLU()
    grid.register_buffer("made_anew", torch.zeros(50), persistent=False)
    assert count(grid, (3, 10, 10)).weight_bytes == 0
    norm = count(nn.BatchNorm2d(8), (8, 2, 2))
    assert (norm.params, norm.weight_bytes) == (16, 4 * 32 + 8)  # the statistics and the number of batches travel, too


def test_nothing_is_counted_twice_and_nothing_is_lost():
    module = Twice()
    counted = count(module, (4, 5, 5))
    assert counted.flops == pytorchs(module, (4, 5, 5))
    assert counted.params == sum(p.numel() for p in module.parameters() if p.requires_grad) == 144 + 16 + 4
    assert counted.weight_bytes == 4 * sum(p.numel() for p in module.parameters())
    for total in ("macs", "params", "weight_bytes", "activation_bytes", "moved_bytes"):
        assert getattr(counted, total) == sum(getattr(layer, total) for layer in counted.layers)
    calls = [(layer.name, layer.macs, layer.params) for layer in counted.layers]
    convs = 25 * 16 * 9
    assert calls[:4] == [("conv", convs, 144), ("conv", convs, 0), ("tied", convs, 0), ("frozen", 500, 0)]
    assert calls[4:] == [("Twice", 4 * 5 * 5 * 5, 4), ("idle", 0, 16)]
    assert counted.layers[0].moved_bytes == counted.layers[1].moved_bytes  # weights are read at every call
    assert "add" in counted.layers[4].kind and counted.layers[4].activation_bytes == 4 * 3 * 100  # +, *, product


def test_memory_does_not_depend_on_doing_it_in_place_and_views_have_none():
    shape = (4, 6, 6)
    in_place, fresh = (count(nn.Sequential(nn.ReLU(flag), nn.Flatten()), shape) for flag in (True, False))
    assert [layer.activation_bytes for layer in in_place.layers] == [4 * 144, 0]
    assert in_place.layers == fresh.layers


def test_the_layers_of_a_space_add_up_and_the_frame_ends_with_the_total():
    space = spaces.create("yolo:course")
    with torch.device("meta"):
        network = space.build(space.hand_designed)
    counted = count(network, space.input_shape)
    frame = counted.frame()
    assert frame.index[-1] == "total" and len(frame) == len(counted.layers) + 1
    numbers = ["macs", "params", "activation_bytes", "weight_bytes", "moved_bytes"]
    assert (frame[numbers][:-1].sum() == frame[numbers].iloc[-1]).all()
    assert frame["intensity"].iloc[-1] == counted.macs / counted.moved_bytes
    assert counted.weight_bytes == sum(t.numel() * t.element_size() for t in network.state_dict().values())


def test_the_network_is_neither_copied_nor_changed(monkeypatch):
    """Storage that refuses to be copied stands for weights that would not fit twice."""
    seen = []
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout()).train()
    module[1].eval()
    module[0].register_forward_hook(lambda *_: seen.append("hook"))
    module[0].anchors = torch.ones(3)
    before = {name: (id(t), t.device, t.clone()) for name, t in module.state_dict(keep_vars=True).items()}
    hooks = copy.copy(module[0]._forward_hooks)
    for copies in ("__deepcopy__", "clone", "to", "cpu"):
        monkeypatch.setattr(torch.Tensor, copies, lambda *_, **__: pytest.fail("copied"))
    monkeypatch.setattr(nn.Parameter, "__deepcopy__", lambda *_: pytest.fail("copied"))
    count(module, (3, 8, 8))
    monkeypatch.undo()
    assert [part.training for part in module] == [True, False, True] and module.training
    for name, tensor in module.state_dict(keep_vars=True).items():
        key, device, value = before[name]
        assert (id(tensor), tensor.device) == (key, device) and torch.equal(tensor, value)
    assert not seen and module[0]._forward_hooks == hooks
    module(torch.zeros(2, 3, 8, 8))
    assert seen == ["hook"]


class Making(nn.Module):
    """A forward pass that makes tensors, and keeps some where no module looks."""

    def __init__(self):
        super().__init__()
        self.kept = [torch.ones(2, 1, 1), {"more": (torch.ones(1),)}]

    def forward(self, x):
        return x + torch.ones(2, 1, 1) + torch.arange(3) * self.kept[0] * self.kept[1]["more"][0]


def test_tensors_made_on_the_way_or_kept_in_containers_are_counted_without_data():
    module = Making()
    counted = count(module, (2, 3, 3))
    assert counted.layers[0].shape == (2, 3, 3) and counted.activation_bytes == 4 * 18
    assert not module.kept[0].is_meta and torch.ones(1).device.type == "cpu"


def test_inputs_by_name_are_read_as_others_are():
    class Add(nn.Module):
        def forward(self, x, other):
            return x + other

    class Outer(nn.Module):
        def __init__(self, named):
            super().__init__()
            self.add, self.named = Add(), named

        def forward(self, x):
            return self.add(x, other=x + x) if self.named else self.add(x, x + x)

    assert count(Outer(True), (2, 3, 3)).moved_bytes == count(Outer(False), (2, 3, 3)).moved_bytes


def test_a_network_larger_than_the_memory_is_counted():
    with torch.device("meta"):
        layer = nn.Linear(10**6, 10**7)
    counted = count(layer, (10**6,))
    assert counted.macs == 10**13 and counted.weight_bytes == 4 * (10**13 + 10**7)


def test_networks_without_weights_on_several_inputs():
    class Add(nn.Module):
        def forward(self, x, y):
            return x + y

    counted = count(Add(), (2, 3, 3), (2, 3, 3))
    assert (counted.macs, counted.params, counted.moved_bytes, counted.intensity) == (0, 0, 4 * 18 * 3, 0)


class Calls(nn.Module):
    """A function of x, with a matrix (7, 12) and another module at hand."""

    def __init__(self, function, module=None):
        super().__init__()
        self.function, self.module, self.w = function, module, nn.Parameter(torch.ones(7, 12))

    def forward(self, x):
        return self.function(self, x)


DEFORMED = DeformConv2d(4, 6, 3, padding=1, groups=2)
ATTENTION = nn.MultiheadAttention(8, 2, batch_first=True)
PRODUCTS = {
    "matrix times vector": (Calls(lambda s, x: s.w @ x.flatten()), (3, 2, 2), 7 * 12),
    "and a sum": (Calls(lambda s, x: torch.addmv(s.w[:, 0], s.w, x.flatten())), (3, 2, 2), 7 * 12),
    "vector times vector": (Calls(lambda s, x: x.flatten() @ x.flatten()), (3, 2, 2), 12),
    "matrices summed": (Calls(lambda s, x: torch.addbmm(torch.zeros(1), x, x)), (4, 4), 4**3),
    "einsum": (Calls(lambda s, x: torch.einsum("oi,bijk->bojk", s.w[:, :3], x)), (3, 2, 2), 7 * 3 * 4),
    "einsum of a vector": (Calls(lambda s, x: torch.einsum("oi,i->o", s.w, x.flatten())), (3, 2, 2), 7 * 12),
    "bilinear": (Calls(lambda s, x: s.module(x[..., 0], x[..., 1]), nn.Bilinear(4, 4, 5)), (3, 4, 2), 3 * 5 * 4 * 4),
    "deformable": (Calls(lambda s, x: s.module(x, torch.zeros(1, 18, 5, 5)), DEFORMED), (4, 5, 5), 25 * 6 * 2 * 9),
    "attention": (Calls(lambda s, x: F.scaled_dot_product_attention(x, x, x)), (2, 5, 8), 2 * 2 * 5 * 5 * 8),
    "heads": (Calls(lambda s, x: s.module(x, x, x)[0], ATTENTION), (5, 8), 4 * 5 * 8 * 8 + 2 * 5 * 5 * 8),
    "LSTM": (nn.LSTM(6, 10, 2, batch_first=True), (4, 6), 4 * (40 * (6 + 10) + 40 * (10 + 10))),
    "two ways": (nn.LSTM(6, 10, batch_first=True, bidirectional=True), (4, 6), 2 * 4 * 40 * 16),
    "GRU": (nn.GRU(6, 10, batch_first=True), (4, 6), 4 * 30 * 16),
    "RNN": (nn.RNN(6, 10, batch_first=True), (4, 6), 4 * 10 * 16),
    "no product": (nn.Upsample(scale_factor=2, mode="bilinear"), (3, 4, 4), 0),
}


@pytest.mark.parametrize(("module", "shape", "macs"), PRODUCTS.values(), ids=PRODUCTS)
def test_every_product_is_counted(module, shape, macs):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = count(module, shape)
    assert found.macs == macs == sum(layer.macs for layer in found.layers) and not found.missed


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda s, x: torch.cdist(x, x), "cdist|euclidean_dist"),
        (lambda s, x: torch.fft.fft2(x).abs(), "fft"),
        (lambda s, x: torch.linalg.solve(x, x), "linalg_solve"),
    ],
)
def test_what_is_not_counted_is_named(function, name):
    with pytest.warns(UserWarning, match=f"not counted: .*({name})"):
        found = count(Calls(function), (30, 30))
    assert len(found.missed) == 1


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (nn.Sequential(nn.LazyConv2d(8, 3), nn.ReLU()), "has lazy layers without a shape"),
        (torch.jit.script(nn.Sequential(nn.Linear(16, 8))), "TorchScript hides the layers"),
        (torch.jit.freeze(torch.jit.script(nn.Linear(16, 8).eval())), "TorchScript hides the layers"),
        (nn.Conv2d(4, 8, 3), r"Conv2d cannot be counted.* on inputs of \(3, 16, 16\): .*channel"),
        (Calls(lambda s, x: x[x > 0].sum()), "Calls cannot be counted, without data"),
        (Calls(lambda s, x: x if x.sum() > 0 else -x), "Calls cannot be counted, without data"),
    ],
)
def test_what_cannot_be_counted_is_one_sentence(module, words):
    with pytest.raises(ParameterError, match=words) as told:
        count(module, (3, 16, 16))
    assert len(str(told.value)) < 300 and "\n" not in str(told.value)


def test_masks_and_computed_weights_count_once():
    plain = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
    masked = prune.l1_unstructured(copy.deepcopy(plain)[0], "weight", 0.5)
    masked(torch.ones(1, 3, 8, 8))
    assert count(masked, (3, 8, 8)) == count(plain, (3, 8, 8))
    normed = nn.utils.weight_norm(copy.deepcopy(plain)[0])
    normed(torch.ones(1, 3, 8, 8))  # its weight belongs to a graph from now on
    assert count(normed, (3, 8, 8)) == Cost(count(plain, (3, 8, 8)).macs, 8 * 27 + 8 + 8)
