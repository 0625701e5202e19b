"""What only a local executor can be asked: processes, and what is left of them."""

import contextlib
import gc
import os
import platform
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from perdure.core.events import Outcome
from perdure.errors import ConfigurationError
from perdure.executors.local import LocalExecutor
from perdure.testing.executor import Driver
from perdure.trainable.base import dump_trainable
from perdure.trainable.messages import Ended, Lost, Notice, Report, Started

METHODS = ["template", "spawn"]


@pytest.fixture(params=METHODS)
def executor(request):
    executor = LocalExecutor(cpus=4, start_method=request.param)
    yield executor
    executor.close()


@pytest.fixture
def template():
    executor = LocalExecutor(cpus=4)
    yield executor
    executor.close()


def driver_of(executor, directory, trainable, **program):
    dump_trainable(trainable, directory / "trainable.pkl")
    return Driver(executor, directory, **program)


def metrics_of(driver, key):
    return [report.metrics for report in driver.reports(key)]


def gone(pids):
    """Wait until none of the processes is left, far less long than they would live; return whether that happened."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if not any(_lives(pid) for pid in pids):
            return True
        time.sleep(0.01)
    return False


def _lives(pid):
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def reports_its_process(config):
    from perdure.trainable.session import report

    report({"pid": os.getpid(), "group": os.getpgid(0), "parent": os.getppid()})


def starts_a_program(config):
    """Report the ids of itself, of a program it started and of a process it forked; then hang."""
    from perdure.trainable.session import report

    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    fork = os.fork()
    if fork == 0:
        time.sleep(600)
    report({"pids": [os.getpid(), program.pid, fork]})
    time.sleep(600)


# --- death ------------------------------------------------------------------------------------------------------------


def test_each_attempt_leads_a_process_group_of_its_own(executor, tmp_path):
    driver = driver_of(executor, tmp_path, reports_its_process)
    keys = [driver.start(f"t{index}") for index in range(3)]
    for key in keys:
        driver.end(key)
    told = [metrics_of(driver, key)[0] for key in keys]
    assert all(one["pid"] == one["group"] for one in told)
    assert len({one["pid"] for one in told}) == 3
    assert len({one["parent"] for one in told}) == 1
    assert told[0]["parent"] != os.getpid()


def test_an_end_is_told_when_the_process_and_all_it_started_are_gone(executor, tmp_path):
    def trainable(config):
        from perdure.trainable.session import report

        program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        report({"pids": [os.getpid(), program.pid]})

    driver = driver_of(executor, tmp_path, trainable)
    key = driver.start()
    end = driver.end(key)
    assert end.outcome is Outcome.FINISHED
    pids = metrics_of(driver, key)[0]["pids"]
    assert not _lives(pids[0])
    assert gone(pids)


def test_kill_takes_what_user_code_started(executor, tmp_path):
    driver = driver_of(executor, tmp_path, starts_a_program)
    key = driver.start()
    driver.until(key, Report)
    executor.kill(key)
    end = driver.end(key)
    assert isinstance(end, Lost)
    assert end.error.signal == signal.SIGKILL
    assert "killed by perdure" in end.error.message
    assert gone(metrics_of(driver, key)[0]["pids"])


def test_close_leaves_no_process(executor, tmp_path):
    before = psutil.Process().children(recursive=True)
    driver = driver_of(executor, tmp_path, starts_a_program)
    keys = [driver.start(f"t{index}") for index in range(2)]
    for key in keys:
        driver.until(key, Report)
    pids = [pid for key in keys for pid in metrics_of(driver, key)[0]["pids"]]
    executor.close()
    assert gone(pids)
    assert gone([child.pid for child in psutil.Process().children(recursive=True) if child not in before])


def test_a_template_that_dies_takes_its_attempts_and_is_replaced(executor, tmp_path):
    before = psutil.Process().children()
    driver = driver_of(executor, tmp_path, starts_a_program)
    keys = [driver.start(f"t{index}") for index in range(2)]
    for key in keys:
        driver.until(key, Report)
    [template] = [child for child in psutil.Process().children() if child not in before]
    template.kill()
    for key in keys:
        end = driver.end(key)
        assert isinstance(end, Lost)
        assert "SIGKILL" in end.error.message
        assert gone(metrics_of(driver, key)[0]["pids"])
    again = driver.start("again")
    driver.until(again, Report)


DRIVER = """
import sys
from pathlib import Path
from perdure.executors.local import LocalExecutor
from perdure.testing.executor import Driver
from perdure.trainable.messages import Report

