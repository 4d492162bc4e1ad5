"""The HTTP server under clients of other makers (http.client, ssl, curl) and under hostile ones."""

import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import resource
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ECHO = pathlib.Path(os.environ.get("BLIP2_BUILD", ROOT / "build")) / "probe" / "http_echo"
SECONDS = 60  # that anything may take, whatever else the machine is doing


class Server:
    def __init__(self, *args, preexec=None, tls=None):
        self.tls = tls  # the context with which ask() speaks TLS
        self.process = subprocess.Popen([ECHO, *map(str, args)], text=True, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, preexec_fn=preexec)
        self.addresses = []
        while line := self.process.stdout.readline().strip():
            self.addresses.append(line)
        assert self.addresses, self.process.stderr.read()
        if not self.addresses[0].startswith("unix:"):
            self.port = int(self.addresses[0].rpartition(":")[2])

    def connect(self):
        client = socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def ask(self, method, path, body=None, headers={}):
        """(status, headers, body) by Python's client, on a connection of its own."""
        plain = http.client.HTTPConnection
        client = (plain("127.0.0.1", self.port, timeout=SECONDS) if self.tls is None else
                  http.client.HTTPSConnection("127.0.0.1", self.port, timeout=SECONDS, context=self.tls))
        client.request(method, path, body, headers)
        answer = client.getresponse()
        result = answer.status, answer.headers, answer.read()
        client.close()
        return result

    def raw(self, request):
        """All that the server answers to these bytes before it closes."""
        with self.connect() as client:
            client.sendall(request)
            return receive_all(client)

    def counts(self):
        return json.loads(self.ask("GET", "/counts")[2])

    def wait_until_running(self, requests):
        """Waits until so many requests run beside the one that asks."""
        until(lambda: self.counts()["running"] == requests + 1)

    def gone(self):
        """How many handlers have been told that their client went."""
        return int(self.ask("GET", "/gone")[2])

    def files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def processor_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        """Drains the server; its exit code and the lines of its log."""
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, errors.splitlines()


def receive_all(client):
    pieces = []
    while piece := client.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def receive_head(client):
    """The bytes up to the end of a header."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = client.recv(1)
        assert piece, head
        head += piece
    return head


def is_error(answer, status, code):
    """Whether the raw answer is a refusal in OpenAI's form, after which the connection ends."""
    head, _, body = answer.partition(b"\r\n\r\n")
    error = json.loads(body)["error"]
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), answer
    assert b"\r\nConnection: close" in head and b"\r\nX-Request-Id: " in head
    assert error["code"] == code and error["message"], error
    assert error["type"] == ("server_error" if status >= 500 else "invalid_request_error")
    assert error["param"] is None
    return True


def until(condition, seconds=SECONDS):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def start():
    servers = []

    def call(*args, **options):
        servers.append(Server(*args, **options))
        return servers[-1]

    yield call
    for server in servers:
        if server.process.poll() is None:
            code, errors = server.stop()
            assert code == 0, errors[-20:]
            assert not any("ERROR" in line or "runtime error" in line for line in errors), errors[-50:]


@pytest.fixture
def server(start):
    return start()


GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
SLOW_SECONDS = 300  # longer than any test waits for what it proves
SLOW = f"GET /slow?{1000 * SLOW_SECONDS} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


# --- what clients may rely on ---


def test_keep_alive_and_bodies(server):
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
    for size in (0, 1, 70000, 3_000_000):
        body = os.urandom(size)
        client.request("POST", "/body", body)
        assert client.getresponse().read() == body
        client.request("POST", "/body", iter([body, b"", b"tail"]), encode_chunked=True,
                       headers={"Transfer-Encoding": "chunked"})
        assert client.getresponse().read() == body + b"tail"
    client.close()
    assert server.counts()["connections_taken"] == 2


