"""What can be built: one file per search space, made by name."""

from __future__ import annotations

from nasedu.errors import check_name
from nasedu.spaces.base import Arch, Decision, Layer, Network, Path, SearchSpace, Slot
from nasedu.spaces.yolo import YoloSpace

_SPACES = {"yolo": YoloSpace}

__all__ = ["Arch", "Decision", "Layer", "Network", "Path", "SearchSpace", "Slot", "YoloSpace", "create", "names"]


def names() -> list[str]:
    """The names that `create` accepts."""
    return list(_SPACES)


def create(name: str, **options) -> SearchSpace:
    """A search space by name, e.g. `create("yolo", template="p5")`. Raises `UnknownName`."""
    return _SPACES[check_name("search space", name, _SPACES)](**options)
