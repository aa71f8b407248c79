"""Write roco-mini's two towers as ONNX graphs that read their weights from ``model.safetensors``.

    pip install onnx onnxscript
    python scripts/roco_mini/compile.py roco_search/models/roco_mini

The graphs hold the operations only; each weight is a reference into the safetensors file beside them, in half
precision, and is cast to float32 when onnxruntime loads it. So the package keeps one copy of the weights, and a text
query needs neither torch nor transformers.
"""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper
from torch import nn

from roco_search.models.checkpoint import Tensor, read_header
from roco_search.models.roco_mini.modeling import RocoMiniModel


class TextTower(nn.Module):
    def __init__(self, model: RocoMiniModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(self.model.get_text_features(input_ids, attention_mask)[1], dim=-1)


class ImageTower(nn.Module):
    def __init__(self, model: RocoMiniModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(self.model.get_image_features(pixel_values)[1], dim=-1)


def main() -> None:
    directory = Path(sys.argv[1])
    weights = directory / "model.safetensors"
    model = RocoMiniModel.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()
    ids = torch.randint(1000, 30000, (2, 7))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0  # so that the mask is part of what is traced
    size = model.config.vision_config.image_size
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens")
    towers = (
        ("text", TextTower(model), {"input_ids": ids, "attention_mask": mask}, {0: batch, 1: tokens}),
        ("image", ImageTower(model), {"pixel_values": torch.randn(2, 3, size, size)}, {0: batch}),
    )
    for name, tower, inputs, dynamic in towers:
        program = torch.onnx.export(
            tower.eval(),
            kwargs=inputs,
            input_names=list(inputs),
            output_names=["features"],
            dynamic_shapes=dict.fromkeys(inputs, dynamic),
            dynamo=True,
            optimize=False,
            verbose=False,
        )
        assert program is not None, "`dynamo=True` returns the program"
        proto = program.model_proto
        left = refer_to(proto, read_header(weights), weights.name)
        onnx.save(proto, directory / f"{name}.onnx")
        size = (directory / f"{name}.onnx").stat().st_size
        print(f"{name}.onnx: {size:,} bytes, {left:,} bytes of constants that are no weights")


def refer_to(proto: onnx.ModelProto, tensors: dict[str, Tensor], location: str) -> int:
    """Replace each initializer that is a weight by a half-precision reference and a cast; return what is left."""
    graph, casts, left = proto.graph, [], 0
    for initializer in graph.initializer:
        tensor = tensors.get(initializer.name.removeprefix("model."))
        if tensor is None:
            left += initializer.ByteSize()
            continue
        if tensor.dtype != "F16" or tuple(initializer.dims) != tensor.shape:
            raise SystemExit(f"{initializer.name} is {tensor.dtype} {tensor.shape}, not what the graph needs")
        casts.append(helper.make_node("Cast", [f"{initializer.name}.half"], [initializer.name], to=TensorProto.FLOAT))
        initializer.name += ".half"
        initializer.data_type = TensorProto.FLOAT16
        initializer.ClearField("raw_data")
        initializer.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", tensor.start), ("length", tensor.stop - tensor.start)):
            initializer.external_data.add(key=key, value=str(value))
    nodes = [*casts, *graph.node]
    for node in nodes:
        # What the exporter notes of each operation: where on this machine the line of code stands.
        del node.metadata_props[:]
        node.ClearField("doc_string")
    del graph.node[:], graph.value_info[:], graph.metadata_props[:], proto.metadata_props[:]
    graph.node.extend(nodes)
    return left


if __name__ == "__main__":
    main()
