"""The wall of containers: its command line, which owners count as gone, and, with an engine, what holds inside it.

`tests/grading/test_samples.py` grades the samples of the threat model in containers; this file tests the wall itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from autograder.errors import GraderError
from autograder.grading.suite_server import Server
from autograder.sandbox import policy, seccomp
from autograder.sandbox.docker import engine
from autograder.sandbox.docker.engine import Container
from autograder.sandbox.docker.wall import DockerWall
from autograder.sandbox.inside import container
from autograder.sandbox.limits import Limits
from autograder.sandbox.outcome import Status
from autograder.sandbox.syscalls import SYSCALLS
from tests.support import ROOT
from tests.support.engine import containers, host_image, volumes
from tests.support.walls import PATIENCE, PROBES, STOP, Stop, keeper_of, run, submission, value, wait_until

MIB = 2**20
SMALL = Limits(wall_seconds=PATIENCE, memory_bytes=128 * MIB, tmp_bytes=16 * MIB, tmp_files=1000)


# ── the command line ─────────────────────────────────────────────────────────────────────────────────────


def words(**fields: Any) -> list[str]:
    return engine.arguments(Container("an-image", "pass", **fields), seccomp="profile.json", uid=4711)


def options(command: list[str], name: str) -> list[str]:
    return [command[at + 1] for at, word in enumerate(command) if word == name]


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("--network", ["none"]),
        ("--ipc", ["none"]),
        ("--cap-drop", ["ALL"]),
        ("--security-opt", ["no-new-privileges", "seccomp=profile.json"]),
        ("--user", ["4711:4711"]),
        ("--pids-limit", ["80"]),
        ("--cgroupns", ["private"]),
        ("--log-driver", ["none"]),
        ("--pull", ["never"]),
    ],
)
def test_a_container_is_closed(option: str, expected: list[str]) -> None:
    assert options(words(), option) == expected


def test_its_root_is_read_only_and_it_goes_when_it_ends() -> None:
    assert {"--read-only", "--rm", "--interactive"} <= set(words())


def test_it_may_use_what_its_limits_say_and_no_swap() -> None:
    command = words(limits=SMALL, cpus=1)
    assert (
        options(command, "--memory") == options(command, "--memory-swap") == [str(engine.memory_bytes(SMALL))]
    )
    assert options(command, "--cpus") == ["1"]
    for place in ("/tmp", "/dev/shm"):
        (mounted,) = [mount for mount in options(command, "--tmpfs") if mount.startswith(f"{place}:")]
        assert f"size={16 * MIB}" in mounted
        assert "nr_inodes=1000" in mounted


def test_the_image_s_own_path_is_kept_and_its_entry_point_is_not() -> None:
    command = words()
    assert not [variable for variable in options(command, "--env") if variable.startswith("PATH=")]
    assert options(command, "--entrypoint") == ["python3"]


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        ((), []),
        (("/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm"), ["--gpus", '"device=0"']),
        (("/dev/nvidia1", "/dev/nvidia3"), ["--gpus", '"device=1,3"']),
        (("/dev/dri/card0",), ["--device", "/dev/dri/card0"]),
    ],
)
def test_devices_of_nvidia_become_gpus(devices: tuple[str, ...], expected: list[str]) -> None:
    command = words(devices=devices)
    shown = [word for word in command if word in ("--gpus", "--device")]
    assert [word for name in shown[:1] for word in (name, *options(command, name))] == expected


def test_volumes_are_read_only() -> None:
    assert options(words(volumes=("/data/mnist:/data",)), "--mount") == [
        "type=bind,src=/data/mnist,dst=/data,readonly"
    ]


@pytest.mark.parametrize(
    "volume",
    ["/data", "data:/data", "/data:data", "/a,b:/c", '/a":/c', "/a:/b:/c", "/a:/tmp/x", "/a:/submission"],
)
def test_a_volume_that_is_not_host_inside_is_refused(volume: str) -> None:
    with pytest.raises(GraderError, match=r"HOST:INSIDE|another place"):
        words(volumes=(volume,))


def test_the_profile_refuses_what_the_filter_of_a_case_refuses() -> None:
    profile = seccomp.container_profile("x86_64")
    refused = {name for rule in profile["syscalls"] if not rule["args"] for name in rule["names"]}
    expected = {call.name for call in SYSCALLS if call.x86_64 is not None and not call.allowed_if}
    assert refused == expected - {"setsid"}, "pid 1 makes a session for each case"
    families = {rule["args"][0]["value"] for rule in profile["syscalls"] if rule["names"] == ["socket"]}
    assert families == set(range(64)) - {1, 2}
    assert profile["architectures"] == ["SCMP_ARCH_X86_64"]
    json.dumps(profile)


def test_the_wall_wants_an_image(tmp_path: Path) -> None:
    (tmp_path / "probes.py").write_text(PROBES)
    with pytest.raises(GraderError, match="--image NAME"):
        DockerWall(tmp_path / "probes.py", image="")


def test_what_one_image_compiled_is_not_given_to_another() -> None:
    def key(**provenance: object) -> str:
        server = SimpleNamespace(
            name="a1",
            provenance={"suite_digest": "x", **provenance},
            assignment=SimpleNamespace(build=None),
        )
        return Server.key(cast(Server, server), "build", {"src/a.cpp": b""})

    assert len({key(), key(image={"id": "sha256:1"}), key(image={"id": "sha256:2"})}) == 3
    assert key(image={"id": "sha256:1"}) == key(image={"id": "sha256:1"})


# ── what errors mean, and who is gone ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("printed", "remedy"),
    [
        ("dial unix /var/run/docker.sock: connect: permission denied", "usermod -aG docker"),
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock", "systemctl start docker"),
        ("Error: No such image: a_sandbox:v1", "docker load"),
        ("could not select device driver with capabilities: [[gpu]]", "container toolkit"),
        ('exec: "python3": executable file not found in $PATH', "course's Dockerfile"),
        ("ModuleNotFoundError: No module named 'torch'", "lacks this package"),
        ("", "autograder doctor"),
    ],
    ids=["permission", "no daemon", "no image", "no driver", "no python3", "no module", "nothing"],
)
def test_an_error_of_docker_comes_with_what_to_do(printed: str, remedy: str) -> None:
    assert remedy in engine.explain(printed)


def test_without_docker_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_a, **_k: None)
    with pytest.raises(GraderError, match=r"apt-get install docker\.io"):
        engine.server_version()


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


OWNERS: dict[str, tuple[Callable[[list[str]], list[str]], bool]] = {
    "this process": (lambda me: me, False),
    "a process with the same pid, started at another time": (lambda me: [*me[:4], "1"], True),
    "a process that ended": (lambda me: [*me[:3], str(ended_process()), me[4]], True),
    "a process of the previous boot": (lambda me: [me[0], "another-boot", *me[2:]], True),
    "a process of another machine": (lambda me: ["elsewhere", "another-boot", "1", "1", "1"], False),
    "a process in another container": (lambda me: [*me[:2], "1", "1", "1"], False),
    "nobody's": (lambda me: [""], False),
}


@pytest.mark.parametrize("name", OWNERS)
def test_only_owners_that_are_certainly_gone_count(name: str) -> None:
    change, gone = OWNERS[name]
    assert engine.is_gone("/".join(change(engine.owner().split("/")))) is gone


# ── emptying folders ─────────────────────────────────────────────────────────────────────────────────────


def test_a_folder_is_emptied_whatever_is_in_it(tmp_path: Path) -> None:
    target = tmp_path / "full"
    locked = target / "locked" / "inner"
    locked.mkdir(parents=True)
    (locked / "file").write_text("x")
    (target / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("x")
    os.mkfifo(target / "pipe")
    (target / os.fsdecode(b"\xff")).write_text("x")
    locked.chmod(0)
    (target / "locked").chmod(0)
    container.empty(str(target))
    assert [*target.iterdir()] == []
    assert (tmp_path / "kept" / "file").exists()


def test_a_tree_deeper_than_any_path_may_be_is_emptied(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("a", dir_fd=here)
        below = os.open("a", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    container.empty(str(tmp_path))
    assert [*tmp_path.iterdir()] == []


# ── inside a real one ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    with host_image() as name:
        yield name


@pytest.fixture
def new_wall(tmp_path: Path, image: str) -> Iterator[Callable[..., DockerWall]]:
    """Start walls whose containers have the limits SMALL, and end them."""
    (tmp_path / "probes.py").write_text(PROBES)
    with contextlib.ExitStack() as walls:

        def start(**settings: Any) -> DockerWall:
            settings = {"image": image, "volumes": volumes(), "limits": SMALL, "size": 1, **settings}
            return walls.enter_context(DockerWall(tmp_path / "probes.py", **settings))

        yield start


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory, image: str) -> Iterator[DockerWall]:
    probes = tmp_path_factory.mktemp("docker") / "probes.py"
    probes.write_text(PROBES)
    with DockerWall(probes, image=image, volumes=volumes(), limits=SMALL) as wall:
        yield wall


LABELLED = f'{{{{index .Config.Labels "{engine.LABEL}"}}}}'


@pytest.fixture
def others() -> set[str]:
    """The owners of containers before the test: the wall of this module, which makes new ones all the time."""
    return {engine.ask("inspect", "--format", LABELLED, name) for name in containers()}


def left(others: set[str]) -> list[str]:
    """Return the containers of other owners."""
    found = []
    for name in containers():
        with contextlib.suppress(GraderError):  # it was removed meanwhile
            owner = engine.ask("inspect", "--format", LABELLED, name)
            found += [name] if owner not in others else []
    return found


def pid_1_of(container: str) -> int:
    """Return the first process of a container, as its pid here."""
    return int(engine.ask("inspect", "--format", "{{.State.Pid}}", container))


LOOK_AROUND = """
import os, socket
def tried(call, *arguments):
    try:
        return call(*arguments)
    except OSError as error:
        return type(error).__name__
