//! The device and the versions of everything that computes on it.

use litesnn_framework::ground::facts::Facts;
use serde_json::{Value, json};
use tch::Device;

use super::{Finding, Setting};
use crate::exit::Failure;

pub fn check(setting: &Setting) -> Result<Finding, Failure> {
    let Device::Cuda(index) = setting.device else {
        return Ok(Finding::wrong("the device is no CUDA device"));
    };
    let mut finding = Finding::default();
    let facts = Facts::of(index);
    let cuda = |version: Option<i64>| version.map(|number| format!("{}.{}", number / 1000, number % 1000 / 10));
    let pair = |version: Option<[i32; 2]>| version.map(|[major, minor]| format!("{major}.{minor}"));
    let cudnn = facts.cudnn.map(|number| format!("{}.{}.{}", number / 10_000, number % 10_000 / 100, number % 100));
    let all: [(&str, Value); 11] = [
        ("name", json!(facts.model)),
        ("memory_bytes", json!(facts.memory)),
        ("free_bytes", json!(facts.free)),
        ("compute_capability", json!(pair(facts.capability))),
        ("multiprocessors", json!(facts.multiprocessors)),
        ("driver_cuda", json!(cuda(facts.driver))),
        ("libtorch", json!(facts.libtorch)),
        ("libtorch_cuda", json!(cuda(facts.cuda))),
        ("cudnn", json!(cudnn)),
        ("nvrtc", json!(pair(facts.nvrtc))),
        ("kernels", json!(facts.without_kernels.is_none())),
    ];
    all.into_iter().for_each(|(name, value)| finding.figure(name, value));
    finding.figure("revision", env!("SOURCE_REVISION"));
    if !setting.is_hardware() {
        finding.leave_open("needs a GPU: the device is no hardware");
        if let Some(why) = facts.without_kernels {
            finding.note(format!("no kernels: {why}"));
        }
        return Ok(finding);
    }
    finding.expect(facts.cudnn.is_some(), || "libtorch has no cuDNN".to_owned());
    if let Some(why) = facts.without_kernels {
        finding.expect(false, || format!("tensors are computed by tensor operations alone: {why}"));
    }
    Ok(finding)
}
