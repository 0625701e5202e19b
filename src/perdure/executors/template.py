"""The template: one process that imports the user's code once and forks a worker for each attempt.

It is a fresh interpreter, not a fork of the driver, so it has none of the driver's threads, locks and open files. It
does nothing but wait: for the driver's requests, for a worker's death, for the driver's death, upon which it kills
all workers with all that they started, and leaves.

Where it cannot be forked (importing left threads or a CUDA context behind), or when told to, it starts a fresh
interpreter for each worker instead; the rest is the same.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import selectors
import signal
import socket
import sys
from typing import NoReturn

import msgspec

from perdure.core.events import ErrorInfo
from perdure.executors import huge_pages, process
from perdure.executors.control import KILL, REQUEST, START, Exited, Forked, FromTemplate, NotForked, Ready, Settings
from perdure.executors.threads import one_thread_each
from perdure.storage import children
from perdure.storage.faults import fault_point
from perdure.storage.processes import node_ip
from perdure.trainable.channel import flush_output, frame


def main(text: str) -> NoReturn:
    """Be a template; `text` is its Settings as JSON."""
    settings = msgspec.json.decode(text, type=Settings)
    children.die_with(settings.parent)
    children.lead_group()
    children.ignore_interrupts()
    huge_pages.put_back(settings.tunables)
    with contextlib.suppress(RuntimeError):  # no stderr
        faulthandler.enable()  # a native crash in a trial then leaves its Python traceback on stderr
    sys.argv[:] = settings.argv
    template = Template(settings)
    template.get_ready()
    template.serve()


def spawned(text: str) -> NoReturn:
    """Be a worker in an interpreter of its own; `text` is its Settings as JSON."""
    settings = msgspec.json.decode(text, type=Settings)
    children.die_with(settings.parent)
    children.ignore_interrupts()
    process.send_output_to(settings.output)
    huge_pages.put_back(settings.tunables)
    with contextlib.suppress(RuntimeError):  # no stderr
        faulthandler.enable()
    sys.argv[:] = settings.argv
    os.set_inheritable(settings.fd, False)
    process.work(socket.socket(fileno=settings.fd), settings, process.loader(settings))


class Template:
    """The template's state: its sockets and its workers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._control = socket.socket(fileno=settings.fd)
        os.set_inheritable(settings.fd, False)
        self._load = process.loader(settings)
        self._spawn = settings.spawn
        self._serials: dict[int, int] = {}
        """Of living workers, by process id."""
        self._bell, self._ringer = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._patience: float | None = children.LOOK_S
        """Seconds between looks at whether the driver lives; None where its death is told."""

    def get_ready(self) -> None:
        """Load the trainable, and find out whether this process may be forked with it."""
        unsafe = ""
        if not self._spawn:
            with one_thread_each(), contextlib.suppress(BaseException):  # each attempt tells of what went wrong
                self._load()
            import perdure.trainable.worker  # noqa: F401 - so that workers need not

            node_ip()  # the same: it is looked up once a process

            unsafe = why_unsafe()
            self._spawn = bool(unsafe)
            gc.collect()
            gc.freeze()  # a collection in a worker would otherwise copy every page of what was imported
        children.ignore_interrupts()  # user code may have installed handlers of its own
        children.outlive_parent()  # from now on the workers' groups have to be killed first
        self._watch()
        self._say(Ready(unsafe=unsafe))

    def serve(self) -> NoReturn:
        """Serve until the driver is gone."""
        if children.orphaned():
            self._leave()
        while True:
            ready = self._selector.select(self._patience)
            if not ready and children.orphaned():
                self._leave()
            for key, _ in ready:
                if key.data == "control":
                    self._serve_request()
                elif key.data == "worker":
                    self._bell.recv(4096)
                    self._reap()
                else:
                    self._leave()

    def _watch(self) -> None:
        for end in (self._bell, self._ringer):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, _heard)
        signal.set_wakeup_fd(self._ringer.fileno(), warn_on_full_buffer=False)
        self._selector.register(self._control, selectors.EVENT_READ, "control")
        self._selector.register(self._bell, selectors.EVENT_READ, "worker")
        if hasattr(os, "pidfd_open"):  # the control socket tells too, unless a fork of the driver still holds it
            with contextlib.suppress(OSError):
                self._selector.register(os.pidfd_open(self._settings.parent), selectors.EVENT_READ, "driver")
                self._patience = None

    def _serve_request(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self._control, REQUEST.size, 2)
        except OSError:
            data, fds = b"", []
        if len(data) != REQUEST.size:  # written as one, so a part of it is the end as well
            self._leave()
        for fd in fds:
            os.set_inheritable(fd, False)
        what, serial = REQUEST.unpack(data)
        if what == START:
            self._start(serial, fds)
        elif what == KILL:
            self._kill(serial)

    def _start(self, serial: int, fds: list[int]) -> None:
        try:
            if _hung_up(fds[0]):
                self._say(NotForked(serial=serial))
                return
            fault_point("template.begin")
            pid = self._spawn_worker(fds) if self._spawn else self._fork_worker(fds)
            fault_point("template.forked")
        except OSError as error:
            told = ErrorInfo(kind=type(error).__name__, message=f"No process could be started for the trial: {error}")
            self._say(NotForked(serial=serial, error=told))
            return
        finally:
            for fd in fds:
                os.close(fd)
        self._serials[pid] = serial
        self._say(Forked(serial=serial, pid=pid))

    def _fork_worker(self, fds: list[int]) -> int:
        flush_output()
        template = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_worker(template, fds)
        with contextlib.suppress(OSError):  # both do it, so that neither can be too late
            os.setpgid(pid, pid)
        return pid

    def _become_worker(self, template: int, fds: list[int]) -> NoReturn:
        try:
            children.lead_group()
            children.die_with(template)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for key in list(self._selector.get_map().values()):
                os.close(key.fd)
            self._selector.close()
            self._ringer.close()
            process.send_output_to(fds[1] if len(fds) > 1 else None)
            process.work(socket.socket(fileno=fds[0]), self._settings, self._load)
        finally:
            os._exit(1)

    def _spawn_worker(self, fds: list[int]) -> int:
        settings = msgspec.structs.replace(
            self._settings, parent=os.getpid(), fd=fds[0], output=fds[1] if len(fds) > 1 else None
        )
        text = msgspec.json.encode(settings).decode()
        return os.posix_spawn(
            sys.executable,
            children.command("perdure.executors.template:spawned", text, path=self._settings.path),
            huge_pages.asked_for(os.environ),
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, fd) for fd in fds],  # onto itself: it survives the exec
            setpgroup=0,
        )

    def _reap(self) -> None:
        for pid in list(self._serials):
            status = _end_of(pid)
            if status is not None:
                self._tell_end(pid, os.waitstatus_to_exitcode(status))

    def _tell_end(self, pid: int, code: int) -> None:
        serial = self._serials.pop(pid)
        fault_point("template.reaped")
        if code < 0:
            self._say(Exited(serial=serial, signal=-code))
        else:
            self._say(Exited(serial=serial, exit_code=code))

    def _kill(self, serial: int) -> None:
        for pid, mine in self._serials.items():
            if mine == serial:
                _kill_group(pid)

    def _say(self, message: FromTemplate) -> None:
        try:
            self._control.sendall(frame(message))
        except OSError:
            self._leave()

    def _leave(self) -> NoReturn:
        for pid in self._serials:
            _kill_group(pid)
        flush_output()
        os._exit(0)


