//! What the device counts.

use std::ffi::{CStr, CString, c_char};

use litesnn_framework::ground::Stream;
use tch::{Cuda, Device, Kind, Tensor};

use crate::counts::{Counts, Report};

const CUDA: Device = Device::Cuda(0);

/// The report until now.
fn report() -> Report {
    const NAME: &CStr = c"pretended_report";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let path = CString::new(file.to_str().unwrap()).unwrap();
    // SAFETY: the device is loaded, and has a function of this name and type.
    unsafe {
        let found = libc::dlsym(libc::RTLD_DEFAULT, NAME.as_ptr());
        assert!(!found.is_null());
        let write: extern "C" fn(*const c_char) = std::mem::transmute(found);
        write(path.as_ptr());
    }
    Report::read(&file)
}

/// Bytes that tensors on the device hold now.
pub fn held() -> u64 {
    const CAPACITY: u64 = 80 << 30;
    CAPACITY - litesnn_framework::ground::device::available_memory(CUDA).unwrap()
}

/// What `work` asks of the device.
pub fn counted(work: impl FnOnce()) -> Counts {
    Cuda::synchronize(0);
    work();
    Cuda::synchronize(0);
    report().last()
}

fn random(size: &[i64]) -> Tensor {
    Stream::numbered(1).uniform(size, 0.0, 1.0).to_device(CUDA)
}

pub fn operations() {
    let (x, y) = (random(&[4, 6]), random(&[4, 6]));
    let counts = counted(|| {
        let sum = &x + &y;
        // Views: no launch.
        let _view = sum.view([24]).narrow(0, 3, 6).view([2, 3]).transpose(0, 1).unsqueeze(0).select(1, 2);
        // A product and a copy.
        let _product = (sum * 2.0).transpose(0, 1).contiguous();
    });
    assert_eq!(counts.operations(), 3, "{:?}", counts.operators());
    assert_eq!(counts.waits(), 0);
    // Convolutions are one operation each, as cuDNN's.
    let (images, weight) = (random(&[2, 3, 8, 8]), random(&[5, 3, 3, 3]).set_requires_grad(true));
    let counts = counted(|| drop(images.conv2d(&weight, None::<Tensor>, [1, 1], [1, 1], [1, 1], 1)));
    assert_eq!(counts.operators().into_iter().collect::<Vec<_>>(), [("convolution".to_owned(), 1)]);
}

pub fn copies() {
    let host = Tensor::ones([7], (Kind::Float, Device::Cpu));
    let pinned = host.pin_memory(CUDA);
    let moved =
        |tensor: &Tensor, device, asynchronous| drop(tensor.to_device_(device, Kind::Float, asynchronous, false));
    assert_eq!(counted(|| moved(&host, CUDA, false)).waits(), 1);
    assert_eq!(counted(|| moved(&host, CUDA, true)).waits(), 1, "memory that is not pinned is waited for");
    assert_eq!(counted(|| moved(&pinned, CUDA, false)).waits(), 1);
    let counts = counted(|| moved(&pinned, CUDA, true));
    assert_eq!((counts.waits(), counts.operations()), (0, 1));
    let there = host.to_device(CUDA);
    let counts = counted(|| moved(&there, Device::Cpu, false));
    assert_eq!(counts.waited_for().into_iter().collect::<Vec<_>>(), [("copy device to host".to_owned(), 1)]);
}

pub fn reads() {
    let x = random(&[9]);
    let mask = x.gt(0.5);
    let waits = |work: &dyn Fn()| counted(work).waits();
    assert_eq!(waits(&|| assert!(x.sum(Kind::Float).double_value(&[]) > 0.0)), 1);
    assert_eq!(waits(&|| drop(x.nonzero())), 1);
    assert_eq!(waits(&|| drop(x.masked_select(&mask))), 1);
    assert_eq!(waits(&|| drop(x.index(&[Some(&mask)]))), 1);
    assert_eq!(waits(&|| drop(x.where_self(&mask, &x))), 0);
    assert_eq!(waits(&|| drop(x.topk(3, 0, true, true))), 0);
}

#[inline(never)]
fn a_function_that_waits(tensor: &Tensor) -> f64 {
    std::hint::black_box(tensor.double_value(&[]))
}

pub fn places() {
    let x = random(&[1]).squeeze();
    let counts = counted(|| assert!(a_function_that_waits(&x) < 1.0));
    assert!(counts.places().contains("a_function_that_waits"), "{}", counts.places());
}

pub fn varying() {
    let (x, index) = (random(&[4]), Tensor::from_slice(&[0i64, 0, 1]).to_device(CUDA));
    let source = random(&[3]);
    let named = |work: &dyn Fn() -> Tensor| counted(|| drop(work())).varying().into_keys().collect::<Vec<_>>();
    assert_eq!(named(&|| x.index_add(0, &index, &source)), ["index_add"]);
    assert_eq!(named(&|| x.scatter_add(0, &index, &source)), ["scatter_add"]);
    assert_eq!(named(&|| x.cumsum(0, Kind::Float)), ["cumsum"]);
    assert_eq!(named(&|| index.cumsum(0, Kind::Int64)), [""; 0]);
    assert_eq!(named(&|| index.bincount(None::<&Tensor>, 4)), [""; 0]);
    assert_eq!(named(&|| index.bincount(Some(&source), 4)), ["bincount"]);
    assert_eq!(named(&|| x.sort(0, false).0), [""; 0]);
    // In a backward pass, by the operator that runs there.
    let pooled = |side: i64| {
        let images = random(&[1, 1, side, side]).set_requires_grad(true);
        images.adaptive_avg_pool2d([2, 2]).sum(Kind::Float).backward();
        images.grad()
    };
    assert_eq!(named(&|| pooled(4)), [""; 0]);
    assert_eq!(named(&|| pooled(5)), ["_adaptive_avg_pool2d_backward"]);
}

pub fn memory() {
    let before = held();
    let x = Tensor::zeros([1 << 20], (Kind::Float, CUDA));
    assert_eq!(held() - before, 4 << 20);
    let y = &x + 1.0;
    let view = y.narrow(0, 5, 7);
    assert_eq!(held() - before, 8 << 20, "a view holds nothing more");
    drop((x, y));
    assert_eq!(held() - before, 4 << 20, "the view keeps what it shows");
    drop(view);
    assert_eq!(held(), before);
    assert!(report().peak_bytes() >= before + (8 << 20));
}
