# %% [markdown]
# # WZDNAS: search a detector for your own device
#
# From images and a budget of FLOPs to a trained object detector, in one run with every part laid open.
#
# WZDNAS (warm-up, zero-cost, differentiable architecture search) picks the width and depth of every
# block of a YOLOv4-style detector. It first trains one *supernet* that holds all candidates, then scores every option
# of every block **without training it**, and lets gradient descent weigh these scores against FLOPs, depth and the
# latency of a real device. What comes out is trained from scratch and measured.
#
# **Afterwards you can**
#
# 1. draw a detector's search space, count it and price any network in it with lookup tables;
# 2. warm up a supernet and explain why its batch-normalisation statistics matter as much as its weights;
# 3. compute a block-wise NASWOT map, and say what it sees and what it is blind to;
# 4. read and change the four-term loss of the search, and tell an *expected* cost from a *derived* one;
# 5. judge a searched network honestly: beside a hand-designed and a random one of the same FLOPs.
#
# **You need** PyTorch and an idea of convolutional networks; everything else is explained where it comes up.
#
# | preset | what it runs | time, two CPU cores |
# |---|---|---|
# | `smoke` | a few dozen 64 px scenes: only proves that every cell works | half a minute |
# | `quick` | 1,500 scenes of 128 px, the `course` template | 39 minutes, beside other work |
# | `full` | 6,000 scenes, three times as many epochs | not measured; about 12 times as long as `quick` |
# | `gpu` | the published sizes: template `p5`, 416 px, VOC2007, 115,200 search steps, 300 epochs | not measured |
#
# Every phase keeps its state in the output folder. Interrupt the kernel whenever you like: run again, it goes on.

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu; it sets every parameter below that is None
dataset: str = None  # digits (built in), voc or coco
data_root: str = None  # folder of the voc or coco data
classes: list[str] = None  # names of the classes to detect; None: all
difficulty: float = None  # of the digits' scenes, 0 to 1; None: the data set's own default
image_size: int = None  # pixels, a multiple of 32; None: 128 for digits, 192 for photographs
train_size: int = None  # number of training images; None: all
test_size: int = None  # number of test images; None: all
template: str = None  # course, tiny, csp or p5
semantics: str = None  # of the supernet: sliced or faithful (as published)
target: str = None  # FLOPs: "hand" (like the hand-designed network), "40%" of the range, or "70 GFLOPs"
lookup: str = None  # latency table: auto, measure, none, or a file
warmup: str = None  # train, bn_only or none
warmup_epochs: int = None  # passes over train_size images; 0 trains no weights
warmup_batch_size: int = None  # images per warm-up step
proxy: str = None  # zero-cost proxy: naswot, snip or synflow
search_steps: int = None  # steps of theta
map_every: int = None  # steps between two zero-cost maps
map_batch_size: int = None  # images in the fixed batch that the maps are computed on
train_epochs: int = None  # passes over train_size images, for each final network
batch_size: int = None  # images per training step
threads: int = None  # CPU threads for each network; networks train side by side on the others
recipe: str = None  # how detectors are trained: short or published
precision: str = None  # of training: float32, or bfloat16 on a GPU
seed: int = None  # of every random choice
device: str = None  # auto, cpu, cuda, cuda:1 ...
out_dir: str = None  # folder of the results; None: one per set of parameters

# %%
from dataclasses import replace

import numpy as np
import torch
from IPython.display import Markdown
from tqdm import tqdm

from nasedu import course, data, deploy, hardware, plots, spaces, tables, wzdnas
from nasedu.course.checks.wzdnas import check_expected_cost, check_pull, check_sample
from nasedu.sampling import gumbel_softmax, one_hot, softmax, uniform_logits
from nasedu.supernet.batchnorm import recalibrate

choices = {
    "dataset": data.names(),
    "template": spaces.yolo.TEMPLATES,
    "semantics": ["sliced", "faithful"],
    "warmup": ["train", "bn_only", "none"],
    "proxy": wzdnas.PROXIES,
    "recipe": wzdnas.RECIPES,
    "precision": ["float32", "bfloat16"],
}
cfg = course.setup("14_wzdnas", globals(), choices=choices)
torch.set_num_threads(cfg.threads)
cfg

# %% [markdown]
# ## 1 · The images
#
# The built-in scenes are made of real handwritten digits on textured grounds, partly covered, among strokes that are no
# digits. `dataset=voc` and `dataset=coco` read folders of photographs instead. A broken file or an impossible box is
# never learnt from: it is skipped and reported.


