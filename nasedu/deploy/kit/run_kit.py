#!/usr/bin/env python3
"""Measure this kit's blocks and networks on this device: `python run_kit.py`.

Needs Python 3.9 or newer, NumPy and ONNX Runtime, nothing else and no network. Results go to results.jsonl, one line a
block; stop it when you like, the same command goes on. A time is that of one call of ONNX Runtime with the inputs in
main memory: on an accelerator it includes copying them there and the result back.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import math
import os
import platform
import random
import re
import statistics
import sys
import time
from functools import partial
from pathlib import Path

KIT, RESULTS = "nasedu-kit-2", "nasedu-kit-results-2"
OLDEST = (1, 18)  # ONNX Runtime that reads the kit's files
SHORTEST = 0.2  # ms: a block that is faster runs several times in a row, so that the clock's steps do not matter
NOISE = 0.15  # of the median: quartiles further apart than this mean that something else was running
ATTEMPTS = 3  # at a noisy block, each after all that wait before it
FILE = re.compile(r"(call|blocks/[0-9]{1,9}|networks/[0-9]{1,9})\.onnx\.gz")  # what a kit's files are called
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
    top.add_argument("--provider", default="CPUExecutionProvider", help="ONNX Runtime's (default: %(default)s)")
    whole_networks = "whole networks alone, for a device that cannot run blocks (import-kit --estimate)"
    top.add_argument("--only", choices=["networks"], help=whole_networks)
    top.add_argument("--out", type=Path, help="where the results go (default: results.jsonl beside this file)")
    top.add_argument("--kit", default=Path(__file__).resolve().parent, help=argparse.SUPPRESS)
    return top


def at_least(least, text):
    """The whole number that a text says, when it is that large."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"needs a whole number of {least} or more, got {text!r}")
    return int(text)


def measure_kit(folder, args):
    """Check the kit, then measure every block and network that has no line in the results yet."""
    runtime = load_runtime(args.provider)
    manifest = read_manifest(folder)
    out = args.out or folder / "results.jsonl"
    header = describe(manifest["id"], args, runtime)
    done = read_results(out, header)
    entries = [entry for entry in manifest["entries"] if entry["file"]]
    if args.only:
        entries = [entry for entry in entries if entry.get("kind") == "network"]
    # in a random order, always the same: a device that slows down as it warms up then slows no part in particular
    random.Random(manifest["id"]).shuffle(entries)
    left = [entry for entry in entries if entry["id"] not in done]
    print(f"{header['device']}: {len(left)} of {len(entries)} to measure")
    with open(out, "a", encoding="utf-8") as file:
        if not file.tell():
            append(file, header)

        def one(entry):
            return measure(folder / entry["file"], args, runtime, header["timer_ms"])

        noisy = sum(done.values()) + measure_all(left, len(entries), file, one)
    print(f"\nAll {len(entries)} are measured, {noisy} of them noisy: {out}")
    if noisy > len(entries) / 10:
        print("The device was busy. Stop other programs, delete that file and run this again for better figures.")
    print(
        "Copy it into the kit's folder where nasedu is installed, and run there: python -m nasedu import-kit FOLDER"
        + " --estimate" * bool(args.only)
    )
    return 0


def measure_all(left, total, file, measure_one):
    """Write a line for each entry; a noisy one waits for a calmer moment. Returns how many stay noisy.

    left: the manifest's entries that are not measured yet.
    total: how many there are, with those that are.
    file: the open results.
    measure_one: measures an entry and returns its line.
    """
    queue, kept, noisy = list(left), {}, 0
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
            noisy += line["noisy"]
        seconds = (time.perf_counter() - started) / visits * len(queue)
        flag = "  noisy" + (", again later" if again else "") if line["noisy"] else ""
        place = f"{total - len(queue):4}/{total}"
        print(f"{place}  {name:30} {line['median_ms']:10.3f} ms  {clock(seconds)} left{flag}", flush=True)
    return noisy


def calmest(before, line):
    """The one of two measurements whose quartiles are closer together, with the number of attempts."""
    if before is None:
        return line
    best = min(before, line, key=spread)
    return {**best, "attempts": before["attempts"] + line["attempts"]}


