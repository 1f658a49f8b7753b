//! The registry: the distribution specification's pull endpoints.

use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT, IF_RANGE, RANGE};
use serde_json::json;

use super::auth::{
    Auth, Granted, Identity, Passwords, Refused, basic_challenge, bearer, bearer_challenge,
};
use super::cdn::{Blobs, signed_path};
use super::connection::{Connection, Head};
use super::descriptor::media_type;
use super::faults::Before;
use super::quirks::{Quirks, Unaccepted, schema_1};
use super::quota::Cost;
use super::range::Wanted;
use super::reply::{Part, Reply};
use super::repository::Repository;
use super::state::State;
use super::target::Target;

/// Checks a request's credentials. `Err` is the challenge or refusal.
pub(crate) fn authorize(
    state: &State,
    head: &Head,
    name: Option<&str>,
) -> Result<Identity, Box<Reply>> {
    let expiry = state.settings.quirks.expiry;
    match &state.settings.auth {
        Auth::Open => readable(state, name, Identity::default()),
        Auth::Basic => match state.guard.by_password(&head.headers) {
            Ok(identity) if identity.user.is_some() => readable(state, name, identity),
            Err(Refused::Expired) => Err(expiry.refusal(Box::new(basic_challenge()))),
            _ => Err(Box::new(challenge(state, name, None))),
        },
        Auth::Token(auth) => {
            let takes_passwords = auth.passwords == Passwords::Taken;
            if takes_passwords
                && let Ok(identity) = state.guard.by_password(&head.headers)
                && identity.user.is_some()
            {
                return readable(state, name, identity);
            }
            let refused = |error| match error {
                Some(_) if takes_passwords => Box::new(basic_challenge()),
                error => Box::new(challenge(state, name, error)),
            };
            let token = bearer(&head.headers).ok_or_else(|| refused(None))?;
            let known_as = name.map(|name| auth.scope.known_as(name));
            match state.guard.by_token(token, known_as) {
                Granted::Yes(identity) => Ok(identity),
                Granted::Invalid => Err(expiry.refusal(refused(Some("invalid_token")))),
                Granted::NotFor => Err(refused(Some("insufficient_scope"))),
            }
        }
    }
}

/// A 401 in the registry's way.
fn challenge(state: &State, name: Option<&str>, error: Option<&str>) -> Reply {
    match &state.settings.auth {
        Auth::Token(auth) => bearer_challenge(auth, &state.token_url(), name, error),
        Auth::Open | Auth::Basic => basic_challenge(),
    }
}

/// Where everything is, if the registry itself only redirects.
pub(crate) fn moved(state: &State, head: &Head, target: &Target) -> Option<Reply> {
    let name = target.repository()?;
    let below = state.settings.quirks.moved_name(name)?;
    let target = head.target.replacen(name, &below, 1);
    let location = format!("{}{target}", state.cdn_url());
    Some(Reply::status(307).header("location", location))
}

fn readable(state: &State, name: Option<&str>, identity: Identity) -> Result<Identity, Box<Reply>> {
    let repository = name.and_then(|name| state.repository(name));
    if repository.is_none_or(|repository| repository.readers.include(&identity)) {
        return Ok(identity);
    }
    let denied = Reply::error(403, "DENIED", "requested access to the resource is denied");
    Err(Box::new(denied))
}

/// Answers a request that may have an answer.
pub(crate) fn answer(
    state: &State,
    connection: &Connection,
    head: &Head,
    target: &Target,
    identity: &Identity,
    before: &Before,
) -> Reply {
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return Reply::error(405, "UNSUPPORTED", "this registry is read-only");
    }
    if *target == Target::Ping {
        return Reply::status(200).json(&json!({}));
    }
    let Some(repository) = target.repository().and_then(|name| state.repository(name)) else {
        return Reply::error(404, "NAME_UNKNOWN", "repository name not known to registry");
    };
    match target {
        Target::Manifest { reference, .. } => {
            let address = connection.client.ip().to_string();
            metered(state, head, identity, &address, || {
                manifest(state, head, &repository, reference)
            })
        }
        Target::Blob { name, digest } => blob(state, head, &repository, name, digest, before),
        Target::Tags { name } => tags(head, &repository, name),
        Target::Referrers { digest, .. } if state.settings.referrers => {
            referrers(head, &repository, digest)
        }
        _ => Reply::error(404, "UNSUPPORTED", "no such endpoint"),
    }
}

/// Charges a manifest to the quota, if there is one, and reports what is left.
/// A manifest that is not there costs nothing.
fn metered(
    state: &State,
    head: &Head,
    identity: &Identity,
    address: &str,
    manifest: impl FnOnce() -> Reply,
) -> Reply {
    let reply = manifest();
    let Some(quota) = state.quota() else {
        return reply;
    };
    let costs = head.method == Method::GET && reply.status.is_success();
    let cost = if costs { Cost::Pull } else { Cost::Free };
    let standing = state
        .ledger
        .charge(&quota, identity.user.as_deref(), address, cost);
    standing.report(if standing.refused {
        Reply::quota_spent()
    } else {
        reply
    })
}

