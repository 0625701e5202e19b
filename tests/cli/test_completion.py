"""`perdure completion`: made from the command line's own parser."""

import subprocess

import pytest

from perdure.cli.completion import commands_of
from perdure.cli.main import make_parser


def complete(script, *words):
    """Ask bash what it would offer after these words."""
    program = (
        f"{script}\nCOMP_WORDS=({' '.join(map(repr, words))}); COMP_CWORD={len(words) - 1}; _perdure; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    ran = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stderr == ""
    return ran.stdout.split()


def test_bash(perdure):
    script = perdure("completion", "bash").out
    assert complete(script, "perdure", "ver") == ["verify"]
    assert {"ls", "lsx", "show", "--help"} <= set(complete(script, "perdure", ""))
    assert complete(script, "perdure", "export", "--for") == ["--format"]
    assert complete(script, "perdure", "export", "--format", "p") == ["parquet"]
    assert complete(script, "perdure", "completion", "fi") == ["fish"]


def test_a_path_is_completed(perdure, finished, monkeypatch):
    monkeypatch.chdir(finished.parent)
    assert complete(perdure("completion", "bash").out, "perdure", "show", "dig") == ["digits"]


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
