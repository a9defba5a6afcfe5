# %% [markdown]
# # Single-Path NAS: every choice is a part of one kernel
#
# Nest all choices of a layer in one convolution kernel, and let learned thresholds decide what of it stays.
#
# Other supernets store every operation side by side. Single-Path NAS stores the *largest* one and nothing else: a 3×3
# kernel is the core of a 5×5 one, and a narrow block is half of a wide one. Choosing becomes masking, and the search is
# one ordinary training.
#
# **Afterwards you can**
#
# 1. draw the masks of a superkernel and check that each leaves a network of its own;
# 2. train a threshold through a hard decision, with a straight-through gradient;
# 3. price an undecided layer, by the published runtime formula and by a table, and say where they differ;
# 4. run a small search by thresholds, and rebuild the published network to the last multiplication.
#
# **You need** PyTorch; the inverted residual (MBConv) of notebook 01 helps.
#
# | preset | what it runs | time, two CPU cores |
# |---|---|---|
# | `smoke` | 12 steps of descent: only proves that every cell works | 15 seconds |
# | `quick` | two descents of 70 steps on 16 px digits | 55 seconds, beside other work |
# | `full` | two descents of 1,000 steps | not measured |
# | `gpu` | two descents of 3,000 steps | not measured |

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu; it sets every parameter below that is None
image_size: int = None  # pixels of the digits that the small supernet learns
batch_size: int = None  # digits per step
steps: int = None  # steps of each descent
warmup_steps: int = None  # of these, steps with indicator dropout and without the runtime term
runtime_weight: float = None  # of log(expected MACs) in the loss
semantics: str = None  # of the superkernel: sliced (masks after the activation) or faithful (as published)
norm: str = None  # that thresholds are compared with: l2 (the public code's) or squared (the paper's)
threads: int = None  # CPU threads
seed: int = None  # of every random choice
device: str = None  # auto, cpu, cuda, cuda:1 ...
out_dir: str = None  # folder of the results; None: one per set of parameters

# %%
import itertools
import math

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from torch.nn import functional as F
from tqdm import tqdm

from nasedu import classification, course, data, hardware, plots, sampling, spaces
from nasedu.course.checks.single_path import check_indicator, check_kernel, check_size
from nasedu.supernet.superkernel import CHOICES, KEEP, Indicators, SuperKernel, threshold_arch, threshold_path
from nasedu.tables import LookupTable

options = {"semantics": ["sliced", "faithful"], "norm": ["l2", "squared"]}
cfg = course.setup("04_space_single_path", globals(), choices=options)
torch.set_num_threads(cfg.threads)
cfg

# %% [markdown]
# ## 1 · One kernel holds them all
#
# The block is an inverted residual: 1×1 to $6C$ channels, a 5×5 depthwise convolution, 1×1 back. All choices are
# *parts of its depthwise kernel*. Each column below is a choice. Top: the taps kept in the first half of the channels;
# bottom: in the second half. Dark is the 3×3 core, light the ring around it, white is masked.

# %%
torch.manual_seed(cfg.seed)
block = SuperKernel(8, 8, skip=True)
figures = {}
places = np.pad(np.full((3, 3), "3 × 3 core", dtype=object), 1, constant_values="ring")
taps = {}
for half, i in itertools.product((0, 1), range(len(block.choices))):
    (weights,) = sampling.one_hot([i], [len(block.choices)])
    kept = block.kernel(weights).detach()[:, 0].chunk(2)[half].any(0).numpy()  # by some channel of that half
    taps[f"{block.choices[i]}, half {half + 1}"] = pd.DataFrame(np.where(kept, places, "masked"))
tones = {"3 × 3 core": "#1f5a96", "ring": "#6aaed6", "masked": "white"}
look = {"columns": 5, "width": 11.5, "height": 2.2, "xlabel": "column of the kernel", "ylabel": "row"}
figures["superkernel"] = plots.heat(taps, colours=tones, **look)
figures["superkernel"]

# %% [markdown]
# Masks are **nested**: `k3e3`, the core of the first half, is in all others. So training any choice trains a part of
# the others, and the supernet is hardly larger than its largest network.
#
# ### From scratch
#
# A mask over taps times a mask over channels:


# %%
def mask(kernel, expansion, channels):
    taps = torch.ones(5, 5)
    if kernel == 3:
        taps = F.pad(torch.ones(3, 3), (1, 1, 1, 1))
    kept = (torch.arange(6 * channels) < expansion * channels).float()
    return kept[:, None, None, None] * taps


