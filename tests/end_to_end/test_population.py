"""Population-based training with real processes: clones, their donors' checkpoints, policies and lineage."""

from __future__ import annotations

import collections
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from perdure import tune
from perdure.cli.main import main
from perdure.errors import PluginError
from perdure.history import read_experiment
from perdure.journal.values import from_data
from perdure.tune.schedulers import (
    PopulationBasedTraining,
    PopulationBasedTrainingReplay,
    ResourceChangingScheduler,
)
from tests.end_to_end.conftest import Start

STEPS = 9


def grow(config: dict[str, Any]) -> None:
    """Add `rate` to the weight at each step, and remember in the checkpoint which rates made it."""
    latest = tune.get_checkpoint()
    state = json.loads(Path(latest.path, "state.json").read_text()) if latest else {"step": 0, "rates": []}
    while state["step"] < STEPS:
        state = {"step": state["step"] + 1, "rates": [*state["rates"], config["rate"]]}
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "state.json").write_text(json.dumps(state))
            row = {"weight": sum(state["rates"]), "kind": getattr(config["kind"], "__name__", config["kind"])}
            tune.report(row, checkpoint=tune.Checkpoint.from_directory(directory))


class Grow(tune.Trainable):
    """The same as a class, which saves when it is told to."""

    def setup(self, config: dict[str, Any]) -> None:
        self.state: dict[str, Any] = {"step": 0, "rates": []}

    def step(self) -> dict[str, Any]:
        self.state = {"step": self.state["step"] + 1, "rates": [*self.state["rates"], self.config["rate"]]}
        weight, kind = sum(self.state["rates"]), self.config["kind"].__name__
        return {"weight": weight, "kind": kind, "done": self.state["step"] >= STEPS}

    def save_checkpoint(self, directory: str) -> None:
        Path(directory, "state.json").write_text(json.dumps(self.state))

    def load_checkpoint(self, directory: str) -> None:
        self.state = json.loads(Path(directory, "state.json").read_text())


def pbt(**arguments: Any) -> PopulationBasedTraining:
    return PopulationBasedTraining(
        time_attr="training_iteration",
        metric="weight",
        mode="max",
        perturbation_interval=2,
        quantile_fraction=0.5,
        hyperparam_mutations={"rate": tune.uniform(0, 1), "kind": [dict, collections.OrderedDict]},
        **arguments,
    )


KEEP_ONE = tune.CheckpointConfig(num_to_keep=1)


@pytest.mark.parametrize("synch", [False, True])
@pytest.mark.parametrize("trainable", [grow, Grow])
def test_clones_go_on_from_what_their_donors_had_learnt(tuner: Start, trainable: Any, synch: bool) -> None:
    grid = tuner(trainable, num_samples=4, seed=1, scheduler=pbt(synch=synch), checkpoint_config=KEEP_ONE).fit()
    assert grid.errors == []
    history = read_experiment(grid.experiment_path)
    clones = 0
    for result in grid:
        trial = history.trials[result.trial_id]
        rows = {(row.segment, row.iteration): row for row in trial.rows()}
        for step in result.lineage:
            first = rows.get((step.segment, step.iteration + 1))
            if step.donor is None or first is None:
                continue
            clones += 1
            before = {
                row.metrics["weight"] for row in history.trials[step.donor].rows() if row.iteration == step.iteration
            }
            weight = first.metrics["weight"]
            assert isinstance(weight, float)
            assert any(abs(weight - step.config["rate"] - other) < 1e-9 for other in before)  # type: ignore[operator]
            assert first.metrics["kind"] == step.config["kind"].__name__  # the objects of its new configuration
    assert clones > 0
    notes = [event.text for _, event in _events(grid.experiment_path) if type(event).__name__ == "Noticed"]
    assert not [text for text in notes if "damaged" in text or "gone" in text]
    assert {len(list(Path(result.path).glob("checkpoint_*"))) for result in grid} == {1}


def _events(path: str) -> Any:
    from perdure.journal.base import START
    from perdure.journal.file import FileJournalReader

    return FileJournalReader(Path(path)).read(START)


def policies(path: str) -> dict[str, list[list[Any]]]:
    return {
        file.name: [json.loads(line) for line in file.read_text().splitlines()]
        for file in sorted(Path(path).glob("pbt_*.txt"))
    }


