//! Round trips, refusals, and nibabel as the judge of both directions.

use super::*;
use std::process::Command;

/// An oblique grid with either hand, and labels that do not repeat.
fn volume(flip: bool) -> Volume<u16> {
    let (s, c) = 0.4f64.sin_cos();
    let k = if flip { [4.4, 0.3, 0.0] } else { [-4.4, 0.3, 0.0] };
    let affine =
        Affine::new([[0.0, 0.7 * c, 0.7 * s], [0.0, 0.7 * s, -0.7 * c], k], [31.5, -80.25, 400.0]);
    let grid = Grid { dims: Dims::new([5, 4, 3]).unwrap(), affine: affine.unwrap() };
    Volume::new(grid, (0..60).map(|n| n * 7).collect()).unwrap()
}

/// A folder of this test's own, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("sagitta-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn agree(a: &Grid, b: &Grid) {
    assert_eq!(a.dims, b.dims);
    let both = a.affine.axes().into_iter().chain([a.affine.origin()]);
    for (a, b) in both.zip(b.affine.axes().into_iter().chain([b.affine.origin()])) {
        // Written as f32: 400 mm * 2^-24, and the quaternion's square root.
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4), "{a:?} {b:?}");
    }
}

fn plain(volume: &Volume<u16>) -> Vec<u8> {
    let mut raw = Vec::new();
    MultiGzDecoder::new(&encode_labels(volume).unwrap()[..]).read_to_end(&mut raw).unwrap();
    raw
}

#[test]
fn masks_come_back_and_are_the_same_bytes_each_time() {
    let folder = Folder::new("round");
    for flip in [false, true] {
        let labels = volume(flip);
        let path = folder.0.join("mask.nii.gz");
        let bytes = encode_labels(&labels).unwrap();
        assert_eq!(bytes, encode_labels(&labels).unwrap());
        std::fs::write(&path, bytes).unwrap();
        let back = read_labels(&path).unwrap();
        assert_eq!(back.voxels(), labels.voxels());
        agree(back.grid(), labels.grid());
        let small = labels.map(|v| v as u8);
        std::fs::write(&path, encode_labels(&small).unwrap()).unwrap();
        assert_eq!(read(&path).unwrap().voxels(), small.map(f32::from).voxels());
    }
}

#[test]
fn qform_alone_gives_the_same_place() {
    let folder = Folder::new("qform");
    for flip in [false, true] {
        let labels = volume(flip);
        let mut raw = plain(&labels);
        raw[254] = 0; // sform_code
        let mut wanted = *labels.grid();
        // The quaternion leaves out the shear of the slice axis: 0.3 mm of 4.4 mm.
        let [i, j, k] = wanted.affine.axes();
        let normal = kernels::volume::cross(i, j);
        let length = kernels::volume::norm(k) / kernels::volume::norm(normal);
        let side = kernels::volume::dot(normal, k).signum();
        let upright = kernels::volume::scale(normal, side * length);
        wanted.affine = Affine::new([i, j, upright], wanted.affine.origin()).unwrap();
        agree(read(&folder.file("q.nii", &raw)).unwrap().grid(), &wanted);
    }
}

#[test]
fn scaling_and_values_without_number() {
    let folder = Folder::new("scale");
    let mut raw = plain(&volume(false));
    raw[112..116].copy_from_slice(&0.5f32.to_le_bytes());
    raw[116..120].copy_from_slice(&(-1f32).to_le_bytes());
    let path = folder.file("s.nii", &raw);
    assert_eq!(read(&path).unwrap().voxels()[..3], [-1.0, 2.5, 6.0]);
    assert!(
        matches!(read_labels(&path), Err(NiftiError::NotLabels { value, .. }) if value == -1.0)
    );
    raw[70..74].copy_from_slice(&[16, 0, 32, 0]); // float32
    raw[112..116].copy_from_slice(&f32::NAN.to_le_bytes());
    raw.extend_from_within(352..);
    raw[352..356].copy_from_slice(&f32::NAN.to_le_bytes());
    raw[356..360].copy_from_slice(&4.25f32.to_le_bytes());
    assert_eq!(read(&folder.file("f.nii", &raw)).unwrap().voxels()[..2], [0.0, 4.25]);
}