def go():
    return {
        "uid": os.getuid() >= 200_000,
        "processes": tried(os.listdir, "/proc"),
        "settings": tried(os.listdir, "/sys"),
        "grader": tried(os.listdir, "/grader"),
        "write": [tried(open, place, "w") for place in ("/x", "/usr/x", "/submission/src/code.py", "/dev/x")],
        "netlink": tried(socket.socket, 16, socket.SOCK_RAW),
        "vsock": tried(socket.socket, 40, socket.SOCK_STREAM),
        "connect": tried(socket.create_connection, ("192.0.2.1", 9), 2),
    }
"""


@pytest.mark.docker
def test_a_case_sees_nothing_of_the_host_and_changes_nothing(wall: DockerWall) -> None:
    seen = value(wall, LOOK_AROUND)
    assert seen["uid"]
    assert (seen["processes"], seen["settings"], seen["grader"]) == ("PermissionError",) * 3
    assert set(seen["write"]) <= {"PermissionError", "OSError"}
    assert (seen["netlink"], seen["vsock"], seen["connect"]) == ("OSError",) * 3


@pytest.mark.docker
def test_every_protection_but_the_identity_is_seen_to_be_in_force(wall: DockerWall) -> None:
    assert set(policy.PROTECTIONS) - set(wall.protections) == {"user-namespace", "case-pid-namespace"}


@pytest.mark.docker
def test_the_container_s_own_profile_holds_without_the_filter_of_the_case(new_wall: Any) -> None:
    code = """
        import ctypes, errno, socket
        libc = ctypes.CDLL(None, use_errno=True)
        def go():
            refused = []
            for family in (16, 17, 38, 40):  # netlink, packet, crypto, vsock
                try:
                    socket.socket(family, socket.SOCK_RAW).close()
                except OSError as error:
                    refused.append(errno.errorcode[error.errno])
            calls = [libc.syscall(number, 0) < 0 and errno.errorcode[ctypes.get_errno()] for number in (101, 321, 425)]
            return refused, calls
    """
    wall = new_wall(waive=("seccomp",))
    # ptrace, bpf, io_uring_setup; these are the numbers of x86_64, and are harmless calls elsewhere
    families, calls = value(wall, code)
    assert families == ["EAFNOSUPPORT"] * 4
    if platform.machine() == "x86_64":
        assert calls == ["EPERM", "EPERM", "ENOSYS"]


@pytest.mark.docker
def test_without_landlock_a_case_would_see_processes_and_change_its_submission(new_wall: Any) -> None:
    """So Landlock is what hides and protects them; a wall without it does not start unless that is waived."""
    wall = new_wall(waive=("landlock", "hidden-proc", "read-only-submission"))
    seen = value(wall, LOOK_AROUND)
    assert "1" in seen["processes"]
    assert seen["write"][2] not in ("PermissionError", "OSError")
    with pytest.raises(
        GraderError, match="not in force inside the sandbox: hidden-proc, read-only-submission"
    ):
        new_wall(waive=("landlock",)).ready()


@pytest.mark.docker
def test_a_report_can_name_the_image(wall: DockerWall, image: str) -> None:
    facts = wall.provenance["image"]
    assert facts["name"] == image
    assert facts["id"].startswith("sha256:")
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))


@pytest.mark.docker
def test_nothing_of_a_case_reaches_the_next_one(wall: DockerWall) -> None:
    code = """
        import contextlib, os
        def leave():
            os.makedirs("/tmp/a/b"); open("/tmp/a/b/c", "w").write("x"); open("/dev/shm/d", "w").write("x")
            os.chmod("/tmp/a/b", 0); os.chmod("/tmp/a", 0)
            if os.fork() == 0:
                with contextlib.suppress(OSError): os.setsid()
                while True: open("/tmp/e", "a").write("x")
        def look():
            return os.listdir("/tmp"), os.listdir("/dev/shm")
    """
    with wall.open(submission(code)) as session:
        assert session.run("call", ("leave",)).returned
        assert session.run("call", ("look",)).value == ([], [])


@pytest.mark.docker
def test_two_submissions_are_in_two_containers(wall: DockerWall) -> None:
    code = "import os, time\ndef go(): return os.getuid()"
    with wall.open(submission(code)) as first, wall.open(submission(code)) as second:
        assert first.run("call", ("go",)).value != second.run("call", ("go",)).value
        assert first.run("call", ("go",)).value == first.run("call", ("go",)).value


@pytest.mark.docker
@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("def go(): return len(bytearray(b'x') * (1 << 30))", Status.OUT_OF_MEMORY),
        ("def go():\n while True: pass", Status.TIMEOUT),
        ("import os\ndef go(): os.kill(os.getpid(), 9)", Status.CRASHED),
        ("import os\ndef go(): os._exit(0)", Status.EXITED),
    ],
    ids=["memory", "loop", "SIGKILL", "exit"],
)
def test_each_end_is_told_apart(wall: DockerWall, code: str, status: Status) -> None:
    assert run(wall, code, timeout=1.0 if status is Status.TIMEOUT else PATIENCE).status is status


@pytest.mark.docker
def test_what_the_kernel_kills_for_memory_is_not_taken_for_another_kill(new_wall: Any) -> None:
    """Without the memory watch, only the container's own limit remains."""
    wall = new_wall(waive=("memory-watchdog", "rlimits"))
    code = f"def go(): return len(bytearray(b'x') * {engine.memory_bytes(SMALL) + 64 * MIB})"
    assert run(wall, code).status is Status.OUT_OF_MEMORY
    assert run(wall, "import os\ndef go(): os.kill(os.getpid(), 9)").status is Status.CRASHED


