//! `litesnn schema`: the JSON schema of a manifest with every plugin, for editors.
//!
//! A manifest is a layer: what it lacks may come from the file that it extends, from a profile or
//! from `--set`. So the schema asks for a key only where no other layer can add it: in the elements
//! of `[[compressor]]`, `[[variant]]` and `[[compare]]`. It refuses every key, plugin and swept path that is not
//! known.
//!
//! Draft 7 of JSON Schema, which editors' TOML plugins read.

use litesnn_framework::manifest::{Holds, SECTIONS};
use litesnn_framework::plugin::{Descriptor, Kind, Shape, partial_schema, plain_schema, registered};
use serde_json::{Map, Value, json};

use crate::exit::{Exit, Failure};
use crate::output::out;

pub fn schema() -> Result<Exit, Failure> {
    out!("{:#}", manifest(&registered()));
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
    for section in &SECTIONS {
        let whole = match section.holds {
            Holds::Value(schema) => {
                layer.insert(section.name.into(), described(partial_schema(schema()), section.about));
                continue;
            }
            Holds::Settings(schema) => partial_schema(schema()),
            Holds::Plugin(kind) => one_of(&of_kind(plugins, kind)),
            Holds::Plugins(kind) => stack_of(&of_kind(plugins, kind)),
        };
        for plugin in section.kind().into_iter().flat_map(|kind| of_kind(plugins, kind)) {
            definitions.insert(definition(plugin), settings(plugin));
        }
        definitions.insert(section.name.into(), described(whole, section.about));
        layer.insert(section.name.into(), refer(section.name));
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
    layer.insert("axis".into(), axes());
    definitions.insert(
        "placeholder".into(),
        described(
            json!({ "type": "string", "pattern": "^\\{[A-Za-z0-9_.-]+\\}$" }),
            "The value of an axis, or a key of it.",
        ),
    );
    for (path, schema) in swept(&nodes) {
        definitions.insert(path, schema);
    }
    layer.insert("sweep".into(), refer("sweep"));
    definitions.insert("compare".into(), compare());
    layer.insert(
        "compare".into(),
        json!({
            "type": "array",
            "items": refer("compare"),
            "description": "Pairs of rows whose differences a report tests, paired by seed.",
        }),
    );
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

fn of_kind<'a>(plugins: &[&'a Descriptor], kind: Kind) -> Vec<&'a Descriptor> {
    plugins.iter().copied().filter(|plugin| plugin.kind == kind).collect()
}

fn definition(plugin: &Descriptor) -> String {
    format!("{}.{}", plugin.kind, plugin.name)
}

fn settings(plugin: &Descriptor) -> Value {
    let mut schema = partial_schema((plugin.schema)());
    schema["additionalProperties"] = false.into();
    let about = format!("{} ({}). `litesnn plugins {}` tells more.", plugin.summary, plugin.paper, plugin.name);
    described(schema, &about)
}

/// One plugin of several, by its name.
fn named(choices: Map<String, Value>) -> Value {
    let mut schema = object(choices);
    schema["minProperties"] = 1.into();
    schema["maxProperties"] = 1.into();
    schema
}

fn references(plugins: &[&Descriptor]) -> Map<String, Value> {
    plugins.iter().map(|plugin| (plugin.name.to_owned(), refer(&definition(plugin)))).collect()
}

/// A section that names one plugin.
fn one_of(plugins: &[&Descriptor]) -> Value {
    named(references(plugins))
}

/// An array that is a stack of plugins, or a table that reaches into the stack of a lower layer.
fn stack_of(plugins: &[&Descriptor]) -> Value {
    let complete = plugins.iter().map(|plugin| {
        let required = plain_schema((plugin.schema)()).remove("required").unwrap_or_else(|| json!([]));
        (plugin.name.to_owned(), json!({ "allOf": [refer(&definition(plugin)), { "required": required }] }))
    });
    json!({ "anyOf": [{ "type": "array", "items": named(complete.collect()) }, object(references(plugins))] })
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
    let mut whole = |path: &[&str], name: &str| {
        let path: Vec<String> = path.iter().map(|segment| (*segment).to_owned()).collect();
        below(&path, name, Shape::of(&definitions[name]), &mut all);
        all.push(Node { path, schema: refer(name) });
    };
    for section in SECTIONS.iter().filter(|section| section.is_work) {
        whole(&[section.name], section.name);
        for plugin in section.kind().into_iter().flat_map(|kind| of_kind(plugins, kind)) {
            whole(&[section.name, plugin.name], &definition(plugin));
        }
    }
    let seeds = "experiment/properties/seeds";
    all.push(Node { path: vec!["experiment".into(), "seeds".into()], schema: refer(seeds) });
    all.sort_by(|a, b| a.path.cmp(&b.path));
    all
}

/// The settings of a table, which is at `pointer` among the definitions, and those of tables in it.
fn below(path: &[String], pointer: &str, table: Shape, all: &mut Vec<Node>) {
    let pointer = format!("{pointer}{}", table.pointer());
    for (key, setting) in table.properties() {
        let path = [path, &[key.to_owned()]].concat();
        let pointer = format!("{pointer}/properties/{key}");
        below(&path, &pointer, setting, all);
        all.push(Node { path, schema: refer(&pointer) });
    }
}

fn variant(nodes: &[Node]) -> Value {
    let name = json!({ "type": "string", "description": "Its name, and that of its folders." });
    // A key of `set` is a dotted path; written without quotes, it is a table within a table.
    let filled = |node: &Node| json!({ "anyOf": [node.schema, refer("placeholder")] });
    let mut set: Map<String, Value> = nodes.iter().map(|node| (node.dotted(), filled(node))).collect();
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

/// The axes by name, and in each the values by name.
fn axes() -> Value {
    let value = json!({
        "type": "object",
        "properties": { "set": refer("variant/properties/set"), "remove": refer("variant/properties/remove") },
        "description": "What it changes, and by key what placeholders read.",
    });
    let values = json!({ "type": "object", "additionalProperties": { "anyOf": [value, { "const": false }] } });
    described(
        json!({ "type": "object", "additionalProperties": values }),
        "What rows differ in: a variant whose name has `{AXIS}` is one variant for each value.",
    )
}

/// Two rows, or one that all others are compared with.
fn compare() -> Value {
    let name = |about: &str| json!({ "type": "string", "description": about });
    let pair = Map::from_iter([
        ("a".to_owned(), name("A variant, or a row as `litesnn plan` prints it without its seed.")),
        ("b".to_owned(), name("The row that `a` is compared with.")),
    ]);
    let baseline = ("baseline".to_owned(), name("The row that every other row is compared with."));
    let [mut pair, mut baseline] = [object(pair), object(Map::from_iter([baseline]))];
    pair["required"] = json!(["a", "b"]);
    baseline["required"] = json!(["baseline"]);
    json!({ "anyOf": [pair, baseline] })
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

    #[test]
    fn the_committed_copy_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/manifest.schema.json");
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            format!("{:#}\n", manifest(&registered())) == committed,
            "{} is not current: `litesnn schema >experiments/manifest.schema.json`",
            path.display()
        );
    }
}
