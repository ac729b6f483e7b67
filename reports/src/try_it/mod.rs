//! "Try it": trained networks that run in the page.
//!
//! Where the folder of a finished trial has a packed network, the page gets it, the engine as
//! WebAssembly, and a script that runs the one by the other. All of it lies in the page as base64,
//! so that the page needs nothing else. A network that the page cannot run, because it is large or
//! reads sounds, has a line that says so. `framework/engine/wasm/build` builds `engine.wasm`, and
//! `engine.toml` says by which compiler.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use litesnn_framework::record::files;
use safetensors::SafeTensors;
use serde::Serialize;
use serde_json::Value;

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

/// The networks that the page of an experiment runs.
#[derive(Debug, Default, Serialize)]
pub struct TryIt {
    networks: Vec<PackedNetwork>,
    /// Why a row that has a packed file has no network in the page.
    left_out: Vec<String>,
}

/// A network that the page runs.
#[derive(Debug, Serialize)]
struct PackedNetwork {
    name: String,
    seed: i64,
    kilobytes: String,
    base64: String,
}

impl TryIt {
    /// Of each row, the network of the first trial whose folder has one that the page can run.
    pub fn of(groups: &[SeedGroup]) -> TryIt {
        let mut all = TryIt::default();
        for group in groups {
            let mut refused = None;
            let found = group.trials.iter().find_map(|trial| {
                let file = std::fs::read(trial.folder.join(files::NETWORK)).ok()?;
                if let Some(why) = refusal(&file) {
                    refused.get_or_insert_with(|| format!("{}, seed {}: {why}.", group.name, trial.outcome.seed));
                    return None;
                }
                Some(PackedNetwork {
                    name: group.name.clone(),
                    seed: trial.outcome.seed,
                    kilobytes: kilobytes(file.len()),
                    base64: STANDARD.encode(file),
                })
            });
            match found {
                Some(network) => all.networks.push(network),
                None => all.left_out.extend(refused),
            }
        }
        all
    }

    /// Whether the page runs any.
    pub fn runs(&self) -> bool {
        !self.networks.is_empty()
    }
}

/// Why a page does not run a packed file. A file that cannot be read has no such reason: the engine
/// in the page says what is wrong with it.
fn refusal(file: &[u8]) -> Option<String> {
    if reads_sounds(file) {
        return Some(
            "the network reads sounds, and only pictures can be drawn; `litesnn infer --sound` runs it".into(),
        );
    }
    let (size, most) = (kilobytes(file.len()), kilobytes(MOST_BYTES));
    (file.len() > MOST_BYTES).then(|| {
        format!("the packed file has {size} kB, and a page runs files of up to {most} kB; `litesnn infer` runs it")
    })
}

/// Whether the graph of a packed file says what makes an input of a sound.
fn reads_sounds(file: &[u8]) -> bool {
    let graph = SafeTensors::deserialize(file).ok().and_then(|file| Some(file.tensor("graph").ok()?.data()));
    let graph = graph.and_then(|graph| serde_json::from_slice::<Value>(graph).ok());
    graph.and_then(|graph| Some(!graph.get("input")?.as_str()?.is_empty())).unwrap_or(false)
}

/// 1 kB = 1000 bytes.
fn kilobytes(bytes: usize) -> String {
    format!("{:.1}", bytes as f64 / 1000.0)
}
