//! Answers an image of a packed file as often as it is asked, and says how long each answer took:
//! the engine's side of `framework/benches/peers/engine.py`.
//!
//!     cargo run --release -p litesnn-engine --example answer -- FILE PIXELS INSTRUCTIONS
//!
//! PIXELS are f32, little-endian, from 0 to 1, `[C, H, W]`, of which the first image is taken;
//! INSTRUCTIONS are `avx512`, `avx2` or `baseline`. One thread. Lines of JSON come out: first the seconds that it took to read the file
//! and to prepare the network, or `{"missing": ...}` where the processor lacks the instructions;
//! then one line for each line of input, which is a number of answers:
//!
//! ```text
//! {"load": 0.31}
//! {"seconds": [0.015, 0.016], "logits": [0.25, ...], "resident": 52000000, "peak": 60000000}
//! ```
//!
//! `resident` is how many bytes of memory the process has beyond those that it had before it read the
//! file, and `peak` is the most that it had.

use std::error::Error;
use std::io::{BufRead, Write, stdin, stdout};
use std::time::Instant;

use litesnn_engine::{Prepared, Processor, file};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, pixels, instructions] = arguments.as_slice() else {
        return Err("three arguments are needed: FILE PIXELS INSTRUCTIONS".into());
    };
    let mut out = stdout();
    let processor = processor(instructions)?;
    if !processor.is_here() {
        return Ok(writeln!(out, "{{\"missing\": \"{instructions}\"}}")?);
    }
    let bytes = std::fs::read(pixels)?;
    let numbers = bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
    let pixels: Vec<f32> = numbers.collect();
    let (idle, before) = (memory("VmRSS")?, Instant::now());
    let (network, _) = file::read(&std::fs::read(file)?).map_err(|why| why.to_string())?;
    let prepared = Prepared::new(&network).with_processor(processor);
    let mut arena = prepared.arena();
    let image = pixels.get(..network.image.shape.iter().product()).ok_or("PIXELS holds no whole image")?;
    writeln!(out, "{{\"load\": {}}}", before.elapsed().as_secs_f64())?;
    for line in stdin().lock().lines() {
        let (mut seconds, mut logits) = (Vec::new(), Vec::new());
        for _ in 0..line?.trim().parse()? {
            let before = Instant::now();
            let outcome = prepared.run(&mut arena, image).map_err(|why| why.to_string())?;
            seconds.push(before.elapsed().as_secs_f64());
            logits = outcome.logits;
        }
        let (resident, peak) = (memory("VmRSS")? - idle, memory("VmHWM")? - idle);
        let answer = format!("\"seconds\": {seconds:?}, \"logits\": {logits:?}");
        writeln!(out, "{{{answer}, \"resident\": {resident}, \"peak\": {peak}}}")?;
    }
    Ok(())
}

/// The processor that has these instructions.
fn processor(instructions: &str) -> Result<Processor, Box<dyn Error>> {
    match instructions {
        "baseline" => Ok(Processor::Baseline),
        #[cfg(target_arch = "x86_64")]
        "avx2" => Ok(Processor::Avx2),
        #[cfg(target_arch = "x86_64")]
        "avx512" => Ok(Processor::Avx512),
        _ => Err(format!("no instructions `{instructions}` for this architecture").into()),
    }
}

/// Bytes of a line of the process's status: `VmRSS` is resident now, `VmHWM` the most so far.
fn memory(line: &str) -> Result<i64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kilobytes = status.lines().find_map(|it| it.strip_prefix(line)?.split_whitespace().nth(1)?.parse::<i64>().ok());
    Ok(1024 * kilobytes.ok_or_else(|| format!("/proc/self/status has no number `{line}`"))?)
}
