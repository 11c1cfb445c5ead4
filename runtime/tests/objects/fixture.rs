//! A small synthetic source series with a result, and the outside tools the tests check our objects
//! with.
#![allow(dead_code, reason = "every test binary uses a part of it")]

use dicom_core::{DataElement, PrimitiveValue, Tag, VR, value::DataSetSequence};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use kernels::{Affine, Dims, Grid, Volume};
use phantom::{Recipe, Region};
use pipeline::{Numbering, Segmentation, Series, Use, VertebraId};
use sagitta::decode::selection::{Selection, Settings};
use sagitta::decode::{Acquisition, DicomSeries, FrameRef, InstanceRef};
use sagitta::dress::{self, Contrast, Dress, DressedObject, Vendor, dress};
use sagitta::identity::{NetName, Provenance};
use sagitta::objects::{self, Made, ObjectError, OutputObject, RgbImage};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Odd on purpose: 35 * 29 pixels do not fill whole bytes of a SEG, so its frames begin inside
/// bytes.
pub(crate) const DIMS: [usize; 3] = [35, 29, 6];

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Form {
    Classic,
    Enhanced,
}

/// Double-oblique sagittal, with slices 4.4 mm apart.
pub(crate) fn grid() -> Grid {
    let (s, c) = 0.2f64.sin_cos();
    let axes = [[0.9 * s * c, 0.9 * c * c, 0.9 * s], [0.0, 0.8 * s, -0.8 * c]];
    let unit = |v: [f64; 3]| kernels::volume::scale(v, 1.0 / kernels::volume::norm(v));
    let normal = kernels::volume::cross(unit(axes[0]), unit(axes[1]));
    let normal = kernels::volume::scale(unit(normal), 4.4);
    // The second axis made exactly perpendicular to the first.
    let column = kernels::volume::scale(unit(kernels::volume::cross(normal, axes[0])), 0.8);
    let affine = Affine::new([axes[0], column, normal], [-11.25, -93.5, 61.125]).unwrap();
    Grid { dims: Dims::new(DIMS).unwrap(), affine }
}

fn text(tag: Tag, vr: VR, value: &str) -> DataElement<InMemDicomObject> {
    DataElement::new(tag, vr, PrimitiveValue::from(value))
}

/// A source whose slices come from its images in reverse order.
pub(crate) fn source(form: Form) -> DicomSeries {
    source_on(grid(), form, (0..DIMS[2]).rev().collect())
}

/// A source on any grid; `order` names the image or frame (from 0) behind each slice.
pub(crate) fn source_on(grid: Grid, form: Form, order: Vec<usize>) -> DicomSeries {
    let slices = order.len();
    let instance = |n: usize| InstanceRef {
        sop_class_uid: match form {
            Form::Classic => "1.2.840.10008.5.1.4.1.1.4".to_owned(),
            Form::Enhanced => "1.2.840.10008.5.1.4.1.1.4.1".to_owned(),
        },
        sop_instance_uid: format!("1.2.826.0.1.3680043.10.2.{n}"),
    };
    let (instances, frames) = match form {
        Form::Classic => (
            (0..slices).map(instance).collect(),
            (0..slices).map(|n| FrameRef { instance: n, frame: None }).collect(),
        ),
        Form::Enhanced => (
            vec![instance(0)],
            (1..=slices as u32).map(|n| FrameRef { instance: 0, frame: Some(n) }).collect(),
        ),
    };
    let volume = Volume::filled(grid, 0.0f32);
    let series = Series { volume, sources: order, slice_axis: 2 };
    DicomSeries {
        series,
        frames,
        instances,
        header: header(form),
        selection: Selection::unknown(),
        acquisition: Acquisition::default(),
    }
}

