"""The command that ranks a file of architectures."""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext

import torch

from nasedu.commands.named import CLASSIFIED, MOST_WORKERS, check_classes, drawn, named_space
from nasedu.course.bar import Bar
from nasedu.course.setup import pick_device
from nasedu.data import classification
from nasedu.deploy import submission
from nasedu.errors import ParameterError, brief, check_whole
from nasedu.search import SupernetScore
from nasedu.spaces.base import SearchSpace, check_decided
from nasedu.storage import load_weights
from nasedu.task import Classification


def rank(args: argparse.Namespace) -> int:
    """Score a file of architectures with a supernet; the exit status."""
    out = args.out or args.file.with_name(f"{args.file.stem}_ranked.json")
    if args.merge:
        scores = submission.merge(args.file, args.merge)
    else:
        scores = ranked(args)
        if args.share != "1/1":
            print(f"{args.state}: {len(scores)} networks; --merge puts the states of all shares together")
            return 0
    submission.write(args.file, scores, out)
    print(f"{out}: {len(scores)} networks, from {min(scores.values()):.4f} to {max(scores.values()):.4f}")
    return 0


def ranked(args: argparse.Namespace) -> dict[str, float]:
    """The scores that `nasedu rank` asks for, of its share."""
    if not args.space or not args.weights or not args.state:
        raise ParameterError("a ranking needs --space, --weights and --state, or --merge with the states of its shares")
    share = args.share.split("/")
    if len(share) != 2 or not all(part.isascii() and part.isdecimal() and len(part) < 10 for part in share):
        raise ParameterError(f"--share is i/n, as in 2/16, got {brief(args.share)}")
    check_whole("workers", args.workers, 1, MOST_WORKERS)
    space, evaluate = judge(args)
    threads = max(1, (os.cpu_count() or 1) // args.workers)
    several, limit = args.workers > 1, torch.set_num_threads
    pool = ProcessPoolExecutor(args.workers, initializer=limit, initargs=(threads,)) if several else None
    with pool or nullcontext() as executor, Bar(desc="ranking", unit=" networks", delay=0.1) as bar:
        kept = {
            "state": args.state,
            "share": (int(share[0]), int(share[1])),
            "executor": executor,
            "progress": bar.show,
        }
        return submission.rank(args.file, space, evaluate, **kept)


def judge(args: argparse.Namespace) -> tuple[SearchSpace, SupernetScore]:
    """The space of a ranking, and the supernet that judges its networks on the images."""
    space, device = named_space(args.space, args.settings), pick_device(args.device)
    check_decided("a ranking", space)
    if args.workers > 1 and device.type != "cpu":
        raise ParameterError("several workers share the CPU alone: on another device take --workers 1 and --share")
    supernet = space.supernet()
    load_weights(supernet, args.weights)
    options = {"root": args.data, "image_size": space.input_shape[-1], **drawn(args.images, CLASSIFIED)}
    parts = [classification(args.dataset, part, **options).to(device) for part in ("train", "test")]
    check_classes(space, args.dataset, parts[0].classes)
    task = Classification(parts[0], test=parts[1], batch_size=128)
    return space, SupernetScore(space, supernet.to(device), task, "test")
