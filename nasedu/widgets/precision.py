"""From a threshold of overlap to average precision: the curve of one class, drawn again as the threshold moves."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets
import numpy as np

from nasedu.detection.average_precision import columns, precision_recall
from nasedu.errors import DataError
from nasedu.plots.picture import Picture
from nasedu.widgets.base import LAYOUT, PictureWidget, slider


class PrecisionWidget(PictureWidget):
    """Precision over recall of a class, and its area by COCO's 101 recalls.

    Controls: `kind`, a dropdown, and `iou`, a slider. `ap` is the average precision that is shown. Raises `DataError`
    where there is no object.

    Args:
        truths: per image, dicts of boxes, labels and ignore.
        answers: per image, dicts of boxes, scores and labels.
        classes: their names, by label.
    """

    def __init__(self, truths: Sequence[dict], answers: Sequence[dict], classes: Sequence[str]):
        self.judged, self.classes, self.ap = (columns(truths), columns(answers)), list(classes), 0.0
        known = [curve.objects for curve in precision_recall(*self.judged, len(classes))]
        if not any(known):
            raise DataError("precision and recall need at least one object")
        named = [(name, place) for place, name in enumerate(classes) if known[place]]
        most = int(np.argmax(known))
        self.kind = ipywidgets.Dropdown(options=named, value=most, description="class", **LAYOUT)
        self.iou = slider("least overlap (IoU)", 0.5, 0.05, 0.95, 0.05)
        super().__init__(self.kind, self.iou)

    def draw(self):
        """The curve as it is and the best beyond each recall, and the precision in words."""
        curve = precision_recall(*self.judged, len(self.classes), self.iou.value)[self.kind.value]
        recalls = np.linspace(0, 1, 101)
        best = np.array([curve.precision[curve.recall >= recall].max(initial=0) for recall in recalls])
        self.ap = float(best.mean())
        picture = Picture(4.5, 3.2, "")
        ax = picture.subplots()
        ax.plot(curve.recall, curve.precision, ".-", linewidth=1, label="after each detection")
        ax.step(recalls, best, where="mid", label="best at that recall or beyond")
        ax.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
        picture.key()
        least = f"{self.iou.value:.2f}"
        told = f"A box counts from an IoU of {least} on: {curve.objects} objects, average precision {self.ap:.3f}."
        picture.alt = f"Precision over recall of the class {self.classes[self.kind.value]}. {told}"
        return picture, told
