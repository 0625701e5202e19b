"""Which checkpoints of a trial are what was committed, looking no closer than is needed to be sure."""

from __future__ import annotations

import os
import warnings

from perdure.checkpoints.manifest import verify_checkpoint
from perdure.core.events import CheckpointInfo
from perdure.errors import CheckpointError, StorageError
from perdure.history import TrialHistory
from perdure.journal.claim import read_claim
from perdure.storage.layout import MANIFEST
from perdure.storage.processes import boot_id


class Soundness:
    """Tells good checkpoints of a trial from damaged ones.

    Of each, the sizes of all files are compared with what was committed. One that was not known to have reached the
    disk when the machine went down is compared byte by byte, once.

    Args:
        trial: The trial's history.
        path: The experiment's directory.
    """

    def __init__(self, trial: TrialHistory, path: str) -> None:
        self._trial = trial
        self._experiment_path = path
        self._compared: dict[int, str] = {}
        """What is wrong with the checkpoints whose every byte was compared; "" is nothing."""
        self._told: set[int] = set()

    def is_good(self, info: CheckpointInfo) -> bool:
        """Whether a checkpoint is what was committed; of one that is not, a warning says so, once."""
        problem = self._problem(info)
        if problem and info.number not in self._told and not self._may_be_retired(info):
            self._told.add(info.number)
            warnings.warn(
                f"Checkpoint {info.number} of trial {self._trial.name} was passed over: {problem}", stacklevel=4
            )
        return not problem

    @property
    def _path(self) -> str:
        return os.path.join(self._experiment_path, self._trial.directory)

    def _may_be_retired(self, info: CheckpointInfo) -> bool:
        """Whether a living driver may have removed a checkpoint since the journal was read."""
        if os.path.exists(os.path.join(self._path, info.directory, MANIFEST)):
            return False
        claim = read_claim(self._experiment_path)
        return claim is not None and claim.alive

    def _problem(self, info: CheckpointInfo) -> str:
        folder = os.path.join(self._path, info.directory)
        certain = self._trial.is_durable(info.number) or (bool(info.boot_id) and info.boot_id == boot_id())
        if not certain and info.number not in self._compared:
            self._compared[info.number] = _what_is_wrong(folder, trusted=False, deep=True)
        return self._compared.get(info.number) or _what_is_wrong(folder, trusted=True, deep=False)


def _what_is_wrong(folder: str, *, trusted: bool, deep: bool) -> str:
    try:
        verify_checkpoint(folder, trusted=trusted, deep=deep)
    except CheckpointError as error:
        return str(error)
    except StorageError:  # a storage that does not answer says nothing about the checkpoint
        return ""
    return ""
