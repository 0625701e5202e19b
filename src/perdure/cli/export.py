"""`perdure export EXPERIMENT`: all rows, or the last one of each trial, for other programs."""

from __future__ import annotations

import argparse
import sys


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    from perdure.export import FORMATS

    parser.add_argument("experiment", help="the experiment's directory", metavar="EXPERIMENT")
    parser.add_argument(
        "--format", choices=FORMATS, help="default: by the ending of FILE; without a file, csv (json with --json)"
    )
    parser.add_argument("-o", "--output", help="write to this file instead of to stdout", metavar="FILE")
    parser.add_argument(
        "--rows", choices=["all", "last"], default="all", help="all rows, or the last one of each trial (default: all)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Export."""
    from perdure.cli.reading import open_experiment
    from perdure.cli.writing import Page, write_json
    from perdure.errors import UserError
    from perdure.export import format_of
    from perdure.reporting.formats import plural
    from perdure.result_grid import ResultGrid

    chosen = arguments.format or ("json" if arguments.json else "csv")
    if arguments.output is None and chosen == "parquet":
        raise UserError("Parquet is no text: name a file with -o FILE.")
    experiment = open_experiment(arguments.experiment)
    grid = ResultGrid(experiment.history, path=experiment.path)
    if arguments.output is None:
        _print(grid, chosen, arguments.rows)
        return experiment.code
    count = grid.export(arguments.output, rows=arguments.rows, format=arguments.format)
    if arguments.json:
        kind = format_of(arguments.output, arguments.format)
        write_json({"experiment": str(experiment.path), "file": arguments.output, "format": kind, "rows": count})
    else:
        Page().line(f"{plural(count, 'row')} written to {arguments.output}")
    return experiment.code


def _print(grid: object, chosen: str, rows: str) -> None:
    from perdure.export import write_text
    from perdure.result_grid import ResultGrid

    assert isinstance(grid, ResultGrid)
    write_text(grid.table(rows), sys.stdout, chosen)
