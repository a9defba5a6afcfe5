# %% [markdown]
# # What a network costs on hardware
#
# Count it, time it, look it up: what a network will cost on *your* device, and how far to trust the figure.
#
# A search compares thousands of networks. Building and timing each of them would take days; so it asks a **table**
# that holds the cost of every choice, and adds up. Here you build that table for the machine in front of you, in less
# than a minute, and then check it against whole networks. And for a phone or a Raspberry Pi there is a kit.
#
# **Afterwards you can**
#
# 1. count multiply-accumulates, parameters and memory by hand, and say where in a network each of them sits;
# 2. say why two layers of equal MACs take unequal time;
# 3. time a network so that the figure can be repeated: warm-up, median, spread, threads, batch size;
# 4. build a latency table for your machine or another device, and predict whole networks with it;
# 5. say how wrong the prediction is, correct it, and recognise a table that does not fit.
#
# **You need** convolutions, and an idea of what a search space is (notebook 00).
#
# | preset | what it runs | time, two CPU cores |
# |---|---|---|
# | `smoke` | a table of one space from 3 repeats: only proves that cells work; the kit is skipped | 10 seconds |
# | `quick` | tables of two spaces, 20 whole networks each, a kit for a third | 10 minutes, beside other work |
# | `full` | three spaces, 50 whole networks each, three backends | not measured |
# | `gpu` | the published size of two spaces, on a GPU | not measured |

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu; it sets every parameter below that is None
spaces_timed: list[str] = None  # the spaces to make latency tables of, such as yolo:course
networks: int = None  # whole networks of each to hold the table against, at least 10
rounds: int = None  # how often each network is measured, at least 2
backend: str = None  # what runs the pieces and the networks: torch, compiled, onnxruntime or cuda
backends: list[str] = None  # to compare on one network in section 4
repeats: int = None  # timed runs of every measurement, at least 3
pixels: int = None  # size of the maps in section 1
batches: list[int] = None  # batch sizes in section 5
thread_counts: list[int] = None  # numbers of CPU threads in section 5
kit_space: str = None  # the space of the kit in section 9; none: no kit
kit_depth: float = None  # share of its blocks that are kept, so that the export is short
kit_pixels: int = None  # size of its images
kit_networks: int = None  # whole networks in the kit
threads: int = None  # CPU threads of every other measurement
seed: int = None  # of every random choice
device: str = None  # auto, cpu, cuda, cuda:1 ...
out_dir: str = None  # folder of the results; None: one per set of parameters

# %%
import json
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown, display
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from nasedu import course, errors, hardware, plots, spaces, tables
from nasedu.course.checks.hardware_cost import (
    check_block,
    check_held_out,
    check_price,
    check_stopwatch,
    check_throughput,
)
from nasedu.deploy import kit
from nasedu.hardware import count, measure
from nasedu.tables import LookupTable

choices = {"backend": hardware.BACKENDS, "backends": hardware.BACKENDS}
cfg = course.setup("10_hardware_cost", globals(), choices=choices)
torch.set_num_threads(cfg.threads)
# the settings of every measurement but those that compare backends, batch sizes or threads
timing = {"backend": cfg.backend, "threads": cfg.threads, "repeats": cfg.repeats}
cfg

# %% [markdown]
# ## 1 · One bill, four times
#
# Four convolutions on maps of the same size. They differ in how many channels each output channel reads: all of them,
# 4, or only its own. The numbers of channels are chosen such that all four do **equally many multiply-accumulates**
# (MACs). Left what they compute, in the middle what they read and write, right what the clock says:

# %%
four = {
    "dense 3×3, 16 → 16": nn.Conv2d(16, 16, 3, padding=1, bias=False),
    "dense 1×1, 48 → 48": nn.Conv2d(48, 48, 1, bias=False),
    "16 groups, 3×3, 64 → 64": nn.Conv2d(64, 64, 3, padding=1, groups=16, bias=False),
    "depthwise 3×3, 256": nn.Conv2d(256, 256, 3, padding=1, groups=256, bias=False),
}
shapes = {name: (conv.in_channels, cfg.pixels, cfg.pixels) for name, conv in four.items()}
costs = {name: count(conv, shapes[name]) for name, conv in four.items()}
equal_macs_ms = {name: measure(conv, shapes[name], **timing).median for name, conv in four.items()}
figures = {
    "four": plots.bars(
        {
            "MACs (millions)": {name: cost.macs / 1e6 for name, cost in costs.items()},
            "data moved (MB)": {name: cost.moved_bytes / 1e6 for name, cost in costs.items()},
            "time (ms)": equal_macs_ms,
        }
    )
}
figures["four"]

