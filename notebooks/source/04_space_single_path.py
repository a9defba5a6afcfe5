# %% [markdown]
# # Single-Path NAS: every choice is a part of one kernel
#
# Store all choices of a layer in one convolution kernel, and let learned thresholds decide what of it stays.
#
# Other supernets store every operation side by side. Single-Path NAS stores the *largest* operation only: a 3×3 kernel
# is the core of a 5×5 one, and a narrow block is half of a wide one. A smaller operation is the stored one with a part
# set to zero, or *masked*. The search then is one ordinary training, which learns what to mask.
#
# **Afterwards you can**
#
# 1. draw the masks of a superkernel, and check that each leaves a network of its own;
# 2. train a threshold through a hard decision, with a straight-through gradient;
# 3. price an undecided layer by the published formula and by a table, and count the networks within a budget;
# 4. run a small search by thresholds, derive its network, and compare that with random networks of equal cost.
#
# **You need** PyTorch; the inverted residual (MBConv) of notebook 01 helps.
#
# | preset | what it runs | time, two CPU cores |
# |---|---|---|
# | `smoke` | 12 steps of descent: only proves that every cell works | 15 seconds |
# | `quick` | two descents of 50 steps on 16 px digits, and 6 short trainings | 60 seconds, beside other work |
# | `full` | two descents of 1,000 steps, and 20 trainings | not measured |
# | `gpu` | two descents of 3,000 steps, and 20 trainings | not measured |

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu; it sets every parameter below that is None
image_size: int = None  # pixels of the digits that the small supernet learns
batch_size: int = None  # digits per step
steps: int = None  # steps of each descent
warmup_steps: int = None  # of these, steps with indicator dropout and without the runtime term
runtime_weight: float = None  # of log(expected MACs) in the loss
semantics: str = None  # how masks work: sliced (nothing leaks) or faithful (as published)
norm: str = None  # that thresholds are compared with: l2 (public code) or squared (paper)
pairs: int = None  # random networks of the verdict, each trained beside the searched one
epochs: int = None  # passes over the digits of every training of the verdict
threads: int = None  # CPU threads
seed: int = None  # of every random choice
device: str = None  # auto, cpu, cuda, cuda:1 ...
out_dir: str = None  # folder of the results; None: one per set of parameters

# %%
import itertools
import json
import math

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from torch import nn
from torch.nn import functional as F

from nasedu import (
    classification,
    course,
    data,
    hardware,
    plots,
    randomness,
    ranking,
    sampling,
    spaces,
    tables,
)
from nasedu.course.checks.single_path import (
    check_count,
    check_dropout,
    check_indicator,
    check_kernel,
    check_leaks,
)
from nasedu.data import benchmark
from nasedu.errors import check_number, check_whole
from nasedu.supernet import superkernel
from nasedu.supernet.superkernel import CHOICES, KEEP, SuperKernel
from nasedu.tables import LookupTable

choices = {"semantics": ["sliced", "faithful"], "norm": ["l2", "squared"]}
cfg = course.setup("04_space_single_path", globals(), choices=choices)
ends = {"image_size": (8, 512), "batch_size": (2, 100_000), "steps": (2, 1_000_000)}
ends |= {"pairs": (2, 1000), "epochs": (1, 100_000), "threads": (1, 256)}
for name, (least, most) in ends.items():
    check_whole(name, getattr(cfg, name), least, most)
check_whole("warmup_steps", cfg.warmup_steps, 0, cfg.steps - 1)
check_number("runtime_weight", cfg.runtime_weight, 0, 1000, above=True)
torch.set_num_threads(cfg.threads)
# the small space of section 5, made here: a size that it cannot have is refused at once
size = {**spaces.COURSE, "input_size": cfg.image_size, "norm": cfg.norm}
small = spaces.create("single_path", **size, semantics=cfg.semantics)
cfg

# %% [markdown]
# ## 1 · One kernel holds them all
#
# The block is an inverted residual: a 1×1 convolution to $6C$ channels, a 5×5 depthwise convolution, and a 1×1
# convolution back. All choices are *parts of its depthwise kernel*. Each column below is a choice. The upper row shows
# the weights that are kept in the first half of the channels, the lower row those in the second half. Dark is the 3×3
# core, light is the ring around it, and white is masked.

# %%
torch.manual_seed(cfg.seed)
block = SuperKernel(8, 8, skip=True)
figures = {}
parts = np.pad(np.full((3, 3), "3 × 3 core", dtype=object), 1, constant_values="ring")
kept = {}
for half, i in itertools.product((0, 1), range(len(block.choices))):
    (weights,) = sampling.one_hot([i], [len(block.choices)])
    # true where some channel of that half keeps the weight
    here = block.kernel(weights).detach()[:, 0].chunk(2)[half].any(0).numpy()
    kept[f"{block.choices[i]}, half {half + 1}"] = pd.DataFrame(np.where(here, parts, "masked"))
tones = {"3 × 3 core": "#1f5a96", "ring": "#6aaed6", "masked": "white"}
look = {"columns": 5, "width": 11.5, "height": 2.2}
look |= {"xlabel": "column of the kernel", "ylabel": "row"}
look["alt"] = "A 5 × 5 grid for each choice and half of the channels. Kernel 3 keeps the core, "
look["alt"] += "kernel 5 the ring, too. Expansion 3 masks the second half, skip masks everything."
figures["superkernel"] = plots.heat(kept, colours=tones, **look)
figures["superkernel"]

