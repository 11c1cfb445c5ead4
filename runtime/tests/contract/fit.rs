//! Whether a message fits its schema: the keywords of JSON Schema that ours use, and no others.

use sagitta::messages::{Name, Version};
use serde_json::Value;

/// The patterns our schemas use; each stands for text that cannot hold a name, a UID or a date of a patient.
pub(crate) fn matches_pattern(pattern: &str, text: &str) -> bool {
    let all = |text: &str, allowed: &dyn Fn(u8) -> bool| text.bytes().all(allowed);
    let hexadecimal = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    match pattern {
        "^[0-9a-f]{16}$" => text.len() == 16 && all(text, &hexadecimal),
        "^[0-9a-f]{64}$" => text.len() == 64 && all(text, &hexadecimal),
        "^[a-z2-7]{20}$" => {
            text.len() == 20 && all(text, &|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b))
        }
        "^[a-z0-9-]{1,32}$" => Name::new(text).is_ok(),
        "^[a-z0-9-]{1,32}/[a-z0-9-]{1,32}$" => {
            text.split_once('/').is_some_and(|(a, b)| Name::new(a).is_ok() && Name::new(b).is_ok())
        }
        r"^[0-9]{1,5}\.[0-9]{1,5}\.[0-9]{1,5}$" => Version::parse(text, "version").is_ok(),
        "^[CTLS][0-9]{1,2}$" => {
            (2..=3).contains(&text.len())
                && text.starts_with(['C', 'T', 'L', 'S'])
                && all(&text[1..], &|b| b.is_ascii_digit())
        }
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$" => {
            let shape = |b: u8| if b.is_ascii_digit() { b'0' } else { b };
            text.bytes().map(shape).eq(*b"0000-00-00T00:00:00.000Z")
        }
        other => panic!("a pattern this test does not know: {other}"),
    }
}

/// Keywords of JSON Schema 2020-12 that our schemas use; any other is an error, so that nothing goes unchecked.
pub(crate) fn check(schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{place}: {what}: {value}"));
    let Value::Object(keywords) = schema else {
        return if schema == &Value::Bool(false) { wrong("not allowed") } else { Ok(()) };
    };
    for (keyword, wanted) in keywords {
        let right = match keyword.as_str() {
            "$schema" | "title" | "description" | "format" | "additionalProperties" => true,
            "const" => value == wanted,
            "enum" => wanted.as_array().unwrap().contains(value),
            "type" => match wanted {
                Value::Array(types) => types.iter().any(|t| has_type(value, t)),
                one => has_type(value, one),
            },
            "minimum" => value.as_f64().is_none_or(|v| v >= wanted.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|v| v <= wanted.as_f64().unwrap()),
            "pattern" => {
                value.as_str().is_none_or(|text| matches_pattern(wanted.as_str().unwrap(), text))
            }
            "required" => {
                // Of objects alone: what else a value may be, `type` says.
                let has = |key: &Value| value.get(key.as_str().unwrap()).is_some();
                !value.is_object() || wanted.as_array().unwrap().iter().all(has)
            }
            "properties" => {
                let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
                for (key, value) in value.as_object().into_iter().flatten() {
                    match wanted.get(key) {
                        Some(schema) => check(schema, value, &format!("{place}.{key}"))?,
                        None if closed => return wrong(&format!("undocumented field {key}")),
                        None => {}
                    }
                }
                true
            }
            "items" => {
                for value in value.as_array().into_iter().flatten() {
                    check(wanted, value, &format!("{place}[]"))?;
                }
                true
            }
            "oneOf" => {
                let fits = |schema: &&Value| check(schema, value, place).is_ok();
                wanted.as_array().unwrap().iter().filter(fits).count() == 1
            }
            other => return wrong(&format!("this test does not know the keyword {other}")),
        };
        if !right {
            return wrong(keyword);
        }
    }
    Ok(())
}

fn has_type(value: &Value, name: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("unknown type {other}"),
    }
}
