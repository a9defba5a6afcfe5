# %% [markdown]
# # Training a supernet: which path next?
#
# You train one network in place of 729, in three ways, and measure how well each of them orders the 729.
#
# A **supernet** contains every operation of a search space. All architectures share its weights. A training step runs
# one or a few *paths* through it, and a **sampler** chooses these paths. Afterwards the shared weights score any
# architecture in a fraction of a second. Such a score is useful only if it puts good architectures above bad ones. Here
# that can be checked: all 729 cells of a small space were also trained alone, to the end, with three seeds each.
#
# **Afterwards you can**
#
# 1. write the three samplers that one-shot methods use: uniform, strictly fair and sandwich;
# 2. say what each of them makes equal, and what it leaves to chance;
# 3. explain why a supernet's batch-normalisation statistics fit no architecture, and compute those that do;
# 4. judge an order by Kendall's τ, beside two references, and give the interval of a difference;
# 5. find the fault in a training step that only looks fair.
#
# **You need** notebook 00, or an idea of what a search space is.
#
# | preset | what it runs | time, two CPU cores |
# |---|---|---|
# | `smoke` | 12 passes over 128 images: only proves that every cell works | 20 seconds |
# | `quick` | three trainings of 48 passes over 1,000 digits, 60 architectures | 65 seconds, beside other work |
# | `full` | three seeds of 480 passes each, 200 architectures | not measured; about 20 minutes at the pace of `quick` |
# | `gpu` | five seeds, all different architectures | not measured |
#
# The comparison that decides (four lengths of training, several seeds) takes hours. It is stored with the project, and
# section 9 shows it beside your own run.

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu; it sets every parameter below that is None
passes: int = None  # forward passes over the training images for each sampler: a multiple of 12
images: int = None  # training images, 1000 at most
archs: int = None  # held-out architectures that are ranked
repeats: int = None  # trainings of each sampler, each with its own seed
batch_size: int = None  # images per forward pass
recalibration_batches: int = None  # batches of 128 training images for an architecture's statistics
threads: int = None  # CPU threads
seed: int = None  # of every random choice
device: str = None  # auto, cpu, cuda, cuda:1 ...
out_dir: str = None  # folder of the results; None: one per set of parameters

# %%
import itertools
import json

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from torch.nn import functional as F

from nasedu import classification, course, data, plots, randomness, ranking, sampling, spaces
from nasedu.course.checks.sampling import (
    check_equal_paths,
    check_fair_paths,
    check_honest,
    check_interval,
    check_lesson,
)
from nasedu.data import benchmark
from nasedu.errors import ParameterError, check_whole
from nasedu.ranking import correlation, difference
from nasedu.search import SupernetScore
from nasedu.supernet.batchnorm import recalibrate
from nasedu.task import Classification, fit

cfg = course.setup("05_sampling", globals())
limits = {"passes": (12, 12_000), "images": (64, 1000), "archs": (12, 729), "repeats": (1, 100)}
limits |= {"batch_size": (2, 64), "recalibration_batches": (1, 8), "threads": (1, 1024)}
for name, (least, most) in limits.items():
    check_whole(name, getattr(cfg, name), least, most)
if cfg.passes % 12:
    # a step runs 1, 3 or 4 paths, and all samplers get equally many passes
    raise ParameterError(f"passes must be a multiple of 12, got {cfg.passes}")
torch.set_num_threads(cfg.threads)
cfg

# %% [markdown]
# ## 1 · The space, its supernet, and the truth
#
# The space is the cell of NAS-Bench-201: four nodes, and on each of the six edges between them an operation. Ours
# offers three operations: nothing, a plain connection, a 3×3 convolution. The task is to read real digits of 8×8
# pixels, turned, moved and noisy.

# %%
truth = benchmark.load("cells_digits")
space = spaces.create("nasbench201", **truth.space_options)
train_set = data.classification(split="train", size=cfg.images, **truth.task).to(cfg.device)
val_set = data.classification(split="val", **truth.task).to(cfg.device)
operations = [name.replace("nor_", "") for name in space.decisions[0].choices]
print(f"{space.size} cells: {len(space.decisions)} edges, on each of them", " or ".join(operations))
print(f"{len(train_set)} training images, {len(val_set)} for validation")

# %% [markdown]
# First the truth, as a picture: how accurate are the cells when each is trained alone? The spike on the left are cells
# through which nothing flows from input to output, so that they guess. Those at 40 % pass the signal on, but through
# no convolution. All others lie within 20 points of one another.

# %%
scores = truth.scores("test")
label = "test accuracy (%), mean of three trainings"
figures = {"truth": plots.histogram({"": scores}, xlabel=label, ylabel="share of the cells (%)")}
figures["truth"]

# %% [markdown]
# ## 2 · What one step trains
#
# A path has one index for each decision. It runs one operation on each edge, so a step costs no more than a step of
# that architecture alone. **Uniform** sampling (SPOS) draws every index with the same probability. From scratch that
# is one line. Given the same generator, it draws the package's path:


# %%
def uniform_path(choices, generator):
    """One index for each decision, all equally likely."""
    return tuple(int(torch.randint(n, (), generator=generator)) for n in choices)


def seeded(seed=cfg.seed):
    return torch.Generator().manual_seed(seed)


