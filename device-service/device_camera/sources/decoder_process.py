"""The process that reads and decodes one network stream with FFmpeg, so that FFmpeg can hang without consequences.

OpenCV opens FFmpeg's captures one after another within a process: a camera that does not answer would keep all others
from being opened. Started by `rtsp` with a socket as its only argument; imports as little as possible, since every
network camera has one. Each message is a JSON object; {} says that it has started, then each request is answered once:

    {"url", "open_ms", "read_ms", "pixels"}   ->  {"fps", "width", "height"}, or {"error"}
    {"grab"}                                  ->  {}, or {"error"}
    {"retrieve"}                              ->  {"height", "width"}, or {"error"}

The first picture of a size comes with a file descriptor of the memory that holds it and the next ones: (height, width,
3) BGR.
"""

import json
import mmap
import os
import select
import socket
import sys
import threading
from typing import Any

import cv2
import numpy as np

_LONGEST = 64 * 1024  # bytes of a message
_UNLIKELY_FPS = 240.0  # RTSP streams without a rate give their clock's (90000)


class Decoder:
    """Answers the requests of one parent."""

    def __init__(self, parent: socket.socket) -> None:
        self._parent = parent
        self._capture: cv2.VideoCapture | None = None
        self._picture: np.ndarray[Any, np.dtype[np.uint8]] | None = None
        self._pixels = 0  # at most

    def run(self) -> None:
        """Until the parent closes its end."""
        self._send({})  # started
        while data := self._parent.recv(_LONGEST):
            request = json.loads(data)
            if "url" in request:
                self._send(self._open(request))
            elif self._capture is None:
                self._send({"error": "closed"})
            elif "grab" in request:
                self._send({} if self._capture.grab() else {"error": "closed"})
            else:
                self._retrieve(self._capture)

    def _open(self, request: dict[str, Any]) -> dict[str, Any]:
        limits = (
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            request["open_ms"],
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            request["read_ms"],
        )
        # One thread: more of them hold back one picture each.
        capture = cv2.VideoCapture(request["url"], cv2.CAP_FFMPEG, [*limits, cv2.CAP_PROP_N_THREADS, 1])
        if not capture.isOpened() or not capture.get(cv2.CAP_PROP_FRAME_WIDTH):  # no packets came
            return {"error": "no video"}
        width, height = (int(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > request["pixels"]:
            return {"error": f"its pictures of {width}x{height} are over the limit of Images.MaxPixels"}
        self._capture, self._pixels = capture, request["pixels"]
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        return {"fps": fps if 0 < fps <= _UNLIKELY_FPS else 0.0, "width": width, "height": height}

    def _retrieve(self, capture: cv2.VideoCapture) -> None:
        done, picture = capture.retrieve(self._picture)
        if not done or picture is None or picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            self._send({"error": "a picture cannot be decoded"})
            return
        height, width = picture.shape[:2]
        if width * height > self._pixels:
            self._send({"error": f"a picture of {width}x{height} is over the limit of Images.MaxPixels"})
            return
        if self._picture is not None and picture.shape == self._picture.shape:
            if picture.ctypes.data != self._picture.ctypes.data:
                self._picture[:] = picture
            self._send({"height": height, "width": width})
            return
        memory = os.memfd_create("picture")
        os.ftruncate(memory, picture.nbytes)
        self._picture = np.frombuffer(mmap.mmap(memory, picture.nbytes), np.uint8).reshape(picture.shape)
        self._picture[:] = picture
        self._send({"height": height, "width": width}, memory)
        os.close(memory)

    def _send(self, answer: dict[str, Any], *descriptors: int) -> None:
        socket.send_fds(self._parent, [json.dumps(answer).encode()], descriptors)


def main() -> None:
    """Entry point: `python -m device_camera.sources.decoder_process DESCRIPTOR`."""
    descriptor = int(sys.argv[1])

    def end_with_parent() -> None:
        poll = select.poll()
        poll.register(descriptor, 0)  # only its hang-up
        poll.poll()
        os._exit(0)

    threading.Thread(target=end_with_parent, daemon=True).start()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    cv2.setNumThreads(1)
    Decoder(socket.socket(fileno=descriptor)).run()


if __name__ == "__main__":
    main()