def test_policies_tell_each_exploit_once_and_can_be_replayed(tuner: Start, storage: Path) -> None:
    grid = tuner(grow, num_samples=4, seed=1, scheduler=pbt(), checkpoint_config=KEEP_ONE).fit()
    written = policies(grid.experiment_path)
    exploits = [
        (step.iteration, from_data(step.config))
        for trial in read_experiment(grid.experiment_path).trials.values()
        for step in trial.lineage()
        if step.donor is not None
    ]
    assert sorted(map(repr, exploits)) == sorted(repr((line[3], line[5])) for line in written["pbt_global.txt"])

    name, lines = max(written.items(), key=lambda item: len(item[1]) if item[0] != "pbt_global.txt" else 0)
    chain = {iteration: config["rate"] for _, _, _, iteration, _, config in _chain(lines)}
    first = _chain(lines)[0][4]["rate"]
    replay = PopulationBasedTrainingReplay(Path(grid.experiment_path, name))  # in which a class is its name
    (result,) = tuner(grow, name="replay", scheduler=replay).fit()
    rates = json.loads(Path(result.checkpoint.path, "state.json").read_text())["rates"]
    expected, rate = [], first
    for step in range(STEPS):
        rate = chain.get(step, rate)
        expected.append(rate)
    assert rates == expected


def _chain(lines: list[list[Any]]) -> list[list[Any]]:
    """Return the lines that lead to the last one, each donor's before its clone's."""
    kept = [lines[-1]]
    for line in reversed(lines[:-1]):
        if line[0] != kept[0][1]:
            break
        kept.insert(0, line)
    return kept


def test_a_damaged_policy_is_found_and_written_anew(
    tuner: Start, storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(tuner(grow, num_samples=4, seed=1, scheduler=pbt(), checkpoint_config=KEEP_ONE).fit().experiment_path)
    files = {file: file.read_bytes() for file in path.glob("pbt_*.txt")}
    assert main(["verify", str(path)]) == 0
    assert "pbt_" not in capsys.readouterr().out
    for file, whole in files.items():
        file.write_bytes(whole.replace(b"0", b"1", 1))
    assert main(["verify", str(path)]) == 0, "nothing is lost by it"
    said = capsys.readouterr().out
    assert all(f"note: view {file.name}: line 1 is not what the journal says" in said for file in files)
    tune.Tuner.restore(path).fit()
    assert {file: file.read_bytes() for file in path.glob("pbt_*.txt")} == files


def test_without_log_config_there_are_no_policies(tuner: Start) -> None:
    grid = tuner(grow, num_samples=4, seed=1, scheduler=pbt(log_config=False)).fit()
    assert any(step.donor for result in grid for step in result.lineage)
    assert policies(grid.experiment_path) == {}


def bare(config: dict[str, Any]) -> None:
    for step in range(5):
        tune.report({"weight": config["rate"] * step})


@pytest.mark.parametrize("synch", [False, True])
def test_a_function_without_checkpoints_is_told_to_save(tuner: Start, synch: bool) -> None:
    with pytest.raises(PluginError, match=r"report\(metrics, checkpoint="):
        tuner(bare, num_samples=2, max_concurrent_trials=1, scheduler=pbt(synch=synch)).fit()


SCRIPT = """
import sys, time
from perdure import tune
from tests.end_to_end.test_population import grow, pbt, KEEP_ONE

def slow(config):
    real = tune.report
    def report(*args, **kwargs):
        time.sleep(0.05)
        return real(*args, **kwargs)
    tune.report = report
    grow(config)

config = tune.RunConfig(name="exp", storage_path=sys.argv[1], verbose=0, checkpoint_config=KEEP_ONE, resume="auto")
tuning = tune.TuneConfig(num_samples=4, seed=1, scheduler=pbt(synch=sys.argv[2] == "synch"))
tune.Tuner(slow, tune_config=tuning, run_config=config).fit()
"""


@pytest.mark.parametrize("synch", ["alone", "synch"])
def test_a_killed_population_goes_on_and_its_policies_stand_once(storage: Path, synch: str) -> None:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])}
    command = [sys.executable, "-c", SCRIPT, str(storage), synch]
    for rows in (8, 20):
        driver = subprocess.Popen(command, env=environment)
        _wait_for_rows(storage / "exp", rows, driver)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    subprocess.run(command, env=environment, check=True, timeout=120)
    history = read_experiment(storage / "exp")
    assert {trial.status.value for trial in history.trials.values()} == {"TERMINATED"}
    clones = [step for trial in history.trials.values() for step in trial.lineage() if step.donor is not None]
    written = policies(str(storage / "exp"))["pbt_global.txt"]
    assert clones
    assert sorted((line[3], line[5]["rate"]) for line in written) == sorted(
        (step.iteration, step.config["rate"]) for step in clones
    )


