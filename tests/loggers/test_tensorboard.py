"""Event files, read back by TensorBoard itself."""

import struct

import pytest

from perdure.loggers import tfevents
from perdure.loggers.tensorboard import TBXLoggerCallback, hyperparameters
from perdure.trial_view import TrialView


@pytest.fixture
def trial(tmp_path):
    return TrialView(
        trial_id="t",
        trial_name="train_t",
        directory=str(tmp_path),
        config={"lr": 0.1, "net": {"width": 3, "act": "relu"}},
    )


def accumulated(path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(path), size_guidance={"scalars": 0})
    accumulator.Reload()
    return accumulator


def test_numbers_are_scalars_under_their_own_names(trial):
    logger = TBXLoggerCallback()
    logger.log_trial_start(trial)
    for step in range(1, 301):
        row = {"loss": 1.0 / step, "inner": {"acc": step}, "note": "x", "flag": True, "config": trial.config}
        logger.log_trial_result(0, trial, {**row, "training_iteration": step, "timestamp": 1000 + step, "pid": 4})
    logger.log_trial_result(
        0, trial, {"loss": float("nan"), "big": 1e300, "training_iteration": 301, "timestamp": 2000}
    )
    logger.log_trial_end(trial)
    read = accumulated(trial.path)
    assert sorted(read.Tags()["scalars"]) == ["big", "inner/acc", "loss"]
    scalars = read.Scalars("loss")
    assert [event.step for event in scalars] == list(range(1, 302))
    assert scalars[3].value == pytest.approx(0.25)
    assert scalars[3].wall_time == 1004
    assert scalars[-1].value != scalars[-1].value
    assert read.Scalars("big")[0].value == float("inf")


def test_hyperparameters_are_shown(trial):
    from tensorboard.plugins.hparams import plugin_data_pb2

    logger = TBXLoggerCallback()
    logger.log_trial_result(0, trial, {"loss": 1.0, "training_iteration": 1, "timestamp": 1000})
    logger.log_trial_end(trial, failed=True)
    metadata = accumulated(trial.path).summary_metadata
    start = plugin_data_pb2.HParamsPluginData.FromString(
        metadata["_hparams_/session_start_info"].plugin_data.content
    ).session_start_info
    assert start.hparams["lr"].number_value == 0.1
    assert start.hparams["net/act"].string_value == "relu"
    end = plugin_data_pb2.HParamsPluginData.FromString(
        metadata["_hparams_/session_end_info"].plugin_data.content
    ).session_end_info
    assert end.status == 2  # STATUS_FAILURE


def test_rewinding_voids_the_steps_after(trial):
    logger = TBXLoggerCallback()
    for step in (1, 2, 3, 4):
        logger.log_trial_result(0, trial, {"loss": float(step), "training_iteration": step, "timestamp": 1000})
    assert logger.rewind(trial, 2)
    logger.log_trial_result(0, trial, {"loss": 30.0, "training_iteration": 3, "timestamp": 1000})
    logger.close()
    assert [(e.step, e.value) for e in accumulated(trial.path).Scalars("loss")] == [(1, 1.0), (2, 2.0), (3, 30.0)]


def test_a_reader_that_is_watching_sees_the_rebuilt_file_only(trial, tmp_path):
    logger = TBXLoggerCallback()
    for step in (1, 2, 3):
        logger.log_trial_result(0, trial, {"loss": float(step), "training_iteration": step, "timestamp": 1000})
    logger.flush()
    watching = accumulated(trial.path)
    assert len(watching.Scalars("loss")) == 3
    (tmp_path / "events.out.tfevents.1.host.users-own").write_bytes(b"")
    logger.rebuild(trial, [{"loss": 10.0, "training_iteration": 1, "timestamp": 1000}])
    logger.log_trial_result(0, trial, {"loss": 20.0, "training_iteration": 2, "timestamp": 1000})
    logger.close()
    watching.Reload()
    assert [(e.step, e.value) for e in watching.Scalars("loss")] == [(1, 10.0), (2, 20.0)]
    assert [(e.step, e.value) for e in accumulated(trial.path).Scalars("loss")] == [(1, 10.0), (2, 20.0)]
    assert (tmp_path / "events.out.tfevents.1.host.users-own").exists()


def test_a_frame_is_what_tensorflow_defines():
    data = tfevents.version_event(0.0)
    (length,) = struct.unpack("<Q", data[:8])
    assert len(data) == 8 + 4 + length + 4
    from tensorboard.compat.proto.event_pb2 import Event

    assert Event.FromString(data[12:-4]).file_version == "brain.Event:2"


def test_what_is_no_number_is_shown_as_text():
    class Thing:
        def __repr__(self):
            return "Thing()"

    assert hyperparameters({"a": {"b": 1}, "c": [1, 2], "d": Thing(), "e": True}) == {
        "a/b": 1,
        "c": "[1, 2]",
        "d": "Thing()",
        "e": True,
    }


def test_the_hparams_dashboard_shows_parameters_and_results_of_each_trial(tmp_path):
    from tensorboard import context
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, list_session_groups

    logger = TBXLoggerCallback()
    for number, (rate, activation) in enumerate([(0.1, "relu"), (0.2, "tanh")]):
        config = {"lr": rate, "net": {"act": activation}, "amp": True}
        name = f"t{number}"
        view = TrialView(trial_id=name, trial_name=name, directory=str(tmp_path / name), config=config)
        for step in (1, 2, 3):
            row = {"loss": rate * step, "training_iteration": step, "timestamp": 1000 + step}
            logger.log_trial_result(0, view, row)
        if number == 0:  # it went back to its second step, and did better
            assert logger.rewind(view, 2)
            logger.log_trial_result(0, view, {"loss": 0.0625, "training_iteration": 3, "timestamp": 1010})
        logger.log_trial_end(view, failed=number == 1)
    logger.close()

    multiplexer = plugin_event_multiplexer.EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(tmp_path))
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(tmp_path))
    backend = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    request = context.RequestContext()
    experiment = get_experiment.Handler(request, backend, "", api_pb2.GetExperimentRequest()).run()
    assert {info.name for info in experiment.hparam_infos if info.differs} == {"lr", "net/act"}
    assert {info.name.tag for info in experiment.metric_infos} == {"loss"}
    asked = api_pb2.ListSessionGroupsRequest(allowed_statuses=[1, 2], start_index=0, slice_size=10)
    groups = list_session_groups.Handler(request, backend, "", asked).run().session_groups
    shown = {
        (group.hparams["lr"].number_value, group.hparams["net/act"].string_value): (
            group.sessions[0].status,
            group.metric_values[0].value,
            group.metric_values[0].training_step,
        )
        for group in groups
    }
    assert shown == {
        (0.1, "relu"): (api_pb2.STATUS_SUCCESS, pytest.approx(0.0625), 3),
        (0.2, "tanh"): (api_pb2.STATUS_FAILURE, pytest.approx(0.6), 3),
    }
