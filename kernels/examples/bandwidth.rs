//! How fast each operation runs on the device, beside a copy of the same bytes: one line of JSON for each.
//!
//! Bytes are those that must move at least once: inputs read, results written. Volumes are larger than any cache of a
//! device, so that they come from its memory. `bound` says what keeps an operation from the speed of a copy, if memory does
//! not. `tests/gpu/run` calls this; it ends with an error without a device.

#![allow(clippy::unwrap_used, reason = "a measurement ends at the first surprise")]

use std::time::{Duration, Instant};

use kernels::bias::Field;
use kernels::components::{Bounds, Connectivity};
use kernels::cuda::decision::{self, Layout as Scores};
use kernels::cuda::slab;
use kernels::cuda::stored::Frames;
use kernels::cuda::{
    Array, Device, Launcher, bias, bits, components, distance, fill, morphology, one_hot, overlay,
    resample, votes,
};
use kernels::morphology::Element;
use kernels::one_hot::Channels;
use kernels::overlay::{Ink, Palette, Window};
use kernels::slab::{Layout, Normalisation};
use kernels::stored::{Frame, Rescale, Samples, Width};
use kernels::{Affine, Dims, Grid, Volume};

/// 42 million voxels: 168 MB as f32, three times the largest cache.
const COUNTS: [usize; 3] = [512, 512, 160];
/// Runs of each operation after the first, which compiles and allocates: batches, of which the fastest counts. A batch is waited
/// for once: launching and waiting take longer than the shortest operations.
const BATCHES: usize = 5;
const RUNS: u32 = 20;

/// The least time of one run of `work`.
fn least(on: &Device, work: &dyn Fn()) -> Duration {
    work();
    on.wait().unwrap();
    let batch = || {
        let started = Instant::now();
        (0..RUNS).for_each(|_| work());
        on.wait().unwrap();
        started.elapsed() / RUNS
    };
    (0..BATCHES).map(|_| batch()).min().unwrap()
}

/// Says the speed of one operation in GB/s, and what share that is of a copy's.
fn measured(on: &Device, name: &str, bytes: usize, copy: f64, work: &dyn Fn()) -> f64 {
    bound(on, name, "memory", bytes, copy, work)
}

/// The same of an operation that something else than memory keeps from being faster.
fn bound(on: &Device, name: &str, by: &str, bytes: usize, copy: f64, work: &dyn Fn()) -> f64 {
    let allocated = on.allocations();
    let time = least(on, work);
    let fresh = on.allocations() - allocated;
    let speed = bytes as f64 / time.as_secs_f64() / 1e9;
    let share = if copy > 0.0 { speed / copy } else { 1.0 };
    println!(
        "{{\"operation\": \"{name}\", \"bound\": \"{by}\", \"bytes\": {bytes}, \"ms\": {:.4}, \
         \"gb_per_s\": {speed:.1}, \"of_copy\": {share:.3}, \"blocks_of_memory\": {fresh}}}",
        time.as_secs_f64() * 1e3
    );
    speed
}

/// Blobs of three labels, some with holes, as a label map of a spine has them.
fn labels(dims: Dims) -> Vec<u8> {
    let of = |n: usize| {
        let [i, j, k] = dims.index(n);
        let (x, y) = ((i % 64) as i32 - 32, (j % 48) as i32 - 24);
        let inside = x * x + y * y < 400 && x * x + y * y > 9;
        if inside { 1 + ((i / 64 + j / 48 + k / 40) % 3) as u8 } else { 0 }
    };
    (0..dims.voxels()).map(of).collect()
}

fn main() {
    let device = Device::open().unwrap_or_else(|error| panic!("no device: {error}"));
    println!("{{\"device\": \"{}\", \"compute\": \"{:?}\"}}", device.name(), device.capability());
    let on: &dyn Launcher = &device;
    let axes = [[0.0, 0.6, 0.0], [0.0, 0.0, -0.6], [-3.3, 0.0, 0.0]];
    let affine = Affine::new(axes, [0.0; 3]).unwrap();
    let grid = Grid { dims: Dims::new(COUNTS).unwrap(), affine };
    let n = grid.dims.voxels();
    let (from, mut to) =
        (Array::<u8>::filled(on, 4 * n, 1).unwrap(), Array::new(on, 4 * n).unwrap());
    device.copy(&from, &mut to).unwrap();
    let to = std::cell::RefCell::new(to);
    let copying = || device.copy(&from, &mut to.borrow_mut()).unwrap();
    let copy = measured(&device, "copy", 8 * n, 0.0, &copying);
    let labels = Array::of(on, &labels(grid.dims)).unwrap();
    let image: Vec<f32> =
        (0..n).map(|i| (i.wrapping_mul(2_654_435_761) >> 20 & 1023) as f32).collect();
    let image = Array::of(on, &image).unwrap();
    frames(&device, &grid, copy);
    images(&device, &image, &grid, copy);
    masks(&device, &labels, &grid, copy);
    answers(&device, &labels, &grid, copy);
    pictures(&device, (&image, &labels), &grid, copy);
    spine(&device);
}

