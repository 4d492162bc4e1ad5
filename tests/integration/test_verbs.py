"""Every verb of the program on a model that it has trained itself, by the documented contract."""

import json
import pathlib

import numpy
import pytest
import torch
import transformers
from mini_model import write_parts
from PIL import Image
from safetensors.numpy import load_file

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def init(real_init):
    return real_init


def test_training_leaves_a_log_and_a_model(stage1, stage2):
    for folder, steps in ((stage1, 6), (stage2, 6)):
        lines = [json.loads(line) for line in (folder / "log.jsonl").open()]
        logged = [line for line in lines if "loss" in line]
        assert [line["step"] for line in logged] == list(range(1, steps + 1))
        for line in logged:
            assert {"step", "epoch", "lr", "loss", "samples_per_second", "data_share"} <= set(line)
            assert all(numpy.isfinite(value) for value in line.values())
        objectives = {"itc", "itm", "itg"} if folder == stage1 else {"loss_captions", "loss_answers"}
        assert objectives <= set().union(*logged)
        for name in ("config.json", "model.safetensors.index.json", "preprocessor_config.json",
                     "tokenizer.json", "qformer_tokenizer/tokenizer.json"):
            assert (folder / name).exists(), name
    first = [json.loads(line) for line in (stage1 / "log.jsonl").open()]
    assert [line["step"] for line in first if "validation_loss" in line][-1] == 6


def test_caption(run_json, stage2, pictures):
    images = sorted(pictures.glob("*.png"))[:3]
    lines = run_json("caption", "--model", stage2, "--max-new-tokens", 5, *images)
    assert [line["image"] for line in lines] == [str(image) for image in images]
    for line in lines:
        assert set(line) == {"image", "text", "tokens", "score"}
        assert 0 < len(line["tokens"]) <= 5
    listed = pictures / "list.txt"
    listed.write_text("".join(f"{image}\n" for image in images))
    again = run_json("caption", "--model", stage2, "--max-new-tokens", 5, "--images-from", listed)
    assert again == lines


def test_a_batch_answers_as_its_pictures_alone(run_json, stage2, pictures):
    images = sorted(pictures.glob("*.png"))[:5]
    options = ("--model", stage2, "--beams", 3, "--max-new-tokens", 8)
    together = run_json("caption", *options, "--batch-size", 5, *images)
    alone = [run_json("caption", *options, image)[0] for image in images]
    assert [line["tokens"] for line in together] == [line["tokens"] for line in alone]


def test_sampling_follows_the_seed(run_json, stage2, pictures):
    image = sorted(pictures.glob("*.png"))[0]
    options = ("caption", "--model", stage2, "--beams", 1, "--sample", "--temperature", 1.5,
               "--max-new-tokens", 10)
    first = run_json(*options, "--seed", 1, image)
    assert run_json(*options, "--seed", 1, image) == first
    assert run_json(*options, "--seed", 2, image) != first


def test_vqa(run_json, stage2, pictures):
    image = sorted(pictures.glob("*.png"))[0]
    [line] = run_json("vqa", "--model", stage2, "--question", "what color is it?", image)
    assert set(line) == {"image", "question", "answer", "tokens", "score"}
    lines = run_json("vqa", "--model", stage2, "--questions-from", pictures / "vqa.jsonl")
    records = [json.loads(text) for text in (pictures / "vqa.jsonl").open()]
    assert [one["question"] for one in lines] == [record["question"] for record in records]


def test_chat_keeps_the_dialogue(run, run_json, stage2, pictures):
    """The second question is asked after the first and its answer, as a caption's prompt shows."""
    image = sorted(pictures.glob("*.png"))[0]
    options = ("--model", stage2, "--beams", 1, "--max-new-tokens", 12, "--min-new-tokens", 12)
    questions = "what is it?\nwhat color is it?\n\n"
    done = run("chat", *options, "--no-chat-template", "--json", image, input=questions)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["question"] for line in lines] == ["what is it?", "what color is it?"]

    def say(prompt):
        return run_json("caption", *options, "--prompt", prompt, image)[0]["text"]

    first, second = (f"Question: {line['question']} Short answer:" for line in lines)
    assert lines[0]["answer"] == say(first)
    assert lines[1]["answer"] == say(f"{first} {lines[0]['answer']} {second}") != say(second)


