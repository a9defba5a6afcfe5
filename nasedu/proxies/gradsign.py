"""GradSign: do single images agree on the direction in which each weight should move? (Zhang & Jia 2022)"""

from __future__ import annotations

import torch

from nasedu.errors import check_name
from nasedu.proxies.checks import run
from nasedu.proxies.per_image import alone, together
from nasedu.proxies.probe import Probe, cross_entropy
from nasedu.proxies.registry import register


@register("gradsign", needs="labels", passes="1 forward, 1 backward per image")
def gradsign(probe: Probe, *, over: str = "mean", forward: str = "together") -> float:
    """Mean over weights of |Sum_n sign(dl_n / dw)|, l_n the cross-entropy of image n (GradSign, Zhang & Jia 2022).

    Higher is better; between 0 and the number of images. Weights of convolutions and linear layers.

    probe: the network and the batch.
    over: "mean", or "sum", which rewards size; the authors' two programs differ in this.
    forward: "together" runs the batch once in training mode, with common statistics, at a backward pass of the whole
        batch for each image; "alone" runs one image after another, as both programs do. That is faster, but batch
        normalisation knows one image only, and cannot run where its maps have one pixel, as a ResNet's at 32 px.

    Cannot see: how large a gradient is; the mean does not see the size of the network either.
    """
    check_name("average of gradsign", over, ("mean", "sum"))
    check_name("forward of gradsign", forward, ("alone", "together"))
    weights, model, batch = probe.weights, probe.model, probe.batch
    if forward == "alone":
        gradients = alone(model, batch, weights)
    else:
        gradients = together(cross_entropy(run(model, batch.images), batch, reduction="none"), weights)
    votes = {name: torch.zeros_like(w, requires_grad=False) for name, w in weights.items()}
    for of_image in gradients:
        for name, gradient in of_image.items():
            votes[name] += gradient.sign()
    total = float(sum(vote.abs().sum(dtype=torch.float64) for vote in votes.values()))
    return total if over == "sum" else total / sum(vote.numel() for vote in votes.values())
