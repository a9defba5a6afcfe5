# %% [markdown]
# # Start here: one whole search in a few minutes
#
# From a question ("which network?") to an answer, and to the truth about how good that answer was.
#
# Neural architecture search (NAS) has many methods and few ideas. Every method is made of the same six nouns:
#
# | noun | question |
# |---|---|
# | search space | what can be built? |
# | architecture | which one? |
# | path | which one, softly? |
# | table | what does it cost, or score? |
# | evaluator | how good is it? |
# | task | good at what? |
#
# You meet each of them once, in a picture and a cell. Then you put them together and search.
#
# **Afterwards you can**
#
# 1. name the six nouns in any paper on NAS;
# 2. train one *supernet* that stands for 729 networks, and search it under a budget of computation;
# 3. say how good the found network is, beside a random one and beside the best there is (its *regret*);
# 4. swap the space, the sampler or the strategy, in one line each;
# 5. find your way through the other 16 notebooks.
#
# **You need** Python, and an idea of convolutional networks. Nothing is downloaded.
#
# | preset | what it runs | time, two CPU cores |
# |---|---|---|
# | `smoke` | two epochs, a dozen evaluations: only proves that every cell works | 15 seconds |
# | `quick` | 1,000 images, two supernets, 80 evaluations each | 80 seconds, beside other work |
# | `full` | five times as many epochs, 200 evaluations, a longer tour | not measured |
# | `gpu` | longer still | not measured |
#
# Trainings keep their state in the output folder: interrupt whenever you like, run again, it goes on.

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu; it sets every parameter below that is None
benchmark: str = None  # table of trained architectures to search against
sampler: str = None  # how the supernet is trained: uniform, fair, sandwich ...
other_sampler: str = None  # the one that section 8 swaps in
macs_share: float = None  # budget of the search, as a share of the space's range of MACs, 0 to 1
train_size: int = None  # number of training images, 1000 at most
supernet_epochs: int = None  # passes of the supernet over them
search_budget: int = None  # architectures that the search may evaluate
final_epochs: int = None  # passes of the final networks
other_epochs: int = None  # passes of the supernet of section 8
tour_epochs: int = None  # passes of each supernet of the tour at the end
tour_size: int = None  # training images of the tour
tour_budget: int = None  # evaluations of each search of the tour
threads: int = None  # CPU threads
seed: int = None  # of every random choice
device: str = None  # auto, cpu, cuda, cuda:1 ...
out_dir: str = None  # folder of the results; None: one per set of parameters

# %%
import time

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from scipy.stats import kendalltau
from tqdm import tqdm

from nasedu import classification, course, data, plots, sampling, search, spaces, tables
from nasedu.course.checks.start import check_anytime, check_regret, check_size
from nasedu.data import benchmark as benchmarks
from nasedu.tables import LookupTable
from nasedu.task import Classification, fit

choices = {"benchmark": benchmarks.STORED, "sampler": sampling.names(), "other_sampler": sampling.names()}
cfg = course.setup("00_start_here", globals(), choices=choices)
torch.set_num_threads(cfg.threads)
cfg

# %% [markdown]
# ## 1 · A task: good at what?
#
# A **task** says what training lowers (a loss) and what testing reports (a score), on which images. Ours is to read
# handwritten digits of 8 by 8 pixels (bundled with scikit-learn), turned, moved and covered with noise, so that
# networks differ. Each image has its class above it. Three splits: *training* images teach weights, *validation*
# images choose networks, *test* images tell the truth, once, at the end.

# %%
bench = benchmarks.load(cfg.benchmark)


def load(split, size=None):
    return data.classification(**bench.task, split=split, size=size).to(cfg.device)


train_set, val_set, test_set = load("train", cfg.train_size), load("val"), load("test")
figures = {"digits": plots.images(train_set.to("cpu"))}
figures["digits"]

