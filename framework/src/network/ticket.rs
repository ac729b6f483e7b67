//! A ticket: masks that an optimizer has written over the layers of a network, in a file beside the
//! design.
//!
//! A pruner that makes its masks anew from what is trained needs nothing but its settings to
//! travel. Masks that rest on a whole search (lottery tickets, Frankle and Carbin, ICLR 2019) have
//! to travel themselves. So the file `design.ticket` lies beside `design.toml`:
//!
//! ```text
//! design.toml      ticket = "7d1c..."                      digest of the masks (BLAKE3)
//! design.ticket    safetensors: LAYER -> U8 [out, in, kh, kw] or [out, in], 1 where a weight is kept
//! ```
//!
//! A file by another name, `kim.toml`, has its ticket in `kim.ticket`. The digest is part of the
//! design, and so of the identity of a trial that takes the design over. A ticket that is not
//! there, cannot be read or is another one is an error, and so is a design without a ticket where a
//! compressor takes its masks from one ([`WeightTransform::ticket`]): such a network would be
//! dense.
//!
//! [`WeightTransform::ticket`]: super::WeightTransform::ticket

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use tch::{Device, Kind, Tensor};

use super::design::Design;
use super::space::{Network, SynapseLayer};
use crate::ground::file::{read_bounded, write_atomically};
use crate::{Error, Result};

/// The masks of a network, by the names of its layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    masks: BTreeMap<String, Mask>,
}

/// Ones where a weight is kept, in row-major order.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mask {
    shape: Vec<usize>,
    kept: Vec<u8>,
}

/// The layers whose masks a ticket holds, each with the buffer of its mask.
fn holders<'n>(network: &'n dyn Network) -> impl Iterator<Item = (SynapseLayer<'n>, Tensor)> {
    network.layers().into_iter().filter_map(|layer| layer.weight.ticket().map(|mask| (layer, mask)))
}

impl Ticket {
    /// The masks as they are now; `None` where no compressor of the network takes its masks from a
    /// ticket.
    pub fn of(network: &dyn Network) -> Option<Ticket> {
        let mask = |(layer, mask): (SynapseLayer, Tensor)| {
            let shape = mask.size().into_iter().map(|side| side as usize).collect();
            let kept = mask.to_device(Device::Cpu).ne(0.0).to_kind(Kind::Uint8).reshape([-1]);
            let kept = Vec::try_from(kept).expect("bytes in one dimension");
            (layer.shape.name.clone(), Mask { shape, kept })
        };
        let masks: BTreeMap<String, Mask> = holders(network).map(mask).collect();
        (!masks.is_empty()).then_some(Ticket { masks })
    }

    /// Whether a compressor of the network takes its masks from a ticket.
    pub fn is_needed(network: &dyn Network) -> bool {
        holders(network).next().is_some()
    }

    /// Writes the masks into the network. `design` is the file of the design that the ticket lies
    /// beside. Where no compressor of the network takes its masks from a ticket, nothing is done.
    ///
    /// # Errors
    ///
    /// A layer that the ticket has no mask of its shape for, and a mask that is of none of the layers.
    pub fn give(&self, network: &dyn Network, design: &Path) -> Result<()> {
        let other = |message: String| Error::Content {
            path: Ticket::beside(design),
            message,
            hint:
                "it is the ticket of another network: keep the space, its width and the compressors with which it was \
                   found, or take another design"
                    .into(),
        };
        let holders: Vec<(SynapseLayer, Tensor)> = holders(network).collect();
        let known = |name: &String| holders.iter().any(|(layer, _)| layer.shape.name == *name);
        if let Some(name) = self.masks.keys().find(|name| !holders.is_empty() && !known(name)) {
            return Err(other(format!("has a mask for `{name}`, which is no layer of the network that takes one")));
        }
        for (layer, buffer) in holders {
            let name = &layer.shape.name;
            let mask = self.masks.get(name).ok_or_else(|| other(format!("has no mask for the layer `{name}`")))?;
            let shape: Vec<i64> = mask.shape.iter().map(|side| *side as i64).collect();
            let size = buffer.size();
            if shape != size {
                return Err(other(format!("has a mask of shape {shape:?} for `{name}`, whose weights are {size:?}")));
            }
            let kept = Tensor::from_slice(&mask.kept).view(shape.as_slice());
            tch::no_grad(|| buffer.shallow_clone().copy_(&kept));
        }
        Ok(())
    }

