//! Our structured report, presentation state and label map as others see them: dciodvfy, highdicom, dcmqi, pydicom, DCMTK.
//! The patient is drawn, so every measure has a value somewhere.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "objects/fixture.rs"]
mod fixture;

use dicom_dictionary_std::tags;
use fixture::{Exam, Folder, dciodvfy, exam, made, provenance, python, tool};
use pipeline::Numbering;
use sagitta::dress::{Form, Vendor};
use sagitta::objects::{OutputKind, OutputObject, labelmap};

const SERIES: [(Vendor, Form); 4] = [
    (Vendor::Siemens, Form::Classic),
    (Vendor::Siemens, Form::Enhanced),
    (Vendor::Philips, Form::Classic),
    (Vendor::Ge, Form::Enhanced),
];

fn objects(exam: &Exam) -> Vec<OutputObject> {
    let mut objects =
        fixture::build(&exam.source, &exam.result, &provenance(), &made(), &[]).unwrap();
    objects.retain(|object| object.kind != OutputKind::DerivedMr);
    objects
}

#[test]
fn dciodvfy_and_dcmtk_find_no_error() {
    for (vendor, form) in SERIES {
        let exam = exam(vendor, form, Numbering::FromSacrum);
        let folder = Folder::new();
        folder.write(&objects(&exam));
        for name in ["sr-measurements.dcm", "gsps.dcm"] {
            assert_eq!(dciodvfy(&folder.file(name)), Vec::<String>::new(), "{vendor:?} {form:?}");
        }
        let report = folder.file("sr-measurements.dcm");
        // Long texts whole, not cut to a line.
        for (program, whole) in [("dsrdump", "+Pl"), ("dsr2html", "+Rd")] {
            let output = tool(program, "dcmtk", &[whole, report.to_str().unwrap()]);
            let complaints = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && complaints.is_empty(), "{program}: {complaints}");
            let printed = String::from_utf8_lossy(&output.stdout);
            for words in ["not for diagnostic use", "L4 vertebra", "Lordosis L1 to S1"] {
                assert!(printed.contains(words), "{program} does not show {words}");
            }
        }
        let state = folder.file("gsps.dcm");
        let output = tool("dcmpschk", "dcmtk", &[state.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("Test passed") && !said.contains("E: "), "{said}");
    }
}

/// Compares every measurement group of the report with the measures of `report.json`; prints `groups values missing`.
const HIGHDICOM: &str = r#"
import sys, json, pydicom, highdicom as hd
folder, verified = sys.argv[1], sys.argv[2] == "true"
measures = json.load(open(f"{folder}/measures.json"))
sr = hd.sr.srread(f"{folder}/sr-measurements.dcm")
levels = hd.seg.segread(f"{folder}/seg-instances.dcm")
structures = hd.seg.segread(f"{folder}/seg.dcm")
assert (sr.CompletionFlag, sr.VerificationFlag, sr.PreliminaryFlag) == ("COMPLETE", "UNVERIFIED", "PRELIMINARY")
report = sr.content

BODY = dict(HEIGHT_ANTERIOR="anterior_height_mm", HEIGHT_MIDDLE="middle_height_mm", HEIGHT_POSTERIOR="posterior_height_mm",
            DEPTH="depth_mm", WEDGE="wedge", BICONCAVITY="biconcavity", HEIGHT_LOSS="height_loss")
BODY["118565006"] = "volume_ml"
STEP = dict(SLIP="slip_mm", SLIP_PERCENT="slip_percent")
DISC = dict(HEIGHT="height_mm", HEIGHT_ANTERIOR="anterior_height_mm", HEIGHT_POSTERIOR="posterior_height_mm",
            DEPTH="depth_mm", HEIGHT_INDEX="height_index", BULGE="bulge_mm")
CANAL = dict(SAC_AREA="sac_area_mm2", SAC_DEPTH="sac_depth_mm", CORD_AREA="cord_area_mm2")
CURVE = dict(LORDOSIS_L1_S1="lordosis_l1_s1_deg", LORDOSIS_L1_L5="lordosis_l1_l5_deg", KYPHOSIS="kyphosis_deg",
             CORONAL_COBB="coronal_cobb_deg")
