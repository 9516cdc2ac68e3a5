"""Every submission keeps its number, its file and a card that says what made it; the ledger has a line for each."""

import hashlib
import json
import shlex
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from competition.ensemble import Blend
from competition.files import sha256, whole, write_whole
from competition.problem import Problem

COLUMNS = (
    "competition",
    "number",
    "name",
    "when",
    "members",
    "blender",
    "local",
    "local_error",
    "sealed",
    "leaderboard",
    "sha256",
)
EXAMPLES = 5  # rows told of those that differ from the submission before


@dataclass(frozen=True)
class Origin:
    """All that decides what a run of `submit` ends with; a resumed run has the same and keeps its number."""

    competition: str
    data: str
    split: str  # the name of the frozen split
    split_digest: str
    members: dict[str, str]  # fingerprints of all that were asked for, by name
    blend: str  # as asked for, such as auto

    @property
    def digest(self) -> str:
        """One word for all of it."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Entry:
    """A numbered submission."""

    folder: Path

    @property
    def number(self) -> int:
        """What one calls it by."""
        return int(self.folder.name.split("-")[0])

    @property
    def file(self) -> Path:
        """The submission itself."""
        return self.folder / "submission.csv"

    @property
    def card(self) -> dict[str, Any]:
        """What made it."""
        return json.loads((self.folder / "card.json").read_text())


class Ledger:
    """The submissions under a folder, of all competitions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "ledger.csv"

    def entries(self, competition: str) -> list[Entry]:
        """The competition's submissions that have a card, in the order of their numbers."""
        cards = (self.folder / competition).glob("[0-9]*-*/card.json")
        return sorted((Entry(card.parent) for card in cards), key=lambda entry: entry.number)

    def entry(self, competition: str, number: int | None = None) -> Entry:
        """The submission of this number, or the latest."""
        entries = self.entries(competition)
        found = [entry for entry in entries if number in (None, entry.number)]
        if not found:
            known = f"; there are 1 to {entries[-1].number}" if entries else ""
            which = "no submission" if number is None else f"no submission {number}"
            raise Problem(
                f"{competition} has {which} yet{known}; run `make submit COMPETITION={shlex.quote(competition)}`"
            )
        return found[-1]

    def opened(self, origin: Origin) -> Entry:
        """The entry of this origin: its old one where such a run has begun before, else one with the next number."""
        entries = self.entries(origin.competition)
        for entry in entries:
            if entry.card["origin_digest"] == origin.digest:
                return entry
        number = entries[-1].number + 1 if entries else 1
        return Entry(self.folder / origin.competition / f"{number:03}-{_name(origin)}")

    def keep(self, entry: Entry, origin: Origin, blend: Blend) -> None:
        """Write the card of a submission that lies in its folder, and its line."""
        digest, when = sha256(entry.file), datetime.now(UTC).isoformat(timespec="seconds")
        known = (digest, list(blend.members))
        if entry in self.entries(origin.competition) and (entry.card["sha256"], list(entry.card["members"])) == known:
            return
        before = [one for one in self.entries(origin.competition) if one.number < entry.number]
        card = {
            "number": entry.number,
            "when": when,
            "members": dict(zip(blend.members, blend.combination.weights.round(4).tolist(), strict=True)),
            "blender": blend.blender,
            "accuracy": [blend.accuracy.value, blend.accuracy.standard_error],
            "log_loss": [blend.log_loss.value, blend.log_loss.standard_error],
            "sha256": digest,
            "same_as": [one.number for one in before if sha256(one.file) == digest],
            "differs_from_the_one_before": _difference(before[-1].file, entry.file) if before else None,
            "origin": asdict(origin),
            "origin_digest": origin.digest,
            "git": _git(),
        }
        write_whole(entry.folder / "card.json", json.dumps(card, indent=1).encode())
        line = {
            "competition": origin.competition,
            "number": str(entry.number),
            "name": entry.folder.name,
            "when": when,
            "members": " ".join(blend.members),
            "blender": blend.blender,
            "local": f"{blend.accuracy.value:.6f}",
            "local_error": f"{blend.accuracy.standard_error:.6f}",
            "sha256": digest,
        }
        self._put(origin.competition, entry.number, line)

    def record(self, competition: str, digest: str, column: str, value: float) -> list[int]:
        """Write a score beside every submission with these bytes; their numbers."""
        lines = self.lines()
        same = (lines["competition"] == competition) & (lines["sha256"] == digest)
        lines.loc[same, column] = f"{value:.6f}"
        self._write(lines)
        return lines.loc[same, "number"].astype(int).tolist()

    def lines(self) -> pd.DataFrame:
        """The ledger as it is written."""
        if not self.path.exists():
            return pd.DataFrame(columns=COLUMNS, dtype=str)
        return pd.read_csv(self.path, dtype=str, keep_default_na=False)

    def of(self, competition: str) -> pd.DataFrame:
        """The competition's lines."""
        lines = self.lines()
        return lines[lines["competition"] == competition]

    def _put(self, competition: str, number: int, line: dict[str, str]) -> None:
        """Add a line or bring it up to date; scores of other bytes than the present ones go."""
        lines = self.lines()
        old = lines[(lines["competition"] == competition) & (lines["number"] == str(number))]
        kept = {} if old.empty or old.iloc[0]["sha256"] != line["sha256"] else old.iloc[0].to_dict()
        fresh = pd.DataFrame([{column: line.get(column, kept.get(column, "")) for column in COLUMNS}])
        self._write(pd.concat([lines.drop(old.index), fresh], ignore_index=True))

    def _write(self, lines: pd.DataFrame) -> None:
        with whole(self.path) as temporary:
            lines.to_csv(temporary, index=False, lineterminator="\n")


def _name(origin: Origin) -> str:
    """The members, as far as a folder's name may go."""
    return "-".join(origin.members)[:60].rstrip("-.:").replace(":", "_")


def _difference(before: Path, after: Path) -> dict[str, Any]:
    """How many rows have another label than in the submission before, and what the first of them look like."""
    one, other = (pd.read_csv(path, dtype=str, keep_default_na=False) for path in (before, after))
    rows = (one.iloc[:, 1] != other.iloc[:, 1]).to_numpy().nonzero()[0]
    told = [f"{other.iloc[row, 0]}: {one.iloc[row, 1]} -> {other.iloc[row, 1]}" for row in rows[:EXAMPLES]]
    return {"rows": len(rows), "such_as": told}


def _git() -> dict[str, Any]:
    """The code's commit and whether it was edited since; nothing where it is under no version control."""
    here = Path(__file__).parent
    asked = (["rev-parse", "HEAD"], ["status", "--porcelain", "--", str(here)])
    try:
        done = [subprocess.run(["git", "-C", here, *one], capture_output=True, text=True, check=True) for one in asked]
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"commit": done[0].stdout.strip(), "edited": bool(done[1].stdout.strip())}
