//! What differs between two configurations, key by key: what a person wants to know before a change.

use super::Config;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use toml::Value;

/// One key whose value would be another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// `dicom.ae_title`, `destination[pacs].address`.
    pub key: String,
    /// As TOML; none where the key is new.
    pub from: Option<String>,
    /// None where the key goes.
    pub to: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { key, from, to } = self;
        match (from, to) {
            (Some(from), Some(to)) => write!(f, "{key}: {from} -> {to}"),
            (None, Some(to)) => write!(f, "{key}: {to} (new)"),
            (Some(from), None) => write!(f, "{key}: {from} (gone)"),
            (None, None) => write!(f, "{key}"),
        }
    }
}

/// Every key in which the two differ, defaults included, sorted.
pub fn changes(from: &Config, to: &Config) -> Vec<Change> {
    let (from, mut to) = (flat(from), flat(to));
    let mut found: Vec<Change> = Vec::new();
    for (key, value) in from {
        let new = to.remove(&key);
        if new.as_ref() != Some(&value) {
            found.push(Change { key, from: Some(value), to: new });
        }
    }
    found.extend(to.into_iter().map(|(key, value)| Change { key, from: None, to: Some(value) }));
    found.sort_by(|a, b| a.key.cmp(&b.key));
    found
}

fn flat(config: &Config) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    let table = toml::Table::try_from(config).expect("what is read from TOML can be written");
    flatten("", &Value::Table(table), &mut keys);
    keys
}

fn flatten(place: &str, value: &Value, keys: &mut BTreeMap<String, String>) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                let dot = if place.is_empty() { "" } else { "." };
                flatten(&format!("{place}{dot}{key}"), value, keys);
            }
        }
        Value::Array(rows) if rows.iter().any(Value::is_table) => {
            for (n, row) in rows.iter().enumerate() {
                flatten(&format!("{place}[{}]", name(row, n)), row, keys);
            }
        }
        plain => drop(keys.insert(place.to_owned(), plain.to_string())),
    }
}

/// What a person calls a row: its own name, so that a row that moved is no change.
fn name(row: &Value, n: usize) -> String {
    let own = ["name", "calling_ae"].iter().find_map(|key| row.get(key)?.as_str());
    own.map_or_else(|| (n + 1).to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const FIRST: &str = "data = 'd'\n[mqtt]\nsite = 'north'\ndevice = 'mr1'\n";

    fn told(from: &str, to: &str) -> Vec<String> {
        let read = |text: &str| Config::parse(text, Path::new("a.toml")).unwrap();
        let told = changes(&read(from), &read(to));
        told.iter().map(Change::to_string).collect()
    }

    #[test]
    fn a_change_is_told_by_its_key_and_both_values() {
        assert_eq!(told(FIRST, FIRST), Vec::<String>::new());
        let other = FIRST.replace("mr1", "mr2");
        assert_eq!(told(FIRST, &other), [r#"mqtt.device: "mr1" -> "mr2""#]);
        // A default that is written down is no change.
        assert_eq!(told(FIRST, &format!("{FIRST}[dicom]\nae_title = 'SAGITTA'\n")), [""; 0]);
    }

    #[test]
    fn rows_are_known_by_their_names() {
        let row = |name: &str, port: u16| {
            format!("[[destination]]\nname = '{name}'\naddress = 'h:{port}'\ncalled_ae = 'P'\n")
        };
        let two = format!("{FIRST}{}{}", row("pacs", 104), row("console", 104));
        let turned = format!("{FIRST}{}{}", row("console", 104), row("pacs", 105));
        let change = r#"destination[pacs].address: "h:104" -> "h:105""#;
        assert_eq!(told(&two, &turned), [change]);
        let one = format!("{FIRST}{}", row("pacs", 104));
        assert!(told(&two, &one).iter().all(|c| c.starts_with("destination[console].")));
    }
}
