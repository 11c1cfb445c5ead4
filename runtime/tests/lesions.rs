//! The search for lesions in the product: what its objects and report say, when it says nothing, and what it invents on real
//! exams that nobody was given an agent for.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "objects/fixture.rs"]
mod fixture;
mod shared;

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use fixture::{Exam, Folder, dciodvfy, exam, made, provenance};
use models::engine::{self, EngineChoice};
use models::nifti;
use models::weights::PatchWeights;
use pipeline::penn::{Compartment, Enhanced, Lesion, MOST_LESIONS, STATUS, Tumours, Unseen};
use pipeline::{Numbering, Segmentation, Series, Structure, Use, VertebraId};
use sagitta::decode::dicom::decode;
use sagitta::decode::selection::Settings;
use sagitta::dress::{Form, Vendor};
use sagitta::identity::{NetName, Provenance};
use sagitta::jobs::clock::StageClock;
use sagitta::jobs::levels::Neighbours;
use sagitta::jobs::produce::{Product, Request, Workshop};
use sagitta::jobs::source::Source;
use sagitta::objects::{OutputKind, OutputObject};
use sagitta::publish::advance::Advance;
use serde_json::Value;
use shared::{Scratch, unpack};
use std::collections::BTreeSet;
use std::path::Path;

fn patches() -> Provenance {
    let name = |text: &str| text.to_owned();
    let net = NetName { model: name("penn"), version: name("9"), weights_sha256: "12".repeat(32) };
    Provenance { patches: Some(net), ..provenance() }
}

/// A body and half the canal as lesions of a drawn patient.
fn found(result: &Segmentation) -> Tumours {
    let (body, canal) = (Structure::VertebralBody.value(), Structure::SpinalCanal.value());
    let mut mask = result.instances.map(|value| u16::from(value == 23));
    for (n, (number, &structure)) in
        mask.voxels_mut().iter_mut().zip(result.semantic.voxels()).enumerate()
    {
        *number = match structure {
            s if s == body => *number,
            s if s == canal && n % 2 == 0 => 2,
            _ => 0,
        };
    }
    let lesion = |compartment, level| Lesion {
        volume_mm3: 1500.0,
        extent_mm: [21.0, 22.0, 23.0],
        centre_mm: [1.0, 2.0, 3.0],
        compartment,
        level,
    };
    let lesions = vec![
        lesion(Compartment::VertebralBody, VertebraId::new(23)),
        lesion(Compartment::Canal, None),
    ];
    Tumours { mask, lesions, elsewhere: 3 }
}

fn objects(exam: &Exam, provenance: &Provenance) -> Vec<OutputObject> {
    fixture::build(&exam.source, &exam.result, provenance, &made(), &[]).unwrap()
}

fn read(objects: &[OutputObject], kind: OutputKind) -> InMemDicomObject {
    let object = objects.iter().find(|object| object.kind == kind).unwrap();
    dicom_object::from_reader(object.bytes.as_slice()).unwrap().into_inner()
}

/// Every text of an object, items included.
fn texts(object: &InMemDicomObject, into: &mut Vec<String>) {
    for element in object {
        match element.items() {
            Some(items) => items.iter().for_each(|item| texts(item, into)),
            None => into.extend(element.to_str().ok().map(|text| text.into_owned())),
        }
    }
}

#[test]
fn lesions_are_segments_and_groups_that_say_what_they_are_not() {
    let mut exam = exam(Vendor::Siemens, Form::Classic, Numbering::FromSacrum);
    exam.result.tumours = Some(Ok(found(&exam.result)));
    let made = objects(&exam, &patches());
    let folder = Folder::new();
    folder.write(&made);
    for name in ["seg-lesions.dcm", "sr-measurements.dcm"] {
        assert_eq!(dciodvfy(&folder.file(name)), Vec::<String>::new(), "{name}");
    }
    let seg = read(&made, OutputKind::Lesions);
    let segments = seg.element(tags::SEGMENT_SEQUENCE).unwrap().items().unwrap();
    let of = |segment: &InMemDicomObject, tag| {
        segment.element(tag).unwrap().to_str().unwrap().into_owned()
    };
    let labels: Vec<String> = segments.iter().map(|s| of(s, tags::SEGMENT_LABEL)).collect();
    let wanted = [1, 2].map(|n| format!("Lesion {n} (experimental, not for diagnosis)"));
    assert_eq!(labels, wanted);
    assert_eq!(of(&segments[0], tags::SEGMENT_ALGORITHM_NAME), "penn");
    let mut said = Vec::new();
    texts(&read(&made, OutputKind::Measurements), &mut said);
    let comment = said.iter().find(|text| text.starts_with("Lesions (")).unwrap();
    assert!(comment.contains(STATUS) && comment.contains("below 19 mm"), "{comment}");
    assert!(comment.contains(": 2; 3 more than 10 mm from the spine"), "{comment}");
    for text in [&wanted[0], &wanted[1], "EXTENT_SLICES", "L4 vertebra"] {
        assert!(said.iter().any(|said| said == text), "{text}");
    }
    // The source of a result is its name: with the patch net its UIDs are others.
    let without = objects(&exam, &provenance());
    assert!(made.iter().zip(&without).all(|(a, b)| a.sop_instance_uid != b.sop_instance_uid));
}

