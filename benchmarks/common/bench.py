"""What every Python benchmark here shares: the board on which contenders meet, as in bench.hpp."""
import argparse
import time

seconds = time.perf_counter


class Board:
    def __init__(self):
        self._contenders = []

    def add(self, case, contender, unit, once):
        """once() does the work once and returns its figure in `unit`."""
        self._contenders.append((case, contender, unit, once))

    def run(self):
        args = argparse.ArgumentParser()
        args.add_argument("--rounds", type=int, default=3)
        args.add_argument("--only", action="append", default=[], metavar="TEXT", help='a part of "case: contender"')
        wanted = args.parse_args()
        cases = {}
        for case, who, unit, once in self._contenders:
            if not wanted.only or any(text in f"{case}: {who}" for text in wanted.only):
                cases.setdefault(case, []).append((who, unit, once))
        for case, contenders in cases.items():
            for _, _, once in contenders:
                once()
            for _ in range(wanted.rounds):
                for who, unit, once in contenders:
                    print(f"{case}\t{who}\t{once():.6g}\t{unit}", flush=True)
