# %% [markdown]
# # Zero-cost proxies
#
# What an untrained network tells about its later accuracy, how such scores break, and how well they rank.
#
# Training a network shows how good it is, but takes minutes to days. A **zero-cost proxy** is a score of the
# *untrained* network. It needs one batch of images or none, and takes milliseconds. More than twenty have been
# published. Most are a few lines of code, and many public versions of these lines are wrong. Here you build seven from
# scratch, one of them by yourself. Then you break them on purpose. In the end you judge them against trained networks,
# beside the simplest score of all: the number of parameters.
#
# **Afterwards you can**
#
# 1. write SNIP, GraSP, SynFlow, NASWOT, the Jacobian covariance and the Zen-score in a few lines each;
# 2. say what each of them needs, what it costs and what it cannot see;
# 3. find a fault in a proxy by an experiment, without reading its code;
# 4. compare proxies in pairs, with intervals, and also among the good networks, where a search chooses;
# 5. test whether several proxies together know more than one.
#
# **You need** PyTorch's `autograd`, and Spearman's rank correlation ρ (notebook 05).
#
# **Two sittings.** This notebook is too long for one.
#
# | sitting | sections | exercises | time |
# |---|---|---|---|
# | first | 1 to 3: what a proxy looks at; seven of them from scratch | 08.1 to 08.3 | about an hour |
# | second | 4 to 8: break them, judge them, combine them | 08.4 to 08.6 | about an hour and a half |
#
# To start the second sitting in a fresh kernel, select its heading and choose *Run All Above Selected Cell* in the menu
# *Run*. Sections 1 to 3 then run within seconds. A part marked *(optional)* can be skipped: no exercise needs it.
#
# | preset | what it runs | time, two CPU cores |
# |---|---|---|
# | `smoke` | 4 proxies on 24 networks: only proves that every cell works | about a minute |
# | `quick` | 12 proxies on 205 networks, 3 initialisations each | 4 minutes, beside other work |
# | `full` | 20 proxies, 5 initialisations | not measured |
# | `gpu` | the same on a GPU; networks this small gain little | not measured |

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu; it sets every parameter below that is None
benchmark: str = None  # table of trained architectures, the truth
data_root: str = None  # folder that holds nb201; None: the one that NASEDU_DATA names, if any
proxies: list[str] = None  # which to judge in section 5; te_nas and az_nas are possible, too
cells: int = None  # how many of the 205 different trainings to judge them on
seeds: int = None  # initialisations of every network
batch_size: int = None  # images that a proxy sees
top: float = None  # share of the networks that counts as the top
resamples: int = None  # of every bootstrap interval
splits: int = None  # halves of the pool, in section 7, on which a pair is chosen and then judged
trees: int = None  # of every random forest in section 7
timed_cells: int = None  # networks on which each proxy is timed
depths: list[int] = None  # layers of the chains that section 4 trains, ascending
depth_epochs: int = None  # passes over the 1,000 images for each of them
depth_seeds: int = None  # trainings of each of them
threads: int = None  # CPU threads
seed: int = None  # of every random choice
device: str = None  # auto, cpu, cuda, cuda:1 ...
out_dir: str = None  # folder of the results; None: one per set of parameters

# %%
import copy
import itertools
import math
import os
import time

import nbformat
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown, display
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import KFold
from torch import nn
from torch.nn import functional as F

from nasedu import course, data, errors, plots, ranking, spaces
from nasedu import proxies as zero_cost
from nasedu.course import places
from nasedu.course.checks.proxies import (
    check_copies,
    check_faults,
    check_flow,
    check_identify,
    check_snip,
    check_turned,
)
from nasedu.data import benchmark as benchmarks
from nasedu.ranking import combine, difference, spearman

known = [*zero_cost.names(), *ranking.COMPOSITES]
choices = {"benchmark": benchmarks.STORED, "proxies": known}  # so a wrong name costs seconds
cfg = course.setup("08_zero_cost_proxies", globals(), choices=choices)
cfg

# %% [markdown]
# Values that cannot work are refused here, before anything runs.

# %%
limits = {"cells": (20, 10**6), "seeds": (1, 50), "batch_size": (12, 128), "threads": (1, 256)}
limits |= {"resamples": (20, 10_000), "splits": (2, 1000), "trees": (1, 1000)}
limits |= {"timed_cells": (1, 50), "depth_epochs": (1, 1000), "depth_seeds": (1, 50)}
for name, (least, most) in limits.items():
    errors.check_whole(name, getattr(cfg, name), least, most)
errors.check_number("top", cfg.top, 0, 0.5, above=True)
if len(cfg.depths) < 2 or sorted({*cfg.depths, 1, 128}) != [1, *cfg.depths, 128]:
    raise errors.ParameterError(f"depths must be two or more, rising, 2 to 127, got {cfg.depths}")
wanted = [name for name in dict.fromkeys(cfg.proxies) if name not in ("params", "macs", "random")]
if len(wanted) < 2:  # those three are judged in any case, as baselines
    raise errors.ParameterError(f"proxies must name two beside the baselines, got {cfg.proxies}")
if cfg.data_root:  # a folder that was named must hold the file
    benchmarks.nasbench201(cfg.data_root)
torch.set_num_threads(cfg.threads)
print(f"{len(wanted)} proxies, {cfg.cells} cells or fewer, {cfg.seeds} initialisations of each")

# %% [markdown]
# # First sitting
#
# ## 1 · Can you tell before training?
#
# This is the space of notebooks 00 and 07: cells of six edges, on real digits of 8 by 8 pixels. This project has
# trained every cell with three seeds. Here are four of them, as graphs from input to output. A dotted edge carries
# nothing. Networks A and C have equally many parameters.

# %%
bench = benchmarks.load(cfg.benchmark)
space = spaces.create("nasbench201", **bench.space_options)
truth = bench.scores("test")[bench.distinct]  # cells that train to the same digit count once
none, skip, conv = space.operations
four = {
    "A": f"|{conv}~0|+|{conv}~0|{none}~1|+|{skip}~0|{skip}~1|{conv}~2|",
    "B": f"|{conv}~0|+|{skip}~0|{skip}~1|+|{skip}~0|{skip}~1|{skip}~2|",
    "C": f"|{conv}~0|+|{none}~0|{conv}~1|+|{none}~0|{none}~1|{conv}~2|",
    "D": f"|{skip}~0|+|{none}~0|{skip}~1|+|{skip}~0|{skip}~1|{skip}~2|",
}
archs = {name: space.parse(text) for name, text in four.items()}
figures = {"four": plots.cells(space, archs, columns=2)}
figures["four"]

# %% [markdown]
# Which one is best after training? Choose before you read on.

# %%
guess = course.predict("Which of the four cells is best after training?", [*four])

# %% [markdown]
# The simplest score without training is the **number of parameters**. Every grey dot is a network; dots in one column
# have equally many convolutions.

# %%
params = bench.frame.params[truth.index]
marks = {name: (params[text], truth[text]) for name, text in four.items()}
look = {"xlabel": "parameters", "ylabel": "test accuracy (%)"}
figures["params"] = plots.landscape(params, truth, marks, **look)
figures["params"]

# %% [markdown]
# The answer, and what the number of parameters has to do with it:

# %%
accuracy = {name: truth[text] for name, text in four.items()}
guess.came(
    max(accuracy, key=accuracy.get),
    f"A and C have the same size, and A is {accuracy['A'] - accuracy['C']:.0f} points better. "
    f"B has {params[four['B']] / params[four['C']]:.0%} of C's parameters, and is "
    f"{accuracy['B'] - accuracy['C']:.0f} points better. The number of parameters shows neither.",
)

# %% [markdown]
# A proxy is worth its time only if it sees more than the number of parameters. It can ask an untrained network four
# kinds of questions:
#
# - **Gradients**: do the weights matter to the loss? (gradient norm, SNIP, GraSP, Fisher)
# - **Paths**: how much can flow from input to output, whatever the data? (SynFlow)
# - **Codes**: do different images switch different ReLUs on? (NASWOT)
# - **Sensitivity**: does the output react to each image differently? (Jacobian covariance) How strongly does it react
#   to a small change? (Zen-score)
#
# Here is one of them, NASWOT, on the four *untrained* networks. It takes a few milliseconds each.

# %%
train_set = data.classification(**bench.task, split="train", size=1000).to(cfg.device)
images, labels = train_set.images[: cfg.batch_size], train_set.labels[: cfg.batch_size]
batch = (images, labels)


def untrained(text, seed=cfg.seed):
    return space.build(space.parse(text), seed=seed).to(cfg.device)


seen = {name: zero_cost.score("naswot", untrained(text), batch) for name, text in four.items()}
display(pd.DataFrame({"naswot, untrained": seen, "accuracy, trained (%)": accuracy}).round(1))
orders = [sorted(values, key=values.get, reverse=True) for values in (seen, accuracy)]
higher = orders[0].index("C") < orders[1].index("C")  # depends on batch and initialisation
Markdown(
    f"From best to worst, NASWOT: {', '.join(orders[0])}. Training: {', '.join(orders[1])}. "
    + ("NASWOT has them in the right order. " if orders[0] == orders[1] else "")
    + "NASWOT overrates C, a chain without shortcuts. Section 4 trains longer chains." * higher
)

