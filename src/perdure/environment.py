"""What a user says in environment variables; `docs/reference/environment.md` lists them."""

from __future__ import annotations

import os

from perdure.errors import ConfigurationError


def number_in(variable: str, default: float) -> float:
    """Return the number that an environment variable holds, and `default` where it is not set."""
    asked = os.environ.get(variable, "")
    try:
        number = float(asked or default)
    except ValueError:
        number = -1.0
    if not number >= 0:
        raise ConfigurationError(f"Environment variable {variable}={asked}: use a number of 0 or more, or unset it.")
    return number
