"""Decoding against transformers' generate, live: tokens, scores and what is drawn from."""

import collections
import json
import random

import pytest
import torch
from test_language import generate, tiny_model
from transformers import generation as g

EARLY = {"true": True, "false": False, "never": "never"}
NAMES = {"beams": "num_beams", "return_sequences": "num_return_sequences"}


def theirs_of(model, prompt, options, eos, count_prompts=False):
    """The answers to one prompt without their padding, and sequences_scores if there are any."""
    settings = {NAMES.get(key, key): value for key, value in options.items()}
    if options["beams"] == 1:
        del settings["length_penalty"], settings["early_stopping"]
    else:
        settings["early_stopping"] = EARLY[settings["early_stopping"]]
    ids = torch.tensor([prompt])
    inputs = {"input_ids": ids} if count_prompts else {"inputs_embeds": model.model.embed_tokens(ids)}
    with torch.no_grad():
        out = model.generate(
            **inputs, do_sample=False, attention_mask=torch.ones_like(ids), eos_token_id=eos,
            pad_token_id=0, return_dict_in_generate=True, output_scores=True, **settings)
    answers = []
    for row in out.sequences[:, len(prompt) if count_prompts else 0 :].tolist():
        ends = [i for i, token in enumerate(row) if token in eos]
        answers.append(row[: ends[0] + 1] if ends else row)
    return answers, out.get("sequences_scores")


def random_case(draw):
    beams = draw.choice([1, 2, 3, 5])
    return {
        "max_new_tokens": draw.choice([3, 8, 20]),
        "min_new_tokens": draw.choice([0, 0, 3]),
        "beams": beams,
        "return_sequences": draw.randint(1, beams),
        "length_penalty": draw.choice([1.0, 0.0, -1.0, 2.0, 0.5]),
        "early_stopping": draw.choice(list(EARLY)),
        "repetition_penalty": draw.choice([1.0, 1.0, 1.3, 0.8]),
        "no_repeat_ngram_size": draw.choice([0, 0, 1, 2, 3]),
    }


