"""What a run leaves: files that other tools read, results to ask, hooks that were called, and what was printed."""

from __future__ import annotations

import csv
import json
import math
import pickle
import tempfile
from pathlib import Path
from typing import Any

import pytest

from perdure import tune
from perdure.errors import NoBestTrialError
from tests.end_to_end.conftest import Start

AUTO_FILLED = {
    "trial_id", "date", "timestamp", "time_this_iter_s", "time_total_s", "pid", "hostname", "node_ip", "config",
    "time_since_restore", "iterations_since_restore", "training_iteration", "done", "checkpoint_dir_name",
}  # fmt: skip


class Adam:
    pass


def trains(config: dict[str, Any]) -> None:
    """Report four rows; a new metric comes with the third, and number 2 fails after its second."""
    print(f"number {config['number']} says hello")
    for step in range(1, 5):
        row = {"loss": config["number"] + 1 / step, "deep": {"er": step}, "name": "x,y"}
        if step >= 3:
            row["late"] = step
        if config["number"] == 2 and step == 3:
            raise ValueError("number 2 fails")
        if step % 2:
            tune.report(row)
            continue
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "step").write_text(str(step))
            tune.report(row, checkpoint=tune.Checkpoint.from_directory(directory))


SPACE = {"number": tune.grid_search([0, 1, 2]), "lr": 0.5, "kind": Adam}


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> tune.ResultGrid:
    """The results of one run, that several tests look at."""
    return tune.Tuner(
        trains,
        param_space=SPACE,
        tune_config=tune.TuneConfig(metric="loss", mode="min"),
        run_config=tune.RunConfig(name="exp", storage_path=tmp_path_factory.mktemp("results"), verbose=0),
    ).fit()


# --- files ------------------------------------------------------------------------------------------------------------


def test_result_json_has_every_row(grid: tune.ResultGrid) -> None:
    rows = [json.loads(line) for line in Path(grid[0].path, "result.json").read_text().splitlines()]
    assert [row["deep"]["er"] for row in rows] == [1, 2, 3, 4]
    assert [row["training_iteration"] for row in rows] == [1, 2, 3, 4]
    assert set(rows[0]) >= AUTO_FILLED - {"checkpoint_dir_name"}
    assert rows[1]["checkpoint_dir_name"] == "checkpoint_000000"


