"""The headers of a request, as every part of the service reads them."""

from collections.abc import Mapping, Sequence


def first_of_each(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """By name: of several alike the first counts, as it does for routes."""
    return dict(reversed(headers))


def media_type(headers: Mapping[bytes, bytes]) -> str:
    """The content type without its parameters, in lower case; empty when there is none."""
    return headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
