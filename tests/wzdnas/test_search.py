"""Phase 2 as a whole: what a stored search belongs to."""

from __future__ import annotations

import pytest
import torch

from nasedu import spaces, wzdnas
from nasedu.errors import ParameterError
from nasedu.search import DescentConfig
from nasedu.tables import LookupTable


def test_a_stored_search_starts_afresh_when_tables_target_or_images_changed(tmp_path, capsys):
    space = spaces.create("yolo", num_classes=2, image_size=32)
    torch.manual_seed(0)
    supernet, images = space.supernet(), torch.rand(2, 3, 32, 32)
    tables = wzdnas.cost_tables(space)
    target = wzdnas.read_goal("30%", tables).value

    def search(images=images, tables=tables, target=target):
        config = wzdnas.WZDNASConfig(target=target, steps=4, every=2)
        return wzdnas.search(space, supernet, images, tables, config, state=tmp_path / "s.pt")[0]

    first = search()
    assert torch.equal(search().theta, first.theta)
    dearer = LookupTable(space, "depth", "blocks", 0.0, [2 * e for e in tables["depth"].entries])
    for change in ({"tables": tables | {"depth": dearer}}, {"target": 1.1 * target}, {"images": 1 - images}):
        capsys.readouterr()
        search(**change)
        assert "s.pt was stored with other settings" in capsys.readouterr().out


@pytest.mark.parametrize("bad", [{"steps": 0}, {"every": 0}, {"stages": 0}, {"lr": 0.0}, {"temperature": (5.0, 0.0)}])
def test_settings_that_would_hang_or_divide_by_zero_are_refused(bad):
    with pytest.raises(ParameterError):
        DescentConfig(**bad)


@pytest.mark.parametrize("proxy", ["naswot", "none"])
def test_an_elan_search_starts_as_published_and_reaches_its_goal(proxy):
    """All choices alike, but that a chain is read to its end with .818; a gate's argmax is its sigmoid above .5."""
    space = spaces.create("yolo", template="elan", num_classes=2, image_size=32)
    supernet, images = space.supernet(seed=0), torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    tables = wzdnas.cost_tables(space)
    goal = wzdnas.read_goal("hand", tables)
    config = wzdnas.WZDNASConfig(target=goal, proxy=proxy, steps=400, every=200, lr=0.05)
    descent, _ = wzdnas.search(space, supernet, images, tables, config)
    first = descent.history[0]["probabilities"][0]
    for row, decision in zip(first, space.decisions, strict=True):
        wanted = (
            [0.182, 0.818] if decision.name.endswith("out3") else [1 / len(decision.choices)] * len(decision.choices)
        )
        assert row[: len(wanted)].tolist() == pytest.approx(wanted, abs=1e-3), decision.name
    derived = goal.derive(descent.path(config.temperature[1]))
    assert abs(goal.table(derived.arch) / goal.value - 1) <= 0.03
