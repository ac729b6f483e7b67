//! `litesnn schema`: the JSON schema of a manifest with every plugin, for editors.
//!
//! A manifest is a layer: what it lacks may come from the file that it extends, from a profile or from `--set`. So the schema asks
//! for a key only where no other layer can add it: in the elements of `[[compressor]]` and `[[variant]]`. It refuses every key, plugin
//! and swept path that is not known.
//!
//! Draft 7 of JSON Schema, which editors' TOML plugins read.

use litesnn_framework::manifest::{DesignSource, Experiment, Interval, Training, VERSION};
use litesnn_framework::plugin::{Descriptor, Kind, plain_schema, registered, settings_schema};
use serde_json::{Map, Value, json};

use crate::exit::{Exit, Failure};

pub fn schema() -> Result<Exit, Failure> {
    println!("{:#}", manifest(&registered()));
    Ok(Exit::Done)
}

fn refer(definition: &str) -> Value {
    json!({ "$ref": format!("#/definitions/{definition}") })
}

/// An object with these keys and no other.
fn object(properties: Map<String, Value>) -> Value {
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// The schema of a manifest.
fn manifest(plugins: &[&Descriptor]) -> Value {
    let mut definitions = Map::new();
    let mut layer = Map::new();
    layer.insert(
        "version".into(),
        described(json!({ "type": "integer", "minimum": 1, "maximum": VERSION }), "Version of the format."),
    );
    for (name, schema, about) in [
        ("experiment", settings_schema::<Experiment>(), "Name and seeds of the experiment."),
        ("design", settings_schema::<DesignSource>(), "Retrain a design instead of searching one."),
        ("search", settings_schema::<Training>(), "How the weights of the supernet are trained."),
        ("retrain", settings_schema::<Training>(), "How the weights of the final network are trained."),
        ("checkpoint", settings_schema::<Interval>(), "How much work an interruption may cost."),
    ] {
        definitions.insert(name.into(), described(partial(plain_schema(&schema).into()), about));
        layer.insert(name.into(), refer(name));
    }
    for kind in Kind::ALL {
        let of_kind: Vec<&Descriptor> = plugins.iter().copied().filter(|plugin| plugin.kind == kind).collect();
        for plugin in &of_kind {
            definitions.insert(definition(plugin), settings(plugin));
        }
        let section = if kind == Kind::Compressor { compressors(&of_kind) } else { one_of(kind, &of_kind) };
        definitions.insert(kind.section().into(), section);
        layer.insert(kind.section().into(), refer(kind.section()));
    }
    let nodes = nodes(plugins, &definitions);
    definitions.insert("variant".into(), variant(&nodes));
    layer.insert(
        "variant".into(),
        json!({
            "type": "array",
            "items": refer("variant"),
            "description": "Rows of a table: named changes of the manifest.",
        }),
    );
    for (path, schema) in swept(&nodes) {
        definitions.insert(path, schema);
    }
    layer.insert("sweep".into(), refer("sweep"));
    definitions.insert("layer".into(), object(layer.clone()));
    let mut whole = layer;
    whole.insert("extends".into(), described(json!({ "type": "string" }), "The file below this one, relative to it."));
    whole.insert(
        "profile".into(),
        json!({
            "type": "object",
            "additionalProperties": refer("layer"),
            "description": "Layers that `--profile NAME` puts on top.",
        }),
    );
    let mut schema = object(whole);
    schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    schema["title"] = "litesnn manifest".into();
    schema["definitions"] = definitions.into();
    schema
}

fn described(mut schema: Value, about: &str) -> Value {
    schema["description"] = about.into();
    schema
}

/// The schema without what another layer can give, and without the names of Rust's types.
fn partial(mut schema: Value) -> Value {
    let Value::Object(map) = &mut schema else { return schema };
    for key in ["required", "title", "format"] {
        map.remove(key);
    }
    for (key, value) in map {
        match (key.as_str(), &mut *value) {
            ("properties", Value::Object(properties)) => {
                properties.values_mut().for_each(|property| *property = partial(property.take()));
            }
            ("items" | "additionalProperties", _) => *value = partial(value.take()),
            ("anyOf" | "allOf" | "oneOf", Value::Array(choices)) => {
                choices.iter_mut().for_each(|choice| *choice = partial(choice.take()));
            }
            _ => {}
        }
    }
    schema
}

fn definition(plugin: &Descriptor) -> String {
    format!("{}.{}", plugin.kind, plugin.name)
}

fn settings(plugin: &Descriptor) -> Value {
    let mut schema = partial(plain_schema(&(plugin.schema)()).into());
    schema["additionalProperties"] = false.into();
    let about = format!("{} ({}). `litesnn plugins {}` tells more.", plugin.summary, plugin.paper, plugin.name);
    described(schema, &about)
}

/// A section that names one plugin.
fn one_of(kind: Kind, plugins: &[&Descriptor]) -> Value {
    let properties = plugins.iter().map(|plugin| (plugin.name.to_owned(), refer(&definition(plugin)))).collect();
    let mut schema = object(properties);
    schema["minProperties"] = 1.into();
    schema["maxProperties"] = 1.into();
    described(schema, &format!("[{kind}.NAME] names one plugin."))
}

/// An array that is a stack of plugins, or a table that reaches into the stack of a lower layer.
fn compressors(plugins: &[&Descriptor]) -> Value {
    let complete = plugins.iter().map(|plugin| {
        let required = plain_schema(&(plugin.schema)()).remove("required").unwrap_or_else(|| json!([]));
        (plugin.name.to_owned(), json!({ "allOf": [refer(&definition(plugin)), { "required": required }] }))
    });
    let mut element = object(complete.collect());
    element["minProperties"] = 1.into();
    element["maxProperties"] = 1.into();
    let reached = plugins.iter().map(|plugin| (plugin.name.to_owned(), refer(&definition(plugin)))).collect();
    let choices = json!([{ "type": "array", "items": element }, object(reached)]);
    described(json!({ "anyOf": choices }), "Compressors, applied in this order to every weight.")
}

/// A path that a variant can set, with the schema of what is there.
struct Node {
    path: Vec<String>,
    schema: Value,
}

impl Node {
    fn dotted(&self) -> String {
        self.path.join(".")
    }
}

fn nodes(plugins: &[&Descriptor], definitions: &Map<String, Value>) -> Vec<Node> {
    let mut all = Vec::new();
    let mut whole = |section: &str| {
        all.push(Node { path: vec![section.to_owned()], schema: refer(section) });
        below(&[section.to_owned()], section, &definitions[section], &mut all);
    };
    for section in ["design", "search", "retrain"] {
        whole(section);
    }
    let seeds = "experiment/properties/seeds";
    all.push(Node { path: vec!["experiment".into(), "seeds".into()], schema: refer(seeds) });
    // How trials are launched is one thing for all variants.
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Launcher) {
        all.push(Node { path: vec![kind.section().to_owned()], schema: refer(kind.section()) });
    }
    for plugin in plugins.iter().filter(|plugin| plugin.kind != Kind::Launcher) {
        let (path, name) = (vec![plugin.kind.section().to_owned(), plugin.name.to_owned()], definition(plugin));
        all.push(Node { path: path.clone(), schema: refer(&name) });
        below(&path, &name, &definitions[&name], &mut all);
    }
    all.sort_by(|a, b| a.path.cmp(&b.path));
    all
}