# %% [markdown]
# ## 2 · The other five nouns
#
# ### A search space: what can be built?
#
# Our networks are a chain of equal **cells**. A cell takes a map of features (`in`) and hands on another one (`out`).
# Between its four nodes run six edges. On each edge stands one **decision**: a 3×3 convolution, a `skip` that passes
# its input on unchanged, or `none`, no connection. At a node, what arrives is added up. The picture lists the three
# choices on every edge.

# %%
space = spaces.create("nasbench201", **bench.space_options)
figures["space"] = plots.cells(space)
figures["space"]

# %% tags=["nbval-check-output"]
for decision in space.decisions:
    print(decision.name, decision.choices)
print(f"{space.size} networks")

# %% [markdown]
# ### Exercise 00.1: how many networks?
# *Difficulty 1 of 3, about 3 min.* `choices` lists how many choices each decision has. Return the exact number of
# architectures, for spaces of any size. (The one of notebook 02 has about 10²¹.)
#
# <details><summary>Hint 1</summary>Each choice of the first decision goes with each choice of the second.</details>
# <details><summary>Hint 2</summary>Python's own integers never overflow, those of NumPy do.</details>


# %% tags=["stub"]
def size(choices):
    raise NotImplementedError


# %% tags=["solution"]
def size(choices):
    total = 1
    for n in choices:
        total *= n
    return total


# %% tags=["nbval-check-output"]
check_size(size)

# %% [markdown]
# ### An architecture: which one?
#
# One choice for every decision: a tuple of six numbers, which can be printed, read back, and built. Three of the 729,
# drawn at random; dotted edges are `none`. A cell without any way from `in` to `out` is in the space, too.

# %%
rng = np.random.default_rng(cfg.seed)
drawn = {f"{arch}": arch for arch in (space.sample(rng) for _ in range(3))}
figures["architectures"] = plots.cells(space, drawn)
figures["architectures"]

# %% [markdown]
# We go on with the first of them that has a convolution on a way from `in` to `out`:


# %%
def convolves(arch):
    """Whether a way from `in` to `out` leads through a convolution."""
    ways = {0: {False}}  # for every node that `in` reaches: does a way to it hold a convolution?
    for decision, choice in zip(space.decisions, arch, strict=True):
        source, node = map(int, decision.name.split("→"))
        if choice > 0:  # not "none"
            ways.setdefault(node, set()).update(before or choice == 2 for before in ways.get(source, ()))
    return True in ways.get(3, ())


arch = next(filter(convolves, drawn.values()), (2,) * 6)
text = space.format(arch)
assert space.parse(text) == arch
network = space.build(arch)
print(arch, text, f"{sum(p.numel() for p in network.parameters()):,} parameters", sep="\n")

# %% [markdown]
# ### A path: which one, softly?
#
# While a search is undecided, it may hold *weights* for the choices of a decision instead of one choice. A list with
# an entry for each decision, an index or weights, is a path. A **supernet** contains every operation on every edge,
# and runs along any path. Below, four edges are decided and two are not.

# %%
path = [2, torch.tensor([0.1, 0.3, 0.6]), 1, 0, torch.tensor([0.5, 0.25, 0.25]), 2]
figures["path"] = plots.cells(space, {"a path": path})
figures["path"]

# %% [markdown]
# One supernet, so one set of weights, for all 729 networks. An architecture is a path, too, with every entry decided.
# The supernet then answers as the network of that architecture would with the same weights:

# %%
supernet = space.supernet(seed=cfg.seed).eval()
images = load("val").to("cpu").images[:4]
with torch.no_grad():
    soft, hard = supernet(images, path), supernet(images, arch)
    alone = space.inherit(supernet, arch).eval()(images)
assert soft.shape == hard.shape == (4, 10) and torch.allclose(hard, alone, atol=1e-5)
assert not torch.allclose(hard, hard[:1])  # the images do get different answers
print(f"first image: {hard[0, 0]:.5f} from the supernet, {alone[0, 0]:.5f} alone")

