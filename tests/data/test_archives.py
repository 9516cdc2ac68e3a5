import gzip
import io
import shutil
import tarfile
import zipfile
from collections import namedtuple

import pytest
from miniatures import seven_zip_folder, zip_files

from competition.data import archives
from competition.data.archives import unpack_archives
from competition.errors import UserError

TABLE, IMAGE = b"id,label\n1,0\n", b"\x89PNG"


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def encrypted(data: bytes) -> bytes:
    """Set the flag of encryption in the headers of a zip archive with one file."""
    data = bytearray(data)
    data[data.index(b"PK\x03\x04") + 6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def misplaced(data: bytes) -> bytes:
    """Move the directory of a zip archive: the position of its file is then before the beginning."""
    end = data.index(b"PK\x05\x06")
    directory = int.from_bytes(data[end + 16 : end + 20], "little") + 1000
    return data[: end + 16] + directory.to_bytes(4, "little") + data[end + 20 :]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"train.csv": TABLE, "train/1.png": IMAGE}, ["train.csv", "train/1.png"]),
        (
            {"x.csv": TABLE, "train.zip": zip_files({"1.png": IMAGE, "2.png": IMAGE})},
            ["train/1.png", "train/2.png", "x.csv"],
        ),
        ({"x.csv": TABLE, "train.zip": zip_files({"train/1.png": IMAGE})}, ["train/1.png", "x.csv"]),
        ({"train.zip": zip_files({"cat/1.png": IMAGE, "dog/1.png": IMAGE})}, ["train/cat/1.png", "train/dog/1.png"]),
        ({"train.csv.zip": zip_files({"train.csv": TABLE})}, ["train.csv"]),
        ({"x.csv": TABLE, "__MACOSX/._x.csv": b"", "notes.txt": b"", "scan.dcm": b""}, ["x.csv"]),
    ],
)
def test_archives_are_unpacked_as_by_hand(content, expected, tmp_path):
    (tmp_path / "all.zip").write_bytes(zip_files(content))
    ignored = unpack_archives(tmp_path)
    assert names(tmp_path) == ["all.zip", *expected]
    assert ignored[".dcm"] == ("scan.dcm" in content)


def test_a_7z_archive_is_unpacked(tmp_path):
    (tmp_path / "train.7z").write_bytes(seven_zip_folder("train", {"1.png": IMAGE}))
    unpack_archives(tmp_path)
    assert (tmp_path / "train" / "1.png").read_bytes() == IMAGE


def test_existing_files_are_kept(tmp_path):
    (tmp_path / "all.zip").write_bytes(zip_files({"train.csv": TABLE, "train/1.png": IMAGE, "train/2.png": IMAGE}))
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "1.png").write_bytes(b"mine")
    unpack_archives(tmp_path)
    assert (tmp_path / "train" / "1.png").read_bytes() == b"mine"
    assert names(tmp_path) == ["all.zip", "train.csv", "train/1.png", "train/2.png"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zip_files({"train.csv": TABLE, "../outside.csv": TABLE}), r"contains '\.\./outside\.csv', which leads out"),
        (zip_files({"train.csv": TABLE, "/etc/outside.csv": TABLE}), "which leads out of its folder"),
        (zip_files({"train.csv": TABLE, "a\\..\\..\\outside.csv": TABLE}), "which leads out of its folder"),
        (encrypted(zip_files({"train.csv": TABLE})), r"all\.zip is encrypted; unpack it by hand"),
        (zip_files({"train.csv": TABLE})[:-30], r"cannot unpack .*all\.zip: .*download it again"),
        (misplaced(zip_files({"train.csv": TABLE})), r"cannot unpack .*all\.zip: "),
        (zip_files({"x.csv": TABLE, "train.zip": b"PK\x03\x04 cut off"}), r"cannot unpack .*all\.zip/train\.zip: "),
    ],
)
def test_dangerous_and_damaged_archives_are_refused_and_nothing_is_written(content, message, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "all.zip").write_bytes(content)
    with pytest.raises(UserError, match=message):
        unpack_archives(folder)
    assert names(tmp_path) == ["data/all.zip"]


