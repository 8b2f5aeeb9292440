"""Make the frozen project of schema 1 that every later version must open: `python make_schema1.py FOLDER`.

It was run once, and its result in `schema1` is committed and never made again: a project made
by a later version would say what that version writes, not what old projects hold. Nothing of
the engine is imported here for the same reason.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.numpy import save_file

WHEN = "2026-01-02T03:04:05+00:00"
IMAGES = {"a": (200, 40, 40), "b.v2": (40, 200, 40)}
DIGESTS: dict[str, str] = {}


def main(folder: Path) -> None:
    """Write images/, truth/ and project/ into the folder."""
    import hashlib

    for part in (
        "images",
        "truth",
        "project/runs/cam/views/default",
        "project/labels/seed",
        "project/exports",
    ):
        (folder / part).mkdir(parents=True)
    for stem, colour in IMAGES.items():
        Image.fromarray(np.full((16, 16, 3), colour, np.uint8)).save(folder / "images" / f"{stem}.png")
        DIGESTS[stem] = hashlib.sha256((folder / "images" / f"{stem}.png").read_bytes()).hexdigest()
    truth = np.zeros((16, 16), np.uint8)
    truth[:, 8:] = 1
    truth[0] = 255
    Image.fromarray(truth).save(folder / "truth" / "a.png")
    project = folder / "project"
    write(project / "wsss.toml", TOML)
    write(
        project / "images.csv",
        "image,file,height,width,orientation,mode,sha256,splits,aside\r\n"
        f"a,a.png,16,16,1,RGB,{DIGESTS['a']},train;all_good,\r\n"
        f"b.v2,b.v2.png,16,16,1,RGB,{DIGESTS['b.v2']},val,\r\n"
        'gone,"gone, too.png",0,0,1,RGB,,,"is cut short, at line 3"\r\n',
    )
    write(
        project / "tags.csv",
        "image,tag,state,who,when\r\n"
        f"a,*,absent,import,{WHEN}\r\n"
        f"a,cat,present,import,{WHEN}\r\n"
        f"b.v2,dog,present,import,{WHEN}\r\n"
        f"b.v2,cat,present,ann,{WHEN}\r\n"
        f"b.v2,cat,unknown,ann,{WHEN}\r\n"
        "b.v2,dog,abs",  # the power went here
    )
    run = project / "runs" / "cam"
    write_json(run / "run.json", RUN | {"digests": {"stems": ["a"], "images": "", "tags": ""}})
    write(run / "events.jsonl", "".join(json.dumps(e) + "\n" for e in EVENTS) + '{"event": "metr')
    save_file({"head.weight": np.arange(4, dtype=np.float32).reshape(2, 2)}, run / "weights.safetensors")
    views = run / "views" / "default"
    write_json(
        views / "views.json", {"method": "cam", "version": 1, "settings": {}, "kinds": ["cams"], "run": "cam"}
    )
    write_stack(views / "a", "a", (0,), np.linspace(0, 1, 16, dtype=np.float16).reshape(1, 4, 4))
    write_stack(views / "b.v2", "b.v2", (), np.zeros((0, 4, 4), np.float16))
    rule = {"background": "constant", "value": 0.5, "ignore": None, "min_region": 0, "crf": "none"}
    write_json(
        project / "labels" / "seed" / "rule.json",
        {"source": "cam/default", "made_by": {"rule": rule, "crf": None}, "weights": None},
    )
    mask = np.zeros((16, 16), np.uint8)
    mask[4:, 4:] = 1
    mask[:, 0] = 255
    write_mask(project / "labels" / "seed" / "a.png", mask)
    write_mask(project / "labels" / "seed" / "b.v2.png", np.zeros((16, 16), np.uint8))


TOML = """schema = 1
name = "Frozen"

[images]
folder = "../images"

[[classes]]
name = "cat"
colour = "#0072B2"

[[classes]]
name = "dog"
colour = "#E69F00"

[truth]
folder = "../truth"
classes = ["cat", "dog"]
"""

RUN: dict[str, Any] = {
    "created": WHEN,
    "method": "cam",
    "version": 1,
    "title": "first try",
    "classes": ["cat", "dog"],
    "params": {"backbone": "tiny_cnn", "pretrained": False},
    "plan": {"epochs": 1},
    "job": {"verb": "train", "method": "cam", "settings": {"backbone": "tiny_cnn", "pretrained": False}},
    "seed": 0,
    "held": [],
    "versions": {"python": "3.11"},
    "status": "finished",
    "process": None,
    "metrics": {"loss": 0.25},
}

EVENTS: list[dict[str, Any]] = [
    {"event": "started", "job": "j", "kind": "train", "run": "cam", "device": "cpu"},
    {"event": "metrics", "job": "j", "step": 1, "values": {"loss": 0.5}, "clock": 0.5},
    {"event": "metrics", "job": "j", "step": 2, "values": {"loss": 0.25}, "clock": 1.0},
    {"event": "finished", "job": "j", "result": {"run": "cam", "status": "finished"}},
]


def write_stack(folder: Path, stem: str, classes: tuple[int, ...], maps: np.ndarray) -> None:
    folder.mkdir()
    facts = {
        "kind": "cams",
        "image": stem,
        "size": [16, 16],
        "cell": 4.0,
        "origin": 0.0,
        "facts": {"digest": "d"},
    }
    np.savez(
        folder / "cams.npz",
        facts=np.frombuffer(json.dumps(facts).encode(), np.uint8),
        maps=maps,
        peaks=np.full(len(classes), 2.5, np.float32),
        scores=np.array([0.75, 0.25], np.float32),
        classes=np.array(classes, np.int32),
    )


def write_mask(path: Path, mask: np.ndarray) -> None:
    image = Image.fromarray(mask)
    image.putpalette([0, 0, 0, 0, 114, 178, 230, 159, 0] + [0] * 756 + [224, 224, 192])
    info = PngInfo()
    info.add_text("wsss-digest", "0123456789abcdef")
    image.save(path, bits=8, pnginfo=info)


def write(path: Path, text: str) -> None:
    path.write_bytes(text.encode())


def write_json(path: Path, value: Any) -> None:
    write(path, json.dumps(value, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
