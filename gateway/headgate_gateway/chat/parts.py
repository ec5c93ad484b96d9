"""Content parts of a message: those the canonical types know become typed, all others travel whole."""

from collections.abc import Callable, Mapping

import msgspec

from headgate.inference.v1.inference_pb2 import AudioPart, ContentPart, FilePart, ImagePart
from headgate_gateway.strict_json import Tree, encode, rest_of, typed


class _Text(msgspec.Struct):
    text: str


class _ImageUrl(msgspec.Struct):
    url: str
    detail: str = ""


class _Image(msgspec.Struct):
    image_url: _ImageUrl


class _Sound(msgspec.Struct):
    data: str
    format: str


class _Audio(msgspec.Struct):
    input_audio: _Sound


class _FileBody(msgspec.Struct):
    file_id: str = ""
    filename: str = ""
    file_data: str = ""


class _File(msgspec.Struct):
    file: _FileBody


class _Kind(msgspec.Struct):
    type: str


def part_of(tree: Tree, at: str) -> ContentPart:
    """The canonical part; `at` is its path in the body. Raises Malformed."""
    kind = typed(tree, _Kind, at).type
    reader = _READERS.get(kind)
    if reader is None:
        return ContentPart(other_json=encode(tree))
    part = reader(tree, at)
    field, inner = _FIELDS[kind]
    body = tree[field]
    if isinstance(body, dict) and not body.keys() <= inner:
        # Something inside that the types would lose.
        return ContentPart(other_json=encode(tree))
    extra = rest_of(tree, frozenset({"type", field}))
    if extra:
        part.extra_json = extra
    return part


def _text(tree: Tree, at: str) -> ContentPart:
    return ContentPart(text=typed(tree, _Text, at).text)


def _image(tree: Tree, at: str) -> ContentPart:
    body = typed(tree, _Image, at).image_url
    return ContentPart(image=ImagePart(url=body.url, detail=body.detail))


def _audio(tree: Tree, at: str) -> ContentPart:
    body = typed(tree, _Audio, at).input_audio
    return ContentPart(audio=AudioPart(data_base64=body.data, format=body.format))


def _file(tree: Tree, at: str) -> ContentPart:
    body = typed(tree, _File, at).file
    return ContentPart(file=FilePart(file_id=body.file_id, filename=body.filename, data=body.file_data))


_READERS: Mapping[str, Callable[[Tree, str], ContentPart]] = {
    "text": _text,
    "image_url": _image,
    "input_audio": _audio,
    "file": _file,
}
_FIELDS: Mapping[str, tuple[str, frozenset[str]]] = {
    "text": ("text", frozenset()),
    "image_url": ("image_url", frozenset({"url", "detail"})),
    "input_audio": ("input_audio", frozenset({"data", "format"})),
    "file": ("file", frozenset({"file_id", "filename", "file_data"})),
}
