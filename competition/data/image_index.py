"""Match the names in a table's cells to image files."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from competition.data.inventory import SUFFIXES, find_parts
from competition.errors import UserError

IMAGE_SUFFIX = re.compile(f"({'|'.join(map(re.escape, SUFFIXES))})$", re.IGNORECASE)


class ImageIndex:
    """Image files by name; a name may omit the extension, contain dots and begin with folders.

    Some competitions have the same pictures several times, e.g. in two formats. Of several files of the same name, one
    in a folder of the part is chosen, then the one whose folder has the most of the names, then the smallest.
    """

    def __init__(self, images: dict[str, int]) -> None:
        self.images = images
        self._by_depth: dict[int, dict[str, list[str]]] = {}
        self._parts = {path: part_of(path) for path in images}

    def find(self, names: Sequence[str], part: str) -> list[str]:
        """The file of each name among the images of a part, train or test; empty where there is none."""
        candidates = [self.candidates(name, part) for name in names]
        counts: dict[str, int] = defaultdict(int)
        sizes: dict[str, int] = defaultdict(int)
        for paths in candidates:
            for path in paths:
                counts[_folder(path)] += 1
                sizes[_folder(path)] += self.images[path]
        rank = {folder: (-counts[folder], sizes[folder], folder) for folder in counts}
        return [min(paths, key=lambda path: rank[_folder(path)], default="") for paths in candidates]

    def candidates(self, name: str, part: str) -> list[str]:
        """The files of this name: those in folders of the part or, if there are none, in folders of neither part."""
        found = next((paths for key in _keys(name) if (paths := self._files(key))), [])
        own = [path for path in found if self._parts[path] == part]
        found = own or [path for path in found if not self._parts[path]]
        if len(found) > 1 and len({_folder(path) for path in found}) < len(found):
            raise UserError(f"{found[0]} and {found[1]} differ only in their extension; remove one")
        return found

    def _files(self, key: str) -> list[str]:
        """The files whose path ends with the key, which has no extension."""
        depth = key.count("/") + 1
        if depth not in self._by_depth:
            tails = defaultdict(list)
            for path in self.images:
                parts = path.split("/")
                if len(parts) >= depth:
                    tails[_normalize("/".join(parts[-depth:]))].append(path)
            self._by_depth[depth] = tails
        return self._by_depth[depth].get(key, [])


def part_of(path: str) -> str:
    """The part that the outermost of the image's folders with such a name belongs to: train, test or neither."""
    return next((part for folder in PurePosixPath(path).parts[:-1] for part in find_parts(folder)), "")


def _keys(name: str) -> Iterator[str]:
    """Yield the name as a key, then without its first folders, which may be those of another machine."""
    key = _normalize(name.strip().replace("\\", "/").strip("/"))
    while key:
        yield key
        key = key.partition("/")[2]


def _normalize(name: str) -> str:
    """The name without extension, its accents composed: file systems and tables may write them differently."""
    return unicodedata.normalize("NFC", IMAGE_SUFFIX.sub("", name))


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
