//! One image of two platforms from each registry: cold, warm, and with a login that expires in the middle.

use forebay_loadtest::origin::{Fault, Kind, Profile};
use http::StatusCode;

use super::profile::{Cost, SITES, Site};

/// Nothing at all.
const FREE: Cost = Cost {
    passwords: 0,
    tokens: 0,
    refused: 0,
    redirects: 0,
    manifests: 0,
    blobs: 0,
    confirmed: 0,
    others: 0,
};

/// What the page calls a registry and its way of logging in.
fn label(name: &str) -> String {
    match name.split_once(' ') {
        Some((profile, kind)) => format!("| `{profile}` by `{kind}` |"),
        None => format!("| `{name}` |"),
    }
}

/// A row of the page: the registry, then a cold pull's requests by kind and in all, then what an expired login costs.
fn row(name: &str, cold: &Cost, expired: Option<&Cost>) -> String {
    let Cost {
        passwords,
        tokens,
        refused,
        redirects,
        manifests,
        blobs,
        confirmed: _,
        others: _,
    } = cold;
    let (logins, total) = (passwords + tokens, cold.total());
    let expired = expired.map_or("-".to_owned(), |cost| cost.total().to_string());
    format!(
        "{} {refused} | {logins} | {redirects} | {manifests} | {blobs} | {total} | {expired} |",
        label(name)
    )
}

fn page() -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/config/registries.md");
    std::fs::read_to_string(page).unwrap()
}

/// The page's row for a registry, without what it says in words.
fn documented(name: &str) -> String {
    let page = page();
    let name = label(name);
    let row = page.lines().find(|line| line.starts_with(&name));
    let row = row.unwrap_or_else(|| panic!("config/registries.md has no row for {name}"));
    let (numbers, _words) = row.trim_end_matches(" |").rsplit_once(" | ").unwrap();
    format!("{numbers} |")
}

async fn pulls(name: &'static str) {
    let site = Site::named(name).await;
    let forebay = site.mirror().start().await;

    let begin = site.mark();
    site.pull(&forebay, "v1").await;
    let cold = site.spent(&begin);

    let begin = site.mark();
    site.pull(&forebay, "v1").await;
    assert_eq!(site.spent(&begin), FREE, "a warm pull");

    let begin = site.mark();
    site.pull(&forebay, "v2").await;
    let known = site.spent(&begin);
    assert_eq!((known.tokens, known.passwords), (0, 0), "{known:?}");
    for cost in [&cold, &known] {
        assert_eq!((cost.confirmed, cost.others), (0, 0), "{cost:?}");
    }

    let expired = expired(name, &known).await;
    assert_eq!(row(name, &cold, expired.as_ref()), documented(name));
}

/// What it costs that the login expires between the index and the rest; `known` is what the pull costs when it does not.
async fn expired(name: &'static str, known: &Cost) -> Option<Cost> {
    let site = Site::named(name).await;
    let forebay = site.mirror().start().await;
    site.pull(&forebay, "v1").await;
    let begin = site.mark();
    site.pull_index(&forebay, "v2").await;
    if !site.expire_login() {
        return None;
    }
    site.pull_platform(&forebay, site.image("v2").linux("amd64"))
        .await;
    let spent = site.spent(&begin);
    let extra = Cost {
        passwords: spent.passwords - known.passwords,
        tokens: spent.tokens - known.tokens,
        refused: spent.refused - known.refused,
        redirects: spent.redirects - known.redirects,
        ..FREE
    };
    assert_eq!(spent.total(), known.total() + extra.total());
    assert_eq!(extra.passwords + extra.tokens, site.logins(), "{extra:?}");
    Some(extra)
}

/// A tag that is due, and has not moved.
#[tokio::test(flavor = "multi_thread")]
async fn a_tag_is_confirmed_with_a_head_and_nothing_else() {
    for name in SITES {
        let site = Site::named(name).await;
        let mirror = site.mirror().config("[tags]\nfresh_for = \"0s\"");
        let forebay = mirror.start().await;
        site.pull_index(&forebay, "v1").await;
        let begin = site.mark();
        site.pull_index(&forebay, "v1").await;
        let expected = Cost {
            confirmed: 1,
            redirects: usize::from(name == "k8s"),
            ..FREE
        };
        assert_eq!(site.spent(&begin), expected, "{name}");
    }
}

