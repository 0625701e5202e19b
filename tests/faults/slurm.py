"""A Slurm cluster of this machine alone, with its own key, configuration, ports and state, all in one directory."""

from __future__ import annotations

import contextlib
import getpass
import os
import random
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "scontrol")
PACKAGES = "slurmctld, slurmd, slurm-client and munge (Debian's names; slurm-wlm and munge bring all of them)"

_CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
# A requeued job waits for as long as an old credential holds: 120 s, and 5 s at the least.
AuthInfo=socket={directory}/munge.socket,cred_expire=5
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/linear
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_min_interval=100000,sched_interval=1
ReturnToService=2
KillWait=20
MailProg=/bin/true
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Cluster:
    """The daemons are up, and the node takes jobs."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.directory = directory
        self.environment = environment

    def submit(self, *arguments: str, environment: Mapping[str, str]) -> int:
        """Submit a job with `sbatch`, and return its id."""
        told = self._run("sbatch", "--parsable", *arguments, environment=environment)
        return int(told.split(";")[0])

    def requeue(self, job: int) -> None:
        """Do to the job what a preemption does: end it, and put it back into the queue."""
        self._run("scontrol", "requeue", str(job))

    def signal_batch(self, job: int) -> None:
        """Do to the job what `--signal=B:TERM@60` does a minute before its time limit."""
        self._run("scancel", "--batch", "--signal=TERM", str(job))

    def state(self, job: int) -> str:
        """Return the job's state, as `PENDING`, `RUNNING`, `COMPLETED`."""
        return self.field(job, "JobState")

    def wait_for_end(self, job: int) -> str:
        """Wait until the job will not run again, and return the state that it ended in."""
        deadline = time.monotonic() + 120
        while (state := self.state(job)) in {"PENDING", "RUNNING", "COMPLETING", "REQUEUED"}:
            assert time.monotonic() < deadline, f"job {job} is still {state}\n{self.story()}"
            time.sleep(0.2)
        return state

    def field(self, job: int, name: str) -> str:
        """Return one field of `scontrol show job`."""
        found = re.search(rf"\b{name}=(\S*)", self._run("scontrol", "--oneliner", "show", "job", str(job)))
        assert found, name
        return found[1]

    def story(self) -> str:
        """Return what the daemons have to say, for a message."""
        return _tails(self.directory)

    def _run(self, *command: str, environment: Mapping[str, str] | None = None) -> str:
        everything = {**self.environment, **(environment or {})}
        done = subprocess.run(command, env=everything, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{command}: {done.stderr}\n{self.story()}"
        return done.stdout.strip()


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """Start a cluster and take it down again; skip the test where that cannot be done."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *(["/usr/sbin", "/sbin"] if os.environ.get("PATH") else [])])
    programs = {name: shutil.which(name, path=path) for name in PROGRAMS}
    missing = [name for name, found in programs.items() if not found]
    if missing:
        skip(f"{', '.join(missing)} not found on PATH")
    with contextlib.ExitStack() as stack:
        # The path of a socket has to be short, and munge wants a way to it that anybody may go.
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True)))
        directory.chmod(0o755)
        _write_files(directory)
        environment = {**os.environ, "PATH": path, "SLURM_CONF": str(directory / "slurm.conf")}

        daemons = []

        def run(name: str, *arguments: str) -> None:
            with (directory / f"{name}.log").open("wb") as log:
                command = [str(programs[name]), *arguments]
                daemons.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
            stack.callback(_end, daemons[-1])

        def wait(condition: Callable[[], bool]) -> None:
            deadline = time.monotonic() + 60
            while not condition():
                ended = [str(daemon.args[0]) for daemon in daemons if daemon.poll() is not None]
                if ended or time.monotonic() > deadline:
                    skip(f"{' '.join(ended) or 'the cluster'} cannot run here:\n{_tails(directory)}\n")
                time.sleep(0.1)

        run("munged", "--foreground", "--force", *_munge_options(directory))
        wait((directory / "munge.socket").exists)
        run("slurmctld", "-D", "-c")
        run("slurmd", "-D", "-c")
        wait(lambda: "State=IDLE " in _node(environment))
        yield Cluster(directory, environment)


def skip(reason: str) -> None:
    """Say loudly that this was not tested, and what it takes."""
    pytest.skip(f"SLURM PREEMPTION WAS NOT TESTED: {reason}. It takes the packages {PACKAGES}.")


def _write_files(directory: Path) -> None:
    key = directory / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    for name in ("state", "spool"):
        (directory / name).mkdir()
    ports = _free_port(10_000), _free_port(20_000)
    text = _CONFIGURATION.format(
        host=socket.gethostname().split(".")[0],
        user=getpass.getuser(),
        directory=directory,
        controller_port=ports[0],
        node_port=ports[1],
    )
    (directory / "slurm.conf").write_text(text)
    (directory / "cgroup.conf").write_text("CgroupAutomount=no\n")


def _free_port(first: int) -> int:
    """Return a port above the first that nobody listens at, and which the system gives to nobody who asks for any."""
    while True:
        port = first + random.SystemRandom().randrange(10_000)
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port


def _munge_options(directory: Path) -> list[str]:
    files = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munge.pid", "seed-file": "munge.seed"}
    options = [f"--{option}={directory / name}" for option, name in files.items()]
    return [*options, f"--log-file={directory / 'munge.log'}"]


def _node(environment: Mapping[str, str]) -> str:
    command = ["scontrol", "--oneliner", "show", "nodes"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    return done.stdout


def _tails(directory: Path) -> str:
    return "\n".join(f"{log.name}: {log.read_text()[-2000:]}" for log in sorted(directory.glob("*.log")))


def _end(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(timeout=5)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
