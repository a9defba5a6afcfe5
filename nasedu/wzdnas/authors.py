"""Searched networks in the YAML of WZDNAS's own code, whose ScaledYOLOv4 part trains them: read and written.

A network is a list of rows `[from, number, module, args]`, backbone and head; a searched block's number is its depth,
and `csp_gammas` lists the width ratios in the order of the blocks.
"""

from __future__ import annotations

from pathlib import Path

import torch
import yaml

from nasedu import reading, spaces
from nasedu.errors import ArchitectureError, NaseduError, ParameterError, brief
from nasedu.files import write_atomically
from nasedu.spaces.base import Arch
from nasedu.spaces.yolo import TEMPLATES, Template, YoloSpace

Row = list
WRITTEN = ("p5", "csp", "tiny")  # the templates that the public code has, too
SAME = {"Conv_Normal": "Conv", "Upsample": "nn.Upsample"}


def read_authors(source: str | Path, image_size: int | None = None) -> tuple[YoloSpace, Arch]:
    """The space, with the file's classes and anchors, and the architecture of a searched network.

        source: a file, or its text.
        image_size: pixels of the space; the file does not say. None: the template's.

    Raises `ArchitectureError` for a file that cannot be read, or a network of none of the templates p5, csp and tiny.
    """
    try:
        text = reading.text_of(source) if isinstance(source, Path) or "\n" not in str(source) else str(source)
        given = reading.parse(text, "yaml")
        if not isinstance(given, dict):
            raise ValueError("it holds no mapping")
        rows = [_plain(row) for part in ("backbone", "head") for row in given[part]]
        scaled = [name for name in ("depth_multiple", "width_multiple") if given.get(name, 1) != 1]
        if scaled:
            raise ValueError(
                f"{scaled[0]} is {brief(given[scaled[0]])}: only networks of the templates' size, 1, are read"
            )
        gammas, depths = list(given["csp_gammas"]), [row[1] for row in rows if "CSP" in row[2] and row[2] != "SPPCSP"]
        for name in WRITTEN:
            template = TEMPLATES[name]
            if _without_depths(rows) == _without_depths(_rows(template, [0] * len(template.hand))):
                found = torch.tensor(given["anchors"]).view(len(template.strides), -1, 2).tolist()
                sized = {"num_classes": given["nc"], "anchors": found, "image_size": image_size}
                # a file may have choices that the template has not
                widths = tuple(sorted({*template.widths, *map(float, gammas)}))
                space = spaces.create("yolo", template=name, widths=widths, depths=_depths(template, depths), **sized)
                return space, space.choose(_choices(gammas, depths))
        raise ValueError("its layers are those of none of the templates p5, csp and tiny")
    except NaseduError as error:  # before `KeyError`, which an unknown name is as well
        told = str(error)
    except KeyError as error:
        told = f"it has no {error}"
    except (ValueError, TypeError, IndexError, RuntimeError) as error:
        told = str(error)
    raise ArchitectureError(f"no searched network can be read from {brief(str(source))}: {told[:180]}")


def write_authors(space: YoloSpace, arch: Arch, path: str | Path) -> None:
    """Write a network so that WZDNAS's code trains it. Raises `ParameterError` where it has no such template.

    space: of the template p5, csp or tiny, with the activation of that code, Mish.
    arch: the architecture.
    path: the file.
    """
    name = space.name.partition(":")[2]
    if name not in WRITTEN or space.act != "mish":
        kinds = f"networks of {', '.join(WRITTEN)} with the activation mish"
        raise ParameterError(f"WZDNAS's code knows {kinds}, not {space.name} with {space.act}")
    chosen = [decision.choices[i] for decision, i in zip(space.decisions, space.validate(arch), strict=True)]
    rows = _rows(space.template, [int(depth) for depth in chosen[1::2]])
    cut = next(i for i, row in enumerate(rows) if row[2] == ("Bottleneck" if name == "tiny" and i > 2 else "SPPCSP"))
    content = {
        "nc": space.num_classes,
        "depth_multiple": 1.0,
        "width_multiple": 1.0,
        "anchors": [[round(v, 3) for v in scale.flatten().tolist()] for scale in space.anchors],
        "csp_gammas": [float(gamma) for gamma in chosen[::2]],
    }
    text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=120)
    for part, held in (("backbone", rows[:cut]), ("head", rows[cut:])):
        lines = [yaml.safe_dump(row, default_flow_style=True).strip() for row in held]
        text += f"{part}:\n" + "".join(f"  - {line}\n" for line in lines)
    write_atomically(path, text)


