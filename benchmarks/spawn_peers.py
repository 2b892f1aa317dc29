"""Python's subprocess, as spawn.cpp does it."""
import multiprocessing
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "common"))
from bench import Board, seconds

PROGRAM = "/bin/true"
ballast = None


def touch_ballast():
    global ballast
    if ballast is None:
        ballast = bytearray(4 << 30)
        for i in range(0, len(ballast), 4096):
            ballast[i] = 1


def spawns_per_s(one, large, children=200):
    if large:
        touch_ballast()
    start = seconds()
    for _ in range(children):
        one()
    return children / (seconds() - start)


def posix_spawn():
    os.waitpid(os.posix_spawn(PROGRAM, [PROGRAM], os.environ), 0)


def run():
    subprocess.run([PROGRAM], check=True)


def nothing():
    pass


def process(context):
    child = context.Process(target=nothing)
    child.start()
    child.join()
    assert child.exitcode == 0


if __name__ == "__main__":  # spawn and forkserver import this file
    board = Board()
    for case, large in (("small parent", False), ("parent with 4 GiB touched", True)):
        board.add(case, "Python os.posix_spawn", "spawns/s", lambda large=large: spawns_per_s(posix_spawn, large))
        board.add(case, "Python subprocess.run", "spawns/s", lambda large=large: spawns_per_s(run, large))
        for method, children in (("forkserver", 30), ("spawn", 10), ("fork", 10 if large else 100)):
            context = multiprocessing.get_context(method)
            board.add(f"start + join a process, {case}", f"Python Process, {method}", "starts/s",
                      lambda large=large, context=context, children=children: spawns_per_s(lambda: process(context), large, children))
    board.run()
