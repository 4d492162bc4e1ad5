"""Starts of `serve` that cannot be: one clear line each, exit 1."""

import socket
import subprocess

import pytest


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    for name in "ab":
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
                        "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt"],
                       check=True, capture_output=True)
    return folder


def test_taken_port(refuse, init):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refuse(f"127.0.0.1:{taken.getsockname()[1]}", "serve", "--model", init, "--port", taken.getsockname()[1])


def test_no_model(refuse, tmp_path):
    refuse("config.json", "serve", "--model", tmp_path / "none", "--port", 0)


def test_keys(refuse, init, tmp_path):
    refuse("keys.txt", "serve", "--model", init, "--port", 0, "--api-key-file", tmp_path / "keys.txt")
    (tmp_path / "empty.txt").write_text("# nothing\n")
    refuse("empty.txt", "serve", "--model", init, "--port", 0, "--api-key-file", tmp_path / "empty.txt")
    (tmp_path / "odd.txt").write_text("good\nwith blank\n")
    refuse("odd.txt:2", "serve", "--model", init, "--port", 0, "--api-key-file", tmp_path / "odd.txt")


def test_tls_key_that_does_not_fit(refuse, init, certificates):
    refuse(["a.crt", "b.key"], "serve", "--model", init, "--port", 0,
           "--tls-cert", certificates / "a.crt", "--tls-key", certificates / "b.key")


def test_log_that_cannot_be_written(refuse, init, tmp_path):
    refuse("none/log.jsonl", "serve", "--model", init, "--port", 0, "--log-jsonl", tmp_path / "none" / "log.jsonl")


@pytest.mark.parametrize("flags", [
    ["--port", "70000"], ["--port", "-1"], ["--max-header-bytes", "65001"], ["--request-timeout", "nan"],
    ["--request-timeout", "0"], ["--max-batch", "0"], ["--tls-cert", "a.crt"], ["--task", "dance"]])
def test_wrong_usage(refuse, init, flags):
    refuse(flags[0], "serve", "--model", init, *flags, code=2)
