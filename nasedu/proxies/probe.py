"""One network and one batch, looked at: what several proxies read is computed once, in one pass.

Forward in training mode, as all published proxies of this family do: batch normalisation uses the batch's own
statistics. A copy of the network is used, so that the one that was handed in stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property, partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from nasedu.errors import ParameterError, ProxyError
from nasedu.modules import copy_of
from nasedu.proxies.activations import WatchActivations, no_activation
from nasedu.proxies.batch import Batch
from nasedu.proxies.checks import kind
from nasedu.proxies.initialise import LAYERS
from nasedu.randomness import seeded, stream

BY_LOSS = {"gradients", "curvature", "channels"}
WEIGHTED = (*LAYERS, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.MultiheadAttention)
CONVOLUTIONS = {F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d}
# the hard sigmoid by its definition: its kernel has no second derivative (for attention, `sdpa_kernel` chooses one)
TWICE_DIFFERENTIABLE = {F.hardsigmoid: lambda input, *_, **__: F.relu6(input + 3) / 6}
NO_LABELS = "this proxy needs labels: hand in a pair of images (B, C, H, W) and labels (B,)"


class Overwritten(Exception):
    """A layer's output was overwritten before it was read."""


@dataclass
class Readings:
    """What one pass found. Weights are those of `layer_weights`, by name.

    `gradients`: dL/dw of the mean cross-entropy L. `curvature`: H g, the Hessian over all weights times the gradient.
    `channels`: per layer sum over positions of a * dL/da (B, channels), a being its output; `fan_in` goes with it, the
    weights per channel. `jacobian`: the gradient of the sum of an image's logits to that image (B, C*H*W). `codes`: per
    activation 1[input > 0], bool (B, units).
    """

    gradients: dict[str, Tensor] = field(default_factory=dict)
    curvature: dict[str, Tensor] = field(default_factory=dict)
    channels: dict[str, Tensor] = field(default_factory=dict)
    fan_in: dict[str, int] = field(default_factory=dict)
    jacobian: Tensor | None = None
    codes: list[Tensor] = field(default_factory=list)