w = block.depthwise.conv.weight.detach()
for index, (kernel, expansion) in enumerate(CHOICES.values()):
    weights = F.one_hot(torch.tensor(index), 5).float()
    assert torch.equal(block.kernel(weights).detach(), w * mask(kernel, expansion, 8))

# %% [markdown]
# **Does a mask give the network it stands for?** The stand-alone `k3e3` block has a 3×3 kernel and half of the hidden
# channels. Copy the superkernel's part into one, and compare, both with BN in use:

# %%
from nasedu.blocks import MBConv

x = torch.randn(4, 8, 12, 12)
for index, (kernel, expansion) in enumerate(CHOICES.values()):
    alone = MBConv(8, 8, kernel, expansion)
    alone.load_state_dict(block.extract(index))
    one_hot = F.one_hot(torch.tensor(index), 5).float()
    torch.testing.assert_close(block.eval()(x, one_hot), alone.eval()(x), rtol=1e-5, atol=1e-5)

# %% [markdown]
# ### Skip, and the leak in the published mask
#
# Masking *everything* should leave the shortcut alone. As published it does not. A kernel of zeros gives zeros, but
# the batch normalisation after it adds its shift, and the next layers turn that into a constant per channel. Our
# `sliced` superkernel masks after the activation and multiplies what is added to the shortcut by 0: an
# **exact bypass**.


# %%
def leak(semantics):
    """What a skipped block adds to its input, relative to the input's size."""
    torch.manual_seed(cfg.seed)
    leaky = SuperKernel(8, 8, skip=True, semantics=semantics).eval()
    torch.nn.init.normal_(leaky.depthwise.bn.bias)  # as after some training; at first it is 0
    skip = F.one_hot(torch.tensor(4), 5).float()
    return float((leaky(x, skip) - x).norm() / x.norm())


leaks = {name: leak(name) for name in ("sliced", "faithful")}
assert leaks["sliced"] == 0 < leaks["faithful"]
Markdown(f"A skipped block adds {leaks['faithful']:.0%} of its input (faithful), {leaks['sliced']:g} (sliced).")

# %% [markdown]
# ## 2 · Thresholds decide
#
# Which part stays? The method asks the weights: **a part whose norm is small does little, so drop it.** How small is
# learned: each layer has three thresholds. With the indicator $1(x)$, which is 1 for $x \ge 0$ and 0 below,
#
# $$ d_5 = 1(\lVert \text{ring} \rVert - t_5), \qquad w_k = w_{3\times3} + d_5 \cdot \text{ring}, $$
#
# $$ d_6 = 1(\lVert \text{upper half of } w_k \rVert - t_6), \qquad
#    d_3 = 1(\lVert \text{lower half of } w_k \rVert - t_3). $$
#
# $d_5$ takes the 5×5 kernel, $d_6$ the expansion 6, and $d_3 = 0$ skips the layer (it is always 1 where skipping would
# change the shape).
#
# ### Exercise 04.1: the kernel that the thresholds leave
# *Difficulty 2 of 3, about 15 min.* `w` (2n, 1, 5, 5) is a depthwise kernel. Return what $d_5$ and $d_6$ leave of it,
# in the same shape, with zeros where it is masked; `w` must stay as it is. (No $t_3$ here.)
#
# <details><summary>Hint 1</summary>Start with a kernel of zeros that has w's core, [1:4, 1:4]; the ring is the
# difference.</details>
# <details><summary>Hint 2</summary>Decide the ring first: t6 is compared with the upper half of w_k, not
# of w.</details>


# %% tags=["stub"]
def kernel_left(w, t5, t6):
    raise NotImplementedError


# %% tags=["solution"]
def kernel_left(w, t5, t6):
    core, half = torch.zeros_like(w), len(w) // 2
    core[:, :, 1:4, 1:4] = w[:, :, 1:4, 1:4]
    w_k = core + (w - core) * ((w - core).norm() >= t5)
    return torch.cat([w_k[:half], w_k[half:] * (w_k[half:].norm() >= t6)])


# %% tags=["nbval-check-output"]
check_kernel(kernel_left)

