# %% [markdown]
# # Ablation: what does each part buy?
#
# Take WZDNAS apart, part by part, and learn how many seeds it takes to say what each one buys.
#
# A method of many parts is published with one good number. Which part earned it? To find out, one takes parts away, one
# at a time or in pairs, and looks at what changes: an **ablation**. It is honest only if the change is larger than what
# another seed would have changed. So this notebook begins with the seeds.
#
# **Afterwards you can**
#
# 1. say what difference a number of seeds can resolve, before you spend them;
# 2. tell a variance of the search from a variance of the training;
# 3. read main effects and an interaction from a design of two by two;
# 4. find the place where test images leak into a choice;
# 5. judge one supernet's ranking, and draw a frontier of precision against latency from it.
#
# **You need** notebook 14. Notebooks 05 and 11 help.
#
# | preset | what it runs | time, two CPU cores |
# |---|---|---|
# | `smoke` | three searches: only proves that every cell works | 1 minute |
# | `quick` | twenty searches for each of four arms; what is trained is read from stored tables | 80 seconds |
# | `full` | forty searches for each arm, of 20,000 steps | not measured |
# | `gpu` | as `full` | not measured |

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu; it sets every parameter below that is None
searches: int = None  # seeds of every search that runs here
steps: int = None  # of theta in each search
targets: int = None  # budgets for which descent, evolution and the exact optimum are compared
evaluations: int = None  # architectures that evolution and random search look at
draws: int = None  # shuffles in "the best of many"
judged: int = None  # sub-networks that a supernet trained here judges; 0: read the stored ones
epochs: int = None  # of that supernet
images: int = None  # that it learns
threads: int = None  # CPU threads
seed: int = None  # of every random choice
device: str = None  # auto, cpu, cuda, cuda:1 ...
out_dir: str = None  # folder of the results; None: one per set of parameters

# %%
from itertools import chain, product

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from scipy import stats

from nasedu import course, data, plots, ranking, sampling, spaces, tables, widgets, wzdnas
from nasedu.course.checks.ablation import (
    check_difference,
    check_effects,
    check_leaks,
    check_resolution,
    check_variances,
)
from nasedu.data import benchmark
from nasedu.errors import check_whole
from nasedu.search import (
    DescentConfig,
    EvolutionConfig,
    SearchConfig,
    StratifiedConfig,
    SupernetScore,
    descend,
    evolution,
    random_search,
    stratified_search,
)
from nasedu.search.pareto import efficient, hypervolume
from nasedu.task import fit

cfg = course.setup("15_ablation", globals())
# the least and the most that a parameter may be
limits = {"searches": (2, 1000), "steps": (1, 10**6), "targets": (1, 100)}
limits |= {"evaluations": (10, 10**6), "threads": (1, 1024)}
limits |= {"draws": (2, 10**5), "judged": (0, 10**6), "epochs": (1, 10**4), "images": (32, 10**6)}
for name, (least, most) in limits.items():
    check_whole(name, getattr(cfg, name), least, most)
torch.set_num_threads(cfg.threads)
cfg

# %% [markdown]
# ## 1 · Power first
#
# A hundred detectors of notebook 14's space were trained on small scenes of digits, each with two seeds
# (`datasets/detectors_digits.py`). Some sixty of them have the FLOPs of the hand-designed network within 3 %: among
# those a search has to choose. How far apart are they, and how far apart are two trainings of one network?

# %%
truth = benchmark.load("detectors_digits")
space = spaces.create(truth.space_name, **truth.space_options)
archs = {text: space.parse(text) for text in truth.frame.index}
# a row for every network, a column for every training
by_seed = pd.DataFrame({s: truth.scores("test", seed=s) for s in truth.seeds})
usual = next(text for text, arch in archs.items() if arch == space.hand_designed)
macs = truth.frame.macs / truth.frame.macs[usual]
alike = (macs - 1).abs() <= 0.03
ap = by_seed.mean(axis=1)
groups = {"equal FLOPs": by_seed[alike], "other FLOPs": by_seed[~alike]}
assert usual in macs[alike].index and alike.sum() >= 60
print(f"{len(archs)} networks with the seeds {truth.seeds}; {alike.sum()} have equal FLOPs")


# %% [markdown]
# The standard deviation of the networks' means, and how far one training lies from its network's mean:


# %%
def spread_and_noise(frame):
    """Deviation of the networks' means, and that of a training about its network's mean."""
    return frame.mean(axis=1).std(), np.sqrt(frame.var(axis=1).mean())


measured = {name: spread_and_noise(frame) for name, frame in groups.items()}
rows = {name: (len(groups[name]), *values) for name, values in measured.items()}
pd.DataFrame(rows, ["networks", "spread of means (AP, %)", "noise of one training"]).T.round(2)

# %% [markdown]
# Each dot is a network, a mean of two trainings:

# %%
kinds_of = {"equal FLOPs": alike, "other FLOPs": ~alike}
clouds = {name: (macs[one], ap[one]) for name, one in kinds_of.items()}
look = {"xlabel": "FLOPs, in those of the hand-designed one", "ylabel": "AP (%), mean of two seeds"}
figures = {"truth": plots.scatter(clouds, **look)}
figures["truth"]

# %% [markdown]
# Would the order come out again? Each network was trained twice, so one training can be asked about the other:

# %%
first, second = (by_seed[s] for s in truth.seeds[:2])
again = {
    name: ranking.correlation(first[one], second[one])
    for name, one in {"equal FLOPs": alike, "other FLOPs": ~alike}.items()
}
figures["again"] = plots.dots(again, xlabel="Kendall's τ of two seeds", xlim=(-0.5, 1))
figures["again"]

# %% [markdown]
# Hardly: one training says little about the next one of the same networks.
#
# Now commit yourself. WZDNAS adds two parts to a descent on zero-cost scores: a warm-up of the supernet, and a latency
# term in the loss. Section 7 shows what the networks of both came to, trained four times each. A part of a *method* has
# done something if it does so again with another search, which may find another network.

# %%
question = "Which part of the method moves the AP of what is found, so far that this can be told?"
answers = ["the warm-up", "the latency term", "both", "neither can be told"]
guess = course.predict(question, answers)

# %% [markdown]
# Is a difference of one point of AP worth looking for, with three seeds? Student's interval says what can be resolved.
#
# ### Exercise 15.1: what n seeds can resolve
# *Difficulty 1 of 3, about 10 min; design.* Two methods are run with n seeds each, without pairs. A single result
# varies by `sd`. How far does the 95 % interval of the difference of both means reach to either side? The variance of
# a difference is the sum of both variances; Student's t has $2n - 2$ degrees.
#
# <details><summary>Hint 1</summary>The mean of n results has the variance <code>sd ** 2 / n</code>.</details>
# <details><summary>Hint 2</summary><code>stats.t.ppf(0.975, 2 * n - 2)</code></details>


# %% tags=["stub"]
def resolution(sd, n):
    raise NotImplementedError


# %% tags=["solution"]
def resolution(sd, n):
    return stats.t.ppf(0.975, 2 * n - 2) * sd * (2 / n) ** 0.5


# %% tags=["nbval-check-output"]
check_resolution(resolution)

# %% [markdown]
# Over the number of seeds, beside the spread of the networks that one would like to tell apart:

# %%
noise = measured["equal FLOPs"][1]
seeds = np.arange(2, 41)
reach = {"unpaired": [stats.t.ppf(0.975, 2 * n - 2) * noise * (2 / n) ** 0.5 for n in seeds]}
figures["power"] = plots.lines(reach, seeds, xlabel="seeds of each method", ylabel="reach (AP)")
# the means of two trainings vary by half of a training's variance, too
own_spread = max(0.0, measured["equal FLOPs"][0] ** 2 - noise**2 / 2) ** 0.5
figures["power"].guide(y=own_spread, label="spread of networks")
figures["power"]