@pytest.mark.parametrize("seed", range(4))
def test_greedy_and_beam_search(probe, tmp_path, seed):
    """Random models and options; each case's prompts run as one batch here, alone there."""
    torch.set_num_threads(1)  # threads only get in each other's way in models this small
    model = tiny_model(tmp_path / "model", seed)
    draw = random.Random(seed)
    cases = []
    for _ in range(14):
        prompts = [[draw.randrange(60) for _ in range(draw.randint(2, 9))] for _ in range(2)]
        eos = draw.choice([[2], [2], [5, 7], list(range(20, 30))])
        cases.append({"prompts": prompts, "options": random_case(draw), "eos": eos,
                      "count_prompts": draw.random() < 0.5})
    for case, ours in zip(cases, generate(probe, tmp_path, tmp_path / "model", cases), strict=True):
        for prompt, answers in zip(case["prompts"], ours, strict=True):
            tokens, scores = theirs_of(
                model, prompt, case["options"], case["eos"], case["count_prompts"])
            assert [a["tokens"] for a in answers] == tokens, case
            if scores is not None:
                assert [a["score"] for a in answers] == pytest.approx(scores.tolist(), rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("beams,length_penalty", [(2, 1.0), (2, 2.0), (4, 0.0), (4, -1.0)])
def test_the_three_ways_to_stop_differ_as_theirs(probe, tmp_path, beams, length_penalty):
    """Six prompts and one end in six tokens, so that it matters when the search stops."""
    torch.set_num_threads(1)
    model = tiny_model(tmp_path / "model", 7)
    draw = random.Random(3)
    prompts = [[draw.randrange(60) for _ in range(4)] for _ in range(6)]
    eos = list(range(0, 60, 6))
    cases = [
        {"prompts": prompts, "eos": eos,
         "options": {"max_new_tokens": 16, "beams": beams, "return_sequences": beams,
                     "length_penalty": length_penalty, "early_stopping": early}}
        for early in EARLY
    ]
    results = []
    for case, ours in zip(cases, generate(probe, tmp_path, tmp_path / "model", cases), strict=True):
        for prompt, answers in zip(prompts, ours, strict=True):
            tokens, scores = theirs_of(model, prompt, case["options"], eos)
            assert [a["tokens"] for a in answers] == tokens
            assert [a["score"] for a in answers] == pytest.approx(scores.tolist(), rel=1e-5, abs=1e-4)
        results.append([[a["tokens"] for a in answers] for answers in ours])
    if length_penalty > 0:
        assert results[0] != results[1] and results[1] != results[2]


def test_score_processors(probe, tmp_path):
    draw = random.Random(0)
    cases, expected = [], []
    for _ in range(80):
        scores = torch.randn(200) * draw.choice([1, 5])
        seen = [draw.randrange(draw.choice([3, 200])) for _ in range(draw.randrange(1, 30))]
        o = {
            "sample": True, "min_new_tokens": draw.choice([0, 6]), "beams": draw.choice([1, 2]),
            "repetition_penalty": draw.choice([1.0, 1.4, 0.8]),
            "no_repeat_ngram_size": draw.choice([0, 1, 2, 3]),
            "temperature": draw.choice([1.0, 0.3, 2.0]), "top_k": draw.choice([0, 1, 50, 500]),
            "top_p": draw.choice([1.0, 0.9, 0.3, 0.01]),
        }
        cases.append({"scores": scores.tolist(), "seen": seen, "generated": 5, "eos": [7, 9],
                      "options": o})
        keep = 3 if o["beams"] > 1 else 1
        processors = g.LogitsProcessorList()
        if o["repetition_penalty"] != 1:
            processors.append(g.RepetitionPenaltyLogitsProcessor(o["repetition_penalty"]))
        if o["no_repeat_ngram_size"]:
            processors.append(g.NoRepeatNGramLogitsProcessor(o["no_repeat_ngram_size"]))
        if o["min_new_tokens"] > 5:
            processors.append(g.SuppressTokensLogitsProcessor([7, 9]))
        if o["temperature"] != 1:
            processors.append(g.TemperatureLogitsWarper(o["temperature"]))
        if o["top_k"]:
            processors.append(g.TopKLogitsWarper(o["top_k"], min_tokens_to_keep=keep))
        if o["top_p"] < 1:
            processors.append(g.TopPLogitsWarper(o["top_p"], min_tokens_to_keep=keep))
        expected.append(processors(torch.tensor([seen]), scores[None].clone())[0])
    (tmp_path / "spec.json").write_text(json.dumps(cases))
    lines = probe("decoding", tmp_path / "spec.json").splitlines()
    for line, theirs in zip(lines, expected, strict=True):
        ours = torch.tensor([float("-inf") if s is None else s for s in json.loads(line)])
        assert torch.equal(ours.isinf(), theirs.isinf())
        assert torch.allclose(ours, theirs, rtol=1e-6)


def test_tokens_are_drawn_by_the_filtered_distribution(probe, tmp_path):
    """20,000 draws of one token against the probabilities that transformers' warpers leave."""
    model = tiny_model(tmp_path / "model", 3)
    prompt, count = [4, 9, 33], 20000
    options = {"max_new_tokens": 1, "sample": True, "temperature": 1.5, "top_k": 20, "top_p": 0.9,
               "return_sequences": count, "seed": 11}
    [[answers]] = generate(probe, tmp_path, tmp_path / "model",
                           [{"prompts": [prompt], "options": options, "eos": [2]}])
    with torch.no_grad():
        logits = model(torch.tensor([prompt])).logits[:, -1]
    warped = g.LogitsProcessorList([
        g.TemperatureLogitsWarper(1.5), g.TopKLogitsWarper(20), g.TopPLogitsWarper(0.9)
    ])(torch.tensor([prompt]), logits)
    probabilities = warped.softmax(-1)[0]
    drawn = torch.bincount(torch.tensor([a["tokens"][0] for a in answers]), minlength=60)
    allowed = probabilities > 0
    assert allowed.sum() > 5 and drawn[~allowed].sum() == 0
    expected = probabilities[allowed] * count
    chi_square = ((drawn[allowed] - expected) ** 2 / expected).sum()
    degrees = allowed.sum() - 1
    assert chi_square < degrees + 4 * (2 * degrees) ** 0.5


def test_beams_are_drawn_as_theirs(probe, tmp_path):
    """How often each answer comes first in 1,500 draws of beam search with sampling."""
    torch.set_num_threads(1)
    model = tiny_model(tmp_path / "model", 5)
    prompt, count = [8, 21, 3], 1500
    options = {"max_new_tokens": 2, "sample": True, "top_k": 4, "beams": 3}
    cases = [{"prompts": [prompt], "options": options | {"seed": seed}, "eos": [2]}
             for seed in range(count)]
    ours = collections.Counter(
        tuple(answers[0]["tokens"])
        for [answers] in generate(probe, tmp_path, tmp_path / "model", cases))
    torch.manual_seed(0)
    with torch.no_grad():
        out = model.generate(
            torch.tensor([prompt] * count), attention_mask=torch.ones(count, 3, dtype=torch.long),
            do_sample=True, num_beams=3, top_k=4, max_new_tokens=2, eos_token_id=2, pad_token_id=0)
    theirs = collections.Counter(
        tuple(row[: row.index(2) + 1] if 2 in row else row) for row in out[:, 3:].tolist())
    distance = sum(abs(ours[key] - theirs[key]) for key in ours | theirs) / (2 * count)
    assert len(theirs) > 3 and distance < 0.06
