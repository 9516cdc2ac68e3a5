"""The miniatures have the layout of the originals, and the rules for submissions notice every mistake."""

import csv
import io
import re
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from miniatures import BENCH_VARIANTS, MINIATURES, Files, Truth
from PIL import Image
from submission_rules import check_submission, score

# For each archive, patterns of the names in it and how many names match; "a.zip!b" is b in the archive a.zip.
LAYOUTS = {
    "aerial-cactus-identification": {
        "sample_submission.csv": 1,
        "train.csv": 1,
        "test.zip!test/": 1,
        r"test.zip!test/[0-9a-f]{32}\.jpg": 40,
        "train.zip!train/": 1,
        r"train.zip!train/[0-9a-f]{32}\.jpg": 120,
    },
    "aptos2019-blindness-detection": {
        "(sample_submission|test|train).csv": 3,
        r"test_images/[0-9a-f]{12}\.png": 40,
        r"train_images/[0-9a-f]{12}\.png": 140,
    },
    "denoising-dirty-documents": {
        "sampleSubmission.csv.zip!sampleSubmission.csv": 1,
        r"test.zip!test/(\d+\.png)?": 13,
        r"train.zip!train/(\d+\.png)?": 25,
        r"train_cleaned.zip!train_cleaned/(\d+\.png)?": 25,
    },
    "dog-breed-identification": {
        "(sample_submission|labels).csv": 2,
        r"test/[0-9a-f]{32}\.jpg": 36,
        r"train/[0-9a-f]{32}\.jpg": 132,
    },
    "dogs-vs-cats-redux-kernels-edition": {
        "sample_submission.csv": 1,
        r"test.zip!test/(\d+\.jpg)?": 41,
        r"train.zip!train/((cat|dog)\.\d+\.jpg)?": 121,
    },
    "histopathologic-cancer-detection": {
        "(sample_submission|train_labels).csv": 2,
        r"test/[0-9a-f]{40}\.tif": 40,
        r"train/[0-9a-f]{40}\.tif": 140,
    },
    "leaf-classification": {
        r"(sample_submission|test|train)\.csv\.zip!\1\.csv": 3,
        r"images\.zip!images/(\d+\.jpg)?": 133,
    },
    "plant-pathology-2020-fgvc7": {
        "(sample_submission|test|train).csv": 3,
        r"images/Test_\d+\.jpg": 40,
        r"images/Train_\d+\.jpg": 132,
    },
    "ranzcr-clip-catheter-line-classification": {
        "(sample_submission|train|train_annotations).csv": 3,
        r"test/1\.2\.826\.0\.1\.3680043\.8\.498\.\d{38}\.jpg": 40,
        r"train/1\.2\.826\.0\.1\.3680043\.8\.498\.\d{38}\.jpg": 160,
        r"test_tfrecords/\d\d-\d+\.tfrec": 2,
        r"train_tfrecords/\d\d-\d+\.tfrec": 4,
    },
    "siim-isic-melanoma-classification": {
        "(sample_submission|test|train).csv": 3,
        r"(jpeg/)?test/ISIC_\d{7}\.(jpg|dcm)": 80,
        r"(jpeg/)?train/ISIC_\d{7}\.(jpg|dcm)": 320,
        r"tfrecords/(test|train)\d\d-\d+\.tfrec": 6,
    },
    "digit-recognizer": {"(sample_submission|test|train).csv": 3},
    "Kannada-MNIST": {"(sample_submission|test|train|Dig-MNIST).csv": 4},
    "sign-language-mnist": {r"sign_mnist_(test|train)\.csv": 2, r"sign_mnist_(test|train)/sign_mnist_\1\.csv": 2},
    "plant-seedlings-classification": {
        "sample_submission.csv": 1,
        r"test/[0-9a-f]{9}\.png": 40,
        r"train/[A-Z][a-z -]+[A-Za-z]*/[0-9a-f]{9}\.png": 132,
    },
    "cassava-leaf-disease-classification": {
        "(sample_submission|train).csv": 2,
        "label_num_to_disease_map.json": 1,
        r"test_images/2216849948\.jpg": 1,
        r"train_images/\d+\.jpg": 130,
        r"(test|train)_tfrecords/ld_\1\d\d-\d+\.tfrec": 3,
    },
    "paddy-disease-classification": {
        "(sample_submission|train).csv": 2,
        r"test_images/2\d{5}\.jpg": 40,
        r"train_images/[a-z_]+/1\d{5}\.jpg": 132,
    },
    "state-farm-distracted-driver-detection": {
        "(sample_submission|driver_imgs_list).csv": 2,
        r"imgs/test/img_\d+\.jpg": 40,
        r"imgs/train/c\d/img_\d+\.jpg": 160,
    },
    "tpu-getting-started": {
        "sample_submission.csv": 1,
        r"tfrecords-jpeg-(\d+x\d+)/(train|val|test)/\d\d-\1-\d+\.tfrec": 24,
    },
    "bengaliai-cv19": {
        "(sample_submission|test|train|class_map).csv": 4,
        r"(test|train)_image_data_[0-3]\.parquet": 8,
    },
    "whale-categorization-playground": {
        "(sample_submission|train).csv": 2,
        r"test/[0-9a-f]{8}\.jpg": 37,
        r"train/[0-9a-f]{8}\.jpg": 90,
    },
    "plant-pathology-2021-fgvc8": {
        "(sample_submission|train).csv": 2,
        r"test_images/[0-9a-f]{16}\.jpg": 3,
        r"train_images/[0-9a-f]{16}\.jpg": 142,
    },
    "petfinder-pawpularity-score": {
        "(sample_submission|test|train).csv": 3,
        r"test/[0-9a-f]{32}\.jpg": 8,
        r"train/[0-9a-f]{32}\.jpg": 160,
    },
    "cifar-10": {"(sampleSubmission|trainLabels).csv": 2, r"(test|train)\.7z": 2},
    "facial-keypoints-detection": {
        "(IdLookupTable|SampleSubmission).csv": 2,
        r"test\.zip!test\.csv": 1,
        r"training\.zip!training\.csv": 1,
    },
}
BENCH_LAYOUTS = {
    "aerial-cactus-identification": {
        "(sample_submission|train).csv": 2,
        r"test.zip![0-9a-f]{32}\.jpg": 40,
        r"train.zip![0-9a-f]{32}\.jpg": 120,
    },
    "denoising-dirty-documents": {
        "sampleSubmission.csv": 1,
        r"test/\d+\.png": 12,
        r"train/\d+\.png": 24,
        r"train_cleaned/\d+\.png": 24,
    },
    "dogs-vs-cats-redux-kernels-edition": {
        "sample_submission.csv": 1,
        r"test.zip!\d+\.jpg": 40,
        r"train.zip!(cat|dog)\.\d+\.jpg": 120,
    },
    "leaf-classification": {"(sample_submission|test|train).csv": 3, r"images/\d+\.jpg": 132},
    "ranzcr-clip-catheter-line-classification": {
        "(sample_submission|train|train_annotations).csv": 3,
        r"test/1\.2\.826\.0\.1\.3680043\.8\.498\.\d{38}\.jpg": 40,
        r"train/1\.2\.826\.0\.1\.3680043\.8\.498\.\d{38}\.jpg": 160,
    },
}
SUBMITTED = [slug for slug in MINIATURES if slug not in ("sign-language-mnist", "cifar-10")]  # the latter needs py7zr


