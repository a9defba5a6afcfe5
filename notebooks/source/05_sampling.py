# %% [markdown]
# # Training a supernet: which path next?
#
# One network is trained in place of 729, three ways, and then has to answer for the order in which it puts them.
#
# A supernet shares its weights between all architectures. Each training step runs only one or a few *paths* through it,
# and the **sampler** decides which. Afterwards any architecture can be scored with the shared weights, in a tenth of a
# second. Is the score worth anything? Here all 729 cells of a small space were also trained alone, to the end, with
# three seeds each. So the question has an answer.
#
# **Afterwards you can**
#
# 1. write the three samplers that one-shot methods use: uniform, strictly fair and sandwich;
# 2. say what each of them makes equal, and what it leaves to chance;
# 3. explain why a supernet's batch-normalisation statistics are wrong for every single architecture, and renew them;
# 4. judge a ranking by Kendall's τ with a confidence interval, beside a rival that costs nothing.
#
# **You need** notebook 00, or an idea of what a search space is.
#
# | preset | what it runs | time, two CPU cores |
# |---|---|---|
# | `smoke` | a few steps with each sampler: only proves that every cell works | 10 seconds |
# | `quick` | three trainings of 48 passes over 1,000 digits, 60 architectures | 55 seconds, beside other work |
# | `full` | three seeds of 480 passes each, 200 architectures | not measured; about 20 minutes at the pace of `quick` |
# | `gpu` | five seeds, 400 architectures | not measured |

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu; it sets every parameter below that is None
passes: int = None  # forward passes over the training images for each sampler, in epochs of single paths
archs: int = None  # held-out architectures that are ranked
repeats: int = None  # trainings of each sampler, each with its own seed
batch_size: int = None  # images per forward pass
recalibration_batches: int = None  # batches of 128 training images for an architecture's statistics
threads: int = None  # CPU threads
seed: int = None  # of every random choice
device: str = None  # auto, cpu, cuda, cuda:1 ...
out_dir: str = None  # folder of the results; None: one per set of parameters

# %%
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from torch.nn import functional as F
from tqdm import tqdm

from nasedu import classification, course, data, plots, sampling, spaces
from nasedu.course.checks.sampling import check_fair_paths, check_lesson, check_statistics
from nasedu.data import benchmark
from nasedu.ranking import correlation
from nasedu.search import SupernetScore
from nasedu.task import Classification, fit

cfg = course.setup("05_sampling", globals())
torch.set_num_threads(cfg.threads)
cfg

# %% [markdown]
# ## 1 · The space, its supernet, and the truth
#
# The space is the cell of NAS-Bench-201: four nodes, an operation on each of six edges. Ours has three operations:
# nothing, a plain connection, a 3×3 convolution. The task is to read real digits of 8×8 pixels, turned, moved, noisy.

# %%
truth = benchmark.load("cells_digits")
space = spaces.create("nasbench201", **truth.space_options)
train_set = data.classification(split="train", size=truth.meta["training"]["images"], **truth.task).to(cfg.device)
val_set = data.classification(split="val", **truth.task).to(cfg.device)
operations = [name.replace("nor_", "") for name in space.decisions[0].choices]
Markdown(
    f"**{space.size} cells**, {len(space.decisions)} decisions ({', '.join(d.name for d in space.decisions)}), each "
    f"with {len(operations)} choices: {', '.join(operations)}. {len(train_set)} training images."
)

# %% [markdown]
# The truth, first as a picture: how accurate are the 729 cells when each is trained alone? The spike on the left are
# cells through which nothing flows from input to output: they guess. Those at 40 % pass the signal on, but through no
# convolution. All others lie within 20 points.

# %%
scores = truth.scores("test")
label = "test accuracy (%), mean of three trainings"
figures = {"truth": plots.histogram({"": scores}, xlabel=label, ylabel="share of the cells (%)")}
figures["truth"]

# %% [markdown]
# ## 2 · What one step trains
#
# A path is one index per decision. A hard path runs one operation on each edge, so a step costs no more than a step of
# that architecture alone. **Uniform** sampling (SPOS) draws every index alike. From scratch:


