//! Calm text of at most 100 columns: sections, sentences, tables, commands, verdicts.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::testbed::{During as _, Failure, Result};

/// Columns that a line of ours has at the most.
const WIDTH: usize = 98;
const INDENT: &str = "  ";
const BOLD: &str = "\x1b[1m";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// What the demo writes to, and what it found wrong.
pub(super) struct Page<'a> {
    out: &'a mut dyn Write,
    colour: bool,
    interrupted: &'a AtomicBool,
    sections: u32,
    confirmed: u32,
    failed: Vec<String>,
}

impl<'a> Page<'a> {
    pub(super) fn new(out: &'a mut dyn Write, colour: bool, interrupted: &'a AtomicBool) -> Self {
        Self {
            out,
            colour,
            interrupted,
            sections: 0,
            confirmed: 0,
            failed: Vec::new(),
        }
    }

    /// Fails once the demo was asked to end, so that whatever it built is removed.
    pub(super) fn go_on(&self) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Failure::Unexpected("interrupted".to_owned()));
        }
        Ok(())
    }

    /// A numbered headline.
    pub(super) fn section(&mut self, title: &str) -> Result<()> {
        self.go_on()?;
        self.sections += 1;
        let headline = format!("{}. {title}", self.sections);
        let headline = self.painted(BOLD, &headline);
        self.line(&format!("\n{headline}"))
    }

    /// A paragraph, wrapped.
    pub(super) fn say(&mut self, text: &str) -> Result<()> {
        self.go_on()?;
        self.paragraph("", "", text)
    }

    /// A line as it stands.
    pub(super) fn line(&mut self, text: &str) -> Result<()> {
        let written = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
        written.during(|| "write the demo's text".to_owned())
    }

    /// A command that a user would type at a node, and what it printed.
    pub(super) fn command(&mut self, node: &str, command: &str, printed: &str) -> Result<()> {
        self.go_on()?;
        let prompt = self.painted(DIM, &format!("{node}#"));
        self.line(&format!("\n{INDENT}{prompt} {command}"))?;
        printed
            .lines()
            .try_for_each(|line| self.line(&format!("{INDENT}{line}")))
    }

    /// Columns under heads; columns of numbers stand to the right.
    pub(super) fn table(&mut self, heads: &[&str], rows: &[Vec<String>]) -> Result<()> {
        self.line("")?;
        for line in columns(heads, rows) {
            self.line(&format!("{INDENT}{line}"))?;
        }
        self.line("")
    }

    /// A statement that the demo has just measured to be so, or not to be so.
    pub(super) fn verdict(&mut self, holds: bool, statement: &str) -> Result<()> {
        if holds {
            self.confirmed += 1;
            return self.paragraph("ok    ", GREEN, statement);
        }
        self.failed.push(statement.to_owned());
        self.paragraph("FAIL  ", RED, statement)
    }

    /// The last line, and a failure when a statement did not hold.
    pub(super) fn conclude(mut self) -> Result<()> {
        if self.failed.is_empty() {
            let end = format!("All {} statements marked \"ok\" held.", self.confirmed);
            let end = self.painted(BOLD, &end);
            return self.line(&format!("\n{end}"));
        }
        let failed = self.failed.join("; ");
        Err(Failure::Unexpected(format!("did not hold: {failed}")))
    }

    fn paragraph(&mut self, mark: &str, style: &str, text: &str) -> Result<()> {
        let room = WIDTH - INDENT.len() - mark.len();
        for (number, line) in wrapped(text, room).iter().enumerate() {
            let mark = if number == 0 {
                self.painted(style, mark)
            } else {
                " ".repeat(mark.len())
            };
            self.line(&format!("{INDENT}{mark}{line}"))?;
        }
        Ok(())
    }

    fn painted(&self, style: &str, text: &str) -> String {
        if self.colour && !style.is_empty() {
            format!("{style}{text}{PLAIN}")
        } else {
            text.to_owned()
        }
    }
}

/// Breaks a text between words.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let length = lines.last().map_or(0, |line| line.chars().count());
        if length > 0 && length + 1 + word.chars().count() > room {
            lines.push(word.to_owned());
        } else if let Some(line) = lines.last_mut() {
            if length > 0 {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

fn columns(heads: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let lines = || std::iter::once(&heads).chain(rows);
    let width = |column: usize| lines().map(|line| line[column].chars().count()).max();
    let numeric = |column: usize| rows.iter().all(|row| is_number(&row[column]));
    let shape: Vec<(usize, bool)> = (0..heads.len())
        .map(|column| (width(column).unwrap_or(0), numeric(column)))
        .collect();
    let printed = lines().map(|line| {
        let cells = line.iter().zip(&shape).map(|(cell, (width, right))| {
            if *right {
                format!("{cell:>width$}")
            } else {
                format!("{cell:<width$}")
            }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    printed.collect()
}

/// Whether a cell holds a number, or nothing.
fn is_number(cell: &str) -> bool {
    cell.is_empty()
        || cell.starts_with(|first: char| first.is_ascii_digit()) && {
            let number = cell.split(' ').next().unwrap_or(cell);
            number.parse::<f64>().is_ok()
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_wrap_at_the_room_and_long_ones_stand_alone() {
        assert_eq!(wrapped("a bb ccc", 4), ["a bb", "ccc"]);
        assert_eq!(wrapped("a loooong b", 4), ["a", "loooong", "b"]);
        assert_eq!(wrapped("", 4), [""]);
    }

    #[test]
    fn numbers_stand_to_the_right() {
        let rows = [
            vec!["n1".to_owned(), "7".to_owned()],
            vec!["total".to_owned(), "1234".to_owned()],
        ];
        let lines = columns(&["NODE", "DROPPED"], &rows);
        assert_eq!(
            lines,
            ["NODE   DROPPED", "n1           7", "total     1234"]
        );
    }

    #[test]
    fn a_statement_that_does_not_hold_fails_the_demo() {
        let (mut out, interrupted) = (Vec::new(), AtomicBool::new(false));
        let mut page = Page::new(&mut out, false, &interrupted);
        page.verdict(true, "one").expect("written");
        page.verdict(false, "two").expect("written");
        let failure = page.conclude().expect_err("two does not hold");
        assert_eq!(failure.to_string(), "did not hold: two");
        assert_eq!(
            String::from_utf8(out).expect("UTF-8"),
            "  ok    one\n  FAIL  two\n"
        );
    }

    #[test]
    fn an_interrupted_demo_goes_no_further() {
        let (mut out, interrupted) = (Vec::new(), AtomicBool::new(true));
        let mut page = Page::new(&mut out, false, &interrupted);
        assert!(page.section("never").is_err());
        assert!(out.is_empty());
    }
}
