"""Who sent a request: the client address that rate limits count, and whether the client is on this machine."""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


def client_address(request: HTTPConnection, proxies: Collection[str] = ()) -> str:
    """Return the address that stands for the client.

    For IPv6 this is the client's /64 network, since one host can use all addresses of its /64 network.

    Args:
        request: of the client.
        proxies: addresses of the configured proxies. If one of them connects, the client is the last address in
            `X-Forwarded-For`, which the proxy added. From anybody else the header is ignored, because everybody can
            send it.
    """
    address = request.client.host if request.client else ""
    forwarded = request.headers.getlist("x-forwarded-for")
    if forwarded and _is_one_of(address, proxies):
        named = forwarded[-1].rpartition(",")[2].strip()
        address = named if _parsed(named) else address
    parsed = _parsed(address)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
    return address


def is_local(request: HTTPConnection, url: str) -> bool:
    """Whether the client is on this machine, and is not a proxy that forwards for somebody else.

    This can be known only if the service is not reached through a proxy. So `url`, the address for people, must be
    local. The Host header must be local too, so that a foreign DNS name that points to this machine is not trusted.
    """
    address = request.client.host if request.client else ""
    if any(name in request.headers for name in _FORWARDED):
        return False
    return (
        _is_loopback(address)
        and _is_loopback(_host(f"//{request.headers.get('host', '')}"))
        and _is_loopback(_host(url))
    )


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_one_of(address: str, proxies: Collection[str]) -> bool:
    parsed = _parsed(address)
    return parsed is not None and any(parsed == _parsed(proxy) for proxy in proxies)


def _is_loopback(host: str) -> bool:
    parsed = _parsed(host)
    return host == "localhost" or (parsed is not None and parsed.is_loopback)


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        return None