# %%
def uniform_path(choices, generator):
    return tuple(int(torch.randint(n, (), generator=generator)) for n in choices)


def seeded(seed=cfg.seed):
    return torch.Generator().manual_seed(seed)


uniform = sampling.Uniform()
assert uniform.paths(space, seeded()) == [uniform_path(space.choices, seeded())]

# %% [markdown]
# Uniform is fair *on average*. In a finite training some choice is ahead. **Strict fairness** (FairNAS) deals: with K
# choices, a step runs K paths on the same images, so that on every edge each choice runs exactly once. Gradients of the
# K paths add up, then the optimizer steps **once**. (One optimizer step after each path would let the first path change
# what the second one trains.)
#
# The lead of each operation on one edge over 200 forward passes, under either sampler:

# %%
fair = sampling.StrictFairness()


def counts(sampler, passes=200, decision=0):
    """How often each step trains each choice of a decision: (steps, choices)."""
    generator, rows = seeded(), []
    while sum(map(sum, rows)) < passes:
        drawn = [path[decision] for path in sampler.paths(space, generator)]
        rows.append(np.bincount(drawn, minlength=space.choices[decision]).tolist())
    return np.array(rows)


counted = {"uniform": counts(uniform), "strict fairness": counts(fair)}
leads = {name: np.cumsum(count - count.mean(1, keepdims=True), axis=0) for name, count in counted.items()}
panels = {name: dict(zip(operations, lead.T, strict=True)) for name, lead in leads.items()}
labels = {"xlabel": "optimizer step", "ylabel": f"times trained on edge {space.decisions[0].name}\n(less the mean)"}
figures["fairness"] = plots.lines(panels, **labels)
figures["fairness"]

# %% [markdown]
# Left: the lines drift apart; at times one operation is many steps ahead. Right: all three lie on zero, after every
# step.

# %%
lead = {name: int(np.ptp(count.sum(0))) for name, count in counted.items()}
assert lead["strict fairness"] == 0 < lead["uniform"]
Markdown(f"After 200 passes the most trained operation is {lead['uniform']} passes ahead under uniform sampling.")

# %% [markdown]
# ### Exercise 05.1: paths of equal chances
# *Difficulty 2 of 3, about 10 min.* All decisions have the same number K of choices. Return K paths, as tuples of
# indices, such that every choice of every decision is on exactly one of them, all such sets being equally likely.
# `choices` is the list of K's, one per decision; draw from `generator`.
#
# <details><summary>Hint 1</summary>torch.randperm(K, generator=generator) is a random order of K choices.</details>
# <details><summary>Hint 2</summary>One permutation for each decision; path k takes entry k of each. zip(*lists) turns
# rows into columns.</details>


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
# The same from scratch beside the package's, as a property: each column of a step's paths is a permutation. Uniform
# draws break it almost always.


# %%
def is_fair(paths):
    """Whether every choice of every decision is on exactly one of the paths."""
    columns = zip(*paths, strict=True)
    return all(sorted(column) == list(range(n)) for column, n in zip(columns, space.choices, strict=True))


def dealt(generator):
    orders = [torch.randperm(n, generator=generator).tolist() for n in space.choices]
    return list(zip(*orders, strict=True))


generator = seeded()
assert all(is_fair(dealt(generator)) and is_fair(fair.paths(space, generator)) for _ in range(100))
three = [[uniform_path(space.choices, generator) for _ in range(3)] for _ in range(100)]
Markdown(f"Three uniform paths were fair in {sum(map(is_fair, three))} of 100 steps.")

# %% [markdown]
# ## 3 · The sandwich
#
# The third idea comes from slimmable networks: every step runs the **biggest** network, the **smallest**, and two
# random ones in between. What lies between two good bounds should be good, too. And the biggest teaches the others: it
# learns from the labels, they learn from *its* predictions.
#
# By MACs the smallest cell of this space has nothing on any edge. No signal passes, and nothing can be taught, so
# our smallest network is the cheapest one that works: plain connections everywhere.

