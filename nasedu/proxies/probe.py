"""One network and one batch, looked at: what several proxies read is computed once, in one pass.

Forward in training mode, as all published proxies of this family do: batch normalisation uses the batch's own
statistics. A copy of the network is used, so that the one that was handed in stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasedu.errors import ParameterError, ProxyError
from nasedu.proxies.activations import WatchActivations, no_activation
from nasedu.proxies.batch import Batch
from nasedu.randomness import seeded

READINGS = ("gradients", "curvature", "channels", "jacobian", "codes")
BY_LOSS = {"gradients", "curvature", "channels"}
LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
NO_LABELS = "this proxy needs labels: hand in a pair of images (B, C, H, W) and labels (B,)"


class Overwritten(Exception):
    """A layer's output was overwritten before it was read."""


@dataclass
class Readings:
    """What one pass found. Weights are those of convolution and linear layers, by name.

    `gradients`: dL/dw of the mean cross-entropy L. `curvature`: H g, the Hessian over all weights times the gradient.
    `channels`: per layer sum over positions of a * dL/da (B, channels), a being its output. `jacobian`: the gradient
    of the sum of an image's logits to that image (B, C*H*W). `codes`: per activation 1[input > 0], bool (B, units).
    """

    gradients: dict[str, Tensor] = field(default_factory=dict)
    curvature: dict[str, Tensor] = field(default_factory=dict)
    channels: dict[str, Tensor] = field(default_factory=dict)
    jacobian: Tensor | None = None
    codes: list[Tensor] = field(default_factory=list)


class Probe:
    """What a proxy may read of `model` on `batch`, computed when first read.

    Readings named in `wanted` come from one forward pass and the backward passes that they need; another one costs a
    pass of its own. `seed` makes every draw, dropout's included; `generator` replaces it. Raises `ProxyError` where a
    weight is not finite, `ParameterError` where the batch has no labels or labels out of range. The shared pass draws
    from `seed` whoever reads it first; `start` gives the proxy that reads next a seed for its own draws.
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
        self.original, self.given_away = model, given_away
        parameter = next(model.parameters(), torch.empty(0))
        self.device, self.dtype = parameter.device, parameter.dtype
        self.batch = batch if parameter.is_meta else batch.to(self.device, self.dtype)
        self.seed, self.own_seed, self.given, self._wanted = seed, seed, generator, set(wanted)
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
        """The source of this proxy's own draws, on the CPU, so that every device sees the same."""
        return self.given or torch.Generator().manual_seed(self.own_seed)

    def start(self, own_seed: int) -> None:
        """The proxy that reads from now on draws from `own_seed`, whatever was drawn before."""
        self.own_seed = own_seed
        self.__dict__.pop("generator", None)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal draws of `shape`, on the network's device and in its precision."""
        return torch.randn(shape, generator=self.generator).to(self.device, self.dtype)

    def copy(self, last: bool = False) -> nn.Module:
        """A copy of the network to do anything with, in training mode, every weight with a gradient.

        `last` promises that the proxy reads the network no more: one that its maker gave away is then used itself.
        Raises `ProxyError` for a weight that is not finite.
        """
        self.check_finite()
        try:
            model = self.original if self.given_away and last else copy.deepcopy(self.original)
        except Exception as error:  # a layer may hold anything: a lock, a process group, another graph's tensor
            raise ProxyError(f"this {type(self.original).__name__} cannot be copied: {error}") from error
        for part in model.modules():
            if isinstance(getattr(part, "inplace", None), bool):
                part.inplace = False  # what a layer gave is read later: nobody may write over it
        return model.train().requires_grad_(True)

    @torch.no_grad()
    def check_finite(self) -> None:
        """Raise `ProxyError` for a weight that is not finite, or has no value as yet."""
        for name, weight in self.original.named_parameters():
            if weight.is_meta:
                raise ProxyError(
                    f"the weight {name} of this {type(self.original).__name__} is on the meta device: no value"
                )
            if (
                not torch.isfinite(weight.sum()) and not torch.isfinite(weight).all()
            ):  # the sum is quick, but may overflow
                raise ProxyError(f"the weight {name} of this {type(self.original).__name__} is not finite")

    @cached_property
    def model(self) -> nn.Module:
        """The copy that all shared readings are of. Leave it as it is."""
        return self.copy()

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """Weights of convolutions and linear layers, by name: every parameter with two dimensions or more.

        Biases and normalisation have one. Raises `ProxyError` where there are none.
        """
        weights = {name: p for name, p in self.model.named_parameters() if p.ndim >= 2}
        if not weights:
            raise no_weights(self.original)
        return weights

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
        """Per layer's weight name sum over positions of a * dL/da, (B, channels). See `Readings`."""
        return self._read("channels")

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
                with seeded(self.seed, self.device):
                    found = observe(self.model, self.batch, weights, wanted, keep)
            except Overwritten:
                continue
            self._readings |= {key: getattr(found, key) for key in wanted}
            return