class Probe:
    """What a proxy may read of `model` on `batch`, computed when first read.

    model: the network; it stays as it is, unless it is given away.
    batch: images, and labels where they are needed.
    seed: makes every draw; the shared pass draws from it whoever reads first, see `start` for a proxy's own draws.
    generator: on the CPU, makes the proxy's own draws in its place, so that every device sees the same, while layers
        that draw, such as dropout, go on following `seed`.
    wanted: readings that come from one forward pass and the backward passes that they need; another one costs a pass
        of its own.
    given_away: whether `copy(last=True)` may return the model itself.

    Raises `ProxyError` where a weight is not finite, `ParameterError` for a model or a generator that is none, and
    where the batch has no labels or labels out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        batch: Batch,
        *,
        seed: int = 0,
        generator: torch.Generator | None = None,
        wanted: set[str] | frozenset[str] = frozenset(),
        given_away: bool = False,
    ):
        if not isinstance(model, nn.Module):
            raise ParameterError(f"model must be an nn.Module, got {type(model).__name__}")
        if generator is not None and not (isinstance(generator, torch.Generator) and generator.device.type == "cpu"):
            raise ParameterError("generator must be a torch.Generator on the CPU, so that every device draws the same")
        self.original = getattr(model, "_orig_mod", model)  # of what torch.compile made, the network itself
        self.given_away = given_away
        parameter = next(model.parameters(), torch.empty(0, dtype=torch.float32, device="cpu"))
        self.device, self.dtype = parameter.device, parameter.dtype
        self.batch = batch if parameter.is_meta else batch.to(self.device, self.dtype)
        self.seed, self.given, self._wanted = seed, generator, set(wanted)
        self.own_seed = stream(seed, "proxy").initial_seed()
        self._readings: dict[str, object] = {}

    @property
    def images(self) -> Tensor:
        """(B, C, H, W), on the network's device and in its precision."""
        return self.batch.images

    @property
    def labels(self) -> Tensor:
        """(B,). Raises `ParameterError` where there are none."""
        if self.batch.labels is None:
            raise ParameterError(NO_LABELS)
        return self.batch.labels

    @cached_property
    def generator(self) -> torch.Generator:
        """The source of this proxy's small draws, on the CPU, so that every device sees the same."""
        return self.given or torch.Generator("cpu").manual_seed(self.own_seed)

    @cached_property
    def source(self) -> torch.Generator:
        """The source of weights and images that are drawn, on the network's device: none of them has to travel.

        On the CPU, and where a generator was handed in, it is `generator`. Devices differ in what they draw.
        """
        if self.given or self.device.type in ("cpu", "meta"):
            return self.generator
        return torch.Generator(self.device).manual_seed(self.own_seed)

    def start(self, own_seed: int) -> None:
        """The proxy that reads from now on draws from `own_seed`, whatever was drawn before."""
        self.own_seed = own_seed
        self.__dict__.pop("generator", None)
        self.__dict__.pop("source", None)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal draws of `shape`, on the network's device and in its precision."""
        draws = torch.randn(shape, generator=self.source, dtype=torch.float32, device=self.source.device)
        return draws.to(self.device, self.dtype)

    def copy(self, last: bool = False) -> nn.Module:
        """A copy of the network to do anything with, in training mode, every weight with a gradient.

        `last` promises that the proxy reads the network no more: one that its maker gave away is then used itself.
        Raises `ProxyError` for a weight that is not finite.
        """
        self.check_finite()
        try:
            model = self.original if self.given_away and last else copy_of(self.original)
        except Exception as error:  # a layer may hold anything: a lock, a process group, another graph's tensor
            raise ProxyError(f"this {type(self.original).__name__} cannot be copied: {error}") from error
        for part in model.modules():
            if isinstance(getattr(part, "inplace", None), bool):
                part.inplace = False  # what a layer gave is read later: nobody may write over it
        return model.train().requires_grad_(True)

    @torch.no_grad()
    def check_finite(self) -> None:
        """Raise `ProxyError` for a weight that is not finite, or has no value as yet."""
        weights = list(self.original.parameters())
        # the sums are quick, but may overflow where every value is finite; one look at the device for all of them
        seen = [weight.sum().isfinite() for weight in weights if not weight.is_meta]
        if len(seen) == len(weights) and all(torch.stack(seen).tolist() if seen else []):
            return
        for name, weight in self.original.named_parameters():
            whose = f"the weight {name} of this {type(self.original).__name__}"
            if weight.is_meta:
                raise ProxyError(f"{whose} is on the meta device: no value")
            if not torch.isfinite(weight).all():
                raise ProxyError(f"{whose} is not finite")

    @cached_property
    def model(self) -> nn.Module:
        """The copy that all shared readings are of. Leave it as it is."""
        return self.copy()

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """The layers' weights, by name; see `layer_weights`. Raises `ProxyError` where there are none."""
        return layer_weights(self.model)

    @property
    def gradients(self) -> dict[str, Tensor]:
        """dL/dw, by name; zero for a weight that the loss does not reach. See `Readings`."""
        return self._read("gradients")

    @property
    def curvature(self) -> dict[str, Tensor]:
        """H g, by name. See `Readings`."""
        return self._read("curvature")

    @property
    def channels(self) -> dict[str, Tensor]:
        """Per layer, by its weight's name, sum over positions of a * dL/da, (B, channels). See `Readings`.

        Raises `ProxyError` where no layer was seen that leads from a weight to the loss.
        """
        channels = self._read("channels")
        if not channels:
            raise ProxyError(
                f"no layer was seen in this {type(self.original).__name__}: convolutions and linear layers are, as "
                "modules and as calls (F.conv2d, F.linear), if the loss depends on them"
            )
        return channels

    @property
    def fan_in(self) -> dict[str, int]:
        """The weights per channel of the layers in `channels`."""
        self._read("channels")
        return self._readings["fan_in"]

    @property
    def jacobian(self) -> Tensor:
        """(B, C*H*W). See `Readings`."""
        return self._read("jacobian")

    @property
    def codes(self) -> list[Tensor]:
        """Per activation bool (B, units). Raises `ProxyError` where there is none. See `Readings`."""
        codes = self._read("codes")
        if not codes:
            raise no_activation(self.original)
        return codes

    def _read(self, name: str):
        if name not in self._readings:
            try:
                self._observe((self._wanted | {name}) - self._readings.keys())
            except ParameterError:
                raise
            except Exception:
                if not self._wanted - {name}:
                    raise
                self._wanted.clear()  # one reading that fails takes the others down: from here on, each for itself
                self._observe({name})
        return self._readings[name]

    def _observe(self, wanted: set[str]) -> None:
        weights = self.weights if wanted & BY_LOSS else {}
        for keep in (False, True):
            try:
                with seeded(stream(self.seed, "shared pass").initial_seed(), self.device):
                    found = observe(self.model, self.batch, weights, wanted, keep)
            except Overwritten:
                continue
            self._readings |= {key: getattr(found, key) for key in wanted}
            if "channels" in wanted:
                self._readings["fan_in"] = found.fan_in
            return


