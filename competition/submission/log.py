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

from competition.ensemble.blend import Blend
from competition.errors import Problem
from competition.files import in_turn, sha256, whole, write_whole
from competition.scoring.metrics import ACCURACY, Metric
from competition.scoring.score import Score

COLUMNS = (
    "competition",
    "number",
    "name",
    "when",
    "members",
    "blender",
    "metric",
    "local",
    "local_error",
    "sealed",
    "leaderboard",
    "sha256",
)
SCORES = ("sealed", "leaderboard")
SCORE = r"-?\d+(\.\d+)?"
FORMS = {  # that the columns' values have
    "number": r"[1-9]\d*",
    "local": SCORE,
    "local_error": SCORE,
    "sealed": rf"({SCORE})?",
    "leaderboard": rf"({SCORE})?",
    "sha256": "[0-9a-f]{64}",
}
CARD = ("when", "members", "blender", "metric", "score", "rows", "sha256", "origin", "origin_digest")  # asked for
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
    metric: str
    answer: str | None = None  # what is submitted, where the rules tell

    @property
    def told(self) -> dict[str, Any]:
        """All of it, as the card has it."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @property
    def digest(self) -> str:
        """One word for all of it."""
        return _digest(self.told)


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
    def begun(self) -> Path:
        """The digest of its origin, until there is a card."""
        return self.folder / "begun"

    @property
    def origin_digest(self) -> str:
        """One word for all that decides how it comes out."""
        if (self.folder / "card.json").exists():
            return self.card["origin_digest"]
        return self.begun.read_text() if self.begun.exists() else ""

    @property
    def card(self) -> dict[str, Any]:
        """What made it."""
        path = self.folder / "card.json"
        try:
            card = _of_old(json.loads(path.read_text()))
            if missing := [name for name in CARD if name not in card]:
                raise KeyError(f"{missing[0]} is missing")
            if _digest(card["origin"]) != card["origin_digest"]:
                raise ValueError("its origin has another digest")
            return card
        except (ValueError, KeyError, TypeError) as error:
            raise Problem(f"{path} is damaged ({error}); the same `make submit` writes another: rm {path}") from None

    @property
    def commit(self) -> str:
        """The commit of the code that made it, for a command to go back to."""
        return self.card["git"].get("commit", "that made it")

    @property
    def line(self) -> dict[str, str]:
        """The card in a line of the ledger, nothing scored yet."""
        card = self.card
        local, error = card["score"]
        told = {
            "competition": card["origin"]["competition"],
            "number": str(self.number),
            "name": self.folder.name,
            "when": card["when"],
            "members": " ".join(card["members"]),
            "blender": card["blender"],
            "metric": card["metric"],
            "local": f"{local:.6f}",
            "local_error": f"{error:.6f}",
            "sha256": card["sha256"],
        }
        return {column: told.get(column, "") for column in COLUMNS}


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
        """The submission of this number, or what `submission.csv` is now; where that is none, the last number."""
        entries = self.entries(competition)
        found = [entry for entry in entries if number in (None, entry.number)]
        latest = self.folder / "submission.csv"
        if number is None and latest.exists():
            digest = sha256(latest)
            found = [entry for entry in entries if entry.file.exists() and sha256(entry.file) == digest] or found
        if not found:
            known = f"; there are 1 to {entries[-1].number}" if entries else ""
            which = "no submission" if number is None else f"no submission {number}"
            raise Problem(
                f"{competition} has {which} yet{known}; run `make submit COMPETITION={shlex.quote(competition)}`"
            )
        return found[-1]

    def opened(self, origin: Origin) -> Entry:
        """The entry of this origin: its old one where such a run has begun before, else one with the next number."""
        with in_turn(self.folder):
            taken = [Entry(path) for path in (self.folder / origin.competition).glob("[0-9]*-*") if path.is_dir()]
            for entry in taken:
                if entry.origin_digest == origin.digest:
                    return entry
            number = 1 + max((entry.number for entry in taken), default=0)
            entry = Entry(self.folder / origin.competition / f"{number:03}-{_name(origin)}")
            write_whole(entry.begun, origin.digest.encode())  # before another run takes the number
            return entry

    def keep(self, entry: Entry, origin: Origin, blend: Blend, metric: Metric, scored: Score) -> None:
        """Write the card of a submission that lies in its folder, and its line."""
        digest, when = sha256(entry.file), datetime.now(UTC).isoformat(timespec="seconds")
        score = [scored.value, scored.standard_error]
        known = (digest, list(blend.members), score)
        card = entry.card if entry in self.entries(origin.competition) else None
        if card and (card["sha256"], list(card["members"]), card["score"]) == known:
            self._put(entry)  # a run that was killed between card and line
            return
        before = [one for one in self.entries(origin.competition) if one.number < entry.number]
        card = {
            "number": entry.number,
            "when": when,
            "members": dict(zip(blend.members, blend.combination.weights.round(4).tolist(), strict=True)),
            "blender": blend.blender,
            "metric": metric.name,
            "score": score,
            "rows": len(blend.oof),
            "accuracy": [blend.accuracy.value, blend.accuracy.standard_error],
            "log_loss": [blend.log_loss.value, blend.log_loss.standard_error],
            "sha256": digest,
            "same_as": [one.number for one in before if sha256(one.file) == digest],
            "differs_from_the_one_before": _difference(before[-1].file, entry.file) if before else None,
            "origin": origin.told,
            "origin_digest": origin.digest,
            "git": _git(),
        }
        write_whole(entry.folder / "card.json", json.dumps(card, indent=1).encode())
        entry.begun.unlink(missing_ok=True)
        self._put(entry)

    def record(self, competition: str, digest: str, metric: str, column: str, value: float) -> list[int]:
        """Write a score by this metric beside every submission with these bytes; give their numbers."""
        with in_turn(self.folder):
            lines = self.lines()
            known = {"competition": competition, "sha256": digest, "metric": metric}
            same = (lines[list(known)] == pd.Series(known)).all(axis=1)
            lines.loc[same, column] = f"{value:.6f}"
            self._write(lines)
        return lines.loc[same, "number"].astype(int).tolist()

    def lines(self) -> pd.DataFrame:
        """The ledger as it is written; where it is not, a line for each card."""
        if not self.path.exists():
            cards = sorted(self.folder.glob("*/[0-9]*-*/card.json"))
            return pd.DataFrame([Entry(card.parent).line for card in cards], columns=COLUMNS, dtype=str)
        try:
            lines = pd.read_csv(self.path, dtype=str, keep_default_na=False)
        except ValueError as error:
            raise self._damaged(str(error).splitlines()[0]) from None
        if "metric" not in lines.columns and "local" in lines.columns:  # as it was when there was one metric
            lines.insert(COLUMNS.index("metric"), "metric", ACCURACY.name)
        if tuple(lines.columns) != COLUMNS:
            raise self._damaged("its columns are others")
        for column, form in FORMS.items():
            wrong = ~lines[column].str.fullmatch(form)
            if wrong.any():
                row = int(wrong.to_numpy().argmax())
                raise self._damaged(f"line {row + 2} has {column} {lines[column][row]!r}")
        return lines

    def of(self, competition: str) -> pd.DataFrame:
        """The competition's lines."""
        lines = self.lines()
        return lines[lines["competition"] == competition]

    def _damaged(self, how: str) -> Problem:
        aside = f"mv {self.path} {self.path}.old"
        return Problem(f"{self.path} is damaged ({how}); mend it, or have it made from the cards, unscored: {aside}")

    def _put(self, entry: Entry) -> None:
        """Add the entry's line or bring it up to date; scores of other bytes than the present ones go."""
        with in_turn(self.folder):
            lines, line = self.lines(), entry.line
            old = lines[(lines["competition"] == line["competition"]) & (lines["number"] == line["number"])]
            if not old.empty and old.iloc[0]["sha256"] == line["sha256"]:
                line |= {column: old.iloc[0][column] for column in SCORES}
            lines.loc[len(lines) if old.empty else old.index[0]] = pd.Series(line)
            self._write(lines)

    def _write(self, lines: pd.DataFrame) -> None:
        with whole(self.path) as temporary:
            lines.to_csv(temporary, index=False, lineterminator="\n")


