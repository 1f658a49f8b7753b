//! What a plan is told and what it answers.

/// The bounds that a plan keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Length of a piece in bytes. Blobs of at least two pieces get several connections.
    pub piece: u64,
    /// Connections at once, at most.
    pub connections: usize,
    /// How far from the frontier a piece that no client waits for may begin, in bytes; at least 1.
    pub ahead: u64,
    /// Failures in a row without progress, at most.
    pub failures: u32,
    /// Bytes that count as progress, so that an upstream which sends a byte a connection is given up on.
    pub progress: u64,
}

/// One connection of a fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub(super) u32);

/// A request to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The connection that it will be known by.
    pub id: ConnectionId,
    /// First byte wanted.
    pub start: u64,
    /// One past the last byte wanted; `None` for all that follows.
    pub end: Option<u64>,
}

/// What to do with a connection whose response head has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// Read its body.
    Read,
    /// Drop it: it would send bytes that another connection is sending.
    Drop,
}

/// What to do after a connection has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailure {
    /// Wait, longer the more failures there were in a row, then ask [`next_request`](super::Plan::next_request).
    Retry {
        /// Failures in a row without progress; 0 after one that had made some.
        failures: u32,
    },
    /// It makes no progress: try another source or fail.
    GiveUp,
}

/// What a refusal of a range as outside the blob means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutOfRange {
    /// It told what was not known: ask [`next_request`](super::Plan::next_request), unless the blob is complete.
    GoOn,
    /// What is here is longer than the blob: it is no part of it.
    NotTheBlob,
    /// It contradicts what is known of the size, and counts as any other failure.
    Failed(AfterFailure),
}

/// An answer that no honest upstream gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Dishonest {
    /// Two answers, or an answer and a manifest, disagree about the size.
    #[error("the upstream says that the blob has {said} bytes, {expected} were expected")]
    Size {
        /// What this answer says.
        said: u64,
        /// What was known before.
        expected: u64,
    },
    /// More bytes came than the response head promised.
    #[error("the upstream sent more than the {expected} bytes of the blob")]
    TooLong {
        /// The size of the blob.
        expected: u64,
    },
}

/// How an upstream answered a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// 200, the blob from its first byte on, whatever range was asked for; else exactly that range.
    pub whole: bool,
    /// The size of the blob, where the head tells it.
    pub total: Option<u64>,
}
