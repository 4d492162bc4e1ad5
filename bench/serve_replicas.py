"""Kills one of two replicas of `blip2 serve` behind nginx under load, and counts what is lost.

    .venv/bin/python bench/serve_replicas.py --model build/demo/model

Needs nginx (Debian: nginx-light); uses docs/serve/nginx.conf with ports of its own. Half of the clients
read whole answers, half of them streams. A whole answer may never be lost: nginx asks the other
replica. A stream may break only if the killed replica had begun it. Exit 1 if anything else was lost.
"""

import argparse
import base64
import collections
import contextlib
import http.client
import json
import pathlib
import re
import shlex
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[1]


def png(side=64):
    """A PNG file: a red square on white."""
    row = b"\0" + b"".join(b"\xdc\x1e\x1e" if 16 <= x < 48 else b"\xff" * 3 for x in range(side))
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(row * side)), (b"IEND", b""))
    parts = [struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def free_ports(count):
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


def answers(port, path="/health"):
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", path)
        return connection.getresponse().status == 200
    return False


def wait_for(port, what, seconds=300):
    end = time.monotonic() + seconds
    while not answers(port):
        if time.monotonic() > end:
            sys.exit(f"{what} does not answer on port {port}")
        time.sleep(0.1)


def start_nginx(folder, port, replicas):
    """nginx in the foreground with the example's file, on other ports."""
    conf = (ROOT / "docs" / "serve" / "nginx.conf").read_text()
    for written, ours in (("127.0.0.1:8001", f"127.0.0.1:{replicas[0]}"), ("127.0.0.1:8002", f"127.0.0.1:{replicas[1]}"),
                          ("listen 8080", f"listen 127.0.0.1:{port}")):
        if written not in conf:
            sys.exit(f"docs/serve/nginx.conf has no {written}")
        conf = conf.replace(written, ours)
    temp = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"pid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{ worker_connections 1024; }}\n"
        f"http {{\naccess_log off;\n{temp}{conf}\n}}\n")
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    return subprocess.Popen([program, "-c", folder / "nginx.conf", "-g", "daemon off;"], stderr=subprocess.DEVNULL)


class Load:
    """Clients that ask one question after the other until they are told to stop."""

    def __init__(self, port, key, model, clients):
        self.port, self.clients = port, clients
        picture = "data:image/png;base64," + base64.b64encode(png()).decode()
        parts = [{"type": "image_url", "image_url": {"url": picture}}, {"type": "text", "text": "what color is it?"}]
        self.body = {"model": model, "messages": [{"role": "user", "content": parts}], "max_tokens": 20, "num_beams": 1}
        self.headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        self.stop = threading.Event()
        self.counts, self.spreads = collections.Counter(), []  # seconds between a stream's first byte and its last
        self.lock = threading.Lock()

    def ask(self, stream):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        began = False
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps({**self.body, "stream": stream}), self.headers)
            reply = connection.getresponse()
            began = reply.status == 200
            text, start = reply.read(1), time.monotonic()
            text = (text + reply.read()).decode()
            if stream:
                self.spreads.append(time.monotonic() - start)
            whole = text.endswith("data: [DONE]\n\n") if stream else "choices" in text
            return "answered" if began and whole else "cut" if began else f"status {reply.status}"
        except (OSError, http.client.HTTPException) as error:
            return "cut" if began else f"lost: {type(error).__name__}"
        finally:
            connection.close()

    def work(self, stream):
        while not self.stop.is_set():
            outcome = self.ask(stream)
            with self.lock:
                self.counts["stream" if stream else "whole", outcome] += 1
                if outcome.startswith("status 429"):
                    time.sleep(0.2)

    def __enter__(self):
        self.threads = [threading.Thread(target=self.work, args=(i % 2 == 1,)) for i in range(self.clients)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def run(args, folder, processes):
    front, *ports = free_ports(3)
    for port in ports:
        processes.append(subprocess.Popen(shlex.split(args.replica.format(port=port, key=args.key, model=args.model)), cwd=ROOT))
    for port in ports:
        wait_for(port, "a replica")
    processes.append(start_nginx(folder, front, ports))
    wait_for(front, "nginx", 20)
    with Load(front, args.key, args.model_name or pathlib.Path(args.model).name, args.clients) as load:
        time.sleep(args.seconds / 2)
        processes[0].send_signal(signal.SIGKILL)
        with load.lock:
            before = sum(load.counts.values())
        time.sleep(args.seconds / 2)
    return load.counts, before, statistics.median(load.spreads)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="build/demo/model")
    parser.add_argument("--model-name", help="default: the directory's name")
    parser.add_argument("--replica", default="build/blip2 serve --model {model} --port {port} --api-key {key}",
                        help="command that starts a replica (default: %(default)s)")
    parser.add_argument("--key", default="a-key-for-this-trial")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20)
    return parser.parse_args()


def main():
    args, processes = parse_args(), []
    with tempfile.TemporaryDirectory() as folder:
        try:
            counts, before, spread = run(args, pathlib.Path(folder), processes)
        finally:
            for process in reversed(processes):
                process.terminate()
            for process in processes:
                process.wait(40)
    for (kind, outcome), number in sorted(counts.items()):
        print(f"{kind}\t{outcome}\t{number}")
    print(f"{before} requests had ended when one of two replicas was killed, {sum(counts.values()) - before} ended later")
    print(f"half of the streams took more than {spread:.3f} s from the first byte to the last")
    if spread < 0.01:
        sys.exit("the proxy held streams back until they were whole")
    cut = counts["stream", "cut"]
    bad = {pair: number for pair, number in counts.items()
           if not re.fullmatch("answered|status 429", pair[1]) and pair != ("stream", "cut")}
    if bad or cut > (args.clients + 1) // 2 or sum(counts.values()) == before:
        sys.exit(f"lost: {bad}, streams cut: {cut}")


if __name__ == "__main__":
    main()
