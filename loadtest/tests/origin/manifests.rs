//! Manifests, tags, referrers, and the quota on them.

use forebay_loadtest::origin::{Algorithm, Digest, Flavour, ImageSpec, Origin, Quota, media_type};
use reqwest::Method;

use crate::client::{APP, get, head, header, plain, request, spec};

#[tokio::test]
async fn manifest_is_served_by_tag_and_by_digest_with_equal_headers_on_head() {
    let origin = plain().await;
    let root = origin.image(APP, "v1").root;
    for reference in ["v1", root.digest.as_str()] {
        let path = format!("{APP}/manifests/{reference}");
        let (got, asked) = (get(&origin, &path).await, head(&origin, &path).await);
        for response in [&got, &asked] {
            assert_eq!(response.status(), 200);
            assert_eq!(
                header(response, "content-type"),
                Some(media_type::OCI_INDEX)
            );
            assert_eq!(
                header(response, "docker-content-digest"),
                Some(root.digest.as_str())
            );
            assert_eq!(
                header(response, "content-length"),
                Some(root.size.to_string().as_str())
            );
        }
        assert_eq!(Digest::sha256(&got.bytes().await.unwrap()), root.digest);
    }
}

#[tokio::test]
async fn every_part_of_an_image_is_there_under_its_digest() {
    let origin = plain().await;
    for (tag, flavour, algorithm) in [
        ("docker", Flavour::Docker, Algorithm::Sha256),
        ("sha512", Flavour::Oci, Algorithm::Sha512),
    ] {
        origin.edit(APP, |r| {
            r.nested_image(
                tag,
                &ImageSpec {
                    flavour,
                    algorithm,
                    ..spec()
                },
            )
        });
        let image = origin.image(APP, tag);
        let manifests = image.manifests.iter().map(|manifest| &manifest.descriptor);
        for descriptor in image.indexes.iter().chain(manifests) {
            let response = get(&origin, &format!("{APP}/manifests/{}", descriptor.digest)).await;
            assert_eq!(
                header(&response, "content-type"),
                Some(descriptor.media_type.as_str())
            );
            assert_eq!(
                Digest::of(algorithm, &response.bytes().await.unwrap()),
                descriptor.digest
            );
        }
        for blob in image.blobs() {
            let response = get(&origin, &format!("{APP}/blobs/{}", blob.digest)).await;
            assert_eq!(
                Digest::of(algorithm, &response.bytes().await.unwrap()),
                blob.digest
            );
        }
    }
}

#[tokio::test]
async fn what_is_not_there_gets_the_specs_codes() {
    let origin = plain().await;
    let absent = Digest::sha256(b"absent");
    for (path, code) in [
        (format!("{APP}/manifests/absent"), "MANIFEST_UNKNOWN"),
        (format!("{APP}/manifests/{absent}"), "MANIFEST_UNKNOWN"),
        (format!("{APP}/blobs/{absent}"), "BLOB_UNKNOWN"),
        ("library/absent/manifests/v1".to_owned(), "NAME_UNKNOWN"),
    ] {
        let response = get(&origin, &path).await;
        assert_eq!(response.status(), 404);
        let body: serde_json::Value =
            serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        assert_eq!(body["errors"][0]["code"], code, "{path}");
    }
    let write = request(&origin, Method::PUT, &format!("{APP}/manifests/v1")).body("{}");
    assert_eq!(write.send().await.unwrap().status(), 405);
}

#[tokio::test]
async fn tags_move_and_go_while_the_origin_runs() {
    let origin = plain().await;
    let digest = async || {
        let response = head(&origin, &format!("{APP}/manifests/v1")).await;
        header(&response, "docker-content-digest").map(str::to_owned)
    };
    let old = digest().await;
    let new = origin.edit(APP, |r| {
        r.multi_arch_image(
            "v1",
            &ImageSpec {
                seed: Some(9),
                ..spec()
            },
        )
    });
    assert_ne!(old.as_deref(), Some(new.digest.as_str()));
    assert_eq!(digest().await.as_deref(), Some(new.digest.as_str()));
    let old = old.unwrap();
    assert_eq!(
        get(&origin, &format!("{APP}/manifests/{old}"))
            .await
            .status(),
        200
    );
    origin.edit(APP, |r| r.remove_tag("v1"));
    assert_eq!(digest().await, None);
}

