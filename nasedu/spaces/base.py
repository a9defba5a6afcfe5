"""What every search space is: one description of a network, read as networks and as a supernet.

A description is a list of layers. A plain `Layer` is fixed; a `Slot` is where decisions are made. `build` fills every
slot with the chosen module, `supernet` fills it with one that holds all choices, so the two cannot drift apart. Slots
that name the same decisions are decided together, as the cells of a cell-based network are.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from nasedu import reading
from nasedu.errors import ArchitectureError, ParameterError, brief, check_has, check_kind, check_name, check_number
from nasedu.files import content_hash
from nasedu.randomness import initialised
from nasedu.spaces.chain import Link, ways
from nasedu.spaces.chain import links as chain_of
from nasedu.supernet.mixed import Entry, MixedOp, Subset

Arch = tuple[int, ...]  # one choice index per decision
Path = Sequence[Entry]  # per decision: a chosen index, a weight for each choice (n_choices,), or for some of them
MOST_PIXELS, MOST_CLASSES = 2048, 100_000  # of a network: what is far beyond would ask for more memory than there is
OF_SUPERNETS = ("semantics", "norm")  # settings that say how choices are held together, not what they are


@dataclass(frozen=True)
class Decision:
    """A question the architecture answers: its name and its choices' names, as a reader of the paper writes them.

    `needs` is another decision's name and an index: with a choice before that one, this decision has nothing to decide,
    as a block's width where the depth leaves the block out, and the architecture names its first choice. Slots with
    this decision have the other one, too.
    """

    name: str
    choices: tuple[str, ...]
    needs: tuple[str, int] | None = None


@dataclass(frozen=True)
class Layer:
    """A fixed part: `make()` returns its module; `inputs` names the layers it reads (default: the one before)."""

    name: str
    make: Callable[..., nn.Module]
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Slot(Layer):
    """A searchable part: `make(*choice_indices)` returns the chosen module, `make_elastic()` one that holds them all.

    Its decisions form a *decision group*: what the slot costs depends on them alone. Groups may share decisions, as a
    block does with the next one, which reads its width.

    Args:
        decisions: of the group.
        make_elastic: see above.
        plan: from choice indices to all that the module depends on, with the channels `c_in` that it reads; for slots
            whose input follows the decisions.
    """

    decisions: tuple[Decision, ...] = ()
    make_elastic: Callable[[], nn.Module] = field(kw_only=True)
    plan: Callable[..., Plan] | None = field(default=None, kw_only=True)


class Plan(Protocol):
    """What a slot's module depends on; equal plans make equal modules."""

    c_in: int

    def __hash__(self) -> int: ...


def choice(name: str, operations: Mapping[str, Callable[[], nn.Module]], decision: str = "", inputs=()) -> Slot:
    """A slot with one decision.

    name: of the slot.
    operations: what makes each choice, by the choice's name.
    decision: its name, which other slots may share; by default the slot's.
    inputs: the layers that the slot reads, by name; by default the one before.
    """
    makers = list(operations.values())
    return Slot(
        name,
        lambda index: makers[index](),
        inputs,
        (Decision(decision or name, tuple(operations)),),
        make_elastic=lambda: MixedOp(make() for make in makers),
    )


