"""4-bit codes in the blocks of 32 rows that FAISS's fast scan reads, and back: FAISS itself can only add to one list.

In a block, byte b of the rows' codes (two pieces of 4 bits) takes 32 bytes: first the low pieces of all rows, then the
high ones, each of two rows sixteen apart in one byte, in the order of `PAIRS`.
"""

import numpy as np

BLOCK = 32  # rows
PAIRS = [0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15]
OTHERS = [row + 16 for row in PAIRS]


def packed_blocks(codes: np.ndarray) -> np.ndarray:
    """(ceil(n / 32), 32 * size) uint8 blocks of (n, size) uint8 codes; the last one is filled with zeros."""
    count, size = codes.shape
    blocks = -(-count // BLOCK)
    filled = np.zeros((blocks * BLOCK, size), dtype=np.uint8)
    filled[:count] = codes
    columns = filled.reshape(blocks, BLOCK, size).transpose(0, 2, 1)
    one, other = columns[:, :, PAIRS], columns[:, :, OTHERS]
    low, high = (one & 15) | (other << 4), (one >> 4) | (other & 240)
    return np.concatenate([low, high], axis=2).reshape(blocks, size * BLOCK)


def unpacked_blocks(blocks: np.ndarray) -> np.ndarray:
    """(32 * b, size) uint8 codes of (b, 32 * size) uint8 blocks."""
    count = len(blocks)
    pieces = blocks.reshape(count, -1, 2, BLOCK // 2)
    low, high = pieces[:, :, 0], pieces[:, :, 1]
    columns = np.empty((count, pieces.shape[1], BLOCK), dtype=np.uint8)
    columns[:, :, PAIRS] = (low & 15) | (high << 4)
    columns[:, :, OTHERS] = (low >> 4) | (high & 240)
    return columns.transpose(0, 2, 1).reshape(count * BLOCK, -1)
