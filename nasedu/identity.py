"""What a stored state belongs to, as a hash of everything that its numbers depend on.

Values count by content. A function of one's own counts by its compiled code, its defaults, what it closes over and the
globals that it reads; its name, its comments and the lines it stands on do not. What stands in a library counts by its
name and the library's version, since another version may compute something else under the same name; of this package,
by a hash of its sources. An object counts by its class and by what pickle would store of it, or, where it has an
attribute `identity`, by that. Whatever pickle cannot store (an open file, a lock, a generator in progress) is refused.

Two things go unseen: what code reads from outside while it runs (a file, a variable of the environment), and a
library's own function that was replaced by another.
"""

from __future__ import annotations

import copyreg
import dis
import hashlib
import importlib
import inspect
import sys
import sysconfig
import types
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import _lru_cache_wrapper, cache, cached_property, lru_cache, singledispatch
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nasedu.errors import ParameterError

ATOMS = (type(None), bool, int, float, complex, str, bytes)
# how a function is called: with *args or **kwargs, as a generator, as a coroutine
CALLED = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS | inspect.CO_GENERATOR | inspect.CO_COROUTINE
CALLED |= inspect.CO_ITERABLE_COROUTINE | inspect.CO_ASYNC_GENERATOR
BY_TEXT = {"getattr", "globals", "vars", "eval", "exec", "__import__"}  # they reach names that code does not mention
STDLIB = sysconfig.get_path("stdlib")
NO_RESULTS = {"plots", "widgets", "course", "commands", "__main__.py"}  # parts of the package that only show


def identity(*parts: object) -> str:
    """32 hex digits that tell these values from others, in this process and in the next.

    What a function fills while it runs, such as a list of the losses so far, is part of what it closes over, so its
    identity changes: keep a cache in `functools.cache`, or in an object that has an attribute `identity`. Raises
    `ParameterError` for what nobody can tell from others, and where it is.
    """
    of_all = [v for name, v in sorted(vars(nn.modules.module).items()) if name.startswith("_global_")]
    hooks = [list(filter(callable, held.values())) for held in of_all if isinstance(held, dict)]  # of every module
    return _Reader().read((parts, hooks)).hex()[:32]


@dataclass(frozen=True)
class _At:
    """A value, and where it was found."""

    where: str
    value: object


@dataclass(frozen=True)
class _Unordered:
    """Values whose order says nothing."""

    values: tuple


class _Reader:
    """Hashes a value by what `_describe` says of it, each object once; `where` is the place that is being read."""

    def __init__(self):
        self.read_before: dict[int, tuple[object, bytes]] = {}  # with the object, so that no other gets its id
        self.within: set[int] = set()
        self.where = "what a state belongs to"

    def read(self, value: object) -> bytes:
        """The hash of a value."""
        if isinstance(value, np.generic) and type(value.item()) in ATOMS:
            value = value.item()
        if type(value) in ATOMS:
            return _atom(type(value), repr(value))
        if isinstance(value, memoryview):
            return _hash(value if value.c_contiguous else value.tobytes())
        if id(value) in self.read_before:
            return self.read_before[id(value)][1]
        if id(value) in self.within:
            return _hash(b"a value that holds itself")
        self.within.add(id(value))
        found = self._parts(value)
        self.within.discard(id(value))
        self.read_before[id(value)] = value, found
        return found

    def _parts(self, value: object) -> bytes:
        if isinstance(value, _Unordered):
            return _hash(b"unordered", *sorted(map(self.read, value.values)))
        if isinstance(value, _At):
            outer, self.where = self.where, value.where
            found = self.read(value.value)
            self.where = outer
            return found
        try:
            kind, *parts = _describe(value)
        except Exception as error:  # whatever pickling raises
            raise ParameterError(
                f"{self.where} holds a {type(value).__name__}, and nobody can tell whether that has changed since a "
                "state was stored: do without it, or give what holds it an attribute `identity`"
            ) from error
        return _hash(kind.encode(), *map(self.read, parts))


def _hash(*parts: bytes | memoryview) -> bytes:
    digest = hashlib.sha256(repr([len(part) for part in parts]).encode())
    for part in parts:
        digest.update(part)
    return digest.digest()


@lru_cache(10_000)  # a supernet's thousand modules name the same few attributes
def _atom(kind: type, text: str) -> bytes:
    return _hash(kind.__name__.encode(), text.encode())