# %%
def load(split, size):
    options = {"classes": cfg.classes, "difficulty": cfg.difficulty}
    options = {name: value for name, value in options.items() if value is not None}
    options |= {"root": cfg.data_root, "seed": cfg.seed, "size": size}
    options["image_size"] = cfg.image_size or (128 if cfg.dataset == "digits" else 192)
    return data.detection(cfg.dataset, split, **options)


train_set, test_set = load("train", cfg.train_size), load("test", cfg.test_size)
for line in train_set.skipped + test_set.skipped:
    print("skipped", line)
Markdown(
    f"**{len(train_set)} training and {len(test_set)} test images** of {train_set.image_size} px, "
    f"{len(train_set.classes)} classes: {', '.join(train_set.classes)}."
)

# %% [markdown]
# Eight training images with their boxes. A detector has to say *what* is *where*: a class and a box for each object.

# %%
figures = {}
figures["scenes"] = plots.scenes(train_set)
figures["scenes"]

# %% [markdown]
# ## 2 · The search space: what can be built?
#
# A space describes its network once, as fixed layers and *slots*. The picture reads from left to right; every row is
# one resolution. The backbone (`back1` …) goes down to coarse maps, the neck climbs up and down again so that every
# scale knows of the others, and three heads predict boxes of three sizes. Grey layers are fixed. In a blue block two
# things are open: the **width ratio γ**, which sets its hidden channels (γ times the outer ones; γ + ½ in the neck),
# and the **number of bottlenecks n** that these channels pass through.

# %%
options = {
    "template": cfg.template,
    "num_classes": len(train_set.classes),
    "image_size": train_set.image_size,
    "semantics": cfg.semantics,
}
space = spaces.create("yolo", **options)
anchors = wzdnas.anchors_for(train_set, space, ratio=wzdnas.RECIPES[cfg.recipe].ratio)
space = spaces.create("yolo", **options, anchors=anchors.tolist())
figures["search_space"] = plots.network(space)
figures["search_space"]

# %%
cost = hardware.count(space.build(space.hand_designed), space.input_shape)
Markdown(
    f"**{len(space.decisions)} decisions, {space.size:,} networks.** The hand-designed one, γ = 0.5 everywhere, "
    f"needs {cost.flops / 1e9:.3g} GFLOPs for an image and has {cost.params / 1e6:.3g} M parameters."
)

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

# %%
from nasedu.supernet.elastic import ElasticCSP

block = ElasticCSP(8, 8, hiddens=(2, 4, 6), depths=(1, 2))
assert torch.equal(block.width(g), mask)

# %% [markdown]
# **Does a one-hot choice give the network it stands for?** It should: same weights, same answer. In the published
# supernet (`faithful`) it does not, for batch normalisation shifts masked channels away from zero and they leak into
# the next layer. Masks that act *after* the activation (`sliced`, our default) close the leak.


# %%
def gap(semantics):
    """How far a one-hot supernet's output is from that of the network with the same weights, relative to its size."""
    small = spaces.create("yolo", image_size=64, semantics=semantics)
    torch.manual_seed(0)
    net, images, arch = small.supernet().eval(), torch.rand(8, 3, 64, 64), small.hand_designed
    recalibrate(net, [images], lambda net, x: net(x, softmax(uniform_logits(small.choices))))
    with torch.no_grad():
        one, alone = net(images, one_hot(arch, small.choices)), small.inherit(net, arch).eval()(images)
    return max(float((a - b).norm() / b.norm()) for a, b in zip(one, alone, strict=True))


gaps = {name: gap(name) for name in ("sliced", "faithful")}
assert gaps["sliced"] < 1e-4 < gaps["faithful"]
Markdown(f"Outputs differ by {gaps['faithful']:.0%} (faithful) and by {gaps['sliced']:.1g} (sliced).")

# %% [markdown]
# ## 3 · The price: one table per cost
#
# A network's cost is a fixed part plus one entry per block, because a block's cost depends on its own two choices
# alone. So a **lookup table** with 12 numbers for each block prices every network of the space, exactly. FLOPs (twice
# the multiply-accumulates) and depth (number of bottlenecks) are counted; latency is measured block by block on a
# real device, or read from a file that says which device it was.

# %%
latency = tables.latency_table(space, cfg.lookup, keep=cfg.out_dir / "latency.json", device=cfg.device)
priced = wzdnas.cost_tables(space, latency)
flops = priced["flops"]
target = wzdnas.read_target(cfg.target, flops, space)

