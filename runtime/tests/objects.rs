//! Our DICOM objects as others see them: dciodvfy, highdicom, DCMTK, dcm2niix, and a DCMTK
//! receiver.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "objects/fixture.rs"]
mod fixture;
#[path = "objects/receiver.rs"]
mod receiver;

use dicom_dictionary_std::tags;
use dicom_ul::association::ServerAssociationOptions;
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};
use fixture::{
    Folder, Form, build, captures, dciodvfy, grid, made, objects, provenance, python, result,
    source, tool,
};
use pipeline::Numbering;
use receiver::Receiver;
use sagitta::error::Move;
use sagitta::objects::{ObjectError, OutputKind};
use sagitta::publish::store::{self, Destination, StoreError, StoredObject};
use std::collections::BTreeMap;

#[test]
fn dciodvfy_finds_no_error() {
    for form in [Form::Classic, Form::Enhanced] {
        let folder = Folder::new();
        let objects = objects(form);
        folder.write(&objects);
        for object in &objects {
            let path = folder.file(&object.file_name);
            assert_eq!(dciodvfy(&path), Vec::<String>::new(), "{}", object.file_name);
        }
    }
}

/// Headers as scanners write them. Their own faults must not become ours.
#[test]
fn real_headers_give_objects_without_error() {
    for (series, form) in [
        ("siemens-prisma-xa30-sag-epi-classic", Form::Classic),
        ("siemens-prisma-xa30-sag-epi-enhanced", Form::Enhanced),
        ("philips-elition-571-sag-t1-classic", Form::Classic),
    ] {
        let folder = Folder::new();
        let mut source = source(form);
        source.header = fixture::real_header(&folder, series);
        let result = result(Numbering::Unverified);
        let objects = build(&source, &result, &provenance(), &made(), &captures()).unwrap();
        folder.write(&objects);
        // One object of each kind: the slices differ in nothing that the header decides.
        for name in
            ["mr-derived-0002", "sc-rgb-0002", "seg", "seg-instances", "sr-measurements", "gsps"]
        {
            let path = folder.file(&format!("{name}.dcm"));
            assert_eq!(dciodvfy(&path), Vec::<String>::new(), "{series}: {name}");
        }
    }
}

/// Prints `file label code count` per segment after comparing every voxel with the mask beside it.
/// The slices are asked for by the source image they refer to, so a wrong reference is a wrong
/// voxel.
const HIGHDICOM: &str = r#"
import sys, numpy as np, highdicom as hd
folder, form, columns, rows, slices = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
for name in ("seg", "seg-instances"):
    seg = hd.seg.segread(f"{folder}/{name}.dcm")
    mask = np.fromfile(f"{folder}/{name}.raw", np.uint16).reshape(slices, rows, columns)
    values = [int(v) for v in open(f"{folder}/{name}.values").read().split()]
    numbers = list(seg.segment_numbers)
    assert numbers == list(range(1, len(values) + 1)), numbers
    uid = "1.2.826.0.1.3680043.10.2."
    options = dict(segment_numbers=numbers, ignore_spatial_locations=True,
                   assert_missing_frames_are_empty=True)
    if form == "classic":
        uids = [f"{uid}{slices - 1 - k}" for k in range(slices)]
        got = seg.get_pixels_by_source_instance(source_sop_instance_uids=uids, **options)
    else:
        frames = [slices - k for k in range(slices)]
        got = seg.get_pixels_by_source_frame(source_sop_instance_uid=uid + "0",
                                             source_frame_numbers=frames, **options)
    for at, value in enumerate(values):
        assert np.array_equal(got[..., at].astype(bool), mask == value), (name, value)
        item = seg.get_segment_description(numbers[at])
        code = item.segmented_property_type
        print(name, code.value, int(got[..., at].sum()), item.segment_label, sep="\t")
"#;

