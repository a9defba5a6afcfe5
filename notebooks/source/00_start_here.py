# %% [markdown]
# # Start here: a search that wins, in a minute
#
# You search among 729 networks, see the search beat chance, count what it cost, and make it cheaper.
#
# **Neural architecture search** (NAS) lets a program choose the shape of a neural network. The program proposes a
# network, is told how good that one is, and proposes the next one. Two questions decide whether that is worth anything:
# does it find better networks than chance does, and what does it cost?
#
# **Afterwards you can**
#
# 1. run a search, and say with an interval over many seeds whether it beat random search;
# 2. say what the search cost, and train one *supernet* in place of many networks;
# 3. judge a search by its *regret*, and tell a fair comparison from an unfair one;
# 4. name the six nouns of which every method in this field is made, and swap each in one line;
# 5. make a prediction and solve an exercise, as in all notebooks of this course.
#
# **You need** Python, and an idea of convolutional networks. Nothing is downloaded.
#
# | preset | what it runs | time, two CPU cores |
# |---|---|---|
# | `smoke` | a few searches, 12 passes over 128 images: only proves that every cell works | 15 seconds |
# | `quick` | 100 pairs of searches, one supernet, a tour | 55 seconds, beside other work |
# | `full` | 200 pairs, a supernet trained more than three times as long, a longer tour | not measured |
# | `gpu` | longer still | not measured |
#
# Trainings keep their state in the output folder: interrupt whenever you like, run again, it goes on.

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu; it sets every parameter below that is None
benchmark: str = None  # table of trained architectures to search in
seeds: int = None  # pairs of searches in section 1, each with its own seed
budget: int = None  # networks that each of these searches may evaluate
macs_share: float = None  # largest network allowed, as a share of the range of MACs, .2 to 1
sampler: str = None  # how the supernet is trained: uniform, fair, sandwich ...
passes: int = None  # forward passes of the supernet over the training images: a multiple of 12
train_size: int = None  # number of training images, 1000 at most
supernet_budget: int = None  # networks that the search on the supernet may evaluate
final_epochs: int = None  # passes of the one network that is trained alone
tour_passes: int = None  # passes of each supernet of the tour at the end: a multiple of 12
tour_size: int = None  # training images of the tour
tour_budget: int = None  # evaluations of each search of the tour
threads: int = None  # CPU threads
seed: int = None  # of every random choice
device: str = None  # auto, cpu, cuda, cuda:1 ...
out_dir: str = None  # folder of the results; None: one per set of parameters

# %%
import json
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from scipy.stats import kendalltau, t

from nasedu import classification, course, data, plots, ranking, sampling, search, spaces
from nasedu.course.checks.start import check_anytime, check_believed, check_regret, check_size
from nasedu.data import benchmark as benchmarks
from nasedu.errors import ParameterError, check_number, check_whole
from nasedu.randomness import rng
from nasedu.tables import LookupTable, at_most
from nasedu.task import Classification, fit

choices = {"benchmark": benchmarks.STORED, "sampler": sampling.names()}
cfg = course.setup("00_start_here", globals(), choices=choices)
limits = {"seeds": (3, 10_000), "budget": (20, 250), "passes": (12, 12_000), "threads": (1, 1024)}
limits |= {"train_size": (64, 1000), "supernet_budget": (20, 250), "final_epochs": (1, 1000)}
limits |= {"tour_size": (64, 1000), "tour_budget": (4, 250), "tour_passes": (12, 12_000)}
for name, (least, most) in limits.items():
    check_whole(name, getattr(cfg, name), least, most)
check_number("macs_share", cfg.macs_share, 0.2, 1)  # a fifth still allows 256 networks
for name in ("passes", "tour_passes"):  # a step runs 1, 3 or 4 paths
    if getattr(cfg, name) % 12:
        raise ParameterError(f"{name} must be a multiple of 12, got {getattr(cfg, name)}")
torch.set_num_threads(cfg.threads)
cfg

# %% [markdown]
# ## 1 · A search that wins
#
# Our networks read handwritten digits. Each is a chain of equal **cells**. A cell takes a map of features (`in`) and
# hands on another one (`out`). Between its four nodes run six edges. Each edge is a decision with three choices: a 3×3
# convolution, a `skip` that passes its input on unchanged, or `none`, no connection. A node adds up what arrives at it.
# Six decisions with three choices make 3⁶ = 729 networks. The picture lists the choices on every edge.

