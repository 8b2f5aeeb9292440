"""Train class activation maps with a tiny network, draw a few, and read their arrays.

python train_and_look.py PROJECT [EPOCHS]
"""

import sys

import engine

place, epochs = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None


def show(event: engine.Event) -> None:
    print(type(event).__name__, end=" ")


settings = {"backbone": "tiny_cnn", "pretrained": False}
run = engine.do(engine.Train(project=place, method="cam", epochs=epochs, settings=settings), show)["run"]

project = engine.open_project(place)
engine.do(engine.Infer(project=place, run=run, images=project.usable[:3]))
views = engine.source_of(project.root, run)
for stem in views.stems():
    stack = engine.CamStack.load(views.path(stem))
    print(stem, [project.classes[c] for c in stack.classes], stack.full().shape, stack.peaks)
