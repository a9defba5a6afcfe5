# %% [markdown]
# # FBNet: groups, shuffles and the expected cost of a space
#
# See why grouped convolutions need a shuffle, rebuild three networks exactly, and lower a space's expected cost.
#
# FBNet makes the same decision for 22 blocks: which kernel, which expansion, in groups or not, or no block at all? It
# gives every choice a probability, and learns the probabilities by gradient descent. The expected latency is a part of
# the loss, so that gradient descent lowers the latency as it lowers the error.
#
# **Afterwards you can**
#
# 1. show which channels of a block depend on which, and say what two groups can learn with a shuffle and without;
# 2. tell several readings of the same paper apart by counting, and say when a count cannot;
# 3. write the expected cost of a whole space as a differentiable function, and say which way its gradient pushes;
# 4. move a space to a budget by gradient descent, and say why the network that is taken in the end may miss it.
#
# **You need** notebook 01, or an idea of inverted residuals (MBConv) and lookup tables.
#
# | preset | what it runs | time, two CPU cores |
# |---|---|---|
# | `smoke` | 100 random networks and steps, to prove that every cell works | 12 seconds |
# | `quick` | 1,000 random networks, 300 steps | 45 seconds, beside other work |
# | `full` | 20,000 random networks, 1,000 steps | not measured |
# | `gpu` | as `full`; nothing here needs a GPU | not measured |

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu; it sets every parameter below that is None
head: str = None  # channels before the classifier: small (1504, FBNet-A) or large (1984, -B and -C)
input_size: int = None  # pixels of the images that the space is drawn and priced for
budget: float = None  # MACs, in millions, that section 5 descends to
draws: int = None  # random networks whose costs are drawn as a histogram
steps: int = None  # steps of that descent
threads: int = None  # CPU threads
seed: int = None  # of every random choice
device: str = None  # auto, cpu, cuda, cuda:1 ...
out_dir: str = None  # folder of the results; None: one per set of parameters

# %%
from collections import Counter

import numpy as np
import torch
from IPython.display import Markdown
from torch import nn

from nasedu import course, hardware, plots, spaces, tables
from nasedu.course.checks.fbnet import check_cost, check_fit, check_paper, check_shuffle, check_task
from nasedu.errors import check_number, check_whole

cfg = course.setup("02_space_fbnet", globals(), choices={"head": list(spaces.fbnet.HEADS)})
for name, least in {"draws": 10, "steps": 1, "input_size": 32}.items():
    check_whole(name, getattr(cfg, name), least, 2048 if name == "input_size" else 1_000_000)
torch.set_num_threads(check_whole("threads", cfg.threads, 1, 256))
space = spaces.create("fbnet", head=cfg.head, input_size=cfg.input_size)
macs = tables.LookupTable.build(space, "macs")
low, high = (bound / 1e6 for bound in macs.bounds())  # no network costs less, or more
check_number("budget", cfg.budget, low, high)
cfg

# %% [markdown]
# ## 1 · The block, and what is special about it
#
# FBNet's block is an inverted residual as in notebook 01: 1×1, depthwise, 1×1. It comes in four widths. The pictures
# show three of them for 32 channels on a map of 28 px (the widest, e6, is left out). Dark bars are maps, as high as
# their channels. Solid faces are 1×1 convolutions, where every output channel reads every input channel. Lines are
# depthwise convolutions, where every channel reads only itself.

# %%
from nasedu.blocks import FBNetBlock

figures = {}
kinds = {"k3e3": (3, 3, 1), "k3e1": (3, 1, 1), "k3e1g2": (3, 1, 2)}  # kernel, expansion, groups
torch.manual_seed(cfg.seed)
shown = {name: FBNetBlock(32, 32, *kind) for name, kind in kinds.items()}
figures["blocks"] = plots.bottlenecks(shown, 28)
figures["blocks"]

# %% [markdown]
# Two details decide whether a reader rebuilds FBNet or another network:
#
# - **e1 keeps its first 1×1 convolution.** At expansion 1 MobileNetV2 drops the first 1×1 convolution; FBNet keeps it.
# - **g2 cuts both 1×1 convolutions into two groups.** Half of the output channels read one half of the input channels,
#   the other output channels read the other half. That saves half of the weights. A **shuffle** between the first 1×1
#   and the depthwise convolution rearranges the channels; section 2 shows why it is needed.
#
# From scratch, the block is a short list of layers. With equal weights it must give what the package's block gives:


# %%
def layers(c, kernel, expansion, groups):
    """The layers of an FBNet block with as many channels out as in, at stride 1."""
    h = expansion * c
    expand = [nn.Conv2d(c, h, 1, groups=groups, bias=False), nn.BatchNorm2d(h), nn.ReLU()]
    depthwise = nn.Conv2d(h, h, kernel, padding=kernel // 2, groups=h, bias=False)
    project = [nn.Conv2d(h, c, 1, groups=groups, bias=False), nn.BatchNorm2d(c)]
    shuffle = nn.ChannelShuffle(groups)
    return nn.Sequential(*expand, shuffle, depthwise, nn.BatchNorm2d(h), nn.ReLU(), *project)


ours, theirs = layers(32, 3, 1, 2), shown["k3e1g2"]
ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
x = torch.randn(8, 32, 14, 14)
mine, package = x + ours(x), theirs(x)
print(f"largest output: {mine.max():.6f} ours, {package.max():.6f} the package's")
assert torch.equal(mine, package), "equal weights must give equal outputs"

# %% [markdown]
# ## 2 · Groups need a shuffle
#
# Follow eight channels through two grouped convolutions. In each panel a row is a channel, a column is a channel of the
# input, and a dark cell says that the first depends on the second. Panels go from left to right: after the first
# convolution, after the rearranging, after the second convolution. In the upper row nothing is rearranged. The first
# four channels then never depend on the last four, however many such layers follow. In the lower row the channels are
# **shuffled** between the two convolutions, and in the end every channel depends on all.
#
# From scratch, a layer is a matrix of 0 and 1 that says which channel reads which. A shuffle is a permutation. Layers
# in a row are a matrix product:

# %%
grouped = np.kron(np.eye(2), np.ones((4, 4)))  # two groups of four
order = np.arange(8).reshape(2, 4).T.flatten()  # 0 4 1 5 2 6 3 7: dealt out in turn
shuffled = np.eye(8)[order]
wirings = {"without a shuffle": np.eye(8), "with a shuffle": shuffled}
panels = {}
for name, between in wirings.items():
    steps = {"first convolution": grouped, "rearranging": between, "second convolution": grouped}
    depends = np.eye(8)
    for step, matrix in steps.items():
        depends = matrix @ depends > 0
        panels[f"{name}:\n{step}"] = depends
look = {"colours": "Blues", "columns": 3, "width": 8, "height": 2.9}
axes = {"xlabel": "channel of the input", "ylabel": "channel"}
figures["wiring"] = plots.heat(panels, limits=(0, 1.3), **axes, **look)
figures["wiring"]

# %% [markdown]
# The package's block must show the same. Measure it by gradients: does output channel $i$ change when input channel $j$
# does? (The shortcut adds every channel to itself. To leave it out, this block has 8 channels in and 16 out.)


# %%
def share_of_pairs(shuffle):
    """The share of (output, input) pairs of channels where the output depends on the input."""
    block = FBNetBlock(8, 16, 3, 1, groups=2, act="silu", shuffle=shuffle).eval()
    x = torch.randn(1, 8, 4, 4)
    jacobian = torch.autograd.functional.jacobian(lambda x: block(x).sum((0, 2, 3)), x)
    return float((jacobian.abs().sum((1, 3, 4)) > 0).float().mean())


for name, between in wirings.items():
    by_matrix = float((grouped @ between @ grouped > 0).mean())
    by_gradient = share_of_pairs(name == "with a shuffle")
    print(f"{name}: {by_matrix:.0%} of the pairs by the matrices, {by_gradient:.0%} by gradients")
    assert by_matrix == by_gradient, "matrices and gradients must agree"

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
# ### What can two groups learn?
#
# That a channel *depends* on all others does not mean that it can compute anything from them. Try it. Two 1×1
# convolutions of 8 channels, each in two groups, are to learn a simple task: swap the two halves, so that channels 0 to
# 3 come out as 4 to 7, and 4 to 7 as 0 to 3. Think first: how much of this task can they learn if the channels are
# shuffled in between?

# %%
answers = ["nothing", "half of it", "all of it"]
question = "How much of the swap can two grouped convolutions with a shuffle learn?"
guess = course.predict(question, answers)

# %% [markdown]
# Train three variants on random numbers: in groups without a shuffle, in groups with one, and without groups. The
# error is the share of the target's mean square that is left. A network that always returns 0 leaves all of it:


# %%
def learn(groups, between, target, steps=400):
    """The share of the target's mean square that is left after every step of a training."""
    torch.manual_seed(cfg.seed)
    convolutions = [nn.Conv2d(8, 8, 1, groups=groups, bias=False) for _ in range(2)]
    net = nn.Sequential(convolutions[0], between, convolutions[1])
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    left = []
    for _ in range(steps):
        x = torch.randn(256, 8, 1, 1)  # new numbers at every step
        loss = (net(x) - target(x)).square().mean() / target(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        left.append(float(loss.detach()))
    return left


def swap(x):
    return torch.cat([x[:, 4:], x[:, :4]], 1)


variants = {
    "two groups, no shuffle": (2, nn.Identity()),
    "two groups, shuffled": (2, nn.ChannelShuffle(2)),
    "no groups": (1, nn.Identity()),
}
curves = {name: learn(*variant, swap) for name, variant in variants.items()}
axes = {"xlabel": "training step", "ylabel": "share of the target left"}
figures["swap"] = plots.lines(curves, **axes)
figures["swap"]

# %% [markdown]
# What came:

# %%
left = {name: float(np.mean(curve[-20:])) for name, curve in curves.items()}
learnt = 1 - left["two groups, shuffled"]
guess.came(
    answers[0] if learnt < 0.25 else answers[1] if learnt < 0.75 else answers[2],
    f"Left at the end: {'; '.join(f'{name} {share:.0%}' for name, share in left.items())}. The "
    "shuffle gives each group of the second convolution two channels from either group of the "
    "first. What four channels of the other half hold does not fit into two.",
)

# %% [markdown]
# ### Exercise 02.2: a task for the shuffle
# *Difficulty 2 of 3, about 15 min; experiment.* Find a task on which the shuffle makes all the difference. `target(x)`
# takes maps `x` (B, 8, H, W) and returns what the two convolutions should return, of the same shape. With the shuffle,
# two grouped convolutions must be able to learn it completely (less than 1 % left). Without, they must learn next to
# nothing of it (more than 90 % left). No output channel may be always 0. Try your task first:
# `learn(2, nn.ChannelShuffle(2), target)[-1]` is what is left with the shuffle, and with `nn.Identity()` what is left
# without. The checker computes what the best possible weights would leave.
#
# <details><summary>Hint 1</summary>Without a shuffle, an output channel knows only its own half: channels 0 to 3, or 4
# to 7. Which inputs must it depend on, so that its own half says nothing about it?</details>
# <details><summary>Hint 2</summary>The two convolutions have no activation: they can learn sums of channels with any
# weights.</details>
# <details><summary>Hint 3</summary>Two channels of the other half get through. How many different sums of them may the
# four output channels of a half ask for?</details>


# %% tags=["stub"]
def target(x):
    raise NotImplementedError


# %% tags=["solution"]
def target(x):
    return x[:, [4, 4, 5, 5, 0, 0, 1, 1]]  # each half asks for two channels of the other one


# %% tags=["nbval-check-output"]
check_task(target)

# %% [markdown]
# ## 3 · The space
#
# The network is a chain of 22 blocks. Every block has the same nine choices, also the first one and those that change
# the shape. The width and height of a block in the picture are the square roots of its channels and its resolution:

# %%
figures["space"] = plots.blocks(space)
figures["space"]

# %% [markdown]
# The nine choices are kernels 3 and 5 in four widths each, and the skip. They are independent, so their numbers
# multiply:

# %% tags=["nbval-check-output"]
print(", ".join(space.decisions[0].choices))
print(f"9^22 = {space.size:,} networks")
assert space.size == 9**22, "22 decisions with nine choices each"

# %% [markdown]
# What is a skip where a block changes the shape? The paper is silent about it. The authors' code puts a 1×1 convolution
# there, and so does the package. So a skip costs nothing where the shape stays, and something where it changes:

# %%
skip = space.decisions[0].choices.index("skip")
names = [decision.name for decision in space.decisions]
first, second = (float(macs.entries[names.index(name)][skip]) for name in ("stage4_1", "stage4_2"))
print(f"a skip at stage4_1, which changes the shape: {first / 1e6:.2f} M MACs")
print(f"a skip at stage4_2, which keeps the shape:   {second / 1e6:.2f} M MACs")
assert first > 0 == second, "only a skip that changes the shape costs something"

# %% [markdown]
# **All prices at a glance**: the MACs of each block (columns) and choice (rows). Compare e1 with e1g2, and e6 with all
# others:

# %%
figures["prices"] = plots.price_map(macs)
figures["prices"]

# %% [markdown]
# ## 4 · The published networks, rebuilt
#
# The authors published FBNet-A, -B and -C, from small to large. All three have mostly 5×5 kernels and expansion 6 deep
# in the network, where the map is small. FBNet-A, the cheapest, skips three blocks, all near the image, where the map
# is large. The label `k3e6sep` is explained below.

# %%
published = spaces.published("fbnet")
networks = {name: spaces.published("fbnet", name) for name in published}
wide = spaces.create("fbnet", candidates="mobile-vision")  # with k3e6sep as a tenth choice
originals = ("FBNet-A", "FBNet-B", "FBNet-C")
drawn = {name: spaces.arch_of(wide, published[name].choices) for name in originals}
figures["published"] = plots.blocks(wide, drawn)
figures["published"]

# %% [markdown]
# ### Which network did the authors train?
#
# For FBNet-B and -C two readings exist. The paper's figure has a 5×5 kernel wherever the kernel is large, and so has
# the authors' code (mobile-vision). But comments in that code name another operation for one block of B and two of C:
# `ir_k3_sep`, **two 3×3 depthwise convolutions in a row** (here `k3e6sep`). Together they see the same 5×5 window, with
# 18 weights per channel instead of 25.
#
# Counting decides. A file of the authors about their trained networks (`model_info.json`) states exact MACs, and the
# number of weights without normalisation and without the classifier's bias. Rebuild all readings and compare:

# %%
stated = {  # millions, from model_info.json of facebookresearch/mobile-vision
    "FBNet-A": (249.921848, 4.28648),
    "FBNet-B": (295.561032, 4.777296),
    "FBNet-C": (382.98448, 5.520784),
}


def counted(space, arch):
    """MACs and weights of a network, in millions, as the authors count."""
    net = space.build(arch)
    left_out = [p for m in net.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()]
    left_out.append(net.parts["classifier"].linear.bias)
    cost = hardware.count(net, space.input_shape)
    return cost.macs / 1e6, (cost.params - sum(p.numel() for p in left_out)) / 1e6


rebuilt = {name: counted(*network) for name, network in networks.items()}
rows = ["| reading | MACs (millions) | weights (millions) | beside the file |", "|---|---|---|---|"]
for name, found in rebuilt.items():
    off = np.subtract(found, stated[name.split(",")[0]])
    same = bool(np.abs(off).max() < 1e-7)
    verdict = "both agree" if same else f"off by {off[0]:+.6f} and {off[1]:+.6f}"
    rows.append(f"| {name} | {found[0]:.6f} | {found[1]:.6f} | {verdict} |")
    assert same or "all 5x5" in name, f"{name} must agree with the authors' file"
Markdown("\n".join(rows))

# %% [markdown]
# With `k3e6sep` every digit of both numbers agrees. With 5×5 everywhere neither number does. So the file describes
# networks with `k3e6sep`.
#
# The authors' other numbers do *not* all agree with their own file, whichever reading one takes. MACs in millions, as
# they state them:
#
# | where | FBNet-A | FBNet-B | FBNet-C |
# |---|---|---|---|
# | `model_info.json` | 249.921848 | 295.561032 | 382.98448 |
# | README, Caffe2 models | 249.4 | 295.6 | 383.0 |
# | README, PyTorch models | 244.5 | 291.1 | 378.2 |
# | paper | 249 | 295 | 375 |
#
# We do not know what was counted in the last two rows. So "375 M" and "383 M" in two comparisons may be the same
# network. Say which count you quote, and count again what you build.
#
# ### How much does a count prove?
#
# Two exact numbers agree. Does that leave only one reading? In the version with 5×5 everywhere FBNet-B has seven blocks
# `k5e6`. Each of them might be `k3e6sep` in truth: that makes 2⁷ = 128 readings. Think first: how many of them have
# exactly the stated MACs?

# %%
answers = ["exactly one", "several", "none"]
readings = course.predict("How many readings of FBNet-B have exactly the stated MACs?", answers)

# %% [markdown]
# ### Exercise 02.3: all readings that fit
# *Difficulty 3 of 3, about 20 min; fault.* `printed` is an architecture of `space` as a paper prints it. Some of its
# blocks `k5e6` may be misprints of `k3e6sep`: none, some or all. `costs` is a list of tables, which return a number for
# an architecture, and `stated` a list with the true network's numbers, one for each table. Return the list of all
# architectures that the true network can be.
#
# <details><summary>Hint 1</summary>Find the places of the suspects first: space.decisions[b].choices[i] is the name of
# choice i at block b.</details>
# <details><summary>Hint 2</summary>itertools.product([False, True], repeat=n) lists all ways to change some of n
# blocks, among them the one that changes nothing.</details>
# <details><summary>Hint 3</summary>Tables of MACs and parameters are exact, so compare with ==. All tables must
# agree.</details>


# %% tags=["stub"]
def fitting(space, printed, costs, stated):
    raise NotImplementedError


# %% tags=["solution"]
import itertools


def fitting(space, printed, costs, stated):
    names = [list(decision.choices) for decision in space.decisions]
    suspects = [b for b, i in enumerate(printed) if names[b][i] == "k5e6"]
    found = []
    for changed in itertools.product([False, True], repeat=len(suspects)):
        arch = list(printed)
        for b in itertools.compress(suspects, changed):
            arch[b] = names[b].index("k3e6sep")
        # counts are exact, so they are compared with ==
        if [table(tuple(arch)) for table in costs] == list(stated):
            found.append(tuple(arch))
    return found


# %% tags=["nbval-check-output"]
check_fit(fitting)

# %% [markdown]
# The readings can also be counted without listing them. What a change saves depends on its block alone. So go through
# the suspects one by one, and keep a table that says how many sets of changes save how much:

# %%
exact = [tables.LookupTable.build(wide, metric) for metric in ("macs", "params")]
k5, sep = (wide.decisions[0].choices.index(name) for name in ("k5e6", "k3e6sep"))
rows = ["| network | readings | with the stated MACs | and the parameters |", "|---|---|---|---|"]
fits = {}
for name in ("FBNet-B", "FBNet-C"):
    printed = spaces.arch_of(wide, published[f"{name}, all 5x5"].choices)
    due = tuple(round(table(printed) - table(drawn[name])) for table in exact)
    sums = Counter({(0, 0): 1})  # how many sets of changes save (MACs, parameters)
    for b in (b for b, i in enumerate(printed) if i == k5):
        saves = [round(float(table.entries[b][k5] - table.entries[b][sep])) for table in exact]
        sums.update({(m + saves[0], p + saves[1]): n for (m, p), n in sums.items()})
    fits[name] = (sum(n for (m, _), n in sums.items() if m == due[0]), sums[due])
    rows.append(f"| {name} | {sums.total():,} | {fits[name][0]} | {fits[name][1]} |")
Markdown("\n".join(rows))

# %% [markdown]
# What came, and what follows from it:

# %%
readings.came(
    answers[1] if fits["FBNet-B"][0] > 1 else answers[0] if fits["FBNet-B"][0] else answers[2],
    f"{fits['FBNet-B'][0]} readings of FBNet-B have the stated MACs, and {fits['FBNet-B'][1]} of "
    f"them the stated parameters, too. For FBNet-C it is {fits['FBNet-C'][0]} and "
    f"{fits['FBNet-C'][1]}. A count that disagrees refutes a reading. A count that agrees does not "
    "prove one: several changes can save the same, and equal blocks of a stage always do.",
)

# %% [markdown]
# ## 5 · The expected cost of a space
#
# FBNet gives every choice $i$ of every block $l$ a **logit** $\theta_{l,i}$, and with it a probability. A choice costs
# $c_{l,i}$. The expected cost of a network that is drawn from the probabilities is then
#
# $$ p_{l,i} = \operatorname{softmax}(\theta_l)_i, \qquad
#    E[\text{cost}] = \text{fixed} + \sum_l \sum_i p_{l,i}\, c_{l,i}. $$
#
# Expectations add up, so these 22 · 9 products are exact for all 9²² networks. Check it for some random logits, against
# the mean of networks that are drawn from the probabilities:

# %%
generator = torch.Generator().manual_seed(cfg.seed)
theta = [torch.randn(n, generator=generator) for n in space.choices]
rng = np.random.default_rng(cfg.seed)


def draw(theta):
    """A network drawn from the probabilities softmax(theta) of its blocks."""
    return tuple(int(rng.choice(len(t), p=t.double().softmax(0).numpy())) for t in theta)


drawn_costs = [macs(draw(theta)) / 1e6 for _ in range(cfg.draws)]
expected = float(macs.expected([t.softmax(0) for t in theta])) / 1e6
error = float(np.std(drawn_costs) / np.sqrt(cfg.draws))
print(f"mean of {cfg.draws:,} drawn networks: {np.mean(drawn_costs):.1f} ± {error:.1f} M MACs")
print(f"expected cost by the table: {expected:.1f} M MACs")
assert abs(np.mean(drawn_costs) - expected) < 6 * error, "the mean must approach the expectation"

# %% [markdown]
# In FBNet the costs are milliseconds, measured on a phone. The loss of its search is the cross-entropy times
# $\alpha \log(E[\text{latency}])^\beta$; notebook 11 compares it with other losses. Here the cost is MACs, and the loss
# has no cross-entropy, so that you see what the cost alone does.
#
# ### Exercise 02.4: the expected cost of a network
# *Difficulty 2 of 3, about 10 min.* `costs` and `thetas` are lists with one tensor per block. Return the expected cost
# as a tensor that is differentiable in the logits. (A public implementation multiplied the costs with $\theta$ itself
# instead of the probabilities. Its "costs" could be negative, and could be lowered without end.)
#
# <details><summary>Hint 1</summary>torch.softmax(theta, 0) @ cost is the expected cost of one block.</details>
# <details><summary>Hint 2</summary>Sum over the blocks, and add the fixed part: the layers that nobody chooses.
# </details>


# %% tags=["stub"]
def expected_cost(fixed, costs, thetas):
    raise NotImplementedError


# %% tags=["solution"]
def expected_cost(fixed, costs, thetas):
    blocks = zip(thetas, costs, strict=True)
    return fixed + sum(torch.softmax(theta, 0) @ cost for theta, cost in blocks)


# %% tags=["nbval-check-output"]
check_cost(expected_cost)

# %% [markdown]
# ### Which way does the cost push?
#
# All nine choices of a block start with the same probability. Gradient descent on the expected cost makes one small
# step. Think first: which choices become less probable?

# %%
answers = ["all but the cheapest", "those above the average", "only the most expensive"]
question = "Which choices become less probable in a step that lowers the expected cost?"
push = course.predict(question, answers)

# %% [markdown]
# The picture shows one block, `stage3_2`: each choice at its cost, and the derivative of the expected cost by its
# logit. The dotted line is the average cost of the block's choices:

# %%
logits = torch.zeros(22, 9, requires_grad=True)
(slopes,) = torch.autograd.grad(macs.expected(list(logits.softmax(1))), logits)
# a point for each choice of one block: its cost, and what its logit adds to the expectation
at = names.index("stage3_2")
prices = macs.entries[at].float()
pairs = torch.stack([prices, slopes[at]], 1) / 1e6
points = dict(zip(space.decisions[at].choices, pairs.tolist(), strict=True))
axes = {"xlabel": "cost of the choice (M MACs)", "ylabel": "derivative by its logit (M MACs)"}
figures["push"] = plots.scatter(points, named=True, width=8, **axes)
figures["push"].guide(x=float(prices.mean()) / 1e6, label="average")
figures["push"]

# %% [markdown]
# Make the step, and see which probabilities fall:

# %%
# a step so small that no probability moves far
after = (logits - 0.1 * slopes / slopes[at].abs().max()).softmax(1)[at].detach()
falling = after < 1 / 9
sets = [prices > prices.min(), prices > prices.mean(), prices == prices.max()]
agree = [float((falls == falling).float().mean()) for falls in sets]
outcome = answers[int(np.argmax(agree))]
push.came(
    outcome,
    f"The derivative is positive for {int(falling.sum())} of 9 choices and negative for the rest: "
    "it grows with what a choice costs above the block's average. Notebook 06 derives the formula.",
)

# %% [markdown]
# ### Descend to a budget
#
# Start with equal probabilities and let plain gradient descent lower $(E / \text{budget} - 1)^2$, with nothing else in
# the loss. (Adam would make the first step equally long for every choice, whatever it costs.)

# %%
print(f"networks of this space cost {low:.0f} to {high:.0f} M MACs; the budget is {cfg.budget:g} M")
logits = torch.zeros(len(space.choices), 9, requires_grad=True)
# the loss is a ratio near 1, so its slopes are small and the rate is large
optimizer = torch.optim.SGD([logits], lr=10)
expectations = []
for _ in course.Bar(range(cfg.steps), "steps"):
    cost = macs.expected(list(logits.softmax(1))) / 1e6
    loss = (cost / cfg.budget - 1) ** 2
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    expectations.append(float(cost.detach()))
curve = {"expected cost": expectations}
figures["descent"] = plots.lines(curve, xlabel="step", ylabel="M MACs", height=2.6)
figures["descent"].guide(y=cfg.budget, label="budget")

# %% [markdown]
# FBNet then draws its final networks from
# $\operatorname{softmax}(\theta)$. Two histograms of such networks follow, from before the descent and from after it.
# Lines with circles show the expected cost, lines with squares the budget:

# %%
costs, marks = {}, {}
both = {"equal probabilities": torch.zeros_like(logits), "after the descent": logits.detach()}
for name, values in both.items():
    costs[name] = [macs(draw(values)) / 1e6 for _ in range(cfg.draws)]
    expected = float(macs.expected(list(values.softmax(1)))) / 1e6
    marks[name] = {"expected": expected, "budget": cfg.budget}
figures["budget"] = plots.histogram(costs, marks, columns=1, xlabel="MACs (millions)")
figures["budget"]

# %% [markdown]
# The same in numbers, beside the **most probable** network, which takes the most probable choice of every block:

# %%
most_probable = tuple(logits.argmax(1).tolist())
reached = marks["after the descent"]["expected"]
# within 3 % of the budget counts as met
close = abs(reached / cfg.budget - 1) < 0.03
spread = float(np.std(costs["after the descent"]))
Markdown(
    f"After {cfg.steps} steps the expected cost is **{reached:.1f} M MACs**: "
    f"{'the budget is met' if close else 'the budget is not met yet'}. A drawn network costs "
    f"{np.mean(costs['after the descent']):.0f} ± {spread:.0f} M. The most probable network costs "
    f"**{macs(most_probable) / 1e6:.0f} M**."
)

# %% [markdown]
# Here is that most probable network:

# %%
found = Counter(space.decisions[b].choices[i] for b, i in enumerate(most_probable))
commonest, times = found.most_common(1)[0]
print(f"{commonest} in {times} of {len(most_probable)} blocks")
named = {"the most probable network after descending on MACs alone": most_probable}
figures["most_probable"] = plots.blocks(space, named)
figures["most_probable"]

# %% [markdown]
# Its cost is not the expected one, because no block is decided. A little probability on each of the other choices adds
# up in the expectation. It is gone as soon as only the most probable choice of each block is taken. Two lessons follow.
# *The expected cost and the cost of the network that is taken are two numbers.* And a cost says nothing of how good a
# network is: for that a search needs the error of a trained supernet (notebook 06).
#
# ### Exercise 02.5: a budget met on paper
# *Difficulty 3 of 3, about 20 min; design.* The most probable network can also cost far *more* than the expectation.
# Show it. `table` is a table of costs of some space: `table.entries` holds one tensor of costs per block,
# `table.fixed` the fixed part, and `table.expected(path)` gives the expected cost of probabilities. Return logits, a
# list with one tensor per block, whose expected cost lies within 1 % of `budget`, while the most probable network costs
# at least 1.4 times the budget. In every block one choice must be more probable than any other.
#
# <details><summary>Hint 1</summary>Let a block take its dearest choice with probability p and its cheapest with 1 − p.
# Above p = 0.5 the dearest is the most probable.</details>
# <details><summary>Hint 2</summary>If all blocks do so, the expected cost lies the share p of the way from the cheapest
# network to the dearest (<code>table.bounds()</code> has both costs). If that is too dear, decide some blocks for their
# cheapest choice. Which p meets the budget then?</details>
# <details><summary>Hint 3</summary>The logarithms of probabilities are logits. A choice that is not to occur gets a low
# one, such as −20; −∞ is not allowed.</details>


# %% tags=["stub"]
def on_paper(table, budget):
    raise NotImplementedError


# %% tags=["solution"]
def on_paper(table, budget):
    spans, n = [float(cost.max() - cost.min()) for cost in table.entries], len(table.entries)
    # the first n blocks take their dearest choice with probability p, all others their cheapest
    while (p := (budget - table.bounds()[0]) / sum(spans[:n])) < 0.51:
        n -= 1
    logits = [torch.full((len(cost),), -20.0) for cost in table.entries]
    for b, cost in enumerate(table.entries):
        logits[b][cost.argmin()] = np.log(1 - p) if b < n else 0.0
        if b < n:
            logits[b][cost.argmax()] = np.log(p)
    return logits


# %% tags=["nbval-check-output"]
check_paper(on_paper)

# %% [markdown]
# ## 6 · Change one yourself
#
# FBNet-A, in this space: pick a block, then its operation (Tab and the arrow keys work, too). The lines say what the
# network costs, and what the last change did.

# %%
from nasedu.widgets import SpaceWidget

start = spaces.arch_of(space, published["FBNet-A"].choices)
params = tables.LookupTable.build(space, "params")
widget = SpaceWidget(space, {"macs": macs, "params": params}, start)
widget

# %% [markdown]
# The same by hand, for pages that cannot run: FBNet-A, then with all its expansion-1 blocks in two groups, then with
# none of them in groups. What do groups save?

# %%
chosen = [space.decisions[0].choices[i] for i in start]
variants = {"FBNet-A": start}
for name, suffix in {"groups everywhere": "e1g2", "groups nowhere": "e1"}.items():
    changed = [f"{c[:2]}{suffix}" if c[2:4] == "e1" else c for c in chosen]
    variants[name] = spaces.arch_of(space, changed)
labelled = {f"{name}: {macs(arch) / 1e6:.1f} M MACs": arch for name, arch in variants.items()}
figures["variants"] = plots.blocks(space, labelled)
figures["variants"]

# %% [markdown]
# ## Summary
#
# - FBNet's space is 22 times the same nine choices: 9²² networks.
# - A grouped 1×1 convolution halves the weights and splits the network into two. A shuffle joins the halves again, but
#   only half of the channels cross.
# - An exact count refutes a reading of a paper (e1 with or without its first convolution, `k3e6sep` or `k5e6`). A count
#   that agrees can still fit several readings.
# - The expected cost is linear in the probabilities. Its gradient makes the choices less probable that cost more than
#   their block's average.
# - The most probable network can cost much less than the expectation, or much more.
#
# **Pitfalls**
#
# - *Raw logits as weights.* Costs times $\theta$ are no expectation. Apply the softmax first.
# - *A skip that costs something.* Where the shape changes, a 1×1 convolution stays; even with 22 skips there are MACs.
# - *Expected and derived cost.* Report the cost of the network that is built, never the expectation.
# - *MACs and milliseconds.* FBNet's table was measured on a phone; notebook 10 measures one on your device.
#
# **Further reading**
#
# - FBNet: Wu, Dai, Zhang, Wang, Sun, Wu, Tian, Vajda, Jia, Keutzer, *FBNet: Hardware-Aware Efficient ConvNet Design via
#   Differentiable Neural Architecture Search*, CVPR 2019; blocks, comments and `model_info.json` in the public code
#   facebookresearch/mobile-vision
# - The shuffle: Zhang, Zhou, Lin, Sun, *ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile
#   Devices*, CVPR 2018
# - The block: Sandler et al., *MobileNetV2: Inverted Residuals and Linear Bottlenecks*, CVPR 2018

# %%
# writes result.json and the figures into the output folder
course.finish(
    cfg,
    summary=f"{space.size:,} networks; FBNet-A rebuilt: {rebuilt['FBNet-A'][0]:.6f} M MACs",
    figures=figures,
    results={
        "size": str(space.size),
        "million_macs": {name: found[0] for name, found in rebuilt.items()},
        "million_weights": {name: found[1] for name, found in rebuilt.items()},
        "readings_that_fit_macs_and_params": fits,
        "left_of_the_swap": left,
        "expected_million_macs": {name: mark["expected"] for name, mark in marks.items()},
        "most_probable_macs": macs(most_probable),
    },
)
