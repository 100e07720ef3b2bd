"""One attack, one test; and for each protection, proof that an attack succeeds without it.

An attack is student code. Each test names the protection that stops it. The tests of the second half start a wall with
one protection waived and show that the same attack then succeeds: so no protection is decoration, and no attack fails
for another reason.

Covered: the host's files, processes, network, sockets, keys, identity and devices; other submissions; the next case;
the keeper (pid 1 of the submission) and the channel; resources; replies; the checker's equality. Not covered: bugs of
the kernel, side channels of the hardware, a GPU's own memory.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import secrets
import socket
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autograder.errors import GraderError
from autograder.sandbox.bubblewrap import BwrapWall
from autograder.sandbox.inside.protocol import Opaque
from autograder.sandbox.outcome import Status
from autograder.sandbox.syscalls import SYSCALLS
from tests.support.walls import (
    PATIENCE,
    PATIENT,
    STOP,
    Stop,
    below,
    keeper_of,
    new_wall,
    run,
    status_of,
    submission,
    value,
)

pytestmark = pytest.mark.sandbox
MIB = 2**20


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BwrapWall]:
    with new_wall(tmp_path_factory.mktemp("wall")) as wall:
        yield wall


@pytest.fixture(scope="module")
def torch_wall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BwrapWall]:
    with new_wall(tmp_path_factory.mktemp("wall"), preload=("numpy", "torch")) as wall:
        yield wall


@pytest.fixture
def without(tmp_path: Path) -> Iterator[Any]:
    """Starts a wall that does without the named protections."""
    walls: list[BwrapWall] = []

    def start(*names: str, **options: Any) -> BwrapWall:
        walls.append(new_wall(tmp_path, waive=names, **options))
        walls[-1].start()
        return walls[-1]

    yield start
    for wall in walls:
        wall.close()


LIBC = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    result = libc.syscall(number, *arguments)
    return result if result >= 0 else errno.errorcode[ctypes.get_errno()]
"""

# ── the attacks ──────────────────────────────────────────────────────────────────────────────────────────

READ_FILE = """
def go(path):
    try:
        return open(path).read()
    except OSError as error:
        return type(error).__name__
"""

CONNECT = """
import socket
def go(address):
    try:
        with socket.socket(socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX) as s:
            s.settimeout(2)
            s.connect(address)
            return s.recv(100)
    except OSError as error:
        return type(error).__name__
"""

SEE_PROCESSES = """
import os
def go():
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
"""

DAEMON = """
import contextlib, os, time
def leave():
    read, write = os.pipe()
    if os.fork() == 0:
        with contextlib.suppress(OSError):
            os.setsid()
        pid = os.fork()
        if pid == 0:
            os.closerange(0, 64)
            for _ in range(6000): time.sleep(0.01)  # without the protection it outlives the test, but not forever
            os._exit(0)
        os.write(write, str(pid).encode())
        os._exit(0)
    return int(os.read(read, 100))
def seen(pid):
    try: os.kill(pid, 0)
    except ProcessLookupError: return False
    return True
"""

LEAVE_FILE = """
import os
def leave(path):
    open(path, "w").write("from the case before")
def seen(path):
    return os.path.exists(path)
"""

CHANGE_SUBMISSION = """
import os
def leave():
    try:
        os.rename("/submission/src/code.py", "/submission/src/old.py")
        open("/submission/src/code.py", "w").write("def seen(): return 'changed'")
    except OSError as error:
        return type(error).__name__
def seen():
    return "unchanged"
"""

KEY = os.getpid() + 1_000_000
SYSTEM_V = (
    LIBC
    + f"""
def leave():
    return call(29, {KEY}, 4096, 0o1600)  # shmget, create
def seen():
    found = call(29, {KEY}, 4096, 0)
    if isinstance(found, int): call(31, found, 0, None)  # shmctl, remove
    return found
"""
)

INHERITED = """
import os
def go():
    found = []
    for fd in range(4, 256):
        try: found.append(os.fstat(fd).st_mode)
        except OSError: pass
    return len(found)
"""

FORGE_OUTCOME = """
import os, stat, struct
def go():
    # Send what the template would send to the keeper, on every socket that was inherited.
    forged = struct.pack(">qddq", 0, 12345.0, 0.0, 1)
    for fd in range(4, 256):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode): os.write(fd, forged)
        except OSError: pass
    os._exit(9)
"""

NETWORK_ADMIN = """
import fcntl, socket, struct
def go():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = struct.pack("16sH14s", b"lo", 1, b"")  # IFF_UP
        try:
            fcntl.ioctl(s, 0x8914, request)
            return "up"
        except OSError as error:
            return type(error).__name__
"""

NETLINK = """
import socket
def go(family, kind):
    try:
        socket.socket(family, kind).close()
        return "opened"
    except OSError as error:
        return error.errno
"""

