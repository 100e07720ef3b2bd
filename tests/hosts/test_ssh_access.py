"""Students' ssh keys for a folder of bare repositories: who gets in, and that a key opens nothing else."""

import base64
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from autograder.errors import GraderError
from autograder.hosts import ssh_access
from autograder.hosts.api import Api
from autograder.hosts.folder import ACCESS, create, grant


def key(letter, kind="ssh-ed25519"):
    """A public key, which may be anybody's."""
    return text_of(kind, letter.encode() * 32)


def text_of(kind, *fields):
    content = b"".join(struct.pack(">I", len(field)) + field for field in (kind.encode(), *fields))
    return f"{kind} {base64.b64encode(content).decode()}"


@pytest.fixture
def keys(tmp_path):
    """A function that puts public keys into a folder, and reads it."""

    def put(**files):
        (tmp_path / "keys").mkdir(exist_ok=True)
        for login, text in files.items():
            (tmp_path / "keys" / f"{login}.pub").write_text(text)
        return ssh_access.read(tmp_path / "keys")

    return put


def test_keys_are_read_and_their_comments_are_not(keys):
    found = keys(ann=f'{key("a")} ann@home "x\n# a comment\n\n{key("b")}\n', bob=key("c"))
    assert found.lines == (("ann", key("a")), ("ann", key("b")), ("bob", key("c")))
    assert found.mistakes == ()
    assert found.logins == {"ann", "bob"}


@pytest.mark.parametrize(
    "line",
    [
        'command="sh" ' + key("a"),
        "no-pty " + key("a"),
        "ssh-dss " + "A" * 60,
        "ssh-ed25519 AAAA",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "ssh-ed25519\n" + "A" * 60,
        key("a") + '\u2028command="sh"',
    ],
)
def test_a_line_that_is_no_key_is_named_and_left_out(keys, line):
    found = keys(ann=line, bob=key("b"))
    assert found.logins in ({"bob"}, {"bob", "ann"})
    assert found.mistakes
    assert all("command" not in text for _, text in found.lines)


def test_a_private_key_is_named_as_one(keys, tmp_path):
    found = keys(ann="-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n")
    (mistake,) = found.mistakes
    assert f"{tmp_path / 'keys' / 'ann.pub'}: this is a private key" in mistake
    assert found.logins == set()


def test_a_key_belongs_to_one_student(keys):
    found = keys(ann=key("a"), bob=key("a"))
    assert found.lines == (("ann", key("a")),)
    assert "ann has the same key" in found.mistakes[0]


def test_whose_key_another_student_hands_in_keeps_it(keys, tmp_path):
    file = tmp_path / ".ssh" / "authorized_keys"
    ssh_access.install(keys(bob=key("b"), cy=key("c")), "git.uni.example", tmp_path / "git", file)
    assert ssh_access.held(file, "git.uni.example") == {key("b"): "bob", key("c"): "cy"}
    assert ssh_access.held(file, "other.example") == {}
    keys(ann=f"{key('a')}\n{key('b')}")  # a public key is no secret
    found = ssh_access.read(tmp_path / "keys", ssh_access.held(file, "git.uni.example"))
    assert found.lines == (("ann", key("a")), ("bob", key("b")), ("cy", key("c")))
    assert found.mistakes == (f"{tmp_path}/keys/ann.pub:2: bob has the same key",)
    (tmp_path / "keys" / "bob.pub").unlink()  # what bob does not hand in any more is not bob's
    assert ("ann", key("b")) in ssh_access.read(tmp_path / "keys", {key("b"): "bob"}).lines


@pytest.mark.parametrize(
    ("exponent", "modulus"),
    [
        (b"\1\0\1", b"\0\0" + b"\xc1" * 256),
        (b"\0\1\0\1", b"\0" + b"\xc1" * 256),
        (b"\1\0\1", b"\0" + b"\x41" * 256),
    ],
)
def test_a_second_text_of_an_rsa_key_takes_nobody_s_key_away(keys, exponent, modulus):
    usual = text_of("ssh-rsa", b"\1\0\1", b"\0" + b"\xc1" * 256)
    found = keys(ann=text_of("ssh-rsa", exponent, modulus), bob=usual)
    assert found.lines == (("bob", usual),)
    assert "ann.pub:1: not a public key" in found.mistakes[0]


