//! Rules for optimizers. A search is a whole trial on a few images, in a supernet of the first
//! registered space, with every registered compressor that the rule needs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tch::Tensor;

use crate::subject::{Made, Subject, clear, first_of};
use crate::workbench::{self, Extent, Ran, Sections, same, works};
use crate::{Kept, Law, Stop, broken, guarded, require};
use litesnn_framework::Error;
use litesnn_framework::ground::Role;
use litesnn_framework::network::{Compressor, SearchSpace, Ticket, TimestepSearcher};
use litesnn_framework::plugin::Kind;
use litesnn_framework::record::Stage;
use litesnn_framework::train::Optimizer;

/// The rules.
pub const LAWS: &[Law] = &[
    Law { name: "search", says: "a search gives a design that is retrained and measured", check: search },
    Law {
        name: "same-seed",
        says: "the same seed gives the same parameters after every epoch, and the same design",
        check: same_seed,
    },
    Law { name: "roles", says: "every role of parameters that it says it moves does move, and no other", check: roles },
    Law { name: "resume", says: "interrupted and run again, a search ends as if nothing had happened", check: resume },
    Law { name: "without-compressors", says: "a search works where nothing is compressed", check: without_compressors },
    Law {
        name: "extremes",
        says: "settings at the edge work, or are refused with an error that says why",
        check: extremes,
    },
];

type Boxed = Box<dyn Optimizer>;

/// A search that is longer than the warm-up of a timestep searcher's example.
const WARM: Extent = Extent { search: 3, ..Extent::SHORT };

/// A search space, a timestep searcher that searches, and a compressor of each kind of thing that an
/// optimizer decides: by parameters of each role, and by masks that it writes.
struct Field {
    space: Made<Box<dyn SearchSpace>>,
    timesteps: Made<Box<dyn TimestepSearcher>>,
    compressors: Vec<Made<Box<dyn Compressor>>>,
}

/// The field with the space that has most to decide.
fn field(subject: &Subject) -> Kept<Field> {
    field_in(subject, subject.spaces()?.remove(0))
}

fn field_in(subject: &Subject, space: Made<Box<dyn SearchSpace>>) -> Kept<Field> {
    let mut timesteps = Vec::new();
    for plugin in subject.others(Kind::Timesteps) {
        timesteps.push(first_of::<Box<dyn TimestepSearcher>>(plugin)?);
    }
    // One that searches has more to move.
    timesteps.sort_by_key(|made| made.plugin.fixed().is_some());
    if timesteps.is_empty() {
        return Err(Stop::Skipped("no timestep searcher is registered".into()));
    }
    let mut compressors: Vec<Made<Box<dyn Compressor>>> = Vec::new();
    let (mut roles, mut tickets) = (BTreeSet::new(), false);
    // Those that bring roles of parameters which no other one has, or the first masks.
    for plugin in subject.others(Kind::Compressor) {
        let made = first_of::<Box<dyn Compressor>>(plugin)?;
        let stack = [(made.name, made.plugin.as_ref())];
        let built = workbench::supernet(space.plugin.as_ref(), &workbench::information(1, 12), None, &stack, 0);
        let searched = works(built, format!("a supernet with `{}`", made.name))?;
        let brought: BTreeSet<Role> = searched.parameters.trainable().iter().map(|parameter| parameter.role).collect();
        let masks = Ticket::is_needed(searched.supernet.as_ref());
        if !brought.is_subset(&roles) || (masks && !tickets) {
            roles.extend(brought);
            tickets |= masks;
            compressors.push(made);
        }
    }
    Ok(Field { space, timesteps: timesteps.remove(0), compressors })
}

impl Field {
    fn sections(&self, optimizer: &Made<Boxed>, compressed: bool) -> Sections {
        let compressor: Vec<Value> = self.compressors.iter().filter(|_| compressed).map(Made::named).collect();
        Sections {
            space: self.space.named(),
            compressor,
            timesteps: self.timesteps.named(),
            optimizer: optimizer.named(),
        }
    }

