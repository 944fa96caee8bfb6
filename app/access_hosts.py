"""Which names a service may be asked by, and which web pages may ask it.

Without a key the address is all that protects a local service. A web page can make a browser ask it in two ways:
across sites, which the browser marks (Sec-Fetch-Site, Origin), and by giving its own name the address 127.0.0.1
("DNS rebinding"), which only the Host header betrays.
"""

import ipaddress
import re
from collections.abc import Collection

from app.settings import SettingsError

HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::\d{1,5})?")
NAME = re.compile(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+")
ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?")
OWN, ANYWHERE = ("same-origin", "none"), "*"


def is_loopback(name: str) -> bool:
    """Whether a host name or address is this machine alone, without asking anybody: localhost, 127.0.0.0/8, ::1."""
    bare = name.removeprefix("[").removesuffix("]").lower()
    if bare == "localhost":
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False


def host_name(header: bytes) -> str | None:
    """The name of a Host header without its port, in lower case; None when it is not one."""
    match = HOST.fullmatch(header)
    return match[1].decode("latin-1").lower() if match else None


def own_page(site: str, origin: str, host: str, method: str, mode: str, target: str) -> bool:
    """Whether a request does not come from a page of another site; all values are those of headers, or empty.

    A browser that sends Sec-Fetch-Site knows; older ones send Origin with all that could do harm. Links to our pages
    may be followed from anywhere, but not into a frame.
    """
    if site in OWN:
        return True
    if site:
        return method == "GET" and mode == "navigate" and target == "document"
    return not origin or origin.partition("://")[2] == host


def checked_hosts(names: Collection[str]) -> frozenset[str]:
    """Host names in lower case; SettingsError for what no Host header can hold as its name, such as a port."""
    for name in names:
        if name != ANYWHERE and not NAME.fullmatch(name):
            raise SettingsError(f"FUNNEL_ALLOWED_HOSTS: a name without scheme and port is expected, got {name!r}")
    return frozenset(name.lower() for name in names)


def checked_origins(origins: Collection[str], keyed: bool) -> frozenset[str]:
    """Origins as browsers write them; SettingsError for what is none, and for * where no key protects anything."""
    for origin in origins:
        if origin == ANYWHERE and not keyed:
            raise SettingsError("FUNNEL_CORS_ORIGINS: * lets every web page in, which needs keys; list origins instead")
        if origin != ANYWHERE and not ORIGIN.fullmatch(origin):
            raise SettingsError(f"FUNNEL_CORS_ORIGINS: an origin such as https://app.example.com, got {origin!r}")
    return frozenset(origins)
