# %% [markdown]
# # The hardware in the loss
#
# You will put latency into the loss of a search, meet a budget with it, and compute how far below the best you ended.
#
# Notebook 10 priced networks. Here the price enters the loss that a search descends on. Papers have done that in many
# ways, each with a weight that somebody tuned. You will write eleven of them, search with all of them from the same
# start, and see which searches end at the latency that they were given.
#
# **Afterwards you can**
#
# 1. say why a search whose *expected* cost is on target may hand out a network that is not;
# 2. write eleven hardware losses in a line each, and predict from its slope where a search with it will end;
# 3. recognise a loss that finds other networks in ms than in µs;
# 4. meet a budget without tuning a weight, by a Lagrange multiplier, and meet several budgets at once;
# 5. compute the best network within several budgets, and the gap of a search to it.
#
# **You need** notebook 06, and the lookup tables of notebook 10.
#
# | preset | what it runs | time, two CPU cores |
# |---|---|---|
# | `smoke` | 40 steps of every descent: only proves that every cell works | 15 seconds |
# | `quick` | 11 losses, 5 seeds, 2 targets; 96 searches for the front; 12 searches on digits | 3 minutes |
# | `full` | five times as many steps, twice as many seeds, 70 longer searches on digits | not measured |
# | `gpu` | the same on a GPU; networks this small gain little | not measured |

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu; it sets every parameter below that is None
image_size: int = None  # pixels that the detectors are priced at; latencies are stored at 64, 128
lookup: str = None  # their latencies: auto, measure, or a file
tight: float = None  # a target, as a share of the reachable range
loose: float = None  # another, further up in the range
steps: int = None  # of every descent over tables
lr: float = None  # learning rate of its logits
seeds: int = None  # descents with each loss and target
weights: int = None  # weights in the sweep of section 4
sweep_targets: int = None  # targets on the Pareto front
sweep_seeds: int = None  # searches for each of them
real_losses: list[str] = None  # losses to search with on real images
real_seeds: int = None  # searches on images with each loss and budget
train_size: int = None  # digits to search on
epochs: int = None  # of each of these searches
evaluations: int = None  # cells that the sampled searches of section 8 look at
widget_steps: int = None  # of each descent of the widget
threads: int = None  # CPU threads
seed: int = None  # of every random choice
device: str = None  # auto, cpu, cuda, cuda:1 ... for the searches on images
out_dir: str = None  # folder of the results; None: one per set of parameters

# %%
import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown

from nasedu import course, data, errors, plots, proxies, ranking, sampling, search, spaces, tables
from nasedu.course.checks.hardware_loss import (
    check_bound,
    check_dual_ascent,
    check_examine,
    check_hidden_network,
    check_log_loss,
    check_reachable,
    check_weight,
)
from nasedu.data import benchmark
from nasedu.tables import LookupTable, losses
from nasedu.task import Classification

# every parameter comes from the preset, unless it was set above
cfg = course.setup("11_hardware_loss", globals(), choices={"real_losses": losses.names()})
cfg

# %% [markdown]
# A number that makes no sense is refused here, in a sentence, before anything runs.

# %%
LIMITS = {"image_size": (32, 640), "train_size": (64, 1400), "evaluations": (20, 700)}
LIMITS |= {"steps": (10, 1_000_000), "widget_steps": (10, 100_000), "threads": (1, 64)}
counts = ("seeds", "weights", "sweep_targets", "sweep_seeds", "real_seeds", "epochs")
for name in (*counts, *LIMITS):  # more than 200 of any other count would take days
    errors.check_whole(name, getattr(cfg, name), *LIMITS.get(name, (1, 200)))
errors.check_number("lr", cfg.lr, 0, 10, above=True)
errors.check_number("tight", cfg.tight, 0, 1)
errors.check_number("loose", cfg.loose, cfg.tight, 1, above=True)
if cfg.lookup == "none" or not cfg.real_losses:
    needs = "a lookup (auto, measure or a file) and a loss in real_losses"
    raise errors.ParameterError(f"this notebook needs {needs}")
torch.set_num_threads(cfg.threads)
print(f"targets at {cfg.tight:.0%} and {cfg.loose:.0%} of the reachable range")

# %% [markdown]
# ## 1 · What a network costs, and what it is worth
#
# The space: small detectors (notebook 14) of nine blocks. Each block chooses a width and a number of bottlenecks. Two
# tables say something about every option of every block:
#
# - the **cost** is a latency in ms, measured on a CPU;
# - the **objective** is a *zero-cost map* (notebook 08). It tells how differently an untrained block responds to
#   different images, while all choices around it are undecided.
#
# The objective is **not accuracy**. It takes the place of accuracy here because it is a table, too. With two tables a
# search takes a second, and the *best possible* network can be computed and compared with. Section 7 searches on
# images.

# %%
space = spaces.create("yolo:course", image_size=cfg.image_size)
latency = tables.latency_table(space, cfg.lookup, keep=cfg.out_dir / "latency.json")
scenes = data.detection("digits", "train", image_size=cfg.image_size, size=16, seed=cfg.seed)
images = torch.stack([scenes[i][0] for i in range(16)]).float() / 255
undecided = sampling.softmax(sampling.uniform_logits(space.choices))
objective = proxies.zero_cost_map(space, space.supernet(seed=cfg.seed), undecided, images, "naswot")
low, high = latency.bounds()
print(f"{space.size:,} networks, from {low:.2f} to {high:.2f} ms")

# %% [markdown]
# From here on, what an architecture is worth is told in percent of the objective's range: 0 for the worst network, 100
# for the best. A thousand random networks show what chance finds:

# %%
bottom, top = objective.bounds()


def worth(arch):
    """The objective in % of its range."""
    return 100 * (objective(arch) - bottom) / (top - bottom)


rng = np.random.default_rng(cfg.seed)
strangers = [space.sample(rng) for _ in range(1000)]
random_costs, random_worth = [latency(a) for a in strangers], [worth(a) for a in strangers]
print(f"of 1,000 random networks the best reaches {max(random_worth):.0f} % of the range")

# %% [markdown]
# **The exact front** is the list of all networks that no other network beats in both. It takes no search, because both
# tables are sums over blocks: extend the front block by block, and at each step drop what something cheaper beats.


# %%
def exact_front(cost, worth):
    """All undominated (cost, objective), as an array (points, 2), the cheapest first."""
    front = np.array([[cost.fixed, worth.fixed]])
    for prices, gains in zip(cost.entries, worth.entries, strict=True):
        options = np.stack([prices.flatten().numpy(), gains.flatten().numpy()], 1)
        grown = (front[:, None] + options).reshape(-1, 2)  # every network so far with every option
        grown = grown[np.lexsort((-grown[:, 1], grown[:, 0]))]
        best_before = np.maximum.accumulate(np.r_[-np.inf, grown[:-1, 1]])
        front = grown[grown[:, 1] > best_before + 1e-9]
    return front


front = exact_front(latency, objective)
print(f"{len(front)} networks are on the front")

# %% [markdown]
# The package finds one point of it at a time, as an integer program: `tables.at_most(cost, ms)` describes the networks
# within a budget, and its `best` solves for the best of them. Both must agree.


# %%
def best_within(ms):
    """The highest objective (%) that a network of at most so many ms has, read off the front."""
    fits = front[front[:, 0] <= ms + 1e-6, 1]
    return float(100 * (fits.max(initial=bottom) - bottom) / (top - bottom))


shares = {"tight": cfg.tight, "loose": cfg.loose}
targets = {name: low + share * (high - low) for name, share in shares.items()}
for name, ms in targets.items():
    solved = worth(tables.at_most(latency, ms).best(objective))
    print(f"{name}, {ms:.2f} ms: {best_within(ms):.3f} by the front, {solved:.3f} by the solver")
    assert abs(best_within(ms) - solved) < 0.01, "front and solver must find the same network"

# %% [markdown]
# A thousand random networks (grey), the exact front (line), and the best networks at the two targets of this notebook:

# %%
marks = {name: (ms, best_within(ms)) for name, ms in targets.items()}
axes_of = {"xlabel": "latency (ms)", "ylabel": "objective (% of its range)"}
crowd = f"{len(strangers):,} random networks"
figures = {"space": plots.landscape(random_costs, random_worth, marks, crowd=crowd, **axes_of)}
ideal = np.stack([front[:, 0], 100 * (front[:, 1] - bottom) / (top - bottom)], 1)
figures["space"].axes[0].plot(*ideal.T, color="black", linewidth=1.5, label="the best that exist")
figures["space"].key()

# %% [markdown]
# Why do the random networks keep away from both ends of the range?

# %%
Markdown(
    f"They take from {min(random_costs):.2f} to {max(random_costs):.2f} ms: each adds up nine "
    "random blocks, and it is unlikely that nearly all are cheap, or dear. The range reaches "
    f"from **{low:.2f} to {high:.2f} ms**."
)

# %% [markdown]
# ## 2 · The expected cost, and the cost of the network that you get
#
# A gradient search holds probabilities, and not yet a network. The probabilities of all decisions together are called a
# **path**. The **expected cost** of a path is smooth, so a search can descend on it:
# $E = T_0 + \sum_\text{blocks} \sum_{ij} p_i\, q_j\, T_{ij}$, with $p$ the probabilities of a block's widths and $q$
# those of its depths. For a path from random logits, by hand and by the package:


# %%
def my_expected(table, path):
    pairs = zip(table.entries, space.groups, strict=True)
    # every entry is weighted by the probability of its width and that of its depth
    means = [torch.einsum("i,j,ij", path[a].double(), path[b].double(), T) for T, (a, b) in pairs]
    return float(table.fixed + sum(means))


generators = [torch.Generator().manual_seed(cfg.seed + d) for d in range(len(space.choices))]
logits = [torch.randn(n, generator=g) for n, g in zip(space.choices, generators, strict=True)]
path = sampling.softmax(logits)
by_hand, package = my_expected(latency, path), float(latency.expected(path))
print(f"{by_hand:.6f} ms by hand, {package:.6f} ms by the package")
assert math.isclose(by_hand, package, rel_tol=1e-5), "the expected costs differ"

