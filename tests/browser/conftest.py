"""A real browser and a real JupyterLab; both are left out, with a sentence, where Chromium is missing."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from nasedu.course.desk import lay_out

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOW = "no Chromium: apt-get install chromium, or put chromium on the PATH, to run the browser tests"
FLAGS = ["--headless=new", "--no-sandbox", "--disable-background-networking"]
TOKEN = "tests"

# text with less contrast to its ground than 4.5 (WCAG 2.2, 1.4.3) in the elements of a selector
PALE = """where => {
  const rgb = colour => colour.match(/[\\d.]+/g).map(Number)
  const light = colour => {
    const [r, g, b] = rgb(colour).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    return .2126 * r + .7152 * g + .0722 * b
  }
  const ground = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor
      if ((rgb(colour)[3] ?? 1) > 0) return colour
    }
    return 'rgb(255, 255, 255)'
  }
  const written = [...document.querySelectorAll(`${where} *`)].filter(
    e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()))
  const pale = new Set()
  for (const element of written) {
    const [a, b] = [getComputedStyle(element).color, ground(element)].map(light)
    const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05)
    if (contrast < 4.5) pale.add(`${element.tagName}.${element.className}: ${contrast.toFixed(2)}`)
  }
  return written.length ? [...pale] : ['nothing is written']
}"""


@pytest.fixture(scope="session")
def pale():
    """Tells which text in the elements of a selector has too little contrast."""
    return lambda page, where: page.evaluate(PALE, where)


@pytest.fixture(scope="module")  # while Playwright is there, nothing else in the process can run an event loop
def browser():
    if CHROMIUM is None:
        pytest.skip(HOW)
    sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright")
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):
    """The address of a JupyterLab on a copy of the course, at preset smoke."""
    desk, home = tmp_path_factory.mktemp("desk"), tmp_path_factory.mktemp("home")
    lay_out(desk)
    settings = home / "settings/@jupyterlab/notebook-extension/tracker.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text('{"windowingMode": "none"}')  # cells that are out of sight stay in the page
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folders = {name: str(home / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")}
    env = {**os.environ, **folders, "NASEDU_PRESET": "smoke", "NASEDU_RUNS": str(home / "runs")}
    options = ["--no-browser", "--allow-root", f"--port={port}", f"--IdentityProvider.token={TOKEN}"]
    options += [
        f"--LabApp.user_settings_dir={home / 'settings'}",
        "--ServerApp.port_retries=0",
        "--LabApp.news_url=None",
    ]
    command = [sys.executable, "-m", "jupyterlab", *options, f"--notebook-dir={desk}"]
    log = (home / "log").open("w")
    server = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/api?token={TOKEN}", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        yield address, desk
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:  # it waits for kernels
            server.kill()


class Notebook:
    """A notebook that is open in JupyterLab."""

    def __init__(self, page, address, name):
        self.page = page
        page.set_default_timeout(120_000)
        page.goto(f"{address}/lab/tree/{name}?token={TOKEN}&reset")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell .cm-content")
        page.get_by_text("| Idle").wait_for()
        page.wait_for_timeout(4000)  # a run before the session has settled asks for a kernel

    def run(self, seconds):
        """Run all cells, and wait for the last."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        self.wait(seconds)

    def wait(self, seconds):
        """Until the kernel rests: an empty queue, and no cell that waits."""
        waiting = "[...document.querySelectorAll('.jp-InputPrompt')].every(p => !p.textContent.includes('*'))"
        done = (
            f"() => document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status === 'idle' && {waiting}"
        )
        self.page.wait_for_timeout(1500)
        self.page.wait_for_function(done, timeout=1000 * seconds)

    def theme(self, name):
        """Change JupyterLab's colours."""
        self.page.get_by_role("menuitem", name="Settings", exact=True).click()
        self.page.locator(".lm-Menu-item", has_text="Theme").first.hover()
        self.page.locator(".lm-Menu-item", has_text=name).first.click()
        self.page.wait_for_timeout(2000)

    def cells(self):
        """What the notebook is: the cells' texts and kinds, which no key in a widget may change."""
        self.page.wait_for_timeout(300)
        return self.page.evaluate(
            "() => [...document.querySelectorAll('.jp-Notebook .jp-Cell')].map(c => c.className.split(' ')"
            ".filter(n => n.endsWith('Cell')).join() + (c.querySelector('.cm-content')?.textContent ?? ''))"
        )

    def edit(self, at, text):
        """Replace the source of a cell that holds `at`, and run it."""
        cell = self.page.locator(".jp-Notebook .jp-CodeCell", has_text=at).first
        cell.scroll_into_view_if_needed()
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(text)
        self.page.keyboard.press("Control+Enter")
        self.wait(60)

    def again(self, at):
        """Run a cell that holds `at`, and return its output."""
        cell = self.page.locator(".jp-Notebook .jp-CodeCell", has_text=at).first
        cell.scroll_into_view_if_needed()
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        self.wait(60)
        return cell.locator(".jp-OutputArea-output")


@pytest.fixture
def opened(browser, lab):
    """Opens a notebook of the copy; what the page did outside of this machine is refused and noted."""
    address, desk = lab
    context = browser.new_context(viewport={"width": 1400, "height": 1100})
    asked = []

    def guard(route):
        if not route.request.url.startswith((address, "data:", "blob:")):
            asked.append(route.request.url)
            return route.abort()
        return route.continue_()

    context.route("**/*", guard)

    def open_(name):
        book = Notebook(context.new_page(), address, name)
        book.desk, book.asked = desk, asked
        return book

    yield open_
    context.close()