# %%
needed = next((int(n) for n, far in zip(seeds, reach["unpaired"], strict=True) if far < 1), None)
Markdown(
    f"A training varies by {noise:.2f} points. Three seeds of each method resolve "
    f"**{reach['unpaired'][1]:.1f} points**; one point takes "
    + (f"**{needed} seeds**." if needed else f"more than {seeds[-1]} seeds.")
)

# %% [markdown]
# To resolve a point is not yet to find one. Where the interval reaches one point to either side, a true difference of
# one point is told in half of all experiments. Move it yourself: seeds, noise and difference, and how often an
# experiment of that size would find what is there.

# %%
widgets.PowerWidget(sd=round(float(noise), 2))

# %% [markdown]
# The same by hand, for pages that cannot run: how often one point is told, by the seeds of each method.

# %%
some = np.array([3, 10, 40, 80])
limits, shift = stats.t.ppf(0.975, 2 * some - 2), 1 / (noise * np.sqrt(2 / some))
pd.Series(stats.nct.sf(limits, 2 * some - 2, shift).round(2), some, name="told")

# %% [markdown]
# ### What sharpens it
#
# Before more seeds are bought, the experiment itself can be made sharper: more test images, averaged weights, longer
# training, pairs. Three networks of equal FLOPs were trained with three seeds in three ways
# (`datasets/power_digits.py`); those of one seed saw the same batches in the same order. *Usual* is the training of the
# truth, *longer* has twice its epochs, and *inherited* starts all three from the same untrained weights, where their
# shapes agree. AP is that of the averaged weights; *last weights* are those of the last step. For each way and test,
# the noise of one training, and of a difference of two networks: with other seeds ($\sqrt 2$ times as much), and with
# the same one. The last row has no new way, but twenty networks and four seeds (`datasets/ablation_trained.py`): there
# noise is known better.
#
# A seed moves all networks up or down together, or it does not: a two-way analysis of variance tells. What it takes out
# of a difference is what pairs are worth, in seeds. Its interval comes from the F distribution.


# %%
def noises(rows, column):
    """AP; deviations: training, difference, paired difference; what pairs are worth; degrees."""
    scores = rows.pivot(index="seed", columns="arch", values=column)
    seeds, networks = scores.shape
    of_seed = scores.mean(axis=1) - scores.to_numpy().mean()
    left = scores.sub(scores.mean(), axis=1).sub(of_seed, axis=0)  # not explained
    degrees = (seeds - 1) * (networks - 1)
    residual, by = (left**2).to_numpy().sum() / degrees, networks * of_seed.var()
    alone = (by + (networks - 1) * residual) / networks
    ratios = by / residual / np.array([1, *stats.f.ppf((0.975, 0.025), seeds - 1, degrees)])
    worth = 1 + np.maximum(0, ratios - 1) / networks
    return scores.to_numpy().mean(), *np.sqrt([alone, 2 * alone, 2 * residual]), *worth, degrees


power = pd.read_csv(benchmark.FOLDER / "power_digits.csv")
tests = {"averaged_300": "300 images", "averaged_1000": "1,000 images", "last_1000": "last weights"}
sharper = {
    f"{way}, {words}": noises(power[power.way == way], column)
    for way in ("usual", "longer", "inherited")
    for column, words in tests.items()
}
print(f"{len(power)} trainings")
# %% [markdown]
# Beside them the twenty networks, whose noise is known better:

# %%
twenty = benchmark.load("ablation_trained")
each = {seed: twenty.scores("test", seed=seed) for seed in twenty.seeds}
by_four = pd.concat(each, names=["seed", "arch"])
# the last row, of another experiment
many = noises(by_four.rename("ap").reset_index(), "ap")
columns = [
    "AP (%)",
    "one training",
    "difference, other seeds",
    "difference, same seed",
    "pairs are worth (seeds)",
    "worth, low",
    "worth, high",
]
sharpness = pd.DataFrame(sharper | {"twenty networks, 600 images": many}, [*columns, "degrees"]).T
sharpness[columns].round(2)

# %% [markdown]
# Which way is the sharpest? Three networks and three seeds know a deviation badly, too. Its 95 % interval (from the
# $\chi^2$ distribution):


# %%
def interval(row):
    """The deviation of a paired difference, and its interval."""
    sd, n = row["difference, same seed"], row.degrees
    return plots.Interval(sd, *(sd * np.sqrt(n / stats.chi2.ppf((0.975, 0.025), n))))


known_within = {name: interval(row) for name, row in sharpness.iterrows()}
figures["sharper"] = plots.dots(known_within, xlabel="deviation of a difference, same seed (AP)")
figures["sharper"]

# %% [markdown]
# What can be told from this?

# %%
usual_low = known_within["usual, 300 images"].low
# a way is clearly sharper where its whole interval lies below that of the usual one
clear = [row for row, sd in known_within.items() if sd.high < usual_low]
plain, larger = (sharper[f"usual, {size} images"][1] for size in ("300", "1,000"))
Markdown(
    f"Clear of the usual way's interval: **{', '.join(clear) or 'nothing'}**. More test images "
    f"leave the noise of a training where it was ({plain:.2f} and {larger:.2f} points): as far as "
    f"three networks tell, it is not that of the test. Pairs are worth **{many[4]:.1f} times as "
    f"many seeds** ({many[5]:.1f} to {many[6]:.1f}), over twenty networks. Longer training takes "
    "twice the time, which would have paid for twice the seeds."
)

# %% [markdown]
# ## 2 · Two variances
#
# A search that is run again may find another network, and a network that is trained again has another precision. Both
# add up in what a paper prints as one standard deviation.
#
# ### Exercise 15.2: a paired difference
# *Difficulty 1 of 3, about 10 min; design.* Two networks were trained with the same seeds: same batches, same order.
# What a seed does to both cancels out in their difference. `a` and `b` map seeds to results. Return the mean of a - b
# over the seeds that both have, and the ends of its 95 % interval.
#
# <details><summary>Hint 1</summary>First the differences, then their mean and their standard deviation.</details>
# <details><summary>Hint 2</summary><code>a.keys() & b.keys()</code> are the seeds that both have; t has n - 1
# degrees.</details>


# %% tags=["stub"]
def difference(a, b):
    raise NotImplementedError


# %% tags=["solution"]
def difference(a, b):
    gaps = np.array([a[seed] - b[seed] for seed in a.keys() & b.keys()])
    half = stats.t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / len(gaps) ** 0.5
    return gaps.mean(), gaps.mean() - half, gaps.mean() + half


# %% tags=["nbval-check-output"]
check_difference(difference)

# %% [markdown]
# ### Exercise 15.3: two variances
# *Difficulty 3 of 3, about 15 min.* `values` has a row for every search and a column for every training of what it
# found. The variance of the training is the mean, over searches, of the variance within a row. The means of the rows
# vary by the search *and* by what few trainings leave of the noise, a share of 1 / columns. Return the variance of the
# search, at least 0, and that of the training.
#
# <details><summary>Hint 1</summary><code>values.var(axis=1, ddof=1)</code></details>
# <details><summary>Hint 2</summary>From the variance of the means take the training's variance divided by the number of
# columns.</details>


# %% tags=["stub"]
def variances(values):
    raise NotImplementedError


# %% tags=["solution"]
def variances(values):
    training = values.var(axis=1, ddof=1).mean()
    search = values.mean(axis=1).var(ddof=1) - training / values.shape[1]
    return max(0.0, search), training


# %% tags=["nbval-check-output"]
check_variances(variances)

# %% [markdown]
# Of the sixty networks of equal FLOPs, drawn at random: what would a "search" by drawing vary by, and what a training?


