//! What a manifest asks for and a device cannot do.

use tch::Device;

use super::file::Mark;
use super::layers::Request;
use super::plan::{Plan, lay_out};
use super::resolve::Resolved;
use super::stack::Stack;
use super::tree::path;
use crate::Result;
use crate::ground::{Problem, device};
use crate::train::Training;

/// Fails where a trial of a plan asks for something that its device cannot do, with every place
/// that does. The plan was loaded from `request`.
pub fn check_device(plan: &Plan, request: &Request, device: Device) -> Result<()> {
    let fits = |training: &Training| training.precision.is_for(device);
    let all = |trial: &super::Trial| trial.manifest.search.iter().chain([&trial.manifest.retrain]).all(fits);
    if plan.trials.iter().all(all) {
        return Ok(());
    }
    lay_out(request, &|stack, resolved| problems(stack, resolved, device)).map(drop)
}

/// The problems of the settings of one trial.
fn problems(stack: &Stack, resolved: &Resolved, device: Device) -> Vec<Problem> {
    let of_section = |section: &str| {
        let precision = resolved.section::<Training>(section)?.precision;
        (!precision.is_for(device)).then(|| {
            let name = precision.name();
            let message =
                format!("`{section}.precision` is `{name}`, and {} does not compute in it", device::name(device));
            let help = "GPUs alone round to TF32: `--device cuda` takes one; `f32` rounds less, and `bf16` more";
            stack.problem(&path([section, "precision"]), Mark::Value, message, Some(help.into()))
        })
    };
    ["search", "retrain"].into_iter().filter_map(of_section).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::manifest::fixtures::{Desk, GOOD};

    /// Guards the type of a number: a CPU computes in f32 whatever is asked for.
    #[test]
    fn tf32_is_refused_on_a_cpu_where_it_is_asked_for() {
        let desk = Desk::new(GOOD.replace("epochs = 3", "epochs = 3\nprecision = \"tf32\""));
        let (plan, request) = (desk.plan(), desk.request());
        assert!(check_device(&plan, request, Device::Cuda(0)).is_ok());
        let Err(Error::Manifest(problems)) = check_device(&plan, request, Device::Cpu) else { panic!("no problem") };
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        let shown = problem.to_string();
        assert!(
            shown.contains("a.toml:25:13: `search.precision` is `tf32`, and cpu does not compute in it"),
            "{shown}"
        );
        let other = Desk::new(GOOD.replace("epochs = 3", "epochs = 3\nprecision = \"bf16\""));
        assert!(check_device(&other.plan(), other.request(), Device::Cpu).is_ok());
    }
}
