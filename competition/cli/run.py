"""What a command works on, resolved once from its options: data, split, members, metric and workers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from competition.errors import DiskError, UserError, option

if TYPE_CHECKING:
    import numpy as np

    from competition.crossval.store import Store
    from competition.data.config import Config
    from competition.data.dataset import Dataset
    from competition.data.features import Features
    from competition.data.targets import TargetKind
    from competition.models.member import Member
    from competition.models.pretrained.extractor import Extractor
    from competition.scoring.metrics import Metric
    from competition.submission.format import Sample
    from competition.submission.log import Entry, RunSpec

DATA, FOLDS, SUBMISSIONS = Path("data"), Path("folds"), Path("submissions")
# `svm` before `knn`, which is as cheap: on glyphs it is faster and better, on other images several times slower.
MANY_GLYPHS_MODELS = ("svm", "knn", "quick")
MANY_GLYPHS = 10_000  # rows; with fewer, `detail`, which is more accurate than `quick`, is affordable
# How they were chosen: docs/experiments/training.md and ensembling.md
BEST_MANY_GLYPHS_MODELS = ("svm", "knn", "quick:wide", "quick:long")
COLUMN_MODELS = ("boosting", "logistic")
OTHER_MODELS = ("knn", "svm", "detail")
MANY_CLASSES = 50  # from so many classes on, these are the defaults:
MANY_CLASSES_MODELS = ("knn", "svm", "resnet")
PRETRAINED_MODELS = ("features-knn", "features-linear", "features-svm", "resnet")
BEST_PRETRAINED_MODELS = (*PRETRAINED_MODELS, "finetuned")


@dataclass(frozen=True)
class RunOptions:
    """The options that commands share, as typed by the user."""

    competition: str
    models: Sequence[str] | None = None  # None: the default models; alone, `best` and `all` are lists of models
    folds: int = 5
    seed: int = 0
    jobs: int | None = None
    budget: float | None = None  # seconds
    cluster: str | None = None  # address of a Dask scheduler
    blend: str = "auto"
    refit: int = 0  # number of times to retrain networks on all rows


@dataclass(frozen=True)
class Competition:
    """A competition's rows and its configuration."""

    name: str
    config: "Config"
    dataset: "Dataset"

    @property
    def folder(self) -> Path:
        """The folder of its data files."""
        return DATA / self.name

    @property
    def folds_folder(self) -> Path:
        """The folder of its splits, predictions and tuned hyperparameters."""
        return FOLDS / self.name

    @property
    def scored_rows(self) -> float:
        """Number of test rows behind the public leaderboard's score."""
        return self.config.public * len(self.dataset.test_ids)

    @property
    def kind(self) -> "TargetKind":
        """What is predicted: a class, several labels, or a number."""
        from competition.data.targets import target_kind

        return target_kind(self.dataset.labels)

    def require_classes(self, command: str) -> None:
        """Raise UserError unless each image has one class."""
        from competition.scoring.metrics import TARGETS

        if self.kind != "class":
            raise UserError(
                f"{command} needs competitions with one class per image; {self.name} has {TARGETS[self.kind]}"
            )

    def metric(self) -> "Metric":
        """The metric that ranks the leaderboard: the configured one, or that of Kaggle's competition of this name.

        Raises UserError if it does not fit the target.
        """
        metric = find_config_metric(self.folder, self.config.metric or self._infer_metric(), self.kind)
        metric.check_target(self.dataset.labels, self.dataset.classes)
        return metric

    def _infer_metric(self) -> str:
        """The metric that the name of the competition and its sample submission suggest."""
        from competition.data.csv_files import read_text
        from competition.scoring.kaggle_metrics import has_fractions, infer_metric

        if not self.dataset.layout.sample:
            return infer_metric(self.name, self.kind, 1, False)
        table = read_text(self.folder / self.dataset.layout.sample).iloc[:, 1:]
        return infer_metric(self.name, self.kind, table.shape[1], has_fractions(table))

    def label_metric(self, metric: "Metric") -> "Metric | None":
        """The metric, if labels are submitted and it may reward others than the most probable ones."""
        from competition.scoring.decisions import may_prefer_other_labels
        from competition.submission.format import read_format

        if not may_prefer_other_labels(metric, self.dataset.labels):
            return None
        sample = self.sample(metric)
        if not self.dataset.layout.sample:
            return metric if sample.content in (None, "labels") else None
        return metric if read_format(sample, self.dataset.classes).content == "labels" else None

    def sample(self, metric: "Metric") -> "Sample":
        """The sample submission."""
        from competition.submission.format import load_sample

        return load_sample(self.folder, metric, self.config, self.kind, self.dataset.layout.sample)

    def member(self, name: str) -> "Member":
        """The member with its tuned hyperparameters, as the configuration changes them."""
        from competition.models.hyperparameters import apply_config, with_tuned
        from competition.models.member import Member

        return apply_config(with_tuned(self.folds_folder, Member.parse(name)), self.config)

    @property
    def has_configured_network(self) -> bool:
        """Whether the configuration names the pretrained network."""
        from competition.data.config import PretrainedNetwork

        return isinstance(self.config.pretrained, PretrainedNetwork)

    def members(self, names: Sequence[str] | None) -> "tuple[Member, ...]":
        """The members with these names, without repetitions."""
        from competition.data.config import CONFIG_FILE
        from competition.models.registry import available_models, load_spec

        has_columns = len(self.dataset.column_names) > 0
        can_fine_tune = self.dataset.features is not None and not self.has_configured_network
        if not names:
            names = default_models(self.dataset)
        elif _is_best(names):
            names = default_models(self.dataset, best=True, can_fine_tune=can_fine_tune)
        elif list(names) == ["all"]:
            inputs = {"images", *(["columns"] if has_columns else []), *(["features"] if self.dataset.features else [])}
            specs = {name: load_spec(name) for name in available_models()}
            names = [
                name
                for name, spec in specs.items()
                if spec.inputs in inputs and (can_fine_tune or not spec.is_fine_tuned)
            ]
        members = tuple(self.member(name) for name in dict.fromkeys(names))
        if unusable := [member.name for member in members if member.uses_columns and not has_columns]:
            raise UserError(
                f"{unusable[0]} learns from columns alongside the images, but {self.name} has none; "
                f"name other models, e.g. {option('models', 'knn detail')}"
            )
        if unusable := [member.name for member in members if member.needs_pretrained and not self.dataset.features]:
            raise UserError(
                f"{unusable[0]} learns from a pretrained network, which {self.name} does not use; "
                f"set pretrained = true in {self.folder / CONFIG_FILE}, or name other models"
            )
        if unusable := [member.name for member in members if member.spec.is_fine_tuned and self.has_configured_network]:
            raise UserError(
                f"{unusable[0]} fine-tunes EfficientNet-Lite0, but `pretrained` names another network in "
                f"{self.folder / CONFIG_FILE}; set pretrained = true there, or name other models"
            )
        return members


