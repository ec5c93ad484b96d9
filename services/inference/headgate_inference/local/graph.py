"""The MiniLM forward pass as an ONNX graph, built from the tensors by name: a BERT encoder of six layers,
mean pooling over the mask, L2 normalisation (opset 20). Imports onnx, so only `engine` imports this."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Tensors = Mapping[str, npt.NDArray[np.float32]]
Constant = npt.NDArray[np.float32] | npt.NDArray[np.int64]

LAYERS, HEADS, HEAD_WIDTH, WIDTH = 6, 12, 32, 384
_EPSILON = 1e-12
_LARGE = 2000


class _Builder:
    """Collects nodes and constants; every method returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, Constant] = {}

    def constant(self, value: Constant) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        return name

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, dtype=np.int64))

    def node(self, operator: str, *inputs: str, **attributes: int | float | list[int]) -> str:
        output = f"v{len(self.nodes)}"
        self.output(output, operator, *inputs, **attributes)
        return output

    def output(self, name: str, operator: str, *inputs: str, **attributes: int | float | list[int]) -> None:
        node = helper.make_node(operator, list(inputs), [name])
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self.nodes.append(node)

    def dense(self, value: str, weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]) -> str:
        product = self.node("MatMul", value, self.constant(np.ascontiguousarray(weight.T)))
        return self.node("Add", product, self.constant(bias))

    def normed(self, value: str, tensors: Tensors, prefix: str) -> str:
        scale = self.constant(tensors[f"{prefix}.weight"])
        bias = self.constant(tensors[f"{prefix}.bias"])
        return self.node("LayerNormalization", value, scale, bias, axis=-1, epsilon=_EPSILON)


def build(tensors: Tensors) -> tuple[ModelProto, dict[str, Constant]]:
    """The model, `ids` and `mask` int64 [batch, length] -> `vectors` float32 [batch, 384], each of length 1,
    and `tokens` float32 [batch, length, 384]; and its large constants by name, which are handed over beside
    it: inside, they would be copied three times (a peak of 550 MB where 260 are enough, and 110 MB more for
    good)."""
    builder = _Builder()
    hidden = _embeddings(builder, tensors)
    keep = builder.node("Cast", "mask", to=TensorProto.FLOAT)
    bias = _attention_bias(builder, keep)
    for layer in range(LAYERS):
        hidden = _layer(builder, tensors, f"encoder.layer.{layer}", hidden, bias)
    builder.output("tokens", "Identity", hidden)
    _pooled(builder, hidden, keep)
    large = {name: value for name, value in builder.constants.items() if value.size > _LARGE}
    return _model(builder, large), large


def _embeddings(builder: _Builder, tensors: Tensors) -> str:
    words = builder.node("Gather", builder.constant(tensors["embeddings.word_embeddings.weight"]), "ids")
    # Every text is segment 0, so its row is added to the positions once and for all.
    segment = tensors["embeddings.token_type_embeddings.weight"][0]
    table = builder.constant(tensors["embeddings.position_embeddings.weight"] + segment)
    length = builder.node("Shape", "ids", start=1, end=2)
    # Slice, because Shape/Gather/Range meets an optimizer bug in onnxruntime 1.31; its starts are 1-D.
    positions = builder.node("Slice", table, builder.ints(0), length, builder.ints(0))
    return builder.normed(builder.node("Add", words, positions), tensors, "embeddings.LayerNorm")


def _attention_bias(builder: _Builder, keep: str) -> str:
    """0 where a token stands and -10000 where padding does, [batch, 1, 1, length]."""
    one, strength = (
        builder.constant(np.array([1], np.float32)),
        builder.constant(np.array([10000], np.float32)),
    )
    bias = builder.node("Mul", builder.node("Sub", keep, one), strength)
    return builder.node("Unsqueeze", bias, builder.ints(1, 2))


def _layer(builder: _Builder, tensors: Tensors, prefix: str, hidden: str, bias: str) -> str:
    mixed = _attention(builder, tensors, f"{prefix}.attention.self", hidden, bias)
    out = f"{prefix}.attention.output"
    mixed = builder.dense(mixed, tensors[f"{out}.dense.weight"], tensors[f"{out}.dense.bias"])
    hidden = builder.normed(builder.node("Add", mixed, hidden), tensors, f"{out}.LayerNorm")
    wide, narrow = f"{prefix}.intermediate.dense", f"{prefix}.output.dense"
    inner = builder.dense(hidden, tensors[f"{wide}.weight"], tensors[f"{wide}.bias"])
    inner = builder.node("Gelu", inner)
    inner = builder.dense(inner, tensors[f"{narrow}.weight"], tensors[f"{narrow}.bias"])
    return builder.normed(builder.node("Add", inner, hidden), tensors, f"{prefix}.output.LayerNorm")


def _attention(builder: _Builder, tensors: Tensors, prefix: str, hidden: str, bias: str) -> str:
    def heads(part: str, order: list[int]) -> str:
        value = builder.dense(hidden, tensors[f"{prefix}.{part}.weight"], tensors[f"{prefix}.{part}.bias"])
        split = builder.node("Reshape", value, builder.ints(0, 0, HEADS, HEAD_WIDTH))
        return builder.node("Transpose", split, perm=order)

    query, key, value = heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1]), heads("value", [0, 2, 1, 3])
    scale = builder.constant(np.array([HEAD_WIDTH**-0.5], np.float32))
    scores = builder.node("Mul", builder.node("MatMul", query, key), scale)
    weights = builder.node("Softmax", builder.node("Add", scores, bias), axis=-1)
    joined = builder.node("Transpose", builder.node("MatMul", weights, value), perm=[0, 2, 1, 3])
    return builder.node("Reshape", joined, builder.ints(0, 0, WIDTH))


def _pooled(builder: _Builder, hidden: str, keep: str) -> None:
    """Sum over the real tokens, scaled to length 1; dividing by their number first would change nothing."""
    kept = builder.node("Mul", hidden, builder.node("Unsqueeze", keep, builder.ints(2)))
    total = builder.node("ReduceSum", kept, builder.ints(1), keepdims=0)
    builder.output("vectors", "LpNormalization", total, axis=-1, p=2)


def _model(builder: _Builder, large: Mapping[str, Constant]) -> ModelProto:
    ids, mask = (
        helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "length"]) for n in ("ids", "mask")
    )
    vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["batch", WIDTH])
    tokens = helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["batch", "length", WIDTH])
    constants = [
        _elsewhere(name, value) if name in large else numpy_helper.from_array(value, name)
        for name, value in builder.constants.items()
    ]
    graph = helper.make_graph(builder.nodes, "minilm", [ids, mask], [vectors, tokens], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _elsewhere(name: str, value: Constant) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=value.shape)
    tensor.data_location = TensorProto.EXTERNAL
    # ONNX wants a place; the values given by name are taken instead and nothing is opened.
    tensor.external_data.add(key="location", value="given-by-name")
    return tensor
