"""Listings of rows by column, in the way of Ray's `tune ls`: columns chosen, rows filtered, sorted and cut."""

from __future__ import annotations

import argparse
import csv
import json
import operator
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perdure.cli.reading import Experiment
    from perdure.cli.writing import Page

Row = dict[str, Any]

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
}
TRIAL_COLUMNS = ("name", "status", "training_iteration", "time_total_s", "last_update_time")
EXPERIMENT_COLUMNS = ("name", "condition", "total_trials", "terminated_trials", "error_trials", "last_updated")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `tune ls` has, too."""
    parser.add_argument("--sort", type=_names, help="sort by these columns, comma-separated", metavar="COLUMNS")
    parser.add_argument(
        "--desc", nargs="?", const=True, default=False, type=_truth, help="sort in descending order", metavar="BOOL"
    )
    parser.add_argument(
        "--filter", help='only rows of which this holds: "COLUMN OPERATOR VALUE", as in "loss < 0.1"', metavar="TEXT"
    )
    parser.add_argument("--columns", type=_names, help="show these columns, comma-separated", metavar="COLUMNS")
    parser.add_argument(
        "--result-columns", type=_names, help="show these metrics, too, comma-separated", metavar="COLUMNS"
    )
    parser.add_argument("--limit", type=int, help="at most so many lines", metavar="N")
    parser.add_argument("-o", "--output", help="also write the rows to this .csv or .json file", metavar="FILE")


def is_wanted(arguments: argparse.Namespace) -> bool:
    """Return whether the command line asks for a listing by column."""
    asked = ("sort", "filter", "columns", "result_columns", "output")
    return any(getattr(arguments, name, None) is not None for name in asked)


def trial_rows(experiment: Experiment) -> list[Row]:
    """Return each trial as a row, under the names of Ray Tune."""
    from perdure.history import flatten

    rows = []
    for trial in experiment.history.trials.values():
        last = trial.last_row()
        metrics = {} if last is None else flatten(last.metrics)
        rows.append(
            {
                "name": trial.name,
                "trial_id": trial.id,
                "trainable_name": experiment.history.state.trainable,
                "experiment_tag": trial.tag,
                "status": trial.status.value,
                "logdir": str(experiment.path / trial.directory),
                "last_update_time": None if last is None else last.at,
                "training_iteration": 0 if last is None else last.iteration,
                "time_total_s": 0.0 if last is None else last.time_total_s,
                **metrics,
                **flatten(trial.config, "config/"),
            }
        )
    return rows


def experiment_row(experiment: Experiment) -> Row:
    """Return an experiment as a row."""
    best = experiment.best()
    counts = experiment.counts
    return {
        "name": experiment.path.name,
        "path": str(experiment.path),
        "condition": experiment.condition,
        "total_trials": len(experiment.history.trials),
        "running_trials": counts["RUNNING"] if experiment.alive else 0,
        "terminated_trials": counts["TERMINATED"],
        "error_trials": counts["ERROR"],
        "metric": experiment.history.metric,
        "best": None if best is None else best.value,
        "last_updated": experiment.history.updated_at,
    }


def run(path: Path, rows: list[Row], defaults: tuple[str, ...], arguments: argparse.Namespace) -> None:
    """Show rows, and write them to a file, as the command line asks for.

    Raises:
        UserError: it names a column that no row has, a filter that is none, or a file of an unknown kind.
    """
    from perdure.cli.writing import Page, write_json

    columns, rows = _choose(rows, defaults, arguments)
    chosen = [{name: row.get(name) for name in columns} for row in rows]
    if arguments.json:
        write_json({"path": str(path), "columns": columns, "rows": chosen})
    else:
        _show(Page(), columns, chosen)
    if arguments.output is not None:
        _write(arguments.output, columns, chosen)


def _choose(
    rows: list[Row], defaults: tuple[str, ...], arguments: argparse.Namespace
) -> tuple[list[str], list[Row]]:
    known = list(dict.fromkeys(name for row in rows for name in row))
    results = getattr(arguments, "result_columns", None) or []
    columns = list(dict.fromkeys([*(arguments.columns or _with_config(defaults, known)), *results]))
    if rows:
        for name in (*columns, *(arguments.sort or ())):
            _must_be_known(name, known)
        if arguments.filter is not None:
            keeps = _filter(arguments.filter, known)
            rows = [row for row in rows if keeps(row)]
    for name in reversed(arguments.sort or ()):
        has = [row for row in rows if row.get(name) is not None]
        has.sort(key=partial(_order, name=name), reverse=arguments.desc)
        rows = [*has, *(row for row in rows if row.get(name) is None)]  # what has no value comes last
    return columns, rows[: arguments.limit]


def _with_config(defaults: tuple[str, ...], known: list[str]) -> list[str]:
    return [*defaults, *(name for name in known if name.startswith("config/"))]


def _show(page: Page, columns: list[str], rows: list[Row]) -> None:
    from perdure.cli.writing import column, when
    from perdure.reporting.formats import value_text

    def text(name: str, value: Any) -> str:
        if value is None:
            return ""
        return when(value) if name in ("last_update_time", "last_updated") else value_text(value)

    if not rows:
        page.line("No such rows.")
        return
    page.table(
        [
            column(
                name,
                [text(name, row.get(name)) for row in rows],
                right=all(isinstance(row.get(name), (int, float, type(None))) for row in rows),
            )
            for name in columns
        ]
    )


def _write(path: str, columns: list[str], rows: list[Row]) -> None:
    from perdure.errors import UserError

    target = Path(path).expanduser()
    if target.suffix == ".json":
        target.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    elif target.suffix == ".csv":
        with target.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    else:
        raise UserError(f"Nothing was written: {os.fspath(path)!r} ends neither in .csv nor in .json.")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() in ("true", "1", "yes")


def _order(row: Row, name: str) -> tuple[str, Any]:
    value = row[name]
    if isinstance(value, (bool, int, float)):
        return ("", float(value))
    return (type(value).__name__, str(value))


def _must_be_known(name: str, known: list[str]) -> None:
    from perdure.errors import UserError

    if name not in known:
        raise UserError(f"There is no column {name!r}. There are: {', '.join(known) or 'none'}.")


def _filter(text: str, known: list[str]) -> Callable[[Mapping[str, Any]], bool]:
    from perdure.errors import UserError

    parts = text.split(maxsplit=2)
    if len(parts) != 3 or parts[1] not in _OPERATORS:
        raise UserError(
            f'{text!r} is no filter. Write "COLUMN OPERATOR VALUE" with one of {" ".join(_OPERATORS)}, '
            'as in --filter "loss < 0.1".'
        )
    name, sign, given = parts
    _must_be_known(name, known)
    compare = _OPERATORS[sign]
    try:
        number: float | None = float(given)
    except ValueError:
        number = None

    def keeps(row: Mapping[str, Any]) -> bool:
        value = row.get(name)
        if value is None:
            return False
        if isinstance(value, (bool, int, float)) and number is not None:
            return compare(float(value), number)
        return compare(str(value), given)

    return keeps
