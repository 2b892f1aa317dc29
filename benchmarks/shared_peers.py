"""Python's multiprocessing.Lock and Value, as shared.cpp does it."""
import multiprocessing
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "common"))
from bench import Board, seconds

fork = multiprocessing.get_context("fork")


def alone(n=300_000):
    lock = fork.Lock()
    acquire, release = lock.acquire, lock.release
    start = seconds()
    for _ in range(n):
        acquire()
        release()
    return (seconds() - start) / n * 1e9


def by_two(work):
    child = fork.Process(target=work)
    start = seconds()
    child.start()
    work()
    child.join()
    return seconds() - start


def lock_rate(n=150_000):
    lock = fork.Lock()

    def work():
        for _ in range(n):
            with lock:
                pass

    return 2 * n / by_two(work) / 1e6


def count_rate(n=150_000):
    value = fork.Value("l", 0)

    def work():
        for _ in range(n):
            with value.get_lock():
                value.value += 1

    took = by_two(work)
    assert value.value == 2 * n
    return 2 * n / took / 1e6


board = Board()
board.add("uncontended pair", "Python multiprocessing.Lock", "ns", alone)
board.add("2 processes", "Python multiprocessing.Lock", "M/s", lock_rate)
board.add("counter under its lock, 2 processes", "Python Value", "M/s", count_rate)
board.run()
