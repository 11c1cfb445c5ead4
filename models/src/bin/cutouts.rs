//! Streams cutouts for the training of the instance net to standard output.
//!
//! `cargo run --release -p models --bin cutouts -- FIRST_SEED COUNT VARIANTS` draws patients FIRST_SEED, FIRST_SEED + 1 and so
//! on, makes VARIANTS corrupted masks of each and one more with the mistakes that the shipped semantic net makes in a poor
//! image, and cuts them as the service does: its own cleaning, its own search for bodies, its own cutouts.
//!
//! First comes one line of JSON with the shape; then for each cutout two arrays of one byte a voxel, columns fastest, then
//! rows, slices slowest: the group seen (0 none), and the answer (0 other, 1 vertebra above, 2 this one, 3 below, 255 does not
//! matter); last one byte with the SPINEPS id of the vertebra in the centre (0 none, 26 sacrum).

use anyhow::{Context, bail};
use kernels::{Affine, Dims, Grid, Volume};
use models::card::InstanceFile;
use models::engine::{EngineChoice, Forms, Shipped, start};
use models::weights::INSTANCE_CARD;
use phantom::{Recipe, corrupt, generate};
use pipeline::cutout::{Cutout, groups};
use pipeline::{InstanceCard, ModelCard, Nets, Structure, clean, prepare, vertebrae};
use std::collections::BTreeMap;
use std::io::{BufWriter, Write, stdout};

const USAGE: &str = "usage: cutouts FIRST_SEED COUNT VARIANTS";
/// The answer at voxels that belong to no vertebra, whatever the mask says.
const ANY: u8 = 255;
/// A vertebra is the one in the centre when its body lies within this distance of the centre: half a cervical body.
const CENTRE_MM: f64 = 8.0;
/// Instance values of S1 and of a thirteenth thoracic vertebra, which lies between 19 and 20 (SPINEPS).
const SACRUM: u16 = 26;
const T13: u16 = 28;

