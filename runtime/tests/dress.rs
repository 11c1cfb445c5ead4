//! Dressed series against independent readers: `dciodvfy` finds no error, `dcm2niix` gives back affine and pixels,
//! `dcmdump` reads the files and finds the count tags. Needs DCMTK, dicom3tools and dcm2niix on the path.

// The whole file is a test; the lint's own exception sees `#[test]` functions only.
#![allow(clippy::unwrap_used)]

use kernels::volume::PIR;
use kernels::{Affine, AxisMap, Dims, Grid, Volume};
use sagitta::dress::{Contrast, Dress, DressedObject, Form, Vendor, dress};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Agreement asked of an affine that went through DICOM and `dcm2niix`, millimetres.
const AFFINE_TOLERANCE_MM: f64 = 1e-3;

const STYLES: [(Vendor, Form); 6] = [
    (Vendor::Siemens, Form::Classic),
    (Vendor::Siemens, Form::Enhanced),
    (Vendor::Philips, Form::Classic),
    (Vendor::Philips, Form::Enhanced),
    (Vendor::Ge, Form::Classic),
    (Vendor::Ge, Form::Enhanced),
];

/// A folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path =
            std::env::temp_dir().join(format!("sagitta-dress-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn recipe((vendor, form): (Vendor, Form), contrast: Contrast) -> Dress {
    Dress { vendor, form, contrast, seed: 7, series_number: 4 }
}

/// Runs a tool; its output, then its error lines.
fn run(program: &str, args: &[&str]) -> Vec<u8> {
    let output = Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|e| panic!("{program} cannot be started ({e}); `tests/run` installs it"));
    [output.stdout, output.stderr].concat()
}

fn run_text(program: &str, args: &[&str]) -> String {
    String::from_utf8_lossy(&run(program, args)).into_owned()
}

fn write(folder: &Folder, objects: &[DressedObject]) {
    for object in objects {
        std::fs::write(folder.0.join(&object.file_name), &object.bytes).unwrap();
    }
}

fn path(folder: &Folder, object: &DressedObject) -> String {
    folder.0.join(&object.file_name).to_str().unwrap().to_owned()
}

/// Whole numbers below 4096 without order, so that no swap or flip goes unseen.
fn noise(grid: Grid) -> Volume<f32> {
    let value = |n: usize| ((n as u32).wrapping_mul(2_654_435_761) >> 20) as f32;
    Volume::new(grid, (0..grid.dims.voxels()).map(value).collect()).unwrap()
}

/// Turned about two axes and stored in (S, L, A) order: nothing is where an axis-aligned reader would look.
fn oblique() -> Volume<f32> {
    let ((sa, ca), (sb, cb)) = (0.31f64.sin_cos(), (-0.17f64).sin_cos());
    let [i, j, k] = [[sb * ca, sb * sa, cb], [cb * ca, cb * sa, -sb], [sa, -ca, 0.0]];
    let axes = [i.map(|v| v * 0.9), j.map(|v| v * 3.85), k.map(|v| v * 0.6875)];
    noise(Grid {
        dims: Dims::new([17, 6, 13]).unwrap(),
        affine: Affine::new(axes, [-13.729_311_94, 98.774_038_3, -1_197.313_781_7]).unwrap(),
    })
}

/// A NIfTI-1 file: the few header fields at their fixed offsets, little endian.
struct Nifti(Vec<u8>);

impl Nifti {
    fn f32(&self, offset: usize) -> f32 {
        f32::from_le_bytes(self.0[offset..offset + 4].try_into().unwrap())
    }

    fn i16(&self, offset: usize) -> i16 {
        i16::from_le_bytes(self.0[offset..offset + 2].try_into().unwrap())
    }