def unpack(archive: bytes, prefix: str = "") -> Files:
    """All files in an archive and in the archives in it."""
    files = {}
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None
        for name in opened.namelist():
            content = opened.read(name)
            files |= unpack(content, f"{prefix}{name}!") if name.endswith(".zip") else {prefix + name: content}
    return files


def perfect_submission(truth: Truth) -> list[list[str]]:
    """The rows of a submission without mistakes, with its header."""
    header, *rows = csv.reader(io.StringIO(truth.sample))
    submission = [header]
    for (name, *_), answer in zip(rows, truth.answers, strict=True):
        if truth.answer != "probabilities":
            cells = [str(answer)]
        elif truth.kind == "labels":
            cells = [str(value) for value in answer]
        else:
            columns = header[1:] if len(header) > 2 else [truth.classes[1]]
            cells = [str(int(column == answer)) for column in columns]
        submission.append([name, *cells])
    return submission


def write_rows(folder: Path, rows: list[list[str]]) -> Path:
    path = folder / "submission.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    return path


def require_py7zr(slug: str) -> None:
    if slug == "cifar-10":
        pytest.importorskip("py7zr")


@pytest.mark.parametrize(
    ("miniatures", "layouts"), [(MINIATURES, LAYOUTS), (BENCH_VARIANTS, BENCH_LAYOUTS)], ids=["kaggle", "bench"]
)
def test_each_archive_has_the_layout_of_the_original(miniatures, layouts, tmp_path):
    assert miniatures.keys() == layouts.keys()
    for slug, layout in layouts.items():
        if slug == "cifar-10":
            continue  # tested below
        archive = miniatures[slug].write(tmp_path)
        assert archive == tmp_path / f"{slug}.zip"
        names = list(unpack(archive.read_bytes()))
        counts = {pattern: sum(bool(re.fullmatch(pattern, name)) for name in names) for pattern in layout}
        assert counts == layout, slug
        assert sum(counts.values()) == len(names), slug