    /// What a design says of its ticket.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for (name, Mask { shape, kept }) in &self.masks {
            hasher.update(format!("{name} {shape:?}\n").as_bytes());
            hasher.update(kept);
        }
        hasher.finalize().to_hex()[..32].to_owned()
    }

    /// The file of the ticket that belongs to a design's file.
    pub fn beside(design: &Path) -> PathBuf {
        let stem = design.file_stem().unwrap_or_default();
        design.with_file_name(format!("{}.ticket", stem.display()))
    }

    /// Writes the ticket beside the file of its design.
    pub fn write(&self, design: &Path) -> Result<()> {
        let views = self.masks.iter().map(|(name, Mask { shape, kept })| {
            (name, TensorView::new(Dtype::U8, shape.clone(), kept).expect("a byte for each weight"))
        });
        let bytes = safetensors::serialize(views, None).map_err(|error| Error::Record(error.to_string()))?;
        write_atomically(&Ticket::beside(design), &bytes)
    }

    /// Reads the ticket of this digest beside the file of its design.
    pub fn read(design: &Path, digest: &str) -> Result<Ticket> {
        let path = Ticket::beside(design);
        let content = |message: String| Error::Content {
            path: path.clone(),
            message,
            hint: format!("copy the ticket from where `{}` came from; the two belong together", design.display()),
        };
        let bytes = match read_bounded(&path, u64::MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(content("is not there, and the design names its ticket".into()));
            }
            Err(error) => return Err(Error::file("read", &path)(error)),
        };
        let read = SafeTensors::deserialize(&bytes).map_err(|error| content(format!("is not a ticket: {error}")))?;
        let mut masks = BTreeMap::new();
        for (name, view) in read.tensors() {
            if view.dtype() != Dtype::U8 {
                return Err(content(format!("is not a ticket: its masks are {:?} and not U8", view.dtype())));
            }
            masks.insert(name, Mask { shape: view.shape().to_vec(), kept: view.data().to_vec() });
        }
        let ticket = Ticket { masks };
        match ticket.digest() == digest {
            true => Ok(ticket),
            false => Err(content(format!("is not the ticket of the design: its digest is not `{digest}`"))),
        }
    }

    /// What a design without a ticket is refused with, where its network takes masks from one.
    pub fn missing(network: &dyn Network) -> Error {
        let layer = holders(network).next().map(|(layer, _)| layer.shape.name.clone()).unwrap_or_default();
        Error::design(format!(
            "the design has no ticket, and a compressor of `{layer}` takes its mask from one; search with an optimizer that \
             writes tickets, or take a design that was found by one, with `compression` in `design.keep`"
        ))
    }
}

impl Design {
    /// The ticket that the design names, beside its `file`; `None` where it names none.
    pub fn ticket_beside(&self, file: &Path) -> Result<Option<Ticket>> {
        self.ticket.as_ref().map(|digest| Ticket::read(file, digest)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket() -> Ticket {
        let mask = |shape: &[usize], kept: &[u8]| Mask { shape: shape.into(), kept: kept.into() };
        let masks = [("a", mask(&[2, 3], &[1, 0, 1, 1, 0, 0])), ("b", mask(&[1, 1, 2, 1], &[0, 1]))];
        Ticket { masks: masks.into_iter().map(|(name, mask)| (name.to_owned(), mask)).collect() }
    }

    #[test]
    fn a_ticket_survives_writing_and_reading_and_each_bit_of_it_counts() {
        let folder = tempfile::tempdir().unwrap();
        let design = folder.path().join("kim.toml");
        let written = ticket();
        written.write(&design).unwrap();
        assert_eq!(Ticket::beside(&design), folder.path().join("kim.ticket"));
        assert_eq!(Ticket::read(&design, &written.digest()).unwrap(), written);
        let mut other = ticket();
        other.masks.get_mut("a").unwrap().kept[1] = 1;
        assert_ne!(other.digest(), written.digest());
        other.write(&design).unwrap();
        let said = Ticket::read(&design, &written.digest()).unwrap_err().to_string();
        assert!(said.contains("is not the ticket of the design"), "{said}");
    }

    #[test]
    fn a_ticket_that_is_not_there_or_is_none_is_an_error_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let design = folder.path().join("design.toml");
        let said = || Ticket::read(&design, &ticket().digest()).unwrap_err().to_string();
        assert!(said().contains("design.ticket` is not there"), "{}", said());
        std::fs::write(Ticket::beside(&design), "version = 1").unwrap();
        assert!(said().contains("is not a ticket"), "{}", said());
    }
}