LIMIT_KEEPER = """
import resource, time
def go():
    try:
        resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0))
        return "limited"
    except PermissionError:
        return "PermissionError"
"""

SIGNAL_KEEPER = """
import os
def go(number):
    try:
        for _ in range(100): os.kill(1, number)
    except PermissionError: return "PermissionError"
    return "sent"
"""

MANY_FILES = """
def go():
    kept = []
    try:
        while len(kept) < 900: kept.append(open("/dev/null"))
    except OSError:
        pass
    return len(kept)
"""

SHARED_MEMORY = """
import os, time
def go():
    read, write = os.pipe()
    for _ in range(8):
        if os.fork() == 0:
            keep = bytearray(b"x") * (100 << 20)
            os.write(write, b"x")
            time.sleep(100)
    for _ in range(8): os.read(read, 1)
    time.sleep(1)
    return "not noticed"
"""

WHO = "import os\ndef go(): return os.getpid(), os.getppid(), os.uname().nodename"


# ── the host's files ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "path",
    [
        "/etc/shadow",
        "/etc/hostname",
        "/etc/machine-id",
        "/proc/1/environ",
        "/proc/self/mountinfo",
        "/sys/kernel/notes",
    ],
)
def test_private_files_of_the_host_are_not_there(wall: BwrapWall, path: str) -> None:
    assert value(wall, READ_FILE, path) == "FileNotFoundError"


def test_the_staff_repository_the_suite_and_the_home_directory_are_not_there(
    wall: BwrapWall, tmp_path: Path
) -> None:
    secret = tmp_path / "test_score.py"
    secret.write_text("expected = 42")
    for path in (secret, Path(__file__), Path.home() / ".bashrc", Path.cwd() / "pyproject.toml"):
        assert value(wall, READ_FILE, str(path)) == "FileNotFoundError"


def test_the_probes_and_the_package_inside_are_not_readable(wall: BwrapWall) -> None:
    code = "import os\ndef go(): return [os.listdir(path) for path in ('/grader', '/proc', '/submission')]"
    assert value(wall, code) == [[], [], ["src"]]


def test_passwd_names_nobody_of_the_host(wall: BwrapWall) -> None:
    assert value(wall, READ_FILE, "/etc/passwd").splitlines() == ["student:x:65532:65532::/tmp:/bin/sh"]


def test_only_the_cases_own_directories_are_writable(wall: BwrapWall) -> None:
    code = """
        import os
        def go():
            writable, seen = [], 0
            for folder, folders, _ in os.walk("/"):
                if folder.count("/") > 3: folders.clear()
                seen += 1
                try:
                    with open(os.path.join(folder, "planted"), "w"): pass
                except OSError: continue
                writable.append(folder)
            return sorted(writable), seen > 100
    """
    assert value(wall, code, timeout=60) == (["/dev/shm", "/tmp"], True)


def test_the_environment_says_nothing_of_the_host(wall: BwrapWall, monkeypatch: pytest.MonkeyPatch) -> None:
    names = value(wall, "import os\ndef go(): return sorted(os.environ)")
    assert set(names) <= {
        *(
            "CUDA_VISIBLE_DEVICES",
            "HOME",
            "LANG",
            "LC_CTYPE",
            "LOGNAME",
            "MKL_NUM_THREADS",
            "OMP_NUM_THREADS",
            "OPENBLAS_NUM_THREADS",
        ),
        *("PATH", "PWD", "PYTHONHASHSEED", "PYTORCH_NVML_BASED_CUDA_CHECK", "TZ", "USER"),
    }


def test_memory_holds_nothing_of_the_trusted_side(wall: BwrapWall) -> None:
    code = """
        import gc, sys
        def go():
            ours = ("autograder", "hidden", "pytest", "tests")
            modules = [name for name in sys.modules if name.startswith(ours)]
            frame, files = sys._getframe(), set()
            while frame:
                files.add(frame.f_code.co_filename)
                frame = frame.f_back
            return sorted(modules), sorted(files)
    """
    modules, files = value(wall, code)
    assert set(modules) == {
        "autograder",
        "autograder.sandbox",
        *(
            f"autograder.sandbox.inside{name}"
            for name in (
                "",
                ".case",
                ".clock",
                ".fork_server",
                ".imports",
                ".kernel",
                ".processes",
                ".protocol",
                ".rehearsal",
                ".reply",
                ".submission",
                ".template",
            )
        ),
    }
    assert all(name.startswith(("/grader/", "/submission/", "<")) for name in files)


