"""Text is cut where a reader would cut it, and every sentence knows the heading it stands under."""

import pytest

from headgate_inference.local.sentences import Sentence, cut, split


@pytest.mark.parametrize(
    ("line", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Dr. Smith met J. R. Tolkien at 3.5 km.", ["Dr. Smith met J. R. Tolkien at 3.5 km."]),
        (
            "See No. 5 and Fig. 2 for it. No. That is all.",
            ["See No. 5 and Fig. 2 for it.", "No.", "That is all."],
        ),
        ("He left the U.S. The end.", ["He left the U.S.", "The end."]),
        ("The U.S. Senate met, e.g. Monday.", ["The U.S. Senate met, e.g. Monday."]),
        ("“It works!” she said. (Really.) Fine.", ["“It works!” she said.", "(Really.)", "Fine."]),
        ("Wait... Now go.", ["Wait...", "Now go."]),
        ("今日は晴れ。明日は？", ["今日は晴れ。", "明日は？"]),
        ("Version 1.2.3 is out. Ökologie zählt.", ["Version 1.2.3 is out.", "Ökologie zählt."]),
        ("**Note.** Keep _dry_ and keep snake_case.", ["Note.", "Keep dry and keep snake_case."]),
        ("... !!! ?", []),
    ],
)
def test_a_line_is_cut_into_its_sentences(line: str, sentences: list[str]) -> None:
    assert cut(line) == sentences


def test_wrapped_lines_are_joined_and_single_lines_are_not() -> None:
    text = "The harbour was built in the year of our lord\n1901 by a company from the north of the country\nand sold.\n\nOpen: daily\nPrice: 5 euros"
    assert [sentence.text for sentence in split(text)] == [
        "The harbour was built in the year of our lord 1901 by a company from the north of the country and sold.",
        "Open: daily",
        "Price: 5 euros",
    ]


def test_headings_go_with_what_stands_below_them() -> None:
    text = "# Rooms\n\nThere are ten.\n\n- Beds are wide.\n- Doors are red.\n\nFees\n\nFive euros.\n\nDogs\n----\n\nWelcome here."
    assert [(sentence.heading, sentence.text) for sentence in split(text)] == [
        ("Rooms", "There are ten."),
        ("Rooms", "Beds are wide."),
        ("Rooms", "Doors are red."),
        ("Fees", "Five euros."),
        ("Dogs", "Welcome here."),
    ]


@pytest.mark.parametrize(
    ("line", "heading"),
    [
        ("## 2.3 Carrying over", "Carrying over"),
        ("# 4. Fees", "Fees"),
        ("# 30 days of leave", "30 days of leave"),
    ],
)
def test_the_number_of_a_section_is_no_part_of_its_heading(line: str, heading: str) -> None:
    assert split(f"{line}\n\nFive.")[0].heading == heading


def test_a_question_in_the_text_is_the_heading_of_its_answer() -> None:
    block = split("What if it rains? Then we stay in.")
    assert block == [Sentence("What if it rains?"), Sentence("Then we stay in.", "What if it rains?")]
    assert split("What if it rains?\n\nWe stay in.")[0].heading == "What if it rains?"


def test_rows_of_a_table_are_sentences_and_column_names_are_not() -> None:
    text = "| Item | Interval |\n|---|---|\n| Boiler | 12 months |\n| Pump | 2 years |"
    assert [sentence.text for sentence in split(text)] == ["Boiler – 12 months", "Pump – 2 years"]


@pytest.mark.parametrize("text", ["", " \n\t", "---\n***"])
def test_nothing_gives_no_sentence(text: str) -> None:
    assert split(text) == []


def test_a_text_that_is_one_short_line_is_a_sentence() -> None:
    assert [sentence.text for sentence in split("Blue paint")] == ["Blue paint"]


def test_what_never_ends_is_cut_at_a_thousand_characters() -> None:
    assert max(len(sentence.text) for sentence in split("word " * 2000)) <= 1000