# %% [markdown]
# A search hands out the *most probable* network. If the expected cost is exactly on target, is that network on target,
# too? Here are two paths that have the same most probable network. One is undecided, the other far more decided. The
# target is the expected cost of the undecided one.

# %%
scales = {"undecided": 0.5, "decided": 6.0}
soft = {name: sampling.softmax([s * a for a in logits]) for name, s in scales.items()}
means = {name: float(latency.expected(p)) for name, p in soft.items()}
argmax = tuple(int(a.argmax()) for a in logits)
print(f"both paths: {latency(argmax):.2f} ms for the most probable network")

# %% [markdown]
# What do 3,000 networks cost that are drawn from each path?


# %%
def draw(path, count=3000):
    """What networks cost that are drawn from a path."""
    generator = torch.Generator().manual_seed(cfg.seed)
    drawn = [p.double().multinomial(count, replacement=True, generator=generator) for p in path]
    return [latency(arch) for arch in zip(*(d.tolist() for d in drawn), strict=True)]


common = {"target": means["undecided"], "most probable network": latency(argmax)}
marks = {name: {"expected cost": mean} | common for name, mean in means.items()}
drawn = {name: draw(p) for name, p in soft.items()}
figures["soft"] = plots.histogram(drawn, marks, columns=1, xlabel="latency (ms)")
figures["soft"]

# %% [markdown]
# By how much does the most probable network miss the expected cost? How undecided a path is, its **entropy** tells:
# minus the mean of log p, averaged over the decisions. Its unit is the *nat*, as the logarithm is the natural one. It
# is 0 when every decision is made.


# %%
def entropy(path):
    """The mean entropy of a path's decisions, in nats."""
    return float(torch.stack([torch.special.entr(p).sum() for p in path]).mean())


missed = {name: 100 * (latency(argmax) / mean - 1) for name, mean in means.items()}
nats = {name: entropy(p) for name, p in soft.items()}
pd.DataFrame({"missed by (%)": missed, "entropy (nats)": nats}).round(2)

# %% [markdown]
# Six random paths, from undecided (left) to decided (right): all logits are multiplied by the number on the axis. The
# curves show by how much the most probable network costs more than the mean. The gap may have either sign. It is
# sure to vanish only where every decision is made.

# %%
sharp, gaps = np.logspace(-1, 2, 31), {}
for i in range(1, 7):  # a seed each, so that no path is picked for its gap
    generator = torch.Generator().manual_seed(100 * cfg.seed + i)
    random = [torch.randn(n, generator=generator) for n in space.choices]
    cost = latency(tuple(int(a.argmax()) for a in random))
    paths = [sampling.softmax([s * a for a in random]) for s in sharp.tolist()]
    gaps[f"path {i}"] = [100 * (cost / float(latency.expected(p)) - 1) for p in paths]
labels = {"xlabel": "logits multiplied by", "ylabel": "gap (% of the expected cost)"}
figures["gap"] = plots.lines(gaps, sharp, log="x", **labels)
figures["gap"]

# %% [markdown]
# So the expected cost can be on target while the network is not. Three things help:
#
# - let the search cool down until its decisions are made;
# - compare the cost of the *most probable* network with the target, as section 5 does;
# - **repair** at the end: if the most probable network misses, `derive` takes the most probable one *among those within
#   3 % of the target*. It solves for that network exactly, and fails only if no network is that close.
#
# We report the loss of log-probability: 0.06 nats means that the repaired network is $e^{-0.06}$ = 94 % as probable.
# For the undecided path:

# %%
repaired = tables.derive(soft["undecided"], latency, means["undecided"])
assert abs(repaired.cost / repaired.target - 1) <= 0.03, "a derived network is within 3 %"
Markdown(
    f"The target is {repaired.target:.2f} ms. The most probable network takes "
    f"{repaired.argmax_cost:.2f} ms, the derived one {repaired.cost:.2f} ms. The loss of "
    f"log-probability is {repaired.regret:.2f} nats: the derived network is "
    f"{math.exp(-repaired.regret):.0%} as probable as the most probable one."
)

# %% [markdown]
# ### Exercise 11.1: can it be reached?
# *Difficulty 2 of 3, about 15 min.* A network costs `fixed` plus one number from each list in `entries`. Return
# whether the cost of some network differs from `target` by at most `tolerance` times `target`. Forty lists of nine
# numbers must take no longer than a second or two.
#
# <details><summary>Hint 1</summary>The bounds are not enough: costs may have holes.</details>
# <details><summary>Hint 2</summary>Keep the <em>set</em> of all totals so far and extend it list by list. Costs are
# whole numbers here, so equal totals are counted once. (Milliseconds with decimals would first be rounded, as
# <code>derive</code> does.) Totals that are too high already can be dropped.</details>


# %% tags=["stub"]
def reachable(fixed, entries, target, tolerance):
    raise NotImplementedError


# %% tags=["solution"]
def reachable(fixed, entries, target, tolerance):
    most, totals = (1 + tolerance) * target, {fixed}
    for entry in entries:
        totals = {total + price for total in totals for price in entry if total + price <= most}
    return any(abs(total - target) <= tolerance * target for total in totals)


# %% tags=["nbval-check-output"]
check_reachable(reachable)

# %% [markdown]
# ## 3 · Eleven losses
#
# A hardware loss takes a task loss $L$ (lower is better), a cost and a target, and returns what the search minimises.
# With $r = \text{cost} / \text{target}$ most published forms are one line.
#
# | name | formula | from |
# |---|---|---|
# | `proxylessnas_add` | $L + 0.1\,(r - 1)$ | ProxylessNAS, public code |
# | `linear` | $L + r$ | WZDNAS |
# | `squared` | $L + (r - 1)^2$ | OneShot_NAS_example, public code |
# | `single_path` | $L + 0.02 \log r$ | Single-Path NAS |
# | `fbnet` | $L \cdot 0.2\,\ell^{0.6}$ | FBNet, with $\ell$ in place of a plain log |
# | `proxylessnas_multiply` | $L \cdot 0.2\,\ell^{0.3}$ | ProxylessNAS, public code, likewise |
# | `mnasnet` | $-e^{-L}\, r^{-0.07}$ | MnasNet's reward, as a loss |
# | `tunas` | $-(e^{-L} - 0.07\,\lvert r - 1\rvert)$ | TuNAS's reward, as a loss; the 0.07 is ours |
# | `hinge` | $L + \max(0, r - 1)$ | constrained optimisation |
# | `log_barrier` | a log that grows towards the target | Kervadec et al. |
# | `lagrange` | $L + \lambda\,(r - 1)$, $\lambda$ learnt | dual ascent; LightNAS in NAS |
#
# Three remarks. $\ell = \log(1 + r) / \log 2$ is 1 at the target; *The unit trap* below says why it stands there. A
# reward is made for searches that draw whole networks (section 8). As a loss it is minus the reward of the quality
# $e^{-L}$: for a cross-entropy that is the probability of the right class.
#
# These eleven are not all. LightNAS (Luo et al., DAC 2022, arXiv 2208.14446) learns $\lambda$ by gradient ascent, so
# that one search ends at a given latency: our `lagrange` is that idea. HardCoRe-NAS (Nayman et al., ICML 2021) has no
# such term: a constrained optimiser keeps the expected latency within its limit at every step of the search.
#
# Each from scratch:

# %%
LN2 = math.log(2)  # so that log(1 + r) / LN2 is 1 at the target
mine = {
    "proxylessnas_add": lambda L, r: L + 0.1 * (r - 1),
    "linear": lambda L, r: L + r,
    "squared": lambda L, r: L + (r - 1) ** 2,
    "single_path": lambda L, r: L + 0.02 * r.log(),
    "fbnet": lambda L, r: L * 0.2 * (r.log1p() / LN2) ** 0.6,
    "proxylessnas_multiply": lambda L, r: L * 0.2 * (r.log1p() / LN2) ** 0.3,
    "hinge": lambda L, r: L + (r - 1).clamp(min=0),
    "mnasnet": lambda L, r: -(-L).exp() * r**-0.07,
    "tunas": lambda L, r: -((-L).exp() - 0.07 * (r - 1).abs()),
    "lagrange": lambda L, r, multiplier=0.0: L + multiplier * (r - 1),
}
print(f"{len(mine)} of {len(losses.names())}, one line each")

# %% [markdown]
# The log barrier takes a little more: a log up to just below the target, and from there on its tangent, so that it is
# finite everywhere. (In a search its $t$ grows, so that it becomes flatter within the budget and steeper beyond.)


# %%
def barrier(L, r, t=5.0):
    edge = 1 - 1 / t**2
    log, tangent = -(1 - r.clamp(max=edge)).log() / t, t * (r - edge) + 2 * math.log(t) / t
    return L + torch.where(r < edge, log, tangent)


mine["log_barrier"] = barrier
print("at r = 0.5, 1 and 2:", barrier(1.0, torch.tensor([0.5, 1.0, 2.0])).numpy().round(2))

# %% [markdown]
# And the package's, called with (task, cost, target). For each the value at half over the target, by hand and by the
# package; all values from $r = 0.2$ to 2.2 are compared.

# %%
r, task = torch.linspace(0.2, 2.2, 201), torch.tensor(1.0)
half_over = {}
for name, formula in mine.items():
    ours, theirs = formula(task, r), losses.create(name)(task, 30 * r, 30.0)
    half_over[name] = {"by hand": float(ours[130]), "package": float(theirs[130])}
    assert torch.allclose(ours, theirs, atol=1e-4), f"{name} differs from the package's"
pd.DataFrame(half_over).T.round(4)

# %% [markdown]
# **As curves.** A search feels only the *slope* of a loss: it is how hard the search is pushed towards cheaper
# networks. Autograd gives it:


# %%
def shape(loss):
    """Its values and slopes over r."""
    free = r.clone().requires_grad_()
    value = loss(task, free, 1.0)
    return value.detach(), torch.autograd.grad(value.sum(), free)[0]


print(f"the slope of a square at r = 2: {float(shape(losses.create('squared'))[1][180]):.2f}")

