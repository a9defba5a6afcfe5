#!/usr/bin/env python3
"""Measure this kit's blocks and networks on this device: `python run_kit.py`.

Needs Python 3.9 or newer, NumPy and ONNX Runtime (or OpenVINO; or ncnn with pnnx), nothing else and no network.
Results go to results.jsonl, one line a block; stop it when you like, the same command goes on. A time is that of one
call with the inputs in main memory: on an accelerator it includes copying them there and the result back.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib.util
import json
import math
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

KIT, RESULTS = "nasedu-kit-3", "nasedu-kit-results-3"
PRECISIONS = ("float32", "int8")
SHORTEST = 0.2  # ms: a block that is faster runs several times in a row, so that the clock's steps do not matter
NOISE = 0.15  # of the median: quartiles further apart than this mean that something else was running
ATTEMPTS = 3  # at a noisy block, each after all that wait before it
FILE = re.compile(r"(call|(int8/)?(blocks|networks)/[0-9]{1,9})\.onnx\.gz")  # what a kit's files are called
KINDS = ("call", "block", "network")  # of a kit's entries
MAY_DIFFER = ("machine", "governor", "timer_ms", "date")  # between the first line of the results and a later run


class Problem(Exception):
    """Anything that the person at the device has to know, in one sentence."""


def main(arguments=None):
    """Measure what is not measured yet. Returns the exit status: 0 done, 2 a problem, 130 interrupted."""
    args = parser().parse_args(arguments)
    try:
        return measure_kit(Path(args.kit), args)
    except Problem as problem:
        print(f"run_kit: {printable(problem)}", file=sys.stderr)
        return 2
    except OSError as error:  # no such folder, a folder in the file's place, a full disk
        print(f"run_kit: {error.filename or 'the results'}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nrun_kit: interrupted; the same command goes on where it was", file=sys.stderr)
        return 130


def printable(text):
    """A text without what a terminal would obey, such as colours and line ends; long ones are cut."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text)[:2000])
    return text if len(text) < 300 else f"{text[:200]} ... {text[-80:]}"


