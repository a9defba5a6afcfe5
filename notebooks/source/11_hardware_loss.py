# %% [markdown]
# # The hardware in the loss
#
# A search that only wants accuracy builds what no device can run: make it pay for milliseconds, and make it pay right.
#
# Notebook 10 priced networks. Here the price enters the loss of a search. Papers have done that in a dozen ways, each
# with a weight that somebody tuned. You will draw them all, search with all of them from the same start, and see which
# ones end where they should.
#
# **Afterwards you can**
#
# 1. say why a search whose *expected* cost is on target may hand out a network that is not;
# 2. write every published hardware loss, or its form without units, in a line, and tell from its slope what it will do;
# 3. avoid the unit trap: losses that search differently in ms and in µs;
# 4. hold a budget without tuning a weight, by a Lagrange multiplier, and hold several at once;
# 5. draw a Pareto front of many searches, and compare it with the exact one.
#
# **You need** notebook 06, and the lookup tables of notebook 10.
#
# | preset | what it runs | time, two CPU cores |
# |---|---|---|
# | `smoke` | 40 steps of every descent: only proves that every cell works | 10 seconds |
# | `quick` | 11 losses, 5 seeds, 2 targets; 96 searches for the front; 8 searches on digits | 190 seconds, not alone |
# | `full` | five times as many steps, twice as many seeds, 14 longer searches on digits | not measured |
# | `gpu` | the same on a GPU; networks this small gain little | not measured |

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu; it sets every parameter below that is None
image_size: int = None  # pixels that the detectors are priced at; latencies are stored for 64 and 128
lookup: str = None  # their latencies: auto, measure, or a file
tight: float = None  # a target, as a share of the reachable range
loose: float = None  # another
steps: int = None  # of every descent over tables
lr: float = None  # learning rate of its logits
seeds: int = None  # descents with each loss and target
weights: int = None  # weights in the sweep of section 4
sweep_targets: int = None  # targets on the Pareto front
sweep_seeds: int = None  # searches for each of them
real_losses: list[str] = None  # losses to search with on real images
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
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from tqdm import tqdm

from nasedu import course, data, errors, plots, proxies, sampling, search, spaces, tables
from nasedu.course.checks import hardware_loss as checks
from nasedu.data import benchmark
from nasedu.tables import LookupTable, losses
from nasedu.task import Classification

cfg = course.setup("11_hardware_loss", globals(), choices={"real_losses": losses.names()})
torch.set_num_threads(cfg.threads)
cfg

# %% [markdown]
# ## 1 · What it costs, what it is worth
#
# The space: small detectors (notebook 14), nine blocks, each with a width and a number of bottlenecks. A cost and a
# worth for every option of every block:
#
# - the **cost** is a latency table, measured on a CPU, in ms;
# - the **objective** is a *zero-cost map* (notebook 08): how differently an untrained block codes different images. It
#   is **not accuracy**. It stands in for it, because it is a table as well: a search takes a second, and we can compute
#   the *best possible* answer to compare with. Section 7 searches on real images.

# %%
space = spaces.create("yolo:course", image_size=cfg.image_size)
latency = tables.latency_table(space, cfg.lookup, keep=cfg.out_dir / "latency.json")
scenes = data.detection("digits", "train", image_size=cfg.image_size, size=16, seed=cfg.seed)
images = torch.stack([scenes[i][0] for i in range(16)]).float() / 255
undecided = sampling.softmax(sampling.uniform_logits(space.choices))
objective = proxies.zero_cost_map(space, space.supernet(seed=cfg.seed), undecided, images, "naswot")

# %% [markdown]
# What an architecture is worth is told in percent of the range from here on.


# %%
def worth(arch):
    """The objective in % of its range: 0 for the worst network, 100 for the best."""
    low, high = objective.bounds()
    return 100 * (objective(arch) - low) / (high - low)


# %% [markdown]
# A thousand random networks (grey). The line is the **exact front**: the best that *any* network of a cost can reach.
# It takes no search, because both tables are sums over blocks. Extend the front block by block, and drop at each step
# what something cheaper beats:


# %%
def exact_front(cost, worth):
    """All undominated (cost, objective), as an array (points, 2): cheapest first."""
    front = np.array([[cost.fixed, worth.fixed]])
    for prices, gains in zip(cost.entries, worth.entries, strict=True):
        options = np.stack([prices.flatten().numpy(), gains.flatten().numpy()], 1)
        grown = (front[:, None] + options).reshape(-1, 2)
        grown = grown[np.lexsort((-grown[:, 1], grown[:, 0]))]
        best_before = np.maximum.accumulate(np.r_[-np.inf, grown[:-1, 1]])
        front = grown[grown[:, 1] > best_before + 1e-9]
    return front


# %%
front = exact_front(latency, objective)
bottom, top = objective.bounds()
ideal = np.stack([front[:, 0], 100 * (front[:, 1] - bottom) / (top - bottom)], 1)
rng = np.random.default_rng(cfg.seed)
strangers = [space.sample(rng) for _ in range(1000)]
random_costs, random_worth = [latency(a) for a in strangers], [worth(a) for a in strangers]


def best_within(ms):
    """The highest objective (%) that a network of at most so many ms has."""
    return float(ideal[ideal[:, 0] <= ms + 1e-9, 1].max())


assert all(w <= best_within(c) + 1e-6 for c, w in zip(random_costs, random_worth, strict=True))

# %%
low, high = latency.bounds()
targets = {name: low + share * (high - low) for name, share in {"tight": cfg.tight, "loose": cfg.loose}.items()}
labels = {"xlabel": "latency (ms)", "ylabel": "objective (% of its range)"}
marks = {name: (ms, best_within(ms)) for name, ms in targets.items()}
crowd = f"{len(strangers):,} random networks"
figures = {"space": plots.landscape(random_costs, random_worth, marks, crowd=crowd, **labels)}
figures["space"].axes[0].plot(*ideal.T, color="black", linewidth=1.5, label="the best that exist")
figures["space"].key()

