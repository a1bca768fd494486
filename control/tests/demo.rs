//! The demo, with this build's binary: it shows what it promises, and leaves nothing. Needs root.

use std::fs;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use xsteer_bench::demo::{Options, run};

/// Keeps the text, and interrupts the demo when a headline appears.
struct Recorder {
    text: String,
    interrupted: Arc<AtomicBool>,
    interrupt_at: Option<&'static str>,
}

impl Write for Recorder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.push_str(&String::from_utf8_lossy(bytes));
        if self.interrupt_at.is_some_and(|at| self.text.contains(at)) {
            self.interrupted.store(true, Ordering::Relaxed);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn recorded(interrupt_at: Option<&'static str>) -> (xsteer_bench::testbed::Result<()>, String) {
    let interrupted = Arc::new(AtomicBool::new(false));
    let options = Options {
        xsteer: env!("CARGO_BIN_EXE_xsteer").into(),
        quick: true,
        colour: false,
        interrupted: Arc::clone(&interrupted),
    };
    let mut recorder = Recorder {
        text: String::new(),
        interrupted,
        interrupt_at,
    };
    let outcome = run(&options, &mut recorder);
    (outcome, recorder.text)
}

/// Namespaces of the demo that printed a text.
fn left_of(text: &str) -> usize {
    let (_, after) = text.split_once("they begin with ").expect("a prefix");
    let (prefix, _) = after.split_once('.').expect("a sentence");
    let names = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    names
        .filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with(prefix.trim())
        })
        .count()
}

#[test]
fn every_statement_holds_and_the_text_fits_a_terminal() {
    let (outcome, text) = recorded(None);
    outcome.unwrap_or_else(|failure| panic!("{failure}\n{text}"));
    assert!(!text.contains("FAIL"), "{text}");
    assert!(text.contains("marked \"ok\" held"), "{text}");
    for shown in [
        "xsteer sfcpath list",
        "(1, 1)   10.",
        "1, egress, 0/TCP, 0.0.0.0/0",
        "10.8.0.13",
        "wire n1 -> n",
        "entry_dropped_spoofed 1",
        "RATIO",
    ] {
        assert!(text.contains(shown), "{shown} is missing in:\n{text}");
    }
    let long = text.lines().find(|line| line.chars().count() > 100);
    assert_eq!(long, None);
    assert_eq!(left_of(&text), 0);
}

#[test]
fn interrupted_it_ends_at_the_next_step_and_leaves_nothing() {
    let (outcome, text) = recorded(Some("3. Client affinity"));
    assert!(outcome.is_err());
    assert!(!text.contains("4. The way"), "{text}");
    assert_eq!(left_of(&text), 0);
}
