# %% [markdown]
# # ProxylessNAS: a space of kernels, widths and skips
#
# Build the block that mobile networks are made of, turn its settings into decisions, and price every network exactly.
#
# A search space is a list of decisions. ProxylessNAS makes the same decision 21 times: *which kernel, how wide inside,
# or no block at all?* That gives 2.2 × 10¹⁷ networks. A search over such networks found ProxylessNAS-Mobile, which
# reaches 74.6 % on ImageNet in 78 ms on a phone (the authors' figures). In section 4 you rebuild it.
#
# **Afterwards you can**
#
# 1. write an inverted residual (MBConv) in a few lines, say what each of its layers costs, and test one for faults;
# 2. say which blocks of a network can be skipped, and why the others cannot;
# 3. run one network of the space, or all of them at once, inside one supernet;
# 4. price any network with a table, and rebuild three published networks and check their counts;
# 5. compute how many pixels a network sees, and find networks of equal cost that see differently far.
#
# **You need** PyTorch and an idea of convolutional networks.
#
# | preset | what it runs | time, two CPU cores |
# |---|---|---|
# | `smoke` | 100 random networks, to prove that every cell works | 10 seconds |
# | `quick` | 1,000 random networks | 35 seconds, beside other work |
# | `full` | 20,000 random networks | not measured |
# | `gpu` | as `full`; nothing here needs a GPU | not measured |

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu; it sets every parameter below that is None
outline: str = None  # widths of the stages: search (of the public code), mobile, gpu or cpu
input_size: int = None  # pixels of the images that the space is drawn and priced for
draws: int = None  # random networks whose costs are drawn as a histogram
threads: int = None  # CPU threads
seed: int = None  # of every random choice
device: str = None  # auto, cpu, cuda, cuda:1 ...
out_dir: str = None  # folder of the results; None: one per set of parameters

# %%
import itertools

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from torch import nn

from nasedu import course, hardware, plots, spaces, tables
from nasedu.course.checks.proxylessnas import check_kernel, check_params, check_trial, check_twins
from nasedu.errors import check_whole

outlines = list(spaces.proxylessnas.OUTLINES)
cfg = course.setup("01_space_proxylessnas", globals(), choices={"outline": outlines})
# a number that some later cell could not use is refused here, at once
check_whole("draws", cfg.draws, 10, 1_000_000)
check_whole("input_size", cfg.input_size, 32, 2048)
torch.set_num_threads(check_whole("threads", cfg.threads, 1, 256))
cfg

# %% [markdown]
# ## 1 · The block
#
# Every block is an **inverted residual** (MBConv, from MobileNetV2). Its name gives its two settings: `k5e6` has kernel
# 5 and expansion 6. The block is narrow at both ends and wide in the middle. In the picture, dark bars are feature
# maps, as high as their number of channels. From left to right:
#
# - a 1×1 convolution (solid face) multiplies the number of channels by the expansion $e$. Each output channel reads
#   *every* input channel;
# - a $k \times k$ **depthwise** convolution (lines) combines neighbouring positions. Each channel reads *only itself*;
# - a 1×1 convolution narrows the map again. No activation follows it;
# - where input and output have the same shape, a shortcut (orange) adds the input to the output.

# %%
from nasedu.blocks import MBConv

figures = {}
settings = {"k3e3": (3, 3), "k3e6": (3, 6), "k7e6": (7, 6)}
figures["block"] = plots.bottlenecks({name: MBConv(24, 24, *s) for name, s in settings.items()}, 56)
figures["block"]

# %% [markdown]
# ### From scratch
#
# A block is eight layers in a row, and one addition. BN is batch normalisation; ReLU6 cuts at 0 and at 6. With the same
# weights, the eight layers must give what the package's block gives, to the last bit:


# %%
def inverted_residual(c, kernel, expansion):
    """The layers of a block with as many channels out as in, at stride 1."""
    h = expansion * c
    expand = [nn.Conv2d(c, h, 1, bias=False), nn.BatchNorm2d(h), nn.ReLU6()]
    depthwise = nn.Conv2d(h, h, kernel, padding=kernel // 2, groups=h, bias=False)
    project = [nn.Conv2d(h, c, 1, bias=False), nn.BatchNorm2d(c)]
    return nn.Sequential(*expand, depthwise, nn.BatchNorm2d(h), nn.ReLU6(), *project)


ours, theirs = inverted_residual(24, 5, 6), MBConv(24, 24, 5, 6)
ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
x = torch.randn(8, 24, 14, 14)
mine, package = x + ours(x), theirs(x)  # the addition is the shortcut
print(f"largest output: {mine.max():.6f} ours, {package.max():.6f} the package's")
assert torch.equal(mine, package), "equal weights must give equal outputs"

# %% [markdown]
# ### Where the work is
#
# A kernel of 7 has 49 weights per channel, a kernel of 3 has 9: that is 5.4 times as many. A **MAC** is one
# multiplication and the addition of its product. Think first: 80 channels come into a block and 80 go out. By how much
# do the block's MACs grow from `k3e6` to `k7e6`?

# %%
grows = {"by about a quarter": 1.25, "to about twice as many": 2, "to about 5 times as many": 5}
guess = course.predict("How do the MACs grow from k3e6 to k7e6, at 80 channels?", list(grows))

# %% [markdown]
# Count them for one position of the map and one hidden channel. The first 1×1 convolution multiplies $c_{in}$ times,
# the depthwise one $k^2$ times, the last 1×1 convolution $c_{out}$ times. Here are the six candidates at a place with
# 80 channels and a map of 14 × 14:


# %%
def cost_of_parts(kernel, expansion, c=80, size=14):
    """Millions of MACs of a block's three convolutions."""
    h = expansion * c
    macs = {"expand (1×1)": c * h, "depthwise (k×k)": h * kernel**2, "project (1×1)": h * c}
    return {part: count * size**2 / 1e6 for part, count in macs.items()}


parts = {f"k{k}e{e}": cost_of_parts(k, e) for e in (3, 6) for k in (3, 5, 7)}
table = pd.DataFrame(parts).T
figures["parts"] = plots.stacks({"": table}, list(table), totals=".3g", ylabel="MACs (millions)")
figures["parts"]

# %% [markdown]
# The package counts a built block layer by layer. It must find the same number:

# %%
by_hand = round(1e6 * sum(parts["k7e6"].values()))
counted = hardware.count(MBConv(80, 80, 7, 6), (80, 14, 14)).macs
print(f"k7e6 at 80 channels and 14 px: {by_hand:,} MACs by hand, {counted:,} counted")
assert by_hand == counted, "the formula must give the counted MACs"

# %% [markdown]
# So what did the larger kernel cost?

# %%
ratios = {c: (2 * c + 7**2) / (2 * c + 3**2) for c in (24, 80)}
outcome = min(grows, key=lambda answer: abs(grows[answer] - ratios[80]))
guess.came(
    outcome,
    "The depthwise part grows 5.4-fold, but the two 1×1 convolutions stay as they are. At 80 "
    f"channels the sum grows by **{ratios[80] - 1:.0%}**, at 24 channels by {ratios[24] - 1:.0%}. "
    "A large kernel is cheap where channels are many: deep in the network, not near the image.",
)

# %% [markdown]
# ### Exercise 01.1: the parameters of a block
# *Difficulty 1 of 3, about 10 min.* Return the number of parameters of an MBConv. Its convolutions have no bias, and
# each is followed by a batch normalisation with a scale and a shift per channel. At expansion 1 the first convolution
# is left out, with its normalisation.
#
# <details><summary>Hint 1</summary>Say h = c_in · expansion. The three convolutions have c_in·h, k²·h and h·c_out
# weights.</details>
# <details><summary>Hint 2</summary>A normalisation has 2 parameters for each channel that it normalises: h, h and
# c_out channels.</details>


# %% tags=["stub"]
def parameters(c_in, c_out, kernel, expansion):
    raise NotImplementedError


# %% tags=["solution"]
def parameters(c_in, c_out, kernel, expansion):
    h = c_in * expansion
    expand = c_in * h + 2 * h if expansion > 1 else 0
    return expand + kernel**2 * h + 2 * h + h * c_out + 2 * c_out


# %% tags=["nbval-check-output"]
check_params(parameters)

# %% [markdown]
# ### Exercise 01.2: the kernel of a black box
# *Difficulty 2 of 3, about 15 min; experiment.* `block` is a function that you can call, but not open. It takes maps of
# shape (B, 8, H, W), for any B, H and W, and returns maps. Inside is an MBConv with kernel 3, 5 or 7, at stride 1 or 2,
# with random weights, in evaluation mode; or it is a skip, which returns its input. Find out by an experiment which it
# is: return the kernel, or 1 for a skip.
#
# <details><summary>Hint 1</summary>One position of the output depends on kernel × kernel positions of the input. A
# gradient of that one position shows which.</details>
# <details><summary>Hint 2</summary>ReLU6 passes no gradient where it cuts, at 0 and at 6. Ask many images at once, with
# large values of both signs.</details>
# <details><summary>Hint 3</summary>Count what is not exactly zero, however small. Stay away from the border of the
# map, where a part of the kernel reads only padding.</details>


# %% tags=["stub"]
def kernel_of(block):
    raise NotImplementedError


# %% tags=["solution"]
def kernel_of(block):
    x = torch.randn(64, 8, 16, 16, requires_grad=True)
    y = block(x)
    middle = y.shape[2] // 2
    (y[:, :, middle, middle] ** 2).sum().backward()
    rows = x.grad.abs().sum((0, 1, 3)) > 0  # of the input, on which the position depends
    return int(rows.sum())


# %% tags=["nbval-check-output"]
check_kernel(kernel_of)

# %% [markdown]
# ### Exercise 01.3: a test that finds the fault
# *Difficulty 3 of 3, about 25 min; fault.* An inverted residual can be wrong and run all the same: no error tells you.
# Write the test that finds such faults. `make(c_in, c_out, kernel, expansion, stride)` returns a block. Return True if
# the blocks that it makes are inverted residuals as in section 1, where the depthwise convolution has the stride, and
# False if not. Judge by what a block computes and by how many parameters it has, and not by the names of its layers,
# since a right block may be written in many ways. The checker tries your test on right builders and on faulty ones.
#
# <details><summary>Hint 1</summary>Set all parameters to 0. What must a block with a shortcut return then, and what a
# block without? Try strides and channels that change the shape, too.</details>
# <details><summary>Hint 2</summary>Which faults change the number of parameters (exercise 01.1)? Try expansion 1, and
# several kernels.</details>
# <details><summary>Hint 3</summary>Three faults change neither of these. A stride that is not there: how large is the
# output? An activation at the end: can the output be negative? A stride in the wrong layer: does the output still
# depend on every position of the input?</details>


# %% tags=["stub"]
def is_right(make):
    raise NotImplementedError


# %% tags=["solution"]
def is_right(make):
    for c_out, kernel, expansion, stride in itertools.product((8, 12), (3, 5), (1, 6), (1, 2)):
        block, h = make(8, c_out, kernel, expansion, stride).eval(), 8 * expansion
        expand = (8 + 2) * h if expansion > 1 else 0
        right = expand + (kernel**2 + 2) * h + (h + 2) * c_out
        if sum(p.numel() for p in block.parameters()) != right:
            return False  # dense, too wide, of another kernel, or with a layer too many
        x = torch.randn(16, 8, 9, 9, requires_grad=True)
        y, kept = block(x), stride == 1 and c_out == 8
        if y.shape != (16, c_out, -(-9 // stride), -(-9 // stride)):
            return False  # a stride that is not there
        (reads,) = torch.autograd.grad((y**2).sum(), x)
        if not (reads.abs().sum((0, 1)) > 0).all() or not (y < 0).any():
            return False  # positions that nobody reads, or an activation at the end
        for p in block.parameters():
            p.data.zero_()
        if not torch.equal(block(x), x if kept else torch.zeros_like(y)):
            return False  # a shortcut too few or too many
    return True


# %% tags=["nbval-check-output"]
check_trial(is_right)

# %% [markdown]
# ## 2 · The space
#
# The network is a chain of 21 blocks, in stages. In the picture the width of a block stands for its channels and its
# height for its resolution (the square roots of both, so that all fits). A **stride** of 2 halves the resolution and
# shows as a drop in height. Only the first block of a stage can have one. Grey layers are fixed. The number on a blue
# block is the number of its choices.

# %%
space = spaces.create("proxylessnas", outline=cfg.outline, input_size=cfg.input_size)
figures["space"] = plots.blocks(space)
figures["space"]

# %% [markdown]
# Six choices are the MBConvs with kernels 3, 5, 7 and expansions 3, 6. The seventh is **skip**: the block is left out,
# and its input goes on as it is. So the skip decides how *deep* the network is. A block that changes the number of
# channels, or halves the map, cannot be left out: its output has another shape than its input. It has six choices. Here
# are the last two blocks of stage 1 and the first two of stage 2:

# %% tags=["nbval-check-output"]
for decision in space.decisions[2:6]:
    print(f"{decision.name}: {', '.join(decision.choices)}")

# %% [markdown]
# Choices are independent, so their numbers multiply. Six blocks have six choices, and fifteen have seven. Some public
# codes offer the skip everywhere, and so give the same name to a larger space:

# %%
# the same space, but with a seventh choice for every block
everywhere = spaces.create("proxylessnas", skip="everywhere").size
print(f"6^6 · 7^15 = {6**6 * 7**15:,}; the package's space: {space.size:,}")
assert space.size == 6**6 * 7**15, "six blocks have six choices, fifteen have seven"
assert everywhere == 7**21, "with a skip everywhere, every block has seven choices"
years = space.size / (365.25 * 24 * 3600)
Markdown(
    f"That is $2.2 \\cdot 10^{{17}}$ networks. At one network a second, trying all of them takes "
    f"{years / 1e9:.0f} billion years. With the skip everywhere there are "
    f"{everywhere / space.size:.1f} times as many."
)

# %% [markdown]
# ### An architecture is 21 numbers
#
# An **architecture** holds the index of the chosen operation for every block. The package writes it as text that a
# person can read, and reads it back. Three random ones follow. A dotted block is skipped, the colour shows the kernel,
# and the label both settings:

# %%
rng = np.random.default_rng(cfg.seed)
archs = {f"random {i}": space.sample(rng) for i in (1, 2, 3)}
assert space.parse(space.format(archs["random 1"])) == archs["random 1"], "text must be read back"
print("random 1, as numbers:", *archs["random 1"])
figures["random"] = plots.blocks(space, archs)
figures["random"]

# %% [markdown]
# ## 3 · One supernet for all of them
#
# Nobody trains so many networks. A **supernet** holds all operations of every block side by side, and a *path* says
# which of them run. For each block, a path holds either
#
# - an **index**: one operation runs (a *hard* choice), or
# - **weights** $w_i$ that sum to 1: all operations $o_i$ run, and the block returns the weighted sum of their outputs
#   (a *soft* choice):
#
# $$ y = \sum_i w_i\,o_i(x) $$
#
# At course size (32 px, a quarter of the channels, half of the blocks) the supernet fits into any memory:

# %%
small = spaces.create("proxylessnas", **spaces.COURSE)
torch.manual_seed(cfg.seed)
supernet = small.supernet().eval()
images = torch.rand(4, *small.input_shape)
hard = small.sample(rng)
soft = [torch.full((n,), 1 / n) for n in small.choices]  # all choices weigh the same
for name, path in {"hard": hard, "soft": soft}.items():
    print(f"{name} path: logits of shape {tuple(supernet(images, path).shape)}")

# %% [markdown]
# **Is a hard path the network that it stands for?** Take the chosen operations out of the supernet, build the network
# that stands alone, and compare. Weights of 1 and 0 must give the same. A path may also mix indices and weights:

# %%
pairs = zip(hard, small.choices, strict=True)
one_hot = [nn.functional.one_hot(torch.tensor(i), n).float() for i, n in pairs]
with torch.no_grad():
    alone = small.inherit(supernet, hard).eval()(images)
    for name, path in {"hard": hard, "0/1": one_hot, "mixed": [*hard[:5], *one_hot[5:]]}.items():
        logits = supernet(images, path)
        print(f"{name:5} path: first logit {logits[0, 0]:.5f}, alone {alone[0, 0]:.5f}")
        assert torch.allclose(logits, alone, atol=1e-5), f"a {name} path must be its own network"

# %% [markdown]
# **Is a soft path the average of the networks that it mixes?** Leave two blocks of a path undecided, with equal weights
# for all choices. The path then stands for every network that has any choice in these two blocks. Think first: does the
# supernet return the average of what these networks return?

# %%
question = "Does a soft path return the average of what its networks return?"
mean = course.predict(question, ["yes", "no"])

# %% [markdown]
# Run all of these networks one by one, and the soft path once:

# %%
open_blocks = [len(hard) - 3, len(hard) - 2]  # two late blocks, whatever the outline
half_soft = [soft[b] if b in open_blocks else i for b, i in enumerate(hard)]
with torch.no_grad():
    mixed = supernet(images, half_soft)
    outputs = []
    for pair in itertools.product(*(range(small.choices[b]) for b in open_blocks)):
        chosen = dict(zip(open_blocks, pair, strict=True))
        outputs.append(supernet(images, [chosen.get(b, i) for b, i in enumerate(hard)]))
average, spread = torch.stack(outputs).mean(0), torch.stack(outputs).std(0).mean()
gap = float((mixed - average).abs().mean() / spread)
mean.came(
    "yes" if gap < 1e-3 else "no",
    f"The soft path differs from the average of its {len(outputs)} networks by {gap:.1%} of their "
    "own spread, because the activations after the weighted sum are not linear. A soft path is a "
    "network of its own, and in the end nobody builds it.",
)

# %% [markdown]
# ### Why ProxylessNAS makes its choices binary
#
# Count what a forward pass really multiplies. The hard path must cost exactly what its network costs. The soft path
# must cost *all* operations together:

# %%
from torch.utils.flop_counter import FlopCounterMode


def macs_of(path):
    """The MACs of a forward pass of the supernet, counted while it runs."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        supernet(images[:1], path)
    return counter.get_total_flops() // 2


small_table = tables.LookupTable.build(small, "macs")
everything = small_table.fixed + sum(float(entry.sum()) for entry in small_table.entries)
for name, path, due in (("hard", hard, small_table(hard)), ("soft", soft, everything)):
    print(f"{name} path: {macs_of(path):>10,} MACs run, {due:>12,.0f} by the table")
    assert macs_of(path) == due, f"the {name} path must cost what the table says"
ratio = macs_of(soft) / macs_of(hard)

# %% [markdown]
# The soft path also keeps the outputs of all operations in memory for the backward pass. For this reason DARTS, which
# searches on soft paths, searched on a small *proxy* task and moved the result to the real one. ProxylessNAS draws
# **binary gates** instead: for every block and step one operation has the gate 1, and all others have 0. A step that
# trains the weights then costs what one network costs, and the real task is affordable. Hence the name.
#
# The gates $g$ are drawn from probabilities $p = \operatorname{softmax}(\alpha)$. What is learnt are the **logits**
# $\alpha$. The draw has no gradient. Backpropagation gives $\partial L/\partial g$; multiply it by the softmax's
# Jacobian to reach $\alpha$:
#
# $$ \frac{\partial L}{\partial \alpha_i} = \sum_j \frac{\partial L}{\partial g_j}\,
#    \frac{\partial p_j}{\partial \alpha_i} $$
#
# Here is that product for three choices, beside what the package's gates do. Say that the network gave
# $\partial L/\partial g = (3, 1, 2)$:

# %%
from nasedu.sampling import binary_gates

# a loss that is linear in the gates, so that its slope in them is known
alpha = torch.tensor([0.5, 0.0, -1.0], requires_grad=True)
(gates,) = binary_gates([alpha], torch.Generator().manual_seed(cfg.seed))
slope = torch.tensor([3.0, 1.0, 2.0])
(gates @ slope).backward()
jacobian = torch.autograd.functional.jacobian(lambda a: a.softmax(0), alpha.detach())
by_hand = slope @ jacobian
print("gates:", gates.tolist())
print("dL / dalpha by hand:      ", by_hand.numpy().round(4))
print("dL / dalpha, the package's:", alpha.grad.numpy().round(4))
assert torch.allclose(alpha.grad, by_hand, atol=1e-6), "the gates must pass this gradient on"

# %% [markdown]
# Every logit gets a gradient, also those of the operations with gate 0. The three sum to 0: adding the same number to
# all logits changes nothing. A gate's own gradient needs the output of its operation, so all operations would have to
# run in a step that trains the logits. ProxylessNAS samples two of them there (notebook 06).
#
# ## 4 · What does it cost?
#
# What a block costs depends on its own choice alone. So a **lookup table** with one number per block and choice, and
# one number for the fixed layers, prices every network of the space. In the picture a column is a block and a row is a
# choice. A white cell is a block that cannot be skipped:

# %%
priced = {metric: tables.LookupTable.build(space, metric) for metric in ("macs", "params")}
figures["prices"] = plots.price_map(priced["macs"])
figures["prices"]

# %% [markdown]
# Is the table exact? Build one network, count it layer by layer, and add up the table's entries for the same network:

# %%
arch = archs["random 1"]
built = hardware.count(space.build(arch), space.input_shape)
entries = zip(priced["macs"].entries, arch, strict=True)
by_table = priced["macs"].fixed + sum(float(entry[i]) for entry, i in entries)
print(f"{built.macs:,} MACs counted, {by_table:,.0f} by the table")
print(f"{built.params:,} parameters counted, {priced['params'](arch):,.0f} by the table")
assert built.macs == by_table == priced["macs"](arch), "the table must be exact"
assert built.params == priced["params"](arch), "the table must be exact for parameters, too"

# %% [markdown]
# ### The published networks, rebuilt
#
# The authors searched for a phone, a GPU and a CPU, with other widths of the stages for each. The package stores these
# three networks with their choices. Compare the two pictures below. The phone's network is deep and narrow:

# %%
published = spaces.published("proxylessnas")
networks = {name: spaces.published("proxylessnas", name) for name in published}
for name, (its_space, its_arch) in networks.items():
    figures[name] = plots.blocks(its_space, {name: its_arch})
figures["ProxylessNAS-Mobile"]

# %% [markdown]
# The GPU's network is shallow and wide:

# %%
figures["ProxylessNAS-GPU"]

# %% [markdown]
# Rebuilt and counted. The authors state 320.4 M MACs and 4.08 M parameters for the first. Of the other two another
# project states the exact number of parameters. All of these must come out:

# %%
# from the built network itself, not from a table
rebuilt = {}
rows = ["| network | MACs | parameters | source; accuracy and latency are the authors' |"]
rows.append("|---|---|---|---|")
for name, (its_space, its_arch) in networks.items():
    cost = rebuilt[name] = hardware.count(its_space.build(its_arch), its_space.input_shape)
    stated = (published[name].macs, published[name].params)
    assert (cost.macs, cost.params) == stated, f"{name} must cost what the package stores"
    rows.append(f"| {name} | {cost.macs:,} | {cost.params:,} | {published[name].source} |")
Markdown("\n".join(rows))

# %% [markdown]
# ### Where do they stand among the others?
#
# The authors looked for networks that are fast *and* precise. Think first: how many random networks of the same outline
# have fewer MACs than ProxylessNAS-Mobile?

# %%
answers = ["fewer than a quarter", "about half", "more than three quarters"]
question = "How many random networks have fewer MACs than ProxylessNAS-Mobile?"
cheaper = course.predict(question, answers)

# %% [markdown]
# Random networks of each outline, one panel for each, and the published network as a line with a marker:

# %%
macs, costs, marks = {}, {}, {}
for name, (its_space, _) in networks.items():
    table = macs[name] = tables.LookupTable.build(its_space, "macs")
    label = f"random, {name.removeprefix('ProxylessNAS-')} outline"
    costs[label] = [table(table.space.sample(rng)) / 1e6 for _ in range(cfg.draws)]
    marks[label] = {name: rebuilt[name].macs / 1e6}
figures["histogram"] = plots.histogram(costs, marks, columns=1, xlabel="MACs (millions)")
figures["histogram"]

# %% [markdown]
# The cost of a random network is a sum of 21 independent prices. Such a sum is nearly normal: most networks lie in a
# narrow band around the mean, and a random draw seldom finds the cheap ones.

# %%
drawn = dict(zip(networks, costs.values(), strict=True))
below = {name: float(np.mean(np.array(c) < rebuilt[name].macs / 1e6)) for name, c in drawn.items()}
share = below["ProxylessNAS-Mobile"]
told = "; ".join(f"{name}: {part:.1%}" for name, part in below.items())
cheaper.came(
    answers[0] if share < 0.25 else answers[1] if share < 0.75 else answers[2],
    f"Of {cfg.draws:,} random networks so many cost less than the published one: {told}.",
)

# %% [markdown]
# ## 5 · How far does it see?
#
# One position of the last map does not depend on the whole image, but on a square of pixels: its **receptive field**.
# The picture shows it, for two small networks with the same kernel everywhere. Bright pixels have a large gradient: if
# such a pixel changes, the position in the middle of the last map changes, too. (All weights are set to positive
# numbers, so that no two influences cancel. Every field of the picture is the mean of 4 × 4 pixels.)

# %%
narrow = {**spaces.COURSE, "input_size": 640, "activation": "relu"}
slim = spaces.create("proxylessnas", outline=cfg.outline, **narrow)


def influence(arch):
    """How much the middle of the last map depends on each pixel: (rows, columns)."""
    net = slim.build(arch).double().eval()
    for p in net.parameters():
        p.data.fill_(1 / p[0].numel() if p.ndim > 1 else 1.0)  # the mean of what a layer reads
    image = torch.ones(1, *slim.input_shape, dtype=torch.double, requires_grad=True)
    feature_map = image
    for part in list(net.parts.values())[:-1]:  # all but the classifier, which averages the map
        feature_map = part(feature_map)
    middle = feature_map.shape[-1] // 2
    feature_map[0, :, middle, middle].sum().backward()
    return image.grad[0].sum(0).numpy()


same = {f"all {name}": slim.choose([name] * len(slim.choices)) for name in ("k3e3", "k5e3")}
seen = {name: influence(arch) for name, arch in same.items()}
panels = {}
for name, field in seen.items():
    coarse = field.reshape(160, 4, 160, 4).mean((1, 3))
    panels[name] = 100 * np.sqrt(coarse / coarse.max())  # the root, so that faint ones show
axes = {"xlabel": "column (4 px)", "ylabel": "row (4 px)", "height": 3.6}
figures["fields"] = plots.heat(panels, bar="root of the influence (% of the largest)", **axes)
figures["fields"]

# %% [markdown]
# The square can be computed without running anything. A kernel of $k$ reaches $(k-1)/2$ positions to each side. Where
# neighbouring positions of a map lie $a$ pixels apart in the image, it adds $(k-1)\,a$ pixels to the side of the
# square. Every stride doubles $a$ for all layers after it. A skipped block adds nothing:
#
# $$ r = 1 + \sum_l (k_l - 1)\,a_l $$
#
# From scratch, for a whole space: the pixels that each block adds for each of its choices, and those of the two fixed
# layers in front (kernel 3 each). The formula must agree with the gradient:


# %%
from nasedu.spaces.macro import places


def of_blocks(space):
    """Where every block stands, with its stride."""
    return places(space.net.first, space.net.stages)


def sight(space):
    """The pixels that the fixed layers see, and for every block what each choice adds to them."""
    apart, entries = space.options.stem_stride, []
    fixed = 1 + 2 * 1 + 2 * apart  # stem and first block
    for place, decision in zip(of_blocks(space), space.decisions, strict=True):
        kernels = [1 if choice == "skip" else int(choice[1]) for choice in decision.choices]
        entries.append(torch.tensor([float((k - 1) * apart) for k in kernels]))
        apart *= place.stride
    return fixed, entries


fixed, adds = sight(slim)
for name, arch in same.items():
    formula = fixed + sum(int(add[i]) for add, i in zip(adds, arch, strict=True))
    by_gradient = int((seen[name].sum(1) > 0).sum())
    print(f"{name}: {formula} px by the formula, {by_gradient} px by the gradient")
    assert formula == by_gradient, "the formula must give the side of the square"

# %% [markdown]
# The formula is a fixed number plus one number per block and choice. So it is a **table**, like MACs and parameters.
# `own=True` tells the package that the metric is yours. Everything that works on tables now works on receptive fields:

# %%
sees = tables.LookupTable(space, "receptive_field", "px", *sight(space), own=True)
low, high = sees.bounds()
print(f"networks of this space see from {low:.0f} to {high:.0f} px")
print({name: f"{sees(arch):.0f} px" for name, arch in archs.items()})

# %% [markdown]
# A square larger than the image sounds like waste. It is not: the picture above is bright only in the middle, so a
# position depends mostly on the pixels near it. Which blocks make the square grow? Here is its side after each block,
# for the three published networks:


# %%
def after_each_block(its_space, its_arch):
    """Pixels seen after every block."""
    fixed, entries = sight(its_space)
    added = [float(entry[i]) for entry, i in zip(entries, its_arch, strict=True)]
    return fixed + np.cumsum(added)


names = [d.name.removeprefix("stage").replace("_", ".") for d in space.decisions]
curves = {name: after_each_block(*network) for name, network in networks.items()}
axes = {"xlabel": "block (stage.number)", "ylabel": "receptive field (px)", "width": 10}
figures["sight"] = plots.lines(curves, names, **axes).guide(y=224, label="side of the image")
figures["sight"]

# %% [markdown]
# The receptive field grows slowly in the first blocks and fast in the last, since every stride doubles what a kernel
# adds. What does the same step from `k3e3` to `k7e3` cost early, and late?

# %%
rows = ["| block | from k3e3 to k7e3: MACs | pixels seen |", "|---|---|---|"]
for name in ("stage1_2", "stage3_2", "stage5_2"):
    b = [d.name for d in space.decisions].index(name)
    k3, k7 = (space.decisions[b].choices.index(c) for c in ("k3e3", "k7e3"))
    more = [float(table.entries[b][k7] - table.entries[b][k3]) for table in (priced["macs"], sees)]
    rows.append(f"| {name} | +{more[0] / 1e6:.2f} M | +{more[1]:.0f} |")
Markdown("\n".join(rows))

# %% [markdown]
# Where did the authors' searches put large kernels? Compare blocks that halve the map with all other blocks that are
# not skipped:

# %%
kernels = {"halves the map": [], "keeps its size": []}
for its_space, its_arch in networks.values():
    for place, d, i in zip(of_blocks(its_space), its_space.decisions, its_arch, strict=True):
        if d.choices[i] != "skip":
            kind = "halves the map" if place.stride == 2 else "keeps its size"
            kernels[kind].append(int(d.choices[i][1]))  # the 5 of k5e3
halving, keeping = (float(np.mean(found)) for found in kernels.values())
Markdown(
    f"In the three published networks the mean kernel is **{halving:.1f}** where a block halves "
    f"the map and **{keeping:.1f}** elsewhere. The authors suppose that a block that halves the "
    "map, and so drops three positions of four, keeps more of what they held if its kernel is "
    "larger. Three networks suggest that; they do not prove it."
)

# %% [markdown]
# ### Exercise 01.4: equal cost, different sight
# *Difficulty 3 of 3, about 20 min; design.* `macs` and `sees` are two tables of one space: call one with an
# architecture, and it returns its MACs, or the pixels it sees. `macs.space` is the space. Return two architectures that
# have **exactly** the same MACs, and of which one sees at least 250 px farther than the other.
#
# <details><summary>Hint 1</summary>There are far fewer sums of MACs than networks. In a room with 23 people two have
# the same birthday, more likely than not: among a few thousand random networks many pairs cost the same.</details>
# <details><summary>Hint 2</summary>Sort random networks into a dictionary by their MACs, and keep for each number the
# one that sees least and the one that sees farthest.</details>
# <details><summary>Hint 3</summary>It also works without chance: look in the map of prices for steps in one stage that
# cost exactly a multiple of a step in another.</details>


# %% tags=["stub"]
def twins(macs, sees):
    raise NotImplementedError


# %% tags=["solution"]
def twins(macs, sees):
    rng, least, most = np.random.default_rng(0), {}, {}
    while True:
        arch = macs.space.sample(rng)
        cost = macs(arch)
        # only the two ends are kept: no pair between them lies farther apart
        least[cost] = min(arch, least.get(cost, arch), key=sees)
        most[cost] = max(arch, most.get(cost, arch), key=sees)
        if sees(most[cost]) - sees(least[cost]) >= 250:
            return least[cost], most[cost]


# %% tags=["nbval-check-output"]
check_twins(twins)

# %% [markdown]
# So MACs do not tell what a network can do. A search that knows only costs cannot choose between two such networks; it
# needs to know how *good* each is. That is what supernets (notebook 05) and zero-cost proxies (notebook 08) are for.
#
# ## 6 · Change one yourself
#
# Pick a block, then its operation (Tab and the arrow keys work, too). The frame shows where you are. The lines say what
# the network costs now, how far it sees, and what the last change did. Try: which single change saves most MACs? Which
# adds most parameters?

# %%
from nasedu.widgets import SpaceWidget

mobile, start = networks["ProxylessNAS-Mobile"]
mobile_tables = {name: tables.LookupTable.build(mobile, name) for name in ("macs", "params")}
mobile_sees = tables.LookupTable(mobile, "receptive_field", "px", *sight(mobile), own=True)
widget = SpaceWidget(mobile, {**mobile_tables, "pixels seen": mobile_sees}, start)
widget

# %% [markdown]
# The same by hand, for pages that cannot run. First try every single change:

# %%
changes = {}
for b, decision in enumerate(mobile.decisions):
    for i, choice in enumerate(decision.choices):
        if i != start[b]:
            name = f"{decision.name}: {decision.choices[start[b]]} → {choice}"
            changes[name] = (*start[:b], i, *start[b + 1 :])
print(f"{len(changes)} networks differ from ProxylessNAS-Mobile in one block")

# %% [markdown]
# Then draw the one that saves most MACs, and the one that adds most parameters:

# %%
cheapest = min(changes, key=lambda name: mobile_tables["macs"](changes[name]))
largest = max(changes, key=lambda name: mobile_tables["params"](changes[name]))
shown = {}
for name, metric, unit in ((cheapest, "macs", "M MACs"), (largest, "params", "M parameters")):
    table = mobile_tables[metric]
    shown[f"{name} ({(table(changes[name]) - table(start)) / 1e6:+.3g} {unit})"] = changes[name]
figures["changes"] = plots.blocks(mobile, shown)
figures["changes"]

# %% [markdown]
# ## Summary
#
# - An MBConv is 1×1, depthwise k×k, 1×1. Its cost grows with the expansion. The kernel matters where $k^2$ is not
#   small beside the number of channels, which is near the image.
# - The space is 21 independent choices: $6^6 \cdot 7^{15}$ networks. A block can be skipped only where input and output
#   have the same shape.
# - A hard path runs one network at the price of one. A soft path runs all, and is not their average. Binary gates
#   choose hard and still pass a gradient to every logit.
# - One number per block and choice prices every network: MACs, parameters, and the pixels that it sees.
#
# **Pitfalls**
#
# - *MACs and FLOPs.* 320 M MACs are 641 M FLOPs; papers often call MACs FLOPs.
# - *The same name for another space.* With a skip everywhere, or other widths of the stages, results are not
#   comparable. Print the size of the space and the exact count of a known network first.
# - *Depthwise convolutions are not free.* They have few MACs but are slow on many devices: notebook 10 measures it.
# - *A block that changes the shape cannot be skipped.* Code that offers a "skip" there puts a 1×1 convolution in its
#   place, which costs something.
# - *The receptive field is an upper bound.* Most of the influence comes from its middle.
#
# **Further reading**
#
# - ProxylessNAS: Cai, Zhu, Han, *ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware*, ICLR
#   2019; public code mit-han-lab/proxylessnas
# - The block: Sandler, Howard, Zhu, Zhmoginov, Chen, *MobileNetV2: Inverted Residuals and Linear Bottlenecks*, CVPR
#   2018
# - Soft choices before: Liu, Simonyan, Yang, *DARTS: Differentiable Architecture Search*, ICLR 2019
# - What a position really listens to: Luo, Li, Urtasun, Zemel, *Understanding the Effective Receptive Field in Deep
#   Convolutional Neural Networks*, NeurIPS 2016

# %%
# writes result.json and the figures into the output folder
counted = rebuilt["ProxylessNAS-Mobile"].macs
course.finish(
    cfg,
    summary=f"{space.size:,} networks; ProxylessNAS-Mobile rebuilt: {counted:,} MACs",
    figures=figures,
    results={
        "size": str(space.size),
        "macs": {name: cost.macs for name, cost in rebuilt.items()},
        "params": {name: cost.params for name, cost in rebuilt.items()},
        "share_of_cheaper_random_networks": below,
        "receptive_field_px": {name: curve[-1] for name, curve in curves.items()},
        "soft_to_hard_macs": ratio,
        "soft_path_off_by_spreads": gap,
    },
)