# %%
biggest, smallest = (operations.index("conv_3x3"),) * 6, (operations.index("skip_connect"),) * 6
sandwich = sampling.Sandwich(biggest, smallest, n=4)
by_macs = sampling.create("sandwich", space)
assert by_macs.smallest == (operations.index("none"),) * 6  # what MACs alone would choose
sandwich.paths(space, seeded())

# %% [markdown]
# ### Exercise 05.2: the teacher's lesson
# *Difficulty 2 of 3, about 10 min.* `student` and `teacher` are logits (images, classes). With
# $p = \operatorname{softmax}(\text{teacher})$ and $q = \operatorname{softmax}(\text{student})$, return the mean over
# the images of $-\sum_c p_c \log q_c$. No gradient may reach the teacher, which would otherwise learn to agree with its
# students.
#
# <details><summary>Hint 1</summary>F.cross_entropy also takes probabilities as its target.</details>
# <details><summary>Hint 2</summary>`.detach()` cuts a tensor off from what made it.</details>


# %% tags=["stub"]
def lesson(student, teacher):
    raise NotImplementedError


# %% tags=["solution"]
def lesson(student, teacher):
    return F.cross_entropy(student, teacher.detach().softmax(1))


# %% tags=["nbval-check-output"]
check_lesson(lesson)

# %% [markdown]
# One step of a sandwich from scratch, and the same step by the package. Gradients add up over the four paths:


# %%
def sandwich_gradients(net, x, y, paths):
    net.zero_grad()
    teacher = None
    for path in paths:
        logits = net(x, path)
        loss = F.cross_entropy(logits, y if teacher is None else teacher)
        loss.backward()
        teacher = logits.detach().softmax(1) if teacher is None else teacher
    return [p.grad.clone() for p in net.parameters() if p.grad is not None]


def package_gradients(net, x, y, generator):
    net.zero_grad()
    task = Classification(train_set)  # gives the loss
    for losses in sampling.supernet_step(space, sandwich, task)(net, (x, y), generator):
        losses["total"].backward()
    return [p.grad.clone() for p in net.parameters() if p.grad is not None]


# %%
torch.manual_seed(cfg.seed)
net, x, y = space.supernet().to(cfg.device), train_set.images[:32], train_set.labels[:32]
ours = sandwich_gradients(net, x, y, sandwich.paths(space, seeded()))
theirs = package_gradients(net, x, y, seeded())
assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(ours, theirs, strict=True))
f"{len(ours)} weight tensors got the same gradient"

# %% [markdown]
# ## 4 · Train three supernets
#
# All three get the **same number of forward passes**. So strict fairness, with 3 paths per step, takes a third of the
# steps that uniform sampling takes, and the sandwich a quarter. A step is one call of the optimizer in all three.

# %%
samplers = {"uniform": uniform, "strict fairness": fair, "sandwich": sandwich}


def epochs(sampler):
    """Passes over the images so that all samplers run equally many forward passes."""
    return max(1, round(cfg.passes / len(sampler.paths(space, seeded()))))


def train_supernet(name, seed):
    torch.manual_seed(seed)
    net, sampler = space.supernet(), samplers[name]
    task = Classification(train_set, batch_size=cfg.batch_size, seed=seed)
    step, recipe = sampling.supernet_step(space, sampler, task), classification.recipe(epochs(sampler))
    with tqdm(total=recipe.epochs, desc=name, unit="epoch", leave=False) as bar:
        follow = {"progress": lambda done, *_: bar.update(done - bar.n)}
        state = cfg.out_dir / f"{name.replace(' ', '-')}-{seed}.pt"
        return fit(net, task, recipe, step, seed=seed, device=cfg.device, state=state, **follow)


seeds = [cfg.seed + i for i in range(cfg.repeats)]
trained = {name: [train_supernet(name, seed) for seed in seeds] for name in samplers}

