"""An experiment is asked for more, or for something else, after it began."""

from __future__ import annotations

import csv
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perdure import tune
from perdure.cli.main import main as cli
from perdure.core.events import AnyEvent, DefinitionChanged, Noticed, TrialRequeued
from perdure.errors import ConfigurationError, TrainableError
from perdure.journal.file import FileJournalReader
from perdure.searchers.bohb import TuneBOHB
from tests.end_to_end.conftest import Hurried, Start
from tests.end_to_end.growing import FIRST, THEN, count_up, grow, start

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tuner(tuner: Start) -> Start:
    """As in the other files, but without a process for each trial unless it is asked for: most of this is about the
    driver."""

    def make(trainable: Any, param_space: Any = None, **options: Any) -> tune.Tuner:
        return tuner(trainable, param_space, **{"executor": "inline", **options})

    return make


def draw(config: dict[str, Any]) -> None:
    tune.report({"config": dict(config)})


def events(path: Path, kind: type[AnyEvent]) -> list[Any]:
    return [event for _, event in FileJournalReader(path).read() if isinstance(event, kind)]


def changes(path: Path) -> dict[str, tuple[object, object]]:
    return {
        change.what: (change.before, change.after)
        for event in events(path, DefinitionChanged)
        for change in event.changes
    }


def notices(path: Path) -> str:
    return "\n".join(event.text for event in events(path, Noticed))


def steps(result: tune.Result) -> list[int]:
    return list(result.metrics_dataframe["step"])


def configs(grid: tune.ResultGrid) -> list[Any]:
    return [result.config for result in grid]


# --- more trials ------------------------------------------------------------------------------------------------------


def test_more_samples_are_those_that_would_have_come(tuner: Start, storage: Path) -> None:
    space = {"lr": tune.uniform(0, 1), "units": tune.grid_search([16, 32])}
    tuner(draw, space, num_samples=2, seed=4).fit()
    grid = tune.Tuner.restore(storage / "exp", draw, num_samples=4).fit()
    assert configs(grid) == configs(tuner(draw, space, num_samples=4, seed=4, name="at-once").fit())
    assert changes(storage / "exp") == {"num_samples": (2, 4)}
    assert "num_samples from 2 to 4" in notices(storage / "exp")


def test_fewer_samples_than_there_are_trials_are_refused(tuner: Start, storage: Path) -> None:
    tuner(draw, {"lr": tune.uniform(0, 1)}, num_samples=3, seed=4).fit()
    with pytest.raises(ConfigurationError, match=r"asks for 2 trials in all, and 3 were created"):
        tune.Tuner.restore(storage / "exp", draw, num_samples=2).fit()
    assert changes(storage / "exp") == {}
    assert len(tune.Tuner.restore(storage / "exp", draw).fit()) == 3


class FromAList(tune.search.Searcher):
    """Suggests what its list says, and remembers what it was told."""

    takes_other_bounds = False

    def __init__(self) -> None:
        super().__init__(metric="step", mode="max")
        self.suggested: list[str] = []
        self.told: list[Any] = []
        self.bounds: Any = None

    def set_search_properties(self, metric: Any, mode: Any, config: dict[str, Any], **spec: Any) -> bool:
        self.bounds = config["lr"].upper
        return True

    def suggest(self, trial_id: str) -> dict[str, Any]:
        self.suggested.append(trial_id)
        return {"lr": self.bounds * len(self.suggested)}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        assert trial_id in self.suggested
        self.told.append([self.suggested.index(trial_id), result["step"]])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.told.append([self.suggested.index(trial_id), "end"])

    def add_evaluated_point(self, parameters: dict[str, Any], value: float, *others: Any, **more: Any) -> None:
        self.told.append([parameters["lr"], "point", value])

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).write_text(json.dumps(self.__dict__))

    def restore(self, checkpoint_path: str) -> None:
        self.__dict__.update(json.loads(Path(checkpoint_path).read_text()))


class TakesOtherBounds(FromAList):
    def change_search_space(self, config: dict[str, Any]) -> bool:
        self.bounds = config["lr"].upper
        return True


def searcher_of(grid_tuner: tune.Tuner) -> Any:
    return grid_tuner.definition.tune_config.search_alg


