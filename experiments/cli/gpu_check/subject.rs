//! Networks that parts run: the medium network of the paper's first table, and a small one of the
//! same kind. The command holds their manifest itself.

use litesnn_framework::benchmark::{Benchmark, Work};
use litesnn_framework::data::DataInfo;
use litesnn_framework::ground::{Build, Parameters};
use litesnn_framework::manifest::{Plan, Trial, load};
use litesnn_framework::network::{Design, Techniques};
use tch::Device;

use crate::exit::{Exit, Failure};
use crate::paper;

const MANIFEST: &str = "paper/table2-cifar10.toml";
const VARIANT: &str = "medium";
const DESIGN: &str = "designs/lite-snn-medium.toml";
/// The manifest's own profile of a small network.
const SMALL: &str = "smoke";

/// How large a network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Seconds on a CPU.
    Small,
    /// The paper's.
    Paper,
}

impl Scale {
    pub fn name(self) -> &'static str {
        match self {
            Scale::Small => "small",
            Scale::Paper => "paper",
        }
    }
}

/// A network and what it is run for.
pub struct Subject {
    plan: Plan,
    index: usize,
    work: Work,
    design: Option<Design>,
}

impl Subject {
    /// The network at a scale; `settings` are as `--set` has them.
    pub fn new(scale: Scale, work: Work, settings: &[String]) -> Result<Subject, Failure> {
        let mut request = paper::request(MANIFEST);
        request.profile = (scale == Scale::Small).then(|| SMALL.to_owned());
        request.set = settings.to_vec();
        let plan = load(&request)?;
        let index = plan.trials.iter().position(|trial| trial.variant == VARIANT);
        let index = index.ok_or_else(|| Failure::new(Exit::Failed, format!("{MANIFEST} has no `{VARIANT}`"), None))?;
        let trial = &plan.trials[index];
        let design = match (work, scale) {
            (Work::SearchStep, _) => None,
            (_, Scale::Paper) => Some(paper::design(DESIGN)?),
            (_, Scale::Small) => Some(untrained_design(trial)?),
        };
        Ok(Subject { plan, index, work, design })
    }

    pub fn trial(&self) -> &Trial {
        &self.plan.trials[self.index]
    }

    /// Steps of so many images on a device, as a trial makes them.
    pub fn benchmark(&self, batch: usize, repeats: usize, device: Device) -> Benchmark<'_> {
        Benchmark {
            work: self.work,
            plan: &self.plan,
            index: self.index,
            design: self.design.clone(),
            batch,
            size: None,
            repeats,
            device,
            graphs: true,
            save: None,
        }
    }
}

/// What the trial's search would decide before it has trained.
fn untrained_design(trial: &Trial) -> Result<Design, Failure> {
    let manifest = &trial.manifest;
    let data = DataInfo::of_form(manifest.dataset.form());
    let mut parameters = Parameters::default();
    let mut build = Build::new(&mut parameters, trial.seed, Device::Cpu);
    let supernet = manifest.space.supernet(&data, &manifest.compressors(), &mut build)?;
    Ok(Design::new(supernet.decode(), manifest.timesteps.max(), supernet.decisions(Techniques::ALL)))
}