def _digest(origin: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()


def _of_old(card: dict[str, Any]) -> dict[str, Any]:
    """A card as it is now; when there was one metric it told neither that nor how many rows there were."""
    if "metric" in card or "accuracy" not in card:
        return card
    value, error = card["accuracy"]
    rows = round(value * (1 - value) / error**2) if error else 1
    return card | {"metric": ACCURACY.name, "score": [value, error], "rows": rows}


def _name(origin: Origin) -> str:
    """The members, as far as a folder's name may go."""
    return "-".join(origin.members)[:60].rstrip("-.:").replace(":", "_")


def _difference(before: Path, after: Path) -> dict[str, Any]:
    """How many rows have another label than in the submission before, and what the first of them look like."""
    one, other = (_answers(path) for path in (before, after))
    if not one.index.equals(other.index):
        return {"rows": max(len(one), len(other)), "such_as": []}  # the competition's rows are others now
    rows = (one != other).to_numpy().nonzero()[0]
    told = [f"{other.index[row]}: {one.iloc[row]} -> {other.iloc[row]}" for row in rows[:EXAMPLES]]
    return {"rows": len(rows), "such_as": told}


def _answers(path: Path) -> pd.Series:
    """A submission's labels by their ids; of probabilities the likeliest."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=0)
    answers = table.iloc[:, 0] if table.shape[1] == 1 else table.astype(float).idxmax(axis=1)
    return answers.set_axis(table.index)


def _git() -> dict[str, Any]:
    """The code's commit and whether it was edited since; nothing where it is under no version control."""
    here = Path(__file__).parent
    asked = (["rev-parse", "HEAD"], ["status", "--porcelain", "--", str(here)])
    try:
        done = [subprocess.run(["git", "-C", here, *one], capture_output=True, text=True, check=True) for one in asked]
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"commit": done[0].stdout.strip(), "edited": bool(done[1].stdout.strip())}
