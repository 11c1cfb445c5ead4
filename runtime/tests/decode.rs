//! Real series of four vendors: each is decoded with its geometry, or refused with the right code.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod shared;

use pipeline::{Plane, Refusal, RefusalCode, Use};
use sagitta::decode::DicomSeries;
use sagitta::decode::dicom::{FolderError, decode as decode_for, read_folder};
use sagitta::decode::selection::{Class, Confidence, Settings};
use shared::{Scratch, dicom, run, unpack};
use std::path::Path;
use std::process::Command;

/// As a site without a table of its own takes it.
fn decode<B: AsRef<[u8]>>(files: &[B], wanted: Use) -> Result<DicomSeries, Refusal> {
    decode_for(files, wanted, &Settings::default())
}

fn decode_folder(path: &Path) -> Result<DicomSeries, Refusal> {
    decode(&read_folder(path).unwrap().files, Use::Exam)
}

#[test]
fn siemens_classic_is_decoded_with_its_geometry() {
    let scratch = Scratch::new("decode-siemens");
    unpack("siemens-skyra-d11-sag-t1-classic", &scratch.0);
    std::fs::write(scratch.0.join("readme.txt"), "not DICOM").unwrap();
    let folder = read_folder(&scratch.0).unwrap();
    assert_eq!((folder.files.len(), folder.ignored.len(), folder.other_series), (192, 1, 0));
    let mut files = folder.files;
    let series = decode(&files, Use::Exam).unwrap();
    assert_eq!(series.series.volume.dims().counts(), [256, 256, 192]);
    let taken = (series.selection.class, series.selection.confidence);
    assert_eq!(taken, (Class::T1ThreeD, Confidence::High), "{:?}", series.selection);
    let affine = series.series.volume.grid().affine;
    let expected = [0.859375, 0.859375, 0.9];
    let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-3;
    assert!(affine.spacing().iter().zip(&expected).all(close), "{affine:?}");
    assert_eq!(pipeline::series::plane(&affine, 2), Plane::Sagittal);
    assert_eq!((series.frames.len(), series.instances.len()), (192, 192));
    assert!(series.header.get(dicom_dictionary_std::tags::PIXEL_DATA).is_none());
    assert!(series.header.iter().all(|element| element.header().tag.group() % 2 == 0));
    assert!(series.series.volume.voxels().iter().any(|&v| v > 100.0));
    files.reverse();
    let reversed = decode(&files, Use::Exam).unwrap();
    assert_eq!(reversed.series.volume, series.series.volume, "any order gives the same volume");
    let uid = |s: &DicomSeries| {
        s.instances[s.frames[s.series.sources[7]].instance].sop_instance_uid.clone()
    };
    assert_eq!(uid(&reversed), uid(&series));
    let last = files.len() - 1;
    files.swap_remove(last / 2);
    assert_eq!(decode(&files, Use::Exam).unwrap_err().code, RefusalCode::Gap);
    let half = files[0].len() / 2;
    files[0].truncate(half);
    let refusal = decode(&files, Use::Exam).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::UnreadablePixels);
    assert!(refusal.text.starts_with("instance 1 of 191"), "{}", refusal.text);
}

#[test]
fn philips_classic_is_decoded() {
    let scratch = Scratch::new("decode-philips");
    unpack("philips-elition-571-sag-t1-classic", &scratch.0);
    let series = decode_folder(&scratch.0).unwrap();
    assert_eq!(series.series.volume.dims().counts(), [256, 256, 170]);
    assert_eq!(series.selection.class, Class::T1ThreeD, "{:?}", series.selection);
}

#[test]
fn compressed_copies_give_the_same_voxels() {
    let scratch = Scratch::new("decode-compressed");
    unpack("siemens-skyra-d11-sag-t1-classic", &scratch.0);
    let mut paths = read_folder(&scratch.0).unwrap().paths;
    paths.truncate(12);
    let read = |paths: &[std::path::PathBuf]| -> Vec<Vec<u8>> {
        paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
    };
    // Neighbours by name are neighbours in space, or this would be a gap.
    let native = decode(&read(&paths), Use::Exam).unwrap();
    for (program, option) in
        [("dcmcrle", None), ("dcmcjpeg", Some("+e1")), ("dcmcjpeg", Some("+el"))]
    {
        let copies: Vec<_> = paths
            .iter()
            .enumerate()
            .map(|(index, path)| {
                let copy = scratch.0.join(format!("copy-{index}"));
                run(Command::new(program).args(option).arg(path).arg(&copy));
                copy
            })
            .collect();
        let decoded = decode(&read(&copies), Use::Exam).unwrap();
        assert!(decoded.series.volume == native.series.volume, "{program} {option:?}");
    }
    let lossy = scratch.0.join("lossy");
    run(Command::new("dcmcjpeg").args(["+ee", "+q", "80"]).arg(&paths[0]).arg(&lossy));
    assert_eq!(decode(&read(&[lossy]), Use::Exam).unwrap_err().code, RefusalCode::Lossy);
}

