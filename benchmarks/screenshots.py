"""Screenshots of the report, the demo and the live table of a training run, for the documentation."""

import io
import re
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import chdir, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from PIL import Image
from rich.console import Console

from competition.cli.run import Run, RunOptions, open_run
from competition.cli.train import open_workers
from competition.errors import UserError
from competition.views.terminal.live import progress_table
from competition.workers.events import Event

if TYPE_CHECKING:
    from fastapi import FastAPI
    from playwright.sync_api import Browser, Page

Scheme = Literal["light", "dark"]
DESK, PHONE, DEMO = (1180, 1000), (360, 1000), (1000, 800)  # pixels
GAP = 24  # pixels between two screenshots in one file
# A "2", as fractions of the canvas's side.
STROKE = ((0.27, 0.33), (0.32, 0.22), (0.45, 0.16), (0.6, 0.17), (0.7, 0.26), (0.7, 0.38), (0.6, 0.52), (0.45, 0.66),
          (0.29, 0.81), (0.45, 0.8), (0.6, 0.8), (0.75, 0.79))  # fmt: skip


@contextmanager
def open_browser() -> "Iterator[Browser]":
    """The system's Chromium."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if not chromium:
        raise UserError("Chromium is not installed; install it, e.g.: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


def open_page(browser: "Browser", address: str, size: tuple[int, int], scheme: Scheme) -> "Page":
    """Open a page on a screen of this size; narrow ones are phones."""
    width, height = size
    is_phone = size == PHONE
    page = browser.new_page(
        viewport={"width": width, "height": height}, color_scheme=scheme, is_mobile=is_phone, has_touch=is_phone
    )
    page.goto(address)
    return page


def capture_report(browser: "Browser", report: Path, file: Path) -> None:
    """The top of the report on a desk, and beside it on a phone in dark mode."""
    address = report.resolve().as_uri()
    screens: list[tuple[tuple[int, int], Scheme]] = [(DESK, "light"), (PHONE, "dark")]
    shots = [open_page(browser, address, size, scheme).screenshot() for size, scheme in screens]
    images = [Image.open(io.BytesIO(shot)) for shot in shots]
    both = Image.new("RGB", (DESK[0] + GAP + PHONE[0], DESK[1]), "white")
    both.paste(images[0], (0, 0))
    both.paste(images[1], (DESK[0] + GAP, 0))
    both.quantize(255, dither=Image.Dither.NONE).save(file, optimize=True)


def capture_demo(browser: "Browser", address: str, file: Path) -> None:
    """The demo, after a digit was drawn."""
    page = open_page(browser, address, DEMO, "light")
    box = page.locator("#canvas").bounding_box()
    assert box
    corners = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in STROKE]
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in corners[1:]:
        page.mouse.move(*corner, steps=5)
    page.mouse.up()
    page.wait_for_function("!pending && document.querySelector('#label').textContent")
    page.screenshot(path=file)


@contextmanager
def serve(app: "FastAPI") -> Iterator[str]:
    """Serve an application on a free port; yield its address."""
    import uvicorn

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.05)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()


def capture_training(models: list[str], file: Path, jobs: int | None = None) -> None:
    """Cross-validate models on the 8x8 digits, and draw the live table while most folds are running."""
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        table = record_training(open_run(RunOptions("digits8", models, jobs=jobs)))
    file.write_text(re.sub(r"@font-face \{.*?\}", "", table, flags=re.DOTALL), encoding="utf-8")


def record_training(run: Run) -> str:
    """The live table as SVG, when some models are complete and the most folds have finished an epoch."""
    from competition.crossval.progress import Progress
    from competition.crossval.run import cross_validate

    best: tuple[int, str] = (0, "")
    with open_workers(run) as workers:
        progress = Progress(run.store, run.members, workers, run.metric)

        def on_event(event: Event) -> None:
            nonlocal best
            progress.update(event)
            in_epochs = sum(task.point is not None and task.point.epoch > 1 for task in progress.running.values())
            done = sum(map(len, progress.seconds.values()))
            if in_epochs * done >= max(best[0], 1):
                console = Console(record=True, file=io.StringIO(), width=96, force_terminal=True)
                console.print(progress_table(progress))
                best = in_epochs * done, console.export_svg(title=run.store.command("cv"))

        with closing(cross_validate(run.store, run.members, workers, on_event)) as stages:
            for _ in stages:
                pass
    return best[1]