/// The whole header in a table: what is changed, and which refusal it must give.
#[test]
fn refusals_are_named() {
    let folder = Folder::new("refused");
    let good = plain(&volume(false));
    let refused = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut raw = good.clone();
        change(&mut raw);
        let error = read(&folder.file("bad.nii", &raw)).expect_err(name);
        let kind = format!("{error:?}");
        let text = error.to_string();
        assert!(kind.starts_with(name), "{name}: {kind}");
        assert!(text.contains("bad.nii") && !text.contains('\n'), "{text}");
    };
    refused("NotNifti", &|raw| raw.truncate(300));
    refused("NotNifti", &|raw| raw.fill(b'x'));
    refused("NotNifti", &|raw| raw[344..348].copy_from_slice(b"ni1\0"));
    refused("NotNifti", &|raw| raw[108..112].copy_from_slice(&f32::INFINITY.to_le_bytes()));
    refused("Truncated", &|raw| raw.truncate(raw.len() - 1));
    refused("WrongDims", &|raw| raw[40..50].copy_from_slice(&[4, 0, 5, 0, 4, 0, 1, 0, 3, 0]));
    refused("WrongDims", &|raw| raw[40] = 2);
    refused("WrongDims", &|raw| raw[42..44].fill(0));
    refused("Geometry", &|raw| raw[42..48].fill(0x7f));
    refused("Geometry", &|raw| raw[280..328].fill(0));
    refused("WrongType", &|raw| raw[70] = 128);
    refused("WrongType", &|raw| raw[70] = 99);
    refused("NoAffine", &|raw| raw[252..256].fill(0));
    assert!(matches!(read(&folder.0.join("none.nii")), Err(NiftiError::Read { .. })));
    let mut damaged = encode_labels(&volume(false)).unwrap();
    let sum = damaged.len() - 8;
    damaged[sum] ^= 1;
    let damaged = folder.file("sum.nii.gz", &damaged);
    assert!(matches!(read(&damaged), Err(NiftiError::Truncated { .. })));
    let cut = encode_labels(&volume(false)).unwrap();
    let cut = folder.file("cut.nii.gz", &cut[..cut.len() - 20]);
    assert!(matches!(read(&cut), Err(NiftiError::Truncated { .. })));
}

/// Runs `script` in the Python of `SAGITTA_PYTHON` (which must have nibabel).
fn python(script: &str, arguments: &[&Path]) -> String {
    let python = std::env::var("SAGITTA_PYTHON").unwrap_or_else(|_| "python3".into());
    let output = Command::new(&python).arg("-c").arg(script).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{python} with nibabel is needed (SAGITTA_PYTHON): {}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// Affine (LPS, from nibabel's RAS), shape, sum and a weighted sum that notices a wrong order.
const DESCRIBE: &str = r"
import sys, numpy, nibabel
image = nibabel.load(sys.argv[1])
values = image.get_fdata().ravel(order='F')
for affine in (image.affine, image.get_qform() if len(sys.argv) > 2 else image.affine):
    print(*(numpy.diag([-1, -1, 1, 1]) @ affine)[:3].T.ravel())
print(*image.shape[:3], values.sum(), (values * (numpy.arange(values.size) % 1009)).sum())
";

/// Compares what nibabel prints with a volume read here.
fn nibabel_agrees(text: &str, volume: &Volume<f32>) {
    let lines: Vec<Vec<f64>> =
        text.lines().map(|l| l.split(' ').map(|v| v.parse().unwrap()).collect()).collect();
    let affine = volume.grid().affine;
    for line in &lines[..2] {
        let mine = affine.axes().into_iter().chain([affine.origin()]).flatten();
        assert!(mine.zip(line).all(|(a, b)| (a - b).abs() < 1e-3), "{line:?} {affine:?}");
    }
    let values = volume.voxels().iter().map(|&v| f64::from(v));
    let sum: f64 = values.clone().sum();
    let weighted: f64 = values.enumerate().map(|(n, v)| v * (n % 1009) as f64).sum();
    let counts = volume.dims().counts().map(|n| n as f64);
    assert_eq!(lines[2][..3], counts);
    for (mine, theirs) in [sum, weighted].into_iter().zip(&lines[2][3..]) {
        assert!((mine - theirs).abs() <= 1e-6 * theirs.abs(), "{mine} {theirs}");
    }
}

#[test]
fn nibabel_reads_our_masks() {
    let folder = Folder::new("nibabel");
    let path = folder.0.join("mask.nii.gz");
    let mut labels = volume(true);
    // Without shear, so that qform and sform must say the same.
    let affine = Affine::new([[0.0, 0.6, 0.2], [0.0, 0.2, -0.6], [3.0, 0.0, 0.0]], [1.0, 2.0, 3.0]);
    let grid = Grid { dims: labels.dims(), affine: affine.unwrap() };
    labels = Volume::new(grid, labels.into_voxels()).unwrap();
    std::fs::write(&path, encode_labels(&labels).unwrap()).unwrap();
    let text = python(DESCRIBE, &[&path, Path::new("qform")]);
    nibabel_agrees(&text, &labels.map(f32::from));
}

#[test]
fn a_real_exam_reads_as_in_nibabel() {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared");
    let shared = std::env::var("SAGITTA_SHARED").unwrap_or_else(|_| default.into());
    let path = Path::new(&shared).join("data/nifti/chu_vb/02_T2w.nii.gz");
    assert!(path.is_file(), "the reference data is missing: set SAGITTA_SHARED to its folder");
    nibabel_agrees(&python(DESCRIBE, &[&path]), &read(&path).unwrap());
}
