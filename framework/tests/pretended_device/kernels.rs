//! Kernels of CUDA C++ by the pretended driver and compiler.

use litesnn_framework::ground::kernel::{Argument, Kernel, has_kernels};
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

fn refused(work: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = std::panic::catch_unwind(work);
    std::panic::set_hook(hook);
    result.unwrap_err().downcast_ref::<String>().unwrap().clone()
}

pub fn compiler() {
    let said = refused(|| {
        let x = Tensor::zeros([1], (Kind::Float, CUDA));
        BROKEN.launch("broken", &[], [1, 1, 1], [1, 1, 1], &[Argument::Tensor(&x)]);
    });
    assert!(said.contains("broken.cu:2") && said.contains("nothing"), "{said}");
}

pub fn launch() {
    let said = refused(|| {
        let x = Tensor::zeros([1], (Kind::Float, CUDA));
        launch_scale(&x, &x.zeros_like(), 2048);
    });
    assert!(said.contains("invalid argument"), "{said}");
}