def test_cifar_is_packed_in_7z(tmp_path):
    py7zr = pytest.importorskip("py7zr")
    files = unpack(MINIATURES["cifar-10"].write(tmp_path).read_bytes())
    assert sorted(files) == ["sampleSubmission.csv", "test.7z", "train.7z", "trainLabels.csv"]
    with py7zr.SevenZipFile(io.BytesIO(files["train.7z"])) as archive:
        assert sorted(archive.getnames()) == sorted(f"train/{number}.png" for number in range(1, 161))


@pytest.mark.parametrize("slug", MINIATURES)
def test_the_same_bytes_are_built_again(slug):
    require_py7zr(slug)
    miniature = MINIATURES[slug]
    files, truth = miniature.build()
    assert {name: content for name, content in files.items() if not name.endswith(".7z")} == {
        name: content for name, content in miniature.files.items() if not name.endswith(".7z")
    }
    assert np.array_equal(truth.answers, miniature.truth.answers)


@pytest.mark.parametrize("slug", MINIATURES)
def test_images_can_be_read_and_are_all_different(slug, tmp_path):
    require_py7zr(slug)
    miniature = MINIATURES[slug]
    images = [
        content
        for name, content in unpack(miniature.write(tmp_path).read_bytes()).items()
        if name.endswith((".png", ".jpg", ".tif")) and "cleaned" not in name
    ]
    for image in images:
        width, height = Image.open(io.BytesIO(image)).size
        assert 16 <= width <= 64 and 16 <= height <= 64
    assert len(images) - len(set(images)) == miniature.truth.conflicting


@pytest.mark.parametrize("slug", MINIATURES)
def test_the_facts_agree(slug):
    require_py7zr(slug)
    truth = MINIATURES[slug].truth
    if truth.kind == "refused":
        assert len(truth.answers) == 0
        return
    assert len(truth.answers) == truth.test_rows
    if truth.sample:
        assert len(truth.sample.splitlines()) == 1 + truth.test_rows
    if truth.kind == "class":
        assert set(truth.answers) <= set(truth.classes)


def test_the_sample_submission_is_the_one_in_the_archive(tmp_path):
    for slug in SUBMITTED:
        miniature = MINIATURES[slug]
        files = unpack(miniature.write(tmp_path).read_bytes())
        sample = next(content for name, content in files.items() if "sample" in name.lower())
        assert miniature.write_sample(tmp_path).read_bytes() == sample


def test_some_equal_retinas_have_different_labels():
    files = MINIATURES["aptos2019-blindness-detection"].files
    rows = csv.DictReader(io.StringIO(files["train.csv"].decode()))
    pairs = {(files[f"train_images/{row['id_code']}.png"], row["diagnosis"]) for row in rows}
    assert sorted(Counter(image for image, _ in pairs).values())[-4:] == [1, 2, 2, 2]


@pytest.mark.parametrize("slug", SUBMITTED)
def test_a_perfect_submission_has_the_best_score(slug, tmp_path):
    truth = MINIATURES[slug].truth
    if truth.kind == "refused":
        pytest.skip("there are no answers")
    header, *rows = perfect_submission(truth)
    best = 0 if truth.metric in ("log loss", "RMSE") else 1
    assert score(write_rows(tmp_path, [header, *rows]), truth) == pytest.approx(best, abs=1e-9)
    assert score(write_rows(tmp_path, [header, *rows[::-1]]), truth) == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize(
    ("slug", "expected"),
    [
        ("aerial-cactus-identification", 0.5),
        ("aptos2019-blindness-detection", 0),
        ("dog-breed-identification", np.log(6)),
        ("dogs-vs-cats-redux-kernels-edition", np.log(2)),
        ("plant-pathology-2020-fgvc7", 0.5),
        ("ranzcr-clip-catheter-line-classification", 0.5),
        ("digit-recognizer", 0.1),
        ("cassava-leaf-disease-classification", 0),
        ("plant-pathology-2021-fgvc8", 2 / 7),
    ],
)
def test_the_sample_submission_is_valid_and_scores_as_computed_by_hand(slug, expected, tmp_path):
    miniature = MINIATURES[slug]
    assert score(miniature.write_sample(tmp_path), miniature.truth) == pytest.approx(expected)


