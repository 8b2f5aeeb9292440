"""Train a classifier on the image tags and draw where each tag's evidence lies.

Citation:

Zhou, Khosla, Lapedriza, Oliva, Torralba. Learning Deep Features for Discriminative
Localization. CVPR 2016. Gradient variants: Selvaraju et al., Grad-CAM, ICCV 2017;
Chattopadhay et al., Grad-CAM++, WACV 2018. Multi-scale inference as in Ahn, Cho, Kwak,
Weakly Supervised Learning of Instance Segmentation with Inter-pixel Relations, CVPR 2019.

Departs from the paper:

- Maps of several scales and of the mirror image are added up, each after its ReLU (scales, flip); the paper uses one pass.
- Features are drawn at the pixels they are centred on (alignment = centred); the released codes stretch them, which puts maps up to half a stride too low (alignment = official).
- Maps of tags that are present only are drawn (classes = present), as all seed benchmarks do; predicted classes are another protocol and an explicit choice.
- Where a class is tagged unknown nothing is learnt from it.
- Trained with AdamW (optimiser = auto), whatever the preset; the papers and their codes use SGD (optimiser = sgd).

Look at:

- The map of each present class over the photograph: a plain CAM lights the part that tells the class, seldom the whole object.
- The peak of a map: a flat map divided by a tiny peak looks strong and is not.
- The threshold where the mask jumps: between part and object there is often a wide gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from engine.method import CamViews, ClassifierMethod, ClassifierParams

__all__ = ["METHOD", "Cam", "Params"]


@dataclass(frozen=True)
class Params(ClassifierParams):
    """Parameters of the training: the classifier's own."""

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"backbone": "resnet50", "freeze": "stem", "loss": "plain"},
        "code": {"backbone": "resnet50", "freeze": "layer2", "loss": "plain"},
        "engine": {},
    }


class Cam(ClassifierMethod[Params, CamViews]):
    """Class activation maps: A_c = relu(sum_d w_cd f_d), divided by its maximum."""

    TITLE = "Class activation maps"
    Params = Params


METHOD = Cam