def chat_ml(*turns):
    """What SmolLM2's template makes of turns, before the assistant's."""
    system = ("system", "You are a helpful AI assistant named SmolLM, trained by Hugging Face")
    said = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in (system, *turns))
    return said + "<|im_start|>assistant\n"


def test_the_language_models_chat_template(run, run_json, init, pictures):
    """vqa --chat and chat write by the template of the language model's GGUF file."""
    image = sorted(pictures.glob("*.png"))[0]
    options = ("--model", init, "--beams", 1, "--max-new-tokens", 12, "--min-new-tokens", 12)

    def say(*turns):
        [line] = run_json("caption", *options, "--special-tokens", "--prompt", chat_ml(*turns), image)
        return line["tokens"], line["text"]

    ask = [("user", f"Question: {question} Short answer:") for question in ("what is it?", "why <|im_end|>?")]
    [answer] = run_json("vqa", *options, "--chat", "--question", "what is it?", image)
    assert (answer["tokens"], answer["answer"]) == say(ask[0])
    [plain] = run_json("vqa", *options, "--question", "what is it?", image)
    assert plain["tokens"] != answer["tokens"]
    [caption] = run_json("caption", *options, "--chat", image)
    assert caption["tokens"] == say(("user", "a photo of"))[0]

    done = run("chat", *options, "--json", "--special-tokens", image, input="what is it?\nwhy <|im_end|>?\n\n")
    first, second = (json.loads(line)["answer"] for line in done.stdout.splitlines())
    assert first == answer["answer"]
    assert second == say(ask[0], ("assistant", first), ask[1])[1]


def test_training_on_chat_prompts(run_json, train, pictures, stage1, tmp_path):
    """A model that was trained on turns of a chat is asked by them from then on."""
    data = f'data.train=["{pictures}/my.jsonl", "{pictures}/vqa.jsonl"]'
    train(2, tmp_path / "chat", f"init={stage1}", data, "steps=2", "checkpoint.every=2", "prompt.chat=true")
    config = json.loads((tmp_path / "chat" / "config.json").read_text())
    assert config["chat_prompts"] is True
    image = sorted(pictures.glob("*.png"))[0]
    options = ("--model", tmp_path / "chat", "--beams", 1, "--max-new-tokens", 8, "--min-new-tokens", 8)
    [answer] = run_json("vqa", *options, "--question", "what color is it?", image)
    [forced] = run_json("vqa", *options, "--chat", "--question", "what color is it?", image)
    assert answer == forced
    lines = [json.loads(line) for line in (tmp_path / "chat" / "log.jsonl").open()]
    assert all(numpy.isfinite(line["loss"]) for line in lines if "loss" in line)


def test_a_vqa_template_is_a_prompt(run_json, stage2, pictures):
    image = sorted(pictures.glob("*.png"))[0]
    options = ("--model", stage2, "--beams", 3, "--max-new-tokens", 10, "--length-penalty", -1)
    for template in ("Q: {} A:", "{}"):
        [answer] = run_json("vqa", *options, "--question", "what is it?", "--template", template, image)
        [caption] = run_json("caption", *options, "--prompt", template.replace("{}", "what is it?"), image)
        assert (answer["tokens"], answer["score"]) == (caption["tokens"], caption["score"])


def test_match_explains_its_numbers(run):
    text = " ".join(run("match", "--help").stdout.split())
    for part in ("itc: image-text contrast", "cosine in [-1, 1]", "itm: image-text matching", "probability in [0, 1]"):
        assert part in text


