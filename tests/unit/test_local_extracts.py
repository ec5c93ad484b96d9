"""Sentences are chosen by meaning and by words; nothing is said when nothing fits; summaries do not repeat
themselves. The embedder here knows a few words by topic, so that each choice can be foreseen."""

from collections.abc import Sequence

import numpy as np
import pytest

from headgate_inference.local.conversation import Task, Turn, Want, read
from headgate_inference.local.extracts import extract
from headgate_inference.local.lexical import bm25, stems
from headgate_inference.local.passages import Passage, passages
from headgate_inference.local.ranking import Matrix, echo, shortlist
from headgate_inference.local.sentences import Sentence
from headgate_inference.local.summary import central
from headgate_inference.local.worker import Steps

TOPICS = [
    {"vacation", "holiday", "holidays", "leave"},
    {"fire", "alarm", "smoke"},
    {"dog", "dogs", "pets", "pet"},
    {"boiler", "heating", "warm"},
]


def vector(text: str) -> Matrix:
    """One axis per topic and one for the rest; a topic outweighs other words."""
    words = [word.strip(".,?:") for word in text.lower().split()]
    row = np.array([3.0 * any(word in topic for word in words) for topic in TOPICS] + [1.0], dtype=np.float32)
    return row / np.linalg.norm(row)