uniform = sampling.Uniform()
ours, theirs = uniform_path(space.choices, seeded()), uniform.paths(space, seeded())[0]
assert ours == theirs, "the same draws must give the same path"
print("from scratch", ours, "\npackage     ", theirs)

# %% [markdown]
# Uniform sampling is fair *on average*. In a finite training some choice gets more steps than another. **Strict
# fairness** (FairNAS) deals, as one deals cards: with K choices a step runs K paths on the same images, so that on
# every edge each choice runs exactly once. The gradients of the K paths add up. Then the optimizer steps **once**. If
# it stepped after each path, the first path would change the weights that the second one trains.
#
# To see the difference, count how often each step trains each operation of one edge, over 200 forward passes:

# %%
fair = sampling.StrictFairness()


def counts(sampler, passes=200, decision=0):
    """How often each step trains each choice of a decision: (steps, choices)."""
    generator, rows = seeded(), []
    while sum(map(sum, rows)) < passes:  # several paths a step: fewer steps
        drawn = [path[decision] for path in sampler.paths(space, generator)]
        rows.append(np.bincount(drawn, minlength=space.choices[decision]).tolist())
    return np.array(rows)


counted = {"uniform": counts(uniform), "strict fairness": counts(fair)}
lead = {name: int(np.ptp(count.sum(0))) for name, count in counted.items()}
assert lead["strict fairness"] == 0 < lead["uniform"], "only strict fairness must be even"
print(f"uniform, after 200 passes: the most trained operation leads the least by {lead['uniform']}")
print(f"strict fairness: by {lead['strict fairness']}")

# %% [markdown]
# The same over the steps. Left: the lines drift apart, so one operation is many steps ahead. Right: all three lie on
# zero, after every step.

# %%
panels = {}
for name, count in counted.items():
    lines = np.cumsum(count - count.mean(1, keepdims=True), axis=0)  # (steps, operations)
    panels[name] = dict(zip(operations, lines.T, strict=True))
labels = {"xlabel": "optimizer step", "ylabel": "times trained on one edge\n(less the mean)"}
figures["fairness"] = plots.lines(panels, **labels)
figures["fairness"]

# %% [markdown]
# ### Exercise 05.1: paths of equal chances
# *Difficulty 2 of 3, about 10 min.* All decisions have the same number K of choices. Return K paths, as tuples of
# indices, such that every choice of every decision is on exactly one of them. All such lists of K paths must be equally
# likely. `choices` is the list of K's, one per decision; draw from `generator`.
#
# <details><summary>Hint 1</summary><code>torch.randperm(K, generator=generator)</code> is a random order of K choices.
# </details>
# <details><summary>Hint 2</summary>One permutation for each decision; path k takes entry k of each.
# <code>zip(*lists)</code> turns rows into columns.</details>


# %% tags=["stub"]
def fair_paths(choices, generator):
    raise NotImplementedError


# %% tags=["solution"]
def fair_paths(choices, generator):
    orders = [torch.randperm(n, generator=generator).tolist() for n in choices]
    return list(zip(*orders, strict=True))


# %% tags=["nbval-check-output"]
check_fair_paths(fair_paths)

# %% [markdown]
# The package's sampler has the property that the exercise asks for: in every step each column of the paths holds every
# choice once. Three uniform paths have it only by accident.


# %%
def is_fair(paths):
    """Whether every choice of every decision is on exactly one of the paths."""
    columns = zip(*paths, strict=True)
    return all(sorted(column) == [0, 1, 2] for column in columns)


generator = seeded()
dealt = sum(is_fair(fair.paths(space, generator)) for _ in range(100))
three = sum(is_fair([uniform_path(space.choices, generator) for _ in range(3)]) for _ in range(100))
assert dealt == 100 > three, "strict fairness is fair in every step, uniform sampling is not"
print(f"fair steps of 100: strict fairness {dealt}, three uniform paths {three}")

# %% [markdown]
# ## 3 · The sandwich
#
# The third idea comes from slimmable networks. Every step runs the **biggest** network, the **smallest** one, and two
# random ones. If both extremes are good, networks between them should be good, too: that is the hope. The biggest also
# teaches: it learns from the labels, and the others learn from *its* predictions.
#
# Counted in multiply-accumulates (MACs) the smallest cell has nothing on any edge. No signal passes through it, so it
# can learn nothing. We take the cheapest cell that works instead: plain connections everywhere.

# %%
biggest, smallest = (operations.index("conv_3x3"),) * 6, (operations.index("skip_connect"),) * 6
sandwich = sampling.Sandwich(biggest, smallest, n=4)
by_macs = sampling.create("sandwich", space)
assert by_macs.smallest == (operations.index("none"),) * 6, "by MACs the smallest cell is empty"
print("smallest by MACs", by_macs.smallest, "· smallest here", smallest)
sandwich.paths(space, seeded())

# %% [markdown]
# ### Exercise 05.2: the teacher's lesson
# *Difficulty 2 of 3, about 10 min.* `student` and `teacher` are logits (images, classes). With
# $p = \operatorname{softmax}(\text{teacher})$ and $q = \operatorname{softmax}(\text{student})$, return the mean over
# the images of $-\sum_c p_c \log q_c$. No gradient may reach the teacher, which would otherwise learn to agree with its
# students.
#
# <details><summary>Hint 1</summary><code>F.cross_entropy</code> also takes probabilities as its target.</details>
# <details><summary>Hint 2</summary><code>.detach()</code> cuts a tensor off from what made it.</details>


