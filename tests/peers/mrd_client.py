"""A scanner that sends a DICOM series by MRD and looks at what comes back, with the public package `ismrmrd`.

Usage: mrd_client.py PORT FOLDER MASK.nii.gz   the series, then one image of another before the results are there
       mrd_client.py PORT FOLDER axial         the series turned into an axial one
       mrd_client.py PORT FOLDER plain         the series without attributes, not asking for it back
MASK is what `sagitta segment` made of FOLDER. Prints what came back as JSON. Needs ismrmrd, nibabel, numpy and pydicom.
"""

import base64
import json
import pathlib
import socket
import struct
import sys
import threading

import ismrmrd
import nibabel
import numpy
import pydicom

CONFIG_FILE, METADATA, CLOSE, TEXT, IMAGE = 1, 3, 4, 5, 1022
# What a scanner writes and must find again.
KEPT = {
    "IceMiniHead": base64.b64encode(b'<ParamBool."BIsSeriesEnd"> { }').decode(),
    "ScannerOnly": ["Größe < 5 & > 3", "", "third"],
}
# What is the source's alone.
DROPPED = {"ROI_old": ["1", "0", "0", "1", "0", "1", "5", "5"], "RescaleSlope": "2", "DataRole": "Image"}


class Scanner:
    """The client's side of a connection; what comes is read beside what is sent."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.texts, self.images, self.closed = [], [], False
        self.report_came = threading.Event()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def exactly(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def read(self):
        try:
            while True:
                (number,) = struct.unpack("<H", self.exactly(2))
                if number == TEXT:
                    (length,) = struct.unpack("<I", self.exactly(4))
                    self.texts.append(self.exactly(length).rstrip(b"\0").decode())
                elif number == IMAGE:
                    self.image()
                elif number == CLOSE:
                    self.closed = True
                else:
                    raise ValueError(f"message {number}")
        except EOFError:
            self.report_came.set()

    def image(self):
        raw = []

        def recorded(count):
            raw.append(self.exactly(count))
            return raw[-1]

        image = ismrmrd.Image.deserialize_from(recorded)
        self.images.append((image, b"".join(raw)))
        if "SAGITTA_REPORT" in image.meta.get("SeriesDescriptionAdditional", ""):
            self.report_came.set()

    def open(self, parameters):
        self.socket.sendall(struct.pack("<H1024s", CONFIG_FILE, b"sagitta"))
        self.text(METADATA, "Dummy XML header")
        self.text(TEXT, json.dumps({"version": "1.1.0", "parameters": parameters}))

    def text(self, number, text):
        data = text.encode() + b"\0"
        self.socket.sendall(struct.pack("<HI", number, len(data)) + data)

    def send(self, images):
        for image in images:
            self.socket.sendall(struct.pack("<H", IMAGE) + image.to_bytes())

    def finish(self):
        self.socket.sendall(struct.pack("<H", CLOSE))
        self.reader.join(120)
        assert not self.reader.is_alive(), f"nothing closed the connection; {len(self.images)} images, {self.texts}"
        self.socket.close()


def from_dicom(path, number, what):
    """One slice as a scanner's reconstruction emits it."""
    dicom = pydicom.dcmread(path)
    pixels = dicom.pixel_array
    row, column = numpy.reshape(numpy.array(dicom.ImageOrientationPatient, float), (2, 3))
    position = numpy.array(dicom.ImagePositionPatient, float)
    dy, dx = (float(spacing) for spacing in dicom.PixelSpacing)
    rows, columns = pixels.shape
    centre = position + row * dx * (columns - 1) / 2 + column * dy * (rows - 1) / 2
    normal = numpy.cross(row, column)
    if what == "axial":
        # The same slices behind one another along the body.
        centre, row, column, normal = [0, 0, centre @ normal], [1, 0, 0], [0, 1, 0], [0, 0, 1]
    header = ismrmrd.ImageHeader()
    header.version, header.measurement_uid, header.image_type, header.image_series_index = 1, 4711, 1, 1
    header.field_of_view = (dx * columns, dy * rows, float(dicom.SliceThickness))
    header.position, header.slice_dir = tuple(centre), tuple(normal)
    header.read_dir, header.phase_dir = tuple(row), tuple(column)
    header.slice, header.image_index, header.user_float[3] = number, number + 1, 0.5
    image = ismrmrd.Image(head=header, data=pixels.astype(numpy.uint16)[None, None])
    if what != "plain":
        # Turned since it was acquired: the attributes tell how it lies.
        image.read_dir, image.phase_dir = tuple(column), tuple(row)
        directions = {"ImageRowDir": row, "ImageColumnDir": column}
        written = {name: [f"{value:.18f}" for value in vector] for name, vector in directions.items()}
        image.meta = ismrmrd.Meta({**KEPT, **DROPPED, **written})
    return image


