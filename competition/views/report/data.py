"""What the report shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from competition.crossval.predictions import Predictions
from competition.crossval.store import Store
from competition.data.targets import TargetKind, target_kind
from competition.ensemble.advice import Contribution
from competition.ensemble.blend import Blend, choose_labels_of_members
from competition.scoring.metrics import Metric
from competition.scoring.standard_error import Score, repeated_groups

BLEND = "blend"  # its name among the predictors


@dataclass(frozen=True)
class ReportData:
    """The members, their blend, and the competition that they are scored in."""

    store: Store
    members: Sequence[Predictions]
    blend: Blend
    metric: Metric
    contributions: Sequence[Contribution]
    submissions: pd.DataFrame  # rows of the submission log
    recipes: Mapping[str, str]  # by member
    blend_option: str  # by which the blender was chosen
    refit: int  # how often networks are to be trained on all rows
    public_rows: float  # test rows behind the leaderboard's score
    is_practice: bool
    refits: Mapping[str, int] = field(default_factory=dict)  # of the submissions, by number

    @property
    def labels(self) -> np.ndarray:
        """The labels of the training rows."""
        return self.store.dataset.labels

    @property
    def kind(self) -> TargetKind:
        """What is predicted."""
        return target_kind(self.labels)

    @property
    def class_names(self) -> list[str]:
        """The names of the classes or labels."""
        return [str(name) for name in self.store.dataset.classes]

    def submit_command(self, members: Sequence[str]) -> str:
        """How the user submits the blend of these members, with the options of this one."""
        return self.store.command("submit", models=" ".join(members), blend=self.blend_option, refit=self.refit)

    @cached_property
    def groups(self) -> np.ndarray | None:
        """The group of each row, if some have several rows."""
        return repeated_groups(self.store.dataset.groups)

    @cached_property
    def predictions(self) -> dict[str, np.ndarray]:
        """Out-of-fold predictions of the blend and of each member."""
        return {BLEND: self.blend.oof} | {member.member: member.oof for member in self.members}

    @cached_property
    def submitted(self) -> dict[str, np.ndarray]:
        """The same as they would be submitted."""
        held_out, label_metric = self.store.folds.held_out, None if self.blend.chosen_oof is None else self.metric
        members = choose_labels_of_members(self.members, self.labels, held_out, self.groups, label_metric)
        return {BLEND: self.blend.submitted_oof} | members

    @cached_property
    def scores(self) -> dict[str, Score]:
        """The score of the blend and of each member, best first."""
        scores = {name: self.score(self.metric, name) for name in self.predictions}
        return dict(sorted(scores.items(), key=lambda item: -self.metric.sign * item[1].value))

    @cached_property
    def submission(self) -> pd.Series | None:
        """The logged submission of this blend."""
        score, log = self.scores[BLEND], self.submissions
        members = log["members"].str.split().map(sorted)  # in the order of their completion
        is_same = (members.map(" ".join) == " ".join(sorted(self.blend.members))) & (log["metric"] == self.metric.name)
        is_same &= (log["blender"] == self.blend.blender) & (log["cv"] == f"{score.value:.6f}")
        is_same &= log["number"].map(self.refits).fillna(0) == self.blend.refits
        return log[is_same].iloc[-1] if is_same.any() else None

    def score(self, metric: Metric, name: str) -> Score:
        """Score out-of-fold predictions of the blend or of a member."""
        scored = metric.select_predictions(self.predictions[name], self.submitted[name])
        return metric.score(self.labels, scored, self.groups)
