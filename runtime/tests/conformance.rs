//! The conformance statement says what the program does: its tables of classes and transfer syntaxes, both ways.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use dicom_dictionary_std::uids;
use sagitta::ingest::classes::{IGNORED, PHILIPS_PRIVATE, TRANSFER_SYNTAXES};
use sagitta::objects::{OutputKind, TRANSFER_SYNTAX};
use sagitta::part10::IMPLEMENTATION_CLASS_UID;
use std::collections::BTreeSet;

const UID_COLUMN: usize = 1;

/// The cells of the tables of one section, row by row.
fn rows(section: &str) -> Vec<Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/dicom-conformance.md");
    let text = std::fs::read_to_string(path).unwrap();
    let after = text.split_once(&format!("# {section} ")).unwrap().1;
    let section = after.split("\n#").next().unwrap();
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).skip(1).collect();
    section.lines().filter(|line| line.starts_with('|')).map(cells).collect()
}

/// The UIDs of a section whose row says `word` in a column.
fn stated(section: &str, column: usize, word: &str) -> BTreeSet<String> {
    let rows = rows(section).into_iter();
    rows.filter(|row| row.get(column).is_some_and(|cell| cell.contains(word)))
        .map(|row| row[UID_COLUMN].clone())
        .collect()
}

fn set<'a>(uids: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    uids.into_iter().map(str::to_owned).collect()
}

#[test]
fn the_classes_that_are_taken_are_those_of_the_statement() {
    let ignored = stated("4.2.1.3.2", 4, "ignored");
    let philips = format!("{PHILIPS_PRIVATE}*");
    assert_eq!(ignored, set(IGNORED.into_iter().chain([philips.as_str()])));
    let used = stated("4.2.1.3.2", 4, "segmented");
    assert_eq!(used, set([uids::MR_IMAGE_STORAGE, uids::ENHANCED_MR_IMAGE_STORAGE]));
    let syntaxes: Vec<String> = rows("4.2.1.3.2")
        .into_iter()
        .filter(|row| {
            row[UID_COLUMN] == *uids::IMPLICIT_VR_LITTLE_ENDIAN
                || row[UID_COLUMN].starts_with("1.2.840.10008.1.2.")
        })
        .map(|row| row[UID_COLUMN].clone())
        .collect();
    assert_eq!(syntaxes, TRANSFER_SYNTAXES, "in the order in which they are preferred");
}

#[test]
fn the_objects_that_are_sent_are_those_of_the_statement() {
    assert_eq!(TRANSFER_SYNTAX, uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let rows = rows("4.2.2.3");
    for kind in OutputKind::ALL {
        let named = format!("`{}`", kind.name());
        let row = rows.iter().find(|row| row[3].contains(&named)).unwrap();
        assert_eq!(row[UID_COLUMN], kind.sop_class(), "{named}");
        assert_eq!(row[2], "Explicit VR Little Endian", "{named}");
    }
    let classes = set(OutputKind::ALL.map(OutputKind::sop_class));
    assert_eq!(stated("4.2.2.3", 2, "Explicit"), classes);
}

#[test]
fn the_implementation_is_named_as_it_names_itself() {
    let rows = rows("4.2.1.2");
    let said = |what: &str| rows.iter().find(|row| row[0] == what).unwrap()[1].clone();
    assert_eq!(said("Implementation class UID"), IMPLEMENTATION_CLASS_UID);
    let version = format!("SAGITTA_{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(said("Implementation version name"), version);
}
