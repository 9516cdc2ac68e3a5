"""A competition's files in a Kaggle notebook, where they are mounted read-only below /kaggle/input."""

import os
from collections.abc import Iterator
from pathlib import Path

from competition.data.inventory import list_files

INPUT = Path("/kaggle/input")
INPUT_VARIABLE = "FOLDBLEND_KAGGLE_INPUT"  # another folder in place of /kaggle/input
OWNED = ("datasets", "models", "notebooks")  # folders of OWNER/NAME in the newer layout


def input_folder() -> Path:
    """The folder below which Kaggle mounts the inputs of a notebook."""
    return Path(os.environ.get(INPUT_VARIABLE) or INPUT)


def find_mount(competition: str) -> Path | None:
    """The folder of the competition's files, in either of the layouts that Kaggle uses; None if it is not attached."""
    root = input_folder()
    return next((path for path in (root / "competitions" / competition, root / competition) if path.is_dir()), None)


def find_competitions() -> list[str]:
    """The names of the attached competitions: in the older layout, inputs with images or a table of training rows."""
    root = input_folder()
    newer = {path.name for path in root.glob("competitions/*") if path.is_dir()}
    older = {path.name for path in root.glob("*") if path.name not in ("competitions", *OWNED) and _is_data(path)}
    return sorted(newer | older)


def find_inputs(pattern: str) -> Iterator[Path]:
    """Yield what matches the pattern in the inputs that are data sets or outputs of notebooks, in either layout."""
    root = input_folder()
    for prefix in ("*", *(f"{kind}/*/*" for kind in OWNED)):
        yield from sorted(root.glob(f"{prefix}/{pattern}"))


def link_files(mount: Path, folder: Path) -> None:
    """Create a folder with links to all mounted files; the folders in it are real, so that archives can be unpacked."""
    for parent, _, files in os.walk(mount):
        target = folder / Path(parent).relative_to(mount)
        target.mkdir(parents=True, exist_ok=True)
        for name in files:
            link = target / name
            if not link.exists():
                link.symlink_to(Path(parent).absolute() / name)


def _is_data(folder: Path) -> bool:
    """Whether the folder has the files of a competition, and neither our package nor our predictions."""
    if not folder.is_dir() or (folder / "folds").is_dir() or (folder / "competition" / "__main__.py").exists():
        return False
    inventory = list_files(folder)
    return bool(inventory.images or inventory.table("train"))
