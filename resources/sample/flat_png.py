"""Write PNG files whose bytes depend on the pixels alone.

Pillow hands the packing to whatever zlib it was built with, and zlib, zlib-ng and
their versions choose different bytes for the same pixels. This writer owns every
choice: one filter per row, runs of equal bytes, one Huffman table per file. Only the
checksums, which have a single right answer, come from the `zlib` module.

Sources: PNG 1.2 (W3C), zlib format RFC 1950, deflate format RFC 1951.
"""

from __future__ import annotations

import heapq
import struct
import zlib

import numpy as np

__all__ = ["png_bytes"]

_BASES = (
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    13,
    15,
    17,
    19,
    23,
    27,
    31,
    35,
    43,
    51,
    59,
    67,
    83,
    99,
    115,
    131,
    163,
    195,
    227,
    258,
)
_EXTRA = (0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0)
_TABLE_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
_LONGEST = 258
_END = 256


def png_bytes(pixels: np.ndarray, palette: np.ndarray | None = None) -> bytes:
    """Return a PNG file.

    Args:
        pixels: `[H, W, 3] uint8` colours, or `[H, W] uint8` indices into `palette`.
        palette: `[N, 3] uint8`, needed with indices.
    """
    height, width = pixels.shape[:2]
    colour_type = 2 if palette is None else 3
    rows = pixels.reshape(height, -1)
    # Neighbouring indices are names, not amounts: only "same as above" makes sense for them.
    filtered = _filter_colours(rows) if palette is None else _filter_indices(rows)
    data = filtered.tobytes()
    packed = b"\x78\x01" + _deflate(data) + struct.pack(">I", zlib.adler32(data))
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    table = b"" if palette is None else _chunk(b"PLTE", palette.tobytes())
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + table
        + _chunk(b"IDAT", packed)
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _filter_indices(rows: np.ndarray) -> np.ndarray:
    above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
    return np.hstack([np.full((len(rows), 1), 2, np.uint8), rows - above])  # [H, 1 + W]


