//! What was measured, for a reader.

use litesnn_framework::ground::counted;
use serde_json::Value;

use crate::arguments::BenchWork;
use crate::display;
use crate::output::out;

/// Prints the result of a work, or those of several.
pub fn print(result: &Value) {
    match result {
        Value::Array(all) => all.iter().for_each(print),
        one if one["work"] == BenchWork::Growth.name() => growth(one),
        one => work(one),
    }
}

fn work(result: &Value) {
    let number = |pointer: &str| result.pointer(pointer).and_then(Value::as_f64);
    let times = |key: &str| {
        let part = |which: &str| number(&format!("/{key}/{which}")).unwrap_or(f64::NAN) * 1e3;
        format!("{:.1} ms ({:.1} to {:.1})", part("median"), part("least"), part("largest"))
    };
    out!("{}: {}", result["work"].as_str().unwrap_or_default(), result["what"].as_str().unwrap_or_default());
    let mut table = display::table(["", ""]);
    table.add_row(["time", &times("seconds")]);
    if let (Some(ratio), Some(least), Some(largest)) =
        (number("/ratio_to_convolutions"), number("/ratio_least"), number("/ratio_largest"))
    {
        table.add_row(["its convolutions alone", &times("convolution_seconds")]);
        table.add_row(["ratio", &format!("{ratio:.2} ({least:.2} to {largest:.2})")]);
        table.add_row(["in libtorch's default layout", &times("default_layout_seconds")]);
        table.add_row(["ratio", &format!("{:.2}", number("/ratio_to_default_layout").unwrap_or(f64::NAN))]);
        table.add_row(["convolutions", &result["convolutions"].to_string()]);
        table.add_row(["multiply-accumulates", &format!("{:.2} G", number("/macs").unwrap_or_default() / 1e9)]);
    }
    table.add_row(["peak memory", &format!("{:.0} MB", number("/peak_memory_bytes").unwrap_or_default() / 1e6)]);
    out!("{table}");
    out!(
        "  median (least to largest) of {} on {}, {}",
        result["repeats"],
        result["device"],
        counted(result["threads"].as_i64().unwrap_or_default(), "thread")
    );
}

fn growth(result: &Value) {
    out!("{} against its sizes", result["of"].as_str().unwrap_or_default());
    let mut table = display::table(["against", "exponent of time", "exponent of memory"]);
    for series in result["series"].as_array().into_iter().flatten() {
        let number = |key: &str| format!("{:.2}", series[key].as_f64().unwrap_or(f64::NAN));
        let name = series["against"].as_str().unwrap_or_default();
        table.add_row([name, &number("time_exponent"), &number("memory_exponent")]);
    }
    out!("{table}");
}
