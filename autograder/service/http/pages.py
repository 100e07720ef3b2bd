"""The pages for staff, rendered on the server.

They show jobs that wait, run or failed (and why), the latest scores, and repositories. They are read-only: staff
change jobs with `autograder jobs`, which records who did so and why. No page needs JavaScript, and nothing is loaded
from other servers. Without a login every path gets the same response.

Text that a stranger may have written is shown on one line, escaped for HTML, and isolated from the text around it
(`bdi`). Its control and direction characters are shown as escapes.
"""

import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone, tzinfo
from functools import partial
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

import anyio
import anyio.to_thread
import jinja2
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from autograder.course import gradebook_files
from autograder.course.course import Course
from autograder.course.deadline import duration
from autograder.course.gradebook import Gradebook, Row, gradebook
from autograder.course.standing import Judged, Standing, standing
from autograder.errors import GraderError
from autograder.ledger import (
    JobHistory,
    JobState,
    LedgerError,
    RecordedPush,
    RepositoryName,
    Source,
    Unknown,
)
from autograder.report import ALL_PASSED, NOT_ALL_PASSED, one_line
from autograder.service import attention
from autograder.service.http.login import Login, from_our_page
from autograder.service.jobs.queue import QueueError
from autograder.service.metrics import Depth
from autograder.service.service import Service

_log = logging.getLogger(__name__)

REFRESH_SECONDS = 10
ON_FRONT = 10  # rows in each table of the front page
ON_PAGE = 50
PUSHES = 15  # on one page of a repository
MAX_PAGE = 100_000
MAX_FORM = 4096  # bytes
MAX_TEXT = 2000  # characters that are shown of a text
THREADS = 4

STATES = {
    JobState.QUEUED: "waiting",
    JobState.RUNNING: "running",
    JobState.FAILED: "will be retried",
    JobState.DEAD: "needs staff",
    JobState.SUPERSEDED: "superseded",
    JobState.FINAL: "final",
}
SAYS = {
    Source.HOST.value: "the host's record",
    Source.FEEDBACK.value: "our sealed feedback",
    Source.STAFF.value: "set by staff",
}
_JOB = re.compile(r"[!-~]{1,1000}")
ANOTHER_SITE = "this form was sent from another site; if it was not, correct url of [service]\n"
Handler = Callable[[Request], Awaitable[Response]]

_PATH = re.compile(r"/(?!/)[A-Za-z0-9_.~:/?=&%+-]{0,1000}")  # a path on this server, never on another site


# one page ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Page:
    """One page of a long list.

    Attributes:
        number: the number of this page, counted from 1.
        size: the number of rows on a page.
        more: whether there is a next page.
    """

    number: int
    size: int
    more: bool = False

    @property
    def offset(self) -> int:
        """How many rows come before this page."""
        return (self.number - 1) * self.size


@dataclass(frozen=True)
class PushRow:
    """A push and its jobs."""

    push: RecordedPush
    jobs: tuple[JobHistory, ...]
    judged: Judged | None  # None if the course cannot decide


