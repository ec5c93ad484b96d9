"""Real input: questions about real documents of several pages, asked over REST of `local-extractive`, are
answered by the sentences that hold the answer. The set was written before the code and apart from it."""

import json
import math
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest

from headgate_testing.suite import Suite

# The answers come from the model, not from the shape of the suite.
pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize("suite", ["one"], indirect=True),
]

SET = Path(__file__).resolve().parents[1] / "quality" / "extractive"
QUESTIONS: list[dict[str, Any]] = json.loads((SET / "questions.json").read_text())
NEEDED = 24


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share."""
    z, p = 1.96, hits / n
    middle, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - spread) / (1 + z * z / n), (middle + spread) / (1 + z * z / n)


def holds(text: str, answer: list[list[str]]) -> bool:
    text = re.sub(r"\s+", " ", text).lower()
    return all(any(key in text for key in group) for group in answer)


def first_sentences(reply: str, count: int = 3) -> str:
    return " ".join(re.split(r"(?<=[.!?])\s+(?=[A-Z“\"-])", reply)[:count])


def prompt(question: dict[str, Any]) -> list[dict[str, str]]:
    document = (SET / "documents" / f"{question['document'].removesuffix('.md')}.md").read_text()
    return [{"role": "system", "content": document}, {"role": "user", "content": question["question"]}]


async def ask(client: httpx2.AsyncClient, question: dict[str, Any]) -> str:
    body = {"model": "local-extractive", "messages": prompt(question)}
    reply = await client.post("/v1/chat/completions", json=body)
    return str(reply.json()["choices"][0]["message"]["content"])


async def test_questions_are_answered_in_the_first_three_sentences(suite: Suite) -> None:
    headers = {"authorization": f"Bearer {suite.key}"}
    hits: dict[str, list[bool]] = {"dev": [], "held_out": []}
    async with httpx2.AsyncClient(base_url=suite.url, headers=headers, timeout=60) as client:
        for question in QUESTIONS:
            found = holds(first_sentences(await ask(client, question)), question["answer"])
            hits[question["split"]].append(found)
            if not found and question["split"] == "dev":
                print(f"missed {question['id']}: {question['question']}")
    total = sum(map(sum, hits.values()))
    low, high = wilson(total, len(QUESTIONS))
    print(
        f"{total} of {len(QUESTIONS)} (95 %: {low:.2f} to {high:.2f}); held out {sum(hits['held_out'])} of 15"
    )
    assert len(QUESTIONS) == 30
    assert total >= NEEDED


async def test_a_streamed_answer_is_the_whole_answer(suite: Suite) -> None:
    headers = {"authorization": f"Bearer {suite.key}"}
    async with httpx2.AsyncClient(base_url=suite.url, headers=headers, timeout=60) as client:
        whole = await ask(client, QUESTIONS[0])
        body = {"model": "local-extractive", "messages": prompt(QUESTIONS[0]), "stream": True}
        reply = await client.post("/v1/chat/completions", json=body)
    events = [line[6:] for line in reply.text.splitlines() if line.startswith("data: {")]
    pieces = [
        choice["delta"].get("content") or "" for event in events for choice in json.loads(event)["choices"]
    ]
    assert "".join(pieces) == whole
