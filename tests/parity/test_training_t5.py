"""A training step of stage 2 with an encoder-decoder, from JSONL to gradients, and what the trained
model says, against eager PyTorch and transformers' T5."""

import json
import pathlib
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import blip2_reference as reference  # noqa: E402
import toy_t5  # noqa: E402
from random_streams import Random, derive_seed  # noqa: E402
from test_training import (  # noqa: E402
    RECIPE, RECORDS, assert_step, features_of, padded, reference_model, write_records)
from transformers import AutoTokenizer  # noqa: E402

SPLIT_STREAM, MASK_STREAM = 33, 34  # of a step's randomness, in stage2_task.cpp
QUESTION = "Question: {} Short answer:"
TEXTS = ["a photo of", QUESTION, *(r[key] for r in RECORDS for key in ("caption", "question", "answer") if key in r)]


class Case:
    """A batch and how it is taught; weights are of lm, prefix_lm and cmlm."""

    def __init__(self, weights, records=RECORDS, caption="a photo of", to_qformer=True, tokens=32, seed=0,
                 original=False):
        self.weights, self.records, self.caption, self.to_qformer = weights, records, caption, to_qformer
        self.tokens, self.seed, self.original = tokens, seed, original

    def recipe(self, init):
        lm, prefix_lm, cmlm = self.weights
        text = RECIPE.format(init=init, rows=len(self.records), caption=self.caption, question=QUESTION,
                             to_qformer=str(self.to_qformer).lower(), lm=lm, prefix_lm=prefix_lm, cmlm=cmlm,
                             weights="auto")
        return f"seed = {self.seed}" + text.replace("[data]", f"[data]\nmax_text_tokens = {self.tokens}")

    def prompts(self):
        return [QUESTION.format(r["question"]) if "question" in r else self.caption for r in self.records]

    def rows(self, tokenizer):
        """Plain language modelling. The limit of tokens keeps a prompt's end, an answer's beginning and
        the end token after it."""
        def ids(text):
            return tokenizer(text, add_special_tokens=False).input_ids

        rows = []
        for record, prompt in zip(self.records, self.prompts()):
            text = (" " if prompt else "") + record.get("answer", record.get("caption"))
            answer = ids(text)[: self.tokens - 1] + [1]
            rows.append({"prompt": ids(prompt)[-self.tokens :], "read": answer, "targets": answer})
        return rows

    def split_rows(self, tokenizer):
        """Captions are split at step 0, answers are not."""
        rows = self.rows(tokenizer)
        for i, (row, record) in enumerate(zip(rows, self.records)):
            if "question" not in record:
                random = Random(derive_seed(self.seed, SPLIT_STREAM, 0, i))
                prefix = random.below(len(row["read"]) - 1) if len(row["read"]) > 1 else 0
                rows[i] = {"prompt": row["prompt"] + row["read"][:prefix], "read": row["read"][prefix:],
                           "targets": row["targets"][prefix:]}
        return rows

    def masked_rows(self, tokenizer):
        rows = self.rows(tokenizer)
        mask = tokenizer.convert_tokens_to_ids("<extra_id_0>")
        for i, row in enumerate(rows):
            random, places = Random(derive_seed(self.seed, MASK_STREAM, 0, i)), list(range(len(row["read"])))
            hidden = 1 + random.below(len(places))
            random.shuffle(places)
            hidden = set(places[:hidden])
            rows[i] = {"prompt": row["prompt"],
                       "read": [mask if t in hidden else token for t, token in enumerate(row["read"])],
                       "targets": [token if t in hidden else -100 for t, token in enumerate(row["read"])]}
        return rows


def encoder_input(t5, soft, prompts):
    """Soft prompts, then the prompts' tokens and T5's end token, padded on the right."""
    ids, mask = padded([prompt + [t5.config.eos_token_id] for prompt in prompts], t5.config.pad_token_id)
    seen = torch.ones(soft.shape[:2], dtype=mask.dtype)
    return {"inputs_embeds": torch.cat([soft, t5.shared(ids)], dim=1), "attention_mask": torch.cat([seen, mask], dim=1)}


