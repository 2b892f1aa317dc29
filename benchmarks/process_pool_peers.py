"""Python's Pool and ProcessPoolExecutor, as process_pool.cpp does it."""
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import Pool

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "common"))
from bench import Board, seconds


def give():
    return 1


def add_one(x):
    return x + 1


def length(m):
    return len(m)


def tasks_per_us(submit, get, total):
    start = seconds()
    results = [submit(give) for _ in range(total)]
    if sum(get(r) for r in results) != total:
        sys.exit("a pool lost or doubled a task")
    return total / (seconds() - start) / 1e6


def map_per_us(run, total):
    numbers = list(range(total))
    start = seconds()
    if len(run(numbers)) != total:
        sys.exit("a map lost something")
    return total / (seconds() - start) / 1e6


def round_trip_us(submit, get, total):
    start = seconds()
    for _ in range(total):
        get(submit(give))
    return (seconds() - start) / total * 1e6


def gigabytes_per_s(pool, total):
    megabyte = b"x" * (1 << 20)
    start = seconds()
    for _ in range(total):
        pool.apply(length, (megabyte,))
    return total * 1.048576e6 / (seconds() - start) / 1e9


if __name__ == "__main__":
    executor, pool = ProcessPoolExecutor(2), Pool(2)
    board = Board()
    for who, submit, get in (
        ("Python Pool", pool.apply_async, lambda r: r.get()),
        ("Python ProcessPoolExecutor", executor.submit, lambda f: f.result()),
    ):
        board.add("no-op tasks, 2 workers", who, "Mtasks/s", lambda s=submit, g=get: tasks_per_us(s, g, 10_000))
        board.add("one task at a time, hot", who, "us", lambda s=submit, g=get: round_trip_us(s, g, 1_000))
    board.add("map of 1,000,000 ints", "Python Pool", "Melements/s", lambda: map_per_us(lambda n: pool.map(add_one, n), 1_000_000))
    board.add("map of 1,000,000 ints", "Python ProcessPoolExecutor", "Melements/s",
              lambda: map_per_us(lambda n: list(executor.map(add_one, n, chunksize=10_000)), 1_000_000))
    board.add("1 MiB arguments", "Python Pool", "GB/s", lambda: gigabytes_per_s(pool, 100))
    board.run()
    pool.terminate()
    executor.shutdown()