# %% [markdown]
# ### A table: what does it cost?
#
# The cost of a network is a sum: a fixed part, and one entry for each decision. Here in multiply-accumulates (MACs),
# the multiplications that convolutions and the classifier need for one image. Skips and `none` are free.

# %%
macs = LookupTable.build(space, "macs")
figures["prices"] = plots.price_map(macs, "MACs (thousands)", 1e-3)
figures["prices"].axes[0].set_xlabel("edge")
figures["prices"]

# %%
low, high = macs.bounds()
budget = low + cfg.macs_share * (high - low)
assert macs(arch) == macs.fixed + sum(float(entry[i]) for entry, i in zip(macs.entries, arch, strict=True))
assert macs(arch) == bench.frame.macs[space.format(arch)]
Markdown(f"From {low:,.0f} to {high:,.0f} MACs. **Our budget: {budget:,.0f}**; this network needs {macs(arch):,.0f}.")

# %% [markdown]
# A table prices a path as well, as an *expected* cost, and gradient descent can lower it. That is how notebooks 06, 11
# and 14 search.
#
# ### An evaluator: how good is it?
#
# Any function from an architecture to a number, where higher is better. The honest one trains the network to the end,
# with several seeds. That takes too long for a search, except here: this project trained all 729 networks three times
# and kept the accuracies in a **benchmark table**. So we know what searches normally never know: the truth. We lock it
# away until section 7.

# %%
truth = bench.evaluator(space, "test")
Markdown(f"For the architecture above: **{truth(arch):.1f} %** of the test images, a mean of {len(bench.seeds)} seeds.")

# %% [markdown]
# ## 3 · Train one supernet instead of 729 networks
#
# In every step a **sampler** picks a path (or several), and only the operations on it are trained. `uniform` takes
# every choice equally often. From scratch, one step is three lines: draw, loss, gradient.

# %%
generator = torch.Generator().manual_seed(cfg.seed)
drawn_path = [int(torch.randint(n, (), generator=generator)) for n in space.choices]
loss = torch.nn.functional.cross_entropy(supernet(images, drawn_path), val_set.labels[:4].cpu())
assert drawn_path == list(sampling.Uniform().paths(space, torch.Generator().manual_seed(cfg.seed))[0])
loss.backward()

# %% [markdown]
# The package's loop does the same over all batches, with a learning rate that falls, and keeps its state. What is
# learnt is a **task**: it gives the batches, the loss and the score. (Is uniform
# a good idea? Notebook 05 compares samplers.)


# %%
def train_supernet(space, task, sampler, epochs, state=None):
    """The supernet of `space`, trained on paths of `sampler` (averaged weights), and its history."""
    net, step = space.supernet(seed=cfg.seed), sampling.supernet_step(space, sampler, task)
    recipe = classification.recipe(epochs)
    with tqdm(total=epochs, desc="supernet", unit="epoch", leave=False) as bar:
        keep = {"state": state, "progress": lambda done, *_: bar.update(done - bar.n)}
        return fit(net, task, recipe, step, seed=cfg.seed, device=cfg.device, **keep)


# %%
task = Classification(train_set, val_set, test_set, seed=cfg.seed)
sampler = sampling.create(cfg.sampler, space)
start = time.monotonic()
trained = train_supernet(space, task, sampler, cfg.supernet_epochs, cfg.out_dir / "supernet.pt")
seconds = time.monotonic() - start
figures["supernet"] = plots.progress({"supernet": trained.history}, {"total": "cross-entropy"})
figures["supernet"]

# %% [markdown]
# The mean loss of each epoch, over paths that change at every step. It stays above what one network alone would reach:
# among the paths are networks that are not even connected, and all share their weights.
#
# ## 4 · An evaluator that is cheap
#
# Now any of the 729 can be judged by the supernet's weights, without training: its accuracy on the validation images.
# One thing is needed first. Batch normalisation remembers means of *all* paths, which fit none of them; so they are
# computed afresh for each architecture, on a few training batches.

