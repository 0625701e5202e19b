"""Damage that a person meets: what they are told, and what gets them out of it."""

from __future__ import annotations

import io
import shutil
from contextlib import redirect_stdout
from pathlib import Path

import msgspec
import pytest

from perdure.cli.main import main
from perdure.core.events import Noticed
from perdure.core.state import Status
from perdure.errors import JournalCorruptError, PerdureError, StorageError
from perdure.history import read_experiment
from perdure.journal import epochs
from perdure.journal.epochs import Head
from perdure.journal.file import FileJournalReader
from perdure.tune import Tuner
from tests.damage.experiment import expected, factor_of, go_on, new_tuner, rows_of


def notices(path: Path) -> list[str]:
    return [event.text for _, event in FileJournalReader(path).read() if isinstance(event, Noticed)]


def command(*argv: object) -> tuple[int, str]:
    output = io.StringIO()
    with redirect_stdout(output):
        code = main([str(argument) for argument in argv])
    return code, output.getvalue()


def journal_of(path: Path, epoch: int) -> Path:
    return path / f"journal-{epoch:06d}.jsonl"


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)


# --- the journal ------------------------------------------------------------------------------------------------------


def test_a_record_being_written_at_the_crash_is_cut_and_that_is_said(cut_short: Path) -> None:
    journal = journal_of(cut_short, 3)
    lines = len(journal.read_bytes().splitlines())
    with journal.open("ab") as file:
        file.write(b'{"e":3,"q":99,"v":1,"d":{"type":"repor')
    assert rows_of(go_on(cut_short)) == expected()
    assert any(f"{journal.name} was cut at line {lines + 1}, byte " in text for text in notices(cut_short))


def test_damage_that_nobody_had_synced_is_cut_like_a_crash_and_that_is_said(cut_short: Path) -> None:
    journal = journal_of(cut_short, 3)
    lines = journal.read_bytes().splitlines(keepends=True)
    synced = b"".join(lines[:-2])
    hasher = epochs.new_hasher()
    hasher.update(synced)
    sequence = msgspec.json.decode(lines[-3])["q"]
    epochs.write_head(cut_short, Head(epoch=3, sequence=sequence, offset=len(synced), hash=hasher.hexdigest()))
    flip(journal, len(synced) + 30)
    assert rows_of(go_on(cut_short)) == expected()
    assert any(f"{journal.name} was cut at line {len(lines) - 1}, byte {len(synced)}" in t for t in notices(cut_short))


def test_a_journal_that_is_gone_is_no_new_experiment(cut_short: Path) -> None:
    """The files of the trials are there, and the head says that there was a journal."""
    for journal in cut_short.glob("journal-*.jsonl"):
        journal.unlink()
    before = sorted(path.name for path in cut_short.iterdir())
    with pytest.raises(JournalCorruptError, match=r"journal-000003\.jsonl.*is missing"):
        new_tuner(cut_short.parent).fit()
    with pytest.raises(PerdureError, match=r"journal"):
        Tuner.restore(cut_short)
    assert sorted(path.name for path in cut_short.iterdir()) == before


def test_repair_says_what_it_would_cut_and_cuts_only_when_told(cut_short: Path) -> None:
    journal = journal_of(cut_short, 2)
    lines = journal.read_bytes().splitlines(keepends=True)
    offset = len(b"".join(lines[:6]))
    flip(journal, offset + 20)
    with pytest.raises(JournalCorruptError, match=rf"{journal.name}, line 7, byte {offset}"):
        Tuner.restore(cut_short)
    before = {path: path.read_bytes() for path in cut_short.iterdir() if path.is_file()}
    code, output = command("repair", cut_short)
    assert code == 1
    assert f"{journal.name}, line 7, byte {offset}" in output
    assert before == {path: path.read_bytes() for path in cut_short.iterdir() if path.is_file()}
    code, output = command("repair", "--cut", cut_short)
    assert code == 0
    history = go_on(cut_short)
    # What was cut told of newer checkpoints, for which the one that the journal still knows of may have been removed:
    # that trial has failed, and is run anew if asked for.
    failed = {factor_of(trial.config) for trial in history.trials.values() if trial.status is Status.ERROR}
    assert {factor: rows for factor, rows in rows_of(history).items() if factor not in failed} == {
        factor: rows for factor, rows in expected().items() if factor not in failed
    }
    assert len(failed) < len(expected())
    Tuner.restore(cut_short, restart_errored=True).fit()
    assert rows_of(read_experiment(cut_short)) == expected()


