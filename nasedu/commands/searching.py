"""The command that searches: any space, any sampler that trains its supernet, any strategy.

A supernet is trained with the sampler's paths and judges architectures from then on. Strategies that ask look for the
one that it thinks best; gradient search goes on from its weights, and what it finds is judged by it as well, so that
the scores of two strategies can be compared.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch

from nasedu import data, hardware, sampling, search, spaces, wzdnas
from nasedu.classification import recipe
from nasedu.commands.named import DRAWN, MOST_WORKERS, check_classes, drawn, named_space
from nasedu.course.bar import Bar
from nasedu.course.parameters import pairs, parse
from nasedu.course.setup import pick_device
from nasedu.errors import BackendError, ParameterError, brief, check_name, check_number, check_whole, needs
from nasedu.files import write_atomically
from nasedu.progress import Progress
from nasedu.ranking import RankingLoss
from nasedu.registry import Registry, check_options
from nasedu.spaces.base import Network, SearchSpace
from nasedu.tables import LookupTable
from nasedu.task import Classification, Task, fit

PARTS = ("space", "sampler", "training", "strategy")  # whose options -p sets
OWN = (
    "feasible",
    "costs",
    "budget",
    "relaxation",
    "training",
    "weights",
    "patience",
)  # fields set elsewhere, if at all
MOST_ASKED = 20_000  # architectures that an exhaustive search asks for
UNSEEN = ["probabilities", "budget"]  # of a history, what is no number


@dataclass(frozen=True)
class Hunt:
    """What a strategy is handed: where to look, what for, and who judges."""

    space: SearchSpace
    task: Task
    supernet: Network
    evaluate: search.SupernetScore
    args: argparse.Namespace
    options: Mapping[str, Any]
    device: torch.device

    def settings(self, kind: type, **own):
        """The settings of a strategy, from its own and those of -p. Raises `UnknownName`.

        kind: their class.
        own: what the command decides.
        """
        told = [field.name for field in fields(kind) if field.name not in OWN]
        check_options(f"--strategy {self.args.strategy}", self.options, told)
        return kind(**own | dict(self.options))


def _asking(
    look: Callable, kind: type, hunt: Hunt, executor: Executor | None, progress: Progress
) -> search.SearchResult:
    """A strategy that asks the supernet about one architecture after the other."""
    own: dict[str, Any] = {"budget": hunt.args.budget, "patience": hunt.args.patience}
    if kind is search.StratifiedConfig:
        own["cost"] = LookupTable.build(hunt.space, "macs")
    if kind is search.EvolutionConfig:
        own |= {"population": min(20, max(2, hunt.args.budget // 2))}
        own |= {"k": min(5, hunt.options.get("population", own["population"]))}
    settings = hunt.settings(kind, **own)
    state = hunt.args.out / "search.state"
    told = {"seed": hunt.args.seed, "executor": executor, "state": state, "progress": progress}
    return look(hunt.space, hunt.evaluate, settings, **told)


def _exhaustive(hunt: Hunt, executor: Executor | None, progress: Progress) -> search.SearchResult:
    """All architectures, each once."""
    size = hunt.space.size
    if size > min(MOST_ASKED, hunt.args.budget):
        told = f"an exhaustive search asks for all {size:,} architectures of {hunt.space.name}"
        most = f"that is beyond {MOST_ASKED:,}" if size > MOST_ASKED else f"give --budget {size}"
        raise ParameterError(f"{told}: {most}")
    return _asking(search.random_search, search.SearchConfig, hunt, executor, progress)


def _gradient(relaxation: str, hunt: Hunt, executor: Executor | None, progress: Progress) -> search.SearchResult:
    """Descent on logits, on from the trained supernet's weights."""
    if executor is not None or hunt.args.patience is not None:
        raise ParameterError(
            f"--strategy {relaxation} trains one supernet: it takes no --workers, --cluster, --patience"
        )
    weights = hunt.supernet.state_dict()
    own = {"relaxation": relaxation, "epochs": hunt.args.epochs, "warmup_epochs": 0, "weights": weights}
    settings = hunt.settings(search.GradientConfig, **own)
    told = {"seed": hunt.args.seed, "device": hunt.device, "state": hunt.args.out / "search.state"}
    return search.gradient_search(hunt.space, hunt.task, settings, **told, progress=progress)


STRATEGIES = Registry(
    "strategy",
    {
        "random": partial(_asking, search.random_search, search.SearchConfig),
        "stratified": partial(_asking, search.stratified_search, search.StratifiedConfig),
        "local": partial(_asking, search.local_search, search.SearchConfig),
        "evolution": partial(_asking, search.evolution, search.EvolutionConfig),
        "exhaustive": _exhaustive,
    }
    | {name: partial(_gradient, name) for name in ("softmax", "gumbel", "gates", "two_gates")},
)


def find(args: argparse.Namespace) -> int:
    """Train a supernet and search with it; the exit status."""
    check_name("strategy", args.strategy, STRATEGIES)
    check_name("sampler", args.sampler, sampling.names())
    for name in ("epochs", "budget", "batch_size", "workers"):
        check_whole(f"--{name.replace('_', '-')}", getattr(args, name), 1, MOST_WORKERS if name == "workers" else 10**9)
    check_whole("--seed", args.seed, 0)
    if args.patience is not None:
        check_number("--patience", args.patience, above=True)
    space, device = space_of(args), pick_device(args.device)
    named = f"search-{space.name}-{args.sampler}-{args.strategy}".replace(":", "-")
    args.out = args.out or Path("runs") / named
    with workers(args, device) as executor:
        hunt = prepared(args, space, device)
        with Bar(desc=f"{args.strategy} search", delay=0.1) as bar:
            found = STRATEGIES[args.strategy](hunt, executor, bar.show)
    _write(hunt, found)
    return 0