def test_archives_nested_too_deeply_are_refused(tmp_path):
    content = zip_files({"train.csv": TABLE})
    for _ in range(archives.MAX_DEPTH):
        content = zip_files({"inner.zip": content})
    (tmp_path / "all.zip").write_bytes(content)
    with pytest.raises(UserError, match="nested more than"):
        unpack_archives(tmp_path)
    assert names(tmp_path) == ["all.zip"]


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MIN_BOMB_BYTES", 2**20)
    (tmp_path / "all.zip").write_bytes(zip_files({"train.csv": bytes(2**22)}))
    with pytest.raises(UserError, match=r"would grow from 0\.0 MB to 0\.0 GB, as a zip bomb does"):
        unpack_archives(tmp_path)
    assert names(tmp_path) == ["all.zip"]


@pytest.mark.parametrize("wrap", [lambda content: {"train.csv.gz": content}, None])
def test_a_gzip_bomb_is_refused_while_it_is_unpacked(wrap, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MIN_BOMB_BYTES", 2**20)
    content = gzip.compress(bytes(2**24))
    file = tmp_path / ("all.zip" if wrap else "train.csv.gz")
    file.write_bytes(zip_files(wrap(content)) if wrap else content)
    with pytest.raises(UserError, match=r"train\.csv\.gz would grow from 0\.0 MB to 0\.0 GB, as a zip bomb does"):
        unpack_archives(tmp_path)
    assert names(tmp_path) == [file.name]


def test_a_gzip_file_that_does_not_fit_on_the_disk_is_refused(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2**22, 2**21, 2**21))
    (tmp_path / "train.csv.gz").write_bytes(gzip.compress(TABLE * 2**18))
    with pytest.raises(UserError, match=r"train\.csv\.gz needs 0\.0 GB unpacked, but its disk has only 0\.0 GB"):
        unpack_archives(tmp_path)
    assert names(tmp_path) == ["train.csv.gz"]
    (tmp_path / "train.csv.gz").write_bytes(gzip.compress(TABLE))
    unpack_archives(tmp_path)
    assert (tmp_path / "train.csv").read_bytes() == TABLE


def test_a_file_that_claims_to_be_smaller_than_it_is_does_not_fill_the_disk(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train.csv", bytes(2**20))
    data, size = bytearray(buffer.getvalue()), (2**20).to_bytes(4, "little")
    claimed = data.replace(size, (100).to_bytes(4, "little"))
    (tmp_path / "all.zip").write_bytes(claimed)
    with pytest.raises(UserError, match="cannot unpack"):
        unpack_archives(tmp_path)
    assert names(tmp_path) == ["all.zip"]


def test_the_free_space_is_checked_first(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1000, 990, 10))
    (tmp_path / "all.zip").write_bytes(zip_files({"train.csv": TABLE}))
    with pytest.raises(UserError, match=r"needs 0\.0 GB unpacked, but its disk has only 0\.0 GB; free some space"):
        unpack_archives(tmp_path)


def test_a_compressed_file_that_is_neither_table_nor_image_is_ignored(tmp_path):
    (tmp_path / "notes.txt.gz").write_bytes(gzip.compress(b"content"))
    assert unpack_archives(tmp_path) == {".txt": 1}
    assert names(tmp_path) == ["notes.txt.gz"]


@pytest.mark.parametrize(("name", "mode"), [("all.tar", "w"), ("all.tar.gz", "w:gz"), ("all.tgz", "w:gz")])
def test_tar_archives_are_unpacked(name, mode, tmp_path):
    with tarfile.open(tmp_path / name, mode) as archive:
        for path, content in {"train.csv": TABLE, "train/1.png": IMAGE, "train/.hidden": b""}.items():
            info = tarfile.TarInfo(path)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("train/2.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    unpack_archives(tmp_path)
    assert names(tmp_path) == [name, "train.csv", "train/1.png"]


def test_a_tar_archive_is_not_unpacked_outside_of_its_folder(tmp_path):
    with tarfile.open(tmp_path / "all.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("../train.csv"))
    with pytest.raises(UserError, match="leads out of its folder"):
        unpack_archives(tmp_path)
