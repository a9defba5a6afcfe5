"""Milliseconds and peak memory of zero-cost proxies: alone, one after the other, and with shared passes.

Every measurement of memory has a process of its own; times to compare are taken in turn in one process.
"""

from __future__ import annotations

import copy
import json
import resource
import statistics
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nasedu import spaces
from nasedu.proxies import names, score, score_all
from nasedu.proxies.initialise import standard_normal

FAMILY = ["grad_norm", "snip", "grasp", "fisher", "jacob_cov", "plain", "synflow"]
CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
BATCH, REPEATS = 64, 3


def network_named(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "nasbench201":
        space = spaces.create("nasbench201")  # 15 cells, 16 channels
        return space.build(space.parse(CELL))
    from torchvision.models import resnet18

    return resnet18(num_classes=10)


# --- textbook implementations, each on a copy of the network as in the published code ---------------------------------


def layers_of(network: nn.Module) -> list[nn.Module]:
    return [part for part in network.modules() if isinstance(part, nn.Conv2d | nn.Linear)]


def textbook_snip(network, images, labels):
    network.zero_grad()
    F.cross_entropy(network(images), labels).backward()
    return sum(float((m.weight * m.weight.grad).abs().sum().detach()) for m in layers_of(network))


def textbook_grad_norm(network, images, labels):
    network.zero_grad()
    F.cross_entropy(network(images), labels).backward()
    return sum(float(m.weight.grad.norm()) for m in layers_of(network))


def textbook_plain(network, images, labels):
    network.zero_grad()
    F.cross_entropy(network(images), labels).backward()
    return sum(float((m.weight * m.weight.grad).sum().detach()) for m in layers_of(network))


def textbook_grasp(network, images, labels):
    weights = [m.weight for m in layers_of(network)]
    first = torch.autograd.grad(F.cross_entropy(network(images), labels), weights, create_graph=True)
    second = torch.autograd.grad(sum((g * g.detach()).sum() for g in first), weights)
    return -sum(float((w * h).sum().detach()) for w, h in zip(weights, second, strict=True))


def textbook_fisher(network, images, labels):
    seen = []

    def keep(layer, inputs, output):
        output.retain_grad()
        seen.append(output)

    hooks = [m.register_forward_hook(keep) for m in layers_of(network)]
    network.zero_grad()
    F.cross_entropy(network(images), labels).backward()
    for hook in hooks:
        hook.remove()
    gates = [(a * a.grad).detach().flatten(2).sum(2) if a.ndim == 4 else (a * a.grad).detach() for a in seen]
    return sum(float(0.5 * gate.pow(2).mean(0).sum()) for gate in gates)


def textbook_jacob_cov(network, images, labels):
    network.zero_grad()
    x = images.clone().requires_grad_()
    y = network(x)
    y.backward(torch.ones_like(y))
    values = np.linalg.eigvalsh(np.corrcoef(x.grad.flatten(1).numpy())) + 1e-5
    return -float(np.sum(np.log(values) + 1 / values))


def textbook_naswot(network, images, labels):
    kernel = torch.zeros(len(images), len(images))

    def add(layer, inputs):
        code = (inputs[0].flatten(1) > 0).float()
        kernel.add_(code @ code.T + (1 - code) @ (1 - code).T)

    hooks = [m.register_forward_pre_hook(add) for m in network.modules() if isinstance(m, nn.ReLU)]
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()
    return float(torch.linalg.slogdet(kernel.double()).logabsdet)


def textbook_synflow(network, images, labels):
    network = network.double().eval()
    with torch.no_grad():
        for value in network.state_dict().values():
            value.abs_()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.forward = lambda x: x
    network.zero_grad()
    network(torch.ones_like(images[:1], dtype=torch.float64)).sum().backward()
    return sum(float((m.weight * m.weight.grad).abs().sum().detach()) for m in layers_of(network))


def textbook_zen(network, images, labels):
    """The map is the last BN's, one addition before the proxy's."""
    network, scales, last = standard_normal(network, torch.Generator().manual_seed(0)), [], {}
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    for part in norms:
        part.register_forward_pre_hook(lambda _, x: scales.append(x[0].var((0, 2, 3), unbiased=False).mean()))
    norms[-1].register_forward_hook(lambda _, x, y: last.update(map=y))
    with torch.no_grad():
        x, noise = torch.randn_like(images), torch.randn_like(images)
        network(x)
        first, score_of_scales = last["map"].clone(), sum(float(s.log()) / 2 for s in scales)
        network(x + 0.01 * noise)
    return float((first - last["map"]).norm().log()) + score_of_scales


TEXTBOOK = {n.removeprefix("textbook_"): f for n, f in list(globals().items()) if n.startswith("textbook_")}


# --- measuring -------------------------------------------------------------------------------------------------------


def call_named(text: str, network: nn.Module, images, labels):
    """A call without arguments: "pass", "each NAMES", "all NAMES", "textbook NAME"."""
    how, *chosen = text.split()
    if how == "pass":
        return lambda: F.cross_entropy(network(images), labels).backward()
    if how == "each":
        return lambda: [score(name, network, (images, labels)) for name in chosen]
    if how == "all":
        return lambda: score_all(network, (images, labels), chosen)
    return lambda: TEXTBOOK[chosen[0]](copy.deepcopy(network), images, labels)


def peak_mb() -> float:
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, kilobytes here
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def seconds(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def child(name: str, *texts: str) -> dict:
    """In a fresh process: median milliseconds of calls that take turns, and what the first one adds to the peak."""
    network = network_named(name)
    images = torch.randn(BATCH, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(BATCH) % 10
    F.cross_entropy(network(images[:2]), labels[:2]).backward()  # loads the libraries
    network.zero_grad(set_to_none=True)
    calls = [call_named(text, network, images, labels) for text in texts]
    before = peak_mb()
    calls[0]()
    extra = peak_mb() - before
    rounds = [[seconds(call) for call in calls] for _ in range(REPEATS)]
    return {"ms": [1e3 * statistics.median(times) for times in zip(*rounds, strict=True)], "mb": extra}


def measure(name: str, *texts: str) -> tuple[list[float], float]:
    done = subprocess.run([sys.executable, __file__, name, *texts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    return found["ms"], found["mb"]


@pytest.fixture(params=["nasbench201", "resnet18"])
def network(request):
    return request.param


def test_shared_passes(network):
    chosen = " ".join(FAMILY)
    texts = [f"each {chosen}", f"all {chosen}", "pass"]
    each, together, once = measure(network, *texts)[0]
    memory = [measure(network, text)[1] for text in texts]
    print(f"\n{network}, batch {BATCH}, {torch.get_num_threads()} threads: {chosen}")
    print(f"  one after the other {each:.0f} ms, {memory[0]:.0f} MB more at the peak")
    print(f"  score_all           {together:.0f} ms, {memory[1]:.0f} MB; {together / each:.2f} of it (wanted: 0.50)")
    print(
        f"  forward, backward   {once:.0f} ms, {memory[2]:.0f} MB; score_all takes {together / once:.1f} times as long"
    )


def test_each_proxy(network):
    print(f"\n{network}, batch {BATCH}: each proxy alone")
    for name in names():
        (taken,), memory = measure(network, f"each {name}")
        print(f"  {name:18} {taken:8.1f} ms {memory:7.0f} MB more at the peak", flush=True)


def test_no_slower_than_a_textbook(network):
    print(f"\n{network}, batch {BATCH}: against a textbook implementation (wanted: 1.00)")
    for name in TEXTBOOK:
        if name in names():
            ours, textbook = measure(network, f"each {name}", f"textbook {name}")[0]
            print(f"  {name:18} {ours:8.1f} ms, textbook {textbook:8.1f} ms: {ours / textbook:.2f}", flush=True)


if __name__ == "__main__":
    print(json.dumps(child(*sys.argv[1:])))