UNITS = dict(mm="mm", mm2="mm2", deg="deg", percent="%", ml="mm3")
totals = [0, 0, 0]

def texts(group, code):
    return [item.TextValue for item in group if item.ValueType == "TEXT" and item.name.value == code]

def compare(group, items, *tables):
    """Every measure is there with its value, or is named with its reason."""
    found = {m.name.value: m for m in group.get_measurements()}
    told = "; ".join(texts(items, "NOT_MEASURABLE"))
    want = {code: part[field] for table, part in tables for code, field in table.items()}
    fields = {code: field for table, part in tables for code, field in table.items()}
    assert set(found) <= set(want), found.keys() - want.keys()
    for code, measured in want.items():
        if "value" in measured:
            got, field = found[code], fields[code]
            scale = 1000.0 if field == "volume_ml" else 1.0
            assert abs(got.value - measured["value"] * scale) <= 1e-9 * max(1, abs(got.value)), (code, got.value, measured)
            unit = next((u for end, u in UNITS.items() if field.endswith("_" + end)), "%" if "percent" in field else "1")
            assert got.unit.value == unit and got.unit.scheme_designator == "UCUM", (code, got.unit)
            (confidence,) = [i for i in got[0].ContentSequence if i.ValueType == "NUM"]
            number = confidence.MeasuredValueSequence[0].FloatingPointValue
            assert abs(number - measured["confidence"]) < 1e-12
            totals[1] += 1
        else:
            assert code not in found and ": " + measured["not_measurable"] in told, (code, measured, told)
            totals[2] += 1
    totals[0] += 1

def one(groups, name):
    match = [g for g in groups if g.tracking_identifier == name]
    assert len(match) == 1, (name, [g.tracking_identifier for g in groups])
    return match[0]

def name(id):
    return {**{n: f"C{n}" for n in range(1, 8)}, **{n + 7: f"T{n}" for n in range(1, 13)},
            **{n + 19: f"L{n}" for n in range(1, 7)}}[id]

volumes = report.get_volumetric_roi_measurement_groups()
for vertebra in measures["vertebrae"]:
    id = vertebra["id"]
    level = f"{name(id)} vertebra" if verified else f"Vertebra {id} (level unverified)"
    disc = f"Disc below {name(id)}" if verified else f"Disc below vertebra {id} (level unverified)"
    parts = [(level, levels, [(BODY, vertebra["body"]), (STEP, vertebra["alignment"])])]
    if any("value" in m for m in vertebra["disc"].values()):
        parts.append((disc, levels, [(DISC, vertebra["disc"])]))
        parts.append((f"Canal behind {disc}", structures, [(CANAL, vertebra["canal_at_disc"])]))
    parts.append((f"Canal behind {level}", structures, [(CANAL, vertebra["canal_at_body"])]))
    for tracking, seg, tables in parts:
        group = one(volumes, tracking)
        items = group[0].ContentSequence
        compare(group, items, *tables)
        reference = group.referenced_segment
        assert reference.referenced_sop_instance_uid == seg.SOPInstanceUID, tracking
        segment = seg.get_segment_description(reference.referenced_segment_numbers[0])
        assert group.finding_type.value == segment.segmented_property_type.value, tracking
        if not tracking.startswith("Canal"):
            assert (segment.tracking_id, segment.tracking_uid) == (tracking, group.tracking_uid)
        numbering = [e.value.value for e in group.get_qualitative_evaluations() if e.name.value == "NUMBERING"]
        assert numbering == ["FROM_SACRUM" if verified else "UNVERIFIED"], numbering
        grades = [e.value.meaning for e in group.get_qualitative_evaluations() if e.name.value == "COMPRESSION"]
        grade = vertebra["body"]["compression"] if tables[0][0] is BODY else None
        assert grades == ([grade.capitalize()] if grade else []), (grades, grade)
(curves,) = report.get_image_measurement_groups()
compare(curves, curves[0].ContentSequence, (CURVE, measures["curvature"]))
uids = [g.tracking_uid for g in volumes + [curves]]
assert len(set(uids)) == len(uids)

