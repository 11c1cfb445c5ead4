//! The house rules as tests: dependency direction, purity, sizes, `unsafe`, data files, machine paths, names.
//!
//! Reads what git tracks (and what is new and not ignored), so a forgotten file is seen before it is committed. Rules
//! that clippy knows are clippy's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use tests::root;
use tests::source::{self, Function};

/// Longest file and function in lines (style.md, rule 20): a function fits a screen.
const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 70;
/// A picture of the documentation may be this large without an entry in SOURCES.md.
const MAX_UNLISTED_BYTES: u64 = 200 * 1024;

/// Own crates: folder, name, own crates it may depend on, and those its tests may use besides.
const CRATES: [(&str, &str, &[&str], &[&str]); 10] = [
    ("kernels", "kernels", &[], &["emulation"]),
    ("kernels/emulation", "emulation", &["kernels"], &[]),
    ("models/phantom", "phantom", &["kernels"], &[]),
    ("runtime/pipeline", "pipeline", &["kernels"], &["phantom"]),
    ("models", "models", &["kernels", "phantom", "pipeline"], &["emulation"]),
    ("models/tensorrt/mock", "tensorrt-mock", &["kernels", "models", "pipeline"], &[]),
    ("runtime", "sagitta", &["kernels", "link", "models", "phantom", "pipeline"], &[]),
    ("firmware/link", "link", &[], &[]),
    ("firmware", "firmware", &["link"], &[]),
    (
        "tests",
        "tests",
        &["firmware", "kernels", "link", "models", "phantom", "pipeline", "sagitta"],
        &[],
    ),
];

/// Crates whose sources know no network, files, clock or async runtime; and the words that would betray them.
const PURE: [&str; 2] = ["kernels/src/", "runtime/pipeline/src/"];
const IMPURE: [&str; 5] = ["tokio", "net", "fs", "Instant", "SystemTime"];

/// Where `unsafe` may be: vector instructions, foreign libraries, registers.
const UNSAFE_MODULES: [&str; 8] = [
    "kernels/emulation/src/",
    "kernels/src/conv",
    "kernels/src/cuda",
    "models/src/engine/",
    "models/tensorrt/mock/",
    "firmware/board/",
    "firmware/board-stm32g4/",
    "firmware/src/board.rs",
];

/// The top level, nothing more and nothing less.
const TOP_LEVEL: [&str; 20] = [
    ".ci",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "clippy.toml",
    "deny.toml",
    "docs",
    "firmware",
    "justfile",
    "kernels",
    "models",
    "runtime",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "tests",
    "yocto",
];

/// File names that say "data". Compressed files count, whatever is in them.
const DATA: [&str; 16] = [
    "bin",
    "ckpt",
    "dcm",
    "gz",
    "nii",
    "npy",
    "npz",
    "onnx",
    "pdf",
    "plan",
    "pt",
    "safetensors",
    "tar",
    "xz",
    "zip",
    "zst",
];

/// Every tracked or new file of the repository, as a path from its root.
fn files() -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git is needed to list the files");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let list = String::from_utf8(output.stdout).expect("paths are UTF-8");
    let names: BTreeSet<&str> = list.split('\0').filter(|name| !name.is_empty()).collect();
    names.into_iter().filter(|name| root().join(name).is_file()).map(str::to_owned).collect()
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("read {name}: {error}"))
}

fn extension(name: &str) -> &str {
    Path::new(name).extension().and_then(|e| e.to_str()).unwrap_or("")
}

fn rust_files() -> impl Iterator<Item = (String, String)> {
    files().into_iter().filter(|name| extension(name) == "rs").map(|name| {
        let text = read(&name);
        (name, text)
    })
}

/// Fails with every complaint at once.
fn none(rule: &str, complaints: Vec<String>) {
    assert!(complaints.is_empty(), "{rule}:\n  {}\n", complaints.join("\n  "));
}

#[test]
fn dependencies_point_one_way() {
    let mut complaints = Vec::new();
    let workspace: toml::Table = read("Cargo.toml").parse().unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let members: BTreeSet<&str> = members.iter().filter_map(|m| m.as_str()).collect();
    let known: BTreeSet<&str> = CRATES.iter().map(|c| c.0).collect();
    assert_eq!(members, known, "a new crate needs its place in this table");
    for (folder, name, allowed, in_tests) in CRATES {
        let manifest: toml::Table = read(&format!("{folder}/Cargo.toml")).parse().unwrap();
        assert_eq!(manifest["package"]["name"].as_str(), Some(name));
        for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
            let Some(table) = manifest.get(section).and_then(|t| t.as_table()) else { continue };
            for dependency in table.keys().filter(|d| CRATES.iter().any(|c| c.1 == d.as_str())) {
                let dependency = dependency.as_str();
                let dev = section == "dev-dependencies" && in_tests.contains(&dependency);
                if !allowed.contains(&dependency) && !dev {
                    complaints.push(format!("{name} may not depend on {dependency} ({section})"));
                }
            }
        }
        if manifest.contains_key("target") && folder != "firmware" {
            complaints
                .push(format!("{name} has target-specific dependencies, which nobody checks"));
        }
    }
    none("dependencies point one way", complaints);
}

