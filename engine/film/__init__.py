"""A climb as a film (GIF, MP4), as a strip of pictures (PNG), or as arrays (npz).

    reel = Reel(path, photograph, "dog")
    for frames in write(reel, Path("dog.mp4")):
        ...

Each frame shows, side by side: the climbed picture x^t, A_t over the photograph, the perturbation
x^t - x^0 eight times as strong around mid grey, and what the step changed in A_t. Frames are drawn
one after the other as they are written, so a long climb takes no more memory than a short one.
"""

from engine.film.files import write
from engine.film.reel import ENDINGS, Reel, check_ending, notes

__all__ = ["ENDINGS", "Reel", "check_ending", "notes", "write"]