# %%
def mean_squares(values):
    """Deviations of the networks (with their 95 % interval) and of a training; rows are networks.

    A one-way analysis of variance; the interval is that of the F distribution.
    """
    count, trainings = values.shape
    means = values.mean(axis=1)
    between = trainings * means.var(ddof=1)
    within = ((values - means[:, None]) ** 2).sum() / (count * (trainings - 1))
    ends = np.array([1, *stats.f.ppf((0.975, 0.025), count - 1, count * (trainings - 1))])
    return *np.sqrt(np.maximum(0, between / ends - within) / trainings), within**0.5


of_network, low, high, of_training = mean_squares(by_seed[alike].to_numpy())
than = "less" if of_network < of_training else "more"
Markdown(
    "Among networks of equal FLOPs the standard deviation of the network is "
    f"**{of_network:.2f} points** ({low:.2f} to {high:.2f}), that of a training "
    f"**{of_training:.2f}**. So "
    + (f"networks differ, by {than} than trainings do." if low > 0 else "networks may be alike.")
)

# %% [markdown]
# ### The best of many
#
# Which of their choices makes the difference? There are eighteen, and the best of eighteen looks good whatever it is.
# So first a world in which nothing matters: the AP of all networks, **shuffled**. Fifteen detectors are looked at, and
# the best of the eighteen choices is kept. Then the networks are asked that were not looked at.


# %%
def ranks(some):
    """Ranks, centred and of length one: the product of two is Spearman's correlation."""
    centred = stats.rankdata(some, axis=-1) - (np.shape(some)[-1] + 1) / 2
    # what is the same everywhere correlates with nothing
    return centred / np.maximum(np.linalg.norm(centred, axis=-1, keepdims=True), 1e-9)


def correlations(rows, level):
    """Spearman's rank correlation of every choice with AP, over some networks."""
    return ranks(choices[rows].T) @ ranks(level[rows])


def discovery(rng, few=15):
    """In a world without effects: the best choice on a few networks, on the rest, and on all."""
    order, shuffled = rng.permutation(len(level)), rng.permutation(level)
    seen, rest = (correlations(part, shuffled) for part in (order[:few], order[few:]))
    best = int(np.abs(seen).argmax())
    sign = np.sign(seen[best])
    return sign * seen[best], sign * rest[best], np.abs(correlations(order, shuffled)).max()


choices = np.array([archs[text] for text in ap[alike].index])
level = ap[alike].to_numpy()
draws = np.array([discovery(np.random.default_rng([cfg.seed, i])) for i in range(cfg.draws)])
figures["many"] = plots.histogram(
    {"on the fifteen that were looked at": draws[:, 0], "on all others": draws[:, 1]},
    xlabel="Spearman's ρ of the best of 18 choices with shuffled AP",
)
figures["many"]

# %% [markdown]
# Chance finds something each time, and loses it again. Now the true AP, over all networks of equal FLOPs. How often
# does a shuffle reach as much?

# %%
true = correlations(np.arange(len(level)), level)
best = int(np.abs(true).argmax())
winner = space.decisions[best].name
# the true order is one of the shuffles, too
reached = (1 + (draws[:, 2] >= abs(true[best])).sum()) / (1 + len(draws))
Markdown(
    f"The best of eighteen is **{winner}**, with ρ = {true[best]:+.2f}. By chance the best of many "
    f"has {draws[:, 2].mean():.2f} in the mean, and reaches as much in **{reached:.1%}** of the "
    "shuffles."
)

# %% [markdown]
# That is no accident any more. Look at it: AP by this choice, a dot for every network.

# %%
depth = pd.Series({text: arch[best] for text, arch in archs.items()})
labels = space.decisions[best].choices
figures["choice"] = plots.dots(
    {f"{winner} = {label}": ap[alike & (depth == i)].to_numpy() for i, label in enumerate(labels)},
    xlabel="AP (%)",
)
figures["choice"]

# %% [markdown]
# `neck2` is the last block of the finest scale, on which small digits are found. Without a bottleneck in it, networks
# are worse; a second one does not help. A finding has to hold where it was not found: among the networks of other
# FLOPs, and among those that were trained later for section 8. There a network with the bottleneck is larger, too, on
# average. So size is taken out: AP is fitted, by least squares, by the bottleneck and the logarithm of FLOPs.

# %%
last = benchmark.load("frontier_trained")
# what the truth has not
later = last.scores("test").drop(labels=ap.index, errors="ignore")
has = depth > 0
later_has = pd.Series({text: space.parse(text)[best] > 0 for text in later.index})
replicas = {
    "equal FLOPs, where it was found": (ap[alike], has[alike], macs[alike]),
    "other FLOPs": (ap[~alike], has[~alike], macs[~alike]),
    "trained later, for section 8": (later, later_has, last.frame.macs[later.index]),
}
for words, (_, made, _) in replicas.items():
    print(f"{words}: {made.sum()} networks with a bottleneck there, {(~made).sum()} without")


# %% [markdown]
# What the bottleneck adds at equal FLOPs, with Student's interval:


# %%
def adds(level, made, size):
    """The weight of a choice beside that of size, by least squares."""
    columns = np.column_stack([np.ones(len(level)), made.astype(float), np.log(size)])
    weights, left_over, *_ = np.linalg.lstsq(columns, level.to_numpy())
    degrees = len(level) - columns.shape[1]
    variance = left_over[0] / degrees * np.linalg.inv(columns.T @ columns)[1, 1]
    half = stats.t.ppf(0.975, degrees) * variance**0.5
    return plots.Interval(weights[1], weights[1] - half, weights[1] + half)


with_it = {words: adds(*given) for words, given in replicas.items()}
figures["with_it"] = plots.dots(with_it, xlabel="AP that a bottleneck adds (points)").guide(x=0)
figures["with_it"]

# %% [markdown]
# Is anything left once this choice is made? The two variances again, among those that made it in the same way:

# %%
left = {"without": mean_squares(by_seed[alike & ~has].to_numpy())}
left["with"] = mean_squares(by_seed[alike & has].to_numpy())
# of networks
counts = {"with": (alike & has).sum(), "without": (alike & ~has).sum()}
Markdown(
    " ".join(
        f"Of the {counts[key]} networks {key} a bottleneck in `neck2` the deviation of the network "
        f"is **{row[0]:.1f} points** ({row[1]:.1f} to {row[2]:.1f})."
        for key, row in left.items()
    )
    + " So more than this one choice cannot be told." * (not any(row[1] for row in left.values()))
)

# %% [markdown]
# Keep this in mind. A score that knows nothing but this choice will look as if it knew networks. So from here on, every
# judge is asked twice: among all networks of equal FLOPs, and **among those with the bottleneck**.

# %% [markdown]
# ## 3 · Do the maps know what is good?
#
# A zero-cost map is a lookup table, so it scores every network at once. The stored maps come from supernets after five
# warm-ups (`datasets/ablation_wzdnas.py`): *none*; *statistics alone*, a few passes that set batch normalisation and
# leave the weights as they are drawn; *published*, notebook 14's; *factorised*, the authors' speed-up, which trains
# each large convolution as a thin pair; and the *sandwich rule* of notebook 05. Each in both semantics of notebook 14
# and from two initialisations. Against the truth of the networks of equal FLOPs, where size cannot help:

# %%
stored = pd.read_csv(benchmark.FOLDER / "ablation_maps.csv.gz")
ARM = ["warmup", "semantics", "supernet", "proxy"]


def map_of(rows):
    """A stored map as the table that it was."""
    groups = [part.sort_values("option").score.to_numpy() for _, part in rows.groupby("group")]
    shapes = [[space.choices[d] for d in group] for group in space.groups]
    entries = [torch.tensor(g).view(s) for g, s in zip(groups, shapes, strict=True)]
    return tables.LookupTable(space, "map", "score", 0.0, entries, own=True)


maps = {arm: map_of(rows) for arm, rows in stored.groupby(ARM)}
WORDS = {"none": "no warm-up", "bn_only": "statistics alone", "train": "published"}
WORDS |= {"factorised": "factorised", "sandwich": "sandwich rule"}
print(f"{len(maps)} maps, after {', '.join(WORDS.values())}")


