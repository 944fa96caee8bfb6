"""No bit of a manifest can change unnoticed, and those of earlier programs are read."""

import json
from pathlib import Path

import pytest

from index.errors import StoreFormat
from index.manifest import check_manifest, write_manifest
from index_cases import opened


def test_every_flipped_bit_and_every_cut_is_noticed(tmp_path: Path) -> None:
    """With a checksum, and without one, as earlier programs wrote it, where only the time may be another number."""
    path = tmp_path / "manifest.json"
    write_manifest(path, 1_700_000_000)
    whole = path.read_bytes()
    older = json.dumps({"format": "funnel-search", "version": 1, "created": 1_700_000_000}).encode()
    for kept in (whole, older):
        path.write_bytes(kept)
        check_manifest(path)
        passed = []
        for place in range(len(kept) * 8):
            damaged = bytearray(kept)
            damaged[place // 8] ^= 1 << place % 8
            path.write_bytes(damaged)
            try:
                check_manifest(path)
                passed.append(json.loads(damaged)["created"])
            except StoreFormat:
                pass
        assert kept == older or not passed
        assert 1_700_000_000 not in passed
        for length in range(len(kept)):
            path.write_bytes(kept[:length])
            with pytest.raises(StoreFormat):
                check_manifest(path)


def test_a_damaged_manifest_says_what_to_do(tmp_path: Path) -> None:
    """With both checksums."""
    opened(tmp_path / "data").close()
    path = tmp_path / "data" / "manifest.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 3'))
    with pytest.raises(StoreFormat, match=r"expected \d+, found \d+; `funnel repair`"):
        opened(tmp_path / "data")
