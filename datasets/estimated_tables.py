"""Makes `estimated_tables.json`: how far off tables are that were estimated from 20, 40 and 60 whole networks.

    python datasets/estimated_tables.py              # goes on where it was; about half an hour on a quiet core
    python datasets/estimated_tables.py --networks 12 --rounds 1 --out runs/try.json   # only to see that it works

For each space and backend: the blocks are timed, then whole networks, in rounds. Errors are of networks that the table
was not made from (cross-validation), beside those of the sum of the blocks, of the sum with its correction, and of a
table whose prior are MACs. What was measured is kept in `runs/estimated_tables`. Other programs should rest meanwhile.
"""

from __future__ import annotations

import argparse
import datetime
import json
from pathlib import Path

import torch

from nasedu import spaces
from nasedu.files import write_atomically
from nasedu.hardware.about import describe_device
from nasedu.randomness import stream
from nasedu.tables import LookupTable, correct, estimate, latency_table, measure_networks, random_networks

HERE = Path(__file__).parent
RUNS = HERE.parent / "runs" / "estimated_tables"
SPACES = {"nasbench201:course": {}, "yolo:course": {"image_size": 96}, "fbnet:course": {}}
BACKENDS = ("torch", "onnxruntime")
COUNTS = (20, 40, 60)  # networks
DRAWS = 5  # random parts of all networks, and folds, that an error is the mean of
SEED = 0


def measured(name: str, backend: str, networks: int, rounds: int) -> tuple[LookupTable, list, list[list[float]]]:
    """The blocks' table, the networks, and the times in ms of every round; what is kept is not measured again.

    name: of the space.
    backend: what runs it.
    networks: how many.
    rounds: how often each is measured.
    """
    space, kept = spaces.create(name, **SPACES[name]), f"{name.replace(':', '-')}-{backend}"
    table = latency_table(space, "measure", RUNS / f"{kept}-blocks.json", backend=backend)
    archs, file = random_networks(space, networks, SEED), RUNS / f"{kept}-networks.json"
    found = json.loads(file.read_text()) if file.exists() else {"fingerprint": space.fingerprint, "archs": [], "ms": []}
    if found["fingerprint"] != space.fingerprint or found["archs"] != [list(arch) for arch in archs]:
        found = {"fingerprint": space.fingerprint, "archs": [list(arch) for arch in archs], "ms": []}
    while len(found["ms"]) < rounds:  # a round at a time, each in another order
        found["ms"].append(measure_networks(space, archs, rounds=1, seed=len(found["ms"]), backend=backend))
        write_atomically(file, json.dumps(found))
        print(f"{name}, {backend}: round {len(found['ms'])} of {rounds}", flush=True)
    return table, archs, found["ms"][:rounds]


def errors(table: LookupTable, archs: list, ms: list[float], count: int) -> dict[str, float]:
    """Mean absolute relative errors by the number of networks: each the mean over parts of them and over folds."""
    macs, found = LookupTable.build(table.space, "macs"), []
    for draw in range(DRAWS):
        part = random_part(len(archs), count, draw)
        some, times = [archs[i] for i in part], [ms[i] for i in part]
        blocks = estimate(table, some, times, seed=draw)
        counted = estimate(macs, some, times, seed=draw)
        found.append(
            {
                "sum": blocks.sum.mape,
                "sum_corrected": correct(table, some, times, seed=draw).after.mape,
                "estimated": blocks.after.mape,
                "estimated_from_macs": counted.after.mape,
                "line_through_macs": counted.scaled.mape,
            }
        )
    return {name: round(sum(one[name] for one in found) / len(found), 5) for name in found[0]}


def random_part(total: int, count: int, draw: int) -> list[int]:
    """Places of some of the networks."""
    order = torch.randperm(total, generator=stream(SEED, "networks of a table", draw))
    return sorted(order[:count].tolist())


def again(ms: list[list[float]]) -> float | None:
    """By how much the first round is off the median of the others: what no table can be expected to say."""
    if len(ms) < 2:
        return None
    first, others = torch.tensor(ms[0]), torch.tensor(ms[1:]).median(0).values
    return round(float((first / others - 1).abs().mean()), 5)


def main(networks: int, rounds: int, out: Path) -> None:
    """Measure what is missing, and write the errors."""
    torch.set_num_threads(1)
    RUNS.mkdir(parents=True, exist_ok=True)
    counts = [count for count in COUNTS if count <= networks] or [networks]
    stored = {}
    for name in SPACES:
        for backend in BACKENDS:
            table, archs, ms = measured(name, backend, networks, rounds)
            median = torch.tensor(ms, dtype=torch.float64).median(0).values.tolist()
            stored[f"{name} {backend}"] = {
                "input_shape": list(table.space.input_shape),
                "fingerprint": table.space.fingerprint,
                "noisy_pieces": table.provenance["noisy_pieces"],
                "measured_again": again(ms),
                "errors": {str(count): errors(table, archs, median, count) for count in counts},
            }
    made = {"made_by": "datasets/estimated_tables.py", "date": datetime.date.today().isoformat(), "threads": 1}
    made |= {"networks": networks, "rounds": rounds, "draws": DRAWS}
    made |= describe_device() | describe_device(None, "onnxruntime")
    write_atomically(out, json.dumps({"provenance": made, "spaces": stored}, indent=1) + "\n")
    print(json.dumps({name: space["errors"] for name, space in stored.items()}, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=max(COUNTS), help="whole networks (default: 60)")
    parser.add_argument("--rounds", type=int, default=3, help="times that each is measured (default: 3)")
    parser.add_argument("--out", type=Path, default=HERE / "estimated_tables.json", help="where the errors go")
    given = parser.parse_args()
    main(given.networks, given.rounds, given.out)
