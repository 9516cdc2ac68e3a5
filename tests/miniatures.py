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
    columns: tuple[str, ...] = ()  # columns beside the images that the test rows have as well
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


def draw_digits(rng: np.random.Generator, labels: np.ndarray, classes: int, contrast: float = 0.7) -> np.ndarray:
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


# Slugs and functions in the order of the list of competitions
BUILDERS: dict[str, Callable[[], tuple[Files, Truth]]] = {
    "aerial-cactus-identification": build_cactus,
    "aptos2019-blindness-detection": build_aptos,
    "dog-breed-identification": build_dog_breeds,
    "dogs-vs-cats-redux-kernels-edition": build_dogs_vs_cats,
    "histopathologic-cancer-detection": build_histopathology,
    "leaf-classification": build_leaf,
    "plant-pathology-2020-fgvc7": build_plant_pathology_2020,
    "ranzcr-clip-catheter-line-classification": build_ranzcr,
    "siim-isic-melanoma-classification": build_melanoma,
    "digit-recognizer": build_digits,
}
BENCH_BUILDERS: dict[str, Callable[..., tuple[Files, Truth]]] = {
    "aerial-cactus-identification": build_cactus,
    "dogs-vs-cats-redux-kernels-edition": build_dogs_vs_cats,
    "leaf-classification": build_leaf,
    "ranzcr-clip-catheter-line-classification": build_ranzcr,
}

MINIATURES = {slug: Miniature(slug, build) for slug, build in BUILDERS.items()}
BENCH_VARIANTS = {slug: Miniature(slug, partial(build, bench=True)) for slug, build in BENCH_BUILDERS.items()}
