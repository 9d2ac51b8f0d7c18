//! Takes structure off the front of an input: choices, lengths, pieces. Never fails: what is missing is zero.

/// What is left of an input.
#[derive(Debug, Clone, Copy)]
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    pub fn u8(&mut self) -> u8 {
        self.piece(1).first().copied().unwrap_or_default()
    }

    pub fn u16(&mut self) -> u16 {
        u16::from(self.u8()) << 8 | u16::from(self.u8())
    }

    /// The next `length` bytes, or what there is.
    pub fn piece(&mut self, length: usize) -> &'a [u8] {
        let (piece, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        piece
    }

    /// A piece whose length stands before it, in two bytes.
    pub fn sized(&mut self) -> &'a [u8] {
        let length = self.u16();
        self.piece(length.into())
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
