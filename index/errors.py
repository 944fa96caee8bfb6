"""Every error the index raises.

FunnelError
├── InvalidInput            the request is wrong; nothing was done
│   ├── InvalidVector       length, NaN, Inf, zero norm or dtype
│   ├── InvalidFilter       unknown operator or operand of the wrong kind
│   ├── InvalidPlan         shortlist, stages, limit or offset that cannot be
│   └── InvalidDocument     id, text or metadata that cannot be stored
├── DocumentNotFound        no document has this id
├── DocumentExists          `insert_only` met an id that is taken
├── FingerprintMismatch     the index holds vectors of another embedding space
├── MaintenanceBusy         a rotation or a compaction is under way; one at a time
├── SnapshotBusy            a snapshot is being made; one at a time
├── SnapshotExists          there is a snapshot of this name
├── SnapshotNotFound        there is no snapshot of this name
├── SearchTimeout           the deadline passed before anything could be answered
├── WordsBusy               the words of some texts are not indexed yet; try again
├── StorageFull             no space left on the device; nothing was acknowledged
├── StoreUnavailable        closed, or read-only after a failed write; reopen it
│   └── StoreBusy           another process has locked the documents file; try again
├── StoreLocked             another process has the directory open
├── StoreCorrupt            bytes on disk disagree with their checksum
├── StoreFormat             not a data directory, or one of another format version
└── ViewGone                a compaction has renumbered the rows; look at the newest view
"""


class FunnelError(Exception):
    """Base of all errors of the index."""


class InvalidInput(FunnelError):
    """The caller's input is wrong; nothing was changed."""


class InvalidVector(InvalidInput):
    """A vector has the wrong length, is not finite, or has no direction."""


class InvalidFilter(InvalidInput):
    """A filter uses an unknown operator or an operand of the wrong kind."""


class InvalidPlan(InvalidInput):
    """A shortlist, stage list, limit or offset is out of bounds."""


class InvalidDocument(InvalidInput):
    """A document's id, text or metadata cannot be stored."""


class DocumentNotFound(FunnelError):
    """No live document has the given id."""


class DocumentExists(FunnelError):
    """A document with the given id is stored already and the mode forbids replacing it."""


class FingerprintMismatch(FunnelError):
    """The index was made in another embedding space."""


class MaintenanceBusy(FunnelError):
    """A rotation or a compaction is under way; nothing was changed."""


class SnapshotBusy(FunnelError):
    """Another snapshot is being made; this one was not begun."""


class SnapshotExists(FunnelError):
    """A snapshot with the given name is there already."""


class SnapshotNotFound(FunnelError):
    """No snapshot has the given name."""


class SearchTimeout(FunnelError):
    """The deadline passed before there was anything to answer with."""


class WordsBusy(FunnelError):
    """A search by words has to wait: the texts of its view are still being indexed."""


class StorageFull(FunnelError):
    """The disk is full; the batch was not stored."""


class StoreUnavailable(FunnelError):
    """The store is closed, or refuses writes after an I/O error until it is reopened."""


class StoreBusy(StoreUnavailable):
    """Another process, such as a SQLite shell, has locked the documents file; nothing was changed."""


class StoreLocked(FunnelError):
    """Another process holds the data directory."""


class StoreCorrupt(FunnelError):
    """Stored bytes do not match their checksum or their description."""


class StoreFormat(FunnelError):
    """The directory is not a data directory of this format version."""


class ViewGone(FunnelError):
    """The rows of a view were renumbered by a compaction: they mean other documents now. Repeat on the newest view."""
