"""New versions come into the repository."""

import hashlib
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_inference.errors import ModelRejected, ModelUnavailable, NoRoom
from app_inference.models.importer import Wanted, add, model_folder
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
