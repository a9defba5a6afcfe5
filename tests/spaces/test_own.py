"""A space of one's own: what it is known by, for tables and for stored states."""

from __future__ import annotations

import pytest
from torch import nn

from nasedu.search import SearchConfig, random_search
from nasedu.spaces.base import Layer, SearchSpace, choice
from nasedu.storage import identity


class Own(SearchSpace):
    """Two slots of an operation that is handed in, and a head."""

    name, input_shape = "own", (3, 8, 8)

    def __init__(self, operation):
        def slot(name):
            return choice(name, {"conv": lambda: nn.Conv2d(3, 3, 3, padding=1), "own": operation})

        head = Layer("head", lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4)))
        self.layers = [slot("first"), slot("second"), head]


OPERATIONS = {
    "slope": lambda: nn.LeakyReLU(0.1),
    "another slope": lambda: nn.LeakyReLU(0.9),
    "bounds": lambda: nn.Hardtanh(-1, 1),
    "other bounds": lambda: nn.Hardtanh(-2, 2),
    "padding counts": lambda: nn.AvgPool2d(3, 1, 1),
    "padding does not count": lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False),
    "dilation": lambda: nn.Conv2d(3, 3, 3, padding=1, dilation=1),
    "another dilation": lambda: nn.Conv2d(3, 3, 3, padding="same", dilation=2),
    "padding by name": lambda: nn.Conv2d(3, 3, 3, padding="same", dilation=1),
}


def test_a_setting_of_one_operation_makes_another_space():
    spaces = {name: Own(operation) for name, operation in OPERATIONS.items()}
    assert len({space.fingerprint for space in spaces.values()}) == len(OPERATIONS)
    assert len({identity(space) for space in spaces.values()}) == len(OPERATIONS)
    assert identity(Own(OPERATIONS["slope"])) == identity(spaces["slope"])


def power(exponent):
    class Power(nn.Module):
        def forward(self, x):
            return x**exponent

    return Power


def weigh(arch):
    return float(sum(arch))


@pytest.mark.parametrize(
    ("before", "after"),
    [(OPERATIONS["slope"], OPERATIONS["another slope"]), (power(2), power(3))],
    ids=["setting", "body"],
)
def test_a_search_in_a_changed_space_starts_afresh(before, after, tmp_path, capsys):
    settings, state = SearchConfig(budget=5), tmp_path / "search.pt"
    for operation, again in ((before, False), (before, False), (after, True)):
        random_search(Own(operation), weigh, settings, state=state)
        assert ("started afresh" in capsys.readouterr().out) == again
