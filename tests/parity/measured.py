"""The program's processor time and memory, which do not depend on what else the machine does."""

import json
import pathlib
import subprocess
import sys
import tempfile

# What the kernel says of a child's memory counts its parent before exec: the parent is a small one.
LAUNCHER = """
import json, os, sys
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
with open(sys.argv[1], "w") as file:
    json.dump([os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024], file)
"""
SECONDS, MORE_BYTES = 2.0, 100 << 20  # a refusal's limits; the bytes are beside those of a run that succeeds


def measured(command):
    """(exit code, seconds of processor time, peak bytes, standard output, standard error) of a command."""
    with tempfile.TemporaryDirectory() as folder:
        figures = pathlib.Path(folder) / "figures"
        done = subprocess.run([sys.executable, "-S", "-E", "-c", LAUNCHER, figures, *map(str, command)],
                              capture_output=True, text=True, timeout=120, check=True)
        return *json.loads(figures.read_text()), done.stdout, done.stderr


def peak_of(command):
    """Peak bytes of a command that succeeds."""
    code, _, peak, _, error = measured(command)
    assert code == 0, error
    return peak


def refusal(command, good):
    """The one line of a refusal with exit code 1, within its limits; `good`: peak bytes of a run that succeeds."""
    code, seconds, peak, printed, error = measured(command)
    lines = [line for line in error.splitlines() if line.startswith("blip2: ")]
    assert code == 1 and len(lines) == 1 and not printed, (code, error[-2000:])
    assert seconds <= SECONDS and peak <= good + MORE_BYTES, (seconds, peak, good)
    return lines[0]