# %%
assert len({cost.macs for cost in costs.values()}) == 1
slowest, fastest = (find(equal_macs_ms, key=equal_macs_ms.get) for find in (max, min))
times = equal_macs_ms[slowest] / equal_macs_ms[fastest]
Markdown(
    f"The same bill, and yet the slowest (**{slowest}**) takes **{times:.1f} times** as long "
    f"as the fastest ({fastest})."
)

# %% [markdown]
# The middle panel (counted: inputs, outputs and weights) is one reason. A depthwise convolution does only 9 MACs with
# each number that it fetches; a dense one uses it again for every output channel. The other is the code: a 1×1
# convolution is a plain matrix product, which libraries do best, though it moves more than the 3×3 above it. (If your
# bars are all alike, calling a layer costs more than its work: take larger `pixels`.) So MACs are one thing,
# milliseconds another. First we count, then we time, then we predict.
#
# ## 2 · Count
#
# A convolution computes, at each of $H \times W$ places of its *output*, $C_\text{out}$ sums. Each sum runs over a
# window of $K \times K$ places and $C_\text{in} / \text{groups}$ channels:
#
# $$\text{MACs} = K^2 \cdot \frac{C_\text{in}}{\text{groups}} \cdot C_\text{out} \cdot H \cdot W$$
#
# Depthwise is the case groups = $C_\text{in}$; a linear layer the case $K = H = W = 1$. One MAC is one multiplication
# and one addition, hence **2 FLOPs**. Papers are careless here: some write FLOPs and mean MACs.


# %%
def conv_macs(conv, height, width):
    """For an output of height x width."""
    window = conv.kernel_size[0] * conv.kernel_size[1] * conv.in_channels // conv.groups
    return window * conv.out_channels * height * width


for name, conv in four.items():
    with FlopCounterMode(display=False) as pytorch:
        conv(torch.zeros(1, *shapes[name]))
    assert conv_macs(conv, cfg.pixels, cfg.pixels) == costs[name].macs == pytorch.get_total_flops() // 2

# %% [markdown]
# For a whole network, a hook on every layer looks at what comes out. Nothing needs to be computed: on the device `meta`
# tensors have a shape and no data, so that a network of any size costs no memory. Here it is ProxylessNAS-Mobile, as
# published, on images of 224 px.

# %%
mobile, arch = spaces.published("proxylessnas", "ProxylessNAS-Mobile")
with torch.device("meta"):
    network = mobile.build(arch)


def my_count(network, shape):
    found = []

    def look(layer, inputs, output):
        linear = isinstance(layer, nn.Linear)
        found.append(layer.weight.numel() if linear else conv_macs(layer, *output.shape[2:]))

    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(look) for layer in layers]
    network.eval()(torch.empty(1, *shape, device="meta"))
    [hook.remove() for hook in hooks]
    return sum(found)


# %% tags=["nbval-check-output"]
counted = count(network, mobile.input_shape)
with FlopCounterMode(display=False) as pytorch:
    network(torch.empty(1, *mobile.input_shape, device="meta"))
assert my_count(network, mobile.input_shape) == counted.macs == pytorch.get_total_flops() // 2
assert counted.params == sum(p.numel() for p in network.parameters())
print(f"{counted.macs:,} MACs = {counted.flops:,} FLOPs, {counted.params:,} parameters")

# %% [markdown]
# ### Exercise 10.1: an inverted residual by hand
# *Difficulty 2 of 3, about 15 min.* The block of mobile networks, `MBConv`: a 1×1 convolution to
# `expansion` times `c_in` channels, then a depthwise one of `kernel` with `stride`, then a 1×1 to `c_out`. At expansion
# 1 the first is left out. Return its MACs for a square map of `size` px. Padding keeps the size; a stride of 2 halves
# it, rounded **up**.
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
# `count` keeps a row for every layer. Below the block `stage2_1`: kind, output, MACs, parameters, bytes of its result.

# %% tags=["nbval-check-output"]
rows = counted.frame().drop("total")
rows = rows[rows.activation_bytes > 0]
columns = ["kind", "shape", "macs", "params", "activation_bytes", "intensity"]
rows.loc[rows.index.str.contains("stage2_1"), columns].round(2)

# %% [markdown]
# And the whole network, block by block, the image's side on top; each panel's bars add up to 100 %. (Two blocks are
# skipped in this network and cost nothing. Training keeps all activations; inference only those still needed.)

# %%
block = rows.index.str.split(".").str[1]
titles = {"macs": "MACs", "params": "parameters", "activation_bytes": "bytes of results"}
share = 100 * rows[list(titles)].groupby(block, sort=False).sum() / rows[list(titles)].sum()
panels = {f"{title}: {rows[part].sum():,.0f}": dict(share[part]) for part, title in titles.items()}
figures["layers"] = plots.bars(panels, names="title", xlabel="share of the total (%)", width=11, height=6.5)
figures["layers"]