class TopicReader:
    """Knows each word by its topic alone, whatever stands around it."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def vectors(self, texts: Sequence[str]) -> Steps[list[Matrix]]:
        yield
        return [vector(text) for text in texts]

    def words(self, passages: Sequence[Passage]) -> Steps[list[Sequence[Matrix]]]:
        self.parts.extend(part for passage in passages for part in passage)
        yield
        return [[self.rows(part) for part in passage] for passage in passages]

    def rows(self, part: str) -> Matrix:
        return np.stack([vector(word) for word in part.split() or [""]])


def run(task: Task, reader: TopicReader | None = None) -> list[str]:
    steps = extract(task, reader or TopicReader())
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return list(end.value)


TEXT = (
    "# House rules\n\nStaff get 27 days of holiday a year. Unused days lapse in March.\n\n"
    "Pets pay 15 euros.\n\nShould there be smoke, press the red button.\n\n"
    "The boiler is checked by Olga Reyes."
)


def ask(question: str, *material: str) -> list[str]:
    return run(Task(Want.ANSWER, question, material or (TEXT,)))


def test_the_sentence_with_the_meaning_of_the_question_comes_first() -> None:
    assert ask("How much vacation is there?")[0] == "Staff get 27 days of holiday a year."
    assert ask("May I bring a dog?")[0] == "Pets pay 15 euros."


def test_between_equal_meanings_shared_words_decide() -> None:
    text = "Bolts are sold in boxes. Valves are sold in crates. Nuts are sold in bags."
    assert ask("In what are valves sold?", text)[0] == "Valves are sold in crates."


def test_between_equal_sentences_the_kind_of_answer_decides() -> None:
    text = "The boiler is checked often.\n\nThe boiler is checked by Olga Reyes.\n\nThe boiler is checked in 2031."
    assert ask("Who checks the boiler?", text)[0] == "The boiler is checked by Olga Reyes."
    assert ask("In which year is the boiler checked?", text)[0] == "The boiler is checked in 2031."


def test_at_most_three_sentences_answer_and_each_once() -> None:
    text = " ".join(f"Holiday number {n} is fine." for n in range(9))
    answer = ask("Which holiday?", text, text)
    assert len(answer) == 3
    assert len(set(answer)) == 3


def test_nothing_is_said_when_nothing_fits() -> None:
    class Foreign(TopicReader):
        def rows(self, part: str) -> Matrix:
            row = np.zeros((1, 2), dtype=np.float32)
            row[0, int(part in TEXT)] = 1
            return row

    assert run(Task(Want.ANSWER, "Who wrote Hamlet?", (TEXT,)), Foreign()) == []


def test_a_sentence_is_read_with_the_one_before_it_in_its_paragraph() -> None:
    sentences = [Sentence("Dogs."), Sentence("They pay."), Sentence("They pay too.", paragraph=1)]
    about_dogs = np.array([[1, 0], [1, 0]], dtype=np.float32)
    words = [np.array([row], dtype=np.float32) for row in ([1, 0], [0, 1], [0, 1])]
    assert echo(about_dogs, words, sentences).tolist() == [1, 0.5, 0]


def test_sentences_are_read_with_their_heading_paragraph_by_paragraph() -> None:
    long = "x" * 800
    sentences = [
        Sentence("One.", "Fees"),
        Sentence("Two.", "Fees"),
        Sentence("Three.", "Dogs", paragraph=1),
        Sentence(long, "Dogs", paragraph=1),
        Sentence(long, "Dogs", paragraph=1),
    ]
    assert passages(sentences) == [
        ("Fees", "One.", "Two."),
        ("Dogs", "Three.", long),
        ("Dogs", long),
    ]


def test_a_question_in_the_text_is_not_its_own_answer() -> None:
    answer = ask("May I take a holiday?", "May I take a holiday?\n\nYes, the head of department signs it.")
    assert answer == ["Yes, the head of department signs it."]


def test_of_a_very_long_text_only_what_shares_words_is_compared() -> None:
    text = "\n\n".join(f"Entry {n} has the value {n * 7}." for n in range(3000))
    reader = TopicReader()
    answer = run(Task(Want.ANSWER, "What is the value of entry 2711?", (text,)), reader)
    assert answer[0] == "Entry 2711 has the value 18977."
    assert sum(part.startswith("Entry") for part in reader.parts) <= 160


def test_few_long_sentences_are_compared_before_many() -> None:
    sentences = [Sentence("x" * 1000, paragraph=n) for n in range(100)]
    assert shortlist(np.arange(100.0), sentences) == list(range(68, 100))


def test_a_summary_takes_the_central_sentences_in_the_order_of_the_text() -> None:
    text = (
        "The fire alarm rings in every room of the house.\n\nPets are very welcome in the rooms of the house.\n\n"
        "The fire alarm rings in every hall of the house.\n\nThe alarm and the fire doors are tested every month.\n\n"
        "The heating runs from the first of October."
    )
    summary = run(Task(Want.SUMMARY, "Summarise.", (text,), length=2))
    assert len(summary) == 2
    assert "alarm" in summary[0]
    assert "alarm" not in summary[1]
    assert text.index(summary[0]) < text.index(summary[1])


@pytest.mark.parametrize("length", [None, 1, 50])
def test_a_summary_is_never_longer_than_the_text(length: int | None) -> None:
    sentences = [Sentence("Fire is hot."), Sentence("Pets are warm.")]
    chosen = central(sentences, np.stack([vector(sentence.text) for sentence in sentences]), length)
    assert len(chosen) == (1 if length == 1 else 2)


@pytest.mark.parametrize("want", list(Want))
def test_material_without_a_sentence_gives_nothing(want: Want) -> None:
    assert run(Task(want, "What?", ("...",))) == []


@pytest.mark.parametrize(
    "text",
    ["." * 200_000, "mr. " * 50_000, "<text>" * 40_000, "<document " * 40_000, "# a" + " " * 500_000 + "b", " _a" * 60_000,
     "line\n" * 100_000, "question: " * 40_000, "A. B. " * 20_000, '"""' * 40_000, "why? " * 40_000],
    ids=lambda text: text[:10].strip(),
)  # fmt: skip
def test_no_text_makes_a_pattern_go_quadratic(text: str) -> None:
    # Without a bound each of these takes minutes, which shows as a suite that does not end.
    run(read([Turn("user", f"{text}\n\nWhat is it?"), Turn("user", text)]))


def test_forms_of_a_word_meet_in_its_stem() -> None:
    assert len({*stems("open"), *stems("opening"), *stems("opened")}) == 1
    assert len({*stems("capped"), *stems("cap")}) == 1
    assert len({*stems("policies"), *stems("policy")}) == 1
    assert stems("the of and") == []
    assert stems("2711 in 1900") == ["2711", "1900"]


def test_bm25_prefers_rare_words_and_is_zero_without_any() -> None:
    rows = [["common", "rare"], ["common", "other"], ["common", "more"], ["else", "more"]]
    scores = bm25(["common", "rare"], rows)
    assert scores[0] > scores[1] > scores[3] == 0
    assert bm25([], rows) == [0, 0, 0, 0]