def place(image):
    """All of a header and its attributes that tells where an image lies and which one it is."""
    fields = ["measurement_uid", "position", "read_dir", "phase_dir", "slice_dir", "patient_table_position"]
    head = image.getHead()
    values = [getattr(head, name) for name in fields]
    values = [value if isinstance(value, int) else list(value) for value in values]
    attributes = [image.meta[name] for name in ("ImageRowDir", "ImageColumnDir")]
    return [*values, head.slice, head.image_index, list(head.user_float), *attributes]


def same_places(results, images):
    size = [list(image.getHead().field_of_view) for image in images]
    same = [list(image.getHead().field_of_view) for image in results] == size
    return same and [place(image) for image in results] == [place(image) for image in images]


def against_mask(labels, path):
    """Voxels of the label images that are not those of the mask at the same place, and labelled ones."""
    mask = nibabel.load(path)
    values, to_index = numpy.asarray(mask.dataobj), numpy.linalg.inv(mask.affine)
    differing = labelled = 0
    for image in labels:
        head, data = image.getHead(), image.data[0, 0]
        rows, columns = data.shape
        row, column = (numpy.array(image.meta[name], float) for name in ("ImageRowDir", "ImageColumnDir"))
        dx, dy = head.field_of_view[0] / columns, head.field_of_view[1] / rows
        j, i = numpy.mgrid[:rows, :columns]
        offset = (i - (columns - 1) / 2)[..., None] * dx * row + (j - (rows - 1) / 2)[..., None] * dy * column
        world = (numpy.array(head.position) + offset) * [-1, -1, 1]
        index = world @ to_index[:3, :3].T + to_index[:3, 3]
        assert numpy.abs(index - index.round()).max() < 0.01, "pixels lie between voxels"
        there = values[tuple(index.round().astype(int).reshape(-1, 3).T)].reshape(rows, columns)
        differing += int((there != data).sum())
        labelled += int((data != 0).sum())
    return {"differing": differing, "labelled": labelled}


def contours(images):
    found = [value for image in images for name, value in image.meta.items() if name.startswith("ROI_")]
    points = [numpy.array(value[6:], float).reshape(-1, 2) for value in found]
    rows, columns = images[0].data.shape[-2:]
    inside = [(-0.5 <= list_).all() and (list_ <= [rows - 0.5, columns - 0.5]).all() for list_ in points]
    return {
        "many": len(found) > len(images),
        "most_points_ok": max(map(len, points)) <= 64,
        "closed": all((list_[0] == list_[-1]).all() for list_ in points),
        "inside": bool(all(inside)),
        "solid_visible": all(value[3:6] == ["1", "0", "1"] for value in found),
    }


def agree(contour_images, labels):
    """Whether each contour runs around the structure of its colour: the middle of its points lies on it."""
    colours = {(0.831, 0.737, 0.4): 49, (0.0, 0.784, 0.588): 100, (0.392, 0.847, 0.212): 26}
    on = all_ = 0
    for image, label in zip(contour_images, labels):
        for name, value in image.meta.items():
            if name.startswith("ROI_"):
                points = numpy.array(value[6:], float).reshape(-1, 2)
                row, column = points.mean(axis=0).round().astype(int)
                all_ += 1
                on += int(label.data[0, 0, row, column] == colours[tuple(map(float, value[:3]))])
    return on / all_ > 0.9


def tints(colour_images, labels):
    """Whether bodies shine yellow and discs green where the labels are, in planes of red, green and blue."""
    planes = numpy.concatenate([image.data[:, 0] for image in colour_images], axis=1).astype(int)
    label = numpy.concatenate([image.data[0, 0] for image in labels])
    red, green, blue = (planes - planes.min(axis=0)).astype(float)
    body, disc = label == 49, label == 100
    return bool(red[body].mean() > green[body].mean() > blue[body].mean() and green[disc].mean() > blue[disc].mean() > red[disc].mean())


