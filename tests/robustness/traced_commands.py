"""Run commands under strace, which records their system calls or lets one of them fail.

Only the driver's main thread is traced, which alone writes to the project's folders, and only its calls are counted.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT

CALLS = (
    "openat",
    "lseek",
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "ftruncate",
    "rename",
    "unlink",
    "mkdir",
    "rmdir",
    "flock",
)
ALL_BYTES = 1 << 28
CALL = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\)\s+= (?P<result>-?\d+|\?)(?P<rest>.*)")
DESCRIPTOR = re.compile(r"(?P<number>\d+)<(?P<path>[^>]*)>")
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Call:
    """A system call."""

    name: str
    ordinal: int  # among the calls of this name, from 1
    paths: tuple[Path, ...]  # of its file, or of both files of a rename
    flags: str  # of openat
    descriptor: int  # of the open file; of openat, the new one
    data: bytes  # of write
    result: int
    is_injected: bool = False

    @property
    def changes_files(self) -> bool:
        """Whether it writes, or opens a file for writing."""
        return self.name not in ("openat", "lseek") or any(
            flag in self.flags for flag in ("O_WRONLY", "O_RDWR", "O_CREAT")
        )


def read_trace(trace: Path, folder: Path) -> Iterator[Call]:
    """The system calls in strace's output, in order; relative paths start at the folder."""
    ordinals: Counter[str] = Counter()
    for line in trace.read_text(errors="surrogateescape").splitlines():
        if not (match := CALL.match(line)):
            continue
        name, arguments = match["name"], match["arguments"]
        ordinals[name] += 1
        strings = STRING.findall(arguments)
        if name in ("openat", "rename", "unlink", "mkdir", "rmdir"):
            paths = tuple(folder / _unescape(text).decode() for text in strings)
            data = b""
        result = descriptor = -1 if match["result"] == "?" else int(match["result"])
        if opened := DESCRIPTOR.match(arguments):
            paths, descriptor = (Path(_unescape(opened["path"]).decode()),), int(opened["number"])
            data = _unescape(strings[0]) if strings else b""
        flags, is_injected = arguments if name == "openat" else "", "(INJECTED" in match["rest"]
        yield Call(name, ordinals[name], paths, flags, descriptor, data, result, is_injected)


def _unescape(text: str) -> bytes:
    return text.encode("latin-1", errors="replace").decode("unicode_escape").encode("latin-1")


@dataclass
class CommandServer:
    """Runs commands; each in a folder of its own, next to which its output, its temporary files and its trace are."""

    process: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        if not shutil.which("strace"):
            pytest.skip("strace is not installed")
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("command_server.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Files of bytecode, written by the first run only, would change the numbers of the calls.
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        )

    def close(self) -> None:
        """End the server."""
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def run(self, folder: Path, arguments: tuple[str, ...], strace: tuple[str, ...] = ()) -> "Result":
        """Run the command, under strace if it is given options; wait until it has ended."""
        places = {name: Path(f"{folder}.{name}") for name in ("temporary", "output", "trace")}
        places["temporary"].mkdir(exist_ok=True)
        request = {"folder": str(folder), "arguments": list(arguments)}
        request |= {name: str(places[name]) for name in ("temporary", "output")}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        number = int(self.process.stdout.readline())
        with _attached(number, places["trace"], strace):
            os.kill(number, signal.SIGCONT)
            status = int(self.process.stdout.readline())
        return Result(
            folder, status, places["output"].read_text(errors="replace"), places["temporary"], places["trace"]
        )


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    folder: Path
    status: int
    output: str
    temporary: Path
    trace: Path

    def calls(self) -> list[Call]:
        """Its recorded system calls."""
        return list(read_trace(self.trace, self.folder))


@contextmanager
def _attached(process: int, trace: Path, options: tuple[str, ...]) -> Iterator[None]:
    """Trace the process, if there are options."""
    if not options:
        yield
        return
    command = ["strace", "-y", "-p", str(process), "-o", str(trace), "-e", f"trace={','.join(CALLS)}", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        line = strace.stderr.readline()
        if "attached" not in line:
            pytest.skip(f"strace cannot trace processes here: {line.strip()}")
        yield
        strace.wait()


TRACE = ("-s", "64")  # options that record the calls
RECORD = ("-xx", "-s", str(ALL_BYTES))  # and the bytes that are written


def inject(call: Call, fault: str) -> tuple[str, ...]:
    """The options that let this call fail, e.g. with `error=EIO`, or kill the process before it."""
    return "-e", f"inject={call.name}:{fault.removesuffix('+')}:when={call.ordinal}{'+' if fault.endswith('+') else ''}"


def comparable_files(folder: Path) -> dict[str, object]:
    """What equal runs have in common: the names of all files, and the content of most, without dates and commit."""
    return {str(path.relative_to(folder)): _comparable(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def _comparable(path: Path) -> object:
    match path.name:
        case "log.csv":
            return pd.read_csv(path, dtype=str, keep_default_na=False).drop(columns="when").to_dict("records")
        case "metadata.json":
            return json.loads(path.read_text()) | {"when": "", "git": ""}
        case "evaluations.csv":
            return None
        case _:
            return path.read_bytes() if path.suffix in (".npz", ".npy", ".csv") else None