def _rows(template: Template, depths: list[int]) -> list[Row]:
    """All layers of a template with these depths, in the order of the public code's files."""
    left = iter(depths)
    if len(template.strides) == 2:
        return _tiny_rows(template, left)
    rows: list[Row] = [[-1, 1, "Conv", [template.stem, 3, template.stem_stride]]]
    for i, (channels, stride) in enumerate(zip(template.backbone, template.downs, strict=True)):
        rows.append([-1, 1, "Conv", [channels, 3, stride]])
        fixed = template.fixed_first and i == 0
        rows.append([-1, 1 if fixed else next(left), "Bottleneck" if fixed else "BottleneckCSP", [channels]])
    low, middle, high = template.neck
    rows += [[-1, 1, "SPPCSP", [high]]]
    for width, lateral in ((middle, 8), (low, 6)):
        rows += [[-1, 1, "Conv", [width, 1, 1]], _up(), [lateral, 1, "Conv", [width, 1, 1]]]
        rows += [[[-1, -2], 1, "Concat", [1]], [-1, next(left), "BottleneckCSP2", [width]]]
    rows += [[-1, 1, "Conv", [2 * low, 3, 1]]]
    for width, joined in ((middle, 16), (high, 11)):
        rows += [[-2, 1, "Conv", [width, 3, 2]], [[-1, joined], 1, "Concat", [1]]]
        rows += [[-1, next(left), "BottleneckCSP2", [width]], [-1, 1, "Conv", [2 * width, 3, 1]]]
    return [*rows, [[22, 26, 30], 1, "Detect", ["nc", "anchors"]]]


def _up() -> Row:
    return [-1, 1, "nn.Upsample", ["None", 2, "nearest"]]


def _tiny_rows(template: Template, left) -> list[Row]:
    reduced, fused = template.neck
    rows: list[Row] = [[-1, 1, "Conv", [template.stem, 3, 2]], [-1, 1, "Conv", [template.backbone[0], 3, 2]]]
    for channels in template.backbone:
        rows += [[-1, next(left), "BottleneckCSP", [channels]], [-1, 1, "MP", [2]]]
    deepest = 2 * template.backbone[-1]
    rows += [
        [-1, 1, "Conv", [deepest, 3, 1]],
        [-1, 1, "Bottleneck", [deepest]],
        [-1, 1, "Conv", [reduced, 1, 1]],
        _up(),
    ]
    rows += [[[-1, 6], 1, "Concat", [1]], [-1, 1, "Conv", [fused, 1, 1]]]
    return [*rows, [[13, 9], 1, "Detect", ["nc", "anchors"]]]


def _plain(row: Row) -> Row:
    """A row as `_rows` writes it. Raises `ValueError` for what is none."""
    if not isinstance(row, list) or len(row) != 4 or not isinstance(row[2], str) or not isinstance(row[3], list):
        raise ValueError(f"a layer is [from, number, module, args], got {brief(row)}")
    args = ["None" if value is None else value for value in row[3]]
    return [row[0], row[1], SAME.get(row[2], row[2]), args]


def _without_depths(rows: list[Row]) -> list[Row]:
    """Rows to compare: of the searched blocks the depth is left out, which is 1 elsewhere."""
    searched = ("BottleneckCSP", "BottleneckCSP2")
    return [
        [start, module in searched or number, module, args[:2] if module == "Detect" else args]
        for start, number, module, args in rows
    ]


def _depths(template: Template, found: list) -> tuple[tuple[int, ...], ...]:
    """The choices of backbone and neck: the template's, and what a file has besides."""
    own = (template.depths, template.neck_depths)
    first = len(found) - 4 * bool(template.neck_depths)  # a neck has four blocks
    return tuple(tuple(sorted({*u, *part})) for u, part in zip(own, (found[:first], found[first:]), strict=True))


def _choices(gammas: list, depths: list) -> list[str]:
    if len(gammas) != len(depths):
        raise ValueError(f"{len(gammas)} width ratios for {len(depths)} blocks")
    return [text for gamma, depth in zip(gammas, depths, strict=True) for text in (f"{gamma:g}", f"{depth:g}")]
