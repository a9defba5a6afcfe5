"""The searched network beside honest rivals: same budget, same training, same test."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from nasedu.detection import Metrics
from nasedu.hardware import Latency, count, measure
from nasedu.randomness import rng
from nasedu.spaces.base import Arch, SearchSpace
from nasedu.tables import LookupTable, nearest
from nasedu.wzdnas.target import Goal


def contestants(searched: Arch, goal: Goal, seed: int = 0) -> dict[str, Arch]:
    """The searched architecture, the hand-designed one and a random one, by name.

        searched: as it is.
        goal: the hand-designed one is moved by the fewest steps where it misses it, and the random one is uniform among
            all that reach it.
        seed: of the random one.

    Raises `BudgetError`.
    """
    return {
        "searched": searched,
        "hand-designed": nearest(goal.table.space.hand_designed, goal.table, goal.value, also=goal.others),
        "random": goal.constraint.sample(rng(seed, "random rival")),
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

    space: of the networks.
    archs: by name.
    metrics: by name, what testing them gave.
    latency: what `table_ms` predicts with.
    device: where `latency_ms` is measured, at one thread.
    exported: by name, `onnx_ms`, the latency of the file in ONNX Runtime.
    onnx_latency: what `onnx_table_ms` predicts that with, a kit's table.
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
