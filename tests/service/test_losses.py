"""What arrives and does not become a push: staff see it on the page and in the status."""

import json

from click.testing import CliRunner

from autograder.cli import main
from autograder.ledger import losses
from autograder.service import serve
from autograder.service.intake.spool import Spool
from tests.support.ledgers import problems
from tests.support.university import University


def test_equal_losses_are_counted_in_one_row(ledger, clock):
    ledger.add_loss("branch", "h/o/n", "pushed to dev")
    clock.after(minutes=5)
    ledger.add_loss("branch", "h/o/n", "pushed to dev")
    ledger.add_loss("spool", "1.json", "not JSON")
    last, first = sorted(ledger.losses(), key=lambda loss: loss.kind, reverse=True)
    assert (first.number, first.last - first.first) == (2, clock.now - first.first)
    assert (last.kind, last.number) == ("spool", 1)
    assert problems(ledger) == []


def test_losses_are_forgotten_after_a_month_and_their_number_is_limited(ledger, clock, monkeypatch):
    ledger.add_loss("branch", "h/o/n", "old")
    clock.after(days=31)
    monkeypatch.setattr(losses, "MOST", 3)
    for number in range(6):
        clock.after(minutes=1)
        ledger.add_loss("delivery", "h", f"number {number}")
    assert [loss.reason for loss in ledger.losses()] == ["number 5", "number 4", "number 3"]


def test_a_spool_file_that_is_rejected_is_in_the_status(folder):
    university = University(folder)
    with university.parts() as parts:
        spool = Spool(parts.course.spool())
        drain = serve._drain(spool, parts.intake)
        (spool.folder / "1.json").write_text("{")
        drain()
    arguments = ["status", "--config", str(university.config_file)]
    text = CliRunner().invoke(main, arguments).output
    assert "lost     spool 1.json: not what a hook writes" in text
    found = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).output)
    assert found["losses"][0]["kind"] == "spool"
