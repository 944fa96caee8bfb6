"""One thing that was looked at, and all of them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """What was found; `advice` says what is lost and what to do when it is not `ok`."""

    name: str
    ok: bool
    detail: str
    advice: str = ""


@dataclass(frozen=True)
class Report:
    """All checks of a directory, and the number of live documents."""

    checks: list[Check]
    count: int

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.ok for check in self.checks)
