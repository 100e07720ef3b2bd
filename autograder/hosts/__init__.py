"""Git hosts: what they send us, and what we ask them. A kind of host is registered here, and nowhere else.

    github, gitea, gitlab   one module for each kind: payloads in, API calls out
    webhook                 what their requests have in common: signatures, limits, names
    push                    what a host tells us

The configuration, the routes of the webhooks and the documentation follow `KINDS`. A new kind is a module with `parse`,
a name in `KindName` and an entry here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from autograder.hosts import gitea, github, gitlab
from autograder.hosts.push import Event
from autograder.hosts.webhook import Endpoint, Headers

KindName: TypeAlias = Literal["github", "gitea", "gitlab", "folder"]
Parser: TypeAlias = Callable[[Headers, bytes, Endpoint], Event]


@dataclass(frozen=True)
class HostKind:
    """A kind of git host.

    Attributes:
        title: what people call it.
        parse: reads its webhooks; None: it sends none, its repositories are bare ones on this machine with a hook.
        apps: whether a GitHub App can open its repositories.
    """

    title: str
    parse: Parser | None = None
    apps: bool = False


KINDS: Mapping[KindName, HostKind] = {
    "github": HostKind("GitHub", github.parse, apps=True),
    "gitea": HostKind("Gitea, Forgejo", gitea.parse),
    "gitlab": HostKind("GitLab", gitlab.parse),
    "folder": HostKind("bare repositories in a folder"),
}

PARSERS: Mapping[str, Parser] = {name: kind.parse for name, kind in KINDS.items() if kind.parse is not None}
"""Of the kinds that send webhooks, by name."""
