"""Builds the course's image from the Dockerfile, tries it, and saves it with a checksum; `run_docker.sh` loads it.

One Dockerfile makes two images. `a_env` is for students: it has the packages and the compiled reference. `a_sandbox` is
the same without the reference, for `autograder grade --sandbox docker`. With `light`, both are built on a small base
without CUDA and are called `a_env_light` and `a_sandbox_light`. The version is the one in `run_docker.sh`.
"""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from autograder.errors import GraderError

LIGHT_BASE = "python:3.11-slim"
SCRIPT = "run_docker.sh"
CHECK_REFERENCE = "import numpy, ref; print(ref.__name__)"
CHECK_NO_REFERENCE = "import importlib.util, sys; sys.exit(importlib.util.find_spec('ref') is not None)"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Names:
    """The names of the images of one version."""

    version: int
    light: bool

    @property
    def _suffix(self) -> str:
        return "_light" if self.light else ""

    @property
    def student(self) -> str:
        return f"a_env{self._suffix}:v{self.version}"

    @property
    def sandbox(self) -> str:
        return f"a_sandbox{self._suffix}:v{self.version}"

    @property
    def archive(self) -> str:
        return f"a_env{self._suffix}_v{self.version}.tar"


def version(folder: Path) -> int:
    """Return the version that `run_docker.sh` in `folder` looks for.

    Raises:
        GraderError: there is no such file, or it has no version.
    """
    try:
        text = (folder / SCRIPT).read_text("utf-8")
    except OSError as error:
        raise GraderError(f"{error}; build the image from the staff repository") from error
    found = re.search(r"^VERSION=([1-9][0-9]*)$", text, re.MULTILINE)
    if found is None:
        raise GraderError(f"{folder / SCRIPT} has no line VERSION=NUMBER; add one")
    return int(found[1])


def build_arguments(
    names: Names, stage: str, *, base: str | None, arguments: Sequence[str] = ()
) -> list[str]:
    """Return the arguments of `docker` that build one stage of the Dockerfile.

    Args:
        names: the names of the images.
        stage: `student` or `sandbox`.
        base: the base image. None: the base image in the Dockerfile, or LIGHT_BASE for a light image.
        arguments: further build arguments, NAME=VALUE.
    """
    base = base or (LIGHT_BASE if names.light else None)
    given = [*([f"BASE_IMAGE={base}"] if base else []), *arguments]
    tag = names.student if stage == "student" else names.sandbox
    options = [word for argument in given for word in ("--build-arg", argument)]
    return ["build", "--target", stage, "--tag", tag, *options, "."]


def build(folder: Path, names: Names, *, base: str | None, arguments: Sequence[str], say: Say) -> None:
    """Build both images in `folder`, the staff repository, and try whether each contains what it should.

    Raises:
        GraderError: there is no wheel of the reference, or Docker fails; the message says what to do.
    """
    if not [*(folder / "dist").glob("ref-*.whl")]:
        raise GraderError(
            f"there is no wheel of the reference in {folder / 'dist'}; run: autograder release ref"
        )
    for stage in ("sandbox", "student"):
        docker(build_arguments(names, stage, base=base, arguments=arguments), folder)
    for image, program, meaning in (
        (names.student, CHECK_REFERENCE, "the reference cannot be imported"),
        (names.sandbox, CHECK_NO_REFERENCE, "it contains the reference, and student code would run in it"),
    ):
        try:
            docker(["run", "--rm", "--network", "none", image, "python3", "-c", program], folder)
        except GraderError as error:
            raise GraderError(
                f"{image}: {meaning}; build the wheel with this image's Python version"
            ) from error
        say(f"{image}: {size(image) / 1e6:.0f} MB")


def save(names: Names, folder: Path) -> Path:
    """Write the students' image and its checksum to `folder`; return the path of the archive.

    Raises:
        GraderError: Docker fails, or the disk is full.
    """
    folder = folder.resolve()  # docker runs in this folder, where a relative path would mean another one
    archive = folder / names.archive
    partial = archive.with_suffix(".partial")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        docker(["save", "--output", str(partial), names.student], folder)
        with partial.open("rb") as file:
            checksum = file_digest(file.fileno())
        Path(f"{archive}.sha256").write_text(f"{checksum}  {archive.name}\n", "utf-8")
        partial.chmod(0o644)
        partial.replace(archive)
    except OSError as error:
        raise GraderError(f"cannot write {archive}: {error}; run: df -h {folder}") from error
    finally:
        partial.unlink(missing_ok=True)
    return archive


def file_digest(descriptor: int) -> str:
    """Return the SHA-256 of all bytes that can be read from `descriptor`."""
    digest = hashlib.sha256()
    while chunk := os.read(descriptor, 1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def size(image: str) -> int:
    """Return the size in bytes of an image on this machine.

    Raises:
        GraderError: this machine has no such image.
    """
    done = subprocess.run(
        [_client(), "image", "inspect", "--format", "{{.Size}}", image],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise GraderError(f"{image}: {done.stderr.strip()}; build it first")
    return int(done.stdout)


def docker(arguments: Sequence[str], folder: Path) -> None:
    """Run Docker in `folder`. Everything that Docker prints goes to standard error at once.

    Raises:
        GraderError: Docker failed.
    """
    done = subprocess.run(
        [_client(), *arguments],
        cwd=folder,
        env={**os.environ, "DOCKER_BUILDKIT": "1"},
        stdin=subprocess.DEVNULL,
        stdout=2,
        check=False,
    )
    if done.returncode:
        raise GraderError(
            f"docker {arguments[0]} ended with {done.returncode}; its message is above, docs/docker.md has remedies"
        )


def _client() -> str:
    found = shutil.which("docker")
    if found is None:
        raise GraderError("docker is not installed; run: apt-get install docker.io")
    return found
