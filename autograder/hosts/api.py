"""One call of a git host's REST API: a GET whose response is JSON. Redirects and proxies are not followed."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

from autograder.git.process import GitHostError

SECONDS = 20.0
MAX_RESPONSE = 8 << 20  # 100 pushes to a repository on GitHub take 150 kB


@dataclass(frozen=True)
class Api:
    """The REST API of one git host.

    Attributes:
        host: name for messages.
        base: `https://api.github.com`; for a folder of bare repositories, its path.
        token: for the repositories of the host; empty if no token is configured.
        ca_file: certificates to trust in place of the system's.
    """

    host: str
    base: str
    token: str = field(default="", repr=False)
    ca_file: Path | None = None

    def get(self, path: str, headers: Mapping[str, str]) -> list[Any]:
        """Return the list that `base` + `path` holds.

        Raises:
            GitHostError: the host did not respond, refused, or sent something else.
        """
        request = urllib.request.Request(  # noqa: S310 (https or loopback: the configuration was checked)
            self.base + path, headers={"Accept": "application/json", "User-Agent": "autograder", **headers}
        )
        handlers: list[urllib.request.BaseHandler] = [NoRedirect(), urllib.request.ProxyHandler({})]
        if self.base.startswith("https:"):
            context = ssl.create_default_context(cafile=self.ca_file)
            handlers.append(urllib.request.HTTPSHandler(context=context))
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=SECONDS) as response:
                content = response.read(MAX_RESPONSE + 1)
            if len(content) > MAX_RESPONSE:
                raise ValueError("the response is too long")
            data = json.loads(content)
            if not isinstance(data, list):
                raise ValueError("the response is not a list")
        except urllib.error.HTTPError as error:
            error.close()
            raise GitHostError(f"{self.host}: {path.partition('?')[0]}: status {error.code}") from None
        except (OSError, HTTPException, ValueError, RecursionError) as error:
            raise GitHostError(f"{self.host}: {path.partition('?')[0]}: {error}") from None
        return data


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects, so that a token goes to the configured address only."""

    def redirect_request(self, *_: Any) -> None:
        return None
