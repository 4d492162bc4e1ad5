"""A stage-2 step of the trainer, from JSONL to gradients, against eager PyTorch and transformers."""

import copy
import json
import pathlib
import subprocess
import sys

import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]
import blip2_reference as reference  # noqa: E402
import mini_model  # noqa: E402
from random_streams import Random, derive_seed  # noqa: E402

RECORDS = [
    {"image": "0.png", "caption": "a red circle"},
    {"image": "1.png", "question": "what color is the shape?", "answer": "blue"},
    {"image": "2.png", "caption": "person in a lotus position: medium skin tone"},
    {"image": "1.png", "question": "is there a circle?", "answer": "no"},
    {"image": "0.png", "question": "does the image not contain a triangle in the corner?", "answer": "yes"},
]
RECIPE = """
stage = 2
init = "{init}"
steps = 1
batch_size = {rows}
precision = "f32"
dropout = 0.0
language_weights = "{weights}"
[data]
train = "records.jsonl"
cache = "features"
feature_type = "f32"
[schedule]
warmup_steps = 0
[prompt]
caption = "{caption}"
question = "{question}"
to_qformer = {to_qformer}
[objectives]
lm = {lm}
cmlm = {cmlm}
prefix_lm = {prefix_lm}
"""
MASK_STREAM = 23  # of a step's randomness, in stage2_task.cpp


def write_records(folder, records=RECORDS):
    for index, (colour, box) in enumerate([("red", (9, 9, 40, 40)), ("blue", (20, 4, 60, 30)), ("gold", (2, 2, 20, 60))]):
        image = Image.new("RGB", (64, 64), "white")
        ImageDraw.Draw(image).ellipse(box, fill=colour)
        image.save(folder / f"{index}.png")
    (folder / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def language_model(init):
    """transformers' own model with the directory's weights."""
    config = LlamaConfig(**json.loads((init / "config.json").read_text())["text_config"])
    model = LlamaForCausalLM(config).to(torch.float32).eval()
    weights = load_file(init / "model-language.safetensors")
    state = {name.removeprefix("language_model."): value.float() for name, value in weights.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}
    model.tie_weights()
    return model


def round_to_int8(language):
    """Each row of the layers' matrices to whole numbers of a scale of its own, the largest being 127."""
    with torch.no_grad():
        for module in language.model.layers.modules():
            if isinstance(module, torch.nn.Linear):
                scale = module.weight.abs().amax(1, keepdim=True) / 127
                module.weight.copy_((module.weight / scale).round() * scale)


def reference_name(name):
    return name.replace("ln_vision.", "post_layernorm.").replace("qformer.embeddings.", "embeddings.")


def reference_model(init, language, kind=reference.Stage2):
    config = json.loads((init / "config.json").read_text())
    qformer = config["qformer_config"]
    keys = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size",
            "cross_attention_frequency", "encoder_hidden_size", "max_position_embeddings", "layer_norm_eps")
    bridge = reference.BridgeConfig(num_query_tokens=config["num_query_tokens"],
                                    projection_size=config["image_text_hidden_size"],
                                    **{key: qformer[key] for key in keys})
    model = kind(bridge, language) if language else kind(bridge)
    weights = load_file(init / "model-bridge.safetensors")
    state = {reference_name(name): value for name, value in weights.items()}
    model.post_layernorm.eps = 1e-5  # LAVIS's ln_vision
    missing, _ = model.load_state_dict(state, strict=False)
    assert all(name.startswith("language_model.") for name in missing)
    return model


def padded(rows, pad):
    width = max(map(len, rows))
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask


def batch_of(init, caption, question):
    """What the language model and the Q-Former read, by transformers' tokenizers."""
    language = AutoTokenizer.from_pretrained(init)
    qformer = AutoTokenizer.from_pretrained(init / "qformer_tokenizer")
    prompts = [question.format(r["question"]) if "question" in r else caption for r in RECORDS]
    targets = [r.get("answer", r.get("caption")) for r in RECORDS]
    rows, labels = [], []
    for prompt, target in zip(prompts, targets):
        start = language(prompt, add_special_tokens=False).input_ids if prompt else []
        end = language((" " if prompt else "") + target, add_special_tokens=False).input_ids + [language.eos_token_id]
        rows.append(start + end)
        labels.append([-100] * len(start) + end)
    ids, mask = padded(rows, language.eos_token_id)
    return ids, mask, padded(labels, -100)[0], *padded([qformer(p).input_ids for p in prompts], 0)