/// The properties of a schema, which is at `pointer` among the definitions, and those of tables in it.
fn below(path: &[String], pointer: &str, schema: &Value, all: &mut Vec<Node>) {
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = [path, std::slice::from_ref(key)].concat();
        let pointer = format!("{pointer}/properties/{key}");
        all.push(Node { path: path.clone(), schema: refer(&pointer) });
        below(&path, &pointer, property, all);
    }
}

fn variant(nodes: &[Node]) -> Value {
    let name = json!({ "type": "string", "description": "Its name, and that of its folders." });
    // A key of `set` is a dotted path; written without quotes, it is a table within a table.
    let mut set: Map<String, Value> = nodes.iter().map(|node| (node.dotted(), node.schema.clone())).collect();
    set.insert(
        "experiment".into(),
        object(Map::from_iter([("seeds".to_owned(), refer("experiment/properties/seeds"))])),
    );
    let paths: Vec<String> = nodes.iter().map(Node::dotted).collect();
    let mut schema = object(Map::from_iter([
        ("name".to_owned(), name),
        ("set".to_owned(), described(object(set), "What it sets, by dotted path.")),
        (
            "remove".to_owned(),
            json!({
                "type": "array",
                "items": { "type": "string", "enum": paths },
                "description": "Sections and keys that it leaves out.",
            }),
        ),
    ]));
    schema["required"] = json!(["name"]);
    described(schema, "A row of a table: named changes of the manifest.")
}

/// `sweep`, and a definition for each table in it.
fn swept(nodes: &[Node]) -> Vec<(String, Value)> {
    let can_be = |node: &&Node| !matches!(node.path[0].as_str(), "experiment" | "design");
    let nodes: Vec<&Node> = nodes.iter().filter(can_be).collect();
    let name = |path: &[String]| if path.is_empty() { "sweep".to_owned() } else { format!("sweep.{}", path.join(".")) };
    let inside = |path: &[String]| {
        let below = nodes.iter().filter(|node| node.path.len() > path.len() && node.path.starts_with(path));
        below.copied().collect::<Vec<&Node>>()
    };
    let table = |path: &[String]| {
        let properties = inside(path).into_iter().map(|node| {
            let values = json!({ "type": "array", "items": node.schema, "minItems": 1, "uniqueItems": true });
            let schema = match inside(&node.path).is_empty() {
                true => values,
                false => json!({ "anyOf": [values, refer(&name(&node.path))] }),
            };
            (node.path[path.len()..].join("."), schema)
        });
        described(object(properties.collect()), "Arrays of values by dotted path: their cross product is run.")
    };
    let parents = nodes.iter().filter(|node| !inside(&node.path).is_empty());
    let mut all = vec![(name(&[]), table(&[]))];
    all.extend(parents.map(|node| (name(&node.path), table(&node.path))));
    all
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use litesnn_plugins as _;

    use super::*;

    /// A new plugin is added to the copy here, so that its author edits one file. Any other difference is a failure.
    #[test]
    fn the_committed_copy_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/manifest.schema.json");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let committed: Value = serde_json::from_str(&text).unwrap_or_default();
        let all = registered();
        let known = |plugin: &&Descriptor| committed["definitions"].get(definition(plugin)).is_some();
        let listed: Vec<&Descriptor> = all.iter().copied().filter(known).collect();
        assert!(
            manifest(&listed) == committed,
            "{} is not current: `litesnn schema >experiments/manifest.schema.json`",
            path.display()
        );
        if listed.len() < all.len() {
            std::fs::write(&path, format!("{:#}\n", manifest(&all))).expect("the copy can be written");
            eprintln!("{}: new plugins were added; commit it with them", path.display());
        }
    }
}
