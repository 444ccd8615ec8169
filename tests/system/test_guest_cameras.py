"""Cameras as a kernel has them: a guest with two real /dev/video*, found, streamed, unplugged and plugged in again.

Only when EDGEX_VISION_GUEST_KERNEL names the folder of a kernel with its modules: / where linux-image-amd64 is
installed, or where its package was unpacked with `dpkg-deb -x` and `depmod -b FOLDER VERSION` was run. The guest is
emulated, has this machine's files read-only as its own, and no network but its own loopback.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(400)]

BOOT_WAIT = 15.0  # seconds until the guest's first word; some machines have a /dev/kvm in which no guest gets on
GUEST_WAIT = 300.0  # seconds; a guest without hardware help is slow
PACKAGES = {"qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static"}
DRIVER = "vivid"
BOOTING = ("virtio_pci", "9pnet_virtio", "9p")  # what it takes to have this machine's files

_INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /host
/bin/busybox mount -t proc proc /proc
echo BOOTED
for module in {modules}; do /bin/busybox insmod /$module; done
/bin/busybox mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=512000 host /host
/bin/busybox mount -t proc proc /host/proc
/bin/busybox mount -t sysfs sys /host/sys
/bin/busybox mount -t devtmpfs dev /host/dev
/bin/busybox ln -s /proc/self/fd /host/dev/fd  # udev would make it; mosquitto has its configuration from there
/bin/busybox mkdir /host/dev/shm
/bin/busybox mount -t tmpfs shm /host/dev/shm
/bin/busybox mount -t tmpfs tmp /host/run
/bin/busybox chroot /host /usr/bin/env HOME=/run TMPDIR=/run PYTHONDONTWRITEBYTECODE=1 {command} 2>&1
/bin/busybox poweroff -f
"""


@dataclass(frozen=True, slots=True)
class Kernel:
    """An image, and its modules by their names."""

    image: Path
    folder: Path  # of the modules
    needs: dict[str, tuple[str, ...]]  # module's file -> those to load before it, last first

    def closure(self, *names: str) -> list[str]:
        """The files of modules with all they need, in the order of loading."""
        files: list[str] = []
        for name in names:
            (file,) = (it for it in self.needs if Path(it).name == f"{name}.ko")
            files += [it for it in (*reversed(self.needs[file]), file) if it not in files]
        return files


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    named = os.environ.get("EDGEX_VISION_GUEST_KERNEL")
    if not named:
        pytest.skip(
            "EDGEX_VISION_GUEST_KERNEL names no folder with a kernel; needs Debian's linux-image-amd64, "
            "qemu-system-x86 and busybox-static"
        )
    missing = [package for program, package in PACKAGES.items() if shutil.which(program) is None]
    if missing:
        pytest.skip(f"a guest needs Debian's {', '.join(missing)}")
    for image in sorted(Path(named).resolve().glob("boot/vmlinuz-*"), reverse=True):
        folder = image.parents[1] / "lib/modules" / image.name.removeprefix("vmlinuz-")
        if (folder / "modules.dep").is_file():
            lines = (line.partition(":") for line in (folder / "modules.dep").read_text().splitlines())
            return Kernel(image, folder, {file: tuple(needs.split()) for file, _, needs in lines})
    pytest.skip(f"{named} holds no boot/vmlinuz-* with lib/modules/*/modules.dep")


def _ramdisk(kernel: Kernel, place: Path, command: str) -> Path:
    """What the kernel starts with: busybox, the modules that reach this machine's files, and what to do then."""
    root, modules = place / "root", kernel.closure(*BOOTING)
    (root / "bin").mkdir(parents=True)
    shutil.copy(str(shutil.which("busybox")), root / "bin/busybox")
    for module in modules:
        shutil.copy(kernel.folder / module, root)
    init = root / "init"
    init.write_text(_INIT.format(modules=" ".join(Path(it).name for it in modules), command=command))
    init.chmod(0o755)
    names = "\n".join(str(it.relative_to(root)) for it in sorted(root.rglob("*")))
    with (place / "initrd").open("wb") as out:
        subprocess.run(["busybox", "cpio", "-o", "-H", "newc"], cwd=root, input=names.encode(), stdout=out, check=True)
    return place / "initrd"


