//! The headers of every kind of answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;

use super::*;
use crate::http::route::Tags;
use crate::mirror::Listing;
use crate::oci::{Algorithm, Digest, media_type};

fn digest() -> Digest {
    Digest::of(Algorithm::Sha256, b"hello")
}

fn target(action: Action) -> Target {
    Target::for_tests("ghcr.io/org/app", action)
}

fn blob() -> Target {
    target(Action::Blob(digest()))
}

fn served(body: Body) -> Served {
    Served {
        cache_status: CacheStatus::Hit,
        media_type: media_type::OCTET_STREAM,
        digest: Some(digest()),
        size: 5,
        slice: None,
        age: None,
        filters_applied: None,
        references: None,
        fields: None,
        body,
    }
}

fn respond(
    served: Served,
    target: &Target,
    method: &Method,
    conditions: &HeaderMap,
) -> Response<ResponseBody> {
    let (request, ()) = http::Request::new(()).into_parts();
    Answer::served(served, target, conditions)
        .into_response(method, Box::new(Record::for_tests(&request)))
}

fn get(served: Served, target: &Target) -> Response<ResponseBody> {
    respond(served, target, &Method::GET, &HeaderMap::new())
}

fn header<'a>(response: &'a Response<ResponseBody>, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

async fn body(response: Response<ResponseBody>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn a_blob_has_every_header_that_clients_look_at() {
    let response = get(served(Body::Bytes("hello".into())), &blob());
    assert_eq!(response.status(), 200);
    for (name, value) in [
        ("docker-distribution-api-version", "registry/2.0"),
        ("docker-content-digest", digest().to_string().as_str()),
        ("etag", format!("\"{}\"", digest()).as_str()),
        ("content-type", "application/octet-stream"),
        ("content-length", "5"),
        ("accept-ranges", "bytes"),
        ("cache-status", "forebay; hit"),
        ("oci-namespace", "ghcr.io"),
    ] {
        assert_eq!(header(&response, name), value, "{name}");
    }
    assert_eq!(body(response).await, "hello");
}

/// A manifest in memory has its header fields made, and those of a hit put together, of the registry that was first.
#[test]
fn what_has_its_fields_made_is_answered_as_what_has_not() {
    let fields = Arc::new(Fields::of(&media_type::OCI_INDEX, &digest()));
    let [plain, aged] = [None, Some(Duration::from_secs(9))];
    let known = format!("\"{}\"", digest()).parse().unwrap();
    let conditions = HeaderMap::from_iter([(IF_NONE_MATCH, known)]);
    let tag = || Action::Manifest("v1".parse().unwrap());
    let others = Target::for_tests("quay.io/org/app", tag());
    let all = [
        (tag(), CacheStatus::Hit, plain),
        (tag(), CacheStatus::Revalidated, plain),
        (tag(), CacheStatus::Stale(StaleReason::Slow), aged),
        (Action::Blob(digest()), CacheStatus::Hit, plain),
    ];
    for (action, cache_status, age) in all {
        for target in [target(action), others.clone()] {
            for method in [Method::GET, Method::HEAD] {
                for conditions in [&HeaderMap::new(), &conditions] {
                    let [made, anew] = [Some(Arc::clone(&fields)), None].map(|fields| {
                        let manifest = Served {
                            media_type: media_type::OCI_INDEX,
                            cache_status,
                            age,
                            fields,
                            ..served(Body::Bytes("hello".into()))
                        };
                        respond(manifest, &target, &method, conditions)
                    });
                    let told = |response: &Response<ResponseBody>| {
                        format!("{} {:?}", response.status(), response.headers())
                    };
                    assert_eq!(told(&made), told(&anew));
                    let registry = target.repository.registry.as_str();
                    assert_eq!(header(&made, "oci-namespace"), registry);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_part_says_which() {
    let part = Served {
        slice: Some(1..3),
        ..served(Body::Bytes("el".into()))
    };
    let response = get(part, &blob());
    assert_eq!(response.status(), 206);
    assert_eq!(header(&response, "content-range"), "bytes 1-2/5");
    assert_eq!(header(&response, "content-length"), "2");
    assert_eq!(body(response).await, "el");
}

#[tokio::test]
async fn a_head_has_exactly_the_headers_of_a_get() {
    for target in [blob(), target(Action::Manifest("v1".parse().unwrap()))] {
        let none = HeaderMap::new();
        let get = get(served(Body::Bytes("hello".into())), &target);
        // The mirror gives a HEAD of a manifest its bytes, and one of a blob nothing.
        for given in [Body::Empty, Body::Bytes("hello".into())] {
            let head = respond(served(given), &target, &Method::HEAD, &none);
            assert_eq!(
                (head.status(), head.headers()),
                (get.status(), get.headers())
            );
            assert!(body(head).await.is_empty());
        }
    }
}

#[tokio::test]
async fn a_manifest_offers_no_ranges_and_its_bare_type() {
    let manifest = Served {
        media_type: media_type::OCI_INDEX,
        cache_status: CacheStatus::Stale(StaleReason::Unavailable),
        age: Some(Duration::from_millis(90_500)),
        ..served(Body::Bytes("hello".into()))
    };
    let response = get(manifest, &target(Action::Manifest("v1".parse().unwrap())));
    assert_eq!(
        header(&response, "content-type"),
        "application/vnd.oci.image.index.v1+json"
    );
    assert_eq!(header(&response, "accept-ranges"), "");
    assert_eq!(header(&response, "age"), "90");
    assert!(header(&response, "cache-status").starts_with("forebay; fwd=stale; detail="));
}

#[tokio::test]
async fn content_that_the_client_has_is_not_sent() {
    let etag = format!("\"{}\"", digest());
    for (condition, status) in [
        (etag.as_str(), 304),
        (&format!("\"x\", W/{etag}"), 304),
        ("*", 304),
        ("\"sha256:00\"", 200),
        (&digest().to_string(), 200),
    ] {
        let mut conditions = HeaderMap::new();
        conditions.insert(IF_NONE_MATCH, condition.parse().unwrap());
        let response = respond(
            served(Body::Bytes("hello".into())),
            &blob(),
            &Method::GET,
            &conditions,
        );
        assert_eq!(response.status(), status, "{condition}");
        assert_eq!(header(&response, "etag"), etag);
        if status == 304 {
            assert_eq!(header(&response, "content-length"), "");
            assert!(body(response).await.is_empty());
        }
    }
}

#[test]
fn what_upstreams_write_cannot_add_headers() {
    let mut tags = Tags::for_tests("org/app");
    tags.page.n = Some(2);
    let target = target(Action::Tags(tags.clone()));
    for (last, link) in [
        ("b", "</v2/org/app/tags/list?n=2&last=b>; rel=\"next\""),
        (
            "b>; rel=\"evil\"",
            "</v2/org/app/tags/list?n=2&last=b%3E%3B%20rel%3D%22evil%22>; rel=\"next\"",
        ),
        (
            "b\r\nX-Evil: 1&n=9",
            "</v2/org/app/tags/list?n=2&last=b%0D%0AX-Evil%3A%201%26n%3D9>; rel=\"next\"",
        ),
    ] {
        let listing = Listing {
            cache_status: CacheStatus::Hit,
            age: None,
            names: Bytes::new(),
            next: Some(last.to_owned()),
        };
        let answer = Answer::tags(listing, &target.repository, &tags);
        assert_eq!(answer.headers["link"], link);
        assert!(!answer.headers.contains_key("x-evil"));
    }
    let filtered = Served {
        filters_applied: Some("artifactType\r\nX-Evil: 1".to_owned()),
        ..served(Body::Bytes("hello".into()))
    };
    let response = get(filtered, &target);
    assert!(response.headers().get("oci-filters-applied").is_none());
    assert!(response.headers().get("x-evil").is_none());
}

/// A long list was copied twice for each answer.
#[tokio::test]
async fn a_list_goes_out_whole_however_long_and_a_long_one_is_not_copied() {
    let target = target(Action::Tags(Tags::for_tests("org/app")));
    for count in [0, 1, 100, 30_000] {
        let names: Vec<_> = (0..count).map(|n| format!("tag{n}")).collect();
        let inside = names.iter().map(|name| format!("\"{name}\""));
        let inside = Bytes::from(inside.collect::<Vec<_>>().join(","));
        let listing = Listing {
            cache_status: CacheStatus::Hit,
            age: None,
            names: inside.clone(),
            next: None,
        };
        let tags = Tags::for_tests("org/app");
        let mut body = Answer::tags(listing, &target.repository, &tags).body;
        let length = body.length();
        let (mut whole, mut is_copied) = (Vec::new(), true);
        while let Some(frame) = body.frame().await {
            let bytes = frame.unwrap().into_data().unwrap();
            is_copied &= bytes.as_ptr() != inside.as_ptr();
            whole.extend_from_slice(&bytes);
        }
        assert_eq!(length, whole.len() as u64);
        assert_eq!(is_copied, count < 30_000);
        let list: serde_json::Value = serde_json::from_slice(&whole).unwrap();
        assert_eq!(list, serde_json::json!({"name": "org/app", "tags": names}));
    }
}

#[test]
fn every_cache_status_is_of_rfc_9211s_form() {
    for status in [
        CacheStatus::Hit,
        CacheStatus::Revalidated,
        CacheStatus::Miss,
        CacheStatus::MissAfterWait,
        CacheStatus::Collapsed,
        CacheStatus::Unverified,
        CacheStatus::Bypass,
        CacheStatus::Stale(StaleReason::Quota),
        CacheStatus::Stale(StaleReason::Unavailable),
        CacheStatus::Stale(StaleReason::Slow),
        CacheStatus::Stale(StaleReason::Deleted),
        CacheStatus::Stale(StaleReason::Revalidating),
    ] {
        let value = cache_status(status);
        let parameters: Vec<_> = value.to_str().unwrap().split("; ").collect();
        assert_eq!(parameters[0], "forebay");
        // The stored copy was served after the upstream was asked, in vain or not.
        let was_stale = matches!(
            status,
            CacheStatus::Revalidated
                | CacheStatus::Stale(
                    StaleReason::Quota
                        | StaleReason::Slow
                        | StaleReason::Unavailable
                        | StaleReason::Deleted
                )
        );
        assert_eq!(parameters.contains(&"fwd=stale"), was_stale, "{status:?}");
        // Only a request that joined another's was collapsed.
        let joined = matches!(status, CacheStatus::Collapsed);
        assert_eq!(parameters.contains(&"collapsed"), joined, "{status:?}");
        // A hit is not forwarded, and everything else says why it was.
        let hit = parameters.contains(&"hit");
        assert_ne!(
            hit,
            parameters
                .iter()
                .any(|parameter| parameter.starts_with("fwd="))
        );
    }
}
