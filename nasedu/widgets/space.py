"""A search space to walk through: pick a block, pick its operation, see what the network costs."""

from __future__ import annotations

from collections.abc import Mapping

from ipywidgets import Dropdown

from nasedu import plots
from nasedu.spaces.base import Arch, SearchSpace
from nasedu.tables.table import LookupTable
from nasedu.widgets.base import LAYOUT, PictureWidget

NAMES = {"macs": "MACs", "params": "parameters", "latency_ms": "latency"}


class SpaceWidget(PictureWidget):
    """Changes one block of an architecture at a time and tells what that costs, by every table.

    Dropdowns: `block`, the decision to change, and `choice`, what is chosen there. `arch` is the architecture.

    Args:
        space: one that `plots.blocks` draws.
        tables: what it costs, by name.
        arch: at first; the first choice everywhere where None.

    Raises `ArchitectureError`.
    """

    def __init__(self, space: SearchSpace, tables: Mapping[str, LookupTable], arch: Arch | None = None):
        self.space, self.tables = space, dict(tables)
        self.arch = space.validate(arch if arch is not None else [0] * len(space.choices))
        self._before: Arch | None = None
        names = [(decision.name, i) for i, decision in enumerate(space.decisions)]
        self.block = Dropdown(options=names, description="block", **LAYOUT)
        self.choice = Dropdown(description="choice", **LAYOUT)
        self._pick()
        super().__init__(self.block, self.choice)

    def _pick(self) -> None:
        """Offer the choices of the block that is picked; the architecture stays."""
        choices = self.space.decisions[self.block.value].choices
        self._picked = None  # nothing that the dropdown says meanwhile is a choice
        self.choice.options = [(name, i) for i, name in enumerate(choices)]
        self.choice.value = self.arch[self.block.value]
        self._picked = self.block.value

    def update(self, change: object = None) -> None:
        """Take what was chosen into the architecture, or offer what another block could be, and draw."""
        if self._picked is None:
            return
        if self._picked != self.block.value:
            self._pick()
        elif self.choice.value != self.arch[self._picked]:
            self._before, at = self.arch, self._picked
            self.arch = self.space.validate((*self.arch[:at], self.choice.value, *self.arch[at + 1 :]))
        super().update(change)

    def draw(self) -> tuple[plots.Picture, str]:
        picture = plots.blocks(self.space, {self.space.name: self.arch}, mark=self.block.label)
        picture.alt = self.space.format(self.arch).replace("\n", "; ")
        return picture, "\n".join(self._cost(name, table) for name, table in self.tables.items())

    def _cost(self, name: str, table: LookupTable) -> str:
        """A table's cost of the architecture in words, and the change against the one before."""
        now = table(self.arch)
        text = f"{NAMES.get(name, name)}: {_number(now)}{' ms' * (table.unit == 'ms')}"
        if self._before is None:
            return text
        change = now - table(self._before)
        share = f", {change / (now - change):+.1%}" if now != change else ""
        return f"{text} ({_number(change, '+')}{share} by the last change)"


def _number(value: float, sign: str = "") -> str:
    """A count in full with its thousands apart, anything else to four digits."""
    return f"{int(value):{sign},}" if float(value).is_integer() else f"{value:{sign}.4g}"
