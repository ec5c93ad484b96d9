"""What a request must be before anything is spent on it. All functions raise HeadgateError INVALID_REQUEST, or
UNSUPPORTED_PARAMETER, that names the field."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from headgate.inference.v1 import inference_pb2 as pb
from headgate_inference.adapters.openai_request import ROLES
from headgate_rpc.errors import HeadgateError, Reason

_MODEL_LENGTH = 256
_CHOICES = 128
_INPUTS = 2048
_RANGES = {
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
    "top_logprobs": (0, 20),
}


def invalid(message: str, field: str) -> NoReturn:
    """Refuse the request."""
    raise HeadgateError(Reason.INVALID_REQUEST, message, field=field)


def check_spec(spec: pb.GenerationSpec) -> None:
    """Check a generation request."""
    check_model_name(spec.model)
    messages = spec.messages
    if not messages:
        invalid("'messages' must hold at least one message.", "messages")
    for message in messages:
        if message.role not in ROLES:
            place = next(at for at, each in enumerate(messages) if each.role not in ROLES)
            invalid(f"'messages[{place}].role' is missing or unknown.", f"messages[{place}].role")
    # Most requests hold few of the fields, so what is there is asked for, not whether each is.
    for descriptor, value in spec.ListFields():
        check = _CHECKS.get(descriptor.name)
        if check is not None:
            check(descriptor.name, value)


def check_embed(request: pb.EmbedRequest) -> None:
    """Check an embeddings request."""
    check_model_name(request.model)
    if bool(request.texts) == bool(request.tokens):
        invalid("'input' must hold texts or token ids, and not both.", "input")
    if max(len(request.texts), len(request.tokens)) > _INPUTS:
        invalid(f"'input' must hold at most {_INPUTS} items.", "input")
    if not all(request.texts) or not all(each.ids for each in request.tokens):
        invalid("'input' must not hold empty items.", "input")
    if request.HasField("dimensions") and request.dimensions < 1:
        invalid("'dimensions' must be at least 1.", "dimensions")


def check_model_name(name: str) -> None:
    """Check what a caller calls a model."""
    if not name:
        invalid("Field 'model' is missing.", "model")
    if len(name) > _MODEL_LENGTH:
        invalid(f"'model' must have at most {_MODEL_LENGTH} characters.", "model")


def check_dimensions(request: pb.EmbedRequest, model_dimensions: int) -> None:
    """Refuse a vector length that the model cannot have; 0 means that the model's is unknown."""
    if model_dimensions and request.dimensions > model_dimensions:
        message = f"This model's vectors have at most {model_dimensions} dimensions."
        raise HeadgateError(Reason.INVALID_REQUEST, message, field="dimensions")


def _check_count(name: str, value: int) -> None:
    if value < 1:
        invalid(f"'{name}' must be at least 1.", name)


def _check_choices(name: str, value: int) -> None:
    _check_count(name, value)
    if value > _CHOICES:
        invalid(f"'{name}' must be at most {_CHOICES}.", name)


def _check_tools(name: str, tools: Iterable[pb.Tool]) -> None:
    for place, tool in enumerate(tools):
        if not tool.name and not tool.other_json:
            invalid(f"'{name}[{place}].function.name' is missing.", f"{name}[{place}].function.name")


def _check_format(name: str, wanted: pb.ResponseFormat) -> None:
    if not wanted.type:
        invalid(f"'{name}.type' is missing.", f"{name}.type")


def _check_sampling(_: str, sampling: pb.Sampling) -> None:
    for descriptor, value in sampling.ListFields():
        bounds = _RANGES.get(descriptor.name)
        # Written so that NaN is outside.
        if bounds is not None and not bounds[0] <= value <= bounds[1]:
            name = descriptor.name
            invalid(f"'{name}' must be between {bounds[0]:g} and {bounds[1]:g}.", name)


_CHECKS: Mapping[str, Callable[[str, Any], None]] = {
    "sampling": _check_sampling,
    "max_tokens": _check_count,
    "max_completion_tokens": _check_count,
    "n": _check_choices,
    "tools": _check_tools,
    "response_format": _check_format,
}
