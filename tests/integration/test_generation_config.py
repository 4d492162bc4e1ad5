"""How texts are generated where nobody says: a model's generation_config.json, its chat tokens, what people type."""

import json
import shutil

import pytest
import torch
import transformers
from mini_model import write_parts
from tokenizers import AddedToken

TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"


def copy_of(model, folder, **settings):
    """A copy of a model directory whose generation_config.json has the settings."""
    shutil.copytree(model, folder)
    file = folder / "generation_config.json"
    config = json.loads(file.read_text()) if file.exists() else {}
    config = {key: value for key, value in (config | settings).items() if value is not None}
    file.unlink(missing_ok=True)  # it may be a hard link
    file.write_text(json.dumps(config))
    return folder


def settings_of(folder):
    return json.loads((folder / "generation_config.json").read_text())


def repeats(tokens, n=3):
    runs = [tuple(tokens[i:i + n]) for i in range(len(tokens) - n + 1)]
    return len(runs) - len(set(runs))


@pytest.fixture(scope="module")
def pngs(pictures):
    return sorted(pictures.glob("*.png"))


def test_training_stops_loops(run_json, init, stage1, stage2, pngs):
    """What is trained here gets the guard; the same model without it runs into loops."""
    assert settings_of(init)["eos_token_id"] == 0 and "no_repeat_ngram_size" not in settings_of(init)
    for folder in (stage1, stage2):
        assert settings_of(folder) == settings_of(init) | {"no_repeat_ngram_size": 3}
    long = ["--beams", 1, "--max-new-tokens", 40, "--min-new-tokens", 40]
    guarded = run_json("caption", "--model", stage2, *long, *pngs)
    assert len(guarded) == len(pngs)
    assert not any(repeats(row["tokens"]) for row in guarded)
    free = run_json("caption", "--model", stage2, *long, "--no-repeat-ngram-size", 0, *pngs)
    assert any(repeats(row["tokens"]) for row in free)
    asked = run_json("vqa", "--model", stage2, *long, "--question", "what color is it?", *pngs[:4])
    assert not any(repeats(row["tokens"]) for row in asked)


def test_a_guard_of_its_own_is_kept(train, run, stage1, tmp_path):
    own = copy_of(stage1, tmp_path / "own", no_repeat_ngram_size=None, repetition_penalty=1.2, num_beams=2)
    train(2, tmp_path / "run", f"init={own}", "steps=1")
    assert settings_of(tmp_path / "run") == settings_of(own)
    run("convert", tmp_path / "run", tmp_path / "converted", "--weights", "f32")
    assert settings_of(tmp_path / "converted") == settings_of(own)


def test_options_beat_the_file_and_the_file_beats_defaults(run, run_json, stage2, pngs, tmp_path):
    model = copy_of(stage2, tmp_path / "model", num_beams=1, max_new_tokens=3, min_new_tokens=3)
    by_file = run_json("caption", "--model", model, pngs[0])
    assert by_file == run_json("caption", "--model", stage2, "--beams", 1, "--max-new-tokens", 3,
                               "--min-new-tokens", 3, pngs[0])
    [row] = run_json("caption", "--model", model, "--max-new-tokens", 5, "--min-new-tokens", 5, pngs[0])
    assert len(row["tokens"]) == 5
    [row] = run_json("caption", "--model", model, pngs[0],
                     env={"BLIP2_MAX_NEW_TOKENS": "4", "BLIP2_MIN_NEW_TOKENS": "4"})
    assert len(row["tokens"]) == 4
    [row] = run_json("vqa", "--model", model, "--question", "what color is it?", pngs[0])
    assert len(row["tokens"]) == 3
    chat = run("chat", "--no-chat-template", "--model", model, "--json", pngs[0], input="what color is it?\n").stdout
    assert json.loads(chat)["answer"] == row["answer"]