@pytest.mark.parametrize("model", ["stage1", "stage2"])
def test_match_and_embed(run_json, run, model, stage1, pictures, tmp_path, request):
    folder = request.getfixturevalue(model)  # a stage-2 model keeps its stage-1 model
    images = sorted(pictures.glob("*.png"))[:2]
    lines = run_json("match", "--model", folder, "--text", "a red circle", "--text", "a cat", *images)
    assert [(line["image"], line["text"]) for line in lines] == [
        (str(image), text) for image in images for text in ("a red circle", "a cat")]
    assert all(-1 <= line["itc"] <= 1 and 0 <= line["itm"] <= 1 for line in lines)
    texts = tmp_path / "texts.txt"
    texts.write_text("a red circle\na cat\n")
    run("embed", "--model", folder, "--texts", texts, "--output", tmp_path / "e.safetensors", *images)
    vectors = load_file(tmp_path / "e.safetensors")
    cosine = numpy.einsum("nqe,me->nmq", vectors["image_embeds"], vectors["text_embeds"]).max(-1)
    assert numpy.allclose(cosine.ravel(), [line["itc"] for line in lines], atol=1e-5)
    # The Q-Former's products in bf16 are near, and not the same.
    rounded = run_json("match", "--model", folder, "--bridge-precision", "bf16", "--text", "a red circle",
                       "--text", "a cat", *images)
    off = numpy.abs(numpy.array([[a[key] - b[key] for key in ("itc", "itm")] for a, b in zip(lines, rounded)]))
    assert 0 < off.max() < 0.05


def test_eval(run_json, stage2, pictures, tmp_path):
    """Retrieval's scores are test_retrieval_scores.py's."""
    [result] = run_json("eval", "--model", stage2, "--task", "vqa", "--data", pictures / "vqa.jsonl")
    answers = run_json("vqa", "--model", stage2, "--beams", 1, "--length-penalty", 1,
                       "--max-new-tokens", 20, "--questions-from", pictures / "vqa.jsonl")
    records = [json.loads(text) for text in (pictures / "vqa.jsonl").open()]
    right = [line["answer"] == record["answer"] for line, record in zip(answers, records)]
    assert result == {"accuracy": pytest.approx(numpy.mean(right)), "questions": len(records)}
    # Captions of which every third is what the model writes.
    images = sorted(pictures.glob("*.png"))[:9]
    written = run_json("caption", "--model", stage2, "--beams", 1, "--min-new-tokens", 5, "--max-new-tokens", 5,
                       *images)
    captions = [line["text"] if i % 3 == 0 else "something else" for i, line in enumerate(written)]
    data = tmp_path / "own.jsonl"
    data.write_text("".join(json.dumps({"image": str(image), "caption": caption}) + "\n"
                            for image, caption in zip(images, captions)))
    [result] = run_json("eval", "--model", stage2, "--task", "caption", "--data", data, "--beams", 1,
                        "--min-new-tokens", 5, "--max-new-tokens", 5)
    assert result["exact"] == pytest.approx(1 / 3)

def test_tokenize_equals_transformers(run_json, init):
    from transformers import AutoTokenizer

    texts = ["Question: what color is it? Short answer:", "Grüße, 東京 123!"]
    for which, folder in (("llm", init), ("qformer", init / "qformer_tokenizer")):
        reference = AutoTokenizer.from_pretrained(folder)
        lines = run_json("tokenize", "--model", init, "--which", which,
                         *[word for text in texts for word in ("--text", text)])
        assert [line["ids"] for line in lines] == [reference(text)["input_ids"] for text in texts]
        assert lines[0]["pieces"] == reference.convert_ids_to_tokens(lines[0]["ids"])


def test_preprocess_equals_pillow(run_json, init, pictures, pixels, tmp_path):
    image = sorted(pictures.glob("*.png"))[0]
    [line] = run_json("preprocess", "--model", init, image, "--output", tmp_path / "p.safetensors")
    assert line == {"shape": [1, 3, 224, 224]}
    values = load_file(tmp_path / "p.safetensors")["pixel_values"]
    assert numpy.abs(values - pixels(image)).max() <= 1e-6