# %% [markdown]
# ## 2 · Gradients: does a weight matter?
#
# $L$ is the cross-entropy of one batch, $w$ a weight of a convolution or linear layer, and $g = \partial L/\partial w$.
# The **gradient norm** is $\sum_\text{layers} \lVert g \rVert_2$. **SNIP** asks how much the loss would change if $w$
# were set to 0. To first order that is $w \cdot g$, so SNIP adds up $\lvert w \cdot g \rvert$ over all weights.
#
# Both need the same two functions. Biases and normalisation are left out: their parameters have one dimension only.

# %%
net = untrained(four["A"])  # every comparison below is of this network


def weights(model):
    return [p for p in model.parameters() if p.ndim >= 2]


def gradients(model, images, labels, create_graph=False):
    loss = F.cross_entropy(model(images), labels)
    return torch.autograd.grad(loss, weights(model), create_graph=create_graph)


pairs = list(zip(weights(net), gradients(net, images, labels), strict=True))
print(f"network A has {len(pairs)} layers with weights")

# %% [markdown]
# The picture shows what each layer adds to both sums. Every marker is a layer of network A, in order: the stem, the
# convolutions (stage, then the nodes that the edge joins), the two reductions between stages, and the classifier.

# %%
names = [name.split(".")[1] for name, p in net.named_parameters() if p.ndim >= 2]
names = [name.replace("cell", "").replace("_1_", " ").replace("to", "→") for name in names]
by_layer = {"SNIP: Σ |w · g|": [float((w * g).detach().abs().sum()) for w, g in pairs]}
by_layer["gradient norm: ‖g‖"] = [float(g.norm()) for _, g in pairs]
look = {"xlabel": "layer", "ylabel": "what the layer adds", "ylim": (0, None)}
figures["layers"] = plots.lines(by_layer, names, **look)
figures["layers"]

# %% [markdown]
# Every proxy of this notebook is compared with the package's. `agrees` scores the same network on the same batch,
# prints both numbers, and fails if they differ. The gradient norm is the first:


# %%
def agrees(name, mine, model=net, tolerance=1e-4, **options):
    """Print the score from scratch and the package's, and fail unless they are the same."""
    theirs = zero_cost.score(name, model, batch, **options)
    print(f"{name}: from scratch {mine:.6g}, package {theirs:.6g}")
    assert math.isclose(mine, theirs, rel_tol=tolerance), f"{name} differs from the package's"


def my_grad_norm(model, images, labels):
    return float(sum(g.norm() for g in gradients(model, images, labels)))


agrees("grad_norm", my_grad_norm(net, images, labels))

# %% [markdown]
# ### Exercise 08.1: SNIP
# *Difficulty 1 of 3, about 10 min.* Return the sum of $\lvert w \cdot g \rvert$ over the weights of convolutions and
# linear layers. You may call `weights` and `gradients` from above.
#
# <details><summary>Hint 1</summary>Both functions list the layers in the same order: <code>zip</code> them.</details>
# <details><summary>Hint 2</summary>First the product, then the absolute value of every entry, then the sum.</details>


# %% tags=["stub"]
def snip(model, images, labels):
    raise NotImplementedError


# %% tags=["solution"]
def snip(model, images, labels):
    pairs = zip(weights(model), gradients(model, images, labels), strict=True)
    return float(sum((w * g).detach().abs().sum() for w, g in pairs))


# %% tags=["nbval-check-output"]
check_snip(snip)

# %% [markdown]
# **GraSP** asks how the removal of $w$ would change the *size of the gradient*: a network with large gradients learns
# fast. The score is $-\sum w \cdot (H g)$, where the Hessian $H$ is the matrix of second derivatives. $H$ itself is too
# large to compute. Its product with $g$ is not: it is the gradient of $\frac12 g \cdot g$. The minus is the paper's.
# The paper *prunes*: it keeps the weights with the lowest values. To *rank* networks, the highest sum is taken as the
# best.
#
# **Fisher** is the fourth proxy of this kind. It looks at the layers' outputs instead of their weights.
# `zero_cost.info("fisher").formula` has the formula.


# %%
def my_grasp(model, images, labels):
    g = gradients(model, images, labels, create_graph=True)  # for the second derivative
    half_square = sum((part**2).sum() for part in g) / 2
    hg = torch.autograd.grad(half_square, weights(model))
    return -float(sum((w.detach() * h).sum() for w, h in zip(weights(model), hg, strict=True)))


agrees("grasp", my_grasp(net, images, labels), tolerance=1e-3)

# %% [markdown]
# ## 3 · Paths, codes, sensitivity
#
# ### SynFlow: how much can flow through?
#
# Make every weight positive, feed one image of ones, and add up all outputs: $R$. A *path* leads from one input through
# one weight of every layer on its way to one output. $R$ is the sum over all paths of the product of their weights.
# $\lvert w \cdot \partial R/\partial w\rvert$ is the part of $R$ that passes through $w$, and SynFlow adds this up over
# all weights. It needs neither images nor labels. Batch normalisation would rescale the flow, so it is replaced by the
# identity. $R$ grows exponentially with depth, so everything is computed in float64.


# %%
def flows(model, shape):
    """What flows through each layer of a copy of the model."""
    model = copy.deepcopy(model).double().eval()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.forward = lambda x: x
    for p in model.parameters():
        p.data.abs_()
    R = model(torch.ones(1, *shape, dtype=torch.float64, device=cfg.device)).sum()
    gradients = torch.autograd.grad(R, weights(model), allow_unused=True, materialize_grads=True)
    return [float((w.detach() * g).sum()) for w, g in zip(weights(model), gradients, strict=True)]


agrees("synflow", sum(flows(net, space.input_shape)), tolerance=1e-9)

# %% [markdown]
# In a chain of layers without shortcuts every path passes through every layer. So the flow is the same in all layers,
# and it is $R$. Here is such a chain:


