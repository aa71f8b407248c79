"""Quantise a compiled tower: weights in 8 bits, the embedding table in half precision, so that it loads faster.

Weights are rounded in blocks along the inner dimension with one scale each (onnxruntime's ``MatMulNBits``); the
activations of a call are rounded in blocks too. Plain dynamic quantisation rounds a whole activation tensor with one
scale: MiniLM's embeddings then keep a median cosine of 0.95 to fp32, and 0.9997 in this form. The embedding table is
cast after it is gathered from, so that only the rows of a text are read from the mapped file.

onnxruntime's own ``MatMulNBitsQuantizer`` gives the same towers (on roco-mini a least cosine of 0.9994, the same size
and latency) in 20 lines less. It is not used because importing it takes 1.9 s of processor time, more than all of the
quantising, and installs a handler on the root logger, which then prints what every library of the process logs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from roco_search.models.compiling.towers import onnxruntime_module, options, session

if TYPE_CHECKING:
    import onnx

BLOCK = 16  # Weights that share a scale: roco-mini keeps a cosine of 0.9994 to fp32; with 32, 0.9989; with 64, 0.9982.
ACCURACY = 4  # MatMulNBits: activations in int8 as well, by blocks, which VNNI multiplies.
FROM = 1 << 14  # Elements from which a weight is worth it.
INLINE = 1024  # Bytes below which a constant stays in the graph.

_FLOAT, _HALF = 1, 10  # onnx.TensorProto


def optimised(source: Path, target: Path, give: Callable[[Any], object] = lambda _: None) -> None:
    """Write a graph as onnxruntime would run it, with its weights in ``target.data``: nothing is left to do at loading.

    Parameters
    ----------
    source
        An ONNX file.
    target
        Where the graph goes. Only fusions that hold on every processor are applied.
    give
        Gives a session's options the initialisers that are stored elsewhere.

    Raises
    ------
    Exception
        Whatever onnxruntime raises; its classes share no public base.
    """
    onnxruntime = onnxruntime_module()
    chosen = options()
    held = give(chosen)
    chosen.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    chosen.optimized_model_filepath = str(target)
    chosen.add_session_config_entry("session.optimized_model_external_initializers_file_name", f"{target.name}.data")
    chosen.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", str(INLINE))
    session(source, chosen, held)


def quantise(source: Path, target: Path) -> int:
    """Write the graph `source` with 8-bit weights to `target` and ``target.data``; return how many were rounded.

    Raises
    ------
    OSError
    """
    import onnx

    model = onnx.load(str(source))
    rounded = _Rounded(model.graph)
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        nodes += rounded.node(node)
    rounded.put(nodes)
    domains = {opset.domain for opset in model.opset_import}
    if "com.microsoft" not in domains:
        model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    for path in (target, target.with_name(f"{target.name}.data")):
        path.unlink(missing_ok=True)
    onnx.save(model, str(target), save_as_external_data=True, location=f"{target.name}.data", size_threshold=INLINE)
    return rounded.count


def quantise_dynamically(source: Path, target: Path) -> None:
    """Write the graph `source` with products in int8: weights by channel, activations with one scale a call.

    Raises
    ------
    ValueError
        If it has no product of an activation and a weight, as a convolutional network.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic  # type: ignore[attr-defined]

    nodes = onnx.load(str(source), load_external_data=False).graph.node
    if sum(node.op_type == "MatMul" for node in nodes) < 8:
        raise ValueError("nothing to round")
    quantize_dynamic(
        str(source),
        str(target),
        per_channel=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul", "Gemm"],
        use_external_data_format=True,
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )


class _Rounded:
    """A graph while its weights are being replaced."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.count = 0
        self._weights = {weight.name: weight for weight in graph.initializer}
        self._made: dict[str, list[onnx.TensorProto]] = {}
        uses = [name for node in graph.node for name in node.input]
        self._uses = {name: uses.count(name) for name in self._weights}

    def node(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Return what takes the place of a node."""
        match node.domain, node.op_type:
            case ("", "MatMul"):
                return self._product(node, self._weight(node.input[1], 2), node.input[1], ())
            case ("", "Gemm") if (found := self._gemm(node)) is not None:
                weight, bias = found
                return self._product(node, weight, node.input[1], bias)
            case ("", "Gather") if self._weight(node.input[0], 2) is not None:
                return self._gather(node)
        return [node]

    def put(self, nodes: list[onnx.NodeProto]) -> None:
        """Give the graph its new nodes and weights."""
        graph = self.graph
        used = {name for node in nodes for name in node.input}
        made = [tensor for tensors in self._made.values() for tensor in tensors]
        kept = [weight for weight in graph.initializer if weight.name in used]
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(nodes)
        graph.initializer.extend([*kept, *made])

    def _weight(self, name: str, rank: int) -> npt.NDArray[Any] | None:
        """Return a weight that is worth rounding, or None."""
        from onnx import numpy_helper

        tensor = self._weights.get(name)
        if tensor is None or tensor.data_type != _FLOAT or len(tensor.dims) != rank or np.prod(tensor.dims) < FROM:
            return None
        return numpy_helper.to_array(tensor)

    def _gemm(self, node: onnx.NodeProto) -> tuple[npt.NDArray[Any], tuple[str, ...]] | None:
        facts = {fact.name: fact for fact in node.attribute}
        scaled = any(facts[name].f != 1 for name in ("alpha", "beta") if name in facts)
        weight = self._weight(node.input[1], 2)
        if weight is None or scaled or ("transA" in facts and facts["transA"].i):
            return None
        if "transB" in facts and facts["transB"].i:
            weight = np.ascontiguousarray(weight.T)
        return weight, tuple(node.input[2:3])

    def _product(
        self, node: onnx.NodeProto, weight: npt.NDArray[Any] | None, name: str, bias: tuple[str, ...]
    ) -> list[onnx.NodeProto]:
        from onnx import helper, numpy_helper

        if weight is None or weight.shape[0] % BLOCK:
            return [node]
        inner, outer = weight.shape
        if name not in self._made:
            values, scales = round_weight(weight)
            self._made[name] = [
                numpy_helper.from_array(values, f"{name}.int8"),
                numpy_helper.from_array(scales.reshape(-1), f"{name}.scale"),
            ]
        self.count += 1
        output = f"{node.output[0]}.product" if bias else node.output[0]
        product = helper.make_node(
            "MatMulNBits",
            [node.input[0], f"{name}.int8", f"{name}.scale"],
            [output],
            domain="com.microsoft",
            K=inner,
            N=outer,
            bits=8,
            block_size=BLOCK,
            accuracy_level=ACCURACY,
        )
        return [product, *(helper.make_node("Add", [output, name], [node.output[0]]) for name in bias)]

    def _gather(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        from onnx import helper, numpy_helper

        name, output = node.input[0], node.output[0]
        if self._uses[name] > 1:
            return [node]
        table = self._weight(name, 2)
        assert table is not None
        self._made[name] = [numpy_helper.from_array(table.astype(np.float16), f"{name}.half")]
        node.input[0], node.output[0] = f"{name}.half", f"{output}.half"
        return [node, helper.make_node("Cast", [f"{output}.half"], [output], to=_FLOAT)]


def round_weight(weight: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Round a weight to 8 bits, in blocks of `BLOCK` along its inner dimension.

    Parameters
    ----------
    weight
        float32 ``(inner, outer)``; `inner` is a multiple of `BLOCK`.

    Returns
    -------
    values, scales
        uint8 ``(outer, blocks, BLOCK)``, 128 for zero, and float32 ``(outer, blocks)``: the layout of onnxruntime's
        ``MatMulNBits``. ``(values - 128) * scale`` is at most half a scale, 1/254 of a block's largest weight, off.
    """
    inner, outer = weight.shape
    blocks = np.ascontiguousarray(weight.T, np.float32).reshape(outer, inner // BLOCK, BLOCK)
    scales = np.abs(blocks).max(axis=-1) / 127
    safe = np.where(scales > 0, scales, 1).astype(np.float32)
    values = np.clip(np.rint(blocks / safe[..., None]) + 128, 0, 255).astype(np.uint8)
    return values, safe
