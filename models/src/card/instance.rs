//! Reads the card of an instance net into [`InstanceCard`], as [`super::Card`] reads that of a semantic net.

use super::{About, CardError, Int8Form, MILLIMETRES, checked_hash, syntax};
use pipeline::card::Window;
use pipeline::{InstanceCard, Structure, VertebraId};
use serde::Deserialize;

/// A checked card of an instance net.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceFile {
    pub model: InstanceCard,
    pub int8: Option<Int8Form>,
    pub about: About,
}

/// The file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CardFile {
    name: String,
    version: String,
    weights_sha256: String,
    int8: Option<Int8Form>,
    #[serde(default)]
    levels: Vec<u8>,
    cutout: CutoutTable,
    groups: Vec<GroupTable>,
    about: About,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CutoutTable {
    columns: usize,
    rows: usize,
    slices: usize,
    in_plane_mm: f64,
    slice_mm: f64,
    columns_before: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupTable {
    name: String,
    structures: Vec<u8>,
}

/// Most columns, rows or slices of a cutout: half a metre at one millimetre, and 2048 channels at most.
const MAX_SIDE: usize = 512;
const MAX_SLICES: usize = 64;

impl InstanceFile {
    /// Parses and checks `text`; `file` names it in errors.
    pub fn parse(text: &str, file: &str) -> Result<InstanceFile, CardError> {
        let card: CardFile = toml::from_str(text).map_err(|e| syntax(text, file, &e))?;
        let fault = |key, message: String| CardError::Value { file: file.to_owned(), key, message };
        checked_hash(&card.weights_sha256).map_err(|m| fault("weights_sha256", m))?;
        card.int8.as_ref().map_or(Ok(()), Int8Form::check).map_err(|m| fault("int8", m))?;
        if card.name.is_empty() || card.version.is_empty() {
            return Err(fault("name", "name and version must not be empty".to_owned()));
        }
        let window = window(&card.cutout).map_err(|m| fault("cutout", m))?;
        let groups = groups(&card.groups).map_err(|m| fault("groups", m))?;
        let levels = levels(&card.levels).map_err(|m| fault("levels", m))?;
        let model = InstanceCard {
            name: card.name,
            version: card.version,
            weights_sha256: card.weights_sha256,
            window,
            groups,
            levels,
        };
        Ok(InstanceFile { model, int8: card.int8, about: card.about })
    }
}

fn window(table: &CutoutTable) -> Result<Window, String> {
    let CutoutTable { columns, rows, slices, in_plane_mm, slice_mm, columns_before } = *table;
    for (name, count, most) in
        [("columns", columns, MAX_SIDE), ("rows", rows, MAX_SIDE), ("slices", slices, MAX_SLICES)]
    {
        if !(1..=most).contains(&count) {
            return Err(format!("{count} {name}, not in 1..={most}"));
        }
    }
    if columns_before >= columns {
        return Err(format!("{columns_before} columns before the centre, of {columns}"));
    }
    for (name, mm) in [("in_plane_mm", in_plane_mm), ("slice_mm", slice_mm)] {
        if !MILLIMETRES.contains(&mm) {
            return Err(format!("{name} {mm} is not in {MILLIMETRES:?}"));
        }
    }
    let spacing_mm = [in_plane_mm, in_plane_mm, slice_mm];
    Ok(Window { counts: [columns, rows, slices], spacing_mm, columns_before })
}

/// No group is empty, no structure is in two; bodies are in one, or nothing could be told apart.
fn groups(tables: &[GroupTable]) -> Result<Vec<Vec<Structure>>, String> {
    let mut seen = Vec::new();
    let mut groups = Vec::with_capacity(tables.len());
    for table in tables {
        let mut structures = Vec::new();
        for &value in &table.structures {
            let structure = Structure::from_value(value)
                .ok_or_else(|| format!("{} has the unknown structure {value}", table.name))?;
            if seen.contains(&structure) {
                return Err(format!("structure {value} belongs to two groups"));
            }
            seen.push(structure);
            structures.push(structure);
        }
        if structures.is_empty() {
            return Err(format!("group {} has no structure", table.name));
        }
        groups.push(structures);
    }
    if !seen.contains(&Structure::VertebralBody) {
        return Err("no group has the vertebral body".to_owned());
    }
    Ok(groups)
}

/// Every level is a SPINEPS id and stands there once.
fn levels(values: &[u8]) -> Result<Vec<VertebraId>, String> {
    let level = |(n, &value): (usize, &u8)| match VertebraId::new(value) {
        None => Err(format!("{value} is no vertebra's id")),
        Some(_) if values[..n].contains(&value) => Err(format!("{value} stands there twice")),
        Some(id) => Ok(id),
    };
    values.iter().enumerate().map(level).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../weights/instance.toml");

    #[test]
    fn the_shipped_card_is_read() {
        let card = InstanceFile::parse(SHIPPED, "instance.toml").unwrap();
        let model = card.model;
        assert_eq!(model.window.counts, [80, 96, 20]);
        assert_eq!(
            (model.groups.len(), model.input_channels(), model.output_channels()),
            (9, 180, 106)
        );
        assert_eq!(model.groups[0], [Structure::VertebralBody, Structure::Endplate]);
    }

    #[test]
    fn impossible_values_name_their_key() {
        let expect = |from: &str, to: &str, want: &str| {
            assert!(SHIPPED.contains(from), "{from}");
            let error = InstanceFile::parse(&SHIPPED.replacen(from, to, 1), "a.toml").unwrap_err();
            assert_eq!(error.to_string(), format!("model card a.toml, key {want}"));
        };
        expect("slices = 20", "slices = 65", "cutout: 65 slices, not in 1..=64");
        expect(
            "columns_before = 24",
            "columns_before = 80",
            "cutout: 80 columns before the centre, of 80",
        );
        expect("slice_mm = 4.0", "slice_mm = 0.0", "cutout: slice_mm 0 is not in 0.1..=20.0");
        expect("levels = [2, 3", "levels = [2, 2", "levels: 2 stands there twice");
        expect("levels = [2,", "levels = [27,", "levels: 27 is no vertebra's id");
        expect("[49, 62]", "[62]", "groups: no group has the vertebral body");
        expect("[43, 44]", "[43, 49]", "groups: structure 49 belongs to two groups");
        expect("[43, 44]", "[]", "groups: group transverse process has no structure");
        expect("[43, 44]", "[43, 63]", "groups: transverse process has the unknown structure 63");
    }
}
