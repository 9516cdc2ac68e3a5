"""The submission log: every submission keeps its number, its file, its metadata and a row of scores."""

import filecmp
import hashlib
import json
import shlex
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from competition.ensemble.blend import Blend
from competition.errors import UserError, command, first_line, move_away
from competition.files import atomic_file, atomic_folder, sha256, wait_for_lock, write_atomically
from competition.scoring.metrics import Metric
from competition.scoring.standard_error import Score

NUMBER = r"-?\d+(\.\d+)?"
COLUMNS = {  # regular expressions that the values match
    "competition": ".*",
    "number": r"[1-9]\d{0,8}",
    "name": ".*",
    "when": ".*",
    "members": ".*",
    "blender": ".*",
    "metric": ".*",
    "cv": NUMBER,
    "cv_standard_error": NUMBER,
    "held_back": rf"({NUMBER})?",
    "leaderboard": rf"({NUMBER})?",
    "sha256": "[0-9a-f]{64}",
}
SCORE_COLUMNS = ("held_back", "leaderboard")
METADATA_FILE = "metadata.json"
FRACTION = r"^-?\d+\.\d"  # numbers and probabilities have decimals; labels are assumed not to
METADATA_KEYS = ("when", "members", "blender", "metric", "score", "rows", "sha256", "run", "run_digest")
MAX_EXAMPLES = 5  # of rows whose label differs from that in the previous submission


@dataclass(frozen=True)
class RunSpec:
    """The inputs that determine the result of `submit`; a resumed run has the same inputs and keeps its number."""

    competition: str
    data: str
    split: str  # name of the saved split
    split_digest: str
    members: dict[str, str]  # fingerprints of all requested members by name
    blend: str  # as requested, e.g. auto
    metric: str
    content: str | None = None  # of the submission, if the competition's config or the metric determines it
    refit: int | None = None  # number of times to retrain networks on all rows, if at all
    label_metric: str | None = None  # for which labels are chosen, if not always the most probable ones

    def as_dict(self) -> dict[str, Any]:
        """The fields that are set, for the metadata."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @property
    def digest(self) -> str:
        """SHA-256 of the specification."""
        return _digest(self.as_dict())


@dataclass(frozen=True)
class Entry:
    """A numbered submission."""

    folder: Path

    @property
    def number(self) -> int:
        """The number at the beginning of the folder's name."""
        return int(self.folder.name.split("-")[0])

    @property
    def file(self) -> Path:
        """The submission file."""
        return self.folder / "submission.csv"

    @property
    def digest(self) -> str:
        """The SHA-256 of the submission file."""
        return sha256(self.file)

    @property
    def metadata_file(self) -> Path:
        """The file that records how the submission was made."""
        return self.folder / METADATA_FILE

    @property
    def summary_file(self) -> Path:
        """What the run printed at its end, after a line with a checksum."""
        return self.folder / "summary.txt"

    @property
    def claim_file(self) -> Path:
        """Reserves the number until the metadata is written; it contains the digest of the run."""
        return self.folder / "claim"

    @property
    def run_digest(self) -> str:
        """The digest of the run that made, or is making, the submission."""
        if self.metadata_file.exists():
            return self.metadata["run_digest"]
        return self.claim_file.read_text() if self.claim_file.exists() else ""

    @property
    def metadata(self) -> dict[str, Any]:
        """How the submission was made; raises UserError if the file is damaged."""
        path = self.metadata_file
        try:
            metadata = json.loads(path.read_text())
            if missing := [key for key in METADATA_KEYS if key not in metadata]:
                raise KeyError(f"{missing[0]} is missing")
            if _digest(metadata["run"]) != metadata["run_digest"]:
                raise ValueError("run does not match run_digest")
            value, error = metadata["score"]
            if not (isinstance(value, int | float) and isinstance(error, int | float)):
                raise TypeError("score is not two numbers")
            if not (isinstance(metadata["members"], dict) and isinstance(metadata.get("git", {}), dict)):
                raise TypeError("members or git is not an object")
            return metadata
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            submit = command("submit", competition=self.folder.parent.name)
            remedy = f"delete it and run the same `{submit}` again: {shlex.join(['rm', str(path)])}"
            raise UserError(f"{path} is damaged ({error}); {remedy}") from None

    @property
    def is_intact(self) -> bool:
        """Whether the file is the one that the metadata describe; a killed run may have replaced only the file."""
        return self.file.exists() and self.digest == self.metadata["sha256"]

    def require_intact(self) -> None:
        """Raise UserError unless the file is the one that the metadata describe."""
        if not self.is_intact:
            submit = command("submit", competition=self.folder.parent.name)
            raise UserError(f"{self.file} is not the file that its metadata describe; run the same `{submit}` again")

    @property
    def restore_remedy(self) -> str:
        """How to restore the code that made the submission."""
        if commit := self.metadata.get("git", {}).get("commit"):
            return f"restore the code: git checkout {commit}"
        return f"restore the code of {self.metadata['when']} (no commit was recorded)"

    def as_row(self) -> dict[str, str]:
        """The entry's row of the log, without scores."""
        metadata = self.metadata
        score, error = metadata["score"]
        values = {
            "competition": metadata["run"]["competition"],
            "number": str(self.number),
            "name": self.folder.name,
            "when": metadata["when"],
            "members": " ".join(metadata["members"]),
            "blender": metadata["blender"],
            "metric": metadata["metric"],
            "cv": f"{score:.6f}",
            "cv_standard_error": f"{error:.6f}",
            "sha256": metadata["sha256"],
        }
        return {column: values.get(column, "") for column in COLUMNS}


