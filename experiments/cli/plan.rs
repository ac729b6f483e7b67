//! `litesnn plan`: the trials of a manifest.

use litesnn_framework::manifest;

use crate::arguments::Plan;
use crate::display;
use crate::exit::{Exit, Failure};

pub fn plan(options: &Plan) -> Result<Exit, Failure> {
    let plan = manifest::load(&options.layers.request(options.manifest.clone()))?;
    let mut table = display::table(["trial", "space", "compressors", "design", "epochs"]);
    for trial in &plan.trials {
        let manifest = &trial.manifest;
        let compressors: Vec<&str> = manifest.compressors().iter().map(|(name, _)| *name).collect();
        let design = match (trial.depends_on, &manifest.optimizer) {
            (Some(source), _) => format!("of {}", plan.trials[source].title()),
            (None, Some(optimizer)) => format!("searched by {}", optimizer.typetag_name()),
            (None, None) => manifest
                .design
                .as_ref()
                .and_then(|design| design.file.as_ref())
                .map_or_else(String::new, |file| file.display().to_string()),
        };
        let search = manifest.search.as_ref().map_or(0, |search| search.epochs);
        table.add_row([
            trial.title(),
            manifest.space.typetag_name().to_owned(),
            if compressors.is_empty() { "none".into() } else { compressors.join(", ") },
            design,
            format!("{search} + {}", manifest.retrain.epochs),
        ]);
    }
    println!("{table}");
    Ok(Exit::Done)
}