# %% [markdown]
# ### A step has no slope
#
# $1(x)$ is flat, so its gradient is zero and nothing would ever learn. The **straight-through** trick: forward the hard
# step, backward the slope of a smooth stand-in, here the sigmoid's.
#
# ### Exercise 04.2: a step that passes a gradient
# *Difficulty 2 of 3, about 10 min.* Return a tensor whose *values* are 1 where `x >= 0` and 0 elsewhere, and whose
# *gradient* with respect to `x` is that of `torch.sigmoid(x)`.
#
# <details><summary>Hint 1</summary>s - s.detach() is 0 in value, and has the gradient of s.</details>
# <details><summary>Hint 2</summary>Add it to the hard step, which has no gradient of its own.</details>


# %% tags=["stub"]
def indicator(x):
    raise NotImplementedError


# %% tags=["solution"]
def indicator(x):
    s = torch.sigmoid(x)
    return (x >= 0).float() + s - s.detach()


# %% tags=["nbval-check-output"]
check_indicator(indicator)

# %% [markdown]
# The same as a function of autograd, in two methods: what goes forward and what comes back. The picture shows both.


# %%
class Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x >= 0).float()

    @staticmethod
    def backward(ctx, gradient):
        s = torch.sigmoid(*ctx.saved_tensors)
        return gradient * s * (1 - s)


x = torch.linspace(-6, 6, 121, requires_grad=True)
y = Step.apply(x)
(slope,) = torch.autograd.grad(y.sum(), x)
both = {"forward: value": y.tolist(), "backward: gradient": slope.tolist()}
figures["straight_through"] = plots.lines(both, x.tolist(), xlabel="norm − threshold", ylabel="indicator")

# %% [markdown]
# Far from its threshold a decision gets almost no gradient: it is settled, and hard to reopen.

# %%
figures["straight_through"]

# %% [markdown]
# ### From scratch, all three
#
# From the indicators follow the weights of the five choices: `k3e3` has $d_3 (1 - d_5)(1 - d_6)$, and so on, skip has
# $1 - d_3$. In value they are one-hot: an ordinary path.


# %%
def norms(w, d5=1.0):
    """The norms that t3, t5 and t6 are compared with, for a kernel w (2n, 1, 5, 5)."""
    core, half = F.pad(w[:, :, 1:4, 1:4], (1, 1, 1, 1)), len(w) // 2
    w_k = core + d5 * (w - core)
    return w_k[:half].norm(), (w - core).norm(), w_k[half:].norm()


def decide(w, t3, t5, t6):
    d5 = Step.apply(norms(w)[1] - t5)
    n3, _, n6 = norms(w, d5)
    d3, d6 = Step.apply(n3 - t3), Step.apply(n6 - t6)
    e3, e6 = d3 * (1 - d6), d3 * d6
    return torch.stack([(1 - d5) * e3, (1 - d5) * e6, d5 * e3, d5 * e6, 1 - d3])


# %% [markdown]
# It agrees with the package's superkernel, in value and in every gradient, wherever the thresholds stand:

# %%
rng = np.random.default_rng(cfg.seed)
costs, chosen = torch.tensor([1.0, 2.0, 1.5, 3.0, 0.0]), set()
for _ in range(200):
    levels = torch.tensor(rng.uniform(0, 5, 3), dtype=torch.float32)
    for threshold, level in zip((block.t3, block.t5, block.t6), levels, strict=True):
        threshold.data.copy_(level)
    inputs = (block.depthwise.conv.weight, block.t3, block.t5, block.t6)
    mine, theirs = decide(*inputs), block.decide()
    assert torch.equal(mine, theirs)
    for a, b in zip(*(torch.autograd.grad(p @ costs, inputs) for p in (mine, theirs)), strict=True):
        torch.testing.assert_close(a, b)
    chosen.add(block.choices[int(theirs.argmax())])
assert chosen == set(block.choices)

# %% [markdown]
# ### Indicator dropout
#
# All thresholds start at 0, so every indicator is on and the small choices would never be tried. The published search
# therefore *drops* each indicator during its warm-up (keeps it with probability 0.6). What that draws:

# %%
block.t3.data.zero_(), block.t5.data.zero_(), block.t6.data.zero_()
generator = torch.Generator().manual_seed(cfg.seed)
drawn = torch.stack([block.decide(generator, KEEP) for _ in range(2000)]).detach().mean(0)
expected = torch.tensor([KEEP * a * b for a in (0.4, 0.6) for b in (0.4, 0.6)] + [0.4])
assert (drawn - expected).abs().max() < 0.05
Markdown("Drawn: " + ", ".join(f"{name} {share:.0%}" for name, share in zip(block.choices, drawn, strict=True)) + ".")

