import re
from dataclasses import replace

from hypothesis import given
from random_leaderboards import leaderboards

from competition.models.member import Member
from competition.views.next_steps import next_steps

REPEAT, LEAVE_OUT = re.compile("train another seed of (.+)"), re.compile("leave out (.+)")


@given(contributions=leaderboards())
def test_the_steps_do_not_contradict_each_other(contributions):
    names, steps = {member.member for member in contributions}, next_steps(contributions, "log loss")
    actions = [step.action for step in steps]
    assert sum(action.startswith("train a different model") for action in actions) == 1
    assert len(set(actions)) == len(actions) <= 3
    repeated = [match[1] for action in actions if (match := REPEAT.fullmatch(action))]
    left_out = [match[1] for action in actions if (match := LEAVE_OUT.fullmatch(action))]
    assert not set(repeated) & {Member.parse(name).kind for name in left_out}
    assert bool(repeated) != ("train a different model, or stop" in actions)
    for step in steps:
        if match := REPEAT.fullmatch(step.action):
            (new,) = set(step.members) - names
            assert Member.parse(new).kind == match[1] and len(step.members) == len(names) + 1
        elif match := LEAVE_OUT.fullmatch(step.action):
            assert {*step.members, match[1]} == names and match[1] not in step.members
        else:
            assert step.members is None


def test_a_single_model_needs_a_second_one():
    (step,) = next_steps([], "log loss")
    assert str(step).startswith("train a second model: ")


@given(contributions=leaderboards())
def test_without_test_rows_seeds_are_not_mentioned(contributions):
    network = replace(contributions[0], member="quick.9")
    unknown = [
        replace(member, expected_gain_of_new_seed=None if Member.parse(member.member).spec.is_network else 0.0)
        for member in (*contributions, network)
    ]
    assert not any("seed" in str(step) for step in next_steps(unknown, "log loss"))
