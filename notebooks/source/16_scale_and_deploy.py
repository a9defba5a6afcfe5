# %% [markdown]
# # From a search to a device
#
# You take a searched network to the device that it was searched for, and count what each step on the way costs.
#
# A search ends with a network in PyTorch. A user has a phone, a camera or a board. Between the two lie prices that the
# search got wrong, a device that grows warm, numbers of 8 bits, a picture of another shape, and a training too large
# for one process. Each of these steps is a few lines. Each can go wrong without a message.
#
# **Afterwards you can**
#
# 1. say what it costs to search for one device and to run on another;
# 2. estimate a latency table from whole networks, where no block can be timed alone;
# 3. tell when a device is warm, and what it takes then;
# 4. fold batch normalisation, turn weights into whole numbers, and bound the error;
# 5. bring a picture into a network and its boxes back, and find the faults of a training on several processes.
#
# **You need** convolutions, and lookup tables (notebook 10).
#
# | preset | what it runs | time, two CPU cores |
# |---|---|---|
# | `smoke` | 12 whole networks, a trace of a second: only proves that every cell works | 20 seconds |
# | `quick` | 40 whole networks in three rounds, a trace of half a minute | 2 minutes |
# | `full` | 60 networks in five rounds, a trace of a minute | not measured |
# | `gpu` | the same | not measured |
#
# Close other programs for the time of a run: they take the processor from what is being timed.

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu; it sets every parameter below that is None
networks: int = None  # whole networks that are measured in section 2, at least 10
rounds: int = None  # how often each of them is measured
repeats: int = None  # timed runs of every measurement, at least 3
seconds: float = None  # how long the trace of section 5 is
runs: int = None  # searches of each kind in sections 1 and 7, each with its own seed
evaluations: int = None  # architectures that processes share in section 6
images: int = None  # test images of the detector, at least 1
epochs: int = None  # of the training on one and on two processes
threads: int = None  # CPU threads of every measurement
seed: int = None  # of every random choice
picture_file: str = None  # a photograph to detect in at the end; None: a scene of digits
device: str = None  # cpu: what is deployed here runs there
out_dir: str = None  # folder of the results; None: one per set of parameters

# %%
import json
import os
import subprocess
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from torch import nn
from torchvision.ops import nms
from torchvision.transforms.v2.functional import to_pil_image

from nasedu import (
    course,
    data,
    deploy,
    detection,
    hardware,
    plots,
    randomness,
    ranking,
    resources,
    search,
    spaces,
    tables,
    wzdnas,
)
from nasedu.course.checks.deployment import (
    check_fold,
    check_letterbox,
    check_quantise,
    check_steady,
    check_training,
    sound,
)
from nasedu.data import benchmark
from nasedu.data.images import letterbox
from nasedu.deploy import kit
from nasedu.errors import check_number, check_whole
from nasedu.hardware.latency import measure_onnx
from nasedu.plots.forms import Interval
from nasedu.tables import LookupTable

# a measurement that was disturbed says so itself: the warning would say it again
warnings.filterwarnings("ignore", category=hardware.NoisyMeasurement)
cfg = course.setup("16_scale_and_deploy", globals())
limits = {"networks": (10, 10_000), "rounds": (1, 100), "repeats": (3, 10_000), "runs": (2, 1000)}
limits |= {"images": (1, 10_000), "epochs": (1, 1000), "evaluations": (1, 10**6)}
# a wrong value ends here, and not after minutes
for name, (least, most) in (limits | {"threads": (1, 1024)}).items():
    check_whole(name, getattr(cfg, name), least, most)
check_number("seconds", cfg.seconds, 0, 3600, above=True)
torch.set_num_threads(cfg.threads)
cfg

# %% [markdown]
# ## 1 · Searched for one device, run on another
#
# A search that looks at a price finds a network for the device that has this price. What if it runs elsewhere? The
# benchmark `cells_digits` answers without a training: every cell of its space was trained to the end. So the best
# cell within any price is known, for every device whose prices are known.

# %%
truth = benchmark.load("cells_digits")
space = spaces.create(truth.space_name, **truth.space_options)
archs = {text: space.parse(text) for text in truth.distinct}
# searches look at the validation accuracy, and are judged by the test accuracy
val, test = (truth.scores(part)[list(archs)] for part in ("val", "test"))
print(f"{len(archs)} different cells, test accuracy {test.min():.0f} to {test.max():.0f} %")

# %% [markdown]
# Six prices. MACs are what papers like to count. The project stores a table of its own machine. This machine is timed
# in two runtimes, block by block. Then there is a **kit**: files that another device runs without PyTorch. Here the
# other device is a process of its own, which runs OpenVINO in whole numbers of 8 bits, as a board would. The last one
# is **made up**: to the *array processor* a convolution is cheap, but whatever moves a map costs as much.

# %%
timing = {"threads": cfg.threads, "repeats": cfg.repeats}
macs, here = LookupTable.build(space, "macs"), {}
for backend in ("torch", "onnxruntime"):
    with course.Bar(desc=backend, unit="block") as bar:
        here[backend] = LookupTable.build(space, "latency_ms", backend=backend, progress=bar.show, **timing)

# %%
folder, runtime = cfg.out_dir / "kit", ["--runtime", "openvino", "--precision", "int8"]
with course.Bar(desc="export", unit="file") as bar:
    deploy.write_kit(space, folder, kit.KitConfig(networks=0, spares=0, int8=True), progress=bar.show)
