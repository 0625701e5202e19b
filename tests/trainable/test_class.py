"""Class trainables: with a worker, and by themselves."""

import errno
import os
import threading

import pytest

from perdure.checkpoint import Checkpoint
from perdure.core.events import Decision, Outcome
from perdure.errors import CheckpointMissingError, TrainableError
from perdure.trainable.base import Trainable
from perdure.trainable.messages import Report, Saved, Verdict
from perdure.trainable.stepping import KeptInstance


class Counter(Trainable):
    """Counts; saves a dict."""

    calls: list

    def setup(self, config):
        type(self).calls = [*getattr(type(self), "calls", []), "setup"]
        self.n = 0

    def step(self):
        self.n += 1
        return {"n": self.n, **self.config.get("extra", {}).get(str(self.n), {})}

    def save_checkpoint(self, checkpoint_dir):
        return {"n": self.n}

    def load_checkpoint(self, checkpoint):
        self.n = checkpoint["n"]

    def cleanup(self):
        type(self).calls.append("cleanup")


class InFiles(Counter):
    """The same with files."""

    def save_checkpoint(self, checkpoint_dir):
        with open(os.path.join(checkpoint_dir, "n"), "w") as file:
            file.write(str(self.n))
        return self.config.get("returned", checkpoint_dir)

    def load_checkpoint(self, checkpoint):
        with open(os.path.join(checkpoint, "n")) as file:
            self.n = int(file.read())


@pytest.fixture(autouse=True)
def forget_calls():
    Counter.calls = []
    InFiles.calls = []


def stop_after(iterations):
    return [Decision.CONTINUE] * (iterations - 1) + [Decision.STOP]


def test_steps_until_told_to_stop_and_cleans_up(trial):
    said = trial.run(Counter, *stop_after(3))
    assert said.rows == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert said.outcome is Outcome.STOPPED
    assert said.saved == []
    assert Counter.calls == ["setup", "cleanup"]


def test_done_ends_it(trial):
    said = trial.run(Counter, config={"extra": {"2": {"done": True}}})
    assert said.rows[-1] == {"n": 2, "done": True}
    assert said.outcome is Outcome.FINISHED


# --- when it saves: manually, periodically, at the end


def test_saves_when_the_result_says_so(trial):
    said = trial.run(Counter, *stop_after(3), config={"extra": {"2": {"should_checkpoint": True}}})
    assert said.saved == [(2, 0)]
    assert said.of(Report)[1].checkpoint is not None


def test_saves_every_n_iterations(trial):
    assert trial.run(Counter, *stop_after(5), checkpoint_frequency=2).saved == [(2, 0), (4, 1)]


def test_the_frequency_counts_on_over_a_restore(trial):
    trial.run(Counter, *stop_after(3), checkpoint_frequency=3)
    said = trial.run(Counter, *stop_after(3), checkpoint_frequency=3, **trial.latest())
    assert said.rows[0] == {"n": 4}
    assert said.saved == [(6, 1)]


def test_saves_at_the_end(trial):
    said = trial.run(Counter, *stop_after(3), checkpoint_at_end=True)
    assert said.saved == [(3, 0)]
    assert len(said.of(Saved)) == 1


def test_saves_at_the_end_that_the_result_named(trial):
    said = trial.run(Counter, config={"extra": {"2": {"done": True}}}, checkpoint_at_end=True)
    assert said.saved == [(2, 0)]


@pytest.mark.parametrize("extra", [{}, {"4": {"should_checkpoint": True}}, {"4": {"done": True}}])
def test_reasons_that_fall_together_save_once(trial, extra):
    said = trial.run(Counter, *stop_after(4), checkpoint_frequency=2, checkpoint_at_end=True, config={"extra": extra})
    assert said.saved == [(2, 0), (4, 1)]


def test_saves_when_the_verdict_asks(trial):
    said = trial.run(Counter, Verdict(save=True), Verdict(), Decision.STOP)
    assert said.saved == [(1, 0)]
    assert [type(message).__name__ for message in said.said] == [
        "Started", "Report", "Saved", "Report", "Ended",
    ]  # fmt: skip


@pytest.mark.parametrize(("answer", "outcome"), [(Decision.PAUSE, Outcome.PAUSED), ("stopping", Outcome.INTERRUPTED)])
def test_saves_before_it_is_put_aside_whatever_the_configuration(trial, answer, outcome):
    said = trial.run(Counter, Decision.CONTINUE, answer)
    assert said.saved == [(2, 0)]
    assert said.outcome is outcome