def kept(image):
    meta = image.meta
    # An empty value reads as None.
    same = {name: [value or "" for value in meta[name]] if isinstance(meta[name], list) else meta[name] for name in KEPT}
    dropped = "ROI_old" not in meta and meta["Keep_image_geometry"] == "1"
    return same == KEPT and dropped and "Not for diagnostic use" in meta["ImageComments"]


def kind(image):
    return image.meta.get("SeriesDescriptionAdditional", "original")


def by_series(results):
    """Runs of images of one series, in the order in which they came."""
    runs = []
    for image in results:
        name = [image.image_series_index, kind(image)]
        if not runs or runs[-1][0] != name:
            runs.append((name, []))
        runs[-1][1].append(image)
    return runs


def whole(port, images, mask):
    scanner = Scanner(port)
    scanner.open({"sendoriginal": "True"})
    scanner.send(images)
    other = ismrmrd.Image.from_bytes(images[0].to_bytes())
    other.image_series_index = 2
    scanner.send([other])
    assert scanner.report_came.wait(120), f"no results before the end: {scanner.texts}"
    early = len(scanner.images)
    scanner.finish()
    results = [image for image, _ in scanner.images]
    runs = by_series(results)
    series = {name[1]: list_ for name, list_ in runs[1:5]}
    labels, colour = series["SAGITTA_LABELS"], series["SAGITTA_OVERLAY"]
    drawn, report = series["SAGITTA_CONTOURS"], series["SAGITTA_REPORT"]
    sent = [image.to_bytes() for image in images] + [other.to_bytes()]
    came = [raw for image, raw in scanner.images if kind(image) == "original"]
    first = colour[0].data
    return {
        "runs": [[*name, len(list_)] for name, list_ in runs],
        "early": early,
        "originals_unchanged": came == sent,
        "places_kept": [same_places(list_, images) for list_ in (labels, drawn, colour)],
        "attributes_kept": all(kept(image) for list_ in (labels, drawn, colour, report) for image in list_),
        "roles": [list_[0].meta["DataRole"] for list_ in (labels, drawn, colour, report)],
        "types": [[list_[0].data_type, list_[0].image_type, list_[0].channels] for list_ in (labels, drawn, colour, report)],
        "rescale_kept": ["RescaleSlope" in list_[0].meta for list_ in (labels, drawn, colour)],
        "highest_label": max(int(image.data.max()) for image in labels),
        "labels": against_mask(labels, mask),
        "samples_unchanged": all((a.data == b.data).all() for a, b in zip(drawn, images)),
        "contours": contours(drawn),
        "contours_agree": agree(drawn, labels),
        "colour": {"highest": int(first.max()), "tints": tints(colour, labels)},
        "report_colours": len(numpy.unique(report[0].data[:, 0].reshape(3, -1), axis=1).T) > 50,
        "texts": scanner.texts,
        "closed": scanner.closed,
    }


def simple(port, images, parameters):
    scanner = Scanner(port)
    scanner.open(parameters)
    scanner.send(images)
    scanner.finish()
    kinds = [kind(image) for image, _ in scanner.images]
    unchanged = [raw for _, raw in scanner.images][: len(images)] == [image.to_bytes() for image in images]
    counts = {name: kinds.count(name) for name in kinds}
    results = [image for image, _ in scanner.images if kind(image) != "original"]
    for image in results:
        shown = [[float(value) for value in image.meta[name]] for name in ("ImageRowDir", "ImageColumnDir")]
        assert numpy.allclose(shown, [image.read_dir, image.phase_dir], atol=1e-6), "another direction than the source's"
    return {"kinds": counts, "originals": unchanged, "texts": scanner.texts, "closed": scanner.closed}


def main():
    port, folder, what = int(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
    paths = sorted(folder.rglob("*.dcm"))
    images = [from_dicom(path, number, what) for number, path in enumerate(paths)]
    # As they are acquired: every other slice first.
    images = images[::2] + images[1::2]
    if what == "axial":
        said = simple(port, images, {"sendOriginal": True})
    elif what == "plain":
        said = simple(port, images, {})
    else:
        said = whole(port, images, what)
    print(json.dumps(said))


main()