def test_a_label_in_second_place_counts_half(tmp_path):
    truth = MINIATURES["whale-categorization-playground"].truth
    header, *rows = perfect_submission(truth)
    other = {answer: next(label for label in truth.classes if label != answer) for answer in truth.classes}
    ranked = [[name, f"{other[answer]} {answer}"] for name, answer in rows]
    assert score(write_rows(tmp_path, [header, *ranked]), truth) == 0.5


def change_cell(column: int, text: str):
    def change(rows: list[list[str]]) -> None:
        rows[5][column] = text

    return change


def scale_row(factor: float):
    def change(rows: list[list[str]]) -> None:
        rows[5][1:] = [f"{float(cell) * factor:.9f}" for cell in rows[5][1:]]

    return change


def list_six_whales(rows: list[list[str]]) -> None:
    rows[5][1] = " ".join(MINIATURES[WHALES].truth.classes[:6])


WHALES, BREEDS, CACTI, DIGITS, LEAVES = (
    "whale-categorization-playground",
    "dog-breed-identification",
    "aerial-cactus-identification",
    "digit-recognizer",
    "plant-pathology-2021-fgvc8",
)


@pytest.mark.parametrize(
    ("slug", "change", "message"),
    [
        (BREEDS, lambda rows: rows[0].reverse(), "expected the header"),
        (BREEDS, lambda rows: rows[0].__setitem__(0, "ID"), "expected the header"),
        (CACTI, lambda rows: rows.pop(), "1 missing ids"),
        (CACTI, lambda rows: rows.append(rows[1]), "1 duplicate ids"),
        (CACTI, lambda rows: rows.append(["x.jpg", "0.5"]), "1 unknown ids"),
        (CACTI, lambda rows: rows[3].pop(), "line 4: expected 2 cells, found 1"),
        (CACTI, change_cell(1, ""), "expected a number, found ''"),
        (CACTI, change_cell(1, "nan"), "expected a number, found 'nan'"),
        (CACTI, change_cell(1, "inf"), "expected a number, found 'inf'"),
        (CACTI, change_cell(1, "1e999"), "expected a finite number"),
        (CACTI, change_cell(1, "1.5"), "expected a probability from 0 to 1, found 1.5"),
        (CACTI, change_cell(1, "-0.1"), "expected a probability from 0 to 1, found -0.1"),
        (BREEDS, scale_row(1 - 1e-4), "the probabilities sum to 0.9999, not to 1"),
        (DIGITS, change_cell(1, "10"), "unknown label '10'"),
        (DIGITS, change_cell(1, "1.0"), "unknown label '1.0'"),
        (DIGITS, change_cell(1, ""), "unknown label ''"),
        (WHALES, change_cell(1, "w_0"), "unknown label 'w_0'"),
        (WHALES, change_cell(1, "new_whale new_whale"), "the same label twice"),
        (WHALES, change_cell(1, "new_whale  new_whale"), "unknown label ''"),
        (WHALES, list_six_whales, "more than 5 labels"),
        (LEAVES, lambda rows: rows[1].__setitem__(1, "scab mold"), "unknown label 'mold' in 'scab mold'"),
        ("petfinder-pawpularity-score", change_cell(1, "nan"), "expected a number"),
    ],
)
def test_an_invalid_submission_is_rejected(slug, change, message, tmp_path):
    truth = MINIATURES[slug].truth
    rows = perfect_submission(truth)
    check_submission(write_rows(tmp_path, rows), truth)
    change(rows)
    with pytest.raises(ValueError, match=re.escape(message)):
        check_submission(write_rows(tmp_path, rows), truth)


def test_an_empty_submission_is_rejected(tmp_path):
    with pytest.raises(ValueError, match="the file is empty"):
        check_submission(write_rows(tmp_path, []), MINIATURES[CACTI].truth)


def test_probabilities_need_not_sum_to_1_for_auc(tmp_path):
    truth = MINIATURES["plant-pathology-2020-fgvc7"].truth
    header, *rows = perfect_submission(truth)
    halved = [[name, *(str(float(cell) / 2) for cell in cells)] for name, *cells in rows]
    assert score(write_rows(tmp_path, [header, *halved]), truth) == 1


def test_log_loss_clips_probabilities(tmp_path):
    truth = MINIATURES["dogs-vs-cats-redux-kernels-edition"].truth
    wrong = perfect_submission(replace(truth, answers=truth.answers[::-1]))
    mistakes = np.mean(truth.answers != truth.answers[::-1])
    assert score(write_rows(tmp_path, wrong), truth) == pytest.approx(-mistakes * np.log(1e-15), rel=1e-3)
