"""Makes `runtimes_detectors.csv.gz` and `runtimes_classifiers.csv.gz`: what int8 and other runtimes do to networks.

    python datasets/runtimes_digits.py detectors            # goes on where it was; also `--share 0/2`, `--minutes 60`
    python datasets/runtimes_digits.py detectors --finish   # writes the table and its provenance beside this script
    python datasets/runtimes_digits.py classifiers

Every trained network is tested and timed five times: by PyTorch, and by ONNX Runtime and OpenVINO in float32 and in
int8. A row holds its score (AP or accuracy), the bytes of its file and its latency, alone on a thread, and whether the
machine was busy. The provenance holds what follows: how the runtimes agree on the order of the networks, by score and
by latency (Kendall's tau with its interval), and what int8 costs and saves on average, compared in pairs.

36 detectors of `yolo:course`: the first 12 of equal FLOPs of `detectors_digits`, and 3 of each of its eight ranges; the
trained ones are taken where `detectors_digits` left them, and trained where it did not. 36 classifiers of
`fbnet:course`, drawn uniformly and trained briefly.
"""

import argparse
import datetime
import itertools
import json
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from detectors_digits import ALIKE, EACH, RANGES
from detectors_digits import TRUTH as DETECTORS
from truth import HERE, PACKED, Truth, correct

from nasedu import deploy, detection, hardware, ranking, spaces, tables, wzdnas
from nasedu.files import write_atomically
from nasedu.hardware import NoisyMeasurement, runtimes
from nasedu.hardware.about import describe_device
from nasedu.hardware.export import onnx_model, write_onnx
from nasedu.hardware.latency import measure_onnx
from nasedu.hardware.quantise import quantised

SETTINGS = [("torch", "float32"), *itertools.product(runtimes.RUNTIMES, ("float32", "int8"))]
NAMES = ["_".join(setting) for setting in SETTINGS]
WHAT = ("score", "bytes", "ms", "noisy")
OPSET = 17  # of the files
CALIBRATION = 64  # training images that the scales of int8 are fitted to
NETWORKS, ALIKE_TAKEN, EACH_TAKEN = 36, 12, 3


@dataclass(frozen=True)
class Runtimes(Truth):
    """Trained networks in several runtimes, a row each."""

    @property
    def columns(self) -> list[str]:
        return ["arch", "seed", *(f"{what}_{name}" for name in NAMES for what in WHAT), "seconds"]

    def scores(self, space: spaces.SearchSpace, text: str, seed: int, parts: dict) -> dict[str, float]:
        """Score, bytes and latency in every setting."""
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore", NoisyMeasurement)  # the row says so
            network, files, judge = self.exported(space, text, seed, parts, Path(folder))
            found = {}
            for setting, name in zip(SETTINGS, NAMES, strict=True):
                runtime, precision = setting
                file = files[precision]
                if runtime == "torch":
                    held = sum(t.numel() * t.element_size() for t in network.state_dict().values())
                    time = hardware.measure(network, space.input_shape)
                else:
                    held, options = file.stat().st_size, {"backend": runtime, "precision": precision}
                    time = measure_onnx(file, space.input_shape, **options)
                score = judge(None if runtime == "torch" else file, runtime)
                row = (score, held, round(time.median, 6), int(time.noisy))
                found |= {f"{what}_{name}": value for what, value in zip(WHAT, row, strict=True)}
        return found

    def exported(
        self, space: spaces.SearchSpace, text: str, seed: int, parts: dict, folder: Path
    ) -> tuple[torch.nn.Module, dict[str, Path], Callable[[Path | None, str], float]]:
        """The trained network, its files by precision, and what scores a file in a runtime, or the network itself."""
        images = parts["train"].images
        network = self.trained(space.build(space.parse(text), seed=seed), parts["train"], seed).eval()
        model = onnx_model(network, space.input_shape, opset=OPSET)
        files = {precision: folder / f"{precision}.onnx" for precision in ("float32", "int8")}
        write_onnx(model, files["float32"])
        write_onnx(quantised(model, zip(images[:CALIBRATION].split(1))), files["int8"])

        def judge(file: Path | None, runtime: str) -> float:
            if file is None:
                return correct(network, parts["test"]) / len(parts["test"])
            loaded = runtimes.load(file, runtime)
            (name,) = loaded.inputs
            logits = [loaded({name: image.numpy()})[0] for image in parts["test"].images.split(1)]
            return float((np.concatenate(logits).argmax(1) == parts["test"].labels.numpy()).mean())

        return network, files, judge

    def finish(self) -> None:
        """Write a row per network, and in the provenance what follows from all of them."""
        space = self.made_space()
        rows = self.rows().drop_duplicates(["arch", "seed"])
        wanted = pd.MultiIndex.from_product([self.archs(space), self.seeds], names=["arch", "seed"])
        rows = rows.set_index(["arch", "seed"]).reindex(wanted)
        if missing := int(rows.seconds.isna().sum()):
            raise SystemExit(f"{len(wanted) - missing} of {len(wanted)} networks are done: go on first")
        counts = [f"{what}_{name}" for name in NAMES for what in ("bytes", "noisy")]
        rows = rows.astype(dict.fromkeys(counts, int)).reset_index()
        rows.to_csv(HERE / f"{self.name}.csv.gz", index=False, compression=PACKED, float_format="%.6g")
        made = {"made_by": "datasets/runtimes_digits.py", "date": datetime.date.today().isoformat(), "threads": 1}
        made |= describe_device() | {name: metadata.version(name) for name in runtimes.RUNTIMES}
        name, options = self.space
        meta = {"space_name": name, "space": options, "fingerprint": space.fingerprint, "task": self.task}
        meta |= {"training": self.training, "calibration": CALIBRATION, "seeds": self.seeds}
        text = json.dumps(meta | {"found": found(rows), "provenance": made}, indent=1)
        write_atomically(HERE / f"{self.name}.json", text + "\n")
        for path in self.row_files():
            path.unlink()


