# %% [markdown]
# # Zero-shot search
#
# Evolve a network that is never trained on the way: Zen-NAS, its structure strings, and proxies that vote.
#
# A score without training (notebook 08) costs a fraction of a second, so evolution can look at hundreds of networks in
# a minute. **Zen-NAS** starts from a tiny network, mutates it under a budget of parameters, and keeps what scores best.
# At the end we do what the search never did: train the winner, next to random networks of the same size.
#
# **Afterwards you can**
#
# 1. read, parse and print a network as a **structure string**, and count its parameters to the last one;
# 2. add a block of your own and search with it;
# 3. say what the Zen-score sees, and what it doesn't;
# 4. write Zen-NAS's evolution in a few lines, and run the package's with the published rules;
# 5. combine several proxies, and tell when that helps.
#
# **You need** notebook 07 for evolution and notebook 08 for proxies.
#
# | preset | what it runs | time, two CPU cores |
# |---|---|---|
# | `smoke` | a dozen structures, one short training: only proves that every cell works | 10 seconds |
# | `quick` | 160 structures of at most 100,000 parameters, six trainings | 250 seconds, beside other work |
# | `full` | 2,000 structures, ten trainings of 60 epochs | not measured |
# | `gpu` | 1 M parameters at 32 px, 480,000 structures, the published training | not measured |
#
# More presets run what the papers ran: `cifar_zen` and eight other scores (the rows of the published table),
# `imagenet_400m`, `_600m`, `_800m`, and six budgets of latency from `imagenet_01ms` to `imagenet_12ms`.

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full, gpu, cifar_zen ...; it sets every parameter below that is None
blocks: str = None  # the blocks to search: xxbl (6 residual types) or idw (12 inverted ones)
start: str = None  # where evolution starts: cifar, macs, latency, or a structure string
classes: int = None  # of the classifier that counts in the budget
image_size: int = None  # pixels, of scoring and of training
proxy: str = None  # the score: any of notebook 08's, te_nas, az_nas, incorporated_l or incorporated_s
score_batch: int = None  # images that a score is computed from
max_params: int = None  # budget of parameters; None: no limit
max_macs: int = None  # budget of multiply-accumulates; None: no limit
max_layers: int = None  # budget of layers; None: no limit
max_latency_ms: float = None  # budget of milliseconds an image, on this device; None: no limit
latency_batch: int = None  # images in the batch that is timed
evaluations: int = None  # structures that the search scores
population: int = None  # structures that it keeps
children: int = None  # proposed at once; 1 as published, more keep workers busy
mutation: str = None  # rule: uniform, origin (the public code's) or shared_ratio
combined_evaluations: int = None  # structures of the search with combined ranks
cells: int = None  # networks with a known truth on which combinations are judged
dataset: str = None  # images for the final training: digits, cifar10, or none to leave it out
train_size: int = None  # training images; None: all
epochs: int = None  # of each final training
batch_size: int = None  # images in a training step
recipe: str = None  # of training: short or published
train_seeds: int = None  # trainings of the winner, and as many random networks
workers: int = None  # processes that score side by side in the optional section
data_root: str = None  # folder of cifar10 and nb201; None: the one that NASEDU_DATA names, if any
threads: int = None  # CPU threads
seed: int = None  # of every random choice
device: str = None  # auto, cpu, cuda, cuda:1 ...
out_dir: str = None  # folder of the results; None: one per set of parameters

# %%
import math
import os
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import islice
from multiprocessing import get_context

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown, display

from nasedu import classification, course, data, errors, hardware, plots, proxies, ranking, search, spaces, training
from nasedu.course.checks.zero_shot import check_canonical, check_log_rank, check_params, check_widen, check_within
from nasedu.data import benchmark as benchmarks
from nasedu.proxies.deepmad import effectiveness
from nasedu.proxies.synflow import synflow_saliency
from nasedu.ranking.combine import COMPOSITES
from nasedu.spaces import plainnet

INCORPORATED = {"incorporated_l": "log", "incorporated_s": "sqrt"}
choices = {
    "blocks": plainnet.SETS,
    "proxy": [*proxies.names(), *COMPOSITES, *INCORPORATED],
    "mutation": plainnet.RULES,
    "dataset": ["digits", "cifar10", "none"],
    "recipe": ["short", "published"],
}
cfg = course.setup("09_zero_shot_search", globals(), choices=choices)
torch.set_num_threads(cfg.threads)
cfg

# %% [markdown]
# ## 1 · A network as a string
#
# Zen-NAS writes a network as a chain of blocks. `SuperResK3K3(16,32,2,16,1)` is a residual block of two 3×3
# convolutions: from 16 channels to 32, stride 2, by way of a *bottleneck* of 16 channels, 1 layer of them. At the end
# follow a pooling and a linear classifier.
#
# Below, from top to bottom: the network where the authors' searches on CIFAR start, and the one with a million
# parameters that they ended at. From left to right every bar is a **layer**: one unit of two convolutions in `K3K3`, of
# six in `K1K3K1`; ×n says how many a block has. Their height is the **width** in channels (on a compressed axis),
# orange the bottleneck's, and the darker, the lower the **resolution**.

# %%
STARTS = {
    "cifar": plainnet.CIFAR_SEED,
    "macs": plainnet.published.MACS_SEED,
    "latency": plainnet.published.LATENCY_SEED,
}

# %%
cifar = spaces.create("plainnet", blocks="xxbl", input_size=32, num_classes=10)
zennet = plainnet.PUBLISHED["ZenNet-1.0M"].choices
figures = {"strings": plots.structures(cifar, {"start": plainnet.CIFAR_SEED, "ZenNet-1.0M": zennet})}
figures["strings"]

# %% [markdown]
# A parser for this simple grammar takes a few lines: a name, an opening bracket, numbers, a closing bracket, again.


