//! `litesnn plugins`: what can be named in a manifest.

use litesnn_framework::manifest::nearest;
use litesnn_framework::plugin::{Descriptor, Setting, plain_schema, registered};
use serde_json::{Value, json};

use crate::arguments::{Plugins, PluginsCommand};
use crate::display;
use crate::exit::{Exit, Failure};
use crate::output::out;

pub fn plugins(options: &Plugins) -> Result<Exit, Failure> {
    if let Some(PluginsCommand::New(options)) = &options.command {
        return crate::new::new(options);
    }
    let all = registered();
    let Some(name) = &options.name else {
        if options.json {
            print_json(&all.iter().map(|plugin| in_short(plugin)).collect());
        } else {
            let mut table = display::table(["kind", "name", "what it does", "source"]);
            for plugin in all {
                table.add_row([plugin.kind.section(), plugin.name, plugin.summary, plugin.paper]);
            }
            out!("{table}");
        }
        return Ok(Exit::Done);
    };
    let found: Vec<&Descriptor> = all.iter().copied().filter(|plugin| plugin.name == name).collect();
    if found.is_empty() {
        let names: Vec<String> = all.iter().map(|plugin| plugin.name.to_owned()).collect();
        let meant = nearest(name, &names).map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        let known: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let help = Some(format!("known are {}", known.join(", ")));
        return Err(Failure::new(Exit::Usage, format!("unknown plugin `{name}`{meant}"), help));
    }
    // Two kinds may use a name.
    for plugin in found {
        if options.json { print_json(&in_full(plugin)) } else { describe(plugin) }
    }
    Ok(Exit::Done)
}

fn print_json(value: &Value) {
    out!("{value:#}");
}

fn in_short(plugin: &Descriptor) -> Value {
    json!({
        "kind": plugin.kind.section(),
        "name": plugin.name,
        "version": plugin.version,
        "summary": plugin.summary,
        "paper": plugin.paper,
    })
}

fn in_full(plugin: &Descriptor) -> Value {
    let mut value = in_short(plugin);
    value["documentation"] = plugin.documentation().into();
    value["formulas"] = plugin.formulas().into();
    value["settings"] = json!(plugin.settings());
    value["examples"] = json!(plugin.examples);
    value["schema"] = plain_schema((plugin.schema)()).into();
    value
}

fn describe(plugin: &Descriptor) {
    out!("{}: {}, version {}", plugin.name, plugin.kind, plugin.version);
    out!("{}\n{}\n", plugin.summary, plugin.paper);
    out!("{}\n", as_text(&plugin.documentation()));
    let settings = plugin.settings();
    if settings.is_empty() {
        out!("It has no settings.\n");
    } else {
        out!("{}\n", table(&settings));
    }
    out!("{}", plugin.examples.join("\n\n"));
}

/// Markdown as it reads on a terminal: blocks of text and formulas are indented instead of fenced.
fn as_text(markdown: &str) -> String {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in markdown.lines() {
        if line.starts_with("```") {
            inside = !inside;
        } else if inside && !line.is_empty() {
            lines.push(format!("    {line}"));
        } else {
            lines.push(line.to_owned());
        }
    }
    lines.join("\n")
}

fn table(settings: &[Setting]) -> comfy_table::Table {
    let mut table = display::table(["setting", "type", "unit", "default", "range", "meaning"]);
    for setting in settings {
        let default = match &setting.default {
            Some(value) => value.to_string(),
            None if setting.required => "required".into(),
            None => "none".into(),
        };
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
        let (unit, range) = (or_dash(&setting.unit), or_dash(&setting.range));
        table.add_row([setting.key.clone(), setting.kind.clone(), unit, default, range, setting.meaning.clone()]);
    }
    table
}
