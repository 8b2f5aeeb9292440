"""Class colours: one palette safe for colour-blind eyes, and PASCAL VOC's for its files."""

from __future__ import annotations

import colorsys

__all__ = ["class_colours", "hex_of", "rgb_of", "voc_palette"]

# Okabe and Ito (2008), black left out, in the order that keeps the first pairs furthest apart.
_SAFE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442")


def class_colours(n: int) -> tuple[str, ...]:
    """Return `n` distinct colours as `#RRGGBB`; the first seven are Okabe and Ito's.

    Further ones walk the hue circle by the golden angle and alternate lightness, so
    that neighbours in the list differ in brightness too, which every eye can see.
    """
    colours = list(_SAFE[:n])
    for i in range(len(colours), n):
        k = i - len(_SAFE)
        lightness = (0.35, 0.65, 0.5, 0.8)[k % 4]
        r, g, b = colorsys.hls_to_rgb((0.13 + k * 0.381966) % 1.0, lightness, 0.75)
        colours.append(hex_of((round(r * 255), round(g * 255), round(b * 255))))
    return tuple(colours)


def voc_palette() -> tuple[tuple[int, int, int], ...]:
    """Return VOC's 256 colours: the bits of the index dealt to R, G, B from the top down."""
    colours = []
    for index in range(256):
        rgb = [0, 0, 0]
        for bit in range(3):  # 8 bits of the index, three at a time
            for channel in range(3):
                rgb[channel] |= ((index >> (3 * bit + channel)) & 1) << (7 - bit)
        colours.append((rgb[0], rgb[1], rgb[2]))
    return tuple(colours)


def hex_of(rgb: tuple[int, int, int]) -> str:
    """Return `#RRGGBB` of three numbers 0..255."""
    return "#{:02X}{:02X}{:02X}".format(*rgb)


def rgb_of(colour: str) -> tuple[int, int, int]:
    """Return the three numbers 0..255 of `#RRGGBB`."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
