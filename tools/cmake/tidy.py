"""Runs clang-tidy over the sources that a C++ compiler compiles: tidy.py BUILD [REGEX]. nvcc's it cannot read."""

import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys

build = pathlib.Path(sys.argv[1])
wanted = re.compile(sys.argv[2] if len(sys.argv) > 2 else "")
commands = json.loads((build / "compile_commands.json").read_text())
files = sorted({
    c["file"] for c in commands
    if not pathlib.Path(c["command"].split()[0]).name.startswith("nvcc") and str(build) not in c["file"] and
    wanted.search(c["file"])
})


def tidy(file):
    return subprocess.run(["clang-tidy", "-p", build, "--quiet", file], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True)


failed = 0
with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    for file, result in zip(files, pool.map(tidy, files)):
        if result.returncode != 0:
            failed += 1
            print(f"{file}\n{result.stdout}")
print(f"clang-tidy: {len(files)} files, {failed} with findings")
sys.exit(failed != 0)
