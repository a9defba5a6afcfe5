# %% [markdown]
# # SPOS: a space of shuffled channels, trained one path at a time
#
# Train a whole space of networks in one supernet, and judge each network with statistics of its own.
#
# Single-Path One-Shot (SPOS) separates training from search. First it trains a *supernet*, one network that holds the
# weights of every candidate: each training step runs one random candidate. Then a search only tests candidates, with
# the weights that the supernet has learnt. Many later one-shot methods build on it.
#
# **Afterwards you can**
#
# 1. split and join channels as a shuffle unit does, and tell which rules of splitting let all channels meet;
# 2. rebuild the published network, check its counts, and find where two public codes differ;
# 3. train a supernet of all networks, at the cost of one network per step;
# 4. recalibrate batch normalisation, and audit code that claims to do so.
#
# **You need** PyTorch and an idea of convolutional networks.
#
# | preset | what it runs | time, two CPU cores |
# |---|---|---|
# | `smoke` | one pass over the digits: only proves that every cell works | 10 seconds |
# | `quick` | a small supernet, 20 passes over 1,078 digits of 16 px | 50 seconds, beside other work |
# | `full` | a wider and deeper one, 200 passes | not measured |
# | `gpu` | as `full`, 500 passes | not measured |

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu; it sets every parameter below that is None
projection: str = None  # width of the projection branch: input (official) or half (another code)
image_size: int = None  # pixels of the digits that the small supernet is trained on
width: float = None  # channels of the small supernet, as a multiple of the published ones
depth: float = None  # units of its stages, as a multiple of the published numbers
epochs: int = None  # passes over the digits that the supernet is trained for
batch_size: int = None  # digits per training step
probes: int = None  # architectures that are tested before and after recalibration
threads: int = None  # CPU threads
seed: int = None  # of every random choice
device: str = None  # auto, cpu, cuda, cuda:1 ...
out_dir: str = None  # folder of the results; None: one per set of parameters

# %%
import itertools

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from torch import nn

from nasedu import classification, course, data, hardware, plots, randomness, sampling, spaces
from nasedu.course.checks.spos import check_audit, check_meet, check_rule, check_update
from nasedu.errors import check_whole
from nasedu.task import Classification, fit

cfg = course.setup("03_space_spos", globals(), choices={"projection": ["input", "half"]})
ends = {"image_size": (8, 512), "epochs": (1, 100_000), "batch_size": (2, 100_000)}
ends |= {"probes": (2, 1000), "threads": (1, 256)}
for name, (least, most) in ends.items():
    check_whole(name, getattr(cfg, name), least, most)
torch.set_num_threads(cfg.threads)
# the small space of section 4, made here: a width or a size that it cannot have is refused at once
size = {"input_size": cfg.image_size, "stem_stride": 1, "width": cfg.width, "depth": cfg.depth}
small = spaces.create("spos", **{**spaces.COURSE, **size, "projection": cfg.projection})
cfg

# %% [markdown]
# ## 1 · The unit: half of the channels pass untouched
#
# A ShuffleNetV2 unit saves work by leaving half of its channels alone. The picture shows its two kinds, from left to
# right. Boxes are layers, numbers are channels. The dark *main* branch computes.
#
# - With stride 1 the other half passes as it is.
# - With stride 2 the resolution is halved, so nothing can pass as it is. A second branch, the *projection*, halves the
#   resolution of the channels that come in.

# %%
figures = {}
depthwise, strided = "depthwise k × k", "depthwise k × k\nstride 2"
kept = [["odd:\n80", "1 × 1", 80, depthwise, 80, "1 × 1", 80], ["even: 80"]]
reduced = [[64, "1 × 1", 80, strided, 80, "1 × 1", 96], [64, strided, 64, "1 × 1", 64]]
units = {"stride 1: half of the channels pass untouched (160 → 160)": (160, kept, 160)}
units["stride 2: both branches halve the resolution (64 → 160)"] = (64, reduced, 160)
figures["units"] = plots.branches(units)  # in a dict, so that the last cell can store them all
figures["units"]

