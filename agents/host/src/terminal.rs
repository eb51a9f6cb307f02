//! The paper on which a screen is drawn: a terminal with a size and perhaps colours, or a pipe, in which every line
//! stands whole.

use std::io::IsTerminal;

use clap::ValueEnum;
use rustix::termios::tcgetwinsize;

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// In a pipe too
    Always,
    /// Never
    Never,
}

/// The colour of a text, by what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    /// A heading.
    Heading,
    /// Something in order.
    Good,
    /// Something that is not known.
    Doubtful,
    /// Something wrong, which needs a look.
    Bad,
    /// A host that is out on purpose.
    Faint,
}

impl Ink {
    /// Returns the number of the ink in an escape sequence (ECMA-48, SGR).
    fn code(self) -> &'static str {
        match self {
            Self::Heading => "1",
            Self::Good => "32",
            Self::Doubtful => "33",
            Self::Bad => "31",
            Self::Faint => "2",
        }
    }
}

/// The paper of one screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Paper {
    /// Tells whether colours are shown.
    pub(crate) colors: bool,
    /// The number of columns; `None` where lines may have any length.
    pub(crate) columns: Option<usize>,
    /// The number of rows; `None` where there may be any number.
    pub(crate) rows: Option<usize>,
}

/// The fewest columns that are used: below that a terminal breaks the lines itself.
const NARROW: usize = 40;

impl Paper {
    /// Looks at standard output. `NO_COLOR` forbids colours (no-color.org), and so does a terminal that knows none.
    pub(crate) fn of_standard_output(color: Color) -> Self {
        let output = std::io::stdout();
        let is_terminal = output.is_terminal();
        let says = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let plain = says("NO_COLOR").is_some() || says("TERM").is_none_or(|term| term == "dumb");
        let colors = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => is_terminal && !plain,
        };
        let size = is_terminal.then(|| tcgetwinsize(&output).ok()).flatten();
        // A terminal that does not tell its size says 0.
        let known = |size: u16| Some(usize::from(size)).filter(|size| *size > 0);
        Self {
            colors,
            columns: size.and_then(|size| known(size.ws_col)).map(|columns| columns.max(NARROW)),
            rows: size.and_then(|size| known(size.ws_row)),
        }
    }

    /// Writes a text in this ink.
    pub(crate) fn paint(self, ink: Option<Ink>, text: &str) -> String {
        match ink.filter(|_| self.colors && !text.is_empty()) {
            Some(ink) => format!("\x1b[{}m{text}\x1b[0m", ink.code()),
            None => text.to_owned(),
        }
    }
}

/// Breaks words into lines: the first begins with `first`, which further lines keep as room. A word that is too long stays
/// whole.
pub(crate) fn wrapped(first: &str, words: &str, columns: usize) -> Vec<String> {
    let indent = first.chars().count();
    let (mut line, mut used, mut is_empty) = (first.to_owned(), indent, true);
    let mut lines = Vec::new();
    // Several spaces in a row keep columns apart.
    for word in words.split(' ') {
        let width = word.chars().count();
        if is_empty && width == 0 {
            continue;
        }
        if !is_empty && used + 1 + width > columns {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            (used, is_empty) = (indent, true);
        }
        if !is_empty {
            line.push(' ');
            used += 1;
        }
        line.push_str(word);
        used += width;
        is_empty = false;
    }
    lines.push(line);
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_their_order_and_fit() {
        let words = "a bb ccc dddd eeeee ffffff";
        for columns in 1..40 {
            let lines = wrapped("> ", words, columns);
            assert_eq!(
                lines.concat().replace("> ", "").split_whitespace().collect::<String>(),
                words.replace(' ', "")
            );
            let longest = lines.iter().map(|line| line.chars().count()).max();
            assert!(longest <= Some(columns.max(2 + 6)), "{lines:?}");
            assert!(lines.iter().skip(1).all(|line| line.starts_with("  ")));
        }
        assert_eq!(wrapped("! ", "", 10), ["!"]);
    }

    #[test]
    fn only_coloured_paper_takes_ink() {
        let paper = Paper { colors: true, ..Paper::default() };
        assert_eq!(paper.paint(Some(Ink::Bad), "x"), "\x1b[31mx\x1b[0m");
        assert_eq!(paper.paint(None, "x"), "x");
        assert_eq!(paper.paint(Some(Ink::Bad), ""), "");
        assert_eq!(Paper::default().paint(Some(Ink::Bad), "x"), "x");
    }
}
