//! `litesnn work`: what a launcher has started this process for, on another machine.

use litesnn_framework::launch::Launched;

use crate::arguments::WorkOptions;
use crate::exit::{Exit, Failure};

pub fn work(options: &WorkOptions) -> Result<Exit, Failure> {
    let Launched { record, launcher } = Launched::read(&options.launch)?;
    let Some(launcher) = launcher else {
        let message = format!("`{}` has no launcher", record.name);
        return Err(Failure::new(Exit::Usage, message, Some("`litesnn run` starts what works on its trials".into())));
    };
    launcher.work(&record, &options.arguments)?;
    Ok(Exit::Done)
}