fn manifest(state: &State, head: &Head, repository: &Repository, reference: &str) -> Reply {
    let quirks = &state.settings.quirks;
    let unknown = || Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown");
    let Some((digest, stored)) = repository.find_manifest(reference) else {
        return unknown();
    };
    if !accepts(head, &stored.media_type) {
        match quirks.unaccepted {
            Unaccepted::Served => {}
            Unaccepted::Missing => return unknown(),
            Unaccepted::Converted => return schema_1(reference),
        }
    }
    let reply = Reply::status(200)
        .header("content-type", &stored.media_type)
        .header("etag", format!("\"{digest}\""))
        .body(stored.bytes.clone());
    with_digest(quirks, head, reply, digest)
}

/// Says what the digest is, unless the registry doesn't.
fn with_digest(quirks: &Quirks, head: &Head, reply: Reply, digest: impl AsRef<str>) -> Reply {
    if quirks.hides_digest && head.method == Method::GET {
        reply
    } else {
        reply.header("docker-content-digest", digest)
    }
}

fn accepts(head: &Head, media_type: &str) -> bool {
    let lines = head
        .headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .map(|range| range.split(';').next().unwrap_or_default().trim())
        .any(|range| range == media_type || range == "*/*" || range == "application/*")
}

fn blob(
    state: &State,
    head: &Head,
    repository: &Repository,
    name: &str,
    digest: &str,
    before: &Before,
) -> Reply {
    let quirks = &state.settings.quirks;
    if quirks.refuses_blob_head && head.method == Method::HEAD {
        return challenge(state, Some(name), None);
    }
    let Some(bytes) = repository.blobs.get(digest) else {
        return Reply::error(404, "BLOB_UNKNOWN", "blob unknown to registry");
    };
    let Blobs::Redirect(redirect) = &state.settings.blobs else {
        let reply = slice(
            head,
            bytes,
            &format!("\"{digest}\""),
            before.ignore_range,
            before.shift_range,
        )
        .header("content-type", media_type::OCTET_STREAM);
        return with_digest(quirks, head, reply, digest);
    };
    let lifetime = (!before.expired_redirect).then_some(redirect.lifetime);
    let path = signed_path(&state.signer, name, digest, lifetime);
    let location = if redirect.relative {
        path
    } else {
        format!("{}{path}", state.cdn_url())
    };
    let reply = Reply::status(redirect.status).header("location", location);
    let reply = with_digest(quirks, head, reply, digest);
    match &redirect.cache_control {
        Some(value) => reply.header("cache-control", value),
        None => reply,
    }
}

/// The part of `bytes` that the request wants.
pub(crate) fn slice(
    head: &Head,
    bytes: &Bytes,
    etag: &str,
    ignore_range: bool,
    shift: u64,
) -> Reply {
    let total = bytes.len() as u64;
    let stale = head
        .header(IF_RANGE)
        .is_some_and(|validator| validator != etag);
    let range = head.header(RANGE).filter(|_| !ignore_range && !stale);
    let (status, span) = match Wanted::of(range, total) {
        Wanted::Whole => (200, 0..total),
        Wanted::Part(span) => (206, (span.start + shift).min(span.end - 1)..span.end),
        Wanted::Unsatisfiable => {
            return Reply::status(416).header("content-range", format!("bytes */{total}"));
        }
    };
    let position = |at| usize::try_from(at).expect("a position in memory");
    Reply::status(status)
        .header("accept-ranges", "bytes")
        .header("etag", etag)
        .body(bytes.slice(position(span.start)..position(span.end)))
        .part(Part { span, total })
}

fn tags(head: &Head, repository: &Repository, name: &str) -> Reply {
    let query = head.query();
    let value = |key| {
        query
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    };
    let limit = match value("n").map(str::parse::<usize>) {
        None => usize::MAX,
        Some(Ok(limit)) => limit,
        Some(Err(_)) => {
            return Reply::error(
                400,
                "PAGINATION_NUMBER_INVALID",
                "invalid number of results requested",
            );
        }
    };
    let after = value("last").unwrap_or_default();
    let mut rest = repository.tags.keys().filter(|tag| tag.as_str() > after);
    let page: Vec<&String> = rest.by_ref().take(limit).collect();
    let reply = Reply::status(200).json(&json!({"name": name, "tags": page}));
    match (page.last(), rest.next()) {
        (Some(last), Some(_)) => {
            let link = format!("</v2/{name}/tags/list?last={last}&n={limit}>; rel=\"next\"");
            reply.header("link", link)
        }
        _ => reply,
    }
}

fn referrers(head: &Head, repository: &Repository, digest: &str) -> Reply {
    let mut manifests = repository.referrers(digest);
    let wanted = head
        .query()
        .into_iter()
        .find(|(key, _)| key == "artifactType");
    if let Some((_, wanted)) = &wanted {
        manifests.retain(|manifest| manifest.artifact_type.as_ref() == Some(wanted));
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "manifests": manifests,
    });
    let reply = Reply::status(200)
        .json(&index)
        .header("content-type", media_type::OCI_INDEX);
    match wanted {
        Some(_) => reply.header("oci-filters-applied", "artifactType"),
        None => reply,
    }
}