fn header(form: Form) -> InMemDicomObject {
    let mut header = InMemDicomObject::from_element_iter([
        text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 100"),
        text(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.826.0.1.3680043.10.1.1"),
        text(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.826.0.1.3680043.10.1.2"),
        text(tags::FRAME_OF_REFERENCE_UID, VR::UI, "1.2.826.0.1.3680043.10.1.3"),
        text(tags::PATIENT_NAME, VR::PN, "M\u{fc}ller^J\u{f6}rg"),
        text(tags::PATIENT_ID, VR::LO, "P-4711"),
        text(tags::PATIENT_BIRTH_DATE, VR::DA, "19700101"),
        text(tags::PATIENT_SEX, VR::CS, "M"),
        text(tags::STUDY_DATE, VR::DA, "20260102"),
        text(tags::STUDY_TIME, VR::TM, "101112"),
        text(tags::SERIES_NUMBER, VR::IS, "7"),
        text(tags::SERIES_DESCRIPTION, VR::LO, "T2 TSE sagittal R\u{fc}cken"),
        text(tags::PATIENT_POSITION, VR::CS, "HFS"),
        text(tags::MANUFACTURER, VR::LO, "ACME"),
        text(tags::MANUFACTURER_MODEL_NAME, VR::LO, "Scanner"),
        text(Tag(0x0029, 0x0010), VR::LO, "ACME PRIVATE"),
    ]);
    let thickness = text(tags::SLICE_THICKNESS, VR::DS, "4");
    let nested = |tag, inner| {
        let item = InMemDicomObject::from_element_iter([inner]);
        DataElement::new(tag, VR::SQ, DataSetSequence::from(vec![item]))
    };
    let form_of_its_own = match form {
        Form::Classic => vec![
            text(tags::SCANNING_SEQUENCE, VR::CS, "SE"),
            text(tags::SEQUENCE_VARIANT, VR::CS, "SK"),
            text(tags::ECHO_TIME, VR::DS, "101"),
            // Siemens XA writes it without inversion recovery, where MR Image forbids it.
            text(tags::INVERSION_TIME, VR::DS, "0"),
            thickness,
        ],
        Form::Enhanced => vec![nested(
            tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE,
            nested(tags::PIXEL_MEASURES_SEQUENCE, thickness),
        )],
    };
    form_of_its_own.into_iter().for_each(|element| {
        header.put(element);
    });
    header
}

/// Blocks of structures: L4 with its disc, L5, sacrum, cord; the first slice stays empty.
pub(crate) fn result(numbering: Numbering) -> Segmentation {
    let mut semantic = Volume::filled(grid(), 0u8);
    let mut instances = Volume::filled(grid(), 0u16);
    let dims = semantic.dims();
    for offset in 0..dims.voxels() {
        let [i, j, k] = dims.index(offset);
        let (structure, id) = match (i, j) {
            _ if k == 0 => (0, 0),
            (10..=20, 2..=8) => (49, 23),
            (10..=19, 9..=10) => (100, 123),
            (10..=20, 11..=17) => (49, 24),
            (24..=30, 3..=7) if k == 2 => (43, 23),
            (12..=20, 20..=28) => (26, 26),
            (21..=22, _) if (2..=4).contains(&k) => (60, 0),
            _ => (0, 0),
        };
        semantic.voxels_mut()[offset] = structure;
        instances.voxels_mut()[offset] = id;
    }
    segmentation(semantic, instances, numbering)
}

/// What the pipeline makes of finished masks.
pub(crate) fn segmentation(
    semantic: Volume<u8>,
    instances: Volume<u16>,
    numbering: Numbering,
) -> Segmentation {
    // Top to bottom: T13 (28) lies between T12 and L1, and no mask of ours has one.
    let seen: BTreeSet<u16> = instances.voxels().iter().copied().collect();
    let ids: Vec<VertebraId> = (1..VertebraId::SACRUM.value())
        .filter(|id| seen.contains(&u16::from(*id)))
        .filter_map(VertebraId::new)
        .collect();
    let vertebrae = pipeline::measure::vertebrae(&semantic, &instances, &ids, &[]);
    let measures =
        pipeline::measure::measurements(&semantic, &instances, &vertebrae, numbering, (&[], 0.9));
    Segmentation {
        measures,
        semantic,
        instances,
        vertebrae,
        sacrum: true,
        numbering,
        likely: Vec::new(),
        flags: Vec::new(),
        confidence: 0.9,
        tumours: None,
    }
}

/// A drawn patient as a vendor's series: its files, what we decode of them, and the result whose
/// masks are the truth.
pub(crate) struct Exam {
    pub(crate) files: Vec<DressedObject>,
    pub(crate) source: DicomSeries,
    pub(crate) result: Segmentation,
}

pub(crate) fn exam(vendor: Vendor, form: dress::Form, numbering: Numbering) -> Exam {
    let made = phantom::generate(&Recipe {
        columns: 200,
        rows: 260,
        slices: 13,
        in_plane_mm: 1.2,
        slice_mm: 4.5,
        ..Recipe::of(Region::Lumbar, 3)
    });
    let made = made.unwrap();
    let recipe = Dress { vendor, form, contrast: Contrast::T2, seed: 5, series_number: 7 };
    let files = dress(&made.image, &recipe).unwrap();
    let bytes: Vec<&[u8]> = files.iter().map(|file| &*file.bytes).collect();
    let source = sagitta::decode::dicom::decode(&bytes, Use::Exam, &Settings::default()).unwrap();
    // The files hold the same grid in decimals.
    let grid = *source.series.volume.grid();
    let semantic = Volume::new(grid, made.semantic.voxels().to_vec()).unwrap();
    let instances = Volume::new(grid, made.vertebrae.voxels().to_vec()).unwrap();
    Exam { files, source, result: segmentation(semantic, instances, numbering) }
}

pub(crate) fn provenance() -> Provenance {
    Provenance {
        software: "Sagitta 0.1.0".to_owned(),
        model: "spine".to_owned(),
        model_version: "1".to_owned(),
        weights_sha256: "ab".repeat(32),
        instance: Some(NetName {
            model: "instance".to_owned(),
            version: "1".to_owned(),
            weights_sha256: "ef".repeat(32),
        }),
        patches: None,
        engine: "simd f32".to_owned(),
        configuration_sha256: "cd".repeat(32),
        generation: 1,
        supersedes: None,
    }
}

pub(crate) fn made() -> Made {
    Made { date: "20261121".to_owned(), time: "101530".to_owned() }
}

/// A picture of every slice; the last one at twice the size.
pub(crate) fn captures() -> Vec<RgbImage> {
    let scale = |slice| if slice + 1 == DIMS[2] { 2 } else { 1 };
    (0..DIMS[2])
        .map(|slice| {
            let (columns, rows) = (DIMS[0] * scale(slice), DIMS[1] * scale(slice));
            let pixels = (0..columns * rows * 3).map(|n| (n * 7 + slice) as u8).collect();
            RgbImage { columns, rows, pixels, slice }
        })
        .collect()
}

/// All objects that are made, in their order.
pub(crate) fn build(
    source: &DicomSeries,
    result: &Segmentation,
    provenance: &Provenance,
    made: &Made,
    captures: &[RgbImage],
) -> Result<Vec<OutputObject>, ObjectError> {
    let mut built = Vec::new();
    let captures = captures.iter().cloned();
    let mut hand_over = |object| built.push(object);
    objects::images(source, result.masks(), provenance, made, captures, &mut hand_over)?;
    objects::documents(source, result, provenance, made, &mut hand_over)?;
    Ok(built)
}

pub(crate) fn objects(form: Form) -> Vec<OutputObject> {
    let result = result(Numbering::FromSacrum);
    build(&source(form), &result, &provenance(), &made(), &captures()).unwrap()
}

/// A folder of its own, removed at the end of the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sagitta-objects-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, objects: &[OutputObject]) {
        for object in objects {
            std::fs::write(self.file(&object.file_name), &object.bytes).unwrap();
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a tool to its end; a missing one fails the test with the name of its Debian package.
pub(crate) fn tool(name: &str, package: &str, arguments: &[&str]) -> Output {
    Command::new(name)
        .args(arguments)
        .output()
        .unwrap_or_else(|e| panic!("{name} cannot run ({e}): install the Debian package {package}"))
}

/// The error lines of dciodvfy about a file.
pub(crate) fn dciodvfy(path: &Path) -> Vec<String> {
    let output = tool("dciodvfy", "dicom3tools", &["-new", path.to_str().unwrap()]);
    let report = String::from_utf8_lossy(&output.stderr);
    let checked = [
        "MRImage",
        "SCImage",
        "Segmentation",
        "Comprehensive3DSR",
        "GrayscaleSoftcopyPresentationState",
    ];
    assert!(report.lines().any(|line| checked.contains(&line)), "{report}");
    report.lines().filter(|line| line.starts_with("Error")).map(str::to_owned).collect()
}

/// Runs a script of the peers' Python with the arguments; returns what it printed.
pub(crate) fn python(script: &str, arguments: &[&str]) -> String {
    let python = std::env::var("SAGITTA_PYTHON").expect(
        "SAGITTA_PYTHON names no Python with highdicom and nibabel: tests/run installs one",
    );
    let output = Command::new(&python)
        .args(["-c", script])
        .args(arguments)
        .output()
        .unwrap_or_else(|e| panic!("{python} cannot run ({e}): see SAGITTA_PYTHON"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the Python peer failed:\n{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// The header of the first file of a series in the shared DICOM data, without pixel data.
pub(crate) fn real_header(folder: &Folder, series: &str) -> InMemDicomObject {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared");
    let shared = std::env::var("SAGITTA_SHARED").unwrap_or_else(|_| beside.to_owned());
    let archive = Path::new(&shared).join("data/dicom").join(series).join("series.tar.xz");
    assert!(archive.is_file(), "the reference data are not at {shared}: see SAGITTA_SHARED");
    let listing = tool("tar", "tar", &["tJf", archive.to_str().unwrap()]);
    let listing = String::from_utf8(listing.stdout).unwrap();
    let first = listing.lines().find(|name| !name.ends_with('/')).expect("the archive has files");
    let into = folder.path().to_str().unwrap();
    let output = tool("tar", "tar", &["xJf", archive.to_str().unwrap(), "-C", into, first]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut header = dicom_object::open_file(folder.file(first)).unwrap().into_inner();
    header.remove_element(tags::PIXEL_DATA);
    header
}
