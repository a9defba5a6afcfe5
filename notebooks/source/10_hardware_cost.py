# %% [markdown]
# # What a network costs on hardware
#
# You count a network, time it, and build a table that predicts what any network of a space takes on *your* device.
#
# A search compares thousands of networks. To build and time each of them would take days. So a search asks a
# **table**: it holds what every choice costs, and a network's cost is the sum of its choices' entries. Here you build
# such a table for the machine in front of you. Then you check it against whole networks. For a phone or a Raspberry Pi
# there is a kit that measures there.
#
# **Afterwards you can**
#
# 1. count multiply-accumulates, parameters and memory by hand, and say where in a network each of them sits;
# 2. explain why two layers of equal MACs take unequal time;
# 3. time a network so that the figure can be repeated, and find the faults of a timer;
# 4. build a latency table for your machine or another device, from pieces or from whole networks;
# 5. say how wrong its predictions are, correct them, and recognise a table that does not fit.
#
# **You need** convolutions, and an idea of what a search space is (notebook 00).
#
# | preset | what it runs | time, two CPU cores |
# |---|---|---|
# | `smoke` | a table of one space from 3 repeats: only proves that cells work; the kit is skipped | 10 seconds |
# | `quick` | tables of two spaces, 20 whole networks each, a kit for a third | 3 minutes, beside other work |
# | `full` | three spaces, 50 whole networks each, three backends | not measured |
# | `gpu` | the published size of two spaces, on a GPU | not measured |
#
# Close other programs for the time of a run: they take the processor from what is being timed.

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu; it sets every parameter below that is None
spaces_timed: list[str] = None  # the spaces to make latency tables of, such as yolo:course
networks: int = None  # whole networks of each to hold the table against, at least 10
rounds: int = None  # how often each network is measured, at least 2
backend: str = None  # what runs the pieces and the networks: torch, compiled, onnxruntime or cuda
backends: list[str] = None  # to compare on one network in section 4
repeats: int = None  # timed runs of every measurement, at least 3
pixels: int = None  # side of the maps in section 1, at most 512
batches: list[int] = None  # batch sizes in section 5, two different ones at least
thread_counts: list[int] = None  # numbers of CPU threads in section 5
kit_space: str = None  # the space of the kit in section 9; none: no kit
kit_depth: float = None  # share of its blocks that are kept, so that the export is short
kit_pixels: int = None  # side of its images
kit_networks: int = None  # whole networks in the kit
threads: int = None  # CPU threads of every other measurement
seed: int = None  # of every random choice
device: str = None  # auto, cpu, cuda, cuda:1 ...: where the backend cuda runs
out_dir: str = None  # folder of the results; None: one per set of parameters

# %%
import itertools
import os
import subprocess
import sys
import time
import warnings

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown, display
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nasedu import course, errors, hardware, plots, randomness, ranking, spaces, storage, tables
from nasedu.course.checks.hardware_cost import (
    check_batch_size,
    check_block,
    check_held_out,
    check_plan,
    check_prices,
    check_stopwatch,
)
from nasedu.deploy import kit
from nasedu.hardware import count, measure
from nasedu.tables import LookupTable

# a measurement that was disturbed says so itself, as `noisy`: the warning would say it again
warnings.filterwarnings("ignore", category=hardware.NoisyMeasurement)
choices = {"backend": hardware.BACKENDS, "backends": hardware.BACKENDS}
cfg = course.setup("10_hardware_cost", globals(), choices=choices)
cfg

# %% [markdown]
# The next cell checks what was asked for, so that a mistake costs seconds. It ends with the settings that all
# measurements share, but for those that compare backends, batch sizes or threads.

# %%
cores = max(2, os.cpu_count() or 1)  # more threads than cores only take turns
limits = {"networks": (10, 10_000), "rounds": (2, 100), "repeats": (3, 10_000), "pixels": (1, 512)}
limits |= {"threads": (1, cores), "kit_pixels": (32, 1024), "kit_networks": (1, 1000)}
each = {"batches": (1, 1024), "thread_counts": (1, cores), "spaces_timed": None, "backends": None}
for name, (least, most) in limits.items():
    errors.check_whole(name, getattr(cfg, name), least, most)
for name, ends in each.items():
    values = getattr(cfg, name)
    if len(set(values)) < max(1 + (name == "batches"), len(values)):
        few = "two or more" if name == "batches" else "one or more"
        raise errors.ParameterError(f"{name} needs {few}, and none twice, got {values}")
    [errors.check_whole(f"each of {name}", value, *ends) for value in values if ends]
errors.check_number("kit_depth", cfg.kit_depth, 0, 1, above=True)
for full in cfg.spaces_timed:
    errors.check_name("space of spaces_timed", full.partition(":")[0], spaces.names())
if cfg.kit_space != "none":
    errors.check_name("space of kit_space", cfg.kit_space, spaces.names())

torch.set_num_threads(cfg.threads)
everything = {name: spaces.create(name) for name in cfg.spaces_timed}
timing = {"backend": cfg.backend, "threads": cfg.threads, "repeats": cfg.repeats}
timing |= {"device": str(cfg.device)} if {cfg.backend, cfg.device.type} == {"cuda"} else {}
timing

# %% [markdown]
# ## 1 · Equal MACs, unequal time
#
# A convolution multiplies and adds up. One multiplication with its addition is a **multiply-accumulate** (MAC), and
# the number of MACs is the usual measure of a network's work. Below are four convolutions on maps of the same size.
# They differ in how many input channels each output channel reads: all of them, 4, or only its own. Their numbers of
# channels are chosen so that all four do **equally many MACs**.

# %%
four = {
    "dense 3×3, 16 → 16": nn.Conv2d(16, 16, 3, padding=1, bias=False),
    "dense 1×1, 48 → 48": nn.Conv2d(48, 48, 1, bias=False),
    "16 groups, 3×3, 64 → 64": nn.Conv2d(64, 64, 3, padding=1, groups=16, bias=False),
    "depthwise 3×3, 256": nn.Conv2d(256, 256, 3, padding=1, groups=256, bias=False),
}
# padding keeps the size, so every layer computes its sums at as many places
shapes = {name: (conv.in_channels, cfg.pixels, cfg.pixels) for name, conv in four.items()}
costs = {name: count(conv, shapes[name]) for name, conv in four.items()}
assert len({cost.macs for cost in costs.values()}) == 1, "the four do not do equally many MACs"
pd.Series({name: f"{cost.macs:,}" for name, cost in costs.items()}, name="MACs").to_frame()

# %% [markdown]
# Think first: MACs are equal, so what else could make one of them slower?

# %%
layer_guess = course.predict("Which of the four takes longest on this machine?", list(four))

# %% [markdown]
# Left what they compute, in the middle what they read and write, right what the clock says:

# %%
equal_macs_ms = {n: measure(conv, shapes[n], **timing).median for n, conv in four.items()}
panels = {
    "MACs (millions)": {name: cost.macs / 1e6 for name, cost in costs.items()},
    "data moved (MB)": {name: cost.moved_bytes / 1e6 for name, cost in costs.items()},
    "time (ms)": equal_macs_ms,
}
figures = {"four": plots.bars(panels)}
figures["four"]

# %% [markdown]
# What you said, and what came:

# %%
slowest, fastest = (pick(equal_macs_ms, key=equal_macs_ms.get) for pick in (max, min))
times = equal_macs_ms[slowest] / equal_macs_ms[fastest]
reuse = {n: f"{cost.intensity:.1f} MACs for each byte that it moves" for n, cost in costs.items()}
because = f"It takes {times:.1f} times as long as the fastest ({fastest}). "
because += f"It does {reuse[slowest]}, the fastest does {reuse[fastest]}."
if times < 1.5:  # then the bars say nothing
    because = "But all four take about as long. Larger `pixels` may tell them apart."
layer_guess.came(slowest, because)

