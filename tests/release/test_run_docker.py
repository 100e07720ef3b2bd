"""run_docker.sh with a fake engine: which engine it chooses, how it calls it, and what it prints when that fails.

The fake `docker`, `podman`, `sudo`, `id`, `uname` and `nvidia-smi` log how they were called and print what a test
has prepared. Only they and the few real tools that the script needs are on PATH.
"""

from __future__ import annotations

import hashlib
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.engine import small_image

SCRIPT = ROOT / "run_docker.sh"
TOOLS = ("bash", "basename", "cut", "dirname", "grep", "head", "sha256sum", "tail", "tr")
DENIED = "Got permission denied while trying to connect to the Docker daemon socket"
ENGINE = r"""#!/usr/bin/env bash
fake=FOLDER slash=/
{ printf '%s' "${0##*/}"; printf '|%s' "$@"; printf '\n'; } >> "$fake/log"
play() { [[ ! -f $fake/$1 ]] || { cat_ "$fake/$1"; return "$(head_ "$fake/$1.status")"; }; }
cat_() { while IFS= read -r line; do printf '%s\n' "$line"; done < "$1"; }
head_() { if [[ -f $1 ]]; then cat_ "$1"; else echo 0; fi; }
case $1 in
    --version) if [[ -f $fake/imitation || ${0##*/} == podman ]]; then echo podman; else echo Docker; fi ;;
    info) if [[ -n ${BY_SUDO:-} ]]; then play sudo-info; else play info; fi ;;
    image) [[ -f $fake/images/${3//"$slash"/_} ]] ;;
    load) : > "$fake/images/$(cat_ "$fake/loads")"; play load ;;
    pull) play pull && : > "$fake/images/${2//"$slash"/_}" ;;
    run) case " $* " in *" --entrypoint true "*) play gpu-run ;; *) play run ;; esac ;;
esac
"""


