"""Which trial has which GPU."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.errors import ResourceError

_WHOLE = 10_000
"""Shares are counted in ten-thousandths of a device, so that 0.1 ten times is exactly one."""


class DeviceLedger:
    """Hands out whole devices and fractions of them.

    A fraction comes from the fullest device that still has room for it, so that whole devices stay free; an amount
    above 1 must be whole.
    """

    def __init__(self, devices: Sequence[str]) -> None:
        self._free = dict.fromkeys(devices, _WHOLE)

    def take(self, amount: float) -> tuple[str, ...] | None:
        """Return the devices for `amount` and note them as taken; None if there is no room now.

        Raises:
            ResourceError: `amount` is negative, above 1 and not whole, or more than there are devices.
        """
        share = self._share(amount)
        if share == 0:
            return ()
        chosen = self._fraction(share) if share < _WHOLE else self._whole(share // _WHOLE)
        for device in chosen or ():
            self._free[device] -= min(share, _WHOLE)
        return chosen

    def give_back(self, devices: Sequence[str], amount: float) -> None:
        """Take back what `take(amount)` returned."""
        share = min(self._share(amount), _WHOLE)
        for device in devices:
            self._free[device] += share
            assert self._free[device] <= _WHOLE, f"device {device} was given back twice"

    def _share(self, amount: float) -> int:
        share = round(amount * _WHOLE)
        if share < 0 or (share > _WHOLE and share % _WHOLE) or (share == 0 and amount > 0):
            raise ResourceError(f"A trial asks for {amount:g} GPUs: use a whole number, or a fraction between 0 and 1.")
        if share > _WHOLE * len(self._free):
            raise ResourceError(f"A trial asks for {amount:g} GPUs, but there are {len(self._free)}.")
        return share

    def _fraction(self, share: int) -> tuple[str, ...] | None:
        room = [device for device, free in self._free.items() if free >= share]
        return (min(room, key=self._free.__getitem__),) if room else None

    def _whole(self, count: int) -> tuple[str, ...] | None:
        room = [device for device, free in self._free.items() if free == _WHOLE]
        return tuple(room[:count]) if len(room) >= count else None