#[test]
fn highdicom_reads_every_voxel_of_our_segments() {
    for form in [Form::Classic, Form::Enhanced] {
        let folder = Folder::new();
        folder.write(&objects(form));
        let result = result(Numbering::FromSacrum);
        let masks = [("seg", result.semantic.map(u16::from)), ("seg-instances", result.instances)];
        let mut want = BTreeMap::new();
        for (name, mask) in &masks {
            let raw: Vec<u8> = mask.voxels().iter().flat_map(|v| v.to_le_bytes()).collect();
            std::fs::write(folder.file(&format!("{name}.raw")), raw).unwrap();
            let mut counts = BTreeMap::new();
            mask.voxels()
                .iter()
                .filter(|&&v| v > 0)
                .for_each(|&v| *counts.entry(v).or_insert(0) += 1);
            let values: Vec<String> = counts.keys().map(u16::to_string).collect();
            std::fs::write(folder.file(&format!("{name}.values")), values.join(" ")).unwrap();
            want.insert(*name, counts.into_values().collect::<Vec<u32>>());
        }
        let [columns, rows, slices] = fixture::DIMS.map(|n| n.to_string());
        let name = if form == Form::Classic { "classic" } else { "enhanced" };
        let path = folder.path().to_str().unwrap();
        let printed = python(HIGHDICOM, &[path, name, &columns, &rows, &slices]);
        let mut got: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for line in printed.lines() {
            let [file, _, count, _] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("unexpected line {line}")
            };
            got.entry(file).or_default().push(count.parse().unwrap());
        }
        assert_eq!(got, want);
        for (code, label) in [
            ("54735007", "Sacrum"),
            ("73400003", "Transverse process left"),
            ("11994002", "L4 vertebra"),
            ("84020006", "Disc below L4"),
        ] {
            let found = printed.lines().any(|line| line.contains(code) && line.ends_with(label));
            assert!(found, "{code} {label} is not in\n{printed}");
        }
    }
}

/// Prints the affine that dcm2niix found, in LPS, three rows.
const NIBABEL: &str = r#"
import sys, nibabel
image = nibabel.load(sys.argv[1])
assert list(image.shape) == [int(n) for n in sys.argv[2:5]], image.shape
for row, sign in zip(image.affine[:3], (-1, -1, 1)):
    print(*(sign * row))
"#;

