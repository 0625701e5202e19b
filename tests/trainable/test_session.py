"""The functions for user code, inside and outside of a trial."""

import pytest

from perdure.errors import OutsideTrialError
from perdure.trainable.messages import Verdict
from perdure.trainable.session import checkpoint_dir, get_checkpoint, get_context, report
from perdure.trainable.wrappers import PlacementGroupFactory, with_resources


def test_report_outside_a_trial_says_what_to_do():
    with pytest.raises(OutsideTrialError, match=r"report\(\) was called outside a trial.*fit\(\)"):
        report({"a": 1})


def test_checkpoint_dir_outside_a_trial_is_an_error():
    with pytest.raises(OutsideTrialError), checkpoint_dir():
        pass


def test_outside_a_trial_there_is_no_checkpoint_and_the_context_knows_nothing():
    assert get_checkpoint() is None
    context = get_context()
    assert context.get_trial_id() is None
    assert context.get_trial_name() is None
    assert context.get_experiment_name() is None
    assert context.get_trial_dir() is None
    assert context.get_trial_resources() is None
    assert context.get_storage() is None
    assert (context.get_world_rank(), context.get_world_size()) == (0, 1)


def test_the_context_of_a_trial(trial):
    seen = {}

    def train(config):
        context = get_context()
        for name in ("experiment_name", "trial_id", "trial_name", "trial_dir", "trial_resources", "metadata"):
            seen[name] = getattr(context, f"get_{name}")()
        for name in ("world_rank", "world_size", "local_rank", "local_world_size", "node_rank"):
            seen[name] = getattr(context, f"get_{name}")()
        seen["storage"] = context.get_storage().trial_path

    trial.run(train, resources={"CPU": 1.0, "GPU": 0.5})
    assert seen == {
        "experiment_name": "exp",
        "trial_id": "t0",
        "trial_name": "train_t0",
        "trial_dir": str(trial.path),
        "trial_resources": {"CPU": 1.0, "GPU": 0.5},
        "metadata": {},
        "world_rank": 0,
        "world_size": 1,
        "local_rank": 0,
        "local_world_size": 1,
        "node_rank": 0,
        "storage": str(trial.path),
    }


def test_a_report_from_within_a_report_is_refused_and_not_sent(trial):
    refused = []

    def signal_handler():
        with pytest.raises(OutsideTrialError) as raised:
            report({"nested": 1})
        refused.append(str(raised.value))
        return Verdict()

    said = trial.run(lambda config: report({"a": 1}), signal_handler)
    assert said.rows == [{"a": 1}]
    assert "signal handler" in refused[0]


def test_resources_of_a_trial_have_the_attributes_of_what_was_asked_for(trial):
    seen = []

    def train(config):
        resources = get_context().get_trial_resources()
        seen.append((resources, resources.bundles, resources.head_cpus, resources.head_bundle_is_empty))

    asked = with_resources(train, PlacementGroupFactory([{"CPU": 1}, {"CPU": 2, "GPU": 1}]))
    amounts = {"CPU": 3.0, "GPU": 1.0}
    trial.run(asked, resources=amounts)
    assert seen.pop() == (amounts, [{"CPU": 1.0}, {"CPU": 2.0, "GPU": 1.0}], 1.0, False)
    trial.run(asked, resources={"CPU": 4.0})  # a scheduler has changed them
    assert seen.pop() == ({"CPU": 4.0}, [{"CPU": 4.0}], 4.0, False)


def test_resources_follow_the_configuration(trial):
    seen = []

    def train(config):
        config["workers"] = 0
        resources = get_context().get_trial_resources()
        seen.append((resources.bundles, resources.required_resources, resources.head_bundle_is_empty))

    asked = with_resources(train, lambda config: PlacementGroupFactory([{}, {"CPU": config["workers"]}]))
    trial.run(asked, config={"workers": 2}, resources={"CPU": 2.0})
    assert seen == [([{}, {"CPU": 2.0}], {"CPU": 2.0}, True)]
