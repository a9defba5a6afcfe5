# %% [markdown]
# # Random search, evolution and their rivals
#
# Five searches that need nothing but an evaluator, judged against a space whose every architecture is known.
#
# Random search draws architectures and keeps the best. Evolution breeds from the best. Local search climbs. A predictor
# learns which architecture to ask about next. All of them ask an **evaluator** (any function from an architecture to a
# score) about one architecture at a time. They need no gradients and no supernet. Here the evaluator is a **benchmark
# table** that holds the accuracy of every architecture, so a whole search takes milliseconds. That is why each search
# can be repeated with many seeds, which is what it takes to tell skill from luck.
#
# **Afterwards you can**
#
# 1. write random search, evolution, local search and a predictor in a few lines each, and use the package's;
# 2. say what mutation, crossover, tournament size and ageing do, in numbers;
# 3. search under a budget of computation;
# 4. draw an honest any-time curve, and say with an interval whether a search beats random search at equal cost;
# 5. tell a search that failed from an evaluator that misled it.
#
# **You need** notebook 00, or an idea of what a search space is.
#
# | preset | what it runs | time, two CPU cores |
# |---|---|---|
# | `smoke` | 4 seeds of 40 evaluations: only proves that every cell works | 10 seconds |
# | `quick` | 30 seeds of 150 evaluations | 105 seconds, beside other work |
# | `full` | 200 seeds of 300 evaluations | not measured |
# | `gpu` | 500 seeds; nothing here needs a GPU | not measured |

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu; it sets every parameter below that is None
benchmark: str = None  # table of trained architectures to search
data_root: str = None  # folder that holds nb201; None: the one that NASEDU_DATA names, if any
seeds: int = None  # repetitions of every search, at least 2
budget: int = None  # evaluations of a search, 30 to all 729 architectures
noise: float = None  # standard deviation of the errors that section 6 adds to accuracies, points
large_seeds: int = None  # repetitions of every search on NAS-Bench-201, at least 2
large_budget: int = None  # evaluations of a search on NAS-Bench-201, at least 30
widget_seeds: int = None  # repetitions each time the widget is moved
threads: int = None  # CPU threads
seed: int = None  # of every random choice; the first of the seeds
device: str = None  # auto, cpu, cuda, cuda:1 ...
out_dir: str = None  # folder of the results; None: one per set of parameters

# %%
import itertools
import json
from contextlib import suppress
from dataclasses import replace
from math import comb

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from sklearn.ensemble import RandomForestRegressor
from sklearn.preprocessing import OneHotEncoder

from nasedu import course, data, errors, origin, plots, ranking, search, spaces, tables
from nasedu.course.checks.evolution import (
    check_band,
    check_catch_up,
    check_crossover,
    check_evidence,
    check_mutate,
    check_restarts,
    check_split,
    check_tournament,
)
from nasedu.data import benchmark as benchmarks
from nasedu.search import EvolutionConfig, SearchConfig, evolution, local_search, random_search
from nasedu.tables import LookupTable

choices = {"benchmark": benchmarks.STORED}  # a wrong name costs seconds
cfg = course.setup("07_random_and_evolution", globals(), choices=choices)
cfg

# %% [markdown]
# Values that cannot work are refused here, before anything runs.

# %%
bench = benchmarks.load(cfg.benchmark)
limits = {"seeds": (2, 10_000), "budget": (30, len(bench)), "threads": (1, 256)}
limits |= {"large_seeds": (2, 1000), "large_budget": (30, 15_625), "widget_seeds": (1, 1000)}
for name, (least, most) in limits.items():
    errors.check_whole(name, getattr(cfg, name), least, most)
errors.check_number("noise", cfg.noise, most=100)
large = benchmarks.nasbench201(cfg.data_root) if cfg.data_root else None  # else a sentence
with suppress(errors.DataError):  # where no folder was named, section 11 shows what is stored
    large = large or benchmarks.nasbench201()
torch.set_num_threads(cfg.threads)
SEEDS = range(cfg.seed, cfg.seed + cfg.seeds)
where = "here" if large else "not here"
print(f"{cfg.seeds} seeds, {cfg.budget} evaluations each; NAS-Bench-201 is {where}")

# %% [markdown]
# ## 1 · A space without secrets
#
# The space holds cells of six edges. Each edge has three choices, which makes 729 networks (notebook 00 draws the
# space). This project trained all of them to the end on real digits, with three seeds each. Every dot is one network.
# Networks fall into columns because almost all MACs are 3×3 convolutions: one column per count.

# %%
space = spaces.create("nasbench201", **bench.space_options)
macs = LookupTable.build(space, "macs")
val, test = bench.scores("val"), bench.scores("test")  # means of three seeds, by architecture
labels = {"xlabel": "MACs", "ylabel": "test accuracy (%), mean of 3 seeds"}
figures = {"truth": plots.landscape(bench.frame.macs, test, **labels)}
figures["truth"]

# %% [markdown]
# Some of the 729 are the same network under two names or more. An edge changes nothing if its start cannot be reached,
# or if its end leads nowhere. And on a way through two edges it does not matter which of them is the skip.

# %%
Markdown(
    f"729 strings, but only **{len(bench.distinct)} different trainings**: cells with the same "
    "scores to the last digit in every training are **twins**. A search that visits a twin spends "
    "an evaluation and learns nothing new. NAS-Bench-201 has twins, too."
)

# %% [markdown]
# Each network has two accuracies. A search looks at **validation** accuracy and is judged by **test** accuracy. If it
# were judged by what it chose by, its luck would count as its merit.

# %%
evaluate = bench.evaluator(space, "val")
seeds_apart = np.mean([test.sub(bench.scores("test", seed=s)).abs().mean() for s in bench.seeds])
Markdown(
    f"Test accuracies reach from {test.min():.0f} to {test.max():.1f} %, the middle is "
    f"{test.median():.1f} %. One seed differs from the mean of the three by {seeds_apart:.1f} "
    "points on average."
)

# %% [markdown]
# ## 2 · Random search
#
# From scratch: draw until the budget is spent, never ask twice, keep the best. The package's `random_search` uses other
# random numbers, so the two ask about different architectures. But with a budget of all 729 both must end at the same
# best score.


# %%
def my_random_search(space, evaluate, budget, rng):
    """The best architecture, and the scores of all that were asked about."""
    history = {}
    while len(history) < budget:
        arch = space.sample(rng)
        if arch not in history:  # what was asked before costs nothing and tells nothing
            history[arch] = evaluate(arch)
    return max(history, key=history.get), history


mine, asked = my_random_search(space, evaluate, space.size, np.random.default_rng(cfg.seed))
theirs = random_search(space, evaluate, SearchConfig(budget=space.size), seed=cfg.seed)
print(f"from scratch: best of {len(asked)} is {evaluate(mine):.3f} %")
print(f"package: best of {len(theirs.history)} is {theirs.score:.3f} %")
assert evaluate(mine) == theirs.score == val.max(), "whoever asks about all must find the best"

# %% [markdown]
# **Regret** is how far the best found lies below the best there is, in percentage points of accuracy. How much of it is
# left when $n$ of $N$ architectures were drawn? That can be computed without a single search. The chance that $n$
# different draws miss all of the best $r$ is $\binom{N-r}{n} / \binom{N}{n}$. The chance that the best draw has rank
# $r$ is then $\binom{N-r}{n-1} / \binom{N}{n}$. The expected regret is the regret of each rank times its chance, summed
# over all ranks.

# %%
regrets = np.sort(val.max() - val.to_numpy())  # of all architectures, the best first
counts = np.arange(1, cfg.budget + 1)


