import random

import pytest

from perdure.errors import ResourceError
from perdure.executors.devices import DeviceLedger


def test_whole_devices():
    ledger = DeviceLedger(["0", "1", "2"])
    assert ledger.take(2) == ("0", "1")
    assert ledger.take(2) is None
    assert ledger.take(1) == ("2",)
    ledger.give_back(("0", "1"), 2)
    assert ledger.take(1.0) == ("0",)


def test_fractions_are_packed():
    ledger = DeviceLedger(["a", "b"])
    assert [ledger.take(0.5) for _ in range(2)] == [("a",), ("a",)]
    assert ledger.take(0.3) == ("b",)
    assert ledger.take(0.5) == ("b",)
    assert ledger.take(0.3) is None
    assert ledger.take(0.2) == ("b",)


def test_a_fraction_leaves_whole_devices_free():
    ledger = DeviceLedger(["a", "b"])
    ledger.take(0.5)
    assert ledger.take(0.25) == ("a",)
    assert ledger.take(1) == ("b",)
    assert ledger.take(1) is None


def test_ten_tenths_are_one():
    ledger = DeviceLedger(["a"])
    taken = [ledger.take(0.1) for _ in range(10)]
    assert taken == [("a",)] * 10
    assert ledger.take(0.1) is None
    for devices in taken:
        ledger.give_back(devices, 0.1)
    assert ledger.take(1) == ("a",)


def test_nothing_needs_no_device():
    assert DeviceLedger([]).take(0) == ()


@pytest.mark.parametrize("amount", [1.5, -1, 3, 0.000001])
def test_what_cannot_be_given_is_refused(amount):
    with pytest.raises(ResourceError, match="asks for"):
        DeviceLedger(["a", "b"]).take(amount)


def test_whatever_is_taken_and_given_back_no_device_is_given_twice():
    draw = random.Random(0)
    ledger, held = DeviceLedger(["a", "b", "c"]), []
    for _ in range(2000):
        if held and draw.random() < 0.5:
            ledger.give_back(*held.pop(draw.randrange(len(held))))
        else:
            amount = draw.choice([0.1, 0.25, 0.3, 0.5, 1, 2])
            devices = ledger.take(amount)
            if devices is not None:
                held.append((devices, amount))
        for device in "abc":
            assert sum(min(amount, 1) for devices, amount in held if device in devices) <= 1.0001
    for one in held:
        ledger.give_back(*one)
    assert ledger.take(3) == ("a", "b", "c")
