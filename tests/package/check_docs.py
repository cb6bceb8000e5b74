"""Documents may name only what exists: check_docs.py ROOT [FILE...]; without files, the README and docs/*.md.

Checked: relative links and their anchors; paths, names with an underscore and Q4FUSE_ variables in backticks; the
programs, presets and targets in sh blocks.
"""

import json
import pathlib
import re
import shutil
import sys

root = pathlib.Path(sys.argv[1]).resolve()
documents = [pathlib.Path(f) for f in sys.argv[2:]] or [root / "README.md", *sorted((root / "docs").glob("*.md"))]
FOLDERS = ("include", "tests", "bench", "tools", "docs")
SOURCES = {".hpp", ".cuh", ".cpp", ".cu", ".cmake", ".py", ".json", ".txt", ".in", ""}

presets = json.loads((root / "CMakePresets.json").read_text())
preset_names = {p["name"] for kind in presets.values() if isinstance(kind, list) for p in kind}
known_words = set()
for folder in FOLDERS[:-1]:
    for file in (root / folder).rglob("*"):
        if file.is_file() and file.suffix in SOURCES and "data" not in file.relative_to(root).parts:
            known_words.update(re.findall(r"\w+", file.read_text(errors="replace")))
            known_words.update(re.findall(r"\w+", str(file.relative_to(root))))
for file in (root / "CMakeLists.txt", root / "CMakePresets.json"):
    known_words.update(re.findall(r"\w+", file.read_text()))


def anchors(text):
    """GitHub's anchors of the headings."""
    return {re.sub(r"[^\w\- ]", "", h).strip().lower().replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, re.M)}


def check_link(document, target):
    path, _, anchor = target.partition("#")
    file = (document.parent / path).resolve() if path else document
    if not file.exists():
        yield f"link to {target}"
    elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text()):
        yield f"link to {target}: no such heading"


def check_code(code):
    for word in re.findall(r"[\w./*<>-]+", code):
        word = word.rstrip(".")
        if word.split("/")[0] in FOLDERS and "/" in word and "<" not in word:
            if not list(root.glob(word.rstrip("/"))):
                yield f"path {word}"
        elif word.startswith("q4fuse/") and not (root / "include" / word).exists():
            yield f"header {word}"
    for word in re.findall(r"(?<![\w./-])[A-Za-z]\w*_\w+", code):
        if "/" not in code and word not in known_words:
            yield f"name {word}"


def check_command(line):
    words = [word for word in line.split() if not re.match(r"\w+=", word)]
    if words and "/" in words[0]:
        program = root / words[0]
        if not words[0].startswith("build/") and not (program.is_file() and program.stat().st_mode & 0o111):
            yield f"program {words[0]}"
    elif words and shutil.which(words[0]) is None and words[0] != "cd":
        yield f"program {words[0]}"
    for preset in re.findall(r"--preset[ =](\S+)", line):
        if preset not in preset_names:
            yield f"preset {preset}"
    for target in re.findall(r"--target (\S+)", line):
        if target not in known_words and target not in {"install", "all", "test"}:
            yield f"target {target}"
    for variable in re.findall(r"\bQ4FUSE_\w+", line):
        if variable not in known_words:
            yield f"variable {variable}"


problems = []
for document in documents:
    text = document.read_text()
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.M | re.S):
        if language in ("sh", "bash"):
            for line in re.sub(r"\\\n", " ", block).splitlines():
                problems += [(document, p) for p in check_command(line.split("#")[0])]
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if "://" not in target:
            problems += [(document, p) for p in check_link(document, target)]
    for code in re.findall(r"`([^`\n]+)`", prose):
        problems += [(document, p) for p in check_code(code)]
if problems:
    sys.exit("\n".join(f"{document.name} names what does not exist: {problem}" for document, problem in problems))
print(f"{len(documents)} documents, {len(known_words)} known names")
