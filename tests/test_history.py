"""What a person reads of an experiment: rows once each, in order, whatever failed in between."""

import shutil
from itertools import chain

import pytest

from perdure.core.events import (
    Action,
    AttemptEnded,
    CheckpointsDeleted,
    CheckpointsDurable,
    CheckpointsRetired,
    CheckpointsUnsafe,
    Decision,
    ErrorInfo,
    Outcome,
    Reported,
    Source,
    Spec,
    TrialActed,
    TrialRequeued,
)
from perdure.core.state import Status
from perdure.errors import ExperimentNotFoundError
from perdure.history import ExperimentHistory, read_experiment
from perdure.journal.file import FileJournalReader
from perdure.result_grid import ResultGrid
from perdure.rows import RowOrigin, expand_row, flatten
from perdure.testing.written import WrittenExperiment


def values(trial, name="loss"):
    return [row.metrics[name] for row in trial.rows()]


def iterations(trial):
    return [row.iteration for row in trial.rows()]


@pytest.fixture
def written(tmp_path):
    experiment = WrittenExperiment(tmp_path / "exp", spec=Spec(metric="loss", mode="min", max_failures=2))
    yield experiment
    experiment.close()


def test_a_trial_from_its_creation_to_its_end(written):
    trial = written.trial({"lr": 0.5, "layers": (1, 2)})
    written.attempt(trial)
    written.report(trial, 1, {"loss": 3.0})
    written.report(trial, 2, {"loss": 2.0}, checkpoint=0)

    history = read_experiment(written.path)
    seen = history.trials[trial]
    assert seen.status is Status.RUNNING
    assert values(seen) == [3.0, 2.0]
    assert seen.decoded_config() == {"lr": 0.5, "layers": (1, 2)}
    assert list(seen.checkpoints) == [0]

    written.end(trial)
    history.refresh()
    assert seen.status is Status.TERMINATED
    assert seen.attempts[0].outcome is Outcome.FINISHED


def test_rows_after_the_checkpoint_a_retry_starts_from_are_gone_from_the_view(written):
    trial = written.trial()
    written.attempt(trial)
    written.report(trial, 1, {"loss": 1.0}, checkpoint=0)
    written.report(trial, 2, {"loss": 2.0})
    written.report(trial, 3, {"loss": 3.0})
    written.fail(trial)
    history = read_experiment(written.path)
    assert values(history.trials[trial]) == [1.0, 2.0, 3.0]  # nothing is gone before the retry has started

    written.attempt(trial, Source(trial=trial, number=0), iteration=1)
    history.refresh()
    assert values(history.trials[trial]) == [1.0]
    assert history.trials[trial].last_row().metrics == {"loss": 1.0}

    written.report(trial, 2, {"loss": 20.0})
    history.refresh()
    assert values(history.trials[trial]) == [1.0, 20.0]
    assert history.trials[trial].rows_superseded == 2
    assert [row.metrics["loss"] for rows in history.all_rows() for row in rows] == [1.0, 20.0]
    assert history.trials[trial].failures == 1
    assert history.trials[trial].status is Status.RUNNING


def test_a_retry_from_scratch_leaves_only_its_own_rows(written):
    trial = written.trial()
    written.attempt(trial)
    written.report(trial, 1, {"loss": 1.0})
    written.report(trial, 2, {"loss": 2.0})
    written.fail(trial)
    written.attempt(trial)
    written.report(trial, 1, {"loss": 10.0})
    assert values(read_experiment(written.path).trials[trial]) == [10.0]


def test_a_clone_keeps_its_old_rows_and_goes_on_from_its_donors_iteration(written):
    donor, clone = written.trial({"lr": 1}), written.trial({"lr": 2})
    written.attempt(donor)
    written.attempt(clone)
    written.report(donor, 5, {"loss": 0.5}, checkpoint=0)
    written.report(clone, 1, {"loss": 9.0}, checkpoint=0)
    action = Action(
        trial=clone, decision=Decision.PAUSE, config={"lr": 3}, donor=Source(trial=donor, number=0), resume=True
    )
    written.report(donor, 6, {"loss": 0.4}, actions=(action,))
    written.end(clone, Outcome.PAUSED)
    written.attempt(clone, Source(trial=donor, number=0), iteration=5, segment=1)
    written.report(clone, 6, {"loss": 0.6})
    written.report(clone, 7, {"loss": 0.7})
    written.fail(clone)
    written.attempt(clone, Source(trial=donor, number=0), iteration=5, segment=1)

    seen = read_experiment(written.path).trials[clone]
    assert iterations(seen) == [1]
    written.report(clone, 6, {"loss": 0.66})
    history = read_experiment(written.path)
    seen = history.trials[clone]
    assert [(row.segment, row.iteration) for row in seen.rows()] == [(0, 1), (1, 6)]
    configs = [row["config"] for row in seen.expanded()]
    assert configs == [{"lr": 2}, {"lr": 3}]


