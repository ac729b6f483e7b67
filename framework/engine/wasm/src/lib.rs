//! The engine behind C functions, which a page calls in WebAssembly.
//!
//! ```text
//! buffer(bytes)                  -> place         memory for a file or an image
//! load(place, bytes)             -> player        reads a packed file, and frees the buffer
//! run(player, place, pixels)     -> 1, or 0       f32 from 0 to 1, [C, H, W]; the buffer stays
//! text(player), text_bytes(player)                UTF-8: what was loaded, or what was wrong
//! timesteps(player)              -> t             timesteps that the last image ran
//! logits(player)                 -> f32[1 + t][K] their mean, then each timestep
//! numbers(player, map, timestep) -> i32[C][H][W]  of a map at a timestep from 0
//! ```
//!
//! `load` always returns a player. One whose text begins with `error` has no network, and runs
//! nothing. Otherwise the text has lines of words that tabs separate, in this order:
//!
//! ```text
//! image C H W
//! class NAME               for each class
//! map NAME KIND C H W      for each map; KIND is `spikes` for neurons, `joined` for all others
//! ```
//!
//! All places are valid until the next `load` or `run`, and memory of the page may have moved then.
//! This is the only file of the engine with `unsafe`, because a page hands over bare places.

mod player;

use std::slice;

pub use player::Player;

/// Memory for `bytes` bytes, zeros, aligned for f32.
#[unsafe(no_mangle)]
pub extern "C" fn buffer(bytes: usize) -> *mut f32 {
    Box::into_raw(vec![0f32; bytes.div_ceil(4)].into_boxed_slice()).cast()
}

/// Reads a packed file.
///
/// # Safety
///
/// `place` is what `buffer(bytes)` returned, and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn load(place: *mut f32, bytes: usize) -> *mut Player {
    // SAFETY: the caller says that `buffer` made it, of this length, and that it is ours again.
    let owned = unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(place, bytes.div_ceil(4))) };
    // SAFETY: the buffer has `bytes` bytes or up to three more, and every byte may be read as u8.
    let file = unsafe { slice::from_raw_parts(owned.as_ptr().cast::<u8>(), bytes) };
    Box::into_raw(Box::new(Player::load(file)))
}

/// Runs an image; 0 where it is none for this network.
///
/// # Safety
///
/// `player` is what `load` returned, and `place` what `buffer` returned for `pixels` f32 or more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn run(player: *mut Player, place: *const f32, pixels: usize) -> u32 {
    // SAFETY: the caller says so; a page has one thread.
    let (player, pixels) = unsafe { (&mut *player, slice::from_raw_parts(place, pixels)) };
    u32::from(player.run(pixels))
}

/// What was loaded, or what was wrong.
///
/// # Safety
///
/// `player` is what `load` returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn text(player: *const Player) -> *const u8 {
    // SAFETY: the caller says so.
    unsafe { &*player }.text().as_ptr()
}

/// Bytes of the text.
///
/// # Safety
///
/// `player` is what `load` returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn text_bytes(player: *const Player) -> usize {
    // SAFETY: the caller says so.
    unsafe { &*player }.text().len()
}

/// Timesteps that the last image ran; 0 before the first.
///
/// # Safety
///
/// `player` is what `load` returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn timesteps(player: *const Player) -> usize {
    // SAFETY: the caller says so.
    unsafe { &*player }.timesteps()
}

/// The mean logits of the last image, then those of each timestep.
///
/// # Safety
///
/// `player` is what `load` returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn logits(player: *const Player) -> *const f32 {
    // SAFETY: the caller says so.
    unsafe { &*player }.logits().as_ptr()
}

/// The numbers of a map at a timestep of the last image; null where there is none.
///
/// # Safety
///
/// `player` is what `load` returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn numbers(player: *const Player, map: usize, timestep: usize) -> *const i32 {
    // SAFETY: the caller says so.
    unsafe { &*player }.numbers(map, timestep).map_or(std::ptr::null(), <[i32]>::as_ptr)
}