# %%
share = rows.groupby(block, sort=False)[["macs", "params", "activation_bytes", "weight_bytes"]].sum()
share = (share / share.sum()).cumsum()
half = {name: int((share[name] < 0.5).sum()) + 1 for name in share}
assert half["activation_bytes"] < half["macs"] < half["params"]
Markdown(
    f"Of {len(share)} blocks the first **{half['activation_bytes']}** hold half of the activation memory, the first "
    f"{half['macs']} do half of the MACs, and it takes the first **{half['params']}** to have half of the parameters. "
    "Early maps are large, late layers have many channels. Want less memory? Shrink the front. A smaller file? The end."
)

# %% [markdown]
# ### Arithmetic intensity
#
# A layer has to move at least its input, its output and its weights. The **MACs per byte** moved are its arithmetic
# intensity. A processor has a balance of its own: one CPU core does perhaps 5 MACs in the time in which a byte arrives
# from main memory, a GPU's matrix units more than 100. A layer of lower intensity waits for data: more MACs would cost
# nothing there. (This picture is called the roofline model. What stays in a cache arrives sooner.)

# %%
last = rows.index.str.split(".").str[-1]
named = {"conv": "1×1 and stem", "bn": "normalisation", "act": "activation", "linear": "linear"}
kinds = last.map(named).fillna("additions, mean")
kinds = kinds.where(~rows.index.str.contains("depthwise.conv"), "depthwise")
parts = rows.groupby(kinds)[["macs", "moved_bytes"]].sum().sort_values("macs", ascending=False)
figures["intensity"] = plots.bars(
    {
        "share of MACs (%)": (100 * parts.macs / parts.macs.sum()).to_dict(),
        "share of data moved (%)": (100 * parts.moved_bytes / parts.moved_bytes.sum()).to_dict(),
        "MACs per byte": (parts.macs / parts.moved_bytes).to_dict(),
    }
)
figures["intensity"]

# %%
idle = parts[parts.macs == 0].moved_bytes.sum() / parts.moved_bytes.sum()
Markdown(
    f"Layers without a single MAC move **{idle:.0%}** of the data. That is why deployment *fuses* them: normalisation "
    "becomes part of the convolution's weights, the activation is applied before the result is written."
)

# %% [markdown]
# **Move it yourself**: an inverted residual whose every setting you can move (Tab and arrow keys work, too). When does
# the depthwise convolution cost more than the 1×1 ones? Can you double the channels without moving more data?

# %%
from nasedu.widgets import BlockCostWidget

widget = BlockCostWidget()
widget

# %% [markdown]
# The same as a fixed figure, for pages that cannot run: MACs, data moved and intensity of its layers as first set.

# %%
figures["block"] = widget.figure
figures["block"]

# %% [markdown]
# ## 3 · Time
#
# Now the clock. The network is a random one of the last space of `spaces_timed`, on the CPU. Every run is a marker:

# %%
timed = spaces.create(cfg.spaces_timed[-1])
arch = tables.random_networks(timed, 1, cfg.seed)[0]
network = timed.build(arch).eval()
image = torch.randn(1, *timed.input_shape)


@torch.inference_mode()
def once():
    start = time.perf_counter()
    network(image)
    return 1e3 * (time.perf_counter() - start)


took = [once() for _ in range(cfg.repeats + 5)]
order, quartiles = np.arange(1, len(took) + 1), tuple(np.quantile(took[5:], (0.25, 0.75)))
points = {"warm-up, not counted": (order[:5], took[:5]), "counted": (order[5:], took[5:])}
figures["runs"] = plots.scatter(points, xlabel="run", ylabel="ms", log="y")
figures["runs"].guide(y=quartiles, label="quartiles").guide(y=float(np.median(took[5:])), label="median")
figures["runs"]

# %%
middle = float(np.median(took[5:]))
Markdown(
    f"**The wrong way** is to time one run: the first took {took[0]:.1f} ms, **{took[0] / middle:.1f} times** the "
    f"median of {middle:.2f} ms. It allocates memory, loads code and picks algorithms. The mean of what counts is "
    f"{np.mean(took[5:]):.2f} ms, the slowest run {max(took[5:]):.2f} ms: other programs make a run *slower*, "
    "hardly ever faster, so a mean drifts upwards. (Why not the minimum? It is one lucky run; the median is what is "
    "typical.)"
)

# %% [markdown]
# Hence: run it a few times without looking, then many times, and take the **median**, with the quartiles as spread.
#
# ### Exercise 10.2: a fair stopwatch
# *Difficulty 1 of 3, about 10 min.* Call `run()` `warmup` times, then `repeats` times with the clock, and return the
# median of these, in **milliseconds**. `clock()` returns seconds. (The checker hands you a clock and a `run` that are
# rehearsed, so that it knows what must come out.)
#
# <details><summary>Hint 1</summary>Read the clock before and after <em>each</em> call. Reading it once around all calls
# gives the mean.</details>
# <details><summary>Hint 2</summary><code>np.median</code> also knows what to do with an even number.</details>


