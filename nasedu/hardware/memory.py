"""How much memory a network took at the most: on a GPU what its allocator gave out, elsewhere the process itself.

On a GPU the figure is exact: weights, maps and, for a captured graph, the memory that stays its own. Workspaces that
libraries take past PyTorch are not in it. On the CPU it is what the process grew by while the network was loaded and
ran, pages that stay in memory; what the process had taken before and left unused is given back first, as far as glibc
does. So small networks are told to some tenths of a megabyte only, and other threads of the process count as well.
"""

from __future__ import annotations

import ctypes
import re
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")  # Linux; "5" resets the peak


class Peak:
    """The most memory that is taken from here on, beyond what was taken before.

    device: where the network runs.
    module: the network, whose weights count where they lie on the GPU already.
    """

    def __init__(self, device: torch.device, module: nn.Module | None = None):
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            tensors = {t.data_ptr(): t for t in [*module.parameters(), *module.buffers()]} if module else {}
            there = sum(t.nbytes for t in tensors.values() if t.device.type == "cuda")
            self._before = torch.cuda.memory_allocated(device) - there
        else:
            self._before = _start() if device.type == "cpu" else None

    def megabytes(self) -> float | None:
        """So far, in 10^6 bytes; None where nobody tells."""
        if self._before is None:
            return None
        now = torch.cuda.max_memory_allocated(self._device) if self._device.type == "cuda" else _resident("VmHWM")
        return max(0, now - self._before) / 1e6


def _start() -> int | None:
    """Bytes of the process as it is, from where its peak is counted anew; None where the system keeps no peak."""
    with suppress(AttributeError, OSError, TypeError):  # another C library, or Windows
        ctypes.CDLL(None).malloc_trim(0)
    try:
        RESET.write_text("5")
        return _resident("VmRSS")
    except OSError:
        return None


def _resident(name: str) -> int:
    """Bytes, from Linux's own account of this process."""
    found = re.search(rf"{name}:\s+(\d+)", STATUS.read_text())
    if found is None:
        raise OSError(f"{STATUS} does not tell {name}")
    return 1024 * int(found[1])
