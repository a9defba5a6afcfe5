# %% [markdown]
# # Search by gradient descent
#
# You will give every choice a probability, let gradient descent move it, and see what that buys and where it fails.
#
# Gradient descent needs a slope, and a choice between three operations has none. A *mixture* of the three has one. This
# notebook turns choices into mixtures in three ways, and meets a fourth method that needs no mixture. It searches on a
# space in which every cell was trained, so that the truth is known. It tries to make the best-known failure happen,
# tries four remedies, and ends with a verdict against random search.
#
# **Afterwards you can**
#
# 1. write softmax, Gumbel softmax, binary gates and REINFORCE in a few lines, and say what each of them runs;
# 2. explain why weights and probabilities learn from different images, and what the second order of DARTS adds;
# 3. compare gradient estimators by bias and noise;
# 4. recognise a search that collapses onto skip connections, and judge a remedy;
# 5. say what a gradient search buys over random search at equal cost.
#
# **You need** notebooks 00 (spaces, searches) and 05 (supernets).
#
# | preset | what it runs | time, two CPU cores |
# |---|---|---|
# | `smoke` | two epochs of everything: only proves that every cell works | half a minute |
# | `quick` | eight searches of 14 epochs, five long ones on few images, two with a budget | 5 minutes |
# | `full` | four to five times as many epochs, 400 gradients per estimator | not measured |
# | `gpu` | twice as many again | not measured |

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu; it sets every parameter below that is None
train_size: int = None  # digits to search on; half of them for the weights, half for the logits
epochs: int = None  # of each search
warmup_epochs: int = None  # of them, in which weights alone learn
arch_lr: float = None  # learning rate of the logits
seeds: int = None  # searches with binary gates, for the verdict
crowd_size: int = None  # digits for the searches that collapse: few
crowd_epochs: int = None  # their epochs: many
crowd_seeds: int = None  # how many of them are left alone
budget_epochs: int = None  # epochs of each search with a budget of MACs
draws: int = None  # gradients drawn from each estimator
threads: int = None  # CPU threads
seed: int = None  # of every random choice
device: str = None  # auto, cpu, cuda, cuda:1 ...
out_dir: str = None  # folder of the results; None: one per set of parameters

# %%
import itertools
import json
import time

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from torch.nn import functional as F

from nasedu import course, data, errors, plots, ranking, sampling, spaces, tables
from nasedu.course.checks.gradient import (
    check_curvature,
    check_hard_gumbel,
    check_keep_others,
    check_reinforce,
    check_sound,
    check_stop,
)
from nasedu.data import benchmark
from nasedu.search import GradientConfig, gradient_search
from nasedu.search.gradient import unrolled_loss
from nasedu.task import Classification

# reads the preset, checks every parameter, seeds all generators
cfg = course.setup("06_gradient_search", globals())
cfg

# %% [markdown]
# A number that makes no sense is refused here, in a sentence, before anything runs.

# %%
LIMITS = {"train_size": (64, 1078), "crowd_size": (64, 1078), "draws": (2, 100_000)}
LIMITS |= {"warmup_epochs": (0, cfg.epochs - 1), "seeds": (1, 1000), "threads": (1, 64)}
for name in ("epochs", "crowd_epochs", "crowd_seeds", "budget_epochs", *LIMITS):
    errors.check_whole(name, getattr(cfg, name), *LIMITS.get(name, (1, 10_000)))
errors.check_number("arch_lr", cfg.arch_lr, 0, 10, above=True)
torch.set_num_threads(cfg.threads)
print(f"{cfg.epochs} epochs, of which the logits learn in {cfg.epochs - cfg.warmup_epochs}")

# %% [markdown]
# ## 1 · From a choice to weights
#
# Every decision gets **logits** $\alpha$, one number per choice. Its probabilities are
# $p = \operatorname{softmax}(\alpha)$. There are three ways to run a supernet on them. In each the output is a weighted
# sum of the operations' outputs, and the ways differ in the weights:
#
# - **softmax** (DARTS): every operation runs, and its weight is $p$. The weights do not change from step to step, as
#   long as the logits do not.
# - **Gumbel softmax** (FBNet): the weights are $\operatorname{softmax}((\alpha + G) / T)$, where $G$ is drawn anew at
#   every step. Every operation runs. The lower the temperature $T$, the closer the weights are to 1 for one operation
#   and 0 for the others.
# - **binary gates** (ProxylessNAS): one operation is drawn from $p$. Its weight, the *gate*, is 1, the others' are 0.
#   So it can run alone.
#
# The figure shows 24 steps of each, for three equally likely choices. A bar is a step, its parts are the three weights:


# %%
def seeded():
    """A fresh generator: whoever draws from it gets the same numbers again."""
    return torch.Generator().manual_seed(cfg.seed)


generator, logits = seeded(), torch.zeros(24, 3)
soft = sampling.gumbel_softmax([logits], 1.0, generator)[0]
hard = torch.stack(sampling.binary_gates(list(logits), generator))
samples = {"softmax": sampling.softmax([logits])[0]}
samples |= {"Gumbel softmax, T = 1": soft, "binary gates": hard}
names = ["none", "skip", "conv"]
labels = {"xlabel": "step", "ylabel": "weight of each choice"}
figures = {"relaxations": plots.stacks(samples, names, **labels)}
figures["relaxations"]

# %% [markdown]
# Here are the first two from scratch, and the same numbers from the package:


# %%
def softmax(alpha):
    return alpha.exp() / alpha.exp().sum()


def gumbel_softmax(alpha, temperature, generator):
    # minus the logarithm of an exponential variable is Gumbel noise
    noise = -torch.empty_like(alpha).exponential_(generator=generator).log()
    return softmax((alpha + noise) / temperature)


alpha = torch.tensor([0.2, 0.3, 0.5]).log()
pairs = {"softmax": (softmax(alpha), sampling.softmax([alpha])[0])}
(package,) = sampling.gumbel_softmax([alpha], 0.7, seeded())
pairs["Gumbel"] = gumbel_softmax(alpha, 0.7, seeded()), package
for name, (ours, theirs) in pairs.items():
    print(f"{name}: {ours.numpy().round(4)} by hand, {theirs.numpy().round(4)} by the package")
    assert torch.allclose(ours, theirs), f"{name} differs"

# %% [markdown]
# Why *Gumbel* noise? With it choice $i$ gets the largest weight with probability $p_i$, at every temperature. Without
# noise the same choice would win every time. With normal noise each would win, but not with probability $p_i$.

# %%
many, shares = alpha.expand(20_000, 3), {}
for T in (5.0, 0.1):
    winners = sampling.gumbel_softmax([many], T, seeded())[0].argmax(1)
    shares[f"won at T = {T}"] = (winners.bincount(minlength=3) / len(many)).numpy()
table = pd.DataFrame({"p": softmax(alpha).numpy()} | shares, index=names)
assert (table.sub(table["p"], axis=0).abs() < 0.02).all(axis=None), "the shares are not p"
table.round(3)