@dataclass(frozen=True)
class Run:
    """A competition on one split, with the members to train and the means to do so."""

    competition: Competition
    store: "Store"  # the split and its predictions
    metric: "Metric"
    members: "tuple[Member, ...]"
    jobs: int | None
    budget: float | None  # seconds
    cluster: str | None
    blend: str
    refit: int = 0
    slowdowns: Mapping[str, float] = field(default_factory=dict)  # by member, relative to the reference machine

    @property
    def dataset(self) -> "Dataset":
        """The competition's rows."""
        return self.competition.dataset

    @cached_property
    def groups(self) -> "np.ndarray | None":
        """The group of each training row, if some have several rows, for standard errors."""
        from competition.scoring.standard_error import repeated_groups

        return repeated_groups(self.dataset.groups)

    @cached_property
    def label_metric(self) -> "Metric | None":
        """The metric for which labels are chosen; None if they are always the most probable, or not submitted."""
        return self.competition.label_metric(self.metric)

    @property
    def column_members(self) -> list[str]:
        """Names of the members that learn from the columns alongside the images."""
        return [member.name for member in self.members if member.uses_columns]

    @property
    def spec(self) -> "RunSpec":
        """The inputs that determine the submission."""
        from competition.submission.log import RunSpec

        return RunSpec(
            self.competition.name,
            self.dataset.digest,
            self.store.folds.name,
            self.store.folds.digest,
            {member.name: self.store.fingerprint(member) for member in self.members},
            self.blend,
            self.metric.name,
            self.competition.sample(self.metric).content,
            self.refit or None,
            self.label_metric.name if self.label_metric else None,
        )


def open_competition(name: str) -> Competition:
    """Load a competition, downloading or creating its files first if they are missing."""
    from dataclasses import replace

    from competition.crossval.extraction import with_features

    competition = open_without_features(name)
    return replace(competition, dataset=with_features(competition.dataset, competition.folder, competition.config))


def open_without_features(name: str) -> Competition:
    """The same, without the features of a pretrained network."""
    from competition.data.config import read_config
    from competition.data.dataset import load_dataset
    from competition.data.sources import ensure_files
    from competition.files import remove_stale_files, remove_stale_scratch_folders

    folder = DATA / name
    remove_stale_scratch_folders()
    for written in (folder / "cache", FOLDS / name, SUBMISSIONS):
        remove_stale_files(written)
    if not folder.exists():
        print(f"preparing the files of {name} in {folder} ...", flush=True)
    ensure_files(name, folder)
    config = read_config(folder)
    return Competition(name, config, load_dataset(folder, config))