# %%
low, high = flops.bounds()
percent = 100 * (target - low) / (high - low)
device = latency.provenance.get("device", latency.provenance["how"]) if latency else "no latency table"
Markdown(
    f"The space reaches from {2e-9 * low:.3g} to {2e-9 * high:.3g} GFLOPs; **the target is {2e-9 * target:.4g} "
    f"GFLOPs**, at {percent:.0f} % of that range. Latency: {device}."
)

# %% [markdown]
# ### The price of an undecided network
#
# While the search is undecided, every choice has a probability. The *expected* cost is the average over the networks
# that these probabilities draw. Drawing them is one way to find it, here with all choices equally likely:

# %%
rng = np.random.default_rng(cfg.seed)
drawn = [flops(space.sample(rng)) for _ in range(3000)]
uniform = softmax(uniform_logits(space.choices))
expected = float(flops.expected(uniform))
assert abs(np.mean(drawn) / expected - 1) < 0.03
Markdown(
    f"Mean of 3,000 drawn networks: {2e-9 * np.mean(drawn):.4g} GFLOPs. "
    f"The table's exact expectation: {2e-9 * expected:.4g} GFLOPs."
)

# %% [markdown]
# The table needs no drawing: expectations add up, and within a block width and depth are drawn independently. That
# makes the expected cost a smooth function of the probabilities, and **gradient descent can lower it**.
#
# ### Exercise 14.1: what a soft block costs
# *Difficulty 1 of 3, about 5 min.* `costs[i, j]` is what a block costs at width $i$ and depth $j$; `p` and `q` are the
# probabilities of the widths and of the depths. Return the block's expected cost as a differentiable tensor.
#
# <details><summary>Hint 1</summary>Option (i, j) is drawn with probability p_i q_j.</details>
# <details><summary>Hint 2</summary>The sum over i and j of p_i costs_ij q_j is a product of a vector, a matrix and
# a vector.</details>


# %% tags=["stub"]
def expected_cost(costs, p, q):
    raise NotImplementedError


# %% tags=["solution"]
def expected_cost(costs, p, q):
    return p @ costs @ q


# %% tags=["nbval-check-output"]
check_expected_cost(expected_cost)

# %% [markdown]
# ## 4 · Phase 1: warm up the supernet
#
# The search will judge blocks by how the *supernet* responds, so the supernet must first have sensible weights. In this
# phase the probabilities stay uniform and only the weights learn. Running the uniform mixture all the time would train
# a network that nobody builds. Instead, every step draws weights near one network of the space, with Gumbel noise:
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
figures["samples"] = plots.stacks(panels, ["choice 1", "choice 2", "choice 3", "choice 4"], **labels)
figures["samples"]

# %% [markdown]
# ### Exercise 14.2: a soft sample of an architecture
# *Difficulty 1 of 3, about 10 min.* Return one Gumbel-softmax sample for the logits `theta` of one decision, by the
# formula above.
#
# <details><summary>Hint 1</summary>torch.empty(n).exponential_() draws from the exponential distribution.</details>
# <details><summary>Hint 2</summary>Mind the minus sign of the logarithm, and what the temperature divides: both theta
# and the noise.</details>


# %% tags=["stub"]
def sample(theta, temperature):
    raise NotImplementedError


# %% tags=["solution"]
def sample(theta, temperature):
    noise = -torch.empty_like(theta).exponential_().log()
    return torch.softmax((theta + noise) / temperature, -1)


# %% tags=["nbval-check-output"]
check_sample(sample)

# %% [markdown]
# Warm-up draws its samples at $T = 3$, keeps a running average of the weights, and uses that average afterwards. At
# the end it sets the batch-normalisation statistics anew, for the uniform mixture that the search starts from. The
# parameter `warmup="bn_only"` does nothing but this last step: worth trying, for the published comparison *without*
# warm-up had neither trained weights nor the statistics of any image.


# %%
def passes(epochs):
    """`epochs`, or more where images are few: as much work as with `train_size` images, larger ones counting more."""
    pixels = max(1, train_set.image_size / 128) ** 2
    return round(epochs * max(1, (cfg.train_size or 0) / len(train_set) / pixels))


def training(epochs, **changes):
    """The recipe of the parameters, mirrored images left out for digits: a mirrored digit is no digit."""
    flip = cfg.dataset != "digits"
    return wzdnas.recipe(cfg.recipe, epochs=passes(epochs), flip=flip, precision=cfg.precision, **changes)


