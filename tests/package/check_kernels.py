"""Compiles a source for each architecture and holds its kernels to a budget.

A kernel with a spill, a stack frame or serialized wgmma fails, and so does one with more registers than the budget
gives its name, or a compilation that takes more processor time or makes a larger object than the budget allows. With
--math-mode the source is compiled for that mode alone, and its kernels must be exactly those that read activations in
the mode's ways.

The seconds of the budget are those of a machine that compiles yardstick.cu in the seconds given beside them: where a
compilation takes longer, the yardstick tells how much of that is the machine, or what else runs on it.
"""

import argparse
import json
import pathlib
import re
import resource
import subprocess
import sys

KERNEL = re.compile(r"Compiling entry function '(\S+)' for 'sm_(\w+)'")
STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
REGISTERS = re.compile(r"Used (\d+) registers")
SERIALIZED = re.compile(r"\(C75\d\d\).*")  # ptxas has put waits between wgmma of its own accord


def demangle(names):
    text = subprocess.run(["c++filt", "-p"], input="\n".join(names), stdout=subprocess.PIPE, text=True, check=True).stdout
    return [re.sub(r"^void |q4fuse::v\d+_\d+::|detail::", "", line) for line in text.splitlines()]


def compile_for(arguments, source, architecture):
    """ptxas' report, the processor seconds and the object's kilobytes."""
    names = [pathlib.Path(arguments.source).stem, arguments.math_mode, architecture]
    if source != arguments.source:
        names.append(pathlib.Path(source).stem)
    target = pathlib.Path(arguments.out) / f"{'_'.join(filter(None, names))}.o"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(
        [arguments.nvcc, "-std=c++17", f"-I{arguments.include}", "-O3", "-Xptxas=-v", "-c", source, "-o", target,
         *([f"-DMATH_MODE={arguments.math_mode}"] if arguments.math_mode else []),
         f"-gencode=arch=compute_{architecture},code=sm_{architecture}"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if result.returncode != 0:
        sys.exit(result.stdout)
    return result.stdout, after.ru_utime - before.ru_utime, target.stat().st_size / 1024


def allowed_seconds(arguments, budget, architecture, seconds):
    """The budget, and where that is not enough what it comes to at the pace that the machine has now."""
    allowed = budget["seconds"]
    if seconds > allowed:
        yardstick = pathlib.Path(__file__).with_name("yardstick.cu")
        now = sum(compile_for(arguments, yardstick, architecture)[1] for _ in range(2)) / 2
        print(f"yardstick.cu: {now:.1f} s of processor time, {budget['yardstick_seconds']} s in the budget")
        allowed *= max(1.0, now / budget["yardstick_seconds"])
    return allowed


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
    for architecture in arguments.architectures:
        report, seconds, kilobytes = compile_for(arguments, arguments.source, architecture)
        kernels = kernels_in(report)
        print(f"sm_{architecture}: {len(kernels)} kernels, {seconds:.1f} s of processor time, {kilobytes:.0f} kB")
        failures += [f"sm_{architecture}: wgmma serialized: {line}" for line in SERIALIZED.findall(report)]
        if not kernels:
            failures.append(f"sm_{architecture}: no kernels in ptxas' report")
        allowed = allowed_seconds(arguments, budget, architecture, seconds)
        if seconds > allowed:
            failures.append(f"sm_{architecture}: {seconds:.1f} s to compile, {allowed:.1f} allowed")
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
            allowed_registers = budget["registers"].get(re.split(r"[<(]", name)[0], budget["registers"]["other"])
            if used > allowed_registers:
                failures.append(f"{where}: {used} registers, {allowed_registers} allowed")

    print("\nregisters per thread" + "".join(f"{'sm_' + a:>8}" for a in arguments.architectures))
    for name, used in sorted(registers.items()):
        print("".join(f"{used.get(a, '-'):>8}" for a in arguments.architectures) + f"  {name}")
    if failures:
        sys.exit("\n" + "\n".join(failures))


main()
