from __future__ import annotations

import fcntl
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from perdure.errors import ClaimLostError, ExperimentLockedError
from perdure.journal.claim import CLAIM_NAME, Claim, ClaimInfo, read_claim, why_refused
from perdure.storage import processes


def claim_of(**changes: object) -> ClaimInfo:
    """Return the claim of this very process, with changes."""
    mine = ClaimInfo(
        host=processes.hostname(),
        pid=os.getpid(),
        process_start=processes.process_start(os.getpid()) or 0.0,
        boot_id=processes.boot_id(),
        pid_namespace=processes.pid_namespace(),
        started_at=time.time(),
        lease_s=30.0,
        lease_until=time.time() + 30,
        token="t",
        inode=7,
    )
    return msgspec.structs.replace(mine, **changes)


FUTURE, PAST = time.time() + 3600, time.time() - 1
ELSEWHERE = {"host": "elsewhere", "boot_id": "another"}


@pytest.mark.parametrize(
    ("found", "locked", "reason"),
    [
        (None, True, ""),
        (None, False, "just starting"),
        (claim_of(), False, "alive"),
        (claim_of(), True, "alive"),  # the lock may have been lost, or not be shared
        (claim_of(inode=8), True, ""),  # a copy of another directory
        (claim_of(inode=8), None, "alive"),  # without locks nobody can tell
        (claim_of(released=True), True, ""),
        (claim_of(released=True), False, ""),
        (claim_of(process_start=0.01), False, ""),  # its pid was reused
        (claim_of(process_start=0.01, lease_until=FUTURE), False, ""),  # a dead driver's lease means nothing at home
        (claim_of(lease_until=PAST), False, "alive"),  # and neither does a live one's
        (claim_of(boot_id="before", lease_until=FUTURE), True, ""),  # rebooted
        (claim_of(boot_id="before", lease_until=FUTURE), False, "holds for another"),  # a namesake
        (claim_of(**ELSEWHERE, lease_until=FUTURE), True, "holds for another"),
        (claim_of(**ELSEWHERE, lease_until=PAST), True, ""),
        (claim_of(**ELSEWHERE, lease_until=PAST), False, ""),
        (claim_of(pid_namespace="pid:[1]", lease_until=FUTURE), True, ""),
        (claim_of(pid_namespace="pid:[1]", lease_until=FUTURE), False, "holds for another"),
        (claim_of(pid_namespace="pid:[1]", lease_until=PAST), False, ""),
    ],
)
def test_who_is_refused(found: ClaimInfo | None, locked: bool | None, reason: str) -> None:
    refused = why_refused(found, locked=locked, inode=7)
    assert reason in refused if reason else refused == ""


@pytest.mark.parametrize(
    ("found", "alive"),
    [
        (claim_of(), True),
        (claim_of(lease_until=PAST), True),
        (claim_of(process_start=0.01), False),
        (claim_of(released=True), False),
        (claim_of(**ELSEWHERE, lease_until=FUTURE), True),
        (claim_of(**ELSEWHERE, lease_until=PAST), False),
    ],
)
def test_who_is_shown_as_alive(found: ClaimInfo, alive: bool) -> None:
    assert found.alive is alive


def test_reading_a_claim_takes_nothing(tmp_path: Path) -> None:
    assert read_claim(tmp_path) is None
    assert read_claim(tmp_path / "nowhere") is None
    assert list(tmp_path.iterdir()) == []
    claim = Claim(tmp_path, lease_s=30)
    found = read_claim(tmp_path)
    assert found is not None
    assert (found.pid, found.host, found.alive) == (os.getpid(), processes.hostname(), True)
    claim.release()
    found = read_claim(tmp_path)
    assert found is not None
    assert not found.alive


def test_other_tools_can_read_it(tmp_path: Path) -> None:
    claim = Claim(tmp_path, lease_s=30)
    assert json.loads((tmp_path / CLAIM_NAME).read_text())["pid"] == os.getpid()
    claim.release()


def test_it_passes_from_hand_to_hand(tmp_path: Path) -> None:
    for _ in range(3):
        claim = Claim(tmp_path, lease_s=30)
        with pytest.raises(ExperimentLockedError, match="this very process"):
            Claim(tmp_path, lease_s=30)
        claim.check()
        claim.release()
        claim.release()
        with pytest.raises(ClaimLostError):
            claim.check()


@pytest.mark.parametrize("content", [b"", b"{", b'{"host": "no checksum"}\n'])
def test_an_unreadable_claim_that_nobody_holds_is_taken(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CLAIM_NAME).write_bytes(content)
    Claim(tmp_path, lease_s=30).release()


def test_a_lease_that_ran_out_and_that_nobody_took_is_renewed(tmp_path: Path) -> None:
    claim = Claim(tmp_path, lease_s=0.05)
    time.sleep(0.1)
    before = time.time()
    claim.check()
    after = read_claim(tmp_path)
    assert after is not None
    assert after.lease_until >= before + 0.05
    claim.release()


def test_a_late_renewal_is_made_up_for_by_the_check(tmp_path: Path) -> None:
    claim = Claim(tmp_path, lease_s=1.0)
    before = read_claim(tmp_path)
    time.sleep(0.6)
    claim.check()
    after = read_claim(tmp_path)
    assert before is not None
    assert after is not None
    assert after.lease_until > before.lease_until
    claim.release()


def test_a_claim_that_is_gone_or_replaced_is_not_renewed_over(
    tmp_path: Path, forge_claim: Callable[..., ClaimInfo]
) -> None:
    claim = Claim(tmp_path, lease_s=30)
    theirs = forge_claim(tmp_path, token="theirs", **ELSEWHERE)
    with pytest.raises(ClaimLostError, match="host elsewhere"):
        claim.renew()
    claim.release()
    assert read_claim(tmp_path) == theirs

    (tmp_path / CLAIM_NAME).unlink()
    claim = Claim(tmp_path, lease_s=30)
    (tmp_path / CLAIM_NAME).unlink()
    with pytest.raises(ClaimLostError, match="is gone"):
        claim.renew()
    claim.release()
    assert not (tmp_path / CLAIM_NAME).exists()


def test_a_claim_that_is_given_back_is_unlocked_though_a_child_has_inherited_it(tmp_path: Path) -> None:
    claim = Claim(tmp_path, lease_s=30)
    for descriptor in claim.descriptors:
        os.set_inheritable(descriptor, True)
    child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        claim.release()
        with (tmp_path / CLAIM_NAME).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where it is locked
    finally:
        child.kill()
        child.wait()
