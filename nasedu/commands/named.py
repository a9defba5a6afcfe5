"""Spaces and networks by the names that a person gives them on the command line."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
from pathlib import Path

import torchvision
from torch import nn

from nasedu import spaces
from nasedu.course.parameters import pairs, parse
from nasedu.errors import ParameterError, brief, check_name, check_whole, sentence
from nasedu.randomness import rng

MOST_WORKERS = 1024
# options of `data.classification` that a command may set, and their types
DRAWN = {"size": "int", "seed": "int", "distortion": "float", "noise": "float", "normalise": "str"}
EXAMPLES = "yolo:course, a structure string, torchvision:resnet18 or my_module:make_network"


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


def drawn(images: list[str], kinds: dict[str, str]) -> dict[str, object]:
    """The options that `--images NAME=VALUE` gives, by name. Raises `NaseduError`.

    images: the texts.
    kinds: the types by name, such as `DRAWN`.
    """
    texts = dict(pairs(images, "--images"))
    return {
        check_name("option of the images", name, kinds): parse(name, text, kinds[name]) for name, text in texts.items()
    }


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
    """A network and the shape (C, H, W) of its input. Raises `NaseduError`.

    name: a search space, a structure string, `torchvision:NAME`, or `MODULE:ATTRIBUTE`: a network, or what makes
        one when it is called without arguments. The module is looked for in this folder, too.
    arch: of a space: the text of an architecture, a file of one, "random", or None for the hand-designed one.
    settings: `NAME=VALUE` options of the space.
    image_size: pixels of a side; None: the space's, else 224.
    """
    settings = settings or []
    if image_size is not None:
        check_whole("--image-size", image_size, 1, spaces.base.MOST_PIXELS)
    if re.match(r"\s*\w+\(", name):
        space, arch = _plain_space(name, settings, image_size), name
    elif name.partition(":")[0] in spaces.names(every=True):
        space = named_space(name, settings, {"image_size": image_size} if image_size else {})
    elif arch or settings:
        raise ParameterError(f"--arch and -p are for search spaces, and {brief(name)} is none")
    else:
        return _module(name), (3, image_size or 224, image_size or 224)
    return space.build(space.parse(_arch(space, arch))), space.input_shape


def _plain_space(text: str, settings: list[str], image_size: int | None):
    """The space of a structure string: the first set of blocks that can read it."""
    sized = {"input_size": image_size or 224}
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


def _module(name: str) -> nn.Module:
    """A network of torchvision, or of somebody's own module."""
    home, _, attribute = name.partition(":")
    if not attribute:
        raise ParameterError(f"{brief(name)} names no network: write {EXAMPLES}")
    if home == "torchvision":
        known = torchvision.models.list_models()
        make = torchvision.models.get_model_builder(check_name("torchvision network", attribute, known))
        asked = inspect.signature(make).parameters.keys() & {"weights", "weights_backbone"}
        return make(**dict.fromkeys(asked))  # none, so nothing is downloaded
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
