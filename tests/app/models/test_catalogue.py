"""Public models by name, pulled with pip out of a package of our own making."""

import hashlib
import zipfile
from pathlib import Path

import pytest
from app_inference.errors import ModelRejected, ModelUnavailable
from app_inference.models.catalogue import Catalogue, Entry, catalogue, find, pull
from app_inference.models.manifest import File, parse_manifest
from app_inference.models.repository import Repository
from edgex_kit.wire.errors import NotFound

DATA = b"weights" * 1000
SOURCE = "pypi:tiny-vision-weights==1.5#tiny/data/net.onnx"
MANIFEST = f"""# ours
schema: vision.model/1
name: tiny
version: 1.5.0
type: yolox
files:
  - name: model.onnx
    size: {len(DATA)}
    sha256: {{sha256}}
    source: {SOURCE}
license: MIT
"""


@pytest.fixture(autouse=True)
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place pip may look in: a folder with one wheel, which asks for something that is not to be had."""
    folder = tmp_path / "index"
    folder.mkdir()
    metadata = "Metadata-Version: 2.1\nName: tiny-vision-weights\nVersion: 1.5\nRequires-Dist: not-to-be-had>=1\n"
    with zipfile.ZipFile(folder / "tiny_vision_weights-1.5-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("tiny/data/net.onnx", DATA)
        info = "tiny_vision_weights-1.5.dist-info"
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def entry(sha256: str = hashlib.sha256(DATA).hexdigest(), text: str = MANIFEST) -> Entry:
    written = text.format(sha256=sha256).encode()
    return Entry(parse_manifest(written), written)


def test_the_catalogue_names_size_licence_and_source_of_every_model() -> None:
    found = catalogue()
    assert {"pedestrian-ssdlite", "blazeface-front", "blazeface-back", "blazeface-full-range"} <= found.keys()
    for name, one in found.items():
        assert one.manifest.name == name
        assert one.manifest.license
        assert one.manifest.source
        assert one.size > 0
        assert all(file.source.startswith("pypi:") for file in one.manifest.files)


def test_what_the_catalogue_has_not_is_said_with_what_it_has() -> None:
    assert find("pedestrian-ssdlite").manifest.version == find("pedestrian-ssdlite@0.2.0").manifest.version
    with pytest.raises(NotFound, match=r"no 'yolo'; it has blazeface-back@0.6.0, "):
        find("yolo")
    with pytest.raises(NotFound, match=r"no 'pedestrian-ssdlite@9.9.9'"):
        find("pedestrian-ssdlite@9.9.9")


def test_a_model_is_pulled_whole_and_only_once(tmp_path: Path, index: Path) -> None:
    repository = Repository(tmp_path / "models")
    assert not Catalogue(repository).has(entry())
    stored = Catalogue(repository).install(entry())
    assert (stored.folder / "model.onnx").read_bytes() == DATA
    assert sorted(path.name for path in stored.folder.iterdir()) == ["manifest.yaml", "model.onnx"]
    assert sorted(path.name for path in repository.root.iterdir()) == ["tiny"]
    assert stored.listed_digest() == stored.digest()
    for wheel in index.iterdir():
        wheel.unlink()
    assert Catalogue(repository).install(entry()).folder == stored.folder  # nothing is asked for again


def test_a_damaged_or_outdated_version_is_replaced(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "models")
    path = Catalogue(repository).install(entry()).folder / "model.onnx"
    path.chmod(0o644)
    path.write_bytes(DATA[:-1])
    assert not Catalogue(repository).has(entry())
    assert Catalogue(repository).install(entry()).path.read_bytes() == DATA
    newer = entry(text=MANIFEST + "description: with words\n")
    assert not Catalogue(repository).has(newer)
    manifest = Catalogue(repository).install(newer).manifest
    assert manifest is not None
    assert manifest.description == "with words"


def test_a_manifest_whose_weights_are_missing_is_filled_up(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "tiny" / "1.5.0"
    folder.mkdir(parents=True)
    (folder / "manifest.yaml").write_bytes(entry().text)
    assert Catalogue(Repository(tmp_path / "models")).install(entry()).path.read_bytes() == DATA


def test_what_is_not_the_file_that_was_described_is_thrown_away(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "models")
    with pytest.raises(ModelRejected, match=r"net.onnx of .*whl is not the expected file: sha256 "):
        Catalogue(repository).install(entry(sha256="f" * 64))
    assert list(repository.root.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        ("pypi:tiny-vision-weights==1.5#tiny/data/other.onnx", ModelRejected, "holds no tiny/data/other.onnx"),
        ("pypi:tiny-vision-weights==1.6#x", ModelUnavailable, "tiny-vision-weights==1.6 cannot be had: "),
        ("https://example.org/net.onnx", ModelRejected, "is not of the form pypi:<package>==<version>#<path>"),
        ("pypi:tiny --index-url=x==1#x", ModelRejected, "is not of the form"),
    ],
)
def test_what_cannot_be_had_is_said(tmp_path: Path, source: str, error: type[Exception], said: str) -> None:
    wanted = File(name="net.onnx", size=len(DATA), sha256=hashlib.sha256(DATA).hexdigest(), source=source)
    with pytest.raises(error, match=said):
        pull(wanted, tmp_path / "out" / "net.onnx")
    assert not (tmp_path / "out" / "net.onnx").exists()


def test_an_index_that_does_not_answer_is_said_and_no_version_is_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.delenv("PIP_NO_INDEX", raising=False)
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    wanted = File(name="model.onnx", size=1, sha256="0" * 64, source="pypi:no-such-sample==1.0#model.onnx")
    with pytest.raises(ModelUnavailable, match="the package index does not answer"):
        pull(wanted, tmp_path / "model.onnx")