# %% [markdown]
# ## 3 · The space: 20 layers
#
# The picture reads from left to right; blocks are drawn to scale. Layers with four choices change the channels or
# the resolution. Those with five can also be skipped.

# %%
space, arch = spaces.published("single_path", "Single-Path NAS")
figures["space"] = plots.blocks(space)
figures["space"]

# %% [markdown]
# ### Exercise 04.3: the size of the space
# *Difficulty 1 of 3, about 5 min.* `layers` is a list of (c_in, c_out, stride). Each layer has four choices, and skip
# besides where its output has the shape of its input. Return the exact number of networks.
#
# <details><summary>Hint 1</summary>A layer keeps the shape where the stride is 1 and the channels stay.</details>
# <details><summary>Hint 2</summary>Independent choices multiply: math.prod keeps Python's exact integers.</details>


# %% tags=["stub"]
def size(layers):
    raise NotImplementedError


# %% tags=["solution"]
def size(layers):
    return math.prod(5 if stride == 1 and c_in == c_out else 4 for c_in, c_out, stride in layers)


# %% tags=["nbval-check-output"]
check_size(size)

# %% [markdown]
# Five stages of four layers. The first layer of each changes the shape, the other three keep it:

# %% tags=["nbval-check-output"]
stages = 5
assert space.size == 4**stages * 5 ** (3 * stages) == 31_250_000_000_000
f"4^{stages} * 5^{3 * stages} = {space.size:,} networks"

# %% [markdown]
# ### The published network, rebuilt
#
# One layer of the first stage is skipped (dotted). Expansion 6 stands mainly where the resolution drops, and large
# kernels in the later half.

# %%
figures["published"] = plots.blocks(space, {"Single-Path NAS, as published": arch})
figures["published"]

# %% tags=["nbval-check-output"]
cost = hardware.count(space.build(arch), space.input_shape)
assert (cost.macs, cost.params) == (333_467_072, 4_421_616)
print(f"{cost.macs:,} MACs, {cost.params:,} parameters")

# %% [markdown]
# ### Change it yourself
#
# Pick a block, pick its choice, and read what the network costs now (Tab and the arrow keys work, too).

# %%
from nasedu.widgets import SpaceWidget

priced = {metric: LookupTable.build(space, metric) for metric in ("macs", "params")}
assert priced["macs"](arch) == cost.macs and priced["params"](arch) == cost.params
widget = SpaceWidget(space, priced, arch)
widget

# %% [markdown]
# The same for a page that cannot run: the smallest and the largest network of the space.

# %%
smallest = tuple(int(entry.argmin()) for entry in priced["macs"].entries)
largest = tuple(int(entry.argmax()) for entry in priced["macs"].entries)
names = {f"{priced['macs'](a) / 1e6:.0f} M MACs": a for a in (smallest, largest)}
figures["extremes"] = plots.blocks(space, names)
figures["extremes"]

# %% [markdown]
# ## 4 · The price of an undecided layer
#
# The paper computes the runtime $R$ of a layer from three of the four runtimes and the indicators:
#
# $$ R_e = d_3\,\big(R_{5,3} + d_6 (R_{5,6} - R_{5,3})\big), \qquad R = r R_e + (1 - r)\, d_5 R_e, \qquad
#    r = \frac{R_{3,6}}{R_{5,6}}. $$
#
# From scratch, at the five ends of a layer. Our table does the same with one entry for *every* choice.


# %%
def runtime(costs, d3, d5, d6):
    _, k3e6, k5e3, k5e6 = costs[:4]
    r, by_expansion = k3e6 / k5e6, d3 * (k5e3 + d6 * (k5e6 - k5e3))
    return r * by_expansion + (1 - r) * d5 * by_expansion


ENDS = {"k3e3": (1, 0, 0), "k3e6": (1, 0, 1), "k5e3": (1, 1, 0), "k5e6": (1, 1, 1), "skip": (0, 1, 1)}

# %%
from nasedu.supernet.superkernel import recursive_runtime

layer = [decision.name for decision in space.decisions].index("stage3_2")
entries = {metric: table.entries[layer] for metric, table in priced.items()}
formula = {metric: [float(runtime(e, *ENDS[name])) for name in ENDS] for metric, e in entries.items()}
for metric, row in entries.items():
    ends = [Indicators(*(torch.tensor(float(d)) for d in ENDS[name])) for name in ENDS]
    assert np.allclose(formula[metric], [float(recursive_runtime(row, end)) for end in ends])

