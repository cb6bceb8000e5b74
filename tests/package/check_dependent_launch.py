"""Reads in the machine code of sm_90a what the kernels of a source do before they wait for the kernel ahead of them.

Reachable without passing a wait: copies of weights, at least one of them, and no other access to global memory. Other
loads of global memory, or more tensor copies, exist, and so are reachable only through a wait. Copies of weights are
bulk copies of bytes in a row, in which activations never come, and asynchronous ones of 16 bytes and tensor copies or,
in a dependent_kernel, what its last template argument says. Where the toolkit has no disassembler the source has to
compile as far as PTX, and the rest is skipped.
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys

WAIT = "ACQBULK"
INSTRUCTION = re.compile(r"^\s*/\*([0-9a-f]{4,})\*/\s+(?:(@!?U?P\w+)\s+)?(\S+)\s*([^;]*);", re.M)
GLOBAL = re.compile(r"(LD|LDG|LDGSTS|ST|STG|ATOM|ATOMG|RED|REDG|UBLKCP|UTMALDG)(\.|$)")


def is_tensor_copy(opcode):
    return opcode.startswith("UTMALDG")


def weight_copy_of(name):
    """What tells by its opcode whether an instruction of that kernel copies weights."""
    said = re.search(r"dependent_kernel<.*, (\d+)>", name)
    widths = [int(said.group(1))] if said else [16, 0]

    def is_weight_copy(opcode):
        if is_tensor_copy(opcode):
            return 0 in widths
        if opcode == "UBLKCP.S.G":
            return True
        return opcode.startswith("LDGSTS") and {"128": 16, "64": 8}.get(opcode.split(".")[-1], 4) in widths

    return is_weight_copy


def is_load(opcode, is_weight_copy):
    return re.match(r"(LD|LDG|LDGSTS)(\.|$)", opcode) and not is_weight_copy(opcode)


def reachable_without_wait(code):
    """Indices of instructions. A BSYNC goes on where the BSSY of its barrier says."""
    index_of = {address: index for index, (address, *_) in enumerate(code)}
    targets = lambda operands: [index_of[int(t, 16)] for t in re.findall(r"\b0x([0-9a-f]+)\s*$", operands.strip())]
    seen, resume, waiting, work = set(), {}, {}, [0]
    while work:
        index = work.pop()
        if index in seen or index >= len(code):
            continue
        seen.add(index)
        _, predicate, opcode, operands = code[index]
        name = opcode.split(".")[0]
        barrier = operands.split(",")[0].strip()
        conditional = bool(predicate) or "," in operands
        if name == WAIT:
            continue
        if name in ("BRX", "JMX", "JMP"):
            sys.exit(f"{opcode}: a jump that this check cannot follow")
        if name == "BSSY":
            resume.setdefault(barrier, set()).update(targets(operands))
            work += [target for target in targets(operands) if barrier in waiting]
        if name == "BSYNC":
            waiting[barrier] = True
            work += resume.get(barrier, ())
        if name in ("BRA", "CALL"):
            work += targets(operands)
        ends = name == "BRA" and not conditional or name in ("EXIT", "RET", "BSYNC") and not predicate
        if not ends:
            work.append(index + 1)
    return seen


def faults(code, is_weight_copy):
    waits = sum(opcode.split(".")[0] == WAIT for _, _, opcode, _ in code)
    if waits == 0:
        yield "no wait"
        return
    reachable = reachable_without_wait(code)
    early = {code[index][2] for index in reachable}
    for opcode in sorted(early):
        if GLOBAL.match(opcode) and not is_weight_copy(opcode):
            yield f"{opcode} above the wait"
    if not any(is_weight_copy(opcode) for opcode in early):
        yield "no copy of weights above the wait"
    late_copy = any(is_tensor_copy(opcode) for index, (_, _, opcode, _) in enumerate(code) if index not in reachable)
    if not late_copy and not any(is_load(opcode, is_weight_copy) for _, _, opcode, _ in code):
        yield "no load of activations at all"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("nvcc", "include", "source", "out"):
        parser.add_argument(f"--{option}", required=True)
    arguments = parser.parse_args()
    cuobjdump = shutil.which("cuobjdump", path=pathlib.Path(arguments.nvcc).parent) or shutil.which("cuobjdump")
    kind = "ptx" if cuobjdump is None else "cubin"
    pathlib.Path(arguments.out).mkdir(parents=True, exist_ok=True)
    target = pathlib.Path(arguments.out) / f"{pathlib.Path(arguments.source).stem}.{kind}"
    subprocess.run([arguments.nvcc, "-std=c++17", "-O3", "-arch=sm_90a", f"-{kind}", f"-I{arguments.include}",
                    arguments.source, "-o", target], check=True)
    if cuobjdump is None:
        print("skipped: the toolkit has no cuobjdump; compiled only")
        sys.exit(77)
    listing = subprocess.run([cuobjdump, "-sass", target], stdout=subprocess.PIPE, text=True, check=True).stdout
    kernels = re.split(r"^\s*Function : ", listing, flags=re.M)[1:]
    if not kernels:
        sys.exit("no kernels in the listing")
    failures = []
    for kernel in kernels:
        mangled, _, body = kernel.partition("\n")
        name = subprocess.run(["c++filt", "-p", mangled.strip()], stdout=subprocess.PIPE, text=True).stdout.strip()
        code = [(int(address, 16), predicate, opcode, operands)
                for address, predicate, opcode, operands in INSTRUCTION.findall(body)]
        found = list(faults(code, weight_copy_of(name)))
        failures += [f"{name}: {fault}" for fault in found]
        print(f"{'bad ' if found else 'good'} {name}, {len(code)} instructions")
    if failures:
        sys.exit("\n" + "\n".join(failures))


main()
