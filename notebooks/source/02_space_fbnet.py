# %% [markdown]
# # FBNet: groups, shuffles and the price of a probability
#
# See why grouped convolutions need a shuffle, rebuild three networks exactly, and steer a space by its expected cost.
#
# FBNet asks of 22 blocks: which kernel, which expansion, in groups or not, or no block at all? Its idea was to search
# with *probabilities* instead of networks, and to put the price of a probability into the loss, so that gradient
# descent can save milliseconds as it saves errors.
#
# **Afterwards you can**
#
# 1. show which channels of a block hear of which, and repair a block whose groups never meet;
# 2. tell two readings of the same paper apart by counting, to the last multiplication;
# 3. write the expected cost of a whole space as a differentiable function, and derive its gradient;
# 4. move a space to a budget by gradient descent, and say what that alone cannot do.
#
# **You need** notebook 01, or an idea of inverted residuals (MBConv) and lookup tables.
#
# | preset | what it runs | time, two CPU cores |
# |---|---|---|
# | `smoke` | 100 random networks and steps, to prove that every cell works | 12 seconds |
# | `quick` | 1,000 random networks, 300 steps | 40 seconds, beside other work |
# | `full` | 20,000 random networks, 1,000 steps | not measured |
# | `gpu` | as `full`; nothing here needs a GPU | not measured |

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu; it sets every parameter below that is None
head: str = None  # channels before the classifier: small (1504, as FBNet-A) or large (1984, as FBNet-B and -C)
input_size: int = None  # pixels of the images that the space is drawn and priced for
budget: float = None  # MACs, in millions, that section 5 descends to
draws: int = None  # random networks whose costs are drawn as a histogram
steps: int = None  # steps of that descent
threads: int = None  # CPU threads
seed: int = None  # of every random choice
device: str = None  # auto, cpu, cuda, cuda:1 ...
out_dir: str = None  # folder of the results; None: one per set of parameters

# %%
import itertools

import numpy as np
import torch
from IPython.display import Markdown

from nasedu import course, hardware, plots, spaces, tables
from nasedu.course.checks.fbnet import check_expected, check_shuffle, check_weights

cfg = course.setup("02_space_fbnet", globals(), choices={"head": list(spaces.fbnet.HEADS)})
torch.set_num_threads(cfg.threads)
cfg

# %% [markdown]
# ## 1 · The block and its exceptions
#
# FBNet's block is an inverted residual, too: 1×1, depthwise, 1×1. It comes in four widths. The pictures show three of
# them (the widest, e6, is left out) for 32 channels on a map of 28 px. Dark bars are maps, as high as their channels.
# Solid faces are 1×1 convolutions, where every channel reads every channel. Lines are depthwise.

# %%
from nasedu.blocks import FBNetBlock

figures = {}
kinds = {"k3e3": {"expansion": 3}, "k3e1": {"expansion": 1}, "k3e1g2": {"expansion": 1, "groups": 2}}
torch.manual_seed(cfg.seed)
shown = {name: FBNetBlock(32, 32, **kind) for name, kind in kinds.items()}
figures["blocks"] = plots.bottlenecks(shown, 28)
figures["blocks"]

# %% [markdown]
# Two details decide whether a reader rebuilds FBNet or something else:
#
# - **e1 keeps its first 1×1 convolution.** MobileNetV2 leaves it out where it widens nothing; FBNet does not.
# - **g2 cuts both 1×1 convolutions in two**: half of the channels read one half, the others the other half. That saves
#   half of their weights, and needs a remedy.
#
# ## 2 · Groups need a shuffle
#
# Follow eight channels through two grouped convolutions, from left to right: dark where a channel has heard of one
# of the input. Above: the first four never hear of the last four, however many such layers follow. Below: between the
# two convolutions the channels are **shuffled**, and afterwards each one knows all.
#
# From scratch: a step is a 0/1 matrix that says which channel reads which, and a shuffle is a permutation.

