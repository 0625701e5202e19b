"""`perdure show`."""

from tests.cli.conftest import AT

from perdure.core.events import (
    Action,
    AttemptEnded,
    AttemptPlanned,
    AttemptStarted,
    Decision,
    Outcome,
    Source,
    StopRequested,
    TrialActed,
)
from perdure.journal.file import FileJournalReader
from perdure.reporting.base import RunInfo, TableOptions
from perdure.reporting.frame import metric_headings
from perdure.reporting.tally import Tally


def test_a_finished_experiment(perdure, finished):
    ran = perdure("show", finished)
    assert ran.code == 0
    assert ran.lines[0] == f"digits  {finished}"
    assert ran.lines[1] == "finished, 3 trials: 2 TERMINATED, 1 ERROR"
    assert ran.lines[2].startswith("no driver alive (the last one, pid ")
    assert ran.lines[3] == (
        "created 2023-11-14 22:13:20, last written 2023-11-14 22:23:20, ran 10 m 00 s in 1 session, trainable train"
    )
    assert ran.lines[4] == "best accuracy 0.5: train_ab12c_00001 at iteration 2 (lr=0.05)"
    assert ran.lines[5] == f"its latest checkpoint: {finished / 'train_ab12c_00001' / 'checkpoint_000001'}"
    assert "5 checkpoints of 2 trials, 5.0 KB in all" in ran.lines
    start = ran.lines.index("Traceback (most recent call last):")
    assert ran.lines[start + 3] == "ValueError: learning rate too large"
    assert ran.lines[start + 4].startswith("  failed train_ab12c_00002")
    assert ran.lines[-1] == f"To run the failed ones again: perdure resume {finished} --resume-errored"


def test_a_configuration_that_a_scheduler_changed_is_shown_as_it_is_now(perdure, new_experiment):
    """In every command: `show`, `ls`, `best`, of the trial in the headline, too."""
    experiment = new_experiment()
    experiment.start(0, lr=0.5, **{"optimiser/momentum": 0.25})
    experiment.start(1, lr=0.125)
    experiment.report(1, 1, save=True, accuracy=0.75)
    now = {"lr": 0.0625, "optimiser": {"momentum": 0.375}, "epochs": 3}
    clone = Action(
        trial="ab12c_00000", decision=Decision.PAUSE, config=now, donor=Source(trial="ab12c_00001", number=0)
    )
    experiment.tell(TrialActed(at=AT, action=clone))
    experiment.tell(AttemptEnded(at=AT, trial="ab12c_00000", attempt=1, outcome=Outcome.PAUSED))
    go_on = Action(trial="ab12c_00000", decision=Decision.CONTINUE, resume=True)
    experiment.tell(TrialActed(at=AT, action=go_on))
    experiment.tell(AttemptPlanned(at=AT, trial="ab12c_00000", attempt=2, segment=1, start=clone.donor, iteration=1))
    experiment.tell(
        AttemptStarted(at=AT, trial="ab12c_00000", attempt=2, host="node", pid=1, process_start=0, iteration=1)
    )
    experiment.report(0, 2, attempt=2, segment=1, accuracy=0.875)
    experiment.journal.close()
    shown = perdure("show", experiment.path)
    assert "(lr=0.0625, optimiser/momentum=0.375)" in shown.out
    table = perdure("ls", experiment.path)
    row = next(line for line in table.lines if line.startswith("train_ab12c_00000"))
    assert "0.0625" in row
    assert row in shown.lines
    assert "0.5" not in row.split()
    document = perdure("show", experiment.path, "--json").json
    searched = {"lr": 0.0625, "optimiser/momentum": 0.375}
    assert document["experiment"]["best"]["searched"] == searched
    assert document["trials"][0]["searched"] == searched
    assert perdure("ls", experiment.path, "--json").json["trials"][0]["searched"] == searched
    assert perdure("best", experiment.path, "--json").json["trial"]["searched"] == searched


def test_failures_of_one_kind_are_shown_once(perdure, new_experiment):
    experiment = new_experiment()
    for n in range(8):
        experiment.start(n)
        experiment.fail(n)
    experiment.finish()
    out = perdure("show", experiment.path).out
    assert out.count("Traceback") == 1
    assert "failed train_ab12c_00000 and 7 more the same way" in out


def test_an_interrupted_experiment_says_how_to_go_on(perdure, interrupted):
    ran = perdure("show", interrupted)
    assert ran.lines[1] == "interrupted, 1 trial: 1 INTERRUPTED"
    assert ran.lines[-1] == f"To go on with it: perdure resume {interrupted}"


