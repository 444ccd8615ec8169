"""Model versions on disk."""

import hashlib
from pathlib import Path

import pytest
from app_inference.errors import ModelRejected, ModelUnavailable
from app_inference.inference.model import ports
from app_inference.models.repository import Repository, StoredModel, load_manifest, stored_model
from edgex_kit.wire.errors import NotFound

MANIFEST = "schema: vision.model/1\nname: {name}\nversion: {version}\ntype: yolox\n"


def place(root: Path, name: str, version: str, *, file: str = "model.onnx", manifest: str | None = MANIFEST) -> Path:
    folder = root / name / version
    folder.mkdir(parents=True)
    (folder / file).write_bytes(f"{name} {version}".encode())
    if manifest is not None:
        (folder / "manifest.yaml").write_text(manifest.format(name=name, version=version))
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    root = tmp_path / "models"
    for version in ("1.2.0", "1.10.0", "1.9.9", "2.0.0-rc.1"):
        place(root, "yolox", version)
    place(root, "faces", "0.1.0", manifest=None)
    (root / "empty").mkdir()
    (root / "yolox" / "not-a-version").mkdir()
    (root / "README").write_text("hello")
    return Repository(root)


def test_models_and_versions_are_listed_the_newest_first(repository: Repository) -> None:
    assert repository.names() == ["faces", "yolox"]
    assert repository.versions("yolox") == ["2.0.0-rc.1", "1.10.0", "1.9.9", "1.2.0"]
    assert repository.versions("nobody") == []


def test_the_newest_is_no_prerelease_unless_there_is_nothing_else(repository: Repository) -> None:
    assert repository.newest("yolox").version == "1.10.0"
    place(repository.root, "fresh", "1.0.0-rc.1")
    assert repository.newest("fresh").version == "1.0.0-rc.1"


def test_no_folder_is_an_empty_repository(tmp_path: Path) -> None:
    assert Repository(tmp_path / "nowhere").names() == []


@pytest.mark.parametrize(
    ("wanted", "name", "version"),
    [
        ("yolox", "yolox", "1.10.0"),
        ("yolox@1.2.0", "yolox", "1.2.0"),
        ("yolox@2.0.0-rc.1", "yolox", "2.0.0-rc.1"),
        ("{root}/yolox", "yolox", "1.10.0"),
        ("{root}/yolox/", "yolox", "1.10.0"),
        ("{root}/yolox/1.2.0", "yolox", "1.2.0"),
        ("{root}/yolox/1.2.0/model.onnx", "yolox", "1.2.0"),
        ("{root}/faces/0.1.0", "faces", "0.1.0"),
        ("faces", "faces", "0.1.0"),
    ],
)
def test_what_a_user_names_is_found(repository: Repository, wanted: str, name: str, version: str) -> None:
    found = repository.find(wanted.format(root=repository.root))
    assert (found.name, found.version) == (name, version)
    assert found.path.name == "model.onnx"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("nobody", r"no model 'nobody' in .*; there are faces, yolox"),
        ("yolox@9.9.9", r"no version '9.9.9' of model 'yolox' in .*; there are 2.0.0-rc.1, 1.10.0"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(repository: Repository, wanted: str, said: str) -> None:
    with pytest.raises(NotFound, match=said):
        repository.find(wanted)


@pytest.mark.parametrize("wanted", ["gone.onnx", "./nowhere/model", "/no/such/folder"])
def test_a_path_that_leads_nowhere_is_unavailable(repository: Repository, wanted: str) -> None:
    with pytest.raises(ModelUnavailable, match="no such file or folder"):
        repository.find(wanted)


def test_a_single_file_is_a_model_of_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "detector.tflite").write_bytes(b"x")
    found = stored_model(tmp_path / "detector.tflite")
    assert (found.name, found.version, found.manifest) == ("detector", "0.0.0", None)


