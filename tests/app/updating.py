"""What tests of updates stand on: versions that are real small models, and cameras whose frames never stop."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
import yaml
from app_inference.inference.model import Model, load_model
from app_inference.inference.runtime import Runtime
from app_inference.models.repository import Repository
from app_inference.pipeline.analysis import FrameAnalyser
from app_inference.pipeline.counters import FrameCounters
from app_inference.pipeline.frame import Frame
from app_inference.pipeline.live_view import LiveView
from app_inference.pipeline.plan import Plan, plan_from
from app_inference.pipeline.results import FrameResult
from app_inference.pipeline.serving import ServedModel
from app_inference.rollout.desired import ModelRequest, ObserveOptions
from app_inference.rollout.journal import Journal
from app_inference.rollout.preparation import Preparer
from app_inference.rollout.rollout import Deployment, Rollout
from app_inference.rollout.steps import Step
from app_inference.settings import InferenceSection, PipelineSection
from edgex_kit.service.metrics import Metrics
from edgex_kit.wire.topics import Topics
from openvino import opset13 as op

MODEL = "det"
LABELS = ["person", "car", "dog"]
QUICK = ObserveOptions(min_frames=40, hold_seconds=0.3)
RUNTIME = Runtime(streams=1, threads=1)

Row = tuple[int, float]  # class, score


def write_version(
    root: Path,
    version: str,
    rows: Sequence[Row] = ((0, 0.9),),
    *,
    late: Sequence[Row] | None = None,
    after: int = 200,
    labels: Sequence[str] = LABELS,
    nan: bool = False,
    work: int = 0,
    moved_by: float = 0.0,
    **manifest: object,
) -> Path:
    """A version that always finds `rows`; with `late` it finds those from its `after`-th picture on.

    `nan` makes every score NaN, `work` makes it slow (rounds of a matrix product), `moved_by` moves what it finds
    by that share of the picture.
    """
    folder = root / MODEL / version
    folder.mkdir(parents=True)
    ov.save_model(
        _model(rows, late, after, nan=nan, work=work, moved_by=moved_by),
        folder / "model.xml",
        compress_to_fp16=False,
    )
    said = {
        "schema": "vision.model/1",
        "name": MODEL,
        "version": version,
        "type": "ssd",
        "labels": list(labels),
        **manifest,
    }
    (folder / "manifest.yaml").write_text(yaml.safe_dump(said))
    return folder


def _model(
    rows: Sequence[Row], late: Sequence[Row] | None, after: int, *, nan: bool, work: int, moved_by: float
) -> ov.Model:
    picture = op.parameter([1, 3, 32, 32], np.float32, name="picture")
    nothing = op.multiply(op.reduce_sum(picture, np.arange(4)), np.float32(0))
    if nan:
        nothing = op.divide(nothing, nothing)
    for _ in range(work):
        big = op.add(op.constant(np.full((400, 400), 1e-6, np.float32)), nothing)
        nothing = op.multiply(op.reduce_sum(op.matmul(big, big, False, False), np.arange(2)), np.float32(0))
    said = op.constant(_table(rows, late, moved_by))
    sinks = []
    if late is not None:
        seen = op.read_value(op.constant(np.zeros((), np.float32)), "seen")
        more = op.add(seen, np.float32(1))
        sinks.append(op.assign(more, "seen"))
        said = op.select(op.greater(more, np.float32(after)), op.constant(_table(late, rows)), said)
    answer = op.add(said, nothing)
    answer.output(0).set_names({"detection_out"})
    return ov.Model([op.result(answer)], sinks, [picture], "det")


def _table(rows: Sequence[Row], as_long_as: Sequence[Row] | None, moved_by: float = 0.0) -> np.ndarray:
    table = np.zeros((1, 1, max(len(rows), len(as_long_as or ()), 1), 7), np.float32)
    for index, (class_id, score) in enumerate(rows):
        side = 0.05 * (index % 10) + moved_by
        table[0, 0, index] = (0, class_id, score, side, side, side + 0.04, side + 0.04)
    return table


def frame(camera: str, seq: int) -> Frame:
    jpeg = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    return Frame(camera, f"{camera}-{seq}", seq, time.time_ns(), jpeg, "image/jpeg")


@dataclass
class Street:
    """Cameras that are looked at without a pause while an update goes on."""

    slot: ServedModel
    cameras: Sequence[str] = ("a", "b", "c", "d")
    findings: list[tuple[str, int, FrameResult]] = field(default_factory=list)
    lost: list[tuple[str, int]] = field(default_factory=list)

    @contextlib.contextmanager
    def busy(self, pause: float = 0.002) -> Iterator["Street"]:
        ended = threading.Event()
        thread = threading.Thread(target=self._look, args=(ended, pause), name="street")
        thread.start()
        try:
            yield self
        finally:
            ended.set()
            thread.join()

    def versions(self, camera: str | None = None) -> list[str]:
        return [finding.model.version for name, _, finding in self.findings if camera in (None, name)]

    def _look(self, ended: threading.Event, pause: float) -> None:
        view = LiveView()
        analyser = FrameAnalyser(Topics(), None, view, FrameCounters(Metrics("app"), view), InferenceSection())  # type: ignore[arg-type]
        plan = plan_from({"p": PipelineSection(model=MODEL)}, {MODEL: self.slot}, Plan())
        seq = 0
        while not ended.wait(pause):
            seq += 1
            for camera in self.cameras:
                later: list[Callable[[], None]] = []
                found = analyser.results(frame(camera, seq), plan.for_camera(camera), later)[1]
                self.findings += [(camera, seq, finding) for _, finding in found]
                if not found:
                    self.lost.append((camera, seq))
                for compare_versions in later:
                    compare_versions()


@dataclass
class Slots:
    """The served models, without a service around them."""

    slots: dict[str, ServedModel]
    missing: set[str] = field(default_factory=set)

    def find(self, name: str) -> ServedModel | None:
        return self.slots.get(name)

    def is_missing(self, name: str) -> bool:
        return name in self.missing

    def fill(self, name: str, model: Model) -> None:
        self.slots[name] = ServedModel(name, model)
        self.missing.discard(name)

    def in_use(self, name: str) -> set[str]:
        return {model.version for slot in self.slots.values() for model in slot.active.models()}


@dataclass
class Site:
    """One model under update."""

    root: Path
    slot: ServedModel
    rollout: Rollout
    street: Street
    served: Slots
    asked: int = 0

    def request(self, version: str, generation: int = 1, **changes: object) -> None:
        self.asked = generation
        request = ModelRequest(version=version, observe=changes.pop("observe", QUICK), **changes)  # type: ignore[arg-type]
        self.rollout.request(Deployment(request, generation))

    async def until(self, true: Callable[[], bool], wait: float = 15.0) -> None:
        deadline = time.monotonic() + wait
        while not true():
            record = self.rollout.record
            assert time.monotonic() < deadline, f"still {record}, gate {self.rollout.judgement}"
            await asyncio.sleep(0.01)

    async def settled(self, wait: float = 15.0) -> None:
        """Until the request has been followed to its end, whichever it is."""
        await self.until(lambda: self.rollout.record.generation == self.asked, wait)
        await self.until(lambda: self.rollout.record.step is Step.IDLE, wait)


def open_version(root: Path, version: str) -> Model:
    """A version, ready to look at frames."""
    model = load_model(Repository(root).version(MODEL, version), None, RUNTIME)
    model.warm_up()
    return model


@contextlib.asynccontextmanager
async def open_site(
    root: Path, version: str = "1.0.0", *, journal: Journal | None = None, pause: float = 0.002, keep: int = 0
) -> AsyncIterator[Site]:
    """`version` serves, frames flow, and requests are followed."""
    repository = Repository(root)
    slot = ServedModel(MODEL, open_version(root, version))
    journal = journal or Journal(root / ".state")
    served = Slots({MODEL: slot})
    rollout = Rollout(MODEL, served, Preparer(repository, RUNTIME, keep), journal, lambda: None)
    street = Street(slot)
    with street.busy(pause):
        following = asyncio.create_task(rollout.follow())
        try:
            yield Site(root, slot, rollout, street, served)
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
