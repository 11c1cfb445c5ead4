//! Cutouts of a semantic mask around its bodies, as the instance net sees them.

use super::centres::{DENS, DENSE_BODY};
use crate::labels::Structure;
use kernels::Volume;
use kernels::components::Bounds;

/// Voxels of a cutout along (P, I, R).
pub const COUNTS: [usize; 3] = [248, 304, 64];
pub const VOXELS: usize = COUNTS[0] * COUNTS[1] * COUNTS[2];
/// Codes of the net's input, 0 included.
pub const CODES: usize = 10;
/// Where the mask shows nothing of a vertebra at a centre, the cutout moves down by this many voxels until it does.
const STEP: usize = 5;

/// What the instance net is shown of each label: the parts of vertebrae from 1, everything else 0.
pub fn code(label: u8) -> u8 {
    match label {
        DENSE_BODY | DENS => code(Structure::VertebralBody.value()),
        _ if label < Structure::VertebralArch.value() => 0,
        _ if label <= Structure::VertebralBody.value() => {
            label - Structure::VertebralArch.value() + 1
        }
        _ => 0,
    }
}

/// Codes of a cutout -> the net's input: channel `code` is 1 where the code is, 0 elsewhere.
pub fn one_hot(codes: &[u8], input: &mut [f32]) {
    input.fill(0.0);
    for (at, &code) in codes.iter().enumerate() {
        if let Some(value) = input.get_mut(usize::from(code) * codes.len() + at) {
            *value = 1.0;
        }
    }
}

/// A block of [`COUNTS`] voxels around a body.
#[derive(Debug, Clone, PartialEq)]
pub struct Cutout {
    /// The centre, voxels of the mask; its whole part is in the middle of the cutout.
    pub centre: [f64; 3],
    /// The part of the mask that the cutout shows.
    pub place: Bounds,
    /// Voxels of the cutout before that part along each axis.
    pub before: [usize; 3],
}

impl Cutout {
    /// The cutout around `centre` of a mask of codes ([`code`]). A centre beyond the mask is taken to its edge.
    pub fn around(codes: &Volume<u8>, centre: [f64; 3]) -> Cutout {
        let counts = codes.dims().counts();
        let last: [f64; 3] = counts.map(|n| (n - 1) as f64);
        let centre: [f64; 3] = std::array::from_fn(|axis| centre[axis].max(0.0).min(last[axis]));
        let at = centre.map(|v| v as usize);
        let shown = |down: usize| codes.at([at[0], at[1] + down, at[2]]) != 0;
        let down = (0..counts[1] - at[1]).step_by(STEP).find(|&down| shown(down)).unwrap_or(0);
        let at = [at[0], at[1] + down, at[2]];
        let half = COUNTS.map(|n| n / 2);
        Cutout {
            centre: [centre[0], centre[1] + down as f64, centre[2]],
            place: Bounds {
                min: [0, 1, 2].map(|axis| at[axis].saturating_sub(half[axis])),
                max: [0, 1, 2].map(|axis| (at[axis] + half[axis]).min(counts[axis]) - 1),
            },
            before: [0, 1, 2].map(|axis| half[axis].saturating_sub(at[axis])),
        }
    }

    /// Writes the values of a mask in the cutout, first axis fastest; 0 beyond the mask. `shown` has [`VOXELS`] values.
    pub fn show(&self, mask: &Volume<u8>, shown: &mut [u8]) {
        shown.fill(0);
        for (inside, outside, wide) in self.rows() {
            let from = mask.dims().offset(inside);
            shown[outside..outside + wide].copy_from_slice(&mask.voxels()[from..from + wide]);
        }
    }

    /// The rows of the net's `answer` that lie in the mask, in the order of memory; `answer` has [`VOXELS`] values.
    pub fn within<'a>(&self, answer: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.rows().map(|(_, outside, wide)| &answer[outside..outside + wide])
    }

    /// For each row of the part inside the mask: its first voxel there, its offset in the cutout, its length.
    fn rows(&self) -> impl Iterator<Item = ([usize; 3], usize, usize)> + use<> {
        let (Bounds { min, max }, before) = (self.place, self.before);
        let rows = (min[2]..=max[2]).flat_map(move |k| (min[1]..=max[1]).map(move |j| [j, k]));
        rows.map(move |[j, k]| {
            let row = [before[0], j - min[1] + before[1], k - min[2] + before[2]];
            let offset = row[0] + COUNTS[0] * (row[1] + COUNTS[1] * row[2]);
            ([min[0], j, k], offset, max[0] + 1 - min[0])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_net() {
        let coded: Vec<u8> = [0, 26, 40, 41, 48, 49, 50, 51, 52, 60, 62, 100, 255].map(code).into();
        assert_eq!(coded, [0, 0, 0, 1, 8, 9, 9, 9, 0, 0, 0, 0, 0]);
        let mut input = [9.0; 20];
        one_hot(&[0, 9], &mut input);
        assert_eq!((input[0], input[19], input.iter().sum::<f32>()), (1.0, 1.0, 2.0));
    }
}
