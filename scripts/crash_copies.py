"""The directory and what is known of it, as they were before each of the last rounds: to take up, and to replay."""

import shutil
from pathlib import Path

from crash_known import Known


class Copies:
    """Folders `before-NUMBER` beside the directory `folder / "data"`."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._data = folder, folder / "data"

    def before(self, number: int) -> Path:
        """The folder of a round."""
        return self._folder / f"before-{number}"

    def make(self, number: int, known: Known) -> None:
        """Keep what is there now as what was before this round."""
        self.drop(number)
        self.before(number).mkdir()
        if self._data.exists():
            shutil.copytree(self._data, self.before(number) / "data")
        known.save(self.before(number) / "known.json")

    def drop(self, number: int) -> None:
        """Nobody needs that of this round any more."""
        shutil.rmtree(self.before(number), ignore_errors=True)

    def take_up(self) -> tuple[int, Known] | None:
        """Put the newest one in the place of the directory: its round, and what was known; None when there is none."""
        left = sorted(int(path.name.split("-")[1]) for path in self._folder.glob("before-*"))
        if not left:
            return None
        shutil.rmtree(self._data, ignore_errors=True)
        if (kept := self.before(left[-1]) / "data").exists():
            shutil.copytree(kept, self._data)
        return left[-1], Known.load(self.before(left[-1]) / "known.json")
