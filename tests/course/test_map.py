"""Notebook 00 shows the way to all others."""

import re

from nasedu.course import places


def test_the_map_of_the_course_links_to_every_notebook_that_exists_and_names_the_others():
    text = places.ROOT.joinpath("notebooks", "source", "00_start_here.py").read_text()
    linked = re.findall(r"\[(\d\d_\w+)\]\((\d\d_\w+)\.ipynb\)", text)
    assert all(name == target for name, target in linked)
    existing = {path.stem for path in places.ROOT.glob("notebooks/source/*.py")} - {"00_start_here"}
    assert {name for name, _ in linked} == existing
    named = re.findall(r"^# \| \[?(\d\d)_", text, re.M)
    assert named == [f"{n:02}" for n in range(17)]