@pytest.mark.parametrize("name", ["torch", "numpy", "json", "probes", "conftest", "sitecustomize", "code"])
def test_a_file_in_src_shadows_no_module(wall: BwrapWall, name: str) -> None:
    files = submission(
        f"def go():\n try:\n  import {name}\n except ImportError: return None\n return {name}.__file__",
        **{f"src/{name}.py": b"" for name in [name] if name != "code"},
    )
    with wall.open(files) as session:
        got = session.run("call", ("go",)).value
    assert got is None or not got.startswith("/submission")


# ── identity and privilege ───────────────────────────────────────────────────────────────────────────────


def test_student_code_is_nobody(wall: BwrapWall) -> None:
    code = "import os\ndef go(): return os.getresuid(), os.getresgid(), os.getgroups()"
    uids, gids, groups = value(wall, code)
    assert (uids, gids) == ((65532,) * 3, (65532,) * 3)
    assert set(groups) <= {65532, 65534}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_seen_from_the_host_student_code_is_not_root(wall: BwrapWall) -> None:
    stop = Stop()
    assert wall._process is not None
    with (
        wall.open(submission(STOP + "def go(name): stop_at(name)")) as session,
        ThreadPoolExecutor() as pool,
    ):
        running = pool.submit(session.run, "call", ("go", stop.name))
        (case,) = stop.wait_for()
        uids = [
            words[0]
            for pid in (wall._process.pid, *below(wall._process.pid))
            if (words := status_of(pid, "Uid"))
        ]
        assert status_of(case, "Uid") == ["65532"] * 4
        stop.release([case])
        assert running.result().returned
    assert "65532" in uids
    assert set(uids) <= {"0", "65532"}
    assert (
        uids.count("0") <= 2
    )  # bubblewrap itself, outside and inside, stays root; everything below it does not


def test_capabilities_are_gone(wall: BwrapWall) -> None:
    assert value(wall, NETWORK_ADMIN) == "PermissionError"


@pytest.mark.parametrize(
    ("name", "number", "arguments"),
    [
        ("unshare user", 272, (0x10000000,)),
        ("unshare mounts", 272, (0x00020000,)),
        ("unshare files", 272, (0x400,)),
        ("setns", 308, (0, 0)),
        ("mount", 165, (b"none", b"/tmp", b"tmpfs", 0, None)),
        ("umount", 166, (b"/tmp", 2)),
        ("umount proc", 166, (b"/proc", 2)),
        ("fsopen", 430, (b"tmpfs", 0)),
        ("open_tree", 428, (-100, b"/", 1)),
        ("pivot_root", 155, (b"/tmp", b"/tmp")),
        ("chroot", 161, (b"/tmp",)),
        ("ptrace keeper", 101, (16, 1, 0, 0)),
        ("ptrace traceme", 101, (0, 0, 0, 0)),
        ("process_vm_readv", 310, (1, None, 0, None, 0, 0)),
        ("kcmp", 312, (1, 1, 0, 0, 0)),
        ("keyctl", 250, (0, -3, 0)),
        ("add_key", 248, (b"user", b"x", b"y", 1, -2)),
        ("bpf", 321, (0, None, 0)),
        ("perf_event_open", 298, (None, 0, -1, -1, 0)),
        ("userfaultfd", 323, (0,)),
        ("io_uring_setup", 425, (8, None)),
        ("memfd_create", 319, (b"x", 0)),
        ("open_by_handle_at", 304, (0, None, 0)),
        ("clock_settime", 227, (0, None)),
        ("sethostname", 170, (b"x", 1)),
        ("reboot", 169, (0, 0, 0, 0)),
        ("personality", 135, (0x0040000,)),
        ("clone user namespace", 56, (0x10000000 | 17, 0, 0, 0, 0)),
        ("clone3", 435, (None, 0)),
        ("x32 getpid", 0x40000000 | 39, ()),
    ],
)
def test_dangerous_calls_are_refused(
    wall: BwrapWall, name: str, number: int, arguments: tuple[Any, ...]
) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("numbers are those of x86_64")
    assert value(wall, LIBC + "def go(*a): return call(*a)", number, *arguments) in ("EPERM", "ENOSYS")


LOAD_CODE = """
import ctypes, mmap, os
def go(code, way):
    try:
        if way == "memory":
            memory = mmap.mmap(-1, 65536, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        elif way == "change":
            libc = ctypes.CDLL(None, use_errno=True)
            memory = mmap.mmap(-1, 65536)
            address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
            if libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(65536), 5) < 0:
                raise OSError(ctypes.get_errno(), "mprotect")
        else:
            if way != "/submission/src/library.so":
                with open(way, "wb") as file: file.write(code)
                os.chmod(way, 0o700)
            return ctypes.CDLL(way).number()
    except OSError as error:
        return "refused"
    return "executable"
"""
WAYS = ("/tmp/code.so", "/dev/shm/code.so", "/submission/src/library.so", "memory", "change")


