# %% [markdown]
# # ProxylessNAS: a space of kernels, widths and skips
#
# Build the block that mobile networks are made of, turn its settings into questions, and count and price every answer.
#
# A search space is a list of questions. ProxylessNAS asks the same one 21 times: *which kernel, how wide inside, or
# no block at all?* That makes 221 thousand million million networks. One of them reached 74.6 % on ImageNet in 78 ms on
# a phone (the authors' figures), and at the end of this notebook you have rebuilt it.
#
# **Afterwards you can**
#
# 1. write an inverted residual (MBConv) in a few lines, and say which of its three layers costs what;
# 2. count a space whose blocks cannot all be skipped;
# 3. run one network, or all of them at once, inside one supernet;
# 4. price any network of the space with a table, and rebuild a published network to the last multiplication.
#
# **You need** PyTorch and an idea of convolutional networks.
#
# | preset | what it runs | time, two CPU cores |
# |---|---|---|
# | `smoke` | 100 random networks, to prove that every cell works | 10 seconds |
# | `quick` | 1,000 random networks | 30 seconds, beside other work |
# | `full` | 20,000 random networks | not measured |
# | `gpu` | as `full`; nothing here needs a GPU | not measured |

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu; it sets every parameter below that is None
outline: str = None  # widths of the stages: search (the public code's), mobile, gpu or cpu (the published networks')
input_size: int = None  # pixels of the images that the space is drawn and priced for
draws: int = None  # random networks whose costs are drawn as a histogram
threads: int = None  # CPU threads
seed: int = None  # of every random choice
device: str = None  # auto, cpu, cuda, cuda:1 ...
out_dir: str = None  # folder of the results; None: one per set of parameters

# %%
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from torch import nn

from nasedu import course, hardware, plots, spaces, tables
from nasedu.course.checks.proxylessnas import check_depthwise_macs, check_parameters, check_space_size

cfg = course.setup("01_space_proxylessnas", globals(), choices={"outline": list(spaces.proxylessnas.OUTLINES)})
torch.set_num_threads(cfg.threads)
cfg

# %% [markdown]
# ## 1 · The block
#
# Every candidate is an **inverted residual** (MBConv, from MobileNetV2), written `k5e6`: kernel 5, expansion 6. It is
# narrow at both ends and wide in the middle. Dark bars are feature maps, as high as their number of channels:
#
# - a 1×1 convolution (solid face) widens the map by the expansion $e$: each channel reads *every* channel;
# - a $k \times k$ **depthwise** convolution (lines) looks around in space: each channel reads *only itself*;
# - a 1×1 convolution narrows the map again, with no activation after it;
# - where shape in and shape out agree, a shortcut (orange bracket) adds the input.

# %%
from nasedu.blocks import MBConv

figures = {}
figures["block"] = plots.bottlenecks(
    {name: MBConv(24, 24, k, e) for name, k, e in (("k3e3", 3, 3), ("k3e6", 3, 6), ("k7e6", 7, 6))}, 56
)
figures["block"]

# %% [markdown]
# ### From scratch
#
# Eight layers in a row and one addition. BN is batch normalisation; ReLU6 cuts at 0 and at 6.


