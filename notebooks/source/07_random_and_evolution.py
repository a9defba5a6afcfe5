# %% [markdown]
# # Random search and evolution
#
# Two searches that need nothing but an evaluator, judged against a space whose every architecture is known.
#
# Random search draws and keeps the best. Evolution breeds from the best. Both ask a black box, one architecture at a
# time: no gradients, no supernet needed. Because a **benchmark table** holds the accuracy of every architecture, a
# whole search takes milliseconds here. So we can repeat it with many seeds and tell skill from luck.
#
# **Afterwards you can**
#
# 1. write random search and evolution in a few lines each, and use the package's;
# 2. say what mutation, crossover, tournament size and population do, in numbers;
# 3. search under a budget of computation;
# 4. draw an honest any-time curve: regret, over seeds, with quantiles;
# 5. tell a search that failed from an evaluator that misled it.
#
# **You need** notebook 00, or an idea of what a search space is.
#
# | preset | what it runs | time, two CPU cores |
# |---|---|---|
# | `smoke` | 4 seeds of 40 evaluations: only proves that every cell works | 10 seconds |
# | `quick` | 30 seeds of 150 evaluations | 25 seconds, beside other work |
# | `full` | 200 seeds of 300 evaluations | not measured |
# | `gpu` | 500 seeds; nothing here needs a GPU | not measured |

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu; it sets every parameter below that is None
benchmark: str = None  # table of trained architectures to search
data_root: str = None  # folder that holds nb201, for NAS-Bench-201; None: the one that NASEDU_DATA names, if any
seeds: int = None  # repetitions of every search, at least 2
budget: int = None  # evaluations of a search, of the 729 architectures
large_budget: int = None  # evaluations of a search on NAS-Bench-201
widget_seeds: int = None  # repetitions each time the widget is moved
threads: int = None  # CPU threads
seed: int = None  # of every random choice
device: str = None  # auto, cpu, cuda, cuda:1 ...
out_dir: str = None  # folder of the results; None: one per set of parameters

# %%
import os
from dataclasses import replace
from math import comb

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown

from nasedu import course, errors, plots, spaces, tables
from nasedu.course.checks.evolution import check_band, check_crossover, check_mutate, check_tournament
from nasedu.data import benchmark as benchmarks
from nasedu.search import EvolutionConfig, SearchConfig, evolution, local_search, random_search
from nasedu.tables import LookupTable

cfg = course.setup("07_random_and_evolution", globals(), choices={"benchmark": benchmarks.STORED})
torch.set_num_threads(cfg.threads)
cfg

# %% [markdown]
# ## 1 · A space without secrets
#
# Cells of six edges with three choices each: 729 networks (notebook 00 draws the space). All were trained to the end on
# real digits by this project, three seeds each. Every dot is one of them; the columns are numbers of 3×3 convolutions.

# %%
bench = benchmarks.load(cfg.benchmark)
space = spaces.create("nasbench201", **bench.space_options)
macs = LookupTable.build(space, "macs")
val, test = bench.scores("val"), bench.scores("test")
figures = {"truth": plots.landscape(bench.frame.macs, test, xlabel="MACs", ylabel="test accuracy (%), mean of 3 seeds")}
figures["truth"]

# %%
Markdown(
    f"729 strings, but only **{len(bench.distinct)} different trainings**: an edge that leads from or to a node that "
    "nothing reaches changes nothing, and such twins have the same scores to the last digit. A search that visits a "
    "twin spends an evaluation on nothing new. Of these again some are copies but for unused weights and luck "
    "(notebook 08). NAS-Bench-201 has twins, too."
)

# %% [markdown]
# A search looks at **validation** accuracy, and is judged on **test** accuracy: else it would be praised for its luck.

# %%
evaluate = bench.evaluator(space, "val")
seeds_apart = np.mean([test.sub(bench.scores("test", seed=s)).abs().mean() for s in bench.seeds])
Markdown(
    f"Test accuracies reach from {test.min():.0f} to {test.max():.1f} %, the middle is {test.median():.1f} %. "
    f"One seed differs from the mean of all by {seeds_apart:.1f} points on average."
)

