# %% [markdown]
# # SPOS: a space of shuffled channels, one path at a time
#
# Build a network of shuffled channels, train all of its variants at once, and put their statistics right.
#
# Single-Path One-Shot (SPOS) took the search out of the training: a supernet learns by running *one random network in
# every step*, and whoever searches afterwards only has to test. That is the simplest one-shot method there is, and the
# one that most later ones start from.
#
# **Afterwards you can**
#
# 1. split, shuffle and join channels, and say what a shuffle unit costs;
# 2. rebuild the published network to the last multiplication, and name where public codes disagree;
# 3. train a supernet on single paths, with the price of one network per step;
# 4. recalibrate batch normalisation, and show why no supernet should be judged without it.
#
# **You need** PyTorch and an idea of convolutional networks.
#
# | preset | what it runs | time, two CPU cores |
# |---|---|---|
# | `smoke` | one pass over the digits: only proves that every cell works | 10 seconds |
# | `quick` | a small supernet, 20 passes over 1,078 digits of 16 px | 55 seconds, beside other work |
# | `full` | a wider and deeper one, 200 passes | not measured |
# | `gpu` | as `full`, 500 passes | not measured |

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu; it sets every parameter below that is None
projection: str = None  # width of the projection branch: input (official) or half (another public code)
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
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from torch import nn
from tqdm import tqdm

from nasedu import classification, course, data, hardware, plots, sampling, spaces
from nasedu.course.checks.spos import check_params, check_untouched, check_update
from nasedu.task import Classification, fit

cfg = course.setup("03_space_spos", globals(), choices={"projection": ["input", "half"]})
torch.set_num_threads(cfg.threads)
cfg

# %% [markdown]
# ## 1 · The unit: half of the channels do nothing
#
# ShuffleNetV2 saves work in the plainest way: half of the channels pass a unit untouched. The picture shows its two
# units from left to right; dark boxes are the *main* branch, light ones the rest, and the numbers are channels. With
# stride 2 everything must shrink, so a *projection* branch takes the place of the untouched half.

# %%
figures = {}
depthwise, strided = "depthwise k × k", "depthwise k × k\nstride 2"
kept = [["odd:\n80", "1 × 1", 80, depthwise, 80, "1 × 1", 80], ["even: 80"]]
reduced = [[64, "1 × 1", 80, strided, 80, "1 × 1", 96], [64, strided, 64, "1 × 1", 64]]
units = {"stride 1: half of the channels pass untouched (160 → 160)": (160, kept, 160)}
units["stride 2: both branches halve the resolution (64 → 160)"] = (64, reduced, 160)
figures["units"] = plots.branches(units)
figures["units"]

# %% [markdown]
# A place chooses between four units. Three differ in the kernel of the depthwise convolution: 3, 5 or 7. The fourth,
# named after Xception, does depthwise and 1×1 three times over.
#
# ### From scratch
#
# Two branches and a concatenation. `projection` follows the official code: it has as many channels as come in, and
# main supplies the rest.


# %%
def conv_bn(c_in, c_out, kernel=1, stride=1, groups=1):
    return [nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(c_out)]


