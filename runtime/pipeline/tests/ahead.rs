//! What the net says ahead changes no result, and saves the asking.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use kernels::{Affine, Dims, Grid, Volume};
use pipeline::card::{Class, Normalisation};
use pipeline::semantic::ClassMap;
use pipeline::{
    ModelCard, Net, NetError, Nets, SemanticStage, Series, Structure, TensorMut, TensorRef,
    look_ahead, prepare,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const SLICES: usize = 12;
/// Slices to each side that the net sees.
const CONTEXT: usize = 2;

/// A net whose answer about a pixel depends on all the slices it sees, and which counts the slices it is asked about.
struct Sum {
    card: ModelCard,
    asked: Arc<AtomicUsize>,
}

impl Net for Sum {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn engine(&self) -> String {
        "sum".into()
    }

    fn run(&mut self, input: TensorRef<'_>, output: TensorMut<'_>) -> Result<(), NetError> {
        let [n, channels, rows, columns] = input.shape;
        self.asked.fetch_add(n, Ordering::Relaxed);
        let plane = rows * columns;
        let items = input.values.chunks_exact(channels * plane);
        for (seen, said) in items.zip(output.values.chunks_exact_mut(2 * plane)) {
            said.fill(0.0);
            for pixel in 0..plane {
                let weigh = |c: usize| seen[c * plane + pixel] * (c + 1) as f32;
                said[plane + pixel] = (0..channels).map(weigh).sum();
            }
        }
        Ok(())
    }
}

impl SemanticStage for Sum {}

fn nets() -> (Nets, Arc<AtomicUsize>) {
    let card = ModelCard {
        name: "sum".into(),
        version: "1".into(),
        weights_sha256: String::new(),
        context: CONTEXT,
        multiple_of: 16,
        in_plane_mm: 1.0,
        slice_pitch_mm: [3.0, 5.0],
        normalisation: Normalisation {
            low_percentile: 0.5,
            high_percentile: 99.5,
            foreground: 0.05,
        },
        mirror_slices: false,
        classes: vec![Class::Background, Class::Single(Structure::VertebralBody)],
    };
    let asked = Arc::new(AtomicUsize::new(0));
    let net = Sum { card, asked: asked.clone() };
    (Nets::new(Box::new(net), None), asked)
}

/// The first `slices` slices of one sagittal series, each with a black pixel.
fn series(slices: usize) -> Series {
    let axes = [[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-4.0, 0.0, 0.0]];
    let dims = Dims::new([40, 48, slices]).unwrap();
    let grid = Grid { dims, affine: Affine::new(axes, [0.0; 3]).unwrap() };
    let grey = |at: usize| {
        let [i, j, k] = dims.index(at);
        if [i, j] == [0, 0] { 0.0 } else { ((i * 7 + j * 13 + k * 29) % 101) as f32 }
    };
    Series::from_volume(Volume::new(grid, (0..dims.voxels()).map(grey).collect()).unwrap())
}

fn classified(nets: &mut Nets) -> ClassMap {
    let whole = series(SLICES);
    let prepared = prepare::prepare(&whole.volume, nets.semantic.card()).unwrap();
    nets.classify(&prepared).unwrap()
}

#[test]
fn a_result_with_slices_worked_ahead_equals_one_without() {
    let (mut at_once, _) = nets();
    let expected = classified(&mut at_once);
    let (mut nets, asked) = nets();
    for have in [5, 9] {
        look_ahead(&series(have), false, &mut nets, &mut || true).unwrap();
    }
    // Slices 2 to 6 have all their neighbours among nine; slice 2 was known from five.
    assert_eq!(asked.swap(0, Ordering::Relaxed), 9 - 2 * CONTEXT);
    let found = classified(&mut nets);
    assert_eq!(found.classes, expected.classes);
    assert_eq!(found.confidence.to_bits(), expected.confidence.to_bits());
    assert_eq!(nets.ahead.recalled(), 9 - 2 * CONTEXT);
    assert_eq!(asked.swap(0, Ordering::Relaxed), SLICES - (9 - 2 * CONTEXT));
    // Forgotten with the series: the next one is asked about anew.
    classified(&mut nets);
    assert_eq!((nets.ahead.recalled(), asked.load(Ordering::Relaxed)), (0, SLICES));
}

#[test]
fn a_whole_series_is_asked_to_its_edges_and_a_wrong_guess_harms_nothing() {
    let (mut at_once, _) = nets();
    let expected = classified(&mut at_once);
    let (mut nets, asked) = nets();
    look_ahead(&series(8), true, &mut nets, &mut || true).unwrap();
    assert_eq!(asked.swap(0, Ordering::Relaxed), 8);
    // Four more slices come after all: the two at the edge that is none are asked about again.
    let found = classified(&mut nets);
    assert_eq!(found.classes, expected.classes);
    assert_eq!(nets.ahead.recalled(), 8 - CONTEXT);
}

#[test]
fn work_ahead_stops_when_something_else_waits() {
    let (mut nets, asked) = nets();
    look_ahead(&series(SLICES), true, &mut nets, &mut || false).unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 2, "what is begun is finished, and kept");
    classified(&mut nets);
    assert_eq!(nets.ahead.recalled(), 2);
}
