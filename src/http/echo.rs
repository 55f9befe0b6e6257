//! What was sent, as an error may repeat it: its first characters, on one line.

use std::fmt;

/// Characters of what was sent that an error repeats at most.
const CHARS_MAX: usize = 100;

/// At most 100 characters of a text. `Display` writes them with control characters escaped, `Debug` in quotes besides; `…`
/// stands for the rest.
#[derive(Clone, Copy)]
pub(super) struct Echo<'a>(&'a str);

/// A text that a client sent, for an error's message.
pub(super) fn echo(text: &str) -> Echo<'_> {
    Echo(text)
}

impl<'a> Echo<'a> {
    /// What is shown, and what stands for the rest.
    fn parts(self) -> (&'a str, &'static str) {
        match self.0.char_indices().nth(CHARS_MAX) {
            Some((end, _)) => (&self.0[..end], "…"),
            None => (self.0, ""),
        }
    }
}

impl fmt::Display for Echo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, rest) = self.parts();
        for c in shown.chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_debug())?;
            } else {
                write!(f, "{c}")?;
            }
        }
        f.write_str(rest)
    }
}

impl fmt::Debug for Echo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, rest) = self.parts();
        write!(f, "{shown:?}{rest}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_texts_are_whole() {
        assert_eq!(format!("{} {0:?}", echo("cat.jpg")), "cat.jpg \"cat.jpg\"");
        let most = "é".repeat(CHARS_MAX);
        assert_eq!(echo(&most).to_string(), most);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = "é".repeat(1_000_000);
        assert_eq!(echo(&long).to_string(), format!("{}…", "é".repeat(CHARS_MAX)));
        assert_eq!(format!("{:?}", echo(&long)), format!("\"{}\"…", "é".repeat(CHARS_MAX)));
    }

    #[test]
    fn control_characters_do_not_reach_a_log() {
        assert_eq!(echo("a\n\u{1b}[31m").to_string(), "a\\n\\u{1b}[31m");
        assert_eq!(format!("{:?}", echo("a\n")), "\"a\\n\"");
    }
}
