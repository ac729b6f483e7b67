//! Data sets: the trait that reads one into tensors, where data sets are looked for, what is kept
//! of them between processes, and where they are published.

mod dataset;
mod source;
mod summary;

pub use dataset::{DataInfo, DataStore, Dataset, Normalisation, Preparation, Split, Splits};
pub use source::{Archive, Form, Source, SourceFile, note, sources};
pub use summary::DataSummary;