# %% tags=["stub"]
def stopwatch(run, warmup, repeats, clock):
    raise NotImplementedError


# %% tags=["solution"]
def stopwatch(run, warmup, repeats, clock):
    times = []
    for _ in range(warmup + repeats):
        start = clock()
        run()
        times.append(1e3 * (clock() - start))
    return float(np.median(times[warmup:]))


# %% tags=["nbval-check-output"]
check_stopwatch(stopwatch)

# %% [markdown]
# The package's `measure` does that and four things more: it pins the number of threads, repeats what is too short for
# the clock, measures its **own overhead**, and tries again where the machine was busy (another program took the
# processor, or the quartiles lie far apart). What stays disturbed is marked as noisy.

# %%
found = measure(network, timed.input_shape, threads=cfg.threads, repeats=cfg.repeats)
assert found.low <= found.median <= found.high and found.repeats == cfg.repeats
print(found)
print(f"our own loop above: {middle:.3g} ms")
print(f"the timer itself: {1e6 * found.overhead:.0f} ns; attempts: {found.attempts}; noisy: {found.noisy}")

# %% [markdown]
# ## 4 · It depends on what runs it
#
# The same network and weights, another program: PyTorch runs layer after layer. ONNX Runtime reads the whole network
# first, then fuses layers and picks layouts. `compiled` (`torch.compile`) writes code for this network, which needs a
# C++ compiler and takes tens of seconds, so it is left to the preset `full`. A backend that is not there says so in a
# sentence.

# %%
speeds = {}
for name in cfg.backends:
    try:
        options = {"backend": name, "threads": cfg.threads, "repeats": cfg.repeats}
        speeds[name] = measure(network, timed.input_shape, **options)
    except errors.BackendError as error:
        print(f"{name}: {error}")
figures["backends"] = plots.bars({"time (ms)": {name: found.median for name, found in speeds.items()}}, width=6)
figures["backends"]

# %%
others = [name for name in speeds if name != "torch" and "torch" in speeds]
told = [f"**{n}** is {speeds['torch'].median / speeds[n].median:.1f} times as fast as PyTorch here" for n in others]
Markdown("; ".join(told) + "." if told else "There is nothing to compare with PyTorch here.")

# %% [markdown]
# PyTorch needs tens of microseconds to *call* each layer, however little there is to do in it, and a small network is
# all calls: the smaller the network, the larger the gap. (Section 5 shows that price: it is most of $a$ in $a + b\,n$.)
#
# So a latency without its backend, threads, batch size and device says little. A table here keeps all of them, as its
# **provenance**. And the best network for one backend need not be the best for another: measure with what you will
# deploy.
#
# ## 5 · Batch size and threads
#
# Several images at once share what is paid once per call. Often a line is a good model: $t(n) = a + b\,n$. A second
# thread helps where there is enough work to share, and where a second core is free. (What is left out of the picture: a
# user who waits for *one* image gains nothing from a large batch.)

