//! Blobs: whole, by range, broken off; and the proof that a repository holds one.

use std::time::Duration;

use bytes::Bytes;
use forebay_loadtest::origin::{Authorization, Blobs, Fault, Kind, Origin, Redirect, Repository};

use super::{count, manifest_and_layer, name, origin, password, set_up, settings, upstream_of};
use crate::oci::{Algorithm, Digest, ErrorCode};
use crate::upstream::{Access, BlobResponse, ByteRange, ErrorKind, Trouble, UpstreamError};

async fn read(response: BlobResponse) -> Result<Bytes, UpstreamError> {
    let mut body = response.body;
    let mut bytes = Vec::new();
    while let Some(chunk) = body.chunk().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}

fn range(start: u64, end: Option<u64>) -> ByteRange {
    ByteRange { start, end }
}

#[tokio::test]
async fn blobs_come_whole_and_by_range_directly_and_through_a_redirect() {
    let relative = Blobs::Redirect(Redirect {
        relative: true,
        ..Redirect::default()
    });
    for blobs in [Blobs::Direct, Blobs::redirect(), relative] {
        let origin = origin(Origin::docker_hub().blobs(blobs)).await;
        let upstream = upstream_of(&origin);
        let (_, layer) = manifest_and_layer(&origin);
        let whole = upstream.get_blob(&name(), &layer, None).await.unwrap();
        assert!(whole.whole);
        assert_eq!(whole.access, Access::Anonymous);
        let total = whole.total.unwrap();
        let bytes = read(whole).await.unwrap();
        assert_eq!(bytes.len() as u64, total);
        assert_eq!(Digest::of(Algorithm::Sha256, &bytes), layer);

        let middle = upstream
            .get_blob(&name(), &layer, Some(range(10, Some(20))))
            .await
            .unwrap();
        assert!(!middle.whole);
        assert_eq!(middle.total, Some(total));
        assert_eq!(read(middle).await.unwrap(), bytes[10..20]);
        let rest = upstream
            .get_blob(&name(), &layer, Some(range(10, None)))
            .await
            .unwrap();
        assert_eq!(read(rest).await.unwrap(), bytes[10..]);
    }
}

#[tokio::test]
async fn authorization_never_crosses_a_redirect() {
    // The origin's CDN answers 400 to a request that brings a token.
    let origin = origin(Origin::docker_hub().user("user", "pass")).await;
    let upstream = set_up(crate::config::Upstream {
        credentials: password("user", "pass"),
        ..settings(&[&origin.registry_url()])
    });
    let (_, layer) = manifest_and_layer(&origin);
    let response = upstream.get_blob(&name(), &layer, None).await.unwrap();
    assert_eq!(response.access, Access::Credentialed);
    read(response).await.unwrap();
    let cdn = origin.requests_for(Kind::CdnGet);
    assert_eq!(cdn.len(), 1);
    assert_eq!(cdn[0].authorization, Authorization::None);
}

#[tokio::test]
async fn a_range_that_is_ignored_is_told_apart() {
    let origin = origin(Origin::builder()).await;
    let upstream = upstream_of(&origin);
    let (_, layer) = manifest_and_layer(&origin);
    origin.on(Kind::BlobGet).once(Fault::IgnoreRange);
    let response = upstream
        .get_blob(&name(), &layer, Some(range(10, None)))
        .await
        .unwrap();
    assert!(response.whole);
    let bytes = read(response).await.unwrap();
    assert_eq!(Digest::of(Algorithm::Sha256, &bytes), layer);
}

