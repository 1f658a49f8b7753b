//! Tags and referrers.

use std::time::Duration;

use forebay_loadtest::origin::{Fault, Kind, Origin, Reply};

use super::{manifest_and_layer, name, origin, upstream_of};
use crate::oci::{Digest, ErrorCode};
use crate::upstream::{AllTags, ErrorKind, Trouble};

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

/// Answers the next question for tags.
fn tags_answer(origin: &Origin, tags: &[String], link: Option<&str>) {
    let reply = Reply::status(200).json(&serde_json::json!({"name": "x", "tags": tags}));
    let reply = match link {
        Some(link) => reply.header("link", format!("<{link}>; rel=\"next\"")),
        None => reply,
    };
    origin.on(Kind::Tags).once(Fault::Answer(reply));
}

fn numbered(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| format!("t{n:04}")).collect()
}

fn queries(origin: &Origin) -> Vec<String> {
    let asked = origin.requests_for(Kind::Tags);
    let query = |target: &str| {
        target
            .split_once('?')
            .map_or("", |(_, query)| query)
            .to_owned()
    };
    asked.iter().map(|request| query(&request.target)).collect()
}

async fn all_tags(origin: &Origin) -> Option<Vec<String>> {
    match upstream_of(origin).all_tags(&name()).await.unwrap() {
        AllTags::Whole(all) => Some(all.iter().map(ToString::to_string).collect()),
        _ => None,
    }
}

#[tokio::test]
async fn all_tags_are_collected_whatever_order_and_page_marks_they_come_with() {
    let origin = origin(Origin::builder()).await;
    let tags = |tags: &[&str]| tags.iter().map(|&tag| tag.to_owned()).collect::<Vec<_>>();
    tags_answer(
        &origin,
        &tags(&["v2", "V1", "a"]),
        Some("/v2/x/tags/list?page=abc%3D&n=3"),
    );
    tags_answer(&origin, &tags(&["b", "a", "../bad"]), Some("?page=def"));
    tags_answer(&origin, &tags(&["0"]), None);
    let all = all_tags(&origin).await.unwrap();
    assert_eq!(all, ["0", "V1", "a", "b", "v2"]);
    assert_eq!(queries(&origin), ["n=1000", "page=abc%3D&n=3", "page=def"]);
}

/// `Link` may be left out, so that the first full page looked like all there was.
#[tokio::test]
async fn behind_a_full_page_without_a_link_more_is_looked_for() {
    let origin = origin(Origin::builder()).await;
    tags_answer(&origin, &numbered(0..1000), None);
    tags_answer(&origin, &numbered(1000..1005), None);
    assert_eq!(all_tags(&origin).await.unwrap().len(), 1005);
    assert_eq!(queries(&origin), ["n=1000", "n=1000&last=t0999"]);

    // One that lists everything, whatever it is asked, is done when it repeats itself.
    tags_answer(&origin, &numbered(0..2000), None);
    tags_answer(&origin, &numbered(0..2000), None);
    assert_eq!(all_tags(&origin).await.unwrap().len(), 2000);
    assert_eq!(queries(&origin).len(), 4);
}

#[tokio::test]
async fn a_registry_that_refuses_large_pages_is_asked_for_its_own() {
    let origin = origin(Origin::builder()).await;
    let refusal = r#"{"errors":[{"code":"PAGINATION_NUMBER_INVALID"}]}"#;
    let refusal = Fault::Answer(Reply::status(400).body(refusal));
    origin.on(Kind::Tags).once(refusal);
    assert_eq!(all_tags(&origin).await.unwrap(), ["latest"]);
    assert_eq!(queries(&origin), ["n=1000", ""]);
}

#[tokio::test]
async fn a_list_without_end_is_given_up_and_not_cut_short() {
    let origin = origin(Origin::builder()).await;
    let endless = Reply::status(200)
        .json(&serde_json::json!({"tags": ["a"]}))
        .header("link", "<?more>; rel=next");
    origin.on(Kind::Tags).always(Fault::Answer(endless));
    assert_eq!(all_tags(&origin).await, None);
    assert_eq!(origin.counts().requests(Kind::Tags), 100);
}

