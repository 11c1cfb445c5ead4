//! Pictures of a made-up spine: what must be visible, where, and that nothing odd makes them fail.

use super::*;
use kernels::{Affine, Dims, Grid};
use pipeline::Vertebra;
use pipeline::VertebraId;

fn provenance() -> Provenance {
    Provenance {
        software: "Sagitta 0.1.0".into(),
        model: "semantic".into(),
        model_version: "0.1.0".into(),
        weights_sha256: "0123456789abcdef".repeat(4),
        instance: None,
        patches: None,
        engine: "simd f32".into(),
        configuration_sha256: String::new(),
        generation: 1,
        supersedes: None,
    }
}

/// An image with bodies, discs, canal, cord and spinous processes as ellipses down the middle: not anatomy,
/// but the same colours at about the same places. `axes` may be in any order.
fn ellipses(image: Volume<f32>, numbering: Numbering) -> (Volume<f32>, Segmentation) {
    let grid = *image.grid();
    let [ni, nj, nk] = grid.dims.counts();
    let [_, down, _] = grid.affine.spacing();
    let mut semantic = Volume::filled(grid, 0u8);
    let mut instances = Volume::filled(grid, 0u16);
    let (pitch, count) = (36.0 / down, (nj as f64 * down / 36.0) as usize);
    let mut vertebrae = Vec::new();
    let ids: Vec<u8> = (0..count as u8).map(|n| 25 - count as u8 + n).collect();
    for offset in 0..grid.dims.voxels() {
        let [i, j, k] = grid.dims.index(offset);
        let n = (j as f64 / pitch) as usize;
        if n >= count {
            continue;
        }
        let bend = 14.0 * (j as f64 / nj as f64 * 6.0).sin();
        let x = (i as f64 - ni as f64 * 0.5 - bend) * grid.affine.spacing()[0];
        let y = (j as f64 - (n as f64 + 0.5) * pitch) * down;
        let side = (k as f64 - nk as f64 / 2.0).abs() / (nk as f64 / 2.0);
        let Some(structure) = drawn([x, y], side) else { continue };
        semantic.voxels_mut()[offset] = structure.value();
        let id = u16::from(ids[n]);
        instances.voxels_mut()[offset] = match structure {
            Structure::Disc => VertebraId::DISC_OFFSET + id,
            s if s.is_vertebra() => id,
            _ => 0,
        };
    }
    for (n, &id) in ids.iter().enumerate() {
        let j = (n as f64 + 0.5) * pitch;
        let bend = 14.0 * (j / nj as f64 * 6.0).sin();
        let index = [ni as f64 * 0.5 + bend, j - 3.0 / down, nk as f64 / 2.0];
        vertebrae.push(Vertebra {
            id: VertebraId::new(id).unwrap(),
            body_centroid_index: index,
            body_centroid_mm: grid.affine.world(index),
            body_ml: 30.0,
            truncated: false,
            support: None,
        });
    }
    let measures =
        pipeline::measure::measurements(&semantic, &instances, &[], numbering, (&[], 0.9));
    let segmentation = Segmentation {
        measures,
        semantic,
        instances,
        vertebrae,
        sacrum: numbering == Numbering::FromSacrum,
        numbering,
        likely: Vec::new(),
        flags: vec![Flag::LaterallyTruncated],
        confidence: 0.9,
        tumours: None,
    };
    (image, segmentation)
}

/// What lies at a place of a vertebra, millimetres from its centre; `side` is 0 in the middle slice, 1 in the outermost.
fn drawn([x, y]: [f64; 2], side: f64) -> Option<Structure> {
    let within = |cx: f64, cy: f64, rx: f64, ry: f64| {
        ((x - cx) / rx).powi(4) + ((y - cy) / ry).powi(4) < 1.0 - side
    };
    if within(0.0, -3.0, 18.0, 13.5) {
        Some(Structure::VertebralBody)
    } else if within(0.0, 14.5, 17.0, 4.5) {
        Some(Structure::Disc)
    } else if side < 0.3 && (x - 27.0).abs() < 4.0 {
        Some(Structure::SpinalCord)
    } else if side < 0.4 && (x - 27.0).abs() < 8.0 {
        Some(Structure::SpinalCanal)
    } else if side < 0.3 && within(50.0, 6.0, 14.0, 7.0) {
        Some(Structure::SpinousProcess)
    } else {
        None
    }
}

/// A small sagittal image: a horizontal gradient.
fn gradient() -> Volume<f32> {
    let axes = [[0.0, 2.0, 0.0], [0.0, 0.0, -2.5], [-4.0, 0.0, 0.0]];
    let affine = Affine::new(axes, [0.0; 3]).unwrap();
    let grid = Grid { dims: Dims::new([96, 90, 7]).unwrap(), affine };
    Volume::new(grid, (0..grid.dims.voxels()).map(|n| (n % 96) as f32).collect()).unwrap()
}

