"""What a network costs on paper: multiply-accumulates and parameters, counted without allocating memory."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nasedu.blocks import Cost, evaluation_mode


def count(module: nn.Module, *input_shapes: tuple[int, ...]) -> Cost:
    """Count `module` on one input per shape (C, H, W), at batch size 1; `module` keeps its device and weights."""
    on_meta = all(p.is_meta for p in module.parameters())
    meta = module if on_meta else copy.deepcopy(module).to("meta")
    dtype = next((p.dtype for p in module.parameters()), torch.float32)
    inputs = [torch.empty(1, *shape, device="meta", dtype=dtype) for shape in input_shapes]
    with FlopCounterMode(display=False) as counter, evaluation_mode(meta), torch.no_grad():
        meta(*inputs)
    params = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return Cost(counter.get_total_flops() // 2, params)
