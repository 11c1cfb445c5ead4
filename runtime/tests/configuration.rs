//! What is written about the configuration is what the program reads: its schema, the page of its keys, the packaged files.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use sagitta::config::schema;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Where the page of keys begins; above it is written by hand.
const BEGIN: &str = "<!-- From here on written by `SAGITTA_WRITE_DOCS=1 cargo test --release -p sagitta --test configuration`. -->\n";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn the_page_of_keys_is_that_of_the_types() {
    let path = file("../docs/configuration.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (by_hand, keys) = page.split_once(BEGIN).expect("the mark of the page");
    let written = format!("\n{}", schema::tables().trim_end());
    if std::env::var_os("SAGITTA_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{by_hand}{BEGIN}{written}\n")).unwrap();
        return;
    }
    assert!(
        keys.trim_end() == written,
        "the keys are others now: SAGITTA_WRITE_DOCS=1 cargo test --release -p sagitta --test configuration"
    );
    for section in ["[mqtt]", "[dicom]", "[[dicom.peer]]", "[tls]", "[[destination]]", "[jobs]"] {
        assert!(written.contains(&format!("## `{section}`")), "{section} is missing:{written}");
    }
}

/// Follows one file through the schema: every key is known where it stands.
fn unknown(schema: &Value, at: &Value, value: &Value, place: &str, faults: &mut Vec<String>) {
    let at = resolved(schema, at);
    match value {
        Value::Object(keys) => {
            let known: Vec<&Value> = shapes(schema, at);
            for (key, value) in keys {
                let inner = known.iter().find_map(|shape| shape["properties"].get(key));
                match inner {
                    Some(inner) => {
                        unknown(schema, inner, value, &format!("{place}.{key}"), faults);
                    }
                    None => faults.push(format!("{place}.{key}")),
                }
            }
        }
        Value::Array(rows) => {
            for row in rows {
                unknown(schema, &at["items"], row, place, faults);
            }
        }
        _ => {}
    }
}

/// The alternatives of a place.
fn shapes<'a>(schema: &'a Value, at: &'a Value) -> Vec<&'a Value> {
    let lists = ["anyOf", "oneOf"].into_iter().filter_map(|key| at[key].as_array());
    let mut shapes: Vec<&Value> =
        lists.flatten().flat_map(|one| shapes(schema, resolved(schema, one))).collect();
    if let Some(name) = at["$ref"].as_str() {
        shapes.extend(self::shapes(schema, &schema["$defs"][name.trim_start_matches("#/$defs/")]));
    }
    shapes.push(at);
    shapes
}

fn resolved<'a>(schema: &'a Value, at: &'a Value) -> &'a Value {
    match at["$ref"].as_str() {
        Some(name) if at.get("properties").is_none() => {
            &schema["$defs"][name.trim_start_matches("#/$defs/")]
        }
        _ => match at["anyOf"].as_array() {
            // An optional table.
            Some(of) if of.len() == 2 && of[1] == json!({ "type": "null" }) => {
                resolved(schema, &of[0])
            }
            _ => at,
        },
    }
}

#[test]
fn the_packaged_configurations_fit_the_schema() {
    let schema = schema::schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["required"], json!(["data", "mqtt"]));
    for name in ["packaging/sagitta.toml", "packaging/open-recon/sagitta.toml"] {
        let text = std::fs::read_to_string(file(name)).unwrap();
        let config: toml::Table = text.parse().unwrap();
        let mut faults = Vec::new();
        unknown(&schema, &schema, &json!(config), name, &mut faults);
        assert_eq!(faults, Vec::<String>::new());
    }
    let mut faults = Vec::new();
    let wrong = json!({ "dicom": { "peer": [{ "colour": "red" }] } });
    unknown(&schema, &schema, &wrong, "", &mut faults);
    assert_eq!(faults, [".dicom.peer.colour"]);
}