# %%
def chain(layers, width=8, norm=True, seed=cfg.seed):
    """Convolutions one after another, without any shortcut."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inputs = [3] + [width] * (layers - 1)
        convs = [nn.Conv2d(n, width, 3, padding=1, bias=False) for n in inputs]
        after = [nn.BatchNorm2d(width)] * norm + [nn.ReLU()]
        parts = [copy.deepcopy(part) for conv in convs for part in (conv, *after)]
        pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10, bias=norm)]
        return nn.Sequential(*parts, *pooled).to(cfg.device)


chain(2, norm=False)

# %% [markdown]
# If one layer is multiplied by 3, the flow through *all* of them is three times as large.

# %%
plain = chain(5, norm=False)
carried = {"as drawn": flows(plain, (3, 8, 8))}
plain[2].weight.data.mul_(3)  # the second convolution
carried["conv 2 times 3"] = flows(plain, (3, 8, 8))
even = all(np.allclose(values, values[0]) for values in carried.values())
assert even, "the flow of a chain must be the same in all layers"
figures["flow"] = plots.lines(carried, ylim=(0, None), xlabel="layer", ylabel="flow through it")
figures["flow"]

# %% [markdown]
# ### Exercise 08.2: the flow, and the signs put back
# *Difficulty 2 of 3, about 15 min.* Return $R$: the sum of the outputs for **one image of ones** of `shape` (C, H, W),
# with every weight replaced by its absolute value, in float64. Afterwards `model` must be what it was: signs, values
# and precision. (The networks of the checker have no batch normalisation and no biases.) A public version of SynFlow
# forgets to put the signs back, and so ruins the network for all proxies that come after it.
#
# <details><summary>Hint 1</summary><code>copy.deepcopy(model)</code> is yours to change.</details>
# <details><summary>Hint 2</summary>Or remember the weights: <code>[w.clone() for w in model.parameters()]</code>.
# Multiplying by the signs afterwards works, too, if you read them <em>before</em> you take absolute values.</details>


# %% tags=["stub"]
def flow(model, shape):
    raise NotImplementedError


# %% tags=["solution"]
@torch.no_grad()
def flow(model, shape):
    positive = copy.deepcopy(model).double()
    for w in positive.parameters():
        w.abs_()
    return float(positive(torch.ones(1, *shape, dtype=torch.float64)).sum())


# %% tags=["nbval-check-output"]
check_flow(flow)

# %% [markdown]
# ### NASWOT: which ReLUs does an image switch on?
#
# At each ReLU an input is above 0 (on) or not (off). All these bits together are an image's **code**. Two images with
# the same code pass through one and the same linear function, so the network can hardly treat them differently. Hooks
# read the code off:


# %%
@torch.no_grad()
def codes(model, images):
    """(images, bits): for every ReLU whether its input was above 0."""
    found = []
    relus = [m for m in model.modules() if isinstance(m, nn.ReLU)]
    read = lambda _, args: found.append(args[0].flatten(1) > 0)  # noqa: E731
    hooks = [m.register_forward_pre_hook(read) for m in relus]
    model(images)
    [hook.remove() for hook in hooks]  # one that stays would count every bit twice the next time
    return torch.cat(found, 1).double()


print(f"{len(images)} images, bits of each: {codes(net, images).shape[1]:,}")

# %% [markdown]
# The **kernel** $K_{ij}$ counts the bits on which the images $i$ and $j$ agree. NASWOT is $\ln\lvert\det K\rvert$ for
# a batch of $B$ images. It is large for two reasons: the network has many bits, or the codes differ.


# %%
def kernel(c):
    return c @ c.T + (1 - c) @ (1 - c).T  # both on, or both off


def my_naswot(model, images):
    return float(torch.linalg.slogdet(kernel(codes(model, images))).logabsdet)


agrees("naswot", my_naswot(net, images), tolerance=1e-6)

# %% [markdown]
# Left: the codes of up to 24 images (rows) at the last 60 bits of network A; yellow is on. Then the kernels of A and D,
# as shares of equal bits. D has no convolution in its cells. The titles tell how many bits each network has.


# %%
def off_diagonal(matrix):
    """What a symmetric matrix says of every pair of images."""
    return np.asarray(matrix)[np.triu_indices(len(matrix), 1)]


some = images[:24]
shown = {"A: codes": codes(net, some)[:, -60:].cpu()}
for name in "AD":
    K = kernel(codes(untrained(four[name]), some)).cpu()
    shown[f"{name}: kernel, {int(K[0, 0])} bits"] = K / K[0, 0]  # with itself: on all bits
look = {"limits": (0, 1), "bar": "bit, or share of equal bits", "ylabel": "image", "share": ""}
figures["kernels"] = plots.heat(shown, **look)
equal = {name: off_diagonal(K) for name, K in list(shown.items())[1:]}
told = "; ".join(f"{name}, {p.min():.2f} to {p.max():.2f}" for name, p in equal.items())
figures["kernels"].alt = f"Codes as dark and bright bits. Shares of equal bits: {told}."
figures["kernels"]

# %% [markdown]
# ### Exercise 08.3: a NASWOT that copies do not raise
# *Difficulty 2 of 3, about 15 min; design.* If every unit of a network is copied, no two images are told apart any
# better, and yet NASWOT rises. Design a score of the codes that stays the same. `codes` (B, units) holds a 1 where an
# image switches a unit on and a 0 where not. Return one number, higher is better, so that
#
# 1. all units twice over, or five times, give the same score;
# 2. neither the order of the images nor that of the units matters;
# 3. swapping on and off in some units changes nothing;
# 4. codes that differ in a few units only score lower than codes that differ in many;
# 5. with two equal codes in the batch the score is −∞, or hugely negative.
#
# You may call `kernel` from above.
#
# <details><summary>Hint 1</summary>NASWOT itself has all of these properties but the first. What happens to $K$ if
# every unit is there twice?</details>
# <details><summary>Hint 2</summary>Every entry of $K$ doubles. Which entries tell how many units there are?</details>


# %% tags=["stub"]
def per_unit(codes):
    raise NotImplementedError


# %% tags=["solution"]
def per_unit(codes):
    shares = kernel(codes) / codes.shape[1]  # of equal bits: 1 on the diagonal, whatever the size
    return float(torch.linalg.slogdet(shares).logabsdet)


# %% tags=["nbval-check-output"]
check_copies(per_unit)

# %% [markdown]
# Back to networks A and D. How much of the difference between their scores is only the number of bits? With $c$ times
# as many bits every entry of $K$ is about $c$ times as large. So $\det K$ is $c^B$ times as large, and NASWOT grows by
# $B \ln c$.

# %%
bits = {name: codes(untrained(text), some).shape[1] for name, text in four.items()}
by_size = len(images) * math.log(bits["A"] / bits["D"])
Markdown(
    f"A has {bits['A']:,} bits and D has {bits['D']:,}. "
    f"With $B$ = {len(images)} images this alone is worth $B \\ln({bits['A']}/{bits['D']})$ = "
    f"{by_size:.0f}. The scores differ by {seen['A'] - seen['D']:.0f}."
)

# %% [markdown]
# ### Jacobian covariance: does the output react to each image differently?
#
# $J_n$ is the gradient of image $n$'s summed outputs **to its pixels**. If all $J_n$ point the same way, the network
# treats all images alike, as one linear function would. The correlation matrix of the $J_n$ has the eigenvalues
# $\lambda_i$. With $k = 10^{-5}$ the score is $-\sum_i \left[\ln(\lambda_i + k) + 1/(\lambda_i + k)\right]$. For $B$
# images it is at most about $-B$, which it reaches when all correlations are 0.


# %%
def jacobian(model, images):
    x = images.clone().requires_grad_(True)
    return torch.autograd.grad(model(x).sum(), x)[0].flatten(1)


def my_jacob_cov(model, images, k=1e-5):  # k keeps the logarithm finite
    correlations = torch.corrcoef(jacobian(model, images).double())
    values = torch.linalg.eigvalsh(correlations).clamp(min=0) + k
    return -float((values.log() + 1 / values).sum())


agrees("jacob_cov", my_jacob_cov(net, images), tolerance=1e-3)

# %% [markdown]
# The correlations for the four networks: purple is positive, orange negative. The score is high where everything off
# the diagonal is pale. Is the palest network also the best one?

# %%
corr = {name: torch.corrcoef(jacobian(untrained(four[name]), some)).cpu() for name in four}
off = {name: float(np.abs(off_diagonal(C)).mean()) for name, C in corr.items()}
panels = {f"{name}: {accuracy[name]:.0f} % right": C for name, C in corr.items()}
look = {"limits": (-1, 1), "colours": "PuOr", "xlabel": "image", "ylabel": "image"}
figures["jacobian"] = plots.heat(panels, bar="correlation of the gradients", **look)
told = "Mean size off the diagonal: " + ", ".join(f"{name} {off[name]:.2f}" for name in off)
figures["jacobian"].alt = f"Correlations between gradients of images. {told}."
# the palest has the smallest correlations
palest, top_one = min(off, key=off.get), max(accuracy, key=accuracy.get)
print(f"{told}. The palest is {palest}, the best {top_one}.")
figures["jacobian"]

# %% [markdown]
# ### Zen-score: how strongly does the network react? *(optional)*
#
# Draw an image $x$ of pure noise and move it a little: $x + \alpha\varepsilon$. By how much does the last feature map
# $f$ move? The weights are drawn from $N(0, 1)$, and no data are needed.


# %%
@torch.no_grad()
def reaction(model, shape, alpha=0.01, rng=None):
    """Two inputs, their feature maps before pooling, and the variances that BN divided by."""
    rng = rng or torch.Generator().manual_seed(cfg.seed)
    model, maps, variances = copy.deepcopy(model).train(), [], []
    draw = lambda shape: torch.randn(shape, generator=rng).to(cfg.device)  # noqa: E731
    read = lambda _, args: variances.append(args[0].var((0, 2, 3), correction=0))  # noqa: E731
    for m in model.modules():
        if isinstance(m, nn.Conv2d | nn.Linear):
            m.weight.copy_(draw(m.weight.shape))
        if isinstance(m, nn.BatchNorm2d):
            m.register_forward_pre_hook(read)
    model.parts["act"].register_forward_hook(lambda _, __, out: maps.append(out))
    x = draw(shape)
    inputs = x, x + alpha * draw(shape)
    [model(each) for each in inputs]
    return inputs, maps, variances[: len(variances) // 2]


(x, near), (f, moved), _ = reaction(net, (8, 3, 64, 64))  # 64 pixels a side, to see more
shares = (near - x).norm() / x.norm(), (moved - f).norm() / f.norm()
print(f"the input moved by {shares[0]:.1%} of its size, the map by {shares[1]:.1%}")

# %% [markdown]
# From the left: noise; the same noise moved by a hundredth (you cannot see it); a channel of the feature map for both;
# and the difference of these maps. Each picture has a scale of its own.

# %%
views = {"x": x, "x + 0.01 ε": near, "f(x)": f, "f(x + 0.01 ε)": moved, "difference": f - moved}
views = {name: view[0, 0].cpu() for name, view in views.items()}  # one image, one channel
figures["zen"] = plots.heat(views, columns=5, share="", width=12, height=2.6)
figures["zen"]

# %% [markdown]
# A larger movement means a more expressive network. But batch normalisation divides the output of each layer by its
# standard deviation, and so hides how much the layer amplified. The Zen-score adds the logarithms of these divisors
# back in: $\ln \text{mean}_n\lVert f(x_n) - f(x_n + \alpha\varepsilon_n)\rVert + \sum_\text{BN} \frac12\ln
# \text{mean}_c \sigma_c^2$. (The theory holds for chains, and Zen-NAS removes shortcuts before it scores. Here they
# stay: our cells have no switch for that.)


# %%
def my_zen(model, shape, rng=None):
    _, (f, moved), variances = reaction(model, shape, rng=rng)
    distance = (f - moved).flatten(1).norm(dim=1).mean()
    return float(distance.log() + sum(v.mean().log() / 2 for v in variances))


mine = my_zen(net, images.shape, torch.Generator().manual_seed(7))
agrees("zen", mine, generator=torch.Generator().manual_seed(7))  # the same draws

# %% [markdown]
# The package has these and more. Its registry says what each needs and costs. `zero_cost.info(name).formula` has the
# definition, the paper, the sign, and what the proxy cannot see.

# %%
pd.options.display.max_colwidth = None
facts = {name: zero_cost.info(name) for name in zero_cost.names()}
pd.DataFrame({name: {"needs": p.needs, "costs": p.passes} for name, p in facts.items()}).T

# %% [markdown]
# **Here the first sitting ends.** You have seen the four kinds of questions that a proxy can ask. The second sitting
# finds out whether the answers are worth anything.

# %% [markdown]
# # Second sitting
#
# ## 4 · Break them
#
# Every fault below was found in public code or in published tables. A broken proxy still returns a number, and the
# number looks like any other. So a proxy is tested by what it *does* when the network or the batch is changed.
#
# **Twins in the batch.** Two equal images have equal codes in every network. So NASWOT's determinant is 0 and its score
# $-\infty$, which must rank last and must not stop a search. The Jacobian covariance stays finite, but one pair of
# twins costs it about $1/k = 100{,}000$.

# %%
twins = images.clone()
twins[1] = twins[0]
assert zero_cost.score("naswot", net, twins) == -math.inf, "equal images must give naswot -inf"
alone = {name: zero_cost.score("jacob_cov", untrained(text), images) for name, text in four.items()}
lost = alone["A"] - zero_cost.score("jacob_cov", net, twins)
apart = max(alone.values()) - min(alone.values())
print(f"one pair of twins costs jacob_cov {lost:,.0f}")
print(f"the four networks lie within {apart:,.0f} of one another")

# %% [markdown]
# **A failure that ranks best.** The entries of the **neural tangent kernel** are the inner products of every two
# images' gradients to the weights. The proxy is the kernel's condition number $\kappa =
# \lambda_\text{max}/\lambda_\text{min}$. A *small* κ is good, so the score is $-\kappa$. With twins
# $\lambda_\text{min}$ is zero, but it is computed with rounding errors, and comes out tiny and of either sign. If it is
# negative, $-\kappa$ is positive, and better than every honest network's. (One public code replaces NaN by 0, with the
# same effect.)


# %%
def tangent_kernel(model, images):
    outputs = model(images).sum(1)
    rows = [torch.autograd.grad(one, weights(model), retain_graph=True) for one in outputs]
    G = torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])
    return G @ G.T


naive, honest = [], zero_cost.score("ntk", net, images[:9])
for i in range(1, 7):  # six batches, each with another pair of twins
    pair = images[:9].clone()
    pair[i] = pair[0]
    values = torch.linalg.eigvalsh(tangent_kernel(net, pair))
    naive.append(float(-values[-1] / values[0]))
    assert zero_cost.score("ntk", net, pair) < -1e6, "the package must rank twins last"
print(f"without twins {honest:.0f}; with twins, naively:", [f"{value:.0e}" for value in naive])
best = sum(value > honest for value in naive)
print(f"in {best} of {len(naive)} batches with twins the failure would rank best")

# %% [markdown]
# **Normalisation in the wrong mode.** In `eval` mode normalisation uses the running mean and variance. In a fresh
# network they are 0 and 1, so it does nothing. NASWOT then reads the codes of a network that will never run like that.
# A unit that gives all images the same bit tells none of them apart, so we count such units.

# %%
modes = {"eval": untrained(four["A"]).eval(), "train": untrained(four["A"]).train()}
for mode, model in modes.items():
    idle = (codes(model, images).std(0) == 0).double().mean()
    print(f"{mode}: {idle:.1%} of the units give all images the same bit")

# %% [markdown]
# SynFlow suffers more. If normalisation stays in `train` mode, the layers' flows are no longer equal. They are nearly 0
# but for the last, because scaling a layer before a normalisation changes nothing. One public code runs SynFlow this
# way, and turns its sign round as well.


# %%
def flows_with_norm(model):
    model = copy.deepcopy(model).double().train()
    for p in model.parameters():
        p.data.abs_()
    R = model(torch.ones(1, 3, 8, 8, dtype=torch.float64, device=cfg.device)).sum()
    found = torch.autograd.grad(R, weights(model))
    return [float((w.detach() * g).sum()) for w, g in zip(weights(model), found, strict=True)]


# five convolutions and the classifier
right, wrong = flows(chain(5), (3, 8, 8)), flows_with_norm(chain(5))
print("identity:", [f"{value:.3g}" for value in right])
print("kept:    ", [f"{value:.1g}" for value in wrong])
assert np.ptp(right[:-1]) < 1e-9 * max(right), "the identity must leave the flow alone"
least = 1e-2 * abs(wrong[-1])
assert max(map(abs, wrong[:-1])) < least, "normalisation must take the convolutions' flow away"

# %% [markdown]
# **Overflow.** $R$ is multiplied by a factor in every layer. Here are forty layers with weights from $N(0, 1)$:

# %%
deep = chain(40, width=64, norm=False)
for w in deep.parameters():
    w.data.normal_(generator=torch.Generator(cfg.device).manual_seed(0)).abs_()
R = float(deep(torch.ones(1, 3, 8, 8, device=cfg.device)).sum())  # in float32
double = zero_cost.score("synflow", deep, images)
print(f"float32: {R}, float64: {double:.0e}")
assert not math.isfinite(R) and math.isfinite(double), "float32 alone must overflow here"

# %% [markdown]
# **A proxy that cannot see the network.** `plain` is $\sum w \cdot g$ *with* its sign. Multiply a convolution in front
# of a batch normalisation by a constant: the loss does not change, so its derivative in the direction of $w$, which is
# $\sum w \cdot g$ over this layer, is 0. Only the classifier is left.

# %%
signed = [float((w * g).detach().sum()) for w, g in pairs]
size = [float((w * g).detach().abs().sum()) for w, g in pairs]
blind = all(abs(s) < 1e-2 * a for s, a in zip(signed[:-1], size[:-1], strict=True))
assert blind, "Σ w · g of a normalised convolution must be 0 but for rounding"
print(f"Σ w · g: convolutions {abs(sum(signed[:-1])):.5f}, classifier {signed[-1]:.3f}")
print(f"Σ |w · g|: convolutions {sum(size[:-1]):.2f}, classifier {size[-1]:.3f}")

# %% [markdown]
# **Splitting a batch changes the score.** Some code splits the batch when memory runs out, and adds the two scores. The
# gradient of the whole batch is about the mean of the two halves' gradients. The lengths of two vectors add up to at
# least twice the length of their mean. So a network gets a better score *because it is too large* for the memory.

# %%
parts = slice(len(images) // 2), slice(len(images) // 2, None)
halves = sum(my_grad_norm(net, images[part], labels[part]) for part in parts)
whole = my_grad_norm(net, images, labels)
print(f"in one go {whole:.2f}, in two halves {halves:.2f}: {halves / whole:.1f} times as large")

# %% [markdown]
# **More layers, more score.** Most scores grow with every layer: there are more bits, more gradients, more paths. We
# train chains of convolutions *without shortcuts*, like C. They differ in depth, and all train for equally many epochs.


# %%
def train_chain(layers, seed):
    """Test accuracy (%) of a chain after a short training."""
    net, order = chain(layers, seed=seed), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), 0.02, betas=(0.9, 0.99))
    steps = len(train_set) // 64
    one_cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, steps * cfg.depth_epochs + 1)
    for _ in range(cfg.depth_epochs):
        for index in torch.randperm(len(train_set), generator=order)[: steps * 64].view(steps, 64):
            loss = F.cross_entropy(net(train_set.images[index]), train_set.labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            one_cycle.step()
    with torch.no_grad():
        found = net.eval()(test_set.images).argmax(1)
    return 100 * float((found == test_set.labels).double().mean())


test_set = data.classification(**bench.task, split="test").to(cfg.device)
print(f"{cfg.depths[0]} layers: {train_chain(cfg.depths[0], seed=0):.0f} % right")

# %% [markdown]
# The same for all depths:

# %%
runs = [(n, s) for n in cfg.depths for s in range(cfg.depth_seeds)]
reached = {run: train_chain(*run) for run in course.Bar(runs, "chains")}
by_depth = {n: float(np.mean([reached[n, s] for s in range(cfg.depth_seeds)])) for n in cfg.depths}
print(", ".join(f"{n} layers: {right:.0f} %" for n, right in by_depth.items()))

# %% [markdown]
# Beside the accuracy stand three proxies of the same chains, untrained. Every curve is divided by its value for the
# shallowest chain, so that all fit into one picture.

# %%
watched = ("grad_norm", "naswot", "zen")
found = [zero_cost.score_all(chain(n), batch, watched) for n in cfg.depths]
curves = {name: [f[name] / abs(found[0][name]) for f in found] for name in watched}
curves["accuracy"] = [right / by_depth[cfg.depths[0]] for right in by_depth.values()]
look = {"xlabel": "layers", "log": "y", "ylabel": "shallowest chain = 1"}
figures["depth"] = plots.lines(curves, [str(n) for n in cfg.depths], **look)
figures["depth"]

# %% [markdown]
# Does a score say which depth is the best?

# %%
rising = [name for name in watched if all(np.diff(curves[name]) > 0)]
best_depth, deepest = max(by_depth, key=by_depth.get), cfg.depths[-1]
ends = cfg.depths[0], deepest
ema = [zero_cost.score("zen", chain(n), images, bn="ema") for n in ends]  # of running averages
per_layer = (found[-1]["zen"] - ema[1] - found[0]["zen"] + ema[0]) / (ends[1] - ends[0])
worse = f"the deepest, with {deepest}, reaches {by_depth[deepest]:.0f} %"
worse = "no deeper one was trained" if best_depth == deepest else worse
Markdown(
    f"Scores that rise with every step of depth: {', '.join(rising) or 'none'}. The best chain has "
    f"**{best_depth} layers** ({by_depth[best_depth]:.0f} %); {worse}. "
    "Zen-NAS limits the depth of what it searches. Its public code also takes the *running "
    "average* of the variance in place of the batch's (`bn='ema'` in the package). That changes "
    f"the score by **{-per_layer:+.2f}** for each layer. The paper has no such price on depth."
)

# %% [markdown]
# ### Exercise 08.4: which proxy is it?
# *Difficulty 3 of 3, about 20 min; experiment.* `score(model, images, labels)` is one of `params`, `synflow`, `naswot`,
# `jacob_cov` and `snip`. Its values were multiplied by a positive number and shifted by a constant, so they say nothing
# by themselves. Find out by *experiments* which one it is, and return its name. Leave what you are given as it is,
# the network's mode and statistics included.
#
# <details><summary>Hint 1</summary>Which of the five read the labels? Which the images? Which the weights?</details>
# <details><summary>Hint 2</summary>Snip reads images as well, so ask about the labels first.</details>
# <details><summary>Hint 3</summary>The first fault of this section tells the two apart that read images and no
# labels.</details>


# %% tags=["stub"]
def identify(score, model, images, labels):
    raise NotImplementedError


# %% tags=["solution"]
def identify(score, model, images, labels):
    before = score(model, images, labels)
    if score(model, images, labels.roll(1)) != before:
        return "snip"  # of the five it alone reads the labels
    if score(model, images.flip(3) + 2 * images, labels) != before:
        twins = images.clone()
        twins[1] = twins[0]
        return "naswot" if math.isinf(score(model, twins, labels)) else "jacob_cov"
    doubled = copy.deepcopy(model)
    for w in doubled.parameters():
        w.data.mul_(2)
    return "synflow" if score(doubled, images, labels) != before else "params"


# %% tags=["nbval-check-output"]
check_identify(identify)

# %% [markdown]
# ### Exercise 08.5: a test for four faults
# *Difficulty 3 of 3, about 20 min; fault.* Somebody hands you `score(model, images, labels)` and says that it is
# NASWOT, SNIP, SynFlow or the gradient norm. It may have one fault of four. Write the test that finds it, and return
# the fault's name:
#
# - `"weights"`: it changes the weights of the network that it scores;
# - `"repeat"`: a second call gives another value, on the same weights and batch;
# - `"order"`: its value depends on the order of the images in the batch;
# - `"dead"`: a network that can tell nothing apart scores higher than a network that can;
# - `"none"`: it is as it should be.
#
# Leave what you are given as it is. A score that passes must not be accused: even a right one may change in its last
# digits.
#
# <details><summary>Hint 1</summary>Hand every call a fresh <code>copy.deepcopy(model)</code>. Only then are the four
# questions independent of one another.</details>
# <details><summary>Hint 2</summary>A score that changes by itself also changes when the batch is turned round. So ask
# about the repetition first.</details>
# <details><summary>Hint 3</summary>A copy whose weights are all 0 is a network that can tell nothing apart.
# <code>math.isclose(a, b, rel_tol=1e-4)</code> compares with a tolerance.</details>


# %% tags=["stub"]
def find_fault(score, model, images, labels):
    raise NotImplementedError


# %% tags=["solution"]
def find_fault(score, model, images, labels):
    used, dead = copy.deepcopy(model), copy.deepcopy(model)
    for w in dead.parameters():
        w.data.zero_()
    value = score(used, images, labels)
    both = zip(used.parameters(), model.parameters(), strict=True)
    if any(not torch.equal(after, before) for after, before in both):
        return "weights"
    again = score(copy.deepcopy(model), images, labels)
    if not math.isclose(value, again, rel_tol=1e-4):  # before the order: this would show there, too
        return "repeat"
    turned = score(copy.deepcopy(model), images.flip(0), labels.flip(0))
    if not math.isclose(value, turned, rel_tol=1e-4):
        return "order"
    return "dead" if score(dead, images, labels) > value else "none"


# %% tags=["nbval-check-output"]
check_faults(find_fault)

# %% [markdown]
# ## 5 · Judged against the truth
#
# The proxies of your preset now score the networks of the benchmark, each with several initialisations. Beside them
# stand three **baselines**: the parameters, the MACs (multiply-accumulates) and random numbers. The parameters are the
# one to beat. The **truth** is each network's test accuracy after training.
#
# How many proxies rank the networks clearly better than the parameters do? *Clearly* means that the difference is still
# above 0 at the lower end of its interval at 95 %.

# %%
bet = course.predict(
    "How many proxies rank clearly better than the number of parameters?",
    ["none", "one or two", "three or more"],
)

# %% [markdown]
# `score_pool` shares forward and backward passes between the proxies, marks what fails, and goes on where it was if you
# interrupt it.

# %%
every = truth if cfg.cells >= len(truth) else truth.sample(cfg.cells, random_state=cfg.seed)
archs, seeds = [space.parse(text) for text in every.index], range(cfg.seeds)
with course.Bar(total=len(archs) * cfg.seeds, desc="scores", unit="network") as bar:
    keep = {"seeds": seeds, "state": cfg.out_dir / "pool.pt", "progress": bar.show}
    scores = zero_cost.score_pool(space, archs, batch, wanted, **keep)
failed = {text for _, text, _ in scores.errors}
told = f"{len(every)} cells, {cfg.seeds} initialisations; some proxy failed on {len(failed)}"
print(told, *sorted(set(scores.errors.values())), sep="\n")

# %% [markdown]
# A proxy fails on a network in which nothing leads from the input to the output: it returns the same for every image.
# Such a failure ranks last.
#
# **Which networks belong in the pool?** Some cells have weights on edges that lead nowhere. They compute what a smaller
# network computes, with unused parameters added. Such a copy is no new evidence, and makes the parameters look worse
# than they are. SynFlow finds every copy: a layer through which nothing flows is dead.

# %%
alive = [t for t in every.index if min(flows(untrained(t), space.input_shape)) > 0]
if len(alive) < 10:
    raise errors.ParameterError(f"only {len(alive)} cells have no dead layer: judge on more cells")
pool = every[alive]
print(f"{len(every)} cells, of which {len(pool)} have no dead layer")

# %% [markdown]
# The baselines join the scores, by seed of the initialisation. `mean` is over the initialisations.

# %%
dice, baselines = np.random.default_rng(cfg.seed), bench.frame.loc[every.index, ["params", "macs"]]
random = {s: dice.normal(size=len(every)) for s in seeds}
with_copies = {s: scores.seeds[s].assign(**baselines, random=random[s]) for s in seeds}
frames = {s: frame.loc[alive] for s, frame in with_copies.items()}
mean = sum(frames.values()) / len(frames)
mean.agg(["min", "median", "max"]).T.map("{:.3g}".format)

# %% [markdown]
# Two proxies that are judged on the same networks must be compared **in pairs**: resample the networks, compute both ρ
# on each resample, and take their difference. What both have in common then cancels out. `ranking.difference` does
# this, and gives an interval at 95 %. We call a proxy's ρ less that of the parameters its *lead*. The table has every
# lead, with the copies in the pool and without.

# %%
paired = {"resamples": cfg.resamples, "seed": cfg.seed}


def leads(frames, truth, over="params"):
    """Every score's ρ less the baseline's, on the same resampled networks and initialisations."""

    def by_seed(name):
        return {s: frame[name][truth.index] for s, frame in frames.items()}

    names = [name for name in frames[0] if name != over]
    return {n: difference(by_seed(n), by_seed(over), truth, **paired) for n in names}


crowd, lead = leads(with_copies, every), leads(frames, pool)
pd.DataFrame({"with copies": crowd, "without": lead}).map(str)

# %% [markdown]
# Does a copy in the pool matter?

# %%
crowd_ahead, ahead = ([n for n in wanted if found[n].low > 0] for found in (crowd, lead))
helped = max(wanted, key=lambda name: crowd[name].value - lead[name].value)
most_helped = f"The copies help {helped} most: {crowd[helped]} with them, {lead[helped]} without."
Markdown(
    f"Proxies ahead of the parameters with the whole interval: **{len(crowd_ahead)}** of "
    f"{len(wanted)} with copies in the pool, **{len(ahead)}** without. From here on the copies "
    "are left out. " + most_helped * (crowd[helped].value > lead[helped].value)
)

# %% [markdown]
# And your prediction:

# %%
came = "none" if not ahead else "one or two" if len(ahead) <= 2 else "three or more"
unseen = "none. A difference smaller than the intervals may still exist"
bet.came(
    came,
    f"Ahead of the parameters on {len(pool)} networks: {', '.join(ahead) or unseen}. If all "
    f"{len(wanted)} were just as good as the parameters, about {len(wanted) / 40:.1f} of them "
    "would come out ahead by chance.",
)

# %% [markdown]
# Now look at the networks themselves. Each dot is one: its rank by the score (mean of all initialisations) and its
# accuracy. Shown are the best scores, the worst, and the parameters. Vertical stacks are ties. Look at the right end of
# each panel first, because a search picks there.

# %%
judged = ranking.judge_all(frames, pool, top=cfg.top, resamples=cfg.resamples, seed=cfg.seed)
judged = judged.sort_values("spearman", ascending=False)
# the four best, the baseline, the three worst
chosen = list(dict.fromkeys([*judged.index[:4], "params", *judged.index[-3:]]))
ranked = {name: ranking.ranks(mean[name]) for name in chosen}
titles = {n: f"{n}\nρ = {judged.spearman[n]:+.2f}" for n in chosen}
panels = {titles[n]: {"cells": (ranked[n], pool[mean.index])} for n in chosen}
look = {"xlabel": "rank of the score (1 = worst)", "ylabel": "test accuracy (%)", "share": "xy"}
figures["scatter"] = plots.scatter(panels, width=12, height=2.7, legend="none", **look)
figures["scatter"]

# %% [markdown]
# The numbers. Every sign was fixed *before* looking at the truth: one that is chosen afterwards makes every correlation
# positive. **ρ** (Spearman) has a bootstrap interval over networks and a standard deviation over initialisations; **τ**
# is Kendall's. **Lead** is the paired difference to the parameters. **Precision**: of the networks that it ranks
# highest (`top`, a tenth in the presets), how many are truly among the highest? **Regret** is how many points its pick
# lies below the best network. Failures rank last; ties share their ranks.

# %%
ends = zip(judged.spearman_low, judged.spearman_high, strict=True)
interval = [f"[{low:+.2f}, {high:+.2f}]" for low, high in ends]
summary = judged[["spearman", "spearman_sd", "kendall", "precision", "regret", "failures"]].round(2)
summary.insert(1, "95 %", interval)
summary.insert(3, "lead over params", [str(lead.get(name, "")) for name in judged.index])
summary

# %% [markdown]
# ### Where it matters: among the good networks
#
# A ρ over *all* networks is mostly earned by telling the bad ones from the rest. A search needs to know which of the
# *good* ones is best. So we take the better half and compute the leads again. The half must not be chosen by the truth
# that judges it: a network with a lucky training would be chosen for its luck, and then judged by it. So one training
# chooses the half, and the mean of the two other trainings judges.

# %%
first, *others = bench.seeds
one = {s: bench.scores("test", seed=s)[pool.index] for s in bench.seeds}  # of one training
better = one[first].index[one[first] >= one[first].median()]
rest = sum(one[s] for s in others) / len(others)
upper_frames = {s: frame.loc[better] for s, frame in frames.items()}
upper = ranking.judge_all(upper_frames, rest[better], **paired)
upper_leads = leads(upper_frames, rest[better])
print(f"{len(better)} of {len(pool)} networks, judged by {len(others)} other trainings")

# %% [markdown]
# Left: ρ of all networks. Then the lead over the parameters, for all networks and in the better half. The bars are
# intervals at 95 %.

# %%
names, look = list(judged.index), {"names": "xlabel", "share": "y", "legend": "none"}
rows = judged[["spearman", "spearman_low", "spearman_high"]].itertuples()
rho = {name: plots.Interval(*ends) for name, *ends in rows}
shown = {"ρ, all networks": rho, "lead, all networks": lead, "lead, better half": upper_leads}
panels = {t: {"": {n: found[n] for n in names if n in found}} for t, found in shown.items()}
figures["leads"] = plots.dots(panels, width=12, **look).guide(x=0)
figures["leads"]

# %% [markdown]
# How much of what is missing to ρ = 1 is noise in the truth? Two *trainings* of the same networks agree only so far.
# Their ρ is the **reliability** $r$ of one training. A mean of $n$ trainings is more reliable: $nr/(1 + (n-1)r)$, the
# Spearman-Brown formula. A score that knew every network's expected accuracy would have about the square root of that
# as its ρ.

# %%
two = [one[s] for s in others[:2]]  # neither of them chose the half
agree = [spearman(two[0][cells], two[1][cells]) for cells in (pool.index, better)]
judges = zip((len(bench.seeds), len(others)), np.clip(agree, 0, 1), strict=True)
most = [math.sqrt(n * r / (1 + (n - 1) * r)) for n, r in judges]
rough = " From so few networks it is a rough one." if len(better) < 30 else ""
ceiling = (
    f"By this estimate a perfect score would reach {most[0]:.2f} and {most[1]:.2f}. What is "
    f"missing to 1 is noise in the truth.{rough}"
)
if min(agree) <= 0:  # the formula needs trainings that agree
    ceiling = "These are too few networks to estimate what a perfect score would reach."
Markdown(
    f"The median ρ of the scores is {judged.spearman.median():+.2f} for all networks and "
    f"{upper.spearman.median():+.2f} in the half. The reliability is {agree[0]:+.2f} for all, and "
    f"{agree[1]:+.2f} in the half. {ceiling}"
)

# %% [markdown]
# ### Does NASWOT see more than its own size?
#
# Section 3 showed that NASWOT is partly the number of ReLU bits. So the number of bits alone is the baseline that it
# should beat.

# %%
live = [space.parse(text) for text in pool.index]
full = zero_cost.score_pool(space, live, images, ["naswot"]).frame.naswot
count = {text: float(codes(untrained(text), images[:2]).shape[1]) for text in pool.index}
n_bits = pd.Series(count)
gap = difference(full, n_bits, pool, **paired)
verdict = "sees more than" if gap.low > 0 else "cannot be told from"
verdict = "sees less than" if gap.high < 0 else verdict  # the interval decides
Markdown(
    f"NASWOT has ρ {spearman(full, pool):+.2f}, its number of bits {spearman(n_bits, pool):+.2f}. "
    f"In pairs the difference is {gap}: NASWOT **{verdict}** its own size here. The two agree "
    f"with ρ = {spearman(full, n_bits):+.2f}."
)

# %% [markdown]
# ### What does a score cost?
#
# We time each proxy *alone*, in milliseconds for one network: the median over a few networks. Each is scored three
# times and the fastest counts, because the first time PyTorch and Python still set themselves up. Parameters and MACs
# follow from the layers' shapes. A search reads them from a table, so they are not timed. On networks this small, a
# proxy's time is mostly Python's, not arithmetic's: read the orders of magnitude only. For comparison, the time of one
# training of such a network is printed. A network of a usual size trains for hours.


# %%
def milliseconds(name, model, repeats=3):
    """The fastest of several: a slow one tells of the machine, not of the proxy."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        zero_cost.score(name, model, batch)
        found.append(1000 * (time.perf_counter() - start))
    return min(found)


