"""What every search space is: one description of a network, read as networks and as a supernet.

A description is a list of layers. A plain `Layer` is fixed; a `Slot` is where decisions are made. `build` fills every
slot with the chosen module, `supernet` fills it with one that holds all choices, so the two cannot drift apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from nasedu.errors import ArchitectureError, check_name
from nasedu.storage import content_hash

Arch = tuple[int, ...]  # one choice index per decision
Path = Sequence[int | Tensor]  # per decision: a chosen index, or a weight for each choice (n_choices,)


@dataclass(frozen=True)
class Decision:
    """A question the architecture answers: its name and its choices' names, as a reader of the paper writes them."""

    name: str
    choices: tuple[str, ...]


@dataclass(frozen=True)
class Layer:
    """A fixed part: `make()` returns its module; `inputs` names the layers it reads (default: the one before)."""

    name: str
    make: Callable[..., nn.Module]
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Slot(Layer):
    """A searchable part: `make(*choice_indices)` returns the chosen module, `make_elastic()` one that holds them all.

    Its decisions form a *decision group*: what the slot costs depends on them alone.
    """

    decisions: tuple[Decision, ...] = ()
    make_elastic: Callable[[], nn.Module] = field(kw_only=True)


class Network(nn.Module):
    """Runs layers in order: `network(x)` where every slot is decided, `supernet(x, path)` where it is not.

    `parts` maps a layer's name to its module. The output is the last layer's.
    """

    def __init__(self, layers: Sequence[Layer], modules: dict[str, nn.Module], elastic: bool):
        super().__init__()
        self.parts = nn.ModuleDict(modules)
        names = [layer.name for layer in layers]
        self._inputs = [layer.inputs or tuple(names[max(i - 1, 0) : i]) for i, layer in enumerate(layers)]
        self._last_use = {name: i for i, inputs in enumerate(self._inputs) for name in inputs}
        self._arity = [len(layer.decisions) if elastic and isinstance(layer, Slot) else 0 for layer in layers]
        self.elastic = elastic

    def forward(self, x: Tensor, path: Path | None = None):
        """Run on images (B, C, H, W). Raises `ArchitectureError` when a supernet gets a path of the wrong length."""
        if self.elastic and (path is None or len(path) != sum(self._arity)):
            got = "none" if path is None else len(path)
            raise ArchitectureError(f"the supernet needs a path with {sum(self._arity)} entries, got {got}")
        outputs, used = {}, 0
        for i, (name, module) in enumerate(self.parts.items()):
            inputs = [outputs[source] for source in self._inputs[i]] or [x]
            entries = path[used : used + self._arity[i]] if self._arity[i] else ()
            used += self._arity[i]
            outputs[name] = module(*inputs, *entries)
            for source in self._inputs[i]:
                if self._last_use[source] == i:
                    outputs.pop(source, None)
        return outputs[name]