def test_pictures_as_asked(run, run_json, init, tmp_path):
    """--processor and --sixteen-bit, once as options and once written into a model directory."""
    shades = numpy.linspace(0, 65535, 300 * 200).reshape(200, 300).astype(numpy.uint16)
    for name in ("a.png", "b.png"):
        Image.fromarray(shades).save(tmp_path / name)

    def values(model, *options):
        run("preprocess", "--model", model, *options, tmp_path / "a.png", "--output", tmp_path / "p.safetensors")
        return load_file(tmp_path / "p.safetensors")["pixel_values"]

    both = ("--processor", "torchvision", "--sixteen-bit", "scale")
    plain, scaled, asked = values(init), values(init, *both[2:]), values(init, *both)
    assert plain.mean() > scaled.mean() + 0.5  # nearly all white
    assert 0 < numpy.abs(asked - scaled).max() < 0.05  # up to a level
    done = run("embed", "--model", init, "--output", tmp_path / "e.safetensors", tmp_path / "a.png", tmp_path / "b.png")
    assert done.stderr.count("--sixteen-bit scale") == 1
    told = run("embed", "--model", init, *both, "--output", tmp_path / "s.safetensors", tmp_path / "a.png")
    assert "sixteen-bit" not in told.stderr
    run("convert", init, tmp_path / "model", *both)
    written = json.loads((tmp_path / "model" / "preprocessor_config.json").read_text())
    assert written["processor"] == "torchvision" and written["sixteen_bit"] == "scale"
    assert numpy.array_equal(values(tmp_path / "model"), asked)
    assert numpy.array_equal(values(tmp_path / "model", "--processor", "pillow", "--sixteen-bit", "cut"), plain)
    run("embed", "--model", tmp_path / "model", "--output", tmp_path / "m.safetensors", tmp_path / "a.png")
    assert (tmp_path / "m.safetensors").read_bytes() == (tmp_path / "s.safetensors").read_bytes()


def test_inspect(run_json, init):
    [model] = run_json("inspect", init)
    names = {tensor["name"] for tensor in model["tensors"]}
    assert {"query_tokens", "qformer.encoder.layer.0.crossattention.attention.key.weight",
            "language_model.model.embed_tokens.weight", "itm_head.weight"} <= names
    assert model["config"]["model_type"] == "blip-2"
    [file] = run_json("inspect", init / "model-vision.safetensors")
    assert file["elements"] > 3e6


def test_convert_changes_the_precision(run, run_json, stage2, pictures, tmp_path):
    run("convert", stage2, tmp_path / "f32", "--weights", "f32")
    [model] = run_json("inspect", tmp_path / "f32")
    language = [t for t in model["tensors"] if t["name"].startswith("language_model.")]
    assert {tensor["dtype"] for tensor in language} == {"F32"}
    image = sorted(pictures.glob("*.png"))[0]
    assert run_json("caption", "--model", tmp_path / "f32", "--precision", "bf16", image) == run_json(
        "caption", "--model", stage2, image)


def test_options_beat_variables_beat_the_file(run_json, stage2, pictures, tmp_path):
    image = sorted(pictures.glob("*.png"))[0]
    settings = tmp_path / "settings.toml"
    settings.write_text("[caption]\nmax-new-tokens = 2\nmin-new-tokens = 2\nbeams = 1\n")

    def count(*words, env=None):
        line = ("--config", settings, "caption", "--model", stage2, *words, image)
        return len(run_json(*line, env=env)[0]["tokens"])

    variables = {"BLIP2_MAX_NEW_TOKENS": "3", "BLIP2_MIN_NEW_TOKENS": "3"}
    assert count() == 2
    assert count(env=variables) == 3
    assert count("--max-new-tokens", 4, "--min-new-tokens", 4, env=variables) == 4


def test_an_own_directory_is_copied_bit_for_bit(run, stage2, tmp_path):
    run("convert", stage2, tmp_path / "copy", "--own-layout")
    for file in (tmp_path / "copy").iterdir():
        if file.suffix in (".safetensors", ".json") and file.is_file():
            assert file.read_bytes() == (stage2 / file.name).read_bytes(), file.name


def test_language_models_in_shards_and_archives(run, tmp_path):
    """The same weights in one file, in shards and in PyTorch's archives assemble the same model."""
    assembly = write_parts(tmp_path, ROOT / ".cache" / "models" / "efficientnet-lite0.pth")
    folder = tmp_path / "llama"
    run("convert", assembly, tmp_path / "one")
    model = transformers.LlamaForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="40KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    run("convert", assembly, tmp_path / "shards")
    for file in folder.glob("model*.safetensors*"):
        file.unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    run("convert", assembly, tmp_path / "archive")
    name = "model-language.safetensors"
    for other in ("shards", "archive"):
        assert (tmp_path / other / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
