"""`serve`: its answers are the command line's, byte for byte, whoever asks beside."""

import concurrent.futures
import json
import os
import signal
import socket
import subprocess
import time

import numpy
import pytest
from safetensors.numpy import load_file
from serving import KEY, SECONDS, Server, chat, data_uri, text_of


@pytest.fixture(scope="module")
def images(pictures):
    return sorted(pictures.glob("*.png"))[:12]


@pytest.fixture(scope="module")
def captions(run_json, stage2, images):
    return run_json("caption", "--model", stage2, "--beams", 1, "--max-new-tokens", 20, *images)


def test_captions_are_the_command_lines(server, images, captions):
    for image, expected in zip(images, captions):
        answer = server.json("POST", "/v1/chat/completions", chat(image, max_tokens=20))
        assert text_of(answer) == expected["text"]
        assert answer["usage"]["completion_tokens"] == len(expected["tokens"])


def test_answers_are_the_command_lines(server, run_json, stage2, images):
    question = "what color is it?"
    expected = run_json("vqa", "--model", stage2, "--question", question, "--beams", 1,
                        "--max-new-tokens", 8, "--length-penalty", 1, *images)
    for image, line in zip(images, expected):
        answer = server.json("POST", "/v1/chat/completions", chat(image, question, max_tokens=8))
        assert text_of(answer) == line["answer"]


@pytest.mark.parametrize("options, settings", [
    (["--beams", 3, "--length-penalty", 0.5], {"num_beams": 3, "length_penalty": 0.5}),
    (["--beams", 1, "--sample", "--temperature", 0.8, "--top-p", 0.9, "--seed", 7],
     {"temperature": 0.8, "top_p": 0.9, "seed": 7}),
    (["--beams", 1, "--repetition-penalty", 1.3, "--min-new-tokens", 5],
     {"repetition_penalty": 1.3, "min_tokens": 5})])
def test_settings_are_the_command_lines(server, run_json, stage2, images, options, settings):
    expected = run_json("caption", "--model", stage2, *options, "--max-new-tokens", 12, images[0])
    answer = server.json("POST", "/v1/chat/completions", chat(images[0], max_tokens=12, **settings))
    assert text_of(answer) == expected[0]["text"]


def test_neighbours_change_nothing(server, images, captions):
    """Many requests at once, whole and streamed, with other lengths and settings beside."""
    def ask(i):
        if i % 3 == 0:
            body = chat(images[i % 12], "why?", max_tokens=3 + i, temperature=1.2, seed=i)
            return server.json("POST", "/v1/chat/completions", body) and None
        body = chat(images[i % 12], max_tokens=20)
        if i % 3 == 1:
            return text_of(server.json("POST", "/v1/chat/completions", body))
        events = server.events("/v1/chat/completions", {**body, "stream": True})
        return "".join(e["choices"][0]["delta"].get("content") or "" for e in events)

    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        texts = list(pool.map(ask, range(72)))
    for i, text in enumerate(texts):
        assert text is None or text == captions[i % 12]["text"]


def test_stream_ends_with_usage(server, images):
    events = server.events("/v1/chat/completions", chat(
        images[0], max_tokens=5, min_tokens=5, stream=True, stream_options={"include_usage": True}))
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"
    assert events[-1]["choices"] == [] and events[-1]["usage"]["completion_tokens"] == 5
    assert events[-2]["choices"][0]["finish_reason"] == "length"
    assert len({event["id"] for event in events}) == 1


def test_known_picture_is_not_encoded_again(server, images):
    body = chat(images[3], "how?", max_tokens=2)
    server.json("POST", "/v1/chat/completions", body)
    usage = server.json("POST", "/v1/chat/completions", body)["usage"]
    assert 0 < usage["prompt_tokens_details"]["cached_tokens"] < usage["prompt_tokens"]


def test_dialogue_is_that_of_chat(server, run, stage2, images):
    done = run("chat", "--no-chat-template", "--model", stage2, "--json", "--beams", 1, "--max-new-tokens", 6,
               images[0], input="what is it?\nwhat color?\n")
    first, second = map(json.loads, done.stdout.splitlines())
    messages = chat(images[0], "what is it?")["messages"]
    messages += [{"role": "assistant", "content": first["answer"]}, {"role": "user", "content": "what color?"}]
    answer = server.json("POST", "/v1/chat/completions", {"messages": messages, "max_tokens": 6})
    assert text_of(answer) == second["answer"]


