"""Runs `blip2 serve` for tests and talks to it with Python's own HTTP client."""

import base64
import http.client
import json
import queue
import re
import subprocess
import threading

KEY = "a-key-for-tests"
SECONDS = 300  # that anything may take, whatever else the machine is doing


class Server:
    """A started server; `url`, `key`, `model` are what clients need. Ends with the context."""

    def __init__(self, program, model, *options, key=KEY, env=None):
        self.model, self.key = model, key
        keys = ["--api-key", key] if key else []
        self.command = [program, "serve", "--model", model, "--port", "0", *keys, *options]
        self.env, self.lines = env, []

    def __enter__(self):
        self.process = subprocess.Popen(list(map(str, self.command)), stderr=subprocess.PIPE, text=True,
                                        env=self.env, cwd="/")
        started = queue.Queue()
        threading.Thread(target=self._read, args=(started,), daemon=True).start()
        self.url = started.get(timeout=SECONDS)
        assert self.url, "".join(self.lines)
        self.port = int(self.url.rsplit(":", 1)[1])
        return self

    def _read(self, started):
        for line in self.process.stderr:
            self.lines.append(line)
            if found := re.search(r"listening on (https?://\S+)", line):
                started.put(found[1])
        started.put(None)

    def __exit__(self, *failure):
        if self.process.poll() is None:
            self.stop()

    def stop(self):
        """Asks it to stop; its exit code."""
        self.process.terminate()
        return self.process.wait(timeout=SECONDS)

    def connection(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)

    def raw(self, method, path, body=None, headers=None):
        """(status, headers, bytes)."""
        connection = self.connection()
        known = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        if isinstance(body, (dict, list)):
            body, known["Content-Type"] = json.dumps(body).encode(), "application/json"
        connection.request(method, path, body, {**known, **(headers or {})})
        response = connection.getresponse()
        data = response.read()
        connection.close()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, data

    def json(self, method, path, body=None, status=200, **more):
        got, _, data = self.raw(method, path, body, **more)
        assert got == status, (got, data[:500])
        return json.loads(data)

    def metric(self, name):
        """A number of /metrics."""
        lines = self.raw("GET", "/metrics")[2].decode().splitlines()
        return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name + " "))

    def events(self, path, body):
        """The JSON objects of a stream of events, the last line without its prefix left out."""
        status, headers, data = self.raw("POST", path, body)
        assert status == 200 and headers["content-type"].startswith("text/event-stream"), data[:500]
        events = data.decode().split("\n\n")
        assert events[-1] == "" and events[-2] == "data: [DONE]"
        return [json.loads(event.removeprefix("data: ")) for event in events[:-2]]


def data_uri(picture):
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()


def chat(picture, text=None, **more):
    """A chat request about a picture; greedy, as the command line with --beams 1."""
    parts = [{"type": "image_url", "image_url": {"url": data_uri(picture)}}]
    if text is not None:
        parts.append({"type": "text", "text": text})
    return {"messages": [{"role": "user", "content": parts}], **more}


def text_of(answer):
    return answer["choices"][0]["message"]["content"]