executor = LocalExecutor(start_method=sys.argv[2])
driver = Driver(executor, Path(sys.argv[1]))
keys = [driver.start(f"t{index}") for index in range(2)]
for key in keys:
    driver.until(key, Report)
print([pid for key in keys for pid in driver.reports(key)[0].metrics["pids"]], flush=True)
while True:
    driver.turn()
"""


def run_driver(directory, method, trainable):
    dump_trainable(trainable, directory / "trainable.pkl")
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(directory), method],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_driver_that_is_killed_leaves_no_process(tmp_path, method):
    with run_driver(tmp_path, method, starts_a_program) as process:
        pids = [int(word) for word in process.stdout.readline().strip("[]\n").split(",")]
        family = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        assert set(pids) <= set(family)
        process.kill()
        assert gone(family)


def test_a_driver_that_is_killed_while_the_trainable_loads_leaves_no_process(tmp_path):
    (tmp_path / "slow_module.py").write_text(
        "import time, pathlib\npathlib.Path(__file__).with_name('loading').touch()\ntime.sleep(600)\n"
    )
    (tmp_path / "trainable.pkl").write_bytes(b"cslow_module\nf\n.")
    source = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n" + DRIVER
    process = subprocess.Popen(
        [sys.executable, "-c", source, str(tmp_path), "template"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with process:
        while not (tmp_path / "loading").exists():
            time.sleep(0.01)
        family = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        assert len(family) == 1
        process.kill()
        assert gone(family)


def test_an_attempt_whose_trainable_is_still_loading_can_be_killed(template, tmp_path, monkeypatch):
    (tmp_path / "sleepy_module.py").write_text("import time\ntime.sleep(600)\n")
    (tmp_path / "trainable.pkl").write_bytes(b"csleepy_module\nf\n.")
    monkeypatch.syspath_prepend(str(tmp_path))
    driver = Driver(template, tmp_path)
    key = driver.start()
    template.kill(key)
    assert isinstance(driver.end(key), Lost)


def test_signals_to_every_process_do_not_end_a_trial(executor, tmp_path):
    def trainable(config):
        from perdure.trainable.session import report

        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
            os.kill(os.getppid(), number)
        program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        program.terminate()
        report({"program": program.wait()})

    driver = driver_of(executor, tmp_path, trainable)
    key = driver.start()
    assert driver.end(key).outcome is Outcome.FINISHED
    assert metrics_of(driver, key) == [{"program": -signal.SIGTERM}]


def test_processes_of_multiprocessing_can_be_terminated(executor, tmp_path):
    def trainable(config):
        import multiprocessing

        from perdure.trainable.session import report

        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
        process.start()
        process.terminate()
        process.join()
        report({"code": process.exitcode})

    driver = driver_of(executor, tmp_path, trainable)
    key = driver.start()
    driver.end(key)
    assert metrics_of(driver, key) == [{"code": -signal.SIGTERM}]


def test_bytes_that_are_no_message_end_the_attempt(executor, tmp_path):
    def trainable(config):
        import socket
        import stat

        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                if int(name) > 2 and stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                    socket.socket(fileno=int(name)).send(b"\x05\0\0\0hello")
        time.sleep(600)

    driver = driver_of(executor, tmp_path, trainable)
    end = driver.end(driver.start())
    assert isinstance(end, Lost)
    assert "no message" in end.error.message


def test_a_death_by_the_kernel_for_want_of_memory_is_named(template, tmp_path, monkeypatch):
    counter = tmp_path / "memory.events"
    counter.write_text("low 0\noom_kill 3\n")
    monkeypatch.setattr("perdure.executors.triage._counters", lambda: [(counter, "oom_kill")])
    executor = LocalExecutor(cpus=4)
    try:
        driver = Driver(executor, tmp_path)
        plain = driver.end(driver.start("plain", then="die", signal=9))
        counter.write_text("low 0\noom_kill 4\n")
        starved = driver.end(driver.start("starved", then="die", signal=9))
        later = driver.end(driver.start("later", then="die", signal=9))
    finally:
        executor.close()
    assert ["out of memory" in end.error.message for end in (plain, starved, later)] == [False, True, False]


# --- what a worker finds ----------------------------------------------------------------------------------------------


def test_devices_are_visible_before_the_trainable_is_loaded(tmp_path, monkeypatch):
    (tmp_path / "looks_at_once.py").write_text(
        textwrap.dedent("""
        import os
        SEEN = os.environ.get("CUDA_VISIBLE_DEVICES")
        def trainable(config):
            from perdure.trainable.session import report
            report({"at import": SEEN, "now": os.environ.get("CUDA_VISIBLE_DEVICES")})
        """)
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "trainable.pkl").write_bytes(b"clooks_at_once\ntrainable\n.")
    executor = LocalExecutor(cpus=4, gpus=4, start_method="spawn")
    try:
        driver = Driver(executor, tmp_path)
        some = driver.start("some", more={"devices": ("1", "3"), "hide_devices": True})
        none = driver.start("none", more={"hide_devices": True})
        driver.end(some)
        driver.end(none)
    finally:
        executor.close()
    assert metrics_of(driver, some) == [{"at import": "1,3", "now": "1,3"}]
    assert metrics_of(driver, none) == [{"at import": "", "now": ""}]


def huge_kb():
    """How much of this process's memory is in huge pages, in KB."""
    with open("/proc/self/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("AnonHugePages:"))


HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.skipif(
    not HUGE_PAGES.exists() or "[madvise]" not in HUGE_PAGES.read_text() or platform.libc_ver()[0] != "glibc",
    reason="HUGE PAGES NOT TESTED: this system gives them to all programs, or to none, or its malloc cannot ask",
)
@pytest.mark.parametrize(
    ("given", "huge"), [(None, True), ("glibc.malloc.check=0", True), ("glibc.malloc.hugetlb=0", False)]
)
def test_large_blocks_are_in_huge_pages_unless_told_otherwise(executor, tmp_path, monkeypatch, given, huge):
    """And programs that a trial starts find the environment as it was."""

    def trainable(config):
        from perdure.trainable.session import report

        before = huge_kb()
        block = bytes(range(256)) * (64 << 12)
        report({"huge": huge_kb() - before, "size": len(block), "tunables": os.environ.get("GLIBC_TUNABLES", "")})

    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if given is not None:
        monkeypatch.setenv("GLIBC_TUNABLES", given)
    driver = driver_of(executor, tmp_path, trainable)
    attempt = driver.start("trial")
    driver.end(attempt)
    (row,) = metrics_of(driver, attempt)
    assert row["tunables"] == (given or "")
    assert (row["huge"] > row["size"] // 1024 // 2) == huge


def test_an_attempt_finds_the_drivers_surroundings(executor, tmp_path, monkeypatch):
    def trainable(config):
        from perdure.trainable.session import report

        report(
            {
                "argv": sys.argv,
                "path": sys.path,
                "seen": os.environ["SEEN_BY_TRIALS"],
                "threads": os.environ.get("OMP_NUM_THREADS"),
            }
        )

    monkeypatch.setenv("SEEN_BY_TRIALS", "yes")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(sys, "argv", ["script.py", "--flag"])
    driver = driver_of(executor, tmp_path, trainable)
    key = driver.start(more={"resources": {"CPU": 3.0}, "chdir": False})
    driver.end(key)
    [told] = metrics_of(driver, key)
    assert told == {"argv": ["script.py", "--flag"], "path": sys.path, "seen": "yes", "threads": "3"}


def test_numpy_draws_differ_between_attempts(template, tmp_path):
    numpy = pytest.importorskip("numpy")

    def trainable(config):
        from perdure.trainable.session import report

        report({"draw": float(numpy.random.random())})

    driver = driver_of(template, tmp_path, trainable)
    keys = [driver.start(f"t{index}") for index in range(3)]
    for key in keys:
        driver.end(key)
    assert len({metrics_of(driver, key)[0]["draw"] for key in keys}) == 3


def test_exit_functions_of_user_code_run_and_those_of_the_template_do_not(tmp_path, monkeypatch):
    (tmp_path / "registers.py").write_text(
        textwrap.dedent(f"""
        import atexit, pathlib
        HERE = pathlib.Path({str(tmp_path)!r})
        atexit.register(lambda: (HERE / "at_import").touch())
        def trainable(config):
            atexit.register(lambda: (HERE / "in_trial").touch())
        """)
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "trainable.pkl").write_bytes(b"cregisters\ntrainable\n.")
    executor = LocalExecutor(cpus=4)
    driver = Driver(executor, tmp_path)
    driver.end(driver.start())
    executor.close()
    assert (tmp_path / "in_trial").exists()
    assert not (tmp_path / "at_import").exists()


def test_threads_left_by_an_import_are_told_of_and_survived(tmp_path, monkeypatch, template):
    (tmp_path / "threaded.py").write_text(
        textwrap.dedent("""
        import os, threading
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        def trainable(config):
            from perdure.trainable.session import report
            report({"threads": threading.active_count()})
        """)
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "trainable.pkl").write_bytes(b"cthreaded\ntrainable\n.")
    driver = Driver(template, tmp_path)
    keys = [driver.start(f"t{index}") for index in range(3)]
    for key in keys:
        assert driver.end(key).outcome is Outcome.FINISHED
        assert metrics_of(driver, key) == [{"threads": 2}]  # a fork would have lost one
    notices = [message for key in keys for message in driver.said[key] if isinstance(message, Notice)]
    assert len(notices) == 1
    assert "started 1 thread," in notices[0].text


def test_a_module_that_exits_when_imported_fails_the_attempt(executor, tmp_path, monkeypatch):
    (tmp_path / "exits.py").write_text("import sys\nsys.exit('no licence')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "trainable.pkl").write_bytes(b"cexits\ntrainable\n.")
    driver = Driver(executor, tmp_path)
    end = driver.end(driver.start())
    assert isinstance(end, Ended)
    assert end.outcome is Outcome.FAILED
    assert "no licence" in end.error.message + end.error.traceback


# --- output -----------------------------------------------------------------------------------------------------------


def test_printed_lines_come_to_the_driver_in_order_and_before_the_end(executor, tmp_path):
    def trainable(config):
        for index in range(5000):
            print(f"line {index}", "x" * 100)
        os.write(2, b"from a library\n")
        print("no end of line", end="")

    lines = []
    driver = driver_of(executor, tmp_path, trainable, forward_output=True, on_output=lambda *line: lines.append(line))
    driver.end(driver.start("chatty"))
    texts = [text for _, text in lines]
    assert {trial for trial, _ in lines} == {"chatty"}
    assert [text.split()[1] for text in texts if text.startswith("line ")] == [str(index) for index in range(5000)]
    assert "from a library" in texts
    assert texts[-1] == "no end of line"


def test_the_last_lines_of_a_worker_that_dies_are_not_lost(executor, tmp_path):
    def trainable(config):
        print("last words", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    lines = []
    driver = driver_of(executor, tmp_path, trainable, forward_output=True, on_output=lambda *line: lines.append(line))
    assert isinstance(driver.end(driver.start()), Lost)
    assert lines == [("one", "last words")]


def test_a_reused_worker_prints_for_the_trial_in_hand(executor, tmp_path):
    lines = []
    driver = driver_of(
        executor,
        tmp_path,
        lambda config: print("hello"),
        forward_output=True,
        on_output=lambda *line: lines.append(line),
        reuse=True,
    )
    for trial in ("one", "two"):
        driver.end(driver.start(trial))
    assert lines == [("one", "hello"), ("two", "hello")]


# --- reuse ------------------------------------------------------------------------------------------------------------


def pids_of(driver):
    return {key: message.pid for key, said in driver.said.items() for message in said if isinstance(message, Started)}


def test_a_worker_is_not_reused_with_other_devices(template, tmp_path):
    driver = Driver(template, tmp_path, reuse=True)
    first = driver.start("first", more={"devices": ("0",)})
    driver.end(first)
    second = driver.start("second", more={"devices": ("1",)})
    driver.end(second)
    third = driver.start("third", more={"devices": ("1",)})
    driver.end(third)
    pids = pids_of(driver)
    assert pids[first] != pids[second] == pids[third]
    assert gone([pids[first]])


def test_a_worker_whose_trial_raised_is_not_reused(template, tmp_path):
    driver = Driver(template, tmp_path, reuse=True)
    first = driver.start("first", then="raise")
    driver.end(first)
    second = driver.start("second")
    driver.end(second)
    pids = pids_of(driver)
    assert pids[first] != pids[second]


def test_an_idle_worker_that_dies_is_not_used(template, tmp_path):
    driver = Driver(template, tmp_path, reuse=True)
    first = driver.start("first")
    driver.end(first)
    os.kill(pids_of(driver)[first], signal.SIGKILL)
    assert gone([pids_of(driver)[first]])
    template.poll(1)
    second = driver.start("second")
    assert driver.end(second).outcome is Outcome.FINISHED


def test_a_stop_that_crosses_an_end_does_not_reach_the_next_attempt(template, tmp_path):
    driver = Driver(template, tmp_path, reuse=True)
    first = driver.start("first", count=0)
    while not pids_of(driver):
        driver.turn()
    template.stop(first, grace_s=60)
    driver.end(first)
    second = driver.start("second", count=3)
    assert driver.end(second).outcome is Outcome.FINISHED
    assert len(driver.reports(second)) == 3


# --- leaks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reuse", [False, True])
def test_file_descriptors_do_not_leak(template, tmp_path, reuse):
    def trainable(config):
        from perdure.trainable.session import report

        report({"open": len(os.listdir("/proc/self/fd"))})

    driver = driver_of(template, tmp_path, trainable, reuse=reuse, forward_output=True)
    gc.collect()  # what earlier tests left open does not close meanwhile
    counts = []
    for batch in range(20):
        keys = [driver.start(f"t{batch}-{index}") for index in range(10)]
        for key in keys:
            driver.end(key)
        counts.append(len(os.listdir("/proc/self/fd")))
    opened = {one["open"] for key in driver.said for one in metrics_of(driver, key)}
    assert counts[-1] == counts[0]
    assert len(opened) == 1  # no attempt inherits another's


# --- arguments --------------------------------------------------------------------------------------------------------


def test_resources_can_be_given():
    executor = LocalExecutor(cpus=3, gpus=2, resources={"licence": 4})
    try:
        capacity = executor.capacity()
        assert (capacity["CPU"], capacity["GPU"], capacity["licence"]) == (3, 2, 4)
        assert executor.devices() == ("0", "1")
    finally:
        executor.close()


def test_given_gpus_are_the_first_of_the_visible(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7,5,3")
    executor = LocalExecutor(gpus=2)
    try:
        assert executor.devices() == ("7", "5")
    finally:
        executor.close()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"start_method": "thread"}, "thread"),
        ({"cpus": -1}, "cpus"),
        ({"gpus": "all"}, "gpus"),
        ({"gpus": 1.5}, "gpus.*whole number"),
        ({"resources": {"x": -2}}, "x"),
    ],
)
def test_wrong_arguments_are_refused(arguments, named):
    with pytest.raises(ConfigurationError, match=named):
        LocalExecutor(**arguments)
