"""How a network is trained, as data. Reading this file loads no deep-learning library."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from optuna.trial import BaseTrial
from competition.data.augmentation import Warp

Schedule = Callable[[float], float]  # share of the training that is done -> share of the peak rate
WARM_UP = 0.15
ENOUGH = 1_000  # steps, of which 12 epochs of 33,600 rows have three times as many


def one_cycle(done: float) -> float:
    """Rise linearly, then fall to nothing: the last steps average out what the high rate left rough."""
    return max(0.04, done / WARM_UP) if done < WARM_UP else (1 - done) / (1 - WARM_UP)


def constant(done: float) -> float:
    """The peak rate throughout."""
    return 1.0


def halving(done: float) -> float:
    """Half the rate after each sixth: what the tutorials' plateau rule comes to, which would read held-out rows."""
    return 0.5 ** int(6 * done)


@cache
def native_precision() -> str:
    """Mixed bfloat16 where the processor multiplies it natively (1.5 times as fast there), float32 elsewhere."""
    processor = Path("/proc/cpuinfo")
    flags = processor.read_text() if processor.exists() else ""
    return "mixed_bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


AS_IT_IS = (0, 0)
FIVE_VIEWS = (AS_IT_IS, (1, 0), (-1, 0), (0, 1), (0, -1))


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how a network is trained; the last weights count, whatever they score."""

    epochs: int
    least_steps: int = 0  # where rows are few, more epochs make them up
    batch: int = 128
    optimizer: Literal["adamw", "rmsprop"] = "adamw"  # AdamW is plain Adam where nothing decays
    peak: float = 1e-3  # learning rate
    schedule: Schedule = constant
    weight_decay: float = 0.0
    smoothing: float = 0.0  # of the labels
    warp: Warp | None = None
    views: tuple[tuple[int, int], ...] = (AS_IT_IS,)  # shifts in pixels; a prediction is the mean of their logits
    precision: str = field(default_factory=native_precision)

    @property
    def least_rows(self) -> float:
        """The rows below which a training gets no shorter."""
        return self.least_steps * self.batch / self.epochs

    def epochs_of(self, steps: int) -> int:
        """How many epochs of so many steps the training has."""
        return max(self.epochs, ceil(self.least_steps / steps))


# What tutorials and winners share, whose networks are trained here as they train them.
CUSTOMARY = Recipe(epochs=30, warp=Warp(rotation=10, shift=0.1, zoom=0.1, shear=0, symmetries=()), precision="float32")
# What docs/training.md arrived at for networks with batch normalisation.
ANNEALED = Recipe(
    epochs=12,
    least_steps=ENOUGH,
    peak=4e-3,
    schedule=one_cycle,
    weight_decay=0.01,
    smoothing=0.1,
    warp=Warp(),
    views=FIVE_VIEWS,
)


def search(trial: "BaseTrial") -> None:
    """What is tuned of a network's training; more epochs are always better, so their number is not."""
    trial.suggest_float("peak", 1e-4, 3e-2, log=True)
    trial.suggest_float("weight_decay", 0.0, 0.05)
    trial.suggest_float("smoothing", 0.0, 0.2)
    trial.suggest_float("warp.rotation", 0.0, 15.0)
    trial.suggest_float("warp.shift", 0.0, 0.15)
    trial.suggest_float("warp.zoom", 0.0, 0.3)
    trial.suggest_float("warp.shear", 0.0, 0.3)
