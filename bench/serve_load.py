"""Load on `blip2 serve`: throughput, waiting, overload, hostile connections, equality and soak.

    bench/serve_load.py --model DIR --images FOLDER [--program build/blip2] [throughput steady
        overload connections equality soak]

Prints one JSON object a measurement. The client is a process of its own, without packages, so that
it takes little of the two cores that the server has.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import pathlib
import random
import re
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests" / "hostile"))
from hostile_requests import CASES, raw_bytes  # noqa: E402

TOKENS = 20


class Connection:
    """One kept-alive connection of HTTP/1.1."""

    def __init__(self, port):
        self.port, self.reader, self.writer = port, None, None

    async def open(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)

    def close(self):
        if self.writer:
            self.writer.close()
        self.reader = self.writer = None

    async def request(self, method, path, body=None):
        """(status, headers, body, seconds to the first byte of the body, seconds to the end)."""
        if self.writer is None:
            await self.open()
        data = b"" if body is None else json.dumps(body).encode()
        begin = time.monotonic()
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        self.writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        try:
            status, headers = await self.head()
            body, first = await self.body(headers)
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            raise
        if headers.get("connection", "").lower() == "close":
            self.close()
        return status, headers, body, first - begin, time.monotonic() - begin

    async def head(self):
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.split(":", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), {name.lower(): value.strip() for name, value in pairs}

    async def body(self, headers):
        if headers.get("transfer-encoding", "").lower() != "chunked":
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
            return body, time.monotonic()
        body, first = b"", None
        while True:
            size = int((await self.reader.readline()).split(b";")[0], 16)
            body += (await self.reader.readexactly(size + 2))[:-2]
            if b'"content":"' in body or size == 0:
                first = first or time.monotonic()
            if size == 0:
                return body, first


class Server:
    """`blip2 serve` on a free port, as a context."""

    def __init__(self, arguments, *options):
        self.command = [arguments.program, "serve", "--model", arguments.model, "--port", "0", *options]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE, text=True, bufsize=1)
        for line in self.process.stderr:
            if found := re.search(r"listening on http://[^ ]*:(\d+)", line):
                self.port = int(found[1])
                return self
        raise SystemExit(f"{self.command}: did not start")

    def __exit__(self, *failure):
        self.process.terminate()
        self.process.communicate(timeout=60)

    def resident(self):
        """MB of memory."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def handles(self):
        return len(list(pathlib.Path(f"/proc/{self.process.pid}/fd").iterdir()))


def asked(picture, **more):
    """A chat request that writes TOKENS tokens about a picture."""
    data = "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()
    return {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": data}}]}],
            "max_tokens": TOKENS, "min_tokens": TOKENS, "temperature": 0, **more}


def share(sorted_values, part):
    return sorted_values[min(len(sorted_values) - 1, int(part * len(sorted_values)))]


def milliseconds(values, part):
    return round(1000 * share(sorted(values), part), 1)


async def one_each(port, bodies):
    """Sends every body on a connection of its own, all at once."""
    connections = [Connection(port) for _ in bodies]
    for connection in connections:
        await connection.open()
    results = await asyncio.gather(*(c.request("POST", "/v1/chat/completions", b)
                                     for c, b in zip(connections, bodies)))
    for connection in connections:
        connection.close()
    return results


async def watch(port, path, seconds_of, stop):
    connection = Connection(port)
    while not stop.is_set():
        status, _, _, _, seconds = await connection.request("GET", path)
        assert status == 200, status
        seconds_of.append(seconds)
        await asyncio.sleep(0.02)
    connection.close()


async def throughput(server, pictures):
    warm = Connection(server.port)
    await warm.request("POST", "/v1/chat/completions", asked(pictures[-1]))
    alone = []
    begin = time.monotonic()
    for picture in pictures[:32]:
        *_, first, _ = await warm.request("POST", "/v1/chat/completions", asked(picture, stream=True))
        alone.append(first)
    serial = time.monotonic() - begin
    health, metrics, stop = [], [], asyncio.Event()
    watchers = [asyncio.create_task(watch(server.port, "/health", health, stop)),
                asyncio.create_task(watch(server.port, "/metrics", metrics, stop))]
    begin = time.monotonic()
    results = await one_each(server.port, [asked(p, stream=True) for p in pictures[32:64]])
    together = time.monotonic() - begin
    stop.set()
    await asyncio.gather(*watchers)
    assert all(result[0] == 200 for result in results)
    firsts = [result[3] for result in results]
    return {"one_after_the_other_s": round(serial, 2), "together_s": round(together, 2),
            "times": round(serial / together, 2),
            "tokens_per_second": round(32 * TOKENS / together, 1),
            "first_token_alone_ms": milliseconds(alone, 0.5), "first_token_p50_ms": milliseconds(firsts, 0.5),
            "health_p99_ms": milliseconds(health, 0.99), "metrics_p99_ms": milliseconds(metrics, 0.99)}


