"""Who drives an experiment: one driver at a time, by a lock on one host and a lease across hosts.

`claim.json` in the experiment's directory names the driver. See docs/design/001-journal-format.md for what a second
driver does with each kind of claim it may find, and for the window that remains.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import os
import secrets
import shlex
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import msgspec

from perdure.errors import ClaimLostError, ExperimentLockedError
from perdure.journal import codec
from perdure.storage import processes
from perdure.storage.faults import fault_point

CLAIM_NAME = "claim.json"

_SIZE = 1024  # bytes of the file: every claim is rewritten in place with one write of the same length
_RETRIES = 20
_RETRY_S = 0.01


class ClaimInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a claim says of the driver that wrote it."""

    host: str
    pid: int
    process_start: float
    boot_id: str
    pid_namespace: str
    started_at: float
    """Unix seconds."""
    lease_s: float
    lease_until: float
    """Unix seconds by that driver's clock; a driver on another host may take over from then on."""
    token: str
    inode: int
    """Of the file it was written to: in a copy of the directory it is another."""
    released: bool = False
    """The driver gave it back in good order."""

    @property
    def alive(self) -> bool:
        """Whether a driver holds the experiment now, as far as this process can tell without touching anything."""
        if self.released:
            return False
        if self.is_of_this_boot and self.pid_namespace == processes.pid_namespace():
            return processes.is_alive(self.pid, self.process_start or None)
        return self.lease_until > time.time()

    @property
    def is_of_this_boot(self) -> bool:
        """Whether the driver ran on this machine since it was last started: its pid can be looked up."""
        if self.boot_id or processes.boot_id():
            return self.boot_id == processes.boot_id()
        return self.host == processes.hostname()

    def __str__(self) -> str:
        since = dt.datetime.fromtimestamp(self.started_at, dt.timezone.utc)
        return f"host {self.host}, pid {self.pid}, started {since:%Y-%m-%d %H:%M:%S} UTC"