#[test]
fn dcm2niix_finds_our_affine_in_the_derived_series() {
    for form in [Form::Classic, Form::Enhanced] {
        let folder = Folder::new();
        let mut derived = objects(form);
        derived.retain(|object| object.kind == OutputKind::DerivedMr);
        folder.write(&derived);
        let path = folder.path().to_str().unwrap();
        let output = tool("dcm2niix", "dcm2niix", &["-b", "n", "-f", "out", path]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let nifti = folder.file("out.nii");
        let [columns, rows, slices] = fixture::DIMS.map(|n| n.to_string());
        let printed = python(NIBABEL, &[nifti.to_str().unwrap(), &columns, &rows, &slices]);
        let got: Vec<f64> = printed.split_whitespace().map(|v| v.parse().unwrap()).collect();
        // dcm2niix turns the rows round: its row j is our row n - 1 - j. It may turn the slices
        // too.
        let affine = grid().affine;
        let last = [0, fixture::DIMS[1] - 1, fixture::DIMS[2] - 1].map(|n| n as f64);
        let at = |index: [f64; 3]| -> Vec<f64> {
            (0..3)
                .map(|r| (0..3).map(|c| got[4 * r + c] * index[c]).sum::<f64>() + got[4 * r + 3])
                .collect()
        };
        let near = |a: &[f64], b: [f64; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3);
        let turned = near(&at([0.0; 3]), affine.world(last));
        for corner in [[0.0, 0.0, 0.0], [34.0, 0.0, 0.0], [0.0, 28.0, 0.0], [0.0, 0.0, 5.0]] {
            let k = if turned { last[2] - corner[2] } else { corner[2] };
            let ours = affine.world([corner[0], last[1] - corner[1], k]);
            assert!(near(&at(corner), ours), "{corner:?}: {:?} instead of {ours:?}", at(corner));
        }
    }
}

#[test]
fn dcmtk_shows_our_pixels() {
    let folder = Folder::new();
    let objects = objects(Form::Classic);
    folder.write(&objects);
    for object in &objects {
        let path = folder.file(&object.file_name);
        let output = tool("dcmdump", "dcmtk", &["-q", path.to_str().unwrap()]);
        assert!(output.status.success() && output.stderr.is_empty(), "{}", object.file_name);
    }
    for capture in captures() {
        let path = folder.file(&format!("sc-rgb-{:04}.dcm", capture.slice + 1));
        let out = folder.file("out.ppm");
        let arguments = ["--write-raw-pnm", path.to_str().unwrap(), out.to_str().unwrap()];
        assert!(tool("dcm2pnm", "dcmtk", &arguments).status.success());
        let image = std::fs::read(&out).unwrap();
        assert!(image.ends_with(&capture.pixels), "slice {}", capture.slice);
    }
    // The window of the derived series maps the largest value, the disc's 100, to white and nothing
    // else.
    let out = folder.file("out.pgm");
    let path = folder.file("mr-derived-0003.dcm");
    let arguments = ["--use-window", "1", "--write-raw-pnm", path.to_str().unwrap()];
    assert!(
        tool("dcm2pnm", "dcmtk", &[&arguments[..], &[out.to_str().unwrap()]].concat())
            .status
            .success()
    );
    let image = std::fs::read(&out).unwrap();
    let result = result(Numbering::FromSacrum);
    let labels = result.semantic.slice(2);
    let shown = &image[image.len() - labels.len()..];
    for (&label, &grey) in labels.iter().zip(shown) {
        // DCMTK rounds white down to 254.
        assert_eq!((label == 100, label == 0), (grey >= 254, grey == 0), "{label} -> {grey}");
    }
}

#[test]
fn the_same_input_gives_the_same_bytes_and_another_generation_other_uids() {
    let again = |generation| {
        let mut provenance = provenance();
        provenance.generation = generation;
        let result = result(Numbering::FromSacrum);
        build(&source(Form::Classic), &result, &provenance, &made(), &captures()).unwrap()
    };
    let (first, second) = (again(1), again(2));
    assert!(first == again(1));
    let uids: std::collections::BTreeSet<_> =
        first.iter().chain(&second).map(|o| &o.sop_instance_uid).collect();
    assert_eq!(uids.len(), first.len() + second.len());
    let dump = |object: &sagitta::objects::OutputObject| {
        dicom_object::from_reader(std::io::Cursor::new(&object.bytes[128..])).unwrap()
    };
    let series = |object, tag| dump(object).element(tag).unwrap().to_str().unwrap().into_owned();
    assert_eq!(series(&first[0], tags::SERIES_NUMBER), "701");
    assert_eq!(series(&second[0], tags::SERIES_NUMBER), "711");
    assert!(series(&second[0], tags::SERIES_DESCRIPTION).contains("supersedes 1"));
}

#[test]
fn patient_values_keep_their_bytes_and_private_elements_stay_behind() {
    for object in objects(Form::Classic) {
        let holds = |needle: &[u8]| object.bytes.windows(needle.len()).any(|w| w == needle);
        assert!(holds(b"M\xfcller^J\xf6rg"), "{}", object.file_name);
        assert!(holds(b"ISO_IR 100"), "{}", object.file_name);
        let nets = [provenance().weights_sha256, provenance().instance.unwrap().weights_sha256];
        assert!(nets.iter().all(|hash| holds(hash.as_bytes())), "{}", object.file_name);
        assert!(!holds(b"ACME PRIVATE"), "{}", object.file_name);
        assert!(!format!("{object:?}").contains("P-4711"));
    }
}

#[test]
fn unfit_input_is_named_and_nothing_found_gives_no_seg() {
    let (result, provenance, made) = (result(Numbering::Unverified), provenance(), made());
    let mut capture = captures();
    capture[2].pixels.pop();
    let built = build(&source(Form::Classic), &result, &provenance, &made, &capture);
    assert!(matches!(built, Err(ObjectError::Capture { slice: 2, .. })));
    let mut capture = captures();
    capture[4].slice = 3;
    let built = build(&source(Form::Classic), &result, &provenance, &made, &capture);
    assert!(matches!(built, Err(ObjectError::Capture { slice: 3, .. })));
    let mut source = source(Form::Classic);
    source.header.remove_element(tags::STUDY_INSTANCE_UID);
    let built = build(&source, &result, &provenance, &made, &[]);
    assert!(matches!(built, Err(ObjectError::MissingSource { attribute: "Study Instance UID" })));
    let mut nothing = result.clone();
    nothing.semantic.voxels_mut().fill(0);
    nothing.instances.voxels_mut().fill(0);
    nothing.measures.vertebrae.clear();
    let source = fixture::source(Form::Enhanced);
    let built = build(&source, &nothing, &provenance, &made, &[]).unwrap();
    assert!(built.iter().all(|object| object.kind == OutputKind::DerivedMr));
}

async fn send(to: &Destination, objects: &[StoredObject]) -> Result<(), StoreError> {
    store::send(&to.name, &to.route(None).unwrap(), objects).await
}

async fn probe(to: &Destination) -> Result<Vec<OutputKind>, StoreError> {
    store::probe(&to.name, &to.route(None).unwrap(), &to.profile).await
}

#[tokio::test]
async fn dcmtk_receives_every_object_bit_for_bit() {
    // A small PDU makes every object travel in many fragments.
    for options in [&["+B"][..], &["+B", "--max-pdu", "4096"]] {
        let folder = Folder::new();
        let receiver = Receiver::start(&folder, options);
        receiver.ready().await;
        // DCMTK 3.6.7 does not know the youngest class.
        assert_eq!(probe(&receiver.destination).await.unwrap(), [OutputKind::Labelmap]);
        let objects: Vec<StoredObject> = objects(Form::Enhanced)
            .iter()
            .map(|object| StoredObject::parse(&object.bytes).unwrap())
            .collect();
        send(&receiver.destination, &objects).await.unwrap();
        let mut received: BTreeMap<String, StoredObject> = BTreeMap::new();
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let object = StoredObject::parse(&std::fs::read(entry.unwrap().path()).unwrap());
            let object = object.unwrap();
            received.insert(object.sop_instance_uid.clone(), object);
        }
        assert_eq!(received.len(), objects.len());
        assert!(objects.iter().all(|object| received[&object.sop_instance_uid] == *object));
    }
}