# %%
Markdown(
    f"Latencies reach from **{low:.2f} to {high:.2f} ms**. Two targets for this notebook: a tight one, "
    f"{targets['tight']:.2f} ms ({cfg.tight:.0%} of the range), where the best has {marks['tight'][1]:.0f} % of the "
    f"objective's range, and a loose one, {targets['loose']:.2f} ms, where it has {marks['loose'][1]:.0f} %. "
    f"The dearest of 1,000 random networks takes {max(random_costs):.2f} ms, the cheapest {min(random_costs):.2f}: "
    "random draws hardly see the ends."
)

# %% [markdown]
# ## 2 · Soft networks have soft costs
#
# A gradient search holds probabilities, not a network. Their **expected cost** is smooth, so it can be descended:
# $E = T_0 + \sum_\text{blocks} \sum_{ij} p_i\, q_j\, T_{ij}$, with $p$ the probabilities of a block's widths and $q$
# those of its depths. From scratch:


# %%
def my_expected(table, path):
    pairs = zip(table.entries, space.groups, strict=True)
    return table.fixed + sum(torch.einsum("i,j,ij", path[a].double(), path[b].double(), T) for T, (a, b) in pairs)


logits = [torch.randn(n, generator=torch.Generator().manual_seed(cfg.seed + d)) for d, n in enumerate(space.choices)]
path = sampling.softmax(logits)
assert math.isclose(my_expected(latency, path), latency.expected(path), rel_tol=1e-5)

# %% [markdown]
# Say the expected cost is exactly on target. Is the network that the search hands out, the *most probable* one, on
# target, too? Below are the costs of 3,000 networks drawn from two soft paths. Both have the same most probable
# network. Above the path is undecided, below it is far more decided. (The target is the upper path's
# mean; the lower path was not aimed at it.)


# %%
def draw(path, count=3000):
    """What networks cost that are drawn from a path."""
    generator = torch.Generator().manual_seed(cfg.seed)
    columns = [p.double().multinomial(count, replacement=True, generator=generator).tolist() for p in path]
    return [latency(arch) for arch in zip(*columns, strict=True)]


soft = {name: sampling.softmax([s * a for a in logits]) for name, s in {"undecided": 0.5, "decided": 6.0}.items()}
means = {name: float(latency.expected(p)) for name, p in soft.items()}
argmax = tuple(int(a.argmax()) for a in logits)
drawn = {name: draw(p) for name, p in soft.items()}
common = {"target": means["undecided"], "most probable network": latency(argmax)}
marks = {name: {"expected cost": mean} | common for name, mean in means.items()}
figures["soft"] = plots.histogram(drawn, marks, columns=1, xlabel="latency (ms)")
figures["soft"]


# %%
def entropy(path):
    """How undecided a path is, in nats: the mean over its decisions."""
    return float(torch.stack([torch.special.entr(p).sum() for p in path]).mean())


gap = {name: 100 * (latency(argmax) / means[name] - 1) for name in soft}
Markdown(
    "The undecided path has the target as its *mean*, and yet its most probable network misses it by "
    f"**{gap['undecided']:+.1f} %**. The entropy tells: {entropy(soft['undecided']):.2f} nats a decision above, "
    f"{entropy(soft['decided']):.2f} below, where the gap is {gap['decided']:+.1f} %."
)

# %% [markdown]
# Six random paths, from undecided (left) to decided (right), as if all logits were multiplied by a number: by how much
# the most probable network is dearer than the mean. The gap has either sign, and goes away for good only when every
# decision is made.

# %%
sharp = np.logspace(-1, 2, 31)
gaps = {}
for i in range(1, 7):
    generator = torch.Generator().manual_seed(100 * cfg.seed + i)
    random = [torch.randn(n, generator=generator) for n in space.choices]
    cost = latency(tuple(int(a.argmax()) for a in random))
    soft_cost = [float(latency.expected(sampling.softmax([s * a for a in random]))) for s in sharp.tolist()]
    gaps[f"path {i}"] = [100 * (cost / e - 1) for e in soft_cost]
labels = {"xlabel": "logits multiplied by", "ylabel": "gap (% of the expected cost)"}
figures["gap"] = plots.lines(gaps, sharp, log="x", **labels)
figures["gap"]

# %% [markdown]
# So a loss of the expected cost can be *met* without being *held*. Three things help: let the search cool down until
# it is decided, steer by what the most probable network costs (section 5), and **repair**: if the most probable
# network misses, `derive` takes the most probable one *among those within 3 % of the target*. A dynamic programme finds
# it exactly; it fails only if no network is that close. (What is given up is told in nats, units of the natural
# logarithm: 0.06 nats mean $e^{-0.06}$ = 94 % as probable.)

# %%
repaired = tables.derive(soft["undecided"], latency, means["undecided"])
assert abs(repaired.cost / repaired.target - 1) <= 0.03
Markdown(
    f"Most probable {repaired.argmax_cost:.2f} ms, after repair {repaired.cost:.2f} ms for a target of "
    f"{repaired.target:.2f} ms. The price was {repaired.regret:.2f} nats of log-probability."
)

# %% [markdown]
# ### Exercise 11.1: can it be reached?
# *Difficulty 2 of 3, about 15 min.* A network costs `fixed` plus one number from each list in `entries`. Return
# whether some network costs within `tolerance` (relative) of `target`. Forty lists of nine numbers must not take for
# ever.
#
# <details><summary>Hint 1</summary>The bounds are not enough: costs may have holes.</details>
# <details><summary>Hint 2</summary>Keep the <em>set</em> of all totals so far and extend it list by list. Equal totals
# fall together, for costs are whole numbers here (milliseconds with decimals would first be rounded, as
# <code>derive</code> does), and totals that are too high already can be dropped.</details>


# %% tags=["stub"]
def reachable(fixed, entries, target, tolerance):
    raise NotImplementedError


