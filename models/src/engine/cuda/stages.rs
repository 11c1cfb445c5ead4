//! The stages of the nets as a device takes them: the image or the class map goes there once, what was decided comes back once.
//!
//! Slices and cutouts go through the kernels that the host's way has plain functions for, so that both give the same wherever
//! the logits are the same.

use super::super::suited::fits;
use super::{CudaNet, failed};
use kernels::cuda::answers::{self, Scores};
use kernels::cuda::convolution::Size;
use kernels::cuda::decision::{self, Decided, decide};
use kernels::cuda::slab::Stack;
use kernels::cuda::{Array, DeviceError, Launcher, one_hot};
use kernels::decision::Certainty;
use kernels::{Volume, one_hot::Shown};
use pipeline::cutout::{self, Cutout};
use pipeline::instances::{Said, Scene};
use pipeline::prepare::Prepared;
use pipeline::semantic::{self, ClassMap};
use pipeline::{InstanceCard, InstanceStage, NetError, SemanticStage};

/// Pixels of slices that go through the semantic net together: 20 slices of 384 x 384, a lumbar series in one go. Its maps take
/// about a gigabyte; a longer series takes no more.
const PIXELS_AT_ONCE: usize = 20 * 384 * 384;

/// Cutouts that go through the instance net together: those of a series, which shows seven to twelve bodies. More come in turn.
const CUTOUTS_AT_ONCE: usize = 16;

impl SemanticStage for CudaNet {
    fn classify(&mut self, prepared: &Prepared) -> Result<ClassMap, NetError> {
        let layout = semantic::layout(prepared, &self.card);
        let [columns, rows] = layout.padded;
        fits(&self.card, [1, layout.channels(), rows, columns])?;
        self.classified(prepared, PIXELS_AT_ONCE).map_err(failed)
    }

    /// The whole stage takes a few milliseconds, once the series is there.
    fn gains_by_looking_ahead(&self) -> bool {
        false
    }
}

impl CudaNet {
    /// As [`SemanticStage::classify`], as many slices together as have `pixels`, one at least.
    fn classified(&self, prepared: &Prepared, pixels: usize) -> Result<ClassMap, DeviceError> {
        let on: &dyn Launcher = &*self.on;
        let grid = *prepared.image.grid();
        let [columns, rows, slices] = grid.dims.counts();
        let layout = semantic::layout(prepared, &self.card);
        let image = Array::of(on, prepared.image.voxels())?;
        let stack = Stack::new(on, &image, grid.dims, layout)?;
        drop(image);
        let passes = semantic::orders(&self.card).len();
        let at_once = (pixels / (layout.plane() * passes)).max(1);
        let batches = (0..slices).step_by(at_once);
        let batches =
            batches.map(|first| self.decided(&stack, first..slices.min(first + at_once), prepared));
        let batches = batches.collect::<Result<Vec<Decided>, _>>()?;
        let mut map = vec![0u8; grid.dims.voxels()];
        let mut certainty = Certainty::default();
        for (decided, map) in batches.iter().zip(map.chunks_mut(at_once * columns * rows)) {
            decided.map.download_into(on, map)?;
            certainty.add(decided.certainty(on)?);
        }
        let classes = Volume::new(grid, map).expect("one class a voxel of the working grid");
        Ok(ClassMap { classes, confidence: certainty.mean() })
    }

    /// The class map of some slices, still on the device.
    fn decided(
        &self,
        stack: &Stack,
        slices: std::ops::Range<usize>,
        prepared: &Prepared,
    ) -> Result<Decided, DeviceError> {
        let on: &dyn Launcher = &*self.on;
        let [columns, rows, _] = prepared.image.dims().counts();
        let layout = semantic::layout(prepared, &self.card);
        let (padded, orders) = (layout.padded, semantic::orders(&self.card));
        let passes = slices.clone().flat_map(|k| orders.iter().map(move |&mirrored| (k, mirrored)));
        let passes: Vec<(usize, bool)> = passes.collect();
        let input = stack.gather(on, &passes, &self.card.normalisation)?;
        let size = Size {
            slices: passes.len(),
            rows: padded[1],
            columns: padded[0],
            channels: layout.channels(),
        };
        let scores = self.forward(&input, size)?;
        let layout = decision::Layout {
            items: slices.len(),
            passes: orders.len(),
            classes: self.card.classes.len(),
            padded,
            kept: [columns, rows],
        };
        decide(on, &scores, &layout)
    }
}

impl InstanceStage for CudaNet<InstanceCard> {
    fn ask(&mut self, scene: &Scene<'_>, centres: &[[f64; 3]]) -> Result<Vec<Said>, NetError> {
        self.asked(scene, centres, CUTOUTS_AT_ONCE).map_err(failed)
    }
}

impl CudaNet<InstanceCard> {
    /// As [`InstanceStage::ask`], `at_once` cutouts together.
    fn asked(
        &self,
        scene: &Scene<'_>,
        centres: &[[f64; 3]],
        at_once: usize,
    ) -> Result<Vec<Said>, DeviceError> {
        let on: &dyn Launcher = &*self.on;
        let map = Array::of(on, scene.classes.voxels())?;
        let offsets: Vec<i32> = scene.voxels.iter().map(|voxel| voxel.offset as i32).collect();
        let offsets = Array::of(on, &offsets)?;
        let mut said = Vec::with_capacity(centres.len());
        for centres in centres.chunks(at_once) {
            said.extend(self.answered(scene, centres, &map, &offsets)?);
        }
        Ok(said)
    }

    /// What a few cutouts say; `map` and `offsets` are the scene's on the device.
    fn answered(
        &self,
        scene: &Scene<'_>,
        centres: &[[f64; 3]],
        map: &Array<u8>,
        offsets: &Array<i32>,
    ) -> Result<Vec<Said>, DeviceError> {
        let (on, card): (&dyn Launcher, _) = (&*self.on, &self.card);
        let grid = scene.classes.grid();
        let cutouts = centres.iter().map(|&centre| Cutout::new(&card.window, grid, centre));
        let (shown, nearest): (Vec<Shown>, Vec<Shown>) =
            cutouts.map(|cutout| (cutout.shown().clone(), cutout.nearest().clone())).unzip();
        let input = one_hot::encode(on, map, grid.dims, &shown, scene.channels)?;
        let [columns, rows, _] = card.window.counts;
        let (slices, channels) = (centres.len(), card.input_channels());
        let logits = self.forward(&input, Size { slices, rows, columns, channels })?;
        let scores =
            Scores { values: &logits, layout: cutout::answers(card), windows: centres.len() };
        let said = answers::said(on, &scores, &nearest, grid.dims, offsets)?;
        let levels = answers::means(on, &scores, &cutout::middle(&card.window))?;
        let (said, levels) = (said.download(on)?, levels.download(on)?);
        let (voxels, more) = (offsets.len(), card.levels.len());
        let of = |n: usize| Said {
            classes: said[n * voxels..][..voxels].to_vec(),
            levels: cutout::probabilities(&levels[n * more..][..more]),
        };
        Ok((0..centres.len()).map(of).collect())
    }
}

#[cfg(test)]
mod tests;
