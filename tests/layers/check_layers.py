#!/usr/bin/env python3
"""Reads the sources and fails if an include points upwards, a file does what only a lower layer may, or a test sleeps.

    check_layers.py [ROOT]      checks the tree (default: the repository that this file lies in)
    check_layers.py --self-test shows that each rule catches what it is for

Which folder may include which stands in cmake/layers.txt. The rules on what a file may use are RULES, below. A line that has
a good reason to break one says so in a comment: `// layers: allow RULE: reason`.
"""

import pathlib
import re
import sys
import tempfile

# (name, pattern in the code without comments and strings, folders or files where it is allowed, what to do instead)
RULES = [
    ("atomic", r"\bstd::atomic|#\s*include\s*<atomic>", {"base/atomic.hpp"},
     "use sennit::atomic of <sennit/base/atomic.hpp>, which the model preset can schedule"),
    ("thread", r"\bstd::(j?thread|this_thread)\b|\bpthread_create\b", {"base", "os"}, "threads are started in os/ only"),
    ("mutex", r"\bstd::(recursive_|shared_)?(timed_)?mutex\b|\bpthread_mutex_", {"base", "os"},
     "use os::Mutex below sync/, and sync/ above it"),
    ("condition", r"\bstd::condition_variable|\bpthread_cond_", set(), "wait through wait/: a condition variable knows OS threads alone"),
    ("wall clock", r"\bCLOCK_REALTIME|\bsystem_clock\b|\bgettimeofday\b", {"tools"},
     "waits follow CLOCK_MONOTONIC, so that setting the clock neither ends nor prolongs them"),
    ("clock", r"\bsteady_clock::now\b|\bclock_gettime\b", {"base", "os"}, "read the clock through base/ or os/, which tests can replace"),
    ("kill by pid", r"\bkill\s*\(\s*\w*pid\w*\b|\bwaitpid\s*\(", {"os"}, "children are known by pidfd: a pid may already be somebody else's"),
    ("system call", r"\bsyscall\s*\(|#\s*include\s*<(unistd\.h|fcntl\.h|poll\.h|pthread\.h|spawn\.h|linux/.*|sys/(?!types\.h|signal\.h).*)>",
     {"os", "tools"}, "system calls are made in os/, where EINTR and errno end"),
    ("heavy header", r"#\s*include\s*<(chrono|sstream|iostream|regex|format|filesystem)>", {"src", "base/chrono.hpp"},
     "public headers stay light: 1.5 s a translation unit; for durations and clocks there is <sennit/base/chrono.hpp>"),
]

# The same for the tests; their support and the programs that they start may sleep.
TEST_RULES = [
    ("sleep", r"\b(sleep_for|sleep_until|usleep|nanosleep)\b|::sleep\s*\((?!0)", {"support", "programs"},
     "wait for an event (wait_until_parked, a numbered step, the virtual clock): a sleep is too short on a busy machine"),
    ("vacuous", r"\b(EXPECT|ASSERT)_TRUE\(true\)|\bSUCCEED\(\)", set(), "a test that cannot fail shows nothing"),
]


def strip(text):
    """The text without comments and the insides of strings; line numbers stay."""
    def keep_lines(match):
        token = match.group(0)
        if token.startswith("/"):
            return " " + "\n" * token.count("\n")
        return token[0] + token[0] if not token.startswith("R") else '""' + "\n" * token.count("\n")
    return re.sub(r'//[^\n]*|/\*.*?\*/|\bR"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\'', keep_lines, text, flags=re.S)


def read_layers(root):
    below, umbrellas = {}, {}
    for number, line in enumerate((root / "cmake/layers.txt").read_text().splitlines(), 1):
        if match := re.fullmatch(r"([a-z]+):((?:\s+[a-z]+)*)", line.strip()):
            folder, direct = match.group(1), match.group(2).split()
            for d in direct:
                if d not in below:
                    raise SystemExit(f"cmake/layers.txt:{number}: {folder} may include {d}, which stands in no line above it")
            below[folder] = set(direct).union(*(below[d] for d in direct)) | {folder}
        elif match := re.fullmatch(r"([a-z_]+\.hpp) = ([a-z]+)", line.strip()):
            umbrellas[match.group(1)] = match.group(2)
        elif line.strip() and not line.startswith("#"):
            raise SystemExit(f"cmake/layers.txt:{number}: neither `FOLDER: FOLDER...` nor `HEADER.hpp = FOLDER`: {line}")
    return below, umbrellas


