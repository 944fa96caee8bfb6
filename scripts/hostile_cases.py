"""What hostile, slow and broken clients do to a server, over raw sockets, and what it has to answer.

Each case is a function of a `Target`; it raises AssertionError, or returns figures.
"""

from collections.abc import Callable

from hostile_large import a_declared_giant, a_giant_stream, an_undeclared_giant, one_bad_line, sixteen_large_bodies
from hostile_slow import (
    a_trickling_head,
    gone_in_the_middle,
    half_a_body,
    idle_connections,
    nobody_reads,
    silence,
    slow_uploads_everywhere,
)
from hostile_strange import strange_bodies, strange_requests
from hostile_target import Figures, Target

CASES: tuple[Callable[[Target], Figures], ...] = (
    half_a_body,
    a_trickling_head,
    silence,
    nobody_reads,
    idle_connections,
    slow_uploads_everywhere,
    a_declared_giant,
    an_undeclared_giant,
    a_giant_stream,
    one_bad_line,
    sixteen_large_bodies,
    strange_bodies,
    strange_requests,
    gone_in_the_middle,
)
