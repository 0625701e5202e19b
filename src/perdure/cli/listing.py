"""Listings of rows by column, in the way of Ray's `tune ls`: columns chosen, rows filtered, sorted and cut."""

from __future__ import annotations

import argparse
import csv
import json
import operator
import os
import re
from collections.abc import Callable, Mapping
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
_FILTER = re.compile(r"(.+?)(<=|>=|==|!=|<|>)(.+)", re.DOTALL)
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
    rows = []
    for trial in experiment.history.trials.values():
        last = trial.last_row()
        metrics = {} if last is None else _flat(last.metrics)
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
                **_flat(trial.config, "config/"),
            }
        )
    return rows


def _flat(data: Mapping[str, Any], prefix: str = "") -> Row:
    """Return nested data as one level; what the journal has a tag for, such as NaN, is one value."""
    from perdure.reporting.snapshot import leaves
    from perdure.rows import leaf

    return {prefix + name: leaf(data, name) for name in leaves(data)}


def experiment_row(experiment: Experiment) -> Row:
    """Return an experiment as a row."""
    best = experiment.best()
    counts = experiment.counts
    return {
        "name": experiment.path.name,
        "path": str(experiment.path),
        "condition": experiment.condition,
        "stop_reason": experiment.history.state.stopping,
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


def _choose(rows: list[Row], defaults: tuple[str, ...], arguments: argparse.Namespace) -> tuple[list[str], list[Row]]:
    known = list(dict.fromkeys(name for row in rows for name in row))
    condition = None if arguments.filter is None else _parse_filter(arguments.filter)
    sort = arguments.sort or []
    columns = arguments.columns
    if columns is None:
        asked_about = [*sort, *([] if condition is None else [condition[0]])]
        columns = [*defaults, *asked_about, *(name for name in known if name.startswith("config/"))]
    columns = list(dict.fromkeys([*columns, *(getattr(arguments, "result_columns", None) or [])]))
    if rows:
        for name in (*columns, *sort):
            _must_be_known(name, known)
        if condition is not None:
            _must_be_known(condition[0], known)
            rows = [row for row in rows if _holds(row, *condition)]
    for name in reversed(sort):
        keys = [(_order(_value(row, name)), row) for row in rows]
        has = sorted((each for each in keys if each[0] is not None), key=_first, reverse=arguments.desc)
        rows = [row for _, row in has] + [row for key, row in keys if key is None]  # what has no value comes last
    return columns, rows[: arguments.limit]


def _value(row: Mapping[str, Any], name: str) -> Any:
    """Return a value as it was reported; a row's own is as in the journal."""
    from perdure.journal.values import from_data

    value = row.get(name)
    return from_data(value) if isinstance(value, dict) else value


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
                right=all(isinstance(_value(row, name), (int, float, type(None))) for row in rows),
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
            writer.writerows({name: _value(row, name) for name in columns} for row in rows)
    else:
        raise UserError(f"Nothing was written: {os.fspath(path)!r} ends neither in .csv nor in .json.")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() in ("true", "1", "yes")


def _order(value: Any) -> tuple[str, Any] | None:
    """Return what a value is sorted by; None for no value, and for NaN, which is neither less nor more than any."""
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return None
    if isinstance(value, (bool, int, float)):
        return ("", float(value))
    return (type(value).__name__, str(value))


def _first(keyed: tuple[Any, Row]) -> Any:
    return keyed[0]


def _must_be_known(name: str, known: list[str]) -> None:
    from perdure.errors import UserError

    if name not in known:
        raise UserError(f"There is no column {name!r}. There are: {', '.join(known) or 'none'}.")


def _parse_filter(text: str) -> tuple[str, str, str]:
    """Return column, operator and value; there need be no space between them."""
    from perdure.errors import UserError

    match = _FILTER.fullmatch(text)
    name, sign, given = ("", "", "") if match is None else (part.strip() for part in match.groups())
    if not name or not given:
        raise UserError(
            f'{text!r} is no filter. Write "COLUMN OPERATOR VALUE" with one of {" ".join(_OPERATORS)}, '
            'as in --filter "loss < 0.1".'
        )
    return name, sign, given


def _holds(row: Mapping[str, Any], name: str, sign: str, given: str) -> bool:
    value = _value(row, name)
    if value is None:
        return False
    compare = _OPERATORS[sign]
    if isinstance(value, (bool, int, float)):
        try:
            return compare(float(value), float(given))
        except ValueError:
            pass  # compared as text
    return compare(str(value), given)
