"""Write the settings table of README.md from the declarations. `--check` fails when it differs."""

import sys
from pathlib import Path

from headgate_settings import settings_table
from headgate_suite.settings import SETTINGS_CLASSES

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- settings -->\n", "<!-- /settings -->"


def with_table(text: str) -> str:
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{settings_table(SETTINGS_CLASSES)}\n{END}{after}"


if __name__ == "__main__":
    text = README.read_text()
    if "--check" in sys.argv[1:]:
        sys.exit("README.md: the settings table is old; run `make readme`" if text != with_table(text) else 0)
    README.write_text(with_table(text))