@dataclass(frozen=True)
class DetectorRuntimes(Runtimes):
    """The same for detectors, which `detectors_digits` trains."""

    def parts(self) -> dict:
        return DETECTORS.parts()

    def exported(
        self, space: spaces.SearchSpace, text: str, seed: int, parts: dict, folder: Path
    ) -> tuple[torch.nn.Module, dict[str, Path], Callable[[Path | None, str], float]]:
        """As there; the score is the average precision on the test scenes."""
        place = DETECTORS.folder(text, seed)
        if not place.exists():
            DETECTORS.scores(space, text, seed, parts)
        detector = wzdnas.load(place)
        images, _ = next(iter(detection.Batches(parts["train"], CALIBRATION, shuffle=False)))
        made = {}
        for precision, given in {"float32": None, "int8": images}.items():
            file, options = folder / f"{precision}.onnx", {"opset": OPSET, "calibration": given}
            made[precision] = deploy.export_detector(detector, file, **options)

        def judge(file: Path | None, runtime: str) -> float:
            return (deploy.load_onnx(file, runtime) if file else detector).evaluate(parts["test"]).ap

        return detector.predictor, {precision: one.file for precision, one in made.items()}, judge


def found(rows: pd.DataFrame) -> dict:
    """How each setting agrees with PyTorch, and int8 with float32, on the order; and the mean differences of int8.

    rows: a network each.
    """
    pairs = [(NAMES[0], name) for name in NAMES[1:]] + [(f"{r}_float32", f"{r}_int8") for r in runtimes.RUNTIMES]
    told: dict[str, dict] = {}
    for what, (a, b) in itertools.product(("score", "ms"), pairs):
        tau = ranking.correlation(rows[f"{what}_{b}"], rows[f"{what}_{a}"])
        told[f"{what}: {b} beside {a}"] = {"tau": tau.value, "low": tau.low, "high": tau.high, "n": tau.n}
    for runtime in runtimes.RUNTIMES:
        whole, floats = ({what: rows[f"{what}_{runtime}_{p}"] for what in WHAT} for p in ("int8", "float32"))
        told[f"{runtime}: int8 minus float32, score"] = ranking.paired(whole["score"], floats["score"])._asdict()
        for what in ("bytes", "ms"):  # as a factor: the mean of logarithms
            gap = ranking.paired(np.log(whole[what].astype(float)), np.log(floats[what].astype(float)))._asdict()
            told[f"{runtime}: int8 over float32, {what}"] = {key: float(np.exp(value)) for key, value in gap.items()}
    return told


def detectors(space: spaces.SearchSpace) -> list[str]:
    """Some of each kind of the networks of `detectors_digits`."""
    known = DETECTORS.archs(space)
    spread = [known[ALIKE + EACH * i + j] for i in range(RANGES) for j in range(EACH_TAKEN)]
    return [*known[:ALIKE_TAKEN], *spread]


def classifiers(space: spaces.SearchSpace) -> list[str]:
    """Uniform draws."""
    return [space.format(arch) for arch in tables.random_networks(space, NETWORKS)]


OF = {
    "detectors": DetectorRuntimes(
        "runtimes_detectors", DETECTORS.space, detectors, DETECTORS.task, DETECTORS.training, (5,), seeds=(0,)
    ),
    "classifiers": Runtimes(
        "runtimes_classifiers",
        ("fbnet:course", {}),
        classifiers,
        {"image_size": 32, "distortion": 0.5, "noise": 0.1},
        {"images": 1000, "epochs": 6, "batch_size": 64, "optimizer": "AdamW", "lr": 0.005, "betas": [0.9, 0.99]},
        (6,),
        seeds=(0,),
    ),
}

if __name__ == "__main__":
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("of", choices=OF)
    given, rest = first.parse_known_args()
    OF[given.of].main(__doc__, rest)