# %% [markdown]
# **Annealing.** A search starts with a high temperature, so that every operation gets some training at every step. Then
# the temperature falls, so that every sample comes close to a single network. Move the temperature, or raise one logit
# above the others (Tab moves from control to control, the arrow keys change one):

# %%
from nasedu.widgets import GumbelWidget

GumbelWidget(names, seed=cfg.seed)

# %% [markdown]
# The same as a still figure, from the highest temperature to the lowest:

# %%
steps_of_T = (5.0, 1.0, 0.2)
cooling = {f"T = {T}": sampling.gumbel_softmax([logits], T, seeded())[0] for T in steps_of_T}
figures["annealing"] = plots.stacks(cooling, names, **labels)
figures["annealing"]

# %% [markdown]
# ## 2 · A gate of one, with a gradient
#
# With softmax and Gumbel softmax every operation takes memory and time. With binary gates one operation runs, and the
# price is that a draw has no gradient. ProxylessNAS therefore pretends: backpropagation gives the gradient
# $\partial L / \partial g$ of the gates, and it is used as if it were $\partial L / \partial p$. From $p$ the softmax
# leads on to the logits. Below, from scratch and by the package, for a loss whose gradient with respect to the three
# gates is `by_gate`:


# %%
def gate(alpha, generator):
    p = torch.softmax(alpha, 0)
    drawn = (alpha + sampling.gumbel_noise(alpha.shape, generator)).argmax()
    # the first part has the value, the second part, which is 0, has the gradient
    return F.one_hot(drawn, len(p)).float() + (p - p.detach())


free, by_gate = alpha.clone().requires_grad_(), torch.tensor([1.0, 3.0, -2.0])
ours, theirs = gate(free, seeded()), sampling.binary_gates([free], seeded())[0]
slopes = [torch.autograd.grad(g @ by_gate, free)[0].numpy().round(4) for g in (ours, theirs)]
print(f"gates {ours.tolist()} by hand, {theirs.tolist()} by the package")
print(f"slopes {slopes[0]} by hand, {slopes[1]} by the package")
assert torch.equal(ours, theirs) and np.allclose(*slopes), "the gates differ"

# %% [markdown]
# ### Exercise 06.1: hard forward, soft backward
# *Difficulty 2 of 3, about 10 min.* A method called GDAS joins Gumbel softmax and gates. Forward it runs one operation
# alone: the one where `alpha + noise` is largest. Backward it uses the slope of the soft weights,
# softmax((alpha + noise) / temperature). Return such weights for one decision: in value exactly 0 and 1, with the slope
# of the soft weights. `noise` is given.
#
# <details><summary>Hint 1</summary>x + (y − y.detach()) has the value of x and the gradient of y.</details>
# <details><summary>Hint 2</summary>The soft weights are largest where alpha + noise is largest.</details>


# %% tags=["stub"]
def hard_gumbel(alpha, noise, temperature):
    raise NotImplementedError


# %% tags=["solution"]
def hard_gumbel(alpha, noise, temperature):
    soft = torch.softmax((alpha + noise) / temperature, 0)
    return F.one_hot(soft.argmax(), len(soft)).float() + (soft - soft.detach())


# %% tags=["nbval-check-output"]
check_hard_gumbel(hard_gumbel)

# %% [markdown]
# **Two at a time.** The gradient of a gate needs the output of its operation. So while the logits learn, all operations
# would have to run. ProxylessNAS samples two of them, and only these two compete:

# %%
pair = sampling.binary_gates([alpha], seeded(), "two")[0]
assert len(pair.indices) == 2 and sorted(pair.weights.tolist()) == [0, 1], "one of two is active"
pair

# %% [markdown]
# ### Exercise 06.2: a step for two, and nobody else
# *Difficulty 3 of 3, about 15 min.* The optimizer moved the logits from `before` to `after`. Only the two with the
# indices `pair` (a tensor) changed. Nothing was learnt about the others, so their probabilities should be what they
# were. They are not, for all probabilities share one sum. Subtract one number from both logits of the pair, such that
# the probabilities of the others come out as before. Return the new logits.
#
# <details><summary>Hint 1</summary>The probability of choice i is exp(alpha_i) over the sum of all exponentials. The
# logits of the others stay, so the sum must stay, too.</details>
# <details><summary>Hint 2</summary>So the pair's own sum of exponentials must be the same before and after. The
# number is a difference of two logsumexp.</details>


# %% tags=["stub"]
def keep_others(before, after, pair):
    raise NotImplementedError


# %% tags=["solution"]
def keep_others(before, after, pair):
    kept = after.clone()
    kept[pair] -= after[pair].logsumexp(0) - before[pair].logsumexp(0)
    return kept


# %% tags=["nbval-check-output"]
check_keep_others(keep_others)

# %% [markdown]
# ## 3 · A slope without any relaxation: REINFORCE
#
# The logits *should* descend on the expected loss of the networks that they draw. For one decision it is
# $J(\alpha) = \sum_i p_i L_i$, where $L_i$ is the loss when operation $i$ runs alone. The gradient of $p_i$ is
# $p_i \,\nabla \log p_i$. So the slope of $J$ is $\sum_i p_i\, L_i \nabla \log p_i$, and that is an expectation, too.
# One draw estimates it: draw $i$ from $p$, measure its loss $L_i$, and take
#
# $$ (L_i - b)\,\nabla \log p_i \quad\text{with}\quad \nabla \log p_i = \operatorname{onehot}(i) - p. $$
#
# This is REINFORCE. No gradient goes through the network, so in place of the loss there may be an accuracy or a
# latency, which have no gradient. ProxylessNAS offers it as an alternative to its gates (section 3.3.2). With $b = 0$
# the estimate is **unbiased**: its mean is the slope. With any **baseline** $b$ that does not depend on the draw it
# stays unbiased, because $\sum_i p_i \nabla \log p_i = 0$. A good baseline, such as the mean of earlier losses, lowers
# the **noise**, the spread from draw to draw. For three losses that are made up:


# %%
def reinforce_once(alpha, drawn, loss, baseline=0.0):
    """The slope of the expected loss, estimated from one draw and its loss."""
    return (loss - baseline) * (F.one_hot(drawn, len(alpha)) - softmax(alpha))


L = torch.tensor([2.1, 2.4, 2.2])  # three losses, made up
p = softmax(alpha)
slope = p * (L - p @ L)
drawn = p.multinomial(20_000, replacement=True, generator=seeded())
rows = {"exact": [*slope.tolist(), 0.0]}
for name, baseline in (("no baseline", 0.0), ("baseline 2.2", 2.2)):
    found = torch.stack([reinforce_once(alpha, i, L[i], baseline) for i in drawn])
    rows[name] = [*found.mean(0).tolist(), float(found.std(0).mean())]
    assert (found.mean(0) - slope).abs().max() < 0.03, "the mean is not the slope"
columns = [f"d / d logit {i}" for i in range(3)] + ["noise of one draw"]
pd.DataFrame.from_dict(rows, "index", columns=columns).round(4)

