"""Population-based training: who goes on from whom, and that no kill changes it."""

import json
import random

import pytest
from tests.schedulers.population import Population

from perdure.core.events import Source
from perdure.errors import ConfigurationError, MetricError, PluginError
from perdure.schedulers.base import Judgement
from perdure.schedulers.pbt import PopulationBasedTraining
from perdure.search_space.functions import uniform
from perdure.testing.scheduling import run_scheduled, transcript


def pbt(**arguments):
    settings = {
        "time_attr": "training_iteration",
        "metric": "score",
        "mode": "max",
        "perturbation_interval": 2,
        "hyperparam_mutations": {"lr": uniform(0, 1)},
        "resample_probability": 0,
        **arguments,
    }
    return PopulationBasedTraining(**settings)


def population(count=4, *, saves=False, **arguments):
    return Population(pbt(**arguments), *({"lr": float(n + 1), "n": n} for n in range(count)), saves=saves)


def clone_of(answer):
    """The one action of an answer that makes its trial a clone."""
    assert isinstance(answer, Judgement)
    assert answer.decision == "PAUSE"
    (action,) = answer.actions
    return action


# --- decisions --------------------------------------------------------------------------------------------------------


def test_nothing_happens_before_the_interval_has_passed():
    trials = population()
    assert [trials.report(n, 1, n) for n in range(4)] == ["CONTINUE"] * 4


def test_a_poor_trial_goes_on_from_a_good_ones_checkpoint_with_its_configuration_varied():
    trials = population()
    assert [trials.report(n, 2, n).decision for n in (2, 3, 1)] == ["CONTINUE", "CONTINUE", "PAUSE"]
    action = clone_of(trials.report(0, 2, 0))
    assert (action.trial, action.donor) == ("t0", Source(trial="t3", number=2))
    assert action.config["lr"] in (4.0 * 1.2, 4.0 * 0.8)
    assert action.config["n"] == 3
    assert action.resume  # there is room: nobody else waits


def test_the_less_the_better_if_the_mode_says_so():
    trials = population(mode="min")
    for n in (3, 2):
        trials.report(n, 2, -n)
    assert trials.report(0, 2, 0).actions[0].donor == Source(trial="t3", number=2)


def test_the_interval_is_counted_from_the_last_look_and_for_a_clone_from_its_donors():
    trials = population(2)
    trials.report(1, 2, 5.0)
    assert clone_of(trials.report(0, 2, 1.0))
    assert trials.report(0, 3, 0.0) == "CONTINUE"
    assert clone_of(trials.report(0, 4, 0.0))


def test_the_burn_in_period_passes_first():
    trials = population(2, burn_in_period=5)
    trials.report(1, 4, 5.0)
    assert trials.report(0, 4, 1.0) == "CONTINUE"
    trials.report(1, 5, 5.0)
    assert clone_of(trials.report(0, 5, 1.0))


def test_nobody_is_replaced_if_the_quantile_is_nobody():
    trials = population(quantile_fraction=0)
    assert [trials.report(n, 2, n).decision for n in range(4)] == ["CONTINUE"] * 4


def test_who_has_ended_is_no_donor():
    trials = population(3)
    trials.report(2, 2, 9.0)
    trials.end(2)
    trials.report(1, 2, 5.0)
    assert trials.report(0, 2, 1.0).actions[0].donor.trial == "t1"


def test_who_has_diverged_is_neither_donor_nor_replaced():
    trials = population(3, mode="min")
    assert trials.report(2, 2, float("nan")).decision == "CONTINUE"
    trials.report(1, 2, 5.0)
    assert trials.report(0, 2, 9.0).actions[0].donor.trial == "t1"


def test_a_fresh_clone_is_no_donor_by_the_score_of_what_it_was():
    trials = population(3, quantile_fraction=0.5)
    trials.report(0, 2, 1.0)
    assert clone_of(trials.report(1, 2, 0.5)).donor.trial == "t0"
    assert trials.report(0, 4, -5.0).actions == ()  # only the clone is better, by what it was before
    trials.report(1, 4, 2.0)
    assert clone_of(trials.report(0, 5, -5.0)).donor == Source(trial="t1", number=4)


def test_a_function_that_never_saved_a_checkpoint_is_told_how():
    trials = population(2)
    trials.report(1, 2, 5.0, save=False)
    with pytest.raises(PluginError, match=r"no trial has saved a checkpoint.*report\(metrics, checkpoint="):
        trials.report(0, 2, 1.0, save=False)


@pytest.mark.parametrize(("good_saves", "poor_saves"), [(True, False), (False, True)])
def test_a_population_that_saves_goes_on_without_checkpoints_that_were_lost(good_saves, poor_saves):
    """A power cut may take the only checkpoint of the only good trial, and the poor one may come with its first."""
    trials = population(2)
    trials.report(1, 2, 5.0, save=good_saves)
    trials.checkpoints.clear()
    trials.scheduler.set_state(trials.scheduler.get_state())
    row = {"training_iteration": 2, "score": 1.0, "checkpoint_dir_name": "checkpoint_000000" if poor_saves else None}
    poor = trials.scheduler.on_trial_result(trials, trials.trials[0], row)
    assert (poor.decision, poor.actions) == ("CONTINUE", ())


def test_the_search_for_a_checkpoint_does_not_grow_with_the_population_and_finds_one_in_the_end():
    """Each look of a poor trial begins elsewhere, so none of the good trials is passed over for good."""
    asked = []
    for count in (300, 900):
        trials = population(count, quantile_fraction=0.5)
        for number in range(1, count):
            trials.report(number, 2, float(number))
        donor = f"t{count - 1}"
        trials.checkpoints = {donor: trials.checkpoints[donor]}
        lookups = []
        trials.checkpoint_of = lambda name, known=trials.checkpoints, lookups=lookups: (
            lookups.append(name) or known.get(name)
        )
        answers = [trials.report(0, iteration, -1.0, save=False) for iteration in range(2, 200)]
        asked.append(len(lookups) / len(answers))
        assert answers[0].actions == ()
        assert {each.actions[0].donor.trial for each in answers if each.actions} == {donor}
    assert max(asked) <= 65


def test_a_good_class_is_told_to_save_and_a_poor_one_waits_for_that_checkpoint():
    trials = population(3, saves=True)
    trials.report(0, 2, 1.0, save=False)
    assert trials.report(1, 2, 5.0, save=False).save
    poor = trials.report(2, 2, 0.0, save=False)
    assert (poor.decision, poor.actions) == ("CONTINUE", ())
    trials.save(1, 2)
    assert clone_of(trials.report(2, 3, 0.0, save=False)).donor == Source(trial="t1", number=2)


def test_a_stale_checkpoint_of_a_class_is_not_taken():
    trials = population(2, saves=True)
    trials.save(1, 1)
    trials.report(1, 2, 5.0, save=False)
    assert trials.report(0, 2, 1.0, save=False).actions == ()


def test_trials_take_turns_where_others_wait():
    trials = population(2)
    trials.expects_more = True
    assert trials.report(0, 2, 1.0).decision == "PAUSE"
    clone = clone_of(trials.report(1, 2, 0.0))
    assert not clone.resume
    trials.expects_more = False
    assert [action.trial for action in trials.scheduler.wake(trials)] == ["t0"]
    trials.trials[0].status = "RUNNING"
    assert [action.trial for action in trials.scheduler.wake(trials)] == ["t1"]
    assert trials.scheduler.wake(trials) == []


def test_who_has_trained_least_goes_first():
    trials = population(3)
    trials.expects_more = True
    trials.report(0, 6, 1.0)
    trials.report(1, 4, 1.0)
    trials.report(2, 5, 1.0)
    trials.expects_more = False
    assert [trials.scheduler.wake(trials)[0].trial for _ in range(3)] == ["t1", "t2", "t0"]


def test_a_trial_keeps_its_place_if_it_would_get_it_back_at_once():
    trials = population(2, quantile_fraction=0)
    trials.expects_more = True
    trials.report(0, 6, 1.0)
    trials.expects_more = False
    assert trials.report(1, 2, 1.0).decision == "CONTINUE"
    assert trials.report(1, 8, 1.0).decision == "PAUSE"


