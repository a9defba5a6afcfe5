# %% [markdown]
# # Search by gradient descent
#
# Give every choice a probability, let the loss pull on the probabilities, and see where that goes wrong.
#
# A choice between three operations has no slope, so it cannot be descended. A *mixture* of them has one. This notebook
# relaxes choices in three ways, searches with all of them on a space whose truth is known, makes the best-known failure
# happen before your eyes, repairs it, and then asks for a network of a given cost.
#
# **Afterwards you can**
#
# 1. write softmax, Gumbel softmax and binary gates in a few lines, and say what each of them runs and what it learns;
# 2. explain why weights and probabilities learn from different images, in turn;
# 3. compare gradient estimators by bias and spread;
# 4. recognise a search that collapses onto skip connections, and stop it;
# 5. hit a budget of MACs with one extra term in the loss.
#
# **You need** notebooks 00 and 05.
#
# | preset | what it runs | time, two CPU cores |
# |---|---|---|
# | `smoke` | two epochs of everything: only proves that every cell works | 10 seconds |
# | `quick` | four searches of 14 epochs, a collapse and its remedy, two budgets | 3 minutes, beside other work |
# | `full` | four to five times as many epochs, 400 gradients per estimator | not measured; about 7 minutes |
# | `gpu` | twice as many again, five cells a stage | not measured |

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu; it sets every parameter below that is None
train_size: int = None  # digits to search on; half of them for the weights, half for the logits
epochs: int = None  # of each search
warmup_epochs: int = None  # of them, in which weights alone learn
arch_lr: float = None  # learning rate of the logits
deep_size: int = None  # digits for the search that collapses: few
deep_epochs: int = None  # its epochs: many
deep_cells: int = None  # its cells per stage, 1 to 5
budget_epochs: int = None  # epochs of each search with a budget of MACs
draws: int = None  # gradients drawn from each estimator
threads: int = None  # CPU threads
seed: int = None  # of every random choice
device: str = None  # auto, cpu, cuda, cuda:1 ...
out_dir: str = None  # folder of the results; None: one per set of parameters

# %%
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from torch.nn import functional as F
from tqdm import tqdm

from nasedu import course, data, plots, sampling, spaces, tables
from nasedu.course.checks.gradient import check_gate_gradient, check_hinge, check_keep_others
from nasedu.data import benchmark
from nasedu.search import GradientConfig, gradient_search
from nasedu.tables import derive
from nasedu.task import Classification

cfg = course.setup("06_gradient_search", globals())
torch.set_num_threads(cfg.threads)
cfg

# %% [markdown]
# ## 1 · From a choice to weights
#
# Every decision gets **logits** $\alpha$, one number per choice, and $p = \operatorname{softmax}(\alpha)$ are its
# probabilities. Three ways to run a supernet on them:
#
# - **softmax** (DARTS): run every operation, add the outputs weighted by $p$. The same weights at every step.
# - **Gumbel softmax** (FBNet): weights $\operatorname{softmax}((\alpha + G) / T)$ with random $G$. Every operation
#   runs, but the colder $T$, the closer a sample is to one choice alone.
# - **binary gates** (ProxylessNAS): draw one operation from $p$ and run it alone. Its gate of 1 still has a gradient.
#
# Twenty-four steps of each, for three equally likely choices (a bar is a step, its parts are the three weights):

# %%
generator = torch.Generator().manual_seed(cfg.seed)
logits = torch.zeros(24, 3)
soft = sampling.gumbel_softmax([logits], 1.0, generator)[0]
hard = torch.stack(sampling.binary_gates(list(logits), generator))
samples = {"softmax": sampling.softmax([logits])[0], "Gumbel softmax, T = 1": soft, "binary gates": hard}
names = ["none", "skip", "conv"]
labels = {"xlabel": "step", "ylabel": "weight of each choice"}
figures = {"relaxations": plots.stacks(samples, names, **labels)}
figures["relaxations"]