def every(items, kind):
    for item in items:
        if item.ValueType == kind:
            yield item
        yield from every(item.get("ContentSequence", []), kind)

evidence = {i.ReferencedSOPInstanceUID for s in sr.CurrentRequestedProcedureEvidenceSequence
            for e in s.ReferencedSeriesSequence for i in e.ReferencedSOPSequence}
used = {i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in every(sr.ContentSequence, "IMAGE")}
assert used == evidence and set(open(f"{folder}/source.uids").read().split()) < used
words = [item.TextValue for item in every(sr.ContentSequence, "TEXT")]
assert any("not for diagnostic use" in w for w in words) and any("weights-sha256=" in w for w in words)
print(*totals)
"#;

#[test]
fn highdicom_reads_the_measures_of_our_report() {
    let mut totals = [0; 3];
    for (n, (vendor, form)) in SERIES.into_iter().enumerate() {
        let numbering = if n == 1 { Numbering::Unverified } else { Numbering::FromSacrum };
        let exam = exam(vendor, form, numbering);
        let folder = Folder::new();
        folder.write(&objects(&exam));
        let measures = serde_json::to_vec(&exam.result.measures).unwrap();
        std::fs::write(folder.file("measures.json"), measures).unwrap();
        let uids: Vec<&str> =
            exam.source.instances.iter().map(|i| i.sop_instance_uid.as_str()).collect();
        std::fs::write(folder.file("source.uids"), uids.join("\n")).unwrap();
        let verified = numbering.is_verified().to_string();
        let printed = python(HIGHDICOM, &[folder.path().to_str().unwrap(), &verified]);
        for (total, found) in totals.iter_mut().zip(printed.split_whitespace()) {
            *total += found.parse::<usize>().unwrap();
        }
    }
    let [groups, values, missing] = totals;
    println!("groups {groups} values {values} not measurable {missing}");
    assert!(groups > 60 && values > 300 && missing > 10, "{totals:?}: too easy");
}

/// Compares what dcmqi reads with what highdicom reads: measures by tracking UID and code, and the segments they refer to.
const DCMQI: &str = r#"
import sys, json, pathlib, subprocess, highdicom as hd
folder = pathlib.Path(sys.argv[1])
reader = pathlib.Path(sys.executable).parent / "tid1500reader"
report, read = folder / "sr-measurements.dcm", folder / "dcmqi.json"
subprocess.run([reader, "--inputDICOM", report, "--outputMetadata", read], check=True, stdout=subprocess.DEVNULL)
read = json.loads(read.read_text())
theirs = {}
for group in read["Measurements"]:
    for item in group.get("measurementItems", []):
        key = group["TrackingUniqueIdentifier"], item["quantity"]["CodeValue"]
        theirs[key] = float(item["value"]), item["units"]["CodeValue"], group.get("ReferencedSegment")
content, ours = hd.sr.srread(report).content, {}
for group in content.get_volumetric_roi_measurement_groups():
    for item in group.get_measurements():
        segment = group.referenced_segment.referenced_segment_numbers[0]
        ours[group.tracking_uid, item.name.value] = item.value, item.unit.value, segment
for group in content.get_image_measurement_groups():
    for item in group.get_measurements():
        ours[group.tracking_uid, item.name.value] = item.value, item.unit.value, None
assert theirs.keys() == ours.keys(), theirs.keys() ^ ours.keys()
for key, (value, *rest) in ours.items():
    assert abs(theirs[key][0] - value) <= 1e-9 * max(1, abs(value)) and list(theirs[key][1:]) == rest, (key, theirs[key])
assert read["SeriesDescription"].startswith("AI measurements") and len(ours) > 100, len(ours)
"#;

#[test]
fn dcmqi_reads_the_same_measures() {
    let exam = exam(Vendor::Siemens, Form::Classic, Numbering::FromSacrum);
    let folder = Folder::new();
    folder.write(&objects(&exam));
    python(DCMQI, &[folder.path().to_str().unwrap()]);
}

