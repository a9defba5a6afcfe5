"""The space of Zen-NAS: grammar, blocks, mutation, the space itself, and the structure strings that were published."""

from nasedu.spaces.plainnet.mutation import RULES
from nasedu.spaces.plainnet.published import CIFAR_SEED, PUBLISHED
from nasedu.spaces.plainnet.registry import Block, plain_block
from nasedu.spaces.plainnet.space import SETS, PlainArch, PlainNetSpace
from nasedu.spaces.plainnet.weights import load_weights

__all__ = [
    "CIFAR_SEED",
    "PUBLISHED",
    "RULES",
    "SETS",
    "Block",
    "PlainArch",
    "PlainNetSpace",
    "load_weights",
    "plain_block",
]