# %%
def inverted_residual(c, kernel, expansion):
    """The layers of a block with as many channels out as in, at stride 1."""
    h = expansion * c
    expand = [nn.Conv2d(c, h, 1, bias=False), nn.BatchNorm2d(h), nn.ReLU6()]
    look = nn.Conv2d(h, h, kernel, padding=kernel // 2, groups=h, bias=False)
    return nn.Sequential(
        *expand, look, nn.BatchNorm2d(h), nn.ReLU6(), nn.Conv2d(h, c, 1, bias=False), nn.BatchNorm2d(c)
    )


# %% [markdown]
# With the same weights it gives the same answer as the package's block, to the last bit:

# %%
ours, theirs = inverted_residual(24, 5, 6), MBConv(24, 24, 5, 6)
ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
x = torch.randn(8, 24, 14, 14)
assert torch.equal(x + ours(x), theirs(x))

# %% [markdown]
# ### Where the work is
#
# Per position and hidden channel a block multiplies $c_{in} + k^2 + c_{out}$ times: one line of each 1×1 convolution,
# and one filter. The MACs (multiply-accumulates) of the six candidates at one place, 80 channels and a map of 14 px:


# %%
def cost_of_parts(kernel, expansion, c=80, size=14):
    h = expansion * c
    macs = {"expand (1×1)": c * h, "depthwise (k×k)": h * kernel**2, "project (1×1)": h * c}
    return {part: count * size**2 / 1e6 for part, count in macs.items()}


parts = {f"k{k}e{e}": cost_of_parts(k, e) for e in (3, 6) for k in (3, 5, 7)}
table = pd.DataFrame(parts).T
figures["parts"] = plots.stacks({"": table}, list(table), totals=".3g", ylabel="MACs (millions)")
figures["parts"]

# %%
counted = hardware.count(MBConv(80, 80, 7, 6), (80, 14, 14))
assert round(sum(parts["k7e6"].values()) * 1e6) == counted.macs
growth = {c: sum(cost_of_parts(7, 6, c).values()) / sum(cost_of_parts(3, 6, c).values()) - 1 for c in (24, 80)}
Markdown(
    f"Twice the expansion costs twice as much. From kernel 3 to 7 the window grows 5.4-fold, but the MACs only by "
    f"**{growth[80]:.0%}**, since $k^2$ is small beside 80 + 80. With 24 channels, as in the first picture, it is "
    f"{growth[24]:.0%}: *large kernels are cheap deep in the network and dear near the image*."
)

# %% [markdown]
# ### Exercise 01.1: the parameters of a block
# *Difficulty 1 of 3, about 10 min.* Return the number of parameters of an MBConv: its convolutions have no bias, and
# each is followed by a batch normalisation with a scale and a shift per channel. At expansion 1 the first convolution
# is left out, with its normalisation.
#
# <details><summary>Hint 1</summary>Say h = c_in · expansion. The three convolutions have c_in·h, k²·h and h·c_out
# weights.</details>
# <details><summary>Hint 2</summary>A normalisation has 2 parameters for each channel of what it normalises: h, h and
# c_out.</details>


# %% tags=["stub"]
def parameters(c_in, c_out, kernel, expansion):
    raise NotImplementedError


# %% tags=["solution"]
def parameters(c_in, c_out, kernel, expansion):
    h = c_in * expansion
    expand = c_in * h + 2 * h if expansion > 1 else 0
    return expand + kernel**2 * h + 2 * h + h * c_out + 2 * c_out


# %% tags=["nbval-check-output"]
check_parameters(parameters)

# %% [markdown]
# ### Exercise 01.2: the MACs of a depthwise convolution
# *Difficulty 1 of 3, about 5 min.* A depthwise convolution runs over a square map of `size` px with padding
# `kernel // 2`. Return its multiply-accumulates.
#
# <details><summary>Hint 1</summary>Each output value costs kernel² multiply-accumulates, whatever the number of
# channels.</details>
# <details><summary>Hint 2</summary>There are channels · (output size)² output values, and the output size is
# size / stride, rounded up.</details>


# %% tags=["stub"]
def depthwise_macs(channels, kernel, size, stride):
    raise NotImplementedError


# %% tags=["solution"]
def depthwise_macs(channels, kernel, size, stride):
    out = -(-size // stride)
    return channels * kernel**2 * out**2


# %% tags=["nbval-check-output"]
check_depthwise_macs(depthwise_macs)

# %% [markdown]
# ## 2 · The space
#
# Now 21 blocks in a row, in stages. A block is drawn to scale: as wide as the square root of its channels, as high as
# the square root of its resolution. So a **stride** is a drop in height, and it always comes with the first block of a
# stage. Grey layers are fixed. The number on a blue block is the number of its choices.

# %%
space = spaces.create("proxylessnas", outline=cfg.outline, input_size=cfg.input_size)
figures["space"] = plots.blocks(space)
figures["space"]

# %% [markdown]
# Six choices are the MBConvs with kernels 3, 5, 7 and expansions 3, 6. The seventh is **skip**: no block at all, only
# the shortcut. It turns the question *"which block?"* into *"how deep?"*. But a shortcut can only stand alone where it
# is an identity. The blocks with six choices change the number of channels or halve the map, and so cannot be
# skipped:

# %% tags=["nbval-check-output"]
for decision in space.decisions[3:6]:
    print(f"{decision.name}: {', '.join(decision.choices)}")

# %% [markdown]
# ### Exercise 01.3: the size of the space
# *Difficulty 2 of 3, about 10 min.* `stages` lists (channels, repeats, stride); only a stage's first block has the
# stride. A block chooses among `operations` MBConvs and may be skipped where input and output have the same shape.
# `c_in` channels come into the first stage. Return the exact number of networks.
#
# <details><summary>Hint 1</summary>Walk through all blocks and multiply; keep track of the channels that come in.
# </details>
# <details><summary>Hint 2</summary>A stage's first block can be skipped, too, if its stride is 1 and its channels are
# those that come in.</details>


# %% tags=["stub"]
def space_size(stages, c_in, operations):
    raise NotImplementedError


# %% tags=["solution"]
def space_size(stages, c_in, operations):
    size = 1
    for channels, repeats, stride in stages:
        for block in range(repeats):
            keeps_shape = c_in == channels and (stride == 1 or block > 0)
            size *= operations + keeps_shape
            c_in = channels
    return size


# %% tags=["nbval-check-output"]
check_space_size(space_size)

# %% [markdown]
# Six blocks have six choices and fifteen have seven. Some public codes offer the skip everywhere, and so call a larger
# space by the same name:

# %%
everywhere = spaces.create("proxylessnas", skip="everywhere").size
assert space.size == 6**6 * 7**15 == 221_502_229_807_900_608
assert everywhere == 7**21
years = space.size / (365.25 * 24 * 3600)
Markdown(
    f"$6^6 \\cdot 7^{{15}}$ = **{space.size:,} networks**. At one network a second, trying them all takes "
    f"{years / 1e9:.1f} thousand million years. With the skip everywhere there are {everywhere / space.size:.2f} times "
    "as many."
)

# %% [markdown]
# ### An architecture is 21 numbers
#
# An architecture holds the index of the chosen operation for every block. The package writes it as text that a person
# can read, and reads it back. Three random ones (dotted: skipped; colour: kernel; label: kernel and expansion):

# %%
rng = np.random.default_rng(cfg.seed)
archs = {f"random {i}": space.sample(rng) for i in (1, 2, 3)}
assert space.parse(space.format(archs["random 1"])) == archs["random 1"]
figures["random"] = plots.blocks(space, archs)
figures["random"]

# %% [markdown]
# ## 3 · One supernet for all of them
#
# Nobody trains so many networks. A **supernet** holds all operations of every block side by side, and a *path* says
# which of them run. For each block, a path holds either
#
# - an **index**: one operation runs (a *hard* choice), or
# - **weights** that sum to 1: all operations run, and their outputs are averaged (a *soft* choice).
#
# $$ y = \sum_i w_i\,o_i(x) $$
#
# At course size (32 px, a quarter of the channels, half of the blocks) it fits anywhere:

# %%
small = spaces.create("proxylessnas", **spaces.COURSE)
torch.manual_seed(cfg.seed)
supernet = small.supernet().eval()
images = torch.rand(4, *small.input_shape)
hard = small.sample(rng)
soft = [torch.full((n,), 1 / n) for n in small.choices]
assert supernet(images, hard).shape == supernet(images, soft).shape == (4, 10)

# %% [markdown]
# **Is a hard path the network it stands for?** Take the chosen operations out of the supernet, build the network that
# stands alone, and compare. One-hot weights must agree with both. A path may also mix indices and weights freely.

# %%
one_hot = [torch.nn.functional.one_hot(torch.tensor(i), n).float() for i, n in zip(hard, small.choices, strict=True)]
with torch.no_grad():
    alone = small.inherit(supernet, hard).eval()(images)
    for path in (hard, one_hot, [*hard[:5], *one_hot[5:]]):
        assert torch.allclose(supernet(images, path), alone, atol=1e-5)

# %% [markdown]
# ### Why ProxylessNAS makes its choices binary
#
# Count what a forward pass really multiplies. The hard path costs exactly what the network costs; the soft one costs
# *all* operations together, and keeps all their outputs in memory for the backward pass. This is why DARTS searched on
# small *proxy* tasks. ProxylessNAS draws **binary gates**, one 1 and otherwise 0, for every block and every step, and
# so can search on the real task: hence its name.

# %%
from torch.utils.flop_counter import FlopCounterMode


def macs_of(path):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        supernet(images[:1], path)
    return counter.get_total_flops() // 2


small_table = tables.LookupTable.build(small, "macs")
assert macs_of(hard) == small_table(hard)
assert macs_of(soft) == small_table.fixed + sum(entry.sum() for entry in small_table.entries)

# %%
ratio = macs_of(soft) / macs_of(hard)
Markdown(f"The soft path costs **{ratio:.1f} times** the MACs of this hard one.")

# %% [markdown]
# A gate must still teach the choice. It is drawn from $p = \operatorname{softmax}(\alpha)$, and what the loss says of
# the gates is passed on to the logits:
#
# $$ \frac{\partial L}{\partial \alpha_i} = \sum_j \frac{\partial L}{\partial g_j}\; p_j\,(\delta_{ij} - p_i). $$
#
# From scratch on three choices, beside the package's gates. They are one-hot, every logit gets a gradient, and the
# gradients sum to zero, since only differences of logits matter:

# %%
from nasedu.sampling import binary_gates

alpha = torch.tensor([0.5, 0.0, -1.0], requires_grad=True)
(gates,) = binary_gates([alpha], torch.Generator().manual_seed(cfg.seed))
slope = torch.tensor([3.0, 1.0, 2.0])  # dL / dg, as if it came out of the network
(gates @ slope).backward()
p = alpha.detach().softmax(0)
by_hand = p * (slope - p @ slope)  # the formula, its sum written out

# %%
assert sorted(gates.tolist()) == [0, 0, 1]
assert torch.allclose(alpha.grad, by_hand, atol=1e-6)
assert abs(float(alpha.grad.sum())) < 1e-6

# %% [markdown]
# Notebooks 05 and 06 train with these gates.
#
# ## 4 · What does it cost?
#
# What a block costs depends on its own choice alone. So a **lookup table** with one number per block and choice, and
# one for the fixed layers, prices all networks of the space, exactly. MACs for each block (columns) and choice (rows);
# empty: cannot be skipped. The first stage is the dearest, though it has the fewest channels: its map is large.

# %%
priced = {metric: tables.LookupTable.build(space, metric) for metric in ("macs", "params")}
figures["prices"] = plots.price_map(priced["macs"])
figures["prices"]

# %%
arch = archs["random 1"]
built = hardware.count(space.build(arch), space.input_shape)
by_table = priced["macs"].fixed + sum(float(e[i]) for e, i in zip(priced["macs"].entries, arch, strict=True))
assert built.macs == by_table == priced["macs"](arch)
assert built.params == priced["params"](arch)

# %% [markdown]
# ### The published networks, rebuilt
#
# The authors searched for a phone, a GPU and a CPU, with other widths of the stages for each. The networks are stored
# with their choices, and rebuilt here with every multiplication in place. Compare the two pictures: the phone's network
# is deep and slim, the GPU's shallow and wide.

# %%
published = spaces.published("proxylessnas")
networks = {name: spaces.published("proxylessnas", name) for name in published}
for name, (its_space, its_arch) in networks.items():
    figures[name] = plots.blocks(its_space, {name: its_arch})
figures["ProxylessNAS-Mobile"]

# %%
figures["ProxylessNAS-GPU"]

# %%
rebuilt = {}
for name, (its_space, its_arch) in networks.items():
    rebuilt[name] = hardware.count(its_space.build(its_arch), its_space.input_shape)
    assert (rebuilt[name].macs, rebuilt[name].params) == (published[name].macs, published[name].params)
assert rebuilt["ProxylessNAS-Mobile"] == hardware.Cost(macs=320_427_584, params=4_080_512)

# %%
rows = [f"| {name} | {cost.macs:,} | {cost.params:,} | {published[name].source} |" for name, cost in rebuilt.items()]
Markdown(
    "\n".join(
        ["| network | MACs | parameters | source; accuracy and latency are the authors' |", "|---|---|---|---|", *rows]
    )
)

# %% [markdown]
# ### Where do they stand among the others?
#
# Random networks of the same outlines, one panel for each, and the published network (line with a marker). All three
# lie on the cheap side. Uniform sampling fills a narrow band, for a sum of 21 independent prices is nearly normal:
# cheap networks are there, but chance hardly finds them.

# %%
macs = {name: tables.LookupTable.build(its_space, "macs") for name, (its_space, _) in networks.items()}
costs = {name: [table(table.space.sample(rng)) / 1e6 for _ in range(cfg.draws)] for name, table in macs.items()}
labels = {name: f"random, {name.removeprefix('ProxylessNAS-')} outline" for name in networks}
marks = {labels[name]: {name: cost.macs / 1e6} for name, cost in rebuilt.items()}
drawn = {labels[name]: values for name, values in costs.items()}
figures["histogram"] = plots.histogram(drawn, marks, columns=1, xlabel="MACs (millions)")
figures["histogram"]

# %%
below = {name: float(np.mean(np.array(costs[name]) < rebuilt[name].macs / 1e6)) for name in networks}
assert all(share < 0.2 for share in below.values())
lines = [f"- {share:.1%} of {cfg.draws:,} random networks are cheaper than {name}." for name, share in below.items()]
Markdown("\n".join(lines))

# %% [markdown]
# ## 5 · Change one yourself
#
# Pick a block, then its operation (Tab and the arrow keys work, too). The frame shows where you are. The line says what
# the network costs now, and what the last change did. Try: which single change saves most MACs? Which adds most
# parameters?

# %%
from nasedu.widgets import SpaceWidget

mobile, start = networks["ProxylessNAS-Mobile"]
mobile_tables = {"macs": macs["ProxylessNAS-Mobile"], "params": tables.LookupTable.build(mobile, "params")}
widget = SpaceWidget(mobile, mobile_tables, start)
widget

# %% [markdown]
# The same by hand, for pages that cannot run: the single change that saves most MACs, and the one that adds most
# parameters.

# %%
changes = [(*start[:b], c, *start[b + 1 :]) for b, n in enumerate(mobile.choices) for c in range(n) if c != start[b]]
cheapest = min(changes, key=mobile_tables["macs"])
largest = max(changes, key=mobile_tables["params"])


def named(arch, metric):
    at = next(b for b in range(len(arch)) if arch[b] != start[b])
    before, after = (mobile.decisions[at].choices[a[at]] for a in (start, arch))
    change = (mobile_tables[metric](arch) - mobile_tables[metric](start)) / 1e6
    return f"{mobile.decisions[at].name}: {before} → {after} ({change:+.3g} M {metric})"


# %%
figures["changes"] = plots.blocks(mobile, {named(cheapest, "macs"): cheapest, named(largest, "params"): largest})
figures["changes"]

# %% [markdown]
# ## Summary
#
# - An MBConv is 1×1, depthwise k×k, 1×1. Cost grows with the expansion; the kernel matters where $k^2$ is not
#   small beside the channels: near the image.
# - The space is 21 independent choices: $6^6 \cdot 7^{15}$ networks, since skip needs an identity.
# - A hard path runs one network at the price of one network, a soft path runs all. Binary gates choose hard and learn
#   soft.
# - A table of 141 numbers and a fixed part prices every network exactly.
#
# **Pitfalls**
#
# - *MACs and FLOPs.* 320 M MACs are 641 M FLOPs; papers often call MACs FLOPs.
# - *Same name, other space.* With skip everywhere, or other stage widths, results are not comparable. Print the size
#   and the exact count of a known network first.
# - *Depthwise is not free.* It has few MACs but is slow on many devices: notebook 10 measures it.
# - *A projection is no skip.* Where the shape changes, something must still be computed.
#
# **Further reading**
#
# - ProxylessNAS: Cai, Zhu, Han, *ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware*, ICLR
#   2019; public code mit-han-lab/proxylessnas
# - The block: Sandler, Howard, Zhu, Zhmoginov, Chen, *MobileNetV2: Inverted Residuals and Linear Bottlenecks*, CVPR
#   2018
# - Soft choices before: Liu, Simonyan, Yang, *DARTS: Differentiable Architecture Search*, ICLR 2019

# %%
course.finish(
    cfg,
    summary=f"{space.size:,} networks; ProxylessNAS-Mobile rebuilt: {rebuilt['ProxylessNAS-Mobile'].macs:,} MACs",
    figures=figures,
    results={
        "size": str(space.size),
        "macs": {name: cost.macs for name, cost in rebuilt.items()},
        "params": {name: cost.params for name, cost in rebuilt.items()},
        "share_of_cheaper_random_networks": below,
        "soft_to_hard_macs": ratio,
    },
)
