"""The closed set of things one can look at, and how each lies on disk.

`CamStack`: class activation maps of an image. `ClimbTrace`: one adversarial climb, step by
step; `ClimbPath`: the steps from the start of a climb to one of its branches. `Figure`: the
plots of a study.
"""

from engine.results.cams import CamStack, enlarge
from engine.results.climb_paths import ClimbPath, branches_of, path_to, traces_in
from engine.results.climbs import ClimbTrace, TraceWriter, free_id, remove
from engine.results.figures import Figure, Panel, Series

__all__ = [
    "CamStack",
    "ClimbPath",
    "ClimbTrace",
    "Figure",
    "Panel",
    "Series",
    "TraceWriter",
    "branches_of",
    "enlarge",
    "free_id",
    "path_to",
    "remove",
    "traces_in",
]