# %% [markdown]
# Do formula and table agree? Four ends are met by construction. The fifth, `k3e3`, is a guess: *a smaller kernel saves
# the same share at both expansions*.

# %%
guess = {metric: formula[metric][0] / float(row[0]) - 1 for metric, row in entries.items()}
assert abs(guess["macs"]) < 1e-9 < abs(guess["params"])
Markdown(f"For k3e3 the formula is off by {guess['macs']:.0%} in MACs, by {guess['params']:+.2%} in parameters.")

# %% [markdown]
# For MACs the guess is exact, for parameters (and times) it is not. The table is exact at every end, and it too has
# gradients: its expected cost tells each threshold which way is cheaper.

# %%
path = [F.one_hot(torch.tensor(i), n).float() for i, n in zip(arch, space.choices, strict=True)]
assert float(priced["macs"].expected(path)) == cost.macs
block.zero_grad()
(block.decide() @ entries["macs"].float()).log().backward()
assert all(t.grad < 0 for t in (block.t3, block.t5, block.t6))  # descent raises every threshold: less stays

# %% [markdown]
# ## 5 · A small search
#
# One training, two kinds of parameters: weights and thresholds. The loss is the cross-entropy, plus the logarithm of
# the expected MACs once the warm-up is over:
#
# $$ L = \text{CE} + \lambda \log R. $$
#
# We run it twice on the real digits, with and without the runtime term, on a small space.

# %%
small = {**spaces.COURSE, "input_size": cfg.image_size, "semantics": cfg.semantics, "norm": cfg.norm}
small = spaces.create("single_path", **small)
table = LookupTable.build(small, "macs")
digits = data.classification("digits", "train", image_size=cfg.image_size).to(cfg.device)
batches = classification.batches(digits, cfg.batch_size, cfg.seed)
Markdown(f"{small.size:,} networks, {table.bounds()[0] / 1e6:.2f} to {table.bounds()[1] / 1e6:.2f} M MACs.")


# %%
def fresh():
    """A supernet, and an optimizer that moves its thresholds faster than its weights."""
    torch.manual_seed(cfg.seed)
    net = small.supernet().to(cfg.device)
    groups = {True: [], False: []}
    for name, parameter in net.named_parameters():
        groups[name.split(".")[-1] in ("t3", "t5", "t6")].append(parameter)
    return net, torch.optim.Adam([{"params": groups[False], "lr": 3e-3}, {"params": groups[True], "lr": 0.1}])


def stream():
    """Batches without end."""
    epoch = 0
    while True:
        yield from batches(epoch)
        epoch += 1


# %%
def record(net):
    """What the figures show: the architecture, and per layer norms and thresholds."""
    layers = []
    for slot in small.slots:
        kernel = net.parts[slot.name]
        d5 = kernel.indicators().d5.detach()
        sizes = [float(n if cfg.norm == "l2" else n**2) for n in norms(kernel.depthwise.conv.weight.detach(), d5)]
        levels = [math.nan if t is None else float(t.detach()) for t in (kernel.t3, kernel.t5, kernel.t6)]
        layers.append((sizes, levels))
    return threshold_arch(net), layers


# %% [markdown]
# The search itself:


# %%
def descend(runtime_weight):
    net, optimizer = fresh()
    generator = torch.Generator().manual_seed(cfg.seed)
    history, losses = [], []
    for step, (x, y) in zip(
        tqdm(range(cfg.steps), desc=f"weight {runtime_weight:g}", leave=False), stream(), strict=False
    ):
        warm = step >= cfg.warmup_steps
        path = threshold_path(net, generator, 1.0 if warm else KEEP)
        loss = F.cross_entropy(net(x, path), y)
        losses.append(float(loss.detach()))
        if warm:
            loss = loss + runtime_weight * table.expected([p.cpu() for p in path]).log()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(record(net))
    return history, losses


runs = {weight: descend(weight) for weight in (0.0, cfg.runtime_weight)}

# %% [markdown]
# **What every layer chooses, step by step.** Each row is a layer, each colour a choice. Left, without a runtime term,
# hardly anything is dropped. Right, it takes rings (orange turns blue), halves (dark turns light) and whole layers
# (black); now and then a layer comes back.