# %% [markdown]
# ## 2 · Random search
#
# From scratch: draw until the budget is spent, never the same twice, keep the best.


# %%
def my_random_search(space, evaluate, budget, rng):
    history = {}
    while len(history) < budget:
        arch = space.sample(rng)
        if arch not in history:
            history[arch] = evaluate(arch)
    return max(history, key=history.get), history


# %%
mine, asked = my_random_search(space, evaluate, 40, np.random.default_rng(cfg.seed))
theirs = random_search(space, evaluate, SearchConfig(budget=40), seed=cfg.seed)
for best, scores in ((mine, asked), (theirs.best, {r["arch"]: r["score"] for r in theirs.history})):
    assert len(scores) == 40  # so many, and no two alike
    assert evaluate(best) == max(scores.values()) and all(evaluate(a) == s for a, s in scores.items())
again = random_search(space, evaluate, SearchConfig(budget=40), seed=cfg.seed)
assert theirs.best == again.best  # the same seed, the same search

# %% [markdown]
# **How good must it be?** Random search needs no luck to be understood. Of $N$ architectures, the chance that $n$
# different draws miss all of the best $r$ is $\binom{N-r}{n} / \binom{N}{n}$. So we can compute, without a single
# search, how its regret is distributed. One line is theory, a mean. The other is the median of the package's searches,
# in a band that holds the middle half of them.

# %%
regrets = np.sort(val.max() - val.to_numpy())  # of all architectures, the best first
counts = np.arange(1, cfg.budget + 1)


def expected_regret(n):
    """The mean over all sets of n architectures: the best of them has rank r with a known probability."""
    chance = np.array([comb(len(regrets) - r - 1, n - 1) / comb(len(regrets), n) for r in range(len(regrets) - n + 1)])
    return float(chance @ regrets[: len(chance)])


theory = np.array([expected_regret(n) for n in counts.tolist()])

# %%
drawn = [random_search(space, evaluate, SearchConfig(budget=cfg.budget), seed=s).anytime() for s in range(cfg.seeds)]
mean = val.max() - np.mean(drawn, axis=0)
noise = np.std(drawn, axis=0) / np.sqrt(cfg.seeds)
assert np.all(np.abs(mean - theory)[9:] < 6 * noise[9:] + 0.3)
figures["theory"] = plots.anytime(
    {"random search": {"theory (mean)": theory[None], "searches": val.max() - np.array(drawn)}}, first=5
)
figures["theory"]

# %% [markdown]
# Where the mean lies above the median, a few unlucky seeds pull it up. That is why this notebook shows medians and
# quantiles.
#
# Random search is blind: the 100th draw knows nothing of the 99 before it. But are good architectures *alike*? If so, a
# search near good ones should pay. Below: pairs of architectures by the number of edges in which they differ, and how
# far apart their accuracies are on average.

# %%
grid = np.array([space.parse(text) for text in val.index])
apart = (grid[:, None] != grid[None]).sum(-1)
gap = np.abs(val.to_numpy()[:, None] - val.to_numpy()[None])
good = val.to_numpy() >= val.quantile(0.9)
near = pd.DataFrame(
    {
        "all pairs": [gap[apart == d].mean() for d in range(1, 7)],
        "from the best tenth": [gap[good][apart[good] == d].mean() for d in range(1, 7)],
    },
    index=pd.Index(range(1, 7), name="edges that differ"),
)
near.round(1)

# %% [markdown]
# Neighbours are more alike than strangers. Evolution lives on that.
#
# ## 3 · Mutation
#
# A child is a copy of its parent in which some genes are drawn again, here with probability ½. Each row is an
# architecture, each box a decision.

# %%
rng = np.random.default_rng(cfg.seed)
parent = space.parse(val.idxmax())
children = {f"child {i}": space.mutate(parent, rng, 0.5) for i in (1, 2, 3)}
changed = {name: [2 * (a != b) for a, b in zip(child, parent, strict=True)] for name, child in children.items()}
names = ("parent's", "", "changed")
figures["mutation"] = plots.genes(space, {"parent": parent} | children, {"parent": [0] * 6} | changed, names)
figures["mutation"]

