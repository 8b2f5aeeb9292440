"""Write a reel as GIF, MP4, PNG or npz: whole, or not at all."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import GifImagePlugin
from PIL import Image as Pillow

from engine.arrays import MAX_BYTES, write_npz
from engine.atomic import write_bytes, writing
from engine.errors import UserError
from engine.film.drawing import Strip, frames, levels
from engine.film.reel import FASTEST_GIF, Reel, check_ending

__all__ = ["write"]

# How H.264 numbers BT.709.
_BT709 = 1
_KEPT = ("size", "picture_size", "cell", "origin", "settings", "weights", "scale", "run")


def write(reel: Reel, out: Path, fps: int = 6, threads: int = 0) -> Iterator[int]:
    """Write the film, strip or arrays; yield the number of steps that are drawn so far.

    The file appears whole when the last step is drawn. Closing the generator before leaves none.

    Args:
        reel: What it is made from.
        out: Where; its ending says the format, and a file that is there is replaced.
        fps: Pictures a second.
        threads: Threads of the H.264 encoder; 0 takes as many as it likes.

    Raises:
        UserError: The ending names no format, or the climb is damaged.
    """
    ending = check_ending(out)
    if ending == ".npz":
        yield from _write_arrays(reel, out)
    elif ending == ".png":
        yield from _write_strip(reel, out)
    elif ending == ".gif":
        yield from _write_gif(reel, out, fps)
    else:
        yield from _write_mp4(reel, out, fps, threads)


def _write_gif(reel: Reel, out: Path, fps: int) -> Iterator[int]:
    steps = reel.steps_in(".gif")
    # One palette for all frames, from the first, the middle and the last, or colours would jump.
    some = frames(reel, {0, len(steps) // 2, len(steps) - 1}, ".gif")
    sample = np.concatenate([frame[::2, ::2] for frame in some])
    palette = Pillow.fromarray(sample).quantize(256, Pillow.Quantize.FASTOCTREE)
    shown = 10 * round(100 / min(fps, FASTEST_GIF))  # ms; GIF counts in hundredths of a second
    with writing(out) as file:
        # Frame by frame: Pillow's own way to save several keeps all of them until the last is there.
        for done, frame in enumerate(frames(reel, steps, ".gif"), start=1):
            image = Pillow.fromarray(frame).quantize(palette=palette, dither=Pillow.Dither.FLOYDSTEINBERG)
            if done == 1:
                for part in GifImagePlugin.getheader(image, info={"loop": 0, "duration": shown})[0]:
                    file.write(part)
            for part in GifImagePlugin.getdata(image, duration=shown):
                file.write(part)
            if done < len(steps):
                yield done
        file.write(b";")
    yield len(steps)


def _write_mp4(reel: Reel, out: Path, fps: int, threads: int) -> Iterator[int]:
    import av  # a fifth of a second that other formats need not wait
    from av.video.reformatter import ColorRange, Colorspace

    if "libx264" not in av.codec.codecs_available:
        raise UserError(
            "PyAV was built here without the H.264 encoder libx264.",
            "The wheels of the package `av` on PyPI have it.",
            "Install it with pip, or write a .gif.",
        )
    steps = reel.steps_in(".mp4")
    with tempfile.TemporaryDirectory() as folder:
        # The index goes to the front in a second pass over the file, which therefore needs a name.
        whole = Path(folder) / "film.mp4"
        with av.open(str(whole), "w", options={"movflags": "+faststart"}) as box:
            stream: Any = None
            for done, frame in enumerate(frames(reel, steps, ".mp4"), start=1):
                if stream is None:
                    stream = box.add_stream("libx264", rate=Fraction(fps), options={"crf": "18"})
                    stream.height, stream.width = frame.shape[:2]
                    stream.pix_fmt = "yuv420p"
                    codec = stream.codec_context
                    codec.thread_count = threads
                    # Said, or players guess the colours from the width.
                    codec.colorspace = codec.color_primaries = codec.color_trc = _BT709
                    codec.color_range = int(ColorRange.MPEG)
                picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(
                    format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
                )
                box.mux(stream.encode(picture))
                if done < len(steps):
                    yield done
            box.mux(stream.encode())
        with writing(out) as file, whole.open("rb") as encoded:
            shutil.copyfileobj(encoded, file)
    yield len(steps)


def _write_strip(reel: Reel, out: Path) -> Iterator[int]:
    strip = Strip(reel)
    last = len(reel.steps_in(".png"))
    for done in strip.draw():
        if done < last:
            yield done
    packed = io.BytesIO()
    strip.canvas.save(packed, "PNG")
    write_bytes(out, packed.getvalue())
    yield last


def _write_arrays(reel: Reel, out: Path) -> Iterator[int]:
    path, leaf = reel.path, reel.path.leaf
    steps = path.last + 1
    if reel.bytes_of_maps() > MAX_BYTES:
        raise UserError(
            f"The maps of {steps} steps of {leaf.grid[0]} x {leaf.grid[1]} cells take too much room.",
            f"Files of at most {MAX_BYTES >> 20} MiB are written.",
            "Export a branch that ends earlier, or a film.",
        )
    arrays: dict[str, NDArray[Any]] = {
        name: path.stacked(name) for name in ("maps", "masks", "scores", "penalties")
    }
    arrays["attribution"] = np.empty((steps, *leaf.grid), np.float32)
    with tempfile.TemporaryFile() as spare:
        ground: NDArray[np.float32] | None = None
        if reel.has_pictures and reel.pictures_fit:
            # Mapped: together they take half a gigabyte at most, and none of it need stay in memory.
            arrays["pictures"] = np.memmap(spare, np.uint8, "w+", shape=(steps, *leaf.picture_size, 3))
            tall, wide = leaf.picture_size
            photograph = Pillow.fromarray(reel.photograph).resize((wide, tall), Pillow.Resampling.BILINEAR)
            ground = np.asarray(photograph, np.float32)  # [H', W', 3]
        for step, now in enumerate(reel.attributions()):
            arrays["attribution"][step] = now
            if ground is not None:
                arrays["pictures"][step] = levels(ground + reel.moved(step))
            if step + 1 < steps:
                yield step + 1
        facts = {
            "kind": "climb path",
            "image": leaf.image,
            "class": leaf.cls,
            "name": reel.name,
            **{key: leaf.facts[key] for key in _KEPT if key in leaf.facts},
            "traces": [
                {"trace": t.id, "first": t.first, "parent": t.parent, "at": t.at} for t in path.traces
            ],
        }
        write_npz(out, arrays, facts)
    yield steps
