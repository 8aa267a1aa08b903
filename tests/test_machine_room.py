"""Laws of the room that knows the operating system, on both of its paths.

Linux tests the portable path here as far as that goes: the libraries behind it do on Windows what they do here by other
calls of the system, and nothing here has run on Windows.

One file: its laws share the processes that hold a lock, and the patience with them.
"""

import errno
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from explorer.machine import core_limit, disk, idle_cores, locks, memory, processes
from explorer.machine.locks import guard, inherited, is_held, take
from explorer.machine.processes import Identity, identity, is_running
from explorer.runs import Run

ROOT = Path(__file__).parents[1]
PATIENCE_S = 60.0

# --- locks -----------------------------------------------------------------------------------------------------------

HOLDS = """
import os, subprocess, sys, time
from pathlib import Path
from explorer.machine.locks import guard, inherited, start, take
code, what, path, seconds = sys.argv[1], sys.argv[2], Path(sys.argv[3]), float(sys.argv[4])
if what == "inherit":
    time.sleep(seconds)
    lock = inherited(path, "TESTED_LOCK", path.with_name("turns"))
    print("held" if lock else "no", flush=True)
elif what == "guard":
    with guard(path):
        print("held", flush=True)
        time.sleep(1e6)
else:
    lock = take(path)
    print("held" if lock else "no", flush=True)
    if what == "pass on":
        command = [sys.executable, "-c", code, code, "inherit", str(path), str(seconds)]
        child = start(lock, command, "TESTED_LOCK", os.environ)
        lock.close()
        print(child.pid, flush=True)
    if what == "pass on and die":
        os.environ["TESTED_LOCK"] = lock.token
        command = [sys.executable, "-c", code, code, "inherit", str(path), str(seconds)]
        print(subprocess.Popen(command).pid, flush=True)
        os._exit(9)
time.sleep(1e6)
"""


@pytest.fixture
def started() -> Iterator[Callable[..., tuple["subprocess.Popen[str]", str]]]:
    """Starts a process of `HOLDS` and returns it with the first line that it says."""
    made: list[subprocess.Popen[str]] = []

    def start(what: str, path: Path, seconds: float = 0.0) -> tuple["subprocess.Popen[str]", str]:
        command = [sys.executable, "-c", HOLDS, HOLDS, what, str(path), str(seconds)]
        made.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
        assert made[-1].stdout
        return made[-1], made[-1].stdout.readline().strip()

    yield start
    for process in made:
        for each in processes.family(process.pid) if process.poll() is None else []:
            each.kill()
        with process:
            pass


def eventually(condition: Callable[[], Any]) -> Any:
    until = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


@pytest.mark.usefixtures("both_paths")
def test_a_lock_is_held_until_its_holder_is_killed(tmp_path: Path, started: Any):
    path = tmp_path / "lock"
    assert not is_held(path) and not is_held(tmp_path / "not" / "there")
    process, said = started("take", path)
    assert said == "held" and is_held(path)
    assert take(path) is None
    process.kill()
    process.wait()
    assert not is_held(path), "nobody tidies up after a killed process"
    lock = take(path)
    assert lock and is_held(path) and take(path) is None
    locks.write(path, b"a longer content")
    locks.write(path, b"content")
    assert path.read_bytes() == b"content"
    lock.close()
    assert not is_held(path) and path.read_bytes() == b"content"


@pytest.mark.usefixtures("both_paths")
def test_a_lock_that_was_passed_on_ends_with_the_process_that_has_it_now(tmp_path: Path, started: Any):
    path = tmp_path / "lock"
    process, said = started("pass on", path, 0.3)
    assert said == "held"
    child = psutil.Process(int(process.stdout.readline()))
    assert is_held(path)
    process.kill()  # before the new process knows of its lock
    process.wait()
    assert is_held(path) and take(path) is None
    assert process.stdout.readline() == "held\n" and is_held(path)
    child.kill()
    eventually(lambda: not is_held(path))


@pytest.mark.usefixtures("portable_path")
@pytest.mark.parametrize("taken_meanwhile", [False, True])
def test_a_process_whose_starter_was_killed_at_once_claims_its_lock_or_leaves_it(
    taken_meanwhile: bool, tmp_path: Path, started: Any
):
    path = tmp_path / "lock"
    process, _ = started("pass on and die", path, 0.5)
    child = psutil.Process(int(process.stdout.readline()))
    try:
        process.wait()
        assert not is_held(path), "nobody has said that the new process has it"
        lock = take(path) if taken_meanwhile else None
        assert process.stdout.readline() == ("no\n" if taken_meanwhile else "held\n")
        assert is_held(path)
        if lock:
            lock.close()
            assert not is_held(path)
    finally:
        child.kill()


@pytest.mark.usefixtures("portable_path")
def test_another_process_of_the_same_number_is_not_the_holder(tmp_path: Path):
    path = tmp_path / "lock"
    lock = take(path)
    assert isinstance(lock, locks._Holder) and is_held(path)
    me = identity()
    lock.name(Identity(me.pid, me.started - 3600))
    assert not is_held(path)
    (tmp_path / "lock-holder-half").write_text("{")  # a process was killed while it wrote
    again = take(path)
    assert again and not (tmp_path / "lock-holder-half").exists()
    for content in ("", "{", "[]", '{"pid": "x"}'):  # of no process
        (tmp_path / "lock-holder").write_text(content)
        assert not is_held(path)