# %% [markdown]
# A gene that is *redrawn* may come out as it was: with probability $p$ of a redraw and $n$ choices it *changes* with
# probability $p\,(1 - 1/n)$.
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
# The package's `space.mutate` keeps the same promise:

# %%
many = np.array([space.mutate(parent, rng, 0.3) for _ in range(5000)])
assert np.allclose((many != parent).mean(0), 0.3 * (1 - 1 / 3), atol=0.03)

# %% [markdown]
# ## 4 · Crossover
#
# A child of two parents takes some genes from each. **Single-point**: a cut, and the genes before it come from the
# mother, the others from the father. **Uniform**: a coin for every gene. Where neighbouring genes work together, a
# single cut tears fewer of them apart.

# %%
mother, father = (space.parse(text) for text in val.nlargest(40).index[[0, -1]])
archs, origins = {"mother": mother, "father": father}, {"mother": [0] * 6, "father": [1] * 6}
tags = (0,) * 6, (1,) * 6  # crossing these, too, with the same generator, tells where every gene comes from
for kind in ("single_point", "uniform"):
    archs[kind] = space.crossover(mother, father, np.random.default_rng(3), kind)
    origins[kind] = space.crossover(*tags, np.random.default_rng(3), kind)
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
# **Top k**: any of the best $k$ of the population, equally likely. **Tournament**: draw $k$ members, the best of them
# wins. In a population of $P$ the member of rank $r$ wins with probability $\binom{P-r}{k-1} / \binom{P}{k}$. The
# larger $k$, the greedier is a tournament; for top k it is the other way round.

# %%
P = 20
chances = {f"tournament, k = {k}": [comb(P - r, k - 1) / comb(P, k) for r in range(1, P + 1)] for k in (2, 5, 10)}
chances["top k, k = 5"] = [1 / 5 if r <= 5 else 0 for r in range(1, P + 1)]
assert all(abs(sum(values) - 1) < 1e-12 for values in chances.values())
labels = {"xlabel": "rank in the population", "ylabel": "probability to be a parent", "ylim": (0, None)}
figures["selection"] = plots.lines(chances, **labels)
figures["selection"]

# %% [markdown]
# ### Exercise 07.3: tournament selection
# *Difficulty 2 of 3, about 10 min.* Draw `k` **different** members of the population at random and return the index of
# the one with the highest of `scores`.
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
# From scratch: a random population; then breed from the best `k` seen so far until the budget is spent.


# %%
def my_evolution(space, evaluate, budget, rng, population=20, k=5, p=0.2):
    _, history = my_random_search(space, evaluate, population, rng)
    while len(history) < budget:
        best = sorted(history, key=history.get, reverse=True)[:k]
        child = space.mutate(best[rng.integers(k)], rng, p)
        if rng.random() < 0.5:
            child = space.crossover(child, best[rng.integers(k)], rng)
        if child not in history:
            history[child] = evaluate(child)
    return max(history, key=history.get), history


# %% [markdown]
# The package's draws otherwise, so the two do not find the same architectures. But neither asks for an architecture
# twice, and the children of both are better than random ones. Beside them random search, with as many evaluations:

# %%
config = EvolutionConfig(budget=cfg.budget, population=20, children=10, k=5, mutation=0.2)


def searches(seed):
    rng, theirs = np.random.default_rng(seed), evolution(space, evaluate, config, seed=seed)
    return my_evolution(space, evaluate, cfg.budget, rng)[1], {r["arch"]: r["score"] for r in theirs.history}


pairs = [searches(seed) for seed in range(cfg.seeds)]
assert all(len(history) == cfg.budget for pair in pairs for history in pair)

