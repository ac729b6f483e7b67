//! "Try it": trained networks that run in the page.
//!
//! Where the folder of a finished trial has a packed network, the page gets it, the engine as
//! WebAssembly, and a script that runs the one by the other. All of it lies in the page as base64,
//! so that the page needs nothing else. `framework/engine/wasm/build` builds `engine.wasm`, and
//! `engine.toml` says by which compiler.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use litesnn_framework::record::files;
use serde::Serialize;

use crate::trials::SeedGroup;

/// The largest packed file that a page gets, so that the plain loops of the engine, which the page
/// runs after every stroke, do not make a reader wait for seconds.
const MOST_BYTES: usize = 256 << 10;

/// What the template of the page includes.
pub const TEMPLATES: [(&str, &str); 3] = [
    ("try_it/section.html", include_str!("section.html")),
    ("try_it/style.css", include_str!("style.css")),
    ("try_it/player.js", include_str!("player.js")),
];

/// The engine, in base64.
pub fn engine() -> String {
    STANDARD.encode(include_bytes!("engine.wasm"))
}

/// A network that the page runs.
#[derive(Debug, Serialize)]
pub struct PackedNetwork {
    name: String,
    seed: i64,
    /// 1 kB = 1000 bytes.
    kilobytes: String,
    base64: String,
}

impl PackedNetwork {
    /// The network of the first trial of a row whose folder has one that the page can run.
    pub fn of(group: &SeedGroup) -> Option<PackedNetwork> {
        group.trials.iter().find_map(|trial| {
            let file = std::fs::read(trial.folder.join(files::NETWORK)).ok().filter(|file| file.len() <= MOST_BYTES)?;
            Some(PackedNetwork {
                name: group.name.clone(),
                seed: trial.outcome.seed,
                kilobytes: format!("{:.1}", file.len() as f64 / 1000.0),
                base64: STANDARD.encode(file),
            })
        })
    }
}