def test_a_link_to_a_model_goes_with_the_manifest_beside_the_link(tmp_path: Path) -> None:
    (tmp_path / "blob.onnx").write_bytes(b"x")
    folder = tmp_path / "linked"
    folder.mkdir()
    (folder / "model.onnx").symlink_to(tmp_path / "blob.onnx")
    (folder / "manifest.yaml").write_text(MANIFEST.format(name="linked", version="3.0.0"))
    assert stored_model(folder / "model.onnx").version == "3.0.0"


def test_a_file_of_another_kind_is_refused_with_the_kinds_we_read(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"x")
    with pytest.raises(ModelRejected, match=r"model.pt: suffix '.pt' is none of .xml, .onnx, .tflite, .pb, .pdmodel"):
        stored_model(tmp_path / "model.pt")


def test_a_folder_without_a_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="no model in this folder"):
        stored_model(tmp_path)


def test_a_folder_with_several_models_wants_one_called_model(tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ModelRejected, match=r"2 models \(a.onnx, b.onnx\); name one `model`"):
        stored_model(tmp_path)
    (tmp_path / "model.xml").write_bytes(b"x")
    assert stored_model(tmp_path).path.name == "model.xml"


def test_a_saved_model_is_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "net" / "1.0.0"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"index")
    found = stored_model(folder)
    assert found.path == folder
    assert (found.name, found.version) == ("net", "1.0.0")
    assert len(found.files()) == 2


def test_labels_are_read_from_their_file(tmp_path: Path) -> None:
    folder = place(tmp_path, "yolox", "1.0.0", manifest=MANIFEST + "labels_file: labels.txt\n")
    with pytest.raises(ModelUnavailable, match=r"labels.txt: No such file"):
        stored_model(folder)
    (folder / "labels.txt").write_text("person\ntraffic light\n")
    manifest = stored_model(folder).manifest
    assert manifest is not None
    assert manifest.labels == ["person", "traffic light"]
    (folder / "labels.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ModelRejected, match="not UTF-8"):
        stored_model(folder)


def test_the_digest_of_one_file_is_its_sha256(tmp_path: Path) -> None:
    folder = place(tmp_path, "yolox", "1.0.0")
    assert stored_model(folder).digest() == hashlib.sha256(b"yolox 1.0.0").hexdigest()


def test_the_digest_covers_the_weights_beside_the_graph(tmp_path: Path) -> None:
    (tmp_path / "model.xml").write_bytes(b"graph")
    alone = stored_model(tmp_path).digest()
    (tmp_path / "model.bin").write_bytes(b"weights")
    both = stored_model(tmp_path).digest()
    (tmp_path / "model.bin").write_bytes(b"Weights")
    assert len({alone, both, stored_model(tmp_path).digest()}) == 3
    (tmp_path / "model.bin").write_bytes(b"weights")
    (tmp_path / "manifest.yaml").write_text(MANIFEST.format(name="m", version="1.0.0"))
    assert stored_model(tmp_path).digest() == both


def listed(data: bytes, **change: object) -> str:
    facts = {"name": "model.onnx", "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), **change}
    return MANIFEST + "files:\n  - {{" + ", ".join(f"{key}: {value}" for key, value in facts.items()) + "}}\n"


def test_files_that_are_as_listed_pass(tmp_path: Path) -> None:
    stored_model(place(tmp_path, "yolox", "1.0.0", manifest=listed(b"yolox 1.0.0"))).check_files()


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"sha256": "f" * 64}, ModelRejected, r"model.onnx: sha256 is .*…, manifest.yaml says ffffffffffff…"),
        ({"size": 12}, ModelRejected, r"model.onnx: 11 bytes, manifest.yaml says 12"),
        ({"name": "weights.bin"}, ModelUnavailable, r"weights.bin: listed in manifest.yaml, but there is no such file"),
    ],
)
def test_files_that_are_not_as_listed_are_refused(
    tmp_path: Path, change: dict[str, object], error: type[Exception], said: str
) -> None:
    stored: StoredModel = stored_model(place(tmp_path, "yolox", "1.0.0", manifest=listed(b"yolox 1.0.0", **change)))
    with pytest.raises(error, match=said):
        stored.check_files()


