"""`nasedu check-data`: what is wrong with a folder is told without training, and drawn."""

from __future__ import annotations

import pytest
from PIL import Image

from nasedu.__main__ import main


@pytest.mark.parametrize("given", [[], ["--dataset", "voc"]])
def test_every_finding_of_every_split_is_counted_and_images_are_drawn(voc_folder, tmp_path, capsys, truncate, given):
    voc_folder.add("a", ("dog", 10, 10, 10, 20), ("$\\frac", 5, 5, 30, 30))
    truncate(voc_folder.root / "JPEGImages" / "b.jpg")
    voc_folder.split("train", ["a", "b", "c", "gone\x1b[2J"])
    assert main(["check-data", str(voc_folder.root), "--out", str(tmp_path / "out"), *given]) == 0
    told = capsys.readouterr()
    assert "voc train: 2 images of 320 px, 3 boxes" in told.out and "voc test: 1 images" in told.out
    for kind in ("1 left out: box", "1 left out: image", "1 left out: annotation"):
        assert f" {kind}; first: " in told.out
    assert "\x1b" not in told.out + told.err and all(len(line) < 300 for line in told.out.split("\n"))
    for split in ("train", "val", "test"):
        with Image.open(tmp_path / "out" / f"{split}.png") as sheet:
            assert len(sheet.convert("RGB").getcolors(1 << 24)) > 100


def test_what_cannot_be_read_is_one_sentence(voc_folder, tmp_path, capsys):
    voc_folder.split("test", ["../e"])
    assert main(["check-data", str(voc_folder.root), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err.strip().split("\n")
    assert len(told) == 1 and told[0].startswith("nasedu: train: ") and "only files within" in told[0], "once for all"
    assert main(["check-data", str(tmp_path), "--dataset", "yoloo"]) == 2
    assert "did you mean 'yolo'" in capsys.readouterr().err
    assert main(["check-data", str(tmp_path / "nowhere")]) == 2
    assert "there is no folder" in capsys.readouterr().err
