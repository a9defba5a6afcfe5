"""WZDNAS's YAML tables."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nasedu import spaces
from nasedu.errors import TableError
from nasedu.hardware.foreign import read_wzdnas

ROOT = os.environ.get("NASEDU_DATA")


def written(path, change=lambda key, mean: mean):
    space = spaces.create("yolo", template="tiny")
    lines = []
    for stage in (1, 2, 3):
        for gamma in ("0.25", "0.5", "0.75"):
            for depth in (1, 2, 3, 4):
                key = f"stage:{stage}-gamma:{gamma}-depth:{depth}"
                mean = change(key, stage + float(gamma) * depth)
                if mean is not None:
                    lines.append(f"{key}:\n  latency: 1\n  mean: {mean}\n  variance: 0.0\n")
    path.write_text("".join(lines))
    return space


def test_values_land_where_they_belong(tmp_path):
    space = written(tmp_path / "t.yaml")
    table = read_wzdnas(tmp_path / "t.yaml", space)
    assert table((0, 0, 1, 3, 2, 1)) == pytest.approx((1 + 0.25) + (2 + 0.5 * 4) + (3 + 0.75 * 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda k, m: None if k.endswith("depth:4") else m, "another template .* lacks 9 entries"),
        (lambda k, m: -1, "at least 0 ms"),
        (lambda k, m: ".nan", "at least 0 ms"),
        (lambda k, m: "fast", "at least 0 ms"),
    ],
)
def test_faulty_tables_are_refused(tmp_path, change, message):
    space = written(tmp_path / "t.yaml", change)
    with pytest.raises(TableError, match=message):
        read_wzdnas(tmp_path / "t.yaml", space)


def test_other_content_is_refused(tmp_path):
    space = written(tmp_path / "t.yaml")
    with pytest.raises(TableError, match="another template than yolo:course"):
        read_wzdnas(tmp_path / "t.yaml", spaces.create("yolo"))
    for text, message in (("a: 1\n", "does not read"), ("- 1\n", "no mapping"), ("a: [", "can be read")):
        (tmp_path / "x.yaml").write_text(text)
        with pytest.raises(TableError, match=message):
            read_wzdnas(tmp_path / "x.yaml", space)


@pytest.mark.skipif(not ROOT, reason="NASEDU_DATA is not set: no WZDNAS table to read")
def test_the_published_table_of_the_rb5():
    path = Path(ROOT) / "lookup" / "p5_rb5_gpu.yaml"
    p5 = spaces.create("yolo", template="p5", num_classes=20)
    table = read_wzdnas(path, p5)
    assert table.bounds() == pytest.approx((52.7, 872.7), abs=0.1)
    assert table(p5.hand_designed) == pytest.approx(265.8, abs=0.1)
    with pytest.raises(TableError, match="another template than yolo:course"):
        read_wzdnas(path, spaces.create("yolo"))
