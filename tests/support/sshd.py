"""A real sshd on this machine's loopback, for the account that runs the tests."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAM = shutil.which("sshd") or next(
    (path for path in ("/usr/sbin/sshd", "/usr/local/sbin/sshd") if Path(path).exists()), ""
)
needs_sshd = pytest.mark.skipif(not PROGRAM, reason="there is no sshd; apt-get install openssh-server")
SETTINGS = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host-key
PidFile none
AuthorizedKeysFile {authorized_keys}
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin forced-commands-only
StrictModes no
UsePAM no
MaxStartups 100
"""


class Server:
    """The server, and the clients of students."""

    def __init__(self, folder, port):
        self.folder, self.port = folder, port
        self.base = f"ssh://{getpass.getuser()}@127.0.0.1:{port}"

    def key(self, login, to):
        """Make a student's key; put the public one into a folder."""
        private = self.folder / f"id-{login}"
        keygen(private)
        to.mkdir(parents=True, exist_ok=True)
        shutil.copy(f"{private}.pub", to / f"{login}.pub")

    def command(self, login):
        """The ssh command of a student, for GIT_SSH_COMMAND."""
        return (
            f"ssh -F none -p {self.port} -i {self.folder}/id-{login} -o IdentitiesOnly=yes -o IdentityAgent=none "
            f"-o BatchMode=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile={self.folder}/known-hosts"
        )

    def run(self, login, *arguments):
        """Run a command as a student would by hand; return the exit status and all that is said."""
        command = [*self.command(login).split(), "127.0.0.1", *arguments]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout + done.stderr


def keygen(file):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(file)], check=True)


@contextmanager
def serving(folder, authorized_keys):
    """Start a server that lets in the keys of a file."""
    folder.mkdir()
    keygen(folder / "host-key")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    public = (folder / "host-key.pub").read_text()
    (folder / "known-hosts").write_text(f"[127.0.0.1]:{port} {public}")
    settings = folder / "sshd_config"
    settings.write_text(SETTINGS.format(port=port, folder=folder, authorized_keys=authorized_keys))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # the folder in which sshd gives up its rights
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([PROGRAM, "-D", "-e", "-f", str(settings)], stderr=log)
        try:
            wait_for(port, process, folder / "log")
            yield Server(folder, port)
        finally:
            process.terminate()
            process.wait()


def wait_for(port, process, log):
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(log.read_text())
