//! The committed JSON schema of manifests accepts every manifest of the project, and refuses
//! misspelt ones.

#[path = "support/mod.rs"]
mod support;

use std::path::PathBuf;

use litesnn_framework::plugin::registered;
use litesnn_plugins as _;
use serde_json::Value;
use support::root;

/// What is said of a schema, and what an editor does with it, not what a value has to be.
const ANNOTATIONS: [&str; 7] = ["description", "title", "default", "definitions", "$schema", "x-unit", "examples"];

/// Draft 7 of JSON Schema, as far as the schema uses it: a keyword that is not known here fails the
/// test.
fn refusals(root: &Value, schema: &Value, value: &Value, path: &str) -> Vec<String> {
    let all = |schemas: &Value| schemas.as_array().unwrap().clone();
    let number = value.as_f64();
    let mut refused = Vec::new();
    for (keyword, wanted) in schema.as_object().unwrap() {
        let holds = match keyword.as_str() {
            "$ref" => {
                let pointer = wanted.as_str().unwrap().strip_prefix('#').unwrap();
                let target = root.pointer(pointer).unwrap_or_else(|| panic!("`{pointer}` is nowhere"));
                refused.extend(refusals(root, target, value, path));
                true
            }
            "type" => {
                let names = if wanted.is_array() { all(wanted) } else { vec![wanted.clone()] };
                names.iter().any(|name| match name.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_i64(),
                    "number" => value.is_number(),
                    "null" => value.is_null(),
                    other => panic!("type `{other}`"),
                })
            }
            "properties" => {
                for (key, schema) in wanted.as_object().unwrap() {
                    if let Some(value) = value.get(key) {
                        refused.extend(refusals(root, schema, value, &format!("{path}.{key}")));
                    }
                }
                true
            }
            "additionalProperties" => {
                let listed = |key: &String| schema["properties"].get(key).is_some();
                for (key, value) in value.as_object().into_iter().flatten().filter(|(key, _)| !listed(key)) {
                    match wanted {
                        Value::Bool(false) => refused.push(format!("{path}.{key} is not known")),
                        schema => refused.extend(refusals(root, schema, value, &format!("{path}.{key}"))),
                    }
                }
                true
            }
            "items" => {
                for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                    refused.extend(refusals(root, wanted, value, &format!("{path}.{index}")));
                }
                true
            }
            "anyOf" | "oneOf" => {
                let choices = all(wanted).iter().filter(|it| refusals(root, it, value, path).is_empty()).count();
                if keyword == "anyOf" { choices > 0 } else { choices == 1 }
            }
            "allOf" => {
                refused.extend(all(wanted).iter().flat_map(|schema| refusals(root, schema, value, path)));
                true
            }
            "enum" => all(wanted).contains(value),
            "const" => wanted == value,
            "required" => {
                value.as_object().is_none_or(|it| all(wanted).iter().all(|key| it.contains_key(key.as_str().unwrap())))
            }
            "minimum" => number.is_none_or(|number| number >= wanted.as_f64().unwrap()),
            "maximum" => number.is_none_or(|number| number <= wanted.as_f64().unwrap()),
            "exclusiveMinimum" => number.is_none_or(|number| number > wanted.as_f64().unwrap()),
            "exclusiveMaximum" => number.is_none_or(|number| number < wanted.as_f64().unwrap()),
            "minLength" => value.as_str().is_none_or(|it| it.chars().count() as u64 >= wanted.as_u64().unwrap()),
            "maxLength" => value.as_str().is_none_or(|it| it.chars().count() as u64 <= wanted.as_u64().unwrap()),
            // The one pattern that the schema has.
            "pattern" => {
                assert_eq!(wanted, r"^\{[A-Za-z0-9_.-]+\}$", "{path}");
                let name = value.as_str().and_then(|text| text.strip_prefix('{')?.strip_suffix('}'));
                let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
                value.is_string() && name.is_some_and(|name| !name.is_empty() && name.chars().all(fits))
                    || !value.is_string()
            }
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= wanted.as_u64().unwrap()),
            "uniqueItems" => {
                let once =
                    |items: &Vec<Value>| items.iter().enumerate().all(|(index, it)| !items[..index].contains(it));
                value.as_array().is_none_or(once)
            }
            "minProperties" => value.as_object().is_none_or(|it| it.len() as u64 >= wanted.as_u64().unwrap()),
            "maxProperties" => value.as_object().is_none_or(|it| it.len() as u64 <= wanted.as_u64().unwrap()),
            other if ANNOTATIONS.contains(&other) => true,
            other => panic!("keyword `{other}` at {path}"),
        };
        if !holds {
            refused.push(format!("{path}: `{keyword}` {wanted}"));
        }
    }
    refused
}

