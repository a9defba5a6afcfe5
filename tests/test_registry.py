"""Things by name: made, listed, and misspelt."""

from __future__ import annotations

import pytest

from nasedu.errors import UnknownName
from nasedu.registry import Registry, options_of


def line(start, *, slope=1.0, **others):
    return start, slope, others


def test_what_is_made_and_what_is_misspelt():
    known = Registry("curve", {"line": line, "circle": dict})
    assert known.names() == ["line", "circle"] and known["line"] is line and "lime" not in known
    assert known.create("line", 3, slope=2.0) == (3, 2.0, {})
    with pytest.raises(UnknownName, match="unknown curve 'lime': did you mean 'line'"):
        known.create("lime", 3)
    with pytest.raises(UnknownName, match="unknown option of line 'slop': did you mean 'slope'"):
        known.create("line", 3, slop=2.0)
    with pytest.raises(UnknownName, match="unknown option of line 'start'"):
        known.create("line", 3, start=2.0)  # it is given already
    for wrong in (["line"], {}, None):
        with pytest.raises(UnknownName, match="unknown curve"):
            known[wrong]
    assert "lime" not in known and options_of(line) == ["start", "slope"]
