"""Which files beside itself an ONNX model reads: the `location` of every tensor with external data. Pure Python.

https://github.com/onnx/onnx/blob/main/onnx/onnx.proto; only the messages on the way to a tensor are followed, and no
tensor's data is touched.
"""

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path

MOST_NESTED = 64  # graphs within graphs
_LENGTHS = {1: 8, 5: 4}  # bytes of a fixed-size value by its wire type
_EXTERNAL_DATA = 13  # of TensorProto
# message -> its fields that lead to a tensor -> the message there
_FIELDS: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}


def external_locations(path: Path) -> set[str]:
    """Every `location` as it is written; none for a file that is no ONNX model. Raises OSError."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            return set()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return set(_locations(data, 0, len(data), "model", 0))
            except (ValueError, IndexError):  # OpenVINO refuses it, and says why
                return set()


def _locations(data: mmap.mmap, at: int, end: int, message: str, depth: int) -> Iterator[str]:
    if depth > MOST_NESTED:
        raise ValueError("nested too deeply")
    for field, begin, stop in _delimited(data, at, end):
        if message == "tensor" and field == _EXTERNAL_DATA:
            entry = {key: data[first:last] for key, first, last in _delimited(data, begin, stop)}
            if entry.get(1) == b"location":
                yield entry.get(2, b"").decode()
        elif field in _FIELDS[message]:
            yield from _locations(data, begin, stop, _FIELDS[message][field], depth + 1)


def _delimited(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, begin and end of each length-delimited field; raises ValueError for what is no message."""
    while at < end:
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            _, at = _varint(data, at)
        elif kind in _LENGTHS:
            at += _LENGTHS[kind]
        elif kind == 2:
            length, at = _varint(data, at)
            if at + length > end:
                raise ValueError("a field is longer than its message")
            yield key >> 3, at, at + length
            at += length
        else:
            raise ValueError(f"wire type {kind}")


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