# %% [markdown]
# Loss on the labels over the passes. In the sandwich it is the biggest network's alone, and so it is no measure of
# how good the others are.

# %%
curves = {}
for name in samplers:
    history = trained[name][0].history
    passes = np.arange(1, len(history) + 1) * len(samplers[name].paths(space, seeded()))
    curves[name] = pd.Series([h["labels"] for h in history], passes)
labels = {"xlabel": "forward passes over the training images", "ylabel": "cross-entropy"}
figures["training"] = plots.lines(curves, **labels)
figures["training"]

# %% [markdown]
# ## 5 · Whose statistics?
#
# Batch normalisation keeps a running mean and variance of what flows through it. In a supernet that is a mixture over
# all paths: **wrong for each of them**. Before an architecture is judged, its own statistics are computed from a few
# batches of training images: reset, average over the batches (no gradient, no weight moves), judge, put back.
#
# Six cells, judged with the statistics of the supernet (circles) and with their own (squares):

# %%
rng = np.random.default_rng(cfg.seed)
supernet = trained["uniform"][0].model


def judge(net):
    task = Classification(train_set, val_set, batch_size=128, seed=cfg.seed)
    return SupernetScore(space, net, task, batches=cfg.recalibration_batches)


def raw(net, arch):
    return classification.accuracy(net, val_set, lambda net, x: net(x, arch))


good = [space.parse(text) for text in scores.nlargest(300).index[::50]]
before = {f"cell {i + 1}": 100 * raw(supernet, arch) for i, arch in enumerate(good)}
after = {f"cell {i + 1}": 100 * judge(supernet)(arch) for i, arch in enumerate(good)}
both = {"the supernet's statistics": before, "their own": after}
figures["statistics"] = plots.dots(both, xlabel="supernet accuracy (%)", xlim=(0, None))
figures["statistics"]

# %%
gain = np.mean([after[name] - before[name] for name in before])
Markdown(f"On average their own statistics change the accuracy by **{gain:+.1f} points**, with the same weights.")

# %% [markdown]
# ### Exercise 05.3: statistics for the network at hand
# *Difficulty 2 of 3, about 10 min.* `batches` is a list of tensors (B, C, H, W), all of the same shape. Return the
# running mean and variance (C,) that recalibration gives a batch normalisation: plain averages of the batches' means
# and of their unbiased variances, over B, H and W.
#
# <details><summary>Hint 1</summary>batch.mean((0, 2, 3)) is a mean for every channel; batch.var((0, 2, 3)) is the
# unbiased variance.</details>
# <details><summary>Hint 2</summary>torch.stack the batches' results, then average over the first axis. Nothing of the
# old statistics remains.</details>


# %% tags=["stub"]
def statistics(batches):
    raise NotImplementedError


# %% tags=["solution"]
def statistics(batches):
    means = torch.stack([batch.mean((0, 2, 3)) for batch in batches])
    variances = torch.stack([batch.var((0, 2, 3)) for batch in batches])
    return means.mean(0), variances.mean(0)


# %% tags=["nbval-check-output"]
check_statistics(statistics)

# %% [markdown]
# The package's `recalibrate` gives just these averages:

# %%
from nasedu.supernet.batchnorm import recalibrate

norm, many = torch.nn.BatchNorm2d(4), [torch.randn(16, 4, 5, 5) + i for i in range(3)]
recalibrate(norm, many, lambda norm, x: norm(x))
assert torch.allclose(norm.running_mean, torch.stack([b.mean((0, 2, 3)) for b in many]).mean(0), atol=1e-5)
assert torch.allclose(norm.running_var, torch.stack([b.var((0, 2, 3)) for b in many]).mean(0), atol=1e-5)

# %% [markdown]
# ## 6 · Does its ranking mean anything?
#
# Draw architectures that no decision of ours depended on, score them with every supernet, and compare the order with
# the truth. **Kendall's τ** looks at pairs: the share of pairs in the right order less the share in the wrong one.
# 1 is the same order, 0 is no relation, −1 the reverse. From scratch, without ties:


# %%
def kendall(scores, truth):
    pairs = [(i, j) for i in range(len(scores)) for j in range(i)]
    return np.mean([np.sign((scores[i] - scores[j]) * (truth[i] - truth[j])) for i, j in pairs])


a, b = rng.normal(size=(2, 20))
assert abs(kendall(a, b) - correlation(a, b).value) < 1e-12
assert round(kendall([1, 2, 3, 4, 5], [1, 3, 2, 5, 4]), 3) == 0.6

# %% [markdown]
# With ties, the package uses τ-b: tied pairs are taken out of what could be reached. Its interval resamples the
# architectures (bootstrap), so it says how much τ would change with *other architectures*. The spread between trainings
# is another matter, and needs `repeats`.

# %%
distinct = scores[truth.distinct]  # twins, which compute the same, would count as evidence twice
held_out = [space.parse(text) for text in distinct.sample(min(cfg.archs, len(distinct)), random_state=cfg.seed).index]
true = [truth.score(space.format(arch)) for arch in held_out]


def scored(net, name):
    score = judge(net)
    return [100 * score(arch) for arch in tqdm(held_out, desc=name, unit="cell", leave=False)]


accuracies = {name: [scored(t.model, name) for t in runs] for name, runs in trained.items()}

# %% [markdown]
# Each point is a cell: to the right, what the supernet thinks of it; upwards, what it can really do. In the titles τ
# and its 95 % interval.

# %%
by_name = {name: runs[0] for name, runs in accuracies.items()}
taus = {name: correlation(values, true, seed=cfg.seed) for name, values in by_name.items()}
titles = {name: f"{name}\nτ = {c.value:.2f} [{c.low:.2f}, {c.high:.2f}]" for name, c in taus.items()}
points = {titles[name]: {name: (values, true)} for name, values in by_name.items()}
labels = {"xlabel": "supernet accuracy (%)", "ylabel": "true accuracy (%)", "legend": "none"}
figures["scatter"] = plots.scatter(points, **labels)
figures["scatter"]

# %% [markdown]
# ### Beside what?
#
# A τ by itself says little. Two rivals put it in its place. **Counting MACs** costs nothing: a dearer cell is often a
# better one. And **one whole training** of each cell alone, compared with the mean of the other two trainings, says how
# noisy the truth is.

# %%
texts = [space.format(arch) for arch in held_out]
one = [truth.score(text, seed=truth.seeds[0]) for text in texts]
others = [np.mean([truth.score(text, seed=s) for s in truth.seeds[1:]]) for text in texts]
taus["counting MACs"] = correlation([truth.frame.loc[text, "macs"] for text in texts], true, seed=cfg.seed)
taus["one training of each"] = correlation(one, others, seed=cfg.seed)


def ends(found):
    """Of an axis that holds 0, all intervals and 1."""
    return min(0.0, *(c.low for c in found.values())) - 0.02, 1.02


figures["taus"] = plots.dots(taus, xlabel="Kendall τ with the truth", xlim=ends(taus)).guide(x=0)
figures["taus"]

# %% [markdown]
# A row for each score: the marker is τ, the bar its 95 % interval; 0 would be no relation at all.
#
# Much of that is easy: to tell cells without a convolution from the others, or poor ones from fair ones. A search has
# to tell the good from the best. So the same once more among the better half of the held-out cells. For one training,
# the better half is cut by the mean of the *other* two: a mean that it is part of would favour cells with a lucky first
# training.

# %%
better = np.array(true) >= np.median(true)
few = np.array(true)[better]
better_taus = {name: correlation(np.array(v)[better], few, seed=cfg.seed) for name, v in by_name.items()}
macs = np.array([truth.frame.loc[text, "macs"] for text in texts])[better]
better_taus["counting MACs"] = correlation(macs, few, seed=cfg.seed)
apart = np.array(others) >= np.median(others)  # the first training has no part in this cut
better_taus["one training of each"] = correlation(np.array(one)[apart], np.array(others)[apart], seed=cfg.seed)
label = "Kendall τ among the better half"
figures["better_half"] = plots.dots(better_taus, xlabel=label, xlim=ends(better_taus)).guide(x=0)
figures["better_half"]

