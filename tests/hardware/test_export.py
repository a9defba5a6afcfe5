import copy
import gzip
import logging

import onnx
import pytest
import torch
from torch import nn

from nasedu import spaces
from nasedu.blocks import ConvBN
from nasedu.blocks.fbnet import ChannelShuffle
from nasedu.deploy.kit.write import computes_nothing, repeat_weights
from nasedu.hardware.export import OPSETS, example_inputs, export_onnx, onnx_difference, onnx_model, onnx_session
from nasedu.tables.pieces import pieces, runs


class Two(nn.Module):
    """Two inputs, and a nested result of three."""

    def __init__(self):
        super().__init__()
        self.conv = ConvBN(2, 64, 3)

    def forward(self, a, b):
        a = self.conv(a)
        return a, [b + 1, (a.mean((2, 3)),)]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    torch.manual_seed(0)
    module = Two().train()
    module.conv.bn.running_mean.uniform_()
    path = tmp_path_factory.mktemp("onnx") / "two.onnx"
    export_onnx(module, path, (2, 6, 6), (3, 4, 4), batch=2)
    return module, path


def test_the_file_computes_what_the_module_does(two):
    module, path = two
    assert module.training
    inputs = example_inputs([(2, 6, 6), (3, 4, 4)], batch=4, seed=1)  # the file takes 2 at a time
    first, second, third = onnx_difference(module, path, *inputs)
    assert module.training and max(first, second, third) < 1e-5
    session = onnx_session(path)
    assert {x.name: x.shape for x in session.get_inputs()} == {"x0": [2, 2, 6, 6], "x1": [2, 3, 4, 4]}
    assert [y.name for y in session.get_outputs()] == ["y0", "y1", "y2"]
    assert [y.shape for y in session.get_outputs()] == [[2, 64, 6, 6], [2, 3, 4, 4], [2, 64]]
    other = copy.deepcopy(module)
    with torch.no_grad():
        other.conv.conv.weight.mul_(1.5)
    first, second, third = onnx_difference(other, path, *inputs)
    assert first > 1e-2 and second == 0 and third > 1e-3  # y1 does not pass through the convolution
    inputs[0][:2], inputs[1][:2] = 0, 0
    alike = onnx_difference(other, path, *(x[:2] for x in inputs))[0]
    assert onnx_difference(other, path, *inputs)[0] > max(1e-2, alike)  # every part counts


def test_the_file_says_nothing_of_this_machine(two):
    text = two[1].read_bytes()
    assert b"site-packages" not in text and b".py" not in text and b"nasedu" not in text
    onnx.checker.check_model(onnx.load(two[1]), full_check=True)


def test_equal_modules_make_equal_files(two, tmp_path):
    module, path = two
    export_onnx(module, tmp_path / "again.onnx", (2, 6, 6), (3, 4, 4), batch=2)
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()


def test_a_kits_weights_leave_the_model_whole(two):
    model = onnx.load(two[1])
    repeat_weights(model)
    session = onnx_session(gzip.decompress(gzip.compress(model.SerializeToString())))
    a, b = example_inputs(((2, 6, 6), (3, 4, 4)), batch=2)
    assert all(abs(y).max() < 100 for y in session.run(None, {"x0": a.numpy(), "x1": b.numpy()}))
    assert not computes_nothing(model)


class Away(nn.Module):
    """An identity, but for a module that lies on a device that rounds."""

    away = True

    def forward(self, x):
        return x + 0.01 * self.away

    def cpu(self):
        self.away = False
        return super().cpu()


def test_an_identity_computes_nothing(tmp_path, capfd, caplog):
    level = logging.getLogger("onnx_ir").level
    with caplog.at_level(logging.DEBUG):
        export_onnx(nn.Identity(), tmp_path / "skip.onnx", (2, 4, 4))
    assert computes_nothing(onnx.load(tmp_path / "skip.onnx"))
    assert onnx_difference(nn.Identity(), tmp_path / "skip.onnx", *example_inputs([(2, 4, 4)])) == [0]
    lies = Away()
    assert onnx_difference(lies, tmp_path / "skip.onnx", *example_inputs([(2, 4, 4)])) == [0] and lies.away
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("onnx_ir").level == level


@pytest.mark.parametrize("name", ["fbnet", "spos", "proxylessnas", "nasbench201", "yolo", "yolo:elan"])
def test_every_kind_of_block_can_be_written_for_tools_that_lag_behind(name):
    space, seen = spaces.create(name if ":" in name else f"{name}:course"), set()
    for piece in pieces(space):
        module = piece.make().eval()
        kinds = frozenset((type(part), getattr(part, "groups", 1) > 1) for part in module.modules())
        if kinds in seen or not runs(module):
            continue
        seen.add(kinds)
        model = onnx_model(module, *piece.input_shapes, opset=OPSETS[0])
        assert max(onnx_difference(module, model.SerializeToString(), *example_inputs(piece.input_shapes))) < 1e-4
    assert len(seen) > 2


@pytest.mark.parametrize("groups", [2, 3, 6])
def test_channels_are_shuffled_as_pytorch_does(groups):
    maps = torch.randn(2, 12, 3, 3)
    assert torch.equal(ChannelShuffle(groups)(maps), nn.functional.channel_shuffle(maps, groups))
