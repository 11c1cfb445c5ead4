//! Where things are: a voxel painted at a point of the patient comes back at that point in every object we make, for any
//! orientation, spacing and gap, classic and enhanced, whatever the order of the images.
//!
//! Each object is read by its own attributes alone; what its reader must know besides, the place of the source images, is
//! the grid they were decoded to.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "objects/fixture.rs"]
mod fixture;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use fixture::{Form, build, made, provenance, segmentation, source_on};
use kernels::volume::{cross, dot, norm, scale, sub};
use kernels::{Affine, Dims, Grid, Volume};
use pipeline::Numbering;
use sagitta::decode::DicomSeries;
use sagitta::objects::{OutputKind, OutputObject, RgbImage, labelmap};
use std::collections::BTreeMap;

/// What a world point may lose on its way through decimal strings of 16 bytes.
const TOLERANCE_MM: f64 = 1e-3;
/// Structure and instance of the painted voxels: body of L3, disc below it, sacrum.
const PAINTED: [(u8, u16); 3] = [(49, 22), (100, 122), (26, 26)];
const CASES: u64 = 48;

type Point = [f64; 3];

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.below(1 << 24) as f64 / f64::from(1 << 24)
    }

    fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        (1..count).for_each(|n| order.swap(n, self.below(n + 1)));
        order
    }
}

/// Rows, columns and normal along the axes of the patient in any order and direction, or turned anyhow.
fn grid(random: &mut Random, oblique: bool) -> Grid {
    let mut unit = |near: Point| {
        let off = if oblique { 0.9 } else { 0.0 };
        let v = near.map(|c| c + random.between(-off, off));
        scale(v, 1.0 / norm(v))
    };
    let towards = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    let (row, near) = (unit(towards[0]), unit(towards[1]));
    let column = sub(near, scale(row, dot(near, row)));
    let column = scale(column, 1.0 / norm(column));
    let mut axes = [row, column, cross(row, column)];
    let turn = random.order(3);
    axes = [axes[turn[0]], axes[turn[1]], axes[turn[2]]];
    let steps = [random.between(0.3, 1.7), random.between(0.3, 1.7), random.between(1.0, 9.0)];
    for (axis, step) in axes.iter_mut().zip(steps) {
        let sign = if random.below(2) == 0 { 1.0 } else { -1.0 };
        *axis = scale(*axis, sign * step);
    }
    let origin = [0; 3].map(|_| random.between(-400.0, 400.0));
    let counts = [5 + random.below(20), 5 + random.below(20), 2 + random.below(6)];
    Grid { dims: Dims::new(counts).unwrap(), affine: Affine::new(axes, origin).unwrap() }
}

fn read(object: &OutputObject) -> InMemDicomObject {
    dicom_object::from_reader(std::io::Cursor::new(&object.bytes[128..])).unwrap().into_inner()
}

fn items(object: &InMemDicomObject, tag: Tag) -> &[InMemDicomObject] {
    object.get(tag).and_then(|element| element.items()).unwrap_or(&[])
}

fn item(object: &InMemDicomObject, tag: Tag) -> &InMemDicomObject {
    &items(object, tag)[0]
}

fn numbers(object: &InMemDicomObject, tag: Tag) -> Vec<f64> {
    object.element(tag).unwrap().to_multi_float64().unwrap()
}

fn integer(object: &InMemDicomObject, tag: Tag) -> usize {
    object.element(tag).unwrap().to_int().unwrap()
}

fn string(object: &InMemDicomObject, tag: Tag) -> String {
    object.element(tag).unwrap().to_str().unwrap().trim_end_matches(['\0', ' ']).to_owned()
}

/// The point of column and row, in pixels from the centre of the first, of an image plane (PS3.3 C.7.6.2.1.1).
fn point(position: &[f64], directions: &[f64], spacing: &[f64], at: [f64; 2]) -> Point {
    std::array::from_fn(|axis| {
        position[axis]
            + directions[axis] * spacing[1] * at[0]
            + directions[3 + axis] * spacing[0] * at[1]
    })
}

/// The points of the pixels of a plane that `holds`.
fn marked(
    plane: [&InMemDicomObject; 3],
    columns: usize,
    count: usize,
    holds: impl Fn(usize) -> bool,
) -> Vec<Point> {
    let [position, orientation, measures] = plane;
    let position = numbers(position, tags::IMAGE_POSITION_PATIENT);
    let directions = numbers(orientation, tags::IMAGE_ORIENTATION_PATIENT);
    let spacing = numbers(measures, tags::PIXEL_SPACING);
    let place = |at: usize| {
        point(&position, &directions, &spacing, [(at % columns) as f64, (at / columns) as f64])
    };
    (0..count).filter(|&at| holds(at)).map(place).collect()
}

/// What was painted and what each object says of it: name of the voxel -> points.
type Found = BTreeMap<u16, Vec<Point>>;

