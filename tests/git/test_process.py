"""How git is run: its environment, what it can reach, its limits, and what its failures mean."""

import ast
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autograder.errors import GraderError
from autograder.git.fetch import branch_head, fetch_commit
from autograder.git.process import (
    Git,
    GitHostError,
    GitLimits,
    NoSuchRepository,
    NotFound,
    RepositoryError,
    Result,
    TooLarge,
    TooSlow,
)
from autograder.git.remote import Credentials, Remote, RemoteError
from autograder.git.scratch import checked_branch, checked_commit, scratch
from tests.support.githost import SRC, Bare, pretend_ssh, script, serving, trap, watched_git

TOKEN = "ghs_" + "s3cr3t" * 6


@pytest.fixture
def bare(tmp_path):
    repository = Bare(tmp_path / "host" / "ann" / "hw.git")
    repository.head = repository.commit(SRC)
    return repository


@pytest.fixture
def remote(tmp_path, bare):
    return Remote.at(tmp_path / "host", "ann", "hw")


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A folder that is the first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def notes(file):
    return [ast.literal_eval(line) for line in file.read_text().splitlines()]


# addresses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "owner", "name", "protocol", "url"),
    [
        ("https://github.com", "course", "hw-ann", "https", "https://github.com/course/hw-ann.git"),
        (
            "https://git.uni.example:8443/gitea/",
            "c",
            "hw",
            "https",
            "https://git.uni.example:8443/gitea/c/hw.git",
        ),
        ("https://gitlab.example", "course/2026", "hw", "https", "https://gitlab.example/course/2026/hw.git"),
        (
            "ssh://git@git.uni.example:2222/srv/git",
            "c",
            "hw",
            "ssh",
            "ssh://git@git.uni.example:2222/srv/git/c/hw.git",
        ),
        ("http://127.0.0.1:3000", "c", "hw", "http", "http://127.0.0.1:3000/c/hw.git"),
        ("/srv/git repositories", "", "hw", "file", "/srv/git repositories/hw.git"),
        ("file:///srv/git%20repositories", "c", ".github", "file", "/srv/git repositories/c/.github.git"),
    ],
    ids=["github", "port", "groups", "ssh", "http", "folder", "file"],
)
def test_addresses_are_put_together_from_a_base_an_owner_and_a_name(base, owner, name, protocol, url):
    remote = Remote.at(base, owner, name)
    assert (remote.protocol, remote.url) == (protocol, url)
    assert str(remote) == (f"{owner}/{name}" if owner else name)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        ("ann", ""),
        ("ann", "-oProxyCommand=x"),
        ("--upload-pack=x", "hw"),
        ("ann", ".."),
        ("..", "hw"),
        ("ann/..", "hw"),
        ("ann", "a..b"),
        ("ann", "a/b"),
        ("/etc", "hw"),
        ("ann//x", "hw"),
        ("ann", "hw;touch x"),
        ("ann", "hw x"),
        ("ann", "hw\n"),
        ("ann", "hw\x00"),
        ("ann", "hẃ"),
        ("ann", "%2e%2e"),
        ("ann", "hw?x"),
        ("ann", "hw#x"),
        ("ann", "ann@evil.example"),
        ("ann", "hw.git"),
        ("ann", ".git"),
        (".git", "hw"),
        ("ann", "x" * 101),
    ],
    ids=lambda text: text[:16],
)
@pytest.mark.parametrize("base", ["https://github.com", "ssh://git@github.com", "/srv/git"])
def test_odd_owners_and_names_are_refused(base, owner, name):
    with pytest.raises(RemoteError, match=r"not the name of a repository|without \.git"):
        Remote.at(base, owner, name)


@pytest.mark.parametrize(
    "base",
    [
        "",
        "relative/path",
        "/srv/../etc",
        "/srv\n/git",
        "file://server/share",
        "git://github.com",
        "ext::sh -c x",
        "ftp://github.com",
        "https://",
        "https://-oProxyCommand=x",
        "https://evil..example",
        "https://github.com:port",
        "https://user:password@github.com",
        "https://token@github.com",
        "https://github.com/../x",
        "https://github.com?x",
        "ssh://-oProxyCommand=x/y",
        "ssh://-l@host",
        "git@github.com:course",
        "http://github.com",
        "http://127.0.0.1.evil.example",
    ],
    ids=lambda base: base[:25],
)
def test_odd_bases_are_refused_without_telling_a_password(base):
    with pytest.raises(RemoteError) as caught:
        Remote.at(base, "ann", "hw")
    assert "password@" not in str(caught.value)


