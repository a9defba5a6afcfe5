# %% [markdown]
# # WZDNAS: search a detector for the machine in front of you
#
# From images and a budget of FLOPs to a trained object detector, priced with latencies that your own machine measured.
#
# WZDNAS (warm-up, zero-cost, differentiable architecture search) picks the width and depth of every
# block of a YOLOv4-style detector. It first trains one *supernet* that holds all candidates. Then it scores every
# option of every block **without training it**. Gradient descent weighs these scores against FLOPs, depth and measured
# latency. The network that comes out is trained from scratch and tested beside a hand-designed and a random one.
#
# **Afterwards you can**
#
# 1. draw a detector's search space, count it, and price any network in it with lookup tables;
# 2. say what IoU, an anchor and average precision are, and compute them by hand;
# 3. compute a block-wise NASWOT map, and say what it sees and what it is blind to;
# 4. read and change the four-term loss of the search, and tell an *expected* cost from a *derived* one;
# 5. judge a searched network honestly: against hand-designed *and* random ones of equal FLOPs, with bars.
#
# **You need** PyTorch and an idea of convolutional networks; everything else is explained where it comes up.
#
# | preset | what it runs | time, two CPU cores |
# |---|---|---|
# | `smoke` | a few dozen 64 px scenes: only proves that every cell works | a minute |
# | `quick` | 1,500 scenes of 128 px, the `course` template | 20 minutes |
# | `full` | 6,000 scenes, three times as many epochs | not measured; about 12 times as long as `quick` |
# | `gpu` | the published sizes: template `p5`, 416 px, VOC2007, 115,200 search steps, 300 epochs | not measured |
#
# Every phase keeps its state in the output folder. Interrupt the kernel whenever you like: run again, it goes on.

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu; it sets every parameter below that is None
dataset: str = None  # digits (built in), voc, coco or yolo
data_root: str = None  # folder of the voc, coco or yolo data
classes: list[str] = None  # names of the classes to detect; None: all
difficulty: float = None  # of the digits' scenes, 0 to 1; None: the data set's own default
image_size: int = None  # pixels, a multiple of 32; None: 128 for digits, 192 for photographs
train_size: int = None  # number of training images; None: all
test_size: int = None  # number of test images; None: all
template: str = None  # course, tiny, csp or p5; elan, yolov7, yolov7-small or yolov7-tiny
semantics: str = None  # of the supernet: sliced or faithful (as published)
target: str = None  # "hand" (the hand-designed one's FLOPs), "40%" of a range, "70 GFLOPs", "2 ms"
within: str = None  # upper bounds beside it, such as "2 GFLOPs, 1 M params"; None: there are none
lookup: str = None  # latency table: measure (this machine), auto (a stored one), none, or a file
warmup: str = None  # train, factorised (faster), bn_only or none
warmup_epochs: int = None  # passes over train_size images; 0 trains no weights
warmup_batch_size: int = None  # images per warm-up step
proxy: str = None  # zero-cost proxy: naswot, snip, synflow, grasp or zico; to compare: random, none
search_steps: int = None  # steps of theta
map_every: int = None  # steps between two zero-cost maps
map_batch_size: int = None  # images in the fixed batch that the maps are computed on
train_epochs: int = None  # passes over train_size images, for each final network
batch_size: int = None  # images per training step
threads: int = None  # CPU threads for each network; networks train side by side on the others
recipe: str = None  # how detectors are trained: short or published
precision: str = None  # of training: float32, or bfloat16 on a GPU
compile: bool = None  # train by torch.compile: for a GPU and long trainings; slow to begin
checkpoint: bool = None  # train with less memory, and run every block twice
seed: int = None  # of every random choice
device: str = None  # auto, cpu, cuda, cuda:1 ...
out_dir: str = None  # folder of the results; None: one per set of parameters

# %%
import json
import warnings
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import scipy
import torch
from IPython.display import Markdown
from torchvision.ops import box_iou

from nasedu import course, data, deploy, hardware, plots, ranking, resources, spaces, tables, wzdnas
from nasedu.course.checks.wzdnas import (
    check_anchors,
    check_derive,
    check_deviation,
    check_precision,
    check_stands,
)
from nasedu.errors import BudgetError, ParameterError, check_whole
from nasedu.sampling import gumbel_softmax, one_hot, softmax, uniform_logits
from nasedu.supernet.batchnorm import recalibrate
from nasedu.training import TrainingConfig

# A busy machine is told of in the text, not by a warning at every piece.
warnings.filterwarnings("ignore", category=hardware.NoisyMeasurement)
choices = {
    "dataset": data.names(),
    "template": spaces.yolo.TEMPLATES,
    "semantics": ["sliced", "faithful"],
    "warmup": ["train", "factorised", "bn_only", "none"],
    "proxy": wzdnas.PROXIES,
    "recipe": wzdnas.RECIPES,
    "precision": ["float32", "bfloat16"],
}
cfg = course.setup("14_wzdnas", globals(), choices=choices)

# %%
# what cannot work is told before anything runs
for name in ("train_epochs", "batch_size", "warmup_batch_size", "map_batch_size", "map_every"):
    check_whole(name, getattr(cfg, name), 1)
limits = {"threads": (1, 1024), "search_steps": (1, 10**9), "warmup_epochs": (0, 10**6)}
for name, (least, most) in limits.items():
    check_whole(name, getattr(cfg, name), least, most)
if cfg.image_size is not None and (cfg.image_size < 32 or cfg.image_size % 32):
    raise ParameterError(f"image_size must be a multiple of 32, got {cfg.image_size}")
TrainingConfig(compile=cfg.compile, checkpoint=cfg.checkpoint)  # refuses the two together
photo = cfg.dataset != "digits"
early = cfg.target != "hand" or cfg.within
if early and "ms" not in f"{cfg.target} {cfg.within}":  # told before any image is made
    counted = {"num_classes": len(cfg.classes or range(20 if photo else 10))}
    counted |= {"template": cfg.template, "image_size": cfg.image_size or (192 if photo else 128)}
    sized = spaces.create("yolo", **counted)
    try:
        wzdnas.read_goal(cfg.target, wzdnas.cost_tables(sized), cfg.within)
    except BudgetError:  # of photographs the number of classes, and so the range, may be another
        if cfg.classes or not photo:
            raise
torch.set_num_threads(cfg.threads)
cfg

# %% [markdown]
# ## 1 · The images
#
# The built-in scenes hold real handwritten digits on textured grounds. Some digits are partly covered, and some strokes
# are no digits at all. `dataset=voc`, `dataset=coco` and `dataset=yolo` read folders of photographs instead. A broken
# file or an impossible box is never learnt from: it is left out and counted. What was repaired is counted, too, such as
# boxes of a photograph that had been shrunk.


# %%
def load(split, size):
    """One split of the data set that the parameters name."""
    options = {"classes": cfg.classes, "difficulty": cfg.difficulty}
    options = {name: value for name, value in options.items() if value is not None}
    options |= {"root": cfg.data_root, "seed": cfg.seed, "size": size}
    options["image_size"] = cfg.image_size or (128 if cfg.dataset == "digits" else 192)
    return data.detection(cfg.dataset, split, **options)


train_set, test_set = load("train", cfg.train_size), load("test", cfg.test_size)
Markdown(
    f"**{len(train_set)} training and {len(test_set)} test images** of {train_set.image_size} px, "
    f"{len(train_set.classes)} classes: {course.words(train_set.classes)}."
)

# %% [markdown]
# The table counts what was left out, repaired or doubtful, by kind. It has no row where nothing was.

# %%
findings = pd.concat({part.split: part.report() for part in (train_set, test_set)})
findings

# %% [markdown]
# Eight training images with their boxes. A detector has to say *what* is *where*: a class and a box for each object.

# %%
figures = {}
figures["scenes"] = plots.scenes(train_set)
figures["scenes"]

# %% [markdown]
# ### When is a box right? IoU
#
# A predicted box never meets the true one exactly. **IoU** (intersection over union) says how well they meet: the area
# that both boxes cover, divided by the area that at least one of them covers. It is 1 for equal boxes and 0 for boxes
# that do not touch. A box is given by its left, top, right and bottom side. By hand, and by torchvision:


# %% tags=["nbval-check-output"]
def iou(a, b):
    """Intersection over union of two boxes (left, top, right, bottom)."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return both / (sum(areas) - both)


truth, guessed = (10, 10, 50, 50), (20, 10, 60, 50)  # the same size, ten pixels to the right
theirs = float(box_iou(torch.tensor([truth]).float(), torch.tensor([guessed]).float()))
print(f"by hand {iou(truth, guessed):.4f}, torchvision {theirs:.4f}")
assert abs(iou(truth, guessed) - theirs) < 1e-6, "both must agree"

# %% [markdown]
# A quarter of the width off leaves an IoU of 0.6. That counts as found at the usual threshold of 0.5, and as a miss at
# 0.75.

# %% [markdown]
# ## 2 · The search space: what can be built?
#
# A space describes its network once, as fixed layers and *slots*. The picture reads from left to right; every row is
# one resolution. The backbone (`back1` …) goes down to coarse maps. The neck passes information up and down between the
# scales. Three heads predict boxes of three sizes. Grey layers are fixed. In a blue block two things are open: the
# **width ratio γ**, which sets its hidden channels (γ times the outer ones; γ + ½ in the neck), and the **number of
# bottlenecks n** that these channels pass through.

# %%
options = {
    "template": cfg.template,
    "num_classes": len(train_set.classes),
    "image_size": train_set.image_size,
    "semantics": cfg.semantics,
}
space = spaces.create("yolo", **options)  # once more below, with anchors that fit the data
recipe = wzdnas.RECIPES[cfg.recipe]
reach = {"ratio": recipe.ratio, "generations": recipe.generations}
anchors = wzdnas.anchors_for(train_set, space, **reach)
space = spaces.create("yolo", **options, anchors=anchors.tolist())
if "ms" not in f"{cfg.target} {cfg.within}":  # told before anything is timed
    wzdnas.read_goal(cfg.target, wzdnas.cost_tables(space), cfg.within)
figures["search_space"] = plots.network(space)
figures["search_space"]

# %% [markdown]
# Its size:

# %%
cost = hardware.count(space.build(space.hand_designed), space.input_shape)
Markdown(
    f"**{len(space.decisions)} decisions, {space.size:,} networks.** The hand-designed one, γ = "
    f"0.5 everywhere, needs {cost.flops / 1e9:.3g} GFLOPs for an image and has "
    f"{cost.params / 1e6:.3g} M parameters."
)

# %% [markdown]
# ### Anchors: boxes to start from
#
# A head does not predict a box from nothing. Each of its cells has a few **anchors**: boxes of fixed width and height.
# For each anchor the head predicts by how much to move it and to stretch it. So an anchor takes only objects of about
# its own size: sides that differ by less than a factor of 2 (recipe `short`) or 4 (`published`). An object that no
# anchor reaches is never learnt. The table shows the anchors in pixels, by the *stride* of the head (how many pixels
# lie between two of its cells). They are fitted to the boxes of the training images where the usual ones reach too few.

# %%
from nasedu.detection import best_possible_recall

boxes = torch.cat([torch.as_tensor(train_set[i][1]["boxes"]) for i in range(len(train_set))])
sides = boxes[:, 2:] - boxes[:, :2]
ratio = wzdnas.RECIPES[cfg.recipe].ratio
reached = best_possible_recall(sides, anchors, ratio)
print(f"{reached:.1%} of {len(sides):,} boxes lie within a factor of {ratio:g} of an anchor")
# A head with a small stride has many cells and takes the small objects.
shapes = [[f"{w:.0f} × {h:.0f}" for w, h in scale] for scale in anchors.tolist()]
rows = pd.Index([f"stride {stride}" for stride in space.strides], name="head")
pd.DataFrame(shapes, rows, [f"anchor {i + 1}" for i in range(len(shapes[0]))])

# %% [markdown]
# ### A supernet holds them all
#
# Nobody can train so many networks, so one **supernet** stands for all: every block has its largest width and depth,
# and every choice is a *part* of it. Weights $g$ over the widths become a mask over channels: channel $c$ is kept by
# all widths that are larger than $c$, so its mask is $m_c = \sum_i g_i\,[c < C_i]$. From scratch, for widths of 2, 4
# and 6 channels:

# %% tags=["nbval-check-output"]
g = torch.tensor([0.2, 0.5, 0.3])
mask = sum(weight * (torch.arange(6) < width) for weight, width in zip(g, (2, 4, 6), strict=True))
mask

# %% [markdown]
# Weights $d$ over the depths mix what comes out after $n_j$ bottlenecks: $z = \sum_j d_j\,z_{n_j}$. The package's block
# does both, and agrees with the line above.

# %% tags=["nbval-check-output"]
from nasedu.supernet.elastic import ElasticCSP

block = ElasticCSP(8, 8, hiddens=(2, 4, 6), depths=(1, 2))
print(f"by hand {mask.tolist()}\npackage {block.width(g).tolist()}")
assert torch.equal(block.width(g), mask), "both masks must be the same"

# %% [markdown]
# **Does a one-hot choice give the network that it stands for?** It should: same weights, same answer. In the published
# supernet (`faithful`) it does not. Batch normalisation shifts the masked channels away from zero, and so they leak
# into the next layer. In our default (`sliced`) the masks act *after* the activation, which closes the leak.


# %%
def gap(semantics):
    """How far a one-hot supernet's output is from that of the network with the same weights."""
    small = spaces.create("yolo", image_size=64, semantics=semantics)
    torch.manual_seed(0)
    net, images, arch = small.supernet().eval(), torch.rand(8, 3, 64, 64), small.hand_designed
    path = one_hot(arch, small.choices)
    recalibrate(net, [images], lambda net, x: net(x, softmax(uniform_logits(small.choices))))
    with torch.no_grad():
        one, alone = net(images, path), small.inherit(net, arch).eval()(images)
    return max(float((a - b).norm() / b.norm()) for a, b in zip(one, alone, strict=True))


gaps = {name: gap(name) for name in ("sliced", "faithful")}
assert gaps["sliced"] < 1e-4 < gaps["faithful"], "only the sliced supernet must be exact"
far, near = gaps["faithful"], gaps["sliced"]
Markdown(f"Outputs differ by {far:.0%} (faithful) and by {near:.1g} (sliced).")

# %% [markdown]
# ## 3 · The price: one table per cost
#
# A network's cost is a fixed part plus one entry per block, because a block's cost depends on its own two choices
# alone. So a **lookup table** with 12 numbers for each block prices every network of the space. FLOPs (twice the
# multiply-accumulates) and depth (number of bottlenecks) are counted, and their tables are exact. Latency is measured:
# every block is built and timed alone, in each of its options. The sum is an estimate, as notebook 10 shows.
#
# Whose latency? With `lookup="measure"` **this machine** times its own blocks, in PyTorch, before anything is searched.
# `auto` takes a table that the project has stored, measured on another machine. The next cell says which it was.

# %%
# A table that was measured is kept, so that a run that goes on prices with the same figures.
with course.Bar(total=1, desc="latency table", unit="piece") as bar:
    where = {"keep": cfg.out_dir / "latency.json", "device": cfg.device}
    latency = tables.latency_table(space, cfg.lookup, progress=bar.show, **where)
made = latency.provenance if latency else {}
own = cfg.lookup == "measure" or (latency and (cfg.out_dir / "latency.json").exists())
owner = "this machine's own table" if own else "a stored table, not of this machine"
noise = f"; {made['noisy_pieces']} pieces were noisy" if made.get("noisy_pieces") else ""
tool = made.get("backend", "unknown runtime")
runtime = f"{'PyTorch' if tool == 'torch' else tool}, {made.get('threads', '?')} thread(s)"
whose = f"{made.get('device', 'unknown device')}, {runtime}, {made.get('date', 'no date')}"
whose = course.words(whose)
told = f"**{owner}**: {whose}{noise}." if latency else "**no latency table**: the term is left out."
Markdown(f"Latency comes from {told}")

# %% [markdown]
# The counted tables, and the target: how many FLOPs the network may have. `target="hand"` asks for as many as the
# hand-designed network needs. A latency or a number of parameters may be the target as well, and `within` sets upper
# bounds beside it: `-p target="1.6 ms" -p within="0.1 GFLOPs, 1 M params"`.

# %%
priced = wzdnas.cost_tables(space, latency)
flops = priced["flops"]
goal = wzdnas.read_goal(cfg.target, priced, cfg.within)
# where FLOPs are no target, those of the hand-designed network stand in below
target = goal.targets.get("flops", flops(space.hand_designed))
low, high = flops.bounds()  # in MACs, two FLOPs each
percent = 100 * (target - low) / (high - low)
aims = [f"{value:.4g} {goal.tables[name].unit}" for name, value in goal.targets.items()]
bounds = [f"at most {value:.4g} {goal.tables[name].unit}" for name, value in goal.most.items()]
met = f"{goal.constraint.count:,} networks meet it."
Markdown(
    f"The space reaches from {2e-9 * low:.3g} to {2e-9 * high:.3g} GFLOPs; **the target is "
    f"{2e-9 * target:.4g} GFLOPs**, at {percent:.0f} % of that range."
    if goal.table is flops and not bounds
    else f"The target: **{', '.join([*aims, *bounds])}**. {met}"
)

# %% [markdown]
# ### What equal FLOPs leave open
#
# Do networks of equal FLOPs take equal time? The table can price many random ones at once. All of these lie within 3 %
# of the target.