# %% [markdown]
# A map scores a network by the sum of its entries. How well does that order the truth?

# %%
# what "none" scores is 0, and chance has a cell of its own below
own = {arm: table for arm, table in maps.items() if arm[3] not in ("none", "random")}
scores = {arm: np.array([table(archs[text]) for text in ap.index]) for arm, table in own.items()}
sets = {"equal FLOPs": alike, "of these, with the bottleneck": alike & has}
known = {
    # a correlation for every map
    words: {arm: ranks(row[one]) @ ranks(ap[one]) for arm, row in scores.items()}
    for words, one in sets.items()
}
known = pd.DataFrame(known)
known.index.names = ARM
known = known.rename(WORDS, level="warmup")
naswots = known.loc["published", "sliced", 0, "naswot"]
print(f"NASWOT's, after the published warm-up: {naswots.iloc[0]:+.2f}")

# %% [markdown]
# Every map that was made, a dot each:


# %%
def by_warmup(column):
    """The maps of one proxy, a list for every warm-up."""
    return {warm: part.to_numpy() for warm, part in column.groupby("warmup", sort=False)}


panels = {
    proxy: {words: by_warmup(column) for words, column in of_proxy.items()}
    for proxy, of_proxy in known.groupby("proxy")
}
look = {"xlabel": "Spearman's ρ with AP", "xlim": (-0.5, 0.5)}
figures["known"] = plots.dots(panels, **look).guide(x=0)
figures["known"]

# %% [markdown]
# What does chance give? Shuffle AP once more. There are twenty pairs of a proxy and a warm-up, each the mean of four
# maps, and again the best of many is to be beaten: the limit is what the best of twenty stays below in 95 of 100
# shuffles.


# %%
def beyond_chance(words):
    """The pairs whose mean correlation is beyond chance in some set of networks, and the limit."""
    one, pairs = sets[words], known[words].groupby(["proxy", "warmup"])
    placed = pd.DataFrame({arm: ranks(row[one]) for arm, row in scores.items()}).T
    placed.index = known.index
    of_pairs = placed.groupby(["proxy", "warmup"]).mean().to_numpy()
    rng, target = np.random.default_rng([cfg.seed, 1]), ranks(ap[one])
    worlds = [np.abs(of_pairs @ rng.permutation(target)).max() for _ in range(1000)]
    limit = np.quantile(worlds, 0.95)
    means = pairs.mean()
    return means[means.abs() > limit].sort_values(), limit


lines = []
for words in sets:
    beyond, limit = beyond_chance(words)
    told_beyond = ", ".join(f"{p} after {w} ({value:+.2f})" for (p, w), value in beyond.items())
    lines.append(f"- {words}: beyond ± {limit:.2f}: **{told_beyond or 'none'}**")
Markdown("\n".join(lines))

# %% [markdown]
# A map that is beyond chance in the first line and not in the second one knows the one choice, and no more can be told.

# %% [markdown]
# ## 4 · What the searches find
#
# Now search: on each map, for the hand-designed network's FLOPs. A search takes a tenth of a second, so it runs
# here. Two parts are switched: the warm-up, and the latency term. Off means *statistics alone*: so both supernets have
# seen the same number of images, which *none* has not; the authors' "none" has a row of its own in section 7.

# %%
latency = tables.stored(space, "latency_ms")
costs = wzdnas.cost_tables(space, latency)
goal = wzdnas.read_goal("hand", costs)
config = DescentConfig(steps=cfg.steps, every=cfg.steps)


WARM = ("bn_only", "train")


def search(arm, term):
    """What every seed of a search finds on one map, with the latency term or without."""
    priced = {name: table for name, table in costs.items() if term or name != "latency"}
    budget = wzdnas.four_terms({"zero_cost": maps[arm], **priced}, goal)
    descent = descend(budget, config, seeds=range(cfg.seed, cfg.seed + cfg.searches))
    end = config.temperature[1]
    return [goal.derive(descent.path(end, seed=i)).arch for i in range(cfg.searches)]


# %% [markdown]
# Both parts, on and off, on both supernets:

# %%
twins = sorted(set(stored.supernet))  # supernets of other first weights and batches
found = {
    # on each supernet, by warm-up and latency term
    (warm, term): [search((warm, "sliced", twin, "naswot"), term) for twin in twins]
    for warm, term in product(WARM, (False, True))
}
print(f"{len(found)} arms, {len(twins)} supernets, {cfg.searches} searches each")


# %% [markdown]
# How fast is what they find? Beside it fifty random networks within the same FLOPs:


# %%
def told(warm, term):
    """An arm in words."""
    return f"{WORDS[warm]}, {'latency' if term else 'no latency'}"


both_twins = {told(*key): [*chain(*of_twin)] for key, of_twin in found.items()}
times = {name: np.array([latency(arch) for arch in some]) for name, some in both_twins.items()}
drawn = [goal.constraint.sample(np.random.default_rng([cfg.seed, i])) for i in range(50)]
times["random networks"] = np.array([latency(arch) for arch in drawn])
figures["times"] = plots.dots(times, xlabel="latency by the table (ms)")
figures["times"]

# %% [markdown]
# How often is each option taken? A column for every decision, a row for every option, from the smallest (0) upwards:
# a dark column with one bright cell is a decision on which all seeds agree. White cells are options that a decision
# does not have.


# %%
def frequencies(some):
    """The share of seeds that took an option (options, decisions)."""
    shares = np.full((max(space.choices), len(space.choices)), np.nan)
    for d, n in enumerate(space.choices):
        shares[:n, d] = np.bincount([arch[d] for arch in some], minlength=n) / len(some)
    names = [decision.name for decision in space.decisions]
    return pd.DataFrame(shares, [str(i) for i in range(len(shares))], names)


shares = {name: frequencies(some) for name, some in both_twins.items()}
look = {"bar": "share of seeds", "ylabel": "option", "width": 11}
figures["taken"] = plots.heat(shares, limits=(0, 1), columns=1, **look)
figures["taken"]

# %% [markdown]
# And how many different networks is that?

# %%
assert all(goal.constraint(arch) for some in both_twins.values() for arch in some)
distinct = {name: (len(some), len(set(some))) for name, some in both_twins.items()}
pd.DataFrame(distinct, ["searches", "different networks"]).T

# %% [markdown]
# That was one proxy after two warm-ups. The whole table holds 4,800 searches: five warm-ups, both semantics, two
# supernets, six proxies, the latency term on and off, twenty seeds each (`datasets/ablation_wzdnas.py`). Means by proxy
# and latency term: how fast, how many different networks in twenty searches, and how many took the bottleneck.

# %%
whole = pd.read_csv(benchmark.FOLDER / "ablation_wzdnas.csv.gz", dtype={"arch": str})
whole["bottleneck"] = whole.arch.str[best].astype(int) > 0
ARMS = [*ARM, "latency_term"]
told_of = {"ms": ("latency", "mean"), "different": ("arch", "nunique")}
of_arm = whole.groupby(ARMS).agg(**told_of, share=("bottleneck", "mean"))
of_arm = of_arm.groupby(["proxy", "latency_term"]).mean().unstack()
of_arm.rename(columns={"share": "with the bottleneck"}).round(2)

# %% [markdown]
# The proxy decides most, since each comes with a scale of its own at the same weight: ZiCo's drowns the latency term.
# And the last columns are a warning. Every search without random scores takes the bottleneck, also where the proxy is
# `none` and only FLOPs, depth and latency are looked at. So what it brings is no merit of a proxy or a warm-up.

# %% [markdown]
# ### Exercise 15.4: effects of a two by two design
# *Difficulty 2 of 3, about 10 min; design.* `cells` maps (first part, second part), each on or off, to a mean result.
# A **main effect** is what a part changes on average over both states of the other one. The **interaction** is the
# difference of differences: what the second part changes where the first is on, less what it changes where it is off.
# Return both main effects and the interaction.
#
# <details><summary>Hint 1</summary><code>cells[True, False]</code> has the first part alone.</details>
# <details><summary>Hint 2</summary>A main effect is the mean of two differences.</details>


