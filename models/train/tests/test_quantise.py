"""The int8 forms: their arrangement, their scales, the choice of layers, and the whole way in small."""

from __future__ import annotations

import hashlib
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
import onnxruntime
import qdq
import quantise
import torch
from anatomy import WORKSPACE
from onnx import numpy_helper
from weights import Graph

SHIPPED = WORKSPACE / "models" / "weights"
SHAPE = (2, 16, 16, 16)


def small_net() -> onnx.ModelProto:
    """a, b, pooled c, upsampled and joined with b for d, head."""
    random, graph = torch.Generator().manual_seed(1), Graph()

    def unit(name: str, x: str, inputs: int) -> str:
        weight = torch.randn(16, inputs, 3, 3, generator=random) / (3 * inputs**0.5)
        bias = torch.randn(16, generator=random) / 4
        return graph.add("Relu", [graph.conv(name, x, weight, bias)], name)

    b = unit("b", unit("a", "in", 16), 16)
    c = unit("c", graph.pool("pool", b), 16)
    d = unit("d", graph.join("up", c, b), 32)
    graph.conv("head", d, torch.randn(3, 16, 1, 1, generator=random), torch.zeros(3))
    graph.nodes[-1].output[0] = "logits"
    with tempfile.TemporaryDirectory() as folder:
        graph.save(Path(folder) / "small.onnx", {"in": 16, "logits": 3}, {})
        return onnx.load(Path(folder) / "small.onnx")


def values() -> np.ndarray:
    return np.random.default_rng(1).normal(size=SHAPE).astype("f4")


def logits(model: onnx.ModelProto) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"in": values()})[0]


