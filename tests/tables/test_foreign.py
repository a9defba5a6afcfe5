"""Tables in other formats: figures land where they belong, and what does not fit is refused by its place."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from nasedu import spaces
from nasedu.errors import TableError, UnknownName
from nasedu.tables import latency_table, read_table, stored, write_csv
from nasedu.tables.csv import read_csv
from nasedu.tables.foreign import ofa_key, read_ofa, read_wzdnas
from nasedu.tables.pieces import pieces

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
        (lambda k, m: -1, r"mean of stage:1-gamma:0.25-depth:1 \(ms\) must be a finite number of at least 0, got -1"),
        (lambda k, m: ".nan", "of at least 0, got '.nan'"),
        (lambda k, m: ".inf", "of at least 0, got '.inf'"),
        (lambda k, m: "fast", "of at least 0, got 'fast'"),
        (lambda k, m: "true", "of at least 0, got True"),
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
    with pytest.raises(TableError, match="are of yolo spaces, not of fairnas"):
        read_wzdnas(tmp_path / "t.yaml", spaces.create("fairnas:course"))
    for text, message in (
        ("a: 1\n", "does not read"),
        ("- 1\n", "no mapping"),
        ("", "no mapping"),
        ("a: [", "can be read"),
        ("[1]: 2\n? [3]\n: 4", "can be read|does not read"),
        ("!!python/object/apply:os.getcwd []", "no mapping"),  # a tag says nothing
        ("stage:1-gamma:0.5-depth:1: {mean: 1}\nstage:1-gamma:0.5-depth:1: {mean: 2}", "depth:1' twice"),
        ("stage:1-gamma:0.5-depth:1: {mean: 1}\nstage:1-gamma:0.50-depth:1: {mean: 2}", "depth:1' twice"),
        ("stage:1-gamma:0.5-depth:1: {mean: 1, mean: 2}", "'mean' twice"),
        ("stage:1-gamma:0.5-depth:1: 3", "needs a mean in ms, got 3"),
    ):
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


@pytest.fixture(scope="module")
def mobile():
    return spaces.create("proxylessnas", input_size=64, num_classes=10, depth=0.5)


@pytest.fixture(scope="module")
def pixel(mobile):
    """What a table of a phone holds for every block of the space, by key: 1, 2, 3 ... ms."""
    keys = dict.fromkeys(ofa_key(piece, mobile) for piece in pieces(mobile))
    return {key: {"mean": i, "std": 0.1} for i, key in enumerate(filter(None, keys), 1)}


def test_mobile_keys_are_those_of_the_published_tables():
    space = spaces.create("proxylessnas")
    keys = {piece.name: ofa_key(piece, space) for piece in pieces(space)}
    assert keys["stem"] == "Conv-input:224x224x3-output:112x112x32"
    block = "expanded_conv-input:112x112x32-output:112x112x16-expand:1-kernel:3-stride:1-idskip:0"
    assert keys["first"] == block
    block = "expanded_conv-input:112x112x16-output:56x56x24-expand:3-kernel:5-stride:2-idskip:0"
    assert keys["stage1_1 k5e3"] == block
    block = "expanded_conv-input:56x56x24-output:56x56x24-expand:6-kernel:7-stride:1-idskip:1"
    assert keys["stage1_2 k7e6"] == block
    assert keys["stage1_2 skip"] is None
    assert keys["head"] == "Conv_1-input:7x7x320-output:7x7x1280"
    assert keys["classifier"] == "Logits-input:7x7x1280-output:1000"


def test_a_mobile_table_prices_every_block_of_a_network(mobile, pixel, tmp_path):
    (tmp_path / "t.json").write_text(json.dumps(pixel | {"Conv-input:8x8x3-output:4x4x7": {"mean": 9}}))
    lines = [f"{key}:\n  mean: {value['mean']}\n" for key, value in pixel.items()]
    (tmp_path / "t.yaml").write_text("".join(lines))
    by_name = {piece.name: pixel[key]["mean"] for piece in pieces(mobile) if (key := ofa_key(piece, mobile))}
    for file in ("t.json", "t.yaml"):
        table = read_table(tmp_path / file, mobile)
        assert (table.metric, table.unit) == ("latency_ms", "ms")
        for arch in ((0,) * len(mobile.choices), tuple(n - 1 for n in mobile.choices)):
            chosen = [f"{d.name} {d.choices[i]}" for d, i in zip(mobile.decisions, arch, strict=True)]
            assert any(name not in by_name for name in chosen) == (arch[1] > 0), "a skip has no key and costs nothing"
            fixed = sum(by_name[name] for name in ("stem", "first", "head", "classifier"))
            assert table(arch) == fixed + sum(by_name.get(name, 0) for name in chosen)


def test_a_mobile_table_that_does_not_fit_is_refused(mobile, pixel, tmp_path):
    path, first, block = tmp_path / "t.json", next(iter(pixel)), list(pixel)[5]
    for change, message in (
        ({block: None}, f"lacks 1 of the {len(pixel)} blocks of proxylessnas at 64 px, such as {block}"),
        ({first.replace("input", "in"): 1}, "the key 'Conv-in:64x64x3-output:32x32x32' does not read TYPE-input"),
        ({block.removesuffix("-idskip:0"): {"mean": 1}}, "does not read TYPE-input"),
        ({block: {"mean": -1}}, "of at least 0, got -1"),
        ({block: {"median": 1}}, "needs a mean in ms"),
        ({block: 1.5}, "needs a mean in ms"),
    ):
        path.write_text(json.dumps({k: v for k, v in (pixel | change).items() if v is not None}))
        with pytest.raises(TableError, match=message):
            read_ofa(path, mobile)
    path.write_text(json.dumps(pixel)[:-1] + f', "{block}": {{"mean": 1}}}}')
    with pytest.raises(TableError, match="twice"):
        read_ofa(path, mobile)


@pytest.mark.parametrize(
    ("name", "options", "what"),
    [
        ("fbnet", {}, "a FBNetBlock"),
        ("yolo", {}, "has a CSP"),
        ("fairnas", {"squeeze_excite": True}, "squeeze-and-excitation"),
    ],
)
def test_other_blocks_have_no_mobile_key(pixel, tmp_path, name, options, what):
    (tmp_path / "t.json").write_text(json.dumps(pixel))
    with pytest.raises(TableError, match=f"{what}.* for which ProxylessNAS's table format has no key"):
        read_ofa(tmp_path / "t.json", spaces.create(name, **options))


@pytest.fixture(scope="module")
def ragged():
    """The stored MACs of a space whose rows differ in length, as skips stand only where the shape stays."""
    return stored(spaces.create("proxylessnas:course"), "macs")


def same(one, other):
    return one.fixed == other.fixed and all(map(torch.equal, one.entries, other.entries))


def test_a_matrix_comes_back_as_it_was_written(ragged, tmp_path):
    write_csv(ragged, tmp_path / "t.csv")
    lines = (tmp_path / "t.csv").read_text().splitlines()
    about = f"group [macs {ragged.space.fingerprint}]"
    assert lines[0] == f"{about},k3e3,k3e6,k5e3,k5e6,k7e3,k7e6,skip" and lines[-1] == f"fixed,{ragged.fixed:.0f}"
    back = read_table(tmp_path / "t.csv", ragged.space, "macs")
    assert same(back, ragged) and (back.metric, back.unit) == ("macs", "MACs")
    yolo = stored(spaces.create("yolo:course"), "params")  # two decisions a group
    write_csv(yolo, tmp_path / "y.csv")
    assert same(read_csv(tmp_path / "y.csv", yolo.space, "params"), yolo)


def test_header_names_and_fixed_part_may_be_left_out(ragged, tmp_path):
    rows = [[f"{v:.0f}" for v in entry.tolist()] for entry in ragged.entries]
    bare = "\n".join(",".join(row) for row in rows)
    header = ",".join("abcdefg")
    named = "\n".join(",".join([f"layer{i}", *row]) for i, row in enumerate(rows))
    padded = "\ufeff" + "\r\n".join(",".join([*row, ""][:7]) for row in rows) + "\r\n\r\n"
    for text in (bare, f"{header}\n{bare}", named, f"name,{header}\n{named}", padded):
        (tmp_path / "t.csv").write_text(text, newline="")
        table = read_csv(tmp_path / "t.csv", ragged.space, "macs")
        assert table.fixed == 0 and all(map(torch.equal, table.entries, ragged.entries))


def test_a_matrix_that_says_what_it_is_serves_nothing_else(ragged, tmp_path):
    write_csv(ragged, tmp_path / "t.csv")
    with pytest.raises(TableError, match=r"t\.csv holds macs, not latency_ms"):
        latency_table(ragged.space, str(tmp_path / "t.csv"))
    larger = spaces.create("proxylessnas:course", input_size=64)
    with pytest.raises(TableError, match=f"another space .{ragged.space.fingerprint}. than .*{larger.fingerprint}"):
        read_csv(tmp_path / "t.csv", larger, "macs")
    text = (tmp_path / "t.csv").read_text()
    (tmp_path / "t.csv").write_text(text.replace(f" [macs {ragged.space.fingerprint}]", ""))
    assert read_csv(tmp_path / "t.csv", larger, "macs").fixed == ragged.fixed, "without a word it is taken at yours"


def cells_of(table, path):
    write_csv(table, path)
    return [line.split(",") for line in path.read_text().splitlines()]


MATRIX = {
    "a row too few": (lambda c: c.pop(3), "has 10 rows of figures, proxylessnas has 11 decision groups"),
    "a row too many": (lambda c: c.insert(3, c[3]), "has 12 rows of figures, proxylessnas has 11 decision groups"),
    "a figure too many": (lambda c: c[1].append("5"), r"row 1 of figures \(stage1_1\) has 7 figures, .* has 6 options"),
    "an empty cell": (lambda c: c[2].__setitem__(4, ""), r"row 2 of figures \(stage1_2\), k5e6: the cell is empty"),
    "a row too short": (lambda c: c[2].pop(), r"row 2 of figures \(stage1_2\), skip: the cell is empty"),
    "NaN": (lambda c: c[2].__setitem__(4, "nan"), r"\(stage1_2\), k5e6 must be a finite number .*, got nan"),
    "infinite": (lambda c: c[2].__setitem__(4, "1e999"), "must be a finite number .*, got inf"),
    "below 0": (lambda c: c[2].__setitem__(4, "-3"), "must be a finite number of at least 0, got -3"),
    "text": (lambda c: c[2].__setitem__(4, "fast"), r"\(stage1_2\), k5e6 must be a finite number .*, got 'fast'"),
    "rows in another order": (lambda c: c.insert(1, c.pop(2)), "rows have 'stage1_2' at place 1, .* has 'stage1_1'"),
    "columns in another order": (lambda c: c[0].insert(1, c[0].pop(2)), "columns have 'k3e6' at place 1"),
    "two fixed parts": (lambda c: c[-1].append("1"), "the row 'fixed' must hold one figure, got 2"),
    "no fixed part": (lambda c: c[-1].pop(), "the row 'fixed' must hold one figure, got 0"),
}


@pytest.mark.parametrize("name", MATRIX)
def test_a_matrix_that_does_not_fit_is_refused_by_its_place(ragged, tmp_path, name):
    spoil, message = MATRIX[name]
    cells = cells_of(ragged, tmp_path / "t.csv")
    spoil(cells)
    (tmp_path / "t.csv").write_text("\n".join(map(",".join, cells)))
    with pytest.raises(TableError, match=message):
        read_csv(tmp_path / "t.csv", ragged.space, "macs")


def test_no_matrix_at_all_is_refused(ragged, tmp_path):
    path = tmp_path / "t.csv"
    for content in (b"", b"\n,,\n", b"\xff\xfe\x00", b'"a'):
        path.write_bytes(content)
        with pytest.raises(TableError, match="no lookup table"):
            read_csv(path, ragged.space, "macs")
    write_csv(ragged, path)
    with pytest.raises(UnknownName, match="did you mean 'macs'"):
        read_csv(path, ragged.space, "mac")