    /// The grid of the sform, RAS turned to LPS: x and y change sign.
    fn grid(&self) -> Grid {
        assert!(self.i16(254) > 0, "the file has an sform");
        let count = |offset| usize::try_from(self.i16(offset)).unwrap();
        let dims = Dims::new([42, 44, 46].map(count)).unwrap();
        let row = |row: usize, column: usize| f64::from(self.f32(280 + 16 * row + 4 * column));
        let column = |column| [-row(0, column), -row(1, column), row(2, column)];
        Grid { dims, affine: Affine::new([column(0), column(1), column(2)], column(3)).unwrap() }
    }

    /// Unsigned values of 8 or 16 bits (`dcm2niix` calls 12 bits signed), rescaled.
    fn volume(&self) -> Volume<f32> {
        let (mut slope, intercept) = (self.f32(112), self.f32(116));
        if slope == 0.0 {
            slope = 1.0;
        }
        let data = &self.0[self.f32(108) as usize..];
        let stored: Vec<u16> = match self.i16(70) {
            2 => data.iter().map(|&b| u16::from(b)).collect(),
            4 | 512 => data.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect(),
            other => panic!("NIfTI data type {other}"),
        };
        let voxels = stored.into_iter().map(|v| f32::from(v) * slope + intercept).collect();
        Volume::new(self.grid(), voxels).unwrap()
    }
}

/// Converts a folder with dcm2niix and reads the one result.
fn converted(folder: &Folder) -> Volume<f32> {
    let out = folder.0.join("nifti");
    std::fs::create_dir(&out).unwrap();
    let (from, to) = (folder.0.to_str().unwrap(), out.to_str().unwrap());
    let log = run_text("dcm2niix", &["-z", "n", "-b", "n", "-f", "out", "-o", to, from]);
    let files: Vec<_> = std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "dcm2niix makes one volume of one series:\n{log}");
    Nifti(std::fs::read(&files[0]).unwrap()).volume()
}

/// Both volumes turned to (P, I, R): same dims, affines within the tolerance, values within `value_tolerance`.
fn assert_same(got: &Volume<f32>, want: &Volume<f32>, value_tolerance: f32, what: &str) {
    let turned = |v: &Volume<f32>| v.reoriented(&AxisMap::towards(&v.grid().affine, PIR));
    let (got, want) = (turned(got), turned(want));
    assert_eq!(got.dims(), want.dims(), "{what}");
    let numbers = |v: &Volume<f32>| {
        let affine = v.grid().affine;
        [affine.axes().as_flattened(), &affine.origin()].concat()
    };
    for (a, b) in numbers(&got).iter().zip(numbers(&want)) {
        let (got, want) = (got.grid(), want.grid());
        assert!((a - b).abs() <= AFFINE_TOLERANCE_MM, "{what}: {got:?} is not {want:?}");
    }
    let worst = got.voxels().iter().zip(want.voxels()).map(|(a, b)| (a - b).abs());
    let worst = worst.fold(0.0f32, f32::max);
    assert!(worst <= value_tolerance, "{what}: a pixel is off by {worst}");
}

#[test]
fn dciodvfy_finds_no_error_in_any_style() {
    let folder = Folder::new("iod");
    for style in STYLES {
        for contrast in [Contrast::T1, Contrast::T2, Contrast::Stir] {
            let objects = dress(&oblique(), &recipe(style, contrast)).unwrap();
            write(&folder, &objects);
            let last = objects.last().unwrap();
            let report = run_text("dciodvfy", &["-new", &path(&folder, last)]);
            let errors: Vec<_> = report.lines().filter(|l| l.starts_with("Error")).collect();
            assert!(errors.is_empty(), "{style:?} {contrast:?}:\n{}", errors.join("\n"));
            let class = match style.1 {
                Form::Classic => "MRImage",
                Form::Enhanced => "EnhancedMRImage",
            };
            assert!(report.lines().any(|l| l == class), "{style:?}: not recognised:\n{report}");
        }
    }
}

