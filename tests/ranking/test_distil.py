"""Ranking losses and distances: who is pulled where, what ties and priors do, how far two networks are apart."""

import numpy as np
import pytest
import torch

from nasedu import sampling, spaces
from nasedu.errors import ParameterError, UnknownName
from nasedu.ranking import Cached, RankingLoss, correlation, hamming
from nasedu.ranking.correlation import concordance, partial
from nasedu.ranking.distance import group_distance
from nasedu.ranking.distil import LOSSES, SCHEDULES

WEAK, STRONG = (0,), (1,)


def prior(arch):
    """The higher the choice, the better."""
    return float(arch[0])


def gradients(loss, first, second, archs):
    """The penalty, and its gradient by both losses (0 where there is none)."""
    a, b = (torch.tensor(float(x), requires_grad=True) for x in (first, second))
    value = loss(a, b, archs)
    found = torch.autograd.grad(value, (a, b), allow_unused=True)
    return float(value.detach()), [0.0 if g is None else float(g) for g in found]


@pytest.mark.parametrize("archs", [(WEAK, STRONG), (STRONG, WEAK)])
def test_the_papers_loss_is_symmetric_and_zero_when_concordant(archs):
    loss = RankingLoss(prior, weight=1.0)
    low, high = (2.0, 1.5) if archs[0] == WEAK else (1.5, 2.0)  # the strong one's loss is lower: concordant
    assert gradients(loss, low, high, archs) == (0.0, [0.0, 0.0])
    value, found = gradients(loss, high, low, archs)
    assert value == pytest.approx(0.5)
    assert found == (
        [-1.0, 1.0] if archs[0] == WEAK else [1.0, -1.0]
    )  # the strong one's loss falls, the weak one's rises


def test_a_margin_asks_for_more_than_the_order():
    loss = RankingLoss(prior, weight=1.0, margin=0.75)
    assert gradients(loss, 2.0, 1.5, (WEAK, STRONG)) == (0.25, [-1.0, 1.0])


def test_the_weaker_network_can_be_spared():
    loss = RankingLoss(prior, weight=1.0, detach="worse")
    assert gradients(loss, 1.5, 2.0, (WEAK, STRONG))[1] == [0.0, 1.0]
    assert gradients(loss, 2.0, 1.5, (STRONG, WEAK))[1] == [1.0, 0.0]


def test_the_public_form_teaches_the_second_alone_and_raises_its_loss_where_it_is_the_weaker():
    """z1 < z2: relu(L2 - sg(L1)); else, ties too: relu(sg(L1) - L2)."""
    loss = RankingLoss(prior, weight=1.0, detach="first", ties="first")
    assert gradients(loss, 1.5, 2.0, (WEAK, STRONG)) == (0.5, [0.0, 1.0])
    assert gradients(loss, 2.0, 1.5, (STRONG, WEAK)) == (0.5, [0.0, -1.0])
    assert gradients(loss, 2.0, 1.5, (WEAK, WEAK)) == (0.5, [0.0, -1.0])


def test_ties_and_failures_are_skipped():
    assert gradients(RankingLoss(prior), 1.0, 3.0, (WEAK, WEAK)) == (0.0, [0.0, 0.0])
    assert gradients(RankingLoss(lambda arch: -np.inf), 1.0, 3.0, (WEAK, STRONG)) == (0.0, [0.0, 0.0])


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(("gap", "ties"), [(0.0, "first"), (1e-46, "skip"), (np.inf, "skip"), (3e8, "skip")])
def test_no_loss_makes_gradients_that_are_not_finite(name, gap, ties):
    loss = RankingLoss(lambda arch: gap * arch[0], loss=name, ties=ties)
    for losses in ((1.0, 0.5), (0.5, 1.0)):
        assert np.isfinite(gradients(loss, *losses, (WEAK, STRONG))[1]).all()


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "tanh_product"])
def test_every_loss_punishes_discord_and_hardly_anything_else(name):
    d = torch.tensor([-4.0, 0.3, 1.0])
    far, some, more = LOSSES[name](d, torch.tensor(0.5)).tolist()
    assert 0 <= far < 0.02 < some < more


def test_the_published_family_by_hand():
    d, w = torch.tensor(0.4), torch.tensor(0.5)
    wanted = {
        "hinge": 0.4,
        "tanh": np.tanh(0.4),
        "logistic": -np.log(1 - 1 / (1 + np.exp(-0.4))),
        "softplus": np.log1p(np.exp(5 * 0.4)) / 5,
        "focal": -((1 / (1 + np.exp(-0.4))) ** 5) * np.log(1 - 1 / (1 + np.exp(-0.4))),
        "weighted_hinge": 0.2,
        "weighted_tanh": np.tanh(0.4) * np.tanh(0.5),
        "tanh_product": np.tanh(0.4) * np.tanh(0.5),
        "sigmoid": 0.5 - 1 / (1 + np.exp(0.8)),
    }
    assert {name: float(LOSSES[name](d, w)) for name in LOSSES} == pytest.approx(wanted, abs=1e-6)


def test_schedules_are_those_of_the_public_code():
    at = {name: [2 * SCHEDULES[name](epoch / 70) for epoch in (0, 5, 10, 20, 40, 60, 70)] for name in SCHEDULES}
    assert at["constant"] == [2] * 7
    assert at["linear"] == pytest.approx([min(2, e / 10) for e in (0, 5, 10, 20, 40, 60, 70)])
    assert at["sine"] == pytest.approx([2 * np.sin(0.8 * np.pi * e / 70) for e in (0, 5, 10, 20, 40, 60, 70)], abs=1e-6)
    assert at["stages"] == pytest.approx([0, 0, 2 / 3, 2, 2, 1, 0])
    loss = RankingLoss(prior, weight=2.0, schedule="linear")
    assert [gradients(loss.at(f), 1.0, 2.0, (WEAK, STRONG))[0] for f in (0.0, 1 / 7, 1.0)] == pytest.approx([0, 1, 2])