class Machine:
    """A machine with the programs, images and files that a test gives it."""

    def __init__(self, folder: Path) -> None:
        self.repository = folder / "my repo"
        self.repository.mkdir()
        shutil.copy(SCRIPT, self.repository)
        self.fake, self.bin = folder / "fake", folder / "bin"
        (self.fake / "images").mkdir(parents=True)
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool) or f"/bin/{tool}")
        self.program("id", "case $1 in -u) echo 1000 ;; -g) echo 1001 ;; *) echo student ;; esac")
        self.program("uname", "echo Linux")
        self.prints("loads", "a_env:v1")

    def program(self, name: str, body: str) -> None:
        path = self.bin / name
        path.write_text(f"#!{shutil.which('bash')}\n{body}\n")
        path.chmod(0o755)

    def engine(self, name: str = "docker") -> Machine:
        body = ENGINE.replace("FOLDER", f"'{self.fake}'").partition("\n")[2]
        self.program(name, body)
        return self

    def image(self, name: str = "a_env:v1") -> Machine:
        (self.fake / "images" / name).touch()
        return self

    def prints(self, command: str, text: str, status: int = 0) -> Machine:
        """Prepare what a command of the engine prints, and its exit status."""
        (self.fake / command).write_text(text + "\n")
        (self.fake / f"{command}.status").write_text(f"{status}\n")
        return self

    def archive(self, name: str = "a_env_v1.tar", checksum: str | None = "right") -> Machine:
        (self.repository / name).write_bytes(b"an image")
        if checksum == "right":
            checksum = hashlib.sha256(b"an image").hexdigest()
        if checksum is not None:
            (self.repository / f"{name}.sha256").write_text(f"{checksum}  {name}\n")
        return self

    def sudo(self) -> Machine:
        self.program("sudo", 'BY_SUDO=yes exec "$@"')
        return self

    def gpu(self) -> Machine:
        self.program("nvidia-smi", 'echo "GPU 0: a GPU"')
        return self

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [shutil.which("bash") or "bash", str(self.repository / "run_docker.sh"), *arguments],
            env={"PATH": str(self.bin), "HOME": "/nowhere", **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def calls(self, command: str = "run") -> list[list[str]]:
        """Return every call of the engine with this command, as lists of words that start with the engine's name."""
        log = self.fake / "log"
        lines = [line.split("|") for line in log.read_text().splitlines()] if log.exists() else []
        return [line for line in lines if line[1:2] == [command]]

    def words(self) -> list[str]:
        """Return the words of the only call of `run` that does not try the GPU."""
        (call,) = [call for call in self.calls() if "--entrypoint" not in call]
        return call


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def after(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


# ── what is run ──────────────────────────────────────────────────────────────────────────────────────────


def test_without_arguments_it_opens_a_shell(machine: Machine) -> None:
    assert machine.engine().image().run().returncode == 0
    assert machine.words()[-2:] == ["a_env:v1", "bash"]


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_needs_no_engine(machine: Machine, option: str) -> None:
    done = machine.run(option)
    assert done.returncode == 0
    assert done.stdout == "".join(
        f"{line.removeprefix('#').removeprefix(' ')}\n"
        for line in SCRIPT.read_text("utf-8").partition("\nset ")[0].splitlines()[1:]
    )
    assert "there is no need to change into it" in done.stdout
    assert not machine.calls()


def test_an_unknown_option_is_no_command(machine: Machine) -> None:
    done = machine.run("--gpu")
    assert done.returncode == 1
    assert "--gpu: there is no such option" in done.stderr
    assert "run_docker.sh --help" in done.stderr


def test_arguments_arrive_as_they_are(machine: Machine) -> None:
    machine.engine().image().run("pytest", "-k", "a and 'b c'", "", "*")
    assert machine.words()[-6:] == ["a_env:v1", "pytest", "-k", "a and 'b c'", "", "*"]


def test_the_repository_is_mounted_under_its_name(machine: Machine) -> None:
    machine.engine().image().run("true")
    source = machine.repository.resolve()
    assert after(machine.words(), "--mount") == f"type=bind,source={source},target=/workspace/my repo"
    assert after(machine.words(), "--workdir") == "/workspace/my repo"


def test_the_status_of_the_command_is_the_script_s(machine: Machine) -> None:
    assert machine.engine().image().prints("run", "", 7).run("false").returncode == 7


def test_no_terminal_is_asked_for_where_there_is_none(machine: Machine) -> None:
    machine.engine().image().run("true")
    assert "--tty" not in machine.words()
    assert "--interactive" in machine.words()


def test_on_a_terminal_the_command_gets_one(machine: Machine) -> None:
    machine.engine().image()
    parent, child = pty.openpty()
    subprocess.run(
        [shutil.which("bash") or "bash", str(machine.repository / "run_docker.sh")],
        env={"PATH": str(machine.bin)},
        stdin=child,
        stdout=child,
        stderr=child,
        timeout=60,
        check=True,
    )
    os.close(child)
    os.close(parent)
    assert "--tty" in machine.words()


# ── whose files ──────────────────────────────────────────────────────────────────────────────────────────


def test_files_belong_to_the_caller(machine: Machine) -> None:
    machine.engine().image().run("true")
    assert after(machine.words(), "--user") == "1000:1001"


def test_behind_sudo_files_belong_to_who_called_sudo(machine: Machine) -> None:
    machine.engine().image().run("true", SUDO_UID="1234", SUDO_GID="1235")
    assert after(machine.words(), "--user") == "1234:1235"


def test_in_a_rootless_docker_root_is_the_caller(machine: Machine) -> None:
    machine.engine().image().prints("info", " Security Options:\n  rootless").run("true")
    assert after(machine.words(), "--user") == "0:0"


def test_podman_keeps_the_caller_s_id(machine: Machine) -> None:
    machine.engine("podman").image().run("true")
    words = machine.words()
    assert words[0] == "podman"
    assert after(words, "--userns") == "keep-id"
    assert after(words, "--user") == "1000:1001"


def test_podman_of_root_needs_no_user_namespace(machine: Machine) -> None:
    machine.program("id", "echo 0")
    machine.engine("podman").image().run("true")
    assert "--userns" not in machine.words()


def test_where_selinux_is_enforcing_labels_are_left_alone(machine: Machine) -> None:
    machine.program("getenforce", "echo Enforcing")
    machine.engine().image().run("true")
    assert after(machine.words(), "--security-opt") == "label=disable"


# ── which engine ─────────────────────────────────────────────────────────────────────────────────────────


def test_docker_takes_precedence_over_podman(machine: Machine) -> None:
    machine.engine("docker").engine("podman").image().run("true")
    assert machine.words()[0] == "docker"


def test_the_engine_can_be_named(machine: Machine) -> None:
    machine.engine("docker").engine("podman").image().run("true", A_ENV_ENGINE="podman")
    assert machine.words()[0] == "podman"


def test_podman_under_the_name_of_docker_is_seen(machine: Machine) -> None:
    machine.engine().image().prints("imitation", "").run("true")
    assert after(machine.words(), "--userns") == "keep-id"


def test_who_may_not_talk_to_docker_does_so_by_sudo(machine: Machine) -> None:
    machine.engine().image().sudo().prints("info", DENIED, 1)
    result = machine.run("true")
    assert result.returncode == 0
    assert "trying with sudo" in result.stderr
    assert after(machine.words(), "--user") == "1000:1001"


# ── which image ──────────────────────────────────────────────────────────────────────────────────────────


def test_the_full_image_takes_precedence_over_the_light_one(machine: Machine) -> None:
    machine.engine().image("a_env_light:v1").image("a_env:v1").run("true")
    assert "a_env:v1" in machine.words()


def test_the_light_image_will_do(machine: Machine) -> None:
    machine.engine().image("a_env_light:v1").run("true")
    assert "a_env_light:v1" in machine.words()


@pytest.mark.parametrize("name", ["a_env", "a_env_light"])
def test_an_archive_beside_the_script_is_loaded_once(machine: Machine, name: str) -> None:
    machine.engine().archive(f"{name}_v1.tar").prints("loads", f"{name}:v1")
    assert machine.run("true").returncode == 0
    assert machine.run("true").returncode == 0
    assert len(machine.calls("load")) == 1
    assert f"{name}:v1" in machine.calls()[-1]


def test_an_image_can_be_named_and_is_pulled_if_it_is_not_here(machine: Machine) -> None:
    machine.engine().archive()
    assert machine.run("true", A_ENV_IMAGE="course/env:2").returncode == 0
    assert [call[2] for call in machine.calls("pull")] == ["course/env:2"]
    assert machine.calls("load") == []
    assert "course/env:2" in machine.words()


# ── the GPU ──────────────────────────────────────────────────────────────────────────────────────────────


def test_without_a_gpu_it_says_so(machine: Machine) -> None:
    result = machine.engine().image().run("true")
    assert "no NVIDIA GPU found: using the CPU" in result.stderr
    assert "--gpus" not in machine.words()


def test_a_gpu_that_works_is_used(machine: Machine) -> None:
    machine.engine().image().gpu().run("true")
    assert after(machine.words(), "--gpus") == "all"


def test_podman_takes_a_gpu_as_a_device(machine: Machine) -> None:
    machine.engine("podman").image().gpu().run("true")
    assert after(machine.words(), "--device") == "nvidia.com/gpu=all"


def test_a_gpu_that_the_engine_cannot_use_is_left_out_with_a_remedy(machine: Machine) -> None:
    machine.engine().image().gpu().prints("gpu-run", "could not select device driver", 125)
    result = machine.run("true")
    assert result.returncode == 0
    assert "could not select device driver" in result.stderr
    assert "NVIDIA Container Toolkit" in result.stderr
    assert "--gpus" not in machine.words()


def test_the_gpu_can_be_left_alone(machine: Machine) -> None:
    machine.engine().image().gpu().run("true", A_ENV_GPU="no")
    assert len(machine.calls()) == 1
    assert "--gpus" not in machine.words()


# ── failures ─────────────────────────────────────────────────────────────────────────────────────────────

FAILURES = {
    "no engine": (lambda m: m, {}, "neither docker nor podman", "apt-get install docker.io"),
    "no such engine": (
        lambda m: m.engine(),
        {"A_ENV_ENGINE": "nerdctl"},
        "no such command",
        "docker or podman",
    ),
    "stopped": (lambda m: m.engine().prints("info", "Cannot connect", 1), {}, "does not answer", "start"),
    "denied": (
        lambda m: m.engine().prints("info", DENIED, 1),
        {},
        "may not talk",
        "usermod -aG docker student",
    ),
    "denied, sudo too": (
        lambda m: m.engine().sudo().prints("info", DENIED, 1).prints("sudo-info", "no", 1),
        {},
        "may not talk",
        "usermod",
    ),
    "no image": (lambda m: m.engine(), {}, "image is not on this machine", "a_env_v1.tar"),
    "no checksum": (lambda m: m.engine().archive(checksum=None), {}, "cannot be checked", "download it"),
    "an empty checksum": (lambda m: m.engine().archive(checksum=""), {}, "has no checksum", "download it"),
    "wrong checksum": (
        lambda m: m.engine().archive(checksum="0" * 64),
        {},
        "not what it should be",
        "download it again",
    ),
    "not loaded": (
        lambda m: m.engine().archive().prints("load", "no space", 1),
        {},
        "could not be loaded",
        "df -h",
    ),
    "another image": (
        lambda m: m.engine().archive().prints("loads", "a_env:v0"),
        {},
        "does not hold the image a_env:v1",
        "version 1",
    ),
    "not pulled": (
        lambda m: m.engine().prints("pull", "no route", 1),
        {"A_ENV_IMAGE": "course/env"},
        "could not be pulled",
        "the network",
    ),
    "not started": (
        lambda m: m.engine().image().prints("run", "no", 125),
        {},
        "could not start",
        "read its message",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_says_what_happened_and_what_to_do_next(machine: Machine, name: str) -> None:
    prepare, environment, what, remedy = FAILURES[name]
    prepare(machine)
    result = machine.run("true", **environment)
    assert result.returncode == 1
    *_, happened, following = result.stderr.splitlines()
    assert what in happened
    assert following.startswith("run_docker.sh: next: ")
    assert remedy in following


def test_on_a_mac_the_remedy_is_docker_desktop(machine: Machine) -> None:
    machine.program("uname", "echo Darwin")
    result = machine.engine().prints("info", "Cannot connect", 1).run("true")
    assert "Docker Desktop" in result.stderr


@pytest.mark.parametrize(
    "form",
    [
        lambda line: line.upper().encode(),
        lambda line: line.encode("utf-8-sig"),
        lambda line: line.replace("\n", "\r\n").encode(),
        lambda line: line.split()[0].upper().encode("utf-8-sig"),
        lambda line: ("SHA256 (a_env_v1.tar) = " + line.split()[0]).encode(),
    ],
    ids=["capitals", "mark", "crlf", "bare", "bsd"],
)
def test_a_checksum_may_be_written_in_other_ways(machine: Machine, form: Callable[[str], bytes]) -> None:
    machine.engine().archive()
    file = machine.repository / "a_env_v1.tar.sha256"
    file.write_bytes(form(file.read_text()))
    assert machine.run("true").returncode == 0
    assert machine.calls("load")


def test_a_wrong_checksum_loads_nothing(machine: Machine) -> None:
    machine.engine().archive(checksum="0" * 64).run("true")
    assert machine.calls("load") == []


def test_a_folder_that_no_engine_can_mount_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a,b").mkdir()
    machine = Machine(tmp_path / "a,b")
    result = machine.engine().image().run("true")
    assert result.returncode == 1
    assert "rename it" in result.stderr
    assert machine.calls() == []


# ── the files themselves ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("linter", "file"), [("shellcheck", "run_docker.sh"), ("hadolint", "Dockerfile")])
def test_a_linter_has_nothing_to_say(linter: str, file: str) -> None:
    path = Path(sys.executable).with_name(linter)
    if not path.exists():
        pytest.skip(f"{linter} is not installed: pip install -e '.[dev]'")
    result = subprocess.run([path, ROOT / file], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.stdout + result.stderr == ""


def test_both_images_end_as_an_ordinary_user() -> None:
    stages = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]
    users = {stage.split()[2]: re.findall(r"^USER (\S+)$", stage, re.MULTILINE) for stage in stages}
    assert (users["sandbox"][-1], users["student"][-1]) == ("10001", "10001")


def test_nothing_newer_than_bash_3_2_is_used() -> None:
    text = SCRIPT.read_text()
    for word in (
        "mapfile",
        "readarray",
        "declare -A",
        "local -n",
        "coproc",
        "wait -n",
        "|&",
        "&>>",
        "^^}",
        ",,}",
    ):
        assert word not in text


def test_only_what_the_image_needs_goes_to_the_engine() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] != "#"]
    assert lines == ["*", "!requirements.txt", "!dist", "dist/*", "!dist/ref-*.whl"]


# ── with a real engine ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.docker
def test_a_saved_image_is_loaded_and_works_on_the_repository(tmp_path: Path) -> None:
    """The image has a version that only this test uses, so that no image of the course is touched."""
    version = f"9{os.getpid()}"
    image, repository = f"a_env:v{version}", tmp_path / "my repo"
    repository.mkdir()
    repository.chmod(0o777)
    script = repository / "run_docker.sh"
    script.write_text(SCRIPT.read_text().replace("\nVERSION=1\n", f"\nVERSION={version}\n"))
    small_image(image)
    try:
        archive = repository / f"a_env_v{version}.tar"
        subprocess.run(["docker", "save", "-o", archive, image], check=True)
        subprocess.run(["docker", "rmi", image], check=True, stdout=subprocess.DEVNULL)
        checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
        archive.with_name(f"{archive.name}.sha256").write_text(f"{checksum}  {archive.name}\n")
        program = 'echo "$PWD $(id -u) $1"; mkdir made; exit 3'
        result = subprocess.run(
            ["bash", script, "bash", "-c", program, "-", "an argument"],
            env={
                **os.environ,
                "SUDO_UID": "12345",
                "SUDO_GID": "12345",
                "A_ENV_GPU": "no",
                "A_ENV_ENGINE": "docker",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        subprocess.run(["docker", "rmi", "--force", image], check=False, capture_output=True)
    assert (result.stdout, result.returncode) == ("/workspace/my repo 12345 an argument\n", 3), result.stderr
    assert (repository / "made").stat().st_uid == 12345
