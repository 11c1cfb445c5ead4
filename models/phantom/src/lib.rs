//! A procedural patient: a T2-weighted sagittal spine exam with its truth, made from a seed.
//!
//! [`generate`] draws an anatomy (spine curve, bodies and discs, canal and cord, posterior elements, sacrum, soft
//! tissue), paints it as a T2w turbo spin echo series and hands back image and truth on one grid. The same recipe
//! gives the same bytes on every machine: own random numbers, own sine, no platform mathematics.
//!
//! [`Studio`] draws one anatomy after the other without an image, for training to paint its own contrasts: what a voxel
//! is made of, which organ or level it belongs to, and the truth. Modules in the order of drawing: `trunk` (layers),
//! `organs`, `head`, then `canal`, `bodies`, `sacrum`, `arch`; later ones take the voxels of earlier ones.
//!
//! The cost follows the shapes: `canvas` cuts boxes, ellipsoids and tubes into runs of columns, and `field` reads noise
//! row by row. Plain arithmetic in a fixed order: no fused operations, no platform library, no threads.
//!
//! Used for the demo, the self-test, tests and training. It knows no files, no DICOM and no network; dressing the volume
//! as a series is the business of crate `sagitta`.

mod angle;
mod arch;
mod atlas;
mod bodies;
mod canal;
mod canvas;
mod capsule;
mod corrupt;
mod discs;
mod drawn;
mod field;
mod head;
mod implants;
mod morphometry;
mod organs;
mod paint;
mod pathology;
mod random;
mod ribs;
mod sac;
mod sacrum;
mod soft;
mod spine;
mod spinous;
mod tissue;
mod trunk;
mod variants;

pub use corrupt::corrupt;
pub use drawn::{DrawnDisc, DrawnSac, DrawnVertebra, geometry};

use crate::canvas::{Canvas, THIN_SLICES};
use crate::field::Field;
use crate::random::Random;
use crate::spine::Spine;
use crate::tissue::{Structure, Tissue, Voxel};
use crate::variants::Plan;
use kernels::volume::{cross, scale};
use kernels::{Affine, Dims, GeometryError, Grid, Volume};

/// The part of the spine in the field of view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Region {
    /// About T10 to the lower sacrum.
    Lumbar,
    /// About T1 to T12, centred on T7.
    Thoracic,
    /// Skull base to about T4.
    Cervical,
    /// C2 to the sacrum, where the field of view is large enough.
    Whole,
}

/// The people a patient is drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Population {
    /// Fairly healthy adults with the usual number of vertebrae; discs may be worn.
    Ordinary,
    /// Everything that real exams show: variants about three times as often as in people, deformity, fractures,
    /// slipped, herniated and narrowed levels, lesions and implants.
    Training,
}

/// What to make. [`Recipe::of`] gives the usual protocol of a region.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// Chooses the patient; every seed is another one.
    pub seed: u64,
    pub region: Region,
    pub population: Population,
    /// Voxels from front to back.
    pub columns: usize,
    /// Voxels from head to foot.
    pub rows: usize,
    /// Sagittal slices from left to right.
    pub slices: usize,
    /// Voxel size in the plane of a slice, millimetres.
    pub in_plane_mm: f64,
    /// Distance between slice centres, millimetres; a slice is 0.9 of it thick.
    pub slice_mm: f64,
}

impl Default for Recipe {
    /// A lumbar exam: 17 slices of 384 x 384 voxels of 0.78 mm, 4 mm apart.
    fn default() -> Recipe {
        Recipe::of(Region::Lumbar, 1)
    }
}

impl Recipe {
    /// An exam of the kinds and sizes that training needs: any region, 1 mm in plane, slices 2.0 to 4.6 mm apart.
    pub fn for_training(seed: u64) -> Recipe {
        let mut random = Random::stream(seed, stream::TRAINING);
        let (region, rows) = match random.unit() {
            u if u < 0.52 => (Region::Lumbar, random.count(230, 330)),
            u if u < 0.76 => (Region::Cervical, random.count(190, 280)),
            u if u < 0.91 => (Region::Thoracic, random.count(250, 340)),
            _ => (Region::Whole, random.count(360, 460)),
        };
        let slice_mm = random.between(2.0, 4.6);
        let slices = (random.between(46.0, 84.0) / slice_mm) as usize;
        let columns = random.count(200, 280) as usize;
        let (rows, population) = (rows as usize, Population::Training);
        Recipe { seed, region, population, columns, rows, slices, in_plane_mm: 1.0, slice_mm }
    }

