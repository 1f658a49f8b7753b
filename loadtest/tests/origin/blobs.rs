//! Blobs, directly and from the CDN.

use std::time::Duration;

use forebay_loadtest::origin::{Blobs, Digest, Kind, Origin, Redirect};
use reqwest::Method;

use crate::client::{
    APP, blob_path, client, get, get_blob, get_with_login, head, header, hub, location, spec,
    with_blob,
};

#[tokio::test]
async fn ranges_of_a_blob_are_exact() {
    let (origin, digest) = with_blob(1000).await;
    let whole = origin.content(APP, &digest);
    for (range, span) in [
        ("bytes=0-0", 0..1),
        ("bytes=100-199", 100..200),
        ("bytes=990-", 990..1000),
        ("bytes=990-5000", 990..1000),
        ("bytes=-10", 990..1000),
    ] {
        let response = get_blob(&origin, &digest, Some(range)).await;
        assert_eq!(response.status(), 206, "{range}");
        let expected = format!("bytes {}-{}/1000", span.start, span.end - 1);
        assert_eq!(header(&response, "content-range"), Some(expected.as_str()));
        assert_eq!(
            header(&response, "content-length"),
            Some(span.len().to_string().as_str())
        );
        assert_eq!(response.bytes().await.unwrap(), whole.slice(span));
    }
    let beyond = get_blob(&origin, &digest, Some("bytes=1000-")).await;
    assert_eq!(beyond.status(), 416);
    assert_eq!(header(&beyond, "content-range"), Some("bytes */1000"));
    let several = get_blob(&origin, &digest, Some("bytes=0-1,4-5")).await;
    assert_eq!(several.status(), 200);
    assert_eq!(several.bytes().await.unwrap(), whole);
}

#[tokio::test]
async fn head_of_a_blob_says_what_get_would() {
    let (origin, digest) = with_blob(1000).await;
    let response = head(&origin, &blob_path(&digest)).await;
    assert_eq!(header(&response, "content-length"), Some("1000"));
    assert_eq!(
        header(&response, "docker-content-digest"),
        Some(digest.as_str())
    );
    assert_eq!(header(&response, "accept-ranges"), Some("bytes"));
    assert_eq!(origin.counts().of(Kind::BlobHead).body_bytes, 0);
}

#[tokio::test]
async fn blob_is_redirected_to_a_signed_url_on_another_port() {
    let origin = hub().await;
    let layer = origin.image(APP, "v1").linux("amd64").layers[0].clone();
    let redirect = get_with_login(&origin, &blob_path(&layer.digest), None).await;
    assert_eq!(redirect.status(), 307);
    let url = location(&redirect);
    assert!(url.starts_with(&origin.cdn_url()), "{url}");
    assert_ne!(origin.cdn_url(), origin.registry_url());

    let blob = client().get(url).send().await.unwrap();
    assert_eq!(blob.status(), 200);
    assert!(
        !header(&blob, "etag")
            .unwrap()
            .contains(layer.digest.as_str())
    );
    assert!(header(&blob, "docker-content-digest").is_none());
    assert_eq!(Digest::sha256(&blob.bytes().await.unwrap()), layer.digest);

    let part = client()
        .get(url)
        .header("range", "bytes=5-9")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (part.status().as_u16(), part.content_length()),
        (206, Some(5))
    );
    assert_eq!(client().head(url).send().await.unwrap().status(), 200);
    assert_eq!(origin.body_bytes(&layer.digest), layer.size + 5);
    assert_eq!(
        origin.ranges_requested(&layer.digest),
        [0..layer.size, 5..10]
    );
}

#[tokio::test]
async fn cdn_refuses_credentials_and_urls_it_did_not_sign() {
    let origin = hub().await;
    let layer = origin.image(APP, "v1").linux("amd64").layers[0].clone();
    let redirect = get_with_login(&origin, &blob_path(&layer.digest), None).await;
    let url = location(&redirect);

    let leaked = client()
        .get(url)
        .header("authorization", "Bearer x")
        .send()
        .await
        .unwrap();
    assert_eq!(leaked.status(), 400);
    let (bare, _) = url.split_once('?').unwrap();
    assert_eq!(client().get(bare).send().await.unwrap().status(), 403);
    let forged = url.replace("expires=", "expires=9");
    assert_eq!(client().get(forged).send().await.unwrap().status(), 403);
    assert_eq!(client().get(url).send().await.unwrap().status(), 200);
    origin.expire_redirects();
    assert_eq!(client().get(url).send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn signed_url_expires() {
    let redirect = Redirect {
        lifetime: Duration::ZERO,
        status: 302,
        ..Redirect::default()
    };
    let origin = Origin::builder()
        .blobs(Blobs::Redirect(redirect))
        .repository(APP, |r| r.image("v1", &spec()))
        .start()
        .await
        .unwrap();
    let layer = &origin.image(APP, "v1").manifests[0].layers[0];
    let redirect = get(&origin, &blob_path(&layer.digest)).await;
    assert_eq!(redirect.status(), 302);
    assert_eq!(
        client()
            .get(location(&redirect))
            .send()
            .await
            .unwrap()
            .status(),
        403
    );
}

#[tokio::test]
async fn relative_redirect_is_answered_by_the_registrys_own_port() {
    let redirect = Redirect {
        relative: true,
        ..Redirect::default()
    };
    let origin = Origin::builder()
        .blobs(Blobs::Redirect(redirect))
        .repository(APP, |r| r.image("v1", &spec()))
        .start()
        .await
        .unwrap();
    let layer = &origin.image(APP, "v1").manifests[0].layers[0];
    let redirect = crate::client::request(&origin, Method::HEAD, &blob_path(&layer.digest))
        .send()
        .await
        .unwrap();
    let path = location(&redirect);
    assert!(path.starts_with('/'), "{path}");
    let url = format!("{}{path}", origin.registry_url());
    let blob = client()
        .get(url)
        .header("authorization", "Bearer x")
        .send()
        .await
        .unwrap();
    assert_eq!(Digest::sha256(&blob.bytes().await.unwrap()), layer.digest);
}