def why_unsafe() -> str:
    """Return why this process must not be forked, or ""."""
    try:
        threads = len(os.listdir("/proc/self/task"))
        files = [_target(fd) for fd in os.listdir("/proc/self/fd")]
    except OSError:  # no /proc: what Python knows of is all that can be known
        import threading

        threads, files = threading.active_count(), []
    if "/dev/nvidia-uvm" in files:
        return "importing the trainable initialised CUDA"
    if threads > 1:
        return f"importing the trainable started {threads - 1} thread{'s' if threads > 2 else ''}"
    return ""


def _target(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


def _heard(_number: int, _frame: object) -> None:
    """Be a handler, so that SIGCHLD reaches the wakeup file descriptor."""


def _hung_up(fd: int) -> bool:
    """Whether the driver has closed its end, which takes a start back."""
    sock = socket.socket(fileno=fd)
    try:
        return sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        sock.detach()


def _end_of(pid: int) -> int | None:
    """Return the wait status of a child that is dead, having killed the rest of its group; None if it lives."""
    if hasattr(os, "waitid"):  # seen dead but not yet reaped, its id cannot be anybody else's
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        _kill_group(pid)
        return os.waitpid(pid, 0)[1]
    found, status = os.waitpid(pid, os.WNOHANG)
    if not found:
        return None
    _kill_group(pid)
    return status


def _kill_group(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
