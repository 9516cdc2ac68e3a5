"""Miniatures of 24 Kaggle image competitions: archives as Kaggle delivers them, with a few small synthetic images.

    miniature = MINIATURES["aptos2019-blindness-detection"]
    archive = miniature.write(tmp_path)         # tmp_path / "aptos2019-blindness-detection.zip"
    miniature.truth.kind, miniature.truth.group # what a reader must find
    miniature.truth.answers                     # of the test rows, in the order of the sample submission

Names, nesting, headers and ids have the form of the original; images, rows and classes are few. BENCH_VARIANTS holds
the competitions whose layout is another one in MLE-bench. The same slug always gives the same bytes.
"""

import csv
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Literal

import numpy as np
from synthetic_images import (
    add_class_pattern,
    add_noise,
    add_spot,
    draw_background,
    draw_class,
    draw_leaf,
    draw_lesion,
    draw_retina,
    draw_texture,
    draw_tissue,
    encode,
    random_size,
)

Kind = Literal["class", "labels", "number", "refused"]
Answer = Literal["labels", "probabilities", "ranked labels", "joined labels", "number"]
Files = dict[str, bytes]  # the path of each file in an archive and its content
MODIFIED = (2020, 1, 1, 0, 0, 0)  # the time of all files in archives


@dataclass(frozen=True)
class Truth:
    """What a reader of the archive must find, and the test answers, which are not in it."""

    kind: Kind
    answer: Answer
    metric: str
    train_rows: int
    test_rows: int  # images to predict, which may be fewer than the rows of a submission
    classes: tuple[str, ...]  # or labels, in ascending order; empty for numbers
    sample: str  # the text of the sample submission; empty if there is none
    answers: np.ndarray = field(default_factory=lambda: np.array([]))  # in the order of the sample submission
    # (rows,) labels as text, for joined labels with spaces between them; (rows, labels) 0 or 1; or (rows,) numbers
    group: str = ""  # the column of groups
    leaks: tuple[str, ...] = ()  # columns that tell the answer and that the test rows lack
    columns: tuple[str, ...] = ()  # columns alongside the images that the test rows have as well
    conflicting: int = 0  # pairs of equal training images with different labels


@dataclass(frozen=True)
class Miniature:
    """A competition: its archive and what is true of it."""

    slug: str
    build: Callable[[], tuple[Files, Truth]]

    @property
    def files(self) -> Files:
        """What is in the archive."""
        return _build(self)[0]

    @property
    def truth(self) -> Truth:
        return _build(self)[1]

    def write(self, folder: Path) -> Path:
        """Write the archive that Kaggle delivers into `folder`."""
        archive = folder / f"{self.slug}.zip"
        archive.write_bytes(zip_files(self.files))
        return archive

    def write_sample(self, folder: Path) -> Path:
        """Write the sample submission into `folder`, also if the archive nests it."""
        path = folder / "sample.csv"
        path.write_text(self.truth.sample, encoding="utf-8", newline="")
        return path


@cache
def _build(miniature: Miniature) -> tuple[Files, Truth]:
    return miniature.build()


def zip_files(files: Files, folders: Iterable[str] = ()) -> bytes:
    """A zip archive of these files and of entries for these folders; the same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in folders:
            archive.writestr(zipfile.ZipInfo(f"{name}/", MODIFIED), b"")
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, MODIFIED), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def zip_folder(name: str, files: Files) -> bytes:
    """A zip archive of a folder; `name` is empty if the files have no folder in it."""
    return zip_files(put_in(name, files), [name] if name else [])


def seven_zip_folder(name: str, files: Files) -> bytes:
    """A 7z archive of a folder."""
    import py7zr

    buffer = io.BytesIO()
    with py7zr.SevenZipFile(buffer, "w") as archive:
        for path, content in put_in(name, files).items():
            archive.writestr(content, path)
    return buffer.getvalue()


def put_in(folder: str, files: Files) -> Files:
    """The same files in a folder."""
    return {f"{folder}/{name}" if folder else name: content for name, content in files.items()}


def table(header: Sequence[str], rows: Iterable[Iterable[object]]) -> bytes:
    """A CSV file."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue().encode()


def dummy(kind: str) -> bytes:
    """A small file that stands for one that no reader opens."""
    return f"placeholder of a {kind} file\n".encode()


def make_rng(slug: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(slug.encode()))


def shuffled_labels(rng: np.random.Generator, counts: Sequence[int]) -> np.ndarray:
    """Class indices in random order, each as often as `counts` tells."""
    return rng.permutation(np.repeat(np.arange(len(counts)), counts))


def balanced_labels(rng: np.random.Generator, rows: int, classes: int) -> np.ndarray:
    """Class indices in random order, each about equally often."""
    return rng.permutation(np.arange(rows) % classes)


