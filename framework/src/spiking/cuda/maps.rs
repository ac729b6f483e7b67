//! Maps side by side.

use tch::Tensor;

use super::{Tiling, address, blocks, bytes, dimensions};
use crate::ground::kernel::{Argument, Kernel};

static MAPS: Kernel = Kernel::new("maps", include_str!("../../../kernels/maps.cu"));

/// Numbers of maps are rounded up to a multiple of it: each has code of its own.
const PARTS: usize = 8;

/// `Part` of maps.cu.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Part {
    from: u64,
    first: i32,
    width: i32,
}

/// Fills `together` with the channels of all `maps`, `widths` of them; all are channels-last.
pub(in super::super) fn side_by_side(maps: &[Tensor], widths: &[i64], together: &Tensor) {
    let mut channels = 0;
    let part = |(map, width): (&Tensor, &i64)| {
        let first = channels as i32;
        channels += width;
        Part { from: address(map, 0), first, width: *width as i32 }
    };
    let mut parts: Vec<Part> = maps.iter().zip(widths).map(part).collect();
    parts.resize(parts.len().next_multiple_of(PARTS), Part::default());
    let (tiling, rows) = (Tiling::of(channels), together.numel() as i64 / channels);
    let grid = dimensions([blocks(rows, tiling.rows), tiling.spans, 1]);
    let defines = [("PARTS", parts.len() as i64)];
    let shape = [Argument::I64(rows), Argument::I32(channels as i32)];
    let arguments = [Argument::Bytes(bytes(&parts)), Argument::Tensor(together), shape[0], shape[1]];
    MAPS.launch("side_by_side", &defines, grid, tiling.block(), &arguments);
}