    /// The usual protocol for `region`, patient `seed`.
    pub fn of(region: Region, seed: u64) -> Recipe {
        let (columns, rows, slices, in_plane_mm, slice_mm) = match region {
            Region::Lumbar => (384, 384, 17, 0.78, 4.0),
            Region::Thoracic => (384, 448, 17, 0.8, 3.6),
            Region::Cervical => (320, 320, 15, 0.78, 3.3),
            Region::Whole => (384, 768, 17, 0.9, 4.0),
        };
        let population = Population::Ordinary;
        Recipe { seed, region, population, columns, rows, slices, in_plane_mm, slice_mm }
    }
}

/// A made exam. All three volumes are on one grid: `i` to posterior, `j` to inferior, `k` to the right.
#[derive(Debug, Clone)]
pub struct Phantom {
    /// T2-weighted magnitude, 0 to about 1500; cerebrospinal fluid near 1000.
    pub image: Volume<f32>,
    /// SPINEPS values: 26 sacrum, 41 to 49 parts of vertebrae (left is the patient's left), 60 cord, 61 dural sac
    /// without cord, 62 endplate, 100 disc, 0 elsewhere. C1 is drawn, but 0: SPINEPS' nets do not label it.
    pub semantic: Volume<u8>,
    /// Vertebra ids 1 (C1) to 24 (L5), 25 L6, 28 T13, sacrum 26, disc below vertebra v 100 + v, the endplates beside it
    /// 200 + v.
    pub vertebrae: Volume<u16>,
}

/// What is where, before it has a signal: the lattice of thin slices that an image is painted from.
///
/// All four arrays hold one byte a voxel, columns fastest, then rows, thin slices slowest.
#[derive(Debug, Clone, Default)]
pub struct Anatomy {
    /// Columns, rows and thin slices.
    pub counts: [usize; 3],
    /// Thin slices that make one slice of the exam, by [`THIN_WEIGHTS`]: the middle one lies in its plane and holds its
    /// truth, the others on its borders (they are there twice, for both slices that they part).
    pub thin_slices: usize,
    /// What a voxel is made of: an index into [`TISSUES`].
    pub tissue: Vec<u8>,
    /// Which one of its kind: the chain level of a marrow or nucleus; parts with a signal of their own differ here.
    pub part: Vec<u8>,
    /// SPINEPS structure value, as in [`Phantom::semantic`].
    pub structure: Vec<u8>,
    /// SPINEPS instance value, as in [`Phantom::vertebrae`].
    pub vertebra: Vec<u8>,
}

impl Anatomy {
    fn arrays(&mut self) -> [&mut Vec<u8>; 4] {
        [&mut self.tissue, &mut self.part, &mut self.structure, &mut self.vertebra]
    }
}

/// Writes tissue, part and structure of the voxels of a plane into the first three arrays.
fn split(spine: &Spine, plane: &[Voxel], [tissue, part, structure, _]: [&mut [u8]; 4]) {
    // One loop for each array: so the compiler takes sixteen voxels at once.
    plane.iter().zip(tissue).for_each(|(voxel, byte)| *byte = voxel.tissue as u8);
    plane.iter().zip(part).for_each(|(voxel, byte)| *byte = voxel.level);
    let of = structure_of(spine);
    plane.iter().zip(structure).for_each(|(voxel, byte)| *byte = of(voxel));
}

/// Streams of random numbers, one for each part: a change in one leaves the other parts of a patient as they are.
/// The numbers are part of what a seed means; never renumber.
mod stream {
    pub(crate) const SPINE: u64 = 1;
    pub(crate) const POSITION: u64 = 2;
    pub(crate) const FIELDS: u64 = 3;
    pub(crate) const SOFT: u64 = 4;
    pub(crate) const CANAL: u64 = 5;
    pub(crate) const BODIES: u64 = 6;
    pub(crate) const SACRUM: u64 = 7;
    pub(crate) const ARCH: u64 = 8;
    pub(crate) const PAINT: u64 = 9;
    pub(crate) const TRAINING: u64 = 10;
    pub(crate) const VARIANTS: u64 = 11;
    pub(crate) const PATHOLOGY: u64 = 12;
    pub(crate) const IMPLANTS: u64 = 13;
    pub(crate) const CORRUPTION: u64 = 20;
}

