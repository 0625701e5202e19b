"""`ResultGrid`: what all trials of an experiment came to, under Ray Tune's name.

It is a view of the journal's fold and reads lazily: making a grid of 100,000 results reads nothing but that, and rows
are read when a dataframe, or a scope that needs them, is asked for.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
import warnings
from array import array
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from perdure.config import check_mode
from perdure.core.events import Reported
from perdure.core.state import Status
from perdure.errors import ConfigurationError, NoBestTrialError
from perdure.frames import Table
from perdure.frames import table as table_of
from perdure.history import AttemptHistory, ExperimentHistory, TrialHistory, read_experiment
from perdure.journal.values import dict_from_data, has_objects
from perdure.result import ObjectLoader, Result, local_filesystem
from perdure.scores import SCOPES, better, number_at, reported_names, reported_sentence, score_of, value_in


class ResultGrid:
    """What all trials of an experiment came to, in the order they were created.

    Args:
        history: The experiment's history, or a function that reads it when it is first needed.
        path: The experiment's directory; None takes the history's.
        load_objects: See `Result`.
    """

    def __init__(
        self,
        history: ExperimentHistory | Callable[[], ExperimentHistory],
        *,
        path: str | os.PathLike[str] | None = None,
        load_objects: ObjectLoader | None = None,
    ) -> None:
        self._source = history
        self._given_path = path
        self._load_objects = load_objects
        self._values: dict[str, dict[str, array[float]]] = {}

    @classmethod
    def from_path(cls, path: str | os.PathLike[str], *, salvage: bool = False) -> ResultGrid:
        """Read the results of the experiment at `path`, running or not, without the code that made them.

        Args:
            path: The experiment's directory, wherever it was moved to.
            salvage: Of a damaged journal take what precedes the damage, which a warning then names.

        Raises:
            ExperimentNotFoundError: there is no experiment at `path`.
            JournalCorruptError: the journal is damaged; the message names file, line and byte.
        """
        history = read_experiment(path, salvage=salvage)
        if history.damage is not None:
            warnings.warn(f"Only a part of the experiment was read: {history.damage}", stacklevel=2)
        return cls(history)

    @property
    def history(self) -> ExperimentHistory:
        """The fold of the journal that these results are views of; what plots and exports are made from."""
        return self._history

    @functools.cached_property
    def _history(self) -> ExperimentHistory:
        return self._source if isinstance(self._source, ExperimentHistory) else self._source()

    @functools.cached_property
    def _path(self) -> str:
        return self._history.path if self._given_path is None else os.fspath(self._given_path)

    @functools.cached_property
    def _results(self) -> list[Result]:
        return [
            Result(trial, path=self._path, load_objects=self._load_objects) for trial in self._history.trials.values()
        ]

    def __len__(self) -> int:
        return len(self._results)

    def __getitem__(self, index: int) -> Result:
        return self._results[index]

    def __iter__(self) -> Iterator[Result]:
        return iter(self._results)

    @property
    def experiment_path(self) -> str:
        """The experiment's directory."""
        return self._path

    @property
    def filesystem(self) -> Any:
        """The pyarrow file system that `experiment_path` is on; None where pyarrow is not installed."""
        return local_filesystem()

    @property
    def errors(self) -> list[Exception]:
        """The errors of the trials that ended in ERROR."""
        return [result.error for result in self._results if result.error is not None]

    @property
    def num_errors(self) -> int:
        """How many trials ended in ERROR."""
        return sum(trial.status is Status.ERROR for trial in self._history.trials.values())

    @property
    def num_terminated(self) -> int:
        """How many trials came to their end."""
        return sum(trial.status is Status.TERMINATED for trial in self._history.trials.values())

    @property
    def interrupted(self) -> bool:
        """Whether the experiment has not come to its end: a restore would go on with what is left.

        True after Ctrl-C, `perdure stop`, `fail_fast` (which leaves trials that a restore runs, once what failed is
        mended) and the death of a driver, and while one is still at work; False where all trials came to their end, or
        `time_budget_s` or a stop rule ended them. Ask it after `fit()` in a script that goes on to use the best trial.
        """
        return not self._history.state.finished

    @property
    def stop_reason(self) -> str | None:
        """What stopped the experiment before all trials came to their own end; None where nothing did.

        One of "SIGINT", "SIGTERM", "SIGUSR1", "request" (`perdure stop`), "fail_fast", "stopper", "time_budget". None,
        too, with `interrupted`: its driver is still at work, or was killed.
        """
        return self._history.state.stopping

    def get_best_result(
        self,
        metric: str | None = None,
        mode: str | None = None,
        scope: str = "last",
        filter_nan_and_inf: bool = True,
    ) -> Result:
        """Return the result of the trial with the best `metric`; the first of equals.

        Args:
            metric: A reported metric (nested ones with "/"); None takes TuneConfig's.
            mode: "min" or "max"; None takes TuneConfig's.
            scope: Which value of a trial counts: of its "last" row, the best of "all", or the average over all rows
                ("avg"), the last 5 ("last-5-avg") or 10 ("last-10-avg") of them.
            filter_nan_and_inf: Never choose a trial whose value is NaN or infinite.

        Raises:
            ConfigurationError: no metric or mode is known, or the scope does not exist.
            NoBestTrialError: no trial has the metric; the message names what was reported.
        """
        metric, mode = self.resolve(metric, mode, what="get_best_result()")
        if scope not in SCOPES:
            raise ConfigurationError(f"get_best_result(scope={scope!r}): use one of {', '.join(map(repr, SCOPES))}.")
        best: tuple[float, Result] | None = None
        for result, score in self._scores(metric, mode, scope):
            if filter_nan_and_inf and not math.isfinite(score):
                continue
            if best is None or better(score, best[0], mode):
                best = (score, result)
        if best is None:
            raise NoBestTrialError(self._why_none(metric, scope=scope if filter_nan_and_inf else None))
        return best[1]

    def get_dataframe(
        self,
        filter_metric: str | None = None,
        filter_mode: str | None = None,
        *,
        library: str = "pandas",
    ) -> Any:
        """Return one row per trial that has any: its last, or the one with the best `filter_metric`.

        The columns are those of `Result.metrics_dataframe`, and `logdir`, the trial's directory.

        Args:
            filter_metric, filter_mode: A reported metric, and "min" or "max".
            library: Make it a dataframe of "pandas" or "polars", or a table of "pyarrow".

        Raises:
            ModuleNotFoundError: the library is not installed.
        """
        return self._table_of_trials(filter_metric, filter_mode).make(library)

    def all_rows_dataframe(self, *, library: str = "pandas") -> Any:
        """Return all rows of all trials, each trial's in order, as one dataframe with the column `trial_id`.

        Raises:
            ModuleNotFoundError: the library is not installed.
        """
        return self._table_of_rows().make(library)

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        rows: str = "all",
        format: str | None = None,  # noqa: A002
    ) -> int:
        """Write the rows to a file, for other programs, and return how many there are.

        Args:
            path: The file; it is replaced in one step.
            rows: "all" rows of all trials (the columns of `all_rows_dataframe`), or the "last" of each
                (`get_dataframe`).
            format: "csv", "parquet" (needs pyarrow or polars), "json" (one list of objects) or "jsonl" (an object a
                line); None goes by the path's ending.

        Raises:
            ConfigurationError: there is no such format, or `rows` is neither.
            ModuleNotFoundError: the format needs a library that is not installed.
        """
        from perdure.export import export, format_of

        chosen = format_of(path, format)
        made = self.table(rows)
        export(made, path, chosen)
        return len(made)

    def table(self, rows: str = "all") -> Table:
        """Return "all" rows of all trials, or the "last" of each, by column: what dataframes and exports are made of.

        Raises:
            ConfigurationError: `rows` is neither.
        """
        if rows not in ("all", "last"):
            raise ConfigurationError(f'rows={rows!r}: use "all" or "last".')
        return self._table_of_rows() if rows == "all" else self._table_of_trials(None, None)

    def plot(
        self, kind: str = "overview", *, metric: str | None = None, mode: str | None = None, **options: Any
    ) -> Any:
        """Plot the results, and return the matplotlib figure: a notebook shows it, `savefig` writes it.

        Args:
            kind: "overview", "learning_curves", "best_so_far", "parallel_coordinates", "parameter_importance",
                "pbt_schedule" or "lineage": the functions of `perdure.plot`, which document their `options`.
            metric, mode: What to plot and which is best; None takes TuneConfig's.

        Raises:
            ConfigurationError: there is no such kind, or nothing to plot of it.
            ModuleNotFoundError: matplotlib is not installed.
        """
        from perdure.plot import KINDS

        if kind not in KINDS:
            raise ConfigurationError(f"There is no plot {kind!r}: use one of {', '.join(KINDS)}.")
        return KINDS[kind](self, metric, mode, **options)

    # --- how it is read

    def _table_of_rows(self) -> Table:
        trials = self._history.trials
        return table_of(((trials, rows) for rows in self._history.all_rows()), self._config_of)

    def _table_of_trials(self, metric: str | None, mode: str | None) -> Table:
        trials = self._history.trials
        if metric is None:
            rows = [row for trial in trials.values() if (row := trial.last_row()) is not None]
        else:
            rows = self._best_rows(*self.resolve(metric, mode, what="get_dataframe()"))
        made = table_of([(trials, rows)] if rows else [], self._config_of)
        if metric is None:
            ended = [trials[row.trial].status is Status.TERMINATED for row in rows]
            done = zip(made.values("done"), ended, strict=True)
            made.replace("done", [said or so for said, so in done])
        made.replace("logdir", [os.path.join(self._path, trials[row.trial].directory) for row in rows])
        return made

    def resolve(
        self,
        metric: str | None,
        mode: str | None,
        *,
        what: str,
        options: tuple[str, str] = ('metric="NAME"', 'mode="min" or mode="max"'),
    ) -> tuple[str, str]:
        """Return metric and mode, those of TuneConfig where they are None; `options` is how `what` is told them."""
        check_mode(mode)
        chosen = metric or self._history.metric
        if chosen is None:
            raise ConfigurationError(
                f"{what} needs a metric, and TuneConfig has none: pass {options[0]}. {reported_sentence(self._history)}"
            )
        order = mode or (self._history.mode if metric is None or metric == self._history.metric else None)
        order = order or self._history.mode
        if order is None:
            raise ConfigurationError(f"{what} needs a mode, and TuneConfig has none: pass {options[1]}.")
        return chosen, order

    def _scores(self, metric: str, mode: str, scope: str) -> Iterator[tuple[Result, float]]:
        if scope == "last":
            for result in self._results:
                value = self._last_value(result.trial_id, metric)
                if value is not None:
                    yield result, value
            return
        values = self._values_of(metric)
        for result in self._results:
            column = values.get(result.trial_id)
            if column:
                yield result, score_of(column, mode, scope)

    def _last_value(self, trial_id: str, metric: str) -> float | None:
        """Return the metric in a trial's last row. No objects are loaded: a damaged file of them concerns its trial."""
        trial = self._history.trials[trial_id]
        row = trial.last_row()
        if row is None:
            return None
        value = value_in(trial, row, metric)
        return number_at(trial.expand(row), metric) if value is None else value  # a column that is filled in

    def _values_of(self, metric: str) -> dict[str, array[float]]:
        """Return each trial's values of a metric, in order, from one pass over the journal."""
        known = self._values.get(metric)
        if known is None:
            known = self._values[metric] = {}
            trials = self._history.trials
            for row in itertools.chain.from_iterable(self._history.all_rows()):
                value = value_in(trials[row.trial], row, metric)
                if value is not None:
                    known.setdefault(row.trial, array("d")).append(value)
        return known

    def _best_rows(self, metric: str, mode: str) -> list[Reported]:
        best: dict[str, tuple[float, Reported]] = {}
        trials = self._history.trials
        for row in itertools.chain.from_iterable(self._history.all_rows()):
            value = value_in(trials[row.trial], row, metric)
            if value is None:
                continue
            known = best.get(row.trial)
            if known is None or better(value, known[0], mode):
                best[row.trial] = (value, row)
        if not best:
            raise NoBestTrialError(self._why_none(metric))
        return [best[trial][1] for trial in self._history.trials if trial in best]

    def _config_of(self, trial: TrialHistory, attempt: AttemptHistory) -> Mapping[str, Any]:
        if self._load_objects is not None and has_objects(attempt.config):
            return dict_from_data(attempt.config, self._load_objects(trial.directory))
        return trial.decoded_config(attempt)

    def _why_none(self, metric: str, *, scope: str | None = None) -> str:
        """Return why no trial is the best; `scope` says that NaN and infinities were not considered, and how."""
        what = f"There is no best trial by {metric!r}"
        if not self._history.trials:
            return f"{what}: the experiment at {self._path} has no trials."
        if scope is not None and metric in reported_names(self._history):
            number = "last value" if scope == "last" else f"value (scope={scope!r})"
            return (
                f"{what}: it was reported, but no trial's {number} of it is a finite number. "
                "(get_best_result(filter_nan_and_inf=False) considers NaN and infinities, too.)"
            )
        sentence = reported_sentence(self._history)
        return f"{what}: none of the {len(self)} trials reported a number under that name. {sentence}"

    def __repr__(self) -> str:
        shown = ",\n".join(repr(result) for result in self._results[:20])
        more = f",\n... and {len(self) - 20} more" if len(self) > 20 else ""
        inner = f"{shown}{more}".replace("\n", "\n  ")
        why = f" ({self.stop_reason})" if self.stop_reason else ""
        state = f" interrupted{why}" if self.interrupted else ""
        return f"ResultGrid{state}<[\n  {inner}\n]>"