# %% tags=["stub"]
def effects(cells):
    raise NotImplementedError


# %% tags=["solution"]
def effects(cells):
    neither, second = cells[False, False], cells[False, True]
    first, both = cells[True, False], cells[True, True]
    mains = (first + both - neither - second) / 2, (second + both - neither - first) / 2
    return *mains, both - first - second + neither


# %% tags=["nbval-check-output"]
check_effects(effects)

# %% [markdown]
# The effects on the latency of what is found, seed by seed, with Student's intervals. All three are **contrasts**: sums
# over the four cells, with a weight for each. Once for each of the two supernets, which began with other weights and
# saw other batches. Watch the intervals: they are those of the search alone.


# %%
ORDER = [(False, False), (False, True), (True, False), (True, True)]  # (warm-up, latency term)
CONTRASTS = {
    "warm-up": (-0.5, -0.5, 0.5, 0.5),
    "latency term": (-0.5, 0.5, -0.5, 0.5),
    "interaction": (1, -1, -1, 1),
}


def with_intervals(results):
    """Both effects and their interaction; `results`: (warm-up, term) to (seeds,)."""
    by_cell = np.array([results[cell] for cell in ORDER])
    return {part: ranking.paired(np.array(w) @ by_cell) for part, w in CONTRASTS.items()}


def speeds(i):
    """The latency of what was found on the i-th supernet."""
    return {(w == "train", term): [*map(latency, some[i])] for (w, term), some in found.items()}


changes = {f"supernet {twin}": with_intervals(speeds(i)) for i, twin in enumerate(twins)}
# %% [markdown]
# Where does an interval keep clear of 0, and do the two supernets agree?

# %%
figures["effects"] = plots.dots(changes, xlabel="effect on the latency (ms)").guide(x=0)
figures["effects"]

# %% [markdown]
# Where the intervals of two supernets do not meet, more searches do not help: they repeat what one map says, ever more
# precisely. Seeds of a search are no seeds of the method. To speak of the method, its first step has to be repeated.

# %% [markdown]
# ## 5 · How far from the best?
#
# Within a goal the loss is a sum over blocks, so the best network can be found exactly, by an integer program. How far
# below it do descent, evolution and the best of as many random networks stay? For several budgets, from every seed:

# %%
wanted = wzdnas.objective({"zero_cost": maps["train", "sliced", 0, "naswot"], **costs}, goal)
shares = np.linspace(15, 75, cfg.targets)
starts = range(cfg.seed, cfg.seed + cfg.searches)


def gaps(share):
    """What each strategy loses against the exact optimum at one budget, for every seed."""
    aim = wzdnas.read_goal(f"{share:.1f}%", costs)
    best = wanted(aim.constraint.best(wanted))
    budget = wzdnas.four_terms({"zero_cost": maps["train", "sliced", 0, "naswot"], **costs}, aim)
    descent = descend(budget, config, seeds=starts)
    paths = [descent.path(config.temperature[1], seed=i) for i in range(cfg.searches)]
    counted = {"budget": cfg.evaluations, "feasible": aim.constraint}
    bred = [evolution(space, wanted, EvolutionConfig(**counted), seed=seed) for seed in starts]
    drawn = [random_search(space, wanted, SearchConfig(**counted), seed=seed) for seed in starts]
    return {
        "descent": [best - wanted(aim.derive(path).arch) for path in paths],
        "evolution": [best - search.score for search in bred],
        "random": [best - search.score for search in drawn],
    }


# %% [markdown]
# From every seed, at every budget:

# %%
lost = {share: gaps(share) for share in shares}
ways = ("descent", "evolution", "random")
series = {way: [np.mean(lost[share][way]) for share in shares] for way in ways}
look = {"xlabel": "FLOPs (% of the range)", "ylabel": "loss above the exact optimum"}
figures["gaps"] = plots.lines(series, shares, **look)
figures["gaps"]

# %% [markdown]
# Over all budgets and seeds:

# %%
runs = pd.DataFrame({way: np.concatenate([lost[x][way] for x in shares]) for way in ways})
columns = {"mean gap": runs.mean(), "worst gap": runs.max()}
columns["found the optimum (%)"] = 100 * (runs < 1e-9).mean()
assert runs.to_numpy().min() > -1e-6, "nothing within a budget beats its exact optimum"
print(f"{len(runs)} searches of each kind")
pd.DataFrame(columns).round(3)

# %% [markdown]
# Evolution and random search looked at as many networks, at the exact score of each. Descent looked at none: it follows
# the gradients of an average network, and stops farther off where the budget is tight.

# %% [markdown]
# ## 6 · How stable is a map?
#
# The authors' real claim is stability: without a warm-up, the AP of what was found had a variance of 5.687 over seeds;
# with it, .0025. The entries of a map over initialisations, in units of their spread over a block's options. There are
# two initialisations, so read this as a hint:


# %%
def unrest(warm, proxy):
    """Deviation of a block's centred scores over initialisations, by their spread over options."""
    wanted_arm = (warm, "sliced", proxy)
    alikes = [table for arm, table in maps.items() if (arm[0], arm[1], arm[3]) == wanted_arm]
    if len(alikes) < 2:
        return np.nan
    groups_of = range(len(space.groups))
    scores = [np.stack([t.entries[i].flatten().numpy() for t in alikes]) for i in groups_of]
    centred = [s - s.mean(axis=1, keepdims=True) for s in scores]
    return np.mean([c.std(axis=0, ddof=1).mean() / c.mean(axis=0).std() for c in centred])


ORDERED = ("none", "bn_only", "train", "factorised", "sandwich")
warmups = [w for w in ORDERED if w in set(stored.warmup)]
proxies = [p for p in ("naswot", "snip", "synflow", "zico") if p in set(stored.proxy)]
restless = pd.DataFrame({p: [unrest(w, p) for w in warmups] for p in proxies}, warmups)
restless = restless.rename(WORDS)
look = {"bar": "deviation / spread", "xlabel": "proxy", "ylabel": "warm-up"}
figures["unrest"] = plots.heat(restless, numbers=".2f", **look)
figures["unrest"]

# %%
change = restless.loc["published"] / restless.loc["no warm-up"]
calmer = [f"{proxy} ({share:.1f} times as much)" for proxy, share in change.items() if share < 1]
Markdown(
    "Less restless after the published warm-up than without any: "
    f"**{', '.join(calmer) or 'none'}**, of {len(change)} proxies. "
    "From two initialisations no interval follows."
)

# %% [markdown]
# ## 7 · And the precision?
#
# The network that an arm found most often, with NASWOT's map in sliced semantics, was trained with four seeds, beside
# the hand-designed network, the fastest one of equal FLOPs, and random ones (`datasets/ablation_trained.py`). "Most
# often" is a fifth to a third of the searches of most arms, and two arms may share a network.

# %%
four = by_four.unstack("seed")


def in_words(name):
    """An arm of the table as the text calls it."""
    warm, comma, term = name.partition(",")
    return WORDS.get(warm, warm) + comma + term


KINDS = ("fastest", "hand-designed", "random")
picked = {in_words(name): texts for name, texts in twenty.meta["chosen"].items()}
print(f"{len(picked) - len(KINDS)} arms, {len(four)} networks, {four.shape[1]} trainings each")
# %% [markdown]
# A row for each arm, and one for the mean of the random networks:

# %%
results = {name: four.loc[texts[0]].to_numpy() for name, texts in picked.items()}
del results["random"]
rivals = four.loc[picked["random"]].to_numpy()
results["random, mean of ten"] = rivals.mean(axis=0)
figures["precision"] = plots.dots(results, xlabel="AP (%), a dot for each training")
figures["precision"]