@singledispatch
def _describe(value: object) -> tuple:
    """A kind and the parts that tell a value from others of it; of an object, those that pickle would store."""
    module = type(value).__module__
    own = module.startswith("nasedu.") or not _version(module)  # NumPy's functions have an `identity` of another sense
    # a method of that name is no description of the object
    if own and not callable(told := getattr(value, "identity", callable)):
        return "object", type(value), told
    if module.split(".")[0] == "pandas" and hasattr(value, "to_numpy"):
        columns = [column.to_numpy() for _, column in value.items()] if value.ndim == 2 else [value.to_numpy()]
        return "frame", type(value), list(getattr(value, "index", ())), list(getattr(value, "columns", ())), columns
    registered = copyreg.dispatch_table.get(type(value))  # where pickle looks first
    reduced = registered(value) if registered else value.__reduce_ex__(4)
    if isinstance(reduced, str):
        if not reduced.replace(".", "_").isidentifier():
            raise TypeError(f"{reduced} is no name")  # of a function of one's own that NumPy vectorised
        return "name", type(value), reduced
    make, args, state, items, pairs = (*reduced, None, None, None)[:5]
    if isinstance(state, dict):
        kept = [name for name in state if not isinstance(getattr(type(value), str(name), None), cached_property)]
        owner = type(value).__qualname__
        state = _Unordered(tuple((name, _At(f"`{name}` of a {owner}", state[name])) for name in kept))
    return "object", type(value), make, args, state, list(items or ()), _Unordered(tuple(pairs or ()))


@_describe.register
def _(value: list | tuple | types.GenericAlias) -> tuple:
    if type(value) not in (list, tuple, torch.Size):
        return _describe.dispatch(object)(value)
    return "row", *value


@_describe.register
def _(value: set | frozenset) -> tuple:
    return "set", _Unordered(tuple(value))


@_describe.register
def _(value: dict | types.MappingProxyType) -> tuple:
    if type(value) not in (dict, OrderedDict, defaultdict, types.MappingProxyType):
        return _describe.dispatch(object)(value)
    pairs = tuple((name, _At(f"{name!r:.60}", held)) for name, held in value.items())
    return "map", pairs if isinstance(value, OrderedDict) else _Unordered(pairs)  # as equality has it


@_describe.register
def _(value: Tensor) -> tuple:
    values = value.detach().as_subclass(Tensor)
    about = f"{value.dtype} {value.layout} {tuple(value.shape)} {value.requires_grad}"
    more = () if type(value) in (Tensor, nn.Parameter) else (type(value),)
    if vars(value) or value._backward_hooks or value._post_accumulate_grad_hooks:
        hooks = (list((held or {}).values()) for held in (value._backward_hooks, value._post_accumulate_grad_hooks))
        more += vars(value), *hooks
    if value.is_meta:
        return "tensor", about, *more
    values = values.to_dense() if values.layout != torch.strided else values
    values = values.cpu().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)
    return "tensor", about, memoryview(values.numpy()), *more


@_describe.register
def _(value: np.ndarray) -> tuple:
    if value.dtype.hasobject:
        return "array", str(value.dtype), value.shape, value.tolist()
    return "array", str(value.dtype), value.shape, memoryview(np.ascontiguousarray(value).reshape(-1).view(np.uint8))


@_describe.register
def _(value: torch.Generator) -> tuple:
    return "generator", value.device.type, value.get_state()


@_describe.register
def _(value: torch.device) -> tuple:
    return "device", value.type  # which one of several alike computes says nothing


@_describe.register
def _(value: nn.Module) -> tuple:
    """Structure, values and hooks, but for the keys of hooks: PyTorch counts them over all modules of a process."""
    held = {name: v for name, v in vars(value).items() if not (isinstance(v, dict | set) and not v)}
    for name, v in held.items():
        if isinstance(v, dict):  # parts, in the order in which they run
            held[name] = list(v.values()) if "hooks" in name else OrderedDict(v)
    return "module", type(value), _Unordered(tuple(held.items()))


@_describe.register
def _(value: types.ModuleType) -> tuple:
    if version := _version(value.__name__):
        return "python module", value.__name__, version
    held = [(name, v) for name, v in vars(value).items() if name[:2] + name[-2:] != "____"]
    told = tuple((name, _At(f"`{name}` of {value.__name__}", v)) for name, v in held)
    return "python module", value.__name__, _Unordered(told)


@_describe.register
def _(value: types.CodeType) -> tuple:
    arguments = value.co_argcount + value.co_kwonlyargcount
    kind = value.co_flags & CALLED
    about = kind, value.co_posonlyargcount, value.co_varnames[:arguments], value.co_names
    return "code", value.co_code, value.co_exceptiontable, value.co_consts, *about


@_describe.register
def _(value: types.FunctionType) -> tuple:
    if _stands_in_library(value):
        return "name", value.__module__, value.__qualname__, _version(value.__module__)
    module, code = value.__globals__.get("__name__", ""), value.__code__
    owner = value.__qualname__.replace("<locals>.", "")
    named = _version(module)
    body = (module, code.co_qualname, named) if named else code
    if not callable(told := vars(value).get("identity", callable)):
        return "function", body, told
    cells = zip(code.co_freevars, value.__closure__ or (), strict=True)
    closed = [_At(f"`{name}` of {owner}", cell.cell_contents) for name, cell in cells if not _empty(cell)]
    globals_ = () if named else [(n, _At(f"`{n}` of {owner}", g)) for n, g in _globals(value)]
    return "function", body, value.__defaults__, value.__kwdefaults__, closed, globals_, vars(value)


