//! The known answer: what both nets say of fixed values. An engine that says it again, to the bit, still has the weights, the
//! plan, the kernels and the memory that it was proven with.
//!
//! That of `simd` is the same on every processor and frozen in this program (`models/weights/answers.toml`); that of a device
//! is frozen when the engine passes the golden case there ([`super::golden`]).

use super::fallback::simd;
use super::tensorrt::plans::Proof;
use super::trouble::{State, Trouble};
use super::{Forms, Precision, golden};
use crate::weights::{ModelError, Shape, sha256};
use pipeline::{Net, NetError, Nets, TensorMut, TensorRef};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The answers of `simd` in each precision of the shipped nets.
const FROZEN: &str = include_str!("../../weights/answers.toml");
/// Name of the file of answers beside the weights of a folder.
const FILE_NAME: &str = "answers.toml";
/// Rows and columns of the semantic net's values, in the sizes it takes: enough for its deepest layers to have something to say.
const SIDE: usize = 12;
/// At once: engines may treat the items of a batch apart.
const ITEMS: usize = 2;

/// Engine and nets that an answer is known of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Of {
    /// Engine and precision, `simd int8`.
    engine: String,
    /// SHA-256 of the weights of both nets.
    semantic: String,
    instance: String,
}

impl Of {
    pub(super) fn nets(nets: &Nets) -> Of {
        let instance = nets.instance.as_ref().map(|net| net.card().weights_sha256.clone());
        Of {
            engine: nets.semantic.engine(),
            semantic: nets.semantic.card().weights_sha256.clone(),
            instance: instance.unwrap_or_default(),
        }
    }
}

/// A line of the frozen answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Frozen {
    /// How many vertebrae the golden case has.
    vertebrae: usize,
    answer_sha256: String,
    of: Of,
}

#[derive(Debug, Serialize, Deserialize)]
struct AnswersFile {
    answer: Vec<Frozen>,
}

/// Where the answers that nets must give are written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers(Result<String, String>);

impl Answers {
    /// Those in the binary, of the shipped nets.
    pub fn frozen() -> Answers {
        Answers(Ok(FROZEN.to_owned()))
    }

    pub(super) fn of_folder(folder: &Path) -> Answers {
        let path = folder.join(FILE_NAME);
        let text = std::fs::read_to_string(&path);
        Answers(text.map_err(|error| format!("{}: {error}", path.display())))
    }
}

/// Asks nets of a folder and writes down what they say, for those who release them: the first to run them knows that they are
/// whole. Returns the file's text.
pub fn freeze(folder: &Path, threads: usize) -> Result<String, Trouble> {
    let mut answers = AnswersFile { answer: Vec::new() };
    for precision in [Precision::Float, Precision::Int8] {
        let forms = match Forms::from_folder(folder, precision) {
            Err(ModelError::NoInt8(_)) => continue,
            forms => forms.map_err(|error| not_proven(error.to_string()))?,
        };
        let mut nets = simd(&forms.simd, threads).map_err(|error| not_proven(error.to_string()))?;
        let vertebrae = golden::vertebrae(&mut nets)?;
        let answer_sha256 = answer(&mut nets).map_err(|error| Trouble::from(&error))?;
        answers.answer.push(Frozen { vertebrae, answer_sha256, of: Of::nets(&nets) });
    }
    let text = toml::to_string(&answers).expect("texts and numbers");
    let path = folder.join(FILE_NAME);
    std::fs::write(&path, &text)
        .map_err(|error| not_proven(format!("{}: {error}", path.display())))?;
    Ok(text)
}

/// What an engine must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// Vertebrae of the golden case.
    pub(super) vertebrae: usize,
    pub(super) answer_sha256: String,
}

impl From<&Proof> for Known {
    fn from(proof: &Proof) -> Known {
        Known { vertebrae: proof.vertebrae, answer_sha256: proof.answer_sha256.clone() }
    }
}

