"""NAS-Bench-201's cells: the benchmark's strings and counts, shared decisions, one description read two ways."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from nasedu import spaces
from nasedu.errors import ArchitectureError, ParameterError, UnknownName
from nasedu.hardware import count
from nasedu.sampling import one_hot
from nasedu.spaces.nasbench201 import OPERATIONS
from nasedu.supernet.mixed import Subset
from nasedu.tables import LookupTable

SMALL = {"width": 0.25, "depth": 0.4, "input_size": 16}
BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
BIASES = 10  # of the classifier: the benchmark's table counts them as multiply-accumulates


@pytest.fixture(scope="module")
def full():
    return spaces.create("nasbench201")


@pytest.fixture(scope="module")
def published_rows():
    """200 random cells of the published table."""
    folder = os.environ.get("NASEDU_DATA")
    if not folder:
        pytest.skip("NASEDU_DATA does not name a folder with real data")
    frame = pd.read_csv(Path(folder) / "nb201" / "nb201.csv.gz")
    return frame.sample(200, random_state=0).set_index("arch")[["c10_params_M", "c10_flops_M"]]


def counted(space, arch):
    with torch.device("meta"):
        return count(space.build(arch), space.input_shape)


def test_all_cells_share_six_decisions(full):
    assert full.size == 15625 and type(full.size) is int
    assert full.choices == [5] * 6 and len(full.slots) == 15 * 6 and len(full.groups) == 6
    assert {d.choices for d in full.decisions} == {OPERATIONS}
    assert all(full.deciding[f"cell{s}_{c}_1to3"] == (4,) for s in (1, 2, 3) for c in range(1, 6))
    network = full.build(full.parse(BEST))
    chosen = [[type(network.parts[f"cell{s}_{c}_0to3"]) for c in range(1, 6)] for s in (1, 2, 3)]
    assert chosen == [[nn.Identity] * 5] * 3
    widths = [network.parts[f"cell{s}_5_0to1"][1].out_channels for s in (1, 2, 3)]
    assert widths == [16, 32, 64] and network.parts["stem"].conv.stride == (1, 1)


def test_the_published_best_cell_has_its_counts():
    space, arch = spaces.published("nasbench201", "best on CIFAR-10")
    stated = spaces.published("nasbench201")["best on CIFAR-10"]
    cost = counted(space, arch)
    assert (cost.macs, cost.params) == (stated.macs, stated.params) == (153_272_960, 1_073_466)
    assert space.format(arch) == BEST and "94.37" in stated.source


def test_counts_are_the_tables_on_200_random_cells(full, published_rows):
    macs, params = LookupTable.build(full, "macs"), LookupTable.build(full, "params")
    assert full.size == 15625
    for text, (millions, flops) in published_rows.iterrows():
        arch = full.parse(text)
        assert full.format(arch) == text
        assert round(params(arch) / 1e6, 5) == millions
        assert round((macs(arch) + BIASES) / 1e6, 5) == flops
    for text in published_rows.index[:10]:
        cost = counted(full, full.parse(text))
        assert (cost.macs, cost.params) == (macs(full.parse(text)), params(full.parse(text)))


def test_tables_are_exact_for_100_random_cells():
    space, rng = spaces.create("nasbench201", width=0.25, depth=0.2, input_size=8), np.random.default_rng(0)
    macs, params = LookupTable.build(space, "macs"), LookupTable.build(space, "params")
    for _ in range(100):
        arch = space.sample(rng)
        cost = counted(space, arch)
        assert (macs(arch), params(arch)) == (cost.macs, cost.params)
    low, high = macs.bounds()
    assert high > 3 * low


def test_strings_print_and_parse_in_the_benchmarks_order(full):
    arch = (0, 1, 2, 3, 4, 0)
    text = "|none~0|+|skip_connect~0|nor_conv_1x1~1|+|nor_conv_3x3~0|avg_pool_3x3~1|none~2|"
    assert full.format(arch) == text and full.parse(text) == arch
    assert full.parse(f"  {text}\n") == arch
    rng = np.random.default_rng(0)
    assert all(full.parse(full.format(a)) == a for a in (full.sample(rng) for _ in range(50)))
    few = spaces.create("nasbench201", operations=["nor_conv_3x3", "none"])
    assert few.size == 64 and few.format((1, 0, 0, 0, 0, 1)).startswith("|none~0|+|nor_conv_3x3~0|")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "none",
        BEST[:-3],
        BEST.replace("~2", "~1"),  # an edge twice, another never
        BEST.replace("+", ""),
        "|" + BEST,
        BEST.replace("|nor_conv_3x3~0|+", "|~0|+", 1),
        "stage1_1: k3e1\nstage2_1: k3e1\n",
    ],
)
def test_malformed_strings_are_refused_in_a_sentence(full, text):
    with pytest.raises(ArchitectureError, match=r"a cell of nasbench201 reads \|op~0\|\+") as error:
        full.parse(text)
    assert "\n" not in str(error.value)


def test_unknown_operations_and_other_spaces_are_refused(full):
    with pytest.raises(UnknownName, match="unknown operation 'nor_conv_3x4': did you mean 'nor_conv_3x3'"):
        full.parse(BEST.replace("nor_conv_3x3", "nor_conv_3x4", 1))
    with pytest.raises(UnknownName, match="avg_pool"):
        spaces.create("nasbench201", operations=["none", "avg_pool"])
    few = spaces.create("nasbench201", operations=["none", "skip_connect"])
    with pytest.raises(UnknownName, match="operation 'nor_conv_3x3'"):  # a cell that this space does not hold
        few.parse(BEST)
    with pytest.raises(ArchitectureError):
        spaces.create("fbnet", **spaces.COURSE).parse(BEST)
    for operations in (["none", "none"], ["none"], []):
        with pytest.raises(ParameterError, match="two different operations"):
            spaces.create("nasbench201", operations=operations)
    with pytest.raises(UnknownName, match="'pol'"):
        spaces.create("nasbench201", reduction="pol")


def test_options_change_what_they_say(full):
    def network(**options):
        space = spaces.create("nasbench201", **SMALL, **options)
        return space, space.build((3,) * 6)

    plain = network()[1]
    assert [d for d in dict(plain.parts) if d.endswith("node3")] == [
        f"cell{s}_{c}_node3" for s in (1, 2, 3) for c in (1, 2)
    ]
    assert plain.parts["stem"].conv.out_channels == 4 and plain(torch.zeros(2, 3, 16, 16)).shape == (2, 10)
    pooled = network(reduction="pool")[1]
    kernels = {m.kernel_size for m in pooled.parts["reduce2"].modules() if isinstance(m, nn.Conv2d)}
    assert kernels == {(1, 1)} != {m.kernel_size for m in plain.parts["reduce2"].modules() if isinstance(m, nn.Conv2d)}
    assert network(num_classes=7)[1].parts["classify"].linear.out_features == 7
    assert network(stem_stride=2)[1].parts["stem"].conv.stride == (2, 2)
    acts = {type(m) for m in network(activation="hardswish")[1].modules()}
    assert nn.Hardswish in acts and nn.ReLU not in acts
    made = [{}, {"reduction": "pool"}, {"operations": OPERATIONS[:3]}, {"operations": OPERATIONS[::-1]}]
    made += [{"activation": "silu"}, {"squeeze_excite": True}, {"stem_stride": 2}, {"num_classes": 7}]
    assert len({spaces.create("nasbench201", **SMALL, **options).fingerprint for options in made}) == len(made)
    odd = spaces.create("nasbench201", width=0.25, depth=0.2, input_size=9)  # 9, 5 and 3 px: both branches agree
    assert odd.build((1,) * 6)(torch.zeros(2, 3, 9, 9)).shape == (2, 10)


@pytest.mark.parametrize(
    "options", [{}, {"reduction": "pool", "operations": OPERATIONS[:4]}, {"squeeze_excite": True, "activation": "silu"}]
)
def test_one_hot_hard_mixed_and_inherited_agree(options, randomised):
    space = spaces.create("nasbench201", **SMALL, **options)
    torch.manual_seed(0)
    supernet, images, rng = randomised(space.supernet()), torch.randn(2, 3, 16, 16), np.random.default_rng(0)
    outputs = []
    for _ in range(4):
        arch = space.sample(rng)
        soft = one_hot(arch, space.choices)
        mixed = [index if i % 2 else entry for i, (index, entry) in enumerate(zip(arch, soft, strict=True))]
        mixed[0] = Subset((arch[0],), torch.ones(1))
        wanting = [entry.clone().requires_grad_() for entry in soft]  # every operation runs
        with torch.no_grad():
            alone = space.inherit(supernet, arch).eval()(images)
            for path in (arch, soft, mixed, wanting):
                assert (supernet(images, path) - alone).abs().max() <= 1e-5 * alone.abs().max().clamp_min(1)
        outputs.append(alone)
    assert min((a - b).abs().max() for i, a in enumerate(outputs) for b in outputs[:i]) > 1e-3


def test_a_soft_path_is_the_weighted_sum_at_every_edge(randomised):
    """On one edge that is soft, the node's input is the mixture: not one operation, nor a mean over all."""
    space = spaces.create("nasbench201", **SMALL)
    torch.manual_seed(0)
    edge, x = randomised(space.supernet()).parts["cell1_1_0to1"], torch.randn(2, 4, 8, 8)
    weights = torch.tensor([0.1, 0.2, 0.3, 0.25, 0.15])
    expected = sum(w * op(x) for w, op in zip(weights, edge.operations, strict=True))
    torch.testing.assert_close(edge(x, weights), expected)
    for index, expect in ((0, torch.zeros_like(x)), (1, x)):
        torch.testing.assert_close(edge(x, index), expect)
    pooled = edge(torch.ones(1, 4, 8, 8), 4)
    torch.testing.assert_close(pooled, torch.ones(1, 4, 8, 8))  # padding is not counted
