"""`POST /v1/embeddings` (EMB-1 to EMB-7)."""

import sys
from array import array
from base64 import b64encode
from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta, Struct

from headgate.inference.v1.inference_pb2 import Embedding, EmbedRequest, EmbedResponse, TokenIds
from headgate_clients.inference import InferenceClient
from headgate_gateway.chat.pieces import spliced, to_json
from headgate_gateway.exchange import Exchange
from headgate_gateway.model_ids import ModelId, check_model_id
from headgate_gateway.strict_json import Tree, malformed, rest_of, typed

MAX_INPUTS = 2048

_TokenId = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class _Body(Struct):
    model: ModelId
    input: str | list[str | int | list[_TokenId]]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=2**32 - 1)] | None = None


_BODY = frozenset(_Body.__struct_fields__)


@dataclass(frozen=True, slots=True)
class EmbeddingsRequest:
    """An embeddings body, translated."""

    request: EmbedRequest
    base64: bool


class Embeddings:
    """Embeddings over `inference`; bodies of up to `limit` bytes."""

    def __init__(self, inference: InferenceClient, limit: int) -> None:
        self._inference = inference
        self._limit = limit

    async def create(self, exchange: Exchange) -> None:
        """One vector for each input."""
        wanted = embeddings_request(await exchange.json(self._limit))
        reply = await self._inference.embed(wanted.request, exchange.options())
        await exchange.answer(embeddings_json(reply.message, base64=wanted.base64), reply.metadata)


def embeddings_request(tree: Tree) -> EmbeddingsRequest:
    """Translate an embeddings body. Raises Malformed naming the field."""
    body = typed(tree, _Body)
    check_model_id(body.model)
    request = EmbedRequest(model=body.model, dimensions=body.dimensions, extra_json=rest_of(tree, _BODY))
    _add_input(request, body.input)
    return EmbeddingsRequest(request, body.encoding_format == "base64")


def _add_input(request: EmbedRequest, given: str | list[str | int | list[int]]) -> None:
    if not given:
        raise malformed("Field 'input' must not be empty.", "input")
    if isinstance(given, str):
        request.texts.append(given)
        return
    ids = [item for item in given if isinstance(item, int)]
    if len(ids) == len(given):
        _add_tokens(request, ids, "input")
        return
    if len(given) > MAX_INPUTS:
        raise malformed(f"Field 'input' has more than {MAX_INPUTS} items.", "input")
    for index, item in enumerate(given):
        _add_item(request, item, f"input[{index}]")
    if (request.texts and request.tokens) or ids:
        raise malformed("Field 'input' mixes texts and token ids.", "input")


def _add_item(request: EmbedRequest, item: str | int | list[int], field: str) -> None:
    if isinstance(item, list):
        _add_tokens(request, item, field)
    elif isinstance(item, str):
        if not item:
            raise malformed(f"Field '{field}' must not be empty.", field)
        request.texts.append(item)


def _add_tokens(request: EmbedRequest, ids: list[int], field: str) -> None:
    if not ids:
        raise malformed(f"Field '{field}' must not be empty.", field)
    if min(ids) < 0 or max(ids) >= 2**63:
        raise malformed(f"Field '{field}' has a token id that cannot be one.", field)
    request.tokens.append(TokenIds(ids=ids))


def embeddings_json(reply: EmbedResponse, *, base64: bool) -> bytes:
    """The reply as JSON; base64 is of little-endian 32-bit floats."""
    write = _base64 if base64 else _numbers
    data = b",".join(
        b'{"object":"embedding","embedding":%b,"index":%d}' % (write(each), index)
        for index, each in enumerate(reply.embeddings)
    )
    tokens = reply.usage.input_tokens
    return b'{"object":"list","data":[%b],"model":%b,"usage":{"prompt_tokens":%d,"total_tokens":%d}%b}' % (
        data, to_json(reply.model), tokens, tokens, spliced(reply.extra_json),
    )  # fmt: skip


def _numbers(vector: Embedding) -> bytes:
    return to_json(list(vector.values))


def _base64(vector: Embedding) -> bytes:
    floats = array("f", vector.values)
    if sys.byteorder == "big":
        floats.byteswap()
    return b'"' + b64encode(floats.tobytes()) + b'"'
