"""Executors by the names that `RunConfig(executor=...)` has for them."""

from __future__ import annotations

from perdure.config import is_executor
from perdure.errors import ConfigurationError
from perdure.executors.base import Executor


def resolve_executor(choice: Executor | str) -> Executor:
    """Return the executor that `RunConfig(executor=...)` names.

    Raises:
        ConfigurationError: it names none.
    """
    if is_executor(choice):
        assert not isinstance(choice, str)
        return choice
    if choice == "local":
        from perdure.executors.local import LocalExecutor

        return LocalExecutor()
    if choice == "inline":
        from perdure.executors.inline import InlineExecutor

        return InlineExecutor()
    raise ConfigurationError(f'RunConfig(executor={choice!r}): use "local", "inline", or an Executor object.')
