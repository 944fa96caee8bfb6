"""What a client raises.

ClientError
├── ProblemError     the service answered with a problem (RFC 9457)
├── RunEnded         a run of the recall measurement ended without a result
└── Unreachable      the service did not answer at all, broke off in the middle, or is something else
"""

from contextlib import suppress
from typing import Any

import httpx

ADVICE = "; the client takes its key from FUNNEL_CLIENT_KEY in the environment, or from Client(api_key=...)"


class ClientError(Exception):
    """Base of all errors of the client."""

    retry_after: float | None = None  # seconds that the service asks to wait


class ProblemError(ClientError):
    """The service refused a request: `type` is stable, `detail` says what to change."""

    def __init__(self, members: dict[str, Any], retry_after: float | None = None) -> None:
        self.type: str = members.get("type", "about:blank")
        self.title: str = members.get("title", "")
        self.status: int = members.get("status", 0)
        self.detail: str = members.get("detail", "")
        self.members = members
        self.retry_after = retry_after
        advice = ADVICE if self.status == 401 else ""
        super().__init__(f"{self.title}: {self.detail} ({self.status}, {self.type}){advice}")


class RunEnded(ClientError):
    """A run of the recall measurement failed, or somebody cancelled it; nothing was changed."""


class Unreachable(ClientError):
    """No answer, only half of one, or one that no such service gives, after all attempts."""


def problem_of(response: httpx.Response) -> ProblemError:
    """The problem that a response tells; one made of the status when its body is something else."""
    members: Any = None
    with suppress(ValueError):
        members = response.json()
    if not isinstance(members, dict) or "type" not in members:
        detail = response.text[:500] or response.headers.get("location", "")
        members = {"title": response.reason_phrase, "status": response.status_code, "detail": detail}
    seconds = response.headers.get("retry-after", "")
    return ProblemError(members, float(seconds) if seconds.isdecimal() else None)
