"""Networks in int8: near the float ones, on scales of their own channels and of the caller's images."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from nasedu.blocks import ConvBN
from nasedu.errors import ParameterError
from nasedu.hardware import measure, runtimes
from nasedu.hardware.export import example_inputs, onnx_model
from nasedu.hardware.quantise import quantised

pytestmark = pytest.mark.filterwarnings("ignore::nasedu.hardware.NoisyMeasurement")
SHAPE = (3, 12, 12)


def run(model, *maps, runtime="onnxruntime"):
    network = runtimes.load(model.SerializeToString(), runtime)
    return network({name: x.numpy() for name, x in zip(network.inputs, maps, strict=True)})


def samples(n=4, scale=1.0):
    return [(scale * x,) for seed in range(n) for x in example_inputs([SHAPE], seed=seed)]


def operators(model):
    return [node.op_type for node in model.graph.node]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    module = nn.Sequential(ConvBN(3, 16, 3), nn.SiLU(), nn.MaxPool2d(2), ConvBN(16, 8, 3), nn.Conv2d(8, 4, 1)).eval()
    model = onnx_model(module, SHAPE)
    return module, model, quantised(model, samples())


@pytest.mark.parametrize("runtime", runtimes.RUNTIMES)
def test_int8_is_near_float_and_is_int8(network, runtime):
    module, _, small = network
    (x,) = example_inputs([SHAPE], seed=0)
    (found,), expected = run(small, x, runtime=runtime), module(x).detach().numpy()
    error, spread = np.abs(found - expected).max(), np.ptp(expected)
    assert 0 < error < 0.05 * spread
    weights = {one.name: one for one in small.graph.initializer}
    kinds = [
        weights[node.input[0]].data_type
        for node in small.graph.node
        if node.op_type == "DequantizeLinear"
        if node.input[0] in weights
    ]
    assert onnx.TensorProto.INT8 in kinds and onnx.TensorProto.FLOAT not in kinds
    assert "BatchNormalization" not in operators(small), "norms cost nothing once they are in the convolutions"


def test_the_float_model_stays_as_it_was(network):
    module, model, _ = network
    assert "QuantizeLinear" not in operators(model)
    (x,) = example_inputs([SHAPE], seed=5)
    np.testing.assert_allclose(run(model, x)[0], module(x).detach().numpy(), atol=1e-5)


def test_every_channel_has_a_scale_of_its_own():
    """With one scale for all, a huge channel leaves the others no step between 0 and their weights."""
    torch.manual_seed(1)
    module = nn.Conv2d(3, 4, 3, bias=False).eval()
    with torch.no_grad():
        module.weight[0], module.weight[0, 0] = 0, 1000  # of a colour that no image has, so that no map is huge
    dark = [(x * torch.tensor([0, 1, 1]).view(3, 1, 1),) for (x,) in samples()]
    small = quantised(onnx_model(module, SHAPE), dark)
    expected = module(*dark[0]).detach().numpy()
    assert np.abs(run(small, *dark[0])[0] - expected).max() < 0.05 * np.ptp(expected)
    weights = [onnx.numpy_helper.to_array(one) for one in small.graph.initializer if len(one.dims) == 4]
    (held,) = (one for one in weights if one.dtype == np.int8)
    assert set(np.abs(held).max((1, 2, 3))) <= {63, 64}, "each channel uses the whole of 7 bits"


def test_sums_do_not_overflow():
    """Two products of full bytes are more than the 16 bits in which some processors add them."""
    module = nn.Conv2d(8, 1, 3, bias=False).eval()
    nn.init.constant_(module.weight, 0.5)
    x = torch.ones(1, 8, 6, 6)
    small = quantised(onnx_model(module, (8, 6, 6)), [(x,), (0 * x,)])
    np.testing.assert_allclose(run(small, x)[0], 36, rtol=0.02)


def test_scales_fit_the_callers_images(network):
    """What is larger than all that it saw is cut; where they were large, small maps fall into few steps."""
    module, model, _ = network
    (x,) = example_inputs([SHAPE], seed=0)
    near, expected = quantised(model, samples(scale=0.1)), module(0.1 * x).detach().numpy()
    far = quantised(model, samples(scale=30))
    error = [np.abs(run(small, 0.1 * x)[0] - expected).max() for small in (near, far)]
    assert 10 * error[0] < error[1]
    loud = module(30 * x).detach().numpy()
    error = [np.abs(run(small, 30 * x)[0] - loud).max() / np.ptp(loud) for small in (near, far)]
    assert error[0] > 0.3 and error[1] < 0.05


def test_a_head_stays_in_floats(network):
    """The last convolutions and what lies behind, in every branch; all before it is int8."""

    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3), nn.Conv2d(8, 4, 1)

        def forward(self, x):
            x = self.stem(x).relu()
            return self.a(x).relu(), self.b(x)

    torch.manual_seed(0)
    module = Branches().eval()
    model = onnx_model(module, SHAPE)
    small = quantised(model, samples(), float_head=True)
    made = {name: node for node in small.graph.node for name in node.output}
    convs = [node for node in small.graph.node if node.op_type == "Conv"]
    whole = [made[node.input[1]].op_type if node.input[1] in made else "float" for node in convs]
    assert sorted(whole) == ["DequantizeLinear", "float", "float"]
    assert not any(made[out.name].op_type == "DequantizeLinear" for out in small.graph.output)
    every = quantised(model, samples())
    assert all(made_by(every, out.name) == "DequantizeLinear" for out in every.graph.output)


def made_by(model, name):
    return next(node.op_type for node in model.graph.node if name in node.output)


@pytest.mark.parametrize("runtime", runtimes.RUNTIMES)
def test_a_norm_behind_a_concatenation_stays_in_floats(runtime, randomised):
    class Joined(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Conv2d(8, 4, 1)
            self.norm = nn.BatchNorm2d(8)

        def forward(self, x):
            return self.last(nn.functional.silu(self.norm(torch.cat([self.a(x), self.b(x)], 1))))

    torch.manual_seed(0)
    module = randomised(Joined())
    small = quantised(onnx_model(module, SHAPE, opset=17), samples())
    made = {name for node in small.graph.node for name in node.output}
    (norm,) = (node for node in small.graph.node if node.op_type == "BatchNormalization")
    assert made.isdisjoint(norm.input[1:]), "its factors are bytes"
    (x,) = example_inputs([SHAPE], seed=0)
    expected = module(x).detach().numpy()
    assert np.abs(run(small, x, runtime=runtime)[0] - expected).max() < 0.06 * np.ptp(expected)


def test_equal_images_make_equal_networks(network):
    _, model, small = network
    again = quantised(model, iter(samples()))
    assert again.SerializeToString(deterministic=True) == small.SerializeToString(deterministic=True)
    assert not small.metadata_props and b"/tmp" not in small.SerializeToString()


def test_what_cannot_be_quantised_is_one_sentence(network):
    module, model, _ = network
    with pytest.raises(ParameterError, match=r"one calibration image or more and .*, got none"):
        quantised(model, [])
    with pytest.raises(ParameterError, match="opset 13 or newer, got opset 12"):
        quantised(onnx_model(module, SHAPE, opset=12), samples())


@pytest.mark.parametrize("runtime", runtimes.RUNTIMES)
@pytest.mark.parametrize("module", [nn.MaxPool2d(2), nn.Upsample(scale_factor=2), nn.Identity()])
def test_blocks_without_weights_are_timed_as_well(runtime, module):
    measured = measure(module, SHAPE, backend=runtime, precision="int8", repeats=3)
    assert measured.median > 0 and (measured.backend, measured.precision) == (runtime, "int8")
    assert "int8" in str(measured)


def test_a_pool_alone_computes_in_bytes_as_it_does_within_a_network():
    small = quantised(onnx_model(nn.MaxPool2d(2), SHAPE), samples())
    assert operators(small).count("QuantizeLinear") >= 1