class Tree:
    def __init__(self, root):
        self.root = root
        self.below, self.umbrellas = read_layers(root)
        self.files = sorted(p for top in ("include/sennit", "src") for p in (root / top).rglob("*") if p.suffix in (".hpp", ".cpp"))
        self.tests = sorted(p for p in (root / "tests").rglob("*") if p.suffix in (".hpp", ".cpp"))
        self.problems = []

    def folder(self, path):
        """The folder whose layer a file belongs to; None for impl/, which counts as whatever it includes."""
        parts = path.relative_to(self.root).parts
        inner = parts[2:] if parts[0] == "include" else parts[1:]
        if len(inner) == 1:
            name = self.umbrellas.get(inner[0], inner[0].removesuffix(".hpp"))
        else:
            name = inner[0]
        return None if name == "impl" else name

    def target(self, path, line):
        """The file of this repository that an include line names, or None."""
        if match := re.match(r'\s*#\s*include\s*<(sennit/[^>]+)>', line):
            return self.root / "include" / match.group(1)
        if match := re.match(r'\s*#\s*include\s*"([^"]+)"', line):
            for start in (path.parent, self.root / "src"):
                if (start / match.group(1)).is_file():
                    return (start / match.group(1)).resolve()
            return path.parent / match.group(1)
        return None

    def includes(self, path):
        return [(number, target) for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
                if (target := self.target(path, line))]

    def report(self, path, number, text):
        self.problems.append(f"{path.relative_to(self.root)}:{number}: {text}")

    def reached(self, target, seen=None):
        """The folders that including `target` brings in, looked through impl/."""
        seen = set() if seen is None else seen
        if target in seen or not target.is_file():
            return set()
        seen.add(target)
        folder = self.folder(target)
        if folder is not None:
            return {folder}
        return set().union(*(self.reached(t, seen) for _, t in self.includes(target)), set())

    def check(self):
        for path in self.files:
            own = self.folder(path)
            if own is not None and own not in self.below:
                self.report(path, 1, f"the folder {own} has no line in cmake/layers.txt")
                continue
            for number, target in self.includes(path):
                if not target.is_file():
                    self.report(path, number, f"includes a file that is not there: {target.relative_to(self.root)}")
                elif own is not None:
                    for other in sorted(self.reached(target) - self.below[own]):
                        self.report(path, number, f"{own}/ may not include {other}/: includes point downwards (cmake/layers.txt)")
            relative = path.relative_to(self.root)
            inner = "/".join(relative.parts[2:] if relative.parts[0] == "include" else relative.parts[1:])
            if not inner.startswith("impl/model"):  # the model's own stand-ins for atomics and threads
                self.check_rules(path, RULES, {own, inner, relative.parts[0]})
        for path in self.tests:
            self.check_rules(path, TEST_RULES, {path.relative_to(self.root).parts[1]})
        self.check_cycles()
        return self.problems

    def check_rules(self, path, rules, places):
        text = path.read_text(errors="replace")
        lines = text.splitlines()
        for number, line in enumerate(strip(text).splitlines(), 1):
            for name, pattern, allowed, instead in rules:
                if places & allowed or not re.search(pattern, line):
                    continue
                near = "\n".join(lines[max(0, number - 2):number])
                if not re.search(rf"layers: allow {name}: \S", near):
                    self.report(path, number, f"{name}: {line.strip()}: {instead}")

    def check_cycles(self):
        done, way = set(), []

        def visit(path):
            if path in way:
                self.report(path, 1, "includes itself: " + " -> ".join(str(p.relative_to(self.root)) for p in way[way.index(path):] + [path]))
                return
            if path in done or not path.is_file():
                return
            way.append(path)
            for _, target in self.includes(path):
                visit(target)
            way.pop()
            done.add(path)

        for path in self.files:
            visit(path)


