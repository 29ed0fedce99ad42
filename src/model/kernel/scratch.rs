//! Memory for intermediate numbers, cut from one block that lives as long as its owner wants.

/// Numbers in a cache line: every piece begins at one.
const LINE: usize = 16;

/// What is left of a block of numbers.
#[derive(Debug)]
pub struct Scratch<'a> {
    rest: &'a mut [f32],
}

impl<'a> Scratch<'a> {
    /// Takes hold of a block that has room for `len` numbers in up to `pieces` pieces; the block grows where it must.
    pub fn new(block: &'a mut Vec<f32>, len: usize, pieces: usize) -> Self {
        let needed = len + (pieces + 1) * LINE;
        if block.len() < needed {
            block.resize(needed, 0.0);
        }
        let start = block.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        Scratch {
            rest: &mut block[start..],
        }
    }

    /// Cuts off `len` numbers, which hold what was last written there.
    pub fn take(&mut self, len: usize) -> &'a mut [f32] {
        let (piece, rest) = std::mem::take(&mut self.rest).split_at_mut(len.next_multiple_of(LINE));
        self.rest = rest;
        &mut piece[..len]
    }

    /// Lends what is left.
    pub fn fork(&mut self) -> Scratch<'_> {
        Scratch { rest: self.rest }
    }
}