@pytest.fixture(scope="module")
def machine_code(wall: BwrapWall) -> bytes:
    """A library with a function `number`, which returns 42."""
    source = b'extern "C" int number() { return 42; }'
    with wall.open({"src/code.cpp": source}) as session:
        built = session.run("compile_it")
    if not built.returned:
        pytest.skip("there is no compiler")
    return bytes(built.value)


@pytest.mark.parametrize("way", WAYS)
def test_nothing_that_a_submission_brings_or_writes_is_machine_code(
    wall: BwrapWall, without: Any, machine_code: bytes, way: str
) -> None:
    if "no-new-code" not in wall.protections:
        pytest.skip("this kernel cannot forbid new machine code")
    for wall_now, results in ((wall, ("refused",)), (without("no-new-code"), (42, "executable"))):
        with wall_now.open(submission(LOAD_CODE, **{"src/library.so": machine_code})) as session:
            outcome = session.run("call", ("go", machine_code, way))
        assert outcome.value in results, outcome.describe()


def test_the_build_is_machine_code_only_in_the_cases_that_need_it(
    wall: BwrapWall, machine_code: bytes
) -> None:
    code = """
        import os
        def look(): return os.listdir("/build"), os.environ.get("AUTOGRADER_BUILD")
        def write():
            try: open("/build/other", "w")
            except OSError as error: return type(error).__name__
    """
    with wall.open(submission(code)) as session:
        session.set_build({"anywhere/code.so": machine_code})
        for _ in range(2):
            assert session.run("call", ("look",)).value == ([], None)
            assert session.run("call", ("look",), build=True).value == (["code.so"], "/build")
            assert session.run("load", ("/build/code.so",), build=True).value == 42
            assert session.run("call", ("write",), build=True).value in ("OSError", "PermissionError")


def test_every_call_that_is_refused_is_refused_by_the_kernel(wall: BwrapWall) -> None:
    machine = os.uname().machine
    refused = {call.number(machine): errno.errorcode[call.error] for call in SYSCALLS if not call.allowed_if}
    refused.pop(None, None)
    code = LIBC + "def go(numbers): return {n: call(n, -1, -1, -1, -1, -1, -1) for n in numbers}"
    assert value(wall, code, sorted(refused)) == refused


@pytest.mark.parametrize(
    ("family", "kind"),
    [(10, 1), (16, 3), (17, 3), (38, 5), (40, 1), (31, 3)],
    ids=["inet6", "netlink", "packet", "alg", "vsock", "bluetooth"],
)
def test_sockets_that_reach_the_kernel_or_the_hypervisor_are_refused(
    wall: BwrapWall, family: int, kind: int
) -> None:
    assert value(wall, NETLINK, family, kind) == 97  # EAFNOSUPPORT


# ── the network ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def server() -> Iterator[dict[str, Any]]:
    """A server on the host, on TCP and on an abstract socket, that gives its secret to whoever connects."""
    tcp = socket.create_server(("127.0.0.1", 0))
    abstract = socket.socket(socket.AF_UNIX)
    name = f"\0grader-test-{secrets.token_hex(8)}"
    abstract.bind(name)
    abstract.listen()

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.sendall(b"secret")
            connection.close()

    for listener in (tcp, abstract):
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
    yield {"tcp": tcp.getsockname(), "abstract": name}
    for listener in (tcp, abstract):
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.mark.parametrize("kind", ["tcp", "abstract"])
def test_servers_of_the_host_cannot_be_reached(wall: BwrapWall, server: dict[str, Any], kind: str) -> None:
    assert value(wall, CONNECT, server[kind]) in ("OSError", "ConnectionRefusedError")


def test_the_internet_cannot_be_reached(wall: BwrapWall) -> None:
    assert value(wall, CONNECT, ("192.0.2.1", 80)) == "OSError"


# ── other submissions ────────────────────────────────────────────────────────────────────────────────────


def test_two_submissions_share_no_process_socket_or_file(wall: BwrapWall) -> None:
    stop = Stop()
    listen = (
        STOP
        + """
import socket
def go(name):
    s = socket.socket(socket.AF_UNIX); s.bind("\\0meet"); s.listen()
    open("/tmp/meet", "w").close(); open("/dev/shm/meet", "w").close()
    stop_at(name)
    s.setblocking(False)
    try: s.accept(); return "met"
    except OSError: return "alone"
"""
    )
    look = (
        CONNECT
        + """
import os
def look():
    alive = []
    for pid in range(1, 2000):
        try: os.kill(pid, 0); alive.append(pid)
        except OSError: pass
    files = [os.path.exists(path) for path in ("/tmp/meet", "/dev/shm/meet")]
    return go("\\0meet"), files, [pid for pid in alive if pid not in (1, os.getpid())]
"""
    )
    with (
        wall.open(submission(listen)) as first,
        wall.open(submission(look)) as second,
        ThreadPoolExecutor() as pool,
    ):
        listening = pool.submit(first.run, "call", ("go", stop.name))
        listeners = stop.wait_for()
        seen = second.run("call", ("look",)).value
        stop.release(listeners)
        assert listening.result().value == "alone"
    assert seen == ("ConnectionRefusedError", [False, False], [])