class Network(nn.Module):
    """Runs layers in order: `network(x)` where every slot is decided, `supernet(x, path)` where it is not.

    layers: in order; the output is the last one's.
    modules: the layers' modules, by name, kept as `parts`.
    deciding: the indices of a slot's path entries, by the slot's name.
    decisions: what the entries choose between; empty where nothing is left to decide.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        modules: dict[str, nn.Module],
        deciding: Mapping[str, Sequence[int]],
        decisions: Sequence[Decision] = (),
    ):
        super().__init__()
        self.parts = nn.ModuleDict(modules)
        names = [layer.name for layer in layers]
        self._inputs = [layer.inputs or tuple(names[max(i - 1, 0) : i]) for i, layer in enumerate(layers)]
        # the place of the last layer that reads an output: after it, nobody does
        self.last_use = {name: i for i, inputs in enumerate(self._inputs) for name in inputs}
        self._deciding = [tuple(deciding.get(name, ())) for name in names]
        self._decisions = tuple(decisions)
        self.elastic = bool(decisions)

    def forward(self, x: Tensor, path: Path | None = None):
        """Run on images (B, C, H, W). Raises `ArchitectureError` when a supernet gets a path that is none of its own.

        Entries of the path may be mixed freely: an index runs that operation only, weights run all that weigh.
        """
        if self.elastic:
            check_path(path, self._decisions)
        elif path is not None:
            raise ArchitectureError("a stand-alone network has nothing left to decide: call it without a path")
        outputs = {}
        for i, (name, module) in enumerate(self.parts.items()):
            inputs = [outputs[source] for source in self._inputs[i]] or [x]
            outputs[name] = module(*inputs, *(path[d] for d in self._deciding[i]))
            for source in self._inputs[i]:
                if self.last_use[source] == i:
                    outputs.pop(source, None)
        return outputs[name]


def check_path(path: Path | None, decisions: Sequence[Decision]) -> None:
    """Raise `ArchitectureError` unless `path` has one entry per decision: an index, or weights that sum to 1.

    path: its weights are looked at on the CPU alone: a GPU would be waited for.
    decisions: what the entries choose between.
    """
    if path is None or len(path) != len(decisions):
        got = "none" if path is None else len(path)
        raise ArchitectureError(f"the supernet needs a path with {len(decisions)} entries, got {got}")
    sums = []
    for entry, decision in zip(path, decisions, strict=True):
        n = len(decision.choices)
        if isinstance(entry, int):
            if not 0 <= entry < n:
                raise ArchitectureError(f"{decision.name} has the choices 0 to {n - 1}, the path asks for {entry}")
            continue
        weights = entry.weights if isinstance(entry, Subset) else entry
        if not isinstance(weights, Tensor) or weights.shape != (len(entry.indices) if weights is not entry else n,):
            raise ArchitectureError(
                f"the path's entry for {decision.name} must be an index or {n} weights, got {brief(entry)}"
            )
        if isinstance(entry, Subset):
            _check_subset(entry, decision)
        if weights.device.type == "cpu":
            sums.append(weights.detach().sum().float())
    off = (torch.stack(sums) - 1).abs().max().item() if sums else 0.0
    if not off <= 1e-3:
        raise ArchitectureError(f"the weights of every decision of a path must sum to 1; one sum is off by {off:.3g}")


def check_decided(by: str, space: object) -> None:
    """Raise `ParameterError` unless the architectures of `space` are lists of decisions, which `by` needs."""
    wanted = "one whose architectures are lists of decisions (spaces.names() has their names)"
    check_has(f"the space of {by}", space, ["choices"], wanted)


def _check_subset(entry: Subset, decision: Decision) -> None:
    n = len(decision.choices)
    if len(set(entry.indices)) != len(entry.indices):
        raise ArchitectureError(f"a subset of {decision.name} must name different choices, got {entry.indices}")
    if not all(0 <= i < n for i in entry.indices):
        raise ArchitectureError(f"{decision.name} has the choices 0 to {n - 1}, the path asks for {entry.indices}")


class SearchSpace:
    """Base of all spaces. A subclass sets `name`, `input_shape` and `layers`; everything else follows.

    `input_shape` is (C, H, W).
    """

    name: str
    input_shape: tuple[int, int, int]
    layers: list[Layer]
    made: tuple | None = None  # the function and its arguments that made this space, for other processes to do the same

    def __reduce__(self):
        return self.made or super().__reduce__()

    @cached_property
    def slots(self) -> list[Slot]:
        """The searchable layers, in order."""
        return [layer for layer in self.layers if isinstance(layer, Slot)]

    @cached_property
    def decisions(self) -> list[Decision]:
        """Every decision, in the order of an architecture's entries: that in which slots first name them."""
        return list({decision.name: decision for slot in self.slots for decision in slot.decisions}.values())

    @cached_property
    def deciding(self) -> dict[str, tuple[int, ...]]:
        """For every slot, by name, the indices of its decisions."""
        index = {decision.name: i for i, decision in enumerate(self.decisions)}
        return {slot.name: tuple(index[decision.name] for decision in slot.decisions) for slot in self.slots}

    @cached_property
    def groups(self) -> list[tuple[int, ...]]:
        """The decision groups, as indices of decisions: the units in which cost is priced."""
        return list(dict.fromkeys(self.deciding.values()))

    @cached_property
    def group_names(self) -> list[str]:
        """A name for every decision group: its decision's where it has one, else the slot's."""
        owners = {group: name for name, group in reversed(self.deciding.items())}
        return [self.decisions[group[0]].name if len(group) == 1 else owners[group] for group in self.groups]

    @cached_property
    def choices(self) -> list[int]:
        """The number of choices of every decision."""
        return [len(decision.choices) for decision in self.decisions]

    @cached_property
    def needs(self) -> list[tuple[int, int, int]]:
        """Of every decision with `needs`: its index, the other's, and the first of that one's choices that will do.

        Raises `ParameterError` where the other one has needs itself.
        """
        index = {decision.name: i for i, decision in enumerate(self.decisions)}
        found = [(i, index[d.needs[0]], d.needs[1]) for i, d in enumerate(self.decisions) if d.needs]
        if any(self.decisions[other].needs for _, other, _ in found):
            raise ParameterError(f"{self.name}: what a decision needs must be always decided itself")
        return found

    def canonical(self, arch: Sequence[int]) -> Arch:
        """The architecture with the first choice wherever there is nothing to decide (`Decision.needs`)."""
        idle = {i for i, other, first in self.needs if arch[other] < first}
        return tuple(0 if i in idle else choice for i, choice in enumerate(arch)) if idle else tuple(arch)

    @cached_property
    def chain(self) -> list[Link]:
        """The decision groups as one programme over running totals takes them: see `spaces.chain`."""
        return chain_of(self.groups, self.choices, self.needs)

    @cached_property
    def size(self) -> int:
        """The exact number of architectures."""
        return ways(self.chain) if self.needs else math.prod(self.choices)

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
        decisions = [[d.name, d.choices, *([d.needs] if d.needs else [])] for d in self.decisions]
        return content_hash([self.name, self.input_shape, parts, decisions])

    @property
    def identity(self) -> list:
        """What a stored state compares: what is searched, and all that its layers are made with and by."""
        own = {n: v for n, v in vars(self).items() if not isinstance(getattr(type(self), n, None), cached_property)}
        return [self.fingerprint, self.made or own, self.layers]

    def sample(self, rng: np.random.Generator) -> Arch:
        """A random architecture: every decision uniformly over its choices."""
        check_kind("rng, which draws,", rng, np.random.Generator, "a numpy.random.Generator")
        return self.canonical(rng.integers(self.choices).tolist())

    def mutate(self, arch: Arch, rng: np.random.Generator, p: float = 0.1) -> Arch:
        """Redraw decisions, uniformly over their choices (SPOS, section 3.4).

        arch: the parent.
        rng: of the draws.
        p: the probability that a decision is redrawn.

        Raises `ArchitectureError`, `ParameterError`.
        """
        check_number("p, a probability,", p, most=1)
        check_kind("rng, which draws,", rng, np.random.Generator, "a numpy.random.Generator")
        arch = self.validate(arch)
        redraw, where = rng.random((2, len(self.choices))).tolist()
        parts = zip(arch, redraw, where, self.choices, strict=True)
        return self.canonical([int(u * n) if again < p else old for old, again, u, n in parts])

    def crossover(self, a: Arch, b: Arch, rng: np.random.Generator, kind: str = "uniform") -> Arch:
        """A child of two parents. Raises `UnknownName`, `ArchitectureError`, `ParameterError`.

        a: one parent.
        b: the other one.
        rng: of the draws.
        kind: "uniform" takes every decision from either parent with equal probability, "single_point" the decisions
            before a random cut from `a` and the others from `b`.
        """
        check_kind("rng, which draws,", rng, np.random.Generator, "a numpy.random.Generator")
        a, b = self.validate(a), self.validate(b)
        if kind != "uniform":
            check_name("crossover", kind, ("uniform", "single_point"))
            cut = int(rng.integers(1, max(len(a), 2)))
            return self.canonical(a[:cut] + b[cut:])
        return self.canonical([x if u < 0.5 else y for x, y, u in zip(a, b, rng.random(len(a)).tolist(), strict=True)])

    def validate(self, arch: Sequence[int]) -> Arch:
        """Return `arch` as a canonical tuple of ints. Raises `ArchitectureError` when it is none of this space's."""
        if not isinstance(arch, Sequence) or isinstance(arch, str) or len(arch) != len(self.choices):
            got = len(arch) if isinstance(arch, Sequence) and not isinstance(arch, str) else brief(arch)
            raise ArchitectureError(f"{self.name} has {len(self.choices)} decisions, the architecture has {got}")
        if type(arch) is tuple and all(type(i) is int and 0 <= i < n for i, n in zip(arch, self.choices, strict=True)):
            return self.canonical(arch) if self.needs else arch  # a search asks for nothing else, over and over
        for decision, index in zip(self.decisions, arch, strict=True):
            if not isinstance(index, int | np.integer) or not 0 <= index < len(decision.choices):
                raise ArchitectureError(
                    f"{decision.name} has the choices 0 to {len(decision.choices) - 1} "
                    f"({', '.join(decision.choices)}), got {brief(index)}"
                )
        return self.canonical([int(i) for i in arch])

    def format(self, arch: Arch) -> str:
        """The architecture as YAML, one slot a line: `back1: {width: 0.5, depth: 3}`. `parse` reads it back."""
        chosen = [d.choices[i] for d, i in zip(self.decisions, self.validate(arch), strict=True)]
        lines, told = [], set()
        for name, group in zip(self.group_names, self.groups, strict=True):
            names = {d: self.decisions[d].name for d in group if d not in told}
            pairs = [
                f"{full[len(name) + 1 :]}: {chosen[d]}" for d, full in names.items() if full.startswith(f"{name}.")
            ]
            lines += [f"{name}: {{{', '.join(pairs)}}}"] if pairs else []
            lines += [f"{full}: {chosen[d]}" for d, full in names.items() if not full.startswith(f"{name}.")]
            told |= names.keys()
        return "\n".join(lines) + "\n"

    def in_line(self, arch: Arch) -> str:
        """The architecture as `format` has it, in one line, which `parse` reads as well."""
        lines = self.format(arch).strip().split("\n")
        return lines[0] if len(lines) == 1 else "{" + ", ".join(lines) + "}"  # YAML's flow style

    def parse(self, text: str) -> Arch:
        """Read what `format` writes, in any order of lines. Raises `ArchitectureError` or `UnknownName`."""
        text = self._text(text)
        try:
            given = reading.parse(text, "words")  # a choice named 0.5 stays "0.5"
        except ValueError as error:
            raise ArchitectureError(f"not a YAML architecture of {self.name}: {error}, in {brief(text)}") from None
        if not isinstance(given, dict):
            raise ArchitectureError(f"an architecture of {self.name} maps slots to choices, got {brief(text)}")
        flat: dict[str, object] = {}
        for key, value in given.items():
            inside = (
                {f"{key}.{axis}": choice for axis, choice in value.items()} if isinstance(value, dict) else {key: value}
            )
            if twice := flat.keys() & inside.keys():
                raise ArchitectureError(f"the architecture decides {brief(min(twice))} twice")
            flat |= inside
        for name in flat:
            check_name(f"decision of {self.name}", name, [d.name for d in self.decisions])
        missing = [d.name for d in self.decisions if d.name not in flat]
        if missing:
            raise ArchitectureError(f"the architecture does not decide {', '.join(missing)}")
        return self.choose([flat[d.name] for d in self.decisions])

    def _text(self, text: object) -> str:
        """`text` if it is any, and no longer than any architecture. Raises `ArchitectureError`."""
        if not isinstance(text, str):
            raise ArchitectureError(f"an architecture of {self.name} is read from text, got {brief(text)}")
        text = str.__str__(text)  # of a subclass, such as NumPy's, the text alone
        if len(text) > reading.LARGEST["words"]:
            most = f"at most {reading.LARGEST['words']:,} characters, got {len(text):,}"
            raise ArchitectureError(f"an architecture of {self.name} is read from {most}")
        return text

    def choose(self, names: Sequence[str]) -> Arch:
        """The architecture with these choices, one name per decision. Raises `ArchitectureError` or `UnknownName`."""
        if not isinstance(names, Sequence) or isinstance(names, str) or len(names) != len(self.decisions):
            raise ArchitectureError(
                f"this {self.name} needs {len(self.decisions)} names of choices, got {brief(names)}"
            )
        named = zip(self.decisions, names, strict=True)
        return self.canonical([d.choices.index(check_name(f"choice of {d.name}", n, d.choices)) for d, n in named])

    def build(self, arch: Sequence[int], seed: int | None = None) -> Network:
        """The stand-alone network of `arch`, freshly initialised: with `seed`, by nothing else than that.

        Raises `ArchitectureError`.
        """
        arch = self.validate(arch)
        with initialised(seed):
            parts = {x.name: x.make(*(arch[d] for d in self.deciding.get(x.name, ()))) for x in self.layers}
        return Network(self.layers, parts, {})

    def supernet(self, seed: int | None = None) -> Network:
        """The network that holds every architecture, `supernet(x, path)`, initialised as by `build`."""
        with initialised(seed):
            parts = {x.name: x.make_elastic() if isinstance(x, Slot) else x.make() for x in self.layers}
        return Network(self.layers, parts, self.deciding, self.decisions)

    def inherit(self, supernet: Network, arch: Sequence[int]) -> Network:
        """`build(arch)` with the supernet's weights and statistics, copied."""
        network = self.build(arch)
        for name, part in supernet.parts.items():
            group = self.deciding.get(name)
            source = part.extract(*(arch[d] for d in group)) if group else part.state_dict()
            network.parts[name].load_state_dict(source)
        return network


def _make_up(module: nn.Module) -> list:
    """What a module is, without its weights: the kinds and settings of its parts, and its tensors' shapes.

    Settings are a constructor's arguments that the part keeps under their names: all else that a library keeps in its
    modules differs from version to version.
    """
    kinds = []
    for part in module.modules():
        kept = {name: vars(part).get(name) for name in _asked(type(part))}
        kinds.append([type(part).__name__, [f"{name}={v}" for name, v in kept.items() if _is_setting(v)]])
    return [kinds, [[name, tuple(value.shape)] for name, value in module.state_dict().items()]]


@cache
def _asked(kind: type) -> tuple[str, ...]:
    return tuple(name for name in inspect.signature(kind.__init__).parameters if name not in OF_SUPERNETS)


def _is_setting(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_setting, value))
    return isinstance(value, bool | int | float | str)
