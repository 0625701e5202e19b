"""Large objects that every trial reads: stored once in a file of their own and mapped, not copied, by each process.

The file is a pickle (protocol 5) followed by its out-of-band buffers, such as the data of NumPy arrays. Loading maps
the file copy-on-write, so all processes that load it share the same pages of memory until one writes to them, and a
writer changes only its own copy.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
from pathlib import Path

import msgspec
import xxhash

from perdure.errors import TrainableError
from perdure.storage.sync import fsync_path
from perdure.storage.temporaries import temporary_name

_ALIGNMENT = 4096
"""Bytes: each buffer begins on a page of its own, so that writing to one array copies no page of its neighbour."""


class Parameter:
    """A value given through `with_parameters`, under its argument's name."""

    __slots__ = ("name", "value")

    def __init__(self, name: str, value: object) -> None:
        self.name = name
        self.value = value


class _Buffer(msgspec.Struct, frozen=True, array_like=True):
    offset: int
    nbytes: int
    readonly: bool


class _Place(msgspec.Struct, frozen=True, array_like=True):
    """What stands in the main pickle for a parameter."""

    name: str
    file: str
    pickled: int
    nbytes: int
    buffers: tuple[_Buffer, ...]


def store(parameter: Parameter, directory: Path) -> bytes:
    """Write the value into a file in `directory` named after its content, and return what names its place there.

    A file that is there already is used as it is. On the disk when it returns.

    Raises:
        Whatever pickling the value raises.
    """
    import cloudpickle

    raw: list[pickle.PickleBuffer] = []
    stream = io.BytesIO()
    cloudpickle.CloudPickler(stream, protocol=5, buffer_callback=lambda buffer: _keep_contiguous(buffer, raw)).dump(
        parameter.value
    )
    body = stream.getbuffer()
    views = [buffer.raw() for buffer in raw]
    buffers, end = [], len(body)
    for view in views:
        offset = -(-end // _ALIGNMENT) * _ALIGNMENT
        buffers.append(_Buffer(offset, view.nbytes, view.readonly))
        end = offset + view.nbytes
    name = f"parameter-{parameter.name}-{_digest(body, views)}.pkl"
    place = _Place(parameter.name, name, len(body), end, tuple(buffers))
    target = directory / name
    if not _is_whole(target, place):
        _write(target, body, views, place)
    return msgspec.json.encode(place)


def load(pid: bytes, directory: Path) -> Parameter:
    """Map the parameter that `store` put into `directory`.

    Raises:
        TrainableError: its file is not there, or is not the one that was written.
    """
    place = msgspec.json.decode(pid, type=_Place)
    path = directory / place.file
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except (OSError, ValueError) as error:
        raise _unusable(place, path, str(error)) from error
    if len(mapped) != place.nbytes:
        raise _unusable(place, path, f"it has {len(mapped)} bytes instead of {place.nbytes}")
    view = memoryview(mapped)
    value = pickle.loads(view[: place.pickled], buffers=[_part(view, buffer) for buffer in place.buffers])
    return Parameter(place.name, value)


def _unusable(place: _Place, path: Path, why: str) -> TrainableError:
    return TrainableError(
        f"The value of the parameter {place.name!r} cannot be read from {path}: {why}. Give the trainable again, with "
        "tune.with_parameters(...), when restoring."
    )


def _keep_contiguous(buffer: pickle.PickleBuffer, kept: list[pickle.PickleBuffer]) -> bool:
    try:
        buffer.raw()
    except BufferError:  # not contiguous: it goes into the pickle itself
        return True
    kept.append(buffer)
    return False


def _part(view: memoryview, buffer: _Buffer) -> memoryview:
    part = view[buffer.offset : buffer.offset + buffer.nbytes]
    return part.toreadonly() if buffer.readonly else part


def _is_whole(target: Path, place: _Place) -> bool:
    """Whether the file is there and has the content that its name tells."""
    try:
        with target.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        return False
    with mapped, memoryview(mapped) as view:
        parts = [view[buffer.offset : buffer.offset + buffer.nbytes] for buffer in place.buffers]
        digest = _digest(view[: place.pickled], parts)
        for part in parts:
            part.release()
        return len(mapped) == place.nbytes and target.stem.endswith(f"-{digest}")


def _digest(body: memoryview, views: list[memoryview]) -> str:
    digest = xxhash.xxh3_128(body)
    for view in views:
        digest.update(view.nbytes.to_bytes(8, "little"))
        digest.update(view)
    return digest.hexdigest()[:16]


def _write(target: Path, body: memoryview, views: list[memoryview], place: _Place) -> None:
    temporary = target.with_name(temporary_name())
    try:
        with temporary.open("wb") as file:
            file.write(body)
            for view, buffer in zip(views, place.buffers, strict=True):
                file.seek(buffer.offset)
                file.write(view)
            file.truncate(place.nbytes)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    fsync_path(target.parent)
