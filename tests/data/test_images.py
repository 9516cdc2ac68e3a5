import numpy as np
import pytest
from PIL import ExifTags, Image

from competition.data.images import ImageFormat, open_image, read_images, read_size
from competition.errors import UserError


def draw_strokes(side=28, box=20, rows=500):
    """Strokes scaled to a box and centred by mass, light on dark, like MNIST."""
    random = np.random.default_rng(0)
    images = np.zeros((rows, side, side, 1), dtype=np.uint8)
    for image in images:
        width = int(random.integers(6, box))
        top, left = (side - box) // 2, (side - width) // 2
        image[top : top + box, left : left + width] = random.integers(150, 256)
    return images


def centre_of_mass(image):
    grey = image.astype(float).sum(axis=2)
    return [float(grey.sum(axis=1 - axis) @ np.arange(len(grey)) / grey.sum()) for axis in (0, 1)]


@pytest.fixture
def scan():
    """A dark, thick 1 on light paper, large and off-centre."""
    grey = np.full((300, 200), 235, dtype=np.uint8)
    grey[30:180, 120:150] = 20
    return Image.fromarray(grey)


def test_the_format_of_boxed_and_centred_images_is_inferred():
    assert ImageFormat.infer(draw_strokes()) == ImageFormat((28, 28, 1), 20, True)


def test_images_that_are_not_square_have_no_box(scan):
    wide = np.pad(draw_strokes(), ((0, 0), (0, 0), (2, 2), (0, 0)))
    image_format = ImageFormat.infer(wide)
    assert image_format.box is None and image_format.convert(scan).shape == wide.shape[1:]


def test_images_off_centre_have_no_box():
    random = np.random.default_rng(1)
    shifted = np.stack([np.roll(image, random.integers(-4, 5, 2), axis=(0, 1)) for image in draw_strokes()])
    assert ImageFormat.infer(shifted).box is None


def test_a_scan_is_converted_to_the_training_format(scan):
    image_format = ImageFormat.infer(draw_strokes())
    converted = image_format.convert(scan)
    assert converted.shape == (28, 28, 1) and converted.dtype == np.uint8
    assert centre_of_mass(converted) == pytest.approx([13.5, 13.5], abs=0.6)
    rows, columns = np.nonzero(converted[..., 0] > 60)
    assert np.ptp(rows) + 1 == 20 and np.ptp(columns) + 1 == 4
    assert converted[0, 0, 0] == 0 and converted.max() > 230


def test_a_negative_is_converted_to_the_same_image(scan):
    image_format = ImageFormat.infer(draw_strokes())
    negative = Image.eval(scan, lambda value: 255 - value)
    assert np.abs(image_format.convert(scan).astype(int) - image_format.convert(negative)).max() <= 3


def test_a_transparent_background_becomes_white(scan):
    image_format = ImageFormat.infer(draw_strokes())
    clear = scan.convert("RGBA")
    clear.putalpha(scan.point(lambda value: 255 if value < 100 else 0))
    rows, _ = np.nonzero(image_format.convert(clear)[..., 0] > 60)
    assert np.ptp(rows) + 1 == 20


@pytest.mark.parametrize("size", [(1, 1), (28, 28), (3, 500)])
def test_a_blank_image_of_any_size_is_converted_to_zeros(size):
    assert not ImageFormat.infer(draw_strokes()).convert(Image.new("L", size, 255)).any()


def test_images_without_background_are_unchanged():
    images = np.random.default_rng(0).integers(0, 256, (200, 12, 12, 1), dtype=np.uint8)
    images[::2, [0, -1]] = images[::2, :, [0, -1]] = 255
    images[1::2, [0, -1]] = images[1::2, :, [0, -1]] = 0
    image_format = ImageFormat.infer(images)
    assert image_format.is_light_on_dark is None and image_format.box is None
    for image in images[:10]:
        assert (image_format.convert(Image.fromarray(image[..., 0])) == image).all()


