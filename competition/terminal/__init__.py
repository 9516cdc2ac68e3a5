"""What a person sees in the terminal: progress while models train, tables afterwards."""

from competition.terminal.live import searching, shown, table
from competition.terminal.measures import effects, finding, presets, raced, speeds, tell_of_preset, tell_of_race
from competition.terminal.scores import advice, blends, leaderboard, scored
from competition.terminal.screen import console
from competition.terminal.searches import ended, tried, verdicts
from competition.terminal.submissions import against_leaderboard, graded, kept, next_step

__all__ = [
    "advice",
    "against_leaderboard",
    "blends",
    "console",
    "effects",
    "ended",
    "finding",
    "graded",
    "kept",
    "leaderboard",
    "next_step",
    "presets",
    "raced",
    "scored",
    "searching",
    "shown",
    "speeds",
    "table",
    "tell_of_preset",
    "tell_of_race",
    "tried",
    "verdicts",
]