def _filter_colours(rows: np.ndarray) -> np.ndarray:
    """Filter each row in the way that leaves the smallest differences (PNG 1.2, section 9)."""
    here = rows.astype(np.int16)
    above = np.vstack([np.zeros_like(here[:1]), here[:-1]])
    left = np.hstack([np.zeros_like(here[:, :3]), here[:, :-3]])
    corner = np.hstack([np.zeros_like(here[:, :3]), above[:, :-3]])
    estimate = left + above - corner
    to_left, to_above, to_corner = abs(estimate - left), abs(estimate - above), abs(estimate - corner)
    paeth = np.where(
        (to_left <= to_above) & (to_left <= to_corner), left, np.where(to_above <= to_corner, above, corner)
    )
    guesses = np.stack([np.zeros_like(here), left, above, (left + above) // 2, paeth])  # [5, H, 3 * W]
    rests = (here - guesses).astype(np.uint8)
    sizes = abs(rests.view(np.int8).astype(np.int32)).sum(axis=2)  # [5, H]
    best = sizes.argmin(axis=0)
    return np.hstack([best.astype(np.uint8)[:, None], rests[best, np.arange(len(rows))]])  # [H, 1 + 3 * W]


def _symbols(data: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return symbols, extra values and extra widths, each `[S] int64`.

    A run of equal bytes becomes one literal and repeats of the byte before it; a rest too
    short to repeat stays literal.
    """
    values = np.frombuffer(data, np.uint8)
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])  # [R]
    full, last = np.divmod(np.diff(np.r_[starts, len(values)]) - 1, _LONGEST)  # [R], [R]
    last_symbols = np.where(last < 3, last, 1)
    counts = 1 + full + last_symbols
    place = np.arange(counts.sum()) - np.repeat(
        np.cumsum(counts) - counts, counts
    )  # [S], place within the run
    ends = np.repeat(full, counts)
    repeats = np.where((place >= 1) & (place <= ends), _LONGEST, 0)
    repeats = np.where(
        (place > ends) & (np.repeat(last, counts) >= 3) & (place > 0), np.repeat(last, counts), repeats
    )
    code = np.searchsorted(_BASES, repeats, side="right") - 1
    symbols = np.where(repeats > 0, 257 + code, np.repeat(values[starts], counts))
    extras = np.where(repeats > 0, repeats - np.array(_BASES)[code], 0)
    # One more bit: the distance code, of which there is one (distance 1).
    widths = np.where(repeats > 0, np.array(_EXTRA)[code] + 1, 0)
    return np.r_[symbols, _END], np.r_[extras, 0], np.r_[widths, 0]


def _code_lengths(counts: list[int], limit: int) -> list[int]:
    """Return Huffman code lengths, none above `limit`; flattening the counts shortens the longest codes."""
    while True:
        heap = [(count, symbol, (symbol,)) for symbol, count in enumerate(counts) if count]
        heapq.heapify(heap)
        lengths = [0] * len(counts)
        if len(heap) == 1:
            lengths[heap[0][1]] = 1
        while len(heap) > 1:
            first, second = heapq.heappop(heap), heapq.heappop(heap)
            members = first[2] + second[2]
            for symbol in members:
                lengths[symbol] += 1
            heapq.heappush(heap, (first[0] + second[0], min(first[1], second[1]), members))
        if max(lengths) <= limit:
            return lengths
        counts = [(count + 1) // 2 for count in counts]


def _codes(lengths: list[int]) -> list[int]:
    """Return the canonical codes of RFC 1951, section 3.2.2."""
    codes = [0] * len(lengths)
    code = 0
    for length in range(1, max(lengths) + 1):
        for symbol, own in enumerate(lengths):
            if own == length:
                codes[symbol] = code
                code += 1
        code <<= 1
    return codes


def _high_first(value: int, width: int) -> list[int]:
    return [value >> place & 1 for place in reversed(range(width))]


def _low_first(value: int, width: int) -> list[int]:
    return [value >> place & 1 for place in range(width)]


def _deflate(data: bytes) -> bytes:
    """Pack bytes into one deflate block with its own Huffman tables."""
    symbols, extras, widths = _symbols(data)
    lengths = _code_lengths(np.bincount(symbols, minlength=286).tolist(), 15)
    codes = _codes(lengths)
    described = [*lengths, 1]  # the one distance code has length 1
    table = _code_lengths(np.bincount(described, minlength=19).tolist(), 7)
    table_codes = _codes(table)
    bits = [1, 0, 1, *_low_first(286 - 257, 5), *_low_first(0, 5), *_low_first(19 - 4, 4)]
    for length in _TABLE_ORDER:
        bits += _low_first(table[length], 3)
    for length in described:
        bits += _high_first(table_codes[length], table[length])
    # Every symbol becomes up to 15 code bits, then one distance bit (0) and up to 5 extra bits.
    own_codes, own_lengths = np.array(codes)[symbols], np.array(lengths)[symbols]  # [S], [S]
    places = np.arange(15)
    code_bits = own_codes[:, None] >> np.maximum(own_lengths[:, None] - 1 - places, 0) & 1  # [S, 15]
    extra_width = np.maximum(widths - 1, 0)
    extra_places = np.arange(5)
    # RFC 1951 puts the extra length bits before the distance code.
    extra_bits = extras[:, None] >> extra_places & 1  # [S, 5]
    everything = np.hstack([code_bits, extra_bits, np.zeros((len(symbols), 1), code_bits.dtype)])  # [S, 21]
    used = np.hstack(
        [places < own_lengths[:, None], extra_places < extra_width[:, None], widths[:, None] > 0]
    )  # [S, 21]
    return np.packbits(np.r_[np.array(bits), everything[used]].astype(np.uint8), bitorder="little").tobytes()