class Unit(nn.Module):
    def __init__(self, c_in, c_out, kernel, stride):
        super().__init__()
        half = c_out // 2
        enters, passed = (c_in // 2, half) if stride == 1 else (c_in, c_in)
        look = conv_bn(half, half, kernel, stride, groups=half)
        narrow = conv_bn(half, c_out - passed)
        self.main = nn.Sequential(*conv_bn(enters, half), nn.ReLU(), *look, *narrow, nn.ReLU())
        shrink = conv_bn(c_in, c_in, kernel, stride, groups=c_in)
        self.projection = nn.Sequential(*shrink, *conv_bn(c_in, passed), nn.ReLU()) if stride == 2 else None

    def forward(self, x):
        if self.projection:
            return torch.cat([self.projection(x), self.main(x)], 1)
        return torch.cat([x[:, 0::2], self.main(x[:, 1::2])], 1)


# %% [markdown]
# With the same weights it gives the same answer as the package's block, for every kernel and both strides:

# %%
from nasedu.blocks import ShuffleBlock, ShuffleXception

for c_in, c_out, kernel, stride in ((64, 64, 3, 1), (64, 64, 7, 1), (16, 64, 5, 2)):
    mine, theirs = Unit(c_in, c_out, kernel, stride), ShuffleBlock(c_in, c_out, kernel, stride)
    mine.load_state_dict(dict(zip(mine.state_dict(), theirs.state_dict().values(), strict=True)))
    x = torch.randn(4, c_in, 8, 8)
    assert torch.equal(mine(x), theirs(x))

# %% [markdown]
# Xception, at stride 1, as one line of layers:


# %%
def xception(half):
    layers = []
    for _ in range(3):
        layers += [*conv_bn(half, half, 3, groups=half), *conv_bn(half, half), nn.ReLU()]
    return nn.Sequential(*layers)


mine, theirs = xception(32), ShuffleXception(64, 64)
mine.load_state_dict(dict(zip(mine.state_dict(), theirs.state_dict().values(), strict=True)))
x = torch.randn(4, 64, 8, 8)
assert torch.equal(torch.cat([x[:, 0::2], mine(x[:, 1::2])], 1), theirs(x))

# %% [markdown]
# ### Why the channels are dealt, not cut
#
# `x[:, 0::2]` takes the even channels, `x[:, 1::2]` the odd ones. Cutting in the middle would be as cheap. To see what
# it would cost, follow which input channels each channel depends on, through four units of 8 channels:


# %%
def seen(split, units=4, channels=8):
    """How many input channels every channel depends on, after each unit."""
    depends = [np.eye(channels, dtype=bool)]
    for _ in range(units):
        passed, worked = split(depends[-1])
        depends.append(np.concatenate([passed, np.tile(worked.any(0), (channels // 2, 1))]))
    return np.array([d.sum(1) for d in depends])


splits = {"dealt: even and odd": lambda d: (d[0::2], d[1::2]), "cut: first and second half": lambda d: (d[:4], d[4:])}
reach = {name: seen(split) for name, split in splits.items()}
assert reach["dealt: even and odd"][-1].mean() > reach["cut: first and second half"][-1].mean()
units = ["input", *(f"after unit {i + 1}" for i in range(4))]
tables_of = {name: pd.DataFrame(counts, units) for name, counts in reach.items()}
figures["channel_flow"] = plots.heat(tables_of, numbers=".0f", bar="input channels seen", xlabel="channel", width=10)

# %% [markdown]
# Rows are units, columns channels, numbers the input channels that a channel has heard of. Cut (right), the first half
# never learns anything, for it passes every unit untouched. Dealt (left), channels meet after two or three units.
# Channel 0 is an exception: it is the first even one every time, so it passes until the next unit with stride 2.

# %%
figures["channel_flow"]

# %% [markdown]
# Dealing into even and odd is a **channel shuffle** with two groups (notebook 02 writes one), followed by a cut: the
# shuffle takes one channel from each group in turn.
#
# ### Exercise 03.1: how long a channel passes
# *Difficulty 1 of 3, about 5 min.* `channels` of them enter a chain of `units` with stride 1. Each unit passes the
# channels at even places on, in their order and in front of those that it worked on. Return how many of the chain's
# input channels come out untouched.
#
# <details><summary>Hint 1</summary>A channel that passes moves from place 2i to place i. Which places are left after
# the first unit, and which of them are even?</details>
# <details><summary>Hint 2</summary>Keep a list of the places, starting with range(channels), and take every second one
# for each unit.</details>


# %% tags=["stub"]
def untouched(channels, units):
    raise NotImplementedError


# %% tags=["solution"]
def untouched(channels, units):
    left = range(channels)
    for _ in range(units):
        left = left[0::2]
    return len(left)


# %% tags=["nbval-check-output"]
check_untouched(untouched)

# %% [markdown]
# ### Exercise 03.2: the parameters of a shuffle unit
# *Difficulty 2 of 3, about 10 min.* Return the number of parameters of a unit with three layers in its main branch
# (not Xception). Convolutions have no bias; each is followed by a BN with two parameters per channel.
#
# <details><summary>Hint 1</summary>A 1×1 convolution from a to b channels has a·b weights, a depthwise one of a
# channels kernel²·a.</details>
# <details><summary>Hint 2</summary>Stride 1: main goes from c_out/2 to c_out/2 to c_out/2. Stride 2: from c_in to
# c_out/2 to c_out − c_in, beside a projection with two convolutions of c_in channels.</details>


# %% tags=["stub"]
def params(c_in, c_out, kernel, stride):
    raise NotImplementedError


# %% tags=["solution"]
def params(c_in, c_out, kernel, stride):
    half = c_out // 2
    enters, passed = (c_in // 2, half) if stride == 1 else (c_in, c_in)
    last = c_out - passed
    main = enters * half + kernel**2 * half + half * last + 2 * (half + half + last)
    return main + (kernel**2 * c_in + c_in * passed + 2 * (c_in + passed) if stride == 2 else 0)


# %% tags=["nbval-check-output"]
check_params(params)

# %% [markdown]
# ## 2 · The space: 20 places, four units each
#
# Every block is drawn to scale: its width and height are the square roots of its channels and its resolution. Blue
# blocks are searched, grey ones fixed.

# %%
space = spaces.create("spos", projection=cfg.projection)
figures["space"] = plots.blocks(space)
figures["space"]

# %% [markdown]
# The four stages have 4, 4, 8 and 4 units. Every unit has four choices, also those with stride 2: no skip is among
# them, so nothing has to be excluded. The choices are independent and multiply:

# %% tags=["nbval-check-output"]
units = 4 + 4 + 8 + 4
assert units == len(space.decisions) and set(space.choices) == {4}
assert space.size == 4**units == 1_099_511_627_776
f"4^{units} = {space.size:,} networks"

# %%
years = space.size * 1e-3 / 3600 / 24 / 365
Markdown(f"Testing each of them for a *millisecond* would take **{years:.0f} years**; nobody can train them all.")

# %% [markdown]
# ## 3 · The published network, rebuilt
#
# The architecture that the authors found and published, choice by choice. Stage 1 mixes kernels of 3, 5
# and 7. After it 7 and 3 alternate, up to the middle of stage 3, whose second half has 3×3 only. Xception stands at the
# end.

# %%
published, arch = spaces.published("spos", "SPOS")
figures["published"] = plots.blocks(published, {"SPOS, as published": arch})
figures["published"]

# %% [markdown]
# Counted, it has exactly what the authors say: 323 M multiply-accumulates (MACs) and 3.5 M parameters.

# %% tags=["nbval-check-output"]
cost = hardware.count(published.build(arch), published.input_shape)
assert (cost.macs, cost.params) == (322_918_720, 3_558_464)
print(f"{cost.macs:,} MACs, {cost.params:,} parameters")

# %% [markdown]
# ### Where public codes disagree
#
# At stride 2 the official projection keeps the $C_{in}$ channels that come in. Another public code gives both branches
# half of the output. In the last two stages that is the same, for there the channels double. In the first two,
# 16 → 64 and 64 → 160, it is not: the network is another one. The option `projection="half"` builds it.

# %%
other = spaces.create("spos", projection="half")
half = hardware.count(other.build(arch), other.input_shape)
parts = zip(published.build(arch).parts.items(), other.build(arch).parts.values(), strict=True)
sizes = {name: [sum(p.numel() for p in part.parameters()) for part in (a, b)] for (name, a), b in parts}
differ = [name for name, (a, b) in sizes.items() if a != b]
assert differ == ["stage1_1", "stage2_1"]
Markdown(
    f"With `half`: {half.macs:,} MACs ({half.macs / cost.macs - 1:+.1%}) and {half.params:,} parameters; "
    f"{' and '.join(differ)} differ. Compare counts before you compare accuracies."
)

# %% [markdown]
# ### Change it yourself
#
# Pick a block, pick its unit, and read what the network costs now (Tab and the arrow keys work, too). It starts from
# the published network.

# %%
from nasedu.tables import LookupTable
from nasedu.widgets import SpaceWidget

priced = {metric: LookupTable.build(published, metric) for metric in ("macs", "params")}
widget = SpaceWidget(published, priced, arch)
assert priced["macs"](arch) == cost.macs and priced["params"](arch) == cost.params
widget

# %% [markdown]
# The same for a page that cannot run: every place set to the largest kernel, and every place set to Xception.

# %%
extremes = {unit: tuple([published.decisions[0].choices.index(unit)] * units) for unit in ("shuffle7", "xception")}
names = {f"{unit} everywhere: {priced['macs'](a) / 1e6:.0f} M MACs": a for unit, a in extremes.items()}
figures["extremes"] = plots.blocks(published, names)
figures["extremes"]

# %% [markdown]
# ## 4 · One supernet, one path per step
#
# The supernet holds all four units at every place. Given an architecture it runs these units only, with their weights
# in place. So it gives what the stand-alone network with the same weights gives. We take a small one, for 16 px digits:

# %%
options = {**spaces.COURSE, "input_size": cfg.image_size, "stem_stride": 1}
options |= {"width": cfg.width, "depth": cfg.depth, "projection": cfg.projection}
small = spaces.create("spos", **options)
torch.manual_seed(cfg.seed)
supernet = small.supernet()
rng = np.random.default_rng(cfg.seed)
probes = [small.sample(rng) for _ in range(cfg.probes)]

# %%
x = torch.randn(8, *small.input_shape)
for a in probes:
    alone = small.inherit(supernet, a)
    torch.testing.assert_close(supernet(x, a), alone(x), rtol=1e-5, atol=1e-5)
Markdown(f"{small.size:,} networks share {sum(p.numel() for p in supernet.parameters()):,} weights.")

# %% [markdown]
# **Training.** Each step draws one architecture, every choice equally likely, and trains what it runs. A step therefore
# costs what one network costs, and leaves the weights of all other units as they are:

# %%
sampler = sampling.Uniform()
(path,) = sampler.paths(small, torch.Generator().manual_seed(cfg.seed))
supernet(x, path).square().mean().backward()
searched = [p for slot in small.slots for p in supernet.parts[slot.name].parameters()]
touched = sum(p.numel() for p in searched if p.grad is not None) / sum(p.numel() for p in searched)
supernet.zero_grad()
Markdown(f"The path {path} touched {touched:.0%} of the weights in searchable places: about a quarter.")

# %% [markdown]
# Now train it on the real digits (no download: scikit-learn brings them along).

# %%
train_set, val_set = (data.classification("digits", s, image_size=cfg.image_size) for s in ("train", "val"))
train_set, val_set = train_set.to(cfg.device), val_set.to(cfg.device)
recipe = classification.recipe(cfg.epochs, optimizer="sgd", lr=0.3, momentum=0.9, clip=1.0)
task = Classification(train_set, val_set, batch_size=cfg.batch_size, seed=cfg.seed)

# %%
step = sampling.supernet_step(small, sampler, task)
with tqdm(total=cfg.epochs, desc="supernet", unit="epoch", leave=False) as bar:
    keep = {"state": cfg.out_dir / "supernet.pt", "progress": lambda done, *_: bar.update(done - bar.n)}
    trained = fit(supernet, task, recipe, step, seed=cfg.seed, device=cfg.device, **keep)
losses = [record["total"] for record in trained.history]
Markdown(f"Loss of the drawn networks: {losses[0]:.2f} in the first epoch, {losses[-1]:.2f} in the last.")

# %% [markdown]
# ## 5 · Statistics: why the supernet misjudges its networks
#
# Batch normalisation (BN) keeps a running mean and variance of what goes through it, and uses them when it is tested.
# In a supernet they come from whatever random paths ran last, a mixture of *all* networks. The network that is tested
# now has statistics of its own. Here is a BN layer where the last stage begins: each point is a channel.

# %%
from nasedu.supernet.batchnorm import recalibrated

tested = probes[0]


def forward(net, images):
    return net(images, tested)


place = [slot.name for slot in small.slots].index("stage4_1")
norm = supernet.parts["stage4_1"].operations[tested[place]].projection[0].bn
kept = norm.running_mean.clone().cpu()
with recalibrated(supernet, train_set.images.split(cfg.batch_size), forward):
    own = norm.running_mean.clone().cpu()
labels = {"xlabel": "mean, its own", "ylabel": "mean, in the supernet"}
figures["statistics"] = plots.scatter({"a channel": (own, kept)}, diagonal=True, width=6, **labels)
off = float((kept - own).abs().mean() / own.std())

# %% [markdown]
# On the line the supernet's running mean (vertical) would agree with the mean of the tested network itself
# (horizontal). The further off, the more wrongly an activation is shifted. Errors add up from layer to layer, so the
# late ones are hit most.

# %%
figures["statistics"]

# %%
Markdown(f"On average a channel is off by {off:.0%} of the spread between the channels.")

# %% [markdown]
# The remedy is cheap and needs no labels: **recalibrate**. Forget the running statistics, run a few batches of
# *training* images through the tested path, and average their statistics, every batch weighing the same. No weight
# changes, and afterwards the supernet gets back the statistics it had.
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
# The package sets BN's `momentum` to 1 / (seen + 1) before each batch, which is the same. On three batches:

# %%
from nasedu.supernet.batchnorm import recalibrate

norm, three = nn.BatchNorm2d(5), [torch.randn(8, 5, 4, 4) + i for i in range(3)]
recalibrate(norm, three, lambda net, images: net(images))
mean = torch.stack([batch.mean((0, 2, 3)) for batch in three]).mean(0)
torch.testing.assert_close(norm.running_mean, mean)

# %% [markdown]
# ### Before and after
#
# Random networks of the space, tested with the supernet's weights on validation digits: with the supernet's own
# statistics, and after recalibration on 1, 2, 4 and 8 batches.


# %%
def tested_accuracy(arch, count):
    """Accuracy of a network in the supernet, its statistics from `count` batches (0: the supernet's own)."""

    def forward(net, images):
        return net(images, arch)

    if count == 0:
        return classification.accuracy(supernet, val_set, forward)
    images = [x for x, _ in task.batches("train", 0)][:count]
    with recalibrated(supernet, images, forward):
        return classification.accuracy(supernet, val_set, forward)


counts = (0, 1, 2, 4, 8)
accuracies = {count: [tested_accuracy(a, count) for a in probes] for count in counts}

# %%
percent = 100 * pd.DataFrame(accuracies).T.rename(index=lambda n: str(n) if n else "none: the\nsupernet's own")
percent.columns = [f"network {i + 1}" for i in percent]
labels = {"xlabel": "batches that the statistics were computed from", "ylabel": "accuracy (%)", "ylim": (0, None)}
figures["recalibration"] = plots.lines(percent.assign(mean=percent.mean(axis=1)), **labels)
figures["recalibration"].axes[0].lines[-1].set(color="black", linewidth=3, linestyle="-")  # the mean
figures["recalibration"].guide(y=100 / len(val_set.classes), label="chance")
figures["recalibration"]

# %%
before, after = np.mean(accuracies[0]), np.mean(accuracies[8])
gain = [b - a for a, b in zip(accuracies[0], accuracies[8], strict=True)]
Markdown(
    f"Mean accuracy **{before:.0%} before, {after:.0%} after** recalibration on 8 batches of {cfg.batch_size}. "
    f"Single networks gain from {min(gain):+.0%} to {max(gain):+.0%}: without it, a search would rank statistics."
)

# %% [markdown]
# `nasedu.search.SupernetScore` does all this for a search: always the same training batches, each architecture
# tested once and remembered.

# %%
from nasedu.search import SupernetScore

judge = SupernetScore(small, supernet, task, batches=8)
scores = {a: judge(a) for a in probes}
best = max(scores, key=scores.get)
print(f"best of {len(scores)}, {scores[best]:.0%}:", *(small.decisions[0].choices[i] for i in best))

# %% [markdown]
# ## Summary
#
# - A shuffle unit works on half of its channels; dealing even and odd lets all of them meet.
# - Twenty places, four units each: $4^{20}$, about a million million networks.
# - One random path per step trains a supernet at the price of one network.
# - A supernet's BN statistics belong to no network. Recalibrate each one on training images before testing it.
#
# **Pitfalls**
#
# - *Low accuracies.* These networks share weights that were trained for a few steps each. Only their order could
#   matter; notebook 05 asks whether it does.
# - *Recalibrating on test images.* That is peeking, even without labels. Use training images.
# - *Leaving the statistics behind.* Recalibrating one network and then testing another is the old fault again: put
#   them back, or recalibrate each.
# - *Another projection.* Two codes called SPOS can build different networks; count first.
#
# **Further reading**
#
# - SPOS: Guo, Zhang, Mu, Heng, Liu, Wei, Sun, *Single Path One-Shot Neural Architecture Search with Uniform Sampling*,
#   ECCV 2020; public code megvii-model/SinglePathOneShot
# - The unit: Ma, Zhang, Zheng, Sun, *ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design*,
#   ECCV 2018
# - Depthwise three times: Chollet, *Xception: Deep Learning with Depthwise Separable Convolutions*, CVPR 2017

# %%
course.finish(
    cfg,
    summary=f"{space.size:,} networks; SPOS rebuilt: {cost.macs:,} MACs; recalibration {before:.1%} to {after:.1%}",
    figures=figures,
    results={
        "size": str(space.size),
        "published": {"macs": cost.macs, "params": cost.params},
        "half_projection": {"macs": half.macs, "params": half.params},
        "losses": losses,
        "accuracy_by_batches": accuracies,
        "best": small.format(best),
    },
)
