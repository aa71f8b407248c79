"""A torch model becomes two ONNX graphs, each with operations only: the weights stay in the checkpoint's safetensors.

torch, onnx and onnxscript are imported here and nowhere on the way to an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from roco_search.models.checkpoint import Tensor
from roco_search.models.families import FAMILIES, register
from roco_search.models.torch_encoder import quiet

if TYPE_CHECKING:
    import onnx
    import torch

    from roco_search.models.checkpoint import Checkpoint

Tower = Literal["text", "image"]

_REFERABLE = {"F32": 1, "F16": 10}  # safetensors' types as ONNX's; what is of another one is copied as float32.
_STORED = {"F32": "<f4", "F16": "<f2"}
_SMALL = 1024  # Bytes below which a weight stays in the graph.


def load_for_export(checkpoint: Checkpoint) -> Any:
    """Return transformers' model in fp32 with its plain attention, which exports to plain operations."""
    import torch
    from transformers import AutoModel

    register(checkpoint.family)
    with quiet():
        return AutoModel.from_pretrained(
            checkpoint.directory,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            attn_implementation="eager",
        ).eval()


def export_tower(
    model: Any, tower: Tower, inputs: Mapping[str, np.ndarray], tensors: Mapping[str, Tensor], target: Path
) -> dict[str, str]:
    """Write one tower as an ONNX graph whose output ``features`` is float32 ``(n, dim)`` of unit norm.

    Parameters
    ----------
    model
        What `load_for_export` returned.
    tower
        Which.
    inputs
        Arguments of the tower for at least two items of different length, by name; what is traced.
    tensors
        The position of each weight, by its name in the checkpoint.
    target
        The file to write. What cannot be referred to goes into ``target.data`` beside it.

    Returns
    -------
    dict
        By the initialiser's name in the graph, the name of the tensor that has to be given for it.
    """
    import onnx
    import torch

    _list_operations_once()
    wrapped = _tower(model, tower)
    batch = torch.export.Dim("batch", min=1, max=4096)
    dynamic: dict[str, dict[int, Any]] = {
        # The model limits its tokens itself. To state another limit than its own fails first, and costs as much again.
        name: {0: batch, 1: torch.export.Dim.DYNAMIC} if tower == "text" else {0: batch}
        for name in inputs
    }
    if tower == "text" and FAMILIES[model.config.model_type].pads_to_max:
        dynamic = {name: {0: batch} for name in inputs}
    with torch.no_grad():
        program = torch.onnx.export(
            wrapped,
            kwargs={name: torch.from_numpy(array) for name, array in inputs.items()},
            input_names=list(inputs),
            output_names=["features"],
            dynamic_shapes=dynamic,
            dynamo=True,
            optimize=False,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    state = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    referred = refer(proto, tensors, state)
    strip(proto)
    onnx.save(proto, str(target), save_as_external_data=True, location=f"{target.name}.data", size_threshold=_SMALL)
    return referred


def _list_operations_once() -> None:
    """Keep onnxscript's list of its operations: each export would parse the source of all five hundred anew."""
    with suppress(ImportError, AttributeError, KeyError):  # private to torch and onnxscript, so it may be elsewhere
        from torch.onnx._internal import _lazy_import

        apis = vars(_lazy_import)["onnxscript_apis"]
        if not hasattr(apis.get_torchlib_ops, "cache_info"):
            vars(apis)["get_torchlib_ops"] = cache(apis.get_torchlib_ops)


def refer(proto: onnx.ModelProto, tensors: Mapping[str, Tensor], state: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Replace each initialiser that is in the checkpoint, with the same values, by a reference without data."""
    from onnx import TensorProto, helper, numpy_helper

    graph, casts, referred = proto.graph, [], {}
    for initializer in graph.initializer:
        values = numpy_helper.to_array(initializer)
        name = initializer.name.removeprefix("model.")
        if name not in tensors or not np.array_equal(values, state.get(name, ())):
            name = _found(values, tensors)  # transformers stores some towers by other names than it gives them
        if name not in tensors or tensors[name].stop - tensors[name].start < _SMALL:
            continue
        tensor, kind = tensors[name], _REFERABLE.get(tensors[name].dtype)
        if kind is None or tensor.shape != tuple(initializer.dims):
            continue
        if kind == TensorProto.FLOAT16:
            casts.append(helper.make_node("Cast", [f"{initializer.name}.half"], [initializer.name], to=1))
            initializer.name += ".half"
        initializer.data_type = kind
        initializer.ClearField("raw_data")
        initializer.data_location = TensorProto.EXTERNAL
        facts = {"location": tensor.file.name, "offset": tensor.start, "length": tensor.stop - tensor.start}
        for key, value in facts.items():
            initializer.external_data.add(key=key, value=str(value))
        referred[initializer.name] = name
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return referred


def _found(values: np.ndarray, tensors: Mapping[str, Tensor]) -> str:
    """Return the name of the tensor that holds these values, or "" where none does."""
    for name, tensor in tensors.items():
        if tensor.shape == values.shape and values.nbytes >= _SMALL and tensor.dtype in _STORED:
            stored = np.memmap(tensor.file, _STORED[tensor.dtype], "r", offset=tensor.start, shape=tensor.shape)
            if np.array_equal(stored.flat[:64], values.flat[:64]) and np.array_equal(stored, values):
                return name
    return ""


def strip(proto: onnx.ModelProto) -> None:
    """Take out what the exporter notes of each operation: where on this machine the line of code stands."""
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.ClearField("doc_string")
    del proto.graph.value_info[:], proto.graph.metadata_props[:], proto.metadata_props[:]


def _tower(model: Any, tower: Tower) -> torch.nn.Module:
    import torch

    class Text(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
            given = {"input_ids": input_ids}
            if attention_mask is not None:
                given["attention_mask"] = attention_mask
            return torch.nn.functional.normalize(self.model.get_text_features(**given).pooler_output, dim=-1)

    class Image(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
            features = self.model.get_image_features(pixel_values=pixel_values).pooler_output
            return torch.nn.functional.normalize(features, dim=-1)

    return (Text() if tower == "text" else Image()).eval()
