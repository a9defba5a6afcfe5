# %% [markdown]
# # Zero-cost proxies
#
# A score for a network that nobody trained: what it looks at, how it breaks, and how well it ranks.
#
# Training a network says how good it is, and costs minutes to days. A **zero-cost proxy** looks at the *untrained*
# network, with one batch of images or none, and takes milliseconds. About twenty of them have been published. Most are
# a few lines of code; many of the public versions of these lines are wrong. Here eight are built from scratch, you
# write the core of three; you break them on purpose, and then judge all of them against the truth, beside the humblest
# score there is: the number of parameters.
#
# **Afterwards you can**
#
# 1. write SNIP, GraSP, SynFlow, NASWOT, the Jacobian covariance and the Zen-score in a few lines each;
# 2. say what each needs, what it costs and what it cannot see;
# 3. recognise a broken proxy by what it does, not by its value;
# 4. judge a proxy honestly: with intervals, seeds, baselines, and at the top, where a search looks;
# 5. tell when two proxies together are worth more than one.
#
# **You need** PyTorch's `autograd`, and an idea of rank correlation (notebook 05).
#
# | preset | what it runs | time, two CPU cores |
# |---|---|---|
# | `smoke` | 4 proxies on 10 networks: only proves that every cell works | 10 seconds |
# | `quick` | 12 proxies on 205 networks, 3 initialisations each | 220 seconds, beside other work |
# | `full` | 20 proxies, 5 initialisations | not measured |
# | `gpu` | the same on a GPU; networks this small gain little | not measured |

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu; it sets every parameter below that is None
benchmark: str = None  # table of trained architectures, the truth
data_root: str = None  # folder that holds nb201, for NAS-Bench-201; None: the one that NASEDU_DATA names, if any
proxies: list[str] = None  # which to judge in section 5; te_nas and az_nas are possible, too
cells: int = None  # how many of the 205 different trainings to judge them on
seeds: int = None  # initialisations of every network
batch_size: int = None  # images that a proxy sees
top: float = None  # share of the networks that counts as the top
resamples: int = None  # of every bootstrap interval
timed_cells: int = None  # networks on which each proxy is timed
depths: list[int] = None  # layers of the chains that section 4 trains
depth_epochs: int = None  # passes over the 1,000 images for each of them
depth_seeds: int = None  # trainings of each of them
threads: int = None  # CPU threads
seed: int = None  # of every random choice
device: str = None  # auto, cpu, cuda, cuda:1 ...
out_dir: str = None  # folder of the results; None: one per set of parameters

# %%
import copy
import math
import os
import time
from collections import defaultdict
from functools import partial

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown, display
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from nasedu import course, data, errors, plots, ranking, spaces
from nasedu import proxies as zero_cost
from nasedu.course.checks.proxies import check_agreement, check_flow, check_identify, check_ranks, check_snip
from nasedu.data import benchmark as benchmarks

known = [*zero_cost.names(), *ranking.COMPOSITES]
cfg = course.setup("08_zero_cost_proxies", globals(), choices={"benchmark": benchmarks.STORED, "proxies": known})
torch.set_num_threads(cfg.threads)
cfg

# %% [markdown]
# ## 1 · Can you tell before training?
#
# The space of notebooks 00 and 07: cells of six edges, on real digits of 8 by 8 pixels. This project has trained all of
# them, three seeds each. Four, as graphs from input to output; a dotted edge carries nothing. A and C have equally
# many parameters. Which one is best, which one worst?

# %%
bench = benchmarks.load(cfg.benchmark)
space = spaces.create("nasbench201", **bench.space_options)
truth = bench.scores("test")[bench.distinct]
none, skip, conv = space.operations
four = {
    "A": f"|{conv}~0|+|{conv}~0|{none}~1|+|{skip}~0|{skip}~1|{conv}~2|",
    "B": f"|{conv}~0|+|{skip}~0|{skip}~1|+|{skip}~0|{skip}~1|{skip}~2|",
    "C": f"|{conv}~0|+|{none}~0|{conv}~1|+|{none}~0|{none}~1|{conv}~2|",
    "D": f"|{skip}~0|+|{none}~0|{skip}~1|+|{skip}~0|{skip}~1|{skip}~2|",
}
figures = {"four": plots.cells(space, {name: space.parse(text) for name, text in four.items()}, columns=2)}
figures["four"]

# %% [markdown]
# There is a score without training that everybody knows: the **number of parameters**. Every grey dot is a network;
# dots in one column have equally many convolutions.

# %%
params = bench.frame.params[truth.index]
marks = {name: (params[text], truth[text]) for name, text in four.items()}
figures["params"] = plots.landscape(params, truth, marks, xlabel="parameters", ylabel="test accuracy (%)")
figures["params"]

# %% [markdown]
# It sees something. But each column holds poor and good networks, and it cannot tell A from C, nor that B, with a third
# of C's parameters, is better. A proxy earns its name by seeing more. What could one see in an untrained network?
#
# - **Gradients**: do the weights matter to the loss at all? (gradient norm, SNIP, GraSP, Fisher)
# - **Paths**: how much can flow through, whatever the data? (SynFlow)
# - **Codes**: do different images switch different ReLUs on? (NASWOT)
# - **Sensitivity**: does the output react to each image in its own way? (Jacobian covariance) And how strongly does it
#   react to a small change? (Zen-score)
#
# Here is the answer of one of them, NASWOT, from a few milliseconds with each *untrained* network:

# %%
train_set = data.classification(**bench.task, split="train", size=1000).to(cfg.device)
images, labels = train_set.images[: cfg.batch_size], train_set.labels[: cfg.batch_size]
batch = (images, labels)


def untrained(text, seed=cfg.seed):
    return space.build(space.parse(text), seed=seed).to(cfg.device)


for name, text in four.items():
    guess = zero_cost.score("naswot", untrained(text), batch)
    print(f"{name}: naswot {guess:6.1f}, accuracy after training {truth[text]:.1f} %")

# %% [markdown]
# It puts A over B over D, rightly, and it falls for C, a chain without a single shortcut. Both are typical. Section 4
# shows why.
#
# ## 2 · Gradients: does a weight matter?
#
# $L$ is the cross-entropy of one batch, $w$ a weight of a convolution or linear layer and $g = \partial L/\partial w$.
# **Gradient norm**: $\sum_\text{layers} \lVert g \rVert_2$. **SNIP** asks what the loss would lose if $w$ were removed.
# To first order that is $w \cdot g$, so it sums $\lvert w \cdot g \rvert$ over all weights.