def test_a_credential_is_good_for_one_host():
    assert Remote.at("https://h.example:8443/x", "a", "b").origin == "https://h.example:8443"


def test_a_token_is_not_shown():
    assert TOKEN not in repr(Credentials(token=TOKEN))
    with pytest.raises(RemoteError) as caught:
        Credentials(token=f"{TOKEN}\nurl=https://evil.example")
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("file", ["relative", '/a"b', "/a%hb", "/a$HOME", "/a\nb"])
def test_paths_that_ssh_would_read_otherwise_are_refused(file):
    with pytest.raises(RemoteError, match="absolute path without quotes"):
        Credentials(ssh_key=Path(file))


@pytest.mark.parametrize(
    "branch",
    [
        "",
        "-x",
        "a..b",
        "a b",
        "a*",
        "a?",
        "a[",
        "a^",
        "a~1",
        "a:b",
        "a\\b",
        "a.lock",
        "a/",
        "a//b",
        "a/.b",
        "a.",
        "@{u}",
    ],
)
def test_odd_branches_are_refused(branch):
    with pytest.raises(RepositoryError, match="not the name of a branch"):
        checked_branch(branch)


@pytest.mark.parametrize(
    "commit",
    ["", "HEAD", "abc", "A" * 40, "g" * 40, "0" * 41, "0" * 40 + "\n", "--all"],
    ids=lambda commit: commit[:6],
)
def test_only_full_commit_ids_are_taken(commit):
    with pytest.raises(RepositoryError, match="not a full commit id"):
        checked_commit(commit)


# what git may know ---------------------------------------------------------------------------------------

KNOWN = {
    *("PATH", "HOME", "XDG_CONFIG_HOME", "TMPDIR", "LC_ALL", "GIT_ALLOW_PROTOCOL", "GIT_ATTR_NOSYSTEM"),
    *("GIT_CEILING_DIRECTORIES", "GIT_CONFIG_COUNT", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM"),
    *(
        "GIT_CONFIG_SYSTEM",
        "GIT_NO_LAZY_FETCH",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_SSH_VARIANT",
        "GIT_TERMINAL_PROMPT",
    ),
    "PWD",  # set by the shell
    "LC_CTYPE",  # set by Python in the program that takes the notes
}


def test_git_knows_nothing_of_the_environment(tmp_path, bare, remote, path, monkeypatch):
    trap_program = str(trap(tmp_path / "trap"))
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        f'[url "{tmp_path}/elsewhere"]\n insteadOf = {tmp_path}/host\n[core]\n fsmonitor = {trap_program}\n'
        f"[uploadpack]\n packObjectsHook = {trap_program}\n"
    )
    for name, value in {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "GIT_CONFIG_SYSTEM": str(home / ".gitconfig"),
        "GIT_CONFIG_PARAMETERS": f"'core.fsmonitor={trap_program}'",
        "GIT_DIR": "/nonexistent",
        "GIT_WORK_TREE": "/nonexistent",
        "GIT_OBJECT_DIRECTORY": "/nonexistent",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": "/nonexistent",
        "GIT_EXEC_PATH": "/nonexistent",
        "GIT_TEMPLATE_DIR": str(home),
        "GIT_ASKPASS": trap_program,
        "SSH_ASKPASS": trap_program,
        "GIT_SSH_COMMAND": trap_program,
        "GIT_PROXY_COMMAND": trap_program,
        "GIT_ALLOW_PROTOCOL": "ext",
        "GIT_SECRET_OF_OURS": TOKEN,
        "http_proxy": "http://127.0.0.1:9",
        "LANG": "de_DE.UTF-8",
    }.items():
        monkeypatch.setenv(name, value)
    watched_git(path)
    assert fetch_commit(remote, bare.head).files == SRC
    calls = notes(path / "git.log")
    assert len(calls) >= 4
    for arguments, environment in calls:
        numbered = {key for key in environment if key.startswith(("GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"))}
        if arguments[0].startswith("--git-dir="):  # not the git process that serves
            assert environment.keys() - numbered <= KNOWN
        assert environment["HOME"] != str(home)
        assert TOKEN not in repr(environment)
    assert not (tmp_path / "trap" / "sprung").exists()


