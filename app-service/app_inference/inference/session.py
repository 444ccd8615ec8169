"""A model for one thread: picture in, result out, with the time each step took."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from app_inference.decoders import DecodeOptions, TensorSpec
from app_inference.errors import InferenceFailed
from app_inference.models.resolution import ResolvedModel
from app_inference.vision.detections import Result
from app_inference.vision.image import Image
from app_inference.vision.resize import fit_image


class Request(Protocol):
    """An infer request as a session uses it."""

    def infer(self, pixels: NDArray[np.uint8]) -> Sequence[NDArray[Any]]:
        """The outputs in the model's order; views that hold until the next call. Raises RuntimeError."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of one analysis went, in milliseconds."""

    pre: float
    infer: float
    post: float


class Session:
    """For one thread only: two threads on one request would get each other's outputs."""

    def __init__(self, resolved: ResolvedModel, outputs: Sequence[TensorSpec], request: Request) -> None:
        self._resolved = resolved
        self._names = [(name, index) for index, spec in enumerate(outputs) for name in spec.names]
        self._request = request
        self.busy_since: float | None = None  # time.perf_counter(), while it analyses a picture

    def analyse(
        self, image: Image, options: DecodeOptions | None = None, *, is_checked: bool = False
    ) -> tuple[Result, Timings]:
        """The result for `image`; `options` replace the model's own.

        Blocking: call it on a worker. Raises InferenceFailed, with `is_checked` for NaN and infinity in an output too.
        """
        self.busy_since = start = time.perf_counter()
        try:
            return self._analyse(image, options, start, is_checked=is_checked)
        finally:
            self.busy_since = None

    def _analyse(
        self, image: Image, options: DecodeOptions | None, start: float, *, is_checked: bool
    ) -> tuple[Result, Timings]:
        resolved = self._resolved
        pixels, fit = fit_image(image, resolved.size, resolved.resize, resolved.pad)
        fitted = time.perf_counter()
        tensors = self._infer(pixels)
        inferred = time.perf_counter()
        if is_checked:
            _check_finite(tensors)
        result = resolved.decoder.decode(tensors, fit, options or resolved.options)
        done = time.perf_counter()
        return result, Timings((fitted - start) * 1e3, (inferred - fitted) * 1e3, (done - inferred) * 1e3)

    def _infer(self, pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Every output by each of its names."""
        try:
            answer = self._request.infer(pixels)
        except RuntimeError as error:
            raise InferenceFailed(f"inference failed: {short_cause(error)}") from error
        return {name: answer[index] for name, index in self._names}


def _check_finite(tensors: Mapping[str, NDArray[Any]]) -> None:
    for name, tensor in tensors.items():
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise InferenceFailed(f"output '{name}' holds NaN or infinity")


def short_cause(error: Exception) -> str:
    """The last informative line of an OpenVINO error, without its source files and our paths."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith(("Exception from", "Check '"))] or lines
    text = said[-1] if said else type(error).__name__
    return re.sub(r"(?:/[\w.+-]+)+/", "", text)[:300]
