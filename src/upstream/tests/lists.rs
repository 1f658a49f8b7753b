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
async fn referrers_that_come_in_pages_are_joined() {
    let origin = origin(Origin::builder()).await;
    let upstream = upstream_of(&origin);
    let digest = Digest::of(crate::oci::Algorithm::Sha256, b"x");
    let page = |artifact: &str, next: Option<&str>| {
        let body = serde_json::json!({"schemaVersion": 2, "manifests": [{"artifact": artifact}]});
        let reply = Reply::status(200).json(&body);
        let reply = match next {
            Some(next) => reply.header("link", format!("<{next}>; rel=\"next\"")),
            None => reply,
        };
        origin.on(Kind::Referrers).once(Fault::Answer(reply));
    };
    page("a", Some("http://169.254.169.254/?mark=1"));
    page("b", Some("?mark=2"));
    page("c", None);
    let all = upstream.referrers(&name(), &digest, None).await.unwrap();
    let index: serde_json::Value = serde_json::from_slice(&all.bytes).unwrap();
    let expected = serde_json::json!([{"artifact": "a"}, {"artifact": "b"}, {"artifact": "c"}]);
    assert_eq!(index["manifests"], expected);
    let asked = origin.requests_for(Kind::Referrers);
    let queries: Vec<_> = asked
        .iter()
        .map(|request| request.target.split_once('?'))
        .collect();
    assert_eq!(queries[0], None);
    assert_eq!(queries[1].unwrap().1, "mark=1");
    assert_eq!(queries[2].unwrap().1, "mark=2");
}

#[tokio::test]
async fn referrers_without_end_are_refused_and_not_cut_short() {
    let origin = origin(Origin::builder()).await;
    let upstream = upstream_of(&origin);
    let digest = Digest::of(crate::oci::Algorithm::Sha256, b"x");
    let body = serde_json::json!({"manifests": []});
    let endless = Reply::status(200)
        .json(&body)
        .header("link", "<?more>; rel=next");
    origin.on(Kind::Referrers).always(Fault::Answer(endless));
    let error = upstream
        .referrers(&name(), &digest, None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(origin.counts().total(), 32);
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
