"""A training step of stage 2 with an encoder-decoder against eager PyTorch and transformers' T5."""

import pathlib
import sys

import pytest
from safetensors.torch import load_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import blip2_reference as reference  # noqa: E402
import toy_t5  # noqa: E402
from random_streams import Random, derive_seed  # noqa: E402
from test_training import (  # noqa: E402
    RECIPE, RECORDS, assert_step, features_of, padded, reference_model, write_records)
from transformers import AutoTokenizer  # noqa: E402

SPLIT_STREAM, MASK_STREAM = 33, 34  # of a step's randomness, in prefix_lm_task.cpp
CAPTION, QUESTION = "a photo of", "Question: {} Short answer:"


def prompts():
    return [QUESTION.format(r["question"]) if "question" in r else CAPTION for r in RECORDS]


def plain_rows(tokenizer):
    def ids(text):
        return tokenizer(text, add_special_tokens=False).input_ids

    rows = []
    for record, prompt in zip(RECORDS, prompts()):
        answer = ids(" " + record.get("answer", record.get("caption"))) + [1]
        rows.append({"prompt": ids(prompt), "read": answer, "targets": answer})
    return rows


def split_rows(tokenizer):
    """Captions are split at step 0, answers are not."""
    rows = plain_rows(tokenizer)
    for i, (row, record) in enumerate(zip(rows, RECORDS)):
        if "question" not in record:
            prefix = Random(derive_seed(0, SPLIT_STREAM, 0, i)).below(len(row["read"]) - 1)
            rows[i] = {"prompt": row["prompt"] + row["read"][:prefix], "read": row["read"][prefix:],
                       "targets": row["targets"][prefix:]}
    return rows


def masked_rows(tokenizer):
    rows = plain_rows(tokenizer)
    mask = tokenizer.convert_tokens_to_ids("<extra_id_0>")
    for i, row in enumerate(rows):
        random, places = Random(derive_seed(0, MASK_STREAM, 0, i)), list(range(len(row["read"])))
        hidden = 1 + random.below(len(places))
        random.shuffle(places)
        hidden = set(places[:hidden])
        rows[i] = {"prompt": row["prompt"],
                   "read": [mask if t in hidden else token for t, token in enumerate(row["read"])],
                   "targets": [token if t in hidden else -100 for t, token in enumerate(row["read"])]}
    return rows


@pytest.mark.parametrize("weights", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.5, 1, 2)],
                         ids=["lm", "prefix_lm", "cmlm", "all"])
def test_loss_and_gradients(probe, build, tmp_path, weights):
    texts = [*prompts(), *(r.get("answer", r.get("caption")) for r in RECORDS)]
    t5, tokenizer = toy_t5.write_directory(build / "tiny", tmp_path / "init", texts * 20)
    write_records(tmp_path)
    lm, prefix_lm, cmlm = weights
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE.format(init=tmp_path / "init", rows=len(RECORDS), caption=CAPTION, question=QUESTION,
                                    to_qformer="true", lm=lm, prefix_lm=prefix_lm, cmlm=cmlm))
    probe("training", recipe, tmp_path / "out.safetensors")
    ours = load_file(tmp_path / "out.safetensors")

    model = reference_model(tmp_path / "init", t5)
    qformer = AutoTokenizer.from_pretrained(tmp_path / "init" / "qformer_tokenizer")
    soft = model.prompt(features_of(ours), *padded([qformer(p).input_ids for p in prompts()], 0))
    lessons = plain_rows(tokenizer), split_rows(tokenizer), masked_rows(tokenizer)
    loss = sum(weight * reference.spoken_losses(t5, soft, rows).mean()
               for weight, rows in zip(weights, lessons) if weight)
    assert_step(ours, loss, model)
