//! Manifests: HEAD and GET.

use forebay_loadtest::origin::{Fault, Kind, Origin, Quota, Reply};

use super::{count, latest, manifest_and_layer, name, origin, upstream_of};
use crate::oci::{Algorithm, Digest, ErrorCode, MAX_MANIFEST_BYTES, Reference, media_type};
use crate::upstream::{ErrorKind, ManifestHead};

#[tokio::test]
async fn head_and_get_tell_the_same() {
    let origin = origin(Origin::docker_hub().strict_accept()).await;
    let upstream = upstream_of(&origin);
    let (digest, _) = manifest_and_layer(&origin);
    let head = upstream.head_manifest(&name(), &latest()).await.unwrap();
    let manifest = upstream.get_manifest(&name(), &latest()).await.unwrap();
    assert_eq!(head.digest, Some(digest));
    assert_eq!(manifest.claimed, Some(digest));
    assert_eq!(Digest::of(Algorithm::Sha256, &manifest.bytes), digest);
    assert_eq!(head.size, Some(manifest.bytes.len() as u64));
    assert_eq!(head.media_type, Some(manifest.media_type));
    let by_digest = upstream
        .get_manifest(&name(), &Reference::Digest(digest))
        .await
        .unwrap();
    assert_eq!(by_digest.bytes, manifest.bytes);
}

/// The headers that a request may have.
const ALLOWED: [&str; 6] = [
    "host",
    "user-agent",
    "accept",
    "accept-encoding",
    "authorization",
    "range",
];

#[tokio::test]
async fn what_is_sent_is_forebays_own_and_no_more() {
    let origin = origin(Origin::docker_hub()).await;
    let upstream = upstream_of(&origin);
    let (_, layer) = manifest_and_layer(&origin);
    upstream.head_manifest(&name(), &latest()).await.unwrap();
    upstream.get_manifest(&name(), &latest()).await.unwrap();
    upstream.get_blob(&name(), &layer, None).await.unwrap();
    for request in origin.requests() {
        for header in request.headers.keys() {
            assert!(
                ALLOWED.contains(&header.as_str()),
                "{header} in {request:?}"
            );
        }
        assert_eq!(request.header("accept-encoding"), ["identity"]);
        assert_eq!(
            request.header("user-agent"),
            [concat!("forebay/", env!("CARGO_PKG_VERSION"))]
        );
    }
    for request in origin.requests_for(Kind::ManifestGet) {
        let accept = request.header("accept").join(", ");
        for kind in media_type::MANIFESTS {
            assert!(accept.contains(kind.as_str()), "{accept}");
        }
    }
}

#[tokio::test]
async fn a_registry_without_head_tells_nothing_by_it() {
    let origin = origin(Origin::builder()).await;
    let upstream = upstream_of(&origin);
    origin.on(Kind::ManifestHead).once(Fault::status(405));
    let head = upstream.head_manifest(&name(), &latest()).await.unwrap();
    assert_eq!(head, ManifestHead::default());
    origin
        .on(Kind::ManifestHead)
        .once(Fault::no_digest_header());
    let head = upstream.head_manifest(&name(), &latest()).await.unwrap();
    assert_eq!(head.digest, None);
    assert!(head.size.is_some());
}

#[tokio::test]
async fn content_type_is_stripped_and_a_generic_one_settled_by_the_body() {
    let origin = origin(Origin::builder()).await;
    let upstream = upstream_of(&origin);
    for stated in [
        Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"),
        Some("application/json"),
        None,
    ] {
        origin
            .on(Kind::ManifestGet)
            .once(Fault::Header("content-type", stated.map(str::to_owned)));
        let manifest = upstream.get_manifest(&name(), &latest()).await.unwrap();
        assert_eq!(manifest.media_type, media_type::OCI_MANIFEST, "{stated:?}");
    }
}

#[tokio::test]
async fn absence_has_the_registrys_code() {
    let origin = origin(Origin::builder()).await;
    let upstream = upstream_of(&origin);
    let absent = async |repository: &str, tag: &str| {
        let error = upstream
            .get_manifest(&repository.parse().unwrap(), &tag.parse().unwrap())
            .await
            .unwrap_err();
        error.kind()
    };
    let unknown = |code| ErrorKind::NotFound { code };
    assert_eq!(
        absent(super::NAME, "gone").await,
        unknown(ErrorCode::ManifestUnknown)
    );
    assert_eq!(
        absent("no/such", "latest").await,
        unknown(ErrorCode::NameUnknown)
    );
    // HEAD has no body to carry a code.
    let head = upstream
        .head_manifest(&name(), &"gone".parse().unwrap())
        .await;
    assert_eq!(
        head.unwrap_err().kind(),
        unknown(ErrorCode::ManifestUnknown)
    );
    assert_eq!(
        origin.counts().total(),
        3,
        "what is not there is not asked for again"
    );
}