# %% [markdown]
# Values are on the left and slopes on the right, family by family; the vertical line is the target. What adds is drawn
# with a weight of 1, so that shapes can be compared. Three are left out: `linear` is `proxylessnas_add` shifted,
# `proxylessnas_multiply` is `fbnet` with another exponent, and `lagrange` is a straight line whose slope is not chosen
# but *learnt* (section 5).

# %%
families = {
    "add": {"proxylessnas_add": {"weight": 1.0}, "single_path": {"weight": 1.0}, "squared": {}},
    "multiply": {"fbnet": {}},
    "reward, negative": {"mnasnet": {}, "tunas": {}},
    "one-sided": {"hinge": {}, "log_barrier": {}},
}
panels = {}
for family, members in families.items():
    pairs = {name: shape(losses.create(name, **options)) for name, options in members.items()}
    for i, title in enumerate((family, f"{family}: slope")):  # 0: values, 1: slopes
        panels[title] = {name: pair[i] for name, pair in pairs.items()}
look = {"columns": 2, "width": 8, "height": 1.9, "share": "x", "legend": "bottom"}
figures["losses"] = plots.lines(panels, r, xlabel="cost / target", **look).guide(x=1)
figures["losses"]

# %% [markdown]
# Read the slope below the target, at it, and beyond it. From these three numbers follows what a search with the loss
# will do:
#
# - **cheaper is always better**: the slope is positive everywhere. The target only sets the unit. Where the search ends
#   depends on the weight.
# - **two-sided**: the slope is negative below the target, so networks that are too cheap are pulled up as well. A
#   square has slope 0 *at* the target, so any pull of the objective moves the search off it.
# - **one-sided**: a hinge has slope 0 within the budget, and a constant one beyond. A barrier pushes harder and harder
#   from *within* the budget, so it tends to end below.


# %%
def pushes(name):
    """What a loss does, told from its slopes far below the target, just below it and far beyond."""
    slope = shape(losses.create(name))[1]
    below, near, beyond = (round(float(slope[i]), 3) for i in (30, 78, 180))
    kind = "two-sided" if below < 0 else "one-sided" if below < beyond / 4 else "cheaper is better"
    return {"at r = 0.5": below, "at r = 0.98": near, "at r = 2": beyond, "kind": kind}


kinds = {name: pushes(name) for name in losses.names() if name != "lagrange"}
pd.DataFrame(kinds).T.sort_values("kind")

# %% [markdown]
# Two more things about products. The cost multiplies the task loss, so as the task loss falls, the pressure on the cost
# falls, too. And their factor 0.2 scales everything alike, so only the exponent matters.
#
# ### The unit trap
#
# FBNet's paper multiplies the task loss by $\log(\text{latency})^\beta$, ProxylessNAS's code by
# $(\log \text{latency} / \log \text{target})^\beta$. But the value of a log depends on the unit: the log of 3 ms is
# 1.1, that of the same 3,000 µs is 8.0, and that of 0.003 s is negative. The package takes $\log(1 + r)$ unless you ask
# for `literal=True`.
#
# Here is the same search with the same table in ms and in µs, with either log. (The exponent is $\beta = 4$. Our task
# loss may come down to 0, where a product hardly presses: with the published 0.6 nothing would be seen.)

