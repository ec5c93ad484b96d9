"""Cuts running text, Markdown and plain lists into sentences, each with the heading it stands under."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from headgate_inference.local.lexical import words


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence as it stands in the text (white space made single); `paragraph` counts from 0."""

    text: str
    heading: str = ""
    paragraph: int = 0

    @property
    def asks(self) -> bool:
        """Whether it is a question, which announces an answer but is none."""
        return self.text.endswith(("?", "？", "؟"))


_BULLET = re.compile(r"^\s*(?:[-*+•◦▪–]|\(?\d{1,3}[.)]|\(?[a-z]\))\s+")
_HEADING = re.compile(r"^\s{0,3}#{1,6}\s+(?P<title>.+?)\s*#*$")
_RULE = re.compile(r"^\s*(?:[-=*_~`|:+]\s*){3,}\w*$")
_LABELLED = re.compile(r"^[A-Z][\w ()/&'-]{0,40}:\s")
_MARKUP = re.compile(r"(?<!\w)(\*\*|__|\*|_)(?=\S)(.+?)(?<=\S)\1(?!\w)")
_ENDS = (".", "!", "?", "…", ":", ";", ",", "。", "！", "？")

_BOUNDARY = re.compile(r"""(?:[.!?…؟।]+["'”’»)\]]*(?=\s)|[。！？]+[」』”]*)""")
_STARTS = re.compile(r"""\s*["'“‘«(\[¿¡*_-]*[^\W_a-z]""")
_TITLES = words(
    "mr mrs ms dr prof rev hon st sr jr gen col capt lt sgt gov sen rep pres mt ft vs cf e.g i.e viz al "
    "approx ca dept est inc ltd corp bros z.b d.h bzw u.a vgl nr hr fr bspw"
)
_NUMBERED = words("no nos fig figs vol vols p pp art sec ch eq ref tab nr para")
_INITIALS = re.compile(r"^(?:[^\W\d_]\.)*[^\W\d_]$")
_OPENERS = words(
    "the a an it its in on at he she they we this that these those but and or as if when while after before "
    "since for from by to however there his her their our i you most many some"
)


def split(text: str) -> list[Sentence]:
    """The sentences of `text`, in order; headings are not sentences but stand with those below them."""
    found: list[Sentence] = []
    heading, paragraph = "", 0
    for block in _blocks(text):
        title = _title(block)
        if title:
            heading, paragraph = title, paragraph + 1
            continue
        found.extend(_sentences(block, heading, paragraph))
        paragraph += 1
    return found or [Sentence(heading)] if heading else found


def _sentences(block: list[str], heading: str, paragraph: int) -> Iterator[Sentence]:
    """The sentences of a block; a question in it is the heading of what follows it there."""
    for line in _unwrapped(block):
        for part in cut(_plain(line)):
            sentence = Sentence(part, heading, paragraph)
            yield sentence
            if sentence.asks:
                heading = part


def cut(line: str) -> list[str]:
    """The sentences of one paragraph without line breaks."""
    parts: list[str] = []
    start = 0
    for match in _BOUNDARY.finditer(line):
        if _ends_sentence(line, start, match):
            parts.append(line[start : match.end()].strip())
            start = match.end()
    parts.append(line[start:].strip())
    return [part for part in parts if any(letter.isalnum() for letter in part)]


def _blocks(text: str) -> Iterator[list[str]]:
    """Runs of lines without a blank line, a heading line or a ruler between them."""
    block: list[str] = []
    for line in text.splitlines():
        if not line.strip() or _RULE.match(line):
            yield block
            block = []
        elif _HEADING.match(line):
            yield block
            yield [line]
            block = []
        else:
            block.append(line)
    yield block


def _title(block: list[str]) -> str:
    """The heading a block is: a Markdown heading, a question, or one short line that no sentence sign ends."""
    if len(block) != 1:
        return ""
    match = _HEADING.match(block[0])
    if match:
        return _plain(match["title"])
    line = block[0].strip()
    if line.endswith("?") and len(cut(line)) == 1:
        return _plain(line)
    short = len(line) <= 80 and len(line.split()) <= 10
    return line if short and not line.endswith(_ENDS) and not _own_line(line) else ""


def _own_line(line: str) -> bool:
    return bool(_BULLET.match(line) or line.lstrip().startswith("|") or _LABELLED.match(line.strip()))


def _unwrapped(block: list[str]) -> Iterator[str]:
    """The lines of a block, those joined that were only broken because the next word had no room."""
    width = max((len(line.rstrip()) for line in block), default=0)
    joined = ""
    room = 0
    for line in block:
        word = line.split(maxsplit=1)[0]
        if joined and (_own_line(line) or room + 1 + len(word) <= width):
            yield joined
            joined = ""
        joined = f"{joined} {line.strip()}" if joined else line.strip()
        room = len(line.rstrip())
    if joined:
        yield joined


def _plain(line: str) -> str:
    """`line` without bullet, table bars and emphasis marks."""
    line = _BULLET.sub("", line.strip())
    if line.startswith("|"):
        line = " – ".join(cell.strip() for cell in line.strip("|").split("|") if cell.strip())
    return re.sub(r"\s+", " ", _MARKUP.sub(r"\2", line)).strip()


def _ends_sentence(line: str, start: int, match: re.Match[str]) -> bool:
    mark = match.group()
    if mark[0] in "。！？":
        return True
    rest = line[match.end() :]
    if not _STARTS.match(rest):
        return False
    if mark != ".":
        return True
    word = (
        line[start : match.start()].rsplit(None, 1)[-1].lstrip("(\"'“‘[").lower()
        if match.start() > start
        else ""
    )
    following = rest.split(None, 1)[0]
    if word in _NUMBERED:
        return not following[0].isdigit()
    if _INITIALS.match(word):
        return following.lower() in _OPENERS
    return word not in _TITLES