# %% [markdown]
# Each from scratch, and that it agrees with the package:


# %%
def softmax(alpha):
    return alpha.exp() / alpha.exp().sum()


def gumbel_softmax(alpha, temperature, generator):
    noise = -torch.empty_like(alpha).exponential_(generator=generator).log()
    return softmax((alpha + noise) / temperature)


def seeded():
    return torch.Generator().manual_seed(cfg.seed)


alpha = torch.tensor([0.2, 0.3, 0.5]).log()
assert torch.allclose(softmax(alpha), sampling.softmax([alpha])[0])
assert torch.allclose(gumbel_softmax(alpha, 0.7, seeded()), sampling.gumbel_softmax([alpha], 0.7, seeded())[0])

# %% [markdown]
# Why *Gumbel* noise? Because then the largest weight falls on choice $i$ exactly as often as $p_i$ says, whatever the
# temperature. Without noise the same choice wins always; with noise of another kind the shares would be others.

# %%
many = alpha.expand(20_000, 3)
shares = {}
for T in (5.0, 0.1):
    winners = sampling.gumbel_softmax([many], T, seeded())[0].argmax(1)
    shares[T] = winners.bincount(minlength=3) / len(many)
    assert torch.allclose(shares[T], softmax(alpha), atol=0.02)
Markdown(
    f"p = {softmax(alpha).numpy().round(2)}; shares won: "
    + ", ".join(f"T = {T}: {s.numpy().round(2)}" for T, s in shares.items())
)

# %% [markdown]
# **Annealing.** A search starts hot, so that every operation is trained and heard, and cools down, so that the weights
# become those of single networks. Move the temperature, or one logit's lead (Tab and the arrow keys work, too):

# %%
from nasedu.widgets import GumbelWidget

GumbelWidget(names, seed=cfg.seed)

# %% [markdown]
# The same for pages that cannot run. Left the hottest, right the coldest:

# %%
cooling = {f"T = {T}": sampling.gumbel_softmax([logits], T, seeded())[0] for T in (5.0, 1.0, 0.2)}
figures["annealing"] = plots.stacks(cooling, names, **labels)
figures["annealing"]

# %% [markdown]
# ## 2 · A gate of one, with a gradient
#
# Running all operations costs memory and time for each of them. A binary gate runs one. Its weight is *exactly* 1 and
# the others' exactly 0, but on the way back the gradient goes to $p$ as if the gate were $p$ itself:


# %%
def gate(alpha, generator):
    p = torch.softmax(alpha, 0)
    drawn = (alpha + sampling.gumbel_noise(alpha.shape, generator)).argmax()
    return F.one_hot(drawn, len(p)).float() + (p - p.detach())  # value of the first part, gradient of the second


free = alpha.clone().requires_grad_()
by_gate = torch.tensor([1.0, 3.0, -2.0])  # what the loss says about each gate
ours, theirs = gate(free, seeded()), sampling.binary_gates([free], seeded())[0]
assert torch.equal(ours, theirs) and sorted(ours.tolist()) == [0, 0, 1]
mine, package = (torch.autograd.grad(g @ by_gate, free)[0] for g in (ours, theirs))
assert torch.allclose(mine, package)
mine

# %% [markdown]
# ### Exercise 06.1: the gradient behind a gate
# *Difficulty 2 of 3, about 15 min.* `by_gate` holds $\partial L/\partial g_j$, which is passed on to
# $p = \operatorname{softmax}(\alpha)$. Return $\partial L/\partial \alpha$ in closed form.
#
# <details><summary>Hint 1</summary>dp_j / dalpha_i = p_j ([i = j] − p_i).</details>
# <details><summary>Hint 2</summary>Sum over j: logit i feels how far its own gate lies from the average, weighted by
# p.</details>


# %% tags=["stub"]
def gate_gradient(alpha, by_gate):
    raise NotImplementedError


