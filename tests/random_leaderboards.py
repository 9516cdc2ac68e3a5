"""Random contributions of members to a blend, for property-based tests."""

from hypothesis import strategies as st

from competition.ensemble.advice import MIN_GAIN, Contribution
from competition.models.member import Member
from competition.scoring.standard_error import Score

BLEND_LOSS = 0.0128


@st.composite
def leaderboards(draw):
    """Contributions of two to eight members, among which are seeds of the same model and classical models."""
    kinds = ("knn", "svm", "quick", "quick:deskewed", "plain", "@theirs")
    names = [f"{kind}{seed}" for kind in kinds for seed in ("", ".1", ".2") if not (seed and kind.startswith("@"))]
    reductions = st.sampled_from([-0.001, 0.0, 0.0001, 0.01]) | st.floats(-0.01, 0.1)
    gains = st.sampled_from([0.0, MIN_GAIN * BLEND_LOSS]) | st.floats(0, 0.01)
    return [
        Contribution(
            name,
            None,
            Score(draw(reductions), draw(st.sampled_from([0.0, 0.0001]) | st.floats(0, 0.01))),
            0.5,
            draw(gains) if Member.parse(name).spec.is_network else 0.0,
            draw(st.floats(0, 60)),
            BLEND_LOSS,
        )
        for name in draw(st.lists(st.sampled_from(names), min_size=2, max_size=8, unique=True))
    ]