timed = [untrained(text) for text in pool.index[:: -(-len(pool) // cfg.timed_cells)]]
single = [name for name in judged.index if name in wanted and name in zero_cost.names()]
took = {name: float(np.median([milliseconds(name, model) for model in timed])) for name in single}
points = {name: (took[name], rho[name]) for name in single}
look = {"xlabel": "milliseconds per network", "ylabel": "Spearman's ρ with the truth", "log": "x"}
figures["cost"] = plots.scatter(points, named=True, height=4.8, **look).guide(y=0)
print(f"the slowest: {max(took.values()):.0f} ms; a training: {bench.frame.seconds.median():.1f} s")
figures["cost"]

# %% [markdown]
# ## 6 · The same on NAS-Bench-201
#
# NAS-Bench-201 is the benchmark that most papers report: 15,625 cells on CIFAR-10. This project has scored 200 random
# ones, each with three initialisations and one real batch. **These scores are stored** with the project, so the next
# picture needs no data. It shows how alike the proxies' rankings are, there and on our digits. Dark purple means that
# two proxies rank alike. Those that rank most like the parameters come first.

# %%
stored = benchmarks.proxy_scores()  # by seed of the initialisation
large = sum(stored.values()) / len(stored)
tables = {"digits, computed now": mean, "NAS-Bench-201, stored": large}
alike = {title: table.apply(ranking.ranks).corr().fillna(0) for title, table in tables.items()}
order = alike["NAS-Bench-201, stored"].params.sort_values(ascending=False).index
both = [name for name in order if name in mean]  # those most like the parameters first
alike = {title: table.loc[both, both] for title, table in alike.items()}
look = {"limits": (-1, 1), "colours": "PuOr", "bar": "Spearman's ρ of two proxies"}
figures["alike"] = plots.heat(alike, width=11.5, height=5, **look)
figures["alike"]

# %% [markdown]
# Which two proxies are alike in one space and not in the other?

# %%
small, big = (off_diagonal(table) for table in alike.values())
named = [f"{a} and {b}" for a, b in itertools.combinations(both, 2)]  # in the same order
moved = int(np.argmax(np.abs(small - big)))
Markdown(
    f"**{named[moved]}** differ most: {small[moved]:+.2f} on digits, {big[moved]:+.2f} on "
    "NAS-Bench-201. What a proxy measures depends on the space."
)

# %% [markdown]
# How well do they rank? The accuracies are the benchmark's own and are **not** stored here. With `NASEDU_DATA`, or
# `data_root`, set to the folder that holds `nb201` (see `datasets/README.md`), the scores are judged now. Otherwise the
# **stored** outcome is shown below: the one in the solution notebook that comes with the project.


# %%
def accuracies(cells):
    """NAS-Bench-201's test accuracies, or None where they are not at hand."""
    if not (cfg.data_root or os.environ.get("NASEDU_DATA")):
        return None
    try:
        found = benchmarks.nasbench201(cfg.data_root).scores("test").reindex(cells)
    except errors.DataError as error:
        return print(error)
    if found.isna().any():
        raise errors.DataError(f"that file lacks {found.isna().sum()} of {len(cells)} cells")
    return found


real = accuracies(large.index)
print("judged now" if real is not None else "no accuracies at hand: the stored outcome follows")

# %% [markdown]
# Two columns of **published figures, not ours**, stand beside our ρ. One is by Abdelfattah et al. (ICLR 2021), over all
# cells; their notebook gives it without sign. The other is computed from the scores that NAS-Bench-Suite-Zero
# (Krishnakumar et al., NeurIPS 2022) published for 724 cells. Both pools contain copies, so ours keeps its copies here.


# %%
def shipped(figure):
    """Show what the solution that comes with the project shows for this figure."""
    path = places.solution(cfg.notebook)
    nb = nbformat.read(path, as_version=4) if path.is_file() else nbformat.v4.new_notebook()
    cells = [cell for cell in nb.cells if f'figures["{figure}"] =' in cell.source]
    found = [output for cell in cells for output in cell.get("outputs", []) if "data" in output]
    found = [output for output in found if "**Stored**" not in str(output.data)]  # not our own
    display(Markdown("**Stored**: " + ("from the project's own run" if found else "not at hand")))
    for output in found:
        display(output.data, raw=True, metadata=output.metadata)


AUTHORS = {"grad_norm": 0.594, "snip": 0.596, "grasp": 0.514, "fisher": 0.360, "synflow": 0.737}
AUTHORS |= {"jacob_cov": 0.731}
SUITE = {"naswot": 0.787, "jacob_cov": 0.766, "params": 0.738, "synflow": 0.736, "l2_norm": 0.725}
SUITE |= {"macs": 0.711, "epe_nas": 0.666, "snip": 0.608, "grad_norm": 0.607, "grasp": 0.538}
SUITE |= {"fisher": 0.509, "plain": -0.258}
published = pd.DataFrame({"authors' |ρ|": AUTHORS, "Suite-Zero's ρ": SUITE})
published.sort_values("Suite-Zero's ρ", ascending=False).T

# %% [markdown]
# Each row is a proxy: our ρ with its interval, and the published ones.

# %%
there, there_leads = None, {}
if real is None:
    shipped("nasbench201")
else:  # our ρ, the published ones beside it
    there = ranking.judge_all(stored, real, top=cfg.top, **paired)
    there, there_leads = there.sort_values("spearman", ascending=False), leads(stored, real)
    rows = there[["spearman", "spearman_low", "spearman_high"]].itertuples()
    series = {"ours, 200 cells": {name: plots.Interval(*ends) for name, *ends in rows}}
    series |= {name: column.dropna() for name, column in published.items()}
    look = {"xlabel": "Spearman's ρ with the accuracy", "width": 9, "height": 8}
    figures["nasbench201"] = plots.dots(series, **look).guide(x=0)
    over = [name for name, found in there_leads.items() if found.low > 0]
    off = (there.spearman - published["Suite-Zero's ρ"]).abs().dropna()
    news = (
        f"On {len(real)} cells **{there.index[0]}** ranks best, with ρ = "
        f"{there.spearman.iloc[0]:+.2f}; the parameters have {there.spearman['params']:+.2f}. "
        f"Ahead of the parameters in pairs, with the whole interval: {', '.join(over) or 'none'}. "
        f"Our ρ differ from Suite-Zero's by {off.mean():.2f} on average, most for {off.idxmax()} "
        f"({off.max():.2f})."
    )
    display(figures["nasbench201"], Markdown(news))

# %% [markdown]
# ### Exercise 08.6: an order that width turns round
# *Difficulty 2 of 3, about 15 min; experiment.* To save time, some code scores networks with fewer channels than they
# will have. Does the order stay the same? Find two chains without normalisation, `chain(layers, width, norm=False)`, so
# that SynFlow puts the first above the second as they are, and the second above the first once *both* are twice as
# wide. Return `((layers, width), (layers, width))`, with 1 to 12 layers and widths from 1 to 64. The checker draws five
# initialisations of each, so leave a margin.
#
# <details><summary>Hint 1</summary>Print <code>math.log(sum(flows(chain(layers, width, norm=False), (3, 8, 8))))</code>
# for some layers and widths, and again for twice the width.</details>
# <details><summary>Hint 2</summary>Twice the width multiplies the flow by about the same factor in every layer. Which
# network gains more by that?</details>


# %% tags=["stub"]
def overtaken():
    raise NotImplementedError


# %% tags=["solution"]
def overtaken():
    # each layer gains about half a ln 2, so the deep and narrow one overtakes
    return (6, 64), (12, 5)


# %% tags=["nbval-check-output"]
check_turned(overtaken)

# %% [markdown]
# ## 7 · Are several better than one?
#
# Scores of different proxies have different units, so we combine *ranks*. **Log-rank** is $\sum \ln(r/n)$, with $r$ the
# rank among $n$ networks (1 is the worst) and the sum over the proxies. A low rank weighs heavily, so a network must do
# well in all. Each marker below is a pair of proxies. Its height is by how much the pair ranks better than the better
# one of the two. Its place along the axis is how alike the two rank. Its colour is the weaker one's own ρ. The four
# pairs that gain most are named.

# %%
columns = [name for name in mean if name != "random"]  # dice add noise only
gains = ranking.complementary(mean[columns], pool).dropna(subset="gain")
thirds = gains.groupby(gains.worse.rank(pct=True).mul(3).sub(1e-9).astype(int))
best_pair = [gains["first"].iloc[0], gains["second"].iloc[0]]
ends = {f"weaker: ρ {g.worse.min():.2f} to {g.worse.max():.2f}": g for _, g in thirds}
points = {name: (g.between, g.gain) for name, g in ends.items()}
points |= {f"{g.first} + {g.second}": (g.between, g.gain) for g in gains[:4].itertuples()}
ylabel = "ρ of the combination\nless ρ of the better one"
look = {"xlabel": "Spearman's ρ between both proxies", "ylabel": ylabel, "height": 4.8}
figures["pairs"] = plots.scatter(points, **look).guide(y=0)
figures["pairs"]

# %% [markdown]
# The best pair was found *by looking at the truth*. The largest of many noisy numbers is mostly one that noise made
# larger, so the best pair's gain is too good to be true. An honest gain needs two draws. We choose the best pair and
# the best single score on one half of the networks, and compare these two on the other half.


# %%
def on_the_other_half(rng):
    """By how much a pair beats a single score: on the half that chose both, and on the other."""
    order = pool.index[rng.permutation(len(pool))]
    here, there = order[: len(pool) // 2], order[len(pool) // 2 :]
    pairs = ranking.complementary(mean.loc[here, columns], pool[here])
    pair = pairs.nlargest(1, "spearman").iloc[0]
    alone = pd.Series({name: spearman(mean[name][here], pool[here]) for name in columns})
    together = combine(mean.loc[there, [pair["first"], pair["second"]]])
    single = mean[alone.idxmax()][there]
    later = spearman(together, pool[there]) - spearman(single, pool[there])
    return pair.spearman - alone.max(), later


rng = np.random.default_rng(cfg.seed)
chosen_on, other = on_the_other_half(rng)
print(f"one split: {chosen_on:+.3f} where it was chosen, {other:+.3f} on the other half")

# %% [markdown]
# One split says little: each half holds few networks. So we repeat it.

# %%
# the mean over splits, and where most of them lie
halves = np.array([on_the_other_half(rng) for _ in course.Bar(range(cfg.splits), "halves")])
promised, kept_gain = np.nanmean(halves, axis=0)
low, high = np.nanquantile(halves[:, 1], [0.1, 0.9])
lost_gain = "Choosing by the truth flattered the pair." if kept_gain < promised else ""
Markdown(
    f"Where both were chosen, the best pair gains {promised:+.3f} over the best single score. On "
    f"the other half it gains **{kept_gain:+.3f}** (four fifths of the {cfg.splits} splits lie "
    f"between {low:+.2f} and {high:+.2f}). {lost_gain}"
)

# %% [markdown]
# ### Proxies as features of a predictor
#
# Instead of a formula, a model can *learn* how to combine the scores: a random forest gets all ranks of a network and
# predicts its accuracy. For this some networks must be trained, so it is no longer free. It is judged fairly if no
# network is predicted by a forest that has seen it: split the networks into five parts, and predict each part with a
# forest that learnt from the other four. Does it beat the parameters?

# %%
wager = course.predict(
    "A forest learns from four fifths of the networks. Does it rank the rest better than size?",
    ["yes", "no", "it cannot be told"],
)

# %% [markdown]
# The features are the ranks of all scores, the parameters among them. Ranks need no truth.


# %%
def forest(features, repeat, known=None):
    """Predicted accuracies: every network by a forest that learnt from others (`known` at most)."""
    guess, rng = pd.Series(0.0, index=pool.index), np.random.default_rng(repeat)
    for learnt, hidden in KFold(5, shuffle=True, random_state=repeat).split(features):
        learnt = rng.permutation(learnt)[:known]
        model = RandomForestRegressor(cfg.trees, min_samples_leaf=3, random_state=repeat)
        model.fit(features.iloc[learnt], pool.iloc[learnt])
        guess.iloc[hidden] = model.predict(features.iloc[hidden])
    return guess


features = mean[columns].apply(ranking.ranks)
once = spearman(forest(features, repeat=0), pool)
print(f"one forest: ρ = {once:+.2f} on networks that it did not see")

# %% [markdown]
# The picture shows every rival's lead over the parameters, in pairs on the same resampled networks. For the forests it
# is the mean of three splits.

# %%
repeats = range(3)  # of the split and of the forest
fixed = {"log-rank of all proxies": wanted, "best pair, chosen by this truth": best_pair}
rivals = {name: dict.fromkeys(repeats, combine(mean[some])) for name, some in fixed.items()}
most = len(pool) * 4 // 5
for name, given, known in (
    ("forest on parameters alone", features[["params"]], None),
    (f"forest on all, {min(20, most)} trained networks", features, 20),
    (f"forest on all, {most} of {len(pool)} trained networks", features, None),
):
    rivals[name] = {repeat: forest(given, repeat, known) for repeat in repeats}
size = dict.fromkeys(repeats, mean.params)
rival_leads = {name: difference(rival, size, pool, **paired) for name, rival in rivals.items()}
look = {"xlabel": "ρ less ρ of the parameters, in pairs, 95 %"}
figures["combined"] = plots.dots(rival_leads, **look).guide(x=0)
figures["combined"]

# %% [markdown]
# And your prediction:

# %%
*rest_of_them, last = rival_leads.items()
came = "yes" if last[1].low > 0 else "no" if last[1].high < 0 else "it cannot be told"
told = " ".join(f"The {name}: {found}." for name, found in rest_of_them)
wager.came(came, f"Its lead is {last[1]}. {told}")

# %% [markdown]
# Notebook 07 trains a predictor *during* a search. Notebook 09 combines proxies where no truth is at hand, and searches
# with them.
#
# **Move it yourself**: tick proxies, weigh them, and choose how to combine them. Can you beat the best pair? Can you
# make a mixture that is worse than each of its parts?

# %%
from nasedu.widgets import ProxyMixWidget

widget = ProxyMixWidget(mean[columns], pool, chosen=best_pair)
widget

# %% [markdown]
# For pages that cannot run, here is the same as a fixed figure: the best pair by log-rank. Each part has its own ρ. The
# last row and the dashed line are the mixture's.

# %%
figures["mix"] = ProxyMixWidget(mean[columns], pool, chosen=best_pair, method="log_rank").figure
figures["mix"]

# %% [markdown]
# ## 8 · The verdict
#
# What do the scores buy? Judge the log-rank of *all* proxies: it was not chosen by the truth, so it may be judged on
# every network. Suppose that you can train one network only. You can pick it by the log-rank, by the number of
# parameters, or at random. All three cost about the same, because scoring takes milliseconds. The verdict compares them
# in pairs. **Points** are percentage points of test accuracy. A pick is a single network, so its intervals are rough.


# %%
def worth(frames, truth):
    """What the log-rank of all proxies has over the parameters and over a random pick, in pairs."""
    some = [name for name in frames[0] if name not in ("params", "macs", "random")]
    mine = {s: combine(frame.loc[truth.index, some]) for s, frame in frames.items()}
    by_size = {s: frame.params[truth.index] for s, frame in frames.items()}
    equal = {s: 0.0 * scores for s, scores in by_size.items()}  # ties are picked from at random
    return {
        "ρ less the parameters' ρ": difference(mine, by_size, truth, **paired),
        "points over a random pick": difference(equal, mine, truth, "regret", **paired),
        "points over the pick by size": difference(by_size, mine, truth, "regret", **paired),
    }


places_judged = {"our cells": (frames, pool), "their better half": (upper_frames, rest[better])}
if real is not None:
    places_judged[f"NAS-Bench-201, {len(real)} cells"] = stored, real
verdicts = {where: worth(*given) for where, given in places_judged.items()}
pd.DataFrame(verdicts).T.map(str)

# %% [markdown]
# The same as a picture, and in words:

# %%
panels = {what: {"": {w: v[what] for w, v in verdicts.items()}} for what in verdicts["our cells"]}
figures["verdict"] = plots.dots(panels, width=12, share="y", xlabel="in pairs, 95 %").guide(x=0)


def than(found):
    return "better" if found.low > 0 else "worse" if found.high < 0 else "not clearly better"


told = [
    f"- **{where[0].upper() + where[1:]}**: as a ranking, the log-rank is {than(ranked)} than the "
    f"parameters. Its pick is {than(luck)} than a random one, and {than(by_size)} than size's."
    for where, (ranked, luck, by_size) in ((w, v.values()) for w, v in verdicts.items())
]
display(figures["verdict"], Markdown("\n".join(told)))
if real is None:  # the larger pool needs its accuracies
    shipped("verdict")

# %% [markdown]
# ## Summary
#
# - A proxy asks an untrained network one question: do weights matter, can signals flow, do images get different codes,
#   how strongly does the output react?
# - Most are a few lines. What makes them right stands around these lines: the mode of normalisation, the precision, the
#   signs put back, a failure that ranks last.
# - Test a proxy by its *properties*: what must not change it, what must scale it, what must break it.
# - Compare it with the number of parameters, in pairs and with an interval, and also among the good networks.
# - A combination that was chosen by the truth must be judged by another draw of networks.
#
# **Pitfalls**
#
# - *No baseline.* The number of parameters costs nothing. A proxy that does not beat it is not worth its time.
# - *Unpaired intervals.* Two scores whose intervals overlap may still differ beyond doubt: look at their difference.
# - *Copies in the pool.* Networks with dead weights are not new networks, and they make the parameters look poor.
# - *|ρ|.* A sign must be known before the truth is.
# - *Failures that win.* NaN turned into 0, a negative eigenvalue, an overflow: look at your best network first.
# - *One space.* The order of the proxies changes with the space and the data. That of section 5 holds for this table.
# - *Chosen by the truth.* The best of many pairs, judged on the networks that chose it, looks better than it is.
#
# **Further reading**
#
# - SNIP: Lee, Ajanthan, Torr, ICLR 2019. GraSP: Wang, Zhang, Grosse, ICLR 2020. SynFlow: Tanaka et al., NeurIPS 2020
# - NASWOT: Mellor, Turner, Storkey, Crowley, *Neural Architecture Search without Training*, ICML 2021; the Jacobian
#   covariance is in its first version (arXiv, 2020)
# - Six proxies compared: Abdelfattah, Mehrotra, Dudziak, Lane, *Zero-Cost Proxies for Lightweight NAS*, ICLR 2021
# - Zen-score: Lin et al., *Zen-NAS*, ICCV 2021. Neural tangent kernel and linear regions: Chen, Gong, Wang (TE-NAS),
#   ICLR 2021
# - All in one place, their biases, and proxies as features: Krishnakumar, White et al., *NAS-Bench-Suite-Zero*, NeurIPS
#   2022

# %%
course.finish(
    cfg,
    summary=summary,
    figures=figures,
    results={  # what a comparison of two runs needs
        "judged": judged.to_dict("index"),
        "leads": {name: found._asdict() for name, found in lead.items()},
        "better_half": {name: found._asdict() for name, found in upper_leads.items()},
        "milliseconds": took,
        "depth": {"accuracy": by_depth, "zen_ema_per_layer": per_layer},
        "naswot_less_bits": gap._asdict(),
        "pairs": gains.head(10).to_dict("index"),
        "halves": {"promised": promised, "kept": kept_gain},
        "combined": {name: found._asdict() for name, found in rival_leads.items()},
        "verdict": {w: {n: found._asdict() for n, found in v.items()} for w, v in verdicts.items()},
        "nasbench201": there.to_dict("index") if there is not None else None,
        "reliability": dict(zip(("all", "better half"), agree, strict=True)),
    },
)
