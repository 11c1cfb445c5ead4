//! NIfTI-1 files in and out. The only place that knows RAS: affines are turned to LPS when read, back when
//! written.
//!
//! Images come from anywhere, so every field is checked and every refusal names the file and the reason.
//! Masks go out as gzip with fixed header bytes, so that the same mask is the same file. Writing durably is
//! the caller's business.

use flate2::read::MultiGzDecoder;
use flate2::{Compression, GzBuilder};
use kernels::{Affine, Dims, GeometryError, Grid, Volume};
use nifti::{InMemNiftiVolume, NiftiHeader, NiftiType};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a file is not read or written: the giver's move, except for `Write`, which is the site's.
#[derive(Debug, Error)]
pub enum NiftiError {
    #[error("{path} cannot be read: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} cannot be written: {source}")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("{path} is not a NIfTI-1 file: {reason}")]
    NotNifti { path: PathBuf, reason: String },
    #[error("{path} is truncated or damaged: {reason}")]
    Truncated { path: PathBuf, reason: String },
    #[error("{path} has dimensions {dims:?}; one 3-D volume is needed")]
    WrongDims { path: PathBuf, dims: Vec<u16> },
    #[error("NIfTI without affine: {path} has neither sform nor qform, its sides are unknown")]
    NoAffine { path: PathBuf },
    #[error("{path} has an unusable grid: {source}")]
    Geometry { path: PathBuf, source: GeometryError },
    #[error("{path} holds {kind} values; a greyscale image is needed")]
    WrongType { path: PathBuf, kind: String },
    #[error(
        "{path} is not a label map: it holds {value}, labels are whole numbers from 0 to 65535"
    )]
    NotLabels { path: PathBuf, value: f64 },
    #[error("a grid of {0:?} voxels does not fit NIfTI-1, which counts to 32767 along each axis")]
    TooLong([usize; 3]),
}

/// First bytes of a gzip stream (RFC 1952, 2.3.1); names lie more often than they do.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Size of the NIfTI-1 header, and of header and extension flag: where the voxels of a single file begin at
/// the earliest.
const HEADER_BYTES: usize = 348;
const FIRST_VOXEL: usize = 352;
/// Largest header extension skipped: 16 MiB is far above any seen, and stops a damaged offset from reading
/// for ever.
const MAX_VOXEL_OFFSET: usize = 1 << 24;
/// Largest count along one axis (`dim` is a signed 16-bit number).
const MAX_COUNT: usize = i16::MAX as usize;

/// Reads an image as real values (scaled by `scl_slope` and `scl_inter`), `i` fastest as in the file.
/// `.nii` or gzip, told apart by content. The affine is the sform, else the qform. Values that are not
/// finite become 0: they mark voxels without signal.
pub fn read(path: &Path) -> Result<Volume<f32>, NiftiError> {
    let (grid, values) = read_values(path)?;
    let finite = |v: f64| if v.is_finite() { v as f32 } else { 0.0 };
    Volume::new(grid, values.into_iter().map(finite).collect())
        .map_err(|source| NiftiError::Geometry { path: path.into(), source })
}

/// Reads a label map; values must be whole numbers from 0 to 65535.
pub fn read_labels(path: &Path) -> Result<Volume<u16>, NiftiError> {
    let (grid, values) = read_values(path)?;
    let whole = |v: &f64| v.fract() == 0.0 && (0.0..=f64::from(u16::MAX)).contains(v);
    if let Some(&value) = values.iter().find(|v| !whole(v)) {
        return Err(NiftiError::NotLabels { path: path.into(), value });
    }
    Volume::new(grid, values.into_iter().map(|v| v as u16).collect())
        .map_err(|source| NiftiError::Geometry { path: path.into(), source })
}

fn read_values(path: &Path) -> Result<(Grid, Vec<f64>), NiftiError> {
    let unreadable = |source| NiftiError::Read { path: path.into(), source };
    let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
    if file.fill_buf().map_err(unreadable)?.starts_with(&GZIP_MAGIC) {
        decode(path, MultiGzDecoder::new(file))
    } else {
        decode(path, file)
    }
}

