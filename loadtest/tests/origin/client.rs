//! A client that follows nothing by itself.

use forebay_loadtest::origin::{Digest, ImageSpec, Origin};
use reqwest::header::{AUTHORIZATION, LOCATION, RANGE, WWW_AUTHENTICATE};
use reqwest::{Client, Method, RequestBuilder, Response};

pub(crate) const APP: &str = "library/app";

/// A client on a connection pool of its own.
pub(crate) fn client() -> Client {
    Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

/// Small images of two platforms.
pub(crate) fn spec() -> ImageSpec {
    ImageSpec {
        layer_size: 10_000,
        ..ImageSpec::default()
    }
}

/// An open origin without redirects that holds `library/app:v1`.
pub(crate) async fn plain() -> Origin {
    Origin::builder()
        .repository(APP, |r| r.multi_arch_image("v1", &spec()))
        .start()
        .await
        .unwrap()
}

/// An origin like Docker Hub that holds `library/app:v1`.
pub(crate) async fn hub() -> Origin {
    Origin::docker_hub()
        .repository(APP, |r| r.multi_arch_image("v1", &spec()))
        .start()
        .await
        .unwrap()
}

/// An origin with one blob, and the blob.
pub(crate) async fn with_blob(size: u64) -> (Origin, Digest) {
    let origin = plain().await;
    let blob = origin.edit(APP, |r| r.random_blob(1, size));
    (origin, blob.digest)
}

/// `GET`s below `/v2/`.
pub(crate) async fn get(origin: &Origin, path: &str) -> Response {
    request(origin, Method::GET, path).send().await.unwrap()
}

pub(crate) async fn head(origin: &Origin, path: &str) -> Response {
    request(origin, Method::HEAD, path).send().await.unwrap()
}

pub(crate) fn request(origin: &Origin, method: Method, path: &str) -> RequestBuilder {
    client().request(method, format!("{}/v2/{path}", origin.registry_url()))
}

pub(crate) fn blob_path(digest: &Digest) -> String {
    format!("{APP}/blobs/{digest}")
}

pub(crate) async fn get_blob(origin: &Origin, digest: &Digest, range: Option<&str>) -> Response {
    let mut request = request(origin, Method::GET, &blob_path(digest));
    if let Some(range) = range {
        request = request.header(RANGE, range);
    }
    request.send().await.unwrap()
}

pub(crate) fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

pub(crate) fn location(response: &Response) -> &str {
    header(response, LOCATION.as_str()).expect("the response is a redirect")
}

/// Does what a challenge asks for; gives the `Authorization` to use.
pub(crate) async fn login(challenged: &Response, user: Option<(&str, &str)>) -> String {
    let challenge =
        header(challenged, WWW_AUTHENTICATE.as_str()).expect("the response is a challenge");
    let parameter = |name: &str| {
        let (_, rest) = challenge.split_once(&format!("{name}=\""))?;
        Some(rest.split_once('"')?.0)
    };
    let mut url = reqwest::Url::parse(parameter("realm").unwrap()).unwrap();
    for name in ["service", "scope"] {
        if let Some(value) = parameter(name) {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    let mut request = client().get(url);
    if let Some((user, password)) = user {
        request = request.basic_auth(user, Some(password));
    }
    let body = request
        .send()
        .await
        .unwrap()
        .error_for_status()
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let token = body["token"]
        .as_str()
        .or(body["access_token"].as_str())
        .unwrap();
    format!("Bearer {token}")
}

/// `GET`s with the token that its challenge leads to.
pub(crate) async fn get_with_login(
    origin: &Origin,
    path: &str,
    user: Option<(&str, &str)>,
) -> Response {
    let authorization = login(&get(origin, path).await, user).await;
    request(origin, Method::GET, path)
        .header(AUTHORIZATION, authorization)
        .send()
        .await
        .unwrap()
}