def best_of(n):
    """Mean and standard deviation of the regret of the best of n different draws."""
    N = len(regrets)
    chance = np.array([comb(N - r, n - 1) / comb(N, n) for r in range(1, N - n + 2)])
    mean = chance @ regrets[: len(chance)]
    return mean, np.sqrt(max(0.0, chance @ regrets[: len(chance)] ** 2 - mean**2))


theory, spread = np.array([best_of(n) for n in counts.tolist()]).T
shown = sorted({1, 10, cfg.budget})
print("expected regret after", ", ".join(f"draw {n}: {theory[n - 1]:.2f} points" for n in shown))

# %% [markdown]
# The package's searches must agree with that. The cell compares the mean regret over all evaluations of a search. The
# figure shows both means, and the *median* of the searches in a band that holds the middle half of them.

# %%
plain = SearchConfig(budget=cfg.budget)
drawn = [random_search(space, evaluate, plain, seed=s).anytime() for s in SEEDS]
drawn = val.max() - np.array(drawn)  # (seeds, evaluations)
allowed = 6 * spread.mean() / np.sqrt(cfg.seeds)  # six standard errors or more
print(f"mean regret, theory: {theory.mean():.2f}")
print(f"mean regret, {cfg.seeds} searches of the package: {drawn.mean():.2f}")
assert abs(drawn.mean() - theory.mean()) < allowed, "the searches must agree with the theory"
means = {"mean, theory": theory[None], "mean, searches": drawn.mean(axis=0, keepdims=True)}
lines = means | {"median, searches": drawn}
figures["theory"] = plots.anytime({"random search": lines}, first=5)
figures["theory"].legends[0].set_title("")  # not all of them are medians
figures["theory"]

# %% [markdown]
# Where the searches' mean lies above their median, a few unlucky seeds pull it up. That is why this notebook draws
# medians and quartiles.
#
# Random search is blind: its 20th draw knows nothing of the 19 before it. A better search learns from them, which works
# only if similar architectures have similar accuracies. The figure takes all pairs of architectures that differ in one
# edge, in two, and so on, and shows how far apart their accuracies are on average. The second line takes only pairs
# whose first member is among the best tenth.

# %%
grid = np.array([space.parse(text) for text in val.index])
apart = (grid[:, None] != grid[None]).sum(axis=-1)  # edges in which two cells differ
gap = np.abs(val.to_numpy()[:, None] - val.to_numpy()[None])
good = val.to_numpy() >= val.quantile(0.9)
near = {
    "all pairs": [gap[apart == d].mean() for d in range(1, 7)],
    "from the best tenth": [gap[good][apart[good] == d].mean() for d in range(1, 7)],
}
labels = {"xlabel": "edges that differ", "ylabel": "mean difference in\naccuracy (points)"}
figures["alike"] = plots.lines(near, ylim=(0, None), **labels)
figures["alike"]

# %% [markdown]
# Two cells that differ in one edge are closer in accuracy than two random cells. All searches below rely on that.
#
# ## 3 · Mutation
#
# An architecture is a list of decisions; evolution calls them **genes**. A child is a copy of its parent in which some
# genes are drawn again, here with probability ½. In the figure each row is an architecture and each box a gene.

# %%
rng = np.random.default_rng(cfg.seed)
parent = space.parse(val.idxmax())
rows = {"parent": parent} | {f"child {i}": space.mutate(parent, rng, 0.5) for i in (1, 2, 3)}
changed = {name: [2 * (a != b) for a, b in zip(c, parent, strict=True)] for name, c in rows.items()}
figures["mutation"] = plots.genes(space, rows, changed, ("parent's", "", "changed"))
figures["mutation"]

# %% [markdown]
# A gene that is *redrawn* may come out as it was. If it is redrawn with probability $p$ and has $n$ choices, it
# *changes* with probability $p\,(1 - 1/n)$.
#
# ### Exercise 07.1: mutation
# *Difficulty 1 of 3, about 10 min.* Return a child of `arch`: redraw every gene with probability `p`, independently of
# the others, uniformly over its `choices[i]` choices. Draw from `rng` (a NumPy generator) only.
#
# <details><summary>Hint 1</summary>One coin for each gene: <code>rng.random() &lt; p</code>.</details>
# <details><summary>Hint 2</summary><code>rng.integers(n)</code> draws from 0 to n − 1.</details>


# %% tags=["stub"]
def mutate(arch, choices, p, rng):
    raise NotImplementedError


# %% tags=["solution"]
def mutate(arch, choices, p, rng):
    pairs = zip(arch, choices, strict=True)
    return tuple(int(rng.integers(n)) if rng.random() < p else gene for gene, n in pairs)


# %% tags=["nbval-check-output"]
check_mutate(mutate)

# %% [markdown]
# The package's `space.mutate` changes genes as often as the formula says:

# %%
many = np.array([space.mutate(parent, rng, 0.3) for _ in range(5000)])
found, wanted = (many != np.array(parent)).mean(), 0.3 * (1 - 1 / 3)
print(f"genes that changed: package {found:.3f}, formula {wanted:.3f}")
assert abs(found - wanted) < 0.02, "genes must change with probability p (1 - 1/n)"

# %% [markdown]
# ## 4 · Crossover
#
# A child of two parents takes some genes from each. **Single-point**: at a random cut the genes before it come from the
# mother, the others from the father. **Uniform**: a coin decides for every gene. A single cut parts only one pair of
# neighbours, so it suits spaces in which neighbouring genes work together. The mother below is the best cell, the
# father the 40th.

# %%
mother, father = (space.parse(text) for text in val.nlargest(40).index[[0, -1]])
archs, origins = {"mother": mother, "father": father}, {"mother": [0] * 6, "father": [1] * 6}
tags = (0,) * 6, (1,) * 6  # crossed with the same generator they tell where every gene comes from
for kind in ("single_point", "uniform"):
    archs[kind] = space.crossover(mother, father, np.random.default_rng(1), kind)
    origins[kind] = space.crossover(*tags, np.random.default_rng(1), kind)
figures["crossover"] = plots.genes(space, archs, origins, ("mother's", "father's"))
figures["crossover"]

# %% [markdown]
# ### Exercise 07.2: single-point crossover
# *Difficulty 1 of 3, about 5 min.* Return a child of the tuples `a` and `b`: the genes of `a` before a random cut,
# those of `b` from there on. Both must give at least one gene, and every such cut must be equally likely.
#
# <details><summary>Hint 1</summary>With n genes the cut lies at 1, 2, … or n − 1.</details>
# <details><summary>Hint 2</summary><code>rng.integers(low, high)</code> never returns <code>high</code>.</details>


# %% tags=["stub"]
def crossover(a, b, rng):
    raise NotImplementedError


# %% tags=["solution"]
def crossover(a, b, rng):
    cut = int(rng.integers(1, len(a)))
    return a[:cut] + b[cut:]


# %% tags=["nbval-check-output"]
check_crossover(crossover)

# %% [markdown]
# ## 5 · Who becomes a parent?
#
# There are two common rules. **Top k**: the parent is any of the best $k$ of the population, each equally likely.
# **Tournament**: $k$ members are drawn, and the best of them is the parent. In a population of $P$ the member of rank
# $r$ wins a tournament with probability $\binom{P-r}{k-1} / \binom{P}{k}$. With a large $k$ a tournament is greedy: the
# few best become parents almost always. For top k it is the other way round: a *small* $k$ is greedy.