# %% [markdown]
# Masks are **nested**: `k3e3`, the core of the first half, is a part of all others but `skip`. So training one choice
# trains parts of the others, and the supernet is hardly larger than its largest network.
#
# ### From scratch
#
# A mask over the kernel's places times a mask over channels makes each choice. `k3e6` reads: kernel 3, expansion 6.


# %%
def mask(kernel, expansion, channels):
    """1 where a choice keeps the weight, else 0, in the shape of the kernel."""
    places = torch.ones(5, 5)
    if kernel == 3:
        places = F.pad(torch.ones(3, 3), (1, 1, 1, 1))
    kept = (torch.arange(6 * channels) < expansion * channels).float()
    return kept[:, None, None, None] * places


w = block.depthwise.conv.weight.detach()
for index, (name, (kernel, expansion)) in enumerate(CHOICES.items()):
    (weights,) = sampling.one_hot([index], [5])
    mine, theirs = w * mask(kernel, expansion, 8), block.kernel(weights).detach()
    assert torch.equal(mine, theirs), "the mask from scratch and the package's must agree"
    here, there = int(mine.count_nonzero()), int(theirs.count_nonzero())
    print(f"{name}: {here:5,} weights kept here, {there:5,} in the package")

# %% [markdown]
# **Does a mask give the network that it stands for?** The stand-alone `k3e3` block has a 3×3 kernel and half of the
# hidden channels. Copy the superkernel's part into one, and compare, both with batch normalisation (BN) in use.

# %%
from nasedu.blocks import MBConv

x = torch.randn(4, 8, 12, 12)
for index, (name, (kernel, expansion)) in enumerate(CHOICES.items()):
    alone = MBConv(8, 8, kernel, expansion)  # a block of its own, with its part of the weights
    alone.load_state_dict(block.extract(index))
    (weights,) = sampling.one_hot([index], [5])
    a, b = block.eval()(x, weights), alone.eval()(x)
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    print(f"{name}: mean output {a.mean():.6f} masked, {b.mean():.6f} alone")

# %% [markdown]
# ### Skip, and the leak in the published mask
#
# A skipped block should leave its input as it is. It should mask *everything*, so that only the shortcut is left. As
# published it does not: the kernel is masked, its convolution gives zeros, but the BN behind it adds its shift, and the
# next layers make a constant per channel of that. The package knows both versions. `faithful` is the published one.
# `sliced` masks after the activation and multiplies what is added to the shortcut by 0, so a skipped block is an
# **exact identity**.


# %%
def leak(semantics):
    """What a skipped block adds to its input, relative to the input's size."""
    torch.manual_seed(cfg.seed)
    leaky = SuperKernel(8, 8, skip=True, semantics=semantics).eval()
    nn.init.normal_(leaky.depthwise.bn.bias)  # as after some training; at first it is 0
    (skip,) = sampling.one_hot([4], [5])
    return ((leaky(x, skip) - x).norm() / x.norm()).item()


leaks_by = {name: leak(name) for name in ("sliced", "faithful")}
assert leaks_by["sliced"] == 0 < leaks_by["faithful"], "sliced is an identity, faithful is not"
added = ", ".join(f"{share:.0%} ({name})" for name, share in leaks_by.items())
Markdown(f"A skipped block changes its input by {added} of the input's size.")

# %% [markdown]
# ## 2 · Thresholds decide
#
# Which part stays? The method reads it off the weights: **a part with a small norm does little, so drop it.** How small
# is learned: each layer has three thresholds. Let the indicator $1(x)$ be 1 for $x \ge 0$ and 0 below. Then
#
# $$ d_5 = 1(\lVert \text{ring} \rVert - t_5), \qquad w_k = w_{3\times3} + d_5 \cdot \text{ring}, $$
#
# $$ d_6 = 1(\lVert \text{upper half of } w_k \rVert - t_6), \qquad
#    d_3 = 1(\lVert \text{lower half of } w_k \rVert - t_3). $$
#
# - $d_5 = 1$ keeps the ring: the kernel is 5×5.
# - $d_6 = 1$ keeps the upper half of the channels: the expansion is 6.
# - $d_3 = 0$ skips the layer. Where skipping would change the shape, $d_3$ is always 1.
#
# ### Exercise 04.1: the kernel that the thresholds leave
# *Difficulty 2 of 3, about 15 min.* `w` (2n, 1, 5, 5) is a depthwise kernel. Return what $d_5$ and $d_6$ leave of it,
# in the same shape, with zeros where it is masked; `w` must stay as it is. (No $t_3$ here.)
#
# <details><summary>Hint 1</summary>Start with a kernel of zeros that has w's core, [1:4, 1:4]; the ring is the
# difference.</details>
# <details><summary>Hint 2</summary>Decide the ring first: t6 is compared with the upper half of w_k, not
# of w.</details>


# %% tags=["stub"]
def kernel_left(w, t5, t6):
    raise NotImplementedError


# %% tags=["solution"]
def kernel_left(w, t5, t6):
    core, half = torch.zeros_like(w), len(w) // 2
    core[:, :, 1:4, 1:4] = w[:, :, 1:4, 1:4]
    w_k = core + (w - core) * ((w - core).norm() >= t5)
    return torch.cat([w_k[:half], w_k[half:] * (w_k[half:].norm() >= t6)])


# %% tags=["nbval-check-output"]
check_kernel(kernel_left)

