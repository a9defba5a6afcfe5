"""Weight files in the layout of Zen-NAS's authors, made here layer by layer, give the same outputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nasedu import spaces
from nasedu.errors import CheckpointError
from nasedu.spaces.plainnet import PUBLISHED, load_weights
from nasedu.spaces.plainnet.weights import authors_names


class Leaf(nn.Module):
    """A layer of theirs; an activation has no `netblock`."""

    def __init__(self, layer=None):
        super().__init__()
        if layer is not None:
            self.netblock = layer

    def forward(self, x):
        return self.netblock(x) if hasattr(self, "netblock") else x.relu()


class Chain(nn.Module):
    def __init__(self, parts, shortcut=None):
        super().__init__()
        self.module_list, self.proj = nn.ModuleList(parts), shortcut

    def forward(self, x):
        for part in self.module_list:
            x = part(x)
        return x


class Residual(Chain):
    def forward(self, x):
        return super().forward(x) + (self.proj(x) if self.proj else x)


class SE(Leaf):
    def forward(self, x):
        return x * self.netblock(x)


def norm(channels):
    return nn.BatchNorm2d(channels, eps=1e-3)


def conv(c_in, c_out, k=1, stride=1, groups=1):
    return [Leaf(nn.Conv2d(c_in, c_out, k, stride, k // 2, groups=groups, bias=False)), Leaf(norm(c_out))]


def se(c):
    h = max(1, round(c / 4))
    return SE(
        nn.Sequential(
            nn.AdaptiveAvgPool2d((1, 1)),
            nn.Conv2d(c, h, 1, bias=False),
            norm(h),
            nn.ReLU(),
            nn.Conv2d(h, c, 1, bias=False),
            norm(c),
            nn.Sigmoid(),
        )
    )


def unit(inner, c_in, c_out, stride=1, first=False):
    shortcut = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride), norm(c_out)) if first or c_in != c_out else None
    return [Residual(inner, shortcut), Leaf()]


def bottleneck(c_in, mid, c_out, k, stride=1, first=False):
    inner = [*conv(c_in, mid), Leaf(), *conv(mid, mid, k, stride), Leaf(), *conv(mid, c_out)]
    return unit(inner, c_in, c_out, stride, first)


def inverted(c_in, wide, c_out, k, stride=1, first=False):
    inner = [*conv(c_in, wide), Leaf(), *conv(wide, wide, k, stride, wide), Leaf(), se(wide), *conv(wide, c_out)]
    return unit(inner, c_in, c_out, stride, first)


class MasterNet(nn.Module):
    """Their network of blocks, with weights and statistics that no two layers share."""

    def __init__(self, blocks, channels, classes):
        super().__init__()
        self.module_list, self.fc_linear = nn.ModuleList(blocks), Leaf(nn.Linear(channels, classes))
        generator = torch.Generator().manual_seed(0)
        for name, tensor in self.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
                tensor.abs_().add_(0.5) if name.endswith("running_var") else None

    def forward(self, x):
        for block in self.module_list:
            x = block(x)
        return self.fc_linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


def stem():
    return Chain([*conv(3, 16, 3, 2), Leaf()])


def head(c_in):
    return Chain([*conv(c_in, 24), Leaf()])


def residuals():
    """Two bottleneck layers, which are four units, and two basic units."""
    narrow = bottleneck(16, 8, 32, 5, 2, True) + bottleneck(32, 8, 32, 5)
    narrow += bottleneck(32, 8, 32, 5) + bottleneck(32, 8, 32, 5)
    basic = unit([*conv(32, 16, 3), Leaf(), *conv(16, 40, 3)], 32, 40, first=True)
    basic += unit([*conv(40, 16, 3), Leaf(), *conv(16, 40, 3)], 40, 40)
    text = (
        "SuperConvK3BNRELU(3,16,2,1)SuperResK1K5K1(16,32,2,8,2)SuperResK3K3(32,40,1,16,2)SuperConvK1BNRELU(40,24,1,1)"
    )
    return MasterNet([stem(), Chain(narrow), Chain(basic), head(40)], 24, 7), text, {}


def mobile():
    """Inverted units with squeeze-and-excitation; the second of a layer changes the width without being the first."""
    units = inverted(16, 32, 16, 7, 2, True) + inverted(16, 80, 40, 7)
    text = "SuperConvK3BNRELU(3,16,2,1)SuperResIDWE2K7(16,40,2,16,1)SuperConvK1BNRELU(40,24,1,1)"
    return MasterNet([stem(), Chain(units), head(40)], 24, 7), text, {"blocks": "idw", "squeeze_excite": True}


def ours(text, options):
    space = spaces.create("plainnet", num_classes=7, input_size=32, **options)
    return space.build(space.parse(text), seed=3).eval()


@pytest.mark.parametrize("theirs", [residuals, mobile])
def test_a_file_of_theirs_gives_their_outputs(theirs, tmp_path):
    model, text, options = theirs()
    model.eval()
    file = tmp_path / "student_best-params_rank0.pth"
    status = {"best_acc1": 83.6, "best_acc1_at_epoch": 479}
    told = {"epoch": 479, "top1_acc": np.float64(83.6), "training_status_info": status}
    torch.save(told | {"state_dict": model.state_dict()}, file)
    network, x = ours(text, options), torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert not torch.allclose(network(x), model(x), atol=1e-2)
    load_weights(network, file)
    torch.testing.assert_close(network(x), model(x), rtol=1e-4, atol=1e-4)
    torch.save({f"module.{name}": value for name, value in model.state_dict().items()}, file)  # of several devices
    again = ours(text, options)
    load_weights(again, file)
    assert torch.equal(again(x), network(x))
    both = {f"student_model.{name}": value for name, value in model.state_dict().items()}
    torch.save({"state_dict": both | {"proj_conv.0.weight": torch.zeros(3)}}, file)  # of a training with a teacher
    again = ours(text, options)
    load_weights(again, file)
    assert torch.equal(again(x), network(x))


def test_a_file_of_another_network_is_refused(tmp_path):
    model, text, _ = residuals()
    network = ours(text, {})
    before = [p.clone() for p in network.parameters()]
    held = model.state_dict()
    lacking = {name: value for name, value in held.items() if "proj" not in name}
    more = held | {"module_list.9.module_list.0.netblock.weight": torch.zeros(1)}
    wide = held | {"fc_linear.netblock.weight": torch.zeros(8, 24)}
    for state, told in ((lacking, "lacks 'parts.2_"), (more, "has no layer 'module_list.9"), (wide, "has shape")):
        torch.save(state, tmp_path / "w.pth")
        with pytest.raises(CheckpointError, match=told):
            load_weights(network, tmp_path / "w.pth")
    assert all(map(torch.equal, before, network.parameters()))


def test_ones_own_file_is_read_as_ever(tmp_path):
    _, text, _ = residuals()
    network, other = ours(text, {}), ours(text, {})
    with torch.no_grad():
        next(network.parameters()).add_(1.0)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    load_weights(other, tmp_path / "w.pth")
    assert all(map(torch.equal, network.parameters(), other.parameters()))


@pytest.mark.parametrize("name", [name for name in PUBLISHED if "ms" not in name])
def test_every_layer_of_a_published_network_has_a_name_of_theirs(name):
    space, arch = spaces.published("plainnet", name)
    with torch.device("meta"):
        network = space.build(arch)
    names = authors_names(network)
    layers = {n for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d | nn.Linear)}
    assert set(names.values()) == layers and len(names) == len(layers)
