"""Match the names in a table's cells to image files."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

from competition.data.inventory import SUFFIXES
from competition.errors import UserError

IMAGE_SUFFIX = re.compile(f"({'|'.join(map(re.escape, SUFFIXES))})$", re.IGNORECASE)
PARTS = {"train": re.compile(r"(^|[^a-z])train", re.IGNORECASE), "test": re.compile(r"(^|[^a-z])test", re.IGNORECASE)}


class ImageIndex:
    """Image files by name; a name may omit the extension, contain dots and begin with folders.

    Some competitions have the same pictures several times, e.g. in two formats. Of several files of the same name, the
    one whose folder has the most of the names is chosen, and of folders alike the smaller one.
    """

    def __init__(self, images: dict[str, int]) -> None:
        self.images = images
        self._by_depth: dict[int, dict[str, list[str]]] = {}
        train, test = ({path for path in images if is_in(path, part)} for part in PARTS)
        self._excluded = {"train": test - train, "test": train - test}

    def find(self, names: Sequence[str], part: str) -> list[str]:
        """The file of each name among the images of a part, train or test; empty where there is none."""
        candidates = [self._candidates(name, part) for name in names]
        counts: dict[str, int] = defaultdict(int)
        sizes: dict[str, int] = defaultdict(int)
        for paths in candidates:
            for path in paths:
                counts[_folder(path)] += 1
                sizes[_folder(path)] += self.images[path]
        rank = {folder: (-counts[folder], sizes[folder], folder) for folder in counts}
        return [min(paths, key=lambda path: rank[_folder(path)], default="") for paths in candidates]

    def count(self, names: Sequence[str], part: str) -> int:
        """How many of the names are those of images of this part."""
        return sum(bool(self._candidates(name, part)) for name in names)

    def _candidates(self, name: str, part: str) -> list[str]:
        """The files of this name; those of the other part are left out, unless both parts share a folder."""
        key = IMAGE_SUFFIX.sub("", name.strip())
        if not key:
            return []
        depth = key.count("/") + 1
        if depth not in self._by_depth:
            self._by_depth[depth] = self._tails(depth)
        found = [path for path in self._by_depth[depth].get(key, ()) if path not in self._excluded[part]]
        if len(found) > 1 and len({_folder(path) for path in found}) < len(found):
            raise UserError(f"{found[0]} and {found[1]} differ only in their extension; remove one")
        return found

    def _tails(self, depth: int) -> dict[str, list[str]]:
        """The files by the last `depth` parts of their paths, without extension."""
        tails = defaultdict(list)
        for path in self.images:
            parts = path.split("/")
            if len(parts) >= depth:
                tails[IMAGE_SUFFIX.sub("", "/".join(parts[-depth:]))].append(path)
        return tails


def is_in(path: str, part: str) -> bool:
    """Whether one of the image's folders is named like a part: train or test."""
    return any(PARTS[part].search(folder) for folder in PurePosixPath(path).parts[:-1])


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