def test_a_searcher_keeps_what_it_knows_and_hears_of_extended_trials_as_of_points(tuner: Start, storage: Path) -> None:
    tuner(
        count_up, {"lr": tune.uniform(0, 1)}, search_alg=FromAList(), num_samples=1, stop={"training_iteration": 2}
    ).fit()
    again = tune.Tuner.restore(
        storage / "exp", count_up, num_samples=2, stop={"training_iteration": 3}, resume_finished=True
    )
    grid = again.fit()
    assert [steps(result) for result in grid] == [[1, 2, 3], [1, 2, 3]]
    told = searcher_of(again).told
    assert told[:2] == [[0, 1], [0, "end"]]
    assert len(told) == 6
    assert all(one in told for one in ([1, 1], [1, 2], [1, "end"], [1.0, "point", 3]))


class Listed(tune.search.Searcher):
    """Suggests what is on the list it was made with, and saves nothing."""

    def __init__(self, values: list[float]) -> None:
        super().__init__(metric="step", mode="max")
        self.values = values
        self.suggested: list[str] = []
        self.rng = np.random.default_rng(0)  # whose repr has an address in it

    def set_search_properties(self, metric: Any, mode: Any, config: dict[str, Any], **spec: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> dict[str, Any]:
        self.suggested.append(trial_id)
        return {"lr": self.values[len(self.suggested) - 1]}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        assert trial_id in self.suggested
        assert not error


def test_another_searcher_is_not_asked_for_the_trials_of_the_one_before(tuner: Start, storage: Path) -> None:
    """Only for its own, however often the experiment is restored."""
    for values, samples in (([1.0, 2.0], 2), ([7.0, 8.0, 9.0], 3), ([7.0, 8.0, 9.0], 4), ([7.0, 8.0, 9.0], 5)):
        made = tuner(
            count_up,
            {"lr": tune.uniform(0, 1)},
            search_alg=Listed(values),
            num_samples=samples,
            stop={"step": 1},
            resume="auto",
        )
        grid = made.fit()
    assert [config["lr"] for config in configs(grid)] == [1.0, 2.0, 7.0, 8.0, 9.0]
    assert notices(storage / "exp").count("Listed does not know of 2 trials from before this restore") == 3


# --- extended budgets -------------------------------------------------------------------------------------------------


def test_finished_trials_go_on_to_a_later_end(tuner: Start, storage: Path) -> None:
    stop = {"training_iteration": 3}
    first = tuner(count_up, {"lr": tune.uniform(0, 1)}, num_samples=2, seed=1, stop=stop, executor="local").fit()
    grid = tune.Tuner.restore(storage / "exp", count_up, stop={"training_iteration": 5}, resume_finished=True).fit()
    assert configs(grid) == configs(first)
    for result in grid:
        assert steps(result) == [1, 2, 3, 4, 5]
        assert list(result.metrics_dataframe["began_at"]) == [0, 0, 0, 3, 3]
        assert list(result.metrics_dataframe["training_iteration"]) == [1, 2, 3, 4, 5]
        assert result.metrics["done"] is True
        lines = [json.loads(line) for line in Path(result.path, "result.json").read_text().splitlines()]
        assert [line["step"] for line in lines] == [1, 2, 3, 4, 5]
    assert changes(storage / "exp") == {"stop/training_iteration": (3, 5)}


def test_finished_trials_stay_as_they_are_unless_they_are_asked_for(tuner: Start, storage: Path) -> None:
    tuner(count_up, {"lr": tune.uniform(0, 1)}, seed=1, stop={"training_iteration": 3}).fit()
    grid = tune.Tuner.restore(storage / "exp", count_up, stop={"training_iteration": 5}, num_samples=2).fit()
    assert [steps(result) for result in grid] == [[1, 2, 3], [1, 2, 3, 4, 5]]


def test_a_trial_that_the_stop_rule_ends_where_it_is_is_left_alone(tuner: Start, storage: Path) -> None:
    tuner(count_up, {"lr": tune.uniform(0, 1)}, seed=1, stop={"training_iteration": 3}).fit()
    for stop in ({"training_iteration": 2}, lambda trial_id, result: result["step"] >= 3):
        grid = tune.Tuner.restore(storage / "exp", count_up, stop=stop, resume_finished=True).fit()
        assert steps(grid[0]) == [1, 2, 3]
    assert events(storage / "exp", TrialRequeued) == []


def test_an_experiment_that_ran_out_of_time_gets_more(tuner: Start, storage: Path) -> None:
    """What never began counts as finished too, once the time was up."""
    first = tuner(
        count_up,
        {"lr": tune.uniform(0, 1)},
        num_samples=2,
        seed=1,
        max_concurrent_trials=1,
        time_budget_s=1000,
        executor=Hurried(trials=1, rows=3),
    ).fit()
    reached = len(steps(first[0]))
    stop = {"training_iteration": reached + 2}
    again = tune.Tuner.restore(storage / "exp", count_up, time_budget_s=None, stop=stop, resume_finished=True)
    grid = again.fit()
    assert len(grid) == 2
    assert [steps(result) for result in grid] == [list(range(1, reached + 3))] * 2
    assert changes(storage / "exp")["time_budget_s"] == (1000, None)


def test_asha_judges_an_extended_trial_at_the_rungs_before_it_alone(tuner: Start, storage: Path) -> None:
    def run(max_t: int, **options: Any) -> tune.Tuner:
        scheduler = tune.schedulers.ASHAScheduler(grace_period=1, reduction_factor=2, max_t=max_t)
        return tuner(
            count_up,
            {"lr": tune.grid_search([0.1])},
            metric="step",
            mode="max",
            scheduler=scheduler,
            **options,
        )

    run(2).fit()
    again = run(8, resume=tune.ResumeConfig(finished="resume"))
    grid = again.fit()
    assert steps(grid[0]) == list(range(1, 9))
    scores = again.definition.tune_config.scheduler.get_state()["scores"]
    assert scores == [[[1.0], [2.0], [4.0], [8.0]]]
    assert [what for what in changes(storage / "exp") if what.startswith("scheduler")]


class EndsAt(tune.Stopper):
    """Keeps its argument under a name of its own, and counts the rows of each trial."""

    def __init__(self, limit: int) -> None:
        self._n_max = limit
        self.shown: dict[str, int] = {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self.shown[trial_id] = self.shown.get(trial_id, 0) + 1
        return self.shown[trial_id] >= self._n_max

    def stop_all(self) -> bool:
        return False


def test_another_stop_rule_of_the_users_own_is_the_one_that_holds(tuner: Start, storage: Path) -> None:
    tuner(count_up, {"lr": tune.uniform(0, 1)}, seed=1, stop=EndsAt(2)).fit()
    grid = tune.Tuner.restore(storage / "exp", count_up, stop=EndsAt(6), resume_finished=True).fit()
    assert steps(grid[0]) == [1, 2, 3, 4, 5, 6]
    assert changes(storage / "exp") == {"stop/EndsAt/n_max": (2, 6)}


def test_it_holds_too_where_the_session_that_was_given_it_died_before_its_first_snapshot(
    tuner: Start, storage: Path, tmp_path: Path
) -> None:
    """What is in the snapshot is of the rule before it, and the definition in the journal is of the new one."""
    tuner(count_up, {"lr": tune.uniform(0, 1)}, seed=1, stop=EndsAt(2)).fit()
    script = f"""
from perdure import tune
from tests.end_to_end.test_growing import EndsAt, count_up
tune.Tuner.restore({str(storage / "exp")!r}, count_up, stop=EndsAt(6), resume_finished=True).fit()
"""
    environment = {**os.environ, "PERDURE_FAULT": "turn.committed:1"}
    killed = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert changes(storage / "exp") == {"stop/EndsAt/n_max": (2, 6)}
    grid = tune.Tuner.restore(storage / "exp", count_up).fit()
    assert steps(grid[0]) == [1, 2, 3, 4, 5, 6]


# --- a kill in the middle of it ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment that has come to its end, to be copied."""
    storage = tmp_path_factory.mktemp("started")
    start(str(storage))
    return storage


@pytest.mark.parametrize(
    "fault",
    [
        "store.tuner",
        "session.open",
        "turn.decided:1",
        "turn.committed:1",
        "turn.effect:4",
        "snapshot.renamed:1",
        "run.over",
    ],
)
def test_growing_is_done_once_wherever_it_was_killed(started: Path, tmp_path: Path, fault: str) -> None:
    storage = tmp_path / "results"
    shutil.copytree(started, storage)
    command = [sys.executable, "-m", "tests.end_to_end.growing", str(storage), "grow"]
    environment = {**os.environ, "PERDURE_FAULT": fault, "PERDURE_FAULT_MARKER": str(tmp_path / "died")}
    environment["TUNE_GLOBAL_CHECKPOINT_S"] = "0"
    killed = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    grid = grow(str(storage))
    assert len(grid) == 3
    for result in grid:
        assert result.status == "TERMINATED"
        assert steps(result) == list(range(1, THEN + 1))
        with Path(result.path, "progress.csv").open(newline="") as file:
            assert [int(line["step"]) for line in csv.DictReader(file)] == list(range(1, THEN + 1))
    assert changes(storage / "exp") == {
        "num_samples": (2, 3),
        "stop/MaximumIterationStopper/max_iter": (FIRST, THEN),
    }
    assert len(events(storage / "exp", DefinitionChanged)) == 1
    assert len(events(storage / "exp", TrialRequeued)) == 2


def test_trials_that_were_going_on_when_it_was_killed_do_so_without_being_asked_again(
    started: Path, tmp_path: Path
) -> None:
    storage = tmp_path / "results"
    shutil.copytree(started, storage)
    command = [sys.executable, "-m", "tests.end_to_end.growing", str(storage), "grow"]
    killed = subprocess.run(command, cwd=ROOT, env={**os.environ, "PERDURE_FAULT": "turn.effect:2"}, check=False)
    assert killed.returncode == -signal.SIGKILL
    grid = tune.Tuner.restore(storage / "exp").fit()
    assert [steps(result) for result in grid] == [list(range(1, THEN + 1))] * 3
    assert all("lr" in config for config in configs(grid))


def test_a_trial_whose_adopted_row_the_stop_rule_ends_is_left_alone(tmp_path: Path) -> None:
    """Its last checkpoint was committed, and the row of it is journaled by the restore that asks for more."""
    victims = tmp_path / "victims"
    script = f"""
import os
from pathlib import Path
from tests.end_to_end.growing import start
Path({str(victims)!r}).write_text(f"{{os.getpid()}}\\n")
start({str(tmp_path)!r}, samples=1)
"""
    environment = {
        **os.environ,
        "PERDURE_FAULT": f"report.committed:{FIRST}",
        "PERDURE_FAULT_VICTIMS": str(victims),
        "PERDURE_FAULT_MARKER": str(tmp_path / "died"),
    }
    killed = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    grid = tune.Tuner.restore(tmp_path / "exp", count_up, resume_finished=True).fit()
    assert "its row was adopted" in notices(tmp_path / "exp")
    assert steps(grid[0]) == list(range(1, FIRST + 1))
    assert events(tmp_path / "exp", TrialRequeued) == []


def test_asked_again_after_an_interruption_nothing_that_ended_in_it_runs_again(tuner: Start, storage: Path) -> None:
    """Of trials that end by themselves no stop rule tells that they are done."""
    log = storage.parent / "log"

    def once(config: dict[str, Any]) -> None:
        with log.open("a") as file:
            file.write(f"{config['number']}\n")
        if config["number"] == 1 and log.read_text().count("1\n") == 2:
            raise RuntimeError("in the second session")
        tune.report({"number": config["number"]})

    fail_fast = tune.FailureConfig(fail_fast=True)
    space = {"number": tune.grid_search([0, 1, 2])}
    tuner(once, space, failure_config=fail_fast, max_concurrent_trials=1).fit()
    for _ in range(2):
        tune.Tuner.restore(storage / "exp", once, resume_finished=True, resume_errored=True).fit()
    ran = log.read_text().split()
    assert (ran[:3], ran[3:5], sorted(ran[5:])) == (["0", "1", "2"], ["0", "1"], ["1", "2"])
    tune.Tuner.restore(storage / "exp", once, resume_finished=True).fit()  # it came to its end: this is a new asking
    assert log.read_text().split()[7:] == ["0", "1", "2"]


# --- other bounds -----------------------------------------------------------------------------------------------------


def test_other_bounds_hold_for_trials_to_come(tuner: Start, storage: Path) -> None:
    first = tuner(draw, {"lr": tune.uniform(0, 1), "data": "a"}, num_samples=2, seed=4).fit()
    again = tune.Tuner.restore(
        storage / "exp", draw, num_samples=4, param_space={"lr": tune.uniform(10, 11), "data": "b"}
    )
    grid = again.fit()
    assert configs(grid)[:2] == configs(first)
    assert all(10 <= config["lr"] <= 11 and config["data"] == "b" for config in configs(grid)[2:])
    found = changes(storage / "exp")
    assert found.keys() == {"param_space/lr", "constants/data", "num_samples"}
    assert "(10, 11)" in str(found["param_space/lr"][1])


def test_the_same_script_with_other_bounds_says_so(tuner: Start, storage: Path) -> None:
    def run(most: float) -> tune.ResultGrid:
        return tuner(draw, {"lr": tune.uniform(0, most)}, seed=4, resume="auto").fit()

    run(1)
    run(1)
    assert changes(storage / "exp") == {}
    run(2)
    assert changes(storage / "exp").keys() == {"param_space/lr"}
    assert "param_space/lr from" in notices(storage / "exp")


def test_a_grid_gets_further_values_at_its_end(tuner: Start, storage: Path) -> None:
    tuner(draw, {"a": tune.grid_search([1, 2]), "b": tune.grid_search([3])}).fit()
    space = {"a": tune.grid_search([1, 2]), "b": tune.grid_search([3, 4])}
    grid = tune.Tuner.restore(storage / "exp", draw, param_space=space).fit()
    assert [(config["a"], config["b"]) for config in configs(grid)] == [(1, 3), (2, 3), (1, 4), (2, 4)]


@pytest.mark.parametrize(
    "space",
    [
        {"a": tune.grid_search([1, 2, 5]), "b": tune.grid_search([3])},
        {"a": tune.grid_search([1, 2]), "b": tune.grid_search([4, 3])},
        {"a": tune.grid_search([1, 2]), "b": tune.grid_search([3]), "c": tune.grid_search([0, 1])},
    ],
)
def test_grids_whose_missing_combinations_cannot_be_told_are_refused(
    tuner: Start, storage: Path, space: dict[str, Any]
) -> None:
    tuner(draw, {"a": tune.grid_search([1, 2]), "b": tune.grid_search([3])}).fit()
    with pytest.raises(ConfigurationError, match="which combinations are still missing cannot be told"):
        tune.Tuner.restore(storage / "exp", draw, param_space=space, num_samples=2).fit()
    assert changes(storage / "exp") == {}


def test_a_searcher_that_cannot_take_other_bounds_says_so(tuner: Start, storage: Path) -> None:
    other = {"lr": tune.uniform(0, 7), "note": "x"}
    tuner(count_up, {"lr": tune.uniform(0, 1)}, search_alg=FromAList(), stop={"step": 1}).fit()
    with pytest.raises(ConfigurationError, match="FromAList cannot take another search space"):
        tune.Tuner.restore(storage / "exp", count_up, param_space=other, num_samples=2).fit()
    assert changes(storage / "exp") == {}
    constants = {"lr": tune.uniform(0, 1), "note": "x"}
    grid = tune.Tuner.restore(storage / "exp", count_up, param_space=constants, num_samples=2).fit()
    assert grid[1].config["note"] == "x"


def test_a_searcher_that_can_take_other_bounds_does(tuner: Start, storage: Path) -> None:
    tuner(count_up, {"lr": tune.uniform(0, 1)}, search_alg=TakesOtherBounds(), stop={"step": 1}).fit()
    space = {"lr": tune.uniform(0, 7)}
    grid = tune.Tuner.restore(storage / "exp", count_up, param_space=space, num_samples=2).fit()
    assert [config["lr"] for config in configs(grid)] == [1.0, 14.0]


def report_lr(config: dict[str, Any]) -> None:
    tune.report({"lr": config["lr"]})


@pytest.mark.parametrize("limited", [False, True])
def test_a_model_searches_in_other_bounds_and_leaves_out_what_lies_outside(
    tuner: Start, storage: Path, caplog: pytest.LogCaptureFixture, limited: bool
) -> None:
    model = TuneBOHB(metric="lr", mode="max")
    searcher = tune.search.ConcurrencyLimiter(model, max_concurrent=1) if limited else model
    first = tuner(report_lr, {"lr": tune.uniform(0, 1)}, num_samples=6, seed=1, search_alg=searcher).fit()
    outside = [config["lr"] for config in configs(first) if config["lr"] > 0.5]
    assert 1 < len(outside) < 6
    for number, upper in ((8, 0.5), (10, 2.0)):
        space = {"lr": tune.uniform(upper / 2, upper)}
        grid = tune.Tuner.restore(storage / "exp", report_lr, param_space=space, num_samples=number).fit()
        assert configs(grid)[:6] == configs(first)
        assert all(upper / 2 <= config["lr"] <= upper for config in configs(grid)[-2:])
    assert caplog.text.count("TuneBOHB leaves out") == 2
    assert "not in its domain" in caplog.text


class EndsItAfter(tune.Callback):
    """Ends the session with an exception of its own once so many rows were reported."""

    def __init__(self, rows: int) -> None:
        self.left = rows

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        self.left -= 1
        if not self.left:
            raise RuntimeError("enough")


@pytest.mark.parametrize("upper", [1.0, 0.9999])
def test_a_model_that_is_told_all_again_hears_of_milestones_that_its_scheduler_knows(
    tuner: Start, storage: Path, monkeypatch: pytest.MonkeyPatch, upper: float
) -> None:
    """They are in no row of the journal. In other bounds the model begins anew, which the scheduler need not."""
    monkeypatch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "0")

    def run(upper: float, **options: Any) -> Any:
        model = TuneBOHB(metric="lr", mode="max", seed=1)
        scheduler = tune.schedulers.HyperBandForBOHB(metric="lr", mode="max", max_t=9)
        made = tuner(
            count_up,
            {"lr": tune.uniform(0, upper)},
            search_alg=model,
            scheduler=scheduler,
            num_samples=9,
            seed=1,
            resume="auto",
            **options,
        )
        with pytest.raises(RuntimeError, match="enough"):
            made.fit()
        return {budget: len(results) for budget, results in model._memory.results.items()}

    assert run(1.0, callbacks=[EndsItAfter(8)]) == {1.0: 8}  # paused, to wait for the ninth; the last was not written
    assert run(upper, callbacks=[EndsItAfter(1)]) == {1.0: 8}


def test_a_model_with_a_space_of_its_own_does_not_take_the_tuners(tuner: Start, storage: Path) -> None:
    own = TuneBOHB(space={"lr": tune.uniform(0, 1)}, metric="lr", mode="max")
    tuner(report_lr, {}, search_alg=own).fit()
    with pytest.raises(ConfigurationError, match="did not take the search space"):
        tune.Tuner.restore(storage / "exp", report_lr, param_space={"lr": tune.uniform(0, 7)}, num_samples=2).fit()
    assert changes(storage / "exp") == {}


# --- resources, and another trainable ---------------------------------------------------------------------------------


def two_steps(config: dict[str, Any]) -> None:
    """Fail at the second step until the file is there."""
    first = tune.get_checkpoint() is not None
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "state").write_text("x")
        tune.report({"step": 2 if first else 1}, checkpoint=tune.Checkpoint.from_directory(directory))
    if not first and not Path(config["switch"]).exists():
        raise RuntimeError("not yet")
    if not first:
        tune.report({"step": 2})