#[test]
fn what_is_no_spine_exam_is_refused_by_code() {
    let scratch = Scratch::new("decode-refused");
    for folder in ["siemens-prisma-xa30-sag-epi-classic", "siemens-prisma-xa30-sag-epi-enhanced"] {
        let folder_scratch = Scratch::new(folder);
        unpack(folder, &folder_scratch.0);
        let refusal = decode_folder(&folder_scratch.0).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::NotAnatomical, "{folder}: {refusal}");
        assert_eq!(refusal.plane, Some(Plane::Sagittal), "{folder}");
    }
    let unzip = |file: &str| {
        let bytes = Command::new("gzip").arg("-dc").arg(dicom().join(file)).output().unwrap();
        assert!(bytes.status.success());
        decode(&[bytes.stdout], Use::Exam).unwrap_err().code
    };
    assert_eq!(unzip("canon-galan-61-sag-dti-enhanced/9000.dcm.gz"), RefusalCode::NotAnatomical);
    let philips = "philips-elition-571-enhanced-and-raw";
    assert_eq!(
        unzip(&format!("{philips}/1901_WIP_3DpCASL_real.dcm.gz")),
        RefusalCode::NotAnatomical
    );
    assert_eq!(unzip(&format!("{philips}/104165610_ExamCard_Raw.dcm.gz")), RefusalCode::WrongClass);
    for (folder, code) in [
        ("siemens-prisma-e11-sag-mosaic", RefusalCode::NotAnatomical),
        ("ge-signa-rx28-ax-header-sample", RefusalCode::NotAnatomical),
        ("siemens-prisma-e11-sag-gre-2echo-classic", RefusalCode::Resolution),
    ] {
        let refusal = decode_folder(&dicom().join(folder)).unwrap_err();
        assert_eq!(refusal.code, code, "{folder}: {refusal}");
    }
    let derived = std::fs::read(dicom().join("reference-outputs/mr_derived.dcm")).unwrap();
    assert_eq!(decode(&[derived], Use::Exam).unwrap_err().code, RefusalCode::NotAnatomical);
    let empty = read_folder(&scratch.0).unwrap_err();
    assert!(matches!(empty, FolderError::Nothing { ignored: 0, .. }), "{empty}");
    assert_eq!(decode::<Vec<u8>>(&[], Use::Exam).unwrap_err().code, RefusalCode::TooFewSlices);
}

/// No anatomical Enhanced MR is among the reference data, so an fMRI object is relabelled: it then gets through functional
/// groups, pixels and stacking, and is refused for its 86 pixels only.
#[test]
fn enhanced_frames_are_stacked() {
    let scratch = Scratch::new("decode-enhanced");
    unpack("siemens-prisma-xa30-sag-epi-enhanced", &scratch.0);
    let mut folder = read_folder(&scratch.0).unwrap();
    assert_eq!(folder.files.len(), 5);
    for (from, to) in [
        (&b"PRIMARY\\FMRI"[..], &b"PRIMARY\\SPIN"[..]),
        (b"\x18\x00\x18\x90CS\x04\x00YES ", b"\x18\x00\x18\x90CS\x04\x00NO  "),
        (b"\x20\x00\x05\x01IS\x02\x005 ", b"\x20\x00\x05\x01IS\x02\x001 "),
    ] {
        for file in &mut folder.files {
            let mut places: Vec<usize> = Vec::new();
            places.extend(memchr::memmem::find_iter(file, from));
            assert!(!places.is_empty());
            for at in places {
                file[at..at + to.len()].copy_from_slice(to);
            }
        }
    }
    let refusal = decode(&folder.files[..1], Use::Exam).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Resolution, "{refusal}");
    assert_eq!((refusal.dims, refusal.plane), (Some([86, 86, 63]), Some(Plane::Sagittal)));
    let refusal = decode(&folder.files[..2], Use::Exam).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::DuplicateSlice, "two time points: {refusal}");
}

#[test]
fn refusals_hold_no_patient_data_phi() {
    let scratch = Scratch::new("decode-phi");
    unpack("siemens-prisma-xa30-sag-epi-classic", &scratch.0);
    let folder = read_folder(&scratch.0).unwrap();
    let refusal = decode(&folder.files, Use::Exam).unwrap_err();
    let shown = serde_json::to_string(&refusal).unwrap();
    assert!(!shown.contains("1.3.12"), "{shown}");
}

#[test]
fn hostile_files_are_refused_quickly() {
    let scratch = Scratch::new("decode-hostile");
    let python = std::env::var_os("SAGITTA_PYTHON").unwrap_or_else(|| "python3".into());
    let generator = dicom().join("malformed/make_malformed.py");
    run(Command::new(python).arg(generator).current_dir(&scratch.0));
    let mut files = 0;
    for entry in std::fs::read_dir(scratch.0.join("mal")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        // A small stack: nothing here may recurse.
        let refusal = std::thread::Builder::new()
            .stack_size(256 << 10)
            .spawn(move || decode(&[bytes], Use::Exam).unwrap_err())
            .unwrap()
            .join()
            .unwrap();
        assert_eq!(refusal.code, RefusalCode::UnreadablePixels, "{path:?}: {refusal}");
        files += 1;
    }
    assert!(files >= 12, "{files} files");
}
