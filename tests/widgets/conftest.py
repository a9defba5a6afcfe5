"""What holds for the picture of every widget, however it is moved."""

from __future__ import annotations

import pytest

from nasedu.widgets.base import PictureWidget


@pytest.fixture(autouse=True)
def named_axes_are_seen(monkeypatch):
    """A curve without its axes cannot be read."""
    update = PictureWidget.update

    def checked(self, change=None):
        update(self, change)
        for ax in self.figure.axes if self.figure else []:
            assert ax.axison or not (ax.get_xlabel() or ax.get_ylabel())

    monkeypatch.setattr(PictureWidget, "update", checked)
