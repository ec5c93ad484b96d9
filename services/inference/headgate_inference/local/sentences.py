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
_SECTION = re.compile(r"^\d{1,3}(?:(?:\.\d{1,3})*[.)]|(?:\.\d{1,3})+)\s+(?=\S)")
_RULE = re.compile(r"^\s*(?:[-=*_~`|:+]\s*){3,}\w*$")
_LABELLED = re.compile(r"^[A-Z][\w ()/&'-]{0,40}:\s")
_MARKUP = re.compile(r"(?<!\w)(\*\*|__|\*|_)(?=\S)(.{1,200}?)(?<=\S)\1(?!\w)")
_LONGEST = 1000
_ENDS = (".", "!", "?", "…", ":", ";", ",", "。", "！", "？")

_BOUNDARY = re.compile(r"""(?:[.!?…؟।]{1,9}["'”’»)\]*_]{0,4}(?=\s)|[。！？]{1,9}[」』”]{0,4})""")
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
    """The sentences of one paragraph without line breaks; what has over 1,000 characters is cut further."""
    parts: list[str] = []
    start = 0
    for match in _BOUNDARY.finditer(line):
        if _ends_sentence(line, start, match):
            parts.extend(_pieces(line[start : match.end()].strip()))
            start = match.end()
    parts.extend(_pieces(line[start:].strip()))
    # Emphasis is taken out of single sentences, because this pattern is slow on very long lines.
    return [_MARKUP.sub(r"\2", part) for part in parts if any(letter.isalnum() for letter in part)]


def _pieces(sentence: str) -> Iterator[str]:
    while len(sentence) > _LONGEST:
        end = sentence.rfind(" ", 1, _LONGEST) + 1 or _LONGEST
        yield sentence[:end].strip()
        sentence = sentence[end:]
    yield sentence


def _blocks(text: str) -> Iterator[list[str]]:
    """Runs of lines without a blank line, a heading line or a ruler between them."""
    block: list[str] = []
    for line in text.splitlines():
        if not line.strip() or _RULE.match(line):
            # What stands over the ruler of a table is names of columns.
            yield block[:-1] if "|" in line and block else block
            block = []
        elif len(line) <= 200 and _HEADING.match(line):
            yield block
            yield [line]
            block = []
        else:
            block.append(line)
    yield block


def _title(block: list[str]) -> str:
    """The heading a block is: a Markdown heading, a question, or one short line that no sentence sign ends."""
    if len(block) != 1 or len(block[0]) > 200:
        return ""
    line = block[0].strip()
    match = _HEADING.match(line)
    if match:
        return _MARKUP.sub(r"\2", _SECTION.sub("", _plain(match["title"])))
    if line.endswith("?") and len(cut(line)) == 1:
        return _plain(line)
    short = len(line) <= 80 and len(line.split()) <= 10
    return line if short and not line.endswith(_ENDS) and not _own_line(line) else ""


def _own_line(line: str) -> bool:
    return bool(_BULLET.match(line) or line.lstrip().startswith("|") or _LABELLED.match(line.strip()))


def _unwrapped(block: list[str]) -> Iterator[str]:
    """The lines of a block, those joined that were only broken because the next word had no room."""
    width = max((len(line.rstrip()) for line in block), default=0)
    joined: list[str] = []
    room = 0
    for line in block:
        word = line.split(maxsplit=1)[0]
        if joined and (_own_line(line) or room + 1 + len(word) <= width):
            yield " ".join(joined)
            joined = []
        joined.append(line.strip())
        room = len(line.rstrip())
    if joined:
        yield " ".join(joined)


def _plain(line: str) -> str:
    """`line` without bullet and table bars."""
    line = _BULLET.sub("", line.strip())
    if line.startswith("|"):
        line = " – ".join(cell.strip() for cell in line.strip("|").split("|") if cell.strip())
    return " ".join(line.split())


def _ends_sentence(line: str, start: int, match: re.Match[str]) -> bool:
    mark = match.group()
    if mark[0] in "。！？":
        return True
    if not _STARTS.match(line, match.end()):
        return False
    if mark != ".":
        return True
    # Short looks to both sides: a line may be very long, and this runs at each of its full stops.
    before = line[max(start, match.start() - 40) : match.start()].split()
    word = before[-1].lstrip("(\"'“‘[").lower() if before else ""
    following = line[match.end() : match.end() + 40].split() or [""]
    if word in _NUMBERED:
        return not following[0][:1].isdigit()
    if _INITIALS.match(word):
        return following[0].lower() in _OPENERS
    return word not in _TITLES
