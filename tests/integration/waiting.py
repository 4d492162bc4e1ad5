"""Waiting for what a running process does, never for ever."""

import time


def wait_until(done, processes=(), seconds=300, every=0.01):
    """Waits until done() is true. Fails, and ends the processes, if one of them ends before or time is up."""
    deadline = time.monotonic() + seconds
    try:
        while not done():
            ended = [process.args for process in processes if process.poll() is not None]
            assert not ended, f"ended early: {ended}"
            assert time.monotonic() < deadline, f"nothing after {seconds} s"
            time.sleep(every)
    except AssertionError:
        for process in processes:
            process.kill()
        raise