def test_what_stopped_an_experiment_is_said_wherever_it_stands(perdure, new_experiment):
    experiment = new_experiment()
    experiment.start(0)
    experiment.start(1)
    experiment.fail(1)
    experiment.tell(StopRequested(at=AT, reason="fail_fast", resumable=True))
    assert perdure("show", experiment.path).lines[1].startswith("running, ")
    experiment.end(0, Outcome.PAUSED)
    experiment.journal.close()
    ran = perdure("show", experiment.path)
    assert ran.lines[1] == "interrupted (fail_fast), 2 trials: 1 PENDING, 1 ERROR"
    assert ran.lines[-2:] == [
        f"To go on with it: perdure resume {experiment.path}",
        f"To run the failed ones again, too: perdure resume {experiment.path} --resume-errored",
    ]
    assert " interrupted (fail_fast) " in perdure("ls", experiment.path.parent).lines[2]
    assert "Stopped (fail_fast)." in perdure("tail", experiment.path).lines
    for told in (
        perdure("show", experiment.path, "--json").json["experiment"],
        perdure("tail", experiment.path, "--json").json,
        perdure("ls", experiment.path.parent, "--columns", "condition,stop_reason", "--json").json["rows"][0],
    ):
        assert (told["condition"], told["stop_reason"]) == ("interrupted", "fail_fast")


def test_a_running_experiment_names_its_driver(perdure, new_experiment):
    import os

    experiment = new_experiment()
    experiment.start(0)
    ran = perdure("show", experiment.path)
    assert ran.lines[1] == "running, 1 trial: 1 RUNNING"
    assert f"pid {os.getpid()}, since " in ran.lines[2]
    assert ran.lines[2].startswith("driver alive on ")
    document = perdure("show", experiment.path, "--json").json
    assert document["experiment"]["condition"] == "running"
    assert document["experiment"]["driver"]["alive"] is True
    assert document["experiment"]["resume"] is None


def test_many_trials_are_folded_unless_all_are_asked_for(perdure, new_experiment):
    experiment = new_experiment()
    for n in range(45):
        experiment.start(n)
        experiment.report(n, 1, accuracy=n / 100)
        experiment.end(n)
    experiment.start(45)
    experiment.finish()
    ran = perdure("show", experiment.path)
    rows = [line for line in ran.lines if line.startswith("train_")]
    assert len(rows) == 30
    assert rows[-1].startswith("train_ab12c_00045")  # what has not ended is always there
    assert rows[0].startswith("train_ab12c_00016")  # and the best of those that have
    assert "... 16 more trials; --all lists them" in ran.lines
    assert sum(line.startswith("train_") for line in perdure("show", "--all", experiment.path).lines) == 46


def test_a_trial(perdure, finished):
    ran = perdure("show", finished, "ab12c_00001")
    assert ran.lines == [
        f"train_ab12c_00001  {finished / 'train_ab12c_00001'}",
        "TERMINATED at iteration 2 after 1.0 s, 2 rows",
        "",
        "config",
        "  lr      0.05",
        "  epochs  3",
        "",
        "last result",
        "  accuracy  0.5",
        "  loss      0.5",
        "",
        "checkpoint         iter    size",
        "---------------------------------------",
        "checkpoint_000000     1  1.0 KB",
        "checkpoint_000001     2  1.0 KB  latest",
        "",
        *ran.lines[16:18],
        ran.lines[18],
    ]
    assert ran.lines[18].split()[:3] == ["1", "scratch", "finished"]


def test_a_trial_in_json(perdure, finished):
    trial = perdure("show", finished, "1", "--json").json["trial"]
    assert trial["config"] == {"lr": 0.05, "epochs": 3}
    assert trial["rows"] == 2
    assert [attempt["outcome"] for attempt in trial["attempts"]] == ["finished"]
    first = trial["checkpoints"][0]
    assert first == {
        "number": 0,
        "path": str(finished / "train_ab12c_00001" / "checkpoint_000000"),
        "iteration": 1,
        "segment": 0,
        "attempt": 1,
        "nbytes": 1000,
        "score": None,
        "durable": True,
        "pinned": False,
    }


def test_a_failed_trial_shows_its_traceback(perdure, finished):
    ran = perdure("show", finished, "2")
    assert ran.lines[-1] == "ValueError: learning rate too large"
    assert "Traceback (most recent call last):" in ran.lines


def test_trials_are_found_by_any_name_they_have(perdure, finished):
    for name in ("0", "00000", "ab12c_00000", "train_ab12c_00000"):
        assert perdure("show", finished, name).lines[0].startswith("train_ab12c_00000")