def test_a_restart_from_scratch_takes_every_row_out_of_the_view(written):
    trial = written.trial()
    written.attempt(trial)
    written.report(trial, 1, {"loss": 1.0})
    for _ in range(3):
        written.fail(trial)
        if _ < 2:
            written.attempt(trial)
            written.report(trial, 1, {"loss": 1.0})
    assert read_experiment(written.path).trials[trial].status is Status.ERROR
    written.write(TrialRequeued(at=9.0, trial=trial, from_scratch=True))
    seen = read_experiment(written.path).trials[trial]
    assert (seen.status, seen.row_count, seen.failures, seen.error) == (Status.PENDING, 0, 0, None)


def test_too_many_failures_end_the_trial_with_the_users_traceback(written):
    trial = written.trial()
    for _ in range(3):
        written.attempt(trial)
        written.fail(trial, "no data")
    seen = read_experiment(written.path).trials[trial]
    assert seen.status is Status.ERROR
    assert "ValueError: no data" in seen.error.traceback
    assert [attempt.error.message for attempt in seen.attempts] == ["no data"] * 3


def test_interleaved_trials_have_their_own_rows(written):
    trials = [written.trial() for _ in range(5)]
    for trial in trials:
        written.attempt(trial)
    for iteration in range(1, 40):
        for number, trial in enumerate(trials):
            written.report(trial, iteration, {"loss": float(iteration * 10 + number)})
    history = read_experiment(written.path)
    for number, trial in enumerate(trials):
        assert values(history.trials[trial]) == [float(i * 10 + number) for i in range(1, 40)]
        assert history.trials[trial].row(0, 7).metrics["loss"] == 70.0 + number
        assert history.trials[trial].row(0, 99) is None
    assert sum(map(len, history.all_rows())) == 5 * 39


def test_rows_are_found_in_the_files_of_earlier_drivers(tmp_path):
    first = WrittenExperiment(tmp_path / "exp", spec=Spec())
    trial = first.trial()
    first.attempt(trial)
    first.report(trial, 1, {"loss": 1.0}, checkpoint=0)
    first.report(trial, 2, {"loss": 2.0})
    first.crash()
    second = WrittenExperiment(tmp_path / "exp", resumed=True)
    second.go_on(first)
    assert read_experiment(tmp_path / "exp").trials[trial].status is Status.PENDING
    second.attempt(trial, Source(trial=trial, number=0), iteration=1)
    second.report(trial, 2, {"loss": 22.0})
    second.close()
    history = read_experiment(tmp_path / "exp")
    assert values(history.trials[trial]) == [1.0, 22.0]
    assert history.trials[trial].attempts[0].outcome is Outcome.INTERRUPTED
    assert history.trials[trial].row(0, 2).metrics["loss"] == 22.0


def test_a_moved_experiment_reads_the_same(written, tmp_path):
    trial = written.trial()
    written.attempt(trial)
    written.report(trial, 1, {"loss": 1.0})
    written.close()
    shutil.move(written.path, tmp_path / "elsewhere")
    assert values(read_experiment(tmp_path / "elsewhere").trials[trial]) == [1.0]


def test_objects_in_a_configuration_show_as_their_reprs(written):
    class Adam:
        def __repr__(self):
            return "Adam()"

    trial = written.trial({"optimizer": Adam(), "lr": float("nan")})
    config = read_experiment(written.path).trials[trial].decoded_config()
    assert config["optimizer"] == "Adam()"
    assert config["lr"] != config["lr"]


def test_a_list_of_events_folds_like_a_journal(written):
    trial = written.trial()
    written.attempt(trial)
    for iteration in range(1, 6):
        written.report(trial, iteration, {"loss": float(iteration)}, checkpoint=iteration)
    written.fail(trial)
    written.attempt(trial, Source(trial=trial, number=2), iteration=2)
    written.report(trial, 3, {"loss": 33.0})
    from_disk = read_experiment(written.path)
    in_memory = ExperimentHistory()
    from perdure.journal.file import FileJournalReader

    in_memory.fold_all(list(FileJournalReader(written.path).read()))
    assert values(in_memory.trials[trial]) == values(from_disk.trials[trial]) == [1.0, 2.0, 33.0]
    assert list(chain.from_iterable(in_memory.all_rows())) == list(chain.from_iterable(from_disk.all_rows()))


