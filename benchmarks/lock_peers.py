"""Python's threading.Lock, as lock.cpp does it."""
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "common"))
from bench import Board, seconds

WHO = "Python threading.Lock"


def uncontended(pairs=300_000):
    lock = threading.Lock()
    start = seconds()
    for _ in range(pairs):
        with lock:
            pass
    return (seconds() - start) / pairs * 1e9


def contended(threads):
    lock = threading.Lock()
    done = [0] * threads
    stop = False

    def body(i):
        mine = 0
        while not stop:
            with lock:
                mine += 1
        done[i] = mine

    team = [threading.Thread(target=body, args=(i,)) for i in range(threads)]
    start = seconds()
    for t in team:
        t.start()
    time.sleep(0.2)
    stop = True
    for t in team:
        t.join()
    return sum(done) / (seconds() - start) / 1e6


board = Board()
board.add("uncontended", WHO, "ns/pair", uncontended)
for n in (2, 4):
    board.add(f"contended, {n} threads", WHO, "Mpairs/s", lambda n=n: contended(n))
board.run()
