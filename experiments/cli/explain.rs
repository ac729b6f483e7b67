//! `litesnn explain`: every setting, and which layer set it.

use litesnn_framework::manifest::{self, Layer, Origin};

use crate::arguments::Explain;
use crate::display;
use crate::exit::{Exit, Failure};

pub fn explain(options: &Explain) -> Result<Exit, Failure> {
    let origins = manifest::origins(&options.layers.request(options.manifest.clone()))?;
    let wanted = options.key.as_deref();
    let concerns = |key: &str| wanted.is_none_or(|wanted| key == wanted || key.starts_with(&format!("{wanted}.")));
    let shown: Vec<&Origin> = origins.iter().filter(|origin| concerns(&origin.key)).collect();
    if shown.is_empty() {
        let help = Some("`litesnn explain MANIFEST` lists every key".to_owned());
        return Err(Failure::new(Exit::Usage, format!("no setting `{}`", wanted.unwrap_or_default()), help));
    }
    let mut table = display::table(["key", "value", "set by", "instead of"]);
    for origin in shown {
        let place = match (&origin.layer, &origin.location) {
            (Layer::Default, _) | (_, None) => origin.layer.to_string(),
            (layer, Some(place)) => format!("{layer}, {}:{}", place.path.display(), place.line),
        };
        let overrode: Vec<String> = origin.overrode.iter().map(|(layer, value)| format!("{value} ({layer})")).collect();
        table.add_row([origin.key.clone(), origin.value.clone(), place, overrode.join(", ")]);
    }
    println!("{table}");
    Ok(Exit::Done)
}
