//! Which images of a series are taken and as what, on dressed series whose headers are changed as scanners write them.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::{FileDicomObject, InMemDicomObject};
use kernels::{Affine, Dims, Grid, Volume};
use pipeline::{Plane, Refusal, RefusalCode, Use};
use sagitta::decode::DicomSeries;
use sagitta::decode::dicom::decode;
use sagitta::decode::selection::{Class, Confidence, Reason, Settings};
use sagitta::dress::{Contrast, Dress, Form, Vendor, dress};

const SLICES: usize = 7;

/// A small sagittal series of one grey value.
fn series(vendor: Vendor, form: Form, contrast: Contrast, grey: f32) -> Vec<Vec<u8>> {
    let axes = [[4.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    let grid = Grid {
        dims: Dims::new([SLICES, 128, 128]).unwrap(),
        affine: Affine::new(axes, [-12.0, -64.0, -64.0]).unwrap(),
    };
    let mut volume = Volume::filled(grid, grey);
    volume.voxels_mut()[0] = 0.0;
    let recipe = Dress { vendor, form, contrast, seed: 1, series_number: 3 };
    dress(&volume, &recipe).unwrap().into_iter().map(|object| object.bytes).collect()
}

fn siemens(contrast: Contrast, grey: f32) -> Vec<Vec<u8>> {
    series(Vendor::Siemens, Form::Classic, contrast, grey)
}

/// The same files with other values of some attributes; a new SOP Instance UID for each ends in `mark`.
fn changed(files: &[Vec<u8>], mark: &str, values: &[(Tag, VR, &str)]) -> Vec<Vec<u8>> {
    let change = |bytes: &Vec<u8>| {
        let mut file: FileDicomObject<InMemDicomObject> =
            dicom_object::from_reader(bytes.as_slice()).unwrap();
        let uid = file.element(tags::SOP_INSTANCE_UID).unwrap().to_str().unwrap().into_owned();
        let uid = format!("{}{mark}", &uid[..uid.len().min(60)]);
        file.put(DataElement::new(tags::SOP_INSTANCE_UID, VR::UI, uid));
        // Dressed series of different voxels are different series.
        file.put(DataElement::new(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3"));
        for &(tag, vr, value) in values {
            file.put(DataElement::new(tag, vr, value));
        }
        let mut out = Vec::new();
        file.write_all(&mut out).unwrap();
        out
    };
    files.iter().map(change).collect()
}

fn image_type(values: &str) -> (Tag, VR, &str) {
    (tags::IMAGE_TYPE, VR::CS, values)
}

fn taken(files: &[Vec<u8>], site: &Settings) -> Result<DicomSeries, Refusal> {
    decode(files, Use::Exam, site)
}

fn plainly(files: &[Vec<u8>]) -> DicomSeries {
    taken(files, &Settings::default()).unwrap()
}

/// The value of all voxels but one.
fn grey(series: &DicomSeries) -> f32 {
    series.series.volume.voxels()[5]
}

#[test]
fn every_vendor_and_contrast_has_its_class() {
    for vendor in [Vendor::Siemens, Vendor::Philips, Vendor::Ge] {
        for form in [Form::Classic, Form::Enhanced] {
            for (contrast, class) in [
                (Contrast::T1, Class::T1),
                (Contrast::T2, Class::T2),
                (Contrast::Stir, Class::Stir),
            ] {
                let series = plainly(&series(vendor, form, contrast, 100.0));
                let plane = pipeline::series::plane(&series.series.volume.grid().affine, 2);
                assert_eq!(plane, Plane::Sagittal);
                let selection = &series.selection;
                let told = (selection.class, selection.confidence);
                let name = format!("{vendor:?} {form:?} {contrast:?}: {selection:?}");
                assert_eq!(told, (class, Confidence::High), "{name}");
                assert_eq!(selection.reasons, [Reason::Timing], "{name}");
                assert!(series.acquisition.begun.is_some(), "{name}");
            }
        }
    }
}

#[test]
fn of_a_dixon_series_the_site_has_one_image() {
    let mut files = Vec::new();
    for (kind, value, mark) in
        [("F", 10.0, ".1"), ("W", 20.0, ".2"), ("IP", 30.0, ".3"), ("OP", 40.0, ".4")]
    {
        let words = format!("DERIVED\\PRIMARY\\M\\{kind}\\NORM");
        files.extend(changed(&siemens(Contrast::T2, value), mark, &[image_type(&words)]));
    }
    let water = plainly(&files);
    assert_eq!(grey(&water), 20.0);
    assert_eq!(water.selection.reasons, [Reason::Timing, Reason::DixonChosen]);
    assert_eq!((water.frames.len(), water.instances.len()), (SLICES, SLICES), "nothing else");
    let uid = |k: usize| water.instances[water.frames[k].instance].sop_instance_uid.clone();
    assert!((0..SLICES).all(|k| uid(k).ends_with(".2")), "{}", uid(0));
    let site: Settings = toml::from_str("dixon = 'in_phase'").unwrap();
    assert_eq!(grey(&taken(&files, &site).unwrap()), 30.0);
    let refusal = taken(&files[..SLICES], &Settings::default()).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NotSelected);
    assert_eq!((refusal.plane, refusal.class), (Some(Plane::Sagittal), Some("t2")), "{refusal}");
}

#[test]
fn of_echoes_parts_and_corrections_one_is_taken() {
    let t2 = |value, mark, values: &[(Tag, VR, &str)]| {
        changed(&siemens(Contrast::T2, value), mark, values)
    };
    let early = t2(10.0, ".1", &[(tags::ECHO_TIME, VR::DS, "14")]);
    let echoes = plainly(&[early, t2(20.0, ".2", &[])].concat());
    assert_eq!((grey(&echoes), echoes.selection.class), (20.0, Class::T2));
    assert_eq!(echoes.selection.reasons, [Reason::Timing, Reason::EchoChosen]);

    let phase = t2(10.0, ".1", &[image_type("ORIGINAL\\PRIMARY\\P\\ND")]);
    let parts = plainly(&[phase.clone(), t2(20.0, ".2", &[])].concat());
    assert_eq!(grey(&parts), 20.0);
    assert_eq!(parts.selection.reasons, [Reason::Timing, Reason::MagnitudeChosen]);
    let refusal = taken(&phase, &Settings::default()).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NotAnatomical, "{refusal}");

    let raw = t2(10.0, ".1", &[image_type("ORIGINAL\\PRIMARY\\M\\ND")]);
    let twins = plainly(&[raw, t2(20.0, ".2", &[])].concat());
    assert_eq!((grey(&twins), twins.acquisition.corrections), (20.0, 3));
    assert_eq!(twins.selection.reasons, [Reason::Timing, Reason::CorrectedChosen]);
}

#[test]
fn an_agent_is_believed_when_it_is_named_or_hinted_at_twice() {
    let t1 = siemens(Contrast::T1, 50.0);
    let class = |values: &[(Tag, VR, &str)]| {
        let selection = plainly(&changed(&t1, ".1", values)).selection;
        (selection.class, selection.reasons.last().copied().unwrap())
    };
    let agent = |value| (tags::CONTRAST_BOLUS_AGENT, VR::LO, value);
    assert_eq!(class(&[agent("")]), (Class::T1, Reason::Timing), "Siemens XA and Philips");
    assert_eq!(class(&[agent("GADOVIST")]), (Class::T1Gd, Reason::AgentNamed));
    let words = (tags::SERIES_DESCRIPTION, VR::LO, "t1_tse_sag_KM");
    let volume = (tags::CONTRAST_BOLUS_VOLUME, VR::DS, "7.5");
    assert_eq!(class(&[words]), (Class::T1, Reason::AgentDoubtful));
    assert_eq!(class(&[words, volume]), (Class::T1Gd, Reason::AgentHinted));
}

#[test]
fn the_table_of_the_site_wins() {
    let site: Settings = toml::from_str(
        "version = '2'\nleave_out = ['stir']\n\
         [[rule]]\nseries_description = 'survey'\ntake = 'no'\n\
         [[rule]]\nseries_description = 'mip'\ntake = 't1_gd'\n",
    )
    .unwrap();
    let described = |words, kind| {
        let values = [(tags::SERIES_DESCRIPTION, VR::LO, words), image_type(kind)];
        taken(&changed(&siemens(Contrast::T2, 10.0), ".1", &values), &site)
    };
    let refusal = described("Survey 3", "ORIGINAL\\PRIMARY\\M").unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NotSelected);
    assert_eq!(refusal.text, "the site leaves it out (table 2, rule 1)");
    let forced = described("thick MIP", "DERIVED\\SECONDARY\\MIP").unwrap().selection;
    assert_eq!((forced.class, forced.confidence), (Class::T1Gd, Confidence::High));
    assert_eq!(forced.rule.as_deref(), Some("table 2, rule 2"));
    let left = taken(&siemens(Contrast::Stir, 10.0), &site).unwrap_err();
    assert_eq!((left.code, left.class), (RefusalCode::NotSelected, Some("stir")), "{left}");
}