# %% tags=["solution"]
def gate_gradient(alpha, by_gate):
    p = torch.softmax(alpha, 0)
    return p * (by_gate - p @ by_gate)


# %% tags=["nbval-check-output"]
check_gate_gradient(gate_gradient)

# %% [markdown]
# **Two at a time.** The gradient of a gate asks what *every* operation would have put out, so all of them run while the
# logits learn. ProxylessNAS draws only two operations, and lets them compete with each other:

# %%
pair = sampling.binary_gates([alpha], seeded(), "two")[0]
assert len(pair.indices) == 2 and sorted(pair.weights.tolist()) == [0, 1]
pair

# %% [markdown]
# ### Exercise 06.2: a step for two, and nobody else
# *Difficulty 3 of 3, about 15 min.* The optimizer moved the two logits in `pair` (a tensor of two indices) from
# `before` to `after`. Nothing was learnt about the others, so their probabilities must stay what they were. Return
# new logits that take the same number off both logits of the pair, such that they do.
#
# <details><summary>Hint 1</summary>The others' probabilities are e^alpha_i over the sum of all: the sum must not
# change.</details>
# <details><summary>Hint 2</summary>So the pair's own sum of exponentials must be the same before and after. The
# number is a difference of two logsumexp.</details>


# %% tags=["stub"]
def keep_others(before, after, pair):
    raise NotImplementedError


# %% tags=["solution"]
def keep_others(before, after, pair):
    kept = after.clone()
    kept[pair] -= after[pair].logsumexp(0) - before[pair].logsumexp(0)
    return kept


# %% tags=["nbval-check-output"]
check_keep_others(keep_others)

# %% [markdown]
# ## 3 · Two learners, two halves
#
# Weights and logits must not learn from the same images: logits that see how well the weights *remember* would pick
# whatever remembers best. So (DARTS) the training images are split. Step by step, in turn,
#
# 1. the logits move on a batch of one half, with the weights held still;
# 2. the weights move on a batch of the other half, with the logits held still.

# %%
truth = benchmark.load("cells_digits")
space = spaces.create("nasbench201", **truth.space_options)
images = data.classification(split="train", size=cfg.train_size, **truth.task).to(cfg.device)
for_weights, for_logits = images.halves(cfg.seed)
operations = [name.replace("nor_", "") for name in space.decisions[0].choices]
assert len(for_weights) + len(for_logits) == len(images)

# %% [markdown]
# One round from scratch. The gradient of the first loss is taken for the logits alone:

# %%
torch.manual_seed(cfg.seed)
net, theta = space.supernet().to(cfg.device), [torch.zeros(n, requires_grad=True) for n in space.choices]
weights_optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
old = [p.detach().clone() for p in net.parameters()]

path = [torch.softmax(a, 0).to(cfg.device) for a in theta]
loss = F.cross_entropy(net(for_logits.images[:64], path), for_logits.labels[:64])
for a, slope in zip(theta, torch.autograd.grad(loss, theta), strict=True):
    a.data -= 0.1 * slope.sign()  # Adam's first step
assert all(torch.equal(p, q) for p, q in zip(net.parameters(), old, strict=True))  # the weights held still

path = [torch.softmax(a, 0).detach().to(cfg.device) for a in theta]
F.cross_entropy(net(for_weights.images[:64], path), for_weights.labels[:64]).backward()
weights_optimizer.step()
assert all(a.grad is None for a in theta)  # and now the logits

# %% [markdown]
# The package does this for all relaxations with one function. Its two-gate mode runs exercise 06.2 after every step.
# Four searches on the same images, with the same seed:


