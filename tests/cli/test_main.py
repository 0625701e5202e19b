"""The command line as a whole."""

import json
import pathlib
import re
import subprocess
import sys

import pytest

import perdure as package
from perdure.cli.main import COMMANDS


def test_version(perdure):
    ran = perdure("--version")
    assert (ran.code, ran.out) == (0, f"perdure {package.__version__}\n")


def test_help_tells_commands_and_exit_codes(perdure):
    ran = perdure("--help")
    assert ran.code == 0
    for word in ("ls", "show", "verify", "repair", "exit codes:", "--json"):
        assert word in ran.out
    page = (pathlib.Path(__file__).parents[2] / "docs" / "reference" / "cli.md").read_text()
    documented = re.findall(r"^\| (\d+) \|", page, re.MULTILINE)
    assert re.findall(r"^  (\d+)  ", ran.out, re.MULTILINE) == documented


@pytest.mark.parametrize("argv", [[], ["foo"], ["show"], ["ls", "--limit", "many"]])
def test_a_wrong_command_line(perdure, argv):
    ran = perdure(*argv)
    assert ran.code == 2
    assert ran.err.startswith("usage: perdure")


def test_an_argument_too_many_is_answered_with_the_usage_of_the_command(perdure, finished):
    ran = perdure("add-note", finished, "hello", "--bold")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("usage: perdure add-note ")
    assert "[--text TEXT]" in ran.err
    assert ran.err.splitlines()[-1] == "perdure add-note: error: unrecognized arguments: hello --bold"
    assert not (finished / "note.txt").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["ls"],
        ["show"],
        ["best"],
        ["tail"],
        ["export"],
        ["verify"],
        ["repair"],
        ["replay-loggers"],
        ["add-note", "--text", "seen"],
        ["stop"],
        ["gc", "--keep-latest", "1"],
    ],
    ids=lambda command: command[0],
)
def test_a_name_that_is_not_here_is_looked_up_in_the_default_storage_path(
    perdure, finished, tmp_path, monkeypatch, command
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERDURE_STORAGE_PATH", str(finished.parent))
    assert perdure(*command, finished.name).code == 0
    ran = perdure(*command, "./digits")
    assert ran.code == 2
    assert str(tmp_path / "digits") in ran.err
    ran = perdure(*command, "nowhere")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"perdure: There is neither {tmp_path / 'nowhere'} nor {finished.parent / 'nowhere'}.\n"


FURTHER = {
    "add-note": ["--text", "seen"],
    "gc": ["--keep-latest", "1"],
    "pause": ["0"],
    "pin": ["0"],
    "resume-trial": ["0"],
    "stop": ["0"],
    "unpin": ["0"],
}
"""What commands need besides an experiment."""


@pytest.mark.parametrize("command", [name for name, _, _ in COMMANDS if name != "resume"])
def test_every_command_prints_one_json_document(perdure, interrupted, command):
    """All but `resume`, which needs a trainable to run: see tests/control/test_running.py."""
    if command == "resume-trial":
        assert perdure("pause", interrupted, "0").code == 0
    subject = {"completion": "bash", "simulate": "3"}.get(command, interrupted)
    ran = perdure(command, subject, *FURTHER.get(command, []), "--json")
    assert (ran.code, ran.err) == (0, "")
    assert isinstance(ran.json, list if command == "export" else dict)


@pytest.mark.parametrize("command", ["ls", "show", "best", "tail", "export", "gc"])
def test_of_a_damaged_journal_commands_take_what_precedes_the_damage_and_end_with_1(perdure, finished, command):
    journal = finished / "journal-000001.jsonl"
    damaged = bytearray(journal.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    journal.write_bytes(damaged)
    ran = perdure(command, finished, *FURTHER.get(command, []), "--json")
    assert ran.code == 1
    assert ran.json
    assert "journal-000001.jsonl, line " in ran.err
    assert ran.err.count("\n") == 1


def test_what_is_here_goes_before_what_is_in_the_default_storage_path(perdure, finished, interrupted, monkeypatch):
    monkeypatch.chdir(finished.parent)
    monkeypatch.setenv("PERDURE_STORAGE_PATH", str(interrupted))
    (interrupted / "digits").mkdir()
    assert perdure("show", "digits").lines[0] == f"digits  {finished}"


def test_a_detour_is_not_shown_unless_it_is_none(perdure, finished, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert perdure("show", "../results/digits").lines[0] == f"digits  {finished}"
    (tmp_path / "here" / "link").symlink_to(finished)
    beyond = tmp_path / "here" / "link" / ".." / "digits"
    assert perdure("show", beyond).lines[0] == f"digits  {beyond}", "that is no sibling of the link"


def test_the_default_storage_path_is_in_the_home_directory(perdure, finished, tmp_path, monkeypatch):
    monkeypatch.delenv("PERDURE_STORAGE_PATH", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    finished.parent.rename(tmp_path / "perdure_results")
    assert perdure("show", "digits").code == 0


def test_python_dash_m(perdure_process, finished):
    ran = perdure_process("show", finished, "--json")
    assert ran.returncode == 0
    assert json.loads(ran.stdout)["experiment"]["name"] == "digits"
    assert ran.stderr == ""


def test_a_reader_that_leaves_is_no_error_message(finished):
    command = f"{sys.executable} -m perdure show --json {finished} | head -c 1"
    ran = subprocess.run(
        ["/bin/sh", "-c", command],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"},
        timeout=200,
    )
    assert (ran.stdout, ran.stderr) == ("{", "")


def test_colours_in_a_terminal_only(finished, capsys, monkeypatch):
    from perdure.cli.main import main

    monkeypatch.delenv("NO_COLOR", raising=False)
    main(["ls", str(finished)])
    assert "\x1b[" not in capsys.readouterr().out
    monkeypatch.setenv("FORCE_COLOR", "1")
    main(["ls", str(finished)])
    assert "\x1b[32mTERMINATED\x1b[0m" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    main(["ls", str(finished)])
    assert "\x1b[" not in capsys.readouterr().out


def test_starting_loads_neither_rich_nor_any_numeric_library(finished):
    code = (
        "import sys\n"
        "from perdure.cli.main import main\n"
        f"main(['show', {str(finished)!r}])\n"
        "heavy = {'rich', 'numpy', 'pandas', 'torch', 'cloudpickle', 'asyncio'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)}, timeout=120)
