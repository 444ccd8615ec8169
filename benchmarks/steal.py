"""What the hypervisor takes from a virtual machine, as the kernel counts it (proc(5), `steal`)."""

from pathlib import Path


class Steal:
    """Since this was made."""

    def __init__(self) -> None:
        self._before = _ticks()

    def share(self) -> float:
        """Of the time of all cores, 0 to 1."""
        (stolen, total), (stolen_before, total_before) = _ticks(), self._before
        return (stolen - stolen_before) / max(1, total - total_before)


def _ticks() -> tuple[int, int]:
    """Stolen, and of everything; hundredths of a second of a core."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    return ticks[7], sum(ticks)
