"""The command that uploads a submission to Kaggle."""

import sys
from typing import TYPE_CHECKING

from competition.cli.run import SUBMISSIONS, Competition, is_practice_competition, open_competition
from competition.errors import UserError, command, flag

if TYPE_CHECKING:
    from competition.data.kaggle import SubmissionResult
    from competition.scoring.metrics import Metric
    from competition.submission.log import Entry, SubmissionLog


def upload(competition: str, number: int | None, wait: float, is_confirmed: bool) -> None:
    """Upload a submission to Kaggle, unless it is there already; wait for its score and record it in the log."""
    from competition.scoring.metrics import find_metric
    from competition.submission.log import SubmissionLog
    from competition.views.terminal import submissions
    from competition.views.terminal.screen import console

    log = SubmissionLog(SUBMISSIONS)
    reject_practice(competition, log)
    entry = log.entry(competition, number)
    entry.require_intact()
    opened, metric, digest = open_competition(competition), find_metric(entry.metadata["metric"]), entry.digest
    score = log.recorded_score(competition, digest, metric.name, "leaderboard")
    if score is not None:
        print(f"{entry.file} already has a score and is not uploaded again")
    else:
        result = _upload_once(opened, entry, metric, wait, is_confirmed)
        score = result.score if result else None
    if score is not None:
        log.record_score(competition, digest, metric.name, "leaderboard", score)
        console.print(submissions.compare_with_leaderboard(entry, metric, score, opened.scored_rows))


def _upload_once(
    competition: Competition, entry: "Entry", metric: "Metric", wait: float, is_confirmed: bool
) -> "SubmissionResult | None":
    """Upload the submission unless Kaggle lists it already, and wait for its result; None if the user does not agree.

    A file that Kaggle rejected is uploaded again.
    """
    from competition.data import kaggle
    from competition.submission.format import read_submission

    digest = entry.digest[:12]  # in the submission's message, by which it is found on Kaggle
    listed = kaggle.fetch_result(competition.name, digest)
    rejected = listed if listed and listed.status == "ERROR" else None
    if listed and not rejected:
        print(f"{entry.file} is on Kaggle already and is not uploaded again", flush=True)
    else:
        read_submission(entry.file, competition.sample(metric), competition.dataset.classes)
        if not (is_confirmed or _confirm(competition.name, entry.number)):
            print("not uploaded")
            return None
        kaggle.submit(competition.name, entry.file, f"submission {entry.number} {digest}")
        print(f"{entry.file} is uploaded; waiting for its score ...", flush=True)
    *_, result = kaggle.poll_result(competition.name, digest, wait, rejected)
    _explain_missing_score(competition.name, entry, result, wait)
    return result


def _explain_missing_score(competition: str, entry: "Entry", result: "SubmissionResult | None", wait: float) -> None:
    """Print why there is no score, if there is none; raise a UserError if Kaggle rejected the file."""
    if result is None or result.status == "PENDING":
        again = command("upload", number=entry.number, competition=competition)
        print(f"no score from Kaggle after {wait:.0f} s; wait again, without another upload: {again}")
    elif result.status == "ERROR":
        reason = result.reason or "no reason is given"
        raise UserError(f"Kaggle rejected {entry.file}: {reason}; see the competition's My Submissions page")
    elif result.score is None:
        print(f"Kaggle has accepted {entry.file}, but shows no public score")


def reject_practice(competition: str, log: "SubmissionLog") -> None:
    """Raise a UserError if the competition is a practice one, which is not on Kaggle."""
    if not is_practice_competition(competition):
        return
    remedy = f"score it with `{command('grade', competition=competition)}`"
    current = log.current_competition()
    if current and not is_practice_competition(current):
        remedy += f"; {log.current_file} is for {current}: `{command('upload', competition=current)}`"
    raise UserError(f"{competition} is a practice competition, which is not on Kaggle; {remedy}")


def _confirm(competition: str, number: int) -> bool:
    """Ask on the terminal whether to spend one of the day's submissions."""
    if not sys.stdin.isatty():
        again = f"{command('upload', number=number, competition=competition)} {flag('yes')}"
        raise UserError(f"an upload uses one of today's submissions, and there is no terminal to ask on; run: {again}")
    question = f"Upload submission {number} to {competition}? This uses one of today's submissions. [y/N] "
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False
