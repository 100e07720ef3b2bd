"""The rules that a running service takes from autograder.toml without a restart: deadlines, late rules, limits, people.

They only decide what is derived from the ledger, so each process may take them at any moment. All other keys decide how
the process itself was set up: hosts, suites, sandboxes, queues. They are taken at the next start.
"""

from collections.abc import Iterator

from msgspec import structs

from autograder.config import Config

OF_ASSIGNMENT = (
    "title",
    "zone",
    "opens",
    "closes",
    "grace_minutes",
    "late_days_allowed",
    "late_points_per_day",
    "late_percent_per_day",
    "pushes_per_hour",
    "pushes_per_day",
    "extensions_file",
    "policy",
    "weight",
)
OF_FILE = ("lines",)  # no keys: where each key is written


def merged(running: Config, written: Config) -> Config:
    """Return the configuration of a process that takes the rules of the file, and nothing else.

    Args:
        running: of the process.
        written: as the file is now.
    """
    assignments = {
        name: structs.replace(
            assignment,
            **{key: getattr(written.assignments[name], key) for key in OF_ASSIGNMENT},
        )
        if name in written.assignments
        else assignment
        for name, assignment in running.assignments.items()
    }
    return structs.replace(running, assignments=assignments, course=written.course, lines=written.lines)


def not_in_force(running: Config, written: Config) -> Iterator[str]:
    """Yield the keys of the file that a process does not take before its next start: `assignments.a1.suite`."""
    for name in structs.asdict(written):
        before, after = getattr(running, name), getattr(written, name)
        if name in OF_FILE or before == after:
            continue
        if not isinstance(after, dict):
            yield name
            continue
        for key in {**before, **after}:
            if key not in before or key not in after:
                yield f"{name}.{key}"
            elif before[key] != after[key]:
                fields = structs.asdict(after[key])
                yield from (
                    f"{name}.{key}.{field}"
                    for field in fields
                    if getattr(before[key], field) != fields[field]
                )