def test_colour_images_keep_their_colours():
    converted = ImageFormat((8, 8, 3), None, False).convert(Image.new("RGB", (40, 40), (10, 200, 30)))
    assert converted.shape == (8, 8, 3) and (converted == (10, 200, 30)).all()


def test_files_folders_and_tables_are_read(dataset, competition_copy, tmp_path, scan):
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in ("b.png", "a.jpg"):
        scan.save(folder / name)
    (folder / "notes.txt").write_text("not an image")
    (folder / "._a.jpg").write_bytes(b"of macOS")
    (folder / ".hidden").mkdir()
    scan.save(folder / ".hidden" / "c.png")
    results = list(read_images([folder, competition_copy / "test.csv", competition_copy / "train.csv"], dataset.images))
    assert [path.name for path, _ in results] == ["a.jpg", "b.png", "test.csv", "train.csv"]
    assert (results[2][1] == dataset.test_images).all() and (results[3][1] == dataset.images).all()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("broken.png", b"\x89PNG\r\n\x1a\nxxx", "cannot identify image file"),
        ("empty.jpg", b"", "cannot identify image file"),
        ("few.csv", b"pixel0,pixel1\n1,2\n", "has 2 pixel columns; expected 256, for images of 16x16x1"),
        (
            "photo.heic",
            b"\0\0\0 ftypheic",
            r"is neither an image \(.*\) nor a table \(\.csv\); convert it, e\.g\. to PNG",
        ),
        ("gone.png", None, "is missing"),
        ("gone.csv", None, "is missing"),
    ],
)
def test_an_unreadable_file_is_reported(name, content, message, dataset, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name}.*{message}"):
        list(read_images([tmp_path / name], dataset.images))


def test_16_bits_are_converted_to_8_and_32_rejected(tmp_path):
    grey = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    Image.fromarray(grey).save(tmp_path / "deep.png")
    assert (np.asarray(open_image(tmp_path / "deep.png")).ravel() == np.arange(256)).all()
    Image.fromarray(grey.astype(np.float32)).save(tmp_path / "deeper.tif")
    with pytest.raises(UserError, match=r"deeper\.tif: it has 32 bits per pixel; save it as 8- or 16-bit"):
        open_image(tmp_path / "deeper.tif")


def test_transparent_pixels_become_white_in_colour_and_grey(tmp_path):
    pixels = np.zeros((4, 4, 4), dtype=np.uint8)
    pixels[:2, :, 3] = 255  # black above, transparent below
    Image.fromarray(pixels).save(tmp_path / "colour.png")
    Image.fromarray(pixels[..., 2:]).save(tmp_path / "grey.png")
    for name, mode in (("colour", "RGB"), ("grey", "L")):
        image = open_image(tmp_path / f"{name}.png")
        assert image.mode == mode and (np.asarray(image)[:2] == 0).all() and (np.asarray(image)[2:] == 255).all()


@pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin")
def test_photographs_are_turned_as_their_orientation_says(tmp_path):
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :20] = 255  # the left third of what the camera has recorded
    image, exif = Image.fromarray(pixels), Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # to be turned clockwise
    for name in ("turned.jpg", "turned.png"):
        image.save(tmp_path / name, exif=exif)
        upright = np.asarray(open_image(tmp_path / name).convert("L"))
        assert upright.shape == (60, 40) and upright[:15].min() > 200 and upright[25:].max() < 50
    image.save(tmp_path / "turned.webp", exif=exif)
    image.save(tmp_path / "turned.mpo", "MPO", exif=exif, save_all=True, append_images=[image])
    (tmp_path / "turned.mpo").rename(tmp_path / "phone.jpg")
    for name in ("turned.jpg", "turned.webp", "phone.jpg"):
        assert read_size(tmp_path / name) == open_image(tmp_path / name).size == (40, 60), name
    image.save(tmp_path / "damaged.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert open_image(tmp_path / "damaged.jpg").size == read_size(tmp_path / "damaged.jpg") == (60, 40)