def test_a_class_that_cannot_save_runs_and_has_no_checkpoints(trial):
    class NoSave(Trainable):
        def step(self):
            return {"a": 1}

    said = trial.run(NoSave, *stop_after(2), checkpoint_at_end=True)
    assert said.outcome is Outcome.STOPPED
    assert said.saved == []


# --- what it saves


@pytest.mark.parametrize("class_", [Counter, InFiles])
def test_goes_on_from_its_checkpoint(trial, class_):
    trial.run(class_, *stop_after(2), checkpoint_at_end=True)
    said = trial.run(class_, *stop_after(2), **trial.latest())
    assert said.rows == [{"n": 3}, {"n": 4}]
    assert [row.iteration for row in said.of(Report)] == [3, 4]


def test_a_dict_is_kept_in_its_file_and_files_as_they_are(trial):
    trial.run(Counter, Decision.STOP, checkpoint_at_end=True)
    trial.run(InFiles, Decision.STOP, checkpoint_at_end=True)
    one, other = trial.checkpoints()
    assert (one / "_dict_checkpoint.pkl").exists()
    assert (other / "n").read_text() == "1"


@pytest.mark.parametrize("returned", ["/elsewhere", 3])
def test_returning_another_place_is_an_error(trial, returned):
    said = trial.run(InFiles, Decision.STOP, checkpoint_at_end=True, config={"returned": returned})
    assert said.outcome is Outcome.FAILED
    assert "save_checkpoint() may return" in said.ended.error.message
    assert trial.checkpoints() == []
    assert not [path for path in trial.path.iterdir() if path.name.startswith(".staging")]
    assert InFiles.calls[-1] == "cleanup"


def test_a_dict_that_cannot_be_pickled_is_an_error_that_names_the_part(trial):
    class Locked(Counter):
        def save_checkpoint(self, checkpoint_dir):
            return {"n": self.n, "model": {"guard": threading.Lock()}}

    said = trial.run(Locked, Decision.STOP, checkpoint_at_end=True)
    assert said.outcome is Outcome.FAILED
    assert (said.ended.error.kind, trial.checkpoints()) == ("TrainableError", [])
    assert "Locked.save_checkpoint() returned, at 'model'['guard']: cannot pickle" in said.ended.error.message
    assert "perdure/trainable" not in said.ended.error.traceback.replace(os.sep, "/")
    assert not [path for path in trial.path.iterdir() if path.name.startswith(".staging")]


def test_a_full_disk_met_while_saving_is_named_as_such(trial):
    class Full(Counter):
        def save_checkpoint(self, checkpoint_dir):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    said = trial.run(Full, Decision.STOP, checkpoint_at_end=True)
    assert said.outcome is Outcome.FAILED
    assert said.ended.error.kind == "StorageFullError"
    assert "its checkpoint could not be saved, and there is no trace of it: there is no space left" in (
        said.ended.error.message
    )
    assert trial.checkpoints() == []


def test_a_step_that_returns_no_dict_is_an_error(trial):
    class Wrong(Trainable):
        def step(self):
            return 5

    said = trial.run(Wrong)
    assert said.outcome is Outcome.FAILED
    assert "must return a dict" in said.ended.error.message
    assert not said.ended.error.traceback, "none of the frames is the user's"


# --- reuse


class Resettable(Counter):
    def reset_config(self, new_config):
        self.n = 0
        return new_config.get("can", True)


def test_a_kept_instance_is_reset_in_place(trial):
    kept = KeptInstance()
    Resettable.calls = []
    trial.run(Resettable, *stop_after(2), kept=kept)
    said = trial.run(Resettable, *stop_after(2), kept=kept, config={"extra": {"1": {"x": 1}}})
    assert said.rows == [{"n": 1, "x": 1}, {"n": 2}]
    assert [row.iteration for row in said.of(Report)] == [1, 2]
    assert Resettable.calls == ["setup"]
    kept.close()
    assert Resettable.calls == ["setup", "cleanup"]


def test_an_instance_that_cannot_be_reset_is_cleaned_up_and_made_anew(trial):
    kept = KeptInstance()
    Resettable.calls = []
    trial.run(Resettable, *stop_after(2), kept=kept)
    trial.run(Resettable, *stop_after(2), kept=kept, config={"can": False})
    assert Resettable.calls == ["setup", "cleanup", "setup"]


def test_an_instance_that_failed_is_not_kept(trial):
    kept = KeptInstance()

    class Failing(Resettable):
        def step(self):
            raise ValueError("no")

    Failing.calls = []
    assert trial.run(Failing, kept=kept).outcome is Outcome.FAILED
    assert Failing.calls == ["setup", "cleanup"]
    kept.close()
    assert Failing.calls == ["setup", "cleanup"]


