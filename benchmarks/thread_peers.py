"""Python's threading.Thread, as thread.cpp does it."""
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "common"))
from bench import Board, seconds


def us_a_thread(threads=1000):
    start = seconds()
    for _ in range(threads):
        t = threading.Thread(target=lambda: None)
        t.start()
        t.join()
    return (seconds() - start) / threads * 1e6


board = Board()
board.add("start + join", "Python threading.Thread", "us/thread", us_a_thread)
board.run()
