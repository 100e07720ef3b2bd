"""Staff are told by mail or webhook: once when something begins, and again when it ends."""

import http.server
import json
import socketserver
import threading
from contextlib import contextmanager
from email import message_from_bytes, policy

import msgspec
import pytest
from click.testing import CliRunner

from autograder import config as configuration
from autograder.cli import main
from autograder.config.schema import NoticesConfig
from autograder.errors import ConfigError, GraderError
from autograder.ledger import JobState, Ledger, LedgerError
from autograder.service import channels
from autograder.service.channels import FORMS, Message
from autograder.service.metrics import Depth
from autograder.service.notices import FILE, Notices, recall
from tests.support.ledgers import NOON, Clock, Semester, report
from tests.support.webservice import new_service


class Channel:
    """Keeps what it is told; fails while `fault` is set."""

    def __init__(self):
        self.messages, self.fault = [], ""

    def __call__(self, message):
        if self.fault:
            raise GraderError(self.fault)
        self.messages.append(message)


class Office:
    """A service, notices that look when a test says so, and two channels."""

    def __init__(self, folder, ledger, clock):
        self.service, self.clock = new_service(folder, ledger, clock), clock
        self.service.queue.depths = {}
        self.problems = []
        self.service.checks.append(lambda: self.problems)
        self.semester = Semester(ledger, clock)
        self.mail, self.chat = Channel(), Channel()
        self.restart()

    def restart(self):
        self.notices = Notices(self.service, {"mail": self.mail, "chat": self.chat}, self.clock)

    def look(self, **later):
        """Look after some time; return what the mail says about it: (began, ended), or None."""
        self.clock.after(**(later or {"minutes": 11}))
        number = len(self.mail.messages)
        self.notices.look()
        if len(self.mail.messages) == number:
            return None
        assert len(self.mail.messages) == number + 1
        return list(self.mail.messages[-1].began), list(self.mail.messages[-1].ended)

    def die(self, word, reason="disk full"):
        self.semester.push(word)
        job = self.semester.run(word)
        self.semester.ledger.move(job.id, JobState.DEAD, reason=reason)
        return job


@pytest.fixture
def office(folder):
    clock = Clock()
    with Ledger.open(f"sqlite:///{folder / 'ledger.sqlite'}", clock=clock) as ledger:
        yield Office(folder, ledger, clock)


def test_a_dead_job_is_told_once_and_again_when_it_is_not_dead_any_more(office):
    assert office.look() is None
    job = office.die("one")
    (line,), ended = office.look()
    assert line == f"{job.id} is dead: disk full (autograder jobs show {job.id})"
    assert ended == []
    assert office.mail.messages[-1].subject == "autograder: 1 new"
    assert office.look() is None
    office.semester.ledger.move(job.id, JobState.QUEUED, reason="tried again")
    assert office.look() == ([], [line])
    assert office.look() is None
    assert len(office.chat.messages) == 2


def test_a_restart_repeats_nothing(office):
    office.die("one")
    office.look()
    office.restart()
    assert office.look() is None
    (office.service.course.config.state / FILE).write_text("not JSON")
    office.restart()
    assert office.look()[0]  # nobody knows what staff were told: better twice than never


def test_many_at_once_are_few_messages(office):
    office.die("first")
    assert len(office.look()[0]) == 1
    for number in range(30):
        office.die(f"w{number}", "the suite of a0 is at fault\n" + "x" * 1000)
        if number < 3:  # a few minutes
            assert office.look(seconds=1) is None  # the pause
    began, _ = office.look()
    assert len(began) == 21
    assert began[-1] == "… and 10 more; see autograder status"
    assert all("\n" not in line and len(line) < 700 for line in began)


def test_a_queue_that_waits_and_a_problem_that_lasts(office):
    office.service.queue.depths = {"cpu": Depth(3, 1, 599.0)}
    office.problems.append("the disk is nearly full")
    assert office.look(minutes=1) is None
    assert office.look(minutes=9) is None
    assert office.look(minutes=1) == (["problem: the disk is nearly full"], [])
    office.service.queue.depths = {"cpu": Depth(3, 1, 601.0)}
    began, _ = office.look()
    assert began == [
        "the queue cpu waits: the oldest job was due more than 10 minutes ago (autograder status)"
    ]
    office.service.queue.depths = {}
    office.problems.clear()
    assert len(office.look()[1]) == 2
    office.problems.append("the disk is nearly full")
    assert office.look(minutes=2) is None  # it has to last again


def test_a_problem_whose_numbers_change_is_one_problem(office):
    for free in (90, 80, 70):
        office.problems[:] = [f"only {free} MiB are free"]
        told = office.look(minutes=6)
    assert told == (["problem: only 70 MiB are free"], [])
    office.problems[:] = ["only 60 MiB are free"]
    assert office.look() is None