def follow(bar):
    """Moves a progress bar to where a training or a search is, which may have gone on from a stored one."""
    return lambda done, *_: bar.update(done - bar.n)


# %%
warm = training(cfg.warmup_epochs, batch_size=cfg.warmup_batch_size, iou="iou")
task = wzdnas.detection_task(space, warm, train_set, seed=cfg.seed)
supernet = space.supernet(seed=cfg.seed).to(cfg.device)
with tqdm(total=warm.training.epochs, desc="warm-up", unit="epoch", leave=False) as bar:
    keep = {"state": cfg.out_dir / "warm-up.pt", "progress": follow(bar)}
    warmed = wzdnas.warm_up(space, supernet, task, warm.training, mode=cfg.warmup, seed=cfg.seed, **keep)

# %%
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
# positive, else off; all on/off bits of an image are its *code*. Two images with the same code are treated alike, so
# a good block gives different codes. $K_{ij}$ counts the units on which images $i$ and $j$ agree, and the score is
# $\log|\det K|$: the less they agree, the larger.
#
# From scratch, for two images and five units. They agree on three units, and each agrees with itself on all five:

# %% tags=["nbval-check-output"]
output = torch.tensor([[0.3, -1.0, 2.0, -0.1, 0.5], [0.9, -0.2, -3.0, 0.4, 0.7]])
code = (output > 0).double()
kernel = code @ code.T + (1 - code) @ (1 - code).T
kernel

# %%
from nasedu.proxies import agreement, log_det

many = torch.randn(16, 8, 12, 12)
code = (many.flatten(1) > 0).double()
assert torch.equal(agreement(output), kernel)
assert torch.equal(agreement(many), code @ code.T + (1 - code) @ (1 - code).T)
assert abs(log_det(kernel, jitter=0.0) - np.log(np.linalg.det(kernel))) < 1e-9

# %% [markdown]
# WZDNAS scores **block by block**: every option of a block is run on the input that the soft supernet feeds that
# block, and only the activations inside it are counted. So a score knows where in the network its block stands. All
# scores come from one fixed batch of training images, and are divided by its size so as not to grow with it.

# %%
images, objects = next(replace(task, batch_size=cfg.map_batch_size).batches("train", 0))
images = images.to(cfg.device)
path = [p.to(cfg.device) for p in uniform]
first_map = wzdnas.zero_cost_map(space, supernet, path, images, "naswot")
figures["zero_cost_map"] = plots.price_map(
    first_map, f"lead within the block ({first_map.unit})", 1, lead=True, numbers=".2f"
)

# %% [markdown]
# The map: a column for each block, a row for each option (width ratio, number of bottlenecks). Numbers and colour are
# the lead over the block's own lowest option. As a rule wider scores higher; in the `sliced` supernet deeper does, too.

# %%
figures["zero_cost_map"]

# %% [markdown]
# ### What the published score cannot see
#
# The published supernet runs *all* bottlenecks whatever the depth and only mixes their outputs differently. NASWOT
# counts the same units for every depth, except for the few behind the mixture: so it is **blind to depth**. Running
# only the chosen bottlenecks cures it. The same weights under both semantics, on the same images:


# %%
def map_as(semantics):
    """The NASWOT map of the supernet's weights under either semantics, its statistics set for it."""
    other = spaces.create("yolo", **options | {"semantics": semantics}, anchors=anchors.tolist())
    twin = other.supernet().to(cfg.device)
    twin.load_state_dict(supernet.state_dict())
    wzdnas.warm_up(other, twin, task, warm.training, mode="bn_only")
    return wzdnas.zero_cost_map(other, twin, path, images, "naswot")


maps = {name: map_as(name) for name in ("faithful", "sliced")}
middle = len(space.slots) // 2
scores = {name: table.entries[middle] for name, table in maps.items()}
width, depth = (d.choices for d in space.slots[middle].decisions)
panels = {n: {f"γ = {w}": score[i].tolist() for i, w in enumerate(width)} for n, score in scores.items()}
label = f"bottlenecks in {space.slots[middle].name}"
figures["depth_blindness"] = plots.lines(panels, list(depth), xlabel=label, ylabel="log |det K| per image")

# %% [markdown]
# Left, the lines hardly move, and one even falls: a bottleneck more changes next to nothing. Right, they rise with
# every bottleneck.