#[tokio::test]
async fn a_lying_content_range_is_refused() {
    let origin = origin(Origin::builder()).await;
    let upstream = upstream_of(&origin);
    let (_, layer) = manifest_and_layer(&origin);
    origin.on(Kind::BlobGet).once(Fault::ShiftRange(1));
    let error = upstream
        .get_blob(&name(), &layer, Some(range(10, None)))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    origin
        .on(Kind::BlobGet)
        .once(Fault::Header("content-range", None));
    let error = upstream
        .get_blob(&name(), &layer, Some(range(10, None)))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    origin
        .on(Kind::BlobGet)
        .once(Fault::header("content-range", "bytes 10-19/15"));
    let error = upstream
        .get_blob(&name(), &layer, Some(range(10, Some(20))))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[tokio::test]
async fn a_range_beyond_the_end_is_told_with_the_size() {
    for builder in [Origin::builder(), Origin::docker_hub()] {
        let origin = origin(builder).await;
        let upstream = upstream_of(&origin);
        let (_, layer) = manifest_and_layer(&origin);
        let error = upstream
            .get_blob(&name(), &layer, Some(range(1_000_000, None)))
            .await
            .unwrap_err();
        let size = origin.content(super::NAME, layer.to_string()).len() as u64;
        assert_eq!(
            error.kind(),
            ErrorKind::RangeUnsatisfiable { size: Some(size) }
        );
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_cut_and_never_ended() {
    for fault in [
        Fault::CutAt(5_000),
        Fault::ResetAt(5_000),
        Fault::ClaimLength(7),
    ] {
        let origin = origin(Origin::docker_hub()).await;
        let upstream = upstream_of(&origin);
        let (_, layer) = manifest_and_layer(&origin);
        origin.on_body(layer.to_string()).once(fault.clone());
        let response = upstream.get_blob(&name(), &layer, None).await.unwrap();
        let error = read(response).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cut, "{fault:?}: {error}");
        assert!(error.may_retry());
    }
}

#[tokio::test]
async fn a_chunked_body_that_breaks_off_is_cut() {
    let origin = origin(Origin::builder()).await;
    let upstream = upstream_of(&origin);
    let (_, layer) = manifest_and_layer(&origin);
    origin.on_body(layer.to_string()).always(Fault::Chunked);
    let whole = upstream.get_blob(&name(), &layer, None).await.unwrap();
    assert_eq!(whole.total, None);
    assert_eq!(
        Digest::of(Algorithm::Sha256, &read(whole).await.unwrap()),
        layer
    );
    origin.on_body(layer.to_string()).once(Fault::CutAt(5_000));
    let cut = upstream.get_blob(&name(), &layer, None).await.unwrap();
    assert_eq!(read(cut).await.unwrap_err().kind(), ErrorKind::Cut);
}

#[tokio::test]
async fn a_chunked_range_ends_where_it_said() {
    let origin = origin(Origin::builder()).await;
    let upstream = upstream_of(&origin);
    let (_, layer) = manifest_and_layer(&origin);
    // Without Content-Length, the Content-Range is what the body is held to.
    origin.on_body(layer.to_string()).always(Fault::Chunked);
    let part = upstream
        .get_blob(&name(), &layer, Some(range(10, Some(30))))
        .await
        .unwrap();
    assert_eq!(read(part).await.unwrap().len(), 20);
    origin
        .on_body(layer.to_string())
        .once(Fault::header("content-range", "bytes 10-20/20000"));
    let long = upstream
        .get_blob(&name(), &layer, Some(range(10, Some(30))))
        .await
        .unwrap();
    assert_eq!(read(long).await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_chunked_range_that_stops_short_is_cut() {
    let origin = origin(Origin::builder()).await;
    let upstream = upstream_of(&origin);
    let (_, layer) = manifest_and_layer(&origin);
    let on_body = || origin.on_body(layer.to_string());
    on_body().once(Fault::Chunked);
    on_body().once(Fault::header("content-range", "bytes 10-39/20000"));
    origin.on(Kind::BlobGet).once(Fault::ShiftRange(10));
    let range = Some(range(10, Some(40)));
    let short = upstream.get_blob(&name(), &layer, range).await.unwrap();
    assert_eq!(read(short).await.unwrap_err().kind(), ErrorKind::Cut);
}

#[tokio::test]
async fn a_body_that_stands_still_times_out() {
    let origin = origin(Origin::docker_hub()).await;
    let mut impatient = settings(&[&origin.registry_url()]);
    impatient.timeouts.body_idle = Duration::from_millis(200);
    let upstream = set_up(impatient);
    let (_, layer) = manifest_and_layer(&origin);
    origin
        .on_body(layer.to_string())
        .once(Fault::stall_at(5_000));
    let response = upstream.get_blob(&name(), &layer, None).await.unwrap();
    let error = read(response).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable(Trouble::Timeout));
}

#[tokio::test]
async fn a_trickle_counts_as_standing_still() {
    let origin = origin(Origin::docker_hub()).await;
    let mut impatient = settings(&[&origin.registry_url()]);
    impatient.timeouts.body_idle = Duration::from_millis(300);
    let upstream = set_up(impatient);
    let (_, layer) = manifest_and_layer(&origin);
    origin.on_body(layer.to_string()).once(Fault::Throttle(50));
    let response = upstream.get_blob(&name(), &layer, None).await.unwrap();
    let error = read(response).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable(Trouble::Timeout));
}

#[tokio::test]
async fn a_caller_who_does_not_read_is_no_idle_upstream() {
    let origin = origin(Origin::builder()).await;
    let mut impatient = settings(&[&origin.registry_url()]);
    impatient.timeouts.body_idle = Duration::from_secs(1);
    let upstream = set_up(impatient);
    let (_, layer) = manifest_and_layer(&origin);
    let response = upstream.get_blob(&name(), &layer, None).await.unwrap();
    // Longer than the idle timeout, which must not run meanwhile.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(
        Digest::of(Algorithm::Sha256, &read(response).await.unwrap()),
        layer
    );
}

#[tokio::test]
async fn an_expired_redirect_is_asked_for_once_more() {
    let origin = origin(Origin::docker_hub()).await;
    let upstream = upstream_of(&origin);
    let (_, layer) = manifest_and_layer(&origin);
    upstream.get_blob(&name(), &layer, None).await.unwrap();
    origin.reset();
    origin.on(Kind::BlobGet).once(Fault::ExpiredRedirect);
    let response = upstream.get_blob(&name(), &layer, None).await.unwrap();
    assert_eq!(
        Digest::of(Algorithm::Sha256, &read(response).await.unwrap()),
        layer
    );
    assert_eq!(count(&origin, Kind::BlobGet), 2);

    origin.reset();
    origin.on(Kind::BlobGet).always(Fault::ExpiredRedirect);
    let error = upstream.get_blob(&name(), &layer, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(!error.is_refusal(), "the CDN's 403 is not the registry's");
    assert_eq!(count(&origin, Kind::BlobGet), 2);
}

#[tokio::test]
async fn redirects_without_end_are_bounded() {
    let origin = origin(Origin::builder()).await;
    let upstream = upstream_of(&origin);
    let (_, layer) = manifest_and_layer(&origin);
    origin.on(Kind::BlobGet).always(Fault::RedirectLoop);
    let error = upstream.get_blob(&name(), &layer, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Policy, "{error}");
    // The registry and five hops, twice.
    assert_eq!(count(&origin, Kind::BlobGet), 12);
}

#[tokio::test]
async fn absent_blobs_are_absent_at_the_registry_only() {
    let origin = origin(Origin::docker_hub()).await;
    let upstream = upstream_of(&origin);
    let (_, layer) = manifest_and_layer(&origin);
    let absent = Digest::of(Algorithm::Sha256, b"absent");
    let unknown = ErrorKind::NotFound {
        code: ErrorCode::BlobUnknown,
    };
    let error = upstream.get_blob(&name(), &absent, None).await.unwrap_err();
    assert_eq!(error.kind(), unknown);
    let error = upstream.confirm_blob(&name(), &absent).await.unwrap_err();
    assert_eq!(error.kind(), unknown);
    // A blob store that has lost what the registry knows is a broken upstream.
    origin.on(Kind::CdnGet).always(Fault::status(404));
    let error = upstream.get_blob(&name(), &layer, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_blob_is_confirmed_by_head_with_its_size() {
    let origin = origin(Origin::builder()).await;
    let upstream = upstream_of(&origin);
    let (_, layer) = manifest_and_layer(&origin);
    let confirmed = upstream.confirm_blob(&name(), &layer).await.unwrap();
    let size = origin.content(super::NAME, layer.to_string()).len() as u64;
    assert_eq!(confirmed.size, Some(size));
    assert_eq!(confirmed.access, Access::Anonymous);
    assert_eq!(origin.counts().total(), 1);
}

#[tokio::test]
async fn a_redirect_confirms_and_is_not_followed() {
    let origin = origin(Origin::docker_hub()).await;
    let upstream = upstream_of(&origin);
    let (_, layer) = manifest_and_layer(&origin);
    let confirmed = upstream.confirm_blob(&name(), &layer).await.unwrap();
    assert_eq!(confirmed.size, None);
    assert_eq!(
        count(&origin, Kind::CdnHead) + count(&origin, Kind::CdnGet),
        0
    );
}

#[tokio::test]
async fn a_redirect_to_another_registry_proves_nothing_by_itself() {
    let target = origin(Origin::builder()).await;
    let front = origin(Origin::builder()).await;
    let upstream = upstream_of(&front);
    let (_, layer) = manifest_and_layer(&front);
    let absent = Digest::of(Algorithm::Sha256, b"absent");
    let url = format!(
        "{}/v2/{}/blobs/{absent}",
        target.registry_url(),
        super::NAME
    );
    front.on(Kind::BlobHead).always(Fault::redirect_to(&url));
    let error = upstream.confirm_blob(&name(), &layer).await.unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::NotFound {
            code: ErrorCode::BlobUnknown
        }
    );
}

#[tokio::test]
async fn where_head_is_refused_the_first_byte_confirms_and_head_is_not_tried_again() {
    for status in [401, 403, 405] {
        let origin = origin(Origin::docker_hub().blobs(Blobs::Direct)).await;
        let upstream = upstream_of(&origin);
        let (_, layer) = manifest_and_layer(&origin);
        origin.on(Kind::BlobHead).always(Fault::status(status));
        for _ in 0..2 {
            let confirmed = upstream.confirm_blob(&name(), &layer).await.unwrap();
            assert!(confirmed.size.is_some(), "{status}");
        }
        assert_eq!(
            origin.requests_for(Kind::BlobGet)[0].range.as_deref(),
            Some("bytes=0-0")
        );
        let heads = origin.requests_for(Kind::BlobHead);
        let answered = heads.iter().filter(|head| head.status == Some(status));
        assert_eq!(
            answered.count(),
            if status == 401 { 2 } else { 1 },
            "{status}: {heads:?}"
        );
        assert_eq!(origin.requests_for(Kind::BlobGet).len(), 2);
    }
}

#[tokio::test]
async fn a_repository_that_is_denied_stays_denied() {
    let origin = origin(
        Origin::builder()
            .user("user", "pass")
            .repository(super::NAME, Repository::private),
    )
    .await;
    let upstream = upstream_of(&origin);
    let (_, layer) = manifest_and_layer(&origin);
    let error = upstream.confirm_blob(&name(), &layer).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    let error = upstream.get_blob(&name(), &layer, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
}
