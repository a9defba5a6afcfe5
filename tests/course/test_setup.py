import json
import random

import numpy
import pytest
import torch
from matplotlib.figure import Figure

from nasedu import course
from nasedu.course import parameters, places
from nasedu.course.setup import pick_device
from nasedu.errors import OutputError, ParameterError, UnknownName

pytestmark = pytest.mark.usefixtures("course_folder")


def namespace(**values):
    """What `globals()` holds in a notebook whose parameters cell annotates these."""
    kinds = {"steps": int, "rates": list[float], "preset": str}
    return {"__name__": "__main__", "__annotations__": dict(kinds), "other": object(), **values}


def test_none_stands_for_the_preset():
    cfg = course.setup("01_tiny", namespace(steps=None, rates=[1, 2], preset="full"))
    assert (cfg.steps, cfg.rates, cfg.mode) == (30, [1.0, 2.0], "up")
    assert cfg.device.type in ("cpu", "cuda")
    assert cfg.parameters["preset"] == cfg.preset == "full"


def test_the_variable_sets_the_default_preset_and_a_named_one_wins(monkeypatch):
    monkeypatch.setenv("NASEDU_PRESET", "smoke")
    assert course.setup("01_tiny", {}).steps == 1
    assert course.setup("01_tiny", {"preset": "quick"}).steps == 3
    monkeypatch.delenv("NASEDU_PRESET")
    assert course.setup("01_tiny", {}).steps == 3


@pytest.mark.parametrize(
    ("values", "error", "sentence"),
    [
        ({"step": 1}, UnknownName, "'steps'"),
        ({"preset": "quik"}, UnknownName, "'quick'"),
        ({"mode": "don"}, UnknownName, "'down'"),
        ({"device": "tpu"}, ParameterError, "'tpu'"),
        ({"seed": True}, ParameterError, "not an int"),
    ],
)
def test_what_is_wrong_is_named(values, error, sentence):
    with pytest.raises(error, match=sentence):
        course.setup("01_tiny", values, choices={"mode": ["up", "down"]})


@pytest.mark.parametrize("values", [{"steps": "3"}, {"steps": 3.0}, {"rates": 0.1}, {"rates": ["a"]}])
def test_a_value_must_have_its_annotated_type(values):
    with pytest.raises(ParameterError, match=next(iter(values))):
        course.setup("01_tiny", namespace(**values))


def test_a_misspelt_annotation_is_named_and_forgotten_once_corrected():
    values = namespace(step=4)
    values["__annotations__"]["step"] = int
    with pytest.raises(UnknownName, match="'steps'"):
        course.setup("01_tiny", values)
    assert course.setup("01_tiny", values).steps == 3


def test_a_parameter_that_only_papermill_would_warn_about_is_refused():
    cells = ["import x", "# Parameters\nstep = 4\nmode = 'up'\n"]
    with pytest.raises(UnknownName, match="'steps'"):
        course.setup("01_tiny", namespace(In=cells))


def test_every_generator_is_seeded():
    def draws(seed):
        course.setup("01_tiny", {"seed": seed})
        return random.random(), numpy.random.rand(), torch.rand(1).item()  # noqa: NPY002

    assert draws(7) == draws(7)
    assert all(a != b for a, b in zip(draws(7), draws(8), strict=True))


def test_a_relative_path_is_the_repositorys_wherever_the_kernel_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert course.setup("01_tiny", {"data_root": "datasets/x"}).data_root == places.ROOT / "datasets/x"
    assert course.setup("01_tiny", {}).data_root is None


def test_out_dir_differs_with_the_parameters_and_may_be_chosen(tmp_path):
    folders = {course.setup("01_tiny", {"steps": n}).out_dir for n in (1, 1, 2)}
    assert len(folders) == 2
    assert all(folder.is_dir() for folder in folders)
    assert course.setup("01_tiny", {"out_dir": str(tmp_path / "a")}).out_dir == tmp_path / "a"
    assert course.setup("01_tiny", {"out_dir": "", "steps": 2}).out_dir in folders  # an empty text names no folder


