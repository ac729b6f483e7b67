//! `--over 'KEY=[v1, v2, ...]'`: a size that grows.

use toml_edit::Value;

use super::growth::step_of;
use crate::arguments::{Bench, BenchWork};
use crate::exit::{Exit, Failure};

/// The sizes of a step that no manifest holds, or that a design does; each is an option of
/// `litesnn bench`.
const OWN: [&str; 3] = ["batch", "size", "timesteps"];

/// A size that grows, and what it is at each point.
#[derive(Debug, PartialEq)]
pub struct Axis {
    /// One of [`OWN`], or a path as `--set` takes it.
    pub key: String,
    pub points: Vec<Point>,
}

#[derive(Debug, PartialEq)]
pub struct Point {
    /// The number itself, or the length of a list.
    pub size: f64,
    /// TOML.
    pub value: String,
}

/// What is measured without `--over`: sizes that every network has.
const OF_A_SEARCH: [&str; 2] = ["batch=[1, 2, 4, 8, 16]", "size=[16, 24, 32, 48]"];
const OF_A_DESIGN: [&str; 2] = ["batch=[1, 2, 4, 8, 16]", "timesteps=[1, 2, 3, 4, 6, 8]"];

/// The axes of the command line.
pub fn axes(options: &Bench) -> Result<Vec<Axis>, Failure> {
    let work = step_of(options);
    let default = if work == BenchWork::SearchStep { OF_A_SEARCH } else { OF_A_DESIGN };
    let axes: Result<Vec<Axis>, String> = match options.over.is_empty() {
        true => default.into_iter().map(|text| parse(text, work)).collect(),
        false => options.over.iter().map(|text| parse(text, work)).collect(),
    };
    axes.map_err(|message| {
        let hint = format!(
            "write `--over 'KEY=[v1, v2, ...]'`, where KEY is {}, or a setting of the manifest by its path, as `--set` \
             takes it; `litesnn explain MANIFEST` lists all settings",
            OWN.map(|name| format!("`{name}`")).join(", "),
        );
        Failure::new(Exit::Usage, message, Some(hint))
    })
}

impl Axis {
    /// The options that make a step of this size.
    pub fn arguments(&self, point: &Point) -> [String; 2] {
        match self.setting(point) {
            Some(setting) => ["--set".to_owned(), setting],
            None => [format!("--{}", self.key), point.value.clone()],
        }
    }

    /// `KEY=VALUE` as `--set` takes it; a size of the command's own is no setting.
    pub fn setting(&self, point: &Point) -> Option<String> {
        (!OWN.contains(&self.key.as_str())).then(|| format!("{}={}", self.key, point.value))
    }
}

fn parse(text: &str, work: BenchWork) -> Result<Axis, String> {
    let (key, values) = text.split_once('=').ok_or_else(|| format!("`--over {text}` is not KEY=[v1, v2, ...]"))?;
    let key = key.trim();
    check_key(key, work)?;
    let values: Value = values.trim().parse().map_err(|error: toml_edit::TomlError| {
        format!("the values of `--over {key}` are not TOML: {}", error.message())
    })?;
    let values = values.as_array().ok_or_else(|| format!("the values of `--over {key}` are not a list"))?;
    let points = values.iter().map(|value| point(key, value)).collect::<Result<Vec<Point>, String>>()?;
    let mut sizes: Vec<f64> = points.iter().map(|point| point.size).collect();
    sizes.sort_by(f64::total_cmp);
    if sizes.len() < 2 || sizes.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(format!("`--over {key}` needs two or more sizes that differ"));
    }
    Ok(Axis { key: key.to_owned(), points })
}

fn check_key(key: &str, work: BenchWork) -> Result<(), String> {
    if key == "timesteps" && work == BenchWork::SearchStep {
        let message = "the timesteps of a search are a setting of the manifest, in its section `timesteps`; \
                       `--over timesteps` needs a design (`--design`)";
        return Err(message.into());
    }
    if ["search.batch_size", "retrain.batch_size"].contains(&key) {
        return Err(format!("`litesnn bench` sets `{key}` from `--batch`: the axis is `batch`"));
    }
    match OWN.contains(&key) || key.contains('.') {
        true => Ok(()),
        false => Err(format!("`{key}` is neither a size of every step nor the path of a setting")),
    }
}

fn point(key: &str, value: &Value) -> Result<Point, String> {
    let text = match value {
        // An option of the command takes decimal digits alone.
        Value::Integer(number) => number.value().to_string(),
        other => other.clone().decorated("", "").to_string(),
    };
    let size = match value {
        Value::Array(elements) if !OWN.contains(&key) => elements.len() as f64,
        Value::Float(number) if !OWN.contains(&key) => *number.value(),
        Value::Integer(number) => *number.value() as f64,
        _ => f64::NAN,
    };
    match size.is_finite() && size > 0.0 {
        true => Ok(Point { size, value: text }),
        false if OWN.contains(&key) => {
            Err(format!("`{text}` is not a size: `--over {key}` takes whole numbers from 1 on"))
        }
        false => Err(format!(
            "`{text}` is not a size: `--over {key}` takes numbers above 0, and lists, which count by their length"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(text: &str) -> Result<Axis, String> {
        parse(text, BenchWork::SearchStep)
    }

    #[test]
    fn a_point_is_an_option_or_a_setting() {
        let arguments = |text: &str, work| {
            let axis = parse(text, work).unwrap();
            axis.points.iter().map(|point| (point.size, axis.arguments(point).join(" "))).collect::<Vec<_>>()
        };
        assert_eq!(
            arguments("batch=[1, 4]", BenchWork::SearchStep),
            [(1.0, "--batch 1".to_owned()), (4.0, "--batch 4".to_owned())]
        );
        assert_eq!(arguments("timesteps = [2,0x3]", BenchWork::RetrainStep)[1], (3.0, "--timesteps 3".to_owned()));
        assert_eq!(
            arguments("space.some.width=[0.5, [ 1, 2, 2 ]]", BenchWork::SearchStep),
            [(0.5, "--set space.some.width=0.5".to_owned()), (3.0, "--set space.some.width=[ 1, 2, 2 ]".to_owned())]
        );
    }

    #[test]
    fn every_default_is_an_axis() {
        assert!(OF_A_SEARCH.into_iter().all(|text| search(text).is_ok()));
        assert!(OF_A_DESIGN.into_iter().all(|text| parse(text, BenchWork::RetrainStep).is_ok()));
    }

    #[test]
    fn what_is_no_axis_is_told() {
        for (text, message) in [
            ("batch", "is not KEY=[v1, v2, ...]"),
            ("batch=4", "are not a list"),
            ("batch=[1, 2", "are not TOML"),
            ("batch=[1]", "two or more sizes that differ"),
            ("batch=[2, 2]", "two or more sizes that differ"),
            ("batch=[1, 2.5]", "whole numbers from 1 on"),
            ("size=[0, 8]", "whole numbers from 1 on"),
            ("space.some.width=[1, \"wide\"]", "count by their length"),
            ("space.some.width=[[], [1]]", "count by their length"),
            ("width=[1, 2]", "neither a size of every step nor the path of a setting"),
            ("timesteps=[1, 2]", "a setting of the manifest, in its section `timesteps`"),
            ("search.batch_size=[1, 2]", "the axis is `batch`"),
        ] {
            let error = search(text).unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
