"""Cross-attention that reads picture and language model: the mission's own recipes on a small ResNet and
GPT-2, what the trained model then does, and what is refused."""

import json
import pathlib
import random
import re
import signal
import struct
import subprocess

import pytest
import torch
from mini_model import write_mission_parts
from ranks import finish, free_port, start
from safetensors.torch import load_file, save_file
from serving import Server, chat, text_of
from waiting import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def parts(run, tmp_path_factory):
    """The untrained ResNet and GPT-2 with a Q-Former that reads pictures alone."""
    folder = tmp_path_factory.mktemp("mission")
    run("convert", write_mission_parts(folder), folder / "model")
    return folder / "model"


@pytest.fixture(scope="module")
def command(program, pictures):
    """command(stage, init, output, *settings): a run of recipes/masked_stage{1,2}.toml."""

    def call(stage, init, output, *settings):
        chosen = [f"init={init}", f"data.train={pictures / ('my' if stage == 1 else 'vqa')}.jsonl", "batch_size=8",
                  f"data.cache={pictures / 'mission_features'}", "log_every=1", "checkpoint.every=1000", *settings]
        flags = [word for setting in chosen for word in ("--set", setting)]
        return [str(word) for word in (
            program, "train", ROOT / "recipes" / f"masked_stage{stage}.toml", *flags, "--output", output)]

    return call


@pytest.fixture(scope="module")
def train(run, command):
    def call(*words, resume=False, **options):
        return run(*command(*words)[1:], *(["--resume"] if resume else []), **options)

    return call