    /// The role of every trainable tensor of the supernet, with the values that it begins with.
    fn beginning(&self, seed: u64) -> Kept<BTreeMap<String, (Role, Tensor)>> {
        let stack: Vec<(&str, &dyn Compressor)> =
            self.compressors.iter().map(|made| (made.name, made.plugin.as_ref())).collect();
        let info = workbench::information(1, 12);
        let timesteps = Some(self.timesteps.plugin.as_ref());
        let searched =
            works(workbench::supernet(self.space.plugin.as_ref(), &info, timesteps, &stack, seed), "a supernet")?;
        let all = searched.parameters.trainable().iter();
        Ok(all.map(|it| (it.name.clone(), (it.role, it.tensor.detach().copy()))).collect())
    }
}

fn run(sections: &Sections, seed: u64, extent: Extent, what: &str) -> Kept<Ran> {
    let folder = workbench::folder()?;
    works(workbench::trial(sections, seed, extent, folder.path()), format!("{what}, a trial runs"))
}

fn search(subject: &Subject) -> Kept {
    for space in subject.spaces()? {
        searches(subject, &field_in(subject, space)?)?;
    }
    Ok(())
}

fn searches(subject: &Subject, field: &Field) -> Kept {
    for made in subject.examples::<Boxed>()? {
        let ran = run(&field.sections(&made, true), 0, WARM, &format!("with {}", made.shown))?;
        let max = field.timesteps.plugin.max();
        let steps = ran.design.timesteps;
        require((1..=max).contains(&steps), format!("a design of 1 to {max} timesteps"), steps.to_string())?;
        require(ran.design.space == field.space.name, "a design of the space", format!("{:?}", ran.design))?;
        let edges = field.space.plugin.fixed().is_some() || !ran.design.edges.is_empty();
        require(edges, "a design with edges", "there are none")?;
        for compressor in &field.compressors {
            let decided = ran.design.compression.contains_key(compressor.name);
            require(decided, format!("decisions of `{}` in the design", compressor.name), "there are none")?;
        }
        let searched = ran.epochs.iter().filter(|(stage, _)| stage.is_search()).count();
        require(searched >= 1, "epochs of a search in the history", "there are none")?;
    }
    Ok(())
}

/// Fails at the first epoch after which two runs differ.
fn alike(a: &Ran, b: &Ran, what: &str) -> Kept {
    let stages = |ran: &Ran| ran.epochs.iter().map(|(stage, _)| stage.clone()).collect::<Vec<_>>();
    require(stages(a) == stages(b), format!("{what}: the stages {:?}", stages(a)), format!("{:?}", stages(b)))?;
    for (index, ((stage, a), (_, b))) in a.epochs.iter().zip(&b.epochs).enumerate() {
        let other = a.iter().find(|(name, tensor)| !b.get(*name).is_some_and(|other| same(tensor, other)));
        let name = other.map_or("", |(name, _)| name);
        require(
            name.is_empty(),
            format!("{what}: the same parameters after epoch {} ({stage})", index + 1),
            format!("another `{name}`"),
        )?;
    }
    require(a.design == b.design, format!("{what}: the design {:?}", a.design), format!("{:?}", b.design))
}

fn same_seed(subject: &Subject) -> Kept {
    let field = field(subject)?;
    let made = subject.examples::<Boxed>()?.remove(0);
    let sections = field.sections(&made, true);
    let extent = Extent { parameters: true, ..Extent::SHORT };
    let (first, second) = (run(&sections, 5, extent, "once")?, run(&sections, 5, extent, "again")?);
    alike(&first, &second, "run twice with one seed")
}