@pytest.mark.docker
def test_a_container_that_vanishes_is_replaced_and_the_case_repeated(new_wall: Any, others: set[str]) -> None:
    stop = Stop()
    wall = new_wall()
    code = STOP + "def go(name):\n stop_at(name)\n return 1"
    with wall.open(submission(code)) as session, ThreadPoolExecutor() as pool:
        running = pool.submit(session.run, "call", ("go", stop.name))
        (first,) = stop.wait_for()
        (victim,) = [name for name in left(others) if pid_1_of(name) == keeper_of(first)]
        engine.remove([victim])
        stop.release(stop.wait_for(but=[first]))
        assert running.result().value == 1


@pytest.mark.docker
def test_a_wall_that_is_closed_leaves_no_container(new_wall: Any, others: set[str]) -> None:
    wall = new_wall()
    with wall.open(submission("def go(): return 1")) as session:
        assert session.run("call", ("go",)).value == 1
        wall.close()
        with pytest.raises(GraderError, match="closed"):
            session.run("call", ("go",))
    assert wait_until(lambda: left(others) == [])


USER = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from autograder.sandbox.docker.wall import DockerWall
from tests.support.walls import submission
wall = DockerWall(Path(sys.argv[2]), image=sys.argv[3], volumes=sys.argv[4:], size=1)
with wall:
    session = wall.open(submission("import time\\ndef go(): time.sleep(60)"))
    print("open", flush=True)
    session.run("call", ("go",), timeout=60.0)