# %%
constraint, draw = tables.within(flops, target), np.random.default_rng(cfg.seed)
alike = [constraint.sample(draw) for _ in range(300)]
timed = np.array([latency(arch) for arch in alike]) if latency else np.zeros(len(alike))
clock = "latency by the table (ms)"
# Without a latency table only their FLOPs can be drawn.
values = timed if latency else 2e-9 * np.array([*map(flops, alike)])
given, marks = {"random networks of equal FLOPs": values}, None
if latency:
    marks = {next(iter(given)): {"hand-designed": latency(space.hand_designed)}}
look = {"xlabel": clock if latency else "GFLOPs"}
figures["equal_flops"] = plots.histogram(given, marks, **look)
figures["equal_flops"]

# %% [markdown]
# A search need not stay within this hill. An integer program finds the fastest of *all* networks within 3 % of the
# target. No search can win more latency than that, by this table.

# %%
ends, hill = np.quantile(timed, (0.05, 0.5, 0.95)), "Without a latency table this cannot be said."
if latency:  # `best` takes the highest sum, so a latency counts as a negative score
    own_score = {"metric": "speed", "own": True, "entries": [-entry for entry in latency.entries]}
    fastest = latency(constraint.best(replace(latency, **own_score)))
    hill = (
        f"Nine in ten random networks lie between {ends[0]:.3g} and {ends[2]:.3g} ms, the middle "
        f"one takes {ends[1]:.3g} ms. The fastest of all takes **{fastest:.3g} ms, "
        f"{100 * (1 - fastest / ends[1]):.0f} % less** than the middle one."
    )
Markdown(hill)

# %% [markdown]
# ### The price of an undecided network
#
# While the search is undecided, every choice has a probability. The *expected* cost is the average over the networks
# that these probabilities draw. Drawing them is one way to find it. Here all choices are equally likely:

# %%
rng = np.random.default_rng(cfg.seed)
drawn = [flops(space.sample(rng)) for _ in range(3000)]
uniform = softmax(uniform_logits(space.choices))
expected = float(flops.expected(uniform))
print(f"mean of 3,000 drawn networks: {2e-9 * np.mean(drawn):.4g} GFLOPs")
print(f"the table's exact expectation: {2e-9 * expected:.4g} GFLOPs")
assert abs(np.mean(drawn) / expected - 1) < 0.03, "the draws must agree with the expectation"

# %% [markdown]
# The table needs no drawing: expectations add up, and within a block width and depth are drawn independently. That
# makes the expected cost a smooth function of the probabilities, and **gradient descent can lower it**.
#
# An expectation alone can mislead. Two different probabilities may have the same expected cost, one of a network that
# is nearly decided, one of a wild mixture. The *standard deviation* tells them apart.
#
# ### Exercise 14.1: how sure a price is
# *Difficulty 2 of 3, about 10 min.* `costs[b][i, j]` is what block `b` costs at width $i$ and depth $j$. `p[b]` and
# `q[b]` are the probabilities of its widths and of its depths. All are tensors in lists, one entry per block. Networks
# are drawn choice by choice, independently. Return the standard deviation of the cost of a drawn network.
#
# <details><summary>Hint 1</summary>The variance of one block is E[c²] − E[c]². Option (i, j) is drawn with probability
# p_i q_j.</details>
# <details><summary>Hint 2</summary>Blocks are independent, so their variances add up. The root comes last. Rounding may
# make a variance that should be 0 a little negative.</details>


# %% tags=["stub"]
def deviation(costs, p, q):
    raise NotImplementedError


# %% tags=["solution"]
def deviation(costs, p, q):
    variance = 0.0
    for c, a, b in zip(costs, p, q, strict=True):
        mean, square = a @ c @ b, a @ c**2 @ b
        variance += max(float(square - mean**2), 0.0)
    return variance**0.5


# %% tags=["nbval-check-output"]
check_deviation(deviation)

# %% [markdown]
# ## 4 · Phase 1: warm up the supernet
#
# The search will judge blocks by how the *supernet* responds, so the supernet must first have sensible weights. In
# this phase the probabilities stay uniform and only the weights learn. Nobody would ever build the uniform mixture
# itself, so it is not what should be trained. Every step draws weights near one network of the space instead, with
# Gumbel noise:
#
# $$ w = \operatorname{softmax}\!\left(\frac{\theta + G}{T}\right),
#    \qquad G_i = -\log E_i,\quad E_i \sim \text{Exponential}(1). $$
#
# The largest weight falls on choice $i$ exactly as often as $\operatorname{softmax}(\theta)_i$ says. The temperature
# $T$ sets how much is left to the others. Twelve samples of four equally likely choices at each of three temperatures
# (each bar is one sample, its parts are the four weights; the colder, the more one of them takes all):

# %%
generator = torch.Generator().manual_seed(cfg.seed)
samples = {T: gumbel_softmax([torch.zeros(12, 4)], T, generator)[0] for T in (5.0, 1.0, 0.1)}
panels = {f"T = {T:g}": weights for T, weights in samples.items()}
labels = {"colours": plots.ORDERED, "xlabel": "sample", "ylabel": "weight of each choice"}
figures["samples"] = plots.stacks(panels, [f"choice {i}" for i in (1, 2, 3, 4)], **labels)
figures["samples"]

# %% [markdown]
# By hand: add the noise, divide by the temperature, take the softmax. How often does the largest weight fall on each
# choice? As often as $\operatorname{softmax}(\theta)$ says, by hand and in the package.

# %%
theta, many, T = torch.tensor([1.0, 0.0, -1.0]), 20_000, 1.0
noise = -torch.empty(many, 3).exponential_(generator=generator).log()
by_hand = ((theta + noise) / T).softmax(-1)
package = gumbel_softmax([theta.expand(many, 3)], T, generator)[0]
# Whose weight is the largest, how often?
shares = {"by hand": by_hand, "package": package}
shares = {name: w.argmax(-1).bincount() / many for name, w in shares.items()}
shares |= {"softmax": theta.softmax(-1)}
for name, share in shares.items():
    print(f"{name:8}", [round(x, 3) for x in share.tolist()])
apart = max(float((share - shares["softmax"]).abs().max()) for share in shares.values())
assert apart < 0.02, "all three must agree up to chance"

# %% [markdown]
# Warm-up draws its samples at $T = 3$, keeps a running average of the weights, and uses that average afterwards. At
# the end it sets the batch-normalisation statistics anew, for the uniform mixture that the search starts from.
# `warmup="bn_only"` does nothing but this last step. It is worth a try: in the published comparison, the supernet
# *without* warm-up had neither trained weights nor statistics of real images, so two things differed at once.


# %%
def passes(epochs):
    """`epochs`, or more where images are few: as much work as with `train_size` images."""
    pixels = max(1, train_set.image_size / 128) ** 2  # larger images count more
    return round(epochs * max(1, (cfg.train_size or 0) / len(train_set) / pixels))


def training(epochs, **changes):
    """The recipe of the parameters; digits are not mirrored: a mirrored digit is no digit."""
    changes |= {"flip": cfg.dataset != "digits", "precision": cfg.precision}
    changes |= {"compile": cfg.compile, "checkpoint": cfg.checkpoint, "images": len(train_set)}
    return wzdnas.recipe(cfg.recipe, epochs=passes(epochs), **changes)


warm = training(cfg.warmup_epochs, batch_size=cfg.warmup_batch_size, iou="iou")
print(f"epochs: {warm.training.epochs}; {len(train_set)} images, {warm.batch_size} at a time")

# %% [markdown]
# The warm-up itself. It goes on where it was, should you interrupt it.

# %%
task = wzdnas.detection_task(space, warm, train_set, seed=cfg.seed)
supernet = space.supernet(seed=cfg.seed).to(cfg.device)
with course.Bar(total=warm.training.epochs, desc="warm-up", unit="epoch") as bar:
    keep = {"state": cfg.out_dir / "warm-up.pt", "progress": bar.show, "seed": cfg.seed}
    warmed = wzdnas.warm_up(space, supernet, task, warm.training, mode=cfg.warmup, **keep)
millions = sum(p.numel() for p in supernet.parameters()) / 1e6
Markdown(f"{millions:.3g} M shared weights; warm-up `{cfg.warmup}`, epochs: {len(warmed.history)}.")

# %% [markdown]
# The three parts of the detection loss over the warm-up: how far boxes are off, whether there is an object, and which.

# %%
LOSSES = {"box": "box: how far off", "obj": "object: is there one", "cls": "class: which one"}
figures["warm_up"] = plots.progress({"supernet": warmed.history}, LOSSES)
figures["warm_up"]

# %% [markdown]
# ## 5 · Phase 2: scores without training
#
# **NASWOT** asks how well a network tells images apart before any training. A unit is on where its activation is
# positive, else off; all on/off bits of an image are its *code*. Images with the same code can hardly be told apart, so
# a good block gives different codes. $K_{ij}$ counts the units on which images $i$ and $j$ agree, and the score is
# $\log|\det K|$: the less they agree, the larger.
#
# From scratch, for two images and five units. They agree on three units, and each agrees with itself on all five:

# %% tags=["nbval-check-output"]
output = torch.tensor([[0.3, -1.0, 2.0, -0.1, 0.5], [0.9, -0.2, -3.0, 0.4, 0.7]])
code = (output > 0).double()
kernel = code @ code.T + (1 - code) @ (1 - code).T
kernel

# %% [markdown]
# The package's kernel and score, beside ours:

# %% tags=["nbval-check-output"]
from nasedu.proxies import agreement, log_det

print("kernel:", kernel.tolist(), "package:", agreement(output).tolist())
mine, theirs = np.log(np.linalg.det(kernel)), log_det(kernel, jitter=0.0)
print(f"score: {mine:.6f}, package: {theirs:.6f}")
assert torch.equal(agreement(output).double(), kernel), "both kernels must be the same"
assert abs(mine - theirs) < 1e-9, "both scores must be the same"

# %% [markdown]
# WZDNAS scores **block by block**. Every option of a block is run on the input that the soft supernet feeds to that
# block, and only the activations inside the block are counted. So the same block may score differently at another
# place. All scores come from one fixed batch of training images, and are divided by its size so as not to grow with
# it.
#
# The map: a column for each block, a row for each option (width ratio, number of bottlenecks). Numbers and colour are
# the lead over the block's own lowest option. As a rule wider scores higher; in the `sliced` supernet deeper does, too.
# Part of that is size alone: more units make $K$ larger, whatever the codes say (notebook 08).

# %%
images, objects = next(replace(task, batch_size=cfg.map_batch_size).batches("train", 0))
images = images.to(cfg.device)
path = [p.to(cfg.device) for p in uniform]
first_map = wzdnas.zero_cost_map(space, supernet, path, images, "naswot")
figures["zero_cost_map"] = plots.price_map(
    first_map, f"lead within the block ({first_map.unit})", 1, lead=True, numbers=".2f"
)
figures["zero_cost_map"]

# %% [markdown]
# ### What the published score cannot see
#
# The published supernet runs *all* bottlenecks, whatever the depth, and only mixes their outputs differently. So NASWOT
# counts the same units for every depth, except for the few behind the mixture: it is **blind to depth**. Running only
# the chosen bottlenecks cures it. The same weights under both semantics, on the same images. On the left the lines
# hardly move. On the right they rise with every bottleneck.


# %%
def map_as(semantics):
    """The NASWOT map of the supernet's weights under either semantics, with its own statistics."""
    changed = options | {"semantics": semantics, "anchors": anchors.tolist()}
    other = spaces.create("yolo", **changed)
    twin = other.supernet().to(cfg.device)
    twin.load_state_dict(supernet.state_dict())
    wzdnas.warm_up(other, twin, task, warm.training, mode="bn_only")
    return wzdnas.zero_cost_map(other, twin, path, images, "naswot")


def by_depth(entry):
    """Scores by width and depth; of an ELAN block that hands one output on, by which one it is."""
    if entry.ndim == 2:
        return entry
    outs = range(entry.ndim - 1)
    alone = [tuple(int(i == last) for i in outs) for last in (-1, *outs)]
    return torch.stack([entry[:, *read] for read in alone], 1)


# %%
# the block in the middle stands for all
maps = {name: map_as(name) for name in ("faithful", "sliced")}
middle = len(space.slots) // 2
scores = {name: by_depth(table.entries[middle]) for name, table in maps.items()}
width, *others = (d.choices for d in space.slots[middle].decisions)
depth = others[0] if len(others) == 1 else range(len(others) + 1)
named = [f"γ = {w}" for w in width]
panels = {n: dict(zip(named, score.tolist(), strict=True)) for n, score in scores.items()}
label = f"bottlenecks in {space.slots[middle].name}"
look = {"xlabel": label, "ylabel": "log |det K| per image"}
figures["depth_blindness"] = plots.lines(panels, list(depth), **look)
figures["depth_blindness"]

# %% [markdown]
# One number for each: how far the score moves from the least to the greatest depth, as a mean over blocks and widths.


# %%
def spread(table):
    """Largest less smallest score over the depths, mean over all blocks and widths."""
    return np.mean([np.ptp(by_depth(entry).numpy(), axis=1) for entry in table.entries])


blind, sighted = spread(maps["faithful"]), spread(maps["sliced"])
assert len(others) > 1 or sighted > 2 * blind, "the sliced supernet must see depth better"
Markdown(f"With depth the score moves by **{blind:.2f}** (faithful), **{sighted:.2f}** (sliced).")

# %% [markdown]
# ## 6 · Phase 2: descend on the architecture
#
# Every decision gets logits $\theta$, all zero at first. The loss has four terms. Each is made of one expectation: of
# the score $ZC$, the FLOPs $F$, the depth $D$ or the latency $Lat$.
#
# $$ L(\theta) = -\underbrace{0.04\,ZC}_{\text{score}}
#    + \underbrace{24.5\left(\tfrac{F}{F^*}-1\right)^2}_{\text{FLOPs}}
#    + \underbrace{0.05\,\tfrac{D}{D_u}}_{\text{depth}}
#    + \underbrace{0.54\,\tfrac{Lat}{Lat_u}}_{\text{latency}} $$
#
# $F^*$ is the target, and $D_u$, $Lat_u$ are the costs of the uniform start; written so, the published weights fit a
# network of any size. The FLOPs term is **two-sided**: a network below the target is pushed up as well. By hand and by
# the package, at the uniform start, where $D = D_u$ and $Lat = Lat_u$:

# %%
terms = {"zero_cost": first_map, **priced}
del terms["params"]  # counted, but no term
loss = wzdnas.four_terms(terms, target)
weights = wzdnas.PUBLISHED
price = {name: float(table.expected(uniform)) for name, table in terms.items()}
# A score is good, so it lowers the loss; all other terms are costs.
by_hand = -weights.zero_cost * price["zero_cost"]
by_hand += weights.flops * (price["flops"] / target - 1) ** 2
by_hand += weights.depth + (weights.latency if latency else 0)
package = float(loss.value(torch.tensor(list(price.values()))))
print(f"by hand {by_hand:.4f}, package {package:.4f}")
assert abs(by_hand / package - 1) < 1e-3, "both losses must agree"

# %% [markdown]
# Now the search. The weights are frozen. Each step draws one Gumbel sample in place of the probabilities, prices it
# with all tables and moves $\theta$ by Adam. The temperature falls from 5 to 0.1: at first many choices share a
# sample's weight, at the end nearly all of it lies on one. As $\theta$ moves, the inputs of the blocks change, too; so
# the map is renewed every `map_every` steps. (Other proxies: `"snip"` asks by how much the detection loss would change
# without a weight; `"synflow"` needs no images.)


# %%
def map_loss(net, path):
    """What snip and grasp differentiate: the loss on the fixed batch; zico asks for its halves."""
    if cfg.proxy != "zico":
        return task.loss(net(images, path), objects)["total"]
    half = len(images) // 2
    first, second = objects[objects[:, 0] < half], objects[objects[:, 0] >= half].clone()
    second[:, 0] -= half
    halves = ((images[:half], first), (images[half:], second))
    return torch.stack([task.loss(net(x, path), y)["total"] for x, y in halves])


steps = {"steps": cfg.search_steps, "every": cfg.map_every}
config = wzdnas.WZDNASConfig(**steps, target=goal, proxy=cfg.proxy, map_loss=map_loss)
with course.Bar(total=config.steps, desc="search", unit="step") as bar:
    keep = {"seed": cfg.seed, "state": cfg.out_dir / "search.pt", "progress": bar.show}
    descent, last_map = wzdnas.search(space, supernet, images, priced, config, **keep)
print(f"{config.steps:,} steps; the map was made anew {len(descent.history)} times")

# %% [markdown]
# **The probabilities over the steps.** A column for each block, widths above depths. The areas are the probabilities
# of the choices, from the smallest choice (light, at the bottom) to the largest (dark, on top). A number names the
# choice in whose area it stands.

# %%
history = {"probability": [record["probabilities"][0] for record in descent.history]}
steps = [record["step"] for record in descent.history]
look = {"colours": plots.ORDERED, "xlabel": "step"}
figures["probabilities"] = plots.probabilities(space, history, steps, **look)
figures["probabilities"]

# %% [markdown]
# **The four terms of the loss**, weighted as they enter it. Near the target the FLOPs term has almost no slope, so the
# other terms can push the network off the target.

# %%
loss_terms = wzdnas.terms_of(descent, {"zero_cost": last_map, **priced}, goal)
terms = {name: {name: values} for name, values in loss_terms.items()}
look = {"xlabel": "step", "ylabel": "weighted term of the loss", "share": "", "legend": "none"}
figures["loss_terms"] = plots.lines(terms, steps, **look)
figures["loss_terms"]

