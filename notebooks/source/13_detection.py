# %% [markdown]
# # Detection: what is where?
#
# From the class of an image to boxes and one number: you build every step of a detector, then train one and use it.
#
# A classifier says *what* an image shows. A detector says what is *where*, for as many objects as there are. Between
# the two lie six ideas: overlap, anchors, assignment, a loss of three parts, suppression, and average precision. Each
# is a few lines. Each has a fault that stays silent. Notebook 14 searches for a good detector; this one explains what
# it searches for.
#
# **Afterwards you can**
#
# 1. compute IoU, GIoU and CIoU, and say which of them can pull boxes together that do not touch;
# 2. say which anchors, in which cells, must find a given object;
# 3. turn thousands of guesses into a short list of detections, and grade it as COCO does;
# 4. find boxes in a data set that were written in another way;
# 5. train a detector, keep it as a file, and use it on a picture of your own.
#
# **You need** PyTorch and an idea of convolutional networks.
#
# | preset | what it runs | time, two CPU cores |
# |---|---|---|
# | `smoke` | 32 scenes of 64 px, two epochs: only proves that every cell works | 30 seconds |
# | `quick` | 600 scenes of 96 px; four ways to train, two seeds each, 7 epochs | 6 minutes |
# | `full` | 3,000 scenes of 128 px, three seeds, 40 epochs | not measured |
# | `gpu` | the same on a GPU | not measured |

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu; it sets every parameter below that is None
dataset: str = None  # digits (built in), voc, coco or yolo
data_root: str = None  # folder of the voc, coco or yolo data
classes: list[str] = None  # names of the classes to detect; None: all
picture_file: str = None  # a photograph to detect in at the end; None: a test image
image_size: int = None  # pixels, a multiple of 32
train_size: int = None  # number of training images; None: all
test_size: int = None  # number of test images; None: all
epochs: int = None  # passes over the training images, for each detector
repeats: int = None  # detectors of each kind, each with its own seed
batch_size: int = None  # images per training step
threads: int = None  # CPU threads of each training
seed: int = None  # of every random choice
device: str = None  # auto, cpu, cuda, cuda:1 ...
out_dir: str = None  # folder of the results; None: one per set of parameters

# %%
import json
from itertools import product

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from PIL import Image
from torchvision.ops import batched_nms, generalized_box_iou_loss

from nasedu import course, data, detection, plots, ranking, spaces, widgets, wzdnas
from nasedu.course.checks.detection import (
    check_ciou,
    check_coco_ap,
    check_faults,
    check_owners,
    check_suppress,
)
from nasedu.data import benchmark
from nasedu.data.images import upright
from nasedu.detection.anchors import assign, side_ratio
from nasedu.detection.boxes import decode_boxes
from nasedu.detection.losses import paired_ciou, paired_iou
from nasedu.detection.postprocess import suppress
from nasedu.errors import check_whole
from nasedu.task import fit
from nasedu.training import side_by_side
from nasedu.wzdnas.best import BestEpoch

cfg = course.setup("13_detection", globals(), choices={"dataset": data.names()})
limits = {"epochs": (1, 10_000), "repeats": (1, 20), "batch_size": (1, 1024), "threads": (1, 1024)}
# a wrong value ends here, and not after minutes
for name, (least, most) in limits.items():
    check_whole(name, getattr(cfg, name), least, most)
torch.set_num_threads(cfg.threads)
cfg

# %% [markdown]
# ## 1 · From a class to boxes
#
# The built-in scenes hold real handwritten digits on textured grounds. Some are partly covered, and some strokes are no
# digits at all. With `dataset=voc`, `coco` or `yolo` this notebook runs on a folder of yours.


# %%
def load(split, size):
    """One split of the data set that the parameters name."""
    options = {"root": cfg.data_root, "image_size": cfg.image_size, "seed": cfg.seed, "size": size}
    chosen = {"classes": cfg.classes} if cfg.classes else {}
    return data.detection(cfg.dataset, split, **options, **chosen)


train_set, test_set = load("train", cfg.train_size), load("test", cfg.test_size)
# what may be looked at meanwhile
val_set = load("val", cfg.test_size)
figures = {"scenes": plots.scenes(train_set)}
figures["scenes"]

# %% [markdown]
# A box is given by four numbers: left, top, right, bottom, in pixels. The y axis points down. A **target** is a class
# and a box.

# %%
image, target = train_set[0]
rows = [[train_set.classes[label], *box] for box, label, _ in train_set.samples[0].rows()]
pd.DataFrame(rows, columns=["class", "left", "top", "right", "bottom"]).round(1)

# %% [markdown]
# ## 2 · When is a box right?
#
# A guess never meets the true box exactly. **IoU** (intersection over union) says how well they meet: the area that
# both cover, divided by the area that at least one of them covers. By hand and by the package:


# %% tags=["nbval-check-output"]
def iou(a, b):
    """Intersection over union of two boxes (left, top, right, bottom)."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return both / (sum(areas) - both)


truth, guess_box = (10, 10, 50, 50), (20, 10, 60, 50)  # the same size, ten pixels to the right
theirs = float(paired_iou(torch.tensor([truth]).float(), torch.tensor([guess_box]).float()))
print(f"by hand {iou(truth, guess_box):.4f}, package {theirs:.4f}")
assert abs(iou(truth, guess_box) - theirs) < 1e-6, "both must agree"

# %% [markdown]
# A quarter of the width off leaves an IoU of 0.6. At the usual threshold of 0.5 that counts as found.
#
# IoU grades well, but it teaches badly. Boxes that do not touch have an IoU of 0, however far apart they are, so a step
# to the right changes nothing: the gradient is 0. Two remedies:
#
# - **GIoU** takes off the share of the smallest enclosing box that neither box covers;
# - **CIoU** takes off the distance of the centres, $\rho^2/c^2$ ($c$ is the diagonal of the enclosing box), and
#   $\alpha v$ for sides of another shape: $v = \frac{4}{\pi^2}\left(\arctan\frac{w}{h} -
#   \arctan\frac{w'}{h'}\right)^2$, $\alpha = \frac{v}{1 - \mathrm{IoU} + v}$, where $\alpha$ gets no gradient.
#
# Below, a box of 40 px slides to the right, away from an equal one. Where the curve of IoU lies flat, it teaches
# nothing.

# %%
shift = torch.arange(0, 121, 5.0)
still = torch.tensor([[0.0, 0.0, 40.0, 40.0]]).repeat(len(shift), 1)
away = still + torch.stack([shift, 0 * shift, shift, 0 * shift], 1)
# torchvision has losses, 1 less the measure
measures = {
    "IoU": paired_iou,
    "GIoU": lambda a, b: 1 - generalized_box_iou_loss(a, b),
    "CIoU": paired_ciou,
}
curves = {name: measure(away, still).numpy() for name, measure in measures.items()}
look = {"xlabel": "distance (px); the boxes touch up to 40", "ylabel": "measure"}
figures["overlap"] = plots.lines(curves, shift.tolist(), **look)
figures["overlap"]

# %% [markdown]
# GIoU from scratch, for the two boxes above and for two that do not touch:


# %% tags=["nbval-check-output"]
def giou(a, b):
    """IoU less the share of the enclosing box that neither box covers."""
    width = max(a[2], b[2]) - min(a[0], b[0])
    height = max(a[3], b[3]) - min(a[1], b[1])
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    union = areas / (1 + iou(a, b))  # the union is what remains of both areas, less the shared one
    return iou(a, b) - (width * height - union) / (width * height)


for other in (guess_box, (90, 10, 130, 50)):
    mine, theirs = giou(truth, other), measures["GIoU"](*torch.tensor([[truth], [other]]).float())
    print(f"by hand {mine:.4f}, torchvision {float(theirs):.4f}")
    assert abs(mine - float(theirs)) < 1e-5, "both must agree"

# %% [markdown]
# ### Exercise 13.1: complete IoU
# *Difficulty 2 of 3, about 15 min.* Write `ciou(boxes, others)` for tensors (n, 4) of corners; return a tensor (n,),
# one number for each pair. It must keep the graph, and boxes that do not touch must still be pulled together.
#
# <details><summary>Hint 1</summary><code>torch.minimum</code> and <code>torch.maximum</code> work on both corners at
# once; <code>.clamp(min=0)</code> is needed for the shared area.</details>
# <details><summary>Hint 2</summary>α is 0 / 0 for equal boxes: add 1e-9 below, and <code>.detach()</code> it.</details>


# %% tags=["stub"]
def ciou(boxes, others):
    raise NotImplementedError


# %% tags=["solution"]
def ciou(boxes, others):
    low = torch.maximum(boxes[:, :2], others[:, :2])
    high = torch.minimum(boxes[:, 2:], others[:, 2:])
    sides = [b[:, 2:] - b[:, :2] for b in (boxes, others)]
    both = (high - low).clamp(min=0).prod(1)
    overlap = both / (sides[0].prod(1) + sides[1].prod(1) - both)
    # distance of the centres, by the diagonal of the box around both
    far = torch.maximum(boxes[:, 2:], others[:, 2:]) - torch.minimum(boxes[:, :2], others[:, :2])
    apart = ((boxes[:, :2] + boxes[:, 2:] - others[:, :2] - others[:, 2:]) / 2).square().sum(1)
    turn = torch.atan(sides[0][:, 0] / sides[0][:, 1]) - torch.atan(sides[1][:, 0] / sides[1][:, 1])
    v = 4 / torch.pi**2 * turn.square()
    alpha = (v / (1 - overlap + v + 1e-9)).detach()
    return overlap - apart / far.square().sum(1) - alpha * v


# %% tags=["nbval-check-output"]
check_ciou(ciou)

# %% [markdown]
# Move the box with the sliders. Arrows show where the gradient of each measure would pull its centre. Push it off the
# true one: the arrow of IoU is gone.

# %%
widgets.BoxWidget()

# %% [markdown]
# ## 3 · Anchors: boxes to start from
#
# A detector sees an image as a few grids of cells: a fine grid for small objects, a coarse one for large objects. Their
# **stride** is the number of pixels between two cells. Each cell has a few **anchors**, boxes of fixed width and
# height, and for each of them the network says how to move and to stretch it.
#
# With $s$ the sigmoid, the centre is $(2 s(t_x) - \tfrac12 + \text{column}) \cdot \text{stride}$, and the width is
# $(2 s(t_w))^2$ times the anchor's; y and height likewise. So a centre reaches half a cell beyond its own cell, and a
# side at most four times the anchor's. From scratch and by the package, for the cell in column 3 and row 2:

# %% tags=["nbval-check-output"]
raw, anchor, stride = torch.tensor([0.2, -0.4, 0.5, 0.1]), torch.tensor([16.0, 24.0]), 8
cell = torch.tensor([3.0, 2.0])
reach = 2 * raw.sigmoid()
centre, half = (reach[:2] - 0.5 + cell) * stride, reach[2:] ** 2 * anchor / 2
mine = torch.cat([centre - half, centre + half])
theirs = decode_boxes(raw, cell, anchor, stride)
print([round(v, 2) for v in mine.tolist()], [round(v, 2) for v in theirs.tolist()])
assert torch.allclose(mine, theirs), "both must decode the same box"

# %% [markdown]
# So an anchor should only take objects of about its own size: sides that differ by less than a factor, here 2. The
# **best possible recall** is the share of objects that some anchor may take. What none may take is never learnt.
#
# Two sets of anchors: some that were made for photographs of 608 px (YOLOv4-CSP's, for COCO), and some that are
# **fitted** to our boxes by k-means. Grey dots are the boxes of the training images.

# %%
RATIO = 2.0
every = torch.cat([torch.as_tensor(s.boxes) for s in train_set.samples])  # (objects, 4)
counts = torch.tensor([len(s.boxes) for s in train_set.samples])
owner = torch.arange(len(train_set)).repeat_interleave(counts)
kinds = torch.cat([s.labels for s in train_set.samples])
objects = torch.cat([owner[:, None], kinds[:, None], every], 1)  # (objects, 6): image, class, box
sizes = every[:, 2:] - every[:, :2]
print(f"{len(sizes)} objects in {len(train_set)} images")

# %%
anchors = {
    "borrowed": spaces.create("yolo:csp").anchors,
    "fitted": detection.fit_anchors(sizes, scales=3, per_scale=3),
}
clouds, recalls = {}, {}
for name, some in anchors.items():
    recalls[name] = detection.best_possible_recall(sizes, some, RATIO)
    width, height = some.view(-1, 2).T.numpy()
    near = height < 2 * float(sizes.max())  # the largest borrowed ones lie far outside
    clouds[f"{name}: reach {recalls[name]:.1%}"] = {
        "boxes": (sizes[:, 0].numpy(), sizes[:, 1].numpy()),
        "anchors": (width[near], height[near]),
    }
look = {"xlabel": "width (px)", "ylabel": "height (px)", "share": "xy"}
figures["anchors"] = plots.scatter(clouds, crowd="boxes", **look)
figures["anchors"]

# %% [markdown]
# A high recall is not all. Which of the nine anchors have any work at all?

# %%
work = {}
for name, some in anchors.items():
    takes = (side_ratio(sizes, some.view(-1, 2)) < RATIO).float().mean(0)
    work[name] = takes.tolist()
idle = {name: sum(share < 0.01 for share in shares) for name, shares in work.items()}
table = pd.DataFrame(work)
table.index = pd.MultiIndex.from_product([("stride 8", "stride 16", "stride 32"), (1, 2, 3)])
table.style.format("{:.0%}").set_caption("share of all boxes that each anchor may take")

# %% [markdown]
# What do you expect of the experiment in section 6?

# %%
guess = course.predict(
    "What helps a short training more: anchors that are fitted, or CIoU in place of IoU?",
    ["fitted anchors", "CIoU", "neither can be told from noise"],
)

# %% [markdown]
# ## 4 · Assignment: who must find it?
#
# An object belongs to the cell that holds its centre, and to the two cells that are nearest to the centre: left or
# right, above or below. Each cell has it once for every anchor within the factor. All others must say that there is
# *nothing*. Below, the cells that own one object, in the three grids.


# %%
def owner_cells(box, some, stride):
    """Cells (row, column) of one grid that must find a box."""
    cells = cfg.image_size // stride
    target = torch.tensor([[0.0, 0.0, *box]])
    found = assign(target, some[None], [stride], [(cells, cells)], RATIO)[0]
    return sorted(set(zip(found.row.tolist(), found.column.tolist(), strict=True)))


grids = list(zip((8, 16, 32), anchors["fitted"], strict=True))
{f"stride {s}": len(owner_cells(every[0].tolist(), some, s)) for s, some in grids}

# %% [markdown]
# So many cells of each grid own the first object. An object that is owned in as many grids as possible, and its cells:

# %%
boxes = every[:200].tolist()
owned = [sum(bool(owner_cells(box, a, s)) for s, a in grids) for box in boxes]
most = int(np.argmax(owned))  # owned in most grids
place, kind = objects[most, :2].int().tolist()
pixels, panels = train_set[place][0].permute(1, 2, 0).numpy(), {}
for stride, some in grids:
    mine = np.array(owner_cells(boxes[most], some, stride)).reshape(-1, 2)[:, ::-1]
    squares = [("()", [*(stride * cell), *(stride * (cell + 1))]) for cell in mine]
    shown = [(train_set.classes[kind], boxes[most]), *squares]
    panels[f"stride {stride}: {len(mine)} cells"] = (pixels, shown)
figures["owners"] = plots.boxes(panels, columns=3)
figures["owners"]

# %% [markdown]
# ### Exercise 13.2: who owns an object
# *Difficulty 3 of 3, about 20 min.* Write `owners(box, stride, cells, anchors, ratio)` for one grid of
# `cells` × `cells` cells. Return all triples (anchor, row, column) that must find the box, each once. An anchor counts
# where both sides differ by less than the factor `ratio`. A centre exactly in the middle of its cell has no nearer
# neighbour on that axis. Cells outside of the grid do not exist.
#
# <details><summary>Hint 1</summary>Divide the centre by the stride. The whole part is the cell, the rest says which
# neighbour is nearer: below ½ the one before, above ½ the one after.</details>
# <details><summary>Hint 2</summary>Of the two sides, the worse one decides:
# <code>max(w / a, a / w)</code>.</details>


# %% tags=["stub"]
def owners(box, stride, cells, anchors, ratio):
    raise NotImplementedError


# %% tags=["solution"]
def owners(box, stride, cells, anchors, ratio):
    # everything in cells, whose sides are 1
    width, height = box[2] - box[0], box[3] - box[1]
    x, y = (box[0] + box[2]) / 2 / stride, (box[1] + box[3]) / 2 / stride
    column, row = min(int(x), cells - 1), min(int(y), cells - 1)
    places = [(row, column)]
    if x - column != 0.5:
        places.append((row, column + (1 if x - column > 0.5 else -1)))
    if y - row != 0.5:
        places.append((row + (1 if y - row > 0.5 else -1), column))
    places = [(r, c) for r, c in places if 0 <= r < cells and 0 <= c < cells]
    worst = [max(width / w, w / width, height / h, h / height) for w, h in anchors]
    return [(a, r, c) for a, far in enumerate(worst) if far < ratio for r, c in places]


# %% tags=["nbval-check-output"]
check_owners(owners)

# %% [markdown]
# How many places have something to find? Almost none. That is why the loss has a part of its own for "is there
# anything", with a weight for each grid.

# %%
counts = {}
shapes = [(cfg.image_size // stride,) * 2 for stride in (8, 16, 32)]
for name, some in anchors.items():
    taken = assign(objects, some, [8, 16, 32], shapes, RATIO)
    places = [some.shape[1] * rows * across * len(train_set) for rows, across in shapes]
    shares = [100 * len(one.target) / total for one, total in zip(taken, places, strict=True)]
    counts[name] = dict(zip(("stride 8", "stride 16", "stride 32"), shares, strict=True))
pd.DataFrame(counts).style.format("{:.2f} %").set_caption("places that own an object")

# %% [markdown]
# ## 5 · A loss of three parts
#
# For every place that owns an object, $1 - \mathrm{CIoU}$ of its box, and the cross-entropy of its class. For every
# place at all, the cross-entropy of **objectness**: its target is the overlap of the predicted box where an object is
# owned, and 0 elsewhere. So a detector learns to say how good its own box is. The overlap is that of the box term, IoU
# or CIoU (0 where it is negative): the two ways below differ in both places.
#
# The network is the smallest of notebook 14's course space. Four ways to train it: anchors borrowed or fitted, boxes
# by IoU or by CIoU. All see the same images in the same order.

# %%
options = {"num_classes": len(train_set.classes), "image_size": cfg.image_size}


def contest(way, seed):
    """The space with its anchors, and what is learnt, of one way to train."""
    name, overlap = way
    space = spaces.create("yolo:course", **options, anchors=anchors[name].tolist())
    changes = {"batch_size": min(cfg.batch_size, len(train_set)), "iou": overlap, "ratio": RATIO}
    recipe = wzdnas.recipe("short", epochs=cfg.epochs, flip=cfg.dataset != "digits", **changes)
    task = wzdnas.detection_task(space, recipe, train_set, val=val_set, test=test_set, seed=seed)
    return space, recipe, task


ways = list(product(anchors, ("iou", "ciou")))
arch = (0,) * len(spaces.create("yolo:course", **options).choices)  # the smallest
print(f"{len(ways)} ways, {cfg.repeats} seeds each, {cfg.epochs} epochs")

# %% [markdown]
# While one of them trains, we look at its objectness: a probability for every cell, of one validation image. It is not
# learnt and not tested on. `BestEpoch` is asked after every epoch, and would keep the weights of the best one by its
# score on the validation images. A class of our own keeps the map instead.


# %%
class Watch(BestEpoch):
    """Keeps the objectness of the finest grid, for one image, after every epoch."""

    def __init__(self, task):
        super().__init__(task)
        self.maps = []

    def after(self, epoch, epochs, model):
        with torch.inference_mode():
            image = val_set[0][0][None].float() / 255
            fine = model(image.to(cfg.device))[0]  # (1, anchors, rows, columns, 5 + classes)
        self.maps.append(fine[0, ..., 4].sigmoid().amax(0).cpu().numpy())
        return {}


watch = Watch(contest(("fitted", "ciou"), cfg.seed)[2])

# %% [markdown]
# The training itself. The networks train side by side, one on each core, and are tested at their end.

# %%
seeds = range(cfg.seed, cfg.seed + cfg.repeats)
jobs = {f"{way[0]}, {way[1]}, {seed}": (way, seed) for way in ways for seed in seeds}
bars = {name: course.Bar(total=cfg.epochs, desc=name, unit="epoch") for name in jobs}


def train(name):
    way, seed = jobs[name]
    space, recipe, task = contest(way, seed)
    # one of them is watched; the others can go on after an interruption
    step = watch if (way, seed) == (("fitted", "ciou"), cfg.seed) else None
    keep = {"progress": bars[name].show, "seed": seed, "device": cfg.device}
    if step is None:
        keep["state"] = cfg.out_dir / f"{way[0]}-{way[1]}-{seed}.pt"
    made = fit(space.build(arch, seed=seed), task, recipe.training, step, **keep)
    return made, task.score(made.ema, "test")


# %%
done = side_by_side(train, jobs, threads=cfg.threads, device=cfg.device)
trained, tested = ({name: pair[i] for name, pair in done.items()} for i in (0, 1))
for bar in bars.values():
    bar.close()
LOSSES = {"box": "box: how far off", "obj": "object: is there one", "cls": "class: which one"}
curves = {name: trained[name].history for name in jobs if name.endswith(str(cfg.seed))}
figures["training"] = plots.progress(curves, LOSSES)
figures["training"]

# %% [markdown]
# The losses of fitted anchors lie higher, and that says nothing of the detectors: more places own an object, also less
# convenient ones, and each is counted. Only what is tested on the same images may be compared.
#
# The image that is watched, with its objects:

# %%
watched = val_set[0][0].permute(1, 2, 0).numpy()
real = [(val_set.classes[label], box) for box, label, _ in val_set.samples[0].rows()]
figures["watched"] = plots.boxes({"": (watched, real)})
figures["watched"]

# %% [markdown]
# Its objectness in the finest grid, early and late. At first every cell says "hardly anything". Then the cells of the
# objects stand out.

# %%
picked = np.unique(np.linspace(0, len(watch.maps) - 1, 4).astype(int))
maps = {f"epoch {i + 1}": watch.maps[i] for i in picked}
look = {"limits": (0, 1), "bar": "objectness", "xlabel": "column", "ylabel": "row"}
figures["objectness"] = plots.heat(maps, **look)
figures["objectness"]

# %% [markdown]
# ## 6 · What it bought
#
# Average precision (section 8) on the test images, a dot for each seed.

# %%
scores = {}
for name, (way, _) in jobs.items():
    scores.setdefault(f"{way[0]} anchors, {way[1]}", []).append(tested[name])
figures["experiment"] = plots.dots(scores, xlabel="AP on the test images")
figures["experiment"]

# %% [markdown]
# What does each choice change, whatever the other one is? The differences are taken seed by seed, as means over the
# other choice, with Student's interval at 95 %. Two seeds leave it wide: it reaches 12.7 standard errors to either
# side.

# %%
table = np.array(list(scores.values())).reshape(2, 2, -1)  # anchors, overlap, seeds
effects = {
    "fitted less borrowed": (table[1] - table[0]).mean(0),
    "CIoU less IoU": (table[:, 1] - table[:, 0]).mean(0),
}
gains = {name: ranking.paired(values) for name, values in effects.items()}
figures["gains"] = plots.dots(gains, xlabel="gain in AP")
figures["gains"].guide(x=0)
figures["gains"]

# %% [markdown]
# The same was done once with more seeds and more epochs, and stored (`datasets/verdicts.py`). Each dot is a detector.

# %%
stored = json.loads((benchmark.FOLDER / "verdicts.json").read_text())["13_detection"]
longer = {name: np.concatenate([run["verdict"][name] for run in stored]) for name in scores}
figures["stored"] = plots.dots(longer, xlabel="AP on the test images")
figures["stored"]

# %% [markdown]
# And what each choice changes there, in pairs of seeds:

# %%
table = np.array(list(longer.values())).reshape(2, 2, -1)  # anchors, overlap, seeds
changes = {
    "fitted anchors": ranking.paired((table[1] - table[0]).mean(0)),
    "CIoU": ranking.paired((table[:, 1] - table[:, 0]).mean(0)),
}


figures["changes"] = plots.dots(changes, xlabel="gain in AP, stored")
figures["changes"].guide(x=0)
figures["changes"]


# %%
def verdict(gain):
    """In words, by the interval."""
    return "help" if gain.low > 0 else "harm" if gain.high < 0 else "cannot be told from noise"


size = stored[0]["parameters"]
words = [f"**{name}** {verdict(gain)} ({gain})" for name, gain in changes.items()]
spent = f"{len(stored)} seeds, {size['train_size']} scenes and {size['epochs']} epochs"
Markdown(f"With {spent}: {' and '.join(words)}, in AP.")

# %% [markdown]
# So on the digits, anchors that fit buy nothing that four seeds can show, although five of the nine borrowed ones
# hardly take a box: the network moves and stretches what it is given. In a short training they may even cost something,
# since more places have something to learn. At `quick`, with seven epochs, the borrowed anchors were ahead in both
# seeds. Two seeds do not prove it. But a ranking of methods after a few epochs need not be the one after many.
#
# Your prediction, by the stored seeds:

# %%
clear = {name: gain.value for name, gain in changes.items() if verdict(gain) == "help"}
winner = max(clear, key=clear.get, default="neither can be told from noise")
guess.came(winner, "By the mean gain, where the interval lies above 0.")

# %% [markdown]
# ## 7 · From thousands of guesses to a short list
#
# A network answers for every anchor of every cell. Its score is objectness times class probability. Most answers are
# refused by a threshold; several of those that remain are of one object. **Non-maximum suppression** takes the best
# box, removes all boxes of its class that overlap it by more than a threshold, takes the next best, and so on.

# %%
best = f"fitted, ciou, {cfg.seed}"
space, recipe, task = contest(("fitted", "ciou"), cfg.seed)
names = list(test_set.classes)
detector = wzdnas.Detector(space, arch, names, trained[best].ema)
shown = next(i for i, s in enumerate(test_set.samples) if len(s.boxes))
# an image with something to find
with torch.inference_mode():
    guessed, certainty = detector.predictor(test_set[shown][0][None].to(cfg.device) / 255)
guessed, certainty = guessed[0].cpu(), certainty[0].cpu()
score, label = certainty.max(1)
print(f"{len(score):,} guesses, {int((score > 0.05).sum())} of them with a score above 0.05")

# %% [markdown]
# Step by step, for the 30 best guesses of one image:

# %%
order = score.argsort(descending=True)[:30]
left, kept, panels = order.tolist(), [], {}
pixels = test_set[shown][0].permute(1, 2, 0).numpy()


def named(places):
    """Guesses as pairs of a name and a box."""
    return [(f"{names[label[i]]} {score[i]:.2f}", guessed[i].tolist()) for i in places]


panels["the 30 best guesses"] = (pixels, named(left))
while left and len(panels) < 4:
    top, *left = left
    kept.append(top)
    overlap = paired_iou(guessed[left], guessed[top].expand(len(left), 4)) if left else []
    left = [i for i, o in zip(left, overlap, strict=True) if o <= 0.45 or label[i] != label[top]]
    panels[f"{len(kept)} kept, {len(left)} left"] = (pixels, named([*kept, *left]))
figures["suppression"] = plots.boxes(panels, columns=2)
figures["suppression"]

# %% [markdown]
# ### Exercise 13.3: suppression
# *Difficulty 2 of 3, about 15 min.* `boxes` (n, 4), `scores` (n,) and `labels` (n,) are arrays. Return the places of
# the boxes that stay, best score first. Boxes of different classes never suppress each other; what was suppressed
# suppresses nothing; of equal scores the first one counts as better.
#
# <details><summary>Hint 1</summary><code>np.argsort(-scores, kind="stable")</code> keeps the order of equal
# scores.</details>
# <details><summary>Hint 2</summary>Only boxes that were kept can suppress: compare with these.</details>


# %% tags=["stub"]
def suppress_by_hand(boxes, scores, labels, threshold):
    raise NotImplementedError


# %% tags=["solution"]
def suppress_by_hand(boxes, scores, labels, threshold):
    kept = []
    for i in np.argsort(-scores, kind="stable"):
        rivals = [j for j in kept if labels[j] == labels[i]]
        if all(iou(boxes[i], boxes[j]) <= threshold for j in rivals):
            kept.append(int(i))
    return kept


# %% tags=["nbval-check-output"]
check_suppress(suppress_by_hand)

# %% [markdown]
# The package does all of it at once, for every image and class. Here beside torchvision's:

# %%
(found,) = suppress(guessed[None], certainty[None], confidence=0.05, iou=0.45, multi_label=False)
sure = score > 0.05
stay = batched_nms(guessed[sure], score[sure], label[sure], 0.45)
print(f"package {len(found['scores'])} boxes, torchvision {len(stay)}")
assert torch.equal(found["boxes"], guessed[sure][stay][:300]), "both must keep the same boxes"

# %% [markdown]
# ## 8 · One number
#
# Sort all detections of a class by score and go down the list. A detection is *right* if it overlaps an object of its
# class that is still free by the threshold or more. After each, **precision** is the share that was right so far,
# **recall** the share of objects found. **Average precision** is the area under precision over recall, and there are
# three ways to measure it:
#
# - VOC until 2009: the mean of the best precision at recalls 0, 0.1 … 1;
# - VOC since 2010: the area under the whole staircase;
# - COCO: the mean at 101 recalls, then the mean over ten thresholds from 0.5 to 0.95.
#
# On the left one class, with both readings of VOC; on the right its curves at COCO's thresholds.

# %%
from nasedu.detection.average_precision import columns, precision_recall

answers = task.find(trained[best].ema, "test")
truths = [s.target() for s in test_set.samples]
both, levels = (columns(truths), columns(answers)), np.arange(0.5, 1, 0.05)
judged = [precision_recall(*both, len(names), level) for level in levels]
print(f"{judged[0][0].objects} objects of class {names[0]}")

# %%
common = int(np.argmax([curve.objects for curve in judged[0]]))  # the class of most objects
one = judged[0][common]
stairs = np.maximum.accumulate(one.precision[::-1])[::-1]
eleven = [one.precision[one.recall >= r / 10].max(initial=0) for r in range(11)]
panels = {
    f"class {names[common]}, IoU 0.5": {
        "after each detection": (one.recall, one.precision),
        "best beyond (VOC 2010)": (one.recall, stairs),
        "11 recalls (VOC 2007)": (np.arange(11) / 10, np.array(eleven)),
    },
}
some = {f"IoU {levels[i]:.2f}": judged[i][common] for i in (0, 3, 6, 9)}
panels["COCO's thresholds"] = {name: (c.recall, c.precision) for name, c in some.items()}
look = {"xlabel": "recall", "ylabel": "precision", "xlim": (0, 1), "ylim": (0, 1.02)}
look["legend"] = "each"
figures["precision"] = plots.lines(panels, **look)
figures["precision"]

# %% [markdown]
# Move the threshold yourself: what counts as found, and what is the average precision then?

# %%
widgets.PrecisionWidget(truths, answers, names)

# %% [markdown]
# ### Exercise 13.4: COCO's average precision
# *Difficulty 2 of 3, about 20 min.* Of one class, `found` is a list of (image, score, box), `objects` one of (image,
# box). Return the average precision at one IoU threshold: the mean of the best precision at recall 0, 0.01 … 1 or
# beyond, 0 where that recall is not reached. A second box on an object that was found already is wrong. The checker
# compares with pycocotools to nine digits.
#
# <details><summary>Hint 1</summary>Among the objects of the same image that are still free, a box takes the one that it
# overlaps most.</details>
# <details><summary>Hint 2</summary><code>np.searchsorted(recall, np.linspace(0, 1, 101), side="left")</code> says from
# which detection on each recall is reached.</details>


# %% tags=["stub"]
def coco_ap(found, objects, threshold):
    raise NotImplementedError


# %% tags=["solution"]
def coco_ap(found, objects, threshold):
    # best score first; whoever finds an object takes it
    free, right = set(range(len(objects))), []
    for image, _, box in sorted(found, key=lambda one: -one[1]):
        near = [(iou(box, objects[i][1]), i) for i in free if objects[i][0] == image]
        overlap, place = max(near, default=(0, None))
        right.append(overlap >= threshold)
        free -= {place} if right[-1] else set()
    hits = np.cumsum(right)
    precision, recall = hits / np.arange(1, len(hits) + 1), hits / len(objects)
    best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(best[np.searchsorted(recall, np.linspace(0, 1, 101), side="left")].mean())


# %% tags=["nbval-check-output"]
check_coco_ap(coco_ap)

# %% [markdown]
# The package asks COCO's own code. Precision and recall stand at the score where their harmonic mean is highest.

# %%
metrics = detection.evaluate(test_set, answers)
picked = {"AP": "ap", "AP50": "ap50", "AP75": "ap75"}
picked |= {"VOC 11-point": "voc11_50", "VOC every-point": "voc_all_50"}
picked |= {"precision": "precision", "recall": "recall", "at the score": "confidence"}
pd.DataFrame({best: {name: getattr(metrics, key) for name, key in picked.items()}}).T.round(3)

# %% [markdown]
# ## 9 · Before you blame the network: look at the data
#
# Formats write boxes differently: corners, a corner and the sides, shares of the image; x first or y first. A tool that
# mixes them up raises no error. The detector is merely bad. `nasedu check-data` looks for such faults in a folder.
#
# ### Exercise 13.5: faults in a data set
# *Difficulty 2 of 3, about 15 min; fault.* `images` is a list of dicts of `width`, `height` and `boxes`, each (left,
# top, right, bottom) in pixels. Some images were written otherwise: `"sizes"`, (left, top, width, height); `"axes"`,
# (top, left, bottom, right); `"shares"`, corners from 0 to 1. Return a dict from the place of every such image to its
# fault. Careless hands let a box stick out of its image by up to two pixels: that is no fault. An image may have no
# box.
#
# <details><summary>Hint 1</summary>With corners, right is larger than left. With sides in their place, not for
# long.</details>
# <details><summary>Hint 2</summary>Ask for shares first: a box of a pixel's size is also within any image.</details>


# %% tags=["stub"]
def faults(images):
    raise NotImplementedError


# %% tags=["solution"]
def faults(images):
    found = {}
    for place, image in enumerate(images):
        boxes = np.array(image["boxes"]).reshape(-1, 4)
        room = np.array([image["width"], image["height"]] * 2) + 2  # careless hands
        if len(boxes) and boxes.max() <= 1:
            found[place] = "shares"
        elif (boxes[:, 2:] <= boxes[:, :2]).any():
            found[place] = "sizes"
        elif (boxes > room).any():
            found[place] = "axes"
    return found


# %% tags=["nbval-check-output"]
check_faults(faults)

# %% [markdown]
# ## 10 · Use it
#
# A detector is more than weights: classes, anchors, image size and architecture belong to it. `save` writes all of it
# into a folder, as a text for people and as weights that hold no code; `wzdnas.load` reads it back.

# %%
folder = detector.save(cfg.out_dir / "detectors" / "own")
loaded = wzdnas.load(cfg.out_dir)
print(sorted(path.name for path in folder.iterdir()), loaded.classes[:4])

# %% [markdown]
# Detect, in a photograph of yours (`-p picture_file=photo.jpg`) or in a test image. On the command line:
# `python -m nasedu detect FOLDER photo.jpg --out seen.png`. `nasedu evaluate` tests it on a folder of labelled images,
# `nasedu export` writes one ONNX file, and a script beside it that needs no PyTorch.
#
# From which score on is an object told? The one where precision and recall balance best, on the *validation* images. A
# detector that was trained for minutes is rarely sure of anything.

# %%
photo = Image.fromarray(pixels) if cfg.picture_file is None else cfg.picture_file
chosen = detection.evaluate(val_set, task.find(trained[best].ema, "val")).confidence
# without objects in it there is nothing to choose by
least = 0.2 if np.isnan(chosen) else chosen
seen = loaded.detect(photo, confidence=least)
print(f"score above {least:.2f}: {len(seen)}")
canvas = pixels if cfg.picture_file is None else np.array(upright(Image.open(photo)))
figures["seen"] = plots.boxes({"": (canvas, [(f"{name} {s:.2f}", box) for name, s, box in seen])})
figures["seen"]

# %% [markdown]
# ## Summary
#
# - IoU grades, but has no gradient between boxes that do not touch. GIoU and CIoU do.
# - An anchor takes objects of its own size; the best possible recall says what can be learnt at all.
# - An object is owned by up to three cells for every fitting anchor. Almost all places own nothing.
# - Suppression is greedy, by class, best first. Average precision depends on threshold, recalls and duplicates.
# - A detector is a network *and* its anchors, classes, input range and letterbox.
#
# **Pitfalls**
#
# - *Boxes in another convention.* Nothing fails; the result is bad.
# - *AP by another rule.* Columns of different rules must not be compared.
# - *The test split as a judge.* Choose epochs and thresholds on a validation split.
# - *A suppression across classes*, or one that forgets to sort.
#
# **Further reading**
#
# - Rezatofighi et al., *Generalized Intersection over Union*, CVPR 2019
# - Zheng et al., *Distance-IoU Loss*, AAAI 2020 (CIoU)
# - Wang, Bochkovskiy and Liao, *Scaled-YOLOv4*, CVPR 2021
# - Lin et al., *Microsoft COCO: Common Objects in Context*, ECCV 2014
# - Everingham et al., *The PASCAL Visual Object Classes Challenge*, IJCV 2010

# %%
course.finish(
    cfg,
    summary=pd.DataFrame(scores).T.round(4),
    figures=figures,
    results={
        "verdict": scores,
        "gains": {name: [gain.value, gain.low, gain.high] for name, gain in gains.items()},
        "best_possible_recall": recalls,
        "idle_anchors": idle,
        # of the detector that is used
        "metrics": {name: getattr(metrics, key) for name, key in picked.items()},
    },
)