# %% [markdown]
# ### A step has no slope
#
# $1(x)$ is flat on both sides of 0. Its gradient is zero, so no threshold would ever learn. The **straight-through**
# trick uses two functions: forward the hard step, backward the slope of a smooth one, here the sigmoid.
#
# ### Exercise 04.2: a step that passes a gradient
# *Difficulty 2 of 3, about 10 min.* Return a tensor whose *values* are 1 where `x >= 0` and 0 elsewhere, and whose
# *gradient* with respect to `x` is that of `torch.sigmoid(x)`.
#
# <details><summary>Hint 1</summary>s - s.detach() is 0 in value, and has the gradient of s.</details>
# <details><summary>Hint 2</summary>Add it to the hard step, which has no gradient of its own.</details>


# %% tags=["stub"]
def indicator(x):
    raise NotImplementedError


# %% tags=["solution"]
def indicator(x):
    s = torch.sigmoid(x)
    return (x >= 0).float() + s - s.detach()


# %% tags=["nbval-check-output"]
check_indicator(indicator)

# %% [markdown]
# Here is the same as a function of autograd. It has two methods: what goes forward and what comes back. The picture
# shows both.


# %%
class Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x >= 0).float()

    @staticmethod
    def backward(ctx, gradient):
        s = torch.sigmoid(*ctx.saved_tensors)
        return gradient * s * (1 - s)  # the slope of the sigmoid, not of the step


x = torch.linspace(-6, 6, 121, requires_grad=True)
y = Step.apply(x)
(slope,) = torch.autograd.grad(y.sum(), x)
both = {"forward: value": y.tolist(), "backward: gradient": slope.tolist()}
labels = {"xlabel": "norm − threshold", "ylabel": "indicator"}
figures["straight_through"] = plots.lines(both, x.tolist(), **labels)
figures["straight_through"]

# %% [markdown]
# Where norm and threshold are far apart, the gradient is almost 0. So a decision that has gone far to one side hardly
# moves any more.
#
# ### From scratch: from thresholds to a path
#
# The indicators give each of the five choices a weight: `k3e3` gets $d_3 (1 - d_5)(1 - d_6)$ and so on, skip gets
# $1 - d_3$. One of the weights is 1 and the others are 0, so they are an ordinary path through the supernet. We set the
# thresholds at random many times. Value and gradients must be those of the package each time.


# %%
def norms(w, d5=1.0):
    """The norms that t3, t5 and t6 are compared with, for a kernel w (2n, 1, 5, 5)."""
    core, half = F.pad(w[:, :, 1:4, 1:4], (1, 1, 1, 1)), len(w) // 2
    w_k = core + d5 * (w - core)
    return w_k[:half].norm(), (w - core).norm(), w_k[half:].norm()


def decide(w, t3, t5, t6):
    d5 = Step.apply(norms(w)[1] - t5)
    n3, _, n6 = norms(w, d5)
    d3, d6 = Step.apply(n3 - t3), Step.apply(n6 - t6)
    e3, e6 = d3 * (1 - d6), d3 * d6
    return torch.stack([(1 - d5) * e3, (1 - d5) * e6, d5 * e3, d5 * e6, 1 - d3])


inputs = (block.depthwise.conv.weight, block.t3, block.t5, block.t6)
print("all thresholds at 0:", [int(weight) for weight in decide(*inputs)], "here,", end=" ")
print([int(weight) for weight in block.decide()], "in the package")

# %% [markdown]
# To compare gradients, weigh the choices with some costs. Then every threshold and every weight of the kernel gets a
# gradient.

# %%
rng = randomness.rng(cfg.seed, "thresholds")
costs, chosen, steep = torch.tensor([1.0, 2.0, 1.5, 3.0, 0.0]), set(), torch.zeros(2)
for _ in range(200):
    levels = torch.tensor(rng.uniform(0, 5, 3), dtype=torch.float32)  # about as large as the norms
    for threshold, level in zip((block.t3, block.t5, block.t6), levels, strict=True):
        threshold.data.copy_(level)
    mine, theirs = decide(*inputs), block.decide()
    assert torch.equal(mine, theirs), "both must choose the same"
    slopes = [torch.autograd.grad(weights @ costs, inputs) for weights in (mine, theirs)]
    for a, b in zip(*slopes, strict=True):
        torch.testing.assert_close(a, b)
    steep += torch.stack([kernel.abs().sum() for kernel, *_ in slopes])
    chosen.add(block.choices[int(theirs.argmax())])
assert chosen == set(block.choices), "the draws must reach every choice"
print(f"all slopes of the kernel: {steep[0]:.3f} here, {steep[1]:.3f} in the package")
f"200 settings agree in value and gradient; they chose {', '.join(sorted(chosen))}"

# %% [markdown]
# ## 3 · The space: 20 layers
#
# The picture reads from left to right and draws blocks to scale. The number on a block is its number of choices. Layers
# with four choices change the channels or the resolution. Layers with five keep both and can be skipped.

# %%
space, arch = spaces.published("single_path", "Single-Path NAS")
figures["space"] = plots.blocks(space)
figures["space"]

# %% [markdown]
# There are five stages of four layers. The first layer of each stage changes the shape, the other three keep it.

# %% tags=["nbval-check-output"]
stages = 5
assert space.size == 4**stages * 5 ** (3 * stages) == 31_250_000_000_000, "choices multiply"
f"4^{stages} * 5^{3 * stages} = {space.size:,} networks"

# %% [markdown]
# ### The published network, rebuilt
#
# This network is the search's result as published. One layer of the first stage is skipped (dotted). All layers of the
# last two stages have 5×5 kernels; before them only two layers have. Expansion 6 stands in the whole last stage, and at
# the start of the three stages before it.

