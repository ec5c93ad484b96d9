"""Tells what a conversation asks from the text it gives to answer from."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from headgate_inference.local.sentences import cut


@dataclass(frozen=True, slots=True)
class Turn:
    """One message: `role` is system, user, assistant or tool."""

    role: str
    text: str


class Want(Enum):
    """What the reply should be."""

    ANSWER = auto()
    SUMMARY = auto()


@dataclass(frozen=True, slots=True)
class Task:
    """A question and the texts that may hold its answer, oldest first; `length` is the number of summary
    sentences asked for."""

    want: Want
    question: str
    material: tuple[str, ...]
    length: int | None = None


_SHORT = 400
"""Characters up to which a message without a sign of a question counts as one."""

_FRAME = 200
"""Characters up to which what stands around a question belongs to it, when there is other text to answer from."""

_LONGEST = 2000
"""Characters of a question that count, from its end."""

_LABEL = re.compile(
    r"^[ \t>*#_]*(?P<name>user question|question|query|task|request|instructions?|q|frage|aufgabe|pregunta)"
    r"[ \t*_]*[:：][ \t*_]*",
    re.IGNORECASE | re.MULTILINE,
)
_ANSWER_LABEL = re.compile(
    r"^[ \t>*#_]*(?:answer|a|response|antwort|respuesta)[ \t*_]*[:：][ \t*_]*$", re.I | re.M
)
_TEXT_LABEL = re.compile(
    r"^[ \t>*#_]*(?:here is |this is )?(?:the )?(?:following )?(?:document|documents|context|text|passage|article|"
    r"source|sources|background|content|input|notes|transcript|dokument|kontext|documento|contexto|texto)"
    r"[ \t*_]*[:：][ \t*_]*$|^(?:document|context|text|passage|article)[:：][ \t]+",
    re.IGNORECASE | re.MULTILINE,
)
_FENCE = re.compile('"""|```')
_TAG = re.compile(
    r"<(/?)(?:documents?|context|text|article|passage|source|content|data|doc)\b[^<>]{0,200}>", re.IGNORECASE
)

_REQUEST = re.compile(
    r"^(?:please|kindly|now|then|and|so|ok|okay|thanks|hi|hello|hey|bitte)?[,!]?\s*"
    r"(?:(?:can|could|would|will) you (?:please )?)?"
    r"(?:who|whom|whose|what|which|when|where|why|how|is|are|was|were|do|does|did|has|have|can|could|should|will|"
    r"tell|explain|list|describe|find|give|name|summari[sz]e|sum|outline|identify|define|state|show|quote|extract|"
    r"answer|compare|provide|write|look|according|based|using|from|in one|in two|in three|tl;?dr|"
    r"wer|was|wann|wo|wie|warum|welche[rs]?|nenne|erkläre|fasse|qui|que|quoi|quand|où|comment|pourquoi|quel|quelle|"
    r"résume[rz]?|quién|qué|cuándo|dónde|cómo|cuánto|cuántos|resume)\b",
    re.IGNORECASE,
)
_INSTRUCTION = re.compile(
    r"^(?:you are|you're|you will|you must|you should|your (?:task|job|role)|answer|use (?:only|the)|only use|do not|"
    r"don't|respond|reply|be (?:concise|brief|helpful)|always|never|if (?:the|you|it|there)|please|act as|assume|"
    r"keep (?:your|it|the)|say (?:so|that|you)|i will give|i am going to|below is|here is|here are|here's|"
    r"the following|read the)\b",
    re.IGNORECASE,
)
_POLITE = r"^(?:(?:please|kindly|now|then|and|(?:can|could|would|will) you|i (?:need|want|would like)),?\s+)*"
_SUMMARY = re.compile(
    r"\bsummari[sz](?:e|ing)\b|\btl;?dr\b|\bsum\b.{1,30}\bup\b|\bfasse\b.{1,40}\bzusammen|\bzusammenfassung\b|"
    + _POLITE
    + r"(?:sum up|recap|condense|résume[rz]?|resume|riassumi)\b|"
    + _POLITE
    + r"(?:(?:give|provide|write|make|create|produce)\b.{0,40}\b)?(?:\w+ ){0,3}"
    r"(?:summary|overview|gist|abstract|synopsis|digest)\b|"
    r"\bwhat (?:are|is|were) (?:the )?(?:main|key|central|most important) (?:points?|ideas?|takeaways?|messages?)\b|"
    r"\b(?:list|give|name)\b.{0,20}\b(?:main|key|central) (?:points?|ideas?|takeaways?)\b|"
    r"\bwhat (?:is|does) (?:this|the) (?:text|document|article|passage|report|page)\b.{0,12}\babout\b",
    re.IGNORECASE,
)
_NUMBERS = {
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
}
_LENGTH = re.compile(
    r"\b(\d{1,2}|" + "|".join(_NUMBERS) + r")[ -](?:short |main |key )?(?:sentence|point|bullet)", re.I
)
_POINTS_BACK = re.compile(
    r"\b(?:it|its|they|them|their|he|him|his|she|her|this|these|those)\b|^(?:and|but|so|what about|how about)\b|"
    r"^(?:why|when|where|who|how|how much|how many)\W*$",
    re.IGNORECASE,
)


def read(turns: Sequence[Turn], own_notices: Sequence[str] = ()) -> Task:
    """What the last user turn asks, and the texts to answer from. `own_notices` are replies of ours that say
    nothing about the world."""
    last = max((index for index, turn in enumerate(turns) if turn.role == "user"), default=None)
    if last is None:
        return Task(Want.SUMMARY, "", tuple(_context(turns, own_notices)))
    earlier = _context([turn for index, turn in enumerate(turns) if index != last], own_notices)
    question, given = part(turns[last].text)
    if earlier and _frames(turns[last].text, given):
        question, given = turns[last].text.strip(), ""
    material = [*earlier, given] if given else earlier
    if not question:
        return Task(Want.SUMMARY, "", tuple(material))
    if _SUMMARY.search(question):
        return Task(Want.SUMMARY, question, tuple(material), _length(question))
    return Task(Want.ANSWER, _in_full(question, turns[:last]), tuple(material))


def part(message: str) -> tuple[str, str]:
    """The question and the material of one message; either may be empty."""
    text = message.strip()
    for divide in (_by_fence, _by_label, _by_paragraph, _by_sentence):
        found = divide(text)
        if found:
            return found[0].strip()[-_LONGEST:], _TEXT_LABEL.sub("", found[1]).strip()
    return (text, "") if len(text) <= _SHORT else ("", text)


def _frames(message: str, given: str) -> bool:
    """Whether `given`, taken from `message`, says why somebody asks ("I lost my card. What now?") and is no
    text to answer from."""
    marked = any(sign.search(message) for sign in (_LABEL, _TEXT_LABEL, _TAG, _FENCE))
    return not marked and 0 < len(given) <= _FRAME and len(message) <= _SHORT


def _by_fence(text: str) -> tuple[str, str] | None:
    """The material between tags such as <document>, triple quotes or code fences, from the first to the last."""
    for start, end in (_tags(text), _marks(text, '"""'), _marks(text, "```")):
        rest = f"{text[:start]}\n\n{text[end:]}"
        if end > start and rest.strip():
            question, given = part(_ANSWER_LABEL.sub("", rest))
            body = _TAG.sub("\n\n", text[start:end]).replace('"""', "\n").replace("```", "\n")
            return question, f"{body}\n\n{given}"
    return None


