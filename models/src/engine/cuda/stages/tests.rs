//! On the emulated device. It is a thousand times slower than one, so the nets have one layer: a stage does not care what its net
//! knows, and in these every class wins somewhere.

use super::super::On;
use super::*;
use crate::engine::Shipped;
use crate::onnx::{ConvWeights, Node, Operator};
use crate::weights::{Shape, Weights};
use emulation::Emulator;
use kernels::conv::Window;
use kernels::volume::PIR;
use kernels::{Affine, AxisMap, Dims, Grid};
use pipeline::Net;
use pipeline::instances::{self, Voxel};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The shipped net's input and output, and one convolution between them.
fn of_one_layer<C: Shape>(mut weights: Weights<C>) -> Weights<C> {
    let (inputs, outputs) = (weights.graph.input_channels, weights.graph.output_channels);
    let window = Window::Three;
    let number = |n: usize| ((n * 37 + n / 7) % 23) as f32 / 64.0 - 11.0 / 64.0;
    let numbers = (0..outputs * inputs * window.taps()).map(number);
    let (weights_of, bias) = (ConvWeights::Float(numbers.collect()), vec![0.0; outputs]);
    let operator = Operator::Conv { window, outputs, inputs, weights: weights_of, bias };
    let [from, to] = ["in", "out"].map(str::to_owned);
    let (name, inputs, output) = (to.clone(), vec![from.clone()], to.clone());
    weights.graph.nodes = vec![Node { name, operator, inputs, output }];
    (weights.graph.input, weights.graph.output) = (from, to);
    weights
}

fn working_grid(counts: [usize; 3]) -> Grid {
    let axes = [[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-3.3, 0.0, 0.0]];
    let affine = Affine::new(axes, [0.0; 3]).unwrap();
    Grid { dims: Dims::new(counts).unwrap(), affine }
}

fn prepared(image: Volume<f32>, stride: usize) -> Prepared {
    let oriented = *image.grid();
    Prepared { to_working: AxisMap::towards(&oriented.affine, PIR), oriented, image, stride }
}

fn seen(classes: &[u8]) -> BTreeSet<u8> {
    classes.iter().copied().collect()
}

#[test]
fn a_series_is_classified_as_from_the_host_and_the_second_takes_no_memory() {
    let grid = working_grid([57, 43, 5]);
    let value = |n: usize| ((n * 37 + n / 11) % 97) as f32 * (n % 57) as f32;
    let image = Volume::new(grid, (0..grid.dims.voxels()).map(value).collect()).unwrap();
    for (mirror_slices, stride) in [(false, 1), (true, 2)] {
        let mut weights = of_one_layer(Shipped::embedded().unwrap().semantic);
        weights.card.mirror_slices = mirror_slices;
        let emulator = Arc::new(Emulator::pooled());
        let on: On = Arc::<Emulator>::clone(&emulator);
        let mut net = CudaNet::load(weights, &on).unwrap();
        let prepared = prepared(image.clone(), stride);
        let want = semantic::classify(&prepared, &mut net).unwrap();
        let classes = seen(want.classes.voxels());
        assert!(classes.len() >= 6, "too little to compare: {classes:?}");
        let same = |got: ClassMap, how: &str| {
            let pairs = got.classes.voxels().iter().zip(want.classes.voxels());
            assert_eq!(pairs.filter(|(a, b)| a != b).count(), 0, "{how}");
            // Exponentials within 2 units of the last place and a division, as in the kernels' suite.
            assert!((got.confidence - want.confidence).abs() <= 2e-6, "{how}: {}", got.confidence);
        };
        same(net.classify(&prepared).unwrap(), "all slices at once");
        let made = emulator.allocations();
        same(net.classify(&prepared).unwrap(), "once more");
        assert_eq!(emulator.allocations(), made);
        same(net.classified(&prepared, 1).unwrap(), "slice by slice");
        let two = 2 * 64 * 64 * semantic::orders(net.card()).len();
        same(net.classified(&prepared, two).unwrap(), "two, two and one");
    }
}

#[test]
fn a_slice_beyond_the_net_is_refused_by_its_shape() {
    let on: On = Arc::new(Emulator::pooled());
    let weights = of_one_layer(Shipped::embedded().unwrap().semantic);
    let mut net = CudaNet::load(weights, &on).unwrap();
    let large = prepared(Volume::filled(working_grid([2080, 2080, 1]), 0.0), 1);
    let error = net.classify(&large).unwrap_err();
    assert!(matches!(error, NetError::Shape { got: [1, 5, 2080, 2080], .. }), "{error}");
}

#[test]
fn cutouts_are_answered_as_from_the_host() {
    let Shipped { semantic, instance } = Shipped::embedded().unwrap();
    let mut weights = of_one_layer(instance);
    weights.card.window.counts = [32, 16, 20];
    weights.card.window.columns_before = 12;
    let on: On = Arc::new(Emulator::pooled());
    let mut net = CudaNet::load(weights, &on).unwrap();
    let grid = working_grid([37, 41, 6]);
    // Blocks of every class.
    let class = |at: usize| {
        let [i, j, k] = grid.dims.index(at);
        ((i / 5 + j / 7 + k / 2) % semantic.card.classes.len()) as u8
    };
    let classes = Volume::new(grid, (0..grid.dims.voxels()).map(class).collect()).unwrap();
    let voxels = (0..grid.dims.voxels()).filter(|&at| class(at) != 0);
    let voxels = voxels.map(|offset| Voxel { offset, index: grid.dims.index(offset), body: true });
    let voxels: Vec<Voxel> = voxels.collect();
    let channels = cutout::channels(&semantic.card, net.card());
    let scene = Scene { classes: &classes, channels: &channels, voxels: &voxels };
    // Within, and over the edges.
    let centres = [[14.0, 18.3, 2.4], [1.0, 2.0, 0.0], [30.2, 33.0, 5.0]];
    let want = instances::ask(&scene, &centres, &mut net).unwrap();
    for said in &want {
        assert_eq!(seen(&said.classes), [0, 1, 2, 3].into(), "too little to compare");
        assert_eq!(said.levels.len(), net.card().levels.len());
    }
    assert_eq!(net.ask(&scene, &centres).unwrap(), want);
    assert_eq!(net.asked(&scene, &centres, 2).unwrap(), want, "in two goes");
}
