"""Trials whose resources change while they run."""

import json

import pytest
from tests.schedulers.population import Population

from perdure.errors import ConfigurationError, PluginError
from perdure.schedulers.allocation import DistributeResources, DistributeResourcesToTopJob
from perdure.schedulers.async_hyperband import ASHAScheduler
from perdure.schedulers.base import TrialScheduler, configure
from perdure.schedulers.pbt import PopulationBasedTraining
from perdure.schedulers.resource_changing import ResourceChangingScheduler
from perdure.trainable.wrappers import PlacementGroupFactory, with_resources
from perdure.trial_view import TrialView


def trials_of(rule, count=2, *, cpus=8.0, gpus=0.0, resources=None, base=None, **properties):
    scheduler = ResourceChangingScheduler(base, rule)
    trials = Population(scheduler, **properties)
    trials.capacity = {"CPU": cpus, "GPU": gpus}
    asked = resources or {"CPU": 1.0}
    trainable = with_resources(lambda config: None, asked)
    scheduler.set_search_properties(None, None, trainable=trainable, **properties)
    for number in range(count):
        trials.trials.append(_trial(number, asked))
        scheduler.on_trial_add(trials, trials.trials[-1])
    return trials


def _trial(number, asked):
    total = asked.required_resources if isinstance(asked, PlacementGroupFactory) else asked
    return TrialView(trial_id=f"t{number}", trial_name=f"t{number}", number=number, resources=total, status="RUNNING")


def report(trials, number, iteration=1, score=0.0, **others):
    """A trial reports; return what it is to have, and let it have that."""
    answer = trials.report(number, iteration, score, **others)
    trials.trials[number].status = "RUNNING"
    if isinstance(answer, str):
        return answer
    (action,) = answer.actions
    assert (answer.decision, action.trial, action.resume) == ("PAUSE", f"t{number}", True)
    trials.trials[number].resources = action.resources
    return action.resources


# --- evenly -----------------------------------------------------------------------------------------------------------


def test_what_is_free_is_shared_out_evenly():
    trials = trials_of(DistributeResources())
    assert report(trials, 0) == {"CPU": 4.0}
    assert report(trials, 1) == {"CPU": 4.0}
    assert report(trials, 0, 2) == "CONTINUE"


def test_those_that_remain_get_what_others_leave():
    trials = trials_of(DistributeResources())
    report(trials, 0)
    report(trials, 1)
    trials.end(0)
    assert report(trials, 1, 2) == {"CPU": 8.0}


def test_what_is_reserved_is_left_alone_and_units_are_whole():
    trials = trials_of(DistributeResources(increase_by={"CPU": 2}, reserve_resources={"CPU": 1}), 1)
    assert report(trials, 0) == {"CPU": 7.0}
    trials = trials_of(DistributeResources(increase_by={"CPU": 2}), 1)
    assert report(trials, 0) == {"CPU": 7.0}


def test_there_may_be_a_limit_for_each():
    trials = trials_of(DistributeResources(increase_by={"CPU": 1}, increase_by_times=2), 1)
    assert report(trials, 0) == {"CPU": 3.0}


def test_trials_with_gpus_get_gpus():
    trials = trials_of(DistributeResources(), gpus=4.0, resources={"CPU": 1.0, "GPU": 1.0})
    assert report(trials, 0) == {"CPU": 1.0, "GPU": 2.0}


def test_a_trial_gives_back_what_those_that_wait_need():
    trials = trials_of(DistributeResources(), 1)
    assert report(trials, 0) == {"CPU": 8.0}
    trials.trials.append(_trial(1, {"CPU": 1.0}))
    trials.trials[1].status = "PENDING"
    trials.scheduler.on_trial_add(trials, trials.trials[1])
    assert report(trials, 0, 2) == {"CPU": 7.0}


def test_room_is_left_for_a_trial_that_is_still_to_come():
    trials = trials_of(DistributeResources(), 1)
    trials.expects_more = True
    assert report(trials, 0) == {"CPU": 4.0}


@pytest.mark.parametrize("rule", [DistributeResources(), DistributeResourcesToTopJob(metric="score", mode="max")])
@pytest.mark.parametrize("others", [0, 1])
def test_a_trial_that_a_person_has_pause_keeps_what_it_has(rule, others):
    """It reports once more, and is none of those that resources are shared out among: it may have been the last."""
    trials = trials_of(rule, others + 1)
    trials.get_live_trials = lambda: set(trials.trials[1:])
    assert report(trials, 0, score=1.0) == "CONTINUE"


def test_bundles_may_be_added():
    trials = trials_of(DistributeResources(add_bundles=True), 1, resources=PlacementGroupFactory([{}, {"CPU": 2}]))
    assert report(trials, 0) == {"CPU": 8.0}
    single = trials_of(DistributeResources(), 1, resources=PlacementGroupFactory([{"CPU": 1}, {"CPU": 2}]))
    with pytest.raises(ConfigurationError, match="add_bundles=True"):
        report(single, 0)


@pytest.mark.parametrize("unit", [{}, {"CPU": 0}, {"CPU": -1}, {"TPU": 1}])
def test_what_is_no_unit_is_refused(unit):
    with pytest.raises(ConfigurationError, match="increase_by"):
        DistributeResources(increase_by=unit)


# --- to the best ------------------------------------------------------------------------------------------------------


def test_the_best_trial_gets_all_that_is_free():
    trials = trials_of(DistributeResourcesToTopJob(metric="score", mode="max"), 3)
    assert report(trials, 0, score=1.0) == {"CPU": 6.0}  # the only one that has a score
    assert report(trials, 1, score=5.0) == "CONTINUE"  # nothing is left
    trials.end(0)
    assert report(trials, 2, score=2.0) == "CONTINUE"  # it is not the best
    assert report(trials, 1, 2, score=5.0) == {"CPU": 7.0}