fn decoded(png: &[u8]) -> (usize, Vec<[u8; 3]>) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    (info.width as usize, bytes.as_chunks().0.to_vec())
}

#[test]
fn overview_is_the_same_each_time_and_shows_bodies_in_their_colour() {
    let (image, segmentation) = ellipses(gradient(), Numbering::FromSacrum);
    let scene = Scene::new(&image, &segmentation, &provenance(), None);
    let png = scene.overlay_png();
    assert_eq!(png, scene.overlay_png());
    let (width, pixels) = decoded(&png);
    assert!(pixels.len() / width > 1000);
    let body = pipeline::overlay::tint(Structure::VertebralBody, 0);
    assert!(pixels.contains(&body), "the legend shows the body's colour");
    assert!(pixels.iter().filter(|p| p[0] != p[1] || p[1] != p[2]).count() > 50_000);
}

#[test]
fn a_turned_volume_gives_the_same_picture() {
    use kernels::volume::Direction;
    let (image, segmentation) = ellipses(gradient(), Numbering::Unverified);
    let straight = Scene::new(&image, &segmentation, &provenance(), None);
    let ras = [Direction::Right, Direction::Anterior, Direction::Superior];
    let map = AxisMap::towards(&image.grid().affine, ras);
    let turned = Segmentation {
        semantic: segmentation.semantic.reoriented(&map),
        instances: segmentation.instances.reoriented(&map),
        ..segmentation
    };
    let turned = Scene::new(&image.reoriented(&map), &turned, &provenance(), None);
    assert_eq!(straight.overlay_png(), turned.overlay_png());
}

#[test]
fn a_view_names_what_its_slices_hold_and_slices_end() {
    let (image, segmentation) = ellipses(gradient(), Numbering::Unverified);
    let scene = Scene::new(&image, &segmentation, &provenance(), None);
    assert_eq!((scene.slices(), scene.midsagittal()), (7, 3));
    let view = serde_json::to_value(scene.view()).unwrap();
    assert_eq!((&view["midsagittal"], &view["verified"]), (&3.into(), &false.into()));
    let first = &view["vertebrae"][0];
    assert_eq!(first["name"], format!("#{}", first["id"]), "not to be read as a level");
    let count = 96 * 90;
    let bytes = scene.voxels(3).unwrap();
    assert_eq!(bytes.len(), VOXEL_BYTES * count);
    let (greys, masks) = bytes.split_at(2 * count);
    let grey = |n: usize| u16::from_le_bytes([greys[2 * n], greys[2 * n + 1]]);
    assert_eq!([grey(0), grey(95)], [0, GREYS - 1], "the gradient spans all greys");
    let (semantic, instances) = masks.split_at(count);
    assert!(segmentation.semantic.slice(3) == semantic, "the mask as it is");
    let named: Vec<u8> = view["structures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|structure| structure["value"].as_u64().unwrap() as u8)
        .collect();
    assert!(semantic.iter().all(|value| *value == 0 || named.contains(value)));
    assert!(
        instances.iter().zip(segmentation.instances.slice(3)).all(|(a, b)| u16::from(*a) == *b)
    );
    assert_eq!(scene.voxels(7), None);
}

#[test]
fn nothing_found_is_drawn_too() {
    let (image, mut segmentation) = ellipses(gradient(), Numbering::Unverified);
    segmentation.semantic = Volume::filled(*image.grid(), 0);
    segmentation.instances = Volume::filled(*image.grid(), 0);
    let scene = Scene::new(&image, &segmentation, &provenance(), None);
    assert_eq!(scene.midsagittal(), 3);
    assert!(!scene.overlay_png().is_empty());
}

#[test]
fn burned_text_stays_in_the_picture_and_at_its_bottom() {
    let mut rgb = vec![[100; 3]; 128 * 160];
    let lines = [NOT_FOR_DIAGNOSIS, "Sagitta 0.1.0, a rather long line that must be broken"];
    burn_text(&mut rgb, 128, &lines.map(str::to_owned));
    assert_eq!(rgb.len(), 128 * 160);
    assert!(rgb[..128 * 10].iter().all(|&pixel| pixel == [100; 3]));
    assert!(rgb.iter().any(|pixel| pixel[0] > 200));
    for (columns, rows) in [(3, 2), (200, 1), (1, 50)] {
        let mut tiny = vec![[9; 3]; columns * rows];
        burn_text(&mut tiny, columns, &lines.map(str::to_owned));
        assert_eq!(tiny.len(), columns * rows);
    }
    assert_eq!(wrap("one two  three", 7), ["one two", "three"]);
    assert_eq!(wrap("abcdefghij", 4), ["abcd"]);
}