FILL_WITH_DESCRIPTORS = """
import array, contextlib, os, socket, time
def go():
    fds = array.array("i", [0] * 253)
    pairs = [socket.socketpair() for _ in range(50)]
    for _ in range(40):
        if os.fork() == 0:
            while True:
                for pair in pairs:
                    with contextlib.suppress(OSError):
                        pair[0].sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)], socket.MSG_DONTWAIT)
    time.sleep(1)
    return "unhindered"
"""


def test_descriptors_that_nobody_receives_do_not_block_other_submissions(wall: BwrapWall) -> None:
    with wall.open(submission(FILL_WITH_DESCRIPTORS)) as attacker, ThreadPoolExecutor() as pool:
        attack = pool.submit(attacker.run, "call", ("go",))
        while not attack.done():
            assert value(wall, "def go(): return 1") == 1
        assert attack.result().value == "unhindered"


def test_the_grader_s_own_processes_may_have_many_more_descriptors_than_a_case(tmp_path: Path) -> None:
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, allowed[1]), allowed[1]))
    stop = Stop()
    try:
        with (
            new_wall(tmp_path) as wall,
            wall.open(submission(STOP + "def go(name): stop_at(name)")) as session,
            ThreadPoolExecutor() as pool,
        ):
            running = pool.submit(session.run, "call", ("go", stop.name))
            (case,) = stop.wait_for()
            limits = [_open_files(pid) for pid in (case, keeper_of(case))]
            stop.release([case])
            assert running.result().returned
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, allowed)
    assert limits == [PATIENT.open_files, allowed[1]]


def _open_files(pid: int) -> int:
    for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
        if line.startswith("Max open files"):
            return int(line.split()[3])
    raise LookupError("no limit of open files")


# ── the next case ────────────────────────────────────────────────────────────────────────────────────────


def _two_cases(wall: BwrapWall, code: str, *arguments: object) -> Any:
    with wall.open(submission(code)) as session:
        first = session.run("call", ("leave", *arguments))
        assert first.returned, first.describe()
        second = session.run("call", ("seen", *arguments))
        assert second.returned, second.describe()
        return second.value


def _process_survives(wall: BwrapWall) -> Any:
    with wall.open(submission(DAEMON)) as session:
        pid = session.run("call", ("leave",)).value
        return session.run("call", ("seen", pid)).value


def test_a_process_left_behind_is_gone(wall: BwrapWall) -> None:
    assert _process_survives(wall) is False


@pytest.mark.parametrize("path", ["/tmp/left", "/dev/shm/left", "/tmp/.hidden"])
def test_a_file_left_behind_is_gone(wall: BwrapWall, path: str) -> None:
    assert _two_cases(wall, LEAVE_FILE, path) is False


def test_a_case_cannot_change_the_submission(wall: BwrapWall) -> None:
    assert _two_cases(wall, CHANGE_SUBMISSION) == "unchanged"


def test_system_v_memory_cannot_be_made(wall: BwrapWall) -> None:
    assert _two_cases(wall, SYSTEM_V) == "EPERM"


COUNT_CASES = """
import os
def leave(): return
def seen(): return os.getpid(), os.fork() or os._exit(0)
"""


def test_process_ids_do_not_count_the_cases(wall: BwrapWall, without: Any) -> None:
    for wall_now, same in ((wall, True), (without("case-pid-namespace"), False)):
        with wall_now.open(submission(COUNT_CASES)) as session:
            ids = [session.run("call", ("seen",)).value for _ in range(3)]
        assert (ids == [(2, 3)] * 3) is same
        assert (len(set(ids)) == 1) is same


LOOK_AT_FILES = """
import os, time
def go():
    seen = [os.stat(path) for path in ("/tmp", "/dev/shm", "/submission", "/submission/src/code.py", "/build")]
    open("/tmp/new", "w").close()
    numbers = [os.stat("/tmp/new").st_ino, *(file.st_ino for file in seen)]
    return numbers, [file.st_mtime for file in seen], [time.time() - file.st_ctime < 10 for file in seen]
"""


def test_files_do_not_tell_how_long_ago_the_submission_was_opened(wall: BwrapWall) -> None:
    with wall.open(submission(LOOK_AT_FILES)) as session:
        seen = [session.run("call", ("go",)).value for _ in range(3)]
    assert seen[0] == seen[1] == seen[2]
    assert len(set(seen[0][1])) == 1