/// How many different ones there are among ascending places.
fn distinct(mut places: Vec<usize>) -> usize {
    places.dedup();
    places.len()
}

fn frames(device: &Device, grid: &Grid, copy: f64) {
    let on: &dyn Launcher = device;
    let (n, [ni, nj, nk]) = (grid.dims.voxels(), grid.dims.counts());
    let bytes: Vec<u8> = (0..2 * ni * nj).map(|at| (at >> 4) as u8).collect();
    let samples = Samples::new(Width::Two, 12, false).unwrap();
    let frame = Frame { bytes: &bytes, samples, rescale: Rescale { slope: 0.1, intercept: -3.0 } };
    let frames = Frames::upload(on, &vec![frame; nk]).unwrap();
    measured(device, "stack stored", 6 * n, copy, &|| {
        frames.stack(on).unwrap();
    });
}

fn images(device: &Device, image: &Array<f32>, grid: &Grid, copy: f64) {
    let on: &dyn Launcher = device;
    let (n, [ni, nj, nk]) = (grid.dims.voxels(), grid.dims.counts());
    let tell = |name, bytes, work: &dyn Fn()| _ = measured(device, name, bytes, copy, work);
    let coarser = resample::in_plane(on, image, grid, 0.8).unwrap().len();
    tell("resample in plane", 4 * (n + coarser), &|| {
        resample::in_plane(on, image, grid, 0.8).unwrap();
    });
    let axes = grid.affine.axes().map(|axis| kernels::volume::scale(axis, 1.1));
    let other = Grid { affine: Affine::new(axes, [0.0; 3]).unwrap(), ..*grid };
    // Rows and slices that no place names need not be read.
    let [_, rows, slices] = kernels::resample::nearest_places(grid, &other).map(distinct);
    tell("resample nearest", 4 * (n + ni * rows * slices), &|| {
        resample::nearest(on, image, grid, &other).unwrap();
    });
    bound(device, "resample cubic", "three recursions along whole lines", 8 * n, copy, &|| {
        resample::cubic(on, image, grid, &other).unwrap();
    });
    let layout = Layout { stride: 1, context: 2, padded: [ni, nj] };
    tell("stack", 8 * n, &|| {
        slab::Stack::new(on, image, grid.dims, layout).unwrap();
    });
    let stack = slab::Stack::new(on, image, grid.dims, layout).unwrap();
    let rule = Normalisation { low_percentile: 0.5, high_percentile: 99.5, foreground: 0.1 };
    let items: Vec<(usize, bool)> = (0..32).map(|k| (k, false)).collect();
    // 36 slices, of which every second row is looked at: its other values come with them.
    let slabs = stack.slabs(on, &items).unwrap();
    bound(device, "statistics", "histograms in shared memory", 2 * ni * nj * 36, copy, &|| {
        slabs.scalings(&rule).unwrap();
    });
    // 36 slices read, 32 slabs of five written.
    let scalings = slabs.scalings(&rule).unwrap();
    tell("normalise and gather", 4 * ni * nj * (36 + 160), &|| {
        slabs.normalised(&scalings).unwrap();
    });
    let layout =
        Scores { items: nk / 16, passes: 1, classes: 16, padded: [ni, nj], kept: [ni, nj] };
    tell("decide", 4 * n + n / 16, &|| {
        decision::decide(on, image, &layout).unwrap();
    });
}

fn masks(device: &Device, labels: &Array<u8>, grid: &Grid, copy: f64) {
    let on: &dyn Launcher = device;
    let (n, dims) = (grid.dims.voxels(), grid.dims);
    let tell = |name, bytes, work: &dyn Fn()| _ = measured(device, name, bytes, copy, work);
    let element = Element::new(Connectivity::Faces6);
    let by = "paths from run to run, and waiting for the number of components";
    bound(device, "components", by, 5 * n, copy, &|| {
        components::label(on, labels, dims, element).unwrap();
    });
    let by = "additions to the same few numbers, and waiting for them";
    bound(device, "occupied", by, n, copy, &|| {
        components::occupied(on, labels, dims, 255).unwrap();
    });
    bound(device, "holes", "paths from run to run", 2 * n, copy, &|| {
        fill::holes(on, labels, dims, 1).unwrap();
    });
    tell("dilate", 2 * n, &|| {
        morphology::dilate(on, labels, dims, element).unwrap();
    });
    tell("grow", 3 * n, &|| {
        morphology::grow(on, labels, labels, dims, element).unwrap();
    });
    tell("dilate disc", 2 * n, &|| {
        morphology::dilate_in_plane(on, labels, grid, 2.0).unwrap();
    });
    bound(device, "distance in plane", "looking for the nearest zero", 5 * n, copy, &|| {
        distance::squared_mm_in_plane(on, labels, grid).unwrap();
    });
}

