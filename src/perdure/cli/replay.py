"""`perdure replay-loggers EXPERIMENT`: loggers are told once more what the journal says."""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure.loggers.base import LoggerCallback


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("experiment", help="the experiment's directory", metavar="EXPERIMENT")
    parser.add_argument(
        "--logger",
        action="append",
        default=[],
        help="tell this logger (made without arguments; a function that makes one will do), instead of writing the "
        "files anew; may be repeated. Your module is imported",
        metavar="MODULE:NAME",
    )


def run(arguments: argparse.Namespace) -> int:
    """Replay."""
    from perdure.cli.reading import open_experiment
    from perdure.cli.writing import Page, write_json
    from perdure.errors import ExperimentLockedError
    from perdure.journal.file import FileJournalReader
    from perdure.loggers.replay import DEFAULT_LOGGERS, replay
    from perdure.reporting.formats import plural

    experiment = open_experiment(arguments.experiment)
    if experiment.alive and not arguments.logger:
        assert experiment.claim is not None
        raise ExperimentLockedError(
            f"The files of {experiment.path} are being written by the driver with pid {experiment.claim.pid} on "
            f"{experiment.claim.host}. Nothing was changed. Replay them when it has ended."
        )
    loggers = [_make(name) for name in arguments.logger] or [kind() for kind in DEFAULT_LOGGERS]
    problems: list[str] = []
    count = replay(experiment.path, FileJournalReader(experiment.path), loggers, on_problem=problems.append)
    names = [type(logger).__name__ for logger in loggers]
    if arguments.json:
        write_json({"experiment": str(experiment.path), "loggers": names, "records": count, "problems": problems})
    else:
        for problem in problems:
            print(f"perdure: {problem}", file=sys.stderr)
        Page().line(f"{plural(count, 'record')} replayed to {', '.join(names)}")
    return 1 if problems else experiment.code


def _make(name: str) -> LoggerCallback:
    from perdure.arguments import a_kind
    from perdure.errors import UserError
    from perdure.loggers.base import LoggerCallback

    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise UserError(f"--logger {name}: write MODULE:NAME, as in my_loggers:MyLogger.")
    sys.path.insert(0, "")
    try:
        logger = getattr(importlib.import_module(module), attribute)()
    except Exception as error:
        raise UserError(f"--logger {name} could not be made: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove("")
    if not isinstance(logger, LoggerCallback):
        raise UserError(f"--logger {name} made {a_kind(logger)}, which is no LoggerCallback.")
    return logger