# %%
def search(name, space, images, config, hardware=None, batch_size=64):
    with tqdm(total=config.epochs, desc=name, unit="epoch", leave=False) as bar:
        keep = {"state": cfg.out_dir / f"{name.replace(' ', '-')}.pt"}
        follow = {"progress": lambda done, *_: bar.update(done - bar.n)}
        same = {"settings": config, "hardware": hardware, "seed": cfg.seed, "device": cfg.device}
        task = Classification(images, batch_size=batch_size, seed=cfg.seed)
        return gradient_search(space, task, **same, **keep, **follow)


schedule = {"epochs": cfg.epochs, "warmup_epochs": cfg.warmup_epochs, "arch_lr": cfg.arch_lr}
labels = {"softmax": "softmax", "gumbel": "Gumbel", "gates": "gates", "two_gates": "two gates"}
found = {
    label: search(name, space, images, GradientConfig(relaxation=name, **schedule)) for name, label in labels.items()
}

# %% [markdown]
# **Probabilities over the epochs**: a row for each relaxation, a column for each edge of the cell. Grey is no
# connection, orange a plain one (skip), blue a convolution.

# %%
histories = {name: [record["probabilities"] for record in r.history] for name, r in found.items()}
figures["probabilities"] = plots.probabilities(space, histories, xlabel="epoch")
figures["probabilities"]

# %% [markdown]
# Left, how undecided they are still: the entropy of the probabilities, ln 3 at the start. Right, what a search would
# hand out if it were stopped there: the *true* accuracy of its most probable cell, trained alone (the best of the table
# dotted). Before the logits move, all choices tie and the first one is taken, none, everywhere: a dead cell.


# %%
def true_accuracy(space, result):
    """What the most probable cell of every epoch can really do (%): from the table of trained cells."""
    return [truth.score(space.format(record["arch"])) for record in result.history]


best = truth.best()[1]
curves = {name: true_accuracy(space, result) for name, result in found.items()}
entropy = {name: [record["entropy"] for record in r.history] for name, r in found.items()}
panels = {"entropy (nats)": entropy, "true accuracy of the cell (%)": curves}
look = {"names": "ylabel", "share": "", "xlabel": "epoch"}
figures["searches"] = plots.lines(panels, **look).guide(y=[float("nan"), best])
figures["searches"]

# %%
median = float(truth.scores("test").median())
table = pd.DataFrame(
    [
        {
            "relaxation": name,
            "edges": " ".join(operations[i].split("_")[0] for i in r.best),
            "true accuracy": curves[name][-1],
        }
        | {"regret": best - curves[name][-1], "skips": sum(operations[i] == "skip_connect" for i in r.best)}
        for name, r in found.items()
    ]
).set_index("relaxation")
table.round(2)

# %%
beaten = {name: float((truth.scores("test") < value).mean()) for name, value in table["true accuracy"].items()}
Markdown(
    f"The best cell of the table has {best:.1f} %, the median one {median:.1f} %. "
    + "; ".join(f"**{name}** beats {share:.0%} of all cells" for name, share in beaten.items())
    + ". One seed each: not a contest, and notebook 07 shows what a contest takes."
)

# %% [markdown]
# ## 4 · Whose gradient is right?
#
# What the logits *should* descend on is the expected loss of the cells that they draw,
# $J(\alpha) = \sum_i p_i L_i$, with $L_i$ the loss when operation $i$ runs alone. With one decision that can be worked
# out exactly: its slope is $p_i (L_i - J)$. Now let every relaxation estimate this slope, many times, for one edge of a
# trained supernet; on all other edges runs a convolution.

# %%
supernet = found["gates"].supernet.train()
edge, conv = 3, operations.index("conv_3x3")
x, y = for_logits.images[:128], for_logits.labels[:128]
alpha = torch.zeros(3)


def loss_of(entry):
    path = [conv] * edge + [entry] + [conv] * (len(space.choices) - edge - 1)
    return F.cross_entropy(supernet(x, path), y)


with torch.no_grad():
    alone = torch.stack([loss_of(i) for i in range(3)]).cpu()
exact = softmax(alpha) * (alone - softmax(alpha) @ alone)