def test_a_forgotten_trial_is_ignored_and_the_others_go_on(written):
    from perdure.journal.file import FileJournalReader

    gone, kept = written.trial(), written.trial()
    for trial in (gone, kept):
        written.attempt(trial)
        written.report(trial, 1, {"loss": 1.0}, checkpoint=0)
    written.end(gone)
    history = ExperimentHistory(FileJournalReader(written.path))
    history.refresh()
    history.forget(gone)
    both = (Source(trial=gone, number=0), Source(trial=kept, number=0))
    written.write(CheckpointsDurable(at=1.0, items=both), CheckpointsRetired(at=1.0, items=both[:1]))
    action = Action(trial=gone, decision=Decision.STOP)
    written.report(kept, 2, {"loss": 2.0}, actions=(action,))
    history.refresh()
    assert list(history.trials) == [kept]
    assert values(history.trials[kept]) == [1.0, 2.0]


def test_a_checkpoint_that_came_and_went_between_two_looks_leaves_its_row(written):
    """A watcher that looks now and then sees what one sees that reads it all at once."""
    trial = written.trial({"lr": 0.5})
    written.attempt(trial)
    written.directory(trial).mkdir(parents=True, exist_ok=True)
    written.report(trial, 1, {"loss": 3.0}, checkpoint=0)
    watched = read_experiment(written.path)
    assert list(watched.trials[trial].checkpoints) == [0]

    written.report(trial, 2, {"loss": 2.0}, checkpoint=1)
    written.report(trial, 3, {"loss": 1.0}, checkpoint=2)
    gone = (Source(trial=trial, number=1),)
    kept = (Source(trial=trial, number=2),)
    written.write(
        CheckpointsDurable(at=1.0, items=kept),
        CheckpointsRetired(at=1.0, items=gone),
        CheckpointsDeleted(at=1.0, items=gone),
    )
    shutil.rmtree(written.directory(trial) / "checkpoint_000001")
    watched.refresh()
    for history in (watched, read_experiment(written.path)):
        seen = history.trials[trial]
        assert list(seen.checkpoints) == [0, 2]
        assert values(seen) == [3.0, 2.0, 1.0]
        assert [row.checkpoint.number for row in seen.rows()] == [0, 1, 2], "that it was saved is history"
    result = ResultGrid(watched)[0]
    assert result.checkpoint.path.endswith("checkpoint_000002")
    assert [row["loss"] for _, row in result.best_checkpoints] == [3.0, 1.0]


def test_no_experiment_is_a_clear_error(tmp_path):
    with pytest.raises(ExperimentNotFoundError, match="no journal"):
        read_experiment(tmp_path)
    with pytest.raises(ExperimentNotFoundError, match="does not exist"):
        read_experiment(tmp_path / "nothing")


def test_a_row_has_rays_columns_in_rays_order():
    origin = RowOrigin(trial_id="t", config={"lr": 1}, pid=7, hostname="h", node_ip="10.0.0.1", iteration=4)
    event = Reported(
        at=1_767_225_600.7,
        trial="t",
        attempt=1,
        iteration=6,
        metrics={"loss": 1.0, "inner": {"deep": {"$float": "nan"}}},
        time_this_iter_s=0.5,
        time_total_s=3.0,
        time_since_restore_s=1.0,
    )
    row = expand_row(origin, event)
    assert list(row) == [
        "loss", "inner", "timestamp", "checkpoint_dir_name", "done", "training_iteration", "trial_id", "date",
        "time_this_iter_s", "time_total_s", "pid", "hostname", "node_ip", "config", "time_since_restore",
        "iterations_since_restore",
    ]  # fmt: skip
    assert row["timestamp"] == 1_767_225_600
    assert row["inner"]["deep"] != row["inner"]["deep"]
    assert (row["training_iteration"], row["iterations_since_restore"]) == (6, 2)
    assert (row["done"], row["checkpoint_dir_name"], row["config"]) == (False, None, {"lr": 1})
    assert expand_row(origin, event, done=True)["done"] is True


def test_flatten_joins_keys():
    assert flatten({"a": 1, "b": {"c": 2, "d": {"e": [3]}}, "f": {}}) == {"a": 1, "b/c": 2, "b/d/e": [3]}


