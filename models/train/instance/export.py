"""Writes the trained instance net as float16 ONNX beside its card, and puts the hash into the card.

    python export.py instance.pt ../../weights/instance.onnx

The weights say what they were trained for (classes and grid of the card), so that a card that says something else is
refused. Needs `onnx`. The same weights give the same bytes.
"""

import argparse
import hashlib
import re
import sys
import tomllib
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper
from unet import InstanceNet

sys.path.append(str(Path(__file__).resolve().parents[1]))
from weights import OPSET, _Graph, folded  # noqa: E402  the folder above holds what both trainings share


def described(card: dict) -> dict[str, str]:
    """What the service reads out of the card, in its words (models/src/weights.rs, `Shape::described`)."""
    cut = card["cutout"]
    groups = [",".join(str(value) for value in group["structures"]) for group in card["groups"]]
    mm, slice_mm = f"{cut['in_plane_mm']:g}", f"{cut['slice_mm']:g}"
    grid = (
        f"{cut['columns']} x {cut['rows']} x {cut['slices']} of {mm} x {mm} x {slice_mm} mm, "
        f"centre behind {cut['columns_before']} columns"
    )
    return {"classes": ";".join(groups), "grid": grid}


def build(net: InstanceNet, card: dict) -> onnx.ModelProto:
    """The net as ONNX, its operators in the order in which they run."""
    graph, skips = _Graph(), []
    x = graph.add("Relu", [graph.conv("stem", "cutout", *folded(net.stem))], "stem")
    for depth, block in enumerate(net.down):
        if depth:
            x = graph.add("MaxPool", [x], f"pool.{depth}", kernel_shape=[2, 2], strides=[2, 2])
        x = graph.block(f"down.{depth}", x, block)
        skips.append(x)
    for depth in reversed(range(len(net.up))):
        twice = graph.upsample(f"up.{depth}", x)
        x = graph.add("Concat", [twice, skips[depth]], f"up.{depth}.joined", axis=1)
        x = graph.block(f"up.{depth}", x, net.up[depth])
    graph.conv("head", x, net.head.weight, net.head.bias)
    graph.nodes[-1].output[0] = "logits"
    inputs, outputs = net.stem.conv.in_channels, net.head.out_channels
    model = helper.make_model(
        helper.make_graph(
            graph.casts + graph.nodes,
            "sagitta",
            [helper.make_tensor_value_info("cutout", TensorProto.FLOAT, ["N", inputs, "H", "W"])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", outputs, "H", "W"])],
            graph.initialisers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
        producer_name="sagitta models/train/instance",
    )
    helper.set_model_props(model, described(card))
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes the instance net as ONNX and its hash into its card.")
    parser.add_argument("weights", type=Path, help="what train.py wrote")
    parser.add_argument("out", type=Path, help="the ONNX file; its card NAME.toml lies beside it")
    arguments = parser.parse_args()
    net = InstanceNet().eval()
    net.load_state_dict({name: value.float() for name, value in torch.load(arguments.weights).items()})
    card_path = arguments.out.with_suffix(".toml")
    card_text = card_path.read_text()
    data = build(net, tomllib.loads(card_text)).SerializeToString(deterministic=True)
    arguments.out.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    card_path.write_text(re.sub(r'(?m)^weights_sha256 = ".*"$', f'weights_sha256 = "{digest}"', card_text))
    print(f"{arguments.out}: {len(data)} bytes, SHA-256 {digest}")


if __name__ == "__main__":
    main()