/// Names of the tissues in [`Anatomy::tissue`], by index.
pub const TISSUES: [&str; Tissue::COUNT] = Tissue::NAMES;

/// Share of each thin slice in a slice of the exam; one slice's add up to 1.
pub const THIN_WEIGHTS: [f32; THIN_SLICES] = canvas::WEIGHTS;

/// Thickness of cortical bone, millimetres; drawn in whole voxels, at least one.
const CORTEX_MM: f64 = 0.9;
/// Bounds the passes over the canvas; reached by voxels of 0.11 mm, finer than any MR exam of a spine.
const MAX_CORTEX_VOXELS: f64 = 8.0;

/// Makes the patient and the exam of `recipe`.
///
/// # Errors
/// A recipe without voxels, with too many ([`kernels::volume::MAX_VOXELS`]), or with a size that is not a positive
/// number of millimetres.
pub fn generate(recipe: &Recipe) -> Result<Phantom, GeometryError> {
    let (canvas, grid, spine) = draw(recipe, Vec::new())?;
    let image =
        paint::paint(&canvas, grid, &spine, &mut Random::stream(recipe.seed, stream::PAINT));
    Ok(Phantom {
        image,
        semantic: truth(&canvas, grid, structure_of(&spine))?,
        vertebrae: truth(&canvas, grid, |voxel| u16::from(vertebra_value(&spine, voxel)))?,
    })
}

/// Makes the patient of `recipe` without an image: what training paints its own contrasts on.
///
/// # Errors
/// As [`generate`].
pub fn anatomy(recipe: &Recipe) -> Result<Anatomy, GeometryError> {
    let mut studio = Studio::default();
    studio.draw(recipe)?;
    Ok(studio.anatomy)
}

/// Memory in which one anatomy after the other is drawn: fresh memory for each would cost a tenth of the time.
#[derive(Debug, Default)]
pub struct Studio {
    canvas: Vec<Voxel>,
    anatomy: Anatomy,
}

impl Studio {
    /// [`anatomy`], kept until the next one.
    ///
    /// # Errors
    /// As [`generate`].
    pub fn draw(&mut self, recipe: &Recipe) -> Result<&Anatomy, GeometryError> {
        let (canvas, grid, spine) = draw(recipe, std::mem::take(&mut self.canvas))?;
        let [columns, rows, slices] = grid.dims.counts();
        let made = &mut self.anatomy;
        made.counts = [columns, rows, slices * THIN_SLICES];
        made.thin_slices = THIN_SLICES;
        let count = made.counts.iter().product();
        made.arrays().into_iter().for_each(|bytes| bytes.resize(count, 0));
        for (n, plane) in (0..slices).flat_map(|k| canvas.thin_slices(k)).enumerate() {
            let place = n * columns * rows..(n + 1) * columns * rows;
            // The first border of a slice is the last of the one before: copied, not made again.
            if n > 0 && n % THIN_SLICES == 0 {
                let before = place.start - columns * rows..place.start;
                for bytes in made.arrays() {
                    bytes.copy_within(before.clone(), place.start);
                }
                continue;
            }
            split(&spine, plane, made.arrays().map(|bytes| &mut bytes[place.clone()]));
            let vertebra = &mut made.vertebra[place];
            vertebra.fill(0);
            let labelled = |voxel: &Voxel| !voxel.is_free();
            canvas::find(plane, labelled, |n| vertebra[n] = vertebra_value(&spine, &plane[n]));
        }
        self.canvas = canvas.into_memory();
        Ok(made)
    }
}

/// The chain of the patient of `recipe` and its shape.
fn spine_of(recipe: &Recipe) -> (Plan, Spine) {
    let stream = |number: u64| Random::stream(recipe.seed, number);
    let population = recipe.population;
    let plan = Plan::new(&mut stream(stream::VARIANTS), population);
    let findings = pathology::findings(&mut stream(stream::PATHOLOGY), &plan, population);
    let region = (recipe.region, population);
    let spine = Spine::new(&mut stream(stream::SPINE), &plan, findings, region);
    (plan, spine)
}

