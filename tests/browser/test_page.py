"""A page with networking off, by day and by night, on a phone's width."""

from __future__ import annotations

import nbformat
import pytest

from nasedu.course import places
from nasedu.course.pages.notebook import page


@pytest.mark.parametrize("name", ["00_start_here", "09_zero_shot_search", "14_wzdnas"])
def test_a_page_is_whole_without_a_network(name, browser, pale, tmp_path):
    file = tmp_path / f"{name}.html"
    file.write_text(page(nbformat.read(places.learner(name), as_version=4), name), "utf-8")
    grounds = {}
    for scheme, width in (("light", 1200), ("dark", 1200), ("light", 400)):
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}, offline=True)
        shown, asked = context.new_page(), []
        shown.on("request", lambda request, asked=asked: asked.append(request.url))
        shown.on("pageerror", lambda error: pytest.fail(str(error)))
        shown.goto(file.as_uri())
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
        assert shown.evaluate("document.documentElement.scrollWidth") <= width, "it overflows sideways"
        assert shown.evaluate("[...document.images].every(i => i.alt && i.complete && i.naturalWidth > 0)")
        for formula in shown.query_selector_all("math")[:5]:
            box = formula.bounding_box()
            assert box["width"] > 2 and box["height"] > 5, "a formula has no size"
        if name != "00_start_here":
            assert shown.query_selector("math")
        assert pale(shown, "body") == []
        grounds[scheme] = shown.evaluate("getComputedStyle(document.body).backgroundColor")
        context.close()
    assert grounds["light"] == "rgb(255, 255, 255)" != grounds["dark"]