# %%
grouped = np.kron(np.eye(2), np.ones((4, 4)))  # two groups of four
order = np.arange(8).reshape(2, 4).T.flatten()  # 0 4 1 5 2 6 3 7: dealt out in turn
shuffled = np.eye(8)[order]
steps = {"without a shuffle": [grouped, np.eye(8), grouped], "with a shuffle": [grouped, shuffled, grouped]}
after = ["first convolution", "rearranging", "second convolution"]
heard_of = {name: itertools.accumulate(parts, lambda reach, part: part @ reach > 0) for name, parts in steps.items()}
panels = {
    f"{name}:\n{step}": table for name, found in heard_of.items() for step, table in zip(after, found, strict=True)
}
look = {"colours": "Blues", "columns": 3, "width": 8, "height": 2.9}
figures["wiring"] = plots.heat(panels, limits=(0, 1.3), xlabel="channel of the input", ylabel="channel", **look)
figures["wiring"]

# %%
reach = {name: (c @ b @ a > 0).mean() for name, (a, b, c) in steps.items()}
assert reach == {"without a shuffle": 0.5, "with a shuffle": 1.0}

# %% [markdown]
# The package's block shows the same, as measured by gradients: does output channel $i$ move when input channel $j$
# does? (The shortcut does not mix channels, so a block of 8 to 16 channels, without one, is asked.)


# %%
def heard(shuffle):
    """Which output channels (16,) hear of which input channels (8,), by the size of the derivatives."""
    block = FBNetBlock(8, 16, 3, 1, groups=2, act="silu", shuffle=shuffle).eval()
    jacobian = torch.autograd.functional.jacobian(lambda x: block(x).sum((0, 2, 3)), torch.randn(1, 8, 4, 4))
    return jacobian.abs().sum((1, 3, 4)) > 0


assert heard(shuffle=True).all()
assert heard(shuffle=False).float().mean() == 0.5

# %% [markdown]
# ### Exercise 02.1: a channel shuffle
# *Difficulty 2 of 3, about 10 min.* Deal the channels of `x` (B, C, H, W) out like cards: first the first channel of
# every group, then the second of every group, and so on.
#
# <details><summary>Hint 1</summary>See the channels as a table with one row per group: view(B, groups, C // groups, H,
# W).</details>
# <details><summary>Hint 2</summary>Read that table by columns: transpose(1, 2), then reshape back to (B, C, H, W).
# </details>


# %% tags=["stub"]
def shuffle(x, groups):
    raise NotImplementedError