#[tokio::test]
async fn oversized_manifests_are_refused_with_and_without_a_length() {
    let origin = origin(Origin::builder()).await;
    let upstream = upstream_of(&origin);
    let large = origin.edit(super::NAME, |repository| {
        repository.manifest(
            "application/vnd.oci.image.manifest.v1+json",
            vec![b' '; MAX_MANIFEST_BYTES + 1],
        )
    });
    let reference = Reference::Digest(super::digest_of(&large));
    let error = upstream
        .get_manifest(&name(), &reference)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert_eq!(count(&origin, Kind::ManifestGet), 1);
}

#[tokio::test]
async fn encoded_manifests_are_refused() {
    let origin = origin(Origin::builder()).await;
    let upstream = upstream_of(&origin);
    origin.on(Kind::ManifestGet).always(Fault::claims_gzip());
    let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("encoded"), "{error}");
}

#[tokio::test]
async fn a_manifest_behind_another_registry_is_read_with_that_ones_anonymous_token() {
    // As registry.k8s.io: everything redirects, to a registry that makes challenges of its own.
    let target = origin(Origin::docker_hub().user("user", "pass")).await;
    let front = origin(Origin::builder()).await;
    let upstream = super::set_up(crate::config::Upstream {
        credentials: super::password("user", "pass"),
        ..super::settings(&[&front.registry_url()])
    });
    let url = format!(
        "{}/v2/{}/manifests/latest",
        target.registry_url(),
        super::NAME
    );
    front.on(Kind::ManifestGet).always(Fault::redirect_to(&url));
    upstream.get_manifest(&name(), &latest()).await.unwrap();
    let tokens = target.requests_for(Kind::Token);
    assert_eq!(tokens.len(), 1);
    // The next request brings it along.
    upstream.get_manifest(&name(), &latest()).await.unwrap();
    assert_eq!(count(&target, Kind::Token), 1);
    assert_eq!(count(&target, Kind::ManifestGet), 3);
    // A token of the other registry that had expired was sent again and again, until it was old enough to be renewed.
    target.expire_tokens();
    upstream.get_manifest(&name(), &latest()).await.unwrap();
    assert_eq!(count(&target, Kind::Token), 2);
    assert_eq!(count(&target, Kind::ManifestGet), 5);
    assert_eq!(
        tokens[0].authorization,
        forebay_loadtest::origin::Authorization::None
    );

    // And its 404 is a true one.
    let url = format!(
        "{}/v2/{}/manifests/gone",
        target.registry_url(),
        super::NAME
    );
    front.clear_faults();
    front.on(Kind::ManifestGet).always(Fault::redirect_to(&url));
    let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::NotFound {
            code: ErrorCode::ManifestUnknown
        }
    );
}

#[tokio::test]
async fn quota_headers_are_reported_with_successes_and_refusals() {
    let quota = Quota {
        anonymous: 1,
        source: Some("192.0.2.1".to_owned()),
        ..Quota::default()
    };
    let origin = origin(Origin::builder().quota(quota)).await;
    let upstream = upstream_of(&origin);
    let standing = || upstream.quota(&name()).unwrap();
    assert_eq!(standing().limit, None);
    upstream.get_manifest(&name(), &latest()).await.unwrap();
    assert_eq!((standing().limit, standing().left), (Some(1), Some(0)));
    assert_eq!(standing().source.as_deref(), Some("192.0.2.1"));

    let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooManyRequests);
    assert!(error.is_trouble());
    assert_eq!(error.quota().unwrap().limit, Some(1));
    assert_eq!(
        count(&origin, Kind::ManifestGet),
        1,
        "a spent quota is not asked for more"
    );
}

/// The place that a redirect led to could have had the upstream's pulls held back, or let through, by what it said.
#[tokio::test]
async fn quota_headers_of_another_host_are_nobodys_report() {
    let other = origin(Origin::builder().quota(Quota::default())).await;
    let front = origin(Origin::builder()).await;
    let url = format!(
        "{}/v2/{}/manifests/latest",
        other.registry_url(),
        super::NAME
    );
    front.on(Kind::ManifestGet).always(Fault::redirect_to(&url));
    let upstream = upstream_of(&front);
    upstream.get_manifest(&name(), &latest()).await.unwrap();
    assert_eq!(count(&other, Kind::ManifestGet), 1);
    assert_eq!(upstream.quota(&name()).unwrap().limit, None);
}

#[tokio::test]
async fn both_kinds_of_429_are_told_and_not_retried() {
    for reply in [Reply::quota_spent(), Reply::abuse_limit()] {
        let origin = origin(Origin::builder()).await;
        let upstream = upstream_of(&origin);
        origin.on(Kind::ManifestGet).always(Fault::Answer(reply));
        let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooManyRequests);
        assert_eq!(count(&origin, Kind::ManifestGet), 1);
    }
}

#[tokio::test]
async fn a_cut_manifest_is_asked_for_again() {
    let origin = origin(Origin::builder()).await;
    let upstream = upstream_of(&origin);
    origin.on(Kind::ManifestGet).once(Fault::ClaimLength(10));
    let manifest = upstream.get_manifest(&name(), &latest()).await.unwrap();
    assert_eq!(
        Some(Digest::of(Algorithm::Sha256, &manifest.bytes)),
        manifest.claimed
    );
    assert_eq!(count(&origin, Kind::ManifestGet), 2);
}
