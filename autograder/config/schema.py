"""The tables and keys of `autograder.toml`, and what their values may be. Checks that need more than one key, or the
line where something stands, are in `reading`.

A docstring's `Attributes` describe the keys in the words of docs/configuration.md.
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from autograder.config.secrets import course_secret
from autograder.errors import ConfigError
from autograder.hosts import KindName
from autograder.sandbox.kinds import Choice
from autograder.sandbox.limits import Limits

STATE_FOLDER = ".autograder"

Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(gt=0)]
Days = Annotated[float, Meta(gt=0)]


class BuildConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that is made of a submission once, before its cases run.

    Attributes:
        probe: name of the probe that returns a dict of path -> bytes, added to the submission's files.
        sources: glob patterns of the files that the result depends on, and which the probe gets.
        prepare: name of a probe that makes, from our files alone, what `probe` can start from; optional.
        seconds: time limit.
    """

    probe: str
    sources: tuple[str, ...]
    prepare: str = ""
    seconds: float = 60.0


class ReleaseConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the starter of an assignment holds, and what it must score.

    Attributes:
        task: what its stubs are called by: Task1.
        files: glob patterns of the files that are this assignment's own; those of none are in every starter.
        score: points that the starter gets, as it is handed out.
        given: the assignments before it, whose files come along, solved.
        complete: hand this assignment itself out solved.
        public: lines that may be seen although they stand in a solution or a hidden case as well.
    """

    task: str
    files: tuple[str, ...]
    score: int
    given: tuple[str, ...] = ()
    complete: bool = False
    public: tuple[str, ...] = ()


class AssignmentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One assignment.

    Attributes:
        suite: folder with test_score.py and probes.py, relative to the configuration file.
        title: shown to people.
        preload: modules that the warm processes import before they fork: what the suite needs, no more.
        given: glob patterns of files of ours under the reference that replace the student's.
        plugins: pytest plugins that the suite uses, by module name.
        devices: device nodes that student code may use, such as /dev/nvidia0.
        timeout: seconds of student code per case, where the case says nothing else.
        limits: of the sandbox for one case: wall_seconds, memory_bytes, processes, …
        build: what is made of a submission before its cases run.
        host: name of the git host; may be left out where there is one.
        repositories: patterns `owner/name` of the repositories whose pushes are graded; `*` and `?` match within one
            part. What the last `*` matched is the student; without one it is the repository's name.
        branch: pushes to which are graded.
        zone: time zone of the times below, such as Europe/Berlin.
        opens: the first moment at which a push counts, `2026-09-01 08:00`; empty: always.
        closes: the last moment at which a push is on time; empty: never.
        grace_minutes: how much later it still counts.
        extensions_file: later deadlines of single students, .csv or .toml; read anew when it changes.
        policy: which push counts, the `last` in time or the `best`.
        queue: which workers grade it: `cpu` or `gpu`.
        release: what students get.
    """

    suite: str
    title: str = ""
    preload: tuple[str, ...] = ("numpy",)
    given: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    timeout: float = 10.0
    limits: dict[str, bool | int | float] = {}
    build: BuildConfig | None = None
    host: str = ""
    repositories: tuple[str, ...] = ()
    branch: str = "main"
    zone: str = ""
    opens: str = ""
    closes: str = ""
    grace_minutes: float = 0.0
    extensions_file: str = ""
    policy: Literal["last", "best"] = "last"
    queue: Literal["cpu", "gpu"] = "cpu"
    release: ReleaseConfig | None = None


class SandboxConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How student code is walled in.

    Attributes:
        kind: `auto` takes the strongest wall that works here.
        waive: protections that may be missing; each is named in every report.
        image: of the containers, where `kind` is `docker`.
        volumes: folders of the host that these containers show read-only, as HOST:INSIDE.
    """

    kind: Choice = "auto"
    waive: tuple[str, ...] = ()
    image: str = ""
    volumes: tuple[str, ...] = ()


class LedgerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where pushes, jobs and reports are recorded.

    Attributes:
        url: sqlite:///FILE, relative to the configuration file, or postgresql://USER@HOST/DATABASE. A password
            belongs into AUTOGRADER_LEDGER_URL, which goes before this key.
    """

    url: str = f"sqlite:///{STATE_FOLDER}/ledger.sqlite"


class HostConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One git host. The table's name is that by which the ledger knows it: git.uni.example, or with a port.

    Attributes:
        kind: who tells us of pushes: a webhook of `github`, `gitea` (also Forgejo) or `gitlab`; or, for bare
            repositories in a `folder` of this machine, their post-receive hook.
        base: where repositories lie, as git reaches them: https://HOST, ssh://git@HOST, or a folder. A repository is
            at BASE/OWNER/NAME.git.
        webhook_secret_file: secrets that sign the host's webhooks, one a line; two while one is being changed.
        token_file: the password for https, such as a token with access to contents.
        username: that goes with the token.
        app_id: of a GitHub App, or its client id; in place of a token.
        app_installation: number of the App's installation in the organisation that owns the repositories.
        app_key_file: private key of the App (PEM).
        api: base of the REST API, asked for the App's tokens; empty: https://api.github.com, or https://HOST/api/v3.
        ssh_key_file: private key for ssh, without a passphrase.
        known_hosts_file: the host's public keys; needed for ssh.
        ca_file: certificates (PEM) to trust for https in place of the system's.
        bots: login names whose pushes are our own and are not graded.
    """

    kind: KindName
    base: str
    webhook_secret_file: str = ""
    token_file: str = ""
    username: str = "x-access-token"
    app_id: str = ""
    app_installation: Count = 0
    app_key_file: str = ""
    api: str = ""
    ssh_key_file: str = ""
    known_hosts_file: str = ""
    ca_file: str = ""
    bots: tuple[str, ...] = ()


class ServiceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The grading service.

    Attributes:
        listen: address and port; port 0 takes a free one.
        url: how people reach it.
        spool: folder in which hooks leave pushes.
        staff_token_file: what staff sign in with; made at the first start.
        jobs: database of the job queue, sqlite:///FILE or postgresql://…; empty: a file beside the ledger's, or the
            ledger's PostgreSQL. A password belongs into AUTOGRADER_SERVICE_JOBS.
        drain_seconds: how long jobs that run may go on after SIGTERM.
        retries: how often a job is tried again after a fault that is not the student's.
        retry_seconds: before the first of these; each next wait is twice as long.
        lease_seconds: after which a worker that is not heard of is taken for dead.
        keep_days: how long finished jobs stay in the queue's database; the ledger keeps everything.
    """

    listen: str = "127.0.0.1:8700"
    url: str = "http://127.0.0.1:8700"
    spool: str = f"{STATE_FOLDER}/spool"
    staff_token_file: str = f"{STATE_FOLDER}/staff-token"
    jobs: str = ""
    drain_seconds: Annotated[float, Meta(ge=0)] = 30.0
    retries: Count = 5
    retry_seconds: Seconds = 10.0
    lease_seconds: Seconds = 30.0
    keep_days: Days = 30.0


class FeedbackConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The commits that answer pushes.

    Attributes:
        branch: where they go; ours alone.
        name: of their author.
        email: of their author.
        signing_key_file: SSH private key without a passphrase that signs them; empty: unsigned.
    """

    branch: str = "score-feedback"
    name: str = "autograder"
    email: str = "autograder@localhost"
    signing_key_file: str = ""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file.

    Attributes:
        assignments: by name.
        course: shown to people.
        reference: the folder that holds the solved src/.
        secret_file: the course secret, from which random inputs are drawn; made at the first start.
        sandbox, ledger, service, feedback: see there.
        hosts: by the name that the ledger records.
        folder: where the file lies; paths in it are relative to that. No key of the file.
    """

    assignments: dict[str, AssignmentConfig] = {}
    course: str = ""
    reference: str = "."
    secret_file: str = f"{STATE_FOLDER}/secret"
    sandbox: SandboxConfig = SandboxConfig()
    ledger: LedgerConfig = LedgerConfig()
    service: ServiceConfig = ServiceConfig()
    feedback: FeedbackConfig = FeedbackConfig()
    hosts: dict[str, HostConfig] = {}
    folder: str = "."

    def path(self, relative: str) -> Path:
        """Return a path of the file as an absolute one."""
        return (Path(self.folder) / relative).resolve()

    @property
    def state(self) -> Path:
        """Where the grader keeps caches and its secret."""
        return self.path(STATE_FOLDER)

    def assignment(self, name: str) -> AssignmentConfig:
        """Return one assignment.

        Raises:
            ConfigError: there is none of that name.
        """
        if name not in self.assignments:
            raise ConfigError(
                f"there is no assignment {name!r}; autograder.toml has {', '.join(self.assignments)}"
            )
        return self.assignments[name]

    def base(self, host: str) -> str:
        """Return where the repositories of a configured host lie; a folder as an absolute path."""
        base = self.hosts[host].base
        return base if "://" in base else str(self.path(base))

    def host_of(self, assignment: str) -> str:
        """Return the host of an assignment: the one that it names, or the only one; empty where there is none."""
        named = self.assignment(assignment).host
        return named or (next(iter(self.hosts)) if len(self.hosts) == 1 else "")

    def limits(self, name: str) -> Limits:
        """Return the sandbox limits of one assignment."""
        return Limits(**self.assignment(name).limits)  # type: ignore[arg-type]

    def ledger_url(self) -> str:
        """Return the ledger's URL; a relative file in it is relative to `folder`."""
        return self.ledger.url

    def secret(self) -> bytes:
        """Return the course secret, from the environment or the file; makes the file the first time.

        Raises:
            ConfigError: it is too short to be a secret, or the file cannot be made.
        """
        return course_secret(self.path(self.secret_file))