# %% [markdown]
# ### Exercise 06.3: REINFORCE with a baseline
# *Difficulty 3 of 3, about 20 min.* Now there are several draws at once and no earlier losses: `drawn` (m,) are choices
# drawn from softmax(alpha), `losses` (m,) the loss of each of them. Return one estimate of the slope from all of them.
# It must be unbiased, less noisy than without a baseline, and the same when 100 is added to all losses.
#
# <details><summary>Hint 1</summary>The mean of all m losses is no baseline: it depends on the draw itself, since its
# own loss is in it.</details>
# <details><summary>Hint 2</summary>Give each draw a baseline of its own: the mean of the <em>other</em> draws'
# losses.</details>


# %% tags=["stub"]
def reinforce(alpha, drawn, losses):
    raise NotImplementedError


# %% tags=["solution"]
def reinforce(alpha, drawn, losses):
    p = torch.softmax(alpha, 0)
    others = (losses.sum() - losses) / (len(losses) - 1)
    scores = F.one_hot(drawn, len(p)) - p
    return ((losses - others)[:, None] * scores).mean(0)


# %% tags=["nbval-check-output"]
check_reinforce(reinforce)

# %% [markdown]
# ## 4 · Two learners, two halves
#
# Weights and logits should not learn from the same images. The weights can learn their images by heart, and logits that
# saw the same images would favour the operations that do so best. So DARTS splits the training images into two halves.
# At every step, in turn,
#
# 1. the logits move on a batch of one half, with the weights held still;
# 2. the weights move on a batch of the other half, with the logits held still.
#
# Our space holds cells of six edges, each with one of three operations: none, skip (the input itself) or a 3×3
# convolution. All 729 cells were trained to the end, three times each. Their mean test accuracy is what we call the
# *true* accuracy.

# %%
truth = benchmark.load("cells_digits")
space = spaces.create("nasbench201", **truth.space_options)
images = data.classification(split="train", size=cfg.train_size, **truth.task).to(cfg.device)
for_weights, for_logits = images.halves(cfg.seed)
operations = [name.replace("nor_", "") for name in space.decisions[0].choices]
print(f"{len(for_weights)} digits for the weights, {len(for_logits)} for the logits; {operations}")

# %% [markdown]
# Here is one round from scratch. The gradient of the first loss is taken for the logits alone. Afterwards the cell
# checks that the weights did not move in the logits' turn, and that the logits got no gradient in the weights' turn:

# %%
torch.manual_seed(cfg.seed)
net = space.supernet().to(cfg.device)
theta = [torch.zeros(n, requires_grad=True) for n in space.choices]
weights_optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
old = [p.detach().clone() for p in net.parameters()]

path = [torch.softmax(a, 0).to(cfg.device) for a in theta]
loss = F.cross_entropy(net(for_logits.images[:64], path), for_logits.labels[:64])
for a, slope in zip(theta, torch.autograd.grad(loss, theta), strict=True):
    a.data -= 0.1 * slope.sign()  # Adam's first step
still = all(torch.equal(p, q) for p, q in zip(net.parameters(), old, strict=True))

path = [torch.softmax(a, 0).detach().to(cfg.device) for a in theta]
F.cross_entropy(net(for_weights.images[:64], path), for_weights.labels[:64]).backward()
weights_optimizer.step()
print(f"first the weights held still: {still}")
print(f"then the logits held still: {all(a.grad is None for a in theta)}")
assert still and all(a.grad is None for a in theta), "one side moved in the other's turn"

# %% [markdown]
# ### Exercise 06.4: the step that learns from the wrong half
# *Difficulty 3 of 3, about 20 min; fault.* A search that mixes up its halves runs, converges and shows no error. Write
# a test that finds the fault. `step(w, a, own, held_out)` claims to return new weights and new logits: first
# `a − 0.1 · slope of loss(w, a, held_out)`, then `w − 0.1 · slope of loss(w, a, own)` with the *new* logits. Here
# `loss(w, a, batch)` is that of a toy supernet with three weights w and two logits a; a batch is (x, y) of shapes
# (n, 3) and (n,). Return whether the step is sound. The checker has one sound step and eight with a fault.
#
# <details><summary>Hint 1</summary>Make two batches that differ, w and a of your own, and take the sound step
# yourself, with <code>torch.autograd.grad</code>.</details>
# <details><summary>Hint 2</summary>Compare <em>both</em> results, with <code>torch.allclose</code>: some faults leave
# the logits right.</details>


# %% tags=["stub"]
def sound(step, loss):
    raise NotImplementedError


# %% tags=["solution"]
def sound(step, loss):
    w, a = torch.tensor([0.5, -1.0, 0.2]), torch.tensor([0.3, -0.4])
    make = torch.Generator().manual_seed(1)
    draw = [torch.randn(8, 4, generator=make) for _ in range(2)]
    own, held_out = [(batch[:, :3], batch[:, 3]) for batch in draw]

    def down(at, loss_at):
        """One step down the slope of a loss of one tensor."""
        free = at.clone().requires_grad_()
        return at - 0.1 * torch.autograd.grad(loss_at(free), free)[0]

    new_a = down(a, lambda a: loss(w, a, held_out))
    new_w = down(w, lambda w: loss(w, new_a, own))  # the new logits, and the weights' own half
    got_w, got_a = step(w, a, own, held_out)
    return torch.allclose(got_w, new_w, atol=1e-5) and torch.allclose(got_a, new_a, atol=1e-5)


# %% tags=["nbval-check-output"]
check_sound(sound)

# %% [markdown]
# ### The second order
#
# When the logits change, the best weights change with them. The simple step above ignores that; DARTS calls it the
# *first order*. The **second order** looks one step ahead. It takes the held-out loss *after* the weights have made a
# step of size ξ on their own half, and differentiates through that step:
#
# $$\nabla_\alpha L_\text{held out}\big(w - \xi \nabla_w L_\text{own}(w, \alpha),\ \alpha\big)$$
#
# From scratch, and by the package:


# %%
def look_ahead(net, path, own, held_out, xi):
    """The held-out loss after one step of the weights, differentiable in the path."""
    weights = {name: p for name, p in net.named_parameters() if p.requires_grad}
    run = torch.func.functional_call
    before = F.cross_entropy(run(net, weights, (own[0], path)), own[1])
    # create_graph keeps the step itself differentiable: that is the second derivative
    slopes = torch.autograd.grad(before, weights.values(), create_graph=True, allow_unused=True)
    pairs = zip(weights.items(), slopes, strict=True)
    stepped = {name: p if slope is None else p - xi * slope for (name, p), slope in pairs}
    return F.cross_entropy(run(net, stepped, (held_out[0], path)), held_out[1])


own, held_out = [(half.images[:64], half.labels[:64]) for half in (for_weights, for_logits)]
xi, task = GradientConfig(epochs=cfg.epochs, warmup_epochs=0).of_weights.lr, Classification(images)
path = [torch.softmax(a, 0).to(cfg.device) for a in theta]
ahead = {"by hand": look_ahead(net, path, own, held_out, xi)}
ahead["by the package"] = unrolled_loss(net, path, task, own, held_out, xi)
slopes = {}
for name, loss in ahead.items():
    slopes[name] = torch.cat(torch.autograd.grad(loss, theta, retain_graph=True))
    print(f"{name}: loss {loss.item():.5f}, first slopes {slopes[name][:3].numpy().round(5)}")
