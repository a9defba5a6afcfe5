"""What a network costs on paper, layer by layer: multiply-accumulates, parameters, bytes; counted without memory."""

from __future__ import annotations

import copy
import math
import re
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from textwrap import shorten

import torch
import torchvision  # noqa: F401 - which registers its operations
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from nasedu.blocks import Cost
from nasedu.errors import ParameterError, brief, check_kind, check_whole
from nasedu.modules import evaluation_mode, held_tensors, hidden, told_of_inputs

# Products that PyTorch's counter leaves out, by the shapes of what goes in: FLOPs, two for a multiply-accumulate. A
# bilinear layer uses each weight once; what a deformable convolution interpolates is not counted.
aten = torch.ops.aten
MORE_FLOPS = {
    aten.mv: lambda matrix, _vector, **_: 2 * math.prod(matrix),
    aten.addmv: lambda _sum, matrix, _vector, **_: 2 * math.prod(matrix),
    aten.dot: lambda vector, _other, **_: 2 * math.prod(vector),
    aten.vdot: lambda vector, _other, **_: 2 * math.prod(vector),
    aten.addbmm: lambda _sum, left, right, **_: 2 * math.prod(left) * right[-1],
    aten._trilinear: lambda left, weight, right, *_, **__: 2 * left[0] * math.prod(weight),
    aten.conv_tbc: lambda _x, w, *_, out_shape, **__: 2 * math.prod(out_shape) * math.prod(w[:2]),
    torch.ops.torchvision.deform_conv2d: lambda _x, w, *_, out_shape, **__: 2 * math.prod(out_shape) * math.prod(w[1:]),
}
UNKNOWN = re.compile(r"aten::.*(linalg_(?!vector_norm|check)|fft_|cdist|euclid|rnn|solve|_transformer)|(?!aten|prim)")
# activations: their result is like their argument, or is it
ALIKE = [name + place for name in ("relu", "leaky_relu", "hardtanh", "hardswish", "hardsigmoid") for place in ("", "_")]
ALIKE = {getattr(aten, name): name.endswith("_") for name in ALIKE}
HOOKS = ("_forward_hooks", "_forward_pre_hooks")


class _Moves:
    """What computes `macs` and moves `moved_bytes`."""

    @property
    def intensity(self) -> float:
        """Arithmetic intensity: MACs per byte moved (0 where nothing moves)."""
        return self.macs / self.moved_bytes if self.moved_bytes else 0.0


@dataclass(frozen=True)
class LayerCost(_Moves):
    """One call of one layer, or what a module that holds layers does between them (an addition, say).

    `kind` is the layer's class, or the names of the operations. `params` (trainable) and `weight_bytes` (all parameters
    and stored buffers) stand at a layer's first call and are 0 where weights were counted before. `activation_bytes`
    is the size of the results, in place or not; views have none. `moved_bytes` is what a call reads and writes: inputs,
    results, and at every call all parameters and buffers of the layer, whether it needs them or not (a batch norm's
    counter). `shape` is the first result's, without the batch.
    """

    name: str
    kind: str
    macs: int
    params: int
    shape: tuple[int, ...]
    activation_bytes: int
    weight_bytes: int
    moved_bytes: int


