"""What the pictures themselves cost: the sources that device-camera is fed with in `publish`, and nothing behind them.

`python -m benchmarks.sources <folder> <sources> <fps>`; answers every order with how many pictures it has taken.
"""

import sys
import threading

from device_camera.sources.base import SourceOptions, SourceSpec
from device_camera.sources.factory import open_source, parse_source
from device_camera.timing import ThreadClock

from benchmarks.programs import serve


class Taken:
    """Pictures of one source, counted by its thread."""

    def __init__(self, spec: SourceSpec, options: SourceOptions) -> None:
        self.count = 0
        self._spec = spec
        self._options = options

    def run(self) -> None:
        """For as long as the process lives."""
        with open_source(self._spec, self._options, ThreadClock()) as source:
            while True:
                if source.grab():
                    source.retrieve()
                    self.count += 1


def main() -> None:
    folder, count, fps = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    taken = [Taken(parse_source(folder), SourceOptions(fps=fps)) for _ in range(count)]
    for one in taken:
        threading.Thread(target=one.run, daemon=True).start()
    serve(lambda _order: {"frames": sum(one.count for one in taken)})


if __name__ == "__main__":
    main()