# %%
figures["published"] = plots.blocks(space, {"Single-Path NAS, as published": arch})
figures["published"]

# %% [markdown]
# Its multiply-accumulates (MACs) and parameters, counted:

# %% tags=["nbval-check-output"]
cost = hardware.count(space.build(arch), space.input_shape)
assert (cost.macs, cost.params) == (333_467_072, 4_421_616), "the published network's counts"
print(f"{cost.macs:,} MACs, {cost.params:,} parameters")

# %% [markdown]
# ### Change it yourself
#
# Start from the published network. Pick a block in the first list and its choice in the second, and read what the
# network costs now.

# %%
from nasedu.widgets import SpaceWidget

priced = {metric: LookupTable.build(space, metric) for metric in ("macs", "params")}
assert priced["macs"](arch) == cost.macs, "the table's sum is the network's count"
widget = SpaceWidget(space, priced, arch)
widget

# %% [markdown]
# The smallest and the largest network of the space as a still picture:

# %%
smallest = tuple(int(entry.argmin()) for entry in priced["macs"].entries)
largest = tuple(int(entry.argmax()) for entry in priced["macs"].entries)
names = {f"{priced['macs'](a) / 1e6:.0f} M MACs": a for a in (smallest, largest)}
figures["extremes"] = plots.blocks(space, names)
figures["extremes"]

# %% [markdown]
# ### How many networks fit a budget?
#
# A search with a budget looks at a part of the space only. How large is that part? Listing all networks is out of the
# question, but the cost is a sum over layers, and for sums there is a way to count without listing.
#
# ### Exercise 04.3: how many networks cost at most a budget
# *Difficulty 3 of 3, about 20 min.* `costs` has a list for every layer: what each of its choices costs, in whole
# numbers. A network takes one choice per layer and costs their sum. Return the exact number of networks that cost at
# most `budget`. The checker ends with 22 layers of nine choices, as FBNet has in notebook 02: 9^22 networks.
#
# <details><summary>Hint 1</summary>Go layer by layer. After some layers you need not know which beginnings there are,
# only how many of them cost 0, 1, 2, ... so far.</details>
# <details><summary>Hint 2</summary>A dictionary from a total to a number of networks holds that. Or multiply
# polynomials: a layer with the costs 2, 2 and 5 is 2x² + x⁵.</details>
# <details><summary>Hint 3</summary>Python's own integers are exact however large they are. NumPy's 64 bits end at
# 9.2·10^18, and floats are exact up to 9.0·10^15.</details>


# %% tags=["stub"]
def count_within(costs, budget):
    raise NotImplementedError


# %% tags=["solution"]
def count_within(costs, budget):
    networks = {0: 1}  # from a total so far to the number of beginnings that have it
    for layer in costs:
        longer = {}
        for total, number in networks.items():
            for cost in layer:
                longer[total + cost] = longer.get(total + cost, 0) + number
        networks = longer
    return sum(number for total, number in networks.items() if total <= budget)


# %% tags=["nbval-check-output"]
check_count(count_within)

# %% [markdown]
# The package counts in the same way. How many networks cost at most as much as the published one? Random networks give
# an independent estimate.

# %%
affordable = tables.at_most(priced["macs"], cost.macs).count
rng = randomness.rng(cfg.seed, "share within the budget")
drawn = np.mean([priced["macs"](space.sample(rng)) <= cost.macs for _ in range(2000)])
share = affordable / space.size
assert abs(drawn - share) < 0.05, "2,000 draws must agree with the exact count within 5 points"
print(f"{share:.1%} of the space by counting, {drawn:.1%} of 2,000 random networks")
Markdown(f"Exactly {affordable:,} networks cost at most {cost.macs / 1e6:.0f} M MACs.")

# %% [markdown]
# ## 4 · The price of an undecided layer
#
# The search has to know what a layer costs while its indicators still change. The paper computes the runtime $R$ of a
# layer from three of its four runtimes and the indicators:
#
# $$ R_e = d_3\,\big(R_{5,3} + d_6 (R_{5,6} - R_{5,3})\big), \qquad R = r R_e + (1 - r)\, d_5 R_e, \qquad
#    r = \frac{R_{3,6}}{R_{5,6}}. $$
#
# $R_{5,3}$ is the runtime with kernel 5 and expansion 3, and so on. We write the formula down, put the costs of one
# layer of the published space in, and set the indicators to each of the five choices in turn.


# %%
def runtime(costs, d3, d5, d6):
    _, k3e6, k5e3, k5e6 = costs[:4]  # k3e3 is not used
    r, by_expansion = k3e6 / k5e6, d3 * (k5e3 + d6 * (k5e6 - k5e3))
    return r * by_expansion + (1 - r) * d5 * by_expansion


SETTINGS = {"k3e3": (1, 0, 0), "k3e6": (1, 0, 1), "k5e3": (1, 1, 0), "k5e6": (1, 1, 1)}
SETTINGS["skip"] = (0, 1, 1)  # d3, d5, d6
layer = [decision.name for decision in space.decisions].index("stage3_2")
entries = {metric: table.entries[layer] for metric, table in priced.items()}
rows = {}
for (name, d), exact in zip(SETTINGS.items(), entries["macs"].tolist(), strict=True):
    indicators = superkernel.Indicators(*torch.tensor(d, dtype=torch.float64))
    packaged = float(superkernel.recursive_runtime(entries["macs"], indicators))
    mine = float(runtime(entries["macs"], *d))
    assert math.isclose(mine, packaged), "here and in the package: the same formula"
    rows[name] = {"formula, here": mine, "formula, package": packaged, "table": exact}