@pytest.mark.parametrize(
    "text",
    [
        key("a") + "==",
        key("a")[:-1],
        "ssh-rsa " + key("a").split()[1],
        text_of("ssh-ed25519"),
        text_of("ssh-rsa", b"", b"\0"),
        "ssh-ed25519 " + base64.b64encode(struct.pack(">I", 1 << 31) + b"x" * 40).decode(),
    ],
)
def test_a_key_of_another_form(keys, text):
    assert keys(ann=text).lines == ()


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_keys_of_ssh_keygen_are_read(keys, tmp_path, kind):
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(tmp_path / kind)], check=True)
    found = keys(ann=(tmp_path / f"{kind}.pub").read_text())
    assert (found.logins, found.mistakes) == ({"ann"}, ())


def test_a_name_that_is_no_login(keys, tmp_path):
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "a b.pub").write_text(key("a"))
    (tmp_path / "keys" / "$(id).pub").write_text(key("b"))
    found = keys()
    assert (found.lines, len(found.mistakes)) == ((), 2)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(GraderError, match="there is no folder"):
        ssh_access.read(tmp_path / "keys")


def test_authorized_keys_keeps_the_lines_of_others(keys, tmp_path):
    file = tmp_path / ".ssh" / "authorized_keys"
    assert ssh_access.install(keys(ann=key("a")), "git.uni.example", tmp_path / "git", file)
    file.write_text(f"{key('s')} staff\n" + file.read_text() + f"{key('t')} another\n")
    file.chmod(0o600)
    assert ssh_access.install(keys(ann=key("b"), bob=key("c")), "git.uni.example", tmp_path / "git", file)
    lines = file.read_text().splitlines()
    assert lines[:2] == [f"{key('s')} staff", f"{key('t')} another"]
    assert lines[2] == "# BEGIN autograder git.uni.example"
    script = tmp_path / ".ssh" / "autograder-access.sh"
    assert lines[3] == f'restrict,command="{script} git.uni.example ann" {key("b")} ann'
    assert lines[-1] == "# END autograder git.uni.example"
    assert not ssh_access.install(keys(), "git.uni.example", tmp_path / "git", file), "nothing has changed"
    assert (file.stat().st_mode & 0o777, script.stat().st_mode & 0o777) == (0o600, 0o755)
    assert ssh_access.install(keys(), "other.example", tmp_path / "other", file)
    text = script.read_text()
    assert f"git.uni.example) base={tmp_path}/git ;;" in text
    assert f"other.example) base={tmp_path}/other ;;" in text