# %% [markdown]
# Now both variances apart: over what eight searches of one arm found, each trained twice
# (`datasets/ablation_searches.py`). Beside them ten networks that nobody searched for. The noise of a training is taken
# from the truth, where sixty networks tell it. Searches that found the same network share its trainings, so the
# intervals ($\chi^2$) are rough.


# %%
def beyond_noise(values):
    """Deviation of networks (rows) beyond what trainings (columns) explain, and its interval."""
    degrees, explained = len(values) - 1, of_training**2 / values.shape[1]
    variance = values.mean(axis=1).var(ddof=1)
    ends = variance * degrees / np.array([degrees, *stats.chi2.ppf((0.975, 0.025), degrees)])
    return np.sqrt(np.maximum(0, ends - explained))


eight = benchmark.load("ablation_searches")
twice = pd.DataFrame({seed: eight.scores("test", seed=seed) for seed in eight.seeds})
chosen = eight.meta["chosen"].items()
apart = {in_words(name): twice.loc[texts].to_numpy() for name, texts in chosen}
apart["random networks"] = rivals
columns = ["networks", "different", "mean AP", "sd of what is found", "from", "to"]
told_apart = {
    name: (len(values), len(np.unique(values, axis=0)), values.mean(), *beyond_noise(values))
    for name, values in apart.items()
}
pd.DataFrame(told_apart, columns).T.round(2)

# %% [markdown]
# An interval that begins at 0 says: as far as trainings tell, what an arm finds again and again is equally good. That
# is the stability which the authors claim, and both arms have it, with the published warm-up and without any.
#
# Precision against latency, a mean of four trainings each. The grey points are the random networks.

# %%
points = {"searched": [], "searched, with the latency term": [], "fastest": [], "hand-designed": []}
for name, row in results.items():
    if name in picked:
        priced = ", with the latency term" * name.endswith("latency")
        kind = name if name in points else f"searched{priced}"
        points[kind].append((latency(space.parse(picked[name][0])), row.mean()))
# from pairs to rows of latencies and of precisions
points = {kind: tuple(zip(*some, strict=True)) for kind, some in points.items()}
times_of = [latency(space.parse(text)) for text in picked["random"]]
points["random"] = (times_of, rivals.mean(axis=1))
axes = {"xlabel": "latency by the table (ms)", "ylabel": "AP (%)"}
figures["plane"] = plots.scatter(points, crowd="random", **axes)
figures["plane"]

# %% [markdown]
# Which of them does no other beat in both?

# %%
trained_nets = {name: picked[name][0] for name in results if name in picked}
trained_nets |= {f"random {i + 1}": text for i, text in enumerate(picked["random"])}
plane_ms = [latency(space.parse(text)) for text in trained_nets.values()]
best_of = efficient(plane_ms, four.mean(axis=1)[list(trained_nets.values())])
print("on the front, from the fastest on:", "; ".join(list(trained_nets)[i] for i in best_of))

# %% [markdown]
# Against the mean of those random networks that have the bottleneck, as all searched ones do, seed by seed:

# %%
fair_rivals = [text for text in picked["random"] if space.parse(text)[best] > 0]
fair = four.loc[fair_rivals].to_numpy()
arms_of = {name: row for name, row in results.items() if not name.startswith("random")}
verdicts = {name: ranking.paired(row, fair.mean(axis=0)) for name, row in arms_of.items()}
figures["gains"] = plots.dots(verdicts, xlabel="AP (points) above random ones").guide(x=0)
figures["gains"]

# %% [markdown]
# Is that a verdict?

# %%
# of those random ones, the mean of all but one
others = [np.delete(fair, i, axis=0).mean(axis=0) for i in range(len(fair))]
among = [ranking.paired(one, rest) for one, rest in zip(fair, others, strict=True)]
better = [name for name, gain in verdicts.items() if gain.low > 0]
print("clear of the random networks' mean:", "; ".join(better) or "none")

# %% [markdown]
# Try the same test on what nobody searched for, too: random networks with the bottleneck, each against the mean of the
# others.

# %%
above, below = sum(gain.low > 0 for gain in among), sum(gain.high < 0 for gain in among)
Markdown(
    f"Of {len(among)} random networks **{above}** lie clear above the mean of the others, {below} "
    "clear below. The interval is that of four trainings of *one* network. So it says something of "
    "this network, and nothing of the arm that found it, whose next search may find another one."
)

# %% [markdown]
# The right unit is the network. All different ones that were searched for, against the random ones, means of four
# trainings each (Welch's interval). Once against all random ones, and once against those that have the bottleneck in
# `neck2`, as all searched ones do:


# %%
def welch(one, other):
    """Difference of two means, and Welch's interval: each group varies by its own measure."""
    ends = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    return plots.Interval(one.mean() - other.mean(), ends.low, ends.high)


searched = list(dict.fromkeys(texts[0] for name, texts in picked.items() if name not in KINDS))
drawn_ones = pd.Series(rivals.mean(axis=1), picked["random"])
assert all(space.parse(text)[best] > 0 for text in searched)
# means of four trainings
levels_of = four.loc[searched].mean(axis=1)
compared = {
    f"less all {len(drawn_ones)} random ones": welch(levels_of, drawn_ones),
    f"less the {len(fair_rivals)} with the bottleneck": welch(levels_of, drawn_ones[fair_rivals]),
}
figures["searched"] = plots.dots(compared, xlabel="AP of the searched networks (points)").guide(x=0)
figures["searched"]

# %% [markdown]
# Half of the gain is the one choice, which a search without any proxy makes as well. Some is left beyond it. But
# networks of kindred maps are kin: they are fewer than they look, so the second interval is too narrow, and whether a
# search earns more than the one choice stays open.

# %% [markdown]
# Now your prediction: the effects of both parts on the precision. An effect is a contrast of four networks, one for
# each arm, and each was trained four times. By the trainings alone its interval is Student's, over the seeds. But
# another search may find another network, and networks of equal FLOPs differ. What is said of a *part* has to hold for
# those, too. Each cell then varies by the network's variance $\sigma^2$. A main effect has weights of one half, so it
# varies by $4 \cdot \sigma^2 / 4 = \sigma^2$ more, and the interaction by $4 \sigma^2$. Which $\sigma$? At one end that
# of the networks with the bottleneck, since all four have it, at the other that of all networks of equal FLOPs.

# %%
both = {
    (warm == "published", term): results[warm + ", latency" * term]
    for warm in ("statistics alone", "published")
    for term in (False, True)
}
moved = with_intervals(both)


def with_network(part, sigma):
    """An effect whose interval counts the choice of the networks, too (normal)."""
    weights, seeds_of = np.array(CONTRASTS[part]), len(results["published"])
    half = 1.96 * np.sqrt((weights**2).sum() * (sigma**2 + of_training**2 / seeds_of))
    return plots.Interval(moved[part].value, moved[part].value - half, moved[part].value + half)


kinds_of = {"with the bottleneck": left["with"][0], "of equal FLOPs": of_network}
widened = {
    # the same effects with wider intervals
    f"networks {w}": {part: with_network(part, sd) for part in CONTRASTS}
    for w, sd in kinds_of.items()
}
moved_by = {"trainings alone": moved} | widened
figures["moved"] = plots.dots(moved_by, xlabel="effect on AP (points)").guide(x=0)
figures["moved"]

# %%
judged_by = widened["networks with the bottleneck"]
mains = {part: judged_by[part] for part in list(CONTRASTS)[:2]}
clear = [part for part, effect in mains.items() if not effect.low <= 0 <= effect.high]
outcome = {0: answers[3], 2: answers[2]}.get(len(clear)) or "the " + clear[0]
told_of = "{} {:+.2f} ({:+.2f} to {:+.2f})".format
said = ", ".join(told_of(p, m.value, m.low, m.high) for p, m in judged_by.items())
# what a reader of the narrow intervals would say
by_seeds = [part for part in mains if not moved[part].low <= 0 <= moved[part].high]
guess.came(
    outcome,
    f"Effects in points of AP, counting that networks with the bottleneck differ: {said}. By the "
    f"trainings alone one would have said: {', '.join(by_seeds) or 'neither'}.",
)