def test_the_beginning_of_an_id_is_enough_where_no_other_begins_so(perdure, new_experiment):
    experiment = new_experiment()
    for n in (0, 1):
        experiment.start(n, prefix=f"{n}a7d{n}")
    assert perdure("show", experiment.path, "0a7").lines[0].startswith("train_0a7d0_00000")
    assert perdure("show", experiment.path, "1a7d1_0").lines[0].startswith("train_1a7d1_00001")
    for no_beginning in ("0a", "a7d", "d0_00000", "train", "train_0a7", "d", "_", "", "00001x"):
        ran = perdure("show", experiment.path, no_beginning)
        assert (ran.code, ran.out) == (2, ""), no_beginning
        assert "train_0a7d0_00000 (number 0), train_1a7d1_00001 (number 1)" in ran.err


def test_a_bare_integer_is_a_number_and_no_part_of_an_id(perdure, new_experiment):
    experiment = new_experiment()
    experiment.start(0, prefix="71234")
    experiment.report(0, 1, save=True, prefix="71234", accuracy=0.5)
    experiment.journal.close()
    for command in ("show", "stop", "pause", "resume-trial", "pin", "unpin"):
        for number in ("7", "712"):
            ran = perdure(command, experiment.path, number)
            assert (ran.code, ran.out) == (2, ""), command
            assert f"has the number {number}. There is train_71234_00000 (number 0)." in ran.err
    assert not perdure("show", experiment.path, "0", "--json").json["trial"]["checkpoints"][0]["pinned"]
    assert perdure("pin", experiment.path, "0").code == 0
    assert perdure("show", experiment.path, "0", "--json").json["trial"]["checkpoints"][0]["pinned"]


def test_names_that_fit_none_or_several(perdure, finished):
    ran = perdure("show", finished, "nobody")
    assert (ran.code, ran.out) == (2, "")
    assert "is called 'nobody'. There are train_ab12c_00000 (number 0), " in ran.err
    ran = perdure("show", finished, "ab12c")
    assert ran.code == 2
    assert "3 trials of " in ran.err
    assert "fit 'ab12c': train_ab12c_00000 (number 0), " in ran.err


def test_a_moved_experiment_is_shown_where_it_is_now(perdure, finished, tmp_path):
    moved = finished.rename(tmp_path / "moved")
    ran = perdure("show", moved)
    assert ran.code == 0
    assert str(moved / "train_ab12c_00001" / "checkpoint_000001") in ran.out


def test_what_is_no_experiment(perdure, finished, tmp_path):
    ran = perdure("show", finished.parent)
    assert (ran.code, ran.err) == (
        2,
        f"perdure: {finished.parent} is no experiment, but holds some: digits. Name one of them.\n",
    )
    ran = perdure("show", tmp_path / "nowhere")
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert "Traceback" not in ran.err


def test_of_a_damaged_journal_what_precedes_the_damage_is_shown(perdure, finished):
    journal = finished / "journal-000001.jsonl"
    damaged = bytearray(journal.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    journal.write_bytes(damaged)
    ran = perdure("show", finished)
    assert ran.code == 1
    assert "train_ab12c_00000" in ran.out
    assert "train_ab12c_00002" not in ran.out
    assert "journal-000001.jsonl, line " in ran.err
    assert ran.err.count("\n") == 1


def test_without_a_mode_no_trial_is_called_the_best(perdure, new_experiment):
    experiment = new_experiment(mode=None)
    experiment.start(0)
    experiment.report(0, 1, accuracy=0.5)
    experiment.end(0)
    experiment.finish()
    assert "best" not in perdure("show", experiment.path).out
    assert perdure("show", experiment.path, "--json").json["experiment"]["best"] is None
    refused = perdure("best", experiment.path)
    assert (refused.code, "needs a mode" in refused.err) == (2, True)


def test_columns_stand_in_the_order_of_the_display_that_fit_shows(perdure, new_experiment):
    """The optimised metric, then the others as any trial first reported them, whatever the last rows look like."""
    experiment = new_experiment(metric="loss", mode="min")
    experiment.start(0)
    experiment.start(1)
    experiment.report(1, 1, zeta=1.0, loss=0.5, acc=0.5)
    experiment.report(0, 1, acc=0.5, loss=0.5, zeta=1.0)
    experiment.report(0, 2, acc=0.5, late=1.0, loss=0.5, zeta=1.0)
    experiment.end(0)
    experiment.end(1)
    experiment.finish()
    tally = Tally(metric="loss", mode="min")
    tally.fold(event for _, event in FileJournalReader(experiment.path).read())
    info = RunInfo(name="digits", path="", metric="loss", mode="min")
    shown = list(metric_headings(tally.snapshot(), info, TableOptions()))
    assert shown == ["loss", "zeta", "acc"]
    for command in ("show", "ls"):
        lines = perdure(command, experiment.path).lines
        heading = next(line for line in lines if line.startswith("trial "))
        assert heading.split()[4:7] == shown, command
