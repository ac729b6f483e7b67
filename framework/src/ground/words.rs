//! Numbers in what a user reads.

use std::fmt::Display;

/// So many things: `1 thread`, `2 threads`.
pub fn counted<N: Display + PartialEq + From<u8>>(number: N, thing: &str) -> String {
    let plural = if number == N::from(1) { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_no_plural() {
        assert_eq!(
            [counted(0, "thread"), counted(1, "thread"), counted(2_usize, "thread")],
            ["0 threads", "1 thread", "2 threads"]
        );
    }
}