# %% tags=["stub"]
def lesson(student, teacher):
    raise NotImplementedError


# %% tags=["solution"]
def lesson(student, teacher):
    return F.cross_entropy(student, teacher.detach().softmax(1))


# %% tags=["nbval-check-output"]
check_lesson(lesson)

# %% [markdown]
# Now one whole step of the sandwich from scratch. The gradients of its four paths add up in `.grad`:


# %%
def sandwich_step(net, x, y, paths):
    """Leaves the sum of the paths' gradients in the weights."""
    net.zero_grad()
    logits = net(x, paths[0])
    F.cross_entropy(logits, y).backward()
    teacher = logits.detach().softmax(1)  # what the biggest says, without a way back to it
    for path in paths[1:]:
        F.cross_entropy(net(x, path), teacher).backward()


def gradient(net):
    return torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])


net = space.supernet(seed=cfg.seed).to(cfg.device)
x, y = train_set.images[:32], train_set.labels[:32]
sandwich_step(net, x, y, sandwich.paths(space, seeded()))
ours = gradient(net)
f"{len(ours):,} weights got a gradient"

# %% [markdown]
# The package's step does the same. It is written for every sampler and every task: it yields the losses of one path
# after the other, and the training loop goes backwards through each.

# %%
net.zero_grad()
step = sampling.supernet_step(space, sandwich, Classification(train_set))
for losses in step(net, (x, y), seeded()):
    losses["total"].backward()
theirs = gradient(net)
assert torch.allclose(ours, theirs, atol=1e-4), "both steps must leave the same gradient"
print(f"length of the gradient: from scratch {ours.norm():.4f}, package {theirs.norm():.4f}")

# %% [markdown]
# ## 4 · Train three supernets
#
# All three get the **same number of forward passes** over the training images, because that is what costs time. A step
# of strict fairness runs 3 paths, so it takes a third of the steps that uniform sampling takes. The sandwich, with 4
# paths, takes a quarter. Think before you run: many steps with one path each, or fewer steps with several?

# %%
guess = course.predict(
    "After equally many passes, which supernet orders the cells best?",
    ["uniform", "strict fairness", "sandwich", "no clear winner"],
)

# %% [markdown]
# One training loop serves all three. Only the sampler differs, and with it the number of epochs:

# %%
samplers = {"uniform": uniform, "strict fairness": fair, "sandwich": sandwich}
paths_of = {name: len(sampler.paths(space, seeded())) for name, sampler in samplers.items()}


