import os

import pytest

SOURCE = """\
# %% [markdown]
# # A tiny notebook
# It counts, and can be interrupted.

# %% tags=["parameters"]
preset: str = None  # smoke, quick, full or gpu
steps: int = None  # how far to count
mode: str = None  # up or down
wait: bool = None  # whether to wait for the kill
rates: list[float] = None  # learning rates
seed: int = 0
device: str = None
data_root: str = None  # a folder
out_dir: str = None

# %%
import time

import ipywidgets

from nasedu import course

cfg = course.setup("01_tiny", globals(), choices={"mode": ["up", "down"]})

# %% [markdown]
# ## Counting


# %% tags=["stub"]
def double(n):
    raise NotImplementedError


# %% tags=["solution"]
def double(n):
    return 2 * n


# %%
try:
    print(double(2))
except NotImplementedError:
    print("not attempted yet")

# %%
mark = cfg.out_dir / "checkpoint"
resumed = mark.exists()
mark.write_text("1")
time.sleep(30 if cfg.wait and not resumed else 0)
ipywidgets.IntSlider()

# %%
print(course.__file__, mark, resumed)
course.finish(cfg, summary="| a table |", results={"resumed": resumed, "steps": cfg.steps})
"""

PRESETS = """\
every: {mode: up, wait: false, rates: [0.1], data_root: null}
smoke: {steps: 1}
quick: {steps: 3}
full: {steps: 30}
gpu: {steps: 300}
"""


@pytest.fixture(scope="module")
def course_folder(tmp_path_factory):
    """A course of one tiny notebook, built without outputs, instead of this project's."""
    folder = tmp_path_factory.mktemp("course")
    for name, text in (("source/01_tiny.py", SOURCE), ("presets/01_tiny.yaml", PRESETS)):
        (folder / name).parent.mkdir()
        (folder / name).write_text(text)
    variables = {"NASEDU_NOTEBOOKS": str(folder), "NASEDU_RUNS": str(folder / "runs"), "NASEDU_PRESET": ""}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setitem(os.environ, name, value)
        from nasedu.course.build import build

        build(["01_tiny"], execute=False)
        yield folder
