//! What the papers about safety say is tested, is tested: every test that they name is there, and every row has one.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::collections::BTreeSet;
use std::path::Path;

use tests::root;

/// The papers, and how a row's first cell begins.
const PAPERS: [(&str, &str); 3] =
    [("docs/risk.md", "H"), ("docs/threats.md", "T"), ("docs/requirements.md", "R-")];

/// The tests that a row names: `FILE.rs::NAME`.
fn named(row: &str) -> Vec<(&str, &str)> {
    let quoted = row.split('`').skip(1).step_by(2);
    quoted.filter_map(|text| text.split_once("::")).filter(|(file, _)| is_rust(file)).collect()
}

fn is_rust(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|end| end == "rs")
}

/// Whether `text` has a test of this name: a function under an attribute that makes it one.
fn is_test(text: &str, name: &str) -> bool {
    let head = format!("fn {name}(");
    let Some(at) = text.find(&head) else { return false };
    let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let above = text[..line].lines().rev().take(6);
    let above = above.take_while(|line| !line.trim().is_empty() && !line.starts_with('}'));
    above.into_iter().any(|line| line.contains("test]") || line.contains("test("))
}

#[test]
fn every_row_names_tests_that_are_there() {
    let mut wrong = Vec::new();
    for (paper, begin) in PAPERS {
        let text = std::fs::read_to_string(root().join(paper)).unwrap();
        let mut ids = BTreeSet::new();
        for row in text.lines().filter_map(|line| line.strip_prefix("| ")) {
            let id = row.split(' ').next().unwrap();
            let numbered = id.ends_with(|end: char| end.is_ascii_digit());
            if !id.starts_with(begin) || !numbered {
                continue;
            }
            if !ids.insert(id) {
                wrong.push(format!("{paper}: {id} is there twice"));
            }
            let tests = named(row);
            if tests.is_empty() {
                wrong.push(format!("{paper}: {id} names no test"));
            }
            for (file, name) in tests {
                let text = std::fs::read_to_string(root().join(file)).unwrap_or_default();
                if !is_test(&text, name) {
                    wrong.push(format!("{paper}: {id}: {file} has no test {name}"));
                }
            }
        }
        assert!(ids.len() > 10, "{paper} has lost its rows");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_test_is_known_by_its_attribute() {
    let text = "#[test]\nfn one() {}\n\n#[tokio::test(flavor = \"x\")]\nasync fn two() {}\n\nfn three() {}\n";
    assert!(is_test(text, "one") && is_test(text, "two"));
    assert!(!is_test(text, "three") && !is_test(text, "four"));
}