def test_sampling_by_the_file(run_json, stage2, pngs, tmp_path):
    """do_sample draws one sequence where the verb would search with five beams; --no-sample searches again."""
    model = copy_of(stage2, tmp_path / "model", do_sample=True, top_k=0, temperature=1.5)
    drawn = {tuple(run_json("caption", "--model", model, "--seed", seed, pngs[0])[0]["tokens"]) for seed in range(5)}
    assert len(drawn) > 1
    assert run_json("caption", "--model", model, "--no-sample", pngs[0]) == run_json(
        "caption", "--model", stage2, pngs[0])


@pytest.mark.parametrize("verb", ["eval", "capfilt"])
def test_other_verbs(run, run_json, stage2, pictures, tmp_path, verb):
    model = copy_of(stage2, tmp_path / "model", max_new_tokens=0)
    more = ["--task", "caption"] if verb == "eval" else ["--output", tmp_path / "out"]
    done = run(verb, "--model", model, "--data", pictures / "val.jsonl", *more, code=1)
    assert "generation_config.json: max_new_tokens" in done.stderr
    if verb == "eval":
        retrieval = ["--task", "retrieval", "--data", pictures / "val.jsonl"]
        run("eval", "--model", model, *retrieval)  # writes no texts


@pytest.mark.parametrize("text, message", [
    ('{"eos_token_id": 100000}', "eos_token_id: expected tokens from 0 to"),
    ('{"eos_token_id": []}', "eos_token_id: expected at least one token"),
    ('{"eos_token_id": "x"}', "eos_token_id: expected a whole number"),
    ('{"num_beams": -1}', "num_beams"),
    ('{"num_beams": 2', "generation_config.json"),
    ("[]", "expected a table of keys"),
])
def test_a_bad_file_is_named(run, stage2, pngs, tmp_path, text, message):
    model = copy_of(stage2, tmp_path / "model")
    (model / "generation_config.json").write_text(text)
    done = run("caption", "--model", model, pngs[0], code=1)
    assert message in done.stderr and "generation_config.json" in done.stderr and not done.stdout


def test_what_is_not_followed_is_said(run, stage2, pngs, tmp_path):
    model = copy_of(stage2, tmp_path / "model", penalty_alpha=0.6, num_beam_groups=1)
    done = run("caption", "--model", model, pngs[0])
    assert [line for line in done.stderr.splitlines() if "warning" in line and "penalty_alpha = 0.6" in line
            and "num_beam_groups" not in line]


@pytest.fixture(scope="module")
def chatting(run, tmp_path_factory):
    """An untrained model of a language model that chats in turns, and its two chat tokens."""
    from conftest import ROOT

    folder = tmp_path_factory.mktemp("chatting")
    assembly = write_parts(folder, ROOT / ".cache" / "models" / "efficientnet-lite0.pth")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "llama")
    tokenizer.add_special_tokens({"additional_special_tokens": [
        AddedToken(token, special=True, normalized=False) for token in ("<|im_start|>", "<|im_end|>")]})
    tokenizer.eos_token, tokenizer.chat_template = "<|im_end|>", TEMPLATE
    tokenizer.save_pretrained(folder / "llama")
    start, end = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    model = transformers.LlamaForCausalLM.from_pretrained(folder / "llama")
    model.resize_token_embeddings(len(tokenizer))
    model.config.eos_token_id = model.generation_config.eos_token_id = end
    with torch.no_grad():  # after anything but itself, <|im_start|> is the best token
        model.lm_head.weight[start] = 0
    model.save_pretrained(folder / "llama")
    run("convert", assembly, folder / "model", "--weights", "f32")
    return folder / "model", start, end


def test_a_turn_that_opens_ends_a_text(run_json, chatting, pngs, tmp_path):
    model, start, end = chatting
    assert settings_of(model)["eos_token_id"] == [end, start]
    # Without the file they are found again; with other ends in it, those count.
    derived = copy_of(model, tmp_path / "derived", eos_token_id=None)
    other = copy_of(model, tmp_path / "other", eos_token_id=end)
    # Sampling at a high temperature draws every token in the end.
    draw = ["--sample", "--temperature", 50, "--top-k", 0, "--max-new-tokens", 100, "--num-return-sequences", 32]
    for folder in (model, derived):
        rows = run_json("caption", "--model", folder, *draw, *pngs[:4])
        lasts = {row["tokens"][-1] for row in rows if len(row["tokens"]) < 100}
        assert lasts <= {start, end} and start in lasts
        assert not any({start, end} & set(row["tokens"][:-1]) for row in rows)
        assert not any("im_start" in row["text"] for row in rows)
    rows = run_json("caption", "--model", other, *draw, *pngs[:4])
    assert any(start in row["tokens"][:-1] for row in rows)


