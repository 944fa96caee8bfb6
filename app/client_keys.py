"""The key that a client sends."""

import os

from app.client_errors import ClientError

VARIABLE = "FUNNEL_CLIENT_KEY"


def key_headers(api_key: str | None) -> dict[str, str]:
    """The header for a key, for that of the environment when there is none, or no header at all; ClientError for what
    no header can carry."""
    key = api_key or os.environ.get(VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ClientError(f"the key ({VARIABLE}, or Client(api_key=...)) is none: it has other characters than ASCII's")
    return {"authorization": f"Bearer {key}"} if key else {}