def test_together_they_wait_for_the_last_and_go_on_as_one_decision():
    trials = population(4, synch=True)
    assert [trials.report(n, 2, n).decision for n in (1, 3, 0)] == ["PAUSE"] * 3
    assert trials.scheduler.wake(trials) == []  # the last one still runs
    assert trials.report(2, 2, 2).decision == "PAUSE"
    actions = trials.scheduler.wake(trials)
    assert all(action.resume for action in actions)
    assert [action.trial for action in actions] == ["t1", "t2", "t3", "t0"]
    assert actions[-1].donor == Source(trial="t3", number=2)
    assert [action.donor for action in actions[:-1]] == [None] * 3
    assert [trials.report(n, 3, n) for n in range(4)] == ["CONTINUE"] * 4


def test_together_they_do_not_wait_for_who_has_ended():
    trials = population(3, synch=True)
    trials.report(0, 2, 0.0)
    trials.report(1, 2, 1.0)
    trials.end(2)
    assert {action.trial for action in trials.scheduler.wake(trials)} == {"t0", "t1"}


def test_the_same_seed_varies_the_same_way_and_another_another():
    def first_clone(seed):
        trials = Population(pbt(resample_probability=1), {"lr": 1.0}, {"lr": 2.0}, seed=seed)
        trials.report(1, 2, 5.0)
        return clone_of(trials.report(0, 2, 1.0)).config["lr"]

    assert first_clone(1) == first_clone(1) != first_clone(2)


def test_the_same_seed_varies_trials_of_other_names_the_same_way():
    def first_clone(prefix):
        trials = Population(pbt(resample_probability=1), {"lr": 1.0}, {"lr": 2.0}, seed=1, prefix=prefix)
        trials.report(1, 2, 5.0)
        return clone_of(trials.report(0, 2, 1.0)).config["lr"]

    assert first_clone("4f3a_") == first_clone("b017_")


def test_what_the_space_lacks_is_drawn_once_for_all():
    scheduler = pbt(hyperparam_mutations={"lr": uniform(0, 1), "opt": {"beta": [0.8, 0.9]}})
    scheduler.set_search_properties(None, None, seed=5)
    config = scheduler.prepare_config(3, {"a": 1})
    assert set(config) == {"a", "lr", "opt"}
    assert config == scheduler.prepare_config(3, {"a": 1})
    assert config["lr"] != scheduler.prepare_config(4, {"a": 1})["lr"]


# --- rows and arguments -----------------------------------------------------------------------------------------------


def test_a_row_without_the_metric_is_refused_or_passed_over():
    trials = population(2)
    with pytest.raises(MetricError, match="no number 'score'.*require_attrs=False"):
        trials.report(0, 2, None)
    relaxed = population(2, require_attrs=False)
    with pytest.warns(UserWarning, match="without a number 'score'"):
        assert relaxed.report(0, 2, None) == "CONTINUE"
    assert relaxed.report(0, 3, None) == "CONTINUE"  # warned of once


def test_a_row_whose_time_is_nan_is_passed_over():
    trials = population(2, time_attr="epoch")
    for number, score in ((1, 5.0), (0, 1.0)):
        assert trials.report(number, 2, score, epoch=float("nan")) == "CONTINUE"
    trials.report(1, 3, 5.0, epoch=2)
    assert clone_of(trials.report(0, 3, 1.0, epoch=2))