def test_a_folder_that_holds_an_earlier_run_is_announced(capsys):
    cfg = course.setup("01_tiny", {"steps": 99})
    assert capsys.readouterr().out == ""
    (cfg.out_dir / "checkpoint").touch()
    course.setup("01_tiny", {"steps": 99})
    assert "delete that folder" in capsys.readouterr().out


def test_an_output_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "taken").write_text("a file in the folder's place")
    with pytest.raises(OutputError, match="taken"):
        course.setup("01_tiny", {"out_dir": str(tmp_path / "taken")})


def test_the_config_is_read_only_and_prints_its_parameters():
    cfg = course.setup("01_tiny", {})
    with pytest.raises(AttributeError, match="parameters cell"):
        cfg.steps = 4
    assert "steps     = 3" in repr(cfg)


def test_a_missing_device_is_refused_and_auto_never_is():
    assert pick_device("auto").type in ("cpu", "cuda")
    with pytest.raises(ParameterError, match="cuda:99"):
        pick_device("cuda:99")


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("3", "int", 3),
        ("1e-3", "float", 1e-3),
        ("3", "float", 3.0),
        ("3", "str", "3"),
        ("no", "bool", False),
        ("[1, 2]", "list[int]", [1, 2]),
        ("[1e-3, 2]", "list[float]", [1e-3, 2.0]),
        ("null", "int", None),
    ],
)
def test_texts_become_values_of_the_declared_type(text, kind, value):
    parsed = parameters.parse("x", text, kind)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("text", "kind"), [("x", "int"), ("1.5", "int"), ("fast", "float"), ("1", "bool"), ("3", "list[int]")]
)
def test_texts_of_another_type_are_refused(text, kind):
    with pytest.raises(ParameterError, match="'x'"):
        parameters.parse("x", text, kind)


def test_presets_must_all_have_the_same_names(course_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("NASEDU_NOTEBOOKS", str(tmp_path))
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets/01_tiny.yaml").write_text("smoke: {a: 1}\nquick: {a: 1}\nfull: {a: 1}\ngpu: {b: 1}\n")
    with pytest.raises(ParameterError, match="gpu and quick differ"):
        parameters.read_presets("01_tiny")


def test_finish_writes_plain_json_and_figures(tmp_path):
    cfg = course.setup("01_tiny", {"out_dir": str(tmp_path)})
    results = {"ap": torch.tensor(0.5), "nan": float("nan"), "list": numpy.arange(2), 3: True}
    course.finish(cfg, summary="| AP |", results=results, figures={"empty": Figure()})
    stored = json.loads((tmp_path / "result.json").read_text())
    assert stored["results"] == {"ap": 0.5, "nan": None, "list": [0, 1], "3": True}
    assert stored["parameters"]["steps"] == 3
    assert stored["processor"]
    assert stored["commit"] is None or set(stored["commit"].removesuffix("-dirty")) <= set("0123456789abcdef")
    assert (tmp_path / "figures/empty.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(ParameterError, match="Figure"):
        course.finish(cfg, results={"x": Figure()})


def test_a_notebook_may_have_presets_of_its_own_that_start_from_another(course_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("NASEDU_NOTEBOOKS", str(tmp_path))
    (tmp_path / "presets").mkdir()
    four = "every: {b: 2}\nsmoke: {a: 1}\nquick: {a: 2}\nfull: {a: 3}\ngpu: {a: 4}\n"
    (tmp_path / "presets/01_tiny.yaml").write_text(four + "paper: {like: gpu, b: 5}\n")
    presets = parameters.read_presets("01_tiny")
    assert (presets["paper"]["a"], presets["paper"]["b"], presets["gpu"]["b"]) == (4, 5, 2)
    assert "like" not in presets["paper"]
    assert parameters.resolve("01_tiny", {"preset": "paper", "a": 7}, {"a": "int"})["a"] == 7
    (tmp_path / "presets/01_tiny.yaml").write_text(four + "paper: {like: gpuu}\n")
    with pytest.raises(UnknownName, match="'gpu'"):
        parameters.read_presets("01_tiny")
