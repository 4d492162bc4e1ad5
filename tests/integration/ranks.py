"""Starting several processes of the program, as a launcher does."""

import os
import socket
import subprocess


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(command, ranks, port, prefix=lambda rank: [], address="127.0.0.1", env=lambda rank: {}):
    """command(rank) is a process's command line; env(rank) more of its environment."""
    processes = []
    for rank in range(ranks):
        environment = {**os.environ, "RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_RANK": str(rank),
                       "MASTER_ADDR": address, "MASTER_PORT": str(port), **env(rank)}
        processes.append(subprocess.Popen([*prefix(rank), *map(str, command(rank))], env=environment, text=True,
                                          stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    return processes


def finish(processes, codes=None):
    """What each has written to standard output and to standard error."""
    written = [process.communicate(timeout=240) for process in processes]
    for i, process in enumerate(processes):
        assert process.returncode == (codes[i] if codes else 0), written[i][1][-2000:]
    return written