def train_supernet(name, seed):
    """A supernet after `cfg.passes` passes; interrupted, it goes on where it was."""
    task = Classification(train_set, batch_size=cfg.batch_size, seed=seed)
    recipe = classification.recipe(cfg.passes // paths_of[name])  # as many passes for all
    step = sampling.supernet_step(space, samplers[name], task)
    state = cfg.out_dir / f"{name.replace(' ', '-')}-{seed}.pt"
    with course.Bar(total=recipe.epochs, desc=name, unit="epoch") as bar:
        keep = {"state": state, "progress": bar.show, "device": cfg.device}
        return fit(space.supernet(seed=seed), task, recipe, step, seed=seed, **keep)


seeds = [cfg.seed + i for i in range(cfg.repeats)]
trained = {name: [train_supernet(name, seed) for seed in seeds] for name in samplers}
epochs = {name: len(runs[0].history) for name, runs in trained.items()}
pd.DataFrame({"paths a step": paths_of, "epochs": epochs})

# %% [markdown]
# Loss on the labels over the passes. In the sandwich only the biggest network sees labels, so its line says nothing
# about the others.

# %%
curves = {}
for name, runs in trained.items():
    passes = np.arange(1, len(runs[0].history) + 1) * paths_of[name]
    curves[name] = pd.Series([epoch["labels"] for epoch in runs[0].history], passes)
labels = {"xlabel": "forward passes over the training images", "ylabel": "cross-entropy"}
figures["training"] = plots.lines(curves, **labels)
figures["training"]

# %% [markdown]
# ## 5 · Statistics of its own for each architecture
#
# Batch normalisation keeps a running mean and variance of what flows through it. In a supernet these are averages over
# all paths, and so they are **wrong for each single path**. Before an architecture is judged, its own statistics are
# computed from a few batches of training images: reset them, average over the batches, judge, put the old ones back.
# No gradient is computed and no weight changes.
#
# From scratch: plain averages of the batches' means and of their variances. The package's `recalibrate` gives the same:

# %%
norm, generator = torch.nn.BatchNorm2d(4), seeded()
many = [torch.randn(16, 4, 5, 5, generator=generator) + i for i in range(3)]
ours = [torch.stack([f(b, (0, 2, 3)) for b in many]).mean(0) for f in (torch.mean, torch.var)]
recalibrate(norm, many, lambda norm, x: norm(x))
theirs = [norm.running_mean, norm.running_var]
assert all(map(torch.allclose, ours, theirs)), "recalibration must average means and variances"
print("mean, variance of channel 0: from scratch", *(f"{v[0]:.4f}" for v in ours), end=" · ")
print("package", *(f"{v[0]:.4f}" for v in theirs))

# %% [markdown]
# Six cells that are good in truth, judged by the uniform supernet: once with the supernet's statistics (circles), once
# with their own (squares). The weights are the same.

# %%
supernet = trained["uniform"][0].ema


def judge(net):
    """An evaluator: the accuracy of an architecture with its own statistics."""
    task = Classification(train_set, val_set, batch_size=min(128, len(train_set)), seed=cfg.seed)
    return SupernetScore(space, net, task, batches=cfg.recalibration_batches)  # recalibrates first


def raw(net, arch):
    return classification.accuracy(net, val_set, lambda net, x: net(x, arch))


six = scores.nlargest(300).index[::50]
good = {f"cell {i}": space.parse(text) for i, text in enumerate(six, 1)}
before = {name: 100 * raw(supernet, arch) for name, arch in good.items()}
after = {name: 100 * judge(supernet)(arch) for name, arch in good.items()}
both = {"the supernet's statistics": before, "their own": after}
label = "accuracy with the supernet's weights (%)"
figures["statistics"] = plots.dots(both, xlabel=label, xlim=(0, None))
figures["statistics"]

# %% [markdown]
# How much the statistics alone change:

# %%
gain = np.mean([after[name] - before[name] for name in before])
Markdown(f"On average their own statistics change the accuracy by **{gain:+.1f} points**.")

# %% [markdown]
# ## 6 · Does the order agree with the truth?
#
# **Kendall's τ** compares two orders pair by pair: the share of pairs that both put in the same order, less the share
# that they put in opposite orders. 1 is the same order, 0 is no relation, −1 is the reversed order. From scratch, for
# scores without ties, and by the package:


# %%
def kendall(scores, truth):
    """The share of pairs in the same order less the share in opposite orders."""
    pairs = itertools.combinations(range(len(scores)), 2)
    return np.mean([np.sign((scores[i] - scores[j]) * (truth[i] - truth[j])) for i, j in pairs])


a, b = randomness.rng(cfg.seed, "example").normal(size=(2, 20))
ours, theirs = kendall(a, b), correlation(a, b).value
assert abs(ours - theirs) < 1e-12, "both are Kendall's tau"
print(f"two random orders: from scratch {ours:.6f}, package {theirs:.6f}")
print(f"1 2 3 4 5 and 1 3 2 5 4: {kendall([1, 2, 3, 4, 5], [1, 3, 2, 5, 4]):.1f}")

# %% [markdown]
# Validation accuracies tie often, for there are only as many values as images. The package computes τ-b, which divides
# by the pairs that are not tied. Its interval is a **bootstrap**: draw as many architectures again with replacement,
# compute τ, do so many times, and keep the middle 95 %. It tells how much τ would change with other architectures of
# the same space. It does not tell how much τ would change with another training.
#
# We draw architectures at random and score them with every supernet. Cells that compute the same count once.

# %%
distinct = scores[truth.distinct]
texts = list(distinct.sample(min(cfg.archs, len(distinct)), random_state=cfg.seed).index)


def scored(net, name):
    """The score (%) of every drawn cell, by its text."""
    score = judge(net)
    bar = course.Bar(texts, name, unit="cell")
    return pd.Series({text: 100 * score(space.parse(text)) for text in bar})


accuracies = {name: [scored(t.ema, name) for t in runs] for name, runs in trained.items()}
true = distinct[texts]
by_name = {name: runs[0] for name, runs in accuracies.items()}  # of the first seed
print(f"scored {len(texts)} of {len(distinct)} different cells with {len(seeds) * 3} supernets")

# %% [markdown]
# Each point is a cell: to the right, what the supernet says of it; upwards, what it reaches when trained alone. The
# titles give τ and its 95 % interval.

# %%
taus = {name: correlation(values, true, seed=cfg.seed) for name, values in by_name.items()}
spans = {name: f"τ = {c.value:.2f} [{c.low:.2f}, {c.high:.2f}]" for name, c in taus.items()}
points = {f"{name}\n{spans[name]}": {name: (values, true)} for name, values in by_name.items()}
labels = {"xlabel": "accuracy with the supernet's weights (%)", "ylabel": "true accuracy (%)"}
labels["legend"] = "none"
figures["scatter"] = plots.scatter(points, **labels)
figures["scatter"]

# %% [markdown]
# ### Two references
#
# A τ needs a reference. Here are two.
#
# - **Counting MACs** costs nothing: a cell with more convolutions is often a better one.
# - **Reliability**: how well one training of each cell orders another training of the same cells, with other seeds. It
#   tells how noisy the truth is. It is no upper limit: a score that averages the noise out may agree better.
#
# A row for each score: the marker is τ, the bar its 95 % interval. Of the reliability all three pairs of trainings are
# shown, and their mean.

# %%
macs = truth.frame.macs[texts]
trainings = {s: truth.scores("test", seed=s)[texts] for s in truth.seeds}
taus["counting MACs"] = correlation(macs, true, seed=cfg.seed)
two = itertools.combinations(trainings.values(), 2)
reliability = [correlation(a, b, resamples=1).value for a, b in two]
rows = taus | {"one training, another": reliability}
figures["taus"] = plots.dots(rows, xlabel="Kendall τ", xlim=(None, 1.02)).guide(x=0)
figures["taus"]

# %% [markdown]
# ### Among the better half
#
# Much of that order is easy: cells without a convolution are far worse than the others. A search has to tell the good
# from the best. So we look at the better half alone. Which cells are in it must be decided by *other* trainings than
# those that judge. Otherwise a cell that was lucky in one training would enter the half and be judged by the same luck.
# Here the first training chooses the half, and the mean of the other two judges. For the reliability each training
# chooses once, and the other two are compared.


# %%
def upper(values):
    """The better half."""
    return values.index[values >= values.median()]


first, *rest = truth.seeds
top, rest = upper(trainings[first]), sum(trainings[s] for s in rest) / len(rest)
known = by_name | {"counting MACs": macs}
half = {name: correlation(v[top], rest[top], seed=cfg.seed) for name, v in known.items()}
t = list(trainings.values())
turns = [t, [t[1], t[2], t[0]], [t[2], t[0], t[1]]]  # the first chooses, the other two are compared
again = [correlation(b[upper(a)], c[upper(a)], resamples=1).value for a, b, c in turns]
ends = min(-0.1, *(c.low for c in half.values()), *again), 1.02
rows = half | {"one training, another": again}
figures["better_half"] = plots.dots(rows, xlabel="Kendall τ", xlim=ends).guide(x=0)
figures["better_half"]

# %% [markdown]
# How many cells that were (`n`), and how many pairs of them each score ties:

# %%
table = pd.DataFrame(
    {
        name: {"tau": c.value, "low": c.low, "high": c.high, "n": c.n, "tied pairs": c.ties}
        | {"tau, better half": half[name].value, "low ": half[name].low, "high ": half[name].high}
        for name, c in taus.items()
    }
).T
table[["n", "tied pairs"]].astype(int)

# %% [markdown]
# ## 7 · Is one sampler better than another?
#
# Two intervals that overlap do not answer that. Both samplers were judged on the same cells, and a resample that is
# hard for one is hard for the other, too. So resample the cells once for both, and look at the *difference* of their
# τ: a **paired** bootstrap.
#
# ### Exercise 05.3: an interval for a difference
# *Difficulty 3 of 3, about 20 min.* `a` and `b` are scores of the same n cells, `truth` their accuracies (arrays). Draw
# `resamples` times n cells with replacement, all draws from `rng`. For each draw compute τ(a) − τ(b) on the drawn
# cells. Return the 2.5 % and the 97.5 % quantile of these differences.
#
# <details><summary>Hint 1</summary>Of one draw <code>i</code> all three are taken: <code>a[i]</code>,
# <code>b[i]</code>, <code>truth[i]</code>.</details>
# <details><summary>Hint 2</summary><code>scipy.stats.kendalltau(x, y).statistic</code> is τ-b;
# <code>rng.integers(n, size=n)</code> draws n cells with replacement.</details>


# %% tags=["stub"]
def interval(a, b, truth, resamples, rng):
    raise NotImplementedError


# %% tags=["solution"]
def interval(a, b, truth, resamples, rng):
    from scipy.stats import kendalltau

    differences = []
    for _ in range(resamples):
        i = rng.integers(len(truth), size=len(truth))
        both = [kendalltau(score[i], truth[i]).statistic for score in (a, b)]  # the same cells
        differences.append(both[0] - both[1])
    low, high = np.quantile(differences, (0.025, 0.975))
    return low, high


# %% tags=["nbval-check-output"]
check_interval(interval)

# %% [markdown]
# The package's `difference` does that for scores by architecture, of one training or of several. Your run, each score
# less counting MACs and each pair of samplers. A bar that crosses 0 leaves open which of the two is better.

# %%
pairs = [(name, "counting MACs") for name in samplers] + list(itertools.combinations(samplers, 2))
gaps = {
    f"{a} − {b}": difference(known[a], known[b], true, "kendall", seed=cfg.seed)  # paired
    for a, b in pairs
}
label = "difference of Kendall τ, paired"
figures["differences"] = plots.dots(gaps, xlabel=label, width=9).guide(x=0)
figures["differences"]

# %% [markdown]
# In words:


# %%
def compared(gap):
    return "above" if gap.low > 0 else "below" if gap.high < 0 else "not told apart from"


def told(name):
    """What your run says of one sampler."""
    mine, free = taus[name], gaps[f"{name} − counting MACs"]
    chance = "better than chance" if mine.low > 0 else "not told apart from chance"
    top = "better than chance" if half[name].low > 0 else "not told apart from chance"
    pick = true[by_name[name] == by_name[name].max()].mean()  # of several best ones the mean
    return (
        f"- **{name}** (τ = {mine.value:.2f}): {chance}, {compared(free)} counting MACs; among the "
        f"better half {top}. Its favourite is {true.max() - pick:.1f} points below the best of the "
        f"{len(true)}."
    )


Markdown("\n".join(map(told, samplers)))

# %% [markdown]
# With `repeats` above 1 you also see other seeds of the *training*: mean and standard deviation of τ.

# %%
by_seed = {}
for name, runs in accuracies.items():
    by_seed[name] = [correlation(values, true, resamples=1).value for values in runs]
spread = pd.DataFrame(by_seed).agg(["mean", "std"])  # of one training there is no deviation
print(spread.round(2).to_string(na_rep="-"))

# %% [markdown]
# ## 8 · Two harder problems
#
# The first is a fault that is easily made: a step that deals its paths fairly, but trains them one after the other.
#
# ### Exercise 05.4: which step is strictly fair?
# *Difficulty 3 of 3, about 20 min; fault.* You are given `step(net, optimizer, x, y, paths)`, which may be wrong in any
# way. A right step starts from zero gradients, adds up the gradients of `F.cross_entropy(net(x, path), y)` over all
# `paths` (a sum, no mean), and then lets the optimizer step once. Return True if it does that, and False if it does
# anything else. You cannot read the step, but you can run it on a network and an optimizer of your choice. Leave `net`
# as it is.
#
# <details><summary>Hint 1</summary>Make two copies (<code>copy.deepcopy</code>) and train one with the step, the other
# as it should be. Compare the weights.</details>
# <details><summary>Hint 2</summary>With plain SGD a wrong gradient is seen in the weights; choose a learning rate that
# is large enough to see it.</details>
# <details><summary>Hint 3</summary>A step that forgets to reset the gradients is right on a fresh network. Give both
# copies some gradients first.</details>


# %% tags=["stub"]
def honest(step, net, x, y, paths):
    raise NotImplementedError


# %% tags=["solution"]
def honest(step, net, x, y, paths):
    import copy

    mine, theirs = copy.deepcopy(net), copy.deepcopy(net)
    for p in [*mine.parameters(), *theirs.parameters()]:
        p.grad = torch.ones_like(p)  # as if a step had been before
    step(theirs, torch.optim.SGD(theirs.parameters(), lr=0.5), x, y, paths)
    optimizer = torch.optim.SGD(mine.parameters(), lr=0.5)
    optimizer.zero_grad()
    for path in paths:
        F.cross_entropy(mine(x, path), y).backward()
    optimizer.step()
    pairs = zip(mine.parameters(), theirs.parameters(), strict=True)
    return all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)