@pytest.fixture(scope="module")
def masked1(train, parts, pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "masked1"
    train(1, parts, folder, "steps=60", "optimizer.lr=3e-3", "dropout=0",
          f"data.validation={pictures / 'val.jsonl'}")
    return folder


@pytest.fixture(scope="module")
def masked2(train, masked1, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "masked2"
    train(2, masked1, folder, "steps=40", "optimizer.lr=3e-3", "dropout=0", "objectives.lm=1")
    return folder


def logged(folder, name="loss"):
    lines = [json.loads(line) for line in (folder / "log.jsonl").open()]
    return [line for line in lines if name in line]


def read_of(folder):
    bridge = load_file(folder / "model-bridge.safetensors")
    return {name: value for name, value in bridge.items() if "language_" in name and "projection" not in name
            or name.startswith("ln_language")}


def test_the_recipes_train_it(parts, masked1, masked2):
    assert not read_of(parts)
    config = json.loads((masked1 / "config.json").read_text())["qformer_config"]
    assert config["encoder_reads"] == ["image", "language"] and config["language_hidden_size"] == 64
    assert "encoder_reads" not in json.loads((parts / "config.json").read_text())["qformer_config"]
    names = {name for name in read_of(masked1)}
    assert names == {"ln_language.weight", "ln_language.bias"} | {
        f"qformer.encoder.layer.{layer}.crossattention.attention.language_{kind}.{part}"
        for layer in (0, 2) for kind in ("key", "value") for part in ("weight", "bias")}
    assert set(load_file(masked1 / "model-bridge.safetensors")) == names | set(
        load_file(parts / "model-bridge.safetensors"))
    for name in ("mlm", "mrm"):  # both fall, each in its own steps
        losses = [line[name] for line in logged(masked1, name)]
        assert 28 <= len(losses) <= 32 and sum(losses[-5:]) < 0.95 * sum(losses[:5])
    losses = [line["loss"] for line in logged(masked2)]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert {"validation_mlm", "validation_mrm"} <= set(logged(masked1, "validation_loss")[-1])
    before, after = read_of(masked1), read_of(masked2)
    assert all(not torch.equal(before[name], after[name]) for name in before if name.endswith("weight"))


def rows(cache):
    """Rows of the stores of texts: {length: count}, of each model."""
    models = {}
    for store in cache.glob("*/*_tokens/index.bin"):
        models.setdefault(store.parents[1].name, {})[int(store.parent.name.split("_")[0])] = (
            store.stat().st_size // 40)
    return models


def test_what_the_language_model_reads_is_kept_and_never_the_answer(train, masked1, pictures, tmp_path):
    """Stage 2 keeps one instruction; other answers to it add nothing, another instruction adds its own."""
    def states(name, answer, question="what color is it?"):
        lines = (pictures / "vqa.jsonl").read_text().splitlines()
        records = [{**json.loads(line), "answer": answer, "question": question} for line in lines[:8]]
        for record in records:
            record["image"] = str(pictures / record["image"])
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        train(2, masked1, tmp_path / name, f"data.train={tmp_path / name}.jsonl", f"data.cache={tmp_path / 'cache'}",
              "steps=1", "precision=f32")
        [kept] = rows(tmp_path / "cache").values()
        return sum(kept.values())

    assert states("one", "red") == 1
    assert states("other", "a triangle that is blue") == 1
    assert states("asked", "red", "is it a circle?") == 2
    name = "model-bridge.safetensors"
    assert (tmp_path / "one" / name).read_bytes() != (tmp_path / "other" / name).read_bytes()


def test_captions_are_read_once_in_each_way(train, parts, pictures, tmp_path):
    """12 captions: as they are, and in the ways in which MLM masks them; a second run adds nothing."""
    words = (1, parts, tmp_path / "a", f"data.cache={tmp_path / 'cache'}", "steps=2")
    ways = train(*words, "objectives.mlm_ways=3").stderr
    assert "states of texts" in ways
    [kept] = rows(tmp_path / "cache").values()
    assert 12 < sum(kept.values()) <= 12 * 4
    again = train(1, parts, tmp_path / "b", f"data.cache={tmp_path / 'cache'}", "steps=2", "objectives.mlm_ways=3")
    assert "states of texts" not in again.stderr
    assert rows(tmp_path / "cache") == {name: kept for name in rows(tmp_path / "cache")}
    for name in ("model-bridge.safetensors",):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_read_in_each_step_is_as_kept(train, masked1, parts, tmp_path):
    """data.features = "live" reads the same texts; the losses differ by the rounding of what is kept."""
    for stage, init in ((1, parts), (2, masked1)):
        losses = {}
        for features in ("cached", "live"):
            folder = tmp_path / f"{features}{stage}"
            train(stage, init, folder, f"data.features={features}", f"data.cache={tmp_path / 'cache'}", "steps=4",
                  "precision=f32", "data.feature_type=f32")
            losses[features] = [line["loss"] for line in logged(folder)]
        assert losses["live"] == pytest.approx(losses["cached"], rel=1e-4)


@pytest.mark.parametrize("stage", [1, 2])
def test_two_processes_are_one(train, command, parts, masked1, tmp_path, stage):
    """They share the reading of texts, too: each kept state is there once."""
    init = (parts, masked1)[stage - 1]
    settings = ["steps=4", "dropout=0", "precision=f32", "data.feature_type=f32"]
    train(stage, init, tmp_path / "one", *settings, f"data.cache={tmp_path / 'cache1'}")
    settings.append(f"data.cache={tmp_path / 'cache2'}")
    finish(start(lambda rank: [*command(stage, init, tmp_path / "two", *settings), "--threads", "1"], 2, free_port()))
    assert rows(tmp_path / "cache1") == rows(tmp_path / "cache2")
    losses = {name: [line["loss"] for line in logged(tmp_path / name)] for name in ("one", "two")}
    assert losses["two"] == pytest.approx(losses["one"], rel=1e-5)
    one, two = read_of(tmp_path / "one"), read_of(tmp_path / "two")
    assert one.keys() == two.keys() and one
    assert all(torch.allclose(one[name], two[name], rtol=1e-4, atol=2e-5) for name in one)


@pytest.mark.parametrize("stage", [1, 2])
def test_killed_and_resumed_is_as_never_stopped(train, command, parts, masked1, tmp_path, stage):
    init = (parts, masked1)[stage - 1]
    settings = ("steps=9", "checkpoint.every=2", f"data.cache={tmp_path / 'cache'}")
    train(stage, init, tmp_path / "whole", *settings)
    settings = (*settings[:2], f"data.cache={tmp_path / 'other'}")
    generator, log = random.Random(stage), tmp_path / "killed" / "log.jsonl"
    for attempt in range(2):
        words = command(stage, init, tmp_path / "killed", *settings) + ["--resume"] * (attempt > 0)
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        after = generator.randint(1, 8)
        wait_until(lambda: process.poll() is not None or log.exists() and log.read_text().count("\n") >= after,
                   every=0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    train(stage, init, tmp_path / "killed", *settings, resume=True)
    name = "model-bridge.safetensors"
    assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_model_answers_and_the_service_says_the_same(program, run, run_json, masked2, pictures):
    images = sorted(pictures.glob("*_circle_4.png"))
    question, options = "what color is it?", ("--beams", 1, "--min-new-tokens", 2, "--max-new-tokens", 10)
    answers = run_json("vqa", "--model", masked2, "--question", question, *options, *images)
    one_by_one = [run_json("vqa", "--model", masked2, "--question", question, *options, image)[0] for image in images]
    assert [answer["tokens"] for answer in answers] == [answer["tokens"] for answer in one_by_one]
    captions = run_json("caption", "--model", masked2, *options, *images)
    assert len(captions) == len(images) and all("text" in caption for caption in captions)
    talk = run("chat", "--model", masked2, "--json", *options, images[0], input=f"{question}\n\n").stdout
    assert json.loads(talk.splitlines()[0])["answer"] == answers[0]["answer"]
    match = run_json("match", "--model", masked2, "--text", "a red circle", images[0])
    assert "itm" in match[0]
    scores = run_json("eval", "--model", masked2, "--task", "vqa", "--data", pictures / "vqa.jsonl")
    assert "accuracy" in scores[0]
    with Server(program, masked2) as server:
        for image, answer in zip(images, answers):
            reply = server.json("POST", "/v1/chat/completions",
                                chat(image, question, temperature=0, min_tokens=2, max_tokens=10))
            assert text_of(reply) == answer["answer"], (text_of(reply), answer)


def test_other_words_of_an_instruction_change_the_answer_s_prompts(run_json, masked2, pictures, tmp_path):
    """Without projections of the language model's states, answers are other ones."""
    image = pictures / "red_circle_4.png"
    ask = ("--question", "what color is it?", "--beams", 1, "--min-new-tokens", 4, image)
    [answer] = run_json("vqa", "--model", masked2, *ask)
    folder = tmp_path / "deaf"
    subprocess.run(["cp", "-r", masked2, folder], check=True)
    bridge = folder / "model-bridge.safetensors"
    weights = {name: torch.zeros_like(value) if "language_value" in name or "language_key" in name else value
               for name, value in load_file(bridge).items()}
    save_file(weights, bridge, {"format": "pt"})
    [deaf] = run_json("vqa", "--model", folder, *ask)
    assert deaf["score"] != answer["score"]


def test_converting_keeps_it(run, run_json, masked2, pictures, tmp_path):
    run("convert", masked2, tmp_path / "f32", "--weights", "f32")
    run("convert", masked2, tmp_path / "q8", "--weights", "q8_0")
    ask = ("--question", "what color is it?", "--beams", 1, "--min-new-tokens", 2, pictures / "red_circle_4.png")
    [one], [other] = (run_json("vqa", "--model", folder, *ask) for folder in (masked2, tmp_path / "f32"))
    assert other["tokens"] == one["tokens"]
    assert run_json("vqa", "--model", tmp_path / "q8", *ask)[0]["tokens"]
    assert read_of(tmp_path / "f32").keys() == read_of(masked2).keys()


def test_stage1_starts_again_from_what_stage2_kept(train, masked1, masked2, tmp_path):
    assert read_of(masked2 / "stage1").keys() == read_of(masked1).keys()
    train(1, masked2, tmp_path / "again", "steps=2", "encoder_reads=[]")
    assert read_of(tmp_path / "again").keys() == read_of(masked1).keys()


def elements(file):
    with open(file, "rb") as stream:
        header = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))
    header.pop("__metadata__", None)
    return sum(torch.Size(entry["shape"]).numel() for entry in header.values())


def test_plan_and_dry_run_know_it(run_json, command, parts, masked1, tmp_path):
    def planned(stage, init, *settings):
        return run_json(*command(stage, init, tmp_path / "none", "steps=10", *settings)[1:-2], "--plan")[0]

    plan, plain = planned(1, parts), planned(1, parts, 'encoder_reads=["image"]')
    others = {"image encoder", "language model"}

    def bridge(plan):
        return sum(part["trained"] + part["frozen"] for name, part in plan["parameters"]["parts"].items()
                   if name not in others)

    assert bridge(plan) == elements(masked1 / "model-bridge.safetensors")
    assert bridge(plain) == elements(parts / "model-bridge.safetensors")
    assert plan["disk"]["parts"]["feature cache"] > plain["disk"]["parts"]["feature cache"]
    # A product of keys and values forward, one for their weights backward, and 4 (8) a score.
    work = [one["step"]["parts"]["Q-Former"] for one in (plan, plain)]
    assert work[0]["forward"] > work[1]["forward"] and work[0]["backward"] > work[1]["backward"]
    second = planned(2, masked1)
    assert second["parameters"]["parts"]["norms of what is read"]["trained"] == 2 * (32 + 64)
    for stage, init in ((1, parts), (2, masked1)):
        words = command(stage, init, tmp_path / "none")[1:]
        [line] = run_json(*words, "--dry-run")
        assert line["loss"] > 0 and not (tmp_path / "none").exists()


def test_what_cannot_be_is_refused(run, train, parts, masked1, init, pictures, tmp_path):
    def error(stage, model, *settings):
        done = train(stage, model, tmp_path / "run", "steps=1", *settings, code=1)
        assert len(done.stderr.splitlines()) == 1, done.stderr
        return done.stderr

    assert 'did you mean "language"' in error(1, parts, 'encoder_reads=["image", "langage"]')
    assert '"image" stands there twice' in error(1, parts, 'encoder_reads=["image", "image"]')
    assert 'expected "image"' in error(1, parts, 'encoder_reads=["language"]')
    assert "no objective reads" in error(1, parts, "objectives.mlm=0", "objectives.mrm=0", "objectives.itc=1",
                                         "objectives.alternate=false")
    assert "cannot unlearn" in error(2, masked1, 'encoder_reads=["image"]')
    assert "objectives.mlm_ways" in error(1, parts, "objectives.mlm_ways=0")
    dumb = tmp_path / "dumb"
    text = (parts.parent / "model.toml").read_text().replace('language_model = "gpt2"\n', "")
    (parts.parent / "dumb.toml").write_text(text)
    run("convert", parts.parent / "dumb.toml", dumb)
    assert "encoder_reads: the model has no language model" in error(1, dumb)


def test_another_language_model_is_refused(run, run_json, masked2, pictures, tmp_path):
    """Of another width; and states in a cache's folder that are of another model."""
    folder = tmp_path / "wider"
    subprocess.run(["cp", "-r", masked2, folder], check=True)
    config = json.loads((folder / "config.json").read_text())
    config["qformer_config"]["language_hidden_size"] = 48
    (folder / "config.json").write_text(json.dumps(config))
    done = run("caption", "--model", folder, pictures / "red_circle_4.png", code=1)
    assert "states are 64 wide, the Q-Former reads 48" in done.stderr and "language_hidden_size" in done.stderr
    del config["qformer_config"]["language_hidden_size"]
    (folder / "config.json").write_text(json.dumps(config))
    done = run("caption", "--model", folder, pictures / "red_circle_4.png", code=1)
    assert "language_hidden_size: expected 1 to" in done.stderr


def test_kept_states_of_another_model_are_refused(train, masked1, tmp_path):
    words = (2, masked1, tmp_path / "run", f"data.cache={tmp_path / 'cache'}", "steps=1")
    train(*words)
    [key] = (tmp_path / "cache").glob("*/*_tokens/key.json")
    key.write_text(re.sub(r'"model": "[0-9a-f]', '"model": "x', key.read_text()))
    done = train(2, masked1, tmp_path / "again", f"data.cache={tmp_path / 'cache'}", "steps=1", code=1)
    assert str(key.parent) in done.stderr and "another" in done.stderr