# %%
steps = range(cfg.steps)
titles = {weight: f"runtime weight {weight:g}: {table(h[-1][0]) / 1e6:.2f} M MACs" for weight, (h, _) in runs.items()}
tones = {"k3e3": "#dceaf6", "k3e6": "#8fbfe0", "k5e3": "#fdd0a2", "k5e6": "#e6842a", "skip": "0.25"}
chosen = {}
for weight, (history, _) in runs.items():
    names = {d.name: [d.choices[a[i]] for a, _ in history] for i, d in enumerate(small.decisions)}
    chosen[titles[weight]] = pd.DataFrame(names).T
figures["choices"] = plots.heat(chosen, colours=tones, xlabel="step", width=11, height=4)
figures["choices"]

# %% [markdown]
# **Norms against thresholds** for the two layers that can be skipped first and last. A decision turns where the
# threshold (dashed) crosses the norm (solid): below it, the part is masked. Norms move too: the runtime
# term reaches the weights through them, so it pulls from both sides.

# %%
history = runs[cfg.runtime_weight][0]
layers = [i for i, n in enumerate(small.choices) if n == 5]
pairs = {}
for i in (layers[0], layers[-1]):
    for j, name in enumerate(("t3, the layer", "t5, the ring", "t6, the upper half")):
        norm, threshold = ([h[1][i][k][j] for h in history] for k in (0, 1))
        pairs[f"{small.decisions[i].name}: {name}"] = {"norm of the weights": norm, "threshold": threshold}
look = {"columns": 3, "share": "x", "xlabel": "step", "height": 2.4, "legend": "bottom"}
figures["thresholds"] = plots.lines(pairs, list(steps), **look)
figures["thresholds"]

# %%
final = {weight: history[-1][0] for weight, (history, _) in runs.items()}
macs = {weight: table(a) for weight, a in final.items()}
late = {weight: np.mean(losses[-10:]) for weight, (_, losses) in runs.items()}
low, high = min(runs), max(runs)
if cfg.preset != "smoke":
    assert macs[high] < macs[low]
Markdown(
    f"Without the runtime term the search ends at {macs[low] / 1e6:.3f} M MACs, "
    f"with it at **{macs[high] / 1e6:.3f} M**. "
    f"Training loss of the last 10 steps: {late[low]:.2f} without, {late[high]:.2f} with."
)

# %% [markdown]
# ## Summary
#
# - A superkernel stores the largest choice only; all others are nested parts of it.
# - Thresholds on norms choose; the straight-through gradient lets them learn.
# - The result is an ordinary one-hot path, and a table prices it exactly, with gradients.
# - $4^5 \cdot 5^{15}$ networks, and one training searches them.
#
# **Pitfalls**
#
# - *The leak.* As published, a skipped layer adds a constant and a masked half still speaks. Derive the network, build
#   it, and test that one.
# - *Norm or squared norm.* The public code compares the norm, the paper writes its square: thresholds of the one mean
#   nothing to the other (parameter `norm`).
# - *Shared by nesting.* The core is trained by all choices, the ring by half of them. That favours small kernels early.
# - *Settled too soon.* Far from its threshold a decision has no slope. Raise the runtime weight slowly.
# - *A few steps are no result.* The search above shows the mechanism; its network would have to be trained and
#   compared.
#
# **Further reading**
#
# - Stamoulis, Ding, Wang, Lymberopoulos, Priyantha, Liu, Marculescu, *Single-Path NAS: Designing Hardware-Efficient
#   ConvNets in Less than 4 Hours*, ECML PKDD 2019; public code dstamoulis/single-path-nas
# - Straight-through gradients: Bengio, Léonard, Courville, *Estimating or Propagating Gradients Through Stochastic
#   Neurons for Conditional Computation*, 2013
# - The block: Sandler, Howard, Zhu, Zhmoginov, Chen, *MobileNetV2: Inverted Residuals and Linear Bottlenecks*,
#   CVPR 2018

# %%
course.finish(
    cfg,
    summary=f"{space.size:,} networks; rebuilt: {cost.macs:,} MACs; small search: {macs[high]:,.0f} MACs",
    figures=figures,
    results={
        "size": str(space.size),
        "published": {"macs": cost.macs, "params": cost.params},
        "leak_of_skip": leaks,
        "searched": {str(weight): small.format(a) for weight, a in final.items()},
        "searched_macs": {str(weight): value for weight, value in macs.items()},
        "loss_of_the_last_steps": {str(weight): value for weight, value in late.items()},
    },
)
