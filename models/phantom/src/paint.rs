//! From tissues to a T2-weighted turbo spin echo image: signal, texture, partial volume, coil, blur and noise.
//!
//! Signals are relative to cerebrospinal fluid (1.0), set by eye after real lumbar T2w exams.

use crate::canvas::{Canvas, WEIGHTS};
use crate::field::Field;
use crate::random::Random;
use crate::soft::organ;
use crate::spine::{LEVELS, Spine};
use crate::tissue::{Tissue, Voxel};
use kernels::{Grid, Volume};

/// Image value of cerebrospinal fluid at the spine: with the coil's gain, skin fat stays below 1500.
const CSF_VALUE: f64 = 1000.0;

/// Signal of every tissue (mean, relative deviation of its texture), for one person.
struct Palette {
    signal: [f32; Tissue::COUNT],
    texture: [f32; Tissue::COUNT],
    /// Each vertebra's marrow and each disc's nucleus have their own signal.
    marrow: [f32; LEVELS],
    nucleus: [f32; LEVELS],
    /// Each organ has its own, by its number.
    organ: [f32; ORGANS],
}

/// Numbers of organs ([`organ`]) start at 0: none.
const ORGANS: usize = organ::LAST as usize + 1;

impl Palette {
    fn new(random: &mut Random, spine: &Spine) -> Palette {
        let mut palette = Palette {
            signal: [0.0; Tissue::COUNT],
            texture: [0.0; Tissue::COUNT],
            marrow: [1.0; LEVELS],
            nucleus: [0.0; LEVELS],
            organ: std::array::from_fn(|_| random.between(0.75, 1.3) as f32),
        };
        let body = random.between(0.30, 0.42);
        let fat = random.between(0.72, 0.92);
        let muscle = random.between(0.13, 0.20);
        let mut set = |tissue: Tissue, signal: f64, texture: f64| {
            palette.signal[tissue as usize] = signal as f32;
            palette.texture[tissue as usize] = (signal * texture) as f32;
        };
        set(Tissue::Air, 0.0, 0.0);
        set(Tissue::Fat, fat, 0.05);
        set(Tissue::VisceralFat, fat * 0.72, 0.16);
        set(Tissue::EpiduralFat, fat * 0.8, 0.08);
        set(Tissue::Muscle, muscle, 0.2);
        set(Tissue::Ligament, 0.07, 0.2);
        set(Tissue::Vessel, random.between(0.04, 0.09), 0.2);
        set(Tissue::Cortex, 0.05, 0.1);
        set(Tissue::BodyMarrow, body, 0.07);
        set(Tissue::ArchMarrow, body * random.between(1.0, 1.2), 0.12);
        set(Tissue::SacralMarrow, body * random.between(0.95, 1.15), 0.09);
        set(Tissue::OtherMarrow, body, 0.1);
        set(Tissue::Endplate, random.between(0.05, 0.09), 0.1);
        set(Tissue::BasivertebralVein, random.between(0.55, 0.8), 0.1);
        set(Tissue::Annulus, random.between(0.08, 0.14), 0.15);
        set(Tissue::Nucleus, 0.4, 0.08);
        set(Tissue::Csf, 1.0, 0.05);
        set(Tissue::Cord, random.between(0.34, 0.44), 0.05);
        set(Tissue::Root, random.between(0.40, 0.52), 0.1);
        set(Tissue::Cartilage, random.between(0.4, 0.8), 0.15);
        set(Tissue::Bladder, random.between(0.95, 1.15), 0.03);
        set(Tissue::Gas, 0.01, 0.1);
        set(Tissue::OrganDark, random.between(0.12, 0.2), 0.2);
        set(Tissue::OrganGrey, random.between(0.25, 0.4), 0.2);
        set(Tissue::OrganBright, random.between(0.5, 0.8), 0.12);
        set(Tissue::Brain, random.between(0.4, 0.5), 0.12);
        set(Tissue::ModicOne, body * 1.5, 0.1);
        set(Tissue::ModicTwo, body * 1.35, 0.1);
        set(Tissue::ModicThree, body * 0.35, 0.1);
        set(Tissue::Oedema, body * 1.5, 0.15);
        set(Tissue::Haemangioma, body * 1.8, 0.2);
        set(Tissue::FattyMarrow, body * 1.4, 0.08);
        set(Tissue::Lesion, body * 0.8, 0.2);
        set(Tissue::Cement, 0.03, 0.1);
        set(Tissue::Metal, 0.01, 0.1);
        let healthy = random.between(0.6, 0.85);
        for (level, vertebra) in spine.vertebrae.iter().enumerate() {
            palette.marrow[level] = (1.0 + 0.035 * random.normal()) as f32;
            let worn = (1.0 - 1.4 * vertebra.degeneration + 0.1 * random.normal()).clamp(0.0, 1.0);
            palette.nucleus[level] = (0.18 + (healthy - 0.18) * worn) as f32;
        }
        palette
    }

    fn at(&self, voxel: &Voxel, texture: f32) -> f32 {
        let tissue = voxel.tissue as usize;
        let signal = self.signal[tissue];
        let mean = match voxel.tissue {
            Tissue::BodyMarrow | Tissue::ArchMarrow => {
                signal * self.marrow[usize::from(voxel.level)]
            }
            Tissue::OrganDark | Tissue::OrganGrey | Tissue::OrganBright => {
                signal * self.organ[usize::from(voxel.level) % ORGANS]
            }
            Tissue::Nucleus => self.nucleus[usize::from(voxel.level)],
            _ => signal,
        };
        mean + self.texture[tissue] * texture
    }
}

