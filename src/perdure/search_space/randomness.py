"""Where draws come from: the standard library's generator, seeded by what is drawn.

NumPy is never needed. A seed given as a NumPy generator is read once, for one integer.
"""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator

from perdure.errors import ConfigurationError


def derive_seed(random_state: object) -> int | None:
    """Return the integer seed that `random_state` stands for, or None for None.

    Args:
        random_state: An integer, a `random.Random`, or a NumPy `RandomState` or `Generator`; the last three are
            drawn from once.

    Raises:
        ConfigurationError: it is none of these.
    """
    if random_state is None:
        return None
    if isinstance(random_state, random.Random):
        return random_state.getrandbits(63)
    for method in ("integers", "randint"):  # NumPy's Generator, and its older RandomState
        draw = getattr(random_state, method, None)
        if draw is not None:
            return int(draw(0, 2**31 - 1))
    try:
        return int(random_state.__index__())  # type: ignore[attr-defined]
    except AttributeError:
        raise ConfigurationError(
            f"random_state={random_state!r}: use an integer, or a NumPy RandomState or Generator."
        ) from None


def random_source(random_state: object) -> random.Random:
    """Return a generator for `random_state`; for None one that follows the seed of the `random` module."""
    if isinstance(random_state, random.Random):
        return random_state
    seed = derive_seed(random_state)
    return random.Random(random.getrandbits(63) if seed is None else seed)


def keyed_random(*key: object, into: random.Random | None = None) -> random.Random:
    """Return a generator whose draws depend on `key` alone: the same on every machine, in any order of calls.

    Args:
        key: Anything that has a text of its own.
        into: A generator to seed and return, for a caller who keeps none of them: half the time of a new one.
    """
    text = "\x1f".join(map(str, key))
    if into is None:
        return random.Random(text)
    into.seed(text)
    return into


@contextlib.contextmanager
def seeded_globals(seed: int) -> Iterator[None]:
    """Seed `random`, and the global generators of NumPy and PyTorch where they are loaded; put all back afterwards."""
    state = random.getstate()
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    numpy_state = numpy.random.get_state() if numpy is not None else None
    torch_state = torch.random.get_rng_state() if torch is not None else None
    random.seed(seed)
    if numpy is not None:
        numpy.random.seed(seed % 2**32)
    if torch is not None:
        torch.random.default_generator.manual_seed(seed)  # the CPU's alone: `torch.manual_seed` would wake the GPUs
    try:
        yield
    finally:
        random.setstate(state)
        if numpy is not None:
            numpy.random.set_state(numpy_state)
        if torch is not None:
            torch.random.set_rng_state(torch_state)
