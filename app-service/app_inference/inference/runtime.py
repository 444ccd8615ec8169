"""How and where a model is to run, and where its compiled form is kept."""

import logging
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app_inference.models.staging import remove

log = logging.getLogger(__name__)

AUTO = "auto"  # the device chooses: a CPU with AVX512_BF16 runs FP32 models in BF16
PRECISIONS = (AUTO, "f32", "bf16", "f16")

_DIGITS = 16  # of a model's digest in the name of what is compiled of it
_FOLDER = re.compile(rf"[0-9a-f]{{{_DIGITS}}}-")


@dataclass(frozen=True, slots=True)
class Runtime:
    """Where a model runs and how much of it; the defaults fit a machine that does nothing else."""

    device: str = "CPU"  # several, comma separated: the first that can
    streams: int | None = None  # inferences at once; None: one for each core that we may use
    threads: int | None = None  # for all of them; None: one a stream, which suffers least from busy neighbours
    cache_dir: Path | None = None  # for compiled models; None: compile each time
    precision: str = AUTO  # one of PRECISIONS

    def choices(self) -> tuple["Runtime", ...]:
        """One for each device of a list, in its order; AUTO and the like take lists of their own."""
        devices = [self.device] if ":" in self.device else [it.strip() for it in self.device.split(",")]
        return tuple(replace(self, device=device) for device in devices if device)

    def missed(self, devices: Sequence[str]) -> tuple[str, ...]:
        """The devices of our list that were to be tried before the one that `devices` says it runs on."""
        names = [one.device for one in self.choices()]
        place = next((at for at, name in enumerate(names) if any(_is_of(device, name) for device in devices)), 0)
        return tuple(names[:place])

    def properties(self, digest: str, build: str) -> dict[str, Any]:
        """OpenVINO's properties for the model `digest` under OpenVINO `build`."""
        properties: dict[str, Any] = {}
        if self.device.startswith("AUTO"):  # else the first frames run on the CPU and hide problems of the real device
            properties = {"ENABLE_STARTUP_FALLBACK": False}
        if self.device == "CPU":
            streams = self.streams or len(os.sched_getaffinity(0))
            properties = {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": self.threads or streams}
        if self.precision != AUTO:
            properties["INFERENCE_PRECISION_HINT"] = self.precision
        folder = self._cache_folder(digest, build)
        return properties if folder is None else {**properties, "CACHE_DIR": str(folder)}

    def sweep(self, digests: Collection[str]) -> list[str]:
        """Remove what is compiled of other models than those with `digests`; the folders that are gone. Blocking."""
        inside = self.cache_dir.iterdir() if self.cache_dir is not None and self.cache_dir.is_dir() else ()
        kept = {digest[:_DIGITS] for digest in digests}
        gone = [it for it in inside if _FOLDER.match(it.name) and it.name[:_DIGITS] not in kept]
        for folder in gone:
            remove(folder)
        return [folder.name for folder in gone]

    def _cache_folder(self, digest: str, build: str) -> Path | None:
        """The folder of this model, build, device and precision; None where none can be written."""
        if self.cache_dir is None:
            return None
        folder = self.cache_dir / "-".join(
            re.sub(r"[^\w.]+", "-", part) for part in (digest[:_DIGITS], build, self.device, self.precision)
        )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            log.warning("compiled models are not kept: %s: %s", folder, error.strerror)
            return None
        return folder


def _is_of(device: str, name: str) -> bool:
    """Whether `device`, as OpenVINO tells what it runs on, is the one of this name: GPU may be GPU.0."""
    return device == name or device.startswith(f"{name}.")
