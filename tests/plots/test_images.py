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
    picture = plots.scenes(scenes)
    assert sum(bool(ax.images) for ax in picture.axes) == 5 and "5 scenes" in picture.alt
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
    styles = [box.get_linestyle() for box in boxes(plots.scenes(Ignoring([(image, target)])).axes[0])]
    assert styles[0] == ":" and set(styles[1:]) <= {"-"}


def test_detections_are_solid_and_the_truth_is_dashed(scenes):
    found = [
        {"boxes": t["boxes"][:1].as_subclass(torch.Tensor).repeat(2, 1), "labels": torch.tensor([3, 7]), "scores": s}
        for s, (_, t) in zip(torch.tensor([[0.9, 0.2]] * 5), scenes, strict=True)
    ]
    for index, ax in enumerate(plots.detections(scenes, found).axes[:5]):
        styles = [box.get_linestyle() for box in boxes(ax)]
        assert styles.count("--") == len(scenes[index][1]["labels"])
        assert styles.count("-") == 2
        assert [text.get_text() for text in ax.texts] == ["3 .90", "7 .20"]


@pytest.mark.parametrize("n", [1, 3, 8, 11])
def test_there_may_be_any_number_of_scenes(n):
    few = data.detection("digits", "test", image_size=64, size=n)
    found = [{"boxes": torch.empty(0, 4), "scores": torch.empty(0), "labels": torch.empty(0, dtype=torch.long)}] * n
    for picture in (plots.scenes(few), plots.detections(few, found)):
        assert sum(bool(ax.images) for ax in picture.axes) == min(n, 8) and picture.png()


def test_images_carry_their_classes():
    digits = data.classification("digits", "val", image_size=8, size=12)
    for count in (1, 12, 40):  # also more than there are
        axes = [ax for ax in plots.images(digits, count).axes if ax.images]
        assert [ax.get_title() for ax in axes] == [str(int(label)) for label in digits.labels[:count]]
