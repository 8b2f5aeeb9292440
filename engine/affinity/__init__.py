"""Affinities of neighbouring cells and the random walk they steer, as PSA and IRN define them.

    affinity = path_affinity(edge, radius=5)          # [34, h, w]
    matrix = transition(affinity, 5, beta=10)         # [h*w, h*w], sparse
    walked = walk(matrix, maps * (1 - edge), (256,))  # [1, K, h, w]

Sources: Ahn and Kwak, AffinityNet "PSA" (CVPR 2018); Ahn, Cho and Kwak, IRN (CVPR 2019).
"""

from engine.affinity.chebyshev import barrier, changes, powers, walk, within
from engine.affinity.matrix import BORDERS, transition
from engine.affinity.pairs import feature_affinity, neighbours, path_affinity
from engine.affinity.paths import offsets, path_cells, path_runs

__all__ = [
    "BORDERS",
    "barrier",
    "changes",
    "feature_affinity",
    "neighbours",
    "offsets",
    "path_affinity",
    "path_cells",
    "path_runs",
    "powers",
    "transition",
    "walk",
    "within",
]
