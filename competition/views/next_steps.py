"""What to train next, in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from competition.crossval.progress import format_duration
from competition.ensemble.advice import Advice, Contribution, advise
from competition.models.member import Member


@dataclass(frozen=True)
class NextStep:
    """Something to do, why, and the members of the run that does it; None if the user has to choose them."""

    action: str
    reason: str
    members: tuple[str, ...] | None = None

    def __str__(self) -> str:
        return f"{self.action}: {self.reason}"


def next_steps(contributions: Sequence[Contribution], loss: str) -> list[NextStep]:
    """What to do next, most useful first; `loss` is the name of what the members reduce."""
    if not contributions:
        return [
            NextStep("train a second model", "a blend needs two, and models of different kinds make different errors")
        ]
    advice, names = advise(contributions), tuple(member.member for member in contributions)
    steps = [_new_model(advice, loss, all(member.expected_gain_of_new_seed is not None for member in contributions))]
    if (seed := advice.another_seed) and seed.expected_gain_of_new_seed:
        gain, time = f"{seed.expected_gain_of_new_seed:.5f}", format_duration(60 * seed.minutes)
        step = NextStep(
            f"train another seed of {seed.kind}",
            f"expected to reduce {loss} by {gain} for {time} of CPU time",
            (*names, _next_seed(seed.kind, names)),
        )
        steps.insert(0 if seed.expected_gain_of_new_seed > advice.new_model_gain else 1, step)
    if redundant := advice.leave_out:
        time = format_duration(60 * redundant.minutes)
        step = NextStep(
            f"leave out {redundant.member}",
            f"that saves {time} of CPU time; the {loss} {_change(redundant)}",
            tuple(name for name in names if name != redundant.member),
        )
        steps.append(step)
    return steps


def _change(member: Contribution) -> str:
    return "does not rise" if member.loss_reduction.value <= 0 else "rises by no more than its standard error"


def _new_model(advice: Advice, loss: str, seeds_are_estimated: bool) -> NextStep:
    gain = f"if it contributes as much as these do on average, it reduces {loss} by {advice.new_model_gain:.5f}"
    if advice.another_seed:
        return NextStep("train a different model", gain)
    seeds = "; another seed of these is not worth its time" if seeds_are_estimated else ""
    return NextStep("train a different model, or stop", f"{gain}{seeds}")


def _next_seed(kind: str, names: Sequence[str]) -> str:
    """The name of the first seed of this kind that is not among the members."""
    seeds = {member.seed for member in map(Member.parse, names) if member.kind == kind}
    return f"{kind}.{next(seed for seed in range(1, len(seeds) + 2) if seed not in seeds)}"
