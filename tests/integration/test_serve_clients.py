"""The clients that people have, live against `blip2 serve`: what they get is the command line's, byte for byte.

The fixture `server` has url, key and model (the model's directory).
"""

import asyncio
import base64
import json
import os
import pathlib
import subprocess
import sys

import numpy
import pytest
from safetensors.numpy import load_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(os.environ.get("BLIP2_CLIENTS", str(ROOT / ".venv" / "clients")))
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # litellm fetches a list from the network otherwise

import litellm  # noqa: E402
import ollama  # noqa: E402
import openai  # noqa: E402

QUESTION = "what color is it?"
# What the service settles where a request says nothing; the verbs' own defaults differ.
DEFAULTS = ("--max-new-tokens", "30", "--beams", "1", "--length-penalty", "1")
TEXTS = ["a red circle", "a blue square", "two cats on a sofa: the one sleeps"]


@pytest.fixture(scope="module")
def files(pictures):
    return sorted(pictures.glob("*_14.png"))[:8]


@pytest.fixture(scope="module")
def expected(run_json, server, files):
    """expected(verb, *words) is what the command line says of each of the pictures, DEFAULTS first."""
    known = {}

    def call(*words):
        if words not in known:
            lines = run_json(*words, *settled(words), "--model", server.model, *files)
            known[words] = [line.get("text", line.get("answer")) for line in lines]
        return known[words]

    return call


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def name(client):
    """The name under which the server offers its model."""
    (model,) = client.models.list().data
    assert client.models.retrieve(model.id).id == model.id
    return model.id


def data_uri(file):
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()


def look(file, text=None):
    """A user's message of a picture, with a text or without."""
    parts = [{"type": "image_url", "image_url": {"url": data_uri(file)}}]
    return [{"role": "user", "content": parts + ([{"type": "text", "text": text}] if text else [])}]


def settled(words):
    """Those of DEFAULTS that the words of a command do not settle."""
    pairs = zip(DEFAULTS[::2], DEFAULTS[1::2], strict=True)
    return [word for option, value in pairs if option not in words for word in (option, value)]


def vqa(*options):
    return ("vqa", "--question", QUESTION, *options)


# ---- openai ----

def test_captions_by_openai_are_those_of_caption(client, name, files, expected):
    for file, text in zip(files, expected("caption"), strict=True):
        answer = client.chat.completions.create(model=name, messages=look(file))
        assert answer.choices[0].message.content == text
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def test_answers_by_openai_are_those_of_vqa(client, name, files, expected):
    for file, text in zip(files, expected(*vqa()), strict=True):
        answer = client.chat.completions.create(model=name, messages=look(file, QUESTION))
        assert answer.choices[0].message.content == text


@pytest.mark.parametrize("parameters, options", [
    ({"extra_body": {"num_beams": 3}, "max_tokens": 7}, ["--beams", "3", "--max-new-tokens", "7"]),
    ({"extra_body": {"num_beams": 5, "length_penalty": -1}, "max_tokens": 10}, None),  # vqa as it is
    ({"max_completion_tokens": 4}, ["--max-new-tokens", "4"]),
    ({"temperature": 0.8, "top_p": 0.9, "seed": 11, "max_tokens": 12, "extra_body": {"top_k": 20}},
     ["--sample", "--temperature", "0.8", "--top-p", "0.9", "--top-k", "20", "--seed", "11", "--max-new-tokens", "12"]),
])
def test_parameters_of_openai_mean_the_options_of_the_program(client, name, files, run_json, server, parameters, options):
    words = () if options is None else (*options, *settled(options))
    for file in files[:3]:
        (line,) = run_json(*vqa(*words), "--model", server.model, file)
        answer = client.chat.completions.create(model=name, messages=look(file, QUESTION), **parameters)
        assert answer.choices[0].message.content == line["answer"]


def test_a_stream_has_the_words_of_the_whole_answer(client, name, files, expected):
    texts = expected("caption")
    for file, text in zip(files, texts, strict=True):
        stream = client.chat.completions.create(model=name, messages=look(file), stream=True,
                                                stream_options={"include_usage": True})
        chunks = list(stream)
        pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
        assert "".join(pieces) == text
        reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
        whole = client.chat.completions.create(model=name, messages=look(file))
        assert [reason for reason in reasons if reason] == [whole.choices[0].finish_reason]
        assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
        assert whole.usage.completion_tokens < 3 or len([piece for piece in pieces if piece]) > 1


