//! `litesnn trial`: one trial of a launch, in this process. Launchers start it.

use litesnn_framework::ground::signal::{end_with_launcher, stop_on_request};
use litesnn_framework::ground::{device, kernel, threads};
use litesnn_framework::launch::Task;
use litesnn_framework::record::End;
use litesnn_framework::run::{Context, run_task};

use crate::arguments::{TrialOptions, data_store};
use crate::display::Display;
use crate::exit::{Exit, Failure};

pub fn trial(options: &TrialOptions) -> Result<Exit, Failure> {
    let stop = stop_on_request();
    end_with_launcher();
    let mut threads = threads::settle(options.threads.or(options.share));
    threads.asked &= options.threads.is_some();
    let task = Task::read(&options.task)?;
    let choice = device::choose(&options.device)?;
    let display = Display::new(false, false, 1, 0);
    display.line(&format!("device: {} ({}), {threads}", device::name(choice.device), choice.reason));
    // Elsewhere, no process but this one knows the device.
    kernel::fallback(choice.device).iter().for_each(|note| display.line(note));
    let revision = env!("SOURCE_REVISION");
    let (store, device, observer) = (data_store(), choice.device, &display);
    let context = Context { store, device, threads, revision, observer, stop };
    let finished = run_task(&task, options.attempt.then_some(options.token.as_str()), &context);
    display.end();
    if let Some(launch) = options.task.parent().and_then(|tasks| tasks.parent()) {
        let end = End::of(&task.hash, &finished.outcome, finished.cached);
        end.write(&launch.join("ends").join(format!("{}.toml", options.token)))?;
    }
    finished.outcome?;
    Ok(Exit::Done)
}
