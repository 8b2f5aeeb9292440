"""Climb one class of one image, look at what each step added, and go on from an earlier step.

python climb_one_image.py PROJECT RUN IMAGE CLASS
"""

import sys

import engine

place, run, image, cls = sys.argv[1:5]
job = engine.Climb(project=place, run=run, images=(image,), cls=cls, views="steps", settings={"steps": 3})
first = engine.do(job)
on = engine.do(
    engine.Climb(
        project=place, run=run, images=(image,), cls=cls, views="steps", trace=first["trace"], at=1,
        settings={"steps": 2, "lam": 0},
    )
)  # fmt: skip

project = engine.open_project(place)
folder = engine.run_of(project.root, run).views("steps").folder / image / "climb"
path = engine.path_to(engine.traces_in(folder), on["trace"])
for step in range(path.last + 1):
    evidence = path.attribution(step)  # [h, w] float32 in [0, 1]
    print(f"step {step}: {(evidence > 0.3).mean():.0%} of the map above 0.3")
