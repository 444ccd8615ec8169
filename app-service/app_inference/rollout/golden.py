"""Golden pictures, whose result is recorded once and compared from then on, and the self-test before a version serves.

A version without golden pictures only has to answer: weights that are wrong and of the right shape pass that.

Schema `vision.golden/1`. Of the tolerance `t` (0..1, from the manifest): a score may differ by `t`, a joint by `t` of
the picture's longer side, an area by `t` of the picture, and of a class map's cells the share `t`. A box may differ so
far at a corner, or overlaps by an IoU of 1 - 10 t at least. An object whose score lies within `t` of the threshold may
be there or not. Where either side computed in less than FP32, `t` is at least what that precision changes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import msgspec
import numpy as np
from msgspec import Struct

from app_inference.errors import ImageBroken, InferenceFailed, ModelRejected, ModelUnavailable
from app_inference.inference.model import Model, Session
from app_inference.models.manifest import Golden
from app_inference.models.repository import StoredModel
from app_inference.rollout.timing import median_ms, noise
from app_inference.vision.detections import Anomaly, Classes, Detections, Instances, Keypoints, Result, Segmentation
from app_inference.vision.image import Image, image_from_bytes

SCHEMA: Literal["vision.golden/1"] = "vision.golden/1"
FOLDER = "golden"  # of a version
GRID = 24  # cells a side of a class map
# How much the scores of a sound model may change when it computes in less than FP32. A judgement with room to spare;
# BF16 could not be measured on the machines this was written on.
PRECISION_TOLERANCE = {"FP16": 0.02, "BF16": 0.06, "INT8": 0.06}
_IOU_OF_TOLERANCE = 10.0  # how much of the overlap a unit of the tolerance may cost
_LEAST_OVERLAP = 0.5  # of two boxes of one object, whatever the tolerance
_SURE_JOINT = 0.3  # joints that score less are nowhere in particular

Box = tuple[float, float, float, float]


class Object(Struct, rename="camel", frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """An object."""

    label: str
    score: float
    box: Box  # xyxy, pixels
    area: float = 0.0  # of its mask, 0..1 of the picture
    joints: tuple[tuple[float, float, float], ...] = ()  # x, y in pixels, score


class Share(Struct, rename="camel", frozen=True, forbid_unknown_fields=True):
    """A class of the whole picture: its probability, or the share it covers."""

    label: str
    score: float


class Expected(Struct, rename="camel", frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The whole output of a model for one picture."""

    schema: Literal["vision.golden/1"]
    task: str
    confidence: float  # the threshold it was recorded with
    objects: tuple[Object, ...] = ()
    classes: tuple[Share, ...] = ()
    cells: tuple[tuple[int, ...], ...] = ()  # of a class map: rows of class numbers
    anomaly_score: float | None = None
    precision: str = "FP32"  # that the model computed in

    @property
    def is_empty(self) -> bool:
        """Whether nothing was found: a model that finds nothing ever would pass, too."""
        return not self.objects and not self.classes and self.anomaly_score is None


def parse_expected(text: str | bytes, source: str) -> Expected:
    """The golden output in `text`; raises ModelRejected."""
    try:
        return msgspec.json.decode(text, type=Expected)
    except msgspec.MsgspecError as error:
        raise ModelRejected(f"{source}: {error}") from error


def expected_text(expected: Expected) -> str:
    """As `parse_expected` reads it, for people too."""
    return msgspec.json.format(msgspec.json.encode(expected), indent=1).decode() + "\n"


def expected_from(
    result: Result, labels: Sequence[str], task: str, confidence: float, precision: str = "FP32"
) -> Expected:
    """The expected output from a `result`."""
    said = Expected(schema=SCHEMA, task=task, confidence=confidence, precision=precision)
    if isinstance(result, Classes | Segmentation):
        scores = result.scores if isinstance(result, Classes) else result.areas
        pairs = zip(result.class_ids.tolist(), scores.tolist(), strict=True)
        shares = tuple(Share(_label(labels, number), round(score, 5)) for number, score in pairs)
        cells = _cells(result) if isinstance(result, Segmentation) else ()
        return msgspec.structs.replace(said, classes=shares, cells=cells)
    if isinstance(result, Anomaly):
        return msgspec.structs.replace(said, anomaly_score=round(float(result.score), 5))
    return msgspec.structs.replace(said, objects=tuple(_objects(result, labels)))


