"""Spaces and networks by the names that a person gives them on the command line."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from nasedu import spaces
from nasedu.course.parameters import pairs, parse
from nasedu.deploy.classifier import torchvision_network
from nasedu.errors import ParameterError, brief, check_whole, sentence
from nasedu.randomness import rng
from nasedu.registry import check_options

MOST_WORKERS = 1024
# what `--images` may set, of `data.classification` and of `data.detection`
CLASSIFIED = ("size", "seed", "distortion", "noise", "normalise", "scaling", "stream")
DETECTED = ("size", "seed", "difficulty", "classes", "cache_bytes")
EXAMPLES = "yolo:course, a structure string, ZenNet-1.0M, torchvision:resnet18 or my_module:make_network"


def named_space(name: str, settings: list[str], more: dict | None = None):
    """A space by its name. Raises `NaseduError`.

    name: of the space.
    settings: `NAME=VALUE` texts of its options.
    more: further options, with their values.
    """
    options, more = {option: parse(option, text, "") for option, text in pairs(settings)}, more or {}
    if twice := options.keys() & more.keys():
        raise ParameterError(f"{min(twice)} is given twice, by -p and by an option of its own")
    return spaces.create(name, **options, **more)


class Named(NamedTuple):
    """A network, the shape (C, H, W) of its input, and how it is `made`, as `deploy.classifier` asks for it.

    `space` and `arch` of a network of a space, else None.
    """

    network: nn.Module
    input_shape: tuple[int, int, int]
    made: dict[str, object]
    space: Any = None
    arch: Any = None


def drawn(images: list[str], known: Sequence[str]) -> dict[str, Any]:
    """The options that `--images NAME=VALUE` gives, by name. Raises `UnknownName`, `ParameterError`.

    images: the texts.
    known: names, such as `CLASSIFIED`.
    """
    options = {name: parse(name, text, "") for name, text in pairs(images, "--images")}
    check_options("--images", options, known)
    return options


def check_classes(space: spaces.SearchSpace, name: str, classes: list[str]) -> None:
    """Raise `ParameterError` unless a space is made for as many classes as a data set has.

    space: of networks.
    name: of the data set.
    classes: of it.
    """
    settings = space if hasattr(space, "num_classes") else getattr(space, "options", None)
    if (wanted := getattr(settings, "num_classes", len(classes))) != len(classes):
        raise ParameterError(f"the space has {wanted} classes, the images of {name} {len(classes)}: see -p num_classes")


def named_network(
    name: str, arch: str | None = None, settings: list[str] | None = None, image_size: int | None = None
) -> tuple[nn.Module, tuple[int, int, int]]:
    """A network and the shape (C, H, W) of its input; see `named`.

    name: as in `named`.
    arch: likewise.
    settings: likewise.
    image_size: likewise.
    """
    found = named(name, arch, settings, image_size)
    return found.network, found.input_shape


def named(
    name: str,
    arch: str | None = None,
    settings: list[str] | None = None,
    image_size: int | None = None,
    num_classes: int | None = None,
) -> Named:
    """A network by the name that a person gives it. Raises `NaseduError`.

    name: a search space, a structure string, a published network such as ZenNet-1.0M, `torchvision:NAME`, or
        `MODULE:ATTRIBUTE`: a network, or what makes one when it is called without arguments. The module is looked for
        in this folder, too.
    arch: of a space: the text of an architecture, a file of one, "random", or None for the hand-designed one.
    settings: `NAME=VALUE` options of the space.
    image_size: pixels of a side; None: the space's, else 224.
    num_classes: of the data that it is made for; None: the space's, or what it was made with.
    """
    settings = settings or []
    if image_size is not None:
        check_whole("--image-size", image_size, 1, spaces.base.MOST_PIXELS)
    options = {option: parse(option, text, "") for option, text in pairs(settings)}
    more = {} if num_classes is None or "num_classes" in options else {"num_classes": num_classes}
    home = name.partition(":")[0]
    shown = {k: entries[name] for k in spaces.names(every=True) if name in (entries := spaces.published(k))}
    if re.match(r"\s*\w+\(", name):
        space, text = _plain_space(name, settings, image_size, more), name
    elif shown:
        kind, entry = next(iter(shown.items()))
        sized = {"input_size": image_size} if image_size else {}
        space = spaces.create(kind, **dict(entry.options) | sized | more | options)
        text = space.format(spaces.arch_of(space, entry.choices))
    elif home in spaces.names(every=True):
        side = "image_size" if home == "yolo" else "input_size"
        space = named_space(name, settings, ({side: image_size} if image_size else {}) | more)
        text = _arch(space, arch)
    elif arch or settings:
        raise ParameterError(f"--arch and -p are for search spaces, and {brief(name)} is none")
    else:
        return Named(_module(name, num_classes), (3, image_size or 224, image_size or 224), {"network": name})
    found = space.parse(text)
    make, _ = space.made
    made = {"space": make.args[0], "options": make.keywords, "architecture": space.format(found)}
    return Named(space.build(found), space.input_shape, made, space, found)


def _plain_space(text: str, settings: list[str], image_size: int | None, more: dict):
    """The space of a structure string: the first set of blocks that can read it."""
    sized = {"input_size": image_size or 224} | more
    made = [named_space("plainnet", settings, sized | {"blocks": blocks}) for blocks in spaces.plainnet.SETS]
    kinds = set(re.findall(r"(\w+)\(", text))
    return next((space for space in made if kinds <= space.kinds.keys()), made[0])


def _arch(space: spaces.SearchSpace, given: str | None) -> str:
    if given == "random":
        return space.format(space.sample(rng(0, "command line")))
    if given is None:
        if not hasattr(space, "hand_designed"):
            raise ParameterError(f"which network of {space.name}? Give --arch: its text, a file of it, or random")
        return space.format(space.hand_designed)
    return Path(given).read_text(encoding="utf-8-sig") if len(given) < 500 and os.path.isfile(given) else given


def _module(name: str, num_classes: int | None) -> nn.Module:
    """A network of torchvision, or of somebody's own module, which knows its classes itself."""
    home, _, attribute = name.partition(":")
    if not attribute:
        raise ParameterError(f"{brief(name)} names no network: write {EXAMPLES}")
    if home == "torchvision":
        return torchvision_network(attribute, num_classes)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = importlib.import_module(home)
        for part in attribute.split("."):
            found = getattr(found, part)
        made = found if isinstance(found, nn.Module) else found()  # type: ignore[operator]
    except Exception as error:  # of a file of somebody's own, anything
        told = sentence(f"{type(error).__name__}: {error}")
        raise ParameterError(f"no network can be made of {brief(name)}: {told}") from error
    if not isinstance(made, nn.Module):
        raise ParameterError(f"{brief(name)} gives {brief(made)}, no torch.nn.Module")
    return made
