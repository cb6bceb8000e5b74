"""Compiles a source for each architecture and holds its kernels to a budget.

A kernel with a spill, a stack frame or serialized wgmma fails, and so does one with more registers than the budget
gives its name, or a compilation that takes more processor time or makes a larger object than the budget allows. With
--math-mode the source is compiled for that mode alone, and its kernels must be exactly those that read activations in
the mode's ways.

Architectures are compiled beside each other, as many as there are processors, but for the last one, which comes alone:
it takes the longest, and beside others a tenth more of the processor's time.

The seconds of the budget are those of a machine that compiles yardstick.cu in the seconds given beside them. Where a
compilation takes longer, the yardstick tells how much of that is the machine; and because what else runs there can
only add to a measurement, the least of a few counts. The yardstick's own seconds were not measured on the machine
that the budget was made on: they are the 44 s that all kernels of sm_90a took there, over 12.8, which is how many
yardsticks they take on another (mean of six, 11.4 to 14.7).
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

KERNEL = re.compile(r"Compiling entry function '(\S+)' for 'sm_(\w+)'")
STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
REGISTERS = re.compile(r"Used (\d+) registers")
ATTEMPTS = 4  # at a compilation that takes too long
SERIALIZED = re.compile(r"\(C75\d\d\).*")  # ptxas has put waits between wgmma of its own accord


def demangle(names):
    text = subprocess.run(["c++filt", "-p"], input="\n".join(names), stdout=subprocess.PIPE, text=True, check=True).stdout
    return [re.sub(r"^void |q4fuse::v\d+_\d+::|detail::", "", line) for line in text.splitlines()]


def compile_for(arguments, source, architecture):
    """ptxas' report, the processor seconds and the object's kilobytes."""
    with tempfile.TemporaryDirectory(dir=arguments.out) as folder:
        target = pathlib.Path(folder) / "kernels.o"
        compiler = subprocess.Popen(
            [arguments.nvcc, "-std=c++17", f"-I{arguments.include}", "-O3", "-Xptxas=-v", "-c", source, "-o", target,
             *([f"-DMATH_MODE={arguments.math_mode}"] if arguments.math_mode else []),
             f"-gencode=arch=compute_{architecture},code=sm_{architecture}"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        report = compiler.stdout.read()
        _, status, usage = os.wait4(compiler.pid, 0)
        compiler.returncode = os.waitstatus_to_exitcode(status)
        if compiler.returncode != 0:
            sys.exit(report)
        return report, usage.ru_utime, target.stat().st_size / 1024


def excess_seconds(arguments, budget, architecture, seconds):
    """What a compilation of `seconds` has taken too long, in words; nothing where it is within the budget."""
    allowed = budget["seconds_per_math_mode" if arguments.math_mode else "seconds_per_architecture"]
    yardstick = pathlib.Path(__file__).with_name("yardstick.cu")
    for attempt in range(ATTEMPTS):
        if seconds <= allowed:
            return ""
        pace = max(1.0, compile_for(arguments, yardstick, architecture)[1] / budget["yardstick_seconds"])
        print(f"sm_{architecture}: {seconds:.1f} s on a machine that takes {pace:.2f} times as long as the budget's")
        if seconds <= allowed * pace:
            return ""
        if attempt + 1 < ATTEMPTS:
            seconds = compile_for(arguments, arguments.source, architecture)[1]
    return f"sm_{architecture}: {seconds / pace:.1f} s to compile, {allowed} allowed"


def kernels_in(report):
    """[name, stack bytes, spilled bytes, registers] of each kernel; a function that is no kernel counts with its caller."""
    kernels = []
    for line in report.splitlines():
        if match := KERNEL.search(line):
            kernels.append([match[1], 0, 0, 0])
        elif kernels and (match := STACK.search(line)):
            kernels[-1][1] += int(match[1])
            kernels[-1][2] += int(match[2]) + int(match[3])
        elif kernels and (match := REGISTERS.search(line)):
            kernels[-1][3] = int(match[1])
    for kernel, name in zip(kernels, demangle([kernel[0] for kernel in kernels])):
        kernel[0] = name
    return sorted(kernels)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("nvcc", "include", "source", "budget", "out"):
        parser.add_argument(f"--{option}", required=True)
    parser.add_argument("--math-mode")
    parser.add_argument("architectures", nargs="+")
    arguments = parser.parse_args()
    budget = json.loads(pathlib.Path(arguments.budget).read_text())
    pathlib.Path(arguments.out).mkdir(parents=True, exist_ok=True)

    failures = []
    registers = {}
    allowed_kilobytes = budget["kilobytes"][arguments.math_mode or "all"]
    *others, longest = arguments.architectures
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        compiled = list(pool.map(lambda other: compile_for(arguments, arguments.source, other), others))
    compiled.append(compile_for(arguments, arguments.source, longest))
    for architecture, (report, seconds, kilobytes) in zip(arguments.architectures, compiled):
        kernels = kernels_in(report)
        print(f"sm_{architecture}: {len(kernels)} kernels, {seconds:.1f} s of processor time, {kilobytes:.0f} kB")
        failures += [f"sm_{architecture}: wgmma serialized: {line}" for line in SERIALIZED.findall(report)]
        if not kernels:
            failures.append(f"sm_{architecture}: no kernels in ptxas' report")
        if excess := excess_seconds(arguments, budget, architecture, seconds):
            failures.append(excess)
        if arguments.math_mode:
            found = set(re.findall(r"\w+_activations", " ".join(name for name, *_ in kernels)))
            wanted = set(budget["activations"][arguments.math_mode])
            if found != wanted:
                failures.append(f"sm_{architecture}: kernels read {sorted(found)}, {arguments.math_mode} {sorted(wanted)}")
        if kilobytes > allowed_kilobytes:
            failures.append(f"sm_{architecture}: {kilobytes:.0f} kB, {allowed_kilobytes} allowed")
        for name, stack, spilled, used in kernels:
            where = f"sm_{architecture}: {name.split('(')[0]}"
            registers.setdefault(name.split("(")[0], {})[architecture] = used
            if stack or spilled:
                failures.append(f"{where}: spills {spilled} bytes, stack frame {stack} bytes")
            allowed = budget["registers"].get(re.split(r"[<(]", name)[0], budget["registers"]["other"])
            if used > allowed:
                failures.append(f"{where}: {used} registers, {allowed} allowed")

    print("\nregisters per thread" + "".join(f"{'sm_' + a:>8}" for a in arguments.architectures))
    for name, used in sorted(registers.items()):
        print("".join(f"{used.get(a, '-'):>8}" for a in arguments.architectures) + f"  {name}")
    if failures:
        sys.exit("\n" + "\n".join(failures))


main()