# %%
P = 20  # members of the population
ranks = range(1, P + 1)
chances = {}
for k in (2, 5, 10):
    chances[f"tournament, k = {k}"] = [comb(P - r, k - 1) / comb(P, k) for r in ranks]
chances["top k, k = 5"] = [1 / 5 if r <= 5 else 0 for r in ranks]
assert all(abs(sum(values) - 1) < 1e-12 for values in chances.values()), "someone must win"
labels = {"xlabel": "rank in the population", "ylabel": "probability to be a parent"}
figures["selection"] = plots.lines(chances, ylim=(0, None), **labels)
figures["selection"]

# %% [markdown]
# ### Exercise 07.3: tournament selection
# *Difficulty 2 of 3, about 10 min.* Draw `k` **different** members of the population at random, with `rng` only, and
# return the index of the one with the highest of `scores`.
#
# <details><summary>Hint 1</summary><code>rng.choice(n, k, replace=False)</code> draws k different indices.</details>
# <details><summary>Hint 2</summary>The answer is a place in the population, not one in the tournament.</details>


# %% tags=["stub"]
def tournament(scores, k, rng):
    raise NotImplementedError


# %% tags=["solution"]
def tournament(scores, k, rng):
    drawn = rng.choice(len(scores), k, replace=False)
    return max(drawn.tolist(), key=lambda i: scores[i])


# %% tags=["nbval-check-output"]
check_tournament(tournament)

# %% [markdown]
# ## 6 · Evolution
#
# From scratch: start with a random population, then breed from the best `k` seen so far until the budget is spent. The
# last lines run it once:


# %%
def my_evolution(space, evaluate, budget, rng, population=20, k=5, p=0.2):
    _, history = my_random_search(space, evaluate, population, rng)
    while len(history) < budget:
        best = sorted(history, key=history.get, reverse=True)[:k]
        child = space.mutate(best[rng.integers(k)], rng, p)
        if rng.random() < 0.5:
            child = space.crossover(child, best[rng.integers(k)], rng)
        while child in history:  # no architecture is paid for twice: mutate on
            child = space.mutate(child, rng, p)
        history[child] = evaluate(child)
    return max(history, key=history.get), history


best, _ = my_evolution(space, evaluate, cfg.budget, np.random.default_rng(cfg.seed))
print(space.format(best))
print(f"accuracy {evaluate(best):.2f} %, regret {val.max() - evaluate(best):.2f} points")

# %% [markdown]
# The package's `evolution` uses other random numbers, so the two do not find the same architectures. But breeding must
# do the same in both: the first children are better on average than random architectures.

# %%
config = EvolutionConfig(budget=cfg.budget, population=20, children=10, k=5, mutation=0.2)


def scores_of(seed):
    """The scores in the order in which they were asked for: from scratch, and the package's."""
    mine = my_evolution(space, evaluate, cfg.budget, np.random.default_rng(seed))[1]
    theirs = evolution(space, evaluate, config, seed=seed).history
    return list(mine.values()), [record["score"] for record in theirs]


many = range(cfg.seed, cfg.seed + max(30, cfg.seeds))  # a few seeds could differ by luck
pairs = np.array([scores_of(s) for s in many])  # (seeds, 2, evaluations)
bred = pairs[:, :, 20:40].mean(axis=(0, 2))  # the first children
print(f"mean accuracy of all: {val.mean():.1f} %")
print(f"of the first children: from scratch {bred[0]:.1f} %, package {bred[1]:.1f} %")
assert min(bred) > val.mean(), "children of good parents must be better than random architectures"

# %% [markdown]
# Beside them random search, with as many evaluations:

# %%
curves = {
    f"evolution, {who}": val.max() - np.maximum.accumulate(pairs[: cfg.seeds, i], axis=1)
    for i, who in enumerate(("from scratch", "package"))
}
curves["random search"] = drawn
figures["scratch"] = plots.anytime({"two evolutions": curves}, first=5)
figures["scratch"]

# %% [markdown]
# The same in numbers. Section 10 shows how sure one may be of such a difference.

# %%
medians = {name: float(np.median(values[:, -1])) for name, values in curves.items()}
behind = [name for name in list(curves)[:2] if medians[name] >= medians["random search"]]
Markdown(
    f"Median regret after {cfg.budget} evaluations: "
    + ", ".join(f"{name} {value:.2f}" for name, value in medians.items())
    + (f". No lower than random search's: **{', '.join(behind)}**." if behind else ".")
)

# %% [markdown]
# ### Does it help that the oldest die?
#
# The population above holds the best so far, so a good parent breeds for ever. In **regularised evolution** (Real et
# al., 2019) the *oldest* member dies at every step, however good it is. This is called **ageing**. Its authors argue
# that it helps where evaluations are noisy: a parent that was only lucky then dies, and what lasts has to be good again
# in its children. In the package ageing is one switch, `ageing=True`.
#
# We test the argument. Every architecture gets a random error of its own, which stays the same when it is asked about
# again. So a parent can be lucky, and its children do not inherit the luck. Two evolutions differ in the switch alone.
# Both are judged by the accuracy *without* the errors. Think first: does the switch help?

# %%
guess_age = course.predict(
    f"Answers are off by {cfg.noise:g} points (standard deviation). Does ageing help?",
    ["it helps", "it harms", "too close to tell"],
)

# %% [markdown]
# The difference is taken in pairs. Two searches of one seed get the same errors and the same first 20 architectures, so
# what is luck for both cancels out. `ranking.paired` gives the mean difference and its 95 % interval (Student's).


# %%
def noisy(seed, noise):
    """The validation accuracy, off by an error that every architecture keeps."""
    values = val + np.random.default_rng(seed).normal(0, noise, len(val))
    return lambda arch: values[space.format(arch)]


# the two differ in `ageing` alone; they choose by noisy answers and are judged by exact ones
lost, pressure = {}, {"parents": "tournament", "k": 5, "crossover": None, "mutation": 0.2}
young = EvolutionConfig(population=20, children=5, budget=cfg.budget, **pressure)
for off, ageing in course.Bar(list(itertools.product((0.0, cfg.noise), (False, True))), "noise"):
    rules = replace(young, ageing=ageing)
    picks = [evolution(space, noisy(s, off), rules, seed=s).best for s in SEEDS]
    lost[off, ageing] = val.max() - np.array([evaluate(arch) for arch in picks])
regret = {key: [np.median(x), np.mean(x)] for key, x in lost.items()}
frame = pd.DataFrame(regret, ["median regret", "mean"]).T
frame.rename_axis(["noise (points)", "ageing"]).round(2)

# %% [markdown]
# Now the two evolutions in pairs of seeds:

# %%
kinds = {off: ranking.paired(lost[off, False], lost[off, True]) for off, _ in lost}
told = [f"at noise {off:g} {s.value:.2f} [{s.low:.2f}, {s.high:.2f}]" for off, s in kinds.items()]
at = kinds[cfg.noise]  # an interval that holds 0 decides nothing
guess_age.came(
    "it helps" if at.low > 0 else "it harms" if at.high < 0 else "too close to tell",
    f"Points saved by ageing, mean of {cfg.seeds} pairs and 95 % interval: {'; '.join(told)}.",
)

# %% [markdown]
# ## 7 · Local search
#
# Local search climbs. A **neighbour** of an architecture differs from it in one decision. A cell has 12 neighbours: two
# other choices at each of six edges. Go to the first neighbour that is better, and from there again, until none is.
# From scratch, and one way up from a random cell as pictures:


# %%
def climb(arch, rng):
    """The way up: always to the first neighbour that is better, until there is none."""
    moves = [(d, c) for d, n in enumerate(space.choices) for c in range(n)]
    for d, c in rng.permutation(moves).tolist():
        near = (*arch[:d], c, *arch[d + 1 :])
        if evaluate(near) > evaluate(arch):  # higher: the place itself and its equals are not
            return [arch, *climb(near, rng)]
    return [arch]


way = climb(space.sample(rng), rng)
steps = {f"{i}: {evaluate(arch):.1f} %": arch for i, arch in enumerate(way)}
figures["climb"] = plots.cells(space, steps)
figures["climb"]

# %% [markdown]
# A climb ends on a **hilltop** (a local optimum): no neighbour is better. Is it the best of all? The table knows every
# hilltop, and 300 climbs from random cells show where climbs end. Each bar is the share of them that end with a regret
# in its range.

# %%
accuracy = val.to_numpy()
hilltop = accuracy >= np.where(apart == 1, accuracy, -np.inf).max(axis=1)
ends = [climb(space.sample(rng), rng)[-1] for _ in course.Bar(range(300), "climbs")]
ended = val.max() - np.array([evaluate(arch) for arch in ends])
labels = {"xlabel": "regret at the end of a climb (points)", "ylabel": "share of climbs (%)"}
figures["hilltops"] = plots.histogram({"300 climbs": ended}, legend="none", **labels)
figures["hilltops"]

# %% [markdown]
# A climb is quick, but may get stuck on a low hilltop:

# %%
Markdown(
    f"Of 729 cells {hilltop.sum()} are hilltops, with {len(set(accuracy[hilltop].round(6)))} "
    f"different accuracies (twins share one). {np.mean(ended == 0):.0%} of the climbs end on the "
    f"highest. Half of the others miss it by {np.median(ended[ended > 0]):.1f} points or more."
)

# %% [markdown]
# ### Exercise 07.4: a climb that starts anew
# *Difficulty 3 of 3, about 20 min; design.* Write a local search that spends its whole budget. It is given three
# functions: `draw()` returns a random architecture, `neighbours(arch)` the list of all its neighbours, `evaluate(arch)`
# its score, for one evaluation. Return a dict {architecture: score} in the order in which they were evaluated. It must
# have these properties, and the checker watches every call:
#
# - it evaluates exactly `budget` architectures (there are at least so many), none of them twice;
# - while a neighbour of the place where it stands has not been evaluated, it evaluates one of these, and goes there at
#   once if it is better (not if it is only as good);
# - where all neighbours have been evaluated and none of them took it further, it starts at a new draw, however low that
#   is.
#
# <details><summary>Hint 1</summary>One loop is enough: each time round it finds the next architecture to evaluate, an
# unknown neighbour of the place or else a draw.</details>
# <details><summary>Hint 2</summary><code>next((a for a in neighbours(place) if a not in known), None)</code> is an
# unknown neighbour, or None.</details>
# <details><summary>Hint 3</summary>A draw may be known already: then draw again. Remember whether an architecture was a
# draw, since a start is gone to in any case.</details>


# %% tags=["stub"]
def climbing(draw, neighbours, evaluate, budget):
    raise NotImplementedError


# %% tags=["solution"]
def climbing(draw, neighbours, evaluate, budget):
    known, place = {}, None
    while len(known) < budget:
        ahead = next((a for a in neighbours(place) if a not in known), None) if place else None
        arch = ahead or draw()  # a hilltop has no unknown neighbour
        if arch not in known:
            known[arch] = evaluate(arch)
            if ahead is None or known[arch] > known[place]:
                place = arch
    return known


# %% tags=["nbval-check-output"]
check_restarts(climbing)

# %% [markdown]
# The package's `local_search` starts anew, too. Its history tells where each architecture comes from: `random` is a
# start, `neighbour` a step. So its first climb is what stands before the second start, and must end on a hilltop as
# ours do.


# %%
def first_climb(seed):
    """Where the package's first climb ended; None if the budget was spent before."""
    history = local_search(space, evaluate, SearchConfig(budget=cfg.budget), seed=seed).history
    starts = [record["index"] for record in history if record["origin"] == "random"]
    return max(history[: starts[1]], key=lambda r: r["score"])["arch"] if len(starts) > 1 else None


# by architecture: is it a hilltop?
tops = dict(zip(map(tuple, grid.tolist()), hilltop, strict=True))
theirs = [arch for arch in map(first_climb, SEEDS) if arch]
print(f"first climbs on a hilltop: from scratch {sum(tops[a] for a in ends)} of {len(ends)}")
print(f"first climbs on a hilltop: package {sum(tops[a] for a in theirs)} of {len(theirs)}")
assert all(tops[a] for a in [*ends, *theirs]), "a climb must end where no neighbour is better"

# %% [markdown]
# ## 8 · A predictor
#
# None of the searches so far asks *why* an architecture was good. A **predictor** learns that from the answers: it fits
# a function from an architecture to its accuracy, and asks next where the function is high. An architecture becomes
# numbers by **one-hot** coding: one number for each choice at each edge, 18 in all, 1 if the choice is taken and 0 if
# not. The function here is a **random forest**, the mean of many decision trees. Each tree is grown on its own sample
# of the answers, drawn with replacement.
#
# The forest below has learnt from 60 random cells. Each dot is one of the other cells. On the line prediction and truth
# are equal.

# %%
features = OneHotEncoder(dtype=np.float32, sparse_output=False).fit_transform(grid)
order = np.random.default_rng(cfg.seed).permutation(len(grid))
learnt, rest = order[:60], order[60:]  # at random, row by row
forest = RandomForestRegressor(100, random_state=cfg.seed).fit(features[learnt], accuracy[learnt])
predicted = forest.predict(features[rest])
points = {"cells that it has not seen": (predicted, accuracy[rest])}
labels = {"xlabel": "predicted accuracy (%)", "ylabel": "accuracy (%)", "width": 6}
figures["forest"] = plots.scatter(points, diagonal=True, **labels)
figures["forest"]

# %% [markdown]
# ### How good is it? First look for leaks
#
# The usual measure is Kendall's τ between prediction and truth on cells that were not learnt from (notebook 05
# introduces τ). If those cells are drawn row by row, some have a twin among the learnt ones: another string for the
# very same training. For a twin the forest was told the answer. Does that flatter it?

# %%
trainings = bench.frame.filter(regex="^val|^test")
training = trainings.groupby(list(trainings)).ngroup().to_numpy()  # twins have the same number
told = np.isin(training[rest], training[learnt]).sum()
tau = ranking.correlation(predicted, accuracy[rest], resamples=1).value  # without an interval
print(f"Kendall's τ on the {len(rest)} cells not learnt from: {tau:.2f}")
print(f"of these cells {told} have a twin among the {len(learnt)} that were learnt from")

# %% [markdown]
# To find out, two forests are tested on the *same* 50 cells, of different trainings. One has learnt from cells drawn
# from all others, twins included. The other has learnt from as many that are no twins of the 50.


# %%
def tau_of(known, others, X, trees_seed):
    """Kendall's τ on other cells of a small forest that has learnt from the known ones."""
    model = RandomForestRegressor(30, random_state=trees_seed).fit(X[known], accuracy[known])
    return ranking.correlation(model.predict(X[others]), accuracy[others], resamples=1).value


single = np.array([val.index.get_loc(text) for text in bench.distinct])  # a row per training
draws = max(5, min(20, cfg.seeds))
leaks = {60: [], 400: []}  # by how many cells were learnt from: τ with twins, and without
for n, draw in course.Bar([*itertools.product(leaks, range(draws))], "forests"):
    mixed = np.random.default_rng(cfg.seed + draw).permutation
    tested = mixed(single)[:50]
    pool = mixed(np.setdiff1d(np.arange(len(grid)), tested))
    clean = pool[~np.isin(training[pool], training[tested])]
    leaks[n].append([tau_of(part[:n], tested, features, draw) for part in (pool, clean)])
