"""Draw the README's pictures from the real app on a trained sample (`make pictures`).

python resources/make_pictures.py [DEMO]

DEMO is the folder of a demo (default: wsss_demo), which is made or finished first.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from engine.display import screen

PAGES = ("tags", "train", "explore", "climb", "refine", "correct", "export")


def main(demo: Path) -> None:
    """Finish the demo, photograph its pages, and keep the pictures small."""
    target = Path(__file__).resolve().parent / "pictures"
    target.mkdir(exist_ok=True)
    subprocess.run([sys.executable, "-m", "engine.cli", "demo", "--out", str(demo), "--no-view"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "wsss_napari", "--screenshots", folder, str(demo / "project")]
        with screen() as environment:
            subprocess.run(command, check=True, env=environment)
        for page in PAGES:
            # In full colour: a palette would make classes that differ look alike.
            picture = Image.open(Path(folder) / f"{page}-dark-1280x800.png").convert("RGB")
            picture.save(target / f"{page}.png", optimize=True)
            print(target / f"{page}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "wsss_demo"))
