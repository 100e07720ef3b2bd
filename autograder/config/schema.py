"""The tables and keys of `autograder.toml`, their types and defaults. Checks that need several keys are in `reading`.

The tables of docs/configuration.md repeat the defaults, and repeat the `Attributes` of the docstrings word for word.
"""

from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from autograder.config.secrets import course_secret
from autograder.errors import ConfigError
from autograder.git.feedback import BRANCH, Identity
from autograder.git.remote import Credentials
from autograder.hosts import KindName
from autograder.language import Language, languages
from autograder.report import Form
from autograder.sandbox.inside.cpp import BUILD, PREPARE
from autograder.sandbox.kinds import Choice
from autograder.sandbox.limits import Limits

STATE_FOLDER = ".autograder"

QueueName = Literal["cpu", "gpu"]
QUEUES: tuple[QueueName, ...] = get_args(QueueName)

Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(gt=0)]
Days = Annotated[float, Meta(gt=0)]
Minutes = Annotated[float, Meta(gt=0)]
Bytes = Annotated[int, Meta(gt=0)]
Number = Annotated[int, Meta(gt=0)]


class LimitsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one case may use, see `autograder.sandbox.limits.Limits`.

    Attributes:
        wall_seconds: time from the moment when student code begins, with the import of `src`; time in which the case
            has no processor does not count. The timeout of a case takes precedence.
        starved_seconds: wall-clock time after which a case is given up that has not used its time; without this key,
            10 * wall_seconds + 60.
        cpu_seconds: CPU time of each process; without this key, 4 * wall_seconds + 1.
        memory_bytes: memory of all processes together, and the address space of each process; neither counts what the
            fork server has already.
        limit_address_space: whether the address space is limited. Switch this off for CUDA.
        processes: the number of processes and threads at a time.
        open_files: the number of open files of each process.
        file_bytes: the largest file that can be written.
        tmp_bytes: the size of /tmp, and of /dev/shm.
        tmp_files: the number of files in /tmp, and in /dev/shm.
        output_bytes: the size of stdout and stderr together; a case that prints more is ended.
        kept_output_bytes: how much is kept of the beginning of each stream, and as much of its end.
        reply_bytes: the size of the returned value, encoded.
    """

    wall_seconds: Seconds = Limits.wall_seconds
    starved_seconds: Seconds | None = Limits.starved_seconds
    cpu_seconds: Seconds | None = Limits.cpu_seconds
    memory_bytes: Bytes = Limits.memory_bytes
    limit_address_space: bool = Limits.limit_address_space
    processes: Number = Limits.processes
    open_files: Number = Limits.open_files
    file_bytes: Bytes = Limits.file_bytes
    tmp_bytes: Bytes = Limits.tmp_bytes
    tmp_files: Number = Limits.tmp_files
    output_bytes: Bytes = Limits.output_bytes
    kept_output_bytes: Bytes = Limits.kept_output_bytes
    reply_bytes: Bytes = Limits.reply_bytes


class BuildConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A build step that runs once for a submission, before its cases.

    Attributes:
        cpp: folder of a C++ extension, such as src/softmax_ext. The program builds it; `probe`, `prepare` and `sources`
            are not needed, and its build.py, __init__.py, binding.cpp and header are given files.
        probe: name of the probe that returns a dict of path -> bytes; cases with `needs_build` find these files by
            their names in the folder AUTOGRADER_BUILD.
        sources: glob patterns of the files that the build depends on; the probe receives them.
        packages: packages that the build imports, besides those of the assignment.
        prepare: optional name of a probe that runs once, on given files alone; every build starts from its result.
        seconds: time limit of the build, by the clock of a case: time without a processor does not count.
    """

    cpp: str = ""
    probe: str = ""
    sources: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    prepare: str = ""
    seconds: Seconds = 60.0

    def whole(self) -> "BuildConfig":
        """Return this build with everything that `cpp` stands for."""
        if not self.cpp:
            return self
        return msgspec.structs.replace(
            self,
            probe=BUILD,
            prepare=PREPARE,
            packages=tuple(dict.fromkeys(("pybind11", *self.packages))),
            sources=tuple(f"{self.cpp}/*{suffix}" for suffix in (".cpp", ".hpp", ".py")),
        )

    def given(self) -> tuple[str, ...]:
        """Return patterns of the files of a C++ extension that students do not write."""
        return tuple(f"{self.cpp}/{name}" for name in ("*.py", "*.hpp", "binding.cpp")) if self.cpp else ()


class ReleaseConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of an assignment's starter, and the score that the starter must get.

    Attributes:
        task: name of the task in its stubs, such as Task1.
        files: glob patterns of the files that belong to this assignment; a file of no assignment is in every starter. A
            file without solutions may belong to several.
        score: points of the starter before anybody works on it.
        given: earlier assignments whose files are included, solved, as far as this assignment's files import them.
        complete: whether this assignment is handed out solved.
        tools: what students install besides the packages of the assignment. Of requirements.txt, only the lines of
            these distributions and of the packages are in the starter.
        public: lines that students may see even if a solution or a hidden case contains them.
    """

    task: str
    files: tuple[str, ...]
    score: int
    given: tuple[str, ...] = ()
    complete: bool = False
    tools: tuple[str, ...] = ("pytest", "pytest-timeout")
    public: tuple[str, ...] = ()


class StarterConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a starter has beside src/. `[starter]` holds for every assignment; `[assignments.NAME.starter]` adds to it.

    Attributes:
        files: glob patterns of files of the course; they have the same path in a starter.
        folders: folders of the course; the files below them are in a starter without the folder's name.
        handout: name in a starter = document of the course, for each language. Sections about what is not in the
            starter are left out. Each document names the task and the files in which students write.
        tests: the visible tests, by their path in a starter: before anybody works on the starter, they fail for missing
            solutions alone. Students may change them.
        theirs: other files of the starter that students may change, besides those with stubs.
        reference_tests: tests among these files that compare with the wheel `ref`, and must pass with it.
    """

    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    handout: dict[str, str] = {}
    tests: tuple[str, ...] = ()
    theirs: tuple[str, ...] = ()
    reference_tests: tuple[str, ...] = ()


class AssignmentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One assignment.

    Attributes:
        suite: folder with test_score.py and probes.py, relative to the configuration file.
        title: name for people.
        packages: the packages that student code may import, besides the standard library and those of `preload`. The
            sandbox hides all others, except what these require.
        preload: modules that the fork server and the suite server import before they fork: what the suite needs, no
            more.
        given: glob patterns of files under the reference that replace the student's.
        data: glob patterns of files in src/ that may be data. All other files must be text in UTF-8.
        plugins: pytest plugins that the suite uses, by module name.
        devices: device nodes that student code may use, such as /dev/nvidia0; one submission at a time on each.
        timeout: seconds of student code per case, unless the case sets its own.
        points: what the cases together must be worth, without extra credit; 0: any sum.
        limits: what one case may use, see below.
        build: a build step that runs before the cases, see below.
        host: name of the git host; may be left out if there is only one.
        repositories: patterns `owner/name` of the repositories whose pushes are graded; `*` and `?` match within one
            part. The text that the last `*` matches is the student's name; without a `*` it is the repository's name.
        branch: the branch whose pushes are graded.
        zone: time zone of the times below, such as Europe/Berlin.
        opens: the first moment at which a push counts, `2026-09-01 08:00`; empty: pushes always count.
        closes: the last minute in which a push is on time, `2026-09-15 23:59`; empty: there is no deadline.
        grace_minutes: how many minutes after `closes` a push still counts.
        late_days_allowed: a push up to so many days after `closes` is graded and counts, at the price below.
        late_points_per_day: how many points each late day takes off.
        late_percent_per_day: how many percent of the points that grading gave each late day takes off.
        pushes_per_hour: so many pushes of a student are graded within an hour, a further one waits; 0: no limit.
        pushes_per_day: the same within 24 hours.
        extensions_file: later deadlines of single students, .csv or .toml; read again when it changes.
        policy: the score policy: which push counts, the `last` in time or the `best`.
        weight: its share in the total of the gradebook, compared with the other assignments; 0: it is left out.
        queue: which workers grade it: `cpu` or `gpu`.
        release: what students get, see below.
        starter: what its starter has beside src/, see below.
    """

    suite: str
    title: str = ""
    packages: tuple[str, ...] = ("numpy",)
    preload: tuple[str, ...] = ("numpy",)
    given: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    timeout: Seconds = 10.0
    points: Count = 0
    limits: LimitsConfig = LimitsConfig()
    build: BuildConfig | None = None
    host: str = ""
    repositories: tuple[str, ...] = ()
    branch: str = "main"
    zone: str = ""
    opens: str = ""
    closes: str = ""
    grace_minutes: float = 0.0
    late_days_allowed: Annotated[int, Meta(ge=0, le=366)] = 0
    late_points_per_day: Count = 0
    late_percent_per_day: Annotated[float, Meta(ge=0, le=100)] = 0.0
    pushes_per_hour: Count = 0
    pushes_per_day: Count = 0
    extensions_file: str = ""
    policy: Literal["last", "best"] = "last"
    weight: Annotated[float, Meta(ge=0)] = 1.0
    queue: QueueName = "cpu"
    release: ReleaseConfig | None = None
    starter: StarterConfig = StarterConfig()

    def importable(self) -> tuple[str, ...]:
        """Return the names of all packages that student code can import, besides the standard library."""
        return tuple(dict.fromkeys(name.partition(".")[0] for name in (*self.packages, *self.preload)))


class CourseConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The course as a whole. `course = "NAME"` at the top of the file is short for a table with `name` alone.

    Attributes:
        name: name for people. `course = "NAME"` at the top of the file is short for a table with this key alone.
        contact: whom students ask, such as an address or a forum; handouts name it.
        roster: the people of the course, a .csv file; read again when it changes; empty: there is no roster.
        late_days: so many late days of each student, over all assignments, cost nothing. They are taken in the order of
            the deadlines.
    """

    name: str = ""
    contact: str = ""
    roster: str = ""
    late_days: Count = 0


class SandboxConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The sandbox around student code.

    Attributes:
        kind: `auto` takes the strongest wall that works here.
        waive: protections that may be missing; a report names those that were in force.
        image: the image of the containers, if `kind` is `docker`.
        volumes: folders of this machine that the containers can read, as HOST:INSIDE.
    """

    kind: Choice = "auto"
    waive: tuple[str, ...] = ()
    image: str = ""
    volumes: tuple[str, ...] = ()


class LedgerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where pushes, jobs and reports are recorded.

    Attributes:
        url: sqlite:///FILE, relative to the configuration file, or postgresql://USER@HOST/DATABASE. Put a password into
            AUTOGRADER_LEDGER_URL, which takes precedence over this key.
    """

    url: str = f"sqlite:///{STATE_FOLDER}/ledger.sqlite"


class HostConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One git host. The name of the table is the host's name in the ledger: git.uni.example, or git.uni.example:3000.

    Attributes:
        kind: one of the kinds below; it decides who reports pushes.
        base: address of the repositories for git: https://HOST, ssh://git@HOST, or a folder. A repository is at
            BASE/OWNER/NAME.git.
        webhook_secret_file: file of the secret that signs the host's webhooks; during a change, the old and the new
            one, on a line each.
        token_file: file of the password for https, such as a token with access to contents.
        username: user name for https.
        app_id: id or client id of a GitHub App, which is used in place of a token.
        app_installation: number of the App's installation in the organisation that owns the repositories.
        app_key_file: file of the App's private key (PEM).
        api: base of the REST API, for the App's tokens and the host's record of pushes; empty: https://api.github.com,
            https://HOST/api/v3 (other GitHub), /api/v4 (GitLab) or /api/v1 (Gitea).
        admin_token_file: file of the token with which `autograder handout` makes repositories; empty: it uses the
            token or the App above.
        ssh_key_file: file of the private key for ssh, without a passphrase.
        known_hosts_file: file of the host's public keys; required for ssh.
        ca_file: file of certificates (PEM) to trust for https in place of the system's.
        bots: login names of the grader itself, whose pushes are not graded.
        student_keys: folder of students' public ssh keys, LOGIN.pub; only for the kind `folder`, see
            [handing-out.md](handing-out.md#bare-repositories-over-ssh).
        authorized_keys_file: the file in which `autograder handout` lets these keys open the students' repositories.
    """

    kind: KindName
    base: str
    webhook_secret_file: str = ""
    token_file: str = ""
    username: str = Credentials.username
    app_id: str = ""
    app_installation: Count = 0
    app_key_file: str = ""
    api: str = ""
    admin_token_file: str = ""
    ssh_key_file: str = ""
    known_hosts_file: str = ""
    ca_file: str = ""
    bots: tuple[str, ...] = ()
    student_keys: str = ""
    authorized_keys_file: str = ""


class ServiceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The grading service.

    Attributes:
        listen: address and port; port 0 takes a free one.
        url: address at which people reach the service.
        proxies: addresses of the proxies in front of the service, such as 127.0.0.1; only they may name the client
            address in `X-Forwarded-For`.
        spool: folder in which hooks leave pushes.
        staff_token_file: file of the token with which staff log in; made at the first start.
        jobs: database of the job queue, sqlite:///FILE or postgresql://…; empty: a file beside the ledger's, or the
            ledger's PostgreSQL database. Put a password into AUTOGRADER_SERVICE_JOBS.
        drain_seconds: how long running jobs may continue after SIGTERM.
        retries: how often a job is tried again after a fault that is not the student's.
        retry_seconds: wait before the first of these tries; each further wait is twice as long.
        lease_seconds: a worker that gives no sign of life for so long counts as dead.
        keep_days: how long finished jobs stay in the queue's database; the ledger keeps everything.
    """

    listen: str = "127.0.0.1:8700"
    url: str = "http://127.0.0.1:8700"
    proxies: tuple[str, ...] = ()
    spool: str = f"{STATE_FOLDER}/spool"
    staff_token_file: str = f"{STATE_FOLDER}/staff-token"
    jobs: str = ""
    drain_seconds: Annotated[float, Meta(ge=0)] = 30.0
    retries: Count = 5
    retry_seconds: Seconds = 10.0
    lease_seconds: Seconds = 30.0
    keep_days: Days = 30.0


class FeedbackConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The commits in which feedback is published.

    Attributes:
        branch: the branch for feedback commits, and for nothing else.
        name: author of the feedback commits.
        email: email address of this author.
        signing_key_file: file of an SSH private key without a passphrase, which signs the commits; empty: unsigned.
        score: the column Score of score.md: `points` shows what was earned, `of` also what each case is worth.
        language: the language of all that students read; `both` shows English and then Chinese.
        commit_status: whether a git host shows the score beside each commit, where it can and the token may set it.
    """

    branch: str = BRANCH
    name: str = Identity.name
    email: str = Identity.email
    signing_key_file: str = ""
    score: Literal["points", "of"] = "points"
    language: Language = "en"
    commit_status: bool = True

    @property
    def form(self) -> Form:
        """How score.md is written."""
        return Form(self.score, languages(self.language))


class NoticesConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Messages to staff when jobs are dead, a suite is at fault, a queue waits, or the service has a problem.

    Attributes:
        mail_to: addresses that get a mail.
        mail_from: the sender of the mails.
        smtp: the mail server: smtp://HOST:PORT of this machine, starttls://HOST:587 or smtps://HOST:465.
        smtp_user: user name for the mail server.
        smtp_password_file: file of the password for the mail server.
        webhook_file: file of an address that gets a POST request, such as an incoming webhook of a chat.
        webhook_kind: the form of the request: `slack` (also Mattermost and Rocket.Chat), `discord`, `dingtalk` (also
            WeCom), `feishu`, or `json`, which has all facts.
        after_minutes: how long a queue must wait, or a problem last, before staff are told.
        pause_minutes: the least time between two messages; what happens meanwhile is in the next one.
    """

    mail_to: tuple[str, ...] = ()
    mail_from: str = Identity.email
    smtp: str = "smtp://localhost:25"
    smtp_user: str = ""
    smtp_password_file: str = ""
    webhook_file: str = ""
    webhook_kind: Literal["slack", "discord", "dingtalk", "feishu", "json"] = "slack"
    after_minutes: Minutes = 10.0
    pause_minutes: Minutes = 10.0


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole configuration file.

    Attributes:
        assignments: the assignments, by name.
        reference: the folder that holds the solved src/.
        secret_file: file of the course secret, from which random inputs are drawn; made at the first start.
        course, starter, sandbox, ledger, service, feedback, notices: the tables of these names.
        hosts: the hosts, by the name that the ledger records.
        folder: the folder that contains the file; paths in the file are relative to it. It is not a key of the file.
        file: the path of the file, and `lines`: the line of each table and key by its full name, for messages. Neither
            is a key of the file.
    """

    assignments: dict[str, AssignmentConfig] = {}
    reference: str = "."
    secret_file: str = f"{STATE_FOLDER}/secret"
    course: CourseConfig = CourseConfig()
    starter: StarterConfig = StarterConfig()
    sandbox: SandboxConfig = SandboxConfig()
    ledger: LedgerConfig = LedgerConfig()
    service: ServiceConfig = ServiceConfig()
    feedback: FeedbackConfig = FeedbackConfig()
    notices: NoticesConfig = NoticesConfig()
    hosts: dict[str, HostConfig] = {}
    folder: str = "."
    file: str = ""
    lines: dict[str, int] = {}

    def where(self, *keys: str) -> str:
        """Return where a key is written, for messages: `autograder.toml:12: assignments.a0.suite`.

        If the file does not have the key, the line is that of the innermost table that it has.
        """
        name = ".".join(keys)
        if not self.file:
            return name
        known = [".".join(keys[:size]) for size in range(len(keys), 0, -1)]
        line = next((self.lines[key] for key in known if key in self.lines), 1)
        return f"{self.file}:{line}: {name}"

    def path(self, relative: str) -> Path:
        """Return a path from the file as an absolute path."""
        return (Path(self.folder) / relative).resolve()

    @property
    def state(self) -> Path:
        """The folder of caches and of the secrets that the grader makes."""
        return self.path(STATE_FOLDER)

    def assignment(self, name: str) -> AssignmentConfig:
        """Return one assignment.

        Raises:
            ConfigError: there is no assignment of that name.
        """
        if name not in self.assignments:
            raise ConfigError(
                f"there is no assignment {name!r}; autograder.toml has {', '.join(self.assignments)}"
            )
        return self.assignments[name]

    def starter_of(self, name: str) -> StarterConfig:
        """Return what the starter of one assignment has beside src/: the course's part and its own.

        Raises:
            ConfigError: there is no assignment of that name.
        """
        every, own = self.starter, self.assignment(name).starter
        return StarterConfig(
            files=(*every.files, *own.files),
            folders=(*every.folders, *own.folders),
            handout={**every.handout, **own.handout},
            tests=(*every.tests, *own.tests),
            theirs=(*every.theirs, *own.theirs),
            reference_tests=(*every.reference_tests, *own.reference_tests),
        )

    def with_suite(self, name: str, folder: str) -> "Config":
        """Return this configuration with another folder for the suite of one assignment.

        Raises:
            ConfigError: there is no assignment of that name.
        """
        changed = msgspec.structs.replace(self.assignment(name), suite=folder)
        return msgspec.structs.replace(self, assignments={**self.assignments, name: changed})

    def base(self, host: str) -> str:
        """Return the base of a configured host's repositories. A folder is returned as an absolute path."""
        base = self.hosts[host].base
        return base if "://" in base else str(self.path(base))

    def host_of(self, assignment: str) -> str:
        """Return the host that an assignment names, or else the only host in the file, or else an empty string."""
        named = self.assignment(assignment).host
        return named or (next(iter(self.hosts)) if len(self.hosts) == 1 else "")

    def limits(self, name: str) -> Limits:
        """Return the sandbox limits of one assignment."""
        return Limits(**msgspec.structs.asdict(self.assignment(name).limits))

    def ledger_url(self) -> str:
        """Return the URL of the ledger. A relative path in it starts from `folder`."""
        return self.ledger.url

    def secret(self, *, make: bool = True) -> bytes:
        """Return the course secret, from the environment or the file. If `make`, the file is made at the first call.

        Raises:
            ConfigError: the secret is too short, or the file cannot be made or read; or there is no secret, and `make`
                is False.
        """
        return course_secret(self.path(self.secret_file), make=make)
