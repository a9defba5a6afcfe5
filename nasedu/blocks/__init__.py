"""Convolution blocks that several papers share, under their published names: one file per family."""

from nasedu.blocks.basic import BasicBlock, Stem
from nasedu.blocks.cell import ActConvBN, PoolReduction, ReductionBlock, Zero
from nasedu.blocks.common import ACTIVATIONS, Add, Concat, ConvBNAct, activation
from nasedu.blocks.cost import Cost
from nasedu.blocks.csp import CSP, CSP2, SPPCSP, Bottleneck
from nasedu.blocks.fbnet import FBNetBlock, skip
from nasedu.blocks.mobile import Classifier, ConvBN, MBConv
from nasedu.blocks.plain import Conv, Part, Residual, check_parts, plain_cost, plain_modules
from nasedu.blocks.shuffle import ShuffleBlock, ShuffleXception

__all__ = [
    "ACTIVATIONS",
    "CSP",
    "CSP2",
    "SPPCSP",
    "ActConvBN",
    "Add",
    "BasicBlock",
    "Bottleneck",
    "Classifier",
    "Concat",
    "Conv",
    "ConvBN",
    "ConvBNAct",
    "Cost",
    "FBNetBlock",
    "MBConv",
    "Part",
    "PoolReduction",
    "ReductionBlock",
    "Residual",
    "ShuffleBlock",
    "ShuffleXception",
    "Stem",
    "Zero",
    "activation",
    "check_parts",
    "plain_cost",
    "plain_modules",
    "skip",
]
