"""`perdure completion SHELL`: what to source so that the shell completes commands, options and their values."""

from __future__ import annotations

import argparse
import dataclasses


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("shell", choices=list(_SHELLS), help="bash, zsh or fish", metavar="SHELL")


def run(arguments: argparse.Namespace) -> int:
    """Print the script."""
    from perdure.cli.main import make_parser
    from perdure.cli.writing import write_json

    script = _SHELLS[arguments.shell](commands_of(make_parser()))
    if arguments.json:
        write_json({"shell": arguments.shell, "script": script})
    else:
        print(script, end="")
    return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Option:
    """One option of a command."""

    flags: tuple[str, ...]
    summary: str
    takes_value: bool
    choices: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """One command, as a shell needs to know it."""

    name: str
    summary: str
    options: tuple[Option, ...]
    choices: tuple[str, ...]
    """What its arguments may be, where it is not a path."""


def commands_of(parser: argparse.ArgumentParser) -> list[Command]:
    """Return the commands of a parser, aliases as commands of their own."""
    found = []
    for action in parser._actions:  # noqa: SLF001 - argparse tells nobody else what it knows
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            listed = action._choices_actions  # noqa: SLF001
            summaries = {id(action.choices[choice.dest]): choice.help or "" for choice in listed}
            for name, command in action.choices.items():
                found.append(_command(name, summaries[id(command)], command))
    return found


def _command(name: str, summary: str, parser: argparse.ArgumentParser) -> Command:
    options = []
    choices: list[str] = []
    for action in parser._actions:  # noqa: SLF001
        allowed = tuple(map(str, action.choices)) if action.choices is not None else ()
        if not action.option_strings:
            choices += allowed
            continue
        options.append(
            Option(
                flags=tuple(action.option_strings),
                summary=(action.help or "").replace("%%", "%"),
                takes_value=action.nargs != 0,
                choices=allowed,
            )
        )
    return Command(name=name, summary=summary, options=tuple(options), choices=tuple(choices))


def _bash(commands: list[Command]) -> str:
    names = " ".join(command.name for command in commands)
    cases = []
    values = []
    for command in commands:
        flags = " ".join(flag for option in command.options for flag in option.flags)
        words = f"{flags} {' '.join(command.choices)}".strip()
        cases.append(f'        {command.name}) words="{words}" ;;')
        for option in command.options:
            if option.choices:
                flags_of = "|".join(f"{command.name}:{flag}" for flag in option.flags)
                reply = f'COMPREPLY=($(compgen -W "{" ".join(option.choices)}" -- "$word"))'
                values.append(f"        {flags_of}) {reply}; return ;;")
    return f"""\
# bash completion of perdure: source this file, or put it into ~/.local/share/bash-completion/completions/perdure
_perdure() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}"
    local command="${{COMP_WORDS[1]}}" words=""
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "{names} --help --version" -- "$word"))
        return
    fi
    if [ "$word" = "=" ]; then  # bash makes three words of --option=value
        word=""
    elif [ "$before" = "=" ]; then
        before="${{COMP_WORDS[COMP_CWORD-2]}}"
    fi
    case "$command:$before" in
{chr(10).join(values)}
    esac
    case "$command" in
{chr(10).join(cases)}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    if [ "${{word#-}}" = "$word" ]; then
        COMPREPLY+=($(compgen -f -- "$word"))
    fi
}}
complete -o filenames -F _perdure perdure
"""


def _zsh(commands: list[Command]) -> str:
    listed = "\n".join(f"        {_quoted(f'{command.name}:{command.summary}')}" for command in commands)
    cases = []
    for command in commands:
        specs = [_zsh_option(option) for option in command.options]
        rest = f"*:argument:({' '.join(command.choices)})" if command.choices else "*:path:_files"
        lines = " \\\n                ".join([*specs, _quoted(rest)])
        cases.append(f"        {command.name})\n            _arguments \\\n                {lines} ;;")
    return f"""\
#compdef perdure
# zsh completion of perdure: put this file as _perdure into a directory of $fpath
_perdure() {{
    local -a commands
    commands=(
{listed}
    )
    if (( CURRENT == 2 )); then
        if [[ "$PREFIX" == -* ]]; then
            _arguments '--help[show what there is]' '--version[show the version]'
        else
            _describe -t commands 'perdure command' commands
        fi
        return
    fi
    local command="${{words[2]}}"
    shift words
    (( CURRENT-- ))
    case "$command" in
{chr(10).join(cases)}
    esac
}}
if [ "$funcstack[1]" = "_perdure" ]; then
    _perdure "$@"
else
    compdef _perdure perdure
fi
"""


def _zsh_option(option: Option) -> str:
    about = option.summary.replace("[", "(").replace("]", ")").replace(":", " -")
    value = ""
    if option.takes_value:
        value = f":value:({' '.join(option.choices)})" if option.choices else ":value:_files"
    together = f"({' '.join(option.flags)})" if len(option.flags) > 1 else ""
    specs = []
    for flag in option.flags:
        joint = "=" if value and flag.startswith("--") else ""  # the value may follow as a word, or after "="
        specs.append(_quoted(f"{together}{flag}{joint}[{about}]{value}"))
    return " ".join(specs)


_FISH = """\
# fish completion of perdure: put this file into ~/.config/fish/completions/perdure.fish
function __perdure_wants_command
    test (count (commandline -opc)) -eq 1
end
function __perdure_command_is
    set -l words (commandline -opc)
    test (count $words) -gt 1 -a "$words[2]" = "$argv[1]"
end
complete -c perdure -n __perdure_wants_command -f -l help -d 'show what there is'
complete -c perdure -n __perdure_wants_command -f -l version -d 'show the version'"""


def _fish(commands: list[Command]) -> str:
    lines = [_FISH]
    for command in commands:
        about = _quoted(command.summary)
        lines.append(f"complete -c perdure -n __perdure_wants_command -f -a {command.name} -d {about}")
    for command in commands:
        here = f"complete -c perdure -n '__perdure_command_is {command.name}'"
        if command.choices:
            lines.append(f"{here} -f -a {_quoted(' '.join(command.choices))}")
        for option in command.options:
            flags = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags)
            value = " -r" if option.takes_value else ""
            if option.choices:
                value = f" -x -a {_quoted(' '.join(option.choices))}"
            lines.append(f"{here} {flags}{value} -d {_quoted(option.summary)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


_SHELLS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
