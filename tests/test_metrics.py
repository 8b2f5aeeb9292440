"""Confusion and report: analytic cases, conventions at the edges, errors."""

from __future__ import annotations

import json

import numpy as np
import pytest

from engine.errors import UserError
from engine.metrics import Confusion, image_report, report

TRUTH = np.array([[0, 0, 1, 1], [0, 255, 1, 2]], np.uint8)
PREDICTION = np.array([[0, 1, 1, 0], [0, 1, 1, 2]], np.uint8)
NAMES = ("cat", "dog")


def _confusion(truth: object, prediction: object, n: int = 2) -> Confusion:
    confusion = Confusion(n)
    confusion.add(np.array(truth, np.uint8), np.array(prediction, np.uint8))
    return confusion


def test_the_toy_of_the_specification() -> None:
    confusion = _confusion(TRUTH, PREDICTION)
    assert confusion.counts.tolist() == [[2, 1, 0], [1, 2, 0], [0, 0, 1]]
    np.testing.assert_allclose(confusion.iou(), [0.5, 0.5, 1.0])
    numbers = report(confusion, NAMES)
    assert numbers["miou"] == pytest.approx(2 / 3)
    assert numbers["iou"] == {"background": 0.5, "cat": 0.5, "dog": 1.0}
    assert numbers["noise"] == 0.25
    assert numbers["precision"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert numbers["images"] == 1 and numbers["classes_used"] == 3 and numbers["unsure"] == 0
    # of three pixels called cat, one is background; no pixel called dog is
    assert numbers["over_activation"] == {"cat": pytest.approx(1 / 3), "dog": 0.0}
    json.dumps(numbers, allow_nan=False)


def test_a_perfect_prediction_is_one() -> None:
    numbers = report(_confusion(TRUTH, np.where(TRUTH == 255, 0, TRUTH)), NAMES)
    for key in ("miou", "precision", "recall", "f1_of_means", "mean_of_f1"):
        assert numbers[key] == 1.0
    assert numbers["noise"] == 0.0


def test_swapped_labels_are_zero_on_the_classes() -> None:
    numbers = report(_confusion([[0, 1, 2]], [[0, 2, 1]]), NAMES)
    assert numbers["iou"] == {"background": 1.0, "cat": 0.0, "dog": 0.0}
    assert numbers["mean_of_f1"] == pytest.approx(1 / 3)


def test_a_class_absent_from_the_truth_is_left_out_of_the_means() -> None:
    numbers = report(_confusion([[0, 0, 1, 1]], [[0, 2, 1, 1]]), NAMES)
    assert numbers["iou"] == {"background": 0.5, "cat": 1.0, "dog": None}
    assert numbers["miou"] == 0.75 and numbers["classes_used"] == 2
    assert numbers["noise"] == pytest.approx(1 / 3), "what was called dog is noise all the same"


def test_a_class_never_predicted_has_precision_zero() -> None:
    numbers = report(_confusion([[0, 1]], [[0, 0]]), NAMES)
    assert numbers["precision"] == 0.25 and numbers["class_precision"]["cat"] is None
    assert numbers["over_activation"]["cat"] is None
    assert numbers["noise"] is None


def test_a_void_image_and_no_image_have_no_number() -> None:
    empty = Confusion(2)
    void = _confusion([[255, 255]], [[1, 0]])
    for confusion, images in ((empty, 0), (void, 1)):
        numbers = report(confusion, NAMES)
        assert numbers["images"] == images and numbers["classes_used"] == 0
        for key in ("miou", "precision", "recall", "f1_of_means", "mean_of_f1", "noise", "unsure"):
            assert numbers[key] is None


def test_the_counts_sum_to_the_valid_pixels() -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice([0, 1, 2, 255], (50, 60)).astype(np.uint8)
    confusion = _confusion(truth, rng.integers(0, 3, truth.shape))
    assert confusion.counts.sum() == (truth != 255).sum()


def test_unsure_predictions_count_as_background_and_are_told() -> None:
    confusion = _confusion([[0, 1, 1, 255]], [[255, 255, 1, 255]])
    assert confusion.counts.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert report(confusion, NAMES)["unsure"] == pytest.approx(2 / 3), "void pixels do not count"


def test_streaming_does_not_depend_on_how_the_list_is_split() -> None:
    rng = np.random.default_rng(1)
    images = [
        (rng.choice([0, 1, 2, 3, 255], (20, 30)), rng.choice([0, 1, 2, 3, 255], (20, 30))) for _ in range(6)
    ]
    whole = Confusion(3)
    parts = [Confusion(3), Confusion(3)]
    for k, (truth, prediction) in enumerate(images):
        whole.add(truth.astype(np.uint8), prediction.astype(np.uint8))
        parts[k % 2].add(truth.astype(np.uint8), prediction.astype(np.uint8))
    parts[0].merge(parts[1])
    assert report(parts[0], "abc") == report(whole, "abc")
    with pytest.raises(ValueError):
        whole.merge(Confusion(2))


def test_over_activation_looks_only_at_images_that_contain_the_class() -> None:
    confusion = Confusion(2)
    confusion.add(np.array([[1, 0, 0, 0]], np.uint8), np.array([[1, 1, 0, 0]], np.uint8))
    confusion.add(np.array([[2, 0, 0, 0]], np.uint8), np.array([[1, 1, 1, 1]], np.uint8))
    numbers = report(confusion, NAMES)
    assert numbers["over_activation"]["cat"] == 0.5
    assert numbers["over_activation_of_truth"]["cat"] == 1.0
    assert numbers["noise"] == pytest.approx(4 / 6), "noise looks at all images"


def test_the_two_f1_differ_as_in_the_paper() -> None:
    # cat: precision 1, recall 1/2; dog: precision 1/2, recall 1; background out of the way
    confusion = Confusion(2)
    confusion.counts[:] = [[0, 0, 0], [0, 1, 1], [0, 0, 1]]
    numbers = report(confusion, NAMES)
    assert numbers["precision"] == numbers["recall"] == 0.75
    assert numbers["f1_of_means"] == 0.75
    assert numbers["mean_of_f1"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("truth", "prediction"), [([[0, 3]], [[0, 0]]), ([[0, 0]], [[0, 3]]), ([[255]], [[254]])]
)
def test_an_index_without_a_class_is_an_error(truth: object, prediction: object) -> None:
    with pytest.raises(UserError, match="index"):
        _confusion(truth, prediction)


def test_sizes_must_agree_and_the_image_is_named() -> None:
    with pytest.raises(UserError, match=r"of b1 is 2x1 pixels, the prediction 3x1"):
        Confusion(1).add(np.zeros((1, 2), np.uint8), np.zeros((1, 3), np.uint8), "b1")


def test_report_needs_a_name_for_each_class() -> None:
    with pytest.raises(ValueError):
        report(Confusion(2), ("cat",))
    for n in (0, 255):
        with pytest.raises(ValueError):
            Confusion(n)


def test_image_report_lists_what_is_there() -> None:
    numbers = image_report(TRUTH, PREDICTION, ("cat", "dog", "sheep"))
    assert set(numbers["classes"]) == {"background", "cat", "dog"}
    assert numbers["classes"]["cat"] == {
        "iou": 0.5,
        "precision": pytest.approx(2 / 3),
        "recall": pytest.approx(2 / 3),
    }
    only = image_report(np.zeros((1, 2), np.uint8), np.array([[0, 3]], np.uint8), ("cat", "dog", "sheep"))
    assert only["classes"]["sheep"] == {"iou": 0.0, "precision": 0.0, "recall": None}