table = pd.DataFrame({n: np.mean(pairs, axis=0) for n, pairs in leaks.items()}).T
table.set_axis(["τ, with twins", "without"], axis=1).rename_axis("cells learnt from").round(2)

# %% [markdown]
# The differences, in pairs of equal draws:

# %%
leak = {n: ranking.paired(*np.transpose(pairs)) for n, pairs in leaks.items()}
told = [f"{s.value:+.2f} [{s.low:+.2f}, {s.high:+.2f}] with {n} cells" for n, s in leak.items()]
fooled = [str(n) for n, s in leak.items() if s.low > 0]  # beyond what chance does
seen = f"the forest of {' and of '.join(fooled)} cells" if fooled else "no forest here"
Markdown(
    f"Change of τ by known twins, mean of {draws} draws and 95 % interval: {'; '.join(told)}. "
    f"The leak visibly flatters **{seen}**. The more cells are learnt from, the more of the others "
    "have a twin among them."
)

# %% [markdown]
# ### Exercise 07.5: a split that does not leak
# *Difficulty 2 of 3, about 15 min; fault.* A colleague judges predictors on this split and reports a fine τ:
#
# ```python
# order = rng.permutation(len(rows))
# cut = round(share * len(rows))
# return order[cut:], order[:cut]  # to learn from, to test on
# ```
#
# `rows` (n, seeds) holds the scores of n architectures with every seed. Twins have equal scores with *every* seed. Mend
# it: no row to test on may have a twin among those to learn from. All rows are kept, twins too. Of the *different
# trainings* `share` are tested on, drawn with `rng`, each equally likely. Return two lists of row numbers.
#
# <details><summary>Hint 1</summary><code>np.unique(rows, axis=0, return_inverse=True)</code> also returns, for every
# row, the number of its training.</details>
# <details><summary>Hint 2</summary>Draw trainings, not rows; then take all rows of the drawn ones
# (<code>np.isin</code>).</details>


# %% tags=["stub"]
def split(rows, share, rng):
    raise NotImplementedError


# %% tags=["solution"]
def split(rows, share, rng):
    _, training = np.unique(rows, axis=0, return_inverse=True)
    training = training.ravel()
    drawn = rng.permutation(training.max() + 1)[: round(share * (training.max() + 1))]
    tested = np.isin(training, drawn)
    return np.flatnonzero(~tested), np.flatnonzero(tested)


# %% tags=["nbval-check-output"]
check_split(split)

# %% [markdown]
# ### Proxies as features
#
# A forest takes any numbers. So numbers that need no training may stand beside the 18 of the one-hot code. The simplest
# of these **zero-cost proxies** are the counts of parameters and of MACs (notebook 08 is about the others, and feeds
# them to a forest, too). Against leaks, one of each set of twins is kept. Cells are drawn at random several times; the
# figure shows τ on all cells that were not drawn: medians and quartiles of the draws.

# %%
counted = bench.frame[["params", "macs"]].to_numpy()
inputs = {"one-hot": features, "one-hot, parameters, MACs": np.hstack([features, counted])}
known = 10, 20, 40, 80
taus = {name: (known, np.zeros((draws, len(known)))) for name in inputs}
for draw, column in course.Bar([*np.ndindex(draws, len(known))], "forests"):
    mixed, n = np.random.default_rng(cfg.seed + draw).permutation(single), known[column]
    for name, X in inputs.items():  # the same draws for both, so that they are compared in pairs
        taus[name][1][draw, column] = tau_of(mixed[:n], mixed[n:], X, draw)
labels = {"xlabel": "cells that the forest has seen", "ylabel": "Kendall's τ on the others"}
figures["features"] = plots.lines(taus, **labels)
figures["features"]

# %% [markdown]
# What the two counts add, in pairs of equal draws:

# %%
alone, more = (values.T for _, values in taus.values())
gains = [ranking.paired(*pair) for pair in zip(more, alone, strict=True)]
spans = zip(known, gains, strict=True)
told = [f"{g.value:+.2f} [{g.low:+.2f}, {g.high:+.2f}] with {n} cells" for n, g in spans]
Markdown(f"Change of τ, mean of {draws} draws and 95 % interval: {'; '.join(told)}.")

# %% [markdown]
# ### Thompson sampling
#
# A search with a predictor asks about architectures that it predicts to be good. It can fail in two ways: it may ask
# only where it is sure already, or it may waste evaluations where it knows nothing. **Thompson sampling** lies between
# the two: draw one function at random from all that fit the answers so far, and ask where *that one* is highest. The
# trees of a forest are such functions, each grown on other answers. So every tree names one architecture. After ten
# evaluations a new forest is grown.


# %%
def forest_search(space, evaluate, settings, *, seed=0):
    """Thompson sampling: each tree of a forest names the architecture that it likes best."""
    rng = np.random.default_rng(seed)
    every = list(itertools.product(*map(range, space.choices)))
    features = OneHotEncoder(dtype=np.float32, sparse_output=False).fit_transform(every)
    begin = replace(settings, budget=min(20, settings.budget))
    history = list(random_search(space, evaluate, begin, seed=seed).history)
    asked = [every.index(record["arch"]) for record in history]
    while len(history) < settings.budget:
        forest = RandomForestRegressor(10, random_state=int(rng.integers(2**31)))
        forest.fit(features[asked], [record["score"] for record in history])
        for tree in forest.estimators_[: settings.budget - len(history)]:
            guess = tree.predict(features)
            guess[asked] = -np.inf  # never the same twice
            asked.append(int(rng.choice(np.flatnonzero(guess == guess.max()))))
            arch = every[asked[-1]]
            history.append({"arch": arch, "score": evaluate(arch)})
    best = max(history, key=lambda record: record["score"])
    return search.SearchResult(space, best["arch"], best["score"], history)


one = forest_search(space, evaluate, SearchConfig(budget=cfg.budget), seed=cfg.seed)
asked_for = np.array([record["score"] for record in one.history])
print(f"mean accuracy of the first 20, at random: {asked_for[:20].mean():.1f} %")
print(f"mean accuracy of those that trees named: {asked_for[20:].mean():.1f} %")

# %% [markdown]
# ## 9 · A budget of computation
#
# Any function that says yes or no to an architecture can be a constraint. `tables.at_most(table, budget)` is one that
# can also draw architectures within a tight budget, so that no time is lost on refused ones. In the figure the grey
# dots are all 729 networks, and the coloured ones are those that evolution asked about (it chose by their validation
# accuracies).

# %%
low, high = macs.bounds()
limit = low + 0.4 * (high - low)
within = {"feasible": tables.at_most(macs, limit), "costs": {"macs": macs}}
tight = evolution(space, evaluate, replace(config, budget=30, **within), seed=cfg.seed)
assert all(r["macs"] <= limit for r in tight.history), "every architecture must keep the budget"
asked = [record["arch"] for record in tight.history]
groups = {"asked by evolution": asked, "evolution's pick": [tight.best]}
points = {"all 729": (bench.frame.macs, test)}  # grey, behind the others
for name, archs in groups.items():
    points[name] = [macs(a) for a in archs], [test[space.format(a)] for a in archs]
labels = {"xlabel": "MACs", "ylabel": "test accuracy (%)"}
figures["budget"] = plots.scatter(points, crowd="all 729", **labels)
figures["budget"].guide(x=limit, linestyle="--", label=f"budget: {limit:,.0f}")
figures["budget"]

