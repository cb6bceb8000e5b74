"""Runs a command and judges it: expect.py [--if PROBE] (--fails REGEX | --prints REGEX) -- COMMAND...

--fails asks for a non-zero exit and a match in the output, --prints for exit 0 and a match. A PROBE or COMMAND that
exits 77 (skipped) skips this check too.
"""

import argparse
import re
import subprocess
import sys

parser = argparse.ArgumentParser()
parser.add_argument("--if", dest="probe")
parser.add_argument("--fails", metavar="REGEX")
parser.add_argument("--prints", metavar="REGEX")
parser.add_argument("command", nargs="+")
arguments = parser.parse_args()

if arguments.probe:
    probe = subprocess.run([arguments.probe], stdout=subprocess.DEVNULL)
    if probe.returncode != 0:
        sys.exit(probe.returncode)

result = subprocess.run(arguments.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
print(result.stdout, end="")
if result.returncode == 77:
    sys.exit(77)
pattern = arguments.fails or arguments.prints
if (result.returncode != 0) != bool(arguments.fails):
    sys.exit(f"expected {'failure' if arguments.fails else 'success'}, got exit status {result.returncode}")
if not re.search(pattern, result.stdout):
    sys.exit(f"the output does not match: {pattern}")