#[test]
fn dcm2niix_gives_back_affine_and_pixels() {
    let volume = oblique();
    for style in STYLES {
        let folder = Folder::new(&format!("{:?}-{:?}", style.0, style.1));
        write(&folder, &dress(&volume, &recipe(style, Contrast::T2)).unwrap());
        assert_same(&converted(&folder), &volume, 0.0, &format!("{style:?}"));
    }
}

#[test]
fn values_with_fractions_come_back_within_half_a_step() {
    let (step, offset) = (0.013, -7.5);
    let volume = oblique().map(|v| v * step + offset);
    for style in STYLES {
        let folder = Folder::new(&format!("fraction-{:?}-{:?}", style.0, style.1));
        write(&folder, &dress(&volume, &recipe(style, Contrast::T2)).unwrap());
        assert_same(&converted(&folder), &volume, step * 0.51, &format!("{style:?}"));
    }
}

/// Every real T2w exam, each in the next style, comes back whole.
#[test]
fn real_exams_come_back_from_dcm2niix() {
    let shared = std::env::var("SAGITTA_SHARED")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared").to_owned());
    let exams = Path::new(&shared).join("data/nifti/chu_vb");
    let mut images: Vec<PathBuf> = std::fs::read_dir(&exams)
        .unwrap_or_else(|e| {
            panic!("{}: {e}; set SAGITTA_SHARED to the shared data", exams.display())
        })
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with("_T2w.nii.gz"))
        .collect();
    images.sort();
    assert!(!images.is_empty(), "no *_T2w.nii.gz in {}", exams.display());
    for (n, image) in images.iter().enumerate() {
        let volume = Nifti(run("gzip", &["-dc", image.to_str().unwrap()])).volume();
        let style = STYLES[n % STYLES.len()];
        let folder = Folder::new(&format!("exam-{n}"));
        write(&folder, &dress(&volume, &recipe(style, Contrast::T2)).unwrap());
        assert_same(&converted(&folder), &volume, 0.0, &format!("exam {n} as {style:?}"));
    }
}

#[test]
fn dcmdump_finds_the_counts_of_each_vendor() {
    let folder = Folder::new("dump");
    let lines = [
        "(0029,1020) OB ",
        "(0021,1019) OB ",
        "(2001,1018) SL 6 ",
        "(2001,1018) SL 6 ",
        "(0020,1002) IS [6]",
        "(0025,1007) SL 6 ",
    ];
    for (style, line) in STYLES.into_iter().zip(lines) {
        let objects = dress(&oblique(), &recipe(style, Contrast::T2)).unwrap();
        assert_eq!(objects.len(), if style.1 == Form::Classic { 6 } else { 1 });
        write(&folder, &objects);
        for object in &objects {
            let dump = run_text("dcmdump", &[&path(&folder, object)]);
            assert!(dump.contains(line), "{style:?}: no {line}\n{dump}");
            assert!(dump.contains(&object.sop_instance_uid), "{style:?}");
            assert!(!dump.contains("W: ") && !dump.contains("E: "), "{style:?}:\n{dump}");
            let siemens = style.0 == Vendor::Siemens;
            let text = b"sSliceArray.lSize\t = \t6\n";
            let counted = object.bytes.windows(text.len()).any(|window| window == text);
            assert_eq!(siemens, counted, "{style:?}");
            assert!(!siemens || !dump.contains("(0020,1002)"), "Siemens counts by protocol only");
        }
    }
}

#[test]
fn the_same_input_gives_the_same_bytes_and_other_pixels_other_uids() {
    for style in STYLES {
        let recipe = recipe(style, Contrast::T2);
        let first = dress(&oblique(), &recipe).unwrap();
        assert_eq!(first, dress(&oblique(), &recipe).unwrap());
        let other = dress(&oblique().map(|v| 4095.0 - v), &recipe).unwrap();
        assert_ne!(first[0].sop_instance_uid, other[0].sop_instance_uid);
    }
}
