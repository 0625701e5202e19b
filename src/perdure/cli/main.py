"""The `perdure` command: what it understands, and how it fails."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import perdure
from perdure.cli import (
    best,
    completion,
    export,
    gc,
    ls,
    note,
    pause,
    pin,
    repair,
    replay,
    resume,
    resume_trial,
    show,
    simulate,
    stop,
    tail,
    unpin,
    verify,
)
from perdure.errors import PerdureError, RequestRefusedError, UserError

OK = 0
PROBLEMS = 1
USAGE = 2
INTERRUPTED = 130
OUTPUT_CLOSED = 141

EPILOG = """\
exit codes:
  0    all is well
  1    problems were found, or something could not be read or done
  2    the command line is wrong, or there is no such experiment or trial
  3    resume: it was stopped before its end; resuming it again goes on
  130  interrupted with Ctrl-C
  141  whoever read the output stopped reading
  143  resume: stopped by SIGTERM before its end; resuming it again goes on

Every command takes --json; the shapes are in docs/reference/cli.md. No command but
resume and replay-loggers --logger loads any code of yours, and none but resume
unpickles anything.
"""

COMMANDS = (
    ("ls", "list the experiments under a storage path, or the trials of one experiment", ls),
    ("show", "show an experiment, or one trial of it", show),
    ("best", "show the best trial of an experiment, its configuration and its checkpoint", best),
    ("tail", "show how an experiment stands, and with -f follow it while it runs", tail),
    ("export", "write the rows of an experiment as CSV, JSON or Parquet", export),
    ("verify", "check the journal and every checkpoint of an experiment", verify),
    ("repair", "give up what follows a damaged place in the journal", repair),
    ("replay-loggers", "make the loggers' files anew from the journal, or tell other loggers what it says", replay),
    ("add-note", "add a note to an experiment or a trial", note),
    ("simulate", "run perdure's own machinery under simulated crashes", simulate),
    ("completion", "print a script that makes a shell complete this command", completion),
    ("resume", "go on with an experiment, with the trainable that is stored in it", resume),
    ("stop", "end trials, or the whole session in good order", stop),
    ("pause", "have trials give their resources back, until they are told to resume", pause),
    ("resume-trial", "let trials go on that were paused", resume_trial),
    ("pin", "keep a checkpoint, whatever the policy says", pin),
    ("unpin", "leave a pinned checkpoint to the policy again", unpin),
    ("gc", "say which checkpoints nobody needs, and remove them", gc),
)
_ALIASES = {"ls": ["list-trials", "list-experiments", "lsx"]}
"""The names that Ray's `tune` command has for the same."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own) and return its exit code."""
    arguments, unknown = make_parser().parse_known_args(argv)
    if unknown:  # said with the usage of the command; argparse by itself shows that of all commands
        arguments.refuse(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        _silence_stdout()
        return OUTPUT_CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except PerdureError as error:
        print(f"perdure: {error}", file=sys.stderr)
        wrongly_asked = isinstance(error, UserError) and not isinstance(error, RequestRefusedError)
        return USAGE if wrongly_asked else PROBLEMS
    except OSError as error:
        print(f"perdure: {error}", file=sys.stderr)
        return PROBLEMS
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "perdure":
            raise  # nothing that could be installed
        print(f"perdure: {error}", file=sys.stderr)
        return PROBLEMS
    return code


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="perdure",
        description="Look after hyperparameter-tuning experiments: running, finished, moved or damaged ones.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"perdure {perdure.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, summary, module in COMMANDS:
        command = commands.add_parser(
            name, aliases=_ALIASES.get(name, []), help=summary, description=f"{summary[0].upper()}{summary[1:]}."
        )
        module.configure(command)
        command.add_argument("--json", action="store_true", help="print one JSON document instead of text")
        command.set_defaults(run=module.run, refuse=command.error)
    return parser


def _silence_stdout() -> None:
    """Keep the interpreter from complaining, at its end, about the output that nobody reads."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError, AttributeError):
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)