# %%
many = {
    f"{n} thread{'s' * (n > 1)}": [
        measure(network, timed.input_shape, batch=b, threads=n, repeats=max(3, cfg.repeats // 2)).median
        for b in cfg.batches
    ]
    for n in cfg.thread_counts
}
figures["batch"] = plots.lines(
    many, cfg.batches, xlabel="images in a batch", ylabel="time of a batch (ms)", ylim=(0, None)
)
figures["batch"]

# %% [markdown]
# ### Exercise 10.3: throughput from two numbers
# *Difficulty 2 of 3, about 10 min.* Fit $a + b\,n$ to the measured times `ms` at `batches` by least squares, and return
# the **images per second** that it promises at batch size `batch`.
#
# <details><summary>Hint 1</summary><code>np.polyfit(x, y, 1)</code> returns the slope first, then what is paid
# once.</details>
# <details><summary>Hint 2</summary>A batch of n images takes a + b·n <em>milliseconds</em>, and yields n
# images.</details>


# %% tags=["stub"]
def throughput(batches, ms, batch):
    raise NotImplementedError


# %% tags=["solution"]
def throughput(batches, ms, batch):
    b, a = np.polyfit(batches, ms, 1)
    return 1e3 * batch / (a + b * batch)


# %% tags=["nbval-check-output"]
check_throughput(throughput)

# %%
lines = {}
for name, ms in many.items():
    b, a = np.polyfit(cfg.batches, ms, 1)
    lines[f"{name}, measured"] = [1e3 * n / t for n, t in zip(cfg.batches, ms, strict=True)]
    lines[f"{name}, a + b·n"] = [1e3 * n / (a + b * n) for n in cfg.batches]
figures["throughput"] = plots.lines(
    lines, cfg.batches, xlabel="images in a batch", ylabel="images per second", ylim=(0, None)
)
figures["throughput"]

# %% [markdown]
# A measured point below the model's may mean that the maps have outgrown a cache, that the library chose another
# algorithm, or noise; the picture cannot tell. Where two threads lie below one, handing out the work costs more than it
# saves.
#
# *A question.* One thread takes $a_1 + b_1 n$ for a batch of $n$, two take $a_2 + b_2 n$. From which batch on is the
# second worth it? <details><summary>Answer</summary>From n = (a₂ − a₁) / (b₁ − b₂), if b₂ is smaller than b₁; otherwise
# never.</details>
#
# ## 6 · Look up
#
# Billions of networks are put together from about a hundred **pieces**: the fixed layers, and every option of every
# block at its place. Price the pieces, and any network is a sum. For what is counted, that sum is exact:

# %%
macs, params = (LookupTable.build(timed, metric) for metric in ("macs", "params"))
for other in tables.random_networks(timed, 3, cfg.seed):
    assert macs(other) == count(timed.build(other), timed.input_shape).macs
    assert params(other) == sum(p.numel() for p in timed.build(other).parameters())
options = sum(entry.numel() for entry in macs.entries)
print(f"{cfg.spaces_timed[-1]}: {timed.size:.2g} networks, {options} options in {len(macs.entries)} blocks")

# %% [markdown]
# ### Exercise 10.4: price a network
# *Difficulty 1 of 3, about 10 min.* A table is a `fixed` part, which every network pays, and an entry for every group
# of decisions. `groups[g]` lists which decisions of `arch` the array `entries[g]` is indexed by, in this order:
# `(0, 1)` means `entries[g][arch[0], arch[1]]`. Return the price.
#
# <details><summary>Hint 1</summary>Walk through <code>zip(groups, entries)</code>.</details>
# <details><summary>Hint 2</summary>A tuple indexes all axes at once: <code>entry[tuple(...)]</code>.</details>


# %% tags=["stub"]
def price(fixed, groups, entries, arch):
    raise NotImplementedError


# %% tags=["solution"]
def price(fixed, groups, entries, arch):
    return fixed + sum(float(e[tuple(arch[d] for d in g)]) for g, e in zip(groups, entries, strict=True))


# %% tags=["nbval-check-output"]
check_price(price)

# %% [markdown]
# ### A table for your machine
#
# The same with a stopwatch instead of a counter. Pieces are measured in a shuffled order: a machine that grows warm and
# slow would otherwise make the last layers look dear. The tables are kept in the folder of the results.


# %%
def bar(what):
    """A progress bar as the callback that the package wants."""
    shown = tqdm(desc=what, unit="", leave=False)

    def step(done, total):
        shown.total = total
        shown.update(done - shown.n)

    return step


everything = {name: spaces.create(name) for name in cfg.spaces_timed}
priced, start = {}, time.perf_counter()
for name, space in everything.items():
    keep = cfg.out_dir / f"{name.replace(':', '-')}.json"
    priced[name] = tables.latency_table(space, "measure", keep, progress=bar(name), **timing)
seconds = time.perf_counter() - start

# %% [markdown]
# The first of them as a picture: a column for every block, a row for every option (in `yolo` spaces the share of the
# channels and the number of bottlenecks), and in each field its microseconds. The lighter, the dearer.

# %%
first = priced[cfg.spaces_timed[0]]
figures["table"] = plots.price_map(first, "µs", 1000)
figures["table"]

# %%
made, (low, high) = first.provenance, first.bounds()
number = sum(entry.numel() for table in priced.values() for entry in table.entries)
spread = max(float(entry.max() - entry.min()) for entry in first.entries)
Markdown(
    f"{number} options in **{seconds:.0f} s** (0 s where they were kept from before). On {made['device']}, "
    f"{made['backend']}, {made['threads']} thread: from {low:.2f} to {high:.2f} ms for the whole network, of which "
    f"{first.fixed:.2f} ms are fixed. The block that matters most moves the total by {spread:.2f} ms. Noisy pieces, "
    f"because the machine was busy: {made['noisy_pieces']}."
)

# %% [markdown]
# ## 7 · How additive is latency?
#
# Nobody promises that a network takes as long as its pieces together. So measure whole random networks, and
# compare. Each is measured in several rounds, always in another order.


# %%
def kept(name, make):
    """What `make()` returns, or what it returned before the kernel was restarted."""
    path = cfg.out_dir / f"{name}.json"
    if not path.exists():
        path.write_text(json.dumps(make()))
    return json.loads(path.read_text())


def in_rounds(space, archs, name):
    options = {"rounds": 1, "progress": bar(f"networks of {name}"), **timing}
    return [tables.measure_networks(space, archs, seed=r, **options) for r in range(cfg.rounds)]


archs = {name: tables.random_networks(space, cfg.networks, cfg.seed) for name, space in everything.items()}
by_round = {
    name: np.array(kept(f"measured-{name.replace(':', '-')}", lambda s=space, n=name: in_rounds(s, archs[n], n)))
    for name, space in everything.items()
}
measured = {name: np.median(values, axis=0) for name, values in by_round.items()}
predicted = {name: np.array([priced[name](arch) for arch in archs[name]]) for name in priced}


# %% [markdown]
# Four figures judge a prediction. $R^2 = 1 -$ (sum of squared errors) / (sum of squared deviations of the measurements
# from their mean): 1 is perfect, 0 as good as always saying the mean, **below 0 worse than that**, which a constant
# bias alone can do. **MAPE**, the mean absolute percentage error. **Bias**, the mean of (predicted − measured) /
# measured. **Left over**, the standard deviation of these relative errors. All but $R^2$ are fractions: 0.05 is 5 %.
# (Later lines add RMSE, the root mean squared error in ms, and ρ, Spearman's rank correlation.)


# %%
def judge(predicted, measured):
    error = (predicted - measured) / measured
    r2 = 1 - ((predicted - measured) ** 2).sum() / ((measured - measured.mean()) ** 2).sum()
    return {"R²": r2, "MAPE": np.abs(error).mean(), "bias": error.mean(), "left over": error.std(ddof=1)}


judged = pd.DataFrame({name: judge(predicted[name], measured[name]) for name in priced}).T
for name, table in priced.items():
    theirs = tables.study(table, archs[name], measured[name])
    assert np.allclose(judged.loc[name], [theirs.r2, theirs.mape, theirs.bias, theirs.spread])
judged.round(3)

# %% [markdown]
# Where the bias is most of the error, the sum is off by about the same for all networks, and that can be taken off.
# Possible causes: a piece that is timed alone finds its input and weights in the cache, so the table is too low; the
# machine was busier during one half, either way; with a runtime that fuses layers, pieces pay for calls that the whole
# network does not make, so the table is too high (PyTorch, as it runs here, fuses none).
#
# The correction adds a **fixed overhead**, and where networks differ in how many pieces run (a skipped block runs
# nothing), a price **per boundary** between pieces. Both are fitted by least squares, on other networks than
# those that judge it: **cross-validation**.
#
# ### Exercise 10.5: the overhead, held out
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
# The package's `correct` fits both terms. First: predicted over measured, on the line a prediction is right. Below:
# what is left over, in percent. Circles are the table as it is, squares the corrected table on networks that it was not
# fitted on; the legend has the mean absolute error.


# %%
def predictions(fitted):
    """Measured and predicted latency of every network, by the table as it is and corrected."""
    runs = {"as it is": (fitted.predicted, fitted.before), "corrected": (fitted.held_out, fitted.after)}
    truth = np.array(fitted.measured)
    return {f"{n}: {how.mape:.1%}, R² = {how.r2:.2f}": (truth, np.array(x)) for n, (x, how) in runs.items()}


corrections = {name: tables.correct(table, archs[name], measured[name]) for name, table in priced.items()}
panels = {name: predictions(fitted) for name, fitted in corrections.items()}
look = {"share": "", "width": 10, "legend": "each", "xlabel": "measured (ms)"}
figures["additivity"] = plots.scatter(panels, diagonal=True, ylabel="predicted (ms)", **look)
figures["additivity"]

# %%
rest = {name: {n: (x, 100 * (y / x - 1)) for n, (x, y) in points.items()} for name, points in panels.items()}
figures["errors"] = plots.scatter(rest, ylabel="error of the prediction (%)", **look).guide(y=0)
figures["errors"]

# %% [markdown]
# Is that good? Compare with something humbler: a line through the number of parameters, or through the MACs, held out
# in the same way. And for scale with **measuring again**: the first round against the median of the others. That is the
# noise of *one* round. The table is judged against the median of *all* rounds, which is calmer, so a good table may
# well lie below it.


# %%
def by_line(x, y):
    """For each network what a line through all others says."""
    others = [np.arange(len(x)) != i for i in range(len(x))]
    return np.array([np.polyval(np.polyfit(x[o], y[o], 1), at) for o, at in zip(others, x, strict=True)])


def mape(values, name):
    return 100 * tables.compare(values, measured[name]).mape


compared = {}
for name, space in everything.items():
    sums = {m: np.array(list(map(LookupTable.build(space, m), archs[name]))) for m in ("params", "macs")}
    compared[f"{name}: error (%)"] = {
        "a line through parameters": mape(by_line(sums["params"], measured[name]), name),
        "a line through MACs": mape(by_line(sums["macs"], measured[name]), name),
        "latency table": mape(predicted[name], name),
        "latency table, corrected": 100 * corrections[name].after.mape,
        "measured again": 100 * tables.compare(by_round[name][0], np.median(by_round[name][1:], axis=0)).mape,
    }
figures["compared"] = plots.bars(compared)
figures["compared"]

# %%
sentences = []
for name, fitted in corrections.items():
    each = "" if fitted.per_boundary is None else f" and {1e3 * fitted.per_boundary:+.0f} µs a boundary"
    floor = list(compared[f"{name}: error (%)"].values())[-1]
    sentences.append(
        f"**{name}**: the table alone is off by {fitted.before.mape:.1%}, with an overhead of {fitted.overhead:+.2f} ms"
        f"{each} by **{fitted.after.mape:.1%}**; measured again, a network differs by {floor:.1f} %."
    )
Markdown("\n\n".join(sentences))

# %% [markdown]
# Where the corrected table is near or below "measured again", this measurement cannot tell its error from noise. Where
# it lies clearly above, pieces do influence each other (caches, layouts), or the machine was busier while the networks
# ran than while the table was made. A bar "measured again" of more than a few percent says so: run this again on a
# quiet machine. A line through the MACs is a fair rival where all blocks are of one kind; it tends to fail where kinds
# differ, as in section 1.
#
# The corrected table is a table again, with the correction in its provenance. A search can use it at once:

# %%
corrected = {name: fitted.apply(priced[name]) for name, fitted in corrections.items()}
for name, table in corrected.items():
    table.save(cfg.out_dir / f"{name.replace(':', '-')}-corrected.json")
main = cfg.spaces_timed[0]
print(f"the first network of {main}: {priced[main](archs[main][0]):.2f} ms by the table, ", end="")
print(f"{corrected[main](archs[main][0]):.2f} ms corrected, measured {measured[main][0]:.2f} ms")

# %% [markdown]
# ## 8 · A table that does not fit
#
# A table is only right for the very space that it was made for: its layers, choices, input size and classes. The file
# holds a **fingerprint** of the space, its unit and its provenance, and is checked when it is read. Here are seven ways
# to be wrong.

# %% tags=["nbval-check-output"]
small, other = spaces.create("spos:course"), spaces.create("fbnet:course")
path = cfg.out_dir / "table.json"
LookupTable.build(small, "macs").save(path)
text = path.read_text()
entry = text[text.index('"shuffle3"') : text.index('"shuffle5"')]  # one option with its figure
figure = entry.split(": ")[1].rstrip(", ")
wrong = {
    "another space": (text, other),
    "wrong unit": (text.replace('"unit": "MACs"', '"unit": "FLOPs"'), small),
    "an option is missing": (text.replace(entry, "", 1), small),
    "a key stands twice": (text.replace(entry, entry * 2, 1), small),
    "a negative cost": (text.replace(entry, entry.replace(figure, "-1"), 1), small),
    "no number": (text.replace(entry, entry.replace(figure, "NaN"), 1), small),
    "cut short": (text[:-40], small),
}
for what, (content, space) in wrong.items():
    path.write_text(content)
    try:
        LookupTable.load(path, space)
    except errors.TableError as error:
        print(f"{what}: {str(error).replace(str(path), path.name)}\n")

# %% [markdown]
# What no check can see: whether the table was measured on *your* machine. The project stores tables in `lookup/`, of
# MACs, parameters and of one CPU's latency. Read the provenance before you trust one.

# %%
stored = tables.stored(everything[main], "latency_ms", cfg.backend)
if stored:
    apart = tables.compare([stored(arch) for arch in archs[main]], measured[main])
    print(", ".join(f"{key}: {value}" for key, value in stored.provenance.items()))
    print(f"for the networks measured here: {apart}")
else:
    print(f"no latency table of {main} is stored")

# %% [markdown]
# ### Other projects' formats
#
# `tables.read_table` also reads WZDNAS's YAML, the keys of ProxylessNAS and Once-for-All, and a plain matrix in CSV,
# blocks × options, such as a spreadsheet writes. What does not fit the space is refused, as above.

# %%
tables.write_csv(first, cfg.out_dir / "table.csv")
again = tables.read_table(cfg.out_dir / "table.csv", first.space)
assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(first.entries, again.entries, strict=True))
print((cfg.out_dir / "table.csv").read_text()[:300], "...")

# %% [markdown]
# ## 9 · Another device
#
# PyTorch is heavy for a Raspberry Pi, and you do not want it on a phone. So the pieces travel as ONNX files, with
# one Python file that measures them. It needs NumPy and ONNX Runtime, nothing else:
#
# ```text
# python -m nasedu kit --space yolo:course --out kit/      # here: export all pieces and whole networks
# python run_kit.py                                        # there: measure; stop and go on as you like
# python -m nasedu import-kit kit/                         # here again, with results.jsonl copied back
# ```
#
# Now for real, with a small space; the "other device" is another process on this machine.

# %%
folder, imported = cfg.out_dir / "kit", None
if cfg.kit_space != "none":
    tiny = spaces.create(cfg.kit_space, depth=cfg.kit_depth, input_size=cfg.kit_pixels)
    packed = kit.write_kit(tiny, folder, cfg.kit_networks, cfg.seed, workers=2)
    files = [entry for entry in packed["entries"] if entry["file"]]
    size = sum((folder / entry["file"]).stat().st_size for entry in files)
    print(f"{len(files)} ONNX files, {size / 1e6:.2f} MB; a manifest; {kit.write.RUNNER}")
else:
    print("The kit is skipped.")

# %%
if cfg.kit_space != "none":
    command = [sys.executable, "run_kit.py", "--repeats", str(cfg.repeats)]
    told = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    print("\n".join(told.split("\n")[:5]), "...", sep="\n")
    imported = kit.import_kit(folder)
    print(imported)

# %% [markdown]
# The table says where it comes from, so that nobody takes it for that of another machine. And as above whole networks,
# measured on the device, tell what it is worth there:

# %%
if imported and imported.correction:
    points = predictions(imported.correction)
    figures["kit"] = plots.scatter(points, diagonal=True, xlabel="measured (ms)", ylabel="predicted (ms)")
    display(figures["kit"])
    imported.corrected.save(cfg.out_dir / "other-device.json")
else:
    print("Skipped: a correction needs a kit with at least 10 networks.")

# %% [markdown]
# A kit that was cut short on the way, or results of another kit, are refused like a table that does not fit:

# %%
if imported:
    short = (folder / "results.jsonl").read_text().split("\n")[:-4]
    (cfg.out_dir / "short.jsonl").write_text("\n".join(short) + "\n")
    try:
        kit.import_kit(folder, cfg.out_dir / "short.jsonl")
    except errors.KitError as error:
        print(str(error).replace(f"{cfg.out_dir}/", ""))

# %% [markdown]
# ## Summary
#
# - MACs of a convolution: $K^2 \cdot C_\text{in}/\text{groups} \cdot C_\text{out} \cdot H \cdot W$ of the output. Two
#   FLOPs each.
# - Early layers hold the activation memory, late layers the weights. Layers that move much and compute little are
#   slower than their MACs say.
# - Time with warm-up, a median, a spread; write down backend, threads, batch size and device.
# - A table of pieces prices a billion networks. It is exact for what is counted; for latency it needs a correction and
#   a check on whole networks, held out.
# - For another device: `kit`, `run_kit.py`, `import-kit`.
#
# **Pitfalls**
#
# - *FLOPs that are MACs.* A factor of 2 between papers, sometimes within one.
# - *One run.* The first is the slowest; it measures the allocator.
# - *A GPU without waiting.* Its calls return before it is done: time with events, as the backend `cuda` does.
# - *Another backend.* A table from PyTorch says little about ONNX Runtime on the same chip.
# - *A busy machine.* Noise mostly adds. Look at `noisy`, close the browser, repeat.
# - *A good fit by construction.* A correction judged on the networks that it was fitted on flatters itself.
#
# **Further reading**
#
# - Latency tables: Cai, Zhu, Han, *ProxylessNAS*, ICLR 2019 (section 3.3.1 and appendix); Wu et al., *FBNet*, CVPR
#   2019; Cai et al., *Once-for-All*, ICLR 2020
# - Why MACs mislead: Ma, Zhang, Zheng, Sun, *ShuffleNet V2*, ECCV 2018 (section 2)
# - Intensity: Williams, Waterman, Patterson, *Roofline*, Communications of the ACM, 2009
# - Beyond sums: Zhang et al., *nn-Meter*, MobiSys 2021, on which layers a device fuses
#
# What a search does with such a table, as a term in its loss, is notebook 11.

# %%
report = pd.DataFrame(compared).round(1)
course.finish(
    cfg,
    summary=report,
    figures=figures,
    results={
        "equal_macs_ms": equal_macs_ms,
        "backends": {name: found.median for name, found in speeds.items()},
        "batch_ms": many,
        "additivity": judged.to_dict("index"),
        "corrected": {name: fitted.after.mape for name, fitted in corrections.items()},
        "compared": compared,
        "table_seconds": seconds,
        "kit": str(imported) if imported else None,
    },
)