def test_the_best_by_a_nested_metric_is_found():
    trials = trials_of(DistributeResourcesToTopJob(metric="eval/acc", mode="max"), 2)
    trials.trials[0].last_result = {"eval": {"acc": 0.9}}
    assert report(trials, 1, eval={"acc": 0.5}) == "CONTINUE"
    assert report(trials, 1, 2, eval={"acc": 1.0}) == {"CPU": 7.0}


def test_the_next_best_is_served_once_the_best_has_enough():
    rule = DistributeResourcesToTopJob(metric="score", mode="min", increase_by={"CPU": 1}, increase_by_times=2)
    trials = trials_of(rule, 2)
    assert report(trials, 0, score=1.0) == {"CPU": 3.0}
    assert report(trials, 1, score=5.0) == {"CPU": 3.0}


def test_metric_and_mode_are_those_of_the_base_scheduler():
    rule = DistributeResourcesToTopJob()
    scheduler = ResourceChangingScheduler(ASHAScheduler("training_iteration"), rule)
    assert scheduler.set_search_properties("score", "min")
    assert (rule.metric, rule.mode, scheduler.metric) == ("score", "min", "score")


def test_without_a_metric_it_says_who_needs_one():
    trials = trials_of(DistributeResourcesToTopJob())
    with pytest.raises(ConfigurationError, match="give metric and mode"):
        report(trials, 0)


# --- the scheduler ----------------------------------------------------------------------------------------------------


def test_a_function_of_the_users_says_what_a_trial_is_to_have():
    seen = []

    def rule(controller, trial, result, scheduler):
        seen.append((trial.placement_group_factory, scheduler.base_trial_resources, controller.capacity["CPU"]))
        return {1: PlacementGroupFactory([{"CPU": 3}]), 2: {"cpu": 5, "gpu": 0}}.get(result["training_iteration"])

    trials = trials_of(rule, 1)
    assert report(trials, 0, 1) == {"CPU": 3.0}
    assert report(trials, 0, 2) == {"CPU": 5.0}
    assert report(trials, 0, 3) == "CONTINUE"
    assert seen[1] == (PlacementGroupFactory([{"CPU": 3}]), PlacementGroupFactory([{"CPU": 1}]), 8.0)


@pytest.mark.parametrize("said", ["2", 2, [{"CPU": 2}]])
def test_what_a_function_may_not_say_is_named(said):
    trials = trials_of(lambda *_: said)
    with pytest.raises(PluginError, match=r"resources_allocation_function returned .* for trial"):
        report(trials, 0)


def test_no_function_changes_nothing():
    assert report(trials_of(None), 0) == "CONTINUE"


def test_a_trial_is_moved_only_at_a_checkpoint_unless_it_saves_when_told_to():
    assert report(trials_of(DistributeResources()), 0, save=False) == "CONTINUE"
    assert report(trials_of(DistributeResources(), saves=True), 0, save=False) == {"CPU": 4.0}


def test_what_the_base_scheduler_decides_comes_first():
    class Stops(TrialScheduler):
        def on_trial_result(self, controller, trial, result):
            return self.STOP

    assert report(trials_of(DistributeResources(), base=Stops()), 0) == "STOP"


def test_trials_that_begin_with_different_resources_are_refused():
    trials = trials_of(DistributeResources(), 1)
    trials.scheduler._trainable = None
    with pytest.raises(ConfigurationError, match="all begin with the same"):
        trials.scheduler.on_trial_add(trials, _trial(1, {"CPU": 2.0}))


def test_processes_that_are_kept_are_refused():
    with pytest.raises(ConfigurationError, match="reuse_actors=False"):
        ResourceChangingScheduler().set_search_properties("score", "max", reuse_actors=True)


def test_a_base_scheduler_written_for_ray_is_handed_what_it_takes():
    class Older(TrialScheduler):
        def set_search_properties(self, metric, mode):
            self.given = metric, mode
            return True

    scheduler = ResourceChangingScheduler(Older())
    configure(scheduler, "score", "max", seed=1, saves=True)
    assert scheduler._base_scheduler.given == ("score", "max")


def test_what_is_no_scheduler_is_refused():
    with pytest.raises(ConfigurationError, match="base_scheduler='asha'"):
        ResourceChangingScheduler("asha")


def test_state_is_the_base_schedulers_and_what_trials_begin_with():
    base = PopulationBasedTraining("training_iteration", "score", "max", hyperparam_mutations={"x": [1, 2]})
    trials = trials_of(DistributeResources(), 2, base=base)
    state = json.loads(json.dumps(trials.scheduler.get_state()))
    fresh = PopulationBasedTraining("training_iteration", "score", "max", hyperparam_mutations={"x": [1, 2]})
    restored = ResourceChangingScheduler(fresh)
    restored.set_state(state)
    assert restored.base_trial_resources == PlacementGroupFactory([{"CPU": 1.0}])
    assert fresh.get_state() == base.get_state()
    assert restored.writes_policies


def test_a_restore_may_ask_for_other_resources():
    state = trials_of(DistributeResources(), 1).scheduler.get_state()
    trials = trials_of(DistributeResources(), 0, resources={"CPU": 2.0})
    trials.scheduler.set_state(state)
    trials.trials.append(_trial(0, {"CPU": 2.0}))
    trials.scheduler.on_trial_add(trials, trials.trials[0])
    assert trials.scheduler.base_trial_resources == PlacementGroupFactory([{"CPU": 2.0}])