assert torch.allclose(*slopes.values(), atol=1e-5), "the two look-aheads differ"

# %% [markdown]
# What does looking ahead cost, and how much does it change the gradient? We time one gradient of the logits in each
# order, and compare the directions of both gradients by their cosine: 1 is the same direction, 0 a right angle.


# %%
def first_order():
    path = [torch.softmax(a, 0).to(cfg.device) for a in theta]
    return F.cross_entropy(net(held_out[0], path), held_out[1])


def second_order():
    path = [torch.softmax(a, 0).to(cfg.device) for a in theta]
    return unrolled_loss(net, path, task, own, held_out, xi)


ms, slope_of = {}, {}
for name, make in {"first order": first_order, "second order": second_order}.items():
    times = []
    for _ in range(7):  # the median of several: a single time depends on what else runs
        start = time.perf_counter()
        slope_of[name] = torch.cat(torch.autograd.grad(make(), theta))
        times.append(1000 * (time.perf_counter() - start))
    ms[name] = float(np.median(times))
cosine = float(F.cosine_similarity(*slope_of.values(), dim=0))
Markdown(
    f"One gradient of the logits takes {ms['first order']:.0f} ms in the first order and "
    f"{ms['second order']:.0f} ms in the second: "
    f"**{ms['second order'] / ms['first order']:.1f} times** as much. The cosine between "
    f"both is **{cosine:.3f}** on this batch, with ξ = {xi:g}, the learning rate of the "
    "weights. Section 7 runs a whole search in the second order."
)

# %% [markdown]
# ### Exercise 06.5: two passes in place of a second derivative
# *Difficulty 2 of 3, about 15 min.* DARTS's own code does not differentiate twice. What the second order needs is how
# the slope of the logits changes when the weights move along a vector v: the product of a matrix of second derivatives
# and v, $\nabla_w(\text{slope}(w)) \cdot v$. Two slopes give it up to a small error, taken at $w + \epsilon v$ and
# $w - \epsilon v$ with $\epsilon = 0.01 / \lVert v \rVert$. `slope(w)` returns the logits' gradient (n,) at the weights
# w (m,). Return the product (n,).
#
# <details><summary>Hint 1</summary>(slope(w + ε v) − slope(w − ε v)) / 2 ε</details>
# <details><summary>Hint 2</summary>The weights should move by 0.01 however long v is: divide by its length,
# <code>v.norm()</code>.</details>


# %% tags=["stub"]
def curvature(slope, w, v):
    raise NotImplementedError


# %% tags=["solution"]
def curvature(slope, w, v):
    epsilon = 0.01 / v.norm()
    return (slope(w + epsilon * v) - slope(w - epsilon * v)) / (2 * epsilon)


# %% tags=["nbval-check-output"]
check_curvature(curvature)

# %% [markdown]
# ## 5 · The searches
#
# The package searches with all relaxations through one function, `gradient_search`. With two gates it does what
# exercise 06.2 asks for after every step. Here are four searches on the same images, with the same seed:


# %%
def search(name, space, images, config, hardware=None, batch_size=64, seed=cfg.seed):
    """A search that goes on where it was stopped."""
    options = {"settings": config, "hardware": hardware, "seed": seed, "device": cfg.device}
    options["state"] = cfg.out_dir / f"{name.replace(' ', '-')}-{seed}.pt"
    task = Classification(images, batch_size=batch_size, seed=seed)
    with course.Bar(total=config.epochs, desc=name, unit="epoch") as bar:
        return gradient_search(space, task, progress=bar.show, **options)


schedule = {"epochs": cfg.epochs, "warmup_epochs": cfg.warmup_epochs, "arch_lr": cfg.arch_lr}
settings = {
    "softmax": GradientConfig("softmax", **schedule),
    "Gumbel": GradientConfig("gumbel", **schedule),  # its temperature falls from 5 to 0.5
    "gates": GradientConfig("gates", **schedule),
    "two gates": GradientConfig("two_gates", **schedule),
}
found = {name: search(name, space, images, config) for name, config in settings.items()}
pd.Series({name: r.seconds for name, r in found.items()}, name="seconds").round(1).to_frame()

# %% [markdown]
# **Probabilities over the epochs**: a row for each search, a column for each edge of the cell. Grey is no connection,
# orange a plain one (skip), blue a convolution.

# %%
histories = {name: [record["probabilities"] for record in r.history] for name, r in found.items()}
figures["probabilities"] = plots.probabilities(space, histories, xlabel="epoch")
figures["probabilities"]

# %% [markdown]
# The next figure has two panels. One shows how undecided the searches still are: the mean entropy of the
# probabilities, which is ln 3 = 1.10 where all three are equal. The other shows the true accuracy of the cell that is
# the most probable one after each epoch; the dotted line is the best cell of the table. During the warm-up all choices
# are equally probable. Then the first choice counts as the most probable one on every edge, which is *none*: a cell
# without any connection.


# %%
def true_accuracy(space, result):
    """The accuracy (%) of every epoch's most probable cell, from the table of trained cells."""
    return [truth.score(space.format(record["arch"])) for record in result.history]


best = truth.best()[1]
curves = {name: true_accuracy(space, result) for name, result in found.items()}
entropy = {name: [record["entropy"] for record in r.history] for name, r in found.items()}
panels = {"entropy (nats)": entropy, "true accuracy of the cell (%)": curves}
look = {"names": "ylabel", "share": "", "xlabel": "epoch"}
figures["searches"] = plots.lines(panels, **look).guide(y=[float("nan"), best])
figures["searches"]

# %% [markdown]
# The cells that the searches end with:

# %%
skip = operations.index("skip_connect")
rows = {}
for name, r in found.items():
    edges = " ".join(operations[i].split("_")[0] for i in r.best)
    rows[name] = {"edges": edges, "true accuracy": curves[name][-1]}
    rows[name] |= {"regret": best - curves[name][-1], "skips": sum(i == skip for i in r.best)}
table = pd.DataFrame.from_dict(rows, "index")
table.round(2)

# %% [markdown]
# How good are they among all 729 cells?

# %%
scores = truth.scores("test")
beaten = {n: float((scores < value).mean()) for n, value in table["true accuracy"].items()}
Markdown(
    f"The best cell of the table has {best:.1f} %, the median one {scores.median():.1f} %. "
    + "; ".join(f"**{name}** beats {share:.0%} of all cells" for name, share in beaten.items())
    + ". This is one seed each, so it does not say which method is best. Section 9 takes several "
    "seeds for one of them."
)