fn answers(device: &Device, labels: &Array<u8>, grid: &Grid, copy: f64) {
    let on: &dyn Launcher = device;
    let (n, [ni, nj, nk]) = (grid.dims.voxels(), grid.dims.counts());
    let tell = |name, bytes, work: &dyn Fn()| _ = measured(device, name, bytes, copy, work);
    let shown = [256, 256, 64].map(|count| (0..count).map(Some).collect());
    let windows = vec![shown; 4];
    let channels = Channels::new(9, |label| usize::from(label).checked_sub(1));
    let voxels = 4 * 256 * 256 * 64;
    tell("encode windows", voxels * (1 + 4 * 9), &|| {
        one_hot::encode(on, labels, grid.dims, &windows, &channels).unwrap();
    });
    let of = n / 8;
    let names: Vec<[u16; 3]> = (0..8).map(|answer| [answer, answer + 1, answer + 2]).collect();
    // As many answers show a voxel as cutouts show a vertebra.
    let shows = |answer: usize, voxel: usize| (answer + 8 - voxel * 8 / of) % 8 < 3;
    let said = (0..n).map(|at| u8::from(shows(at / of, at % of)) * (1 + (at / 64 % 3) as u8));
    let said = Array::of(on, &said.collect::<Vec<u8>>()).unwrap();
    tell("elect", n + 2 * of, &|| {
        votes::elect(on, &said, of, &names, [2, 3, 2]).unwrap();
    });
    let high = nk / 8;
    let block = |answer: usize| bits::Block {
        place: Bounds { min: [0; 3], max: [ni - 1, nj - 1, high - 1] },
        first: answer * high * ni * nj,
        row: ni,
        slice: ni * nj,
    };
    let blocks: Vec<bits::Block> = (0..8).map(block).collect();
    // Three sets of a bit for each voxel.
    tell("pack sets", n + 3 * n / 8, &|| {
        bits::Sets::pack(on, labels, &blocks).unwrap();
    });
    let sets = bits::Sets::pack(on, labels, &blocks).unwrap();
    let pairs: Vec<(usize, usize)> = (0..24).flat_map(|a| (0..a).map(move |b| (a, b))).collect();
    tell("shared by pairs", pairs.len() * 2 * of / 8, &|| {
        sets.shared(on, &pairs).unwrap();
    });
}

fn pictures(device: &Device, (image, labels): (&Array<f32>, &Array<u8>), grid: &Grid, copy: f64) {
    let on: &dyn Launcher = device;
    let n = grid.dims.voxels();
    let tell = |name, bytes, work: &dyn Fn()| _ = measured(device, name, bytes, copy, work);
    let numbers = Array::<u16>::filled(on, n, 0).unwrap();
    let ink = |label: u8| Ink {
        colours: [[label, 200, 100]; 2],
        share: 0.35,
        striped: 0.1,
        outline: Some(0.9),
    };
    let palette = Palette::new(|label| (label != 0).then(|| ink(label)));
    let layers = overlay::Layers { image, semantic: labels, instances: &numbers };
    tell("overlay", 10 * n, &|| {
        overlay::blend(on, layers, grid.dims, Window::centred(500.0, 900.0), &palette).unwrap();
    });
    let voxels = image.download(on).unwrap();
    let field = Field::estimate(&Volume::new(*grid, voxels.clone()).unwrap(), 2).unwrap();
    let divided = std::cell::RefCell::new(Array::of(on, &voxels).unwrap());
    tell("divide by a field", 8 * n, &|| {
        bias::divide(on, &mut divided.borrow_mut(), grid.dims, &field).unwrap();
    });
}

/// Voxels of a whole spine in its box, 1.5 x 1.5 x 4 mm: to posterior, to inferior, to the right.
const SPINE: [usize; 3] = [100, 300, 20];
const VERTEBRAE: usize = 24;
/// Columns, rows and slices of a cutout, as the instance net's card has them.
const CUTOUT: [usize; 3] = [80, 96, 20];

/// A straight spine: bodies (1) with discs (2) between them, the canal (3), an arch (4) behind each body, one crumb.
fn straight_spine([i, j, k]: [usize; 3]) -> u8 {
    let (beside, level) = ((k as i32 - 10).abs(), j * VERTEBRAE / SPINE[1]);
    let gap = (j + 1) * VERTEBRAE / SPINE[1] != level;
    match i {
        20..=45 if beside < 7 => 1 + u8::from(gap),
        47..=54 if beside < 3 => 3,
        56..=70 if beside < 5 && !gap => 4,
        90 if j == 7 && k == 3 => 4,
        _ => 0,
    }
}