# %% [markdown]
# Two things beside MACs matter. The first is the data in the middle panel: inputs, outputs and weights, each moved
# once. A depthwise convolution does only 9 MACs with each number that it reads. A dense one uses the number again for
# every output channel. The second is the library's code. A 1×1 convolution is one large matrix product, for which
# libraries have their best code. A convolution in groups is many small products.
#
# So MACs and milliseconds are two different costs. First we count, then we time, then we predict.
#
# ## 2 · Count
#
# A convolution computes, at each of $H \times W$ places of its *output*, $C_\text{out}$ sums. Each sum runs over a
# window of $K \times K$ places and $C_\text{in} / \text{groups}$ channels:
#
# $$\text{MACs} = K^2 \cdot \frac{C_\text{in}}{\text{groups}} \cdot C_\text{out} \cdot H \cdot W$$
#
# In a depthwise convolution groups = $C_\text{in}$. A linear layer is the case $K = H = W = 1$. One MAC is **2 FLOPs**,
# one for the multiplication and one for the addition. Some papers write FLOPs and mean MACs.
#
# The formula in code, beside the package's count and half of PyTorch's own count of FLOPs:


# %%
def conv_macs(conv, height, width):
    """For an output of height x width."""
    window = conv.kernel_size[0] * conv.kernel_size[1] * conv.in_channels // conv.groups
    return window * conv.out_channels * height * width


for name, conv in four.items():
    with FlopCounterMode(display=False) as pytorch:
        conv(torch.zeros(1, *shapes[name]))
    ours, theirs = conv_macs(conv, cfg.pixels, cfg.pixels), pytorch.get_total_flops() // 2
    print(f"{name:24} ours {ours:,}, the package's {costs[name].macs:,}, PyTorch's {theirs:,}")
    assert ours == costs[name].macs == theirs, f"the three counts of {name} differ"

# %% [markdown]
# Now a whole network: ProxylessNAS-Mobile, as published, on images of 224 px. It lives on PyTorch's device `meta`,
# where a tensor has a shape and no data. So nothing is computed, and a network of any size needs no memory. A **hook**
# is a function that PyTorch calls whenever a layer has run. Ours looks at the size of what came out, and counts.


# %% tags=["nbval-check-output"]
def my_count(network, picture):
    found = []

    def look(layer, inputs, output):
        linear = isinstance(layer, nn.Linear)
        found.append(layer.weight.numel() if linear else conv_macs(layer, *output.shape[2:]))

    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(look) for layer in layers]
    network(picture)
    [hook.remove() for hook in hooks]  # or they would count in every later run, too
    return sum(found)


mobile, arch = spaces.published("proxylessnas", "ProxylessNAS-Mobile")
with torch.device("meta"):
    network = mobile.build(arch).eval()
print(f"our count: {my_count(network, torch.empty(1, *mobile.input_shape, device='meta')):,} MACs")

# %% [markdown]
# The package's `count` does the same and counts parameters and bytes, too. PyTorch counts FLOPs.

# %% tags=["nbval-check-output"]
counted = count(network, mobile.input_shape)
picture = torch.empty(1, *mobile.input_shape, device="meta")
with FlopCounterMode(display=False) as pytorch:
    network(picture)
# PyTorch's FLOPs are two for each MAC
flops, params = pytorch.get_total_flops(), sum(p.numel() for p in network.parameters())
print(f"{counted.macs:,} MACs = {counted.flops:,} FLOPs, PyTorch counts {flops:,}")
print(f"{counted.params:,} parameters, PyTorch has {params:,}")
assert my_count(network, picture) == counted.macs == flops // 2, "the MACs differ"
assert counted.params == params, "the parameters differ"

# %% [markdown]
# ### Exercise 10.1: an inverted residual by hand
# *Difficulty 2 of 3, about 15 min.* The block of mobile networks, `MBConv`, has three convolutions: a 1×1 to
# `expansion` times `c_in` channels, then a depthwise one of `kernel` with `stride`, then a 1×1 to `c_out`. At expansion
# 1 the first is left out. Return the block's MACs for a square map of `size` px. Padding keeps the size; a stride of 2
# halves it, rounded **up**.
#
# <details><summary>Hint 1</summary>Only the depthwise convolution changes the size. Which of the three see the large
# map?</details>
# <details><summary>Hint 2</summary>Rounded up without floats: <code>-(-size // stride)</code>. Count places of the
# output, and for the depthwise one C_in / groups = 1.</details>


# %% tags=["stub"]
def block_macs(c_in, c_out, kernel, expansion, size, stride):
    raise NotImplementedError