class SubmissionLog:
    """The submissions of all competitions in a folder, with a row for each in log.csv."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "log.csv"
        self.current_file = folder / "submission.csv"

    def entries(self, competition: str) -> list[Entry]:
        """The competition's submissions that have metadata, ordered by number."""
        return [entry for entry in self._numbered(competition) if entry.metadata_file.exists()]

    def entry(self, competition: str, number: int | None = None) -> Entry:
        """The submission with this number; by default the one that equals `submission.csv`, else the last."""
        entries = self.entries(competition)
        matches = [entry for entry in entries if number in (None, entry.number)]
        if number is None and self.current_file.exists():
            digest = sha256(self.current_file)
            matches = [entry for entry in entries if entry.file.exists() and sha256(entry.file) == digest] or matches
        if not matches:
            raise _missing_submission(competition, number, [entry.number for entry in entries])
        return matches[-1]

    def _numbered(self, competition: str) -> list[Entry]:
        """The competition's numbered folders, ordered by number."""
        paths = [path for path in (self.folder / competition).glob("[0-9]*-*") if path.is_dir()]
        entries = [Entry(path) for path in paths if path.name.split("-")[0].isdecimal()]
        return sorted(entries, key=lambda entry: entry.number)

    def get_or_create_entry(self, run: RunSpec) -> Entry:
        """The entry of this run: the existing one if the run is resumed, else a new one with the next number."""
        with wait_for_lock(self.folder):
            existing = self._numbered(run.competition)
            for entry in existing:
                if entry.run_digest == run.digest:
                    return entry
            # A submission whose folder was removed keeps its row, and Kaggle may know it by its number.
            recorded = self.read_competition(run.competition)["number"].astype(int)
            number = 1 + max([*recorded, *(entry.number for entry in existing)], default=0)
            suffix = "-".join(run.members)[:60].rstrip("-.:").replace(":", "_")  # valid in a file name
            entry = Entry(self.folder / run.competition / f"{number:03}-{suffix}")
            with atomic_folder(entry.folder) as temporary:  # a number is taken completely or not at all
                (temporary / entry.claim_file.name).write_text(run.digest)
            return entry

    def save(self, entry: Entry, run: RunSpec, blend: Blend, metric: Metric, score: Score) -> None:
        """Write the metadata and the row of a submission whose file is already in its folder."""
        digest, entries = sha256(entry.file), self.entries(run.competition)
        if entry in entries:
            saved = entry.metadata
            new = digest, list(blend.members), [score.value, score.standard_error], blend.refits
            if (saved["sha256"], list(saved["members"]), saved["score"], saved.get("refits", 0)) == new:
                entry.claim_file.unlink(missing_ok=True)  # the run may have been killed after it wrote the metadata
                self._upsert_row(entry)
                return
        previous = [other for other in entries if other.number < entry.number and other.is_intact]
        metadata = {
            "number": entry.number,
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "members": dict(zip(blend.members, blend.combination.weights.round(4).tolist(), strict=True)),
            "blender": blend.blender,
            "metric": metric.name,
            "score": [score.value, score.standard_error],
            "refits": blend.refits,
            "rows": len(blend.oof),
            "accuracy": blend.accuracy and [blend.accuracy.value, blend.accuracy.standard_error],
            "log_loss": blend.log_loss and [blend.log_loss.value, blend.log_loss.standard_error],
            "sha256": digest,
            "identical_to": [other.number for other in previous if other.digest == digest],
            "differs_from_previous": _difference(previous[-1].file, entry.file) if previous else None,
            "run": run.as_dict(),
            "run_digest": run.digest,
            "git": git_state(),
        }
        write_atomically(entry.metadata_file, json.dumps(metadata, indent=1).encode())
        entry.claim_file.unlink(missing_ok=True)
        self._upsert_row(entry)

    def record_score(self, competition: str, digest: str, metric: str, column: str, value: float) -> list[int]:
        """Write a score by this metric for every submission with this SHA-256; return their numbers."""
        with wait_for_lock(self.folder):
            rows = self.read()
            key = {"competition": competition, "sha256": digest, "metric": metric}
            matches = (rows[list(key)] == pd.Series(key)).all(axis=1)
            rows.loc[matches, column] = f"{value:.6f}"
            self._write(rows)
        return rows.loc[matches, "number"].astype(int).tolist()

    def recorded_score(self, competition: str, digest: str, metric: str, column: str) -> float | None:
        """The score by this metric of the submissions with this SHA-256; None if none is recorded."""
        rows = self.read_competition(competition)
        scores = rows.loc[(rows["sha256"] == digest) & (rows["metric"] == metric) & (rows[column] != ""), column]
        return float(scores.iloc[-1]) if len(scores) else None

    def current_competition(self) -> str | None:
        """The competition whose submission `submission.csv` is; None if it is a copy of none."""
        if not self.current_file.exists():
            return None
        for file in sorted(self.folder.glob("*/[0-9]*-*/submission.csv")):
            if filecmp.cmp(file, self.current_file, shallow=False):
                return file.parent.parent.name
        return None

    def read(self) -> pd.DataFrame:
        """The log, with a row without scores for each metadata file whose row was lost or not yet written."""
        rows = self._read_file() if self.path.exists() else pd.DataFrame(columns=list(COLUMNS), dtype=str)
        known = set(zip(rows["competition"], rows["number"], strict=True))
        competitions = sorted(path.name for path in self.folder.glob("*") if path.is_dir())
        entries = [entry for competition in competitions for entry in self.entries(competition)]
        rows_of_entries = [entry.as_row() for entry in entries]
        lost = [row for row in rows_of_entries if (row["competition"], row["number"]) not in known]
        return pd.DataFrame([*rows.to_dict("records"), *lost], columns=list(COLUMNS), dtype=str) if lost else rows

    def _read_file(self) -> pd.DataFrame:
        """The rows of log.csv; raises UserError if it is damaged."""
        try:
            rows = pd.read_csv(self.path, dtype=str, keep_default_na=False)
        except ValueError as error:
            raise self._damaged(first_line(error)) from None
        has_more_values = not isinstance(rows.index, pd.RangeIndex)  # pandas takes the first ones as names of the rows
        if list(rows.columns) != list(COLUMNS) or has_more_values:
            raise self._damaged(f"expected the columns {','.join(COLUMNS)}")
        for column, pattern in COLUMNS.items():
            is_valid = rows[column].str.fullmatch(pattern)
            if not is_valid.all():
                row = int(is_valid.argmin())
                raise self._damaged(f"line {row + 2}, column {column}: invalid value {rows[column].iloc[row]!r}")
        return rows

    def read_competition(self, competition: str) -> pd.DataFrame:
        """The competition's rows of the log."""
        rows = self.read()
        return rows[rows["competition"] == competition]

    def _damaged(self, reason: str) -> UserError:
        remedy = "repair it, or move it away to rebuild it from the metadata files, without scores"
        return UserError(f"{self.path} is damaged ({reason}); {remedy}: {move_away(self.path)}")

    def _upsert_row(self, entry: Entry) -> None:
        """Add or update the entry's row; scores are dropped if the submission's bytes have changed."""
        with wait_for_lock(self.folder):
            rows, row = self.read(), entry.as_row()
            old = rows[(rows["competition"] == row["competition"]) & (rows["number"] == row["number"])]
            if not old.empty and old.iloc[0]["sha256"] == row["sha256"]:
                row |= {column: old.iloc[0][column] for column in SCORE_COLUMNS}
            rows.loc[len(rows) if old.empty else old.index[0]] = pd.Series(row)
            self._write(rows)

    def _write(self, rows: pd.DataFrame) -> None:
        with atomic_file(self.path) as temporary:
            rows.to_csv(temporary, index=False, lineterminator="\n")


