"""The service behind nginx, with the settings of docs/webhooks.md."""

import contextlib
import http.client
import re
import shutil
import socket
import subprocess
import time
from datetime import datetime, timezone

import pytest

from autograder.ledger import Ledger
from autograder.service.http import app as edge
from autograder.service.http.login import ATTEMPTS
from tests.hosts.test_webhook import GITHUB
from tests.support import ROOT
from tests.support.webservice import TOKEN, Conversation, new_service, serving

NGINX = shutil.which("nginx")
SETTINGS = """
daemon off; pid {folder}/pid; error_log {folder}/errors; events {{}}
http {{
    access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    {server}
}}
"""

pytestmark = pytest.mark.skipif(NGINX is None, reason="no nginx: apt-get install nginx-light")


def documented(port, upstream):
    """Return the server block of the documentation, without TLS."""
    (block,) = re.findall(r"```nginx\n(.*?)```", (ROOT / "docs" / "webhooks.md").read_text(), re.DOTALL)
    block = re.sub(r"\n *ssl_certificate.*", "", block)
    return block.replace("listen 443 ssl", f"listen 127.0.0.1:{port}").replace(":8700", f":{upstream}")


@pytest.fixture
def proxied(sqlite_database, clock, tmp_path):
    """Yield a service and the port of nginx in front of it."""
    database, empty = sqlite_database
    empty()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    service = new_service(
        tmp_path,
        Ledger(database, clock),
        clock,
        url=f"http://grader.uni.example:{port}",
        proxies=("127.0.0.1",),
    )
    with serving(edge.create(service)) as upstream:
        file = tmp_path / "nginx.conf"
        file.write_text(SETTINGS.format(folder=tmp_path, server=documented(port, upstream)))
        nginx = subprocess.Popen([NGINX, "-c", str(file)], stderr=subprocess.DEVNULL)
        try:
            while nginx.poll() is None:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except ConnectionRefusedError:
                    time.sleep(0.01)
            assert nginx.poll() is None, (tmp_path / "errors").read_text()
            yield service, port
        finally:
            nginx.terminate()
            nginx.wait()


def test_the_receive_time_is_that_of_the_headers(proxied):
    service, port = proxied
    headers = GITHUB.headers(GITHUB.push) | {"Content-Length": len(GITHUB.push), "Connection": "close"}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    looked = []
    endpoint = service.course.endpoint
    service.course.endpoint = lambda host: looked.append(host) or endpoint(host)
    with Conversation(port) as sender:
        sender.send(f"POST /webhook/github HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())
        while not looked:  # the service has the headers, and not yet the body
            time.sleep(0.01)
        meanwhile = datetime.now(timezone.utc)
        sender.send(GITHUB.push)
        assert sender.rest().startswith(b"HTTP/1.1 202 ")
    (repository,) = service.ledger.repositories()
    (push,) = service.ledger.pushes(repository)
    assert push.received < meanwhile


def log_in(port, token, **headers):
    """Return the status of the response to the login form."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    with contextlib.closing(connection):
        connection.request("POST", "/login", f"token={token}", form | fields)
        return connection.getresponse().status


def test_staff_log_in_on_a_port_other_than_443(proxied):
    _, port = proxied
    named = f"grader.uni.example:{port}"
    assert log_in(port, TOKEN, Host=named, Origin=f"http://{named}") == 303


def test_the_client_cannot_choose_its_address(proxied):
    _, port = proxied
    statuses = [log_in(port, "guess", X_Forwarded_For=f"192.0.2.{number}") for number in range(ATTEMPTS + 1)]
    assert statuses == [401] * ATTEMPTS + [429]