/// Header, gap and voxels of one file.
fn decode(path: &Path, mut stream: impl Read) -> Result<(Grid, Vec<f64>), NiftiError> {
    let not_nifti = |reason: String| NiftiError::NotNifti { path: path.into(), reason };
    let truncated = |reason: String| NiftiError::Truncated { path: path.into(), reason };
    let mut bytes = [0u8; HEADER_BYTES];
    stream.read_exact(&mut bytes).map_err(|e| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => not_nifti("it is shorter than a header".into()),
        _ => truncated(e.to_string()),
    })?;
    let header = NiftiHeader::from_reader(&bytes[..]).map_err(|e| not_nifti(e.to_string()))?;
    if header.magic != *b"n+1\0" {
        return Err(not_nifti("the voxels are in another file (.img)".into()));
    }
    let grid = grid(path, &header)?;
    let kind = header.data_type().map_err(|_| NiftiError::WrongType {
        path: path.into(),
        kind: format!("type {}", header.datatype),
    })?;
    let offset = header.vox_offset;
    if !(0.0..=MAX_VOXEL_OFFSET as f32).contains(&offset) {
        return Err(not_nifti(format!("its voxels begin at byte {offset}")));
    }
    let gap = (offset as usize).max(FIRST_VOXEL) - HEADER_BYTES;
    let skipped = std::io::copy(&mut stream.by_ref().take(gap as u64), &mut std::io::sink());
    skipped.map_err(|e| truncated(e.to_string()))?;
    let volume = InMemNiftiVolume::from_reader(stream.by_ref(), &header)
        .map_err(|e| truncated(e.to_string()))?;
    // A gzip stream checks its sum only at its end; a plain file may be longer, which harms nobody.
    stream.read(&mut [0]).map_err(|e| truncated(e.to_string()))?;
    let mut values = real_values(volume, kind)
        .ok_or_else(|| NiftiError::WrongType { path: path.into(), kind: format!("{kind:?}") })?;
    // A slope of 0 means "not scaled" (nifti1.h); so does one that is no number, as in nibabel.
    let (slope, inter) = (f64::from(header.scl_slope), f64::from(header.scl_inter));
    if slope != 0.0 && slope.is_finite() && inter.is_finite() && (slope, inter) != (1.0, 0.0) {
        values.iter_mut().for_each(|v| *v = *v * slope + inter);
    }
    Ok((grid, values))
}

/// The stored values; `None` for types that are no single real number (RGB, complex, 128 bit).
fn real_values(volume: InMemNiftiVolume, kind: NiftiType) -> Option<Vec<f64>> {
    macro_rules! typed {
        ($type:ty) => {{
            let values = volume.into_nifti_typed_data::<$type>().ok()?;
            Some(values.into_iter().map(|v| v as f64).collect())
        }};
    }
    match kind {
        NiftiType::Uint8 => typed!(u8),
        NiftiType::Int8 => typed!(i8),
        NiftiType::Uint16 => typed!(u16),
        NiftiType::Int16 => typed!(i16),
        NiftiType::Uint32 => typed!(u32),
        NiftiType::Int32 => typed!(i32),
        NiftiType::Uint64 => typed!(u64),
        NiftiType::Int64 => typed!(i64),
        NiftiType::Float32 => typed!(f32),
        NiftiType::Float64 => typed!(f64),
        _ => None,
    }
}

