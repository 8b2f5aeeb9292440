"""The closed set of things one can look at, and how each lies on disk.

`CamStack`: class activation maps of an image. `ClimbTrace`: one adversarial climb, step by
step; `ClimbPath`: the steps from the start of a climb to one of its branches. `Figure`: the
plots of a study. `RefineTrace`: the stages of a refinement; `InstanceSet`: the instances it found.
`PrototypeView`: what the prototypes of a `PrototypeBank` are compared with in an image; `ClusterRound`: what
its prototypes were made of in one epoch.
"""

from engine.results.cams import CamStack, enlarge
from engine.results.climb_paths import ClimbPath, branches_of, path_to, traces_in
from engine.results.climbs import ClimbTrace, TraceWriter, free_id, remove
from engine.results.cluster_rounds import ClusterRound, rounds_in
from engine.results.figures import Figure, Panel, Series
from engine.results.prototypes import PrototypeBank, PrototypeView, image_key
from engine.results.refinements import InstanceSet, RefineTrace

__all__ = [
    "CamStack",
    "ClimbPath",
    "ClimbTrace",
    "ClusterRound",
    "Figure",
    "InstanceSet",
    "Panel",
    "PrototypeBank",
    "PrototypeView",
    "RefineTrace",
    "Series",
    "TraceWriter",
    "branches_of",
    "enlarge",
    "free_id",
    "image_key",
    "path_to",
    "remove",
    "rounds_in",
    "traces_in",
]
