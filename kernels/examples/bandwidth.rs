//! How fast each operation runs on the device, beside a copy of the same bytes: one line of JSON for each.
//!
//! Bytes are those that must move at least once: inputs read, results written. Volumes are larger than any cache of a
//! device, so that they come from its memory. `tests/gpu/run` calls this; it ends with an error without a device.

#![allow(clippy::unwrap_used, reason = "a measurement ends at the first surprise")]

use std::time::{Duration, Instant};

use kernels::bias::Field;
use kernels::components::{Bounds, Connectivity};
use kernels::cuda::decision::{self, Layout as Scores};
use kernels::cuda::slab;
use kernels::cuda::{
    Array, Device, Launcher, bias, bits, components, distance, fill, morphology, one_hot, overlay,
    resample, votes,
};
use kernels::morphology::Element;
use kernels::one_hot::Channels;
use kernels::overlay::{Ink, Palette, Window};
use kernels::slab::{Layout, Normalisation};
use kernels::{Affine, Dims, Grid, Volume};

/// 42 million voxels: 168 MB as f32, three times the largest cache.
const COUNTS: [usize; 3] = [512, 512, 160];
/// Runs of each operation after the first, which compiles and allocates; the least time counts.
const RUNS: usize = 10;

/// The least time of one run of `work`, the device waited for.
fn least(on: &Device, work: &dyn Fn()) -> Duration {
    work();
    on.wait().unwrap();
    let once = || {
        let started = Instant::now();
        work();
        on.wait().unwrap();
        started.elapsed()
    };
    (0..RUNS).map(|_| once()).min().unwrap()
}

/// Says the speed of one operation in GB/s, and what share that is of a copy's.
fn measured(on: &Device, name: &str, bytes: usize, copy: f64, work: &dyn Fn()) -> f64 {
    let allocated = on.allocations();
    let time = least(on, work);
    let fresh = on.allocations() - allocated;
    let speed = bytes as f64 / time.as_secs_f64() / 1e9;
    let share = if copy > 0.0 { speed / copy } else { 1.0 };
    println!(
        "{{\"operation\": \"{name}\", \"bytes\": {bytes}, \"ms\": {:.4}, \"gb_per_s\": {speed:.1}, \
         \"of_copy\": {share:.3}, \"blocks_of_memory\": {fresh}}}",
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
    images(&device, &image, &grid, copy);
    masks(&device, &labels, &grid, copy);
    answers(&device, &labels, &grid, copy);
    pictures(&device, (&image, &labels), &grid, copy);
}

fn images(device: &Device, image: &Array<f32>, grid: &Grid, copy: f64) {
    let on: &dyn Launcher = device;
    let (n, [ni, nj, nk]) = (grid.dims.voxels(), grid.dims.counts());
    let tell = |name, bytes, work: &dyn Fn()| _ = measured(device, name, bytes, copy, work);
    let finer = resample::in_plane(on, image, grid, 0.8).unwrap().len();
    tell("resample in plane", 4 * (n + finer), &|| {
        resample::in_plane(on, image, grid, 0.8).unwrap();
    });
    let axes = grid.affine.axes().map(|axis| kernels::volume::scale(axis, 1.1));
    let other = Grid { affine: Affine::new(axes, [0.0; 3]).unwrap(), ..*grid };
    tell("resample nearest", 8 * n, &|| {
        resample::nearest(on, image, grid, &other).unwrap();
    });
    tell("resample cubic", 8 * n, &|| {
        resample::cubic(on, image, grid, &other).unwrap();
    });
    let layout = Layout { stride: 1, context: 2, padded: [ni, nj] };
    tell("stack", 8 * n, &|| {
        slab::Stack::new(on, image, grid.dims, layout).unwrap();
    });
    let stack = slab::Stack::new(on, image, grid.dims, layout).unwrap();
    let rule = Normalisation { low_percentile: 0.5, high_percentile: 99.5, foreground: 0.1 };
    let items: Vec<(usize, bool)> = (0..32).map(|k| (k, false)).collect();
    // 36 slices read, 32 slabs of five written.
    tell("statistics, normalise and gather", 4 * ni * nj * (36 + 160), &|| {
        stack.gather(on, &items, &rule).unwrap();
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
    tell("components", 5 * n, &|| {
        components::label(on, labels, dims, element).unwrap();
    });
    tell("occupied", n, &|| {
        components::occupied(on, labels, dims).unwrap();
    });
    tell("holes", 2 * n, &|| {
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
    tell("distance in plane", 5 * n, &|| {
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
    tell("elect", n + 2 * of, &|| {
        votes::elect(on, labels, of, &names, [2, 3, 2]).unwrap();
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