command = [sys.executable, "run_kit.py", *runtime, "--repeats", str(cfg.repeats)]
told = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
imported = deploy.import_kit(folder, folder / "results-openvino-int8.jsonl")
print(told.split("\n")[0])

# %%
# "none" alone moves nothing
moves = [torch.tensor([0.0, 1.0, 1.2])[: len(e)] for e in macs.entries]
prices = {
    "MACs": macs,
    "stored table": tables.stored(space, "latency_ms"),
    "here, PyTorch": here["torch"],
    "here, ONNX Runtime": here["onnxruntime"],
    "kit, OpenVINO int8": imported.table,
    "array processor": lambda arch: 1 + sum(float(m[i]) for m, i in zip(moves, arch, strict=True)),
}
cost = pd.DataFrame({name: {t: price(a) for t, a in archs.items()} for name, price in prices.items()})
cost.corr("spearman").round(2)

# %% [markdown]
# The table shows how alike the prices order the cells: 1 is the same order. Now search for each of them: take the cell
# with the best validation accuracy within a limit. Then run it on every other device. The **regret** there is how much
# more accurate the device's own best cell is that takes *no longer* than the cell which was brought. A search sees half
# of the cells, drawn by its seed.


# %%
def regrets(seen, judged, cost, seed):
    """Of a search that sees half of the networks: mean regret over limits, by (searched for, run on).

    seen: what the search looks at, by network. judged: what counts. cost: a column for every device.
    """
    half = seen.sample(frac=0.5, random_state=seed).index
    seen, cost, found = seen[half], cost.loc[half], {}
    for a, b in product(cost, repeat=2):
        brought = [seen[cost[a] <= limit].idxmax() for limit in cost[a].quantile(np.linspace(0.2, 1, 9))]
        own = [seen[cost[b] <= cost.loc[one, b]].idxmax() for one in brought]
        found[a, b] = np.mean(judged[own].to_numpy() - judged[brought].to_numpy())
    return found


first = regrets(val, test, cost, cfg.seed)
print(f"for MACs, on the array processor: {first['MACs', 'array processor']:+.2f} points")

# %% [markdown]
# Think first: a cell was searched for with MACs as its price. Where does it do worst?

# %%
others = [name for name in prices if name != "MACs"]
device_guess = course.predict("Where is a cell that was searched by MACs the worst choice?", others)

# %% [markdown]
# All pairs as a matrix, the mean over all seeds, from limits at the cheapest fifth of the cells to the whole. A row is
# what was searched for, a column where it runs. The diagonal is 0.


# %%
def over_seeds(seen, judged, cost):
    """The matrix of mean regrets, and those pairs whose 95 % interval over the seeds lies above 0."""
    rows = pd.DataFrame([regrets(seen, judged, cost, cfg.seed + run) for run in range(cfg.runs)])
    mean = rows.mean().unstack()[list(cost)].loc[list(cost)]
    clear = [pair for pair in rows if pair[0] != pair[1] and ranking.paired(rows[pair]).low > 0]
    assert np.allclose(np.diag(mean), 0), "a device's own network cannot beat itself"
    return mean, clear


matrix, clear = over_seeds(val, test, cost)
look = {"numbers": ".2f", "bar": "regret (points)", "ylabel": "searched for"}
figures = {"matrix": plots.heat(matrix, **look)}
figures["matrix"]

# %%
pairs = len(prices) * (len(prices) - 1)
dearest = max(clear, key=lambda pair: matrix.loc[pair], default=None)
Markdown(
    f"Of {pairs} pairs **{len(clear)}** cost something that {cfg.runs} seeds can tell (95 %, Student's t)."
    + (
        f" The dearest: searched for {dearest[0]}, run on {dearest[1]}, {matrix.loc[dearest]:.2f} points."
        if clear
        else ""
    )
)

# %% [markdown]
# What you said, and what came:

# %%
by_macs = matrix.loc["MACs", others]
told = ", ".join(f"{name}: {value:.2f}" for name, value in by_macs.items())
device_guess.came(by_macs.idxmax(), f"Regret of cells searched by MACs, in points: {told}.")

# %% [markdown]
# A number below 0 is no error. Cells are chosen by their validation accuracy, which is noisy, and judged by the test
# accuracy. So a cell that was brought may be better by luck.
#
# ### One front for each device
#
# A **front** holds the cells that no other beats in price without losing accuracy. The **hypervolume** is the area
# below it, up to a reference point, so a larger one is better. Both fronts below are priced on the same device. One
# was found with its prices, the other with MACs.

# %%
worst = float(val.min())
fronts, areas = {}, {}
for name in others:
    limit = float(cost[name].max())
    fronts[name] = {}
    for by in (name, "MACs"):
        found = val.index[search.pareto.efficient(cost[by].tolist(), val.tolist())]
        x, y = cost.loc[found, name].to_numpy(), val[found].to_numpy()
        fronts[name]["its own prices" if by == name else "MACs"] = (x, y)
        areas[name, by] = search.pareto.hypervolume(x, y, limit, worst)
look = {"share": "y", "xlabel": "price on this device", "ylabel": "validation accuracy (%)"}
figures["fronts"] = plots.scatter(fronts, **look)
figures["fronts"]

# %% [markdown]
# How much of its own area the front by MACs reaches:

# %%
kept = {name: areas[name, "MACs"] / areas[name, name] for name in others}
assert all(share <= 1 + 1e-9 for share in kept.values()), "no front is larger than the device's own"
Markdown(", ".join(f"{name}: **{share:.1%}**" for name, share in kept.items()))

# %% [markdown]
# ### One supernet, three runtimes
#
# The same for detectors. In notebook 15 one supernet judged a thousand networks with its own weights. No network has
# to be judged again for another runtime, so a front for each costs a lookup. Regret in points of one-shot AP:

# %%
judged = pd.read_csv(benchmark.FOLDER / "frontier_digits.csv.gz").set_index("arch")
one_shot = 100 * judged.one_shot_fair[~judged.known]
truth_meta = benchmark.load("detectors_digits")
detectors = spaces.create(truth_meta.space_name, **truth_meta.space_options)
ways = {
    "PyTorch": ("torch", "float32"),
    "ONNX Runtime": ("onnxruntime", "float32"),
    "OpenVINO int8": ("openvino", "int8"),
}
drawn = {text: detectors.parse(text) for text in one_shot.index}
clocks = {name: tables.stored(detectors, "latency_ms", *way) for name, way in ways.items()}
prices_there = pd.DataFrame({name: {t: clock(a) for t, a in drawn.items()} for name, clock in clocks.items()})
matrix_there, clear_there = over_seeds(one_shot, one_shot, prices_there)
figures["supernet"] = plots.heat(matrix_there, **look)
figures["supernet"]

# %% [markdown]
# ## 2 · A device that cannot time blocks
#
# The matrix needs prices. Notebook 10 times blocks, and adds them up. Some devices run whole networks only: a compiler
# for a neural processor takes a whole model and fuses what it likes. And elsewhere blocks can be timed, but their sum
# is off. Then whole networks are all there is. But there are more prices than networks that anybody likes to measure.
#
# So start from a **prior**: prices that are wrong in a way that we expect. Then let the networks move each price as far
# as they can tell it. That is ridge regression: of all prices $p$, take those with the least
# $\lVert t - Xp \rVert^2 + \lambda \lVert p - p_0 \rVert^2$. Here $X$ says which options a network has, $t$ its times,
# $p_0$ the prior, and $\lambda$ is the strength of the prior. First whole networks, timed here:

# %%
some, blocks = tables.random_networks(space, cfg.networks, cfg.seed), here["torch"]
with course.Bar(desc="networks", unit="network") as bar:
    options = timing | {"rounds": cfg.rounds, "seed": cfg.seed, "progress": bar.show}
    measured = np.array(tables.measure_networks(space, some, **options))
summed = np.array([blocks(arch) for arch in some])
print(f"{len(some)} networks take {measured.min():.2f} to {measured.max():.2f} ms")
print(f"the sum of the blocks: {tables.compare(summed, measured)}")

# %% [markdown]
# Ridge regression from scratch. With few networks and many options the small matrix is the one with a row for each
# network: $p = p_0 + X^\top (XX^\top + \lambda I)^{-1} (t - Xp_0)$. A column of ones lets it find a constant.


# %%
def ridge(X, prior, ms, strength):
    """Prices near the prior that predict the measured times."""
    kernel = X @ X.T + strength * np.eye(len(X))
    return prior + X.T @ np.linalg.solve(kernel, ms - X @ prior)


picks = np.array(some)
one_hot = [np.eye(n)[picks[:, d]] for d, n in enumerate(space.choices)]
X = np.hstack([np.ones((len(picks), 1)), *one_hot])
prior = np.concatenate([[blocks.fixed], *(entry.numpy() for entry in blocks.entries)])
for strength in (1e6, 1.0, 1e-6):
    off = np.abs(X @ ridge(X, prior, measured, strength) / measured - 1).mean()
    print(f"strength {strength:g}: error {off:.1%} on the networks that it has seen")

# %% [markdown]
# A weak prior looks best here. But it has *seen* these networks. The honest error is that of a network which was left
# out. For ridge regression no fit has to be repeated for it: with $K = XX^\top + \lambda I$, the error of network $i$
# when it is left out is $[K^{-1}(t - Xp_0)]_i / [K^{-1}]_{ii}$. The long way and the short way:

# %%
inverse = np.linalg.inv(X @ X.T + np.eye(len(X)))
short = inverse @ (measured - X @ prior) / np.diag(inverse)
long = []
for i in range(len(X)):
    rest = np.arange(len(X)) != i
    long.append(measured[i] - X[i] @ ridge(X[rest], prior, measured[rest], 1.0))
by_hand, at_once = np.abs(long).mean(), np.abs(short).mean()
print(f"left out: {by_hand:.4f} ms the long way, {at_once:.4f} ms the short way")
assert np.allclose(long, short), "both ways must give the same errors"

# %% [markdown]
# So the strength can be chosen by it. The package's `tables.estimate` does this, and three things more. It scales the
# prior first, so that MACs serve as well as milliseconds. It counts errors as shares of the time. And options of one
# name learn from one another: if 3×3 convolutions are slower than thought in five places, they are in the sixth. Its
# errors are of networks that took no part at all, not even in choosing the strength.

# %%
found = {
    "blocks as prior": tables.estimate(blocks, some, measured, seed=cfg.seed),
    "MACs as prior": tables.estimate(macs, some, measured, seed=cfg.seed),
}
for name, one in found.items():
    print(f"{name}: {one}")