# %% [markdown]
# ## 7 · Phase 3: from probabilities to one network
#
# Take the most probable choice of every decision. Two things can go wrong. The *expected* cost under the probabilities
# is not the cost of the *most probable* network. And either may miss the target. Where the network misses it by more
# than 3 %, it is *repaired*: of all networks within 3 %, the one with the highest log-probability is taken.

# %%
derived = goal.derive(descent.path(config.temperature[1]))
paid = torch.stack([record["costs"][0] for record in descent.history])  # (records, terms)
unit, scale = ("GFLOPs", 2e-9) if goal.table is flops else (goal.table.unit, 1.0)
path_costs = [*paid[:, list(loss_terms).index(next(iter(goal.targets)))].tolist(), derived.expected]
marks = {"most probable": scale * derived.argmax_cost, "derived": scale * derived.cost}
look = {"xlabel": "step", "ylabel": f"{unit} per image"}
path_costs = {"expected": scale * np.array(path_costs)}
figures["budget"] = plots.lines(path_costs, [*steps, config.steps], **look)
aim = scale * goal.value
figures["budget"].guide(y=(0.97 * aim, 1.03 * aim), label="target ± 3 %")
for (name, value), line in zip(marks.items(), (":", "--"), strict=True):
    figures["budget"].guide(y=value, linestyle=line, label=f"{name}, {value:.4g} {unit}")
figures["budget"]

# %% [markdown]
# The same in numbers:

# %%
odds = np.exp(-derived.regret)  # of the derived network, against the most probable one
repair = f"a repair: it is {odds:.2g} times as probable" if derived.repaired else "no repair"
Markdown(
    f"Target {aim:.4g} {unit}; expected {scale * derived.expected:.4g}, most probable network "
    f"{scale * derived.argmax_cost:.4g}, **derived {scale * derived.cost:.4g}** after {repair}."
)

# %% [markdown]
# The package finds the repaired network with an integer program, because a space of billions cannot be tried out. A
# space of four blocks can.
#
# ### Exercise 14.2: the likeliest network within a budget
# *Difficulty 2 of 3, about 15 min.* `logs[b][i]` is the log-probability of option `i` of block `b`, `costs[b][i]` its
# cost. There are four blocks; one may have fewer options than another. Return the option of every block, so that the
# total cost lies within `low` and `high` (both included) and the total log-probability is as high as possible. Raise a
# `ValueError` where no network fits.
#
# <details><summary>Hint 1</summary>`itertools.product(*(range(len(row)) for row in logs))` goes through all
# networks.</details>
# <details><summary>Hint 2</summary>First keep those that fit, then take the `max` of their log-probability. An empty
# list must be refused.</details>


# %% tags=["stub"]
def derive(logs, costs, low, high):
    raise NotImplementedError


# %% tags=["solution"]
def derive(logs, costs, low, high):
    def total(rows, arch):
        return sum(row[i] for row, i in zip(rows, arch, strict=True))

    every = product(*(range(len(row)) for row in logs))  # 8 options in 4 blocks: 4,096 networks
    fitting = [arch for arch in every if low <= total(costs, arch) <= high]
    if not fitting:
        raise ValueError(f"no network costs {low} to {high}")
    return max(fitting, key=lambda arch: total(logs, arch))


# %% tags=["nbval-check-output"]
check_derive(derive)

# %% [markdown]
# The derived architecture goes to a file that a person can read, and that `parse` reads back:

# %%
text = space.format(derived.arch)
(cfg.out_dir / "architecture.yaml").write_text(text)
read = space.parse((cfg.out_dir / "architecture.yaml").read_text())
assert read == derived.arch, "the file must hold the architecture"
print(text)

# %% [markdown]
# ## 8 · Phase 4: train it, and its rivals
#
# A searched network proves nothing by itself. Beside it stand the **hand-designed** network and a **random** one, all
# three within 3 % of the same FLOPs. The random one is the rival that counts: drawing it costs nothing, so a search has
# to do better. In the picture a stack is a block: as high as its number of bottlenecks, as wide as its width ratio. The
# dotted frame is the largest option.

# %%
archs = wzdnas.contestants(derived.arch, goal, seed=cfg.seed)
figures["architectures"] = plots.architectures(space, archs)
figures["architectures"]

# %% [markdown]
# What will the search have bought? Think first. What do the zero-cost scores know of precision? What does the latency
# table know of latency? The answer comes from three seeds in section 10.

# %%
guess = course.predict(
    "At equal FLOPs, in what is the searched network better than random ones?",
    ["precision and speed", "speed alone", "precision alone", "neither"],
)

# %% [markdown]
# Before the training, a look at what it needs: anchors. Where the package fits them (section 2), it takes k-means,
# which minds the many boxes and may miss the few.
#
# ### Exercise 14.3: anchors that reach every box
# *Difficulty 2 of 3, about 15 min; design.* `sizes` holds the widths and heights of all boxes of a data set, shape
# (k, 2). Design a rule that returns `n` anchors, shape (n, 2), such that **every** box is reached: for each box there
# is an anchor that differs from it by less than the factor `ratio` in width *and* in height. The checker's data sets
# hold `n` shapes, and some of these are rare. On each, `n` anchors suffice. `ratio` is not always the same.
#
# <details><summary>Hint 1</summary>A factor becomes a distance in logarithms: two sides differ by less than `ratio`
# where |log a − log b| < log ratio. Of width and height the larger distance counts.</details>
# <details><summary>Hint 2</summary>A box itself can serve as an anchor. Start with any, and go on with the box that is
# farthest from all anchors that you have.</details>


# %% tags=["stub"]
def choose_anchors(sizes, n, ratio):
    raise NotImplementedError


# %% tags=["solution"]
def choose_anchors(sizes, n, ratio):
    logs, chosen = np.log(sizes), [0]
    while len(chosen) < n:
        away = np.abs(logs[:, None] - logs[chosen]).max(-1)  # the worse of both sides
        chosen.append(int(away.min(1).argmax()))
    return sizes[chosen]


# %% tags=["nbval-check-output"]
check_anchors(choose_anchors)

# %% [markdown]
# All three networks start from fresh weights and get the same images, recipe, number of epochs and seed. No weight of
# the supernet is reused. The curves are the parts of the detection loss, averaged over each epoch.

# %%
from nasedu.task import fit
from nasedu.training import side_by_side

final = training(cfg.train_epochs, batch_size=cfg.batch_size)
contest = wzdnas.detection_task(space, final, train_set, test=test_set, seed=cfg.seed)


bars = {name: course.Bar(total=final.training.epochs, desc=name, unit="epoch") for name in archs}


def train(name):
    keep = {"state": cfg.out_dir / f"train-{name}.pt", "progress": bars[name].show}
    same = {"seed": cfg.seed, "device": cfg.device}
    return fit(space.build(archs[name], seed=cfg.seed), contest, final.training, **same, **keep)


# The networks train side by side, one on each core: see `threads`.
trained = side_by_side(train, archs, threads=cfg.threads, device=cfg.device)
for bar in bars.values():
    bar.close()
curves = {name: result.history for name, result in trained.items()}
figures["training"] = plots.progress(curves, LOSSES)
figures["training"]

# %% [markdown]
# ## 9 · What came of this run
#
# Detections are compared with the truth by **average precision** (AP), class by class. Sort all boxes of a class by
# their score. Go down the list: of the objects of its class that are still free, a box takes the one that it overlaps
# most, if their IoU reaches a threshold. Then the box is *right*, else it is wrong. After each box, **precision** is
# the share of boxes so far that were right, and **recall** the share of objects found. AP is the area under precision
# over recall, and the mean over the classes is reported.
#
# The columns differ in threshold and area. `AP50` has the threshold 0.5; `AP` is the mean over the ten thresholds
# 0.5, 0.55 … 0.95. Both are COCO's, with the area read at 101 recalls. PASCAL VOC has the threshold 0.5. `VOC
# 11-point` (until 2009) reads precision at 11 recalls only, `VOC every-point` (since 2010) at every recall. Figures
# of different columns must not be compared.

# %%
from nasedu.detection import evaluate

found = {name: contest.find(result.ema, "test") for name, result in trained.items()}
metrics = {name: evaluate(test_set, found[name]) for name in archs}
columns = {"AP": "ap", "AP50": "ap50", "VOC 11-point": "voc11_50", "VOC every-point": "voc_all_50"}
scored = {n: {c: getattr(m, f) for c, f in columns.items()} for n, m in metrics.items()}
pd.DataFrame(scored).T.round(3)

# %% [markdown]
# Solid: what the searched network found on test images, with class and score. Dashed: the truth.

# %%
certain = {"confidence": 0.3, "iou": 0.4, "multi_label": False}  # AP counts all from 0.001 on
shown = contest.find(trained["searched"].ema, "test", **certain)
figures["detections"] = plots.detections(test_set, shown)
figures["detections"]

