//! `litesnn cancel`: ends the work on trials that were launched.

use litesnn_framework::ground::counted;
use litesnn_framework::launch::{Record, launches};

use crate::arguments::Cancel;
use crate::exit::{Exit, Failure};

pub fn cancel(options: &Cancel) -> Result<Exit, Failure> {
    let all = launches(&options.runs).into_iter().collect::<Result<Vec<Record>, _>>()?;
    if let Some(name) = options.launches.iter().find(|name| !all.iter().any(|record| record.name == **name)) {
        let known: Vec<String> = all.iter().map(|record| format!("`{}`", record.name)).collect();
        let known =
            if known.is_empty() { "there is none".to_owned() } else { format!("known are {}", known.join(", ")) };
        return Err(Failure::new(Exit::Usage, format!("no launch is named `{name}`"), Some(known)));
    }
    let chosen = |record: &&Record| options.launches.is_empty() || options.launches.contains(&record.name);
    let mut concerned = 0;
    for record in all.iter().filter(chosen) {
        let trials = match &record.launcher {
            Some(launcher) => launcher.cancel(record)?,
            None => record.cancel_here()?,
        };
        if trials > 0 {
            println!("{}: {}", record.name, counted(trials, "trial"));
        }
        concerned += trials;
    }
    match concerned {
        0 => eprintln!("nothing is at work under {}", options.runs.display()),
        _ => eprintln!("they stop at a checkpoint; the same `litesnn run` goes on with them"),
    }
    Ok(Exit::Done)
}
