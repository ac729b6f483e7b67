//! `litesnn explain`: the resolved manifest with its origins, or all that is known of a setting.

use litesnn_framework::ground::ConfigLayer;
use litesnn_framework::manifest::{self, Origin};

use crate::arguments::Explain;
use crate::exit::{Exit, Failure};
use crate::output::out;

pub fn explain(options: &Explain) -> Result<Exit, Failure> {
    let request = options.layers.request(options.manifest.clone());
    match &options.key {
        None => out!("{}", manifest::resolved_toml(&request)?.trim_end()),
        Some(key) => {
            let origins = manifest::explain(&request, key)?;
            let texts: Vec<String> = origins.iter().map(describe).collect();
            out!("{}", texts.join("\n\n"));
        }
    }
    Ok(Exit::Done)
}

fn describe(origin: &Origin) -> String {
    let mut lines = match &origin.value {
        Some(value) => vec![format!("{} = {value}", origin.key), format!("    set by      {}", origin.place())],
        None => vec![format!("{} is not set", origin.key)],
    };
    for (layer, value) in &origin.overrode {
        lines.push(format!("    instead of  {value} ({layer})"));
    }
    for (layer, value) in &origin.changed {
        lines.push(match (layer, value) {
            (ConfigLayer::Sweep, Some(values)) => format!("    swept over  {values}"),
            (layer, Some(value)) => format!("    but         {value} in {layer}"),
            (layer, None) => format!("    but         not there in {layer}"),
        });
    }
    if let Some(text) = &origin.documentation {
        lines.push(wrapped(text));
    }
    lines.join("\n")
}

/// Indented text.
fn wrapped(text: &str) -> String {
    textwrap::fill(text, textwrap::Options::new(100).initial_indent("    ").subsequent_indent("    "))
}
