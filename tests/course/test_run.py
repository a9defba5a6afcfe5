import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from papermill.exceptions import PapermillExecutionError

from nasedu import __main__ as cli
from nasedu import course
from nasedu.course import places, run
from nasedu.course.folder import WAIT, RunFolder
from nasedu.errors import OutputError, UnknownName

pytestmark = pytest.mark.usefixtures("course_folder")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["01_tinny"], "did you mean '01_tiny'"),
        (["02"], "unknown notebook '02'"),
        (["01_tiny", "-p", "step=3"], "did you mean 'steps'"),
        (["01_tiny", "-p", "steps=three"], "not an int"),
        (["01_tiny", "-p", "steps"], "expected name=value"),
        (["01_tiny", "--preset", "quik"], "did you mean 'quick'"),
        (["01_tiny", "--preset", "full", "-p", "preset=smoke"], "contradicts"),
        (["all", "-p", "rates=0.1"], "not a list"),
        (["all", "-p", "data_root=\udcff"], "data_root must be a text"),
    ],
)
def test_a_mistake_is_one_sentence_before_anything_runs(arguments, sentence, capsys, tmp_path):
    assert cli.main(["run", *arguments, "--out", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_what_the_set_up_refuses_leaves_no_folder(tmp_path, capsys):
    assert cli.main(["run", "01_tiny", "-p", "mode=sideways", "--out", str(tmp_path)]) == 2
    assert "sideways" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_folders_place(tmp_path, capsys):
    (tmp_path / "taken").touch()
    assert cli.main(["run", "01_tiny", "--out", str(tmp_path / "taken")]) == 2
    assert "cannot write to the folder" in capsys.readouterr().err


def test_paths_are_taken_from_where_the_person_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("table.yaml").touch()
    given = run.checked("01_tiny", ["data_root=../x", "mode=./table.yaml", "steps=2"], "smoke")
    assert given == {
        "data_root": str(tmp_path.parent / "x"),
        "mode": str(tmp_path / "table.yaml"),
        "steps": 2,
        "preset": "smoke",
    }
    assert run.checked("01_tiny", ["mode=table.yaml"])["mode"] == str(tmp_path / "table.yaml")
    assert run.checked("01_tiny", ["mode=none.yaml"])["mode"] == "none.yaml"
    Path("up").touch()
    assert run.checked("01_tiny", ["mode=up"])["mode"] == "up"


def test_a_mistake_that_only_the_notebook_sees_is_one_sentence_too(tmp_path, capsys):
    assert cli.main(["run", "01_tiny", "-p", "mode=dwn", "--out", str(tmp_path)]) == 2
    assert "nasedu: unknown mode 'dwn': did you mean 'down'? valid: up, down" in capsys.readouterr().err


def test_a_killed_run_goes_on_in_its_folder(tmp_path, capsys):
    arguments = ["run", "01_tiny", "--preset", "smoke", "-p", "wait=true", "--out", str(tmp_path)]
    process = subprocess.Popen([sys.executable, "-m", "nasedu", *arguments], cwd=places.ROOT)
    deadline = time.monotonic() + 60
    while not (marks := list(tmp_path.glob("*/checkpoint"))) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    assert cli.main(arguments) == 0
    (folder,) = tmp_path.iterdir()
    assert folder == marks[0].parent
    assert json.loads((folder / "result.json").read_text())["results"] == {"resumed": True, "steps": 1}
    assert "A tiny notebook" in (folder / "01_tiny.html").read_text()
    printed = capsys.readouterr().out
    assert "continues the interrupted run" in printed
    assert "| a table |" in printed


def runs(number: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


def test_ctrl_c_in_a_busy_cell_is_one_sentence_and_ends_the_kernel_and_its_workers(tmp_path, monkeypatch):
    shutil.copytree(places.notebooks(), tmp_path / "course")
    monkeypatch.setenv("NASEDU_NOTEBOOKS", str(tmp_path / "course"))
    notebook = places.learner("01_tiny")
    busy = [
        "import multiprocessing, os, pathlib",
        "from concurrent.futures import ProcessPoolExecutor",
        "with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool:",
        "    numbers = [os.getpid(), pool.submit(os.getpid).result()]",
        "    (cfg.out_dir / 'busy').write_text(' '.join(map(str, numbers)))",
        "    list(pool.map(time.sleep, [60]))",
    ]
    nb = json.loads(notebook.read_text("utf-8"))
    cell = next(cell for cell in nb["cells"] if "time.sleep" in "".join(cell["source"]))
    cell["source"] = "\n".join(busy)
    notebook.write_text(json.dumps(nb), "utf-8")
    command = [sys.executable, "-m", "nasedu", "run", "01_tiny", "--preset", "smoke", "--out", str(tmp_path / "runs")]
    pipe = subprocess.PIPE  # not the test's terminal, and a group of its own, as that of a shell
    # a shell's background job, as these tests may be, has its children ignore Ctrl-C
    heard = {"start_new_session": True, "preexec_fn": partial(signal.signal, signal.SIGINT, signal.SIG_DFL)}
    process = subprocess.Popen(command, cwd=places.ROOT, stdout=pipe, stderr=pipe, text=True, **heard)
    deadline = time.monotonic() + 120
    while not (marks := list(tmp_path.glob("runs/*/busy"))) and time.monotonic() < deadline:
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.endswith("nasedu: interrupted; the same command goes on where it was\n")
    assert "Traceback" not in told and "Error" not in told
    alive, deadline = [int(number) for number in marks[0].read_text().split()], time.monotonic() + 30
    while alive and time.monotonic() < deadline:  # the system takes a moment to bury them
        time.sleep(0.1)
        alive = [number for number in alive if runs(number)]
    assert not alive


def test_a_terminal_that_is_not_utf_8_gets_numbers_for_what_it_lacks(tmp_path):
    command = [sys.executable, "-m", "nasedu", "run", "01_tiny", "--preset", "smoke", "--out", str(tmp_path / "é")]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict", "LC_ALL": "C"}
    done = subprocess.run(command, cwd=places.ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "\\xe9/01_tiny" in done.stdout


def test_the_beginning_of_one_name_is_enough_and_of_several_is_refused():
    valid = ["07_random", "08_proxies", "14_wzdnas", "14_wzdnas_more"]
    assert places.pick(["08", "notebooks/07_random.ipynb", "14_wzdnas"], valid) == [
        "08_proxies",
        "07_random",
        "14_wzdnas",
    ]
    with pytest.raises(UnknownName, match=r"'0' fits several notebooks: 07_random, 08_proxies$"):
        places.pick(["0"], valid)
    with pytest.raises(UnknownName, match="'09'"):
        places.pick(["09"], valid)


def test_without_notebooks_the_sentence_says_where_they_are_to_be_had(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NASEDU_NOTEBOOKS", str(tmp_path))
    for arguments in (["run", "07"], ["run", "all"], ["build"]):
        assert cli.main(arguments) == 2
        error = capsys.readouterr().err
        assert "they come with the project's source" in error
        assert error.count("\n") == 1


def test_the_command_line_checks_parameters_without_loading_what_only_the_kernel_needs():
    program = """
import sys
from nasedu import __main__ as cli
from nasedu.course import run
given = run.checked("01_tiny", ["steps=2"], "smoke")
print(given["steps"], sorted({"torch", "numpy", "scipy", "sklearn", "pandas", "matplotlib"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=places.ROOT, capture_output=True, text=True)
    assert done.stdout == "2 []\n", done.stderr


RIVAL = """
import sys
from pathlib import Path
from nasedu.course import folder, setup
from nasedu.errors import OutputError

kind, where, rounds = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
folder.WAIT["notebook"] = 0
print("ready", flush=True)
kept = []
for number in range(rounds):
    sys.stdin.readline()
    try:
        if kind == "run":
            kept.append(folder.RunFolder(where, "01_tiny", {"n": number}))
        elif kind == "chosen":
            kept.append(folder.RunFolder(where, "01_tiny", {}, where / str(number)))
        else:
            kept.append(folder.claim((where / str(number)), "notebook"))
        print(getattr(kept[-1], "path", number), flush=True)
    except OutputError as error:
        assert "in use" in str(error)
        print("refused", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("kind", ["run", "chosen", "notebook"])
def test_of_two_processes_that_start_in_the_same_instant_one_gets_the_folder(kind, tmp_path):
    rounds = 15
    for number in range(rounds):
        (tmp_path / str(number)).mkdir()
    command = [sys.executable, "-c", RIVAL, kind, str(tmp_path), str(rounds)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": places.ROOT}
    rivals = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for rival in rivals:
        assert rival.stdout.readline() == "ready\n"
    for _ in range(rounds):
        for rival in rivals:
            rival.stdin.write("go\n")
            rival.stdin.flush()
        pair = [rival.stdout.readline().strip() for rival in rivals]
        if kind == "run":  # a folder each
            assert "" not in pair
            assert pair[0] != pair[1]
        else:
            assert pair.count("refused") == 1
            assert "" not in pair
    for rival in rivals:
        rival.communicate("\n")


def test_a_notebook_opened_by_hand_has_its_folder_to_itself(tmp_path, monkeypatch):
    monkeypatch.setitem(WAIT, "notebook", 0)
    program = """
import sys
from nasedu import course
cfg = course.setup("01_tiny", {"out_dir": sys.argv[1]})
cfg = course.setup("01_tiny", {"out_dir": sys.argv[1]})  # the cell is run again
print("ready", flush=True)
sys.stdin.readline()
"""
    command = [sys.executable, "-c", program, str(tmp_path / "mine")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": places.ROOT}
    with subprocess.Popen(command, **pipes) as other:
        assert other.stdout.readline() == "ready\n"
        with pytest.raises(OutputError, match="in use by another notebook"):
            course.setup("01_tiny", {"out_dir": str(tmp_path / "mine")})
        other.kill()
        other.wait()
    course.setup("01_tiny", {"out_dir": str(tmp_path / "mine")})


def started(parent, given, finished=False):
    """A run folder as a process that is gone left it."""
    folder = RunFolder(parent, "01_tiny", given)
    folder.release()
    if finished:
        folder.page().touch()
    return folder.path


def test_only_an_unfinished_run_of_the_same_parameters_is_continued(tmp_path):
    first = started(tmp_path, {"steps": 1})
    assert RunFolder(tmp_path, "01_tiny", {"steps": 2}).path != first
    again = RunFolder(tmp_path, "01_tiny", {"steps": 1})
    assert (again.path, again.resumed) == (first, True)
    again.page().touch()
    again.release()
    assert not RunFolder(tmp_path, "01_tiny", {"steps": 1}).resumed


def test_a_run_in_progress_and_one_of_other_code_are_left_alone(tmp_path, monkeypatch):
    running = RunFolder(tmp_path, "01_tiny", {})
    assert RunFolder(tmp_path, "01_tiny", {}).path != running.path
    running.release()
    monkeypatch.setattr("nasedu.course.folder.code_hash", lambda notebook: "other")
    assert not RunFolder(tmp_path, "01_tiny", {}).resumed


def test_a_parameters_file_cut_short_is_no_run(tmp_path):
    path = started(tmp_path, {})
    (path / "parameters.json").write_text('{"notebook": "01_t')
    assert not RunFolder(tmp_path, "01_tiny", {}).resumed


def test_a_chosen_folder_is_continued_but_never_shared(tmp_path):
    folder = RunFolder(tmp_path, "01_tiny", {"steps": 1}, tmp_path / "mine")
    folder.release()
    again = RunFolder(tmp_path, "01_tiny", {"steps": 1}, tmp_path / "mine")
    assert again.resumed
    with pytest.raises(OutputError, match="in use by another run"):
        RunFolder(tmp_path, "01_tiny", {"steps": 1}, tmp_path / "mine")
    again.release()
    with pytest.raises(OutputError, match="another run: choose"):
        RunFolder(tmp_path, "01_tiny", {"steps": 2}, tmp_path / "mine")
    folder.page().touch()
    with pytest.raises(OutputError, match="holds a finished run: choose"):
        RunFolder(tmp_path, "01_tiny", {"steps": 1}, tmp_path / "mine")


def test_parameters_are_compared_as_they_are_read_back(tmp_path):
    first = started(tmp_path, {"rates": (0.1, 0.2)})
    assert RunFolder(tmp_path, "01_tiny", {"rates": (0.1, 0.2)}).path == first


def test_all_goes_on_after_a_failure_and_shows_the_times(monkeypatch, capsys, tmp_path):
    ran = []

    def fake(name, given, out, links):
        ran.append(name)
        if name == "00_bad":
            raise run.NotebookFailed("it broke")
        return tmp_path / name

    monkeypatch.setattr(run, "run", fake)
    monkeypatch.setattr(run, "checked", lambda *_: {})
    monkeypatch.setattr(places, "names", lambda: ["00_bad", "01_tiny"])
    assert cli.main(["run", "all", "--out", str(tmp_path)]) == 1
    assert json.loads((tmp_path / "summary.json").read_text())[0]["problem"] == "it broke"
    printed = capsys.readouterr()
    assert ran == ["00_bad", "01_tiny"]
    assert "it broke" in printed.err
    assert "  0 s  failed" in printed.out
    assert "  0 s  done" in printed.out


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [("UnknownName", UnknownName, "^why$"), ("ValueError", run.NotebookFailed, "section 'Search' .* ValueError: why")],
)
def test_errors_of_the_notebook_keep_their_type(name, kind, said, tmp_path, monkeypatch):
    def fails(*_, progress, **options):
        progress.heading = "Search"
        raise PapermillExecutionError(3, 3, "", name, "why", [])

    monkeypatch.setattr("papermill.execute_notebook", fails)
    with pytest.raises(kind, match=said):
        run.run("01_tiny", run.checked("01_tiny", [], "smoke"), tmp_path)