/// Dimensions and affine of a header, in LPS.
fn grid(path: &Path, header: &NiftiHeader) -> Result<Grid, NiftiError> {
    let wrong = |dims: &[u16]| NiftiError::WrongDims { path: path.into(), dims: dims.to_vec() };
    let dims = header.dim().map_err(|_| wrong(&header.dim))?;
    if dims.len() < 3 || dims[3..].iter().any(|&n| n != 1) {
        return Err(wrong(dims));
    }
    let geometry = |source| NiftiError::Geometry { path: path.into(), source };
    let (axes, origin) = if header.sform_code > 0 {
        sform(header)
    } else if header.qform_code > 0 {
        qform(header)
    } else {
        return Err(NiftiError::NoAffine { path: path.into() });
    };
    Ok(Grid {
        dims: Dims::new([dims[0], dims[1], dims[2]].map(usize::from)).map_err(geometry)?,
        affine: Affine::new(axes.map(ras_lps), ras_lps(origin)).map_err(geometry)?,
    })
}

/// RAS <-> LPS: the first two axes change sign, either way.
fn ras_lps([x, y, z]: [f64; 3]) -> [f64; 3] {
    [-x, -y, z]
}

/// Axes and origin (RAS) of the sform rows.
fn sform(header: &NiftiHeader) -> ([[f64; 3]; 3], [f64; 3]) {
    let rows = [header.srow_x, header.srow_y, header.srow_z];
    let column = |c: usize| rows.map(|row| f64::from(row[c]));
    ([column(0), column(1), column(2)], column(3))
}

/// Axes and origin (RAS) of the qform quaternion (nifti1.h, "METHOD 2").
fn qform(header: &NiftiHeader) -> ([[f64; 3]; 3], [f64; 3]) {
    let [b, c, d] = [header.quatern_b, header.quatern_c, header.quatern_d].map(f64::from);
    let a = (1.0 - b * b - c * c - d * d).max(0.0).sqrt();
    let unit = [
        [a * a + b * b - c * c - d * d, 2.0 * (b * c + a * d), 2.0 * (b * d - a * c)],
        [2.0 * (b * c - a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d + a * b)],
        [2.0 * (b * d + a * c), 2.0 * (c * d - a * b), a * a + d * d - b * b - c * c],
    ];
    let hand = if header.pixdim[0] < 0.0 { -1.0 } else { 1.0 };
    let size = [1.0, 1.0, hand];
    let axes = std::array::from_fn(|axis| {
        unit[axis].map(|v| v * f64::from(header.pixdim[axis + 1]) * size[axis])
    });
    (axes, [header.quatern_x, header.quatern_y, header.quatern_z].map(f64::from))
}

/// A label value as NIfTI stores it.
pub trait Label: Copy {
    /// NIfTI data type and its bytes.
    const TYPE: NiftiType;
    fn append(self, bytes: &mut Vec<u8>);
}

impl Label for u8 {
    const TYPE: NiftiType = NiftiType::Uint8;
    fn append(self, bytes: &mut Vec<u8>) {
        bytes.push(self);
    }
}

impl Label for u16 {
    const TYPE: NiftiType = NiftiType::Uint16;
    fn append(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_le_bytes());
    }
}

/// A label map as the bytes of a `.nii.gz`: sform and qform set (scanner coordinates), no dates, no names;
/// equal maps are equal bytes.
pub fn encode_labels<T: Label>(labels: &Volume<T>) -> Result<Vec<u8>, NiftiError> {
    let counts = labels.dims().counts();
    if counts.iter().any(|&n| n > MAX_COUNT) {
        return Err(NiftiError::TooLong(counts));
    }
    let mut raw = header_bytes(labels.grid(), T::TYPE);
    raw.reserve(labels.voxels().len() * T::TYPE.size_of());
    labels.voxels().iter().for_each(|v| v.append(&mut raw));
    // Time 0 and an unnamed system: nothing of this machine enters the bytes.
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
    gzip.write_all(&raw)
        .and_then(|()| gzip.finish())
        .map_err(|source| NiftiError::Write { path: PathBuf::from("a buffer in memory"), source })
}

