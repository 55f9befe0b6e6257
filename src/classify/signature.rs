//! What goes into a model and what comes out, as its graph and its labels say.

/// A model's input and output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The graph's input.
    pub input: String,
    /// Channels, height and width of one image.
    pub image: [usize; 3],
    /// The graph's output that is read.
    pub output: String,
    /// Values that come out for one image.
    pub classes: usize,
}

impl Signature {
    /// Values that go in for one image.
    pub fn image_len(&self) -> usize {
        self.image.iter().product()
    }
}