# %% tags=["solution"]
def reachable(fixed, entries, target, tolerance):
    totals = {fixed}
    for entry in entries:
        totals = {total + price for total in totals for price in entry if total + price <= (1 + tolerance) * target}
    return any(abs(total - target) <= tolerance * target for total in totals)


# %% tags=["nbval-check-output"]
checks.check_reachable(reachable)

# %% [markdown]
# ## 3 · Eleven losses
#
# Every published form takes a task loss $L$ (lower is better), a cost and a target. With $r = \text{cost} /
# \text{target}$ most of them are one line. (`mnasnet` and `tunas` are rewards for searches that draw, section 8. As a
# loss they are minus the reward of the quality $e^{-L}$: for a cross-entropy, the probability of the right class.) Two
# are changed: FBNet and ProxylessNAS's product take the log of the plain cost; here it is log(1 + r) / log 2, for a
# reason that *The unit trap* gives. `hinge`, `lagrange` and `log_barrier` come from constrained optimisation, not from
# a NAS paper, and the 0.07 of `tunas` is ours. Each from scratch:

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


def barrier(L, r, t=5.0):  # of Kervadec: a log up to just below the target, and its tangent from there on
    edge = 1 - 1 / t**2
    return L + torch.where(r < edge, -(1 - r.clamp(max=edge)).log() / t, t * (r - edge) + 2 * math.log(t) / t)


mine["log_barrier"] = barrier
assert set(mine) == set(losses.names())

# %% [markdown]
# And the package's, called with (task, cost, target). Same values, for any cost and any target:

# %%
r = torch.linspace(0.2, 2.2, 201)
task = torch.tensor(1.0)
for name, formula in mine.items():
    assert torch.allclose(formula(task, r), losses.create(name)(task, 30 * r, 30.0), atol=1e-4), name

# %% [markdown]
# **As curves.** Above the value, below the slope, which is what a search feels: how hard it is pushed towards cheaper
# networks. Additive weights are set to 1, so that shapes can be compared; mind that each panel has its own scale. The
# dotted line is the target.

# %%
heavier = {"proxylessnas_add": 1.0, "single_path": 1.0}
families = {
    "add": ["proxylessnas_add", "single_path", "squared"],
    "multiply": ["fbnet", "proxylessnas_multiply"],
    "reward, negative": ["mnasnet", "tunas"],
    "one-sided": ["hinge", "log_barrier"],
}


def shape(loss):
    """Its values and slopes over r."""
    free = r.clone().requires_grad_()
    value = loss(task, free, 1.0)
    return value.detach(), torch.autograd.grad(value.sum(), free)[0]


made = {
    family: {n: losses.create(n, **({"weight": heavier[n]} if n in heavier else {})) for n in group}
    for family, group in families.items()
}
shapes = {family: {name: shape(loss) for name, loss in group.items()} for family, group in made.items()}

# %% [markdown]
# The fifth column is the **Lagrange multiplier**: a straight line whose slope, the multiplier, is not chosen but
# *learnt*. It rises while the cost is over the target and falls while it is below:

# %%
shapes["Lagrange: slope learnt"] = {}
for updates in (0, 2, 6):
    loss = losses.create("lagrange", penalty=0)
    for _ in range(updates):
        loss.update(1.5, 1.0)  # half over the target
    shapes["Lagrange: slope learnt"][f"after {updates} updates"] = shape(loss)

# %% [markdown]
# Every family has its values above and its slopes below.

# %%
rows = [{name: pair[row] for name, pair in family.items()} for row in (0, 1) for family in shapes.values()]
names = [f"{family}{row}" for row in ("", " (slope)") for family in shapes]
look = {"columns": len(shapes), "width": 12, "share": "x", "legend": "bottom", "xlabel": "cost / target"}
figures["losses"] = plots.lines(dict(zip(names, rows, strict=True)), r, **look).guide(x=1)
figures["losses"]

# %% [markdown]
# Read the lower row at the target, and either side of it:
#
# - **`proxylessnas_add`, `single_path`, `fbnet`, `proxylessnas_multiply`, `mnasnet`:** the slope is positive
#   everywhere. Cheaper is *always* better; the target only sets the unit. Where such a search ends depends on the
#   weight.
# - **Squared, TuNAS:** the slope changes its sign at the target. They pull cheap networks *up*, too. Squared has a
#   slope of 0 at the target itself: whatever the objective pulls, it gives way.
# - **Hinge:** nothing within the budget, a constant force beyond.
# - **Log barrier:** pushes harder and harder as the target comes near, from *within* the budget, so it tends to end
#   below.
# - **Multiplied:** a cost of 0 would make any task loss 0. And as the task loss falls, so does the pressure. The factor
#   α scales everything alike, so it moves nothing: only the exponent does.
#
# (`linear` is WZDNAS's plain term, with the slope of `proxylessnas_add`.)
#
# ### Exercise 11.2: the gradient of a hinge
# *Difficulty 2 of 3, about 10 min.* For one decision with logits `alpha` and the choices' `costs`, return the gradient
# of $w \max(0, E/\text{target} - 1)$ with respect to `alpha`, in closed form.
#
# <details><summary>Hint 1</summary>E = p · costs, p = softmax(alpha), and dE / dalpha_i = p_i (c_i − E).</details>
# <details><summary>Hint 2</summary>The rest is a factor, and zero within the budget.</details>


# %% tags=["stub"]
def hinge_gradient(alpha, costs, target, weight):
    raise NotImplementedError


# %% tags=["solution"]
def hinge_gradient(alpha, costs, target, weight):
    p = alpha.softmax(0)
    expected = p @ costs
    return weight * p * (costs - expected) / target * (expected > target)


# %% tags=["nbval-check-output"]
checks.check_hinge_gradient(hinge_gradient)

