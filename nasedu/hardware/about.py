"""What a measurement was made with."""

from __future__ import annotations

import os
import platform
from importlib import metadata

import torch

from nasedu.hardware.backends import LAUNCHES, usual_backend
from nasedu.hardware.runtimes import RUNTIMES
from nasedu.origin import processor


def describe_device(device: str | torch.device | None = None, backend: str | None = None) -> dict[str, str | int]:
    """The device and the software that a measurement was made with, and how a run is launched (`LAUNCHES`).

    device: where; None is the CPU, or the GPU for cuda.
    backend: one of `BACKENDS`; None: `usual_backend`.
    """
    device, backend = torch.device(device or ("cuda" if backend == "cuda" else "cpu")), backend or usual_backend(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return {
        "device": name,
        "cores": os.cpu_count() or 1,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "launch": LAUNCHES[backend],
    } | ({backend: metadata.version(backend)} if backend in RUNTIMES else {})
