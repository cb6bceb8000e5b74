"""Shared libraries must not export what q4fuse defines: check_exports.py NM LIBRARY...

Two libraries in one process may be built for different GPUs or from different versions; the dynamic linker would make
them share whatever both export. Members of public classes are excepted: they hold no kernel and no table.
"""

import re
import subprocess
import sys

OWN = re.compile(r"(?:^|[\s*&])(q4fuse::v\d+_\d+::(?:detail::.+|[^:]+))$")


def symbols(nm, *arguments):
    lines = subprocess.run([nm, "-C", "--defined-only", *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout
    return [line.split(maxsplit=2)[2] for line in lines.splitlines()]


def own_name(symbol):
    """The q4fuse function or variable that a demangled symbol is, without template arguments and parameters."""
    name = symbol
    while (shorter := re.sub(r"<[^<>]*>", "", name)) != name:
        name = shorter
    match = OWN.search(name.replace("operator()", "operator").split("(")[0])
    return match and match[1]


failures = []
for library in sys.argv[2:]:
    if not any("_kernel" in symbol and "q4fuse::" in symbol for symbol in symbols(sys.argv[1], library)):
        failures.append(f"{library} holds no kernel of q4fuse at all")
    failures += [f"{library} exports {symbol}" for symbol in symbols(sys.argv[1], "-D", library) if own_name(symbol)]
if failures:
    sys.exit("\n".join(failures))
