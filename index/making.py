"""Makes the documents file of a new directory: whole under another name first, so that it is never half there."""

from contextlib import closing

from index.connections import discard
from index.database import Documents
from index.layout import Layout, sync_directory
from index.tables import State


def make_documents(layout: Layout, state: State) -> None:
    """Put an empty file with its tables and its state in place, durably."""
    temporary = layout.documents.with_suffix(".tmp")
    discard(temporary)  # of an interrupted start
    with closing(Documents(temporary, state, readers=0)) as documents:
        documents.checkpoint()
    temporary.replace(layout.documents)
    sync_directory(layout.collection)
