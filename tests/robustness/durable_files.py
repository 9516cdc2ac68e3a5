"""What remains of a folder when the power is lost: only the contents and the names that were synced before."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from robustness.traced_commands import Call


@dataclass
class _File:
    content: bytes = b""
    synced: bytes = b""


@dataclass
class _Folder:
    """A folder's entries in memory and on the disk; both may be files or folders."""

    entries: "dict[str, _File | _Folder]"
    synced: "dict[str, _File | _Folder]"


class DurableFiles:
    """A folder whose changes are replayed from recorded system calls; it begins as a copy of `before` on the disk."""

    def __init__(self, before: Path, folder: Path) -> None:
        self.folder = folder
        self._root = self._read(before)
        self._positions: dict[int, int] = {}  # by descriptor

    def _read(self, folder: Path) -> _Folder:
        entries = {path.name: self._read(path) if path.is_dir() else self._file(path) for path in folder.iterdir()}
        return _Folder(entries, dict(entries))

    @staticmethod
    def _file(path: Path) -> _File:
        content = path.read_bytes()
        return _File(content, content)

    def replay(self, call: Call) -> None:
        """Apply a successful call to files in the folder."""
        if call.result < 0 or not call.paths or not all(path.is_relative_to(self.folder) for path in call.paths):
            return
        path = call.paths[0]
        parent = self._find(path.parent) if path != self.folder else self._root
        match call.name:
            case "openat" if not call.changes_files:
                pass
            case "openat":
                file = parent.entries.setdefault(path.name, _File())
                if "O_TRUNC" in call.flags:
                    file.content = b""
                self._positions[call.descriptor] = 0
            case "lseek":
                self._positions[call.descriptor] = call.result
            case "write":
                file, start = self._find(path), self._positions[call.descriptor]
                end = start + call.result
                file.content = file.content[:start] + call.data[: call.result] + file.content[end:]
                self._positions[call.descriptor] = end
            case "fsync" | "fdatasync":
                self._sync(self._find(path))
            case "rename":
                target = call.paths[1]
                self._find(target.parent).entries[target.name] = parent.entries.pop(path.name)
            case "unlink" | "rmdir":
                del parent.entries[path.name]
            case "mkdir":
                parent.entries[path.name] = _Folder({}, {})
            case "flock":
                pass
            case _:
                raise NotImplementedError(call.name)

    @staticmethod
    def _sync(node: _File | _Folder) -> None:
        if isinstance(node, _File):
            node.synced = node.content
        else:
            node.synced = dict(node.entries)

    def _find(self, path: Path) -> "_File | _Folder":
        node = self._root
        for part in path.relative_to(self.folder).parts:
            node = node.entries[part]
        return node

    def survivors(self, names_survive: bool = False) -> dict[str, bytes]:
        """The files on the disk; if names survive, also those of files that were not synced, which are then empty."""
        return dict(self._walk(self._root, "", names_survive))

    def _walk(self, folder: _Folder, prefix: str, names_survive: bool) -> Iterator[tuple[str, bytes]]:
        for name, node in (folder.entries if names_survive else folder.synced).items():
            if isinstance(node, _File):
                yield prefix + name, node.synced
            else:
                yield from self._walk(node, f"{prefix}{name}/", names_survive)


def write_files(files: dict[str, bytes], folder: Path) -> Path:
    """Write the files into a new folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder
