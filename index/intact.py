"""Whether a documents file is whole, told in one pass over it: before it is kept for a day on which it is needed."""

import sqlite3
from collections.abc import Callable

from index import seal
from index.document import entries_of
from index.documents import BOTH, FIELDS, is_intact, live_mask
from index.errors import StoreCorrupt
from index.integrity import damaged

STEP = 256  # documents, and entries of the inverted metadata, between two calls of `check`


def check_intact(db: sqlite3.Connection, rows: int, check: Callable[[], None]) -> None:
    """Raise StoreCorrupt unless texts, ids and metadata of all documents below `rows` agree with their second copies.

    `check` is called now and then; what it raises ends the work.
    """
    db.execute("PRAGMA cache_size=-65536")  # ids are met in no order
    seal.check_rows(db, live_mask(db, rows))
    wrong, wanted, found = [], 0, 0
    cursor = db.execute(f"SELECT d.row, i.row, {FIELDS} {BOTH}")
    while records := cursor.fetchmany(STEP):
        check()
        for row, indexed, *fields in records:
            if is_intact(row, indexed, *fields):
                wanted += sum(hash((*entry, row)) for entry in set(entries_of(fields[2])))
            else:
                wrong.append(row)
    if wrong:
        raise damaged("documents do not match their hashes or the index of their ids", sorted(wrong))
    cursor = db.execute("SELECT key, type, value, row FROM metadata")
    while entries := cursor.fetchmany(STEP):
        check()
        found += sum(map(hash, entries))
    if wanted != found:
        raise StoreCorrupt(f"the inverted metadata are not those of the documents; {seal.REPAIR}")