# %%
bench = benchmarks.load(cfg.benchmark)
space = spaces.create("nasbench201", **bench.space_options)
figures = {"space": plots.cells(space)}
figures["space"]

# %% [markdown]
# This project trained all 729 networks to the end, three times each, and kept their accuracies in a table. So a search
# can look up what it would otherwise have to train, and hours become milliseconds. The search sees **validation**
# accuracy. Its pick is judged by **test** accuracy, which no search sees.
#
# Our network is to run on a small device, so it must not be large. Size is counted in multiply-accumulates (**MACs**):
# the multiplications that a network needs for one image. Grey dots are all networks. They fall into columns because
# almost all MACs are 3×3 convolutions: one column per count. Allowed is what lies left of the line.

# %%
macs = LookupTable.build(space, "macs")
low, high = macs.bounds()
limit = low + cfg.macs_share * (high - low)
allowed, sizes = at_most(macs, limit), bench.frame.macs
truths = bench.scores("test")[sizes <= limit]  # of the allowed networks
best, top = space.parse(truths.idxmax()), truths.max()
axes = {"xlabel": "MACs", "ylabel": "test accuracy (%), mean of 3 trainings"}
marked = {"best allowed": (macs(best), top)}
figures["truth"] = plots.landscape(sizes, bench.scores("test"), marked, **axes)
figures["truth"].guide(x=limit, label="limit")
figures["truth"]

# %% [markdown]
# The dots at the bottom are cells through which nothing flows from `in` to `out`: they guess one of ten digits.
#
# How good is a pick without any search? **Regret** is what a pick misses: the accuracy of the best allowed network less
# that of the pick, in percentage points. Two picks are free: a blind one, and simply the largest that is allowed.

# %%
by_chance = {"mean": top - truths.mean(), "median": top - truths.median()}
largest = sizes[truths.index] == sizes[truths.index].max()
by_size = top - truths[largest].mean()  # where several are the largest, on average
Markdown(
    f"{len(truths)} networks are allowed. The best reaches {top:.1f} %. The median regret of a "
    f"blind pick is **{by_chance['median']:.1f} points**, the largest allowed miss {by_size:.1f}."
)

# %% [markdown]
# Two searches compete. **Random search** draws networks and keeps the best it saw. **Evolution** starts with ten random
# networks; then it takes the best of those seen, changes a few of their choices (*mutation*) or mixes two of them
# (*crossover*), and asks about the children. Both may ask about equally many networks. Both start from the same ten.
#
# Think before you run: evolution has only a few generations. Is that enough?

# %%
guess = course.predict(
    "Of all pairs of searches, how often will evolution end with the better network?",
    ["not clearly more often than random search", "clearly more often", "nearly always"],
)

# %% [markdown]
# Now search, once for each seed. `seen` and `truth` are **evaluators**: functions from an architecture to a number.

# %%
seen, truth = bench.evaluator(space, "val"), bench.evaluator(space, "test")
breeding = {"population": 10, "children": 5, "k": 3, "mutation": 0.2}  # notebook 07 explains them
shared = {"budget": cfg.budget, "feasible": allowed}
rivals = {
    "random search": (search.random_search, search.SearchConfig(**shared)),
    "evolution": (search.evolution, search.EvolutionConfig(**shared, **breeding)),
}
every, start = range(cfg.seed, cfg.seed + cfg.seeds), time.monotonic()
runs = {
    name: [strategy(space, seen, settings, seed=i) for i in course.Bar(every, name)]
    for name, (strategy, settings) in rivals.items()
}
took = time.monotonic() - start
Markdown(f"{2 * cfg.seeds} searches, {cfg.budget} networks each, in {took:.0f} s.")

# %% [markdown]
# After every evaluation we ask: had the search been stopped here, what would its pick miss in truth? Such a curve is
# called **any-time**. Lines are medians over the seeds, bands hold the middle half of them.