# %%
net = untrained(four["A"])


def weights(model):
    """Of convolutions and linear layers: biases and normalisation have one dimension only."""
    return [p for p in model.parameters() if p.ndim >= 2]


def gradients(model, images, labels, create_graph=False):
    loss = F.cross_entropy(model(images), labels)
    return torch.autograd.grad(loss, weights(model), create_graph=create_graph)


def my_grad_norm(model, images, labels):
    return float(sum(g.norm() for g in gradients(model, images, labels)))


# %%
def same(mine, name, model=net, tolerance=1e-4, **options):
    """Whether the package agrees, on the same network, weights and batch."""
    return math.isclose(mine, zero_cost.score(name, model, batch, **options), rel_tol=tolerance)


assert same(my_grad_norm(net, images, labels), "grad_norm")

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
# **GraSP** looks one step further: how would removing $w$ change the *size of the gradient*, that is, how fast the
# rest learns? That takes the Hessian $H$, but only its product with $g$: the gradient of $\frac12 g \cdot g$. Its score
# is $-\sum w \cdot (H g)$. The minus is the paper's own; only the use is
# turned round: pruning *keeps* the weights with the lowest values, ranking networks prefers the *highest* sum.


# %%
def my_grasp(model, images, labels):
    g = gradients(model, images, labels, create_graph=True)
    half_square = sum((part**2).sum() for part in g) / 2
    hg = torch.autograd.grad(half_square, weights(model))
    return -float(sum((w * h).sum() for w, h in zip(weights(model), hg, strict=True)))


assert same(my_grasp(net, images, labels), "grasp", tolerance=1e-3)

# %% [markdown]
# Where do these gradients sit? Every marker is a convolution of network A, in order, the last is the classifier. The
# names say stage and edge of the cell. No layer is starved: one far below all others would hardly learn. (The two
# reductions have small kernels, 1×1, and so add least.)

# %%
names = [n.split(".")[1] for n, p in net.named_parameters() if p.ndim >= 2]
names = [n.replace("cell", "").replace("_1_", " ").replace("to", "→") for n in names]
pairs = list(zip(weights(net), gradients(net, images, labels), strict=True))
by_layer = {"SNIP: Σ |w · g|": [float((w * g).detach().abs().sum()) for w, g in pairs]}
by_layer["gradient norm: ‖g‖"] = [float(g.norm()) for _, g in pairs]
figures["layers"] = plots.lines(by_layer, names, xlabel="layer", ylabel="what the layer adds", ylim=(0, None))
figures["layers"]

# %% [markdown]
# **Fisher** reads the layers' *outputs* $a$ instead of weights: $\frac12\, \text{mean}_n (\sum_{hw} a \cdot \partial
# L/\partial a)^2$, summed over channels. A hook keeps what a layer returned.


# %%
def my_fisher(model, images, labels):
    outputs = []
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [m.register_forward_hook(lambda _, __, out: outputs.append(out)) for m in layers]
    loss = F.cross_entropy(model(images), labels)
    [hook.remove() for hook in hooks]
    pairs = zip(outputs, torch.autograd.grad(loss, outputs), strict=True)
    by_image = [(a * g).flatten(2).sum(2) if a.ndim == 4 else a * g for a, g in pairs]  # (images, channels)
    return float(sum((value**2).mean(0).sum() / 2 for value in by_image))


assert same(my_fisher(net, images, labels), "fisher")

# %% [markdown]
# ## 3 · Paths, codes, sensitivity
#
# ### SynFlow: how much can flow through?
#
# Make every weight positive, feed one image of ones, add up all outputs: $R$. Then $R$ is the sum over all **paths**
# through the network of the product of their weights. $\lvert w \cdot \partial R/\partial w\rvert$ is the flow that
# passes through $w$, and SynFlow adds it up. No data, no labels. Batch normalisation would undo the flow, so it is
# replaced by the identity; and since $R$ grows exponentially with depth, everything is computed in float64.


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
    return [float((w * g).sum()) for w, g in zip(weights(model), gradients, strict=True)]


assert same(sum(flows(net, space.input_shape)), "synflow", tolerance=1e-9)

# %% [markdown]
# In a plain chain of layers all paths pass through every layer. So every layer must carry the same flow, and it is
# exactly $R$: what goes in comes out. Multiply one layer by 3, and *all* carry three times as much.


