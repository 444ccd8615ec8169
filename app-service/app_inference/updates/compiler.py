"""Compiles a model into the cache and tries it once: `python -m app_inference.updates.compiler JOB`.

A process of its own, at the lowest priority and on one thread, so that frames keep flowing meanwhile.
"""

import os
import sys
from pathlib import Path

import msgspec
from edgex_kit.errors import EdgexError

from app_inference.model import load_model
from app_inference.repository import stored_model
from app_inference.runtime import Runtime
from app_inference.updates.workshop import CompileJob


def main(text: str) -> int:
    os.nice(19)
    job = msgspec.json.decode(text, type=CompileJob)
    runtime = Runtime(job.device, job.streams, job.threads, Path(job.cache_dir))
    try:
        load_model(stored_model(Path(job.path)), job.overrides, runtime).warm_up()
    except EdgexError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
