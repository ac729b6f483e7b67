//! Data sets, and what the readers of images share.

pub mod cifar;
pub mod cifar10;
pub mod cifar100;
pub mod fashion_mnist;
pub mod images;
pub mod record_files;
pub mod sha256;
pub mod speech_commands;
pub mod there;
