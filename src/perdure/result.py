"""What an experiment came to: `Result` of one trial, `ResultGrid` of all, under Ray Tune's names.

Both are folds of the journal and read lazily: making a grid of 100,000 results reads nothing but the journal's fold,
and rows are read when a dataframe, or a scope that needs them, is asked for.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
import pickle
import warnings
from array import array
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure import errors
from perdure.checkpoint import Checkpoint
from perdure.checkpoints.manifest import verify_checkpoint
from perdure.config import check_mode
from perdure.core.events import CheckpointInfo, Decision, ErrorInfo, Reported
from perdure.core.state import Status
from perdure.errors import (
    CheckpointError,
    ConfigurationError,
    ExperimentNotFoundError,
    NoBestTrialError,
    StorageError,
    TrialFailedError,
)
from perdure.frames import Table
from perdure.frames import table as table_of
from perdure.history import AttemptHistory, ExperimentHistory, LineageStep, TrialHistory, read_experiment
from perdure.journal.claim import read_claim
from perdure.journal.values import dict_from_data, has_objects
from perdure.relocation import attribute_error
from perdure.rows import AUTO_FILLED, RowOrigin, expand_row, flatten
from perdure.scores import SCOPES, better, number_at, reported_names, reported_sentence, value_in
from perdure.storage.layout import MANIFEST
from perdure.storage.processes import boot_id
from perdure.storage.uri import parse_storage_path

if TYPE_CHECKING:
    import pandas as pd

ObjectLoader = Callable[[str], Mapping[str, object]]
"""Given a trial's directory name, loads the objects of its configuration (`params.pkl`)."""