def test_pipelined_requests_are_answered_in_order(server):
    requests = b"".join(f"GET /{'slow?30' if i % 7 == 0 else i} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
                        for i in range(500))
    with server.connect() as client:
        sender = threading.Thread(target=client.sendall, args=(requests,))
        sender.start()
        reader = client.makefile("rb")
        for i in range(500):
            length = 0
            while (line := reader.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            body = reader.read(length)
            assert body == b"slow" if i % 7 == 0 else json.loads(body)["path"] == f"/{i}"
        sender.join()


def test_streams(server):
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
    for _ in range(2):
        client.request("GET", "/stream?20")
        answer = client.getresponse()
        assert answer.headers["Transfer-Encoding"] == "chunked" and answer.headers["X-Stream"] == "yes"
        assert answer.read() == b"".join(b"piece %d\n" % i for i in range(20))
    old = server.raw(b"GET /stream?3 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert old.endswith(b"\r\n\r\npiece 0\npiece 1\npiece 2\n") and b"chunked" not in old
    assert b"Connection: close\r\n" in old


def test_a_stream_that_breaks_off_does_not_look_whole(server):
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
    client.request("GET", "/broken_stream")
    with pytest.raises(http.client.IncompleteRead):
        client.getresponse().read()


def test_head_has_no_body(server):
    answer = server.raw(b"HEAD /large?1000 HTTP/1.1\r\nHost: a\r\n\r\nHEAD /stream?3 HTTP/1.1\r\nHost: a\r\n\r\n"
                        b"GET /large?1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 OK") == 3 and answer.endswith(b"\r\n\r\nx")
    assert b"Content-Length: 1000\r\n" in answer


def test_http_1_0(server):
    assert server.raw(b"GET /large?5 HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\nxxxxx")
    with server.connect() as client:
        for _ in range(2):
            client.sendall(b"GET /large?0 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert b"Connection: keep-alive\r\n" in receive_head(client)


def test_expect_continue(server):
    with server.connect() as client:
        client.sendall(b"POST /body HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert receive_head(client) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"abc")
        assert b"200 OK" in receive_head(client) and client.recv(10) == b"abc"
    answer = server.raw(b"POST /body HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                        b"Content-Length: 99999999999\r\n\r\n")
    assert is_error(answer, 413, "body_too_large")


def test_request_ids(start):
    server = start("--log")
    assert server.ask("GET", "/x", headers={"X-Request-Id": "mine-1"})[1]["X-Request-Id"] == "mine-1"
    made = {server.ask("GET", "/x", headers={"X-Request-Id": bad})[1]["X-Request-Id"]
            for bad in ("", "a b", "a" * 129, "\xe4")}
    assert len(made) == 4 and all(len(name) == 32 for name in made)
    code, lines = server.stop()
    assert code == 0
    log = [json.loads(line) for line in lines]
    assert {line["id"] for line in log} == {"mine-1", *made}
    assert log[0].keys() == {"time", "id", "remote", "method", "path", "status", "bytes", "milliseconds"}
    assert len(log) == 5 and log[0]["status"] == 200 and log[0]["path"] == "/x" and log[0]["bytes"] > 100


def test_cors(start):
    server = start("--cors", "https://page.example", "--key", "k")
    origin = {"Origin": "https://page.example"}
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,x-a"}
    status, headers, _ = server.ask("OPTIONS", "/x", headers={**origin, **asked})
    assert status == 204 and headers["Access-Control-Allow-Origin"] == "https://page.example"
    assert "POST" in headers["Access-Control-Allow-Methods"]
    assert headers["Access-Control-Allow-Headers"] == "authorization,x-a"
    status, headers, _ = server.ask("GET", "/x", headers={**origin, "X-API-Key": "k"})
    assert status == 200 and headers["Access-Control-Allow-Origin"] == "https://page.example"
    assert server.ask("GET", "/x", headers=origin)[1]["Access-Control-Allow-Origin"]  # the 401 is readable
    status, headers, _ = server.ask("OPTIONS", "/x", headers={"Origin": "https://evil.example", **asked})
    assert status == 403 and "Access-Control-Allow-Origin" not in headers
    assert server.ask("OPTIONS", "/x", headers={"X-Plain": "1"})[0] == 401
    assert start("--key", "k").ask("OPTIONS", "/x", headers={**origin, **asked})[0] == 401


def test_unix_socket(start, tmp_path):
    path = tmp_path / "blip2.sock"
    server = start("--host", path, "--host", "127.0.0.1")
    assert server.addresses[0] == f"unix:{path}" and server.addresses[1].startswith("http://127.0.0.1:")
    said = subprocess.run(["curl", "-s", "--unix-socket", path, "http://x/hello"], capture_output=True,
                          timeout=SECONDS)
    assert json.loads(said.stdout)["remote"] == "unix"
    server.process.kill()
    server.process.communicate()
    assert path.exists()  # a stale file does not hinder the next server
    assert start("--host", path).stop()[0] == 0
    assert not path.exists()


def test_ipv6(start):
    if not socket.has_ipv6 or not pathlib.Path("/proc/net/if_inet6").read_text().strip():
        pytest.skip("this machine has no IPv6")
    server = start("--host", "::1")
    assert server.addresses[0].startswith("http://[::1]:")
    with socket.create_connection(("::1", server.port), timeout=SECONDS) as client:
        client.sendall(GET)
        assert b"200 OK" in receive_head(client)


# --- TLS ---


def make_certificate(folder, name):
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                    "-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
    return certificate, key


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"), "good")


def test_tls(start, certificate):
    server = start("--tls-cert", certificate[0], "--tls-key", certificate[1])
    assert server.addresses[0].startswith("https://")
    context = ssl.create_default_context(cafile=certificate[0])
    client = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=SECONDS, context=context)
    body = os.urandom(2_000_000)
    for _ in range(2):
        client.request("POST", "/body", body)
        assert client.getresponse().read() == body
        client.request("GET", "/stream?10")
        assert len(client.getresponse().read().splitlines()) == 10
    client.close()
    url = f"https://localhost:{server.port}/large?70000"
    said = subprocess.run(["curl", "-sS", "--cacert", certificate[0], url], capture_output=True, timeout=SECONDS)
    assert said.stdout == b"x" * 70000, said.stderr


def test_tls_says_goodbye(start, certificate):
    """An answer that ends with the connection ends with TLS's own close, so that no one can cut it."""
    server = start("--tls-cert", certificate[0], "--tls-key", certificate[1])
    context = ssl.create_default_context(cafile=certificate[0])
    with context.wrap_socket(server.connect(), server_hostname="localhost",
                             suppress_ragged_eofs=False) as client:
        client.sendall(b"GET /stream?3 HTTP/1.0\r\n\r\n")
        assert receive_all(client).endswith(b"piece 2\n")


def test_tls_tells_when_the_client_goes(start, certificate):
    context = ssl.create_default_context(cafile=certificate[0])
    server = start("--tls-cert", certificate[0], "--tls-key", certificate[1], "--log", tls=context)
    client = context.wrap_socket(server.connect(), server_hostname="localhost")
    client.sendall(SLOW)
    server.wait_until_running(1)
    client.close()
    until(lambda: server.gone() == 1)
    code, lines = server.stop()
    (slow,) = [line for line in map(json.loads, lines) if line["path"] == "/slow"]
    assert code == 0 and slow["status"] == 499 and slow["milliseconds"] < 1000 * SLOW_SECONDS / 2


def test_tls_refuses_what_is_no_tls(start, certificate):
    server = start("--tls-cert", certificate[0], "--tls-key", certificate[1], "--header-seconds", 1)
    try:
        assert not server.raw(GET).startswith(b"HTTP/")
    except ConnectionError:
        pass
    begin = time.monotonic()
    with server.connect() as client:  # sends nothing
        assert client.recv(1) == b""
        assert 0.9 < time.monotonic() - begin < 9  # the limit is 10 s where nobody sets it
    context = ssl.create_default_context(cafile=certificate[0])
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(server.connect(), server_hostname="localhost")


def test_bad_starts_end_with_one_line(start, certificate, tmp_path):
    def refused(expected, *args):
        done = subprocess.run([ECHO, *map(str, args)], capture_output=True, text=True, timeout=SECONDS,
                              stdin=subprocess.DEVNULL)
        assert done.returncode == 1 and done.stdout == "" and done.stderr.count("\n") == 1
        for text in expected:
            assert str(text) in done.stderr, done.stderr

    good, key = certificate
    _, other = make_certificate(tmp_path, "other")
    rsa, locked, text = tmp_path / "rsa.key", tmp_path / "locked.key", tmp_path / "text.pem"
    subprocess.run(["openssl", "genrsa", "-out", rsa, "2048"], check=True, capture_output=True)
    subprocess.run(["openssl", "ec", "-in", key, "-aes256", "-passout", "pass:abcd", "-out", locked],
                   check=True, capture_output=True)
    text.write_text("no certificate")
    for misfit in (other, rsa):
        refused(["does not fit", good, misfit], "--tls-cert", good, "--tls-key", misfit)
    refused([locked, "not a private key"], "--tls-cert", good, "--tls-key", locked)
    refused([text, "not a certificate"], "--tls-cert", text, "--tls-key", key)
    refused([text, "not a private key"], "--tls-cert", good, "--tls-key", text)
    refused([tmp_path / "none.pem"], "--tls-cert", tmp_path / "none.pem", "--tls-key", key)
    refused(["together"], "--tls-cert", good)
    server = start()
    refused([f"127.0.0.1:{server.port}: the address is taken"], "--port", server.port)
    refused(["no-such-host.invalid"], "--host", "no-such-host.invalid")
    refused(["cannot listen"], "--host", tmp_path / "none" / "x.sock")
    refused(["too long"], "--host", tmp_path / ("x" * 200 + ".sock"))
    refused(["taken"], "--host", make_file(tmp_path / "file.sock"))
    assert (tmp_path / "file.sock").read_text() == "mine"


def make_file(path):
    path.write_text("mine")
    return path


# --- keys ---


def test_keys(start):
    server = start("--key", "first", "--key", "second")
    for headers in ({"Authorization": "Bearer first"}, {"authorization": "bearer second"},
                    {"X-API-Key": "second"}):
        assert server.ask("GET", "/x", headers=headers)[0] == 200
    for headers in ({}, {"Authorization": "Bearer third"}, {"Authorization": "Bearer "},
                    {"Authorization": "Basic first"}, {"X-API-Key": "firs"}, {"X-API-Key": ""}):
        for path in ("/x", "/", "/health/", "/HEALTH", "//health", "/health%20", "/health;x", "/metrics"):
            status, answer, _ = server.ask("GET", path, headers=headers)
            assert status == 401 and answer["WWW-Authenticate"] == "Bearer", path
    assert server.ask("GET", "/health")[0] == server.ask("HEAD", "/health?x=1")[0] == 200
    assert server.ask("POST", "/health", b"x")[0] == 401


def test_the_key_is_asked_for_before_the_body(start):
    server = start("--key", "first")
    answer = server.raw(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n")
    assert is_error(answer, 401, "invalid_api_key")
    answer = server.raw(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\nExpect: 100-continue\r\n\r\n")
    assert is_error(answer, 401, "invalid_api_key")
    # A client that sends without waiting reads the answer too.
    assert server.ask("POST", "/x", b"x" * 1_000_000)[0] == 401


# --- limits ---


def test_large_headers(start):
    server = start("--header-bytes", 4096)
    for header in (b"X: " + b"a" * 5000, b"\r\n".join(b"X%d: a" % i for i in range(1000)),
                   b"X" * 5000 + b": a"):
        answer = server.raw(b"GET /x HTTP/1.1\r\nHost: a\r\n" + header + b"\r\n\r\n")
        assert is_error(answer, 431, "header_too_large")
    assert is_error(server.raw(b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n"), 431, "header_too_large")
    assert b"200 OK" in server.raw(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: "
                                   + b"a" * 3900 + b"\r\n\r\n")


def test_large_headers_in_many_parts(start):
    """The limit is that of the whole header, not of each part that arrives; its end never comes."""
    server, sent = start("--header-bytes", 4096), 0
    with server.connect() as client:
        client.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n")
        while sent < 4200:
            line = b"X%d: %s\r\n" % (sent, b"a" * 50)
            client.sendall(line)
            sent += len(line)
            time.sleep(0.002)  # so that most lines arrive alone
        assert is_error(receive_all(client), 431, "header_too_large")


def test_large_bodies(start):
    server = start("--body-bytes", 1000)
    assert server.ask("POST", "/body", b"x" * 1000)[0] == 200
    answer = server.raw(b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n")
    assert is_error(answer, 413, "body_too_large")
    for length in (2**31, 2**63, 2**64 - 1):
        answer = server.raw(b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % length)
        assert is_error(answer, 413, "body_too_large")
    chunk = b"%x\r\n%s\r\n" % (600, b"x" * 600)
    answer = server.raw(b"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + 2 * chunk)
    assert is_error(answer, 413, "body_too_large")
    assert server.ask("POST", "/body", b"x" * 3_000_000)[0] == 413  # sent without waiting


def test_a_chunk_header_without_end(server):
    answer = server.raw(b"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=" + b"a" * 200_000)
    assert is_error(answer, 400, "malformed_request")


def test_bodies_of_all_requests_together(start):
    server = start("--bodies-bytes", 1_000_000)
    clients = [server.connect() for _ in range(2)]
    for number, client in enumerate(clients, 1):
        client.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 600000\r\n\r\n" + b"x" * 599_999)
        if number == 1:  # its bytes have been read before the other one sends
            until(lambda: server.counts()["bytes_in"] > 600_000)
    assert is_error(receive_all(clients[1]), 503, "too_many_bodies")
    clients[0].sendall(b"x")
    assert b"200 OK" in receive_head(clients[0])
    until(lambda: server.ask("POST", "/x", b"x" * 900_000)[0] == 200)  # what they took is free again
    for client in clients:
        client.close()


def test_too_slow(start):
    server = start("--header-seconds", 1, "--body-seconds", 1, "--idle-seconds", 1)
    assert is_error(server.raw(b"GET /x HT"), 408, "request_timeout")
    assert is_error(server.raw(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"), 408,
                    "request_timeout")
    assert server.raw(b"") == b"" and server.raw(b"\r\n\r\n") == b""
    answer = server.raw(GET)  # idle after it
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b"}")
    begin = time.monotonic()
    with server.connect() as client:
        client.sendall(b"GET /slow?2500 HTTP/1.1\r\nHost: a\r\n\r\n")  # computing takes what it takes
        assert b"200 OK" in receive_head(client) and time.monotonic() - begin > 2.4


def test_a_client_that_does_not_read(start):
    server = start("--stream-bytes", 1_000_000, "--write-seconds", 0.5)
    client = server.connect()
    client.sendall(b"GET /flood HTTP/1.1\r\nHost: a\r\n\r\n")
    until(lambda: server.ask("GET", "/gone")[2] == b"1")
    memory = int(pathlib.Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * 4096
    assert memory < 100_000_000
    slow = server.connect()
    slow.sendall(b"GET /large?100000000 HTTP/1.1\r\nHost: a\r\n\r\n")
    until(lambda: server.counts()["answers"]["499"] == 2 and server.counts()["connections"] == 1)
    client.close(), slow.close()


def test_too_many_connections(start):
    server = start("--connections", 20)
    files = server.files()
    clients = [server.connect() for _ in range(20)]
    for client in clients:
        client.sendall(GET)
        assert b"200 OK" in receive_head(client)
    begin = time.monotonic()
    with server.connect() as client:
        assert is_error(receive_all(client), 503, "too_many_connections")
        assert time.monotonic() - begin < 8  # it does not wait for a request, which may take 10 s
    more = [server.connect() for _ in range(400)]
    for client in more:  # each is answered or, most, closed without a word: none waits in the queue after this
        answer = receive_all(client)
        assert not answer or is_error(answer, 503, "too_many_connections")
    until(lambda: server.files() <= files + 20 + 128 + 20)
    for client in clients[:10] + more:
        client.close()
    until(lambda: server.files() <= files + 12)
    assert server.ask("GET", "/x")[0] == 200
    assert server.counts()["connections_refused"] == 401


def test_few_file_handles(start):
    """Where the system gives few handles, fewer connections are taken, and others are refused."""
    server = start(preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)))
    files = server.files()
    clients = [server.connect() for _ in range(200)]

    def is_calm():
        before = server.processor_seconds()
        time.sleep(1)
        return server.processor_seconds() - before < 0.3

    until(is_calm)  # it does not spin
    for client in clients:
        client.close()
    until(lambda: server.files() <= files + 2)
    assert server.ask("GET", "/x")[0] == 200


# --- malformed requests and smuggling ---

POST = b"POST /x HTTP/1.1\r\nHost: a\r\n"
MALFORMED = {
    "nonsense": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "no version": b"GET /x\r\n\r\n",
    "bare line feeds": b"GET /x HTTP/1.1\nHost: a\n\n",
    "space before the colon": b"GET /x HTTP/1.1\r\nHost : a\r\n\r\n",
    "no host": b"GET /x HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "zero byte in a value": b"GET /x HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    "zero byte in the target": b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "bare carriage return": b"GET /x HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
    "no path": b"GET x HTTP/1.1\r\nHost: a\r\n\r\n",
    "connect": b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "both lengths": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both lengths, turned": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "the same length twice": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": POST + b"Content-Length: 3, 3\r\n\r\nabc",
    "negative length": POST + b"Content-Length: -3\r\n\r\nabc",
    "length with sign": POST + b"Content-Length: +3\r\n\r\nabc",
    "length beyond 64 bits": POST + b"Content-Length: 18446744073709551619\r\n\r\nabc",
    "hexadecimal length": POST + b"Content-Length: 0x3\r\n\r\nabc",
    "a folded header": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a folded header, with a tab": POST + b"X: a\r\n\tb\r\nContent-Length: 0\r\n\r\n",
    "unknown coding": POST + b"Transfer-Encoding: gzip\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    "coding in disguise": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "two codings": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "coding in HTTP/1.0": b"POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk size without digits": POST + b"Transfer-Encoding: chunked\r\n\r\nx\r\nabc\r\n0\r\n\r\n",
    "negative chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n",
    "chunk size beyond 64 bits": POST + b"Transfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n",
    "chunk longer than said": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
    "chunk with a bare line feed": POST + b"Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
    "length in the trailer": POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(start, name):
    server = start()
    begin = time.monotonic()
    with server.connect() as client:
        client.sendall(MALFORMED[name] + GET)
        answer = b""
        while b"}}" not in answer:
            piece = client.recv(65536)
            assert piece, answer
            answer += piece
        assert time.monotonic() - begin < 8  # at once: a header may take 10 s
        answer += receive_all(client)
    assert is_error(answer, 400, "malformed_request")
    assert answer.count(b"HTTP/1.1 ") == 1  # nothing behind it was taken for a request
    assert server.counts()["answers"] == {"400": 1}


def test_trailers_are_no_headers(server):
    answer = server.raw(POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-API-Key: k\r\n\r\n")
    assert b"200 OK" in answer and b"x-api-key" not in answer


def test_a_handler_cannot_split_the_answer(server):
    headers = server.ask("GET", "/injection")[1]
    assert "X-Evil" not in headers and headers["X-Bad"] == "a  X-Evil: 1"


# --- clients that go, and many at a time ---


def shut_down_sending(client):
    client.shutdown(socket.SHUT_WR)


def reset(client):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.mark.parametrize("leave", [socket.socket.close, shut_down_sending, reset])
def test_the_client_goes(server, leave):
    """The handler is told at once: of several tries, as the machine may be busy, the quickest counts."""
    waits = []
    for gone in range(5):
        client = server.connect()
        client.sendall(SLOW)
        server.wait_until_running(1)
        assert server.gone() == gone
        begin = time.monotonic()
        leave(client)
        until(lambda: server.gone() == gone + 1)
        waits.append(time.monotonic() - begin)
        client.close()
    assert min(waits) < 0.25
    assert server.counts()["answers"]["499"] == 5


def test_handlers_that_fail(server):
    for path in ("/throw", "/drop"):
        status, _, body = server.ask("GET", path)
        assert status == 500 and json.loads(body)["error"]["code"] == "internal_error"
        assert b"as asked" not in body


def test_slow_loris(start):
    """Clients that send their header a byte at a time do not disturb others, and end."""
    limit = 6
    server = start("--header-seconds", limit)
    slow = [server.connect() for _ in range(400)]
    for client in slow:
        client.sendall(b"GET /x HTTP/1.1\r\nX-A: ")
    stop = threading.Event()

    def drip():
        while not stop.wait(0.3):
            for client in slow:
                with contextlib.suppress(OSError):
                    client.send(b"a")

    thread = threading.Thread(target=drip)
    thread.start()
    waits = []
    try:
        while server.counts()["connections"] > 400 and len(waits) < 200:
            begin = time.monotonic()
            assert server.ask("GET", "/health")[0] == 200
            waits.append(time.monotonic() - begin)
        assert len(waits) >= 10 and max(waits) < limit / 2  # nobody waits for the slow ones
        until(lambda: server.counts()["connections"] < 10)
    finally:
        stop.set()
        thread.join()
    for client in slow:
        client.close()
    assert server.counts()["answers"]["408"] == 400


def test_many_connections_opened_and_dropped(start):
    server = start()
    files = server.files()

    def open_and_drop(_):
        for _ in range(100):  # 800 together: no more than wait for a server that gets no turn
            client = socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS)
            client.send(b"GET")
            client.close()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(open_and_drop, range(8)))) == 8
    until(lambda: server.files() <= files + 2)
    assert server.ask("GET", "/x")[0] == 200
    server.wait_until_running(0)  # an answer arrives before it is counted as ended


def test_many_clients_at_once(server):
    def ask(i):
        body = os.urandom(2000 * (i % 7))
        return all(server.ask("POST", "/body", body)[2] == body for _ in range(20))

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        assert all(pool.map(ask, range(32)))


# --- the end ---


def test_drain(start):
    server = start("--drain-seconds", SECONDS)
    idle = server.connect()
    idle.sendall(GET)
    assert b"200 OK" in receive_head(idle)
    idle.recv(65536)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        running = [pool.submit(server.ask, "GET", path) for path in ["/slow?4000"] * 10 + ["/stream?600"] * 10]
        server.wait_until_running(20)
        server.process.send_signal(signal.SIGTERM)

        def refused():
            try:
                server.connect().close()
                return False
            except OSError:
                return True

        until(refused)
        idle.sendall(GET)
        assert is_error(receive_all(idle), 503, "shutting_down")
        assert [answer.result()[0] for answer in running] == [200] * 20
        assert all(answer.result()[2].endswith(b"piece 599\n") for answer in running[10:])
    assert server.process.wait(SECONDS) == 0
    idle.close()


def test_drain_has_an_end(start):
    server = start("--drain-seconds", 0.5)
    client = server.connect()
    client.sendall(SLOW)
    server.wait_until_running(1)
    begin = time.monotonic()
    assert server.stop()[0] == 0
    assert time.monotonic() - begin < SLOW_SECONDS / 2 and client.recv(10) == b""
    client.close()
