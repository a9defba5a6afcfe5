"""How well a latency table of this machine predicts whole networks, before and after its correction.

    python -m pytest tests/benchmarks/bench_additivity.py -o python_files='bench_*.py' -s

The error after it is cross-validated. Leave the machine alone meanwhile: about a minute a space on one core.
"""

from __future__ import annotations

import pytest

from nasedu import spaces
from nasedu.tables import Additivity, Correction, LookupTable, correct, measure_networks, random_networks

SPACES = ("yolo:course", "fbnet:course", "nasbench201:course")
NETWORKS, GOAL = 50, 0.10


def fitted(name: str, networks: int = NETWORKS, **options) -> dict[str, Correction]:
    """The table and whole networks of a space measured; its corrections without and with a factor."""
    space = spaces.create(name)
    table = LookupTable.build(space, "latency_ms", **options)
    archs = random_networks(space, networks)
    measured = measure_networks(space, archs, **options)
    return {"overhead": correct(table, archs, measured), "and scale": correct(table, archs, measured, scale=True)}


def report(name: str, corrections: dict[str, Correction]) -> str:
    """A row for the table as it is and for every correction of it."""
    first = corrections["overhead"]
    slowest, fastest = max(first.measured), min(first.measured)
    head = f"\n{name}: {first.before.n} networks of {fastest:.3g} to {slowest:.3g} ms"
    lines = [head, f"{'':12} {'R2':>7} {'MAPE':>7} {'bias':>7} {'left over':>10} {'RMSE ms':>8} {'rank':>6}"]
    lines += [_row("table", first.before), *(_row(kind, c.after) for kind, c in corrections.items())]
    return "\n".join(lines + [f"  {kind}: {c}" for kind, c in corrections.items()])


def _row(kind: str, a: Additivity) -> str:
    return f"{kind:12} {a.r2:7.3f} {a.mape:7.1%} {a.bias:+7.1%} {a.spread:10.1%} {a.rmse:8.3g} {a.spearman:6.3f}"


@pytest.mark.parametrize("name", SPACES)
def test_the_additive_table_against_whole_networks(name):
    corrections = fitted(name)
    print(report(name, corrections))
    assert min(c.after.mape for c in corrections.values()) <= GOAL