# %%
evaluate = search.SupernetScore(space, trained.ema, task)
start = time.monotonic()
score = evaluate(arch)
Markdown(f"The architecture from above scores **{score:.3f}**, after {time.monotonic() - start:.2f} s.")

# %% [markdown]
# ## 5 · Search, within a budget
#
# **Evolution** starts from random architectures, and then breeds: it takes good ones, changes a few choices
# (mutation) or mixes two (crossover), and scores the children. Only architectures within the budget are asked at all.

# %%
constraint = tables.at_most(macs, budget)
breeding = {"population": min(20, cfg.search_budget), "children": 10, "k": 5, "mutation": 0.2}
limits = {"budget": cfg.search_budget, "feasible": constraint, "costs": {"macs": macs}}
settings = search.EvolutionConfig(**limits, **breeding)
with tqdm(total=cfg.search_budget, desc="evolution", unit="arch", leave=False) as bar:
    keep = {"state": cfg.out_dir / "evolution.pt", "progress": lambda done, *_: bar.update(done - bar.n)}
    found = search.evolution(space, evaluate, settings, seed=cfg.seed, **keep)
assert all(record["macs"] <= budget for record in found.history)
found.frame().nlargest(3, "score")[["index", "score", "macs", "origin", "arch"]].round(3)

# %% [markdown]
# The best score so far, after every evaluation. Curves of this kind are called **any-time** curves: they say what the
# search would have handed back, had it been stopped there.

# %%
figures["anytime"] = plots.anytime({"this search": {"evolution": np.array([found.anytime()])}}, ylabel="supernet score")
figures["anytime"]

# %% [markdown]
# ### Exercise 00.2: the best so far
# *Difficulty 1 of 3, about 5 min.* From the scores in the order of their evaluation, return the any-time curve: after
# every evaluation the best score until then.
#
# <details><summary>Hint 1</summary>Keep one number, the best; compare each new score with it.</details>
# <details><summary>Hint 2</summary>Scores may be negative, so do not start from 0.</details>


# %% tags=["stub"]
def anytime(scores):
    raise NotImplementedError


# %% tags=["solution"]
def anytime(scores):
    best, curve = scores[0], []
    for score in scores:
        best = max(best, score)
        curve.append(best)
    return curve


# %% tags=["nbval-check-output"]
check_anytime(anytime)

# %% [markdown]
# ## 6 · Derive, and train it alone
#
# To *derive* is to turn what a search knows into one architecture. After evolution that is easy: the best it has seen.
# (After a gradient search it is not, see notebook 06.) Beside it stands a **random** architecture within the same
# budget. A search that does not beat it has found nothing.

# %%
contestants = {"searched": found.best, "random": constraint.sample(np.random.default_rng(cfg.seed))}
figures["contestants"] = plots.cells(space, contestants)
figures["contestants"]

# %% [markdown]
# Both are now trained from fresh weights, alone, with the same recipe, images and seed. Nothing of the supernet is
# reused.

# %%
recipe = classification.recipe(cfg.final_epochs)
final = search.StandAlone(space, task, recipe, "test", seed=cfg.seed, device=cfg.device)
measured = {name: 100 * final(arch) for name, arch in contestants.items()}
Markdown(", ".join(f"**{name}: {value:.1f} %**" for name, value in measured.items()) + " of the test images.")

# %% [markdown]
# ## 7 · The truth
#
# One seed is an anecdote. Now the benchmark table is unlocked: every architecture of the space, trained with three
# seeds. Each grey dot is one of them. Networks fall into columns because almost all MACs are 3×3 convolutions.