@_describe.register
def _(value: types.MethodType) -> tuple:
    return "method", value.__func__, value.__self__


@_describe.register
def _(value: types.BuiltinFunctionType) -> tuple:
    of = value.__self__
    return "method", value.__name__, _version("torch") if of is None else of  # PyTorch's own are nobody's


@_describe.register
def _(value: property | cached_property | staticmethod | classmethod | _lru_cache_wrapper) -> tuple:
    held = ("fget", "fset", "fdel", "func", "__func__", "__wrapped__")
    return type(value).__name__, *(getattr(value, name, None) for name in held)


@_describe.register
def _(value: type) -> tuple:
    if (version := _version(value.__module__)) and "<locals>" not in value.__qualname__:
        return "name", value.__module__, value.__qualname__, version
    slots = types.GetSetDescriptorType | types.MemberDescriptorType
    held = {n: v for n, v in vars(value).items() if not isinstance(v, slots) and n != "_abc_impl"}
    own = {n: v for n, v in held.items() if n[:2] + n[-2:] != "____" or callable(v) or hasattr(v, "__get__")}
    body = _Unordered(tuple((n, _At(f"`{n}` of {value.__qualname__}", v)) for n, v in own.items()))
    metaclass = type(value) if isinstance(type(value).__module__, str) else None  # Cython's has none
    return "class", metaclass, value.__bases__, body


def _globals(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    """The globals that a function reads and the modules that it imports, by name."""
    loaded, mentioned, imported = _names(function.__code__)
    held = {name: function.__globals__[name] for name in sorted(loaded & set(function.__globals__))}
    for name in sorted(imported):
        with suppress(ImportError):  # then the function fails, too
            held[name] = importlib.import_module(name, function.__globals__.get("__package__"))
    for name, value in held.items():
        yield from _used(name, value, set() if loaded & BY_TEXT else mentioned)


def _used(name: str, value: object, mentioned: set[str]) -> Iterator[tuple[str, object]]:
    """A global as it is; of a module of one's own those of its names that are mentioned, and all where none is."""
    own = isinstance(value, types.ModuleType) and not _version(value.__name__)
    found = sorted(mentioned & set(vars(value))) if own else []
    yield name, value.__name__ if found else value
    for inner in found:
        yield from _used(inner, vars(value)[inner], mentioned - {inner})


def _names(code: types.CodeType) -> tuple[set[str], set[str], set[str]]:
    """The globals that code and the functions within it load, all names that they mention, and modules they import."""
    loaded, mentioned, imported, before = set(), set(code.co_names), set(), [0, None]
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            loaded.add(step.argval)
        if step.opname == "IMPORT_NAME":
            imported.add("." * (before[-2] or 0) + step.argval)  # how many folders up, and what is asked of the module
        before = [before[-1], step.argval]
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            for names, more in zip((loaded, mentioned, imported), _names(inner), strict=True):
                names |= more
    return loaded, mentioned, imported


def _empty(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is cell
    except ValueError:  # a variable that has no value yet
        return True


def _stands_in_library(function: types.FunctionType) -> bool:
    """Whether a library holds this very function under its name, so that the name says it all."""
    place = sys.modules.get(function.__module__) if function.__module__ and _version(function.__module__) else None
    for part in function.__qualname__.split("."):
        place = getattr(place, part, None)
    return place is function


@cache
def _version(module: str) -> str:
    """The version of the library that a module is part of; "" for a module of one's own."""
    top = module.partition(".")[0]
    if top == "nasedu":
        return _sources()
    found = sys.modules.get(top)
    places = [getattr(found, "__file__", None) or "", *getattr(found, "__path__", ())]
    if top in sys.stdlib_module_names and (not places[0] or Path(places[0]).is_relative_to(STDLIB)):
        return f"Python {sys.version_info.major}.{sys.version_info.minor}"
    if not any({"site-packages", "dist-packages"} & set(Path(place).parts) for place in places):
        return ""
    try:
        return str(getattr(found, "__version__", "")) or metadata.version(top)
    except metadata.PackageNotFoundError:
        return "of unknown version"


@cache
def _sources() -> str:
    """A hash of this package's sources, but for what only shows."""
    root = Path(__file__).parent
    files = [file for file in sorted(root.rglob("*.py")) if file.relative_to(root).parts[0] not in NO_RESULTS]
    return _hash(*(file.read_bytes() for file in files)).hex()[:16]
