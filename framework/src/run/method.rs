//! How a trial comes to its network: by a search or with a given design, then by training.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use tch::{Device, Kind, Tensor};

use super::random_design::redraw;
use super::weights::weight_bins;
use crate::data::Splits;
use crate::ground::{Build, Parameters, Role};
use crate::manifest::{Manifest, Part, Trial};
use crate::network::{Architecture, Compression, Design, DesignNetwork, Network, Pass, Techniques, Ticket, design};
use crate::record::{self, Stage, files};
use crate::spiking::Recorder;
use crate::train::{
    Batch, Beginning, Descent, EpochNotes, Extent, Found, Open, OpenDecisions, Phase, Schedules, Search, SearchParts,
    Searched, Session, StageSpec, StepReport, Teacher, clip_gradients, evaluate,
};
use crate::{Error, Result};

/// A trial's settings with its data and device.
#[derive(Clone, Copy)]
pub(crate) struct Method<'a> {
    pub(crate) trial: &'a Trial,
    pub(crate) splits: &'a Splits,
    pub(crate) device: Device,
    /// Told of every convolution of a training step.
    pub(crate) recorder: Option<&'a Recorder>,
}

impl Method<'_> {
    pub(crate) fn manifest(&self) -> &Manifest {
        &self.trial.manifest
    }

    /// The parts of a given design that the manifest keeps.
    pub(crate) fn take_over(&self, given: Design) -> Result<Design> {
        let manifest = self.manifest();
        let keeps = |part| manifest.design.as_ref().is_some_and(|source| source.keep.contains(&part));
        let space = manifest.space.typetag_name();
        if given.space != space {
            let message = format!("the design is of the space `{}`, and the manifest uses `{space}`", given.space);
            return Err(Error::design(message));
        }
        let timesteps = if keeps(Part::Timesteps) {
            given.timesteps
        } else {
            manifest
                .timesteps
                .fixed()
                .ok_or_else(|| Error::design("without the design's timesteps, `[timesteps.fixed]` is needed"))?
        };
        let compression = if keeps(Part::Compression) { given.compression.clone() } else { BTreeMap::new() };
        let redrawn = manifest.design.as_ref().is_some_and(|source| source.redraw);
        let taken = Design {
            version: design::VERSION,
            timesteps,
            // Masks are of the layers that they were found for.
            ticket: given.ticket.clone().filter(|_| keeps(Part::Compression) && !redrawn),
            compression,
            network: Some(self.design_network()),
            accounting: None,
            ..given
        };
        match redrawn {
            true => redraw(&taken, manifest, &self.splits.info, self.trial.seed),
            false => Ok(taken),
        }
    }

    /// The network of this trial, for its design.
    fn design_network(&self) -> DesignNetwork {
        let info = &self.splits.info;
        let settings = &self.trial.settings;
        DesignNetwork {
            input: info.shape,
            classes: info.classes.len(),
            space: settings["space"].clone(),
            compressor: settings["compressor"].as_array().cloned().unwrap_or_default(),
        }
    }

    /// Searches a design. Where the settings are one themselves there is nothing to search.
    pub(crate) fn search(&self, session: &mut Session) -> Result<Found> {
        let manifest = self.manifest();
        let (Some(optimizer), Some(training)) = (&manifest.optimizer, &manifest.search) else {
            return match manifest.written_design() {
                Some(design) => Ok(Design { network: Some(self.design_network()), ..design }.into()),
                None => Err(Error::design("no design is given, and a search for one needs [optimizer] and [search]")),
            };
        };
        let (info, compressors) = (&self.splits.info, manifest.compressors());
        let open = |extent: Extent, make: &dyn Fn(&mut Build) -> Result<Searched>| {
            let mut parameters = Parameters::default();
            let mut build = match extent {
                Extent::Whole => Build::new(&mut parameters, self.trial.seed, self.device),
                Extent::Outline => Build::outline(&mut parameters),
            };
            let gate = manifest.timesteps.attach(&mut build.at("timesteps"))?;
            let network = make(&mut build)?;
            Ok(Open::new(network, gate, parameters))
        };
        let whole = |build: &mut Build| Ok(Searched::Supernet(manifest.space.supernet(info, &compressors, build)?));
        let supernet = open(Extent::Whole, &whole)?;
        {
            let Open { network, parameters, .. } = &supernet;
            let open = OpenDecisions::of(
                manifest.space.as_ref(),
                network.network(),
                parameters,
                manifest.timesteps.as_ref(),
                (training, &manifest.retrain),
            );
            open.check(optimizer.as_ref()).map_err(|refused| refused.into_error(optimizer.typetag_name()))?;
        }
        let settle = |architecture: &Architecture, compression: &Compression, extent: Extent| {
            open(extent, &|build| {
                let network = manifest.space.network(architecture, compression, true, info, &compressors, build)?;
                Ok(Searched::Settled(architecture.clone(), network))
            })
        };
        let parts =
            SearchParts { open: supernet, training, max_timesteps: manifest.timesteps.max(), recorder: self.recorder };
        let mut search = Search::new(parts, manifest.space.as_ref(), &manifest.retrain, &settle, session)?;
        let mut found = optimizer.search(&mut search)?;
        let network = search.parts().network();
        let needed = Ticket::is_needed(network);
        let bins = (!search.has_trained_candidates()).then(|| weight_bins(network));
        if manifest.retrain.from == Beginning::Search {
            found.inheritance = Some(search.take_inheritance(&found.design.architecture())?);
        }
        if let Some(bins) = bins {
            record::write(&session.folder().join(files::WEIGHTS), &bins)?;
        }
        found.design.network = Some(self.design_network());
        match &found.ticket {
            Some(ticket) => found.design.ticket = Some(ticket.digest()),
            None if needed => session.note(&format!(
                "[optimizer.{}] writes no ticket, so that the compressor that takes its masks from one keeps all weights",
                optimizer.typetag_name()
            )),
            None => {}
        }
        Ok(found)
    }

    /// Pairs the hidden maps of a teacher with those of the final network, whose `parameters` get what
    /// that takes; see [`Teacher::attach`].
    pub(crate) fn attach(
        &self,
        teacher: &mut Teacher,
        (network, parameters): (&dyn Network, &mut Parameters),
        design: &Design,
    ) -> Result<()> {
        let mut build = Build::new(parameters, self.trial.seed, self.device);
        teacher.attach(network, design.timesteps, &self.splits.info, &mut build)
    }

    pub(crate) fn build(&self, design: &Design) -> Result<(Box<dyn Network>, Parameters)> {
        let manifest = self.manifest();
        let mut parameters = Parameters::default();
        let mut build = Build::new(&mut parameters, self.trial.seed, self.device);
        let network = manifest.space.network(
            &design.architecture(),
            &design.compression,
            false,
            &self.splits.info,
            &manifest.compressors(),
            &mut build,
        )?;
        Ok((network, parameters))
    }

    /// Trains weights and scores of the final network (paper, Section 4.1), towards the classes and
    /// towards the answers of a `teacher`.
    pub(crate) fn retrain(
        &self,
        session: &mut Session,
        (network, parameters): (&dyn Network, &Parameters),
        design: &Design,
        teacher: Option<&Teacher>,
    ) -> Result<()> {
        let (training, timesteps) = (&self.manifest().retrain, design.timesteps);
        let device = self.device;
        session.begin(Phase::Retrain, &design.to_toml(), parameters)?;
        let (algorithm, rate) = (training.weight_algorithm(), training.rate());
        let descent = Descent::new("weights", parameters, &[Role::Weight, Role::Score], algorithm, rate);
        let mut descents = [descent.averaged(training.ema, parameters)];
        let spec = StageSpec {
            stage: Stage::Retrain,
            epochs: training.epochs,
            samples: training.samples.map(NonZeroUsize::get),
            batch_size: training.batch_size,
            augment: training.augment,
            varies: false,
        };
        let (precision, recorder) = (training.precision, self.recorder);
        let pass = Pass { training: true, precision, recorder, ..Pass::new(timesteps) };
        let splits = self.splits;
        let step = |batch: &Batch, _: usize, descents: &mut [Descent]| {
            parameters.zero_grad();
            let taught = teacher.map(|teacher| (teacher, teacher.lesson(&batch.images)));
            let of = |outputs: &Tensor| {
                let of_classes = training.loss(outputs, &batch.labels);
                match &taught {
                    Some((teacher, lesson)) => teacher.teaching().loss(of_classes, outputs, &lesson.answers),
                    None => of_classes,
                }
            };
            let (response, of_maps) = match &taught {
                Some((teacher, lesson)) => teacher.listen(network, &batch.images, &pass, lesson),
                None => (network.forward(&batch.images, &pass), None),
            };
            let mut loss = of(&response.logits);
            if let Some(of_maps) = of_maps {
                loss += of_maps;
            }
            if let Some((auxiliary, weight)) = &response.auxiliary {
                loss += of(auxiliary) * *weight;
            }
            loss.f_backward()?;
            clip_gradients(descents[0].tensors(), training.clip);
            descents[0].step();
            let logits = response.logits.detach().mean_dim(0, false, None::<Kind>);
            Ok(StepReport { loss: loss.detach(), logits })
        };
        let one_hot: Vec<f64> = (1..=timesteps).map(|count| f64::from(u8::from(count == timesteps))).collect();
        let schedules = Schedules::of(network, Techniques::ALL, Techniques::NONE);
        session.stage(&spec, (parameters, &schedules), &mut descents, step, |_| {
            let measured = evaluate(network, &splits.validation, &splits.normalisation, pass, device, None)?;
            let validation = (measured.loss, measured.accuracy);
            Ok(EpochNotes { validation, cost: None, timestep_weights: one_hot.clone(), ends: false })
        })
    }
}
