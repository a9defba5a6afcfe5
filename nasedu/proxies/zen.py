"""Zen-score: how strongly a network's last feature map reacts to its input, normalisation undone (Lin et al. 2021).

Batch normalisation keeps deep networks from overflowing, but hides by how much a layer amplifies. The Zen-score
measures the reaction of the normalised network and adds the logarithms of what every normalisation divided by.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from nasedu.errors import ProxyError, check_name, check_number, check_whole
from nasedu.proxies.activations import SEEN
from nasedu.proxies.initialise import standard_normal
from nasedu.proxies.probe import Probe
from nasedu.proxies.registry import register

POOLS = {F.adaptive_avg_pool2d, F.adaptive_max_pool2d, F.avg_pool2d, Tensor.mean, torch.mean, Tensor.amax, torch.amax}
LAYERS = {F.conv2d, F.batch_norm, *SEEN}
EMA_EPS, EMA_MOMENTUM = 1e-3, 0.1  # of the public code's batch normalisation
ROUNDING = 1e-5  # a variance that is smaller than this share of a BN's eps cannot be told from zero


@register("zen", needs="shape", passes="2 forward, of random images")
def zen(
    probe: Probe,
    *,
    alpha: float = 0.01,
    bn: str = "batch",
    norm: str | None = None,
    images: int | None = None,
    resolution: int | None = None,
    repeats: int = 1,
) -> float:
    """ln mean_n ||f(x_n) - f(x_n + alpha e_n)|| + Sum over BN layers of 1/2 ln mean_c s_c^2. Higher is better.

    Lin et al. 2021 (arXiv 2102.01063), algorithm 1. f is the `feature_map`, x and e are N(0, I), weights N(0, 1), BN 1
    and 0, and s_c^2 is the variance over the batch of channel c before a BN, on x. Residual links are removed where a
    block has a boolean attribute `residual`; other networks are scored with theirs, which the theory does not cover.

    probe: the network and the batch.
    alpha: how far the second input is from the first.
    bn: "batch", or "ema", the public code: s^2 is the running average (from 1, with momentum 0.1, after both forward
        passes, never reset over repeats), which takes about 0.8 off per layer.
    norm: "frobenius" (the paper's) or "l1" (the code's); by default it goes with `bn`.
    images: how many are drawn; None as many as the batch has.
    resolution: their height and width, in pixels; None is the batch's.
    repeats: how many draws are averaged.

    Cannot see: data, resolution but for f's size, the classifier, whether a depth trains without shortcuts;
    normalisation other than BN hides scale.
    """
    check_name("variance of BN", bn, ("batch", "ema"))
    norm = check_name("norm of zen", norm or ("frobenius" if bn == "batch" else "l1"), ("frobenius", "l1"))
    shape, scores, running = _shape(probe.images, images, resolution), [], []
    check_number("alpha of zen", alpha, above=True)
    with torch.inference_mode():
        model = without_residual(probe.copy(last=True)).eval()  # no dropout; BN is ours to run
        model.to(memory_format=torch.channels_last)  # a quarter faster
        for _ in range(check_whole("repeats of zen", repeats)):
            standard_normal(model, probe.source)
            x = probe.normal(*shape).contiguous(memory_format=torch.channels_last)
            seen = _Look(running if bn == "ema" else None)
            before, scales = seen.features(model, x), seen.scales
            after = seen.features(model, x.add_(probe.normal(*shape), alpha=alpha))
            divided, reaction = (running if bn == "ema" else scales), _distance(before - after, norm)
            scale = sum(math.log(v) / 2 for v in _means(divided) if v > 0)
            scores.append(scale + math.log(reaction) if reaction > 0 else -math.inf)
    return sum(scores) / len(scores)


def _shape(batch: Tensor, images: int | None, resolution: int | None) -> tuple[int, ...]:
    """(B, C, H, W) of the draws: as the batch, but for what is given."""
    number = check_whole("images of zen", len(batch) if images is None else images)
    size = batch.shape[2:] if resolution is None else (check_whole("resolution of zen", resolution),) * 2
    return (number, batch.shape[1], *size)


def without_residual(model: nn.Module) -> nn.Module:
    """Switch off, in place, the residual link of every part that has a boolean attribute `residual`."""
    for part in model.modules():
        if isinstance(getattr(part, "residual", None), bool):
            part.residual = False
    return model


def feature_map(model: nn.Module, images: Tensor) -> Tensor:
    """The feature map (B, C, H, W) before global pooling, normalised by the batch's own statistics.

    It is what the last global pooling reads, or, where nothing pools, what the last convolution, batch normalisation or
    activation returns; where none of these is seen, `model.features(images)`. Raises `ProxyError` where there is none.
    """
    return _Look().features(model, images)


class _Look(TorchFunctionMode):
    """Normalises with the batch's statistics and keeps what it divided by, and the network's last map.

    `scales`: the variances (C,) per call of batch normalisation in the last pass. `running`, if given, holds their
    running averages over all passes.
    """

    def __init__(self, running: list[Tensor] | None = None):
        super().__init__()
        self.running, self.scales, self.map, self.pooled = running, [], None, False

    def features(self, model: nn.Module, images: Tensor) -> Tensor:
        """The map before global pooling (B, C, H, W); see `feature_map`."""
        self.scales, self.map, self.pooled = [], None, False
        with self:
            model(images)  # the whole network: `features` may be followed by convolutions
            found = self.map
            method = getattr(model, "features", None)
            if found is None and callable(method) and not isinstance(method, nn.ModuleList):
                self.scales = []
                found = method(images)
        if not isinstance(found, Tensor) or found.ndim != 4:
            raise ProxyError(
                f"no feature map (B, C, H, W) was seen in this {type(model).__name__}: no 2-d convolution, batch "
                "normalisation, activation or global pooling ran; a method features(images) can return it"
            )
        return found

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        run = self._normalise if function is F.batch_norm else function
        result = run(*args, **kwargs)
        if function in LAYERS:
            self._passed(result)
        elif function in POOLS:
            self._pool(args[0] if args else kwargs["input"], result)
        return result

    def _passed(self, result: Tensor) -> None:
        # After the head's pooling there are vectors or 1x1 maps. A larger map shows that the pooling was an SE block's.
        vector = result.ndim != 4 or result.shape[2:].numel() == 1
        if result.ndim == 4 and not (self.pooled and vector and self.map.shape[2:].numel() > 1):
            self.map, self.pooled = result, False

    def _pool(self, x: Tensor, result: Tensor) -> None:
        if x.ndim == 4 and result.shape[:2] == x.shape[:2] and result.numel() == x.shape[:2].numel():
            self.map, self.pooled = x, True

    def _normalise(
        self,
        input: Tensor,
        running_mean: Tensor | None = None,
        running_var: Tensor | None = None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        """Batch normalisation whose variance is read off the kernel that computes it anyway."""
        eps = eps if self.running is None else EMA_EPS
        result, _, inverse = torch.native_batch_norm(input, weight, bias, None, None, True, 0.0, eps)
        scale = inverse.pow(-2).sub(eps)
        scale.masked_fill_(scale < ROUNDING * eps, 0)  # the input was constant
        if self.running is not None:
            n = input.numel() // input.shape[1]
            _update(self.running, len(self.scales), scale * (n / max(n - 1, 1)))  # PyTorch's average is unbiased
        self.scales.append(scale)
        return result


def _means(variances: list[Tensor]) -> list[float]:
    """Of the channels of each layer, with one look at the device."""
    return torch.stack([variance.mean() for variance in variances]).tolist() if variances else []


def _update(running: list[Tensor], index: int, variance: Tensor) -> None:
    if index == len(running):
        running.append(torch.ones_like(variance))
    running[index] = (1 - EMA_MOMENTUM) * running[index] + EMA_MOMENTUM * variance


def _distance(difference: Tensor, norm: str) -> float:
    """The mean over images of a norm of (B, C, H, W). Raises `ProxyError` where it overflows."""
    value = float(difference.flatten(1).norm(p=2 if norm == "frobenius" else 1, dim=1).mean())
    if not math.isfinite(value):
        raise ProxyError(
            f"the feature map overflows {str(difference.dtype).removeprefix('torch.')}, as N(0, 1) weights make it "
            "where no batch normalisation follows; score model.double()"
        )
    return value