def _wait_for_rows(path: Path, rows: int, driver: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and driver.poll() is None:
        journaled = sum(file.read_bytes().count(b'"type":"reported"') for file in path.glob("journal-*.jsonl"))
        if journaled >= rows:
            return
        time.sleep(0.02)


def test_lineage_is_shown(tuner: Start, capsys: pytest.CaptureFixture[str]) -> None:
    grid = tuner(grow, num_samples=4, seed=1, scheduler=pbt(synch=True)).fit()
    clone = next(result for result in grid if len(result.lineage) > 1)
    first, *later = clone.lineage
    assert (first.segment, first.donor, first.checkpoint, first.iteration) == (0, None, None, 0)
    assert [step.segment for step in clone.lineage] == list(range(len(clone.lineage)))
    assert clone.config == later[-1].config
    assert main(["show", grid.experiment_path, clone.trial_id, "--lineage"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 2 + len(clone.lineage)
    assert f"checkpoint {later[0].checkpoint} of grow_{later[0].donor}" in shown[3]
    assert main(["show", grid.experiment_path, "--lineage", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    steps = {trial["trial"]: trial["steps"] for trial in document["lineage"]}[clone.trial_id]
    assert [step["donor"] for step in steps] == [step.donor for step in clone.lineage]
    assert len(document["lineage"]) == 4


def show_cpus(config: dict[str, Any]) -> None:
    latest = tune.get_checkpoint()
    first = int(Path(latest.path, "step").read_text()) if latest else 0
    cpus = 0.0
    for step in itertools.count(first + 1):
        if step > config["steps"] and cpus >= config.get("cpus", 0):
            return
        cpus = tune.get_context().get_trial_resources()["CPU"]
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "step").write_text(str(step))
            tune.report({"cpus": cpus}, checkpoint=tune.Checkpoint.from_directory(directory))


def test_trials_that_remain_get_the_resources_of_those_that_ended(tuner: Start) -> None:
    from perdure.executors.local import LocalExecutor

    grid = tuner(
        show_cpus,
        {"steps": 2, "cpus": tune.grid_search([0, 4])},
        scheduler=ResourceChangingScheduler(),
        executor=LocalExecutor(cpus=4),
    ).fit()
    assert grid.errors == []
    short, long = (list(result.metrics_dataframe["cpus"]) for result in grid)
    assert len(short) == 2
    assert long[-1] == 4.0
    assert long == sorted(long)


def train_until_taken_away(config: dict[str, Any]) -> None:
    """Train until there are fewer CPUs than once there were."""
    latest = tune.get_checkpoint()
    most = float(Path(latest.path, "most").read_text()) if latest else 0.0
    while True:
        cpus = tune.get_context().get_trial_resources()["CPU"]
        most = max(most, cpus)
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "most").write_text(str(most))
            tune.report({"cpus": cpus}, checkpoint=tune.Checkpoint.from_directory(directory))
        if cpus < most:
            return


class EndsOnceGiven(tune.Callback):
    """Ctrl-C once a trial has reported that it has so many CPUs."""

    def __init__(self, cpus: float) -> None:
        self.cpus = cpus
        self.done = False

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        if result["cpus"] == self.cpus and not self.done:
            self.done = True
            os.kill(os.getpid(), signal.SIGINT)


def test_a_trial_that_was_given_more_than_a_smaller_machine_has_goes_on_with_what_it_asks_for(tuner: Start) -> None:
    from perdure.executors.local import LocalExecutor

    def start(cpus: int, callbacks: list[tune.Callback]) -> tune.ResultGrid:
        return tuner(
            train_until_taken_away,
            scheduler=ResourceChangingScheduler(),
            executor=LocalExecutor(cpus=cpus),
            callbacks=callbacks,
            resume="auto",
        ).fit()

    assert start(4, [EndsOnceGiven(4.0)]).interrupted
    (result,) = start(1, [])
    assert result.error is None
    assert [cpus for cpus, _ in itertools.groupby(result.metrics_dataframe["cpus"])] == [1.0, 4.0, 1.0]


def test_a_function_of_the_users_that_asks_for_rays_controller_is_told_what_there_is(tuner: Start) -> None:
    def rule(tune_controller: Any, trial: Any, result: dict[str, Any], scheduler: Any) -> None:
        tune_controller._resource_updater.get_num_cpus()

    started = tuner(show_cpus, {"steps": 2}, scheduler=ResourceChangingScheduler(resources_allocation_function=rule))
    with pytest.raises(AttributeError, match=r"asked the experiment for '_resource_updater'.* capacity\[\"CPU\"\]"):
        started.fit()