# %% tags=["nbval-check-output"]
check_honest(honest)

# %% [markdown]
# The second problem is a sampler to design. Strict fairness deals each edge on its own. So one of the three
# paths may get six convolutions and another none: one step then trains a large network and a very small one. How many
# convolutions does a path have, over 1,000 steps?

# %%
generator = seeded()
conv = operations.index("conv_3x3")
found = [path.count(conv) for _ in range(1000) for path in fair.paths(space, generator)]
shares = pd.Series(found).value_counts(normalize=True).sort_index()
labels = {"xlabel": "3×3 convolutions on the path", "ylabel": "share of the paths (%)"}
figures["prices"] = plots.lines({"paths": 100 * shares}, joined=False, **labels)
figures["prices"]

# %% [markdown]
# ### Exercise 05.5: paths of equal price
# *Difficulty 2 of 3, about 15 min; design.* Design a sampler that is strictly fair and whose paths all cost the same,
# where an operation costs the same on every edge.
# All decisions have K choices, and their number is 2 K or a larger multiple of K. Return K paths such that every choice
# of every decision is on exactly one of them, *and* on each path every choice occurs equally often. Over many steps
# every choice must be equally frequent at every decision of every path, and any two decisions must show all pairs of
# choices. Draw from `generator`.
#
# <details><summary>Hint 1</summary>Deal with shifts: a decision with shift s gives path k the choice (k + s) modulo K.
# The set is fair whatever the shifts are.</details>
# <details><summary>Hint 2</summary>A path holds every choice equally often if every shift is used equally often. Which
# decision has which shift is to be drawn anew in every step.</details>