class SearchSpace:
    """Base of all spaces. A subclass sets `name`, `input_shape` and `layers`; everything else follows.

    `input_shape` is (C, H, W).
    """

    name: str
    input_shape: tuple[int, int, int]
    layers: list[Layer]

    @cached_property
    def slots(self) -> list[Slot]:
        """The searchable layers, in order."""
        return [layer for layer in self.layers if isinstance(layer, Slot)]

    @cached_property
    def decisions(self) -> list[Decision]:
        """Every decision, in the order of an architecture's entries."""
        return [decision for slot in self.slots for decision in slot.decisions]

    @cached_property
    def groups(self) -> list[tuple[int, ...]]:
        """For every slot, the indices of its decisions: the units in which cost is priced."""
        starts = np.cumsum([0] + [len(slot.decisions) for slot in self.slots])
        return [tuple(range(a, b)) for a, b in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)]

    @cached_property
    def choices(self) -> list[int]:
        """The number of choices of every decision."""
        return [len(decision.choices) for decision in self.decisions]

    @property
    def size(self) -> int:
        """The exact number of architectures."""
        return math.prod(self.choices)

    @cached_property
    def input_shapes(self) -> dict[str, list[tuple[int, ...]]]:
        """For every layer, the shapes (C, H, W) of the maps it reads; found without computing anything."""
        shapes = {}
        with torch.device("meta"):
            network = self.build([0] * len(self.choices)).eval()
            for name, part in network.parts.items():
                part.register_forward_pre_hook(
                    lambda _, maps, name=name: shapes.__setitem__(name, [tuple(m.shape[1:]) for m in maps])
                )
            network(torch.empty(1, *self.input_shape))
        return shapes

    @cached_property
    def fingerprint(self) -> str:
        """A content hash of what is searched: layers, wiring, decisions, choices and input shape (16 hex digits)."""
        with torch.device("meta"):
            modules = [x.make_elastic() if isinstance(x, Slot) else x.make() for x in self.layers]
        parts = [
            [x.name, x.inputs, self.input_shapes[x.name], _make_up(module)]
            for x, module in zip(self.layers, modules, strict=True)
        ]
        return content_hash([self.name, self.input_shape, parts, [[d.name, d.choices] for d in self.decisions]])

    def sample(self, rng: np.random.Generator) -> Arch:
        """A uniformly random architecture."""
        return tuple(int(rng.integers(n)) for n in self.choices)

    def mutate(self, arch: Arch, rng: np.random.Generator, p: float = 0.1) -> Arch:
        """Redraw every decision with probability `p`, uniformly over its choices."""
        return tuple(int(rng.integers(n)) if rng.random() < p else i for i, n in zip(arch, self.choices, strict=True))

    def crossover(self, a: Arch, b: Arch, rng: np.random.Generator) -> Arch:
        """Uniform crossover: every decision from either parent with equal probability."""
        return tuple(x if rng.random() < 0.5 else y for x, y in zip(a, b, strict=True))

    def validate(self, arch: Sequence[int]) -> Arch:
        """Return `arch` as a tuple of ints. Raises `ArchitectureError` when it is none of this space's."""
        if len(arch) != len(self.choices):
            raise ArchitectureError(f"{self.name} has {len(self.choices)} decisions, the architecture has {len(arch)}")
        for decision, index in zip(self.decisions, arch, strict=True):
            if index != int(index) or not 0 <= index < len(decision.choices):
                raise ArchitectureError(
                    f"{decision.name} has the choices 0 to {len(decision.choices) - 1} "
                    f"({', '.join(decision.choices)}), got {index}"
                )
        return tuple(int(i) for i in arch)

    def format(self, arch: Arch) -> str:
        """The architecture as YAML, one slot a line: `back1: {width: 0.5, depth: 3}`. `parse` reads it back."""
        chosen = [d.choices[i] for d, i in zip(self.decisions, self.validate(arch), strict=True)]
        lines = []
        for slot, group in zip(self.slots, self.groups, strict=True):
            if len(group) == 1:
                lines.append(f"{slot.name}: {chosen[group[0]]}")
            else:
                pairs = ", ".join(f"{self.decisions[d].name.split('.')[-1]}: {chosen[d]}" for d in group)
                lines.append(f"{slot.name}: {{{pairs}}}")
        return "\n".join(lines) + "\n"

    def parse(self, text: str) -> Arch:
        """Read what `format` writes, in any order of lines. Raises `ArchitectureError` or `UnknownName`."""
        try:
            given = yaml.load(text, yaml.BaseLoader)  # strings only: a choice named 0.5 stays "0.5"
        except yaml.YAMLError as error:
            raise ArchitectureError(f"not a YAML architecture of {self.name}: {error}") from None
        if not isinstance(given, dict):
            raise ArchitectureError(f"an architecture of {self.name} maps slots to choices, got {text.strip()[:40]!r}")
        flat = {f"{k}.{axis}": v for k, group in given.items() if isinstance(group, dict) for axis, v in group.items()}
        flat |= {k: v for k, v in given.items() if not isinstance(v, dict)}
        for name in flat:
            check_name(f"decision of {self.name}", name, [d.name for d in self.decisions])
        missing = [d.name for d in self.decisions if d.name not in flat]
        if missing:
            raise ArchitectureError(f"the architecture does not decide {', '.join(missing)}")
        return tuple(
            d.choices.index(check_name(f"choice of {d.name}", flat[d.name], d.choices)) for d in self.decisions
        )

    def build(self, arch: Sequence[int]) -> Network:
        """The stand-alone network of `arch`, freshly initialised. Raises `ArchitectureError`."""
        arch = self.validate(arch)
        chosen = {slot.name: [arch[d] for d in group] for slot, group in zip(self.slots, self.groups, strict=True)}
        return Network(self.layers, {x.name: x.make(*chosen.get(x.name, ())) for x in self.layers}, elastic=False)

    def supernet(self) -> Network:
        """The network that holds every architecture: `supernet(x, path)`."""
        parts = {x.name: x.make_elastic() if isinstance(x, Slot) else x.make() for x in self.layers}
        return Network(self.layers, parts, elastic=True)

    def inherit(self, supernet: Network, arch: Sequence[int]) -> Network:
        """`build(arch)` with the supernet's weights and statistics, copied."""
        network = self.build(arch)
        groups = {slot.name: group for slot, group in zip(self.slots, self.groups, strict=True)}
        for name, part in supernet.parts.items():
            source = part.extract(*(arch[d] for d in groups[name])) if name in groups else part.state_dict()
            network.parts[name].load_state_dict(source)
        return network


def _make_up(module: nn.Module) -> list:
    """What a module is, without its weights: the kinds and settings of its parts, and its tensors' shapes."""
    settings = ("kernel_size", "stride", "padding", "groups", "scale_factor")
    kinds = [[type(m).__name__, *(str(getattr(m, name, None)) for name in settings)] for m in module.modules()]
    return [kinds, [[name, tuple(value.shape)] for name, value in module.state_dict().items()]]