class Result:
    """What one trial came to.

    Args:
        trial: The trial's history.
        path: The experiment's directory.
        load_objects: Loads the objects of a configuration. Without it they appear as their reprs, because reading
            an experiment never unpickles; `fit` and `restore` pass it.
    """

    def __init__(self, trial: TrialHistory, *, path: str, load_objects: ObjectLoader | None = None) -> None:
        self._trial = trial
        self._experiment_path = path
        self._load_objects = load_objects
        self._compared: dict[int, str] = {}
        """What is wrong with the checkpoints whose every byte was compared; "" is nothing."""
        self._told: set[int] = set()

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            """Say what replaced attributes that results had in older releases of Ray."""
            raise attribute_error(self, name, {"log_dir": "use path", "dataframe": "use metrics_dataframe"})

    @property
    def path(self) -> str:
        """The trial's directory."""
        return os.path.join(self._experiment_path, self._trial.directory)

    @property
    def filesystem(self) -> Any:
        """The pyarrow file system that `path` is on; None where pyarrow is not installed."""
        return local_filesystem()

    @property
    def trial_id(self) -> str:
        """The trial's id."""
        return self._trial.id

    @property
    def status(self) -> str:
        """PENDING, RUNNING, PAUSED, TERMINATED or ERROR."""
        return self._trial.status.value

    @functools.cached_property
    def metrics(self) -> dict[str, Any]:
        """The trial's last row, nested as it was reported, with the columns Ray Tune fills in; empty without one."""
        row = self._trial.last_row()
        if row is None:
            return {}
        metrics = self._expand(row)
        if self._trial.status is Status.TERMINATED:
            metrics["done"] = True
        metrics["experiment_tag"] = self._trial.tag
        return metrics

    @functools.cached_property
    def config(self) -> dict[str, Any]:
        """The trial's configuration. Objects in it are their reprs unless the result came from `fit` or `restore`."""
        return self._decode(self._trial.config)

    @functools.cached_property
    def lineage(self) -> list[LineageStep]:
        """How what the trial is now was trained, as (segment, donor, checkpoint, iteration, config) steps.

        The first is its own beginning. Each further one is where it went on from the checkpoint of another trial, as
        in population-based training, or with another configuration.
        """
        return [step._replace(config=self._decode(step.config)) for step in self._trial.lineage()]

    @functools.cached_property
    def error(self) -> Exception | None:
        """Why the trial ended in ERROR, with the user's traceback as its message; None if it did not."""
        info = self._trial.error
        if self._trial.status is not Status.ERROR or info is None:
            return None
        error = exception_of(info, self._trial)
        if self._load_objects is not None:
            error.__cause__ = users_exception(self.path)
        return error

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The trial's newest good checkpoint; a damaged one is passed over, with a warning.

        Of each, the sizes of all files are compared with what was committed. One that was not known to have reached
        the disk when the machine went down is compared byte by byte, once; `perdure verify` does so with all.
        """
        infos = reversed(self._trial.checkpoints.values())
        return next((self._handle(info) for info in infos if self._is_good(info)), None)

    @functools.cached_property
    def best_checkpoints(self) -> list[tuple[Checkpoint, dict[str, Any]]]:
        """The good checkpoints that were kept, oldest first, each with the row it was saved with; see `checkpoint`."""
        infos = self._trial.checkpoints.values()
        return [(self._handle(info), self._metrics_of(info)) for info in infos if self._is_good(info)]

    @functools.cached_property
    def metrics_dataframe(self) -> pd.DataFrame:
        """All rows of the trial, nested metrics flattened with "/", and its configuration as `config/...`.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        return self.get_dataframe()

    def get_dataframe(self, *, library: str = "pandas") -> Any:
        """Return `metrics_dataframe` as a dataframe of "pandas" or "polars", or a table of "pyarrow".

        Raises:
            ModuleNotFoundError: the library is not installed.
        """
        return self._table().make(library)

    def _table(self) -> Table:
        trial = self._trial
        rows = list(trial.rows())
        return table_of([({trial.id: trial}, rows)] if rows else [], self._config_of)

    def get_best_checkpoint(self, metric: str, mode: str) -> Checkpoint | None:
        """Return the kept checkpoint whose row has the best `metric`; None if no checkpoint was kept.

        Args:
            metric: A reported metric; a nested one is named with "/".
            mode: "min" or "max".

        Raises:
            NoBestTrialError: no row of a kept checkpoint has the metric; the message names what they have.
        """
        check_mode(mode)
        if not self.best_checkpoints:
            return None
        best: tuple[float, Checkpoint] | None = None
        for checkpoint, metrics in self.best_checkpoints:
            value = number_at(metrics, metric)
            if value is not None and (best is None or better(value, best[0], mode)):
                best = (value, checkpoint)
        if best is None:
            known = ", ".join(sorted({name for _, metrics in self.best_checkpoints for name in flatten(metrics)}))
            raise NoBestTrialError(
                f"No kept checkpoint of trial {self._trial.name} was saved with a number {metric!r}. Reported: {known}."
            )
        return best[1]

    @classmethod
    def from_path(cls, path: str | os.PathLike[str], storage_filesystem: Any = None) -> Result:
        """Return the result of the trial whose directory is at `path`, inside its experiment's directory.

        Raises:
            ExperimentNotFoundError: there is no trial of an experiment at `path`.
        """
        directory = parse_storage_path(path)
        if not directory.is_dir():
            raise ExperimentNotFoundError(f"There is no trial at {directory}: the directory does not exist.")
        history = read_experiment(directory.parent)
        for trial in history.trials.values():
            if trial.directory == directory.name:
                return cls(trial, path=str(directory.parent))
        raise ExperimentNotFoundError(
            f"There is no trial at {directory}: the journal of {directory.parent} knows no trial of that directory. "
            "Pass a trial's directory (Result.path), not the experiment's."
        )

    # --- how it is read

    def _expand(self, row: Reported) -> dict[str, Any]:
        attempt = self._trial.attempt_of(row)
        origin: RowOrigin = attempt.origin(self._trial.id, self._config_of(self._trial, attempt))
        return expand_row(origin, row, done=row.decision is Decision.STOP)

    def _decode(self, data: dict[str, object]) -> dict[str, Any]:
        if self._load_objects is not None and has_objects(data):
            return dict_from_data(data, self._load_objects(self._trial.directory))
        return dict_from_data(data)

    def _config_of(self, trial: TrialHistory, attempt: AttemptHistory) -> dict[str, Any]:
        return self.config if attempt.config == trial.config else self._decode(attempt.config)

    def _is_good(self, info: CheckpointInfo) -> bool:
        """Whether a checkpoint is what was committed, as far as it has to be looked at to be sure."""
        problem = self._problem(info)
        if problem and info.number not in self._told and not self._may_be_retired(info):
            self._told.add(info.number)
            warnings.warn(
                f"Checkpoint {info.number} of trial {self._trial.name} was passed over: {problem}", stacklevel=3
            )
        return not problem

    def _may_be_retired(self, info: CheckpointInfo) -> bool:
        """Whether a living driver may have removed a checkpoint since the journal was read."""
        if os.path.exists(os.path.join(self.path, info.directory, MANIFEST)):
            return False
        claim = read_claim(self._experiment_path)
        return claim is not None and claim.alive

    def _problem(self, info: CheckpointInfo) -> str:
        folder = os.path.join(self.path, info.directory)
        certain = self._trial.is_durable(info.number) or (bool(info.boot_id) and info.boot_id == boot_id())
        if not certain and info.number not in self._compared:
            self._compared[info.number] = _what_is_wrong(folder, trusted=False, deep=True)
        return self._compared.get(info.number) or _what_is_wrong(folder, trusted=True, deep=False)

    def _handle(self, info: CheckpointInfo) -> Checkpoint:
        return Checkpoint(os.path.join(self.path, info.directory))

    def _metrics_of(self, info: CheckpointInfo) -> dict[str, Any]:
        row = self._trial.row(info.segment, info.iteration)
        return {} if row is None else self._expand(row)

    def __repr__(self) -> str:
        shown = {name: value for name, value in self.metrics.items() if name not in _NOT_SHOWN}
        error = "" if self.error is None else f"\n  error={type(self.error).__name__!r},"
        return f"Result({error}\n  metrics={shown},\n  path={self.path!r},\n  checkpoint={self.checkpoint}\n)"


