"""Asks real shells what they complete: zsh on a terminal of its own, fish and bash by their own means."""

import os
import pty
import select
import shutil
import subprocess
import time

import pytest

DEADLINE_S = 60.0


def needs(shell):
    """Skip the test where there is no such shell."""
    if shutil.which(shell) is None:
        pytest.skip(f"COMPLETION IN {shell.upper()} WAS NOT TESTED: {shell} is not installed; the package is {shell}.")


def fish(home, script, line, directory):
    """Return what fish offers after `line`."""
    (home / "perdure.fish").write_text(script)
    program = f"source {home}/perdure.fish; complete -C '{line}'"
    ran = subprocess.run(
        ["fish", "--no-config", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_S,
        cwd=directory,
        env={**os.environ, "HOME": str(home)},
    )
    assert ran.stderr == ""
    return [offer.split("\t")[0] for offer in ran.stdout.splitlines()]


_ZSHRC = """\
unsetopt auto_list auto_menu
fpath=({home}/functions $fpath)
autoload -Uz compinit && compinit -u -d {home}/dump
{load}
compadd() {{
    if [[ "${{@[1,(i)(-|--)]}}" == *-(O|A|D)\\ * ]]; then  # a completion function that only filters
        builtin compadd "$@"
        return
    fi
    local -a offered
    builtin compadd -A offered "$@"
    print -rl -- "$offered[@]" >> {home}/offered
    builtin compadd "$@"
}}
zle-line-init() {{
    BUFFER=$COMPLETED_LINE
    CURSOR=$#BUFFER
    zle complete-word
    print -r -- "$BUFFER" > {home}/line
    BUFFER=exit
    zle accept-line
}}
zle -N zle-line-init
"""


def zsh(home, script, line, directory, *, sourced=False):
    """Return what zsh offers when Tab is pressed after `line`, and what the line is then.

    The script is a file of $fpath, or `sourced`.
    """
    (home / "functions").mkdir(parents=True)
    where = home / "perdure.zsh" if sourced else home / "functions" / "_perdure"
    where.write_text(script)
    (home / ".zshrc").write_text(_ZSHRC.format(home=home, load=f"source {where}" if sourced else ""))
    master, slave = pty.openpty()
    environment = {**os.environ, "HOME": str(home), "ZDOTDIR": str(home), "TERM": "vt100", "COMPLETED_LINE": line}
    try:
        process = subprocess.Popen(
            ["zsh", "-i"],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=directory,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        screen = _read_to_the_end(process, master)
    finally:
        os.close(master)
    assert (home / "line").exists(), f"zsh showed: {screen!r}"
    offered = (home / "offered").read_text().split() if (home / "offered").exists() else []
    return offered, (home / "line").read_text().rstrip("\n")


def _read_to_the_end(process, master):
    """Return all that a process shows on its terminal until it ends."""
    screen = b""
    ends = time.monotonic() + DEADLINE_S
    while time.monotonic() < ends:
        if select.select([master], [], [], 0.1)[0]:
            try:
                screen += os.read(master, 4096)
            except OSError:  # Linux's word for the end
                process.wait(DEADLINE_S)
                return screen
        elif process.poll() is not None:
            return screen
    process.kill()
    process.wait()
    pytest.fail(f"zsh did not come to an end; it showed: {screen!r}")