def observe(
    model: nn.Module, batch: Batch, weights: dict[str, Tensor], wanted: set[str], keep: bool = False
) -> Readings:
    """One forward pass, then one backward pass for each of: the jacobian, the gradients, the curvature.

    model: the network.
    batch: what it runs on.
    weights: those of `layer_weights`, by name; may be empty where no loss is needed.
    wanted: names of readings.
    keep: whether layers' outputs are copied, so that the network may write over them.

    Where the curvature is wanted, layers without a second derivative are computed by other means, the same but for
    rounding. Raises `Overwritten` where a layer's output was.
    """
    found = Readings()
    by_loss, by_image, curved = bool(wanted & BY_LOSS), "jacobian" in wanted, "curvature" in wanted
    images, reader = batch.images.detach().requires_grad_(by_image), ChannelReader(model, found, keep)
    with ExitStack() as forward:
        forward.enter_context(torch.set_grad_enabled(by_loss or by_image))
        if curved:  # the first to enter is the last to see a call, so that the others see it as it was
            forward.enter_context(sdpa_kernel([SDPBackend.MATH]))
            forward.enter_context(Instead(TWICE_DIFFERENTIABLE))
        if "channels" in wanted:
            forward.enter_context(reader)
        if "codes" in wanted:
            forward.enter_context(WatchActivations(lambda x: found.codes.append(x.detach().flatten(1) > 0)))
        logits = model(images.clone())  # which the network may write over
    if by_image:
        (jacobian,) = torch.autograd.grad(total(logits), images, retain_graph=by_loss, allow_unused=True)
        found.jacobian = _or_zero(jacobian, images).flatten(1)
    if by_loss:
        loss, reader.reading = cross_entropy(logits, batch), True
        gradients = gradients_of(loss, weights, create_graph=curved)
        found.gradients = {name: gradient.detach() for name, gradient in gradients.items()}
        reader.reading = False
    if curved:  # d(g . c)/dw = H g where c is held at g
        product = sum((g * g.detach()).sum() for g in gradients.values())
        found.curvature = gradients_of(product, weights)
    return found


