"""Git hosts: the webhooks that they send, and the calls that we make to them.

    github, gitea, gitlab   one module for each kind of host: its payloads, and its API
    webhook                 what the requests of all kinds have in common: signatures, limits, names
    push                    the events that a request can stand for

`KINDS` is the registry: the configuration, the routes of the webhooks and `Course` follow it. A new kind is a module
with `parse`, a name in `KindName` and an entry in `KINDS`. Tests then require its payload in tests/support/payloads and
its place in docs/webhooks.md and docs/configuration.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from autograder.hosts import gitea, github, gitlab
from autograder.hosts.push import Event
from autograder.hosts.webhook import Endpoint, Headers

KindName: TypeAlias = Literal["github", "gitea", "gitlab", "folder"]
Parser: TypeAlias = Callable[[Headers, bytes, Endpoint], Event]


@dataclass(frozen=True, kw_only=True)
class HostKind:
    """A kind of git host. No attribute has a default, so that a new kind states each of them.

    Attributes:
        title: name for people.
        parse: reads a webhook of such a host. None: the host sends no webhooks. It is a folder of bare repositories on
            this machine, and their post-receive hook reports pushes.
        app_api: returns the default base of the REST API that gives tokens to a GitHub App, for a host's name. None: a
            GitHub App cannot open the host's repositories.
    """

    title: str
    parse: Parser | None
    app_api: Callable[[str], str] | None

    @property
    def is_folder(self) -> bool:
        """Whether repositories lie in a folder of this machine, and pushes are reported by their hook."""
        return self.parse is None


KINDS: Mapping[KindName, HostKind] = {
    "github": HostKind(title="GitHub", parse=github.parse, app_api=github.default_api),
    "gitea": HostKind(title="Gitea, Forgejo", parse=gitea.parse, app_api=None),
    "gitlab": HostKind(title="GitLab", parse=gitlab.parse, app_api=None),
    "folder": HostKind(title="bare repositories in a folder", parse=None, app_api=None),
}

PARSERS: Mapping[str, Parser] = {name: kind.parse for name, kind in KINDS.items() if kind.parse is not None}
"""The parsers of the kinds that send webhooks, by the name of the kind."""