# %%
def chain(layers, width=8, norm=True, seed=cfg.seed):
    """Convolutions one after another, without any shortcut."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        convs = [nn.Conv2d(width if i else 3, width, 3, padding=1, bias=False) for i in range(layers)]
        parts = [part for conv in convs for part in (conv, *[nn.BatchNorm2d(width)] * norm, nn.ReLU())]
        pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10, bias=norm)]
        return nn.Sequential(*parts, *pooled).to(cfg.device)


# %%
plain = chain(5, norm=False)
carried = {"as drawn": flows(plain, (3, 8, 8))}
plain[2].weight.data.mul_(3)
carried["conv 2 times 3"] = flows(plain, (3, 8, 8))
assert np.allclose([*carried["as drawn"], *carried["conv 2 times 3"]], np.repeat([1, 3], 6) * carried["as drawn"][0])
where = [f"conv {i + 1}" for i in range(5)] + ["linear"]
figures["flow"] = plots.lines(carried, where, ylabel="flow through the layer", ylim=(0, None))
figures["flow"]

# %% [markdown]
# ### Exercise 08.2: the flow, and the signs put back
# *Difficulty 2 of 3, about 15 min.* Return $R$: the sum of the outputs for **one image of ones** of `shape` (C, H, W),
# with every weight replaced by its absolute value, in float64. Afterwards `model` must be what it was: signs, values
# and precision. (The networks of the checker have no batch normalisation and no biases.) A public version of SynFlow
# that forgets to put the signs back ruins the network for all proxies that come after it.
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
# At each ReLU an input is above 0 (on) or not. All these bits are an image's **code**. Two images with the same code
# lie in the same linear piece of the network: it treats both with the same linear function, which makes
# them hard to tell apart. The
# **kernel** $K_{ij}$ counts the bits on which images $i$ and $j$ agree. NASWOT is
# $\ln\lvert\det K\rvert$. It is large for two reasons: many bits ($\det K$ grows like their number to the power $B$),
# and codes that differ.


# %%
@torch.no_grad()
def codes(model, images):
    """(images, bits): for every ReLU whether its input was above 0."""
    found = []
    relus = [m for m in model.modules() if isinstance(m, nn.ReLU)]
    hooks = [m.register_forward_pre_hook(lambda _, args: found.append(args[0].flatten(1) > 0)) for m in relus]
    model(images)
    [hook.remove() for hook in hooks]  # a hook that stays would count every bit twice at the next call
    return torch.cat(found, 1).double()


def kernel(c):
    return c @ c.T + (1 - c) @ (1 - c).T  # both on, or both off


def my_naswot(model, images):
    return float(torch.linalg.slogdet(kernel(codes(model, images))).logabsdet)


assert same(my_naswot(net, images), "naswot", tolerance=1e-6)

# %% [markdown]
# Left: the codes of 24 images (rows) at the last 60 bits of network A, yellow is on. Then kernels as shares of equal
# bits. In both networks two images agree on a little more than half of the bits; in D, which has no convolution in its
# cells, the pairs scatter more, and some agree on most bits. But look at the titles, too: A has far more bits than D,
# and that makes most of the difference between their scores.

# %%
some = images[:24]
shown = {"A: codes": codes(net, some)[:, -60:].cpu()}
for name in "AD":
    K = kernel(codes(untrained(four[name]), some)).cpu()
    shown[f"{name}: kernel, {int(K[0, 0])} bits, {truth[four[name]]:.0f} % right"] = K / K[0, 0]
figures["kernels"] = plots.heat(shown, limits=(0, 1), bar="bit, or share of equal bits", ylabel="image", share="")
agreeing = {name: np.asarray(K)[np.triu_indices(len(some), 1)] for name, K in list(shown.items())[1:]}
told = "; ".join(f"{name}: from {p.min():.2f} to {p.max():.2f}, mean {p.mean():.2f}" for name, p in agreeing.items())
figures["kernels"].alt = f"The codes of 24 images as dark and bright bits. Shares of equal bits of two images: {told}."
figures["kernels"]

# %% [markdown]
# ### Exercise 08.3: the agreement kernel
# *Difficulty 2 of 3, about 10 min.* `x` (B, …) is what goes *into* a ReLU. Return $K$ (B, B): on how many units each
# pair of images agrees. A unit is on where its input is above 0; 0 itself is off.
#
# <details><summary>Hint 1</summary>Flatten to (B, units), compare with 0, turn into numbers.</details>
# <details><summary>Hint 2</summary>C Cᵀ counts where both are on. Where are both off?</details>


# %% tags=["stub"]
def agreement(x):
    raise NotImplementedError


# %% tags=["solution"]
def agreement(x):
    c = (x.flatten(1) > 0).double()
    return c @ c.T + (1 - c) @ (1 - c).T


# %% tags=["nbval-check-output"]
check_agreement(agreement)

# %% [markdown]
# ### Jacobian covariance: does the output react to each image in its own way?
#
# $J_n$ is the gradient of image $n$'s summed outputs **to its pixels**. If all $J_n$ point the same way, the network is
# one linear function for all images. With $\lambda_i$ the eigenvalues of the correlation matrix of the $J_n$ and
# $k = 10^{-5}$ the score is $-\sum_i \left[\ln(\lambda_i + k) + 1/(\lambda_i + k)\right]$. It is at most about $-B$ for
# $B$ images, and that is reached when all correlations are 0.


# %%
def jacobian(model, images):
    x = images.clone().requires_grad_(True)
    return torch.autograd.grad(model(x).sum(), x)[0].flatten(1)


def my_jacob_cov(model, images, k=1e-5):
    values = torch.linalg.eigvalsh(torch.corrcoef(jacobian(model, images).double())).clamp(min=0) + k
    return -float((values.log() + 1 / values).sum())


assert same(my_jacob_cov(net, images), "jacob_cov", tolerance=1e-3)

# %% [markdown]
# The correlations for the four networks, purple is positive, orange negative. The score is high where everything off
# the diagonal is pale. D reacts to many pairs of images in the same way, or in the opposite one.

# %%
corr = {name: torch.corrcoef(jacobian(untrained(four[name]), some)).cpu() for name in "ABCD"}
corr = {f"{name}: {truth[four[name]]:.0f} % right": C for name, C in corr.items()}
looks = {"limits": (-1, 1), "colours": "PuOr", "bar": "correlation of the gradients"}
figures["jacobian"] = plots.heat(corr, xlabel="image", ylabel="image", **looks)
off = {name: np.abs(np.asarray(C))[np.triu_indices(len(some), 1)] for name, C in corr.items()}
told = "; ".join(f"{name}: {p.mean():.2f}" for name, p in off.items())
figures["jacobian"].alt = f"Correlations between the gradients of 24 images. Their mean size off the diagonal: {told}."
figures["jacobian"]

# %%
palest, ablest = min(off, key=lambda name: off[name].mean())[0], max(four, key=lambda name: truth[four[name]])
Markdown(
    f"**{palest}** is the palest, with {truth[four[palest]]:.0f} % right; the best is {ablest}. "
    + ("Here both agree." if palest == ablest else f"This score falls for {palest}: pale is not the same as good.")
)

# %% [markdown]
# ### Zen-score: how strongly does the network react?
#
# Draw an image $x$ of pure noise and move it a little: $x + \alpha\varepsilon$. By how much does the last feature map
# $f$ move? More means a more expressive network. But batch normalisation divides each layer by its standard deviation
# and so hides how much it amplified; the Zen-score adds these divisors back in: $\ln \text{mean}_n\lVert f(x_n) - f(x_n
# + \alpha\varepsilon_n)\rVert + \sum_\text{BN} \frac12\ln \text{mean}_c \sigma_c^2$. Weights are drawn from $N(0, 1)$.
# No data at all. (The theory is one of chains, so Zen-NAS takes shortcuts out first. Our cells have no switch for that:
# here they stay in.)


# %%
@torch.no_grad()
def reaction(model, shape, alpha=0.01, rng=None):
    """Two inputs, their two feature maps before pooling, and the variances that normalisation divided by."""
    rng, model = rng or torch.Generator().manual_seed(cfg.seed), copy.deepcopy(model).train()
    draw = lambda shape: torch.randn(shape, generator=rng).to(cfg.device)  # noqa: E731
    [m.weight.copy_(draw(m.weight.shape)) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    maps, variances = [], []
    model.parts["act"].register_forward_hook(lambda _, __, out: maps.append(out))
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.register_forward_pre_hook(lambda _, args: variances.append(args[0].var((0, 2, 3), correction=0)))
    x = draw(shape)
    inputs = x, x + alpha * draw(shape)
    [model(each) for each in inputs]
    return inputs, maps, variances[: len(variances) // 2]


# %%
def my_zen(model, shape, rng=None):
    _, (f, moved), variances = reaction(model, shape, rng=rng)
    distance = (f - moved).flatten(1).norm(dim=1).mean()
    return float(distance.log() + sum(v.mean().log() / 2 for v in variances))


mine = my_zen(net, images.shape, torch.Generator().manual_seed(7))
assert same(mine, "zen", generator=torch.Generator().manual_seed(7))  # the same draws: handed in

# %% [markdown]
# From the left: noise, the same noise moved by a hundredth (you cannot see it), a channel of the feature map for both,
# and their difference, each on a scale of its own. (64 pixels a side, to see more.)

# %%
(x, near), (f, moved), _ = reaction(net, (8, 3, 64, 64))
views = {"x": x[0, 0], "x + 0.01 ε": near[0, 0], "f(x)": f[0, 0], "f(x + 0.01 ε)": moved[0, 0]}
views["difference"] = f[0, 0] - moved[0, 0]
size = {"width": 12, "height": 2.6}
figures["zen"] = plots.heat({name: view.cpu() for name, view in views.items()}, columns=5, share="", **size)
figures["zen"]

# %% [markdown]
# The package has these and more. What each needs and costs, straight from its registry (`info(name).formula` has the
# definition, the paper, the sign and what it cannot see):

# %%
pd.options.display.max_colwidth = None
facts = [zero_cost.info(name) for name in zero_cost.names()]
pd.DataFrame({"needs": [p.needs for p in facts], "costs": [p.passes for p in facts]}, index=[p.name for p in facts])

# %% [markdown]
# ## 4 · Break them
#
# Every failure below was found in public code or in published tables. A broken proxy still returns a number. So you
# must know what a *right* one does.
#
# **Twins in the batch.** With two equal images no network has two different codes: NASWOT's determinant is 0 and its
# score $-\infty$, which must rank last and not stop the search. The Jacobian's score stays finite, but loses about
# $1/k = 100{,}000$: one careless duplicate is larger than all differences between networks.

# %%
twins = images.clone()
twins[1] = twins[0]
assert zero_cost.score("naswot", net, twins) == -math.inf
lost = zero_cost.score("jacob_cov", net, images) - zero_cost.score("jacob_cov", net, twins)
assert 90_000 < lost < 110_000
apart = [zero_cost.score("jacob_cov", untrained(four[name]), images) for name in "AB"]
print(f"one pair of twins costs jacob_cov {lost:,.0f}; networks A and B differ by {abs(apart[0] - apart[1]):.0f}")


# %% [markdown]
# **The best network is a failed one.** The neural tangent kernel's proxy is the condition number $\kappa =
# \lambda_\text{max}/\lambda_\text{min}$ of a kernel between images, and *small* is good. Twins make
# $\lambda_\text{min}$ zero. But computers round: it comes out tiny, of either sign. Negative means $-\kappa > 0$,
# better than every honest network. One public code replaces NaN by 0, with the same effect.


# %%
def tangent_kernel(model, images):
    outputs = model(images).sum(1)
    rows = [torch.autograd.grad(one, weights(model), retain_graph=True) for one in outputs]
    G = torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])
    return G @ G.T


naive = []
for i in range(1, 7):
    pair = images[:9].clone()
    pair[i] = pair[0]
    values = torch.linalg.eigvalsh(tangent_kernel(net, pair))
    naive.append(float(-values[-1] / values[0]))
    assert zero_cost.score("ntk", net, pair) < -1e6  # the package's: last, whatever the rounding
honest = zero_cost.score("ntk", net, images[:9])
print(f"without twins {honest:.0f}; with twins, naively: {', '.join(f'{value:.0e}' for value in naive)}")
print(f"in {sum(value > honest for value in naive)} of {len(naive)} batches with twins the failure would rank best")

# %% [markdown]
# **Normalisation in the wrong mode.** In `eval` mode normalisation uses the running statistics, 0 and 1 in a fresh
# network, instead of the batch's: it does nothing. Then the signs of NASWOT's codes are those of a network that will
# never run like that, and more of its units give all images the same bit. They say nothing.

# %%
modes = {"eval": untrained(four["A"]).eval(), "train": untrained(four["A"]).train()}
dead = {mode: float((codes(m, images).std(0) == 0).double().mean()) for mode, m in modes.items()}
assert dead["eval"] > dead["train"]
print(", ".join(f"{mode}: {share:.1%} of the units are the same for all images" for mode, share in dead.items()))

# %% [markdown]
# SynFlow is worse off. With normalisation kept in `train` mode what flows in does *not* come out: the layers' flows
# differ by far, and scaling a layer changes nothing. One public code runs it that way and turns the sign round, too.


# %%
def flows_with_norm(model):
    model = copy.deepcopy(model).double().train()
    for p in model.parameters():
        p.data.abs_()
    R = model(torch.ones(1, 3, 8, 8, dtype=torch.float64, device=cfg.device)).sum()
    return [float((w * g).sum()) for w, g in zip(weights(model), torch.autograd.grad(R, weights(model)), strict=True)]


right, wrong = flows(chain(5), (3, 8, 8)), flows_with_norm(chain(5))
assert np.ptp(right[:-1]) < 1e-9 * max(right) and abs(np.array(wrong[:-1])).max() < 1e-3 * abs(wrong[-1])
print("identity:", [f"{value:.3g}" for value in right], "\nkept:    ", [f"{value:.1g}" for value in wrong])

# %% [markdown]
# **Overflow.** $R$ multiplies from layer to layer. Forty layers, weights from $N(0, 1)$:

# %%
deep = chain(40, width=64, norm=False)
with torch.no_grad():
    [w.normal_(generator=torch.Generator(cfg.device).manual_seed(0)) for w in deep.parameters()]
    single = copy.deepcopy(deep)
    [w.abs_() for w in single.parameters()]
    R = single(torch.ones(1, 3, 8, 8, device=cfg.device)).sum()
double = zero_cost.score("synflow", deep, images)
assert not torch.isfinite(R) and 1e80 < double < math.inf
print(f"float32: {float(R)}, float64: {double:.0e}")

# %% [markdown]
# **Blind by construction.** `plain` is $\sum w \cdot g$ *with* its sign. But a convolution followed by batch
# normalisation does not care about its scale, so the loss does not change along $w$, and the sum over such a layer is 0
# but for rounding. What is left is the classifier alone: `plain` cannot see the network.

# %%
signed = [float((w * g).sum()) for w, g in pairs]
size = [float((w * g).detach().abs().sum()) for w, g in pairs]
assert all(abs(s) < 1e-2 * a for s, a in zip(signed[:-1], size[:-1], strict=True))
assert math.isclose(sum(signed), signed[-1], rel_tol=0.02)
print(f"convolutions {sum(signed[:-1]):.5f}, classifier {signed[-1]:.3f}; the same with |.|: {sum(size[:-1]):.2f}")

# %% [markdown]
# **A scale that ends.** Linear regions are counted by sending random inputs through: how many different codes come out?
# With 1,000 inputs at most 1,000. Networks of a usual width reach that ceiling at once (the lines lie on one another),
# and then all tie. Along a one-dimensional line of inputs there are fewer regions, and networks differ.

# %%
counts, sizes = {}, [30, 100, 300, 1000]
for name in "ABD":
    count = partial(zero_cost.score, "linear_regions", untrained(four[name]), images, repeats=1, size=8)
    counts[f"{name}, all directions"] = [count(samples=n) for n in sizes]
    counts[f"{name}, along a line"] = [count(samples=n, dimensions=1) for n in sizes]
assert all(counts[f"{name}, all directions"] == sizes for name in "AB")  # a tie at the ceiling
figures["regions"] = plots.lines(counts, sizes, log="xy", xlabel="inputs", ylabel="linear regions found")
figures["regions"]

# %% [markdown]
# **Splitting a batch is not neutral.** A code that runs out of memory likes to take half of the batch twice and to add
# up. Adding two halves doubles the gradient norm, and each half's is larger still (less averages out): so such
# networks get a better score *because they are too large*.

# %%
half = len(images) // 2
halves = sum(my_grad_norm(net, images[part], labels[part]) for part in (slice(half), slice(half, None)))
whole = my_grad_norm(net, images, labels)
assert halves > 1.3 * whole
print(f"in one go {whole:.2f}, in two halves {halves:.2f}")

# %% [markdown]
# **Blind to depth.** Most scores grow with every layer: more bits, more gradients, more paths. Below: chains of
# convolutions *without shortcuts*, like C, all trained for the same number of epochs. Everything is divided by its
# value for the shallowest chain, only to be in one picture. The scores rise and rise. The accuracy does not: the deep
# chains fail.


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
        return 100 * float((net.eval()(test_set.images).argmax(1) == test_set.labels).double().mean())


# %%
test_set = data.classification(**bench.task, split="test").to(cfg.device)
runs = [(n, s) for n in cfg.depths for s in range(cfg.depth_seeds)]
reached = {run: train_chain(*run) for run in tqdm(runs, desc="chains", leave=False)}
accuracy = [np.mean([reached[n, s] for s in range(cfg.depth_seeds)]) for n in cfg.depths]
watched = ("grad_norm", "naswot", "zen")
found = [zero_cost.score_all(chain(n), batch, watched) for n in cfg.depths]
rising = {name: [f[name] / abs(found[0][name]) for f in found] for name in watched}
assert all(values[-1] > values[0] for values in rising.values())
rising["accuracy"] = list(np.array(accuracy) / accuracy[0])
look = {"xlabel": "layers", "log": "y", "ylabel": "shallowest chain = 1"}
figures["depth"] = plots.lines(rising, [str(n) for n in cfg.depths], **look)
figures["depth"]

# %%
ema = [zero_cost.score("zen", chain(n), images, bn="ema") for n in cfg.depths]
batch_zen = [f["zen"] for f in found]
per_layer = (batch_zen[-1] - ema[-1] - batch_zen[0] + ema[0]) / (cfg.depths[-1] - cfg.depths[0])
assert 0.4 < per_layer < 1.2
best_depth = cfg.depths[int(np.argmax(accuracy))]
Markdown(
    f"The best chain has **{best_depth} layers** ({max(accuracy):.0f} %), the deepest reaches {accuracy[-1]:.0f} %. "
    f"Zen-NAS limits the depth of what it searches. Its public code also reads the *running average* of BN instead of "
    f'the batch\'s variance (`bn="ema"` in the package): that takes **{per_layer:.2f}** off for each layer, a penalty '
    "on depth that the paper's theory does not have."
)

# %% [markdown]
# ### Exercise 08.4: which proxy is it?
# *Difficulty 3 of 3, about 20 min.* `score(model, images, labels)` is one of `params`, `synflow`, `naswot`, `jacob_cov`
# and `snip`, multiplied by something and moved, so that its values tell nothing. Find out by *experiments* which one,
# and return its name. Leave what you are given as it is.
#
# <details><summary>Hint 1</summary>Which of the five read the labels? Which the images? Which the weights?</details>
# <details><summary>Hint 2</summary>Snip reads images as well, so ask about the labels first.</details>
# <details><summary>Hint 3</summary>The first failure of this section tells the two that read images alone
# apart.</details>


# %% tags=["stub"]
def identify(score, model, images, labels):
    raise NotImplementedError


# %% tags=["solution"]
def identify(score, model, images, labels):
    before = score(model, images, labels)
    if score(model, images, labels.roll(1)) != before:
        return "snip"
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
# ## 5 · Judged against the truth
#
# Now a dozen of them (`full`: twenty), with several initialisations. `score_pool` shares forward and backward passes
# between the proxies, marks what fails, and goes on where it was if you interrupt it.

# %%
every = truth if cfg.cells >= len(truth) else truth.sample(cfg.cells, random_state=cfg.seed)
archs, seeds = [space.parse(text) for text in every.index], range(cfg.seeds)
with tqdm(total=len(archs) * cfg.seeds, desc="scores", unit="network", leave=False) as bar:
    keep = {"seeds": seeds, "state": cfg.out_dir / "pool.pt", "progress": lambda done, *_: bar.update(done - bar.n)}
    scores = zero_cost.score_pool(space, archs, batch, cfg.proxies, **keep)
failed = {text for _, text, _ in scores.errors}
print(f"{len(every)} cells, {cfg.seeds} initialisations; some proxy failed on {len(failed)} of them")
print("\n".join(sorted(set(scores.errors.values()))))

# %% [markdown]
# The failed ones have no way from input to output: what they return is the same for every image. They rank last, and
# rightly so. Beside the proxies stand three **baselines**, without which no number below would mean anything:
# parameters, MACs (multiply-accumulates), and dice.
#
# **Who belongs in the pool?** Some cells carry weights on edges that lead nowhere. They are copies of smaller networks,
# with unused parameters: a copy is no evidence, and it makes the parameters look worse than they are. SynFlow finds
# them exactly: a layer through which nothing flows is dead.

# %%
alive = [text for text in every.index if min(flows(untrained(text), space.input_shape)) > 0]
pool = every[alive]
dice = np.random.default_rng(cfg.seed)
baselines = bench.frame.loc[every.index, ["params", "macs"]]
with_copies = {s: scores.seeds[s].assign(**baselines, random=dice.normal(size=len(every))) for s in seeds}
frames = {s: frame.loc[alive] for s, frame in with_copies.items()}
mean = sum(frames.values()) / len(frames)

# %%
crowd = sum(with_copies.values()) / len(with_copies)
rho = {n: (ranking.spearman(mean[n], pool), ranking.spearman(crowd[n], every)) for n in mean if n != "random"}
spoilt = pd.DataFrame(rho, index=["without copies", "with copies"]).T
gap = (spoilt["with copies"] - spoilt["without copies"]).drop(["params", "macs"])
lead = (spoilt > spoilt.loc["params"] + 0.001).sum()
Markdown(
    f"{len(every)} cells, of which **{len(pool)}** have no dead layer. With the copies parameters have "
    f"ρ = {spoilt['with copies']['params']:+.2f} and {lead['with copies']} proxies beat them; without, "
    f"{spoilt['without copies']['params']:+.2f} and {lead['without copies']}. The most flattered is {gap.idxmax()} "
    f"({gap.max():+.2f}). From here on: without."
)

# %%
by_rank = pd.DataFrame({name: ranking.ranks(mean[name]) for name in mean}, mean.index)  # failures stand at the left
panels = {f"{n}\nρ = {ranking.spearman(mean[n], pool):+.2f}": {"cells": (by_rank[n], pool[mean.index])} for n in mean}
look = {"xlabel": "rank of the score (1 = worst)", "ylabel": "test accuracy (%)", "share": "xy", "legend": "none"}
figures["scatter"] = plots.scatter(panels, width=12, height=2.7, **look)
figures["scatter"]

# %% [markdown]
# Each dot is a network: its rank by the score (mean of all initialisations) and its accuracy. Crosses would be
# failures.
# Vertical stacks are ties. (MACs order as parameters do in this space, where every convolution has the same size of
# kernel.) Read the right end first, for a search picks there.
#
# The numbers, all with the sign that was fixed *before* looking: **ρ** (Spearman) and **τ** (Kendall) over all networks
# with a bootstrap interval, its spread over initialisations, **precision**: the share of the proxy's top tenth that is
# truly in the top tenth, and **regret**: how many points its pick is below the best network. The table judges every
# initialisation by itself and averages; the figures and section 7 average the *scores* first, which takes noise away
# and makes ρ a little higher.

# %%
judged = ranking.judge_all(frames, pool, top=cfg.top, resamples=cfg.resamples, seed=cfg.seed)
judged = judged.sort_values("spearman", ascending=False)
interval = [f"[{low:+.2f}, {high:+.2f}]" for low, high in zip(judged.spearman_low, judged.spearman_high, strict=True)]
summary = judged[["spearman", "spearman_sd", "kendall", "precision", "regret", "failures"]].round(2)
summary.insert(1, "95 %", interval)
summary


# %%
def ceiling(pool):
    """How well the accuracy after one training ranks, against the mean of the other trainings."""
    single = {s: bench.scores("test", seed=s)[pool.index] for s in bench.seeds}
    rest = {s: sum(v for t, v in single.items() if t != s) for s in single}
    return float(np.mean([ranking.spearman(single[s], rest[s]) for s in single]))


best = judged.index[0]
fooled = [name for name in mean if mean[name].idxmax() == four["C"]]
by_seed = {name: {seed: frame[name] for seed, frame in frames.items()} for name in judged.index}
paired = {"resamples": cfg.resamples, "seed": cfg.seed}
leads = {name: ranking.difference(by_seed[name], by_seed["params"], pool, **paired) for name in by_seed}
beats = [name for name, lead in leads.items() if lead.low > 0]
Markdown(
    f"The best correlation is **{best}**'s, {judged.spearman[best]:+.2f}; parameters alone have "
    f"{judged.spearman['params']:+.2f}. Compared in pairs, on the same resampled networks, its lead is {leads[best]}; "
    f"the whole interval is above 0 for {', '.join(beats) or 'none'}. The truth is noisy, too: *one* real training "
    f"ranks with {ceiling(pool):+.2f} against the mean of the others. "
    f"Network C of section 1, the chain, is the pick of {', '.join(fooled) or 'none'}."
)

# %% [markdown]
# (One training's ρ is no ceiling for the column above: its rank is that of one run, held against two others; a proxy is
# held against the mean of three.)
#
# **Signs.** A sign chosen after looking is cheating: it makes every correlation positive. GraSP's pruning sign, or the
# flipped SynFlow of a public code, turn ρ round, exactly; and normalisation in the wrong mode costs even without the
# flip.

# %%
live = [space.parse(text) for text in alive]
kept = zero_cost.score_pool(space, live, images, {"synflow": {"bn": "zennas"}}).frame.synflow
flipped = ranking.spearman(kept, pool)
assert math.isclose(ranking.spearman(-kept, pool), -flipped)
right = ranking.spearman(zero_cost.score_pool(space, live, images, ["synflow"]).frame.synflow, pool)
Markdown(f"SynFlow {right:+.2f}; as that code runs it **{flipped:+.2f}**, with the sign repaired {-flipped:+.2f}.")

# %% [markdown]
# ### Exercise 08.5: ranks, with ties and failures
# *Difficulty 2 of 3, about 10 min.* All of this rests on ranks. Return one rank for each score: 1 for the worst, $n$
# for the best. Equal scores get the **mean** of their ranks. `nan` and `-inf` are failures: all of them are one tie,
# below every number.
#
# <details><summary>Hint 1</summary>Turn <code>nan</code> into <code>-inf</code> first: then failures are ties like any
# others.</details>
# <details><summary>Hint 2</summary>A score's rank is the number of smaller ones plus the mean place among its equals:
# smaller + (equal + 1) / 2.</details>


# %% tags=["stub"]
def ranks(scores):
    raise NotImplementedError


# %% tags=["solution"]
def ranks(scores):
    s = np.where(np.isnan(scores), -np.inf, scores)
    smaller, equal = (s[:, None] > s).sum(1), (s[:, None] == s).sum(1)
    return smaller + (equal + 1) / 2


# %% tags=["nbval-check-output"]
check_ranks(ranks)

# %% [markdown]
# ### Where it matters
#
# A correlation over *all* networks is mostly earned with the bad ones: that a network without convolutions is poor,
# everybody sees. So the same again among the **better half** of the networks; and within networks of the **same size**,
# where parameters know nothing at all. Part of what is lost is noise in the truth, not the proxies' fault: good
# networks lie close together.

# %%
top_half = pool[pool >= pool.median()].index


def within_size(values):
    """ρ within groups of equal parameters, averaged by their numbers of networks."""
    groups = [list(index) for index in baselines.loc[alive].groupby("params").groups.values() if len(index) >= 8]
    found = [(ranking.spearman(values[g], pool[g]), len(g)) for g in groups if values[g].nunique() > 1]
    return float(np.average([r for r, _ in found], weights=[n for _, n in found])) if found else 0.0


views = defaultdict(list)
for name in judged.index:
    views["all networks"].append(judged.spearman[name])
    upper = [ranking.spearman(frame[name][top_half], pool[top_half]) for frame in frames.values()]
    views["the better half"].append(np.mean(upper))
    views["equal size"].append(np.mean([within_size(f[name]) for f in frames.values()]))
label = "Spearman's ρ with the truth"
figures["where"] = plots.lines(views, list(judged.index), ylabel=label, joined=False).guide(y=0)
figures["where"]

# %%
narrow = pd.DataFrame(views, index=judged.index)
lower = int((narrow["the better half"] < narrow["all networks"]).sum())
Markdown(
    f"In the better half **{lower} of {len(narrow)}** correlations are lower: their median falls from "
    f"{narrow['all networks'].median():+.2f} to {narrow['the better half'].median():+.2f}. The best there is "
    f"**{narrow['the better half'].idxmax()}** ({narrow['the better half'].max():+.2f}), at equal size "
    f"**{narrow['equal size'].idxmax()}** ({narrow['equal size'].max():+.2f}). A proxy is good at throwing "
    "away what is hopeless, and much less good at choosing among the rest."
)

# %% [markdown]
# ### Who says the same?
#
# Correlations between the proxies themselves. Blocks of dark purple say one thing under several names; the first row is
# the truth.

# %%
between = by_rank.assign(truth=pool[mean.index]).corr("spearman")
apart = 1 - between.loc[mean.columns, mean.columns].fillna(0).to_numpy()
tree = linkage(squareform(apart, checks=False), "average", optimal_ordering=True)
alike = list(mean.columns[leaves_list(tree)])  # neighbours say much the same
look = {"numbers": "+.2f", "colours": "PuOr", "bar": "Spearman's ρ", "width": 11, "height": 9}
figures["heat"] = plots.heat(between.loc[["truth", *alike], alike], limits=(-1, 1), **look)
figures["heat"]

# %% [markdown]
# ### What does it cost?
#
# Milliseconds for one network, each proxy *alone*, median over a few networks. (`score_all` shares passes and takes far
# less than the sum.) On networks this small one mostly times Python, not arithmetic: so counting MACs takes longer than
# computing. Read the orders of magnitude; the cluster at the right is a tie.


# %%
def milliseconds(name, nets):
    found = []
    for model in nets:
        start = time.perf_counter()
        zero_cost.score(name, model, batch)
        found.append(1000 * (time.perf_counter() - start))
    return float(np.median(found))


timed = [untrained(text) for text in pool.index[:: -(-len(pool) // cfg.timed_cells)]]
single = [name for name in judged.index if name in zero_cost.names()]
[zero_cost.score(name, timed[0], batch) for name in single]  # warm-up
took = {name: milliseconds(name, timed) for name in single}
rows = judged.loc[single, ["spearman", "spearman_low", "spearman_high"]].itertuples()
points = {name: (took[name], plots.Interval(*ends)) for name, *ends in rows}
labels = {"xlabel": "milliseconds per architecture", "ylabel": label, "log": "x", "height": 4.8}
figures["cost"] = plots.scatter(points, named=True, **labels).guide(y=0)
figures["cost"]

# %%
slowest = max(took, key=took.get)
Markdown(
    f"The slowest, {slowest}, takes {took[slowest]:.0f} ms. To *train* one of these tiny networks took "
    f"{bench.frame.seconds.median():.1f} seconds; a network of a usual size takes hours: that is where proxies "
    "pay."
)

# %% [markdown]
# ## 6 · The same on NAS-Bench-201
#
# The benchmark that most papers report: 15,625 cells on CIFAR-10. This project has scored 200 random ones, each with
# three initialisations and one real batch; those scores are stored with it. The accuracies are the benchmark's own and
# are **not** stored here: set `NASEDU_DATA`, or `data_root`, to the folder that holds `nb201` (see
# `datasets/README.md`). Otherwise this section is skipped. Copies stay in, for the published figures have them, too;
# `info(name).formula` explains the columns that are new.
#
# Beside them **the authors' figures, not ours**: of Abdelfattah et al. (ICLR 2021), from their published notebook, over
# all cells, given there without sign; and recomputed from the scores that NAS-Bench-Suite-Zero (Krishnakumar et al.,
# NeurIPS 2022) published for 724 cells.

# %%
AUTHORS = {"grad_norm": 0.594, "snip": 0.596, "grasp": 0.514, "fisher": 0.360, "synflow": 0.737, "jacob_cov": 0.731}
SUITE = {"naswot": 0.787, "jacob_cov": 0.766, "params": 0.738, "synflow": 0.736, "l2_norm": 0.725, "macs": 0.711}
SUITE |= {"epe_nas": 0.666, "snip": 0.608, "grad_norm": 0.607, "grasp": 0.538, "fisher": 0.509, "plain": -0.258}
root, there, large = cfg.data_root or os.environ.get("NASEDU_DATA"), None, None
try:
    large = benchmarks.proxy_scores() if root else None
    real = benchmarks.nasbench201(root).scores("test").loc[large[0].index] if root else None
except errors.DataError as error:
    large = None
    print(error)
if large:
    there = ranking.judge_all(large, real, top=cfg.top, resamples=cfg.resamples, seed=cfg.seed)
    there = there.sort_values("spearman", ascending=False)
    published = {"authors, |ρ|": pd.Series(AUTHORS), "Suite-Zero, ρ": pd.Series(SUITE)}
    columns = ["spearman", "spearman_low", "spearman_high", "precision", "regret"]
    table = there[columns].assign(**{key: value.reindex(there.index) for key, value in published.items()})
table.round(2) if large else print("NAS-Bench-201 is skipped.")

# %% [markdown]
# Every column is a proxy: our ρ beside the published ones.

# %%
if large:
    lines = {"ours, 200 cells": table.spearman} | {key: table[key] for key in published}
    figures["nasbench201"] = plots.lines(lines, list(table.index), ylabel=label, joined=False)
    display(figures["nasbench201"])
    shared = table["Suite-Zero, ρ"].dropna().index
    off = (table.loc[shared, "spearman"] - table.loc[shared, "Suite-Zero, ρ"]).abs()
    both = ranking.spearman(ranking.combine(sum(large.values())[["synflow", "jacob_cov"]]), real)
    news = (
        f"{len(real)} cells: the best is **{there.index[0]}**, {there.spearman.iloc[0]:+.2f}. From the figures of "
        f"NAS-Bench-Suite-Zero ours differ by {off.mean():.2f} on average, most for {off.idxmax()} ({off.max():.2f}). "
        f"The ranks of SynFlow and of the Jacobian covariance together (section 7): **{both:+.2f}**."
    )
Markdown(news if large else "Skipped: no data.")

# %% [markdown]
# ## 7 · Two are better than one?
#
# Scores of different proxies have different units, so we combine *ranks*: **log-rank** is $\sum \ln(r/n)$. A network
# must do well in both, for a low rank weighs heavily. Each marker is a pair of proxies: how much more it knows than the
# better of the two, over how alike both are. Colour is the weaker one's own ρ;
# the four that gain most are named.

# %%
columns = [name for name in mean if name != "random"]
gains = ranking.complementary(mean[columns], pool)
ranked = gains.dropna(subset="gain").sort_values("gain", ascending=False)
thirds = ranked.groupby(ranked.worse.rank(pct=True).mul(3).sub(1e-9).astype(int))
points = {f"weaker: ρ {g.worse.min():.2f} to {g.worse.max():.2f}": (g.between, g.gain) for _, g in thirds}
points |= {f"{pair.first} + {pair.second}": (pair.between, pair.gain) for pair in ranked[:4].itertuples()}
labels = {"xlabel": "Spearman's ρ between both proxies", "ylabel": "ρ of the combination\nless ρ of the better one"}
figures["pairs"] = plots.scatter(points, height=4.8, **labels).guide(y=0)
figures["pairs"]

# %%
duo = ["synflow", "jacob_cov"]
parts = [name for name in duo if name in mean] or columns[:2]
both = ranking.spearman(ranking.combine(mean[parts], "log_rank"), pool)
alike = gains[gains.between > 0.97]
best_pair = gains.iloc[0]
Markdown(
    f"The classic pair, {' + '.join(parts)}: {both:+.2f} together, "
    f"{', '.join(f'{n} {ranking.spearman(mean[n], pool):+.2f}' for n in parts)} alone. The best pair here is "
    f"**{best_pair['first']} + {best_pair['second']}**, {best_pair.spearman:+.2f}, a gain of {best_pair.gain:+.2f}. "
    f"Pairs that agree by more than 0.97 ({len(alike)} of them) gain {alike.gain.mean():+.3f} on average: "
    "the same thing said twice."
)

# %% [markdown]
# Most pairs lose. Those at the left, all with `plain`, differ most and lose most: to differ is not enough, each must
# know something. And the choice of the best pair was made *looking at the truth*, so it flatters. Notebook 09 combines
# proxies where no truth is at hand, and searches with them.
#
# **Move it yourself**: tick proxies, weigh them, choose how to combine (Tab and the arrow keys work, too). Can you beat
# the best pair? Can you make a mixture that is worse than each of its parts?

# %%
from nasedu.widgets import ProxyMixWidget

chosen = [best_pair["first"], best_pair["second"]]
widget = ProxyMixWidget(mean[columns], pool, chosen=chosen)
widget

# %% [markdown]
# The same as a fixed figure, for pages that cannot run: the best pair by log-rank. Each part's ρ and, last and
# as a dashed line, the mixture's.

# %%
figures["mix"] = ProxyMixWidget(mean[columns], pool, chosen=chosen, method="log_rank").figure
figures["mix"]

# %% [markdown]
# ## Summary
#
# - A proxy asks an untrained network one question: do weights matter, can signals flow, do images get different codes,
#   how strongly does the output react?
# - Most are a few lines. What makes them right is around these lines: the mode of normalisation, the precision, the
#   signs put back, a failure that ranks last.
# - Test a proxy by its *properties*: what must not change it, what must scale it, what must break it.
# - Judge it beside parameters and dice, with intervals, and at the top. Correlations among good networks are lower.
# - Combine what differs *and is good by itself*. The same thing said twice adds nothing.
#
# **Pitfalls**
#
# - *No baseline.* Parameters beat many a proxy, and cost nothing.
# - *Copies in the pool.* Networks with dead weights are not new networks, and they flatter all but the parameters.
# - *|ρ|.* A sign must be known before the truth is.
# - *Failures that win.* NaN turned into 0, a negative eigenvalue, an overflow: look at your best network first.
# - *One space.* The order of the proxies changes with space and data. That of section 5 is this table's, no law.
# - *Chosen by the truth.* The best of many pairs on the very networks that judge it is no forecast.
#
# **Further reading**
#
# - SNIP: Lee, Ajanthan, Torr, ICLR 2019. GraSP: Wang, Zhang, Grosse, ICLR 2020. SynFlow: Tanaka et al., NeurIPS 2020
# - NASWOT: Mellor, Turner, Storkey, Crowley, *Neural Architecture Search without Training*, ICML 2021; the Jacobian
#   covariance is in its first version (arXiv, 2020)
# - Six proxies compared: Abdelfattah, Mehrotra, Dudziak, Lane, *Zero-Cost Proxies for Lightweight NAS*, ICLR 2021
# - Zen-score: Lin et al., *Zen-NAS*, ICCV 2021. Neural tangent kernel and linear regions: Chen, Gong, Wang (TE-NAS),
#   ICLR 2021
# - All in one place, and their biases: Krishnakumar, White et al., *NAS-Bench-Suite-Zero*, NeurIPS 2022

# %%
course.finish(
    cfg,
    summary=summary,
    figures=figures,
    results={
        "judged": judged.to_dict("index"),
        "where": narrow.to_dict("index"),
        "milliseconds": took,
        "depth": {"layers": cfg.depths, "accuracy": accuracy, "zen_ema_per_layer": per_layer},
        "synflow_as_zennas": flipped,
        "copies": spoilt.to_dict("index"),
        "pairs": gains.head(10).to_dict("index"),
        "nasbench201": there.to_dict("index") if large else None,
        "ceiling": ceiling(pool),
    },
)
