//! Definition of `crate::patch_net`: every patch by itself, in double precision.

use crate::patch_net::PatchNet;

/// See [`crate::patch_net::Sweep::scores`].
pub fn scores(net: &PatchNet, slice: &[f32], columns: usize, stride: usize) -> Vec<f32> {
    let [across, down] = net.positions([columns, slice.len() / columns.max(1)], stride);
    let score = |position: usize| {
        let (x, y) = (position % across * stride, position / across * stride);
        let window = (0..net.side() * net.side())
            .map(|n| f64::from(slice[(y + n / net.side()) * columns + x + n % net.side()]));
        let mut values: Vec<f64> = window.collect();
        for layer in net.layers() {
            let output = |(weights, bias): (&[f32], &f32)| {
                let products = weights.iter().zip(&values).map(|(&w, value)| f64::from(w) * value);
                1.0 / (1.0 + (-(f64::from(*bias) + products.sum::<f64>())).exp())
            };
            let rows = layer.weights.chunks_exact(values.len());
            values = rows.zip(&layer.bias).map(output).collect();
        }
        values.into_iter().map(|value| value as f32).collect::<Vec<f32>>()
    };
    (0..across * down).flat_map(score).collect()
}
