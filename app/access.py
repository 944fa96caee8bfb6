"""Who may use the service: hosts, web pages, keys, rates; what a request must pass before a route sees it."""

from dataclasses import dataclass
from typing import Any

from app.access_hosts import ANYWHERE, checked_hosts, checked_origins, is_loopback
from app.access_keys import Keys, read_keys, without_keys
from app.access_rate import RateLimit
from app.access_rights import Right, Rights
from app.settings import Settings, SettingsError

DOCS = ("/", "/page", "/docs", "/openapi.json")
METRICS = ("/metrics",)
ANY_ORIGIN_HEADERS = ("authorization", "api-key", "x-api-key", "content-type", "x-request-id")
SHOWN_HEADERS = ("location", "retry-after", "x-request-id", "x-rows", "x-dim")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Access:
    """The rules of one service."""

    keys: Keys
    rights: Rights
    hosts: frozenset[str]
    origins: frozenset[str]
    closed: tuple[str, ...]
    rate: RateLimit | None
    exposed: bool = False  # without a key, on an address that other machines may reach

    def knows_host(self, name: str | None) -> bool:
        """Whether a name is one that this service may be asked by."""
        if name is None:
            return False
        if self.keys and not self.hosts:
            return True
        return name in self.hosts or ANYWHERE in self.hosts or is_loopback(name)

    def trusts(self, origin: str) -> bool:
        """Whether web pages of this origin may ask."""
        return origin in self.origins or (ANYWHERE in self.origins and bool(origin))

    def hides(self, path: str) -> bool:
        """Whether an address is closed for everybody."""
        return any(path == closed or path.startswith(f"{closed}/") for closed in self.closed)

    @property
    def summary(self) -> str:
        """What protects the service, for the log."""
        if self.keys:
            counted = ", ".join(f"{kind} {count}" for kind, count in self.keys.counts.items())
            return f"keys: {counted}"
        if self.exposed:
            return "no key (FUNNEL_ALLOW_NO_KEY): any machine or program that can connect may read and write everything"
        if ANYWHERE in self.hosts:
            return (
                "no key, and any name (FUNNEL_ALLOWED_HOSTS=*): "
                "a web page that gives its own name this address may read and write everything"
            )
        others = f" and {', '.join(sorted(self.hosts))}" if self.hosts else ""
        return f"no key: answers to localhost, 127.0.0.1 and [::1]{others} alone, and to no page of another site"


def open_access(settings: Settings) -> Access:
    """The rules of the settings; SettingsError for one that could not be applied."""
    keys = read_keys(settings)
    return Access(
        keys,
        Rights(metrics=Right.OPEN) if settings.metrics == "open" else Rights(),
        checked_hosts(settings.allowed_hosts),
        checked_origins(settings.cors_origins, bool(keys)),
        (() if settings.docs else DOCS) + (METRICS if settings.metrics == "closed" else ()),
        None if settings.rate_limit is None else RateLimit(settings.rate_limit, settings.rate_burst),
        not is_loopback(settings.host),
    )


def cors(access: Access) -> dict[str, Any]:
    """The arguments of Starlette's middleware: never credentials, which a browser would add by itself."""
    return {
        "allow_origins": sorted(access.origins),
        "allow_methods": METHODS,
        "allow_headers": ANY_ORIGIN_HEADERS,
        "expose_headers": SHOWN_HEADERS,
    }


def private(settings: Settings) -> Settings:
    """The same settings for a socket that nobody else can reach: no keys, no rate."""
    return without_keys(settings).model_copy(update={"rate_limit": None, "cors_origins": ()})


def check_bind(settings: Settings) -> None:
    """Refuse to listen where others can come and nothing would stop them; SettingsError with the ways out."""
    if is_loopback(settings.host) or settings.allow_no_key or read_keys(settings):
        return
    raise SettingsError(
        f"FUNNEL_HOST={settings.host} lets other machines in, and there is no key to stop them. "
        "Give the service a key (FUNNEL_API_KEY or FUNNEL_API_KEY_FILE; `funnel key` makes one), "
        "or listen on this machine alone (FUNNEL_HOST=127.0.0.1), "
        "or, when something else keeps strangers away, set FUNNEL_ALLOW_NO_KEY=1"
    )