def complaint(wanted: Expected, found: Expected, side: float, tolerance: float) -> str:
    """How `found` differs from `wanted` by more than the tolerance, in words; empty when it does not.

    `side` is the picture's longer one, in pixels.
    """
    if wanted.task != found.task:
        return f"its task is {found.task}, {wanted.task} is expected"
    precisions = wanted.precision, found.precision
    tolerance = max(tolerance, *(PRECISION_TOLERANCE.get(it, 0.0) for it in precisions))
    said = (
        _object_complaint(wanted, found, side, tolerance),
        _class_complaint(wanted, found, tolerance),
        _cell_complaint(wanted.cells, found.cells, tolerance),
        _anomaly_complaint(wanted.anomaly_score, found.anomaly_score, tolerance),
    )
    wrong = next(filter(None, said), "")
    if wrong and len(set(precisions)) > 1:
        wrong += f" (recorded in {wanted.precision}, computed in {found.precision})"
    return wrong


def _objects(result: Detections | Instances | Keypoints, labels: Sequence[str]) -> Iterator[Object]:
    found = result if isinstance(result, Detections) else result.found
    for row in range(len(found)):
        x1, y1, x2, y2 = (round(float(side), 2) for side in found.boxes[row])
        yield Object(
            label=_label(labels, int(found.class_ids[row])),
            score=round(float(found.scores[row]), 5),
            box=(x1, y1, x2, y2),
            area=round(float(result.mask(row).mean()), 5) if isinstance(result, Instances) else 0.0,
            joints=_joints(result, row) if isinstance(result, Keypoints) else (),
        )


def _joints(result: Keypoints, row: int) -> tuple[tuple[float, float, float], ...]:
    pairs = zip(result.points[row].tolist(), result.scores[row].tolist(), strict=True)
    return tuple((round(x, 2), round(y, 2), round(score, 5)) for (x, y), score in pairs)


def _cells(result: Segmentation) -> tuple[tuple[int, ...], ...]:
    small = cv2.resize(result.class_map, (GRID, GRID), interpolation=cv2.INTER_NEAREST)
    return tuple(tuple(row) for row in small.tolist())


def _label(labels: Sequence[str], number: int) -> str:
    return labels[number] if 0 <= number < len(labels) else str(number)


def _object_complaint(wanted: Expected, found: Expected, side: float, tolerance: float) -> str:
    sure = wanted.confidence + tolerance
    left = list(found.objects)
    for one in wanted.objects:
        alike = [it for it in left if _is_alike(one, it, side * tolerance, tolerance)]
        if alike:
            left.remove(alike[0])
        elif one.score >= sure:
            return f"{_said(one)} is expected, {_nearest(one, found.objects)}"
    extra = next((it for it in left if it.score >= sure), None)
    return f"{_said(extra)} is not expected" if extra else ""


def _is_alike(one: Object, other: Object, pixels: float, tolerance: float) -> bool:
    is_near = one.label == other.label and abs(one.score - other.score) <= tolerance
    is_close = float(np.abs(np.subtract(one.box, other.box)).max()) <= pixels
    is_near = is_near and (
        is_close or _overlap(one.box, other.box) >= max(_LEAST_OVERLAP, 1 - _IOU_OF_TOLERANCE * tolerance)
    )
    is_near = is_near and abs(one.area - other.area) <= tolerance and len(one.joints) == len(other.joints)
    sure = (pair for pair in zip(one.joints, other.joints, strict=False) if pair[0][2] >= _SURE_JOINT)
    return is_near and all(max(abs(a[0] - b[0]), abs(a[1] - b[1])) <= pixels for a, b in sure)


def _overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    both = max(0.0, width) * max(0.0, height)
    areas = ((it[2] - it[0]) * (it[3] - it[1]) for it in (one, other))
    union = sum(areas) - both
    return both / union if union > 0 else 0.0


def _nearest(one: Object, objects: Sequence[Object]) -> str:
    """What came instead, as near as it gets."""
    if not objects:
        return "nothing came"
    return f"{_said(min(objects, key=lambda it: float(np.abs(np.subtract(one.box, it.box)).max())))} came"


def _said(one: Object) -> str:
    return f"{one.label} {one.score:.3f} at [{', '.join(f'{side:.0f}' for side in one.box)}]"


