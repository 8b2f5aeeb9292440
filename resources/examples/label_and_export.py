"""Turn a run's maps into pseudo-labels, measure them, and write a VOC folder.

python label_and_export.py PROJECT RUN OUT
"""

import sys

import numpy as np

import engine

place, run, out = sys.argv[1:4]
engine.do(engine.Label(project=place, source=run, name="soft", background="power:4", ignore="0.2,0.4"))

project = engine.open_project(place)
labels = engine.label_set(project.root, project.colours, "soft")
for stem in labels.stems()[:3]:
    values, pixels = np.unique(labels.read(stem), return_counts=True)  # 0 background, 255 unsure
    print(stem, dict(zip(values.tolist(), pixels.tolist(), strict=True)))

if project.truth_place is not None:
    print("mIoU", engine.do(engine.Evaluate(project=place, labels="soft"))["miou"])
print(engine.do(engine.Export(project=place, labels="soft", format="voc", out=out))["lost"])
