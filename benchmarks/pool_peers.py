"""Python's ThreadPoolExecutor and ThreadPool, as pool.cpp does it."""
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "common"))
from bench import Board, seconds


def give():
    return 1


def tasks_per_us(submit, get, total):
    start = seconds()
    results = [submit(give) for _ in range(total)]
    if sum(get(r) for r in results) != total:
        sys.exit("a pool lost or doubled a task")
    return total / (seconds() - start) / 1e6


def round_trip_us(submit, get, total):
    start = seconds()
    for _ in range(total):
        get(submit(give))
    return (seconds() - start) / total * 1e6


executor, pool = ThreadPoolExecutor(2), ThreadPool(2)
board = Board()
for who, submit, get in (
    ("Python ThreadPoolExecutor", executor.submit, lambda f: f.result()),
    ("Python ThreadPool", pool.apply_async, lambda r: r.get()),
):
    board.add("1,000,000 empty tasks, a future each", who, "Mtasks/s", lambda s=submit, g=get: tasks_per_us(s, g, 20_000))
    board.add("one task at a time", who, "us", lambda s=submit, g=get: round_trip_us(s, g, 2_000))
board.run()
