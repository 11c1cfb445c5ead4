//! The configuration described for machines (JSON Schema 2020-12) and for people (a page of tables), both from the types that
//! read it.

use super::Config;
use serde_json::{Map, Value};
use std::fmt::Write;

/// JSON Schema of the file.
pub fn schema() -> Value {
    schemars::schema_for!(Config).to_value()
}

/// Tables of all keys, one for each section, in Markdown.
pub fn tables() -> String {
    let schema = schema();
    let mut page = Page { definitions: definitions(&schema), sections: Vec::new() };
    page.section("", &schema);
    page.sections.concat()
}

fn definitions(schema: &Value) -> Map<String, Value> {
    schema.get("$defs").and_then(Value::as_object).cloned().unwrap_or_default()
}

struct Page {
    definitions: Map<String, Value>,
    sections: Vec<String>,
}

impl Page {
    /// Writes the table of an object, then those of the objects in it.
    fn section(&mut self, path: &str, object: &Value) {
        let Some(keys) = object.get("properties").and_then(Value::as_object) else { return };
        let required = object.get("required").and_then(Value::as_array);
        let required: Vec<&str> =
            required.into_iter().flatten().filter_map(Value::as_str).collect();
        let at = self.sections.len();
        self.sections.push(String::new());
        let mut rows = String::new();
        for (key, value) in keys {
            let shape = self.shape(value);
            let inner = join(path, key);
            match &shape.object {
                Some(object) if shape.list => self.section(&format!("[{inner}]"), object),
                Some(object) => self.section(&inner, object),
                None => {
                    let default = match required.contains(&key.as_str()) {
                        true => "**required**".to_owned(),
                        false => told(value.get("default")),
                    };
                    let what = words(value.get("description").or(shape.description.as_ref()));
                    line(&mut rows, &format!("| `{key}` | {} | {default} | {what} |", shape.name));
                }
            }
        }
        if !rows.is_empty() {
            let title = if path.is_empty() { String::new() } else { format!("## `[{path}]`\n\n") };
            let what = match path {
                "" => String::new(),
                _ => format!("{}\n\n", words(object.get("description"))),
            };
            let head = "| Key | Type | Default | What |\n|---|---|---|---|\n";
            self.sections[at] = format!("{title}{what}{head}{rows}\n");
        }
    }

    fn shape(&self, value: &Value) -> Shape {
        if let Some(name) = value.get("$ref").and_then(Value::as_str) {
            let name = name.trim_start_matches("#/$defs/");
            return self.shape(self.definitions.get(name).unwrap_or(&Value::Null));
        }
        if let Some(of) = list(value, "anyOf") {
            // An optional value: the other alternative is null.
            let some = of.iter().find(|one| one.get("type") != Some(&Value::from("null")));
            return self.shape(some.unwrap_or(&Value::Null));
        }
        let description = value.get("description").cloned();
        let plain = |name: String| Shape { name, list: false, object: None, description: None };
        if let Some(of) = list(value, "oneOf") {
            return Shape { description, ..plain(self.alternatives(of)) };
        }
        if let Some(items) = value.get("items") {
            let Shape { name, object, .. } = self.shape(items);
            let name = format!("list of {name}");
            return Shape { name, list: true, object, description };
        }
        if value.get("properties").is_some() {
            return Shape { object: Some(value.clone()), description, ..plain("table".to_owned()) };
        }
        let named = match list(value, "enum") {
            Some(words) => {
                words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
            }
            None => kind(value),
        };
        Shape { description, ..plain(named) }
    }

    /// Words one may choose from, or tables that are told apart by a word.
    fn alternatives(&self, of: &[Value]) -> String {
        let told = of.iter().flat_map(|one| {
            let tagged = one.get("properties").and_then(Value::as_object);
            match (one.get("const"), list(one, "enum"), tagged) {
                (Some(word), _, _) => vec![format!("`{word}`")],
                (_, Some(words), _) => words.iter().map(|word| format!("`{word}`")).collect(),
                (_, _, Some(keys)) => vec![self.tagged(one, keys)],
                _ => vec![self.shape(one).name],
            }
        });
        told.collect::<Vec<_>>().join(", ")
    }

    /// `{ kind = "external", host, port, ... }`.
    fn tagged(&self, one: &Value, keys: &Map<String, Value>) -> String {
        let referred = one.get("$ref").and_then(Value::as_str);
        let referred = referred.and_then(|name| {
            self.definitions
                .get(name.trim_start_matches("#/$defs/"))?
                .get("properties")?
                .as_object()
        });
        let all = keys.iter().chain(referred.into_iter().flatten());
        let told = all.map(|(key, value)| match value.get("const") {
            Some(word) => format!("{key} = {word}"),
            None => key.clone(),
        });
        format!("`{{ {} }}`", told.collect::<Vec<_>>().join(", "))
    }
}

/// What a value is, with references followed.
struct Shape {
    name: String,
    list: bool,
    /// The keys of a table, or of each table of a list.
    object: Option<Value>,
    description: Option<Value>,
}

fn kind(value: &Value) -> String {
    let types = match value.get("type") {
        Some(Value::Array(types)) => types.clone(),
        Some(one) => vec![one.clone()],
        None => Vec::new(),
    };
    let word = types.iter().filter_map(Value::as_str).find(|&word| word != "null");
    match (word, value.get("pattern").and_then(Value::as_str)) {
        (Some("string"), Some(pattern)) => format!("text, `{pattern}`"),
        (Some("string"), None) => "text".to_owned(),
        (Some("boolean"), _) => "true, false".to_owned(),
        (Some(word), _) => word.to_owned(),
        (None, _) => "text".to_owned(),
    }
}

fn list<'a>(value: &'a Value, key: &str) -> Option<&'a [Value]> {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice)
}

fn join(path: &str, key: &str) -> String {
    let inner = path.trim_matches(['[', ']']);
    if inner.is_empty() { key.to_owned() } else { format!("{inner}.{key}") }
}

fn told(default: Option<&Value>) -> String {
    match default {
        None | Some(Value::Null) => "none".to_owned(),
        Some(value) => format!("`{value}`"),
    }
}

/// A comment of the source as a line: one paragraph, without the brackets of links.
fn words(description: Option<&Value>) -> String {
    let text = description.and_then(Value::as_str).unwrap_or_default();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.replace("[`", "`").replace("`]", "`").replace('|', "or")
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a string takes text");
}
