"""Requests that the clients themselves make, read by the parsers; answers read by the clients' types.

Each client talks to a small server that hands requests to the probe, so that nothing of the shape of
either is written down here."""

import asyncio
import base64
import json
import os
import pathlib
import struct
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import ollama
import openai
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BLIP2_BUILD", ROOT / "build"))
# A grey PNG of 1 x 1 pixels.
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==")
URI = "data:image/png;base64," + base64.b64encode(PNG).decode()
PICTURE = {"type": "image_url", "image_url": {"url": URI, "detail": "low"}}


def probe(path, kind, body):
    """The status and the JSON that the probe prints."""
    frame = f"{path}\t{kind}\t{len(body)}\n".encode() + body
    done = subprocess.run([BUILD / "probe/protocols"], input=frame, capture_output=True, timeout=120, check=True)
    status, _, text = done.stdout.decode().partition(" ")
    return int(status), json.loads(text.partition(" ")[2])


class Handler(BaseHTTPRequestHandler):
    def answer(self, body):
        status, said = probe(self.path, self.headers.get("Content-Type", ""), body)
        text = said["answer"] if status == 200 else json.dumps(said)
        self.server.requests.append(said.get("request"))
        stream = text.startswith("data: ")
        self.send_response(status)
        self.send_header("Content-Type", "text/event-stream" if stream else "application/json")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def do_GET(self):
        self.answer(b"{}")

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def peer():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()


@pytest.fixture
def client(peer):
    peer.requests.clear()
    return openai.OpenAI(base_url=peer.url + "/v1", api_key="k", max_retries=0)


@pytest.fixture
def llama(peer):
    peer.requests.clear()
    return ollama.Client(host=peer.url)


def ask(client, **more):
    content = [{"type": "text", "text": "What is it?"}, PICTURE]
    return client.chat.completions.create(model="demo", messages=[{"role": "user", "content": content}], **more)


def test_openai_chat(peer, client):
    answer = ask(client, max_completion_tokens=7, temperature=0, seed=3, stop=["x"], user="u", n=1)
    assert peer.requests[0]["turns"] == [["user", ["What is it?", {"bytes": len(PNG), "url": ""}]]]
    assert peer.requests[0]["settings"] == {"max_new_tokens": 7, "sample": False, "seed": 3}
    assert peer.requests[0]["stop"] == ["x"]
    assert answer.choices[0].message.content == "a cat"
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.total_tokens == 15
    assert answer.usage.prompt_tokens_details.cached_tokens == 3
    type(answer).model_validate(answer.model_dump(), strict=True)


def test_openai_logprobs_and_several_answers(client):
    answer = ask(client, n=3, logprobs=True, top_logprobs=2, temperature=0.5)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    token = answer.choices[0].logprobs.content[0]
    assert (token.token, token.logprob, bytes(token.bytes)) == ("a", -0.25, b"a")
    assert [top.token for top in token.top_logprobs] == ["a", "the"]


def test_openai_stream(client):
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}, logprobs=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "a cat"
    assert [c.choices[0].finish_reason for c in chunks if c.choices] == [None, None, "length"]
    assert chunks[1].choices[0].logprobs.content[1].token == " cat"
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 5
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_openai_async(peer):
    async def call():
        client = openai.AsyncOpenAI(base_url=peer.url + "/v1", api_key="k")
        return [chunk async for chunk in await ask(client, stream=True)]

    assert len(asyncio.run(call())) == 3


def test_openai_errors_and_extensions(peer, client):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, max_tokens=2**31)
    assert caught.value.param == "max_tokens" and caught.value.code == "invalid_value"
    assert caught.value.type == "invalid_request_error" and "2147483648" in str(caught.value)
    ask(client, extra_body={"num_beams": 3, "no_repeat_ngram_size": 2, "repetition_penalty": 1.2, "top_k": 5})
    assert peer.requests[-1]["settings"] == {"beams": 3, "no_repeat_ngram_size": 2, "repetition_penalty": 1.2,
                                             "sample": True, "top_k": 5}
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    with pytest.raises(openai.BadRequestError, match="tools"):
        ask(client, tools=tools)


def test_openai_embeddings(client):
    expected = [0.1, -0.25, 3e-8]
    expected = list(struct.unpack("<3f", struct.pack("<3f", *expected)))
    binary = client.embeddings.create(model="demo", input=["a", "b"])  # asks for base64
    assert [list(entry.embedding) for entry in binary.data] == [expected] * 2
    numbers = client.embeddings.create(model="demo", input="a", encoding_format="float")
    assert struct.pack("<3f", *numbers.data[0].embedding) == struct.pack("<3f", *expected)
    assert numbers.usage.prompt_tokens == 10
    with pytest.raises(openai.BadRequestError, match="token ids"):
        client.embeddings.create(model="demo", input=[1, 2])


def test_openai_models(client):
    model = client.models.list().data[0]
    assert model.id == "demo" and model.architecture["input_modalities"] == ["text", "image"]


def test_ollama_generate(peer, llama):
    options = {"temperature": 0, "num_predict": 9, "stop": ["x"], "num_ctx": 512}
    answer = llama.generate("demo", "What is it?", images=[PNG], system="Be brief.", options=options, keep_alive="5m")
    assert peer.requests[0]["turns"] == [["system", ["Be brief."]],
                                         ["user", [{"bytes": len(PNG), "url": ""}, "What is it?"]]]
    assert peer.requests[0]["settings"] == {"max_new_tokens": 9, "sample": False}
    assert (answer.response, answer.done, answer.done_reason) == ("a cat", True, "length")
    assert (answer.prompt_eval_count, answer.eval_count, answer.total_duration) == (10, 5, 4000)
    assert answer.created_at == "2026-11-30T00:53:20.000000005Z"


def test_ollama_streams(llama):
    lines = list(llama.generate("demo", "a", stream=True, logprobs=True))
    assert "".join(line.response for line in lines) == "a cat"
    assert [line.done for line in lines] == [False, True]
    assert lines[0].logprobs[0].top_logprobs[1].token == "the"
    message = {"role": "user", "content": "a", "images": [PNG]}
    lines = list(llama.chat("demo", [message], stream=True))
    assert "".join(line.message.content for line in lines) == "a cat"


def test_ollama_chat(peer, llama):
    history = [{"role": "user", "content": "a", "images": [PNG]}, {"role": "assistant", "content": "b"},
               {"role": "user", "content": "c"}]
    answer = llama.chat("demo", history)
    assert [turn[0] for turn in peer.requests[0]["turns"]] == ["user", "assistant", "user"]
    assert answer.message.content == "a cat" and answer.message.role == "assistant"
    with pytest.raises(ollama.ResponseError, match="format") as caught:
        llama.chat("demo", history, format="json")
    assert caught.value.status_code == 400


def test_ollama_describes(llama):
    entry = llama.list().models[0]
    assert entry.model == "demo" and entry.details.parameter_size == "200M" and entry.size == 400_000_000
    shown = llama.show("demo")
    assert shown.capabilities == ["completion", "vision", "embedding"]
    assert shown.modelinfo["blip-2.context_length"] == 2048
    assert llama.ps().models[0].context_length == 2048
    assert llama.generate("demo").done_reason == "load"


def test_curl_without_a_content_type(peer):
    """As Ollama's documents have it: curl -d sends its own type."""
    body = json.dumps({"model": "demo", "prompt": "a", "stream": False})
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert httpx.post(peer.url + "/api/generate", content=body, headers=form).json()["response"] == "a cat"
    assert httpx.post(peer.url + "/v1/chat/completions", content=body, headers=form).status_code == 415