def self_test():
    """Each snippet in its file must be reported with these words; with no words, must pass."""
    cases = [
        ("src/base/a.cpp", "#include <sennit/sync/lock.hpp>\n", "base/ may not include sync/"),
        ("src/sync/a.cpp", "#include <sennit/sync/lock.hpp>\n#include <sennit/base/b.hpp>\n", ""),
        ("src/sync/a.cpp", "#include <sennit/queue.hpp>\n", ""),
        ("src/base/a.cpp", "#include <sennit/queue.hpp>\n", "base/ may not include sync/"),
        ("src/base/a.cpp", "#include <sennit/impl/up.hpp>\n", "base/ may not include sync/"),
        ("src/base/a.cpp", '#include "../sync/private.hpp"\n', "base/ may not include sync/"),
        ("src/base/a.cpp", "#include <sennit/base/none.hpp>\n", "not there"),
        ("src/attic/a.cpp", "int x;\n", "no line in cmake/layers.txt"),
        ("include/sennit/base/b.hpp", "#include <sennit/base/b.hpp>\n", "includes itself"),
        ("src/sync/a.cpp", "std::atomic<int> x;\n", "sennit::atomic"),
        ("src/sync/a.cpp", "std::mutex m;\n", "os::Mutex"),
        ("src/sync/a.cpp", "std::condition_variable c;\n", "wait through wait/"),
        ("src/os/a.cpp", "pthread_cond_wait(&c, &m);\n", "wait through wait/"),
        ("src/os/a.cpp", "timespec t; ::clock_gettime(CLOCK_REALTIME, &t);\n", "CLOCK_MONOTONIC"),
        ("src/sync/a.cpp", "std::thread t;\n", "os/ only"),
        ("src/sync/a.cpp", "::kill(child_pid, 9);\n", "pidfd"),
        ("src/sync/a.cpp", "#include <unistd.h>\n", "system calls"),
        ("src/os/a.cpp", "#include <unistd.h>\n", ""),
        ("include/sennit/sync/lock.hpp", "#include <iostream>\n", "light"),
        ("src/sync/a.cpp", '// std::mutex\n/* std::thread\n */ const char* s = "std::mutex";\n', ""),
        ("src/sync/a.cpp", "// layers: allow mutex: to show it\nstd::mutex m;\n", ""),
        ("tests/unit/sync/a_test.cpp", "std::this_thread::sleep_for(1ms);\n", "wait for an event"),
        ("tests/support/a.cpp", "std::this_thread::sleep_for(1ms);\n", ""),
        ("tests/unit/sync/a_test.cpp", "EXPECT_TRUE(true);\n", "cannot fail"),
        ("src/sync/a.cpp", "// layers: allow thread: the wrong rule\nstd::mutex m;\n", "os::Mutex"),
    ]
    layers = "base:\nos: base\nsync: os\nqueue.hpp = sync\n"
    failed = 0
    for name, text, words in cases:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder).resolve()
            for path, content in [("cmake/layers.txt", layers), ("include/sennit/sync/lock.hpp", ""), ("include/sennit/base/b.hpp", ""),
                                  ("include/sennit/queue.hpp", "#include <sennit/sync/lock.hpp>\n"), ("src/sync/private.hpp", ""),
                                  ("include/sennit/impl/up.hpp", "#include <sennit/sync/lock.hpp>\n"), (name, text)]:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(content)
            problems = "\n".join(Tree(root).check())
            if (words not in problems) if words else problems:
                failed += 1
                print(f"{name}: {text!r}\n  expected: {words or 'no problem'}\n  got:      {problems or 'no problem'}")
    print(f"{len(cases) - failed} of {len(cases)} cases as expected")
    return 1 if failed else 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2]).resolve()
    tree = Tree(root)
    problems = tree.check()
    print("\n".join(problems) if problems else f"{len(tree.files)} files keep to the layers")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
