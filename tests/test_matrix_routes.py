"""The matrices in force are handed out as they were given."""

from pathlib import Path

import numpy as np

from app.client import Client
from cli_runner import serving
from embedders import DIM, PREFIX_DIM


def test_matrices_in_force_come_back_to_the_bit(tmp_path: Path) -> None:
    """None where there is none; after applying, the very numbers."""
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((DIM, DIM)))[0].astype(np.float32)
    with serving(tmp_path) as url, Client(url) as client:
        client.ingest({"id": str(n), "text": f"word{n} word{n + 1}"} for n in range(20))
        assert client.rotation_matrix() is None
        assert client.query_map_matrix() is None
        client.rotate(turn, [PREFIX_DIM], "planted")
        client.set_query_map(2 * turn)
        np.testing.assert_array_equal(client.rotation_matrix(), turn)
        np.testing.assert_array_equal(client.query_map_matrix(), 2 * turn)
