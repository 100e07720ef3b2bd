"""The registry of sandboxes: a kind that lacks a part is found, and whatever names a kind follows the registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click
import pytest
from click.testing import CliRunner

from autograder.cli import main
from autograder.config import SandboxConfig, load, parse
from autograder.errors import ConfigError, GraderError
from autograder.grading.grader import Grader
from autograder.report import Report, from_json
from autograder.sandbox import kinds
from autograder.sandbox.kinds import CHOICES, KINDS, Choice, KindName, WallSettings
from tests.support.course import PROBES, RIGHT, SCORE


def test_every_name_has_a_kind_and_every_kind_can_be_chosen() -> None:
    assert tuple(KINDS) == get_args(KindName)
    assert ("auto", *KINDS) == CHOICES
    assert [kind.name for kind in KINDS.values()] == [*KINDS]


def test_auto_is_a_kind_that_isolates() -> None:
    assert kinds.find("auto") is KINDS[kinds.STRONGEST]
    assert kinds.find("auto").isolated


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_makes_a_wall_from_the_same_settings(tmp_path: Path, name: KindName) -> None:
    (tmp_path / "probes.py").write_text(PROBES)
    wall = kinds.find(name).make(WallSettings(tmp_path / "probes.py", image="an-image"))
    for part in ("protections", "provenance", "start", "ready", "open", "close"):
        assert part in dir(wall)


def test_a_name_without_a_kind_is_refused() -> None:
    with pytest.raises(
        GraderError, match="there is no sandbox 'podman'; use one of auto, bwrap, docker, none"
    ):
        kinds.find("podman")


def commands(group: click.Command) -> Iterator[click.Command]:
    """Every command of the program; a command of `release` for an assignment stands for all of them."""
    yield group
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in [*group.list_commands(context), *(["a0"] if group.name == "release" else [])]:
            command = group.get_command(context, name)
            assert command is not None
            yield from commands(command)


def test_the_command_line_offers_what_is_registered() -> None:
    options = {
        command.name: option.type
        for command in commands(main)
        for option in command.params
        if option.name == "sandbox"
    }
    assert {"grade", "a0"} <= options.keys()  # a starter of each assignment has its command
    for kind in options.values():
        assert isinstance(kind, click.Choice)
        assert tuple(kind.choices) == CHOICES


@pytest.mark.parametrize("name", KINDS)
def test_an_image_is_only_for_kinds_that_take_one(tmp_path: Path, name: KindName) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "autograder.toml").write_text('[assignments.t]\nsuite = "missing"\n')
    config = ["--config", str(tmp_path / "autograder.toml")]
    result = CliRunner().invoke(main, ["grade", str(tmp_path), *config, "--image", "x", "--sandbox", name])
    refused = "--image needs --sandbox docker; give both, or leave --image out" in result.output
    assert refused is not KINDS[name].takes_image
    assert result.exit_code == (2 if refused else 1), result.output


def test_the_configuration_accepts_what_is_registered(tmp_path: Path) -> None:
    assert get_type_hints(SandboxConfig)["kind"] == Choice
    for choice in CHOICES:
        image = 'image = "a_sandbox:v1"\n' if choice == "docker" else ""
        text = f'[sandbox]\nkind = "{choice}"\n{image}[assignments.t]\nsuite = "t"\n'
        assert parse(text, tmp_path / "autograder.toml").sandbox.kind == choice


def test_another_kind_is_reported_with_its_line_and_what_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "autograder.toml"
    path.write_text('course = "c"\n\n[sandbox]\nkind = "podman"\n\n[assignments.t]\nsuite = "t"\n')
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == (
        f"{path}:4: sandbox.kind: Invalid enum value 'podman'; allowed are auto, bwrap, docker, none"
    )
    result = CliRunner().invoke(main, ["config", "check", "--config", str(path)])
    assert result.exit_code == 2
    assert f"{path}:4: sandbox.kind" in result.output


# ── in reports ───────────────────────────────────────────────────────────────────────────────────────────


def test_grading_without_a_sandbox_is_reported_as_none(tmp_path: Path) -> None:
    files = {
        "autograder.toml": '[assignments.t]\nsuite = "hidden/t"\n',
        "src/__init__.py": "",
        "src/work.py": RIGHT,
        "hidden/t/probes.py": PROBES,
        "hidden/t/test_score.py": SCORE,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    config_file = tmp_path / "autograder.toml"
    with Grader(load(config_file), "t", config_file=config_file, sandbox="none") as grader:
        report = grader.grade(tmp_path)
    assert report.points == 100
    facts = report.provenance
    assert (facts["sandbox"], facts["isolated"], facts["protections"]) == ("none", False, [])


@pytest.mark.parametrize("name", ["no", "none"])
def test_reports_are_read_under_the_name_that_they_were_written_with(name: str) -> None:
    """Reports of graders before the registry say `no`."""
    data: dict[str, Any] = Report("t", (), {"sandbox": name, "isolated": False}).to_json()
    assert from_json(data).provenance["sandbox"] == name
