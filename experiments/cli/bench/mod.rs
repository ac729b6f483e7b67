//! `litesnn bench`: how long a step takes, beside its convolutions alone.

mod axis;
mod growth;
mod neurons;
mod printing;
mod process;
mod spread;
mod works;

use litesnn_framework::benchmark::Work;
use litesnn_framework::ground::{device, threads};
use serde_json::Value;

use crate::arguments::{Bench, BenchWork};
use crate::exit::{Exit, Failure};
use crate::output::{out, say};

/// The works of a command line that names none, in their order.
const USUAL: [BenchWork; 4] = [BenchWork::SearchStep, BenchWork::RetrainStep, BenchWork::Evaluate, BenchWork::Lif];
/// The works on a network of a design.
const OF_A_DESIGN: [BenchWork; 2] = [BenchWork::RetrainStep, BenchWork::Evaluate];

pub fn bench(options: &Bench) -> Result<Exit, Failure> {
    let threads = threads::settle(options.threads);
    if options.threads.is_some_and(|asked| threads.count < asked) {
        say!("note: {}", threads.reason);
    }
    refuse_options_of_other_works(options)?;
    let device = device::choose(&options.device)?.device;
    let result = match options.work {
        Some(BenchWork::SearchStep) => works::step(options, Work::SearchStep, device)?,
        Some(BenchWork::RetrainStep) => works::step(options, Work::RetrainStep, device)?,
        Some(BenchWork::Evaluate) => works::step(options, Work::Evaluate, device)?,
        Some(BenchWork::Lif) => neurons::lif(options, device),
        Some(BenchWork::Growth) => growth::growth(options)?,
        None => {
            USUAL.into_iter().map(|work| process::in_own_process(options, work, None)).collect::<Result<Value, _>>()?
        }
    };
    match options.json {
        true => out!("{}", serde_json::to_string_pretty(&result).unwrap_or_default()),
        false => printing::print(&result),
    }
    Ok(Exit::Done)
}

/// An option that has a meaning for some works alone.
struct Particular {
    option: &'static str,
    given: bool,
    works: &'static [BenchWork],
    /// Whether the work has to be named: the option is not handed on to works that run as a part of
    /// others.
    named: bool,
}

fn refuse_options_of_other_works(options: &Bench) -> Result<(), Failure> {
    const OF_DESIGNS_AND_NEURONS: [BenchWork; 3] = [BenchWork::RetrainStep, BenchWork::Evaluate, BenchWork::Lif];
    const GROWTH: [BenchWork; 1] = [BenchWork::Growth];
    let of = |option, given, works, named| Particular { option, given, works, named };
    let all = [
        of("--timesteps", options.timesteps.is_some(), &OF_DESIGNS_AND_NEURONS, false),
        of("--channels", options.channels.is_some(), &[BenchWork::Lif], false),
        of("--design", options.design.is_some(), &OF_A_DESIGN, false),
        of("--save", options.save.is_some(), &OF_A_DESIGN, true),
        of("--over", !options.over.is_empty(), &GROWTH, true),
        of("--figure", options.figure.is_some(), &GROWTH, true),
    ];
    for Particular { option, works, named, .. } in all.into_iter().filter(|particular| particular.given) {
        let fits = match options.work {
            None => !named,
            Some(BenchWork::Growth) if !named => works.contains(&growth::step_of(options)),
            Some(work) => works.contains(&work),
        };
        if !fits {
            let known: Vec<String> = works.iter().map(|work| format!("`litesnn bench {}`", work.name())).collect();
            let hint = (!named).then(|| {
                "the manifest has the sizes of a search: `--set KEY=VALUE` changes a size, and `litesnn explain` \
                 lists the keys"
                    .to_owned()
            });
            return Err(Failure::new(Exit::Usage, format!("`{option}` is for {}", known.join(" and ")), hint));
        }
    }
    Ok(())
}
