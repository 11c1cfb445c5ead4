//! Reads the reference cases: NumPy archives, arrays in (P, I, R) order.

use kernels::{Affine, Dims, Grid, Volume};
use npyz::{DType, NpyFile, Order, TypeChar};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// The folder of the cases.
pub(crate) fn folder() -> PathBuf {
    let shared = || std::env::var_os("SAGITTA_SHARED").map(PathBuf::from);
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let reference = || shared().unwrap_or_else(beside).join("reference/spineps");
    std::env::var_os("SAGITTA_REFERENCE").map_or_else(reference, PathBuf::from)
}

/// All archives of the folder by name, those for which `wanted` holds for their keys.
pub(crate) fn archives(wanted: impl Fn(&Archive) -> bool) -> Vec<(String, Archive)> {
    let folder = folder();
    let entries = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("no reference cases in {}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.retain(|path| path.extension().is_some_and(|e| e == "npz"));
    let named = paths.iter().map(|path| {
        (path.file_stem().unwrap().to_string_lossy().into_owned(), Archive::open(path))
    });
    named.filter(|(_, archive)| wanted(archive)).collect()
}

/// Whether the folder must hold cases of every step: another folder may have some only.
pub(crate) fn is_complete() -> bool {
    std::env::var_os("SAGITTA_REFERENCE").is_none()
}

/// A line for whoever runs the test; `println` would be swallowed where a test passes.
fn tell(line: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{line}").unwrap();
}

/// The items of all JSON lists in the folder that have `key`.
pub(crate) fn items(key: &str) -> Vec<serde_json::Value> {
    let paths = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
    paths.sort();
    let lists = paths.iter().filter_map(|path| {
        let text = std::fs::read_to_string(path).unwrap();
        serde_json::from_str::<Vec<serde_json::Value>>(&text).ok()
    });
    lists.flatten().filter(|item| !item[key].is_null()).collect()
}

/// The text of a JSON file beside the archives.
pub(crate) fn json(name: &str) -> Option<serde_json::Value> {
    let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).ok()?;
    Some(serde_json::from_str(&text).unwrap())
}

/// One `.npz` file; its arrays are read when they are asked for.
pub(crate) struct Archive {
    path: PathBuf,
    arrays: BTreeMap<String, OnceCell<Array>>,
}

/// One array: its shape, and its values in memory order of the last index fastest.
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f64>,
    /// The raw text of a string array, else empty.
    pub(crate) text: String,
}

impl Archive {
    fn open(path: &Path) -> Archive {
        let zip = zip::ZipArchive::new(File::open(path).unwrap()).unwrap();
        let key = |name: &str| (name.trim_end_matches(".npy").to_owned(), OnceCell::new());
        Archive { path: path.to_owned(), arrays: zip.file_names().map(key).collect() }
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.arrays.contains_key(key)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.arrays.keys().map(String::as_str)
    }

    pub(crate) fn array(&self, key: &str) -> &Array {
        let array = self.arrays.get(key).unwrap_or_else(|| panic!("no array {key}"));
        array.get_or_init(|| {
            let mut zip = zip::ZipArchive::new(File::open(&self.path).unwrap()).unwrap();
            let mut bytes = Vec::new();
            zip.by_name(&format!("{key}.npy")).unwrap().read_to_end(&mut bytes).unwrap();
            Array::read(&bytes)
        })
    }

    /// Three numbers, such as `zoom`.
    pub(crate) fn triple(&self, key: &str) -> [f64; 3] {
        self.array(key).values.as_slice().try_into().unwrap()
    }

    /// A three-dimensional array as a volume of voxels of `zoom` millimetres; voxel (0, 0, 0) at the origin.
    pub(crate) fn volume<T: Copy>(
        &self,
        key: &str,
        zoom: [f64; 3],
        value: impl Fn(f64) -> T,
    ) -> Volume<T> {
        let array = self.array(key);
        let [p, i, r]: [usize; 3] = array.shape.as_slice().try_into().unwrap();
        let grid = grid([p, i, r], zoom);
        let at = |offset: usize| {
            let [a, b, c] = grid.dims.index(offset);
            value(array.values[(a * i + b) * r + c])
        };
        Volume::new(grid, (0..grid.dims.voxels()).map(at).collect()).unwrap()
    }

    pub(crate) fn labels(&self, key: &str, zoom: [f64; 3]) -> Volume<u8> {
        self.volume(key, zoom, |value| value as u8)
    }

    pub(crate) fn ids(&self, key: &str, zoom: [f64; 3]) -> Volume<u16> {
        self.volume(key, zoom, |value| value as u16)
    }
}

