"""The course's image: names, build arguments, what is refused, and the archive with its checksum."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from autograder.cli.image import image as image_command
from autograder.errors import GraderError
from autograder.release import image
from tests.support import ROOT
from tests.support.engine import small_image

BASE = os.environ.get("COURSE_BASE_IMAGE", "")


def test_names_tell_the_version_and_whether_cuda_is_in_it() -> None:
    full, light = image.Names(3, light=False), image.Names(3, light=True)
    assert (full.student, full.sandbox, full.archive) == ("a_env:v3", "a_sandbox:v3", "a_env_v3.tar")
    assert (light.student, light.archive) == ("a_env_light:v3", "a_env_light_v3.tar")


def test_the_version_is_the_one_that_run_docker_looks_for(tmp_path: Path) -> None:
    assert image.version(ROOT) >= 1
    (tmp_path / "run_docker.sh").write_text("echo\n")
    with pytest.raises(GraderError, match="VERSION=NUMBER"):
        image.version(tmp_path)
    with pytest.raises(GraderError, match="staff repository"):
        image.version(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("light", "base", "expected"),
    [
        (False, None, []),
        (True, None, ["BASE_IMAGE=python:3.11-slim"]),
        (True, "course-base:os", ["BASE_IMAGE=course-base:os"]),
        (False, "course-base:os", ["BASE_IMAGE=course-base:os"]),
    ],
)
def test_a_light_image_has_another_base(light: bool, base: str | None, expected: list[str]) -> None:
    words = image.build_arguments(image.Names(1, light), "student", base=base, arguments=("A=b",))
    assert [words[at + 1] for at, word in enumerate(words) if word == "--build-arg"] == [*expected, "A=b"]


def test_each_stage_that_is_built_is_in_the_dockerfile() -> None:
    stages = [
        line.split()[-1] for line in (ROOT / "Dockerfile").read_text().splitlines() if line[:5] == "FROM "
    ]
    for stage in ("sandbox", "student"):
        assert stage in stages
        assert image.build_arguments(image.Names(1, light=False), stage, base=None)[1:3] == [
            "--target",
            stage,
        ]
    assert stages[-1] == "student"


def test_the_reference_comes_after_the_stage_that_grades() -> None:
    before, _, after = (ROOT / "Dockerfile").read_text().partition("\nFROM sandbox AS student\n")
    assert "dist" not in before
    assert "--find-links=/dist" in after


def test_without_a_wheel_nothing_is_built(tmp_path: Path) -> None:
    with pytest.raises(GraderError, match="autograder release ref"):
        image.build(tmp_path, image.Names(1, light=True), base=None, arguments=(), say=print)


def test_without_docker_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda *_a, **_k: None)
    with pytest.raises(GraderError, match=r"apt-get install docker\.io"):
        image.save(image.Names(1, light=True), tmp_path)


def test_the_archive_is_in_the_folder_that_out_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    client = tmp_path / "bin" / "docker"
    client.parent.mkdir()
    client.write_text('#!/bin/sh\necho "an image" > "$3"\n')  # docker save --output FILE IMAGE
    client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{client.parent}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    archive = image.save(image.Names(1, light=True), Path("dist"))
    assert archive == tmp_path / "dist" / "a_env_light_v1.tar"
    assert sorted(path.name for path in Path("dist").iterdir()) == [archive.name, f"{archive.name}.sha256"]
    checksum = (tmp_path / "dist" / f"{archive.name}.sha256").read_text().split()[0]
    assert checksum == hashlib.sha256(b"an image\n").hexdigest()


@pytest.mark.docker
def test_what_is_saved_has_the_checksum_that_lies_beside_it(tmp_path: Path) -> None:
    names = image.Names(10**6 + os.getpid(), light=True)
    small_image(names.student, ("true",))
    try:
        archive = image.save(names, tmp_path / "dist")
    finally:
        subprocess.run(["docker", "rmi", "--force", names.student], check=False, capture_output=True)
    checksum, name = (tmp_path / "dist" / f"{archive.name}.sha256").read_text().split()
    assert checksum == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert name == archive.name == names.archive
    assert sorted(path.name for path in archive.parent.iterdir()) == [archive.name, f"{archive.name}.sha256"]


@pytest.mark.docker
def test_an_image_that_is_not_there_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(GraderError, match="docker save ended with"):
        image.save(image.Names(10**6 + os.getpid(), light=False), tmp_path)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.docker
@pytest.mark.timeout(900)
@pytest.mark.skipif(not BASE, reason="COURSE_BASE_IMAGE names no base to build on, see docs/docker.md")
@pytest.mark.skipif(not [*(ROOT / "dist").glob("ref-*.whl")], reason="no wheel: autograder release ref")
def test_the_image_is_built_saved_loaded_and_compares(tmp_path: Path) -> None:
    """Everything together; this makes and removes the light images of the repository's own version."""
    names = image.Names(image.version(ROOT), light=True)
    arguments = ["--light", "--base", BASE, "--save", "--out", str(tmp_path / "dist")]
    result = CliRunner().invoke(image_command, [*arguments, "--config", str(ROOT / "autograder.toml")])
    assert result.exit_code == 0, result.output
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for part in ("src", "run_docker.sh", "test_with_ref.py"):
        subprocess.run(["cp", "-r", ROOT / part, checkout], check=True)
    for file in (tmp_path / "dist").iterdir():
        file.rename(checkout / file.name)
    subprocess.run(["docker", "rmi", "--force", names.student], check=True, capture_output=True)
    try:
        compared = subprocess.run(
            [
                "bash",
                checkout / "run_docker.sh",
                "pytest",
                "-q",
                "-p",
                "no:cacheprovider",
                "test_with_ref.py",
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        subprocess.run(
            ["docker", "rmi", "--force", names.student, names.sandbox], check=False, capture_output=True
        )
    sys.stdout.write(compared.stdout + compared.stderr)
    assert compared.returncode == 0
    assert " passed" in compared.stdout
    assert "skipped" not in compared.stdout