# %%
def my_parse(text):
    found, at = [], 0
    while at < len(text):
        opening, closing = text.index("(", at), text.index(")", at)
        found.append((text[at:opening], *map(int, text[opening + 1 : closing].split(","))))
        at = closing + 1
    return found


# %%
for network in plainnet.PUBLISHED.values():
    options = network.options
    theirs = spaces.create("plainnet", **options).parse(network.choices)
    numbers = [(b.name, *[n for n in (b.c_in, b.c_out, b.stride, b.bottleneck, b.layers) if n]) for b in theirs]
    assert numbers == my_parse(network.choices)
print(*cifar.parse(plainnet.CIFAR_SEED)[:3], sep="\n")

# %% [markdown]
# The package's parser reads the same, knows every block's arguments, and checks that channels fit. Strings come from
# files and from strangers, so nothing in them is ever run (no `eval`), and each mistake has one clear sentence:

# %%
BAD = (
    "SuperConvK3BNRELU(3,8,1,1",
    "SuperConvK3BNRELU(3,8,1,1)SuperResK3K4(8,16,1,8,1)",
    "SuperConvK3BNRELU(3,-8,1,1)",
    "SuperConvK3BNRELU(3,8,1,1)SuperResK3K3(16,16,1,8,1)",
    "__import__('os').system('echo gotcha')",
)

# %% tags=["nbval-check-output"]
for text in BAD:
    try:
        cifar.parse(text)
    except errors.NaseduError as error:
        print(f"{text}\n   {error}\n")

# %% [markdown]
# One network can be spelt in many ways. The **canonical** spelling has no blanks and no labels, and numbers are as
# short as can be. Then parsing and printing undo each other, and equal networks have equal strings: that is how a
# search knows that it has seen one already.

# %%
messy = " SuperConvK3BNRELU( stem|3, 08,1,1)\n SuperResK3K3(8,16, 1,8,1)"
print(cifar.format(cifar.parse(messy)))
for text in (messy, zennet):
    arch = cifar.parse(text)
    assert cifar.parse(cifar.format(arch)) == arch

# %% [markdown]
# ### Exercise 09.1: one spelling for one network
# *Difficulty 1 of 3, about 10 min.* Return the canonical form of a structure string of this simple grammar: without
# blanks and line breaks, without labels (a word and a bar, right behind an opening bracket, as `stem|`), and with
# numbers without leading zeros and plus signs.
#
# <details><summary>Hint 1</summary><code>"".join(text.split())</code> has no blanks.</details>
# <details><summary>Hint 2</summary><code>re.sub</code> with a function, or cut the text as <code>my_parse</code> does:
# <code>int("+08")</code> is 8.</details>


# %% tags=["stub"]
def canonical(text):
    raise NotImplementedError


# %% tags=["solution"]
def canonical(text):
    chain = []
    for block in "".join(text.split()).split(")")[:-1]:
        name, numbers = block.split("(")
        chain.append(f"{name}({','.join(str(int(n)) for n in numbers.split('|')[-1].split(','))})")
    return "".join(chain)


# %% tags=["nbval-check-output"]
check_canonical(canonical)

# %% [markdown]
# ## 2 · Counting exactly
#
# A budget is only as good as its count. By hand, for `SuperResK3K3(16,32,2,16,1)` on 32 px: two convolutions, each with
# its batch normalisation (a weight and a bias for every channel), and on the shortcut a 1×1 **projection**, which has a
# bias as well. Stride 2 leaves 16 px.

# %%
weights = 16 * 16 * 9, 16 * 32 * 9, 16 * 32  # 3x3, 3x3, and the projection
params = sum(weights) + 2 * (16 + 32 + 32) + 32  # normalisations, the projection's bias
macs = sum(weights) * 16**2
print(f"{params:,} parameters, {macs:,} multiply-accumulates")

# %% [markdown]
# The package counts in closed form, without allocating a weight. Three ways, one number:

# %%
small = "SuperConvK3BNRELU(3,16,1,1)"
arch = cifar.parse(small + "SuperResK3K3(16,32,2,16,1)")
block = cifar.kinds["SuperResK3K3"].cost(arch[1], 32)[0]
assert (block.params, block.macs) == (params, macs)
network = cifar.build(arch)
assert cifar.cost(arch).params == sum(p.numel() for p in network.parameters())
assert cifar.cost(arch) == hardware.count(network, cifar.input_shape)

# %% [markdown]
# That matters: the authors' public counter leaves out the projection's bias and half of every normalisation, divides by
# the stride twice, and ignores squeeze-and-excitation: their table gives 5.7 M and 7.1 M parameters for the networks of
# 400 M and 600 M MACs. All published networks, as they are:

# %%
rows = {}
for name, entry in plainnet.PUBLISHED.items():
    its_space, arch = spaces.published("plainnet", name)
    cost = its_space.cost(arch)
    assert (cost.macs, cost.params) == (entry.macs, entry.params)
    rows[name] = cost.params / 1e6, cost.macs / 1e6, its_space.depth(arch), its_space.input_size
pd.DataFrame.from_dict(rows, "index", columns=["M parameters", "M MACs", "layers", "pixels"]).round(2)

# %% [markdown]
# ### Exercise 09.2: exact parameters of a block
# *Difficulty 2 of 3, about 15 min.* Count the parameters of `SuperResK{k}K{k}(c_in,c_out,stride,bottleneck,layers)`:
# `layers` units in a row. A unit is two k×k convolutions without biases, to `bottleneck` channels and on to `c_out`,
# each followed by a batch normalisation. The *first* unit has a projection (a 1×1 convolution *with* bias, and a batch
# normalisation), even where shapes would allow none; the others add their input as it is.
#
# <details><summary>Hint 1</summary>From the second unit on, the input has <code>c_out</code> channels.</details>
# <details><summary>Hint 2</summary>Projection: <code>c_in * c_out</code> weights, <code>c_out</code> biases and
# <code>2 * c_out</code> of the normalisation.</details>