# %%
def regrets(result):
    """After every evaluation the regret, in truth, of the network with the best score so far."""
    leader, curve = result.history[0], []  # what was seen decides who leads
    for record in result.history:
        leader = max(leader, record, key=lambda record: record["score"])
        curve.append(top - truth(leader["arch"]))
    return curve


curves = {name: np.array([regrets(result) for result in results]) for name, results in runs.items()}
ends = {"ylabel": "regret (points of test accuracy)", "ylim": (0, 1.1 * by_chance["median"])}
figures["anytime"] = plots.anytime({"": curves}, first=5, **ends)
figures["anytime"].guide(y=by_chance["median"], label="a blind pick")
figures["anytime"]

# %% [markdown]
# Are the two curves different, or was it luck? Searches with the same seed form a pair. Take the difference of each
# pair, and look at the mean of these gains. Its *standard error* is their standard deviation, divided by the root of
# their number. The 95 % interval reaches *t* standard errors to either side. **Student's t** is 2.0 for 100 pairs and
# 4.3 for three, because three can hardly tell how much they vary. By hand, and by the package:

# %%
lead = curves["random search"] - curves["evolution"]  # (seeds, evaluations)
last, gain = lead[:, -1], ranking.paired(lead[:, -1])
reach = t.ppf(0.975, len(last) - 1) * last.std(ddof=1) / len(last) ** 0.5
by_hand = last.mean(), last.mean() - reach, last.mean() + reach
assert np.allclose(by_hand, gain), "both are Student's interval"
rows = {"by hand": by_hand, "ranking.paired": gain}
columns = ["mean gain (points)", "low", "high"]
pd.DataFrame.from_dict(rows, orient="index", columns=columns).round(2)

# %% [markdown]
# All notebooks judge pairs like that. And this is how the gain grows with the number of evaluations:

# %%
marks = sorted({n for n in (20, 30, 40, 60, 80, 100, 150) if n <= cfg.budget} | {cfg.budget})
gains = {f"after {n}": ranking.paired(lead[:, n - 1]) for n in marks}
label = "points that evolution gains (mean of the pairs, 95 % interval)"
figures["gains"] = plots.dots(gains, xlabel=label).guide(x=0)
figures["gains"]

# %% [markdown]
# What does that say, and what of your prediction? The sentence is chosen by the numbers of this run.

# %%
# at the end of the searches; some pairs end even
ahead, behind = np.mean(last > 0), np.mean(last < 0)
middle = {name: np.median(curve[:, -1]) for name, curve in curves.items()}
clear = ranking.paired(np.sign(last)).low > 0  # more pairs won than lost, and not by luck
often = "clearly more often" if clear else "not clearly more often than random search"
outcome = "nearly always" if clear and ahead > 0.9 else often
verdict = "wins" if gain.low > 0 else "loses" if gain.high < 0 else "neither wins nor loses"
guess.came(
    outcome,
    f"Evolution ends with the better network in {ahead:.0%} of {cfg.seeds} pairs, with the worse "
    f"one in {behind:.0%}. "
    f"Its mean gain is {gain.value:+.1f} points ({gain.low:+.1f} to {gain.high:+.1f}): after "
    f"{cfg.budget} evaluations it **{verdict}**. Median regret: blind pick "
    f"{by_chance['median']:.1f}, random search {middle['random search']:.1f}, "
    f"**evolution {middle['evolution']:.1f}**.",
)

# %% [markdown]
# ## 2 · How exercises work
#
# Exercises come in three cells: the task with hints, a **stub** that you fill in, and a **checker**. The checker does
# not say "wrong": it names the property that your answer lacks. It also links to a solution. The folder `solutions`
# holds every notebook once more, with all exercises solved. No later cell depends on your answer.
#
# How large is a space? Ours has $3^6 = 729$ networks, so trying all of them is possible. That is the exception.
#
# ### Exercise 00.1: how many networks?
# *Difficulty 1 of 3, about 3 min.* `choices` lists how many choices each decision has. Return the exact number of
# architectures, for spaces of any size. (The space of notebook 02 has about 10²¹.)
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
# The curves of section 1 start from a simpler one: the best *score* so far. It is what a search itself can know.
#
# ### Exercise 00.2: the best so far
# *Difficulty 1 of 3, about 5 min.* `scores` are listed in the order in which networks were evaluated. Return the
# any-time curve: after every evaluation the best score until then.
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
# ## 3 · What that win cost
#
# A search on a table is free, but the table was not. Without it, each evaluation is a training. So train one network
# now, alone, on real images, and look at the clock. These are the images: digits of 8×8 pixels, turned, moved and
# noisy, each with its class above it.


