"""What a script sees of a signal: `fit()` returns and says that it was interrupted, or SIGTERM ends the script."""

from __future__ import annotations

import functools
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure import experiments, tune
from perdure.tune.search import Searcher


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def tuner(storage: Path, number: int | None, **options: object) -> tune.Tuner:
    """Return an experiment whose second trial sends this process a signal in its first step of two."""

    def train(config: dict[str, int]) -> None:
        for step in range(2):
            if number is not None and step == 0 and config["n"] == 1:
                signal.raise_signal(number)
            tune.report({"loss": config["n"]})

    train.__name__ = "train"
    return tune.Tuner(
        train,
        param_space={"n": tune.grid_search([0, 1, 2])},
        tune_config=tune.TuneConfig(metric="loss", mode="min"),
        run_config=tune.RunConfig(name="exp", storage_path=str(storage), executor="inline", verbose=0, **options),
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
def test_fit_returns_and_says_that_it_was_interrupted(tmp_path: Path, number: signal.Signals) -> None:
    results = tuner(tmp_path, number).fit()
    assert results.interrupted
    assert results.stop_reason == number.name
    assert repr(results).startswith(f"ResultGrid interrupted ({number.name})<[")
    analysis = tune.ExperimentAnalysis(tmp_path / "exp")
    assert (analysis.interrupted, analysis.stop_reason) == (True, number.name)
    results = tuner(tmp_path, None, resume="auto").fit()
    assert not results.interrupted
    assert results.stop_reason is None
    assert repr(results).startswith("ResultGrid<[")


def test_sigterm_ends_the_script_once_the_experiment_is_in_good_order(tmp_path: Path) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with pytest.raises(SystemExit) as ended:
        tuner(tmp_path, signal.SIGTERM).fit()
    assert ended.value.code == 143
    left = tune.ResultGrid.from_path(tmp_path / "exp")
    assert (left.interrupted, left.stop_reason) == (True, "SIGTERM")
    assert left.num_errors == 0
    assert not tuner(tmp_path, None, resume="auto").fit().interrupted


def test_a_script_with_a_handler_of_its_own_gets_the_sigterm_and_the_results(tmp_path: Path) -> None:
    got: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: got.append(number))
    results = tuner(tmp_path, signal.SIGTERM).fit()
    assert got == [signal.SIGTERM]
    assert (results.interrupted, results.stop_reason) == (True, "SIGTERM")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path, number: signal.Signals) -> None:
    """As the shell has SIGINT of what it runs in the background."""
    signal.signal(number, signal.SIG_IGN)
    results = tuner(tmp_path, number).fit()
    assert (results.interrupted, results.stop_reason) == (False, None)
    assert signal.getsignal(number) is signal.SIG_IGN


def test_a_stop_rule_that_ends_it_all_is_no_interruption(tmp_path: Path) -> None:
    class AtOnce(tune.Stopper):
        def __call__(self, trial_id: str, result: dict[str, object]) -> bool:
            return False

        def stop_all(self) -> bool:
            return True

    results = tuner(tmp_path, None, stop=AtOnce()).fit()
    assert not results.interrupted
    assert results.stop_reason == "stopper"


def test_a_signal_that_is_handled_in_c_is_left_to_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as host:
        host.setattr(signal, "getsignal", lambda number: None)
        host.setattr(signal, "signal", lambda number, handler: pytest.fail(f"{number} was taken"))
        assert not tuner(tmp_path, None).fit().interrupted


class Draws(Searcher):
    def suggest(self, trial_id: str) -> dict[str, float]:
        return {"x": 0.5}

    def on_trial_complete(self, trial_id: str, result: object = None, error: bool = False) -> None:
        pass


@pytest.mark.parametrize("searcher", [None, Draws()])
@pytest.mark.parametrize("last", [0, 2])
def test_a_signal_after_the_last_report_interrupts_while_trials_are_to_come(
    tmp_path: Path, last: int, searcher: Searcher | None
) -> None:
    """The one that ran comes to its own end then, so that none is unfinished of those that there are."""

    def train(config: dict[str, float]) -> None:
        tune.report({"loss": config["x"]})
        if tune.get_context().get_trial_name().endswith(f"_{last:05}"):
            signal.raise_signal(signal.SIGINT)

    results = tune.Tuner(
        train,
        param_space=None if searcher else {"x": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=3,
            max_concurrent_trials=1,
            search_alg=searcher,
        ),
        run_config=tune.RunConfig(name="exp", storage_path=str(tmp_path), executor="inline", verbose=0),
    ).fit()
    assert (len(results), results.interrupted, results.stop_reason) == (last + 1, last < 2, "SIGINT")
    assert results.num_terminated == last + 1


@pytest.mark.parametrize("trials", [1, 3])
def test_fail_fast_interrupts_what_has_something_left(tmp_path: Path, trials: int) -> None:
    def train(config: dict[str, int]) -> None:
        raise ValueError

    results = tune.Tuner(
        train,
        tune_config=tune.TuneConfig(num_samples=trials),
        run_config=tune.RunConfig(
            storage_path=str(tmp_path),
            executor="inline",
            verbose=0,
            failure_config=tune.FailureConfig(fail_fast=True),
        ),
    ).fit()
    assert (results.interrupted, results.stop_reason) == (trials > 1, "fail_fast")
    assert results.num_errors == 1


def test_after_an_interruption_no_further_experiment_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiments, "RunConfig", functools.partial(tune.RunConfig, executor="inline"))

    def train(config: dict[str, int]) -> None:
        signal.raise_signal(signal.SIGINT)
        tune.report({"loss": 1})
        tune.report({"loss": 1})

    both = [tune.Experiment(name, train, storage_path=str(tmp_path)) for name in ("one", "two")]
    tune.run_experiments(both, verbose=0)
    assert tune.ResultGrid.from_path(tmp_path / "one").interrupted
    assert not (tmp_path / "two").exists()
