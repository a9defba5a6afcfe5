"""Commands that count and time a network, whoever made it."""

from __future__ import annotations

import argparse

from nasedu import hardware
from nasedu.commands.named import named_network


def count(args: argparse.Namespace) -> int:
    """Tell what a network costs on paper; the exit status."""
    network, shape = named_network(args.network, args.arch, args.settings, args.image_size)
    cost = hardware.count(network, shape)
    if args.layers:
        print(cost.frame().to_string())
    side = "x".join(map(str, shape))
    print(f"{cost.macs:,} MACs, {cost.params:,} parameters, {cost.weight_bytes:,} bytes of weights ({side}, batch 1)")
    return 0


def measure(args: argparse.Namespace) -> int:
    """Tell how long a network takes on this machine; the exit status."""
    network, shape = named_network(args.network, args.arch, args.settings, args.image_size)
    options = {"backend": args.backend, "batch": args.batch, "threads": args.threads, "device": args.device}
    options["precision"] = args.precision
    print(hardware.measure(network, shape, **options))
    return 0
