//! Slices at the size of a screen: intensities by a cubic filter, labels by a vote, so that no staircase
//! shows.

use std::ops::Range;

/// A rectangle of a slice (fractional pixels; pixel `n` covers `n..n + 1`) and the size it is drawn at.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Frame {
    pub(crate) columns: Range<f64>,
    pub(crate) rows: Range<f64>,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

/// The four source pixels that make one target pixel, and their weights (sum 1).
struct Taps {
    at: [usize; 4],
    weights: [f32; 4],
}

/// Keys' cubic (a = -1/2) at distances 1 + t, t, 1 - t, 2 - t: passes through the samples and stays sharp.
fn keys(t: f32) -> [f32; 4] {
    let near = |x: f32| (1.5 * x - 2.5) * x * x + 1.0;
    let far = |x: f32| ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0;
    [far(1.0 + t), near(t), near(1.0 - t), far(2.0 - t)]
}

/// Cubic B-spline at the same distances: never negative, rounds the corners of label edges.
fn spline(t: f32) -> [f32; 4] {
    let (t2, u) = (t * t, 1.0 - t);
    let inner = |x: f32| (4.0 - 6.0 * x * x + 3.0 * x * x * x) / 6.0;
    [u * u * u / 6.0, inner(t), inner(u), t2 * t / 6.0]
}

/// Taps of `size` target pixels over `range` of `count` source pixels; the edge value continues outside.
fn taps(range: &Range<f64>, size: usize, count: usize, filter: fn(f32) -> [f32; 4]) -> Vec<Taps> {
    let step = (range.end - range.start) / size as f64;
    let tap = |n: usize| {
        let position = range.start + (n as f64 + 0.5) * step - 0.5;
        let floor = position.floor();
        let clamped = |d: i64| (floor as i64 + d).clamp(0, count as i64 - 1) as usize;
        Taps { at: [-1, 0, 1, 2].map(clamped), weights: filter((position - floor) as f32) }
    };
    (0..size).map(tap).collect()
}

/// The intensities of a slice (`columns` a row) inside `frame`, `frame.width` a row.
pub(crate) fn intensities(slice: &[f32], columns: usize, frame: &Frame) -> Vec<f32> {
    let across = taps(&frame.columns, frame.width, columns, keys);
    let down = taps(&frame.rows, frame.height, slice.len() / columns, keys);
    let wide: Vec<f32> = slice
        .chunks_exact(columns)
        .flat_map(|row| {
            across.iter().map(|tap| (0..4).map(|n| row[tap.at[n]] * tap.weights[n]).sum::<f32>())
        })
        .collect();
    let mut result = Vec::with_capacity(frame.width * frame.height);
    for tap in &down {
        let rows = tap.at.map(|row| &wide[row * frame.width..(row + 1) * frame.width]);
        let value = |x: usize| (0..4).map(|n| rows[n][x] * tap.weights[n]).sum::<f32>();
        result.extend((0..frame.width).map(value));
    }
    result
}

/// The labels of a slice inside `frame`: each of the 16 source pixels around a target pixel votes with its
/// weight, the first label with the most wins.
pub(crate) fn labels<T: Copy + PartialEq>(slice: &[T], columns: usize, frame: &Frame) -> Vec<T> {
    let across = taps(&frame.columns, frame.width, columns, spline);
    let down = taps(&frame.rows, frame.height, slice.len() / columns, spline);
    let mut result = Vec::with_capacity(frame.width * frame.height);
    for row in &down {
        let rows = row.at.map(|y| &slice[y * columns..(y + 1) * columns]);
        for column in &across {
            let first = rows[0][column.at[0]];
            if rows.iter().all(|row| column.at.iter().all(|&x| row[x] == first)) {
                result.push(first);
                continue;
            }
            let mut votes: Vec<(T, f32)> = Vec::with_capacity(4);
            for (values, down) in rows.iter().zip(row.weights) {
                for (&x, across) in column.at.iter().zip(column.weights) {
                    match votes.iter_mut().find(|(label, _)| *label == values[x]) {
                        Some((_, share)) => *share += down * across,
                        None => votes.push((values[x], down * across)),
                    }
                }
            }
            let best = votes.iter().fold(votes[0], |best, &v| if v.1 > best.1 { v } else { best });
            result.push(best.0);
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(width: usize, height: usize) -> Frame {
        Frame { columns: 0.0..4.0, rows: 0.0..3.0, width, height }
    }

    #[test]
    fn same_size_keeps_intensities_and_labels() {
        let slice: Vec<f32> = (0..12).map(|n| (n * n) as f32).collect();
        assert_eq!(intensities(&slice, 4, &frame(4, 3)), slice);
        let blocks = [1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0];
        assert_eq!(labels(&blocks, 4, &frame(4, 3)), blocks);
    }

    #[test]
    fn weights_sum_to_one_and_a_flat_slice_stays_flat() {
        for t in [0.0, 0.3, 0.5, 0.99] {
            assert!((keys(t).iter().sum::<f32>() - 1.0).abs() < 1e-6);
            assert!((spline(t).iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
        let flat = intensities(&[7.0; 12], 4, &frame(9, 11));
        assert!(flat.iter().all(|v| (v - 7.0).abs() < 1e-5));
    }

    #[test]
    fn enlarged_edge_lies_where_the_pixels_meet() {
        let halves = [1, 1, 2, 2, 1, 1, 2, 2, 1, 1, 2, 2];
        let big = labels(&halves, 4, &frame(40, 30));
        assert!((0..30).all(|y| big[y * 40 + 18] == 1 && big[y * 40 + 21] == 2));
    }
}
