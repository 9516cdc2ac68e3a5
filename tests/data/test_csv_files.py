import pytest

from competition.data.csv_files import read_header, read_text
from competition.errors import UserError


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x\x0b", "column name 'x' contains an unprintable character or line break"),
        ("9" * 2_000, r"column name 9{40}\.\.\. has 2,000 characters; fix the header"),
    ],
)
def test_names_that_would_spoil_messages_are_refused(name, message, tmp_path):
    path = tmp_path / "train.csv"
    path.write_text(f"id,{name}\n1,2\n")
    with pytest.raises(UserError, match=message):
        read_header(path)


def test_only_lines_above_the_header_are_comments(tmp_path):
    path = tmp_path / "split.csv"
    path.write_text("# data 12ab\n\n# folds 2\nid,fold\nimg#1.png,0\n#2,1\n")
    table = read_text(path, comment="#")
    assert table.to_dict("list") == {"id": ["img#1.png", "#2"], "fold": ["0", "1"]}
    assert read_text(path, "#", ["fold"])["fold"].tolist() == ["0", "1"]


def test_some_columns_are_read_by_their_stripped_names(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("label, patient ,pixel0\n1,007,3\n2,,4\n")
    assert read_header(path) == ["label", "patient", "pixel0"]
    assert read_text(path, columns=["patient"]).to_dict("list") == {"patient": ["007", ""]}


@pytest.mark.parametrize("content", ["# a comment\n", "# a comment\n\n  \n", "\x1c\n", "\u2028\n"])
def test_a_file_of_comments_or_blanks_is_empty(content, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"t\.csv is empty"):
        read_text(path, comment="#")