/// Fills the outlines of every layer on every image and compares them with the masks; prints the number of pixels.
const PYDICOM: &str = r#"
import sys, numpy as np, pydicom
folder, columns, rows, slices = sys.argv[1], *map(int, sys.argv[2:5])
state = pydicom.dcmread(f"{folder}/gsps.dcm")
structure = np.fromfile(f"{folder}/semantic.raw", np.uint8).reshape(slices, rows, columns)
instance = np.fromfile(f"{folder}/instances.raw", np.uint16).reshape(slices, rows, columns)
order = {line: k for k, line in enumerate(open(f"{folder}/images").read().split())}
masks = dict(VERTEBRAE=structure == 49, DISCS=structure == 100, SACRUM=structure == 26)
layers = [item.GraphicLayer for item in state.GraphicLayerSequence]
assert layers == ["VERTEBRAE", "DISCS", "SACRUM", "LEVELS", "NOTICE"], layers
assert len({tuple(i.GraphicLayerRecommendedDisplayCIELabValue) for i in state.GraphicLayerSequence}) == len(layers)
drawn = {layer: np.zeros(mask.shape, bool) for layer, mask in masks.items()}
listed = {i.ReferencedSOPInstanceUID for i in state.ReferencedSeriesSequence[0].ReferencedImageSequence}
names = notices = 0
for annotation in state.GraphicAnnotationSequence:
    if annotation.GraphicLayer == "NOTICE":
        assert "ReferencedImageSequence" not in annotation
        assert "not for diagnostic use" in annotation.TextObjectSequence[0].UnformattedTextValue
        notices += 1
        continue
    (image,) = annotation.ReferencedImageSequence
    assert image.ReferencedSOPInstanceUID in listed
    k = order[f"{image.ReferencedSOPInstanceUID}#{image.get('ReferencedFrameNumber', 0)}"]
    for graphic in annotation.get("GraphicObjectSequence", []):
        points = np.reshape(graphic.GraphicData, (-1, 2))
        assert len(points) == graphic.NumberOfGraphicPoints and (points[0] == points[-1]).all()
        fill = np.zeros((rows, columns), bool)
        for (x0, y0), (x1, y1) in zip(points, points[1:]):
            if x0 == x1:
                fill[int(min(y0, y1)):int(max(y0, y1)), int(x0):] ^= True
        drawn[annotation.GraphicLayer][k] ^= fill
    for label in annotation.get("TextObjectSequence", []):
        x, y = label.AnchorPoint
        shown = instance[k] * (masks["VERTEBRAE"][k] | masks["SACRUM"][k])
        name = {20: "L1", 21: "L2", 22: "L3", 23: "L4", 24: "L5", 26: "S1", **{n + 7: f"T{n}" for n in range(1, 13)}}
        value = [v for v, text in name.items() if text == label.UnformattedTextValue]
        rr, cc = np.nonzero(shown == value[0])
        assert abs(cc.mean() + 0.5 - x) < 1e-3 and abs(rr.mean() + 0.5 - y) < 1e-3, (label, x, y)
        names += 1
for layer, mask in masks.items():
    assert np.array_equal(drawn[layer], mask), layer
assert notices == 1 and names > 20
print(sum(int(m.sum()) for m in masks.values()), names)
"#;

#[test]
fn pydicom_fills_our_outlines_to_the_pixels_of_the_masks() {
    for (vendor, form) in SERIES {
        let exam = exam(vendor, form, Numbering::FromSacrum);
        let folder = Folder::new();
        folder.write(&objects(&exam));
        std::fs::write(folder.file("semantic.raw"), exam.result.semantic.voxels()).unwrap();
        let instances: Vec<u8> =
            exam.result.instances.voxels().iter().flat_map(|v| v.to_le_bytes()).collect();
        std::fs::write(folder.file("instances.raw"), instances).unwrap();
        let images: Vec<String> = exam
            .source
            .series
            .sources
            .iter()
            .map(|&at| {
                let frame = exam.source.frames[at];
                let uid = &exam.source.instances[frame.instance].sop_instance_uid;
                format!("{uid}#{}", frame.frame.unwrap_or(0))
            })
            .collect();
        std::fs::write(folder.file("images"), images.join("\n")).unwrap();
        let counts = exam.result.semantic.dims().counts().map(|n| n.to_string());
        let [columns, rows, slices] = &counts;
        let printed = python(PYDICOM, &[folder.path().to_str().unwrap(), columns, rows, slices]);
        println!("{vendor:?} {form:?}: pixels, names {}", printed.trim());
    }
}

