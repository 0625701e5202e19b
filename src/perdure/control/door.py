"""The directory of requests: `control/<id>.json`, each created once, whole, and removed by whoever answered it."""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from perdure.checkpoints.seal import seal, unseal
from perdure.core.requests import AnyRequest
from perdure.errors import CheckpointCorruptError
from perdure.storage.base import storage_error
from perdure.storage.faults import fault_point
from perdure.storage.local import write_new
from perdure.storage.removal import remove_file
from perdure.storage.sync import fsync_path
from perdure.storage.temporaries import sweep_temporaries

CONTROL = "control"
_NAME = re.compile(r"([0-9a-f-]{8,64})\.json", re.ASCII)
_decoder = msgspec.json.Decoder(AnyRequest)


class Door:
    """Where the requests to one experiment lie.

    Args:
        experiment: The experiment's directory.
    """

    def __init__(self, experiment: Path) -> None:
        self._directory = experiment / CONTROL
        self._torn: set[str] = set()
        """Those that made no sense when they were read last; one may have been half-written."""

    def post(self, request: AnyRequest) -> str:
        """Put a request there, and return its id. When it returns, the request survives a power cut.

        Raises:
            StorageError: it cannot be written.
        """
        name = uuid.uuid4().hex
        try:
            self._directory.mkdir(exist_ok=True)
            fault_point("request.begin")
            write_new(str(self._directory / f"{name}.json"), seal(msgspec.json.encode(request)), sync=True)
            with contextlib.suppress(PermissionError):  # one may use a directory that one cannot list
                fsync_path(self._directory.parent)  # where the directory's own name is, whoever made it
            fault_point("request.posted")
        except OSError as error:
            raise storage_error(error, f"The request could not be put into {self._directory}") from error
        return name

    def read(self, known: Iterable[str] = ()) -> Iterator[tuple[str, AnyRequest | None]]:
        """Yield the requests that lie there but for the `known` ones, oldest first; None for one that makes no sense.

        Costs one look at the directory, which need not be there.
        """
        for name in self._names(known):
            try:
                request = decode_request((self._directory / f"{name}.json").read_bytes())
            except msgspec.MsgspecError:
                if name in self._torn:
                    yield name, None
                self._torn.add(name)
            except OSError:
                continue  # withdrawn, or not readable right now
            else:
                yield name, request

    def remove(self, names: Iterable[str]) -> bool:
        """Remove requests for good: when it returns True, not even a power cut brings them back."""
        try:
            for name in names:
                remove_file(str(self._directory / f"{name}.json"))
                self._torn.discard(name)
            with contextlib.suppress(FileNotFoundError):
                fsync_path(str(self._directory))
        except OSError:
            return False  # they are answered already; removing them can be tried again
        return True

    def _names(self, known: Iterable[str]) -> list[str]:
        try:
            with os.scandir(self._directory) as entries:
                there = list(entries)
                matches = [(match, entry) for entry in there if (match := _NAME.fullmatch(entry.name))]
                found = [(entry.stat().st_mtime_ns, match[1]) for match, entry in matches if match[1] not in known]
        except OSError:
            return []
        if len(matches) < len(there):
            sweep_temporaries(self._directory)  # of whoever died while asking
        return [name for _, name in sorted(found)]


def decode_request(data: bytes) -> AnyRequest:
    """Return the request in `data`. One that was not sealed, of an older perdure or written by hand, will do.

    Raises:
        msgspec.MsgspecError: it is none, or it was sealed and is damaged: then it has one member too many.
    """
    try:
        content = unseal(data, CONTROL)
    except CheckpointCorruptError:
        content = data
    return _decoder.decode(content)