@pytest.fixture
def script(tmp_path, keys):
    """A function that runs the script as sshd does; returns the exit status and what it says."""
    base = tmp_path / "git"
    base.mkdir()
    api = Api("git.uni.example", str(base))
    for name in ("a1-ann", "a1-bob"):
        create(api, "cs", name, "main")
    grant(api, "cs", "a1-ann", ["ann"])
    grant(api, "cs", "a1-bob", ["bob", "an.n"])
    file = tmp_path / ".ssh" / "authorized_keys"
    ssh_access.install(keys(ann=key("a")), "git.uni.example", base, file)
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "git").write_text(
        '#!/bin/sh\nprintf "<%s>" "$@"\nenv >"$REPORT"\n'.replace("$REPORT", f"{tmp_path}/env")
    )
    (fake / "git").chmod(0o755)

    def run(command, login="ann", host="git.uni.example", **variables):
        variables |= {"PATH": f"{fake}:{os.environ['PATH']}"}
        if command is not None:
            variables["SSH_ORIGINAL_COMMAND"] = command
        done = subprocess.run(
            [file.parent / "autograder-access.sh", host, login],
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout or done.stderr

    run.base, run.environment = base, tmp_path / "env"
    return run


@pytest.mark.parametrize(
    "path", ["cs/a1-ann.git", "/cs/a1-ann.git", "cs/a1-ann", "/cs/a1-ann", "{base}/cs/a1-ann.git"]
)
@pytest.mark.parametrize("service", ["upload-pack", "receive-pack"])
def test_a_student_reaches_the_own_repository(script, path, service):
    path = path.format(base=script.base)
    assert script(f"git-{service} '{path}'") == (0, f"<{service}><{script.base}/cs/a1-ann.git>")


@pytest.mark.parametrize(
    "command",
    [
        None,
        "",
        "sh",
        "git-shell",
        "git-upload-archive 'cs/a1-ann.git'",
        "git-receive-pack 'cs/a1-bob.git'",
        "git-upload-pack 'cs/a1-bob.git'",
        "git-upload-pack 'cs/a1-no.git'",
        "git-upload-pack 'cs/../cs/a1-ann.git'",
        "git-upload-pack '../git/cs/a1-ann.git'",
        "git-upload-pack '/etc/passwd'",
        "git-upload-pack 'cs/a1-ann.git'; id",
        "git-upload-pack 'cs/a1-ann.git' --help",
        "git-upload-pack $(id)",
        "git-upload-pack --help",
        "git-upload-pack '--strict' cs/a1-ann.git",
        "git-upload-pack 'cs/-x'",
        "git-upload-pack 'cs/a1-ann.git\n/x'",
        "git-upload-pack ''",
        "git-upload-pack '*'",
        "git-upload-pack 'cs//a1-ann.git'",
        "git-upload-pack 'cs/A1-ANN.git'",
        "git-upload-pack 'cs/a1-ann.GIT'",
        "git-upload-pack 'cs/a1-ann.git/refs/heads/x.git'",
        "git-upload-pack 'cs/a1-ann.git/objects'",
        "git-upload-pack 'cs/linked.git'",
        "git-receive-pack 'cs/a1-ann.git' 'cs/a1-bob.git'",
        "git-receive-pack --stateless-rpc 'cs/a1-ann.git'",
        "git receive-pack 'cs/a1-ann.git'",
        "git-http-backend 'cs/a1-ann.git'",
        "/usr/lib/openssh/sftp-server",
        "internal-sftp",
        "scp -t cs/a1-ann.git/hooks/post-receive",
        "git-lfs-authenticate cs/a1-ann.git upload",
        "git-upload-pack 'cs/a1-ann.git' && id",
        "git-upload-pack\t'cs/a1-ann.git'",
    ],
)
def test_a_key_opens_nothing_else(script, command):
    inner = script.base / "cs" / "a1-ann.git" / "refs" / "heads" / "x.git"  # what a push of branches may make
    inner.mkdir()
    (inner / ACCESS).write_text("ann\n")
    (script.base / "cs" / "linked.git").symlink_to("nowhere")
    status, text = script(command)
    assert status == 1
    assert text.startswith("autograder: ")
    assert "<" not in text


def test_git_gets_nothing_that_a_student_s_ssh_has_set(script):
    evil = {
        "GIT_COMMITTER_DATE": "2020-01-01T00:00:00Z",  # the reflog says when a push came
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.hooksPath",
        "GIT_CONFIG_VALUE_0": "/tmp",
        "GIT_DIR": "/elsewhere",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(script.base / "cs" / "a1-bob.git" / "objects"),
        "GL_USER": "bob",
        "REMOTE_USER": "bob",
        "GIT_PROTOCOL": "version=2:x",
    }
    assert script("git-receive-pack 'cs/a1-ann.git'", **evil)[0] == 0
    names = dict(line.split("=", 1) for line in script.environment.read_text().splitlines())
    assert names.keys() <= {"HOME", "PATH", "LC_ALL", "REMOTE_USER", "GIT_PROTOCOL", "PWD", "_", "SHLVL"}
    assert (names["REMOTE_USER"], names["GIT_PROTOCOL"]) == ("ann", "")
    assert script("git-upload-pack 'cs/a1-ann.git'", GIT_PROTOCOL="version=2")[0] == 0
    assert "GIT_PROTOCOL=version=2\n" in script.environment.read_text()


def test_a_repository_that_has_become_huge_takes_no_push(script, monkeypatch, tmp_path, keys):
    monkeypatch.setattr(ssh_access, "MAX_REPOSITORY", 1 << 20)
    file = tmp_path / ".ssh" / "authorized_keys"
    ssh_access.install(keys(ann=key("a")), "git.uni.example", script.base, file)
    assert script("git-receive-pack 'cs/a1-ann.git'")[0] == 0
    (script.base / "cs" / "a1-ann.git" / "objects" / "pack" / "huge").write_bytes(os.urandom(2 << 20))
    status, text = script("git-receive-pack 'cs/a1-ann.git'")
    assert (status, "has become too large" in text) == (1, True)
    assert script("git-upload-pack 'cs/a1-ann.git'")[0] == 0, "the student's work can still be fetched"


def test_a_login_is_no_pattern(script):
    assert script("git-upload-pack 'cs/a1-bob.git'", "bob")[0] == 0
    assert script("git-upload-pack 'cs/a1-bob.git'", "an.n")[0] == 0
    assert script("git-upload-pack 'cs/a1-bob.git'", "anxn")[0] == 1
    assert script("git-upload-pack 'cs/a1-bob.git'", "b")[0] == 1
    assert script("git-upload-pack 'cs/a1-bob.git'", "")[0] == 1


def test_an_unknown_host_opens_nothing(script):
    assert script("git-upload-pack 'cs/a1-ann.git'", host="elsewhere.example")[0] == 1


def test_shellcheck_finds_nothing(script, tmp_path):
    shellcheck = Path(sys.executable).parent / "shellcheck"
    done = subprocess.run(
        [shellcheck, tmp_path / ".ssh" / "autograder-access.sh"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
