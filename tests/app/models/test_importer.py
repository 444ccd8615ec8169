"""New versions come into the repository."""

import hashlib
import io
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_inference.errors import ModelRejected, ModelUnavailable, NoRoom
from app_inference.models.importer import Wanted, add, model_folder, unpack
from app_inference.models.repository import Repository, StoredModel
from edgex_kit.wire.errors import Conflict, Invalid

BuildModel = Callable[..., Path]

MANIFEST = "schema: vision.model/1\nname: net\nversion: 2.0.0\ntype: classification\nlicense: MIT\n"


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "models")


def everything(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*")) if root.exists() else []


@pytest.mark.goal(28)
def test_a_file_comes_with_its_weights_and_gets_a_manifest(
    build_mean_color: BuildModel, repository: Repository, tmp_path: Path
) -> None:
    path = build_mean_color(name="source/shop-floor")
    (path.parent / "notes.txt").write_text("not part of the model")
    seen: list[int] = []
    stored = add(repository, Wanted(path, type="classification", license="MIT"), progress=seen.append)
    assert (stored.name, stored.version) == ("shop-floor", "1.0.0")
    assert names(stored.folder) == ["manifest.yaml", "shop-floor.bin", "shop-floor.xml"]
    assert stored.manifest is not None
    listed = {file.name: (file.sha256, file.size) for file in stored.manifest.files}
    for name, (sha256, size) in listed.items():
        data = (path.parent / name).read_bytes()
        assert (sha256, size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert sum(seen) == sum(size for _, size in listed.values())
    assert (stored.manifest.type, stored.manifest.license) == ("classification", "MIT")


def test_a_folder_comes_as_it_is_without_links_out_of_it(
    build_mean_color: BuildModel, repository: Repository, tmp_path: Path
) -> None:
    folder = build_mean_color(name="press/model").parent
    (folder / "docs").mkdir()
    (folder / "docs" / "card.md").write_text("a model card")
    stored = add(repository, Wanted(folder))
    assert (stored.name, stored.version) == ("press", "1.0.0")
    assert [file.name for file in (stored.manifest.files if stored.manifest else [])] == [
        "docs/card.md", "model.bin", "model.xml",
    ]  # fmt: skip
    secret = tmp_path / "secret"
    secret.write_text("x")
    (folder / "labels.txt").symlink_to(secret)
    with pytest.raises(ModelRejected, match=r"labels.txt: no plain file, or a link out of the folder"):
        add(repository, Wanted(folder, version="1.1.0"))
    assert repository.versions("press") == ["1.0.0"]


@pytest.mark.parametrize("kind", ["zip", "gztar"])
@pytest.mark.parametrize("depth", ["", "net_openvino_model", "deployment/Detection/model"])
def test_an_archive_is_opened_down_to_its_model(
    build_mean_color: BuildModel, repository: Repository, tmp_path: Path, kind: str, depth: str
) -> None:
    build_mean_color(name=str(Path("packed") / depth / "model"))
    (tmp_path / "packed" / "README").write_text("unpack me")
    archive = shutil.make_archive(str(tmp_path / "gauge_openvino_model"), kind, tmp_path / "packed")
    stored = add(repository, Wanted(Path(archive), version="1.2.3"))
    assert (stored.name, stored.version) == ("gauge", "1.2.3")
    assert {"model.bin", "model.xml", "manifest.yaml"} <= set(names(stored.folder))
    assert everything(repository.root)[:2] == ["gauge", "gauge/1.2.3"]


def test_what_the_manifest_says_is_not_rewritten(
    build_mean_color: BuildModel, repository: Repository, tmp_path: Path
) -> None:
    folder = build_mean_color(name="source/model").parent
    (folder / "manifest.yaml").write_text(MANIFEST)
    with pytest.raises(Conflict, match=r"manifest.yaml says 2.0.0, 3.0.0 is asked for; a manifest is not rewritten"):
        add(repository, Wanted(folder, version="3.0.0"))
    stored = add(repository, Wanted(folder))
    assert (stored.name, stored.version) == ("net", "2.0.0")
    whole = (stored.folder / "manifest.yaml").read_bytes()
    again = add(Repository(tmp_path / "other"), Wanted(stored.folder))
    assert (again.folder / "manifest.yaml").read_bytes() == whole  # signatures are over bytes


@pytest.mark.goal(28)
def test_a_file_that_is_not_as_listed_stays_out(build_mean_color: BuildModel, repository: Repository) -> None:
    folder = build_mean_color(name="source/model").parent
    files = f"files:\n- {{name: model.xml, size: {(folder / 'model.xml').stat().st_size}, sha256: {'f' * 64}}}\n"
    (folder / "manifest.yaml").write_text(MANIFEST + files)
    with pytest.raises(ModelRejected, match=r"model.xml: sha256 is .*, manifest.yaml says ffffffffffff…"):
        add(repository, Wanted(folder))
    assert everything(repository.root) == []


def test_a_version_is_never_replaced(build_mean_color: BuildModel, repository: Repository) -> None:
    path = build_mean_color(name="source/net")
    add(repository, Wanted(path))
    before = repository.newest("net").digest()
    build_mean_color("NHWC", name="source/net")
    with pytest.raises(Invalid, match=r"which version is it\? there are 1.0.0; say --version"):
        add(repository, Wanted(path))
    with pytest.raises(Conflict, match="a version never changes"):
        add(repository, Wanted(path, version="1.0.0"))
    assert repository.newest("net").digest() == before
    assert add(repository, Wanted(path, version="1.1.0")).digest() != before


def test_a_name_that_says_nothing_is_asked_for(build_mean_color: BuildModel, repository: Repository) -> None:
    path = build_mean_color(name="source/model")
    with pytest.raises(Invalid, match="what is the model to be called"):
        add(repository, Wanted(path))
    assert add(repository, Wanted(path, name="gauge")).name == "gauge"
    with pytest.raises(ModelRejected, match=r"what was asked for: .*\$\.name"):
        add(repository, Wanted(path, name="../gauge"))
    with pytest.raises(ModelRejected, match=r"version 'newest' is not of the form"):
        add(repository, Wanted(path, name="gauge", version="newest"))
    assert repository.names() == ["gauge"]


def test_a_refusal_at_the_last_moment_leaves_nothing(build_mean_color: BuildModel, repository: Repository) -> None:
    def refuse(_stored: object) -> tuple[()]:
        raise ModelRejected("it fails its self-test")

    with pytest.raises(ModelRejected, match="self-test"):
        add(repository, Wanted(build_mean_color(name="source/net")), refuse)
    assert everything(repository.root) == []


def test_a_disk_without_room_is_said_and_nothing_is_half_there(
    build_mean_color: BuildModel, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = build_mean_color(name="source/net")
    monkeypatch.setattr("app_inference.models.staging.RESERVE", 1 << 60)
    with pytest.raises(NoRoom, match="MB are needed"):
        add(repository, Wanted(path))
    with zipfile.ZipFile(path.parent / "net.zip", "w") as archive:
        archive.write(path, "net.xml")
    with pytest.raises(NoRoom, match="MB are needed"):
        add(repository, Wanted(path.parent / "net.zip"))
    assert everything(repository.root) == []


def test_an_archive_with_two_models_wants_one(repository: Repository, tmp_path: Path) -> None:
    archive = tmp_path / "two.tar"
    with tarfile.open(archive, "w") as packed:
        for name in ("a", "b"):
            (tmp_path / "model.onnx").write_bytes(name.encode())
            packed.add(tmp_path / "model.onnx", f"{name}/model.onnx")
    with pytest.raises(ModelRejected, match=r"two.tar: models in a, b; name one"):
        add(repository, Wanted(archive))
    assert everything(repository.root) == []


def test_a_refusal_names_the_file_as_it_was_given_also_into_a_folder_beside_us(
    build_mean_color: BuildModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = build_mean_color()

    def look(stored: StoredModel) -> list[Any]:
        raise ModelRejected(f"{stored.path}: it is upside down")

    with pytest.raises(ModelRejected) as refused:
        add(Repository(Path("models")), Wanted(source, "meter"), look)
    assert str(refused.value) == f"{source}: it is upside down"


def test_what_is_not_there_is_said(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="no such file or folder"):
        add(repository, Wanted(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    assert model_folder(tmp_path / "empty") == tmp_path / "empty"
    with pytest.raises(ModelUnavailable, match="no model in this folder"):
        add(repository, Wanted(tmp_path / "empty"))


def test_a_manifests_own_files_come_with_a_single_file(build_saying: BuildModel, repository: Repository) -> None:
    path = build_saying({"o": np.zeros((1, 2), np.float32)}, name="source/model")
    (path.parent / "manifest.yaml").write_text(MANIFEST + "labels_file: labels.txt\n")
    (path.parent / "labels.txt").write_text("a\nb\n")
    (path.parent / "other.onnx").write_text("another model")
    stored = add(repository, Wanted(path))
    assert names(stored.folder) == ["labels.txt", "manifest.yaml", "model.bin", "model.xml"]
    assert stored.manifest is not None
    assert stored.manifest.labels == ["a", "b"]


def test_what_is_on_its_way_in_is_no_version(repository: Repository) -> None:
    (repository.root / ".incoming-x" / "1").mkdir(parents=True)
    (repository.root / "net" / ".gone-1.0.0").mkdir(parents=True)
    assert repository.names() == []


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
    with pytest.raises(ModelRejected):
        unpack(tmp_path / "a.zip", target, LIMIT)
    with pytest.raises(ModelRejected):
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


@pytest.mark.fault(23)
@pytest.mark.parametrize("write", [zipped, tarred])
def test_what_desktops_leave_in_an_archive_is_ignored_and_a_backslash_is_a_folder(
    build_mean_color: BuildModel, tmp_path: Path, write: Callable[..., Path]
) -> None:
    path = build_mean_color(name="source/net")
    model = {"export\\net.xml": path.read_bytes(), "export/net.bin": path.with_suffix(".bin").read_bytes()}
    junk = dict.fromkeys(("__MACOSX/export/._net.xml", "export/._net.xml", ".git/x.onnx", "export/Thumbs.db"), b"junk")
    archive = write(tmp_path / ("net.zip" if write is zipped else "net.tar"), {**junk, **model})
    stored = add(Repository(tmp_path / "models"), Wanted(archive, type="classification"))
    assert names(stored.folder) == ["manifest.yaml", "net.bin", "net.xml"]
