//! A last batch of one image.

use litesnn_framework::record::{self, EpochRow, files};
use tch::Kind;

use crate::desk::Desk;

/// Guards the running variance of normalisations that see one value: it became NaN, all logits of
/// every evaluation with it, and the share of the first class was recorded as the accuracy.
#[test]
fn a_last_batch_of_one_image_is_trained_on_and_nothing_becomes_nan() {
    for (statistics, timesteps, batch) in
        [("each-timestep", 2, 7), ("all-timesteps", 1, 7), ("each-timestep", 1, 1), ("all-timesteps", 1, 1)]
    {
        let desk = Desk::new(&[
            // 8 = 7 + 1 images.
            &format!("search.batch_size={batch}"),
            &format!("retrain.batch_size={batch}"),
            &format!("timesteps={{ fixed = {{ steps = {timesteps} }} }}"),
            &format!("space.spike-dhs.normalisation=\"{statistics}\""),
            "space.spike-dhs.classifier=\"normalised\"",
            // The head that is used in training only normalises maps of one pixel.
            "space.spike-dhs.auxiliary=0.4",
        ]);
        desk.finish();
        let what = format!("{statistics}, {timesteps} timesteps, batches of {batch}");
        for (name, tensor) in desk.tensors() {
            let finite = tensor.isfinite().all().to_kind(Kind::Int64).int64_value(&[]) == 1;
            assert!(finite, "{what}: `{name}` is {tensor}");
        }
        assert!(desk.outcome().test_loss.is_finite(), "{what}");
        let history: Vec<EpochRow> = record::read(&desk.trial().join(files::HISTORY)).unwrap();
        assert!(history.iter().all(|row| row.validation_loss.is_finite() && row.train_loss.is_finite()), "{what}");
    }
}
