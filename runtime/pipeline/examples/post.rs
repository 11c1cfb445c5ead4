//! The stages after the semantic net, timed, with a net that answers with the truth: our side of `tests/bench/post.py`.
//!
//! `post FOLDER RUNS`: FOLDER holds `case` (three counts and millimetres of the net's grid, then of the scanner's) and the
//! arrays `seg` and `truth`, a byte a voxel, first axis fastest. Writes `semantic` (bytes) and `vertebrae` (two bytes, little
//! end first) beside them, and prints the seconds of each run without the net's.

use kernels::{Affine, Dims, Grid, Volume};
use pipeline::spineps::Rules;
use pipeline::spineps::boxed::Boxed;
use pipeline::spineps::chain::{Outcome, outcome, unlabelled};
use pipeline::spineps::clean::{Extent, clean};
use pipeline::spineps::cutouts::{COUNTS, Cutout, VOXELS};
use pipeline::spineps::ended::Ended;
use pipeline::spineps::instances::boxed;
use pipeline::spineps::prepare::{NET_SPACING_MM, grid_at};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

struct Case {
    seg: Volume<u8>,
    /// The truth where the instance stage works: in the box around the spine, on its net's grid.
    truth: Volume<u8>,
    scanner: Grid,
}

/// A (P, I, R) grid with voxel (0, 0, 0) at the origin of the world.
fn grid(numbers: &[f64]) -> Result<Grid, Box<dyn Error>> {
    let &[p, i, r, zp, zi, zr] = numbers else { return Err("six numbers make a grid".into()) };
    let axes = [[0.0, zp, 0.0], [0.0, 0.0, -zi], [-zr, 0.0, 0.0]];
    let dims = Dims::new([p, i, r].map(|n| n as usize))?;
    Ok(Grid { dims, affine: Affine::new(axes, [0.0; 3])? })
}

impl Case {
    fn read(folder: &Path) -> Result<Case, Box<dyn Error>> {
        let text = fs::read_to_string(folder.join("case"))?;
        let numbers: Vec<f64> =
            text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let (own, scanner) = numbers.split_at_checked(6).ok_or("no grids")?;
        let (own, scanner) = (grid(own)?, grid(scanner)?);
        let seg = Volume::new(own, fs::read(folder.join("seg"))?)?;
        let truth = Volume::new(own, fs::read(folder.join("truth"))?)?;
        let cleaned = clean(&seg, Extent::Whole, Rules::Spineps213)?.labels;
        let net = grid_at(&own, NET_SPACING_MM)?;
        let spine = boxed(&cleaned.on(&net)).ok_or("an empty mask")?.bounds;
        let truth = Boxed::from(truth).on(&net).at(spine).part;
        Ok(Case { seg, truth, scanner })
    }

    /// SPINEPS' stages; `net` is how long the net took.
    fn run(&self, net: &mut Duration) -> Result<Outcome, Ended> {
        let mut truth = vec![0; VOXELS];
        let predict = |cutout: &Cutout, codes: &[u8], answer: &mut [u8]| {
            let start = Instant::now();
            cutout.show(&self.truth, &mut truth);
            classify(&truth, codes, answer);
            *net += start.elapsed();
            Ok(())
        };
        outcome(&self.seg, &self.scanner, Rules::Spineps213, predict, unlabelled)
    }
}

/// The vertebra in the middle of a cutout; where there is none, that nearest along the height, then anywhere.
fn middle(truth: &[u8]) -> u8 {
    let [i, j, k] = COUNTS.map(|n| n / 2);
    let at = |[i, j, k]: [usize; 3]| truth[i + COUNTS[0] * (j + COUNTS[1] * k)];
    let column = (0..COUNTS[1]).map(|row| [i, row, k]).filter(|&place| at(place) != 0);
    if let Some(place) = column.min_by_key(|place| place[1].abs_diff(j)) {
        return at(place);
    }
    let away = |place: &[usize; 3]| {
        let steps = [place[0].abs_diff(i), place[1].abs_diff(j), place[2].abs_diff(k)];
        steps.iter().map(|step| step * step).sum::<usize>()
    };
    let places = (0..COUNTS[0])
        .flat_map(|i| (0..COUNTS[1]).flat_map(move |j| (0..COUNTS[2]).map(move |k| [i, j, k])));
    places.filter(|&place| at(place) != 0).min_by_key(away).map_or(0, at)
}

/// The net without fault: the vertebra in the middle is 2, those above and below are 1 and 3, where the mask shows them.
fn classify(truth: &[u8], codes: &[u8], answer: &mut [u8]) {
    let middle = middle(truth);
    let classes: [u8; 256] = std::array::from_fn(|id| match id as i16 - i16::from(middle) {
        away @ -1..=1 if id != 0 => (away + 2) as u8,
        _ => 0,
    });
    for ((class, &id), &code) in answer.iter_mut().zip(truth).zip(codes) {
        *class = if code == 0 { 0 } else { classes[usize::from(id)] };
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, runs] = arguments.as_slice() else { return Err("post FOLDER RUNS".into()) };
    let (folder, runs) = (PathBuf::from(folder), runs.parse::<usize>()?);
    let case = Case::read(&folder)?;
    let mut seconds = Vec::new();
    for run in 0..runs {
        let (mut net, start) = (Duration::ZERO, Instant::now());
        let found = case.run(&mut net)?;
        seconds.push((start.elapsed() - net).as_secs_f64());
        if run == 0 {
            fs::write(folder.join("semantic"), found.masks.semantic.voxels())?;
            let ids = found.masks.vertebrae.voxels().iter();
            let bytes: Vec<u8> = ids.flat_map(|id| id.to_le_bytes()).collect();
            fs::write(folder.join("vertebrae"), bytes)?;
        }
    }
    println!("{}", serde_json::json!({ "seconds": seconds }));
    Ok(())
}
