"""`perdure add-note PATH`: a text file beside an experiment or a trial, for what a person wants to remember."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("path", help="the directory of an experiment or a trial", metavar="PATH")
    parser.add_argument("--filename", default="note.txt", help="name of the file (default: note.txt)", metavar="NAME")
    parser.add_argument(
        "--text", help="add this line (default: what is piped in, else $VISUAL or $EDITOR is opened)", metavar="TEXT"
    )


def run(arguments: argparse.Namespace) -> int:
    """Add it."""
    from perdure.cli.reading import locate
    from perdure.cli.writing import Page, write_json
    from perdure.errors import ExperimentNotFoundError, UserError

    directory = locate(arguments.path)
    if not directory.is_dir():
        raise ExperimentNotFoundError(f"There is no directory {directory}.")
    if Path(arguments.filename).name != arguments.filename:
        raise UserError(f"--filename {arguments.filename}: name a file, not a path.")
    file = directory / arguments.filename
    existed = file.exists()
    if arguments.text is not None:
        _append(file, arguments.text)
    elif not sys.stdin.isatty():
        _append(file, sys.stdin.read())
    else:
        editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
        code = subprocess.call([*shlex.split(editor), str(file)])
        if code:
            raise UserError(f"{editor} ended with exit code {code}; {file} is as it left it.")
    if arguments.json:
        write_json({"file": str(file), "created": not existed and file.exists()})
    else:
        Page().line(f"Note {'updated' if existed else 'created'}: {file}")
    return 0


def _append(file: Path, text: str) -> None:
    with file.open("a", encoding="utf-8") as note:
        note.write(text.rstrip("\n") + "\n")
