//! Plans on disk: `NET.plan` beside `NET.toml`, which says what it was built for and how it was proven.
//!
//! A plan is good on one device with one driver and one TensorRT; anything else is *foreign*, and what is not as long or
//! not the same bytes as its key says is *corrupt*: both are states that a new build ends. A plan is written whole, then its
//! key: a power cut between them leaves a corrupt plan, never a wrong one.

use crate::engine::trouble::{State, Trouble};
use crate::weights::sha256;
use serde::{Deserialize, Serialize};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// What a plan is good for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Of the float16 ONNX that it was built from.
    pub onnx_sha256: String,
    /// Smallest, usual and largest input.
    pub shapes: String,
    pub tensorrt: String,
    pub device: String,
    pub driver: String,
    /// Version of the interface to the shim.
    pub shim: i32,
}

impl Key {
    /// The first part in which `other` differs: what, there, here.
    fn difference(&self, other: &Key) -> Option<String> {
        let parts = |key: &Key| {
            [
                ("weights", key.onnx_sha256.clone()),
                ("shapes", key.shapes.clone()),
                ("TensorRT", key.tensorrt.clone()),
                ("device", key.device.clone()),
                ("driver", key.driver.clone()),
                ("shim", key.shim.to_string()),
            ]
        };
        let mut pairs = parts(self).into_iter().zip(parts(other));
        let ((what, here), (_, there)) = pairs.find(|(here, there)| here != there)?;
        Some(format!("{what} {there}, here it is {here}"))
    }
}

/// How the plans of both nets together did on the drawn patient.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// Against the semantic mask of `simd`, all labelled voxels together.
    pub dice: f64,
    pub vertebrae: usize,
    /// What both nets say of fixed values: at every later start they must say it again.
    pub answer_sha256: String,
}

/// A plan with what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    pub key: Key,
    pub proof: Proof,
    pub bytes: Vec<u8>,
}

/// The file beside a plan.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    plan_sha256: String,
    key: Key,
    proof: Proof,
}

/// The folder of the plans.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    pub fn new(folder: &Path) -> Cache {
        Cache { folder: folder.to_owned() }
    }

    /// The plan of `net`, if it is one for `key`; otherwise its state.
    pub fn read(&self, net: &str, key: &Key) -> Result<Stored, Trouble> {
        let (file, bytes) = self.whole(net)?;
        if let Some(difference) = key.difference(&file.key) {
            let text = format!("the plan of net {net} was built for {difference}");
            return Err(Trouble::new(State::ForeignPlan, text));
        }
        Ok(Stored { key: file.key, proof: file.proof, bytes })
    }

    /// What is kept for `net`, whatever it is for.
    pub fn kept(&self, net: &str) -> Result<Stored, Trouble> {
        let (file, bytes) = self.whole(net)?;
        Ok(Stored { key: file.key, proof: file.proof, bytes })
    }

    fn whole(&self, net: &str) -> Result<(File, Vec<u8>), Trouble> {
        let corrupt = |what: &str| {
            let path = self.path(net, "plan");
            let text = format!("the plan {} is corrupt: {what}", path.display());
            Trouble::new(State::CorruptPlan, text)
        };
        let text = match std::fs::read_to_string(self.path(net, "toml")) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let text = format!("no plan of net {net} in {}", self.folder.display());
                return Err(Trouble::new(State::NoPlan, text));
            }
            Err(error) => return Err(corrupt(&error.to_string())),
            Ok(text) => text,
        };
        let file: File = toml::from_str(&text)
            .map_err(|error| corrupt(&format!("its key cannot be read: {}", error.message())))?;
        let bytes = std::fs::read(self.path(net, "plan")).map_err(|e| corrupt(&e.to_string()))?;
        match sha256(&bytes) == file.plan_sha256 {
            true => Ok((file, bytes)),
            false => Err(corrupt("its bytes are not those that were written")),
        }
    }

    /// Keeps a plan that was proven, in place of the one before.
    pub fn store(&self, net: &str, stored: &Stored) -> Result<(), Trouble> {
        let Stored { key, proof, bytes } = stored;
        let (key, proof, plan_sha256) = (key.clone(), proof.clone(), sha256(bytes));
        let text = toml::to_string(&File { plan_sha256, key, proof });
        let text = text.map_err(|error| self.unwritten(&error.to_string()))?;
        let pairs =
            [(self.path(net, "plan"), bytes.as_slice()), (self.path(net, "toml"), text.as_bytes())];
        for (path, bytes) in pairs {
            write(&path, bytes).map_err(|error| self.unwritten(&error.to_string()))?;
        }
        Ok(())
    }

    /// Makes the folder: better to know before ten minutes of building.
    pub fn writable(&self) -> Result<(), Trouble> {
        let probe = self.folder.join("probe");
        std::fs::create_dir_all(&self.folder)
            .and_then(|()| std::fs::write(&probe, []))
            .and_then(|()| std::fs::remove_file(&probe))
            .map_err(|error| self.unwritten(&error.to_string()))
    }

    fn unwritten(&self, what: &str) -> Trouble {
        let folder = self.folder.display();
        Trouble::new(State::NotBuilt, format!("plans cannot be kept in {folder}: {what}"))
    }

    fn path(&self, net: &str, ending: &str) -> PathBuf {
        self.folder.join(format!("{net}.{ending}"))
    }
}