# %%
figures["depth_blindness"]


# %%
def spread(table):
    """How much the score changes with depth: largest less smallest, mean over all blocks and widths."""
    return np.mean([np.ptp(entry.numpy(), axis=1) for entry in table.entries])


blind, sighted = spread(maps["faithful"]), spread(maps["sliced"])
assert sighted > 2 * blind
Markdown(
    f"From the least to the greatest depth the score moves by **{blind:.2f}** (faithful), **{sighted:.2f}** (sliced)."
)

# %% [markdown]
# ## 6 · Phase 2: descend on the architecture
#
# Every decision gets logits $\theta$, all zero at first. The loss is a sum of four expectations:
#
# $$ L(\theta) = -\underbrace{0.04\,ZC}_{\text{score}}
#    + \underbrace{24.5\left(\tfrac{F}{F^*}-1\right)^2}_{\text{FLOPs}}
#    + \underbrace{0.05\,\tfrac{D}{D_u}}_{\text{depth}}
#    + \underbrace{0.54\,\tfrac{Lat}{Lat_u}}_{\text{latency}} $$
#
# $F^*$ is the target, and $D_u$, $Lat_u$ are the costs of the uniform start; written so, the published weights fit a
# network of any size. The FLOPs term is **two-sided**: a network below the target is pushed up as well. From scratch,
# at the uniform start:

# %%
terms = {"zero_cost": first_map, **priced}
loss = wzdnas.four_terms(terms, target)
weights = wzdnas.PUBLISHED
price = {name: float(table.expected(uniform)) for name, table in terms.items()}
by_hand = -weights.zero_cost * price["zero_cost"] + weights.flops * (price["flops"] / target - 1) ** 2
by_hand += weights.depth + (weights.latency if latency else 0)  # at the start D is D_u and Lat is Lat_u
assert abs(by_hand / float(loss.value(torch.tensor(list(price.values())))) - 1) < 1e-3

# %% [markdown]
# ### Exercise 14.3: the pull of the FLOPs term on theta
# *Difficulty 2 of 3, about 15 min.* One decision has logits `theta`; its choices cost `costs`. Say
# $p = \operatorname{softmax}(\theta / T)$ and $F = \sum_i p_i c_i$. Return the gradient of $(F / F^* - 1)^2$ with
# respect to `theta`, in closed form. The package does just this in every step, for it is faster than autograd.
#
# <details><summary>Hint 1</summary>Outer derivative: 2 (F / F* − 1) / F*. Inner: how F moves with theta_i.</details>
# <details><summary>Hint 2</summary>dF / dtheta_i = p_i (c_i − F) / T: a choice is pushed by how much dearer it is than
# the average.</details>


# %% tags=["stub"]
def pull(theta, costs, target, temperature):
    raise NotImplementedError


# %% tags=["solution"]
def pull(theta, costs, target, temperature):
    p = torch.softmax(theta / temperature, -1)
    F = p @ costs
    return 2 * (F / target - 1) / target * p * (costs - F) / temperature


# %% tags=["nbval-check-output"]
check_pull(pull)

# %% [markdown]
# Now the search. The weights are frozen. Each step draws one Gumbel sample, prices it with all tables and moves
# $\theta$ by Adam. The temperature falls from 5 to 0.1, so the search explores first and commits at the end. As
# $\theta$ moves, so does what the soft supernet feeds its blocks; the map is therefore renewed every `map_every` steps.
# (`proxy="snip"` asks how much a detection loss would miss each weight, `"synflow"` needs no images.)


# %%
def map_loss(net, path):
    """What snip differentiates: the supernet's loss on the fixed batch."""
    return task.loss(net(images, path), objects)["total"]


config = wzdnas.WZDNASConfig(
    steps=cfg.search_steps, every=cfg.map_every, target=target, proxy=cfg.proxy, map_loss=map_loss
)

# %%
with tqdm(total=config.steps, desc="search", unit="step", leave=False) as bar:
    keep = {"seed": cfg.seed, "state": cfg.out_dir / "search.pt", "progress": follow(bar)}
    descent, last_map = wzdnas.search(space, supernet, images, priced, config, **keep)

# %% [markdown]
# **The probabilities over the steps.** A column for each block, widths above depths. The areas are the probabilities
# of the choices, from the smallest choice (light, at the bottom) to the largest (dark, on top); the numbers name what
# they end in.

