import os

import pytest

from perdure.executors import machine


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """A control group directory to write limits into."""
    directory = tmp_path / "group" / "inner"
    directory.mkdir(parents=True)
    monkeypatch.setattr(machine, "_own_groups", lambda controller: iter([directory, directory.parent]))
    return directory


def bind(monkeypatch, count):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(count)), raising=False)


def test_cpus_are_those_the_process_is_bound_to(groups, monkeypatch):
    bind(monkeypatch, 6)
    assert machine.cpu_count() == 6


@pytest.mark.parametrize(
    ("limit", "count"), [("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1), ("1600000 100000", 8)]
)
def test_a_quota_limits_cpus(groups, monkeypatch, limit, count):
    bind(monkeypatch, 8)
    (groups / "cpu.max").write_text(limit + "\n")
    assert machine.cpu_count() == count


def test_the_tightest_quota_above_counts(groups, monkeypatch):
    bind(monkeypatch, 8)
    (groups / "cpu.max").write_text("600000 100000\n")
    (groups.parent / "cpu.max").write_text("300000 100000\n")
    assert machine.cpu_count() == 3


def test_the_older_kind_of_quota(groups, monkeypatch):
    bind(monkeypatch, 8)
    (groups / "cpu.cfs_quota_us").write_text("400000\n")
    (groups / "cpu.cfs_period_us").write_text("100000\n")
    assert machine.cpu_count() == 4
    (groups / "cpu.cfs_quota_us").write_text("-1\n")
    assert machine.cpu_count() == 8


def test_memory_is_limited_by_the_group(groups):
    whole = machine.memory_bytes()
    assert whole > 1 << 20
    (groups / "memory.max").write_text("1048576\n")
    assert machine.memory_bytes() == 1048576
    (groups / "memory.max").write_text("max\n")
    assert machine.memory_bytes() == whole


@pytest.mark.parametrize(
    ("visible", "ids"),
    [
        ("", ()),
        ("0", ("0",)),
        ("2, 0", ("2", "0")),
        ("GPU-8f2,MIG-1", ("GPU-8f2", "MIG-1")),
        ("1,-1,0", ("1",)),
        ("-1", ()),
    ],
)
def test_visible_gpus(monkeypatch, visible, ids):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert machine.gpu_ids() == ids


def test_gpus_are_asked_for_where_the_driver_lists_none(monkeypatch, tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: A (UUID: GPU-1)'\necho '  MIG 1g: x'\necho 'GPU 1: B (UUID: GPU-2)'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if os.path.isdir("/proc/driver/nvidia/gpus"):
        pytest.skip("this machine has GPUs of its own")
    assert machine.gpu_ids() == ("0", "1")
    program.write_text("#!/bin/sh\nexit 9\n")
    assert machine.gpu_ids() == ()