# %% [markdown]
# ### Who does what
#
# Most published gradient searches differ in the weights of an operation, and in what they add to make the search
# cheaper or its result more reliable. All figures are the authors' own, from different GPUs and different spaces; they
# were not checked here. Test errors are on CIFAR-10.
#
# | method | weights of an operation | what it adds | search | test error |
# |---|---|---|---|---|
# | DARTS, first order (ICLR 2019) | softmax | weights and logits on two halves | 1.5 GPU days | 3.00 % |
# | DARTS, second order | softmax | looks one step of the weights ahead | 4 GPU days | 2.76 % |
# | P-DARTS (ICCV 2019) | softmax | three stages, at most two skips | 0.3 GPU days | 2.50 % |
# | GDAS (CVPR 2019) | hard Gumbel (exercise 06.1) | one operation runs on each edge | 4 GPU hours | 2.82 % |
# | PC-DARTS (ICLR 2020) | softmax | a quarter of the channels is mixed | 0.1 GPU days | 2.57 % |
# | FBNet (CVPR 2019) | Gumbel softmax, annealed | a latency table in the loss | 216 GPU hours | (ImageNet) |
# | ProxylessNAS (ICLR 2019) | gates or REINFORCE | two at a time; latency in the loss | 200 GPU hours | (ImageNet) |
#
# - DARTS searches with 8 cells and builds 20. What is good in the shallow network need not be good in the deep one. So
#   **P-DARTS** searches with 5, then 11, then 17 cells, and tries fewer operations at each stage: 8, then 5, then 3. It
#   also switches skips off at random (dropout), and keeps at most two in a cell.
# - **GDAS** and **PC-DARTS** save memory. In PC-DARTS three quarters of the channels bypass the operations. It also
#   learns a weight for each edge, which makes the choice of edges steadier.
#
# Of these the package has softmax in both orders, Gumbel softmax and gates.

# %% [markdown]
# ## 6 · Whose gradient is right?
#
# For one decision the slope of the expected loss can be computed exactly: for logit $i$ it is $p_i (L_i - J)$, the
# probability times how much worse than the mean the operation is. We take one edge of a trained supernet, with a
# convolution on all other edges. First the exact slope:

# %%
supernet = found["gates"].supernet.train()
edge, conv = 3, operations.index("conv_3x3")
x, y = for_logits.images[:128], for_logits.labels[:128]
alpha = torch.zeros(3)


def loss_of(entry):
    """The loss when an edge gets this entry, an index or weights."""
    path = [conv] * edge + [entry] + [conv] * (len(space.choices) - edge - 1)
    return F.cross_entropy(supernet(x, path), y)


with torch.no_grad():
    alone = torch.stack([loss_of(i) for i in range(3)]).cpu()
exact = softmax(alpha) * (alone - softmax(alpha) @ alone)
pd.DataFrame({"loss alone": alone, "exact slope": exact}, index=operations).astype(float).round(4)

# %% [markdown]
# Seven estimators are to be compared: softmax, Gumbel softmax (at two temperatures), gates, two gates, and REINFORCE
# without and with a baseline. The *noise* of an estimator is the spread of its gradients from draw to draw. Before you
# see it: which of these four is the noisiest?

# %%
NOISY = ["Gumbel, T = 5", "gates", "two gates", "REINFORCE, no baseline"]
guess = course.predict("Which of these estimators is the noisiest?", NOISY)

# %% [markdown]
# Every estimator now gives its gradient many times. The relaxations differentiate through the supernet. REINFORCE does
# not: it needs the loss of the drawn operation alone. Its baseline is the mean of the losses drawn before. The first
# twenty draws only serve to find that mean.


# %%
def estimate(relax, draws):
    """Gradients (draws, choices) of the loss with respect to the logits of one edge."""
    generator, rows = seeded(), []
    for _ in range(draws):
        free = alpha.clone().requires_grad_()
        (entry,) = relax([free], generator)
        rows.append(torch.autograd.grad(loss_of(entry), free)[0].numpy())
    return np.array(rows)


estimators = {
    "softmax": lambda a, g: sampling.softmax(a),
    "Gumbel, T = 5": lambda a, g: sampling.gumbel_softmax(a, 5.0, g),
    "Gumbel, T = 0.5": lambda a, g: sampling.gumbel_softmax(a, 0.5, g),
    "gates": sampling.binary_gates,
    "two gates": lambda a, g: sampling.binary_gates(a, g, "two"),
}
times = {"softmax": 1}  # it is the same every time
gradients = {n: estimate(relax, times.get(n, cfg.draws)) for n, relax in estimators.items()}
drawn = softmax(alpha).multinomial(20 + cfg.draws, replacement=True, generator=seeded())
mean_before = (alone[drawn].cumsum(0) - alone[drawn]) / torch.arange(len(drawn)).clamp(min=1)
baselines_of = {"REINFORCE, no baseline": 0 * mean_before, "REINFORCE": mean_before}
for name, baselines in baselines_of.items():
    rows = [reinforce_once(alpha, i, alone[i], b) for i, b in zip(drawn, baselines, strict=True)]
    gradients[name] = torch.stack(rows)[20:].numpy()
print({name: len(rows) for name, rows in gradients.items()})

# %% [markdown]
# The figure has a panel for each operation. The dashed line is the exact slope. A marker is the mean of an estimator's
# gradients, its bar one standard deviation to either side. A long bar is *noise*. A marker off the line may be *bias*,
# or chance: the mean of $n$ draws is uncertain by the noise divided by $\sqrt n$. The unit is the mean size of the
# three exact slopes. REINFORCE without a baseline is left out of the figure, because its bars would make all others too
# short to see. It is in the table below.

# %%
size = float(exact.abs().mean())  # the unit
panels, drawable = {}, {n: g / size for n, g in gradients.items() if n != "REINFORCE, no baseline"}
for k, operation in enumerate(operations):
    panels[operation] = {"": {n: plots.Interval.around(g[:, k]) for n, g in drawable.items()}}
figures["estimators"] = plots.dots(panels, xlabel="slope (unit: mean exact slope)")
figures["estimators"].guide(x=(exact / size).tolist(), linestyle="--")
figures["estimators"]

# %% [markdown]
# The same in numbers and in the same unit. `chance` is about how far off an unbiased estimator with this noise would be
# after as many draws. We say that a bias is shown where it is more than three times that.

# %%
rows = {}
for name, g in gradients.items():
    noise = float(g.std(0).mean()) / size
    bias = float(np.abs(g.mean(0) - exact.numpy()).mean()) / size
    chance = noise / len(g) ** 0.5  # how far off a mean of so many draws is
    shown = "shown" if bias > 3 * chance else "not shown"
    rows[name] = {"bias": bias, "noise": noise, "chance": chance, "a bias is": shown}
comparison = pd.DataFrame.from_dict(rows, "index")
comparison.round(2)

# %% [markdown]
# And your prediction:

# %%
noise = comparison["noise"]
noisiest = noise[NOISY].idxmax()
# precision grows with the square root of the number of draws
factor = noise["REINFORCE, no baseline"] / noise["REINFORCE"]
guess.came(
    noisiest,
    f"Its noise is {noise[noisiest]:.1f} times the mean size of the slopes. REINFORCE without a "
    f"baseline has {factor:.1f} times the noise that it has with one, so it needs "
    f"{factor**2:,.0f} times as many draws for a mean that is as precise.",
)

# %% [markdown]
# What this says:

# %%
# REINFORCE is left out: theory says what it is
biased = [n for n in estimators if comparison.loc[n, "a bias is"] == "shown"]
quiet = [n for n in estimators if n not in biased]
Markdown(
    f"With {cfg.draws} draws a bias is shown for: **{', '.join(biased) or 'none'}**"
    + (f"; not for {', '.join(quiet)}" if quiet else "")
    + ". **REINFORCE has no bias, by its derivation**, with and without a baseline. Softmax has "
    "no noise, but it descends on another function: the loss of a mixture that nobody will "
    "build. The gradient of a gate is a linear guess at what happens when one operation is "
    "switched for another. Neither number says which estimator is best for a search: one with a "
    "small bias and little noise may find a good cell sooner than one with no bias and much noise."
)

# %% [markdown]
# ## 7 · Collapse onto skip
#
# This is the best-known failure of gradient search: when it runs for long, it may fill the cell with skip connections.
# A skip needs no training and lets gradients through, so it helps the *mixture* from the first step. That says little
# about the cell that is built in the end. We call it a collapse when more than three of the six edges end as a skip.
# Did it happen above?

# %%
collapsed = table.index[table["skips"] > 3].tolist()
told = ", ".join(f"{skips} ({name})" for name, skips in table["skips"].items())
Markdown(
    f"The searches above end with so many skips: {told}. So it happened to "
    f"**{', '.join(collapsed) or 'none of them'}**."
)

# %% [markdown]
# Now we try to provoke it, with **few images**, a **long** search, and only skip and convolution to choose from. We
# expect this: the weights soon know the few images by heart. Then a convolution that fits one half of the images helps
# little on the other half, and a skip does no harm there.
#
# Everything else is as before. The network is as deep as those of the table, so the table holds the true accuracy of
# every cell that may come out.

# %%
two_operations = {"operations": ["skip_connect", "nor_conv_3x3"]}
pair_space = spaces.create("nasbench201", **truth.space_options | two_operations)
few = data.classification(split="train", size=cfg.crowd_size, **truth.task).to(cfg.device)
long = GradientConfig(epochs=cfg.crowd_epochs, warmup_epochs=0, arch_lr=0.05)
crowds = {}
for s in range(cfg.seed, cfg.seed + cfg.crowd_seeds):
    crowds[f"seed {s}"] = search("crowd", pair_space, few, long, batch_size=32, seed=s)


def skips_of(result):
    """Skips in every epoch's most probable cell; an edge where both tie counts as none."""
    return [sum(p[0] > p[1] for p in record["probabilities"]) for record in result.history]


panels = {"skips in the cell (of 6)": {name: skips_of(r) for name, r in crowds.items()}}
panels["true accuracy (%)"] = {name: true_accuracy(pair_space, r) for name, r in crowds.items()}
figures["crowds"] = plots.lines(panels, **look)
figures["crowds"]

# %% [markdown]
# Now edge by edge, the search that ends with the most skips. Orange is the probability of skip, blue that of the
# convolution:

# %%
ends_with = {name: skips_of(r)[-1] for name, r in crowds.items()}
worst = max(ends_with, key=ends_with.get)
untreated = crowds[worst]
histories = {"left alone": [record["probabilities"] for record in untreated.history]}
colours = plots.OPERATIONS[1:]
figures["collapse"] = plots.probabilities(pair_space, histories, colours=colours, xlabel="epoch")
figures["collapse"]

# %% [markdown]
# Do the losses of the mixture warn of it? One is measured on the images of the weights, one on the held-out images.

# %%
fell = [n for n, skips in ends_with.items() if skips > 3]
provoked = "" if fell else " So the collapse could not be provoked here."
held_out_loss = [record["arch_loss"] for record in untreated.history]
trained_from, trained_to = (untreated.history[i]["total"] for i in (0, -1))
rose = held_out_loss[-1] > 1.05 * min(held_out_loss)  # less may be chance
warned = "It rose again by more than 5 %, a warning" if rose else "It gives no warning"
Markdown(
    f"**{len(fell)} of {len(crowds)}** searches end with more than three skips (the numbers of "
    f"skips: {', '.join(map(str, ends_with.values()))}).{provoked} In the search of the last "
    f"figure ({worst}) the training loss of the mixture went from {trained_from:.2f} to "
    f"{trained_to:.2f}. The held-out loss, on which the logits descend, went from "
    f"{held_out_loss[0]:.2f} to {held_out_loss[-1]:.2f}; its lowest was {min(held_out_loss):.2f}. "
    f"{warned}."
)

# %% [markdown]
# ### Four remedies
#
# - **Limit the skips.** `gradient_search` takes a function of the loss and the probabilities, and descends on what that
#   function returns. Ours adds $(s - 2)^2$ to the loss where $s$, the expected number of skips, is above two.
# - **Look ahead.** This is the second order of section 4.
# - **Stop in time.** DARTS+ stops once a cell has two or more skips. We allow two, and take the most probable
#   cell of the last epoch before a third one appears.
# - **Keep two.** P-DARTS lets the search end, and then keeps the two most probable skips of a cell. Here the other
#   edges get a convolution.
#
# ### Exercise 06.6: stop in time
# *Difficulty 2 of 3, about 15 min; design.* Design the rule of the third remedy. `skip` (epochs, edges) holds the
# probability of skip on every edge after every epoch; the only other choice is a convolution. Return how many epochs to
# run. The cell that comes out must have at most two skips, and the rule must
#
# - go on as long as there are at most two skips, to the end if there are never more;
# - decide after each epoch from what was seen until then;
# - not count a tie as a skip (during a warm-up all edges are ties).
#
# <details><summary>Hint 1</summary>An edge takes skip where its probability is above 0.5.</details>
# <details><summary>Hint 2</summary>Look for the <em>first</em> epoch with more than two skips, and return how many
# epochs came before it. There may be fewer skips again later, but a search that was stopped does not learn of
# it.</details>


# %% tags=["stub"]
def stop(skip):
    raise NotImplementedError


# %% tags=["solution"]
def stop(skip):
    for epoch, row in enumerate(skip):
        if (row > 0.5).sum() > 2:
            return epoch  # so many epochs came before
    return len(skip)


# %% tags=["nbval-check-output"]
check_stop(stop)

# %% [markdown]
# The first two remedies need searches of their own. We run them with the seed of the search that ended with the most
# skips:


# %%
def crowd(task, path, allowed=2.0):
    """The task loss plus a term that grows with the expected number of skips above `allowed`."""
    return task + torch.relu(sum(weights[0] for weights in path) - allowed) ** 2


ahead = GradientConfig(epochs=cfg.crowd_epochs, warmup_epochs=0, arch_lr=0.05, second_order=True)
again = {"batch_size": 32, "seed": int(worst.removeprefix("seed "))}
treated = {"left alone": untreated}
treated["limited"] = search("limited", pair_space, few, long, crowd, **again)
treated["second order"] = search("ahead", pair_space, few, ahead, **again)
panels = {"skips in the cell (of 6)": {name: skips_of(r) for name, r in treated.items()}}
panels["true accuracy (%)"] = {n: true_accuracy(pair_space, r) for n, r in treated.items()}
figures["remedies"] = plots.lines(panels, **look)
figures["remedies"]

# %% [markdown]
# The other two only read the search that was left alone. One takes an earlier epoch:


# %%
crowded = [n > 2 for n in skips_of(untreated)]
stop_at = crowded.index(True) if True in crowded else len(crowded)  # epochs before the first crowd
print(f"{stop_at} of {len(crowded)} epochs pass before a cell has more than two skips")

# %% [markdown]
# The other one changes the cell at the end:


# %%
def keep_two(probabilities):
    """The two most probable skips, as far as they are more probable than a convolution."""
    skip = torch.tensor([p[0] for p in probabilities])
    kept = [i for i in skip.topk(2).indices.tolist() if skip[i] > 0.5]
    return tuple(0 if i in kept else 1 for i in range(len(skip)))


two_kept = keep_two(untreated.history[-1]["probabilities"])
for name, arch in {"left alone": untreated.best, "two kept": two_kept}.items():
    print(f"{name}: {' '.join(('skip', 'conv')[i] for i in arch)}")

# %% [markdown]
# Here are all four, beside a random cell and the best cell of this space of 64:


# %%
def judged(arch):
    """The true accuracy of a cell and its skips."""
    return [scores[pair_space.format(arch)], list(arch).count(0)]


rows = {name: judged(r.best) for name, r in treated.items()}
rows["stopped in time"] = [None, None]
if stop_at:
    rows["stopped in time"] = judged(untreated.history[stop_at - 1]["arch"])
rows["two kept"] = judged(two_kept)
every_cell = [judged(arch) for arch in itertools.product((0, 1), repeat=6)]
rows["a random cell, on average"] = np.mean(every_cell, axis=0)
rows["the best cell"] = max(every_cell)
remedies = pd.DataFrame.from_dict(rows, "index", columns=["true accuracy (%)", "skips"])
remedies = remedies.astype(float)
remedies.round(1)

# %% [markdown]
# In words:

# %%
final = remedies["true accuracy (%)"]
own, chance = final["left alone"], final["a random cell, on average"]
remedied = ("limited", "second order", "stopped in time", "two kept")
helped = [n for n in remedied if final[n] > own + 1]  # less than a point may be chance
stopped = f"The search was to be stopped after epoch {stop_at} of {cfg.crowd_epochs}."
if stop_at == cfg.crowd_epochs:
    stopped = "The search never had more than two skips, so the stop changes nothing."
if not stop_at:
    stopped = "It could not be stopped in time: its first epoch ended with more than two skips."
ratio = treated["second order"].seconds / untreated.seconds
Markdown(
    f"Left alone, the search ends with a cell of **{own:.1f} %**. Better by more than a point: "
    f"**{', '.join(helped) or 'none of the remedies'}**. {stopped} The second order "
    f"took {ratio:.1f} times as long as the first. A random cell of this space has "
    f"{chance:.1f} % on average: a remedy that ends below that found nothing. This is one seed, "
    "and the one with the most skips, for which almost any change would look like a remedy. So "
    "it does not say which one is best."
)

# %% [markdown]
# More images may be a remedy, too: try `-p crowd_size=1000`.
#
# ## 8 · A network for a budget
#
# The function that limited the skips can do more: it can make the search heed a cost. A lookup table holds the cost
# of every choice. The *expected* cost $E$ under the probabilities is a smooth function of the logits. So
# $w \,(E/\text{target} - 1)^2$, added to the loss, pulls $E$ to a target; here $w = 10$. We try it on another space,
# FBNet's blocks in a small version, and count multiply-accumulates (MACs):