# %% [markdown]
# ### The unit trap
#
# FBNet's paper multiplies by $\log(\text{latency})^\beta$, ProxylessNAS's code by
# $(\log \text{latency} / \log \text{target})^\beta$. The log of *what*? The logarithm of 3 ms is 1.1, that of the same
# 3,000 µs is 8.0, and that of 0.003 s is negative. The package takes $\log(1 + r)$ unless you ask for
# `literal=True`. The same search, with the same table, in two units. (With $\beta = 4$: our task loss may come down to
# 0, and then a published $\beta$ of 0.6 hardly presses.)

# %%
micro = LookupTable(
    space, "latency_us", "µs", 1000 * latency.fixed, [1000 * entry for entry in latency.entries], own=True
)
config = search.DescentConfig(steps=cfg.steps, every=max(5, cfg.steps // 100), lr=cfg.lr)
trap = {}
for name, literal in (("literal log", True), ("log(1 + r)", False)):
    loss = losses.create("fbnet", beta=4.0, literal=literal)
    for table, factor in ((latency, 1), (micro, 1000)):
        target = factor * targets["loose"]
        found = search.pareto_sweep(objective, table, [target], loss=loss, config=config).frame().iloc[0]
        trap[f"{name}, in {table.unit}"] = {"ms": found.cost / factor, "objective": worth(found.arch)}
columns = {"ms": "latency (ms)", "objective": "objective (% of range)"}
figures["units"] = plots.bars({title: {k: v[key] for k, v in trap.items()} for key, title in columns.items()})
figures["units"]

# %%
assert math.isclose(trap["log(1 + r), in ms"]["ms"], trap["log(1 + r), in µs"]["ms"], rel_tol=1e-6)
ms, us = (trap[f"literal log, in {unit}"]["ms"] for unit in ("ms", "µs"))
try:
    losses.create("fbnet", literal=True)(1.0, 0.003, 0.004)
except errors.ParameterError as error:
    refused = str(error)
Markdown(
    f"The same network costs, measured in another unit, give a network of {ms:.2f} ms or one of {us:.2f} ms. With "
    f"log(1 + r) units cannot matter. In seconds the literal form makes no sense at all, and the package says so: "
    f"*{refused}*"
)

# %% [markdown]
# ### Exercise 11.3: a log loss without units
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
checks.check_log_loss(log_loss)

# %% [markdown]
# ## 4 · The same search with each of them
#
# A search from scratch: logits, softmax, two expectations, a loss, a step.


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
    return tuple(int(a.argmax()) for a in theta), total


found, total = my_search(losses.create("hinge"), targets["loose"], max(10, cfg.steps // 10))
print(f"{latency(found):.2f} ms for a target of {targets['loose']:.2f} ms, objective {worth(found):.0f} %")

# %% [markdown]
# The package's `descend` does the same for many rows at once, a target and a seed each, with Gumbel noise that cools
# down (notebook 06) so that seeds differ and paths end decided. A `Budget` with an `objective` joins both:

# %%
joined = tables.Budget([(latency, targets["loose"], "hinge")], objective)
costs = torch.stack([table.expected(path) for table in joined.tables])[None]
share, over = (top - costs[0, 0]) / (top - bottom), (costs[0, 1] / targets["loose"] - 1).clamp(min=0)
assert torch.allclose(joined.value(costs), share + over, atol=1e-5)

# %% [markdown]
# All eleven, with their published or default weights, the same seeds and the same steps; `pareto_sweep` runs both
# targets and all seeds in one descent. (The multiplier twice: plain, and with what the package adds to it, see
# section 5.)

# %%
variants = {name: losses.create(name) for name in losses.names() if name != "lagrange"}
variants |= {"plain multiplier": losses.create("lagrange", penalty=0), "lagrange": losses.create("lagrange")}
every = list(range(cfg.seed, cfg.seed + cfg.seeds))
sweeps = {}
for name, loss in tqdm(variants.items(), desc="losses", leave=False):
    sweeps[name] = search.pareto_sweep(
        objective, latency, list(targets.values()), every, loss=loss, config=config
    ).frame()
runs = pd.concat([frame.assign(loss=name) for name, frame in sweeps.items()], ignore_index=True)
runs = runs.rename(columns={"derived": "network"})
for column, cost in (("expected", "expected_cost"), ("most probable", "cost"), ("derived", "derived_cost")):
    runs[column] = runs[cost] / runs["target"]
ends = zip(runs["target"], runs["network"], strict=True)
runs["lost"] = [best_within(1.03 * target) - worth(arch) if arch else math.nan for target, arch in ends]

# %% [markdown]
# Left, costs in % of the target, a marker for each seed; the band is ±3 %. Circles are expected costs, squares the
# most probable networks, diamonds what `derive` made of them. Right, what the derived network lacks of the best that
# exists within that band.


# %%
def hits(frames, lost):
    """Two panels for each target: the costs of every loss's runs, and what their derived networks lack."""
    panels = {}
    for name, frame in frames.items():
        by_loss = frame.groupby("loss", sort=False)
        costs = {end: by_loss[end].apply(lambda c: list(100 * c)) for end in ("expected", "most probable", "derived")}
        panels[f"cost (% of the target, {name})"] = costs
        panels[f"{lost}, {name}"] = {"derived": by_loss["lost"].apply(list)}
    return plots.dots(panels, columns=2, width=11, legend="bottom").guide(x=[(97, 103), 0] * len(frames))


by_target = {f"{name}: {t:.2f} ms": runs[np.isclose(runs["target"], t)] for name, t in targets.items()}
figures["hits"] = hits(by_target, "objective lost (% of range)")
figures["hits"]

# %%
held = runs.groupby("loss")["hit"].mean().reindex(variants)
repaired_hits = (runs["derived"] - 1).abs().le(0.03).groupby(runs["loss"]).mean()
lost = runs.groupby("loss")["lost"].mean()
summary = pd.DataFrame({"on target": held, "after repair": repaired_hits, "lost": lost}).sort_values("on target")
summary = summary.iloc[::-1]
never = [name for name, share in held.items() if share == 0]
Markdown(
    "On target before repair: "
    + (", ".join(f"**{n}** {share:.0%}" for n, share in held.items() if share > 0) or "none")
    + f" of the runs; never: {', '.join(never) or 'none'}. Repair brings {repaired_hits.mean():.0%} of all runs on "
    "target. It is exact about the cost and blind for the objective: what is lost on average reaches from "
    f"{lost.min():.1f} ({lost.idxmin()}) to {lost.max():.1f} % of the range ({lost.idxmax()})."
)

# %% [markdown]
# Look at `squared`: it misses by far, for it gives way until its slope balances the objective's. `log_barrier` stays
# away from its target on the safe side. `tunas` knows its target, too, but pushes with 0.07, far less than the
# objective pulls. `fbnet`, `single_path`, `mnasnet`, `linear` and both of `proxylessnas` never knew where it was: most
# run to the dear end, and where `linear` ends is where its weight of 1 happens to balance the objective. But is it
# their shape, or the size of their weight?
#
# ### A weight means nothing by itself
#
# The same search with weights from 0.1 to 100. Grey: the loose target, ±3 %.

# %%
ladder = np.logspace(-1, 2, cfg.weights)
short = replace(config, steps=max(1, cfg.steps // 2), every=max(5, cfg.steps // 100))
swept = {name: [] for name in ("proxylessnas_add", "single_path", "squared", "hinge")}
gained = {name: [] for name in swept}
for name in tqdm(swept, desc="weights", leave=False):
    for weight in ladder:
        loss = losses.create(name, weight=float(weight))
        frame = search.pareto_sweep(objective, latency, [targets["loose"]], [cfg.seed], loss=loss, config=short).frame()
        swept[name].append(100 * frame["cost"][0] / targets["loose"])
        gained[name].append(worth(frame["arch"][0]))
labels = {"xlabel": "weight", "ylabel": "latency of the network (% of target)"}
figures["weights"] = plots.lines(swept, ladder, log="x", **labels).guide(y=(97, 103), label="target ± 3 %")
figures["weights"]

# %%
good = {name: [w for w, c in zip(ladder, costs, strict=True) if abs(c - 100) <= 3] for name, costs in swept.items()}
told = "; ".join(f"{n}: {', '.join(f'{w:.1f}' for w in ws) or 'none'}" for n, ws in good.items())
Markdown(
    f"Weights that end on target: {told}. With `proxylessnas_add` and `single_path` less than a factor of ten in the "
    "weight spans everything from (nearly) the dearest network to far below the target: the target is just where "
    "somebody stopped turning. `squared` gives way, less and less the larger its weight. `hinge` gets there once "
    "its weight is larger than the price of the budget (section 5), and overdoes it when it is far larger. That price "
    "depends on objective, space and target. "
    f"Too large a weight leaves the objective little say: with {ladder[-1]:.0f}, `squared` reaches "
    f"{gained['squared'][-1]:.0f} % of its range and `hinge` {gained['hinge'][-1]:.0f} %; "
    f"{best_within(targets['loose']):.0f} % can be had at the target."
)

# %% [markdown]
# **Turn it yourself**: a loss, its weight and the target (Tab and the arrow keys work, too). Can you find one weight of
# `proxylessnas_add` that is right for 20 % and for 60 % of the range?

# %%
from nasedu.widgets import BudgetWidget

quick = search.DescentConfig(steps=cfg.widget_steps, every=max(1, cfg.widget_steps // 100), lr=cfg.lr)
widget = BudgetWidget(objective, latency, target=round(100 * cfg.tight), config=quick, seed=cfg.seed)
widget

# %% [markdown]
# The same for pages that cannot run: the tight target, with a hinge of weight 1.

# %%
first = widget.derived
figures["reach"] = widget.figure
figures["reach"]

# %% [markdown]
# ## 5 · Let the search find the weight
#
# A weight is a *price* for going over the budget. Nobody needs to guess a price: let it rise while demand is too
# high and fall while it is too low. That is **dual ascent** on the Lagrangian $L + \lambda\,(r - 1)$:
#
# - the logits go *down* its gradient, as always;
# - every few steps $\lambda$ goes *up* its own: $\lambda \leftarrow \max(0,\ \lambda + \rho\,(r - 1))$.
#
# And this $r$ is that of the **most probable** network, not of the expectation: so it closes the gap of section 2, too.
# (`DescentConfig(gradient="sampled")` closes it elsewhere: it descends on the mean loss of drawn networks, not on the
# loss of a mean cost.)
#
# ### Exercise 11.4: dual ascent
# *Difficulty 1 of 3, about 5 min.* Return the multiplier after one step. Numbers are plain floats.
#
# <details><summary>Hint 1</summary>The excess is cost / target − 1: positive over the budget, negative below.</details>
# <details><summary>Hint 2</summary>A price below 0 would pay networks for being dear.</details>


# %% tags=["stub"]
def dual_step(multiplier, cost, target, rho):
    raise NotImplementedError


# %% tags=["solution"]
def dual_step(multiplier, cost, target, rho):
    return max(0.0, multiplier + rho * (cost / target - 1))


# %% tags=["nbval-check-output"]
checks.check_dual_step(dual_step)

# %% [markdown]
# Watch it at work. A multiplier depends on the costs so far and on nothing else: so it can be told from the record of
# a search afterwards.


# %%
def costs_over_steps(descent, table, row=0):
    """What the most probable network of every record costs."""
    chosen = [record["probabilities"][row].argmax(-1).tolist() for record in descent.history]
    return [table(arch) for arch in chosen]


RHO = losses.create("lagrange").rho


def multipliers(costs, target, rho=RHO):
    """The multiplier at every record; the first has seen nothing yet."""
    values = [0.0]
    for cost in costs[1:]:
        values.append(max(0.0, values[-1] + rho * (cost / target - 1)))
    return values


# %%
plain = losses.create("lagrange", penalty=0)
both = search.pareto_sweep(objective, latency, list(targets.values()), [cfg.seed], loss=plain, config=config)
steps = [record["step"] for record in both.descent.history]
course_of = {name: costs_over_steps(both.descent, latency, i) for i, name in enumerate(targets)}
prices = {name: multipliers(costs, targets[name]) for name, costs in course_of.items()}
percent = {name: [100 * c / targets[name] for c in costs] for name, costs in course_of.items()}

# %% [markdown]
# Above what the searches cost on their way, below the price that they learn.

# %%
look = {"names": "ylabel", "columns": 1, "share": "x", "xlabel": "step", "width": 8, "height": 2.4}
figures["price"] = plots.lines({"cost (% of target)": percent, "multiplier": prices}, steps, **look)
figures["price"].guide(y=[(97, 103), 0])
figures["price"]

# %%
check = plain.fresh()
for cost in course_of["tight"][1:]:
    check.update(cost, targets["tight"])
assert math.isclose(float(check.multiplier), prices["tight"][-1], rel_tol=1e-4, abs_tol=1e-4)
by_front = (best_within(1.08 * targets["tight"]) - best_within(targets["tight"] / 1.08)) / (200 * math.log(1.08))
a_ms = {name: 100 * prices[name][-1] / targets[name] for name in prices}
Markdown(
    f"The tight budget ends at a price of **{prices['tight'][-1]:.2f}**, the loose one at {prices['loose'][-1]:.2f}. "
    "These are the weights that section 4 was looking for, and they are not the same. Each is a price per *its own* "
    f"target; in the objective's range it is {a_ms['tight']:.0f} % a ms at the tight budget and {a_ms['loose']:.0f} % "
    f"at the loose one{': a scarce thing is dear' * (a_ms['tight'] > a_ms['loose'])}. And a price "
    f"can be read: at the tight target 1 % more time buys about {prices['tight'][-1]:.2f} % of the objective's "
    f"range. (The exact front says {by_front:.2f} %.) The curves go on swinging about the target: networks come in "
    "steps, and at the right price the best one may still be a step off. The package's `lagrange` therefore adds a "
    "second term, which stiffens near the target; `penalty=0` is the plain multiplier."
)

# %% [markdown]
# ## 6 · Several budgets at once
#
# Latency *and* parameters: a term each. A form that adds is simply added twice.
#
# ### Exercise 11.5: two budgets
# *Difficulty 1 of 3, about 5 min.* Return the task loss plus a hinge for every budget: `costs`, `targets` and `weights`
# are lists of equal length. Room in one budget does not pay for another.
#
# <details><summary>Hint 1</summary>Each cost is compared with its own target, in its own unit.</details>
# <details><summary>Hint 2</summary>max(0, …) belongs inside the sum.</details>


# %% tags=["stub"]
def two_budgets(task, costs, targets, weights):
    raise NotImplementedError


# %% tags=["solution"]
def two_budgets(task, costs, targets, weights):
    terms = zip(costs, targets, weights, strict=True)
    return task + sum(weight * max(0.0, cost / target - 1) for cost, target, weight in terms)


# %% tags=["nbval-check-output"]
checks.check_two_budgets(two_budgets)

# %% [markdown]
# Three searches: at a latency, at a number of parameters, at both.

# %%
params = LookupTable.build(space, "params")
fewest, most = params.bounds()
limits = {"latency": (latency, targets["loose"], "lagrange")}
limits["parameters"] = (params, fewest + 0.35 * (most - fewest), "lagrange")
wanted = {name: [term] for name, term in limits.items()} | {"both": list(limits.values())}
ends = {}
for name, terms in wanted.items():
    joined = tables.Budget(terms, objective)
    ends[name] = search.descend(joined, config, seeds=[cfg.seed]).architectures()[0]

# %% [markdown]
# Where three searches end: with one budget each, and with both.

# %%
points = {name: (latency(arch), params(arch) / 1e3) for name, arch in ends.items()}
axes = {"xlabel": "latency (ms)", "ylabel": "parameters (thousands)"}
figures["budgets"] = plots.landscape(random_costs, [params(a) / 1e3 for a in strangers], points, crowd=crowd, **axes)
figures["budgets"].guide(x=targets["loose"], label="budget of latency", linestyle="--")
figures["budgets"].guide(y=limits["parameters"][1] / 1e3, label="budget of parameters", linestyle="-.")
figures["budgets"]

# %% [markdown]
# `lagrange` holds a *target*, to 2 or 3 % and from either side: a point may lie just beyond a line. Where a budget is a
# hard ceiling, aim 3 % lower. (Numbers in the legend: thousands of parameters.)
#
# **Which budget binds?** Keep the latency and tighten the parameters from right to left, each a row of one descent,
# with a plain multiplier for each budget. A budget whose price is 0 could be left out.

# %%
ladder_2 = np.linspace(0.15, 0.95, 9)
budgets = torch.tensor(fewest + ladder_2 * (most - fewest), dtype=torch.float32)
joined = tables.Budget([(latency, targets["loose"], plain), (params, budgets, plain)], objective)
descent = search.descend(joined, config, seeds=[cfg.seed] * len(budgets))
binding = {"latency": [], "parameters": []}
for row, budget in enumerate(budgets.tolist()):
    for name, table, goal in (("latency", latency, targets["loose"]), ("parameters", params, budget)):
        binding[name].append(multipliers(costs_over_steps(descent, table, row), goal)[-1])

# %% [markdown]
# A multiplier at the end is the price of its budget; at 0 the budget costs nothing.

# %%
labels = {"xlabel": "parameter budget (% of the range)", "ylabel": "multiplier at the end"}
figures["binding"] = plots.lines(binding, 100 * ladder_2, **labels)
figures["binding"]

# %%
only = [f"{100 * s:.0f} %" for s, price in zip(ladder_2, binding["latency"], strict=True) if price < 0.05]
free = [f"{100 * s:.0f} %" for s, price in zip(ladder_2, binding["parameters"], strict=True) if price < 0.05]
Markdown(
    f"Latency costs (next to) nothing at {', '.join(only) or 'none'} of the range: there the parameters alone decide. "
    f"Parameters cost nothing at {', '.join(free) or 'none'}: there latency does. In between both bind. Objectives of "
    f"the three searches above: {', '.join(f'{worth(arch):.0f} % ({name})' for name, arch in ends.items())}."
)

# %% [markdown]
# ## 7 · The real thing: images instead of a table
#
# Until here the objective was a table. Now it is a cross-entropy, on real digits, in the space of notebook 06: cells of
# six edges, skip or convolution, **all of them trained**, so that the true accuracy of whatever comes out is known. The
# cost is MACs. Only convolutions cost any, so a budget is a number of convolutions: tight two of six, loose four. The
# searches run binary gates (ProxylessNAS): weights are trained in single cells, logits pay for expected MACs.

# %%
truth = benchmark.load("cells_digits")
pair = {"operations": ["skip_connect", "nor_conv_3x3"]}
cells = spaces.create("nasbench201", **truth.space_options | pair)
macs = LookupTable.build(cells, "macs")
digits = data.classification(split="train", size=cfg.train_size, **truth.task).to(cfg.device)
task = Classification(digits, seed=cfg.seed)
cheapest, dearest = macs.bounds()
quota = {name: cheapest + n / 6 * (dearest - cheapest) for name, n in (("tight", 2), ("loose", 4))}
settings = search.GradientConfig("gates", epochs=cfg.epochs, warmup_epochs=cfg.epochs // 7, arch_lr=0.2)


def real_search(loss, name):
    """A search on images with a budget; it goes on where it was stopped."""
    budget = tables.Budget([(macs, quota[name], losses.create(loss))])
    keep = {"state": cfg.out_dir / f"{loss}-{name}.pt"}
    return search.gradient_search(cells, task, settings, hardware=budget, seed=cfg.seed, device=cfg.device, **keep)


# %%
pairs = [(loss, name) for loss in cfg.real_losses for name in quota]
searched = {pair: real_search(*pair) for pair in tqdm(pairs, desc="searches", leave=False)}
test = truth.scores("test")
scored = {arch: test[cells.format(arch)] for arch in itertools.product((0, 1), repeat=6)}
allowed = {name: [s for arch, s in scored.items() if abs(macs(arch) - goal) < 1] for name, goal in quota.items()}
found = {pair: tables.derive(result.path, macs, quota[pair[1]]) for pair, result in searched.items()}

# %%
real = pd.DataFrame([{"loss": loss, "budget": name} for loss, name in found])
for column, attribute in (("expected", "expected"), ("most probable", "argmax_cost"), ("derived", "cost")):
    real[column] = [getattr(d, attribute) / d.target for d in found.values()]
real["entropy"] = [searched[pair].history[-1]["entropy"] for pair in found]
real["accuracy"] = [scored[d.arch] for d in found.values()]
real["lost"] = [max(allowed[name]) - scored[found[loss, name].arch] for loss, name in found]

# %% [markdown]
# Left as before; right, the test accuracy that the derived cell lacks of the best cell with as many convolutions.

# %%
by_budget = {f"{name}: {quota[name] / 1e3:.0f}k MACs": real[real["budget"] == name] for name in quota}
figures["real"] = hits(by_budget, "accuracy lost (points)")
figures["real"]

# %%
hit = ((real["most probable"] - 1).abs() <= 0.03).groupby(real["loss"]).sum()
apart = (real["most probable"] - real["expected"]).abs()
widest = real.loc[apart.idxmax()]
middle = {name: np.median(values) for name, values in allowed.items()}
Markdown(
    f"On target without repair: {', '.join(f'{n} {k} of 2' for n, k in hit.items())}. Expected and most probable MACs "
    f"differ by up to {100 * apart.max():.0f} % of the target ({widest['loss']}, {widest['budget']}): the gap of "
    "section 2, for no cell has half a convolution, and the probabilities are not all decided: their entropy is "
    f"{real['entropy'].mean():.2f} nats on average, {math.log(2):.2f} at the start. After repair all are on target, "
    f"with a mean accuracy of {real['accuracy'].mean():.1f} %; the best cells have "
    + ", ".join(f"{max(allowed[n]):.1f} % ({n}, median {middle[n]:.1f} %)" for n in quota)
    + ". One seed each, seven possible costs, and settings picked among five: an example, no contest. Roles may differ "
    "from section 4's: a weight is relative to the slope of the task, and this is another task. And hitting a budget "
    "is one thing, a good network another: compare left and right."
)

# %% [markdown]
# ## 8 · Searches that draw
#
# Evolution and reinforcement learning ask for a **reward**, higher is better, of a whole network: no expectations.
# MnasNet multiplies, $Q \cdot r^{w}$, softly with $w = -0.07$ on both sides, or hard with $w = 0$ within the budget and
# $-1$ beyond. TuNAS adds, $Q + \beta\,|r - 1|$. From scratch, and as the package has them:

# %%
Q, ratio = torch.rand(100, generator=torch.Generator().manual_seed(cfg.seed)), torch.linspace(0.2, 3, 100)
rewards = {
    "MnasNet, soft": losses.create("mnasnet"),
    "MnasNet, hard": losses.create("mnasnet", below=0.0, above=-1.0),
    "TuNAS": losses.create("tunas", beta=-0.5),
}
formulas = [Q * ratio**-0.07, Q * torch.where(ratio > 1, 1 / ratio, 1.0), Q - 0.5 * (ratio - 1).abs()]
for loss, formula in zip(rewards.values(), formulas, strict=True):
    assert torch.allclose(loss.reward(Q, 10 * ratio, 10.0), formula, atol=1e-5)

# %% [markdown]
# With a table of trained cells evolution takes milliseconds: here all 729 of notebook 07, where an edge may also be
# left out. The target is the loose one. What do ten searches pick?


# %%
every_cell = spaces.create("nasbench201", **truth.space_options)
full_macs, quality = LookupTable.build(every_cell, "macs"), truth.evaluator(every_cell, "val")


def drawn_search(reward, seed, strategy=search.evolution):
    """The best cell by reward, where quality is the validation accuracy (0 to 1)."""

    def evaluate(arch):
        return float(reward.reward(quality(arch) / 100, full_macs(arch), quota["loose"]))

    return strategy(every_cell, evaluate, search.EvolutionConfig(budget=cfg.evaluations), seed=seed).best


picked = {name: [drawn_search(loss, cfg.seed + i) for i in range(10)] for name, loss in rewards.items()}
blind = [drawn_search(rewards["TuNAS"], cfg.seed + i, search.random_search) for i in range(10)]
picked["TuNAS, random search"] = blind
over = {name: [100 * full_macs(arch) / quota["loose"] for arch in archs] for name, archs in picked.items()}
figures["rewards"] = plots.dots(over, xlabel="MACs of the pick (% of the target)").guide(x=100)
figures["rewards"]

# %%
right = {name: np.mean([abs(v - 100) <= 3 for v in values]) for name, values in over.items()}
scores = {name: np.mean([test[every_cell.format(a)] for a in archs]) for name, archs in picked.items()}
Markdown(
    "On target: "
    + "; ".join(f"{name} {right[name]:.0%}, test accuracy {scores[name]:.1f} %" for name in picked)
    + ". The soft reward is a fixed exchange rate, and where it ends is where accuracy stops paying: it has no more to "
    "do with the target than `proxylessnas_add`. The hard one stays within the budget and is free to spend less. "
    "These test accuracies are no contest: the rewards see validation accuracy, and the cell that is best there may be "
    "a lucky one (notebook 07)."
)

# %% [markdown]
# ## 9 · The whole front at once
#
# Often the target is not known: one wants to *see* the trade-off. Targets and seeds are rows of one tensor, so a front
# costs hardly more than a search.

# %%
goals = np.linspace(low + 0.04 * (high - low), front[-1, 0], cfg.sweep_targets).tolist()
every = list(range(cfg.seed, cfg.seed + cfg.sweep_seeds))
with tqdm(total=config.steps, desc="front", unit="step", leave=False) as bar:
    follow = {"progress": lambda done, *_: bar.update(done - bar.n)}
    sweep = search.pareto_sweep(objective, latency, goals, every, config=config, **follow)
swept_front = sweep.efficient()

# %% [markdown]
# Every dot is a search; the stairs are their front. Grey: random networks. The thin line is the exact front of
# section 1.

# %%
frame = sweep.frame()
points = {"random networks": (random_costs, [objective(a) for a in strangers])}
points["derived"] = frame["derived_cost"], frame["derived_objective"]
labels = {"xlabel": "latency (ms)", "ylabel": "objective (naswot)"}
figures["front"] = plots.scatter(points, crowd="random networks", **labels)
(axes,) = figures["front"].axes
axes.step(swept_front["derived_cost"], swept_front["derived_objective"], where="post", label="front of the sweep")
axes.plot(*front.T, color="black", linewidth=0.8, label="exact front")
figures["front"].key()

# %%
lag = [best_within(c) - worth(a) for c, a in zip(swept_front["derived_cost"], swept_front["derived"], strict=True)]
blind = [best_within(c) - w for c, w in zip(random_costs, random_worth, strict=True)]
within = float(sweep.frame()["hit"].mean())
Markdown(
    f"{len(goals)} targets × {len(every)} seeds: {within:.0%} of the searches ended within 3 % of their target by "
    f"themselves, and {len(swept_front)} of their networks are on the front. They lie {np.mean(lag):.2f} % of the "
    f"objective's range below the exact one on average, {max(lag):.2f} % at worst; a random network "
    f"{np.mean(blind):.0f} %. With tables one should simply compute the exact front. A search pays where the "
    "objective is *no* sum: on images."
)

# %% [markdown]
# ## Summary
#
# - The expected cost is not the derived cost. Watch the entropy, steer by the most probable network, repair at the end.
# - A loss is known by its slope: always positive (the weight decides), zero at the target (it gives way), one-sided.
# - Logs of a plain cost search differently in other units. Only cost / target may enter.
# - A fixed weight is right for one target of one objective. A multiplier finds its own, and tells which budget binds.
# - Repair makes any search meet its budget; it cannot give back what a search at the wrong cost did not learn.
#
# **Pitfalls**
#
# - *Raw logits in a cost.* Two public codes weigh costs with logits instead of probabilities: such a "cost" may be
#   negative.
# - *A weight from a paper*, in another unit, for another task loss.
# - *"Meets the target in expectation."* Ask for the derived network's cost.
# - *A multiplied loss and a task loss below 0.* More cost is then a reward.
# - *The objective of this notebook.* A zero-cost map is no accuracy; sections 7 and 8 are the ones with accuracies.
#
# **Further reading**
#
# - FBNet: Wu et al., CVPR 2019. ProxylessNAS: Cai, Zhu, Han, ICLR 2019. Single-Path NAS: Stamoulis et al., 2019
# - MnasNet: Tan et al., CVPR 2019. TuNAS: Bender et al., *Can Weight Sharing Outperform Random Architecture Search?*,
#   CVPR 2020
# - Log-barrier extensions: Kervadec et al., *Constrained Deep Networks: Lagrangian Optimization via Log-Barrier
#   Extensions*, EUSIPCO 2022
# - Dual ascent: Boyd et al., *Distributed Optimization and Statistical Learning via ADMM*, 2011, section 2.1

# %%
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
        "images": real.to_dict("records"),
        "rewards": {name: {"on_target": right[name], "accuracy": scores[name]} for name in picked},
        "front": {"hit": within, "mean_lag": float(np.mean(lag)), "points": len(swept_front)},
    },
)
