#!/usr/bin/env python3
"""Reads the rows of one topic (case, contender, figure, unit; tab-separated, one a sample) and prints one table.

    table.py TOPIC ROWS [GOALS]

A figure is the median of its samples; the spread is the middle half of them. `/limit` and `/sennit` tell what the contender costs in
units of the best "(limit" and of the first "sennit" contender of the same case: 2.00 is twice the time, or half the
rate. GOALS holds lines `case | contender | goal`; a goal is `<= 0.72 x std::mutex` (of the same case) or `<= 60`.
"""
import re
import statistics
import sys


def read_rows(path):
    cases = {}
    with open(path) as file:
        for line in file:
            part = line.rstrip("\n").split("\t")
            if len(part) == 4:
                case, who, figure, unit = part
                cases.setdefault(case, {}).setdefault((who, unit), []).append(float(figure))
    return cases


def read_goals(path):
    goals = {}
    with open(path) as file:
        for number, line in enumerate(file, 1):
            line = line.split("#")[0].strip()
            if not line:
                continue
            part = [p.strip() for p in line.split("|")]
            found = re.fullmatch(r"(<=|>=) ([0-9.]+)(?: x (.+))?", part[-1])
            if len(part) != 3 or not found:
                sys.exit(f"{path}:{number}: not `case | contender | <= FACTOR x CONTENDER`: {line}")
            goals.setdefault((part[0], part[1]), []).append(found.groups())
    return goals


def show(value):
    if value >= 100_000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def main():
    topic, rows = sys.argv[1], sys.argv[2]
    cases = read_rows(rows)
    goals = read_goals(sys.argv[3]) if len(sys.argv) > 3 else {}
    table = [("case", "contender", "median", "middle half", "unit", "/limit", "/sennit", "goal", "reached")]
    reached = []
    for case, samples in cases.items():
        middle = {key: statistics.median(values) for key, values in samples.items()}
        by_name = {who: value for (who, _), value in middle.items()}
        limits = [key for key in middle if "(limit" in key[0]]
        ours = [key for key in middle if key[0].startswith("sennit")]
        for (who, unit), values in samples.items():
            figure = middle[who, unit]

            def cost(of):
                if not of or unit == "%" or not figure:
                    return ""
                ratios = [middle[key] / figure if unit.endswith("/s") else figure / middle[key] for key in of if middle[key]]
                return f"{max(ratios):.2f}" if ratios else ""

            spread = ""
            if len(values) > 2:
                quarters = statistics.quantiles(values, n=4, method="inclusive")
                spread = f"{show(quarters[0])} - {show(quarters[2])}"
            wish, met = [], []
            for sign, factor, reference in goals.pop((case, who), []):
                if reference and reference not in by_name:
                    met.append(f"? no {reference}")
                    continue
                bound = float(factor) * (by_name[reference] if reference else 1)
                holds = figure <= bound if sign == "<=" else figure >= bound
                wish.append(f"{sign} {factor} x {reference}" if reference else f"{sign} {factor}")
                got = f" ({figure / by_name[reference]:.2f})" if reference else ""
                met.append(("yes" if holds else "NO") + got)
                reached.append(holds)
            table.append((case, who, show(figure), spread, unit, cost(limits), cost(ours[:1]), "; ".join(wish), "; ".join(met)))

    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    numbers = {2, 3, 5, 6}
    print(f"\n== {topic} ==")
    last = table[0][0]
    for number, row in enumerate(table):
        if number > 0 and row[0] != last:
            print()
        last = row[0]
        cells = [cell.rjust(w) if i in numbers else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())
    for case, who in goals:
        print(f"no figure for the goal of {who}, {case}")
    if reached or goals:
        print(f"\n{topic}: {sum(reached)} of {len(reached) + sum(map(len, goals.values()))} goals reached")


main()