# %% [markdown]
# Predicted over measured. A right prediction lies on the line. The estimate's predictions are of networks that it has
# not seen.

# %%
points = {f"sum of blocks: {found['blocks as prior'].sum.mape:.1%}": (measured, summed)}
for name, one in found.items():
    points[f"{name}: {one.after.mape:.1%}"] = (measured, np.array(one.held_out))
look = {"xlabel": "measured (ms)", "ylabel": "predicted (ms)"}
figures["estimated"] = plots.scatter(points, diagonal=True, **look)
figures["estimated"]

# %% [markdown]
# How many networks does it take? The project measured 60 networks of three spaces on a quiet machine. Where that file
# is there, the next cell shows its errors, held out, by the number of networks.

# %%
file = resources.folder("datasets") / "estimated_tables.json"
stored = json.loads(file.read_text()) if file.exists() else {"spaces": {}}
shown = {name: pd.DataFrame(one["errors"]).T for name, one in stored["spaces"].items()}
told = pd.concat(shown, names=["space", "networks"]) if shown else pd.DataFrame()
(100 * told).round(1) if len(told) else "the project's errors are not stored here"

# %% [markdown]
# For your own device: `nasedu kit --networks 60` exports the networks, `run_kit.py --only networks` measures them
# there, and `nasedu import-kit DIR --estimate` makes the table. The times may also come from another tool, as a CSV
# with the columns `network` and `ms`.
#
# ## 3 · Whole numbers: folding first
#
# A device without fast floats computes with **int8**: whole numbers from −127 to 127, and a scale that says what a step
# of 1 is worth. Before weights become whole numbers, batch normalisation has to go. In evaluation mode it computes
# $y = \gamma\,(x - \mu) / \sqrt{\sigma^2 + \epsilon} + \beta$ for each channel, a line. A convolution is linear, too,
# so one convolution can do both. Here for one output channel:

# %% tags=["nbval-check-output"]
conv, norm = nn.Conv2d(2, 1, 1, bias=False), nn.BatchNorm2d(1).eval()
for tensor, values in ((conv.weight, [2.0, -1.0]), (norm.weight, [3.0]), (norm.bias, [0.5])):
    tensor.data = torch.tensor(values).reshape(tensor.shape)
norm.running_mean, norm.running_var = torch.tensor([4.0]), torch.tensor([9.0])
x = torch.tensor([1.0, 5.0]).reshape(1, 2, 1, 1)
scale = 3.0 / (9.0 + norm.eps) ** 0.5
by_hand = scale * (2.0 * 1 - 1.0 * 5) + (0.5 - 4.0 * scale)
both = norm(conv(x)).item()
print(f"one convolution by hand {by_hand:.4f}, both layers {both:.4f}")
assert abs(by_hand - both) < 1e-4, "both must agree"

# %% [markdown]
# ### Exercise 16.1: fold batch normalisation
# *Difficulty 2 of 3, about 15 min.* Write `fold(conv, norm)` for any `nn.Conv2d` and the `nn.BatchNorm2d` behind it.
# Return the weight and the bias of one convolution that does what both do in evaluation mode. The convolution may have
# groups, and a bias of its own. Both layers must stay as they are.
#
# <details><summary>Hint 1</summary>The first axis of a weight is its output channels, in groups as well. Which shape
# must a scale for each output channel have, to be multiplied with (C_out, C_in / groups, K, K)?</details>
# <details><summary>Hint 2</summary>What the convolution's own bias adds passes through the normalisation, as
# everything does.</details>


# %% tags=["stub"]
def fold(conv, norm):
    raise NotImplementedError


# %% tags=["solution"]
def fold(conv, norm):
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    own = 0 if conv.bias is None else conv.bias
    return conv.weight * scale.reshape(-1, 1, 1, 1), norm.bias + (own - norm.running_mean) * scale


# %% tags=["nbval-check-output"]
check_fold(fold)

# %% [markdown]
# Folding has a price. Each channel of the weight was multiplied by its own number, so the channels of a folded weight
# differ in size. Now whole numbers: divide by a scale, round. With one scale for the whole weight:


# %%
def whole_numbers(weight):
    """int8 with one scale for the whole weight, from -127 to 127."""
    scale = np.abs(weight).max() / 127
    return np.round(weight / scale).astype(np.int8), scale


draw = randomness.rng(cfg.seed, "weights")
# as folding leaves them: each channel of another size
sizes = 10.0 ** draw.uniform(-2, 0, 32)
weight = draw.normal(size=(32, 16, 3, 3)) * sizes.reshape(-1, 1, 1, 1)
whole, scale = whole_numbers(weight)
used = pd.Series([len(np.unique(channel)) for channel in whole])
middle = used.median()
print(f"of 255 numbers a channel uses {used.min()} to {used.max()}, in the middle {middle:.0f}")

# %% [markdown]
# The largest channel sets the scale for all. A small one is left with a handful of numbers. A scale for each output
# channel mends that, and costs one multiplication for each number that comes out.
#
# ### Exercise 16.2: a scale for every channel
# *Difficulty 2 of 3, about 15 min.* Write `quantise(weight)` for a NumPy array whose first axis is output channels.
# Return int8 of the same shape, and the scales (channels,). The largest weight of a channel becomes 127 or −127, and
# **no weight may be off by more than half a step**. A channel may be all zeros, as pruning leaves them. Its scale may
# be any number above 0.
#
# <details><summary>Hint 1</summary><code>np.abs(weight).reshape(len(weight), -1).max(1)</code> is the largest of each
# channel. What is it for a channel of zeros, and what does a division by it give?</details>
# <details><summary>Hint 2</summary><code>astype(np.int8)</code> cuts towards 0: round first.</details>