/// Header and extension flag, little-endian; field offsets of nifti1.h. The crate `nifti` writes only
/// through `ndarray`.
fn header_bytes(grid: &Grid, kind: NiftiType) -> Vec<u8> {
    /// Millimetres (`xyzt_units`), and "scanner anatomical" (`qform_code`, `sform_code`).
    const MILLIMETRES: u8 = 2;
    const SCANNER: i16 = 1;
    let mut bytes = vec![0u8; FIRST_VOXEL];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    let axes = grid.affine.axes().map(ras_lps);
    let origin = ras_lps(grid.affine.origin());
    let spacing = grid.affine.spacing();
    let (quaternion, hand) = quaternion(axes, spacing);
    put(0, &(HEADER_BYTES as i32).to_le_bytes());
    put(38, b"r");
    put(40, &3i16.to_le_bytes());
    put(76, &(hand as f32).to_le_bytes());
    let counts = grid.dims.counts();
    for axis in 0..7 {
        let count = counts.get(axis).map_or(1, |&n| n as i16);
        put(42 + 2 * axis, &count.to_le_bytes());
        let step = spacing.get(axis).map_or(1.0, |&mm| mm as f32);
        put(80 + 4 * axis, &step.to_le_bytes());
    }
    put(70, &(kind as i16).to_le_bytes());
    put(72, &(8 * kind.size_of() as i16).to_le_bytes());
    put(108, &(FIRST_VOXEL as f32).to_le_bytes());
    put(112, &1f32.to_le_bytes());
    put(123, &[MILLIMETRES]);
    put(252, &SCANNER.to_le_bytes());
    put(254, &SCANNER.to_le_bytes());
    for row in 0..3 {
        put(256 + 4 * row, &(quaternion[row] as f32).to_le_bytes());
        put(268 + 4 * row, &(origin[row] as f32).to_le_bytes());
        let srow = [axes[0][row], axes[1][row], axes[2][row], origin[row]];
        for (column, value) in srow.into_iter().enumerate() {
            put(280 + 16 * row + 4 * column, &(value as f32).to_le_bytes());
        }
    }
    put(344, b"n+1\0");
    bytes
}

/// `quatern_b, c, d` and the handedness (`qfac`) of RAS axes. A quaternion holds a pure rotation: the
/// slight shear of a tilted stack is in the sform only.
fn quaternion(axes: [[f64; 3]; 3], spacing: [f64; 3]) -> ([f64; 3], f64) {
    use kernels::volume::{cross, dot, norm, scale, sub};
    let x = scale(axes[0], 1.0 / spacing[0]);
    let tilted = sub(axes[1], scale(x, dot(x, axes[1])));
    let y = scale(tilted, 1.0 / norm(tilted));
    let z = cross(x, y);
    let hand = if dot(z, axes[2]) < 0.0 { -1.0 } else { 1.0 };
    // Squares of the components, times 4; the largest one is divided by, so that nothing is lost near half
    // turns.
    let squares = [
        1.0 + x[0] + y[1] + z[2],
        1.0 + x[0] - y[1] - z[2],
        1.0 - x[0] + y[1] - z[2],
        1.0 - x[0] - y[1] + z[2],
    ];
    let (yz, zx, xy) = (y[2] - z[1], z[0] - x[2], x[1] - y[0]);
    let (xy_sum, zx_sum, yz_sum) = (x[1] + y[0], z[0] + x[2], y[2] + z[1]);
    let rows = [
        [squares[0], yz, zx, xy],
        [yz, squares[1], xy_sum, zx_sum],
        [zx, xy_sum, squares[2], yz_sum],
        [xy, zx_sum, yz_sum, squares[3]],
    ];
    let largest = (0..4).max_by(|&a, &b| squares[a].total_cmp(&squares[b])).unwrap_or(0);
    let unit = rows[largest].map(|v| v / (2.0 * squares[largest].sqrt()));
    let sign = if unit[0] < 0.0 { -1.0 } else { 1.0 };
    ([unit[1] * sign, unit[2] * sign, unit[3] * sign], hand)
}

#[cfg(test)]
#[path = "nifti/tests.rs"]
mod tests;