pd.DataFrame(rows).T.map("{:,.0f}".format)

# %% [markdown]
# The columns are MACs. A *table*, which has a cost for every choice, is exact by construction. The formula never reads
# the cost of `k3e3`. It assumes that *a smaller kernel saves the same share at both expansions*. Does it?

# %%
guess = {metric: float(runtime(row, 1, 0, 0) / row[0]) - 1 for metric, row in entries.items()}
assert abs(guess["macs"]) < 1e-9 < abs(guess["params"]), "exact for MACs, not for parameters"
told = f"{guess['macs']:.0%} in MACs and {guess['params']:+.2%} in parameters"
Markdown(f"For k3e3 the formula is off by {told}.")

# %% [markdown]
# For MACs the assumption holds, for parameters it does not, and for measured times nothing says that it should. The
# formula gives a skipped layer 0, and so does our table. (The public code also lists 0.7 ms as the time of a skip and
# calls that negligible, but its formula never reads the number.)
#
# The table's expected cost has gradients, too. They tell each threshold which way is cheaper.

# %%
path = sampling.one_hot(arch, space.choices)
assert float(priced["macs"].expected(path)) == cost.macs, "a decided path: its network's cost"
for threshold in (block.t3, block.t5, block.t6):
    threshold.data.zero_()  # as at the start of a search
block.zero_grad()
(block.decide() @ entries["macs"].float()).log().backward()
slopes = {name: float(getattr(block, name).grad) for name in ("t3", "t5", "t6")}
assert max(slopes.values()) < 0, "the cost falls where a threshold rises: less stays"
", ".join(f"log(MACs) changes by {slope:.4f} per unit of {name}" for name, slope in slopes.items())

# %% [markdown]
# All three are negative: descent on the cost raises every threshold, and less of the kernel stays.
#
# ## 5 · A small search
#
# One training moves two kinds of parameters, weights and thresholds. The loss is the cross-entropy plus, after a
# warm-up, the logarithm of the expected MACs:
#
# $$ L = \text{CE} + \lambda \log R. $$
#
# ### The warm-up: indicator dropout
#
# All thresholds start at 0, so every indicator is 1 and the small choices would never be tried. During its warm-up the
# published search therefore *drops* indicators at random: each is kept with probability 0.6, else it is 0. Which of the
# five choices does that draw most often, in a layer that can be skipped?

# %%
likely = course.predict(
    "Every indicator is kept with probability 0.6. Which choice is drawn most often?",
    list(block.choices),
)

# %% [markdown]
# The indicators are dropped independently, so the probabilities multiply. `k5e6` needs all three to be kept. Skip needs
# only $d_3$ to be dropped. The block's own draws must agree.

# %%
generator = randomness.stream(cfg.seed, "dropout")
drawn = torch.stack([block.decide(generator, KEEP) for _ in range(2000)]).detach().mean(0)
drop = 1 - KEEP
exact = torch.tensor([KEEP * a * b for a in (drop, KEEP) for b in (drop, KEEP)] + [drop])
assert (drawn - exact).abs().max() < 0.05, "2,000 draws must agree with the product within 5 points"
shares = pd.DataFrame({"product": exact, "2,000 draws": drawn}, block.choices)
shares.map("{:.0%}".format)

# %% [markdown]
# Your prediction, and what came:

# %%
likely.came(
    block.choices[int(exact.argmax())],
    f"It takes one dropped indicator ({drop:.0%}); k5e6 takes three kept ones ({KEEP**3:.0%}).",
)

# %% [markdown]
# **The public code does one thing more.** It calls TensorFlow's dropout, which also divides by 0.6 what it keeps. A
# kept indicator then is 1.67 and not 1. The ring is enlarged, and the weights of the choices are no longer one 1 and
# zeros. The package keeps 1, so that every step trains a network of the space; `rescale=True` gives the public code's
# version. Look at a draw in which nothing is dropped:

# %%
for seed in itertools.count():  # the first draw that keeps all three
    ours = block.decide(torch.Generator().manual_seed(seed), KEEP)
    theirs = block.decide(torch.Generator().manual_seed(seed), KEEP, rescale=True)
    if ours[3] == 1:
        break
print("choices:      ", *block.choices, sep="   ")
print("package:      ", *(f"{weight:5.2f}" for weight in ours), sep="  ")
print("public code's:", *(f"{weight:5.2f}" for weight in theirs), sep="  ")

# %% [markdown]
# ### Exercise 04.4: a dropout that draws what you want
# *Difficulty 2 of 3, about 15 min; design.* Keep $d_3$, $d_5$ and $d_6$ with three probabilities of their own,
# independently. `wanted` holds the probabilities with which `k3e3`, `k3e6`, `k5e3`, `k5e6` and `skip` are to be drawn;
# skip is never certain. Design the dropout: return `(p3, p5, p6)`. Return `()` where no three probabilities draw that.
#
# <details><summary>Hint 1</summary>Skip depends on p3 alone. Among the draws that do not skip, how often is the kernel
# 5×5?</details>
# <details><summary>Hint 2</summary>Three probabilities cannot give every wish: work out what yours draw, and compare.
# Allow for rounding.</details>


# %% tags=["stub"]
def dropout_for(wanted):
    raise NotImplementedError