def test_the_manifest_that_comes_with_us_is_sound() -> None:
    root = Path(__file__).resolve().parents[3] / "models"
    for path in sorted(root.glob("*/*/manifest.yaml")):
        manifest, _ = load_manifest(path)
        assert path.parent.name == manifest.version
        assert path.parent.parent.name == manifest.name
        assert manifest.license
        assert all(file.source for file in manifest.files)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("net.onnx", b"", "net.onnx: the file is empty"),
        ("net.tflite", b"\0" * 64, "net.tflite: no TFLite file: it lacks the mark TFL3"),
        ("net.xml", b"<xml>", "net.xml: no OpenVINO IR"),
    ],
)
def test_a_file_of_another_kind_is_named_with_what_it_lacks(
    tmp_path: Path, name: str, data: bytes, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ModelRejected, match=said):
        ports(stored_model(tmp_path / name))
    assert capfd.readouterr() == ("", "")  # OpenVINO's readers were not asked


@pytest.mark.parametrize(
    ("name", "data"), [("net.tflite", b"\x1c\0\0\0TFL3"), ("net.xml", b"<?xml?><net>"), ("n.pb", b"x")]
)
def test_what_could_be_one_is_left_to_openvino(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    stored_model(tmp_path / name).check_present()


@pytest.mark.fault(14)
def test_a_file_that_is_read_and_not_listed_is_refused(tmp_path: Path) -> None:
    folder = place(tmp_path, "yolox", "1.0.0", file="model.xml", manifest=listed(b"yolox 1.0.0", name="model.xml"))
    (folder / "model.xml").write_bytes(b"<net>      ")
    sha256 = hashlib.sha256(b"<net>      ").hexdigest()
    text = (folder / "manifest.yaml").read_text()
    (folder / "manifest.yaml").write_text(text.replace(hashlib.sha256(b"yolox 1.0.0").hexdigest(), sha256))
    stored_model(folder).verified_digest()
    (folder / "model.bin").write_bytes(b"weights")
    with pytest.raises(ModelRejected, match=r"model\.bin not listed"):
        stored_model(folder).verified_digest()


@pytest.mark.fault(14)
def test_digests_may_be_required_of_every_file(tmp_path: Path) -> None:
    strict = Repository(tmp_path, requires_digests=True)
    place(tmp_path, "bare", "1.0.0", manifest=None)
    place(tmp_path, "unlisted", "1.0.0")
    place(tmp_path, "whole", "1.0.0", manifest=listed(b"whole 1.0.0"))
    labelled = place(tmp_path, "labelled", "1.0.0", manifest=listed(b"labelled 1.0.0") + "labels_file: labels.txt\n")
    (labelled / "labels.txt").write_text("a\n")
    assert strict.find("whole").verified_digest()
    for name in ("bare", "unlisted", "labelled"):
        with pytest.raises(ModelRejected, match=r"Inference\.RequireDigests"):
            strict.find(name).verified_digest()
        assert Repository(tmp_path).find(name).verified_digest()


@pytest.mark.fault(18)
def test_a_labels_file_that_is_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = place(tmp_path / "models", "yolox", "1.0.0", manifest=MANIFEST + "labels_file: labels.txt\n")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "labels.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(ModelRejected, match="a link out of"):
        stored_model(folder)


@pytest.mark.fault(23)
def test_a_byte_order_mark_is_no_part_of_a_label(tmp_path: Path) -> None:
    folder = place(tmp_path, "yolox", "1.0.0", manifest="\ufeff" + MANIFEST + "labels_file: labels.txt\n")
    (folder / "labels.txt").write_bytes(b"\xef\xbb\xbfperson\r\ncar\r\n")
    manifest = stored_model(folder).manifest
    assert manifest is not None
    assert manifest.labels == ["person", "car"]