def loss_of_rows(t5, soft, rows):
    """transformers' own loss where it can be asked for it: it shifts the labels and takes their mean."""
    if any(row["read"] != row["targets"] for row in rows):
        return reference.spoken_losses(t5, soft, rows).mean()
    labels, _ = padded([row["targets"] for row in rows], -100)
    return t5(**encoder_input(t5, soft, [row["prompt"] for row in rows]), labels=labels).loss


CASES = {
    "lm": Case((1, 0, 0), to_qformer=False),
    "lm, the original T5": Case((1, 0, 0), original=True, seed=3),
    "prefix lm of captions alone": Case((0, 1, 0), [r for r in RECORDS if "caption" in r] * 3, "", False, seed=1),
    "prefix lm, captions and questions": Case((0, 1, 0), list(reversed(RECORDS)), seed=2),
    "masked answers": Case((0, 0, 1)),
    "all, the original T5, texts cut": Case((0.5, 1, 2), RECORDS[1:], tokens=5, seed=4, original=True),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_loss_and_gradients(probe, build, tmp_path, case):
    t5, tokenizer = toy_t5.assemble(build / "blip2", tmp_path / "init", TEXTS, case.original)
    write_records(tmp_path, case.records)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(case.recipe(tmp_path / "init"))
    probe("training", recipe, tmp_path / "out.safetensors")
    ours = load_file(tmp_path / "out.safetensors")

    model = reference_model(tmp_path / "init", t5)
    qformer = AutoTokenizer.from_pretrained(tmp_path / "init" / "qformer_tokenizer")
    read = [qformer(p, truncation=True, max_length=case.tokens).input_ids for p in case.prompts()]
    read = padded(read, 0) if case.to_qformer else (None, None)
    features = features_of(ours, case.records)
    objective_rows = case.rows(tokenizer), case.split_rows(tokenizer), case.masked_rows(tokenizer)

    def loss_of(model, number):
        soft = model.prompt(features.to(number), *read)
        return sum(weight * loss_of_rows(model.language_model, soft, rows)
                   for weight, rows in zip(case.weights, objective_rows) if weight)

    assert_step(ours, model, loss_of)


def test_what_a_trained_model_says(probe, build, tmp_path):
    """Training, then captions and answers, greedy and by beams, to transformers' tokens."""
    case = Case((0, 1, 0))
    t5, tokenizer = toy_t5.assemble(build / "blip2", tmp_path / "init", TEXTS)
    write_records(tmp_path)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(case.recipe(tmp_path / "init"))
    probe("training", recipe, tmp_path / "out.safetensors")  # for the features
    features = features_of(load_file(tmp_path / "out.safetensors"), [{"image": f"{i}.png"} for i in range(3)])

    def program(*args):
        done = subprocess.run([build / "blip2", *map(str, args)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    run = tmp_path / "run"
    program("train", recipe, "--set", "steps=4", "--set", "optimizer.lr=1e-3", "--output", run)
    model = reference_model(run, t5)
    before = load_file(tmp_path / "init" / "model-bridge.safetensors")["query_tokens"]
    assert not torch.equal(model.query_tokens, before)
    qformer = AutoTokenizer.from_pretrained(run / "qformer_tokenizer")
    question = RECORDS[1]["question"]
    for beams in (1, 3):
        options = ["--model", run, "--precision", "f32", "--beams", beams, "--min-new-tokens", 1,
                   "--max-new-tokens", 12, "--json", *(tmp_path / f"{i}.png" for i in range(3))]
        ours = program("caption", *options) + program("vqa", "--question", question, *options)
        prompts = ["a photo of"] * 3 + [QUESTION.format(question)] * 3
        for i, (line, prompt) in enumerate(zip(ours, prompts, strict=True)):
            ids = tokenizer(prompt, add_special_tokens=False).input_ids
            with torch.no_grad():
                soft = model.prompt(features[i % 3 : i % 3 + 1], *padded([qformer(prompt).input_ids], 0))
                theirs = t5.generate(**encoder_input(t5, soft, [ids]), num_beams=beams, do_sample=False,
                                     min_new_tokens=1, max_new_tokens=12,
                                     no_repeat_ngram_size=3)[0].tolist()[1:]  # the guard that training writes
            assert line["tokens"] == theirs, (prompt, beams)
            text = tokenizer.decode(theirs, skip_special_tokens=True).strip()
            assert line["answer" if "question" in line else "text"] == text
