//! `litesnn plugins`: what can be named in a manifest.

use litesnn_framework::plugin::{Descriptor, registered};

use crate::arguments::Plugins;
use crate::display;
use crate::exit::{Exit, Failure};

pub fn plugins(options: &Plugins) -> Result<Exit, Failure> {
    let all = registered();
    let Some(name) = &options.name else {
        let mut table = display::table(["kind", "name", "what it does", "source"]);
        for plugin in all {
            table.add_row([plugin.kind.section(), plugin.name, plugin.summary, plugin.paper]);
        }
        println!("{table}");
        return Ok(Exit::Done);
    };
    match all.iter().find(|plugin| plugin.name == name) {
        Some(plugin) => {
            describe(plugin);
            Ok(Exit::Done)
        }
        None => {
            let known: Vec<String> = all.iter().map(|plugin| format!("`{}`", plugin.name)).collect();
            let help = Some(format!("known are {}", known.join(", ")));
            Err(Failure::new(Exit::Usage, format!("unknown plugin `{name}`"), help))
        }
    }
}

fn describe(plugin: &Descriptor) {
    println!(
        "{} ({}), version {}\n  {}\n  {}\n",
        plugin.name, plugin.kind, plugin.version, plugin.summary, plugin.paper
    );
    let schema = (plugin.schema)().to_value();
    let mut table = display::table(["setting", "default", "meaning"]);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let default = property.get("default").map_or_else(|| "-".to_owned(), ToString::to_string);
        let meaning = property["description"].as_str().unwrap_or_default().replace('\n', " ");
        table.add_row([name.clone(), default, meaning]);
    }
    println!("{table}\n");
    for example in plugin.examples {
        println!("{example}\n");
    }
}
