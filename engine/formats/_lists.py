"""Which images each file or list of an export names, so that none is named nowhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["lists_of"]


def lists_of(
    stems: Sequence[str], splits: Mapping[str, Sequence[str]]
) -> tuple[dict[str, list[str]], list[str]]:
    """Return the images of each split that has any, in the order of `stems`, and what to say.

    Images in no split are listed as `rest`, or as `train` where there is no split at all:
    everything is there to be trained on then.
    """
    places = {stem: k for k, stem in enumerate(stems)}
    lists = {
        name: sorted((s for s in members if s in places), key=places.__getitem__)
        for name, members in splits.items()
    }
    lists = {name: members for name, members in lists.items() if members}
    listed = {s for members in lists.values() for s in members}
    rest = [s for s in stems if s not in listed]
    if not rest:
        return lists, []
    if not lists:
        return {"train": rest}, []
    name = "rest"
    while name in lists:
        name += "_"
    return {**lists, name: rest}, [f"{len(rest)} image(s) are in no split and are listed as '{name}'."]