def test_what_people_type_is_plain_text(run_json, chatting, pngs):
    """A control token in a question or a prompt is its characters, unless --special-tokens."""
    model, start, _ = chatting
    def pieces(*flags):
        [row] = run_json("tokenize", "--model", model, "--text", "a<|im_start|>b", *flags)
        return row["ids"]
    assert start in pieces() and start not in pieces("--plain")
    few = ["--beams", 1, "--max-new-tokens", 8, "--min-new-tokens", 8]
    typed = {}
    for text in ("<|im_start|>", "<|im_start|>x", "x"):
        for flags in ((), ("--special-tokens",)):
            [row] = run_json("caption", "--model", model, *few, "--prompt", text, *flags, pngs[0])
            typed[text, flags] = row["score"]
    assert typed["<|im_start|>", ()] != typed["<|im_start|>", ("--special-tokens",)]
    assert typed["<|im_start|>x", ()] != typed["<|im_start|>x", ("--special-tokens",)]
    assert typed["x", ()] == typed["x", ("--special-tokens",)]


def test_match_takes_special_tokens_as_text(run_json, stage1, pngs):
    def itc(*flags):
        return run_json("match", "--model", stage1, "--text", "a red [SEP] circle", *flags, pngs[0])[0]["itc"]
    assert itc() != itc("--special-tokens")
    [plain] = run_json("tokenize", "--model", stage1, "--which", "qformer", "--text", "[SEP]", "--plain")
    assert len(plain["ids"]) > 3


def test_stage1_starts_from_the_model_that_a_stage2_directory_keeps(
        train, run_json, stage1, stage2, pictures, pngs, tmp_path):
    """The same as from the stage-1 directory itself, and the language model stays for a stage 2 after it."""
    shutil.copytree(stage2, tmp_path / "elsewhere" / "model")
    validation = f"data.validation={pictures / 'val.jsonl'}"
    train(1, tmp_path / "kept", f"init={tmp_path / 'elsewhere' / 'model'}", validation, "steps=2")
    train(1, tmp_path / "own", f"init={stage1}", validation, "steps=2")
    for name in ("model-bridge.safetensors", "model-vision.safetensors", "model-language.safetensors"):
        assert (tmp_path / "kept" / name).read_bytes() == (tmp_path / "own" / name).read_bytes(), name
    match = ["--text", "a red circle", pngs[0]]
    assert run_json("match", "--model", tmp_path / "kept", *match) == run_json(
        "match", "--model", tmp_path / "own", *match)
    train(2, tmp_path / "after", f"init={tmp_path / 'kept'}", "steps=1")
    assert run_json("match", "--model", tmp_path / "after", *match) == run_json(
        "match", "--model", tmp_path / "own", *match)
    plan = train(1, tmp_path / "plan", f"init={stage2}", "steps=2", "objectives.words=1")
    assert (tmp_path / "plan" / "model-language.safetensors").exists() and plan.returncode == 0


def test_verbs_find_the_stage1_model(run, run_json, stage2, pictures, pngs, tmp_path):
    data = pictures / "val.jsonl"
    assert run_json("match", "--model", stage2, "--text", "a red circle", pngs[0])
    run("embed", "--model", stage2, "--output", tmp_path / "e.safetensors", pngs[0])
    assert "image_to_text" in run_json("eval", "--model", stage2, "--task", "retrieval", "--data", data)[0]
    run("capfilt", "--model", stage2, "--data", data, "--output", tmp_path / "filtered", "--captions", 1)
    run("convert", stage2, tmp_path / "converted", "--weights", "bf16")
    assert run_json("match", "--model", tmp_path / "converted", "--text", "a red circle", pngs[0])