# %% [markdown]
# Average precision is easily computed wrongly, and wrong ones look plausible.
#
# ### Exercise 14.4: three faults in an average precision
# *Difficulty 2 of 3, about 20 min; fault.* The code below is for one class and one image. `scores` are those of k
# boxes, `overlaps[i, j]` is the IoU of box `i` with object `j`. It has three faults. Find them by the definition
# above, and return what is right. One thing in it is correct: precision at a recall counts as the best precision at
# that recall or any larger one (`np.maximum.accumulate` from behind).
#
# ```python
# def precision(scores, overlaps, threshold):
#     right = []
#     for row in overlaps:
#         right.append(row.max() >= threshold)
#     right = np.array(right)
#     share = right.cumsum() / np.arange(1, len(right) + 1)
#     best = np.maximum.accumulate(share[::-1])[::-1]
#     return best[right].sum() / max(right.sum(), 1)
# ```
#
# <details><summary>Hint 1</summary>In which order are the boxes gone through? How often can an object be
# found?</details>
# <details><summary>Hint 2</summary>What if one object of ten is found, perfectly? The code says 1.</details>


# %% tags=["stub"]
def precision(scores, overlaps, threshold):
    raise NotImplementedError


# %% tags=["solution"]
def precision(scores, overlaps, threshold):
    free, right = np.ones(overlaps.shape[1], bool), []
    for i in np.argsort(-scores):  # by falling score
        seen = np.where(free, overlaps[i], -1.0)
        right.append(seen.max() >= threshold)
        if right[-1]:
            free[seen.argmax()] = False  # an object is found once
    right = np.array(right)
    share = right.cumsum() / np.arange(1, len(right) + 1)
    best = np.maximum.accumulate(share[::-1])[::-1]
    return best[right].sum() / overlaps.shape[1]  # missed objects count, too


# %% tags=["nbval-check-output"]
check_precision(precision)

# %% [markdown]
# ### Out of PyTorch
#
# A detector is more than weights: architecture, anchors, classes and image size belong to it. Each goes into a folder
# of its own in `detectors`, as a text that people can read and weights that hold no code; `wzdnas.load` reads it back.
#
# On a phone or in a camera nobody wants to run PyTorch. So each network goes out as one **ONNX** file, too, from an
# image to boxes and scores. The file decodes the head; the suppression of overlapping boxes is left to whoever runs it.
# A file is of use only if it computes what the network computes. So both look at four training images on the CPU:

# %%
deployed = {}
for name, result in trained.items():
    # the averaged weights are what was tested above
    detector = wzdnas.Detector(space, archs[name], train_set.classes, result.ema)
    folder = detector.save(cfg.out_dir / "detectors" / name)
    deployed[name] = deploy.export_detector(detector, folder / "detector.onnx", images[:4])
    same = deployed[name].difference < 1e-4
    assert same, "the file must give the boxes and scores of the network"
largest = max(one.difference for one in deployed.values())
Markdown(f"Largest difference in any box, as a share of the image's side, or score: {largest:.1e}.")

# %% [markdown]
# What can be done with it, on the command line:
#
# ```
# python -m nasedu detect RUN photo.jpg --out seen.png    # RUN is this notebook's output folder
# python -m nasedu evaluate RUN --data FOLDER              # AP, precision and recall on labelled images
# python -m nasedu export RUN --out detector.onnx --suppress --opset 13
# ```
#
# The last one also writes a script that needs nothing but NumPy, Pillow and ONNX Runtime. Notebook 13 explains every
# step from the network's output to these boxes.

# %% [markdown]
# ### Time, with bars
#
# A single timing is an anecdote: the machine may have been busy for that moment. So time goes in **rounds**. Each
# round times every network once, in PyTorch (`latency_ms`, on `device`) and as an ONNX file in ONNX Runtime
# (`onnx_ms`, on the CPU), on one thread. A machine that slows down then slows all networks alike. Bars run between
# the quartiles of the rounds.

# %%
from nasedu.hardware.latency import measure_onnx

rounds = {name: {"latency_ms": [], "onnx_ms": []} for name in archs}
built = {name: space.build(arch) for name, arch in archs.items()}
once = {"repeats": 10}  # the median of ten runs
for _ in course.Bar(range(7), "rounds"):
    for name, times in rounds.items():
        timing = hardware.measure(built[name], space.input_shape, device=cfg.device, **once)
        times["latency_ms"].append(timing.median)
        timing = measure_onnx(deployed[name].file, space.input_shape, **once)
        times["onnx_ms"].append(timing.median)


def between(values):
    """Median, and the quartiles to either side."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return plots.Interval(middle, low, high)


units = {"latency_ms": "PyTorch (ms, batch 1)", "onnx_ms": "ONNX Runtime (ms, batch 1)"}
panels = {}
for key, unit in units.items():
    panels[unit] = {"": {name: between(times[key]) for name, times in rounds.items()}}
figures["latency"] = plots.dots(panels, names="xlabel", share="y", legend="none")
figures["latency"]

# %% [markdown]
# All of it in one table. `table_ms` is what the latency table of section 3 predicts for PyTorch. `onnx_table_ms` is the
# same for ONNX Runtime, where a table for this space is stored. Blocks timed one by one do not add up to the time of
# the whole: notebook 10 shows how far off they are. If the gap is the same for all networks, their order is unaffected.

# %%
onnx_latency = tables.stored(space, "latency_ms", "onnxruntime")
measured = {name: exported.latency for name, exported in deployed.items()}
table = wzdnas.report(space, archs, metrics, latency, cfg.device, measured, onnx_latency)
for name, times in rounds.items():
    for key, values in times.items():
        table.loc[name, key] = np.median(values)  # of all rounds, in place of one timing
table.round(3)

# %% [markdown]
# Precision against speed: up is more precise, left is faster.

# %%
points = {name: (row["latency_ms"], row["AP"]) for name, row in table.iterrows()}
look = {"named": True, "width": 6, "xlabel": "latency in PyTorch (ms, batch 1)", "ylabel": "AP"}
figures["ap_latency"] = plots.scatter(points, **look)
figures["ap_latency"]

# %% [markdown]
# In words, against both rivals:

# %%
rivals = ("hand-designed", "random")


def against(rival):
    """What this run's searched network has over a rival, as a line."""
    gain = table.loc["searched", "AP"] - table.loc[rival, "AP"]
    ratios = [np.divide(rounds["searched"][key], rounds[rival][key]) for key in units]
    slower = [f"{100 * (np.median(r) - 1):+.0f} %" for r in ratios]
    time = f"{slower[0]} (PyTorch), {slower[1]} (ONNX Runtime)"
    return f"- against **{rival}**: {gain:+.3f} AP; time {time}"


Markdown(
    "\n".join(map(against, rivals)) + "\n\n**One seed is an anecdote.** Another seed may turn "
    "any of these signs round. The next section therefore shows several."
)

# %% [markdown]
# ## 10 · The verdict: three seeds, against both rivals
#
# `datasets/verdict_wzdnas.py` did what this notebook does at `quick`, with three seeds, once, and stored what came.
# Each seed had its own images, supernet, search and random network. The searches were priced with the project's
# stored PyTorch table. All networks were then timed in rounds, as above.

# %%
folder = resources.folder("datasets")
meta = json.loads((folder / "verdict_wzdnas.json").read_text())
stored = pd.read_csv(folder / "verdict_wzdnas.csv")
seeds, setting, by = meta["seeds"], meta["preset"], meta["provenance"]
print(f"seeds {seeds}; {setting['train_size']} scenes, {setting['train_epochs']} epochs")
print(f"{meta['test_images']} test images; timed in {meta['rounds']} rounds on {by['device']}")
print(f"made on {by['date']} with torch {by['torch']} and ONNX Runtime {by['onnxruntime']}")

# %% [markdown]
# Average precision first: a row for each kind of network, a small dot for each seed, the mean framed.

# %%
kept = stored.set_index(["quantity", "kind", "seed"])["value"]
kinds = [kind for kind in ("searched", *rivals) if kind in kept["AP"].index]
ap = {kind: kept["AP"][kind].to_numpy() for kind in kinds}  # (seeds,)
figures["verdict_ap"] = plots.dots(ap, xlabel="AP on the test images of the seed")
figures["verdict_ap"]

# %% [markdown]
# Now AP against time. A mark stands at the median time of its kind and at its mean AP. Bars to the sides hold the
# middle half of all timings of the kind, over its networks and rounds. Bars upwards are one standard deviation of the
# seeds, so they say how far one training may lie off, not how well the mean is known.

# %%
from nasedu.plots.picture import COLOURS

RUNTIMES = {"torch_ms": "PyTorch", "onnx_ms": "ONNX Runtime"}
units = {unit: f"{name} (ms, batch 1)" for unit, name in RUNTIMES.items()}
timed = stored[stored.quantity.isin(units)]
times = timed.pivot(index=["quantity", "kind", "seed"], columns="repeat", values="value")