# %%
curves = {
    name: val.max() - np.array([np.maximum.accumulate(list(pair[i].values())) for pair in pairs])
    for i, name in enumerate(("from scratch", "package"))
}
bred = {name: [np.mean(list(pair[i].values())[20:]) for pair in pairs] for i, name in enumerate(curves)}
assert all(np.mean(values) > val.mean() for values in bred.values())  # children are better than random ones
rival = {"random search": val.max() - np.array(drawn)}
figures["scratch"] = plots.anytime({"two evolutions": curves | rival}, first=5)
figures["scratch"]

# %%
medians = {name: float(np.median(values[:, -1])) for name, values in (curves | rival).items()}
behind = [name for name in curves if medians[name] >= medians["random search"]]
Markdown(
    f"Median regret after {cfg.budget} evaluations: "
    + ", ".join(f"{name} {value:.2f}" for name, value in medians.items())
    + (f". Not better than random search: **{', '.join(behind)}**." if behind else ". **Both beat random search.**")
)

# %% [markdown]
# ### Ageing
#
# A parent that was lucky once could breed for ever. **Regularised evolution** lets the *oldest* member die at every
# step, however good it is: only what is good again and again, through its children, stays in the population. It matters
# most where an evaluation is noisy. In the package it is one switch, `ageing=True`.
#
# ## 7 · A budget of computation
#
# Any predicate of an architecture can be a constraint. `tables.at_most(table, budget)` is one that also knows how to
# draw within a tight budget, so that no time is lost on refused architectures. Grey dots are all 729 networks, coloured
# ones are those that evolution asked about.

# %%
low, high = macs.bounds()
budget = low + 0.4 * (high - low)
tight = evolution(
    space, evaluate, replace(config, budget=60, feasible=tables.at_most(macs, budget), costs={"macs": macs})
)
assert all(record["macs"] <= budget for record in tight.history)
asked = [record["arch"] for record in tight.history]
stands = {
    name: ([macs(a) for a in archs], [test[space.format(a)] for a in archs])
    for name, archs in {"asked by evolution": asked, "evolution's pick": [tight.best]}.items()
}
axes = {"xlabel": "MACs", "ylabel": "test accuracy (%)"}
figures["budget"] = plots.scatter({"all 729": (bench.frame.macs, test)} | stands, crowd="all 729", **axes)
figures["budget"].guide(x=budget, linestyle="--", label=f"budget: {budget:,.0f}")
figures["budget"]

# %% [markdown]
# What cannot be met is said at once, with the range that can be:

# %%
try:
    tables.at_most(macs, 100)
except errors.BudgetError as error:
    print(error)

# %% [markdown]
# ## 8 · The race
#
# Equal budgets, the same seeds, and everybody starts from random draws. **Left:** the regret of what the search *sees*,
# the validation accuracy. That is what it is responsible for. **Right:** the regret of its pick in *truth*, the test
# accuracy. Lines are medians over seeds, bands hold the middle half.
#
# A fourth contestant has no population: **local search** climbs from a random architecture to the first neighbour that
# is better, one changed decision away, and starts anew from another draw where no neighbour is.

# %%
aged = EvolutionConfig(20, 1, parents="tournament", k=5, crossover=None, mutation=0.2, ageing=True)
strategies = {
    "random search": (random_search, SearchConfig()),
    "evolution": (evolution, config),
    "regularised evolution": (evolution, aged),
    "local search": (local_search, SearchConfig()),
}


# %%
def leaders(scores):
    """After every evaluation, the index of the first one with the best score so far."""
    return np.maximum.accumulate(
        [i if score > max(scores[:i], default=-np.inf) else 0 for i, score in enumerate(scores)]
    )


def race(bench, space, budget):
    """Regret seen and regret in truth after every evaluation, by strategy: two arrays (seeds, budget) each."""
    seen, true = bench.scores("val"), bench.scores("test")
    value, found = bench.evaluator(space, "val"), {"seen": {}, "true": {}}
    for name, (strategy, settings) in strategies.items():
        settings = replace(settings, budget=budget)
        runs = [strategy(space, value, settings, seed=seed).history for seed in range(cfg.seeds)]
        scores = np.array([[record["score"] for record in run] for run in runs])
        truth = np.array([[true[space.format(record["arch"])] for record in run] for run in runs])
        best = np.array([leaders(row) for row in scores])
        found["seen"][name] = seen.max() - np.maximum.accumulate(scores, axis=1)
        found["true"][name] = true.max() - np.take_along_axis(truth, best, axis=1)
    return found


