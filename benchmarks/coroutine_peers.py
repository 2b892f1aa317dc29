"""Python's asyncio, as coroutine.cpp does it."""
import asyncio
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "common"))
from bench import Board, seconds


async def nothing():
    pass


async def await_many(n):
    for _ in range(n):
        await nothing()


async def yield_many(n):
    for _ in range(n):
        await asyncio.sleep(0)


def timed(main, n):
    async def around():
        start = seconds()
        await main()
        return (seconds() - start) / n * 1e9
    return asyncio.run(around())


def awaits(n=100_000):
    return timed(lambda: await_many(n), n)


def tasks(rounds=10, batch=1000):
    async def main():
        for _ in range(rounds):
            for t in [asyncio.create_task(nothing()) for _ in range(batch)]:
                await t
    return timed(main, rounds * batch)


def switches(n=20_000):
    async def main():
        await asyncio.gather(yield_many(n), yield_many(n))
    return timed(main, 2 * n)


board = Board()
board.add("await a coroutine", "Python await", "ns", awaits)
board.add("create + join a task, 1,000 at a time", "Python create_task", "ns", tasks)
board.add("switch through the loop, 2 tasks", "Python asyncio.sleep(0)", "ns", switches)
board.run()
