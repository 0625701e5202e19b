"""Trainables by name, for code that names them with a string."""

from __future__ import annotations

from perdure.errors import TrainableError

_registered: dict[str, object] = {}


def register_trainable(name: str, trainable: object, warn: bool = True) -> None:
    """Make `trainable` known under `name` in this process, in place of an older one of that name.

    Raises:
        TrainableError: it is neither a function nor a class that can be tuned.
    """
    del warn
    from perdure.trainable.base import check_trainable

    check_trainable(trainable)
    _registered[name] = trainable


def resolve_trainable(trainable: object) -> object:
    """Return the trainable registered under a name, and anything but a string as it is.

    Raises:
        TrainableError: the name is unknown; the message lists the known ones.
    """
    if not isinstance(trainable, str):
        return trainable
    if trainable not in _registered:
        known = ", ".join(sorted(_registered)) or "none yet"
        raise TrainableError(
            f"No trainable is registered as {trainable!r} (registered: {known}). Register it with "
            "tune.register_trainable, or pass the function or class itself."
        )
    return _registered[trainable]
