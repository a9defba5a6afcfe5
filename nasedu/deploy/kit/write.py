"""Making a kit: every block of a space, and some whole networks, as ONNX files with a manifest and a runner.

Latency depends on no weight's value. Large weights are therefore one short pattern, repeated, which packs to almost
nothing: a kit of full-size networks is small enough to send.
"""

from __future__ import annotations

import datetime
import gzip
import hashlib
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from nasedu import __version__, reading
from nasedu.blocks import Zero
from nasedu.deploy.kit.run_kit import KIT, Problem, check_entries, digest
from nasedu.errors import KitError, ParameterError, brief, check_kind, check_whole, needs
from nasedu.files import content_hash, write_atomically
from nasedu.hardware.export import OPSETS, example_inputs, onnx_model
from nasedu.hardware.quantise import OLDEST, quantised
from nasedu.modules import evaluation_mode
from nasedu.progress import Progress, silent
from nasedu.randomness import seeded
from nasedu.spaces.base import Arch, SearchSpace
from nasedu.storage import identity
from nasedu.tables.additivity import random_networks
from nasedu.tables.pieces import make_up, pieces

if TYPE_CHECKING:
    import onnx

MANIFEST, UNFINISHED, RUNNER = "manifest.json", "manifest.part.json", "run_kit.py"
CALL = "empty call"  # the entry that tells what calling a file takes, whatever is in it
PATTERN = 1024  # values of a weight that are kept and repeated: their scale, and no more than a compressor remembers
JOBS_PER_WORKER = 12  # starting a process takes as long as exporting half as many blocks


@dataclass(frozen=True)
class Job:
    """One file to make: a piece, by its index, or the network `arch`, on inputs of `shapes`; else the empty call.

    A spare network is measured only where another one stays noisy.
    """

    id: str
    file: str
    shapes: Sequence[tuple[int, ...]] = ((),)
    piece: int | None = None
    arch: Arch | None = None
    spare: bool = False

    @property
    def about(self) -> dict:
        """What its entry of the manifest begins with, known before it is made."""
        kind = "network" if self.arch is not None else "block" if self.piece is not None else "call"
        arch = None if self.arch is None else list(self.arch)
        about = {"id": self.id, "kind": kind, "arch": arch, "input_shapes": list(map(list, self.shapes))}
        return about | ({"spare": True} if self.spare else {})


@dataclass(frozen=True)
class KitConfig:
    """What a kit holds beside the blocks of its space. Raises `ParameterError` for what there cannot be.

    networks: how many different whole networks.
    spares: how many more, each of which stands in for a network that stays noisy.
    seed: draws them.
    batch: images of one call.
    int8: adds a file in int8 to each that computes, as `hardware.quantise.quantised` makes it. Its scales fit random
        maps, since latency depends on no value.
    opset: of `hardware.export.OPSETS`, the version of the operators; None: the exporter's own choice.
    """

    networks: int = 20
    spares: int = 4
    seed: int = 0
    batch: int = 1
    int8: bool = False
    opset: int | None = None

    def __post_init__(self):
        limits = {"networks": (0, 10_000), "spares": (0, 10_000), "batch": (1, 1024), "seed": (0, 2**63 - 1)}
        for name, (least, most) in limits.items():
            check_whole(name, getattr(self, name), least, most)
        check_kind("int8", self.int8, bool, "True or False")
        if self.opset is not None:
            check_whole("opset", self.opset, OLDEST if self.int8 else OPSETS[0], OPSETS[-1])


def write_kit(
    space: SearchSpace,
    out: str | Path,
    config: KitConfig = KitConfig(),
    *,
    workers: int = 1,
    progress: Progress = silent,
) -> dict:
    """Write a kit for a space into a folder, and return its manifest.

    It holds every piece of the space (equal ones once) and some whole networks. What an earlier call wrote before it
    was killed is kept. Raises `KitError` for a folder that holds something else or a process that was killed,
    `ParameterError`, `OutputError`.

    space: a space of choices that `spaces.create` made.
    out: the folder.
    config: what is in it.
    workers: processes that export side by side.
    progress: hears of (files there, files), at the start too.
    """
    check_whole("workers", workers)
    out, plan = Path(out), _plan(space, config)
    jobs, listed = _jobs(space, config)
    done = _begun(out, plan, jobs)
    manifest = plan | {"entries": [], "pieces": listed}
    _save(out / UNFINISHED, manifest | {"entries": list(done.values())})  # first: a folder without it is not ours
    write_atomically(out / RUNNER, (Path(__file__).parent / RUNNER).read_text())
    todo = [job for job in jobs if job.id not in done]
    progress(len(done), len(jobs))
    with _exported((space, out, config), todo, workers) as results:
        for entry in results:
            done[entry["id"]] = entry
            _save(out / UNFINISHED, manifest | {"entries": list(done.values())})
            progress(len(done), len(jobs))
    manifest = _save(out / MANIFEST, manifest | {"entries": [done[job.id] for job in jobs]})
    (out / UNFINISHED).unlink(missing_ok=True)
    return manifest


