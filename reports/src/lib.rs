//! stub
use std::path::PathBuf;
pub struct Request {
    pub runs: PathBuf,
    pub out: PathBuf,
}
pub struct Summary {
    pub page: PathBuf,
    pub tables: usize,
    pub figures: usize,
}
pub fn report(_: &Request) -> Result<Summary, litesnn_framework::Error> {
    unimplemented!()
}