# %%
def estimate(relax, draws):
    """Gradients (draws, choices) of the loss with respect to the logits of one edge."""
    generator, rows = seeded(), []
    for _ in range(draws):
        free = alpha.clone().requires_grad_()
        (entry,) = relax([free], generator)
        rows.append(torch.autograd.grad(loss_of(entry), free)[0].numpy())
    return np.array(rows)


estimators = {
    "softmax": lambda a, g: sampling.softmax(a),
    "Gumbel, T = 5": lambda a, g: sampling.gumbel_softmax(a, 5.0, g),
    "Gumbel, T = 0.5": lambda a, g: sampling.gumbel_softmax(a, 0.5, g),
    "gates": sampling.binary_gates,
    "two gates": lambda a, g: sampling.binary_gates(a, g, "two"),
}
gradients = {name: estimate(relax, cfg.draws if name != "softmax" else 1) for name, relax in estimators.items()}

# %% [markdown]
# A panel for each operation. Dashed: the exact slope. A marker is an estimator's mean, its bar one standard deviation
# to either side. A marker off the line is *bias*, a long bar is *noise*. But the mean of a few noisy draws lies off the
# line, too: the mean of $n$ draws is uncertain by the noise over $\sqrt n$.

# %%
panels = {}
for k, operation in enumerate(operations):
    panels[operation] = {"": {name: plots.Interval.around(g[:, k]) for name, g in gradients.items()}}
figures["estimators"] = plots.dots(panels, xlabel="dL / dlogit").guide(x=exact.tolist(), linestyle="--")
figures["estimators"]

# %%
bias = {name: float(np.abs(g.mean(0) - exact.numpy()).sum() / exact.abs().sum()) for name, g in gradients.items()}
noise = {name: float(g.std(0).mean() / exact.abs().mean()) for name, g in gradients.items()}
unsure = {name: noise[name] / len(g) ** 0.5 for name, g in gradients.items()}
shown = [name for name in estimators if bias[name] > 2 * unsure[name]]
Markdown(
    "Relative to the exact slope, bias and noise are: "
    + "; ".join(f"{name} {bias[name]:.2f} and {noise[name]:.2f}" for name in estimators)
    + f". With {cfg.draws} draws, a bias below twice the noise over √{cfg.draws} is no evidence: "
    f"so **a bias is shown for {', '.join(shown) or 'none'}**, and for no other. "
    "Softmax has no noise, and descends on another function: the loss of a mixture that nobody will build. "
    "A gate's gradient is a first-order guess at what a switch would change."
)

# %% [markdown]
# ## 5 · Collapse onto skip
#
# The best-known failure of gradient search: left to run, it fills the cell with skip connections. A plain connection
# needs no training and lets gradients through, so it helps the *mixture* at once, in a deep network above all. That
# says little about the cell one gets by leaving the mixture out.

# %%
skips = {name: float(np.mean([r.history[-1]["probabilities"][d][1] for d in range(6)])) for name, r in found.items()}
told = ", ".join(f"{share:.2f} ({name})" for name, share in skips.items())
Markdown(
    f"In the searches above it **{'did not happen' if max(skips.values()) < 0.5 else 'happened'}**: at the end skip "
    f"has a mean probability of {told}. That network has one cell per stage, and its convolutions are the only ones it "
    "has."
)

# %% [markdown]
# So here is what the failure needs, made on purpose: a **deeper** network with residual reductions between the stages
# (which learn enough without the cells), **few images**, a **long** search, and only skip and convolution to choose
# from. The cells are still cells of the table, so the truth about them is known.

# %%
changes = {"operations": ["skip_connect", "nor_conv_3x3"], "reduction": "residual", "depth": cfg.deep_cells / 5}
deep = spaces.create("nasbench201", **truth.space_options | changes)
few = data.classification(split="train", size=cfg.deep_size, **truth.task).to(cfg.device)
long = GradientConfig(epochs=cfg.deep_epochs, warmup_epochs=0, arch_lr=0.05)
collapsed = search("collapse", deep, few, long)

