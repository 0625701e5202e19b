"""`perdure completion`: made from the command line's own parser."""

import subprocess

import pytest
from tests.cli import shells

from perdure.cli.completion import commands_of
from perdure.cli.main import make_parser


def complete(script, *words):
    """Ask bash what it would offer after these words."""
    program = (
        f"{script}\nCOMP_WORDS=({' '.join(map(repr, words))}); COMP_CWORD={len(words) - 1}; _perdure; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    ran = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert ran.stderr == ""
    return ran.stdout.split()


def test_bash(perdure):
    script = perdure("completion", "bash").out
    assert complete(script, "perdure", "ver") == ["verify"]
    assert {"ls", "lsx", "show", "--help"} <= set(complete(script, "perdure", ""))
    assert complete(script, "perdure", "export", "--for") == ["--format"]
    assert complete(script, "perdure", "export", "--format", "p") == ["parquet"]
    assert complete(script, "perdure", "export", "--format", "=") == ["csv", "parquet", "json", "jsonl"]
    assert complete(script, "perdure", "export", "--format", "=", "p") == ["parquet"]
    assert complete(script, "perdure", "completion", "fi") == ["fish"]


def test_a_path_is_completed(perdure, finished, monkeypatch):
    monkeypatch.chdir(finished.parent)
    assert complete(perdure("completion", "bash").out, "perdure", "show", "dig") == ["digits"]


@pytest.fixture
def place(tmp_path):
    """Return a directory in which there is another one, digits, and a file."""
    (tmp_path / "place" / "digits").mkdir(parents=True)
    (tmp_path / "place" / "rows.csv").touch()
    return tmp_path / "place"


def test_fish(perdure, tmp_path, place):
    shells.needs("fish")
    script = perdure("completion", "fish").out

    def offers(line):
        return shells.fish(tmp_path, script, line, place)

    assert offers("perdure sh") == ["show"]
    assert set(offers("perdure ")) == {command.name for command in commands_of(make_parser())}
    assert offers("perdure --v") == ["--version"]
    assert offers("perdure export --for") == ["--format"]
    assert offers("perdure export --format p") == ["parquet"]
    assert offers("perdure export --format=p") == ["--format=parquet"]
    assert offers("perdure completion fi") == ["fish"]
    assert offers("perdure show dig") == ["digits/"]
    assert offers("perdure export digits --rows ") == ["all", "last"]
    assert "--lineage" not in offers("perdure export show --")  # an experiment may be called as a command is


ZSH = [
    ("perdure sh", ["show"], "perdure show "),
    ("perdure --v", ["--version"], "perdure --version "),
    ("perdure export --for", ["--format"], "perdure export --format="),
    ("perdure export --format p", ["parquet"], "perdure export --format parquet "),
    ("perdure export --format=p", ["parquet"], "perdure export --format=parquet "),
    ("perdure completion fi", ["fish"], "perdure completion fish "),
    ("perdure show dig", ["digits"], "perdure show digits/"),
    ("perdure export digits --rows l", ["last"], "perdure export digits --rows last "),
    ("perdure export show --lin", [], "perdure export show --lin"),
]


@pytest.mark.parametrize(("line", "offered", "completed"), ZSH)
def test_zsh(perdure, tmp_path, place, line, offered, completed):
    shells.needs("zsh")
    script = perdure("completion", "zsh").out
    assert shells.zsh(tmp_path / "home", script, line, place) == (offered, completed)


@pytest.mark.parametrize("sourced", [False, True])
def test_zsh_offers_every_command(perdure, tmp_path, place, sourced):
    shells.needs("zsh")
    offered, _ = shells.zsh(tmp_path / "home", perdure("completion", "zsh").out, "perdure ", place, sourced=sourced)
    assert set(offered) == {command.name for command in commands_of(make_parser())}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_and_option_is_there(perdure, shell):
    script = perdure("completion", shell, "--json").json["script"]
    for command in commands_of(make_parser()):
        assert command.name in script
        for option in command.options:
            for flag in option.flags:
                assert (flag if shell != "fish" else flag.lstrip("-")) in script


def test_an_unknown_shell(perdure):
    assert perdure("completion", "tcsh").code == 2
