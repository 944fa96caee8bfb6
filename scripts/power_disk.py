"""The files and folders of a traced process: what it sees of them, and what of that is durable."""

from pathlib import Path, PurePosixPath

from power_model import File, Folder, Naming, Node, follow
from syscall_trace import Call, Unreadable

REBUILT = "-shm"  # SQLite's index of its log: written through a mapping, made again by the first to open the file


class Disk:
    """Everything below `root`; `play` follows the trace."""

    def __init__(self, root: Path) -> None:
        self.root, self.top = PurePosixPath(root), Folder()
        self.namings: list[Naming] = []  # not yet durable by an fsync of their folder
        self.journaled = 0  # changes of names that began before this line are in the journal by some sync
        self.open: dict[int, tuple[File | Folder, list[int]]] = {}  # by descriptor: what, and [offset, appending]

    def new_process(self) -> None:
        """The next calls are of another process."""
        self.open = {}

    def play(self, call: Call) -> None:
        """Follow one call; raises Unreadable when it touches a file in a way that is not understood."""
        action = getattr(self, f"_{call.name}", None)
        if action is not None:
            action(call)
        elif self._touches(call):
            raise Unreadable(f"{call.name}{call.arguments} on a file below {self.root} is not understood")

    def _touches(self, call: Call) -> bool:
        inside = str(self.root).encode()
        plain = [part.partition("<")[2].removesuffix(">").replace("\\x", "") for part in call.arguments if "<" in part]
        plain += [part.strip('"').replace("\\x", "") for part in call.arguments if part.startswith('"')]
        return any(bytes.fromhex(text).startswith(inside) for text in plain)

    # Names

    def _place(self, path: str, base: str | None = None) -> tuple[Folder, str] | None:
        """The folder that holds a path, and the name in it; None outside of the root."""
        whole = PurePosixPath(path)
        if not whole.is_absolute():
            if base is None or "<" not in base:
                return None
            whole = PurePosixPath(bytes.fromhex(base.split("<")[1].rstrip(">").replace("\\x", "")).decode()) / whole
        if self.root not in whole.parents:
            return None
        folder = self.top
        for part in whole.relative_to(self.root).parts[:-1]:
            inner = folder.now[part]
            if not isinstance(inner, Folder):
                raise Unreadable(f"{whole} is below a file")
            folder = inner
        return folder, whole.name

    def _name(self, call: Call, *steps: tuple[tuple[Folder, str], Node | None]) -> None:
        naming = Naming(call.start, call.end, [(f, n, f.now.get(n), after) for (f, n), after in steps])
        for folder, name, _, after in naming.steps:
            if after is None:
                folder.now.pop(name, None)
            else:
                folder.now[name] = after
        self.namings.append(naming)

    def _openat(self, call: Call) -> None:
        self._opened(call, call.path(1), call.arguments[2], call.arguments[0])

    def _open(self, call: Call) -> None:
        self._opened(call, call.path(0), call.arguments[1], None)

    def _creat(self, call: Call) -> None:
        self._opened(call, call.path(0), "O_WRONLY|O_CREAT|O_TRUNC", None)

    def _opened(self, call: Call, path: str, flags: str, base: str | None) -> None:
        self.open.pop(call.result, None)
        if PurePosixPath(path) == self.root:
            self.open[call.result] = self.top, [0, 0]
            return
        place = self._place(path, base)
        if place is None:
            return
        folder, name = place
        node = folder.now.get(name)
        if node is None:
            if "O_CREAT" not in flags:
                raise Unreadable(f"{path} is opened and was never made")
            self._name(call, (place, node := File()))
        elif isinstance(node, File) and "O_TRUNC" in flags and node.now:
            node.resize(call.start, call.end, 0)
        self.open[call.result] = node, [0, int("O_APPEND" in flags)]

    def _mkdir(self, call: Call) -> None:
        self._made(call, call.path(0), None)

    def _mkdirat(self, call: Call) -> None:
        self._made(call, call.path(1), call.arguments[0])

    def _made(self, call: Call, path: str, base: str | None) -> None:
        if place := self._place(path, base):
            self._name(call, (place, Folder()))

    def _unlink(self, call: Call) -> None:
        self._removed(call, call.path(0), None)

    _rmdir = _unlink

    def _unlinkat(self, call: Call) -> None:
        self._removed(call, call.path(1), call.arguments[0])

    def _removed(self, call: Call, path: str, base: str | None) -> None:
        if place := self._place(path, base):
            self._name(call, (place, None))

    def _rename(self, call: Call) -> None:
        self._moved(call, self._place(call.path(0)), self._place(call.path(1)))

    def _renameat(self, call: Call) -> None:
        source, target = self._place(call.path(1), call.arguments[0]), self._place(call.path(3), call.arguments[2])
        self._moved(call, source, target)

    _renameat2 = _renameat

    def _moved(self, call: Call, source: tuple[Folder, str] | None, target: tuple[Folder, str] | None) -> None:
        if source is None and target is None:
            return
        if source is None or target is None:
            raise Unreadable(f"{call.name}{call.arguments} crosses the border of {self.root}")
        self._name(call, (source, None), (target, source[0].now[source[1]]))

    # Bytes

    def _file(self, call: Call) -> File | None:
        node = self.open.get(call.descriptor(), (None,))[0]
        return node if isinstance(node, File) else None

    def _close(self, call: Call) -> None:
        self.open.pop(call.descriptor(), None)

    def _dup(self, call: Call) -> None:
        if call.descriptor() in self.open:
            self.open[call.result] = self.open[call.descriptor()]
        else:
            self.open.pop(call.result, None)

    _dup2 = _dup3 = _dup

    def _lseek(self, call: Call) -> None:
        if self._file(call):
            self.open[call.descriptor()][1][0] = call.result

    def _write(self, call: Call) -> None:
        if file := self._file(call):
            where = self.open[call.descriptor()][1]
            offset = len(file.now) if where[1] else where[0]
            file.write(call.start, call.end, offset, call.text(1)[: call.result])
            where[0] = offset + call.result

    def _pwrite64(self, call: Call) -> None:
        if file := self._file(call):
            file.write(call.start, call.end, int(call.arguments[3]), call.text(1)[: call.result])

    def _ftruncate(self, call: Call) -> None:
        if file := self._file(call):
            file.resize(call.start, call.end, int(call.arguments[1]))

    def _fallocate(self, call: Call) -> None:
        if file := self._file(call):
            if call.arguments[1] != "0":
                raise Unreadable(f"fallocate with the mode {call.arguments[1]} is not understood")
            file.resize(call.start, call.end, max(len(file.now), int(call.arguments[2]) + int(call.arguments[3])))

    def _mmap(self, call: Call) -> None:
        if "MAP_SHARED" in call.arguments[3] and "PROT_WRITE" in call.arguments[2] and self._touches(call):
            path = bytes.fromhex(call.arguments[4].split("<")[1].rstrip(">").replace("\\x", "")).decode()
            if not path.endswith(REBUILT):
                raise Unreadable(f"{path} is written through a mapping, which no trace shows")

    def _fsync(self, call: Call) -> None:
        node = self.open.get(call.descriptor(), (None,))[0]
        if node is None:
            return
        self.journaled = max(self.journaled, call.start)
        if isinstance(node, File):
            node.sync(call.start)
        else:
            self._sync_names(node, call.start)

    _fdatasync = _fsync

    def _sync_names(self, folder: Folder, start: int) -> None:
        """Names in this folder that had changed before the fsync began are durable."""
        for naming in self.namings:
            if naming.within(folder) and naming.end < start:
                follow(naming)
        self.namings = [n for n in self.namings if not (n.within(folder) and n.end < start)]

    def differences(self, root: Path) -> list[str]:
        """Where the files of the running system differ from what the trace makes of them."""
        expected = {path: data for path, data in self._running(self.top, "") if not path.endswith(REBUILT)}
        actual = {p.relative_to(root).as_posix(): p for p in root.rglob("*") if not p.name.endswith(REBUILT)}
        wrong = sorted(expected.keys() ^ actual.keys())
        return wrong + [p for p in expected.keys() & actual.keys() if expected[p] != _bytes(actual[p])]

    def _running(self, folder: Folder, prefix: str) -> list[tuple[str, bytes | None]]:
        found: list[tuple[str, bytes | None]] = []
        for name, node in folder.now.items():
            if isinstance(node, Folder):
                found += [(prefix + name, None), *self._running(node, f"{prefix}{name}/")]
            else:
                found.append((prefix + name, bytes(node.now)))
        return found


def _bytes(path: Path) -> bytes | None:
    return None if path.is_dir() else path.read_bytes()
