"""A text that is looked for by its words, as an expression of FTS5 in which nothing of it is syntax."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

WORD = r"\w+"
CODE = r"\b\w++(?:[-./:@+#]\w++)+"  # libgtk-3-0, 1.2.3, a/path.c: its words one after the other count more


@dataclass(frozen=True)
class Question:
    """Words, and what is written as one of several; each is quoted, and letters, digits and `_` are all it holds."""

    text: str

    @cached_property
    def parts(self) -> list[str]:
        """Quoted words in their order, each once, then the codes."""
        text = unicodedata.normalize("NFC", self.text).encode("utf-8", "replace").decode().lower()
        codes = (" ".join(re.findall(WORD, code)) for code in re.findall(CODE, text))
        return [f'"{part}"' for part in dict.fromkeys([*re.findall(WORD, text), *codes])]

    def expression(self, rows_of: Callable[[str], int], common: float) -> str:
        """What to MATCH: any of the parts that at most `common` rows have, or else the rarest; "" when no row has one.

        `rows_of` tells in how many rows a part is.
        """
        found = {part: number for part in self.parts if (number := rows_of(part))}
        rare = [part for part, number in found.items() if number <= common]
        return " OR ".join(rare or sorted(found, key=lambda part: found[part])[:1])
