"""Tables from whole networks, on devices that are made up: what they find where the truth is known, and where not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from nasedu import randomness, spaces
from nasedu.errors import ArchitectureError, ParameterError
from nasedu.tables import LookupTable, estimate, random_networks, stored, study


def wrong(table, spread, seed=1):
    """Blocks that a device timed alone: every one off by a factor of its own, and each with the price of a call."""
    draw = np.random.default_rng(seed)
    entries = [e * torch.tensor(np.exp(spread * draw.normal(size=e.shape))) + 0.02 for e in table.entries]
    return replace(table, fixed=3 * table.fixed, entries=entries, provenance={"device": "made up", "how": "alone"})


def error(table, truth, seed=100):
    """The mean relative error on networks that nobody measured."""
    archs = random_networks(truth.space, 200, seed)
    return float(np.mean([abs(table(arch) / truth(arch) - 1) for arch in archs]))


@pytest.fixture(scope="module")
def cell():
    return stored(spaces.create("nasbench201:course"), "latency_ms")


@pytest.fixture(scope="module")
def fbnet():
    return stored(spaces.create("fbnet:course"), "latency_ms")


def test_wrong_blocks_of_an_additive_device_become_right_ones(cell):
    blocks, archs = wrong(cell, 0.5), random_networks(cell.space, 40)
    found = estimate(blocks, archs, [cell(a) for a in archs])
    assert found.sum.mape > 0.3 and found.scaled.mape > 0.05
    assert found.after.mape < 0.01, "37 prices, of which 6 constants are free, from 40 networks"
    assert error(found.table, cell) < 0.01


@pytest.mark.parametrize("n", [20, 60])
def test_with_fewer_networks_than_prices_the_prior_does_the_rest(fbnet, n):
    """Without it, least squares of the smallest norm is several times as far off."""
    blocks, archs = wrong(fbnet, 0.2), random_networks(fbnet.space, n)
    measured = np.array([fbnet(a) for a in archs])
    found = estimate(blocks, archs, measured)
    assert error(found.table, fbnet) < 0.05 < found.sum.mape
    one_hot = [np.concatenate([np.eye(len(e))[a[d]] for d, e in enumerate(fbnet.entries)]) for a in archs]
    prices = np.linalg.lstsq(np.array(one_hot), measured - measured.mean(), rcond=None)[0]
    sizes = np.cumsum([len(e) for e in fbnet.entries])[:-1]
    entries = [torch.tensor(part) for part in np.split(prices, sizes)]
    alone = LookupTable(fbnet.space, "own", "ms", measured.mean(), entries, own=True)
    assert error(alone, fbnet) > 2 * error(found.table, fbnet)


def test_a_count_is_a_prior_once_it_is_scaled(fbnet):
    macs, archs = stored(fbnet.space, "macs"), random_networks(fbnet.space, 60)
    found = estimate(macs, archs, [fbnet(a) for a in archs])
    assert found.sum is None, "MACs are no milliseconds"
    assert found.after.mape < 0.7 * found.scaled.mape < 0.1
    assert found.table.metric == "latency_ms" and found.table.unit == "ms"
    again = estimate(replace(macs, entries=[1e-7 * e for e in macs.entries]), archs, found.measured)
    assert again.held_out == pytest.approx(found.held_out), "the unit of the prior must not matter"
    assert "a line through macs" in str(found)


def test_what_is_a_line_of_the_prior_is_found_exactly_and_without_a_single_surplus(fbnet):
    archs = random_networks(fbnet.space, 12)
    archs = [(0, *arch[1:]) for arch in archs]  # no network has another first choice
    found = estimate(fbnet, archs, [0.7 + 1.4 * (fbnet(a) - fbnet.fixed) for a in archs])
    assert found.table.fixed == pytest.approx(0.7) and found.after.mape < 1e-9
    for got, entry in zip(found.table.entries, fbnet.entries, strict=True):
        assert got.tolist() == pytest.approx((1.4 * entry).tolist()), "what was never measured keeps the prior, scaled"
    first = fbnet.space.group_names[0]
    unseen = [name for name in found.unseen if name.startswith(f"{first} ")]
    assert len(unseen) == len(fbnet.entries[0]) - 1 and f"{len(found.unseen)} options were in no network" in str(found)


def test_options_of_one_name_learn_from_one_another(fbnet):
    """All options of one name take twice as long; in the last block nobody measured it, and its price rises, too."""
    name = "k3e6"
    places = [d.choices.index(name) for d in fbnet.space.decisions]
    factors = [torch.ones_like(e) for e in fbnet.entries]
    for factor, place in zip(factors, places, strict=True):
        factor[place] = 2.0
    device = replace(fbnet, entries=[f * e for f, e in zip(factors, fbnet.entries, strict=True)])
    archs = [a for a in random_networks(fbnet.space, 80) if a[-1] != places[-1]][:60]
    found = estimate(fbnet, archs, [device(a) for a in archs])
    rise = found.table.entries[-1] - fbnet.entries[-1]
    rise = float(rise[places[-1]] - rise[[i for i in range(len(rise)) if i != places[-1]]].mean())
    assert rise > 0.5 * float(fbnet.entries[-1][places[-1]])
    assert found.after.mape < 0.5 * found.scaled.mape


def test_no_table_says_an_interaction_and_the_error_does_not_hide_it(cell):
    def device(arch):
        return cell(arch) * (1 + 0.3 * (arch[0] == arch[3]))

    archs = random_networks(cell.space, 60)
    found = estimate(cell, archs, [device(a) for a in archs])
    others = random_networks(cell.space, 300, seed=7)
    truth = np.mean([abs(found.table(a) / device(a) - 1) for a in others])
    assert 0.05 < truth == pytest.approx(found.after.mape, rel=0.3)


def test_noise_is_not_learnt(cell):
    draw, archs = np.random.default_rng(0), random_networks(cell.space, 24)
    found = estimate(cell, archs, [cell(a) * (1 + 0.1 * draw.normal()) for a in archs])
    assert error(found.table, cell) < 0.06, "the prior is right, and its line is all that there is to find"
    assert study(found.table, archs, found.measured).mape <= found.after.mape
    assert found.strength > 0.1


def test_the_error_is_of_networks_that_took_no_part(cell):
    """Neither in the prices, nor in the scale, nor in the strength of the prior."""
    archs, draw = random_networks(cell.space, 20), np.random.default_rng(0)
    blocks = wrong(cell, 0.3)
    measured = np.array([cell(a) * (1 + 0.05 * draw.normal()) for a in archs])
    found, held_out = estimate(blocks, archs, measured, folds=4, seed=3), np.empty(20)
    for fold in np.array_split(randomness.rng(3, "folds").permutation(20), 4):
        rest = [i for i in range(20) if i not in fold]
        table = estimate(blocks, [archs[i] for i in rest], measured[rest]).table
        held_out[fold] = [table(archs[i]) for i in fold]
    assert found.held_out == pytest.approx(held_out)
    assert found.after.mape == pytest.approx(np.abs(held_out / measured - 1).mean())
    assert estimate(blocks, archs, measured, folds=4, seed=3).held_out == found.held_out
    assert estimate(blocks, archs, measured, folds=4, seed=4).held_out != found.held_out


def test_noise_makes_the_prior_stronger(cell):
    archs, draw = random_networks(cell.space, 16), np.random.default_rng(5)
    blocks = wrong(cell, 0.5)
    clean = estimate(blocks, archs, [cell(a) for a in archs])
    noisy = estimate(blocks, archs, [cell(a) * (1 + 0.2 * draw.normal()) for a in archs])
    assert clean.strength < 0.1 * noisy.strength


def test_no_price_is_below_0_and_a_constant_moves_before_any_is_cut(cell):
    """A device whose dear options cost less than the blocks say: their surplus is negative."""
    archs = random_networks(cell.space, 60)
    device = replace(cell, fixed=0.0, entries=[e.max() - e for e in cell.entries])
    found = estimate(cell, archs, [0.01 + device(a) for a in archs])
    assert found.table.bounds()[0] >= 0 and all(bool((e >= 0).all()) for e in found.table.entries)
    assert found.set_to_0 == 0 and found.after.mape < 0.02
    # a fixed part that is far too small for what the line takes off: something has to be cut, and is told
    one = [1.0 + 50.0 * (a[0] == 1) * (a[1] == 1) + 1e-3 * i for i, a in enumerate(archs)]
    cut = estimate(cell, archs, one)
    assert cut.table.bounds()[0] >= 0
    assert cut.table.provenance["estimate"]["set_to_0"] == cut.set_to_0


def test_a_prior_that_says_nothing_leaves_the_mean_of_options(cell):
    archs = random_networks(cell.space, 60)
    nothing = replace(cell, entries=[0 * e for e in cell.entries])
    found = estimate(nothing, archs, [cell(a) for a in archs])
    assert found.after.mape < 0.01 < found.scaled.mape


def test_the_table_says_where_it_comes_from(cell, tmp_path):
    blocks, archs = wrong(cell, 0.3), random_networks(cell.space, 30)
    found = estimate(blocks, archs, [cell(a) for a in archs])
    found.table.save(tmp_path / "table.json")
    table = LookupTable.load(tmp_path / "table.json", cell.space)
    about = table.provenance["estimate"]
    assert (about["networks"], about["prior"]) == (30, "latency_ms")
    assert about["mape_after"] == pytest.approx(found.after.mape, rel=1e-5)
    assert about["mape_sum"] == pytest.approx(study(blocks, archs, found.measured).mape, rel=1e-5)
    assert table.provenance["device"] == "made up", "a device whose blocks were timed is the networks'"
    assert table.provenance["how"] == "estimated from whole networks" and blocks.provenance["how"] == "alone"
    counted = estimate(stored(cell.space, "macs"), archs, found.measured).table.provenance
    assert counted.keys() == {"how", "estimate"} and "mape_sum" not in counted["estimate"]
    assert "30 networks" in str(found) and "the sum of the blocks" in str(found)


def test_what_cannot_be_estimated_is_refused(cell):
    archs = random_networks(cell.space, 12)
    times = [cell(a) for a in archs]
    with pytest.raises(ParameterError, match="10 networks and 2 folds or more, got 9 and 5"):
        estimate(cell, archs[:9], times[:9])
    for folds in (1, 13):
        with pytest.raises(ParameterError, match="folds"):
            estimate(cell, archs, times, folds=folds)
    with pytest.raises(ParameterError):
        estimate(cell, archs, times[:-1])
    with pytest.raises(ParameterError, match="positive"):
        estimate(cell, archs, [0.0, *times[1:]])
    with pytest.raises(ArchitectureError):
        estimate(cell, [(9,) * 6, *archs[1:]], times)
    score = LookupTable(cell.space, "naswot", "log |det K| per image", 0.0, cell.entries)
    with pytest.raises(ParameterError, match="not naswot"):
        estimate(score, archs, times)
