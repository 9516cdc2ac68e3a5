import json
from dataclasses import asdict

import pytest

from competition.crossval.predictions import CurvePoint, read_metadata, write_metadata
from competition.errors import UserError

CURVE = [
    CurvePoint(1, 2, 0.5, 100.0, 2**30, None, 0.3, None, 0.4),
    CurvePoint(2, 2, 0.4, 100.0, 2**30, 0.9, 0.2, 0.8, 0.3),
]


def test_seconds_and_curve_are_read_as_written(tmp_path):
    write_metadata(tmp_path / "fold-0.npz", 1.234, "a remark", CURVE)
    assert read_metadata(tmp_path / "fold-0.npz") == (1.23, CURVE)
    assert read_metadata(tmp_path / "fold-1.npz") == (0.0, [])


@pytest.mark.parametrize(
    "content",
    [
        "",
        "null",
        "[" * 100_000,
        '{"seconds": 1%s}' % ("0" * 400),
        '{"seconds": NaN}',
        '{"seconds": "long"}',
        '{"seconds": 1, "curve": [[]]}',
        '{"seconds": 1, "curve": [{"epoch": 1}]}',
        json.dumps({"seconds": 1, "curve": [asdict(CURVE[0]) | {"loss": "low"}]}),
        json.dumps({"seconds": 1, "curve": [asdict(CURVE[0]) | {"loss": float("inf")}]}),
        json.dumps({"seconds": 1, "curve": [asdict(CURVE[0]) | {"held_out_log_loss": [1]}]}),
    ],
)
def test_a_damaged_record_is_rejected_with_the_command_that_removes_it(content, tmp_path):
    path = tmp_path / "fold-0.json"
    path.write_text(content)
    with pytest.raises(UserError) as error:
        read_metadata(tmp_path / "fold-0.npz")
    assert str(error.value).startswith(f"{path} is damaged (") and str(error.value).endswith(f": rm {path}")