fn schema() -> Value {
    let text = std::fs::read_to_string(root().join("experiments/manifest.schema.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn check(manifest: &str) -> Vec<String> {
    let schema = schema();
    let value: Value = toml_edit::de::from_str(manifest).unwrap_or_else(|error| panic!("{error}\n{manifest}"));
    refusals(&schema, &schema, &value, "")
}

/// Every manifest under a folder, designs left out.
fn manifests(folder: &str) -> Vec<PathBuf> {
    let names = support::files(&root().join(folder)).into_keys().filter(|name| name.ends_with(".toml"));
    names
        .filter(|name| !name.starts_with("data/") && !name.starts_with("designs/"))
        .map(|name| root().join(folder).join(name))
        .collect()
}

#[test]
fn every_manifest_is_accepted() {
    let mut texts: Vec<(String, String)> = ["experiments", "tests/manifests"]
        .into_iter()
        .flat_map(manifests)
        .map(|path| (path.display().to_string(), std::fs::read_to_string(&path).unwrap()))
        .collect();
    for document in ["docs/manifests.md", "docs/data.md", "docs/clusters.md"] {
        let text = std::fs::read_to_string(root().join(document)).unwrap();
        let blocks = text.split("\n```toml\n").skip(1).map(|block| block.split("\n```").next().unwrap().to_owned());
        texts.extend(blocks.map(|block| (document.to_owned(), block)));
    }
    for plugin in registered() {
        texts.extend(plugin.examples.iter().map(|example| (plugin.name.to_owned(), (*example).to_owned())));
    }
    assert!(texts.len() > 10);
    for (name, text) in texts {
        let refused = check(&text);
        assert!(refused.is_empty(), "{name}: {refused:?}");
    }
}

#[test]
fn nested_tables_and_layers_are_accepted() {
    for manifest in [
        "extends = \"base.toml\"\n[search]\nclip = 1.0\n[compressor.score-prune]\nrate = 0.5",
        "sweep.search.epochs = [1, 2]\nsweep.compressor.score-prune.rate = [0.1]",
        "[sweep.compressor]\n\"score-prune.rate\" = [0.1]",
        "[sweep]\n\"timesteps\" = [{ fixed = { steps = 2 } }, { compressive = { max = 4 } }]",
        "[[variant]]\nname = \"a\"\nset.search.epochs = 3\nset.experiment.seeds = [1]",
        "[profile.fast.experiment]\nseeds = [1, 2]\n[[profile.fast.variant]]\nname = \"b\"",
    ] {
        assert_eq!(check(manifest), [""; 0], "{manifest}");
    }
}

#[test]
fn misspelt_manifests_are_refused_where_they_are_wrong() {
    for (manifest, at) in [
        ("[serach]\nepochs = 1", ".serach is not known"),
        ("[search]\nepoch = 1", ".search.epoch is not known"),
        ("[search]\nepochs = 0", ".search.epochs: `minimum` 1"),
        ("[search]\nepochs = \"three\"", ".search.epochs: `type` \"integer\""),
        ("[dataset.fashion-mnits]", ".dataset.fashion-mnits is not known"),
        ("[timesteps]\nfixed = { steps = 1 }\ncompressive = { max = 2 }", ".timesteps: `maxProperties` 1"),
        ("[timesteps.fixed]\nsteps = 0", ".timesteps.fixed.steps: `minimum` 1"),
        ("[[compressor]]\nscore-prune = { rte = 0.5, rate = 0.5 }", ".compressor: `anyOf`"),
        ("[[compressor]]\nscore-prune = { }", ".compressor: `anyOf`"),
        ("[[compressor]]\nscore-prune = { rate = 1.0 }", ".compressor: `anyOf`"),
        ("[compressor.score-prune]\nrate = 1.5", ".compressor: `anyOf`"),
        ("[design]\nkeep = [\"bits\"]", ".design.keep.0: `"),
        ("[[variant]]\nset = { \"search.epochs\" = 1 }", ".variant.0: `required` [\"name\"]"),
        ("[[variant]]\nname = \"a\"\nset = { \"search.epoch\" = 1 }", ".variant.0.set.search.epoch is not known"),
        ("[[variant]]\nname = \"a\"\nset = { \"version\" = 1 }", ".variant.0.set.version is not known"),
        ("[[variant]]\nname = \"a\"\nremove = [\"serach\"]", ".variant.0.remove.0: `enum`"),
        ("[sweep]\n\"search.epoch\" = [1]", ".sweep.search.epoch is not known"),
        ("[sweep]\n\"search.epochs\" = 1", ".sweep.search.epochs: `type` \"array\""),
        ("[sweep]\n\"search.epochs\" = [1, 1]", ".sweep.search.epochs: `uniqueItems` true"),
        ("[profile.smoke]\nsearch.epoch = 1", ".profile.smoke.search.epoch is not known"),
        ("version = 2", ".version: `maximum` 1"),
        ("extends = 3", ".extends: `type` \"string\""),
    ] {
        let refused = check(manifest);
        assert!(refused.iter().any(|refusal| refusal.starts_with(at)), "{manifest}: {refused:?}");
    }
}