SEARCH_HEAP = """
import ctypes, gc, os
libc = ctypes.CDLL(None)
libc.memmem.restype = ctypes.c_void_p
pipe = os.pipe()
def invert(data): return bytes(byte ^ 0xFF for byte in data)
def readable(page): return libc.write(pipe[1], ctypes.c_void_p(page), ctypes.c_size_t(1)) == 1 and os.read(pipe[0], 1)
def count(inverted):
    # The heaps of Python and of C lie around objects that exist already.
    wanted, found = invert(inverted), 0
    areas = {id(thing) >> 20 for thing in gc.get_objects()}
    for page in sorted(page for area in areas for page in range(area << 20, area + 1 << 20, 4096)):
        if readable(page):
            found += bool(libc.memmem(ctypes.c_void_p(page), ctypes.c_size_t(4096), wanted, ctypes.c_size_t(16)))
    return found
"""


def test_the_memory_of_a_case_holds_no_input_and_no_reply_of_an_earlier_case(wall: BwrapWall) -> None:
    known, unknown = os.urandom(16), os.urandom(16)
    inverted = {mark: bytes(byte ^ 0xFF for byte in mark) for mark in (known, unknown)}
    with wall.open(submission(SEARCH_HEAP)) as session:
        for _ in range(3):
            assert session.run("call", ("invert", known)).value == inverted[known]
            assert session.run("call", ("invert", inverted[known])).value == known
        # What the search itself needs is found for both.
        counts = [session.run("call", ("count", inverted[mark])).value for mark in (known, unknown)]
    assert counts[0] == counts[1] > 0


def test_patched_libraries_are_whole_again(torch_wall: BwrapWall) -> None:
    code = """
        import torch
        def leave(): torch.relu = lambda x: x + 100
        def seen(): return float(torch.relu(torch.tensor(-1.0)))
    """
    assert _two_cases(torch_wall, code) == 0.0


# ── the keeper and the channel ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("signal_number", [2, 9, 10, 15, 17, 19, 34])
def test_signals_do_not_reach_the_keeper(wall: BwrapWall, without: Any, signal_number: int) -> None:
    for keeper in (wall, without("landlock")):
        with keeper.open(submission(SIGNAL_KEEPER)) as session:
            for _ in range(2):
                assert session.run("call", ("go", signal_number)).value in ("sent", "PermissionError")


def test_killing_everybody_kills_only_the_case(wall: BwrapWall) -> None:
    with wall.open(
        submission("import os\ndef go(): os.kill(-1, 9); return 1\ndef fine(): return 2")
    ) as session:
        session.run("call", ("go",))
        assert session.run("call", ("fine",)).value == 2


MAKE_SESSION = """
import os
def go():
    read, write = os.pipe()
    if os.fork() == 0:
        try:
            os.setsid()
            os.write(write, b"made")
        except OSError:
            os.write(write, b"refused")
        os._exit(0)
    return os.read(read, 10).decode()
"""


def test_a_case_has_one_session_and_so_one_share_of_the_processors(wall: BwrapWall, without: Any) -> None:
    assert value(wall, MAKE_SESSION) == "refused"
    assert value(without("seccomp"), MAKE_SESSION) == "made"


def test_limits_and_priority_of_the_keeper_cannot_be_changed(wall: BwrapWall) -> None:
    assert value(wall, LIMIT_KEEPER) == "PermissionError"
    code = """
        import os
        def attempt(action):
            try: action(); return "done"
            except PermissionError: return "refused"
        def go():
            return [attempt(a) for a in (
                lambda: os.setpriority(os.PRIO_PROCESS, 1, 19),
                lambda: os.setpriority(os.PRIO_USER, 0, 19),
                lambda: os.sched_setaffinity(1, {0}),
                lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0)),
                lambda: os.setpriority(os.PRIO_PROCESS, 0, 19),
            )]
    """
    assert value(wall, code) == ["refused"] * 4 + ["done"]


def test_nothing_is_inherited(wall: BwrapWall) -> None:
    assert value(wall, INHERITED) == 0


def test_an_outcome_cannot_be_forged(wall: BwrapWall) -> None:
    outcome = run(wall, FORGE_OUTCOME)
    assert (outcome.status, outcome.exit_code) == (Status.EXITED, 9)


# ── replies ──────────────────────────────────────────────────────────────────────────────────────────────