# %% [markdown]
# ### A remedy, through the hook
#
# Whatever a search should care about beside accuracy enters through one hook: a function that takes the loss and the
# weights and returns the loss to descend on. Costs are the usual guest (section 6). Here it limits the crowd: at most
# two skips per cell, *in expectation*.


# %%
def crowd(task, path, allowed=2.0):
    """The task loss plus a term that grows with the expected number of skips above `allowed`."""
    return task + torch.relu(sum(weights[0] for weights in path) - allowed) ** 2


remedied = search("limited", deep, few, long, hardware=crowd)
pair = {"left alone": collapsed, "at most two skips": remedied}

# %% [markdown]
# Orange is skip, blue is a convolution. Left alone, orange takes over edge after edge:

# %%
histories = {name: [record["probabilities"] for record in r.history] for name, r in pair.items()}
figures["collapse"] = plots.probabilities(deep, histories, colours=plots.OPERATIONS[1:], xlabel="epoch")
figures["collapse"]

# %% [markdown]
# What that does to the cell one would get: its number of skips, and its true accuracy.

# %%
count = {name: [sum(i == 0 for i in record["arch"]) for record in r.history] for name, r in pair.items()}
deep_curves = {name: true_accuracy(deep, r) for name, r in pair.items()}
figures["collapse_cost"] = plots.lines({"skips in the cell (of 6)": count, "true accuracy (%)": deep_curves}, **look)
figures["collapse_cost"]

# %%
calm = [i for i, n in enumerate(count["left alone"]) if n <= 2]
alone_curve, limited_curve = deep_curves.values()
early = f"epoch {calm[-1] + 1}, with {alone_curve[calm[-1]]:.1f} %" if calm else "none at all"
ends = [
    f"{n[-1]} of 6 skips and {curve[-1]:.1f} %" for n, curve in zip(count.values(), deep_curves.values(), strict=True)
]
first, last = (collapsed.history[i]["total"] for i in (0, -1))
Markdown(
    f"Left alone, the search ends with **{ends[0]}**; limited, with **{ends[1]}**. Meanwhile the loss of the supernet "
    f"that collapsed went from {first:.2f} to {last:.2f}: it says nothing. A remedy that costs nothing is to watch the "
    f"skips, and to stop in time (DARTS+). The last epoch with at most two skips was {early}."
)

# %% [markdown]
# ## 6 · A network for a budget
#
# The same hook takes costs. A lookup table knows what every choice costs; the *expected* cost under the weights is
# smooth, and $w \,(E/\text{target} - 1)^2$ pulls it to a target. Another space, in one line: FBNet's blocks, small.

