"""Students' ssh keys for a folder of bare repositories: each key opens the repositories that its student may push to.

All students use one account of the machine, the one that git runs under. Its file authorized_keys gets a line for each
key that students handed in. The line lets the key run one small script (`ssh-access.sh`), and nothing else. The script
looks up the student in the file ACCESS of the repository, and runs git there.
"""

import base64
import re
import shlex
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from autograder.errors import GraderError
from autograder.files import replace_file
from autograder.git.names import SEGMENT
from autograder.hosts import folder

SCRIPT = Path(__file__).parent / "ssh-access.sh"
NAME = "autograder-access.sh"
MAX_BYTES = 64 << 10  # of a file of public keys
MAX_REPOSITORY = 1 << 30  # bytes of a repository to which students may still push
_LOGIN = re.compile(SEGMENT)
_KEY = re.compile(
    r"(?P<key>(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)|sk-ssh-ed25519@openssh\.com|"
    r"sk-ecdsa-sha2-nistp256@openssh\.com) [A-Za-z0-9+/]{40,}={0,3})(?:\s.*)?"
)


@dataclass(frozen=True)
class Keys:
    """The public keys of a folder.

    Attributes:
        lines: (login name, key), sorted.
        mistakes: what cannot be used, a line each.
    """

    lines: tuple[tuple[str, str], ...]
    mistakes: tuple[str, ...]

    @property
    def logins(self) -> frozenset[str]:
        """The login names that have a key."""
        return frozenset(login for login, _ in self.lines)


def read(place: Path, held: Mapping[str, str] | None = None) -> Keys:
    """Return the keys in a folder of files LOGIN.pub, each with one public key a line.

    A public key is no secret. Who hands in the key of somebody else does not take it away: it stays with the login that
    had it first.

    Args:
        place: the folder.
        held: key -> login name, of the keys that are installed.

    Raises:
        GraderError: the folder cannot be read.
    """
    try:
        files = sorted(place.glob("*.pub"))
        if not place.is_dir():
            raise GraderError(f"there is no folder {place}; make it, with a file LOGIN.pub for each student")
    except OSError as error:
        raise GraderError(f"cannot read {place}: {error}") from error
    places: dict[str, dict[str, str]] = {}  # key -> login -> where
    mistakes = []
    for file in files:
        login = file.name.removesuffix(".pub")
        if not _LOGIN.fullmatch(login):
            mistakes.append(f"{file}: not the name of a login: letters, digits, '.', '_' and '-'")
            continue
        try:
            with file.open("rb") as stream:
                text = stream.read(MAX_BYTES).decode("utf-8", "replace")
        except OSError as error:
            mistakes.append(f"{file}: {error.strerror}")
            continue
        if "PRIVATE KEY" in text:
            mistakes.append(
                f"{file}: this is a private key, which only its owner may have: delete it, and ask the student for "
                "the file .pub of a new key"
            )
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            match = _KEY.fullmatch(line.strip())
            if match is None or not _has_one_form(match["key"]):
                mistakes.append(f"{file}:{number}: not a public key, such as ssh-ed25519 AAAA…")
            else:
                places.setdefault(match["key"], {}).setdefault(login, f"{file}:{number}")
    owners = {}
    for key, logins in places.items():
        before = (held or {}).get(key, "")
        owners[key] = before if before in logins else next(iter(logins))
        mistakes += [
            f"{at}: {owners[key]} has the same key" for login, at in logins.items() if login != owners[key]
        ]
    return Keys(tuple(sorted((login, key) for key, login in owners.items())), tuple(mistakes))


def _has_one_form(key: str) -> bool:
    """Whether this is the only text of its key. Sshd reads others too, so two texts may be one person's key.

    A key is base64 of fields with their lengths, RFC 4253. Numbers, as in RSA keys, may have no zeros in front.
    """
    kind, _, text = key.partition(" ")
    try:
        content = base64.b64decode(text, validate=True)
        fields = list(_fields(content))
    except (ValueError, struct.error):
        return False
    numbers = fields[1:] if kind == "ssh-rsa" else []
    return (
        base64.b64encode(content).decode() == text
        and len(fields) > 1
        and fields[0] == kind.encode()
        and not any(number[:1] in (b"", b"\0") and number[1:2] < b"\x80" for number in numbers)
    )


def _fields(content: bytes) -> Iterator[bytes]:
    """Yield the fields of a public key.

    Raises:
        ValueError, struct.error: it has no such form.
    """
    place = 0
    while place < len(content):
        (size,) = struct.unpack_from(">I", content, place)
        place += 4 + size
        if place > len(content):
            raise ValueError("the key ends too early")
        yield content[place - size : place]


def held(authorized_keys: Path, host: str) -> dict[str, str]:
    """Return key -> login name, of the keys that `install` has written for a host; empty if nobody can say."""
    try:
        text = authorized_keys.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    lines = re.findall(
        rf'^restrict,command=".*{re.escape(NAME)}\S* {re.escape(host)} ({SEGMENT})" (\S+ \S+) ',
        text,
        re.MULTILINE,
    )
    return {key: login for login, key in lines}


def install(keys: Keys, host: str, base: Path, authorized_keys: Path) -> bool:
    """Write the lines of `keys` into a file authorized_keys, and the script beside it; return whether anything changed.

    Lines of the file that we did not write stay.

    Raises:
        GraderError: a file cannot be written.
    """
    script = authorized_keys.parent / NAME
    begin, end = f"# BEGIN autograder {host}", f"# END autograder {host}"
    command = f"{shlex.quote(str(script))} {host}"
    if '"' in command or "\\" in command:
        raise GraderError(f"{script}: write a path without quotes and backslashes in authorized_keys_file")
    mine = [begin, *(f'restrict,command="{command} {login}" {key} {login}' for login, key in keys.lines), end]
    try:
        before = authorized_keys.read_text(encoding="utf-8") if authorized_keys.exists() else ""
        others, inside = [], False
        for line in before.splitlines():
            inside = inside or line == begin
            if not inside:
                others.append(line)
            inside = inside and line != end
        changed = _write(script, _script(script, host, base), 0o755)
        return _write(authorized_keys, "\n".join([*others, *mine]) + "\n", 0o600) or changed
    except (OSError, UnicodeDecodeError) as error:
        raise GraderError(f"cannot write {authorized_keys}: {error}") from error


def _script(script: Path, host: str, base: Path) -> str:
    """Return the text of the script, with the folders of this host and of the others that it has already."""
    known = {}
    if script.exists():
        for line in script.read_text(encoding="utf-8").splitlines():
            match = re.fullmatch(r"([a-z0-9.:-]+)\) base=(.*) ;; # a host", line.strip())
            if match:
                known[match[1]] = match[2]
    known[host] = shlex.quote(str(base))
    cases = "\n".join(f"{name}) base={place} ;; # a host" for name, place in sorted(known.items()))
    text = SCRIPT.read_text(encoding="utf-8").replace("@ACCESS@", folder.ACCESS)
    text = text.replace("@KIBIBYTES@", str(MAX_REPOSITORY >> 10))
    return text.replace("@HOSTS@", cases)


def _write(file: Path, text: str, mode: int) -> bool:
    """Replace a file in one step, if its text or mode differs; it belongs to whom its folder belongs to."""
    if file.exists() and file.read_text(encoding="utf-8") == text and file.stat().st_mode & 0o777 == mode:
        return False
    if not file.parent.exists():
        file.parent.mkdir(mode=0o700)
        folder.give(file.parent, file.parent.parent)
    replace_file(file, text.encode(), mode, prepare=lambda draft: folder.give(draft, file.parent))
    return True
