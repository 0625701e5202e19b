"""A small controller for tests that call schedulers by hand."""

from __future__ import annotations

import pytest

from perdure.schedulers.base import Judgement
from perdure.trial_view import TrialView


class Bench:
    """Plays the experiment for one scheduler: trials by name, and what is done with them."""

    expects_more = False

    def __init__(self, scheduler, *names):
        self.scheduler = scheduler
        self.trials = {}
        for name in names:
            self.add(name)

    def add(self, name):
        trial = self.trials[name] = TrialView(trial_id=name, trial_name=name, number=len(self.trials), status="RUNNING")
        trial.checkpoint = object()
        self.scheduler.on_trial_add(self, trial)

    def report(self, name, time, score, **more):
        """Return the answer to a row, and what is done with others: {"a": "stop", "b": "resume"}."""
        trial = self.trials[name]
        trial.last_result = {"training_iteration": time, "m": score, **more}
        answer = self.scheduler.on_trial_result(self, trial, trial.last_result)
        actions = ()
        if isinstance(answer, Judgement):
            answer, actions = answer.decision, answer.actions
        self._set(name, answer)
        return (answer, self._carry_out(actions)) if actions else answer

    def end(self, name):
        trial = self.trials[name]
        trial.status = "TERMINATED"
        return self._carry_out(self.scheduler.on_trial_complete(self, trial, trial.last_result) or ())

    def fail(self, name):
        trial = self.trials[name]
        trial.status = "ERROR"
        return self._carry_out(self.scheduler.on_trial_error(self, trial) or ())

    def again(self, name, last=None):
        """A restore has a trial that ended go on after its last row, or begin anew."""
        trial = self.trials[name]
        trial.status, trial.last_result = "RUNNING", last or {}
        self.scheduler.on_trial_add(self, trial)

    def wake(self):
        return self._carry_out(self.scheduler.wake(self))

    def promote(self):
        return self._carry_out(self.scheduler.promote(self))

    def status(self, name):
        return self.trials[name].status

    def _set(self, name, answer):
        if answer == "STOP":
            self.end(name)
        elif answer == "PAUSE":
            self.trials[name].status = "PAUSED"

    def _carry_out(self, actions):
        done = {}
        for action in actions:
            done[action.trial] = "resume" if action.resume else action.decision.value
            if action.resume:
                self.trials[action.trial].status = "RUNNING"
            else:
                self.end(action.trial)
        return done

    def get_trials(self):
        return list(self.trials.values())

    def get_live_trials(self):
        return {trial for trial in self.trials.values() if not trial.is_finished()}

    def get_active_trials(self):
        return {trial for trial in self.get_live_trials() if trial.status != "PAUSED"}

    def get_paused_trials(self):
        return (trial for trial in self.trials.values() if trial.status == "PAUSED")

    def get_trial(self, name):
        return self.trials.get(name)

    def count(self, status):
        return sum(trial.status == status for trial in self.trials.values())

    def checkpoint_of(self, name):
        return None


@pytest.fixture
def bench():
    return Bench
