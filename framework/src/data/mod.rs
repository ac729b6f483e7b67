//! Data sets: the trait that reads one into tensors, where data sets are looked for, what is kept
//! of them between processes and in the file of a network, and where they are published.

mod checksums;
mod dataset;
mod input;
mod source;
mod summary;

pub use checksums::{ARCHIVES, CHECKSUMS, Checksums, published_checksums, read_checksums, write_checksums};
pub use dataset::{DataInfo, DataStore, Dataset, Edition, Heard, Normalisation, Preparation, Split, Splits};
pub use input::Input;
pub use source::{Archive, Form, Source, SourceFile, note, sources};
pub use summary::DataSummary;