# %% tags=["solution"]
def shuffle(x, groups):
    b, c, h, w = x.shape
    return x.view(b, groups, c // groups, h, w).transpose(1, 2).reshape(b, c, h, w)


# %% tags=["nbval-check-output"]
check_shuffle(shuffle)

# %% [markdown]
# ### Exercise 02.2: the weights of a grouped block
# *Difficulty 1 of 3, about 10 min.* Return the number of weights in the three convolutions of an FBNet block (no
# normalisation). Mind e1, and which of the three are cut into `groups`.
#
# <details><summary>Hint 1</summary>A 1×1 convolution from a to b channels in g groups has a·b / g weights.</details>
# <details><summary>Hint 2</summary>The depthwise convolution has one k×k filter per hidden channel, whatever the
# groups.</details>


# %% tags=["stub"]
def weights(c_in, c_out, kernel, expansion, groups):
    raise NotImplementedError


# %% tags=["solution"]
def weights(c_in, c_out, kernel, expansion, groups):
    hidden = c_in * expansion
    return c_in * hidden // groups + kernel**2 * hidden + hidden * c_out // groups


# %% tags=["nbval-check-output"]
check_weights(weights)

# %% [markdown]
# ## 3 · The space
#
# 22 blocks, every one with the same nine choices, the first one and those that change the shape included. Width and
# height of a block are the square roots of its channels and its resolution.

# %%
space = spaces.create("fbnet", head=cfg.head, input_size=cfg.input_size)
figures["space"] = plots.blocks(space)
figures["space"]

# %% tags=["nbval-check-output"]
assert space.size == 9**22 == 984_770_902_183_611_232_881
print(", ".join(space.decisions[0].choices))
print(f"9^22 = {space.size:,} networks")

# %% [markdown]
# Where a block changes the shape, no skip is free. The paper is silent about it; the authors' code puts a 1×1
# convolution there, and so does the package. Such a "skip" has a price:

# %%
priced = {metric: tables.LookupTable.build(space, metric) for metric in ("macs", "params")}
at = [decision.name for decision in space.decisions].index("stage4_1")
skip = space.decisions[at].choices.index("skip")
projection, identity = (float(priced["macs"].entries[i][skip]) for i in (at, at + 1))
assert projection > 0 == identity
Markdown(f"Skipping the first block of stage 4 costs {projection / 1e6:.2f} M MACs, the second {identity:.0f}.")

# %% [markdown]
# **All prices at a glance**, MACs for each block (columns) and choice (rows). Compare e1 with e1g2, and e6 with all
# others:

# %%
figures["prices"] = plots.price_map(priced["macs"])
figures["prices"]

# %% [markdown]
# ## 4 · The published networks, rebuilt
#
# FBNet-A, -B and -C, from small to large. All three like 5×5 kernels and expansion 6 deep in the network, where the map
# is small; A, the cheapest, skips most where it is large. The label `k3e6sep` is a story of its own.

# %%
published = spaces.published("fbnet")
networks = {name: spaces.published("fbnet", name) for name in published}
wide = spaces.create("fbnet", candidates="mobile-vision")
drawn = {name: spaces.arch_of(wide, published[name].choices) for name in ("FBNet-A", "FBNet-B", "FBNet-C")}
figures["published"] = plots.blocks(wide, drawn)
figures["published"]

# %%
rebuilt = {name: hardware.count(s.build(arch), s.input_shape) for name, (s, arch) in networks.items()}
for name, cost in rebuilt.items():
    assert (cost.macs, cost.params) == (published[name].macs, published[name].params)
assert rebuilt["FBNet-A"] == hardware.Cost(macs=249_921_848, params=4_321_464)
assert [rebuilt[name].macs for name in ("FBNet-B", "FBNet-C")] == [295_561_032, 382_984_480]

# %% [markdown]
# ### A detective story
#
# The paper's figure prints 5×5 for every large kernel of FBNet-B and -C. Rebuilt so ("all 5×5"), they miss the counts
# in the authors' code, 295.561032 and 382.98448 million MACs. With *two 3×3 depthwise convolutions in a row* (`k3_sep`:
# the same window, 18 weights instead of 25) in one block of B and two of C, every digit agrees. So the figure
# simplified, and the code tells what was trained. An exact count is a cheap and merciless check of any reproduction.

# %%
claimed = {"FBNet-A": 249.921848, "FBNet-B": 295.561032, "FBNet-C": 382.98448}
rows = ["| network | MACs | parameters | in the authors' code |", "|---|---|---|---|"]
for name, cost in rebuilt.items():
    millions = claimed[name.split(",")[0]]
    agrees = "agrees" if abs(cost.macs / 1e6 - millions) < 1e-6 else f"off by {cost.macs / 1e6 - millions:.3g} M"
    rows.append(f"| {name} | {cost.macs:,} | {cost.params:,} | {millions} M: {agrees} |")
Markdown("\n".join(rows))

# %% [markdown]
# ## 5 · The price of a probability
#
# FBNet gives every choice of every block a logit $\theta$, and with it a probability:
#
# $$ p_{l,i} = \operatorname{softmax}(\theta_l)_i, \qquad
#    E[\text{cost}] = \text{fixed} + \sum_l \sum_i p_{l,i}\, c_{l,i}. $$
#
# The sum over 22 · 9 products is exact for all 9^22 networks, as expectations add up. Here against the mean of networks
# that the probabilities draw, for some random logits:

# %%
macs = priced["macs"]
generator = torch.Generator().manual_seed(cfg.seed)
theta = [torch.randn(n, generator=generator) for n in space.choices]
rng = np.random.default_rng(cfg.seed)


def draw(theta):
    """A network drawn from the probabilities softmax(theta) of its blocks."""
    return tuple(int(rng.choice(len(t), p=t.double().softmax(0).numpy())) for t in theta)


drawn_costs = [macs(draw(theta)) for _ in range(cfg.draws)]
expected = float(macs.expected([t.softmax(0) for t in theta]))
error = np.std(drawn_costs) / np.sqrt(cfg.draws)
assert abs(np.mean(drawn_costs) - expected) < 5 * error

# %%
Markdown(
    f"Mean of {cfg.draws:,} drawn networks: {np.mean(drawn_costs) / 1e6:.1f} ± {error / 1e6:.1f} M MACs. "
    f"The table's exact expectation: **{expected / 1e6:.1f} M**."
)

# %% [markdown]
# ### Exercise 02.3: the expected cost of a network
# *Difficulty 2 of 3, about 10 min.* `costs` and `thetas` are lists with one tensor per block. Return the expected cost
# as a tensor that is differentiable in the logits. (A public implementation multiplied the costs with $\theta$ itself
# instead of the probabilities. Its "costs" could be negative, and could be lowered without end.)
#
# <details><summary>Hint 1</summary>torch.softmax(theta, 0) @ cost is the expected cost of one block.</details>
# <details><summary>Hint 2</summary>Sum over the blocks, and do not forget the layers that nobody chooses: fixed.
# </details>


# %% tags=["stub"]
def expected_cost(fixed, costs, thetas):
    raise NotImplementedError


# %% tags=["solution"]
def expected_cost(fixed, costs, thetas):
    return fixed + sum(torch.softmax(theta, 0) @ cost for theta, cost in zip(thetas, costs, strict=True))


# %% tags=["nbval-check-output"]
check_expected(expected_cost)

# %% [markdown]
# ### Which way does the price push?
#
# The derivative has a form that one can read. With $E_l = \sum_i p_{l,i} c_{l,i}$, the expected price of block $l$,
#
# $$ \frac{\partial E}{\partial \theta_{l,i}} = p_{l,i}\,(c_{l,i} - E_l): $$
#
# descent pushes down what is dearer than the block's own average and lifts what is cheaper. By hand and by autograd:

# %%
leaves = [t.clone().requires_grad_() for t in theta]
macs.expected([t.softmax(0) for t in leaves]).backward()
for t, leaf, cost in zip(theta, leaves, macs.entries, strict=True):
    p, c = t.softmax(0), cost.float()
    by_hand = p * (c - p @ c)
    assert torch.allclose(leaf.grad, by_hand, rtol=1e-3, atol=1e-4 * float(c.max()))

# %% [markdown]
# ### Descend to a budget
#
# Start with equal probabilities and let plain gradient descent lower $(E / \text{budget} - 1)^2$, with nothing else in
# the loss. (Adam would make the first step equally long for every choice, whatever its price.) Two histograms of
# networks drawn as FBNet draws its final ones, from $\operatorname{softmax}(\theta)$: before and after. Solid lines
# with circles: the expected cost. Dashed with squares: the budget.

# %%
logits = torch.zeros(len(space.choices), 9, requires_grad=True)
optimizer = torch.optim.SGD([logits], lr=10)
for _ in range(cfg.steps):
    loss = (macs.expected(list(logits.softmax(1))) / (1e6 * cfg.budget) - 1) ** 2
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

# %%
costs, marks = {}, {}
for name, values in {"equal probabilities": torch.zeros_like(logits), "after the descent": logits.detach()}.items():
    costs[name] = [macs(draw(values)) / 1e6 for _ in range(cfg.draws)]
    marks[name] = {"expected": float(macs.expected(list(values.softmax(1)))) / 1e6, "budget": cfg.budget}
figures["budget"] = plots.histogram(costs, marks, columns=1, xlabel="MACs (millions)")
figures["budget"]

# %%
assert abs(marks["after the descent"]["expected"] / cfg.budget - 1) < 0.03
most_probable = tuple(logits.argmax(1).tolist())
Markdown(
    f"Expected: from {marks['equal probabilities']['expected']:.0f} to "
    f"**{marks['after the descent']['expected']:.1f} M MACs**. "
    f"A drawn network costs {np.mean(costs['after the descent']):.0f} ± {np.std(costs['after the descent']):.0f} M. "
    f"The most probable network costs {macs(most_probable) / 1e6:.0f} M."
)

# %% [markdown]
# The expected cost meets the budget, but what about the network that one would take in the end? In every block the
# cheapest choice has gained most, and so the most probable network is hardly one at all:

# %%
figures["most_probable"] = plots.blocks(space, {"the most probable after descending on MACs alone": most_probable})
figures["most_probable"]

# %% [markdown]
# Its cost is not the expected one, because no block has made up its mind: a little probability on each of the dear
# choices adds up, and disappears when only the most probable ones are taken. Two lessons follow. *Expected and derived
# cost are two numbers.* And a price alone says nothing of what a network is worth: for that the search needs the error
# of a trained supernet (notebook 06).

# %% [markdown]
# ## 6 · Change one yourself
#
# FBNet-A, in this space: pick a block, then its operation (Tab and the arrow keys work, too). The line says what the
# network costs, and what the last change did.

# %%
from nasedu.widgets import SpaceWidget

start = spaces.arch_of(space, published["FBNet-A"].choices)
widget = SpaceWidget(space, priced, start)
widget

# %% [markdown]
# The same by hand, for pages that cannot run: FBNet-A, all its expansion-1 blocks cut into two groups, and all of them
# made whole.

# %%
names = space.decisions[0].choices


def replaced(suffix):
    """FBNet-A with every expansion-1 block in the form `suffix`."""
    chosen = [names[i] for i in start]
    return spaces.arch_of(space, [f"{c[:2]}{suffix}" if c[2:4] == "e1" else c for c in chosen])


variants = {"FBNet-A": start, "groups everywhere": replaced("e1g2"), "groups nowhere": replaced("e1")}
priced = {f"{name}: {macs(arch) / 1e6:.1f} M MACs": arch for name, arch in variants.items()}
figures["variants"] = plots.blocks(space, priced)
figures["variants"]

# %% [markdown]
# ## Summary
#
# - FBNet's space is 22 times the same nine choices: $9^{22}$ networks.
# - A grouped 1×1 convolution halves the weights and splits the network in two, unless a shuffle deals the channels out.
# - An exact count of MACs tells readings of a paper apart: e1, `k3_sep`, the projection in place of a skip.
# - The expected cost is linear in the probabilities; its gradient lifts whatever is cheaper than the block's average.
#
# **Pitfalls**
#
# - *Raw logits as weights.* Costs times $\theta$ are no expectation. Softmax first.
# - *A skip that is none.* Where the shape changes, a projection stays; skipping all 22 blocks still costs MACs.
# - *Expected is not derived.* Undecided probabilities hide dear choices that nobody will build.
# - *MACs are not milliseconds.* FBNet's table was measured on a phone; notebook 10 measures one on your device.
#
# **Further reading**
#
# - FBNet: Wu, Dai, Zhang, Wang, Sun, Wu, Tian, Vajda, Jia, Keutzer, *FBNet: Hardware-Aware Efficient ConvNet Design via
#   Differentiable Neural Architecture Search*, CVPR 2019; blocks in the public code facebookresearch/mobile-vision
# - The shuffle: Zhang, Zhou, Lin, Sun, *ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile
#   Devices*, CVPR 2018
# - The block: Sandler et al., *MobileNetV2: Inverted Residuals and Linear Bottlenecks*, CVPR 2018

# %%
course.finish(
    cfg,
    summary=f"{space.size:,} networks; FBNet-A rebuilt: {rebuilt['FBNet-A'].macs:,} MACs",
    figures=figures,
    results={
        "size": str(space.size),
        "macs": {name: cost.macs for name, cost in rebuilt.items()},
        "params": {name: cost.params for name, cost in rebuilt.items()},
        "expected_macs": {name: mark["expected"] for name, mark in marks.items()},
        "most_probable_macs": macs(most_probable),
    },
)
