//! Small ways in which registries differ from the specification and from each other. A profile is made of them.

use super::descriptor::media_type;
use super::reply::Reply;

/// How a registry behaves where not every one behaves alike.
#[derive(Clone, Debug, Default)]
pub struct Quirks {
    /// What it does about a manifest whose type is not in `Accept`.
    pub unaccepted: Unaccepted,
    /// Refuses HEAD of blobs with 401, whoever asks.
    pub refuses_blob_head: bool,
    /// Leaves `Docker-Content-Digest` out of answers to GET.
    pub hides_digest: bool,
    /// Answers the ping with 200, whoever asks.
    pub open_ping: bool,
    /// How it refuses a token or password that was good once.
    pub expiry: Expiry,
    /// It only redirects: everything is at another registry, on the CDN's port, below this prefix of names.
    pub moved_below: Option<&'static str>,
}

/// What a registry does about a manifest whose type is not in `Accept`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unaccepted {
    /// Serves it.
    #[default]
    Served,
    /// Answers 404.
    Missing,
    /// Serves something else: schema 1, under another digest.
    Converted,
}

/// How a registry refuses a token or password that was good once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expiry {
    /// 401 with a challenge.
    #[default]
    Challenged,
    /// 403 without one, in words, as ECR.
    Forbidden,
    /// 400 without one, and without a word, as ECR Public.
    BadRequest,
}

impl Expiry {
    /// The refusal; `challenge` is the one for those who never had a login.
    pub(crate) fn refusal(self, challenge: Box<Reply>) -> Box<Reply> {
        match self {
            Self::Challenged => challenge,
            Self::Forbidden => Box::new(Reply::error(
                403,
                "DENIED",
                "Your authorization token has expired. Reauthenticate and try again.",
            )),
            Self::BadRequest => Box::new(Reply::status(400)),
        }
    }
}

/// What a registry makes of a manifest for a client that does not take its type.
pub(crate) fn schema_1(name: &str) -> Reply {
    Reply::status(200)
        .json(&serde_json::json!({"schemaVersion": 1, "name": name, "fsLayers": []}))
        .header("content-type", media_type::DOCKER_SCHEMA_1)
}

impl Quirks {
    /// The name behind the redirects of a registry that has moved.
    pub(crate) fn moved_name(&self, name: &str) -> Option<String> {
        self.moved_below.map(|prefix| format!("{prefix}/{name}"))
    }

    /// A repository's own name, by the one behind the redirects.
    pub(crate) fn own_name<'a>(&self, name: &'a str) -> &'a str {
        let moved = self.moved_below.and_then(|prefix| {
            let rest = name.strip_prefix(prefix)?;
            rest.strip_prefix('/')
        });
        moved.unwrap_or(name)
    }
}