# %%
accuracy = {text: bench.score(text) for text in bench.frame.index}
inside = {text: value for text, value in accuracy.items() if bench.frame.macs[text] <= budget}
best = space.parse(max(inside, key=inside.get))
places = {name: (macs(arch), truth(arch)) for name, arch in {**contestants, "best in budget": best}.items()}
axes = {"xlabel": "MACs", "ylabel": "test accuracy (%), mean of 3 seeds"}
figures["truth"] = plots.landscape(bench.frame.macs, list(accuracy.values()), places, **axes)
figures["truth"].guide(x=budget, label="budget")
figures["truth"]

# %% [markdown]
# **Regret** is what the search missed: the best within the budget less the pick, in percentage points. How good is a
# regret? Compare it with that of a random pick, which the table knows exactly, on average over all of them. And how
# many networks are better? Cells that differ only where nothing flows are *twins*, trained to the same scores: they
# count once.

# %%
columns = [name for name in bench.frame if name.startswith(("val", "test"))]
different = bench.frame.loc[list(inside), columns].drop_duplicates().index
regret = {name: truth(best) - truth(arch) for name, arch in contestants.items()}
by_chance = truth(best) - np.mean(list(inside.values()))
better = sum(inside[text] > truth(found.best) for text in different)
middle = truth(best) - np.median(list(inside.values()))
Markdown(
    f"Regret of the search: **{regret['searched']:.1f} points**. Of {len(different)} different networks (different "
    f"trainings) within the budget, **{better} are better** than its pick. Regret of the random one: "
    f"{regret['random']:.1f}; of a random pick on average: {by_chance:.1f}, in the middle: {middle:.1f}."
)

# %% [markdown]
# Is that much or little? Two trainings of the *same* cell differ, too, by nothing but their seed. A lead that is
# smaller than this difference says nothing, and another processor, which rounds otherwise, may turn it round.

# %%
lead = middle - regret["searched"]
spread = np.mean([abs(bench.score(t, seed=s) - inside[t]) for t in different for s in bench.seeds])
Markdown(
    f"The pick is {abs(lead):.1f} points {'better' if lead > 0 else 'worse'} than a random pick in the middle. "
    f"One training of a cell lies {spread:.1f} points from the mean of its trainings, on average. "
    + ("**So this one search says nothing about the method**, " if abs(lead) < spread else "The lead is larger. ")
    + ("either way." if abs(lead) < spread else "**Yet it is one search with one seed**: notebook 07 repeats them.")
)

# %% [markdown]
# ### Exercise 00.3: the regret of a search
# *Difficulty 2 of 3, about 5 min.* `scores` maps what a search saw to its scores, `truth` maps **every** architecture
# to its accuracy. The search picks what has the highest score. Return its regret.
#
# <details><summary>Hint 1</summary><code>max(scores, key=scores.get)</code> is the pick.</details>
# <details><summary>Hint 2</summary>The best is looked for in all of <code>truth</code>, and the pick's own score does
# not count any more.</details>


# %% tags=["stub"]
def regret_of(scores, truth):
    raise NotImplementedError


# %% tags=["solution"]
def regret_of(scores, truth):
    pick = max(scores, key=scores.get)
    return max(truth.values()) - truth[pick]


# %% tags=["nbval-check-output"]
check_regret(regret_of)

# %% [markdown]
# **Why was the pick not the best?** The search could only see what the supernet told it. Each dot below is an
# architecture that it asked about: the supernet's score to the right, the truth upwards. Were the supernet right, the
# dots would climb from left to right without exception. How well two orders agree is measured by Kendall's τ: 1 for
# the same order, 0 for none in common.

# %%
asked = [(record["score"], truth(record["arch"])) for record in found.history]
tau = kendalltau(*zip(*asked, strict=True)).statistic
points = {"seen by the search": tuple(zip(*asked, strict=True)), "the pick": max(asked)}
title = f"{len(asked)} evaluated architectures, τ = {tau:.2f}"
figures["agreement"] = plots.scatter({title: points}, xlabel="supernet score", ylabel="test accuracy (%)", width=7)
figures["agreement"].guide(y=max(y for _, y in asked), label="the best of these")
figures["agreement"]