# %% tags=["solution"]
def dropout_for(wanted):
    _, k3e6, k5e3, k5e6, skip = wanted
    p3 = 1 - skip
    p5, p6 = (k5e3 + k5e6) / p3, (k3e6 + k5e6) / p3
    drawn = [p3 * a * b for a in (1 - p5, p5) for b in (1 - p6, p6)]
    return (p3, p5, p6) if np.allclose(drawn, wanted[:4]) else ()


# %% tags=["nbval-check-output"]
check_dropout(dropout_for)

# %% [markdown]
# ### The search
#
# It runs twice on real digits and a small space, without the runtime term ($\lambda = 0$) and with it.

# %%
table = LookupTable.build(small, "macs")
digits, unseen = (
    data.classification("digits", part, image_size=cfg.image_size).to(cfg.device)
    for part in ("train", "val")  # to learn from, and to judge the result
)
low, high = table.bounds()
told = f"{low / 1e6:.2f} to {high / 1e6:.2f} M MACs"
Markdown(f"{small.size:,} networks of {told}; {len(digits):,} digits to learn from.")

# %% [markdown]
# Thresholds have to travel as far as the norms are large, so they get a higher learning rate than weights. After each
# step `record` keeps what the figures below show: the architecture, and the norms and thresholds of every layer.


# %%
def fresh():
    """A supernet, and an optimizer that moves its thresholds faster than its weights."""
    net = small.supernet(seed=cfg.seed).to(cfg.device)
    groups = {True: [], False: []}
    for name, parameter in net.named_parameters():
        groups[name.split(".")[-1] in ("t3", "t5", "t6")].append(parameter)
    rates = {"weights": 3e-3, "thresholds": 0.15}
    each = [{"params": groups[i], "lr": rate} for i, rate in enumerate(rates.values())]
    return net, torch.optim.Adam(each)


def record(net):
    layers = []
    for slot in small.slots:
        kernel = net.parts[slot.name]
        sizes = norms(kernel.depthwise.conv.weight.detach(), kernel.indicators().d5.detach())
        sizes = [float(n if cfg.norm == "l2" else n**2) for n in sizes]
        levels = (kernel.t3, kernel.t5, kernel.t6)  # t3 is None where no skip is possible
        layers.append((sizes, [math.nan if t is None else float(t.detach()) for t in levels]))
    return superkernel.threshold_arch(net), layers


sizes, levels = record(fresh()[0])[1][1]
rows = {"norm": sizes, "threshold": levels}
print(f"{small.decisions[1].name} at first:")
pd.DataFrame(rows, ["t3, the layer", "t5, the ring", "t6, the upper half"]).round(2)

# %% [markdown]
# One more prediction before it runs. At first every layer is `k5e6`. With the runtime term, what is dropped first?

# %%
options = ["a ring", "an upper half", "a whole layer", "nothing at all"]
first_guess = course.predict("With the runtime term, what does the search drop first?", options)

# %% [markdown]
# The search itself is an ordinary training loop. Only the path and the second term of the loss are new.


# %%
def descend(runtime_weight):
    """The supernet after all steps, what was recorded, and the cross-entropy of each step."""
    net, optimizer = fresh()
    generator = randomness.stream(cfg.seed, "descent")
    stream = classification.batches(digits, cfg.batch_size, cfg.seed)
    images = itertools.chain.from_iterable(map(stream, itertools.count()))  # batches without end
    history, losses = [], []
    for step in course.Bar(range(cfg.steps), f"weight {runtime_weight:g}"):
        x, y = next(images)
        warm = step >= cfg.warmup_steps  # then nothing is dropped, and MACs count
        path = superkernel.threshold_path(net, generator, 1.0 if warm else KEEP)
        loss = F.cross_entropy(net(x, path), y)
        losses.append(float(loss.detach()))
        if warm:
            loss = loss + runtime_weight * table.expected([p.cpu() for p in path]).log()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(record(net))
    return net, history, losses


runs = {weight: descend(weight) for weight in (0.0, cfg.runtime_weight)}
final = {weight: history[-1][0] for weight, (_, history, _) in runs.items()}
print(*(f"weight {weight:g}: {table(a) / 1e6:.3f} M MACs" for weight, a in final.items()), sep="\n")

# %% [markdown]
# **What every layer chooses, step by step.** Each row is a layer, each colour a choice. Blue has lost its ring, a light
# tone has lost its upper half, and dark grey is skipped. Where an earlier colour returns, a part that was dropped came
# back.

# %%
tones = {"k3e3": "#dceaf6", "k3e6": "#8fbfe0", "k5e3": "#fdd0a2", "k5e6": "#e6842a", "skip": "0.25"}
chosen = {}
for weight, (_, history, _) in runs.items():
    names = {d.name: [d.choices[a[i]] for a, _ in history] for i, d in enumerate(small.decisions)}
    title = f"runtime weight {weight:g}: {table(final[weight]) / 1e6:.2f} M MACs"
    chosen[title] = pd.DataFrame(names).T  # a row for each layer, a column for each step
figures["choices"] = plots.heat(chosen, colours=tones, xlabel="step", width=11, height=4)
ends = [" ".join(table.iloc[:, -1]) for table in chosen.values()]
figures["choices"].alt = f"The choice of every layer, step by step. At the end: {'; '.join(ends)}."
figures["choices"]

# %% [markdown]
# When did the first ring, the first upper half and the first layer go, with the runtime term?

