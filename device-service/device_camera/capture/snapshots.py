"""Those who wait for one picture of a camera: each gets it, or the reason why there is none."""

import threading
from concurrent.futures import Future

from edgex_kit.wire.errors import Unavailable

from device_camera.frame import Frame


class Snapshots:
    """Any thread asks and waits; the camera's thread serves all who wait at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: list[Future[Frame]] = []

    @property
    def are_wanted(self) -> bool:
        return bool(self._asked)

    def ask(self) -> "Future[Frame]":
        """Ask for the next whole picture."""
        future: Future[Frame] = Future()
        with self._lock:
            self._asked.append(future)
        return future

    def withdraw(self, future: "Future[Frame]") -> None:
        """Stop waiting."""
        with self._lock:
            if future in self._asked:
                self._asked.remove(future)

    def serve(self, frame: Frame) -> None:
        """Give everybody the picture."""
        for future in self._take_all():
            future.set_result(frame)

    def refuse(self, reason: str) -> None:
        """Tell everybody why there is none."""
        for future in self._take_all():
            future.set_exception(Unavailable(reason))

    def _take_all(self) -> "list[Future[Frame]]":
        with self._lock:
            asked, self._asked = self._asked, []
        return asked