#[test]
fn the_pure_crates_know_no_clock_files_or_network() {
    let mut complaints = Vec::new();
    for (name, text) in rust_files().filter(|(name, _)| PURE.iter().any(|p| name.starts_with(p))) {
        let code = source::code_only(&text);
        for (at, word) in source::words(&code).filter(|(_, word)| IMPURE.contains(word)) {
            // `net` and `fs` are the standard library's only in a path or a list of `std`; `trait Net` is ours.
            let statement = code[..at].rsplit([';', '}']).next().unwrap_or("");
            let path = code[..at].ends_with("std::") || statement.contains("std::{");
            if path || !["net", "fs"].contains(&word) {
                let line = code[..at].matches('\n').count() + 1;
                complaints.push(format!("{name}:{line} names {word}"));
            }
        }
    }
    none("bytes and time come as arguments", complaints);
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exceptions {
    #[serde(default)]
    file: Vec<Exception>,
    #[serde(default)]
    function: Vec<Exception>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    path: String,
    name: Option<String>,
    lines: usize,
}

/// Complaints about `measured` against `limit` with today's `exceptions`, which may only shrink.
fn ratchet(
    measured: &BTreeMap<String, usize>,
    exceptions: Vec<Exception>,
    limit: usize,
) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut allowed = BTreeMap::new();
    for e in exceptions {
        let key = e.name.map_or_else(|| e.path.clone(), |name| format!("{} fn {name}", e.path));
        match measured.get(&key) {
            Some(&lines) if lines > limit && lines == e.lines => drop(allowed.insert(key, lines)),
            Some(&lines) if lines > limit && lines < e.lines => {
                complaints.push(format!("{key} shrank: lower its entry to {lines} lines"));
                allowed.insert(key, lines);
            }
            Some(&lines) if lines > limit => {}
            _ => {
                complaints.push(format!("{key} is within {limit} lines or gone: remove its entry"))
            }
        }
    }
    let new = measured.iter().filter(|&(key, &lines)| lines > limit && !allowed.contains_key(key));
    complaints.extend(new.map(|(key, lines)| format!("{key}: {lines} lines, at most {limit}")));
    complaints
}

#[test]
fn files_and_functions_are_small_enough_to_see() {
    let mut lengths = BTreeMap::new();
    let mut functions = BTreeMap::new();
    for name in files() {
        let measure: fn(&str) -> Vec<Function> = match extension(&name) {
            "rs" => |text| source::functions(&source::code_only(text), "fn"),
            "js" => |text| source::functions(&source::code_only(text), "function"),
            "cu" | "cpp" | "h" => |text| source::c_functions(&source::code_only(text)),
            "py" => source::python_functions,
            _ => continue,
        };
        let text = read(&name);
        lengths.insert(name.clone(), text.lines().count());
        for function in measure(&text) {
            let longest = functions.entry(format!("{name} fn {}", function.name)).or_insert(0);
            *longest = function.lines.max(*longest);
        }
    }
    assert!(functions.len() > 100, "the scanner lost the functions");
    let exceptions: Exceptions = toml::from_str(&read("tests/tidy-exceptions.toml")).unwrap();
    let mut complaints = ratchet(&lengths, exceptions.file, MAX_FILE_LINES);
    complaints.extend(ratchet(&functions, exceptions.function, MAX_FUNCTION_LINES));
    none("small enough to see", complaints);
}

#[test]
fn the_ratchet_only_turns_one_way() {
    let entry = |lines| vec![Exception { path: "a".into(), name: None, lines }];
    let say =
        |now: usize, exceptions| ratchet(&BTreeMap::from([("a".into(), now)]), exceptions, 10);
    assert!(say(10, vec![]).is_empty() && say(12, entry(12)).is_empty());
    assert_eq!(say(12, vec![]), ["a: 12 lines, at most 10"]);
    assert_eq!(say(13, entry(12)), ["a: 13 lines, at most 10"]);
    assert_eq!(say(11, entry(12)), ["a shrank: lower its entry to 11 lines"]);
    assert_eq!(say(9, entry(12)), ["a is within 10 lines or gone: remove its entry"]);
}

