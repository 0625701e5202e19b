"""The laboratory itself: an experiment whose driver is killed has the history of one that nobody disturbed."""

import random

import pytest

from perdure.schedulers.base import TrialScheduler
from perdure.schedulers.fifo import FIFOScheduler
from perdure.testing.scheduling import run_scheduled, transcript


def curve(config, iteration, before):
    return {"score": config["x"] * iteration, "total": (before or {"total": 0.0})["total"] + config["x"]}


def run(seed, crash_after=()):
    return run_scheduled(FIFOScheduler, curve, samples=7, max_t=5, slots=3, seed=seed, crash_after=crash_after)


def test_every_trial_reports_what_its_curve_says():
    history = run(0)
    assert [len(list(trial.rows())) for trial in history.trials.values()] == [5] * 7
    for trial in history.trials.values():
        assert [row.metrics for row in trial.rows()] == [
            {"score": trial.config["x"] * n, "total": pytest.approx(trial.config["x"] * n)} for n in range(1, 6)
        ]


@pytest.mark.parametrize("seed", range(10))
def test_kills_leave_no_trace(seed):
    rng = random.Random(seed)
    kills = [rng.randint(1, 120) for _ in range(5)]
    assert transcript(run(seed, kills)) == transcript(run(seed))


def test_active_trials_are_those_that_are_neither_finished_nor_paused():
    seen = set()

    class Pausing(TrialScheduler):
        retold = False

        def on_trial_retold(self, controller, trial, result, decision, actions):
            self.retold = True
            self.on_trial_result(controller, trial, result)
            self.retold = False

        def on_trial_result(self, controller, trial, result):
            active, paused = controller.get_active_trials(), set(controller.get_paused_trials())
            assert trial in active
            assert active.isdisjoint(paused)
            assert active | paused == controller.get_live_trials()
            seen.add((self.retold, bool(paused)))
            return self.PAUSE if result["training_iteration"] == 2 else self.CONTINUE

        def get_state(self):
            return {"told": True}

        def set_state(self, state):
            pass

    history = run_scheduled(Pausing, curve, samples=7, max_t=5, slots=3, seed=0, crash_after=[100])
    assert all(len(list(trial.rows())) == 5 for trial in history.trials.values())
    assert len({retold for retold, paused in seen if paused}) == 2, "not both while it ran and when it was retold"
