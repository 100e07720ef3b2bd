"""Who is asking: the address that rate limits count, and whether it is this machine."""

import ipaddress
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


def source(request: HTTPConnection) -> str:
    """Return what stands for the one who asks. An IPv6 network of /64 is one: a host has all of its addresses.

    A proxy on this machine is believed whom it speaks for: the last name that it added to `X-Forwarded-For`.
    """
    address = request.client.host if request.client else ""
    forwarded = request.headers.getlist("x-forwarded-for")
    if forwarded and _is_loopback(address):
        named = forwarded[-1].rpartition(",")[2].strip()
        address = named if _parsed(named) else address
    parsed = _parsed(address)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
    return address


def is_local(request: HTTPConnection, url: str) -> bool:
    """Whether a person or program on this machine asks, and not a proxy for somebody else.

    So only where the service is not reached through a proxy: `url`, under which people reach it, is local. A name
    that leads here by somebody else's DNS is not believed either.
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


def _is_loopback(host: str) -> bool:
    parsed = _parsed(host)
    return host == "localhost" or (parsed is not None and parsed.is_loopback)


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        return None
