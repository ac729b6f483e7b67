//! Maps that have no node of their own, because another map's nodes hold all that they have.
//!
//! NIR has no node that sets maps side by side, resizes them or adds them. But all three are
//! linear, and so is a convolution: what reads the map reads its **parts** in its place, and the
//! currents add up. A part is the channels of one node, seen at every `step`-th row and column.

/// Channels of a map that are the channels of a node.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    /// The node that holds them, by its place in the graph.
    pub node: usize,
    /// Channels, height and width of the node.
    pub shape: [usize; 3],
    /// The channel of the map at which they begin.
    pub at: usize,
    /// Row y of the map is row `step[0] · y` of the node; columns alike.
    pub step: [usize; 2],
    /// Rows and columns of the map.
    pub seen: [usize; 2],
    /// Whether channels, rows and columns of the map stand one after another as channels.
    pub flat: bool,
    /// A number of the map is so many times the number of the node.
    pub times: f64,
    /// Whether it is 0 or 1, as what neurons make of it needs.
    pub spikes: bool,
}

impl Part {
    /// All of a node.
    pub fn whole(node: usize, shape @ [_, height, width]: [usize; 3], spikes: bool) -> Part {
        Part { node, shape, at: 0, step: [1, 1], seen: [height, width], flat: false, times: 1.0, spikes }
    }

    /// How many of the map's channels it is.
    pub fn channels(&self) -> usize {
        match self.flat {
            true => self.shape[0] * self.seen[0] * self.seen[1],
            false => self.shape[0],
        }
    }

    /// Whether it is a node's channels, row by row.
    pub fn plain(&self) -> bool {
        self.step == [1, 1] && !self.flat
    }

    /// As channels of a map that begin further on.
    pub fn further(self, channels: usize) -> Part {
        Part { at: self.at + channels, ..self }
    }

    /// Every `stride`-th row and column.
    pub fn strided(self, stride: usize) -> Part {
        if self.flat {
            return self; // The one row and column that there is.
        }
        let (step, seen) = (self.step.map(|step| step * stride), self.seen.map(|places| places.div_ceil(stride)));
        Part { step, seen, ..self }
    }

    /// The nearest pixels of another height and width; `None` where they are not every n-th row and
    /// column, with the last of them in the map: a convolution then reads zeros behind the map and
    /// nothing else.
    pub fn resized(self, [height, width]: [usize; 2]) -> Option<Part> {
        if self.flat {
            return ([height, width] == [1, 1]).then_some(self);
        }
        let stride = |from: usize, to: usize| {
            let stride = from.div_ceil(to);
            (0..to).all(|place| place * from / to == place * stride).then_some(stride)
        };
        let [rows, columns] = [stride(self.seen[0], height)?, stride(self.seen[1], width)?];
        Some(Part { step: [self.step[0] * rows, self.step[1] * columns], seen: [height, width], ..self })
    }

    /// As one vector.
    pub fn flattened(self) -> Part {
        match self.flat || self.seen == [1, 1] {
            true => self,
            false => Part { at: self.at * self.seen[0] * self.seen[1], flat: true, ..self },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which row of the node each row of a map is.
    fn rows(part: &Part) -> Vec<usize> {
        (0..part.seen[0]).map(|row| row * part.step[0]).collect()
    }

    #[test]
    fn a_smaller_map_is_every_nth_row_or_has_no_part() {
        let part = |height: usize| Part::whole(0, [3, height, height], true);
        let sized = |from: usize, to: usize| part(from).resized([to, to]);
        assert_eq!(rows(&sized(12, 3).unwrap()), [0, 4, 8]);
        assert_eq!(rows(&sized(12, 1).unwrap()), [0]);
        // Rows 0, 1, 3 and 5 of 7, and 0, 0, 1, 1 of 2.
        assert_eq!(sized(7, 4), None);
        assert_eq!(sized(2, 4), None);
        assert_eq!(sized(5, 5).unwrap(), part(5));
        let twice = sized(12, 6).unwrap().strided(2);
        assert_eq!((rows(&twice), twice.step), (vec![0, 4, 8], [4, 4]));
        assert_eq!(rows(&part(5).strided(2)), [0, 2, 4]);
    }

    #[test]
    fn a_vector_has_channels_for_all_places() {
        let part = Part::whole(0, [3, 4, 5], true).further(2).flattened();
        assert_eq!((part.channels(), part.at), (60, 40));
        assert_eq!(part.clone().flattened(), part);
        let small = Part::whole(0, [3, 1, 1], true);
        assert_eq!(small.clone().flattened(), small);
    }
}
