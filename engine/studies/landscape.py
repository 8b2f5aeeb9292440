"""Figure 3: the classification loss around a picture, ahead of a climb and ahead of an attack."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from engine.class_maps import Shot
from engine.errors import UserError
from engine.messages import Event
from engine.nets.input import pad_to_side
from engine.params import Spec
from engine.results import Figure, Panel, Series
from engine.store import Project
from engine.studies._climbs import at_once, picture_of
from engine.studies._subject import Subject, each_image, figure, named_image, tagged
from engine.work import Halted

__all__ = ["Settings", "choose", "directions", "losses_of", "plane", "run"]

TITLE = "Loss landscape"
SENTENCE = "Draws the classification loss around the image in the plane of the climb (or of the attack) and a random direction."
SOURCE = "figure 3"
NEEDS_TRUTH = False
COUNT = 1
CLIMBS = 0
LOOKS = 882
DEFAULTS: dict[str, Any] = {}


@dataclass(frozen=True)
class Settings:
    """The plane."""

    image: Annotated[
        str, Spec("The image, named without extension; empty: chosen from the split.", main=True)
    ] = ""
    reach: Annotated[
        float,
        Spec("How far the plane goes, in steps of the climb.", low=0.01, high=1000, unit="steps", main=True),
    ] = 20.0
    points: Annotated[int, Spec("Points along each side of the grid.", low=3, high=101)] = 21


def choose(project: Project, stems: Sequence[str], own: Settings) -> list[str]:
    """Return the images with a tag, or the one that is named."""
    return named_image(project, own.image, tagged(project, stems))


def losses_of(scores: Tensor, tags: Tensor, *, softmax: bool) -> Tensor:
    """Return the classification loss of each picture, [B] float32.

    Args:
        scores: [B, C] logits.
        tags: [C] in {1 present, 0 absent, -1 unknown}; unknown tags say nothing.
        softmax: One class an image: cross-entropy, spread evenly over the present tags;
            otherwise the mean binary cross-entropy over the known tags.
    """
    present, known = tags > 0, tags >= 0
    if softmax:
        logs = scores.masked_fill(~known, -torch.inf).log_softmax(1)  # [B, C]
        return -logs[:, present].mean(1)
    target = present.to(scores).expand_as(scores)
    entropy = F.binary_cross_entropy_with_logits(scores, target, reduction="none")  # [B, C]
    return entropy[:, known].mean(1)


def directions(gradient: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Return n, the gradient, and r, the noise without its part along n, each of length 1.

    Args:
        gradient, noise: [3, h, w] float32.
    """
    # In double precision, since r is what little remains to be checked against n.
    n = F.normalize(gradient.double().flatten(), dim=0)
    r = noise.double().flatten()
    r = F.normalize(r - (r @ n) * n, dim=0)
    return n.float().view_as(gradient), r.float().view_as(noise)


@torch.no_grad()
def plane(
    loss: Callable[[Tensor], Tensor],
    start: Tensor,
    n: Tensor,
    r: Tensor,
    along: Sequence[float],
    across: Sequence[float],
    together: int,
) -> NDArray[np.float64]:
    """Return the loss at x + a n + b r, [across, along] float64, `together` pictures at a time.

    Args:
        loss: From pictures [B, 3, h, w] to [B].
        start: x, [3, h, w] float32.
        n, r: Directions, [3, h, w] float32.
        along, across: Values of a and of b.
    """
    pairs = [(a, b) for b in across for a in along]
    found: list[Tensor] = []
    for first in range(0, len(pairs), together):
        shares = torch.tensor(
            pairs[first : first + together], dtype=start.dtype, device=start.device
        )  # [B, 2]
        pictures = start + shares[:, 0, None, None, None] * n + shares[:, 1, None, None, None] * r
        found.append(loss(pictures).double().cpu())
    return torch.cat(found).view(len(across), len(along)).numpy()