# %%
history = {"probability": [record["probabilities"][0] for record in descent.history]}
steps = [record["step"] for record in descent.history]
figures["probabilities"] = plots.probabilities(space, history, steps, colours=plots.ORDERED, xlabel="step")
figures["probabilities"]

# %% [markdown]
# **The four terms of the loss**, weighted as they enter it. The FLOPs term falls first, for it is the steepest; where
# the others pull against it, it stays a little above zero.

# %%
loss_terms = wzdnas.terms_of(descent, {"zero_cost": last_map, **priced}, target)
terms = {name: {name: values} for name, values in loss_terms.items()}
look = {"xlabel": "step", "ylabel": "weighted term of the loss", "share": "", "legend": "none"}
figures["loss_terms"] = plots.lines(terms, steps, **look)
figures["loss_terms"]

# %% [markdown]
# ## 7 · Phase 3: from probabilities to one network
#
# Take the most probable choice of every decision. Two things can go wrong, and both are worth looking at: the
# *expected* cost under the probabilities is not the cost of the *most probable* network; and either may miss the
# target. Where the network misses it by more than 3 %, a repair step gives up as little log-probability as possible
# until it fits.

# %%
derived = tables.derive(descent.path(config.temperature[1]), flops, target)
paid = torch.stack([record["costs"][0] for record in descent.history])  # (records, terms)
path_flops = [*paid[:, list(loss_terms).index("flops")].tolist(), derived.expected]
giga = {"expected": 2e-9 * np.array(path_flops)}
marks = {"most probable": 2e-9 * derived.argmax_cost, "derived": 2e-9 * derived.cost}
figures["budget"] = plots.lines(giga, [*steps, config.steps], xlabel="step", ylabel="GFLOPs per image")
figures["budget"].guide(y=(2e-9 * 0.97 * target, 2e-9 * 1.03 * target), label="target ± 3 %")
for (name, value), line in zip(marks.items(), (":", "--"), strict=True):
    figures["budget"].guide(y=value, linestyle=line, label=f"{name}, {value:.4g} GFLOPs")
figures["budget"]

# %%
repair = f"a repair that gave up {derived.regret:.2f} nats" if derived.repaired else "no repair"
Markdown(
    f"Target {2e-9 * target:.4g} GFLOPs; expected {2e-9 * derived.expected:.4g}, most probable network "
    f"{2e-9 * derived.argmax_cost:.4g}, **derived {2e-9 * derived.cost:.4g}** after {repair}."
)

# %% [markdown]
# The derived architecture goes to a file that a person can read, and that `parse` reads back:

# %%
text = space.format(derived.arch)
(cfg.out_dir / "architecture.yaml").write_text(text)
assert space.parse((cfg.out_dir / "architecture.yaml").read_text()) == derived.arch
print(text)

# %% [markdown]
# ## 8 · Phase 4: train it, and its rivals
#
# A searched network proves nothing by itself. Beside it stand the **hand-designed** network and a **random** one, all
# three within 3 % of the same FLOPs. (If a random network does as well, the search found nothing.) A stack is a block:
# as high as its number of bottlenecks, as wide as its width ratio; the dotted frame is the largest option.

# %%
archs = wzdnas.contestants(derived.arch, flops, target, seed=cfg.seed)
figures["architectures"] = plots.architectures(space, archs)
figures["architectures"]

# %% [markdown]
# All three start from fresh weights and get the same images, recipe, number of epochs and seed. No weight of the
# supernet is reused.

# %%
from nasedu.task import fit
from nasedu.training import side_by_side

final = training(cfg.train_epochs, batch_size=cfg.batch_size)
contest = wzdnas.detection_task(space, final, train_set, test=test_set, seed=cfg.seed)


def train(name):
    place = list(archs).index(name)
    with tqdm(total=final.training.epochs, desc=name, unit="epoch", position=place, leave=False) as bar:
        keep = {"state": cfg.out_dir / f"train-{name}.pt", "progress": follow(bar)}
        same = {"seed": cfg.seed, "device": cfg.device}
        return fit(space.build(archs[name], seed=cfg.seed), contest, final.training, **same, **keep)


trained = side_by_side(train, archs, threads=cfg.threads, device=cfg.device)

# %% [markdown]
# Training curves of the three networks: the parts of the detection loss, averaged over each epoch.

# %%
figures["training"] = plots.progress({name: result.history for name, result in trained.items()}, LOSSES)
figures["training"]

