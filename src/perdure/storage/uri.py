"""From what a user writes as a storage path to a directory that can be written to."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from perdure.errors import ConfigurationError, StorageError
from perdure.storage.base import storage_error
from perdure.storage.removal import remove_file
from perdure.storage.temporaries import sweep_temporaries, temporary_name

DEFAULT_STORAGE_PATH = "~/perdure_results"
STORAGE_PATH_VARIABLE = "PERDURE_STORAGE_PATH"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_PROBE = bytes(64 << 10)
"""What is written to find out whether there is space; an empty file often fits on a full disk."""


def parse_storage_path(path: str | os.PathLike[str] | None) -> Path:
    """Return the absolute directory that `path` names; touches nothing.

    Args:
        path: A path (`~` is expanded), a `file://` URI, or None for the default: the environment variable
            PERDURE_STORAGE_PATH, else `~/perdure_results`.

    Raises:
        ConfigurationError: it is a URI of another scheme, is empty, or names another host.
    """
    if path is None:
        path = os.environ.get(STORAGE_PATH_VARIABLE) or DEFAULT_STORAGE_PATH
    return Path(os.path.abspath(locate(path)))


def locate(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path that `path`, which may be a `file://` URI, names; ".." is left in, for links' sake.

    Raises:
        ConfigurationError: it is a URI of another scheme, is empty, or names another host.
    """
    text = os.fspath(path)
    if not text.strip():
        raise ConfigurationError(f"storage_path={path!r} is not a path: give a directory, such as ~/results.")
    match = _SCHEME.match(text)
    if match is not None:
        text = _path_of_uri(text, match[1].lower())
    return Path(os.path.expanduser(text)).absolute()


def check_writable(path: str | os.PathLike[str]) -> None:
    """Make the directory `path` if it is not there, and make sure that files can be written into it.

    Raises:
        ConfigurationError: it is a file, lies below one, or may not be written to.
        StorageFullError: there is no space.
        StorageError: the disk failed in another way.
    """
    directory = os.fspath(path)
    what = f"Nothing was started: storage_path {directory} cannot be used"
    try:
        os.makedirs(directory, exist_ok=True)
        sweep_temporaries(directory)
        _probe(directory)
    except (FileExistsError, NotADirectoryError):
        raise ConfigurationError(
            f"{what}: {_first_file_above(directory)} is a file. Give a directory, or a path where one can be made."
        ) from None
    except OSError as error:
        raise _refusal(error, what) from error


def _path_of_uri(uri: str, scheme: str) -> str:
    if scheme not in ("file", "local"):
        raise ConfigurationError(
            f"storage_path={uri!r}: {scheme}:// storage is not supported yet in this version of perdure. Use a local "
            "or mounted directory."
        )
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost"):
        raise ConfigurationError(
            f"storage_path={uri!r} names the host {parts.netloc!r}: write file:///absolute/path (three slashes)."
        )
    return unquote(parts.path) or "/"


def _probe(directory: str) -> None:
    probe = os.path.join(directory, temporary_name())
    try:
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            if os.write(descriptor, _PROBE) != len(_PROBE):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(descriptor)
    finally:
        remove_file(probe)


def _refusal(error: OSError, what: str) -> ConfigurationError | StorageError:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ConfigurationError(f"{what}: it is not writable ({error.strerror}: {error.filename}).")
    if error.errno == errno.ENAMETOOLONG:
        return ConfigurationError(f"{what}: a part of it is too long for this file system.")
    return storage_error(error, what)


def _first_file_above(path: str) -> str:
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path