# %%
thousand = [1000 * entry for entry in latency.entries]
micro = LookupTable(space, "latency_us", "µs", 1000 * latency.fixed, thousand, own=True)
every_steps = max(5, cfg.steps // 100)
config = search.DescentConfig(steps=cfg.steps, every=every_steps, lr=cfg.lr)
trap = {}  # by loss and unit
for name, literal in (("literal log", True), ("log(1 + r)", False)):
    loss = losses.create("fbnet", beta=4.0, literal=literal)
    for table, factor in ((latency, 1), (micro, 1000)):
        goal = [factor * targets["loose"]]
        sweep = search.pareto_sweep(objective, table, goal, loss=loss, config=config)
        found = sweep.frame().iloc[0]
        ends = {"ms": found.cost / factor, "objective": worth(found.arch)}
        trap[f"{name}, in {table.unit}"] = ends
pd.DataFrame(trap).T.round(2)

# %% [markdown]
# Is it the same network in both units? And what of seconds, where the log of a few ms is negative?

# %%
ms, us = (trap[f"literal log, in {unit}"]["ms"] for unit in ("ms", "µs"))
same = trap["log(1 + r), in ms"]["ms"], trap["log(1 + r), in µs"]["ms"]
assert math.isclose(*same, rel_tol=1e-4), "with log(1 + r) the unit must not matter"
try:
    losses.create("fbnet", literal=True)(1.0, 0.003, 0.004)
except errors.ParameterError as error:  # the log of 0.004 seconds is below 0
    refused = str(error)
moved = "With the literal log another unit leads to another network"
if abs(ms - us) < 0.01:
    moved = "With the literal log both units led to the same cost in this run"
Markdown(
    f"{moved}: {ms:.2f} ms when told in ms, {us:.2f} ms when told in µs. With log(1 + r) both "
    f"end at {same[0]:.2f} ms, since only cost / target enters. In seconds the package refuses "
    f"the literal form: *{refused}*."
)

# %% [markdown]
# ### Exercise 11.2: a log loss without units
# *Difficulty 2 of 3, about 10 min.* Write a multiplied log loss of your own: `task` times a factor that is 1 at the
# target, finite and not negative for any cost down to 0, rising everywhere, ever more slowly, and the same in ms and
# µs. Arguments are tensors.
#
# <details><summary>Hint 1</summary>Only cost / target may enter the log.</details>
# <details><summary>Hint 2</summary>log(1 + r) is finite at 0. Which factor makes it 1 at r = 1?</details>


# %% tags=["stub"]
def log_loss(task, cost, target):
    raise NotImplementedError


# %% tags=["solution"]
def log_loss(task, cost, target):
    return task * torch.log1p(cost / target) / math.log(2)


# %% tags=["nbval-check-output"]
check_log_loss(log_loss)

# %% [markdown]
# ## 4 · The same search with each of them
#
# A search from scratch. Every step makes probabilities of the logits, two expectations of the probabilities, and a loss
# of the expectations. Then it moves the logits down the slope of the loss.


# %%
def my_search(loss, target, steps):
    theta = [torch.zeros(n, requires_grad=True) for n in space.choices]
    optimizer = torch.optim.Adam(theta, lr=0.1)
    for _ in range(steps):
        path = sampling.softmax(theta)
        task = (top - objective.expected(path)) / (top - bottom)  # 0 for the best, 1 for the worst
        total = loss(task, latency.expected(path), target)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    return tuple(int(a.argmax()) for a in theta)


found = my_search(losses.create("hinge"), targets["loose"], max(10, cfg.steps // 10))
wanted_ms = targets["loose"]
print(f"{latency(found):.2f} ms for {wanted_ms:.2f} ms, objective {worth(found):.0f} %")

# %% [markdown]
# The package's `descend` does the same for many rows at once, a target and a seed each. It adds Gumbel noise that cools
# down (notebook 06). Because of the noise seeds differ; because it cools down, long searches end decided. A `Budget`
# with an `objective` joins both tables into one loss: the share of the range that is missing, plus the hardware term.
# By hand and by the package:

# %%
joined = tables.Budget([(latency, targets["loose"], "hinge")], objective)
costs = torch.stack([table.expected(path) for table in joined.tables])[None]
missing = (top - costs[0, 0]) / (top - bottom)
by_hand = missing + (costs[0, 1] / targets["loose"] - 1).clamp(min=0)
print(f"{float(by_hand):.6f} by hand, {float(joined.value(costs)):.6f} by the package")
assert torch.allclose(joined.value(costs), by_hand, atol=1e-5), "the joint losses differ"

# %% [markdown]
# Before you run all eleven: think about the table of slopes, and commit yourself.

# %%
CONTEST = ["squared", "fbnet", "hinge", "log_barrier"]
question = "Which of these ends within 3 % of its target most often?"
guess = course.predict(question, [*CONTEST, "none of them"])

# %% [markdown]
# All eleven run with their published or default weights, the same seeds and the same number of steps. `pareto_sweep`
# runs both targets and all seeds in one descent. The multiplier runs twice: plain, and with a second term that the
# package adds (section 5 says why).

# %%
variants = {name: losses.create(name) for name in losses.names() if name != "lagrange"}
variants["plain multiplier"] = losses.create("lagrange", penalty=0)
variants["lagrange"] = losses.create("lagrange")
every, goals, sweeps = list(range(cfg.seed, cfg.seed + cfg.seeds)), list(targets.values()), {}
for name in course.Bar(variants, "losses"):
    options = {"loss": variants[name], "config": config}
    sweeps[name] = search.pareto_sweep(objective, latency, goals, every, **options).frame()
print(f"{sum(map(len, sweeps.values()))} searches of {cfg.steps:,} steps")

# %% [markdown]
# For each search: where it ends as a share of its target, and what its repaired network lacks of the best within 3 %.

# %%
runs = pd.concat([frame.assign(loss=name) for name, frame in sweeps.items()], ignore_index=True)
runs = runs.rename(columns={"derived": "network"})
ends_at = {"expected": "expected_cost", "most probable": "cost", "derived": "derived_cost"}
for column, cost in ends_at.items():
    runs[column] = runs[cost] / runs["target"]
best = runs["target"].map(lambda target: best_within(1.03 * target))
runs["lost"] = best - [worth(arch) if arch else math.nan for arch in runs["network"]]
runs[["loss", "target", "seed", *ends_at, "lost"]].round(2).head(3)

# %% [markdown]
# Costs in % of the target, with a marker for each seed; the band is ±3 %. Circles are expected costs, squares are the
# most probable networks, diamonds are the networks that `derive` made of them.


# %%
def hits(frames):
    """A panel for each target: where every loss's runs end."""
    panels = {}
    for name, frame in frames.items():
        by_loss = frame.groupby("loss", sort=False)
        panels[name] = {end: by_loss[end].apply(lambda c: list(100 * c)) for end in ends_at}
    look = {"columns": 2, "width": 9, "legend": "bottom", "xlabel": "cost (% of the target)"}
    return plots.dots(panels, **look).guide(x=(97, 103))


by_target = {}
for name, target in targets.items():
    by_target[f"{name}: {target:.2f} ms"] = runs[np.isclose(runs["target"], target)]
figures["hits"] = hits(by_target)
figures["hits"]

# %% [markdown]
# In numbers, all in %: where the most probable networks end on average, of either target; how many runs are within 3 %,
# before and after repair; and what the derived networks lack of the best network within 3 %.

# %%
# groupby sorts by name; the frame below puts every column in the same order again
ended = {n: 100 * f.groupby("loss")["most probable"].mean() for n, f in by_target.items()}
held = runs.groupby("loss")["hit"].mean().reindex(list(variants))
repaired_hits = (runs["derived"] - 1).abs().le(0.03).groupby(runs["loss"]).mean()
lost = runs.groupby("loss")["lost"].mean()
kind = pd.Series({name: kinds[name]["kind"] if name in kinds else "learnt" for name in variants})
columns = {"kind": kind} | dict(zip(targets, ended.values(), strict=True))
columns |= {"on target": 100 * held, "repaired": 100 * repaired_hits, "lost": lost}
summary = pd.DataFrame(columns).sort_values("on target", ascending=False)
summary.round(1)

# %% [markdown]
# And your prediction:

# %%
shares = {name: float(held[name]) for name in CONTEST}
most = max(shares.values())
first = [name for name, share in shares.items() if share == most]
outcome = first[0] if most > 0 else "none of them"
tie = f"It shares the first place with {', '.join(first[1:])}. " * (most > 0 and len(first) > 1)
told = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
guess.came(outcome, f"{tie}On target after {cfg.steps:,} steps: {told}.")

# %% [markdown]
# Does the kind of a loss tell whether it ends on target? And what does repair bring?

# %%
by_kind = summary.groupby("kind")["on target"].mean().sort_values(ascending=False)
lightest, heaviest = lost.idxmin(), lost.idxmax()  # by the mean over targets and seeds
# which losses end where the objective alone would end?
free = [name for name, f in runs.groupby("loss") if np.allclose(f["cost"], front[-1, 0], rtol=1e-3)]
unfelt = (
    f"Some end at {front[-1, 0]:.2f} ms, as if there were no budget: {', '.join(free)}. "
    "Their default weights are too small to be felt beside our task loss. "
)
Markdown(
    "On target before repair, by kind: "
    + "; ".join(f"**{name}** {share:.0f} %" for name, share in by_kind.items())
    + f". {unfelt * bool(free)}After repair {repaired_hits.mean():.0%} of all runs are within 3 %. "
    "But repair does not look at the objective. So a repaired network may be on target and still "
    f"not be good: `{lightest}` loses {lost[lightest]:.1f} % of the objective's range on average, "
    f"`{heaviest}` {lost[heaviest]:.1f} %."
)

# %% [markdown]
# ### A weight means nothing by itself
#
# What decides where a search ends: the shape of the loss, or the size of its weight? Here is the same search with
# weights from 0.1 to 100, at the loose target.

# %%
ladder = np.logspace(-1, 2, cfg.weights)  # evenly on a logarithmic scale
short = replace(config, steps=max(1, cfg.steps // 2))
swept = {name: [] for name in ("proxylessnas_add", "single_path", "squared", "hinge")}
gained = {name: [] for name in swept}
for name, weight in course.Bar(list(itertools.product(swept, ladder)), "weights"):
    options = {"loss": losses.create(name, weight=float(weight)), "config": short}
    front_of = search.pareto_sweep(objective, latency, [targets["loose"]], [cfg.seed], **options)
    row = front_of.frame().iloc[0]
    swept[name].append(100 * row.cost / targets["loose"])
    gained[name].append(worth(row.arch))
labels = {"xlabel": "weight", "ylabel": "latency of the network (% of target)"}
figures["weights"] = plots.lines(swept, ladder, log="x", **labels)
figures["weights"].guide(y=(97, 103), label="target ± 3 %")
figures["weights"]

# %% [markdown]
# Which weights end on target? And what is the objective worth with the largest one?

# %%
# the lightest and the heaviest weight that end on target, and the most objective they reach
good, most = {}, {}
for name, ends in swept.items():
    met = [i for i, end in enumerate(ends) if abs(end - 100) <= 3]
    span = dict.fromkeys(f"{ladder[i]:.1f}" for i in met[:1] + met[-1:])  # one if both are the same
    good[name] = " to ".join(span) or "none"
    most[name] = max((gained[name][i] for i in met), default=0)
spans = "; ".join(f"`{name}` {weights}" for name, weights in good.items())
heavy = [n for n in ("squared", "hinge") if gained[n][-1] < most[n] - 1]
dulled = [f"`{n}` reaches {gained[n][-1]:.0f} % instead of {most[n]:.0f} %" for n in heavy]
too_much = f"Too large a weight costs objective: at {ladder[-1]:g} {' and '.join(dulled)}."
Markdown(
    f"Weights on target: {spans}. So a weight has to be found by trying, and anew for each target. "
    f"{too_much * bool(heavy)}"
)

# %% [markdown]
# **Turn it yourself**: a loss, its weight and the target. (Tab moves from control to control, the arrow keys move one.)
# Can you find one weight of `proxylessnas_add` that is right for targets at 20 % *and* at 60 % of the range?

# %%
from nasedu.widgets import BudgetWidget

often = max(1, cfg.widget_steps // 100)
quick = search.DescentConfig(steps=cfg.widget_steps, every=often, lr=cfg.lr)
target = round(100 * cfg.tight)
widget = BudgetWidget(objective, latency, target=target, config=quick, seed=cfg.seed)
widget

# %% [markdown]
# The same as a still picture, for pages that cannot run: the tight target, as the widget starts.

# %%
figures["reach"] = widget.figure
figures["reach"]

# %% [markdown]
# ### Exercise 11.3: a weight that meets the target
# *Difficulty 2 of 3, about 20 min; experiment.* Try weights yourself, without a search. `gain(r)` is the share of the
# objective that can be had for r times the target, and `term(r)` is a hardware term of weight 1. Both take a number or
# an array. A perfect search ends at the r from 0.2 to 3 where $1 - \text{gain}(r) + w \cdot \text{term}(r)$ is lowest.
# Return a weight $w$ from 0.01 to 100 at which it ends within 3 % of the target, or 0 if no weight does.
#
# <details><summary>Hint 1</summary>It is not enough that the total is flat at r = 1. It may be lower far away from
# there, or even be highest at r = 1.</details>
# <details><summary>Hint 2</summary>Do the experiment: for each of a thousand weights, evenly spaced on a logarithmic
# scale, look at the total on a fine grid of r.</details>


# %% tags=["stub"]
def weight_for(gain, term):
    raise NotImplementedError


# %% tags=["solution"]
def weight_for(gain, term):
    r = np.linspace(0.2, 3, 1401)
    missing, pressure = 1 - gain(r), term(r)
    for weight in np.logspace(-2, 2, 1000):
        if abs(r[(missing + weight * pressure).argmin()] - 1) < 0.03:
            return weight
    return 0.0


# %% tags=["nbval-check-output"]
check_weight(weight_for)

# %% [markdown]
# ## 5 · Let the search find the weight
#
# A weight is a *price* for going over the budget. It need not be guessed: raise it while the cost is over the target,
# and lower it while the cost is below. That is **dual ascent** on the Lagrangian $L + \lambda\,(r - 1)$:
#
# - the logits go *down* its gradient, as always;
# - every few steps $\lambda$ goes *up* its own: $\lambda \leftarrow \max(0,\ \lambda + \rho\,(r - 1))$.
#
# Here $r$ is the cost of the **most probable** network divided by the target, and not the expected cost. So the
# multiplier is driven by the network that would be handed out, and the gap of section 2 cannot mislead it.
#
# Two searches with a plain multiplier, one for each target, and what their most probable networks cost on the way:


# %%
def costs_over_steps(descent, table, row=0):
    """What the most probable network of every record costs."""
    chosen = [record["probabilities"][row].argmax(-1).tolist() for record in descent.history]
    return [table(arch) for arch in chosen]


plain = losses.create("lagrange", penalty=0)
both = search.pareto_sweep(objective, latency, goals, [cfg.seed], loss=plain, config=config)
steps = [record["step"] for record in both.descent.history]
course_of = {name: costs_over_steps(both.descent, latency, i) for i, name in enumerate(targets)}
pd.DataFrame(course_of, index=steps).rename_axis("step").round(2).tail(3)

# %% [markdown]
# A multiplier depends on the costs so far and on nothing else. So it can be worked out afterwards, from the record of a
# search. By hand, and by the package's loss:


# %%
def multipliers(costs, target, rho):
    """The multiplier at every record; the first has seen nothing yet."""
    values = [0.0]
    for cost in costs[1:]:
        values.append(max(0.0, values[-1] + rho * (cost / target - 1)))
    return values


prices = {name: multipliers(costs, targets[name], plain.rho) for name, costs in course_of.items()}
check = plain.fresh()
for cost in course_of["tight"][1:]:
    check.update(cost, targets["tight"])
print(f"{prices['tight'][-1]:.5f} by hand, {float(check.multiplier):.5f} by the package")
assert math.isclose(check.multiplier, prices["tight"][-1], abs_tol=1e-4), "the multipliers differ"

# %% [markdown]
# The upper panel shows what the two searches' most probable networks cost on their way. The lower one shows the price
# that they learn.

# %%
percent = {name: [100 * c / targets[name] for c in costs] for name, costs in course_of.items()}
look = {"names": "ylabel", "columns": 1, "share": "x", "xlabel": "step", "width": 8, "height": 2.4}
panels = {"cost (% of target)": percent, "multiplier": prices}
figures["price"] = plots.lines(panels, steps, **look).guide(y=[(97, 103), 0])
figures["price"]

# %% [markdown]
# λ takes the place of the weight of section 4, and each target has its own. It can be read as a price: λ percent of the
# objective's range is what 1 % more time would buy. After a long search that should agree with the slope of the exact
# front. What does 1 % more time buy at the tight target?

# %%
per_ms = {name: 100 * prices[name][-1] / targets[name] for name in prices}
rise = best_within(1.08 * targets["tight"]) - best_within(targets["tight"] / 1.08)
by_front = rise / (200 * math.log(1.08))  # % of the range for 1 % more time
print(f"after {cfg.steps:,} steps λ says {prices['tight'][-1]:.2f} % of the range,")
print(f"and the exact front {by_front:.2f} %")

# %% [markdown]
# At which target is a millisecond worth more? And do the costs come to rest?

# %%
dear, cheap = sorted(per_ms, key=per_ms.get, reverse=True)  # names of the targets
worth_more = f"a millisecond is worth more at the {dear} target"
if per_ms[dear] - per_ms[cheap] < 1:
    worth_more = "so the two prices of a millisecond are about the same"
finals = [values[-1] for values in prices.values()]
late = [abs(c - 100) for curve in percent.values() for c in curve[len(curve) // 2 :]]
Markdown(
    f"λ ends at **{prices['tight'][-1]:.2f}** for the tight target and at "
    f"{prices['loose'][-1]:.2f} for the loose one. That is {per_ms['tight']:.0f} % of the "
    f"objective's range per ms at the tight target and {per_ms['loose']:.0f} % at the loose one: "
    f"{worth_more}. In the second half of the steps the costs lie up to {max(late):.0f} % off "
    "target. Even at the right price the best network may miss the target, because there are only "
    "so many networks. The package's `lagrange` therefore adds a second term, a two-sided penalty "
    "whose weight grows while the cost is close to the target but off it; `penalty=0` leaves it "
    f"out. λ also explains the hinge. It holds a budget if its weight exceeds λ, for then going "
    f"over never pays; section 4's weight of 1 {'does' if max(finals) < 1 else 'does not'}."
)

# %% [markdown]
# ### Exercise 11.4: the whole dual ascent
# *Difficulty 3 of 3, about 25 min.* From every list choose one option: option j of list i costs `costs[i][j]` and gains
# `gains[i][j]`. The costs of all chosen options may be `target` at most. Return the chosen options, a number for each
# list, such that the gains add up to at least 97 % of what is possible. There are 40 lists with 6 options each, so
# trying them all is out of the question. The gains of the best options add up to 1. A budget may be tight or loose, in
# any unit, or so loose that it does not bind.
#
# <details><summary>Hint 1</summary>At a given λ every list can choose for itself: the option with the largest
# gain − λ · cost / target.</details>
# <details><summary>Hint 2</summary>Then λ moves by ρ (total cost / target − 1), but never below 0. ρ = 0.3 and 3,000
# rounds are plenty.</details>
# <details><summary>Hint 3</summary>The total cost swings about the target. Return the best choice of all rounds that
# fits, and not the last one.</details>


# %% tags=["stub"]
def dual_ascent(costs, gains, target):
    raise NotImplementedError


# %% tags=["solution"]
def dual_ascent(costs, gains, target):
    costs, gains, rows = np.array(costs), np.array(gains), np.arange(len(costs))
    multiplier, best, most = 0.0, costs.argmin(1), -math.inf
    for _ in range(3000):
        chosen = (gains - multiplier * costs / target).argmax(1)
        cost, gain = costs[rows, chosen].sum(), gains[rows, chosen].sum()
        if cost <= target and gain > most:  # the last round may well be over the budget
            best, most = chosen, gain
        multiplier = max(0.0, multiplier + 0.3 * (cost / target - 1))
    return best.tolist()


# %% tags=["nbval-check-output"]
check_dual_ascent(dual_ascent)

# %% [markdown]
# ### What no price can find
#
# For a fixed λ a search with $L + \lambda\,(r - 1)$ looks for the network that is best *at that price*. Picture a
# straight line of that slope that is lowered onto the front from above. The network that it touches first is the best
# at that price. Networks in a dent of the front are never touched, whatever the slope. Those that can be touched are
# the corners of the **hull**, the tightest lid over the front that has no dent:


# %%
def hull(points):
    """The corners of the lid over points sorted by cost: none lies below its neighbours' line."""
    lid = []
    for point in points:
        while len(lid) > 1 and np.linalg.det([lid[-1] - lid[-2], point - lid[-1]]) >= 0:
            lid.pop()  # the middle one of three lies in a dent
        lid.append(point)
    return np.array(lid)


lid = hull(ideal)
print(f"{len(lid)} of {len(ideal)} networks are corners")

# %% [markdown]
# The corners among all networks of the front:

# %%
panel = {"the exact front": ideal.T, "found by some price": lid.T}
figures["hull"] = plots.scatter(panel, crowd="the exact front", **axes_of)
figures["hull"]

# %% [markdown]
# How much is lost by a search that can find nothing but the corners?


# %%
def on_hull(ms):
    """The highest objective (%) of a corner of at most so many ms."""
    return float(lid[lid[:, 0] <= ms + 1e-6, 1].max(initial=0.0))


grid = np.linspace(low + 0.05 * (high - low), high, 200)  # budgets
dents = [best_within(ms) - on_hull(ms) for ms in grid]
Markdown(
    f"At a random budget the best corner lacks {np.mean(dents):.2f} % of the objective's range on "
    f"average, and {max(dents):.2f} % at worst. So here a price loses "
    f"{'little' if np.mean(dents) < 1 else 'much'} on average. Dents are a second reason for "
    "`lagrange`'s second term, and for repair."
)

# %% [markdown]
# ### Exercise 11.5: a network that no price finds
# *Difficulty 3 of 3, about 15 min; design.* Design a problem whose best network within the budget is not found at any
# price. There are two decisions with three options each, so nine networks. Return `costs` and `gains`, two lists of
# three numbers each, and a `target`. The budget must bind (a better network lies beyond it), and one network alone must
# be the best within it.
#
# <details><summary>Hint 1</summary>Begin with one decision, and give the other one options that hardly matter. Three
# points (cost, gain): when is the middle one below the line through the other two?</details>
# <details><summary>Hint 2</summary>Gains 0, 0.3 and 1 at costs 1, 2 and 3, with a budget that only the first two
# meet.</details>


# %% tags=["stub"]
def problem():
    raise NotImplementedError


# %% tags=["solution"]
def problem():
    costs = [[1.0, 2.0, 3.0], [1.0, 1.5, 2.0]]
    gains = [[0.0, 0.3, 1.0], [0.0, 0.0, 0.0]]  # 0.3 lies below the line from 0 to 1
    return costs, gains, 3.0


# %% tags=["nbval-check-output"]
check_hidden_network(problem)

# %% [markdown]
# ## 6 · Several budgets at once
#
# Now latency *and* parameters, both as ceilings. Losses that add can simply both be added, each with its own target.
# And since both tables are sums over blocks, a solver finds the **certified optimum**: constraints are joined by `&`,
# and `best` returns the best network within them, and proves that no other within them has a higher objective.

# %%
params = LookupTable.build(space, "params")
fewest, most_params = params.bounds()
limit_ms, limit_params = targets["loose"], fewest + 0.35 * (most_params - fewest)
inside = tables.at_most(latency, limit_ms) & tables.at_most(params, limit_params)
certified = inside.best(objective)
print(f"at most {limit_ms:.2f} ms and {limit_params:,.0f} parameters: {worth(certified):.2f} %")

# %% [markdown]
# Three searches: with a budget for the latency alone, for the parameters alone, and for both. `lagrange` holds a
# *target*, from either side and to 2 or 3 %. So, to stay below a ceiling, aim 3 % lower. The last search is repaired as
# well: from its probabilities we take the most probable network that fits under both ceilings.

# %%
terms = {  # 3 % below the ceilings
    "latency alone": [(latency, 0.97 * limit_ms, "lagrange")],
    "parameters alone": [(params, 0.97 * limit_params, "lagrange")],
}
terms["both"] = [term for one in terms.values() for term in one]
joined = {name: tables.Budget(wanted, objective) for name, wanted in terms.items()}
descents = {name: search.descend(budget, config, seeds=every) for name, budget in joined.items()}
print(f"{len(descents)} budgets, {cfg.seeds} seeds each")

# %% [markdown]
# Where do the searches of the first seed end, and do they fit under both ceilings?


# %%
def mended(path):
    """The most probable network under both ceilings."""
    return inside.best([p.clamp_min(1e-30).log() for p in path])


ends = {name: descent.architectures()[0] for name, descent in descents.items()}
ends["both, repaired"] = mended(descents["both"].path(seed=0))
ends["certified optimum"] = certified
rows = {
    "latency (ms)": {name: round(latency(a), 2) for name, a in ends.items()},
    "parameters": {name: f"{params(a):,.0f}" for name, a in ends.items()},
    "objective (%)": {name: round(worth(a), 2) for name, a in ends.items()},
    "fits": {name: inside(a) for name, a in ends.items()},
}
pd.DataFrame(rows)

# %% [markdown]
# In the picture the networks that fit lie to the left of one line and below the other.

# %%
# repaired, "both" may be the same network: one marker would hide the other
points = {n: (latency(a), params(a) / 1e3) for n, a in ends.items() if n != "both"}
crowd_params = [params(a) / 1e3 for a in strangers]
axes = {"xlabel": "latency (ms)", "ylabel": "parameters (thousands)"}
figures["budgets"] = plots.landscape(random_costs, crowd_params, points, crowd=crowd, **axes)
figures["budgets"].guide(x=limit_ms, label="ceiling of latency", linestyle="--")
figures["budgets"].guide(y=limit_params / 1e3, label="ceiling of parameters", linestyle="-.")
figures["budgets"]

# %% [markdown]
# How far from the certified optimum do the searches with both budgets end? Every seed is one search, and every search
# is repaired. A part of the gap is the price of aiming 3 % lower, and the solver can tell it.

# %%
# before and after repair
fitting = [inside(arch) for arch in descents["both"].architectures()]
kept = [mended(descents["both"].path(seed=i)) for i in range(cfg.seeds)]
assert all(map(inside, kept)), "a repaired network fits under both ceilings"
gaps_both = ranking.paired([worth(certified) - worth(arch) for arch in kept])
lower_ms, lower_params = max(low, 0.97 * limit_ms), 0.97 * limit_params
lowered = tables.at_most(latency, lower_ms) & tables.at_most(params, lower_params)
margin = worth(certified) - worth(lowered.best(objective))
chance = [worth(arch) for arch in strangers if inside(arch)]
Markdown(
    f"{sum(fitting)} of {cfg.seeds} searches ended under both ceilings by themselves; after repair "
    f"all are. They lie **{gaps_both.value:.2f} %** of the objective's range below the certified "
    f"optimum (95 % interval {gaps_both.low:.2f} to {gaps_both.high:.2f}). The best network 3 % "
    f"below both ceilings lacks {margin:.2f} %, and the best of the {len(chance)} random networks "
    f"that fit {worth(certified) - max(chance, default=0):.0f} %."
)

# %% [markdown]
# ### Which budget binds?
#
# A budget *binds* if the search would exceed it when left alone. Here the budget of latency stays, and that of
# parameters takes nine values, from 15 to 95 % of the range. All nine are rows of one descent, with a plain multiplier
# for each budget. The multipliers follow from the costs, as in section 5. Each ends as the price of its budget: 0 means
# that the budget did not bind.

# %%
ladder_2 = np.linspace(0.15, 0.95, 9)
tightened = torch.tensor(fewest + ladder_2 * (most_params - fewest), dtype=torch.float32)
joined = tables.Budget([(latency, limit_ms, plain), (params, tightened, plain)], objective)
descent = search.descend(joined, config, seeds=[cfg.seed] * len(tightened))
binding = {"latency": [], "parameters": []}  # the last multiplier of every row
for row, budget in enumerate(tightened.tolist()):
    for name, table, goal in (("latency", latency, limit_ms), ("parameters", params, budget)):
        costs = costs_over_steps(descent, table, row)
        binding[name].append(multipliers(costs, goal, plain.rho)[-1])
labels = {"xlabel": "parameter budget (% of the range)", "ylabel": "multiplier at the end"}
figures["binding"] = plots.lines(binding, 100 * ladder_2, **labels)
figures["binding"]

# %% [markdown]
# ### Exercise 11.6: what a price proves
# *Difficulty 2 of 3, about 15 min.* How good can the best network be at most? A price gives a bound, without a solver.
# At any `price` ≥ 0 no network within `target` gains more than the largest
# $\text{gain} + \text{price} \cdot (1 - \text{cost} / \text{target})$ of *all* networks. Return this bound. `costs` and
# `gains` hold a list for every decision; a network takes one option from each. Sixty decisions must be no problem.
#
# <details><summary>Hint 1</summary>Why is it a bound? Within the target 1 − cost / target is not negative, so nothing
# negative is added to the gain.</details>
# <details><summary>Hint 2</summary>gain − price · cost / target is a sum over decisions: each can choose for itself.
# The price itself is added once.</details>


# %% tags=["stub"]
def bound(costs, gains, target, price):
    raise NotImplementedError


# %% tags=["solution"]
def bound(costs, gains, target, price):
    lists = zip(costs, gains, strict=True)
    best = [max(g - price * c / target for c, g in zip(*pair, strict=True)) for pair in lists]
    return sum(best) + price


# %% tags=["nbval-check-output"]
check_bound(bound)

# %% [markdown]
# ## 7 · Images instead of a table
#
# Until here the objective was a table. Now it is the cross-entropy on images of real digits. The space is that of
# notebook 06 without the operation *none*: cells of six edges, each a skip or a 3×3 convolution. **All of these cells
# were trained**, so the true accuracy of whatever comes out is known. The cost is MACs. Cells differ in MACs only by
# their number of convolutions, so a budget is such a number: two of six (tight) or four (loose). The searches run
# binary gates (ProxylessNAS, notebook 06): weights are trained in single cells, and logits pay for expected MACs.

# %%
truth = benchmark.load("cells_digits")
two_operations = {"operations": ["skip_connect", "nor_conv_3x3"]}
cells = spaces.create("nasbench201", **truth.space_options | two_operations)
macs = LookupTable.build(cells, "macs")
cheapest, dearest = macs.bounds()
print(f"{cells.size} cells of {cheapest / 1e3:.0f} to {dearest / 1e3:.0f} thousand MACs")

# %% [markdown]
# The two budgets, and the cells that meet them exactly:

# %%
quota = {name: cheapest + n / 6 * (dearest - cheapest) for name, n in (("tight", 2), ("loose", 4))}
test = truth.scores("test")
scored = {arch: test[cells.format(arch)] for arch in itertools.product((0, 1), repeat=6)}
allowed = {n: [a for a in scored if abs(macs(a) - goal) < 1] for n, goal in quota.items()}
for name, archs in allowed.items():
    ends = min(scored[a] for a in archs), max(scored[a] for a in archs)
    print(f"{name}: {len(archs)} cells of {ends[0]:.1f} to {ends[1]:.1f} % true accuracy")

# %% [markdown]
# The settings of all searches:

# %%
digits = data.classification(split="train", size=cfg.train_size, **truth.task).to(cfg.device)
warm = cfg.epochs // 7  # epochs in which weights alone learn
settings = search.GradientConfig("gates", epochs=cfg.epochs, warmup_epochs=warm, arch_lr=0.2)
real_seeds = range(cfg.seed, cfg.seed + cfg.real_seeds)
print(f"{cfg.epochs} epochs on {len(digits)} digits; in the first {warm} only weights learn")

# %% [markdown]
# One search for each loss, budget and seed. (A search that was stopped goes on from where it was.)


# %%
def real_search(loss, name, seed):
    """A search on images with a budget."""
    budget = tables.Budget([(macs, quota[name], losses.create(loss))])
    where = {"device": cfg.device, "state": cfg.out_dir / f"{loss}-{name}-{seed}.pt"}
    task = Classification(digits, seed=seed)
    return search.gradient_search(cells, task, settings, hardware=budget, seed=seed, **where)


triples = list(itertools.product(dict.fromkeys(cfg.real_losses), quota, real_seeds))
searched = {triple: real_search(*triple) for triple in course.Bar(triples, "searches")}
print(f"{len(searched)} searches")

# %% [markdown]
# Every path is repaired where it misses its target, and judged by the table of trained cells. `lost` is the accuracy
# (in points) that the derived cell lacks of the best cell with as many convolutions.

# %%
found = {triple: tables.derive(r.path, macs, quota[triple[1]]) for triple, r in searched.items()}
real = pd.DataFrame(list(found), columns=["loss", "budget", "seed"])
costs_of = {"expected": "expected", "most probable": "argmax_cost", "derived": "cost"}
for column, attribute in costs_of.items():
    real[column] = [getattr(d, attribute) / d.target for d in found.values()]
real["entropy"] = [r.history[-1]["entropy"] for r in searched.values()]
real["accuracy"] = [scored[d.arch] for d in found.values()]
best_cell = {name: max(scored[a] for a in archs) for name, archs in allowed.items()}  # at its cost
real["lost"] = real["budget"].map(best_cell) - real["accuracy"]
by_loss = real.groupby(["budget", "loss"])
by_loss[["expected", "most probable", "derived", "accuracy", "lost"]].mean().round(2)

# %% [markdown]
# Where they end, with a marker for each search:

# %%
frames = {f"{n}: {quota[n] / 1e3:.0f}k MACs": real[real["budget"] == n] for n in quota}
figures["real"] = hits(frames)
figures["real"]

# %% [markdown]
# If an edge is undecided, its path pays for half a convolution. No cell has half a convolution, so here expected cost
# and cost of the most probable cell can differ much.

# %%
near = (real["most probable"] - 1).abs() <= 0.03  # 3 %, as always
hit = [
    f"`{name}` {group.sum()} of {len(group)} (on the tables {held[name]:.0%} of its runs)"
    for name, group in near.groupby(real["loss"])
]
apart = (real["most probable"] - real["expected"]).abs()
widest = real.loc[apart.idxmax()]
Markdown(
    f"On target without repair: {', '.join(hit)}. Between the expected cost and that of the most "
    f"probable cell lie up to {100 * apart.max():.0f} % of the target (`{widest['loss']}`, "
    f"{widest['budget']}). The entropy is {real['entropy'].mean():.2f} nats on average; "
    f"{math.log(2):.2f} nats would be wholly undecided. The weights are those of the tables, "
    "but what counts is how steep the hardware term is beside the task loss."
)

# %% [markdown]
# ## 8 · Searches that draw
#
# Evolution and reinforcement learning draw whole networks, so no expected cost is needed. They ask for a **reward** of
# a network of quality $Q$, and higher is better. MnasNet multiplies, $Q \cdot r^{w}$: softly with $w = -0.07$ on both
# sides, or hard with $w = 0$ within the budget and $-1$ beyond. TuNAS adds, $Q + \beta\,|r - 1|$. From scratch and as
# the package has them, at a quality of 0.75 and twice the target; all values are compared:

# %%
Q, ratio = torch.full((100,), 0.75), torch.linspace(0.2, 3, 100)  # ratio[64] is 2.01
rewards = {
    "MnasNet, soft": losses.create("mnasnet"),
    "MnasNet, hard": losses.create("mnasnet", below=0.0, above=-1.0),
    "TuNAS": losses.create("tunas", beta=-0.5),
}
hard = torch.where(ratio > 1, 1 / ratio, 1.0)
formulas = [Q * ratio**-0.07, Q * hard, Q - 0.5 * (ratio - 1).abs()]
for (name, loss), formula in zip(rewards.items(), formulas, strict=True):
    theirs = loss.reward(Q, 10 * ratio, 10.0)
    print(f"{name}: {float(formula[64]):.4f} by hand, {float(theirs[64]):.4f} by the package")
    assert torch.allclose(theirs, formula, atol=1e-5), f"{name} differs"

# %% [markdown]
# Evolution takes milliseconds where all cells are trained already: here the 729 cells of notebook 07, where an edge may
# also be *none*. The target is the loose one.

# %%
every_cell = spaces.create("nasbench201", **truth.space_options)
full_macs, quality = LookupTable.build(every_cell, "macs"), truth.evaluator(every_cell, "val")


def drawn_search(reward, seed, strategy=search.evolution):
    """The best cell by reward, where quality is the validation accuracy (0 to 1)."""

    def evaluate(arch):
        return float(reward.reward(quality(arch) / 100, full_macs(arch), quota["loose"]))

    budget = search.EvolutionConfig(budget=cfg.evaluations)
    return strategy(every_cell, evaluate, budget, seed=seed).best


one = drawn_search(rewards["TuNAS"], cfg.seed)
print(f"TuNAS's reward picks a cell of {100 * full_macs(one) / quota['loose']:.0f} % of the target")

# %% [markdown]
# Each reward gets ten evolutions, and TuNAS's also ten random searches. What do they pick?

# %%
ten = range(cfg.seed, cfg.seed + 10)
picked = {name: [drawn_search(loss, s) for s in ten] for name, loss in rewards.items()}
by_chance = [drawn_search(rewards["TuNAS"], s, search.random_search) for s in ten]
picked["TuNAS, random search"] = by_chance
over = {n: [100 * full_macs(a) / quota["loose"] for a in archs] for n, archs in picked.items()}
figures["rewards"] = plots.dots(over, xlabel="MACs of the pick (% of the target)").guide(x=100)
figures["rewards"]

# %% [markdown]
# MnasNet's soft reward is an exchange rate: 1 % more cost must bring 0.07 % more quality. Its target only sets the
# unit. The hard reward only punishes what is beyond the budget. TuNAS's is highest at the target, so it turns down a
# cheaper cell that is as good. In numbers, all in %:

# %%
right = {n: 100 * np.mean([abs(v - 100) <= 3 for v in values]) for n, values in over.items()}
within = {n: 100 * np.mean([v <= 103 for v in values]) for n, values in over.items()}
scores = {n: np.mean([test[every_cell.format(a)] for a in a_list]) for n, a_list in picked.items()}
columns = {"within 3 %": right, "at most 3 % over": within, "test accuracy": scores}
pd.DataFrame(columns).round(2)

# %% [markdown]
# ## 9 · The whole front at once
#
# Often the target is not known, and one wants to *see* the trade-off between latency and objective. Targets and seeds
# are rows of one tensor, so a whole front takes hardly longer than one search.

# %%
wanted = np.linspace(low + 0.04 * (high - low), front[-1, 0], cfg.sweep_targets).tolist()
many_seeds = list(range(cfg.seed, cfg.seed + cfg.sweep_seeds))
with course.Bar(total=config.steps, desc="front", unit="step") as bar:
    options = {"config": config, "progress": bar.show}
    sweep = search.pareto_sweep(objective, latency, wanted, many_seeds, **options)
swept_front, frame = sweep.efficient(), sweep.frame()
print(f"{len(wanted)} targets × {len(many_seeds)} seeds; {len(swept_front)} on their front")

# %% [markdown]
# Every dot is a search. The stairs are the front of the searches, and the thin line is the exact front. Random networks
# are grey.

# %%
met = frame.dropna(subset="derived_cost")
points = {"random networks": (random_costs, random_worth)}
points["derived"] = met["derived_cost"], [worth(a) for a in met["derived"]]
figures["front"] = plots.scatter(points, crowd="random networks", **axes_of)
axes = figures["front"].axes[0]  # two lines more than the form has
searched_worth = [worth(a) for a in swept_front["derived"]]
stairs = swept_front["derived_cost"], searched_worth
axes.step(*stairs, where="post", label="front of the searches")
axes.plot(*ideal.T, color="black", linestyle="-", linewidth=0.8, label="exact front")
figures["front"].key()

# %% [markdown]
# **One number for a front: its hypervolume.** A network *dominates* all that is dearer and worse: the rectangle to its
# right and below it, up to a highest cost and down to a lowest objective. The area of all these rectangles together is
# the hypervolume of the front. With it fronts can be compared although their networks have different costs. From
# scratch, and checked against a sum of the best objectives at many budgets:


# %%
def hypervolume(costs, worths, ceiling, floor=0.0):
    """The area that networks dominate, left of `ceiling` (ms) and above `floor` (%)."""
    area = 0.0
    for cost, gain in sorted(zip(costs, worths, strict=True)):
        if cost < ceiling and gain > floor:  # it adds a slab on top of all that are cheaper
            area, floor = area + (ceiling - cost) * (gain - floor), gain
    return area


whole = hypervolume(*ideal.T, high)
ms_grid = np.linspace(ideal[0, 0], high, 20_001)[1:]
summed = np.mean([best_within(ms) for ms in ms_grid[::20]]) * (high - ideal[0, 0])
print(f"{whole:.1f} ms·% by slabs, {summed:.1f} by adding up the best at 1,000 budgets")
assert abs(whole / summed - 1) < 0.01, "the two areas must agree"

# %% [markdown]
# Random search needs a front of its own, for comparison. It gets as many networks as all searches together took steps
# (but two million at most). Many networks are drawn at once:


# %%
def many_random(count, seed):
    """Cost and objective (%) of random networks, all at once."""
    rng, cost, gain = np.random.default_rng(seed), latency.fixed, objective.fixed
    for prices, gains in zip(latency.entries, objective.entries, strict=True):
        option = rng.integers(prices.numel(), size=count)  # every option of a block is as likely
        cost = cost + prices.flatten().numpy()[option]
        gain = gain + gains.flatten().numpy()[option]
    return cost, 100 * (gain - bottom) / (top - bottom)


few = many_random(5, cfg.seed)
print("five of them:", *(f"{c:.2f} ms {w:.0f} %;" for c, w in zip(*few, strict=True)))

# %% [markdown]
# The hypervolumes of that crowd, of the 1,000 networks of section 1 and of the searches, in % of the exact front's; and
# how far the networks of the searches' front lie below the exact one:

# %%
as_many = min(config.steps * len(wanted) * len(many_seeds), 2_000_000)
volumes = {"1,000 random networks": hypervolume(random_costs, random_worth, high)}
volumes[f"{as_many:,} random networks"] = hypervolume(*many_random(as_many, cfg.seed), high)
volumes["the searches"] = hypervolume(swept_front["derived_cost"], searched_worth, high)
share_of = {name: 100 * volume / whole for name, volume in volumes.items()}
pairs = zip(swept_front["derived_cost"], searched_worth, strict=True)
lag = [best_within(cost) - gain for cost, gain in pairs]  # in % of the objective's range
Markdown(
    f"Hypervolume: {', '.join(f'{name} **{share:.1f} %**' for name, share in share_of.items())}. "
    f"{frame['hit'].mean():.0%} of the searches ended within 3 % of their target by themselves. "
    f"The {len(lag)} networks of their front lie {np.mean(lag):.2f} % of the objective's range "
    f"below the exact front on average, {max(lag):.2f} % at worst. Where both tables are sums, one "
    "should simply compute the exact front. A search is needed where the objective is *no* sum, as "
    "on images."
)

# %% [markdown]
# ### Exercise 11.7: which rule does this loss break?
# *Difficulty 2 of 3, about 20 min; fault.* Back to section 3: somebody hands you a hardware loss, a function of the
# floats `task`, `cost` and `target`. Return the *set* of its faults, of these three:
#
# - `"units"`: in ms and in µs (cost and target times 1000) it gives different totals;
# - `"falls"`: somewhere a dearer network pays less than a cheaper one;
# - `"infinite"`: somewhere between no cost and three times the target its total is not finite.
#
# The checker has thirteen losses, some of which are sound. You may call a loss as often as you like.
#
# <details><summary>Hint 1</summary>Try costs from 0 to 3 times the target, on both sides of it.</details>
# <details><summary>Hint 2</summary>Two infinite totals are equal; their difference is no number. Compare with &lt; and
# ==, and use <code>math.isfinite</code> and <code>math.isclose</code>.</details>


# %% tags=["stub"]
def examine(loss):
    raise NotImplementedError


# %% tags=["solution"]
def examine(loss):
    target, faults = 30.0, set()
    # both sides of the target, and the same costs in another unit
    costs = [target * i / 20 for i in range(61)]
    totals = [loss(1.0, cost, target) for cost in costs]
    scaled = [loss(1.0, 1000 * cost, 1000 * target) for cost in costs]
    if not all(a == b or math.isclose(a, b) for a, b in zip(totals, scaled, strict=True)):
        faults.add("units")
    if any(after < before for before, after in itertools.pairwise(totals)):
        faults.add("falls")
    if not all(map(math.isfinite, totals)):
        faults.add("infinite")
    return faults


# %% tags=["nbval-check-output"]
check_examine(examine)

# %% [markdown]
# ## 10 · The verdict: against random at equal cost
#
# What did the searches buy? First on the tables. A descent prices one path at every step. Its rival is random search:
# it prices as many random networks as the descent took steps, and keeps the best. **All of its networks are within 3 %
# of the target already**; draws that miss are not counted. Both get the same seeds, so each seed is a pair. No network
# within 3 % of the target is better than the solver's, so the gap to that one is known for both.

# %%
second = course.predict(
    "At equal cost on the tables, who ends closer to the best network?",
    ["the search", "random networks", "no difference that the seeds show"],
)

# %% [markdown]
# Random networks are drawn with section 9's `many_random`, until as many are within 3 % as there were steps.


# %%
def random_rival(target, seed, count):
    """The best objective (%) of `count` random networks within 3 % of a target."""
    best, found = 0.0, 0
    for attempt in range(400):  # at the ends of the range hardly any draw lies in the band
        cost, gain = many_random(50_000, [seed, attempt])
        fits = np.flatnonzero(np.abs(cost / target - 1) <= 0.03)[: count - found]
        best, found = max(best, gain[fits].max(initial=0.0)), found + len(fits)
        if found == count:
            break
    return best


print(f"the best of 100 at the loose target: {random_rival(targets['loose'], cfg.seed, 100):.1f} %")

# %% [markdown]
# Every search with `lagrange` from section 4, its rival, and the limit:

# %%
ours = runs[runs["loss"] == "lagrange"].copy()
ours["search"] = [worth(arch) for arch in ours["network"]]
drawn = zip(ours["target"], ours["seed"], strict=True)
ours["random"] = [random_rival(target, seed, cfg.steps) for target, seed in drawn]
limit = {t: worth(tables.within(latency, t).best(objective)) for t in targets.values()}
ours["best"] = ours["target"].map(limit)
ours[["target", "seed", "search", "random", "best"]].round(2)

# %% [markdown]
# The gap to the certified best network, for both, and the difference of the pairs:

# %%
ours["lead"] = ours["search"] - ours["random"]
lead = ranking.paired(ours.groupby("seed")["lead"].mean())  # a seed's two targets are one draw
gaps = {who: ours["best"] - ours[who] for who in ("search", "random")}
gap_of = {who: ranking.paired(gap.groupby(ours["seed"]).mean()) for who, gap in gaps.items()}
figures["verdict"] = plots.dots(gap_of, xlabel="gap to the certified best (% of the range)")
figures["verdict"].guide(x=0)
figures["verdict"]

# %% [markdown]
# So, on the tables, who is ahead? We say so only if the interval of the difference leaves 0 out, and only with three
# seeds or more.


# %%
def verdict(lead, seeds, winner="the search", loser="random networks"):
    """Who is ahead, if the seeds show it."""
    if seeds < 3 or lead.low <= 0 <= lead.high:
        return "no difference that the seeds show"
    return winner if lead.low > 0 else loser


too_few = "Fewer than three seeds cannot tell. " * (cfg.seeds < 3)
second.came(
    verdict(lead, cfg.seeds),
    f"{too_few}The search's network minus the random one: {lead.value:+.2f} % of the objective's "
    f"range (95 % interval {lead.low:+.2f} to {lead.high:+.2f}, {cfg.seeds} seeds, "
    f"{cfg.steps:,} networks each). The search lies {gap_of['search'].value:.2f} % below the "
    f"certified best network, random search {gap_of['random'].value:.2f} %. The solver takes a "
    "fraction of a second and leaves no gap: where the objective is a table, solve.",
)

# %% [markdown]
# **On images** random search trains cells of the right number of convolutions, 3 epochs each, and keeps the cell with
# the best validation accuracy. It may train as many cells as the search's multiply-accumulates pay for. A search sends
# half of the images through one cell at a time (for the weights), and the other half through *all* convolutions (for
# the logits). The table of trained cells holds the trainings of 3 epochs, so random search is repeated 200 times per
# seed at no cost. Both picks are judged by the test accuracy after 12 epochs.


# %%
def price_of_search(name):
    """Multiply-accumulates of a search (forward passes of all its images)."""
    weights_pass = 0.5 * quota[name]  # half of the images, one cell of about the right cost
    logits_pass = 0.5 * dearest  # the other half, every convolution
    return len(digits) * (cfg.epochs * weights_pass + (cfg.epochs - warm) * logits_pass)


print(f"{price_of_search('tight') / 1e9:.2f} billion multiply-accumulates at the tight budget")

# %% [markdown]
# Random search for that price:


# %%
def random_cells(name, seed, tries=200):
    """The mean true accuracy of random search's pick, at a search's price."""
    rng, archs = np.random.default_rng([seed, len(name)]), allowed[name]
    price = truth.meta["training"]["images"] * 3 * quota[name]  # of one training of 3 epochs
    count = max(1, min(len(archs), int(price_of_search(name) / price)))
    seen = truth.scores("val", epochs=3, seed=truth.seeds[seed % len(truth.seeds)])
    early = np.array([seen[cells.format(arch)] for arch in archs])
    final = np.array([scored[arch] for arch in archs])
    drawn = [rng.permutation(len(archs))[:count] for _ in range(tries)]
    return count, float(np.mean([final[some[early[some].argmax()]] for some in drawn]))


print(f"cells that it may train at the tight budget: {random_cells('tight', cfg.seed)[0]}")

# %% [markdown]
# Every search on images and its rival, averaged by budget:

# %%
rivals = [random_cells(name, seed) for name, seed in zip(real["budget"], real["seed"], strict=True)]
real["random"] = [accuracy for _, accuracy in rivals]
real["lead"] = real["accuracy"] - real["random"]
real_lead = ranking.paired(real.groupby("seed")["lead"].mean())
trained = sorted({count for count, _ in rivals})
by_budget = real.groupby("budget")[["accuracy", "random", "lead"]].mean()
by_budget.round(2)

# %% [markdown]
# And on images, who is ahead?

# %%
ahead = "the search is ahead", "random search is ahead"  # said only if the interval shows it
images_say = verdict(real_lead, cfg.real_seeds, *ahead)
too_few = "Fewer than three seeds cannot tell. " * (cfg.real_seeds < 3)
Markdown(
    f"On images: **{images_say}**. {too_few}The accuracy of the search's cells minus that of "
    f"random search's, at equal cost: {real_lead.value:+.2f} points "
    f"(95 % interval {real_lead.low:+.2f} to {real_lead.high:+.2f}; seeds: {cfg.real_seeds}, "
    f"each the mean of {len(real) // cfg.real_seeds} pairs). For the price of a search random "
    f"search trains {' or '.join(map(str, trained))} of a budget's {len(allowed['tight'])} cells. "
    "This space is small. Where random search can see only a vanishing share of the cells, the "
    "verdict may differ."
)

# %% [markdown]
# Both comparisons ran once at a larger size, too, and are stored (`datasets/verdicts.py`):

# %%
(stored,) = json.loads((benchmark.FOLDER / "verdicts.json").read_text())["11_hardware_loss"]
size, held = stored["parameters"], stored["verdict"]
long, longer = pd.DataFrame(held["pairs"]), pd.DataFrame(held["pairs_on_images"])
# a seed's searches are one draw, as above
long_lead = ranking.paired((long["search"] - long["random"]).groupby(long["seed"]).mean())
longer_lead = ranking.paired((longer["accuracy"] - longer["random"]).groupby(longer["seed"]).mean())
Markdown(
    f"- On the tables ({size['steps']:,} steps, {size['seeds']} seeds): "
    f"**{verdict(long_lead, size['seeds'])}**. The difference is {long_lead.value:+.2f} % of the "
    f"range ({long_lead.low:+.2f} to {long_lead.high:+.2f}).\n"
    f"- On images ({size['epochs']} epochs, {size['real_seeds']} seeds): "
    f"**{verdict(longer_lead, size['real_seeds'], *ahead)}**. The difference is "
    f"{longer_lead.value:+.2f} points ({longer_lead.low:+.2f} to {longer_lead.high:+.2f}); random "
    f"search trains {' or '.join(map(str, held['trained']))} of a budget's "
    f"{len(allowed['tight'])} cells."
)

# %% [markdown]
# ## Summary
#
# - The cost of the most probable network is not the expected cost. Compare *its* cost with the target, and repair.
# - The slope of a loss tells what a search with it will do: cheaper is better, two-sided, or one-sided.
# - A log of a plain cost finds other networks in other units. Only cost / target may enter.
# - A fixed weight suits one target of one objective. A multiplier is learnt, and it is 0 where its budget does not
#   bind. A hinge holds a budget if its weight exceeds that multiplier.
# - Where the objective is a sum over blocks, an integer program finds the best network within several budgets, and
#   proves it. Then the gap of a search is known.
# - The hypervolume makes one number of a front, so that fronts can be compared.
#
# **Pitfalls**
#
# - *Raw logits in a cost.* Two public codes weigh costs with logits instead of probabilities: such a "cost" may be
#   negative.
# - *A weight from a paper*, in another unit, for another task loss.
# - *"Meets the target in expectation."* Ask for the derived network's cost.
# - *A product with a task loss below 0.* It rewards dearer networks.
# - *Taking this notebook's objective for accuracy.* A zero-cost map is none. Sections 7 and 8 have accuracies.
#
# **Further reading**
#
# - FBNet: Wu et al., CVPR 2019. ProxylessNAS: Cai, Zhu, Han, ICLR 2019. Single-Path NAS: Stamoulis et al., 2019
# - MnasNet: Tan et al., CVPR 2019. TuNAS: Bender et al., *Can Weight Sharing Outperform Random Architecture Search?*,
#   CVPR 2020
# - A multiplier learnt for a latency: Luo et al., *You Only Search Once: On Lightweight Differentiable Architecture
#   Search for Resource-Constrained Embedded Platforms* (LightNAS), DAC 2022, arXiv 2208.14446
# - Hard constraints: Nayman et al., *HardCoRe-NAS: Hard Constrained diffeRentiable Neural Architecture Search*, ICML
#   2021
# - Log-barrier extensions: Kervadec et al., *Constrained Deep Networks: Lagrangian Optimization via Log-Barrier
#   Extensions*, EUSIPCO 2022
# - Dual ascent: Boyd et al., *Distributed Optimization and Statistical Learning via ADMM*, 2011, section 2.1
# - Hypervolume: Zitzler and Thiele, *Multiobjective Evolutionary Algorithms*, IEEE Transactions on Evolutionary
#   Computation, 1999

# %%
# everything that the text above quotes is stored beside the figures
course.finish(
    cfg,
    summary=summary.round(3),
    figures=figures,
    results={
        "losses": summary.to_dict("index"),
        "units": trap,
        "weights": {"weight": ladder.tolist(), "percent_of_target": swept, "objective": gained},
        "multipliers": {name: values[-1] for name, values in prices.items()},
        "two_budgets": {"share": ladder_2.tolist(), "multiplier": binding},
        "gap_to_certified": gaps_both._asdict(),
        "images": real.to_dict("records"),
        "rewards": {n: {"on_target_percent": right[n], "accuracy": scores[n]} for n in picked},
        "front": {"mean_lag": float(np.mean(lag)), "hypervolume": share_of},
        "verdict": {
            "tables": lead._asdict(),
            "images": real_lead._asdict(),
            "pairs": ours[["target", "seed", "search", "random", "best"]].to_dict("records"),
            "trained": trained,
            "pairs_on_images": real[["budget", "seed", "accuracy", "random"]].to_dict("records"),
        },
    },
)
