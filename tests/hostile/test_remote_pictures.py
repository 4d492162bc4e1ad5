"""Fetching pictures over https, from a server on this machine that does what hostile ones do."""

import base64
import json
import os
import pathlib
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hostile_requests import GOOD_PNG

ROOT = pathlib.Path(__file__).resolve().parents[2]
LONG = 50  # seconds that the server takes where it does not end; the probe's own limit is 60
SOON = LONG / 2


def make_certificate(folder, name, subject):
    """A certificate that signs itself; the paths of it and of its key."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", "/CN=test", "-addext", f"subjectAltName={subject}", "-keyout", key,
                    "-out", cert], check=True, capture_output=True)
    return cert, key


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.paths.append(self.path)
        self.close_connection = True
        try:
            getattr(self, "get_" + self.path.strip("/").split("?")[0])()
        except OSError:
            pass  # the client has had enough

    def begin(self, status=200, **headers):
        self.send_response(status)
        for name, value in {"Connection": "close", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def get_good(self):
        self.begin(Content_Length=str(len(GOOD_PNG)))
        self.wfile.write(GOOD_PNG)

    def get_text(self):
        self.begin(Content_Length="4")
        self.wfile.write(b"text")

    def get_redirect(self):
        self.begin(302, Location="/good", Content_Length="0")

    def get_missing(self):
        self.begin(404, Content_Length="0")

    def get_announced(self):
        self.begin(Content_Length=str(1 << 40))
        self.wfile.write(GOOD_PNG)
        time.sleep(LONG)

    def get_endless(self):
        self.begin()
        while True:
            self.wfile.write(GOOD_PNG + b"\0" * 60_000)

    def get_slow(self):
        self.begin(Content_Length="1000")
        for _ in range(10 * LONG):
            self.wfile.write(b"\x89")
            time.sleep(0.1)

    def get_silent(self):
        time.sleep(LONG)

    def get_headers(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for i in range(100_000):
            self.wfile.write(b"X-%d: " % i + b"y" * 500 + b"\r\n")

    def get_short(self):
        self.begin(Content_Length="5000")
        self.wfile.write(GOOD_PNG)

    def log_message(self, *args):
        pass


def serve(folder, name, subject):
    cert, key = make_certificate(folder, name, subject)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.paths = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.authority = str(cert)
    return server


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    server = serve(tmp_path_factory.mktemp("tls"), "good", "DNS:localhost,IP:127.0.0.1")
    yield server
    server.shutdown()


@pytest.fixture
def fetch(host):
    """fetch(path, **options): the probe's "STATUS MESSAGE", and the seconds that it took."""

    def call(path, name="localhost", server=host, env=None, **options):
        server.paths.clear()
        port = server.server_port
        rules = {"url": f"https://{name}:{port}/{path}", "hosts": ["localhost", "127.0.0.1"], "port": port,
                 "addresses": ["127.0.0.1"], "authority": host.authority, "max_bytes": 200_000, **options}
        build = pathlib.Path(os.environ.get("BLIP2_BUILD", ROOT / "build"))
        begin = time.monotonic()
        done = subprocess.run([build / "probe/protocols", json.dumps(rules)], capture_output=True, timeout=120,
                              env={**os.environ, **(env or {})}, check=True)
        return done.stdout.decode().strip(), time.monotonic() - begin

    return call


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "LOCALHOST"])
def test_a_good_picture(fetch, name):
    assert fetch("good", name)[0] == f"200 {len(GOOD_PNG)}"


@pytest.mark.parametrize("path, expected", [
    ("text", "400 url: expected a JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC picture"),
    ("redirect", "400 url: the picture's host answered with status 302"),
    ("missing", "400 url: the picture's host answered with status 404"),
    ("announced", "400 url: the picture has more than 200000 bytes"),
    ("endless", "400 url: the picture has more than 200000 bytes"),
    ("headers", "400 url: the picture could not be fetched"),
    ("short", "400 url: the picture could not be fetched"),
])
def test_bad_answers(fetch, host, path, expected):
    said, spent = fetch(path)
    assert said.startswith(expected)
    assert spent < SOON
    assert host.paths == ["/" + path]  # above all, no redirect was followed


@pytest.mark.parametrize("path", ["slow", "silent"])
def test_time_is_bounded(fetch, path):
    said, spent = fetch(path, limit_ms=700)
    assert said == "504 url: the picture's host did not answer in time"
    assert 0.65 < spent < SOON


def test_it_can_be_cancelled(fetch):
    said, spent = fetch("silent", cancel_after_ms=300)
    assert said == "400 url: the request was cancelled"
    assert spent < SOON


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_no_address_within_the_network(fetch, host, name):
    assert fetch("good", name, addresses=[])[0] == "400 url: the picture's host has no public address"
    assert host.paths == []


def test_no_proxy_of_the_environment(fetch):
    away = {name: "http://127.0.0.1:9" for name in ("https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy")}
    assert fetch("good", env=away)[0] == f"200 {len(GOOD_PNG)}"


def test_the_certificate_counts(fetch, tmp_path):
    said, _ = fetch("good", authority="")
    assert said.startswith("400 url: the picture could not be fetched:") and "SSL" in said
    other = serve(tmp_path, "other", "DNS:example.org")
    said, _ = fetch("good", server=other, authority=other.authority)
    assert said.startswith("400 url: the picture could not be fetched:") and "SSL" in said
    assert other.paths == []
    other.shutdown()


def test_hosts_and_ports_count(fetch):
    assert fetch("good", hosts=["example.org"])[0].startswith("400 url: this server fetches no pictures from the host")
    assert fetch("good", port=1)[0].startswith("400 url: expected port 443")
    token = base64.b64encode(b"x").decode()
    assert fetch("good", name=f"user:{token}@localhost")[0] == "400 url: expected a URL without user and password"