fn main() -> anyhow::Result<()> {
    let numbers: Result<Vec<u64>, _> = std::env::args().skip(1).map(|text| text.parse()).collect();
    let [first, count, variants] = numbers.context(USAGE)?[..] else { bail!(USAGE) };
    // Several streams run side by side: each keeps to one core.
    // In floats: what a seed draws stays what the shipped instance net learnt from.
    let weights = Forms::of(Shipped::embedded()?);
    let (mut nets, _) = start(&weights, EngineChoice::Auto, 1)?;
    let semantic = nets.semantic.card().clone();
    let instance = InstanceFile::parse(INSTANCE_CARD, "instance.toml")?.model;
    let mut out = BufWriter::new(stdout().lock());
    let [columns, rows, slices] = instance.window.counts;
    let groups = instance.groups.len();
    writeln!(out, r#"{{"shape": [{slices}, {rows}, {columns}], "groups": {groups}}}"#)?;
    for seed in first..first + count {
        let patient = Patient::draw(seed, &mut nets)?;
        for variant in 0..=variants {
            let mut random = Random(seed * 1000 + variant);
            let turned = patient.turned(&mut random)?;
            let mask = if variant == variants {
                turned.said
            } else {
                turned.corrupted(&mut random, &semantic)
            };
            turned.truth.write_cutouts(mask, &mut random, &semantic, &instance, &mut out)?;
        }
    }
    Ok(out.flush()?)
}

/// Draws for training only: splitmix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [low, high).
    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// One exam on a (P, I, R) grid.
struct Patient {
    truth: Truth,
    /// Class map of the semantic net.
    said: Volume<u8>,
}

impl Patient {
    fn draw(seed: u64, nets: &mut Nets) -> anyhow::Result<Patient> {
        let recipe = Recipe::for_training(seed);
        let drawn = generate(&recipe)?;
        let grid = grid(drawn.image.dims().counts(), recipe.in_plane_mm, recipe.slice_mm)?;
        let image = poor(&Volume::new(grid, drawn.image.into_voxels())?, &mut Random(seed));
        let said = nets.classify(&prepare::prepare(&image, nets.semantic.card())?)?.classes;
        Ok(Patient {
            truth: Truth {
                semantic: Volume::new(grid, drawn.semantic.into_voxels())?,
                vertebrae: Volume::new(grid, drawn.vertebrae.into_voxels())?,
            },
            said: Volume::new(grid, said.into_voxels())?,
        })
    }

    /// The same patient leaning forwards or backwards, larger or smaller.
    fn turned(&self, random: &mut Random) -> anyhow::Result<Patient> {
        let (sine, cosine) = random.between(-0.3, 0.3).sin_cos();
        let size = random.between(0.85, 1.2);
        let old = self.said.grid();
        let ([ni, nj, nk], mm) = (old.dims.counts(), old.affine.spacing());
        let new = grid([ni, nj, nk], mm[0] * size, mm[2] * random.between(0.9, 1.1) * size)?;
        let middle = [(ni - 1) as f64 / 2.0, (nj - 1) as f64 / 2.0];
        let from = |at: usize| {
            let [i, j, k] = new.dims.index(at);
            let [x, y] = [i as f64 - middle[0], j as f64 - middle[1]];
            let i = (middle[0] + cosine * x - sine * y).round();
            let j = (middle[1] + sine * x + cosine * y).round();
            let inside = i >= 0.0 && j >= 0.0 && i < ni as f64 && j < nj as f64;
            inside.then(|| old.dims.offset([i as usize, j as usize, k]))
        };
        let origin: Vec<Option<usize>> = (0..new.dims.voxels()).map(from).collect();
        Ok(Patient {
            truth: Truth {
                semantic: picked(&self.truth.semantic, &origin, new)?,
                vertebrae: picked(&self.truth.vertebrae, &origin, new)?,
            },
            said: picked(&self.said, &origin, new)?,
        })
    }

    /// The truth's class map with invented mistakes.
    fn corrupted(&self, random: &mut Random, semantic: &ModelCard) -> Volume<u8> {
        let class =
            |value| Structure::from_value(value).and_then(|s| semantic.class_of(s)).unwrap_or(0);
        corrupt(&self.truth.semantic, &self.truth.vertebrae, random.next()).map(class)
    }
}

/// The voxels of `origin` on a new grid; 0 where a voxel has none.
fn picked<T: Copy + Default>(
    volume: &Volume<T>,
    origin: &[Option<usize>],
    grid: Grid,
) -> anyhow::Result<Volume<T>> {
    let values = origin.iter().map(|at| at.map_or(T::default(), |at| volume.voxels()[at]));
    Ok(Volume::new(grid, values.collect())?)
}

/// An image in which the semantic net errs: other contrast, and noise up to what makes a scan be repeated.
fn poor(image: &Volume<f32>, random: &mut Random) -> Volume<f32> {
    let gamma = random.between(-0.7, 0.7).exp();
    let brightest = f64::from(image.voxels().iter().copied().fold(1.0, f32::max));
    let noise = random.between(0.0, 0.2);
    let values = image.voxels().iter().map(|&value| {
        let signal = (f64::from(value) / brightest).powf(gamma);
        // Two draws make a triangle, near enough to a normal distribution for this.
        (signal + noise * random.between(-0.5, 0.5) + noise * random.between(-0.5, 0.5)).max(0.0)
            as f32
    });
    Volume::new(*image.grid(), values.collect()).expect("a value a voxel")
}

/// What is true of an exam.
struct Truth {
    semantic: Volume<u8>,
    vertebrae: Volume<u16>,
}

impl Truth {
    /// Cleans and cuts `mask`.
    fn write_cutouts(
        &self,
        mask: Volume<u8>,
        random: &mut Random,
        semantic: &ModelCard,
        instance: &InstanceCard,
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        // The cleaned map is a box of the whole one: the truth is looked up by its place.
        let Some(classes) = clean::clean(&mask, semantic) else { return Ok(()) };
        let truth = self.within(classes.grid());
        let seen = groups(&classes, semantic, instance);
        for centre in self.centres(&classes, &truth, semantic, random) {
            let cutout = Cutout::new(&instance.window, classes.grid(), centre);
            let this = truth.vertebra_at(centre);
            let answers = truth.answers(&classes, semantic, this);
            out.write_all(&cutout.sample(&seen, 0))?;
            out.write_all(&cutout.sample(&answers, ANY))?;
            out.write_all(&[this as u8])?;
        }
        Ok(())
    }

    /// This truth in the box that `part` is of its grid.
    fn within(&self, part: &Grid) -> Truth {
        let whole = self.semantic.grid();
        let first = whole.affine.index(part.affine.origin()).map(|n| n.round() as usize);
        let last = part.dims.counts();
        let max = std::array::from_fn(|axis| first[axis] + last[axis] - 1);
        let bounds = kernels::components::Bounds { min: first, max };
        Truth {
            semantic: kernels::components::crop(&self.semantic, bounds),
            vertebrae: kernels::components::crop(&self.vertebrae, bounds),
        }
    }

    /// Where the service would look for vertebrae, and where those lie that it would miss; a little beside.
    fn centres(
        &self,
        classes: &Volume<u8>,
        truth: &Truth,
        semantic: &ModelCard,
        random: &mut Random,
    ) -> Vec<[f64; 3]> {
        let spacing = classes.grid().affine.spacing();
        let mut centres = vertebrae::find_bodies(classes, semantic).centres;
        for body in truth.bodies() {
            let far = |c: &[f64; 3]| distance(*c, body, spacing) > CENTRE_MM;
            if centres.iter().all(far) {
                centres.push(body);
            }
        }
        let mut beside = |axis: usize, mm: f64| mm * random.between(-1.0, 1.0) / spacing[axis];
        for centre in &mut centres {
            *centre = [0, 1, 2].map(|axis| centre[axis] + beside(axis, 4.0) + beside(axis, 3.0));
        }
        centres
    }

    /// Centres of the bodies, voxels.
    fn bodies(&self) -> Vec<[f64; 3]> {
        /// Fewer voxels are no body to look for.
        const MIN_VOXELS: f64 = 100.0;
        let mut sums = BTreeMap::<u16, ([f64; 3], f64)>::new();
        for (at, _) in self.body_voxels() {
            let (sum, count) = sums.entry(self.vertebrae.voxels()[at]).or_default();
            let index = self.semantic.dims().index(at);
            *sum = [0, 1, 2].map(|axis| sum[axis] + index[axis] as f64);
            *count += 1.0;
        }
        let whole = sums.into_values().filter(|(_, count)| *count >= MIN_VOXELS);
        whole.map(|(sum, count)| sum.map(|s| s / count)).collect()
    }

    fn body_voxels(&self) -> impl Iterator<Item = (usize, u8)> {
        let wanted = Structure::VertebralBody.value();
        self.semantic.voxels().iter().copied().enumerate().filter(move |(_, v)| *v == wanted)
    }

    /// The vertebra that a cutout around `centre` is about; 0 where there is none.
    fn vertebra_at(&self, centre: [f64; 3]) -> u16 {
        let (dims, spacing) = (self.semantic.dims(), self.semantic.grid().affine.spacing());
        let away = |at: usize| distance(dims.index(at).map(|n| n as f64), centre, spacing);
        let nearest =
            self.body_voxels().map(|(at, _)| (away(at), at)).min_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((mm, at)) = nearest
            && mm <= CENTRE_MM
        {
            return self.vertebrae.voxels()[at];
        }
        let sacral = |at: &usize| self.semantic.voxels()[*at] == Structure::Sacrum.value();
        let sacrum = (0..dims.voxels()).filter(sacral).any(|at| away(at) <= CENTRE_MM);
        if sacrum { SACRUM } else { 0 }
    }

    /// The vertebrae above and below `this`, whatever the patient's numbers skip; 0 where there is none in view.
    fn neighbours(&self, this: u16) -> [u16; 2] {
        let place = |id: u16| if id == T13 { 2 * 19 + 1 } else { 2 * id };
        let ids =
            self.vertebrae.voxels().iter().filter(|&&id| id == T13 || (1..=SACRUM).contains(&id));
        let chain: BTreeMap<u16, u16> = ids.map(|&id| (place(id), id)).collect();
        let above = chain.range(..place(this)).next_back();
        let below = chain.range(place(this) + 1..).next();
        [above, below].map(|entry| entry.map_or(0, |(_, &id)| id))
    }

    /// What the net should say about each voxel.
    fn answers(&self, classes: &Volume<u8>, semantic: &ModelCard, this: u16) -> Volume<u8> {
        let vertebral: Vec<bool> = (0..semantic.classes.len() as u8)
            .map(|class| {
                let parts = Structure::ALL.into_iter().filter(|s| s.is_vertebra());
                parts.into_iter().any(|s| class != 0 && semantic.class_of(s) == Some(class))
            })
            .collect();
        let [above, below] = self.neighbours(this);
        let answer = |at: usize| {
            let (structure, id) = (self.semantic.voxels()[at], self.vertebrae.voxels()[at]);
            let structure = Structure::from_value(structure);
            if !vertebral[usize::from(classes.voxels()[at])] {
                return ANY;
            }
            match structure {
                Some(Structure::Sacrum) => 0,
                Some(s) if !s.is_vertebra() => ANY,
                None => ANY,
                Some(_) if this == 0 => 0,
                Some(_) if id == above => 1,
                Some(_) if id == this => 2,
                Some(_) if id == below => 3,
                Some(_) => 0,
            }
        };
        let values = (0..classes.dims().voxels()).map(answer).collect();
        Volume::new(*classes.grid(), values).expect("an answer a voxel")
    }
}

fn distance(a: [f64; 3], b: [f64; 3], spacing: [f64; 3]) -> f64 {
    let square = |axis: usize| ((a[axis] - b[axis]) * spacing[axis]).powi(2);
    (square(0) + square(1) + square(2)).sqrt()
}

/// A grid in the working orientation around the patient's origin.
fn grid(counts: [usize; 3], in_plane_mm: f64, slice_mm: f64) -> anyhow::Result<Grid> {
    let axes = [[0.0, in_plane_mm, 0.0], [0.0, 0.0, -in_plane_mm], [-slice_mm, 0.0, 0.0]];
    Ok(Grid { dims: Dims::new(counts)?, affine: Affine::new(axes, [0.0; 3])? })
}
