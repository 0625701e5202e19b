"""Runs each attempt in a process of its own on this machine.

Processes are made by a template (see `template`) that this one starts, and each talks to this one over a socket
pair. One loop, `poll`, waits for all of it: workers, the template, what workers print, and `wake`.

Each attempt that was started ends once. What ends it is the template's word that its process, and its process group,
are gone; what the worker said before that decides how. Only a worker that is kept for another attempt has its word
taken while it lives.
"""

from __future__ import annotations

import collections
import contextlib
import numbers
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from perdure.core.events import ErrorInfo
from perdure.errors import ConfigurationError, InternalError
from perdure.executors import machine
from perdure.executors.base import ExecutorEvent, Program, Resources
from perdure.executors.control import Exited, Forked, FromTemplate, NotForked, Ready
from perdure.executors.output import OutputPipe
from perdure.executors.process import REUSABLE
from perdure.executors.template_link import TemplateLink
from perdure.executors.triage import OutOfMemoryWatch, death
from perdure.executors.worker_link import WorkerLink
from perdure.storage.processes import is_alive
from perdure.trainable.channel import MalformedFrameError, frame
from perdure.trainable.failure import with_cells
from perdure.trainable.messages import (
    Assignment,
    AttemptKey,
    Ended,
    Exit,
    FromWorker,
    Lost,
    Notice,
    Started,
    Stop,
    Verdict,
)

_LEAVE_S = 60.0
"""How long a process may take to leave after its attempt has ended (exit functions of user code run in it)."""
_ANSWER_S = 10.0
"""How long the template may take to tell of a death before the driver acts by itself, and does not know the cause.

It tells at once; but where ten processes want each core, it may have to wait for seconds itself.
"""
_CLOSE_S = 5.0
"""How long `close` waits for processes whose attempts have ended."""

