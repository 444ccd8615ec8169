"""Where a version is made ready beside the serving one, without slowing it: verified, compiled, tested.

Compiling happens first in a process of its own with a low priority, into a cache keyed by digest, OpenVINO build
and device; this process then only reads the result. A model that kills its compiler does not kill the service.
"""

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from edgex_kit.wire.errors import EdgexError

from app_inference.background import in_background
from app_inference.errors import ModelRejected, ModelUnavailable
from app_inference.inference.model import Model, digests_in_use, load_model
from app_inference.inference.runtime import Runtime
from app_inference.models.repository import Repository, StoredModel, stored_model
from app_inference.models.retention import prune
from app_inference.models.versions import parse_version
from app_inference.rollout.compatibility import differences
from app_inference.rollout.golden import self_test

log = logging.getLogger(__name__)
audit = logging.getLogger("app_inference.audit")

COMPILE_WAIT = 1800.0  # seconds until a compiler is given up
NICENESS = 10  # a tenth of a worker's weight; with 19, a sixtieth, compiling never ended on a busy machine


@dataclass(frozen=True, slots=True)
class Prepared:
    """A version that could serve."""

    model: Model
    load_ms: float
    compile_ms: float = 0.0  # in the process of its own; 0 without a cache


class Preparer:
    """Finds and prepares versions of one repository."""

    def __init__(self, repository: Repository, runtime: Runtime, keep: int = 0) -> None:
        self.repository = repository
        self.runtime = runtime
        self.keep = keep  # versions older than the serving one; 0: all

    def find(self, name: str, version: str) -> StoredModel:
        """A version on disk, by its number, `latest`, an alias or a range. Raises NotFound, Invalid."""
        return self.repository.version(name, self.repository.chosen(name, version))

    async def verify(self, stored: StoredModel) -> str:
        """Check every file; the version's identity. Raises ModelRejected or ModelUnavailable."""
        return await in_background(_verified, stored)

    async def load(self, stored: StoredModel, overrides: Mapping[str, Any] | None = None) -> Prepared:
        """A warm model. Raises ModelRejected or ModelUnavailable, for one that kills its compiler too."""
        begun = time.perf_counter()
        if self.runtime.cache_dir is not None:
            await precompile(stored.path, self.runtime, overrides or {})
        compiled = time.perf_counter()
        model = await in_background(_load_warm, stored, overrides, self.runtime)
        return Prepared(model, (time.perf_counter() - compiled) * 1e3, (compiled - begun) * 1e3)

    async def check(self, stored: StoredModel, model: Model, serving: Model | None, *, allow_labels: bool) -> None:
        """Raise ModelRejected when it breaks the contract of the serving version or fails its own golden inputs."""
        broken = differences(serving, model, allow_labels=allow_labels) if serving else []
        if broken:
            raise ModelRejected(f"{stored.name}@{stored.version} does not fit: {'; '.join(broken)}")
        await in_background(self_test, model, stored)

    async def prune(self, name: str, active: str, needed: Callable[[], Collection[str]]) -> None:
        """Remove the oldest versions beyond `keep`, none that is needed, pinned, aliased or newer than `active`.

        `needed` is asked before each removal, on another thread. What was compiled of versions that
        are gone is removed, too. A folder that cannot be changed keeps them; that costs disk and nothing else.
        """
        if not self.keep:
            return
        try:
            gone = await in_background(_prune, self.repository, name, self.keep, active, needed)
        except (EdgexError, OSError) as error:
            log.warning("old versions of model '%s' could not be removed: %s", name, error)
            return
        for version in gone:
            audit.info("model '%s': version %s is removed, %d older ones are kept", name, version, self.keep)
        try:
            await in_background(_sweep, self.repository, self.runtime)
        except OSError as error:
            log.warning("what is compiled of old versions could not be removed: %s", error)


def _verified(stored: StoredModel) -> str:
    return stored.identity(stored.verified_digest())


def _prune(
    repository: Repository, name: str, keep: int, active: str, needed: Callable[[], Collection[str]]
) -> list[str]:
    newer = {it for it in repository.versions(name) if parse_version(it) > parse_version(active)}
    return prune(repository, name, keep, lambda: {*needed(), *newer, *repository.aliases(name).values()})


def _sweep(repository: Repository, runtime: Runtime) -> None:
    """Versions may share a digest, with those of other models too, and a model may be loaded from elsewhere."""
    if runtime.cache_dir is None:
        return
    digests = digests_in_use()
    for name in repository.names():
        for version in repository.versions(name):
            with contextlib.suppress(EdgexError):  # of no use, so that nothing is compiled of it
                stored = repository.version(name, version)
                digests.add(stored.listed_digest() or stored.digest())
    for folder in runtime.sweep(digests):
        log.info("compiled model %s is removed, no version has its digest any more", folder)


def _load_warm(stored: StoredModel, overrides: Mapping[str, Any] | None, runtime: Runtime) -> Model:
    model = load_model(stored, overrides, runtime)
    model.warm_up()
    return model


class CompileJob(msgspec.Struct, frozen=True):
    """The job of the compiling process, as JSON on its command line."""

    path: str
    device: str
    streams: int | None
    threads: int | None
    cache_dir: str
    precision: str
    overrides: dict[str, Any]


async def precompile(path: Path, runtime: Runtime, overrides: Mapping[str, Any]) -> None:
    """Fill the compile cache from a process nobody waits for.

    Raises ModelRejected when that process is killed, ModelUnavailable when it comes to no end. An ordinary refusal is
    left to the load that follows, which words it.
    """
    job = CompileJob(
        path=str(path),
        device=runtime.device,
        streams=runtime.streams,
        threads=runtime.threads,
        cache_dir=str(runtime.cache_dir),
        precision=runtime.precision,
        overrides=dict(overrides),
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app_inference.rollout.preparation", msgspec.json.encode(job).decode(),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(COMPILE_WAIT):
            status = await process.wait()
    except TimeoutError as error:
        # The machine is to blame: at a low priority little is left over on one that is too busy.
        raise ModelUnavailable(f"{path}: not compiled within {COMPILE_WAIT:g} s, this machine is too busy") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if status < 0:
        raise ModelRejected(f"{path}: it killed its compiler (signal {-status})")


def compile_job(text: str) -> int:
    """The compiling process: compile into the cache and run it once; its exit status."""
    os.nice(NICENESS)
    job = msgspec.json.decode(text, type=CompileJob)
    runtime = Runtime(job.device, job.streams, job.threads, Path(job.cache_dir), job.precision)
    try:
        load_model(stored_model(Path(job.path)), job.overrides, runtime).warm_up()
    except EdgexError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(compile_job(sys.argv[1]))