/// To find out that a list was still too long took a hundred questions, each time.
#[tokio::test]
async fn a_list_that_was_too_long_is_looked_at_where_that_was_clear() {
    let origin = origin(Origin::builder()).await;
    let page = |tags: &[&str]| {
        let reply = Reply::status(200).json(&serde_json::json!({"tags": tags}));
        reply.header("link", "<?more=1>; rel=next")
    };
    let endless = origin.on(Kind::Tags).always(Fault::Answer(page(&["a"])));
    let upstream = upstream_of(&origin);
    let AllTags::TooLong(mark) = upstream.all_tags(&name()).await.unwrap() else {
        panic!("a list without end");
    };
    origin.reset();
    assert!(upstream.reaches(&name(), &mark).await.unwrap());
    assert_eq!(queries(&origin), ["more=1"]);
    endless.remove();
    for shorter in [page(&[]), Reply::status(400).body("no such mark")] {
        origin.on(Kind::Tags).once(Fault::Answer(shorter));
        assert!(!upstream.reaches(&name(), &mark).await.unwrap());
    }
    origin.on(Kind::Tags).once(Fault::status(403));
    upstream.reaches(&name(), &mark).await.unwrap_err();
}

/// Pages that came too slowly were taken for a list that is too long, so that a slow moment cost the good list that
/// was known.
#[tokio::test]
async fn pages_that_come_too_slowly_say_nothing_of_the_lists_length() {
    let origin = origin(Origin::builder()).await;
    let page = Reply::status(200)
        .json(&serde_json::json!({"tags": ["a"]}))
        .header("link", "<?more>; rel=next");
    origin.on(Kind::Tags).always(Fault::Answer(page));
    let slowly = Fault::Delay(Duration::from_millis(40));
    origin.on(Kind::Tags).always(slowly);
    let (upstream, name) = (upstream_of(&origin), name());
    let all = upstream.all_tags_within(&name, Duration::from_millis(100));
    let AllTags::TooSlow(error) = all.await.unwrap() else {
        panic!("a list that is there");
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable(Trouble::Timeout));
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

/// Some registries list everything, whatever was asked for.
#[tokio::test]
async fn what_a_registry_does_not_filter_is_filtered_here() {
    let origin = origin(Origin::builder()).await;
    let upstream = upstream_of(&origin);
    let digest = Digest::of(crate::oci::Algorithm::Sha256, b"x");
    let all = serde_json::json!({
        "schemaVersion": 2,
        "manifests": [{"artifactType": "a", "x": 1}, {"artifactType": "b"}, {"x": 2}],
        "annotations": {"k": "v"},
    });
    for (applied, expected, manifests) in [
        (None, "artifactType", 1),
        (Some("other"), "other,artifactType", 1),
        // It says that it has; that is its own affair.
        (Some("other, artifactType"), "other,artifactType", 3),
    ] {
        let reply = Reply::status(200).json(&all);
        let reply = match applied {
            Some(applied) => reply.header("oci-filters-applied", applied),
            None => reply,
        };
        origin.on(Kind::Referrers).once(Fault::Answer(reply));
        let some = upstream
            .referrers(&name(), &digest, Some("a"))
            .await
            .unwrap();
        assert_eq!(some.filters_applied.as_deref(), Some(expected));
        let index: serde_json::Value = serde_json::from_slice(&some.bytes).unwrap();
        assert_eq!(index["manifests"].as_array().unwrap().len(), manifests);
        assert_eq!(index["manifests"][0]["x"], 1, "the rest of it stays");
        assert_eq!(index["annotations"]["k"], "v");
    }
}

/// Clients take any type but an index's for the absence of the API, and then look for a tag.
#[tokio::test]
async fn a_web_page_in_place_of_referrers_means_that_there_is_no_such_api() {
    let origin = origin(Origin::builder()).await;
    let upstream = upstream_of(&origin);
    let digest = Digest::of(crate::oci::Algorithm::Sha256, b"x");
    for (content_type, body, kind) in [
        ("text/html", "<html>", ErrorKind::Unsupported),
        ("application/json", "{}", ErrorKind::Unsupported),
        (
            "application/vnd.oci.image.index.v1+json",
            "{}",
            ErrorKind::Invalid,
        ),
    ] {
        let reply = Reply::status(200)
            .body(body)
            .header("content-type", content_type);
        origin.on(Kind::Referrers).once(Fault::Answer(reply));
        let error = upstream
            .referrers(&name(), &digest, None)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{content_type}");
    }
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
