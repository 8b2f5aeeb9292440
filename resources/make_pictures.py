"""Draw the README's pictures from the real app on a trained sample (`make pictures`).

python resources/make_pictures.py [DEMO]

DEMO is the folder of a demo (default: wsss_demo), which is made or finished first. Its project is
photographed in a copy: the picture of the Export page shows where exports go, which must not be where
somebody happens to work, and looking at masks makes a journal that the demo does not need.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from engine.display import screen
from engine.store import open_project

#: The end of the path that the Export page's field shows; longer than the field, so that no more is seen.
PLACE = Path("wsss_demo") / "photographs_of_toys"
PAGES = ("tags", "train", "explore", "climb", "prototypes", "refine", "correct", "export")


def main(demo: Path) -> None:
    """Finish the demo, photograph its pages, and keep the pictures small."""
    target = Path(__file__).resolve().parent / "pictures"
    target.mkdir(exist_ok=True)
    subprocess.run([sys.executable, "-m", "engine.cli", "demo", "--out", str(demo), "--no-view"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        project = copied(demo / "project", Path(folder) / PLACE)
        command = [sys.executable, "-m", "wsss_napari", "--screenshots", folder, str(project)]
        with screen() as environment:
            subprocess.run(command, check=True, env=environment)
        for page in PAGES:
            # In full colour: a palette would make classes that differ look alike.
            picture = Image.open(Path(folder) / f"{page}-dark-1280x800.png").convert("RGB")
            picture.save(target / f"{page}.png", optimize=True)
            print(target / f"{page}.png")


def copied(project: Path, place: Path) -> Path:
    """Copy a project, without its exports, to a place of another name, and return the place."""
    shutil.copytree(project, place, ignore=shutil.ignore_patterns("exports"))
    old, new = open_project(project), open_project(place)
    # The folders of images and truth are kept relative to the project.
    truth = old.truth_place
    new.relink(images=old.image_folder, truth=None if truth is None else truth.folder)
    return place


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "wsss_demo"))