def test_no_other_protocol_can_be_spoken(tmp_path, bare, remote):
    program = trap(tmp_path / "trap")
    for address in (
        f"ext::{program}",
        "ssh://git@127.0.0.1/x.git",
        "git://127.0.0.1/x.git",
        "http://127.0.0.1:9/x.git",
    ):
        wrong = Remote("file", address, "ann/hw")  # as if our own checks had failed
        with pytest.raises(GitHostError, match=r"transport '\w+' not allowed"):
            branch_head(wrong, "main")
    assert not (tmp_path / "trap" / "sprung").exists()


def test_a_command_without_network_has_no_protocol_at_all(remote, bare):
    with scratch(remote) as repository, pytest.raises(GitHostError, match="transport 'file' not allowed"):
        repository.run("ls-remote", str(bare.path))


def test_nothing_is_left_behind(tmp_path, remote, bare, monkeypatch):
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with scratch(remote) as repository:
        (made,) = folder.iterdir()
        assert made.stat().st_mode & 0o777 == 0o700
        assert not list(made.rglob("*.sample"))
        repository.fetch("refs/heads/main", "refs/x", depth=1, filter_spec="tree:0")
    assert not list(folder.iterdir())
    with pytest.raises(NotFound):
        fetch_commit(remote, "1" * 40)
    assert not list(folder.iterdir())


# what git may cost ---------------------------------------------------------------------------------------


@pytest.fixture
def pretended(tmp_path, path):
    """Make a Git that runs the given shell script."""

    def make(text, **limits):
        script(path, "git", f"#!/bin/sh\n{text}\n")
        folder = tmp_path / "scratch"
        folder.mkdir()
        remote = Remote.at(tmp_path, "ann", "hw")
        return Git(folder, remote, Credentials(token=TOKEN), GitLimits(**limits))

    return make


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/status")  # a zombie that nobody has waited for yet is not alive
    return not (status.exists() and "State:\tZ" in status.read_text())


def test_the_time_limit_ends_the_whole_family(tmp_path, pretended, monkeypatch):
    """The limit is reached as soon as both processes run."""
    git = pretended(
        f"sleep 1000 & echo $! $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pids; sleep 1000"
    )
    is_over = (tmp_path / "pids").exists
    monkeypatch.setattr(Git, "seconds_left", property(lambda _: 0.0 if is_over() else 60.0))
    with pytest.raises(GitHostError, match="git ls-remote was not done in 60 s"):
        git.online("ls-remote")
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2
    while any(map(is_alive, pids)):  # a killed process may take a moment to disappear
        time.sleep(0.01)


def test_one_time_limit_holds_for_all_commands_together(pretended):
    git = pretended("sleep 0.3", seconds=1)
    with pytest.raises(GitHostError, match="was not done in 1 s"):
        [git.online("ls-remote") for _ in range(10)]


def test_output_is_bounded(pretended):
    with pytest.raises(TooLarge, match="printed more than 100000 bytes"):
        pretended("yes", output_bytes=100_000).online("ls-remote")


def test_errors_are_bounded_and_on_one_line(pretended):
    result = pretended(r"yes 'fatal: \033[31m‮ no' | head -c 1000000 >&2; exit 1").online("ls-remote")
    assert result.status == 1
    assert len(result.errors) <= 300
    assert result.errors.isprintable()


def test_a_token_in_an_error_is_masked(pretended):
    result = pretended(f"echo 'fatal: bad {TOKEN}' >&2; exit 1").online("fetch")
    assert result.errors == "fatal: bad ***"


def test_the_disk_is_bounded(tmp_path, pretended):
    git = pretended("cat /dev/zero > repository", scratch_bytes=1 << 20)
    with pytest.raises(TooLarge, match="wrote more than 1048576 bytes"):
        git.online("fetch")
    assert (tmp_path / "scratch" / "repository").stat().st_size <= 66 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="the address space is limited on Linux only")