#[test]
fn a_series_of_which_nothing_can_be_said_has_no_empty_mask_but_a_reason() {
    let mut exam = exam(Vendor::Ge, Form::Classic, Numbering::Unverified);
    let before = objects(&exam, &provenance());
    exam.result.tumours = Some(Err(Unseen::NoContrast));
    let made = objects(&exam, &patches());
    assert!(made.iter().all(|object| object.kind != OutputKind::Lesions));
    let mut said = Vec::new();
    texts(&read(&made, OutputKind::Measurements), &mut said);
    let reason = "nothing can be said, no_contrast: the header gives no evidence";
    assert!(said.iter().any(|text| text.contains(STATUS) && text.contains(reason)));
    // Where nobody asks, nothing is said.
    said.clear();
    texts(&read(&before, OutputKind::Measurements), &mut said);
    assert!(!said.iter().any(|text| text.contains("esion")));
}

fn workshop() -> Workshop {
    let settings = engine::Settings::of(EngineChoice::Simd);
    Workshop::open(None, &settings, None).unwrap().with_lesions().unwrap()
}

/// A series of the reference data, taken for what `site` says.
fn series(name: &str, scratch: &Path, site: &Settings) -> Source {
    unpack(name, scratch);
    let mut files = Vec::new();
    let mut folders = vec![scratch.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match entry.is_dir() {
                true => folders.push(entry),
                false => files.push(std::fs::read(entry).unwrap()),
            }
        }
    }
    Source::Dicom(Box::new(decode(&files, Use::Exam, site).unwrap()))
}

fn produced(workshop: &mut Workshop, source: &Source, folder: &Path) -> Product {
    let request = Request {
        name: "exam".to_owned(),
        inputs: Vec::new(),
        folder: folder.to_owned(),
        made: made(),
        generation: 1,
        neighbours: Neighbours::default(),
        supersedes: None,
        labelmap: false,
    };
    let (mut advance, mut clock) = (Advance::none(), StageClock::idle());
    workshop.produce(source, &request, &mut advance, &mut clock, &mut |_| {}).unwrap()
}

/// What the report says of lesions.
fn told(product: &Product) -> Value {
    let report: Value = serde_json::from_str(&product.report.text(None)).unwrap();
    report["lesions"].clone()
}

const T1_DICOM: [&str; 2] =
    ["siemens-skyra-d11-sag-t1-classic", "philips-elition-571-sag-t1-classic"];
const T1_NIFTI: [&str; 2] = ["zukic_vb/02_AKa3_img.nii.gz", "zukic_vb/10_DzZ_T1_img.nii.gz"];

#[test]
fn t1_without_an_agent_is_not_looked_at_and_says_so() {
    let mut workshop = workshop();
    let (scratch, out) = (Scratch::new("lesions-plain"), Scratch::new("lesions-plain-out"));
    let source = series(T1_DICOM[0], &scratch.0, &Settings::default());
    let product = produced(&mut workshop, &source, &out.0);
    let lesions = told(&product);
    assert_eq!(lesions["status"], STATUS);
    assert_eq!(lesions["unseen"]["code"], "no_contrast");
    assert!(lesions["found"].is_null() && lesions["elsewhere"].is_null(), "{lesions}");
    assert_eq!(
        (&lesions["least_round_mm"], &lesions["least_long_mm"]),
        (&19.0.into(), &13.0.into())
    );
    assert_eq!(product.report.models.last().unwrap().name, "penn");
    assert!(!out.0.join("seg-lesions.dcm").exists());
}

/// The site's table says that the series are of a class that they are not: as if there had been an agent. Nothing enhances, so
/// what is found is invented; it is printed, exam by exam.
#[test]
fn what_is_invented_on_untouched_t1_exams_is_told_and_drawn_alike() {
    let site: Settings =
        toml::from_str("[[rule]]\nseries_description = ''\ntake = 't1_gd'").unwrap();
    let mut workshop = workshop();
    for name in T1_DICOM {
        let (scratch, out) = (Scratch::new("lesions-in"), Scratch::new("lesions-out"));
        let product = produced(&mut workshop, &series(name, &scratch.0, &site), &out.0);
        let lesions = told(&product);
        println!("{name}: {lesions}");
        let found = lesions["found"].as_array();
        assert!(found.is_some() != lesions["unseen"].is_object(), "{name}: {lesions}");
        let drawn = out.0.join("seg-lesions.dcm").exists();
        assert_eq!(drawn, found.is_some_and(|found| !found.is_empty()), "{name}");
        if let Some(Ok(tumours)) = &product.segmentation.tumours {
            let numbers: BTreeSet<u16> = tumours.mask.voxels().iter().copied().collect();
            let last = numbers.last().copied().map_or(0, usize::from);
            assert!(last <= tumours.lesions.len() && last <= MOST_LESIONS, "{name}: {last}");
        }
    }
    let folder = shared::dicom().join("../nifti");
    let detector = PatchWeights::embedded().unwrap().detector;
    for name in T1_NIFTI {
        let series = Series::from_volume(nifti::read(&folder.join(name)).unwrap());
        let (none, mut clock) = (Neighbours::default(), StageClock::idle());
        let (found, _) = workshop.answer(&series, &none, &mut clock, &mut |_| {}).unwrap();
        let (semantic, instances) = (&found.semantic, &found.instances);
        let image = &series.volume;
        let threads = kernels::threads::available();
        let enhanced = Enhanced { image, agent: true, semantic, instances };
        println!("{name}: {:?}", detector.tumours(enhanced, threads).map(|found| found.lesions));
        let plain = Enhanced { agent: false, ..enhanced };
        assert_eq!(detector.tumours(plain, threads).unwrap_err(), Unseen::NoContrast);
    }
}