#[tokio::test]
async fn refusals_say_whose_move_it_is_and_whether_to_try_again() {
    let folder = Folder::new();
    let receiver = Receiver::start(&folder, &[]);
    receiver.ready().await;
    let mut object = StoredObject::parse(&objects(Form::Classic)[0].bytes).unwrap();
    object.sop_class_uid = "1.2.840.10008.5.1.4.1.1.66.7".to_owned();
    let good = StoredObject::parse(&objects(Form::Classic)[1].bytes).unwrap();
    let error = send(&receiver.destination, &[object.clone()]).await.unwrap_err();
    assert!(matches!(error, StoreError::Rejected { .. }) && !error.retry_can_help(), "{error}");
    let error = send(&receiver.destination, &[object, good]).await.unwrap_err();
    assert!(matches!(error, StoreError::Partly { refused: 1, of: 2, .. }), "{error}");
    assert!(!error.retry_can_help() && error.whose_move() == Move::Site, "{error}");
    let stored = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(stored, 1, "what it takes is there");

    let refusing = Receiver::start(&folder, &["--refuse"]);
    refusing.ready().await;
    let error = probe(&refusing.destination).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "{error}");

    let mut away = receiver.destination.clone();
    drop(receiver);
    let error = probe(&away).await.unwrap_err();
    assert!(matches!(error, StoreError::Connect { .. }) && error.retry_can_help(), "{error}");
    away.called_ae = "AN AE TITLE TOO LONG".to_owned();
    let error = probe(&away).await.unwrap_err();
    assert!(matches!(error, StoreError::AeTitle { .. }) && !error.retry_can_help(), "{error}");
}

/// A receiver that answers every C-STORE with `status`, on dicom-ul's acceptor.
async fn receiver_answering(status: u16) -> Destination {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let options = ServerAssociationOptions::new()
            .accept_any()
            .with_abstract_syntax("1.2.840.10008.5.1.4.1.1.4")
            .with_transfer_syntax("1.2.840.10008.1.2.1");
        let mut association = options.establish_async(socket).await.unwrap();
        let context = association.presentation_contexts()[0].id;
        let mut message = 0u16;
        while let Ok(Pdu::PData { data }) = association.receive().await {
            if !data.iter().any(|v| v.value_type == PDataValueType::Data && v.is_last) {
                continue;
            }
            message += 1;
            let fields =
                [(0x0100u16, 0x8001u16), (0x0120, message), (0x0800, 0x0101), (0x0900, status)];
            let element = |(element, value): (u16, u16)| {
                let [a, b] = element.to_le_bytes();
                let [c, d] = value.to_le_bytes();
                [0, 0, a, b, 2, 0, 0, 0, c, d]
            };
            let response = PDataValue {
                presentation_context_id: context,
                value_type: PDataValueType::Command,
                is_last: true,
                data: fields.into_iter().flat_map(element).collect(),
            };
            association.send(&Pdu::PData { data: vec![response] }).await.unwrap();
        }
        let _ = association.send(&Pdu::ReleaseRP).await;
    });
    Destination {
        name: "console".to_owned(),
        address,
        called_ae: "CONSOLE".to_owned(),
        calling_ae: "SAGITTA".to_owned(),
        tls: false,
        tls_name: None,
        profile: vec![OutputKind::DerivedMr],
    }
}

#[tokio::test]
async fn warnings_count_as_stored_and_failures_do_not() {
    let objects: Vec<StoredObject> = objects(Form::Classic)[..2]
        .iter()
        .map(|object| StoredObject::parse(&object.bytes).unwrap())
        .collect();
    // Success, coercion of data elements, duplicate instance.
    for status in [0x0000, 0xB000, 0x0111] {
        send(&receiver_answering(status).await, &objects).await.unwrap();
    }
    for (status, retry) in [(0xA700, true), (0xA900, false), (0xC000, false), (0x0122, false)] {
        let error = send(&receiver_answering(status).await, &objects).await.unwrap_err();
        assert!(matches!(error, StoreError::Status { status: s, .. } if s == status), "{error}");
        assert_eq!(error.retry_can_help(), retry, "{error}");
    }
}
