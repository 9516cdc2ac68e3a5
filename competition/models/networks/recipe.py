"""Training recipes of networks, as data. Importing this module loads no deep-learning library."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from competition.data.augmentation import Augmentation
from competition.models.gpus import gpu_precision

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

Schedule = Callable[[float], float]  # training progress in 0..1 -> fraction of the peak learning rate
WARMUP_FRACTION = 0.15
MIN_STEPS = 1_000  # 12 epochs of 33,600 rows are about three times as many


def one_cycle(progress: float) -> float:
    """Linear warm-up, then linear decay to zero, which averages out the noise of the high learning rate."""
    if progress < WARMUP_FRACTION:
        return max(0.04, progress / WARMUP_FRACTION)
    return (1 - progress) / (1 - WARMUP_FRACTION)


def constant(progress: float) -> float:
    """The peak learning rate throughout."""
    return 1.0


def step_decay(progress: float) -> float:
    """Halve the rate after each sixth: mimics the tutorials' ReduceLROnPlateau, which would need held-out rows."""
    return 0.5 ** int(6 * progress)


@cache
def native_precision() -> str:
    """The precision that trains fastest here: that of the GPUs or, without any, of the CPU.

    On CPUs it is mixed bfloat16 where they multiply it natively (1.5 times as fast there), float32 elsewhere.
    """
    if precision := gpu_precision():
        return precision
    cpu_info = Path("/proc/cpuinfo")
    flags = cpu_info.read_text() if cpu_info.exists() else ""
    return "mixed_bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


UNSHIFTED = (0, 0)
FIVE_SHIFTS = (UNSHIFTED, (1, 0), (-1, 0), (0, 1), (0, -1))


@dataclass(frozen=True)
class Recipe:
    """All training hyperparameters of a network. The final weights are used; there is no early stopping."""

    epochs: int
    min_steps: int = 0  # with few rows, epochs are added to reach it
    batch_size: int = 128
    optimizer: Literal["adamw", "rmsprop"] = "adamw"  # without weight decay, AdamW is Adam
    peak_learning_rate: float = 1e-3
    schedule: Schedule = constant
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    deskew: bool = False  # train and predict on deskewed greyscale images; colour is dropped
    crop_border: bool = True  # cut away the blank border
    augmentation: Augmentation | None = None
    shifts: tuple[tuple[int, int], ...] = (UNSHIFTED,)  # test-time augmentation, in pixels; see `views`
    precision: str = field(default_factory=native_precision)

    @property
    def min_rows(self) -> float:
        """Number of rows below which training time no longer decreases."""
        return self.min_steps * self.batch_size / self.epochs

    def steps_per_epoch(self, rows: int) -> int:
        """Number of whole batches; fewer rows than a batch are one."""
        return rows // min(self.batch_size, rows)

    def epochs_for(self, steps_per_epoch: int) -> int:
        """Number of epochs, given the steps in each."""
        return max(self.epochs, ceil(self.min_steps / steps_per_epoch))

    def steps(self, rows: int) -> int:
        """Number of steps of the whole training."""
        steps_per_epoch = self.steps_per_epoch(rows)
        return self.epochs_for(steps_per_epoch) * steps_per_epoch


# What tutorials and winning notebooks have in common, to reproduce their networks.
TUTORIAL_RECIPE = Recipe(
    epochs=30,
    crop_border=False,
    augmentation=Augmentation(rotation=10, shift=0.1, zoom=0.1, shear=0, symmetries=(), strength=1.0),
    precision="float32",
)
# The result of the experiments in docs/experiments/training.md, for networks with batch normalization.
ONE_CYCLE_RECIPE = Recipe(
    epochs=12,
    min_steps=MIN_STEPS,
    peak_learning_rate=4e-3,
    schedule=one_cycle,
    weight_decay=0.01,
    label_smoothing=0.1,
    augmentation=Augmentation(),
    shifts=FIVE_SHIFTS,
)
# From `make tune MODELS=quick`: better on three splits, but not significant by the current test; see
# docs/experiments/tuning.md.
TUNED_RECIPE = replace(
    ONE_CYCLE_RECIPE,
    epochs=11,
    peak_learning_rate=0.016,
    weight_decay=0.017,
    label_smoothing=0.113,
    augmentation=Augmentation(rotation=6.4, shift=0.065, zoom=0.233, shear=0.16),
)


def search_space(trial: "BaseTrial") -> None:
    """Suggest training hyperparameters. Epochs are not tuned: more cost time, and rarely raise the loss."""
    trial.suggest_float("peak_learning_rate", 1e-4, 3e-2, log=True)
    trial.suggest_float("weight_decay", 0.0, 0.05)
    trial.suggest_float("label_smoothing", 0.0, 0.2)
    trial.suggest_float("augmentation.rotation", 0.0, 15.0)
    trial.suggest_float("augmentation.shift", 0.0, 0.15)
    trial.suggest_float("augmentation.zoom", 0.0, 0.3)
    trial.suggest_float("augmentation.shear", 0.0, 0.3)