# %% tags=["stub"]
def quantise(weight):
    raise NotImplementedError


# %% tags=["solution"]
def quantise(weight):
    most = np.abs(weight).reshape(len(weight), -1).max(1)
    scale = np.where(most > 0, most / 127, 1.0)
    column = scale.reshape(-1, *[1] * (weight.ndim - 1))
    return np.round(weight / column).astype(np.int8), scale


# %% tags=["nbval-check-output"]
check_quantise(quantise)

# %% [markdown]
# What both ways lose, as the error of each channel's result on random input, in % of the result's own size:

# %%
tops = np.abs(weight).reshape(32, -1).max(1).reshape(-1, 1, 1, 1) / 127
ways = {"one scale": scale * whole, "one for each channel": tops * np.round(weight / tops)}
given = draw.normal(size=(weight[0].size, 400))  # windows that the convolution reads
right = weight.reshape(32, -1) @ given
lost = {}
for name, kept_weight in ways.items():
    gap = (kept_weight - weight).reshape(32, -1) @ given
    lost[name] = (sizes, 100 * gap.std(1) / right.std(1))
look = {"log": "xy", "xlabel": "size of the channel's weights", "ylabel": "error of its result (%)"}
figures["int8"] = plots.scatter(lost, **look)
figures["int8"]

# %% [markdown]
# With one scale the error of a small channel is large, since its step is that of the largest channel. With a scale of
# its own each channel has the same error, whatever its size.
#
# ### A whole detector in int8
#
# Maps become whole numbers, too. Their scales are not known before a network has seen images, so a few training images
# calibrate them: 32 here. The detector is one of the hundred of notebook 15, the hand-designed network. Its head stays
# in float32.

# %%
detector = wzdnas.load(benchmark.FOLDER / "detector_digits")
scenes = {"image_size": detector.side, "difficulty": 0.0}
train, test_set = (
    data.detection("digits", split, size=size, seed=cfg.seed, **scenes)
    for split, size in (("train", 32), ("test", cfg.images))
)
calibration, _ = next(iter(detection.Batches(train, len(train), shuffle=False)))
files = {}
for precision, given in {"float32": None, "int8": calibration}.items():
    files[precision] = cfg.out_dir / f"{precision}.onnx"
    deploy.export_detector(detector, files[precision], calibration=given)

# %%
rows = {("PyTorch", "float32"): {"AP (%)": 100 * detector.evaluate(test_set).ap}}
for (precision, file), runtime in product(files.items(), ("onnxruntime", "openvino")):
    clock = {"backend": runtime, "precision": precision, "repeats": cfg.repeats, "threads": cfg.threads}
    rows[runtime, precision] = {
        "AP (%)": 100 * deploy.load_onnx(file, runtime).evaluate(test_set).ap,
        "MB": file.stat().st_size / 1e6,
        "ms": measure_onnx(file, detector.space.input_shape, **clock).median,
    }
deployed = pd.DataFrame(rows).T.round(2)
deployed

# %% [markdown]
# Size is a quarter, whatever the machine. Speed depends on it: a processor without instructions for products of int8
# has to make floats of them again.
#
# One network says nothing of a ranking. 36 detectors of that space were trained, exported and timed by the project,
# and so were 36 classifiers (`datasets/runtimes_digits.py`). Does int8 change their order? Kendall's τ of the order in
# int8 with that in float32, once by score, once by latency:

# %%
agreed = {}
for kind in ("detectors", "classifiers"):
    told = json.loads((benchmark.FOLDER / f"runtimes_{kind}.json").read_text())["found"]
    agreed[kind] = {
        f"{what}, {runtime}": Interval(
            *(told[f"{what}: {runtime}_int8 beside {runtime}_float32"][k] for k in ("tau", "low", "high"))
        )
        for what, runtime in product(("score", "ms"), ("onnxruntime", "openvino"))
    }
figures["order"] = plots.dots(
    agreed,
    xlabel="Kendall's τ of int8 with float32",
    xlim=(0, 1),
)
figures["order"]

# %% [markdown]
# ## 4 · The picture's way in, and the boxes' way out
#
# A detector reads a square. A photograph is none. **Letterboxing** scales it until it fits, keeps its shape, and fills
# the rest with grey. Boxes go the same way, and those that the network finds have to come back.

# %%
size, side = (480, 640), 320  # height and width of the picture, side of the square
box = torch.tensor([[100.0, 50.0, 300.0, 250.0]])
scale = side / max(size)
top = (side - round(size[0] * scale)) // 2  # the picture lies in the middle
by_hand = [100 * scale, 50 * scale + top, 300 * scale, 250 * scale + top]
print(f"by hand {by_hand}, package {letterbox(box, size, side)[0].tolist()}")
assert np.allclose(by_hand, letterbox(box, size, side)), "both must agree"

