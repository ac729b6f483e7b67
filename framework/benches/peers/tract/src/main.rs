//! tract beside the engine's reference: are the logits the same bits?
//!
//!     cargo run --release --manifest-path framework/benches/peers/tract/Cargo.toml FOLDER
//!
//! FOLDER is that of `onnx_witness.py`. Files with f32 and INT8 levels run, image by image, as they are
//! written and then optimised; tract 0.23.9 refuses INT4 and INT16. Exit status 1 where the logits of a
//! file that is not optimised differ: the optimiser makes a division by T a multiplication by 1/T,
//! which rounds otherwise.

use std::path::Path;

use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::DimLike;

fn numbers(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// How many logits differ, and of how many.
fn differing(case: &Path, file: &str, optimised: bool) -> TractResult<(usize, usize)> {
    let mut model = tract_onnx::onnx().model_for_path(case.join(file))?;
    model.select_outputs_by_name(["logits"])?;
    let shape = model.input_fact(0)?.shape.clone();
    let fixed = |axis: usize| shape.dim(axis).and_then(|dim| dim.concretize()).expect("channels and sizes are fixed");
    let dims = [1, fixed(1).to_usize()?, fixed(2).to_usize()?, fixed(3).to_usize()?];
    model.set_input_fact(0, f32::fact(dims).into())?;
    let model = if optimised { model.into_optimized()? } else { model.into_typed()? };
    let plan = model.into_runnable()?;
    let (pixels, wanted) = (numbers(&case.join("pixels.f32")), numbers(&case.join("logits.f32")));
    let images: Vec<&[f32]> = pixels.chunks(dims.iter().product()).collect();
    let mut wrong = 0;
    for (image, wanted) in images.iter().zip(wanted.chunks(wanted.len() / images.len())) {
        let found = plan.run(tvec!(Tensor::from_shape(&dims, image)?.into()))?;
        let found: Vec<f32> = found[0].to_plain_array_view::<f32>()?.iter().copied().collect();
        assert_eq!(found.len(), wanted.len());
        wrong += found.iter().zip(wanted).filter(|(found, wanted)| found != wanted).count();
    }
    Ok((wrong, wanted.len()))
}

fn main() -> TractResult<()> {
    let folder = std::env::args_os().nth(1).expect("a folder is given");
    let mut cases = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<TractResult<Vec<_>>>()?;
    cases.sort();
    let mut different = 0;
    for case in cases {
        let name = case.file_name().unwrap_or_default().to_string_lossy();
        for file in ["float.onnx", "int8.onnx"].iter().filter(|file| case.join(file).exists()) {
            for optimised in [false, true] {
                let words = format!("{name:12} {file:10} {}", if optimised { "optimised" } else { "as it is" });
                match differing(&case, file, optimised) {
                    Ok((wrong, of)) => {
                        println!("{words}: {wrong} of {of} logits differ");
                        different += if optimised { 0 } else { wrong };
                    }
                    Err(error) => println!("{words}: refused: {error:#}"),
                }
            }
        }
    }
    std::process::exit(i32::from(different > 0))
}
