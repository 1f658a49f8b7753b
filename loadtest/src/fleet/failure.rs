//! What becomes of a request that goes wrong, and of the pull that it was for.

use std::fmt;
use std::io;
use std::time::Duration;

/// A pull that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What was asked for.
    pub path: String,
    /// The status that it was answered with, if there was an answer.
    pub status: Option<u16>,
    /// What is wrong with it.
    pub told: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, status, told } = self;
        match status {
            Some(status) => write!(f, "{path}: {status}: {told}"),
            None => write!(f, "{path}: {told}"),
        }
    }
}

impl std::error::Error for Failure {}

/// A request that went wrong.
#[derive(Debug)]
pub(super) enum Trouble {
    /// There was no answer.
    Unanswered(io::Error),
    /// Another answer than was wanted.
    Refused {
        status: u16,
        told: String,
        retry_after: Option<Duration>,
    },
    /// A body that broke off.
    Cut(io::Error),
    /// What came is not what was asked for.
    Wrong(String),
}

impl Trouble {
    /// Whether the connection ended in good order short of the body's end: clients take that for a reason to resume.
    pub(super) fn is_early_end(&self) -> bool {
        matches!(self, Self::Cut(error) if error.kind() == io::ErrorKind::UnexpectedEof)
    }

    /// The status, where there was an answer that was not wanted.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Unanswered(_) | Self::Cut(_) | Self::Wrong(_) => None,
        }
    }

    /// What it means for the pull.
    pub(super) fn of(self, path: &str) -> Failure {
        let status = self.status();
        let told = match self {
            Self::Unanswered(error) => error.to_string(),
            Self::Refused { told, .. } | Self::Wrong(told) => told,
            Self::Cut(error) => format!("its body broke off: {error}"),
        };
        Failure {
            path: path.to_owned(),
            status,
            told,
        }
    }
}