def command_line(arguments, pictures):
    """Seconds of `caption --batch-size 32` for 32 pictures, without the time to load the model (and to
    write one token about one picture)."""
    def run(some, tokens):
        begin = time.monotonic()
        subprocess.run([arguments.program, "caption", "--model", arguments.model, "--beams", "1",
                        "--max-new-tokens", str(tokens), "--min-new-tokens", str(tokens),
                        "--batch-size", "32", *some], check=True, capture_output=True)
        return time.monotonic() - begin
    return min(run(pictures[32:64], TOKENS) for _ in range(2)) - min(run(pictures[:1], 1) for _ in range(2))


async def keep_asking(port, pictures, end, results):
    connection = Connection(port)
    while time.monotonic() < end:
        try:
            status, headers, _, _, seconds = await connection.request(
                "POST", "/v1/chat/completions", asked(random.choice(pictures)))
        except (OSError, asyncio.IncompleteReadError):
            status, headers, seconds = 0, {}, 0
        results.append((status, seconds))
        if status == 429:
            await asyncio.sleep(random.uniform(0.5, 1.5) * float(headers.get("retry-after", 1)))
    connection.close()


async def keep_streaming(port, pictures, end, firsts):
    connection = Connection(port)
    while time.monotonic() < end:
        status, _, _, first, _ = await connection.request(
            "POST", "/v1/chat/completions", asked(random.choice(pictures), stream=True))
        assert status == 200, status
        firsts.append(first)
    connection.close()


async def steady(server, pictures, seconds=20):
    """One client that asks all the time, then 32 of them: answers a second, first tokens."""
    result = {}
    for clients in (1, 32):
        firsts, end = [], time.monotonic() + seconds
        await asyncio.gather(*(keep_streaming(server.port, pictures, end, firsts) for _ in range(clients)))
        result[f"answers_per_second_{clients}"] = round(len(firsts) / (time.monotonic() - end + seconds), 2)
        result[f"first_token_p50_ms_{clients}"] = milliseconds(firsts, 0.5)
    return result


async def load(server, pictures, clients, seconds):
    """Requests that ended well a second, and all results, of `clients` that ask all the time."""
    results, end = [], time.monotonic() + seconds
    await asyncio.gather(*(keep_asking(server.port, pictures, end, results) for _ in range(clients)))
    return sum(status == 200 for status, _ in results) / seconds, results


async def overload(server, pictures, seconds):
    peak, _ = await load(server, pictures, 32, 20)
    before = server.resident()
    goodput, results = await load(server, pictures, 320, seconds)
    refused = [s for status, s in results if status == 429]
    others = sorted({status for status, _ in results} - {200, 429})
    return {"peak_per_second": round(peak, 2), "goodput_per_second": round(goodput, 2),
            "share": round(goodput / peak, 3), "refused": len(refused),
            "refused_p99_ms": milliseconds(refused, 0.99) if refused else None, "other_statuses": others,
            "memory_mb": [round(before), round(server.resident())]}


async def slow_connection(port, stop):
    """Sends a header byte by byte."""
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        for byte in b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 1000:
            if stop.is_set():
                break
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(2)
        writer.close()


async def timed_requests(port, pictures, count):
    connection, seconds = Connection(port), []
    for picture in pictures[:count]:
        seconds.append((await connection.request("POST", "/v1/chat/completions", asked(picture)))[-1])
    connection.close()
    return seconds


async def open_and_drop(port, count):
    for _ in range(count):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()


async def connections(server, pictures):
    alone = await timed_requests(server.port, pictures, 20)
    stop = asyncio.Event()
    slow = [asyncio.create_task(slow_connection(server.port, stop)) for _ in range(1000)]
    await asyncio.sleep(1)
    beside_slow, handles = await timed_requests(server.port, pictures[20:], 20), server.handles()
    stop.set()
    dropping = asyncio.create_task(open_and_drop(server.port, 10000))
    beside_drops = await timed_requests(server.port, pictures[40:], 20)
    await dropping
    await asyncio.gather(*slow)
    await asyncio.sleep(1)
    return {"alone_p99_ms": milliseconds(alone, 0.99), "beside_1000_slow_p99_ms": milliseconds(beside_slow, 0.99),
            "beside_10000_dropped_p99_ms": milliseconds(beside_drops, 0.99),
            "handles_with_slow": handles, "handles_after": server.handles()}


async def equality(server, arguments, pictures):
    """500 requests in random batches against the command line."""
    some = pictures[:100]
    done = subprocess.run([arguments.program, "caption", "--model", arguments.model, "--beams", "1",
                           "--json", *some], check=True, capture_output=True, text=True)
    expected = [json.loads(line)["text"] for line in done.stdout.splitlines()]
    wanted = [random.randrange(len(some)) for _ in range(500)]
    body = {"max_tokens": 30, "min_tokens": 0}
    differing = 0
    while wanted:
        batch = [wanted.pop() for _ in range(min(len(wanted), random.randint(1, 32)))]
        results = await one_each(server.port, [asked(some[i], **body) for i in batch])
        for i, (status, _, answer, *_) in zip(batch, results):
            text = json.loads(answer)["choices"][0]["message"]["content"] if status == 200 else None
            differing += text != expected[i]
    return {"requests": 500, "differing": differing}