# %% [markdown]
# The narrow intervals, those of the trainings, say which of *these four networks* is better, and that only. Who takes
# them for the method's own? A thousand made-up experiments, in which no part does anything: networks vary as they do,
# trainings as they do. How often does the narrow interval of one part or the other keep clear of 0?

# %%
rng = np.random.default_rng([cfg.seed, 2])
for words, sigma in kinds_of.items():
    networks, shape = rng.normal(0, sigma, (1000, 4, 1)), (1000, 4, len(results["published"]))
    made_up = networks + rng.normal(0, of_training, shape)
    effects_of = [np.einsum("c,ecs->es", CONTRASTS[part], made_up) for part in mains]
    p_values = [stats.ttest_1samp(effect, 0, axis=1).pvalue for effect in effects_of]
    fooled = np.mean(np.min(p_values, axis=0) < 0.05)
    print(f"networks vary as those {words}: in {fooled:.0%} of the experiments a part 'works'")

# %% [markdown]
# What the latency term buys for sure stands in section 4: networks that are faster at equal FLOPs.

# %% [markdown]
# ### And on photographs?
#
# Digits on a plain ground are a toy. The same networks, with four of the random ones, were trained on 205 photographs
# of blood with red cells, white cells and platelets, twice each, and tested on 72 (`datasets/ablation_bccd.py`).

# %%
blood = benchmark.load("ablation_bccd")
of_blood = pd.DataFrame({seed: blood.scores("test", seed=seed) for seed in blood.seeds})
chosen = blood.meta["chosen"].items()
on_blood = {in_words(name): of_blood.loc[texts[0]].to_numpy() for name, texts in chosen}
del on_blood["random"]
on_blood["random, mean of four"] = of_blood.loc[dict(chosen)["random"]].mean().to_numpy()
figures["blood"] = plots.dots(on_blood, xlabel="AP (%) on photographs, a dot for each training")
figures["blood"]

# %% [markdown]
# Do the networks keep their order?

# %%
# of those networks that were trained on both
means = pd.DataFrame({"digits": four.mean(axis=1), "photographs": of_blood.mean(axis=1)}).dropna()
kept = ranking.correlation(means.digits, means.photographs, "kendall")
network_blood, low, high, training_blood = mean_squares(of_blood.to_numpy())
Markdown(
    f"Of {len(means)} networks the order on digits and that on photographs agree by {kept}. "
    f"On photographs the deviation of the network is **{network_blood:.2f} points** ({low:.2f} to "
    f"{high:.2f}), that of a training **{training_blood:.2f}**. "
    + ("The order carries over." if kept.low > 0 else "That the order carries over is not shown.")
)

# %% [markdown]
# ## 8 · One supernet, any budget
#
# The dearest step of all is the training of networks. A supernet that is trained so that its sub-networks are worth
# evaluating judges a thousand of them without any training. Which supernet ranks better: one that strict fairness
# trained, one of the sandwich rule, or that of WZDNAS's soft warm-up, at equal passes? (`datasets/frontier_digits.py`)
# Equal passes are not equal steps: strict fairness and the sandwich rule take one step for four networks, the soft
# warm-up four. And it learns boxes by plain IoU, as its authors do, the others by CIoU.
#
# How good is good? Two trainings of one network do not agree either. So each supernet is asked to predict one training,
# the second of every network, and so is the first training, which took more than a minute each.

# %%
stored_scores = pd.read_csv(benchmark.FOLDER / "frontier_digits.csv.gz").set_index("arch")
known_ones = stored_scores.loc[list(truth.frame.index)]
judges = {"fair": "strict fairness", "sandwich": "sandwich rule", "train": "soft warm-up"}
predictors = {words: known_ones[f"one_shot_{judge}"] for judge, words in judges.items()}
predictors |= {"counting MACs": truth.frame.macs, "one choice": has.astype(float)}
predictors["another training"] = first
some_networks = {"all networks": alike | ~alike, **sets}


def agree(order, one):
    """Each predictor's rank correlation with an order, over some networks, where it differs."""
    marked = {w: score[one] for w, score in predictors.items() if score[one].nunique() > 1}
    return {w: ranking.correlation(score, order[one]) for w, score in marked.items()}


marks = {name: agree(second, one) for name, one in some_networks.items()}
figures["judges"] = plots.dots(marks, xlabel="Kendall's τ with a training", xlim=(-0.5, 1))
figures["judges"]

# %% [markdown]
# The row "one choice" knows nothing of a network but whether `neck2` has a bottleneck. Now the mean of both trainings,
# which is less noisy. (Another training cannot be asked: it is a part of that mean.)

# %%
with_mean = {name: agree(ap, one) for name, one in some_networks.items()}
told_by = pd.DataFrame(with_mean).drop("another training")
told_by = told_by.map(lambda mark: getattr(mark, "value", np.nan))
told_by.round(2).rename_axis("Kendall's τ with the mean of two trainings", axis=1)

# %%
inside = with_mean["of these, with the bottleneck"]
shown = ", ".join(f"{w} {inside[w].value:+.2f}" for w in judges.values())
clear = [w for w in judges.values() if not inside[w].low <= 0 <= inside[w].high]
Markdown(
    f"Among networks with the bottleneck: {shown}; clear of 0: **{', '.join(clear) or 'none'}**. "
    "At equal FLOPs the one choice alone ranks as well as any supernet, so it is all that they are "
    "shown to know. Whoever made it hardly differs: another training ranks little there, too."
)

# %% [markdown]
# The thousand networks are spread evenly over the range of latency: random ones would crowd in its middle. With
# `-p judged=1000` the supernet is trained here, and judges here, on as many images; the stored one counts only
# detections of some confidence (.05), which is faster.


# %%
def judge_here():
    """Train a supernet by strict fairness, and score sub-networks with its weights."""
    options = {"image_size": space.image_size, "difficulty": truth.task["difficulty"]}
    parts = {
        name: data.detection("digits", name, size=size, seed=0, **options)
        for name, size in (("train", cfg.images), ("val", min(cfg.images, 64)))
    }
    recipe = wzdnas.recipe("short", epochs=cfg.epochs, flip=False)
    task = wzdnas.detection_task(space, recipe, **parts, seed=cfg.seed)
    step = sampling.supernet_step(space, sampling.create("fair", space), task)
    kept = {"seed": cfg.seed, "device": cfg.device, "state": cfg.out_dir / "supernet.state"}
    net = fit(space.supernet(seed=cfg.seed), task, recipe.training, step, **kept).ema
    evaluate = SupernetScore(space, net, task, "val", batches=2)
    config = StratifiedConfig(budget=cfg.judged, cost=latency)
    state = cfg.out_dir / "judged.state"
    return stratified_search(space, evaluate, config, seed=cfg.seed, state=state).frame()


# %% [markdown]
# The plane of latency and one-shot precision, and the front in it:

# %%
seen = stored_scores[~stored_scores.known].rename(columns={"one_shot_fair": "score"})
seen = judge_here() if cfg.judged else seen.reset_index()
front = seen.iloc[efficient(seen.latency_ms, seen.score)]
clouds = {"judged by the supernet": (seen.latency_ms, 100 * seen.score)}
clouds["its front"] = (front.latency_ms, 100 * front.score)
look = {"xlabel": "latency by the table (ms)", "ylabel": "one-shot AP (%), validation"}
figures["front"] = plots.scatter(clouds, crowd="judged by the supernet", **look)
figures["front"]

# %% [markdown]
# Networks of the stored front, trained from scratch and tested on images on which nothing was chosen. Beside them
# random ones of the same latency, and the hand-designed network at three widths. Once by the table of PyTorch, once by
# that of ONNX Runtime. (`datasets/frontier_trained.py`)