# %%
table = pd.DataFrame(
    [
        {"score": name, "tau": c.value, "low": c.low, "high": c.high, "n": c.n, "tied pairs": c.ties}
        | {"tau, better half": better_taus[name].value, "low ": better_taus[name].low, "high ": better_taus[name].high}
        for name, c in taus.items()
    ]
).set_index("score")
table.round(2)

# %% [markdown]
# ### What the numbers say


# %%
def verdict(name):
    mine, half, free = taus[name], better_taus[name], taus["counting MACs"].value
    means = "is better than chance" if mine.low > 0 else "may owe its order to chance"
    rival = (
        "better than" if mine.value > free + 0.05 else "worse than" if mine.value < free - 0.05 else "no better than"
    )
    top = "still tells them apart" if half.low > 0 else "can't be told from guessing"
    return f"- **{name}** (τ = {mine.value:.2f}) {means}, and is {rival} counting MACs; among the better half it {top}."


picks = {name: texts[int(np.argmax(values))] for name, values in by_name.items()}
lost = {name: max(true) - truth.score(text) for name, text in picks.items()}
lines = [
    verdict(name) + f" Its favourite lies {lost[name]:.1f} points below the best of the {cfg.archs}." for name in picks
]
Markdown("\n".join(lines))

# %% [markdown]
# With `repeats` above 1, the same from other seeds of the *training*: mean and standard deviation of τ. Where two
# samplers lie closer than that, nothing is known about which one is better.

# %%
by_seed = {name: [correlation(v, true, resamples=1).value for v in runs] for name, runs in accuracies.items()}
spread = {
    name: f"{np.mean(v):.2f} ± {np.std(v, ddof=1):.2f}" if len(v) > 1 else f"{v[0]:.2f}" for name, v in by_seed.items()
}
Markdown(f"τ over {cfg.repeats} training(s): " + ", ".join(f"{name} {text}" for name, text in spread.items()) + ".")

# %% [markdown]
# ## Summary
#
# - A sampler chooses the paths of a step. One training loop serves all of them: gradients add up, the optimizer steps
#   once.
# - Uniform is fair on average, strict fairness in every step, and the sandwich looks after the bounds.
# - Without its own batch-normalisation statistics an architecture's score is meaningless.
# - A ranking is judged by τ with an interval and beside rivals: counting MACs, and one full training.
#
# **Pitfalls**
#
# - *Equal steps are not equal work.* A fair step costs K forward passes. Compare at equal passes, as here.
# - *Stepping after every path* balances the counts, but it is not strict fairness.
# - *A teacher that learns from its students.* Forgetting to detach raises no error.
# - *τ on all architectures* flatters a score that merely spots the broken ones. Look at the better half.
# - *One training.* The interval shown is over architectures. Another seed moves τ as well.
#
# **Further reading**
#
# - Uniform paths and recalibration: Guo et al., *Single Path One-Shot Neural Architecture Search with Uniform
#   Sampling*, ECCV 2020
# - Strict fairness: Chu, Zhang, Xu, *FairNAS: Rethinking Evaluation Fairness of Weight Sharing Neural Architecture
#   Search*, ICCV 2021
# - Sandwich and in-place distillation: Yu, Huang, *Universally Slimmable Networks and Improved Training Techniques*,
#   ICCV 2019
# - The cell: Dong, Yang, *NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search*, ICLR 2020
# - A sceptic's view: Yu et al., *Evaluating the Search Phase of Neural Architecture Search*, ICLR 2020

# %%
course.finish(
    cfg,
    summary=table.round(4),
    figures=figures,
    results={
        "correlations": table.to_dict("index"),
        "tau_by_seed": by_seed,
        "recalibration_gain": gain,
        "regret_of_favourites": lost,
        "lead_of_most_trained": lead,
    },
)