/// Writes a file whole or not at all.
pub(in crate::engine) fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let partial = path.with_extension("part");
    let mut file = std::fs::File::create(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&partial, path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let name = format!("sagitta-plans-{name}-{}", std::process::id());
            Folder(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn stored() -> Stored {
        let key = Key {
            onnx_sha256: "ab".to_owned(),
            shapes: "[1]".to_owned(),
            tensorrt: "10.3.0".to_owned(),
            device: "Orin".to_owned(),
            driver: "12.6".to_owned(),
            shim: 1,
        };
        let proof = Proof { dice: 0.999, vertebrae: 6, answer_sha256: "cd".to_owned() };
        Stored { key, proof, bytes: vec![7; 1000] }
    }

    fn kept(name: &str) -> (Folder, Cache) {
        let folder = Folder::new(name);
        let cache = Cache::new(&folder.0);
        cache.writable().unwrap();
        cache.store("net", &stored()).unwrap();
        (folder, cache)
    }

    #[test]
    fn a_plan_comes_back_for_its_key_alone() {
        let (_folder, cache) = kept("key");
        assert_eq!(cache.read("net", &stored().key), Ok(stored()));
        assert_eq!(cache.read("other", &stored().key).unwrap_err().state, State::NoPlan);
        type Change = fn(&mut Key);
        let changes: [(&str, Change); 6] = [
            ("weights ab, here it is x", |k| k.onnx_sha256 = "x".to_owned()),
            ("shapes [1], here it is x", |k| k.shapes = "x".to_owned()),
            ("TensorRT 10.3.0, here it is x", |k| k.tensorrt = "x".to_owned()),
            ("device Orin, here it is x", |k| k.device = "x".to_owned()),
            ("driver 12.6, here it is x", |k| k.driver = "x".to_owned()),
            ("shim 1, here it is 2", |k| k.shim = 2),
        ];
        for (want, change) in changes {
            let mut key = stored().key;
            change(&mut key);
            let trouble = cache.read("net", &key).unwrap_err();
            assert_eq!(trouble.state, State::ForeignPlan);
            assert!(trouble.text.ends_with(want), "{trouble}");
        }
    }

    #[test]
    fn every_damage_is_a_corrupt_plan() {
        let (folder, cache) = kept("damage");
        let damages: [(&str, &[u8]); 4] = [
            ("net.plan", &[7; 999]),
            ("net.plan", &[8; 1000]),
            ("net.toml", b"key = 1"),
            ("net.toml", &[0xff]),
        ];
        for (file, bytes) in damages {
            std::fs::write(folder.0.join(file), bytes).unwrap();
            let trouble = cache.read("net", &stored().key).unwrap_err();
            assert_eq!(trouble.state, State::CorruptPlan, "{file}: {trouble}");
            cache.store("net", &stored()).unwrap();
        }
        std::fs::remove_file(folder.0.join("net.plan")).unwrap();
        assert_eq!(cache.read("net", &stored().key).unwrap_err().state, State::CorruptPlan);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_told_before_the_build() {
        let trouble = Cache::new(Path::new("/dev/null/plans")).writable().unwrap_err();
        assert_eq!(trouble.state, State::NotBuilt);
        assert!(trouble.text.contains("/dev/null/plans"), "{trouble}");
    }
}
