"""The key that a client sends."""

import os

VARIABLE = "FUNNEL_CLIENT_KEY"
ADVICE = f"; send a key: {VARIABLE} in the environment, or Client(api_key=...)"


def key_headers(api_key: str | None) -> dict[str, str]:
    """The header for a key, for that of the environment when there is none, or no header at all."""
    key = api_key or os.environ.get(VARIABLE, "").strip()
    return {"authorization": f"Bearer {key}"} if key else {}