# %% [markdown]
# A budget that no architecture meets is refused at once, with the range that can be reached:

# %%
try:
    tables.at_most(macs, 100)
except errors.BudgetError as error:
    print(error)

# %% [markdown]
# ## 10 · The race
#
# Five searches race with equal budgets and the same seeds. *Evolution* is the package's of section 6. *Regularised
# evolution* breeds one child at a time, by tournaments of five and mutation alone, and lets the oldest die. Each search
# keeps one setting for both benchmarks of this notebook.
#
# They will be compared in pairs of equal seeds. That helps only if an equal seed gives two searches something in
# common. The last lines count with how many architectures of random search each of the others begins.

# %%
aged = EvolutionConfig(population=20, children=1, ageing=True, **pressure)  # one at a time
strategies = {
    "random search": (random_search, SearchConfig()),
    "local search": (local_search, SearchConfig()),
    "evolution": (evolution, config),
    "regularised evolution": (evolution, aged),
    "predictor": (forest_search, SearchConfig()),
}


def asked_by(name, space, value, budget, seed):
    """The history of one search."""
    run, rules = strategies[name]
    return run(space, value, replace(rules, budget=budget), seed=seed).history


histories = {name: asked_by(name, space, evaluate, 30, cfg.seed) for name in strategies}
shared = {}
for name, history in histories.items():
    pairs = zip(history, histories["random search"], strict=True)
    shared[name] = [*(a["arch"] == b["arch"] for a, b in pairs), False].index(False)
told = ", ".join(f"{name} {count}" for name, count in shared.items() if "random" not in name)
print(f"of the first 30 architectures, shared with random search: {told}")

# %% [markdown]
# So part of the luck of one seed is common to those that begin alike; local search goes its own way after its start.
#
# Two regrets will be drawn. **Left:** the regret in what the search *sees*, the validation accuracy. To lower it is the
# task of the search. **Right:** the regret of its pick in *truth*, the test accuracy. That is what its user gets. Think
# first:

# %%
question = "How many of the four beat random search in truth (95 % interval above 0)?"
guess_race = course.predict(question, ["none", "some", "all four"])

# %% [markdown]
# The next function turns a history into both regrets. The **pick** is the architecture with the best score seen so far;
# of equal scores, the first.


# %%
def curves_of(history, space, seen, true):
    """Regret after every evaluation: of the best score seen so far, and of that pick in truth."""
    texts = [space.format(record["arch"]) for record in history]
    best = np.maximum.accumulate(seen[texts].to_numpy())
    better = np.diff(best, prepend=-np.inf) > 0  # an equal score does not change the pick
    pick = np.maximum.accumulate(np.where(better, np.arange(len(best)), 0))
    return seen.max() - best, true.max() - true[texts].to_numpy()[pick]


ends = [curve[-1] for curve in curves_of(one.history, space, val, test)]
print(f"the predictor's search above: regret seen {ends[0]:.2f}, in truth {ends[1]:.2f} points")

# %% [markdown]
# Now the race. A line on the right may rise again: a pick with a better validation accuracy can have a lower test
# accuracy.


# %%
def race(bench, space, budget, seeds):
    """Regret seen and in truth, by strategy: (seeds, evaluations) each."""
    seen, true, value = bench.scores("val"), bench.scores("test"), bench.evaluator(space, "val")
    runs = {name: [] for name in strategies}
    for name, seed in course.Bar([*itertools.product(strategies, seeds)], "searches"):
        # one history gives both regrets: whatever is judged was chosen by what is seen
        history = asked_by(name, space, value, budget, seed)
        runs[name].append(curves_of(history, space, seen, true))
    both = {name: np.array(curves) for name, curves in runs.items()}
    return [{name: curves[:, i] for name, curves in both.items()} for i in (0, 1)]


titles = "seen: validation accuracy", "in truth: test accuracy of the pick"
here = dict(zip(titles, race(bench, space, cfg.budget, SEEDS), strict=True))
seen_here, true_here = here.values()
figures["race"] = plots.anytime(here, first=5)
figures["race"]

# %% [markdown]
# The lines are medians over seeds, the bands hold the middle half. At the end of the budget: the quartiles of the
# regret, then `saved`: how many points of regret a search saves against random search *of the same seed*, on average,
# and the 95 % interval of that mean (`low` to `high`).


# %%
def standings(found, at=-1):
    """Quartiles of the regret after an evaluation, and what is saved in pairs, by strategy."""
    rival, rows = found["random search"][:, at], {}  # of the same seeds, row by row
    for name, curves in found.items():
        end = curves[:, at]
        rows[name] = [*np.quantile(end, (0.25, 0.5, 0.75)), *ranking.paired(rival, end)]
    columns = ["25 %", "median", "75 %", "saved", "low", "high"]
    return pd.DataFrame.from_dict(rows, "index", columns=columns)


tables_of = {"seen": standings(seen_here), "in truth": standings(true_here)}
summary = pd.concat(tables_of)
summary.round(2)

# %% [markdown]
# `saved` as a picture. A bar is the 95 % interval. If it does not touch 0, the seeds show a difference.

# %%
bars = {}
for kind, rows in tables_of.items():
    rivals = rows.drop("random search")[["saved", "low", "high"]].round(2)
    bars[kind] = {"saved": {name: plots.Interval(*row) for name, row in rivals.iterrows()}}
labels = {"xlabel": "regret saved (points), mean and 95 % interval", "legend": "none"}
figures["saved"] = plots.dots(bars, **labels).guide(x=0)
figures["saved"]

# %% [markdown]
# **The verdict.** Every search is held against random search at equal cost:


# %%
def verdict(found, at=-1):
    """A line for every search: does it beat random search, and by how much?"""
    lines = []
    for name, row in standings(found, at).drop("random search").iterrows():
        # an interval that holds 0 tells neither of the two apart
        lost = "**loses** to" if row.high < 0 else "**cannot be told from**"
        word, span = "beats" if row.low > 0 else lost, f"[{row.low:.2f}, {row.high:.2f}]"
        lines.append(f"- {name} {word} random search: {row.saved:.2f} points saved {span}")
    return lines


runs = f"after {cfg.budget} evaluations, {cfg.seeds} pairs"
lines = [f"What is **seen**, {runs}:", "", *verdict(seen_here), ""]
lines += [f"In **truth**, {runs}:", "", *verdict(true_here)]
Markdown("\n".join(lines))

# %% [markdown]
# Your prediction was about the second half of this list:

# %%
seeing, winners = (sum(" beats " in line for line in verdict(found)) for found in here.values())
guess_race.came(
    {0: "none", 4: "all four"}.get(winners, "some"),
    f"{seeing} of the four beat random search in what they see, {winners} in truth.",
)

# %% [markdown]
# Notebook 00 found a gain in truth, too. There a limit of MACs applies, 60 evaluations leave more to gain than 150, and
# more pairs show smaller gains.
#
# **Why the two can differ.** A search climbs what it is shown, validation accuracy. It spends its time among the best
# in validation accuracy. So what counts is whether the test accuracies of *these* stand in the same order. The figure
# shows the best 50, and the pick of a search that finds the very best validation accuracy.

# %%
top, winner = val.nlargest(50).index, val.idxmax()
agree = {}
for name, texts in {"all": val.index, "top": top}.items():
    agree[name] = ranking.correlation(val[texts], test[texts], resamples=1).value  # Kendall's τ
