"""The ways to send a message to staff: a mail, or a request to a webhook. Each has bounds of time.

Mail goes over smtplib with verified certificates. The address of a webhook is a secret, and no error shows it.
"""

import contextlib
import html
import json
import smtplib
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from http.client import HTTPException

from autograder.config import Config
from autograder.config.secrets import NOTICES_WEBHOOK_VARIABLE, SMTP_PASSWORD_VARIABLE, given
from autograder.errors import ConfigError, GraderError
from autograder.hosts.api import NoRedirect

SECONDS = 20.0
MAX_TEXT = 4000  # characters that chats take in one message


@dataclass(frozen=True)
class Message:
    """A message to staff.

    Attributes:
        subject: one line.
        began, ended: what began, and what ended, a line each.
        at: the moment.
    """

    subject: str
    began: Sequence[str]
    ended: Sequence[str]
    at: datetime

    @property
    def text(self) -> str:
        """All lines as one text."""
        lines = [*(f"• {line}" for line in self.began), *(f"✓ ended: {line}" for line in self.ended)]
        return "\n".join([self.subject, *lines])


Send = Callable[[Message], None]

# Lines may hold text of students, and no text calls everybody: Slack reads <!channel>, Feishu <at user_id="all">.
FORMS: dict[str, Callable[[Message], dict[str, object]]] = {
    "slack": lambda message: {"text": html.escape(message.text[:MAX_TEXT], quote=False)},
    "discord": lambda message: {"content": message.text[:2000], "allowed_mentions": {"parse": []}},
    "dingtalk": lambda message: {"msgtype": "text", "text": {"content": message.text[:MAX_TEXT]}},
    "feishu": lambda message: {
        "msg_type": "text",
        "content": {"text": message.text[:MAX_TEXT].replace("<", "＜")},
    },
    "json": lambda message: {
        "subject": message.subject,
        "began": list(message.began),
        "ended": list(message.ended),
        "at": message.at.isoformat(timespec="seconds"),
    },
}


def configured(config: Config) -> dict[str, Send]:
    """Return the ways that the configuration names, by name. Secrets are read at each message."""
    found: dict[str, Send] = {}
    if config.notices.mail_to:
        found["mail"] = lambda message: mail(config, message)
    if config.notices.webhook_file or webhook_address(config):
        found["webhook"] = lambda message: request(config, message)
    return found


def mail(config: Config, message: Message) -> None:
    """Send a message by mail.

    Raises:
        ConfigError: the password cannot be read.
        GraderError: the mail server cannot be reached, or refuses.
    """
    notices = config.notices
    server = urllib.parse.urlsplit(notices.smtp)
    host, port = str(server.hostname), int(server.port or 25)
    password = given(
        config.path(notices.smtp_password_file) if notices.smtp_password_file else None,
        SMTP_PASSWORD_VARIABLE,
        "the password for the mail server",
    )
    letter = EmailMessage()
    letter["Subject"] = " ".join(message.subject.split())
    letter["From"] = notices.mail_from
    letter["To"] = ", ".join(notices.mail_to)
    letter["Date"] = format_datetime(message.at)
    letter["Message-ID"] = make_msgid(domain=notices.mail_from.rpartition("@")[2])
    letter["Auto-Submitted"] = "auto-generated"
    letter.set_content(message.text + "\n")
    context = ssl.create_default_context()
    try:
        connection: smtplib.SMTP
        if server.scheme == "smtps":
            connection = smtplib.SMTP_SSL(host, port, timeout=SECONDS, context=context)
        else:
            connection = smtplib.SMTP(host, port, timeout=SECONDS)
        try:
            if server.scheme == "starttls":
                connection.starttls(context=context)
            if notices.smtp_user:
                connection.login(notices.smtp_user, password)
            connection.send_message(letter)
            with contextlib.suppress(smtplib.SMTPException, OSError):
                connection.quit()  # the server has taken the mail, whatever it says now
        finally:
            connection.close()
    except (smtplib.SMTPException, OSError) as error:
        raise GraderError(f"the mail server {host}:{port} took no mail: {error}") from None


def webhook_address(config: Config) -> str:
    """Return the address of the webhook; empty if there is no webhook.

    Raises:
        ConfigError: its file cannot be read.
    """
    file = config.notices.webhook_file
    return given(config.path(file) if file else None, NOTICES_WEBHOOK_VARIABLE, "the webhook of notices")


def request(config: Config, message: Message) -> None:
    """Send a message to the webhook.

    Raises:
        ConfigError: the address cannot be read, or is not an https address.
        GraderError: the webhook cannot be reached, or refuses.
    """
    address = webhook_address(config)
    parts = urllib.parse.urlsplit(address)
    local = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not (parts.scheme == "https" and parts.hostname) and not local:
        raise ConfigError("the webhook of notices must be an https address")
    body = json.dumps(FORMS[config.notices.webhook_kind](message), ensure_ascii=False).encode()
    ask = urllib.request.Request(  # noqa: S310 (https or loopback)
        address,
        data=body,
        headers={"Content-Type": "application/json; charset=utf-8", "User-Agent": "autograder"},
    )
    try:
        with urllib.request.build_opener(NoRedirect()).open(ask, timeout=SECONDS) as response:
            response.read(1 << 16)
    except urllib.error.HTTPError as error:
        error.close()
        raise GraderError(f"the webhook of notices refused, with status {error.code}") from None
    except (OSError, HTTPException, ValueError) as error:
        raise GraderError(f"the webhook of notices cannot be reached: {type(error).__name__}") from None