def _plan(space: SearchSpace, config: KitConfig) -> dict:
    """What a kit is to hold, as JSON reads it back: two kits of one plan are the same."""
    if not isinstance(space, SearchSpace):
        told = getattr(space, "name", brief(space))
        raise ParameterError(f"{told}'s architectures are strings, not choices: no table can be made for it")
    if not isinstance(space.made, tuple):
        raise ParameterError(f"a kit names its space, so {space.name} must be made by spaces.create")
    with needs("deploy"):
        import onnx
    make = space.made[0]
    plan = {
        "schema": KIT,
        "space": {"name": make.args[0], "options": make.keywords},
        "fingerprint": space.fingerprint,
        "code": identity(space),
        "input_shape": space.input_shape,
        "versions": {"nasedu": __version__, "torch": str(torch.__version__), "onnx": onnx.__version__},
    }
    try:
        return json.loads(json.dumps(plan | asdict(config)))
    except TypeError as error:
        raise ParameterError(f"an option of {space.name} cannot be written as JSON: {error}") from None


def _jobs(space: SearchSpace, config: KitConfig) -> tuple[list[Job], list[dict]]:
    """The files to make, and for every piece of the space the id of the one that stands for it."""
    jobs, listed, known = [Job(CALL, "call.onnx.gz")], [], {}
    for i, piece in enumerate(pieces(space)):
        what = make_up(piece.make("meta"), piece.input_shapes) or f"only {i}"
        if what not in known:
            known[what] = piece.name
            jobs.append(Job(piece.name, f"blocks/{len(jobs) - 1:03}.onnx.gz", piece.input_shapes, i))
        listed.append({"name": piece.name, "group": piece.group, "option": list(piece.option), "entry": known[what]})
    for i, arch in enumerate(living_networks(space, config.networks, config.seed, config.spares)):
        job = Job(
            f"network {i:02}", f"networks/{i:02}.onnx.gz", [space.input_shape], arch=arch, spare=i >= config.networks
        )
        jobs.append(job)
    return jobs, listed


def living_networks(space: SearchSpace, n: int, seed: int, spares: int = 0) -> list[Arch]:
    """Different random architectures whose output depends on their input.

    An exporter folds a network that multiplies everything by zero, as some cells do, into a constant that takes no
    time: it would say nothing of the table. Raises `ParameterError` where the space has fewer than `n`.

    space: draws them.
    n: how many.
    seed: of the draw.
    spares: how many more behind them, if there are any.
    """
    if n == 0:
        return []
    drawn = wanted = max(n, min(n + spares, space.size))
    archs = random_networks(space, drawn, seed)
    if not any(isinstance(m, Zero) for piece in pieces(space) for m in piece.make("meta").modules()):
        return archs
    while len(living := [arch for arch in archs if _lives(space, arch)]) < wanted and drawn < space.size:
        drawn = min(2 * drawn, space.size)
        archs = random_networks(space, drawn, seed)  # those before, and more
    if len(living) < n:
        raise ParameterError(f"only {len(living)} of {space.name} depend on their input, not {n}")
    return living[:wanted]


def _lives(space: SearchSpace, arch: Arch) -> bool:
    """Whether two different images give different outputs."""
    with seeded(0):
        network, images = space.build(arch), torch.randn(2, *space.input_shape)
    with evaluation_mode(network), torch.no_grad():
        first, second = network(images)
    return not torch.equal(first, second)


def _begun(out: Path, plan: dict, jobs: list[Job]) -> dict[str, dict]:
    """The entries, by id, of a kit with this plan that are as planned, their files whole.

    Raises `KitError` for any other folder.
    """
    if os.path.exists(out) and not out.is_dir():
        raise KitError(f"{out} is a file; a kit is a folder")
    if not os.path.exists(out) or all(path.name.startswith(".") for path in out.iterdir()):
        return {}
    there = [out / name for name in (MANIFEST, UNFINISHED) if (out / name).is_file()]
    if not there:
        raise KitError(f"{out} holds other files: name a folder that is empty or does not exist yet")
    try:
        stored = read_manifest(there[0])
    except KitError as error:
        raise KitError(f"{error}: name another folder, or delete this one") from None
    entries = {entry["id"]: entry for entry in stored["entries"]}
    if {k: stored.get(k) for k in plan} != plan:
        raise KitError(f"{out} holds a kit of another space or with other settings or versions: name another folder")
    known = {job.id: entries[job.id] for job in jobs if job.about.items() <= entries.get(job.id, {}).items()}
    return {name: entry for name, entry in known.items() if all(_whole(out, held) for held in files_of(entry))}


def files_of(entry: dict) -> list[dict]:
    """An entry of a manifest, as far as it has a file, and what it holds of its int8 file."""
    return [held for held in (entry, entry.get("int8")) if held and held["file"]]


def _whole(out: Path, held: dict) -> bool:
    return digest(out, held["file"]) == held["sha256"]