/// How sensitive the receiver is at a point, and what the saturation band leaves.
struct Coil {
    shading: Field,
    shading_size: f64,
    /// Where and how much the anterior saturation band darkens; 1 is no band.
    band: (f64, f64),
    half_height: f64,
}

impl Coil {
    fn new(random: &mut Random, grid: &Grid) -> Coil {
        let rows = grid.dims.counts()[1] as f64;
        Coil {
            shading: Field::new(random, [110.0, 80.0, 90.0]),
            shading_size: random.between(0.02, 0.07),
            band: (
                random.between(42.0, 60.0),
                if random.chance(0.6) { random.between(0.45, 0.8) } else { 1.0 },
            ),
            half_height: rows * grid.affine.spacing()[1] / 2.0,
        }
    }

    /// `ahead`: millimetres to posterior of the column. The spine coil lies behind the back: fat there is brightest.
    fn gain(&self, point: [f64; 3], ahead: f64, height: f64) -> f64 {
        let far = (70.0 - ahead).max(0.0) / 140.0;
        let near = 1.25 / (1.0 + far * far);
        let into_band = ((-ahead - self.band.0) / 8.0 + 0.5).clamp(0.0, 1.0);
        let band = 1.0 + (self.band.1 - 1.0) * into_band;
        let edge = height / self.half_height;
        let ends = 1.0 - 0.35 * edge * edge * edge * edge;
        near * band * ends * (1.0 + self.shading_size * self.shading.at(point))
    }
}

/// The image of the canvas on `grid`, in arbitrary units with cerebrospinal fluid near 1000.
pub(crate) fn paint(
    canvas: &Canvas,
    grid: Grid,
    spine: &Spine,
    random: &mut Random,
) -> Volume<f32> {
    let palette = Palette::new(random, spine);
    let coil = Coil::new(random, &grid);
    let coarse = Field::new(random, [10.0, 9.0, 9.0]);
    let fine = Field::new(random, [4.0, 2.2, 2.2]);
    let blur = random.between(0.10, 0.16) as f32;
    let noise = random.between(0.010, 0.020) * CSF_VALUE;
    let column = spine.y.smoothed(12.0);
    let [ni, nj, nk] = grid.dims.counts();
    let mut image = Volume::filled(grid, 0f32);
    let mut plane = vec![0f32; ni * nj];
    let mut texture = vec![0f32; ni * nj];
    let isocentre_height =
        grid.affine.world([0.0, (nj - 1) as f64 / 2.0, (nk - 1) as f64 / 2.0])[2];
    for k in 0..nk {
        for (n, (texture, voxel)) in texture.iter_mut().zip(canvas.middle(k)).enumerate() {
            if voxel.tissue != Tissue::Air {
                let point = grid.affine.world([(n % ni) as f64, (n / ni) as f64, k as f64]);
                *texture = (coarse.at(point) + 0.5 * fine.at(point)) as f32;
            }
        }
        plane.fill(0.0);
        for (thin, weight) in canvas.thin_slices(k).zip(WEIGHTS) {
            for ((sum, voxel), texture) in plane.iter_mut().zip(thin).zip(&texture) {
                *sum += weight * palette.at(voxel, *texture);
            }
        }
        for j in 0..nj {
            let start = grid.affine.world([0.0, j as f64, k as f64]);
            let (line, step) = (column.at(start[2]), grid.affine.axes()[0]);
            for i in 0..ni {
                let point = std::array::from_fn(|a| start[a] + step[a] * i as f64);
                let gain = coil.gain(point, point[1] - line, start[2] - isocentre_height);
                plane[i + ni * j] *= (CSF_VALUE * gain) as f32;
            }
        }
        soften(&mut plane, ni, blur);
        let out = &mut image.voxels_mut()[k * ni * nj..(k + 1) * ni * nj];
        for (out, value) in out.iter_mut().zip(&plane) {
            // The magnitude of a complex signal with equal noise in both parts (Rician).
            let real = f64::from(*value) + noise * random.normal();
            let imaginary = noise * random.normal();
            *out = (real * real + imaginary * imaginary).sqrt() as f32;
        }
    }
    image
}

/// The point spread of the acquisition: a [side, 1 - 2 side, side] filter along both axes; the border stays.
fn soften(plane: &mut [f32], ni: usize, side: f32) {
    for row in plane.chunks_exact_mut(ni) {
        let mut before = row[0];
        for i in 1..ni.saturating_sub(1) {
            let here = row[i];
            row[i] = here * (1.0 - 2.0 * side) + side * (before + row[i + 1]);
            before = here;
        }
    }
    let mut before = plane[..ni].to_vec();
    for start in (ni..plane.len().saturating_sub(ni)).step_by(ni) {
        for i in 0..ni {
            let here = plane[start + i];
            plane[start + i] =
                here * (1.0 - 2.0 * side) + side * (before[i] + plane[start + ni + i]);
            before[i] = here;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softening_keeps_a_flat_plane_and_spreads_a_point() {
        let mut flat = vec![2.0; 30];
        soften(&mut flat, 6, 0.15);
        assert!(flat.iter().all(|v| (v - 2.0f32).abs() < 1e-6));
        let mut point = vec![0.0; 25];
        point[12] = 1.0;
        soften(&mut point, 5, 0.25);
        assert_eq!(point[12], 0.25);
        assert_eq!([point[11], point[13], point[7], point[17]], [0.125; 4]);
        assert!((point.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }
}
