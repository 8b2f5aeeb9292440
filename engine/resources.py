"""Find the data files that come with the package: the sample, the examples."""

from __future__ import annotations

from pathlib import Path

from engine.errors import UserError

__all__ = ["resource"]

_HERE = Path(__file__).resolve().parent
# In a wheel the folder travels inside the package; an editable install reads the repository's own.
_PLACES = (_HERE / "_resources", _HERE.parent / "resources")


def resource(name: str) -> Path:
    """Return the path of a file or folder of `resources`, such as `sample` or `sample/tags.csv`.

    Raises:
        UserError: It is not there.
        ValueError: The name leads out of the folder.
    """
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError(f"the resource name {name!r} leads out of the folder")
    for place in _PLACES:
        if (place / name).exists():
            return place / name
    raise UserError(
        f"The installation lacks its data file '{name}'.",
        f"It is looked for in {' and in '.join(str(p) for p in _PLACES)}.",
        "Install wsss-napari again.",
    )