"""


@pytest.mark.docker
def test_a_grader_that_is_killed_leaves_no_container(tmp_path: Path, image: str, others: set[str]) -> None:
    (tmp_path / "probes.py").write_text(PROBES)
    root = ROOT
    arguments = [str(root), str(tmp_path / "probes.py"), image, *volumes()]
    with subprocess.Popen([sys.executable, "-c", USER, *arguments], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        assert left(others) != []
        process.send_signal(signal.SIGKILL)
    assert wait_until(lambda: left(others) == [])


@pytest.mark.docker
def test_the_sweep_removes_what_nobody_owns_and_nothing_else(image: str) -> None:
    mine = engine.owner()
    host, boot, namespace, pid, _ = mine.split("/")
    made = [
        engine.ask("create", "--label", f"{engine.LABEL}={owner}", image, "true")
        for owner in (mine, f"{host}/{boot}/{namespace}/{pid}/1")
    ]
    try:
        assert engine.sweep() == made[1:]
        assert engine.owned(mine) == made[:1]
    finally:
        engine.remove(made)


@pytest.mark.docker
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image": "autograder-no-such-image:v0"}, "docker load"),
        ({"preload": ("no_such_module",)}, "lacks this package"),
        ({"volumes": ()}, "needs python3"),
    ],
    ids=["no image", "no module", "no python3"],
)
def test_a_wall_that_cannot_start_says_what_to_do(
    new_wall: Any, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(GraderError, match=message):
        new_wall(**settings).ready()


@pytest.mark.docker
def test_an_image_with_the_reference_in_it_is_refused(new_wall: Any, tmp_path: Path) -> None:
    (tmp_path / "packages" / "ref").mkdir(parents=True)
    (tmp_path / "packages" / "ref" / "__init__.py").write_text("")
    shown = [*volumes()[:-1], f"{tmp_path}/packages:/site-packages"]
    with pytest.raises(GraderError, match="holds the package 'ref'"):
        new_wall(volumes=shown).ready()


FIND = """
import glob, importlib, sys
def go(names):
    found, refused = [], []
    for name in names:
        try:
            importlib.import_module(name)
            found.append(name)
        except ModuleNotFoundError:
            pass
    sys.path += ["/site-packages", *glob.glob(f"{sys.base_prefix}/lib/python3*/*-packages")]
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            pass
        except OSError as error:
            refused.append((name, type(error).__name__))
    return found, refused
