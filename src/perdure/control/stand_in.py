"""A driver for a moment: answers the requests to an experiment that nobody drives.

It takes the claim as any driver does, so it is refused while one is alive, and one that starts meanwhile is refused
until it is done. It makes sure that nothing of earlier attempts runs, ends them for the record, answers, and keeps
house. It starts no trial, asks no plugin, and unpickles nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from perdure.checkpoints.manager import delete_checkpoint, sweep
from perdure.control.desk import Desk
from perdure.control.door import Door
from perdure.core.commands import Delete, Retire
from perdure.core.events import (
    AnyEvent,
    CheckpointsDeleted,
    CheckpointsRetired,
    DriverStarted,
    DriverStopped,
    Noticed,
    Source,
)
from perdure.core.planner import keep_house
from perdure.core.transitions import apply
from perdure.folding import Recovered, end_leftovers, recover
from perdure.journal.file import FileJournal
from perdure.storage import processes
from perdure.storage.layout import checkpoint_name


def stand_in(experiment: Path) -> None:
    """Answer all requests that wait.

    Raises:
        ExperimentLockedError: a driver is alive; it answers them.
        StorageError: the journal cannot be read or written. What was not answered still waits.
    """
    journal = FileJournal(experiment)
    try:
        recovered = recover(experiment, journal.past, journal.position, whole=False)
        notes = [*map(str, filter(None, [journal.cut])), *journal.notes, *recovered.notes]
        if left := end_leftovers(recovered, experiment):
            pids = ", ".join(map(str, left))
            notes.append(f"Processes of an earlier session could not be killed: end them yourself (pids {pids}).")
        StandIn(experiment, journal, recovered).run(notes)
    finally:
        journal.close()


class StandIn:
    """The driver for a moment.

    Args:
        experiment: The experiment's directory.
        journal: Its journal, whose claim this process has.
        recovered: What earlier drivers left; their processes have ended.
    """

    def __init__(self, experiment: Path, journal: FileJournal, recovered: Recovered) -> None:
        self.state = recovered.state
        self._unsettled = recovered.unsettled
        self._experiment = experiment
        self._journal = journal
        self._staged = 0
        self._desk = Desk(self, Door(experiment), saves=False, wall_clock=time.time)

    def run(self, notes: Sequence[str] = ()) -> None:
        """Answer, keep house, and say so in the journal; `notes` are for people to read."""
        finished, reason = self.state.finished, self.state.stopping
        self.emit(
            DriverStarted(
                at=time.time(),
                epoch=self._journal.epoch,
                host=processes.hostname(),
                pid=os.getpid(),
                process_start=processes.process_start(os.getpid()) or 0.0,
                boot_id=processes.boot_id(),
                capacity=self.state.capacity,
            )
        )
        for text in notes:
            self.emit(Noticed(at=time.time(), text=text))
        self._desk.attend(0.0)
        self._commit()
        self._sweep()
        self._keep_house()
        self._desk.clear()
        self.emit(DriverStopped(at=time.time(), finished=finished, reason=reason or ""))
        self._commit()

    def _sweep(self) -> None:
        """Remove what attempts left unfinished, or nobody has heard of, of trials that will not run again."""
        for trial in (self.state.trials[trial] for trial in self._unsettled):
            if trial.status.finished:
                keep = {checkpoint_name(number) for number in range(trial.next_checkpoint)}
                sweep(self._experiment / trial.directory, keep=keep)

    def _keep_house(self) -> None:
        """Retire what nothing needs any more, and remove what is retired. Bringing to the disk is a driver's work."""
        while commands := keep_house(self.state):
            for command in commands:
                match command:
                    case Retire():
                        self.emit(CheckpointsRetired(at=time.time(), items=command.items))
                    case Delete():
                        self._delete(command.items)
                    case _:
                        pass
        self._commit()

    def _delete(self, items: tuple[Source, ...]) -> None:
        self._commit()  # that they are retired is on the disk before a byte of them is gone
        gone = []
        for item in items:
            folder = self._experiment / self.state.trials[item.trial].directory / checkpoint_name(item.number)
            try:
                delete_checkpoint(folder)
            except OSError as error:  # it is retired all the same; the next driver tries again
                self.emit(Noticed(at=time.time(), trial=item.trial, text=f"{folder} could not be deleted: {error}"))
            else:
                gone.append(item)
        if gone:
            self.emit(CheckpointsDeleted(at=time.time(), items=tuple(gone)))

    def _commit(self) -> None:
        self._journal.commit()
        self._journal.sync()
        self._staged = 0

    # --- what the desk needs ----------------------------------------------------------------------------------------

    def emit(self, event: AnyEvent) -> None:
        apply(self.state, self._journal.stage(event))
        self._staged += 1

    def after_commit(self, effect: Callable[[], None]) -> None:
        raise AssertionError("nobody hands a stand-in anything")

    def knock(self) -> None:
        pass

    @property
    def emitted(self) -> int:
        return self._journal.position.sequence + self._staged

    @property
    def synced(self) -> int:
        return self._journal.synced