def test_other_resources_hold_for_what_is_unfinished_and_to_come(tuner: Start, storage: Path, tmp_path: Path) -> None:
    switch = tmp_path / "switch"
    space = {"switch": str(switch), "x": tune.uniform(0, 1)}
    first = tuner(two_steps, space, seed=1, executor="local").fit()
    assert first.num_errors == 1
    switch.touch()
    again = tune.Tuner.restore(
        storage / "exp",
        functools.partial(two_steps),
        resume_errored=True,
        num_samples=2,
        resources={"cpu": 0.5, "memory": 1 << 20},
    )
    grid = again.fit()
    assert grid.num_errors == 0
    asked = {"CPU": 0.5, "memory": float(1 << 20)}
    history = tune.Tuner.restore(storage / "exp").get_results()
    assert len(history) == 2
    document = show(storage / "exp", "0"), show(storage / "exp", "1")
    assert [one["trial"]["resources"] for one in document] == [asked, asked]
    assert changes(storage / "exp")["resources/CPU"] == (1.0, 0.5)


def test_what_the_trainable_asks_for_now_is_what_waiting_trials_get(
    tuner: Start, storage: Path, tmp_path: Path
) -> None:
    switch = tmp_path / "switch"
    tuner(two_steps, {"switch": str(switch)}).fit()
    switch.touch()
    asking = tune.with_resources(functools.partial(two_steps), {"cpu": 0.25})
    assert tune.Tuner.restore(storage / "exp", asking, resume_errored=True).fit().num_errors == 0
    assert show(storage / "exp", "0")["trial"]["resources"] == {"CPU": 0.25}
    assert changes(storage / "exp") == {"resources/CPU": (1.0, 0.25)}


