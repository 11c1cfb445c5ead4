//! The stages of the nets on a device as a job runs them, each beside the same through the host: `tests/gpu/run stages` calls it.
//! Prints a line of JSON for each stage in floats and in int8, and one for a whole job.

#![allow(clippy::unwrap_used, reason = "a measurement ends at the first surprise")]

mod support;

use kernels::cuda::Device;
use models::engine::Shipped;
use models::engine::cuda::{CudaNet, On, nets};
use models::weights::Form;
use phantom::{Recipe, Region};
use pipeline::instances::{self, Scene, Voxel};
use pipeline::prepare::prepare;
use pipeline::semantic::{self, ClassMap};
use pipeline::{InstanceStage, Net, SemanticStage, Series, cutout, segment, vertebrae};
use std::sync::Arc;
use std::time::Instant;
use support::median;

/// Runs after the first, which allocates; the median counts.
const RUNS: usize = 20;

fn main() {
    let device = Arc::new(Device::open().unwrap());
    for (form, name) in [(Form::Float, "float"), (Form::Int8, "int8")] {
        let weights = Shipped::embedded_in(form).unwrap();
        let classes = semantic_stage(&weights, &device, name);
        instance_stage(&weights, &classes, &device, name);
        job(&weights, &device, name);
    }
}

/// The patient of the demo.
fn series() -> Series {
    Series::from_volume(phantom::generate(&Recipe::of(Region::Lumbar, 1)).unwrap().image)
}

fn semantic_stage(weights: &Shipped, device: &Arc<Device>, form: &str) -> ClassMap {
    let on: On = Arc::<Device>::clone(device);
    let mut net = CudaNet::load(weights.semantic.clone(), &on).unwrap();
    let prepared = prepare(&series().volume, net.card()).unwrap();
    let got = net.classify(&prepared).unwrap();
    let made = device.allocations();
    let there = median(RUNS, &mut || drop(net.classify(&prepared).unwrap()));
    let made = device.allocations() - made;
    let want = semantic::classify(&prepared, &mut net).unwrap();
    let host = median(RUNS, &mut || drop(semantic::classify(&prepared, &mut net).unwrap()));
    let pairs = got.classes.voxels().iter().zip(want.classes.voxels());
    let differ = pairs.filter(|(a, b)| a != b).count();
    println!(
        "{{\"stage\": \"semantic\", \"form\": \"{form}\", \"counts\": {:?}, \"ms\": {there:.3}, \"through_host_ms\": {host:.3}, \
         \"voxels_that_differ\": {differ}, \"blocks_of_memory\": {made}}}",
        got.classes.dims().counts()
    );
    // A slab's mean and scale may round otherwise, and a logit with it.
    assert!(differ * 10_000 <= got.classes.voxels().len(), "{differ} voxels differ");
    got
}

fn instance_stage(weights: &Shipped, map: &ClassMap, device: &Arc<Device>, form: &str) {
    let (classes, card) = (&map.classes, &weights.semantic.card);
    let on: On = Arc::<Device>::clone(device);
    let mut net = CudaNet::load(weights.instance.clone(), &on).unwrap();
    let centres = vertebrae::find_bodies(classes, card).centres;
    let labelled = classes.voxels().iter().enumerate().filter(|(_, class)| **class != 0);
    let voxel = |offset| Voxel { offset, index: classes.dims().index(offset), body: false };
    let voxels: Vec<Voxel> = labelled.map(|(offset, _)| voxel(offset)).collect();
    let channels = cutout::channels(card, net.card());
    let scene = Scene { classes, channels: &channels, voxels: &voxels };
    let got = net.ask(&scene, &centres).unwrap();
    let made = device.allocations();
    let there = median(RUNS, &mut || drop(net.ask(&scene, &centres).unwrap()));
    let made = device.allocations() - made;
    let want = instances::ask(&scene, &centres, &mut net).unwrap();
    let host = median(RUNS, &mut || drop(instances::ask(&scene, &centres, &mut net).unwrap()));
    println!(
        "{{\"stage\": \"instance\", \"form\": \"{form}\", \"cutouts\": {}, \"voxels\": {}, \"ms\": {there:.3}, \
         \"through_host_ms\": {host:.3}, \"equal\": {}, \"blocks_of_memory\": {made}}}",
        centres.len(),
        voxels.len(),
        got == want
    );
    assert!(!centres.is_empty() && got == want, "the answers are not those of the host's way");
}

/// A whole job: when each of its stages began, the last run of several.
fn job(weights: &Shipped, device: &Arc<Device>, form: &str) {
    let on: On = Arc::<Device>::clone(device);
    let (mut nets, series) = (nets(weights, &on).unwrap(), series());
    let mut told = String::new();
    let whole = median(RUNS, &mut || {
        let mut stages: Vec<(String, Instant)> = Vec::new();
        let begin = &mut |stage| stages.push((format!("{stage:?}"), Instant::now()));
        segment(&series, &[], &mut nets, begin).unwrap();
        let ends = stages[1..].iter().map(|(_, at)| *at).chain([Instant::now()]);
        let part = |((name, at), end): (&(String, Instant), Instant)| {
            format!("\"{name}\": {:.3}", (end - *at).as_secs_f64() * 1e3)
        };
        told = stages.iter().zip(ends).map(part).collect::<Vec<_>>().join(", ");
    });
    println!(
        "{{\"stage\": \"job\", \"form\": \"{form}\", \"ms\": {whole:.3}, \"stages_ms\": {{{told}}}}}"
    );
}