# %% [markdown]
# Where the pick has a high score and a low truth, the evaluator was the weak part, not the search: it found what it was
# told to look for. The dots far to the left are cells without a way through, or without a convolution; those the
# supernet tells apart from the others. Among the rest, τ shows how little it knows after so short a training.
#
# Two things can be improved now, and the course is about both: what the evaluator sees (notebooks 05, 08 and 12), and
# how the search looks for it (06, 07 and 09).

# %% [markdown]
# ## 8 · Swap any part in one line
#
# Nothing above was made for this space, this sampler or this strategy. Here is the whole search again, as one function:


# %%
def whole_search(space, task, sampler, strategy, settings, epochs, state=None):
    """Train a supernet on `sampler`'s paths and let `strategy` search it."""
    net = train_supernet(space, task, sampling.create(sampler, space), epochs, state).ema
    evaluate = search.SupernetScore(space, net, task)
    return strategy(space, evaluate, settings, seed=cfg.seed)


# %% [markdown]
# **Another sampler.** `sandwich` runs four paths in each step: the largest network, the smallest, and two random ones
# that learn from the largest. A step costs about four times as much, so it gets fewer epochs. The rest is as before.

# %%
again = whole_search(
    space,
    task,
    cfg.other_sampler,
    search.evolution,
    settings,
    cfg.other_epochs,
    cfg.out_dir / "other.pt",
)

# %%
results = {cfg.sampler: found, cfg.other_sampler: again}
compared = pd.DataFrame(
    {
        "supernet score": {name: result.score for name, result in results.items()},
        "truth (%)": {name: truth(result.best) for name, result in results.items()},
        "regret": {name: truth(best) - truth(result.best) for name, result in results.items()},
    }
)
compared.round(2)

# %%
gain = compared.regret[cfg.sampler] - compared.regret[cfg.other_sampler]
Markdown(
    f"With `{cfg.other_sampler}` the regret is **{compared.regret[cfg.other_sampler]:.1f} points**, "
    f"{abs(gain):.1f} {'less' if gain > 0 else 'more'} than with `{cfg.sampler}`; a random pick in the middle has "
    f"{middle:.1f}. One seed each: notebook 05 asks whether that holds."
)

# %% [markdown]
# **Another space, another strategy.** A tour at a tiny size. Its scores mean nothing, for these supernets saw a few
# images a few times. What counts is that every row is one line.


# %%
small = search.EvolutionConfig(budget=cfg.tour_budget, population=4, children=2, k=2)
larger = spaces.COURSE | {"input_size": 16}  # sizes for images of 16 px; notebooks 01 to 04 explain these spaces
tour = [
    ("nasbench201", bench.space_options, "fair", search.evolution),
    ("nasbench201", bench.space_options, "gumbel", search.random_search),
    ("spos", larger, "uniform", search.random_search),
    ("fbnet", larger, "uniform", search.evolution),
]


# %%
def digits(side):
    sizes = {"train": cfg.tour_size, "val": 100}
    options = {"name": "digits", "image_size": side, "distortion": 0.3}
    splits = (data.classification(split=split, size=n, **options).to(cfg.device) for split, n in sizes.items())
    return Classification(*splits, seed=cfg.seed)


rows = []
for name, options, sampler, strategy in tqdm(tour, desc="tour", leave=False):
    here = spaces.create(name, **options)
    start, here_task = time.monotonic(), digits(here.input_shape[-1])
    result = whole_search(here, here_task, sampler, strategy, small, cfg.tour_epochs)
    rows.append((name, f"{here.size:,}", sampler, strategy.__name__, result.score, time.monotonic() - start))