_TOGETHER_S = 0.001
"""How long the news that an attempt has started may wait for what follows it: a short trial reports at once, and a turn
of the loop costs more than a message."""

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class LocalExecutor:
    """Runs attempts as processes of this machine.

    Args:
        cpus: CPUs to give out; None for those this process may use.
        gpus: GPUs to give out; None for all that are visible.
        resources: Amounts of any other resources, by name; they are counted, not enforced.
        start_method: "template" forks each process from one that has imported the trainable; "spawn" starts a fresh
            interpreter each time, for libraries that do not bear a fork.

    Raises:
        ConfigurationError: an amount is out of range.
    """

    def __init__(
        self,
        cpus: int | None = None,
        gpus: int | None = None,
        resources: Mapping[str, float] | None = None,
        start_method: Literal["template", "spawn"] = "template",
    ) -> None:
        if start_method not in ("template", "spawn"):
            raise ConfigurationError(f'LocalExecutor(start_method={start_method!r}): use "template" or "spawn".')
        for name, amount in {"cpus": cpus, "gpus": gpus, **(resources or {})}.items():
            if amount is not None and not (isinstance(amount, numbers.Real) and amount >= 0):
                raise ConfigurationError(f"LocalExecutor({name}={amount!r}): use a number of 0 or more.")
        if gpus is not None and gpus != int(gpus):
            raise ConfigurationError(f"LocalExecutor(gpus={gpus!r}): use a whole number; trials may ask for fractions.")
        self._spawn = start_method == "spawn"
        self._start_method = start_method
        self._cpus, self._gpus, self._extra = cpus, gpus, dict(resources or {})
        self._devices: tuple[str, ...] | None = None
        self._program: Program | None = None
        self._template: TemplateLink | None = None
        self._workers: dict[int, WorkerLink] = {}
        self._live: dict[AttemptKey, WorkerLink] = {}
        self._idle: collections.deque[WorkerLink] = collections.deque()
        self._deadlines: dict[WorkerLink, float] = {}
        self._events: list[ExecutorEvent] = []
        self._verdicts: dict[Verdict, bytes] = {}
        self._notice = ""
        self._serial = 0
        self._closed = True
        """Nothing of the system is held before `setup` and after `close`, so one that was not used needs no closing."""
        self._memory = OutOfMemoryWatch()
        self._selector: selectors.BaseSelector
        self._bell: socket.socket
        self._ringer: socket.socket

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle what it was made with, so that a restored experiment has the same resources."""
        return LocalExecutor, (self._cpus, self._gpus, self._extra, self._start_method)

    # --- what there is ----------------------------------------------------------------------------------------------

    def capacity(self) -> Resources:
        """CPUs, GPUs, bytes of memory and the user's own resources."""
        cpus = machine.cpu_count() if self._cpus is None else self._cpus
        memory = float(machine.memory_bytes())
        return {"CPU": float(cpus), "GPU": float(len(self.devices())), "memory": memory, **self._extra}

    def devices(self) -> Sequence[str]:
        """GPU ids, as CUDA_VISIBLE_DEVICES spells them."""
        if self._devices is None:
            found = machine.gpu_ids() if self._gpus != 0 else ()
            count = len(found) if self._gpus is None else int(self._gpus)
            more = (str(index) for index in range(len(found), count))
            self._devices = (*found[:count], *more)
        return self._devices

    # --- what is asked of it ----------------------------------------------------------------------------------------

    def setup(self, program: Program, *, turn: Callable[[], None]) -> None:
        """Start the template, without waiting for it to have imported anything.

        Raises:
            ConfigurationError: another experiment is using this executor.
        """
        if not self._closed:
            raise ConfigurationError("This LocalExecutor is running an experiment already: make one for each.")
        self._closed = False
        self._program = program
        self._selector = selectors.DefaultSelector()
        self._bell, self._ringer = socket.socketpair()
        for end in (self._bell, self._ringer):
            end.setblocking(False)
        self._selector.register(self._bell, _READ, self._hear_bell)
        try:
            self._launch_template()
        except BaseException:
            self.close()
            raise

    def start(self, assignment: Assignment) -> None:
        """Start an attempt; in an idle process that has the same devices, where there is one."""
        key = AttemptKey(assignment.trial, assignment.attempt)
        if key in self._live:
            raise InternalError(f"Attempt {key.attempt} of trial {key.trial} was started twice.")
        worker = self._reuse(assignment) or self._new_worker(assignment)
        self._live[key] = worker
        if self._notice:
            self._events.append((key, Notice(text=self._notice)))
            self._notice = ""
        self._send(worker, frame(assignment))

    def reply(self, key: AttemptKey, verdict: Verdict) -> None:
        """Answer the attempt's outstanding message. A no-op for an attempt that is over."""
        worker = self._live.get(key)
        if worker is None:
            return
        data = self._verdicts.get(verdict)
        if data is None:
            data = self._verdicts[verdict] = frame(verdict)
        self._send(worker, data)

    def stop(self, key: AttemptKey, *, grace_s: float) -> None:
        """Have the attempt end at its next report; kill it when `grace_s` is over."""
        worker = self._live.get(key)
        if worker is None or worker.ended is not None or worker.killed is not None:
            return
        worker.grace_s = grace_s
        self._send(worker, frame(Stop()))
        self._deadlines[worker] = time.monotonic() + grace_s

    def kill(self, key: AttemptKey) -> None:
        """End the attempt's process, and all that it started, now."""
        worker = self._live.get(key)
        if worker is not None:
            self._kill(worker, ErrorInfo(kind="WorkerDiedError", message="The trial's process was killed by perdure."))

    def poll(self, timeout: float) -> list[ExecutorEvent]:
        """Return what has happened since the last call, waiting at most `timeout` seconds for the first of it."""
        if not self._closed:
            self._turn(0 if self._events else timeout)
            if self._events and all(type(said) is Started for _, said in self._events):
                self._turn(_TOGETHER_S)
        events, self._events = self._events, []
        return events

    def wake(self) -> None:
        """Make a `poll` that is waiting return at once."""
        if self._closed:
            return
        with contextlib.suppress(OSError):  # full: it is ringing already; closed: nobody is waiting
            self._ringer.send(b"!")

    def close(self) -> None:
        """Let processes whose attempts have ended leave, kill all others, and leave none behind."""
        if self._closed:
            return
        self._let_leave()
        self._closed = True
        if self._template is not None:
            self._template.close()
            self._template = None
        for worker in self._workers.values():
            _kill_group(worker.pid)
            worker.close()
        for left in (self._workers, self._live, self._idle, self._deadlines, self._events):
            left.clear()
        self._selector.close()
        self._bell.close()
        self._ringer.close()

    # --- the loop ---------------------------------------------------------------------------------------------------

    def _turn(self, timeout: float) -> None:
        if self._deadlines:
            timeout = min(timeout, max(0.0, min(self._deadlines.values()) - time.monotonic()))
        ready = self._selector.select(timeout)
        if len(ready) > 1:  # the template first: what it says of a worker comes before what the worker says
            ready.sort(key=_template_first)
        for key, mask in ready:
            if type(key.data) is WorkerLink:
                self._serve(key.data, mask)
            else:
                key.data()
        if self._deadlines:
            self._heed_deadlines()

    def _serve(self, worker: WorkerLink, mask: int) -> None:
        if worker.closed:
            return
        if mask & _WRITE and worker.flush():
            self._selector.modify(worker.sock, _READ, worker)
        if mask & _READ:
            said: list[FromWorker] = []
            try:
                worker.read(said)
            except MalformedFrameError as error:
                self._take(worker, said)
                self._cut_off(worker, error)
                return
            self._take(worker, said)
            if worker.gone:
                self._hang_up(worker)

    def _take(self, worker: WorkerLink, said: list[FromWorker]) -> None:
        for message in said:
            if worker.key is None or worker.ended is not None:
                continue
            if type(message) is Ended:
                self._take_end(worker, message)
            else:
                self._events.append((worker.key, message))

    def _take_end(self, worker: WorkerLink, message: Ended) -> None:
        assert self._program is not None
        if message.error is not None:
            error = msgspec.structs.replace(message.error, traceback=with_cells(message.error.traceback))
            message = msgspec.structs.replace(message, error=error)
        if self._program.reuse and message.outcome in REUSABLE and worker.killed is None:
            self._deadlines.pop(worker, None)
            self._finish(worker, message)
            self._idle.append(worker)
        else:
            worker.ended = message
            if worker.killed is None:
                self._deadlines[worker] = time.monotonic() + _LEAVE_S

    def _finish(self, worker: WorkerLink, message: Ended | Lost) -> None:
        """Say that the attempt in hand is over; the last lines it printed come before."""
        assert worker.key is not None
        if worker.output is not None:
            worker.output.drain()
        self._events.append((worker.key, message))
        del self._live[worker.key]
        worker.key = None

    def _send(self, worker: WorkerLink, data: bytes) -> None:
        if not worker.send(data) and not worker.gone:
            self._selector.modify(worker.sock, _READ | _WRITE, worker)

    def _hear_bell(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._bell.recv(4096)

    # --- workers come and go ----------------------------------------------------------------------------------------

    def _reuse(self, assignment: Assignment) -> WorkerLink | None:
        """Return an idle worker for the attempt. Where none has its devices, one leaves to free what it holds."""
        wanted = (assignment.devices, assignment.hide_devices)
        for worker in self._idle:
            if worker.devices == wanted and not worker.gone:
                self._idle.remove(worker)
                worker.assign(assignment)
                return worker
        if self._idle:
            self._dismiss(self._idle.popleft())
        return None

    def _dismiss(self, worker: WorkerLink) -> None:
        self._send(worker, frame(Exit()))
        self._deadlines[worker] = time.monotonic() + _LEAVE_S

    def _new_worker(self, assignment: Assignment) -> WorkerLink:
        assert self._program is not None, "setup() comes before start()"
        self._serial += 1
        worker = WorkerLink(self._serial, assignment)
        if self._program.forward_output:
            self._forward(worker, self._program)
        self._workers[worker.serial] = worker
        self._selector.register(worker.sock, _READ, worker)
        if self._template is None:
            self._launch_template()
        assert self._template is not None
        self._template.start(worker.serial, worker.hand_over())
        return worker

    def _forward(self, worker: WorkerLink, program: Program) -> None:
        def tell(line: str) -> None:
            if program.on_output is not None:
                program.on_output(worker.assignment.trial, line)

        def read() -> None:
            if not pipe.read() and pipe.ended:
                self._forget(pipe.fd)

        worker.output = pipe = OutputPipe(tell)
        self._selector.register(pipe.fd, _READ, read)

    def _hang_up(self, worker: WorkerLink) -> None:
        """Its stream has ended: its death will be told in a moment, or it is made to die."""
        self._forget(worker.sock)
        if worker in self._idle:
            self._idle.remove(worker)
        until = time.monotonic() + _ANSWER_S
        self._deadlines[worker] = min(until, self._deadlines.get(worker, until))

    def _cut_off(self, worker: WorkerLink, error: MalformedFrameError) -> None:
        worker.gone = True
        self._forget(worker.sock)
        why = f"The trial's process said something that is no message, and was killed: {error}."
        self._kill(worker, ErrorInfo(kind="WorkerDiedError", message=why))

    def _kill(self, worker: WorkerLink, why: ErrorInfo) -> None:
        worker.killed = worker.killed or why
        template = self._template
        if template is None or (worker.pid == 0 and template.ready is None):
            self._settle(worker, None)  # it has no process; closing its socket takes the start back
        else:
            template.kill(worker.serial)
            self._deadlines[worker] = time.monotonic() + _ANSWER_S

    def _settle(self, worker: WorkerLink, exited: Exited | None, why: ErrorInfo | None = None) -> None:
        """The process is gone: say how its attempt ended, if it has one, and forget it."""
        if not worker.gone:
            said: list[FromWorker] = []
            worker.read_all(said)
            self._take(worker, said)
        if worker.key is not None:
            self._finish(worker, worker.ended or Lost(error=self._post_mortem(worker, exited, why)))
        if worker in self._idle:
            self._idle.remove(worker)
        self._forget(worker.sock)
        if worker.output is not None:
            self._forget(worker.output.fd)
        self._deadlines.pop(worker, None)
        del self._workers[worker.serial]
        worker.close()

    def _post_mortem(self, worker: WorkerLink, exited: Exited | None, why: ErrorInfo | None) -> ErrorInfo:
        code = exited.exit_code if exited is not None else None
        number = exited.signal if exited is not None else None
        told = worker.killed or why
        if told is not None:
            return msgspec.structs.replace(told, exit_code=code, signal=number)
        starved = number == signal.SIGKILL and self._memory.took_one()
        return death(code, number, out_of_memory=starved)

    def _forget(self, file: int | socket.socket) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(file)

    # --- deadlines --------------------------------------------------------------------------------------------------

    def _heed_deadlines(self) -> None:
        now = time.monotonic()
        for worker in [worker for worker, until in self._deadlines.items() if until <= now]:
            if worker.killed is not None or worker.gone:
                _kill_group(worker.pid)
                self._settle(worker, None)
            else:
                self._kill(worker, _too_slow(worker))

    # --- the template -----------------------------------------------------------------------------------------------

    def _launch_template(self) -> None:
        assert self._program is not None
        self._template = TemplateLink(self._program, spawn=self._spawn)
        self._selector.register(self._template.fileno(), _READ, self._hear_template)

    def _hear_template(self) -> None:
        assert self._template is not None
        said = self._template.read()
        if said is None:
            self._outlive_template(self._template)
            return
        for message in said:
            self._heed(message)
        self._template.flush()

    def _heed(self, message: FromTemplate) -> None:
        if isinstance(message, Ready):
            if message.unsafe:
                self._warn(message.unsafe)
            return
        worker = self._workers.get(message.serial)
        if worker is None:
            if isinstance(message, Forked) and self._template is not None:
                self._template.kill(message.serial)  # taken back while it was being made
            return
        if isinstance(message, Forked):
            worker.pid = message.pid
        elif isinstance(message, NotForked):
            self._settle(worker, None, message.error)
        else:
            self._settle(worker, message)

    def _warn(self, unsafe: str) -> None:
        self._spawn = True
        text = (
            f"Trials start in fresh interpreters, because {unsafe}, which does not survive a fork. Each start takes as "
            "long as the imports do; import what does this inside the trainable to have fast starts."
        )
        key = next(iter(self._live), None)
        if key is None:
            self._notice = text
        else:
            self._events.append((key, Notice(text=text)))

    def _outlive_template(self, template: TemplateLink) -> None:
        """Its workers have been killed by the kernel; kill what they had started, and say that they are lost."""
        self._forget(template.fileno())
        self._template = None
        for worker in self._workers.values():
            _kill_group(worker.pid)
        _wait_until_gone([worker.pid for worker in self._workers.values() if worker.pid])
        how = template.how_it_ended()
        template.close()
        why = (
            f"The trial's process is gone because the process that starts trials {how}"
            f"{'' if template.ready else ' while it loaded the trainable'}. The next start makes a new one."
        )
        for worker in list(self._workers.values()):
            self._settle(worker, None, ErrorInfo(kind="WorkerDiedError", message=why))

    def _let_leave(self) -> None:
        for worker in list(self._live.values()):
            if worker.ended is None:
                self._kill(worker, ErrorInfo(kind="WorkerDiedError", message="The driver closed."))
        while self._idle:
            self._dismiss(self._idle.popleft())
        until = time.monotonic() + _CLOSE_S
        while self._template is not None and self._workers and time.monotonic() < until:
            self._turn(until - time.monotonic())


def _template_first(ready: tuple[selectors.SelectorKey, int]) -> bool:
    return type(ready[0].data) is WorkerLink


def _too_slow(worker: WorkerLink) -> ErrorInfo:
    if worker.grace_s is None:
        return ErrorInfo(kind="WorkerTimeoutError", message="The trial's process did not leave when it was to.")
    what = f"The trial did not end within {worker.grace_s:g} s of being told to stop; its process was killed."
    return ErrorInfo(kind="WorkerTimeoutError", message=what)


def _wait_until_gone(pids: Sequence[int], timeout_s: float = 1.0) -> None:
    """Wait for killed processes that are nobody's children here; a large one takes the kernel a moment."""
    until = time.monotonic() + timeout_s
    while any(is_alive(pid) for pid in pids) and time.monotonic() < until:
        time.sleep(0.002)


def _kill_group(pid: int) -> None:
    if pid > 1:
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
