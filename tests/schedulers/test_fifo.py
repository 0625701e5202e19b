import pytest

from perdure.core.events import Action, Decision
from perdure.errors import ConfigurationError, PluginError
from perdure.schedulers import create_scheduler
from perdure.schedulers.base import DEFAULT_METRIC, Judgement, TrialScheduler, configure, judgement
from perdure.schedulers.fifo import FIFOScheduler
from perdure.trial_view import TrialView


class Experiment:
    def __init__(self, *statuses):
        self.trials = [TrialView(trial_id=str(n), trial_name="", status=status) for n, status in enumerate(statuses)]

    def get_trials(self):
        return self.trials

    def get_live_trials(self):
        return {trial for trial in self.trials if not trial.is_finished()}

    def get_paused_trials(self):
        return (trial for trial in self.trials if trial.status == "PAUSED")


def test_every_trial_runs_to_its_end():
    scheduler = FIFOScheduler()
    experiment = Experiment("RUNNING")
    trial = experiment.trials[0]
    scheduler.on_trial_add(experiment, trial)
    assert scheduler.on_trial_result(experiment, trial, {"loss": 1}) == TrialScheduler.CONTINUE
    scheduler.on_trial_complete(experiment, trial, {"loss": 1})
    scheduler.on_trial_error(experiment, trial)
    scheduler.on_trial_remove(experiment, trial)
    assert "first come" in scheduler.debug_string()


def test_the_first_pending_trial_is_chosen_then_the_first_paused():
    scheduler = FIFOScheduler()
    assert scheduler.choose_trial_to_run(Experiment("RUNNING", "PAUSED", "PENDING", "PENDING")).trial_id == "2"
    assert scheduler.choose_trial_to_run(Experiment("RUNNING", "PAUSED", "TERMINATED")).trial_id == "1"
    assert scheduler.choose_trial_to_run(Experiment("RUNNING")) is None


def test_only_a_scheduler_with_its_own_order_is_asked_for_it():
    class Mine(FIFOScheduler):
        def choose_trial_to_run(self, controller):
            return None

    assert not FIFOScheduler().chooses_trials
    assert Mine().chooses_trials


def test_metric_and_mode_come_from_one_place():
    scheduler = FIFOScheduler()
    assert scheduler.set_search_properties("loss", "min")
    assert scheduler.metric == "loss"
    assert scheduler.set_search_properties(None, None)
    with pytest.raises(ConfigurationError, match="Leave them out in one of the two places"):
        configure(scheduler, "acc", "max", num_samples=3)
    nameless = FIFOScheduler()
    configure(nameless, None, None)
    assert nameless.metric == DEFAULT_METRIC


def test_a_scheduler_that_takes_no_further_facts():
    class Older(FIFOScheduler):
        def set_search_properties(self, metric, mode):
            self._metric = metric
            return True

    scheduler = Older()
    configure(scheduler, "loss", "min", num_samples=3)
    assert scheduler.metric == "loss"


@pytest.mark.parametrize(
    ("answer", "decision"),
    [
        ("CONTINUE", Decision.CONTINUE),
        ("NOOP", Decision.CONTINUE),
        ("PAUSE", Decision.PAUSE),
        ("STOP", Decision.STOP),
        (Decision.STOP, Decision.STOP),
    ],
)
def test_what_a_scheduler_may_answer(answer, decision):
    assert judgement(FIFOScheduler(), "t", answer) == (decision, ())
    action = Action(trial="other", decision=Decision.STOP)
    assert judgement(FIFOScheduler(), "t", Judgement(answer, [action])) == (decision, (action,))


@pytest.mark.parametrize("answer", [None, True, "continue!", Judgement("maybe"), []])
def test_any_other_answer_names_scheduler_and_trial(answer):
    with pytest.raises(PluginError, match=r"FIFOScheduler.on_trial_result returned .* for trial t7"):
        judgement(FIFOScheduler(), "t7", answer)


class Remembering(TrialScheduler):
    """A user's own, which keeps its memory where it likes."""

    def __init__(self):
        super().__init__()
        self.best = {}

    def on_trial_result(self, controller, trial, result):
        self.best[trial.trial_id] = result["loss"]
        return self.CONTINUE


def test_a_scheduler_of_the_users_is_saved_whole(tmp_path):
    scheduler = Remembering()
    configure(scheduler, "loss", "min")
    experiment = Experiment("RUNNING")
    scheduler.on_trial_result(experiment, experiment.trials[0], {"loss": 3})
    scheduler.save(str(tmp_path / "scheduler.pkl"))
    restored = Remembering()
    restored.restore(str(tmp_path / "scheduler.pkl"))
    assert (restored.best, restored.metric) == ({"0": 3}, "loss")
    assert restored.get_state() is None


def test_first_come_first_served_has_nothing_to_remember():
    class Mine(FIFOScheduler):
        pass

    assert FIFOScheduler().get_state() == {}
    assert Mine().get_state() is None


def test_schedulers_have_names():
    assert isinstance(create_scheduler("FIFO"), FIFOScheduler)
    assert type(create_scheduler("pbt", hyperparam_mutations={"lr": [1, 2]})).__name__ == "PopulationBasedTraining"
    with pytest.raises(ConfigurationError, match="There is no scheduler 'foo'"):
        create_scheduler("foo")