# %%
header = ["space", "architectures", "sampler", "strategy", "score", "seconds"]
summary = pd.DataFrame(rows, columns=header)
summary.round({"score": 2, "seconds": 1})

# %% [markdown]
# **Yours:** add a line to `tour`. The names that you can use:

# %% tags=["nbval-check-output"]
print("spaces  ", *spaces.names())
print("samplers", *sampling.names())

# %% [markdown]
# ## 9 · The map of the course
#
# Each notebook stands alone; the order is a suggestion. Those without a link are still to be written.
#
# | notebook | subject |
# |---|---|
# | 00_start_here | you are here |
# | [01_space_proxylessnas](01_space_proxylessnas.ipynb) | inverted bottlenecks: kernels, expansions, skips |
# | [02_space_fbnet](02_space_fbnet.ipynb) | groups, channel shuffles, and 10²¹ networks |
# | [03_space_spos](03_space_spos.ipynb) | shuffle blocks: the space of single-path one-shot search |
# | [04_space_single_path](04_space_single_path.ipynb) | all kernels within one superkernel |
# | [05_sampling](05_sampling.ipynb) | training a supernet: three samplers, and their ranking |
# | [06_gradient_search](06_gradient_search.ipynb) | softmax, Gumbel softmax, binary gates; collapse onto skip |
# | [07_random_and_evolution](07_random_and_evolution.ipynb) | random search, evolution, constraints, regret |
# | [08_zero_cost_proxies](08_zero_cost_proxies.ipynb) | scores without any training |
# | [09_zero_shot_search](09_zero_shot_search.ipynb) | searching by such a score alone |
# | [10_hardware_cost](10_hardware_cost.ipynb) | MACs, parameters, latency; a table for *your* device |
# | [11_hardware_loss](11_hardware_loss.ipynb) | searching towards a budget |
# | 12_ranking | teaching a supernet to rank |
# | 13_detection | from classes to boxes |
# | [14_wzdnas](14_wzdnas.ipynb) | a whole pipeline: search a detector for your own device |
# | 15_wzdnas_ablation | what each part of it buys |
# | 16_scale_and_deploy | several devices, full size, and the target device |
#
# ## Summary
#
# - Space, architecture, path, table, evaluator, task: with these six nouns every search is told.
# - A supernet makes evaluating cheap, by sharing weights. Its scores are guesses: judge them by their ranking.
# - A search ends with one network, trained alone, beside a random one of the same budget.
# - Regret says what was missed. It can be known only where everything was trained.
#
# **Pitfalls**
#
# - *No rival.* In small spaces a random network is often good. A searched one proves nothing without it.
# - *Old statistics.* A supernet evaluated without fresh batch-normalisation statistics ranks by accident.
# - *Choosing on test images.* Validation images choose; whoever chooses by the test set reports luck.
# - *One seed.* Change `seed` and run again: how much moves?
#
# **Further reading**
#
# - Supernets with uniform paths: Guo et al., *Single Path One-Shot Neural Architecture Search with Uniform Sampling*,
#   ECCV 2020
# - The cell: Dong and Yang, *NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search*, ICLR 2020
# - Random search as the rival: Li and Talwalkar, *Random Search and Reproducibility for Neural Architecture Search*,
#   UAI 2019

# %%
course.finish(
    cfg,
    summary=f"regret {regret['searched']:.1f} points (random pick: {by_chance:.1f}), tau {tau:.2f}",
    figures=figures,
    results={
        "architectures": {name: space.format(arch) for name, arch in contestants.items()},
        "measured": measured,
        "truth": {name: truth(arch) for name, arch in contestants.items()},
        "regret": regret,
        "regret_by_chance": {"mean": by_chance, "median": middle},
        "better": [better, len(different)],
        "kendall_tau": tau,
        "seconds": {"supernet": seconds, "search": found.seconds},
        "compared": compared.to_dict("index"),
        "tour": summary.to_dict("records"),
    },
)
