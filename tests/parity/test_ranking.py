"""Recalls, ranks and mAP@R against NumPy."""

import json
import random

import numpy
import pytest


def measured(scores, right):
    """Rows are queries; of equal scores those that are not right come first."""
    ranks, precisions = [], []
    for row, items in zip(scores, right):
        if not items:
            continue
        is_right = numpy.isin(numpy.arange(len(row)), items)
        ranking = is_right[numpy.lexsort((is_right, -row))]
        ranks.append(int(numpy.argmax(ranking)) + 1)
        count = len(items)
        precision = numpy.cumsum(ranking)[:count] / numpy.arange(1, count + 1)
        precisions.append(float((precision * ranking[:count]).sum()) / count)
    ranks = numpy.array(ranks)
    return {"r1": (ranks <= 1).mean(), "r5": (ranks <= 5).mean(), "r10": (ranks <= 10).mean(),
            "mean_rank": ranks.mean(), "median_rank": numpy.median(ranks), "map_at_r": numpy.mean(precisions)}


@pytest.mark.parametrize("seed, levels", [(0, 10**6), (1, 8), (2, 3)])
def test_recalls(probe, tmp_path, seed, levels):
    rng = random.Random(seed)
    images, texts = 60, 150
    scores = numpy.array([[rng.randrange(levels) / levels for _ in range(texts)] for _ in range(images)])
    texts_of_image = [sorted(rng.sample(range(texts), rng.randint(0, 6))) for _ in range(images)]
    images_of_text = [[i for i in range(images) if t in texts_of_image[i]] for t in range(texts)]
    for image, items in enumerate(texts_of_image):
        for text in items:
            scores[image, text] += rng.choice((0, 0.3, 0.6))
    given = {"scores": scores.tolist(), "texts_of_image": texts_of_image, "images_of_text": images_of_text}
    (tmp_path / "given.json").write_text(json.dumps(given))
    ours = json.loads(probe("ranking", tmp_path / "given.json"))
    for way, rows, right in (("image_to_text", scores, texts_of_image), ("text_to_image", scores.T, images_of_text)):
        assert ours[way] == pytest.approx(measured(rows, right), abs=1e-12), way