def spread(line):
    """How far the quartiles are apart, in medians."""
    return (line["high_ms"] - line["low_ms"]) / line["median_ms"]


def load_runtime(provider):
    """The module onnxruntime, if it can be loaded and has the provider."""
    try:
        import numpy  # noqa: F401
        import onnxruntime
    except ImportError as error:
        raise Problem(
            f"{error.name} is missing; install it with: python3 -m venv env && env/bin/pip install numpy onnxruntime; "
            "then: env/bin/python run_kit.py"
        ) from None
    if tuple(int(number) for number in onnxruntime.__version__.split(".")[:2]) < OLDEST:
        raise Problem(f"ONNX Runtime {onnxruntime.__version__} is too old, the kit needs 1.18 or newer")
    onnxruntime.set_default_logger_severity(3)
    available = onnxruntime.get_available_providers()
    if provider not in available:
        raise Problem(f"ONNX Runtime has no {provider} here; available: {', '.join(available)}")
    return onnxruntime


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
    bad = [entry["file"] for entry in entries if digest(folder, entry["file"]) != entry["sha256"]]
    if bad:
        raise Problem(f"{len(bad)} of {len(entries)} files are missing or damaged, such as {bad[0]}: copy them again")
    return manifest


def check_entries(manifest):
    """Refuse a manifest whose entries have no names of their own, or name any other file than a kit has."""
    entries, known = manifest.get("entries"), set()
    if not isinstance(entries, list):
        raise Problem("the manifest lists no entries: copy the kit again")
    for number, entry in enumerate(entries, 1):
        name, file, content = (entry.get(k, 0) if isinstance(entry, dict) else 0 for k in ("id", "file", "sha256"))
        if not is_name(name) or name in known:
            raise Problem(f"entry {number} of the manifest has no name of its own, but {name!r:.60}")
        known.add(name)
        if (file, content) != (None, None) and not (is_name(file) and FILE.fullmatch(file) and is_name(content)):
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
    runtime: the module onnxruntime.
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
        "onnxruntime": runtime.__version__,
        **{name: getattr(args, name) for name in ("provider", "threads", "repeats", "warmup")},
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
    if not text.startswith(json.dumps({"schema": RESULTS})[:-1].encode()):
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

    path: a packed ONNX file.
    args: the command line's.
    runtime: the module onnxruntime.
    timer_ms: what reading the clock takes.
    """
    session = load(path, args, runtime)
    feeds = random_inputs(session)

    def timed(runs):
        """Milliseconds of each of `runs` runs in a row."""
        start = time.perf_counter()
        for _ in range(runs):
            session.run(None, feeds)
        return 1e3 * (time.perf_counter() - start) / runs

    guess = min(timed(1) for _ in range(args.warmup))
    runs = max(1, math.ceil(SHORTEST / max(guess - timer_ms, timer_ms, 1e-6)))
    low, median, high = statistics.quantiles([timed(runs) for _ in range(args.repeats)], n=4)
    line = {"median_ms": round(median, 6), "low_ms": round(low, 6), "high_ms": round(high, 6)}
    return {**line, "repeats": args.repeats, "runs": runs, "attempts": 1, "noisy": spread(line) > NOISE}


def load(path, args, runtime):
    """The model as a session on the provider that was asked for, and on no other.

    path: a packed ONNX file.
    args: the command line's.
    runtime: the module onnxruntime.
    """
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = args.threads, 1
    try:
        session = runtime.InferenceSession(gzip.decompress(path.read_bytes()), options, providers=[args.provider])
    except Exception as error:  # of ONNX Runtime's many own types
        reason = str(error).splitlines()[0][:200]
        raise Problem(f"ONNX Runtime {runtime.__version__} cannot run {path.name}: {reason}") from None
    if session.get_providers()[0] != args.provider:
        raise Problem(f"{args.provider} does not start here, ONNX Runtime offers {session.get_providers()[0]}")
    return session


def random_inputs(session):
    """Standard normal inputs of the shapes that the model asks for, always the same."""
    import numpy

    rng = numpy.random.default_rng(0)
    return {x.name: rng.standard_normal(x.shape).astype(numpy.float32) for x in session.get_inputs()}


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
