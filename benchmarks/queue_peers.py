"""Python's queue.Queue and SimpleQueue, as queue.cpp does it."""
import os
import queue
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "common"))
from bench import Board, seconds


def items_per_us(make, n, total):
    q = make()

    def produce():
        for _ in range(total // n):
            q.put(1)

    def consume():
        for _ in range(total // n):
            q.get()

    team = [threading.Thread(target=f) for _ in range(n) for f in (consume, produce)]
    start = seconds()
    for t in team:
        t.start()
    for t in team:
        t.join()
    return total / (seconds() - start) / 1e6


board = Board()
for n in (1, 2, 4):
    case = f"{n} to {n}"
    board.add(case, "Python queue.Queue(1024)", "Mitems/s", lambda n=n: items_per_us(lambda: queue.Queue(1024), n, 40_000))
    board.add(case, "Python queue.SimpleQueue", "Mitems/s", lambda n=n: items_per_us(queue.SimpleQueue, n, 200_000))
board.run()
