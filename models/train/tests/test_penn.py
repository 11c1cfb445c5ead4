"""The patch net's method: label rule, sampler, cost and its gradient, reconstruction, metrics, and the file's form."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from anatomy import stream
from penn import export, lesions, patches, preprocess, regions, ssae, train
from penn.gd import exams
from penn.metrics import Confusion, macro, micro


class Drawing(unittest.TestCase):
    def test_lesions_grow_in_their_tissues_and_leave_the_generators_arrays_alone(self) -> None:
        anatomy, sizes = next(iter(stream(30_000_000, 1))), []
        before = anatomy.tissue.copy()
        for seed in range(12):
            made = lesions.implant(anatomy, np.random.default_rng(seed))
            taken = made.tissue != anatomy.tissue
            names = {anatomy.tissues[n] for n in np.unique(anatomy.tissue[taken])}
            self.assertFalse(names & {"air", "organ grey", "metal"})
            sizes.append(int(lesions.truth(made).sum()))
        np.testing.assert_array_equal(anatomy.tissue, before)
        self.assertGreater(sum(size > 0 for size in sizes), 5)
        self.assertGreater(len(set(sizes)), 5)

    def test_patients_to_learn_from_have_more_tumour_than_those_that_judge(self) -> None:
        patients, volumes = list(stream(30_000_000, 3)), []
        for burden in (lesions.USUAL, lesions.HEAVY):
            made = [lesions.implant(patient, np.random.default_rng(5), burden) for patient in patients]
            volumes.append(sum(int(lesions.truth(anatomy).sum()) for anatomy in made))
        self.assertGreater(volumes[1], 2 * volumes[0])

    def test_the_same_patient_is_the_same_exam_and_tumours_are_near_the_spine(self) -> None:
        first, again = next(exams(30_000_000, 1)), next(exams(30_000_000, 1))
        np.testing.assert_array_equal(first.image, again.image)
        self.assertTrue(np.isfinite(first.image).all() and first.image.shape == first.classes.shape)
        self.assertTrue((first.classes == patches.TUMOUR).any())
        self.assertTrue(first.spine[first.classes == patches.TUMOUR].all())


class Patches(unittest.TestCase):
    def test_six_of_ten_pixels_decide_to_the_pixel(self) -> None:
        for count, wanted in ((614, patches.OTHER), (615, patches.TUMOUR)):
            classes = np.full(patches.SIDE**2, patches.OTHER, np.uint8)
            classes[:count] = patches.TUMOUR
            self.assertEqual(patches.label(classes.reshape(patches.SIDE, -1), 1).tolist(), [[wanted]])
        bone = np.full((patches.SIDE, patches.SIDE), patches.VERTEBRA)
        self.assertEqual(patches.label(bone, 1).tolist(), [[patches.VERTEBRA]])

    def test_the_sampler_keeps_all_tumour_and_half_as_many_again_of_the_others(self) -> None:
        tumour = np.zeros(20_000, bool)
        tumour[::20] = True
        kept = patches.balance(tumour, 3)
        self.assertEqual((int(tumour[kept].sum()), int((~tumour[kept]).sum())), (1000, 1500))
        self.assertEqual(len(np.unique(kept)), 2500)
        np.testing.assert_array_equal(kept, patches.balance(tumour, 3))
        self.assertFalse(np.array_equal(kept, patches.balance(tumour, 4)))

    def test_a_constant_map_of_scores_is_that_constant_everywhere(self) -> None:
        shape = (37, 50)
        for stride in (1, 2, 4, 8):
            counts = [patches.positions(n + 2 * patches.PADDING, stride) for n in shape]
            for rebuild in patches.RECONSTRUCTIONS.values():
                np.testing.assert_allclose(rebuild(np.full(counts, 0.37), shape, stride), 0.37, atol=1e-12)

    def test_windows_are_where_the_labels_say(self) -> None:
        plane = np.random.default_rng(0).random((45, 40))
        covers = patches.covers(plane > 0.5, 3)
        np.testing.assert_array_equal((patches.windows(plane, 3) > 0.5).sum((2, 3)), covers)


class Preparation(unittest.TestCase):
    def test_values_are_in_0_to_1_and_do_not_depend_on_the_scanners_scale(self) -> None:
        volume = np.random.default_rng(1).gamma(2, 100, (3, 40, 50)).astype(np.float32)
        prepared = preprocess.prepare(volume)
        self.assertEqual((float(prepared.min()), float(prepared.max())), (0.0, 1.0))
        np.testing.assert_allclose(preprocess.prepare(volume * 8), prepared, atol=1e-5)
        self.assertFalse(preprocess.prepare(np.full((2, 9, 9), 7)).any())

    def test_the_blur_keeps_a_constant_and_has_nine_taps(self) -> None:
        self.assertEqual(preprocess.TAPS, 9)
        np.testing.assert_allclose(preprocess.blur(np.ones((1, 20, 20), np.float32)), 1, atol=1e-6)


class Learning(unittest.TestCase):
    def test_the_gradient_of_the_cost_is_that_of_differences(self) -> None:
        torch.manual_seed(0)
        layer = ssae.AutoEncoder(12, 5).double()
        x, rule = torch.rand(7, 12, dtype=torch.float64), ssae.Regularisation(0.01, 1.5, 0.05)
        ssae.cost(layer, x, rule).backward()
        step = 1e-5
        for parameter in layer.parameters():
            flat, gradient = parameter.data.view(-1), parameter.grad.view(-1)
            for n in range(0, len(flat), 7):
                kept, sides = flat[n].item(), []
                for side in (step, -step):
                    flat[n] = kept + side
                    sides.append(float(ssae.cost(layer, x, rule).detach()))
                flat[n] = kept
                slope = (sides[0] - sides[1]) / (2 * step)
                self.assertLess(abs(slope - float(gradient[n])), 1e-5 * max(abs(slope), 0.1))

    def test_the_divergence_is_least_at_the_wanted_activation(self) -> None:
        mean = torch.tensor([0.05, 0.2, 0.0], dtype=torch.float64, requires_grad=True)
        self.assertAlmostEqual(float(ssae.divergence(0.05, mean[:1])), 0.0)
        ssae.divergence(0.05, mean[:2]).backward()
        np.testing.assert_allclose(mean.grad.numpy(), [0, -0.05 / 0.2 + 0.95 / 0.8, 0], atol=1e-12)
        self.assertTrue(np.isfinite(float(ssae.divergence(0.05, mean))))

    def test_the_file_makes_of_a_slice_what_the_net_makes_of_its_patches(self) -> None:
        torch.manual_seed(1)
        net = export.rounded(ssae.Penn())
        plane = np.random.default_rng(2).random((45, 39)).astype(np.float32)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "penn.onnx"
            self.assertEqual(len(export.write(net, path, "mean", 0.5)), 64)
            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            got = session.run(None, {"slice": plane[None, None]})[0][0]
        for stride in (1, 2, 4):
            views = patches.windows(plane, stride)
            with torch.no_grad():
                want = torch.sigmoid(net(torch.from_numpy(views.reshape(-1, patches.SIDE**2)))).numpy()
            np.testing.assert_allclose(got[:, ::stride, ::stride].reshape(2, -1).T, want, atol=1e-5)


    def test_scores_are_those_of_the_net_and_a_run_goes_on_where_it_was_stopped(self) -> None:
        torch.manual_seed(3)
        net, x = ssae.Penn(), torch.rand(9, patches.SIDE**2)
        with torch.no_grad():
            outputs = torch.sigmoid(net(x))
        np.testing.assert_allclose(net.scores(x.numpy()), (outputs[:, 1] / outputs.sum(1)).numpy(), atol=1e-5)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "phase.pt"
            first = train.kept(path, lambda: net.state_dict())
            again = train.kept(path, lambda: self.fail("made again"))
            self.assertTrue(all(torch.equal(first[name], again[name]) for name in first))

    def test_patches_that_are_learnt_from_keep_the_shares_of_the_sampler(self) -> None:
        x, tumour = train.training_set(exams(30_000_000, 1, lesions.HEAVY), 300, 1)
        self.assertEqual(x.shape, (len(tumour), patches.SIDE**2))
        self.assertTrue(0 < len(tumour) <= 300 and bool(tumour.any()))
        self.assertLess(abs(float(tumour.float().mean()) - 0.4), 0.1)


class Judging(unittest.TestCase):
    def test_f1_is_dice_and_iou_follows_from_it(self) -> None:
        rng = np.random.default_rng(5)
        for _ in range(50):
            scores = Confusion(*map(int, rng.integers(0, 9, 4))).scores()
            self.assertAlmostEqual(scores["F1"], scores["Dice"])
            self.assertAlmostEqual(scores["IoU"], scores["Dice"] / (2 - scores["Dice"]))

    def test_empty_masks_agree_and_an_invented_tumour_is_worth_nothing(self) -> None:
        nothing = np.zeros((4, 4), bool)
        self.assertEqual(set(Confusion.of(nothing, nothing).scores().values()), {1.0})
        self.assertEqual(Confusion.of(~nothing, nothing).scores()["Dice"], 0.0)

    def test_pooled_and_mean_scores_differ(self) -> None:
        images = [Confusion(90, 10, 100, 0), Confusion(1, 9, 100, 0)]
        self.assertAlmostEqual(micro(images)["precision"], 91 / 110)
        self.assertAlmostEqual(macro(images)["precision"], 0.5)

    def test_parts_touch_at_corners_and_crumbs_go(self) -> None:
        plane = np.zeros((30, 30), bool)
        plane[0, 0] = plane[1, 1] = True
        plane[10:16, 10:16] = True
        self.assertEqual(int(regions.components(plane).max()), 2)
        self.assertEqual(int(regions.without_crumbs(plane, 1.0).sum()), 36)
        self.assertEqual(int(regions.near(plane[None], 1.0)[0][15, 25]), 1)
        self.assertEqual(int(regions.near(plane[None], 1.0)[0][15, 26]), 0)


if __name__ == "__main__":
    unittest.main()