def test_a_prior_is_asked_once_for_each_network():
    asked = []
    loss = RankingLoss(lambda arch: asked.append(arch) or float(arch[0]))
    for fraction in (0.0, 0.5, 1.0):
        gradients(loss.at(fraction), 1.0, 2.0, (WEAK, STRONG))
    assert asked == [WEAK, STRONG]
    assert Cached(prior) == Cached(prior)


def test_what_cannot_be_is_refused():
    for options in ({"loss": "hing"}, {"schedule": "cosine"}, {"detach": "second"}, {"ties": "last"}):
        with pytest.raises(UnknownName):
            RankingLoss(prior, **options)
    with pytest.raises(ParameterError):
        RankingLoss(prior, weight=-1.0)


def test_distances_in_the_cells_of_rd_nas():
    """Group distance: mean 6.75, sd 2.19, above 6.7 in half of all pairs; Hamming: mean 4.5, sd 1.06."""
    space, rng = spaces.create("nasbench201", operations=4, width=0.25, depth=0.2), np.random.default_rng(0)
    assert space.size == 4096
    apart = group_distance(space)
    pairs = [(space.sample(rng), space.sample(rng)) for _ in range(20_000)]
    groups, plain = (np.array([f(a, b) for a, b in pairs]) for f in (apart, hamming))
    assert groups.mean() == pytest.approx(6.75, abs=0.06) and groups.std() == pytest.approx(2.19, abs=0.05)
    assert (groups > 6.7).mean() == pytest.approx(0.5, abs=0.02)
    assert plain.mean() == pytest.approx(4.5, abs=0.03) and plain.std() == pytest.approx(1.06, abs=0.03)
    names = ("skip_connect", "avg_pool_3x3", "nor_conv_1x1", "nor_conv_3x3")
    skip, pool, small, large = map(space.operations.index, names)
    ends = ((skip, skip), (skip, pool), (small, large), (pool, large))
    assert [apart((*[skip] * 5, a), (*[skip] * 5, b)) for a, b in ends] == [0, 0.5, 0.5, 2]


def test_digits_of_the_ranking_space_are_as_far_apart_as_published():
    """Over digits 5 to 51, zeros of absent blocks too: mean 34.3, sd 5.2, at least 33 in .65 of all pairs."""
    space, rng = spaces.create("resnet48"), np.random.default_rng(0)
    texts = [space.format(space.sample(rng))[5:] for _ in range(4000)]
    apart = np.array([hamming(a, b) for a, b in zip(texts[::2], texts[1::2], strict=True)])
    assert apart.mean() == pytest.approx(34.3, abs=0.4)
    assert apart.std() == pytest.approx(5.2, abs=0.3)
    assert (apart >= 33).mean() == pytest.approx(0.65, abs=0.03)
    with pytest.raises(ParameterError, match="same length"):
        hamming("12", "123")


def test_concordant_pairs_are_counted():
    assert concordance([1, 2, 3], [1, 3, 2]) == pytest.approx(2 / 3)
    assert concordance([1, 1, 3], [1, 2, 3]) == pytest.approx(2 / 3)  # a tie is no agreement
    assert concordance([np.nan, -np.inf, 3], [1, 2, 3]) == pytest.approx(2 / 3)  # failures are a tie, and last


def test_what_a_score_knows_beside_the_prior():
    rng = np.random.default_rng(0)
    known, hidden = rng.normal(size=(2, 400))
    truth = known + hidden
    copies, adds = known + 0.3 * rng.normal(size=400), known + 0.8 * hidden
    assert correlation(copies, truth).value > 0.4 and partial(copies, truth, known) < 0.2
    assert abs(partial(copies, truth, known, "pearson")) < 0.1
    assert partial(adds, truth, known) > 0.5
    assert np.isnan(partial(known, truth, known))
    tau = [correlation(a, b).value for a, b in ((adds, truth), (adds, known), (truth, known))]
    by_hand = (tau[0] - tau[1] * tau[2]) / np.sqrt((1 - tau[1] ** 2) * (1 - tau[2] ** 2))
    assert partial(adds, truth, known) == pytest.approx(by_hand)


def test_widths_and_depths_are_no_operations():
    """Their choices are one group: 0.5 apart, however large the step."""
    space = spaces.create("resnet48:course")
    apart = group_distance(space)
    largest, smallest = [n - 1 for n in space.choices], [0] * len(space.choices)
    assert apart(tuple(largest), tuple(smallest)) == 0.5 * sum(n > 1 for n in space.choices)


def test_what_no_pair_can_learn_from_is_refused():
    space = spaces.create("nasbench201:course")
    shrinking = sampling.create("progressive", space)
    with pytest.raises(ParameterError, match="progressive shrinking"):
        sampling.Pairs(base=shrinking)
    for wrong in ("macs", None):
        with pytest.raises(ParameterError, match="prior"):
            RankingLoss(wrong)
    for fraction in (float("nan"), -0.1, 1.5):
        with pytest.raises(ParameterError, match="fraction"):
            RankingLoss(prior).at(fraction)