def _writes(data: str, then: str = "while True: pass") -> str:
    return f"import os, struct\ndef go():\n os.write(3, {data})\n {then}\n return 'real'"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (_writes("struct.pack('>I', 5) + b'hello'"), Status.BAD_REPLY),
        (_writes("struct.pack('>I', 0)"), Status.BAD_REPLY),
        (_writes("struct.pack('>I', 2**32 - 1)"), Status.REPLY_LIMIT),
        (_writes("struct.pack('>I', 100) + b'short'", "os._exit(0)"), Status.EXITED),
        (_writes("b'ab'", "os.close(3); os._exit(0)"), Status.EXITED),
        ("import os, time\ndef go(): os.close(3); time.sleep(100)", Status.TIMEOUT),
        ("import os\ndef go(): os.close(3); return 1", Status.EXITED),
        (_writes("struct.pack('>I', 7) + b'cos\\nsys'"), Status.BAD_REPLY),
    ],
    ids=["garbage", "empty", "huge", "short", "two bytes", "closed", "closed and returned", "pickle"],
)
def test_a_reply_of_the_students_own_is_only_bytes(wall: BwrapWall, code: str, status: Status) -> None:
    outcome = run(wall, code, timeout=1.0 if status is Status.TIMEOUT else PATIENCE)
    assert outcome.status is status, outcome.describe()


def test_a_forged_reply_is_worth_what_returning_it_is_worth(wall: BwrapWall) -> None:
    code = """
        import os, time
        from autograder.sandbox.inside import protocol
        def go():
            os.write(3, protocol.frame(protocol.encode(("returned", "first"))))
            os.write(3, protocol.frame(protocol.encode(("returned", "second"))))
            time.sleep(100)
    """
    outcome = run(wall, code)
    assert (
        outcome.returned
    )  # not TIMEOUT: the first frame ended the case, which would sleep longer than it may
    assert outcome.value == "first"


@pytest.mark.parametrize(
    "reply",
    [
        "('raised', 'exception', 5, 'm', None, None)",
        "('raised', 'no such kind', 't', 'm', None, None)",
        "('raised', 'exception', 't', 'm', 3, None)",
        "('raised', 'exception', 't', 'm', 'f', 'x')",
        "('raised',)",
        "('returned',)",
        "['returned', 1]",
        "None",
        "{'returned': 1}",
    ],
    ids=["type name", "kind", "file", "line", "raised alone", "returned alone", "list", "None", "dict"],
)
def test_a_forged_reply_of_no_known_form_is_refused(wall: BwrapWall, reply: str) -> None:
    code = f"""
        import os
        from autograder.sandbox.inside import protocol
        def go():
            os.write(3, protocol.frame(protocol.encode({reply})))
            os._exit(0)
    """
    assert run(wall, code).status is Status.BAD_REPLY


def test_an_object_equal_to_everything_arrives_as_a_description(torch_wall: BwrapWall) -> None:
    code = """
        import numpy, torch
        class Same:
            def __eq__(self, other): return True
            def __ne__(self, other): return False
            __hash__ = None
        class Float(Same, float): pass
        class List(Same, list): pass
        class Tensor(torch.Tensor):
            @classmethod
            def __torch_function__(cls, func, types, args=(), kwargs=None): return True
        def go():
            array = numpy.zeros(2).view(type("Array", (Same, numpy.ndarray), {}))
            return [Same(), Float(), List(), array, Tensor([1.0])]
    """
    assert {type(item) for item in value(torch_wall, code)} == {Opaque}


def test_the_clock_inside_does_not_decide_the_time(wall: BwrapWall) -> None:
    code = """
        import time
        time.perf_counter = time.monotonic = time.time = lambda: 0.0
        def go(): time.sleep(0.5)
    """
    assert run(wall, code).seconds > 0.4


# ── proof that each protection is needed ─────────────────────────────────────────────────────────────────


def test_without_network_namespace_the_host_is_reached(without: Any, server: dict[str, Any]) -> None:
    wall = without("network-namespace")
    assert value(wall, CONNECT, server["tcp"]) == b"secret"


def test_without_network_namespace_and_landlock_abstract_sockets_are_reached(
    without: Any, server: dict[str, Any]
) -> None:
    assert value(without("network-namespace", "landlock"), CONNECT, server["abstract"]) == b"secret"


def test_without_pid_namespace_processes_survive_their_case(without: Any) -> None:
    # seccomp refuses the session with which a process would leave the group that is killed.
    assert _process_survives(without("pid-namespace", "landlock", "seccomp")) is True


def test_without_uts_namespace_the_host_is_named(without: Any) -> None:
    assert value(without("uts-namespace"), WHO)[2] == os.uname().nodename


def test_without_private_tmp_files_reach_the_next_case(without: Any) -> None:
    assert _two_cases(without("private-tmp"), LEAVE_FILE, "/tmp/left") is True


def test_without_read_only_submission_a_case_changes_it_for_the_next(without: Any) -> None:
    assert _two_cases(without("read-only-submission", "landlock"), CHANGE_SUBMISSION) == "changed"