# %% tags=["stub"]
def equal_paths(choices, generator):
    raise NotImplementedError


# %% tags=["solution"]
def equal_paths(choices, generator):
    k = choices[0]
    shifts = torch.randperm(len(choices), generator=generator) % k  # each equally often
    names = torch.randperm(k, generator=generator)
    return [tuple(names[(i + shifts) % k].tolist()) for i in range(k)]


# %% tags=["nbval-check-output"]
check_equal_paths(equal_paths)

# %% [markdown]
# ## 9 · The verdict: longer trainings, more seeds
#
# What follows was computed once by `datasets/verdict_sampling.py` and is stored: each sampler at four numbers of
# passes with several seeds, and every supernet scored all different cells.

# %%
folder = benchmark.FOLDER
meta = json.loads((folder / "verdict_sampling.json").read_text())
stored = pd.read_csv(folder / "verdict_sampling.csv", index_col="arch")
assert meta["fingerprint"] == space.fingerprint, "the stored scores must be of these cells"
made, lengths = meta["provenance"], meta["passes"]
print(f"{stored.shape[1]} supernets, {len(meta['seeds'])} seeds, scored {len(stored)} cells")
print(f"made on {made['date']} with torch {made['torch']} on {made['device']}")

# %% [markdown]
# Two measures of each supernet. **τ** judges the whole order. **Regret** judges what a search would hand in: the best
# cell's true accuracy less that of the cell with the highest score. Where several cells share the highest score, their
# mean counts. Lines are medians over the seeds, bands hold the middle half. The dotted line is counting MACs, whose
# favourite is the cell with six convolutions.