# --- pickles ----------------------------------------------------------------------------------------------------------


def test_a_damaged_trainable_is_replaced_by_the_script_that_defines_it(cut_short: Path) -> None:
    flip(cut_short / "trainable.pkl", 100)
    with pytest.raises(StorageError, match=r"trainable\.pkl is damaged.*resume=\"auto\""):
        Tuner.restore(cut_short)
    new_tuner(cut_short.parent).fit()
    assert rows_of(read_experiment(cut_short)) == expected()
    assert command("verify", cut_short)[0] == 0


def test_a_damaged_parameter_is_replaced_by_the_script_that_defines_it(cut_short: Path) -> None:
    (parameter,) = cut_short.glob("parameter-*.pkl")
    flip(parameter, 20)
    new_tuner(cut_short.parent).fit()
    assert rows_of(read_experiment(cut_short)) == expected()
    assert command("verify", cut_short)[0] == 0


def test_one_trials_damaged_parameters_cost_that_trial_alone(cut_short: Path) -> None:
    before = read_experiment(cut_short)
    unfinished = next(trial for trial in before.trials.values() if not trial.status.finished)
    whole = (cut_short / unfinished.directory / "params.pkl").read_bytes()
    flip(cut_short / unfinished.directory / "params.pkl", 10)
    history = go_on(cut_short)
    failed = history.trials[unfinished.id]
    assert failed.status.value == "ERROR"
    assert failed.error is not None
    assert f"{unfinished.directory}/params.pkl is damaged" in failed.error.message
    (cut_short / unfinished.directory / "params.pkl").write_bytes(whole)
    Tuner.restore(cut_short, resume_errored=True).fit()
    assert rows_of(read_experiment(cut_short)) == expected()


# --- snapshots --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["state.json", "plugins.json", "stopper.pkl"])
def test_a_damaged_snapshot_is_done_without_and_that_is_said(cut_short: Path, name: str) -> None:
    for snapshot in cut_short.glob("snapshot-*"):
        flip(snapshot / name, (snapshot / name).stat().st_size // 2)
    code, output = command("verify", cut_short)
    assert code == 0, "nothing is lost by it"
    assert output.count("note: snapshot snapshot-") == 2
    assert rows_of(go_on(cut_short)) == expected()
    assert sum(name in text for text in notices(cut_short)) == 2


# --- views ------------------------------------------------------------------------------------------------------------


def test_views_of_what_still_runs_are_made_anew(cut_short: Path) -> None:
    before = read_experiment(cut_short)
    unfinished = next(trial for trial in before.trials.values() if not trial.status.finished)
    for name in ("result.json", "progress.csv", "params.json"):
        (cut_short / unfinished.directory / name).write_bytes(b"\0 not what was written")
    go_on(cut_short)
    lines = (cut_short / unfinished.directory / "result.json").read_bytes().splitlines()
    rows = [msgspec.json.decode(line) for line in lines]
    assert [(row["step"], row["value"]) for row in rows] == expected()[rows[0]["config"]["factor"]]
    assert len((cut_short / unfinished.directory / "progress.csv").read_text().splitlines()) == len(rows) + 1
    assert msgspec.json.decode((cut_short / unfinished.directory / "params.json").read_bytes())["steps"] == len(rows)


def test_a_directory_copied_elsewhere_goes_on_and_leaves_the_original_alone(cut_short: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(cut_short, tmp_path / "elsewhere" / cut_short.name))
    assert rows_of(go_on(copy)) == expected()
    assert rows_of(go_on(cut_short)) == expected()