# %%
here = race(bench, space, cfg.budget)
titles = {"seen": "seen: validation accuracy", "true": "in truth: test accuracy of the pick"}
figures["race"] = plots.anytime({titles[key]: here[key] for key in titles}, first=5)
figures["race"]

# %% [markdown]
# At the end of the budget: 25 %, 50 % and 75 % quantiles of the regret over seeds, and how often, of all pairs of
# seeds, evolution ends ahead of random search (ties count half).


# %%
def ahead(a, b):
    """The probability that a random search of `a` ends with a smaller regret than one of `b`; a tie counts half."""
    difference = b[:, -1][None] - a[:, -1][:, None]
    return float((difference > 0).mean() + (difference == 0).mean() / 2)


def standings(found):
    rows = {}
    for name, curves in found.items():
        quantiles = np.quantile(curves[:, -1], (0.25, 0.5, 0.75))
        rows[name] = [*quantiles, ahead(curves, found["random search"])]
    return pd.DataFrame.from_dict(rows, "index", columns=["25 %", "median", "75 %", "ahead of random"])


summary = pd.concat({key: standings(here[key]) for key in here})
summary.round(2)


# %%
def verdict(found, what):
    """What the numbers say of evolution against random search."""
    a, b = found["evolution"], found["random search"]
    mine, theirs, share = np.median(a[:, -1]), np.median(b[:, -1]), ahead(a, b)
    wins = "wins" if mine < theirs else "does **not** win" if mine > theirs else "ties"
    return (
        f"{what}: evolution {wins}, median regret **{mine:.2f}** against **{theirs:.2f}** points after "
        f"{a.shape[1]} evaluations, {len(a)} seeds; ahead in {share:.0%} of pairs."
    )


top = val.nlargest(50).index
agree = {"all": val.corr(test, method="kendall"), "top": val[top].corr(test[top], method="kendall")}
Markdown("\n".join(["- " + verdict(here["seen"], "What is seen"), "- " + verdict(here["true"], "In truth")]))

# %% [markdown]
# **Why the two panels differ.** A search climbs what it is shown. Over all 729 architectures validation and test
# accuracy order them much alike; among the best 50, where a search spends its time, they agree far less. The validation
# set is small, and its best architecture is to some part the luckiest one. A better *strategy* cannot repair that, it
# only finds the luckiest one sooner. More validation images or more seeds can.

# %%
winner = val.idxmax()
points = {"seen by the search": (val[top], test[top]), "the pick": (val[winner], test[winner])}
labels = {"xlabel": "validation accuracy (%)", "ylabel": "test accuracy (%)", "width": 7}
figures["agreement"] = plots.scatter({f"the best 50 seen, τ = {agree['top']:.2f}": points}, **labels)
figures["agreement"].guide(y=test[top].max(), label="the best of these")
figures["agreement"]

# %%
Markdown(
    f"Kendall's τ of validation and test accuracy: {agree['all']:.2f} over all, **{agree['top']:.2f}** in the best 50. "
    f"Whoever finds the very best validation accuracy has a true regret of **{test.max() - test[winner]:.1f} points**."
)

# %% [markdown]
# ### Exercise 07.4: a fair any-time curve
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
# ## 9 · The same on NAS-Bench-201
#
# The published benchmark that our small space was cut from: five operations, 15,625 cells, trained by its authors on
# CIFAR-10 (test accuracy after 200 epochs, mean of their seeds; theirs, not verified here). Its file is not part of
# this project: set `NASEDU_DATA`, or `data_root`, to the folder that holds `nb201`. Without it this section is skipped.

# %%
root = cfg.data_root or os.environ.get("NASEDU_DATA")
large = None
try:
    large = benchmarks.nasbench201(root) if root else None
except errors.DataError as error:
    print(error)
