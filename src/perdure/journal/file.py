"""The journal on a disk: one writer that appends to its epoch's file, and any number of readers.

`append` is one `write`; what it acknowledged survives the death of any process. A background thread syncs the file
at least every second and then replaces `journal.head`. See docs/design/001-journal-format.md.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from perdure.core.events import AnyEvent
from perdure.errors import (
    ClaimLostError,
    ConfigurationError,
    JournalCorruptError,
    StorageError,
    StorageFullError,
)
from perdure.journal import blocks, codec, epochs, recovery
from perdure.journal.base import START, Batch, Position
from perdure.journal.claim import Claim
from perdure.journal.codec import Record
from perdure.journal.epochs import Hasher, Head, Segment
from perdure.journal.outlines import Outlined, decode_outlines
from perdure.journal.reading import reading
from perdure.journal.recovery import CutReport, Damage, repair_journal, verify_journal
from perdure.storage.faults import fault_point

__all__ = ["CutReport", "Damage", "FileJournal", "FileJournalReader", "repair_journal", "verify_journal"]

R = TypeVar("R", bound=Outlined)

_position = functools.partial(tuple.__new__, Position)  # a third of what `Position(...)` takes, for every record read
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class _Written(NamedTuple):
    """What has been acknowledged. Replaced as a whole, so that another thread never sees half of an append."""

    sequence: int
    offset: int
    hasher: Hasher
    """Of the file up to `offset`; never updated, only copied."""
    staged: list[bytes]
    """Lines that are to follow. In here so that an interrupt cannot come between writing and forgetting them."""


class FileJournal:
    """Takes the experiment in `directory` and writes its journal. One thread may append; `sync` may come from any.

    Args:
        directory: The experiment's; made if it is not there.
        strict: Every append also waits until its bytes have reached the disk.
        sync_interval_s: How often at least what is new is synced in the background.
        lease_s: A driver on another host may take over when this one has not renewed its claim for so long.

    Raises:
        ExperimentLockedError: another driver is running the experiment.
        JournalCorruptError: acknowledged records are damaged; names file, line and byte. Nothing was changed.
        JournalVersionError: the journal was written by a newer perdure.
        StorageFullError: no space.
        StorageError: the directory cannot be written to.
    """

    cut: CutReport | None
    """What the last driver was writing when it died, and is not history."""
    notes: tuple[str, ...]
    """What a person should know about the state the journal was found in."""
    past: FileJournalReader
    """Reads what earlier drivers wrote: the history that this one goes on from, which nobody adds to any more."""

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        strict: bool = False,
        sync_interval_s: float = 1.0,
        lease_s: float = 30.0,
    ) -> None:
        if not (sync_interval_s > 0 and lease_s > 0):
            raise ConfigurationError(
                f"FileJournal(sync_interval_s={sync_interval_s!r}, lease_s={lease_s!r}): use seconds above 0."
            )
        self.directory = Path(os.path.abspath(directory))
        self._strict = strict
        self._failure: StorageError | None = None
        self._uncertain = False
        self._closed = False
        self._synced = 0
        self._synced_sequence = 0
        self._sync_lock = threading.Lock()
        self._stop = threading.Event()
        try:
            _make_directory(self.directory)
            self._claim = Claim(self.directory, lease_s=lease_s)
            try:
                self._open()
            except BaseException:
                self._claim.release()
                raise
        except OSError as error:
            raise _opening_failed(self.directory, error) from error
        self._pause_s = min(sync_interval_s, lease_s / 6)
        self._thread = threading.Thread(target=self._run, name="perdure-journal-sync", daemon=True)
        self._thread.start()

    def _open(self) -> None:
        found = recovery.inspect(self.directory, tick=self._claim.check)
        recovery.raise_if_refused(found)
        header, sequence = recovery.header_after(found)
        self._claim.check()
        if not found.newest:
            _sync_name(self.directory)
        fault_point("epoch.begin")
        self._epoch = found.newest + 1
        self._descriptor, line = epochs.create_epoch(self.directory, self._epoch, header, sequence)
        self._claim.descriptors.append(self._descriptor)
        epochs.sweep_temporaries(self.directory)  # only now: a driver that loses its file must see why
        fault_point("epoch.done")
        hasher = epochs.new_hasher()
        hasher.update(line)
        self._written = _Written(sequence, len(line), hasher, [])
        self._successor = str(epochs.epoch_path(self.directory, self._epoch + 1))
        self.cut = recovery.cut_of(found)
        self.notes = tuple(found.notes)
        self.past = FileJournalReader(self.directory, chain=recovery.settled(found, header))

    @property
    def epoch(self) -> int:
        """The number of this driver."""
        return self._epoch

    @property
    def position(self) -> Position:
        """Of the record appended last; the end of the header before the first."""
        written = self._written
        return _position((self._epoch, written.sequence, written.offset))

    @property
    def lost(self) -> bool:
        """Whether another driver has taken over, as far as that can be told without looking at the claim."""
        return isinstance(self._failure, ClaimLostError) or os.access(self._successor, os.F_OK)

    # --- writing

    @property
    def synced(self) -> int:
        """Sequence number of the last record that is known to have reached the disk."""
        return self._written.sequence if self._strict else self._synced_sequence

    def stage(self, event: AnyEvent) -> AnyEvent:
        """Add `event` to the batch that `commit` will write, and return it as decoded from what will be written.

        Raises:
            InternalError: the event is not data. It was not staged.
        """
        written = self._written
        line, decoded = codec.encode_and_decode(event, self._epoch, written.sequence + len(written.staged) + 1)
        written.staged.append(line)
        return decoded

    def append(self, events: Sequence[AnyEvent]) -> list[AnyEvent]:
        """Stage and commit at once: write all of `events` with one write, and return them as decoded from it.

        Raises:
            InternalError: an event is not data. Nothing was written.
            StorageError: as `commit`.
        """
        staged = self._written.staged
        before = len(staged)
        try:
            decoded = [self.stage(event) for event in events]
            self.commit()
        except BaseException:
            del staged[before:]
            raise
        return decoded

    def commit(self) -> None:
        """Write all that was staged with one write. When it returns it survives the death of any process.

        Raises:
            ClaimLostError: another driver has taken over. Nothing was written.
            StorageFullError: no space; nothing of the batch stays in the file, and `commit` may be tried again.
            StorageError: the storage fails; the journal cannot be used any more.
        """
        written = self._written
        block = b"".join(written.staged)
        if self._uncertain:
            self._withdraw()
        hasher = written.hasher.copy()
        hasher.update(block)
        self._check()  # last thing before the write: what comes between them is the window that remains
        if not block:
            return
        self._uncertain = True
        try:
            fault_point("journal.begin")
            self._write(block)
            fault_point("journal.written")
            if self._strict:
                self._sync_file()
                fault_point("journal.flushed")
        except OSError as error:
            self._undo(error)
        self._written = _Written(written.sequence + len(written.staged), written.offset + len(block), hasher, [])
        self._uncertain = False

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        try:
            self._claim.check()
            if os.access(self._successor, os.F_OK):
                raise ClaimLostError(f"another driver has created {os.path.basename(self._successor)}")
        except ClaimLostError as error:
            self._failure = _lost(self.directory, error)
            raise self._failure from error

    def _write(self, block: bytes) -> None:
        count = os.write(self._descriptor, block)
        if count < len(block):  # a disk that is nearly full, or a signal in a very large batch
            rest = memoryview(block)
            while count < len(block):
                count += os.write(self._descriptor, rest[count:])

    def _undo(self, error: OSError) -> None:
        """Take back what of a batch was written, none of which was acknowledged, and say why."""
        try:
            self._withdraw()
        except OSError as second:
            self._failure = StorageError(
                f"Writing to the journal in {self.directory} failed ({error}), and what was written could not be taken "
                f"back ({second}). The driver stops; resume the experiment when the storage works again."
            )
            raise self._failure from error
        if error.errno in _FULL:
            raise StorageFullError(
                f"There is no space for the journal in {self.directory} ({error}). Nothing of the last batch stays in "
                "it, and all before it is kept. Make space, then resume the experiment."
            ) from error
        self._failure = StorageError(
            f"Writing to the journal in {self.directory} failed: {error}. All that was acknowledged before is kept. "
            "Resume the experiment when the storage works again."
        )
        raise self._failure from error

    def _withdraw(self) -> None:
        """Cut our own file back to what was acknowledged: a write failed, or an interrupt came in the middle of one."""
        os.ftruncate(self._descriptor, self._written.offset)
        self._uncertain = False

    # --- syncing

    def sync(self) -> None:
        """Return when everything appended so far has reached the disk.

        Raises:
            StorageError: it cannot; the kernel may have dropped the bytes, so nothing can be appended any more.
        """
        self._check()
        self._sync()

    def _sync(self) -> None:
        # This lock is never taken by append: a slow disk delays nobody who reports.
        with self._sync_lock:
            if self._failure is not None:  # perhaps of a sync that this one waited for: a second one would succeed
                raise self._failure
            written = self._written
            if written.offset == self._synced:
                return
            fault_point("sync.begin")
            self._sync_file()
            fault_point("sync.done")
            self._synced = written.offset
            self._synced_sequence = written.sequence
            head = Head(
                epoch=self._epoch, sequence=written.sequence, offset=written.offset, hash=written.hasher.hexdigest()
            )
            try:
                # A driver that was halted here must not take the head back from its successor.
                if not os.access(self._successor, os.F_OK):
                    epochs.write_head(self.directory, head)
            except OSError as error:
                if error.errno not in _FULL:
                    raise self._fail(error) from error
                self._synced = 0  # the old head is still true; try again next time

    def _sync_file(self) -> None:
        try:
            epochs.fdatasync(self._descriptor)
        except OSError as error:
            # Trying again proves nothing: the kernel marks pages it failed to write as clean.
            self._failure = StorageError(
                f"The disk refused what was written to the journal in {self.directory}: {error}. The driver stops, "
                "since it cannot know what was kept. Resume the experiment when the storage works again."
            )
            raise self._failure from error

    def _run(self) -> None:
        """Body of the background thread."""
        while self.keep_up() and not self._stop.wait(self._pause_s):
            pass

    def keep_up(self) -> bool:
        """Sync what is new, and renew the claim when that is due. False: this failed, and so will every append.

        The background thread does so at every interval; a simulation calls it without a thread.
        """
        try:
            self._sync()
            if self._claim.renewal_due:
                self._claim.renew()
        except OSError as error:
            self._fail(error)
            return False
        return True

    def _fail(self, error: OSError) -> StorageError:
        """Have every later append raise what is returned: the claim is lost, or else the storage fails."""
        if self._failure is None:
            try:
                self._claim.renew()
            except ClaimLostError as lost:
                self._failure = _lost(self.directory, lost)
            except OSError:
                pass
        if self._failure is None:
            self._failure = StorageError(
                f"The journal in {self.directory} cannot be kept safe: {error}. The driver stops; resume the "
                "experiment when the storage works again."
            )
        return self._failure

    # --- ending

    def close(self) -> None:
        """Sync, and give the claim back. A no-op the second time, and in a forked child."""
        if self._closed or self._descriptor not in self._claim.descriptors:
            return
        self._closed = True
        self._stop.set()
        self._thread.join()
        fault_point("close.begin")
        try:
            if self._failure is None:
                if self._uncertain:
                    self._withdraw()
                self._check()
                self._sync()
        finally:
            self._failure = self._failure or ClaimLostError(
                f"The journal in {self.directory} has been closed; nothing was written."
            )
            self._claim.descriptors.remove(self._descriptor)
            os.close(self._descriptor)
            self._claim.release()
            fault_point("close.done")

    def __enter__(self) -> FileJournal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _make_directory(directory: Path) -> None:
    if not directory.is_dir():
        if directory.parent != directory:
            _make_directory(directory.parent)
        directory.mkdir(exist_ok=True)
        _sync_name(directory)


def _sync_name(directory: Path) -> None:
    """Have the directory's own name on the disk, whoever made it: a power cut must not take all that lies in it."""
    with contextlib.suppress(PermissionError):  # one may use a directory that one cannot list
        epochs.sync_directory(directory.parent)


