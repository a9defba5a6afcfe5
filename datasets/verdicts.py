"""Makes `verdicts.json`: what notebooks 04, 06, 11 and 13 say of their experiments at a larger size than a reader's.

    python datasets/verdicts.py   # goes on where it was; about three hours on one core in all

The notebooks themselves do it, with the parameters below (everything else at preset smoke). A run that is done is kept
in `runs/verdicts`, and a search that was killed goes on from its state. What the file holds with these parameters
already is not made again: delete it from there to have it anew.
"""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path

from nasedu.course import run
from nasedu.files import write_atomically
from nasedu.hardware.about import describe_device

HERE = Path(__file__).parent
RUNS = HERE.parent / "runs" / "verdicts"
SIZES = {  # 04 searches once a run, so each of its seeds is a run
    "04_space_single_path": [
        {"seed": seed, "steps": 400, "warmup_steps": 60, "pairs": 3, "epochs": 20} for seed in range(5)
    ],
    "06_gradient_search": [{"epochs": 60, "warmup_epochs": 10, "arch_lr": 0.05, "train_size": 1000, "seeds": 10}],
    "11_hardware_loss": [
        {
            "steps": 10_000,
            "seeds": 10,
            "real_losses": ["squared", "lagrange"],
            "real_seeds": 10,
            "epochs": 60,
            "train_size": 1000,
        },
    ],
    "13_detection": [  # each of its seeds is a run
        {"seed": seed, "image_size": 96, "train_size": 600, "test_size": 300, "epochs": 24} for seed in range(4)
    ],
}


def found(notebook: str, size: dict) -> dict:
    """What a run left in its `result.json`; it is run, or continued, if it has not ended yet."""
    out = RUNS / f"{notebook}-{size.get('seed', 0)}"
    result = out / "result.json"
    if not result.exists():
        settings = [f"{key}={value}" for key, value in size.items()] + [f"out_dir={out}"]
        run.run(notebook, run.checked(notebook, settings, "smoke"))
    return json.loads(result.read_text())


def main() -> None:
    """Run what has not ended, then store every run's verdict."""
    os.environ["OMP_NUM_THREADS"] = "1"
    made = {"made_by": "datasets/verdicts.py", "date": datetime.date.today().isoformat(), "threads": 1}
    path, stored = HERE / "verdicts.json", {"provenance": made | describe_device()}
    before = json.loads(path.read_text()) if path.exists() else {}
    for notebook, sizes in SIZES.items():
        stored[notebook] = before.get(notebook, [])
        if [run["parameters"] for run in stored[notebook]] == sizes:
            continue
        stored[notebook] = []
        for size in sizes:
            result = found(notebook, size)
            kept = {"seconds": round(result["seconds"]), "verdict": result["results"]["verdict"]}
            stored[notebook].append({"parameters": size, **kept})
    write_atomically(path, json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