fn in_derived(objects: &[&OutputObject]) -> Found {
    let mut found = Found::new();
    for object in objects {
        let image = read(object);
        let pixels: Vec<u16> = image.element(tags::PIXEL_DATA).unwrap().to_multi_int().unwrap();
        for (structure, name) in PAINTED {
            let holds = |at: usize| pixels[at] == u16::from(structure);
            let columns = integer(&image, tags::COLUMNS);
            let points = marked([&image; 3], columns, pixels.len(), holds);
            found.entry(name).or_default().extend(points);
        }
    }
    found
}

/// The captures have the name of the voxel in their red value, at one or two pixels a voxel.
fn in_captures(objects: &[&OutputObject]) -> Found {
    let mut found = Found::new();
    for object in objects {
        let image = read(object);
        let pixels = image.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap().into_owned();
        let [columns, rows] = [tags::COLUMNS, tags::ROWS].map(|tag| integer(&image, tag));
        for (_, name) in PAINTED {
            let holds = |at: usize| u16::from(pixels[3 * at]) == name;
            let points = marked([&image; 3], columns, columns * rows, holds);
            if !points.is_empty() {
                let sum = |axis: usize| points.iter().map(|point| point[axis]).sum::<f64>();
                let middle = std::array::from_fn(|axis| sum(axis) / points.len() as f64);
                found.entry(name).or_default().push(middle);
            }
        }
    }
    found
}

/// Points by segment number, and the tracking UIDs of the segments.
fn in_segmentation(object: &OutputObject) -> (BTreeMap<usize, Vec<Point>>, Vec<String>) {
    let image = read(object);
    let bits = image.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap().into_owned();
    let [columns, rows] = [tags::COLUMNS, tags::ROWS].map(|tag| integer(&image, tag));
    let shared = item(&image, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE);
    let mut found: BTreeMap<usize, Vec<Point>> = BTreeMap::new();
    let frames = items(&image, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE);
    let segments = items(&image, tags::SEGMENT_SEQUENCE);
    for (n, groups) in frames.iter().enumerate() {
        let plane = [
            item(groups, tags::PLANE_POSITION_SEQUENCE),
            item(shared, tags::PLANE_ORIENTATION_SEQUENCE),
            item(shared, tags::PIXEL_MEASURES_SEQUENCE),
        ];
        let begin = n * columns * rows;
        let bit = |at: usize| bits[(begin + at) / 8] >> ((begin + at) % 8) & 1 == 1;
        // A frame of one segment names it; a label map has the numbers of all in its pixels.
        let own = items(groups, tags::SEGMENT_IDENTIFICATION_SEQUENCE).first();
        let own = own.map(|segment| integer(segment, tags::REFERENCED_SEGMENT_NUMBER));
        for number in 1..=segments.len() {
            let points = match own {
                Some(own) if own == number => marked(plane, columns, columns * rows, bit),
                Some(_) => continue,
                None => marked(plane, columns, columns * rows, |at| {
                    usize::from(bits[begin + at]) == number
                }),
            };
            found.entry(number).or_default().extend(points);
        }
    }
    (found, segments.iter().map(|segment| string(segment, tags::TRACKING_UID)).collect())
}

/// Centres of the outlines, through the place of the image or frame they are drawn on.
fn in_presentation(object: &OutputObject, source: &DicomSeries) -> Found {
    let state = read(object);
    let names = BTreeMap::from([("VERTEBRAE", 22), ("DISCS", 122), ("SACRUM", 26)]);
    let affine = source.series.volume.grid().affine;
    let mut found = Found::new();
    for annotation in items(&state, tags::GRAPHIC_ANNOTATION_SEQUENCE) {
        let layer = string(annotation, tags::GRAPHIC_LAYER);
        let Some(&name) = names.get(layer.as_str()) else { continue };
        let image = item(annotation, tags::REFERENCED_IMAGE_SEQUENCE);
        let uid = string(image, tags::REFERENCED_SOP_INSTANCE_UID);
        let number = image.get(tags::REFERENCED_FRAME_NUMBER).map(|e| e.to_int::<u32>().unwrap());
        let slice = source.series.sources.iter().position(|&at| {
            let frame = source.frames[at];
            source.instances[frame.instance].sop_instance_uid == uid && frame.frame == number
        });
        for graphic in items(annotation, tags::GRAPHIC_OBJECT_SEQUENCE) {
            let data = numbers(graphic, tags::GRAPHIC_DATA);
            let corners = &data[..data.len() - 2];
            let mean = |first: usize| {
                corners.iter().skip(first).step_by(2).sum::<f64>() / (corners.len() / 2) as f64
            };
            let index = [mean(0) - 0.5, mean(1) - 0.5, slice.unwrap() as f64];
            found.entry(name).or_default().push(affine.world(index));
        }
    }
    found
}

