//! `litesnn bench growth`: time and memory of a step against each of its sizes, each point in a
//! process of its own.

use litesnn_framework::ground::file::write_atomically;
use litesnn_framework::manifest;
use litesnn_reports::figure::growth::{Growth, figure};
use serde_json::{Value, json};

use super::axis::{Axis, Point, axes};
use super::process::in_own_process;
use super::works::manifest_of;
use crate::arguments::{Bench, BenchWork};
use crate::exit::{Exit, Failure};
use crate::output::say;

/// The step that grows: of the search, or of retraining where a design is given.
pub fn step_of(options: &Bench) -> BenchWork {
    if options.design.is_some() { BenchWork::RetrainStep } else { BenchWork::SearchStep }
}

/// Measures all points, writes the figure where it is asked for, and returns what was measured.
pub fn growth(options: &Bench) -> Result<Value, Failure> {
    let axes = axes(options)?;
    for (axis, point) in axes.iter().flat_map(|axis| axis.points.iter().map(move |point| (axis, point))) {
        check(options, axis, point)?;
    }
    let all = axes.iter().map(|axis| measured(options, axis)).collect::<Result<Vec<Growth>, Failure>>()?;
    let series = |growth: &Growth| {
        let (time, memory) = growth.exponents();
        let points: Vec<Value> =
            growth.points.iter().map(|(size, seconds, bytes)| json!([size, seconds, bytes])).collect();
        json!({ "against": growth.name, "time_exponent": time, "memory_exponent": memory, "points": points })
    };
    let result = json!({
        "work": BenchWork::Growth.name(),
        "of": step_of(options).name(),
        "series": all.iter().map(series).collect::<Vec<_>>(),
    });
    if let Some(file) = &options.figure {
        let failed = |error: litesnn_reports::Error| Failure::new(Exit::Failed, error.to_string(), error.hint());
        let title = match step_of(options) {
            BenchWork::SearchStep => "A search step against its sizes",
            _ => "A retrain step against its sizes",
        };
        let figure = figure(all, title);
        match file.extension().is_some_and(|extension| extension == "png") {
            true => figure.png(file).map_err(failed)?,
            false => write_atomically(file, figure.svg().map_err(failed)?.as_bytes())?,
        }
    }
    Ok(result)
}

/// Whether the manifest takes a point's setting: told before anything is measured.
fn check(options: &Bench, axis: &Axis, point: &Point) -> Result<(), Failure> {
    if let Some(setting) = axis.setting(point) {
        let mut request = options.layers.request(manifest_of(options));
        request.set.push(setting);
        manifest::load(&request)?;
    }
    Ok(())
}

fn measured(options: &Bench, axis: &Axis) -> Result<Growth, Failure> {
    let mut growth = Growth { name: axis.key.clone(), points: Vec::new() };
    for point in &axis.points {
        let measured = in_own_process(options, step_of(options), Some((axis, point)))?;
        let number = |pointer: &str| measured.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN);
        let memory = number("/peak_memory_bytes") - number("/idle_memory_bytes");
        growth.points.push((point.size, number("/seconds/median"), memory));
        say!("{} {}: {:.3} s, {:.0} MB", axis.key, point.value, number("/seconds/median"), memory / 1e6);
    }
    Ok(growth)
}
