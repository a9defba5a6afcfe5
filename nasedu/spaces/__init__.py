"""What can be built: one file per search space, made by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from types import MappingProxyType

from nasedu.errors import check_name
from nasedu.registry import Registry, check_options, options_of
from nasedu.spaces import fairnas, fbnet, nasbench201, plainnet, proxylessnas, resnet48, single_path, spos, yolo
from nasedu.spaces.base import Arch, Layer, Network, Path, SearchSpace, Slot
from nasedu.spaces.macro import Options, Published, arch_of
from nasedu.spaces.plainnet import Block, PlainNetSpace, plain_block
from nasedu.spaces.yolo import YoloSpace

_SPACES = {
    "proxylessnas": proxylessnas.ProxylessNASSpace,
    "fbnet": fbnet.FBNetSpace,
    "spos": spos.SPOSSpace,
    "single_path": single_path.SinglePathSpace,
    "nasbench201": nasbench201.NasBench201Space,
    "fairnas": fairnas.FairNASSpace,
    "resnet48": resnet48.ResNet48Space,
    "yolo": YoloSpace,
}
_OTHERS = {"plainnet": PlainNetSpace}  # an architecture is no list of decisions: no supernet, no tables
_EVERY = Registry("search space", _SPACES | _OTHERS)
_WITH_PUBLISHED = (proxylessnas, fbnet, spos, single_path, nasbench201, fairnas, resnet48, plainnet)
_PUBLISHED: dict[str, Mapping[str, Published]] = {
    module.__name__.rpartition(".")[2]: module.PUBLISHED for module in _WITH_PUBLISHED
}

# The options that make a classification space small enough to train on a laptop, for images of 32 px.
COURSE: Mapping[str, object] = MappingProxyType(
    {"num_classes": 10, "input_size": 32, "width": 0.25, "depth": 0.5, "stem_stride": 2}
)

__all__ = [
    "COURSE",
    "Arch",
    "Block",
    "Layer",
    "Network",
    "Path",
    "PlainNetSpace",
    "SearchSpace",
    "Slot",
    "arch_of",
    "create",
    "names",
    "plain_block",
    "published",
]


def names(every: bool = False) -> list[str]:
    """The spaces whose architectures are lists of decisions; with `every`, all that `create` accepts."""
    return list(_EVERY if every else _SPACES)


def create(name: str, /, **options) -> SearchSpace | PlainNetSpace:
    """A search space by name, e.g. `create("fbnet")`, with a variant, `create("fbnet:course")`, or with options.

    A variant is a detector's template (`yolo:p5`) or, for classification spaces, `course`, which stands for the options
    `COURSE`; further options override it. Raises `UnknownName`, also for an option's name.
    """
    name, _, variant = name.partition(":") if isinstance(name, str) else (name, "", "")
    kind = _EVERY[check_name("search space", name, _EVERY)]
    options = _variant(name, variant) | options
    check_options(name, options, _options(kind))
    space = kind(**options)
    space.made = (partial(create, name, **options), ())
    return space


def _variant(name: str, variant: str) -> dict[str, object]:
    """The options that the part of a space's name after the colon stands for."""
    if not variant:
        return {}
    if name == "yolo":
        return {"template": check_name("template", variant, yolo.TEMPLATES)}
    check_name(f"variant of {name}", variant, ["course"] if name in _SPACES else [])
    return dict(COURSE) | getattr(_EVERY[name], "course", {})


def published(name: str, network: str | None = None) -> tuple[SearchSpace, Arch] | dict[str, Published]:
    """A published network of a space, as the space that holds it and its architecture; without `network`, all by name.

    `space.build(arch)` is the network: `published("fbnet", "FBNet-A")`. Raises `UnknownName`.
    """
    known = _PUBLISHED.get(check_name("search space", name, _EVERY), {})
    if network is None:
        return dict(known)
    entry = known[check_name(f"published network of {name}", network, known)]
    space = create(name, **entry.options)
    return space, arch_of(space, entry.choices)


def _options(kind: type) -> list[str]:
    """The names of the options that a space's constructor takes; `**options` stands for those of `Options`."""
    taken = options_of(kind)
    open_ended = len(taken) < len(inspect.signature(kind).parameters)
    return taken + ([f.name for f in fields(Options)] if open_ended else [])