# %% [markdown]
# ### Exercise 16.3: letterbox and back
# *Difficulty 2 of 3, about 20 min.* Write `place(boxes, size, side, back)` for NumPy boxes (n, 4), left, top, right,
# bottom. `size` is (height, width) of the picture. With `back=False` the boxes are the picture's, and their places in
# the square are due. With `back=True` it is the other way round, and what reaches beyond the picture is cut at its
# edges. Sides of the scaled picture are rounded to whole pixels, 1 at least. Its corner is rounded down.
#
# <details><summary>Hint 1</summary>After rounding, x and y have scales of their own: scaled width / width, and scaled
# height / height.</details>
# <details><summary>Hint 2</summary>There: scale, then shift. Back: which comes first?</details>


# %% tags=["stub"]
def place(boxes, size, side, back):
    raise NotImplementedError


# %% tags=["solution"]
def place(boxes, size, side, back):
    height, width = size
    rows, columns = (max(1, round(n * side / max(size))) for n in size)
    scale = np.array([columns / width, rows / height] * 2)
    corner = np.array([(side - columns) // 2, (side - rows) // 2] * 2)
    if not back:
        return boxes * scale + corner
    return np.clip((boxes - corner) / scale, 0, [width, height] * 2)


# %% tags=["nbval-check-output"]
check_letterbox(place)

# %% [markdown]
# The last step is suppression: of boxes that overlap, the best one stays. A device has no torchvision, so in NumPy, and
# compared:


# %%
def suppress(boxes, scores, most):
    """Places of the boxes that stay, best first: each drops what overlaps it too much."""
    left, kept = list(np.argsort(-scores, kind="stable")), []
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    while left:
        best = left.pop(0)
        kept.append(int(best))
        low = np.maximum(boxes[left, :2], boxes[best, :2])
        sides = np.clip(np.minimum(boxes[left, 2:], boxes[best, 2:]) - low, 0, None)
        both = sides.prod(1)
        # the overlap as a share of what both cover together
        shares = both / (areas[left] + areas[best] - both)
        left = [i for i, share in zip(left, shares, strict=True) if share <= most]
    return kept


corners = draw.uniform(0, 60, (80, 2))
boxes, scores = np.hstack([corners, corners + draw.uniform(5, 30, (80, 2))]), draw.random(80)
theirs = nms(torch.tensor(boxes), torch.tensor(scores), 0.5).tolist()
print(f"by hand {len(suppress(boxes, scores, 0.5))} of 80 stay, torchvision keeps {len(theirs)}")
assert suppress(boxes, scores, 0.5) == theirs, "both must keep the same boxes"

# %% [markdown]
# ## 5 · A device grows warm
#
# A single measurement says what a device takes *now*. A phone in use slows down once it is warm, and a processor lowers
# its clock. So time a network over and over, and look at the trace.

# %%
network = space.build(some[0]).eval()
picture = torch.rand(1, *space.input_shape)
clock, ms = time.perf_counter, []
with torch.inference_mode():
    end = clock() + cfg.seconds
    while (start := clock()) < end or len(ms) < 40:
        network(picture)
        ms.append(1e3 * (clock() - start))
trace = np.array(ms)
# about sixty windows, each of several runs
parts = np.array_split(trace, max(4, min(60, len(trace) // 10)))
quantiles = {"median": 0.5, "slowest tenth": 0.9}
shown = {name: [np.quantile(part, q) for part in parts] for name, q in quantiles.items()}
at = np.linspace(0, cfg.seconds, len(parts))
figures["trace"] = plots.lines(shown, at, xlabel="time (s)", ylabel="ms a run", ylim=(0, None))
figures["trace"]

# %% [markdown]
# How far the last quarter is from the first:

# %%
quarter = len(trace) // 4
first, last = np.median(trace[:quarter]), np.median(trace[-quarter:])
print(f"{len(trace)} runs: {first:.3f} ms at first, {last:.3f} ms at last, {last / first - 1:+.1%}")

# %% [markdown]
# ### Exercise 16.4: when is it warm?
# *Difficulty 3 of 3, about 25 min; design.* `ms` holds the times of 600 runs, one after the other. About one run in ten
# is slow, since another program had the processor. The device may grow warm over some hundred runs, or lower its clock
# at once, or be steady from the start. Return how many of the first runs to leave out, so that all others are alike:
# the level from there on must be that at which the device settles, within 1 %. Do not throw away more than 90 steady
# runs. Where it never settles, leave out all of them.
#
# <details><summary>Hint 1</summary>Medians of windows of 30 runs do not see a slow run in ten.</details>
# <details><summary>Hint 2</summary>Go backwards: from the end, how far does the level stay?</details>
# <details><summary>Hint 3</summary>A steady drift is like its neighbours everywhere. Compare the two halves of what
# you keep.</details>


# %% tags=["stub"]
def steady(ms):
    raise NotImplementedError


# %% tags=["solution"]
def steady(ms):
    levels = np.median(ms.reshape(20, -1), axis=1)
    # the level at the end, and how far back it reaches
    alike = np.abs(levels / np.median(levels[-5:]) - 1) < 0.02
    start = 0 if alike.all() else 20 - int(np.argmin(alike[::-1]))
    if 20 - start < 4:
        return len(ms)
    half = (20 - start) // 2
    drift = np.median(levels[-half:]) / np.median(levels[start : start + half]) - 1
    return start * len(ms) // 20 if abs(drift) < 0.01 else len(ms)


# %% tags=["nbval-check-output"]
check_steady(steady)

# %% [markdown]
# ## 6 · Several processes
#
# A training that is too slow for one process is shared. Each of $P$ processes reads its own part of every batch,
# computes its own gradient, and then all take the mean of the gradients. Is that the gradient of the whole batch? For a
# loss that is a mean over images, and parts of equal size, it is:

# %% tags=["nbval-check-output"]
torch.manual_seed(0)
model, images, labels = nn.Linear(6, 3), torch.randn(8, 6), torch.randint(3, (8,))


def gradient(rows):
    """Of the mean loss of some images."""
    model.zero_grad()
    nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()
    return model.weight.grad.clone()


whole_batch = gradient(slice(0, 8))
of_two = (gradient(slice(0, 4)) + gradient(slice(4, 8))) / 2
print(f"one process {float(whole_batch.norm()):.6f}, mean of two {float(of_two.norm()):.6f}")
assert torch.allclose(whole_batch, of_two, atol=1e-6), "the mean of the parts must be the whole"

# %% [markdown]
# Three things can break this. Batch normalisation sees only its own part of a batch. Processes that read the same
# images learn from fewer. And a step of $P$ processes reads $P$ times as many images, so the learning rate that was
# tuned on one process no longer fits: Goyal et al. (2017) let it grow with the images of a step, after a warm-up.
#
# See it: one training on one process and on two, with the same batches. `torchrun` starts the processes, and
# `sync_bn` lets batch normalisation see the whole batch. The curves of both lie on each other.


# %%
def training(processes):
    """The loss after every epoch of a small classifier, and the seconds that it took."""
    folder = cfg.out_dir / f"processes_{processes}"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += ["-m", "nasedu", "train", "fbnet:course", "--arch", "random", "--images", "size=500"]
    command += ["--epochs", str(cfg.epochs), "--set", "sync_bn=true", "--device", "cpu", "--out", str(folder)]
    start = time.perf_counter()
    subprocess.run(command, capture_output=True, text=True, check=True)
    return pd.read_csv(folder / "training.csv"), time.perf_counter() - start


together = {n: training(n) for n in (1, 2)}
curves = {f"{n} process{'es' * (n > 1)}": table["total"].to_numpy() for n, (table, _) in together.items()}
figures["processes"] = plots.lines(curves, range(1, cfg.epochs + 1), xlabel="epoch", ylabel="training loss")
figures["processes"]

# %%
apart = max(abs(a - b) for a, b in zip(*curves.values(), strict=True))
print(f"largest difference {apart:.1e}; {together[1][1]:.0f} s on one process, {together[2][1]:.0f} s on two")

# %% [markdown]
# Two processes take longer to start, and they talk after every step. On two cores with so small a network there is
# little to win. Searches are easier to share: architectures are evaluated one by one, and nobody waits for another.


# %%
def evaluations(workers):
    """Architectures that NASWOT scores in a second, by so many processes that have started."""
    images = torch.rand(8, *space.input_shape, generator=randomness.stream(cfg.seed, "proxy"))
    score = search.ZeroCost(space, "naswot", images)
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        search.random_search(space, score, search.SearchConfig(budget=4 * workers), executor=pool)
        start = time.perf_counter()
        search.random_search(space, score, search.SearchConfig(budget=cfg.evaluations), seed=1, executor=pool)
    return cfg.evaluations / (time.perf_counter() - start)


many = sorted({1, 2, min(4, os.cpu_count())})
rates = [evaluations(workers) for workers in many]
figures["rates"] = plots.dots(
    {f"{n} processes": [rate] for n, rate in zip(many, rates, strict=True)}, xlabel="architectures/s"
)
figures["rates"]

# %%
print(
    ", ".join(f"{n} processes {rate:.1f}/s" for n, rate in zip(many, rates, strict=True)), f"on {os.cpu_count()} cores"
)

# %% [markdown]
# What such a training says of itself, in the form of the next exercise. `reads` has a list for each process: the images
# that it reads in an epoch. `batch` is the batch of one process. `tuned` is what was found to work on a single process.

# %%
{key: str(value)[:60] for key, value in sound().items()}

# %% [markdown]
# ### Exercise 16.5: faults in a distributed training
# *Difficulty 3 of 3, about 25 min; fault.* `training` describes what happens. Return the list of its faults, of these
# names; it may be empty.
#
# - `"overlap"`: processes read the same images. To have as many each, a sampler repeats a few: fewer than there are
#   processes is no fault.
# - `"uneven"`: they take different numbers of steps, so one waits for ever. A last batch may be smaller.
# - `"noise"`: two processes draw the same augmentations.
# - `"rate"`: the learning rate is not the tuned one, grown with the images of a step of all processes. Mind `reduce`:
#   `"mean"` or `"sum"` of the processes' gradients.
# - `"writers"`: not exactly one process writes the checkpoint.
#
# <details><summary>Hint 1</summary>Steps of a process: its images / batch, rounded up.</details>
# <details><summary>Hint 2</summary>A sum of P gradients is P times their mean. A learning rate of 1/P undoes
# that.</details>


# %% tags=["stub"]
def faults(training):
    raise NotImplementedError


# %% tags=["solution"]
def faults(training):
    reads, found = training["reads"], []
    processes = len(reads)
    if sum(map(len, reads)) - len(set().union(*reads)) >= processes:
        found.append("overlap")
    if len({-(-len(part) // training["batch"]) for part in reads}) > 1:
        found.append("uneven")
    if len(set(training["augmentation_seeds"])) < processes:
        found.append("noise")
    # the rate grows with the images of a step of all; a sum of gradients has grown already
    tuned, every = training["tuned"], training["batch"] * processes
    due = tuned["learning_rate"] * every / tuned["batch"]
    due /= processes if training["reduce"] == "sum" else 1
    if not np.isclose(training["learning_rate"], due):
        found.append("rate")
    if len(training["writers"]) != 1:
        found.append("writers")
    return found


# %% tags=["nbval-check-output"]
check_training(faults)

# %% [markdown]
# ## 7 · The verdict: is a price of its own worth its work?
#
# Random search within a limit of this machine's milliseconds, three ways. One looks at the milliseconds. One looks at
# MACs instead, with a limit that leaves as many cells. And one takes a single random cell within the limit. All judge
# by validation accuracy, each draws 30 cells. What is left of the pick by MACs where it takes too long? It is replaced
# by the next one that does not, as a user would do.


# %%
def best_of(drawn, device, limit):
    """Of the drawn cells the best within both the device's limit and this machine's."""
    order = val[drawn][cost.loc[drawn, device] <= limit].sort_values(ascending=False)
    fits = [text for text in order.index if cost.loc[text, "here, PyTorch"] <= budget]
    return test[fits[0]] if fits else np.nan


budget, by_macs_too = cost["here, PyTorch"].median(), cost["MACs"].median()
rows = []
for run in range(cfg.runs):
    rng = randomness.rng(cfg.seed, "verdict", run)
    drawn = list(rng.choice(list(archs), 30, replace=False))
    allowed = [text for text in archs if cost.loc[text, "here, PyTorch"] <= budget]
    found_ms = best_of(drawn, "here, PyTorch", budget)
    found_macs = best_of(drawn, "MACs", by_macs_too)
    chance = test[str(rng.choice(allowed))]
    rows.append({"by ms": found_ms, "by MACs": found_macs, "random": chance})
verdict = pd.DataFrame(rows).dropna()
verdict.mean().round(2).to_frame("test accuracy (%)").T

# %% [markdown]
# In pairs, with the 95 % interval of the mean difference (Student's t):

# %%
gains = {rival: ranking.paired(verdict["by ms"], verdict[rival]) for rival in ("by MACs", "random")}
sentences = []
for rival, gain in gains.items():
    word = "better than" if gain.low > 0 else "not to be told from"
    word = "worse than" if gain.high < 0 else word
    sentences.append(
        f"A search by milliseconds is **{word}** {rival.replace('random', 'a random cell')}: "
        f"{gain.value:+.2f} points ({gain.low:+.2f} to {gain.high:+.2f}, {len(verdict)} pairs)."
    )
Markdown("\n\n".join(sentences))

# %% [markdown]
# ## 8 · Your own picture
#
# Last, what all of this is for: a picture goes in, and the quantised network says what is there. The detector knows
# digits alone, so write some on paper, and take a photograph: `-p picture_file=photo.jpg`. Without one a test scene serves.
# The command is `nasedu detect`; its file could as well be on the device, where neither PyTorch nor nasedu is needed
# (`nasedu export` writes a program of NumPy and ONNX Runtime beside it).

# %%
photo = Path(cfg.picture_file) if cfg.picture_file else cfg.out_dir / "scene.png"
if not cfg.picture_file:
    to_pil_image(test_set.images[0]).save(photo)
command = [sys.executable, "-m", "nasedu", "detect", str(files["int8"]), str(photo), "--out", str(cfg.out_dir)]
seen = subprocess.run(command, capture_output=True, text=True, check=True).stdout
print(seen.replace(f"{cfg.out_dir}/", "").replace(str(photo), photo.name))

# %% [markdown]
# ## Summary
#
# - A price belongs to a device. What was searched for one of them may be beaten on another by cells of the same time.
# - Where blocks cannot be timed, some dozens of whole networks and a prior make a table. Its error is that of networks
#   which took no part.
# - Fold first, then round. A scale for each channel keeps small channels alive; no weight is off by more than half a
#   step.
# - Time a device when it is warm, and say so.
# - Gradients of equal parts have the whole batch's mean. Samplers, draws and the learning rate need care.
#
# **Pitfalls**
#
# - *A fit on its own networks.* With as many prices as networks every time is met, and nothing is known.
# - *One scale for a folded weight.* The largest channel decides for all.
# - *A box that stayed in the square.* It looks right in a square picture.
# - *A cold measurement.* The first seconds of a phone are its fastest.
# - *A learning rate of one process for eight.*
#
# **Further reading**
#
# - One supernet, many devices: Cai et al., *Once-for-All*, ICLR 2020
# - Latency from few measurements: Lee et al., *HELP*, NeurIPS 2021
# - Ridge regression: Hoerl and Kennard, Technometrics, 1970; left out in closed form: Craven and Wahba, 1978
# - int8: Jacob et al., *Quantization and Training of Neural Networks*, CVPR 2018; Krishnamoorthi, 2018 (scales of
#   channels)
# - Large batches: Goyal et al., *Accurate, Large Minibatch SGD*, 2017

# %%
course.finish(
    cfg,
    summary=matrix.round(2),
    figures=figures,
    results={
        "regret": matrix.to_dict(),
        "front_by_macs": kept,
        "estimated": {name: one.after.mape for name, one in found.items()},
        "sum_of_blocks": found["blocks as prior"].sum.mape,
        "trace_ms": {"first_quarter": float(first), "last_quarter": float(last)},
        "verdict": {rival: list(gain) for rival, gain in gains.items()},
    },
)