/// The segments of the instance SEG that the report measures: tracking UID -> segment number.
fn in_report(object: &OutputObject, segmentation: &OutputObject) -> BTreeMap<String, usize> {
    let root = read(object);
    let containers = items(&root, tags::CONTENT_SEQUENCE);
    let groups = containers.iter().flat_map(|c| items(c, tags::CONTENT_SEQUENCE));
    let mut found = BTreeMap::new();
    for group in groups {
        let children = items(group, tags::CONTENT_SEQUENCE);
        let named = |code: &'static str| {
            children.iter().find(move |child| {
                let name = items(child, tags::CONCEPT_NAME_CODE_SEQUENCE);
                name.first().is_some_and(|name| string(name, tags::CODE_VALUE) == code)
            })
        };
        let (Some(tracking), Some(segment)) = (named("112040"), named("121191")) else { continue };
        let reference = item(segment, tags::REFERENCED_SOP_SEQUENCE);
        let uid = string(reference, tags::REFERENCED_SOP_INSTANCE_UID);
        if uid == segmentation.sop_instance_uid {
            let number = integer(reference, tags::REFERENCED_SEGMENT_NUMBER);
            found.insert(string(tracking, tags::UID), number);
        }
    }
    found
}

fn captures(grid: &Grid, instances: &Volume<u16>, scale: usize) -> Vec<RgbImage> {
    let [columns, rows, slices] = grid.dims.counts();
    let picture = |slice: usize| {
        let labels = instances.slice(slice);
        let pixel = |at: usize| {
            let (column, row) = (at % (columns * scale) / scale, at / (columns * scale) / scale);
            [labels[row * columns + column] as u8, 0, 0]
        };
        let pixels = (0..columns * rows * scale * scale).flat_map(pixel).collect();
        RgbImage { columns: columns * scale, rows: rows * scale, pixels, slice }
    };
    (0..slices).map(picture).collect()
}

fn same(what: &str, found: &[Point], want: Point) {
    assert_eq!(found.len(), 1, "{what}: {found:?} instead of {want:?}");
    let off = norm(sub(found[0], want));
    assert!(off <= TOLERANCE_MM, "{what}: {off} mm away, {:?} instead of {want:?}", found[0]);
}

#[test]
fn a_painted_voxel_comes_back_at_its_point_in_every_object() {
    for seed in 1..=CASES {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let grid = grid(&mut random, seed % 3 != 0);
        let form = if seed % 2 == 0 { Form::Classic } else { Form::Enhanced };
        let order = random.order(grid.dims.counts()[2]);
        let source = source_on(grid, form, order);
        let mut semantic = Volume::filled(grid, 0u8);
        let mut instances = Volume::filled(grid, 0u16);
        let mut points = BTreeMap::new();
        while points.len() < PAINTED.len() {
            let at = random.below(grid.dims.voxels());
            if instances.voxels()[at] == 0 {
                let (structure, name) = PAINTED[points.len()];
                semantic.voxels_mut()[at] = structure;
                instances.voxels_mut()[at] = name;
                let index = grid.dims.index(at).map(|n| n as f64);
                points.insert(name, grid.affine.world(index));
            }
        }
        let captures = captures(&grid, &instances, 1 + random.below(2));
        let result = segmentation(semantic, instances, Numbering::FromSacrum);
        let objects = build(&source, &result, &provenance(), &made(), &captures).unwrap();
        let labelmap = labelmap(&source, &result, &provenance(), &made()).unwrap().unwrap();
        let objects = [objects, vec![labelmap]].concat();
        check(seed, &objects, &source, &points);
    }
}

fn check(seed: u64, objects: &[OutputObject], source: &DicomSeries, points: &BTreeMap<u16, Point>) {
    let of = |kind| -> Vec<&OutputObject> {
        objects.iter().filter(|object| object.kind == kind).collect()
    };
    let structures = in_segmentation(of(OutputKind::SemanticSegmentation)[0]).0;
    let labels = in_segmentation(of(OutputKind::Labelmap)[0]).0;
    let levels = of(OutputKind::InstanceSegmentation)[0];
    let (by_level, tracking) = in_segmentation(levels);
    let derived = in_derived(&of(OutputKind::DerivedMr));
    let captured = in_captures(&of(OutputKind::SecondaryCapture));
    let outlined = in_presentation(of(OutputKind::PresentationState)[0], source);
    // Segments are numbered in the order of structures, 26 49 100, and of levels, 22 26 122.
    for (name, structure, level) in [(22, 2, 1), (26, 1, 2), (122, 3, 3)] {
        let want = points[&name];
        same(&format!("seed {seed}, {name}, derived MR"), &derived[&name], want);
        same(&format!("seed {seed}, {name}, capture"), &captured[&name], want);
        same(&format!("seed {seed}, {name}, structures"), &structures[&structure], want);
        same(&format!("seed {seed}, {name}, label map"), &labels[&structure], want);
        same(&format!("seed {seed}, {name}, levels"), &by_level[&level], want);
        same(&format!("seed {seed}, {name}, outlines"), &outlined[&name], want);
    }
    let measured = in_report(of(OutputKind::Measurements)[0], levels);
    // The vertebra and its disc.
    let want = [1, 3].map(|number| (tracking[number - 1].clone(), number));
    assert_eq!(measured, BTreeMap::from(want), "seed {seed}");
}