def _accelerators() -> list[str]:
    return ["kvm", "tcg"] if os.access("/dev/kvm", os.R_OK | os.W_OK) else ["tcg"]


def _run(accelerator: str, kernel: Kernel, ramdisk: Path, log: Path) -> str:
    """The output of a guest until it powers off or its time is over."""
    share = "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"
    command = [
        "qemu-system-x86_64", "-accel", accelerator, "-cpu", "max", "-smp", "1", "-m", "1024",
        "-nographic", "-no-reboot", "-nic", "none", "-virtfs", share,
        "-kernel", str(kernel.image), "-initrd", str(ramdisk), "-append", "console=ttyS0 quiet panic=-1",
    ]  # fmt: skip
    begin = time.monotonic()
    with log.open("wb") as out:
        guest = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        try:
            while guest.poll() is None:
                passed = time.monotonic() - begin
                is_stuck = accelerator == "kvm" and passed > BOOT_WAIT and b"BOOTED" not in log.read_bytes()
                if is_stuck or passed > GUEST_WAIT:
                    break
                time.sleep(0.2)
        finally:
            guest.kill()
            guest.wait()
    return log.read_text("utf-8", "replace")


@pytest.fixture(scope="module")
def report(kernel: Kernel, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the guest reports."""
    script, place = Path(__file__).with_name("guest_cameras.py"), tmp_path_factory.mktemp("guest")
    command = f"{sys.executable} {script} {kernel.folder} {' '.join(kernel.closure(DRIVER))}"
    ramdisk, text = _ramdisk(kernel, place, command), ""
    for accelerator in _accelerators():
        text = _run(accelerator, kernel, ramdisk, place / f"{accelerator}.log")
        if "BOOTED" in text:
            break
    lines = [line for line in text.splitlines() if line.startswith("GUEST ")]
    assert lines, f"the guest has not come to its end:\n{text[-6000:]}"
    return json.loads(lines[0].removeprefix("GUEST "))


def test_every_camera_of_the_kernel_is_found_under_a_name_of_its_own(report: dict[str, Any]) -> None:
    assert report["before"] == []
    assert [it["node"] for it in report["plugged"]] == ["/dev/video0", "/dev/video1"]
    assert len({it["name"] for it in report["plugged"]}) == len({it["port"] for it in report["plugged"]}) == 2
    assert report["driver"] == "vivid"


def test_cameras_of_the_kernel_stream_and_what_they_lack_is_not_made_up(report: dict[str, Any]) -> None:
    for stream in report["streams"]:
        assert stream["size"] == [640, 360]
        assert stream["pictures"] == 5, "each is another picture"
        assert stream["is_jpeg"] == ("MJPG" in report["formats"])


def test_devices_of_the_cameras_publish_frames(report: dict[str, Any]) -> None:
    assert report["served"]["devices"] == dict.fromkeys((it["name"] for it in report["plugged"]), "UP")
    assert report["served"]["streaming"]


def test_a_command_to_the_device_sets_the_control_in_the_kernel(report: dict[str, Any]) -> None:
    assert report["served"]["brightness"] == {"device": 77, "node": 77}


def test_a_camera_unplugged_while_it_streams_is_down_and_comes_back_as_the_same(report: dict[str, Any]) -> None:
    names = {it["name"] for it in report["plugged"]}
    assert report["plugged"][0]["node"] in report["lost"]
    assert report["served"]["devices unplugged"] == dict.fromkeys(names, "DOWN")
    assert report["served"]["cameras unplugged"] == []
    assert report["served"]["devices again"] == dict.fromkeys(names, "UP")
    assert report["served"]["streaming again"]
    assert report["again"] == report["plugged"]
