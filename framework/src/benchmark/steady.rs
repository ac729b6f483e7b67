//! Steps as a trial makes them, one after another: whether they can be repeated to the bit, and
//! whether one waits for the device.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};

use tch::{Device, Tensor};

use super::{Benchmark, WARM, scratch};
use crate::Result;
use crate::ground::waits::Waits;
use crate::record::{Event, Observer, files};
use crate::train::Checkpoint;

impl Benchmark<'_> {
    /// A digest of all tensors of the network and of its descents after as many steps as the
    /// benchmark has turns, from the seed on.
    pub fn digest(&self) -> Result<String> {
        tch::manual_seed(0);
        let (splits, folder, stop) = (self.splits(), scratch()?, AtomicBool::new(false));
        let counted = Steps { until: self.repeats, done: Cell::new(0), stop: &stop, each: &|_| {} };
        self.train(&self.method(&splits, None), &counted, &stop, folder.path())?;
        let (checkpoint, _) = Checkpoint::newest(&folder.path().join(files::CHECKPOINT));
        let checkpoint = checkpoint.unwrap_or_default();
        let mut hasher = blake3::Hasher::new();
        for (name, tensor) in checkpoint.tensors.iter().chain(&checkpoint.descent) {
            hasher.update(format!("{name} {:?} {:?}\n", tensor.kind(), tensor.size()).as_bytes());
            hasher.update(&bytes_of(tensor));
        }
        Ok(hasher.finalize().to_hex()[..32].to_owned())
    }

    /// How often the host waits for the device in a steady step, by steps; `None` where libtorch
    /// cannot tell. The first steps warm up.
    pub fn waits(&self) -> Result<Option<Vec<u64>>> {
        let (splits, folder, stop) = (self.splits(), scratch()?, AtomicBool::new(false));
        let (waits, found) = (RefCell::new(None::<Waits>), RefCell::new(Vec::new()));
        let each = |done: usize| {
            if let Some(waits) = waits.borrow_mut().take() {
                found.borrow_mut().push(waits.count());
            }
            if done >= WARM {
                *waits.borrow_mut() = Waits::begin();
            }
        };
        let counted = Steps { until: WARM + self.repeats, done: Cell::new(0), stop: &stop, each: &each };
        self.train(&self.method(&splits, None), &counted, &stop, folder.path())?;
        drop(waits.take());
        let found = found.take();
        Ok((!found.is_empty()).then_some(found))
    }
}

fn bytes_of(tensor: &Tensor) -> Vec<u8> {
    let tensor = tensor.to_device(Device::Cpu).contiguous();
    let mut bytes = vec![0u8; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    bytes
}

/// Counts steps, and ends the training after enough of them.
struct Steps<'a> {
    until: usize,
    done: Cell<usize>,
    stop: &'a AtomicBool,
    /// Told after each step how many there were.
    each: &'a dyn Fn(usize),
}

impl Observer for Steps<'_> {
    fn event(&self, event: &Event) {
        if let Event::Batch { .. } = event {
            self.done.set(self.done.get() + 1);
            (self.each)(self.done.get());
            if self.done.get() == self.until {
                self.stop.store(true, Ordering::Relaxed);
            }
        }
    }
}
