"""The Python package beside the program: the same answers from paths, bytes, PIL pictures and arrays."""

import io
import json
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = pathlib.Path(os.environ.get("BLIP2_BUILD", ROOT / "build")) / "python"
sys.path.insert(0, str(PACKAGE))
import blip2  # noqa: E402 (the package beside the program)


@pytest.fixture(scope="module")
def folder(stage2):
    return stage2


@pytest.fixture(scope="module")
def model(folder):
    with blip2.Model.from_pretrained(folder, threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def picture(pictures):
    return sorted(pictures.glob("*.png"))[0]


def test_captions_and_answers_are_the_program_s(model, folder, pictures, run_json):
    some = sorted(pictures.glob("*.png"))[:5]
    [*expected] = run_json("caption", "--model", folder, *some)
    texts = model.caption([str(path) for path in some])
    assert [(text, text.tokens) for text in texts] == [(line["text"], line["tokens"]) for line in expected]
    assert [text.score for text in texts] == pytest.approx([line["score"] for line in expected], rel=1e-5)
    question = "what color is it?"
    [line] = run_json("vqa", "--model", folder, "--question", question, some[0])
    assert model.answer(some[0], question) == line["answer"]
    assert model.answer(some[:2], [question, question])[0] == line["answer"]
    [line] = run_json("caption", "--model", folder, "--prompt", "a", "--beams", "1", "--max-new-tokens", "4", some[0])
    assert model.caption(some[0], "a", num_beams=1, max_new_tokens=4) == line["text"]


def test_a_picture_is_the_same_in_every_form(model, picture):
    content = picture.read_bytes()
    pil = Image.open(io.BytesIO(content))
    white = Image.alpha_composite(Image.new("RGBA", pil.size, "white"), pil.convert("RGBA")).convert("RGB")
    pixels = np.asarray(white)
    expected = model.embed_images(str(picture))
    assert expected.dtype == np.float32 and expected.ndim == 2
    assert np.linalg.norm(expected, axis=1) == pytest.approx(1, abs=1e-5)
    for form in (picture, content, bytearray(content), memoryview(content), pil, white, pixels,
                 pixels.transpose(2, 0, 1), np.asfortranarray(pixels), torch.tensor(pixels.copy()),
                 torch.tensor(pixels.copy()).permute(2, 0, 1), pixels.astype(np.float32) / 255,
                 torch.tensor(pixels / 255.0)):
        assert np.array_equal(model.embed_images(form), expected), type(form)
    grey = white.convert("L")
    for form in (np.asarray(grey), np.asarray(grey)[None], np.asarray(grey)[:, :, None], grey.convert("RGB")):
        assert np.array_equal(model.embed_images(form), model.embed_images(grey))


@pytest.mark.parametrize("wrong, error", [
    (np.zeros((2, 4, 4, 3), np.uint8), ValueError), (np.zeros((5, 5, 2), np.uint8), ValueError),
    (np.zeros((5, 5, 3), np.int64), TypeError), (np.full((5, 5, 3), 200.0), ValueError),
    (np.full((5, 5, 3), np.nan), ValueError), (np.zeros((0, 5, 3), np.uint8), blip2.Error), (7, TypeError),
    (b"no picture", blip2.Error), ("nowhere.png", FileNotFoundError)])
def test_what_is_no_picture_is_refused(model, wrong, error):
    with pytest.raises(error):
        model.embed_images(wrong)


def test_scores_and_vectors_are_the_program_s(model, folder, pictures, run_json):
    some, texts = sorted(pictures.glob("*.png"))[:3], ["a red circle", "a blue square"]
    lines = list(run_json("match", "--model", folder, "--text", texts[0], "--text", texts[1], *some))
    rows = model.match(some, texts)
    assert [pair.itc for row in rows for pair in row] == pytest.approx([line["itc"] for line in lines], abs=1e-6)
    assert [pair.itm for row in rows for pair in row] == pytest.approx([line["itm"] for line in lines], abs=1e-6)
    assert model.match(some[0], texts[0]) == pytest.approx(rows[0][0], abs=1e-6)
    assert model.match(some[0], texts)[1] == pytest.approx(rows[0][1], abs=1e-6)
    assert model.match(some, texts[1])[2] == pytest.approx(rows[2][1], abs=1e-6)
    images, words = model.embed_images(some), model.embed_texts(texts)
    assert (images @ words.T).max(1) == pytest.approx(np.array([[pair.itc for pair in row] for row in rows]), abs=1e-5)
    assert model.embed_texts(texts[0]) == pytest.approx(words[0], abs=1e-6)
    assert model.embed_images([]).shape == (0, *images.shape[1:]) and model.embed_texts([]).shape == (0, words.shape[1])


def test_pieces_are_the_text(model, picture):
    text = model.caption(picture, beams=1)
    pieces = list(model.caption(picture, beams=1, stream=True))
    assert "".join(pieces) == text and len(pieces) > 1
    stopped = model.caption(picture, beams=1, stop=pieces[1])
    assert stopped == text[:text.index(pieces[1])]


def test_a_dialogue_is_the_program_s(model, folder, picture, program):
    questions = ["what color is it?", "is it a circle?"]
    said = subprocess.run([program, "chat", "--json", "--model", folder, "--no-chat-template", picture],
                          input="\n".join(questions) + "\n", capture_output=True, text=True, check=True)
    expected = [json.loads(line)["answer"] for line in said.stdout.splitlines()]
    chat = model.chat(picture)
    assert [chat.ask(question) for question in questions] == expected
    again = model.chat(picture)
    assert ["".join(again.stream(question)) for question in questions] == expected
    assert again.turns == chat.turns and len(chat.turns) == 4


def test_threads_share_a_batch(model, pictures):
    some = sorted(pictures.glob("*.png"))[:8]
    expected, found = model.caption(some), [None] * len(some)

    def work(i):
        found[i] = model.caption(some[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(some))]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    assert found == expected


def test_the_lock_is_given_back(model, pictures):
    """Another thread goes on while the model writes."""
    counted, done = 0, threading.Event()
    some = sorted(pictures.glob("*.png"))[:8]
    worker = threading.Thread(target=lambda: (model.caption(some, min_new_tokens=30), done.set()))
    worker.start()
    while not done.is_set():
        counted += 1
        time.sleep(0.001)
    worker.join()
    assert counted > 10


def test_errors_say_what_where_and_what_to_do(model, tmp_path):
    with pytest.raises(blip2.Error) as refused:
        model.caption(b"\x89PNG\r\n\x1a\n")
    assert "PNG" in str(refused.value)
    with pytest.raises(blip2.Error, match="beems.*beams"):
        model.caption(np.zeros((8, 8, 3), np.uint8), beems=2)
    with pytest.raises(blip2.Error, match="temperature"):
        model.caption(np.zeros((8, 8, 3), np.uint8), sample=True, temperature=-1)
    with pytest.raises(blip2.Error) as missing:
        blip2.Model.from_pretrained(tmp_path)
    assert str(tmp_path) in missing.value.where or str(tmp_path) in str(missing.value)
    with pytest.raises(ValueError, match="one question"):
        model.answer([b"", b""], ["one", "two", "three"])
    copy = pickle.loads(pickle.dumps(missing.value))
    assert (copy.message, copy.where, copy.hint) == (missing.value.message, missing.value.where, missing.value.hint)
    text = model.caption(np.zeros((8, 8, 3), np.uint8))
    assert pickle.loads(pickle.dumps(text)).tokens == text.tokens


def test_a_closed_model_says_so(folder):
    model = blip2.Model.from_pretrained(folder, threads=1)
    model.close()
    model.close()
    with pytest.raises(blip2.Error, match="closed"):
        model.caption(np.zeros((8, 8, 3), np.uint8))


def test_training_calls_back(init, pictures, tmp_path):
    seen = []
    settings = {"init": str(init), "data.train": str(pictures / "my.jsonl"), "steps": 3, "batch_size": 4, "log_every": 1,
                "data.cache": str(tmp_path / "cache")}
    recipe = ROOT / "recipes" / "tiny_stage1.toml"
    folder = blip2.train(recipe, tmp_path / "run", settings, callback=seen.append)
    assert [line["step"] for line in seen if "loss" in line] == [1, 2, 3]
    with blip2.Model(folder, threads=1) as model:
        assert model.embed_texts("a").shape == (model.facts["embedding_width"],)
    with pytest.raises(blip2.Error, match="batch_sice"):
        blip2.train(recipe, tmp_path / "other", {**settings, "batch_sice": 4})


def test_what_a_callback_raises_stops_the_run(init, pictures, tmp_path):
    class Enough(Exception):
        pass

    def stop(line):
        raise Enough

    settings = {"init": str(init), "data.train": str(pictures / "my.jsonl"), "steps": 500, "batch_size": 4,
                "log_every": 1, "data.cache": str(tmp_path / "cache")}
    with pytest.raises(Enough):
        blip2.train(ROOT / "recipes" / "tiny_stage1.toml", tmp_path / "run", settings, callback=stop)
    assert list((tmp_path / "run" / "checkpoints").glob("step_*"))


def test_control_c_ends_the_waiting(folder, picture):
    code = ("import sys, blip2\n"
            "model = blip2.Model(sys.argv[1], threads=1)\n"
            "print('ready', flush=True)\n"
            "while True: model.caption(sys.argv[2], min_new_tokens=30)\n")
    process = subprocess.Popen([sys.executable, "-c", code, folder, picture], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(PACKAGE)})
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors and process.returncode in (1, 130, -signal.SIGINT)