def _tags(text: str) -> tuple[int, int]:
    """Where the first opening tag starts and the last closing one ends; (0, 0) without them."""
    tags = list(_TAG.finditer(text))
    opening = next((tag for tag in tags if not tag[1]), None)
    closing = next((tag for tag in reversed(tags) if tag[1]), None)
    return (opening.start(), closing.end()) if opening and closing else (0, 0)


def _marks(text: str, mark: str) -> tuple[int, int]:
    first, last = text.find(mark), text.rfind(mark)
    return (first, last + len(mark)) if last > first else (0, 0)


def _by_label(text: str) -> tuple[str, str] | None:
    """`Question: …` to the end of its paragraph; the last one counts."""
    labels = list(_LABEL.finditer(text))
    if not labels:
        return None
    label = labels[-1]
    question, _, after = text[label.end() :].partition("\n\n")
    question = _ANSWER_LABEL.sub("", question)
    given = f"{text[: label.start()]}\n\n{_ANSWER_LABEL.sub('', after)}"
    return (question, given) if question.strip() and given.strip() else None


def _by_paragraph(text: str) -> tuple[str, str] | None:
    """The question as last or first of several paragraphs."""
    paragraphs = [paragraph for paragraph in re.split(r"\n\s*\n", text) if paragraph.strip()]
    if len(paragraphs) < 2:
        return None
    for index in (-1, 0):
        if len(paragraphs[index]) > _SHORT:
            continue
        asked = [line for line in cut(" ".join(paragraphs[index].split())) if _asks(line)]
        if asked:
            rest = paragraphs[:-1] if index else paragraphs[1:]
            return " ".join(asked), "\n\n".join(rest)
    return None


