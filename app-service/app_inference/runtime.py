"""How and where a model is to run, and where its compiled form is kept."""

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Runtime:
    """Where a model runs and how much of it; the defaults fit a machine that does nothing else."""

    device: str = "CPU"
    streams: int | None = None  # inferences at once; None: one for each core that we may use
    threads: int | None = None  # for all of them; None: one a stream, which suffers least from busy neighbours
    cache_dir: Path | None = None  # for compiled models; None: compile each time

    def properties(self, digest: str, build: str) -> dict[str, Any]:
        """OpenVINO's properties for the model `digest` under OpenVINO `build`."""
        properties: dict[str, Any] = {}
        if self.device == "CPU":
            streams = self.streams or len(os.sched_getaffinity(0))
            properties = {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": self.threads or streams}
        folder = self._cache_folder(digest, build)
        return properties if folder is None else {**properties, "CACHE_DIR": str(folder)}

    def _cache_folder(self, digest: str, build: str) -> Path | None:
        """A folder of this model, build and device alone; None where none can be written: we run without it."""
        if self.cache_dir is None:
            return None
        folder = self.cache_dir / "-".join(re.sub(r"[^\w.]+", "-", part) for part in (digest[:16], build, self.device))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            log.warning("compiled models are not kept: %s: %s", folder, error.strerror)
            return None
        return folder