points = {"seen by the search": (val[top], test[top]), "the pick": (val[winner], test[winner])}
labels = {"xlabel": "validation accuracy (%)", "ylabel": "test accuracy (%)", "width": 7}
panel = f"the best 50 seen, τ = {agree['top']:.2f}"
figures["agreement"] = plots.scatter({panel: points}, **labels)
figures["agreement"].guide(y=test.max(), label="the best of all")
figures["agreement"]

# %% [markdown]
# In numbers, with the error that a validation set of this size must have:

# %%
images = len(data.classification(**bench.task, split="val"))
share = val[winner] / 100
error = 100 * np.sqrt(share * (1 - share) / images)  # standard error of a share of right answers
Markdown(
    f"Kendall's τ of validation and test accuracy: {agree['all']:.2f} over all, "
    f"**{agree['top']:.2f}** in the best 50. A search that finds the very best validation "
    f"accuracy has a true regret of **{test.max() - test[winner]:.1f} points**. The validation set "
    f"has {images} images, so an accuracy of {val[winner]:.0f} % has a standard error of "
    f"{error:.1f} points. The architecture that does best on it is partly the luckiest. A better "
    "*strategy* cannot mend that: it only finds the luckiest one sooner. More validation images "
    "can, or more seeds. The test set is finite, too: *the best of all* was partly lucky there."
)

# %% [markdown]
# ### Exercise 07.6: a fair any-time curve
# *Difficulty 2 of 3, about 10 min.* `scores` (seeds, evaluations) are what every evaluation returned, in order. Return
# three lines, (evaluations,) each: the 25 %, 50 % and 75 % quantiles over seeds of the **best so far**.
#
# <details><summary>Hint 1</summary><code>np.maximum.accumulate(scores, axis=1)</code></details>
# <details><summary>Hint 2</summary>First the best so far, within each seed; then quantiles, over the seeds.</details>


# %% tags=["stub"]
def band(scores):
    raise NotImplementedError


# %% tags=["solution"]
def band(scores):
    best = np.maximum.accumulate(scores, axis=1)
    low, middle, high = np.quantile(best, (0.25, 0.5, 0.75), axis=0)
    return low, middle, high


# %% tags=["nbval-check-output"]
check_band(band)

# %% [markdown]
# ### Exercise 07.7: five faults in one picture
# *Difficulty 2 of 3, about 15 min; fault.* An honest any-time curve in truth shows, after every evaluation, the *test*
# score of the pick. The pick is the architecture with the highest *validation* score so far, the first of equals. Five
# programs draw a curve that is not honest:
#
# 1. The first draws the best test score so far: it chooses by the scores in truth.
# 2. The second draws the best validation score so far: it shows the scores seen.
# 3. The third draws the best test score of all its picks so far, as if it knew which of them to keep.
# 4. The fourth takes the last of equal validation scores as its pick.
# 5. The fifth draws the test score of its last pick everywhere, as a flat line.
#
# You cannot read their code, but you can give them data. Hand in the scores of *one* search that reveals all five: two
# lists of 2 to 8 accuracies (in %), the scores seen and those in truth, in the order of the evaluations. On them every
# faulty curve must differ from the honest one in at least one place.
#
# <details><summary>Hint 1</summary>Write down the honest curve of your scores first, then each of the five.</details>
# <details><summary>Hint 2</summary>An honest curve may fall. It does where a higher validation score goes with a lower
# test score.</details>
# <details><summary>Hint 3</summary>Number 4 needs two equal validation scores with different test scores.</details>


# %% tags=["stub"]
def evidence():
    raise NotImplementedError


# %% tags=["solution"]
def evidence():
    seen = [50, 60, 60, 55, 70]
    true = [60, 55, 58, 70, 50]  # honest: 60, 55, 55, 55, 50
    return seen, true


# %% tags=["nbval-check-output"]
check_evidence(evidence)

# %% [markdown]
# ### How much is a better search worth?
#
# It is hard to say what a point of regret is worth. An evaluation has a price. So ask: how many draws does random
# search need until half of its searches are as good as the better half of another search's after 50 evaluations? (Later
# many regrets are 0, and cannot fall any more.) For what is seen, the closed form of section 2 has the answer. Say that
# $r$ architectures have that regret or less. Then the chance to have drawn one of these $r$ must reach ½. The last
# column divides the draws by the evaluations.


# %%
def draws_until(regret):
    """How many draws it takes until half of all random searches have this regret or less."""
    r, N = int(np.sum(regrets <= regret + 1e-9)), len(regrets)
    return next(n for n in range(1, N + 1) if 2 * comb(N - r, n) <= comb(N, n))


rows, early = {}, min(50, cfg.budget)
for name, found in seen_here.items():
    end = np.quantile(found[:, early - 1], 0.5, method="higher")  # half of the searches reach it
    rows[name] = [end, draws_until(end), draws_until(end) / early]
columns = [f"median regret after {early}", "draws of random search", "draws / evaluations"]
pd.DataFrame.from_dict(rows, "index", columns=columns).round(2)

# %% [markdown]
# ### Exercise 07.8: when random search catches up
# *Difficulty 3 of 3, about 20 min; experiment.* Find the same number by an experiment, for a space that you cannot look
# into. `search(seed, budget)` runs one random search and returns its regret after every evaluation, (budget,); a longer
# search of the same seed begins like a shorter one. Return the smallest number of evaluations after which the median
# over `seeds` is `target` or less. Evaluations cost money: use every seed, and run no search more than four times as
# long as the number that you find (64 evaluations are always allowed).
#
# Then try it on our space, with a target from the table above:
#
# ```python
# def ours(seed, budget):
#     found = random_search(space, evaluate, SearchConfig(budget=budget), seed=seed)
#     return val.max() - np.array(found.anytime())
#
# catch_up(ours, target, range(51))
# ```
#
# <details><summary>Hint 1</summary>Start with few evaluations, and double until the median at the end is low
# enough.</details>
# <details><summary>Hint 2</summary>Then the number lies somewhere on that curve: the first place where the median is
# low enough. Places count from 0, evaluations from 1.</details>


# %% tags=["stub"]
def catch_up(search, target, seeds):
    raise NotImplementedError


# %% tags=["solution"]
def catch_up(search, target, seeds):
    budget = 16
    while True:
        middle = np.median([search(seed, budget) for seed in seeds], axis=0)
        if middle[-1] <= target:
            return int(np.argmax(middle <= target)) + 1
        budget *= 2  # what was found so far is found again: that costs at most as much again


# %% tags=["nbval-check-output"]
check_catch_up(catch_up)

# %% [markdown]
# ## 11 · The same on NAS-Bench-201
#
# Our small space was cut out of a published benchmark, NAS-Bench-201. It has five operations and 15,625 cells, and its
# authors trained all of them on CIFAR-10. The numbers used here are their mean test accuracies after 200 epochs. We did
# not train them again. There is no validation accuracy among them, so here a search sees the truth: this race tests
# strategies alone, not evaluators.
#
# The benchmark itself is not part of this project. Stored with the project are the regret curves of our own searches on
# it, which `datasets/race_nasbench201.py` ran:


# %%
def stored_race():
    """The stored curves by strategy, (seeds, evaluations), and how they were made."""
    file = benchmarks.FOLDER / "race_nasbench201.csv.gz"
    made = json.loads(file.with_name("race_nasbench201.json").read_text())
    falls = pd.read_csv(file)  # one row each time that a regret falls
    table = falls.pivot(index=["strategy", "seed"], columns="evaluation", values="regret")
    table = table.reindex(columns=range(1, made["budget"] + 1)).ffill(axis=1)
    return {name: table.loc[name].to_numpy() for name in strategies}, made


