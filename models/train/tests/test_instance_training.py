"""The training of the instance net in small: cutouts of one patient, a few steps from the shipped weights, ONNX."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
import onnxruntime
from anatomy import GENERATOR, WORKSPACE

CUTOUTS = GENERATOR.with_name("cutouts")
SHIPPED = WORKSPACE / "models" / "weights" / "instance.onnx"
TRAIN = WORKSPACE / "models" / "train" / "instance" / "train.py"
# The shipped net has .986 of the held-out voxels of bone right; one patient and a few steps say less.
RIGHT = 0.93


class InstanceTraining(unittest.TestCase):
    def test_a_few_steps_from_the_shipped_weights_keep_what_they_know(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "instance.onnx"
            cutouts = subprocess.run([CUTOUTS, "5000001", "1", "1"], check=True, capture_output=True).stdout
            (Path(folder) / "0.gz").write_bytes(gzip.compress(cutouts, 1))
            command = [sys.executable, TRAIN, "--cuts", folder, "--held-out", folder, "--out", out]
            command += ["--start", SHIPPED, "--minutes", "0.15", "--batch", "4", "--rate", "1e-4"]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            right = re.findall(r"right (\S+) .* level (\S+)", told)[-1]
            self.assertGreater(float(right[0]), RIGHT, told)
            session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
            logits = session.run(None, {"cutout": np.zeros((1, 180, 96, 80), np.float32)})[0]
            self.assertEqual(logits.shape, (1, 106, 96, 80))
            self.assertTrue(np.isfinite(logits).all())
            self.assertIn("SHA-256 for the card", told)


if __name__ == "__main__":
    unittest.main()