def _lost(directory: Path, error: ClaimLostError) -> ClaimLostError:
    return ClaimLostError(
        f"This driver no longer owns the experiment in {directory}: {error}. It wrote nothing more and stops. If no "
        "other driver is running (`perdure ls` names it), resume the experiment."
    )


def _opening_failed(directory: Path, error: OSError) -> OSError:
    if isinstance(error, StorageError):
        return error
    if error.errno in _FULL:
        return StorageFullError(f"There is no space for a journal in {directory} ({error}). Make some and start again.")
    return StorageError(
        f"The journal in {directory} cannot be opened: {error}. Nothing was started. Check that the path is a "
        "directory that you may write to."
    )


class FileJournalReader:
    """Reads the journal of the experiment in `directory`, while a driver writes it or after. Changes nothing.

    Going on from a position costs what is new, not what is there.

    Args:
        directory: The experiment's.
        chain: The epochs to read, where somebody has followed it; otherwise it is, and again when there is a new one.
    """

    def __init__(self, directory: str | os.PathLike[str], *, chain: tuple[Segment, ...] | None = None) -> None:
        self.directory = Path(directory)
        self._chain = chain
        self._segments: tuple[Segment, ...] = ()
        self._newest = 0

    def read(self, after: Position = START) -> Iterator[tuple[Position, AnyEvent]]:
        """Yield the valid records that follow `after`, up to what has been written by now.

        A torn last line is not there yet: it is not yielded, and a later call may yield it whole.

        Raises:
            JournalCorruptError: acknowledged records are damaged; names file, line and byte.
            JournalVersionError: the journal was written by a newer perdure.
            StorageError: `after` is no longer part of history (its driver had lost the claim): read again from START.
                Or a file cannot be read right now; the message names it.
        """
        skipped = after.sequence if not after.offset else 0
        for batch in self._batches(after, codec.decode_records):
            epoch = batch.epoch
            for record, end in zip(batch.records, batch.ends, strict=True):
                if record.q > skipped:
                    yield _position((epoch, record.q, end)), record.d

    def read_many(self, after: Position = START) -> Iterator[Batch[Outlined]]:
        """Yield what `read` yields and raises, many records at a time, with rows in outline.

        For a position that does not say at which byte it stands, reading begins where its epoch does.
        """
        return self._batches(after, decode_outlines)

    def reread(self, until: Position) -> Iterator[Sequence[Record]]:
        """Yield the records up to `until` once more, many at a time. What was checked when it was read is not again."""
        for segment in self._history():
            if segment.epoch > until.epoch:
                return
            end = until.offset if segment.epoch == until.epoch else segment.limit
            assert end is not None, "a segment before the one that was read to its end has one"
            yield from blocks.reread_records(segment, end)

    def _history(self) -> tuple[Segment, ...]:
        """Return the chain of epochs; a directory listing only where there is an epoch that was not known yet."""
        if self._chain is not None:
            return self._chain
        if not self._newest or epochs.epoch_path(self.directory, self._newest + 1).exists():
            with reading(self.directory):
                found = recovery.walk(self.directory)
            recovery.raise_if_refused(found)
            self._segments = tuple(found.segments)
            # An epoch whose header is not whole yet may get one: look again next time.
            is_settled = bool(self._segments) and self._segments[-1].epoch == found.newest
            self._newest = found.newest if is_settled else 0
        return self._segments

    def _batches(self, after: Position, decoder: Callable[[bytes], list[R]]) -> Iterator[Batch[R | Record]]:
        segments = self._history()
        first = _first_segment(segments, after, self.directory)
        sequence = after.sequence if after.offset else -1
        for segment in segments[first:]:
            offset = after.offset if segment.epoch == after.epoch and after.offset else segment.start
            if offset == segment.start and sequence not in (-1, segment.sequence):
                raise self._corrupt(segment, 0, f"it goes on from record {segment.sequence}, not from {sequence}")
            sequence = segment.sequence if offset == segment.start else sequence
            sequence = yield from self._segment(segment, offset, sequence, decoder)

    def _segment(
        self, segment: Segment, offset: int, sequence: int, decoder: Callable[[bytes], list[R]]
    ) -> Generator[Batch[R | Record], None, int]:
        """Yield the records of one epoch after (`offset`, `sequence`); return the number of the last one."""
        suspect = -1
        while True:
            offset, sequence, problem = yield from blocks.read_records(
                segment, offset, sequence, decoder, lambda: self._vouched(segment)
            )
            if segment.limit is not None:
                if problem or offset < segment.limit:
                    raise self._corrupt(segment, offset, problem or "the file ends here, before its successor begins")
                return sequence
            if offset == suspect:
                raise self._corrupt(segment, offset, problem or "the file ends here, and more had reached the disk")
            if not self._should_go_on(segment, offset, problem):
                return sequence
            suspect = offset  # it had been written by now, so it must be there when read once more

    def _vouched(self, segment: Segment) -> tuple[int, str]:
        """Return how much of an epoch's file somebody knows the hash of, and the hash."""
        if segment.limit is not None:
            return segment.limit, segment.hash
        head = epochs.read_head(self.directory)
        return (head.offset, head.hash) if head is not None and head.epoch == segment.epoch else (0, "")

    def _should_go_on(self, segment: Segment, offset: int, problem: str) -> bool:
        """Whether the record at `offset`, of the last epoch, has long been written: then it is not torn but damaged."""
        head = epochs.read_head(self.directory)
        if head is not None:
            return head.epoch == segment.epoch and head.offset > offset
        return bool(problem) and _has_valid_line(segment.path, offset)

    def _corrupt(self, segment: Segment, offset: int, what: str) -> JournalCorruptError:
        line = recovery.line_number(segment.path, offset)
        return JournalCorruptError(
            f"{segment.path}, line {line}, byte {offset}: {what}. The records before it were read, nothing was "
            "changed. `perdure verify` lists all that is damaged, ResultGrid.from_path(path, salvage=True) reads what "
            "precedes it, and `perdure repair` gives up what follows."
        )


def _first_segment(segments: Sequence[Segment], after: Position, directory: Path) -> int:
    """Return the index of the segment in which reading goes on."""
    if after.epoch == 0:
        return 0
    for index, segment in enumerate(segments):
        if segment.epoch == after.epoch and (segment.limit is None or after.offset <= segment.limit):
            return index
    raise StorageError(
        f"{after} is no longer part of the journal in {directory}: the driver that wrote it had lost the experiment, "
        "or the journal was repaired. Read it again from the start."
    )


def _has_valid_line(path: Path, offset: int) -> bool:
    """Whether a whole record follows the bad one at `offset`."""
    with reading(path), path.open("rb") as file:
        file.seek(offset)
        file.readline()
        return any(codec.is_sealed(line) for line in file)