def test_a_nested_metric_is_found():
    trials = population(2, metric="eval/score")
    trials.report(1, 2, None, eval={"score": 5})
    assert clone_of(trials.report(0, 2, None, eval={"score": 1}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hyperparam_mutations": None}, "nothing to vary"),
        ({"hyperparam_mutations": {"lr": 1}}, "expected a list"),
        ({"quantile_fraction": 0.6}, "0 to 0.5"),
        ({"perturbation_interval": 0}, "above 0"),
        ({"resample_probability": 1.5}, "0 to 1"),
        ({"perturbation_factors": ()}, "no factors"),
        ({"perturbation_factors": ("1.2", "0.8")}, "use numbers; '1.2' is a str"),
        ({"perturbation_interval": "5"}, "perturbation_interval='5'.: use a number"),
        ({"burn_in_period": None}, "burn_in_period=None"),
        ({"mode": "best"}, '"min" or "max"'),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        pbt(**arguments)


def test_metric_and_mode_are_named_once():
    assert not pbt().set_search_properties("score", "max")
    assert not pbt(metric=None).set_search_properties("score", "max")
    assert pbt(metric=None, mode=None).set_search_properties("score", "max")
    with pytest.raises(ConfigurationError, match="give metric and mode"):
        pbt(metric=None, mode=None).set_search_properties(None, None)


def test_a_search_algorithm_next_to_it_is_refused():
    with pytest.raises(ConfigurationError, match="search_alg=object"):
        pbt().set_search_properties(None, None, searcher=object())


# --- whole experiments ------------------------------------------------------------------------------------------------


def curve(config, iteration, before):
    """A score that grows by x a step, from whatever it was."""
    start = (before or {"score": 0.0, "path": []})["score"]
    return {"score": start + config["x"], "x": config["x"]}


MAKERS = {
    "each by itself": {},
    "together": {"synch": True},
    "with a burn-in": {"burn_in_period": 5},
    "with a function": {"custom_explore_fn": lambda config: {**config, "x": config["x"] * random.uniform(0.9, 1.1)}},
}


def run(name, seed, crash_after=(), *, samples=6, slots=3, max_t=10):
    def make():
        mutations = {"x": uniform(0, 1)}
        return pbt(hyperparam_mutations=mutations, quantile_fraction=0.34, perturbation_interval=3, **MAKERS[name])

    return run_scheduled(make, curve, samples=samples, max_t=max_t, slots=slots, seed=seed, crash_after=crash_after)


@pytest.mark.parametrize("slots", [1, 2, 6])
@pytest.mark.parametrize("name", MAKERS)
def test_kills_at_any_moment_change_nothing(name, slots):
    for seed in range(3):
        undisturbed = transcript(run(name, seed, slots=slots))
        rng = random.Random(seed)
        for _ in range(4):
            kills = [rng.randint(1, 150) for _ in range(rng.randint(1, 4))]
            assert transcript(run(name, seed, kills, slots=slots)) == undisturbed


@pytest.mark.parametrize("slots", [1, 2, 5, 8])
@pytest.mark.parametrize("name", ["each by itself", "together"])
def test_a_population_larger_than_the_machine_comes_to_its_end(name, slots):
    history = run(name, 1, samples=8, slots=slots)
    assert {trial.status.value for trial in history.trials.values()} == {"TERMINATED"}
    assert all(trial.index.find(0, 3) is not None for trial in history.trials.values())  # each had its turn
    clones = [step for trial in history.trials.values() for step in trial.lineage() if step.donor is not None]
    assert clones


def test_trials_on_one_slot_stay_close_together():
    history = run("each by itself", 0, samples=4, slots=1, max_t=12)
    first_end = min(trial.attempts[-1].ended_at for trial in history.trials.values())
    for trial in history.trials.values():
        assert max(row.iteration for row in trial.rows() if row.at <= first_end) >= 6


def test_a_clone_goes_on_from_what_its_donor_had_reached():
    history = run("each by itself", 2)
    for trial in history.trials.values():
        rows = {(row.segment, row.iteration): row for row in trial.rows()}
        for step in trial.lineage():
            if step.donor is None:
                continue
            first = rows.get((step.segment, step.iteration + 1))
            if first is None:
                continue  # its donor was at its end
            donor = history.trials[step.donor]
            reached = [row.metrics["score"] for row in donor.rows() if row.iteration == step.iteration]
            gained = first.metrics["score"] - first.metrics["x"]
            assert any(gained == pytest.approx(score) for score in reached)


def test_the_population_beats_its_members_alone():
    best_x = max(trial.lineage()[0].config["x"] for trial in run("each by itself", 3).trials.values())
    best = max(trial.last_row().metrics["score"] for trial in run("each by itself", 3).trials.values())
    poorest = min(trial.last_row().metrics["score"] for trial in run("each by itself", 3).trials.values())
    assert best >= 10 * best_x * 0.99
    assert poorest > 10 * min(trial.lineage()[0].config["x"] for trial in run("each by itself", 3).trials.values())


def test_what_it_knows_is_data():
    trials = population(4, synch=True)
    for n in range(3):
        trials.report(n, 2, float(n))
    restored = pbt(synch=True)
    restored.set_state(json.loads(json.dumps(trials.scheduler.get_state())))
    trials.scheduler = restored
    restored.set_search_properties(None, None, saves=False)
    trials.report(3, 2, 9.0)
    assert [action.trial for action in restored.wake(trials)] == ["t1", "t2", "t3", "t0"]
    assert restored.debug_string() == "PopulationBasedTraining: 1 trials went on as clones of better ones."
