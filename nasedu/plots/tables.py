"""A table of costs as a picture."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nasedu.plots.forms import heat
from nasedu.plots.picture import Picture
from nasedu.tables import LookupTable
from nasedu.tables.file import options


def price_map(
    table: LookupTable, unit: str = "MACs (millions)", scale: float = 1e-6, *, lead: bool = False, numbers: str = ".1f"
) -> Picture:
    """A column for every decision group, a row for every option; colour and number are its entry.

    Args:
        table: of any space.
        unit: what is shown.
        scale: what the entries are multiplied by.
        lead: whether each column shows the lead over its own lowest, as for scores of blocks that differ in size.
        numbers: how entries are written.
    """
    named = options(table.space)
    columns = {
        block: pd.Series(entry.flatten().numpy() * scale, names, dtype=float)
        for (block, names), entry in zip(named.items(), table.entries, strict=True)
    }
    rows = list(dict.fromkeys(name for names in named.values() for name in names))
    if any(", " in name for name in rows):  # decided together, as width and depth: sorted, the widths stand together
        rows.sort()
    frame = pd.DataFrame(columns).reindex(rows)
    frame = frame - frame.min() if lead else frame
    stages = all(name.startswith("stage") for name in named)
    if stages:
        frame.columns = [name.removeprefix("stage").replace("_", ".") for name in named]
    look = {"xlabel": "block (stage.number)" if stages else "block", "width": 11, "height": 1.2 + 0.3 * len(rows)}
    limits = 0.0, float(np.nanmax(frame.to_numpy()))
    return heat(frame, limits=limits, numbers=numbers, bar=unit, **look)
