"""The sides of a comparison of nets: each answers the same input when asked, and has a clock of its processor seconds."""

import subprocess
import sys
import time


class Process:
    """A program that answers every line by one, the first without being asked; its answer lies in `target`."""

    def __init__(self, command, target):
        self.target = target
        command = [str(part) for part in [*command, target]]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answered()
        # Linux's number for the clock of another process.
        self.clock = (~self.process.pid << 3) | 2

    def answered(self):
        if not self.process.stdout.readline():
            sys.exit(f"{self.process.args[0]} ended with {self.process.wait()}")

    def run(self):
        print(file=self.process.stdin, flush=True)
        self.answered()

    def processor(self):
        return time.clock_gettime(self.clock)

    def values(self):
        import numpy

        return numpy.fromfile(self.target, "<f4")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Here:
    """An engine in this process: what `run` returns is its answer."""

    def __init__(self, run):
        self.run = run
        self.processor = time.process_time

    def values(self):
        return self.run().ravel()

    def close(self):
        pass


def timed(sides, rounds):
    """Wall and processor seconds of each side, taking turns."""
    seconds = {name: {"wall": [], "processor": []} for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            wall, processor = time.perf_counter(), side.processor()
            side.run()
            seconds[name]["processor"].append(side.processor() - processor)
            seconds[name]["wall"].append(time.perf_counter() - wall)
    for side in sides.values():
        side.close()
    return seconds