def is_practice_competition(name: str) -> bool:
    """Whether the competition is practice, made on this machine, and not on Kaggle."""
    from competition.data.practice import is_practice
    from competition.data.sources import KNOWN_COMPETITIONS

    folder = DATA / name
    return is_practice(folder) or (name in KNOWN_COMPETITIONS and not folder.exists())


def _is_best(models: Sequence[str]) -> bool:
    return list(models) == ["best"]


def default_models(dataset: "Dataset", best: bool = False, can_fine_tune: bool = True) -> list[str]:
    """The default models for such images and columns, except those that would need too much memory.

    The best ones are more and longer networks, for several times the training time.
    """
    from competition.crossval.task import input_shape
    from competition.data.targets import target_kind
    from competition.models.member import Member
    from competition.workers.machine import WORKER_MEMORY

    models = _models_for_images(dataset)
    if best:
        seeds = tuple(f"{name}.1" for name in models if Member.parse(name).spec.is_network)
        if models == MANY_GLYPHS_MODELS:
            models = BEST_MANY_GLYPHS_MODELS
        elif models == PRETRAINED_MODELS and can_fine_tune:
            models = BEST_PRETRAINED_MODELS
        else:
            models += seeds
    if target_kind(dataset.labels) == "labels":  # a support vector machine for each of them would take hours
        models = tuple(name for name in models if name not in ("svm", "features-svm"))
    if len(dataset.column_names):
        models = COLUMN_MODELS + models

    rows, members = len(dataset.labels), map(Member.parse, models)
    needed = {member.name: member.training_memory(rows, input_shape(member, dataset)) for member in members}
    too_large = [name for name, size in needed.items() if size > WORKER_MEMORY]
    if too_large:
        need = f"up to {max(needed.values()) / 1e9:.1f} GB per worker for {rows:,} images"
        names = " ".join(too_large)
        print(f"left out: {names} ({need}); to train them anyway, name them in {option('models')}", flush=True)
    return [name for name in models if name not in too_large]


def _models_for_images(dataset: "Dataset") -> tuple[str, ...]:
    """The default models for such images and classes."""
    from competition.data.targets import target_kind
    from competition.models.networks.border import shows_glyphs

    if dataset.features and _obtain_weights(dataset.features):
        return PRETRAINED_MODELS
    if target_kind(dataset.labels) == "class" and len(dataset.classes) >= MANY_CLASSES:
        return MANY_CLASSES_MODELS
    return MANY_GLYPHS_MODELS if len(dataset.labels) >= MANY_GLYPHS and shows_glyphs(dataset.images) else OTHER_MODELS


@dataclass(frozen=True)
class RareClass:
    """A class and the number of its rows."""

    name: str
    rows: int
    training_rows: int  # in the fold with the fewest


def rarest_class(store: "Store") -> RareClass | None:
    """The class with the fewest training rows in a fold; None unless each row has one class."""
    import numpy as np

    from competition.data.targets import target_kind

    labels, held_out, classes = store.dataset.labels, store.folds.held_out, store.dataset.classes
    if target_kind(labels) != "class":
        return None
    counts = [np.bincount(labels[held_out != fold], minlength=len(classes)) for fold in range(store.folds.count)]
    fewest = np.min(counts, axis=0)
    rarest = int(fewest.argmin())
    return RareClass(str(classes[rarest]), int((labels == rarest).sum()), int(fewest[rarest]))


def needs_class_rows(member: "Member") -> bool:
    """Whether the member is calibrated on thirds of the training rows, of which each must have all classes."""
    return not (member.is_imported or member.uses_columns or member.spec.is_network)


def _drop_calibrated_models(store: "Store", members: "tuple[Member, ...]") -> "tuple[Member, ...]":
    """Leave out the default models that cannot be calibrated on so few rows of a class."""
    from competition.models.interface import MIN_CLASS_ROWS

    rarest, dropped = rarest_class(store), [member.name for member in members if needs_class_rows(member)]
    if not dropped or not rarest or rarest.training_rows >= MIN_CLASS_ROWS:
        return members
    reason = f"they need {MIN_CLASS_ROWS} training images of each class; {rarest.name} has {rarest.training_rows}"
    print(f"left out: {' '.join(dropped)} ({reason})", flush=True)
    return tuple(member for member in members if member.name not in dropped)


def _obtain_weights(features: "Features") -> bool:
    """Download the weights unless the features exist; return whether that worked, after printing why not."""
    try:
        return features.are_complete or bool(download_extractor(features.folder.parents[2]))
    except DiskError:
        raise  # a full disk must not change which models are trained
    except UserError as error:
        print(f"models that use pretrained features are left out: {error}", flush=True)
        return False