# %% tags=["stub"]
def block_params(c_in, c_out, k, bottleneck, layers):
    raise NotImplementedError


# %% tags=["solution"]
def block_params(c_in, c_out, k, bottleneck, layers):
    total = c_in * c_out + 3 * c_out
    for _ in range(layers):
        total += k * k * bottleneck * (c_in + c_out) + 2 * (bottleneck + c_out)
        c_in = c_out
    return total


# %% tags=["nbval-check-output"]
check_params(block_params)

# %% [markdown]
# ## 3 · A block of your own
#
# In the package a block is a function that *describes* its convolutions. Modules, exact counts and mutations follow
# from the description. A decorator gives it a name, and from then on strings may use it. Ours: a depthwise 5×5 and a
# 1×1 convolution, with a shortcut around both.

# %%
from nasedu.blocks import Conv, Residual


@spaces.plain_block("DepthwiseK5")
def depthwise(c_in, c_out, stride, layers):
    for n in range(layers):
        spatial = Conv(c_in, c_in, 5, stride, groups=c_in)
        yield Residual((spatial, Conv(c_in, c_out, act=None)), projection=n == 0)
        c_in, stride = c_out, 1


# %% [markdown]
# A search space is a list of names. Here ours competes with one of the published blocks, from a start that has one of
# each. A few dozen mutations, scored by the Zen-score, which asks for depth: see which block it is bought with. (Scores
# and evolution are explained below.)

# %%
SIZE = cfg.image_size if cfg.image_size <= 32 else 32  # for what is shown beside the search
TINY = f"{small}DepthwiseK5(16,32,2,1)SuperResK3K3(32,32,2,16,1)SuperConvK1BNRELU(32,64,1,1)"
mine = spaces.create("plainnet", blocks=["DepthwiseK5", "SuperResK3K3"], input_size=SIZE, num_classes=10)
noise = torch.zeros(cfg.score_batch, 3, SIZE, SIZE)  # Zen draws its own images: only the shape counts

