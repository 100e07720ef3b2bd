"""Malformed webhooks and spool files by the thousand: none may crash the service, and each must be counted.

    python -m tests.support.malformed --number 10000 --seed 1

Each one starts as a valid push and is changed at random: bytes are changed, cut off or repeated, values get other
types, headers disappear. Most webhooks are signed after the change, so that the parsers see them.
"""

import argparse
import json
import random
import re
import sys
import tempfile
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path

from starlette.testclient import TestClient

from autograder.ledger import Ledger
from autograder.ledger.maintenance import check_database
from autograder.service.http import app as edge
from autograder.service.http.webhooks import Limits
from autograder.service.intake.spool import BATCH, Spool
from tests.hosts.test_webhook import HOSTS
from tests.support.postgres import in_memory
from tests.support.webservice import new_service

STRANGE = (
    *(
        None,
        True,
        0,
        -1,
        2**70,
        1e308,
        "",
        " ",
        "\0",
        "\u202e",
        "\ud800",
        "x" * 5000,
        "../..",
        "refs/heads/../main",
    ),
    *("0" * 40, "f" * 40, "F" * 40, "main", [], [[]], {}, {"a": {}}, ["refs/heads/main"], float("inf")),
)
ENTRY = {
    "format": 1,
    "host": "git.uni.example",
    "owner": "dls",
    "name": "a0-ann",
    "pusher": "ann",
    "received": 1_790_000_000,
    "pushes": [["0" * 40, "a" * 40, "refs/heads/main"]],
}


def places(value, path=()):
    """Yield the path of every value in plain JSON."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def changed_value(data, chance):
    """Return JSON in which one value is another one, is missing, or is there under another name."""
    data = json.loads(json.dumps(data))
    path = chance.choice(list(places(data))[1:])
    parent = data
    for key in path[:-1]:
        parent = parent[key]
    act = chance.randrange(4)
    if act == 0:
        del parent[path[-1]]
    elif act == 1 and isinstance(parent, dict):
        parent[str(path[-1]) + chance.choice(["", " ", "x", "\0"])] = parent.pop(path[-1])
    else:
        parent[path[-1]] = chance.choice(STRANGE)
    return json.dumps(data).encode()


def changed_bytes(content, chance):
    """Return bytes of which some are changed, cut off, repeated or put in."""
    content = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(content) + 1)
        act = chance.randrange(5)
        if act == 0 and at < len(content):
            content[at] = chance.randrange(256)
        elif act == 1:
            content = content[:at]
        elif act == 2:
            content[at:at] = content[: chance.randrange(len(content) + 1)]
        elif act == 3:
            content[at:at] = chance.choice(
                [b"[" * 2000, b'{"a":' * 50, b"\xff\xfe", b"\0", b"1e999", b"NaN", b'"']
            )
        else:
            content[at:at] = chance.randbytes(chance.randrange(20))
    return bytes(content)


def changed(data, content, chance):
    """Return malformed bytes, made of plain JSON or of the bytes that it is written as."""
    return changed_value(data, chance) if chance.random() < 0.6 else changed_bytes(content, chance)


def webhooks(service, number, chance):
    """Send malformed webhooks; return how many had each status."""
    app = edge.create(service, Limits(rate=1e9, burst=2 * number))
    statuses = Counter()
    with TestClient(app) as client:
        for _ in range(number):
            host = chance.choice(HOSTS)
            body = changed(json.loads(host.push), host.push, chance)
            headers = host.headers(body, delivery=f"{chance.getrandbits(64):x}")
            if chance.random() < 0.3:
                name = chance.choice(list(headers))
                if chance.random() < 0.5:
                    del headers[name]
                else:
                    headers[name] = chance.choice(
                        ["", "x" * 2000, "sha256=" + "0" * 64, "\x7f", headers[name] + "x"]
                    )
            path = f"/webhook/{host.name}{chance.choice(['', '', '', '/' + host.address])}"
            statuses[client.post(path, content=body, headers=headers).status_code] += 1
    return statuses


def spool_files(service, folder, number, chance):
    """Put malformed files into a spool and drain it; return how many were taken and set aside."""
    spool = Spool(folder)
    spool.make()
    content = json.dumps(ENTRY).encode()
    left = number
    found = Counter()
    while left:
        for index in range(min(BATCH, left)):
            (folder / f"{left}-{index}.json").write_bytes(changed(ENTRY, content, chance))
        left -= min(BATCH, left)
        while spool.waiting():
            drained = spool.drain(service.receive)
            found["taken"] += drained.taken
            found["set aside"] += len(drained.rejected)
    assert len(list((folder / "rejected").iterdir())) == found["set aside"]
    return found


def counted(service):
    """Return how many webhooks the metrics have counted."""
    text = service.metrics.text([]).decode()
    return sum(
        int(float(each))
        for each in re.findall(r"^autograder_webhooks_total\{.*\} (\S+)$", text, re.MULTILINE)
    )


def run(folder, number, seed):
    """Send malformed webhooks and spool files; return the statuses of the responses, and how many files were taken.

    Raises:
        AssertionError: one of them was not counted, or got a response that is no refusal.
        Exception: one of them crashed the service.
    """
    chance = random.Random(seed)  # noqa: S311 (the same in every run)
    with Ledger.open(f"sqlite:///{folder}/ledger.sqlite") as ledger:
        service = new_service(folder, ledger, lambda: datetime.now(timezone.utc))
        statuses = webhooks(service, number, chance)
        assert statuses.total() == counted(service) == number
        assert all(status < 500 for status in statuses), statuses
        files = spool_files(service, folder / "files", number, chance)
        assert files.total() == number
        assert all(item.ok for item in check_database(ledger.database))
    return statuses, files


def main():
    """Run it with the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=10_000, help="of webhooks, and of spool files")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=in_memory(1 << 30)) as folder:
        statuses, files = run(Path(folder), arguments.number, arguments.seed)
    print(
        f"webhooks    {arguments.number}: "
        + ", ".join(f"{n} x {status}" for status, n in sorted(statuses.items()))
    )
    print(f"spool files {arguments.number}: {files['taken']} taken, {files['set aside']} set aside")
    print("no crash; each was counted")


if __name__ == "__main__":
    sys.exit(main())