/// A (P, I, R) grid with voxel (0, 0, 0) at the origin of the world.
pub(crate) fn grid(counts: [usize; 3], zoom: [f64; 3]) -> Grid {
    let axes = [[0.0, zoom[0], 0.0], [0.0, 0.0, -zoom[1]], [-zoom[2], 0.0, 0.0]];
    Grid { dims: Dims::new(counts).unwrap(), affine: Affine::new(axes, [0.0; 3]).unwrap() }
}

impl Array {
    fn read(bytes: &[u8]) -> Array {
        let file = NpyFile::new(bytes).unwrap();
        let shape: Vec<usize> = file.shape().iter().map(|&n| n as usize).collect();
        let order = file.order();
        let DType::Plain(plain) = file.dtype() else { panic!("a plain array") };
        let (kind, size) = (plain.type_char(), plain.num_bytes());
        let (values, text) = match (kind, size) {
            (TypeChar::Uint, Some(1)) => (numbers::<u8>(file), String::new()),
            (TypeChar::Uint, Some(2)) => (numbers::<u16>(file), String::new()),
            (TypeChar::Uint, Some(4)) => (numbers::<u32>(file), String::new()),
            (TypeChar::Int, Some(1)) => (numbers::<i8>(file), String::new()),
            (TypeChar::Int, Some(2)) => (numbers::<i16>(file), String::new()),
            (TypeChar::Int, Some(4)) => (numbers::<i32>(file), String::new()),
            (TypeChar::Int, Some(8)) => {
                (file.into_vec::<i64>().unwrap().iter().map(|&v| v as f64).collect(), String::new())
            }
            (TypeChar::Float, Some(4)) => (numbers::<f32>(file), String::new()),
            (TypeChar::Float, Some(8)) => (numbers::<f64>(file), String::new()),
            (TypeChar::Bool, _) => {
                let values = file.into_vec::<bool>().unwrap();
                (values.into_iter().map(f64::from).collect(), String::new())
            }
            (TypeChar::UnicodeStr, _) => (Vec::new(), file.into_vec::<String>().unwrap().concat()),
            other => panic!("{other:?} is not in the reference"),
        };
        if order == Order::Fortran && shape.len() > 1 {
            return Array { values: transposed(&values, &shape), shape, text };
        }
        Array { shape, values, text }
    }
}

fn numbers<T: npyz::Deserialize + Into<f64>>(file: NpyFile<&[u8]>) -> Vec<f64> {
    file.into_vec::<T>().unwrap().into_iter().map(Into::into).collect()
}

/// First index fastest -> last index fastest.
fn transposed(values: &[f64], shape: &[usize]) -> Vec<f64> {
    let mut index = vec![0; shape.len()];
    let mut out = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        let offset = shape.iter().zip(&index).rev().fold(0, |sum, (n, i)| sum * n + i);
        out.push(values[offset]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    out
}

/// Counts the cases of one step, prints every difference, and fails at the end where one is.
pub(crate) struct Tally {
    step: &'static str,
    cases: usize,
    equal: usize,
}

impl Tally {
    pub(crate) fn new(step: &'static str) -> Tally {
        Tally { step, cases: 0, equal: 0 }
    }

    pub(crate) fn add(&mut self, case: &str, equal: bool) {
        self.cases += 1;
        self.equal += usize::from(equal);
        if !equal {
            println!("{case}: {} differs", self.step);
        }
    }

    /// Equality of all voxels, whatever their type.
    pub(crate) fn compare<T, U>(&mut self, case: &str, got: &Volume<T>, want: &Volume<U>)
    where
        T: Copy + Into<u32>,
        U: Copy + Into<u32>,
    {
        assert_eq!(got.dims(), want.dims(), "{case}: {}", self.step);
        let pairs = got.voxels().iter().zip(want.voxels());
        let differing = pairs.filter(|&(&a, &b)| a.into() != b.into()).count();
        if differing > 0 {
            println!("{case}: {} differs in {differing} voxels", self.step);
        }
        self.add(case, differing == 0);
    }

    pub(crate) fn finish(self) {
        let Tally { step, cases, equal } = self;
        tell(&format!("spineps {step} cases {cases} equal {equal}"));
        assert!(cases > 0 || !is_complete(), "no case for {step}");
        assert_eq!(cases, equal, "{step}");
    }

    /// The last word of the test, about cases as a whole.
    pub(crate) fn finish_all(self) {
        let Tally { step, cases, equal } = self;
        tell(&format!("spineps cases {cases} equal {equal}"));
        assert!(cases > 0, "no case in {}", folder().display());
        assert_eq!(cases, equal, "{step}");
    }
}
