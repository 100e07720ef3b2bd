"""Git hosts for tests: bare repositories with anything in them, served by path, http or a pretended ssh."""

import base64
import http.server
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "LC_ALL": "C",
} | {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in (("NAME", "ann"), ("EMAIL", "ann@uni.example"), ("DATE", "@1790000000 +0000"))
}
SRC = {"src/__init__.py": b"", "src/linear.py": b"x = 1\n"}


def git(folder, *arguments, stdin=b"", check=True):
    """Run git as the student or the host would; return its output, stripped."""
    result = subprocess.run(
        ["git", *arguments], cwd=folder, input=stdin, env=ENVIRONMENT, capture_output=True, check=False
    )
    assert not check or result.returncode == 0, result.stderr.decode()
    return result.stdout.decode("utf-8", "replace").strip()


class Bare:
    """A bare repository of a student."""

    def __init__(self, path):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        git(self.path.parent, "init", "--quiet", "--bare", str(self.path))

    def git(self, *arguments, **others):
        return git(self.path, *arguments, **others)

    def commit(self, files, *, branch="main", parent=None, modes=None):
        """Make a commit of files (name -> content) and put `branch` there; return its id."""
        marks, lines = {}, []
        for content in files.values():
            if content not in marks:
                marks[content] = len(marks) + 1
                lines.append(b"blob\nmark :%d\ndata %d\n%s\n" % (marks[content], len(content), content))
        lines.append(
            b"commit refs/heads/%s\ncommitter ann <ann@uni.example> 1790000000 +0000\n" % branch.encode()
        )
        lines.append(b"data 4\nwork\n")
        if parent:
            lines.append(b"from %s\ndeleteall\n" % parent.encode())
        for name, content in files.items():
            mode = (modes or {}).get(name, "100644").encode()
            lines.append(b'M %s :%d "%s"\n' % (mode, marks[content], name.encode()))
        if not parent:
            self.git("update-ref", "-d", f"refs/heads/{branch}")
        self.git("fast-import", "--quiet", "--force", stdin=b"".join(lines))
        return self.tip(branch)

    def commit_tree(self, tree, *, branch="main", message="work"):
        commit = self.git("commit-tree", "-m", message, tree)
        self.git("update-ref", f"refs/heads/{branch}", commit)
        return commit

    def blob(self, content=b"x = 1\n"):
        return self.git("hash-object", "-w", "--stdin", stdin=content)

    def tree(self, *entries):
        """Make a tree of (mode, name in bytes, object id), in that order, however odd."""
        raw = b"".join(
            b"%s %s\0%s" % (mode.encode(), name, bytes.fromhex(oid)) for mode, name, oid in entries
        )
        return self.git("hash-object", "-t", "tree", "-w", "--stdin", "--literally", stdin=raw)

    def odd(self, *entries):
        """Make a commit with these entries in src beside a plain file."""
        source = self.tree(("100644", b"a.py", self.blob()), *entries)
        return self.commit_tree(self.tree(("40000", b"src", source)))

    def tip(self, branch):
        return self.git("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}", check=False) or None

    def show(self, name):
        return subprocess.run(
            ["git", "cat-file", "blob", name], cwd=self.path, env=ENVIRONMENT, capture_output=True, check=True
        ).stdout


def script(folder, name, text):
    """Put an executable into a folder that is made for it."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


def trap(folder):
    """Return a program that writes `folder`/sprung when anything runs it."""
    return script(folder, "trap", f'#!/bin/sh\necho "$0 $*" >> {folder}/sprung\nexit 0\n')


class Handler(http.server.BaseHTTPRequestHandler):
    """Runs `git http-backend`, or redirects, or serves plain files."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(b"")

    def do_POST(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(body)

    def answer(self, body):
        site = self.server.site
        site.requests.append((self.command, self.path, dict(self.headers)))
        if site.fails():
            return self.reply(500, {})
        if site.redirect_to:
            return self.reply(302, {"Location": site.redirect_to + self.path})
        if site.password:
            expected = "Basic " + base64.b64encode(f"{site.username}:{site.password}".encode()).decode()
            if self.headers.get("Authorization") != expected:
                return self.reply(401, {"WWW-Authenticate": 'Basic realm="git"'})
        path, _, query = self.path.partition("?")
        if site.dumb:
            file = site.root / path.lstrip("/")
            return self.reply(200, {}, file.read_bytes()) if file.is_file() else self.reply(404, {})
        variables = ENVIRONMENT | {
            "GIT_PROJECT_ROOT": str(site.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_USER": "grader",
        }
        process = subprocess.Popen(
            ["git", "http-backend"], env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        with process, process.stdin, process.stdout:
            process.stdin.write(body)
            process.stdin.close()
            status, headers = 200, {"Connection": "close"}
            while line := process.stdout.readline().decode().strip():
                key, _, value = line.partition(": ")
                if key == "Status":
                    status = int(value.split()[0])
                else:
                    headers[key] = value
            self.send_response(status)
            for item in headers.items():
                self.send_header(*item)
            self.end_headers()
            try:
                while data := process.stdout.read1(65536):
                    self.wfile.write(data)
            except ConnectionError:
                process.kill()
        self.close_connection = True
        return None

    def reply(self, status, headers, body=b""):
        self.send_response(status)
        for item in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(*item)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Site:
    """What one http server does."""

    def __init__(
        self, root, *, username="x-access-token", password="", redirect_to="", dumb=False, fails=None
    ):
        self.root, self.username, self.password = root, username, password
        self.redirect_to, self.dumb = redirect_to, dumb
        self.fails = fails or (lambda: False)  # whether the next request fails
        self.requests = []
        self.base = ""


@contextmanager
def serving(root, **settings):
    """Serve the repositories below `root` on this machine's loopback."""
    site = Site(Path(root), **settings)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.site = True, site
    site.base = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def pretend_ssh(folder):
    """Put a program `ssh` into `folder` that notes its arguments and runs the command on this machine."""
    return script(
        folder,
        "ssh",
        f"#!{sys.executable}\n"
        "import os, sys\n"
        f"with open({str(folder / 'ssh.log')!r}, 'a') as log:\n"
        "    log.write(repr((sys.argv[1:], dict(os.environ))) + '\\n')\n"
        "os.execvp('sh', ['sh', '-c', sys.argv[-1]])\n",
    )


def watched_git(folder):
    """Put a program `git` into `folder` that notes its arguments and environment, traces, and runs git."""
    real = (
        subprocess.run(["sh", "-c", "command -v git"], capture_output=True, check=True)
        .stdout.decode()
        .strip()
    )
    return script(
        folder,
        "git",
        f"#!{sys.executable}\n"
        "import os, sys\n"
        f"with open({str(folder / 'git.log')!r}, 'a') as log:\n"
        "    log.write(repr((sys.argv[1:], dict(os.environ))) + '\\n')\n"
        f"os.environ['GIT_TRACE'] = {str(folder / 'trace.log')!r}\n"
        f"os.execv({real!r}, ['git', *sys.argv[1:]])\n",
    )