def test_progress_csv_has_a_column_for_what_came_late(grid: tune.ResultGrid) -> None:
    with Path(grid[0].path, "progress.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["late"] for row in rows] == ["", "", "3", "4"]
    assert [row["deep/er"] for row in rows] == ["1", "2", "3", "4"]
    assert {row["name"] for row in rows} == {"x,y"}
    assert not any(name.startswith("config") for name in rows[0])


def test_parameters_are_there_as_text_and_as_objects(grid: tune.ResultGrid) -> None:
    params = json.loads(Path(grid[1].path, "params.json").read_text())
    assert (params["number"], params["lr"]) == (1, 0.5)
    assert "Adam" in params["kind"]
    assert pickle.loads(Path(grid[1].path, "params.pkl").read_bytes())


def test_errors_are_written_down(grid: tune.ResultGrid) -> None:
    text = Path(grid[2].path, "error.txt").read_text()
    assert "ValueError: number 2 fails" in text
    assert "perdure/" not in text
    assert isinstance(pickle.loads(Path(grid[2].path, "error.pkl").read_bytes()), ValueError)
    assert not Path(grid[0].path, "error.txt").exists()


def test_tensorboard_reads_the_events(grid: tune.ResultGrid) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(grid[0].path)
    events.Reload()
    name = next(tag for tag in events.Tags()["scalars"] if tag.endswith("deep/er"))
    assert [(event.step, event.value) for event in events.Scalars(name)] == [(1, 1), (2, 2), (3, 3), (4, 4)]


def test_checkpoints_are_plain_files(grid: tune.ResultGrid) -> None:
    assert Path(grid[0].path, "checkpoint_000001", "step").read_text() == "4"


# --- Result and ResultGrid --------------------------------------------------------------------------------------------


def test_a_grid_counts_and_finds(grid: tune.ResultGrid) -> None:
    assert len(grid) == len(list(grid)) == 3
    assert (grid.num_errors, grid.num_terminated) == (1, 2)
    assert len(grid.errors) == 1
    assert grid.get_best_result().config["number"] == 0
    assert grid.get_best_result(metric="loss", mode="max").config["number"] == 2
    assert grid.get_best_result(scope="avg").config["number"] == 0
    with pytest.raises(NoBestTrialError, match="accuracy"):
        grid.get_best_result(metric="accuracy", mode="max")


def test_results_can_be_pickled(grid: tune.ResultGrid) -> None:
    again = pickle.loads(pickle.dumps(grid))
    assert again.get_best_result().config == {"number": 0, "lr": 0.5, "kind": Adam}
    assert (again.num_errors, str(again[2].error)) == (1, str(grid[2].error))
    result = pickle.loads(pickle.dumps(grid[1]))
    assert (result.metrics, result.checkpoint.path) == (grid[1].metrics, grid[1].checkpoint.path)
    assert list(result.metrics_dataframe["deep/er"]) == [1, 2, 3, 4]


def test_a_result_has_its_history(grid: tune.ResultGrid) -> None:
    result = grid[0]
    assert result.config == {"number": 0, "lr": 0.5, "kind": Adam}
    assert result.error is None
    assert result.metrics["loss"] == 0.25
    assert set(result.metrics) >= AUTO_FILLED
    assert list(result.metrics_dataframe["deep/er"]) == [1, 2, 3, 4]
    assert [metrics["deep"]["er"] for _, metrics in result.best_checkpoints] == [2, 4]
    assert Path(result.checkpoint.path, "step").read_text() == "4"
    assert Path(result.get_best_checkpoint("loss", "max").path, "step").read_text() == "2"
    assert tune.Result.from_path(result.path).metrics["loss"] == 0.25
    assert isinstance(grid[2].error, Exception)
    assert "loss" in repr(result)


def test_a_dataframe_has_a_row_for_each_trial(grid: tune.ResultGrid) -> None:
    frame = grid.get_dataframe()
    assert list(frame["config/number"]) == [0, 1, 2]
    assert math.isnan(frame["late"][2])
    best = grid.get_dataframe(filter_metric="loss", filter_mode="max")
    assert list(best["deep/er"]) == [1, 1, 1]


# --- callbacks --------------------------------------------------------------------------------------------------------


class Diary(tune.Callback):
    """Writes down which hooks are called."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps = 0

    def setup(self, stop: Any = None, num_samples: Any = None, total_num_samples: Any = None, **info: Any) -> None:
        self.lines.append(f"setup {num_samples} {total_num_samples}")

    def on_step_begin(self, iteration: int, trials: Any, **info: Any) -> None:
        self.steps += 1

    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        self.steps -= 1

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.lines.append(f"start {trial.status}")

    def on_trial_restore(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.lines.append("restore")

    def on_trial_save(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.lines.append("save")

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        self.lines.append(f"result {result['step']}")

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.lines.append(f"complete {trial.status} {trial.last_result['step']}")

    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.lines.append("recover")

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.lines.append(f"error {trial.status}")

    def on_checkpoint(self, iteration: int, trials: Any, trial: Any, checkpoint: Any, **info: Any) -> None:
        self.lines.append(f"checkpoint {Path(checkpoint.path).name}")

    def on_experiment_end(self, trials: Any, **info: Any) -> None:
        self.lines.append(f"end {[trial.status for trial in trials]}")


def saves_then_fails(config: dict[str, Any]) -> None:
    latest = tune.get_checkpoint()
    if latest is None:
        with tempfile.TemporaryDirectory() as directory:
            tune.report({"step": 1}, checkpoint=tune.Checkpoint.from_directory(directory))
        raise RuntimeError("first attempt")
    if config["gives_up"]:
        raise RuntimeError("second attempt")
    tune.report({"step": 2})


@pytest.mark.parametrize("gives_up", [False, True])
def test_every_hook_is_called_in_order(tuner: Start, gives_up: bool) -> None:
    diary = Diary()
    failures = tune.FailureConfig(max_failures=1)
    tuner(saves_then_fails, {"gives_up": gives_up}, callbacks=[diary], failure_config=failures).fit()
    begins = ["setup 1 1", "start PENDING", "result 1", "checkpoint checkpoint_000000", "save", "recover"]
    again = ["start PENDING", "restore"]
    ends = ["error ERROR", "end ['ERROR']"] if gives_up else ["result 2", "complete TERMINATED 2", "end ['TERMINATED']"]
    assert diary.lines == begins + again + ends
    assert diary.steps == 0


def test_an_error_in_on_trial_result_comes_out_of_fit(tuner: Start, storage: Path) -> None:
    class Bad(tune.Callback):
        def on_trial_result(self, **info: Any) -> None:
            raise RuntimeError("callback")

    def rows(config: dict[str, Any]) -> None:
        tune.report({"step": 1})

    with pytest.raises(Exception, match="callback"):
        tuner(rows, callbacks=[Bad()]).fit()
    assert tune.Tuner.can_restore(storage / "exp")


class Ledger(tune.logger.LoggerCallback):
    """A user's logger, which writes one file for each trial."""

    def log_trial_start(self, trial: Any) -> None:
        trial.init_local_path()  # Ray's own loggers begin so
        Path(trial.local_path, "ledger").write_text(f"start {trial.config['number']}\n")

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        self._write(trial, f"{result['loss']:.2f}")

    def log_trial_save(self, trial: Any) -> None:
        self._write(trial, "save")

    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        self._write(trial, f"end {failed}")

    def _write(self, trial: Any, text: str) -> None:
        with Path(trial.path, "ledger").open("a") as file:
            file.write(f"{text}\n")


def test_a_users_logger_hears_of_everything(tuner: Start) -> None:
    grid = tuner(trains, SPACE, callbacks=[Ledger()]).fit()
    told = [Path(result.path, "ledger").read_text().split("\n")[:-1] for result in grid]
    assert told[0] == ["start 0", "1.00", "0.50", "save", "0.33", "0.25", "save", "end False"]
    assert told[2] == ["start 2", "3.00", "2.50", "save", "end True"]
    assert Path(grid[0].path, "result.json").exists()  # beside the ones that are always there


def test_default_loggers_can_be_switched_off(tuner: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    grid = tuner(trains, {"number": 0}).fit()
    assert not list(Path(grid[0].path).glob("events*"))
    assert not Path(grid[0].path, "result.json").exists()
    assert grid[0].metrics["loss"] == 0.25


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["snapshot-1", "control", "trainable.pkl", "journal-000001.jsonl", "same", ".hidden"])
def test_directories_of_trials_keep_clear_of_each_other_and_of_our_files(tuner: Start, name: str) -> None:
    grid = tuner(rows_only, num_samples=2, trial_dirname_creator=lambda trial: name).fit()
    names = [Path(result.path).name for result in grid]
    assert names == ([name, f"{name}_2"] if name == "same" else [f"_{name}", f"_{name}_2"])
    assert all(Path(result.path, "result.json").is_file() for result in grid)


# --- what is printed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "names"), [(True, ("stdout", "stderr")), ("log", ("log", "log")), (("out", "err"), ("out", "err"))]
)
def test_what_trials_print_can_go_to_files(tuner: Start, choice: Any, names: tuple[str, str]) -> None:
    def prints(config: dict[str, Any]) -> None:
        import sys

        print("to stdout")
        print("to stderr", file=sys.stderr)
        tune.report({"step": 1})

    grid = tuner(prints, log_to_file=choice).fit()
    assert "to stdout" in Path(grid[0].path, names[0]).read_text()
    assert "to stderr" in Path(grid[0].path, names[1]).read_text()


def rows_only(config: dict[str, Any]) -> None:
    tune.report({"loss": 1.0})
    if config.get("fails"):
        raise ValueError("the user's own words")


def test_silence_at_verbose_0(tuner: Start, capfd: pytest.CaptureFixture[str]) -> None:
    tuner(rows_only, {"fails": tune.grid_search([True, False])}, verbose=0).fit()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("verbose", [None, 1, 2, 3])
def test_plain_lines_where_there_is_no_terminal(
    tuner: Start, capfd: pytest.CaptureFixture[str], verbose: int | None
) -> None:
    grid = tuner(rows_only, {"fails": tune.grid_search([True, False])}, verbose=verbose).fit()
    printed, errors = capfd.readouterr()
    text = printed + errors
    assert "\x1b" not in text
    assert "TERMINATED" in text
    assert "ERROR" in text
    assert grid.experiment_path in text
    assert "ValueError: the user's own words" in text
    shown = text[text.index("Traceback") : text.index('raise ValueError("the user\'s own words")')]
    assert len(shown.splitlines()) == 3  # the headline, and one frame: the user's
    assert ("loss" in text) or verbose == 1
