//! `litesnn bench growth`: time and memory of a search step against each of its sizes, each point in a process of its own.

use litesnn_framework::run::write_atomically;
use litesnn_reports::figure::growth::{Growth, figure};
use serde_json::{Value, json};

use crate::arguments::{Bench, BenchWork};
use crate::bench::in_own_process;
use crate::display;
use crate::exit::{Exit, Failure};

/// Option and sizes; cells are spread evenly over three resolutions.
const SIZES: [(&str, &[i64]); 4] = [
    ("timesteps", &[1, 2, 3, 4, 5, 6, 7, 8]),
    ("batch", &[1, 2, 4, 8, 16]),
    ("channels", &[4, 8, 12, 16, 24, 32]),
    ("cells", &[3, 6, 9, 12]),
];

/// Measures all points, writes the figure where it is asked for, and returns what was measured.
pub fn growth(options: &Bench) -> Result<Value, Failure> {
    let mut all = Vec::new();
    for (name, sizes) in SIZES {
        let mut growth = Growth { name: name.to_owned(), points: Vec::new() };
        for &size in sizes {
            let measured = in_own_process(options, BenchWork::SearchStep, Some((name, size)))?;
            let number = |pointer: &str| measured.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN);
            let memory = number("/peak_memory_bytes") - number("/idle_memory_bytes");
            growth.points.push((size as f64, number("/seconds/median"), memory));
            eprintln!("{name} {size}: {:.3} s, {:.0} MB", number("/seconds/median"), memory / 1e6);
        }
        all.push(growth);
    }
    let series = |growth: &Growth| {
        let (time, memory) = growth.exponents();
        let points: Vec<Value> =
            growth.points.iter().map(|(size, seconds, bytes)| json!([size, seconds, bytes])).collect();
        json!({ "against": growth.name, "time_exponent": time, "memory_exponent": memory, "points": points })
    };
    let result = json!({ "work": "growth", "series": all.iter().map(series).collect::<Vec<_>>() });
    if let Some(file) = &options.figure {
        let failed = |error: litesnn_reports::Error| Failure::new(Exit::Failed, error.to_string(), error.hint());
        let figure = figure(all, "A search step against its sizes");
        match file.extension().is_some_and(|extension| extension == "png") {
            true => figure.png(file).map_err(failed)?,
            false => write_atomically(file, figure.svg().map_err(failed)?.as_bytes())?,
        }
    }
    Ok(result)
}

/// Prints what was measured.
pub fn print(result: &Value) {
    let mut table = display::table(["against", "exponent of time", "exponent of memory"]);
    for series in result["series"].as_array().into_iter().flatten() {
        let number = |key: &str| format!("{:.2}", series[key].as_f64().unwrap_or(f64::NAN));
        let name = series["against"].as_str().unwrap_or_default();
        table.add_row([name, &number("time_exponent"), &number("memory_exponent")]);
    }
    println!("{table}");
}