def hex_ids(rng: np.random.Generator, count: int, digits: int) -> list[str]:
    """Different hexadecimal ids."""
    ids = [rng.bytes((digits + 1) // 2).hex()[:digits] for _ in range(count)]
    assert len(set(ids)) == count
    return ids


def number_ids(rng: np.random.Generator, count: int, digits: int) -> list[str]:
    """Different decimal ids of this many digits."""
    numbers = rng.choice(9 * 10 ** (min(digits, 9) - 1), count, replace=False) + 10 ** (min(digits, 9) - 1)
    return [str(number) + "".join(map(str, rng.integers(0, 10, max(0, digits - 9)))) for number in numbers]


def uniform_rows(ids: Iterable[str], columns: int) -> list[list[object]]:
    """Rows of a sample submission that gives all classes the same probability."""
    return [[name, *[repr(1 / columns)] * columns] for name in ids]


# Competitions of MLE-bench Lite


def build_cactus(bench: bool = False) -> tuple[Files, Truth]:
    rng = make_rng("aerial-cactus-identification")
    labels, answers = shuffled_labels(rng, [30, 90]), shuffled_labels(rng, [14, 26])
    names = [f"{name}.jpg" for name in hex_ids(rng, 160, 32)]
    train, test = names[:120], sorted(names[120:])

    def draw(names: list[str], labels: np.ndarray) -> Files:
        return {
            name: encode(draw_class(rng, label, 2, (32, 32), contrast=0.25), "jpg")
            for name, label in zip(names, labels, strict=True)
        }

    sample = table(["id", "has_cactus"], [[name, 0.5] for name in test])
    files = {
        "sample_submission.csv": sample,
        "test.zip": zip_folder("" if bench else "test", draw(test, answers)),
        "train.csv": table(["id", "has_cactus"], zip(train, labels, strict=True)),
        "train.zip": zip_folder("" if bench else "train", draw(train, labels)),
    }
    return files, Truth("class", "probabilities", "AUC", 120, 40, ("0", "1"), sample.decode(), answers.astype(str))


def build_aptos() -> tuple[Files, Truth]:
    rng = make_rng("aptos2019-blindness-detection")
    labels, answers = shuffled_labels(rng, [55, 18, 32, 14, 18]), shuffled_labels(rng, [16, 5, 9, 4, 6])
    ids = hex_ids(rng, 180, 12)
    train, test = ids[:140], sorted(ids[140:])

    def draw(label: int) -> bytes:
        return encode(draw_retina(rng, label, random_size(rng, (32, 32), (48, 64))), "png")

    images = [draw(label) for label in labels[:137]]
    repeated = [int(np.flatnonzero(labels[:137] == grade)[0]) for grade in (1, 2, 3)]
    images += [images[row] for row in repeated]  # the same photo, graded again
    labels = [*labels[:137], *(labels[row] + 1 for row in repeated)]
    sample = table(["id_code", "diagnosis"], [[name, 0] for name in test])
    files = {
        "sample_submission.csv": sample,
        "test.csv": table(["id_code"], [[name] for name in test]),
        **{f"test_images/{name}.png": draw(label) for name, label in zip(test, answers, strict=True)},
        "train.csv": table(["id_code", "diagnosis"], zip(train, labels, strict=True)),
        **{f"train_images/{name}.png": image for name, image in zip(train, images, strict=True)},
    }
    classes = ("0", "1", "2", "3", "4")
    truth = Truth("class", "labels", "QWK", 140, 40, classes, sample.decode(), answers.astype(str), conflicting=3)
    return files, truth


BREEDS = ("affenpinscher", "afghan_hound", "african_hunting_dog", "airedale", "appenzeller", "yorkshire_terrier")


def build_dog_breeds() -> tuple[Files, Truth]:
    rng = make_rng("dog-breed-identification")
    labels, answers = balanced_labels(rng, 132, 6), balanced_labels(rng, 36, 6)
    ids = hex_ids(rng, 168, 32)
    train, test = sorted(ids[:132]), sorted(ids[132:])

    def draw(label: int) -> bytes:
        return encode(draw_class(rng, label, 6, random_size(rng, (28, 30), (48, 50)), contrast=0.4), "jpg")

    sample = table(["id", *BREEDS], uniform_rows(test, 6))
    files = {
        "labels.csv": table(
            ["id", "breed"], [[name, BREEDS[label]] for name, label in zip(train, labels, strict=True)]
        ),
        "sample_submission.csv": sample,
        **{f"test/{name}.jpg": draw(label) for name, label in zip(test, answers, strict=True)},
        **{f"train/{name}.jpg": draw(label) for name, label in zip(train, labels, strict=True)},
    }
    answer_names = np.array(BREEDS)[answers]
    return files, Truth("class", "probabilities", "log loss", 132, 36, BREEDS, sample.decode(), answer_names)


def build_dogs_vs_cats(bench: bool = False) -> tuple[Files, Truth]:
    rng = make_rng("dogs-vs-cats-redux-kernels-edition")
    classes = ("cat", "dog")
    answers = balanced_labels(rng, 40, 2)

    def draw(label: int) -> bytes:
        return encode(draw_class(rng, label, 2, random_size(rng, (24, 24), (48, 56)), contrast=0.25), "jpg")

    train = {f"{name}.{number}.jpg": draw(label) for label, name in enumerate(classes) for number in range(60)}
    test = {f"{number}.jpg": draw(label) for number, label in enumerate(answers, 1)}
    sample = table(["id", "label"], [[number, 0.5] for number in range(1, 41)])
    files = {
        "sample_submission.csv": sample,
        "test.zip": zip_folder("" if bench else "test", test),
        "train.zip": zip_folder("" if bench else "train", train),
    }
    answer_names = np.array(classes)[answers]
    return files, Truth("class", "probabilities", "log loss", 120, 40, classes, sample.decode(), answer_names)


def build_histopathology() -> tuple[Files, Truth]:
    rng = make_rng("histopathologic-cancer-detection")
    labels, answers = shuffled_labels(rng, [84, 56]), shuffled_labels(rng, [24, 16])
    ids = hex_ids(rng, 180, 40)
    train, test = ids[:140], ids[140:]

    def draw(label: int) -> bytes:
        return encode(draw_tissue(rng, label, (24, 24)), "tif")

    sample = table(["id", "label"], [[name, 0] for name in test])
    files = {
        "sample_submission.csv": sample,
        **{f"test/{name}.tif": draw(label) for name, label in zip(test, answers, strict=True)},
        **{f"train/{name}.tif": draw(label) for name, label in zip(train, labels, strict=True)},
        "train_labels.csv": table(["id", "label"], zip(train, labels, strict=True)),
    }
    return files, Truth("class", "probabilities", "AUC", 140, 40, ("0", "1"), sample.decode(), answers.astype(str))


SPECIES = ("Acer_Capillipes", "Acer_Circinatum", "Acer_Mono", "Alnus_Rubra", "Quercus_Rubra", "Zelkova_Serrata")


def build_leaf(bench: bool = False) -> tuple[Files, Truth]:
    rng = make_rng("leaf-classification")
    labels = balanced_labels(rng, 132, 6)
    ids = rng.permutation(132) + 1
    train, test = np.arange(96), 96 + np.argsort(ids[96:])
    columns = tuple(f"{name}{number}" for name in ("margin", "shape", "texture") for number in range(1, 65))
    centres = rng.gamma(1, 0.015, (6, 192))
    features = np.abs(centres[labels] + rng.normal(0, 0.012, (132, 192))).round(6)
    images = {
        f"{number}.jpg": encode(draw_leaf(rng, labels[row], random_size(rng, (26, 26), (64, 64))), "jpg")
        for row, number in enumerate(ids)
    }
    sample = table(["id", *SPECIES], uniform_rows(ids[test], 6))
    tables = {
        "sample_submission.csv": sample,
        "test.csv": table(["id", *columns], [[ids[row], *features[row]] for row in test]),
        "train.csv": table(
            ["id", "species", *columns], [[ids[row], SPECIES[labels[row]], *features[row]] for row in train]
        ),
    }
    images = {f"{number}.jpg": images[f"{number}.jpg"] for number in range(1, 133)}
    files = (
        {**put_in("images", images), **tables}
        if bench
        else {"images.zip": zip_folder("images", images)}
        | {f"{name}.zip": zip_files({name: content}) for name, content in tables.items()}
    )
    answers = np.array(SPECIES)[labels[test]]
    truth = Truth("class", "probabilities", "log loss", 96, 36, SPECIES, sample.decode(), answers, columns=columns)
    return files, truth


def build_plant_pathology_2020() -> tuple[Files, Truth]:
    rng = make_rng("plant-pathology-2020-fgvc7")
    classes = ("healthy", "multiple_diseases", "rust", "scab")
    labels, answers = shuffled_labels(rng, [38, 12, 42, 40]), shuffled_labels(rng, [11, 4, 13, 12])

    def draw(label: int) -> bytes:
        image = draw_background((40, 60)) + np.array([-20, 40, -40])
        if label in (1, 2):
            add_spot(rng, image, (-0.4, -0.3), 0.3, (60, 15, -15), jitter=0.2)
        if label in (1, 3):
            add_spot(rng, image, (0.4, 0.3), 0.3, (-45, -60, -15), jitter=0.2)
        return encode(add_noise(rng, image), "jpg")

    sample = table(["image_id", *classes], [[f"Test_{row}", *[0.25] * 4] for row in range(40)])
    one_hot = np.eye(4, dtype=int)[labels]
    files = {
        **{f"images/Test_{row}.jpg": draw(label) for row, label in enumerate(answers)},
        **{f"images/Train_{row}.jpg": draw(label) for row, label in enumerate(labels)},
        "sample_submission.csv": sample,
        "test.csv": table(["image_id"], [[f"Test_{row}"] for row in range(40)]),
        "train.csv": table(["image_id", *classes], [[f"Train_{row}", *row_] for row, row_ in enumerate(one_hot)]),
    }
    answer_names = np.array(classes)[answers]
    return files, Truth("class", "probabilities", "AUC", 132, 40, classes, sample.decode(), answer_names)


CATHETERS = (
    "ETT - Abnormal",
    "ETT - Borderline",
    "ETT - Normal",
    "NGT - Abnormal",
    "NGT - Borderline",
    "NGT - Incompletely Imaged",
    "NGT - Normal",
    "CVC - Abnormal",
    "CVC - Borderline",
    "CVC - Normal",
    "Swan Ganz Catheter Present",
)


def group_rows(rng: np.random.Generator, rows: int, groups: int) -> np.ndarray:
    """The group of each row, in random order; few groups are large and many have one or two rows."""
    weights = 1 / np.arange(1, groups + 1)
    others = rng.choice(groups, rows - groups, p=weights / weights.sum())
    return rng.permutation(np.concatenate([np.arange(groups), others]))


def build_ranzcr(bench: bool = False) -> tuple[Files, Truth]:
    rng = make_rng("ranzcr-clip-catheter-line-classification")
    labels_of_patients = rng.beta(0.5, 0.9, (60, 11))  # how often each label is 1 for each patient
    textures = rng.integers(2**32, size=60)
    patients = hex_ids(rng, 60, 9)
    train_groups = group_rows(rng, 160, 45)
    test_groups = rng.permutation(np.arange(40) % 45) if bench else 45 + group_rows(rng, 40, 15)
    groups = np.concatenate([train_groups, test_groups])
    labels = (rng.random((200, 11)) < labels_of_patients[groups]).astype(int)
    labels[160 + np.arange(11), np.arange(11)] = 1  # each label occurs in the test set, and not in all of its rows
    labels[171 + np.arange(11), np.arange(11)] = 0
    ids = [f"1.2.826.0.1.3680043.8.498.{number}" for number in number_ids(rng, 200, 38)]
    train, test = ids[:160], ids[160:]

    def draw(row: int) -> bytes:
        size = random_size(rng, (40, 40), (52, 56))
        image = draw_texture(np.random.default_rng(textures[groups[row]]), size, 1, contrast=25)
        for label in np.flatnonzero(labels[row]):
            centre = -0.75 + 0.5 * (label % 4), -0.66 + 0.66 * (label // 4)
            add_spot(rng, image, centre, 0.16, (85,), jitter=0.03)
        return encode(add_noise(rng, image, 14), "jpg")

    targets = CATHETERS[:9] if bench else CATHETERS
    sample = table(["StudyInstanceUID", *targets], [[name, *[0] * len(targets)] for name in test])
    annotated = [(row, label) for row in range(0, 160, 4) for label in np.flatnonzero(labels[row])]
    paths = rng.integers(50, 2900, (len(annotated), 3, 2)).tolist()
    annotations = [
        [train[row], CATHETERS[label], json.dumps(path)] for (row, label), path in zip(annotated, paths, strict=True)
    ]
    files = {
        "sample_submission.csv": sample,
        **{f"test/{name}.jpg": draw(row) for row, name in enumerate(test, 160)},
        **({} if bench else {f"test_tfrecords/0{part}-20.tfrec": dummy("TFRecord") for part in range(2)}),
        **{f"train/{name}.jpg": draw(row) for row, name in enumerate(train)},
        "train.csv": table(
            ["StudyInstanceUID", *CATHETERS, "PatientID"],
            [[name, *labels[row], patients[groups[row]]] for row, name in enumerate(train)],
        ),
        "train_annotations.csv": table(["StudyInstanceUID", "label", "data"], annotations),
        **({} if bench else {f"train_tfrecords/0{part}-40.tfrec": dummy("TFRecord") for part in range(4)}),
    }
    truth = Truth(
        "labels",
        "probabilities",
        "AUC",
        160,
        40,
        targets,
        sample.decode(),
        labels[160:, : len(targets)],
        group="PatientID",
        leaks=CATHETERS[9:] if bench else (),
    )
    return files, truth


def build_melanoma() -> tuple[Files, Truth]:
    rng = make_rng("siim-isic-melanoma-classification")
    patients = [f"IP_{number}" for number in number_ids(rng, 45, 7)]
    textures = rng.integers(2**32, size=45)
    groups = np.concatenate([group_rows(rng, 160, 33), 33 + group_rows(rng, 40, 12)])
    risks = rng.permutation(np.concatenate([np.full(33, 0.03), np.full(12, 0.45)]))
    labels = (rng.random(200) < risks[groups]).astype(int)
    labels[160:163], labels[163:166] = 1, 0
    sexes = np.where(rng.random(45) < 0.5, "male", "female")[groups]
    ages = (rng.integers(5, 17, 45) * 5)[groups] + 5 * labels
    sites = np.array(["head/neck", "lower extremity", "palms/soles", "torso", "upper extremity"])[
        rng.integers(5, size=200)
    ]
    benign = np.array(["unknown", "nevus", "seborrheic keratosis"])[rng.choice(3, 200, p=[0.8, 0.15, 0.05])]
    diagnoses = np.where(labels == 1, "melanoma", benign)
    gaps = rng.random((200, 3)) < (0.03, 0.03, 0.06)
    names = [f"ISIC_{number}" for number in number_ids(rng, 200, 7)]
    rows = [
        [name, patients[groups[row]], *("" if gap else cell for cell, gap in zip(cells, gaps[row], strict=True))]
        for row, (name, *cells) in enumerate(zip(names, sexes, ages.astype(float), sites, strict=True))
    ]
    header = ["image_name", "patient_id", "sex", "age_approx", "anatom_site_general_challenge"]

    def draw(row: int) -> bytes:
        size = random_size(rng, (32, 32), (48, 64))
        background = draw_texture(np.random.default_rng(textures[groups[row]]), size, contrast=14)
        return encode(draw_lesion(rng, background, labels[row]), "jpg")

    sample = table(["image_name", "target"], [[name, 0] for name in names[160:]])
    files = {
        **{f"jpeg/test/{name}.jpg": draw(row) for row, name in enumerate(names[160:], 160)},
        **{f"jpeg/train/{name}.jpg": draw(row) for row, name in enumerate(names[:160])},
        "sample_submission.csv": sample,
        **{f"test/{name}.dcm": dummy("DICOM") for name in names[160:]},
        "test.csv": table(header, rows[160:]),
        **{f"tfrecords/test0{part}-20.tfrec": dummy("TFRecord") for part in range(2)},
        **{f"tfrecords/train0{part}-40.tfrec": dummy("TFRecord") for part in range(4)},
        **{f"train/{name}.dcm": dummy("DICOM") for name in names[:160]},
        "train.csv": table(
            [*header, "diagnosis", "benign_malignant", "target"],
            [[*rows[row], diagnoses[row], "malignant" if labels[row] else "benign", labels[row]] for row in range(160)],
        ),
    }
    truth = Truth(
        "class",
        "probabilities",
        "AUC",
        160,
        40,
        ("0", "1"),
        sample.decode(),
        labels[160:].astype(str),
        group="patient_id",
        leaks=("diagnosis", "benign_malignant"),
        columns=tuple(header[2:]),
    )
    return files, truth


# Others


def pixel_table(header: Sequence[str], first_pixel: int, cells: Sequence[object], images: np.ndarray) -> bytes:
    """A table of a column, if there is one, and the 784 pixels of images."""
    pixels = [f"pixel{number}" for number in range(first_pixel, first_pixel + 784)]
    start = [[cell] for cell in cells] if header else [[]] * len(images)
    rows = [[*cell, *image] for cell, image in zip(start, images.reshape(-1, 784).tolist(), strict=True)]
    return table([*header, *pixels], rows)


def draw_digits(rng: np.random.Generator, labels: np.ndarray, classes: int, contrast: float = 1.0) -> np.ndarray:
    """28x28 grey images of these classes."""
    return np.array([draw_class(rng, label, classes, (28, 28), 1, contrast) for label in labels])


def build_digits() -> tuple[Files, Truth]:
    rng = make_rng("digit-recognizer")
    labels, answers = balanced_labels(rng, 150, 10), balanced_labels(rng, 40, 10)
    sample = table(["ImageId", "Label"], [[number, 0] for number in range(1, 41)])
    files = {
        "sample_submission.csv": sample,
        "test.csv": pixel_table([], 0, [], draw_digits(rng, answers, 10)),
        "train.csv": pixel_table(["label"], 0, labels, draw_digits(rng, labels, 10)),
    }
    classes = tuple(map(str, range(10)))
    return files, Truth("class", "labels", "accuracy", 150, 40, classes, sample.decode(), answers.astype(str))


def build_kannada() -> tuple[Files, Truth]:
    rng = make_rng("Kannada-MNIST")
    labels, answers = balanced_labels(rng, 150, 10), balanced_labels(rng, 40, 10)
    other_writers = balanced_labels(rng, 40, 10)
    sample = table(["id", "label"], [[number, 0] for number in range(40)])
    files = {
        "Dig-MNIST.csv": pixel_table(["label"], 0, other_writers, draw_digits(rng, other_writers, 10, 0.6)),
        "sample_submission.csv": sample,
        "test.csv": pixel_table(["id"], 0, range(40), draw_digits(rng, answers, 10)),
        "train.csv": pixel_table(["label"], 0, labels, draw_digits(rng, labels, 10)),
    }
    classes = tuple(map(str, range(10)))
    return files, Truth("class", "labels", "accuracy", 150, 40, classes, sample.decode(), answers.astype(str))


def build_sign_language() -> tuple[Files, Truth]:
    rng = make_rng("sign-language-mnist")
    letters = np.delete(np.arange(25), 9)  # J is a movement
    labels, answers = balanced_labels(rng, 192, 24), balanced_labels(rng, 48, 24)
    train = pixel_table(["label"], 1, letters[labels], draw_digits(rng, labels, 24, 1.5))
    test = pixel_table(["label"], 1, letters[answers], draw_digits(rng, answers, 24, 1.5))
    files = {
        "sign_mnist_test.csv": test,
        "sign_mnist_test/sign_mnist_test.csv": test,
        "sign_mnist_train.csv": train,
        "sign_mnist_train/sign_mnist_train.csv": train,
    }
    classes = tuple(map(str, letters))
    return files, Truth("class", "labels", "accuracy", 192, 48, classes, "", letters[answers].astype(str))


SEEDLINGS = ("Black-grass", "Charlock", "Common Chickweed", "Small-flowered Cranesbill", "Sugar beet")


def build_plant_seedlings() -> tuple[Files, Truth]:
    rng = make_rng("plant-seedlings-classification")
    labels, answers = shuffled_labels(rng, [20, 24, 36, 30, 22]), balanced_labels(rng, 40, 5)
    names = [f"{name}.png" for name in hex_ids(rng, 172, 9)]
    train, test = names[:132], sorted(names[132:])

    def draw(label: int) -> bytes:
        return encode(draw_class(rng, label, 5, random_size(rng, (24, 24), (56, 56)), contrast=0.4), "png")

    sample = table(["file", "species"], [[name, "Sugar beet"] for name in test])
    files = {
        "sample_submission.csv": sample,
        **{f"test/{name}": draw(label) for name, label in zip(test, answers, strict=True)},
        **{f"train/{SEEDLINGS[label]}/{name}": draw(label) for name, label in zip(train, labels, strict=True)},
    }
    answer_names = np.array(SEEDLINGS)[answers]
    # With one label per image, micro F1 is accuracy.
    return files, Truth("class", "labels", "accuracy", 132, 40, SEEDLINGS, sample.decode(), answer_names)


CASSAVA_DISEASES = (
    "Cassava Bacterial Blight (CBB)",
    "Cassava Brown Streak Disease (CBSD)",
    "Cassava Green Mottle (CGM)",
    "Cassava Mosaic Disease (CMD)",
    "Healthy",
)


def build_cassava() -> tuple[Files, Truth]:
    rng = make_rng("cassava-leaf-disease-classification")
    labels, answer = shuffled_labels(rng, [10, 14, 16, 70, 20]), 2
    names = [f"{name}.jpg" for name in number_ids(rng, 130, 9)]

    def draw(label: int) -> bytes:
        return encode(draw_class(rng, label, 5, (30, 40), contrast=0.5), "jpg")

    sample = table(["image_id", "label"], [["2216849948.jpg", 4]])
    files = {
        "label_num_to_disease_map.json": json.dumps(dict(enumerate(CASSAVA_DISEASES))).encode(),
        "sample_submission.csv": sample,
        "test_images/2216849948.jpg": draw(answer),
        "test_tfrecords/ld_test00-1.tfrec": dummy("TFRecord"),
        "train.csv": table(["image_id", "label"], zip(names, labels, strict=True)),
        **{f"train_images/{name}": draw(label) for name, label in zip(names, labels, strict=True)},
        **{f"train_tfrecords/ld_train0{part}-65.tfrec": dummy("TFRecord") for part in range(2)},
    }
    classes = ("0", "1", "2", "3", "4")
    return files, Truth("class", "labels", "accuracy", 130, 1, classes, sample.decode(), np.array([str(answer)]))


PADDY_DISEASES = ("bacterial_leaf_blight", "blast", "brown_spot", "normal", "tungro")


def build_paddy() -> tuple[Files, Truth]:
    rng = make_rng("paddy-disease-classification")
    labels, answers = np.sort(shuffled_labels(rng, [20, 30, 24, 36, 22])), balanced_labels(rng, 40, 5)
    train = [f"{number}.jpg" for number in 100001 + rng.permutation(132)]
    test = [f"{number}.jpg" for number in range(200001, 200041)]
    varieties = np.array(["ADT45", "KarnatakaPonni", "Ponni"])[rng.choice(3, 132, p=[0.7, 0.2, 0.1])]
    ages = rng.integers(45, 83, 132)

    def draw(label: int) -> bytes:
        return encode(draw_class(rng, label, 5, (32, 24), contrast=0.4), "jpg")

    rows = [
        [name, PADDY_DISEASES[label], variety, age]
        for name, label, variety, age in zip(train, labels, varieties, ages, strict=True)
    ]
    sample = table(["image_id", "label"], [[name, ""] for name in test])
    files = {
        "sample_submission.csv": sample,
        **{f"test_images/{name}": draw(label) for name, label in zip(test, answers, strict=True)},
        "train.csv": table(["image_id", "label", "variety", "age"], rows),
        **{f"train_images/{label}/{name}": draw(PADDY_DISEASES.index(label)) for name, label, *_ in rows},
    }
    answer_names = np.array(PADDY_DISEASES)[answers]
    truth = Truth("class", "labels", "accuracy", 132, 40, PADDY_DISEASES, sample.decode(), answer_names)
    return files, truth


def build_state_farm() -> tuple[Files, Truth]:
    rng = make_rng("state-farm-distracted-driver-detection")
    classes = tuple(f"c{label}" for label in range(10))
    subjects = [f"p{number:03}" for number in np.sort(rng.choice(100, 14, replace=False))]
    textures = rng.integers(2**32, size=24)
    habits = rng.dirichlet(np.full(10, 1.5), 24)  # how often each driver does what; the last ten are in the test set
    groups = np.sort(group_rows(rng, 160, 14))
    labels = np.array([rng.choice(10, p=0.5 * habits[group] + 0.05) for group in groups])
    labels[np.linspace(0, 159, 20).astype(int)] = np.arange(20) % 10
    test_groups, answers = 14 + rng.permutation(np.arange(40) % 10), balanced_labels(rng, 40, 10)
    numbers = rng.permutation(200) + 1
    train, test = [f"img_{number}.jpg" for number in numbers[:160]], [f"img_{number}.jpg" for number in numbers[160:]]

    def draw(group: int, label: int) -> bytes:
        """A frame of the film of one driver and activity."""
        film = np.random.default_rng([int(textures[group]), label])
        image = draw_texture(np.random.default_rng(textures[group]), (30, 40), contrast=22)
        add_class_pattern(film, image, label, 10, 0.9)
        return encode(add_noise(rng, image, 8), "jpg")

    sample = table(["img", *classes], [[name, *[0.1] * 10] for name in sorted(test)])
    order = np.lexsort([labels, groups])
    files = {
        "driver_imgs_list.csv": table(
            ["subject", "classname", "img"],
            [[subjects[groups[row]], classes[labels[row]], train[row]] for row in order],
        ),
        **{
            f"imgs/test/{name}": draw(group, label)
            for name, group, label in zip(test, test_groups, answers, strict=True)
        },
        **{f"imgs/train/{classes[labels[row]]}/{train[row]}": draw(groups[row], labels[row]) for row in order},
        "sample_submission.csv": sample,
    }
    truth = Truth(
        "class",
        "probabilities",
        "log loss",
        160,
        40,
        classes,
        sample.decode(),
        np.array(classes)[answers][np.argsort(test)],
        group="subject",
    )
    return files, truth


def build_whales() -> tuple[Files, Truth]:
    rng = make_rng("whale-categorization-playground")
    whales = sorted(f"w_{name}" for name in hex_ids(rng, 11, 7))
    classes = ("new_whale", *whales)
    labels = shuffled_labels(rng, [22, 14, 1, 12, 9, 2, 10, 1, 7, 2, 8, 2])
    answers = shuffled_labels(rng, [10, 5, 1, 4, 3, 1, 4, 1, 3, 1, 3, 1])
    names = [f"{name}.jpg" for name in hex_ids(rng, len(labels) + len(answers), 8)]
    train, test = sorted(names[: len(labels)]), sorted(names[len(labels) :])

    def draw(label: int) -> bytes:
        channels = 1 if rng.random() < 0.25 else 3
        image = draw_background(random_size(rng, (16, 32), (32, 64)), channels)
        if label:
            add_class_pattern(rng, image, label - 1, 11, 0.8)
        else:  # an unknown individual; what they have in common is a darker sea
            image -= 35
            add_class_pattern(rng, image, rng.integers(100), 100, 0.5)
        return encode(add_noise(rng, image, 14), "jpg")

    ranking = " ".join(["new_whale", *whales[:4]])
    sample = table(["Image", "Id"], [[name, ranking] for name in test])
    files = {
        "sample_submission.csv": sample,
        **{f"test/{name}": draw(label) for name, label in zip(test, answers, strict=True)},
        **{f"train/{name}": draw(label) for name, label in zip(train, labels, strict=True)},
        "train.csv": table(
            ["Image", "Id"], [[name, classes[label]] for name, label in zip(train, labels, strict=True)]
        ),
    }
    answer_names = np.array(classes)[answers]
    counts = len(labels), len(answers)
    return files, Truth("class", "ranked labels", "MAP@5", *counts, classes, sample.decode(), answer_names)


LEAF_DISEASES = ("complex", "frog_eye_leaf_spot", "healthy", "powdery_mildew", "rust", "scab")


def build_plant_pathology_2021() -> tuple[Files, Truth]:
    rng = make_rng("plant-pathology-2021-fgvc8")
    counts = {
        "healthy": 36,
        "scab": 26,
        "frog_eye_leaf_spot": 18,
        "rust": 16,
        "powdery_mildew": 12,
        "complex": 10,
        "scab frog_eye_leaf_spot": 8,
        "frog_eye_leaf_spot complex": 6,
        "rust frog_eye_leaf_spot": 6,
        "rust complex": 4,
    }
    labels = rng.permutation(np.repeat(list(counts), list(counts.values())))
    answers = np.array(["scab", "scab frog_eye_leaf_spot", "healthy"])
    names = [f"{name}.jpg" for name in hex_ids(rng, len(labels) + 3, 16)]
    train, test = sorted(names[3:]), sorted(names[:3])
    spots = {
        "complex": ((0, 0.6), (60, 60, 80)),
        "frog_eye_leaf_spot": ((-0.5, -0.5), (80, -40, 40)),
        "powdery_mildew": ((0, -0.6), (90, 70, 90)),
        "rust": ((0.5, 0.5), (90, 20, -40)),
        "scab": ((0.5, -0.5), (-70, -90, -40)),
    }

    def draw(joined: str) -> bytes:
        image = draw_background((40, 60)) + np.array([-20, 40, -40])
        for label in joined.split():
            if label in spots:
                add_spot(rng, image, spots[label][0], 0.3, spots[label][1], jitter=0.08)
        return encode(add_noise(rng, image), "jpg")

    sample = table(["image", "labels"], [[name, "healthy"] for name in test])
    files = {
        "sample_submission.csv": sample,
        **{f"test_images/{name}": draw(joined) for name, joined in zip(test, answers, strict=True)},
        "train.csv": table(["image", "labels"], zip(train, labels, strict=True)),
        **{f"train_images/{name}": draw(joined) for name, joined in zip(train, labels, strict=True)},
    }
    rows = len(labels)
    return files, Truth("labels", "joined labels", "micro F1", rows, 3, LEAF_DISEASES, sample.decode(), answers)


PET_FLAGS = (
    "Subject Focus",
    "Eyes",
    "Face",
    "Near",
    "Action",
    "Accessory",
    "Group",
    "Collage",
    "Human",
    "Occlusion",
    "Info",
    "Blur",
)


def build_petfinder() -> tuple[Files, Truth]:
    rng = make_rng("petfinder-pawpularity-score")
    scores = (1 + 99 * rng.beta(2, 3, 168)).round().astype(int)
    flags = (rng.random((168, 12)) < np.linspace(0.1, 0.9, 12)).astype(int)
    flags[:, 3] = rng.random(168) < scores / 100
    ids = hex_ids(rng, 168, 32)
    train, test = np.arange(160), 160 + np.argsort(ids[160:])

    def draw(row: int) -> bytes:
        image = draw_background(random_size(rng, (32, 28), (56, 48)))
        add_spot(rng, image, (0, 0), 0.5, tuple(np.array([1.0, 0.6, -0.4]) * scores[row]), jitter=0.15)
        return encode(add_noise(rng, image, 14), "jpg")

    sample = table(["Id", "Pawpularity"], [[ids[row], round(rng.uniform(1, 100), 2)] for row in test])
    files = {
        "sample_submission.csv": sample,
        **{f"test/{ids[row]}.jpg": draw(row) for row in test},
        "test.csv": table(["Id", *PET_FLAGS], [[ids[row], *flags[row]] for row in test]),
        **{f"train/{ids[row]}.jpg": draw(row) for row in train},
        "train.csv": table(["Id", *PET_FLAGS, "Pawpularity"], [[ids[row], *flags[row], scores[row]] for row in train]),
    }
    answers = scores[test].astype(float)
    return files, Truth("number", "number", "RMSE", 160, 8, (), sample.decode(), answers, columns=PET_FLAGS)


CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def build_cifar() -> tuple[Files, Truth]:
    rng = make_rng("cifar-10")
    labels, answers = balanced_labels(rng, 160, 10), balanced_labels(rng, 40, 10)

    def draw(labels: np.ndarray) -> Files:
        return {
            f"{number}.png": encode(draw_class(rng, label, 10, (32, 32), contrast=0.5), "png")
            for number, label in enumerate(labels, 1)
        }

    names = np.array(CIFAR_CLASSES)
    sample = table(["id", "label"], [[number, "cat"] for number in range(1, 41)])
    files = {
        "sampleSubmission.csv": sample,
        "test.7z": seven_zip_folder("test", draw(answers)),
        "train.7z": seven_zip_folder("train", draw(labels)),
        "trainLabels.csv": table(["id", "label"], enumerate(names[labels], 1)),
    }
    return files, Truth("class", "labels", "accuracy", 160, 40, CIFAR_CLASSES, sample.decode(), names[answers])


# Refused: the answer is an image, a row of three targets or thirty numbers, or there are no image files


def build_documents(bench: bool = False) -> tuple[Files, Truth]:
    rng = make_rng("denoising-dirty-documents")
    train, test, cleaned = {}, {}, {}
    pages = [rng.random((size, 54)) < 0.15 for size in (42, 26) * 3]  # each page recurs under several stains
    sample_rows: list[list[object]] = []
    for number in range(1, 37):
        page = pages[number % 6]
        clean = np.where(page, 0, 255).astype(np.uint8)[..., None]
        stain = draw_texture(rng, page.shape, 1) + 90 - 150 * page[..., None]
        is_test = number % 3 == 1
        (test if is_test else train)[f"{number}.png"] = encode(add_noise(rng, stain, 8), "png")
        if is_test:
            sample_rows += [[f"{number}_{y}_{x}", 1] for y in range(1, len(page) + 1) for x in range(1, 55)]
        else:
            cleaned[f"{number}.png"] = encode(clean, "png")
    sample = table(["id", "value"], sample_rows)
    folders = {"test": test, "train": train, "train_cleaned": cleaned}
    files: Files = {}
    for name, images in folders.items():
        files |= put_in(name, images) if bench else {f"{name}.zip": zip_folder(name, images)}
    name = "sampleSubmission.csv"
    files |= {name: sample} if bench else {f"{name}.zip": zip_files({name: sample})}
    return files, Truth("refused", "number", "RMSE", 24, 12, (), sample.decode())


def build_flowers() -> tuple[Files, Truth]:
    rng = make_rng("tpu-getting-started")
    files = {}
    for size in (192, 224, 331, 512):
        folder, name = f"tfrecords-jpeg-{size}x{size}", f"{size}x{size}"
        for part, rows in (("test", 20), ("train", 40), ("val", 10)):
            files |= {f"{folder}/{part}/0{i}-{name}-{rows}.tfrec": dummy("TFRecord") for i in range(2)}
    sample = table(["id", "label"], [[name, 0] for name in hex_ids(rng, 40, 9)])
    files["sample_submission.csv"] = sample
    return files, Truth("refused", "labels", "macro F1", 80, 40, tuple(map(str, range(104))), sample.decode())


def build_bengali() -> tuple[Files, Truth]:
    rng = make_rng("bengaliai-cv19")
    components = {"consonant_diacritic": 7, "grapheme_root": 168, "vowel_diacritic": 11}
    test = [[f"Test_{row}_{name}", f"Test_{row}", name] for row in range(12) for name in components]
    targets = rng.integers((168, 11, 7), size=(80, 3)).tolist()
    sample = table(["row_id", "target"], [[row[0], 0] for row in test])
    files = {
        "class_map.csv": table(
            ["component_type", "label", "component"],
            [[name, label, chr(0x995 + label % 30)] for name, count in components.items() for label in range(count)],
        ),
        "sample_submission.csv": sample,
        "test.csv": table(["row_id", "image_id", "component"], test),
        **{f"test_image_data_{part}.parquet": dummy("Parquet") for part in range(4)},
        "train.csv": table(
            ["image_id", "grapheme_root", "vowel_diacritic", "consonant_diacritic", "grapheme"],
            [[f"Train_{row}", *target, chr(0x995 + target[0] % 30)] for row, target in enumerate(targets)],
        ),
        **{f"train_image_data_{part}.parquet": dummy("Parquet") for part in range(4)},
    }
    return files, Truth("refused", "labels", "macro recall", 80, 12, (), sample.decode(), leaks=("grapheme",))


FACE_POINTS = (
    *(f"{side}_eye_center" for side in ("left", "right")),
    *(f"{side}_eye_{end}_corner" for side in ("left", "right") for end in ("inner", "outer")),
    *(f"{side}_eyebrow_{end}_end" for side in ("left", "right") for end in ("inner", "outer")),
    "nose_tip",
    "mouth_left_corner",
    "mouth_right_corner",
    "mouth_center_top_lip",
    "mouth_center_bottom_lip",
)


def build_keypoints() -> tuple[Files, Truth]:
    rng = make_rng("facial-keypoints-detection")
    targets = [f"{point}_{axis}" for point in FACE_POINTS for axis in "xy"]
    points = rng.uniform(10, 86, (24, 30)).round(4)
    gaps = rng.random((24, 30)) < 0.3
    gaps[:6] = False
    cells = [" ".join(map(str, pixels)) for pixels in rng.integers(0, 256, (32, 9216)).tolist()]
    train = [
        ["" if gap else point for point, gap in zip(*row, strict=True)] + [cell]
        for *row, cell in zip(points, gaps, cells[:24], strict=True)
    ]
    lookup = [(image, target) for image in range(1, 9) for target in (targets if image < 3 else targets[:8])]
    sample = table(["RowId", "Location"], [[row, 0] for row in range(1, len(lookup) + 1)])
    files = {
        "IdLookupTable.csv": table(
            ["RowId", "ImageId", "FeatureName", "Location"],
            [[row, image, target, ""] for row, (image, target) in enumerate(lookup, 1)],
        ),
        "SampleSubmission.csv": sample,
        "test.zip": zip_files({"test.csv": table(["ImageId", "Image"], enumerate(cells[24:], 1))}),
        "training.zip": zip_files({"training.csv": table([*targets, "Image"], train)}),
    }
    return files, Truth("refused", "number", "RMSE", 24, 8, (), sample.decode())


# Slugs and functions in the order of the list of competitions
BUILDERS: dict[str, Callable[[], tuple[Files, Truth]]] = {
    "aerial-cactus-identification": build_cactus,
    "aptos2019-blindness-detection": build_aptos,
    "denoising-dirty-documents": build_documents,
    "dog-breed-identification": build_dog_breeds,
    "dogs-vs-cats-redux-kernels-edition": build_dogs_vs_cats,
    "histopathologic-cancer-detection": build_histopathology,
    "leaf-classification": build_leaf,
    "plant-pathology-2020-fgvc7": build_plant_pathology_2020,
    "ranzcr-clip-catheter-line-classification": build_ranzcr,
    "siim-isic-melanoma-classification": build_melanoma,
    "digit-recognizer": build_digits,
    "Kannada-MNIST": build_kannada,
    "sign-language-mnist": build_sign_language,
    "plant-seedlings-classification": build_plant_seedlings,
    "cassava-leaf-disease-classification": build_cassava,
    "paddy-disease-classification": build_paddy,
    "state-farm-distracted-driver-detection": build_state_farm,
    "tpu-getting-started": build_flowers,
    "bengaliai-cv19": build_bengali,
    "whale-categorization-playground": build_whales,
    "plant-pathology-2021-fgvc8": build_plant_pathology_2021,
    "petfinder-pawpularity-score": build_petfinder,
    "cifar-10": build_cifar,
    "facial-keypoints-detection": build_keypoints,
}
BENCH_BUILDERS: dict[str, Callable[..., tuple[Files, Truth]]] = {
    "aerial-cactus-identification": build_cactus,
    "denoising-dirty-documents": build_documents,
    "dogs-vs-cats-redux-kernels-edition": build_dogs_vs_cats,
    "leaf-classification": build_leaf,
    "ranzcr-clip-catheter-line-classification": build_ranzcr,
}

MINIATURES = {slug: Miniature(slug, build) for slug, build in BUILDERS.items()}
BENCH_VARIANTS = {slug: Miniature(slug, partial(build, bench=True)) for slug, build in BENCH_BUILDERS.items()}