def pooled(unit, kind):
    """All timings of a kind in a runtime, over its networks and rounds."""
    return times.loc[unit].loc[kind].to_numpy().ravel()


panels = {label: {} for label in units.values()}
for unit, kind in product(units, kinds):
    mean, sd = ap[kind].mean(), ap[kind].std(ddof=1)
    bar = plots.Interval(mean, mean - sd, mean + sd)
    panels[units[unit]][kind] = np.median(pooled(unit, kind)), bar
figure = plots.scatter(panels, names="xlabel", ylabel="AP", share="y")
for (axes, unit), (i, kind) in product(zip(figure.axes, units, strict=True), enumerate(kinds)):
    low, high = np.quantile(pooled(unit, kind), (0.25, 0.75))
    look = {"color": COLOURS[i], "linestyle": "-", "marker": "", "alpha": 0.5}
    axes.plot([low, high], [ap[kind].mean()] * 2, **look)
figures["verdict"] = figure
figures["verdict"]

# %% [markdown]
# ### How sure is it?
#
# Each difference gets an interval at 95 %. It covers what another seed would have changed: weights and images for AP,
# the network that is found or drawn for time.
#
# - **AP**: searched less rival, seed by seed on the same images. For three pairs Student's interval (`ranking.paired`)
#   reaches 4.3 standard errors to either side. A bootstrap could not leave the range of the three.
# - **Time**: each time is divided by the median of its round, so that a busy machine cancels. The median over the
#   rounds is the network's *pace*. Three searched networks meet the one hand-designed network: three differences. The
#   uncertainty of its own pace, printed below, comes on top.
# - **Time against random**: three searched networks meet nine random ones, in no pairs. Welch's interval takes the
#   spread of both.
#
# Paces are compared by their logarithms, so that −10 % means a tenth less time.

# %%
network, order = meta["networks"], times.loc["torch_ms"].index
work = pd.Series({i: np.log(network[f"{i[0]} {i[1]}"]["gflops"]) for i in order})
paces = {}
for unit, name in RUNTIMES.items():
    shares = np.log(times.loc[unit] / times.loc[unit].median())  # of the round's median
    paces[unit] = shares.median(axis=1)  # by kind and seed
    noise = 100 * shares.std(axis=1).mean() / shares.shape[1] ** 0.5
    print(f"{name}: rounds leave a network's pace uncertain by about {noise:.1f} %")

# %% [markdown]
# The intervals in code, and the one that matters most:


# %%
def welch(mine, theirs):
    """The difference of two means, and Welch's interval: Student's where nothing is in pairs."""
    groups = [(x.var(ddof=1) / len(x), len(x) - 1) for x in (mine, theirs)]
    error = sum(part for part, _ in groups)
    reach = scipy.stats.t.ppf(0.975, error**2 / sum(part**2 / n for part, n in groups))
    mean = mine.mean() - theirs.mean()
    return np.array([mean, mean - reach * error**0.5, mean + reach * error**0.5])


def slower(unit, kind, rival, per_flop=False):
    """By how many % a kind is slower than a rival, with its interval; or slower for each FLOP."""
    mine, theirs = ((paces[unit] - per_flop * work)[k].to_numpy() for k in (kind, rival))
    compare = welch if rival == "random" else ranking.paired
    return plots.Interval(*(100 * np.expm1(compare(mine, theirs))))


gaps = {"AP": {r: ranking.paired(ap["searched"], ap[r]) for r in rivals}}
gaps |= {unit: {r: slower(unit, "searched", r) for r in rivals} for unit in units}
mean, low, high = gaps["torch_ms"]["random"]
print(f"time in PyTorch against random: {mean:+.1f} % ({low:+.1f} to {high:+.1f})")

# %% [markdown]
# All six differences. AP is better to the right of 0, time to the left. (Even where nothing differs, one of six such
# intervals leaves zero out in up to a quarter of all studies. So one that just misses zero is a hint and no more.)

# %%
names = {"AP": "AP, less the rival's", "torch_ms": "PyTorch, % more time"}
names |= {"onnx_ms": "ONNX Runtime, % more time"}
panels = {names[key]: {"": {f"against {r}": gap for r, gap in gaps[key].items()}} for key in gaps}
look = {"names": "xlabel", "share": "y", "legend": "none", "width": 11}
figures["gaps"] = plots.dots(panels, **look).guide(x=0)
for axes in figures["gaps"].axes:
    axes.locator_params(axis="x", nbins=4)  # numbers of AP are long
figures["gaps"]

# %% [markdown]
# The verdict in words, whichever way it came:


# %%
def verdict(gap, better, worse, places, unit):
    """A difference as a sentence; `better` is what a positive one is called."""
    said = better if gap.low > 0 else worse if gap.high < 0 else "cannot be told apart"
    mean, low, high = (f"{x:+.{places}f}" for x in gap)
    return f"{said} ({mean}{unit}, {low} to {high})"


def told_of(rival):
    """All three comparisons with a rival."""
    precise = verdict(gaps["AP"][rival], "more precise", "less precise", 3, " AP")
    fast = {u: verdict(gaps[u][rival], "slower", "faster", 1, " %") for u in units}
    parts = [f"AP: {precise}", *(f"time in {RUNTIMES[u]}: {said}" for u, said in fast.items())]
    return f"- The searched networks against **{rival}**. {'; '.join(parts)}."


better = {key: gaps[key]["random"].high < 0 for key in units}
better["AP"] = gaps["AP"]["random"].low > 0
gained = {key: gaps[key]["random"].value for key in gaps}
won = [f"{-gained[u]:.0f} % of the time in {name}" for u, name in RUNTIMES.items() if better[u]]
won += [f"{gained['AP']:.3f} AP"] if better["AP"] else []
hidden = [f"{(gap.high - gap.low) / 2:.3f} against {r}" for r, gap in gaps["AP"].items()]
Markdown(
    "\n".join(map(told_of, rivals)) + "\n\n**At equal FLOPs the search won "
    f"{' and '.join(won) or 'nothing that three seeds can show'} over random networks.** These "
    f"three seeds could not have shown a smaller difference in AP than {' or '.join(hidden)}."
)

# %% [markdown]
# Which part of the method earned it, the warm-up, the zero-cost map or the latency term? And how many seeds would it
# take to say more about AP? [Notebook 15](15_ablation.ipynb) takes the method apart.
#
# And your prediction. "Better" means that the whole interval lies on the better side. Speed is judged in PyTorch, which
# the search was priced with.

# %%
# better in AP, better in time
outcome = {
    (True, True): "precision and speed",
    (False, True): "speed alone",
    (True, False): "precision alone",
    (False, False): "neither",
}[better["AP"], better["torch_ms"]]
spread = np.mean([ap[kind].std(ddof=1) for kind in kinds])
guess.came(
    outcome,
    "From seed to seed (another start, other images, mostly another network) the AP of one kind "
    f"moves by a standard deviation of {spread:.3f}.",
)

# %% [markdown]
# ### What does a heavier latency term buy, and in which runtime?
#
# Two more descents of each seed gave latency ten times the weight. `fast` was priced in PyTorch, `onnx` in ONNX
# Runtime. The figure shows each kind's time against the nine random networks, with its interval:

# %%
heavy = ("searched", "fast", "onnx", "hand-designed")
heavy = [kind for kind in heavy if kind in times.loc["torch_ms"].index]
panels = {f"{name}, % above random": {} for name in RUNTIMES.values()}
for (unit, name), kind in product(RUNTIMES.items(), heavy):
    panels[f"{name}, % above random"].setdefault("", {})[kind] = slower(unit, kind, "random")
figures["runtimes"] = plots.dots(panels, names="xlabel", share="y", legend="none").guide(x=0)
figures["runtimes"]

# %% [markdown]
# Whose table is the right one? In each runtime, the networks that were priced in it against those priced in the other,
# seed by seed. All lie within 3 % of the target, so two of them may differ by more. Therefore their times are divided
# by their FLOPs here. And does the speed cost precision?

# %%
lines, wins = [], []
for unit, mine, other in (("torch_ms", "fast", "onnx"), ("onnx_ms", "onnx", "fast")):
    if other in heavy and mine in heavy:
        gap = slower(unit, mine, other, per_flop=True)
        told = verdict(gap, "slower", "faster", 1, " %")
        pair = f"`{mine}` against `{other}`"
        lines.append(f"- In **{RUNTIMES[unit]}**, for each FLOP, {pair}: {told}.")
        wins.append(gap.high < 0)
if "fast" in kept["AP"].index:  # it was trained, too
    told = ranking.paired(kept["AP"]["fast"].to_numpy(), ap["searched"])
    told = verdict(told, "more precise", "less precise", 3, " AP")
    lines.append(f"- The precision of `fast` against `searched`: {told}.")
if len(wins) == 2:
    each = "In each runtime its own table" if all(wins) else "Not in each runtime its own table"
    lines.append(f"\n**{each} found the faster networks.**")