/// Blobs that are asked for at once with a login that has expired: however many are refused, one new login serves them.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_refused_together_take_one_new_login() {
    for name in SITES {
        let site = Site::named(name).await;
        let forebay = site.mirror().start().await;
        site.pull(&forebay, "v1").await;
        site.pull_index(&forebay, "v2").await;
        let image = site.image("v2");
        let amd64 = image.linux("amd64");
        site.pull_manifest(&forebay, amd64).await;
        let begin = site.mark();
        let expired = usize::from(site.expire_login());
        site.pull_blobs(&forebay, amd64).await;
        let spent = site.spent(&begin);
        let logins = spent.passwords + spent.tokens;
        assert_eq!(logins, site.logins(), "{name}: {spent:?}");
        // Each blob's request, and each one's question for a token where it is a cloud that gives the password.
        let most = if logins > 1 { 6 } else { 3 * expired };
        assert!(
            (expired..=most).contains(&spent.refused),
            "{name}: {spent:?}"
        );
        assert_eq!((spent.blobs, spent.others), (3, 0), "{name}: {spent:?}");
    }
}

/// A signed URL that is too old when it is used: the registry is asked for another, once. Amazon's store says that the
/// login was too old with which it was signed.
#[tokio::test(flavor = "multi_thread")]
async fn an_expired_redirect_is_asked_for_once_more() {
    for name in SITES {
        let site = Site::named(name).await;
        let forebay = site.mirror().start().await;
        site.pull(&forebay, "v1").await;
        let begin = site.mark();
        site.pull_index(&forebay, "v2").await;
        let fault = site.origin.on(Kind::BlobGet).once(Fault::ExpiredRedirect);
        let image = site.image("v2");
        site.pull_platform(&forebay, image.linux("amd64")).await;
        if site.is_direct() {
            continue;
        }
        assert_eq!(fault.hits(), 1, "{name}");
        let spent = site.spent(&begin);
        // Two manifests, three blobs, and as many redirects; everything is redirected by Kubernetes's, then once more.
        let (passwords, redirects, more) = match name {
            "ecr" => (1, 3, 1),
            "k8s" => (0, 8, 2),
            _ => (0, 3, 1),
        };
        let expected = Cost {
            passwords,
            redirects: redirects + more,
            manifests: 2,
            blobs: 3,
            refused: 1,
            ..FREE
        };
        assert_eq!(spent, expected, "{name}");
    }
}

/// A client's HEAD, cold: what the blob's size is takes a GET of its first byte where HEAD is refused, here or there.
#[tokio::test(flavor = "multi_thread")]
async fn head_of_a_blob_is_not_asked_where_it_is_refused() {
    for (name, refused, registry, store) in [
        ("ecr-public", Kind::BlobHead, 3, 1),
        ("ghcr", Kind::CdnHead, 3, 1),
    ] {
        let site = Site::named(name).await;
        let forebay = site.mirror().start().await;
        let layer = site.image("v1").linux("amd64").layers[0].clone();
        let path = site.path(&format!("blobs/{}", layer.digest));
        let head = forebay.client().head(&path).await;
        assert_eq!(head.status, StatusCode::OK, "{name}");
        assert_eq!(head.header("content-length"), layer.size.to_string());
        let count = |kind| site.origin.requests_for(kind).len();
        assert_eq!(count(refused), 0, "{name}");
        assert_eq!(count(Kind::Token), 1, "{name}");
        let asked = count(Kind::BlobHead) + count(Kind::BlobGet);
        assert_eq!((asked, count(Kind::CdnGet)), (registry, store), "{name}");
    }
}

/// One test a registry and way of logging in.
macro_rules! each {
    ($($test:ident: $site:literal,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                pulls($site).await;
            }
        )*

        #[test]
        fn every_profile_is_pulled_from() {
            assert_eq!(SITES, [$($site),*]);
            for profile in Profile::ALL {
                assert!(SITES.contains(&profile.name), "{}", profile.name);
            }
            let rows = page().lines().filter(|line| line.starts_with("| `")).count();
            assert_eq!(rows, SITES.len(), "the page's rows");
        }
    };
}

each! {
    docker_hub_costs_what_the_page_says: "docker-hub",
    ghcr_costs_what_the_page_says: "ghcr",
    ecr_costs_what_the_page_says: "ecr",
    ecr_public_costs_what_the_page_says: "ecr-public",
    gar_costs_what_the_page_says: "gar",
    gar_with_googles_login_costs_what_the_page_says: "gar gcp",
    quay_costs_what_the_page_says: "quay",
    acr_costs_what_the_page_says: "acr",
    acr_with_azures_login_costs_what_the_page_says: "acr acr",
    k8s_costs_what_the_page_says: "k8s",
    harbor_costs_what_the_page_says: "harbor",
    gitlab_costs_what_the_page_says: "gitlab",
    a_registry_with_htpasswd_costs_what_the_page_says: "distribution-basic",
}