# %%
keys = {"uniform": "uniform", "strict fairness": "fair", "sandwich": "sandwich"}  # in the table
goal = scores[stored.index]


def tau(values):
    return correlation(values, goal, resamples=1).value


def regret(values):
    best = goal[values.index]
    return float(best.max() - best[values == values.max()].mean())


def runs_of(name, passes):
    """The scores of all cells, by seed of the supernet."""
    return {seed: stored[f"{keys[name]}_{passes}_s{seed}"] for seed in meta["seeds"]}


def over_passes(measure):
    """A measure of every supernet: {sampler: (seeds, passes)}."""
    found = {}
    for name in keys:
        found[name] = np.array([[*map(measure, runs_of(name, n).values())] for n in lengths]).T
    return found


by_tau, by_regret = over_passes(tau), over_passes(regret)
free = truth.frame.macs[stored.index]
panels = {"Kendall τ": by_tau, "regret of the pick (points)": by_regret}
labels = {"xlabel": "forward passes over the training images", "names": "ylabel", "share": ""}
figures["verdict"] = plots.lines(panels, list(map(str, lengths)), **labels)
figures["verdict"].guide(y=[tau(free), regret(free)], label="counting MACs")
figures["verdict"]

# %% [markdown]
# What does the whole table say? A row for each length: the sampler with the highest τ (mean of the seeds), and whether
# it is clearly ahead. Nothing is resampled here: all cells are in the table, and only the training varies. So a pair is
# a seed, and `ranking.paired` gives Student's interval of the lead over each of the other two samplers, as in notebook
# 00. The column `least lead` is the lower of the two low ends: above 0 the sampler is clearly ahead of both. (It was
# picked by looking at the same seeds, so this lead is a little too sure.)


# %%
def winner(passes):
    """The sampler with the highest mean τ, and the low end of its lead over the others."""
    found = {name: by_tau[name][:, lengths.index(passes)] for name in keys}
    ahead, *others = sorted(found, key=lambda name: found[name].mean(), reverse=True)
    # clearly ahead is who leads both others: the weaker lead counts
    least = min(ranking.paired(found[ahead], found[name]).low for name in others)
    highest = round(found[ahead].mean(), 2)
    return {"highest τ": ahead, "mean τ": highest, "least lead": round(least, 3)}


best = pd.DataFrame({f"{n} passes": winner(n) for n in lengths}).T
best["clearly ahead"] = ["yes" if low > 0 else "no" for low in best["least lead"]]
best

# %% [markdown]
# Now your prediction. It is answered by the longest stored training, which has the most to say.

# %%
longest = best.iloc[-1]
outcome = longest["highest τ"] if longest["clearly ahead"] == "yes" else "no clear winner"
guess.came(
    outcome,
    f"After {lengths[-1]} passes {longest['highest τ']} has the highest mean τ, "
    f"{longest['mean τ']:.2f}; its least lead is {longest['least lead']:+.2f}. "
    f"After {lengths[0]} passes {best.iloc[0]['highest τ']} had the highest.",
)

# %% [markdown]
# ### Against random search at equal cost
#
# A search on a supernet must be compared with what the same passes buy otherwise. A training alone takes 12 passes, so
# n passes pay for n / 12 networks. **Random search** trains that many, once each, and takes the one with the best
# validation accuracy. Scoring all cells costs passes, too. To train on an image takes about three units of time: one
# for the network's answer, two for the gradients. To score it takes the first alone, so it counts a third. The rival
# gets these passes on top.

