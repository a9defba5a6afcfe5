"""The searched network beside honest rivals: same budget, same training, same test."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from nasedu.detection import Metrics
from nasedu.hardware import Latency, count, measure
from nasedu.spaces.base import Arch, SearchSpace
from nasedu.tables import LookupTable
from nasedu.tables.derive import nearest, random_within


def contestants(searched: Arch, table: LookupTable, target: float, seed: int = 0) -> dict[str, Arch]:
    """The searched architecture, the hand-designed one (moved by the fewest steps where it misses the target) and a
    random one, all within 3 % of `target` (MACs). Raises `BudgetError`."""
    return {
        "searched": searched,
        "hand-designed": nearest(table.space.hand_designed, table, target),
        "random": random_within(table, target, seed),
    }


def report(
    space: SearchSpace,
    archs: Mapping[str, Arch],
    metrics: Mapping[str, Metrics],
    latency: LookupTable | None = None,
    device: torch.device | str = "cpu",
    exported: Mapping[str, Latency] | None = None,
    onnx_latency: LookupTable | None = None,
):
    """A pandas DataFrame, one row per network: AP, FLOPs, parameters, depth and latency, batch size 1.

    `latency_ms` is measured on `device` at one thread; `table_ms` is what `latency` predicts; `onnx_ms` is the
    `exported` file's in ONNX Runtime, and `onnx_table_ms` what `onnx_latency`, a kit's table, predicts for that.
    """
    import pandas as pd

    rows = {}
    for name, arch in archs.items():
        network = space.build(arch)
        cost, scores = count(network, space.input_shape), metrics[name]
        row = {
            "AP": scores.ap,
            "AP50": scores.ap50,
            "VOC 11-point": scores.voc11_50,
            "VOC every-point": scores.voc_all_50,
            "GFLOPs": cost.flops / 1e9,
            "params (M)": cost.params / 1e6,
            "latency_ms": measure(network, space.input_shape, device=device).median,
        }
        row |= {"table_ms": latency(arch)} if latency else {}
        row |= {"onnx_ms": exported[name].median} if exported else {}
        rows[name] = row | ({"onnx_table_ms": onnx_latency(arch)} if onnx_latency else {})
    return pd.DataFrame(rows).T
