"""Hyperparameter tuning whose trials outlast failure: `from perdure import train, tune`."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

from perdure.relocation import NAMES, Elsewhere, refusal

if TYPE_CHECKING:
    from perdure import air as air
    from perdure import train as train
    from perdure import tune as tune
else:

    def __getattr__(name: str) -> object:
        """Load `perdure.tune` and its like where a script says `import perdure` alone."""
        if name in ("air", "train", "tune"):
            return importlib.import_module(f"perdure.{name}")
        advice = NAMES[""].get(name)
        if advice is None:
            raise AttributeError(f"module 'perdure' has no attribute {name!r}", name=name, obj=sys.modules[__name__])
        raise refusal(__name__, name, f"perdure.{name} is not offered by perdure. {advice}", sys._getframe(1))  # noqa: SLF001 - who asks decides the kind of error


sys.meta_path.append(Elsewhere)

__all__ = ["__version__", "train", "tune"]

__version__ = "0.1.0"
