"""Checks what the console got of one exam against its source, with readers that are not ours.

Usage: check_exam.py SOURCE.nii.gz SERIES_DIR CONSOLE_DIR RESULT_DIR
SOURCE was dressed as the DICOM series in SERIES_DIR, which was sent; CONSOLE_DIR holds what came back (of many exams),
RESULT_DIR the masks as NIfTI and report.json. Prints one JSON object with the files of this exam by kind; any difference
is an error.
Needs nibabel, numpy, pydicom, highdicom and the program dcm2niix.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import highdicom
import nibabel
import numpy
import pydicom

TOLERANCE_MM = 1e-3
# The instance mask holds endplates (200 + level) too; the SEG of levels has vertebrae and discs only.
FIRST_ENDPLATE = 200
LPS_TO_RAS = numpy.diag([-1.0, -1.0, 1.0, 1.0])


def canonical(array, ras_affine):
    """Array and affine with axes towards right, anterior, superior, so that storage orders can be compared."""
    return nibabel.as_closest_canonical(nibabel.Nifti1Image(array, ras_affine))


def same_grid(name, ours, theirs):
    """Both images fill the same space with the same voxels."""
    assert ours.shape[:3] == theirs.shape[:3], f"{name}: {ours.shape} against {theirs.shape}"
    worst = numpy.abs(ours.affine - theirs.affine).max()
    assert worst <= TOLERANCE_MM, f"{name}: affines differ by {worst} mm"


def load(path):
    """A label map with its axes put in order."""
    image = nibabel.load(path)
    return canonical(numpy.asarray(image.dataobj).astype(numpy.uint16), image.affine)


def mask(folder, kind):
    found = sorted(folder.glob(f"*_seg-{kind}_msk.nii.gz"))
    assert len(found) == 1, f"{len(found)} {kind} masks"
    return load(found[0])


def check_geometry(source, series_dir, spine):
    """Original NIfTI, dcm2niix of what was sent, and our mask are one grid."""
    original = nibabel.as_closest_canonical(nibabel.load(source))
    with tempfile.TemporaryDirectory() as folder:
        command = ["dcm2niix", "-b", "n", "-z", "n", "-f", "sent", "-o", folder, str(series_dir)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        converted = sorted(pathlib.Path(folder).glob("*.nii"))
        assert len(converted) == 1, f"dcm2niix made {len(converted)} files"
        converted = nibabel.as_closest_canonical(nibabel.load(converted[0]))
        same_grid("dcm2niix and the original", converted, original)
        same_grid("dcm2niix and our mask", converted, spine)


def check_seg(path, expected, places):
    """The SEG is the mask, voxel for voxel, and its planes lie on slices of the source."""
    seg = highdicom.seg.segread(path)
    volume = seg.get_volume(combine_segments=False)
    labels = numpy.unique(numpy.asarray(expected.dataobj))
    labels = labels[(labels != 0) & ~((labels > FIRST_ENDPLATE) & (labels < 300))]
    assert seg.number_of_segments == len(labels), f"{seg.number_of_segments} segments of {len(labels)}"
    ours = numpy.asarray(expected.dataobj)
    for segment, label in enumerate(labels):
        array = numpy.ascontiguousarray(volume.array[..., segment]).astype(numpy.uint8)
        theirs = canonical(array, LPS_TO_RAS @ volume.affine)
        shape = theirs.shape  # planes without any segment at either end are left out
        assert theirs.dataobj.any(), f"segment {segment + 1} is empty"
        count = int(numpy.count_nonzero(ours == label))
        assert int(numpy.count_nonzero(theirs.dataobj)) == count, f"label {label}: counts differ"
        offset = numpy.linalg.inv(expected.affine) @ theirs.affine[:, 3]
        start = numpy.rint(offset[:3]).astype(int)
        moved = expected.affine @ numpy.append(start, 1.0)
        assert numpy.abs(moved - theirs.affine[:, 3]).max() <= TOLERANCE_MM, "the SEG is off the grid"
        part = ours[tuple(slice(a, a + n) for a, n in zip(start, shape))]
        assert numpy.array_equal(part == label, numpy.asarray(theirs.dataobj) > 0), f"label {label} moved"
    for frame in seg.PerFrameFunctionalGroupsSequence:
        on_a_slice(frame.PlanePositionSequence[0].ImagePositionPatient, places)


def on_a_slice(position, places):
    distance = numpy.abs(places - numpy.array(position, float)).max(axis=1).min()
    assert distance <= TOLERANCE_MM, f"a plane lies {distance} mm beside the source's"


def source_places(files):
    """Image Position of every slice, classic or enhanced."""
    places = []
    for path in files:
        data = pydicom.dcmread(path, stop_before_pixels=True)
        groups = data.get("PerFrameFunctionalGroupsSequence")
        frames = [group.PlanePositionSequence[0] for group in groups] if groups else [data]
        places += [[float(v) for v in frame.ImagePositionPatient] for frame in frames]
    return numpy.array(places)


def check_derived(paths, places, spine):
    """One derived MR image a slice, at its place, holding the mask's values."""
    assert len(paths) == len(places), f"{len(paths)} derived images of {len(places)} slices"
    counts = numpy.zeros(1 << 12, int)
    seen = set()
    for path in paths:
        data = pydicom.dcmread(path)
        position = [float(v) for v in data.ImagePositionPatient]
        on_a_slice(position, places)
        seen.add(int(numpy.abs(places - position).max(axis=1).argmin()))
        counts += numpy.bincount(data.pixel_array.ravel(), minlength=counts.size)
    assert len(seen) == len(places), "two derived images lie on one slice"
    expected = numpy.bincount(numpy.asarray(spine.dataobj).ravel(), minlength=counts.size)
    assert numpy.array_equal(counts, expected), "the derived series is not the mask"