# %% [markdown]
# ## 9 · What came of it
#
# Detections are compared with the truth by **average precision**: the area under precision over recall. `AP50` calls a
# box right if it overlaps an object of its class by an IoU of 0.5, `AP` averages over ten such thresholds up to 0.95.

# %%
from nasedu.detection import evaluate

found = {name: contest.find(result.ema, "test") for name, result in trained.items()}
metrics = {name: evaluate(test_set, found[name]) for name in archs}

# %% [markdown]
# ### Out of PyTorch
#
# On a phone or in a camera nobody wants to run PyTorch. Each network goes out as one **ONNX** file, from an image to
# boxes and scores: the decoding of the head is in it, only the suppression of overlapping boxes is left to whoever runs
# it. A file is worth something only if it says what the network said, so both look at four training images, on the CPU,
# and then the file is timed.

# %%
deployed = {}
for name, result in trained.items():
    deployed[name] = deploy.export_detector(space, result.ema, cfg.out_dir / f"{name}.onnx", images[:4])
    assert deployed[name].difference < 1e-4, "the file gives other boxes or scores than the network"
largest = max(one.difference for one in deployed.values())
Markdown(f"Largest difference in any box, as a share of the image's side, or score: {largest:.1e}.")

# %% [markdown]
# Times to compare, all on one thread (`latency_ms` on `device`, the ONNX file always on the CPU): `latency_ms` is the
# network as PyTorch runs it, `table_ms` what the latency table of section 3 predicts for that; `onnx_ms` the exported
# file with its head in ONNX Runtime, `onnx_table_ms` what a table made by a kit (`python -m nasedu kit`) predicts for
# that, where one is stored for this space. Blocks timed one by one in PyTorch add up to less than the whole: notebook
# 10 shows how much, and how to correct it. As far as every network lacks the same, a ranking does not suffer; compare
# the columns, and mind that one measured time is noisy, too. Where `latency_ms` is several times `table_ms`, the
# machine was busy.

# %%
onnx_latency = tables.stored(space, "latency_ms", "onnxruntime")
measured = {name: exported.latency for name, exported in deployed.items()}
table = wzdnas.report(space, archs, metrics, latency, cfg.device, measured, onnx_latency)
table.round(3)

# %% [markdown]
# Solid: what the searched network found on test images, with class and score. Dashed: the truth.

# %%
certain = {"confidence": 0.3, "iou": 0.4, "multi_label": False}  # the test keeps all down to a score of 0.001
shown = contest.find(trained["searched"].ema, "test", **certain)
figures["detections"] = plots.detections(test_set, shown)
figures["detections"]

# %% [markdown]
# Precision against speed: up is more precise, left is faster.

# %%
points = {name: (row["latency_ms"], row["AP"]) for name, row in table.iterrows()}
figures["ap_latency"] = plots.scatter(points, named=True, width=6, xlabel="latency (ms, batch 1)", ylabel="AP")
figures["ap_latency"]

# %%
best, fastest = table["AP"].fillna(0).idxmax(), table["latency_ms"].idxmin()
lead = table.loc["searched", ["AP", "AP50"]] - table.loc["hand-designed", ["AP", "AP50"]]
Markdown(
    f"Most precise: **{best}** (AP {table.loc[best, 'AP']:.3f}). Fastest: **{fastest}** "
    f"({table.loc[fastest, 'latency_ms']:.3g} ms). Searched against hand-designed: {lead['AP']:+.3f} AP, "
    f"{lead['AP50']:+.3f} AP50."
)

# %% [markdown]
# One seed is an anecdote: repeat the notebook with other seeds before you believe a difference. For comparison, what
# the authors report at full size (VOC2007, 416 px, a phone-class GPU; their figures, not verified here):
#
# | network | GFLOPs | parameters | AP | AP50 | latency |
# |---|---|---|---|---|---|
# | YOLOv4-P5, hand-designed | 69.9 | 70.3 M | 0.475 | 0.716 | 313 ms |
# | without warm-up and latency (ZeroDNAS-P5) | 70.8 | 75.0 M | 0.447 | 0.684 | 327 ms |
# | WZDNAS-P5 | 68.9 | 38.2 M | 0.482 | 0.723 | 279 ms |

# %% [markdown]
# ## 10 · Move the target yourself
#
# With all four tables fixed, a whole search takes about a second. Two sliders, the target and the latency weight,
# search again each time one of them is moved (Tab and the arrow keys work, too).

# %%
from nasedu.widgets import SearchWidget

