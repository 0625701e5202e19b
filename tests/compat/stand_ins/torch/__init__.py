"""As much of torch as the guide's scripts use, so that they run unchanged where torch is not installed."""

from __future__ import annotations

import pickle
import random
from pathlib import Path

from . import nn

__all__ = ["load", "nn", "rand", "save"]


def save(value: object, path: str) -> None:
    Path(path).write_bytes(pickle.dumps(value))


def load(path: str) -> object:
    return pickle.loads(Path(path).read_bytes())


def rand(size: int) -> list[float]:
    return [random.random() for _ in range(size)]
