"""Python's Pipe and Queue between two processes, as ipc.cpp does it."""
import multiprocessing
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "common"))
from bench import Board, seconds

fork = multiprocessing.get_context("fork")
MIB = 1 << 20
message = b"x" * 64


def pipe_pair():
    a, b = fork.Pipe()
    return (a.send, a.recv), (b.send, b.recv)


def queue_pair():
    there, back = fork.Queue(), fork.Queue()
    return (there.put, back.get), (back.put, there.get)


def round_trip(make, n, pause=0.0):
    (ask, answered), (answer, asked) = make()

    def serve():
        for _ in range(n):
            answer(asked())

    child = fork.Process(target=serve)
    child.start()
    took = 0.0
    for _ in range(n):
        if pause:
            time.sleep(pause)
        start = seconds()
        ask(message)
        answered()
        took += seconds() - start
    child.join()
    return took / n * 1e6


def bulk(make, n):
    (send, _), (done, receive) = make()
    finished = fork.Event()

    def serve():
        for _ in range(n):
            receive()
        finished.set()

    child = fork.Process(target=serve)
    child.start()
    data = b"x" * MIB
    start = seconds()
    for _ in range(n):
        send(data)
    finished.wait()
    took = seconds() - start
    child.join()
    return n * MIB / took / 1e9


board = Board()
for who, make in (("Python Pipe", pipe_pair), ("Python Queue, a pair", queue_pair)):
    board.add("round trip of 64 B, hot", who, "us", lambda make=make: round_trip(make, 3_000))
for who, make in (("Python Pipe", pipe_pair), ("Python Queue, a pair", queue_pair)):
    board.add("round trip of 64 B, asleep", who, "us", lambda make=make: round_trip(make, 200, 0.0005))
for who, make in (("Python Pipe", pipe_pair), ("Python Queue, a pair", queue_pair)):
    board.add("1 MiB messages", who, "GB/s", lambda make=make: bulk(make, 100))
board.run()