def read_claim(directory: str | os.PathLike[str]) -> ClaimInfo | None:
    """Return the claim of the experiment in `directory`; None if no driver has ever claimed it."""
    try:
        descriptor = os.open(Path(directory) / CLAIM_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return _read(descriptor)
    finally:
        os.close(descriptor)


class Claim:
    """This process's right to write to the experiment in `directory`. Making one takes it, or raises.

    Args:
        directory: The experiment's; it exists.
        lease_s: A driver on another host may take over when the claim has not been renewed for so many seconds.

    Raises:
        ExperimentLockedError: another driver holds it; nothing was changed.
    """

    def __init__(self, directory: Path, *, lease_s: float) -> None:
        self._path = directory / CLAIM_NAME
        self._lease_s = lease_s
        self._lost = ""
        self._released = False
        self._renewed = 0.0
        self.descriptors: list[int] = []
        """Closed in a forked child, which must hold neither the lock nor a way to write."""
        with _one_at_a_time(directory):
            self._descriptor = self._take()
        self.descriptors.append(self._descriptor)
        _claims.add(self)

    def check(self) -> None:
        """Make sure that the claim still holds, by this process's own clock. Takes under a microsecond.

        Raises:
            ClaimLostError: it has been taken over.
        """
        if self._lost:
            raise ClaimLostError(self._lost)
        # The background thread is late, or this process was halted (Ctrl-Z, a debugger). A lease that ran out is no
        # loss by itself: it lets another host take over, and if none did the experiment is still ours.
        if time.monotonic() - self._renewed > self._lease_s / 2:
            self.renew()

    def renew(self) -> None:
        """Extend the lease.

        Raises:
            ClaimLostError: another driver's claim is in its place.
        """
        now = time.monotonic()
        if not self._lost:
            self._lost = self._taken_over()
        if self._lost:
            raise ClaimLostError(self._lost)
        self._write(self._descriptor)
        self._renewed = now  # of before the write: the lease seems shorter to us than to others

    @property
    def renewal_due(self) -> bool:
        """Whether a sixth of the lease has gone by."""
        return time.monotonic() - self._renewed > self._lease_s / 6

    def release(self) -> None:
        """Give the claim back. A no-op where it is no longer held, and in a forked child."""
        if self._released:
            return
        self._released = True
        _claims.discard(self)
        if not self._lost and not self._taken_over():
            self._write(self._descriptor, released=True)
        # Unlocked by name: merely closing it would leave it locked for as long as a child holds the descriptor.
        with contextlib.suppress(OSError):
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        os.close(self._descriptor)
        self._lost = self._lost or "this driver has given the experiment back"

    # --- taking it

    def _take(self) -> int:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            locked = _lock(descriptor)
            found = _read(descriptor)
            inode = os.fstat(descriptor).st_ino
            if reason := why_refused(found, locked=locked, inode=inode):
                raise ExperimentLockedError(_refusal(self._path.parent, found, reason))
            fault_point("claim.free")
        except BaseException:
            os.close(descriptor)
            raise
        if locked is not False:
            self._sign(descriptor)
            return descriptor
        # The holder is dead, but a child of it still runs and inherited the lock: a new file takes its place.
        os.close(descriptor)
        return self._replace()

    def _replace(self) -> int:
        temporary = self._path.with_name(f".{CLAIM_NAME}.{secrets.token_hex(4)}.tmp")
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            _lock(descriptor)
            self._sign(descriptor)
            temporary.replace(self._path)
        except BaseException:
            os.close(descriptor)
            temporary.unlink(missing_ok=True)
            raise
        return descriptor

    def _sign(self, descriptor: int) -> None:
        pid = os.getpid()
        now = time.monotonic()
        self._info = ClaimInfo(
            host=processes.hostname(),
            pid=pid,
            process_start=processes.process_start(pid) or 0.0,
            boot_id=processes.boot_id(),
            pid_namespace=processes.pid_namespace(),
            started_at=time.time(),
            lease_s=self._lease_s,
            lease_until=0.0,
            token=secrets.token_hex(8),
            inode=os.fstat(descriptor).st_ino,
        )
        self._write(descriptor)
        self._renewed = now

    # --- holding it

    def _write(self, descriptor: int, *, released: bool = False) -> None:
        info = msgspec.structs.replace(self._info, lease_until=time.time() + self._lease_s, released=released)
        line = codec.seal(msgspec.json.encode(info)[:-1]).rstrip(b"\n").ljust(_SIZE - 1) + b"\n"
        fault_point("claim.begin")
        os.pwrite(descriptor, line, 0)
        fault_point("claim.written")
        os.ftruncate(descriptor, len(line))
        # Never synced: after power loss nobody is alive.

    def _taken_over(self) -> str:
        """Say who has the claim instead of us, or ""."""
        try:
            in_place = os.stat(self._path).st_ino == self._info.inode
        except FileNotFoundError:
            return f"its claim {self._path} is gone: the directory was moved or removed, or somebody deleted the file"
        found = _read(self._descriptor) if in_place else read_claim(self._path.parent)
        if found is not None and found.token == self._info.token:
            return ""
        return f"another driver has taken it over ({found or 'its claim cannot be read yet'})"

    def forget(self) -> None:
        """In a forked child: hold nothing."""
        self._lost = "this process is a forked child of the driver"
        self._released = True
        for descriptor in self.descriptors:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self.descriptors.clear()


def why_refused(found: ClaimInfo | None, *, locked: bool | None, inode: int) -> str:
    """Say why a claim that was found keeps another driver out, or "" where it may be taken.

    Args:
        found: What the claim says; None if nothing can be read.
        locked: Whether this process could lock the file; None where the file system has no locks.
        inode: Of the file.
    """
    if found is None:
        return "it is just starting" if locked is False else ""
    if found.released:
        return ""
    if found.is_of_this_boot:
        if found.pid_namespace != processes.pid_namespace():  # another container: only the lock knows
            return "" if locked else _lease_left(found)
        if not processes.is_alive(found.pid, found.process_start or None):
            return ""
        is_copy = locked and inode != found.inode
        return "" if is_copy else "it is alive"
    if locked and found.host == processes.hostname():
        return ""  # before a reboot
    return _lease_left(found)


def _lease_left(found: ClaimInfo) -> str:
    left = found.lease_until - time.time()
    return f"its claim holds for another {left:.0f} s, and longer if it renews it" if left > 0 else ""


def _refusal(directory: Path, found: ClaimInfo | None, reason: str) -> str:
    if found is None:
        return (
            f"The experiment in {directory} has another driver ({reason}). Nothing was changed. Wait for it to end, or "
            "try again in a moment to see which one it is."
        )
    if found.is_of_this_boot:
        itself = " (this very process)" if found.pid == os.getpid() else ""
        answers = f"; if it does not answer, kill {found.pid}. Then its claim can be taken over at once."
    else:
        itself = ""
        answers = ". The claim of one that was killed elsewhere can be taken over when it has run out."
    advice = f"Wait for it to end, or end it in good order: perdure stop {shlex.quote(os.fspath(directory))}{answers}"
    return f"The experiment in {directory} has another driver: {found}{itself}; {reason}. Nothing was changed. {advice}"


def _read(descriptor: int) -> ClaimInfo | None:
    """Read a claim that may be being rewritten: a mixture of two does not match its checksum, and is read again."""
    for _ in range(_RETRIES):
        line = os.pread(descriptor, 4 * _SIZE, 0).rstrip()
        if not line:
            return None
        if codec.is_sealed(line):
            with contextlib.suppress(msgspec.DecodeError):
                return msgspec.json.decode(line, type=ClaimInfo)
            return None
        time.sleep(_RETRY_S)
    return None


def _lock(descriptor: int) -> bool | None:
    """Try to lock the file; None where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


@contextlib.contextmanager
def _one_at_a_time(directory: Path) -> Iterator[None]:
    """Let one process of this host at a time look at a claim and take it. Held for about a millisecond."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # not on every file system; the creation of the epoch's file decides
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


_claims: weakref.WeakSet[Claim] = weakref.WeakSet()


def _forget_all() -> None:
    for claim in list(_claims):
        claim.forget()
    _claims.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