def test_without_hidden_proc_processes_of_others_are_seen(without: Any) -> None:
    wall = without("hidden-proc")
    with wall.open(submission("")) as other:
        other.run("nothing")
        assert len(value(wall, SEE_PROCESSES)) > 3


def test_without_closed_descriptors_the_channel_is_inherited(without: Any) -> None:
    assert value(without("closed-descriptors"), INHERITED) > 0


def test_without_closed_descriptors_an_outcome_is_forged(without: Any) -> None:
    assert run(without("closed-descriptors"), FORGE_OUTCOME).cpu_seconds == 12345.0


def test_without_dropped_capabilities_the_network_is_configured(without: Any) -> None:
    assert value(without("capabilities-dropped"), NETWORK_ADMIN) == "up"


@pytest.mark.parametrize("family", [10, 16])
def test_without_seccomp_other_sockets_are_opened(without: Any, family: int) -> None:
    assert value(without("seccomp"), NETLINK, family, 2) == "opened"


def test_without_seccomp_a_user_namespace_gives_every_capability(without: Any) -> None:
    assert value(without("seccomp"), LIBC + "def go(): return call(272, 0x10000000)") == 0


def test_without_seccomp_system_v_memory_outlives_its_case(without: Any) -> None:
    assert isinstance(_two_cases(without("seccomp"), SYSTEM_V), int)


def test_without_seccomp_the_keeper_is_limited(without: Any) -> None:
    with contextlib.suppress(GraderError):  # it was limited so soon that it could not send anything any more
        assert value(without("seccomp"), LIMIT_KEEPER) == "limited"


def test_without_our_no_new_privileges_bubblewraps_own_still_holds(without: Any) -> None:
    assert value(without("no-new-privileges"), LIBC + "def go(): return libc.prctl(39, 0, 0, 0, 0)") == 1


def test_without_rlimits_descriptors_are_not_bounded(without: Any, wall: BwrapWall) -> None:
    assert value(without("rlimits"), MANY_FILES) == 900
    assert value(wall, MANY_FILES) < 256


WRITE_TO_INHERITED = """
import os, time
def go():
    read, write = os.pipe()
    data = bytearray(b"x") * (60 << 20)
    for child in range(16):
        if os.fork() == 0:
            data[::4096] = bytes([child]) * (60 << 8)
            os.write(write, b"x")
            time.sleep(100)
    for _ in range(16): os.read(read, 1)
    time.sleep(1)
    return "not noticed"
"""
SHARE_INHERITED = WRITE_TO_INHERITED.replace("data[::4096] = ", "")


def test_memory_that_forks_share_counts_once_and_what_they_write_to_counts(wall: BwrapWall) -> None:
    limits = replace(PATIENT, memory_bytes=500 * MIB)
    assert run(wall, WRITE_TO_INHERITED, limits=limits).status is Status.OUT_OF_MEMORY
    assert value(wall, SHARE_INHERITED, limits=limits) == "not noticed"


def test_without_memory_watchdog_many_processes_take_what_they_want(without: Any) -> None:
    limits = replace(PATIENT, memory_bytes=300 * MIB)
    assert value(without("memory-watchdog"), SHARED_MEMORY, limits=limits) == "not noticed"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_without_uid_drop_files_of_root_are_read(without: Any) -> None:
    with tempfile.NamedTemporaryFile("w", dir="/var/tmp") as secret:  # readable by root only; /tmp is hidden
        secret.write("secret")
        secret.flush()
        shown = {"read_only": (secret.name,)}
        assert value(without("uid-drop", **shown), READ_FILE, secret.name) == "secret"
        assert value(without(**shown), READ_FILE, secret.name) == "PermissionError"


def test_without_landlock_nothing_else_stops_a_write_once_the_mount_is_writable(
    without: Any, wall: BwrapWall
) -> None:
    if "landlock" not in wall.protections:
        pytest.skip("this kernel has no Landlock")
    assert _two_cases(without("read-only-submission"), CHANGE_SUBMISSION) == "unchanged"
    assert _two_cases(without("read-only-submission", "landlock"), CHANGE_SUBMISSION) == "changed"


def test_without_ipc_namespace_and_seccomp_two_submissions_share_memory(without: Any) -> None:
    wall = without("ipc-namespace", "seccomp")
    with wall.open(submission(SYSTEM_V)) as first, wall.open(submission(SYSTEM_V)) as second:
        assert isinstance(first.run("call", ("leave",)).value, int)
        assert isinstance(second.run("call", ("seen",)).value, int)
    wall = without("seccomp")
    with wall.open(submission(SYSTEM_V)) as first, wall.open(submission(SYSTEM_V)) as second:
        assert isinstance(first.run("call", ("leave",)).value, int)
        assert second.run("call", ("seen",)).value == "ENOENT"