# %% [markdown]
# At every place the network chooses one of four units. Three of them differ in the kernel of the depthwise convolution:
# 3, 5 or 7. The fourth is named after the network Xception. Its main branch has three pairs of layers, each a depthwise
# 3×3 and a 1×1 convolution.
#
# ### From scratch
#
# A unit is two branches and a concatenation. With stride 2 the projection puts out as many channels as come in, as in
# the official code, and the main branch puts out the rest.


# %%
def conv_bn(c_in, c_out, kernel=1, stride=1, groups=1):
    conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(c_out)]


class Unit(nn.Module):
    def __init__(self, c_in, c_out, kernel, stride):
        super().__init__()
        half = c_out // 2
        # what main reads, and what the other branch puts out
        enters, passed = (c_in // 2, half) if stride == 1 else (c_in, c_in)
        look = conv_bn(half, half, kernel, stride, groups=half)
        narrow = conv_bn(half, c_out - passed)
        self.main = nn.Sequential(*conv_bn(enters, half), nn.ReLU(), *look, *narrow, nn.ReLU())
        shrink = [*conv_bn(c_in, c_in, kernel, stride, groups=c_in), *conv_bn(c_in, passed)]
        self.projection = nn.Sequential(*shrink, nn.ReLU()) if stride == 2 else None

    def forward(self, x):
        if self.projection:
            return torch.cat([self.projection(x), self.main(x)], 1)
        return torch.cat([x[:, 0::2], self.main(x[:, 1::2])], 1)  # even ones pass


out = Unit(64, 160, 3, 2)(torch.zeros(2, 64, 8, 8))
f"{out.shape[1]} channels at {out.shape[2]} × {out.shape[3]} pixels"

# %% [markdown]
# With the same weights this unit must give the same output as the package's block. Three settings, with every kernel
# and both strides:

# %%
from nasedu.blocks import ShuffleBlock, ShuffleXception


def same_weights(mine, theirs):
    """Copy the weights of `theirs` into `mine`: both have the same layers in the same order."""
    copied = zip(mine.state_dict(), theirs.state_dict().values(), strict=True)
    mine.load_state_dict(dict(copied))


for c_in, c_out, kernel, stride in ((64, 64, 3, 1), (64, 64, 7, 1), (16, 64, 5, 2)):
    mine, theirs = Unit(c_in, c_out, kernel, stride), ShuffleBlock(c_in, c_out, kernel, stride)
    same_weights(mine, theirs)
    x = torch.randn(4, c_in, 8, 8)
    a, b = mine(x), theirs(x)
    assert torch.equal(a, b), "the unit from scratch and the package's block must agree"
    what = f"kernel {kernel}, stride {stride}"
    print(f"{what}: mean output {a.mean():.6f} here, {b.mean():.6f} in the package")

# %% [markdown]
# Xception's main branch at stride 1 is the same pair of layers three times. It must agree with the package's, too.


# %%
def xception(half):
    layers = []
    for _ in range(3):
        layers += [*conv_bn(half, half, 3, groups=half), *conv_bn(half, half), nn.ReLU()]
    return nn.Sequential(*layers)


mine, theirs = xception(32), ShuffleXception(64, 64)
same_weights(mine, theirs)
x = torch.randn(4, 64, 8, 8)
a, b = torch.cat([x[:, 0::2], mine(x[:, 1::2])], 1), theirs(x)  # even channels pass here, too
assert torch.equal(a, b), "Xception from scratch and the package's must agree"
print(f"mean output {a.mean():.6f} here, {b.mean():.6f} in the package")

# %% [markdown]
# ### Why the halves are even and odd channels
#
# `x[:, 0::2]` takes the even channels and `x[:, 1::2]` the odd ones. A unit could also cut its channels in the middle,
# at the same cost. What would be lost? For every channel, count the *input* channels that it depends on. A channel that
# passes depends on what it depended on before. A channel that the main branch puts out depends on everything that the
# branch reads. Here are four units of 8 channels under both rules.


# %%
def counts(split, units=4, channels=8):
    """How many input channels every channel depends on, before the first unit and after each."""
    depends = [np.eye(channels, dtype=bool)]  # at first every channel depends on itself alone
    for _ in range(units):
        passed, worked = split(depends[-1])
        depends.append(np.concatenate([passed, np.tile(worked.any(0), (len(worked), 1))]))
    names = ["input", *(f"after unit {i + 1}" for i in range(units))]
    return pd.DataFrame([d.sum(1) for d in depends], names)


rules = {"even and odd": lambda x: (x[0::2], x[1::2]), "cut in halves": lambda x: (x[:4], x[4:])}
flow = {name: counts(split) for name, split in rules.items()}
look = {"numbers": ".0f", "bar": "input channels", "xlabel": "channel", "width": 10}
figures["channel_flow"] = plots.heat(flow, **look)
figures["channel_flow"]

# %% [markdown]
# Each row is a step, each column a channel. After a cut in the middle (right) the first half passes every unit, so
# these channels never meet another one. With even and odd (left) a channel that passes may be worked on by the next
# unit. One channel is an exception: channel 0 is always the first even one, so it passes until a unit with stride 2
# mixes all channels.

# %%
alone = {rule: int((table.iloc[-1] == 1).sum()) for rule, table in flow.items()}
assert alone == {"even and odd": 1, "cut in halves": 4}, "channel 0, or a half"
told = ", ".join(f"{n} ({rule})" for rule, n in alone.items())
Markdown(f"Channels that depend on one input channel only: {told}.")

# %% [markdown]
# Taking even and odd channels apart is a **channel shuffle**: pairs of neighbours are the groups, and the shuffle takes
# the first channel of every pair, then the second. A cut in the middle of the result gives the two halves.

# %% tags=["nbval-check-output"]
[int(channel) for channel in nn.ChannelShuffle(4)(torch.arange(8.0).view(1, 8, 1, 1)).flatten()]

# %% [markdown]
# ### Exercise 03.1: units until all channels have met
# *Difficulty 2 of 3, about 15 min.* A rule `split(x)` takes an array with a row for each channel. It returns two
# arrays: the rows that pass, and the rows that the main branch works on. The unit puts them behind one another in this
# order. It puts out as many channels as it works on, and each of these depends on everything that the branch read.
# Every unit of a chain has the same rule. Return after how many units *every* channel depends on *all* input channels.
# Return `np.inf` for a rule under which that never happens.
#
# <details><summary>Hint 1</summary>Keep a table of true and false: row i says which input channels channel i depends
# on. At first it is np.eye(channels, dtype=bool). The rule can be applied to the table itself.</details>
# <details><summary>Hint 2</summary>The next table depends on nothing but this one. If a table comes back, everything
# after it comes back, too.</details>


# %% tags=["stub"]
def units_until_met(split, channels):
    raise NotImplementedError


# %% tags=["solution"]
def units_until_met(split, channels):
    depends, before = np.eye(channels, dtype=bool), set()
    while not depends.all():
        if depends.tobytes() in before:  # a table that was there before: it goes round in circles
            return np.inf
        before.add(depends.tobytes())
        passed, worked = split(depends)
        depends = np.concatenate([passed, np.tile(worked.any(0), (len(worked), 1))])
    return len(before)


# %% tags=["nbval-check-output"]
check_meet(units_until_met)

# %% [markdown]
# ### Exercise 03.2: a rule that leaves no channel behind
# *Difficulty 3 of 3, about 20 min; design.* Write a `split(x)` as in exercise 03.1 for any number of rows that is a
# multiple of 4, from 8 on. Half of the rows pass and half are worked on. Under your rule all channels must have met
# after at most **5 units**, with 8 channels as with 320.
#
# <details><summary>Hint 1</summary>Let the odd rows pass and work on the even ones: no channel is left behind. But the
# more channels there are, the longer some of them wait.</details>
# <details><summary>Hint 2</summary>Think of four blocks, each a quarter of the rows. They behave like four channels.
# There are only 24 orders of four blocks, so let exercise 03.1 try them all.</details>


# %% tags=["stub"]
def split(x):
    raise NotImplementedError


# %% tags=["solution"]
def split(x):
    first, second, third, fourth = np.split(x, 4)
    return np.concatenate([second, third]), np.concatenate([first, fourth])


# %% tags=["nbval-check-output"]
check_rule(split)

# %% [markdown]
# ## 2 · The space: 20 places, four units each
#
# The picture draws every block to scale. Its width is the square root of its channels, its height the square root of
# its resolution. Blue blocks are searched and carry their number of choices; grey ones are fixed.

# %%
space = spaces.create("spos", projection=cfg.projection)
figures["space"] = plots.blocks(space)
figures["space"]

# %% [markdown]
# The four stages have 4, 4, 8 and 4 units, and every unit has four choices. No choice skips a unit, so every unit can
# take every choice, also where the stride is 2. The choices are independent, so their numbers multiply.

# %% tags=["nbval-check-output"]
places = 4 + 4 + 8 + 4
assert places == len(space.decisions) and set(space.choices) == {4}, "20 places with 4 choices"
assert space.size == 4**places == 1_099_511_627_776, "the product of all numbers of choices"
f"4^{places} = {space.size:,} networks"

# %% [markdown]
# That is too many even for a test that takes next to no time:

# %%
years = space.size * 1e-3 / 3600 / 24 / 365
Markdown(f"Testing each of them for a *millisecond* would take **{years:.0f} years**.")

# %% [markdown]
# ## 3 · The published network, rebuilt
#
# This is the network that the authors' search found and that they published, choice by choice. Colours are kernels.

# %%
published, arch = spaces.published("spos", "SPOS")
figures["published"] = plots.blocks(published, {"SPOS, as published": arch})
figures["published"]

# %% [markdown]
# Read its kernels from the image to the classes; `X` is Xception.

# %% tags=["nbval-check-output"]
chosen = [published.decisions[0].choices[i] for i in arch]
kernels = ["X" if unit == "xception" else unit.removeprefix("shuffle") for unit in chosen]
stages = np.split(np.array(kernels), [4, 8, 16])
for i, stage in enumerate(stages, 1):
    print(f"stage {i}:", *stage)

# %% [markdown]
# No simple rule tells these kernels. *Small kernels near the image* would be one, and it is false: stage 1 begins with
# 7 and 5. The four 3×3 units in a row stand in the second half of stage 3, and most Xception units in stage 4.
#
# The authors state 323 M multiply-accumulates (MACs) and 3.5 M parameters. The rebuilt network has, exactly:

# %% tags=["nbval-check-output"]
cost = hardware.count(published.build(arch), published.input_shape)
assert round(cost.macs / 1e6) == 323, "the authors state 323 M MACs"
assert int(cost.params / 1e5) == 35, "and 3.5 M parameters"
print(f"{cost.macs:,} MACs, {cost.params:,} parameters")

# %% [markdown]
# ### Where two public codes differ
#
# At stride 2 the official code gives the projection as many channels as come in, $C_{in}$, and the main branch
# $C_{out} - C_{in}$. Another public code gives both branches half of the output. Where the channels double, as at the
# start of stages 3 and 4, that is the same. Stages 1 and 2 start with 16 → 64 and 64 → 160, and there it builds
# another network. The option `projection="half"` builds the network of the other code.

# %%
other = spaces.create("spos", projection="half")
half = hardware.count(other.build(arch), other.input_shape)
parts = zip(published.build(arch).parts.items(), other.build(arch).parts.values(), strict=True)
differ = []  # blocks whose numbers of weights differ
for (name, a), b in parts:
    if sum(p.numel() for p in a.parameters()) != sum(p.numel() for p in b.parameters()):
        differ.append(name)
assert differ == ["stage1_1", "stage2_1"], "only these two units do not double the channels"
Markdown(
    f"With `half`: {half.macs:,} MACs ({half.macs / cost.macs - 1:+.1%}) and {half.params:,} "
    f"parameters; {' and '.join(differ)} differ. Compare counts before you compare accuracies."
)

# %% [markdown]
# ### Change it yourself
#
# Start from the published network. Pick a block in the first list and its unit in the second, and read what the network
# costs now.

# %%
from nasedu.tables import LookupTable
from nasedu.widgets import SpaceWidget

priced = {metric: LookupTable.build(published, metric) for metric in ("macs", "params")}
widget = SpaceWidget(published, priced, arch)
assert priced["macs"](arch) == cost.macs, "the table's sum is the network's count"
widget

# %% [markdown]
# Two more networks as a still picture: every unit with the largest kernel, and every unit Xception.

# %%
choices = published.decisions[0].choices
extremes = {unit: (choices.index(unit),) * places for unit in ("shuffle7", "xception")}
macs = {unit: priced["macs"](a) / 1e6 for unit, a in extremes.items()}
names = {f"{unit} everywhere: {macs[unit]:.0f} M MACs": a for unit, a in extremes.items()}
figures["extremes"] = plots.blocks(published, names)
figures["extremes"]

# %% [markdown]
# ## 4 · One supernet, one path per step
#
# The supernet holds all four units at every place. Given an architecture, it runs one unit at each place: the
# architecture is a *path* through the supernet. The stand-alone network with the same weights must put out the same.
# We test that on a small space, on a few random architectures that serve as probes for the rest of the notebook.

# %%
supernet = small.supernet(seed=cfg.seed)
rng = randomness.rng(cfg.seed, "probes")
probes = [small.sample(rng) for _ in range(cfg.probes)]  # every choice equally likely
x = torch.randn(8, *small.input_shape)
for a in probes:
    within, alone = supernet(x, a), small.inherit(supernet, a)(x)
    torch.testing.assert_close(within, alone, rtol=1e-5, atol=1e-5)
print(f"mean output {within.mean():.6f} in the supernet, {alone.mean():.6f} alone")
weights = sum(p.numel() for p in supernet.parameters())
Markdown(f"{small.size:,} networks share {weights:,} weights.")

# %% [markdown]
# **Training.** Each step draws one architecture, every choice equally likely, runs it on a batch and trains what it
# ran. So a step costs what one network costs. It leaves the weights of all other units as they are. Before you run
# the next cells, think: how much of the supernet's searchable weights does one step change?

# %%
guess = course.predict(
    "How many of the weights in searchable places does one step change?",
    ["about a quarter", "about half", "all of them"],
)

# %% [markdown]
# A weight that took part has a gradient. Draw one path, run it, go backwards, and count.

# %%
sampler = sampling.Uniform()
(path,) = sampler.paths(small, randomness.stream(cfg.seed, "one path"))
supernet(x, path).square().mean().backward()
searched = [p for slot in small.slots for p in supernet.parts[slot.name].parameters()]
touched = sum(p.numel() for p in searched if p.grad is not None) / sum(p.numel() for p in searched)
supernet.zero_grad()
print(f"the path {path} touched {touched:.0%} of the weights in searchable places")

# %% [markdown]
# Your prediction, and what came:

# %%
shares = {"about a quarter": 0.25, "about half": 0.5, "all of them": 1.0}
outcome = min(shares, key=lambda option: abs(shares[option] - touched))
guess.came(outcome, "A path runs one of the four units at each place; units differ in size.")

# %% [markdown]
# Now train the supernet on real digits. They come with scikit-learn, so nothing is downloaded.

# %%
train_set, val_set = (
    data.classification("digits", part, image_size=cfg.image_size).to(cfg.device)
    for part in ("train", "val")  # a quarter as many to test on
)
recipe = classification.recipe(cfg.epochs, optimizer="sgd", lr=0.3, momentum=0.9, clip=1.0)
task = Classification(train_set, val_set, batch_size=cfg.batch_size, seed=cfg.seed)
step = sampling.supernet_step(small, sampler, task)
how = {"seed": cfg.seed, "device": cfg.device}
how["state"] = cfg.out_dir / "supernet.pt"  # a training that was stopped goes on from here
with course.Bar(total=cfg.epochs, desc="supernet", unit="epoch") as bar:
    trained = fit(supernet, task, recipe, step, progress=bar.show, **how)
losses = [record["total"] for record in trained.history]
f"digits to train on: {len(train_set):,}, to test on: {len(val_set)}; passes: {cfg.epochs}"

# %% [markdown]
# The curve shows the mean loss of the networks that each pass drew. The dotted line is the loss of a network that finds
# every class equally likely.

# %%
guessing = np.log(len(val_set.classes))
labels = {"xlabel": "pass over the digits", "ylabel": "cross-entropy"}
figures["training"] = plots.lines({"networks of that pass": losses}, **labels)
figures["training"].guide(y=guessing, label="every class equally likely")
figures["training"]

# %% [markdown]
# ## 5 · Statistics that belong to none of the networks
#
# Batch normalisation (BN) subtracts a mean from every channel and divides by a standard deviation. In training these
# come from the batch. For testing it uses *running statistics*, averages over the last training batches. In a supernet
# these batches ran random paths, so the running statistics are a mixture of all networks. The network that is tested
# has statistics of its own.
#
# Look at one BN layer, where the last stage begins. Each point is a channel. Across: its mean if only the tested
# network runs. Upwards: the mean that the supernet has stored.

# %%
from nasedu.supernet.batchnorm import recalibrated

tested = probes[0]
place = [slot.name for slot in small.slots].index("stage4_1")
norm = supernet.parts["stage4_1"].operations[tested[place]].projection[0].bn
stored = norm.running_mean.clone().cpu()
batches = [images for images, _ in task.batches("train", -1)]  # training images, no labels
with recalibrated(supernet, batches, lambda net, images: net(images, tested)):
    own = norm.running_mean.clone().cpu()  # inside `with` the statistics are the tested network's
labels = {"xlabel": "mean, its own", "ylabel": "mean, stored in the supernet"}
labels |= {"diagonal": True, "width": 6}
figures["statistics"] = plots.scatter({"a channel": (own, stored)}, **labels)
figures["statistics"]

# %% [markdown]
# At a point on the line both agree. A point off the line is a channel that the layer shifts wrongly. The next layer
# gets the shifted channels, and shifts some wrongly itself.

# %%
off = float((stored - own).abs().mean() / own.std())
Markdown(f"On average a stored mean is off by {off:.0%} of the spread between the channels.")

# %% [markdown]
# The remedy is cheap and needs no labels: **recalibrate**. Reset the running statistics. Run a few batches of
# *training* images through the tested path, and average their statistics, every batch with the same weight. No weight
# of the network changes. Afterwards the supernet gets back the statistics that it had.
#
# ### Exercise 03.3: statistics over batches
# *Difficulty 2 of 3, about 10 min.* `running` (C,) is the average of the means of `seen` batches, `batch` (B, C, H, W)
# is the next one. Return the average of all `seen + 1` means. (With `seen = 0`, nothing of `running` may be left.)
#
# <details><summary>Hint 1</summary>A channel's mean is taken over images, rows and columns: axes 0, 2 and 3.</details>
# <details><summary>Hint 2</summary>An average of n + 1 numbers is the average of the first n, moved by 1 / (n + 1) of
# the way towards the new one.</details>


# %% tags=["stub"]
def update(running, batch, seen):
    raise NotImplementedError


# %% tags=["solution"]
def update(running, batch, seen):
    return running + (batch.mean((0, 2, 3)) - running) / (seen + 1)


# %% tags=["nbval-check-output"]
check_update(update)

# %% [markdown]
# The package sets BN's `momentum`, the weight of the new batch, to 1 / (seen + 1) before each batch. That gives the
# plain average. Three batches show it:

# %%
from nasedu.supernet.batchnorm import recalibrate

norm, three = nn.BatchNorm2d(5), [torch.randn(8, 5, 4, 4) + i for i in range(3)]
recalibrate(norm, three, lambda net, images: net(images))
average = torch.stack([batch.mean((0, 2, 3)) for batch in three]).mean(0)
torch.testing.assert_close(norm.running_mean, average, msg="both average three means")
print(f"first channel: {average[0]:.6f} here, {norm.running_mean[0]:.6f} in the package")

# %% [markdown]
# ### Before and after
#
# Now test the probes on validation digits, first with the supernet's own statistics, then with statistics from 1, 2, 4
# and 8 batches. All of a network's weights stay the same. A search would pick the network with the highest accuracy.
# Think first: does recalibration change which one that is?

# %%
best_guess = course.predict(
    "The best network with the supernet's own statistics: is it also the best after recalibration?",
    ["yes, the same one", "no, another one"],
)

# %% [markdown]
# `tested_accuracy` judges one network. `recalibrated` puts the supernet's statistics back when its `with` block ends.


# %%
def tested_accuracy(arch, count):
    """Accuracy in the supernet, with statistics from `count` batches (0: the supernet's own)."""

    def forward(net, images):
        return net(images, arch)

    if count == 0:
        return classification.accuracy(supernet, val_set, forward)
    with recalibrated(supernet, batches[:count], forward):
        return classification.accuracy(supernet, val_set, forward)


steps = (0, 1, 2, 4, 8)
accuracies = {count: [tested_accuracy(a, count) for a in probes] for count in steps}
first = ", ".join(f"{v[0]:.0%} ({count})" for count, v in accuracies.items())
print(f"first probe, accuracy by number of batches: {first}")

# %% [markdown]
# Every coloured line is a network, the black line is their mean.

# %%
percent = 100 * pd.DataFrame(accuracies).T.rename(index=lambda n: str(n or "the\nsupernet's"))
percent.columns = [f"network {i + 1}" for i in percent]
labels = {"xlabel": "batches that the statistics were computed from", "ylabel": "accuracy (%)"}
labels |= {"ylim": (0, None), "legend": "right" if len(probes) < 12 else "none"}
figures["recalibration"] = plots.lines(percent.assign(mean=percent.mean(axis=1)), **labels)
mean_line = figures["recalibration"].axes[0].lines[-1]  # drawn last, above the networks
mean_line.set(color="black", linewidth=3, linestyle="-")
figures["recalibration"].guide(y=100 / len(val_set.classes), label="chance")
figures["recalibration"]

# %% [markdown]
# The same in numbers, and what came of your prediction. A pair of networks *changes its order* if one of them is better
# before and the other one after.

# %%
before, after = np.array(accuracies[0]), np.array(accuracies[8])
gain, pairs = after - before, list(itertools.combinations(range(len(probes)), 2))
flips = sum((before[i] - before[j]) * (after[i] - after[j]) < 0 for i, j in pairs)
same = before[after.argmax()] == before.max()  # the best after was the best before, or tied
told = f"{flips} of {len(pairs)} pairs of networks change their order. "
told += f"Mean accuracy: {before.mean():.0%} before, **{after.mean():.0%} after** recalibration "
told += "on 8 batches; single networks change by "
told += f"{100 * gain.min():+.0f} to {100 * gain.max():+.0f} points."
best_guess.came("yes, the same one" if same else "no, another one", told)

# %% [markdown]
# The class `nasedu.search.SupernetScore` does this for a search: for every architecture it recalibrates on the same
# training batches, tests, and puts the statistics back.

# %%
from nasedu.search import SupernetScore

judge = SupernetScore(small, supernet, task, batches=8)
score = judge(probes[0])
assert score == after[0], "the package's judge must agree with tested_accuracy"
print(f"first probe: {after[0]:.4f} here, {score:.4f} by SupernetScore")

# %% [markdown]
# ### Exercise 03.4: an audit of a judge
# *Difficulty 3 of 3, about 25 min; fault.* `judge(net, arch, train, val)` claims to recalibrate a supernet `net` on
# `train`, a list of image batches, for the architecture `arch`, and returns the logits (B, classes) of the images
# `val`. Such code is easily wrong in silence. Write `audit(judge, net, archs, train, val)`. It returns True for a judge
# that is right for each of `archs` and leaves `net` as it was, with its statistics and in its mode; else False.
# `net(images, arch)` runs a path; you get it in eval mode. The checker lets you audit sound judges and faulty ones.
#
# <details><summary>Hint 1</summary>You can work out what is right by yourself: copy.deepcopy(net), then recalibrate
# of nasedu.supernet.batchnorm, then eval mode.</details>
# <details><summary>Hint 2</summary>A judge that keeps something from its first call is right until you ask about a
# second architecture.</details>
# <details><summary>Hint 3</summary>state_dict() holds weights and statistics, but not the mode: each of net.modules()
# has an attribute <code>training</code>. Sound judges may differ from you by rounding.</details>


# %% tags=["stub"]
def audit(judge, net, archs, train, val):
    raise NotImplementedError


# %% tags=["solution"]
import copy


def audit(judge, net, archs, train, val):
    before = copy.deepcopy(net)
    for arch in archs:
        right = copy.deepcopy(before)
        recalibrate(right, train, lambda twin, images, arch=arch: twin(images, arch))
        if not torch.allclose(judge(net, arch, train, val), right.eval()(val, arch), atol=1e-4):
            return False
        now, then = net.state_dict(), before.state_dict()  # weights and statistics
        if any(not torch.equal(now[name], then[name]) for name in then):
            return False
    return not any(module.training for module in net.modules())


# %% tags=["nbval-check-output"]
check_audit(audit)

# %% [markdown]
# ## Summary
#
# - A shuffle unit works on half of its channels. The rule that splits them decides which channels ever meet.
# - SPOS has 20 places with four units each: $4^{20}$, about $10^{12}$ networks.
# - One random path per step trains a supernet at the cost of one network.
# - The running statistics of a supernet's BN belong to none of its networks. Recalibrate on training images before
#   every test.
#
# **Pitfalls**
#
# - *Low accuracies.* These networks share weights that few steps have trained. Only their order can be of use, and
#   notebook 05 asks whether it is.
# - *Recalibrating on test images.* That uses the test data, even without labels. Use training images.
# - *Statistics left behind.* After recalibration for one network the supernet holds its statistics. A second network
#   that is tested with them is misjudged again. Put them back, or recalibrate for each.
# - *Another projection.* Two codes that are both called SPOS can build different networks. Count first.
#
# **Further reading**
#
# - SPOS: Guo, Zhang, Mu, Heng, Liu, Wei, Sun, *Single Path One-Shot Neural Architecture Search with Uniform Sampling*,
#   ECCV 2020; official code megvii-model/SinglePathOneShot; the other code: eric8607242/OSNASLib
# - The unit: Ma, Zhang, Zheng, Sun, *ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design*,
#   ECCV 2018
# - Depthwise and 1×1 convolutions in turn: Chollet, *Xception: Deep Learning with Depthwise Separable Convolutions*,
#   CVPR 2017

# %%
course.finish(  # writes result.json and the figures into the output folder
    cfg,
    summary=f"{space.size:,} networks; SPOS rebuilt: {cost.macs:,} MACs; "
    f"recalibration {before.mean():.1%} to {after.mean():.1%}",
    figures=figures,
    results={
        "size": str(space.size),
        "published": {"macs": cost.macs, "params": cost.params},
        "half_projection": {"macs": half.macs, "params": half.params},
        "losses": losses,
        "accuracy_by_batches": accuracies,
        "pairs_that_change_their_order": [flips, len(pairs)],
    },
)
