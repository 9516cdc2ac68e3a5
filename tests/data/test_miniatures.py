"""What is inferred from the layouts of 24 competitions, as Kaggle delivers them."""

import numpy as np
import pytest
from miniatures import BENCH_VARIANTS, MINIATURES, Miniature

from competition.data.dataset import load_dataset
from competition.data.sources import ensure_files
from competition.data.targets import target_kind
from competition.errors import UserError

BOTH = {**MINIATURES, **{f"{slug} of MLE-bench": variant for slug, variant in BENCH_VARIANTS.items()}}
READABLE = [name for name, miniature in BOTH.items() if name != "cifar-10" and miniature.truth.kind != "refused"]
REFUSED = {
    "denoising-dirty-documents": r"row 1: '1_1_1' is not the name of an image in .*several rows per image",
    "tpu-getting-started": "has its images only as TFRecord files, which are not supported",
    "bengaliai-cv19": "has its images only as Parquet files, which are not supported",
    "facial-keypoints-detection": "has images as numbers in the cells of column Image, which is not supported",
}


def load(miniature: Miniature, tmp_path):
    folder = tmp_path / "data" / miniature.slug
    folder.mkdir(parents=True)
    miniature.write(folder)
    ensure_files(miniature.slug, folder)
    return load_dataset(folder)


@pytest.mark.parametrize("name", [*READABLE, "cifar-10"])
def test_rows_labels_groups_and_columns_are_found(name, tmp_path):
    miniature, truth = BOTH[name], BOTH[name].truth
    dataset = load(miniature, tmp_path)
    assert target_kind(dataset.labels) == truth.kind
    assert (len(dataset.labels), len(dataset.test_ids)) == (truth.train_rows, truth.test_rows)
    assert len(dataset.images) == truth.train_rows and len(dataset.test_images) == truth.test_rows
    if truth.kind != "number":
        assert sorted(map(str, dataset.classes)) == sorted(truth.classes)
    assert dataset.layout.group == truth.group
    has_groups = len(np.unique(dataset.groups)) < len(dataset.groups)
    assert has_groups == bool(truth.group)
    origins = {column.split("=")[0] for column in dataset.column_names.tolist()}
    assert origins == set(truth.columns)
    told = "\n".join(dataset.layout.notes)
    assert all(leak in told for leak in truth.leaks) and not origins & set(truth.leaks)


@pytest.mark.parametrize("slug", REFUSED)
def test_other_tasks_and_formats_are_refused(slug, tmp_path):
    with pytest.raises(UserError, match=REFUSED[slug]):
        load(MINIATURES[slug], tmp_path)
    with pytest.raises(UserError, match=REFUSED[slug]):  # also when its archives are unpacked already
        ensure_files(slug, tmp_path / "data" / slug)
        load_dataset(tmp_path / "data" / slug)


def test_a_further_labelled_table_is_named_and_can_be_added(tmp_path):
    dataset = load(MINIATURES["Kannada-MNIST"], tmp_path)
    assert "Dig-MNIST.csv has labelled rows too" in "\n".join(dataset.layout.notes)
    folder = tmp_path / "data" / "Kannada-MNIST"
    (folder / "competition.toml").write_text('extra = ["Dig-MNIST.csv"]')
    extended = load_dataset(folder)
    assert len(extended.labels) > len(dataset.labels) and len(extended.images) == len(extended.labels)
    assert (extended.images[: len(dataset.images)] == dataset.images).all()
    assert len(set(extended.train_ids)) == len(extended.labels)
