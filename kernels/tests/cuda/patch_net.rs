//! A net at every position of a window.

use kernels::conv::InstructionSet;
use kernels::cuda::{self, Array};
use kernels::patch_net::{Layer, PatchNet, Sweep};
use kernels::reference;

use crate::backends::on_each;
use crate::random::Random;

/// Weights as large as those of a trained net: sums stay where the sigmoid bends.
fn net(random: &mut Random, side: usize, outputs: &[usize]) -> PatchNet {
    let mut inputs = side * side;
    let layers = outputs.iter().map(|&outputs| {
        let reach = 2.0 / (inputs as f64).sqrt();
        let mut value = |r: &mut Random| ((2.0 * r.unit() - 1.0) * reach) as f32;
        let weights = random.values(inputs * outputs, &mut value);
        inputs = outputs;
        Layer { weights, bias: random.values(outputs, value) }
    });
    let layers = layers.collect();
    PatchNet::new(side, layers).unwrap()
}

/// 1024 products of values to 1 and weights to 1/16, each sum rounded to 2^-24 of at most 8: 5e-7 a sum, and the sigmoids
/// of three more layers make less than 20 times as much of it. What shares products is as exact: measured 3e-7.
const TOLERANCE: f32 = 1e-5;

#[test]
fn scores_of_every_position() {
    let mut random = Random(3);
    // Columns, rows, side, stride, outputs of the layers.
    let cases: [(usize, usize, usize, usize, &[usize]); 7] = [
        (5, 5, 5, 1, &[1]),
        (19, 13, 5, 3, &[17, 2]),
        (4, 9, 5, 1, &[3]),
        (41, 37, 8, 1, &[20, 115, 3]),
        (34, 33, 32, 1, &[33, 1]),
        (300, 33, 8, 2, &[9, 2]),
        (44, 40, 32, 4, &[200, 200, 200, 1]),
    ];
    for (columns, rows, side, stride, outputs) in cases {
        let case = format!("{columns}x{rows}, {side} by {stride}: {outputs:?}");
        let net = net(&mut random, side, outputs);
        let image = random.values(columns * rows, |r| r.unit() as f32);
        let want = reference::patch_net::scores(&net, &image, columns, stride);
        let [across, down] = net.positions([columns, rows], stride);
        assert_eq!(want.len(), across * down * net.outputs(), "{case}");
        let close = |got: &[f32], place: &str| {
            assert_eq!(got.len(), want.len(), "{case} {place}");
            for (got, want) in got.iter().zip(&want) {
                assert!((got - want).abs() <= TOLERANCE, "{case} {place}: {got} {want}");
            }
        };
        let sweep = Sweep::new(net.clone(), stride);
        let plain = sweep.scores(InstructionSet::SCALAR, &image, columns, 1);
        close(&plain, "scalar");
        for set in InstructionSet::available() {
            for threads in [1, 3] {
                let scores = sweep.scores(set, &image, columns, threads);
                assert_eq!(scores, plain, "{case} {} {threads} threads", set.name());
            }
        }
        on_each(|on, place| {
            let image = Array::of(on, &image).unwrap();
            let net = cuda::patch_net::PatchNet::new(on, net.clone()).unwrap();
            let scores = net.scores(on, &image, columns, stride).unwrap();
            close(&scores.download(on).unwrap(), place);
        });
    }
}
