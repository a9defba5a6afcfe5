"""Networks for deployment: parts that were trained in a richer form become the plain one that computes the same."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def merged(network: Module) -> Module:
    """A copy of a network in which every part that has a method `merged` is what that returns.

    So RepConv's branches become one convolution, implicit knowledge goes into a head's weights, and factorised
    convolutions become dense ones. The copy computes the same in evaluation mode, and is in that mode.

    network: any.
    """
    return _plain(copy.deepcopy(network)).eval()


def _plain(module):
    if hasattr(module, "merged"):
        return module.merged()
    for name, child in module.named_children():
        setattr(module, name, _plain(child))
    return module
