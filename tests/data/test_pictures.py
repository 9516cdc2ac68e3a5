import numpy as np
import pytest
from PIL import Image

from competition.data.pictures import Form, opened, read
from competition.errors import Problem


def drawn(side=28, box=20, rows=500):
    """Strokes in a box of this size, centred by mass, light on dark; as MNIST was made."""
    random = np.random.default_rng(0)
    images = np.zeros((rows, side, side, 1), dtype=np.uint8)
    for image in images:
        width = int(random.integers(6, box))
        top, left = (side - box) // 2, (side - width) // 2
        image[top : top + box, left : left + width] = random.integers(150, 256)
    return images


def mass(image):
    grey = image.astype(float).sum(axis=2)
    return [float(grey.sum(axis=1 - axis) @ np.arange(len(grey)) / grey.sum()) for axis in (0, 1)]


@pytest.fixture
def scan():
    """A dark, thick 1 on light paper, large and off the centre."""
    grey = np.full((300, 200), 235, dtype=np.uint8)
    grey[30:180, 120:150] = 20
    return Image.fromarray(grey)


def test_the_form_of_boxed_and_centred_images_is_found():
    assert Form.measured(drawn()) == Form((28, 28, 1), 20, True)


def test_images_that_lie_anywhere_are_left_where_they_are():
    random = np.random.default_rng(1)
    moved = np.stack([np.roll(image, random.integers(-4, 5, 2), axis=(0, 1)) for image in drawn()])
    assert Form.measured(moved).box is None


def test_a_scan_becomes_what_the_training_images_are(scan):
    form = Form.measured(drawn())
    taken = form.take(scan)
    assert taken.shape == (28, 28, 1) and taken.dtype == np.uint8
    assert mass(taken) == pytest.approx([13.5, 13.5], abs=0.6)
    rows, columns = np.nonzero(taken[..., 0] > 60)
    assert np.ptp(rows) + 1 == 20 and np.ptp(columns) + 1 == 4
    assert taken[0, 0, 0] == 0 and taken.max() > 230


def test_light_on_dark_stays_so_and_comes_out_alike(scan):
    form = Form.measured(drawn())
    negative = Image.eval(scan, lambda value: 255 - value)
    assert np.abs(form.take(scan).astype(int) - form.take(negative)).max() <= 3


def test_transparent_paper_is_white(scan):
    form = Form.measured(drawn())
    clear = scan.convert("RGBA")
    clear.putalpha(scan.point(lambda value: 255 if value < 100 else 0))
    rows, _ = np.nonzero(form.take(clear)[..., 0] > 60)
    assert np.ptp(rows) + 1 == 20


@pytest.mark.parametrize("size", [(1, 1), (28, 28), (3, 500)])
def test_empty_paper_of_any_size_is_empty(size):
    assert not Form.measured(drawn()).take(Image.new("L", size, 255)).any()


def test_pictures_without_paper_are_left_as_they_are():
    images = np.random.default_rng(0).integers(0, 256, (200, 12, 12, 1), dtype=np.uint8)
    images[::2, [0, -1]] = images[::2, :, [0, -1]] = 255
    images[1::2, [0, -1]] = images[1::2, :, [0, -1]] = 0
    form = Form.measured(images)
    assert form.is_light_on_dark is None and form.box is None
    for image in images[:10]:
        assert (form.take(Image.fromarray(image[..., 0])) == image).all()


def test_colour_is_kept_where_the_images_have_it():
    taken = Form((8, 8, 3), None, False).take(Image.new("RGB", (40, 40), (10, 200, 30)))
    assert taken.shape == (8, 8, 3) and (taken == (10, 200, 30)).all()


def test_files_folders_and_tables_are_read(dataset, own_competition, tmp_path, scan):
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in ("b.png", "a.jpg"):
        scan.save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    found = list(read([folder, own_competition / "test.csv", own_competition / "train.csv"], dataset.images))
    assert [path.name for path, _ in found] == ["a.jpg", "b.png", "test.csv", "train.csv"]
    assert (found[2][1] == dataset.test_images).all() and (found[3][1] == dataset.images).all()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("broken.png", b"\x89PNG\r\n\x1a\nxxx", "no picture that can be read"),
        ("empty.jpg", b"", "no picture that can be read"),
        ("few.csv", b"pixel0,pixel1\n1,2\n", "has 2 columns of pixels; images of 16x16x1 have 256"),
        ("gone.png", None, "is missing"),
        ("gone.csv", None, "is missing"),
    ],
)
def test_what_cannot_be_read_is_named(name, content, message, dataset, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(Problem, match=f"{name}.*{message}"):
        list(read([tmp_path / name], dataset.images))


def test_sixteen_bits_become_eight_and_more_are_refused(tmp_path):
    grey = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    Image.fromarray(grey).save(tmp_path / "deep.png")
    assert (np.asarray(opened(tmp_path / "deep.png")).ravel() == np.arange(256)).all()
    Image.fromarray(grey.astype(np.float32)).save(tmp_path / "deeper.tif")
    with pytest.raises(Problem, match=r"deeper\.tif has brightnesses of 32 bits; save it with 8 or 16"):
        opened(tmp_path / "deeper.tif")


def test_what_is_transparent_is_white_in_colours_and_in_grey(tmp_path):
    clear = np.zeros((4, 4, 4), dtype=np.uint8)
    clear[:2, :, 3] = 255  # black above, nothing below
    Image.fromarray(clear).save(tmp_path / "colours.png")
    Image.fromarray(clear[..., 2:]).save(tmp_path / "grey.png")
    for name, mode in (("colours", "RGB"), ("grey", "L")):
        picture = opened(tmp_path / f"{name}.png")
        assert picture.mode == mode and (np.asarray(picture)[:2] == 0).all() and (np.asarray(picture)[2:] == 255).all()
