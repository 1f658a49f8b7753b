//! What is answered in place of a response, or said wrongly in its head; and which requests a fault hits.

use forebay_loadtest::origin::{Fault, Kind, Reply, When};

use super::SIZE;
use crate::client::{
    APP, blob_path, client, get, get_blob, get_with_login, head, header, hub, location, plain,
    with_blob,
};

#[tokio::test]
async fn answers_are_scripted_in_order_and_run_out() {
    let origin = plain().await;
    origin.on(Kind::ManifestGet).once(Fault::Answer(
        Reply::quota_spent().header("retry-after", "30"),
    ));
    origin
        .on(Kind::ManifestGet)
        .once(Fault::Answer(Reply::abuse_limit()));
    origin.on(Kind::ManifestGet).times(2, Fault::status(503));
    let path = format!("{APP}/manifests/v1");
    let quota = get(&origin, &path).await;
    assert_eq!(
        (quota.status().as_u16(), header(&quota, "retry-after")),
        (429, Some("30"))
    );
    assert!(quota.text().await.unwrap().contains("TOOMANYREQUESTS"));
    let abuse = get(&origin, &path).await;
    assert_eq!(abuse.status(), 429);
    assert!(abuse.text().await.unwrap().starts_with("Too Many Requests"));
    for status in [503, 503, 200] {
        assert_eq!(get(&origin, &path).await.status(), status);
    }
    assert_eq!(head(&origin, &path).await.status(), 200);
}

#[tokio::test]
async fn faults_spare_requests_that_have_yet_to_log_in_unless_told() {
    let origin = hub().await;
    let path = format!("{APP}/manifests/v1");
    let fault = origin.on(Kind::ManifestGet).once(Fault::status(500));
    assert_eq!(get(&origin, &path).await.status(), 401);
    assert_eq!(fault.hits(), 0);
    assert_eq!(get_with_login(&origin, &path, None).await.status(), 500);
    origin
        .on(Kind::ManifestGet)
        .before_auth()
        .once(Fault::status(502));
    assert_eq!(get(&origin, &path).await.status(), 502);
}

#[tokio::test]
async fn head_and_token_can_be_refused() {
    let origin = hub().await;
    let path = format!("{APP}/manifests/v1");
    origin
        .on(Kind::ManifestHead)
        .before_auth()
        .always(Fault::status(405));
    assert_eq!(head(&origin, &path).await.status(), 405);
    origin.on(Kind::Token).always(Fault::status(503));
    let url = format!("{}?service=registry.docker.io", origin.token_url());
    assert_eq!(client().get(url).send().await.unwrap().status(), 503);
}

#[tokio::test]
async fn range_can_be_ignored_or_misplaced_or_misstated() {
    let (origin, digest) = with_blob(SIZE).await;
    let whole = origin.content(APP, &digest);
    origin.on_body(&digest).once(Fault::IgnoreRange);
    assert_eq!(
        get_blob(&origin, &digest, None)
            .await
            .bytes()
            .await
            .unwrap(),
        whole
    );
    let response = get_blob(&origin, &digest, Some("bytes=10-")).await;
    assert_eq!(
        (response.status().as_u16(), response.content_length()),
        (200, Some(SIZE))
    );

    origin.on_body(&digest).once(Fault::ShiftRange(3));
    let response = get_blob(&origin, &digest, Some("bytes=10-")).await;
    assert_eq!(
        header(&response, "content-range"),
        Some("bytes 13-299999/300000")
    );
    assert_eq!(response.bytes().await.unwrap(), whole.slice(13..));

    origin.on_body(&digest).once(Fault::ClaimTotal(-1));
    let response = get_blob(&origin, &digest, Some("bytes=10-19")).await;
    assert_eq!(
        header(&response, "content-range"),
        Some("bytes 10-19/299999")
    );
}

#[tokio::test]
async fn headers_can_be_left_out_or_lie() {
    let origin = plain().await;
    let path = format!("{APP}/manifests/v1");
    origin.on(Kind::ManifestGet).once(Fault::no_digest_header());
    origin.on(Kind::ManifestGet).once(Fault::claims_gzip());
    origin
        .on(Kind::ManifestGet)
        .once(Fault::header("content-type", "text/html"));
    let response = get(&origin, &path).await;
    assert!(header(&response, "docker-content-digest").is_none());
    assert_eq!(header(&response, "content-encoding"), Some("gzip"));
    assert_eq!(header(&response, "content-type"), Some("text/html"));
    assert!(header(&get(&origin, &path).await, "docker-content-digest").is_some());
}

#[tokio::test]
async fn redirects_can_loop_expire_or_lead_elsewhere() {
    let origin = hub().await;
    let layer = origin.image(APP, "v1").manifests[0].layers[0].clone();
    let path = blob_path(&layer.digest);
    let redirect = async || {
        let response = get_with_login(&origin, &path, None).await;
        assert_eq!(response.status(), 307);
        location(&response).to_owned()
    };
    let own = format!("{}/v2/{path}", origin.registry_url());
    origin.on(Kind::BlobGet).once(Fault::RedirectLoop);
    assert_eq!(redirect().await, own);
    origin
        .on(Kind::BlobGet)
        .once(Fault::redirect_to("http://169.254.169.254/latest"));
    assert_eq!(redirect().await, "http://169.254.169.254/latest");
    origin.on(Kind::BlobGet).once(Fault::ExpiredRedirect);
    assert_eq!(
        client()
            .get(redirect().await)
            .send()
            .await
            .unwrap()
            .status(),
        403
    );
    assert_eq!(
        client()
            .get(redirect().await)
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
}

#[tokio::test]
async fn selection_narrows_a_fault_to_a_repository_and_reference() {
    let origin = plain().await;
    origin.edit("library/other", |r| r.image("v1", &crate::client::spec()));
    origin
        .on(When::any().repository("library/other"))
        .always(Fault::status(500));
    assert_eq!(
        get(&origin, &format!("{APP}/manifests/v1")).await.status(),
        200
    );
    assert_eq!(
        get(&origin, "library/other/manifests/v1").await.status(),
        500
    );
    origin.clear_faults();
    assert_eq!(
        get(&origin, "library/other/manifests/v1").await.status(),
        200
    );
}