def hostile_cases():
    """Those of the tests that a server without a key refuses, as bytes, with the right statuses."""
    cases = [(raw_bytes(case), case.status) for case in CASES if case.status != (401,)]
    return [(data, status) for data, status in cases if len(data) < 1 << 20]


async def send_raw(port, data):
    """The status of the answer; None if the connection was closed without one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    with contextlib.suppress(ConnectionError):
        writer.write(data)
        answer = await asyncio.wait_for(reader.read(), 120)
    writer.close()
    return int(answer.split()[1]) if answer else None


async def leave_early(port, picture):
    """A client that goes away before its answer has come."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps(asked(picture, stream=random.random() < 0.5)).encode()
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    await asyncio.sleep(random.uniform(0, 0.5))
    writer.close()


async def one_of_all_kinds(connection, pictures, hostile):
    """Sends a request of a random kind, 5 in 100 of them hostile; what became of it."""
    kind, picture = random.random(), random.choice(pictures)
    if kind < 0.05:
        data, right = random.choice(hostile)
        status = await send_raw(connection.port, data)
        return "refused" if status in right else f"{status} instead of {right}: {data[:200]}"
    if kind < 0.1:
        await leave_early(connection.port, picture)
        return "left"
    if kind < 0.2:
        texts = ["a dog", "a red circle", "a house"]
        body = {"text_1": asked(picture)["messages"][0], "text_2": texts}
        return (await connection.request("POST", "/v1/score", body))[0]
    if kind < 0.3:
        return (await connection.request("POST", "/v1/embeddings", {"input": ["a dog"]}))[0]
    return (await connection.request("POST", "/v1/chat/completions", asked(picture, stream=kind < 0.6)))[0]


async def soak_client(port, pictures, hostile, end, pause, counts):
    connection = Connection(port)
    while time.monotonic() < end:
        try:
            outcome = await one_of_all_kinds(connection, pictures, hostile)
        except (OSError, asyncio.IncompleteReadError):
            connection.close()
            outcome = "lost"
        counts[outcome] = counts.get(outcome, 0) + 1
        await asyncio.sleep(random.uniform(0, 2 * pause))
    connection.close()


async def soak(server, pictures, minutes, pause):
    counts, memory, hostile = {}, [], hostile_cases()
    begin = time.monotonic()
    end = begin + 60 * minutes
    clients = [asyncio.create_task(soak_client(server.port, pictures, hostile, end, pause, counts))
               for _ in range(16)]
    while time.monotonic() < end:
        await asyncio.sleep(min(30, 6 * minutes))
        memory.append((time.monotonic() - begin, server.resident()))
    await asyncio.gather(*clients)
    late = [(at, megabytes) for at, megabytes in memory if at > 60 * min(5, minutes / 5)]
    slope = statistics.linear_regression(*zip(*late)).slope * 60 if len(late) > 1 else None
    return {"minutes": minutes, "outcomes": counts, "requests_per_second": round(sum(counts.values()) / 60 / minutes, 2),
            "memory_mb": [round(m) for _, m in memory], "mb_a_minute_later": slope and round(slope, 3)}


def measure(name, arguments, pictures):
    options = ["--max-queue", "64"] if name == "overload" else ["--max-queue", "512"]
    options += ["--cache-mib", str(arguments.cache_mib), "--model-name", "blip2"]  # as the hostile requests call it
    with Server(arguments, *options) as server:
        if name == "throughput":
            result = asyncio.run(throughput(server, pictures))
        elif name == "steady":
            result = asyncio.run(steady(server, pictures))
        elif name == "overload":
            result = asyncio.run(overload(server, pictures, arguments.seconds))
        elif name == "connections":
            result = asyncio.run(connections(server, pictures))
        elif name == "equality":
            result = asyncio.run(equality(server, arguments, pictures))
        else:
            result = asyncio.run(soak(server, pictures, arguments.minutes, arguments.pause))
    if name == "throughput":
        result["caption_batch_32_s"] = round(command_line(arguments, pictures), 2)
        result["against_caption"] = round(result["caption_batch_32_s"] / result["together_s"], 2)
    return {"measure": name, **result}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", required=True, type=pathlib.Path)
    parser.add_argument("--program", default=ROOT / "build" / "blip2")
    parser.add_argument("--seconds", type=float, default=120, help="of overload")
    parser.add_argument("--minutes", type=float, default=30, help="of soak")
    parser.add_argument("--pause", type=float, default=0, help="mean seconds between two requests of a client of soak")
    parser.add_argument("--cache-mib", type=int, default=256, help="of the server; with 8 its cache is soon full")
    parser.add_argument("measures", nargs="*", default=["throughput"])
    arguments = parser.parse_args()
    random.seed(1)
    pictures = sorted(arguments.images.glob("*.png"))
    random.shuffle(pictures)
    if len(pictures) < 100:
        sys.exit(f"{arguments.images}: expected at least 100 PNG pictures")
    for name in arguments.measures:
        print(json.dumps(measure(name, arguments, pictures)), flush=True)


if __name__ == "__main__":
    main()