/// What the stages do with a whole spine besides the nets: cut, join what 24 cutouts say, clean the class map. One wait for the
/// results of each.
fn spine(device: &Device) {
    let on: &dyn Launcher = device;
    let axes = [[0.0, 1.5, 0.0], [0.0, 0.0, -1.5], [-4.0, 0.0, 0.0]];
    let affine = Affine::new(axes, [0.0; 3]).unwrap();
    let grid = Grid { dims: Dims::new(SPINE).unwrap(), affine };
    let voxels: Vec<u8> =
        (0..grid.dims.voxels()).map(|n| straight_spine(grid.dims.index(n))).collect();
    let map = Array::of(on, &voxels).unwrap();
    let centre = |n: usize| (2 * n + 1) * SPINE[1] / VERTEBRAE / 2;
    let along = |axis: usize, middle: usize| {
        let at = move |n: usize| (n + middle).checked_sub(CUTOUT[axis] / 2);
        (0..CUTOUT[axis]).map(|n| at(n).filter(|&at| at < SPINE[axis])).collect()
    };
    let windows: Vec<_> =
        (0..VERTEBRAE).map(|n| [along(0, 50), along(1, centre(n)), along(2, 10)]).collect();
    let channels = Channels::new(9, |label| usize::from(label).checked_sub(1));
    let cut = || _ = one_hot::encode(on, &map, grid.dims, &windows, &channels).unwrap();
    let bone: Vec<usize> = (0..voxels.len())
        .filter(|&n| matches!(voxels[n], 1 | 4))
        .map(|n| grid.dims.index(n)[1])
        .collect();
    let level = |row: usize| row * VERTEBRAE / SPINE[1];
    let said = (0..VERTEBRAE)
        .flat_map(|n| bone.iter().map(move |&row| (level(row) + 2).saturating_sub(n)));
    let said: Vec<u8> = said.map(|part| if part < 4 { part as u8 } else { 0 }).collect();
    let said = Array::of(on, &said).unwrap();
    let join = || joined(on, &said, bone.len());
    let clean = || cleaned(on, &map, &grid);
    let ms = |work: &dyn Fn()| least(device, work).as_secs_f64() * 1e3;
    let all = ms(&|| {
        cut();
        join();
        clean();
    });
    println!(
        "{{\"operation\": \"spine\", \"ms\": {all:.3}, \"goal_ms\": 3, \"cutout_ms\": {:.3}, \
         \"fusion_ms\": {:.3}, \"components_ms\": {:.3}, \"voxels\": {}, \"of_bone\": {}}}",
        ms(&cut),
        ms(&join),
        ms(&clean),
        voxels.len(),
        bone.len()
    );
}

/// What each vertebra's cutout and the others have in common, then votes.
fn joined(on: &dyn Launcher, said: &Array<u8>, voxels: usize) {
    let block = |n: usize| bits::Block {
        place: Bounds { min: [0; 3], max: [voxels - 1, 0, 0] },
        first: n * voxels,
        row: voxels,
        slice: voxels,
    };
    let sets = bits::Sets::pack(on, said, &(0..VERTEBRAE).map(block).collect::<Vec<_>>()).unwrap();
    let of = |n: usize, part: usize| n * kernels::votes::CLASSES + part;
    let others = |n: usize| (0..VERTEBRAE).filter(move |&other| other != n);
    let pairs = (0..VERTEBRAE).flat_map(|n| {
        others(n).flat_map(move |other| (0..3).map(move |part| (of(n, 1), of(other, part))))
    });
    sets.shared(on, &pairs.collect::<Vec<_>>()).unwrap();
    let names: Vec<[u16; 3]> = (0..VERTEBRAE as u16).map(|n| [n, n + 1, n + 2]).collect();
    votes::elect(on, said, voxels, &names, [2, 3, 2]).unwrap().download(on).unwrap();
}

/// The parts of the spine, of two structures and of all of them, then the holes of four.
fn cleaned(on: &dyn Launcher, map: &Array<u8>, grid: &Grid) {
    let parts = |map: &Array<u8>| {
        let element = Element::new(Connectivity::Corners26);
        components::label(on, map, grid.dims, element).unwrap();
    };
    components::occupied(on, map, grid.dims, 255).unwrap();
    parts(&morphology::dilate_in_plane(on, map, grid, 3.0).unwrap());
    (0..3).for_each(|_| parts(map));
    for value in 1..5 {
        fill::holes_in_slices(on, map, grid.dims, value).unwrap();
    }
}
