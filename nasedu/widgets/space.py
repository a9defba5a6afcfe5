"""A search space to walk through: pick a block, pick its operation, see what the network costs."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping

import ipywidgets

from nasedu import plots
from nasedu.spaces.base import Arch, SearchSpace
from nasedu.tables.table import LookupTable

NAMES = {"macs": "MACs", "params": "parameters", "latency_ms": "latency"}


class SpaceWidget(ipywidgets.VBox):
    """Changes one block of an architecture at a time and tells what that costs, by every table in `tables`.

    Dropdowns: `block`, the decision to change, and `choice`, what is chosen there. `arch` is the architecture, at first
    the given one or the first choice everywhere; `view` shows it, its costs and what the last change did to them.
    The space is one that `plots.blocks` draws. Raises `ArchitectureError`.
    """

    def __init__(self, space: SearchSpace, tables: Mapping[str, LookupTable], arch: Arch | None = None):
        self.space, self.tables = space, dict(tables)
        self.arch = space.validate(arch if arch is not None else [0] * len(space.choices))
        self._before: Arch | None = None
        self._filling = False
        wide = {"style": {"description_width": "6em"}, "layout": {"width": "20em"}}
        names = [(decision.name, i) for i, decision in enumerate(space.decisions)]
        self.block = ipywidgets.Dropdown(options=names, value=0, description="block", **wide)
        self.choice = ipywidgets.Dropdown(description="choice", **wide)
        self.view = ipywidgets.HTML()
        self.block.observe(self._pick, names="value")
        self.choice.observe(self._change, names="value")
        self._pick()
        super().__init__([ipywidgets.HBox([self.block, self.choice]), self.view])

    def _pick(self, _change: object = None) -> None:
        """Offer the choices of the block that is picked; the architecture stays."""
        self._filling = True
        choices = self.space.decisions[self.block.value].choices
        self.choice.options = [(name, i) for i, name in enumerate(choices)]
        self.choice.value = self.arch[self.block.value]
        self._filling = False
        self._show()

    def _change(self, _change: object = None) -> None:
        """Take what was chosen into the architecture."""
        if self._filling or self.choice.value is None or self.choice.value == self.arch[self.block.value]:
            return
        self._before, at = self.arch, self.block.value
        self.arch = self.space.validate((*self.arch[:at], self.choice.value, *self.arch[at + 1 :]))
        self._show()

    def _show(self) -> None:
        """The costs and the picture, with the architecture in words for those who cannot see it."""
        picture = plots.blocks(self.space, {self.space.name: self.arch}, mark=self.block.label)
        words = html.escape(self.space.format(self.arch).replace("\n", "; "))
        png = base64.b64encode(picture.png()).decode()
        lines = "<br/>".join(html.escape(self._cost(name, table)) for name, table in self.tables.items())
        image = f'<img alt="{words}" style="max-width: 100%" src="data:image/png;base64,{png}"/>'
        self.view.value = f'<p role="status">{lines}</p>{image}'

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
