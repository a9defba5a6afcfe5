"""Searched networks in the YAML of WZDNAS's code: the authors' are read, ours are written and read back."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from nasedu import spaces, wzdnas
from nasedu.errors import ArchitectureError, ParameterError

# the authors' stored network (branch lora): width ratios and depths of the five backbone and the four neck blocks
GAMMAS = (0.5, 0.75, 0.75, 0.75, 0.75, 0.75, 0.25, 0.75, 0.75)
DEPTHS = (7, 7, 7, 1, 1, 3, 3, 0, 0)
ROWS = {  # where the blocks of P5 stand among the rows of backbone (11) and head
    "backbone": (2, 4, 6, 8, 10),
    "head": (5, 10, 14, 18),
}


def published(path) -> dict:
    """The authors' network as their exporter writes it: one flow-style document, with keys that we do not need."""
    space = spaces.create("yolo:p5", num_classes=20)
    wzdnas.write_authors(space, space.hand_designed, path)
    content = yaml.safe_load(path.read_text())
    left = iter(DEPTHS)
    for part, places in ROWS.items():
        for place in places:
            assert "BottleneckCSP" in content[part][place][2]
            content[part][place][1] = next(left)
    content["csp_gammas"], content["search_space"] = list(GAMMAS), {"BottleneckCSP_Search": {"gamma_space": [0.25]}}
    path.write_text(yaml.dump(content, default_flow_style=True, sort_keys=False))
    return content


def test_the_authors_network_is_read(tmp_path):
    published(tmp_path / "net.yaml")
    space, arch = wzdnas.read_authors(tmp_path / "net.yaml", image_size=416)
    chosen = [d.choices[i] for d, i in zip(space.decisions, arch, strict=True)]
    assert chosen[::2] == [f"{gamma:g}" for gamma in GAMMAS] and chosen[1::2] == [str(n) for n in DEPTHS]
    assert space.name == "yolo:p5" and space.num_classes == 20 and space.image_size == 416
    assert wzdnas.read_authors((tmp_path / "net.yaml").read_text() + "\n", 416)[1] == arch


@pytest.mark.parametrize("template", ["p5", "csp", "tiny"])
def test_what_is_written_is_read_back(template, tmp_path):
    space, rng = spaces.create("yolo", template=template, num_classes=3), np.random.default_rng(0)
    for _ in range(5):
        arch = space.sample(rng)
        wzdnas.write_authors(space, arch, tmp_path / "net.yaml")
        other, read = wzdnas.read_authors(tmp_path / "net.yaml")
        assert read == arch and other.fingerprint == space.fingerprint and other.anchors.equal(space.anchors)


def test_choices_that_the_template_has_not_are_read(tmp_path):
    options = {"widths": (0.3, 0.6), "depths": ((2, 5), (0, 1))}
    space, rng = spaces.create("yolo", template="csp", num_classes=3, **options), np.random.default_rng(0)
    for _ in range(3):
        arch = space.sample(rng)
        wzdnas.write_authors(space, arch, tmp_path / "net.yaml")
        other, read = wzdnas.read_authors(tmp_path / "net.yaml")
        assert other.in_line(read) == space.in_line(arch)


def test_every_block_stands_where_the_authors_have_it(tmp_path):
    """Channels of the nine blocks of P5, and which maps are detected on."""
    content = published(tmp_path / "net.yaml")
    rows = [row for part in ("backbone", "head") for row in content[part]]
    assert [i for i, row in enumerate(rows) if "BottleneckCSP" in row[2]] == [2, 4, 6, 8, 10, 16, 21, 25, 29]
    widths = [row[3][0] for row in rows if "BottleneckCSP" in row[2]]
    assert widths == [64, 128, 256, 512, 1024, 256, 128, 256, 512]
    assert rows[-1] == [[22, 26, 30], 1, "Detect", ["nc", "anchors"]] and len(rows) == 32


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.pop("csp_gammas"),
        lambda c: c.update(csp_gammas=[0.5]),
        lambda c: c.update(csp_gammas=[0.0] * 9),
        lambda c: c["backbone"].pop(),
        lambda c: c["head"].append([1, 2]),
        lambda c: c["backbone"][2].__setitem__(1, -1),
        lambda c: c.update(anchors=[[1, 2], [3]]),
        lambda c: c.update(nc="many"),
        lambda c: c.update(width_multiple=0.5),
        lambda c: c.update(depth_multiple=0.33),
        lambda c: c["backbone"][0].__setitem__(1, 2),
        lambda c: c.update(backbone=7),
    ],
)
def test_another_network_is_refused_in_a_sentence(change, tmp_path):
    content = published(tmp_path / "net.yaml")
    change(content)
    (tmp_path / "net.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ArchitectureError) as told:
        wzdnas.read_authors(tmp_path / "net.yaml")
    assert len(str(told.value)) < 300


def test_a_network_that_their_code_cannot_build_is_not_written(tmp_path):
    for space in (spaces.create("yolo:course"), spaces.create("yolo:p5", act="silu")):
        with pytest.raises(ParameterError, match="WZDNAS's code knows"):
            wzdnas.write_authors(space, space.hand_designed, tmp_path / "net.yaml")
    assert not (tmp_path / "net.yaml").exists()
