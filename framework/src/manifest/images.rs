//! What a manifest asks for and its data do not have: training images that are left.

use super::file::Mark;
use super::layers::Request;
use super::plan::{Plan, lay_out};
use super::resolve::Resolved;
use super::stack::Stack;
use super::tree::path;
use super::typed::Manifest;
use crate::Result;
use crate::data::DataStore;
use crate::ground::Problem;

/// Fails where the weights of a search are trained on all images of its data and the search asks
/// for others, with every place that says so. The plan was loaded from `request`. Data that cannot be
/// opened are told elsewhere.
pub fn check_images(plan: &Plan, request: &Request, store: &DataStore) -> Result<()> {
    match plan.trials.iter().all(|trial| too_few(&trial.manifest, store).is_none()) {
        true => Ok(()),
        false => lay_out(request, &|stack, resolved| problem(stack, resolved, store).into_iter().collect()).map(drop),
    }
}

/// Too few images in the data of a trial.
struct TooFew {
    samples: usize,
    images: usize,
    /// The setting that asks for others.
    setting: String,
}

fn too_few(manifest: &Manifest, store: &DataStore) -> Option<TooFew> {
    let optimizer = manifest.optimizer.as_ref()?;
    let setting = format!("optimizer.{}.{}", optimizer.typetag_name(), optimizer.holds_out()?);
    let samples = manifest.search.as_ref()?.samples?.get();
    let images = store.summary(manifest.dataset.as_ref()).ok()?.train;
    (samples >= images).then_some(TooFew { samples, images, setting })
}

fn problem(stack: &Stack, resolved: &Resolved, store: &DataStore) -> Option<Problem> {
    let TooFew { samples, images, setting } = too_few(&resolved.manifest()?, store)?;
    let message = format!("`search.samples` is {samples} of {images} training images, and `{setting}` needs others");
    let help = format!("train the weights on fewer, such as {}", images / 2);
    Some(stack.problem(&path(["search", "samples"]), Mark::Value, message, Some(help)))
}
