"""Stop a training after its first figures and go on with it; nothing that was done is lost.

python stop_and_resume.py PROJECT
"""

import dataclasses
import sys

import engine
from engine.messages import Metrics

job = engine.Train(
    project=sys.argv[1], method="cam", run="stopped", epochs=2,
    settings={"backbone": "tiny_cnn", "pretrained": False},
)  # fmt: skip
seen: list[Metrics] = []
for event in engine.events(job, stop=lambda: bool(seen)):
    if isinstance(event, Metrics):
        seen.append(event)
print(type(event).__name__, "at", seen[-1].clock)
print(engine.run_of(engine.open_project(job.project).root, "stopped").status)
print(engine.do(dataclasses.replace(job, resume=True))["status"])