# Codes of the report and the fields of report.json that they must equal.
BODY = {
    "HEIGHT_ANTERIOR": "anterior_height_mm",
    "HEIGHT_MIDDLE": "middle_height_mm",
    "HEIGHT_POSTERIOR": "posterior_height_mm",
    "HEIGHT_LOSS": "height_loss",
}


def check_report(path, report):
    """The structured report has the numbers of report.json, and none where that has none."""
    groups = highdicom.sr.srread(path).content.get_volumetric_roi_measurement_groups()
    values = {g.tracking_identifier: {m.name.value: m.value for m in g.get_measurements()} for g in groups}
    for vertebra in report["vertebrae"]:
        unverified = f"Vertebra {vertebra['id']} (level unverified)"
        name = f"{vertebra['level']} vertebra" if vertebra["level"] else unverified
        for code, field in BODY.items():
            want = vertebra["measures"]["body"][field].get("value")
            got = values[name].get(code)
            assert (got is None) == (want is None), f"{name}, {code}: {got} instead of {want}"
            assert want is None or abs(got - want) <= 1e-9 * max(1.0, abs(want)), f"{name}, {code}: {got}, {want}"


def check_outlines(path, sent):
    """The presentation state draws on the images that were sent, and on no others."""
    state = pydicom.dcmread(path)
    images = {pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID for file in sent}
    (series,) = state.ReferencedSeriesSequence
    assert {image.ReferencedSOPInstanceUID for image in series.ReferencedImageSequence} == images
    assert any("GraphicObjectSequence" in item for item in state.GraphicAnnotationSequence), "no outline"


def of_study(console_dir, study):
    """The console's files of one study, by modality and SEG content."""
    kinds = {"MR": [], "OT": [], "SEG": [], "SR": [], "PR": []}
    for path in sorted(console_dir.iterdir()):
        data = pydicom.dcmread(path, stop_before_pixels=True)
        if data.StudyInstanceUID == study:
            kinds.setdefault(data.Modality, []).append(path)
    return kinds


def main():
    source, series_dir, console_dir, result_dir = map(pathlib.Path, sys.argv[1:])
    sent = sorted(series_dir.iterdir())
    study = pydicom.dcmread(sent[0], stop_before_pixels=True).StudyInstanceUID
    places = source_places(sent)
    spine, vertebrae = mask(result_dir, "spine"), mask(result_dir, "vert")
    check_geometry(source, series_dir, spine)
    kinds = of_study(console_dir, study)
    assert len(kinds["SEG"]) == 2, f"{len(kinds['SEG'])} SEG objects"
    for path in kinds["SEG"]:
        label = pydicom.dcmread(path, stop_before_pixels=True).ContentLabel
        check_seg(path, {"SPINE_STRUCTURES": spine, "SPINE_LEVELS": vertebrae}[label], places)
    check_derived(kinds["MR"], places, spine)
    (report,), (outlines,) = kinds["SR"], kinds["PR"]
    check_report(report, json.loads((result_dir / "report.json").read_text()))
    check_outlines(outlines, sent)
    captures = kinds["OT"]
    assert len(captures) == len(places), f"{len(captures)} captures of {len(places)} slices"
    for path in captures:
        data = pydicom.dcmread(path)
        assert data.pixel_array.shape[-1] == 3 and data.BurnedInAnnotation == "YES", "no RGB capture"
    names = {"seg": kinds["SEG"], "report": kinds["SR"], "outlines": kinds["PR"], "derived": kinds["MR"]}
    names["capture"] = captures
    print(json.dumps({kind: [str(path) for path in paths] for kind, paths in names.items()}))


if __name__ == "__main__":
    try:
        main()
    except AssertionError as error:
        sys.exit(f"check_exam: {error}")