/// Draws the patient of `recipe` on the lattice of its exam, in `memory` if that is large enough.
fn draw(recipe: &Recipe, memory: Vec<Voxel>) -> Result<(Canvas, Grid, Spine), GeometryError> {
    let stream = |number: u64| Random::stream(recipe.seed, number);
    let grid = grid(recipe, &mut stream(stream::POSITION))?;
    let population = recipe.population;
    let (plan, spine) = spine_of(recipe);
    let mut random = stream(stream::FIELDS);
    let roughness = Field::new(&mut random, [6.0, 7.0, 7.0]);
    let streaks = Field::new(&mut random, [5.0, 3.5, 32.0]);
    let mut canvas = Canvas::new(grid, memory);
    let fields = soft::Fields { roughness: &roughness, streaks: &streaks };
    soft::draw(&mut canvas, &mut stream(stream::SOFT), &spine, recipe.region, &fields);
    canal::draw(&mut canvas, &mut stream(stream::CANAL), &spine, population, &roughness);
    let bodies = bodies::draw(&mut canvas, &mut stream(stream::BODIES), &spine, &roughness);
    sacrum::draw(&mut canvas, &mut stream(stream::SACRUM), &spine, &bodies, &roughness);
    arch::draw(&mut canvas, &mut stream(stream::ARCH), &spine, &plan, &roughness);
    bodies::longitudinal_ligaments(&mut canvas, &spine, recipe.in_plane_mm);
    let layers = (CORTEX_MM / recipe.in_plane_mm).round().clamp(1.0, MAX_CORTEX_VOXELS) as usize;
    canvas.finish(layers);
    implants::draw(&mut canvas, &mut stream(stream::IMPLANTS), &spine, population);
    Ok((canvas, grid, spine))
}

/// The truth of a slice is the anatomy in its own plane.
fn truth<T: Copy>(
    canvas: &Canvas,
    grid: Grid,
    value: impl Fn(&Voxel) -> T,
) -> Result<Volume<T>, GeometryError> {
    let slices = 0..grid.dims.counts()[2];
    Volume::new(grid, slices.flat_map(|k| canvas.middle(k)).map(value).collect())
}

/// Value in the semantic mask: that of the voxel's structure; C1 is background.
fn structure_of(spine: &Spine) -> impl Fn(&Voxel) -> u8 {
    // Only vertebrae and discs have a level in the truth, and none of them lies above the chain but C1.
    let above_chain = spine.vertebrae.len() as u8;
    move |voxel| if voxel.level == above_chain { 0 } else { voxel.structure as u8 }
}

/// Value in the instance mask.
fn vertebra_value(spine: &Spine, voxel: &Voxel) -> u8 {
    // The level above C2 is C1, which is not part of the chain: it has no body.
    let id = || spine.vertebrae.get(usize::from(voxel.level)).map_or(atlas::ID, |v| v.id);
    match voxel.structure {
        Structure::None | Structure::Cord | Structure::Canal => 0,
        Structure::Disc => 100 + id(),
        Structure::Endplate => 200 + id(),
        _ => id(),
    }
}

/// A sagittal grid around the isocentre: turned a little about the vertical and the front-back axis, as positioned
/// by hand, never about the left-right axis (see `canvas::Row`).
fn grid(recipe: &Recipe, random: &mut Random) -> Result<Grid, GeometryError> {
    let dims = Dims::new([recipe.columns, recipe.rows, recipe.slices])?;
    // A negative size would turn left into right.
    if recipe.in_plane_mm <= 0.0 || recipe.slice_mm <= 0.0 {
        return Err(GeometryError::Singular);
    }
    let (turn_sine, turn_cosine) = angle::sin_cos(random.normal().clamp(-2.0, 2.0) * 1.5);
    let (lean_sine, lean_cosine) = angle::sin_cos(random.normal().clamp(-2.0, 2.0) * 1.0);
    let posterior = [-turn_sine, turn_cosine, 0.0];
    let right = [-lean_cosine * turn_cosine, -lean_cosine * turn_sine, -lean_sine];
    let inferior = cross(right, posterior);
    let axes = [
        scale(posterior, recipe.in_plane_mm),
        scale(inferior, recipe.in_plane_mm),
        scale(right, recipe.slice_mm),
    ];
    let isocentre: [f64; 3] = std::array::from_fn(|_| random.between(-4.0, 4.0));
    let half = [recipe.columns, recipe.rows, recipe.slices].map(|n| (n - 1) as f64 / 2.0);
    let origin = std::array::from_fn(|row| {
        isocentre[row] - (0..3).map(|axis| axes[axis][row] * half[axis]).sum::<f64>()
    });
    Ok(Grid { dims, affine: Affine::new(axes, origin)? })
}
