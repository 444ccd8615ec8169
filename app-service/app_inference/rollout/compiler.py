"""Compiles a model into the cache and tries it once: `python -m app_inference.rollout.compiler JOB`.

A process of its own at a low priority, so that frames keep flowing meanwhile.
"""

import os
import sys
from pathlib import Path

import msgspec
from edgex_kit.wire.errors import EdgexError

from app_inference.inference.model import load_model
from app_inference.inference.runtime import Runtime
from app_inference.models.repository import stored_model
from app_inference.rollout.preparation import CompileJob

NICENESS = 10  # a tenth of a worker's weight: at 19, a sixtieth, an eye that is always busy never came to an end


def main(text: str) -> int:
    os.nice(NICENESS)
    job = msgspec.json.decode(text, type=CompileJob)
    runtime = Runtime(job.device, job.streams, job.threads, Path(job.cache_dir), job.precision)
    try:
        load_model(stored_model(Path(job.path)), job.overrides, runtime).warm_up()
    except EdgexError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