fn roles(subject: &Subject) -> Kept {
    let field = field(subject)?;
    for made in subject.examples::<Boxed>()? {
        let extent = Extent { parameters: true, ..WARM };
        let ran = run(&field.sections(&made, true), 0, extent, &format!("with {}", made.shown))?;
        let beginning = field.beginning(0)?;
        let present: BTreeSet<Role> = beginning.values().map(|(role, _)| *role).collect();
        let mut moved = BTreeSet::new();
        let mut before: BTreeMap<&String, &Tensor> =
            beginning.iter().map(|(name, (_, tensor))| (name, tensor)).collect();
        for (_, tensors) in ran.epochs.iter().filter(|(stage, _)| stage.is_search()) {
            for (name, tensor) in tensors {
                let role = beginning.get(name).map(|(role, _)| *role);
                if let (Some(role), Some(earlier)) = (role, before.insert(name, tensor)) {
                    // A later network of the search may have the name in another shape.
                    if earlier.size() == tensor.size() && !same(earlier, tensor) {
                        moved.insert(role);
                    }
                }
            }
        }
        let said: BTreeSet<Role> = made.plugin.moves().into_iter().collect();
        for role in present {
            require(
                said.contains(&role) == moved.contains(&role),
                format!(
                    "with {}, {role:?} {}",
                    made.shown,
                    if said.contains(&role) { "moves, as `moves` says" } else { "stays: `moves` does not name it" }
                ),
                if moved.contains(&role) { "it moves" } else { "it stays" },
            )?;
        }
    }
    Ok(())
}

fn resume(subject: &Subject) -> Kept {
    let field = field(subject)?;
    let made = subject.examples::<Boxed>()?.remove(0);
    let sections = field.sections(&made, true);
    let extent = Extent { parameters: true, ..WARM };
    let whole = run(&sections, 2, extent, "without interruption")?;
    // Two batches an epoch: in the middle of an epoch, at its end, and later.
    for batches in [1, 4, 2 * (whole.epochs.len() - 1) - 1] {
        let folder = workbench::folder()?;
        match workbench::trial(&sections, 2, Extent { stop_after: Some(batches), ..extent }, folder.path()) {
            Err(Error::Interrupted) => {}
            Err(error) => {
                return Err(broken(format!("stopped after {batches} batches, it says so"), error.to_string()));
            }
            Ok(_) => return Err(broken(format!("it stops after {batches} batches"), "it goes on to the end")),
        }
        let rest = workbench::trial(&sections, 2, extent, folder.path());
        let rest = works(rest, format!("stopped after {batches} batches, it goes on"))?;
        let from = whole.epochs.len() - rest.epochs.len();
        let tail = Ran { design: whole.design.clone(), epochs: clone(&whole.epochs[from..]) };
        alike(&tail, &rest, &format!("stopped after {batches} batches and run again"))?;
    }
    Ok(())
}

fn clone(epochs: &[(Stage, BTreeMap<String, Tensor>)]) -> Vec<(Stage, BTreeMap<String, Tensor>)> {
    let tensors = |all: &BTreeMap<String, Tensor>| {
        all.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
    };
    epochs.iter().map(|(stage, all)| (stage.clone(), tensors(all))).collect()
}

fn without_compressors(subject: &Subject) -> Kept {
    let field = field(subject)?;
    let made = subject.examples::<Boxed>()?.remove(0);
    let ran = run(&field.sections(&made, false), 0, Extent::SHORT, "without compressors")?;
    require(ran.design.compression.is_empty(), "no decisions of compressors", format!("{:?}", ran.design.compression))
}

fn extremes(subject: &Subject) -> Kept {
    let field = field(subject)?;
    for (setting, made) in subject.extremes::<Boxed>()? {
        let folder = workbench::folder()?;
        let sections = field.sections(&made, true);
        let ran = guarded(|| workbench::trial(&sections, 0, Extent::SHORT, folder.path()));
        match ran.map_err(|panic| broken(format!("{setting} works or is refused"), format!("it panicked: {panic}")))? {
            Ok(_) => {}
            Err(error) => clear(&setting, &error.to_string())?,
        }
    }
    Ok(())
}