def test_memory_and_file_size_are_bounded(pretended):
    git = pretended("ulimit -v; ulimit -c; ulimit -f", memory_bytes=1 << 30, scratch_bytes=1 << 20)
    result = git.online("fetch")
    assert result.output.split() == [b"1048576", b"0", str((65 << 20) // 512).encode()]


def test_the_time_of_a_processor_is_bounded(pretended):
    """The limit counts what git itself uses: a busy machine changes nothing."""
    with pytest.raises(TooSlow, match="git fetch needs more than 1 s"):
        pretended("while :; do :; done", cpu_seconds=1, seconds=600).online("fetch")


def test_the_input_of_a_command_may_be_larger_than_a_pipe(pretended):
    git = pretended("cat")
    assert git.offline("hash-object", stdin=b"x" * 1_000_000) == b"x" * 1_000_000


def test_without_git_the_message_says_what_to_install(monkeypatch, tmp_path, remote):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitHostError, match="apt-get install git"):
        branch_head(remote, "main")


# what failures mean --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("errors", "kind"),
    [
        ("fatal: couldn't find remote ref refs/heads/x", NotFound),
        ("fatal: remote error: upload-pack: not our ref 0123", NotFound),
        ("error: Server does not allow request for unadvertised object 0123", NotFound),
        ("fatal: repository 'https://h.example/a/b.git/' not found", NoSuchRepository),
        ("ERROR: Repository not found. fatal: Could not read from remote repository.", NoSuchRepository),
        ("fatal: '/srv/git/a/b.git' does not appear to be a git repository", NoSuchRepository),
        ("error: index-pack died of signal 24", TooSlow),
        ("error: index-pack died of signal 25", TooLarge),
        ("fatal: Out of memory, malloc failed (tried to allocate 99999999999 bytes)", TooLarge),
        ("fatal: Authentication failed for 'https://h.example/a/b.git/'", GitHostError),
        ("fatal: could not read Username for 'https://h.example': terminal prompts disabled", GitHostError),
        ("fatal: unable to access 'https://h.example/': The requested URL returned error: 502", GitHostError),
        ("fatal: unable to access 'https://h.example/': Could not resolve host: h.example", GitHostError),
        ("fatal: unable to access 'https://h.example/redirect/': Connection refused", GitHostError),
        ("Host key verification failed. fatal: Could not read from remote repository.", GitHostError),
        ("git@h.example: Permission denied (publickey).", GitHostError),
        ("fatal: the remote end hung up unexpectedly", GitHostError),
        ("fatal: write error: No space left on device", GitHostError),
        ("", GitHostError),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else value.__name__,
)
def test_what_a_failure_means(pretended, errors, kind):
    error = pretended("").failure("fetch", Result(128, b"", errors))
    assert type(error) is kind
    assert isinstance(error, GraderError)
    assert str(error).startswith("ann/hw: git fetch")


# https and ssh -------------------------------------------------------------------------------------------

needs_http = pytest.mark.skipif(
    shutil.which(
        "git-remote-http",
        path=subprocess.run(
            ["git", "--exec-path"], capture_output=True, text=True, check=True
        ).stdout.strip(),
    )
    is None,
    reason="git is built without http",
)


@needs_http
def test_a_token_opens_a_repository_and_appears_nowhere(tmp_path, bare, path, monkeypatch, caplog, capfd):
    watched_git(path)
    with serving(tmp_path / "host", password=TOKEN) as site:
        remote = Remote.at(site.base, "ann", "hw")
        credentials = Credentials(token=TOKEN)
        assert branch_head(remote, "main", credentials=credentials) == bare.head
        assert fetch_commit(remote, bare.head, credentials=credentials).files == SRC
        assert [headers.get("Authorization") for _, _, headers in site.requests].count(None) >= 1
    arguments = repr(notes(path / "git.log")) + (path / "trace.log").read_text()
    assert "ls-remote" in arguments
    assert "credential" in arguments
    assert TOKEN not in arguments
    assert TOKEN not in caplog.text + "".join(capfd.readouterr())


@needs_http
def test_a_wrong_or_missing_token_is_our_fault_and_not_shown(tmp_path, bare):
    with serving(tmp_path / "host", password="another") as site:  # noqa: S106 (a test's)
        remote = Remote.at(site.base, "ann", "hw")
        for credentials in (None, Credentials(token=TOKEN)):
            with pytest.raises(GitHostError, match="refuses our credentials") as caught:
                fetch_commit(remote, bare.head, credentials=credentials)
            assert TOKEN not in str(caught.value)


@needs_http
@pytest.mark.parametrize("code", [TOKEN, ""], ids=["token", "no token"])
def test_a_redirect_is_not_followed_and_gets_no_token(tmp_path, bare, code):
    with serving(tmp_path / "host") as other, serving(tmp_path, redirect_to=other.base) as site:
        with pytest.raises(GitHostError, match="redirects"):
            fetch_commit(Remote.at(site.base, "ann", "hw"), bare.head, credentials=Credentials(token=code))
        assert site.requests
        assert not other.requests


@needs_http
def test_a_host_that_serves_files_only_cannot_lead_elsewhere(tmp_path, bare):
    bare.git("update-server-info")
    with serving(tmp_path / "other") as other, serving(tmp_path / "host", dumb=True) as site:
        (bare.path / "objects" / "info" / "http-alternates").write_text(f"{other.base}/ann/hw.git/objects\n")
        with pytest.raises(RepositoryError, match="serves only files"):
            fetch_commit(Remote.at(site.base, "ann", "hw"), bare.head)
        assert not other.requests


def test_ssh_takes_nothing_from_the_user_s_settings(tmp_path, bare, path):
    pretend_ssh(path)
    key, hosts = tmp_path / "deploy key", tmp_path / "known hosts"
    remote = Remote.at(f"ssh://git@git.uni.example:2222{tmp_path}/host", "ann", "hw")
    credentials = Credentials(ssh_key=key, known_hosts=hosts)
    assert branch_head(remote, "main", credentials=credentials) == bare.head
    assert fetch_commit(remote, bare.head, credentials=credentials).files == SRC
    for arguments, environment in notes(path / "ssh.log"):
        assert arguments[:2] == ["-F", "none"]
        assert arguments[-4:-1] == ["-p", "2222", "git@git.uni.example"]
        options = [arguments[i + 1] for i, argument in enumerate(arguments) if argument == "-o"]
        assert {"StrictHostKeyChecking=yes", "IdentityAgent=none", "BatchMode=yes", "IdentitiesOnly=yes"} <= {
            *options
        }
        assert f'UserKnownHostsFile="{hosts}"' in options
        assert f'IdentityFile="{key}"' in options
        assert "SSH_AUTH_SOCK" not in environment


@pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh here")
def test_ssh_understands_our_options(tmp_path, bare, path):
    """The real ssh prints the settings that it would use, and reaches nothing."""
    pretend_ssh(path)
    key, hosts = tmp_path / "deploy key", tmp_path / "known hosts"
    key.touch(mode=0o600)
    remote = Remote.at(f"ssh://git@git.uni.example{tmp_path}/host", "ann", "hw")
    branch_head(remote, "main", credentials=Credentials(ssh_key=key, known_hosts=hosts))
    ((arguments, _), *_) = notes(path / "ssh.log")
    real = shutil.which("ssh", path=os.pathsep.join(os.environ["PATH"].split(os.pathsep)[1:]))
    settings = subprocess.run(
        [real, "-G", *arguments], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert f"userknownhostsfile {hosts}" in [line.replace('"', "") for line in settings]
    assert f"identityfile {key}" in [line.replace('"', "") for line in settings]
    assert {"batchmode yes", "stricthostkeychecking true", "identityagent none"} <= {*settings}


def test_ssh_without_the_host_s_key_is_refused():
    with pytest.raises(RemoteError, match="ssh-keyscan"):
        branch_head(Remote.at("ssh://git@git.uni.example", "ann", "hw"), "main")


def test_git_that_is_killed_while_it_reads_is_worth_another_try(remote, bare):
    with scratch(remote) as repository:
        repository.fetch(bare.head, "refs/x", depth=1, filter_spec="blob:none")
        with repository.objects() as objects:
            assert objects.describe(bare.head)[0] == "commit"
            for process in objects._processes.values():
                process.kill()
                process.wait()
            # whoever killed git, it was not the repository
            with pytest.raises(GitHostError, match="git was killed by signal 9; try again"):
                objects.describe(bare.head)