def _class_complaint(wanted: Expected, found: Expected, tolerance: float) -> str:
    scores = {it.label: it.score for it in found.classes}
    for one in wanted.classes:
        got = scores.get(one.label)
        if one.score > tolerance and (got is None or abs(got - one.score) > tolerance):
            came = (
                f"{got:.3f}" if got is not None else ", ".join(f"{it.label} {it.score:.3f}" for it in found.classes[:3])
            )
            return f"{one.label} {one.score:.3f} is expected, {came or 'nothing'} came"
    return ""


def _cell_complaint(wanted: Sequence[Sequence[int]], found: Sequence[Sequence[int]], tolerance: float) -> str:
    if not wanted:
        return ""
    if len(wanted) != len(found):
        return f"its class map has {len(found)} rows of cells, {len(wanted)} are expected"
    share = float((np.asarray(wanted) != np.asarray(found)).mean())
    return f"{share:.1%} of the class map differ, {tolerance:.1%} may" if share > tolerance else ""


def _anomaly_complaint(wanted: float | None, found: float | None, tolerance: float) -> str:
    if wanted is None or (found is not None and abs(wanted - found) <= tolerance):
        return ""
    return f"an anomaly score of {wanted:.3f} is expected, {'none' if found is None else f'{found:.3f}'} came"


@dataclass(frozen=True, slots=True)
class SelfTest:
    """A self-test that was passed."""

    golden: int  # pictures
    latency_ms: float  # median, decoding of the picture apart


def self_test(model: Model, stored: StoredModel) -> SelfTest:
    """Raise ModelRejected, with what was expected and what came, when the version is not fit to serve. Blocking."""
    session = model.session()
    golden = stored.manifest.golden if stored.manifest else []
    picture = noise(model)
    try:
        session.analyse(picture, is_checked=True)
        pictures = [_check_golden(model, session, stored.folder, one) for one in golden]
        latency_ms = median_ms(session, [*pictures, picture][0])
        _check_latency(stored, latency_ms)
    except (InferenceFailed, ModelRejected) as error:
        raise ModelRejected(f"{stored.name}@{stored.version} fails its self-test: {error}") from error
    return SelfTest(len(golden), round(latency_ms, 2))


def make_golden(model: Model, folder: Path, picture: Path, tolerance: float, *, may_be_empty: bool = False) -> Golden:
    """Copy a picture into a version's folder with the output of `model`; raises ImageBroken, ModelRejected."""
    data = picture.read_bytes()
    said = _said_of(model, model.session(), image_from_bytes(data), model.resolved.options.confidence)
    if said.is_empty and not may_be_empty:
        raise ModelRejected(f"{picture}: the model finds nothing in it, which a broken model would not either")
    place = folder / FOLDER
    place.mkdir(exist_ok=True)
    (place / picture.name).write_bytes(data)
    output = f"{picture.name}.json"
    (place / output).write_text(expected_text(said), encoding="utf-8")
    return Golden(input=f"{FOLDER}/{picture.name}", output=f"{FOLDER}/{output}", tolerance=tolerance)


def _check_golden(model: Model, session: Session, folder: Path, golden: Golden) -> Image:
    try:
        image = image_from_bytes((folder / golden.input).read_bytes())
        wanted = parse_expected((folder / golden.output).read_bytes(), golden.output)
    except OSError as error:
        raise ModelUnavailable(f"{error.filename}: {error.strerror}") from error
    except ImageBroken as error:
        raise ModelRejected(f"{golden.input}: {error}") from error
    found = _said_of(model, session, image, wanted.confidence)
    wrong = complaint(wanted, found, max(image.width, image.height), golden.tolerance)
    if wrong:
        raise ModelRejected(f"{golden.input}: {wrong}")
    return image


def _said_of(model: Model, session: Session, image: Image, confidence: float) -> Expected:
    options = replace(model.resolved.options, confidence=confidence)
    result, _ = session.analyse(image, options, is_checked=True)
    return expected_from(result, model.labels, model.task, confidence, model.precision)


def _check_latency(stored: StoredModel, latency_ms: float) -> None:
    limit = stored.manifest.limits.latency_ms if stored.manifest else None
    if limit is not None and latency_ms > limit:
        raise ModelRejected(f"an answer takes {latency_ms:.1f} ms, its manifest allows {limit:g} ms")
