"""Git hosts: the webhooks that they send, and the calls that we make to them.

    github, gitea, gitlab   one module for each kind of host: its payloads, and its API
    webhook                 the parts that the requests of all kinds share: signatures, limits, names
    push                    the events that a request can stand for, and the moves of a host's record
    folder, ssh_access      bare repositories on this machine, their reflogs, and students' keys
    api, record             a call of a REST API, and what the records of all kinds share
    writes                  what we change at a host: repositories that are handed out, statuses of commits

`KINDS` is the registry: the configuration, the routes of the webhooks and `Course` use it. To add a kind, write a
module with `parse`, and add a name to `KindName` and an entry to `KINDS`. Tests then require a payload of that kind in
tests/support/payloads, and the kind in docs/webhooks.md and docs/configuration.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from autograder.hosts import folder, gitea, github, gitlab
from autograder.hosts.api import Api
from autograder.hosts.push import Event, Move
from autograder.hosts.record import web_of
from autograder.hosts.webhook import Endpoint, Headers
from autograder.hosts.writes import Writes

KindName: TypeAlias = Literal["github", "gitea", "gitlab", "folder"]
Parser: TypeAlias = Callable[[Headers, bytes, Endpoint], Event]
HeadCheck: TypeAlias = Callable[[Headers, Endpoint], None]


@dataclass(frozen=True, kw_only=True)
class HostKind:
    """A kind of git host. No attribute has a default, so that a new kind states each of them.

    Attributes:
        title: name for people.
        parse: reads a webhook of such a host. None: the host sends no webhooks. It is a folder of bare repositories on
            this machine, and their post-receive hook reports pushes.
        check_head: refuses a webhook by its headers, before its body is read. None: the host sends no webhooks.
        app_api: takes a host's name, and returns the default base of the REST API that gives tokens to a GitHub App.
            None: a GitHub App cannot open the host's repositories.
        commit_page: what stands between a repository's web address and the id of a commit in the address of the page
            that shows this commit. None: the host has no pages.
        api: takes a host's name and the configured base of its repositories, and returns the default base of its REST
            API; empty if none can be inferred.
        moves: returns the moves of a branch that the host has recorded itself, the oldest first.
        names: returns the names of the repositories of an owner.
        writes: the calls that change something.
        file_page: what stands between a repository's web address and `BRANCH/FILE` in the address of a file's page.
            None: the host has no pages.
        folds_case: whether upper and lower case do not matter in the names of owners and repositories.
    """

    title: str
    parse: Parser | None
    check_head: HeadCheck | None
    app_api: Callable[[str], str] | None
    commit_page: str | None
    api: Callable[[str, str], str]
    moves: Callable[[Api, str, str, str], list[Move]]
    names: Callable[[Api, str], list[str]]
    writes: Writes
    file_page: str | None
    folds_case: bool

    @property
    def is_folder(self) -> bool:
        """Whether the repositories lie in a folder of this machine, and their hook reports pushes."""
        return self.parse is None


KINDS: Mapping[KindName, HostKind] = {
    "github": HostKind(
        title="GitHub",
        parse=github.parse,
        check_head=github.check_head,
        app_api=github.default_api,
        commit_page="/commit/",
        api=lambda host, _base: github.default_api(host),
        moves=github.moves,
        names=github.names,
        writes=Writes(
            account=github.account,
            exists=github.exists,
            create=github.create,
            grant=github.grant,
            protect=github.protect,
            add_webhook=github.add_webhook,
            set_status=github.set_status,
        ),
        file_page="/blob/",
        folds_case=True,
    ),
    "gitea": HostKind(
        title="Gitea, Forgejo",
        parse=gitea.parse,
        check_head=gitea.check_head,
        app_api=None,
        commit_page="/commit/",
        api=lambda _host, base: f"{web_of(base)}/api/v1",
        moves=gitea.moves,
        names=gitea.names,
        writes=Writes(
            account=gitea.account,
            exists=gitea.exists,
            create=gitea.create,
            grant=gitea.grant,
            protect=gitea.protect,
            add_webhook=gitea.add_webhook,
            set_status=gitea.set_status,
        ),
        file_page="/src/branch/",
        folds_case=True,
    ),
    "gitlab": HostKind(
        title="GitLab",
        parse=gitlab.parse,
        check_head=gitlab.check_head,
        app_api=None,
        commit_page="/-/commit/",
        api=lambda _host, base: f"{web_of(base)}/api/v4",
        moves=gitlab.moves,
        names=gitlab.names,
        writes=Writes(
            account=gitlab.account,
            exists=gitlab.exists,
            create=gitlab.create,
            grant=gitlab.grant,
            protect=gitlab.protect,
            add_webhook=gitlab.add_webhook,
            set_status=gitlab.set_status,
        ),
        file_page="/-/blob/",
        folds_case=True,
    ),
    "folder": HostKind(
        title="bare repositories in a folder",
        parse=None,
        check_head=None,
        app_api=None,
        commit_page=None,
        api=lambda _host, base: base.removeprefix("file://"),
        moves=folder.moves,
        names=folder.names,
        writes=Writes(
            account=None,
            exists=folder.exists,
            create=folder.create,
            grant=folder.grant,
            protect=folder.protect,
            add_webhook=None,
            set_status=None,
        ),
        file_page=None,
        folds_case=False,
    ),
}

PARSERS: Mapping[str, Parser] = {name: kind.parse for name, kind in KINDS.items() if kind.parse is not None}
"""The parsers of the kinds that send webhooks, by the name of the kind."""

HEAD_CHECKS: Mapping[str, HeadCheck] = {
    name: kind.check_head for name, kind in KINDS.items() if kind.check_head is not None
}
"""The checks of the headers of webhooks, by the name of the kind."""