def test_a_short_answer_says_that_it_was_cut(client, name, files):
    answer = client.chat.completions.create(model=name, messages=look(files[0]), max_tokens=1)
    assert answer.usage.completion_tokens == 1
    assert answer.choices[0].finish_reason == "length"


def test_a_stop_string_ends_the_answer_before_itself(client, name, files, expected):
    texts = expected("caption")
    file, text = max(zip(files, texts, strict=True), key=lambda pair: len(pair[1]))
    stop = text[len(text) // 2:][:3]
    answer = client.chat.completions.create(model=name, messages=look(file), stop=[stop])
    assert answer.choices[0].message.content == text[:text.index(stop)]
    assert answer.choices[0].finish_reason == "stop"


def test_log_probabilities_come_with_every_token(client, name, files):
    answer = client.chat.completions.create(model=name, messages=look(files[0]), logprobs=True, top_logprobs=3,
                                            max_tokens=6)
    tokens = answer.choices[0].logprobs.content
    assert len(tokens) == answer.usage.completion_tokens
    for token in tokens:
        assert token.logprob <= 0 and len(token.top_logprobs) == 3
        assert token.top_logprobs[0].logprob == max(other.logprob for other in token.top_logprobs) >= token.logprob


def test_several_turns_are_those_of_chat(client, name, files, run_json, server):
    questions = [QUESTION, "what shape is it?", "are you sure?"]
    lines = run_json("chat", "--no-chat-template", "--model", server.model, files[0], "--beams", "1",
                     input="\n".join(questions) + "\n")
    messages = []
    for question, line in zip(questions, lines, strict=True):
        messages += look(files[0], question) if not messages else [{"role": "user", "content": question}]
        answer = client.chat.completions.create(model=name, messages=messages)
        assert answer.choices[0].message.content == line["answer"]
        messages.append({"role": "assistant", "content": line["answer"]})


def test_many_at_once_by_the_async_client(server, name, files, expected):
    texts = expected(*vqa())

    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as many:
            calls = [many.chat.completions.create(model=name, messages=look(file, QUESTION)) for file in files * 3]
            return [answer.choices[0].message.content for answer in await asyncio.gather(*calls)]

    assert asyncio.run(ask()) == texts * 3


def test_a_stream_that_the_async_client_leaves_does_not_hold_the_server(server, client, name, files, expected):
    async def leave():
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as many:
            for file in files:
                async with await many.chat.completions.create(model=name, messages=look(file), stream=True) as stream:
                    async for _ in stream:
                        break

    asyncio.run(leave())
    answer = client.chat.completions.create(model=name, messages=look(files[0], QUESTION))
    assert answer.choices[0].message.content == expected(*vqa())[0]


# ---- vectors and scores ----

@pytest.fixture(scope="module")
def vectors(run, server, files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("vectors")
    (folder / "texts.txt").write_text("\n".join(TEXTS) + "\n")
    run("embed", "--model", server.model, "--texts", folder / "texts.txt", "--output", folder / "v.safetensors", *files)
    return load_file(folder / "v.safetensors")


def test_vectors_by_openai_are_those_of_embed(client, name, vectors):
    as_base64 = client.embeddings.create(model=name, input=TEXTS)  # the client asks for base64 by itself
    as_numbers = client.embeddings.create(model=name, input=TEXTS, encoding_format="float")
    for row, ours, numbers in zip(vectors["text_embeds"], as_base64.data, as_numbers.data, strict=True):
        assert numpy.array_equal(numpy.float32(ours.embedding), numpy.float32(numbers.embedding))
        assert numpy.allclose(ours.embedding, row, rtol=0, atol=1e-6)
    one = client.embeddings.create(model=name, input=TEXTS[1])
    assert numpy.allclose(one.data[0].embedding, vectors["text_embeds"][1], rtol=0, atol=1e-6)


def test_pictures_have_vectors_in_both_shapes(client, name, files, vectors):
    means = vectors["image_embeds"].mean(axis=1)  # of a picture's queries
    means /= numpy.linalg.norm(means, axis=1, keepdims=True)
    listed = client.embeddings.create(model=name, input=[{"content": look(file)[0]["content"]} for file in files])
    assert [entry.index for entry in listed.data] == list(range(len(files)))
    for file, mean, entry in zip(files, means, listed.data, strict=True):
        vector = numpy.float32(entry.embedding)
        assert numpy.allclose(vector, mean, rtol=0, atol=1e-5)
        alone = client.post("/embeddings", body={"model": name, "messages": look(file)}, cast_to=openai.types.CreateEmbeddingResponse)
        assert numpy.array_equal(numpy.float32(alone.data[0].embedding), vector)


def test_scores_are_those_of_match(server, name, files, run_json):
    flags = [word for text in TEXTS for word in ("--text", text)]
    lines = run_json("match", "--model", server.model, *flags, files[0])
    picture = {"content": look(files[0])[0]["content"]}
    answer = curl(server, "/v1/score", {"model": name, "text_1": picture, "text_2": TEXTS})
    for line, entry in zip(lines, answer["data"], strict=True):
        assert abs(entry["itm"] - line["itm"]) < 1e-6 and abs(entry["itc"] - line["itc"]) < 1e-6
        assert entry["score"] == entry["itm"]
    ranked = curl(server, "/v1/rerank", {"model": name, "query": picture, "documents": TEXTS})["results"]
    best_first = sorted(range(len(TEXTS)), key=lambda index: -lines[index]["itm"])
    assert [entry["index"] for entry in ranked] == best_first


# ---- errors, as the client sees them ----

def test_a_wrong_key_is_an_authentication_error(server, name, files):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="wrong", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError):
            stranger.models.list()
        with pytest.raises(openai.AuthenticationError):
            stranger.chat.completions.create(model=name, messages=look(files[0]))
        with pytest.raises(openai.AuthenticationError):
            stranger.embeddings.create(model=name, input="a cat")


@pytest.mark.parametrize("kind, changes", [
    (openai.NotFoundError, {"model": "another-model"}),
    (openai.BadRequestError, {"n": 10_000}),
    (openai.BadRequestError, {"max_tokens": -1}),
    (openai.BadRequestError, {"temperature": -0.5}),
    (openai.BadRequestError, {"messages": []}),
])
def test_bad_parameters_are_bad_requests(client, name, files, kind, changes):
    with pytest.raises(kind) as caught:
        client.chat.completions.create(**{"model": name, "messages": look(files[0]), **changes})
    assert caught.value.body["message"]


@pytest.mark.parametrize("url, word", [
    ("data:image/gif;base64," + base64.b64encode(b"GIF89a" + bytes(40)).decode(), "GIF"),
    ("data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode(), "PNG"),
    ("data:image/png;base64,@@@@", "base64"),
    ("https://example.com/a.png", "other hosts"),
    ("http://169.254.169.254/latest/meta-data", "plain http"),
    ("file:///etc/passwd", "its own files"),
])
def test_pictures_that_cannot_be_read_are_bad_requests(client, name, url, word):
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": QUESTION}]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=name, messages=[{"role": "user", "content": parts}])
    assert word.lower() in caught.value.body["message"].lower()


# ---- ollama ----

@pytest.fixture(scope="module")
def ollama_client(server):
    return ollama.Client(host=server.url, headers={"Authorization": f"Bearer {server.key}"})


def test_ollama_knows_the_model(ollama_client, name):
    (model,) = ollama_client.list().models
    assert model.model.removesuffix(":latest") == name
    assert "vision" in ollama_client.show(model.model).capabilities


def test_ollama_captions_and_answers(ollama_client, name, files, expected):
    for file, caption, answer in zip(files[:4], expected("caption")[:4], expected(*vqa())[:4], strict=True):
        assert ollama_client.generate(model=name, images=[str(file)]).response == caption
        assert ollama_client.generate(model=name, prompt=QUESTION, images=[file.read_bytes()]).response == answer
        message = {"role": "user", "content": QUESTION, "images": [str(file)]}
        assert ollama_client.chat(model=name, messages=[message]).message.content == answer


def test_ollama_streams(ollama_client, name, files, expected):
    short = {"num_predict": 20}
    text = expected("caption", "--max-new-tokens", "20")[0]
    lines = list(ollama_client.generate(model=name, images=[str(files[0])], stream=True, options=short))
    assert "".join(line.response for line in lines) == text
    assert [line.done for line in lines] == [False] * (len(lines) - 1) + [True]
    assert lines[-1].eval_count > 0 and lines[-1].done_reason in ("stop", "length")
    message = {"role": "user", "content": QUESTION, "images": [str(files[0])]}
    parts = list(ollama_client.chat(model=name, messages=[message], stream=True, options=short))
    assert "".join(part.message.content for part in parts) == expected(*vqa("--max-new-tokens", "20"))[0]


def test_photoprism_gets_a_caption(server, name, files):
    """The members that PhotoPrism's Ollama engine sends (internal/ai/vision/api_request.go)."""
    picture = base64.b64encode(files[0].read_bytes()).decode()
    body = {"id": "b4f0a6e8-6c0a-4d0e-9a51-0d2f3c6c1a11", "model": f"{name}:latest", "suffix": "", "stream": False,
            "prompt": "Create a caption with exactly one sentence.", "options": {"temperature": 0.1}, "images": [picture]}
    answer = curl(server, "/api/generate", body)
    assert answer["done"] is True and isinstance(answer["response"], str) and answer["model"]


def test_many_at_once_by_ollamas_async_client(server, name, files, expected):
    async def ask():
        many = ollama.AsyncClient(host=server.url, headers={"Authorization": f"Bearer {server.key}"})
        calls = [many.generate(model=name, prompt=QUESTION, images=[str(file)]) for file in files]
        return [answer.response for answer in await asyncio.gather(*calls)]

    assert asyncio.run(ask()) == expected(*vqa())


def test_ollamas_errors_say_what_is_wrong(server, ollama_client, files):
    with pytest.raises(ollama.ResponseError) as caught:
        ollama_client.generate(model="another-model", images=[str(files[0])])
    assert caught.value.status_code == 404 and "another-model" in caught.value.error
    with pytest.raises(ollama.ResponseError) as caught:
        ollama.Client(host=server.url).list()
    assert caught.value.status_code == 401


# ---- litellm ----

def test_litellm_as_a_client_of_openais_shape(server, name, files, expected):
    where = {"api_base": f"{server.url}/v1", "api_key": server.key}
    for file, text in zip(files[:3], expected(*vqa())[:3], strict=True):
        answer = litellm.completion(model=f"openai/{name}", messages=look(file, QUESTION), **where)
        assert answer.choices[0].message.content == text
    stream = litellm.completion(model=f"openai/{name}", messages=look(files[0]), stream=True,
                                extra_body={"num_beams": 1}, **where)
    pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
    assert "".join(pieces) == expected("caption")[0]


def test_litellm_asks_for_vectors(server, name, vectors):
    answer = litellm.embedding(model=f"openai/{name}", input=TEXTS, api_base=f"{server.url}/v1", api_key=server.key)
    for row, entry in zip(vectors["text_embeds"], answer.data, strict=True):
        assert numpy.allclose(entry["embedding"], row, rtol=0, atol=1e-6)


def test_litellm_tells_the_kind_of_an_error(server, name, files):
    with pytest.raises(litellm.AuthenticationError):
        litellm.completion(model=f"openai/{name}", messages=look(files[0]), api_base=f"{server.url}/v1", api_key="wrong")


# ---- curl ----

def curl(server, path, body, *options, key=None):
    """The JSON that curl gets for a body that it reads from standard input."""
    done = subprocess.run(
        ["curl", "-sS", "--max-time", "300", f"{server.url}{path}", "-H", f"Authorization: Bearer {key or server.key}",
         "-H", "Content-Type: application/json", "--data-binary", "@-", *options],
        input=json.dumps(body), capture_output=True, text=True, check=True)
    return json.loads(done.stdout) if not options else done.stdout


def test_curl_asks(server, name, files, expected):
    answer = curl(server, "/v1/chat/completions", {"model": name, "messages": look(files[0], QUESTION)})
    assert answer["choices"][0]["message"]["content"] == expected(*vqa())[0]


def test_curl_streams(server, name, files, expected):
    body = {"model": name, "messages": look(files[0]), "stream": True}
    lines = curl(server, "/v1/chat/completions", body, "-N").splitlines()
    events = [line.removeprefix("data: ") for line in lines if line]
    assert events[-1] == "[DONE]" and all(line.startswith("data: ") for line in lines if line)
    deltas = [json.loads(event)["choices"][0]["delta"].get("content", "") for event in events[:-1]]
    assert "".join(deltas) == expected("caption")[0]


def test_curl_needs_the_key_everywhere_but_for_health(server):
    def status(path, *options):
        return subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"{server.url}{path}", *options],
                              capture_output=True, text=True, check=True).stdout

    assert status("/health") == "200"
    for path in ("/v1/models", "/metrics", "/api/tags", "/v1/chat/completions", "/api/show", "/tokenize"):
        assert status(path, *([] if path in ("/v1/models", "/metrics", "/api/tags") else ["-d", "{}"])) == "401", path
    assert status("/metrics", "-H", f"Authorization: Bearer {server.key}") == "200"