impl Known {
    /// Of `simd`, as it is written down in `answers`.
    pub(super) fn frozen(of: &Of, answers: &Answers) -> Result<Known, Trouble> {
        let text = answers
            .0
            .as_ref()
            .map_err(|reason| not_proven(format!("the known answers cannot be read: {reason}")))?;
        let answers: AnswersFile = toml::from_str(text).map_err(|error| {
            not_proven(format!("the known answers cannot be read: {}", error.message()))
        })?;
        let found = answers.answer.into_iter().find(|answer| answer.of == *of);
        let Frozen { vertebrae, answer_sha256, .. } = found.ok_or_else(|| {
            let Of { engine, semantic, instance } = of;
            not_proven(format!(
                "no answer of {engine} is known for the weights {semantic} and {instance}"
            ))
        })?;
        Ok(Known { vertebrae, answer_sha256 })
    }

    /// Asks the nets.
    pub(super) fn check(&self, nets: &mut Nets) -> Result<(), Trouble> {
        let answer = answer(nets).map_err(|error| Trouble::from(&error))?;
        match answer == self.answer_sha256 {
            true => Ok(()),
            false => Err(not_proven(format!(
                "{} says {answer} of the fixed values, known is {}",
                nets.semantic.engine(),
                self.answer_sha256
            ))),
        }
    }
}

pub(super) fn not_proven(text: String) -> Trouble {
    Trouble::new(State::NotProven, text)
}

/// SHA-256 of all logits of both nets for the fixed values.
pub(super) fn answer(nets: &mut Nets) -> Result<String, NetError> {
    let side = SIDE * nets.semantic.card().multiple_of;
    let mut logits = said(nets.semantic.as_mut(), [side; 2], grey)?;
    if let Some(net) = &mut nets.instance {
        let [columns, rows, slices] = net.card().window.counts;
        logits.extend(said(net.as_mut(), [rows, columns], |at| structure(at, slices))?);
    }
    let bytes: Vec<u8> = logits.iter().flat_map(|value| value.to_le_bytes()).collect();
    Ok(sha256(&bytes))
}

/// The logits of a net for `value` of item, channel, row and column.
fn said<C: Shape, N: Net<C> + ?Sized>(
    net: &mut N,
    [rows, columns]: [usize; 2],
    value: impl Fn([usize; 4]) -> f32,
) -> Result<Vec<f32>, NetError> {
    let [read, written] = [net.card().input_channels(), net.card().output_channels()];
    let [input, output] = [read, written].map(|channels| [ITEMS, channels, rows, columns]);
    let place = |n: usize| {
        let (column, n) = (n % columns, n / columns);
        let (row, n) = (n % rows, n / rows);
        [n / read, n % read, row, column]
    };
    let values: Vec<f32> = (0..input.iter().product()).map(|n| value(place(n))).collect();
    let mut logits = vec![0.0; output.iter().product()];
    let to = TensorMut { shape: output, values: &mut logits };
    net.run(TensorRef { shape: input, values: &values }, to)?;
    Ok(logits)
}

/// Grey values as of an image: details of every size, the large ones alike in neighbouring slices; about 0, seldom beyond 2.
/// Multiples of a power of two, exact in every format of numbers.
fn grey([item, channel, row, column]: [usize; 4]) -> f32 {
    let of_size = |size: usize, slice: usize| dice([item, slice, row / size, column / size, size]);
    let sum = of_size(64, 0) + of_size(16, 0) + of_size(4, channel / 2) + of_size(1, channel);
    (sum as f32 - 512.0) / 128.0
}

/// Whether a structure is there: blobs of several voxels, each structure by itself in every slice or two.
fn structure([item, channel, row, column]: [usize; 4], slices: usize) -> f32 {
    let (group, slice) = (channel / slices, channel % slices);
    let blob = dice([item, group, slice / 2, row / 12, column / 12]);
    let rough = dice([item, group, slice, row / 2, column / 2]);
    f32::from(blob < 80 && rough < 240)
}

/// Eight random bits of a place.
fn dice(place: [usize; 5]) -> u32 {
    // FNV-1a (RFC 9923), then its high bits stirred into the low ones.
    let hash = place
        .into_iter()
        .fold(0x811c_9dc5, |hash: u32, part| (hash ^ part as u32).wrapping_mul(0x0100_0193));
    let hash = (hash ^ hash >> 15).wrapping_mul(0x2c1b_3c6d);
    (hash ^ hash >> 12) >> 8 & 0xff
}