def _by_sentence(text: str) -> tuple[str, str] | None:
    """The question as last or first sentences of one paragraph, or as its last or first line."""
    units = [line for line in text.splitlines() if line.strip()]
    if len(units) < 2:
        units = cut(" ".join(text.split()))
    last = len(units)
    while last > 0 and _asks(units[last - 1]):
        last -= 1
    first = 0
    while first < last and _asks(units[first]):
        first += 1
    questions = [*units[:first], *units[last:]]
    given = units[first:last]
    if not questions or not given or not any(len(unit.split()) > 3 for unit in given):
        return None
    return " ".join(questions), "\n".join(given)


def _asks(sentence: str) -> bool:
    sentence = sentence.strip()
    return sentence.endswith(("?", "？")) or (len(sentence) <= 200 and bool(_REQUEST.match(sentence)))


def _context(turns: Iterable[Turn], own_notices: Sequence[str]) -> list[str]:
    """The texts of turns other than the asking one, without instructions and earlier questions."""
    texts = []
    for turn in turns:
        if turn.role == "assistant" and turn.text.strip() in own_notices:
            continue
        text = part(turn.text)[1] or turn.text if turn.role == "user" else turn.text
        text = _without_instructions(_TEXT_LABEL.sub("", text)) if turn.role != "assistant" else text
        if text and not (turn.role == "user" and _says_nothing(text)):
            texts.append(text)
    return texts


def _says_nothing(text: str) -> bool:
    """Whether a user text is only a question, a request or a greeting."""
    return len(text) <= _SHORT and (_asks(text) or len(text.split()) < 3)


def _without_instructions(text: str) -> str:
    """Drops sentences that tell the model how to behave from the first and last paragraph."""
    paragraphs = [paragraph for paragraph in re.split(r"\n\s*\n", text) if paragraph.strip()]
    for index in {0, len(paragraphs) - 1} if paragraphs else ():
        sentences = cut(" ".join(paragraphs[index].split()))
        kept = [sentence for sentence in sentences if not _INSTRUCTION.match(sentence)]
        if len(kept) < len(sentences):
            paragraphs[index] = " ".join(kept)
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _in_full(question: str, before: Sequence[Turn]) -> str:
    """A question that points back, with the one it points to in front."""
    if len(question.split()) > 12 or not _POINTS_BACK.search(question):
        return question
    for turn in reversed(before):
        if turn.role == "user":
            earlier = part(turn.text)[0]
            if earlier and not _SUMMARY.search(earlier):
                return f"{earlier} {question}"
    return question


def _length(question: str) -> int | None:
    match = _LENGTH.search(question)
    if not match:
        return None
    word = match[1].lower()
    return max(1, _NUMBERS.get(word) or int(word))
