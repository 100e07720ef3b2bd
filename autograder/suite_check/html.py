"""The report as one HTML file, without scripts and without anything from elsewhere. Pure."""

from pathlib import Path

import jinja2

from autograder.suite_check.findings import (
    CAUGHT,
    EQUIVALENT,
    ESCAPED,
    FAULT,
    INVALID,
    Findings,
    advice,
    listed,
    worst,
)

TEMPLATE = Path(__file__).with_name("report.html")
SIGNS = {"passed": "", "wrong": "✗", "error": "!", "timeout": "◷"}


def render(findings: Findings) -> str:
    """Return the file's text."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
                                     lstrip_blocks=True)  # fmt: skip
    template = environment.from_string(TEMPLATE.read_text("utf-8"))
    return template.render(
        findings=findings,
        advice=advice(findings),
        escaped=worst(findings, len(findings.mutants)),
        counts=[
            (s, len(findings.of(s))) for s in (CAUGHT, *ESCAPED, EQUIVALENT, INVALID, FAULT) if findings.of(s)
        ],
        rates=[(path, made, *findings.rate_of(path)) for path, made in findings.made.items()],
        signs=SIGNS,
        listed=listed,
        whole=findings.form == "long",
        others=findings.of(EQUIVALENT, INVALID, FAULT),
    )