def space_of(args: argparse.Namespace) -> SearchSpace:
    """The space of a search. Raises `NaseduError`."""
    space = named_space(
        args.space, [f"{name}={text}" for name, text in sorted_settings(args.settings)["space"].items()]
    )
    if isinstance(space, spaces.PlainNetSpace):
        raise ParameterError("plainnet has no supernet to train: search.zero_shot looks there, without any training")
    return space


def sorted_settings(settings: list[str]) -> dict[str, dict[str, str]]:
    """The texts of -p by part and name; a name without a part is an option of the space.

    Raises `ParameterError`, `UnknownName`.
    """
    options: dict[str, dict[str, str]] = {part: {} for part in PARTS}
    for name, text in pairs(settings):
        part, dot, own = name.partition(".")
        part, own = (check_name("part of a search", part, PARTS), own) if dot else ("space", name)
        if own in options[part]:
            raise ParameterError(f"-p {brief(name)} is given twice")
        options[part][own] = text
    return options


@contextmanager
def workers(args: argparse.Namespace, device: torch.device) -> Iterator[Executor | None]:
    """What evaluations run on beside this process, if anything. Raises `ParameterError`, `BackendError`."""
    if args.cluster and args.workers > 1:
        raise ParameterError(
            "--workers are processes of this machine, --cluster has workers of its own: give one of them"
        )
    if (args.cluster or args.workers > 1) and device.type != "cpu":
        raise ParameterError("--workers and --cluster share CPUs: give --device cpu")
    if args.cluster:
        with needs("cluster"):
            import distributed
        where = {"scheduler_file": args.cluster} if os.path.isfile(args.cluster) else {"address": args.cluster}
        try:
            client = distributed.Client(**where, timeout=30)
        except (OSError, TimeoutError, ValueError, TypeError) as error:
            raise BackendError(f"no Dask scheduler answers at {args.cluster}: {error}") from None
        with client:
            yield client.get_executor(pure=False)
    elif args.workers > 1:
        threads = max(1, (os.cpu_count() or 1) // args.workers)
        with ProcessPoolExecutor(args.workers, initializer=torch.set_num_threads, initargs=(threads,)) as pool:
            yield pool
    else:
        yield None


def prepared(args: argparse.Namespace, space: SearchSpace, device: torch.device) -> Hunt:
    """All that a strategy needs, with a supernet that is trained, or read where the same command trained it before.

    args: of the command line.
    space: where to look.
    device: where to train.
    """
    texts = sorted_settings(args.settings)
    options = {part: {name: parse(name, text, "") for name, text in texts[part].items()} for part in PARTS[1:]}
    sampler = sampling.create(args.sampler, space, **options["sampler"])
    config = recipe(**{"epochs": args.epochs} | options["training"])
    task = task_for(args, space, device)
    ranking = RankingLoss(LookupTable.build(space, "macs")) if args.sampler == "pairs" else None
    step = sampling.supernet_step(space, sampler, task, ranking=ranking)
    supernet = space.supernet(seed=args.seed)
    with Bar(desc="supernet", unit=" epochs", delay=0.1) as bar:
        told = {"seed": args.seed, "device": device, "state": args.out / "supernet.state", "progress": bar.show}
        trained = fit(supernet, task, config, step, **told)
    supernet.load_state_dict(trained.ema.state_dict())
    evaluate = search.SupernetScore(space, supernet, task)
    return Hunt(space, task, supernet, evaluate, args, options["strategy"], device)


def task_for(args: argparse.Namespace, space: SearchSpace, device: torch.device) -> Task:
    """What networks of a space learn: scenes for detectors, images for all others."""
    detects, side = hasattr(space, "anchors"), space.input_shape[-1]
    kinds = {"difficulty": "float"} if detects else DRAWN
    options = drawn(args.images, {"size": "int", "val_size": "int", "seed": "int"} | kinds)
    sizes = {"train": options.pop("size", None), "val": options.pop("val_size", None)}
    read = data.detection if detects else data.classification
    made = {
        part: read(args.data, part, root=args.root, image_size=side, size=size, **options)
        for part, size in sizes.items()
    }
    check_classes(space, args.data, made["train"].classes)
    if detects:
        config = wzdnas.DetectorConfig(batch_size=args.batch_size)
        return wzdnas.detection_task(space, config, **made, seed=args.seed)
    made = {part: images.to(device) for part, images in made.items()}
    return Classification(**made, batch_size=args.batch_size, seed=args.seed)


def _write(hunt: Hunt, found: search.SearchResult) -> None:
    """Tell what was found, and keep it."""
    space, args, best = hunt.space, hunt.args, found.best
    score, text = hunt.evaluate(best), space.format(best)
    cost = hardware.count(space.build(best), space.input_shape)
    told = {"space": space.name, "sampler": args.sampler, "strategy": args.strategy, "seed": args.seed}
    told |= {"data": args.data, "epochs": args.epochs, "budget": args.budget, "settings": args.settings}
    told |= {"architecture": text, "score": score, "macs": cost.macs, "params": cost.params}
    told |= {"steps": len(found.history), "seconds": round(found.seconds, 1)}
    write_atomically(args.out / "result.json", json.dumps(told, indent=2, ensure_ascii=False) + "\n")
    write_atomically(args.out / "architecture.txt", text + "\n")
    table = found.frame().drop(columns=UNSEEN, errors="ignore")
    write_atomically(args.out / "history.csv", table.to_csv(index=False, lineterminator="\n"))
    print(f"{space.in_line(best)}\n  score {score:.4f} by the supernet, {cost.macs:,} MACs, {cost.params:,} parameters")
    print(f"{args.out}: result.json, architecture.txt, history.csv")