# %%
reached, kinds = last.scores("test"), last.meta["chosen"]
panels, areas = {}, {}
for backend in ("torch", "onnxruntime"):
    clock = tables.stored(space, "latency_ms", backend)
    ways = {"front": kinds[f"front {backend}"], "random": kinds[f"random {backend}"]}
    ways["hand-designed"] = kinds["hand-designed"]
    panels[backend] = {
        # milliseconds, and the mean of two trainings
        way: ([clock(space.parse(text)) for text in texts], reached[texts].to_numpy())
        for way, texts in ways.items()
    }
    slowest = 1.05 * max(max(x) for x, _ in panels[backend].values())
    corner = slowest, reached.min()
    areas[backend] = {way: hypervolume(x, y, *corner) for way, (x, y) in panels[backend].items()}
figures["frontier"] = plots.scatter(panels, xlabel="latency (ms)", ylabel="test AP (%)")
figures["frontier"]

# %% [markdown]
# The area that each set dominates, up to the slowest network and the lowest AP:

# %%
pd.DataFrame(areas).round(2).rename_axis("hypervolume (ms · points)", axis=1)

# %% [markdown]
# An area rewards whatever is best on the test images, and a set of six has more chances than one of three. So read it
# as a description. At equal latency: each network of the front less the mean of its random rivals.

# %%
gains = {}
for backend in ("torch", "onnxruntime"):
    chosen_ones, drawn_ones = kinds[f"front {backend}"], kinds[f"random {backend}"]
    each = len(drawn_ones) // len(chosen_ones)
    others = reached[drawn_ones].to_numpy().reshape(-1, each).mean(axis=1)
    gains[backend] = ranking.paired(reached[chosen_ones].to_numpy(), others)
figures["at_equal"] = plots.dots(gains, xlabel="AP (points) above random ones").guide(x=0)
figures["at_equal"]

# %%
told_gain = {True: "better than", False: "not to be told from"}
verdict = [
    f"by {clock} **{told_gain[gain.low > 0]}** random networks ({gain.low:+.1f}, {gain.high:+.1f})"
    for clock, gain in gains.items()
]
Markdown(f"At equal latency the front is {', '.join(verdict)}.")

# %% [markdown]
# ### Exercise 15.5: a leak
# *Difficulty 2 of 3, about 10 min; fault.* `protocol` is a list of steps (what, kind, split); a step `"learns"` from a
# split, `"chooses"` by it, or `"reports"` a result on it. A split that is reported must not have taught or chosen
# anything, at any place of the list. Return the places of the steps that leak.
#
# <details><summary>Hint 1</summary>First collect the splits that are reported.</details>
# <details><summary>Hint 2</summary>The name of a split says nothing: a split called `val` that is reported is a test
# split.</details>


# %% tags=["stub"]
def leaks(protocol):
    raise NotImplementedError


# %% tags=["solution"]
def leaks(protocol):
    reported = {split for _, kind, split in protocol if kind == "reports"}
    steps = enumerate(protocol)
    return [i for i, (_, kind, split) in steps if kind != "reports" and split in reported]


# %% tags=["nbval-check-output"]
check_leaks(leaks)

# %% [markdown]
# ## 9 · The authors' tables
#
# VOC2007, 416 px, template P5, target 70 GFLOPs; read off the tables that lie beside the public code, unverified. Their
# "normal" is *published* here, their "speed-up" *factorised*.

# %%
# warm-up, hardware loss, GFLOPs, parameters (M), AP, variance of AP, latency on a phone's GPU (ms)
parts = [
    ("none", "no", 70.8, 75.0, 44.7, 5.687, 327.2),
    ("none", "yes", 68.7, 39.5, 48.0, 0.047, 273.9),
    ("normal", "no", 70.2, 70.0, 48.1, 0.0025, 302.4),
    ("normal", "yes", 68.9, 38.2, 48.2, 0.0025, 278.7),
    ("speed-up", "no", 70.7, 61.7, 47.9, 0.6, 310.3),
    ("speed-up", "yes", 68.5, 43.9, 47.8, 0.0256, 279.7),
]
columns = ["warm-up", "hardware loss", "GFLOPs", "M", "AP", "variance", "ms"]
pd.DataFrame(parts, columns=columns).set_index(columns[:2])

# %% [markdown]
# And the terms of the hardware loss, one by one:

# %%
# after the normal warm-up: GFLOPs, parameters (M), AP, AP50, latency (ms)
terms = [
    ("none", 60.2, 53.9, 47.6, 72.1, 258.5),
    ("FLOPs", 70.2, 70.0, 48.1, 72.2, 302.4),
    ("FLOPs, depth", 68.2, 69.4, 47.9, 72.4, 293.9),
    ("FLOPs, latency", 68.2, 43.5, 46.9, 72.2, 275.3),
    ("all", 68.9, 38.2, 48.2, 72.3, 278.7),
]
pd.DataFrame(terms, columns=["terms", "GFLOPs", "M", "AP", "AP50", "ms"]).set_index("terms")

# %% [markdown]
# - Either part alone reaches 48.0 or 48.1 of 48.2. The main effects are 1.8 and 1.7, the interaction -3.2: where one
#   part is there, the other one adds .1 or .2.
# - Four seeds: how much of .1 AP can they resolve? A variance of .0025 is a deviation of .05 points. Trainings of one
#   detector vary by far more here; what was varied there is not said.
# - No row has random networks of equal FLOPs.
#
# ## Summary
#
# - Power comes first: what n seeds cannot resolve, no table can show.
# - At equal FLOPs one choice of eighteen makes the difference here. A judge that knows it seems to know networks: ask
#   again among those that made it.
# - The search and the training vary apart. A search that always finds the same network is stable, not good.
# - A map is judged at equal FLOPs, against the best of as many by chance.
# - A front that a supernet draws has to beat random networks of the same latency. This one does not, as far as a dozen
#   networks tell.
# - The unit is what varies: what is said of a method has to count its searches and its networks, not the trainings of
#   one of them.
# - Within a goal the exact optimum is known. A search can be as far from it as it likes to be from the truth.
# - Choose on validation images, report on test images.
#
# **Pitfalls**
#
# - *One table, many rows.* Of twenty comparisons one looks clear by chance.
# - *Variance of zero.* Look at what was varied.
# - *Equal FLOPs, unequal latency.* Say which was held.
#
# **Further reading**
#
# - Bouthillier et al., *Accounting for Variance in Machine Learning Benchmarks*, MLSys 2021
# - Li and Talwalkar, *Random Search and Reproducibility for Neural Architecture Search*, UAI 2019
# - Yu, Jin, Liu et al., *BigNAS: Scaling Up Neural Architecture Search with Big Single-Stage Models*, ECCV 2020

# %%
course.finish(
    cfg,
    summary=pd.DataFrame(rows, ["networks", "spread", "noise"]).T.round(3),
    figures=figures,
    results={
        # of every map its correlation with the truth at equal FLOPs; of the searches what they lose
        "known": known.set_axis(known.index.map("{0[0]} {0[1]} {0[2]} {0[3]}".format)).to_dict(),
        "choice": {"name": winner, "reached_by_chance": reached},
        "gaps": runs.mean().to_dict(),
        "effects": {
            # of both parts and their interaction, on each supernet
            f"{part}, {twin}": [e.value, e.low, e.high]
            for twin, some in changes.items()
            for part, e in some.items()
        },
        "precision": {part: [e.value, e.low, e.high] for part, e in judged_by.items()},
        "frontier": {name: [e.value, e.low, e.high] for name, e in gains.items()},
        "judges": {
            f"{words}, {name}": [mark.value, mark.low, mark.high]
            for name, some in marks.items()
            for words, mark in some.items()
        },
        "verdicts": {name: [gain.value, gain.low, gain.high] for name, gain in verdicts.items()},
    },
)