def observe(
    model: nn.Module, batch: Batch, weights: dict[str, Tensor], wanted: set[str], keep: bool = False
) -> Readings:
    """One forward pass, then one backward pass for each of: the jacobian, the gradients, the curvature.

    Raises `Overwritten` where a layer's output was, unless it is to `keep` copies of them.
    """
    found = Readings()
    by_loss, by_image = bool(wanted & BY_LOSS), "jacobian" in wanted
    images = batch.images.detach().requires_grad_(by_image)
    with ChannelReader(model, found.channels if "channels" in wanted else None, keep) as reader:
        with torch.set_grad_enabled(by_loss or by_image), _codes(found.codes if "codes" in wanted else None):
            logits = model(images.clone())  # which the network may write over
        if by_image:
            (jacobian,) = torch.autograd.grad(total(logits), images, retain_graph=by_loss, allow_unused=True)
            found.jacobian = _or_zero(jacobian, images).flatten(1)
        if by_loss:
            loss, reader.reading = cross_entropy(logits, batch), True
            gradients = gradients_of(loss, weights, create_graph="curvature" in wanted)
            found.gradients = {name: gradient.detach() for name, gradient in gradients.items()}
            reader.reading = False
        if "curvature" in wanted:  # d(g . c)/dw = H g where c is held at g
            product = sum((g * g.detach()).sum() for g in gradients.values())
            found.curvature = gradients_of(product, weights)
    return found


def no_weights(model: nn.Module) -> ProxyError:
    """The error for a network without convolutions and linear layers."""
    return ProxyError(f"this {type(model).__name__} has no weights of convolutions or linear layers")


def total(outputs: Tensor | list | tuple | dict) -> Tensor:
    """The sum of all outputs of a network, which may be one tensor or several."""
    if isinstance(outputs, Tensor):
        return outputs.sum()
    return sum(total(part) for part in (outputs.values() if isinstance(outputs, dict) else outputs))


def cross_entropy(logits: Tensor, batch: Batch, reduction: str = "mean") -> Tensor:
    """Cross-entropy of logits (B, classes) with the batch's labels.

    Raises `ProxyError` for outputs of another shape, `ParameterError` for labels that are missing or out of range.
    """
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        got = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise ProxyError(f"a proxy with a loss needs a classifier's logits (B, classes), the network returned {got}")
    if batch.labels is None:
        raise ParameterError(NO_LABELS)
    if batch.labels.max() >= logits.shape[1]:
        raise ParameterError(
            f"labels must lie between 0 and {logits.shape[1] - 1} for a network with {logits.shape[1]} outputs, "
            f"got {int(batch.labels.max())}"
        )
    return F.cross_entropy(logits, batch.labels.long(), reduction=reduction)


def gradients_of(scalar: Tensor, weights: Mapping[str, Tensor], create_graph: bool = False) -> dict[str, Tensor]:
    """d scalar / dw by name; zero for a weight that it does not depend on."""
    if not isinstance(scalar, Tensor) or not scalar.requires_grad:
        return {name: torch.zeros_like(w) for name, w in weights.items()}
    values = torch.autograd.grad(scalar, list(weights.values()), create_graph=create_graph, allow_unused=True)
    return {name: _or_zero(value, w) for (name, w), value in zip(weights.items(), values, strict=True)}


def _or_zero(gradient: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if gradient is None else gradient


def _codes(into: list[Tensor] | None):
    """A context in which every activation's code joins the list, or one in which nothing does."""
    return nullcontext() if into is None else WatchActivations(lambda x: into.append(x.detach().flatten(1) > 0))


class ChannelReader:
    """Adds a * dL/da, summed over positions, of every convolution and linear layer to `into`, by its weight's name.

    Only of backward passes that run while `reading` is set. a (B, channels, ...) is the layer's output; with `keep` the
    network goes on with a copy of it, which it may write over (`conv(x).add_(y)`). The hooks leave with the context.
    """

    def __init__(self, model: nn.Module, into: dict[str, Tensor] | None, keep: bool = False):
        layers = [] if into is None else [(n, m) for n, m in model.named_modules() if isinstance(m, LAYERS)]
        self.into, self.keep, self.reading = into, keep, False
        self._hooks = [m.register_forward_hook(partial(self._watch, f"{n}.weight".lstrip("."))) for n, m in layers]

    def __enter__(self) -> ChannelReader:
        return self

    def __exit__(self, *_) -> None:
        for hook in self._hooks:
            hook.remove()

    def _watch(self, name: str, layer: nn.Module, inputs: tuple, output: Tensor) -> Tensor | None:
        if output.requires_grad:
            output.register_hook(
                partial(self._read, name, isinstance(layer, nn.Linear), output.detach(), output._version)
            )
        return output.clone() if self.keep else None

    def _read(self, name: str, linear: bool, output: Tensor, version: int, gradient: Tensor) -> None:
        """Raises `Overwritten` where the output was; a layer that runs twice has the sum of both."""
        if not self.reading:
            return
        if output._version != version:
            raise Overwritten(name)
        product = output * gradient.detach()
        channel = product.ndim - 1 if linear else 1
        positions = [axis for axis in range(1, product.ndim) if axis != channel]
        product = product.sum(positions) if positions else product
        self.into[name] = self.into.get(name, 0) + product
