import pytest

from competition.data.mounts import INPUT_VARIABLE, find_competitions, find_inputs, find_mount, link_files


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    folder = tmp_path / "input"
    folder.mkdir()
    monkeypatch.setenv(INPUT_VARIABLE, str(folder))
    return folder


def add(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a,b\n1,2\n")


@pytest.mark.parametrize("layout", ["letters", "competitions/letters"])
def test_a_competition_is_found_in_either_layout(inputs, layout):
    add(inputs / layout, "train.csv", "test.csv")
    assert find_mount("letters") == inputs / layout and find_mount("another") is None
    assert find_competitions() == ["letters"]


def test_data_sets_with_the_package_or_with_predictions_are_no_competitions(inputs):
    add(inputs / "package", "competition/__main__.py", "train.csv")
    add(inputs / "output", "folds/letters/5-folds-seed-0/split.csv", "train.csv")
    add(inputs / "notes", "readme.txt")
    assert find_competitions() == []


def test_outputs_of_notebooks_and_data_sets_are_found_in_either_layout(inputs):
    places = ["output", "notebooks/someone/output", "datasets/someone/output"]
    for place in places:
        add(inputs / place, "folds/letters/5-folds-seed-0/split.csv")
    found = find_inputs("folds/letters/*/split.csv")
    assert {path.parents[3] for path in found} == {inputs / place for place in places}


def test_links_leave_the_mounted_folder_unchanged(inputs, tmp_path):
    add(inputs / "letters", "train.csv", "images/a.png")
    link_files(inputs / "letters", tmp_path / "data")
    link_files(inputs / "letters", tmp_path / "data")  # again, as in a notebook that is run twice
    add(tmp_path / "data", "images/b.png")
    assert (tmp_path / "data" / "images" / "a.png").is_symlink()
    assert not (inputs / "letters" / "images" / "b.png").exists()
