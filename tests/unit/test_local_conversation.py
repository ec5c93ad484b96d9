"""The last user message is split into what it asks and what it gives; the other messages give what they hold."""

import pytest

from headgate_inference.local.conversation import Task, Turn, Want, part, read

TEXT = "The lighthouse was built in 1871. Its keeper was Maren Holt. The lamp burned oil until 1923."


@pytest.mark.parametrize(
    "message",
    [
        f"Document:\n{TEXT}\n\nQuestion: Who kept it?",
        f"Context: {TEXT}\nQuestion: Who kept it?\nAnswer:",
        f"Question: Who kept it?\n\nContext:\n{TEXT}",
        f"{TEXT}\n\nWho kept it?",
        f"Who kept it?\n\n{TEXT}",
        f"{TEXT} Who kept it?",
        f"{TEXT}\nWho kept it?",
        f"<document>{TEXT}</document>\n\nWho kept it?",
        f'Who kept it?\n"""\n{TEXT}\n"""',
        f"```text\n{TEXT}\n```\nWho kept it?",
    ],
)
def test_question_and_text_are_told_apart(message: str) -> None:
    question, given = part(message)
    assert question.split("\n")[0] == "Who kept it?"
    assert "Maren Holt" in given
    assert "Who kept it?" not in given


@pytest.mark.parametrize(
    "message", ["Who kept it?", "hello", "the lighthouse keeper", "Tell me about the keeper."]
)
def test_a_short_message_alone_is_a_question(message: str) -> None:
    assert part(message) == (message, "")


def test_a_long_text_without_a_question_is_to_be_summarised() -> None:
    task = read([Turn("user", TEXT * 6)])
    assert (task.want, task.question) == (Want.SUMMARY, "")


def test_a_document_in_the_system_message_is_material_and_its_instructions_are_not() -> None:
    system = f"You are a helpful assistant. Answer only from the document.\n\nDocument:\n{TEXT}"
    task = read([Turn("system", system), Turn("user", "Who kept it?")])
    assert (task.want, task.question, task.material) == (Want.ANSWER, "Who kept it?", (TEXT,))


def test_instructions_and_earlier_questions_alone_are_no_material() -> None:
    turns = [
        Turn("system", "You are a helpful assistant."),
        Turn("user", "Who are you?"),
        Turn("assistant", "nothing there"),
        Turn("user", "When was the tower built?"),
    ]
    assert read(turns, own_notices=["nothing there"]) == Task(Want.ANSWER, "When was the tower built?", ())


def test_a_document_of_an_earlier_turn_stays_material() -> None:
    turns = [
        Turn("user", f"{TEXT}\n\nWhen was it built?"),
        Turn("assistant", "In 1871."),
        Turn("user", "Who kept the lamp?"),
    ]
    assert TEXT in read(turns).material
    assert read(turns).question == "Who kept the lamp?"


def test_with_a_text_to_answer_from_a_short_message_is_all_question() -> None:
    message = "A newspaper rang me. Who deals with them?"
    assert read([Turn("system", TEXT), Turn("user", message)]) == Task(Want.ANSWER, message, (TEXT,))


@pytest.mark.parametrize(
    "message",
    [
        "Context: The bell is green.\nQuestion: Which colour is it?",
        '"""The bell is green."""\nWhich colour is it?',
        f"{'The bell is green and old. ' * 9}Which colour is it?",
    ],
)
def test_a_marked_or_longer_text_beside_a_question_stays_material(message: str) -> None:
    task = read([Turn("system", TEXT), Turn("user", message)])
    assert task.question == "Which colour is it?"
    assert "The bell is green" in task.material[-1]


def test_what_a_tool_answered_is_material() -> None:
    turns = [Turn("user", "Who kept the lamp?"), Turn("tool", TEXT)]
    assert read(turns) == Task(Want.ANSWER, "Who kept the lamp?", (TEXT,))


def test_a_question_that_points_back_takes_the_earlier_one_along() -> None:
    turns = [
        Turn("system", TEXT),
        Turn("user", "When was the lighthouse built?"),
        Turn("user", "And who kept it?"),
    ]
    assert read(turns).question == "When was the lighthouse built? And who kept it?"


@pytest.mark.parametrize(
    ("request_", "length"),
    [
        ("Summarize the text.", None),
        ("Please summarise this in 3 sentences:", 3),
        ("TL;DR", None),
        ("Give me a two-sentence summary.", 2),
        ("What are the key points?", None),
        ("Can you sum this up?", None),
        ("Fasse den Text zusammen.", None),
    ],
)
def test_summaries_are_recognised(request_: str, length: int | None) -> None:
    task = read([Turn("user", f"{request_}\n\n{TEXT}")])
    assert (task.want, task.length) == (Want.SUMMARY, length)
    assert task.material == (TEXT,)


@pytest.mark.parametrize(
    "question",
    [
        "What sum was paid?",
        "When did work resume?",
        "How does water condense?",
        "Who wrote the executive summary?",
    ],
)
def test_questions_with_a_word_of_summaries_are_questions(question: str) -> None:
    assert read([Turn("system", TEXT), Turn("user", question)]).want is Want.ANSWER
