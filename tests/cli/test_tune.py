from competition.cli.options import parse_duration
from competition.cli.tune import budget_option


def test_a_suggested_budget_option_is_rounded_up_and_can_be_typed():
    for seconds, text in ((3, "1m"), (200, "4m"), (240, "4m"), (7201, "121m")):
        assert budget_option(seconds) == f"BUDGET={text}" and parse_duration(text) >= seconds