#[test]
fn unsafe_is_fenced_and_explained() {
    let mut complaints = Vec::new();
    for (name, text) in rust_files() {
        let code = source::code_only(&text);
        let lines: Vec<&str> = text.lines().collect();
        for (at, _) in source::words(&code).filter(|&(_, word)| word == "unsafe") {
            let row = code[..at].matches('\n').count();
            if !UNSAFE_MODULES.iter().any(|module| name.starts_with(module)) {
                complaints.push(format!("{name}:{} unsafe outside the fence", row + 1));
            }
            let next = source::words(&code[at..]).nth(1).map(|(_, word)| word);
            let block = code[at + "unsafe".len()..].trim_start().starts_with('{');
            if (block || next == Some("impl")) && !explained(&lines, row) {
                complaints.push(format!("{name}:{} has no `// SAFETY:` comment", row + 1));
            }
        }
    }
    none("unsafe is fenced and explained", complaints);
}

/// Whether a `// SAFETY:` comment stands in the comment directly above the statement that `row` belongs to.
fn explained(lines: &[&str], row: usize) -> bool {
    let mut above = lines[..row].iter().rev().map(|line| line.trim()).skip_while(|line| {
        let ends = [";", "{", "}", ","].iter().any(|end| line.ends_with(end));
        !line.starts_with("//") && !line.is_empty() && !ends
    });
    above.by_ref().take_while(|line| line.starts_with("//")).any(|line| line.contains("SAFETY:"))
}

#[test]
fn every_rust_file_says_what_it_is_for() {
    let silent = rust_files().filter(|(_, text)| !text.starts_with("//! "));
    none("a file opens with `//!`", silent.map(|(name, _)| name).collect());
}

#[test]
fn no_path_of_a_machine_is_committed() {
    // Written apart, so that this file passes its own rule.
    let roots = ["work", "root", "home", "Users"].map(|folder| format!("/{folder}/"));
    let mut complaints = Vec::new();
    for name in files() {
        let Ok(text) = fs::read_to_string(root().join(&name)) else { continue };
        for (row, line) in text.lines().enumerate() {
            let machine = roots.iter().any(|path| {
                line.match_indices(path.as_str()).any(|(at, _)| {
                    // Inside a longer path or an address it is not the root of a file system.
                    !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}".contains(c))
                })
            });
            if machine {
                complaints.push(format!("{name}:{}", row + 1));
            }
        }
    }
    none("no path of a machine", complaints);
}

#[test]
fn data_files_have_an_origin() {
    let names = files();
    let sources = names.iter().any(|n| n == "tests/data/SOURCES.md");
    let sources = if sources { read("tests/data/SOURCES.md") } else { String::new() };
    let mut complaints = Vec::new();
    for name in &names {
        let bytes = fs::metadata(root().join(name)).unwrap().len();
        let listed = sources.contains(&format!("`{name}`"));
        // A net's int8 form is named by the card of its weights.
        let float = name.replace(".int8.onnx", ".onnx");
        let card = Path::new(&float).with_extension("toml");
        let weights =
            name.starts_with("models/weights/") && names.iter().any(|n| Path::new(n) == card);
        let text = fs::read_to_string(root().join(name)).is_ok();
        let picture = matches!(extension(name), "png" | "jpg") && bytes <= MAX_UNLISTED_BYTES;
        let unknown = DATA.contains(&extension(name)) || !text && !picture;
        let large = bytes > MAX_UNLISTED_BYTES && name != "Cargo.lock";
        let in_data = name.starts_with("tests/data/") && !name.ends_with("SOURCES.md");
        if (unknown || large || in_data) && !listed && !weights {
            complaints.push(format!("{name} ({bytes} bytes)"));
        }
    }
    none("list it in tests/data/SOURCES.md as `path`, or give the weights a card", complaints);
}

#[test]
fn the_top_level_is_the_plan() {
    let names = files();
    let top: BTreeSet<&str> = names.iter().filter_map(|n| n.split('/').next()).collect();
    assert_eq!(top, BTreeSet::from(TOP_LEVEL));
    for script in [".ci/run", "tests/run", "tests/bench/run", "tests/gpu/run"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(root().join(script)).expect(script).permissions().mode();
        assert!(mode & 0o100 != 0, "{script} is not executable");
    }
}