def layer_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Weights of convolution, linear and attention modules, by name, a shared one once: no bias, no normalisation.

    Their parameters of two dimensions or more, so that of a layer under weight normalisation both parts count. Not
    embeddings, class tokens or layer scales, nor a layer of one's own that is no subclass of these; but in a network
    without any such module, all parameters of two dimensions or more. Raises `ProxyError` where there are none.
    """
    layers = [part for part in model.modules() if isinstance(part, WEIGHTED)]
    own = {id(p) for part in layers for name, p in part.named_parameters() if "bias" not in name}
    large = {name: p for name, p in model.named_parameters() if p.ndim >= 2}
    weights = {name: p for name, p in large.items() if id(p) in own} if layers else large
    if not weights:
        raise ProxyError(f"this {type(model).__name__} has no weights of convolutions or linear layers")
    return weights


def total(outputs: object) -> Tensor:
    """The sum of all numbers that a network returned, in one tensor or several. Raises `ProxyError` where none is."""
    parts = [t.sum() for t in tree_leaves(outputs) if isinstance(t, Tensor) and t.is_floating_point() and t.numel()]
    if not parts:
        raise ProxyError(f"this proxy needs a network that returns numbers, got {kind(outputs)}")
    return sum(parts[1:], parts[0])


def cross_entropy(logits: Tensor, batch: Batch, reduction: str = "mean") -> Tensor:
    """Cross-entropy of logits (B, classes) with the batch's labels.

    logits: what the network returned.
    batch: whose labels count.
    reduction: as in `torch.nn.functional.cross_entropy`.

    Raises `ProxyError` for outputs of another shape, `ParameterError` for labels that are missing or out of range.
    """
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        raise ProxyError(
            f"a proxy with a loss needs a classifier's logits (B, classes), the network returned {kind(logits)}"
        )
    if batch.labels is None:
        raise ParameterError(NO_LABELS)
    if batch.labels.max() >= logits.shape[1]:
        raise ParameterError(
            f"labels must lie between 0 and {logits.shape[1] - 1} for a network with {logits.shape[1]} outputs, "
            f"got {int(batch.labels.max())}"
        )
    return F.cross_entropy(logits, batch.labels.long(), reduction=reduction)


def gradients_of(
    scalar: Tensor, weights: Mapping[str, Tensor], create_graph: bool = False, retain_graph: bool | None = None
) -> dict[str, Tensor]:
    """d scalar / dw by name; zero for a weight that it does not depend on.

    scalar: one value.
    weights: the w, by name.
    create_graph: as in `torch.autograd.grad`.
    retain_graph: likewise.
    """
    if not isinstance(scalar, Tensor) or not scalar.requires_grad:
        return {name: torch.zeros_like(w) for name, w in weights.items()}
    values = torch.autograd.grad(scalar, list(weights.values()), None, retain_graph, create_graph, allow_unused=True)
    return {name: _or_zero(value, w) for (name, w), value in zip(weights.items(), values, strict=True)}


def _or_zero(gradient: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if gradient is None else gradient


class Instead(TorchFunctionMode):
    """While the context is open, other functions run in the place of some, whether a module calls them or not.

    stand_ins: what runs, by the function in whose place; it gets the same arguments.
    """

    def __init__(self, stand_ins: Mapping[Callable, Callable]):
        super().__init__()
        self.stand_ins = stand_ins

    def __torch_function__(self, function, types, args=(), kwargs=None):
        return self.stand_ins.get(function, function)(*args, **(kwargs or {}))


class ChannelReader(TorchFunctionMode):
    """Finds a * dL/da, summed over positions, of every convolution and linear layer, be it a module or a call.

    Of those that run while the context is open. a (B, channels, ...) is the layer's output.

    model: names the weights.
    found: joined by the weight's name, with the fan-in, during those backward passes that run while `reading` is set.
    keep: whether the network goes on with a copy of a, which it may write over (`conv(x).add_(y)`).
    """

    def __init__(self, model: nn.Module, found: Readings, keep: bool = False):
        super().__init__()
        self.names = {id(p): name for name, p in model.named_parameters()}
        self.found, self.keep, self.reading, self.calls = found, keep, False, 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        output = function(*args, **kwargs)
        if (function is not F.linear and function not in CONVOLUTIONS) or not output.requires_grad:
            return output
        weight = args[1] if len(args) > 1 else kwargs["weight"]
        self.calls += 1
        name = self.names.get(id(weight), f"call {self.calls}")  # a weight that is computed has no name
        axis = output.ndim - 1 if function is F.linear else 1
        self.found.fan_in[name] = weight.numel() // output.shape[axis]
        output.register_hook(partial(self._read, name, axis, output.detach(), output._version))
        return output.clone() if self.keep else output

    def _read(self, name: str, axis: int, output: Tensor, version: int, gradient: Tensor) -> None:
        """Raises `Overwritten` where the output was; a layer that runs twice has the sum of both."""
        if not self.reading:
            return
        if output._version != version:
            raise Overwritten(name)
        product = output * gradient.detach()
        positions = [at for at in range(1, product.ndim) if at != axis]
        product = product.sum(positions) if positions else product
        self.found.channels[name] = self.found.channels.get(name, 0) + product
