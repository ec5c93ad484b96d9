"""Names of models in request bodies."""

import re
from typing import Annotated

from msgspec import Meta

from headgate_gateway.strict_json import malformed

ModelId = Annotated[str, Meta(min_length=1, max_length=256)]

# Not a `pattern` of the type: that is a search by Python, at three times the cost of the whole conversion.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def check_model_id(text: str) -> None:
    """Raises Malformed for a control character."""
    if not (text.isascii() and text.isprintable()) and _CONTROL.search(text):
        raise malformed("Field 'model' has characters that are not allowed.", "model")
