"""Hostile requests: each gets a refusal that names what is wrong, in a tenth of a second; the parsers
alone, by their probe, and then the server."""

import json
import os
import pathlib
import socket
import subprocess
import time
import urllib.parse

import pytest
from hostile_requests import CASES, CHAT, DETOKENIZE, EMBEDDINGS, GENERATE, GOOD_PNG, raw_bytes, uri

ROOT = pathlib.Path(__file__).resolve().parents[2]
TRIES = 5
ENOUGH = 150


def bound(size):
    """Seconds of the processor for a refusal of so many bytes, most of which have to be read first."""
    return max(0.1, size / 5e6)


@pytest.fixture(scope="module")
def refusals():
    """For each case that the parsers decide: status, microseconds of the processor, body."""
    probe = pathlib.Path(os.environ.get("BLIP2_BUILD", ROOT / "build")) / "probe/protocols"
    cases = [case for case in CASES if case.parser_decides]
    frames = b"".join(f"{case.path}\t{case.content_type}\t{len(case.body)}\n".encode() + case.body for case in cases)
    done = subprocess.run([probe], input=frames, capture_output=True, timeout=120, check=True)
    lines = [line.split(" ", 2) for line in done.stdout.decode().splitlines()]
    return {case.name: (int(status), int(spent), json.loads(body))
            for case, (status, spent, body) in zip(cases, lines, strict=True)}


def message_of(body):
    error = body["error"]
    return error if isinstance(error, str) else error["message"]


def test_there_are_enough():
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) >= ENOUGH


@pytest.mark.parametrize("case", [case for case in CASES if case.parser_decides], ids=lambda case: case.name)
def test_parsers_refuse(refusals, case):
    status, spent, body = refusals[case.name]
    assert status in case.status, body
    message = message_of(body)
    assert 5 < len(message) < 500
    for text in case.says:
        assert text.lower() in message.lower()
    if not case.path.startswith("/api/"):
        assert body["error"]["type"] == "invalid_request_error"
        assert set(body["error"]) == {"message", "type", "param", "code"}
    assert spent < 1e6 * bound(len(case.body))


def exchange(url, payload):
    """The status and body of the answer; (None, b"") if the server closed the connection unanswered."""
    parts = urllib.parse.urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
        try:
            connection.sendall(payload)
        except OSError:
            pass  # refused before it had read everything
        answer = b""
        try:
            while piece := connection.recv(1 << 16):
                answer += piece
        except OSError:
            pass
    if not answer:
        return None, b""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def processor_seconds(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_server_refuses(server, case):
    """Every answer is right, and one of a few takes no longer than it may: the machine may be busy."""
    payload = raw_bytes(case, key=server.key)
    if not server.key and case.status == (401,):
        pytest.skip("this server has no key")
    for _ in range(TRIES):
        begin, before = time.monotonic(), processor_seconds(server.process)
        status, body = exchange(server.url, payload)
        computed, waited = processor_seconds(server.process) - before, time.monotonic() - begin
        assert status in case.status, (status, body[:300])
        for text in case.says if status == 400 else ():
            assert text.lower().encode() in body.lower()
        if computed < bound(len(payload)) and waited < 8:  # at once: a header may take 10 s
            return
    pytest.fail(f"{computed} s of the processor, {waited} s in all")


@pytest.mark.parametrize("path, body", [
    (CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": uri(GOOD_PNG)}]}]}),
    (GENERATE, {"model": "blip2", "prompt": "x", "images": [uri(GOOD_PNG)], "stream": False}),
    (EMBEDDINGS, {"input": ["x", uri(GOOD_PNG)]}),
    (DETOKENIZE, {"tokens": [1, 2]}),
])
def test_parsers_take_good_requests(path, body):
    """So that the refusals are not refusals of everything."""
    probe = pathlib.Path(os.environ.get("BLIP2_BUILD", ROOT / "build")) / "probe/protocols"
    text = json.dumps(body).encode()
    done = subprocess.run([probe], input=f"{path}\tapplication/json\t{len(text)}\n".encode() + text,
                          capture_output=True, timeout=60, check=True)
    assert done.stdout.startswith(b"200 ")