stored, made = stored_race()
title = f"NAS-Bench-201, CIFAR-10 (stored: {made['seeds']} seeds)"
figures["nasbench201"] = plots.anytime({title: stored}, first=10)
figures["nasbench201"]

# %% [markdown]
# The verdict at the stored size, after 50 evaluations, after 150, and at the end. No search can save more than random
# search has left:

# %%
lines = []
for n in (50, 150, made["budget"]):
    lines += ["", f"After **{n}** evaluations, {made['seeds']} pairs (stored):", ""]
    lines += verdict(stored, n - 1)
Markdown("\n".join(lines))

# %% [markdown]
# Where the benchmark is at hand, the searches run again, with your seeds, and are compared with the stored ones:

# %%
there, told = {}, "NAS-Bench-201 is not here, so nothing runs: all of the above is **stored**."
if large:
    mine = range(cfg.seed, cfg.seed + cfg.large_seeds)
    there = race(large, spaces.create("nasbench201"), cfg.large_budget, mine)[1]
    n = min(cfg.large_budget, made["budget"])
    pairs = [*itertools.product(stored, [s for s in mine if s < made["seeds"]])]
    # the same seeds, run on another day, perhaps by another machine
    ours = [(there[name][s - cfg.seed, :n], stored[name][s, :n]) for name, s in pairs]
    same = sum(np.allclose(a, b, atol=1e-3) for a, b in ours)
    told = f"{len(there) * len(mine)} searches of {cfg.large_budget} evaluations ran here. "
    told += f"{len(pairs)} of them are stored, too, and {same} of these repeat the stored curve "
    told += "point by point."
Markdown(told)

# %% [markdown]
# ## 12 · Move it yourself
#
# Each move of a slider runs evolution again on our table, with uniform crossover for half of the children (Tab and the
# arrow keys work, too). First find the setting whose median regret ends lowest, then the one that ends highest. Does
# one of these medians leave random search's band?

# %%
from nasedu.widgets import EvolutionWidget

size = {"budget": min(100, cfg.budget), "seeds": cfg.widget_seeds}
widget = EvolutionWidget(space, evaluate, best=val.max(), config=config, **size)
widget

# %% [markdown]
# Five settings as a fixed figure, for pages that cannot run. Four of them only mutate. With mutation 1 every gene of a
# child is redrawn, so nothing of its parent is left: without crossover that *is* random search. With crossover it is
# not: half of the children are crossed, as in the widget, and a crossed child keeps its parents' genes.

# %%
alone = EvolutionConfig(budget=cfg.budget, crossover=None)  # children come of one parent
settings = {
    "mutation 0.05": replace(alone, mutation=0.05),
    "mutation 0.2": replace(alone, mutation=0.2),
    "mutation 1": replace(alone, mutation=1.0),
    "mutation 1, half crossed": replace(alone, mutation=1.0, crossover="uniform"),
    "population 5, mutation 0.2": replace(alone, population=5, children=2, k=2, mutation=0.2),
}
tried = {}
for name, rules in course.Bar(settings.items(), "settings"):
    runs = [evolution(space, evaluate, rules, seed=s).anytime() for s in SEEDS]
    tried[name] = val.max() - np.array(runs)
figures["settings"] = plots.anytime({"what is seen": tried}, first=5)
figures["settings"]

# %% [markdown]
# And against random search, in pairs of seeds:

# %%
tried["random search"] = seen_here["random search"]
Markdown("\n".join(verdict(tried)))

# %% [markdown]
# ## 13 · What to write down
#
# Others can check a search only if they know what was done. The list below says it, filled in by this run. Lindauer and
# Hutter's paper (see further reading) has a longer one.

# %%
# the table answers at once; without it, every answer would be three trainings
trained = cfg.budget * len(bench.seeds) * bench.frame.seconds.mean() / 60
said = {
    "searched": f"{len(bench)} cells of `{bench.name}`, {len(bench.distinct)} different trainings",
    "chosen by": f"validation accuracy, mean of {len(bench.seeds)} trainings",
    "judged by": "test accuracy of the pick, other images, never seen by a search",
    "seeds": f"{SEEDS[0]} to {SEEDS[-1]} ({len(SEEDS)}), the same for every search",
    "evaluations": f"{cfg.budget} a search, no architecture twice; none can fail",
    "settings": "one for each search, the same on both tables; random search as the bar",
    "shown": "median, quartiles; mean of differences in pairs, Student's 95 % interval",
    "compute": f"looked up; trained anew, one search takes about {trained:.0f} min on one core of "
    f"{bench.meta['provenance']['device']}",
    "this run": f"{origin.processor()}, {cfg.threads} thread; versions and commit in `result.json`",
}
rows = [f"| {key} | {text} |" for key, text in said.items()]
Markdown("\n".join(["| what | here |", "|---|---|", *rows]))

# %% [markdown]
# ## Summary
#
# - What random search will find can be computed in advance, from the table alone. It is the bar for every other search.
# - Evolution, local search and a predictor pay where similar architectures have similar accuracies. That is all they
#   use.
# - Mutation keeps evolution moving, selection makes it greedy. A budget is a function that says yes or no.
# - A climb must start anew at every hilltop. A predictor must be judged on cells of which it has seen no twin.
# - Compare searches by any-time regret, in pairs of seeds, with an interval, at equal numbers of evaluations.
# - What a search sees and what is true are two things: report both.
#
# **Pitfalls**
#
# - *One seed.* The bands above are wide: a single run proves nothing, for either side.
# - *Counting twice.* An architecture asked again must not count as new, nor cost nothing. Here none is asked twice.
# - *The best of the validation set.* It is chosen for its luck as well: expect less on the test set.
# - *Redraw or change.* "Mutation rate 0.1" means one or the other in different codes: a factor of 1 − 1/n.
# - *Large k.* Greedier for a tournament, less greedy for top k.
# - *Twins.* In a random split the same training may stand on both sides.
#
# **Further reading**
#
# - Random search as the bar: Li and Talwalkar, *Random Search and Reproducibility for Neural Architecture Search*,
#   UAI 2019
# - Regularised evolution: Real, Aggarwal, Huang, Le, *Regularized Evolution for Image Classifier Architecture Search*,
#   AAAI 2019
# - Local search: White, Nolen, Savani, *Exploring the Loss Landscape in Neural Architecture Search*, UAI 2021: the less
#   noise, the fewer hilltops
# - Predictors and Thompson sampling: White, Neiswanger, Savani, *BANANAS: Bayesian Optimization with Neural
#   Architectures for Neural Architecture Search*, AAAI 2021
# - Evolution on a supernet: Guo et al., *Single Path One-Shot Neural Architecture Search with Uniform Sampling*,
#   ECCV 2020
# - NAS-Bench-201: Dong and Yang, ICLR 2020
# - How to compare: Lindauer and Hutter, *Best Practices for Scientific Research on Neural Architecture Search*,
#   JMLR 2020

# %%
course.finish(  # result.json and the figures
    cfg,
    summary=summary.round(3),
    figures=figures,
    results={
        "regret": {kind: rows.to_dict("index") for kind, rows in tables_of.items()},
        "nasbench201_stored": standings(stored).to_dict("index"),
        "nasbench201": standings(there).to_dict("index") if there else None,
        "kendall_tau_val_test": agree,
        "regret_of_the_best_seen": test.max() - test[winner],
        "ageing_saves": {str(noise): s._asdict() for noise, s in kinds.items()},
        "settings": standings(tried).to_dict("index"),
        "checklist": said,
    },
)
