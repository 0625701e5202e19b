"""A schedule that population-based training found, replayed."""

import json
import random

import pytest

from perdure.errors import ConfigurationError
from perdure.schedulers.pbt_replay import PopulationBasedTrainingReplay, read_policy
from perdure.testing.scheduling import run_scheduled, transcript

STEPS = [
    ["1_x=0.5", "0_x=0.1", 4, 3, {"x": 0.1}, {"x": 0.2}],
    ["2_x=0.9", "1_x=0.5", 7, 6, {"x": 0.2}, {"x": 0.4}],
]


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / "pbt_policy_2.txt"
    path.write_text("".join(json.dumps(step) + "\n" for step in STEPS))
    return path


def curve(config, iteration, before):
    return {"score": (before or {"score": 0.0})["score"] + config["x"], "x": config["x"]}


def run(path, crash_after=()):
    return run_scheduled(
        lambda: PopulationBasedTrainingReplay(path),
        curve,
        samples=1,
        max_t=9,
        slots=2,
        seed=0,
        crash_after=crash_after,
        space={"y": 1},
    )


def test_the_configuration_changes_at_the_iterations_at_which_it_was_replaced(policy):
    (trial,) = run(policy).trials.values()
    assert [row.metrics["x"] for row in trial.rows()] == [0.1] * 3 + [0.2] * 3 + [0.4] * 3
    assert [row.iteration for row in trial.rows()] == list(range(1, 10))


@pytest.mark.parametrize("seed", range(8))
def test_kills_change_nothing(policy, seed):
    rng = random.Random(seed)
    kills = [rng.randint(1, 40) for _ in range(4)]
    assert transcript(run(policy, kills)) == transcript(run(policy))


def test_only_the_chain_that_leads_to_the_last_line_counts(tmp_path):
    path = tmp_path / "policy.txt"
    thrown_away = ["2_x=0.9", "3_x=0.7", 2, 2, {"x": 0.7}, {"x": 0.8}]
    path.write_text("".join(json.dumps(step) + "\n" for step in [thrown_away, *STEPS]))
    assert read_policy(path) == ({"x": 0.1}, [(3, {"x": 0.2}), (6, {"x": 0.4})])


def test_a_second_trial_is_refused(policy):
    replay = PopulationBasedTrainingReplay(policy)
    assert replay.prepare_config(0, {"y": 1}) == {"x": 0.1}
    with pytest.raises(ConfigurationError, match="runs one trial"):
        replay.prepare_config(1, {})


def test_without_a_change_the_trial_has_its_own_configuration(tmp_path):
    (tmp_path / "empty.txt").write_text("")
    replay = PopulationBasedTrainingReplay(str(tmp_path / "empty.txt"))
    assert replay.prepare_config(0, {"y": 1}) == {"y": 1}
    with pytest.raises(ConfigurationError, match="no configuration to train with"):
        replay.prepare_config(0, {})


@pytest.mark.parametrize("text", ["{broken", "[1, 2]", "3"])
def test_what_is_no_policy_is_refused_by_line(tmp_path, text):
    (tmp_path / "policy.txt").write_text(json.dumps(STEPS[0]) + "\n" + text + "\n")
    with pytest.raises(ConfigurationError, match="Line 2 of .*policy.txt is no step"):
        PopulationBasedTrainingReplay(tmp_path / "policy.txt")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="nowhere.txt cannot be read"):
        PopulationBasedTrainingReplay(tmp_path / "nowhere.txt")


def test_what_it_knows_is_data(policy):
    replay = PopulationBasedTrainingReplay(policy)
    replay.set_state(json.loads(json.dumps({"done": 1, "step": 5})))
    assert replay.get_state() == {"done": 1, "step": 5}
    assert replay.debug_string().endswith("pbt_policy_2.txt: 1 of 2 changes, at iteration 5.")


def test_what_rays_guide_prints_of_it_is_there(policy):
    replay = PopulationBasedTrainingReplay(policy)
    assert replay.config == {"x": 0.1}
    assert replay._policy == [(3, {"x": 0.2}), (6, {"x": 0.4})]
