"""Archives that mean harm, and those that do not."""

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from app_inference.errors import ModelRejected
from app_inference.models.archives import is_archive, unpack

LIMIT = 1_000_000
FILES = {"net/model.xml": b"<net/>", "net/model.bin": b"\x00" * 5000}


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, files: dict[str, bytes], mode: str = "w", extra: tarfile.TarInfo | None = None) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        if extra is not None:
            archive.addfile(extra)
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "inner" / "target"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"])
def test_what_is_in_an_archive_comes_out(tmp_path: Path, target: Path, suffix: str) -> None:
    path = tmp_path / f"net{suffix}"
    if suffix == ".zip":
        zipped(path, {"net/": b"", **FILES})
    else:
        tarred(path, FILES, "w:" + {".tar": "", ".tgz": "gz"}.get(suffix, suffix.rpartition(".")[2]))
    seen: list[int] = []
    assert is_archive(path)
    unpack(path, target, LIMIT, seen.append)
    assert tree(target) == FILES
    assert sum(seen) == sum(map(len, FILES.values()))


@pytest.mark.parametrize(
    "name", ["../escape.xml", "/etc/escape.xml", "net/../../escape.xml", "..\\escape.xml", "net/..", "C:\\escape.xml"]
)
@pytest.mark.parametrize("write", [zipped, tarred])
def test_no_file_leaves_its_folder(tmp_path: Path, target: Path, name: str, write: Callable[..., Path]) -> None:
    archive = write(tmp_path / ("a.zip" if write is zipped else "a.tar"), {name: b"harm"})
    with pytest.raises(ModelRejected, match="lies outside the archive's folder"):
        unpack(archive, target, LIMIT)
    assert not list(tmp_path.rglob("*escape*"))


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        (special("model.xml", tarfile.SYMTYPE, "/etc/passwd"), "symbolic link"),
        (special("model.xml", tarfile.SYMTYPE, "net/model.bin"), "link inside"),
        (special("model.xml", tarfile.LNKTYPE, "net/model.bin"), "hard link"),
        (special("model.xml", tarfile.CHRTYPE), "character device"),
        (special("model.xml", tarfile.BLKTYPE), "block device"),
        (special("model.xml", tarfile.FIFOTYPE), "pipe"),
    ],
)
def test_links_and_devices_are_refused(tmp_path: Path, target: Path, entry: tarfile.TarInfo, what: str) -> None:
    archive = tarred(tmp_path / "a.tar", FILES, extra=entry)
    with pytest.raises(ModelRejected, match=r"'model.xml' is a link, a device or sparse"):
        unpack(archive, target, LIMIT)
    assert not (target / "model.xml").exists(), what


def test_a_link_in_a_zip_is_refused(tmp_path: Path, target: Path) -> None:
    entry = zipfile.ZipInfo("model.xml")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(ModelRejected, match=r"'model.xml' is a link or a device"):
        unpack(tmp_path / "a.zip", target, LIMIT)


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz", ".tar.xz"])
def test_a_bomb_stops_at_the_limit(tmp_path: Path, target: Path, suffix: str) -> None:
    files = {"a": b"\0" * 600_000, "b": b"\0" * 600_000}
    path = tmp_path / f"bomb{suffix}"
    if suffix == ".zip":
        zipped(path, files)
    else:
        tarred(path, files, f"w:{suffix.rpartition('.')[2]}")
    assert path.stat().st_size < 10_000
    with pytest.raises(ModelRejected, match="unpacks to more than 1 MB"):
        unpack(path, target, LIMIT)
    assert sum(map(len, tree(target).values())) <= LIMIT


def test_a_zip_that_lies_about_a_size_stops_there(tmp_path: Path, target: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a": b"\0" * 2_000_000})
    data = path.read_bytes().replace((2_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    path.write_bytes(data)
    with pytest.raises(ModelRejected):
        unpack(path, target, LIMIT)
    assert sum(map(len, tree(target).values())) <= LIMIT


def test_more_files_than_any_model_has_are_refused(tmp_path: Path, target: Path) -> None:
    archive = tarred(tmp_path / "a.tar", {f"{number}/": b"" for number in range(10_001)})
    with pytest.raises(ModelRejected, match="more than 10000 files"):
        unpack(archive, target, LIMIT)


def test_two_entries_of_one_name_are_refused(tmp_path: Path, target: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("model.xml", "good")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("model.xml", "bad")
    with pytest.raises(ModelRejected, match=r"two entries want to be 'model.xml'"):
        unpack(tmp_path / "a.zip", target, LIMIT)
    with pytest.raises(ModelRejected, match="two entries want to be"):
        unpack(tarred(tmp_path / "b.tar", {"net": b"a file", "net/model.xml": b"below it"}), target, LIMIT)


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz"])
@pytest.mark.parametrize("data", [b"", b"this is no archive at all", b"PK\x03\x04 nor this", b"BZh9 nor this"])
def test_what_is_no_archive_is_refused(tmp_path: Path, target: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ModelRejected, match="damaged"):
        unpack(tmp_path / name, target, LIMIT)


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz", ".tar.bz2", ".tar.xz"])
def test_a_cut_archive_is_refused(tmp_path: Path, target: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    noise = {"model.bin": bytes(range(256)) * 1000}
    whole = zipped(path, noise) if suffix == ".zip" else tarred(path, noise, f"w:{suffix.rpartition('.')[2]}")
    data = whole.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelRejected, match="damaged"):
        unpack(path, target, LIMIT)
