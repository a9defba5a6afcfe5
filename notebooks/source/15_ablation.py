# %% [markdown]
# # Ablation: what does each part buy?
#
# Five warm-ups, six zero-cost maps, a latency term: you take WZDNAS apart, and learn how many seeds it takes to say
# anything.
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
# | `smoke` | three searches: only proves that every cell works | 30 seconds |
# | `quick` | twenty searches for each of eight arms; all that is trained is read from stored tables | not measured yet |
# | `full` | forty searches for each of eight arms, with the published number of steps | not measured |
# | `gpu` | as `full` | not measured |

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu; it sets every parameter below that is None
searches: int = None  # seeds of every search that runs here
steps: int = None  # of theta in each search
targets: int = None  # budgets for which descent, evolution and the exact optimum are compared
evaluations: int = None  # architectures that evolution looks at
threads: int = None  # CPU threads
seed: int = None  # of every random choice
device: str = None  # auto, cpu, cuda, cuda:1 ...
out_dir: str = None  # folder of the results; None: one per set of parameters

# %%
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from scipy import stats

from nasedu import course, plots, ranking, spaces, tables, widgets, wzdnas
from nasedu.course.checks.ablation import (
    check_difference,
    check_effects,
    check_leaks,
    check_resolution,
    check_variances,
)
from nasedu.data import benchmark
from nasedu.errors import check_whole
from nasedu.search import DescentConfig, EvolutionConfig, descend, evolution
from nasedu.search.pareto import efficient, hypervolume

cfg = course.setup("15_ablation", globals())
limits = {"searches": (2, 1000), "steps": (1, 10**6), "targets": (1, 100)}
limits |= {"evaluations": (10, 10**6), "threads": (1, 1024)}
for name, (least, most) in limits.items():
    check_whole(name, getattr(cfg, name), least, most)
torch.set_num_threads(cfg.threads)
cfg

# %% [markdown]
# ## 1 · Power first
#
# A hundred detectors of notebook 14's space were trained on small scenes of digits, each with two seeds
# (`datasets/detectors_digits.py`). Sixty of them have the FLOPs of the hand-designed network within 3 %: among those a
# search has to choose. How far apart are they, and how far apart are two trainings of one network?

# %%
truth = benchmark.load("detectors_digits")
space = spaces.create(truth.space_name, **truth.space_options)
archs = {text: space.parse(text) for text in truth.frame.index}
by_seed = pd.DataFrame({s: truth.scores("test", seed=s) for s in truth.seeds})
usual = next(text for text, arch in archs.items() if arch == space.hand_designed)
macs = truth.frame.macs / truth.frame.macs[usual]
alike = (macs - 1).abs() <= 0.03
ap = by_seed.mean(axis=1)
groups = {"equal FLOPs": by_seed[alike], "all FLOPs": by_seed[~alike]}


# %%
def spread_and_noise(frame):
    """Standard deviation of the networks' means, and that of a training about its network's mean."""
    return frame.mean(axis=1).std(), np.sqrt(frame.var(axis=1).mean())


measured = {name: spread_and_noise(frame) for name, frame in groups.items()}
rows = {name: (len(groups[name]), *values) for name, values in measured.items()}
columns = ["networks", "spread of means (AP, %)", "noise of one training"]
pd.DataFrame(rows, columns).T.round(2)

# %%
figures = {
    "truth": plots.scatter(
        {
            "equal FLOPs": (macs[alike], ap[alike]),
            "other FLOPs": (macs[~alike], ap[~alike]),
        },
        xlabel="FLOPs, in those of the hand-designed network",
        ylabel="AP (%), mean of two seeds",
    )
}
figures["truth"]

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

# %%
noise = measured["equal FLOPs"][1]
seeds = np.arange(2, 41)
reach = {"unpaired": [stats.t.ppf(0.975, 2 * n - 2) * noise * (2 / n) ** 0.5 for n in seeds]}
figures["power"] = plots.lines(reach, seeds, xlabel="seeds of each method", ylabel="AP (%) that the interval reaches")
figures["power"].guide(y=measured["equal FLOPs"][0], label="spread of networks of equal FLOPs")
figures["power"]

# %%
needed = next((int(n) for n, far in zip(seeds, reach["unpaired"], strict=True) if far < 1), None)
Markdown(
    f"A training varies by {noise:.2f} points. Three seeds of each method resolve "
    f"**{reach['unpaired'][1]:.1f} points**; one point takes "
    + (f"**{needed} seeds**." if needed else f"more than {seeds[-1]} seeds.")
)

# %% [markdown]
# Move it yourself: seeds, noise and difference, and how often an experiment of that size would find what is there.

# %%
widgets.PowerWidget(sd=round(float(noise), 2))

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
# ### Exercise 15.5: two variances
# *Difficulty 2 of 3, about 15 min.* `values` has a row for every search and a column for every training of what it
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
between, within = variances(by_seed[alike].to_numpy())
Markdown(
    f"Among networks of equal FLOPs the standard deviation of the network is **{between**0.5:.2f} points**, "
    f"that of a training **{within**0.5:.2f}**. "
    + ("There is something to find." if between > within else "What there is to find is smaller than the noise.")
)