@dataclass(frozen=True, eq=False)
class Count(_Moves, Cost):
    """A network's cost with its `layers`, in the order in which they run; every total is the sum over them.

    `missed` names operations that compute products, or that are not PyTorch's own, whose MACs nobody counted. Compares,
    adds and hashes as the `Cost` that it is: by MACs and parameters.
    """

    layers: tuple[LayerCost, ...] = field(default=(), repr=False)
    missed: tuple[str, ...] = field(default=(), repr=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Cost):
            return NotImplemented
        return (self.macs, self.params) == (other.macs, other.params)

    def __hash__(self) -> int:
        return hash((self.macs, self.params))

    @property
    def activation_bytes(self) -> int:
        """Bytes of all layers' results for one input, without that input itself.

        Training keeps about as much; inference holds, beside the input, no more than this at a time.
        """
        return sum(layer.activation_bytes for layer in self.layers)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the parameters and buffers that are stored with the network."""
        return sum(layer.weight_bytes for layer in self.layers)

    @property
    def moved_bytes(self) -> int:
        """Bytes that all layers read and write, each on its own."""
        return sum(layer.moved_bytes for layer in self.layers)

    def frame(self):
        """A pandas DataFrame with a row per layer, in order, and a last row "total"."""
        import pandas as pd

        columns = ["kind", "shape", "macs", "params", "activation_bytes", "weight_bytes", "moved_bytes", "intensity"]
        rows = [{"layer": layer.name} | {c: getattr(layer, c) for c in columns} for layer in self.layers]
        total = {"layer": "total", "kind": "", "shape": ()} | {c: getattr(self, c) for c in columns[2:]}
        return pd.DataFrame([*rows, total]).set_index("layer")


def count(module: nn.Module, *input_shapes: tuple[int, ...]) -> Count:
    """Count `module` in eval mode on one input per shape (C, H, W), at batch size 1, layer by layer.

    MACs are those of convolutions and matrix products, half of what PyTorch's `FlopCounterMode` counts. Nothing is
    allocated or computed: a copy without data ("meta" device) runs, on which the tensors that its forward pass makes
    are, too; `module` stays as it is. Hooks on `module` do not run. Raises `ParameterError` for a network whose layers
    are hidden, or that does not run so, as a detector whose operations depend on the data. Warns of what was `missed`.
    """
    check_kind("what is counted", module, nn.Module, "a network, as a torch.nn.Module")
    for shape in input_shapes:
        check_kind("an input's shape", shape, (tuple, list), "(C, H, W)")
        for length in shape:
            check_whole(f"each number of the input's shape {brief(shape)}", length, 1, 2**24)
    if why := hidden(module):
        raise ParameterError(why)
    stored = {id(t) for t in module.state_dict(keep_vars=True).values() if isinstance(t, Tensor)}
    tensors = list(held_tensors(module))
    if all(t.is_meta for t in tensors):
        meta = module
    else:
        memo = {id(t): _without_data(t) for t in tensors}
        stored = {id(memo[t]) for t in stored if t in memo}
        meta = copy.deepcopy(module, memo)
    dtype = next((p.dtype for p in meta.parameters() if p.is_floating_point()), torch.float32)
    inputs = [torch.empty(1, *shape, device="meta", dtype=dtype) for shape in input_shapes]
    recorder = _Recorder(meta, stored)
    told = told_of_inputs(f"this {type(module).__name__} cannot be counted, without data,", input_shapes)
    with told, torch.device("meta"), recorder.running(), evaluation_mode(meta), torch.no_grad():
        meta(*inputs)
    layers, missed = tuple(recorder.finish()), tuple(recorder.missed)
    if missed:
        warnings.warn(f"what these operations compute is not counted: {shorten(', '.join(missed), 200)}", stacklevel=2)
    return Count(sum(layer.macs for layer in layers), sum(layer.params for layer in layers), layers, missed)


def _without_data(tensor: Tensor) -> Tensor:
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(torch.empty_like(tensor, device="meta"), tensor.requires_grad)
    return torch.empty_like(tensor, device="meta", requires_grad=False)


def _bytes(tensors: list[Tensor]) -> int:
    """The size of the tensors, each once."""
    return sum(t.numel() * t.element_size() for t in {id(t): t for t in tensors}.values())


def _own(module: nn.Module) -> list[Tensor]:
    return [t for t in (*module._parameters.values(), *module._buffers.values()) if t is not None]


class _Frame:
    """A module that is running: what its own operations, outside the modules in it, have done so far."""

    __slots__ = ("inner", "leaf", "module", "name", "operations", "read", "shape", "start", "written")

    def __init__(self, module: nn.Module, name: str, start: int):
        self.module, self.name, self.start = module, name, start
        self.leaf = not module._modules
        self.inner = 0  # MACs of the modules that it called
        self.operations: dict[str, None] = {}
        self.read = self.written = 0
        self.shape: tuple[int, ...] = ()

    def moves(self, inputs: object, outputs: object) -> None:
        """Add what a leaf's call, or an operation, reads and writes; the shape is the last one's."""
        read, written = ([t for t in tree_leaves(of) if isinstance(t, Tensor)] for of in (inputs, outputs))
        self.shape = tuple(written[0].shape[1:]) if written else ()
        self.read, self.written = self.read + _bytes(read), self.written + _bytes(written)


class _Recorder(TorchDispatchMode):
    """Keeps a stack of the running modules, and writes a `LayerCost` whenever one of them ends."""

    def __init__(self, root: nn.Module, stored: set[int]):
        super().__init__()
        self.names = {part: name or type(root).__name__ for name, part in root.named_modules()}
        self.stored, self.counted = stored, set()
        self.layers: list[LayerCost] = []
        self.stack: list[_Frame] = []
        self.flops = FlopCounterMode(display=False, custom_mapping=MORE_FLOPS)
        self.missed: dict[str, None] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Everything that runs in the context is recorded; the network's own hooks are set aside."""
        with ExitStack() as stack:
            stack.enter_context(_without_hooks(list(self.names)))
            stack.enter_context(self.flops)
            before = register_module_forward_pre_hook(self.enter)
            after = register_module_forward_hook(self.leave, with_kwargs=True)
            for handle in (before, after):
                stack.callback(handle.remove)
            stack.enter_context(self)
            yield

    def macs(self) -> int:
        """All that were done so far."""
        return self.flops.get_total_flops() // 2

    def enter(self, module: nn.Module, inputs: tuple) -> None:
        """Put a module that begins on the stack."""
        name = self.names.get(module, type(module).__name__)
        self.stack.append(_Frame(module, name, self.macs()))

    def leave(self, module: nn.Module, inputs: tuple, named_inputs: dict, output) -> None:
        """Write what `module` did itself: a leaf at every call, another module where something is left for it."""
        frame = self.stack.pop()
        total = self.macs() - frame.start
        if self.stack:
            self.stack[-1].inner += total
        if frame.leaf and frame.operations:
            frame.moves((inputs, named_inputs), output)
        if frame.leaf or frame.operations:
            kind = type(module).__name__ if frame.leaf else ", ".join(frame.operations)
            self.write(frame, kind, total - frame.inner)

    def write(self, frame: _Frame, kind: str, macs: int) -> None:
        """Add a layer's row, with its weights where they have not been counted yet."""
        own = _own(frame.module)
        params, weights = self.first_time(own)
        moved = frame.read + frame.written + (_bytes(own) if frame.leaf and frame.operations else 0)
        shape, written = frame.shape, frame.written
        self.layers.append(LayerCost(frame.name, kind, macs, params, shape, written, weights, moved))

    def first_time(self, own: list[Tensor]) -> tuple[int, int]:
        """Trainable parameters and stored bytes among tensors that were not counted before."""
        new = {id(t): t for t in own if id(t) not in self.counted}
        self.counted |= new.keys()
        params = sum(t.numel() for t in new.values() if isinstance(t, nn.Parameter) and t.requires_grad)
        return params, _bytes([t for key, t in new.items() if key in self.stored])

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        """Run an operation, and note it for the module that is running unless it only views a tensor."""
        # PyTorch works out the shapes of these through many smaller operations: most of a count
        if (in_place := ALIKE.get(operation._overloadpacket)) is not None:
            result = args[0] if in_place else torch.empty_like(args[0])
        elif operation is aten.native_batch_norm.default:
            result = torch.empty_like(args[0]), args[0].new_empty(0), args[0].new_empty(0)
        else:
            result = operation(*args, **(kwargs or {}))
        if operation._overloadpacket not in MORE_FLOPS and UNKNOWN.match(operation.name()):
            self.missed[operation.name()] = None
        returns = operation._schema.returns
        if self.stack and any(r.alias_info is None or r.alias_info.is_write for r in returns):  # no mere view
            frame = self.stack[-1]
            frame.operations[operation.__name__.split(".")[0].strip("_")] = None
            if not frame.leaf:
                frame.moves((args, kwargs), result)
        return result

    def finish(self) -> list[LayerCost]:
        """All layers, with a row for every module whose weights no call has shown (it did not run, or no layer's)."""
        for module, name in self.names.items():
            if any(id(t) not in self.counted for t in _own(module)):
                self.write(_Frame(module, name, 0), type(module).__name__, 0)
        return self.layers


@contextmanager
def _without_hooks(modules: list[nn.Module]) -> Iterator[None]:
    """No forward hook of `modules` runs in the context; afterwards all are there again."""
    kept = [(module, name, getattr(module, name)) for module in modules for name in HOOKS]
    kept = [entry for entry in kept if entry[2]]
    for module, name, _ in kept:
        setattr(module, name, OrderedDict())
    try:
        yield
    finally:
        for module, name, hooks in kept:
            setattr(module, name, hooks)