# %%
own = search.zero_shot(
    mine,
    search.ZeroCost(mine, "zen", noise),
    search.ZenConfig(
        start=TINY,
        budget=max(11, cfg.combined_evaluations // 2),
        feasible=search.PlainBudget(mine, params=30_000, layers=8),
    ),
    seed=cfg.seed,
)

# %%
assert mine.cost(own.best) == hardware.count(mine.build(own.best), mine.input_shape)
assert own.costs["params"] <= 30_000
figures["own"] = plots.structures(mine, {"start": TINY, "evolved": own.best})
figures["own"]

# %% [markdown]
# ## 4 · What the Zen-score sees
#
# Zen asks: *how strongly does the last feature map react when the input moves a little, with normalisation undone?*
# (Formula and code are in notebook 08, which left the shortcuts in.) Every convolution multiplies a signal, by more the
# more inputs it sums up. So the score grows with **depth**, and with **width**. Before scoring, it takes the
# **shortcuts** out: its theory is one of plain chains. (A sum is not normalised: its growth would be counted again in
# every layer behind it.)
#
# The public code reads each normalisation's *running average* in place of the batch's variance. The average still
# remembers the 1 it started with, which takes up to 0.83 off for every normalisation: a price on depth that is in no
# formula of the paper. Three ways to score the same networks:


# %%
def keep_shortcuts(network):
    for part in network.modules():
        if getattr(part, "residual", None) is True:
            part.residual = 1  # adds its input as before, but is no switch any more that the score turns off
    return network


# %%
probe = spaces.create("plainnet", input_size=SIZE, num_classes=10)
WAYS = {"batch variance (paper)": {}, "running average": {"bn": "ema"}, "shortcuts kept": {"keep": True}}


def zen_of(text, keep=False, **options):
    network = probe.build(probe.parse(text), seed=cfg.seed)
    return proxies.score("zen", keep_shortcuts(network) if keep else network, noise, **options)


# %%
def row_of(width, narrow, layers):
    return (
        f"SuperConvK3BNRELU(3,{width},1,1)SuperResK1K3K1({width},{width},2,{narrow},{layers})"
        f"SuperConvK1BNRELU({width},64,1,1)"
    )


# %%
layers, widths = [1, 2, 3, 4, 6, 8], [8, 16, 32, 48, 64, 96]
texts = {
    "layers of 64 channels": (layers, [row_of(64, 32, n) for n in layers]),
    "layers of 8 channels": (layers, [row_of(8, 8, n) for n in layers]),
    "channels of 2 layers": (widths, [row_of(n, n, 2) for n in widths]),
}
seen = {x: (at, {way: [zen_of(t, **o) for t in ts] for way, o in WAYS.items()}) for x, (at, ts) in texts.items()}
curves = {x: {way: pd.Series(scores, at) for way, scores in ways.items()} for x, (at, ways) in seen.items()}
figures["zen"] = plots.lines(curves, names="xlabel", ylabel="Zen-score")
figures["zen"]

# %%
slopes = {
    panel: {way: float(np.polyfit(at, curves[way], 1)[0]) for way in WAYS} for panel, (at, curves) in seen.items()
}
wide, thin = slopes["layers of 64 channels"], slopes["layers of 8 channels"]
paper, ema, kept = WAYS
assert wide[paper] > wide[ema] and thin[paper] > thin[ema] and wide[kept] > wide[paper]
Markdown(
    f"One more layer (six convolutions) adds **{wide[paper]:.1f}** to a network of 64 channels and {thin[paper]:.1f} "
    f"to one of 8. With the running average it is {wide[ema]:.1f} and {thin[ema]:.1f}: each of the six normalisations "
    f"costs {(wide[paper] - wide[ema]) / 6:.2f} and {(thin[paper] - thin[ema]) / 6:.2f}, so depth pays less, above all "
    f"where layers are thin. With shortcuts kept, a layer adds {wide[kept]:.1f}: depth would pay even more."
)

# %% [markdown]
# What Zen does **not** see: labels, data, and whether a depth can still be trained. Keep that in mind.
#
# ## 5 · Evolution
#
# Zen-NAS's rules are short. Mutate the start until there are a few members. Then always mutate a *random* member (not
# the best one), refuse what breaks the budget, score the rest, and drop the worst when the population is full.


# %%
def my_evolution(space, evaluate, start, allowed, evaluations, rng, population=32):
    scores, alive = {}, []
    while len(scores) < evaluations:
        founding = len(alive) <= 10
        parent = start if founding else alive[rng.integers(len(alive))]
        child = space.mutate(parent, rng, replacements=1 if founding else 2)
        if child in scores or not allowed(child):
            continue
        scores[child] = evaluate(child)
        alive.append(child)
        if len(alive) > population:
            alive.remove(min(alive, key=scores.get))
    return max(scores, key=scores.get), scores


# %% [markdown]
# A **mutation** replaces a block: another type, output and bottleneck times one of 2.5, 2, 1.5, 1.25, 1 and their
# inverses (in multiples of 8), and up to two layers more or fewer. The stride stays. Neighbours take over the new
# width; first and last block change theirs only. Each row makes two replacements in the one above, with no budget yet:

# %%
space = spaces.create("plainnet", blocks=cfg.blocks, input_size=cfg.image_size, num_classes=cfg.classes)
start = space.parse(STARTS.get(cfg.start, cfg.start))
rng, family = np.random.default_rng(cfg.seed), {"start": start}
for number in range(1, 4):
    family[f"after {number} mutation{'s' * (number > 1)}"] = space.mutate([*family.values()][-1], rng, replacements=2)
figures["mutations"] = plots.structures(space, family)
figures["mutations"]

# %% [markdown]
# ### Exercise 09.3: a mutation that keeps the chain
# *Difficulty 2 of 3, about 10 min.* Return the blocks with `blocks[i]` of another width: its `c_out` times `ratio`, to
# the nearest multiple of 8, and at least 8. The block after it, if there is one, must take that many channels. Leave
# the list that you are given as it is.
#
# <details><summary>Hint 1</summary>A block is a named tuple: <code>block._replace(c_out=24)</code> is a changed
# copy.</details>
# <details><summary>Hint 2</summary>The next block's <code>c_in</code> is the new width; the first block's is always
# 3.</details>


# %% tags=["stub"]
def widen(blocks, i, ratio):
    raise NotImplementedError


# %% tags=["solution"]
def widen(blocks, i, ratio):
    chain = list(blocks)
    width = max(8, 8 * round(chain[i].c_out * ratio / 8))
    chain[i] = chain[i]._replace(c_out=width)
    if i + 1 < len(chain):
        chain[i + 1] = chain[i + 1]._replace(c_in=width)
    return chain


# %% tags=["nbval-check-output"]
check_widen(widen)

# %% [markdown]
# Are all types of blocks equally likely? In the paper yes. The public code adds the changes of each type to one list
# that all types share, so the last type of each group is in it less often. The package has both rules. Share of the
# types after many mutations of one block:

# %%
shares = {}
target = next(b for b in start if b.name in space.searched)
groups, most = space.groups, space.max_channels
for rule in ("uniform", "origin"):
    drawn = Counter(plainnet.RULES[rule](target, groups, rng, most).name for _ in range(4000))
    shares[rule] = {kind.removeprefix("Super"): drawn[kind] / 40 for kind in space.searched}
alike = {"x": 100 / len(space.searched), "label": "all alike"}
figures["types"] = plots.dots(shares, xlabel="share of mutations (%)", xlim=(0, None)).guide(**alike)
figures["types"]

# %% [markdown]
# ### A budget
#
# `PlainBudget` is true of the networks within *all* limits that are given. Whatever breaks one is refused before
# anything is built. A budget that nothing can meet is told at once, with what could be reached.


# %%
def ms_per_image(arch):
    return clock(arch) / cfg.latency_batch


limits = {"params": cfg.max_params, "macs": cfg.max_macs, "layers": cfg.max_layers, "latency_ms": cfg.max_latency_ms}
limits = {name: limit for name, limit in limits.items() if limit is not None}
options = {"batch": cfg.latency_batch, "threads": cfg.threads, "device": cfg.device}
clock = search.PlainLatency(space, options=options, keep=cfg.out_dir / "blocks.pt")
budget = search.PlainBudget(space, **limits, latency=ms_per_image if cfg.max_latency_ms else None)
try:
    search.PlainBudget(space, params=1000).check(start)
except errors.BudgetError as error:
    print(error)

# %% [markdown]
# ### Exercise 09.4: within the budget
# *Difficulty 1 of 3, about 5 min.* Is a network within every limit that is given? `None` is no limit; to be exactly at
# a limit is fine. `space.cost(arch)` has `.params` and `.macs`, and `space.depth(arch)` is the number of layers.
#
# <details><summary>Hint 1</summary>Pair each value with its limit, and ask <code>all(...)</code>.</details>
# <details><summary>Hint 2</summary><code>limit is None</code> is not the same as <code>not limit</code>: what about
# 0?</details>


# %% tags=["stub"]
def within(space, arch, params=None, macs=None, layers=None):
    raise NotImplementedError


# %% tags=["solution"]
def within(space, arch, params=None, macs=None, layers=None):
    cost = space.cost(arch)
    pairs = (cost.params, params), (cost.macs, macs), (space.depth(arch), layers)
    return all(limit is None or value <= limit for value, limit in pairs)


# %% tags=["nbval-check-output"]
check_within(within)

# %% [markdown]
# ### The search
#
# First ours from scratch and the package's with the same small number of evaluations. They draw in another order, so
# they find other networks; but both keep the same promises.

# %%
few = min(40, cfg.evaluations)
shown = spaces.create("plainnet", blocks=cfg.blocks, input_size=SIZE, num_classes=cfg.classes)
zen = search.ZeroCost(shown, "zen", noise)
small_budget = search.PlainBudget(shown, params=100_000, layers=10)
seed_net = shown.parse(plainnet.CIFAR_SEED if cfg.blocks == "xxbl" else plainnet.published.MACS_SEED)
if cfg.blocks == "idw":
    small_budget = search.PlainBudget(shown, params=3_000_000, layers=14)

# %%
best, asked = my_evolution(shown, zen, seed_net, small_budget, few, np.random.default_rng(cfg.seed))
theirs = search.zero_shot(
    shown, zen, search.ZenConfig(start=seed_net, feasible=small_budget, budget=few), seed=cfg.seed
)

# %%
for winner, scores in ((best, asked), (theirs.best, {r["arch"]: r["score"] for r in theirs.history})):
    assert len(scores) == few  # so many, and no two alike
    assert all(small_budget(arch) for arch in scores)
    assert scores[winner] == max(scores.values()) == zen(winner)
    assert shown.parse(shown.format(winner)) == winner

# %% [markdown]
# Now the search of this notebook's parameters. What is scored, and how several scores become one, depends on `proxy`;
# section 7 explains the combinations, so skip the next cells on a first reading. With Incorporated-NAS, a network that
# is too deep for its width is refused as if it broke a budget.


# %%
def incorporate(form, frame):
    return ranking.incorporated(frame["zen"], frame["deepmad_entropy"], form)


def depth_to_width(arch, space=space):
    """DeepMAD's rho; nothing is allocated."""
    with torch.device("meta"):
        return effectiveness(space.build(arch), space.input_shape)


# %% [markdown]
# Proxies that look at images get a batch of the training set; without one, random images.

# %%
classify = partial(data.classification, cfg.dataset, root=cfg.data_root, image_size=cfg.image_size)
hard = {"distortion": 1.0, "noise": 0.2} if cfg.dataset == "digits" else {}  # plain digits are too easy
train_set = test_set = None
if cfg.dataset != "none":
    train_set, test_set = classify("train", size=cfg.train_size, **hard), classify("test", **hard)
generator = torch.Generator().manual_seed(cfg.seed)
batch = torch.randn(cfg.score_batch, 3, cfg.image_size, cfg.image_size, generator=generator)
labels = torch.randint(cfg.classes, (cfg.score_batch,), generator=generator)
if train_set:
    batch, labels = train_set.images[: cfg.score_batch], train_set.labels[: cfg.score_batch]
scored = proxies.Batch(batch, labels).to(cfg.device)

# %%
combine, feasible = None, budget
if cfg.proxy in INCORPORATED:
    evaluate = search.ZeroCost(
        space, ["zen", "deepmad_entropy"], scored, seed=cfg.seed, deepmad_entropy={"form": "incorporated"}
    )
    combine = partial(incorporate, INCORPORATED[cfg.proxy])

    def feasible(arch):
        return budget(arch) and depth_to_width(arch) <= 0.5
elif cfg.proxy in COMPOSITES:
    parts, combine = COMPOSITES[cfg.proxy]
    evaluate = search.ZeroCost(space, parts, scored, seed=cfg.seed)
else:
    evaluate = search.ZeroCost(space, cfg.proxy, scored, seed=cfg.seed)

# %% [markdown]
# The curve below moves while the search runs: it goes in portions, each from the stored state of the one before. So an
# interrupted search goes on, too.


# %%
def watched(name, evaluate, evaluations, settings, ylabel="score"):
    """`search.zero_shot` in portions, with a picture of the best so far that is renewed after each."""
    handle, portions = None, max(2, min(40, evaluations // 20))
    keep = {"seed": cfg.seed, "state": cfg.out_dir / f"{name}.pt"}
    for part in range(1, portions + 1):
        result = search.zero_shot(
            space, evaluate, replace(settings, budget=max(1, evaluations * part // portions)), **keep
        )
        curve = plots.anytime({"best so far": {name: np.array([result.anytime()])}}, ylabel=ylabel, first=2)
        if handle:
            handle.update(curve)
        else:
            handle = display(curve, display_id=True)
    return result, curve


# %%
breeding = {"population": cfg.population, "children": cfg.children, "mutation": cfg.mutation}
config = search.ZenConfig(start=start, feasible=feasible, combine=combine, **breeding)
found, figures["search"] = watched("evolution", evaluate, cfg.evaluations, config, ylabel=cfg.proxy)

# %%
history = found.frame()
assert all(budget(record["arch"]) for record in found.history) and history["arch"].is_unique
print(space.format(found.best))
figures["winner"] = plots.structures(space, {"start": start, "winner": found.best})
figures["winner"]

# %%
costs = ", ".join(f"{value:,.10g} {name} of {limits[name]:,.10g}" for name, value in budget.values(found.best).items())
Markdown(
    f"**{len(history)} structures in {found.seconds:.0f} s**, {len(history) / found.seconds:.0f} a second. The winner "
    f"scores {found.score:.1f} (the first one: {found.history[0]['score']:.1f}) and uses {costs}."
)

# %% [markdown]
# Look where the budget went. The score asks for depth, so thin layers are many, and only the budget of *layers* holds
# them back: without it, a search ends at networks so deep that nobody could train them.
#
# ## 6 · Was it worth it?
#
# Now we train. Against the winner stand **random networks of the same budget**: walks of mutations that are scored by
# nothing, until they use at least nine tenths of a limit. One for each seed, so that one lucky or unlucky network
# decides nothing.


# %%
def fullness(arch):
    """The largest share of a limit that is used; layers are left out, for a walk may fill these with anything."""
    return max((v / limits[name] for name, v in budget.values(arch).items() if name != "layers"), default=1)


def random_twin(seed, steps=10_000):
    rng, walk = np.random.default_rng([cfg.seed, seed]), []
    for _ in range(steps):
        child = space.mutate(walk[-1] if walk else start, rng, rule=cfg.mutation)
        walk += [child] * bool(feasible(child))
        if len(walk) > 100 and fullness(walk[-1]) >= 0.9:
            break
    return max(walk[-100:], key=fullness)


# %%
rivals = [random_twin(seed) for seed in range(cfg.train_seeds)]
assert all(budget(arch) for arch in rivals)

# %%
entries = {f"winner {i}": found.best for i in range(cfg.train_seeds)}
entries |= {f"random {i}": arch for i, arch in enumerate(rivals)}
figures["rivals"] = plots.structures(
    space, {"winner": found.best} | {f"random {i}": a for i, a in enumerate(rivals[:2])}
)
figures["rivals"]

# %% [markdown]
# `short` is a training for minutes. `published` is the authors' own: SGD on a cosine, label smoothing, mixup,
# AutoAugment, erasing, and residual branches that start at zero. (Theirs for ImageNet has a teacher as well:
# `distilled_step` in `nasedu.classification.distill`.)


# %%
from nasedu.task import Classification, fit


def trainer(name):
    number = int(name.split()[-1])
    target = (
        space
        if not train_set
        else spaces.create("plainnet", blocks=cfg.blocks, input_size=cfg.image_size, num_classes=len(train_set.classes))
    )
    network, how = target.build(entries[name], seed=number), {}
    settings = classification.recipe(cfg.epochs)
    if cfg.recipe == "published":
        classification.zen_init(network, torch.Generator().manual_seed(number), bn_momentum=0.01)
        mix = classification.mixup(len(train_set.classes))
        how = {"augment": classification.published_augment(train_set), "mix": mix, "label_smoothing": 0.1}
        settings = classification.published_recipe(cfg.epochs, cfg.batch_size, len(train_set))
    return network, Classification(train_set, test=test_set, batch_size=cfg.batch_size, seed=number, **how), settings


# %%
def train_one(name):
    network, task, settings = trainer(name)
    keep = {"seed": int(name.split()[-1]), "device": cfg.device, "state": cfg.out_dir / f"{name}.pt"}
    trained = fit(network, task, settings, **keep)
    judged = trained.ema if cfg.recipe == "short" else trained.model
    return 100 * task.score(judged, "test"), trained.history


# %%
results = {}
if train_set and cfg.epochs:
    results = training.side_by_side(train_one, entries, cfg.threads, cfg.device)
accuracies = {kind: [a for name, (a, _) in results.items() if kind in name] for kind in ("winner", "random")}


# %%
def convolutions(arch):
    """How many follow one another, shortcuts left out: what "deep" means to a gradient."""
    with torch.device("meta"):
        parts = space.build(arch).named_modules()
    return sum(isinstance(part, torch.nn.Conv2d) and "shortcut" not in name for name, part in parts)


rows = {}
for name, arch in entries.items():
    cost, accuracy = space.cost(arch), results.get(name, (math.nan,))[0]
    rows[name] = cost.params, cost.macs / 1e6, space.depth(arch), convolutions(arch), accuracy
summary = pd.DataFrame(rows, index=["parameters", "M MACs", "layers", "convolutions", "test accuracy (%)"]).T
summary.round(1)

# %%
if results:
    figures["contest"] = plots.dots(accuracies, xlabel="test accuracy (%)")
figures.get("contest", "No training: dataset is none, or epochs is 0.")


# %%
def verdict(a, b):
    """What the accuracies of the winner (a) and the random networks (b) say."""
    gap, spread = np.mean(a) - np.mean(b), np.hypot(np.std(a, ddof=1), np.std(b, ddof=1)) if len(a) > 1 else math.nan
    ahead = np.mean([[(x > y) + (x == y) / 2 for y in b] for x in a])
    many = f"In {len(a)} trainings" if len(a) > 1 else "In one training"
    clear = "clearly " if abs(gap) > 2 * spread / len(a) ** 0.5 else "on average "
    word = "better" if gap > 0 else "worse"
    return (
        f"{many} of each, the winner is {clear}**{word}** than random networks of the same budget: {np.mean(a):.1f} % "
        f"against **{np.mean(b):.1f} %** ({gap:+.1f} points; ahead in {ahead:.0%} of pairs)."
    )


# %%
Markdown(verdict(*accuracies.values()) if results else "Nothing was trained.")

# %% [markdown]
# **Read it with care.** "The same budget" means the same limits, not the same cost. And layers hide depth: one of
# `K1K3K1` is six convolutions, one of `K3K3` two. Zen pays for depth whether or not it can be trained in the time there
# is; the published training takes 1,440 epochs. Last, a proxy that correlates with accuracy over *all* networks may
# know little among those that fill the same budget. The loss of one training each:

# %%
if results:
    figures["loss"] = plots.progress({name: results[name][1] for name in ("winner 0", "random 0")}, {"total": "loss"})
figures.get("loss", "Nothing was trained.")

# %% [markdown]
# **The authors' figures, not ours** (single runs on CIFAR-10, a million parameters, their training): Zen-score 96.2 %,
# NASWOT 96.0, TE-NAS 96.1, SynFlow 95.1, random 93.5, FLOPs 93.1, gradient norm 92.8; Incorporated-NAS 96.7 and 96.9
# (Lin et al. 2021; Nguyen and Han 2024, who took over the other rows). Presets `cifar_zen` and so on repeat the
# searches. Two of the public scores are not what their names say: in Zen-NAS's code SynFlow keeps batch normalisation
# and turns the sign round, and TE-NAS is the kernel alone. Ours follow the methods' own papers.
#
# ## 7 · Several proxies, one score
#
# Each proxy sees something else. To combine scores in different units, use **ranks**: 1 is the worst of $n$, $n$ the
# best.
#
# - **average rank**: the mean of the ranks (TE-NAS);
# - **log-rank**: $\sum \ln(r/n)$, which is steep for low ranks: nobody wins with one bad score (AZ-NAS);
# - **minimum rank**: only the worst counts; **vote**: who wins more duels;
# - **z-score** of logarithms: uses distances, so one wild value moves everything.
#
# From scratch, and the package's:


# %%
def my_log_rank(frame):
    return np.log(frame.rank() / len(frame)).sum(axis=1)


toy = pd.DataFrame({"a": [1.0, 2, 3, 4], "b": [10.0, 40, 30, 20]})
assert np.allclose(my_log_rank(toy), ranking.combine(toy, "log_rank"))

# %% [markdown]
# ### Exercise 09.5: log-rank with ties and failures
# *Difficulty 2 of 3, about 10 min.* Our line forgets failures. Return $\sum \ln(r/n)$ for every row of `scores`
# (n architectures, k proxies; higher is better). Equal scores share the mean of their ranks. `nan` and `-inf` are
# failures: all of a column's are one tie, below everything else.
#
# <details><summary>Hint 1</summary>Turn <code>nan</code> into <code>-inf</code> in a copy: then all failures are equal,
# and lowest.</details>
# <details><summary>Hint 2</summary><code>scipy.stats.rankdata(values, axis=0)</code> ranks every column, ties
# averaged.</details>


# %% tags=["stub"]
def log_rank(scores):
    raise NotImplementedError


# %% tags=["solution"]
def log_rank(scores):
    from scipy.stats import rankdata

    valid = np.where(np.isnan(scores), -np.inf, scores)
    return np.log(rankdata(valid, axis=0) / len(valid)).sum(axis=1)


# %% tags=["nbval-check-output"]
check_log_rank(log_rank)

# %% [markdown]
# ### What is combining for?
#
# Notebook 08's table knows the truth. We score some of its cells, without those that are copies of smaller ones, and
# add proxies one by one, in two orders. **Alike**: four that all grow with the size of weights and gradients.
# **Different**: four that ask different questions.

# %%
bench = benchmarks.load("cells_digits")
cell_space = spaces.create("nasbench201", **bench.space_options)
real = data.classification(**bench.task, split="train", size=64, seed=cfg.seed)


def is_whole(text):
    """Whether something flows through every convolution; else the cell is a copy of a smaller one (notebook 08)."""
    network = cell_space.build(cell_space.parse(text), seed=0)
    flow = synflow_saliency(network, lambda model, x: model(x), cell_space.input_shape)
    return min(float(s.sum()) for s in flow.values() if s.ndim == 4) > 0


shuffled = np.random.default_rng(cfg.seed).permutation(bench.distinct)
picked = list(islice(filter(is_whole, shuffled), cfg.cells))

# %%
LADDERS = {
    "alike": ["grad_norm", "snip", "l2_norm", "params"],
    "different": ["jacob_cov", "synflow", "naswot", "zen"],
}
wanted = [name for ladder in LADDERS.values() for name in ladder]
pool = proxies.score_pool(cell_space, [cell_space.parse(t) for t in picked], (real.images, real.labels), wanted)
truth = bench.scores("test")[pool.frame.index]


# %%
def climb(frame, truth, ladder, method="log_rank"):
    return [ranking.spearman(ranking.combine(frame[ladder[:n]], method), truth) for n in range(1, len(ladder) + 1)]


def ladders(frame, truth):
    return {kind: climb(frame, truth, names) for kind, names in LADDERS.items()}


# %%
steps = {"digits": ladders(pool.frame, truth)}
root = cfg.data_root or os.environ.get("NASEDU_DATA")
try:
    large = benchmarks.proxy_scores() if root else {}
    known = benchmarks.nasbench201(root).scores("test") if root else None
except errors.DataError as error:
    large, known = {}, None
    print(error)

# %%
if large:
    average = sum(large.values()) / len(large)
    frames = {"digits": (pool.frame, truth), "NAS-Bench-201": (average, known[average.index])}
else:
    frames = {"digits": (pool.frame, truth)}
steps = {title: ladders(*pair) for title, pair in frames.items()}
panels = {f"proxies combined ({title})": curves for title, curves in steps.items()}
figures["ladders"] = plots.lines(panels, names="xlabel", ylabel="Spearman's ρ of the log-rank")
figures["ladders"]

# %%
Markdown(
    "\n".join(
        f"- **{title}**, {len(frames[title][1])} cells: "
        + "; ".join(
            f"{kind} ({', '.join(LADDERS[kind])}) {' → '.join(f'{x:+.2f}' for x in values)}"
            for kind, values in curves.items()
        )
        for title, curves in steps.items()
    )
    + ("" if large else "\n- NAS-Bench-201 is skipped: no NASEDU_DATA and no data_root.")
)

# %% [markdown]
# Where proxies agree, as gradient norm and SNIP do, the second says nothing new. Where they differ *and* each knows
# something, errors cancel. Neither is a law: a better score among those that are alike still lifts the sum, and a weak
# one among those that differ drags it down.
#
# And *how* to combine? All methods on the pair that the literature likes best. (With two proxies, vote and average rank
# give the same order.)

# %%
duo = ["synflow", "jacob_cov"]
methods = pd.DataFrame(
    {
        title: {name: ranking.spearman(frame[name], t) for name in duo}
        | {m: ranking.spearman(ranking.combine(frame[duo], m), t) for m in ranking.METHODS}
        for title, (frame, t) in frames.items()
    }
)
methods.round(3)

# %% [markdown]
# ### Ranks move with the pool
#
# A rank means something only among the others. In evolution the pool grows and gets better, so yesterday's "3rd of 10"
# is worth nothing today. `zero_shot` recomputes **all** ranks before every generation. Below, two proxies combined by
# log-rank: the architecture that led after a quarter of the search, and how many were ahead of it later on.

# %%
pair = search.ZeroCost(shown, duo, proxies.Batch(torch.nn.functional.interpolate(batch, SIZE), labels), seed=cfg.seed)
voted = search.zero_shot(
    shown,
    pair,
    search.ZenConfig(start=seed_net, feasible=small_budget, budget=cfg.combined_evaluations, combine="log_rank"),
    seed=cfg.seed,
)

# %%
scores = voted.frame()[duo]
quarter = max(2, len(scores) // 4)
leader = ranking.combine(scores[:quarter], "log_rank").idxmax()
places = [
    int((r := ranking.combine(scores[:n], "log_rank")).gt(r[leader]).sum() + 1) for n in range(quarter, len(scores) + 1)
]
assert np.allclose(voted.frame()["score"], ranking.combine(scores, "log_rank"))

# %%
labels = {"xlabel": "structures in the pool", "ylabel": "place of the leader of\nthe first quarter"}
figures["places"] = plots.lines({f"number {leader}": places}, range(quarter, len(scores) + 1), **labels)
figures["places"]

# %% [markdown]
# ### Incorporated-NAS: what really decides?
#
# Nguyen and Han (2024) add DeepMAD's **entropy** $H$ to Zen: $0.9\,\text{Zen} + 0.1\,\varphi(H)$, with $\varphi$ the
# logarithm ("l") or the root ("s"). And they refuse every network whose depth over width, which DeepMAD calls $\rho$
# (no correlation), is above ½. Their two networks and Zen-NAS's, at 32 px, Zen as their code computes it (running
# average):

# %%
rows = {}
images32 = torch.zeros(cfg.score_batch, 3, 32, 32)
for name in ("ZenNet-1.0M", "EZenNet-l", "EZenNet-s"):
    its_space, arch = spaces.published("plainnet", name)
    network = its_space.build(arch, seed=0)
    entropy = proxies.score("deepmad_entropy", network, images32, form="incorporated")
    ratio = depth_to_width(arch, its_space)
    rows[name] = {"zen": proxies.score("zen", network, images32, bn="ema"), "entropy": entropy, "rho": ratio}
three = pd.DataFrame(rows).T

# %%
for form in ("log", "sqrt"):
    three[f"{form}, no limit"] = ranking.incorporated(three.zen, three.entropy, form)
    three[f"{form}, rho ≤ ½"] = ranking.incorporated(three.zen, three.entropy, form, ratio=three.rho)
three.round(2)

# %%
free, bound = three["log, no limit"].idxmax(), three["log, rho ≤ ½"].idxmax()
zens, logs = 0.9 * np.ptp(three.zen), 0.1 * np.ptp(np.log(three.entropy))
assert free == "ZenNet-1.0M" and bound != free and zens > 10 * logs
assert (three["sqrt, no limit"].idxmax(), three["sqrt, rho ≤ ½"].idxmax()) == (free, bound)
Markdown(
    f"Without the limit **{free}** leads; with it {bound}. Among the three the Zen part differs by {zens:.1f}, the "
    f"entropy part (logarithm) by {logs:.2f}, and the root changes no order either. So it is the **limit, not the "
    "entropy, that decides** which network such a search can find."
)

# %% [markdown]
# ## 8 · Optional: many workers
#
# Scores do not depend on one another, so any executor of `concurrent.futures` can share them out: processes here, a
# cluster with Dask's `client.get_executor()`. What is found doesn't depend on who was faster: every generation is drawn
# from the seed and the history alone. At this size starting the processes costs more than it saves; they pay from
# thousands of structures on.

# %%
if cfg.workers > 1:
    began = time.perf_counter()
    one_each = {"initializer": torch.set_num_threads, "initargs": (cfg.threads,)}
    with ProcessPoolExecutor(cfg.workers, get_context("spawn"), **one_each) as executor:
        side_by_side = search.zero_shot(
            shown,
            zen,
            search.ZenConfig(start=seed_net, feasible=small_budget, budget=few),
            seed=cfg.seed,
            executor=executor,
        )
    took = time.perf_counter() - began
    assert side_by_side.best == theirs.best and side_by_side.anytime() == theirs.anytime()
    print(f"{cfg.workers} processes, the same {few} structures: {took:.0f} s, starting the processes included")

# %% [markdown]
# ## Summary
#
# - A structure string is a network: parse it, print it, count it exactly, and refuse it with a sentence.
# - Zen-NAS is mutation under a budget, a score, and dropping the worst. The score is the only part that is deep.
# - Zen grows with depth and width, and sees neither data nor whether the depth can be trained. A budget of layers is
#   what holds its depth back.
# - Train the winner *and* random networks of the same budget, with several seeds. Otherwise you praise the budget.
# - Combine proxies that differ and are good by themselves; rank again whenever the pool changes.
#
# **Pitfalls**
#
# - *A budget in another count.* The published counters leave things out: compare networks by one counter only.
# - *Growing without a limit of layers.* The score always wants more depth.
# - *Scores of different codes.* Batch variance or running average: the same name, two numbers.
# - *Old ranks.* A combined score from a smaller pool is not comparable with a new one.
# - *One training.* A single run of a single network is an anecdote.
#
# **Further reading**
#
# - Zen-NAS: Lin et al., *Zen-NAS: A Zero-Shot NAS for High-Performance Image Recognition*, ICCV 2021
# - Incorporated-NAS: Nguyen and Han, *Electronics* 13(16):3325, 2024; DeepMAD: Shen et al., CVPR 2023
# - TE-NAS: Chen, Gong, Wang, ICLR 2021; AZ-NAS: Lee and Ham, CVPR 2024
# - Votes of proxies: Abdelfattah et al., *Zero-Cost Proxies for Lightweight NAS*, ICLR 2021

# %%
course.finish(
    cfg,
    summary=summary.round(3),
    figures=figures,
    results={
        "best": space.format(found.best),
        "score": found.score,
        "costs": budget.values(found.best),
        "accuracies": accuracies,
        "slopes": slopes,
        "ladders": steps,
        "methods": methods.to_dict(),
        "incorporated": three.to_dict("index"),
    },
)
