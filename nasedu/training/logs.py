"""What a training leaves in a folder to look at while it runs and afterwards: a table, a text, TensorBoard's files."""

from __future__ import annotations

import time
from numbers import Real
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from nasedu import __version__
from nasedu.errors import NaseduError, OutputError, needs, sentence
from nasedu.files import write_atomically
from nasedu.progress import Progress, silent


class Log:
    """A `progress` for `train` and `fit`, and a context around them, which writes into a folder.

        with Log("runs/mine", tensorboard=True) as log:
            fit(model, task, config, state="runs/mine/state.pt", progress=log)

    `training.csv` has a row for every epoch that counts; a training that goes on writes it anew, without the epochs
    that a kill undid. `training.log` keeps all that happened, with times; the exception that ends the context is its
    last line. TensorBoard's files lie beside them: `tensorboard --logdir runs`. Of several processes the first one
    alone writes. Raises `OutputError`, and `BackendError` where TensorBoard is wanted and not installed.

    folder: where, made if need be.
    progress: hears the same.
    tensorboard: whether to write its files.
    """

    def __init__(self, folder: str | Path, progress: Progress = silent, tensorboard: bool = False):
        self.folder, self.progress, self.writer = Path(folder), progress, None
        self.writes, self.seen, self._make = False, 0, _summary_writer() if tensorboard else None

    def __enter__(self) -> Log:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None and self.writes:
            said = sentence(str(error)) or "interrupted"
            self._line(f"ended: {said}" if isinstance(error, NaseduError) else f"ended: {type(error).__name__}: {said}")
        if self.writer:
            self.writer.close()

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """An epoch is over.

        done: epochs.
        total: of how many.
        note: what else to say.
        """
        self._line(f"epoch {done} of {total}: {note}")
        self.progress(done, total, note)

    def record(self, history: list[dict]) -> None:
        """Write down the records of all epochs so far; `train` calls it, also at the start."""
        if not self.writes:
            self.writes = True
            versions = f"nasedu {__version__}, torch {torch.__version__}"
            self._line(f"{'goes on' if history else 'begins'} after epoch {len(history)}, with {versions}")
            if self._make:
                self.writer = self._make(str(self.folder), purge_step=1)  # what was there is written again
        if history:
            write_atomically(self.folder / "training.csv", pd.DataFrame(history).to_csv(index=False))
        for record in history[self.seen :] if self.writer else []:
            for name, value in record.items():
                if isinstance(value, Real) and name != "epoch":
                    self.writer.add_scalar(name, value, record["epoch"])
            self.writer.flush()
        self.seen = len(history)

    def _line(self, text: str) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(self.folder / "training.log", "a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}\n")
        except OSError as error:
            raise OutputError(f"cannot write to {self.folder}: {error.strerror or error}") from None


def _summary_writer() -> Any:
    with needs("training"):
        import tensorboard  # noqa: F401  # PyTorch's own message would not name the extra
        from torch.utils.tensorboard import SummaryWriter
    return SummaryWriter
