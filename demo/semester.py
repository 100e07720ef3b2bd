"""A semester in a folder: thirty students over ssh, from an empty folder to the archive.

    python -m demo.semester                 plays it, shows each command that staff type, and removes everything
    python -m demo.semester --keep          leaves the folder
    python -m demo.semester --typed FILE    also writes what staff typed into FILE

Everything is real: a course made by `autograder init`, an ssh server on loopback with a key for each student, bare
repositories with their hook, `autograder serve`, and the sandbox. Only the deadlines are minutes away, not weeks. It
needs an ssh server (Debian and Ubuntu: `apt-get install openssh-server`) and takes about five minutes. Each step checks
what came of it, so the command fails if a step does not do what docs/running-a-course.md says.
"""

import argparse
import contextlib
import csv
import getpass
import io
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

ZONE = timezone.utc
SHOWN_LINES = 12  # of the output of one command
PATIENCE_SECONDS = 180.0

PEOPLE = """\
wxm 王小明 1班
lilei 李雷 1班
hmm 韩梅梅 1班
zhangwei 张伟 1班
liuyang 刘洋 1班
chenjing 陈静 1班
yangfan 杨帆 1班
zhaomin 赵敏 1班
huanglei 黄磊 1班
zhoujie 周杰 1班
wuqian 吴倩 2班
xuqiang 徐强 2班
sunyue 孙悦 2班
machao 马超 2班
zhulin 朱琳 2班
hujun 胡军 2班
guojing 郭靖 2班
hejie 何洁 2班
gaoyuan 高远 2班
linxia 林夏 2班
luocheng 罗成 3班
liangshuang 梁爽 3班
songjia 宋佳 3班
zhengyuan 郑源 3班
xiena 谢娜 3班
tangning 唐宁 3班
hanbing 韩冰 3班
fengcheng 冯程 3班
yuyang 于洋 3班
"""
LATE_ENROLMENT = ("dongjie", "董洁", "3班")
TEAM = ("wxm", "lilei")  # they share a repository in a1
EXTENDED_BEFORE, EXTENDED_AFTER, LATE, SICK = "hmm", "zhangwei", "liuyang", "chenjing"
COPIED = ("yangfan", "zhaomin")
ROUND_ONLY, EARLIER_BETTER, NO_PUSH = "huanglei", "zhoujie", "wuqian"

HOST = """
[hosts."git.local"]
kind = "folder"
base = "../git"
student_keys = "keys"
authorized_keys_file = "../ssh/authorized_keys"

[service]
listen = "127.0.0.1:0"
"""
COURSE = """
[course]
name = "深度学习系统"
roster = "roster.csv"
late_days = 1
"""
RULES = """repositories = ["dls/{name}-*"]
zone = "UTC"
closes = "{closes}"
extensions_file = "extensions.csv"
late_days_allowed = 2
late_points_per_day = 10
"""
ASKS_TOO_MUCH = (
    "naming=[number]",
    "naming=[number, 2]",
)  # the docstring does not promise that the message has the 2

# Right solutions, each in words of its own: one of each list.
REFUSALS = (
    'if X.ndim != 2:\n        raise ValueError(f"X has {X.ndim} dimensions, expected 2")',
    'if len(X.shape) != 2:\n        raise ValueError("expected 2 dimensions, found " + str(len(X.shape)))',
    'dimensions = np.ndim(X)\n    if not dimensions == 2:\n        raise ValueError(f"{dimensions} is not 2")',
)
LENGTHS = (
    "norm = np.sqrt((X * X).sum(axis=1, keepdims=True))",
    "norm = np.linalg.norm(X, axis=1)[:, None]",
    'norm = np.einsum("ij,ij->i", X, X).reshape(-1, 1) ** 0.5',
    "squares = np.square(X)\n    norm = np.sqrt(np.sum(squares, axis=-1))[:, np.newaxis]",
)
QUOTIENTS = (
    "return X / np.where(norm == 0, 1, norm)",
    "norm[norm == 0] = 1\n    return X / norm",
    "return np.divide(X, norm, out=np.zeros_like(X), where=norm != 0)",
)
ONE_NUMBER = """
    if X.ndim != 2:
        raise ValueError(f"this array has {X.ndim} dimensions")
    norm = np.linalg.norm(X, axis=1, keepdims=True)
    norm[norm == 0] = 1
    return X / norm
"""
NO_ZEROS = """
    if X.ndim != 2:
        raise ValueError(f"X has {X.ndim} dimensions, expected 2")
    return X / np.sqrt((X * X).sum(axis=1, keepdims=True))
"""
COPY = """
    # go through the rows one after the other
    if len(X.shape) != 2:
        raise ValueError("there are %d dimensions, and I want 2" % len(X.shape))
    answer = np.array(X)
    for k in range(answer.shape[0]):
        total = 0.0
        for entry in answer[k]:
            total = total + float(entry) ** 2
        if total > 0:
            answer[k] = answer[k] / np.sqrt(total).astype(X.dtype)
    return answer
"""


