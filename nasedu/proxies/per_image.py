"""Gradients of one image after another: what several proxies compare between images."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from nasedu.proxies.batch import Batch
from nasedu.proxies.checks import run
from nasedu.proxies.probe import cross_entropy, gradients_of

ADVICE = 'forward="together" runs the batch at once'


def together(values: Tensor, weights: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """d values_n / dw by name, for each of values (B,) in turn, through the one graph that made them all.

    Where images share statistics, the gradient of one passes through the others as well. Each costs a backward pass
    of the whole batch.
    """
    for value in values.unbind():
        yield gradients_of(value, weights, retain_graph=True)


def alone(model: nn.Module, batch: Batch, weights: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """d l_n / dw by name, for each image in turn as a batch of its own; l_n is its cross-entropy.

    model: the network.
    batch: images and labels.
    weights: the w, by name.

    Together they cost about one forward and one backward pass of the batch. Raises `ProxyError` for a network that
    cannot run on one image in training mode, as with batch normalisation of a single value per channel.
    """
    for n in range(len(batch)):
        one = batch.take(slice(n, n + 1))
        yield gradients_of(cross_entropy(run(model, one.images, ADVICE), one), weights)
