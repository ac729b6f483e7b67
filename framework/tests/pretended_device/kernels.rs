//! Kernels of CUDA C++ by the pretended driver and compiler.

use litesnn_framework::Error;
use litesnn_framework::ground::kernel::{Argument, Kernel, has_kernels};
use litesnn_framework::spiking::custom_function;
use tch::{Device, Kind, Tensor};

use crate::counting::counted;

const CUDA: Device = Device::Cuda(0);

/// y = factor x for `count` numbers, by addresses that a structure holds.
static SCALE: Kernel = Kernel::new(
    "scale",
    "struct Both { const float *x; float *y; };
     KERNEL(scale, (Both both, long count, float factor)) {
         THREADS {
             const long at = first_thread() + threadIdx.x;
             if (at >= count) continue;
             both.y[at] = factor * both.x[at];
         }
     }",
);

static BROKEN: Kernel = Kernel::new("broken", "KERNEL(broken, (float *x)) {\n    THREADS { x[0] = nothing; }\n}");

fn launch_scale(x: &Tensor, y: &Tensor, block: u32) {
    let addresses = [x, y].map(|tensor| (tensor.data_ptr() as usize).to_ne_bytes()).concat();
    let blocks = (x.numel() as u32).div_ceil(256);
    // The tensor says which device it is.
    let arguments =
        [Argument::Bytes(&addresses), Argument::I64(x.numel() as i64), Argument::F32(3.0), Argument::Tensor(x)];
    SCALE.launch("scale", &[], [blocks, 1, 1], [block, 1, 1], &arguments);
}

pub fn structure() {
    assert!(has_kernels(CUDA));
    let x = Tensor::arange(1000, (Kind::Float, Device::Cpu)).to_device(CUDA);
    let y = x.zeros_like();
    launch_scale(&x, &y, 256);
    assert_eq!(y, &x * 3.0);
    let counts = counted(|| launch_scale(&x, &y, 256));
    assert_eq!(counts.operators().into_iter().collect::<Vec<_>>(), [("kernel scale".to_owned(), 1)]);
}

/// Without what a panic prints.
fn quietly<T>(work: impl FnOnce() -> T) -> T {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let done = work();
    std::panic::set_hook(hook);
    done
}

fn refused(work: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let result = quietly(|| std::panic::catch_unwind(work));
    result.unwrap_err().downcast_ref::<String>().unwrap().clone()
}

fn launch_broken(x: &Tensor) {
    BROKEN.launch("broken", &[], [1, 1, 1], [1, 1, 1], &[Argument::Tensor(x)]);
}

pub fn compiler() {
    let said = refused(|| launch_broken(&Tensor::zeros([1], (Kind::Float, CUDA))));
    let (line, log) = said.split_once('\n').unwrap();
    assert!(line.starts_with("kernel `broken` of `broken.cu` cannot be used on cuda:0: NVRTC 13."), "{said}");
    assert!(line.contains("broken.cu:2") && line.contains("nothing") && log.contains("broken.cu:2"), "{said}");
}

/// libtorch's engine hands on what a backward pass panics with.
pub fn compiler_in_a_backward_pass() {
    let x = Tensor::zeros([1], (Kind::Float, CUDA)).set_requires_grad(true);
    let y = custom_function(
        &[&x],
        || (vec![x.copy()], vec![]),
        |upstream, _| {
            launch_broken(&upstream[0]);
            vec![None]
        },
    );
    let said = Error::from(quietly(|| y[0].sum(Kind::Float).f_backward()).unwrap_err());
    assert!(
        said.to_string().starts_with("kernel `broken` of `broken.cu` cannot be used on cuda:0: NVRTC 13."),
        "{said}"
    );
    let hint = said.hint().unwrap();
    assert!(hint.contains("broken.cu:2") && !hint.contains("frame #"), "{hint}");
}

pub fn launch() {
    let said = refused(|| {
        let x = Tensor::zeros([1], (Kind::Float, CUDA));
        launch_scale(&x, &x.zeros_like(), 2048);
    });
    assert!(said.contains("invalid argument"), "{said}");
}
