"""eval --task retrieval against NumPy, on cosines and matching logits made of embed's output."""

import json
import math

import numpy
import pytest
from safetensors.numpy import load_file


@pytest.fixture(scope="module")
def scores(run, stage1, pictures, tmp_path_factory):
    """Of N validation pictures and their N captions: cosines [N, N], matching logits [N, N, 2], temperature."""
    folder = tmp_path_factory.mktemp("scores")
    records = [json.loads(line) for line in (pictures / "val.jsonl").open()]
    images = [pictures / record["image"] for record in records]
    captions = [record["caption"] for record in records]
    assert len(set(captions)) == len(captions) == len(set(images))

    def embed(mode, pictures, texts):
        (folder / "texts.txt").write_text("".join(f"{text}\n" for text in texts))
        run("embed", "--model", stage1, "--mode", mode, "--texts", folder / "texts.txt", "--output",
            folder / "out.safetensors", *pictures)
        return load_file(folder / "out.safetensors")

    vectors = embed("vectors", images, captions)
    cosines = numpy.einsum("nqe,me->nmq", vectors["image_embeds"], vectors["text_embeds"]).max(-1)
    both = embed("multimodal", [image for image in images for _ in captions], captions * len(images))
    bridge = load_file(stage1 / "model-bridge.safetensors")
    hidden = both["multimodal_embeds"].reshape(len(images), len(captions), *both["multimodal_embeds"].shape[1:])
    logits = (hidden @ bridge["itm_head.weight"].T + bridge["itm_head.bias"]).mean(2)
    return cosines, logits, float(bridge["temperature"])


def recalls(for_images, for_texts):
    def one(rows):
        """Query i wants item i; ties count against it."""
        ahead = (rows >= rows.diagonal()[:, None]).sum(1) - 1
        return {f"r{k}": pytest.approx((ahead < k).mean()) for k in (1, 5, 10)}

    return {"image_to_text": one(for_images), "text_to_image": one(for_texts.T)}


def recalls_alone(result):
    """Without ranks and mAP@R, which tests/parity/test_ranking.py compares."""
    return {key: {k: v for k, v in value.items() if k in ("r1", "r5", "r10")} if key != "itc_only" else
            recalls_alone(value) for key, value in result.items()}


def reranked(scaled, matching, most):
    """The most best of each row become scaled + matching, ahead of the others."""
    out = numpy.full_like(scaled, -1e4)
    for row, values in enumerate(scaled):
        best = numpy.argsort(-values)[:most]
        out[row, best] = scaled[row, best] + matching[row, best]
    return out


def expected(scores, fusion, weight, most):
    cosines, logits, temperature = scores
    total = logits - numpy.log(numpy.exp(logits).sum(-1, keepdims=True))
    scaled, matching = (cosines, logits[..., 1]) if fusion == "lavis" else (cosines / temperature, total[..., 1])
    return recalls(reranked(scaled, weight * matching, most),
                   reranked(scaled.T, weight * matching.T, most).T) | {"itc_only": recalls(cosines, cosines)}


@pytest.mark.parametrize("fusion", ["probability", "lavis"])
@pytest.mark.parametrize("weight", [1, 0, 25])
@pytest.mark.parametrize("most", [12, 4])
def test_recalls(run_json, stage1, pictures, scores, fusion, weight, most):
    [result] = run_json("eval", "--model", stage1, "--task", "retrieval", "--data", pictures / "val.jsonl",
                        "--fusion", fusion, "--matching-weight", weight, "--rerank", most)
    assert (result.pop("images"), result.pop("texts")) == (12, 12)
    assert recalls_alone(result) == expected(scores, fusion, weight, most)


def test_what_is_compared_depends_on_the_options(scores):
    """The recalls above would tell if an option were not heeded."""
    kinds = [str(expected(scores, fusion, weight, 12)) for fusion in ("probability", "lavis") for weight in (1, 0, 25)]
    assert len(set(kinds)) >= 3 and math.isfinite(scores[2])
