"""API keys: read from the settings once, kept as digests, compared in constant time."""

import hmac
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.access_rights import ANY, FULL, OPEN, Right
from app.settings import Settings, SettingsError

KINDS = {"full": "api_key", "ingest": "ingest_key", "read": "read_key"}  # and the settings, also with _file
LEAST = 16  # characters
SENDABLE = re.compile(r"[A-Za-z0-9._~+/=-]+")  # what RFC 6750 lets a header carry
HEADERS = (b"api-key", b"x-api-key")


@dataclass(frozen=True)
class Key:
    """A key that is known: its kind, its place among those of its kind, and nothing of the key itself."""

    kind: str
    number: int
    digest: bytes = field(repr=False)

    def may(self, right: Right) -> bool:
        """Whether it has a right."""
        return self.kind == FULL or right in (OPEN, ANY, self.kind)


class Keys:
    """All keys of a service. A digest is an HMAC under a random key of this process: worth nothing elsewhere."""

    def __init__(self, given: Iterable[tuple[str, str]] = ()) -> None:
        """`given` are (kind, key)."""
        self._secret = os.urandom(32)
        self._keys: list[Key] = []
        for kind, key in given:
            self._keys.append(Key(kind, self.counts.get(kind, 0) + 1, self._digest(key)))

    def __bool__(self) -> bool:
        return bool(self._keys)

    @property
    def counts(self) -> dict[str, int]:
        """How many keys there are of each kind that has any."""
        return {kind: sum(key.kind == kind for key in self._keys) for kind in {key.kind: 0 for key in self._keys}}

    def find(self, presented: str) -> Key | None:
        """The key that was presented, if it is one; as quick for any other."""
        digest, found = self._digest(presented), None
        for key in self._keys:  # all of them: when the loop ends says nothing
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found

    def _digest(self, key: str) -> bytes:
        return hmac.digest(self._secret, key.encode("utf-8", "surrogateescape"), "sha256")


def read_keys(settings: Settings) -> Keys:
    """The keys of the settings and of their files; SettingsError for one that could not be applied as it is meant."""
    given = [(kind, key) for kind, name in KINDS.items() for key in keys_of(settings, name)]
    seen: dict[str, str] = {}
    for kind, key in given:
        if seen.setdefault(key, kind) != kind:
            raise SettingsError(f"FUNNEL_{KINDS[kind].upper()}: the same key is a {seen[key]} key too")
    return Keys(dict.fromkeys(given))


def keys_of(settings: Settings, name: str) -> list[str]:
    """The keys of one kind, such as `api_key`, from its setting and its file; checked."""
    keys: list[str] = []
    secret, file = getattr(settings, name), getattr(settings, f"{name}_file")
    if secret is not None:
        keys += _checked(f"FUNNEL_{name.upper()}", secret.get_secret_value())
    if file is not None:
        keys += _checked(f"FUNNEL_{name.upper()}_FILE", _text(name, file))
    return keys


def without_keys(settings: Settings) -> Settings:
    """The same settings without the keys, for everything that does not need to know them."""
    return settings.model_copy(update={name + end: None for name in KINDS.values() for end in ("", "_file")})


def presented(headers: Sequence[tuple[bytes, bytes]]) -> set[str]:
    """The different keys that a request brings, as `Authorization: Bearer`, `api-key` or `x-api-key`."""
    return set(_presented(headers))


def _presented(headers: Sequence[tuple[bytes, bytes]]) -> Iterator[str]:
    for name, value in headers:
        if name in HEADERS:
            yield value.decode("latin-1").strip()
        elif name == b"authorization" and value[:7].lower() == b"bearer ":
            yield value[7:].decode("latin-1").strip()


def _text(name: str, file: Path) -> str:
    try:
        return file.expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"FUNNEL_{name.upper()}_FILE: cannot read {file}: {reason}") from None


def _checked(variable: str, text: str) -> list[str]:
    """The keys of a text, separated by commas or lines; never any of them in an error."""
    keys = [key for key in re.split(r"[,\s]+", text) if key]
    if not keys:
        raise SettingsError(f"{variable}: there is no key in it; take the setting away, or make a key: funnel key")
    for number, key in enumerate(keys, 1):
        if len(key) < LEAST:
            wrong = f"has {len(key)} characters, at least {LEAST} are needed"
        elif not SENDABLE.fullmatch(key):
            wrong = "has other characters than letters, digits and - . _ ~ + / ="
        else:
            continue
        raise SettingsError(f"{variable}: key {number} {wrong}; make one: funnel key")
    return keys
