"""Convolution blocks that several papers share, under their published names: one file per family."""

from nasedu.blocks.cell import ActConvBN, PoolReduction, ReductionBlock, Zero
from nasedu.blocks.common import ACTIVATIONS, Add, Concat, ConvBNAct, activation, batch_norm, evaluation_mode, pointwise
from nasedu.blocks.csp import CSP, CSP2, SPPCSP, Bottleneck
from nasedu.blocks.fbnet import FBNetBlock, skip
from nasedu.blocks.mobile import Classifier, ConvBN, MBConv
from nasedu.blocks.shuffle import ShuffleBlock, ShuffleXception, shuffle_split

__all__ = [
    "ACTIVATIONS",
    "CSP",
    "CSP2",
    "SPPCSP",
    "ActConvBN",
    "Add",
    "Bottleneck",
    "Classifier",
    "Concat",
    "ConvBN",
    "ConvBNAct",
    "FBNetBlock",
    "MBConv",
    "PoolReduction",
    "ReductionBlock",
    "ShuffleBlock",
    "ShuffleXception",
    "Zero",
    "activation",
    "batch_norm",
    "evaluation_mode",
    "pointwise",
    "shuffle_split",
    "skip",
]