def test_a_fault_of_a_suite_is_told_once_and_ends_when_the_suite_changes(office):
    semester = office.semester

    def grade(word, suite, **draws):
        semester.push(word)
        job = semester.run(word)
        semester.ledger.add_report(job.id, report(suite_digest=suite, draws=draws))
        semester.ledger.move(job.id, JobState.FINAL)

    grade("one", "s1")
    assert office.look() is None
    grade("two", "s1", **{"Task0 - Case2": 1})
    (line,), _ = office.look()
    assert line.startswith("a0: the reference failed Task0 - Case2 of its own suite")
    grade("three", "s1", **{"Task0 - Case2": 2})
    assert office.look() is None
    office.restart()
    assert office.look() is None
    grade("four", "s2")
    assert office.look() == ([], [line])


def test_a_fault_of_a_suite_ends_after_a_day(office):
    office.semester.push("one")
    job = office.semester.run("one")
    office.semester.ledger.add_report(job.id, report(suite_digest="s", draws={"Task0 - Case1": 1}))
    office.semester.ledger.move(job.id, JobState.FINAL)
    assert len(office.look()[0]) == 1
    assert len(office.look(hours=25)[1]) == 1


def test_a_channel_that_fails_is_tried_again_and_the_other_is_not_repeated(office):
    office.chat.fault = "the webhook is away"
    office.die("one")
    assert office.look() is not None
    assert recall(office.service.course.config.state / FILE)["chat"].failed == "the webhook is away"
    office.chat.fault = ""
    assert office.look(minutes=1) is None
    assert office.chat.messages == []
    assert office.look() is None
    assert [len(message.began) for message in office.chat.messages] == [1]


def test_a_ledger_that_cannot_be_read_is_no_notice_and_no_end(office, monkeypatch):
    office.die("one")
    office.look()

    def broken(**_):
        raise LedgerError("away")

    monkeypatch.setattr(office.service.ledger, "jobs", broken)
    assert office.look() is None


# the channels --------------------------------------------------------------------------------------------

MESSAGE = Message("dl: 1 new, 1 ended", ["job “ä” is dead\tx"], ["the queue cpu waits"], NOON)


@contextmanager
def serving(handler):
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def mail_server(*, refuses=False, bye=b"221 bye"):
    """A mail server on loopback; yields its port and the mails that it took."""
    mails = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            self.wfile.write(b"220 here\r\n")
            while line := self.rfile.readline():
                word = line.split()[0].upper()
                if word == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    mails.append(b"".join(iter(self.rfile.readline, b".\r\n")))
                if word == b"RCPT" and refuses:
                    self.wfile.write(b"550 nobody\r\n")
                else:
                    self.wfile.write(bye + b"\r\n" if word == b"QUIT" else b"250 ok\r\n")

    with serving(Handler) as server:
        yield server.server_address[1], mails


@contextmanager
def webhook(status=200):
    """A webhook on loopback; yields its address and the bodies that it took."""
    bodies = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with serving(Handler) as server:
        yield f"http://127.0.0.1:{server.server_address[1]}/hook/Zq7-secret", bodies


def config(folder, **notices):
    return msgspec.structs.replace(
        configuration.parse('[assignments.t]\nsuite = "t"\n', folder / "autograder.toml"),
        notices=NoticesConfig(**notices),
    )


def test_a_mail(folder):
    with mail_server() as (port, mails):
        settings = config(
            folder, mail_to=("ta@uni.example", "b@uni.example"), smtp=f"smtp://127.0.0.1:{port}"
        )
        channels.mail(settings, MESSAGE)
    mail = message_from_bytes(mails[0], policy=policy.default)
    assert mail["To"] == "ta@uni.example, b@uni.example"
    assert mail["Subject"] == "dl: 1 new, 1 ended"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content().splitlines() == [
        "dl: 1 new, 1 ended",
        "• job “ä” is dead\tx",
        "✓ ended: the queue cpu waits",
    ]


def test_a_mail_that_was_taken_is_sent_whatever_the_server_says_at_the_end(folder):
    with mail_server(bye=b"421 too busy") as (port, mails):
        channels.mail(config(folder, mail_to=("ta@uni.example",), smtp=f"smtp://127.0.0.1:{port}"), MESSAGE)
    assert len(mails) == 1


def test_a_subject_of_several_lines_adds_no_header(folder):
    evil = Message("a\r\nBcc: eve@evil.example", [], [], NOON)
    with mail_server() as (port, mails):
        channels.mail(config(folder, mail_to=("ta@uni.example",), smtp=f"smtp://127.0.0.1:{port}"), evil)
    assert message_from_bytes(mails[0], policy=policy.default)["Bcc"] is None


