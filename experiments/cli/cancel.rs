//! `litesnn cancel`: ends the work on trials that were launched.

use litesnn_framework::ground::counted;
use litesnn_framework::launch::{Launched, launches};

use crate::arguments::Cancel;
use crate::exit::{Exit, Failure};
use crate::output::{out, say};

pub fn cancel(options: &Cancel) -> Result<Exit, Failure> {
    let all = launches(&options.runs).into_iter().collect::<Result<Vec<Launched>, _>>()?;
    if let Some(name) = options.launches.iter().find(|name| !all.iter().any(|launched| launched.record.name == **name))
    {
        let known: Vec<String> = all.iter().map(|launched| format!("`{}`", launched.record.name)).collect();
        let known =
            if known.is_empty() { "there is none".to_owned() } else { format!("known are {}", known.join(", ")) };
        return Err(Failure::new(Exit::Usage, format!("no launch is named `{name}`"), Some(known)));
    }
    let chosen = |launched: &&Launched| options.launches.is_empty() || options.launches.contains(&launched.record.name);
    let mut concerned = 0;
    for launched in all.iter().filter(chosen) {
        let trials = launched.cancel()?;
        if trials > 0 {
            out!("{}: {}", launched.record.name, counted(trials, "trial"));
        }
        concerned += trials;
    }
    match concerned {
        0 => say!("nothing is at work under {}", options.runs.display()),
        _ => say!("they stop at a checkpoint; the same `litesnn run` resumes them"),
    }
    Ok(Exit::Done)
}