Markdown("\n".join(lines or ["No such networks are stored."]))

# %% [markdown]
# Claims about detectors are made every week. Which of them follow from their numbers?
#
# ### Exercise 14.5: which claims stand
# *Difficulty 3 of 3, about 25 min; fault.* A claim says "a is better than b at equal FLOPs". It is a dictionary:
# `better` is `"higher"` or `"lower"` (which direction is good), `a` and `b` map seeds to measured values, `gflops` is
# the pair of the FLOPs of a and b. Find the faults: return True only where the claim follows. It follows if
#
# - the FLOPs of a differ from those of b by at most 3 %;
# - a and b share at least three seeds; only shared seeds count, and they are compared in pairs;
# - Student's 95 % interval of the mean difference lies wholly on the better side of 0.
#
# <details><summary>Hint 1</summary>`sorted(claim["a"].keys() & claim["b"].keys())` are the shared seeds.</details>
# <details><summary>Hint 2</summary>`scipy.stats.t.ppf(0.975, n - 1)` times the standard deviation of the differences
# (with n − 1) over √n is half of the interval. `ranking.paired` computes the same.</details>


# %% tags=["stub"]
def stands(claim):
    raise NotImplementedError


# %% tags=["solution"]
def stands(claim):
    a, b = claim["a"], claim["b"]
    seeds = sorted(a.keys() & b.keys())
    equal = abs(claim["gflops"][0] / claim["gflops"][1] - 1) <= 0.03
    if len(seeds) < 3 or not equal:
        return False
    sign = 1 if claim["better"] == "higher" else -1
    gaps = sign * np.array([a[seed] - b[seed] for seed in seeds])  # in pairs
    half = scipy.stats.t.ppf(0.975, len(seeds) - 1) * gaps.std(ddof=1) / len(seeds) ** 0.5
    return bool(gaps.mean() - half > 0)


# %% tags=["nbval-check-output"]
check_stands(stands)

# %% [markdown]
# ### What the authors report
#
# At full size: VOC2007, 416 px, one phone-class GPU. These are the authors' own figures, not verified here.
#
# | network | GFLOPs | parameters | AP | AP50 | latency |
# |---|---|---|---|---|---|
# | YOLOv4-P5, hand-designed | 69.9 | 70.3 M | 0.475 | 0.716 | 313 ms |
# | ZeroDNAS-P5: neither warm-up nor hardware loss | 70.8 | 75.0 M | 0.447 | 0.684 | 327 ms |
# | hardware loss alone | | 39.5 M | 0.480 | | 274 ms |
# | warm-up alone | | 70.0 M | 0.481 | | 302 ms |
# | WZDNAS-P5: both | 68.9 | 38.2 M | 0.482 | 0.723 | 279 ms |
#
# Read the middle rows. Either part alone gives nearly all of the AP: 0.480 and 0.481 of 0.482. The hardware loss
# alone also gives the small and fast network. What both together add in AP is 0.001 to 0.002. Against the
# hand-designed network the whole gains 0.007 AP and saves 11 % of the time, at equal FLOPs. The authors compare with
# no random network of equal FLOPs.

# %% [markdown]
# ## 11 · Move the target yourself
#
# With all four tables fixed, a whole search takes about a second. Two sliders, the target and the latency weight,
# search again each time one of them is moved. Tab goes from one slider to the next, the arrow keys move it.

# %%
from nasedu.widgets import SearchWidget

stored_tables = {"zero_cost": last_map, **priced}
widget = SearchWidget(stored_tables, target=round(percent), seed=cfg.seed)
widget

# %% [markdown]
# The same by hand, for pages that cannot run: the derived network at several latency weights. All of them have equal
# FLOPs within 3 %.

# %%
from nasedu.search import DescentConfig, descend


def search_again(factor):
    """What a descent finds where latency weighs `factor` times as much as published."""
    weights = replace(wzdnas.PUBLISHED, latency=factor * wzdnas.PUBLISHED.latency)
    budget = wzdnas.four_terms(stored_tables, target, weights)
    again = DescentConfig(steps=3000, every=300)
    path = descend(budget, again, seeds=[cfg.seed]).path(again.temperature[1])
    return tables.derive(path, flops, target).arch


again = {factor: search_again(factor) for factor in ((0, 1, 10) if latency else (1,))}
costs = {k: f": {latency(arch):.3g} ms" if latency else "" for k, arch in again.items()}
names = {f"latency weight × {k}{costs[k]}": arch for k, arch in again.items()}
figures["latency_weight"] = plots.architectures(space, names)
figures["latency_weight"]

# %% [markdown]
# What does the weight change in the network? The number of bottlenecks and the mean of the width ratios:


# %%
def shape_of(arch):
    """How many bottlenecks a network has, and the mean of its width ratios."""
    first = [group[0] for group in space.groups]
    widths = [float(space.decisions[d].choices[arch[d]]) for d in first]
    return int(priced["depth"](arch)), float(np.mean(widths))


shapes_of = {k: shape_of(arch) for k, arch in again.items()}
(few, wide), (many, narrow) = shapes_of[max(again)], shapes_of[min(again)]
said = [f"× {k}: {n} bottlenecks, mean γ {width:.2f}" for k, (n, width) in shapes_of.items()]
trades = few < many and wide > narrow
trade = " **Here a heavier latency term gives fewer, wider bottlenecks.**" if trades else ""
Markdown(f"Latency weight {'; '.join(said)}.{trade}")

# %% [markdown]
# ## Summary
#
# - A supernet holds every network; masks choose widths, mixtures choose depths.
# - FLOPs, depth, latency and zero-cost scores are all the same thing, a table with a smooth expectation. The search is
#   descent on four of them.
# - Expected, most probable and derived cost are three numbers. Report all of them.
# - A searched network counts only beside rivals of the same budget and the same training: a hand-designed one *and*
#   random ones.
# - At equal FLOPs, what a latency table can buy is latency. How much of it carries over to another runtime must be
#   measured there.
#
# **Pitfalls**
#
# - *NASWOT and depth.* In the published supernet the score cannot see depth. FLOPs, depth and latency decide it alone.
# - *Statistics.* A supernet whose batch normalisation has seen no data gives scores of noise, or infinite ones.
# - *An easy target.* Where the uniform start already meets the target, the FLOPs term has nothing to do. Try
#   `target="15%"`.
# - *Another device, another runtime.* A latency table speaks for the device and the runtime that it was measured with.
#   For a board on your desk, section 9 of notebook 10 makes a kit that measures there; `lookup` takes the table that
#   comes back.
# - *One seed.* Train the same network with three seeds first: their spread tells which differences mean something.
# - *One timing.* Time all networks in turns, several times over.
#
# **Further reading**
#
# - WZDNAS: public code PeiHsain/WZDNAS, after which this notebook is built; its line began as Zero-DNAS and IZero-DNAS
# - NASWOT: Mellor, Turner, Storkey, Crowley, *Neural Architecture Search without Training*, ICML 2021
# - Detector: Wang, Bochkovskiy, Liao, *Scaled-YOLOv4: Scaling Cross Stage Partial Network*, CVPR 2021
# - Average precision: Everingham et al., *The PASCAL Visual Object Classes (VOC) Challenge*, IJCV 2010; Lin et al.,
#   *Microsoft COCO: Common Objects in Context*, ECCV 2014
# - Gumbel softmax: Jang, Gu, Poole, *Categorical Reparameterization with Gumbel-Softmax*, ICLR 2017
# - SNIP: Lee, Ajanthan, Torr, *SNIP: Single-shot Network Pruning based on Connection Sensitivity*, ICLR 2019
# - SynFlow: Tanaka, Kunin, Yamins, Ganguli, *Pruning Neural Networks without Any Data by Iteratively Conserving
#   Synaptic Flow*, NeurIPS 2020
# - Latency tables in a differentiable search: Wu et al., *FBNet: Hardware-Aware Efficient ConvNet Design via
#   Differentiable Neural Architecture Search*, CVPR 2019

# %% [markdown]
# The last cell stores what came of this run.

# %%
kept_costs = ("target", "expected", "argmax_cost", "cost") if unit == "GFLOPs" else ()
results = {
    "networks": table.to_dict("index"),
    "architectures": {name: space.format(arch) for name, arch in archs.items()},
    "latency_table": {"own": bool(own), **made},
    "rounds": rounds,
    "goal": {"targets": dict(goal.targets), "most": dict(goal.most)},
    "gflops": {name: 2e-9 * getattr(derived, name) for name in kept_costs},
    "repair_nats": derived.regret,
    "warm_up": warmed.history,
    "per_class": {name: scores.per_class for name, scores in metrics.items()},
    "onnx_difference": {name: one.difference for name, one in deployed.items()},
    "findings": findings.to_dict("records"),
}  # every figure of this run, so that another run can be compared with it
course.finish(cfg, summary=table.round(4), figures=figures, results=results)
