"""Hyperparameter tuning whose trials outlast failure: `from perdure import train, tune`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure import train as train
    from perdure import tune as tune
else:

    def __getattr__(name: str) -> object:
        """Load `perdure.tune` and `perdure.train` where a script says `import perdure` alone."""
        if name in ("train", "tune"):
            return importlib.import_module(f"perdure.{name}")
        if name == "air":
            raise ImportError("perdure.air is not offered by perdure. Import its names from perdure.tune.")
        raise AttributeError(f"module 'perdure' has no attribute {name!r}")


__all__ = ["__version__", "train", "tune"]

__version__ = "0.1.0"
