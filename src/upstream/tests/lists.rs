//! Tags and referrers.

use forebay_loadtest::origin::{Fault, Kind, Origin, Reply};

use super::{manifest_and_layer, name, origin, upstream_of};
use crate::oci::{Digest, ErrorCode};
use crate::upstream::ErrorKind;

#[tokio::test]
async fn tags_come_in_pages() {
    let origin = origin(Origin::docker_hub()).await;
    let upstream = upstream_of(&origin);
    origin.edit(super::NAME, |repository| {
        let digest = repository.random_blob(1, 1).digest;
        for tag in ["a", "b", "c"] {
            repository.tag(tag, &digest);
        }
    });
    let all = upstream.tags(&name(), None, None).await.unwrap();
    assert_eq!(all.next, None);
    assert_eq!(all.tags.len(), 4);
    let mut paged = Vec::new();
    let mut last = None;
    loop {
        let page = upstream
            .tags(&name(), Some(3), last.as_deref())
            .await
            .unwrap();
        paged.extend(page.tags);
        last = page.next;
        if last.is_none() {
            break;
        }
    }
    assert_eq!(paged, all.tags);
}

#[tokio::test]
async fn lists_of_strangers_are_read_with_care() {
    let origin = origin(Origin::builder()).await;
    let upstream = upstream_of(&origin);
    let answer = |body: &'static str| {
        origin
            .on(Kind::Tags)
            .once(Fault::Answer(Reply::status(200).body(body)));
    };
    answer(r#"{"name":"x","tags":null}"#);
    assert!(
        upstream
            .tags(&name(), None, None)
            .await
            .unwrap()
            .tags
            .is_empty()
    );
    answer(r#"{"tags":["good","../bad","-bad",""]}"#);
    let tags = upstream.tags(&name(), None, None).await.unwrap().tags;
    assert_eq!(tags, ["good".parse().unwrap()]);
    answer("<html>");
    let error = upstream.tags(&name(), None, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let error = upstream
        .tags(&"no/such".parse().unwrap(), None, None)
        .await
        .unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::NotFound {
            code: ErrorCode::NameUnknown
        }
    );
}

#[tokio::test]
async fn what_is_asked_for_is_encoded() {
    let origin = origin(Origin::builder()).await;
    let upstream = upstream_of(&origin);
    upstream
        .tags(&name(), Some(2), Some("a&n=9 b"))
        .await
        .unwrap();
    let target = &origin.requests_for(Kind::Tags)[0].target;
    assert!(
        target.ends_with("/tags/list?n=2&last=a%26n%3D9+b"),
        "{target}"
    );
}

#[tokio::test]
async fn referrers_are_passed_on_with_their_filters() {
    let origin = origin(Origin::docker_hub()).await;
    let upstream = upstream_of(&origin);
    let (digest, _) = manifest_and_layer(&origin);
    let subject = origin.image(super::NAME, "latest").root;
    let artifact = origin.edit(super::NAME, |r| {
        r.artifact(&subject, "application/vnd.test", "signature")
    });
    let all = upstream.referrers(&name(), &digest, None).await.unwrap();
    assert!(String::from_utf8_lossy(&all.bytes).contains(artifact.digest.as_str()));
    assert_eq!(all.filters_applied, None);
    let none = upstream
        .referrers(&name(), &digest, Some("application/other"))
        .await
        .unwrap();
    assert!(!String::from_utf8_lossy(&none.bytes).contains(artifact.digest.as_str()));
    assert_eq!(none.filters_applied.as_deref(), Some("artifactType"));
}

#[tokio::test]
async fn a_registry_without_referrers_answers_404_and_so_does_this() {
    let origin = origin(Origin::builder().without_referrers()).await;
    let upstream = upstream_of(&origin);
    let digest: Digest = Digest::of(crate::oci::Algorithm::Sha256, b"x");
    let error = upstream
        .referrers(&name(), &digest, None)
        .await
        .unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::NotFound { .. }),
        "{error}"
    );
}
