"""A handle on a checkpoint: a directory of files, under Ray's names.

The handle is a path and nothing more; it may be pickled, sent to another process and compared. Making one touches no
file.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from perdure.checkpoints.metadata import encode_metadata, read_metadata
from perdure.errors import CheckpointError, CheckpointMissingError, ConfigurationError
from perdure.storage.base import storage_error
from perdure.storage.copying import copy_tree
from perdure.storage.layout import METADATA, OWN_FILES, checkpoint_number
from perdure.storage.local import write_atomic
from perdure.storage.uri import parse_storage_path

_GONE = {
    **dict.fromkeys(
        ("from_dict", "to_dict", "from_bytes", "to_bytes", "get_internal_representation"),
        "write the data into files of a directory and use Checkpoint.from_directory(path)",
    ),
    **dict.fromkeys(("value", "dir_or_data"), "use its `path`"),
    **dict.fromkeys(("from_uri", "to_uri", "uri"), "use Checkpoint(path) and its `path`"),
    **dict.fromkeys(("get_preprocessor", "set_preprocessor"), "use get_metadata() and set_metadata()"),
}
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


class _CheckpointType(type):
    """Says what to use instead of methods that checkpoints had long ago."""

    def __getattr__(cls, name: str) -> object:
        if name in _GONE:
            raise AttributeError(f"Checkpoint has no {name}: {_GONE[name]}.")
        raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}")


class Checkpoint(metaclass=_CheckpointType):
    """A checkpoint: the files in one directory.

    Args:
        path: The directory; a path (`~` is expanded, a relative one counts from the working directory of now) or a
            `file://` URI. It need not exist yet; using or reporting the checkpoint raises if it does not.
        filesystem: None, or pyarrow's LocalFileSystem; others are not supported yet.

    Attributes:
        path: The absolute path, a str.

    Raises:
        ConfigurationError: `path` or `filesystem` is of a storage that is not supported.
    """

    path: str

    def __init__(self, path: str | os.PathLike[str], filesystem: Any = None) -> None:
        if filesystem is not None and getattr(filesystem, "type_name", None) != "local":
            raise ConfigurationError(
                f"Checkpoint({str(path)!r}, filesystem={filesystem!r}): only local file systems are supported in "
                "this version of perdure. Download the files and use Checkpoint.from_directory(path)."
            )
        text = os.fspath(path)
        if not text:
            raise ConfigurationError("Checkpoint('') names no directory.")
        if _SCHEME.match(text):
            text = os.fspath(parse_storage_path(text))
        self.path = os.path.abspath(os.path.expanduser(text))

    @classmethod
    def from_directory(cls, path: str | os.PathLike[str]) -> Checkpoint:
        """Return the checkpoint that consists of the files in the directory `path`. Nothing is copied."""
        return cls(path)

    @property
    def filesystem(self) -> Any:
        """The file system that `path` lies in, as pyarrow's LocalFileSystem; None if pyarrow is not installed."""
        try:
            from pyarrow.fs import LocalFileSystem
        except ImportError:
            return None
        return LocalFileSystem()

    def to_directory(self, path: str | os.PathLike[str] | None = None) -> str:
        """Copy the checkpoint's files, and its metadata, into a directory, and return its path.

        Args:
            path: Where to; made if it is not there, files of the same name are replaced. None makes a new
                temporary directory, which is the caller's to remove.

        Raises:
            CheckpointMissingError: the checkpoint's directory does not exist.
            StorageError: the files cannot be copied.
        """
        self._check_exists()
        if path is None:
            import tempfile

            target = tempfile.mkdtemp(prefix="checkpoint_tmp_")
        else:
            target = os.path.abspath(os.path.expanduser(os.fspath(path)))
            if os.path.isdir(target) and os.path.samefile(target, self.path):
                return target
            if target.startswith(os.path.join(self.path, "")):
                raise CheckpointError(f"{target} lies inside the checkpoint {self.path}. Nothing was copied.")
        try:
            copy_tree(self.path, target, leave_out=OWN_FILES)
        except OSError as error:
            raise storage_error(error, f"The checkpoint {self.path} could not be copied to {target}") from error
        return target

    @contextlib.contextmanager
    def as_directory(self) -> Iterator[str]:
        """Give a directory that holds the checkpoint's files: its own, so nothing is copied, and nothing removed.

        Treat it as read-only.

        Raises:
            CheckpointMissingError: the checkpoint's directory does not exist.
        """
        self._check_exists()
        yield self.path

    def get_metadata(self) -> dict[str, Any]:
        """Return the metadata stored with the checkpoint; an empty dict if there is none.

        Raises:
            CheckpointMissingError: the checkpoint's directory does not exist.
            CheckpointCorruptError: the metadata is not what was stored. A plain JSON object of another program's is
                taken as it is.
            StorageError: it cannot be read right now, after several tries.
        """
        self._check_exists()
        return read_metadata(self.path)

    def set_metadata(self, metadata: dict[str, Any]) -> None:
        """Store `metadata`, which must be JSON data, with the checkpoint; it replaces what was stored.

        Raises:
            CheckpointMissingError: the checkpoint's directory does not exist.
            ConfigurationError: it is not JSON data; what was stored stays.
        """
        self._check_exists()
        try:
            data = encode_metadata(metadata)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"set_metadata({metadata!r}): {error}. Nothing was stored; metadata is JSON data, other objects go "
                "into files of the checkpoint."
            ) from error
        try:
            write_atomic(os.path.join(self.path, METADATA), data)
        except OSError as error:
            raise storage_error(error, f"The metadata of {self.path} could not be stored") from error

    def update_metadata(self, metadata: dict[str, Any]) -> None:
        """Add `metadata` to what is stored; a key that is there already gets the new value."""
        self.set_metadata({**self.get_metadata(), **metadata})

    def pin(self) -> None:
        """Keep this checkpoint, whatever `num_to_keep` or `perdure gc` say, until `unpin`; across restarts, too.

        Works in a trial, in a callback, beside a running experiment and after it. When it returns, the experiment's
        journal says so (in a callback: it does so together with what the callback was called for). Pinning what is
        pinned changes nothing.

        Raises:
            CheckpointMissingError: there is no checkpoint at `path`.
            CheckpointError: it is not a checkpoint of an experiment: a directory of your own, or a copy.
            RequestRefusedError: it is being removed already.
            DriverSilentError: the experiment's driver is alive and did not answer.
            StorageError: the experiment cannot be read or written.
        """
        self._ask_to_pin(pinned=True)

    def unpin(self) -> None:
        """Leave this checkpoint to the retention policy again. Raises as `pin`."""
        self._ask_to_pin(pinned=False)

    def _ask_to_pin(self, *, pinned: bool) -> None:
        from perdure.checkpoints.manifest import read_manifest
        from perdure.control.asking import ask
        from perdure.core.requests import Pin

        self._check_exists()
        experiment = Path(self.path).parent.parent
        known = checkpoint_number(os.path.basename(self.path)) is not None
        if not known or not any(experiment.glob("journal-*.jsonl")):
            raise CheckpointError(
                f"{self.path} is not a checkpoint that an experiment keeps, so it cannot be pinned. "
                "In a trial, pin what get_checkpoint() returns after the report; afterwards, Result.checkpoint."
            )
        manifest = read_manifest(self.path)
        ask(experiment, Pin(trial=manifest.trial, number=manifest.number, pinned=pinned))

    def _check_exists(self) -> None:
        if not os.path.isdir(self.path):
            what = "is a file, not a directory" if os.path.exists(self.path) else "does not exist"
            raise CheckpointMissingError(f"There is no checkpoint at {self.path}: it {what}.")

    def __repr__(self) -> str:
        return f"Checkpoint(filesystem=local, path={self.path})"

    def __eq__(self, other: object) -> bool:
        return self.path == other.path if isinstance(other, Checkpoint) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.path)

    def __fspath__(self) -> str:
        raise TypeError("A Checkpoint is not a path: use its `path`, as_directory() or to_directory().")

    def __getattr__(self, name: str) -> object:
        if name in _GONE:
            raise AttributeError(f"Checkpoint has no {name}: {_GONE[name]}.")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def checkpoint_at(path: str) -> Checkpoint:
    """Return the checkpoint in a directory whose path is absolute already: one for each row, at a tenth of the cost."""
    checkpoint = Checkpoint.__new__(Checkpoint)
    checkpoint.path = path
    return checkpoint
