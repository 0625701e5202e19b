"""`perdure repair EXPERIMENT [--cut]`: make a damaged journal one that can be opened again."""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("experiment", help="the experiment's directory", metavar="EXPERIMENT")
    parser.add_argument(
        "--cut",
        action="store_true",
        help="give up every record from the first damaged one on; without it nothing is changed",
    )


def run(arguments: argparse.Namespace) -> int:
    """Say what is damaged and, with --cut, give it up."""
    from perdure.cli.reading import is_experiment, locate
    from perdure.cli.writing import Page, write_json
    from perdure.errors import ExperimentNotFoundError
    from perdure.journal.file import repair_journal

    path = locate(arguments.experiment)
    if not is_experiment(path):
        raise ExperimentNotFoundError(f"There is no experiment at {path}.")
    damages = repair_journal(path, cut=arguments.cut)
    refused = any(damage.refused for damage in damages)
    if arguments.json:
        listed = [
            {
                "file": damage.file,
                "line": damage.line,
                "offset": damage.offset,
                "nbytes": damage.nbytes,
                "what": damage.what,
                "serious": damage.refused,
            }
            for damage in damages
        ]
        write_json({"path": str(path), "cut": arguments.cut and refused, "damages": listed})
    else:
        page = Page()
        for damage in damages:
            page.line(str(damage))
        page.line(_verdict(path, refused=refused, cut=arguments.cut))
    return 1 if refused and not arguments.cut else 0


def _verdict(path: Path, *, refused: bool, cut: bool) -> str:
    if not refused:
        return "The journal can be opened as it is; nothing was changed."
    if cut:
        return "The journal was cut before the first damaged record and can be opened again. No file was removed."
    return f"The journal cannot be opened. To give up what follows the damage: perdure repair --cut {path}"