def hide_answers(init, ids, labels, seed=0, mask=None):
    """Step 0 of conditional masked language modelling: ids and labels of a batch. The mask is the tokenizer's
    unknown token if it has one."""
    mask = AutoTokenizer.from_pretrained(init).unk_token_id if mask is None else mask
    assert mask is not None
    ids, hidden = ids.clone(), torch.full_like(labels, -100)
    for i, row in enumerate(labels):
        places = (row != -100).nonzero().flatten().tolist()
        random = Random(derive_seed(seed, MASK_STREAM, 0, i))
        count = 1 + random.below(len(places))
        random.shuffle(places)
        hidden[i, places[:count]] = row[places[:count]]
        ids[i, places[:count]] = mask
    return ids, hidden


def features_of(ours, records=RECORDS):
    """The records' picture features [B,P,E] as the program has them."""
    order = list(dict.fromkeys(record["image"] for record in records))
    return ours["features"][[order.index(record["image"]) for record in records]]


def gradients_of(model, loss):
    loss.backward()
    return {name: value.grad.double() for name, value in model.named_parameters()
            if value.grad is not None and value.grad.abs().max() > 0}


def assert_step(ours, model, loss_of):
    """The program's loss and gradients of a step equal the reference's; loss_of(model, float type).

    The truth is the reference in f64. Where its own f32 rounds by more than a fifth of 1e-4 (a gradient
    that is a small sum of large terms), ours, which adds in another order, may round by five times as much."""
    rounded = gradients_of(model, loss_of(model, torch.float32))
    exact = copy.deepcopy(model).double()
    exact.zero_grad()
    loss = loss_of(exact, torch.float64)
    gradients = gradients_of(exact, loss)
    assert abs(ours["loss"].item() - loss.item()) <= 1e-4 * loss.item()
    compared = {reference_name(name.removeprefix("grad.")): value
                for name, value in ours.items() if name.startswith("grad.")}
    assert gradients.keys() <= compared.keys()
    largest = max(value.abs().max() for value in gradients.values())
    for name, theirs in gradients.items():
        # A key's bias shifts all of a row's logits alike: its gradient is rounding, and 0 on paper.
        scale = largest if name.endswith(("key.bias", "k_proj.bias")) else theirs.abs().max()
        off = (compared[name] - theirs).abs().max() / scale
        rounding = (rounded[name] - theirs).abs().max() / scale
        assert off <= max(1e-4, 5 * rounding), f"{name}: {off:.2e}, the reference's f32: {rounding:.2e}"


@pytest.mark.parametrize(
    "caption, question, to_qformer, lm, cmlm, weights",
    [("a photo of", "Question: {} Short answer:", False, 1, 0, "auto"), ("", "{}", True, 1, 0, "auto"),
     ("a photo of", "{}", True, 0.5, 2, "auto"), ("a photo of", "{}", False, 1, 0, "int8")],
    ids=["queries read the picture", "queries read picture and prompt", "answers are masked too",
         "through int8 weights"],
)
def test_stage2_loss_and_gradients(probe, build, tmp_path, caption, question, to_qformer, lm, cmlm, weights):
    init = build / "tiny"
    write_records(tmp_path)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE.format(init=init, rows=len(RECORDS), caption=caption, question=question,
                                    to_qformer=str(to_qformer).lower(), lm=lm, cmlm=cmlm, prefix_lm=0,
                                    weights=weights))
    probe("training", recipe, tmp_path / "out.safetensors")
    ours = load_file(tmp_path / "out.safetensors")

    language = language_model(init)
    if weights == "int8":
        round_to_int8(language)
    model = reference_model(init, language)
    ids, mask, labels, read_ids, read_mask = batch_of(init, caption, question)
    features = features_of(ours)
    read = (read_ids, read_mask) if to_qformer else (None, None)
    hidden = hide_answers(init, ids, labels) if cmlm else None

    def loss_of(model, number):
        seen = features.to(number)
        loss = lm * model(seen, ids, mask, labels, *read)
        return loss + cmlm * model(seen, hidden[0], mask, hidden[1], *read) if cmlm else loss

    assert_step(ours, model, loss_of)