def test_a_lock_is_let_go_after_the_clock_was_corrected_and_while_a_file_is_read(
    tmp_path: Path, portable_path: None, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "lock"
    unlink = Path.unlink
    refused: list[Path] = []

    def refuses(self: Path, missing_ok: bool = False) -> None:
        if refused.count(self) < 2:
            refused.append(self)
            raise PermissionError(13, "The process cannot access the file")
        unlink(self, missing_ok)

    (tmp_path / "lock-holder-half").touch()
    monkeypatch.setattr(Path, "unlink", refuses)
    lock = take(path)
    me = identity()
    monkeypatch.setattr(locks, "identity", lambda: Identity(me.pid, me.started + 1))
    assert lock
    lock.close()
    assert not is_held(path) and {each.name for each in tmp_path.iterdir()} == {"lock"}
    assert {each.name for each in refused} == {"lock-holder", "lock-holder-half"}


def test_a_process_that_ended_and_was_not_awaited_is_not_running():
    process = subprocess.Popen([sys.executable, "-c", ""])
    found = processes.identity_of(process)
    eventually(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
    assert not is_running(found) and processes.identity_of(process).pid == found.pid
    process.wait()
    assert not is_running(found) and is_running(identity())
    assert processes.identity_of(process) == Identity(process.pid, 0.0)


def test_a_lock_is_not_taken_by_one_that_was_given_none(tmp_path: Path, both_paths: None, monkeypatch: Any):
    path = tmp_path / "lock"
    for passed in ("", "3", "0", "x", "f" * 32, "-1", "1e9"):
        monkeypatch.setenv("TESTED_LOCK", passed)
        assert inherited(path, "TESTED_LOCK", tmp_path / "turns") is None
        assert "TESTED_LOCK" not in os.environ


@pytest.mark.usefixtures("both_paths")
def test_a_guard_lets_one_in_at_a_time_and_a_killed_one_is_out(tmp_path: Path, started: Any):
    path = tmp_path / "turns"
    process, said = started("guard", path)
    assert said == "held"
    entered = threading.Event()

    def enter() -> None:
        with guard(path):
            entered.set()

    thread = threading.Thread(target=enter)
    thread.start()
    assert not entered.wait(0.2)
    process.kill()
    assert entered.wait(PATIENCE_S)
    thread.join()


def test_a_full_disk_gives_no_lock_and_leaves_the_old_one(tmp_path: Path, portable_path: None, monkeypatch: Any):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "lock"
    lock = take(path)
    assert lock
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(disk, "replace", full)
        locks.start(lock, [sys.executable, "-c", "import time; time.sleep(1e6)"], "TESTED_LOCK", os.environ)
    assert is_held(path) and not psutil.Process().children()
    assert {each.name for each in tmp_path.iterdir()} == {"lock", "lock-holder"}
    lock.close()


# --- processes -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("both_paths")
def test_a_process_ends_with_the_one_that_started_it_and_lets_its_lock_go(tmp_path: Path):
    path = tmp_path / "lock"
    endless = "from explorer.machine.processes import end_with_parent as e; e(); print(1, flush=True); "
    endless += "import time; time.sleep(1e6)"
    code = "import os, sys; from pathlib import Path; from explorer.machine.locks import start, take; "
    code += "lock = take(Path(sys.argv[2])); command = [sys.executable, '-c', sys.argv[1]]; "
    code += "print(start(lock, command, 'TESTED_LOCK', os.environ, ends_with=True).pid, flush=True); "
    code += "import time; time.sleep(1e6)"
    command = [sys.executable, "-c", code, endless, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        said = {process.stdout.readline() for _ in range(2)}
        (child,) = (int(line) for line in said - {"1\n"})
        assert psutil.pid_exists(child) and is_held(path)
        process.kill()
    eventually(lambda: has_ended(child))
    assert not is_held(path)


def has_ended(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_group_that_may_not_be_killed_has_ended(monkeypatch: pytest.MonkeyPatch):
    """macOS says so of a group whose processes have all ended and were not awaited."""

    def refused(*_: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "killpg", refused)
    process = subprocess.Popen([sys.executable, "-S", "-c", ""], **processes.detached())
    eventually(lambda: has_ended(process.pid))
    processes.end_all(process)
    assert process.returncode == 0


@pytest.mark.usefixtures("portable_path")
def test_a_process_gives_way_by_the_library_too():
    code = "import os; from explorer import machine; machine.give_way(); print(os.nice(0))"
    environment = os.environ | {"EXPLORER_GIVE_WAY": ""}
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert int(result.stdout) == min(19, os.nice(0) + processes.NICE), result.stderr


def test_cores_and_memory_are_those_that_linux_tells(monkeypatch: pytest.MonkeyPatch):
    expected, free = core_limit(), memory.free_memory()
    monkeypatch.setenv("EXPLORER_PORTABLE", "1")
    assert core_limit() == expected
    assert 0.5 < memory.free_memory() / free < 2
    assert 0 <= idle_cores(0.1) <= (os.cpu_count() or 1) + 0.5


# --- limits ----------------------------------------------------------------------------------------------------------

LIMITS = memory.Limits(address_space=2**40, memory=2**27, written=2**20, cpu_seconds=1, wall_seconds=3.0)


@pytest.mark.usefixtures("portable_path")
@pytest.mark.parametrize(
    ("program", "kept"),
    [
        ("print(1)", True),
        ("a = b'1' * 2**29; import time; time.sleep(60)", False),
        ("while True: pass", False),
        ("import time; time.sleep(60)", False),
        ("import sys, time; sys.stdout.write('x' * 2**21); sys.stdout.flush(); time.sleep(60)", False),
        (  # as the interpreter of a virtual environment on Windows, which starts another one
            "import subprocess, sys; subprocess.run([sys.executable, '-c', "
            "\"a = b'1' * 2**29; import time; time.sleep(60)\"])",
            False,
        ),
    ],
    ids=["keeps", "memory", "processor", "clock", "written", "grandchild"],
)
def test_a_process_beyond_its_limits_is_killed_with_its_children(program: str, kept: bool, tmp_path: Path):
    with (tmp_path / "answer").open("w+b") as answer:
        process = subprocess.Popen([sys.executable, "-c", program], stdout=answer, **processes.detached())
        began = time.monotonic()
        assert LIMITS.wait(process, answer) == kept
        assert process.returncode is not None and time.monotonic() - began < 20
    assert not psutil.Process().children(recursive=True)


@pytest.mark.usefixtures("both_paths")
def test_a_child_of_a_process_that_kept_its_limits_ends_too(tmp_path: Path):
    """The process itself has ended then, and the portable path finds its children no more."""
    program = "import subprocess, sys, time; "
    program += "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1e6)']).pid); time.sleep(0.5)"
    with (tmp_path / "answer").open("w+b") as answer:
        process = subprocess.Popen([sys.executable, "-c", program], stdout=answer, **processes.detached())
        assert replace(LIMITS, wall_seconds=PATIENCE_S).wait(process, answer)
        answer.seek(0)
        child = int(answer.read())
    eventually(lambda: has_ended(child))


@pytest.mark.usefixtures("portable_path")
def test_a_run_that_takes_too_much_memory_is_ended_and_says_so(tmp_path: Path):
    """The limit here is 128 MB above what the process has; it takes a gigabyte, bit by bit."""
    code = """
    import sys, time
    from pathlib import Path
    from explorer.machine import memory
    from explorer.runs import Request, Run, execution
    run = Run(Path(sys.argv[1]))
    run.folder.mkdir()
    run.write_request(Request(({},), {"batch_size": 64}, {}))
    memory.free_memory = lambda: 2**27
    execution._limit_memory(run, "cpu", lambda *said, **rest: print(*said, flush=True))
    taken = [(b"%d" % i) * 2**24 for i in range(64)]
    time.sleep(60)
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "run")], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 1, ran.stderr
    assert ran.stdout == (
        "failed It ran out of memory with 64 images a step. Start it again with a batch size of 32 or less, or with a "
        "smaller network.\n"
    )


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_move_waits_for_a_reader_as_windows_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "new").write_text("new")
    (tmp_path / "old").write_text("old")
    move, refused = os.replace, [0]

    def refuses(source: Any, target: Any) -> None:
        refused[0] += 1
        if refused[0] <= 3:
            raise PermissionError(13, "The process cannot access the file")
        move(source, target)

    monkeypatch.setattr(os, "replace", refuses)
    disk.replace(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old").read_text() == "new" and refused == [4]
    monkeypatch.setattr(disk, "PAUSES_S", (0.0,))
    refused[0] = -10
    (tmp_path / "new").write_text("newer")
    with pytest.raises(PermissionError):
        disk.replace(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "new").exists()


def test_a_junction_of_windows_is_a_link():
    class Entry:
        def __init__(self, tag: int) -> None:
            self.st_reparse_tag = tag

        def is_symlink(self) -> bool:
            return False

        def stat(self, follow_symlinks: bool) -> "Entry":
            assert not follow_symlinks
            return self

    found: Any = [Entry(tag) for tag in (0xA0000003, 0, 0x9000001A)]  # the last: a file that OneDrive keeps elsewhere
    assert [disk.is_link(entry) for entry in found] == [True, False, False]


def test_no_network_gets_the_name_of_a_device_of_windows(tmp_path: Path):
    for name in ("con", "nul", "com1", "lpt9"):
        assert disk.is_device(name) and disk.is_device(name.upper())
        with pytest.raises(ValueError, match="is not the name of a trained network"):
            Run(tmp_path).network_file(name)
    assert not disk.is_device("resnet-20") and not disk.is_device("com") and not disk.is_device("console")
    assert Run(tmp_path).network_file("con-network").name == "con-network.safetensors"