# %% tags=["solution"]
def block_macs(c_in, c_out, kernel, expansion, size, stride):
    hidden, after = c_in * expansion, -(-size // stride)
    expand = c_in * hidden * size**2 if expansion > 1 else 0
    depthwise = kernel**2 * hidden * after**2
    return expand + depthwise + hidden * c_out * after**2


# %% tags=["nbval-check-output"]
check_block(block_macs)

# %% [markdown]
# ### Where does it sit?
#
# `count` keeps a row for every layer. Below are the rows of one block, `stage2_1`: the layer's kind, the shape of its
# result (channels, height, width), MACs, parameters, bytes of the result, and MACs per byte that it moves.

# %% tags=["nbval-check-output"]
rows = counted.frame().drop("total")
rows = rows[rows.activation_bytes > 0]
columns = ["kind", "shape", "macs", "params", "activation_bytes", "intensity"]
rows.loc[rows.index.str.contains("stage2_1"), columns].round(2)

# %% [markdown]
# The picture shows the whole network, block by block, from the image (top) to the classes (bottom). The bars of each
# panel add up to 100 %. Two blocks are skipped in this network and cost nothing, so they have no bar. The right panel
# is about what training keeps in memory; inference keeps only the results that are still needed.

# %%
block = rows.index.str.split(".").str[1]
titles = {"macs": "MACs", "params": "parameters", "activation_bytes": "bytes of results"}
share = 100 * rows[list(titles)].groupby(block, sort=False).sum() / rows[list(titles)].sum()
panels = {f"{title}: {rows[part].sum():,.0f}": dict(share[part]) for part, title in titles.items()}
layout = {"names": "title", "xlabel": "share of the total (%)", "width": 11, "height": 6.5}
figures["layers"] = plots.bars(panels, **layout)
figures["layers"]

# %% [markdown]
# How many blocks, from the image on, hold half of each?

# %% tags=["nbval-check-output"]
half = {part: int((share[part].cumsum() < 50).sum()) + 1 for part in share}
assert half["activation_bytes"] < half["macs"] < half["params"], "the halves lie in another order"
print(f"Of {len(share)} blocks the first {half['activation_bytes']} hold half of the bytes.")
print(f"The first {half['macs']} do half of the MACs.")
print(f"The first {half['params']} hold half of the parameters.")

# %% [markdown]
# Early maps are large, so early blocks need the memory. Late layers have many channels, so late blocks hold the
# weights. To save memory in training, shrink the first blocks. To get a smaller file, shrink the last ones.
#
# ### Arithmetic intensity
#
# A layer has to move at least its input, its output and its weights. Its **arithmetic intensity** is the number of MACs
# for each byte that it moves. A processor has such a number, too: a CPU core does perhaps 5 MACs in the time in which
# one byte arrives from main memory, a GPU's matrix units about 100. A layer of lower intensity than the processor's
# waits for data, so that a few MACs more would cost no time. (This picture is called the roofline model. What is still
# in a cache arrives sooner.) The next figure sums up the network by kinds of layers.

# %%
last = rows.index.str.split(".").str[-1]
named = {"conv": "1×1 and stem", "bn": "normalisation", "act": "activation", "linear": "linear"}
kinds = last.map(named).fillna("additions, mean")
# a depthwise convolution is called conv, too
kinds = kinds.where(~rows.index.str.contains("depthwise.conv"), "depthwise")
parts = rows.groupby(kinds)[["macs", "moved_bytes"]].sum().sort_values("macs", ascending=False)
panels = {
    "share of MACs (%)": (100 * parts.macs / parts.macs.sum()).to_dict(),
    "share of data moved (%)": (100 * parts.moved_bytes / parts.moved_bytes.sum()).to_dict(),
    "MACs per byte": (parts.macs / parts.moved_bytes).to_dict(),
}
figures["intensity"] = plots.bars(panels)
figures["intensity"]

# %% [markdown]
# The last three rows do no MACs at all. How much do they move?

# %%
idle = parts[parts.macs == 0].moved_bytes.sum() / parts.moved_bytes.sum()
Markdown(
    f"Layers without a single MAC move **{idle:.0%}** of the data. That is why deployment *fuses* "
    "them: normalisation becomes part of the convolution's weights, and the activation is applied "
    "before the result is written."
)

# %% [markdown]
# **Move it yourself.** Below is an inverted residual with a slider for each setting. It only counts, so an answer comes
# at once. When does the depthwise convolution move more data than the 1×1 ones together? Which setting changes the
# MACs per byte of the 1×1 convolutions most, and which does not? <details><summary>Answer</summary>Hardly ever, but at
# expansion 1: there the first 1×1 is missing, and at stride 2 the last one reads and writes small maps. Twice the
# channels mean nearly twice the MACs per byte on large maps. The kernel changes nothing.</details>

# %%
from nasedu.widgets import BlockCostWidget

widget = BlockCostWidget()
widget

# %% [markdown]
# The same as a fixed figure, for pages that cannot run: MACs, data moved and intensity of the block's layers as first
# set. "The rest" is normalisation, activation and the shortcut's addition.

# %%
figures["block"] = widget.figure
figures["block"]

# %% [markdown]
# ## 3 · Time
#
# Now the clock. The network is a random one of the last space of `spaces_timed`, on the CPU. In the picture every run
# of it is a marker. The grey band reaches from the first to the third quartile: half of the counted runs lie in it.

# %%
timed = everything[cfg.spaces_timed[-1]]
arch = tables.random_networks(timed, 1, cfg.seed)[0]
network = timed.build(arch).eval()
image = torch.randn(1, *timed.input_shape)


@torch.inference_mode()
def once():
    start = time.perf_counter()
    network(image)
    return 1e3 * (time.perf_counter() - start)


took = [once() for _ in range(cfg.repeats + 5)]  # the first five shall not count
order, middle = np.arange(1, len(took) + 1), float(np.median(took[5:]))
points = {"warm-up, not counted": (order[:5], took[:5]), "counted": (order[5:], took[5:])}
figures["runs"] = plots.scatter(points, xlabel="run", ylabel="time of a run (ms)", log="y")
figures["runs"].guide(y=tuple(np.quantile(took[5:], (0.25, 0.75))), label="quartiles")
figures["runs"].guide(y=middle, label="median")

# %% [markdown]
# What a single run would have told, and what a mean:

# %%
first, mean = took[0] / middle, float(np.mean(took[5:]))
slow = "It allocates memory, loads code and picks algorithms."
if first < 1.2:  # then nothing was left to load
    slow = "Mostly the first is slower, since it loads code. Here earlier cells had done that."
Markdown(
    f"The first run took {took[0]:.2f} ms, **{first:.1f} times** the median of {middle:.2f} ms. "
    f"{slow} The mean of what counts is {mean:.2f} ms, and the slowest run took "
    f"{max(took[5:]):.2f} ms. Other programs mostly make a run slower. A mean moves with every "
    "such run, a median does not. The fastest run would be a lucky one, the median is typical."
)

# %% [markdown]
# Hence the rule: run a network a few times without looking, then many times, and take the **median**, with the
# quartiles as its spread. Set it to evaluation mode, as it will be used. On a GPU there is one thing more: a call
# returns before the GPU has computed, so the program must **wait** before it reads the clock.
#
# Here is a timer as one finds them in code. Each line of it runs, and it is wrong in six ways.


# %%
def hasty(network, image, clock, wait):
    """What a run takes. `clock()` tells seconds, `wait()` returns when the device has computed."""
    start = clock()
    for _ in range(3):
        network(image)
    return (clock() - start) / 3


again = timed.build(arch)  # in training mode, as PyTorch makes networks; it needs two images there
two = torch.randn(2, *timed.input_shape)
plain = {"threads": cfg.threads, "repeats": cfg.repeats}
print(f"hasty: {hasty(again, two, time.perf_counter, lambda: None):.3g}")
print(f"measure: {measure(again, timed.input_shape, batch=2, **plain)}")

# %% [markdown]
# ### Exercise 10.2: mend the stopwatch
# *Difficulty 2 of 3, about 20 min; fault.* Write `stopwatch` with the arguments of `hasty`. It returns the median of at
# least 30 runs, in **milliseconds**, after 5 runs or more that do not count. It times the network in evaluation mode,
# without gradients, and hands it back in the mode in which it came. (The checker's network, clock and device are
# rehearsed, so that it knows what must come out. Its device computes long after a call has returned.)
#
# <details><summary>Hint 1</summary>The six faults: no warm-up, training mode, gradients, a mean of too few, no wait,
# seconds.</details>
# <details><summary>Hint 2</summary>Wait, read the clock, run, wait, read the clock: for <em>each</em> run. One reading
# around all runs can only give a mean.</details>
# <details><summary>Hint 3</summary>The network says in <code>network.training</code> which mode it is in.</details>


# %% tags=["stub"]
def stopwatch(network, image, clock, wait):
    raise NotImplementedError


# %% tags=["solution"]
@torch.inference_mode()
def stopwatch(network, image, clock, wait):
    was_training, times = network.training, []
    network.eval()
    for _ in range(5 + 30):
        wait()
        start = clock()
        network(image)
        wait()
        times.append(1e3 * (clock() - start))
    network.train(was_training)  # the caller's network is as it was
    return float(np.median(times[5:]))


# %% tags=["nbval-check-output"]
check_stopwatch(stopwatch)

# %% [markdown]
# The package's `measure` does that and four things more. It pins the number of threads. What is too short for the clock
# it runs several times in a row. It measures its **own overhead**. And it tries again where the machine was busy, which
# shows when another program took the processor, or when the quartiles lie far apart. What stays disturbed after three
# attempts is marked as noisy.

# %%
found = measure(network, timed.input_shape, **plain)
assert found.low <= found.median <= found.high, "the median lies outside the quartiles"
print(f"our own loop above: {middle:.3g} ms")
print(f"measure: {found}")
print(f"attempts: {found.attempts}; the timer itself takes {1e6 * found.overhead:.0f} ns")

# %% [markdown]
# ## 4 · It depends on what runs it
#
# The same network and weights, other programs. PyTorch runs one layer after the other. ONNX Runtime reads the whole
# network first, then fuses layers and picks layouts. `compiled` (`torch.compile`) writes code for this one network;
# that needs a C++ compiler and takes tens of seconds, so it is left to the preset `full`. A backend that is not there
# says so in a sentence.

# %%
speeds = {}
for name in cfg.backends:
    try:
        speeds[name] = measure(network, timed.input_shape, backend=name, **plain).median
    except errors.BackendError as error:  # a run goes on with those that are there
        print(f"{name}: {error}")
if speeds:
    figures["backends"] = plots.bars({"time (ms)": speeds}, width=6)
    display(figures["backends"])

# %% [markdown]
# What does PyTorch do in that time? Calling a layer has a price, however little there is to do in it. Below is the time
# of a convolution that does a single MAC, and how many calls the network makes.

# %%
call = measure(nn.Conv2d(1, 1, 1, bias=False), (1, 1, 1), **plain).median
calls = len(count(network, timed.input_shape).layers)
in_torch = speeds.get("torch", found.median)  # of all
text = f"One call takes {1e3 * call:.0f} µs. The network makes {calls} calls. At that price "
text += f"the calls alone would take {calls * call:.1f} ms. PyTorch took {in_torch:.1f} ms for all."
for name in sorted(speeds.keys() - {"torch"}) if "torch" in speeds else ():
    text += f" **{name}** is {in_torch / speeds[name]:.1f} times as fast as PyTorch."
Markdown(text)

# %% [markdown]
# The smaller the layers of a network, the larger is the share of its time that such calls take. A program that fuses
# layers makes fewer of them.
#
# Is the fastest network in PyTorch the fastest in ONNX Runtime, too? The project stores latency tables of
# `yolo:course` for both, measured on one machine. The picture has 300 random networks by these tables. The **rank
# correlation** ρ is 1 where both put the networks into the same order, 0 where the orders have nothing in common, and
# −1 where one is the other reversed.

# %%
detector = spaces.create("yolo:course")
stored = {n: tables.stored(detector, "latency_ms", n) for n in ("torch", "onnxruntime")}
assert all(stored.values()), "the stored tables of yolo:course belong to other layers or choices"
some = tables.random_networks(detector, 300, cfg.seed)
both = pd.DataFrame({name: [table(arch) for arch in some] for name, table in stored.items()})
labels = {"xlabel": "in PyTorch (ms, stored table)", "ylabel": "in ONNX Runtime (ms, stored table)"}
figures["two_backends"] = plots.scatter({"networks": (both.torch, both.onnxruntime)}, **labels)
# of two networks at a time: is the faster one in PyTorch the slower one in ONNX Runtime?
i, j = np.triu_indices(len(both), 1)
gaps = both.to_numpy()[i] - both.to_numpy()[j]
print(f"rank correlation {both.corr('spearman').iloc[0, 1]:.2f} over {len(both)} networks")
print(f"{np.mean(gaps.prod(axis=1) < 0):.0%} of all pairs change their order")
figures["two_backends"]

# %% [markdown]
# So a table of one backend gives the milliseconds of another not at all, and its order in part. A latency says little
# without its backend, threads, batch size and device. A table keeps all of them as its
# **provenance**. And a search should measure with the program that will be deployed.
#
# ## 5 · Batch size and threads
#
# Images in one batch share what is paid once per call. Often a line describes the time of a batch of $n$ images well:
# $t(n) = a + b\,n$, with $a$ paid once and $b$ for each image. The **throughput** is the number of images per second:
# $n$ divided by that time. A second thread helps where there is enough work to share and a second core is free. The
# left panel shows times, the right one throughput; "line" is $a + b\,n$, fitted by least squares.

# %%
many, shown = {}, {"time of a batch (ms)": {}, "images per second": {}}
sizes = np.array(cfg.batches)
for n in cfg.thread_counts:
    options = {"threads": n, "repeats": max(3, cfg.repeats // 2), "warmup": 2}  # they take long
    name = f"{n} thread{'s' * (n > 1)}"
    runs = [measure(network, timed.input_shape, batch=m, **options) for m in cfg.batches]
    many[name] = [run.median for run in runs]
    b, a = np.polyfit(sizes, many[name], 1)
    line = np.maximum(a + b * sizes, 1e-3)  # noise may tilt it below 0
    for how, ms in {"": np.array(many[name]), ", line": line}.items():
        shown["time of a batch (ms)"][name + how] = ms
        shown["images per second"][name + how] = 1e3 * sizes / ms
    doubt = "" if min(a, b) > 0 else " (below 0: here noise is larger than what is fitted)"
    print(f"{name}: {a:.2f} ms once and {b:.3f} ms an image{doubt}")
look = {"names": "ylabel", "share": "", "xlabel": "images in a batch", "ylim": (0, None)}
figures["batch"] = plots.lines(shown, cfg.batches, **look)
figures["batch"]

# %% [markdown]
# A point off its line may mean that the maps have outgrown a cache, or that the library chose another algorithm, or
# noise. The picture cannot tell which. Where two threads are slower than one, handing out the work costs more than it
# saves, or another program has the second core. And a user who waits for *one* image gains nothing from a large
# batch.
#
# *A question.* One thread takes $a_1 + b_1 n$ ms for a batch of $n$, two take $a_2 + b_2 n$. From which batch on is the
# second worth it, if a₂ is larger than a₁? <details><summary>Answer</summary>From n = (a₂ − a₁) / (b₁ − b₂), if b₂ is
# smaller than b₁; otherwise never.</details>
#
# ### Exercise 10.3: where batch size stops paying
# *Difficulty 3 of 3, about 25 min; experiment.* A device takes $a + b\,n$ ms for a batch of $n$ images. You know
# neither $a$ nor $b$. `run(n)` runs a batch of 1 to 256 images once and returns its time in ms, with the troubles of
# a real device. The first run of each size takes 40 ms longer. Of the later runs about one in seven takes 20 ms
# longer, since another program runs. And every time is off by about 1 %. You may call `run` **60 times**. The larger
# the batch, the higher the throughput; it tends to a limit, which only *endless* batches would reach. Return the
# smallest batch size that reaches 90 % of this limit.
#
# Plan the experiment: which sizes, how often each, and how are the runs of a size summed up? The checker tries your
# function on four devices, three times each, and accepts what reaches 86 to 93 %.
#
# <details><summary>Hint 1</summary>Endless batches reach 1/b images per ms. A batch of n reaches n / (a + b·n). Solve
# for n: only a/b matters.</details>
# <details><summary>Hint 2</summary>A median over many runs ignores slow ones. Few sizes measured often tell more than
# many sizes measured once.</details>
# <details><summary>Hint 3</summary>1 % of a long time can be more than a. The smallest batch tells a, the largest tells
# b. If you fit more than two sizes, weight each by 1 / time.</details>


# %% tags=["stub"]
def batch_size(run):
    raise NotImplementedError


# %% tags=["solution"]
def batch_size(run):
    small, large = (np.median([run(n) for _ in range(30)]) for n in (1, 256))
    b = (large - small) / 255
    a = small - b
    return int(np.ceil(0.9 / (1 - 0.9) * a / b))


# %% tags=["nbval-check-output"]
check_batch_size(batch_size)

# %% [markdown]
# ## 6 · Look it up
#
# A network is put together from **pieces**: the fixed layers, and for each decision the layer that was chosen. A
# space of billions of networks has about a hundred pieces. So price the pieces, and keep the prices in a **table**: a
# `fixed` part, which every network pays, and for every *group* of decisions an array with an entry for each option. A
# group is mostly a single decision. Decisions that shape one layer together, such as a block's width and depth, are
# one group, and its array has an axis for each of them. A network's price is a sum:


# %%
def price(table, arch):
    """The fixed part, and of every group the entry that the architecture chose."""
    groups = zip(table.space.groups, table.entries, strict=True)
    return table.fixed + sum(float(entry[tuple(arch[d] for d in group)]) for group, entry in groups)


macs = LookupTable.build(timed, "macs")
other = tables.random_networks(timed, 1, cfg.seed + 1)[0]
whole = count(timed.build(other), timed.input_shape).macs
print(f"MACs: ours {price(macs, other):,.0f}, the table's {macs(other):,.0f}, counted {whole:,}")
assert price(macs, other) == macs(other) == whole, "the sum of the pieces is not the whole"
options = sum(entry.numel() for entry in macs.entries)
print(f"{timed.name}: {timed.size:.2g} networks, {options} options in {len(macs.entries)} groups")

# %% [markdown]
# For what is counted, the sum is exact. Parameters add up in the same way.
#
# ### A table for your machine
#
# The same with a stopwatch in the place of a counter. The pieces are measured in a shuffled order. Otherwise a machine
# that grows warm and slow would make the last layers look dear. The tables are kept in the folder of the results, so a
# second run of this cell takes no time.

# %%
priced, start = {}, time.perf_counter()  # a table is read where it was kept
for name, space in everything.items():
    keep = cfg.out_dir / f"{name.replace(':', '-')}.json"
    with course.Bar(desc=f"pieces of {name}", unit="piece") as bar:
        priced[name] = tables.latency_table(space, "measure", keep, progress=bar.show, **timing)
seconds = time.perf_counter() - start
bounds = {name: table.bounds() for name, table in priced.items()}
counts = {name: sum(e.numel() for e in table.entries) for name, table in priced.items()}
pd.DataFrame(
    {
        "options": counts,
        "fixed (ms)": {name: table.fixed for name, table in priced.items()},
        "fastest network (ms)": {name: low for name, (low, _) in bounds.items()},
        "slowest network (ms)": {name: high for name, (_, high) in bounds.items()},
        "noisy pieces": {name: table.provenance["noisy_pieces"] for name, table in priced.items()},
    }
).round(2)

# %% [markdown]
# The first of them as a picture: a column for every block, a row for every option, and in each field its microseconds.
# In `yolo` spaces an option is the share of the channels that a block uses, and its number of bottlenecks.

# %%
main = cfg.spaces_timed[0]
table = priced[main]
figures["table"] = plots.price_map(table, "time (µs)", 1000, numbers=".0f")
figures["table"]

# %% [markdown]
# Where the table comes from, and which block matters most:

# %%
made = table.provenance
spans = [float(entry.max() - entry.min()) for entry in table.entries]
reach = pd.Series(spans, table.space.group_names)
Markdown(
    # what was kept from before takes no time
    f"{sum(counts.values())} options took **{seconds:.0f} s** (0 s where they were kept), on "
    f"{course.words(made['device'])} with {made['backend']}, threads: {made['threads']}. "
    f"The block that matters most, {reach.idxmax()}, moves the total by {reach.max():.2f} ms. "
    f"The block that matters least, {reach.idxmin()}, moves it by {reach.min():.2f} ms."
)

# %% [markdown]
# What is such a table good for? Section 1 compared layers of equal MACs. Now compare whole networks: the picture
# shows random networks of the same space, by their MACs and by the table. The band is 3 % to either side of the
# median of the MACs.

# %%
macs = LookupTable.build(table.space, "macs")
some = tables.random_networks(table.space, min(1000, table.space.size), cfg.seed)
cost = pd.DataFrame([(macs(arch) / 1e6, table(arch)) for arch in some], columns=["macs", "ms"])
ends = 0.97 * cost.macs.median(), 1.03 * cost.macs.median()
labels = {"xlabel": "MACs (millions)", "ylabel": "latency by the table (ms)"}
figures["equal"] = plots.scatter({"random networks": (cost.macs, cost.ms)}, **labels)
figures["equal"].guide(x=ends, label="within 3 %")

# %% [markdown]
# How far do they lie apart at equal MACs?

# %%
alike = cost[cost.macs.between(*ends)]
low, high = alike.ms.min(), alike.ms.max()
Markdown(
    f"{len(alike)} of {len(cost)} networks lie in the band. By the table the fastest of them takes "
    f"{low:.2f} ms and the slowest {high:.2f} ms, **{high / low:.2f} times** as long. "
    "A search that looks at latency can choose among them. One that counts MACs cannot."
)

# %% [markdown]
# ### Prices without pieces
#
# Sometimes no piece can be timed alone. A phone's benchmark may run whole models only, and a compiler may fuse
# pieces. The times of whole networks are all there is then. Each of them is an equation: fixed part + entry of the
# first choice + entry of the second + … = time. Least squares solves many such equations. But some prices cannot be
# found, however many networks are measured. Below are two different tables of the same tiny space, with two decisions
# of two choices each.

# %% tags=["nbval-check-output"]
one_table = {"fixed": 5.0, "A": [1.0, 3.0], "B": [2.0, 6.0]}
another = {"fixed": 4.0, "A": [3.0, 5.0], "B": [1.0, 5.0]}
tiny = {"one table (ms)": one_table, "another (ms)": another}
pairs = [(i, j) for i in (0, 1) for j in (0, 1)]
pd.DataFrame(
    {name: [t["fixed"] + t["A"][i] + t["B"][j] for i, j in pairs] for name, t in tiny.items()},
    index=[f"A{i} B{j}" for i, j in pairs],
)

# %% [markdown]
# Both tables give every network the same time. From the first to the second, decision A became dearer by 2 ms
# whatever is chosen, decision B cheaper by 1 ms, and the fixed part by 1 ms. So a **constant can be moved** between a
# decision and the fixed part, and no time shows it. The *differences* between the choices of a decision are the same
# in both tables. These are what a search needs.
#
# Other prices are lost by a poor choice of networks. A choice that was never measured can cost anything. And where two
# decisions always change together, only the sum of their prices shows.
#
# ### Exercise 10.4: prices without pieces
# *Difficulty 3 of 3, about 30 min.* `choices[d]` is the number of choices of decision `d`. `archs` (networks,
# decisions) holds one architecture in each row, `ms` (networks,) what each took. Return two things:
#
# 1. a list with an array for each decision: by how many ms each choice is dearer than choice 0 of the same decision, by
#    least squares over all networks; `nan` where these networks cannot tell;
# 2. the number of **free ways**: the independent ways to change the prices (fixed part and entries) without changing
#    the time of any measured network. In the tiny space above there are 2: one constant for each decision.
#
# <details><summary>Hint 1</summary>Write one equation as a row of a matrix: a 1 for the fixed part, then for each
# decision a block of zeros with a 1 at the chosen place. The columns are the prices.</details>
# <details><summary>Hint 2</summary>A change of prices that no time shows is mapped to 0 by the matrix. How many
# independent ones there are: columns less <code>np.linalg.matrix_rank</code>.</details>
# <details><summary>Hint 3</summary>A difference is a vector c with 1 at one price and −1 at another. The times tell
# it if c is a sum of multiples of the rows: if <code>c @ pinv(X) @ X</code> is c again.</details>


# %% tags=["stub"]
def prices(choices, archs, ms):
    raise NotImplementedError


# %% tags=["solution"]
def prices(choices, archs, ms):
    blocks = [np.eye(n)[archs[:, d]] for d, n in enumerate(choices)]
    X = np.hstack([np.ones((len(archs), 1)), *blocks])
    inverse, unit, start, leads = np.linalg.pinv(X), np.eye(X.shape[1]), 1, []
    for n in choices:
        c = unit[start : start + n] - unit[start]  # each choice less choice 0
        told = np.isclose(c @ inverse @ X, c).all(axis=1)
        leads.append(np.where(told, c @ inverse @ ms, np.nan))
        start += n
    return leads, X.shape[1] - np.linalg.matrix_rank(X)


# %% tags=["nbval-check-output"]
check_prices(prices)

# %% [markdown]
# How many networks must be measured? Here is an experiment with a table that the project stores: `fbnet:course`, with
# 12 decisions of 9 choices. Least squares has to find 1 + 12 · 8 = 97 numbers, since of every decision only
# differences can be found. The "measured" times are the table's, each with an error of 1 % or 5 % that we add. Then
# the solution predicts 100 other networks. Think first: with the larger error, after how many measured networks is
# the prediction worst?

# %%
numbers = [25, 50, 75, 100, 125, 150, 200, 300, 600]
asked = [f"{n} networks" for n in numbers[:5]]
error_guess = course.predict("With 5 % error, the worst prediction comes after ...", asked)

# %% [markdown]
# Every line is the median of five draws of networks and errors, in a band between the quartiles.

# %%
fbnet = spaces.create("fbnet:course")
truth = tables.stored(fbnet, "latency_ms")
assert truth, "the stored table of fbnet:course belongs to other layers or choices"
drawn = np.array(tables.random_networks(fbnet, 700, cfg.seed))
ms = np.array([truth(tuple(map(int, arch))) for arch in drawn])
X = np.hstack([np.ones((700, 1)), *(np.eye(n)[drawn[:, d]] for d, n in enumerate(fbnet.choices))])


def predicts(n, error, seed):
    """Mean absolute error in % on 100 networks, of the solution for n others."""
    rng = randomness.rng(seed, "prices")
    order, noise = rng.permutation(700), 1 + error * rng.normal(size=700)
    solution = np.linalg.lstsq(X[order[:n]], (ms * noise)[order[:n]], rcond=None)[0]
    return 100 * np.abs(X[order[-100:]] @ solution / ms[order[-100:]] - 1).mean()


curves = {}
for e in (0.01, 0.05):
    curves[f"{e:.0%} error"] = [[predicts(n, e, draw) for n in numbers] for draw in range(5)]
labels = {"xlabel": "networks measured", "ylabel": "error of the prediction (%)", "log": "y"}
figures["whole"] = plots.lines(curves, numbers, **labels).guide(x=97, label="97 unknowns")
figures["whole"]

# %% [markdown]
# What you said, and what came:

# %%
middles = dict(zip(numbers, np.median(curves["5% error"], axis=0), strict=True))
worst = max(numbers[:5], key=middles.get)
error_guess.came(
    f"{worst} networks",
    f"With 5 % error the prediction is off by {middles[50]:.0f} % after 50 networks, "
    f"by {middles[100]:.0f} % after 100 and by {middles[300]:.1f} % after 300.",
)

# %% [markdown]
# With about as many equations as unknowns, the solution meets every measured time almost exactly, with its error.
# To do so it makes some prices far too high and others far too low, and these spoil the prediction. With fewer
# equations there are many solutions, and `lstsq` takes the one with the smallest squares. With many more equations the
# errors average out. So take several times as many networks as unknowns, or measure pieces, where each number has a
# measurement of its own.
#
# Which networks to take matters, too. Let every time have an error of 1 ms (its standard deviation). Then each
# difference between two choices has a **standard error**. The cell below computes the largest of them, for 9 networks
# of a space with 4 decisions of 3 choices: first networks that change one decision at a time, then five draws of
# random ones. It is `inf` where some difference cannot be told at all.


# %% tags=["nbval-check-output"]
def largest_error(k, archs):
    """The largest standard error in ms of a difference between k choices; inf: one is unknown."""
    archs = np.array(archs)
    X = np.hstack([np.ones((len(archs), 1)), *(np.eye(k)[column] for column in archs.T)])
    unit, found = np.eye(X.shape[1]), []
    for d, i, j in itertools.product(range(archs.shape[1]), range(k), range(k)):
        c = unit[1 + k * d + i] - unit[1 + k * d + j]
        weights = c @ np.linalg.pinv(X)  # of the times in this difference: errors add up as squares
        found.append(np.linalg.norm(weights) if np.allclose(weights @ X, c) else np.inf)
    return max(found)


one_by_one = [[0] * 4] + [[j * (e == d) for e in range(4)] for d in range(4) for j in (1, 2)]
print(f"one decision at a time: {largest_error(3, one_by_one):.2f} ms")
for draw in range(5):
    random = randomness.rng(draw, "plan").integers(0, 3, (9, 4))
    print(f"nine random networks: {largest_error(3, random):.2f} ms")

# %% [markdown]
# One at a time, each difference comes from two measurements, so their errors add up to √2 = 1.41 ms. The other seven
# networks do not help. A plan in which *every* network helps with *every* difference does better.
#
# ### Exercise 10.5: which networks to measure
# *Difficulty 3 of 3, about 20 min; design.* A space has `decisions` decisions with `k` choices each; `k` is a prime
# number, and there are at most `k + 1` decisions. Return a plan of `k * k` networks, each a list of choices, with
# these properties. Every choice of every decision occurs `k` times. And any two decisions show each of their `k * k`
# pairs of choices exactly once, so that what one decision costs cancels out where another is judged. The largest
# standard error is then √(2 / k): for 4 decisions of 3 choices 0.82 ms. Try your plan with `largest_error`.
#
# <details><summary>Hint 1</summary>Number the networks by two digits i and j, each from 0 to k − 1. The first decision
# reads i, the second reads j.</details>
# <details><summary>Hint 2</summary>A further decision may read i + j, another 2·i + j, then 3·i + j …, each modulo
# k. Why must k be prime?</details>


# %% tags=["stub"]
def plan(decisions, k):
    raise NotImplementedError


# %% tags=["solution"]
def plan(decisions, k):
    digits = [(i, j) for i in range(k) for j in range(k)]
    # decision k reads i, any other reads d * i + j: two readings determine i and j, as k is prime
    return [[i if d == k else (d * i + j) % k for d in range(decisions)] for i, j in digits]


# %% tags=["nbval-check-output"]
check_plan(plan)

# %% [markdown]
# ## 7 · How additive is latency?
#
# MACs add up exactly. Does time? A piece that is timed alone finds its input and its weights in the cache, and it is
# called by itself. In a network it runs between others. So measure whole random networks and compare. Think first.

# %%
sum_guess = course.predict(
    f"The sum of the pieces of {main}, beside the time of the whole network, is ...",
    ["more than 5 % too low", "within 5 %", "more than 5 % too high"],
)

# %% [markdown]
# Each network is measured in several rounds, always in another order. What was measured is kept, so that a run that was
# stopped goes on.


# %%
def measured_rounds(name, bar):
    """Milliseconds (rounds, networks), kept under what they belong to."""
    path = cfg.out_dir / f"{name.replace(':', '-')}.state"
    owner = storage.identity(cfg.identity)
    state = storage.load_state(path, owner) or {"ms": []}
    for r in range(len(state["ms"]), cfg.rounds):
        options = {"rounds": 1, "seed": r, "progress": bar.show, **timing}
        state["ms"].append(tables.measure_networks(everything[name], archs[name], **options))
        storage.save_state(path, state, owner)
    return np.array(state["ms"])


how_many = {"n": cfg.networks, "seed": cfg.seed}
archs = {name: tables.random_networks(space, **how_many) for name, space in everything.items()}
with course.Bar(desc="networks of a round", unit="network") as bar:
    by_round = {name: measured_rounds(name, bar) for name in everything}
measured = {name: np.median(values, axis=0) for name, values in by_round.items()}
predicted = {name: np.array([priced[name](arch) for arch in archs[name]]) for name in priced}
pairs = {"measured (ms)": measured[main], "sum of pieces (ms)": predicted[main]}
pd.DataFrame(pairs).round(2).head()

# %% [markdown]
# Those were the first five networks of the first space. Over all of its networks:

# %%
bias = float((predicted[main] / measured[main] - 1).mean())
outcome = 1 + (bias > 0.05) - (bias < -0.05)
sum_guess.came(sum_guess.options[outcome], f"On average the sum is off by {bias:+.1%}.")

# %% [markdown]
# Four numbers judge such a prediction.
#
# - $R^2 = 1 -$ (sum of squared errors) / (sum of squared deviations of the measurements from their mean). It is 1 for a
#   perfect prediction and 0 for one that always says the mean. It is **below 0** for a worse one, for example if all
#   predictions are too low by the same large amount.
# - **MAPE**, the mean absolute error as a share of the measurement.
# - **Bias**, the mean of (predicted − measured) / measured. Here the sign counts.
# - **Left over**, the standard deviation of these relative errors. It is what remains when the bias is taken off.
#
# Below from scratch, then by the package. All but $R^2$ are fractions: 0.05 is 5 %.


# %%
def judge(predicted, measured):
    """The four numbers by their names."""
    error = (predicted - measured) / measured
    r2 = 1 - ((predicted - measured) ** 2).sum() / ((measured - measured.mean()) ** 2).sum()
    found = {"R²": r2, "MAPE": np.abs(error).mean(), "bias": error.mean()}
    return found | {"left over": error.std(ddof=1)}


judged = pd.DataFrame({name: judge(predicted[name], measured[name]) for name in priced}).T
for name, table in priced.items():
    theirs = tables.study(table, archs[name], measured[name])
    print(f"{name}, the package: {theirs}")
    figures_there = [theirs.r2, theirs.mape, theirs.bias, theirs.spread]
    assert np.allclose(judged.loc[name], figures_there), f"the package judges {name} otherwise"
judged.round(3)

# %% [markdown]
# (The package adds RMSE, the root mean squared error in ms, and the rank correlation ρ.)
#
# Where the bias is most of the error, the sum is off in the same way for all networks. That can be taken off. A sum
# is too low where pieces that are timed alone profit from the cache. It is too high where a runtime fuses the layers
# of a network, so that pieces pay for calls that the whole network does not make. (The backend torch fuses
# none.) And it can be off either way if the machine was busier during one half of the measurements.
#
# The correction adds a **fixed overhead** to all predictions. Networks may differ in how many pieces run, since a
# skipped block runs nothing; then it adds a price **per boundary** between two pieces, too. Both are fitted by least
# squares. They must be judged on other networks than those that they were fitted on: that is **cross-validation**.
#
# ### Exercise 10.6: the overhead, held out
# *Difficulty 2 of 3, about 15 min.* `predicted` and `measured` (n,) belong to n networks. Return corrected predictions
# (n,): to each add the mean of measured − predicted over all **other** networks.
#
# <details><summary>Hint 1</summary>A loop with <code>np.delete(gap, i).mean()</code> is fine.</details>
# <details><summary>Hint 2</summary>Without a loop: the sum of all gaps less the own one, divided by n − 1.</details>


# %% tags=["stub"]
def held_out(predicted, measured):
    raise NotImplementedError


# %% tags=["solution"]
def held_out(predicted, measured):
    gap = measured - predicted
    return predicted + (gap.sum() - gap) / (len(gap) - 1)


# %% tags=["nbval-check-output"]
check_held_out(held_out)

# %% [markdown]
# The package's `correct` fits both terms. The picture shows predicted over measured; a right prediction lies on the
# line. One series is the table as it is. The other is the corrected table on networks that it was not fitted on. The
# legend has the mean absolute error.


# %%
def predictions(fitted):
    """Measured and predicted latency of every network, by the table as it is and corrected."""
    truth, raw, better = map(np.array, (fitted.measured, fitted.predicted, fitted.held_out))
    names = f"as it is: {fitted.before.mape:.1%}", f"corrected: {fitted.after.mape:.1%}"
    return {names[0]: (truth, raw), names[1]: (truth, better)}


corrections = {n: tables.correct(table, archs[n], measured[n]) for n, table in priced.items()}
panels = {name: predictions(fitted) for name, fitted in corrections.items()}
look = {"share": "", "width": 10, "legend": "each", "xlabel": "measured (ms)"}
figures["additivity"] = plots.scatter(panels, diagonal=True, ylabel="predicted (ms)", **look)
figures["additivity"]

# %% [markdown]
# Is that good? Compare it with something simpler: a line through the number of parameters, or through the MACs, held
# out in the same way. The last bar is a scale for noise: by how much the first round of measurements is off the median
# of the others. The table is judged against the median of *all* rounds, which is less noisy, so a good table may lie
# below that bar.


# %%
def by_line(x, y):
    """For each network what a line through all others says."""
    fits = [np.polyfit(np.delete(x, i), np.delete(y, i), 1) for i in range(len(x))]
    return np.array([np.polyval(fit, at) for fit, at in zip(fits, x, strict=True)])


off = {}  # for each space and way to predict: the error in % of every network
for name, space in everything.items():
    says = {}
    for word, metric in (("parameters", "params"), ("MACs", "macs")):
        summed = np.array([*map(LookupTable.build(space, metric), archs[name])])
        says[f"a line through {word}"] = by_line(summed, measured[name])
    says["latency table"] = predicted[name]
    says["latency table, corrected"] = np.array(corrections[name].held_out)
    off[name] = {what: 100 * np.abs(ms / measured[name] - 1) for what, ms in says.items()}
    others = np.median(by_round[name][1:], axis=0)
    off[name]["measured again"] = 100 * np.abs(by_round[name][0] / others - 1)
compared = {f"{name}: error (%)": {w: e.mean() for w, e in off[name].items()} for name in off}
figures["compared"] = plots.bars(compared)
figures["compared"]

# %% [markdown]
# What the correction did, for each space:

# %%
sentences = []
for name, fitted in corrections.items():
    _, _, before, after, noise = compared[f"{name}: error (%)"].values()
    per = fitted.per_boundary  # None where all networks have as many
    per = "" if per is None else f" and {1e3 * per:+.0f} µs a boundary"
    sentences.append(
        f"**{name}**: the table alone is off by {before:.1f} %. With an overhead of "
        f"{fitted.overhead:+.2f} ms{per} it is off by **{after:.1f} %**. Measured again, a "
        f"network differs by {noise:.1f} %."
    )
Markdown("\n\n".join(sentences))

# %% [markdown]
# ### The verdict: is the table worth its work?
#
# Both the table and a line predict the *same* networks, so compare them in pairs: for each network the error of the
# line less the error of the corrected table. Above 0 the table is better. `ranking.paired` gives the mean and its 95 %
# interval (Student's t). The line is the one that is better on these networks, so the choice favours it.

# %%
verdicts, paired = [], {}
for name, errors_of in off.items():
    lines = [what for what in errors_of if "line" in what]
    best = min(lines, key=lambda what: errors_of[what].mean())
    # in pairs: what makes a network hard for both cancels out
    gap = ranking.paired(errors_of[best], errors_of["latency table, corrected"])
    word = "is better than" if gap.low > 0 else "cannot be told from"
    word = "is worse than" if gap.high < 0 else word
    paired[name] = list(gap)
    verdicts.append(
        f"**{name}**: the error of {best} less that of the corrected table is {gap.value:+.1f} "
        f"points (interval {gap.low:+.1f} to {gap.high:+.1f}, {len(errors_of[best])} networks). "
        f"So **the table {word} the line**."
    )
Markdown("\n\n".join(verdicts))

# %% [markdown]
# An error beyond noise mostly has one of two reasons. Either pieces influence each other, through caches and layouts,
# or the machine was busier while the networks ran than while the table was made. "Measured again" tells how busy it
# was: at more than a few percent, repeat the run on a quiet machine. A line through the MACs is a fair rival where
# all blocks are of one kind. It may fail where kinds differ, as in section 1.
#
# The corrected table is a table again, with the correction in its provenance. A search can use it at once:

# %%
corrected = {name: fitted.apply(priced[name]) for name, fitted in corrections.items()}
for name, table in corrected.items():
    table.save(cfg.out_dir / f"{name.replace(':', '-')}-corrected.json")
one = archs[main][0]
print(f"the first network of {main}: {priced[main](one):.2f} ms by the table, ", end="")
print(f"{corrected[main](one):.2f} ms corrected, measured {measured[main][0]:.2f} ms")

# %% [markdown]
# ## 8 · A table that does not fit
#
# A table is right only for the space that it was made for: its layers, choices, input size and classes. So its file
# holds the space's **fingerprint**, a hash of all of these, beside its unit and its provenance. A **hash** of the
# file itself finds every later change. All of it is checked when the file is read. A file that a person writes may go
# without the file's hash, so the figures are checked by themselves, too. Here are eight ways to be wrong.

# %% tags=["nbval-check-output"]
small, other = spaces.create("spos:course"), spaces.create("fbnet:course")
path = cfg.out_dir / "table.json"
LookupTable.build(small, "macs").save(path)
text = path.read_text()
by_hand = "\n".join(line for line in text.split("\n") if '"hash"' not in line)
entry = text[text.index('"shuffle3"') : text.index('"shuffle5"')]  # one option with its figure
number = entry.split(": ")[1].rstrip(", ")
wrong = {  # the whole text of the file, and the space that it is read for
    "another space": (text, other),
    "a figure was changed": (text.replace(number, "7", 1), small),
    "by hand, wrong unit": (by_hand.replace('"unit": "MACs"', '"unit": "FLOPs"'), small),
    "by hand, an option is missing": (by_hand.replace(entry, "", 1), small),
    "by hand, an option stands twice": (by_hand.replace(entry, entry * 2, 1), small),
    "by hand, a negative cost": (by_hand.replace(entry, entry.replace(number, "-1"), 1), small),
    "by hand, no number": (by_hand.replace(entry, entry.replace(number, "NaN"), 1), small),
    "cut short": (text[:-40], small),
}
for what, (content, space) in wrong.items():
    path.write_text(content)
    try:
        LookupTable.load(path, space)
    except errors.TableError as error:
        print(f"{what}: {str(error).replace(str(path), path.name)}\n")

# %% [markdown]
# No check can see whether the table was measured on *your* machine. The project stores tables in `lookup/`: of MACs,
# of parameters, and of one machine's latency. Read the provenance before you trust one. The next cell holds the
# stored table against the networks measured here.

# %%
stored = tables.stored(everything[main], "latency_ms", cfg.backend)
if stored:
    apart = tables.compare([stored(arch) for arch in archs[main]], measured[main])
    print(", ".join(f"{key}: {value}" for key, value in stored.provenance.items()))
    print(f"for the networks measured here: {apart}")
    print("it would do here" if apart.mape < 0.1 else "it is wrong for this machine at this hour")
else:
    print(f"no latency table of {main} with {cfg.backend} is stored")

# %% [markdown]
# ### Other projects' formats
#
# `tables.read_table` also reads WZDNAS's YAML, the keys of ProxylessNAS and Once-for-All, and a plain matrix in CSV,
# with a row for each block and a column for each option, such as a spreadsheet writes. What does not fit the space is
# refused, as above.

# %%
table = priced[main]
tables.write_csv(table, cfg.out_dir / "table.csv")
again = tables.read_table(cfg.out_dir / "table.csv", table.space)
gap = max(float((a - b).abs().max()) for a, b in zip(table.entries, again.entries, strict=True))
assert gap < 1e-5, "the table changed on its way through CSV"
print((cfg.out_dir / "table.csv").read_text()[:300], "...")
print(f"largest difference after reading it again: {gap:.0e} ms")

# %% [markdown]
# ## 9 · Another device
#
# PyTorch is heavy for a Raspberry Pi, and you do not want it on a phone. So the pieces travel as ONNX files, with one
# Python file that measures them. That file needs NumPy and ONNX Runtime, nothing else:
#
# ```text
# python -m nasedu kit --space yolo:course --out kit/      # here: export all pieces and whole networks
# python run_kit.py                                        # there: measure; stop and go on as you like
# python -m nasedu import-kit kit/                         # here again, with results.jsonl copied back
# ```
#
# Now with a small space. The "other device" is another process on this machine. First the export:

# %%
folder, imported = cfg.out_dir / "kit", None
if cfg.kit_space != "none":
    tiny = spaces.create(cfg.kit_space, depth=cfg.kit_depth, input_size=cfg.kit_pixels)
    held = kit.KitConfig(networks=cfg.kit_networks, spares=0, seed=cfg.seed)
    with course.Bar(desc="export", unit="file") as bar:  # most of a second a file
        packed = kit.write_kit(tiny, folder, held, workers=2, progress=bar.show)
    files = [entry for entry in packed["entries"] if entry["file"]]
    size = sum((folder / entry["file"]).stat().st_size for entry in files)
    print(f"{len(files)} ONNX files, {size / 1e6:.2f} MB; a manifest; {kit.write.RUNNER}")
else:
    print("The kit is skipped: kit_space is none.")

# %% [markdown]
# Then the measurement there, whose first lines are shown, and the table that comes back:

# %%
if cfg.kit_space != "none":
    command = [sys.executable, "run_kit.py", "--repeats", str(cfg.repeats)]
    told = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    print("\n".join(told.split("\n")[:5]), "...", sep="\n")
    imported = kit.import_kit(folder)
    print(imported)
else:
    print("The kit is skipped.")

# %% [markdown]
# The table says where it comes from, so that nobody takes it for that of another machine. Whole networks were
# measured on the device, too. They tell what the table is worth there, and correct it if at least 10 of them were
# measured undisturbed.

# %%
if imported is not None and len(imported.networks):
    points = {}
    for noisy, part in imported.networks.groupby("noisy"):  # apart, since noisy ones judge nothing
        columns = part.measured_ms.to_numpy(), part.predicted_ms.to_numpy()
        points["noisy" if noisy else "undisturbed"] = columns
    labels = {"xlabel": "measured there (ms)", "ylabel": "sum of pieces (ms)"}
    figures["kit"] = plots.scatter(points, diagonal=True, **labels)
    display(figures["kit"])
    if imported.corrected is not None:
        imported.corrected.save(cfg.out_dir / "other-device.json")
print(imported.note or "corrected and saved" if imported else "The kit is skipped.")

# %% [markdown]
# A kit that was cut short on the way is refused, like a table that does not fit. So are the results of another kit.

# %%
if imported is not None:
    short = (folder / "results.jsonl").read_text().split("\n")[:-4]  # three lines are missing
    (cfg.out_dir / "short.jsonl").write_text("\n".join(short) + "\n")
    try:
        kit.import_kit(folder, cfg.out_dir / "short.jsonl")
    except errors.KitError as error:
        print(str(error).replace(f"{cfg.out_dir}/", ""))
else:
    print("The kit is skipped.")

# %% [markdown]
# ## Summary
#
# - MACs of a convolution: $K^2 \cdot C_\text{in}/\text{groups} \cdot C_\text{out} \cdot H \cdot W$ of the output. Each
#   is two FLOPs.
# - Early layers hold the activation memory, late layers the weights. Layers that move much and compute little take
#   longer than their MACs say.
# - Time a network in evaluation mode, after a warm-up, by a median with its spread. Write down backend, threads, batch
#   size and device.
# - A table of a hundred pieces or so prices every network of a space. It is exact for what is counted. For latency it
#   mostly needs a correction, and always a check on whole networks that it was not fitted on.
# - Whole networks alone tell the differences between choices, if many are measured and well chosen. They never tell
#   the constants.
# - For another device: `kit`, `run_kit.py`, `import-kit`.
#
# **Pitfalls**
#
# - *FLOPs that are MACs.* Papers differ by a factor of 2, sometimes within one paper.
# - *One run.* The first is often the slowest: it allocates memory and loads code.
# - *A GPU without waiting.* Its calls return before it is done. And PyTorch's time of a small network on a GPU is
#   mostly the time of its calls, not that of the GPU's work.
# - *Another backend.* A table from PyTorch need not put networks into the order of ONNX Runtime on the same chip.
# - *A busy machine.* Noise mostly adds time. Look at `noisy`, close the browser, repeat.
# - *A good fit by construction.* A correction that is judged on the networks that it was fitted on looks too good.
#
# **Further reading**
#
# - Latency tables: Cai, Zhu, Han, *ProxylessNAS*, ICLR 2019 (section 3.3.1 and appendix); Wu et al., *FBNet*, CVPR
#   2019; Cai et al., *Once-for-All*, ICLR 2020
# - Why MACs mislead: Ma, Zhang, Zheng, Sun, *ShuffleNet V2*, ECCV 2018 (section 2)
# - Intensity: Williams, Waterman, Patterson, *Roofline*, Communications of the ACM, 2009
# - Beyond sums: Zhang et al., *nn-Meter*, MobiSys 2021, on which layers a device fuses
# - The error near as many equations as unknowns: Belkin et al., *Reconciling modern machine-learning practice and the
#   classical bias–variance trade-off*, PNAS, 2019
# - Which to measure: Rao, *Factorial experiments derivable from combinatorial arrangements of arrays*, 1947 (orthogonal
#   arrays)
#
# What a search does with such a table, as a term in its loss, is notebook 11.

# %%
report = pd.DataFrame(compared).round(1)  # what the command line shows at the end
course.finish(
    cfg,
    summary=report,
    figures=figures,
    results={
        "equal_macs_ms": equal_macs_ms,
        "backends": speeds,
        "batch_ms": many,
        "additivity": judged.to_dict("index"),
        "corrected": {name: fitted.after.mape for name, fitted in corrections.items()},
        "compared": compared,
        "line_less_table_in_points": paired,
        "whole_networks": {name: np.median(runs, axis=0).tolist() for name, runs in curves.items()},
        "table_seconds": seconds,
        "kit": str(imported) if imported else None,
    },
)
