"""Single-Path NAS's superkernel: one inverted bottleneck that holds every choice of its layer, nested in each other.

One 5x5 depthwise kernel w of 6 C_in channels contains them all. Its inner 3x3 is the small kernel, the lower half of
its channels the small expansion; both together leave k3e3, k3e6, k5e3 and k5e6 (Stamoulis et al. 2019, section 3).

Two semantics, chosen by name:

- ``sliced``: each axis has one mask, the sum of the choices' masks by their weights. The ring's acts on the kernel, the
  upper half's on the channels *after* the activation, so that a masked channel carries nothing; (1 - the weight of
  skip) multiplies what is added to the shortcut. Skip has k3e3's masks, the part that all choices share: masks of its
  own would act twice, and would leave a skipped layer no gradient to come back by. A one-hot path equals the
  stand-alone block with the same weights; an index runs the slices only and costs what the stand-alone block costs.
- ``faithful``: the published search network. The masks act on the depthwise kernel alone, the 1x1 convolutions keep
  their full width. A kernel of zeros still leaves the shift of its BN, so masked channels leak into the output, and a
  skipped layer adds a constant per channel rather than nothing.

**Thresholds.** The published search has no architecture parameters; it reads the choice off the kernel's norms
(`SuperKernel.decide`). With the indicator 1(x), whose forward is a step at 0 and whose backward is the sigmoid's:

    d5 = 1(|ring of w| > t5)           w_k  = w_3x3 + d5 * ring of w
    d6 = 1(|upper half of w_k| > t6)   w_ke = d3 * (lower half of w_k + d6 * upper half of w_k)
    d3 = 1(|lower half of w_k| > t3), where the layer may be skipped; else 1

The kernel's four parts have the weights d3, d3 d5, d3 d6 and d3 d5 d6 in w_ke. Giving k3e3 the weight
d3 (1 - d5) (1 - d6), k5e6 the weight d3 d5 d6, and so on, skip the weight 1 - d3, writes the same kernel as a sum over
the choices: thresholds end in an ordinary one-hot path, and `LookupTable.expected(path)` is their cost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasedu.blocks import MBConv
from nasedu.errors import ArchitectureError, ParameterError, check_name
from nasedu.supernet.elastic import SEMANTICS, _narrow_bn, first_kept
from nasedu.supernet.mixed import Entry, dense

CHOICES = {"k3e3": (3, 3), "k3e6": (3, 6), "k5e3": (5, 3), "k5e6": (5, 6)}  # kernel, expansion; published table's order
KEEP = 0.6  # indicators kept during the published warm-up of 6255 steps (5 epochs); afterwards all (public code)
NORMS = ("l2", "squared")
INNER = slice(1, 4)


class Indicators(NamedTuple):
    """Whether a layer runs at all, takes the 5x5 kernel, and the expansion 6: scalars, 0 or 1 in value."""

    d3: Tensor
    d5: Tensor
    d6: Tensor


class SuperKernel(MBConv):
    """Every choice of a layer in one block: (B, c_in, H, W) to (B, c_out, H/s, W/s). See the module's docstring.

    c_in: channels of the input.
    c_out: channels of the output.
    stride: s, of the depthwise convolution.
    act: the name of the activation.
    squeeze_excite: whether squeeze-and-excitation stands before the last convolution.
    skip: whether the choice "skip" comes after the four of `CHOICES`.
    semantics: "sliced" or "faithful".
    norm: "l2", the public code's, or "squared", the paper's.

    Raises `UnknownName`, or `ParameterError` where skip would change the shape.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        stride: int = 1,
        act: str = "relu6",
        squeeze_excite: bool = False,
        skip: bool = False,
        semantics: str = "sliced",
        norm: str = "l2",
    ):
        super().__init__(c_in, c_out, 5, 6, stride, act, squeeze_excite)
        if skip and not self.shortcut:
            raise ParameterError(f"a layer from {c_in} to {c_out} channels with stride {stride} cannot be skipped")
        self.semantics = check_name("supernet semantics", semantics, SEMANTICS)
        self.norm = check_name("norm", norm, NORMS)
        self.skip = skip
        self.choices = (*CHOICES, "skip") if skip else tuple(CHOICES)
        self.t3 = nn.Parameter(torch.zeros(())) if skip else None
        self.t5, self.t6 = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))
        self._make_masks()

    def _make_masks(self) -> None:
        """Per choice, 0/1 masks over the kernel (n, 5, 5), the hidden and the squeezed channels (n, channels)."""
        sizes = [self._size(name) for name in self.choices]
        kernels = torch.ones(len(sizes), 5, 5)
        for mask, (kernel, *_) in zip(kernels, sizes, strict=True):
            if kernel == 3:
                mask[[0, 4]] = 0
                mask[:, [0, 4]] = 0
        _, kept, squeezed = zip(*sizes, strict=True)
        self.register_buffer("_kernels", kernels, persistent=False)
        self.register_buffer("_channels", first_kept(kept), persistent=False)
        self.register_buffer("_squeezed", first_kept(squeezed), persistent=False)

    def _size(self, name: str) -> tuple[int, int, int]:
        """A choice's kernel, hidden channels and squeezed channels; skip has those that all choices share."""
        kernel, expansion = CHOICES.get(name, CHOICES["k3e3"])
        hidden = self.depthwise.conv.out_channels * expansion // 6
        return kernel, hidden, max(1, hidden // 4)

    def forward(self, x: Tensor, entry: Entry) -> Tensor:
        """Run a choice by its index, or the block under weights for its choices (n_choices,) or some of them."""
        if self.semantics == "faithful":
            return self._faithful(x, dense(entry, len(self.choices)).to(x.device))
        if isinstance(entry, int):
            return self._slices(x, self.choices[entry])
        return self._masked(x, dense(entry, len(self.choices)))

    def _slices(self, x: Tensor, name: str) -> Tensor:
        """One choice, with its part of every weight."""
        if name == "skip":
            return x
        kernel, n, squeezed = self._size(name)
        y = _run(self.expand, F.conv2d(x, self.expand.conv.weight[:n]), n)
        weight = self.depthwise.conv.weight[:n]
        y = _run(self.depthwise, self._depthwise(y, weight[:, :, INNER, INNER] if kernel == 3 else weight), n)
        if not isinstance(self.squeeze, nn.Identity):
            fc1, fc2, act = self.squeeze.fc1, self.squeeze.fc2, self.squeeze.activation
            s = act(F.conv2d(y.mean((2, 3), keepdim=True), fc1.weight[:squeezed, :n], fc1.bias[:squeezed]))
            y = y * self.squeeze.scale_activation(F.conv2d(s, fc2.weight[:n, :squeezed], fc2.bias[:n]))
        y = self.project.bn(F.conv2d(y, self.project.conv.weight[:, :n]))
        return x + y if self.shortcut else y

    def _masked(self, x: Tensor, weights: Tensor) -> Tensor:
        """The whole block under the choices' masks, each axis once."""
        weights = weights.to(self._kernels.dtype)
        ring = (weights @ self._kernels.flatten(1)).view(5, 5)
        kept = (weights @ self._channels)[:, None, None]
        y = self._depthwise(self.expand(x), self.depthwise.conv.weight * ring)
        y = self.depthwise.act(self.depthwise.bn(y)) * kept
        if not isinstance(self.squeeze, nn.Identity):
            s = self.squeeze.activation(self.squeeze.fc1(y.mean((2, 3), keepdim=True)))
            s = s * (weights @ self._squeezed)[:, None, None]
            y = y * self.squeeze.scale_activation(self.squeeze.fc2(s))
        y = self.project(y)
        if self.skip:
            return x + (1 - weights[-1]) * y
        return x + y if self.shortcut else y

    def _faithful(self, x: Tensor, weights: Tensor) -> Tensor:
        """The published block: w_ke for the depthwise kernel, everything else in full."""
        y = self._depthwise(self.expand(x), self.kernel(weights))
        y = self.project(self.squeeze(self.depthwise.act(self.depthwise.bn(y))))
        return x + y if self.shortcut else y

    def kernel(self, weights: Tensor) -> Tensor:
        """The published effective kernel w_ke (6 C_in, 1, 5, 5) under weights (n_choices,): skip has no part in it."""
        n = len(CHOICES)
        masks = self._channels[:n, :, None, None] * self._kernels[:n, None]
        mask = (weights[:n].to(masks.dtype) @ masks.flatten(1)).view(-1, 1, 5, 5)
        return self.depthwise.conv.weight * mask

    def _depthwise(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(x, weight, None, self.depthwise.conv.stride, weight.shape[-1] // 2, groups=len(weight))

    def extract(self, index: int) -> dict[str, Tensor]:
        """The state of the stand-alone block of this choice, as copies: an `MBConv`'s, none for skip."""
        if self.choices[index] == "skip":
            return {}
        size = self._size(self.choices[index])
        state = {name: value for name, value in self.state_dict().items() if "." in name}  # thresholds stay here
        return {name: value[_part(name, value, *size)].clone() for name, value in state.items()}

    def indicators(self, generator: torch.Generator | None = None, keep: float = 1.0, rescale=False) -> Indicators:
        """What the kernel's norms say of the layer, with straight-through gradients for thresholds and kernel.

        generator: of the dropout's draws.
        keep: the probability that a learned indicator is kept; else it is 0.
        rescale: whether those that are left become 1 / `keep`, as the public code's dropout has it, which leaves the
            weights no one-hot.

        Raises `ParameterError`.
        """
        if not 0 < keep <= 1:
            raise ParameterError(f"the probability of keeping an indicator lies in (0, 1], got {keep}")
        scales = torch.ones(3)
        if keep < 1:
            device = generator.device if generator else "cpu"
            scales = (torch.rand(3, generator=generator, device=device) < keep) / (keep if rescale else 1.0)
        s3, s5, s6 = scales.to(self.t5).unbind()
        w, half = self.depthwise.conv.weight, self.depthwise.conv.out_channels // 2
        inner = F.pad(w[:, :, INNER, INNER], (1, 1, 1, 1))
        d5 = s5 * _indicator(self._norm(w - inner) - self.t5)
        w_k = inner + d5 * (w - inner)
        d6 = s6 * _indicator(self._norm(w_k[half:]) - self.t6)
        d3 = s3 * _indicator(self._norm(w_k[:half]) - self.t3) if self.skip else torch.ones_like(d5)
        return Indicators(d3, d5, d6)

    def _norm(self, w: Tensor) -> Tensor:
        return torch.linalg.vector_norm(w) if self.norm == "l2" else w.square().sum()

    def decide(self, generator: torch.Generator | None = None, keep: float = 1.0, rescale=False) -> Tensor:
        """The choices' weights (n_choices,) by the thresholds: one-hot in value, with straight-through gradients.

        generator: of the dropout's draws.
        keep: the probability that a learned indicator is kept; else it is 0.
        rescale: whether those that are left become 1 / `keep`.
        """
        d3, d5, d6 = self.indicators(generator, keep, rescale)
        kernels, expansions = {3: 1 - d5, 5: d5}, {3: 1 - d6, 6: d6}
        weights = [d3 * kernels[k] * expansions[e] for k, e in CHOICES.values()]
        return torch.stack([*weights, 1 - d3] if self.skip else weights)


def threshold_path(
    supernet: nn.Module, generator: torch.Generator | None = None, keep: float = 1.0, rescale: bool = False
) -> list[Tensor]:
    """The path that the superkernels' thresholds stand for: weights (n_choices,) per decision.

    supernet: that of single_path.
    generator: of the dropout's draws.
    keep: of the indicators, see `SuperKernel.indicators`: `KEEP` during warm-up, 1 after it.
    rescale: likewise.

    One-hot in value; gradients reach thresholds and kernels. Raises `ArchitectureError` when the supernet has no
    superkernels.
    """
    return [block.decide(generator, keep, rescale) for block in _superkernels(supernet)]


@torch.no_grad()
def threshold_arch(supernet: nn.Module) -> tuple[int, ...]:
    """The architecture that the thresholds have come to. Raises `ArchitectureError` as `threshold_path` does."""
    return tuple(int(weights.argmax()) for weights in threshold_path(supernet))


def recursive_runtime(costs: Tensor, indicators: Indicators) -> Tensor:
    """The published runtime of a layer, from the costs of its choices (n_choices,) in the order of `CHOICES`.

    R_e = d3 (R_k5e3 + d6 (R_k5e6 - R_k5e3)),  R = r R_e + (1 - r) R_e d5  with  r = R_k3e6 / R_k5e6 (section 3).
    Three costs and skip are met exactly; k3e3 becomes r R_k5e3, which is its own cost only where a smaller kernel saves
    the same share at both expansions. `LookupTable.expected` is exact at all of them.
    """
    d3, d5, d6 = indicators
    _, k3e6, k5e3, k5e6 = costs[: len(CHOICES)].unbind()
    by_expansion = d3 * (k5e3 + d6 * (k5e6 - k5e3))
    ratio = k3e6 / k5e6
    return by_expansion * ratio + by_expansion * (1 - ratio) * d5


def _superkernels(supernet: nn.Module) -> Iterator[SuperKernel]:
    blocks = [module for module in supernet.modules() if isinstance(module, SuperKernel)]
    if not blocks:
        raise ArchitectureError("thresholds decide in the supernet of single_path only: this network has none")
    return iter(blocks)


def _indicator(x: Tensor) -> Tensor:
    """1 where x >= 0, else 0; its gradient is the sigmoid's. The value is exact: s - s is 0, at infinity too."""
    s = torch.sigmoid(x)
    return s - s.detach() + (x >= 0).to(x.dtype)


def _run(layer: nn.Module, y: Tensor, n: int) -> Tensor:
    """The normalisation and activation of `layer` on its first `n` channels."""
    return layer.act(_narrow_bn(layer.bn, y, slice(0, n)))


def _part(name: str, value: Tensor, kernel: int, hidden: int, squeezed: int) -> tuple[slice, ...]:
    """The part of a tensor of the block's state that a choice keeps."""
    if value.ndim == 0:
        return ()
    if name.startswith("project."):
        return (slice(None), slice(0, hidden)) if value.ndim == 4 else (slice(None),)
    if name.startswith("squeeze."):
        out, into = (squeezed, hidden) if ".fc1." in name else (hidden, squeezed)
        return (slice(0, out), slice(0, into))[: 2 if value.ndim == 4 else 1]
    if name == "depthwise.conv.weight" and kernel == 3:
        return (slice(0, hidden), slice(None), INNER, INNER)
    return (slice(0, hidden),)