"""
NAMES = ["numpy", "tqdm", "sklearn", "torch", "pytest"]


@pytest.mark.docker
def test_only_allowed_packages_can_be_imported(new_wall: Any) -> None:
    wall = new_wall(preload=("numpy",), importable=("tqdm",), limits=replace(SMALL, memory_bytes=1024 * MIB))
    found, refused = value(wall, FIND, NAMES)
    assert found == ["numpy", "tqdm"]
    assert refused == [(name, "PermissionError") for name in ("sklearn", "torch", "pytest")]


@pytest.mark.docker
def test_python_and_the_compiler_start_although_folders_above_are_divided(new_wall: Any) -> None:
    code = """
        import subprocess, sys
        def go():
            python = subprocess.run([sys.executable, "-c", "import json, ctypes; print(42)"], capture_output=True)
            compiler = subprocess.run(
                ["c++", "-shared", "-x", "c++", "-", "-o", "/tmp/x.so"], input=b"#include <vector>", capture_output=True
            )
            return python.stdout, compiler.stderr
    """
    wall = new_wall(limits=replace(SMALL, memory_bytes=1024 * MIB))
    assert value(wall, code) == (b"42\n", b"")


@pytest.mark.docker
def test_without_landlock_a_package_is_off_the_path_but_can_be_read(new_wall: Any) -> None:
    """So Landlock is what keeps a case from other packages, and the folder of links what it finds missing."""
    limits = replace(SMALL, memory_bytes=1024 * MIB)
    wall = new_wall(waive=("landlock", "hidden-proc", "read-only-submission"), limits=limits)
    code = """
        import importlib, sys
        def go():
            try:
                import tqdm
            except ModuleNotFoundError:
                sys.path.append("/site-packages")
                return importlib.import_module("tqdm").__file__
    """
    assert value(wall, code) == "/site-packages/tqdm/__init__.py"