def test_stop_and_logprobs(server, images, captions):
    text = captions[0]["text"]
    answer = server.json("POST", "/v1/chat/completions", chat(
        images[0], max_tokens=20, stop=text[2:4], logprobs=True, top_logprobs=2))
    assert text_of(answer) == text[:text.index(text[2:4])]
    first = answer["choices"][0]["logprobs"]["content"][0]
    assert len(first["top_logprobs"]) == 2
    assert first["logprob"] == pytest.approx(first["top_logprobs"][0]["logprob"])  # greedy


def test_several_answers(server, images):
    answer = server.json("POST", "/v1/chat/completions", chat(
        images[0], n=3, temperature=1.5, seed=1, max_tokens=8))
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert len({choice["message"]["content"] for choice in answer["choices"]}) > 1


def test_ollama(server, images, captions):
    import base64

    picture = base64.b64encode(images[0].read_bytes()).decode()
    options = {"num_predict": 20, "temperature": 0}
    whole = server.json("POST", "/api/generate", {
        "model": "stage2", "prompt": "", "images": [picture], "stream": False, "options": options})
    assert whole.get("response") is not None or whole["done_reason"] == "load"
    status, headers, data = server.raw("POST", "/api/chat", {
        "model": "stage2", "messages": [{"role": "user", "content": "", "images": [picture]}], "options": options})
    assert status == 200 and headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in data.splitlines()]
    assert "".join(line["message"]["content"] for line in lines) == captions[0]["text"]
    assert lines[-1]["done"] and lines[-1]["eval_count"] == len(captions[0]["tokens"])
    assert server.json("GET", "/api/tags")["models"][0]["name"].startswith("stage2")


def test_vectors_are_those_of_embed(server, run, stage2, images, tmp_path):
    (tmp_path / "texts.txt").write_text("a red circle\na blue square\n")
    run("embed", "--model", stage2, "--texts", tmp_path / "texts.txt", "--output", tmp_path / "e.safetensors",
        images[0])
    expected = load_file(tmp_path / "e.safetensors")
    body = {"input": ["a red circle", "a blue square"], "encoding_format": "float"}
    data = server.json("POST", "/v1/embeddings", body)["data"]
    assert numpy.allclose([entry["embedding"] for entry in data], expected["text_embeds"], atol=1e-6)
    picture = {"content": [{"type": "image_url", "image_url": {"url": data_uri(images[0])}}]}
    [entry] = server.json("POST", "/v1/embeddings", {"input": [picture], "encoding_format": "float"})["data"]
    mean = expected["image_embeds"][0].mean(0)
    assert numpy.allclose(entry["embedding"], mean / numpy.linalg.norm(mean), atol=1e-5)


def test_scores_are_those_of_match(server, run_json, stage2, images):
    texts = ["a red circle", "a blue square", "a black triangle"]
    flags = [word for text in texts for word in ("--text", text)]
    expected = run_json("match", "--model", stage2, *flags, images[0])
    picture = {"content": [{"type": "image_url", "image_url": {"url": data_uri(images[0])}}]}
    data = server.json("POST", "/v1/score", {"text_1": picture, "text_2": texts})["data"]
    for line, entry in zip(expected, data):
        assert entry["itm"] == pytest.approx(line["itm"], abs=1e-6)
        assert entry["itc"] == pytest.approx(line["itc"], abs=1e-6)
    ranked = server.json("POST", "/v1/rerank", {"query": picture, "documents": texts})["results"]
    order = sorted(range(3), key=lambda i: -expected[i]["itm"])
    assert [entry["index"] for entry in ranked] == order


def test_a_model_of_stage_1_compares_and_does_not_write(program, run_json, stage2, images):
    with Server(program, stage2 / "stage1") as server:
        [model] = server.json("GET", "/v1/models")["data"]
        assert model["id"] == "stage1" and model["capabilities"] == ["embedding", "score"]
        assert model["architecture"]["output_modalities"] == ["embeddings"] and "max_tokens" not in model["limits"]
        texts = ["a red circle", "a blue square"]
        expected = run_json("match", "--model", stage2, "--text", texts[0], "--text", texts[1], images[0])
        picture = {"content": chat(images[0])["messages"][0]["content"]}
        data = server.json("POST", "/v1/score", {"text_1": picture, "text_2": texts})["data"]
        assert [entry["itm"] for entry in data] == pytest.approx([line["itm"] for line in expected], abs=1e-6)
        ranked = server.json("POST", "/v1/rerank", {"query": picture, "documents": texts})["results"]
        assert len(ranked) == 2
        assert len(server.json("POST", "/v1/embeddings", {"input": texts})["data"]) == 2
        refused = server.json("POST", "/v1/chat/completions", chat(images[0]), status=400)["error"]
        assert refused["code"] == "not_supported" and "no language model" in refused["message"]
        assert "no language model" in server.json("POST", "/tokenize", {"prompt": "a"}, status=400)["error"]["message"]
        for body in ({"model": "stage1"}, {"model": "stage1", "prompt": "a"}):
            assert "no language model" in server.json("POST", "/api/generate", body, status=400)["error"]
        [tag] = server.json("GET", "/api/tags")["models"]
        assert tag["capabilities"] == ["vision", "embedding"]


