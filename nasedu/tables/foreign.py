"""Lookup tables in other projects' formats: a mapping from a block's description to what was measured."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from nasedu.blocks import Classifier, ConvBNAct, MBConv
from nasedu.errors import TableError
from nasedu.spaces.base import SearchSpace, check_decided
from nasedu.tables.file import number, parse
from nasedu.tables.metrics import METRICS
from nasedu.tables.pieces import Piece, pieces
from nasedu.tables.pricing import add_up
from nasedu.tables.table import LookupTable

_WZDNAS = re.compile(r"stage:(\d{1,6})-gamma:(\d{1,6}(?:\.\d{1,12})?)-depth:(\d{1,6})")
_OFA = re.compile(
    r"[A-Za-z]\w*-input:\d+(?:x\d+)*-output:\d+(?:x\d+)*(?:-expand:\d+-kernel:\d+-stride:\d+-idskip:[01])?"
)
_OFA_FORM = "TYPE-input:HxWxC-output:HxWxC[-expand:E-kernel:K-stride:S-idskip:I]"


def read_wzdnas(path: str | Path, space: SearchSpace) -> LookupTable:
    """WZDNAS's YAML: `stage:S-gamma:G-depth:N` to a mapping whose `mean` is milliseconds; stage 1 is the first slot.

    The format covers the searchable blocks alone, so the fixed part is 0, and records neither device settings nor
    template. Raises `TableError` unless stages, width ratios and depths are exactly those of `space`.
    """
    check_decided("read_wzdnas", space)
    if any([d.name.split(".")[-1] for d in slot.decisions] != ["width", "depth"] for slot in space.slots):
        raise TableError(f"{path}: WZDNAS's tables are of yolo spaces, not of {space.name}")
    found = {}
    for key, value in read_mapping(path).items():
        triple = _wzdnas_key(key, path)
        if triple in found:  # gamma 0.5 and gamma 0.50
            raise TableError(f"{path} holds the key {key!r} twice")
        found[triple] = _mean(key, value, path)
    entries, expected = [], set()
    for stage, slot in enumerate(space.slots, 1):
        widths, depths = (decision.choices for decision in slot.decisions)
        keys = [[(stage, float(w), int(n)) for n in depths] for w in widths]
        expected |= {key for row in keys for key in row}
        entries.append([[found.get(key, math.nan) for key in row] for row in keys])
    _check_stages(set(found), expected, path, space)
    tensors = [torch.tensor(entry, dtype=torch.float64) for entry in entries]
    provenance = {"how": f"read from {Path(path).name} (WZDNAS's format; only searchable blocks)"}
    return LookupTable(space, "latency_ms", METRICS["latency_ms"].unit, 0.0, tensors, provenance)


def read_ofa(path: str | Path, space: SearchSpace) -> LookupTable:
    """The mobile tables of ProxylessNAS and Once-for-All, YAML or JSON: one key per block to a mapping with `mean`, ms.

    Keys are `expanded_conv-input:HxWxC-output:HxWxC-expand:E-kernel:K-stride:S-idskip:I` for inverted residuals, and
    `Conv` (the stem), `Conv_1` (the last 1x1 convolution) and `Logits` (all after it) with input and output; a skipped
    block costs nothing. Keys of other networks may stand in the file. Raises `TableError` when a key is malformed, when
    one that `space` needs is missing, and for a space whose blocks are others (proxylessnas, single_path and fairnas
    are made of these).
    """
    stored = read_mapping(path)
    for key in stored:
        if not _OFA.fullmatch(str(key)):
            raise TableError(f"{path}: the key {key!r:.80} does not read {_OFA_FORM}")
    found = list(pieces(space))
    keys = [ofa_key(piece, space) for piece in found]
    missing = list(dict.fromkeys(key for key in keys if key and key not in stored))
    if missing:
        wanted = len(set(filter(None, keys)))
        raise TableError(
            f"{path} lacks {len(missing)} of the {wanted} blocks of {space.name} at {space.input_shape[-1]} px, "
            f"such as {missing[0]}"
        )
    costs = [_mean(key, stored[key], path) if key else 0.0 for key in keys]
    provenance = {"how": f"read from {Path(path).name} (ProxylessNAS's and Once-for-All's format)"}
    return LookupTable(space, "latency_ms", METRICS["latency_ms"].unit, *add_up(space, found, costs), provenance)


def ofa_key(piece: Piece, space: SearchSpace) -> str | None:
    """The key of a piece in such a table; None for an identity, which runs nothing.

    Raises `TableError` for a block that the format does not know.
    """
    module = piece.make("meta")
    kind = _OFA_KINDS.get(type(module))
    if kind is None or not isinstance(getattr(module, "squeeze", None), nn.Identity | None):
        what = "squeeze-and-excitation" if kind else f"a {type(module).__name__}"
        raise TableError(
            f"{space.name} has {what} ({piece.name}), for which ProxylessNAS's table format has no key; "
            "it covers inverted residuals, as in proxylessnas, single_path and fairnas"
        )
    (c, h, w) = piece.input_shapes[0]
    return kind(module, c, h, w)


def _ofa_block(block: MBConv, c: int, h: int, w: int) -> str:
    conv = block.depthwise.conv
    (kernel, _), (stride, _) = conv.kernel_size, conv.stride
    shapes = _shapes((h, w, c), (_out(h, stride), _out(w, stride), block.project.conv.out_channels))
    skips = int(block.shortcut)
    expansion = conv.in_channels // c
    return f"expanded_conv-{shapes}-expand:{expansion}-kernel:{kernel}-stride:{stride}-idskip:{skips}"


def _ofa_conv(block: ConvBNAct, c: int, h: int, w: int) -> str:
    stride = block.conv.stride[0]
    name = "Conv_1" if block.conv.kernel_size == (1, 1) else "Conv"
    return f"{name}-{_shapes((h, w, c), (_out(h, stride), _out(w, stride), block.conv.out_channels))}"


def _ofa_logits(block: Classifier, c: int, h: int, w: int) -> str:
    return f"Logits-{_shapes((h, w, c), (block.linear.out_features,))}"


_OFA_KINDS: dict[type, Callable[..., str | None]] = {
    MBConv: _ofa_block,
    ConvBNAct: _ofa_conv,
    Classifier: _ofa_logits,
    nn.Identity: lambda *_: None,
}


def _shapes(into: tuple[int, ...], out: tuple[int, ...]) -> str:
    return f"input:{'x'.join(map(str, into))}-output:{'x'.join(map(str, out))}"


def _out(size: int, stride: int) -> int:
    return (size - 1) // stride + 1


def read_mapping(path: str | Path) -> dict:
    """The mapping that a YAML or JSON file holds. Raises `TableError`, also where a key stands twice."""
    stored = parse(path, as_yaml=not str(path).endswith(".json"))
    if not isinstance(stored, dict) or not stored:
        raise TableError(f"{path} is no lookup table: it holds no mapping")
    return stored


def _wzdnas_key(key: object, path: str | Path) -> tuple[int, float, int]:
    match = _WZDNAS.fullmatch(str(key))
    if not match:
        raise TableError(f"{path}: the key {key!r:.80} does not read stage:S-gamma:G-depth:N")
    return int(match[1]), float(match[2]), int(match[3])


def _mean(key: object, value: object, path: str | Path) -> float:
    if not isinstance(value, dict) or "mean" not in value:
        raise TableError(f"{path}: {key} needs a mean in ms, got {value!r:.40}")
    return number(value["mean"], f"{path}: the mean of {key} (ms)", least=0)


def _check_stages(found: set, expected: set, path: str | Path, space: SearchSpace) -> None:
    for what, keys in (("lacks", expected - found), ("has, beyond this space,", found - expected)):
        if keys:
            stage, gamma, depth = min(keys)
            raise TableError(
                f"{path} was made for another template than {space.name}: it {what} {len(keys)} entries, "
                f"such as stage:{stage}-gamma:{gamma:g}-depth:{depth}"
            )
