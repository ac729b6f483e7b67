//! `litesnn trial`: one trial of a launch, in this process. Launchers start it.

use litesnn_framework::launch::{End, How};
use litesnn_framework::run::{Context, Task, run_task};
use litesnn_framework::{Error, device};

use crate::arguments::{Trial, data_store};
use crate::display::Display;
use crate::exit::{Exit, Failure};
use crate::signals::stop_on_request;

pub fn trial(options: &Trial) -> Result<Exit, Failure> {
    if let Some(threads) = options.threads {
        tch::set_num_threads(i32::from(threads));
    }
    let stop = stop_on_request();
    let task = Task::read(&options.task)?;
    let choice = device::choose(&options.device)?;
    let display = Display::new(false);
    display.line(&format!("device: {} ({})", device::name(choice.device), choice.reason));
    let context = Context {
        runs: task.runs().to_owned(),
        store: data_store(),
        device: choice.device,
        revision: env!("SOURCE_REVISION"),
        observer: &display,
        stop,
    };
    let outcome = run_task(&task, options.attempt.then_some(options.token.as_str()), &context);
    let (how, reason) = match &outcome {
        Ok((_, false)) => (How::Finished, String::new()),
        Ok((_, true)) => (How::Cached, String::new()),
        Err(error @ Error::Interrupted) => (How::Stopped, error.to_string()),
        Err(error) => (How::Failed, error.to_string()),
    };
    let end = End { hash: task.hash.clone(), how, reason };
    if let Some(launch) = options.task.parent().and_then(|tasks| tasks.parent()) {
        end.write(&launch.join("ends").join(format!("{}.toml", options.token)))?;
    }
    outcome?;
    Ok(Exit::Done)
}