def open_extractor(store: "Store", members: "Sequence[Member]") -> "Extractor | None":
    """The pretrained network, whose weights are downloaded if they are missing; None if no member learns from it."""
    if not any(store.trained_as(member).uses_features for member in members):
        return None
    return download_extractor(DATA / store.folder.name)


def download_extractor(folder: Path) -> "Extractor":
    """The pretrained network of the competition in `folder`, whose weights are downloaded if they are missing."""
    from competition.data.config import read_config
    from competition.models.pretrained import sources

    return sources.download_weights_of(sources.find_extractor(read_config(folder), folder))


def extraction_seconds(competition: Competition, members: "Sequence[Member]") -> float:
    """Seconds that one core of the reference machine needs to extract the features that these members need."""
    from competition.crossval.extraction import estimate_seconds
    from competition.models.pretrained.sources import find_extractor

    if not any(member.uses_features for member in members):
        return 0.0
    return estimate_seconds(competition.dataset, find_extractor(competition.config, competition.folder))


def open_run(options: RunOptions) -> Run:
    """Load the competition, its split, members and metric."""
    competition = open_competition(options.competition)
    store = open_store(competition, options.folds, options.seed)
    return Run(
        competition,
        store,
        competition.metric(),
        choose_members(competition, store, options.models),
        options.jobs,
        options.budget,
        options.cluster,
        options.blend,
        options.refit,
    )


def choose_members(competition: Competition, store: "Store", models: Sequence[str] | None) -> "tuple[Member, ...]":
    """The members with these names, or the default or best ones."""
    if not models or _is_best(models):
        return default_members(competition, store, models)
    return competition.members(models)


def default_members(
    competition: Competition, store: "Store", models: Sequence[str] | None = None
) -> "tuple[Member, ...]":
    """The default or best models of the competition, except those that cannot be trained on its rows."""
    return _drop_calibrated_models(store, competition.members(models or None))


def find_config_metric(folder: Path, name: str, kind: "TargetKind" = "class") -> "Metric":
    """The metric that the configuration in this folder names, by default one for this kind of target."""
    from competition.data.config import CONFIG_FILE
    from competition.scoring.metrics import find_metric

    try:
        return find_metric(name, kind)
    except UserError as error:
        raise UserError(f"{folder / CONFIG_FILE}: {error}") from None


def open_store(competition: Competition, folds: int, seed: int) -> "Store":
    """The predictions of a split, which is made and saved on first use."""
    from competition.crossval.folds import load_or_make_folds
    from competition.crossval.store import Store

    dataset, folder = competition.dataset, competition.folds_folder
    return Store(folder, dataset, load_or_make_folds(dataset, folder, folds, seed))


def parse_split(name: str) -> tuple[int, int]:
    """Number of folds and seed from the name of a split."""
    folds, seed = name.split("-folds-seed-")
    return int(folds), int(seed)


@dataclass(frozen=True)
class LoadedSubmission:
    """A submission and what predicted its test rows."""

    entry: "Entry"
    competition: Competition
    members: "list[Member]"
    store: "Store"  # with the models that predicted, of folds or of all rows
    label_metric: "Metric | None"  # for which labels were chosen

    @property
    def blender(self) -> str:
        """The name of the blender."""
        return self.entry.metadata["blender"]


def load_submission(name: str, number: int | None) -> LoadedSubmission:
    """A submission with the members and the models that made it; an error if these have changed since."""
    from competition.ensemble.blenders import blender_names
    from competition.scoring.metrics import find_metric
    from competition.submission.log import SubmissionLog

    entry = SubmissionLog(SUBMISSIONS).entry(name, number)
    spec = entry.metadata["run"]
    competition = open_competition(name)
    store = open_store(competition, *parse_split(spec["split"]))
    members = [competition.member(member) for member in entry.metadata["members"]]

    def remedy(blend: str) -> str:
        models, refit = " ".join(spec["members"]), spec.get("refit", 0)
        submit = store.command("submit", models=models, blend=blend, refit=refit)
        return f"choose a later one with {option('number')}, run `{submit}`, or {entry.restore_remedy}"

    for member in members:
        if store.fingerprint(member) != spec["members"][member.name]:
            problem = f"{member.name} has changed since this submission was made"
            raise UserError(f"{entry.folder}: {problem}; {remedy(spec['blend'])}")
    if (blender := entry.metadata["blender"]) not in blender_names(competition.kind):
        raise UserError(f"{entry.folder}: the submission's blender, {blender}, was removed; {remedy('auto')}")
    refits = entry.metadata.get("refits", 0)
    label_metric = find_metric(spec["label_metric"]) if "label_metric" in spec else None
    return LoadedSubmission(entry, competition, members, store.refits(refits) if refits else store, label_metric)