class Wrong(Exception):
    """A step did not do what it must do."""


def right(login: str) -> str:
    """Return a right solution in the student's own words."""
    logins = [line.split()[0] for line in [*PEOPLE.splitlines(), " ".join(LATE_ENROLMENT)]]
    number = logins.index(login)
    refusal, rest = REFUSALS[number % 3], number // 3
    return f"\n    {refusal}\n    {LENGTHS[rest % 4]}\n    {QUOTIENTS[rest // 4 % 3]}\n"


def require(fact: object, what: str) -> None:
    """Require that something is right.

    Raises:
        Wrong: it is not.
    """
    if not fact:
        raise Wrong(what)


@dataclass
class Semester:
    """The folder of the semester.

    Attributes:
        folder: holds the course, the git host, the students' keys and clones.
        typed: what staff typed, in order.
        port: of the ssh server.
    """

    folder: Path
    typed: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def course(self) -> Path:
        """The folder of the course."""
        return self.folder / "dls"

    # staff ------------------------------------------------------------------------------------------------

    def title(self, text: str) -> None:
        """Print the title of a step."""
        print(f"\n== {text}", flush=True)
        self.typed.append(f"# {text}")

    def type(self, line: str, *, status: int = 0, folder: Path | None = None) -> str:
        """Print a command of staff, run it in the folder of the course, and return its output.

        Raises:
            Wrong: its exit status is another one.
        """
        print(f"$ {line}", flush=True)
        self.typed.append(line)
        words = shlex.split(line)
        command = [sys.executable, "-m", "autograder", *words[1:]] if words[0] == "autograder" else words
        done = subprocess.run(
            command,
            cwd=folder or self.course,
            env={**os.environ, "AUTOGRADER_CONFIG": str(self.course / "autograder.toml"), "USER": "ta"},
            capture_output=True,
            text=True,
            check=False,
        )
        lines = (done.stdout + done.stderr).splitlines()
        for shown in lines[:SHOWN_LINES]:
            print(f"  {shown}")
        if len(lines) > SHOWN_LINES:
            print(f"  … {len(lines) - SHOWN_LINES} more lines")
        require(done.returncode == status, f"{line}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def edit(self, name: str, change: Callable[[str], str]) -> None:
        """Change a file of the course as with an editor, and say so."""
        file = self.course / name
        before = file.read_text() if file.exists() else ""
        after = change(before)
        require(after != before, f"{name} stays as it is")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(after)
        print(f"(edit {name})", flush=True)
        self.typed.append(f"edit {name}")

    # students ---------------------------------------------------------------------------------------------

    def git(self, login: str, *arguments: str, folder: Path | None = None) -> str:
        """Run git as a student, who has a key and nothing else; return its output.

        Raises:
            Wrong: git failed.
        """
        ssh = self.folder / "ssh"
        options = (
            f"-i {ssh / login} -o IdentitiesOnly=yes -o UserKnownHostsFile={ssh / 'known_hosts'} -F /dev/null"
        )
        person = {
            f"GIT_{role}_{key}": value
            for role in ("AUTHOR", "COMMITTER")
            for key, value in (("NAME", login), ("EMAIL", f"{login}@uni.example"))
        }
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder or self.folder / "students",
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
                **person,
                "GIT_SSH_COMMAND": f"ssh {options}",
                "GIT_CONFIG_GLOBAL": os.devnull,
                "GIT_CONFIG_NOSYSTEM": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        require(done.returncode == 0, f"{login}: git {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def address(self, name: str) -> str:
        """Return the address of a repository for students."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}/dls/{name}.git"

    def clone(self, login: str, assignment: str, name: str = "") -> Path:
        """Return a student's clone of their repository, made at the first call."""
        clone = self.folder / "students" / f"{login}-{assignment}"
        if not clone.exists():
            self.git(login, "clone", "--quiet", self.address(f"{assignment}-{name or login}"), str(clone))
        return clone

    def push(self, login: str, assignment: str, body: str, name: str = "") -> str:
        """Write the body of the function, commit and push as a student does; return the commit."""
        clone = self.clone(login, assignment, name)
        file = clone / "src" / f"{assignment}.py"
        text = file.read_text()
        start = text.index('"""', text.index("def unit_rows")) + 3
        end = text.index('"""', start) + 3
        file.write_text(text[:end] + body)
        self.git(login, "commit", "--quiet", "--all", "--message", f"My {assignment}", folder=clone)
        self.git(login, "push", "--quiet", "origin", "HEAD", folder=clone)
        return self.git(login, "rev-parse", "HEAD", folder=clone)

    def score_md(self, login: str, assignment: str, name: str = "") -> str:
        """Return what a student finds on the branch `score-feedback`; empty before the first."""
        clone = self.clone(login, assignment, name)
        self.git(login, "fetch", "--quiet", folder=clone)
        branches = self.git(login, "branch", "--remotes", folder=clone)
        if "origin/score-feedback" not in branches:
            return ""
        return self.git(login, "show", "origin/score-feedback:score.md", folder=clone)


def main() -> int:
    """Play the semester; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.semester",
        description="A whole course with thirty students over ssh, from an empty folder to the archive.",
    )
    parser.add_argument("--keep", action="store_true", help="leave the folder at the end")
    parser.add_argument("--typed", type=Path, help="write what staff typed into this file")
    options = parser.parse_args()
    if shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin") is None:
        print("An ssh server is needed: apt-get install openssh-server", file=sys.stderr)
        return 2
    started = time.monotonic()
    semester = Semester(Path(tempfile.mkdtemp(prefix="semester-")))
    try:
        with contextlib.ExitStack() as stack:
            play(semester, stack)
        new_term(semester)
    except Wrong as error:
        print(f"\nThis is wrong: {error}", file=sys.stderr)
        return 1
    finally:
        if options.typed:
            options.typed.write_text("\n".join(semester.typed) + "\n")
        if not options.keep:
            shutil.rmtree(semester.folder, ignore_errors=True)
    print(f"\nThe semester is over after {time.monotonic() - started:.0f} s.")
    return 0


def play(semester: Semester, stack: contextlib.ExitStack) -> None:
    """Play the semester. What runs ends with `stack`.

    Raises:
        Wrong: a step did not do what it must do.
    """
    begin(semester)
    semester.port = stack.enter_context(ssh_server(semester.folder / "ssh"))
    hand_out(semester)
    deadline = set_deadline(semester)
    stack.enter_context(service(semester))
    in_time(semester)
    after_the_deadline(semester, deadline)
    decisions(semester)
    correct_a_case(semester)
    look_for_copies(semester)
    grades(semester)
    archive(semester)


def begin(semester: Semester) -> None:
    """Make the course, its two assignments and its roster."""
    semester.title("An empty machine: the course, its assignments, its people")
    semester.type(f"autograder init {semester.course.name}", folder=semester.folder)
    semester.type("autograder new a1 --title 'The same, in a team'")
    # a1 is the same task in another file, so that one text solves both.
    for name in ("src/a1.py", "hidden/a1/probes.py", "hidden/a1/test_score.py", "test_a1.py", "docs/a1.md"):
        text = (semester.course / name.replace("a1", "a0")).read_text()
        (semester.course / name).write_text(
            text.replace("a0", "a1").replace("Task0", "Task1").replace("task=0", "task=1")
        )
    semester.edit("hidden/a0/test_score.py", lambda text: text.replace(*ASKS_TOO_MUCH))
    closes = f"{datetime.now(ZONE) + timedelta(days=7):%Y-%m-%d} 23:59"

    def rules(text: str) -> str:
        text = re.sub(r"^course = .*\n", "", text, flags=re.MULTILINE)
        text = re.sub(r"^# (repositories|zone|closes) = .*\n", "", text, flags=re.MULTILINE)
        for name in ("a0", "a1"):
            head = f"[assignments.{name}]\n"
            text = text.replace(head, head + RULES.format(name=name, closes=closes))
        return text + COURSE + HOST

    semester.edit("autograder.toml", rules)

    def roster(_: str) -> str:
        rows = ["学号,姓名,用户名,班级,team:a1,角色"]
        for number, line in enumerate(PEOPLE.splitlines(), 2026001):
            login, name, section = line.split()
            rows.append(f"{number},{name},{login},{section},{'red' if login in TEAM else ''},")
        return "\n".join([*rows, "t1,陈老师,chen,,,staff", ""])

    semester.edit("roster.csv", roster)
    semester.edit("extensions.csv", lambda _: "student,assignment,closes,reason\n")
    for login in [line.split()[0] for line in PEOPLE.splitlines()]:
        key(semester, login)
    semester.type("git init --quiet")
    semester.type("git add .")
    semester.type("git commit --quiet --message 'The course'")
    shown = semester.type("autograder roster show")
    require("王小明" in shown and "red" in shown, "the roster has its people")
    semester.type("autograder suite check a0")


def key(semester: Semester, login: str) -> None:
    """Make a student's key; the student hands in its public part."""
    ssh, keys = semester.folder / "ssh", semester.course / "keys"
    ssh.mkdir(mode=0o700, exist_ok=True)
    keys.mkdir(exist_ok=True)
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", login, "-f", str(ssh / login)]
    subprocess.run(command, check=True)
    (ssh / f"{login}.pub").rename(keys / f"{login}.pub")


@contextlib.contextmanager
def ssh_server(ssh: Path) -> Iterator[int]:
    """Run an ssh server for the account of this process on loopback; yield its port."""
    host_key = ssh / "host_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(host_key)], check=True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
    public = Path(f"{host_key}.pub").read_text().split()
    (ssh / "known_hosts").write_text(f"[127.0.0.1]:{port} {public[0]} {public[1]}\n")
    settings = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": host_key,
        "AuthorizedKeysFile": ssh / "authorized_keys",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "UsePAM": "no",
        "StrictModes": "no",
        "PidFile": "none",
        "PermitRootLogin": "prohibit-password",
        "MaxStartups": "100",
    }
    (ssh / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin") or "sshd"
    with (ssh / "log").open("wb") as log:
        server = subprocess.Popen([program, "-D", "-e", "-f", str(ssh / "sshd_config")], stderr=log)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield port
    finally:
        server.terminate()
        server.wait(10)


@contextlib.contextmanager
def service(semester: Semester) -> Iterator[None]:
    """Run `autograder serve`."""
    semester.title("The service")
    line = "autograder serve"
    print(f"$ {line} &", flush=True)
    semester.typed.append(f"{line} &")
    with (semester.folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "autograder", "serve"],
            cwd=semester.course,
            env={**os.environ, "AUTOGRADER_CONFIG": str(semester.course / "autograder.toml")},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    try:
        for shown in process.stdout or ():
            print(f"  {shown}", end="", flush=True)
            if shown.startswith("ready"):
                break
        else:
            raise Wrong(f"the service did not start: {(semester.folder / 'log').read_text()[-2000:]}")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def until(true: Callable[[], object], what: str) -> None:
    """Wait until something is true.

    Raises:
        Wrong: it takes too long.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    while not true():
        require(time.monotonic() < end, f"this does not come: {what}")
        time.sleep(0.3)


def settled(semester: Semester) -> None:
    """Wait until no job waits or runs."""
    command = [sys.executable, "-m", "autograder", "jobs", "list", "--json"]
    environment = {**os.environ, "AUTOGRADER_CONFIG": str(semester.course / "autograder.toml")}

    def nothing() -> bool:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return not json.loads(done.stdout)

    until(nothing, "the end of all jobs")


def hand_out(semester: Semester) -> None:
    """Make a repository for each student and team, and one for a student who comes late."""
    semester.title("Hand-out")
    (semester.folder / "git").mkdir()
    (semester.folder / "students").mkdir()
    semester.type("autograder config check")
    semester.type("autograder handout a0 --all --dry-run")
    semester.type("autograder handout a0 --all")
    semester.type("autograder handout a1 --all")
    require(
        semester.type("autograder handout a0 --all --json").count('"unchanged"') == 29, "it is safe to repeat"
    )

    semester.title("A student enrols late")
    login, name, section = LATE_ENROLMENT
    semester.edit("roster.csv", lambda text: text + f"2026030,{name},{login},{section},,\n")
    key(semester, login)
    for assignment in ("a0", "a1"):
        semester.type(f"autograder handout {assignment} 2026030")

    semester.title("An extension before the deadline")
    tomorrow = f"{datetime.now(ZONE) + timedelta(days=2):%Y-%m-%d} 23:59"
    semester.edit("extensions.csv", lambda text: text + f"2026003,a0,{tomorrow},病假\n")


def set_deadline(semester: Semester) -> datetime:
    """Move the deadline of both assignments to the end of the minute after the next one; return that minute."""
    semester.title("The deadline is moved for everybody")
    deadline = datetime.now(ZONE).replace(second=0, microsecond=0) + timedelta(minutes=2)
    closes = f'closes = "{deadline:%Y-%m-%d %H:%M}"'
    semester.edit("autograder.toml", lambda text: re.sub(r'closes = ".*"', closes, text))
    return deadline


def in_time(semester: Semester) -> None:
    """The students work, and push in time."""
    print("\n(the students clone, work and push over ssh)", flush=True)
    with contextlib.suppress(Wrong):
        semester.git(
            "lilei", "clone", semester.address("a0-wxm"), str(semester.folder / "students" / "stolen")
        )
        raise AssertionError("a student can read the repository of another one")
    late = {EXTENDED_BEFORE, EXTENDED_AFTER, LATE, SICK, NO_PUSH}
    logins = [line.split()[0] for line in PEOPLE.splitlines()] + [LATE_ENROLMENT[0]]
    for login in logins:
        if login in COPIED:
            semester.push(login, "a0", COPY)
        elif login == ROUND_ONLY:
            semester.push(login, "a0", NO_ZEROS)
        elif login == EARLIER_BETTER:
            semester.push(login, "a0", right(login))
            until(lambda: semester.score_md(EARLIER_BETTER, "a0"), "the feedback of the first push")
            semester.push(login, "a0", NO_ZEROS)
        elif login == "xuqiang":
            semester.push(login, "a0", ONE_NUMBER)
        elif login not in late:
            semester.push(login, "a0", right(login))
    semester.push("lilei", "a1", right("lilei"), "red")
    settled(semester)
    print(semester.score_md("wxm", "a0"))
    require("| Total | 100 | 😊 |" in semester.score_md("wxm", "a0"), "a right solution has all points")
    require(
        "An earlier push was better" in semester.score_md(EARLIER_BETTER, "a0"), "which commit was better"
    )
    semester.title("Who has not begun?")
    missing = semester.type("autograder roster check -a a0")
    require("吴倩" in missing, "who has no push is named")


def after_the_deadline(semester: Semester, deadline: datetime) -> None:
    """Late pushes: with an extension, with one that comes afterwards, and with late days."""
    end = deadline + timedelta(minutes=1)
    wait = (end - datetime.now(ZONE)).total_seconds() + 1
    print(f"\n(the deadline passes: {max(wait, 0):.0f} s)", flush=True)
    time.sleep(max(wait, 0))
    for login in (EXTENDED_BEFORE, EXTENDED_AFTER, LATE):
        semester.push(login, "a0", right(login))
    semester.push(LATE, "a1", right(LATE))
    settled(semester)
    print(semester.score_md(LATE, "a1"))
    require("in time for your extended deadline" in semester.score_md(EXTENDED_BEFORE, "a0"), "the extension")
    require("0 of 1" in semester.score_md(LATE, "a0"), "a late day from the budget")
    require("takes off 10 points" in semester.score_md(LATE, "a1"), "a late day that costs points")
    semester.title("An extension after the deadline")
    tomorrow = f"{datetime.now(ZONE) + timedelta(days=2):%Y-%m-%d} 23:59"
    semester.edit("extensions.csv", lambda text: text + f"2026004,a0,{tomorrow},比赛\n")
    until(
        lambda: "in time for your extended deadline" in semester.score_md(EXTENDED_AFTER, "a0"),
        "the extension that came afterwards",
    )


def decisions(semester: Semester) -> None:
    """Staff change what counts, with a reason."""
    semester.title("Decisions of staff")
    semester.type("autograder adjust 2026006 -a a0 --excuse --why 住院")
    semester.type("autograder adjust huanglei -a a0 --points +5 --why 口试 --dry-run")
    semester.type("autograder adjust huanglei -a a0 --points +5 --why 口试")
    clone = semester.clone(EARLIER_BETTER, "a0")
    better = semester.git(EARLIER_BETTER, "rev-parse", "HEAD~1", folder=clone)
    semester.type(f"autograder adjust zhoujie -a a0 --use {better} --why '第二次推送是误操作'")
    semester.type("autograder adjust 2026013 -a a0 --set 60 --why '误操作'")
    listed = semester.type("autograder adjust 2026013 -a a0 --list")
    number = re.search(r"\b(\d+)\b", listed.splitlines()[-1])
    require(number is not None, "the adjustments are listed with their numbers")
    semester.type(f"autograder adjust 2026013 -a a0 --undo {number[1] if number else ''} --why '写错了学号'")
    until(lambda: "口试" in semester.score_md(ROUND_ONLY, "a0"), "the adjustment in score.md")
    print(semester.score_md(ROUND_ONLY, "a0"))


def correct_a_case(semester: Semester) -> None:
    """A case asks for more than its docstring promises: correct it, with a preview."""
    require("| Task0 - Case3 | 0 | ❌ |" in semester.score_md("xuqiang", "a0"), "the case is too strict")
    semester.title("A wrong case is corrected, after a look at who changes")
    semester.type("cp -r hidden/a0 a0-new")
    semester.edit("a0-new/test_score.py", lambda text: text.replace(*reversed(ASKS_TOO_MUCH)))
    shown = semester.type("autograder regrade -a a0 --dry-run --suite a0-new")
    require("75" in shown and "100" in shown, "the preview names who changes")
    semester.type("cp a0-new/test_score.py hidden/a0/test_score.py")
    semester.type("rm -r a0-new")
    semester.type("autograder regrade -a a0 --why '第三题的要求超出了文档'")
    settled(semester)
    until(lambda: "| Total | 100 | 😊 |" in semester.score_md("xuqiang", "a0"), "the regrade")


def look_for_copies(semester: Semester) -> None:
    """Who has the work of somebody else?"""
    semester.title("Similar work")
    shown = semester.type("autograder similar -a a0 --html ../similar")
    require(all(login in shown for login in COPIED), "the two who copied are named")
    require((semester.folder / "similar" / "index.html").is_file(), "the report is there")


def grades(semester: Semester) -> None:
    """The gradebook, in all forms."""
    semester.title("The gradebook")
    semester.type("autograder grades")
    semester.type("autograder grades -a a0 --cases")
    for form, name in (
        ("csv", "grades.csv"),
        ("xlsx", "grades.xlsx"),
        ("canvas", "canvas.csv"),
        ("moodle", "moodle.csv"),
    ):
        semester.type(f"autograder grades --format {form} --to ../{name}")
    rows = list(csv.DictReader(io.StringIO((semester.folder / "grades.csv").read_text("utf-8-sig"))))
    require(len(rows) == 30 and any("王小明" in row.values() for row in rows), "a row for each student")
    from openpyxl import load_workbook

    sheet = load_workbook(semester.folder / "grades.xlsx", read_only=True).active
    cells = [str(cell.value) for row in sheet.iter_rows() for cell in row]
    require("王小明" in cells and "吴倩" in cells, "the workbook has the students")
    semester.type("autograder stats -a a0")
    semester.type("autograder collect -a a0 --to ../a0-work")
    require(len(list((semester.folder / "a0-work").iterdir())) >= 29, "the work of everybody who pushed")


def archive(semester: Semester) -> None:
    """The end of the term."""
    semester.title("The end")
    semester.type("autograder verify --all")
    semester.type("autograder ledger check")
    semester.type("autograder course archive --to ../dls-2026.zip")
    semester.type("autograder ledger check ../dls-2026.zip")


def new_term(semester: Semester) -> None:
    """The data of one student, and a new term, after the service was stopped."""
    semester.title("The service is stopped; one student's data, and a new term")
    shown = semester.type("autograder course student show 2026012")
    require("徐强" in shown, "what the course holds of a student")
    semester.type("autograder course student remove 2026012 --why '本人要求' --dry-run")
    left = semester.type("autograder course new-term --archive ../dls-2026.zip")
    require("closes" in left, "what only staff can do is named")
    ledger = semester.course / ".autograder" / "ledger.sqlite"
    require(
        not ledger.exists() or "王小明" not in semester.type("autograder grades -a a0 --at 2026-01-01"),
        "an empty ledger",
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
