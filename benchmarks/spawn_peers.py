"""Python's subprocess, as spawn.cpp does it."""
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


board = Board()
for case, large in (("small parent", False), ("parent with 4 GiB touched", True)):
    board.add(case, "Python os.posix_spawn", "spawns/s", lambda large=large: spawns_per_s(posix_spawn, large))
    board.add(case, "Python subprocess.run", "spawns/s", lambda large=large: spawns_per_s(run, large))
board.run()