def show(path: Path, *arguments: str) -> Any:
    import contextlib
    import io

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert cli(["show", str(path), *arguments, "--json"]) == 0
    return json.loads(printed.getvalue())


def test_a_trial_that_is_left_alone_is_left_alone_with_other_resources_too(storage: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-m", "tests.end_to_end.growing", str(storage), "start"],
        cwd=ROOT,
        env={**os.environ, "PERDURE_FAULT": "turn.effect:4"},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    before = tune.Tuner.restore(storage / "exp").get_results()
    tune.Tuner.restore(
        storage / "exp", functools.partial(count_up), resume_unfinished=False, resources={"cpu": 0.5}
    ).fit()
    after = tune.Tuner.restore(storage / "exp").get_results()
    assert [result.status for result in after] == ["PAUSED"] * len(before)
    assert show(storage / "exp", "0")["trial"]["resources"] == {"CPU": 0.5}


def other_name(config: dict[str, Any]) -> None:
    """Count on from the other's checkpoint by tens."""
    latest = tune.get_checkpoint()
    step = int(Path(latest.path, "step").read_text()) if latest else 0
    tune.report({"step": step + 10, "began_at": step, "lr": config["lr"]})


def test_another_trainable_takes_over_when_it_is_told_to(tuner: Start, storage: Path) -> None:
    tuner(count_up, {"lr": tune.uniform(0, 1)}, seed=1, stop={"training_iteration": 2}).fit()
    with pytest.raises(TrainableError, match="allow_other_trainable=True"):
        tune.Tuner.restore(storage / "exp", other_name)
    assert changes(storage / "exp") == {}
    again = tune.Tuner.restore(
        storage / "exp", other_name, allow_other_trainable=True, stop=None, num_samples=2, resume_finished=True
    )
    grid = again.fit()
    assert [steps(result) for result in grid] == [[1, 2, 12], [10]]
    assert changes(storage / "exp")["trainable"] == ("count_up", "other_name")
    assert tune.Tuner.restore(storage / "exp").fit().num_terminated == 2  # the stored one is the new one
    with pytest.raises(TrainableError, match="trains 'other_name'"):
        tune.Tuner.restore(storage / "exp", count_up)


# --- what people see --------------------------------------------------------------------------------------------------


def test_show_tells_what_was_changed(tuner: Start, storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tuner(draw, {"lr": tune.uniform(0, 1)}, num_samples=2, seed=4).fit()
    tune.Tuner.restore(storage / "exp", draw, num_samples=3, stop={"training_iteration": 9}).fit()
    document = show(storage / "exp")["experiment"]
    assert document["definition"]["num_samples"] == 3
    assert [change["what"] for change in document["changes"][0]["changes"]] == ["num_samples", "stop"]
    assert cli(["show", str(storage / "exp")]) == 0
    printed = capsys.readouterr().out
    assert "num_samples from 2 to 3" in printed


class SeesRows(tune.schedulers.FIFOScheduler):
    """A user's own scheduler, which keeps the iterations that it was shown, and has no state of its own as data."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        self.seen.append(result["training_iteration"])
        return self.CONTINUE

    def get_state(self) -> dict[str, Any] | None:
        return None


def test_other_resources_take_no_schedulers_memory_away(tuner: Start, storage: Path) -> None:
    stop = {"training_iteration": 2}
    tuner(functools.partial(count_up), {"lr": 1.0}, scheduler=SeesRows(), stop=stop).fit()
    again = tune.Tuner.restore(storage / "exp", functools.partial(count_up), resources={"cpu": 0.5})
    again.fit()
    scheduler: Any = again.definition.tune_config.scheduler
    assert scheduler.seen == [1]
