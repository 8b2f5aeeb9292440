"""What CLIP is asked for: the words of classes and of backgrounds, and what its other half makes of them.

The words are those of Lin et al., CLIP is Also an Efficient Segmenter, CVPR 2023 (its clip_text.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from engine.errors import UserError, nearest
from engine.nets.clip_tower import ClipSize

__all__ = ["BACKGROUND", "WORDS", "kept_background", "read_words", "text_vectors", "whole_clip", "words_of"]

BACKGROUND = (
    "ground, land, grass, tree, building, wall, sky, lake, water, river, sea, railway, railroad, keyboard, helmet, "
    "cloud, house, mountain, ocean, road, rock, street, valley, bridge, sign"
)

# Classes of VOC and COCO whose names alone mean something else, or less, to CLIP.
WORDS = {
    "person": "person with clothes,people,human",
    "bird": "bird avian",
    "chair": "chair seat",
    "tvmonitor": "tvmonitor screen",
    "tv": "tvmonitor screen",
    "backpack": "backpack,bag",
    "umbrella": "umbrella,parasol",
    "handbag": "handbag,purse",
    "tie": "necktie",
    "baseball glove": "glove",
    "spoon": "dessertspoon",
    "remote": "remote control",
    "hair drier": "hairdrier,blowdrier",
}


def read_words(text: str) -> dict[str, str]:
    """Return class -> words of a setting such as `person = people, human; bird = bird avian`.

    Raises:
        UserError: A part has another form, or a class stands there twice.
    """
    found: dict[str, str] = {}
    for part in filter(None, (p.strip() for p in text.split(";"))):
        name, sign, words = (p.strip() for p in part.partition("="))
        if not (name and sign and words) or name in found:
            raise UserError(
                f"words holds '{part[:80]}'" + (f", and '{name}' before it." if name in found else "."),
                "Each class once, with what it is called: person = people, human; bird = bird avian.",
                "Correct this part; parts are separated by semicolons.",
            )
        found[name] = words
    return found


def words_of(classes: Sequence[str], own: dict[str, str]) -> list[str]:
    """Return what each class is called in the prompt.

    Args:
        classes: The project's classes.
        own: Class -> words that go before ours.

    Raises:
        UserError: `own` names a class that the project does not have.
    """
    for name in own:
        if name not in classes:
            raise UserError(
                f"words names '{name[:80]}', which is no class of the project.",
                f"Classes: {', '.join(classes)}.",
                nearest(name, classes),
            )
    return [own.get(c) or WORDS.get(c.lower()) or " ".join(c.replace("_", " ").split()) for c in classes]


def kept_background(background: Sequence[str], classes: Sequence[str]) -> list[bool]:
    """Return which background words stay: none that a class is called by, alone or among other words.

    So that `keyboard` and `sign` go where COCO's keyboard and stop sign are classes, as in the paper's second list.

    Args:
        background: Background words.
        classes: Names and words of classes.
    """
    taken = {word for text in classes for word in _parts(text)}
    return [not set(_parts(word)) <= taken for word in background]


def whole_clip(size: ClipSize) -> nn.Module:
    """Return open_clip's network of both halves with random weights, in eval mode."""
    # Imported here because it takes seconds and only new runs need it.
    import open_clip.model

    net = open_clip.model.CLIP(
        size.embed,
        open_clip.model.CLIPVisionCfg(
            layers=size.layers,
            width=size.width,
            head_width=size.width // size.heads,
            patch_size=size.patch,
            image_size=size.image,
        ),
        open_clip.model.CLIPTextCfg(width=size.text_width, heads=size.text_heads, layers=size.text_layers),
        quick_gelu=True,
    )
    return net.eval()


@torch.no_grad()
def text_vectors(net: nn.Module, texts: Sequence[str]) -> Tensor:
    """Return [T, E] float32 of length 1, what a CLIP makes of texts; what is longer than 77 tokens is cut."""
    from open_clip.tokenizer import tokenize

    # Prompts are few and short: one after the other they need no memory.
    rows = [net.encode_text(tokenize([text]), normalize=True) for text in texts]  # type: ignore[operator]
    return torch.cat(rows).float()


def _parts(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
