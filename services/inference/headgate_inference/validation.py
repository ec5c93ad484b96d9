"""What a request must be before anything is spent on it. All functions raise HeadgateError INVALID_REQUEST, or
UNSUPPORTED_PARAMETER, that names the field."""

from typing import NoReturn

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
    if not spec.messages:
        invalid("'messages' must hold at least one message.", "messages")
    for place, message in enumerate(spec.messages):
        if message.role not in ROLES:
            invalid(f"'messages[{place}].role' is missing or unknown.", f"messages[{place}].role")
    if spec.HasField("sampling"):
        _check_sampling(spec.sampling)
    for name in ("max_tokens", "max_completion_tokens", "n"):
        if spec.HasField(name) and getattr(spec, name) < 1:
            invalid(f"'{name}' must be at least 1.", name)
    if spec.n > _CHOICES:
        invalid(f"'n' must be at most {_CHOICES}.", "n")
    for place, tool in enumerate(spec.tools):
        if not tool.name and not tool.other_json:
            invalid(f"'tools[{place}].function.name' is missing.", f"tools[{place}].function.name")
    if spec.HasField("response_format") and not spec.response_format.type:
        invalid("'response_format.type' is missing.", "response_format.type")


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


def _check_sampling(sampling: pb.Sampling) -> None:
    for descriptor, value in sampling.ListFields():
        bounds = _RANGES.get(descriptor.name)
        # Written so that NaN is outside.
        if bounds is not None and not bounds[0] <= value <= bounds[1]:
            name = descriptor.name
            invalid(f"'{name}' must be between {bounds[0]:g} and {bounds[1]:g}.", name)