def test_what_concerns_a_forgotten_trial_is_ignored(written):
    donor, clone = written.trial(), written.trial()
    written.attempt(donor)
    written.report(donor, 1, {"loss": 1.0}, checkpoint=0)
    written.end(donor)
    history = read_experiment(written.path)
    history.forget(donor)
    source = Source(trial=donor, number=0)
    written.write(CheckpointsUnsafe(at=9.0, items=(source,)))
    written.attempt(clone)
    written.report(clone, 1, {"loss": 2.0}, decision=Decision.PAUSE)
    action = Action(trial=clone, decision=Decision.CONTINUE, config={"lr": 3}, donor=source, resume=True)
    written.write(TrialActed(at=9.0, action=action))
    written.end(clone, Outcome.PAUSED)
    written.attempt(clone, source, iteration=1, segment=1)
    written.write(
        AttemptEnded(
            at=9.0, trial=clone, attempt=2, outcome=Outcome.REJECTED, error=ErrorInfo(kind="E"), rejected=source
        )
    )
    history.refresh()
    assert list(history.trials) == [clone]
    assert history.trials[clone].status is Status.ERROR


def test_lineage_has_a_step_for_each_clone_and_each_new_configuration(written):
    donor, clone = written.trial(), written.trial()
    written.attempt(donor)
    written.report(donor, 1, {"loss": 1.0}, checkpoint=0)
    written.attempt(clone)
    written.report(clone, 1, {"loss": 2.0}, checkpoint=0, decision=Decision.PAUSE)
    source = Source(trial=donor, number=0)
    cloned = Action(trial=clone, decision=Decision.PAUSE, config={"lr": 3}, donor=source)
    written.write(TrialActed(at=9.0, action=cloned))
    written.end(clone, Outcome.PAUSED)
    written.write(TrialActed(at=9.0, action=Action(trial=clone, decision=Decision.CONTINUE, resume=True)))
    written.attempt(clone, source, iteration=1, segment=1)
    written.end(clone, Outcome.LOST)
    written.attempt(clone, source, iteration=1, segment=1)  # a failure is no step
    written.report(clone, 2, {"loss": 0.5}, checkpoint=1, decision=Decision.PAUSE)
    changed = Action(trial=clone, decision=Decision.PAUSE, config={"lr": 4}, resume=True)
    written.write(TrialActed(at=9.0, action=changed))
    written.end(clone, Outcome.PAUSED)
    written.attempt(clone, Source(trial=clone, number=1), iteration=2, segment=1)
    history = read_experiment(written.path)
    first, *others = history.trials[clone].lineage()
    assert first == (0, None, None, 0, first.config)
    assert others == [(1, donor, 0, 1, {"lr": 3}), (1, None, None, 2, {"lr": 4})]
    assert [step.donor for step in history.trials[donor].lineage()] == [None]


def test_reading_at_once_is_the_same_as_event_by_event(tmp_path):
    """Rows are folded many at a time; what comes of it must not depend on that."""
    written = WrittenExperiment(tmp_path / "exp", spec=Spec(max_failures=3))
    trials = [written.trial() for _ in range(3)]
    for trial in trials:
        written.attempt(trial)
    for step in range(1, 300):
        for trial in trials:
            written.report(trial, step, {"loss": step}, checkpoint=step // 100 if step % 100 == 0 else None)
    written.fail(trials[0])
    written.attempt(trials[0], Source(trial=trials[0], number=1), iteration=100)
    written.fail(trials[1])
    written.attempt(trials[1])
    for step in range(1, 150):
        written.report(trials[1], step, {"loss": -step})
        decision = Decision.STOP if step == 149 else Decision.CONTINUE
        written.report(trials[0], 100 + step, {"loss": -step}, decision=decision)
    written.end(trials[2])
    written.close()
    at_once = read_experiment(written.path)
    reader = FileJournalReader(written.path)
    one_by_one = ExperimentHistory(reader, path=written.path)
    one_by_one.fold_all(reader.read())
    assert at_once.position == one_by_one.position
    assert at_once.updated_at == one_by_one.updated_at
    assert at_once.state.counts == one_by_one.state.counts
    for trial in trials:
        mine, other = at_once.trials[trial], one_by_one.trials[trial]
        assert list(mine.rows()) == list(other.rows())
        assert mine.last_row() == other.last_row()
        assert mine.rows_superseded == other.rows_superseded
        assert at_once.state.trials[trial] == one_by_one.state.trials[trial]
    assert list(chain.from_iterable(at_once.all_rows())) == list(chain.from_iterable(one_by_one.all_rows()))
    assert [row.iteration for row in at_once.trials[trials[0]].rows()] == list(range(1, 250))
