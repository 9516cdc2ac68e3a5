import pytest

from competition.data.image_index import ImageIndex
from competition.errors import UserError


@pytest.mark.parametrize(
    ("name", "part", "path"),
    [
        ("cat", "train", "train/cat.png"),
        ("cat.png", "train", "train/cat.png"),
        ("cat.jpg", "train", "train/cat.png"),  # some tables have another extension than the files
        (" cat ", "train", "train/cat.png"),
        ("1.2.826.0.1", "train", "train/1.2.826.0.1.jpg"),
        ("train/cat", "train", "train/cat.png"),
        ("7", "test", "test/7.png"),
        ("7", "train", "train/c0/7.png"),
        ("8", "train", ""),  # a test image is never found among the training images
        ("c0/7", "train", "train/c0/7.png"),
        ("", "train", ""),
        ("dog", "train", ""),
    ],
)
def test_names_are_matched_to_files(name, part, path):
    index = ImageIndex(
        dict.fromkeys(["train/cat.png", "train/1.2.826.0.1.jpg", "test/7.png", "test/8.png", "train/c0/7.png"], 1)
    )
    assert index.find([name], part) == [path]


def test_images_of_both_parts_may_share_a_folder():
    index = ImageIndex(dict.fromkeys(["images/Train_0.jpg", "images/Test_0.jpg"], 1))
    assert index.find(["Train_0"], "train") == ["images/Train_0.jpg"]
    assert index.find(["Test_0"], "test") == ["images/Test_0.jpg"]


def test_of_several_copies_the_complete_and_then_the_smallest_is_used():
    images = {
        "png/train/1.png": 9,
        "png/train/2.png": 9,
        "jpeg/train/1.jpg": 3,
        "jpeg/train/2.jpg": 3,
        "thumbs/1.jpg": 1,
    }
    assert ImageIndex(images).find(["1", "2"], "train") == ["jpeg/train/1.jpg", "jpeg/train/2.jpg"]


def test_two_files_of_one_name_in_one_folder_are_rejected():
    with pytest.raises(UserError, match=r"a/1\.jpg and a/1\.png differ only in their extension; remove one"):
        ImageIndex({"a/1.jpg": 1, "a/1.png": 1}).find(["1"], "train")


def test_folders_whose_names_contain_test_by_chance_are_no_test_images():
    images = {"latest/1.jpg": 1, "contest/2.jpg": 1}
    assert ImageIndex(images).find(["1", "2"], "train") == ["latest/1.jpg", "contest/2.jpg"]