def parser():
    """What may stand on the command line."""
    whole = partial(at_least, 1)
    top = argparse.ArgumentParser("run_kit.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    top.add_argument("--threads", type=whole, default=1, help="CPU threads of one network (default: 1)")
    top.add_argument("--repeats", type=partial(at_least, 3), default=30, help="timed repeats of a block (default: 30)")
    top.add_argument("--warmup", type=whole, default=5, help="runs before the first that counts (default: 5)")
    top.add_argument(
        "--runtime", choices=list(RUNTIMES), default="onnxruntime", help="what runs (default: %(default)s)"
    )
    where = "ONNX Runtime's execution provider, or OpenVINO's or ncnn's device (default: the CPU)"
    top.add_argument("--provider", help=where)
    top.add_argument("--precision", choices=PRECISIONS, default="float32", help="int8 where the kit has such files")
    long = "let each take so many at least, for a meter that is slow (default: 0)"
    top.add_argument("--seconds", type=partial(at_least, 0), default=0, help=long)
    whole_networks = "whole networks alone, for a device that cannot run blocks (import-kit --estimate)"
    top.add_argument("--only", choices=["networks"], help=whole_networks)
    out = "where the results go (default: results.jsonl beside this file; results-openvino-int8.jsonl, say)"
    top.add_argument("--out", type=Path, help=out)
    top.add_argument("--kit", default=Path(__file__).resolve().parent, help=argparse.SUPPRESS)
    return top


def at_least(least, text):
    """The whole number that a text says, when it is that large."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"needs a whole number of {least} or more, got {text!r}")
    return int(text)


def measure_kit(folder, args):
    """Check the kit, then measure every block and network that has no line in the results yet."""
    runtime = load_runtime(args.runtime, args.provider)
    manifest = read_manifest(folder)
    out = args.out or folder / results_name(args)
    header = describe(manifest["id"], args, runtime)
    done = read_results(out, header)
    entries = [entry for entry in manifest["entries"] if entry["file"]]
    if args.runtime == "ncnn" and (args.precision, args.only) != ("float32", "networks"):
        raise Problem("ncnn takes whole networks in float32: add --only networks (and here import-kit --estimate)")
    if args.precision == "int8" and not any(entry.get("int8") for entry in entries):
        raise Problem("this kit has no int8 files: make it with nasedu kit --int8")
    if args.only:
        entries = [entry for entry in entries if entry["kind"] == "network"]
    # in a random order, always the same: a device that slows down as it warms up then slows no part in particular
    random.Random(manifest["id"]).shuffle(entries)
    spares = [entry for entry in entries if entry.get("spare")]
    asked = [entry for entry in entries if not entry.get("spare")]
    networks = {entry["id"] for entry in entries if entry["kind"] == "network"}
    begun = [entry for entry in spares if entry["id"] in done]
    left = [entry for entry in asked if entry["id"] not in done]
    spares = [entry for entry in spares if entry["id"] not in done]
    for _ in range(sum(done[name] for name in networks & done.keys()) - len(begun)):
        left += [spares.pop(0)] if spares else []  # a kill came between a noisy network and what stands in for it
    print(f"{header['device']}: {len(left)} of {len(asked)} to measure")
    with open(out, "a", encoding="utf-8") as file:
        if not file.tell():
            append(file, header)

        def one(entry):
            chosen = entry.get("int8") if args.precision == "int8" else None
            return measure(folder / (chosen or entry)["file"], args, runtime, header["timer_ms"])

        new = measure_all(left, spares, len(done), file, one)
    noisy = sum(done.values()) + sum(new.values())
    print(f"\nAll {len(done) + len(new)} are measured, {noisy} of them noisy: {out}")
    if noisy > len(asked) / 10:
        print("The device was busy. Stop other programs, delete that file and run this again for better figures.")
    default = out.name == "results.jsonl"
    print(
        "Copy it into the kit's folder where nasedu is installed, and run there: python -m nasedu import-kit FOLDER"
        + " --estimate" * bool(args.only)
        + f" --results FOLDER/{out.name}" * (not default)
    )
    return 0


def results_name(args):
    """What the results of these settings are called."""
    usual = "onnxruntime", None, "float32"
    other = [x for x in (args.runtime, args.provider, args.precision) if x not in usual]
    return "-".join(["results", *(re.sub(r"[^\w.]", "_", x) for x in other)]) + ".jsonl"


def measure_all(left, spares, before, file, measure_one):
    """Write a line for each entry; a noisy one waits for a calmer moment. Returns which stay noisy, by their ids.

    left: the manifest's entries that are not measured yet.
    spares: networks that stand in for those that stay noisy.
    before: how many are measured already.
    file: the open results.
    measure_one: measures an entry and returns its line.
    """
    queue, kept, done = list(left), {}, {}
    started, visits = time.perf_counter(), 0
    while queue:
        entry = queue.pop(0)
        name, visits = entry["id"], visits + 1
        line = calmest(kept.pop(name, None), measure_one(entry))
        again = line["noisy"] and line["attempts"] < ATTEMPTS
        if again:
            kept[name] = line
            queue.append(entry)
        else:
            append(file, {"id": name, **line})
            done[name] = line["noisy"]
            if line["noisy"] and entry["kind"] == "network" and spares:
                queue.append(spares.pop(0))
        seconds = (time.perf_counter() - started) / visits * len(queue)
        flag = "  noisy" + (", again later" if again else "") if line["noisy"] else ""
        warm = f"  {line['celsius']:g} °C" if line.get("celsius") else ""
        place = f"{before + len(done):4}/{before + len(done) + len(queue)}"
        print(f"{place}  {name:30} {line['median_ms']:10.3f} ms  {clock(seconds)} left{warm}{flag}", flush=True)
    return done


def calmest(before, line):
    """The one of two measurements whose quartiles are closer together, with the number of attempts."""
    if before is None:
        return line
    best = min(before, line, key=spread)
    return {**best, "attempts": before["attempts"] + line["attempts"]}


def spread(line):
    """How far the quartiles are apart, in medians."""
    return (line["high_ms"] - line["low_ms"]) / line["median_ms"]


class OnnxRuntime:
    """ONNX Runtime, on one of its execution providers.

    provider: what computes.
    """

    name, title, usual = "onnxruntime", "ONNX Runtime", "CPUExecutionProvider"
    oldest = 1, 18  # that reads the kit's files

    def __init__(self, provider):
        import onnxruntime

        self.module, self.provider, self.version = onnxruntime, provider, onnxruntime.__version__

    def available(self):
        """The providers that there are."""
        return self.module.get_available_providers()

    def open(self, content, threads):
        """The shapes of a model's inputs by their names, and a function that runs it on arrays by name.

        content: the bytes of an ONNX file.
        threads: of the CPU.

        Raises `Problem` where it would run on another provider.
        """
        self.module.set_default_logger_severity(3)
        options = self.module.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        session = self.module.InferenceSession(content, options, providers=[self.provider])
        if session.get_providers()[0] != self.provider:
            raise Problem(f"{self.provider} does not start here, ONNX Runtime offers {session.get_providers()[0]}")
        return {x.name: x.shape for x in session.get_inputs()}, partial(session.run, None)


class OpenVino:
    """OpenVINO, as `OnnxRuntime`. It computes float32 in float32, and tells nobody that it ran.

    provider: the device that computes.
    """

    name, title, usual, oldest = "openvino", "OpenVINO", "CPU", (2024, 0)

    def __init__(self, provider):
        sys.modules.setdefault("openvino_telemetry", None)
        import openvino

        self.core, self.provider, self.version = openvino.Core(), provider, openvino.__version__

    def available(self):
        """The devices that there are."""
        return self.core.available_devices

    def open(self, content, threads):
        """Shapes and a function, as `OnnxRuntime.open`.

        content: the bytes of an ONNX file.
        threads: of the CPU.
        """
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if self.provider == "CPU":
            settings.update(INFERENCE_NUM_THREADS=threads, NUM_STREAMS=1, ENABLE_CPU_PINNING=False)
        compiled = self.core.compile_model(self.core.read_model(content), self.provider, settings)
        request = compiled.create_infer_request()
        shapes = {x.get_any_name(): list(x.shape) for x in compiled.inputs}
        return shapes, partial(request.infer, share_inputs=True)


class Ncnn:
    """ncnn, as `OnnxRuntime`. pnnx converts each network first, which takes some seconds and is not timed.

    provider: "CPU", or "Vulkan" for a GPU.
    """

    name, title, usual, oldest = "ncnn", "ncnn", "CPU", (1, 0)
    INPUT = re.compile(r"pnnx\.Input .* #\w+=\(([0-9,]+)\)f32")  # of a converted network, with its shape

    def __init__(self, provider):
        import ncnn
        import numpy

        converter = importlib.util.find_spec("pnnx")  # whose program needs nothing; imported, it asks for PyTorch
        if converter is None:
            raise ModuleNotFoundError("No module named 'pnnx'", name="pnnx")
        self.program = Path(converter.origin).with_name("pnnx.exe" if os.name == "nt" else "pnnx")
        self.module, self.array, self.provider, self.version = ncnn, numpy.array, provider, ncnn.__version__

    def available(self):
        """The devices that there are; to ask for a GPU starts its driver, which tells where there is none."""
        asked = self.provider == "Vulkan" and hasattr(self.module, "get_gpu_count")
        return ["CPU"] + ["Vulkan"] * bool(asked and self.module.get_gpu_count())

    def open(self, content, threads):
        """Shapes and a function, as `OnnxRuntime.open`.

        content: the bytes of an ONNX file.
        threads: of the CPU.

        Raises `Problem` for what ncnn cannot hold.
        """
        net = self.module.Net()
        net.opt.num_threads, net.opt.use_vulkan_compute = threads, self.provider == "Vulkan"
        for kind in ("fp16_storage", "fp16_arithmetic", "fp16_packed", "bf16_storage"):  # float32 is what is asked for
            setattr(net.opt, f"use_{kind}", False)
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            (place / "m.onnx").write_bytes(content)
            command = [str(self.program), "m.onnx", "fp16=0"]
            told = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if not (place / "m.ncnn.param").is_file():
                raise Problem(f"pnnx cannot convert a file: {told.stdout.decode(errors='replace').strip()[-100:]}")
            lines = map(self.INPUT.match, read_text(place / "m.pnnx.param").splitlines())
            if net.load_param(str(place / "m.ncnn.param")) or net.load_model(str(place / "m.ncnn.bin")):
                raise Problem("ncnn cannot read what pnnx made of a file")
        shapes = [list(map(int, line[1].split(","))) for line in lines if line]
        if any(shape[0] != 1 for shape in shapes):
            raise Problem("ncnn takes one image at a time: make the kit with --batch 1")
        return {f"in{i}": shape for i, shape in enumerate(shapes)}, partial(self.run, net, net.output_names())

    def run(self, net, outputs, feeds):
        """What a network makes of arrays by name, as arrays; all are copies, for ncnn keeps none of them alive.

        net: as ncnn has loaded it.
        outputs: their names.
        feeds: of one image each.
        """
        extractor = net.create_extractor()
        for name, array in feeds.items():
            extractor.input(name, self.module.Mat(array[0]).clone())
        return [self.array(extractor.extract(name)[1]) for name in outputs]


def load_runtime(name, provider=None):
    """One of `RUNTIMES`, if it can be loaded, is new enough and has the provider."""
    try:
        import numpy  # noqa: F401

        runtime = RUNTIMES[name](provider or RUNTIMES[name].usual)
    except ImportError as error:
        needed = "--no-deps pnnx" if error.name == "pnnx" else f"numpy {name}"
        raise Problem(
            f"{error.name} is missing; install it with: python3 -m venv env && env/bin/pip install {needed}; "
            "then: env/bin/python run_kit.py" + f" --runtime {name}" * (name != "onnxruntime")
        ) from None
    if tuple(map(int, runtime.version.split(".")[:2])) < runtime.oldest:
        oldest = ".".join(map(str, runtime.oldest))
        raise Problem(f"{name} {runtime.version} is too old, the kit needs {oldest} or newer")
    available = runtime.available()
    if runtime.provider not in available:
        raise Problem(f"{runtime.title} has no {runtime.provider} here; available: {', '.join(available)}")
    return runtime


RUNTIMES = {kind.name: kind for kind in (OnnxRuntime, OpenVino, Ncnn)}


def read_manifest(folder):
    """The kit's table of contents, when every file that it lists is there as it was made."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except OSError:
        raise Problem(f"{folder} holds no manifest.json: the kit is not finished, or was not copied whole") from None
    except (ValueError, RecursionError):
        raise Problem(f"{folder / 'manifest.json'} is damaged: copy the kit again") from None
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if schema != KIT:
        raise Problem(f"this runner reads kits of the schema {KIT}, the kit has {schema!r:.60}: copy both from one kit")
    check_entries(manifest)
    if not is_name(manifest.get("id")):
        raise Problem("the manifest has no id: copy the kit again")
    entries = [entry for entry in manifest["entries"] if entry["file"]]
    files = [held for entry in entries for held in (entry, entry.get("int8")) if held]
    bad = [held["file"] for held in files if digest(folder, held["file"]) != held["sha256"]]
    if bad:
        raise Problem(f"{len(bad)} of {len(files)} files are missing or damaged, such as {bad[0]}: copy them again")
    return manifest


def check_entries(manifest):
    """Refuse a manifest whose entries have no names of their own, or name any other file than a kit has."""
    entries, known = manifest.get("entries"), set()
    if not isinstance(entries, list):
        raise Problem("the manifest lists no entries: copy the kit again")
    for number, entry in enumerate(entries, 1):
        name = entry.get("id") if isinstance(entry, dict) else None
        if not is_name(name) or name in known:
            raise Problem(f"entry {number} of the manifest has no name of its own, but {name!r:.60}")
        known.add(name)
        if entry.get("kind") not in KINDS:
            raise Problem(f"entry {number} of the manifest is of the kind {entry.get('kind')!r:.60}, not of a kit's")
        other = entry.get("int8")
        for held in (entry,) if other is None else (entry, other):
            file, content = (held.get(k, 0) if isinstance(held, dict) else 0 for k in ("file", "sha256"))
            none = held is entry and (file, content) == (None, None)  # it costs nothing
            if not none and not (is_name(file) and FILE.fullmatch(file) and is_name(content)):
                raise Problem(f"entry {number} of the manifest names the file {file!r:.60}, which is none of a kit's")


def is_name(value):
    """Whether a value out of a file is a short text that can be printed."""
    return isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable()


def digest(folder, name):
    """The SHA-256 of a file in a folder; None where there is none, or a link leads out of the folder."""
    path = folder / name
    inside = folder.resolve() in path.resolve().parents
    return hashlib.sha256(path.read_bytes()).hexdigest() if inside and path.is_file() else None


def describe(kit, args, runtime):
    """The first line of the results: this kit, this device and these settings.

    kit: the kit's id.
    args: the command line's.
    runtime: as `load_runtime` gives it.
    """
    import numpy

    return {
        "schema": RESULTS,
        "kit": kit,
        "device": device_name(),
        "cores": os.cpu_count() or 1,
        "machine": platform.machine(),
        "system": platform.platform(),
        "governor": read_text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "runtime": runtime.name,
        "version": runtime.version,
        "provider": runtime.provider,
        **{name: getattr(args, name) for name in ("precision", "threads", "repeats", "warmup", "seconds")},
        "timer_ms": timer_overhead(),
        "date": time.strftime("%Y-%m-%d"),
    }


def device_name():
    """What the device calls itself: a board's model, else the processor's."""
    board = read_text("/proc/device-tree/model")
    named = [line.split(":", 1) for line in read_text("/proc/cpuinfo").splitlines() if ":" in line]
    names = {key.strip(): value.strip() for key, value in named}
    known = board or names.get("model name") or names.get("Hardware")
    return printable(known or platform.processor() or platform.machine() or "unknown")[:200]


def read_text(path):
    """A small file of the system's, or nothing where there is none."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    except OSError:
        return ""


def read_results(path, header):
    """The ids that are measured, with whether they are noisy; a last line that a kill cut short is dropped.

    Nothing is dropped before the file has proved to be this kit's results: it may be a precious one, named by mistake.
    """
    text = path.read_bytes() if path.exists() else b""
    if not text:
        return {}
    start = json.dumps({"schema": RESULTS})[:-1].encode()
    if not text.startswith(start) and not start.startswith(text):  # the first line itself may be cut short
        raise Problem(f"{path} is no file of this runner's results: give another --out")
    whole = text[: text.rfind(b"\n") + 1]
    done = checked_results(path, whole.decode("utf-8", "replace").splitlines(), header) if whole else {}
    if whole != text:
        with open(path, "r+b") as file:
            file.truncate(len(whole))
    return done


def checked_results(path, lines, header):
    """The ids of a results file's lines, with whether they are noisy, when its header is like the one given.

    path: the file, to name it.
    lines: its whole lines.
    header: what its first line has to agree with.
    """
    try:
        first, *lines = [json.loads(line) for line in lines]
        done = {line["id"]: bool(line["noisy"]) for line in lines}
        damaged = not all(map(intact, [first, *lines]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Problem(f"{path} cannot be read: give another --out, or delete it to measure all again") from None
    if damaged:
        raise Problem(f"{path} was changed after it was written: give another --out, or delete it to measure all again")
    if first.get("kit") != header["kit"]:
        raise Problem(f"{path} holds results of another kit: give another --out, or delete it")
    differ = [name for name in header if name not in MAY_DIFFER and first.get(name) != header[name]]
    other = [f"{name} {first.get(name)}, now {header[name]}" for name in differ]
    if other:
        raise Problem(f"{path} was measured otherwise ({'; '.join(other)}): give another --out, or delete it")
    return done


def append(file, line):
    """Write one line, sealed, so that a kill or a power cut afterwards cannot take it back."""
    file.write(json.dumps(sealed(line)) + "\n")
    file.flush()
    os.fsync(file.fileno())


def sealed(line):
    """The line with a hash of what it says, at its end."""
    return {**line, "hash": hashlib.sha256(json.dumps(line, sort_keys=True).encode()).hexdigest()[:16]}


def intact(line):
    """Whether a line says what it said when it was sealed."""
    return line == sealed({name: value for name, value in line.items() if name != "hash"})


def measure(path, args, runtime, timer_ms):
    """Milliseconds of one run: the median of the repeats and its quartiles, and whether they are too far apart.

    Beside them what a meter's log is read with, if there is one: when it began and ended, in seconds of the system's
    clock, and how often the file ran in between. And how warm the device was and how fast its clock, where it tells.

    path: a packed ONNX file.
    args: the command line's.
    runtime: as `load_runtime` gives it.
    timer_ms: what reading the clock takes.
    """
    run, feeds = load(path, args, runtime)
    began, calls = time.time(), 0

    def timed(runs):
        """Milliseconds of each of `runs` runs in a row."""
        nonlocal calls
        calls += runs
        start = time.perf_counter()
        for _ in range(runs):
            run(feeds)
        return 1e3 * (time.perf_counter() - start) / runs

    guess = min(timed(1) for _ in range(args.warmup))
    runs = max(1, math.ceil(SHORTEST / max(guess - timer_ms, timer_ms, 1e-6)))
    times = [timed(runs) for _ in range(args.repeats)]
    while time.time() < began + args.seconds:
        times.append(timed(runs))
    ended, (low, median, high) = time.time(), statistics.quantiles(times, n=4)
    line = {"median_ms": round(median, 6), "low_ms": round(low, 6), "high_ms": round(high, 6)}
    line.update(repeats=len(times), runs=runs, attempts=1, noisy=spread(line) > NOISE)
    line.update(began=round(began, 3), ended=round(ended, 3), calls=calls)
    return {**line, "celsius": hottest(), "mhz": fastest()}


def load(path, args, runtime):
    """What runs the model on what was asked for, and on nothing else, and its inputs.

    path: a packed ONNX file.
    args: the command line's.
    runtime: as `load_runtime` gives it.
    """
    try:
        shapes, run = runtime.open(gzip.decompress(path.read_bytes()), args.threads)
    except Problem:
        raise
    except Exception as error:  # of a runtime's many own types
        reason = (str(error).splitlines() or [""])[0][:200]
        raise Problem(f"{runtime.name} {runtime.version} cannot run {path.name}: {reason}") from None
    return run, random_inputs(shapes)


def random_inputs(shapes):
    """Standard normal inputs of the shapes that the model asks for, always the same."""
    import numpy

    rng = numpy.random.default_rng(0)
    return {name: rng.standard_normal(shape).astype(numpy.float32) for name, shape in shapes.items()}


def hottest():
    """The warmest part of the device, in degrees Celsius; None where the system does not tell."""
    return most(Path("/sys/class/thermal").glob("thermal_zone*/temp"), 1e3)


def fastest():
    """The clock of the fastest core, in MHz; None where the system does not tell."""
    return most(Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq"), 1e3)


def most(files, unit):
    """The largest number in the files, in units; None without any."""
    texts = [read_text(path) for path in files]
    return max((int(text) / unit for text in texts if re.fullmatch(r"[0-9]{1,9}", text)), default=None)


def timer_overhead():
    """Milliseconds that reading the clock twice takes."""
    times = []
    for _ in range(1000):
        start = time.perf_counter()
        times.append(1e3 * (time.perf_counter() - start))
    return round(statistics.median(times), 6)


def clock(seconds):
    """A time left, as minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


if __name__ == "__main__":
    sys.exit(main())