def read_manifest(path: Path) -> dict:
    """A manifest, finished or not, that is as it was written. Raises `KitError`."""
    try:
        manifest = reading.load(path)
        if not isinstance(manifest, dict) or manifest.get("schema") != KIT:
            raise ValueError(f"it is no manifest of a kit (schema {KIT!r})")
        check_entries(manifest)
    except (ValueError, Problem) as error:
        raise KitError(f"{path} cannot be read: {error}") from None
    if manifest.get("id") != manifest_id(manifest):
        raise KitError(f"{path} was changed after it was written: its id is not that of what it holds")
    return manifest


def manifest_id(manifest: dict) -> str:
    """What identifies a manifest: all that it holds but its own id and its date."""
    return content_hash({k: v for k, v in manifest.items() if k not in ("id", "date")})


def _save(path: Path, manifest: dict) -> dict:
    """Write a manifest with its id, and return it."""
    manifest = {"id": manifest_id(manifest), "date": datetime.date.today().isoformat()} | manifest
    write_atomically(path, json.dumps(manifest, indent=1) + "\n")
    return manifest


class Exporter:
    """Makes the files of a kit, one job at a time.

    space: whose pieces and networks they are.
    out: the kit's folder.
    config: what is in it.
    """

    def __init__(self, space: SearchSpace, out: Path, config: KitConfig):
        self.space, self.out, self.config = space, out, config
        self.pieces = list(pieces(space))

    def __call__(self, job: Job) -> dict:
        """The job's entry of the manifest, its file written. A block without a file costs nothing."""
        entry, batch = job.about, self.config.batch
        if job.id == CALL:
            return entry | self._written(job.file, empty_call())
        with seeded(self.config.seed):
            module = self.space.build(job.arch) if job.arch is not None else self.pieces[job.piece].make()
        model = onnx_model(module, *job.shapes, batch=batch, opset=self.config.opset)
        if job.arch is None and computes_nothing(model):
            return entry | {"file": None, "sha256": None}
        if self.config.int8:
            small = quantised(model, [example_inputs(job.shapes, batch)])
            repeat_weights(small)
            entry |= {"int8": self._written(f"int8/{job.file}", small)}
        repeat_weights(model)
        return entry | self._written(job.file, model)

    def _written(self, file: str, model: onnx.ModelProto) -> dict:
        """Write a file; its name and hash."""
        packed = gzip.compress(model.SerializeToString(deterministic=True), 6, mtime=0)
        write_atomically(self.out / file, packed)
        return {"file": file, "sha256": hashlib.sha256(packed).hexdigest()}


def empty_call() -> onnx.ModelProto:
    """A model with next to nothing to do, one Relu of one number: its time is the price of a call."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x0", "y0"))
    graph = helper.make_graph([helper.make_node("Relu", ["x0"], ["y0"])], "call", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def computes_nothing(model: onnx.ModelProto) -> bool:
    """Whether a network that contains this piece runs no operator for it: its output is its input, or constant.

    Alone it would still be measured as the price of a call, which the network does not pay.
    """
    return all(node.op_type == "Identity" for node in model.graph.node)


def repeat_weights(model: onnx.ModelProto) -> None:
    """Fill every weight of more than 1,024 values with its own first 1,024, over and over."""
    from onnx import TensorProto, numpy_helper

    for weight in model.graph.initializer:
        if weight.data_type in (TensorProto.FLOAT, TensorProto.INT8) and np.prod(weight.dims) > PATTERN:
            values = numpy_helper.to_array(weight)
            weight.CopyFrom(numpy_helper.from_array(np.resize(values.ravel()[:PATTERN], values.shape), weight.name))


@contextmanager
def _exported(settings: tuple, jobs: list[Job], workers: int) -> Iterator[Iterator[dict]]:
    """The jobs' entries, in order, as they are made: here, or in as many processes as there is work for."""
    workers = min(workers, len(jobs) // JOBS_PER_WORKER)
    if workers < 2:
        yield map(Exporter(*settings), jobs)
        return
    spawn = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, spawn, _start_worker, settings) as pool:
            with _deaf():
                results = pool.map(_work, jobs)  # starts the processes, who are as deaf to Ctrl-C as who starts them
            try:
                yield results
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    except BrokenProcessPool:
        killed = "an export process was killed, probably for want of memory"
        raise KitError(f"{killed}: the same command with --workers 1 goes on") from None


@contextmanager
def _deaf() -> Iterator[None]:
    """Ignore Ctrl-C for a moment, where this thread may say so."""
    with ExitStack() as afterwards:
        if threading.current_thread() is threading.main_thread():
            afterwards.callback(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.SIG_IGN))
        yield


_exporter: Exporter | None = None  # a worker's own


def _start_worker(*settings) -> None:
    """Make this process export: on one thread, deaf to Ctrl-C (the parent stops it), gone when the parent is."""
    global _exporter
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
    torch.set_num_threads(1)
    _exporter = Exporter(*settings)


def _work(job: Job) -> dict:
    return _exporter(job)
