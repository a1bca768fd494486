//! Why the testbed or its traffic failed, and the two ways to wait.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// Time between two looks at a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A step of the testbed or of its traffic that did not work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A command ended with an error.
    #[error("{command}: {stderr}")]
    Command {
        /// The command line.
        command: String,
        /// What it said.
        stderr: String,
    },
    /// A system call or file operation failed.
    #[error("{what}")]
    Io {
        /// What was tried, and on what.
        what: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// Something answered in a way that can't be understood.
    #[error("{0}")]
    Unexpected(String),
    /// A condition did not come true in time.
    #[error("not within {within:?}: {what}")]
    Deadline {
        /// The condition.
        what: String,
        /// How long it was waited for.
        within: Duration,
    },
}

/// Result of the testbed.
pub type Result<T> = std::result::Result<T, Failure>;

/// Names the operation that failed.
pub(crate) trait During<T> {
    /// Wraps the error with what was tried.
    fn during(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> During<T> for std::result::Result<T, E> {
    fn during(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| {
            let source = error.into();
            Failure::Io {
                what: format!("{}: {source}", what()),
                source,
            }
        })
    }
}

/// Looks at a condition until it yields a value, and returns that.
///
/// # Errors
/// [`Failure::Deadline`] with `what` when it has not within the given time.
pub fn wait_for<T>(
    what: &str,
    within: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            return Err(Failure::Deadline {
                what: what.to_owned(),
                within,
            });
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Looks at a condition until it is true.
///
/// # Errors
/// [`Failure::Deadline`] with `what` when it is not within the given time.
pub fn wait_until(what: &str, within: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    wait_for(what, within, || condition().then_some(()))
}
