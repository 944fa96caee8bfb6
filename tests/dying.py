"""In a process of its own: SIGKILL at one step of some work after the other."""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any


class Dying:
    """Counts the steps of a process and kills it at one of them."""

    def __init__(self, last: int) -> None:
        """At step `last`, the first being 0."""
        self.last, self._steps = last, 0

    def step(self, *_: Any) -> None:
        """One step."""
        if self._steps == self.last:
            os.kill(os.getpid(), signal.SIGKILL)
        self._steps += 1

    def before(self, owner: Any, *names: str, after: bool = False) -> None:
        """A step before each call of these functions or methods."""
        for name in names:
            setattr(owner, name, self._stepping(getattr(owner, name), after))

    def around(self, owner: Any, *names: str) -> None:
        """A step before and after each call."""
        self.before(owner, *names, after=True)

    def _stepping(self, real: Callable[..., Any], after: bool) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.step()
            result = real(*arguments, **named)
            if after:
                self.step()
            return result

        return call


def die_at_each(steps: Iterable[int], work: Callable[[Dying], None]) -> None:
    """Fork a process for each step, which does the work until then, up to one that comes to its end.

    To be called by a process of one thread; its exit status is 1 when the work fails.
    """
    for last in steps:
        pid = os.fork()
        if not pid:
            _work_and_exit(work, Dying(last))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code != -signal.SIGKILL:
            sys.exit(code)


def _work_and_exit(work: Callable[[Dying], None], dying: Dying) -> None:
    try:
        work(dying)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