# %%
blocks = spaces.create("fbnet", **spaces.COURSE | {"input_size": 16})
digits = {"image_size": 16, "size": cfg.train_size // 2, "distortion": 1.0}
large_digits = data.classification("digits", "train", **digits).to(cfg.device)
macs = tables.LookupTable.build(blocks, "macs")
low, high = macs.bounds()
shares = {"tight": 0.25, "loose": 0.75}
targets = {name: low + share * (high - low) for name, share in shares.items()}
print(f"from {low:,.0f} to {high:,.0f} MACs; targets {[f'{t:,.0f}' for t in targets.values()]}")

# %% [markdown]
# The term by hand, for equal probabilities and the tight target, and by the package's `Budget`, on top of a task loss
# of 0:

# %%
undecided = sampling.softmax(sampling.uniform_logits(blocks.choices))
pull = tables.losses.create("squared", weight=10.0)
limits = {name: tables.Budget([(macs, target, pull)]) for name, target in targets.items()}
by_hand = 10.0 * (float(macs.expected(undecided)) / targets["tight"] - 1) ** 2
package = float(limits["tight"](0.0, undecided))
print(f"{by_hand:.5f} by hand, {package:.5f} by the package")
assert abs(package / by_hand - 1) < 1e-4, "the terms differ"

# %% [markdown]
# Now two searches, one for each target. The figure shows the expected MACs after every epoch, in percent of the target:


# %%
def expected(result, target):
    """The expected MACs after every epoch, in percent of the target."""
    paths = [[torch.tensor(p) for p in record["probabilities"]] for record in result.history]
    return [100 * float(macs.expected(path)) / target for path in paths]


warm = min(1, cfg.budget_epochs - 1)
pressed = GradientConfig("gates", epochs=cfg.budget_epochs, warmup_epochs=warm, arch_lr=0.3)
priced = {}
for name, limit in limits.items():
    priced[name] = search(name, blocks, large_digits, pressed, limit, batch_size=32)
curves_of = {name: expected(result, targets[name]) for name, result in priced.items()}
labels = {"xlabel": "epoch", "ylabel": "expected MACs (% of the target)"}
figures["budget"] = plots.lines(curves_of, **labels).guide(y=(97, 103), label="target ± 3 %")
figures["budget"]

# %% [markdown]
# The expected MACs may end outside the band, and the most probable network may cost more or less than expected. So
# `derive` takes the most probable network *among those within 3 % of the target*. Notebook 11 says how.

# %%
derived = {n: tables.derive(result.path, macs, targets[n]) for n, result in priced.items()}
assert all(abs(d.cost / d.target - 1) <= 0.03 for d in derived.values()), "a derived network misses"
columns = ["target", "expected", "argmax_cost", "cost"]
costs = pd.DataFrame({name: vars(d) for name, d in derived.items()}).T[columns].astype(float)
costs.rename(columns={"argmax_cost": "most probable", "cost": "derived"}).round(0)

# %% [markdown]
# ## 9 · The verdict: against random at equal cost
#
# What does a search buy? To compare at equal cost, we count MACs. In every epoch a search with gates passes half of
# the images through one operation per edge, for the weights. After the warm-up it also passes the other half through
# *all* operations, for the logits. Random search spends as many MACs on whole cells: it trains random cells for 3
# epochs each, and keeps the one with the best validation accuracy. The table holds these short trainings, so we can
# repeat random search 300 times for every seed. Both are judged by the true accuracy of the cell that they end with.

# %%
second_guess = course.predict(
    "At equal cost, whose cells are truly better?",
    ["gates", "random search", "no difference that the seeds show"],
)

# %% [markdown]
# First the searches with gates, one for each seed:

# %%
seeds = range(cfg.seed, cfg.seed + cfg.seeds)
by_gates = {s: search("gates", space, images, settings["gates"], seed=s) for s in seeds}
gates_find = {s: truth.score(space.format(r.best)) for s, r in by_gates.items()}
cells_found = [space.format(r.best) for r in by_gates.values()]
print(f"{len(set(cells_found))} different cells in {cfg.seeds} searches")
pd.Series(gates_find, name="true accuracy (%)").rename_axis("seed").round(2).to_frame()

# %% [markdown]
# How many random cells can be trained for the price of such a search?

# %%
cell_macs = tables.LookupTable.build(space, "macs")
average = np.mean([cell_macs(space.parse(text)) for text in scores.index])
dearest = cell_macs.bounds()[1]  # a step of the logits runs all operations: nearly this
learning = cfg.epochs - cfg.warmup_epochs  # epochs in which the logits learn
of_search = cfg.train_size / 2 * (cfg.epochs * average + learning * dearest)
of_training = 3 * truth.meta["training"]["images"] * average
trained = min(len(scores), max(1, int(of_search / of_training)))
Markdown(
    f"A search costs as much as **{of_search / of_training:.1f}** trainings of 3 epochs. So random "
    f"search trains **{trained} cell{'s' * (trained > 1)}** (one at least)."
)

# %% [markdown]
# Now random search with the same seeds. Each seed gives a pair, and its difference is the lead of gates.
# `ranking.paired` gives the mean lead and its 95 % interval (Student's t).


# %%
def random_finds(seed, tries=300):
    """The mean true accuracy of random search's pick."""
    rng = np.random.default_rng(seed)
    early = truth.scores("val", epochs=3, seed=truth.seeds[seed % len(truth.seeds)]).to_numpy()
    drawn = [rng.choice(len(early), trained, replace=False) for _ in range(tries)]
    return float(np.mean([scores.iloc[some[early[some].argmax()]] for some in drawn]))


both = pd.DataFrame({"gates": gates_find, "random search": {s: random_finds(s) for s in seeds}})
both.round(2)

# %% [markdown]
# Longer searches of more seeds were compared in the same way once, and stored (`datasets/verdicts.py`). In the figure
# both are seen, and the dotted line is the best cell of the table.

# %%
(stored,) = json.loads((benchmark.FOLDER / "verdicts.json").read_text())["06_gradient_search"]
long, longer = stored["parameters"], pd.DataFrame(stored["verdict"]["pairs"]).T
frames = {f"here, {cfg.epochs} epochs": both, f"stored, {long['epochs']} epochs": longer}
panels = {title: {"": frame.to_dict("list")} for title, frame in frames.items()}
figures["verdict"] = plots.dots(panels, xlabel="true accuracy of the cell (%)")
figures["verdict"].guide(x=best, label="the best of the table")
figures["verdict"]

# %% [markdown]
# The verdict names a winner only if the interval leaves out 0 and there are at least three seeds. First the stored
# result, then your prediction, which is answered by what ran here:


# %%
def verdict(pairs, epochs, trained):
    """Who is ahead, if the seeds show it; and a sentence with the numbers."""
    lead = ranking.paired(pairs["gates"], pairs["random search"])
    ahead = "no difference that the seeds show"  # who claims one must show it
    if len(pairs) >= 3 and (lead.low > 0 or lead.high < 0):
        ahead = "gates" if lead.low > 0 else "random search"
    told = (
        f"The mean lead of gates is {lead.value:+.2f} points (95 % interval {lead.low:+.2f} to "
        f"{lead.high:+.2f}, {len(pairs)} seed{'s' * (len(pairs) > 1)}), at {epochs} epochs a "
        f"search. Their cells have {pairs['gates'].mean():.1f} % on average, those of random "
        f"search, which tries {trained} of {len(truth)} cells, "
        f"{pairs['random search'].mean():.1f} %. The best of the table has {best:.1f} %."
    )
    return ahead, told


ahead, told = verdict(longer, long["epochs"], stored["verdict"]["trained"])
Markdown(f"Stored: **{ahead}**. {told}")

# %%
ahead, told = verdict(both, cfg.epochs, trained)
few = " Fewer than three seeds name no winner." * (cfg.seeds < 3)
second_guess.came(ahead, f"{told}{few} All this says nothing about a larger space.")

# %% [markdown]
# ## Summary
#
# - A relaxation turns a choice into weights. Softmax mixes all operations, Gumbel softmax draws mixtures, gates draw
#   one operation.
# - Weights and logits learn from different images, in turn. The second order looks one step of the weights ahead; every
#   step of the logits then takes longer.
# - Softmax descends on the loss of the mixture, which is another function. Gumbel softmax and gates have bias and
#   noise. REINFORCE has no bias, and a baseline lowers its noise.
# - A long search on few images may fill the cell with skips. Watch the number of skips: the losses need not tell.
# - A function of the loss and the probabilities adds costs and other wishes to the search. The derived network meets
#   the budget; the expected cost need not.
#
# **Pitfalls**
#
# - *"None" among the choices.* It costs a mixture little, and may cut the derived cell in two. DARTS leaves it out when
#   it derives a cell.
# - *Raw logits in a cost term.* Costs must be weighted by probabilities: logits may be negative, and do not sum to 1.
# - *A temperature that stays high.* The weights are then trained for mixtures only, and never for a single network.
# - *Ties at the start.* While no logit has moved, argmax takes the first choice everywhere. That is no decision.
# - *One seed.* Another seed may end with another cell. The curves of section 5 are one seed each.
#
# **Further reading**
#
# - Liu, Simonyan, Yang, *DARTS: Differentiable Architecture Search*, ICLR 2019
# - Wu et al., *FBNet: Hardware-Aware Efficient ConvNet Design via Differentiable Neural Architecture Search*, CVPR 2019
# - Cai, Zhu, Han, *ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware*, ICLR 2019; section
#   3.3.2 is about REINFORCE
# - Dong and Yang, *Searching for a Robust Neural Architecture in Four GPU Hours* (GDAS), CVPR 2019
# - Chen et al., *Progressive Differentiable Architecture Search: Bridging the Depth Gap* (P-DARTS), ICCV 2019
# - Xu et al., *PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search*, ICLR 2020
# - Jang, Gu, Poole, *Categorical Reparameterization with Gumbel-Softmax*, ICLR 2017
# - Williams, *Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning*, 1992
# - Collapse: Zela et al., *Understanding and Robustifying Differentiable Architecture Search*, ICLR 2020
# - Early stopping: Liang et al., *DARTS+: Improved Differentiable Architecture Search with Early Stopping*, 2019

# %%
course.finish(
    cfg,
    summary=table.round(4),  # where the searches of section 5 end
    figures=figures,
    results={
        "searches": table.to_dict("index"),
        "true_accuracy": curves,
        "estimators": comparison.to_dict("index"),
        "second_order": {"times_as_long": ratio, "cosine": cosine},
        "collapse": remedies.to_dict("index"),
        "skips": {name: skips_of(r) for name, r in (crowds | treated).items()},
        "macs": costs.to_dict("index"),
        "verdict": {"trained": trained, "pairs": both.to_dict("index")},
    },
)