# %%
history = runs[cfg.runtime_weight][1]
lost = {"a ring": ("k3e3", "k3e6"), "an upper half": ("k3e3", "k5e3"), "a whole layer": ("skip",)}
when = {}  # the first step at which some layer has lost such a part
for option, names in lost.items():
    for step, (a, _) in enumerate(history):
        if any(d.choices[i] in names for d, i in zip(small.decisions, a, strict=True)):
            when.setdefault(option, step)
told = ", ".join(f"{option} at step {step}" for option, step in when.items())
first = min(when, key=when.get, default="nothing at all")
first_guess.came(first, f"First times: {told or 'none'}. A part goes when t is above its norm.")

# %% [markdown]
# **Norms against thresholds** for the first and the last layer that can be skipped. Where the threshold is above the
# norm, the part is masked. Norms move as well: the runtime term reaches the weights through them, so it lowers norms
# and raises thresholds. The cross-entropy may pull the other way. A norm of $t_3$ or $t_6$ jumps where the layer loses
# its ring or gets it back, since both look at what is left of the kernel.

# %%
skippable = [i for i, n in enumerate(small.choices) if n == 5]
panels = {}
for i in (skippable[0], skippable[-1]):
    for j, name in enumerate(("t3, the layer", "t5, the ring", "t6, the upper half")):
        norm, threshold = ([h[1][i][k][j] for h in history] for k in (0, 1))
        title = f"{small.decisions[i].name}: {name}"  # a panel for each part of both layers
        panels[title] = {"norm of the weights": norm, "threshold": threshold}
look = {"columns": 3, "share": "x", "xlabel": "step", "height": 2.4, "legend": "bottom"}
figures["thresholds"] = plots.lines(panels, list(range(cfg.steps)), **look)
figures["thresholds"]

# %% [markdown]
# What the runtime term saved, and what it cost in training loss:

# %%
macs = {weight: table(a) for weight, a in final.items()}
late = {weight: float(np.mean(losses[-10:])) for weight, (_, _, losses) in runs.items()}
saved = 1 - macs[cfg.runtime_weight] / macs[0.0]
Markdown(
    f"The search ends at {macs[0.0] / 1e6:.3f} M MACs without the runtime term and at "
    f"**{macs[cfg.runtime_weight] / 1e6:.3f} M** with it, {saved:.0%} less. Its training loss over "
    f"the last steps is {late[0.0]:.2f} without and {late[cfg.runtime_weight]:.2f} with it."
)

# %% [markdown]
# ## 6 · From the supernet to a network
#
# To *derive* the network is to build the chosen operations alone. With the supernet's weights, is it the network that
# the supernet ran? With `sliced` masks it should be, with the published `faithful` ones the leak of section 1 says no.
# We put the same weights into both kinds of supernet and compare their outputs with the derived network's.

# %%
net, found = runs[cfg.runtime_weight][0].cpu().eval(), final[cfg.runtime_weight]
x, apart = digits.images[:64].cpu(), {}
derived = small.inherit(net, found).eval()(x)
for semantics in ("sliced", "faithful"):
    masked = spaces.create("single_path", **size, semantics=semantics).supernet()
    masked.load_state_dict(net.state_dict())  # the same weights, other masks
    out = masked.eval()(x, sampling.one_hot(found, small.choices))
    apart[semantics] = ((out - derived).norm() / derived.norm()).item()
assert apart["sliced"] < 1e-3, "the sliced supernet runs the derived network"
told = ", ".join(f"{gap:.1%} ({name})" for name, gap in apart.items())
whole = {d.choices[i] for d, i in zip(small.decisions, found, strict=True)} == {"k5e6"}
why = "Nothing is masked in this network, so nothing can leak." if whole else ""
Markdown(f"The supernet's output is off the derived network's by {told} of its size. {why}")

# %% [markdown]
# So whoever uses the published masks has to judge the derived network and not the supernet: the supernet's accuracy is
# not that of the network that gets built.
#
# ### Exercise 04.5: a test that finds the leak
# *Difficulty 3 of 3, about 20 min; fault.* A colleague wrote a superkernel and says that it skips exactly. Write
# `leaks(block)`: True if skipping can change the input, for any weights that training might give the block; else
# False. `block(x, weights)` maps `x` (B, 8, H, W) to the same shape. To skip, the last of the five weights is 1 and
# the others are 0. The block comes freshly initialised and must stay as it is, its statistics and its mode included.
# The checker hands in sound blocks and leaky ones.
#
# <details><summary>Hint 1</summary>In a fresh network every BN has a shift of 0 and a running mean of 0. What would a
# leak look like then?</details>
# <details><summary>Hint 2</summary>Work on copy.deepcopy(block), and give all of its BNs other shifts and running
# means.</details>
# <details><summary>Hint 3</summary>BN does one thing in training mode and another in eval mode. A search uses both.
# </details>


# %% tags=["stub"]
def leaks(block):
    raise NotImplementedError


# %% tags=["solution"]
import copy


def leaks(block):
    twin, x = copy.deepcopy(block), torch.randn(4, 8, 6, 6)
    for norm in twin.modules():
        if isinstance(norm, nn.BatchNorm2d):  # as training may leave it
            nn.init.normal_(norm.bias)
            nn.init.normal_(norm.running_mean)
    skip = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0])
    return any(not torch.equal(twin.train(mode)(x, skip), x) for mode in (True, False))


# %% tags=["nbval-check-output"]
check_leaks(leaks)