def test_contrast_beside_the_language_model(probe, build, tmp_path):
    """What objectives.contrast adds to the loss and to each gradient is stage 1's contrast on the captions."""
    init, weight = build / "tiny", 0.7
    write_records(tmp_path)

    def step(contrast):
        recipe, out = tmp_path / f"{contrast}.toml", tmp_path / f"{contrast}.safetensors"
        recipe.write_text(RECIPE.format(init=init, rows=len(RECORDS), caption="a photo of", question="{}",
                                        to_qformer="true", lm=1, cmlm=0, prefix_lm=0, weights="auto")
                          + f"contrast = {contrast}\n")
        probe("training", recipe, out)
        return load_file(out)

    alone, beside = step(0), step(weight)
    model = reference_model(init, None, reference.Stage1)
    tokenizer = AutoTokenizer.from_pretrained(init / "qformer_tokenizer")
    places = [i for i, record in enumerate(RECORDS) if "caption" in record]
    texts = padded([tokenizer(RECORDS[i]["caption"]).input_ids for i in places], 0)
    images = model.image_embeds(model.see(features_of(beside)[places]))
    similarity = model.similarity(images, model.text_embeds(*texts)) / model.temperature
    loss = weight * reference.contrast(similarity, torch.eye(len(places)).bool())
    assert (beside["loss"] - alone["loss"]).item() == pytest.approx(loss.item(), rel=1e-4)
    gradients = gradients_of(model, loss)
    assert {"vision_projection.weight", "text_projection.weight", "temperature"} <= gradients.keys()
    ours = {reference_name(name.removeprefix("grad.")): value for name, value in beside.items()}
    before = {reference_name(name.removeprefix("grad.")): value for name, value in alone.items()}
    for name, theirs in gradients.items():
        added = ours[name] - before.get(name, torch.zeros_like(ours[name]))
        # The difference of two steps carries the rounding of the larger one.
        tolerance = 1e-3 * theirs.abs().max() + 1e-5 * ours[name].abs().max()
        if not name.endswith("key.bias"):
            assert (added - theirs).abs().max() <= tolerance, name


def test_hundred_steps(probe, build, tmp_path):
    """The log of `train` against PyTorch's own optimiser, clipping included, on a small random model."""
    features = HERE.parents[1] / ".cache" / "models" / "efficientnet-lite0.pth"
    assembly, init = mini_model.write_parts(tmp_path, features), tmp_path / "model"
    subprocess.run([build / "blip2", "convert", assembly, init], check=True, capture_output=True)
    write_records(tmp_path)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE.format(init=init, rows=len(RECORDS), caption="a photo of", question="{}",
                                    to_qformer="true", lm=1, cmlm=0, prefix_lm=0, weights="auto"))
    probe("training", recipe, tmp_path / "out.safetensors")
    settings = ["steps=100", "log_every=1", "data.max_text_tokens=100",
                "optimizer.lr=1e-3", "schedule.warmup_steps=10"]
    subprocess.run([build / "blip2", "train", recipe, *(word for value in settings for word in ("--set", value)),
                    "--output", tmp_path / "run"], check=True, capture_output=True)
    ours = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").open()]

    model = reference_model(init, language_model(init))
    model.language_model.requires_grad_(False)
    seen = features_of(load_file(tmp_path / "out.safetensors"))
    batch = batch_of(init, "a photo of", "{}")
    optimizer = torch.optim.AdamW(reference.parameter_groups(model, 0.05), betas=(0.9, 0.98))
    theirs = []
    for line in ours:
        for group in optimizer.param_groups:
            group["lr"] = line["lr"]
        optimizer.zero_grad()
        loss = model(seen, *batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        optimizer.step()
        theirs.append(loss.item())
    assert len(theirs) == 100 and theirs[-1] < 0.75 * theirs[0]
    assert [line["loss"] for line in ours] == pytest.approx(theirs, rel=1e-3)
