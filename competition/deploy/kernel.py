"""A folder that Kaggle's client pushes: one script that bundles the package, and its metadata.

The script runs on Kaggle's machines without internet access and installs nothing. It unpacks the package, and the
pure-Python packages that Kaggle may lack, into a temporary folder, and calls `competition.cli.session`.
"""

import base64
import io
import json
import lzma
import pprint
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from competition.data.config import CONFIG_FILE
from competition.errors import UserError
from competition.files import write_atomically

METADATA_FILE, SCRIPT_FILE = "kernel-metadata.json", "foldblend_kernel.py"
BUNDLED = ("filelock", "prettytable", "skops", "wcwidth")  # others are there wherever Keras is, or are optional
PACKAGE = Path(__file__).parents[1]
MAX_SCRIPT_BYTES = 1_000_000  # Kaggle rejects larger ones
MAX_TITLE = 50

SCRIPT = '''\
"""{title}, made by `make kernel` of foldblend. Do not edit: run the command again.

It bundles the package, and runs offline: attach the competition {competition} as an input, and choose a GPU.
"""

import base64
import io
import sys
import tarfile
import tempfile
from pathlib import Path

SETTINGS = {settings}
SOURCES = {sources!r}


def main():
    with tempfile.TemporaryDirectory(prefix="foldblend-session-") as name:
        folder = Path(name)
        with tarfile.open(fileobj=io.BytesIO(base64.b85decode(SOURCES)), mode="r:xz") as archive:
            archive.extractall(folder)
        sys.path.insert(0, str(folder / "package"))
        sys.path.append(str(folder / "bundled"))  # what is installed here is preferred
        from competition.cli.session import {function}

        return {function}(SETTINGS, folder / "files")


if __name__ == "__main__":
    sys.exit(main())
'''


@dataclass(frozen=True)
class KernelSpec:
    """What a kernel does, and the inputs that it needs besides the competition, by their addresses OWNER/SLUG."""

    function: Literal["train", "predict"]  # of competition.cli.session
    datasets: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()


TRAINING = KernelSpec("train")


def kernel_slug(competition: str, purpose: str = "") -> str:
    """The last part of the kernel's address on Kaggle, which is also its title; these have at most 50 characters."""
    return f"foldblend-{competition}"[: MAX_TITLE - len(purpose)].rstrip("-") + purpose


def write_kernel(
    folder: Path,
    kernel: str,
    settings: Mapping[str, Any],
    files: Mapping[str, bytes],
    spec: KernelSpec = TRAINING,
) -> Path:
    """Write the script and its metadata into the folder, and return the script's path.

    `settings` and `files` are passed to the session; `kernel` is the address, OWNER/SLUG.
    """
    competition, title = settings["competition"], kernel.split("/")[1]
    packed = base64.b85encode(_pack(files)).decode()
    shown = pprint.pformat(dict(settings), sort_dicts=False, width=100)
    script = SCRIPT.format(
        title=title, competition=competition, settings=shown, sources=packed, function=spec.function
    ).encode()
    if len(script) > MAX_SCRIPT_BYTES:
        raise UserError(
            f"the script would have {len(script):,} bytes, of which Kaggle allows {MAX_SCRIPT_BYTES:,}; "
            f"remove models of your own from {PACKAGE / 'models' / 'zoo'}"
        )
    metadata = {
        "id": kernel,
        "title": title,
        "code_file": SCRIPT_FILE,
        "language": "python",
        "kernel_type": "script",
        "is_private": True,
        "enable_gpu": True,
        "enable_tpu": False,
        "enable_internet": False,
        "competition_sources": [competition],
        "dataset_sources": list(spec.datasets),
        "kernel_sources": list(spec.kernels),
        "model_sources": [],
    }
    write_atomically(folder / SCRIPT_FILE, script)
    write_atomically(folder / METADATA_FILE, json.dumps(metadata, indent=1).encode() + b"\n")
    return folder / SCRIPT_FILE


def settings_files(competition_folder: Path, folds_folder: Path) -> dict[str, bytes]:
    """The competition's configuration and tuned hyperparameters, which a session needs to train the same members."""
    paths = {CONFIG_FILE: competition_folder / CONFIG_FILE}
    paths |= {f"parameters/{path.name}": path for path in sorted(folds_folder.glob("parameters/*.json"))}
    return {name: path.read_bytes() for name, path in paths.items() if path.exists()}


def _pack(files: Mapping[str, bytes]) -> bytes:
    """A compressed archive of the package, the bundled packages and other files; equal content gives equal bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in [*_sources(), *((f"files/{name}", files[name]) for name in sorted(files))]:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return lzma.compress(buffer.getvalue(), preset=9 | lzma.PRESET_EXTREME)


def _sources() -> Iterator[tuple[str, bytes]]:
    """The names in the archive and the contents of all source files."""
    for path in sorted(PACKAGE.rglob("*")):
        if path.suffix in (".py", ".html", ".css"):
            yield f"package/{path.relative_to(PACKAGE.parent)}", path.read_bytes()
    for name in BUNDLED:
        root = _find_package(name)
        for path in sorted(root.rglob("*.py")):
            if "tests" not in path.parts:
                yield f"bundled/{path.relative_to(root.parent)}", path.read_bytes()


def _find_package(name: str) -> Path:
    """The folder of an installed package, found without importing it."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise UserError(f"{name} is not installed; run `make setup`")
    return Path(spec.origin).parent
