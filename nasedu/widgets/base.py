"""What all widgets share: controls above one picture, told in words, drawn again when a control is moved."""

from __future__ import annotations

import html
from importlib import resources

import anywidget
import ipywidgets

from nasedu.errors import NaseduError
from nasedu.plots import Picture

LAYOUT = {"style": {"description_width": "14em"}, "layout": {"width": "34em"}}


class Controls(anywidget.AnyWidget):
    """Shows nothing. The controls beside it in a box keep their keys to themselves and get names; see controls.js."""

    _esm = resources.files("nasedu.widgets").joinpath("controls.js").read_text("utf-8")


class PictureWidget(ipywidgets.VBox):
    """Controls and, below them, a sentence (a status, so that it is read out) and a picture with its alt text.

    A subclass makes its controls, hands them to `super().__init__` and has a method `draw`. `figure` is the latest
    picture, None where there is none because of an error, which is told in place of the sentence; `view` shows both.

    Args:
        controls: one above the other; a list stands in one row.
    """

    def __init__(self, *controls: ipywidgets.Widget | list[ipywidgets.Widget]):
        self.view, self.figure, self._image = ipywidgets.HTML(), None, ""
        rows = [control if isinstance(control, list) else [control] for control in controls]
        for control in (control for row in rows for control in row):
            control.observe(self.update, names="value")
        self.update()
        super().__init__([Controls(), *(row[0] if len(row) == 1 else ipywidgets.HBox(row) for row in rows), self.view])

    def draw(self) -> tuple[Picture, str]:
        """The picture of what the controls say, and what it shows in words. May raise one of nasedu's errors."""
        raise NotImplementedError

    def update(self, _change: object = None) -> None:
        """Draw again; while it is being computed the view says so, beside the picture before."""
        self._tell("computing …", busy=True)
        try:
            self.figure, words = self.draw()
        except NaseduError as error:
            self.figure, self._image, words = None, "", str(error)
        else:
            alt, look = html.escape(self.figure.alt), "max-width: 100%"
            self._image = f'<img alt="{alt}" style="{look}" src="data:image/png;base64,{self.figure.base64()}"/>'
        self._tell(words)

    def _tell(self, words: str, busy: bool = False) -> None:
        words = html.escape(words).replace("\n", "<br/>")
        self.view.value = f'<p role="status" aria-busy="{str(busy).lower()}">{words}</p>{self._image}'


def slider(
    name: str, value: float, low: float, high: float, step: float = 1, *, slow: bool = True, powers: bool = False
) -> ipywidgets.Widget:
    """A slider with its name and number.

    Args:
        name: what it is called, also for those who cannot see it.
        value: at first.
        low: its left end; of powers, the exponent of 10.
        high: its right end, as `low`.
        step: between two places.
        slow: whether it acts only when it is let go.
        powers: whether it is logarithmic.
    """
    whole = all(isinstance(number, int) for number in (value, low, high, step))
    kind = ipywidgets.FloatLogSlider if powers else ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
    form = {} if whole else {"readout_format": ".2f" if step < 1 else ".0f"}
    return kind(value, min=low, max=high, step=step, description=name, continuous_update=not slow, **form, **LAYOUT)