# %%
alone, images = truth.budgets[-1], meta["images"]
seen = len(stored) * (meta["judged"]["batches"] * meta["judged"]["batch_size"] + images["val"])
scoring = round(seen / images["train"] / 3)
bought = {n: (n + scoring) // alone for n in lengths}
print(f"scoring {len(stored)} cells costs as much as about {scoring} passes")
pd.DataFrame({"networks that the rival trains": bought}).rename_axis("passes of the supernet").T

# %% [markdown]
# The rival searches 300 times for each seed, and its mean counts: so its own luck plays no part. Pairs share the seed.
# Each dot is one seed's gain: the regret of random search less the regret of the supernet's pick. Right of 0 the
# supernet is better.


# %%
def of_random_search(passes, seed, searches=300):
    """The mean regret of random search that trains what these passes pay for."""
    draw = randomness.rng(seed, "random search", passes)
    val = truth.scores("val", seed=truth.seeds[seed % len(truth.seeds)])[stored.index].to_numpy()
    drawn = [draw.choice(len(val), bought[passes], replace=False) for _ in range(searches)]
    return goal.max() - np.mean([goal.iloc[i[val[i].argmax()]] for i in drawn])


rival = np.array([[of_random_search(n, seed) for n in lengths] for seed in meta["seeds"]])
gained = {name: rival - regrets for name, regrets in by_regret.items()}  # (seeds, passes)
panels = {}
for i, n in enumerate(lengths):
    panels[f"{n} passes"] = {"": {name: gain[:, i] for name, gain in gained.items()}}
label = "points gained over random search"
figures["against_random"] = plots.dots(panels, xlabel=label, share="xy", columns=2).guide(x=0)
figures["against_random"]

# %% [markdown]
# In words, with the 95 % interval of the mean gain. Few seeds make it wide.


# %%
def verdict(name, passes):
    """Whether a supernet beats random search at equal cost."""
    gain = ranking.paired(gained[name][:, lengths.index(passes)])
    said = "beats" if gain.low > 0 else "loses to" if gain.high < 0 else "not told apart from"
    return f"{said} it: {gain.value:+.1f} [{gain.low:+.1f}, {gain.high:+.1f}]"


pd.DataFrame({f"{n} passes": {name: verdict(name, n) for name in keys} for n in lengths}).T

# %% [markdown]
# ### A caution: does it know the cells, or favour one?
#
# The sandwich trains the largest cell in every step, so it may score that cell highest whatever the truth is. Here the
# largest cell is nearly the best, so such a favour would look like knowledge. Two checks over all stored supernets: how
# often is the favourite the largest cell? And what is the regret among cells with three convolutions at most, where
# the largest ones are not the best? (Notebook 00 judges the same supernets under a limit of MACs. It leaves the largest
# cell out.)

# %%
# counted over all seeds and lengths of training
three_at_most = [text for text in stored.index if space.parse(text).count(conv) <= 3]
rows = {}
for name in keys:
    found = [run for n in lengths for run in runs_of(name, n).values()]
    favour = sum(run.idxmax() == space.format(biggest) for run in found)
    small = np.mean([regret(run[three_at_most]) for run in found])
    favour = f"{favour} of {len(found)}"
    rows[name] = {"favourite is the largest": favour, "regret, small cells": round(small, 2)}
small = round(regret(free[three_at_most]), 2)
rows["counting MACs"] = {"favourite is the largest": "always", "regret, small cells": small}
small_cells = pd.DataFrame(rows).T
small_cells

# %% [markdown]
# The blind pick among the small cells puts these numbers in their place:

# %%
of_small = goal[three_at_most]
least = small_cells["regret, small cells"].astype(float).idxmin()
Markdown(
    f"A blind pick among the {len(of_small)} small cells has a median regret of "
    f"{of_small.max() - of_small.median():.1f} points. The lowest regret in the table has "
    f"**{least}**, {small_cells.loc[least, 'regret, small cells']:.1f} points."
)

# %% [markdown]
# And your own run, with one training of each sampler on fewer cells:

# %%
mine = {name: true.max() - true[v == v.max()].mean() for name, v in by_name.items()}
told_mine = ", ".join(f"{name} {value:.1f}" for name, value in mine.items())
Markdown(
    f"Regret of your supernets' favourites among {len(true)} cells: {told_mine} points. The median "
    f"of a blind pick is {true.max() - true.median():.1f}. One seed decides nothing; the table "
    "above has several."
)

# %% [markdown]
# ## Summary
#
# - A supernet shares weights among all architectures; a sampler decides which of them a step trains.
# - Uniform sampling is fair on average, strict fairness in every step, the sandwich trains the extremes and lets the
#   biggest teach. Compare them after equal *passes*, not after equal steps or epochs.
# - Batch-normalisation statistics belong to a path. Recompute them before an architecture is judged.
# - τ judges the whole order, regret the pick. Both need a reference: counting MACs, and random search at equal cost.
#
# **Pitfalls**
#
# - *Unequal cost.* A sandwich of 4 paths for as many epochs as uniform sampling has had four times the training.
# - *The smallest network by MACs* may be one through which nothing flows. It learns nothing, and spends a path.
# - *Stepping after each path.* Then strict fairness is not what it says (exercise 05.4).
# - *Selecting and judging by the same training.* What was lucky enters the better half, and is judged lucky again.
# - *Reading two overlapping intervals as "no difference".* Look at the interval of the paired difference.
#
# **Further reading**
#
# - Uniform paths: Guo et al., *Single Path One-Shot Neural Architecture Search with Uniform Sampling*, ECCV 2020
# - Strict fairness: Chu et al., *FairNAS: Rethinking Evaluation Fairness of Weight Sharing Neural Architecture Search*,
#   ICCV 2021
# - The sandwich: Yu and Huang, *Universally Slimmable Networks and Improved Training Techniques*, ICCV 2019; Yu et al.,
#   *BigNAS: Scaling Up Neural Architecture Search with Big Single-Stage Models*, ECCV 2020
# - How far a supernet's order may be trusted: Yu et al., *Evaluating the Search Phase of Neural Architecture Search*,
#   ICLR 2020; the cell: Dong and Yang, *NAS-Bench-201*, ICLR 2020

# %%
course.finish(
    cfg,
    summary=table.round(2),
    figures=figures,
    results={
        # your run, and the stored verdict beside it
        "kendall": table.to_dict("index"),
        "kendall_by_seed": by_seed,
        "reliability": {"all": reliability, "better half": again},
        "differences": {name: [gap.value, gap.low, gap.high] for name, gap in gaps.items()},
        "regret": mine,
        "stored": {
            "tau": {name: values.mean(0) for name, values in by_tau.items()},
            "regret": {name: values.mean(0) for name, values in by_regret.items()},
            "gain": {name: values.mean(0) for name, values in gained.items()},
            "small cells": small_cells.to_dict("index"),
        },
    },
)
