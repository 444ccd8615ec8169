"""What a version must show before it may serve: its golden pictures, answers that are numbers, and in time.

A version without golden pictures only has to answer: weights that are wrong and of the right shape pass that.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from app_inference.errors import ImageBroken, InferenceFailed, ModelRejected, ModelUnavailable
from app_inference.inference.model import Model, Session
from app_inference.models.manifest import Golden
from app_inference.models.repository import StoredModel
from app_inference.rollout.golden import Expected, complaint, expected_from, expected_text, parse_expected
from app_inference.rollout.timing import median_ms, noise
from app_inference.vision.image import Image, image_from_bytes

_FOLDER = "golden"


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
    """Copy a picture into a version's folder with what `model` says of it now; raises ImageBroken, ModelRejected."""
    data = picture.read_bytes()
    said = _said_of(model, model.session(), image_from_bytes(data), model.resolved.options.confidence)
    if said.is_empty and not may_be_empty:
        raise ModelRejected(f"{picture}: the model finds nothing in it, which a broken model would not either")
    place = folder / _FOLDER
    place.mkdir(exist_ok=True)
    (place / picture.name).write_bytes(data)
    output = f"{picture.name}.json"
    (place / output).write_text(expected_text(said), encoding="utf-8")
    return Golden(input=f"{_FOLDER}/{picture.name}", output=f"{_FOLDER}/{output}", tolerance=tolerance)


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
    return expected_from(result, model.labels, model.task, confidence)


def _check_latency(stored: StoredModel, latency_ms: float) -> None:
    limit = stored.manifest.limits.latency_ms if stored.manifest else None
    if limit is not None and latency_ms > limit:
        raise ModelRejected(f"an answer takes {latency_ms:.1f} ms, its manifest allows {limit:g} ms")
