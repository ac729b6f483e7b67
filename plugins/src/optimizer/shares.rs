//! Epochs that several stages share.

/// `epochs` in equal shares over `count` stages; the first ones get what is left over.
pub fn shares(epochs: usize, count: usize) -> Vec<usize> {
    (0..count).map(|index| epochs / count + usize::from(index < epochs % count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        assert_eq!(shares(10, 4), [3, 3, 2, 2]);
        assert_eq!(shares(4, 4), [1, 1, 1, 1]);
    }
}