def run(subject: Subject) -> Generator[Event, None, Figure]:
    """Average the planes of the images; both directions share their random direction."""
    own = subject.own
    reach, points = float(own.reach), int(own.points)
    along, across = np.linspace(0, reach, points), np.linspace(-reach / 2, reach / 2, points)
    planes: dict[str, list[NDArray[np.float64]]] = {"climb": [], "attack": []}
    softmax = subject.method.params.loss == "softmax"
    flat: list[str] = []

    def look(shot: Shot) -> None:
        picture = picture_of(subject, shot)  # [1, 3, h, w]
        tags = torch.from_numpy(shot.tags.astype(np.int64)).to(picture.device)

        def loss(pictures: Tensor) -> Tensor:
            if subject.stop():
                raise Halted
            return losses_of(subject.net.scores(subject.net.features(pictures)), tags, softmax=softmax)

        gradient = _gradient(subject, picture, tags, softmax)
        strongest = float(gradient.abs().max())
        if not (tags > 0).any() or strongest == 0:
            flat.append(shot.stem)
            subject.notes.append(f"{shot.stem} was passed over: its loss has no gradient.")
            return
        # As long as one step of the climb, whose strongest pixel moves by `step` grey levels.
        step = subject.climbing.step / (255 * sum(subject.net.backbone.prep.std) / 3)
        length = step * float(gradient.norm()) / strongest
        rng = np.random.default_rng([subject.seed, len(planes["climb"])])
        noise = torch.from_numpy(rng.standard_normal(picture.shape[1:], np.float32)).to(picture.device)
        n, r = directions(gradient, noise)
        together = at_once(subject.net, picture[0, 0].numel())
        for name, sign in (("climb", -length), ("attack", length)):
            planes[name].append(
                plane(loss, picture[0], sign * n, length * r, along.tolist(), across.tolist(), together)
            )

    images = yield from each_image(subject, look)
    images = [s for s in images if s not in flat]
    if not images:
        raise UserError(
            "No loss could be drawn: the classification loss of these images has no gradient.",
            "Images with a tag that the network is not certain of beyond all digits.",
            "Choose another image or split.",
        )
    means = {name: np.mean(found, axis=0) for name, found in planes.items()}
    rows: dict[str, list[Any]] = {
        "direction": [name for name in means for _ in range(points**2)],
        "a_steps": along.tolist() * points * 2,
        "b_steps": np.repeat(across, points).tolist() * 2,
        "loss": [v for grid in means.values() for v in grid.reshape(-1).tolist()],
    }
    spread = {name: float(grid.std()) for name, grid in means.items()}
    middle = points // 2
    return figure(
        subject,
        "Classification loss at x + a n + b r: n runs down the gradient of the loss (climb) or up (attack), r is a "
        "random direction at right angles to n, and one unit of both is as long as a step whose strongest pixel moves "
        f"by {subject.climbing.step:g} grey levels. The mark is "
        f"the image itself; means over {len(images)} image(s). Right: the loss straight ahead, b near 0.",
        [
            *(
                Panel(
                    title=f"{name.capitalize()}",
                    kind="grid",
                    x_label="a, steps along n",
                    y_label="b, steps along r",
                    grid=tuple(tuple(row) for row in grid.tolist()),
                    extent=(0.0, reach, -reach / 2, reach / 2),
                    marks=((0.0, 0.0, "x"),),
                )
                for name, grid in means.items()
            ),
            Panel(
                title="Straight ahead",
                kind="lines",
                x_label="a, steps along n",
                y_label="classification loss",
                series=tuple(
                    Series(name, tuple(along.tolist()), tuple(grid[middle].tolist()))
                    for name, grid in means.items()
                ),
            ),
        ],
        rows,
        images,
        {
            "spread_climb": spread["climb"],
            "spread_attack": spread["attack"],
            "rise_climb": float(means["climb"].max() - means["climb"].min()),
            "rise_attack": float(means["attack"].max() - means["attack"].min()),
            "attack_over_climb": spread["attack"] / max(spread["climb"], 1e-12),
        },
        "the landscape ahead of a climb is flatter than that ahead of an attack.",
        climbs=False,
    )


def _gradient(subject: Subject, picture: Tensor, tags: Tensor, softmax: bool) -> Tensor:
    """Return the gradient of the loss at a picture, [3, h, w]."""
    net = subject.net
    with torch.enable_grad():
        leaf = picture.detach().clone().requires_grad_()
        height, width = leaf.shape[2:]
        features = net.backbone(pad_to_side(leaf, net.backbone.prep))
        features = features[:, :, : -(-height // net.backbone.stride), : -(-width // net.backbone.stride)]
        loss = losses_of(net.scores(features), tags, softmax=softmax).sum()
        (gradient,) = torch.autograd.grad(loss, leaf)
    return gradient[0]