def _missing_submission(competition: str, number: int | None, existing: list[int]) -> UserError:
    """The error that a competition has no submission with this number, or none at all."""
    if not existing:
        return UserError(f"{competition} has no submission yet; run `{command('submit', competition=competition)}`")
    choice = f"{existing[0]}, the only one" if len(existing) == 1 else f"a number from {existing[0]} to {existing[-1]}"
    return UserError(f"{competition} has no submission {number}; choose {choice}")


def _digest(run: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()


def _difference(before: Path, after: Path) -> dict[str, Any]:
    """The number of rows whose label differs between two submissions, and the first of them as examples.

    Of numbers, and of probabilities in a single column, the largest difference.
    """
    old, new = _labels(before), _labels(after)
    if not old.index.equals(new.index):
        return {"rows": max(len(old), len(new)), "examples": []}  # the competition's test rows have changed
    old_numbers, new_numbers = (pd.to_numeric(each, errors="coerce") for each in (old, new))
    if new.str.contains(FRACTION).any() and not (old_numbers.isna() | new_numbers.isna()).any():
        return {"largest": float((new_numbers - old_numbers).abs().max())}
    rows = (old != new).to_numpy().nonzero()[0]
    examples = [f"{new.index[row]}: {old.iloc[row]} -> {new.iloc[row]}" for row in rows[:MAX_EXAMPLES]]
    return {"rows": len(rows), "examples": examples}


def _labels(path: Path) -> pd.Series:
    """A submission's labels by id: the cell, the labels whose column is 1, or the most probable class."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=0)
    if table.shape[1] == 1:
        return table.iloc[:, 0]
    values = table.astype(float)
    if values.isin((0, 1)).all(axis=None):
        return (values == 1).dot(table.columns + " ").str.rstrip()
    return values.idxmax(axis=1)


def git_state() -> dict[str, Any]:
    """The commit of the code and whether it was edited since; empty outside a git repository."""
    package = Path(__file__).parent.parent
    # The package may be installed within another repository, which does not track it.
    is_tracked = ["ls-files", "--error-unmatch", "__init__.py"]
    commands = (is_tracked, ["rev-parse", "HEAD"], ["status", "--porcelain", "--", str(package)])
    try:
        _, commit, status = (
            subprocess.run(["git", "-C", package, *command], capture_output=True, text=True, check=True).stdout.strip()
            for command in commands
        )
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"commit": commit, "edited": bool(status)}