# %%
blocks = spaces.create("fbnet", **spaces.COURSE | {"input_size": 16})
digits = data.classification("digits", "train", image_size=16, size=cfg.train_size // 2, distortion=1.0).to(cfg.device)
macs = tables.LookupTable.build(blocks, "macs")
low, high = macs.bounds()
targets = {name: low + share * (high - low) for name, share in {"tight": 0.25, "loose": 0.75}.items()}

# %%
uniform = sampling.softmax(sampling.uniform_logits(blocks.choices))
pull = tables.losses.create("squared", weight=10.0)
limits = {name: tables.Budget([(macs, target, pull)]) for name, target in targets.items()}
by_hand = 10.0 * (float(macs.expected(uniform)) / targets["tight"] - 1) ** 2
assert abs(float(limits["tight"](0.0, uniform)) / by_hand - 1) < 1e-4

# %%
pressed = GradientConfig("gates", epochs=cfg.budget_epochs, warmup_epochs=1, arch_lr=0.3)
searched = {name: search(name, blocks, digits, pressed, limits[name], batch_size=32) for name in targets}
derived = {name: derive(result.path, macs, targets[name]) for name, result in searched.items()}
assert all(abs(d.cost / d.target - 1) <= 0.03 for d in derived.values())

# %% [markdown]
# The expected MACs over the epochs, in percent of the target. They need not end within the band. The table below the
# figure has what the most probable network costs, and the derived one, which lies within 3 % of the target: where the
# most probable network misses it, `derive` gives up as little probability as it can until it fits.


# %%
def expected(result, target):
    paths = [[torch.tensor(p) for p in record["probabilities"]] for record in result.history]
    return [100 * float(macs.expected(path)) / target for path in paths]


priced = {name: expected(result, targets[name]) for name, result in searched.items()}
figures["budget"] = plots.lines(priced, xlabel="epoch", ylabel="expected MACs (% of the target)")
figures["budget"].guide(y=(97, 103), label="target ± 3 %")
figures["budget"]

# %%
costs = pd.DataFrame({name: vars(d) for name, d in derived.items()}).T[["target", "expected", "argmax_cost", "cost"]]
costs.astype(float).round(0)

# %% [markdown]
# ### Exercise 06.3: a budget that only presses from above
# *Difficulty 1 of 3, about 10 min.* The term above is two-sided: it also pushes cheap networks up. Write a one-sided
# one for a single decision: $\max(0, E/\text{budget} - 1)$ with $E = \sum_i w_i c_i$. `weights` are weights, not
# logits.
#
# <details><summary>Hint 1</summary>`weights @ costs` is E.</details>
# <details><summary>Hint 2</summary>torch.relu, or .clamp(min=0), keeps what is positive and stays
# differentiable.</details>


# %% tags=["stub"]
def hinge(weights, costs, budget):
    raise NotImplementedError


# %% tags=["solution"]
def hinge(weights, costs, budget):
    return torch.relu(weights @ costs / budget - 1)


# %% tags=["nbval-check-output"]
check_hinge(hinge)

# %% [markdown]
# ## Summary
#
# - Relaxations turn a choice into weights: softmax mixes all, Gumbel samples softly, gates run one operation.
# - Weights and logits learn from different images, in turn.
# - Softmax descends on another loss; sampling estimators are noisy, and their bias is seen only beyond that noise.
# - A mixture likes skip connections more than single networks do. Watch the number of skips, not the loss.
# - One hook takes costs and other wishes. Derived networks meet the budget; expected ones need not.
#
# **Pitfalls**
#
# - *"None" in a mixture* costs the mixture little and may kill the derived cell: DARTS leaves it out when deriving.
# - *Raw logits in a cost term.* Costs must be weighted by probabilities: logits may be negative, and do not sum to 1.
# - *A temperature that stays high.* The weights are then trained for mixtures, and argmax is a network they never saw.
# - *One seed.* Searches differ by seed more than by method; the curves above are one draw each.
#
# **Further reading**
#
# - Liu, Simonyan, Yang, *DARTS: Differentiable Architecture Search*, ICLR 2019
# - Wu et al., *FBNet: Hardware-Aware Efficient ConvNet Design via Differentiable Neural Architecture Search*, CVPR 2019
# - Cai, Zhu, Han, *ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware*, ICLR 2019
# - Jang, Gu, Poole, *Categorical Reparameterization with Gumbel-Softmax*, ICLR 2017
# - Collapse: Zela et al., *Understanding and Robustifying Differentiable Architecture Search*, ICLR 2020
# - Early stopping: Liang et al., *DARTS+: Improved Differentiable Architecture Search with Early Stopping*, 2019

# %%
course.finish(
    cfg,
    summary=table.round(4),
    figures=figures,
    results={
        "searches": table.to_dict("index"),
        "true_accuracy": curves | {f"deep, {name}": curve for name, curve in deep_curves.items()},
        "skips": count,
        "bias": bias,
        "noise": noise,
        "macs": costs.astype(float).to_dict("index"),
    },
)
