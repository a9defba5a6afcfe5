"""Notebooks in JupyterLab, as a person with a keyboard uses them."""

from __future__ import annotations

import nbformat
import pytest

WIDGETS = """\
import pandas as pd
from nasedu import spaces, widgets
from nasedu.tables import LookupTable
from nasedu.wzdnas import cost_tables

space = spaces.create("nasbench201:course")
macs = LookupTable.build(space, "macs")
mobile = spaces.create("proxylessnas:course")
yolo = spaces.create("yolo:course")
counted = cost_tables(yolo)


def score(table):
    # a table in the place of a zero-cost map
    return LookupTable(table.space, "naswot", "log |det K| per image", 0.0, [entry.sqrt() for entry in table.entries])


scores = {"a": [1.0, 2, 3, 4, 5, 6, 7, 8], "b": [8.0, 2, 7, 3, 6, 1, 5, 4], "truth": [3.0, 1, 4, 8, 5, 7, 2, 6]}
frame = pd.DataFrame(scores, index=list("stuvwxyz"))
made = {
    "SpaceWidget": lambda: widgets.SpaceWidget(mobile, {"macs": LookupTable.build(mobile, "macs")}),
    "GumbelWidget": lambda: widgets.GumbelWidget(["none", "skip", "conv"]),
    "EvolutionWidget": lambda: widgets.EvolutionWidget(space, macs, best=macs.bounds()[1], budget=40, seeds=2),
    "BlockCostWidget": lambda: widgets.BlockCostWidget(),
    "BudgetWidget": lambda: widgets.BudgetWidget(score(counted["flops"]), counted["flops"]),
    "ProxyMixWidget": lambda: widgets.ProxyMixWidget(frame[["a", "b"]], frame["truth"]),
    "SearchWidget": lambda: widgets.SearchWidget({"zero_cost": score(counted["flops"]), **counted}, steps=50),
}
"""
VIEW = "output => output.querySelector('[role=status]')?.parentElement.innerHTML"  # a sentence and a picture
KINDS = [*dict.fromkeys(line.split('"')[1] for line in WIDGETS.split("\n") if "lambda" in line)]
PLANS = "def size(choices):\n    {}"


def write(desk, name, *codes):
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    cells = [nbformat.v4.new_code_cell(code) for code in codes]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), desk / name)


def test_every_kind_of_widget_is_moved_by_keys_and_the_notebook_stays(opened, lab, pale):
    """An arrow moves the control; letters that delete, insert and cut cells do nothing there."""
    write(lab[1], "all_widgets.ipynb", WIDGETS, *(f'made["{kind}"]()' for kind in KINDS), "1")
    book = opened("all_widgets.ipynb")
    book.run(240)
    before = book.cells()
    assert len(before) == len(KINDS) + 2
    for name in ("JupyterLab Dark", "JupyterLab Light"):
        book.theme(name)
        assert pale(book.page, ".jp-OutputArea-output") == [], name
    for kind in KINDS:
        output = book.page.locator(".jp-CodeCell", has_text=f'made["{kind}"]()').last.locator(".jp-OutputArea-output")
        controls = output.locator("input:not([disabled]):not([type=hidden]), select, .noUi-handle")
        assert controls.count(), f"{kind} has no controls"
        shown = output.evaluate(VIEW)
        assert "<img" in shown
        for control in controls.all():
            control.scroll_into_view_if_needed()
            name = control.get_attribute("aria-label") or control.evaluate(
                "c => c.closest('.jupyter-widgets, .widget-inline-hbox')?.querySelector('label')?.textContent"
            )
            assert name, f"a control of {kind} has no name"
            control.focus()
            for key in ("ArrowRight", "ArrowUp", "x", "b", "a", "d", "d", "Enter"):
                book.page.keyboard.press(key)
            if control.get_attribute("type") == "checkbox":
                book.page.keyboard.press("Space")
        book.wait(120)
        moved = f"([output, shown]) => ![null, undefined, shown].includes(({VIEW})(output))"
        book.page.wait_for_function(moved, arg=[output.element_handle(), shown], timeout=20_000)
        assert book.cells() == before, f"keys in {kind} changed the notebook"


@pytest.mark.parametrize(("name", "seconds"), [("00_start_here", 300), ("14_wzdnas", 600)])
def test_a_notebook_runs_and_leaves_neither_errors_nor_bars(name, seconds, opened):
    book = opened(f"{name}.ipynb")
    book.run(seconds)
    page = book.page
    assert page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert page.locator(".jp-OutputArea-output", has_text="Traceback").count() == 0
    saved = book.desk / f"{name}.ipynb"
    page.keyboard.press("Control+s")
    page.wait_for_timeout(3000)
    outputs = [o for cell in nbformat.read(saved, 4).cells for o in cell.get("outputs", [])]
    assert not [o for o in outputs if o.get("name") == "stderr" or o.output_type == "error"]
    assert any("seconds" in o.get("text", "") or "results written" in o.get("text", "") for o in outputs)
    assert book.asked == []


def test_an_exercise_done_wrong_and_right_and_a_prediction_by_keys(opened):
    book = opened("00_start_here.ipynb")
    book.run(300)
    for answer, said in (
        ("return sum(choices)", "each of 3 goes with each of 3"),
        ("return choices[99]", "in line 2: return choices[99]"),
        ("import math\n    return math.prod(choices)", "correct"),
    ):
        book.edit("def size(choices)", PLANS.format(answer))
        verdict = book.again("check_size(size)")
        assert said in verdict.first.inner_text()
    assert verdict.first.locator("a", has_text="solution").get_attribute("href")

    radio = book.page.locator("input[type=radio]").first
    radio.scroll_into_view_if_needed()
    before = book.cells()
    radio.focus()
    for key in ("Space", "ArrowDown", "x", "d", "d"):
        book.page.keyboard.press(key)
    assert book.page.locator("input[type=radio]:checked").count() == 1
    assert book.cells() == before
    told = book.again(".came(")
    assert "You predicted" in told.first.inner_text()