_NOT_SHOWN = frozenset((*AUTO_FILLED, "experiment_tag"))


def exception_of(info: ErrorInfo, trial: TrialHistory) -> Exception:
    """Return a journaled error as an exception whose message names the trial and is, or has, the user's traceback."""
    text = info.traceback.rstrip() or f"{info.kind}: {info.message}"
    kind = getattr(errors, info.kind, None)
    if isinstance(kind, type) and issubclass(kind, errors.PerdureError):
        message = info.message or text
        made = kind(message if trial.id in message or trial.name in message else f"Trial {trial.name}: {message}")
        assert isinstance(made, Exception)
        return made
    return TrialFailedError(f"Trial {trial.name} failed:\n{text}")


def users_exception(directory: str | os.PathLike[str]) -> BaseException | None:
    """Unpickle the very exception that the user's code raised in a trial, where it can be had."""
    try:
        cause = pickle.loads(Path(directory, "error.pkl").read_bytes())
    except Exception:  # a class that is not importable here raises whatever it likes
        return None
    return cause if isinstance(cause, BaseException) else None


def _what_is_wrong(folder: str, *, trusted: bool, deep: bool) -> str:
    try:
        verify_checkpoint(folder, trusted=trusted, deep=deep)
    except CheckpointError as error:
        return str(error)
    except StorageError:  # a storage that does not answer says nothing about the checkpoint
        return ""
    return ""


def local_filesystem() -> Any:
    """Return pyarrow's local file system, or None where pyarrow is not installed."""
    try:
        from pyarrow import fs
    except ModuleNotFoundError:
        return None
    return fs.LocalFileSystem()


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
                value = number_at(result.metrics, metric)
                if value is not None:
                    yield result, value
            return
        values = self._values_of(metric)
        for result in self._results:
            column = values.get(result.trial_id)
            if column:
                yield result, score_of(column, mode, scope)

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


def score_of(values: array[float], mode: str, scope: str) -> float:
    """Return the one number that stands for a trial's values under `scope`."""
    if scope == "all":
        numbers = [value for value in values if not math.isnan(value)]
        if not numbers:
            return math.nan
        return max(numbers) if mode == "max" else min(numbers)
    chosen = values if scope == "avg" else values[-5:] if scope == "last-5-avg" else values[-10:]
    return sum(chosen) / len(chosen)