class Pages:
    """The pages of a service, for staff who have logged in."""

    def __init__(self, service: Service, login: Login) -> None:
        self._service = service
        self._login = login
        self._threads: anyio.CapacityLimiter | None = None  # made in the event loop that uses it
        self._books: dict[
            str, tuple[object, Gradebook]
        ] = {}  # assignment, or empty for all -> what was made last
        self._templates = _environment(service.course)
        self._router = Router(
            [
                Route("/", self._page(self._front)),
                Route("/jobs", self._page(self._jobs)),
                Route("/jobs/{job:path}", self._page(self._job)),
                Route("/grades", self._page(self._grades)),
                Route("/grades.csv", self._grades_csv),
                Route("/r", self._page(self._repositories)),
                Route("/r/{repository:path}", self._page(self._repository)),
                Route("/logout", self._logout, methods=["POST"]),
            ],
            redirect_slashes=False,
            default=self._nothing,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Show the page to staff. Send everybody else to the login, whatever the path is."""
        request = Request(scope, receive)
        if self._login.is_staff(request):
            await self._router(scope, receive, send)
            return
        response: Response
        if request.method in ("GET", "HEAD") and "text/html" in request.headers.get("accept", ""):
            path = quote(scope["path"], safe="/:")
            if scope["query_string"]:
                path += "?" + scope["query_string"].decode("latin-1")
            query = f"?{urlencode({'next': path})}" if _PATH.fullmatch(path) and path != "/" else ""
            response = RedirectResponse(f"/login{query}", 303)
        else:
            response = PlainTextResponse("log in first\n", 401)
        await response(scope, receive, send)

    # login -----------------------------------------------------------------------------------------------

    async def log_in(self, request: Request) -> Response:
        """Show the login form, or check the token that was entered in it."""
        if request.method != "POST":
            return self._login_form(request.query_params.get("next", ""))
        if not from_our_page(request, self._service.course.config.service.url):
            return PlainTextResponse(ANOTHER_SITE, 403)
        form = await _form(request)
        if form is None:
            return PlainTextResponse("this is not the login form\n", 400)
        wanted = form.get("next", "")
        seconds = self._login.wait(request)
        if seconds:
            message = f"Too many attempts. Try again in {int(seconds) + 1} seconds."
            return self._login_form(wanted, message, 429, {"Retry-After": str(int(seconds) + 1)})
        if not self._login.is_token(form.get("token", "").strip()):
            _log.warning("wrong staff token")
            return self._login_form(wanted, "That is not the staff token.", 401)
        response = RedirectResponse(_own_path(wanted), 303)
        self._login.begin(response)
        return response

    def _login_form(
        self, wanted: str, message: str = "", status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Response:
        text = self._templates.get_template("login.html").render(
            next=_own_path(wanted), message=message, staff=False
        )
        return HTMLResponse(text, status, headers)

    async def _logout(self, request: Request) -> Response:
        if not from_our_page(request, self._service.course.config.service.url):
            return PlainTextResponse(ANOTHER_SITE, 403)
        response = RedirectResponse("/login", 303)
        self._login.end(request, response)
        return response

    # pages -----------------------------------------------------------------------------------------------

    def _page(self, make: Callable[[Request], tuple[str, dict[str, Any]]]) -> Handler:
        """Return a handler that renders a page; `make` returns the template and its values, and runs in a thread."""

        def render(request: Request) -> Response:
            try:
                template, values = make(request)
                status = 404 if template == "missing.html" else 200
            except Unknown:
                template, values, status = "missing.html", {}, 404
            except GraderError:
                _log.exception("a page could not be rendered")
                template, values, status = "broken.html", {}, 503
            text = self._templates.get_template(template).render(
                now=self._service.clock(), staff=True, **values
            )
            return HTMLResponse(text, status)

        return partial(self._in_thread, render)

    async def _in_thread(self, make: Callable[[Request], Response], request: Request) -> Response:
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(THREADS)
        return await anyio.to_thread.run_sync(make, request, limiter=self._threads)

    def _front(self, request: Request) -> tuple[str, dict[str, Any]]:
        ledger = self._service.ledger
        paused = request.query_params.get("refresh") == "off"
        return "front.html", {
            "refresh": None if paused else REFRESH_SECONDS,
            "paused": paused,
            "problems": self._service.problems(),
            "counts": ledger.count_jobs(),
            "depths": self._depths(),
            "dead": ledger.jobs(states=[JobState.DEAD], limit=ON_FRONT),
            "running": ledger.jobs(states=[JobState.RUNNING], limit=ON_FRONT),
            "failed": ledger.jobs(states=[JobState.FAILED], limit=ON_FRONT),
            "waiting": ledger.jobs(states=[JobState.QUEUED], limit=ON_FRONT),
            "results": ledger.results(limit=ON_FRONT * 2),
            "undated": attention.undated(ledger, self._service.course)[:ON_FRONT],
            "losses": ledger.losses(limit=ON_FRONT),
        }

    def _depths(self) -> Mapping[str, Depth]:
        """Return how full the queues are. Nothing if the queue cannot be read: that is among the problems."""
        try:
            return self._service.depths()
        except QueueError:
            return {}

    def _jobs(self, request: Request) -> tuple[str, dict[str, Any]]:
        page = _page_of(request, ON_PAGE)
        state = request.query_params.get("state", JobState.FINAL.value)
        if state not in [known.value for known in JobState]:
            return "missing.html", {}
        wanted = JobState(state)
        if wanted is JobState.FINAL:
            results = self._service.ledger.results(limit=page.size + 1, offset=page.offset)
            rows, page = _cut(results, page)
            return "jobs.html", {"results": rows, "jobs": (), "state": wanted, "page": page}
        jobs = self._service.ledger.jobs(states=[wanted], limit=page.size + 1, offset=page.offset)
        rows, page = _cut(jobs, page)
        return "jobs.html", {"results": (), "jobs": rows, "state": wanted, "page": page}

    def _job(self, request: Request) -> tuple[str, dict[str, Any]]:
        job = request.path_params["job"]
        if not _JOB.fullmatch(job):
            return "missing.html", {}
        history = self._service.ledger.job_history(job)
        return "job.html", {"history": history, "job": history.job}

    def _repositories(self, request: Request) -> tuple[str, dict[str, Any]]:
        part = one_line(request.query_params.get("q", ""))  # a database does not accept every character
        page = _page_of(request, ON_PAGE)
        found = self._service.ledger.repositories(part=part, limit=page.size + 1, offset=page.offset)
        rows, page = _cut(found, page)
        return "repositories.html", {"repositories": rows, "part": part, "page": page}

    def _grades(self, request: Request) -> tuple[str, dict[str, Any]]:
        book, chosen = self._book(request)
        if book is None:
            return "missing.html", {}
        part = one_line(request.query_params.get("q", ""))
        roster = book.roster
        return "grades.html", {
            "book": book,
            "rows": [row for row in book.rows if part.casefold() in _searched(row)],
            "names": [
                name for name, each in self._service.course.config.assignments.items() if each.repositories
            ],
            "chosen": chosen,
            "part": part,
            "mistakes": roster.mistakes if roster is not None else (),
            "teams": any(map(_team, book.rows)),
            "team": _team,
            "adjustments": gradebook_files.adjustments,
        }

    async def _grades_csv(self, request: Request) -> Response:
        """Return the gradebook as CSV, with the mark that Excel needs."""

        def make(request: Request) -> Response:
            try:
                book, chosen = self._book(request)
            except GraderError:
                _log.exception("the gradebook could not be made")
                return PlainTextResponse(
                    "the gradebook cannot be made now; see the log of the service\n", 503
                )
            if book is None:
                return PlainTextResponse("there is no such assignment\n", 404)
            name = f"grades-{chosen}.csv" if chosen else "grades.csv"
            headers = {"Content-Disposition": f'attachment; filename="{name}"'}
            return Response(
                "\ufeff" + gradebook_files.csv_text(book), 200, headers, "text/csv; charset=utf-8"
            )

        return await self._in_thread(make, request)

    def _book(self, request: Request) -> tuple[Gradebook | None, str]:
        """Return the gradebook of the assignment that the query names, or of all. It is kept until a fact changes."""
        service, chosen = self._service, request.query_params.get("a", "")
        if chosen and chosen not in service.course.config.assignments:
            return None, ""
        minute = service.clock().replace(second=0, microsecond=0)  # deadlines pass
        state = minute, service.ledger.revision(), service.course.extensions(), service.course.roster()
        known = self._books.get(chosen)
        if known is None or known[0] != state:
            assignments = [chosen] if chosen else []
            book = gradebook(service.ledger, service.course, service.clock(), assignments=assignments)
            known = self._books[chosen] = state, book
        return known[1], chosen

    def _repository(self, request: Request) -> tuple[str, dict[str, Any]]:
        try:
            repository = RepositoryName.parse(request.path_params["repository"])
        except LedgerError:
            return "missing.html", {}
        page = _page_of(request, PUSHES)
        values = self._of_repository(repository, page)
        if not values["rows"] and page.number == 1:
            return "missing.html", {}
        return "repository.html", values

    def _of_repository(self, repository: RepositoryName, page: Page) -> dict[str, Any]:
        """Return what a page of one repository shows."""
        history = self._service.ledger.history(repository, limit=page.size + 1, offset=page.offset)
        pushes, page = _cut(list(reversed(history.pushes)), page)
        stands = self._standing(repository)
        rows = []
        for push in pushes:
            jobs = tuple(entry for entry in reversed(history.jobs) if entry.job.commit == push.commit)
            rows.append(PushRow(push, jobs, stands.judged(push.id) if stands else None))
        score = stands.score if stands else None
        return {
            "repository": repository,
            "rows": rows,
            "stands": stands,
            "people": self._service.course.people(stands.target) if stands else (),
            "counting": {score.job_id} if score else set(),
            "page": page,
        }

    async def _nothing(self, scope: Scope, receive: Receive, send: Send) -> None:
        missing = self._page(lambda _request: ("missing.html", {}))
        response = await missing(Request(scope))
        await response(scope, receive, send)

    def _standing(self, repository: RepositoryName) -> Standing | None:
        """Return how a repository stands; None if the course cannot decide, or does not grade it any more."""
        service = self._service
        try:
            target = service.intake.target_at(repository)
            return None if target is None else standing(service.ledger, service.course, target)
        except LedgerError:
            raise
        except GraderError:
            return None


def _cut(rows: list[Any], page: Page) -> tuple[list[Any], Page]:
    """Return the rows of `page`, and the page with `more` set.

    The caller fetches one row more than fits. If that row exists, there is a next page.
    """
    return rows[: page.size], Page(page.number, page.size, len(rows) > page.size)


def _team(row: Row) -> str:
    """Return the teams of a student, as they are shown."""
    teams = (row.person.team_of(name) for name in row.entries) if row.person is not None else ()
    return ", ".join(dict.fromkeys(filter(None, teams)))


def _searched(row: Row) -> str:
    """Return the text in which the search finds a student."""
    return "\n".join((row.id, row.name, row.section, _team(row))).casefold()


def _page_of(request: Request, size: int) -> Page:
    """Return the page that the query names; by default the first."""
    text = request.query_params.get("page", "")
    number = int(text) if re.fullmatch(r"[0-9]{1,6}", text) else 1
    return Page(min(max(number, 1), MAX_PAGE), size)


def _own_path(path: str) -> str:
    """Return `path` if it is a path on this server, otherwise the path of the front page."""
    return path if _PATH.fullmatch(path) else "/"


async def _form(request: Request) -> dict[str, str] | None:
    """Return the fields of a small form, None if the body is not such a form."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        return None
    body = b""
    try:
        with anyio.fail_after(10):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_FORM:
                    return None
        fields = parse_qs(body.decode("ascii"), strict_parsing=False, max_num_fields=10)
    except (TimeoutError, ValueError):
        return None
    return {name: values[0] for name, values in fields.items()}


# templates ---------------------------------------------------------------------------------------------------


def _environment(course: Course) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("autograder.service.http"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "inert": inert,
        "ago": partial(ago, zone=course.zone()),
        "moment": partial(moment, zone=course.zone()),
        "job_url": lambda job: f"/jobs/{quote(job, safe='/:')}",
        "repository_url": lambda repository: f"/r/{quote(str(repository), safe='/:')}",
        "duration": duration,
        "tidy_json": lambda data: json.dumps(_inert_json(data), indent=2, ensure_ascii=False),
    }
    environment.globals |= {
        "STATES": STATES,
        "SAYS": SAYS,
        "ALL_PASSED": ALL_PASSED,
        "NOT_ALL_PASSED": NOT_ALL_PASSED,
        "with_query": with_query,
        "commit_url": course.commit_url,
    }
    return environment


def inert(text: object) -> Markup:
    """Return HTML that shows `text` literally, on one line, and isolated from the text around it."""
    return Markup("<bdi>{}</bdi>").format(one_line(str(text), MAX_TEXT))


def ago(then: datetime | None, now: datetime, zone: tzinfo = timezone.utc) -> Markup:
    """Return HTML that says how long ago a moment was, in the largest unit. The tooltip shows the moment itself."""
    if then is None:
        return Markup("–")
    seconds = max(0.0, (now - then).total_seconds())
    words = f"{int(seconds)} s"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            words = f"{int(seconds // size)} {unit}"
            break
    return Markup('<time datetime="{}" title="{}">{} ago</time>').format(
        then.isoformat(timespec="seconds"), local(then, zone), words
    )


def moment(then: datetime | None, zone: tzinfo = timezone.utc) -> Markup:
    """Return HTML that shows a moment in local time."""
    if then is None:
        return Markup("–")
    return Markup('<time datetime="{}">{}</time>').format(
        then.isoformat(timespec="seconds"), local(then, zone)
    )


def local(then: datetime, zone: tzinfo) -> str:
    """Return a moment in local time with its offset: `2026-10-12 23:59:00 UTC+02:00`."""
    there = then.astimezone(zone)
    offset = f"{there:%z}"
    return f"{there:%Y-%m-%d %H:%M:%S} UTC" + ("" if offset == "+0000" else f"{offset[:3]}:{offset[3:]}")


def with_query(path: str, **values: object) -> str:
    """Return `path` with a query of `values`. Empty values are left out."""
    given = {name: value for name, value in values.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


def _inert_json(data: Any) -> Any:
    if isinstance(data, str):
        return one_line(data, MAX_TEXT)
    if isinstance(data, Mapping):
        return {one_line(str(key)): _inert_json(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_inert_json(item) for item in data]
    return data