def test_tokens_are_those_of_tokenize(server, run_json, stage2):
    [expected] = run_json("tokenize", "--model", stage2, "--which", "llm", "--text", "a red circle")
    tokens = server.json("POST", "/tokenize", {"prompt": "a red circle"})["tokens"]
    assert tokens == expected["ids"]
    assert server.json("POST", "/detokenize", {"tokens": tokens})["prompt"] == "a red circle"


def test_models_health_and_metrics(server, images):
    [model] = server.json("GET", "/v1/models")["data"]
    assert model["id"] == "stage2" and model["architecture"]["input_modalities"] == ["text", "image"]
    assert server.raw("GET", "/health", headers={"Authorization": ""})[0] == 200
    status, headers, data = server.raw("GET", "/metrics")
    assert status == 200 and headers["content-type"].startswith("text/plain")
    lines = [line for line in data.decode().splitlines() if not line.startswith("#")]
    assert all(float(line.rpartition(" ")[2]) >= 0 for line in lines)
    done = server.metric('blip2_jobs_total{end="done"}')
    server.json("POST", "/v1/chat/completions", chat(images[0], max_tokens=2))
    wait_until(lambda: server.metric('blip2_jobs_total{end="done"}') == done + 1)
    wait_until(lambda: server.metric("blip2_jobs_running") == 0)


def test_page(server):
    status, headers, data = server.raw("GET", "/")
    assert status == 200 and headers["content-type"] == "text/html; charset=utf-8"
    assert b"<html" in data and "default-src 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize("method, path", [
    ("GET", "/metrics"), ("GET", "/v1/models"), ("POST", "/v1/chat/completions"), ("POST", "/tokenize"),
    ("GET", "/api/tags"), ("POST", "/api/chat"), ("GET", "/nothing")])
def test_every_route_but_health_needs_a_key(server, method, path):
    for key in ("", "Bearer wrong", "Bearer " + KEY[:-1], "Basic " + KEY):
        assert server.raw(method, path, {}, headers={"Authorization": key})[0] == 401


@pytest.mark.parametrize("change, status, words", [
    ({"messages": []}, 400, "messages"), ({"max_tokens": -1}, 400, "max_tokens"), ({"n": 2**31}, 400, "n"),
    ({"temperature": "hot"}, 400, "temperature"), ({"model": "gpt-5"}, 404, "gpt-5"),
    ({"num_beams": 2, "n": 3}, 400, "n"), ({"max_tokens": 100000}, 400, "max_tokens")])
def test_bad_requests_are_named(server, images, change, status, words):
    answer = server.json("POST", "/v1/chat/completions", {**chat(images[0]), **change}, status=status)
    assert words in json.dumps(answer["error"])


def test_bad_pictures_are_named(server, tmp_path, images):
    for name, data, words in [("gif", b"GIF89a" + bytes(60), "GIF"), ("pdf", b"%PDF-1.7", "PDF"), ("cut", images[0].read_bytes()[:200], "cut short"),
                              ("text", b"hello, world", "format")]:
        (tmp_path / name).write_bytes(data)
        answer = server.json("POST", "/v1/chat/completions", chat(tmp_path / name), status=400)
        assert words.lower() in answer["error"]["message"].lower(), answer
    body = {"messages": [{"role": "user", "content": "what is it?"}]}
    assert "picture" in server.json("POST", "/v1/chat/completions", body, status=400)["error"]["message"]
    for url in ("https://example.org/a.png", "file:///etc/passwd", "http://127.0.0.1/a.png"):
        body = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}
        server.json("POST", "/v1/chat/completions", body, status=400)


def test_unknown_places(server):
    assert server.raw("GET", "/v1/nothing")[0] == 404
    status, headers, _ = server.raw("GET", "/v1/chat/completions")
    assert status == 405 and headers["allow"] == "POST"