# %% [markdown]
# ### The verdict: against random networks of equal cost
#
# A search is worth its price only if its network beats random ones of the same cost. So draw random networks whose MACs
# are within 3 % of the found one's. Train each from scratch beside the found one, both with the same seed: that is a
# *pair*. Judge both on digits that no training has seen. The searched network is the same in all pairs, so the verdict
# is one on this search, with trainings of this length.

# %%
from nasedu.search import StandAlone
from nasedu.task import Classification

near = tables.within(table, table(found), 0.03)
recipe = classification.recipe(cfg.epochs)
rivals = [near.sample(randomness.rng(cfg.seed, "rival", k)) for k in range(cfg.pairs)]
trained = {"searched": [], "random": []}
for k, rival in enumerate(course.Bar(rivals, "pairs of trainings")):
    # a pair has one seed: the order of the digits is the same for both
    task = Classification(digits, unseen, batch_size=cfg.batch_size, seed=k)
    accuracy = StandAlone(small, task, recipe, seed=k, device=cfg.device)
    trained["searched"].append(accuracy(found))
    trained["random"].append(accuracy(rival))
pd.DataFrame(trained, [f"pair {k + 1}" for k in range(cfg.pairs)]).map("{:.1%}".format)

# %% [markdown]
# The differences within pairs are what counts: what a seed does to both networks cancels out. `ranking.paired` gives
# their mean and its 95 % interval, which few pairs make wide.


# %%
def verdict(trained):
    """The lead of the searched networks (points), and who is better if the interval tells."""
    gap = ranking.paired(*(100 * np.array(trained[name]) for name in ("searched", "random")))
    told = "better than" if gap.low > 0 else "worse than" if gap.high < 0 else "not to be told from"
    lead = f"{gap.value:+.1f} points, interval {gap.low:+.1f} to {gap.high:+.1f}"
    return f"{lead}. What was searched is **{told}** random networks of its cost"


Markdown(f"Searched less random, over {cfg.pairs} pairs: {verdict(trained)}.")

# %% [markdown]
# That was one search, and the trainings were short. Short trainings show who learns fast, not who ends well. So the
# same was done once with five searches and longer trainings, and stored (`datasets/verdicts.py`). There a search is the
# unit: the mean of its pairs counts once.

# %%
stored = json.loads((benchmark.FOLDER / "verdicts.json").read_text())["04_space_single_path"]
names = [f"search {k + 1}" for k in range(len(stored))]
means = [{n: np.mean(run["verdict"][n]) for n in trained} for run in stored]
longer = pd.DataFrame(means, names)
longer.map("{:.1%}".format)

# %% [markdown]
# With longer trainings, is there still a difference?

# %%
size = stored[0]["parameters"]
Markdown(
    f"Searched less random, over {len(stored)} searches of {size['steps']} steps, each with "
    f"{size['pairs']} pairs of trainings of {size['epochs']} epochs: {verdict(longer)}."
)

# %% [markdown]
# ## Summary
#
# - A superkernel stores the largest choice only; all others are nested parts of it.
# - Thresholds on norms choose. The straight-through gradient lets them learn.
# - The result is an ordinary path. A table prices it exactly, with gradients, and a count over totals tells how many
#   networks fit a budget.
# - $4^5 \cdot 5^{15}$ networks, and one training searches them. Whether it pays is decided against random networks of
#   equal cost.
#
# **Pitfalls**
#
# - *The leak.* With the published masks a skipped layer adds a constant, and a masked half still adds its BN's shift.
#   Derive the network, build it, and test that one.
# - *Norm or squared norm.* The public code compares the norm, the paper writes its square. A threshold that was learned
#   for one is useless for the other (parameter `norm`).
# - *Rescaled dropout.* A library's dropout divides what it keeps by the probability. For an indicator, which is 0 or 1,
#   that is wrong.
# - *Shared by nesting.* All choices but skip train the core, only two of them train the ring. A ring that looks useless
#   early in the training may only be untrained.
# - *Settled too soon.* Far from its threshold a decision has hardly any gradient. It stays as it is, right or wrong.
#
# **Further reading**
#
# - Stamoulis, Ding, Wang, Lymberopoulos, Priyantha, Liu, Marculescu, *Single-Path NAS: Designing Hardware-Efficient
#   ConvNets in Less than 4 Hours*, ECML PKDD 2019; public code dstamoulis/single-path-nas
# - Straight-through gradients: Bengio, Léonard, Courville, *Estimating or Propagating Gradients Through Stochastic
#   Neurons for Conditional Computation*, 2013
# - The block: Sandler, Howard, Zhu, Zhmoginov, Chen, *MobileNetV2: Inverted Residuals and Linear Bottlenecks*,
#   CVPR 2018

# %%
course.finish(  # writes result.json and the figures into the output folder
    cfg,
    summary=f"{space.size:,} networks; rebuilt: {cost.macs:,} MACs; "
    f"small search: {macs[cfg.runtime_weight]:,.0f} MACs; "
    f"searched less random: {verdict(trained)}".replace("**", ""),
    figures=figures,
    results={
        "size": str(space.size),
        "published": {"macs": cost.macs, "params": cost.params, "networks_within": str(affordable)},
        "leak_of_skip": leaks_by,
        "supernet_off_the_derived_network": apart,
        "searched": {str(weight): small.format(a) for weight, a in final.items()},
        "searched_macs": {str(weight): value for weight, value in macs.items()},
        "loss_of_the_last_steps": {str(weight): value for weight, value in late.items()},
        "verdict": trained,
        "rivals": [small.format(a) for a in rivals],
    },
)