# --- what its methods can see


def test_sees_its_trial_and_its_results(trial):
    seen = {}

    class Curious(Counter):
        def setup(self, config):
            super().setup(config)
            seen.update(id=self.trial_id, name=self.trial_name, logdir=self.logdir, cpus=self.trial_resources["CPU"])

        def log_result(self, result):
            seen["result"] = result

    trial.run(Curious, Decision.STOP, resources={"CPU": 2.0}, config={"extra": {}})
    result = seen.pop("result")
    assert seen == {"id": "t0", "name": "train_t0", "logdir": str(trial.path), "cpus": 2.0}
    assert result["n"] == 1
    assert result["training_iteration"] == 1
    assert result["trial_id"] == "t0"
    assert result["config"] == {"extra": {}}


def test_timesteps_are_totalled_over_restores(trial):
    class Steps(Counter):
        def step(self):
            return {**super().step(), "timesteps_this_iter": 10}

    trial.run(Steps, *stop_after(2), checkpoint_at_end=True)
    said = trial.run(Steps, Decision.STOP, **trial.latest())
    assert said.rows[0]["timesteps_total"] == 30
    assert said.rows[0]["timesteps_since_restore"] == 10


def test_an_error_in_cleanup_is_told_and_changes_nothing(trial):
    class Messy(Counter):
        def cleanup(self):
            raise OSError("cannot tidy")

    said = trial.run(Messy, Decision.STOP)
    assert said.outcome is Outcome.STOPPED
    assert "Messy.cleanup() raised OSError: cannot tidy (" + __file__ in said.notices[0]
    assert "Traceback" not in said.notices[0]


# --- by itself


def test_trains_saves_and_restores_without_a_tuner(tmp_path):
    first = InFiles(config={"x": 1})
    first.train()
    result = first.train()
    assert (result["n"], result["training_iteration"], result["done"], result["config"]) == (2, 2, False, {"x": 1})
    assert first.trial_id == "default"
    saved = first.save(tmp_path / "here")
    assert saved.metrics["n"] == 2
    assert (tmp_path / "here" / "n").read_text() == "2"
    for source in (str(tmp_path / "here"), Checkpoint(tmp_path / "here"), saved):
        second = InFiles()
        second.restore(source)
        assert second.iteration == 2
        assert second.train()["n"] == 3
        assert second.training_iteration == 3
        second.stop()
    assert InFiles.calls.count("cleanup") == 3


def test_save_without_a_directory_makes_one():
    counter = Counter()
    counter.train()
    again = Counter()
    again.restore(counter.save().checkpoint.path)
    assert again.n == 1


def test_restores_what_a_trial_saved(trial):
    trial.run(Counter, *stop_after(3), checkpoint_at_end=True)
    counter = Counter()
    counter.restore(str(trial.checkpoints()[0]))
    assert (counter.n, counter.iteration) == (3, 3)
    assert counter.get_state()["time_total"] > 0


def test_restore_from_nowhere_is_an_error():
    with pytest.raises(CheckpointMissingError, match="/not/there"):
        Counter().restore("/not/there")


def test_reset_and_export():
    class Exporting(Resettable):
        def _export_model(self, export_formats, export_dir):
            return {name: os.path.join(export_dir, name) for name in export_formats}

    it = Exporting(config={"a": 1})
    it.train()
    assert it.reset({"a": 2}) is True
    assert (it.get_config(), it.iteration) == ({"a": 2}, 0)
    assert Counter().reset({"a": 2}) is False
    assert it.export_model("onnx", "/out") == {"onnx": "/out/onnx"}


def test_methods_that_are_missing_are_named():
    with pytest.raises(NotImplementedError, match=r"step\(\)"):
        Trainable().train()
    with pytest.raises(TrainableError, match="save_checkpoint"):
        InFiles(config={"returned": 5}).save()


def test_an_error_in_the_cleanup_of_a_kept_instance_harms_no_other_trial(trial, capsys):
    class Messy(Resettable):
        def cleanup(self):
            raise OSError("cannot tidy")

    kept = KeptInstance()
    trial.run(Messy, Decision.STOP, kept=kept)
    said = trial.run(Messy, Decision.STOP, kept=kept, config={"can": False})
    assert said.outcome is Outcome.STOPPED
    assert "cannot tidy" in said.notices[0]
    kept.close()
    assert "cannot tidy" in capsys.readouterr().err