def long_chat(image):
    """Takes seconds on a model of real size."""
    return chat(image, max_tokens=200, min_tokens=200)


def running(server):
    return server.metric("blip2_jobs_running")


def wait_until(condition):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_client_that_goes_is_forgotten(program, real_init, images):
    """Its answer is not written to the end, and the model is free at once: of several tries, as the
    machine may be busy, the quickest counts."""
    with Server(program, real_init) as server:
        waits = [leave_while_running(server, images) for _ in range(4)]
        assert server.metric('blip2_jobs_total{end="cancelled"}') == 4
        assert server.metric('blip2_jobs_total{end="done"}') == 0
        assert min(waits) < 0.5


def leave_while_running(server, images):
    """Seconds from the client's close until nothing runs."""
    body = json.dumps(long_chat(images[0])).encode()
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
                       b"Content-Length: %d\r\n\r\n" % (KEY.encode(), len(body)) + body)
        wait_until(lambda: running(server) == 1)
    begin = time.monotonic()
    wait_until(lambda: running(server) == 0)
    return time.monotonic() - begin


def test_full_queue_is_refused_at_once(program, real_init, images):
    with Server(program, real_init, "--max-queue", 1, "--max-batch", 1) as server:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            results = [pool.submit(server.raw, "POST", "/v1/chat/completions", long_chat(images[0]))
                       for _ in range(8)]
            statuses = [result.result() for result in results]
        refused = [headers for status, headers, _ in statuses if status == 429]
        assert refused and all(int(headers["retry-after"]) >= 1 for headers in refused)
        assert any(status == 200 for status, *_ in statuses)


def test_drains(program, real_init, images):
    """SIGTERM: the running request ends well, new ones are refused, the exit code is 0."""
    patient = ["--drain-timeout", SECONDS]
    with Server(program, real_init, *patient) as server, concurrent.futures.ThreadPoolExecutor() as pool:
        kept = server.connection()
        kept.request("GET", "/health")
        kept.getresponse().read()
        long = pool.submit(server.raw, "POST", "/v1/chat/completions", long_chat(images[0]))
        wait_until(lambda: running(server) == 1)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.raw("GET", "/health")[0] == 503)
        kept.request("POST", "/v1/chat/completions", json.dumps(long_chat(images[0])),
                     {"Authorization": f"Bearer {KEY}"})
        assert kept.getresponse().status == 503
        status, _, data = long.result()
        assert status == 200 and json.loads(data)["usage"]["completion_tokens"] == 200
        assert server.process.wait(timeout=SECONDS) == 0


def test_log_and_keys_of_a_file(program, stage2, tmp_path):
    keys, log = tmp_path / "keys.txt", tmp_path / "log.jsonl"
    keys.write_text("# ours\nfirst\n\nsecond\n")
    with Server(program, stage2, "--api-key-file", keys, "--log-jsonl", log, key=None) as server:
        for key, status in (("first", 200), ("second", 200), ("# ours", 401), ("third", 401)):
            assert server.raw("GET", "/v1/models", headers={"X-API-Key": key, "X-Request-Id": "r-1"})[0] == status
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert sorted(line["status"] for line in lines) == [200, 200, 401, 401]
    assert all(line["id"] == "r-1" and line["path"] == "/v1/models" for line in lines)


def test_unix_socket(program, stage2, tmp_path):
    path = tmp_path / "s.sock"
    with Server(program, stage2, "--host", f"127.0.0.1,{path}"):
        done = subprocess.run(["curl", "-s", "--unix-socket", path, "http://x/health"], capture_output=True, text=True)
        assert json.loads(done.stdout) == {"status": "ok"}


def test_environment_sets_options(program, stage2):
    env = {**os.environ, "BLIP2_API_KEY": "from-env", "BLIP2_MODEL_NAME": "eyes"}
    with Server(program, stage2, key=None, env=env) as server:
        assert server.raw("GET", "/v1/models")[0] == 401
        [model] = server.json("GET", "/v1/models", headers={"X-API-Key": "from-env"})["data"]
        assert model["id"] == "eyes"


def test_task_caption_answers_every_text_with_a_caption(program, stage2, images, captions):
    with Server(program, stage2, "--task", "caption") as server:
        answer = server.json("POST", "/v1/chat/completions", chat(images[0], "Tell me all!", max_tokens=20))
        assert text_of(answer) == captions[0]["text"]
