"""The pictures kept for whoever looks at results: a few a camera, and MAX_KEPT bytes of all cameras together. Pure."""

from collections import OrderedDict, deque
from dataclasses import dataclass, field

KEPT = 12  # a camera: what a browser asks for was analysed a moment ago
MAX_KEPT = 256 * 1024 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame as it came."""

    frame_id: str
    media_type: str
    data: bytes


@dataclass(slots=True)
class Shelf:
    """One camera's."""

    newest: Picture | None = None  # analysed or not
    analysed: deque[Picture] = field(default_factory=deque)


class Pictures:
    """Shelves by camera; beyond MAX_KEPT the camera that has been silent longest loses its oldest. Not thread-safe."""

    def __init__(self) -> None:
        self._shelves: OrderedDict[str, Shelf] = OrderedDict()  # the longest silent first
        self._bytes = 0

    def put_newest(self, camera: str, picture: Picture) -> None:
        """A frame has come; in the place of the one before."""
        shelf = self._shelf(camera)
        self._count(shelf.newest, picture)
        shelf.newest = picture
        self._trim()

    def put_analysed(self, camera: str, picture: Picture) -> None:
        """A frame has a result, one more or its first."""
        shelf = self._shelf(camera)
        if shelf.analysed and shelf.analysed[-1].frame_id == picture.frame_id:
            return
        shelf.analysed.append(picture)
        self._count(shelf.analysed.popleft() if len(shelf.analysed) > KEPT else None, picture)
        self._trim()

    def find(self, camera: str, frame_id: str = "") -> Picture | None:
        """The analysed frame of that id; without one, the newest frame there is."""
        shelf = self._shelves.get(camera, Shelf())
        if not frame_id:
            return shelf.newest
        return next((it for it in shelf.analysed if it.frame_id == frame_id), None)

    def forget(self, camera: str) -> None:
        """A camera is gone."""
        shelf = self._shelves.pop(camera, Shelf())
        for picture in (shelf.newest, *shelf.analysed):
            self._count(picture, None)

    def _shelf(self, camera: str) -> Shelf:
        shelf = self._shelves.get(camera) or self._shelves.setdefault(camera, Shelf())
        self._shelves.move_to_end(camera)
        return shelf

    def _count(self, gone: Picture | None, come: Picture | None) -> None:
        self._bytes += (len(come.data) if come else 0) - (len(gone.data) if gone else 0)

    def _trim(self) -> None:
        while self._bytes > MAX_KEPT:
            camera, shelf = next(iter(self._shelves.items()))
            if shelf.analysed:
                self._count(shelf.analysed.popleft(), None)
            else:
                self.forget(camera)