stored = {"zero_cost": last_map, **priced}
widget = SearchWidget(stored, target=round(percent), seed=cfg.seed)
widget

# %% [markdown]
# The same by hand, for pages that cannot run: the derived network at three latency weights. Two networks can cost the
# same FLOPs and yet not the same time.

# %%
from nasedu.search import DescentConfig, descend


def search_again(latency_weight):
    weights = replace(wzdnas.PUBLISHED, latency=latency_weight * wzdnas.PUBLISHED.latency)
    config = DescentConfig(steps=3000, every=300)
    path = descend(wzdnas.four_terms(stored, target, weights), config, seeds=[cfg.seed]).path(config.temperature[1])
    return tables.derive(path, flops, target).arch


again = {factor: search_again(factor) for factor in ((0, 1, 10) if latency else (1,))}

# %%
names = {f"latency weight × {k}" + (f": {latency(arch):.3g} ms" if latency else ""): arch for k, arch in again.items()}
figures["latency_weight"] = plots.architectures(space, names)
figures["latency_weight"]


# %%
def shape_of(arch):
    """How many bottlenecks a network has, and the mean of its width ratios."""
    chosen = [float(d.choices[i]) for d, i in zip(space.decisions, arch, strict=True)]
    widths, depths = zip(*([chosen[d] for d in group] for group in space.groups), strict=True)
    return int(sum(depths)), float(np.mean(widths))


shapes_of = {k: shape_of(arch) for k, arch in again.items()}
(few, wide), (many, narrow) = shapes_of[max(again)], shapes_of[min(again)]
told = "; ".join(f"× {k}: {n} bottlenecks, mean width ratio {width:.2f}" for k, (n, width) in shapes_of.items())
trade = " **Here the latency term trades bottlenecks for width.**" if few < many and wide > narrow else ""
Markdown(f"Latency weight {told}.{trade}")

# %% [markdown]
# ## Summary
#
# - A supernet holds every network; masks choose widths, mixtures choose depths.
# - FLOPs, depth, latency and zero-cost scores are all the same thing, a table with a smooth expectation. The search is
#   descent on four of them.
# - Expected, most probable and derived cost are three numbers. Report all of them.
# - A searched network counts only beside rivals of the same budget and the same training.
#
# **Pitfalls**
#
# - *NASWOT and depth.* In the published supernet the score cannot see depth: FLOPs, depth and latency decide it alone.
# - *Statistics.* Without data in its batch normalisation, a supernet's score is noise, or infinite.
# - *An easy target.* Where the uniform start already meets the target, the FLOPs term has nothing to do. Try
#   `target="15%"`.
# - *Another device.* A latency table is worth something only on the device that it was measured on.
# - *One seed.* Train the same network with three seeds first: their spread tells which differences mean something.
#
# **Further reading**
#
# - WZDNAS: public code PeiHsain/WZDNAS, after which this notebook is built; its line began as Zero-DNAS and IZero-DNAS
# - NASWOT: Mellor, Turner, Storkey, Crowley, *Neural Architecture Search without Training*, ICML 2021
# - Detector: Wang, Bochkovskiy, Liao, *Scaled-YOLOv4: Scaling Cross Stage Partial Network*, CVPR 2021
# - Gumbel softmax: Jang, Gu, Poole, *Categorical Reparameterization with Gumbel-Softmax*, ICLR 2017
# - SNIP: Lee, Ajanthan, Torr, *SNIP: Single-shot Network Pruning based on Connection Sensitivity*, ICLR 2019
# - SynFlow: Tanaka, Kunin, Yamins, Ganguli, *Pruning Neural Networks without Any Data by Iteratively Conserving
#   Synaptic Flow*, NeurIPS 2020
# - Latency tables in a differentiable search: Wu et al., *FBNet: Hardware-Aware Efficient ConvNet Design via
#   Differentiable Neural Architecture Search*, CVPR 2019

# %%
course.finish(
    cfg,
    summary=table.round(4),
    figures=figures,
    results={
        "networks": table.to_dict("index"),
        "architectures": {name: space.format(arch) for name, arch in archs.items()},
        "gflops": {name: 2e-9 * getattr(derived, name) for name in ("target", "expected", "argmax_cost", "cost")},
        "repair_nats": derived.regret,
        "warm_up": warmed.history,
        "per_class": {name: scores.per_class for name, scores in metrics.items()},
        "onnx_difference": {name: one.difference for name, one in deployed.items()},
        "skipped": train_set.skipped + test_set.skipped,
    },
)
