#!/usr/bin/env python3
"""The programs in the README are compiled and run, and must print what the README says.

usage: check_readme.py run README.md LIBRARY,... COMPILE...  every ```cpp block that has a main; the ```text block after it, if
                                                             any, is its output
       check_readme.py same README.md README.zh-CN.md        both show the same programs and commands
"""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


def blocks(path):
    return FENCE.findall(Path(path).read_text(encoding="utf-8"))


def run(readme, libraries, compile_command):
    found = blocks(readme)
    failures = programs = 0
    with tempfile.TemporaryDirectory() as folder:
        for i, (language, text) in enumerate(found):
            if language != "cpp" or "int main" not in text:
                continue
            programs += 1
            source, binary = Path(folder, f"block{i}.cpp"), Path(folder, f"block{i}")
            source.write_text(text, encoding="utf-8")
            made = subprocess.run([*compile_command, str(source), "-o", str(binary), *libraries, "-pthread"], capture_output=True, text=True)
            if made.returncode:
                print(f"{readme}: program {programs} does not compile:\n{made.stderr}")
                failures += 1
                continue
            ran = subprocess.run([str(binary)], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
            if ran.returncode:
                print(f"{readme}: program {programs} ended with {ran.returncode}:\n{ran.stderr}")
                failures += 1
            if i + 1 < len(found) and found[i + 1][0] == "text" and ran.stdout != found[i + 1][1]:
                print(f"{readme}: program {programs} printed\n{ran.stdout}instead of\n{found[i + 1][1]}")
                failures += 1
    if not programs:
        print(f"{readme}: no program found; the tour must have some")
        return 1
    print(f"{readme}: {programs} programs, {failures} failures")
    return 1 if failures else 0


def same(first, second):
    one = [b for b in blocks(first) if b[0] in ("cpp", "sh", "text")]
    two = [b for b in blocks(second) if b[0] in ("cpp", "sh", "text")]
    if one == two:
        return 0
    for n, (a, b) in enumerate(zip(one, two), 1):
        if a != b:
            print(f"block {n} differs:\n--- {first}\n{a[1]}--- {second}\n{b[1]}")
    if len(one) != len(two):
        print(f"{first} has {len(one)} blocks, {second} has {len(two)}")
    return 1


if __name__ == "__main__":
    mode, *rest = sys.argv[1:]
    sys.exit(run(rest[0], rest[1].split(","), rest[2:]) if mode == "run" else same(*rest))
