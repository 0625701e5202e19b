"""What the tests of whole experiments share: where they live, and how one is started in two lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perdure import tune

Start = Callable[..., tune.Tuner]

TUNE_FIELDS = tune.TuneConfig.__dataclass_fields__


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """The directory that experiments are in."""
    return tmp_path / "results"


@pytest.fixture
def tuner(storage: Path) -> Start:
    """Make the Tuner of a silent experiment named "exp"; options are fields of TuneConfig and RunConfig."""

    def make(trainable: Any, param_space: Any = None, **options: Any) -> tune.Tuner:
        chosen = {name: options.pop(name) for name in list(options) if name in TUNE_FIELDS}
        run = {"name": "exp", "storage_path": str(storage), "verbose": 0, **options}
        return tune.Tuner(
            trainable,
            param_space=param_space,
            tune_config=tune.TuneConfig(**chosen),
            run_config=tune.RunConfig(**run),
        )

    return make