#[tokio::test]
async fn strict_registry_hides_manifests_that_are_not_accepted() {
    let origin = Origin::builder()
        .strict_accept()
        .repository(APP, |r| r.multi_arch_image("v1", &spec()))
        .start()
        .await
        .unwrap();
    for (accepts, status) in [
        (vec![media_type::DOCKER_MANIFEST], 404),
        (
            vec![
                media_type::DOCKER_MANIFEST,
                "application/vnd.oci.image.index.v1+json;q=0.5, x/y",
            ],
            200,
        ),
        (vec!["*/*"], 200),
    ] {
        let mut request = request(&origin, Method::GET, &format!("{APP}/manifests/v1"));
        for accept in accepts {
            request = request.header("accept", accept);
        }
        assert_eq!(request.send().await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn tags_are_listed_in_pages() {
    let origin = plain().await;
    let digest = origin.image(APP, "v1").root.digest;
    origin.edit(APP, |r| ["c", "a", "b"].map(|tag| r.tag(tag, &digest)));
    let page = async |query: &str| {
        let response = get(&origin, &format!("{APP}/tags/list{query}")).await;
        let link = header(&response, "link").map(str::to_owned);
        let body: serde_json::Value =
            serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        (body["tags"].to_string(), link)
    };
    assert_eq!(page("").await, (r#"["a","b","c","v1"]"#.to_owned(), None));
    assert_eq!(page("?n=0").await, ("[]".to_owned(), None));
    let (tags, link) = page("?n=2").await;
    assert_eq!(tags, r#"["a","b"]"#);
    assert_eq!(
        link.unwrap(),
        "</v2/library/app/tags/list?last=b&n=2>; rel=\"next\""
    );
    assert_eq!(
        page("?last=b&n=2").await,
        (r#"["c","v1"]"#.to_owned(), None)
    );
}

#[tokio::test]
async fn referrers_are_listed_and_filtered() {
    let origin = plain().await;
    let subject = origin.image(APP, "v1").root;
    let sbom = origin.edit(APP, |r| {
        r.artifact(&subject, "application/vnd.example.signature", "signed");
        r.artifact(&subject, "application/vnd.example.sbom", "parts")
    });
    let path = format!("{APP}/referrers/{}", subject.digest);
    let listed = async |path: &str| {
        let response = get(&origin, path).await;
        assert_eq!(
            header(&response, "content-type"),
            Some(media_type::OCI_INDEX)
        );
        let applied = header(&response, "oci-filters-applied").map(str::to_owned);
        let body: serde_json::Value =
            serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        (body["manifests"].as_array().unwrap().clone(), applied)
    };
    assert_eq!(listed(&path).await.0.len(), 2);
    let (filtered, applied) =
        listed(&format!("{path}?artifactType=application/vnd.example.sbom")).await;
    assert_eq!(filtered[0]["digest"], sbom.digest.as_str());
    assert_eq!(
        (filtered.len(), applied.as_deref()),
        (1, Some("artifactType"))
    );
    let none = listed(&format!("{APP}/referrers/{}", Digest::sha256(b"x"))).await;
    assert!(none.0.is_empty());

    let without = Origin::builder()
        .without_referrers()
        .repository(APP, |_| {})
        .start()
        .await
        .unwrap();
    assert_eq!(get(&without, &path).await.status(), 404);
}

#[tokio::test]
async fn quota_counts_manifest_gets_and_says_so_on_head() {
    let quota = Quota {
        anonymous: 2,
        source: Some("192.0.2.7".to_owned()),
        ..Quota::default()
    };
    let origin = plain().await;
    origin.set_quota(Some(quota));
    let path = format!("{APP}/manifests/v1");
    let remaining = async |method: Method| {
        let response = request(&origin, method, &path).send().await.unwrap();
        assert_eq!(header(&response, "ratelimit-limit"), Some("2;w=21600"));
        assert_eq!(
            header(&response, "docker-ratelimit-source"),
            Some("192.0.2.7")
        );
        let remaining = header(&response, "ratelimit-remaining").unwrap().to_owned();
        (response.status().as_u16(), remaining)
    };
    let of = |status, remaining: &str| (status, remaining.to_owned());
    assert_eq!(remaining(Method::HEAD).await, of(200, "2;w=21600"));
    assert_eq!(remaining(Method::GET).await, of(200, "1;w=21600"));
    assert_eq!(remaining(Method::GET).await, of(200, "0;w=21600"));
    assert_eq!(remaining(Method::GET).await, of(429, "0;w=21600"));
    assert_eq!(remaining(Method::HEAD).await, of(200, "0;w=21600"));
    let refused = get(&origin, &path).await.text().await.unwrap();
    assert!(refused.contains("TOOMANYREQUESTS"), "{refused}");
    origin.set_quota(None);
    assert!(header(&get(&origin, &path).await, "ratelimit-limit").is_none());
}