/// Both forms of the structures hold the same voxels at the same places, and name the same segments.
const LABELMAP: &str = r#"
import sys, numpy as np, highdicom as hd
labels, binary = (hd.seg.segread(f"{sys.argv[1]}/{name}.dcm") for name in ("seg-labelmap", "seg"))
assert (labels.SegmentationType, binary.SegmentationType) == ("LABELMAP", "BINARY")
assert list(labels.segment_numbers) == list(binary.segment_numbers)
a, b = (seg.get_volume(combine_segments=False) for seg in (labels, binary))
assert np.array_equal(a.array, b.array) and np.allclose(a.affine, b.affine, atol=1e-6)
for number in labels.segment_numbers:
    a, b = (seg.get_segment_description(number) for seg in (labels, binary))
    assert (a.tracking_uid, a.segment_label, a.segmented_property_type) == \
        (b.tracking_uid, b.segment_label, b.segmented_property_type)
"#;

#[test]
fn highdicom_reads_the_same_voxels_from_the_label_map() {
    for (vendor, form) in [SERIES[1], SERIES[2]] {
        let exam = exam(vendor, form, Numbering::FromSacrum);
        let folder = Folder::new();
        let labels = labelmap(&exam.source, &exam.result, &provenance(), &made());
        folder.write(&[labels.unwrap().unwrap()]);
        folder.write(&objects(&exam));
        python(LABELMAP, &[folder.path().to_str().unwrap()]);
    }
}

/// What DCMTK shows of the source through our presentation state is the decoded volume under the state's window: the
/// rescaling of the source, which comes before the window, is not lost.
#[test]
fn dcmtk_shows_the_source_through_our_presentation_state() {
    let mut rescaled = 0;
    for (vendor, form) in SERIES {
        let exam = exam(vendor, form, Numbering::FromSacrum);
        let folder = Folder::new();
        folder.write(&objects(&exam));
        // The file and frame of the middle slice.
        let slice = exam.result.semantic.dims().counts()[2] / 2;
        let frame = exam.source.frames[exam.source.series.sources[slice]];
        std::fs::write(folder.file("source.dcm"), &exam.files[frame.instance].bytes).unwrap();
        let number = frame.frame.unwrap_or(1).to_string();
        let [state, source, picture] =
            ["gsps.dcm", "source.dcm", "out.pgm"].map(|name| folder.file(name));
        let paths = [&state, &source, &picture].map(|path| path.to_str().unwrap());
        let arguments = ["-p", paths[0], "-f", &number, paths[1], paths[2]];
        let output = tool("dcmp2pgm", "dcmtk", &arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("E: "), "{vendor:?} {form:?}: {said}");

        let state = dicom_object::open_file(&state).unwrap();
        rescaled += usize::from(state.get(tags::RESCALE_SLOPE).is_some());
        let window = &state.element(tags::SOFTCOPY_VOILUT_SEQUENCE).unwrap().items().unwrap()[0];
        let number = |tag| window.element(tag).unwrap().to_float64().unwrap();
        let [centre, width] = [tags::WINDOW_CENTER, tags::WINDOW_WIDTH].map(number);
        let voxels = exam.source.series.volume.slice(slice);
        let shown = std::fs::read(&picture).unwrap();
        let grey = &shown[shown.len() - voxels.len()..];
        let off = voxels.iter().zip(grey).map(|(&value, &grey)| {
            // PS3.3 C.11.2.1.2.1.
            let share = (f64::from(value) - (centre - 0.5)) / (width - 1.0) + 0.5;
            (share.clamp(0.0, 1.0) * 255.0 - f64::from(grey)).abs()
        });
        let worst = off.fold(0.0, f64::max);
        println!("{vendor:?} {form:?}: window {centre} {width}, worst {worst:.2} of 255");
        assert!(worst < 3.0, "{vendor:?} {form:?}: off by {worst} of 255");
    }
    assert!(rescaled > 0, "no series of the test is rescaled");
}