def test_a_mail_server_that_refuses_or_is_away(folder):
    with mail_server(refuses=True) as (port, _):
        settings = config(folder, mail_to=("ta@uni.example",), smtp=f"smtp://127.0.0.1:{port}")
        with pytest.raises(GraderError, match="took no mail"):
            channels.mail(settings, MESSAGE)
    with pytest.raises(GraderError, match="took no mail"):
        channels.mail(settings, MESSAGE)
    with mail_server() as (port, _), pytest.raises(GraderError, match="STARTTLS"):
        channels.mail(
            config(folder, mail_to=("a@uni.example",), smtp=f"starttls://127.0.0.1:{port}"), MESSAGE
        )


@pytest.mark.parametrize("kind", sorted(FORMS))
def test_each_kind_of_webhook(folder, kind):
    with webhook() as (address, bodies):
        (folder / "hook").write_text(address)
        channels.request(config(folder, webhook_file="hook", webhook_kind=kind), MESSAGE)
    (body,) = bodies
    text = {
        "slack": lambda: body["text"],
        "discord": lambda: body["content"],
        "dingtalk": lambda: body["text"]["content"],
        "feishu": lambda: body["content"]["text"],
        "json": lambda: "\n".join([body["subject"], *body["began"], *body["ended"]]),
    }[kind]()
    assert text.startswith("dl: 1 new, 1 ended\n")
    assert "the queue cpu waits" in text


@pytest.mark.parametrize("kind", sorted(FORMS.keys() - {"json"}))
def test_text_of_a_student_calls_nobody_in_a_chat(kind):
    evil = '<!channel> <@U1> <https://evil.example|score> <at user_id="all">x</at> @everyone @all'
    body = FORMS[kind](Message("dl: 1 new", [evil], [], NOON))
    text = json.dumps(body, ensure_ascii=False)
    assert ("<" in text) == (kind in ("discord", "dingtalk"))  # they read no such marks in plain text
    if kind == "discord":
        assert body["allowed_mentions"] == {"parse": []}
    assert "at" not in body  # DingTalk calls those whom this key names, not those in the text


def test_a_webhook_that_refuses_redirects_or_is_away_and_no_error_shows_its_address(folder):
    for status in (500, 302):
        with webhook(status) as (address, _):
            (folder / "hook").write_text(address)
            with pytest.raises(GraderError, match=f"refused, with status {status}") as caught:
                channels.request(config(folder, webhook_file="hook"), MESSAGE)
            assert "Zq7" not in str(caught.value)
    with pytest.raises(GraderError, match="cannot be reached") as caught:
        channels.request(config(folder, webhook_file="hook"), MESSAGE)
    assert "Zq7" not in str(caught.value)


@pytest.mark.parametrize("address", ["http://chat.example/x", "file:///etc/passwd", "chat"])
def test_a_webhook_is_https(folder, address):
    (folder / "hook").write_text(address)
    with pytest.raises(ConfigError, match="must be an https address"):
        channels.request(config(folder, webhook_file="hook"), MESSAGE)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('mail_to = ["ta"]', "'ta' is not a mail address"),
        ('mail_to = ["a@b.example\\nBcc: c@d.example"]', "is not a mail address"),
        ('smtp = "mail.uni.example"', "must be smtp://localhost:25"),
        ('smtp = "smtp://mail.uni.example:25"\nsmtp_user = "ta"', "a password is sent over TLS only"),
        ("pause_minutes = 0", "Expected `float` > 0"),
    ],
)
def test_what_the_configuration_refuses(folder, line, message):
    text = f'[assignments.t]\nsuite = "t"\n[notices]\n{line}\n'
    with pytest.raises(ConfigError) as caught:
        configuration.parse(text, folder / "autograder.toml")
    assert message in str(caught.value)
    assert "notices." in str(caught.value)


def notices(folder, *arguments):
    return CliRunner().invoke(main, ["notices", "--config", str(folder / "autograder.toml"), *arguments])


def test_the_command(folder, monkeypatch):
    file = folder / "autograder.toml"
    file.write_text('[assignments.t]\nsuite = "t"\n')
    result = notices(folder)
    assert result.exit_code == 2
    assert "nobody is told" in result.output
    with webhook() as (address, bodies):
        monkeypatch.setenv("AUTOGRADER_NOTICES_WEBHOOK", address)
        file.write_text(
            '[assignments.t]\nsuite = "t"\n[notices]\nmail_to = ["a@b.example"]\nsmtp = "smtp://127.0.0.1:1"\n'
        )
        result = notices(folder, "--test")
    assert result.exit_code == 1
    assert "ok    webhook: sent" in result.output
    assert "FAIL  mail: the mail server 127.0.0.1:1 took no mail" in result.output
    assert "nothing needs you" in bodies[0]["text"]
    (folder / ".autograder").mkdir()
    (folder / ".autograder" / FILE).write_text(
        json.dumps({"mail": {"lines": {"dead x": "x is dead"}, "at": None, "failed": ""}})
    )
    assert "mail     x is dead\n" in notices(folder).output
    assert json.loads(notices(folder, "--json").output)["mail"]["told"] == ["x is dead"]