there = race(large, spaces.create("nasbench201"), cfg.large_budget) if large else None
if there:
    figures["nasbench201"] = plots.anytime({"NAS-Bench-201, CIFAR-10": there["true"]}, first=10)
    summary = pd.concat([summary, pd.concat({"NAS-Bench-201": standings(there["true"])})])
figures.get("nasbench201", "No NASEDU_DATA and no data_root: NAS-Bench-201 is skipped.")

# %%
Markdown(verdict(there["true"], f"Of {len(large):,} cells") if there else "Skipped: no data.")

# %% [markdown]
# ## 10 · Move it yourself
#
# Population, mutation, parents, ageing: each move runs evolution again on our table (Tab and the arrow keys work, too).
# Try to make evolution *worse* than random search. (Hint: one parent, hardly any mutation; or mutation 1.)

# %%
from nasedu.widgets import EvolutionWidget

widget = EvolutionWidget(
    space, evaluate, best=val.max(), budget=min(100, cfg.budget), seeds=cfg.widget_seeds, config=config
)
widget

# %% [markdown]
# The same as a fixed figure, for pages that cannot run: four ways to set it. With mutation 1 every gene is redrawn,
# which is random search under another name. A small population starts to breed sooner, from less.

# %%
settings = {
    "mutation 0.05": EvolutionConfig(mutation=0.05, crossover=None),
    "mutation 0.2": EvolutionConfig(mutation=0.2, crossover=None),
    "mutation 1": EvolutionConfig(mutation=1.0, crossover=None),
    "population 5, mutation 0.2": EvolutionConfig(5, 2, k=2, mutation=0.2, crossover=None),
}
again = {
    name: val.max()
    - np.array([evolution(space, evaluate, replace(c, budget=cfg.budget), seed=s).anytime() for s in range(cfg.seeds)])
    for name, c in settings.items()
}
figures["settings"] = plots.anytime({"what is seen": again}, first=5)
figures["settings"]

# %%
last = {name: np.median(values[:, -1]) for name, values in again.items()}
Markdown("Median regret at the end: " + ", ".join(f"{name}: {value:.2f}" for name, value in last.items()) + ".")

# %% [markdown]
# ## Summary
#
# - Random search can be computed in advance, from the table alone. It is the bar for every other search.
# - Evolution is random search near good architectures: it pays where neighbours are alike.
# - Mutation keeps it moving, selection keeps it greedy; a budget is a predicate.
# - Compare searches by any-time regret over many seeds, with quantiles, at equal numbers of evaluations.
# - What a search sees and what is true are two things: report both.
#
# **Pitfalls**
#
# - *One seed.* The bands above are wide: a single run proves nothing, for either side.
# - *Counting twice.* An architecture asked again must not count as new, nor cost nothing. Here none is asked twice.
# - *The best of the validation set.* It is chosen for its luck as well: expect less on the test set.
# - *Redraw or change.* "Mutation rate 0.1" means one or the other in different codes: a factor of 1 − 1/n.
# - *Large k.* Greedier for a tournament, less greedy for top k.
#
# **Further reading**
#
# - Random search as the bar: Li and Talwalkar, *Random Search and Reproducibility for Neural Architecture Search*,
#   UAI 2019
# - Regularised evolution: Real, Aggarwal, Huang, Le, *Regularized Evolution for Image Classifier Architecture Search*,
#   AAAI 2019
# - Evolution on a supernet: Guo et al., *Single Path One-Shot Neural Architecture Search with Uniform Sampling*,
#   ECCV 2020
# - NAS-Bench-201: Dong and Yang, ICLR 2020
# - How to compare: Lindauer and Hutter, *Best Practices for Scientific Research on Neural Architecture Search*,
#   JMLR 2020

# %%
course.finish(
    cfg,
    summary=summary.round(3),
    figures=figures,
    results={
        "regret": {key: standings(here[key]).to_dict("index") for key in here},
        "nasbench201": standings(there["true"]).to_dict("index") if there else None,
        "kendall_tau_val_test": agree,
        "regret_of_the_best_seen": test.max() - test[winner],
        "settings": last,
    },
)