class Forms(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.net = small_net()
        cls.seen = quantise.observe(cls.net, [values()])

    def form(self, *whole: str) -> onnx.ModelProto:
        return qdq.form(self.net, whole, self.seen)

    def stored(self, form: onnx.ModelProto) -> dict[str, np.ndarray]:
        return {tensor.name: numpy_helper.to_array(tensor) for tensor in form.graph.initializer}

    def test_layers_read_the_maps_behind_pool_upsampling_and_concat(self) -> None:
        reads = {layer.name: layer.reads for layer in qdq.layers(self.net)}
        self.assertEqual(reads, {"a": (), "b": ("a",), "c": ("b",), "d": ("c", "b"), "head": ("d",)})

    def test_only_what_whole_layers_read_is_on_steps_and_joined_maps_share_a_scale(self) -> None:
        scales = qdq.map_scales(qdq.layers(self.net), ["d"], self.seen)
        self.assertEqual(set(scales), {"b", "c"})
        self.assertEqual(scales["b"], scales["c"])
        apart = qdq.map_scales(qdq.layers(self.net), ["c", "head"], self.seen)
        self.assertEqual(set(apart), {"b", "d"})
        chained = qdq.map_scales(qdq.layers(self.net), ["c", "d"], self.seen)
        self.assertEqual(chained, scales)

    def test_the_arrangement_is_the_one_that_engines_read(self) -> None:
        form = self.form("b", "c", "d", "head")
        stored, made = self.stored(form), {node.output[0]: node for node in form.graph.node}
        for node in form.graph.node:
            if node.op_type == "QuantizeLinear":
                self.assertEqual(made[node.input[0]].op_type, "Relu")
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                scale, zero = stored[node.input[1]], stored[node.input[2]]
                self.assertEqual((zero.dtype, np.abs(zero).max()), (np.int8, 0))
                np.testing.assert_array_equal(qdq.half(scale), scale)
                self.assertGreaterEqual(scale.min(), qdq.LEAST_SCALE)
        self.assertEqual(made["d.weight"].op_type, "DequantizeLinear")
        self.assertEqual(stored["d.weight.scale"].shape, (16,))
        self.assertEqual(made["a.weight"].op_type, "Cast")

    def test_a_form_computes_what_the_net_does_and_whole_numbers_cost_a_little(self) -> None:
        want = logits(self.net)
        extent = want.max() - want.min()
        found = np.abs(logits(self.form("b", "c", "d", "head")) - want).mean() / extent
        self.assertLess(1e-5, found)
        self.assertLess(found, 0.01)
        self.assertEqual(np.abs(logits(self.form()) - want).max(), 0)
        half = np.abs(logits(qdq.in_float16(self.net)) - want).mean() / extent
        self.assertLess(1e-7, half)
        self.assertLess(half, found / 10)

    def test_the_first_layer_and_strangers_are_refused_by_name(self) -> None:
        with self.assertRaisesRegex(ValueError, r"\['a', 'stranger'\]"):
            self.form("a", "b", "stranger")


class Scales(unittest.TestCase):
    def test_a_lonely_outlier_is_cut_off_and_a_full_range_is_not(self) -> None:
        counts = np.zeros(qdq.BINS)
        counts[: qdq.BINS // 10] = 1000
        counts[-1] = 1
        alone = qdq.Seen(counts, 10.0)
        self.assertLess(qdq.map_scale([alone]), 5 / qdq.STEPS)
        full = qdq.Seen(np.full(qdq.BINS, 1000.0), 10.0)
        self.assertAlmostEqual(qdq.map_scale([full]), 10 / qdq.STEPS, delta=0.005)
        # Of two maps on one scale, neither is sacrificed.
        together = qdq.map_scale([alone, full])
        self.assertGreater(together, qdq.map_scale([alone]))

    def test_weights_have_a_scale_for_each_output(self) -> None:
        weight = np.random.default_rng(2).normal(size=(3, 8, 3, 3)).astype("f4")
        weight *= np.array([1, 0.01, 0], "f4")[:, None, None, None]
        steps, scales = qdq.weight_steps(weight)
        errors = np.abs(steps * scales[:, None, None, None] - weight).reshape(3, -1)
        self.assertEqual((steps.dtype, scales.dtype), (np.int8, np.float32))
        self.assertTrue((errors.mean(1) <= scales).all())
        self.assertAlmostEqual(scales[0] / scales[1], 100, delta=40)
        self.assertEqual((int(np.abs(steps[2]).max()), float(scales[2])), (0, qdq.LEAST_SCALE))


class AddedUp:
    """A judge for whom the costs of layers, as shares of what is allowed, add up."""

    dice = 0.8

    def __init__(self, **shares: float) -> None:
        self.shares = shares

    def cost(self, form: onnx.ModelProto) -> quantise.Cost:
        made = {node.output[0] for node in form.graph.node if node.op_type == "DequantizeLinear"}
        shares = [share for name, share in self.shares.items() if f"{name}.weight" in made]
        return quantise.Cost(sum(shares) * quantise.MOST_DIFFERS, 0.0)


class Choice(unittest.TestCase):
    def choose(self, **shares: float) -> tuple[set[str], list[str]]:
        net, lines = small_net(), []
        form = quantise.choose(net, quantise.observe(net, [values()]), AddedUp(**shares), lines.append)
        whole = {node.output[0] for node in form.graph.node if node.op_type == "DequantizeLinear"}
        return {name.removesuffix(".weight") for name in whole if name.endswith(".weight")}, lines

    def test_the_costliest_layers_stay_in_floats_until_the_rest_is_bearable(self) -> None:
        whole, lines = self.choose(b=0.7, c=0.2, d=0.9, head=0.1)
        self.assertEqual(whole, {"b", "c", "head"})
        self.assertEqual(lines[-1].split()[:2], ["without", "d"])
        whole, lines = self.choose(b=0.1, c=0.2, d=0.3, head=0.1)
        self.assertEqual(whole, {"b", "c", "d", "head"})
        self.assertTrue(lines[-1].startswith("all that read a map"))

    def test_a_net_of_which_no_layer_is_bearable_is_refused(self) -> None:
        with self.assertRaisesRegex(ValueError, "no layer can be in whole numbers"):
            self.choose(b=2, c=2, d=2, head=2)

    def test_what_does_not_matter_is_not_counted(self) -> None:
        answers = np.array([[[[0, 1, 1, quantise.ANY]]]], np.uint8)
        judge = quantise.Judge.__new__(quantise.Judge)
        judge.net, judge.held_out = quantise.Net(2, 1, lambda _: iter(())), [(None, answers)]
        said = np.array([[[[0, 1, 0, 1]]]])
        counts = judge.confusion([said], judge.truth())
        np.testing.assert_array_equal(counts, [[1, 1], [0, 1]])
        self.assertAlmostEqual(quantise.mean_dice(counts), 2 / 3)


class WholeWay(unittest.TestCase):
    def test_the_instance_net_is_quantised_on_one_drawn_patient(self) -> None:
        source = SHIPPED / "instance.onnx"
        with tempfile.TemporaryDirectory() as folder, mock.patch.multiple(quantise, CUT=1, VARIANTS=0):
            digest = quantise.quantise("instance", source, Path(folder))
            data = (Path(folder) / "instance.int8.onnx").read_bytes()
            table = (Path(folder) / "instance.int8.txt").read_text()
        self.assertEqual(hashlib.sha256(data).hexdigest(), digest)
        self.assertLess(len(data), 0.6 * source.stat().st_size)
        said = {entry.key: entry.value for entry in onnx.load_from_string(data).metadata_props}
        self.assertEqual(said[quantise.FLOAT_SHA256], hashlib.sha256(source.read_bytes()).hexdigest())
        self.assertIn("grid", said)
        self.assertIn("all that read a map", table)


if __name__ == "__main__":
    unittest.main()