/// The proof of an engine that keeps no plan, in a file: it is good for one key.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
    key: Key,
}

/// Everything that may change a bit of an engine's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    device: String,
    driver: String,
    software: String,
    of: Of,
}

#[derive(Debug, Serialize, Deserialize)]
struct File {
    proof: Proof,
    key: Key,
}

impl Kept {
    pub(super) fn of(folder: &Path, nets: &Nets, device: &str, driver: &str) -> Kept {
        let [device, driver, software] =
            [device, driver, env!("CARGO_PKG_VERSION")].map(str::to_owned);
        let key = Key { device, driver, software, of: Of::nets(nets) };
        Kept { path: folder.join("cuda.toml"), key }
    }

    /// The proof for this key; `None` where there is none, and where that there is can tell nothing: then the golden case is
    /// run again, and decides.
    pub(super) fn read(&self) -> Option<Proof> {
        let text = std::fs::read_to_string(&self.path).ok()?;
        let File { proof, key } = toml::from_str(&text).ok()?;
        (key == self.key).then_some(proof)
    }

    /// Keeps a proof. Where nothing can be written the golden case is run at the next start, too.
    pub(super) fn store(&self, proof: &Proof) -> std::io::Result<()> {
        let file = File { proof: proof.clone(), key: self.key.clone() };
        let text = toml::to_string(&file)
            .map_err(|error| std::io::Error::new(ErrorKind::InvalidData, error))?;
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        super::tensorrt::plans::write(&self.path, text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fallback::simd_on;
    use crate::engine::{EngineChoice, Engines, Settings, Shipped};
    use crate::onnx::{ConvWeights, Graph, Operator};
    use kernels::conv::InstructionSet;

    /// Begins the file; the test writes the rest of it.
    const HEADER: &str = "\
# What `simd` says of the fixed values (models/src/engine/known.rs), in each precision of the shipped nets: the same on every
# processor. `SAGITTA_WRITE_ANSWERS=1 cargo test --release -p models known` writes it anew, after new weights.

";

    fn forms() -> [Forms; 2] {
        [Precision::Float, Precision::Int8].map(|precision| Forms::embedded(precision).unwrap())
    }

    #[test]
    fn the_frozen_answers_are_those_of_the_shipped_nets() {
        let answers = forms().map(|forms| {
            let mut nets = simd(&forms.simd, 2).unwrap();
            let vertebrae = golden::vertebrae(&mut nets).unwrap();
            let answer_sha256 = answer(&mut nets).unwrap();
            Frozen { vertebrae, answer_sha256, of: Of::nets(&nets) }
        });
        let text = toml::to_string(&AnswersFile { answer: answers.to_vec() }).unwrap();
        let text = format!("{HEADER}{text}");
        if std::env::var_os("SAGITTA_WRITE_ANSWERS").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/weights/answers.toml");
            std::fs::write(path, &text).unwrap();
        }
        assert!(
            text == FROZEN || std::env::var_os("SAGITTA_WRITE_ANSWERS").is_some(),
            "the answers are others now. After new weights: SAGITTA_WRITE_ANSWERS=1 cargo test --release -p models known\n{text}"
        );
    }

    /// Turns the sign of the largest weight of a layer; false where there is no such layer.
    fn damage(graph: &mut Graph, layer: usize) -> bool {
        let convolutions = graph.nodes.iter_mut().filter_map(|node| match &mut node.operator {
            Operator::Conv { weights, .. } => Some(weights),
            _ => None,
        });
        match convolutions.into_iter().nth(layer) {
            Some(ConvWeights::Float(weights)) => {
                let largest = weights.iter_mut().max_by(|a, b| a.abs().total_cmp(&b.abs()));
                *largest.unwrap() *= -1.0;
            }
            Some(ConvWeights::Int8 { steps, .. }) => {
                let largest = steps.iter_mut().max_by_key(|step| step.unsigned_abs());
                let largest = largest.unwrap();
                *largest = largest.saturating_neg();
            }
            None => return false,
        }
        true
    }

    /// What is in memory by another way than its file. In the deepest layers there are weights that nothing passes through, here
    /// or in an image: those are guarded by the checksums of the files alone.
    #[test]
    fn one_changed_weight_is_seen_in_nearly_every_layer() {
        let [_, Forms { simd: weights, .. }] = forms();
        let of = Of::nets(&simd(&weights, 1).unwrap());
        let known = Known::frozen(&of, &Answers::frozen()).unwrap();
        let seen = |damage: &dyn Fn(&mut Shipped, usize) -> bool| -> Vec<bool> {
            let in_layer = |layer| {
                let mut weights = weights.clone();
                damage(&mut weights, layer)
                    .then(|| known.check(&mut simd(&weights, 2).unwrap()).is_err())
            };
            (0..).map_while(in_layer).collect()
        };
        let semantic = seen(&|weights, layer| damage(&mut weights.semantic.graph, layer));
        let instance = seen(&|weights, layer| damage(&mut weights.instance.graph, layer));
        for seen in [semantic, instance] {
            let unseen = seen.iter().filter(|seen| !**seen).count();
            assert!(seen.len() >= 20 && unseen * 5 <= seen.len(), "{seen:?}");
        }
    }

    #[test]
    fn engines_whose_weights_are_damaged_are_not_to_be_believed() {
        let [_, mut forms] = forms();
        let settings = Settings::of(EngineChoice::Simd);
        Engines::open(&forms, &settings, 2, None).unwrap().self_test().unwrap();
        assert!(damage(&mut forms.simd.instance.graph, 0));
        let trouble = Engines::open(&forms, &settings, 2, None).unwrap().self_test().unwrap_err();
        assert_eq!(trouble.state, State::NotProven);
        assert!(trouble.text.contains("simd int8 says"), "{trouble}");
        forms.simd.instance.card.weights_sha256 = "of a net of the site's own".to_owned();
        let trouble = Engines::open(&forms, &settings, 2, None).unwrap().self_test().unwrap_err();
        assert!(trouble.text.contains("no answer of simd int8 is known"), "{trouble}");
    }

    #[test]
    fn a_folder_brings_its_answers_and_without_them_nothing_is_believed() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights");
        let folder = std::env::temp_dir().join(format!("sagitta-folder-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for entry in std::fs::read_dir(&shipped).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap();
            if name != FILE_NAME {
                std::fs::copy(&path, folder.join(name)).unwrap();
            }
        }
        let settings = Settings::of(EngineChoice::Simd);
        let test = || {
            let forms = Forms::from_folder(&folder, Precision::Auto).unwrap();
            Engines::open(&forms, &settings, 2, None).unwrap().self_test()
        };
        assert!(test().unwrap_err().text.contains("answers.toml"));
        let text = freeze(&folder, 2).unwrap();
        assert_eq!(format!("{HEADER}{text}"), FROZEN);
        test().unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_kept_proof_is_good_for_its_device_driver_weights_and_software() {
        let [_, forms] = forms();
        let nets = simd(&forms.simd, 1).unwrap();
        let folder = std::env::temp_dir().join(format!("sagitta-kept-{}", std::process::id()));
        let kept = Kept::of(&folder, &nets, "a device", "12060");
        assert_eq!(kept.read(), None);
        let proof = Proof { dice: 0.999, vertebrae: 6, answer_sha256: "cd".to_owned() };
        kept.store(&proof).unwrap();
        assert_eq!(kept.read(), Some(proof));
        assert_eq!(Kept::of(&folder, &nets, "another", "12060").read(), None);
        assert_eq!(Kept::of(&folder, &nets, "a device", "13000").read(), None);
        std::fs::write(folder.join("cuda.toml"), "damaged").unwrap();
        assert_eq!(kept.read(), None);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    /// On any processor, with any number of threads.
    #[test]
    fn every_instruction_set_gives_the_same_answer() {
        for forms in forms() {
            let answers: Vec<String> = InstructionSet::available()
                .into_iter()
                .map(|set| {
                    let mut nets = simd_on(&forms.simd, set, 1).unwrap();
                    answer(&mut nets).unwrap()
                })
                .collect();
            assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
        }
    }
}
