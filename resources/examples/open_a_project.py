"""Make a project of the bundled sample, change a tag, and read what it holds.

python open_a_project.py NEW_FOLDER
"""

import sys

import engine
from engine.resources import resource

sample, place = resource("sample"), sys.argv[1]
job = engine.New(project=place, images=str(sample / "images"), tags=str(sample / "tags.csv"))
print(engine.command(job))  # the same on the command line
print(engine.do(job)["classes"])

project = engine.open_project(place)
first = project.usable[0]
project.set_tags([(first, project.classes[0], -1)])  # -1 unknown, 0 absent, 1 present
for name, count in zip(project.classes, project.tags().counts(), strict=True):
    print(f"{name}: on {count.present} of {len(project.usable)} images, {count.unknown} unknown")
print(first, project.read(first).pixels.shape)
