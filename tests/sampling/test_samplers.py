"""Which paths samplers take: fairness that uniform sampling lacks, a sandwich's order, a table's extremes."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest
import torch
from torch import nn

from nasedu import spaces
from nasedu.classification import recipe
from nasedu.data import ImageSet
from nasedu.errors import ArchitectureError, BudgetError, ParameterError, UnknownName
from nasedu.ranking import hamming
from nasedu.sampling import (
    Gumbel,
    Pairs,
    Sandwich,
    Softmax,
    StrictFairness,
    Uniform,
    samplers,
    supernet_step,
)
from nasedu.sampling.samplers import Pair
from nasedu.tables import LookupTable
from nasedu.task import Classification, fit
from nasedu.training import train


def check_fair(paths, choices) -> None:
    """Strict fairness: in every step, every decision's choices occur equally often."""
    for d, n in enumerate(choices):
        counts = Counter(path[d] for path in paths)
        assert [counts[i] for i in range(n)] == [len(paths) // n] * n, "some choices are trained more often than others"


def test_strict_fairness_deals_a_permutation_per_decision(space, generator):
    for _ in range(50):
        paths = StrictFairness().paths(space, generator)
        assert len(paths) == 4 and all(isinstance(i, int) for path in paths for i in path)
        check_fair(paths, space.choices)


def test_uniform_sampling_is_not_strictly_fair(space, generator):
    fair = 0
    for _ in range(50):
        paths = [path for _ in range(4) for path in Uniform().paths(space, generator)]
        try:
            check_fair(paths, space.choices)
        except AssertionError:
            continue
        fair += 1
    assert fair == 0  # by chance (4! / 4^4)^3 = 0.0008 of the steps are


def test_permutations_of_different_decisions_are_independent(space, generator):
    """Every pair of choices of two decisions meets equally often; one shared permutation would never mix them."""
    n = 3000
    met = Counter(path[:2] for _ in range(n) for path in StrictFairness().paths(space, generator))
    assert len(met) == 16
    assert all(abs(count / n - 0.25) < 0.04 for count in met.values())
    first = Counter(tuple(path[0] for path in StrictFairness().paths(space, generator)) for _ in range(n))
    assert len(first) == 24 and max(first.values()) < 2 * n / 24  # all orders, about equally often


def test_decisions_with_fewer_choices_differ_by_one_at_most_and_agree_on_average(uneven, generator):
    totals = [Counter() for _ in uneven.choices]
    for _ in range(2000):
        paths = StrictFairness().paths(uneven, generator)
        assert len(paths) == 4
        for d, n in enumerate(uneven.choices):
            counts = Counter(path[d] for path in paths)
            assert max(counts.values()) - min(counts[i] for i in range(n)) <= (1 if 4 % n else 0)
            totals[d] += counts
    assert all(totals[1][i] / 8000 == pytest.approx(1 / 3, abs=0.01) for i in range(3))


def test_uniform_is_uniform_and_independent(uneven, generator):
    seen = Counter(Uniform().paths(uneven, generator)[0] for _ in range(12_000))
    assert len(seen) == 24 and all(abs(count / 12_000 - 1 / 24) < 0.01 for count in seen.values())


def test_a_sandwich_is_biggest_smallest_random(space, generator):
    sampler = Sandwich((3, 3, 3), (0, 0, 0), n=5)
    seen = set()
    for _ in range(20):
        biggest, smallest, *others = sampler.paths(space, generator)
        assert biggest == (3, 3, 3) and smallest == (0, 0, 0) and len(others) == 3
        seen |= set(others)
    assert len(seen) > 30
    assert Sandwich((1, 1, 1), (0, 0, 0), n=2).paths(space, generator) == [(1, 1, 1), (0, 0, 0)]
    with pytest.raises(ArchitectureError, match="3 decisions, the architecture has 1"):
        Sandwich((1,), (0,)).paths(space, generator)
    with pytest.raises(ParameterError, match="from 2 to 10000, got 1"):
        Sandwich((1,), (0,), n=1)


def test_the_same_generator_gives_the_same_paths(space):
    logits = [torch.randn(4) for _ in range(3)]
    for sampler in (Uniform(), StrictFairness(), Sandwich((3, 3, 3), (0, 0, 0))):
        draws = [sampler.paths(space, torch.Generator().manual_seed(s)) for s in (5, 5, 6)]
        assert draws[0] == draws[1] != draws[2]
    ((a,), (b,)) = (Gumbel(logits).paths(space, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(torch.stack(a), torch.stack(b))


def test_gumbel_anneals_with_the_fraction_that_it_is_given(toy, generator):
    logits, space = [torch.zeros(4)] * 2000, toy([4] * 2000)
    sampler = Gumbel(logits, start=5.0, end=0.1)
    peaks = []
    for fraction in (0.0, 0.5, 1.0):
        (path,) = sampler.at(fraction).paths(space, generator)
        peaks.append(float(torch.stack(path).max(-1).values.mean()))
    assert 0.25 < peaks[0] < 0.45 < peaks[1] < 0.85 < peaks[2]
    assert sampler.at(1.0).temperature == pytest.approx(0.1) and sampler.temperature == 5.0
    (path,) = Softmax(logits, 2.0).paths(space, generator)
    assert path[0].tolist() == [0.25] * 4


def test_samplers_by_name(uneven, generator):
    assert samplers.names() == ["uniform", "fair", "sandwich", "progressive", "pairs", "softmax", "gumbel", "gates"]
    for name in ("uniform", "fair", "softmax", "gumbel", "gates"):
        for path in samplers.create(name, uneven).paths(uneven, generator):
            assert len(path) == 4
    assert samplers.create("gates", uneven, mode="two").mode == "two"
    with pytest.raises(UnknownName, match="did you mean 'fair'"):
        samplers.create("fairness", uneven)
    with pytest.raises(UnknownName, match="option of gumbel"):
        samplers.create("gumbel", uneven, starts=3)
    assert samplers.create("gumbel", uneven).at(1.0).temperature == pytest.approx(0.1)
    with pytest.raises(UnknownName, match="option of uniform"):
        samplers.create("uniform", uneven, temperature=3)


@pytest.mark.parametrize(
    "options",
    [{"start": math.nan}, {"start": 0}, {"end": 0}, {"end": "1"}, {"end": math.nan}, {"fraction": math.nan}],
)
def test_temperatures_that_are_none_are_refused(options):
    with pytest.raises(ParameterError, match=f"{next(iter(options))}, .* must be a number"):
        Gumbel(**options)


def test_a_training_anneals_its_sampler_from_start_to_end(space, supernet):
    """One temperature an epoch: the last epoch's is the end."""
    seen = []

    class Watched(Gumbel):
        def paths(self, space, generator):
            seen.append(self.temperature)
            return super().paths(space, generator)

    batch = torch.zeros(2, 4), torch.zeros(2, dtype=torch.long)
    step = supernet_step(space, Watched(start=4.0, end=0.25), Classification(None))
    train(supernet, lambda epoch: [batch] * 2, step, recipe(3))
    assert seen == pytest.approx([4.0, 4.0, 1.0, 1.0, 0.25, 0.25])
    assert step.sampler.fraction == 0  # what was handed in is as it was


def test_the_first_path_has_nothing_to_do_with_the_first_image(toy):
    """Over 300 seeds: drawn from one stream, the first choice of three is the first image's index mod 3."""
    space, firsts = toy([3, 3]), []

    class Watching(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.seen = nn.Parameter(torch.zeros(3)), []

        def forward(self, x, path):
            self.seen.append((int(x[0, 0, 0, 0]), path[0]))
            return self.weight.expand(len(x), 3)

    numbers = torch.arange(12)
    images = ImageSet(
        "numbers", "train", list("abc"), numbers.float().view(-1, 1, 1, 1).repeat(1, 3, 2, 2), numbers % 3
    )
    for seed in range(300):
        task, model = Classification(images, batch_size=12, seed=seed), Watching()
        fit(model, task, recipe(1), supernet_step(space, Uniform(), task), seed=seed)
        firsts.append(model.seen[0])
    same = sum(image % 3 == choice for image, choice in firsts)
    assert abs(same - 100) < 4 * (300 * 1 / 3 * 2 / 3) ** 0.5
    assert len(set(firsts)) == 36  # both are drawn, too


def test_progressive_shrinking_starts_with_the_largest_and_reaches_every_choice(generator):
    space = spaces.create("yolo:tiny", num_classes=3, image_size=64)
    sampler, table = samplers.create("progressive", space), LookupTable.build(space, "macs")
    (most, _), depths = table.extremes(), [i for i, d in enumerate(space.decisions) if "depth" in d.name]
    assert set(sampler.at(0.0).paths(space, generator)) == {most}
    half = [path for _ in range(200) for path in sampler.at(0.5).paths(space, generator)]
    for d, n in enumerate(space.choices):
        seen = {path[d] for path in half}
        assert seen == (set(range(n)) if d in depths else {most[d]})  # depths shrink before widths do
    end = [path for _ in range(300) for path in sampler.at(1.0).paths(space, generator)]
    assert all({path[d] for path in end} == set(range(n)) for d, n in enumerate(space.choices))
    opened = [
        len({path[depths[0]] for _ in range(60) for path in sampler.at(f).paths(space, generator)})
        for f in (0, 0.2, 0.4, 0.5)
    ]
    assert opened == sorted(opened) and opened[0] == 1 and opened[-1] == space.choices[depths[0]]


def test_progressive_shrinking_where_nothing_is_called_depth(generator):
    space = spaces.create("nasbench201:course")
    sampler = samplers.create("progressive", space, n=2)
    assert len(sampler.paths(space, generator)) == 2
    dearest = space.operations.index("nor_conv_3x3")
    assert set(sampler.paths(space, generator)) == {(dearest,) * 6}
    end = [path for _ in range(200) for path in sampler.at(1.0).paths(space, generator)]
    assert all({path[d] for path in end} == set(range(5)) for d in range(6))


def test_pairs_are_far_enough_apart_and_uniform_among_those(toy, generator):
    space = toy([3, 3])
    sampler = Pairs(distance=hamming, above=1)
    draws = Counter(sampler.paths(space, generator)[0] for _ in range(9000))
    accepted = {
        (a, b)
        for a in itertools.product(range(3), repeat=2)
        for b in itertools.product(range(3), repeat=2)
        if hamming(a, b) > 1
    }
    assert draws.keys() == accepted
    expected = 9000 / len(accepted)
    assert sum((n - expected) ** 2 / expected for n in draws.values()) < 1.8 * len(accepted)


def test_pairs_follow_the_paths_of_another_sampler_and_give_up_after_so_many_tries(toy, generator):
    space = toy([3, 3])
    sampler = Pairs(2, Sandwich((2, 2), (0, 0), 3), hamming)
    *before, first, second = sampler.paths(space, generator)
    assert len(before) == 3 and before[0] == (2, 2) and sampler.distils
    assert isinstance(first, Pair) and isinstance(second, Pair)
    assert not Pairs().distils
    with pytest.raises(BudgetError, match=r"none of 50 pairs of toy was more than 5 apart, the farthest 2"):
        Pairs(distance=hamming, above=5, tries=50).paths(space, generator)


def test_uniform_paths_may_be_several(space, generator):
    assert len(set(Uniform(8).paths(space, generator))) > 4
    with pytest.raises(ParameterError):
        Uniform(0)


def test_what_no_sampler_can_use_is_refused_at_once(toy):
    space = toy([3, 3])
    table = LookupTable(space, "macs", "MACs", 0.0, [torch.arange(3.0).double() for _ in range(2)])
    for phases in ([("zzz", (0, 1))], [("", (1, 0))], [("", (0, 5))]):
        with pytest.raises(ParameterError, match="phases open decisions"):
            samplers.create("progressive", space, table=table, phases=phases)
    for options in ({"n": 0}, {"distance": 3}, {"base": 3}, {"tries": 0}):
        with pytest.raises(ParameterError):
            Pairs(**options)
    with pytest.raises(ParameterError):
        samplers.create("progressive", space, table=table, n=0)
