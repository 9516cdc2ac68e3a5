"""Small real data: the 8x8 digits that scikit-learn ships, enlarged, as a competition with sealed answers."""

import faulthandler
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from itertools import chain
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from sklearn.datasets import load_digits

from competition.data.dataset import Dataset, load
from competition.data.practice import write_competition

ROOT = Path(__file__).parent.parent
TRAIN_ROWS = 600
TEST_ROWS = 200
SLOW = 1800  # seconds after which a slow test fails
KEPT_BY_LIBRARIES = (
    "execnet",  # pytest-xdist's own
    "Dask-Callback",  # one thread for all clients
    "Dask-Offload",
    "resource_tracker",  # loky's and Python's processes that remove temporary files
)


# The same examples on every run, however slow the machine; fixtures that only read may serve all of them.
settings.register_profile(
    "suite",
    derandomize=True,
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("suite")


def pytest_terminal_summary(terminalreporter):
    """Tell how much was tried, by what tests recorded: `record_property("faults", 3)`."""
    tried = Counter()
    for report in chain.from_iterable(terminalreporter.stats.values()):
        if getattr(report, "when", None) == "call":
            for what, number in report.user_properties:
                tried[what] += number
    if tried:
        told = ", ".join(f"{number} {what}" for what, number in sorted(tried.items()))
        terminalreporter.write_line(f"tried: {told}")


def pytest_configure():
    # Where the tests run in the background, the shell has them and all that they start ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """Slow tests have more time."""
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(SLOW))


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left_running():
    """Whoever starts a thread or a process ends it; what libraries keep for the whole session is known by name."""
    yield

    def left() -> list[str]:
        threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
        processes = [" ".join(child.cmdline()) for child in psutil.Process().children() if child.status() != "zombie"]
        return [name for name in threads + processes if not any(kept in name for kept in KEPT_BY_LIBRARIES)]

    deadline = time.monotonic() + 10
    while (running := left()) and time.monotonic() < deadline:
        time.sleep(0.1)
    if running:
        faulthandler.dump_traceback(all_threads=True)
    assert not running, f"still running at the end of the tests: {running}"


def small_digits() -> tuple[np.ndarray, np.ndarray]:
    """800 digits, each pixel doubled to 16x16, as (rows, 256) bytes, and their labels."""
    images, labels = load_digits(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(labels))[: TRAIN_ROWS + TEST_ROWS]
    square = (images[rows] * 15.9375).astype(np.uint8).reshape(-1, 8, 8)
    return square.repeat(2, axis=1).repeat(2, axis=2).reshape(len(rows), -1), labels[rows]


@pytest.fixture(scope="session")
def competition_folder(tmp_path_factory) -> Path:
    """A whole competition on disk; tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("data") / "digits8"
    images, labels = small_digits()
    n = TRAIN_ROWS
    write_competition(folder, images[:n], labels[:n], images[n:], labels[n:])
    return folder


@pytest.fixture
def own_competition(competition_folder, tmp_path) -> Path:
    """A copy that the test may spoil."""
    target = tmp_path / "data" / "digits8"
    return Path(shutil.copytree(competition_folder, target, ignore=shutil.ignore_patterns("cache")))


@pytest.fixture(scope="session")
def dataset(competition_folder) -> Dataset:
    return load(competition_folder)


@pytest.fixture
def command(tmp_path, own_competition):
    """Runs the command line in a folder of its own that has the small competition."""

    def run(*arguments: str, module: str = "competition", **settings) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
            text=True,
            capture_output=True,
            check=False,
            **settings,
        )

    return run


@pytest.fixture
def browser():
    """Debian's Chromium, driven by Playwright."""
    chromium = shutil.which("chromium") or pytest.skip("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def faultless(browser):
    """Opens an address in a window of a width and in light or dark; complains of what axe or the console find."""
    from axe_playwright_python.sync_playwright import Axe

    complaints: list[str] = []

    def opened(address: str, width: int, scheme: str):
        tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        tab.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(address)
        return tab

    yield opened
    for tab in [page for context in browser.contexts for page in context.pages]:
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it is wider than the window"
        found = Axe().run(tab)
        assert found.violations_count == 0, found.generate_report()
    assert complaints == []


def wait_until(condition: Callable[[], object], seconds: float = 120) -> None:
    """Until something is so, which it has to be soon."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Cluster:
    """A scheduler and the workers that a test asks for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen] = []
        self.drivers = ExitStack()
        self.scheduler = self._start("dask", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
                                     "--scheduler-file", str(folder / "scheduler.json"))  # fmt: skip
        wait_until((folder / "scheduler.json").exists)
        self.address = json.loads((folder / "scheduler.json").read_text())["address"]

    def start(self, *arguments: str, path: tuple[Path, ...] = ()) -> subprocess.Popen:
        """A nanny with a worker of one thread, or as the arguments say; `path` comes before ours."""
        shape = arguments or ("--nthreads", "1")
        return self._start("dask", "worker", self.address, *shape, path=path)

    def start_ours(self) -> subprocess.Popen:
        """What `make worker` starts."""
        return self._start("competition", "worker", "--cluster", self.address, "--jobs", "1")

    def workers(self, jobs: int | None = None):
        """As a driver has them."""
        from competition.workers.cluster import ClusterWorkers

        return self.drivers.enter_context(ClusterWorkers(self.address, jobs))

    def end(self) -> None:
        """Everything that was started, and what it started."""
        self.drivers.close()
        for process in self.processes:
            with suppress(psutil.NoSuchProcess):
                for child in [*psutil.Process(process.pid).children(recursive=True), process]:
                    child.kill()
            process.wait()

    def _start(self, module: str, *arguments: str, path: tuple[Path, ...] = ()) -> subprocess.Popen:
        folders = [*map(str, path), str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "workers")]
        with (self.folder / "log").open("ab") as log:
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", module, *arguments],
                    stdout=log,
                    stderr=log,
                    cwd=self.folder,
                    env=os.environ
                    | {"PYTHONPATH": os.pathsep.join(folders), "DASK_TEMPORARY_DIRECTORY": str(self.folder)},
                )
            )
        return self.processes[-1]


@pytest.fixture
def empty_cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.end()


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    for _ in range(2):
        cluster.start()
    yield cluster
    cluster.end()


@pytest.fixture
def cluster(two_workers):
    """Two workers, which the tests that share them leave in good health."""
    yield two_workers
    two_workers.drivers.close()