# %%
def load(split, size=None):
    return data.classification(**bench.task, split=split, size=size).to(cfg.device)


train_set, val_set, test_set = load("train", cfg.train_size), load("val"), load("test")
figures["digits"] = plots.images(train_set.to("cpu"))
figures["digits"]

# %% [markdown]
# A **pass** takes every training image once through one network. It is our unit of cost: it is the same on every
# machine, and seconds are not. We train the pick of the first evolution.

# %%
task = Classification(train_set, val_set, test_set, seed=cfg.seed)
winner, rate = runs["evolution"][0].best, bench.meta["training"]["lr"]  # as fast as the table's
recipe = classification.recipe(cfg.final_epochs, lr=rate)
honest = search.StandAlone(space, task, recipe, "test", seed=cfg.seed, device=cfg.device)
start = time.monotonic()
reached = 100 * honest(winner)
pace = (time.monotonic() - start) / cfg.final_epochs * (1000 / len(train_set))  # s per 1,000 images
known = [bench.scores("test", seed=i)[space.format(winner)] for i in bench.seeds]
Markdown(
    f"{cfg.final_epochs} passes over {len(train_set)} images: {pace:.2f} s for 1,000 images. "
    f"The network now reads {reached:.1f} % of the test images. In the table its "
    f"{len(known)} trainings of {bench.budgets[-1]} passes over 1,000 images reached "
    f"{min(known):.1f} to {max(known):.1f} %."
)

# %% [markdown]
# That was one training. A search needs one for each network that it asks about, and here three, because it was told
# their mean. Count them:

# %%
epochs, trainings = bench.budgets[-1], len(bench.seeds)
spent = cfg.budget * trainings * epochs
Markdown(
    f"{cfg.budget} networks × {trainings} trainings × {epochs} passes = **{spent:,} passes** over "
    f"1,000 images. At the pace of above that is {spent * pace / 60:.0f} minutes, for images of "
    f"8×8 pixels. With 32×32 pixels it is 16 times as long, and usual networks are larger, too."
)

# %% [markdown]
# ## 4 · Train one supernet in place of many networks
#
# Most of that work is done again and again, for the networks are alike. A **supernet** holds every operation on every
# edge once. A **path** is one choice per edge. The supernet can run along any path, so it stands for all 729 networks,
# and they share its weights. In the picture four edges are decided. Two are still undecided: they carry a weight for
# each choice. Such a path can run, too.

# %%
undecided = [2, torch.tensor([0.1, 0.3, 0.6]), 1, 0, torch.tensor([0.5, 0.25, 0.25]), 2]
figures["path"] = plots.cells(space, {"a path": undecided})
figures["path"]

# %% [markdown]
# Along a decided path the supernet answers as the network alone would, with the same weights:

# %%
supernet, images = space.supernet(seed=cfg.seed).eval(), val_set.to("cpu").images[:4]
with torch.no_grad():
    shared = supernet(images, best)
    alone = space.inherit(supernet, best).eval()(images)
assert torch.allclose(shared, alone, atol=1e-5), "a path must compute what its network computes"
print(f"first image, class 0: supernet {shared[0, 0]:.4f}, network alone {alone[0, 0]:.4f}")

# %% [markdown]
# Training is simple. For each batch a **sampler** chooses paths, and only the operations on these learn. Ours is the
# **sandwich**. It takes four paths: the largest network, a small one, and two at random. The largest learns from the
# labels, and the others learn from its answers. (By MACs alone the smallest cell has `none` everywhere. Nothing flows
# through it, so it could not learn. We take `skip` everywhere.) From scratch and by the package:

# %%
largest_arch, skips = (2,) * 6, (1,) * 6  # choices are none, skip, convolution
sandwich = sampling.Sandwich(largest_arch, skips, n=4)
mine, theirs = (torch.Generator().manual_seed(cfg.seed) for _ in range(2))
at_random = [tuple(int(torch.randint(3, (), generator=mine)) for _ in range(6)) for _ in range(2)]
paths = sandwich.paths(space, theirs)
assert paths == [largest_arch, skips, *at_random], "the same generator must draw the same paths"
print("from scratch", largest_arch, skips, *at_random)
print("package     ", *paths)

# %% [markdown]
# Now train it. A step of four paths costs four times as much as a step of one, so we count passes and not steps. The
# curve is the mean loss of each epoch.


# %%
def train_supernet(space, task, sampler, passes, state=None):
    """The supernet after so many passes on the sampler's paths; interrupted, it goes on."""
    paths = len(sampler.paths(space, torch.Generator()))  # of a step: several paths, fewer steps
    recipe = classification.recipe(passes // paths)
    step = sampling.supernet_step(space, sampler, task)
    with course.Bar(total=recipe.epochs, desc="supernet", unit="epoch") as bar:
        keep = {"state": state, "progress": bar.show, "device": cfg.device}
        return fit(space.supernet(seed=cfg.seed), task, recipe, step, seed=cfg.seed, **keep)


sampler = sampling.create(cfg.sampler, space)
if cfg.sampler == "sandwich":
    sampler = replace(sampler, smallest=skips)
trained = train_supernet(space, task, sampler, cfg.passes, cfg.out_dir / "supernet.pt")
figures["supernet"] = plots.progress({"supernet": trained.history}, {"total": "cross-entropy"})
figures["supernet"]

# %% [markdown]
# Now no network has to be trained to be judged. `SupernetScore` is an evaluator like the table: it runs a network's
# path over the validation images. (First it computes batch-normalisation statistics for that path. Notebook 05 says
# why.) The search is the same line as in section 1, with another evaluator.

# %%
score = search.SupernetScore(space, trained.ema, task, batches=4)
settings = search.EvolutionConfig(budget=cfg.supernet_budget, feasible=allowed, **breeding)
with course.Bar(total=settings.budget, desc="evolution", unit="network") as bar:
    found = search.evolution(space, score, settings, seed=cfg.seed, progress=bar.show)
picks = {"the best in truth": best, "found on the supernet": found.best}
figures["found"] = plots.cells(space, picks)
figures["found"]

# %% [markdown]
# ## 5 · Was it any good? Judge by regret
#
# What has become cheaper, and what was lost? The bill first. To train on an image takes about three units of time: one
# for the network's answer, two for the gradients. To judge on it takes the first alone, so it counts a third.

# %%
regret = {"real trainings": middle["evolution"], "supernet": top - truth(found.best)}
images_each = sum(map(len, score.images)) + len(val_set)  # for the statistics, for the score
judging = len(found.history) * images_each / 3 / 1000
trained_for = cfg.passes * len(train_set) / 1000
cost = {"real trainings": spent, "supernet": trained_for + judging}
bill = {
    "regret (points)": regret | {"largest allowed": by_size, "blind pick": by_chance["median"]},
    "passes over 1,000 images": cost | {"largest allowed": 0.0, "blind pick": 0.0},
}
figures["bill"] = plots.bars(bill)
figures["bill"]

# %% [markdown]
# In words:

# %%
better = regret["supernet"] < min(by_size, by_chance["median"])
Markdown(
    f"The search on the supernet needed {cost['supernet']:,.0f} passes, judging included: "
    f"**{100 * cost['supernet'] / spent:.1f} % of {spent:,}**. Its pick misses "
    f"{regret['supernet']:.1f} points. That is {'better' if better else 'no better'} than what is "
    f"free: the largest misses {by_size:.1f}, a blind pick {by_chance['median']:.1f}. Evolution on "
    f"real trainings misses {regret['real trainings']:.1f} (median of section 1)."
)

# %% [markdown]
# ### Exercise 00.3: the regret of a search
# *Difficulty 2 of 3, about 5 min.* `scores` maps each architecture that a search asked about to the score it saw.
# `truth` maps **every** architecture to its accuracy. The search picks the highest score. Return its regret.
#
# <details><summary>Hint 1</summary><code>max(scores, key=scores.get)</code> is the pick.</details>
# <details><summary>Hint 2</summary>The best may be one that the search never asked about. Both numbers come from
# <code>truth</code>.</details>


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
# **What did the search see?** It knew only what the supernet told it. Each dot is a network that it asked about: the
# supernet's score to the right, the truth upwards. Were the supernet right, the dots would climb from left to right
# without exception. Kendall's **τ** measures how well two orders agree. It is 1 for the same order, 0 for orders that
# have nothing to do with one another, and −1 for the reversed order.

# %%
asked = [(100 * record["score"], truth(record["arch"])) for record in found.history]
tau = kendalltau(*zip(*asked, strict=True)).statistic
pick = 100 * found.score, truth(found.best)
points = {"seen by the search": tuple(zip(*asked, strict=True)), "its pick": pick}
labels = {"xlabel": "accuracy with the supernet's weights (%)", "ylabel": "test accuracy (%)"}
figures["agreement"] = plots.scatter({f"{len(asked)} networks, τ = {tau:.2f}": points}, **labels)
figures["agreement"].guide(y=max(y for _, y in asked), label="the best of these")
figures["agreement"]

# %% [markdown]
# ### The verdict: against random search at equal cost
#
# A blind pick is a weak rival, because it spends nothing. The fair rival is random search that may **spend as many
# passes** on real trainings. And one supernet with one seed proves nothing. So this project trained supernets of two
# kinds, the sandwich's and those of uniform sampling (one random path a step), with several seeds and numbers of
# passes. It stored what each says of every network (`datasets/verdict_sampling.py`), so what follows is the same on
# every machine. Many of the 729 compute the same as another (behind a missing edge, choices change nothing); of these
# one is kept. The pick is the allowed network with the highest score.

# %%
folder = benchmarks.FOLDER
meta = json.loads((folder / "verdict_sampling.json").read_text())
stored = pd.read_csv(folder / "verdict_sampling.csv", index_col="arch").filter(truths.index, axis=0)
assert meta["fingerprint"] == space.fingerprint, "the stored scores must be of these cells"
parts = meta["images"]
forward = len(stored) * (meta["judged"]["batches"] * meta["judged"]["batch_size"] + parts["val"])
scoring = round(forward / parts["train"] / 3)  # without gradients, as above
Markdown(
    f"{len(meta['seeds'])} seeds; {len(stored)} different networks are allowed. Scoring them "
    f"costs as much as about {scoring} passes of training. The rival gets these, too."
)

# %% [markdown]
# The rival draws from the same networks, trains each once, and takes the one with the best validation accuracy. We let
# it search 300 times for each seed and take the mean, so that its own luck plays no part.


# %%
pool = truths[stored.index]


def of_supernet(sampler, passes, seed):
    """The regret of the network that a supernet scores highest."""
    values = stored[f"{sampler}_{passes}_s{seed}"]
    return top - pool[values == values.max()].mean()  # where several are highest, on average


def of_random_search(passes, seed, searches=300):
    """The mean regret of random search that trains as many networks as these passes pay for."""
    draw, n = rng(seed, "rival", passes), min((passes + scoring) // epochs, len(pool))
    seen_once = bench.scores("val", seed=seed % trainings)[pool.index].to_numpy()
    drawn = np.array([draw.choice(len(pool), n, replace=False) for _ in range(searches)])
    picks = drawn[range(searches), seen_once[drawn].argmax(1)]
    return top - pool.to_numpy()[picks].mean()


lengths, every = meta["passes"], meta["seeds"]
judged = {"random search": np.array([[of_random_search(n, i) for n in lengths] for i in every])}
for kind in ("uniform", "sandwich"):
    judged[kind] = np.array([[of_supernet(kind, n, i) for n in lengths] for i in every])
labels = {"xlabel": "passes of the supernet", "ylabel": "regret (points)"}
figures["equal_cost"] = plots.lines(judged, list(map(str, lengths)), **labels)
figures["equal_cost"]

# %% [markdown]
# Lines are medians over the seeds. Now in pairs: for each seed, the regret of random search less that of the supernet.
# Right of 0 the supernet is better. Bars are 95 % intervals of the mean.

# %%
wins = {}
for kind in ("uniform", "sandwich"):
    leads = (judged["random search"] - judged[kind]).T  # (passes, seeds)
    wins[kind] = {f"{n} passes": ranking.paired(g) for n, g in zip(lengths, leads, strict=True)}
label = "points that the supernet gains over random search"
figures["equal_gains"] = plots.dots(wins, xlabel=label).guide(x=0)
figures["equal_gains"]

# %% [markdown]
# In words, whichever way it came:


# %%
def told(kind):
    """The verdict over one kind of supernet."""
    sides = {"better after": [], "worse after": [], "no clear difference after": []}
    for n, won in zip(lengths, wins[kind].values(), strict=True):
        side = 0 if won.low > 0 else 1 if won.high < 0 else 2  # above 0, below, around it
        list(sides.values())[side].append(str(n))
    parts = [f"{side} {', '.join(n)} passes" for side, n in sides.items() if n]
    return f"- **{kind}** against random search: {'; '.join(parts)}."


# over all lengths, by seed: the regret of uniform supernets less the sandwich's
ahead_of = ranking.paired(judged["uniform"].mean(1), judged["sandwich"].mean(1))
Markdown(
    "\n".join(map(told, wins))
    + f"\n\nMean over all lengths, the regret of uniform sampling less that of the sandwich: "
    f"{ahead_of.value:+.1f} points ({ahead_of.low:+.1f} to {ahead_of.high:+.1f}). Notebook 05 is "
    f"about such trainings. The rival is cheap here, because a training alone takes only {epochs} "
    "passes. Where it takes hundreds, the same passes pay for a few networks only."
)

# %% [markdown]
# ### Exercise 00.4: which report may be believed?
# *Difficulty 3 of 3, about 20 min; fault.* Two searches each hand in a report: a dictionary with the networks that it
# `asked` about, a list; the scores that it has `seen` for them, a list in the same order; its `pick`, and the `regret`
# that it claims. `truth` maps every network of the space to its accuracy. Return True if both reports are honest and
# the comparison is fair (at equal cost), and False if there is any fault in it: in what was asked, in the pick, or in
# the claim. Higher scores are better; claims are rounded, so allow for an error of a millionth (0.000001).
#
# <details><summary>Hint 1</summary>Equal cost: both asked about equally many networks.</details>
# <details><summary>Hint 2</summary>An honest pick was asked about, and none that was asked about has a higher score.
# </details>
# <details><summary>Hint 3</summary>The claim must be the regret of exercise 00.3. Look at both reports.</details>


# %% tags=["stub"]
def believed(report, rival, truth):
    raise NotImplementedError


# %% tags=["solution"]
def believed(report, rival, truth):
    def honest(one):
        seen = dict(zip(one["asked"], one["seen"], strict=True))
        right = max(truth.values()) - truth[one["pick"]]
        return seen.get(one["pick"]) == max(one["seen"]) and abs(one["regret"] - right) < 1e-6

    return len(report["asked"]) == len(rival["asked"]) and honest(report) and honest(rival)


# %% tags=["nbval-check-output"]
check_believed(believed)

# %% [markdown]
# ## 6 · Six nouns, each swapped in one line
#
# You have now met all that this field is made of. Every method is the same six nouns, recombined.
#
# | noun | question | here |
# |---|---|---|
# | search space | what can be built? | the cell with six edges |
# | architecture | which one? | one choice for every edge: a tuple of six numbers |
# | path | a choice that may still be undecided | what a training step runs along |
# | table | what does it cost, or score? | a fixed part, and an entry for each choice: MACs |
# | evaluator | how good is it? | the table of truth, or the supernet |
# | task | good at what? | reading digits: which images, which loss, which score |
#
# Below is a whole search as one function. Each of its arguments can be swapped, and nothing else has to change.


# %%
def whole_search(space, task, sampler="uniform", strategy=search.evolution, share=0.4):
    """The best network within a share of the range of MACs, on a supernet of a few passes."""
    # train a supernet, limit the cost, search
    net = train_supernet(space, task, sampling.create(sampler, space), cfg.tour_passes).ema
    macs = LookupTable.build(space, "macs")
    low, high = macs.bounds()
    limit = at_most(macs, low + share * (high - low))
    rules = {"budget": cfg.tour_budget, "costs": {"macs": macs}, "feasible": limit}
    settings = search.SearchConfig(**rules)
    if strategy is search.evolution:
        settings = search.EvolutionConfig(**rules, population=5, children=5, k=2, mutation=0.2)
    score = search.SupernetScore(space, net, task, batches=1)
    return strategy(space, score, settings, seed=cfg.seed)


def digits(side=8):
    """The task, on few images of another size."""
    few, sizes = {"image_size": side, "distortion": 0.3}, {"train": cfg.tour_size, "val": 100}
    splits = (data.classification("digits", part, size=n, **few) for part, n in sizes.items())
    return Classification(*(images.to(cfg.device) for images in splits), seed=cfg.seed)


as_before = whole_search(space, digits())
print(as_before.best, f"{as_before.costs['macs']:,.0f} MACs")

# %% [markdown]
# Now swap one argument after the other. Each row is one line of the tour. `found` lists the pick's choices by number,
# from 0.

# %%
larger = spaces.create("spos", **spaces.COURSE | {"input_size": 16})  # notebook 03 explains it
tour = {
    "another sampler": (space, digits(), "fair"),
    "another strategy": (space, digits(), "uniform", search.random_search),
    "no limit": (space, digits(), "uniform", search.evolution, 1),
    "another space and task": (larger, digits(16)),
}
rows = {"as before": as_before}
rows |= {name: whole_search(*given) for name, given in course.Bar(tour.items(), "tour")}
summary = pd.DataFrame({"MACs": {n: f"{r.costs['macs']:,.0f}" for n, r in rows.items()}})
summary["networks of the space"] = [f"{r.space.size:,}" for r in rows.values()]
summary["found"] = ["".join(map(str, r.best)) for r in rows.values()]
summary

# %% [markdown]
# These supernets saw few images a few times, so what they find means nothing. What counts is that every row is one
# line. **Yours:** add a line to `tour`. `search.local_search` is a third strategy. These are the names of spaces and
# samplers. (`yolo` makes detectors, which need another task: notebook 14.)

# %% tags=["nbval-check-output"]
print("spaces  ", *spaces.names())
print("samplers", *sampling.names())

# %% [markdown]
# ## 7 · The map of the course
#
# Each notebook stands alone; the order is a suggestion.
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
# | [12_ranking](12_ranking.ipynb) | teaching a supernet to rank |
# | [13_detection](13_detection.ipynb) | from classes to boxes: overlap, anchors, losses, suppression, AP |
# | [14_wzdnas](14_wzdnas.ipynb) | a whole pipeline: search a detector for your own device |
# | [15_ablation](15_ablation.ipynb) | what each part of it buys, and how many seeds it takes to say so |
# | 16_scale_and_deploy | several devices, full size, and the target device (still to be written) |
#
# ## Summary
#
# - A search that asks real trainings comes near the best network, far better than a blind pick. It costs a training for
#   each question.
# - A supernet makes questions cheap, because all networks share its weights. Its answers are guesses, and how good
#   they are depends on how it was trained. Whether it beats random search at equal cost depends on what a training
#   costs: here, where one takes 12 passes, section 5 has the answer.
# - Regret says what was missed. It can be known only where everything was trained.
# - A rival gets the same cost, a comparison is made in pairs, and its interval says whether it may have been luck.
# - Space, architecture, path, table, evaluator, task: six nouns, and every search is told.
#
# **Pitfalls**
#
# - *A weak rival.* Most methods beat a blind pick. Compare with random search at equal cost.
# - *Choosing on test images.* Validation images choose. Whoever chooses by the test set reports luck.
# - *One seed.* Change `seed` and run again: how much moves?
# - *Old statistics.* A supernet evaluated without fresh batch-normalisation statistics ranks by accident.
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
    summary=f"gain {gain.value:+.1f} points; regret on the supernet {regret['supernet']:.1f}",
    figures=figures,
    results={
        # what a course run compares
        "gain": gain._asdict(),
        "ahead": ahead,
        "regret": regret,
        "regret_by_chance": by_chance,
        "passes": cost,
        "kendall_tau": tau,
        "equal_cost": {kind: {n: [*w] for n, w in won.items()} for kind, won in wins.items()},
        "tour": summary.to_dict("index"),
    },
)
