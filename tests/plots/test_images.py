"""What stands in the pictures of scenes, detections and training."""

import pytest
import torch
from matplotlib.patches import Rectangle

from nasedu import data, plots


@pytest.fixture(scope="module")
def scenes():
    return data.detection("digits", "test", image_size=64, size=5)


def boxes(ax):
    return [patch for patch in ax.patches if isinstance(patch, Rectangle)]


def test_every_box_of_every_scene_is_drawn_and_named(scenes):
    picture = plots.scenes(scenes, range(5), columns=3)
    assert len(picture.axes) == 6
    for (_, target), ax in zip(scenes, picture.axes, strict=False):
        assert len(boxes(ax)) == len(target["labels"])
        assert [text.get_text() for text in ax.texts] == [scenes.classes[i] for i in target["labels"]]
        x1, y1, x2, y2 = target["boxes"][0].tolist()
        first = boxes(ax)[0]
        assert (first.get_x(), first.get_y(), first.get_width(), first.get_height()) == pytest.approx(
            (x1, y1, x2 - x1, y2 - y1)
        )
    assert not picture.axes[5].images  # one place more than there are scenes


def test_an_ignored_object_looks_different(scenes):
    class Ignoring(list):
        classes = scenes.classes

    image, target = scenes[0]
    target["ignore"][0] = True
    styles = [box.get_linestyle() for box in boxes(plots.scenes(Ignoring([(image, target)]), [0]).axes[0])]
    assert styles[0] == ":" and set(styles[1:]) <= {"-"}


def test_detections_above_the_confidence_are_solid_and_the_truth_is_dashed(scenes):
    found = [
        {"boxes": t["boxes"][:1].as_subclass(torch.Tensor).repeat(2, 1), "labels": torch.tensor([3, 7]), "scores": s}
        for s, (_, t) in zip(torch.tensor([[0.9, 0.2]] * 5), scenes, strict=True)
    ]
    picture = plots.detections(scenes, found, [0, 2], columns=2, confidence=0.3)
    for index, ax in zip((0, 2), picture.axes, strict=True):
        styles = [box.get_linestyle() for box in boxes(ax)]
        assert styles.count("--") == len(scenes[index][1]["labels"])
        assert styles.count("-") == 1
        assert [text.get_text() for text in ax.texts] == ["3 .90"]


def test_training_curves_have_a_panel_for_each_part_and_a_line_for_each_network():
    history = [{"epoch": e, "box": 1 / e, "obj": 2 / e, "cls": 3 / e} for e in range(1, 6)]
    picture = plots.training_curves({"searched": history, "random": history[:3]})
    assert len(picture.axes) == 3
    for ax, highest in zip(picture.axes, (1, 2, 3), strict=True):
        assert [len(line.get_xdata()) for line in ax.lines] == [5, 3]
        assert ax.get_xlabel() == "epoch" and ax.get_ylim()[0] == 0 and ax.get_ylim()[1] > highest
        assert ax.lines[0].get_marker() != ax.lines[1].get_marker()


def test_a_training_of_no_epochs_can_be_drawn():
    assert plots.training_curves({"supernet": []}).png()
