"""Makes bad series out of a good one, each in a folder of its own and with UIDs of its own.

Usage: make_bad.py GOOD_SERIES_DIR OUT_DIR
GOOD_SERIES_DIR holds a classic sagittal MR series. The vendor's private counts are removed, so that a bad series is
judged by what is there; `counted_gap` keeps them. Also writes NIfTI files without affine and without a voxel.
Needs pydicom, nibabel, numpy.
"""

import copy
import pathlib
import sys

import nibabel
import numpy
import pydicom
from pydicom.uid import CTImageStorage, generate_uid

AXIAL = [1, 0, 0, 0, 1, 0]


def missing_geometry(slices):
    for data in slices:
        del data.ImagePositionPatient
    return slices


def mixed_orientations(slices):
    for data in slices[len(slices) // 2 :]:
        data.ImageOrientationPatient = AXIAL
    return slices


def axial(slices):
    for number, data in enumerate(slices):
        data.ImageOrientationPatient = AXIAL
        data.ImagePositionPatient = [0, 0, 4 * number]
    return slices


def three_slices(slices):
    return slices[:3]


def lossy(slices):
    for data in slices:
        data.LossyImageCompression = "01"
        data.LossyImageCompressionRatio = 10
    return slices


def gap(slices):
    middle = len(slices) // 2
    return slices[:middle] + slices[middle + 1 :]


def duplicate_slice(slices):
    twin = copy.deepcopy(slices[-1])
    slices[-2].ImagePositionPatient = twin.ImagePositionPatient
    return slices


def wrong_class(slices):
    for data in slices:
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = CTImageStorage
        data.Modality = "CT"
    return slices


def localizer(slices):
    for data in slices:
        data.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    return slices


def counted_gap(slices):
    return gap(slices)


KINDS = [missing_geometry, mixed_orientations, axial, three_slices, lossy, gap, duplicate_slice]
KINDS += [wrong_class, localizer, counted_gap]


def write(kind, good, out):
    slices = kind([copy.deepcopy(data) for data in good])
    series = generate_uid()
    folder = out / kind.__name__
    folder.mkdir()
    for number, data in enumerate(slices):
        if kind is not counted_gap:
            data.remove_private_tags()
            data.pop("ImagesInAcquisition", None)
        data.SeriesInstanceUID = series
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        data.save_as(folder / f"{number:04}.dcm")


def main():
    good_dir, out = map(pathlib.Path, sys.argv[1:])
    good = [pydicom.dcmread(path) for path in sorted(good_dir.iterdir())]
    for kind in KINDS:
        write(kind, good, out)
    whole = sorted(good_dir.iterdir())[0].read_bytes()
    for name, content in [("truncated", whole[: len(whole) // 2]), ("not_dicom", b"a letter\n")]:
        (out / name).mkdir()
        (out / name / "0000.dcm").write_bytes(content)
    no_affine = nibabel.Nifti1Image(numpy.ones((64, 64, 12), numpy.int16), None)
    no_affine.header.set_qform(None, 0)
    no_affine.header.set_sform(None, 0)
    nibabel.save(no_affine, out / "no_affine.nii.gz")
    (out / "not_nifti.nii").write_bytes(b"a letter\n")


if __name__ == "__main__":
    main()
