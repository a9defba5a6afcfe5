"""The command that searches: any space, any sampler that trains its supernet, any strategy.

A supernet is trained with the sampler's paths and judges architectures from then on. Strategies that ask look for the
one that it thinks best; gradient search goes on from its weights, and what it finds is judged by it as well, so that
the scores of two strategies can be compared.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from nasedu import data, hardware, processes, sampling, search, spaces
from nasedu.classification import recipe
from nasedu.commands.named import CLASSIFIED, DETECTED, MOST_WORKERS, check_classes, drawn, named_space
from nasedu.course.bar import Bar
from nasedu.course.folder import claim
from nasedu.course.parameters import pairs, parse
from nasedu.course.setup import pick_device
from nasedu.errors import BackendError, ParameterError, brief, check_name, check_whole, needs
from nasedu.files import write_atomically
from nasedu.progress import Progress
from nasedu.ranking import RankingLoss
from nasedu.registry import Registry, check_options
from nasedu.spaces.base import Network, SearchSpace
from nasedu.tables import LookupTable
from nasedu.task import Classification, Task, fit
from nasedu.wzdnas.detector import DetectorConfig, detection_task

PARTS = ("space", "sampler", "training", "strategy")  # whose options -p sets
# fields of settings that options of the command set, or nothing does
OWN = ("feasible", "costs", "cost", "budget", "patience", "relaxation", "training", "weights")
MOST_ASKED = 20_000  # architectures that an exhaustive search asks for
UNSEEN = ["probabilities", "budget"]  # of a history, what is no number
RELAXATIONS = ("softmax", "gumbel", "gates", "two_gates")

# by name the settings that a strategy takes, and what runs it
STRATEGIES: Registry = Registry(
    "strategy",
    {
        "random": (search.SearchConfig, search.random_search),
        "stratified": (search.StratifiedConfig, search.stratified_search),
        "local": (search.SearchConfig, search.local_search),
        "evolution": (search.EvolutionConfig, search.evolution),
        "exhaustive": (search.SearchConfig, search.random_search),
    }
    | dict.fromkeys(RELAXATIONS, (search.GradientConfig, search.gradient_search)),
)


@dataclass(frozen=True)
class Hunt:
    """What every strategy is handed: where to look, what for, and who judges."""

    space: SearchSpace
    task: Task
    supernet: Network
    evaluate: search.SupernetScore
    device: torch.device


def find(args: argparse.Namespace) -> int:
    """Train a supernet and search with it; the exit status."""
    if processes.asked_for() > 1:
        raise ParameterError(
            "one process leads a search: start it without torchrun, and share it with --workers or --scheduler"
        )
    check_name("strategy", args.strategy, STRATEGIES)
    check_name("sampler", args.sampler, sampling.names())
    for name in ("epochs", "budget", "batch_size", "workers"):
        check_whole(f"--{name.replace('_', '-')}", getattr(args, name), 1, MOST_WORKERS if name == "workers" else 10**9)
    check_whole("--seed", args.seed, 0)
    space, device = space_of(args), pick_device(args.device)
    settings = settings_of(args, space)  # before anything is trained
    named = f"search-{space.name}-{args.sampler}-{args.strategy}".replace(":", "-")
    args.out = args.out or Path("runs") / named
    with workers(args, device) as executor, prepared(args, space, device) as hunt:
        with Bar(desc=f"{args.strategy} search", delay=0.1) as bar:
            found = searched(args, hunt, settings, executor, bar.show)
        _write(args, hunt, found)
    return 0


def space_of(args: argparse.Namespace) -> SearchSpace:
    """The space of a search. Raises `NaseduError`."""
    options = sorted_settings(args.settings)["space"]
    space = named_space(args.space, [f"{name}={text}" for name, text in options.items()])
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


def _values(args: argparse.Namespace, part: str) -> dict[str, Any]:
    """What -p says of a part."""
    return {name: parse(name, text, "") for name, text in sorted_settings(args.settings)[part].items()}


def _state(args: argparse.Namespace, name: str) -> Path | None:
    """The file of a state, where anything is kept."""
    return args.out and args.out / f"{name}.state"


def settings_of(args: argparse.Namespace, space: SearchSpace) -> search.SearchConfig | search.GradientConfig:
    """The settings of the strategy that is asked for. Raises `NaseduError`."""
    kind, options = STRATEGIES[args.strategy][0], _values(args, "strategy")
    told = [field.name for field in fields(kind) if field.name not in OWN]
    check_options(f"the strategy {args.strategy}", options, told)
    if args.strategy in RELAXATIONS:
        if args.workers > 1 or args.cluster or args.patience is not None:
            what = "trains one supernet: it takes no --workers, --cluster or --patience"
            raise ParameterError(f"the strategy {args.strategy} {what}")
        return kind(**{"relaxation": args.strategy, "epochs": args.epochs, "warmup_epochs": 0} | options)
    own: dict[str, Any] = {"budget": args.budget, "patience": args.patience}
    if args.strategy == "exhaustive" and space.size > min(MOST_ASKED, args.budget):
        what = f"that is beyond {MOST_ASKED:,}" if space.size > MOST_ASKED else f"give --budget {space.size}"
        raise ParameterError(f"an exhaustive search asks for all {space.size:,} architectures of {space.name}: {what}")
    if args.strategy == "stratified":
        own["cost"] = LookupTable.build(space, "macs")
    if args.strategy == "evolution":  # a population leaves half of a small budget to breed with
        own["population"] = min(search.EvolutionConfig.population, max(2, args.budget // 2))
        own["k"] = min(search.EvolutionConfig.k, own["population"])
    return kind(**own | options)


def searched(
    args: argparse.Namespace,
    hunt: Hunt,
    settings: search.SearchConfig | search.GradientConfig,
    executor: Executor | None,
    progress: Progress,
) -> search.SearchResult:
    """What the strategy that is asked for finds.

    args: of the command line.
    hunt: where it looks.
    settings: as `settings_of` gives them.
    executor: evaluates, if any.
    progress: hears of evaluations, or of epochs.
    """
    run, told = STRATEGIES[args.strategy][1], {"seed": args.seed, "state": _state(args, "search")}
    if isinstance(settings, search.GradientConfig):
        begun = replace(settings, weights=hunt.supernet.state_dict())
        return run(hunt.space, hunt.task, begun, device=hunt.device, progress=progress, **told)
    return run(hunt.space, hunt.evaluate, settings, executor=executor, progress=progress, **told)


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


@contextmanager
def prepared(args: argparse.Namespace, space: SearchSpace, device: torch.device) -> Iterator[Hunt]:
    """All that a strategy needs, with a supernet that is trained, or read where the same command trained it before.

    The folder of results is this process's own until the context ends.

    args: of the command line.
    space: where to look.
    device: where to train.
    """
    sampler = sampling.create(args.sampler, space, **_values(args, "sampler"))
    config = recipe(**{"epochs": args.epochs} | _values(args, "training"))
    task = task_for(args, space, device)
    ranking = RankingLoss(LookupTable.build(space, "macs")) if args.sampler == "pairs" else None
    step = sampling.supernet_step(space, sampler, task, ranking=ranking)
    supernet = space.supernet(seed=args.seed)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
    with claim(args.out, "run") if args.out else nullcontext():
        with Bar(desc="supernet", unit=" epochs", delay=0.1) as bar:
            told = {"seed": args.seed, "device": device, "state": _state(args, "supernet"), "progress": bar.show}
            trained = fit(supernet, task, config, step, **told)
        supernet.load_state_dict(trained.ema.state_dict())
        evaluate = search.SupernetScore(space, supernet, task)
        yield Hunt(space, task, supernet, evaluate, device)


def task_for(args: argparse.Namespace, space: SearchSpace, device: torch.device) -> Task:
    """What networks of a space learn: scenes for detectors, images for all others.

    args: of the command line.
    space: whose networks.
    device: where the images are.
    """
    detects, side = hasattr(space, "anchors"), space.input_shape[-1]
    options = drawn(args.images, (*(DETECTED if detects else CLASSIFIED), "val_size"))
    sizes = {"train": options.pop("size", None), "val": options.pop("val_size", None)}
    read = data.detection if detects else data.classification
    made = {
        part: read(args.dataset, part, root=args.data, image_size=side, size=size, **options)
        for part, size in sizes.items()
    }
    check_classes(space, args.dataset, made["train"].classes)
    if detects:
        config = DetectorConfig(batch_size=args.batch_size)
        return detection_task(space, config, **made, seed=args.seed)
    made = {part: images.to(device) for part, images in made.items()}
    return Classification(**made, batch_size=args.batch_size, seed=args.seed)


def _write(args: argparse.Namespace, hunt: Hunt, found: search.SearchResult) -> None:
    """Tell what was found, and keep it."""
    space, best = hunt.space, found.best
    score, text = hunt.evaluate(best), space.format(best)
    cost = hardware.count(space.build(best), space.input_shape)
    told = {"space": space.name, "sampler": args.sampler, "strategy": args.strategy, "seed": args.seed}
    told |= {"dataset": args.dataset, "epochs": args.epochs, "budget": args.budget, "settings": args.settings}
    told |= {"architecture": text, "score": score, "macs": cost.macs, "params": cost.params}
    told |= {"steps": len(found.history), "seconds": round(found.seconds, 1)}
    write_atomically(args.out / "result.json", json.dumps(told, indent=2, ensure_ascii=False) + "\n")
    write_atomically(args.out / "architecture.txt", text + "\n")
    table = found.frame().drop(columns=UNSEEN, errors="ignore")
    write_atomically(args.out / "history.csv", table.to_csv(index=False, lineterminator="\n"))
    print(f"{space.in_line(best)}\n  score {score:.4f} by the supernet, {cost.macs:,} MACs, {cost.params:,} parameters")
    print(f"{args.out}: result.json, architecture.txt, history.csv; train it from scratch with")
    print(f"  nasedu train {args.space} --arch {args.out / 'architecture.txt'}")
