"""The machine a figure was measured on: ratios travel, milliseconds do not."""

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from edgex_standin.broker.mosquitto import find_mosquitto

_PACKAGES = ("openvino", "numpy", "opencv-python-headless", "paho-mqtt", "msgspec", "cbor2", "pybase64", "uvicorn")


@dataclass(frozen=True, slots=True)
class Machine:
    """What it is, and how busy it was."""

    processor: str
    cores: int  # that we may use
    features: str  # of the instruction set, those that matter to inference
    memory_gb: float
    system: str
    broker: str
    packages: dict[str, str]
    load: float  # runnable processes, mean of the last minute before the run
    steal: float | None = None  # share of the run's time that the hypervisor gave to others, once that is known

    def lines(self) -> list[str]:
        """For people."""
        versions = ", ".join(f"{name} {number}" for name, number in self.packages.items())
        steal = "" if self.steal is None else f", stolen by the hypervisor during it {self.steal:.1%}"
        return [
            f"{self.processor}, {self.cores} cores, {self.memory_gb:.0f} GB, {self.features or 'no AVX-512'}",
            f"{self.system}, {self.broker}, {versions}",
            f"load before the run {self.load:.1f}{steal}",
        ]


def this_machine() -> Machine:
    """As it is now."""
    info = _first_values(Path("/proc/cpuinfo").read_text())
    flags = set(info.get("flags", info.get("Features", "")).split())
    return Machine(
        processor=info.get("model name", platform.machine()),
        cores=len(os.sched_getaffinity(0)),
        features=" ".join(sorted(flags & {"avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "asimddp"})),
        memory_gb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        system=f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        broker=_broker(),
        packages={name: version(name) for name in _PACKAGES},
        load=os.getloadavg()[0],
    )


def _first_values(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.split("\n\n", 1)[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _broker() -> str:
    program = find_mosquitto()
    if program is None:
        return "embedded broker"
    said = subprocess.run([program, "-h"], capture_output=True, text=True, check=False).stdout
    return said.partition("\n")[0].removesuffix(" ").replace(" version", "")
