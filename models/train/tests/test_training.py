"""The training chain in small: generator -> painter -> 50 steps -> ONNX -> resumption. `tests/run` calls it.

    python -m pytest models/train/tests/test_training.py
"""

from __future__ import annotations

import json
import math
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import onnxruntime
import torch
import train
import weights
from anatomy import WORKSPACE, stream
from contrast import MARROW_CHANGES, PARTS, SIGNALS, Contrast
from net import TIERS, UNet
from paint import CLASS_COUNT, CONTEXT, SACRUM, SAID, Canvas, Painter

SHIPPED = WORKSPACE / "models" / "weights" / "semantic.onnx"
STEPS = 50


def options(out: Path, **changes: object) -> train.Options:
    return replace(train.parse(["--out", str(out), "--steps", str(STEPS), "--reuse", "40"]), **changes)


def run_onnx(path: Path, images: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"slices": images.numpy()})[0]


class Painting(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.anatomies = list(stream(0, 2))

    def test_the_stream_gives_what_its_header_says(self) -> None:
        first, second = self.anatomies
        self.assertEqual((first.seed, second.seed), (0, 1))
        self.assertEqual(first.tissue.shape, first.structure.shape)
        self.assertEqual(first.tissue.shape[0] % first.thin_slices, 0)
        self.assertLess(int(first.tissue.max()), len(first.tissues))
        again = next(iter(stream(0, 1)))
        np.testing.assert_array_equal(first.vertebra, again.vertebra)

    def test_every_tissue_of_the_generator_has_a_signal(self) -> None:
        self.assertLessEqual(set(self.anatomies[0].tissues), set(SIGNALS) | set(MARROW_CHANGES))
        self.assertLess(int(self.anatomies[0].part.max()), PARTS)
        for seed in range(20):
            contrast = Contrast.draw(np.random.default_rng(seed), self.anatomies[0].tissues)
            self.assertTrue(np.isfinite(contrast.signal).all() and (contrast.signal >= 0).all())

    def test_a_slab_is_normalised_and_its_truth_belongs_to_it(self) -> None:
        canvas = Canvas(self.anatomies[0], torch.device("cpu"))
        painter = Painter(7, torch.device("cpu"))
        spine = 0
        for _ in range(8):
            images, classes = painter.slab(canvas, 4, (160, 128))
            self.assertEqual(images.shape, (4, 2 * CONTEXT + 1, 160, 128))
            self.assertEqual(classes.shape, (4, 160, 128))
            # Neighbouring samples share slices: the centre of one is the next channel of the one before.
            torch.testing.assert_close(images[1, 1], images[0, 2])
            self.assertTrue(torch.isfinite(images).all())
            self.assertLess(float(images.abs().mean()), 5.0)
            spine += int((classes > 0).sum())
        self.assertGreater(spine, 1000)

    def test_the_same_seed_paints_the_same(self) -> None:
        canvas = Canvas(self.anatomies[1], torch.device("cpu"))
        slabs = [Painter(3, torch.device("cpu")).slab(canvas, 2, (64, 64)) for _ in range(2)]
        torch.testing.assert_close(slabs[0][0], slabs[1][0])

    def test_a_tissue_without_signal_is_named(self) -> None:
        with self.assertRaisesRegex(KeyError, "unobtainium"):
            Contrast.draw(np.random.default_rng(0), ["air", "unobtainium"])


class Weights(unittest.TestCase):
    def test_the_shipped_net_reads_unfolds_and_writes_without_a_change(self) -> None:
        net = UNet(2 * CONTEXT + 1, TIERS["cpu"], CLASS_COUNT)
        weights.read(net, SHIPPED)
        images = torch.randn(2, 2 * CONTEXT + 1, 96, 64, generator=torch.Generator().manual_seed(1))
        weights.unfold(net, images)
        net.eval()
        want = run_onnx(SHIPPED, images)
        with torch.no_grad():
            np.testing.assert_allclose(net(images).numpy(), want, atol=1e-4)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "again.onnx"
            weights.write(net, path, SAID)
            np.testing.assert_allclose(run_onnx(path, images), want, atol=0.02)

    def test_another_tier_is_refused_with_both_shapes(self) -> None:
        net = UNet(2 * CONTEXT + 1, TIERS["wide"], CLASS_COUNT)
        with self.assertRaisesRegex(ValueError, r"\(16, 5, 3, 3\).*\(24, 5, 3, 3\)"):
            weights.read(net, SHIPPED)

    def test_the_wide_tier_fits_into_a_checkpoint(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "wide.onnx"
            weights.write(UNet(2 * CONTEXT + 1, TIERS["wide"], CLASS_COUNT).eval(), path, SAID)
            self.assertLess(path.stat().st_size, 16 << 20)


class TinyTraining(unittest.TestCase):
    def test_fifty_steps_learn_and_resume_from_the_file_alone(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            with mock.patch.object(train, "LOG_EVERY", 10):
                state = train.train(options(run, seed=5))
            self.assertEqual(state.step, STEPS)
            losses = [float(line.split(" loss ")[1].split()[0]) for line in (run / "log.txt").read_text().splitlines()]
            self.assertTrue(all(math.isfinite(loss) for loss in losses))
            self.assertLess(losses[-1], 0.95 * losses[0])
            self.assertEqual(json.loads((run / "state.json").read_text())["step"], STEPS)

            resumed = options(run, resume=run / "semantic.onnx", steps=STEPS + 2, seed=6)
            self.assertEqual(train.train(resumed).step, STEPS + 2)

    def test_a_teacher_of_the_wide_tier_is_followed(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            teacher = Path(folder) / "teacher.onnx"
            weights.write(UNet(2 * CONTEXT + 1, TIERS["wide"], CLASS_COUNT).eval(), teacher, SAID)
            state = train.train(options(Path(folder) / "run", steps=2, teacher=teacher))
            self.assertEqual(state.step, 2)


class Losses(unittest.TestCase):
    def test_the_right_answer_costs_least(self) -> None:
        classes = torch.zeros(1, 16, 16, dtype=torch.long)
        classes[:, 4:12, 4:12] = SACRUM
        right = torch.nn.functional.one_hot(classes, CLASS_COUNT).permute(0, 3, 1, 2).float() * 12
        low, dice = train.loss_of(right, classes, None)
        high, _ = train.loss_of(right.roll(1, 1), classes, None)
        self.assertLess(float(low), 0.3)
        self.assertGreater(float(high), 3.0)
        self.assertGreater(float(dice[SACRUM]), 0.99)
        self.assertTrue(math.isnan(float(dice[1])))


if __name__ == "__main__":
    unittest.main()
