"""Code blocks of README and docs, and what a shell makes of those that hold commands."""

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PAGES = {path.name: path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
PROGRAMS = ("segstill", "torchrun", "make", "pip", "git", "cd", "python")
"""What a command may begin with; any other one fails in the shell, and with it the test."""
OF_FORMULAS = {"methods.md", "design.md"}
"""Pages whose indented blocks are formulas or diagrams, unless they begin with a program; elsewhere: commands."""
ASSIGNMENT = re.compile(r"^[A-Z]+=.*$", re.M)
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.M | re.S)
INDENTED = re.compile(r"(?:^\n|\A)((?:^ {4}[^\n]*\n|^\n(?= {4}))+)", re.M)
SAY = """say() { printf '%s\\0' "$@"; printf '\\1\\0'; }
for program in PROGRAMS; do eval "$program() { say $program \\"\\$@\\"; }"; done
"""


class Block(NamedTuple):
    """A block of code of a page."""

    kind: str
    """python; sh; text, which nobody runs; or what else stands at the fence, which the test refuses."""
    text: str
    section: str
    """The heading of second order above it."""


def blocks(page: str) -> list[Block]:
    """Return the blocks of a page in their order."""
    text = PAGES[page].read_text()
    found = [(m.start(), m[2], _dedented(m[3], len(m[1]))) for m in FENCE.finditer(text)]
    rest = FENCE.sub(lambda m: re.sub(r"[^\n]", ".", m[0]), text)
    for match in INDENTED.finditer(_without_lists(rest)):
        code = _dedented(match[1], 4)
        formula = page in OF_FORMULAS and not code.startswith(PROGRAMS)
        found.append((match.start(), "text" if formula else "sh", code))
    headings = [(m.start(), m[1]) for m in re.finditer(r"^## (.*)$", rest, re.M)]
    return [
        Block(kind, code, next((name for at, name in reversed(headings) if at < place), ""))
        for place, kind, code in sorted(found)
    ]


def sections(page: str) -> list[tuple[str, list[Block]]]:
    """The blocks of a page; of README, which is several pages in one, by section."""
    found: dict[str, list[Block]] = {}
    for block in blocks(page):
        found.setdefault(block.section if page == "README.md" else "", []).append(block)
    return [*found.items()]


def _without_lists(text: str) -> str:
    """Blank what belongs to the items of lists, whose paragraphs and tables are indented too."""
    lines, inside = [], False
    for line in text.splitlines(keepends=True):
        if line.strip():
            inside = bool(re.match(r"(-|\d+\.) ", line)) or (inside and line.startswith(" "))
        lines.append("." * (len(line) - 1) + "\n" if inside else line)
    return "".join(lines)


def _dedented(text: str, spaces: int) -> str:
    return re.sub(rf"^ {{{spaces}}}", "", text, flags=re.M)


def commands(script: str, folder: Path, before: str = "") -> list[list[str]]:
    """Let bash expand the commands of a block (variables, braces, quotes, comments) and return their words.

    Args:
        script: the block.
        folder: where it stands.
        before: blocks whose variables hold.
    """
    variables = "\n".join(ASSIGNMENT.findall(before))
    text = "\n".join((SAY.replace("PROGRAMS", " ".join(PROGRAMS)), variables, script))
    done = subprocess.run(["bash", "-euc", text], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"bash refuses {script!r}: {done.stderr}"
    return [command.split("\0")[:-1] for command in done.stdout.split("\1\0") if command]


def links(page: str) -> list[str]:
    """Return where a page links to, but for other hosts."""
    found = re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", PAGES[page].read_text()))
    return [link for link in found if "://" not in link]


def anchors(page: str) -> set[str]:
    """Return the anchors of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", PAGES[page].read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
