"""Weight files of Zen-NAS's authors, read into networks of this space.

Their public code (idstcv/ZenNAS, PlainNet/ and ZenNet/masternet.py) names a layer by its place: every container keeps
its parts, activations counted, in `module_list`, every layer is a `netblock`, a projection is `proj`, the classifier
`fc_linear`. So the first 1x1 of the first unit of block 2 is `module_list.1.module_list.0.module_list.0.netblock`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torch import nn

from nasedu.blocks.common import ConvBNAct
from nasedu.blocks.plain import ResidualUnit, SqueezeExcite
from nasedu.errors import CheckpointError
from nasedu.spaces.base import Network
from nasedu.storage import fill, read_weights

STUDENT = "student_model."  # before the names of a network that a teacher taught

SQUEEZE = {"1": "0.conv", "2": "0.bn", "4": "1.conv", "5": "1.bn"}  # after their pooling; 3 is an activation


def authors_names(network: Network) -> dict[str, str]:
    """{the authors' name of a layer: its name here}, of a network that `PlainNetSpace.build` made."""
    *blocks, classifier = network.parts
    names = {"fc_linear.netblock": f"parts.{classifier}.linear"}
    for place, name in enumerate(blocks):
        names |= dict(_paired(network.parts[name], f"module_list.{place}.", f"parts.{name}."))
    return names


def _paired(block: nn.Module, theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    """The names of the layers in a chain, with what stands before them."""
    place = 0  # among their parts
    for name, part in block.named_children():
        at = f"{theirs}module_list.{place}."
        if isinstance(part, ResidualUnit):
            yield from _paired(part.body, at, f"{ours}{name}.body.")
            if not isinstance(part.shortcut, nn.Identity):
                yield from (
                    (f"{at}proj.0", f"{ours}{name}.shortcut.conv"),
                    (f"{at}proj.1", f"{ours}{name}.shortcut.bn"),
                )
            place += 2  # the sum, and ReLU behind it
        elif isinstance(part, SqueezeExcite):
            yield from ((f"{at}netblock.{n}", f"{ours}{name}.weigh.{inner}") for n, inner in SQUEEZE.items())
            place += 1
        elif isinstance(part, ConvBNAct):
            yield f"{at}netblock", f"{ours}{name}.conv"
            yield f"{theirs}module_list.{place + 1}.netblock", f"{ours}{name}.bn"
            place += 2 + (not isinstance(part.act, nn.Identity))


def load_weights(network: Network, path: str | Path) -> None:
    """Put weights of a file into a network of this space, in place: the authors' files, and nasedu's own.

    Only tensors are read, no code. Raises `CheckpointError` for a file of another network.

    network: what `PlainNetSpace.build` made.
    path: the file, as in `storage.read_weights`.
    """
    tensors = read_weights(path)
    # a student beside its teacher and what compared their maps
    if student := {name.removeprefix(STUDENT): t for name, t in tensors.items() if name.startswith(STUDENT)}:
        tensors = student
    if any(name.startswith("module_list.") for name in tensors):
        layers = authors_names(network)
        told = {name: name.rpartition(".") for name in tensors}
        if unknown := sorted(name for name, (layer, _, _) in told.items() if layer not in layers):
            raise CheckpointError(f"{path} is of another network: this one has no layer {unknown[0]!r}")
        tensors = {f"{layers[layer]}.{kind}": tensors[name] for name, (layer, _, kind) in told.items()}
    fill(network, tensors, path)
