"""`perdure pin EXPERIMENT TRIAL[/CHECKPOINT]`: keep a checkpoint, whatever the policy says; `unpin` gives it back."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from perdure.cli.requesting import add_experiment, ask_of

if TYPE_CHECKING:
    from perdure.cli.reading import Experiment
    from perdure.core.events import Data
    from perdure.history import TrialHistory


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_experiment(parser)
    parser.add_argument(
        "checkpoint",
        help="a trial (then its newest checkpoint is meant), or one of its checkpoints: TRIAL/checkpoint_000003",
        metavar="TRIAL[/CHECKPOINT]",
    )


def run(arguments: argparse.Namespace) -> int:
    """Pin."""
    return pin(arguments, pinned=True)


def pin(arguments: argparse.Namespace, *, pinned: bool) -> int:
    """Pin a checkpoint, or no longer."""
    from perdure.cli.documents import checkpoint_json
    from perdure.cli.reading import open_experiment
    from perdure.cli.writing import Page, write_json
    from perdure.core.events import CheckpointPinned
    from perdure.core.requests import Pin
    from perdure.storage.layout import checkpoint_name

    experiment = open_experiment(arguments.experiment)
    trial, number = find_checkpoint(experiment, arguments.checkpoint)
    before = dict(trial.checkpoints)
    event = ask_of(experiment, Pin(trial=trial.id, number=number, pinned=pinned))
    assert isinstance(event, CheckpointPinned)
    meant = event.item.number
    info = {**before, **trial.checkpoints}.get(meant)  # what is unpinned may be gone already, unseen
    directory = checkpoint_name(meant) if info is None else info.directory
    if arguments.json:
        asked = "pin" if pinned else "unpin"
        known: Data = {"number": meant, "path": str(experiment.path / trial.directory / directory)}
        document = {**(known if info is None else checkpoint_json(experiment, trial, info)), "pinned": pinned}
        write_json({"path": str(experiment.path), "asked": asked, "trial": trial.id, "checkpoint": document})
    else:
        how = "kept, whatever the policy says" if pinned else "left to the retention policy"
        Page().line(f"{trial.directory}/{directory}: {how}")
    return 0


def find_checkpoint(experiment: Experiment, text: str) -> tuple[TrialHistory, int | None]:
    """Return the trial and the number of the checkpoint that `text` names; None is the newest.

    Raises:
        UserError: there is no such trial, or no such checkpoint of it.
    """
    from perdure.cli.reading import find_trial
    from perdure.errors import UserError
    from perdure.storage.layout import checkpoint_number

    name, slash, last = text.rstrip("/").rpartition("/")
    if not slash:
        name, last = last, ""
    trial = find_trial(experiment, name)
    if not last:
        return trial, None
    number = int(last) if last.isdecimal() else checkpoint_number(last)
    if number not in trial.checkpoints:
        there = ", ".join(each.directory for each in trial.checkpoints.values()) or "none"
        raise UserError(f"Trial {trial.name} has no checkpoint {last!r}; it has {there}.")
    return trial, number
